//! Channels.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRecord {
    pub id: ChannelId,
    pub server: ServerId,
    pub server_name: Name,
    pub organization: OrganizationId,
    pub organization_name: Name,
    pub name: Name,
    pub description: Description,
    pub protocol: Protocol,
    pub published: bool,
}

macro_rules! channel_columns {
    () => {
        "c.*, s.name AS server_name, o.id AS organization, o.name AS organization_name "
    };
}
pub(super) use channel_columns;

/// What the columns are of, after the channel `c` itself.
macro_rules! channel_joins {
    () => {
        "JOIN server s ON s.id = c.server JOIN organization o ON o.id = s.organization "
    };
}
pub(super) use channel_joins;

impl Tx {
    pub(crate) async fn insert_channel(
        &mut self,
        new: &ChannelRecord,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO channel (id, server, name, description, protocol, published, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(text(new.id))
            .bind(text(new.server))
            .bind(text(&new.name))
            .bind(text(&new.description))
            .bind(new.protocol.as_str())
            .bind(new.published)
            .bind(at.as_millis());
        self.run("adding a channel", query).await?;
        self.note_change(Changed::Channel(new.id));
        Ok(())
    }

    pub(crate) async fn channel(&mut self, id: ChannelId) -> Result<Option<ChannelRecord>, StoreError> {
        const ONE: &str =
            concat!("SELECT ", channel_columns!(), "FROM channel c ", channel_joins!(), "WHERE c.id = $1");
        self.one_readable("looking a channel up", sql(ONE).bind(text(id)), read).await
    }

    pub(crate) async fn count_channels(&mut self, server: ServerId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM channel WHERE server = $1").bind(text(server));
        self.count("counting channels", query).await
    }

    pub(crate) async fn set_published(&mut self, id: ChannelId, published: bool) -> Result<(), StoreError> {
        let query = sql("UPDATE channel SET published = $1 WHERE id = $2").bind(published).bind(text(id));
        self.run("publishing a channel", query).await?;
        self.note_change(Changed::Channel(id));
        Ok(())
    }
}

pub(super) fn read(cells: &Cells) -> Result<ChannelRecord, StoreError> {
    Ok(ChannelRecord {
        id: cells.get("id")?,
        server: cells.get("server")?,
        server_name: cells.name("server_name")?,
        organization: cells.get("organization")?,
        organization_name: cells.name("organization_name")?,
        name: cells.name("name")?,
        description: cells.description("description")?,
        protocol: cells.get("protocol")?,
        published: cells.flag("published")?,
    })
}
