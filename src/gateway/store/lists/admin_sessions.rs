//! The list of admin sessions, the newest first.

use super::Listing;
use crate::store::admin_session::{AdminSessionRecord, admin_session_columns, read as read_session};
use crate::store::cells::Cells;
use crate::store::connection::{ConnectionRecord, connection_columns, connection_joins, read};
use crate::store::query::Query;
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{ConnectionId, OrganizationId};
use adit_core::domain::page::{List, Page, Paging, Place};
use adit_core::domain::time::Timestamp;

/// Which admin sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdminSessionFilter {
    pub connection: Option<ConnectionId>,
    /// Those that run, or those that do not.
    pub running: Option<bool>,
}

/// A session with its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminSessionRow {
    pub session: AdminSessionRecord,
    pub connection: ConnectionRecord,
}

const LISTING: Listing<AdminSessionRow> =
    Listing { list: List::AdminSessions, doing: "listing admin sessions", place: begun, read: row };
const ORDER: &str = " ORDER BY a.begun_at DESC, a.id DESC";

impl Tx {
    /// Lists those of connections that `viewpoint` is a party of, or everybody's. What was heard of last before
    /// `silent_before` does not run.
    pub(crate) async fn list_admin_sessions(
        &mut self,
        viewpoint: Option<OrganizationId>,
        filter: &AdminSessionFilter,
        silent_before: Timestamp,
        paging: &Paging,
    ) -> Result<Page<AdminSessionRow>, StoreError> {
        let query = chosen(Query::choose(), viewpoint, (filter, silent_before), paging)?;
        let query = query
            .chosen(paging)
            .then(concat!(
                "SELECT ",
                connection_columns!(),
                ", ",
                admin_session_columns!(),
                "FROM chosen JOIN admin_session a ON a.id = chosen.id JOIN connection c ON c.id = a.connection ",
                connection_joins!()
            ))
            .then(ORDER);
        self.page(&LISTING, paging, query).await
    }
}

/// Goes on with the ids of a page, taken from the smallest set that holds them: a connection's, a party's or all.
fn chosen(
    query: Query,
    viewpoint: Option<OrganizationId>,
    (filter, silent_before): (&AdminSessionFilter, Timestamp),
    paging: &Paging,
) -> Result<Query, StoreError> {
    let page = |query: Query| {
        let query = match filter.running {
            Some(true) => {
                query.then(" AND a.ended_at IS NULL AND a.heard_at >= ").value(silent_before.as_millis())
            }
            Some(false) => query
                .then(" AND (a.ended_at IS NOT NULL OR a.heard_at < ")
                .value(silent_before.as_millis())
                .then(")"),
            None => query,
        };
        let query = query.after(List::AdminSessions, paging, " AND (a.begun_at, a.id) < ")?;
        Ok::<_, StoreError>(query.then(ORDER).limit(paging))
    };
    match (filter.connection, viewpoint) {
        (Some(connection), viewpoint) => {
            let query =
                query.then("SELECT a.id FROM admin_session a WHERE a.connection = ").value(text(connection));
            page(match viewpoint {
                Some(party) => {
                    let query = query.then(" AND (a.source_owner = ").value(text(party));
                    query.then(" OR a.target_owner = ").value(text(party)).then(")")
                }
                None => query,
            })
        }
        (None, Some(party)) => {
            // Each end has an index in this order, and is walked no further than the page goes.
            let mut query = query.then("SELECT own.id FROM (");
            for (before, end) in
                [("SELECT * FROM (", "a.source_owner = "), (" UNION SELECT * FROM (", "a.target_owner = ")]
            {
                query = query.then(before).then("SELECT a.id, a.begun_at FROM admin_session a WHERE ");
                query = page(query.then(end).value(text(party)))?.then(") of_one_end");
            }
            Ok(query.then(") own ORDER BY own.begun_at DESC, own.id DESC").limit(paging))
        }
        (None, None) => page(query.then("SELECT a.id FROM admin_session a WHERE 1 = 1")),
    }
}

fn begun(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Made { at: cells.time("begun_at")?, id: cells.string("session")? })
}

fn row(cells: &Cells) -> Result<AdminSessionRow, StoreError> {
    Ok(AdminSessionRow { session: read_session(cells)?, connection: read(cells)? })
}
