//! Connections with what people read beside them.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::access::Access;
use adit_core::domain::connection::{ConnectionType, Protocol, Side};
use adit_core::domain::id::{
    AgreementId, ChannelId, ConnectionId, GrantId, OrganizationId, RouteId, ServerId,
};
use adit_core::domain::name::Name;
use adit_core::domain::status::{PauseHold, Status};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionRecord {
    pub id: ConnectionId,
    pub carried: Carried,
    pub source: EndRecord,
    pub target: EndRecord,
    pub status: Status,
    /// The target's hold was made by a downgrade of its tier; never without such a hold.
    pub held_for_tier: bool,
    /// Why it is Failed.
    pub failure: Option<String>,
    pub secret_epoch: u32,
    pub cut_epoch: u32,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub first_connected_at: Option<Timestamp>,
}

/// What a connection is for, with what it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    Channel { grant: GrantId, channel: ChannelId, name: Name, protocol: Protocol },
    Admin { access: Access, agreement: AgreementId, expires_at: Timestamp },
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndRecord {
    pub organization: OrganizationId,
    pub organization_name: Name,
    /// `None` at the source of an offer that nobody has accepted.
    pub server: Option<EndServer>,
}

/// The server at one end. The name is the last known one after the connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndServer {
    pub id: ServerId,
    pub name: Name,
    pub route: RouteId,
}

impl ConnectionRecord {
    #[must_use]
    pub(crate) const fn kind(&self) -> ConnectionType {
        match self.carried {
            Carried::Channel { .. } => ConnectionType::P2p,
            Carried::Admin { access, .. } => access.kind(),
        }
    }

    #[must_use]
    pub(crate) const fn end(&self, side: Side) -> &EndRecord {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Returns what the channel is called that it carries, if it carries one.
    const fn channel_name(&self) -> Option<&Name> {
        match &self.carried {
            Carried::Channel { name, .. } => Some(name),
            Carried::Admin { .. } => None,
        }
    }

    /// Returns the side a server stands at.
    #[must_use]
    pub(crate) fn side_of(&self, server: ServerId) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.end(*side).has(server))
    }
}

impl EndRecord {
    /// Returns the name as the route shows it: the server's, or the organization's that has yet to name one.
    #[must_use]
    pub(crate) fn name(&self) -> &Name {
        self.server.as_ref().map_or(&self.organization_name, |server| &server.name)
    }

    fn has(&self, server: ServerId) -> bool {
        self.server.as_ref().is_some_and(|it| it.id == server)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct NewConnection {
    pub id: ConnectionId,
    pub grant: GrantId,
    pub source: ServerId,
    pub target: ServerId,
    pub status: Status,
    pub created_at: Timestamp,
}

macro_rules! connection_columns {
    () => {
        "c.*, g.channel, coalesce(c.channel_last_name, ch.name) AS channel_name, ch.protocol, k.epoch AS secret_epoch,
                coalesce(c.source_last_name, s.name) AS source_name, s.route AS source_route,
                so.id AS source_organization, so.name AS source_organization_name,
                coalesce(c.target_last_name, t.name) AS target_name, t.route AS target_route,
                ta.id AS target_organization, ta.name AS target_organization_name "
    };
}
pub(super) use connection_columns;

/// What the columns are of, after the connection `c` itself.
macro_rules! connection_joins {
    () => {
        "JOIN connection_secret k ON k.connection = c.id
             LEFT JOIN channel_grant g ON g.id = c.channel_grant LEFT JOIN channel ch ON ch.id = g.channel
             LEFT JOIN server s ON s.id = c.source_server
             JOIN organization so ON so.id = coalesce(s.organization, c.recipient)
             JOIN server t ON t.id = c.target_server JOIN organization ta ON ta.id = t.organization "
    };
}
pub(super) use connection_joins;

macro_rules! select {
    ($which:literal) => {
        sql(concat!("SELECT ", connection_columns!(), "FROM connection c ", connection_joins!(), $which))
    };
}

macro_rules! select_living {
    ($which:literal) => {
        sql(concat!(
            "SELECT ",
            connection_columns!(),
            "FROM connection c ",
            connection_joins!(),
            $which,
            " AND c.status NOT IN ('Declined', 'Expired', 'Terminated') ORDER BY c.created_at, c.id"
        ))
    };
}

impl Tx {
    /// Inserts the row. Its secret belongs to it: insert that in the same transaction.
    pub(crate) async fn insert_connection(&mut self, new: &NewConnection) -> Result<(), StoreError> {
        let query = sql("INSERT INTO connection
                (id, kind, channel_grant, source_server, target_server, status, created_at, changed_at)
             VALUES ($1, 'P2P', $2, $3, $4, $5, $6, $6)")
        .bind(text(new.id))
        .bind(text(new.grant))
        .bind(text(new.source))
        .bind(text(new.target))
        .bind(new.status.as_str())
        .bind(new.created_at.as_millis());
        self.run("making a connection", query).await?;
        self.note_change(Changed::Connection(new.id));
        Ok(())
    }

    pub(crate) async fn connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<ConnectionRecord>, StoreError> {
        let query = select!("WHERE c.id = $1").bind(text(id));
        self.one_readable("looking a connection up", query, read).await
    }

    pub(crate) async fn connections_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let query = select!("WHERE c.source_server = $1 OR c.target_server = $1 ORDER BY c.created_at, c.id")
            .bind(text(server));
        self.all_readable("listing a server's connections", query, read).await
    }

    /// Returns those of a server's connections that have not ended, without those that were only offered.
    pub(crate) async fn rules_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let query = select!(
            "WHERE (c.source_server = $1 OR c.target_server = $1)
                AND c.status NOT IN ('Provisioning', 'Offered', 'Declined', 'Expired', 'Terminated')
             ORDER BY c.id"
        )
        .bind(text(server));
        self.all_readable("listing a server's connections", query, read).await
    }

    /// Returns those of a server's connections that have not ended.
    pub(crate) async fn living_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let query = select_living!("WHERE (c.source_server = $1 OR c.target_server = $1)").bind(text(server));
        self.all_readable("listing a server's connections", query, read).await
    }

    /// Returns those of a channel's connections that have not ended.
    pub(crate) async fn living_of_channel(
        &mut self,
        channel: ChannelId,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let query = select_living!("WHERE g.channel = $1").bind(text(channel));
        self.all_readable("listing a channel's connections", query, read).await
    }

    /// Returns those of an agreement's connections that have not ended.
    pub(crate) async fn living_of_agreement(
        &mut self,
        agreement: AgreementId,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        // The few first: a server's planner reads whole tables where it may join in any order.
        const CHOSEN: &str = concat!(
            "WITH chosen (id) AS (
                SELECT k.id FROM channel_grant y JOIN connection k ON k.channel_grant = y.id WHERE y.agreement = $1
                UNION SELECT k.id FROM connection k WHERE k.agreement = $1)
             SELECT ",
            connection_columns!(),
            "FROM chosen JOIN connection c ON c.id = chosen.id ",
            connection_joins!(),
            "WHERE c.status NOT IN ('Declined', 'Expired', 'Terminated') ORDER BY c.created_at, c.id"
        );
        let query = sql(CHOSEN).bind(text(agreement));
        self.all_readable("listing an agreement's connections", query, read).await
    }

    /// Returns those of a server's connections that have ended.
    pub(crate) async fn ended_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query = sql("SELECT id FROM connection WHERE (source_server = $1 OR target_server = $1)
                AND status IN ('Declined', 'Expired', 'Terminated') ORDER BY created_at, id")
        .bind(text(server));
        self.all("listing what ended", query, |cells| cells.get("id")).await
    }

    /// Returns a batch of an owner's connections for read-write administration that have not ended, those
    /// after the id `after`.
    pub(crate) async fn managed_read_write(
        &mut self,
        owner: OrganizationId,
        after: Option<ConnectionId>,
        count: u32,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let query = select!(
            "WHERE t.organization = $1 AND c.kind = 'Admin RW' AND c.id > $2
                AND c.status NOT IN ('Declined', 'Expired', 'Terminated') ORDER BY c.id LIMIT $3"
        )
        .bind(text(owner))
        .bind(after.map(text).unwrap_or_default())
        .bind(i64::from(count));
        self.all_readable("listing what an organization lets others manage", query, read).await
    }

    pub(crate) async fn connection_of_grant(
        &mut self,
        grant: GrantId,
    ) -> Result<Option<ConnectionRecord>, StoreError> {
        let query = select!("WHERE c.channel_grant = $1").bind(text(grant));
        self.one_readable("looking a grant's connection up", query, read).await
    }

    /// Sets the status; `failure` goes with Failed and with nothing else. The names are kept when it ends;
    /// what a downgrade holds stays so while the target's hold lasts.
    pub(crate) async fn set_status(
        &mut self,
        connection: &ConnectionRecord,
        status: Status,
        failure: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let last_name = |side| connection.end(side).server.as_ref().map(|server| text(&server.name));
        let last_names = |side| last_name(side).filter(|_| status.is_terminal());
        let target_holds = status.pause_hold().is_some_and(|holds| holds.includes(Side::Target));
        let query = sql("UPDATE connection SET status = $1, held_by = $2, held_for_tier = $3, failure = $4,
                changed_at = $5, source_last_name = $6, target_last_name = $7, channel_last_name = $8 WHERE id = $9")
        .bind(status.as_str())
        .bind(status.pause_hold().map(pause_hold_word))
        .bind(connection.held_for_tier && target_holds)
        .bind(failure.map(str::to_owned))
        .bind(at.as_millis())
        .bind(last_names(Side::Source))
        .bind(last_names(Side::Target))
        .bind(connection.channel_name().filter(|_| status.is_terminal()).map(text))
        .bind(text(connection.id));
        self.run("changing a connection's status", query).await?;
        self.note_change(Changed::Connection(connection.id));
        Ok(())
    }

    pub(crate) async fn raise_cut_epoch(&mut self, id: ConnectionId) -> Result<(), StoreError> {
        let query = sql("UPDATE connection SET cut_epoch = cut_epoch + 1 WHERE id = $1").bind(text(id));
        self.run("cutting a connection's tunnel", query).await?;
        self.note_change(Changed::Connection(id));
        Ok(())
    }

    pub(crate) async fn set_first_connected(
        &mut self,
        id: ConnectionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE connection SET first_connected_at = $1 WHERE id = $2 AND first_connected_at IS NULL")
                .bind(at.as_millis())
                .bind(text(id));
        self.run("noting a first tunnel", query).await.map(drop)
    }
}

const fn pause_hold_word(holds: PauseHold) -> &'static str {
    match holds {
        PauseHold::Source => "source",
        PauseHold::Target => "target",
        PauseHold::Both => "both",
    }
}

pub(super) fn read(cells: &Cells) -> Result<ConnectionRecord, StoreError> {
    Ok(ConnectionRecord {
        id: cells.get("id")?,
        carried: read_carried(cells)?,
        source: EndRecord {
            organization: cells.get("source_organization")?,
            organization_name: cells.name("source_organization_name")?,
            server: read_source(cells)?,
        },
        target: EndRecord {
            organization: cells.get("target_organization")?,
            organization_name: cells.name("target_organization_name")?,
            server: Some(EndServer {
                id: cells.get("target_server")?,
                name: cells.name("target_name")?,
                route: cells.get("target_route")?,
            }),
        },
        status: read_status(cells)?,
        held_for_tier: cells.flag("held_for_tier")?,
        failure: cells.maybe("failure")?,
        secret_epoch: cells.number("secret_epoch")?,
        cut_epoch: cells.number("cut_epoch")?,
        created_at: cells.time("created_at")?,
        changed_at: cells.time("changed_at")?,
        first_connected_at: cells.maybe_time("first_connected_at")?,
    })
}

fn read_carried(cells: &Cells) -> Result<Carried, StoreError> {
    Ok(match Access::of(read_kind(cells)?) {
        None => Carried::Channel {
            grant: cells.get("channel_grant")?,
            channel: cells.get("channel")?,
            name: cells.name("channel_name")?,
            protocol: cells.get("protocol")?,
        },
        Some(access) => Carried::Admin {
            access,
            agreement: cells.get("agreement")?,
            expires_at: cells.time("expires_at")?,
        },
    })
}

pub(super) fn read_kind(cells: &Cells) -> Result<ConnectionType, StoreError> {
    let label = cells.string("kind")?;
    let kind = ConnectionType::ALL.into_iter().find(|kind| kind.as_str() == label);
    kind.ok_or(StoreError::Damaged { column: "kind" })
}

fn read_source(cells: &Cells) -> Result<Option<EndServer>, StoreError> {
    let Some(id) = cells.maybe("source_server")? else { return Ok(None) };
    Ok(Some(EndServer { id, name: cells.name("source_name")?, route: cells.get("source_route")? }))
}

fn read_status(cells: &Cells) -> Result<Status, StoreError> {
    let label = cells.string("status")?;
    let held_by: Option<String> = cells.maybe("held_by")?;
    Status::ALL
        .into_iter()
        .find(|status| {
            status.as_str() == label && status.pause_hold().map(pause_hold_word) == held_by.as_deref()
        })
        .ok_or(StoreError::Damaged { column: "status" })
}
