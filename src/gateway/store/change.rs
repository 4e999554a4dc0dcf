//! The feed: what changed, as rows in the order of the commits. Each act's changes are written in its own
//! transaction; measurements have none. The newest rows are kept; who is further behind reads everything.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::postgres::{FEED_LOCK, TELL};
use super::query::sql;
use super::tx::{Tx, text};
use super::{Store, StoreError};
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, GrantId, OrganizationId, ServerId};
use adit_core::domain::word::Word;

/// What a change is of; newer builds may add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    Organization,
    Server,
    Key,
    Channel,
    Agreement,
    Grant,
    Connection,
    Secret,
    SecretState,
    Token,
    User,
    AdminSession,
}

impl ChangeKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Server => "server",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Agreement => "agreement",
            Self::Grant => "grant",
            Self::Connection => "connection",
            Self::Secret => "secret",
            Self::SecretState => "secret_state",
            Self::Token => "token",
            Self::User => "user",
            Self::AdminSession => "admin_session",
        }
    }
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    /// Its tier; nobody else is told.
    Organization(OrganizationId),
    OrganizationName(OrganizationId),
    /// Its name or what is said of it.
    Server(ServerId),
    /// The key on file, or a revoked one.
    Key(ServerId),
    /// One that peers see, or saw until now.
    Channel(ChannelId),
    HiddenChannel(ChannelId),
    Agreement(AgreementId),
    Grant(GrantId),
    Connection(ConnectionId),
    /// A new one: its agents fetch it.
    Secret(ConnectionId),
    /// Who has seen or has it, or that it is gone; agents are told nothing else.
    SecretState(ConnectionId),
    Token(ServerId),
    /// Who acts for an organization, or is asked to.
    Users(OrganizationId),
    /// One of a connection's admin sessions; no agent is told.
    AdminSession(ConnectionId),
}

/// One row: whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub seq: i64,
    /// Whose members may be interested.
    pub organization: Option<OrganizationId>,
    /// Whose agent is told something else from now on.
    pub server: Option<ServerId>,
    pub connection: Option<ConnectionId>,
    pub kind: Word<ChangeKind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangesAfter {
    /// In order; all there are unless there are as many as were asked for.
    Rows(Vec<ChangeRow>),
    /// Some are gone already: read everything, and go on after `newest`.
    Lost { newest: i64 },
}

/// An end without a server has a row without one.
const CONNECTION: &str = "INSERT INTO change (organization, server, connection, kind)
     SELECT s.organization, s.id, c.id, $2 FROM connection c
        JOIN server s ON s.id = c.source_server OR s.id = c.target_server WHERE c.id = $1
     UNION ALL SELECT c.recipient, NULL, c.id, $2 FROM connection c
        WHERE c.id = $1 AND c.source_server IS NULL AND c.recipient IS NOT NULL";

/// Its owners: of an admin connection the managed server's alone.
const SECRET_STATE: &str = "INSERT INTO change (organization, connection, kind)
     SELECT s.organization, c.id, $2 FROM connection c
        JOIN server s ON s.id = c.source_server OR s.id = c.target_server
        WHERE c.id = $1 AND (c.kind = 'P2P' OR s.id = c.target_server)";

/// Its peers are told the name.
const SERVER: &str = "INSERT INTO change (organization, server, kind)
     SELECT s.organization, s.id, $2 FROM server s WHERE s.id = $1 OR s.id IN (
        SELECT c.target_server FROM connection c WHERE c.source_server = $1
            AND c.status NOT IN ('Declined', 'Expired', 'Terminated')
        UNION SELECT c.source_server FROM connection c WHERE c.target_server = $1
            AND c.status NOT IN ('Declined', 'Expired', 'Terminated'))";

/// All peers it ever had are told of revoked keys.
const KEY: &str = "INSERT INTO change (organization, server, kind)
     SELECT s.organization, s.id, $2 FROM server s WHERE s.id = $1 OR s.id IN (
        SELECT c.target_server FROM connection c WHERE c.source_server = $1
        UNION SELECT c.source_server FROM connection c WHERE c.target_server = $1)";

const ORGANIZATION: &str = "INSERT INTO change (organization, kind) VALUES ($1, $2)";

/// Peers see the name; their agents are told the name of who manages or is managed.
const ORGANIZATION_NAME: &str = "INSERT INTO change (organization, server, kind)
     SELECT o.id, NULL, $2 FROM organization o WHERE o.id = $1
     UNION ALL SELECT CASE WHEN a.requester = $1 THEN a.recipient ELSE a.requester END, NULL, $2 FROM agreement a
        WHERE a.status IN ('requested', 'live') AND a.requester <> a.recipient
            AND (a.requester = $1 OR a.recipient = $1)
     UNION ALL SELECT s.organization, s.id, $2 FROM server s WHERE s.organization = $1 OR s.id IN (
        SELECT c.target_server FROM connection c JOIN server x ON x.id = c.source_server
            WHERE x.organization = $1 AND c.status NOT IN ('Declined', 'Expired', 'Terminated')
        UNION SELECT c.source_server FROM connection c JOIN server x ON x.id = c.target_server
            WHERE x.organization = $1 AND c.status NOT IN ('Declined', 'Expired', 'Terminated'))";

/// The owner and whoever has an agreement with it; what an agent is told does not depend on it.
const CHANNEL: &str = "INSERT INTO change (organization, kind)
     SELECT s.organization, $2 FROM channel h JOIN server s ON s.id = h.server WHERE h.id = $1
     UNION SELECT CASE WHEN a.requester = s.organization THEN a.recipient ELSE a.requester END, $2
        FROM channel h JOIN server s ON s.id = h.server
        JOIN agreement a ON a.requester = s.organization OR a.recipient = s.organization
        WHERE h.id = $1 AND a.status = 'live'";

/// Of a channel that is hidden only those that have a connection to it hear.
const HIDDEN_CHANNEL: &str = "INSERT INTO change (organization, kind)
     SELECT s.organization, $2 FROM channel h JOIN server s ON s.id = h.server WHERE h.id = $1
     UNION SELECT g.holder, $2 FROM channel_grant g JOIN connection k ON k.channel_grant = g.id
        WHERE g.channel = $1 AND k.status NOT IN ('Declined', 'Expired', 'Terminated')";

const AGREEMENT: &str = "INSERT INTO change (organization, kind)
     SELECT a.requester, $2 FROM agreement a WHERE a.id = $1
     UNION SELECT a.recipient, $2 FROM agreement a WHERE a.id = $1";

const GRANT: &str = "INSERT INTO change (organization, kind)
     SELECT g.holder, $2 FROM channel_grant g WHERE g.id = $1
     UNION SELECT s.organization, $2 FROM channel_grant g JOIN channel h ON h.id = g.channel
        JOIN server s ON s.id = h.server WHERE g.id = $1";

/// Who is enrolled with it is another change.
const TOKEN: &str = "INSERT INTO change (organization, kind)
     SELECT s.organization, $2 FROM server s WHERE s.id = $1";

/// No agent is told of people.
const USERS: &str =
    "INSERT INTO change (organization, kind) SELECT o.id, $2 FROM organization o WHERE o.id = $1";

/// Both parties; their agents have told it.
const ADMIN_SESSION: &str = "INSERT INTO change (organization, connection, kind)
     SELECT s.organization, c.id, $2 FROM connection c
        JOIN server s ON s.id = c.source_server OR s.id = c.target_server WHERE c.id = $1";

impl Changed {
    const fn kind(self) -> ChangeKind {
        match self {
            Self::Organization(_) | Self::OrganizationName(_) => ChangeKind::Organization,
            Self::Server(_) => ChangeKind::Server,
            Self::Key(_) => ChangeKind::Key,
            Self::Channel(_) | Self::HiddenChannel(_) => ChangeKind::Channel,
            Self::Agreement(_) => ChangeKind::Agreement,
            Self::Grant(_) => ChangeKind::Grant,
            Self::Connection(_) => ChangeKind::Connection,
            Self::Secret(_) => ChangeKind::Secret,
            Self::SecretState(_) => ChangeKind::SecretState,
            Self::Token(_) => ChangeKind::Token,
            Self::Users(_) => ChangeKind::User,
            Self::AdminSession(_) => ChangeKind::AdminSession,
        }
    }

    /// Returns the statement that writes its rows, and what it is of.
    fn rows(self) -> (&'static str, String) {
        match self {
            Self::Organization(id) => (ORGANIZATION, text(id)),
            Self::OrganizationName(id) => (ORGANIZATION_NAME, text(id)),
            Self::Server(id) => (SERVER, text(id)),
            Self::Key(id) => (KEY, text(id)),
            Self::Channel(id) => (CHANNEL, text(id)),
            Self::HiddenChannel(id) => (HIDDEN_CHANNEL, text(id)),
            Self::Agreement(id) => (AGREEMENT, text(id)),
            Self::Grant(id) => (GRANT, text(id)),
            Self::Connection(id) | Self::Secret(id) => (CONNECTION, text(id)),
            Self::SecretState(id) => (SECRET_STATE, text(id)),
            Self::Token(id) => (TOKEN, text(id)),
            Self::Users(id) => (USERS, text(id)),
            Self::AdminSession(id) => (ADMIN_SESSION, text(id)),
        }
    }
}

impl Tx {
    /// Writes the rows of the feed, each change's once.
    pub(super) async fn write_changes(&mut self, changed: Vec<Changed>) -> Result<(), StoreError> {
        const DOING: &str = "writing what changed";
        if changed.is_empty() {
            return Ok(());
        }
        if self.is_postgres() {
            self.rows(DOING, sql(FEED_LOCK)).await?;
        }
        for change in changed.into_iter().collect::<BTreeSet<_>>() {
            let (statement, of) = change.rows();
            self.run(DOING, sql(statement).bind(of).bind(change.kind().as_str())).await?;
        }
        if self.is_postgres() {
            self.rows(DOING, sql(TELL)).await?;
        }
        Ok(())
    }

    async fn newest_change(&mut self) -> Result<i64, StoreError> {
        let query = sql("SELECT coalesce((SELECT max(seq) FROM change), pruned_to) AS newest FROM feed");
        let newest = self.one("asking for the newest change", query, |cells| cells.serial("newest")).await?;
        newest.ok_or(StoreError::Damaged { column: "pruned_to" })
    }

    async fn pruned_to(&mut self) -> Result<i64, StoreError> {
        let query = sql("SELECT pruned_to FROM feed");
        let pruned =
            self.one("asking for the oldest change", query, |cells| cells.serial("pruned_to")).await?;
        pruned.ok_or(StoreError::Damaged { column: "pruned_to" })
    }
}

impl Store {
    /// Returns the number of the newest change, 0 where there was none.
    pub(crate) async fn newest_change(&self) -> Result<i64, StoreError> {
        self.read().await?.newest_change().await
    }

    /// Returns the first `count` changes after `seq`.
    pub(crate) async fn changes_after(&self, seq: i64, count: u32) -> Result<ChangesAfter, StoreError> {
        let mut tx = self.read().await?;
        let newest = tx.newest_change().await?;
        // One that is behind is another database than before, as after a failover.
        if self.was_broken_off() || newest < seq || tx.pruned_to().await? > seq {
            return Ok(ChangesAfter::Lost { newest });
        }
        let query =
            sql("SELECT * FROM change WHERE seq > $1 ORDER BY seq LIMIT $2").bind(seq).bind(i64::from(count));
        Ok(ChangesAfter::Rows(tx.all("reading what changed", query, read).await?))
    }

    /// Forgets all but about the newest `kept` changes; returns how many went.
    pub(crate) async fn prune_changes(&self, kept: u32) -> Result<u64, StoreError> {
        const DOING: &str = "forgetting old changes";
        let upto = self.newest_change().await? - i64::from(kept);
        if self.read().await?.pruned_to().await? >= upto {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        tx.run(DOING, sql("UPDATE feed SET pruned_to = $1 WHERE pruned_to < $1").bind(upto)).await?;
        let gone = tx.run(DOING, sql("DELETE FROM change WHERE seq <= $1").bind(upto)).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

fn read(cells: &Cells) -> Result<ChangeRow, StoreError> {
    Ok(ChangeRow {
        seq: cells.serial("seq")?,
        organization: cells.maybe("organization")?,
        server: cells.maybe("server")?,
        connection: cells.maybe("connection")?,
        kind: Word::from_text(&cells.string("kind")?),
    })
}
