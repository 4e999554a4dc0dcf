//! The audit log as agents and strangers write it. Users' entries are written by [`super::audited_tx`].

use std::collections::BTreeSet;

use crate::store::{AuditOutcome, AuditRecord, StoreError, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::time::Timestamp;

/// The actor of what follows from a rule and nobody asked for.
pub(super) const GATEWAY: &str = "the gateway";

/// An entry whose actor is no user.
#[derive(Debug, Clone)]
pub(super) struct AgentEntry {
    pub(super) actor: String,
    pub(super) action: &'static str,
    pub(super) object: String,
    pub(super) outcome: AuditOutcome,
    pub(super) detail: String,
    pub(super) bucket: Option<String>,
}

impl AgentEntry {
    /// Writes the entry into each log once; `None` is the gateway operator's.
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        now: Timestamp,
        logs: impl IntoIterator<Item = Option<OrganizationId>>,
    ) -> Result<(), StoreError> {
        self.write_times(tx, now, logs, 1).await
    }

    /// Does the same for something that happened `times`.
    pub(super) async fn write_times(
        &self,
        tx: &mut Tx,
        now: Timestamp,
        logs: impl IntoIterator<Item = Option<OrganizationId>>,
        times: u32,
    ) -> Result<(), StoreError> {
        for organization in logs.into_iter().collect::<BTreeSet<_>>() {
            let whose = organization.map_or_else(|| "operator".to_owned(), |it| it.to_string());
            let entry = AuditRecord {
                at: now,
                organization,
                actor: self.actor.clone(),
                action: self.action,
                object: self.object.clone(),
                outcome: self.outcome,
                detail: self.detail.clone(),
                bucket: self.bucket.as_ref().map(|bucket| format!("{bucket} {whose}")),
                act: None,
            };
            tx.append_audit_times(&entry, times).await?;
        }
        Ok(())
    }
}
