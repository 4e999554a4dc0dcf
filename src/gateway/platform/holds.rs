//! What a tier does to running read-write administration: a downgrade cuts its owner's connections and
//! holds them Paused; the tier that fits again lifts what the downgrade held and nothing else.
//!
//! The hold is the target's, so that the table of statuses and the agents need not know of it; a flag
//! beside it says whose it is. The owner may make it its own by pausing as well.

use crate::store::{AuditOutcome, ConnectionRecord, OrganizationRecord};
use adit_core::domain::connection::Side;
use adit_core::domain::limits::DUE_ROWS_MAX;
use adit_core::domain::status::{Event, Initiator, PauseHold, Status};
use adit_core::domain::tier::Tier;

use super::audit::{AgentEntry, GATEWAY};
use super::audited_tx::AuditedTx;
use super::error::PlatformError;
use super::{agents, connections};

/// Sets the pauses after the tier of `owner`, which is here as it was before, became `tier`.
pub(super) async fn follow_tier(
    audited: &mut AuditedTx,
    owner: &OrganizationRecord,
    tier: Tier,
) -> Result<(), PlatformError> {
    let mut after = None;
    loop {
        let batch = audited.tx.managed_read_write(owner.id, after, DUE_ROWS_MAX).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some(last.id);
        for connection in &batch {
            if tier.offers_admin_rw() {
                lift(audited, connection).await?;
            } else if owner.tier.offers_admin_rw() {
                hold(audited, connection).await?;
            }
        }
    }
}

async fn hold(audited: &mut AuditedTx, connection: &ConnectionRecord) -> Result<(), PlatformError> {
    let to = match connection.status {
        Status::Active | Status::Paused(PauseHold::Source) => {
            let initiator = Initiator::Party(Side::Target);
            let to =
                connections::shift(&mut audited.tx, connection, Event::Pause, initiator, None, audited.now)
                    .await?;
            audited.tx.set_held_for_tier(connection.id, true).await?;
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
    audited.tx.raise_cut_epoch(connection.id).await?;
    let detail = format!("from {} to {to}, open tunnels cut", connection.status);
    note(audited, connection, "hold connection", detail).await
}

async fn lift(audited: &mut AuditedTx, connection: &ConnectionRecord) -> Result<(), PlatformError> {
    if !connection.held_for_tier {
        return Ok(());
    }
    let initiator = Initiator::Party(Side::Target);
    let to =
        connections::shift(&mut audited.tx, connection, Event::Resume, initiator, None, audited.now).await?;
    note(audited, connection, "release connection", format!("from {} to {to}", connection.status)).await
}

/// Writes an entry in both logs, in words that do not tell the peer of the tier.
async fn note(
    audited: &mut AuditedTx,
    connection: &ConnectionRecord,
    action: &'static str,
    moved: String,
) -> Result<(), PlatformError> {
    let entry = AgentEntry {
        actor: GATEWAY.into(),
        action,
        object: format!("connection {}", connection.id),
        outcome: AuditOutcome::Done,
        detail: format!("{moved}, on behalf of {}", connection.target.organization_name),
        bucket: None,
    };
    entry.write(&mut audited.tx, audited.now, agents::both(connection)).await?;
    Ok(())
}
