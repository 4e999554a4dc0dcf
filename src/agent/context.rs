//! What an agent's tasks are made of.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::audit_log::AuditLog;
use super::disk::Disk;
use super::entries::Entries;
use super::gateway_link::GatewayLink;
use super::outbox::Outbox;
use super::paths::Paths;
use super::policies::Policies;
use super::secret_store::SecretStore;
use super::state::{AgentState, Enrolment, StateError};
use super::stopping::Stopping;
use super::trust_store::TrustStore;
use adit_core::domain::limits::ADMIN_LARGE_BODIES_MAX;
use adit_net::identity::time::LearntClock;
use adit_net::transport::endpoint::AgentEndpoint;
use adit_net::transport::routes::Routes;
use adit_observe::audit::AuditFile;

/// What is made before the state is read.
pub(crate) struct Beginnings {
    pub(crate) clock: Arc<LearntClock>,
    pub(crate) endpoint: AgentEndpoint,
    pub(crate) routes: Routes,
    pub(crate) entries: Entries,
    pub(crate) paths: Paths,
    pub(crate) enrolment: Enrolment,
    pub(crate) audit: AuditFile,
    pub(crate) outbox: Outbox,
}

/// Loads what the last run left, and makes of it what the tasks share.
pub(crate) fn load(beginnings: Beginnings, state: Arc<AgentState>) -> Result<Context, StateError> {
    let Beginnings { clock, endpoint, routes, entries, paths, enrolment, audit, outbox } = beginnings;
    let (entries, stopping, disk) = (Arc::new(entries), Stopping::new(), Disk::new(Arc::clone(&state)));
    let audit = AuditLog::new(audit, Arc::clone(&clock), Arc::clone(&entries), outbox.clone());
    let own = endpoint.credentials().identity.key().fingerprint();
    let audited = || (Arc::clone(&clock), Arc::clone(&audit));
    let trust = TrustStore::new(own, Arc::clone(&entries), audited(), &state, disk.clone())?;
    let concerned = (Arc::clone(&entries), Arc::clone(&trust));
    let policies = Policies::new(concerned, audited(), &state, disk.clone())?;
    let secrets =
        SecretStore::new(state.all_secrets()?, Arc::clone(&entries), Arc::clone(&policies), disk.clone());
    let link = GatewayLink::new(Arc::clone(&clock), Arc::clone(&stopping), Arc::clone(&audit));
    Ok(Context {
        clock,
        endpoint: Arc::new(endpoint),
        routes,
        entries,
        paths: Arc::new(paths),
        enrolment: Arc::new(enrolment),
        large_bodies: Arc::new(Semaphore::new(ADMIN_LARGE_BODIES_MAX)),
        stopping,
        disk,
        outbox,
        audit,
        trust,
        policies,
        secrets,
        link,
    })
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<LearntClock>,
    pub(crate) endpoint: Arc<AgentEndpoint>,
    pub(crate) routes: Routes,
    pub(crate) entries: Arc<Entries>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) enrolment: Arc<Enrolment>,
    /// Bodies of admin requests beyond the usual size that this agent holds at a time.
    pub(crate) large_bodies: Arc<Semaphore>,
    /// What ends once that has begun ends by order: it is no fault.
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) disk: Disk,
    pub(crate) outbox: Outbox,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) link: Arc<GatewayLink>,
}
