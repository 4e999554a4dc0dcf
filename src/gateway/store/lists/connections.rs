//! The list of connections, by when they were made: a page of ids first, then all that is shown of those.

use std::collections::BTreeSet;

use super::connection_row::{ConnectionRow, row, row_columns, row_joins};
use super::{Listing, made};
use crate::store::connection::{connection_columns, connection_joins};
use crate::store::query::{Query, sql};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::connection::ConnectionType;
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::page::{List, Page, Paging, Search};
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;

/// Which connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionFilter {
    /// One of its parties.
    pub organization: Option<OrganizationId>,
    /// At one of its ends.
    pub server: Option<ServerId>,
    /// Any of these; all when there are none. Who holds a pause is not looked at.
    pub statuses: BTreeSet<Status>,
    /// Any of these; all when there are none.
    pub kinds: Vec<ConnectionType>,
    /// Any of these; all when there are none.
    pub connectivity: Vec<Connectivity>,
    /// In the names of its ends as they are shown, or of its channel.
    pub search: Option<Search>,
}

impl ConnectionFilter {
    /// Hides what has ended, as lists do until asked.
    #[must_use]
    pub fn living() -> Self {
        let statuses = Status::ALL.into_iter().filter(|status| !status.is_terminal()).collect();
        Self { statuses, ..Self::default() }
    }

    /// Only what has ended.
    #[must_use]
    pub fn ended() -> Self {
        let statuses = Status::ALL.into_iter().filter(|status| status.is_terminal()).collect();
        Self { statuses, ..Self::default() }
    }
}

const LISTING: Listing<ConnectionRow> =
    Listing { list: List::Connections, doing: "listing connections", place: made, read: row };

/// All that is shown, of the connection `c`.
macro_rules! select_rows {
    ($from:literal) => {
        concat!("SELECT ", connection_columns!(), row_columns!(), $from, connection_joins!(), row_joins!())
    };
}

impl Tx {
    /// Lists those that `viewpoint` is a party of, or everybody's. An offer whose time is over at `now` counts
    /// as Expired, whatever is written there.
    pub(crate) async fn list_connections(
        &mut self,
        viewpoint: Option<OrganizationId>,
        now: Timestamp,
        filter: &ConnectionFilter,
        paging: &Paging,
    ) -> Result<Page<ConnectionRow>, StoreError> {
        let chosen = Chosen { viewpoint, now, filter };
        let query = chosen.ids(sql("WITH chosen (id) AS (SELECT c.id FROM "), Some(paging))?;
        let query = query
            .then(") ")
            .then(select_rows!("FROM chosen JOIN connection c ON c.id = chosen.id "))
            .then("ORDER BY c.created_at, c.id");
        self.page(&LISTING, paging, query).await
    }

    pub(crate) async fn count_connections(
        &mut self,
        viewpoint: Option<OrganizationId>,
        now: Timestamp,
        filter: &ConnectionFilter,
    ) -> Result<u32, StoreError> {
        let chosen = Chosen { viewpoint, now, filter };
        let query = chosen.ids(sql("SELECT count(*) AS n FROM "), None)?;
        self.count("counting connections", query).await
    }

    /// Returns one with all that is shown of it.
    pub(crate) async fn connection_row(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        let query = sql(select_rows!("FROM connection c ")).then("WHERE c.id = ").value(text(id));
        self.one_readable("looking a connection up", query, row).await
    }
}

struct Chosen<'a> {
    viewpoint: Option<OrganizationId>,
    now: Timestamp,
    filter: &'a ConnectionFilter,
}

impl Chosen<'_> {
    /// Goes on with where the connections `c` are taken from, and, for a page, with their order.
    fn ids(&self, query: Query, paging: Option<&Paging>) -> Result<Query, StoreError> {
        let (query, seek, order) = self.source(query);
        let query = if self.needs_names() { query.then(NAMES) } else { query };
        let needs_facts = !self.filter.connectivity.is_empty();
        let mut query = if needs_facts { query.then(row_joins!()) } else { query }.then(" WHERE 1 = 1");
        if let Some(paging) = paging {
            query = query.after(List::Connections, paging, seek)?;
        }
        let query = self.conditions(query);
        Ok(match paging {
            Some(paging) => query.then(order).limit(paging),
            None => query,
        })
    }

    /// Goes on with the smallest set that holds them: a server's, a party's or all.
    fn source(&self, query: Query) -> (Query, &'static str, &'static str) {
        const OWN_SEEK: &str = " AND (own.created_at, own.id) > ";
        const OWN_ORDER: &str = " ORDER BY own.created_at, own.id";
        match (self.filter.server, self.viewpoint.or(self.filter.organization)) {
            (Some(server), _) => (of_server(query, server), OWN_SEEK, OWN_ORDER),
            (None, Some(party)) => (of_party(query, party), OWN_SEEK, OWN_ORDER),
            (None, None) => {
                (query.then("connection c"), " AND (c.created_at, c.id) > ", " ORDER BY c.created_at, c.id")
            }
        }
    }

    /// Returns whether the conditions look at the ends and the channel.
    const fn needs_names(&self) -> bool {
        self.filter.search.is_some() || self.filter.server.is_some() || self.filter.organization.is_some()
    }

    fn conditions(&self, mut query: Query) -> Query {
        let filter = self.filter;
        for party in [self.viewpoint, filter.organization].into_iter().flatten() {
            if self.needs_names() {
                query = query.then(" AND (coalesce(s.organization, c.recipient) = ").value(text(party));
                query = query.then(" OR t.organization = ").value(text(party)).then(")");
            }
        }
        if !filter.statuses.is_empty() {
            let words: BTreeSet<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
            query = query.then(" AND CASE WHEN c.status = 'Offered' AND c.expires_at <= ");
            query = query.value(self.now.as_millis()).then(" THEN 'Expired' ELSE c.status END IN (");
            query = query.list(words).then(")");
        }
        if !filter.kinds.is_empty() {
            query =
                query.then(" AND c.kind IN (").list(filter.kinds.iter().map(|kind| kind.as_str())).then(")");
        }
        if !filter.connectivity.is_empty() {
            let words = filter.connectivity.iter().map(|it| it.as_str());
            query = query.then(" AND ").connectivity(self.now).then(" IN (").list(words).then(")");
        }
        match &filter.search {
            Some(search) => searched(query, search),
            None => query,
        }
    }
}

/// The ends and the channel of the connection `c`; a source that is not named yet is called as its
/// organization.
const NAMES: &str = " LEFT JOIN server s ON s.id = c.source_server JOIN server t ON t.id = c.target_server
     LEFT JOIN organization r ON r.id = c.recipient AND c.source_server IS NULL
     LEFT JOIN channel_grant g ON g.id = c.channel_grant LEFT JOIN channel ch ON ch.id = g.channel";

fn searched(query: Query, search: &Search) -> Query {
    query
        .then(" AND (lower(coalesce(c.source_last_name, s.name, r.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR lower(coalesce(c.target_last_name, t.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR lower(coalesce(c.channel_last_name, ch.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\')")
}

fn of_server(query: Query, server: ServerId) -> Query {
    query
        .then("(SELECT k.id, k.created_at FROM connection k WHERE k.source_server = ")
        .value(text(server))
        .then(" UNION SELECT k.id, k.created_at FROM connection k WHERE k.target_server = ")
        .value(text(server))
        .then(") own JOIN connection c ON c.id = own.id")
}

pub(super) fn of_party(query: Query, party: OrganizationId) -> Query {
    query
        .then(
            "(SELECT k.id, k.created_at FROM server x JOIN connection k ON k.source_server = x.id
                WHERE x.organization = ",
        )
        .value(text(party))
        .then(
            " UNION SELECT k.id, k.created_at FROM server x JOIN connection k ON k.target_server = x.id
                WHERE x.organization = ",
        )
        .value(text(party))
        .then(" UNION SELECT k.id, k.created_at FROM connection k WHERE k.recipient = ")
        .value(text(party))
        .then(") own JOIN connection c ON c.id = own.id")
}
