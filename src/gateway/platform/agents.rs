//! What agents ask for and tell over their verified control links. The server id comes from a
//! verified leaf whose key was authorized.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use crate::store::{Carried, ConnectionRecord, StoreError, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, OrganizationId, ServerId};
use adit_core::domain::relays::Relays;
use adit_core::domain::status::{Actor, Event, Status};
use adit_core::domain::word::Word;
use adit_core::protocol::control::{Activity, ConfigMismatch, Rule};

use super::act::Act;
use super::error::PlatformError;
use super::{Action, Initiator, Platform, connections};

/// Why an agent's request was not served.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Unknown, or of other servers: one answer.
    #[error("there is no such connection")]
    NotFound,
    #[error(
        "this side holds the secret already or it was deleted; run `adit admin connection rotate` for a new one"
    )]
    SecretUnavailable,
    #[error("the gateway's database did not serve the agent")]
    Platform(#[from] PlatformError),
}

impl From<StoreError> for AgentError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.into())
    }
}

impl Platform {
    /// Returns every living connection of a server by id, and the revoked keys of all it ever had to do with.
    pub async fn rules_for(
        &self,
        server: ServerId,
    ) -> Result<(Vec<Rule>, Vec<KeyFingerprint>), PlatformError> {
        self.look(async move |tx: &mut Tx| rules(tx, server).await).await
    }

    /// Returns those of `asked` that are the server's and have reached a final status. What the platform does
    /// not know has not ended: a restored database may be older than the connection.
    pub async fn ended_among(
        &self,
        server: ServerId,
        asked: &[ConnectionId],
    ) -> Result<Vec<ConnectionId>, PlatformError> {
        let asked: BTreeSet<_> = asked.iter().copied().collect();
        self.look(async move |tx: &mut Tx| ended(tx, server, &asked).await).await
    }

    /// Notes that the agent's own file forbids the connection as it is: Failed, with the reason. Told again
    /// in a status that knows no such event, it is refused and counted. Returns whether it has a row of its
    /// own.
    pub async fn config_mismatch(
        &self,
        server: ServerId,
        id: ConnectionId,
        reason: impl Into<Word<ConfigMismatch>>,
    ) -> Result<bool, AgentError> {
        let reason = reason.into();
        let (agent, object) = (Initiator::Agent { server }, format!("connection {id}"));
        let told = self
            .act_told(&agent, Action::FailConnection, object, async move |act: &mut Act| {
                fail(act, server, id, reason).await
            })
            .await;
        match told.ended {
            Err(AgentError::Platform(PlatformError::Refused(why))) => {
                debug!(connection = %id, %server, %reason, %why, "an agent's refusal changes nothing");
            }
            ended => ended?,
        }
        Ok(told.is_listed)
    }
}

async fn rules(tx: &mut Tx, server: ServerId) -> Result<(Vec<Rule>, Vec<KeyFingerprint>), PlatformError> {
    let rules = tx
        .rules_of_server(server)
        .await?
        .iter()
        .filter_map(|connection| rule(connection, server).map(|rule| (rule.connection, rule)))
        .collect::<BTreeMap<_, _>>();
    let revoked = tx.revoked_peers(server).await?;
    Ok((rules.into_values().collect(), revoked))
}

async fn ended(
    tx: &mut Tx,
    server: ServerId,
    asked: &BTreeSet<ConnectionId>,
) -> Result<Vec<ConnectionId>, PlatformError> {
    let mut ended = tx.ended_of_server(server).await?;
    ended.retain(|id| asked.contains(id));
    Ok(ended)
}

async fn fail(
    act: &mut Act,
    server: ServerId,
    id: ConnectionId,
    reason: Word<ConfigMismatch>,
) -> Result<(), AgentError> {
    let (connection, side) = act.connection_of(server, id).await?;
    act.counts_as(format!("mismatch {id} {side}"));
    let failure = format!("{} ({side}): {}", connection.end(side).name(), reason.sentence());
    let (event, now) = (Event::AgentRefused, act.now);
    let to = connections::shift(&mut act.tx, &connection, event, Actor::System, Some(&failure), now).await?;
    act.describe(format!("from {} to {to}: {failure}", connection.status));
    Ok(())
}

/// Returns a connection that has this server at one end, and which.
pub(super) async fn connection_of(
    tx: &mut Tx,
    server: ServerId,
    id: ConnectionId,
) -> Result<(ConnectionRecord, Side), AgentError> {
    let found = tx.connection(id).await?;
    let exists = found.is_some();
    found.and_then(|connection| connection.side_of(server).map(|side| (connection, side))).ok_or_else(|| {
        debug!(connection = %id, %server, exists, "an agent names a connection that is none of its server's");
        AgentError::NotFound
    })
}

pub(super) fn both(connection: &ConnectionRecord) -> Vec<Option<OrganizationId>> {
    vec![Some(connection.source.organization), Some(connection.target.organization)]
}

/// Returns what may happen on a connection; none before it is set up or accepted, and after its end: its
/// agents then know nothing of it.
pub(super) const fn activity(status: Status) -> Option<Activity> {
    match status {
        Status::Ready | Status::Failed => Some(Activity::Ready),
        Status::Paused(_) => Some(Activity::Paused),
        Status::Active => Some(Activity::Active),
        Status::Provisioning | Status::Offered | Status::Declined | Status::Expired | Status::Terminated => {
            None
        }
    }
}

/// Returns the connection as one of its servers needs to know it.
fn rule(connection: &ConnectionRecord, server: ServerId) -> Option<Rule> {
    let side = connection.side_of(server)?;
    let activity = activity(connection.status)?;
    let peer = connection.end(side.other());
    let peer_server = peer.server.as_ref()?;
    let (protocol, peer_organization) = match &connection.carried {
        Carried::Channel { protocol, .. } => (Some(*protocol), None),
        Carried::Admin { .. } => (None, Some(peer.organization_name.to_string())),
    };
    Some(Rule {
        connection: connection.id,
        kind: connection.kind(),
        protocol,
        side,
        peer: peer_server.id,
        peer_route: peer_server.route,
        source_name: connection.source.name().to_string(),
        target_name: connection.target.name().to_string(),
        peer_organization,
        activity,
        secret_epoch: connection.secret_epoch,
        cut_epoch: connection.cut_epoch,
        relays: Relays::default(),
    })
}
