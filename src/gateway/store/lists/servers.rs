//! The list of servers with their control links, by name.

use super::{Listing, named};
use crate::store::query::sql;
use crate::store::server::{ServerRecord, read, select_servers};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{OrganizationId, ServerId};
use adit_core::domain::page::{List, Page, Paging};

/// Which servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFilter {
    pub organization: Option<OrganizationId>,
    pub id: Option<ServerId>,
}

const LISTING: Listing<ServerRecord> =
    Listing { list: List::Servers, doing: "listing servers", place: named, read };

impl Tx {
    pub(crate) async fn list_servers(
        &mut self,
        filter: &ServerFilter,
        paging: &Paging,
    ) -> Result<Page<ServerRecord>, StoreError> {
        let query = sql(select_servers!("WHERE s.deleted_at IS NULL"));
        let query = match filter.organization {
            Some(organization) => query.then(" AND s.organization = ").value(text(organization)),
            None => query,
        };
        let query = match filter.id {
            Some(id) => query.then(" AND s.id = ").value(text(id)),
            None => query,
        };
        let query = query
            .after(List::Servers, paging, " AND (lower(s.name), s.id) > ")?
            .then(" ORDER BY lower(s.name), s.id")
            .limit(paging);
        self.page(&LISTING, paging, query).await
    }
}
