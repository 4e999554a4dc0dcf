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
        let mut query = match viewpoint {
            Some(organization) => seen_by(Eyes { organization, now }),
            None => sql(EVERY),
        };
        if let Some(organization) = filter.organization {
            query = query.then(" AND s.organization = ").value(text(organization));
        }
        if let Some(server) = filter.server {
            query = query.then(" AND c.server = ").value(text(server));
            if let Some(organization) = viewpoint {
                // Which channels are on a server that one may not know is told neither by a row nor by a `next`.
                query = query.then(" AND (s.organization = ").value(text(organization));
                query = query.then(" OR s.id IN (SELECT id FROM known))");
            }
        }
        if let Some(id) = filter.id {
            query = query.then(" AND c.id = ").value(text(id));
        }
        let query = query
            .after(List::Channels, paging, " AND (lower(c.name), c.id) > ")?
            .then(" ORDER BY lower(c.name), c.id")
            .limit(paging);
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
            .then(" THEN 'owner' WHEN c.id IN (")
            .channels_reached_by(Eyes { organization, now })
            .then(" AND y.channel = ")
            .value(text(id))
            .then(") THEN 'party' WHEN s.organization IN (")
            .peers_of(organization)
            .then(") THEN 'peer' ELSE 'outsider' END AS relation FROM channel c ")
            .then(channel_joins!())
            .then("WHERE c.deleted_at IS NULL AND c.id = ")
            .value(text(id));
        let read = |cells: &Cells| Ok((read(cells)?, viewer(cells, "relation")?));
        self.one_readable("looking a channel up", query, read).await
    }
}

const EVERY: &str = concat!(
    "SELECT ",
    channel_columns!(),
    ", 'owner' AS relation, 'owner' AS server_relation FROM channel c ",
    channel_joins!(),
    "WHERE c.deleted_at IS NULL"
);

fn seen_by(eyes: Eyes) -> Query {
    let own = text(eyes.organization);
    sql("WITH peer (id) AS (")
        .peers_of(eyes.organization)
        .then("), reached (id) AS (")
        .channels_reached_by(eyes)
        .then("), known (id) AS (")
        .servers_known_to(eyes)
        .then("), seen (id) AS (SELECT h.id FROM server x JOIN channel h ON h.server = x.id WHERE x.organization = ")
        .value(own.clone())
        .then(
            " UNION SELECT h.id FROM peer JOIN server x ON x.organization = peer.id JOIN channel h ON h.server = x.id
                WHERE h.published
             UNION SELECT id FROM reached) SELECT ",
        )
        .then(channel_columns!())
        .then(", CASE WHEN s.organization = ")
        .value(own.clone())
        .then(
            " THEN 'owner' WHEN c.id IN (SELECT id FROM reached) THEN 'party'
                WHEN s.organization IN (SELECT id FROM peer) THEN 'peer' ELSE 'outsider' END AS relation,
             CASE WHEN s.organization = ",
        )
        .value(own)
        .then(
            " THEN 'owner' WHEN s.id IN (SELECT id FROM known) THEN 'party'
                WHEN s.organization IN (SELECT id FROM peer) THEN 'peer' ELSE 'outsider' END AS server_relation
             FROM seen JOIN channel c ON c.id = seen.id ",
        )
        .then(channel_joins!())
        .then("WHERE c.deleted_at IS NULL")
}

fn row(cells: &Cells) -> Result<ChannelRow, StoreError> {
    Ok(ChannelRow {
        channel: read(cells)?,
        viewer: viewer(cells, "relation")?,
        server_viewer: viewer(cells, "server_relation")?,
    })
}
