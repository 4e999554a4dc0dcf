//! What an organization begins with: how many of each kind of thing there are, and what connections are to it.

use super::connection_row::tunnel_up;
use super::servers::EndsSoon;
use crate::store::api_token::{self, ApiTokenRecord};
use crate::store::cells::Cells;
use crate::store::invitation::{self, InvitationRecord, select_invitations};
use crate::store::query::{Query, sql};
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::limits::{API_TOKEN_ENDS_SOON, INVITATION_ENDS_SOON};
use adit_core::domain::time::Timestamp;

/// What a connection is to one of its parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It is offered, and the party's to accept.
    Offered,
    Failed,
    /// It is Active and not connected.
    Broken,
    /// It waits to be activated.
    Ready,
    /// It is Active and connected.
    Flows,
    /// It lives, and nobody has to do anything.
    Nothing,
}

impl Need {
    const ALL: [Self; 6] =
        [Self::Offered, Self::Failed, Self::Broken, Self::Ready, Self::Flows, Self::Nothing];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Ready => "ready",
            Self::Flows => "flows",
            Self::Nothing => "nothing",
        }
    }
}

/// How many connections of an organization are in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grouped {
    pub need: Need,
    pub count: u32,
    pub p2p: u32,
}

/// How many there are of what an organization has, and of what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub servers: u32,
    pub linked: u32,
    pub channels: u32,
    pub peers: u32,
    pub peerings: u32,
    pub grants: u32,
    pub certificates: u32,
    pub connectors: u32,
    pub invitations: u32,
    pub api_tokens: u32,
}

impl Tx {
    /// Counts the living connections of an organization by what they are to it.
    pub(crate) async fn count_needs(
        &mut self,
        party: OrganizationId,
        now: Timestamp,
    ) -> Result<Vec<Grouped>, StoreError> {
        // Which servers are linked is asked once for each, rather than for each of its connections. An agreement, whatever
        // became of it, is what a connection comes from.
        let query = sql("WITH linked (server) AS MATERIALIZED (SELECT l.server FROM (")
            .agreed_with(party)
            .then(
                ") o JOIN server x ON x.organization = o.id JOIN server_link l ON l.server = x.id
                    JOIN gateway_lease w ON w.gateway = l.gateway WHERE l.is_up AND w.until > ",
            )
            .value(now.as_millis())
            .then(") SELECT n.need, count(*) AS n, count(n.p2p) AS p2p FROM (SELECT ")
            .need(party)
            .then(" AS need, CASE WHEN c.kind = 'P2P' THEN 1 END AS p2p FROM connection c WHERE 1 = 1")
            .of(party)
            .then(" AND c.status NOT IN ('Declined', 'Expired', 'Terminated')")
            .then(" AND NOT (c.status = 'Offered' AND c.expires_at <= ")
            .value(now.as_millis())
            .then(")) n GROUP BY n.need");
        self.all_readable("counting what connections need", query, grouped).await
    }

    /// Returns whether a message was acknowledged on any connection of an organization.
    pub(crate) async fn has_acknowledged(&mut self, party: OrganizationId) -> Result<bool, StoreError> {
        // In the order of an index, so that PostgreSQL does not rather look through all connections for the first.
        let first = |query: Query, owner: &'static str| {
            let query = query
                .then("(SELECT count(*) FROM (SELECT 1 FROM connection c JOIN connection_fact f ON f.connection = c.id
                    WHERE f.last_ack_at IS NOT NULL AND c.")
                .then(owner);
            query.then(" = ").value(text(party)).then(" ORDER BY c.created_at, c.id LIMIT 1) found)")
        };
        let query = first(sql("SELECT "), "source_owner").then(" + ");
        let query = first(query, "target_owner").then(" AS n");
        Ok(self.count("looking for a message", query).await? > 0)
    }

    /// Counts what an organization has, and what waits for it; API tokens are those of one of its users.
    pub(crate) async fn overview_counts(
        &mut self,
        own: OrganizationId,
        user: Option<UserId>,
        now: Timestamp,
    ) -> Result<Counts, StoreError> {
        const DOING: &str = "counting what waits";
        let owns = |query: Query| query.value(text(own));
        let mut query = owns(sql(
            "SELECT (SELECT count(*) FROM server s WHERE s.deleted_at IS NULL AND s.organization = ",
        ));
        query = owns(query.then(
            ") AS servers, (SELECT count(*) FROM server s JOIN server_link l ON l.server = s.id
                JOIN gateway_lease w ON w.gateway = l.gateway WHERE s.deleted_at IS NULL AND l.is_up AND s.organization = ",
        ));
        query = query.then(" AND w.until > ").value(now.as_millis()).then(
            ") AS linked, (SELECT count(*) FROM channel h JOIN server s ON s.id = h.server
                WHERE h.deleted_at IS NULL AND s.organization = ",
        );
        query = owns(query).then(
            ") AS channels, (SELECT count(*) FROM agreement a WHERE a.status = 'live' AND (a.requester = ",
        );
        query = owns(owns(query).then(" OR a.recipient = ")).then(
            ")) AS peers, (SELECT count(*) FROM agreement a WHERE a.status = 'requested' AND a.recipient = ",
        );
        query = owns(query).then(
            ") AS peerings, (SELECT count(*) FROM channel_grant g WHERE g.status = 'pending' AND g.origin = 'offered'
                AND g.holder = ",
        );
        query = owns(query).then(
            ") AS offered, (SELECT count(*) FROM server x JOIN channel h ON h.server = x.id
                JOIN channel_grant g ON g.channel = h.id
                WHERE g.status = 'pending' AND g.origin = 'requested' AND x.organization = ",
        );
        query = owns(query).then(") AS requested");
        for what in EndsSoon::ALL {
            query = query
                .then(", (SELECT count(*) FROM server s WHERE s.deleted_at IS NULL AND s.organization = ");
            query = owns(query).ending(what, now).then(") AS ");
            query = query.then(what.as_str());
        }
        query = query.then(", (SELECT count(*) FROM invitation i WHERE i.organization = ");
        query = owns(query)
            .invitation_ends_soon(now)
            .then(") AS invitations, (SELECT count(*) FROM api_token t WHERE t.account = ");
        query =
            query.value(user.map(text).unwrap_or_default()).api_token_ends_soon(now).then(") AS api_tokens");
        self.one(DOING, query, counts).await?.ok_or(StoreError::Damaged { column: "count" })
    }
}

impl Tx {
    /// Reads the invitations that nobody has used and that end soon, the next to end first.
    pub(crate) async fn invitations_ending(
        &mut self,
        organization: OrganizationId,
        now: Timestamp,
        few: u32,
    ) -> Result<Vec<InvitationRecord>, StoreError> {
        let query = sql(select_invitations!("WHERE i.organization = "))
            .value(text(organization))
            .invitation_ends_soon(now)
            .then(" ORDER BY i.expires_at, i.id LIMIT ")
            .value(i64::from(few));
        self.all_readable("reading invitations that end", query, invitation::read).await
    }

    /// Reads a user's API tokens that end soon in the same way.
    pub(crate) async fn api_tokens_ending(
        &mut self,
        user: UserId,
        now: Timestamp,
        few: u32,
    ) -> Result<Vec<ApiTokenRecord>, StoreError> {
        let query = sql("SELECT t.* FROM api_token t WHERE t.account = ")
            .value(text(user))
            .api_token_ends_soon(now)
            .then(" ORDER BY t.expires_at, t.id LIMIT ")
            .value(i64::from(few));
        self.all_readable("reading API tokens that end", query, api_token::read).await
    }
}

impl Query {
    /// Goes on with the word for what the connection `c` is to `party`, where the servers that are linked are `linked`.
    fn need(self, party: OrganizationId) -> Self {
        self.then("CASE WHEN c.status = 'Offered' AND c.recipient = ").value(text(party)).then(concat!(
            " THEN 'offered' WHEN c.status = 'Failed' THEN 'failed' WHEN c.status = 'Ready' THEN 'ready'
                WHEN c.status <> 'Active' THEN 'nothing' WHEN ",
            tunnel_up!(),
            " AND c.source_server IN (SELECT server FROM linked) AND c.target_server IN (SELECT server FROM linked)
                THEN 'flows' ELSE 'broken' END"
        ))
    }

    /// Goes on with the ids of all that an organization ever had to do with, and its own.
    fn agreed_with(self, organization: OrganizationId) -> Self {
        self.then("SELECT a.recipient AS id FROM agreement a WHERE a.requester = ")
            .value(text(organization))
            .then(" UNION SELECT a.requester FROM agreement a WHERE a.recipient = ")
            .value(text(organization))
            .then(" UNION SELECT id FROM organization WHERE id = ")
            .value(text(organization))
    }

    /// Narrows the invitations `i` to those that nobody has used and that end soon.
    fn invitation_ends_soon(self, now: Timestamp) -> Self {
        self.then(" AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > ")
            .value(now.as_millis())
            .then(" AND i.expires_at < ")
            .value(now.saturating_add(INVITATION_ENDS_SOON).as_millis())
    }

    /// Narrows the API tokens `t` to those that are good and end soon.
    fn api_token_ends_soon(self, now: Timestamp) -> Self {
        self.then(" AND t.revoked_at IS NULL AND t.expires_at > ")
            .value(now.as_millis())
            .then(" AND t.expires_at < ")
            .value(now.saturating_add(API_TOKEN_ENDS_SOON).as_millis())
    }
}

fn grouped(cells: &Cells) -> Result<Grouped, StoreError> {
    let word = cells.string("need")?;
    let need = Need::ALL.into_iter().find(|need| need.as_str() == word);
    let need = need.ok_or(StoreError::Damaged { column: "need" })?;
    Ok(Grouped { need, count: cells.number("n")?, p2p: cells.number("p2p")? })
}

fn counts(cells: &Cells) -> Result<Counts, StoreError> {
    Ok(Counts {
        servers: cells.number("servers")?,
        linked: cells.number("linked")?,
        channels: cells.number("channels")?,
        peers: cells.number("peers")?,
        peerings: cells.number("peerings")?,
        grants: cells.number("offered")?.saturating_add(cells.number("requested")?),
        certificates: cells.number("certificate")?,
        connectors: cells.number("connector")?,
        invitations: cells.number("invitations")?,
        api_tokens: cells.number("api_tokens")?,
    })
}
