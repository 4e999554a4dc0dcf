//! Drives the route keepers of all peers and the registration at the relay: packets and timers in,
//! probes and table changes out.
//!
//! What to probe and what to believe is decided in `protocol::route` and `protocol::registration`.
//! One task owns all keepers; others say which peers they want and watch the path to each.

mod log;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep_until;
use tracing::Span;

use super::endpoint::Connection;
use super::followers::Followers;
use super::socket::{AgentSocket, OwnPacket, SocketDrops, count};
use crate::identity::random;
use adit_core::domain::id::{BootId, RouteId, ServerId};
use adit_core::domain::limits::{
    OWN_PACKETS_A_TURN, PATH_DOUBT, PATH_SILENCE, PROBE_EVERY, REPEATED_KINDS_MAX, REPEATS_BURST,
    REPEATS_SUMMED_EVERY, SOURCE_LAPSES_AFTER,
};
use adit_core::domain::path::{PathChoice, PathKind};
use adit_core::domain::secret::Secret;
use adit_core::protocol::initial::TagKey;
use adit_core::protocol::packet::{Claim, PacketKey, PacketVerdict};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_core::protocol::route::{Path, PathReason, PeerRoute, RouteEvent};

/// A driver with nothing due looks again after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Connections are told of a change of path at most this often: it touches all of them.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Own packets that a full socket did not take; more are dropped, probes repeat.
const UNSENT_MAX: usize = 64;

/// A peer that a live rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPeer {
    pub route: RouteId,
    /// As people call its server.
    pub name: String,
    /// The secrets of its connections; any of them may authenticate a probe.
    pub secrets: Vec<Secret>,
    pub candidates: Vec<SocketAddr>,
    pub path: PathChoice,
}

/// The gateway as a relay, while its control link is up.
#[derive(Debug, Clone)]
pub struct RelayServer {
    pub address: SocketAddr,
    /// From the control link's TLS exporter.
    pub key: PacketKey,
}

/// The path to a peer, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    /// How packets go; nothing can be dialled without.
    pub path: Option<Path>,
    /// Why this one, and how often it was another before.
    pub why: Option<PathReason>,
    pub changes: u64,
    pub boot: Option<BootId>,
    /// When the peer last answered a probe, on whichever path.
    pub heard: Option<Instant>,
}

impl PathState {
    #[must_use]
    pub fn kind(&self) -> Option<PathKind> {
        self.path.map(Path::kind)
    }
}

type PathStates = Arc<Mutex<BTreeMap<ServerId, watch::Sender<PathState>>>>;

/// The handle that tasks share.
#[derive(Debug, Clone)]
pub struct Routes {
    path_states: PathStates,
    wanted: watch::Sender<BTreeMap<ServerId, WantedPeer>>,
    relay: watch::Sender<Option<RelayServer>>,
    followers: Arc<Followers>,
    pings: watch::Sender<u64>,
    unanswered: Arc<Notify>,
    registered: watch::Sender<bool>,
}

/// Who an agent is below QUIC.
#[derive(Debug, Clone, Copy)]
pub struct OwnEnd {
    pub route: RouteId,
    pub gateway: RouteId,
    pub boot: BootId,
}

impl Routes {
    /// Returns the handle and the driver that the agent runs.
    #[must_use]
    pub fn new(
        socket: Arc<AgentSocket>,
        own_packets: mpsc::Receiver<OwnPacket>,
        own: OwnEnd,
    ) -> (Self, RouteDriver) {
        let (wanted, wanted_changes) = watch::channel(BTreeMap::new());
        let (relay, relay_changes) = watch::channel(None);
        let (followers, pings) = (Arc::default(), watch::Sender::new(0));
        let (unanswered, registered) = (Arc::default(), watch::Sender::new(false));
        socket.gate().set_boot(own.boot);
        let routes = Self {
            path_states: PathStates::default(),
            wanted,
            relay,
            followers,
            pings,
            unanswered,
            registered,
        };
        let driver = RouteDriver {
            socket,
            own_packets,
            own,
            wanted: wanted_changes,
            relay: relay_changes,
            path_states: Arc::clone(&routes.path_states),
            relay_client: RelayClient::new(own, routes.registered.clone()),
            peers: BTreeMap::new(),
            unsent: VecDeque::new(),
            followers: Arc::clone(&routes.followers),
            pings: Pings { counter: routes.pings.clone(), last: None, due: None },
            unanswered: Arc::clone(&routes.unanswered),
        };
        (routes, driver)
    }

    /// Names all peers that may be reached and heard from now on; the path to others is forgotten.
    pub fn want(&self, peers: BTreeMap<ServerId, WantedPeer>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != peers;
            if differs {
                *wanted = peers;
            }
            differs
        });
    }

    /// Sets where the relay is and how to register there; `None` when the control link is away. What is
    /// registered stays so until it lapses.
    pub fn set_relay(&self, relay: Option<RelayServer>) {
        self.relay.send_replace(relay);
    }

    /// Follows a route: from now on `tunnel` is told when packets of `route` take another path.
    pub fn follow(&self, route: RouteId, tunnel: &Connection) {
        self.followers.add(route, tunnel);
    }

    /// Rises when connections must send something at once; see `AgentEndpoint::ping`.
    #[must_use]
    pub fn pings(&self) -> watch::Receiver<u64> {
        self.pings.subscribe()
    }

    /// Notes that a tunnel is not answered though its peer is heard: connections must send something soon.
    pub fn want_ping(&self) {
        self.unanswered.notify_one();
    }

    /// Returns whether the relay carries packets of this agent.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Returns the state of the path to `peer`, as it changes; empty while it is not wanted. Being heard
    /// again is not notified, only seen.
    #[must_use]
    pub fn path_state(&self, peer: ServerId) -> watch::Receiver<PathState> {
        path_state_of(&self.path_states, peer).subscribe()
    }
}

fn path_state_of(path_states: &PathStates, peer: ServerId) -> watch::Sender<PathState> {
    let mut path_states = path_states.lock();
    path_states.entry(peer).or_default().clone()
}

/// Owns the keepers; see [`Self::run`].
#[derive(Debug)]
pub struct RouteDriver {
    socket: Arc<AgentSocket>,
    own_packets: mpsc::Receiver<OwnPacket>,
    own: OwnEnd,
    wanted: watch::Receiver<BTreeMap<ServerId, WantedPeer>>,
    relay: watch::Receiver<Option<RelayServer>>,
    path_states: PathStates,
    relay_client: RelayClient,
    peers: BTreeMap<ServerId, DrivenPeer>,
    unsent: VecDeque<(SocketAddr, Box<[u8]>)>,
    followers: Arc<Followers>,
    pings: Pings,
    unanswered: Arc<Notify>,
}

/// Returns the first lines of a kind, then one a minute that counts.
const fn summed<K: Ord>() -> RepeatLimiter<K> {
    RepeatLimiter::bursts(REPEATS_BURST, REPEATS_SUMMED_EVERY, REPEATED_KINDS_MAX)
}

/// Keeps this agent registered at the relay.
#[derive(Debug)]
struct RelayClient {
    /// The last known; the relay may be there while the control link is not.
    address: Option<SocketAddr>,
    registration: Registration,
    registered: watch::Sender<bool>,
    searched: Option<Instant>,
    /// Two copies of this agent take the relay from each other.
    logged: RepeatLimiter<bool>,
}

#[derive(Debug)]
struct DrivenPeer {
    wanted: WantedPeer,
    keeper: PeerRoute,
    path_state: watch::Sender<PathState>,
    why: Option<PathReason>,
    changes: u64,
    is_searching: bool,
    span: Span,
    /// What the gate was told last: the peer's run, and which key it holds.
    known: Option<(Option<BootId>, usize)>,
    /// A peer that comes and goes, as two copies of one agent do, is summed up.
    logged: RepeatLimiter<&'static str>,
}

/// When connections are told that packets take another path.
#[derive(Debug)]
struct Pings {
    counter: watch::Sender<u64>,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl RouteDriver {
    /// Runs until dropped, or until the handle and the socket are gone.
    pub async fn run(mut self) {
        loop {
            let due = self.due().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                packet = self.own_packets.recv() => match packet {
                    Some(packet) => self.handle_packets(&packet),
                    None => return,
                },
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.handle_wanted(),
                    Err(_) => return,
                },
                changed = self.relay.changed() => match changed {
                    Ok(()) => self.handle_relay(),
                    Err(_) => return,
                },
                () = self.unanswered.notified() => self.pings.want(Instant::now()),
                () = sleep_until(due.into()) => self.handle_timeout(),
                () = self.socket.writable(), if !self.unsent.is_empty() => self.send_unsent(),
            }
            self.flush();
        }
    }

    fn due(&self) -> Option<Instant> {
        let keepers = self.peers.values().filter_map(|peer| peer.keeper.poll_timeout());
        keepers.chain(self.relay_client.registration.poll_timeout()).chain(self.pings.due).min()
    }

    /// Takes what waits in one turn: what follows from it is done once.
    fn handle_packets(&mut self, first: &OwnPacket) {
        self.handle_packet(first);
        for _ in 1..OWN_PACKETS_A_TURN {
            let Ok(packet) = self.own_packets.try_recv() else { return };
            self.handle_packet(&packet);
        }
    }

    fn handle_packet(&mut self, packet: &OwnPacket) {
        let drops = self.socket.drops();
        let Some(claim) = Claim::read(&packet.bytes) else { return count(&drops.unreadable) };
        let Some(from) = packet.from.address() else { return };
        let is_relayed = self.relay_client.address == Some(from);
        let now = Instant::now();
        if claim.source == self.own.gateway {
            let verdict = if is_relayed {
                self.relay_client.registration.handle_packet(&packet.bytes, now)
            } else {
                PacketVerdict::PathNotAllowed
            };
            return note_received(drops, packet, &claim, verdict);
        }
        let path = if is_relayed { Path::Relay } else { Path::Direct(from) };
        let mut peers = self.peers.values_mut();
        let Some(peer) = peers.find(|peer| peer.wanted.route == claim.source) else {
            tracing::trace!(from = %packet.from, source = %claim.source, "received from no peer of ours and dropped");
            return count(&drops.unknown_peer);
        };
        let span = peer.span.clone();
        let _entered = span.enter();
        let verdict = peer.keeper.handle_packet(path, &packet.bytes, now, &mut random::bytes);
        note_received(drops, packet, &claim, verdict);
        peer.note_mtu(&self.followers);
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        if self.peers.values().any(|peer| peer.is_relay_in_doubt(now)) {
            self.relay_client.search(now);
        }
        self.relay_client.registration.handle_timeout(now, &mut random::bytes);
        for peer in self.peers.values_mut() {
            peer.note_mtu(&self.followers);
            peer.keeper.handle_timeout(now, &mut random::bytes);
        }
    }

    fn handle_relay(&mut self) {
        let relay = self.relay.borrow_and_update().clone();
        let now = Instant::now();
        if let Some(server) = &relay
            && let before = self.relay_client.address.replace(server.address)
            && before != Some(server.address)
        {
            log::relay_moved(before, server.address);
            if let Some(before) = before {
                self.socket.forget_source(before);
            }
            if *self.relay_client.registered.borrow() {
                self.socket.validate_source(server.address);
            }
            for peer in self.peers.values().filter(|peer| peer.keeper.active() == Some(Path::Relay)) {
                self.socket.set_route(peer.wanted.route, server.address);
            }
        }
        log::relay(self.relay_client.address, relay.is_some());
        self.relay_client.registration.set_key(relay.map(|server| server.key), now);
        self.relay_client.registration.handle_timeout(now, &mut random::bytes);
    }

    fn handle_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        self.peers.retain(|server, peer| {
            // A peer that enrolled again has another route.
            let keeps = wanted.get(server).is_some_and(|wanted| wanted.route == peer.wanted.route);
            if !keeps {
                peer.forget(&self.socket);
            }
            keeps
        });
        for (server, wanted) in wanted {
            let peer = self.peers.entry(server).or_insert_with(|| {
                let mut keeper = PeerRoute::new(self.own.route, self.own.boot, wanted.route);
                keeper.set_relay(*self.relay_client.registered.borrow(), now);
                DrivenPeer {
                    keeper,
                    wanted: WantedPeer {
                        route: wanted.route,
                        name: String::new(),
                        secrets: Vec::new(),
                        candidates: Vec::new(),
                        path: PathChoice::default(),
                    },
                    path_state: path_state_of(&self.path_states, server),
                    why: None,
                    changes: 0,
                    is_searching: false,
                    span: tracing::debug_span!(parent: None, "peer", %server, route = %wanted.route),
                    known: None,
                    logged: summed(),
                }
            });
            let span = peer.span.clone();
            let _entered = span.enter();
            log::wanted(&peer.wanted, &wanted);
            if peer.wanted.path != wanted.path {
                peer.keeper.set_choice(wanted.path, now);
            }
            if peer.wanted.secrets != wanted.secrets {
                peer.keeper.set_keys(wanted.secrets.iter().map(PacketKey::of_connection).collect());
                let tags = wanted.secrets.iter().map(TagKey::of_connection).collect();
                self.socket.gate().set_peer(wanted.route, tags);
            }
            if peer.wanted.candidates != wanted.candidates {
                peer.keeper.set_candidates(&wanted.candidates, now);
            }
            peer.wanted = wanted;
        }
        self.handle_timeout();
    }

    /// Does what was decided: sends, sorts sources, moves routes, tells connections.
    fn flush(&mut self) {
        let now = Instant::now();
        let is_registered = self.relay_client.registration.is_registered(now);
        if self.relay_client.registered.send_replace(is_registered) != is_registered {
            if let Some(more) = self.relay_client.logged.handle(is_registered, now) {
                tracing::info!(registered = is_registered, more = shown(more), "the relay");
            }
            for peer in self.peers.values_mut() {
                peer.keeper.set_relay(is_registered, now);
            }
            // The gateway may be dialled elsewhere meanwhile; peers send through the relay.
            match (self.relay_client.address, is_registered) {
                (Some(address), true) => self.socket.validate_source(address),
                (Some(address), false) => self.socket.forget_source(address),
                (None, _) => {}
            }
        }
        let relay = self.relay_client.address;
        let mut transmits = Vec::new();
        for peer in self.peers.values_mut() {
            if peer.act(&self.socket, relay, &mut transmits) {
                self.followers.note_path_change(peer.wanted.route);
                self.pings.want(now);
            }
        }
        while let Some(packet) = self.relay_client.registration.poll_transmit() {
            transmits.extend(relay.map(|relay| (relay, packet)));
        }
        for (to, packet) in transmits {
            self.send(to, packet);
        }
        self.pings.send_due(now);
    }

    fn send(&mut self, to: SocketAddr, packet: Box<[u8]>) {
        log::sent(to, &packet);
        if !self.unsent.is_empty() || !self.socket.send_own(to, &packet) {
            // Bulk fills the socket; a probe that never left would look like a silent peer.
            self.unsent.push_back((to, packet));
            if self.unsent.len() > UNSENT_MAX {
                self.unsent.pop_front();
                count(&self.socket.drops().own_unsent);
            }
        }
    }

    fn send_unsent(&mut self) {
        while let Some((to, packet)) = self.unsent.front() {
            if !self.socket.send_own(*to, packet) {
                return;
            }
            self.unsent.pop_front();
        }
    }
}

fn note_received(drops: &SocketDrops, packet: &OwnPacket, claim: &Claim, verdict: PacketVerdict) {
    if verdict != PacketVerdict::Taken {
        count(&drops.not_taken);
    }
    log::received(packet.from, claim, packet.bytes.len(), verdict);
}

impl RelayClient {
    fn new(own: OwnEnd, registered: watch::Sender<bool>) -> Self {
        let registration = Registration::new(own.route, own.gateway, own.boot);
        Self { address: None, registration, registered, searched: None, logged: summed() }
    }

    /// Registers again: the relay may know an address that is ours no more.
    fn search(&mut self, now: Instant) {
        if self.searched.is_none_or(|searched| now.saturating_duration_since(searched) >= PATH_SILENCE) {
            self.searched = Some(now);
            tracing::debug!(
                "a peer behind the relay keeps a probe waiting, so this agent registers there again"
            );
            self.registration.search(now);
        }
    }
}

impl Pings {
    fn want(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| (last + PING_EVERY).max(now));
        self.due.get_or_insert(earliest);
    }

    fn send_due(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            (self.last, self.due) = (Some(now), None);
            tracing::debug!("every connection sends something now, so that what was lost is found out");
            self.counter.send_modify(|count| *count += 1);
        }
    }
}

impl DrivenPeer {
    /// Returns whether packets go through the relay, and the peer has kept a probe waiting.
    fn is_relay_in_doubt(&self, now: Instant) -> bool {
        let silent_for = self.keeper.heard().map(|heard| now.saturating_duration_since(heard));
        self.keeper.active() == Some(Path::Relay)
            && silent_for
                .is_some_and(|silent| (PROBE_EVERY + PATH_DOUBT..SOURCE_LAPSES_AFTER).contains(&silent))
    }

    /// Notes the size: a path is left only for one that carries packets as large as those in use.
    fn note_mtu(&mut self, followers: &Followers) {
        if let Some(mtu) = followers.mtu(self.wanted.route) {
            self.keeper.set_mtu(mtu.into());
        }
    }

    /// Does what the keeper decided; whether packets in flight may have been lost on the way.
    fn act(
        &mut self,
        socket: &AgentSocket,
        relay: Option<SocketAddr>,
        transmits: &mut Vec<(SocketAddr, Box<[u8]>)>,
    ) -> bool {
        let (mut disturbed, now, span) = (false, Instant::now(), self.span.clone());
        let _entered = span.enter();
        for (line, times) in self.logged.due(now) {
            tracing::info!(route = %self.wanted.route, times, "again and again: {}", line.unwrap_or_default());
        }
        while let Some(event) = self.keeper.poll_event() {
            log::decided(event, &self.keeper, self.why);
            match event {
                RouteEvent::Validated(address) => socket.validate_source(address),
                RouteEvent::Lapsed(address) => socket.forget_source(address),
                RouteEvent::Active { path, why } => {
                    let address = match path {
                        Path::Direct(address) => Some(address),
                        Path::Relay => relay,
                    };
                    if let Some(address) = address {
                        socket.set_route(self.wanted.route, address);
                    }
                    if let Some(more) = self.logged.handle("the path to a peer", now) {
                        tracing::info!(peer = %self.wanted.name, more = shown(more), path = %path.kind(), %why, "the path to a peer");
                    }
                    self.changes += u64::from(self.why.is_some());
                    self.why = Some(why);
                    disturbed = true;
                }
                RouteEvent::Inactive => {
                    if let Some(more) = self.logged.handle("no allowed path to a peer", now) {
                        tracing::info!(peer = %self.wanted.name, more = shown(more), "no allowed path to a peer");
                    }
                    socket.remove_route(self.wanted.route);
                }
                RouteEvent::Resumed => {
                    if let Some(more) = self.logged.handle("a peer answers again", now) {
                        tracing::info!(peer = %self.wanted.name, more = shown(more), "a peer answers again");
                    }
                    disturbed = true;
                }
                RouteEvent::BootChanged(_) => {
                    if let Some(more) = self.logged.handle("a peer's agent was restarted", now) {
                        tracing::info!(peer = %self.wanted.name, more = shown(more), "a peer's agent was restarted");
                    }
                }
            }
        }
        while let Some(transmit) = self.keeper.poll_transmit() {
            let to = match transmit.to {
                Path::Direct(address) => Some(address),
                Path::Relay => relay,
            };
            transmits.extend(to.map(|to| (to, transmit.packet)));
        }
        self.is_searching = log::searching(self.is_searching, &self.keeper, now);
        self.publish(socket);
        disturbed
    }

    fn publish(&mut self, socket: &AgentSocket) {
        let known = (self.keeper.peer_boot(), self.keeper.key());
        if self.known != Some(known) {
            // Before anybody is told that there is a path.
            socket.gate().note_peer(self.wanted.route, known.0, known.1);
            self.known = Some(known);
        }
        let now = PathState {
            path: self.keeper.active(),
            why: self.why,
            changes: self.changes,
            boot: self.keeper.peer_boot(),
            heard: self.keeper.heard(),
        };
        self.path_state.send_if_modified(|path_state| {
            let is_news = (path_state.path, path_state.why, path_state.changes, path_state.boot)
                != (now.path, now.why, now.changes, now.boot);
            *path_state = now;
            is_news
        });
    }

    fn forget(&self, socket: &AgentSocket) {
        let _entered = self.span.enter();
        tracing::debug!(
            "no live rule with a secret names this peer any more, so it is neither asked nor heard"
        );
        for address in self.keeper.validated() {
            socket.forget_source(address);
        }
        socket.remove_route(self.wanted.route);
        socket.gate().remove_peer(self.wanted.route);
        self.path_state.send_replace(PathState::default());
    }
}

#[cfg(test)]
mod tests;
