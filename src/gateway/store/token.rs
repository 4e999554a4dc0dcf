//! Registration tokens, as hashes.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRecord {
    pub hash: [u8; 32],
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The first key that presented it.
    pub bound_key: Option<KeyFingerprint>,
}

impl Tx {
    /// Replaces whatever token the server had.
    pub(crate) async fn put_token(
        &mut self,
        server: ServerId,
        token: &TokenRecord,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO registration_token (server, hash, issued_at, expires_at)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (server) DO UPDATE SET hash = excluded.hash, issued_at = excluded.issued_at,
                expires_at = excluded.expires_at, bound_key = NULL, bound_at = NULL")
        .bind(text(server))
        .bind(token.hash.to_vec())
        .bind(token.issued_at.as_millis())
        .bind(token.expires_at.as_millis());
        self.run("issuing a registration token", query).await?;
        self.note_change(Changed::Token(server));
        Ok(())
    }

    pub(crate) async fn token(&mut self, server: ServerId) -> Result<Option<TokenRecord>, StoreError> {
        let query = sql("SELECT * FROM registration_token WHERE server = $1").bind(text(server));
        self.one("looking a registration token up", query, read).await
    }

    /// Takes a server's token away.
    pub(crate) async fn delete_token(&mut self, server: ServerId) -> Result<(), StoreError> {
        let query = sql("DELETE FROM registration_token WHERE server = $1").bind(text(server));
        self.run("voiding a registration token", query).await?;
        self.note_change(Changed::Token(server));
        Ok(())
    }

    pub(crate) async fn bind_token(
        &mut self,
        server: ServerId,
        key: KeyFingerprint,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE registration_token SET bound_key = $1, bound_at = $2 WHERE server = $3")
            .bind(text(key))
            .bind(at.as_millis())
            .bind(text(server));
        self.run("binding a registration token", query).await?;
        self.note_change(Changed::Token(server));
        Ok(())
    }
}

fn read(cells: &Cells) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        hash: cells.bytes("hash")?,
        issued_at: cells.time("issued_at")?,
        expires_at: cells.time("expires_at")?,
        bound_key: cells.maybe("bound_key")?,
    })
}
