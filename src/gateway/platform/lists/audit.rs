//! The audit log as people read it.

use super::listed;
use crate::platform::error::PlatformError;
use crate::platform::seal::Veiled;
use crate::platform::{Initiator, Platform, proof};
use crate::store::{AuditFilter, AuditRow, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::{AUDIT_ROWS_MAX, AUDIT_WALK_ROWS_MAX, PAGE_ROWS_MAX};
use adit_core::domain::name::Name;
use adit_core::domain::page::{List, Page, Paging};
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditView {
    /// Tells entries apart. To a member it is a number without a meaning: entries are counted over all organizations.
    pub id: i64,
    pub at: Timestamp,
    /// Whose log it is from; absent for the gateway operator's own.
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
    /// Lists the log, the newest entries first; a member reads its own organization's only.
    pub async fn list_audit(
        &self,
        initiator: &Initiator,
        filter: &AuditFilter,
        paging: &Paging,
    ) -> Result<Page<AuditView>, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        if viewpoint.is_some() {
            initiator.member(Permission::See)?;
        }
        if paging.after.is_none() {
            // What is due has its entry before the newest is looked for.
            self.expire_offers().await?;
            self.flush_counted().await?;
        }
        if let (Some(own), Some(named)) = (viewpoint, filter.organization)
            && own != named
        {
            return Ok(listed("audit", viewpoint, Page { rows: Vec::new(), next: None }));
        }
        let filter = AuditFilter { organization: viewpoint.or(filter.organization), ..filter.clone() };
        let paging = match viewpoint {
            Some(own) => self.unveiled(own, paging)?,
            None => paging.clone(),
        };
        let (initiator, now) = (initiator.clone(), self.now());
        let page = self
            .look(async move |tx: &mut Tx| {
                // An export asks for one page after another, for as long as its reader takes.
                proof::require(tx, &initiator, now).await?;
                Ok::<_, PlatformError>(tx.list_audit(&filter, &paging, AUDIT_WALK_ROWS_MAX).await?)
            })
            .await?;
        let page = page.map(view);
        Ok(listed(
            "audit",
            viewpoint,
            match viewpoint {
                Some(own) => self.veiled(own, page),
                None => page,
            },
        ))
    }

    /// Returns a page as `own` may know it: its numbers tell nothing of what others do.
    fn veiled(&self, own: OrganizationId, page: Page<AuditView>) -> Page<AuditView> {
        let veil = |number| self.seal.veil(Veiled::AuditEntry, own, number);
        let Page { rows, next } = page.map(|row| AuditView { id: veil(row.id), ..row });
        Page { rows, next: next.map(|next| next.map_number(veil)) }
    }

    /// Returns which page is meant by a cursor that was handed out so.
    fn unveiled(&self, own: OrganizationId, paging: &Paging) -> Result<Paging, PlatformError> {
        let Some(after) = &paging.after else { return Ok(paging.clone()) };
        after.place_in(List::Audit)?;
        let after = after.clone().map_number(|number| self.seal.unveil(Veiled::AuditEntry, own, number));
        Ok(paging.clone().after(Some(after)))
    }

    /// Returns the newest entries, oldest first.
    pub async fn audit(&self, initiator: &Initiator, rows_max: u32) -> Result<Vec<AuditView>, PlatformError> {
        let rows_max = usize::try_from(rows_max.min(AUDIT_ROWS_MAX)).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        let mut paging = Paging::first(PAGE_ROWS_MAX);
        loop {
            let page = self.list_audit(initiator, &AuditFilter::default(), &paging).await?;
            rows.extend(page.rows);
            if rows.len() >= rows_max || page.next.is_none() {
                break;
            }
            paging = paging.after(page.next);
        }
        rows.truncate(rows_max);
        rows.reverse();
        Ok(rows)
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
