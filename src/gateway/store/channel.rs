//! Channels.

use super::StoreError;
use super::tx::{Cells, Tx, sql, text};
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

const SELECT: &str = "SELECT c.*, s.name AS server_name, o.id AS organization, o.name AS organization_name
     FROM channel c JOIN server s ON s.id = c.server JOIN organization o ON o.id = s.organization
     WHERE ?1 IS NULL OR c.id = ?1 ORDER BY o.name, s.name, c.name";

impl Tx {
    pub(crate) async fn insert_channel(
        &mut self,
        new: &ChannelRecord,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO channel (id, server, name, description, protocol, published, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(text(new.id))
            .bind(text(new.server))
            .bind(text(&new.name))
            .bind(text(&new.description))
            .bind(new.protocol.as_str())
            .bind(i64::from(new.published))
            .bind(at.as_millis());
        self.run("adding a channel", query).await.map(drop)
    }

    pub(crate) async fn channel(&mut self, id: ChannelId) -> Result<Option<ChannelRecord>, StoreError> {
        self.one_readable("looking a channel up", sql(SELECT).bind(text(id)), read).await
    }

    pub(crate) async fn channels(&mut self) -> Result<Vec<ChannelRecord>, StoreError> {
        self.all_readable("listing channels", sql(SELECT).bind(None::<String>), read).await
    }

    pub(crate) async fn count_channels(&mut self, server: ServerId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM channel WHERE server = ?").bind(text(server));
        self.count("counting channels", query).await
    }

    pub(crate) async fn set_published(&mut self, id: ChannelId, published: bool) -> Result<(), StoreError> {
        let query =
            sql("UPDATE channel SET published = ? WHERE id = ?").bind(i64::from(published)).bind(text(id));
        self.run("publishing a channel", query).await.map(drop)
    }
}

fn read(cells: &Cells) -> Result<ChannelRecord, StoreError> {
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
