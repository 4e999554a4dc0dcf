//! Offers whose time is over. Anyone who looks or asks finds them Expired: the sweep is for those that nobody
//! looks at.

use tracing::debug;

use crate::store::{AuditOutcome, Carried, Tx};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::DUE_ROWS_MAX;
use adit_core::domain::status::{Event, Initiator};
use adit_core::domain::time::Timestamp;

use super::audit::{AgentEntry, GATEWAY};
use super::error::PlatformError;
use super::{Platform, agents, connections};

impl Platform {
    /// Expires what is due before anything is read that tells of offers.
    pub(super) async fn expire_offers(&self) -> Result<(), PlatformError> {
        if self.store.read().await?.expired_offers(self.now(), None, 1).await?.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        let now = self.now();
        expire_offers(&mut tx, now).await?;
        Ok(tx.commit().await?)
    }
}

/// Expires offers, each with its entry in both logs.
pub(super) async fn expire_offers(tx: &mut Tx, now: Timestamp) -> Result<(), PlatformError> {
    let mut after = None;
    loop {
        let batch = tx.expired_offers(now, after, DUE_ROWS_MAX).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some(*last);
        for id in batch {
            expire(tx, id, now).await?;
        }
    }
}

async fn expire(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<(), PlatformError> {
    let Some(offer) = tx.connection(id).await? else { return Ok(()) };
    let Carried::Admin { expires_at, .. } = offer.carried else { return Ok(()) };
    debug!(connection = %id, %expires_at, "the time to accept an offer is over");
    let to = connections::shift(tx, &offer, Event::Expire, Initiator::System, None, now).await?;
    let entry = AgentEntry {
        actor: GATEWAY.into(),
        action: "expire offer",
        object: format!("connection {id}"),
        outcome: AuditOutcome::Done,
        detail: format!("from {} to {to}; it could be accepted until {expires_at}", offer.status),
        bucket: None,
    };
    Ok(entry.write(tx, now, agents::both(&offer)).await?)
}
