//! The list of channels, by name. For an organization: its own, those of its peers, and those it has a
//! connection to, each with how it stands to the channel and to the channel's server.

use super::relation::{Eyes, viewer};
use super::{Listing, named};
use crate::store::cells::Cells;
use crate::store::channel::{ChannelRecord, channel_columns, channel_joins, read};
use crate::store::query::{Query, sql};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::page::{List, Page, Paging};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::Viewer;

/// Which channels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelFilter {
    /// Whose.
    pub organization: Option<OrganizationId>,
    /// None of the viewer's own.
    pub others: bool,
    /// On this one, as far as the viewer may know it.
    pub server: Option<ServerId>,
    pub id: Option<ChannelId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRow {
    pub channel: ChannelRecord,
    /// How the viewer stands to it,
    pub viewer: Viewer,
    /// and to its server.
    pub server_viewer: Viewer,
}

const LISTING: Listing<ChannelRow> =
    Listing { list: List::Channels, doing: "listing channels", place: named, read: row };

impl Tx {
    /// Lists those that `viewpoint` has to do with, or everybody's as their owners see them.
    pub(crate) async fn list_channels(
        &mut self,
        viewpoint: Option<OrganizationId>,
        now: Timestamp,
        filter: &ChannelFilter,
        paging: &Paging,
    ) -> Result<Page<ChannelRow>, StoreError> {
        let query = match viewpoint {
            Some(organization) => seen_by(Eyes { organization, now }, filter, paging)?,
            None => every(filter, paging)?,
        };
        self.page(&LISTING, paging, query).await
    }
}

impl Tx {
    /// Looks one up with how the viewer stands to it, in one statement whether there is any or not.
    pub(crate) async fn channel_seen_by(
        &mut self,
        organization: OrganizationId,
        now: Timestamp,
        id: ChannelId,
    ) -> Result<Option<(ChannelRecord, Viewer)>, StoreError> {
        let own = text(organization);
        let query = sql("SELECT ")
            .then(channel_columns!())
            .then(", CASE WHEN s.organization = ")
            .value(own.clone())
            .then(" THEN 'owner' WHEN ")
            .whether_reached(Eyes { organization, now })
            .then(" THEN 'party' WHEN s.organization IN (")
            .peers_of(organization)
            .then(") THEN 'peer' ELSE 'outsider' END AS relation FROM channel c ")
            .then(channel_joins!())
            .then("WHERE c.deleted_at IS NULL AND c.id = ")
            .value(text(id));
        let read = |cells: &Cells| Ok((read(cells)?, viewer(cells, "relation")?));
        self.one_readable("looking a channel up", query, read).await
    }
}

fn every(filter: &ChannelFilter, paging: &Paging) -> Result<Query, StoreError> {
    let query = sql(concat!(
        "SELECT ",
        channel_columns!(),
        ", 'owner' AS relation, 'owner' AS server_relation FROM channel c ",
        channel_joins!(),
        "WHERE 1 = 1"
    ));
    let query = wanted(query, filter).after(List::Channels, paging, " AND (lower(c.name), c.id) > ")?;
    Ok(query.then(" ORDER BY lower(c.name), c.id").limit(paging))
}

/// Begins with the ids of the page's rows.
fn seen_by(eyes: Eyes, filter: &ChannelFilter, paging: &Paging) -> Result<Query, StoreError> {
    let own = text(eyes.organization);
    let query = Query::choose().then("SELECT seen.id FROM (");
    let query = match (filter.id, filter.server) {
        (None, None) => anywhere(query, eyes, filter),
        (Some(_), _) | (_, Some(_)) => there(query, eyes, filter),
    };
    let query = query
        .then(") seen WHERE 1 = 1")
        .after(List::Channels, paging, " AND (seen.name, seen.id) > ")?
        .then(" ORDER BY seen.name, seen.id")
        .limit(paging)
        .chosen(paging)
        .then(concat!("SELECT ", channel_columns!(), ", CASE WHEN s.organization = "))
        .value(own.clone())
        .then(" THEN 'owner' WHEN ")
        .whether_reached(eyes)
        .then(" THEN 'party' WHEN s.organization IN (")
        .peers_of(eyes.organization)
        .then(") THEN 'peer' ELSE 'outsider' END AS relation, CASE WHEN s.organization = ")
        .value(own)
        .then(" THEN 'owner' WHEN ")
        .whether_known(eyes)
        .then(" THEN 'party' WHEN s.organization IN (")
        .peers_of(eyes.organization)
        .then(concat!(
            ") THEN 'peer' ELSE 'outsider' END AS server_relation FROM chosen JOIN channel c ON c.id = chosen.id ",
            channel_joins!(),
            "ORDER BY lower(c.name), c.id"
        ));
    Ok(query)
}

/// Selects what a list of channels is ordered by, of the channels `c`.
macro_rules! select_named {
    () => {
        "SELECT c.id, lower(c.name) AS name "
    };
}

/// Goes on with the channels that one sees, of one organization or any. Each set is looked through by itself, and what is
/// asked of it stands there: no two sets are compared with each other.
fn anywhere(query: Query, eyes: Eyes, filter: &ChannelFilter) -> Query {
    const OWNED: &str = concat!(
        select_named!(),
        "FROM server s JOIN channel c ON c.server = s.id WHERE c.deleted_at IS NULL AND s.organization = "
    );
    let own = text(eyes.organization);
    match filter.organization {
        Some(organization) if organization == eyes.organization => query.then(OWNED).value(own),
        Some(organization) => {
            let query = query
                .then(OWNED)
                .value(text(organization))
                .then(" AND c.published AND 0 < (SELECT count(*) FROM (");
            let query = query.peers_of(eyes.organization).then(") peer WHERE peer.recipient = ");
            let query = query.value(text(organization)).then(")").reached_by(eyes);
            query.then(" AND k.target_owner = ").value(text(organization))
        }
        None => {
            let query =
                if filter.others { query } else { query.then(OWNED).value(own.clone()).then(" UNION ") };
            let query = query.then(concat!(select_named!(), "FROM (")).peers_of(eyes.organization);
            let query = query.then(
                ") peer JOIN server s ON s.organization = peer.recipient JOIN channel c ON c.server = s.id
                    WHERE c.deleted_at IS NULL AND c.published AND peer.recipient <> ",
            );
            query.value(own.clone()).reached_by(eyes).then(" AND k.target_owner <> ").value(own)
        }
    }
}

impl Query {
    /// Goes on with those at the other ends of one's living connections `k`, beside what stands before.
    fn reached_by(self, eyes: Eyes) -> Self {
        self.then(concat!(
            " UNION ",
            select_named!(),
            "FROM connection k JOIN channel_grant y ON y.id = k.channel_grant JOIN channel c ON c.id = y.channel
                WHERE c.deleted_at IS NULL AND k.source_owner = "
        ))
        .value(text(eyes.organization))
        .living(eyes.now)
    }
}

/// Goes on with those of a server, or the one, that one sees.
fn there(query: Query, eyes: Eyes, filter: &ChannelFilter) -> Query {
    let own = text(eyes.organization);
    let query =
        query.then(concat!(select_named!(), "FROM channel c JOIN server s ON s.id = c.server WHERE 1 = 1"));
    let query = wanted(query, filter);
    let query = if filter.others { query.then(" AND s.organization <> ").value(own.clone()) } else { query };
    let query = query
        .then(" AND (s.organization = ")
        .value(own.clone())
        .then(" OR c.published AND s.organization IN (")
        .peers_of(eyes.organization)
        .then(") OR ")
        .whether_reached(eyes)
        .then(")");
    match filter.server {
        // Which channels are on a server that one may not know is told neither by a row nor by a `next`.
        Some(_) => {
            query.then(" AND (s.organization = ").value(own).then(" OR ").whether_known(eyes).then(")")
        }
        None => query,
    }
}

/// Narrows the channels `c`, on the servers `s`, to those that are asked for.
fn wanted(query: Query, filter: &ChannelFilter) -> Query {
    let query = query.then(" AND c.deleted_at IS NULL");
    let query = match filter.organization {
        Some(organization) => query.then(" AND s.organization = ").value(text(organization)),
        None => query,
    };
    let query = match filter.server {
        Some(server) => query.then(" AND c.server = ").value(text(server)),
        None => query,
    };
    match filter.id {
        Some(id) => query.then(" AND c.id = ").value(text(id)),
        None => query,
    }
}

fn row(cells: &Cells) -> Result<ChannelRow, StoreError> {
    Ok(ChannelRow {
        channel: read(cells)?,
        viewer: viewer(cells, "relation")?,
        server_viewer: viewer(cells, "server_relation")?,
    })
}
