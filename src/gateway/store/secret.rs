//! Sealed secrets and who has seen or holds them.

use super::StoreError;
use super::connection::read_kind;
use super::tx::{Cells, Tx, sql, text};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::time::Timestamp;

/// Nonce, ciphertext and tag of AES-256-GCM over 32 bytes.
pub(crate) const SEALED_BYTES: usize = 12 + 32 + 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRecord {
    pub connection: ConnectionId,
    /// Of the connection.
    pub kind: ConnectionType,
    pub epoch: u32,
    /// `None` once deleted.
    pub sealed: Option<[u8; SEALED_BYTES]>,
    pub source_viewed_at: Option<Timestamp>,
    pub target_viewed_at: Option<Timestamp>,
    pub source_stored_at: Option<Timestamp>,
    pub target_stored_at: Option<Timestamp>,
}

impl SecretRecord {
    #[must_use]
    pub(crate) const fn viewed_at(&self, side: Side) -> Option<Timestamp> {
        match side {
            Side::Source => self.source_viewed_at,
            Side::Target => self.target_viewed_at,
        }
    }

    #[must_use]
    pub(crate) const fn stored_at(&self, side: Side) -> Option<Timestamp> {
        match side {
            Side::Source => self.source_stored_at,
            Side::Target => self.target_stored_at,
        }
    }
}

const SELECT: &str = "SELECT k.*, c.kind FROM connection_secret k JOIN connection c ON c.id = k.connection
     WHERE (?1 IS NULL OR k.connection = ?1) AND (?2 = 0 OR k.sealed IS NOT NULL) ORDER BY k.connection";

impl Tx {
    /// Puts a secret of a new epoch: nobody has seen or holds it.
    pub(crate) async fn put_secret(
        &mut self,
        connection: ConnectionId,
        epoch: u32,
        sealed: &[u8; SEALED_BYTES],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT OR REPLACE INTO connection_secret (connection, epoch, sealed, made_at)
             VALUES (?, ?, ?, ?)")
        .bind(text(connection))
        .bind(i64::from(epoch))
        .bind(sealed.to_vec())
        .bind(at.as_millis());
        self.run("keeping a connection's secret", query).await.map(drop)
    }

    pub(crate) async fn secret(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<SecretRecord>, StoreError> {
        let query = sql(SELECT).bind(text(connection)).bind(0);
        self.one("looking a connection's secret up", query, read).await
    }

    /// Returns the secrets whose sealed bytes are still here.
    pub(crate) async fn sealed_secrets(&mut self) -> Result<Vec<SecretRecord>, StoreError> {
        self.all("listing kept secrets", sql(SELECT).bind(None::<String>).bind(1), read).await
    }

    pub(crate) async fn note_viewed(
        &mut self,
        connection: ConnectionId,
        side: Side,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = match side {
            Side::Source => sql("UPDATE connection_secret SET source_viewed_at = ? WHERE connection = ?"),
            Side::Target => sql("UPDATE connection_secret SET target_viewed_at = ? WHERE connection = ?"),
        };
        self.run("noting a reveal", query.bind(at.as_millis()).bind(text(connection))).await.map(drop)
    }

    pub(crate) async fn note_stored(
        &mut self,
        connection: ConnectionId,
        side: Side,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = match side {
            Side::Source => sql("UPDATE connection_secret SET source_held_at = ? WHERE connection = ?"),
            Side::Target => sql("UPDATE connection_secret SET target_held_at = ? WHERE connection = ?"),
        };
        let query = query.bind(at.as_millis()).bind(text(connection));
        self.run("noting that an agent holds a secret", query).await.map(drop)
    }

    /// Counts views of an admin connection's secret. Views before `since` count no longer and are forgotten;
    /// gives how many there were since then, without this one.
    pub(crate) async fn count_views(
        &mut self,
        connection: ConnectionId,
        since: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("DELETE FROM secret_view WHERE connection = ? AND at <= ?")
            .bind(text(connection))
            .bind(since.as_millis());
        self.run("forgetting old reveals", query).await?;
        let query = sql("SELECT count(*) AS n FROM secret_view WHERE connection = ?").bind(text(connection));
        self.count("counting reveals", query).await
    }

    pub(crate) async fn insert_view(
        &mut self,
        connection: ConnectionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO secret_view (connection, at) VALUES (?, ?)")
            .bind(text(connection))
            .bind(at.as_millis());
        self.run("noting a reveal", query).await.map(drop)
    }

    pub(crate) async fn delete_sealed(&mut self, connection: ConnectionId) -> Result<(), StoreError> {
        let query =
            sql("UPDATE connection_secret SET sealed = NULL WHERE connection = ?").bind(text(connection));
        self.run("deleting a secret", query).await.map(drop)
    }
}

fn read(cells: &Cells) -> Result<SecretRecord, StoreError> {
    Ok(SecretRecord {
        connection: cells.get("connection")?,
        kind: read_kind(cells)?,
        epoch: cells.number("epoch")?,
        sealed: cells.maybe_bytes("sealed")?,
        source_viewed_at: cells.maybe_time("source_viewed_at")?,
        target_viewed_at: cells.maybe_time("target_viewed_at")?,
        source_stored_at: cells.maybe_time("source_held_at")?,
        target_stored_at: cells.maybe_time("target_held_at")?,
    })
}
