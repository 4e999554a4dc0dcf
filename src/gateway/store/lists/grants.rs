//! The list of grants, by when they were made, each with the connection made from it and how the viewer stands
//! to its channel.

use super::relation::{Eyes, viewer};
use super::{Listing, made};
use crate::store::cells::Cells;
use crate::store::grant::{GrantRecord, GrantStatus, grant_columns, grant_joins, read};
use crate::store::query::Query;
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
        let chosen = chosen(Query::choose(), viewpoint, filter, paging)?.chosen(paging);
        let query = match viewpoint {
            Some(organization) => seen_by(Eyes { organization, now }, chosen),
            None => chosen.then("SELECT 'owner' AS relation, "),
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

/// Goes on with the ids of the page's rows. What is asked of a party's grants stands where they are found, so that those
/// that it holds and those of its channels are not compared with all others.
fn chosen(
    query: Query,
    viewpoint: Option<OrganizationId>,
    filter: &GrantFilter,
    paging: &Paging,
) -> Result<Query, StoreError> {
    const SEEK: &str = " AND (g.created_at, g.id) > ";
    const ORDER: &str = " ORDER BY g.created_at, g.id";
    let walked = viewpoint.or(filter.organization);
    // What a party decides itself is told apart where its grants are read: few of them are pending.
    let is_own = filter.decider.is_some() && filter.decider == walked;
    let waiting = |own| if is_own { own } else { "" };
    let conditions = |query| wanted(query, viewpoint, filter, is_own);
    let Some(party) = walked else {
        let query = conditions(query.then("SELECT g.id FROM channel_grant g WHERE 1 = 1"));
        return Ok(query.after(List::Grants, paging, SEEK)?.then(ORDER).limit(paging));
    };
    // Those that it holds have an index in this order, and are walked no further than the page goes.
    let query = query.then(
        "SELECT own.id FROM (SELECT * FROM (SELECT g.id, g.created_at FROM channel_grant g WHERE g.holder = ",
    );
    let query = query.value(text(party)).then(waiting(" AND g.status = 'pending' AND g.origin = 'offered'"));
    let query = conditions(query).after(List::Grants, paging, SEEK)?.then(ORDER).limit(paging);
    let query = query
        .then(
            ") held UNION SELECT g.id, g.created_at FROM server x JOIN channel h ON h.server = x.id
                JOIN channel_grant g ON g.channel = h.id WHERE x.organization = ",
        )
        .value(text(party))
        .then(waiting(" AND g.status = 'pending' AND g.origin = 'requested'"));
    let query = conditions(query).after(List::Grants, paging, SEEK)?;
    Ok(query.then(") own ORDER BY own.created_at, own.id").limit(paging))
}

/// Narrows the grants `g` to those that are asked for.
fn wanted(mut query: Query, viewpoint: Option<OrganizationId>, filter: &GrantFilter, is_own: bool) -> Query {
    if let Some(party) = filter.organization.filter(|_| viewpoint.is_some()) {
        query = query.then(" AND (g.holder = ").value(text(party)).then(" OR g.channel IN (");
        query = query.channels_of(party).then("))");
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
    query
}

fn seen_by(eyes: Eyes, chosen: Query) -> Query {
    chosen
        .then("SELECT CASE WHEN o.id = ")
        .value(text(eyes.organization))
        .then(" THEN 'owner' WHEN ")
        .whether_reached(eyes)
        .then(" THEN 'party' WHEN o.id IN (")
        .peers_of(eyes.organization)
        .then(") THEN 'peer' ELSE 'outsider' END AS relation, ")
}

fn row(cells: &Cells) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        grant: read(cells)?,
        connection: cells.maybe("connection")?,
        published: cells.flag("published")?,
        viewer: viewer(cells, "relation")?,
    })
}
