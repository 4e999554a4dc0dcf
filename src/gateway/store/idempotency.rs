//! What was made for which key, so that one who heard no answer asks again and nothing is made twice.

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::UserId;
use adit_core::domain::time::Timestamp;

/// A request that is made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnceKey {
    pub user: UserId,
    /// As the user's program chose it.
    pub key: String,
    /// Of all that was asked.
    pub request: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MadeOnce {
    pub request: [u8; 32],
    /// Its id.
    pub made: String,
}

impl Tx {
    /// Returns what was made for the user's key after `since`.
    pub(crate) async fn made_once(
        &mut self,
        once: &OnceKey,
        since: Timestamp,
    ) -> Result<Option<MadeOnce>, StoreError> {
        let query = sql("SELECT * FROM idempotency_key WHERE account = $1 AND key = $2 AND at > $3")
            .bind(text(once.user))
            .bind(once.key.clone())
            .bind(since.as_millis());
        self.one("looking a request's key up", query, read).await
    }

    /// Notes what was made; a key of before `since` is free again. The one of two who is late is run again.
    pub(crate) async fn note_made_once(
        &mut self,
        once: &OnceKey,
        made: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const DOING: &str = "keeping a request's key";
        let query = sql("INSERT INTO idempotency_key (account, key, request_hash, made, at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (account, key) DO UPDATE SET request_hash = excluded.request_hash,
                made = excluded.made, at = excluded.at WHERE idempotency_key.at <= $6")
        .bind(text(once.user))
        .bind(once.key.clone())
        .bind(once.request.to_vec())
        .bind(made.to_owned())
        .bind(now.as_millis())
        .bind(since.as_millis());
        match self.run(DOING, query).await? {
            0 => Err(StoreError::Conflict { doing: DOING }),
            _ => Ok(()),
        }
    }

    /// Forgets the keys of `upto` and before; returns how many those were.
    pub(crate) async fn forget_keys(&mut self, upto: Timestamp) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM idempotency_key WHERE at <= $1").bind(upto.as_millis());
        self.run("forgetting requests' keys", query).await
    }
}

fn read(cells: &Cells) -> Result<MadeOnce, StoreError> {
    Ok(MadeOnce { request: cells.bytes("request_hash")?, made: cells.string("made")? })
}
