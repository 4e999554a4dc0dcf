//! One live control link: a single loop that turns messages, changes and timers into answers.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::field::display;
use tracing::{debug, trace, warn};

use super::view::AgentView;
use super::{Control, LinkEnd, OpenLink, count_dropped, lost};
use crate::platform::AgentError;
use crate::presence::PresenceGuard;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::{
    CONNECTIONS_ASKED_MAX, CONTROL_HEARTBEAT_EVERY, CONTROL_HEARTBEATS_MISSED_MAX, CONTROL_MESSAGES_BURST,
    CONTROL_MESSAGES_PER_SECOND, HIDDEN_FROM_MAX, PATH_KINDS_TOLD_MAX, PEER_ADDRESSES_MAX,
};
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::control::{Activity, Change, PeerPaths, Rule, ToAgent, ToGateway};
use adit_core::protocol::heartbeat::{Beat, Heartbeat};
use adit_core::protocol::text::listed;
use adit_core::protocol::token_bucket::TokenBucket;
use adit_net::transport::endpoint::TransportError;
use adit_net::transport::gateway_socket::Origin;
use adit_net::transport::link::LinkReceiver;
use adit_observe::unknown;

/// Serves the agent; `copy`: where another copy of the agent was seen.
pub(super) async fn run(
    control: &Control,
    link: &mut OpenLink,
    copy: Option<SocketAddr>,
) -> Result<Infallible, LinkEnd> {
    let server = link.server;
    let mut guard = control.presence.join(server);
    control.linked(server, true).await?;
    let relayed = control.relay.join(&control.platform, server, link.peer.key(), link.registration.clone());
    let relayed = relayed.await.map_err(|source| LinkEnd::Platform { source })?;
    let end = converse(control, link, &mut guard, copy).await;
    if let Some(relayed) = relayed {
        control.relay.leave(relayed).await;
    }
    if guard.is_current() {
        drop(guard);
        control.linked(server, false).await?;
        // A newer link may have come up between the two steps, and its word was overwritten.
        if control.presence.is_present(server) {
            control.linked(server, true).await?;
        }
    }
    end
}

async fn converse(
    control: &Control,
    link: &mut OpenLink,
    guard: &mut PresenceGuard,
    copy: Option<SocketAddr>,
) -> Result<Infallible, LinkEnd> {
    // Only now: who is welcome registers at the relay at once, which must know its key.
    let now = control.clock.now();
    let copy = copy.map(|at| ToAgent::AnotherCopy { at });
    let (version, capabilities) = (link.version, Capabilities::own());
    send(link, [ToAgent::Welcome { version, now, capabilities }].into_iter().chain(copy)).await?;
    let mut changes = control.changes.clone();
    let mut presence = control.presence.subscribe();
    // Before the snapshot is read: what changes from here on wakes the loop.
    changes.mark_unchanged();
    presence.mark_unchanged();
    let (rules, revoked) = control.rules(link).await?;
    debug!(rules = rules.len(), revoked = revoked.len(), "the agent is sent all that it may know");
    for rule in &rules {
        log_rule(rule);
    }
    let (view, snapshot) = AgentView::snapshot(rules, revoked);
    send(link, snapshot).await?;

    let now = Instant::now();
    let mut session = ControlSession { control, link, view };
    let mut limiter = TokenBucket::per_second(CONTROL_MESSAGES_BURST, CONTROL_MESSAGES_PER_SECOND);
    let mut next_read = now;
    let mut heartbeat = Heartbeat::new(now, CONTROL_HEARTBEAT_EVERY, CONTROL_HEARTBEATS_MISSED_MAX);
    session.send_candidates().await?;
    loop {
        tokio::select! {
            message = receive_from(next_read, &mut session.link.receiver) => {
                let message = message.map_err(lost)?;
                if message == ToGateway::Unknown {
                    unknown::note("message", session.link.receiver.tag());
                }
                let now = Instant::now();
                heartbeat.handle_heard(now);
                // Who is too fast is read later, not cut off: the transport's windows then hold it back.
                let pause = limiter.take(now);
                if !pause.is_zero() {
                    trace!(pause_ms = pause.as_millis(), "the agent writes too fast: its next message waits");
                }
                next_read = now + pause;
                session.handle(message, guard).await?;
            }
            () = sleep_until(heartbeat.deadline().into()) => match heartbeat.poll(Instant::now()) {
                Some(Beat::Send { number }) => {
                    trace!(number, "a heartbeat is sent");
                    let now = session.control.clock.now();
                    send(session.link, [ToAgent::Heartbeat { number, now }]).await?;
                }
                Some(Beat::Lost { silent_for }) => return Err(LinkEnd::Silent { silent_for }),
                None => {}
            },
            () = changed(&mut changes) => session.catch_up().await?,
            () = changed(&mut presence) => session.send_candidates().await?,
            () = guard.replaced() => return Err(LinkEnd::Replaced),
            () = session.control.stop.cancelled() => return Err(LinkEnd::Stopping),
        }
    }
}

struct ControlSession<'link> {
    control: &'link Control,
    link: &'link mut OpenLink,
    view: AgentView,
}

impl ControlSession<'_> {
    async fn handle(&mut self, message: ToGateway, guard: &PresenceGuard) -> Result<(), LinkEnd> {
        let (platform, server) = (&self.control.platform, self.link.server);
        let now = self.control.clock.now();
        match message {
            ToGateway::Hello { .. } => Err(LinkEnd::Misbehaved { what: "it said hello twice".into() }),
            ToGateway::Heartbeat { .. } | ToGateway::Unknown => Ok(()),
            ToGateway::HiddenFrom { peers } => {
                guard.hide_from(hidden_from(peers)?);
                Ok(())
            }
            ToGateway::AllowedPaths { peers } => {
                guard.allow(allowed(peers)?);
                Ok(())
            }
            ToGateway::Listening { addresses } => {
                let origin = self.control.endpoint.origin(&self.link.connection);
                let from = origin.map_or(self.link.from, Origin::address);
                guard.set_addresses(reachable(addresses, from)?);
                Ok(())
            }
            ToGateway::FetchSecret { connection } => self.fetch_secret(connection).await,
            ToGateway::Missing { connections } => self.send_ended(&connections).await,
            ToGateway::SecretStored { connection, epoch } => {
                ignore_stale(platform.secret_stored(server, connection, epoch).await).map(drop)
            }
            ToGateway::Report { connection, report } => {
                ignore_stale(platform.report(server, connection, &report, now).await).map(drop)
            }
            ToGateway::ConfigMismatch { connection, reason } => {
                let is_new = ignore_stale(platform.config_mismatch(server, connection, reason).await)?;
                if is_new == Some(true) {
                    warn!(%connection, why = reason.sentence(), "an agent's own file forbids a connection");
                }
                Ok(())
            }
            ToGateway::RefusedPeer { connection, peer, reason, left_out, .. } => {
                let times = u32::try_from(left_out).unwrap_or(u32::MAX).saturating_add(1);
                let refused = platform.refused_peer(server, connection, peer, reason, times).await;
                if ignore_stale(refused)? == Some(true) {
                    let (connection, peer) = (connection.map(display), peer.map(display));
                    warn!(
                        connection,
                        peer,
                        why = reason.sentence(),
                        more = left_out,
                        "an agent refused a peer"
                    );
                }
                Ok(())
            }
            ToGateway::AdminSession { connection, session, .. } => {
                ignore_stale(platform.admin_session(server, connection, &session).await).map(drop)
            }
            ToGateway::Renew { csr } => {
                let renewed = self.control.renew(self.link, &csr).await?;
                send(self.link, [renewed]).await
            }
        }
    }

    async fn fetch_secret(&mut self, connection: ConnectionId) -> Result<(), LinkEnd> {
        let answer = match self.control.platform.fetch_secret(self.link.server, connection).await {
            Ok((epoch, secret)) => {
                debug!(%connection, epoch, "the agent is handed its connection's secret");
                ToAgent::Secret { connection, epoch, secret: secret.reveal_hex() }
            }
            Err(why @ (AgentError::NotFound | AgentError::SecretUnavailable)) => {
                debug!(%connection, %why, "the agent is handed no secret");
                ToAgent::SecretUnavailable { connection }
            }
            Err(AgentError::Platform(source)) => return Err(LinkEnd::Platform { source }),
        };
        send(self.link, [answer]).await
    }

    /// Tells which of the agent's own connections are over; of others nothing is said.
    async fn send_ended(&mut self, asked: &[ConnectionId]) -> Result<(), LinkEnd> {
        if asked.len() > CONNECTIONS_ASKED_MAX {
            let what = format!(
                "it asked about {} connections, at most {CONNECTIONS_ASKED_MAX} are answered",
                asked.len()
            );
            return Err(LinkEnd::Misbehaved { what });
        }
        let connections = self.control.ended_among(self.link, asked).await?;
        debug!(
            asked = %listed(asked),
            ended = %listed(&connections),
            "the agent asks which connections are over"
        );
        if connections.is_empty() {
            return Ok(());
        }
        send(self.link, [ToAgent::Ended { connections }]).await
    }

    /// Catches up. Something changed somewhere: is the agent still welcome, and what must it hear?
    async fn catch_up(&mut self) -> Result<(), LinkEnd> {
        self.control.authorize_key(self.link.server, &self.link.peer).await?;
        let (rules, revoked) = self.control.rules(self.link).await?;
        let gone = self.view.gone(&rules);
        let ended =
            if gone.is_empty() { Vec::new() } else { self.control.ended_among(self.link, &gone).await? };
        let changes = self.view.catch_up(rules, revoked, &ended);
        for change in &changes {
            log_change(change);
        }
        send(self.link, changes).await?;
        self.send_candidates().await
    }

    async fn send_candidates(&mut self) -> Result<(), LinkEnd> {
        let own = self.link.server;
        let candidates = self.view.candidates(|peer| self.control.presence.addresses(peer, own));
        for candidate in &candidates {
            if let ToAgent::Candidates { peer, addresses } = candidate {
                debug!(%peer, addresses = %listed(addresses), "the agent is told where a peer is");
            }
        }
        send(self.link, candidates).await?;
        if !self.link.capabilities.has(Capability::AllowedPaths) {
            return Ok(());
        }
        let allowed = self.view.allowed_paths(|peer| self.control.presence.allowed(peer, own));
        for message in &allowed {
            if let ToAgent::AllowedPaths { peer, allowed } = message {
                debug!(%peer, allowed = %listed(allowed), "the agent is told which paths a peer's owner allows");
            }
        }
        send(self.link, allowed).await
    }
}

fn log_change(message: &ToAgent) {
    let ToAgent::Change { revision, change } = message else { return };
    match change {
        Change::Rule { rule } => {
            debug!(revision, connection = %rule.connection, "a connection is new to the agent or has changed");
            log_rule(rule);
        }
        Change::Ended { connection } => debug!(revision, %connection, "the agent is told that it has ended"),
        Change::Unlisted { connection } => {
            debug!(revision, %connection, "the agent is told that the gateway does not know it any more");
        }
        Change::Revoked { key } => debug!(revision, %key, "the agent is told of a revoked key"),
        // Only read, never said.
        Change::Unusable { .. } | Change::Unknown => {}
    }
}

fn log_rule(rule: &Rule) {
    let activity = match rule.activity {
        Activity::Ready => "ready",
        Activity::Paused => "paused",
        Activity::Active => "active",
    };
    trace!(
        connection = %rule.connection,
        kind = %rule.kind,
        side = %rule.side,
        peer = %rule.peer,
        peer_route = %rule.peer_route,
        activity,
        secret_epoch = rule.secret_epoch,
        cut_epoch = rule.cut_epoch,
        "a rule as the agent is sent it"
    );
}

/// Takes as many as an agent's file can name.
fn hidden_from(peers: Vec<ServerId>) -> Result<BTreeSet<ServerId>, LinkEnd> {
    if peers.len() > HIDDEN_FROM_MAX {
        let what = format!("it hides from {} peers, at most {HIDDEN_FROM_MAX} fit its file", peers.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    Ok(peers.into_iter().collect())
}

/// Returns the kinds of path that an owner allows, by peer.
fn allowed(peers: Vec<PeerPaths>) -> Result<BTreeMap<ServerId, Vec<Word<PathKind>>>, LinkEnd> {
    if peers.len() > HIDDEN_FROM_MAX {
        let what =
            format!("it allows paths to {} peers, at most {HIDDEN_FROM_MAX} fit its file", peers.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    let bounded = peers.into_iter().map(|PeerPaths { peer, mut allowed }| {
        allowed.truncate(PATH_KINDS_TOLD_MAX);
        (peer, allowed)
    });
    Ok(bounded.collect())
}

/// Returns where peers may try an agent. A socket on the unspecified address is reached where its link comes
/// from; what cannot be dialled is dropped.
fn reachable(reported: Vec<SocketAddr>, from: SocketAddr) -> Result<Vec<SocketAddr>, LinkEnd> {
    if reported.len() > PEER_ADDRESSES_MAX {
        let what =
            format!("it reported {} addresses, at most {PEER_ADDRESSES_MAX} are told on", reported.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    let mut reachable = Vec::new();
    for mut address in reported {
        if address.ip().is_unspecified() {
            address.set_ip(from.ip());
        }
        address.set_ip(address.ip().to_canonical());
        if address.port() == 0 || address.ip().is_multicast() {
            count_dropped("address");
            debug!(%address, "the agent reports an address that nobody can dial; it is told to nobody");
        } else if !reachable.contains(&address) {
            reachable.push(address);
        }
    }
    Ok(reachable)
}

/// Passes a note on: a refused note is an agent that lags behind a change; it will hear of it.
fn ignore_stale<T>(outcome: Result<T, AgentError>) -> Result<Option<T>, LinkEnd> {
    match outcome {
        Ok(taken) => Ok(Some(taken)),
        Err(why @ (AgentError::NotFound | AgentError::SecretUnavailable)) => {
            count_dropped("stale_note");
            debug!(%why, "an agent's note was not taken");
            Ok(None)
        }
        Err(AgentError::Platform(source)) => Err(LinkEnd::Platform { source }),
    }
}

async fn send(link: &mut OpenLink, messages: impl IntoIterator<Item = ToAgent>) -> Result<(), LinkEnd> {
    for message in messages {
        link.sender.send(&message).await.map_err(lost)?;
    }
    Ok(())
}

/// Receives the next message; safe to drop while waiting: nothing read is lost.
async fn receive_from(at: Instant, receiver: &mut LinkReceiver) -> Result<ToGateway, TransportError> {
    sleep_until(at.into()).await;
    receiver.receive().await
}

/// Resolves at the next change; never once the other side is gone, which happens only at the stop.
async fn changed(version: &mut watch::Receiver<u64>) {
    if version.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_agent_hides_from_at_most_as_many_peers_as_its_file_can_name() {
        let peers = |count: usize| vec![ServerId::from_bytes([1; 16]); count];
        assert!(hidden_from(peers(HIDDEN_FROM_MAX)).is_ok());
        assert!(hidden_from(peers(HIDDEN_FROM_MAX + 1)).is_err());
    }

    #[test]
    fn an_agent_names_paths_to_at_most_as_many_peers_as_its_file_can_name() {
        let one = |kinds| PeerPaths {
            peer: ServerId::from_bytes([1; 16]),
            allowed: vec![PathKind::Tcp.into(); kinds],
        };
        assert!(allowed(vec![one(1); HIDDEN_FROM_MAX]).is_ok());
        assert!(allowed(vec![one(1); HIDDEN_FROM_MAX + 1]).is_err());
        let many = allowed(vec![one(1_000)]).unwrap();
        assert_eq!(many.values().map(Vec::len).collect::<Vec<_>>(), [PATH_KINDS_TOLD_MAX]);
    }

    #[test]
    fn an_unspecified_address_is_told_on_as_where_the_link_comes_from() {
        let reported = addresses(&["[::]:4433", "0.0.0.0:4434", "10.0.0.9:4433", "[::ffff:10.0.0.9]:4433"]);
        let told = reachable(reported, "[::ffff:192.0.2.7]:999".parse().unwrap()).unwrap();
        assert_eq!(told, addresses(&["192.0.2.7:4433", "192.0.2.7:4434", "10.0.0.9:4433"]));
    }

    #[test]
    fn only_too_many_addresses_end_the_link_where_bad_ones_are_dropped() {
        let from = "192.0.2.7:999".parse().unwrap();
        assert_eq!(reachable(addresses(&["224.0.0.1:1", "[ff02::1]:1", "10.0.0.9:0"]), from).unwrap(), []);
        let many = |count: u16| (1..=count).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let limit = u16::try_from(PEER_ADDRESSES_MAX).unwrap();
        assert_eq!(reachable(many(limit), from).unwrap().len(), PEER_ADDRESSES_MAX);
        assert!(matches!(reachable(many(limit + 1), from), Err(LinkEnd::Misbehaved { .. })));
    }
}
