//! Drives the route keepers of all peers and of the gateway, and the registration at the relay: packets and
//! timers in, probes and table changes out.
//!
//! What to probe and what to believe is decided in `protocol::route` and `protocol::registration`.
//! One task owns all keepers; others say which peers they want and watch the path to each. The carrier to the
//! relay is dialled elsewhere; here is said when it is wanted and when it is dead.

mod driven;
mod log;
mod relay;
mod silence;
mod wanted;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep_until;

use self::driven::{DrivenRoute, Ways};
use self::relay::RelayClient;
use self::wanted::{CarrierNeed, Doubt, UdpProof};
use super::destination::Destination;
use super::endpoint::Connection;
use super::followers::Followers;
use super::socket::{AgentSocket, OwnPacket, SocketDrops, count};
use crate::identity::random;
use adit_core::domain::id::{BootId, RelayId, RouteId, ServerId};
use adit_core::domain::limits::{
    OWN_PACKETS_A_TURN, PATH_DOUBT, PROBE_EVERY, REPEATED_KINDS_MAX, REPEATS_BURST, REPEATS_SUMMED_EVERY,
    SOURCE_LAPSES_AFTER,
};
use adit_core::domain::path::{Carrier, PathKind, PathPreference};
use adit_core::domain::secret::Secret;
use adit_core::protocol::initial::TagKey;
use adit_core::protocol::packet::{Claim, KeyId, PacketKey, PacketKind, PacketVerdict};
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_core::protocol::route::{Path, PathReason, PeerRoute, WhyNot};

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
    pub path: PathPreference,
}

/// The gateway and its relay, while the control link is up.
#[derive(Debug, Clone)]
pub struct RelayServer {
    /// Where the control link was answered.
    pub place: Destination,
    /// Where the gateway may be reached over UDP.
    pub addresses: Vec<SocketAddr>,
    /// From the control link's TLS exporter.
    pub key: PacketKey,
    /// It answers probes to its own route (`Capability::Carrier`), so that the link can change its path.
    pub answers_probes: bool,
}

/// The path to a peer, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    /// How packets go; nothing can be dialled without.
    pub path: Option<Path>,
    /// Why this one, and how often it was another before.
    pub why: Option<PathReason>,
    /// Why none of a better kind, or none at all.
    pub why_not: [Option<(PathKind, WhyNot)>; PathKind::ALL.len()],
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

/// The relays to which a carrier is open, each with a number that another carrier does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenCarriers {
    numbers: BTreeMap<RelayId, u64>,
    opened: u64,
}

impl OpenCarriers {
    #[must_use]
    pub fn contains(&self, relay: RelayId) -> bool {
        self.numbers.contains_key(&relay)
    }

    /// Notes another carrier to `relay`, or that there is none any more.
    pub fn set(&mut self, relay: RelayId, is_open: bool) {
        if is_open {
            self.opened += 1;
            self.numbers.insert(relay, self.opened);
        } else {
            self.numbers.remove(&relay);
        }
    }
}

type PathStates = Arc<Mutex<BTreeMap<ServerId, watch::Sender<PathState>>>>;

/// The handle that tasks share.
#[derive(Debug, Clone)]
pub struct Routes {
    path_states: PathStates,
    wanted: watch::Sender<BTreeMap<ServerId, WantedPeer>>,
    relay: watch::Sender<Option<RelayServer>>,
    carriers: watch::Sender<OpenCarriers>,
    carrier_wanted: watch::Sender<bool>,
    carrier_dead: Arc<Notify>,
    gateway_path: watch::Sender<PathState>,
    followers: Arc<Followers>,
    pings: watch::Sender<u64>,
    unanswered: Arc<Notify>,
    registered: watch::Sender<Vec<(RelayId, Carrier)>>,
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
        socket.gate().set_boot(own.boot);
        let routes = Self {
            path_states: PathStates::default(),
            wanted: watch::Sender::new(BTreeMap::new()),
            relay: watch::Sender::new(None),
            carriers: watch::Sender::new(OpenCarriers::default()),
            // From the first dial on.
            carrier_wanted: watch::Sender::new(true),
            carrier_dead: Arc::default(),
            gateway_path: watch::Sender::new(PathState::default()),
            followers: Arc::default(),
            pings: watch::Sender::new(0),
            unanswered: Arc::default(),
            registered: watch::Sender::new(Vec::new()),
        };
        let driver = RouteDriver {
            ways: Ways { socket, followers: Arc::clone(&routes.followers) },
            own_packets,
            own,
            wanted: routes.wanted.subscribe(),
            relay: routes.relay.subscribe(),
            carriers: routes.carriers.subscribe(),
            relay_client: RelayClient::new(own, Instant::now()),
            gateway: None,
            has_link: false,
            peers: BTreeMap::new(),
            unsent: VecDeque::new(),
            pings: Pings { counter: routes.pings.clone(), last: None, due: None },
            unanswered: Arc::clone(&routes.unanswered),
            need: Some(CarrierNeed::NoLink),
            handle: routes.clone(),
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

    /// Sets where the gateway may be reached over UDP: it was not known when the control link came up.
    pub fn set_gateway_addresses(&self, addresses: Vec<SocketAddr>) {
        self.relay.send_if_modified(|relay| {
            let is_news = relay.as_ref().is_some_and(|server| server.addresses != addresses);
            if let Some(server) = relay {
                server.addresses = addresses;
            }
            is_news
        });
    }

    /// Notes that another carrier to `relay` takes packets now, or none any more.
    pub fn set_carrier(&self, relay: RelayId, is_open: bool) {
        if is_open {
            // That another one before was dead says nothing of this one.
            pin!(self.carrier_dead.notified()).enable();
        }
        self.carriers.send_modify(|carriers| carriers.set(relay, is_open));
    }

    /// Returns the carriers that are open, as they change.
    #[must_use]
    pub fn carriers(&self) -> watch::Receiver<OpenCarriers> {
        self.carriers.subscribe()
    }

    /// Returns whether a carrier to the gateway's relay is wanted, as it changes: while UDP may not do, and
    /// for a while after it does.
    #[must_use]
    pub fn carrier_wanted(&self) -> watch::Receiver<bool> {
        self.carrier_wanted.subscribe()
    }

    /// Waits until the open carrier has answered nothing for so long that it must be taken for dead.
    pub async fn carrier_dead(&self) {
        self.carrier_dead.notified().await;
    }

    /// Notes that the gateway was dialled over the open carrier and did not answer.
    pub fn note_carrier_dead(&self) {
        self.carrier_dead.notify_one();
    }

    /// Returns the path that the control link's packets take, as it changes; empty while there is no link.
    #[must_use]
    pub fn gateway_path(&self) -> watch::Receiver<PathState> {
        self.gateway_path.subscribe()
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
        !self.registered.borrow().is_empty()
    }

    /// Returns through which relays peers can reach this agent, and over what.
    #[must_use]
    pub fn registered(&self) -> Vec<(RelayId, Carrier)> {
        self.registered.borrow().clone()
    }

    /// Returns the state of the path to `peer`, as it changes; empty while it is not wanted. Being heard
    /// again, or why a better kind is not used, is not notified, only seen.
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
    ways: Ways,
    own_packets: mpsc::Receiver<OwnPacket>,
    own: OwnEnd,
    wanted: watch::Receiver<BTreeMap<ServerId, WantedPeer>>,
    relay: watch::Receiver<Option<RelayServer>>,
    carriers: watch::Receiver<OpenCarriers>,
    relay_client: RelayClient,
    /// The route of the control link, where the gateway answers probes.
    gateway: Option<Gateway>,
    has_link: bool,
    peers: BTreeMap<ServerId, DrivenPeer>,
    unsent: VecDeque<(SocketAddr, Box<[u8]>)>,
    pings: Pings,
    unanswered: Arc<Notify>,
    /// Why a carrier is wanted.
    need: Option<CarrierNeed>,
    /// What is published goes through it.
    handle: Routes,
}

/// Returns the first lines of a kind, then one a minute that counts.
const fn summed<K: Ord>() -> RepeatLimiter<K> {
    RepeatLimiter::bursts(REPEATS_BURST, REPEATS_SUMMED_EVERY, REPEATED_KINDS_MAX)
}

/// The gateway's own route, as long as one control link lasts.
#[derive(Debug)]
struct Gateway {
    link: KeyId,
    driven: DrivenRoute,
    proof: UdpProof,
}

#[derive(Debug)]
struct DrivenPeer {
    wanted: WantedPeer,
    driven: DrivenRoute,
    doubt: Doubt,
    /// What the gate was told last: the peer's run, and which key it holds.
    known: Option<(Option<BootId>, usize)>,
}

/// When connections are told that packets take another path.
#[derive(Debug)]
struct Pings {
    counter: watch::Sender<u64>,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl RouteDriver {
    /// Runs until dropped, or until the socket is gone.
    pub async fn run(mut self) {
        loop {
            let due = self.due().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                packet = self.own_packets.recv() => match packet {
                    Some(packet) => self.handle_packets(&packet),
                    None => return,
                },
                // Their senders live as long as this.
                Ok(()) = self.wanted.changed() => self.handle_wanted(),
                Ok(()) = self.relay.changed() => self.handle_relay(),
                Ok(()) = self.carriers.changed() => self.handle_carriers(),
                () = self.unanswered.notified() => self.pings.want(Instant::now()),
                () = sleep_until(due.into()) => self.handle_timeout(),
                () = self.ways.socket.writable(), if !self.unsent.is_empty() => self.send_unsent(),
            }
            self.flush();
        }
    }

    fn due(&self) -> Option<Instant> {
        let keepers = self.peers.values().filter_map(|peer| peer.driven.keeper.poll_timeout());
        let gateway = self.gateway.as_ref().and_then(|gateway| gateway.driven.keeper.poll_timeout());
        let relay = &self.relay_client;
        let relay = relay.registration.poll_timeout().into_iter().chain(relay.silence.dead_at());
        keepers.chain(gateway).chain(relay).chain(self.pings.due).min()
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
        let drops = self.ways.socket.drops();
        let Some(claim) = Claim::read(&packet.bytes) else { return count(&drops.unreadable) };
        let now = Instant::now();
        if claim.source == self.own.gateway {
            let verdict = self.handle_gateways(packet, &claim, now);
            return note_received(self.ways.socket.drops(), packet, &claim, verdict);
        }
        let path = self.relay_client.place.path(packet.from);
        let mut peers = self.peers.values_mut();
        let Some(peer) = peers.find(|peer| peer.wanted.route == claim.source) else {
            tracing::trace!(from = %packet.from, source = %claim.source, "received from no peer of ours and dropped");
            return count(&drops.unknown_peer);
        };
        let span = peer.driven.span.clone();
        let _entered = span.enter();
        let verdict = peer.driven.keeper.handle_packet(path, &packet.bytes, now, &mut random::bytes);
        note_received(drops, packet, &claim, verdict);
        peer.driven.note_mtu(&self.ways.followers);
    }

    /// Takes a packet that claims to be the gateway's own.
    fn handle_gateways(&mut self, packet: &OwnPacket, claim: &Claim, now: Instant) -> PacketVerdict {
        let relay = &mut self.relay_client;
        let verdict = match (claim.kind, packet.from) {
            (PacketKind::Probe | PacketKind::Answer, from) => {
                let Some(gateway) = &mut self.gateway else { return PacketVerdict::WrongKey };
                let path = path_to_gateway(from);
                let span = gateway.driven.span.clone();
                let _entered = span.enter();
                let keeper = &mut gateway.driven.keeper;
                let verdict = keeper.handle_packet(path, &packet.bytes, now, &mut random::bytes);
                gateway.driven.note_mtu(&self.ways.followers);
                verdict
            }
            (_, from) => match relay.place.path(from) {
                Path::Direct(_) => PacketVerdict::PathNotAllowed,
                Path::Relay { carrier, .. } => relay.registration.handle_packet(carrier, &packet.bytes, now),
            },
        };
        if verdict == PacketVerdict::Taken && packet.from == Destination::Carrier(relay.place.id) {
            relay.silence.reset();
        }
        verdict
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        if self.peers.values().any(|peer| peer.is_relay_in_doubt(now)) {
            self.relay_client.search(now);
        }
        self.relay_client.registration.handle_timeout(now, &mut random::bytes);
        for driven in driven(&mut self.gateway, &mut self.peers) {
            driven.note_mtu(&self.ways.followers);
            driven.keeper.handle_timeout(now, &mut random::bytes);
        }
    }

    fn handle_relay(&mut self) {
        let relay = self.relay.borrow_and_update().clone();
        let now = Instant::now();
        if let (Some(server), Some(gateway)) = (&relay, &mut self.gateway)
            && gateway.link == server.key.id()
        {
            gateway.driven.keeper.set_candidates(&server.candidates(), now);
            return self.handle_timeout();
        }
        if let Some(address) = relay.as_ref().and_then(|server| server.place.address()) {
            self.note_address(address, now);
        }
        log::relay(self.relay_client.place.address, relay.is_some());
        if let Some(before) = self.gateway.take() {
            before.driven.forget_sources(&self.ways.socket);
        }
        self.has_link = relay.is_some();
        let path = relay.as_ref().map(|server| path_to_gateway(server.place));
        self.handle.gateway_path.send_replace(PathState { path, ..PathState::default() });
        let asked = relay.as_ref().filter(|server| server.answers_probes);
        self.gateway = asked.map(|server| {
            let path_state = self.handle.gateway_path.clone();
            Gateway::new(self.own, server, path_state, now)
        });
        self.relay_client.registration.set_key(relay.map(|server| server.key), now);
        self.handle_carriers();
    }

    fn handle_carriers(&mut self) {
        let now = Instant::now();
        let id = self.relay_client.place.id;
        let number = self.carriers.borrow_and_update().numbers.get(&id).copied();
        let is_another = self.relay_client.set_carrier(number, now);
        if let Some(gateway) = &mut self.gateway {
            let keeper = &mut gateway.driven.keeper;
            if is_another {
                // What the one before was asked, this one does not owe.
                keeper.set_relays(&[], now);
            }
            let carried = [(id, Carrier::Tcp)];
            keeper.set_relays(if number.is_some() { &carried } else { &[] }, now);
        }
        self.handle_timeout();
    }

    /// Notes where the relay is over UDP.
    fn note_address(&mut self, address: SocketAddr, now: Instant) {
        if !self.relay_client.set_address(address, &self.ways.socket, now) {
            return;
        }
        let relayed = self.peers.values().filter(|peer| peer.driven.active_kind() == Some(PathKind::Relay));
        for peer in relayed {
            self.ways.socket.set_route(peer.wanted.route, address);
        }
    }

    fn handle_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        let socket = &self.ways.socket;
        self.peers.retain(|server, peer| {
            // A peer that enrolled again has another route.
            let keeps = wanted.get(server).is_some_and(|wanted| wanted.route == peer.wanted.route);
            if !keeps {
                peer.forget(socket);
            }
            keeps
        });
        for (server, wanted) in wanted {
            let peer = self.peers.entry(server).or_insert_with(|| {
                let mut keeper = PeerRoute::new(self.own.route, self.own.boot, wanted.route);
                keeper.set_relays(&self.relay_client.ways(), now);
                let path_state = path_state_of(&self.handle.path_states, server);
                let span = tracing::debug_span!(parent: None, "peer", %server, route = %wanted.route);
                DrivenPeer::new(wanted.route, DrivenRoute::new(wanted.route, keeper, path_state, span))
            });
            let span = peer.driven.span.clone();
            let _entered = span.enter();
            log::wanted(&peer.wanted, &wanted);
            let keeper = &mut peer.driven.keeper;
            if peer.wanted.path != wanted.path {
                keeper.set_preference(wanted.path, now);
            }
            if peer.wanted.secrets != wanted.secrets {
                keeper.set_keys(wanted.secrets.iter().map(PacketKey::of_connection).collect());
                let tags = wanted.secrets.iter().map(TagKey::of_connection).collect();
                socket.gate().set_peer(wanted.route, tags);
            }
            if peer.wanted.candidates != wanted.candidates {
                keeper.set_candidates(&wanted.candidates, now);
            }
            peer.driven.name.clone_from(&wanted.name);
            peer.wanted = wanted;
        }
        self.handle_timeout();
    }

    /// Does what was decided: sends, sorts sources, moves routes, tells connections.
    fn flush(&mut self) {
        let now = Instant::now();
        if self.relay_client.note_registered(&self.ways.socket, now) {
            let ways = self.relay_client.ways();
            for peer in self.peers.values_mut() {
                peer.driven.keeper.set_relays(&ways, now);
            }
            self.handle.registered.send_replace(ways);
        }
        self.act_for_gateway(now);
        let relay = self.relay_client.place;
        let mut transmits = Vec::new();
        for peer in self.peers.values_mut() {
            let acted = peer.driven.act(&self.ways, &relay, now);
            if acted.is_disturbed {
                self.ways.followers.note_path_change(peer.wanted.route);
                self.pings.want(now);
            }
            peer.publish(&self.ways.socket, now);
            let to = |(path, packet)| Some((relay.destination(path)?, packet));
            transmits.extend(acted.transmits.into_iter().filter_map(to));
        }
        while let Some((carrier, packet)) = self.relay_client.registration.poll_transmit() {
            let to = relay.destination_over(carrier);
            self.note_asked(to, now);
            transmits.extend(to.map(|to| (to, packet)));
        }
        for (to, packet) in transmits {
            self.send(to, packet);
        }
        self.pings.send_due(now);
        self.judge_carrier(now);
    }

    fn act_for_gateway(&mut self, now: Instant) {
        let Some(gateway) = &mut self.gateway else { return };
        let acted = gateway.driven.act(&self.ways, &self.relay_client.place, now);
        gateway.driven.publish(now);
        if acted.is_disturbed {
            self.ways.followers.note_path_change(self.own.gateway);
            self.pings.want(now);
        }
        if let Some(address) = gateway.address(self.relay_client.place.address) {
            self.note_address(address, now);
        }
        for (path, packet) in acted.transmits {
            let to = self.relay_client.place.destination(path);
            self.note_asked(to, now);
            if let Some(to) = to {
                self.send(to, packet);
            }
        }
    }

    /// Notes that the gateway was asked something, if that was over the carrier.
    fn note_asked(&mut self, to: Option<Destination>, now: Instant) {
        let relay = &mut self.relay_client;
        if relay.carrier.is_some() && to == Some(Destination::Carrier(relay.place.id)) {
            relay.silence.note_asked(now);
        }
    }

    /// Says whether a carrier is wanted, and whether the one there is answers.
    fn judge_carrier(&mut self, now: Instant) {
        if self.relay_client.silence.is_dead(now) {
            tracing::debug!(
                "what was asked over the carrier is answered by nobody, so another one is dialled"
            );
            self.relay_client.silence.reset();
            self.handle.carrier_dead.notify_one();
        }
        let need = self.need(now);
        if need != self.need {
            let why = need.map(tracing::field::display);
            tracing::debug!(wanted = need.is_some(), why, "whether a carrier is wanted");
            self.need = need;
        }
        self.handle
            .carrier_wanted
            .send_if_modified(|wanted| std::mem::replace(wanted, need.is_some()) != need.is_some());
    }

    /// Returns why a carrier is wanted now, if it is. A gateway that answers no probes has none.
    fn need(&mut self, now: Instant) -> Option<CarrierNeed> {
        if !self.has_link {
            return Some(CarrierNeed::NoLink);
        }
        let gateway = self.gateway.as_mut()?;
        let of_gateway = gateway.proof.need(gateway.driven.standing(now), now);
        let of_peers: Vec<_> = self.peers.values_mut().filter_map(|peer| peer.carrier_need(now)).collect();
        of_gateway.filter(|need| *need == CarrierNeed::Gateway).or(of_peers.first().copied()).or(of_gateway)
    }

    fn send(&mut self, to: Destination, packet: Box<[u8]>) {
        log::sent(to, &packet);
        let socket = &self.ways.socket;
        match to {
            // It never asks to wait.
            Destination::Carrier(_) => {
                socket.send_own(to, &packet);
            }
            Destination::Udp(address) => {
                if !self.unsent.is_empty() || !socket.send_own(address, &packet) {
                    // Bulk fills the socket; a probe that never left would look like a silent peer.
                    self.unsent.push_back((address, packet));
                    if self.unsent.len() > UNSENT_MAX {
                        self.unsent.pop_front();
                        count(&socket.drops().own_unsent);
                    }
                }
            }
        }
    }

    fn send_unsent(&mut self) {
        while let Some((to, packet)) = self.unsent.front() {
            if !self.ways.socket.send_own(*to, packet) {
                return;
            }
            self.unsent.pop_front();
        }
    }
}

/// Returns every route that is driven.
fn driven<'a>(
    gateway: &'a mut Option<Gateway>,
    peers: &'a mut BTreeMap<ServerId, DrivenPeer>,
) -> impl Iterator<Item = &'a mut DrivenRoute> {
    let peers = peers.values_mut().map(|peer| &mut peer.driven);
    gateway.iter_mut().map(|gateway| &mut gateway.driven).chain(peers)
}

/// Returns which path to the gateway itself this is.
fn path_to_gateway(place: Destination) -> Path {
    match place {
        Destination::Udp(address) => Path::Direct(address),
        Destination::Carrier(relay) => Path::Relay { relay, carrier: Carrier::Tcp },
    }
}

fn note_received(drops: &SocketDrops, packet: &OwnPacket, claim: &Claim, verdict: PacketVerdict) {
    if verdict != PacketVerdict::Taken {
        count(&drops.not_taken);
    }
    log::received(packet.from, claim, packet.bytes.len(), verdict);
}

impl RelayServer {
    /// Returns where the gateway may be over UDP, first where it answered.
    fn candidates(&self) -> Vec<SocketAddr> {
        self.place.address().into_iter().chain(self.addresses.iter().copied()).collect()
    }
}

impl Gateway {
    fn new(own: OwnEnd, server: &RelayServer, path_state: watch::Sender<PathState>, now: Instant) -> Self {
        let mut keeper = PeerRoute::new(own.route, own.boot, own.gateway);
        keeper.set_keys(vec![server.key.clone()]);
        keeper.set_candidates(&server.candidates(), now);
        let span = tracing::debug_span!(parent: None, "gateway", route = %own.gateway);
        let mut driven = DrivenRoute::new(own.gateway, keeper, path_state, span);
        driven.name = "the gateway".into();
        Self { link: server.key.id(), driven, proof: UdpProof::default() }
    }

    /// Returns where it is over UDP, if it answers anywhere: where the link's packets go, else where it did
    /// before.
    fn address(&self, before: Option<SocketAddr>) -> Option<SocketAddr> {
        let keeper = &self.driven.keeper;
        let in_use = keeper.active().and_then(Path::address);
        let kept = before.filter(|before| keeper.validated().any(|valid| valid == *before));
        in_use.or(kept).or_else(|| keeper.validated().next())
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
    /// Returns one of which nothing is known yet.
    fn new(route: RouteId, driven: DrivenRoute) -> Self {
        let wanted = WantedPeer {
            route,
            name: String::new(),
            secrets: Vec::new(),
            candidates: Vec::new(),
            path: PathPreference::default(),
        };
        Self { wanted, driven, doubt: Doubt::default(), known: None }
    }

    /// Returns whether packets go through the relay, and the peer has kept a probe waiting.
    fn is_relay_in_doubt(&self, now: Instant) -> bool {
        let keeper = &self.driven.keeper;
        let silent_for = keeper.heard().map(|heard| now.saturating_duration_since(heard));
        keeper.active().is_some_and(|path| path.relay().is_some())
            && silent_for
                .is_some_and(|silent| (PROBE_EVERY + PATH_DOUBT..SOURCE_LAPSES_AFTER).contains(&silent))
    }

    fn carrier_need(&mut self, now: Instant) -> Option<CarrierNeed> {
        self.doubt.need(self.driven.standing(now), self.wanted.path, now)
    }

    fn publish(&mut self, socket: &AgentSocket, now: Instant) {
        let known = (self.driven.keeper.peer_boot(), self.driven.keeper.key());
        if self.known != Some(known) {
            // Before anybody is told that there is a path.
            socket.gate().note_peer(self.wanted.route, known.0, known.1);
            self.known = Some(known);
        }
        self.driven.publish(now);
    }

    fn forget(&self, socket: &AgentSocket) {
        let _entered = self.driven.span.enter();
        tracing::debug!(
            "no live rule with a secret names this peer any more, so it is neither asked nor heard"
        );
        self.driven.forget_sources(socket);
        socket.remove_route(self.wanted.route);
        socket.gate().remove_peer(self.wanted.route);
        self.driven.path_state.send_replace(PathState::default());
    }
}

#[cfg(test)]
mod tests;
