//! Offers whose time is over. Anyone who looks or asks finds them Expired: the sweep is for those that nobody
//! looks at.

use tracing::debug;

use crate::store::{Carried, ConnectionRecord, Tx};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::status::{Actor, Event};
use adit_core::domain::time::Timestamp;

use super::act::Act;
use super::error::PlatformError;
use super::{Action, Initiator, Platform, connections};

impl Platform {
    /// Expires what is due before anything is read that tells of offers: an act of nobody, for each.
    pub(super) async fn expire_offers(&self) -> Result<(), PlatformError> {
        let now = self.now();
        for id in self.look(async move |tx: &mut Tx| due(tx, now).await).await? {
            let object = format!("connection {id}");
            self.act(&Initiator::System, Action::ExpireOffer, object, async move |act: &mut Act| {
                expire(act, id).await
            })
            .await?;
        }
        Ok(())
    }
}

async fn due(tx: &mut Tx, now: Timestamp) -> Result<Vec<ConnectionId>, PlatformError> {
    Ok(tx.expired_offers(now).await?)
}

async fn expire(act: &mut Act, id: ConnectionId) -> Result<(), PlatformError> {
    // Another may have looked at the same time.
    if !due(&mut act.tx, act.now).await?.contains(&id) {
        act.leaves_no_entry();
        return Ok(());
    }
    if let Some((offer, detail)) = end(&mut act.tx, id, act.now).await? {
        act.concerns_both(&offer);
        act.describe(detail);
    }
    Ok(())
}

/// Expires offers before an act, each with its entry in both logs: an enrolment too rotates no secret of an
/// offer whose time is over.
pub(super) async fn expire_first(act: &mut Act, initiator: &Initiator) -> Result<(), PlatformError> {
    // What the gateway does by itself is what is done here.
    if matches!(initiator, Initiator::System) {
        return Ok(());
    }
    for id in due(&mut act.tx, act.now).await? {
        if let Some((offer, detail)) = end(&mut act.tx, id, act.now).await? {
            act.also(Action::ExpireOffer, &offer, detail).await?;
        }
    }
    Ok(())
}

/// Returns the offer as it was, and what there is to say of its end.
async fn end(
    tx: &mut Tx,
    id: ConnectionId,
    now: Timestamp,
) -> Result<Option<(ConnectionRecord, String)>, PlatformError> {
    let Some(offer) = tx.connection(id).await? else { return Ok(None) };
    let Carried::Admin { expires_at, .. } = offer.carried else { return Ok(None) };
    debug!(connection = %id, %expires_at, "the time to accept an offer is over");
    let to = connections::shift(tx, &offer, Event::Expire, Actor::System, None, now).await?;
    let detail = format!("from {} to {to}; it could be accepted until {expires_at}", offer.status);
    Ok(Some((offer, detail)))
}
