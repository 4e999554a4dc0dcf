//! Sealed secrets and who has seen or holds them.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::connection::read_kind;
use super::query::sql;
use super::tx::{Tx, text};
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

macro_rules! select {
    ($which:literal) => {
        sql(concat!(
            "SELECT k.*, c.kind FROM connection_secret k JOIN connection c ON c.id = k.connection ",
            $which
        ))
    };
}

impl Tx {
    /// Puts a secret of a new epoch: nobody has seen or holds it.
    pub(crate) async fn put_secret(
        &mut self,
        connection: ConnectionId,
        epoch: u32,
        sealed: &[u8; SEALED_BYTES],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO connection_secret (connection, epoch, sealed, made_at)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (connection) DO UPDATE SET epoch = excluded.epoch, sealed = excluded.sealed,
                made_at = excluded.made_at, source_viewed_at = NULL, target_viewed_at = NULL,
                source_held_at = NULL, target_held_at = NULL")
        .bind(text(connection))
        .bind(i64::from(epoch))
        .bind(sealed.to_vec())
        .bind(at.as_millis());
        self.run("keeping a connection's secret", query).await?;
        self.note_change(Changed::Secret(connection));
        Ok(())
    }

    pub(crate) async fn secret(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<SecretRecord>, StoreError> {
        let query = select!("WHERE k.connection = $1").bind(text(connection));
        self.one("looking a connection's secret up", query, read).await
    }

    /// Returns whether any sealed bytes are still here.
    pub(crate) async fn keeps_secrets(&mut self) -> Result<bool, StoreError> {
        let query = sql("SELECT connection FROM connection_secret WHERE sealed IS NOT NULL
             ORDER BY connection LIMIT 1");
        let kept: Option<ConnectionId> =
            self.one("asking for kept secrets", query, |cells| cells.get("connection")).await?;
        if kept.is_some() {
            return Ok(true);
        }
        let query = sql("SELECT id FROM user_account WHERE totp_sealed IS NOT NULL LIMIT 1");
        Ok(!self.rows("asking for kept seeds", query).await?.is_empty())
    }

    /// Returns a batch of the kept secrets of P2P connections that both agents have, and either both owners
    /// have seen or both agents have had since `stored_by`; those after the connection `after`.
    pub(crate) async fn secrets_due(
        &mut self,
        stored_by: Timestamp,
        after: Option<ConnectionId>,
        count: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query =
            sql("SELECT k.connection FROM connection_secret k JOIN connection c ON c.id = k.connection
             WHERE k.sealed IS NOT NULL AND k.source_held_at IS NOT NULL AND k.target_held_at IS NOT NULL
                AND k.connection > $2 AND c.kind = 'P2P'
                AND ((k.source_viewed_at IS NOT NULL AND k.target_viewed_at IS NOT NULL)
                    OR (k.source_held_at <= $1 AND k.target_held_at <= $1))
             ORDER BY k.connection LIMIT $3")
            .bind(stored_by.as_millis())
            .bind(after.map(text).unwrap_or_default())
            .bind(i64::from(count));
        self.all("listing the secrets to be deleted", query, |cells| cells.get("connection")).await
    }

    pub(crate) async fn note_viewed(
        &mut self,
        connection: ConnectionId,
        side: Side,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = match side {
            Side::Source => sql("UPDATE connection_secret SET source_viewed_at = $1 WHERE connection = $2"),
            Side::Target => sql("UPDATE connection_secret SET target_viewed_at = $1 WHERE connection = $2"),
        };
        self.run("noting a reveal", query.bind(at.as_millis()).bind(text(connection))).await?;
        self.note_change(Changed::SecretState(connection));
        Ok(())
    }

    pub(crate) async fn note_stored(
        &mut self,
        connection: ConnectionId,
        side: Side,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = match side {
            Side::Source => sql("UPDATE connection_secret SET source_held_at = $1 WHERE connection = $2"),
            Side::Target => sql("UPDATE connection_secret SET target_held_at = $1 WHERE connection = $2"),
        };
        let query = query.bind(at.as_millis()).bind(text(connection));
        self.run("noting that an agent holds a secret", query).await?;
        self.note_change(Changed::SecretState(connection));
        Ok(())
    }

    /// Counts views of an admin connection's secret. Views before `since` count no longer and are forgotten;
    /// gives how many there were since then, without this one.
    pub(crate) async fn count_views(
        &mut self,
        connection: ConnectionId,
        since: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("DELETE FROM secret_view WHERE connection = $1 AND at <= $2")
            .bind(text(connection))
            .bind(since.as_millis());
        self.run("forgetting old reveals", query).await?;
        let query = sql("SELECT count(*) AS n FROM secret_view WHERE connection = $1").bind(text(connection));
        self.count("counting reveals", query).await
    }

    pub(crate) async fn insert_view(
        &mut self,
        connection: ConnectionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO secret_view (connection, at) VALUES ($1, $2)")
            .bind(text(connection))
            .bind(at.as_millis());
        self.run("noting a reveal", query).await?;
        self.note_change(Changed::SecretState(connection));
        Ok(())
    }

    pub(crate) async fn delete_sealed(&mut self, connection: ConnectionId) -> Result<(), StoreError> {
        let query =
            sql("UPDATE connection_secret SET sealed = NULL WHERE connection = $1").bind(text(connection));
        self.run("deleting a secret", query).await?;
        self.note_change(Changed::SecretState(connection));
        Ok(())
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
