//! How one agent reaches its peer: the keepers of the routes to it and to the gateway, the registration
//! at the relay, the carrier, and what the product's driver and socket do with what they decide
//! (`transport/routes.rs`, `transport/socket.rs`, `agent/carrier.rs`). Here it is watched that nothing
//! takes a path its owner forbids.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_core::domain::id::{BootId, RelayId};
use adit_core::domain::limits::{
    CARRIER_KEPT_FOR, CARRIER_SILENCE, CLIMB_AFTER, CLIMB_AFTER_MAX, PATH_SILENCE, PEER_ADDRESSES_MAX,
    PROBES_PER_SECOND,
};
use adit_core::domain::path::{Carrier, PathKind, PathPreference};
use adit_core::protocol::packet::{Claim, PacketKey, PacketKind, quic_route};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::route::{Path, PathReason, PeerRoute, RouteEvent};

use crate::carriers::OVER_TCP;
use crate::credentials;
use crate::log::Promise;
use crate::random::Random;
use crate::scene::Scene;
use crate::wire::{GATEWAY, Node};

/// Packets of our own in any second: probes of our own accord, those that are asked for and the
/// answers, from valid sources and from strangers, the registration's over both carriers, and what is
/// asked of the gateway.
const OWN_PER_SECOND_MAX: u32 = PROBES_PER_SECOND + 5 * 20 + 2 * 40 + 40;

const RELAY: RelayId = RelayId(credentials::GATEWAY_ROUTE);
const TCP: Path = Path::Relay { relay: RELAY, carrier: Carrier::Tcp };

/// A carrier that was not opened is tried again after this.
const DIALS_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct PeerPaths {
    node: Node,
    keeper: PeerRoute,
    /// The gateway is a peer too, with one address and one carrier.
    gateway: PeerRoute,
    registration: Registration,
    registered: Vec<(RelayId, Carrier)>,
    carrier: CarrierState,
    /// Whether a carrier is kept though nothing needs it.
    pub keeps_carrier: bool,
    unneeded_since: Option<Instant>,
    random: Random,
    /// Where packets of the peer's route go.
    route: Option<Path>,
    validated: BTreeSet<SocketAddr>,
    /// The owner's word, since when, and what was in use then.
    chosen: (PathPreference, Option<Instant>),
    own_packets: (Option<Instant>, u32),
    /// How often this run fell back from a silent direct path.
    falls: u32,
    /// When each kind last was left because it was silent.
    fell: BTreeMap<PathKind, Instant>,
    /// When the present path was taken, and why.
    pub turned: Option<(Instant, Path, PathReason)>,
    /// Answers over the direct path: the first since the present path was taken, and the last.
    pub direct_answers: Option<(Instant, Instant)>,
    /// When its timers ran last.
    looked: Option<Instant>,
}

/// The agent's carrier, as its keeper sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CarrierState {
    /// It may be dialled from then on.
    Closed {
        since: Instant,
    },
    Dialing {
        until: Instant,
    },
    Open,
}

/// What the tunnels must know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PathChange {
    /// Packets go another path now, and why.
    pub moved: Option<(Path, PathReason)>,
    /// The path in use answers again.
    pub resumed: bool,
}

impl PathChange {
    /// Packets in flight may have been lost on the way.
    pub(crate) fn is_disturbance(self) -> bool {
        self.moved.is_some() || self.resumed
    }
}

impl PeerPaths {
    pub(crate) fn new(node: Node, boot: BootId, random: Random, now: Instant) -> Self {
        let (own, peer) = (credentials::route(node), credentials::route(node.peer()));
        let mut keeper = PeerRoute::new(own, boot, peer);
        keeper.set_keys(vec![PacketKey::of_connection(&credentials::secret())]);
        let mut gateway = PeerRoute::new(own, boot, credentials::GATEWAY_ROUTE);
        gateway.set_candidates(&[GATEWAY], now);
        Self {
            node,
            keeper,
            gateway,
            registration: Registration::new(own, credentials::GATEWAY_ROUTE, boot),
            registered: Vec::new(),
            carrier: CarrierState::Closed { since: now },
            keeps_carrier: true,
            unneeded_since: None,
            random,
            route: None,
            validated: BTreeSet::new(),
            chosen: (PathPreference::AUTO, None),
            own_packets: (None, 0),
            falls: 0,
            fell: BTreeMap::new(),
            turned: None,
            direct_answers: None,
            looked: None,
        }
    }

    pub(crate) fn announce(&mut self, candidates: &[SocketAddr], now: Instant) {
        self.keeper.set_candidates(candidates, now);
    }

    pub(crate) fn choose(&mut self, preference: PathPreference, now: Instant) {
        self.chosen = (preference, Some(now));
        self.keeper.set_preference(preference, now);
    }

    pub(crate) fn chosen(&self) -> PathPreference {
        self.chosen.0
    }

    /// The control link has come up with this key, or is down.
    pub(crate) fn set_link(&mut self, key: Option<PacketKey>, now: Instant) {
        self.gateway.set_keys(key.iter().cloned().collect());
        self.registration.set_key(key, now);
    }

    pub(crate) fn set_mtu(&mut self, mtu: usize) {
        self.keeper.set_mtu(mtu);
    }

    pub(crate) fn active(&self) -> Option<Path> {
        self.keeper.active()
    }

    /// How long the direct path must answer without a gap to be used again, at most.
    pub(crate) fn climbs_after(&self) -> Duration {
        match self.falls.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => (CLIMB_AFTER * 2_u32.saturating_pow(doubled.min(8))).min(CLIMB_AFTER_MAX),
        }
    }

    pub(crate) fn can_send(&self) -> bool {
        self.route.is_some()
    }

    pub(crate) fn heard(&self) -> Option<Instant> {
        self.keeper.heard()
    }

    pub(crate) fn peer_boot(&self) -> Option<BootId> {
        self.keeper.peer_boot()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let routes = self.keeper.poll_timeout().into_iter().chain(self.gateway.poll_timeout());
        routes.chain(self.registration.poll_timeout()).chain(self.carrier_due()).min()
    }

    /// When the carrier must be looked at.
    fn carrier_due(&self) -> Option<Instant> {
        match self.carrier {
            CarrierState::Closed { since } => self.unneeded_since.is_none().then_some(since),
            CarrierState::Dialing { until } => Some(until),
            CarrierState::Open => {
                let unneeded = self.unneeded_since.map(|since| since + CARRIER_KEPT_FOR);
                let dead = self.gateway.unanswered_since(TCP).map(|since| since + CARRIER_SILENCE);
                unneeded.into_iter().chain(dead).min()
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.looked = Some(now);
        self.registration.handle_timeout(now, &mut || self.random.bytes());
        self.gateway.handle_timeout(now, &mut || self.random.bytes());
        self.keeper.handle_timeout(now, &mut || self.random.bytes());
    }

    pub(crate) fn handle_packet(&mut self, from: SocketAddr, packet: &[u8], now: Instant) {
        let Some(claim) = Claim::read(packet) else { return };
        let carrier = match from {
            OVER_TCP => Some(Carrier::Tcp),
            GATEWAY => Some(Carrier::Udp),
            _ => None,
        };
        if claim.source == credentials::GATEWAY_ROUTE {
            let path = if from == OVER_TCP { TCP } else { Path::Direct(from) };
            match (claim.kind, carrier) {
                (PacketKind::Answer, Some(_)) => {
                    self.gateway.handle_packet(path, packet, now, &mut || self.random.bytes());
                }
                (_, Some(carrier)) => {
                    self.registration.handle_packet(carrier, packet, now);
                }
                (_, None) => {}
            }
            return;
        }
        let relayed = carrier.map(|carrier| Path::Relay { relay: RELAY, carrier });
        let path = relayed.unwrap_or(Path::Direct(from));
        if claim.source == credentials::route(self.node.peer()) {
            self.keeper.handle_packet(path, packet, now, &mut || self.random.bytes());
            if claim.kind == PacketKind::Answer && relayed.is_none() && self.keeper.heard() == Some(now) {
                let first = self.direct_answers.map_or(now, |(first, _)| first);
                self.direct_answers = Some((first, now));
            }
        }
    }

    /// Whether QUIC may see what comes from there.
    pub(crate) fn takes(&self, from: SocketAddr) -> bool {
        // The control link's route is always there.
        [GATEWAY, OVER_TCP].contains(&from)
            || self.validated.contains(&from)
            || self.route == Some(Path::Direct(from))
    }

    /// Sends a packet of QUIC's where its route is.
    pub(crate) fn send_quic(&self, packet: &[u8], scene: &mut Scene) {
        let Some(path) =
            self.route.filter(|_| quic_route(packet) == Some(credentials::route(self.node.peer())))
        else {
            scene.tally.no_route += 1;
            return;
        };
        // What is in use when its owner forbids it may serve until another is found, if soon; timers
        // of a host that was suspended run late.
        let (choice, since) = self.chosen;
        let leaves =
            since.is_some_and(|since| self.looked.is_none_or(|looked| looked < since + PATH_SILENCE));
        let allowed = choice.allows(path.kind()) || leaves;
        scene.demand(
            allowed,
            Promise::Allowed,
            format_args!("{:?}: QUIC over {path}, which is not {choice}", self.node),
        );
        match path.kind() {
            PathKind::Direct => scene.tally.quic_direct += 1,
            PathKind::Relay => scene.tally.quic_relay += 1,
            PathKind::Tcp => scene.tally.quic_tcp += 1,
        }
        scene.send(self.node, address(path), packet);
    }

    /// Does what was decided.
    pub(crate) fn act(&mut self, scene: &mut Scene) -> PathChange {
        self.keep_carrier(scene);
        let registered = |carrier: &Carrier| self.registration.is_registered(*carrier, scene.now);
        let relays: Vec<_> =
            Carrier::ALL.into_iter().filter(registered).map(|carrier| (RELAY, carrier)).collect();
        if self.registered != relays {
            let (node, count) = (self.node, relays.len());
            let carriers: Vec<_> = relays.iter().map(|(_, carrier)| carrier.as_str()).collect();
            scene.note(format_args!("{node:?}: registered at the relay over {carriers:?}"));
            scene.tally.registrations += u64::from(count > self.registered.len());
            self.keeper.set_relays(&relays, scene.now);
            self.registered = relays;
        }
        let change = self.follow_events(scene);
        while self.gateway.poll_event().is_some() {}
        while let Some(transmit) = self.gateway.poll_transmit() {
            self.send_own(address(transmit.to), &transmit.packet, scene);
        }
        while let Some(transmit) = self.keeper.poll_transmit() {
            let (node, kind, choice) = (self.node, transmit.to.kind(), self.chosen.0);
            let what = format_args!("{node:?}: a packet of ours over {kind}, which is not {choice}");
            scene.demand(choice.allows(kind), Promise::Allowed, what);
            self.send_own(address(transmit.to), &transmit.packet, scene);
        }
        while let Some((carrier, packet)) = self.registration.poll_transmit() {
            let to = match carrier {
                Carrier::Udp => GATEWAY,
                Carrier::Tcp => OVER_TCP,
            };
            self.send_own(to, &packet, scene);
        }
        let validated = self.keeper.validated().count();
        let (node, most) = (self.node, 2 * PEER_ADDRESSES_MAX + 1);
        let what = format_args!("{node:?}: takes packets from {validated} addresses");
        scene.demand(validated <= most, Promise::Bounded, what);
        change
    }

    /// Opens a carrier where one is needed, and ends one that is dead or has long been of no use.
    fn keep_carrier(&mut self, scene: &mut Scene) {
        let (node, now) = (self.node, scene.now);
        let is_needed = self.needs_carrier(now);
        self.unneeded_since = (!is_needed).then(|| self.unneeded_since.unwrap_or(now));
        match self.carrier {
            CarrierState::Closed { since } => {
                if is_needed && since <= now {
                    self.carrier = CarrierState::Dialing { until: now + scene.wire.dial_time(node) };
                }
            }
            CarrierState::Dialing { until } => {
                if until > now {
                    return;
                }
                if !scene.wire.accepts_carriers(node) {
                    self.carrier = CarrierState::Closed { since: now + DIALS_AGAIN };
                    return;
                }
                scene.wire.open_carrier(node);
                scene.tally.carriers += 1;
                scene.note(format_args!("{node:?}: a carrier is open"));
                self.set_carrier(CarrierState::Open, now);
            }
            CarrierState::Open if !scene.wire.has_carrier(node) => {
                scene.tally.carriers_cut += 1;
                scene.note(format_args!("{node:?}: the carrier was cut"));
                self.set_carrier(CarrierState::Closed { since: now }, now);
            }
            CarrierState::Open => {
                let asked = self.gateway.unanswered_since(TCP);
                let is_dead = asked.is_some_and(|since| since + CARRIER_SILENCE <= now);
                let is_useless = self.unneeded_since.is_some_and(|since| since + CARRIER_KEPT_FOR <= now);
                if is_dead || is_useless {
                    scene.tally.carriers_dead += u64::from(is_dead);
                    scene.note(format_args!("{node:?}: the carrier is ended, dead: {is_dead}"));
                    scene.wire.end_carrier(node);
                    self.set_carrier(CarrierState::Closed { since: now }, now);
                }
            }
        }
    }

    fn needs_carrier(&self, now: Instant) -> bool {
        let uses_tcp = |route: &PeerRoute| route.active().is_some_and(|path| path.kind() == PathKind::Tcp);
        let routes = [&self.keeper, &self.gateway];
        let allowed = self.chosen.0.allows(PathKind::Tcp);
        self.keeps_carrier
            || self.chosen.0.rank(PathKind::Tcp) == Some(0)
            || routes.iter().any(|route| uses_tcp(route))
            || allowed && self.keeper.is_in_doubt(now)
            || self.gateway.is_in_doubt(now)
    }

    fn set_carrier(&mut self, state: CarrierState, now: Instant) {
        let is_open = state == CarrierState::Open;
        self.carrier = state;
        self.registration.set_carrier(Carrier::Tcp, is_open, now);
        self.registration.handle_timeout(now, &mut || self.random.bytes());
        let carriers: &[_] = if is_open { &[(RELAY, Carrier::Tcp)] } else { &[] };
        self.gateway.set_relays(carriers, now);
        self.gateway.handle_timeout(now, &mut || self.random.bytes());
    }

    fn follow_events(&mut self, scene: &mut Scene) -> PathChange {
        let (mut change, node) = (PathChange::default(), self.node);
        while let Some(event) = self.keeper.poll_event() {
            match event {
                RouteEvent::Validated(address) => {
                    self.validated.insert(address);
                }
                RouteEvent::Lapsed(address) => {
                    self.validated.remove(&address);
                }
                RouteEvent::Active { path, why } => {
                    change.moved = Some((path, why));
                    self.turned = Some((scene.now, path, why));
                    self.note_choice(path, why, scene);
                    self.route = Some(path);
                    scene.note(format_args!("{node:?}: goes {path}: {why}"));
                    let (choice, kind) = (self.chosen.0, path.kind());
                    let what = format_args!("{node:?}: takes {kind}, which is not {choice}");
                    scene.demand(choice.allows(kind), Promise::Allowed, what);
                }
                RouteEvent::Resumed => {
                    change.resumed = true;
                    scene.note(format_args!("{node:?}: the peer answers again"));
                }
                RouteEvent::Inactive => {
                    self.route = None;
                    scene.note(format_args!("{node:?}: no allowed path"));
                }
                RouteEvent::BootChanged(_) => scene.note(format_args!("{node:?}: the peer is another run")),
            }
        }
        change
    }

    fn note_choice(&mut self, path: Path, why: PathReason, scene: &mut Scene) {
        let (node, kind) = (self.node, path.kind());
        let before = self.route.map(Path::kind).filter(|before| *before != kind);
        match (before, why) {
            (Some(before), PathReason::Silent) => {
                self.falls += u32::from(before == PathKind::Direct);
                self.fell.insert(before, scene.now);
            }
            (_, PathReason::Better) => {
                let ago = self.fell.get(&kind).map(|fell| scene.now - *fell);
                let what = format_args!("{node:?}: takes {kind} again {ago:?} after it fell silent");
                scene.demand(ago.is_none_or(|ago| ago >= CLIMB_AFTER), Promise::Chosen, what);
            }
            _ => {}
        }
    }

    fn send_own(&mut self, to: SocketAddr, packet: &[u8], scene: &mut Scene) {
        let since = *self.own_packets.0.get_or_insert(scene.now);
        if scene.now - since >= Duration::from_secs(1) {
            self.own_packets = (Some(scene.now), 0);
        }
        self.own_packets.1 += 1;
        let (node, count) = (self.node, self.own_packets.1);
        let what = format_args!("{node:?}: {count} packets below QUIC within a second");
        scene.demand(count <= OWN_PER_SECOND_MAX, Promise::Bounded, what);
        scene.send(self.node, to, packet);
    }
}

fn address(path: Path) -> SocketAddr {
    match path {
        Path::Direct(address) => address,
        Path::Relay { carrier: Carrier::Udp, .. } => GATEWAY,
        Path::Relay { carrier: Carrier::Tcp, .. } => OVER_TCP,
    }
}
