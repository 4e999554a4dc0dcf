//! The list of servers with their control links, by name.

use super::{Listing, named};
use crate::store::query::{Query, sql};
use crate::store::server::{ServerRecord, read, select_servers};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{OrganizationId, ServerId};
use adit_core::domain::limits::{CERTIFICATE_ENDS_SOON, CONNECTOR_ENDS_SOON};
use adit_core::domain::page::{List, Page, Paging};
use adit_core::domain::time::Timestamp;

/// Which servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFilter {
    pub organization: Option<OrganizationId>,
    pub id: Option<ServerId>,
    /// With something that ends soon.
    pub ending: Option<EndsSoon>,
}

/// What of a server ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndsSoon {
    /// The leaf of its agent, which is not renewed as it should be.
    Certificate,
    /// A connector file by which nobody has enrolled yet.
    Connector,
}

impl EndsSoon {
    pub const ALL: [Self; 2] = [Self::Certificate, Self::Connector];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Connector => "connector",
        }
    }
}

impl Query {
    /// Narrows the servers `s` to those with something that ends soon.
    pub(super) fn ending(self, what: EndsSoon, now: Timestamp) -> Self {
        match what {
            EndsSoon::Certificate => self
                .then(" AND s.key IS NOT NULL AND s.leaf_until < ")
                .value(now.saturating_add(CERTIFICATE_ENDS_SOON).as_millis()),
            EndsSoon::Connector => self
                .then(
                    " AND s.id IN (SELECT r.server FROM registration_token r WHERE r.bound_key IS NULL
                        AND r.expires_at > ",
                )
                .value(now.as_millis())
                .then(" AND r.expires_at < ")
                .value(now.saturating_add(CONNECTOR_ENDS_SOON).as_millis())
                .then(")"),
        }
    }
}

const LISTING: Listing<ServerRecord> =
    Listing { list: List::Servers, doing: "listing servers", place: named, read };

impl Tx {
    pub(crate) async fn list_servers(
        &mut self,
        now: Timestamp,
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
        let query = match filter.ending {
            Some(what) => query.ending(what, now),
            None => query,
        };
        let query = query
            .after(List::Servers, paging, " AND (lower(s.name), s.id) > ")?
            .then(" ORDER BY lower(s.name), s.id")
            .limit(paging);
        self.page(&LISTING, paging, query).await
    }
}
