//! The task that owns all route keepers: packets and timers in, probes and table changes out.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep_until;

use super::driven::{DrivenRoute, Tools};
use super::relay::RelayClient;
use super::wanted::{CarrierNeed, Doubt, UdpProof};
use super::{OpenCarriers, OwnEnd, PathState, RelayServer, Routes, WantedPeer, log, path_state_of};
use crate::identity::random;
use crate::transport::destination::Destination;
use crate::transport::socket::{AgentSocket, OwnPacket, SocketDrops, count};
use adit_core::domain::id::{BootId, RelayId, RouteId, ServerId};
use adit_core::domain::limits::{OWN_PACKETS_A_TURN, PATH_DOUBT, PROBE_EVERY, SOURCE_LAPSES_AFTER};
use adit_core::domain::path::{Carrier, PathKind, PathPreference};
use adit_core::protocol::initial::TagKey;
use adit_core::protocol::packet::{Claim, KeyId, PacketKey, PacketKind, PacketVerdict};
use adit_core::protocol::route::{Path, PeerRoute};

/// A driver with nothing due looks again after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Connections are told of a change of path at most this often: it touches all of them.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Own packets that a full socket did not take; more are dropped, probes repeat.
const UNSENT_MAX: usize = 64;

/// Owns the keepers; see [`Self::run`].
#[derive(Debug)]
pub struct RouteDriver {
    tools: Tools,
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
    #[must_use]
    pub(super) fn new(
        routes: &Routes,
        socket: Arc<AgentSocket>,
        own_packets: mpsc::Receiver<OwnPacket>,
        own: OwnEnd,
    ) -> Self {
        Self {
            tools: Tools { socket, followers: Arc::clone(&routes.followers) },
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
        }
    }

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
                () = self.tools.socket.writable(), if !self.unsent.is_empty() => self.send_unsent(),
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
        let drops = self.tools.socket.drops();
        let Some(claim) = Claim::read(&packet.bytes) else { return count(&drops.unreadable) };
        let now = Instant::now();
        if claim.source == self.own.gateway {
            let verdict = self.handle_gateways(packet, &claim, now);
            return note_received(self.tools.socket.drops(), packet, &claim, verdict);
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
        peer.driven.note_mtu(&self.tools.followers);
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
                gateway.driven.note_mtu(&self.tools.followers);
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
            driven.note_mtu(&self.tools.followers);
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
            before.driven.forget_sources(&self.tools.socket);
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
        if !self.relay_client.set_address(address, &self.tools.socket, now) {
            return;
        }
        let relayed = self.peers.values().filter(|peer| peer.driven.active_kind() == Some(PathKind::Relay));
        for peer in relayed {
            self.tools.socket.set_route(peer.wanted.route, address);
        }
    }

    fn handle_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        let socket = &self.tools.socket;
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
                keeper.set_relays(&self.relay_client.relays(), now);
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
            if peer.wanted.relays != wanted.relays {
                let relay = self.relay_client.place.id;
                keeper.forbid_relays(wanted.forbidden(relay, RelayId(self.own.gateway)), now);
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
        if self.relay_client.note_registered(&self.tools.socket, now) {
            let relays = self.relay_client.relays();
            for peer in self.peers.values_mut() {
                peer.driven.keeper.set_relays(&relays, now);
            }
            self.handle.registered.send_replace(relays);
        }
        self.act_for_gateway(now);
        let relay = self.relay_client.place;
        let mut transmits = Vec::new();
        for peer in self.peers.values_mut() {
            let acted = peer.driven.act(&self.tools, &relay, now);
            if acted.is_disturbed {
                self.tools.followers.note_path_change(peer.wanted.route);
                self.pings.want(now);
            }
            peer.publish(&self.tools.socket, now);
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
        let acted = gateway.driven.act(&self.tools, &self.relay_client.place, now);
        gateway.driven.publish(now);
        if acted.is_disturbed {
            self.tools.followers.note_path_change(self.own.gateway);
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
        let relay = self.relay_client.place.id;
        let gateway = self.gateway.as_mut()?;
        let of_gateway = gateway.proof.need(gateway.driven.health(now), now);
        let of_peers: Vec<_> =
            self.peers.values_mut().filter_map(|peer| peer.carrier_need(relay, now)).collect();
        of_gateway.filter(|need| *need == CarrierNeed::Gateway).or(of_peers.first().copied()).or(of_gateway)
    }

    fn send(&mut self, to: Destination, packet: Box<[u8]>) {
        log::sent(to, &packet);
        let socket = &self.tools.socket;
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
            if !self.tools.socket.send_own(*to, packet) {
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
            relays: Vec::new(),
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

    /// Returns why this peer wants a carrier to `relay` now, if it does.
    fn carrier_need(&mut self, relay: RelayId, now: Instant) -> Option<CarrierNeed> {
        let need = self.doubt.need(self.driven.health(now), self.wanted.path, now);
        need.filter(|need| *need == CarrierNeed::InUse || !self.driven.keeper.forbids(relay))
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
