//! Who may open a tunnel: the verified leaf, the rules, this agent's own file, the known key and
//! the connection's secret, in that order. A peer that fails any of them hears one and the same
//! answer; the reason stays here and in the audit logs.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::Span;
use tracing::field::Empty;

use super::audit_log::AuditLog;
use super::entries::{Entries, LiveConnection};
use super::policies::Policies;
use super::policy;
use super::secret_store::SecretStore;
use super::trust_store::TrustStore;
use adit_core::config::agent::Service;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::limits::TUNNEL_HANDSHAKE_TIMEOUT;
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::connection::{Audited, DialFailure, Policy, Terms};
use adit_core::protocol::control::{PeerRefusal, Rule};
use adit_core::protocol::frame::Code;
use adit_core::protocol::open::{self, Open};
use adit_net::identity::known_keys::KeyVerdict;
use adit_net::identity::peer::VerifiedPeer;
use adit_net::transport::endpoint::{AgentEndpoint, Connection, IncomingTunnel, TransportError};
use adit_net::transport::opening::{self, Opening};
use adit_net::transport::routes::Routes;
use adit_net::transport::tunnel::Tunnel;
use adit_observe::metrics;

/// What tunnels are dialled and peers are judged by.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) endpoint: Arc<AgentEndpoint>,
    pub(crate) routes: Routes,
    pub(crate) entries: Arc<Entries>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) audit: Arc<AuditLog>,
}

/// A tunnel whose ends have both proven themselves.
#[derive(Debug)]
pub struct Admitted {
    pub tunnel: Arc<Tunnel>,
    pub opening: Opening,
    pub peer: ServerId,
    pub terms: Terms,
    /// When the leaf that opened this tunnel expires.
    pub peer_expires: Timestamp,
}

/// Why no tunnel came to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("the tunnel to the peer could not be opened")]
    Transport(#[from] TransportError),
    #[error(
        "the peer's agent refused the tunnel; its log names the reason (not in its file, paused, another known key or secret)"
    )]
    RefusedByPeer,
    #[error("{0}")]
    Refused(PeerRefusal),
    #[error(
        "the peer shows the key {shown}, but {known} is known for this connection; compare with the peer by phone, then run `adit trust {connection} {shown}`"
    )]
    ChangedKey { connection: ConnectionId, shown: KeyFingerprint, known: KeyFingerprint },
    #[error(
        "an admin session needs the peer's key compared first; the peer shows {shown}: compare it by phone, then run `adit trust {connection} {shown}`"
    )]
    UnverifiedKey { connection: ConnectionId, shown: KeyFingerprint },
}

impl TunnelError {
    /// Returns what the connection's machine is told of it.
    fn into_failure(self) -> DialFailure {
        let what = error_chain(&self);
        let audited = match self {
            Self::Refused(refusal) => Audited::Refused(refusal),
            Self::ChangedKey { .. } => Audited::Refused(PeerRefusal::ChangedKey),
            Self::UnverifiedKey { .. } => Audited::Refused(PeerRefusal::UnverifiedKey),
            Self::Transport(error) if error.refused_handshake().is_some() => {
                Audited::Handshake(error_chain(&error))
            }
            Self::Transport(_) => return DialFailure::away(what),
            Self::RefusedByPeer => return DialFailure::refused_by_peer(what),
        };
        DialFailure::refused(what, audited)
    }
}

/// A peer that was dialled, after QUIC's handshake.
pub(crate) struct Dialled {
    pub connection: Connection,
    /// Of the leaf that was shown to it.
    own_leaf: [u8; 32],
}

/// Does the source's side: dials the peer of `rule`. How long that may take is the connection's machine's.
pub(crate) async fn dial(admission: Arc<Admission>, rule: Rule) -> Result<Dialled, DialFailure> {
    let own_leaf = admission.endpoint.credentials().identity.leaf_hash();
    let connecting = admission.endpoint.connect_tunnel(rule.peer_route, rule.peer);
    match connecting.await {
        Ok(connection) => Ok(Dialled { connection, own_leaf }),
        Err(error) => Err(TunnelError::from(error).into_failure()),
    }
}

/// Does the source's side: proves both ends over what was dialled.
pub(crate) async fn prove(
    admission: Arc<Admission>,
    entry: Arc<LiveConnection>,
    rule: Rule,
    secret: Secret,
    dialled: Dialled,
) -> Result<Admitted, DialFailure> {
    let Dialled { connection, own_leaf } = dialled;
    let outcome = prove_as_source(&admission, &entry, &rule, &secret, &connection, own_leaf).await;
    outcome.map_err(|error| {
        connection.close(Code::Refused);
        error.into_failure()
    })
}

async fn prove_as_source(
    admission: &Admission,
    entry: &LiveConnection,
    rule: &Rule,
    secret: &Secret,
    connection: &Connection,
    own_leaf: [u8; 32],
) -> Result<Admitted, TunnelError> {
    let peer = connection.peer(&admission.endpoint.credentials().trust)?;
    log_peer(&peer);
    if peer.server() != Some(rule.peer) {
        return Err(TunnelError::Refused(PeerRefusal::WrongPeer));
    }
    // At first contact its key would be pinned.
    if admission.policies.rules().is_revoked(peer.key()) {
        return Err(TunnelError::Refused(PeerRefusal::Revoked));
    }
    check_key(&admission.trust, entry, &peer)?;
    let exporter = connection.exporter()?;
    let proof = |side| open::proof(secret, &exporter, rule.connection, side, &own_leaf, &peer.leaf_hash());
    let asked = Open { version: open::VERSION, connection: rule.connection, proof: proof(Side::Source) };
    tracing::debug!(epoch = rule.secret_epoch, "the peer is who the rule names; proofs are exchanged");
    let (theirs, opening) = opening::ask(connection, &asked).await.map_err(|error| {
        if error.peer_code() == Some(Code::Refused) { TunnelError::RefusedByPeer } else { error.into() }
    })?;
    if theirs != proof(Side::Target) {
        return Err(TunnelError::Refused(PeerRefusal::WrongSecret));
    }
    meet_key(&admission.trust, entry, &peer).await?;
    say_admitted(entry, connection);
    let streams_max = entry.config.streams_max;
    connection.open_window(streams_max);
    admission.routes.follow(rule.peer_route, connection);
    let tunnel = Tunnel::new(connection.clone(), streams_max);
    Ok(Admitted {
        tunnel,
        opening,
        peer: rule.peer,
        terms: Terms { peer_key: peer.key(), cut_epoch: rule.cut_epoch },
        peer_expires: peer.not_after(),
    })
}

/// Returns the span of a peer that dials, of whom nothing is known yet.
pub(crate) fn incoming_span() -> Span {
    tracing::debug_span!(parent: None, "incoming", peer = Empty, connection = Empty)
}

fn log_peer(peer: &VerifiedPeer) {
    let server = peer.server().map(tracing::field::display);
    tracing::debug!(server, key = %peer.key(), until = %peer.not_after(), "the handshake has verified the peer");
}

/// Finishes handshakes of peers that dial, and hands what is admitted to its entry.
pub(crate) async fn answer(admission: Arc<Admission>, incoming: IncomingTunnel) {
    // Of the peer's share, until this is over.
    let _place = incoming.place();
    let connection = match timeout(TUNNEL_HANDSHAKE_TIMEOUT, incoming.accept()).await {
        Ok(Ok(connection)) => connection,
        // One that went silent was refused nothing.
        Ok(Err(TransportError::Timeout { .. })) | Err(_) => {
            tracing::debug!("a peer dialled and went silent in the middle of the handshake");
            return metrics::unfinished_handshake();
        }
        Ok(Err(error)) => {
            admission.audit.refuse_handshake(None, None, &error_chain(&error)).await;
            return;
        }
    };
    let peer = match connection.peer(&admission.endpoint.credentials().trust) {
        Ok(peer) => peer,
        Err(error) => {
            admission.audit.refuse_handshake(None, None, &error_chain(&error)).await;
            return connection.close(Code::Refused);
        }
    };
    peer.server().inspect(|server| _ = Span::current().record("peer", tracing::field::display(server)));
    log_peer(&peer);
    match admit(&admission, &connection, &peer).await {
        Ok((entry, admitted)) => {
            tracing::debug!(name = %entry.config.name, "the peer is admitted; its entry takes the tunnel");
            // The entry takes it or has ended, and with it this tunnel.
            if entry.incoming.send(admitted).await.is_err() {
                connection.close(Code::Ended);
            }
        }
        Err((asked, refusal)) => {
            connection.close(Code::Refused);
            note_refused(&admission, asked, &peer, refusal);
            admission.audit.refuse_peer(asked, peer.server(), refusal).await;
        }
    }
}

/// Tells the connection: its peer alone has a say in what is wrong with it.
fn note_refused(
    admission: &Admission,
    asked: Option<ConnectionId>,
    peer: &VerifiedPeer,
    refusal: PeerRefusal,
) {
    let entry = asked.and_then(|id| admission.entries.target(id));
    if let Some(entry) = entry.filter(|entry| peer.server() == Some(entry.config.peer)) {
        entry.note_refused(refusal);
    }
}

type Refused = (Option<ConnectionId>, PeerRefusal);

async fn admit(
    admission: &Admission,
    connection: &Connection,
    peer: &VerifiedPeer,
) -> Result<(Arc<LiveConnection>, Admitted), Refused> {
    if admission.policies.rules().is_revoked(peer.key()) {
        return Err((None, PeerRefusal::Revoked));
    }
    let own_leaf = admission.endpoint.credentials().identity.leaf_hash();
    tracing::trace!("the source's opening is awaited");
    let asked = opening::receive(connection).await.map_err(|error| (None, unopened(&error)))?;
    let id = asked.open.connection;
    Span::current().record("connection", tracing::field::display(id));
    let refuse = |refusal| (Some(id), refusal);
    let (entry, rule) = permitted(admission, id, peer).map_err(refuse)?;
    match check_key(&admission.trust, &entry, peer) {
        Ok(()) => {}
        Err(error @ TunnelError::UnverifiedKey { .. }) => {
            entry.note_fault(&error.to_string());
            return Err(refuse(PeerRefusal::UnverifiedKey));
        }
        Err(_) => return Err(refuse(PeerRefusal::ChangedKey)),
    }
    let exporter = connection.exporter().map_err(|_| refuse(PeerRefusal::BadOpening))?;
    let secret = admission.secrets.of(&entry.config, &rule).ok_or(refuse(PeerRefusal::WrongSecret))?;
    let proof = |side| open::proof(&secret, &exporter, id, side, &peer.leaf_hash(), &own_leaf);
    if asked.open.version != open::VERSION {
        return Err(refuse(PeerRefusal::BadOpening));
    }
    if asked.open.proof != proof(Side::Source) {
        return Err(refuse(PeerRefusal::WrongSecret));
    }
    if meet_key(&admission.trust, &entry, peer).await.is_err() {
        return Err(refuse(PeerRefusal::ChangedKey));
    }
    say_admitted(&entry, connection);
    let streams_max = entry.config.streams_max;
    connection.admit(streams_max);
    admission.routes.follow(rule.peer_route, connection);
    let opening = asked.answer(proof(Side::Target)).await.map_err(|_| refuse(PeerRefusal::BadOpening))?;
    let tunnel = Tunnel::new(connection.clone(), streams_max);
    let admitted = Admitted {
        tunnel,
        opening,
        peer: rule.peer,
        terms: Terms { peer_key: peer.key(), cut_epoch: rule.cut_epoch },
        peer_expires: peer.not_after(),
    };
    Ok((entry, admitted))
}

fn say_admitted(entry: &LiveConnection, connection: &Connection) {
    let skips_unknown = connection.skips_unknown_frames();
    tracing::debug!(connection = %entry.config.name, skips_unknown, "a tunnel is admitted");
}

/// Returns the refusal where nothing was opened: a source that looked at our certificate and left was sent
/// nothing wrong, and sent nothing wrong.
fn unopened(error: &TransportError) -> PeerRefusal {
    if error.peer_code() == Some(Code::Refused) {
        PeerRefusal::RefusedOurKey
    } else {
        PeerRefusal::BadOpening
    }
}

/// Judges by rules and file together: may `peer` open `id` now?
fn permitted(
    admission: &Admission,
    id: ConnectionId,
    peer: &VerifiedPeer,
) -> Result<(Arc<LiveConnection>, Rule), PeerRefusal> {
    let rules = admission.policies.rules();
    if rules.is_ended(id) {
        return Err(PeerRefusal::Terminated);
    }
    let Some(entry) = admission.entries.target(id) else {
        let known = rules.rule(id).is_some();
        tracing::debug!(has_rule = known, "this agent's file has no entry that receives this connection");
        return Err(if known { PeerRefusal::Unlisted } else { PeerRefusal::UnknownConnection });
    };
    let policy = policy::of(&entry.config, Side::Target, &rules);
    tracing::debug!(name = %entry.config.name, policy = policy.as_str(), "what rules and file say of it");
    match policy {
        Policy::Active(rule) if peer.server() == Some(rule.peer) => Ok((entry, rule)),
        Policy::Active(_) => Err(PeerRefusal::WrongPeer),
        Policy::Paused(_) => Err(PeerRefusal::Paused),
        Policy::Ready(_) => Err(PeerRefusal::NotActive),
        Policy::Unknown | Policy::Unlisted => Err(PeerRefusal::UnknownConnection),
        Policy::ConfigMismatch(_) | Policy::Unusable(_) => Err(PeerRefusal::Unlisted),
        Policy::Terminated => Err(PeerRefusal::Terminated),
    }
}

/// Checks the peer's key: the key in the file needs no first contact and suffers no other.
fn check_key(trust: &TrustStore, entry: &LiveConnection, peer: &VerifiedPeer) -> Result<(), TunnelError> {
    let connection = entry.config.id;
    trust.note_shown(entry.config.peer, peer.key());
    let changed = |known| TunnelError::ChangedKey { connection, shown: peer.key(), known };
    if let Some(expected) = entry.config.peer_key {
        tracing::debug!(shown = %peer.key(), %expected, "the peer's key is held against the file's");
        return if expected == peer.key() { Ok(()) } else { Err(changed(expected)) };
    }
    let is_admin = matches!(entry.config.service, Service::Admin { .. });
    let verdict = trust.check(connection, peer.key());
    tracing::debug!(shown = %peer.key(), verdict = verdict.as_str(), is_admin, "the peer's key is held against the known one");
    match verdict {
        KeyVerdict::Known { verified: false } | KeyVerdict::FirstContact if is_admin => {
            Err(TunnelError::UnverifiedKey { connection, shown: peer.key() })
        }
        KeyVerdict::Known { .. } | KeyVerdict::FirstContact => Ok(()),
        KeyVerdict::Changed { known } => Err(changed(known)),
    }
}

/// Pins the key at first contact. Since it was checked, another may have been pinned or trusted.
async fn meet_key(
    trust: &TrustStore,
    entry: &LiveConnection,
    peer: &VerifiedPeer,
) -> Result<(), TunnelError> {
    if entry.config.peer_key.is_some() {
        return Ok(());
    }
    let connection = entry.config.id;
    match trust.meet(connection, peer.key()).await {
        KeyVerdict::FirstContact | KeyVerdict::Known { .. } => Ok(()),
        KeyVerdict::Changed { known } => {
            Err(TunnelError::ChangedKey { connection, shown: peer.key(), known })
        }
    }
}

#[cfg(test)]
mod tests {
    use adit_core::domain::limits::ERROR_CHARS_MAX;

    use super::*;

    #[test]
    fn what_a_peer_wrote_into_an_error_cannot_break_a_line_or_a_terminal() {
        let what = format!("\u{1b}[2J\r\nforged line{}", "x".repeat(10_000));
        let line = error_chain(&TransportError::Peer { what });
        assert!(!line.contains(char::is_control), "{line}");
        assert!(line.contains("\\u{1b}[2J\\r\\nforged line"), "{line}");
        assert_eq!(line.chars().count(), ERROR_CHARS_MAX);
    }
}
