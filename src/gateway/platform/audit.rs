//! The audit log as agents and strangers write it, and as people read it. Users' entries are
//! written by [`super::audited_tx`].

use std::collections::BTreeSet;

use serde::Serialize;

use crate::store::{AuditOutcome, AuditRecord, AuditRow, StoreError, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::AUDIT_ROWS_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;

use super::error::PlatformError;
use super::views::{shown, shown_if_any};
use super::{Actor, Platform};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditView {
    pub id: i64,
    #[serde(serialize_with = "shown")]
    pub at: Timestamp,
    /// Whose log it is from; absent for the gateway operator's own.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub organization: Option<Name>,
    pub actor: String,
    pub action: String,
    pub object: String,
    pub outcome: String,
    pub detail: String,
    /// How often within its minute.
    pub times: u32,
}

impl Platform {
    /// Returns the newest entries, oldest first; a member reads its own organization's log only.
    pub async fn audit(&self, actor: &Actor, rows_max: u32) -> Result<Vec<AuditView>, PlatformError> {
        let organization = match actor {
            Actor::Host { .. } => None,
            Actor::Member { .. } => Some(actor.member(Permission::See)?),
        };
        self.expire_offers().await?;
        self.flush_counted().await?;
        let mut tx = self.store.read().await?;
        let rows = tx.audit(organization, rows_max.min(AUDIT_ROWS_MAX)).await?;
        Ok(rows.into_iter().map(view).collect())
    }
}

fn view(row: AuditRow) -> AuditView {
    AuditView {
        id: row.id,
        at: row.at,
        organization: row.organization_name,
        actor: row.actor,
        action: row.action,
        object: row.object,
        outcome: row.outcome,
        detail: row.detail,
        times: row.times,
    }
}

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
