//! What admin sessions need of the agent, at either end.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::audit_log::AuditLog;
use crate::outbox::Outbox;
use crate::policies::Policies;
use adit_net::identity::time::LearntClock;

#[derive(Debug)]
pub(crate) struct AdminParts {
    pub(crate) clock: Arc<LearntClock>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) audit: Arc<AuditLog>,
    /// The gateway hears of sessions.
    pub(crate) outbox: Outbox,
    /// Bodies of requests beyond the usual size that this agent holds at a time.
    pub(crate) large_bodies: Arc<Semaphore>,
}
