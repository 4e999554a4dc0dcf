//! The list of grants, by when they were made, each with the connection made from it and how the viewer stands
//! to its channel.

use super::relation::{Eyes, viewer};
use super::{Listing, made};
use crate::store::cells::Cells;
use crate::store::grant::{GrantRecord, GrantStatus, grant_columns, grant_joins, read};
use crate::store::query::{Query, sql};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{ChannelId, ConnectionId, GrantId, OrganizationId};
use adit_core::domain::page::{List, Page, Paging};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::Viewer;

/// Which grants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantFilter {
    /// Its owner's or holder's.
    pub organization: Option<OrganizationId>,
    /// Any of these; all when there are none.
    pub statuses: Vec<GrantStatus>,
    pub channel: Option<ChannelId>,
    /// Who has to approve or deny it, while it is pending.
    pub decider: Option<OrganizationId>,
    pub id: Option<GrantId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantRow {
    pub grant: GrantRecord,
    pub connection: Option<ConnectionId>,
    /// Of the channel.
    pub published: bool,
    /// How the viewer stands to the channel.
    pub viewer: Viewer,
}

const LISTING: Listing<GrantRow> =
    Listing { list: List::Grants, doing: "listing grants", place: made, read: row };

impl Tx {
    /// Lists those that `viewpoint` is a party of, or everybody's as the channels' owners see them.
    pub(crate) async fn list_grants(
        &mut self,
        viewpoint: Option<OrganizationId>,
        now: Timestamp,
        filter: &GrantFilter,
        paging: &Paging,
    ) -> Result<Page<GrantRow>, StoreError> {
        let chosen = chosen(viewpoint, filter, paging)?;
        let query = match viewpoint {
            Some(organization) => seen_by(Eyes { organization, now }, chosen),
            None => chosen.then(") SELECT 'owner' AS relation, "),
        };
        let query = query.then(COLUMNS).then(" ORDER BY g.created_at, g.id");
        self.page(&LISTING, paging, query).await
    }
}

const COLUMNS: &str = concat!(
    grant_columns!(),
    ", c.published, k.id AS connection FROM chosen JOIN channel_grant g ON g.id = chosen.id ",
    grant_joins!(),
    "LEFT JOIN connection k ON k.channel_grant = g.id"
);

/// Begins with the ids of the page's rows.
fn chosen(
    viewpoint: Option<OrganizationId>,
    filter: &GrantFilter,
    paging: &Paging,
) -> Result<Query, StoreError> {
    let query = sql("WITH chosen (id) AS (SELECT g.id FROM ");
    let walked = viewpoint.or(filter.organization);
    // What a party decides itself is told apart where its grants are read: few of them are pending.
    let is_own = filter.decider.is_some() && filter.decider == walked;
    let waiting = |own| if is_own { own } else { "" };
    let mut query = match walked {
        Some(party) => query
            .then("(SELECT y.id, y.created_at FROM channel_grant y WHERE y.holder = ")
            .value(text(party))
            .then(waiting(" AND y.status = 'pending' AND y.origin = 'offered'"))
            .then(
                " UNION SELECT y.id, y.created_at FROM server x JOIN channel h ON h.server = x.id
                    JOIN channel_grant y ON y.channel = h.id WHERE x.organization = ",
            )
            .value(text(party))
            .then(waiting(" AND y.status = 'pending' AND y.origin = 'requested'"))
            .then(") own JOIN channel_grant g ON g.id = own.id WHERE 1 = 1")
            .after(List::Grants, paging, " AND (own.created_at, own.id) > ")?,
        None => query.then("channel_grant g WHERE 1 = 1").after(
            List::Grants,
            paging,
            " AND (g.created_at, g.id) > ",
        )?,
    };
    if let Some(party) = filter.organization.filter(|_| viewpoint.is_some()) {
        query = query.then(" AND (g.holder = ").value(text(party)).then(
            " OR g.channel IN (SELECT h.id FROM server x JOIN channel h ON h.server = x.id WHERE x.organization = ",
        );
        query = query.value(text(party)).then("))");
    }
    if let Some(decider) = filter.decider.filter(|_| !is_own) {
        query = query.then(" AND g.status = 'pending' AND (g.origin = 'offered' AND g.holder = ");
        query = query.value(text(decider)).then(" OR g.origin = 'requested' AND g.channel IN (");
        query = query.channels_of(decider).then("))");
    }
    if let Some(channel) = filter.channel {
        query = query.then(" AND g.channel = ").value(text(channel));
    }
    if let Some(id) = filter.id {
        query = query.then(" AND g.id = ").value(text(id));
    }
    if !filter.statuses.is_empty() {
        let statuses = filter.statuses.iter().map(|status| status.as_str());
        query = query.then(" AND g.status IN (").list(statuses).then(")");
    }
    let order = match walked {
        Some(_) => " ORDER BY own.created_at, own.id",
        None => " ORDER BY g.created_at, g.id",
    };
    Ok(query.then(order).limit(paging))
}

fn seen_by(eyes: Eyes, chosen: Query) -> Query {
    chosen
        .then("), peer (id) AS (")
        .peers_of(eyes.organization)
        .then("), reached (id) AS (")
        .channels_reached_by(eyes)
        .then(") SELECT CASE WHEN o.id = ")
        .value(text(eyes.organization))
        .then(
            " THEN 'owner' WHEN c.id IN (SELECT id FROM reached) THEN 'party'
                WHEN o.id IN (SELECT id FROM peer) THEN 'peer' ELSE 'outsider' END AS relation, ",
        )
}

fn row(cells: &Cells) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        grant: read(cells)?,
        connection: cells.maybe("connection")?,
        published: cells.flag("published")?,
        viewer: viewer(cells, "relation")?,
    })
}
