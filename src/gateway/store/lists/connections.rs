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
    /// To whom it was offered.
    pub recipient: Option<OrganizationId>,
    /// At one of its ends.
    pub server: Option<ServerId>,
    /// Any of these; all when there are none. Who holds a pause is not looked at.
    pub statuses: BTreeSet<Status>,
    /// Any of these; all when there are none.
    pub kinds: Vec<ConnectionType>,
    /// Any of these; all when there are none.
    pub connectivity: Vec<Connectivity>,
    /// In the names of its ends as they are shown, of its channel, or of the other party.
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
        let query = chosen.page(Query::choose(), paging)?;
        let query = query
            .chosen(paging)
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
        let query = chosen.all(sql("SELECT count(*) AS n FROM "))?;
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
    /// Goes on with the ids of a page, taken from the smallest set that holds them: a server's, a party's or all.
    fn page(&self, query: Query, paging: &Paging) -> Result<Query, StoreError> {
        const SEEK: &str = " AND (c.created_at, c.id) > ";
        const ORDER: &str = " ORDER BY c.created_at, c.id";
        match (self.filter.server, self.party()) {
            (Some(server), _) => {
                let query = self.of_server(query.then("SELECT own.id FROM "), server, |query| {
                    query.after(List::Connections, paging, SEEK)
                })?;
                Ok(query.then(" ORDER BY own.created_at, own.id").limit(paging))
            }
            (None, Some(party)) => {
                // Each end has an index in this order, and is walked no further than the page goes.
                let mut query = query.then("SELECT own.id FROM (");
                for (before, end) in [
                    ("SELECT * FROM (", " WHERE c.source_owner = "),
                    (" UNION SELECT * FROM (", " WHERE c.target_owner = "),
                ] {
                    query = query.then(before).then("SELECT c.id, c.created_at FROM connection c");
                    query = self.names(query).then(end).value(text(party));
                    query = self.conditions(query.after(List::Connections, paging, SEEK)?);
                    query = query.then(ORDER).limit(paging).then(") of_one_end");
                }
                Ok(query.then(") own ORDER BY own.created_at, own.id").limit(paging))
            }
            (None, None) => {
                let query = self.names(query.then("SELECT c.id FROM connection c")).then(" WHERE 1 = 1");
                let query = self.conditions(query.after(List::Connections, paging, SEEK)?);
                Ok(query.then(ORDER).limit(paging))
            }
        }
    }

    /// Goes on with all of them.
    fn all(&self, query: Query) -> Result<Query, StoreError> {
        let query = match (self.filter.server, self.party()) {
            (Some(server), _) => return self.of_server(query, server, Ok),
            (None, Some(party)) => self.names(query.then("connection c")).then(" WHERE 1 = 1").of(party),
            (None, None) => self.names(query.then("connection c")).then(" WHERE 1 = 1"),
        };
        Ok(self.conditions(query))
    }

    /// Goes on with those of a server as `own`, after the place that `after` tells. What is asked of them stands where
    /// they are found; none has the server at both ends.
    fn of_server(
        &self,
        mut query: Query,
        server: ServerId,
        after: impl Fn(Query) -> Result<Query, StoreError>,
    ) -> Result<Query, StoreError> {
        for (before, end) in
            [("(", " WHERE c.source_server = "), (" UNION ALL ", " WHERE c.target_server = ")]
        {
            query = query.then(before).then("SELECT c.id, c.created_at FROM connection c");
            query = self.names(query).then(end).value(text(server));
            query = self.conditions(after(query)?);
        }
        Ok(query.then(") own"))
    }

    /// Returns the party whose connections are looked through.
    fn party(&self) -> Option<OrganizationId> {
        self.viewpoint.or(self.filter.organization)
    }

    fn names(&self, query: Query) -> Query {
        if self.filter.search.is_some() { query.then(NAMES) } else { query }
    }

    fn conditions(&self, mut query: Query) -> Query {
        let filter = self.filter;
        let is_walked = |party: &OrganizationId| filter.server.is_none() && self.party() == Some(*party);
        for party in [self.viewpoint, filter.organization].into_iter().flatten() {
            if !is_walked(&party) {
                query = query.of(party);
            }
        }
        if let Some(recipient) = filter.recipient {
            query = query.then(" AND c.recipient = ").value(text(recipient));
        }
        if !filter.statuses.is_empty() {
            let words: BTreeSet<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
            query = query.then(AND_WHERE).then("CASE WHEN c.status = 'Offered' AND c.expires_at <= ");
            query = query.value(self.now.as_millis()).then(" THEN 'Expired' ELSE c.status END IN (");
            query = query.list(words).then(")").then(HOLDS);
        }
        if !filter.kinds.is_empty() {
            query =
                query.then(" AND c.kind IN (").list(filter.kinds.iter().map(|kind| kind.as_str())).then(")");
        }
        if !filter.connectivity.is_empty() {
            let words = filter.connectivity.iter().map(|it| it.as_str());
            query =
                query.then(AND_WHERE).connectivity(self.now).then(" IN (").list(words).then(")").then(HOLDS);
        }
        match &filter.search {
            Some(search) => searched(query, search, self.viewpoint),
            None => query,
        }
    }
}

/// Around a condition that most connections may meet. `PostgreSQL` takes what it compares with a value for rare, and
/// would judge all connections of a party to sort them, where the first of an index do; of this it expects half.
const AND_WHERE: &str = " AND CASE WHEN ";
const HOLDS: &str = " THEN TRUE ELSE FALSE END";

/// The ends, the parties and the channel of the connection `c`; a source that is not named yet is called as its
/// organization.
const NAMES: &str = " LEFT JOIN server s ON s.id = c.source_server JOIN server t ON t.id = c.target_server
     JOIN organization so ON so.id = c.source_owner JOIN organization ro ON ro.id = c.target_owner
     LEFT JOIN channel_grant g ON g.id = c.channel_grant LEFT JOIN channel ch ON ch.id = g.channel";

/// Goes on with what is looked for in names: of servers, of the channel, and of a party that is another than who looks.
fn searched(query: Query, search: &Search, viewpoint: Option<OrganizationId>) -> Query {
    let own = viewpoint.map(text).unwrap_or_default();
    query
        .then(AND_WHERE)
        .then("lower(coalesce(c.source_last_name, s.name, so.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR lower(coalesce(c.target_last_name, t.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR lower(coalesce(c.channel_last_name, ch.name)) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR c.source_owner <> ")
        .value(own.clone())
        .then(" AND lower(so.name) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\' OR c.target_owner <> ")
        .value(own)
        .then(" AND lower(ro.name) LIKE ")
        .value(search.pattern())
        .then(" ESCAPE '\\'")
        .then(HOLDS)
}

impl Query {
    /// Narrows the connections `c` to those of a party.
    pub(super) fn of(self, party: OrganizationId) -> Self {
        let query = self.then(" AND (c.source_owner = ").value(text(party));
        query.then(" OR c.target_owner = ").value(text(party)).then(")")
    }
}
