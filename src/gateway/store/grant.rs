//! Grants: permission for one peer on one channel.

use std::str::FromStr;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{AgreementId, ChannelId, GrantId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantStatus {
    Pending,
    Approved,
    Denied,
    Revoked,
    Relinquished,
}

impl GrantStatus {
    const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::Revoked, Self::Relinquished];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Relinquished => "relinquished",
        }
    }
}

impl FromStr for GrantStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// Who made the first step; the other one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By the channel's owner.
    Offered,
    /// By the peer that wants to send.
    Requested,
}

impl Origin {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Requested => "requested",
        }
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Offered, Self::Requested].into_iter().find(|origin| origin.as_str() == text).ok_or(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantRecord {
    pub id: GrantId,
    pub agreement: AgreementId,
    pub channel: ChannelId,
    pub channel_name: Name,
    pub protocol: Protocol,
    pub target_server: ServerId,
    pub owner: OrganizationId,
    pub owner_name: Name,
    pub holder: OrganizationId,
    pub holder_name: Name,
    pub origin: Origin,
    pub source_server: Option<ServerId>,
    pub status: GrantStatus,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct NewGrant {
    pub id: GrantId,
    pub agreement: AgreementId,
    pub channel: ChannelId,
    pub holder: OrganizationId,
    pub origin: Origin,
    pub source_server: Option<ServerId>,
    pub created_at: Timestamp,
}

macro_rules! grant_columns {
    () => {
        "g.*, coalesce(c.last_name, c.name) AS channel_name, c.protocol, c.server AS target_server,
            o.id AS owner, o.name AS owner_name, h.name AS holder_name "
    };
}
pub(super) use grant_columns;

/// What the columns are of, after the grant `g` itself.
macro_rules! grant_joins {
    () => {
        "JOIN channel c ON c.id = g.channel JOIN server s ON s.id = c.server
         JOIN organization o ON o.id = s.organization JOIN organization h ON h.id = g.holder "
    };
}
pub(super) use grant_joins;

macro_rules! select_pending {
    ($which:literal) => {
        sql(concat!(
            "SELECT ",
            grant_columns!(),
            "FROM channel_grant g ",
            grant_joins!(),
            $which,
            " AND g.status = 'pending' ORDER BY g.created_at, g.id"
        ))
    };
}

impl Tx {
    /// Inserts a grant, pending.
    pub(crate) async fn insert_grant(&mut self, new: &NewGrant) -> Result<(), StoreError> {
        let query = sql("INSERT INTO channel_grant
                (id, agreement, channel, holder, origin, source_server, status, created_at, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $7)")
        .bind(text(new.id))
        .bind(text(new.agreement))
        .bind(text(new.channel))
        .bind(text(new.holder))
        .bind(new.origin.as_str())
        .bind(new.source_server.map(text))
        .bind(new.created_at.as_millis());
        self.run("making a grant", query).await?;
        self.note_change(Changed::Grant(new.id));
        Ok(())
    }

    pub(crate) async fn grant(&mut self, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
        const ONE: &str =
            concat!("SELECT ", grant_columns!(), "FROM channel_grant g ", grant_joins!(), "WHERE g.id = $1");
        self.one_readable("looking a grant up", sql(ONE).bind(text(id)), read).await
    }

    /// Returns the pending grants over an agreement.
    pub(crate) async fn pending_of_agreement(
        &mut self,
        agreement: AgreementId,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        let query = select_pending!("WHERE g.agreement = $1").bind(text(agreement));
        self.all_readable("listing pending grants", query, read).await
    }

    /// Returns the pending grants on a channel.
    pub(crate) async fn pending_of_channel(
        &mut self,
        channel: ChannelId,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        let query = select_pending!("WHERE g.channel = $1").bind(text(channel));
        self.all_readable("listing pending grants", query, read).await
    }

    /// Returns the pending grants on a server's channels, and those that name it as the one that sends.
    pub(crate) async fn pending_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        const CHOSEN: &str = concat!(
            "WITH chosen (id) AS (
                SELECT y.id FROM channel h JOIN channel_grant y ON y.channel = h.id WHERE h.server = $1
                UNION SELECT y.id FROM channel_grant y WHERE y.source_server = $1)
             SELECT ",
            grant_columns!(),
            "FROM chosen JOIN channel_grant g ON g.id = chosen.id ",
            grant_joins!(),
            "WHERE g.status = 'pending' ORDER BY g.created_at, g.id"
        );
        let query = sql(CHOSEN).bind(text(server));
        self.all_readable("listing pending grants", query, read).await
    }

    /// Decides a grant; a `source_server` of `None` leaves the one on record.
    pub(crate) async fn decide_grant(
        &mut self,
        id: GrantId,
        status: GrantStatus,
        source_server: Option<ServerId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql(
            "UPDATE channel_grant SET status = $1, source_server = coalesce($2, source_server), changed_at = $3
             WHERE id = $4",
        )
        .bind(status.as_str())
        .bind(source_server.map(text))
        .bind(at.as_millis())
        .bind(text(id));
        self.run("deciding a grant", query).await?;
        self.note_change(Changed::Grant(id));
        Ok(())
    }
}

pub(super) fn read(cells: &Cells) -> Result<GrantRecord, StoreError> {
    Ok(GrantRecord {
        id: cells.get("id")?,
        agreement: cells.get("agreement")?,
        channel: cells.get("channel")?,
        channel_name: cells.name("channel_name")?,
        protocol: cells.get("protocol")?,
        target_server: cells.get("target_server")?,
        owner: cells.get("owner")?,
        owner_name: cells.name("owner_name")?,
        holder: cells.get("holder")?,
        holder_name: cells.name("holder_name")?,
        origin: cells.get("origin")?,
        source_server: cells.maybe("source_server")?,
        status: cells.get("status")?,
        created_at: cells.time("created_at")?,
    })
}
