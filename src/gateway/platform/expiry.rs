//! Offers whose time is over. Anyone who looks or asks finds them Expired: the sweep is for those that nobody
//! looks at.

use tracing::debug;

use crate::store::{AuditOutcome, Carried, Tx};
use adit_core::domain::status::{Actor, Event};
use adit_core::domain::time::Timestamp;

use super::audit::{AgentEntry, GATEWAY};
use super::error::PlatformError;
use super::{Platform, agents, connections};

impl Platform {
    /// Expires what is due before anything is read that tells of offers.
    pub(super) async fn expire_offers(&self) -> Result<(), PlatformError> {
        if self.store.read().await?.expired_offers(self.now()).await?.is_empty() {
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
    for id in tx.expired_offers(now).await? {
        let Some(offer) = tx.connection(id).await? else { continue };
        let Carried::Admin { expires_at, .. } = offer.carried else { continue };
        debug!(connection = %id, %expires_at, "the time to accept an offer is over");
        let to = connections::shift(tx, &offer, Event::Expire, Actor::System, None, now).await?;
        let entry = AgentEntry {
            actor: GATEWAY.into(),
            action: "expire offer",
            object: format!("connection {id}"),
            outcome: AuditOutcome::Done,
            detail: format!("from {} to {to}; it could be accepted until {expires_at}", offer.status),
            bucket: None,
        };
        entry.write(tx, now, agents::both(&offer)).await?;
    }
    Ok(())
}
