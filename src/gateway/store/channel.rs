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
        self.note_channel(new.id).await?;
        Ok(())
    }

    pub(crate) async fn channel(&mut self, id: ChannelId) -> Result<Option<ChannelRecord>, StoreError> {
        const ONE: &str = concat!(
            "SELECT ",
            channel_columns!(),
            "FROM channel c ",
            channel_joins!(),
            "WHERE c.id = $1 AND c.deleted_at IS NULL"
        );
        self.one_readable("looking a channel up", sql(ONE).bind(text(id)), read).await
    }

    pub(crate) async fn count_channels(&mut self, server: ServerId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM channel WHERE server = $1 AND deleted_at IS NULL")
            .bind(text(server));
        self.count("counting channels", query).await
    }

    /// Returns the channels of a server that have not been deleted.
    pub(crate) async fn channels_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<ChannelId>, StoreError> {
        let query = sql("SELECT id FROM channel WHERE server = $1 AND deleted_at IS NULL ORDER BY id")
            .bind(text(server));
        self.all("listing a server's channels", query, |cells| cells.get("id")).await
    }

    pub(crate) async fn describe_channel(
        &mut self,
        id: ChannelId,
        name: &Name,
        description: &Description,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE channel SET name = $1, description = $2 WHERE id = $3")
            .bind(text(name))
            .bind(text(description))
            .bind(text(id));
        self.run("changing a channel", query).await?;
        self.note_channel(id).await
    }

    /// Deletes a channel, whose grants have ended: nobody finds it, and its name is free.
    pub(crate) async fn delete_channel(&mut self, id: ChannelId, at: Timestamp) -> Result<(), StoreError> {
        self.note_channel(id).await?;
        let query = sql("UPDATE channel SET last_name = name, name = id, published = $1, deleted_at = $2
             WHERE id = $3 AND deleted_at IS NULL")
        .bind(false)
        .bind(at.as_millis())
        .bind(text(id));
        self.run("deleting a channel", query).await?;
        Ok(())
    }

    /// Notes that it changes, for those who see it now.
    async fn note_channel(&mut self, id: ChannelId) -> Result<(), StoreError> {
        let query = sql("SELECT count(*) AS n FROM channel WHERE id = $1 AND published = $2")
            .bind(text(id))
            .bind(true);
        let is_published = self.count("asking who sees a channel", query).await? > 0;
        self.note_change(if is_published { Changed::Channel(id) } else { Changed::HiddenChannel(id) });
        Ok(())
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
