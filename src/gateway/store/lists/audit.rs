//! The audit log as people look through it, the newest entries first.

use super::Listing;
use crate::store::audit::{AuditOutcome, AuditRow, read};
use crate::store::cells::Cells;
use crate::store::query::sql;
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::page::{List, Page, Paging, Place};
use adit_core::domain::time::Timestamp;

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    pub organization: Option<OrganizationId>,
    pub action: Option<String>,
    pub outcome: Option<AuditOutcome>,
    /// Written then or later.
    pub from: Option<Timestamp>,
    /// Written earlier.
    pub until: Option<Timestamp>,
}

const LISTING: Listing<AuditRow> =
    Listing { list: List::Audit, doing: "reading the audit log", place: number, read };

impl Tx {
    pub(crate) async fn list_audit(
        &mut self,
        filter: &AuditFilter,
        paging: &Paging,
    ) -> Result<Page<AuditRow>, StoreError> {
        let mut query = sql("SELECT a.*, o.name AS organization_name FROM audit a
             LEFT JOIN organization o ON o.id = a.organization WHERE 1 = 1");
        if let Some(organization) = filter.organization {
            query = query.then(" AND a.organization = ").value(text(organization));
        }
        if let Some(action) = &filter.action {
            query = query.then(" AND a.action = ").value(action.clone());
        }
        if let Some(outcome) = filter.outcome {
            query = query.then(" AND a.outcome = ").value(outcome.as_str());
        }
        if let Some(from) = filter.from {
            query = query.then(" AND a.at >= ").value(from.as_millis());
        }
        if let Some(until) = filter.until {
            query = query.then(" AND a.at < ").value(until.as_millis());
        }
        let query =
            query.after(List::Audit, paging, " AND a.id < ")?.then(" ORDER BY a.id DESC").limit(paging);
        self.page(&LISTING, paging, query).await
    }
}

fn number(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Numbered(cells.serial("id")?))
}
