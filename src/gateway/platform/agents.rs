//! What agents ask for and tell over their verified control links. The server id comes from a
//! verified leaf whose key was authorized.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use crate::store::{AuditOutcome, Carried, ConnectionRecord, ServerFilter, StoreError, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, OrganizationId, RouteId, ServerId};
use adit_core::domain::limits::PAGE_ROWS_MAX;
use adit_core::domain::page::Paging;
use adit_core::domain::status::{Event, Initiator, Status};
use adit_core::domain::word::Word;
use adit_core::protocol::control::{Activity, ConfigMismatch, PeerRefusal, Rule};

use super::Platform;
use super::audit::AgentEntry;
use super::connections;
use super::counted::Reporter;
use super::error::{ActionRefusal, PlatformError};

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

/// A server with a key on file, and whom it may reach through the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    pub route: RouteId,
    pub organization: OrganizationId,
    pub key: KeyFingerprint,
    /// At the other ends of its Active and Paused connections.
    pub peers: BTreeSet<RouteId>,
}

impl Platform {
    /// Returns a server that may use the relay.
    pub async fn relayed_server(&self, server: ServerId) -> Result<Option<Relayed>, PlatformError> {
        let mut tx = self.store.read().await?;
        let Some(known) = tx.server(server).await? else { return Ok(None) };
        let Some(key) = known.key else { return Ok(None) };
        let peers = tx.peer_routes(server).await?.into_iter().collect();
        Ok(Some(Relayed { route: known.route, organization: known.organization, key, peers }))
    }

    /// Returns every server that may use the relay.
    pub async fn relayed(&self) -> Result<BTreeMap<ServerId, Relayed>, PlatformError> {
        let mut tx = self.store.read().await?;
        let mut peers: BTreeMap<RouteId, BTreeSet<RouteId>> = BTreeMap::new();
        for (source, target) in tx.joined_routes().await? {
            peers.entry(source).or_default().insert(target);
            peers.entry(target).or_default().insert(source);
        }
        let mut relayed = BTreeMap::new();
        let mut paging = Paging::first(PAGE_ROWS_MAX);
        loop {
            let page = tx.list_servers(&ServerFilter::default(), &paging).await?;
            relayed.extend(page.rows.into_iter().filter_map(|server| {
                let (route, organization) = (server.route, server.organization);
                let peers = peers.remove(&route).unwrap_or_default();
                Some((server.id, Relayed { route, organization, key: server.key?, peers }))
            }));
            let Some(next) = page.next else { return Ok(relayed) };
            paging = paging.after(Some(next));
        }
    }

    /// Returns every living connection of a server by id, and the revoked keys of all it ever had to do with.
    pub async fn rules_for(
        &self,
        server: ServerId,
    ) -> Result<(Vec<Rule>, Vec<KeyFingerprint>), PlatformError> {
        let mut tx = self.store.read().await?;
        let rules = tx
            .rules_of_server(server)
            .await?
            .iter()
            .filter_map(|connection| rule(connection, server).map(|rule| (rule.connection, rule)))
            .collect::<BTreeMap<_, _>>();
        let revoked = tx.revoked_peers(server).await?;
        Ok((rules.into_values().collect(), revoked))
    }

    /// Returns those of `asked` that are the server's and have reached a final status. What the platform does
    /// not know has not ended: a restored database may be older than the connection.
    pub async fn ended_among(
        &self,
        server: ServerId,
        asked: &[ConnectionId],
    ) -> Result<Vec<ConnectionId>, PlatformError> {
        let asked: BTreeSet<_> = asked.iter().copied().collect();
        let connections = self.store.read().await?.connections_of_server(server).await?;
        let ended = connections
            .iter()
            .filter(|connection| connection.status.is_terminal() && asked.contains(&connection.id))
            .map(|connection| connection.id);
        Ok(ended.collect())
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
        let mut tx = self.store.write().await?;
        let (connection, side) = self.connection_of(&mut tx, server, id).await?;
        let now = self.now();
        let failure = format!("{} ({side}): {}", connection.end(side).name(), reason.sentence());
        let event = Event::AgentRefused;
        let shifted =
            connections::shift(&mut tx, &connection, event, Initiator::System, Some(&failure), now).await;
        let (outcome, detail) = match shifted {
            Ok(to) => (AuditOutcome::Done, format!("from {} to {to}: {failure}", connection.status)),
            Err(PlatformError::Refused(ActionRefusal::Status(refusal))) => {
                (AuditOutcome::Refused, refusal.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        let entry = AgentEntry {
            actor: format!("agent of {}", connection.end(side).name()),
            action: "fail connection",
            object: format!("connection {id}"),
            outcome,
            detail,
            bucket: None,
        };
        if outcome == AuditOutcome::Done {
            entry.write(&mut tx, now, both(&connection)).await?;
            tx.commit().await?;
            return Ok(true);
        }
        drop(tx);
        debug!(connection = %id, %side, %reason, why = entry.detail, "an agent's refusal changes nothing");
        let kind = format!("mismatch {id} {side}");
        Ok(self.note_counted(Reporter::Agent(server), &kind, entry, both(&connection)).await?)
    }

    /// Notes that a peer or stranger was refused at a tunnel. Both organizations read it when the connection
    /// is theirs; repeats within an hour are counted in one row. Returns whether it has a row of its own.
    pub async fn refused_peer(
        &self,
        server: ServerId,
        id: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: impl Into<Word<PeerRefusal>>,
        times: u32,
    ) -> Result<bool, AgentError> {
        let reason = reason.into();
        let mut tx = self.store.read().await?;
        let Some(reporter) = tx.server(server).await? else { return Err(AgentError::NotFound) };
        let connection = match id {
            Some(id) => tx.connection(id).await?.filter(|it| it.side_of(server).is_some()),
            None => None,
        };
        drop(tx);
        let object = match (&connection, peer) {
            (Some(connection), _) => format!("connection {}", connection.id),
            (None, Some(peer)) => format!("server {peer}"),
            (None, None) => "an unknown peer".to_owned(),
        };
        let logs = connection.as_ref().map_or_else(|| vec![Some(reporter.organization)], both);
        let entry = AgentEntry {
            actor: format!("agent of {}", reporter.name),
            action: "refuse peer",
            detail: reason.sentence(),
            outcome: AuditOutcome::Refused,
            bucket: None,
            object,
        };
        let kind = format!("peer {server} {} {reason}", entry.object);
        Ok(self.note_counted_times(Reporter::Agent(server), &kind, entry, logs, times).await?)
    }

    /// Returns a connection that has this server at one end, and which.
    pub(super) async fn connection_of(
        &self,
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

    /// Writes an entry for both organizations about what a side's agent did.
    pub(super) async fn note_agent(
        &self,
        tx: &mut Tx,
        connection: &ConnectionRecord,
        side: Side,
        action: &'static str,
        detail: String,
    ) -> Result<(), StoreError> {
        let entry = AgentEntry {
            actor: format!("agent of {}", connection.end(side).name()),
            action,
            object: format!("connection {}", connection.id),
            outcome: AuditOutcome::Done,
            detail,
            bucket: None,
        };
        entry.write(tx, self.now(), both(connection)).await
    }
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
    })
}
