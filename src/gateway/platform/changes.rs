//! The feed of changes, as the gateway follows it. What a change is, the store says; whom it concerns, the
//! gateway's feed.

use tokio::time::timeout;

use crate::store::{ChangesAfter, Turn};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::STORE_LOCK_SAID_AFTER;

use super::Platform;
use super::error::PlatformError;
use super::seal::Veiled;

impl Platform {
    /// Returns the number of the newest change.
    pub(crate) async fn newest_change(&self) -> Result<i64, PlatformError> {
        Ok(self.store.newest_change().await?)
    }

    /// Returns what a member is told as a change's number: which it is, and not how many there are of others.
    pub(crate) fn told_change(&self, own: OrganizationId, seq: i64) -> String {
        hex::encode(self.seal.veil(Veiled::Change, own, seq).to_be_bytes())
    }

    /// Returns the number that was told so, if the text is such a one.
    pub(crate) fn change_told(&self, own: OrganizationId, text: &str) -> Option<i64> {
        let bytes = hex::decode(text).ok()?.try_into().ok()?;
        Some(self.seal.unveil(Veiled::Change, own, i64::from_be_bytes(bytes)))
    }

    /// Returns the number of the newest change of a database that can also be written.
    pub(crate) async fn newest_if_writable(&self) -> Result<i64, PlatformError> {
        drop(self.begin_write(Turn::Beside).await?);
        self.newest_change().await
    }

    /// Returns an error where a file that is the database could not be written for a while, whoever keeps it locked.
    /// Writes nothing, and keeps no act waiting.
    pub(crate) async fn ask_whether_locked(&self) -> Result<(), PlatformError> {
        let asking = async {
            loop {
                match self.store.probe().await {
                    Err(error) if error.is_transient() => {}
                    probed => return probed,
                }
            }
        };
        let asked = timeout(STORE_LOCK_SAID_AFTER, asking).await;
        Ok(asked.map_err(|_| PlatformError::locked())??)
    }

    /// Resolves once there is a change after `seq`, by any process.
    pub(crate) async fn until_change_after(&self, seq: i64) -> Result<(), PlatformError> {
        Ok(self.store.until_change_after(seq).await?)
    }

    /// Returns at most `count` of the changes after `seq`, the oldest first.
    pub(crate) async fn changes_after(&self, seq: i64, count: u32) -> Result<ChangesAfter, PlatformError> {
        Ok(self.store.changes_after(seq, count).await?)
    }

    /// Deletes all but the newest `kept` changes; returns how many that were.
    pub(crate) async fn prune_changes(&self, kept: u32) -> Result<u64, PlatformError> {
        Ok(self.store.prune_changes(kept).await?)
    }
}
