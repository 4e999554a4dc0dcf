//! What a tier does to running read-write administration: a downgrade cuts its owner's connections and
//! holds them Paused; the tier that fits again lifts what the downgrade held and nothing else.
//!
//! The hold is the target's, so that the table of statuses and the agents need not know of it; a flag
//! beside it says whose it is. The owner may make it its own by pausing as well.

use crate::store::{ConnectionRecord, OrganizationRecord};
use adit_core::domain::connection::Side;
use adit_core::domain::limits::DUE_ROWS_MAX;
use adit_core::domain::status::{Actor, Event, PauseHold, Status};
use adit_core::domain::tier::Tier;

use super::act::Act;
use super::error::PlatformError;
use super::{Action, connections};

/// Sets the pauses after the tier of `owner`, which is here as it was before, became `tier`.
pub(super) async fn follow_tier(
    act: &mut Act,
    owner: &OrganizationRecord,
    tier: Tier,
) -> Result<(), PlatformError> {
    let mut after = None;
    loop {
        let batch = act.tx.managed_read_write(owner.id, after, DUE_ROWS_MAX).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some(last.id);
        for connection in &batch {
            if tier.offers_admin_rw() {
                lift(act, connection).await?;
            } else if owner.tier.offers_admin_rw() {
                hold(act, connection).await?;
            }
        }
    }
}

async fn hold(act: &mut Act, connection: &ConnectionRecord) -> Result<(), PlatformError> {
    let to = match connection.status {
        Status::Active | Status::Paused(PauseHold::Source) => {
            let actor = Actor::Party(Side::Target);
            let to = connections::shift(&mut act.tx, connection, Event::Pause, actor, None, act.now).await?;
            act.tx.set_held_for_tier(connection.id, true).await?;
            to
        }
        // The owner's own pause outlasts the downgrade.
        held @ Status::Paused(PauseHold::Target | PauseHold::Both) => held,
        Status::Provisioning
        | Status::Ready
        | Status::Offered
        | Status::Failed
        | Status::Declined
        | Status::Expired
        | Status::Terminated => return Ok(()),
    };
    act.tx.raise_cut_epoch(connection.id).await?;
    let detail = format!("from {} to {to}, open tunnels cut", connection.status);
    note(act, connection, Action::HoldConnection, detail).await
}

async fn lift(act: &mut Act, connection: &ConnectionRecord) -> Result<(), PlatformError> {
    if !connection.held_for_tier {
        return Ok(());
    }
    let actor = Actor::Party(Side::Target);
    let to = connections::shift(&mut act.tx, connection, Event::Resume, actor, None, act.now).await?;
    note(act, connection, Action::ReleaseConnection, format!("from {} to {to}", connection.status)).await
}

/// Writes an entry in both logs, in words that do not tell the peer of the tier.
async fn note(
    act: &mut Act,
    connection: &ConnectionRecord,
    action: Action,
    moved: String,
) -> Result<(), PlatformError> {
    let detail = format!("{moved}, on behalf of {}", connection.target.organization_name);
    act.also(action, connection, detail).await
}
