//! Stand-in for the feed of changes until the store has its own.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use super::tx::{Tx, sql};
use super::{Store, StoreError};
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::word::Word;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    Organization,
    Server,
    Key,
    Channel,
    Agreement,
    Grant,
    Connection,
    Secret,
    Token,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub seq: i64,
    pub organization: Option<OrganizationId>,
    pub server: Option<ServerId>,
    pub connection: Option<ConnectionId>,
    pub kind: Word<ChangeKind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangesAfter {
    Rows(Vec<ChangeRow>),
    Lost { newest: i64 },
}

impl Store {
    pub(crate) async fn newest_change(&self) -> Result<i64, StoreError> {
        newest(&mut self.read().await?).await
    }

    pub(crate) async fn changes_after(&self, seq: i64, count: u32) -> Result<ChangesAfter, StoreError> {
        let mut tx = self.read().await?;
        let query = sql("SELECT pruned_to AS seq FROM feed");
        let pruned = tx.one("reading the feed", query, |cells| cells.serial("seq")).await?.unwrap_or(0);
        if seq < pruned {
            return Ok(ChangesAfter::Lost { newest: newest(&mut tx).await? });
        }
        let query = sql("SELECT * FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2").bind(seq).bind(count);
        let rows = tx.all("reading the feed", query, |cells| {
            Ok(ChangeRow {
                seq: cells.serial("seq")?,
                organization: cells.maybe("organization")?,
                server: cells.maybe("server")?,
                connection: cells.maybe("connection")?,
                kind: Word::from_text(&cells.string("kind")?),
            })
        });
        Ok(ChangesAfter::Rows(rows.await?))
    }

    pub(crate) async fn until_change_after(&self, seq: i64) -> Result<(), StoreError> {
        while self.newest_change().await? <= seq {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) async fn prune_changes(&self, kept: u32) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let to = newest(&mut tx).await? - i64::from(kept);
        let query = sql("UPDATE feed SET pruned_to = ?1 WHERE pruned_to < ?1").bind(to);
        tx.run("pruning the feed", query).await?;
        let pruned = tx.run("pruning the feed", sql("DELETE FROM change WHERE seq <= ?1").bind(to)).await?;
        tx.commit().await?;
        Ok(pruned)
    }
}

async fn newest(tx: &mut Tx) -> Result<i64, StoreError> {
    let query = sql("SELECT coalesce(max(seq), 0) AS seq FROM change");
    Ok(tx.one("reading the feed", query, |cells| cells.serial("seq")).await?.unwrap_or(0))
}
