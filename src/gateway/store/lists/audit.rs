//! The audit log as people look through it, the newest entries first.

use super::Listing;
use crate::store::audit::{AuditOutcome, AuditRow, read};
use crate::store::cells::Cells;
use crate::store::query::{Query, sql};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::page::{Cursor, List, Page, Paging, Place, Search};
use adit_core::domain::time::Timestamp;

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    pub organization: Option<OrganizationId>,
    pub action: Option<String>,
    /// In what the actor is called.
    pub actor: Option<Search>,
    /// As the entry names it, such as `connection` and its id.
    pub object: Option<String>,
    pub outcome: Option<AuditOutcome>,
    /// Written then or later.
    pub from: Option<Timestamp>,
    /// Written earlier.
    pub until: Option<Timestamp>,
    /// On file no later than the entry of this number.
    pub(crate) upto: Option<i64>,
}

impl AuditFilter {
    /// Returns whether entries are left out that no index tells apart.
    const fn is_looked_for(&self) -> bool {
        self.action.is_some() || self.actor.is_some() || self.outcome.is_some()
    }
}

const LISTING: Listing<AuditRow> =
    Listing { list: List::Audit, doing: "reading the audit log", place: written, read };

impl Tx {
    /// Lists entries. Whose, when and of what is answered by an index; for the rest `walk_max` entries are looked
    /// at, and the next page goes on after those.
    pub(crate) async fn list_audit(
        &mut self,
        filter: &AuditFilter,
        paging: &Paging,
        walk_max: u32,
    ) -> Result<Page<AuditRow>, StoreError> {
        let walk = walk(sql("WITH walked AS (SELECT a.* FROM audit a"), filter, paging)?;
        let walk = if filter.is_looked_for() {
            walk.then(" LIMIT ").value(i64::from(walk_max))
        } else {
            walk.limit(paging)
        };
        let query = wanted(
            walk.then(
                ") SELECT a.*, o.name AS organization_name FROM walked a
                 LEFT JOIN organization o ON o.id = a.organization WHERE 1 = 1",
            ),
            filter,
        );
        let query = query.then(" ORDER BY a.at DESC, a.id DESC").limit(paging);
        let page = self.page(&LISTING, paging, query).await?;
        if page.next.is_some() || !filter.is_looked_for() {
            return Ok(page);
        }
        Ok(Page { next: self.end_of_walk(filter, paging, walk_max).await?, ..page })
    }

    /// Returns the last entry that was looked at, unless it was the last of all that could be.
    async fn end_of_walk(
        &mut self,
        filter: &AuditFilter,
        paging: &Paging,
        walk_max: u32,
    ) -> Result<Option<Cursor>, StoreError> {
        let query = walk(sql("SELECT a.at, a.id FROM audit a"), filter, paging)?;
        let query = query.then(" LIMIT 1 OFFSET ").value(i64::from(walk_max) - 1);
        let last = self.one("reading the audit log", query, written).await?;
        Ok(last.map(|place| Cursor::new(List::Audit, place)))
    }
}

/// Goes on with the entries that are looked at, the newest first.
fn walk(mut query: Query, filter: &AuditFilter, paging: &Paging) -> Result<Query, StoreError> {
    query = query.then(" WHERE 1 = 1");
    if let Some(organization) = filter.organization {
        query = query.then(" AND a.organization = ").value(text(organization));
    }
    if let Some(object) = &filter.object {
        query = query.then(" AND a.object = ").value(object.clone());
    }
    if let Some(from) = filter.from {
        query = query.then(" AND a.at >= ").value(from.as_millis());
    }
    if let Some(until) = filter.until {
        query = query.then(" AND a.at < ").value(until.as_millis());
    }
    if let Some(upto) = filter.upto {
        query = query.then(" AND a.id <= ").value(upto);
    }
    let query = query.after(List::Audit, paging, " AND (a.at, a.id) < ")?;
    Ok(query.then(" ORDER BY a.at DESC, a.id DESC"))
}

/// Goes on with which of those are wanted.
fn wanted(mut query: Query, filter: &AuditFilter) -> Query {
    if let Some(action) = &filter.action {
        query = query.then(" AND a.action = ").value(action.clone());
    }
    if let Some(actor) = &filter.actor {
        query = query.then(" AND lower(a.actor) LIKE ").value(actor.pattern()).then(" ESCAPE '\\'");
    }
    if let Some(outcome) = filter.outcome {
        query = query.then(" AND a.outcome = ").value(outcome.as_str());
    }
    query
}

fn written(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Written { at: cells.time("at")?, number: cells.serial("id")? })
}
