//! The audit log as people read it. What is written there is the end of an [`act`](super::act).

use serde::Serialize;

use crate::store::{AuditRow, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::AUDIT_ROWS_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;

use super::error::PlatformError;
use super::views::{shown, shown_if_any};
use super::{Initiator, Platform};

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
    pub async fn audit(&self, initiator: &Initiator, rows_max: u32) -> Result<Vec<AuditView>, PlatformError> {
        let organization = initiator.viewpoint()?;
        if organization.is_some() {
            initiator.member(Permission::See)?;
        }
        self.expire_offers().await?;
        self.flush_counted().await?;
        let rows_max = rows_max.min(AUDIT_ROWS_MAX);
        let rows = self.look(async move |tx: &mut Tx| read(tx, organization, rows_max).await).await?;
        Ok(rows.into_iter().map(view).collect())
    }
}

async fn read(
    tx: &mut Tx,
    organization: Option<OrganizationId>,
    rows_max: u32,
) -> Result<Vec<AuditRow>, PlatformError> {
    Ok(tx.audit(organization, rows_max).await?)
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
