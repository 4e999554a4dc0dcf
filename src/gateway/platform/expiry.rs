//! Offers whose time is over. Anyone who looks or asks finds them Expired: the sweep is for those that nobody
//! looks at.

use tracing::debug;

use crate::store::{Carried, ConnectionRecord, Tx};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::DUE_ROWS_MAX;
use adit_core::domain::status::{Actor, Event, Status};
use adit_core::domain::time::Timestamp;

use super::act::Act;
use super::error::PlatformError;
use super::{Action, Initiator, Platform, connections};

impl Platform {
    /// Expires what is due before anything is read that tells of offers: an act of nobody, for each.
    pub(super) async fn expire_offers(&self) -> Result<(), PlatformError> {
        let (now, mut after) = (self.now(), None);
        loop {
            let batch = self.look(async move |tx: &mut Tx| due(tx, now, after).await).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(*last);
            for id in batch {
                let object = format!("connection {id}");
                self.act(&Initiator::System, Action::ExpireOffer, object, async move |act: &mut Act| {
                    expire(act, id).await
                })
                .await?;
            }
        }
    }
}

async fn due(
    tx: &mut Tx,
    now: Timestamp,
    after: Option<ConnectionId>,
) -> Result<Vec<ConnectionId>, PlatformError> {
    Ok(tx.expired_offers(now, after, DUE_ROWS_MAX).await?)
}

async fn expire(act: &mut Act, id: ConnectionId) -> Result<(), PlatformError> {
    match end(&mut act.tx, id, act.now).await? {
        Some((offer, detail)) => {
            act.concerns_both(&offer);
            act.describe(detail);
        }
        // Another may have looked at the same time.
        None => act.leaves_no_entry(),
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
    let mut after = None;
    loop {
        let batch = due(&mut act.tx, act.now, after).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some(*last);
        for id in batch {
            if let Some((offer, detail)) = end(&mut act.tx, id, act.now).await? {
                act.also(Action::ExpireOffer, &offer, detail).await?;
            }
        }
    }
}

/// Returns whether it is an open offer whose time is over.
pub(super) fn is_due(offer: &ConnectionRecord, now: Timestamp) -> bool {
    let is_over = matches!(&offer.carried, Carried::Admin { expires_at, .. } if *expires_at <= now);
    offer.status == Status::Offered && is_over
}

/// Ends an offer that is due. Returns it as it was, and what there is to say of its end.
async fn end(
    tx: &mut Tx,
    id: ConnectionId,
    now: Timestamp,
) -> Result<Option<(ConnectionRecord, String)>, PlatformError> {
    let Some(offer) = tx.connection(id).await?.filter(|offer| is_due(offer, now)) else { return Ok(None) };
    let Carried::Admin { expires_at, .. } = offer.carried else { return Ok(None) };
    debug!(connection = %id, %expires_at, "the time to accept an offer is over");
    let to = connections::shift(tx, &offer, Event::Expire, Actor::System, None, now).await?;
    let detail = format!("from {} to {to}; it could be accepted until {expires_at}", offer.status);
    Ok(Some((offer, detail)))
}
