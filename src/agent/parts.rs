//! What an agent is made of, and of which each of its tasks is handed what it needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::admin::parts::AdminParts;
use super::audit_log::AuditLog;
use super::connection::ConnectionParts;
use super::control::ControlClient;
use super::disk::Disk;
use super::entries::Entries;
use super::gateway_link::GatewayLink;
use super::measurements::Measurements;
use super::outbox::{Notes, Outbox};
use super::paths::Paths;
use super::policies::Policies;
use super::secret_store::SecretStore;
use super::state::{AgentState, Enrolment, StateError};
use super::status::StatusSources;
use super::stopping::Stopping;
use super::trust_store::TrustStore;
use super::tunnels::Admission;
use super::wanted_peers::Announced;
use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::limits::ADMIN_LARGE_BODIES_MAX;
use adit_net::identity::time::LearntClock;
use adit_net::transport::endpoint::AgentEndpoint;
use adit_net::transport::routes::Routes;
use adit_net::transport::socket::AgentSocket;
use adit_observe::audit::AuditFile;

/// What is made before the rules, secrets and keys of the last run are read.
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
pub(crate) fn load(beginnings: Beginnings, state: &Arc<AgentState>) -> Result<Parts, StateError> {
    let Beginnings { clock, endpoint, routes, entries, paths, enrolment, audit, outbox } = beginnings;
    let (entries, stopping, disk) = (Arc::new(entries), Stopping::new(), Disk::new(Arc::clone(state)));
    let audit = AuditLog::new(audit, Arc::clone(&clock), Arc::clone(&entries), outbox.clone());
    let own = endpoint.credentials().identity.key().fingerprint();
    let audited = || (Arc::clone(&clock), Arc::clone(&audit));
    let trust = TrustStore::new(own, Arc::clone(&entries), audited(), state, disk.clone())?;
    let concerned = (Arc::clone(&entries), Arc::clone(&trust));
    let policies = Policies::new(concerned, audited(), state, disk.clone())?;
    let secrets =
        SecretStore::new(state.all_secrets()?, Arc::clone(&entries), Arc::clone(&policies), disk.clone());
    let link = GatewayLink::new(Arc::clone(&clock), Arc::clone(&stopping), Arc::clone(&audit));
    Ok(Parts {
        clock,
        endpoint: Arc::new(endpoint),
        routes,
        entries,
        paths: Arc::new(paths),
        enrolment: Arc::new(enrolment),
        stopping,
        disk,
        outbox,
        audit,
        trust,
        policies,
        secrets,
        link,
        measurements: Arc::default(),
    })
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) clock: Arc<LearntClock>,
    pub(crate) endpoint: Arc<AgentEndpoint>,
    pub(crate) routes: Routes,
    pub(crate) entries: Arc<Entries>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) enrolment: Arc<Enrolment>,
    /// What ends once that has begun ends by order: it is no fault.
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) disk: Disk,
    pub(crate) outbox: Outbox,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) link: Arc<GatewayLink>,
    pub(crate) measurements: Arc<Measurements>,
}

/// Returns what connections share.
pub(crate) fn of_connections(parts: &Parts) -> ConnectionParts {
    let Parts { clock, endpoint, routes, entries, stopping, .. } = parts;
    let Parts { outbox, audit, trust, policies, secrets, .. } = parts;
    let admission = Admission {
        endpoint: Arc::clone(endpoint),
        routes: routes.clone(),
        entries: Arc::clone(entries),
        policies: Arc::clone(policies),
        secrets: Arc::clone(secrets),
        trust: Arc::clone(trust),
        audit: Arc::clone(audit),
    };
    let admin = AdminParts {
        clock: Arc::clone(clock),
        policies: Arc::clone(policies),
        audit: Arc::clone(audit),
        outbox: outbox.clone(),
        large_bodies: Arc::new(Semaphore::new(ADMIN_LARGE_BODIES_MAX)),
    };
    ConnectionParts {
        clock: Arc::clone(clock),
        stopping: Arc::clone(stopping),
        admission: Arc::new(admission),
        admin: Arc::new(admin),
    }
}

/// What the control link alone has.
pub(crate) struct ControlOwn {
    pub(crate) socket: Arc<AgentSocket>,
    pub(crate) boot: BootId,
    pub(crate) announced: Announced,
    pub(crate) direct_addresses: Vec<SocketAddr>,
    pub(crate) notes: Notes,
}

/// Returns what keeps the control link.
pub(crate) fn of_control(parts: &Parts, own: ControlOwn) -> ControlClient {
    let ControlOwn { socket, boot, announced, direct_addresses, notes } = own;
    ControlClient {
        clock: Arc::clone(&parts.clock),
        endpoint: Arc::clone(&parts.endpoint),
        routes: parts.routes.clone(),
        entries: Arc::clone(&parts.entries),
        paths: Arc::clone(&parts.paths),
        enrolment: Arc::clone(&parts.enrolment),
        policies: Arc::clone(&parts.policies),
        secrets: Arc::clone(&parts.secrets),
        link: Arc::clone(&parts.link),
        measurements: Arc::clone(&parts.measurements),
        disk: parts.disk.clone(),
        socket,
        boot,
        announced,
        direct_addresses,
        notes,
        exchanges: BTreeMap::new(),
    }
}

/// Returns what announces where peers are; `known` is of the last run.
pub(crate) fn of_announced(parts: &Parts, known: BTreeMap<ServerId, Vec<SocketAddr>>) -> Announced {
    Announced {
        addresses: watch::Sender::new(known),
        entries: Arc::clone(&parts.entries),
        policies: Arc::clone(&parts.policies),
        secrets: Arc::clone(&parts.secrets),
        paths: Arc::clone(&parts.paths),
        routes: parts.routes.clone(),
        disk: parts.disk.clone(),
    }
}

/// Returns where what the status socket shows comes from.
pub(crate) fn of_status(parts: &Parts) -> StatusSources {
    StatusSources {
        clock: Arc::clone(&parts.clock),
        endpoint: Arc::clone(&parts.endpoint),
        routes: parts.routes.clone(),
        entries: Arc::clone(&parts.entries),
        paths: Arc::clone(&parts.paths),
        enrolment: Arc::clone(&parts.enrolment),
        policies: Arc::clone(&parts.policies),
        trust: Arc::clone(&parts.trust),
        link: Arc::clone(&parts.link),
        stopping: Arc::clone(&parts.stopping),
    }
}
