//! How an organization stands to what it looks at; the input of the visibility table.

use crate::store::ConnectionRecord;
#[cfg(test)]
use crate::store::{AgreementStatus, Carried, ChannelRecord, StoreError, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::OrganizationId;
#[cfg(test)]
use adit_core::domain::visibility::Viewer;

/// Returns the side an organization acts as. At both ends of its own connection it acts as the source.
pub(super) fn side_of(connection: &ConnectionRecord, organization: OrganizationId) -> Option<Side> {
    [Side::Source, Side::Target].into_iter().find(|side| connection.end(*side).organization == organization)
}

/// Returns the viewer, as seen by `organization`: a channel, the slow way. Only living connections count; what ended is seen
/// in its own row alone.
#[cfg(test)]
pub(super) async fn of_channel(
    tx: &mut Tx,
    organization: OrganizationId,
    channel: &ChannelRecord,
) -> Result<Viewer, StoreError> {
    if organization == channel.organization {
        return Ok(Viewer::Owner);
    }
    let mut connections = tx.connections_of_server(channel.server).await?;
    connections.retain(
        |it| matches!(it.carried, Carried::Channel { channel: carried, .. } if carried == channel.id),
    );
    of_others(tx, organization, channel.organization, &connections).await
}

#[cfg(test)]
pub(super) async fn of_others(
    tx: &mut Tx,
    organization: OrganizationId,
    owner: OrganizationId,
    connections: &[ConnectionRecord],
) -> Result<Viewer, StoreError> {
    let living = |connection: &&ConnectionRecord| !connection.status.is_terminal();
    if connections.iter().filter(living).any(|connection| side_of(connection, organization).is_some()) {
        return Ok(Viewer::Party);
    }
    let agreement = tx.agreement_between(organization, owner).await?;
    if agreement.is_some_and(|agreement| agreement.status == AgreementStatus::Live) {
        Ok(Viewer::Peer)
    } else {
        Ok(Viewer::Outsider)
    }
}
