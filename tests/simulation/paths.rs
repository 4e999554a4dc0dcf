//! How one agent reaches its peer: the keeper of the route, the registration at the relay, and what
//! the product's driver and socket do with what they decide (`transport/routes.rs`,
//! `transport/socket.rs`). Here it is watched that nothing takes a path its owner forbids.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_core::domain::id::BootId;
use adit_core::domain::limits::{
    CLIMB_AFTER, CLIMB_AFTER_MAX, PATH_SILENCE, PEER_ADDRESSES_MAX, PROBES_PER_SECOND,
};
use adit_core::domain::path::{PathChoice, PathKind};
use adit_core::protocol::packet::{Claim, PacketKey, PacketKind, quic_route};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::route::{Path, PathReason, PeerRoute, RouteEvent};

use crate::credentials;
use crate::log::Promise;
use crate::random::Random;
use crate::scene::Scene;
use crate::wire::{GATEWAY, Node};

/// Packets of our own in any second: probes of our own accord, those that are asked for and the
/// answers, from valid sources and from strangers, and the registration's.
const OWN_PER_SECOND_MAX: u32 = PROBES_PER_SECOND + 4 * 20 + 40;

#[derive(Debug)]
pub(crate) struct PeerPaths {
    node: Node,
    keeper: PeerRoute,
    registration: Registration,
    registered: bool,
    random: Random,
    /// Where packets of the peer's route go.
    route: Option<Path>,
    validated: BTreeSet<SocketAddr>,
    /// The owner's word, since when, and what was in use then.
    chosen: (PathChoice, Option<Instant>),
    own_packets: (Option<Instant>, u32),
    /// How often this run fell back from a silent direct path.
    falls: u32,
    /// When the present path was taken, and why.
    pub turned: Option<(Instant, Path, PathReason)>,
    /// Answers over the direct path: the first since the present path was taken, and the last.
    pub direct_answers: Option<(Instant, Instant)>,
    /// When its timers ran last.
    looked: Option<Instant>,
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
    pub(crate) fn new(node: Node, boot: BootId, random: Random) -> Self {
        let (own, peer) = (credentials::route(node), credentials::route(node.peer()));
        let mut keeper = PeerRoute::new(own, boot, peer);
        keeper.set_keys(vec![PacketKey::of_connection(&credentials::secret())]);
        Self {
            node,
            keeper,
            registration: Registration::new(own, credentials::GATEWAY_ROUTE, boot),
            registered: false,
            random,
            route: None,
            validated: BTreeSet::new(),
            chosen: (PathChoice::Auto, None),
            own_packets: (None, 0),
            falls: 0,
            turned: None,
            direct_answers: None,
            looked: None,
        }
    }

    pub(crate) fn announce(&mut self, candidates: &[SocketAddr], now: Instant) {
        self.keeper.set_candidates(candidates, now);
    }

    pub(crate) fn choose(&mut self, choice: PathChoice, now: Instant) {
        self.chosen = (choice, Some(now));
        self.keeper.set_choice(choice, now);
    }

    pub(crate) fn chosen(&self) -> PathChoice {
        self.chosen.0
    }

    /// The control link has come up with this key, or is down.
    pub(crate) fn set_link(&mut self, key: Option<PacketKey>, now: Instant) {
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
        self.keeper.poll_timeout().into_iter().chain(self.registration.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.looked = Some(now);
        self.registration.handle_timeout(now, &mut || self.random.bytes());
        self.keeper.handle_timeout(now, &mut || self.random.bytes());
    }

    pub(crate) fn handle_packet(&mut self, from: SocketAddr, packet: &[u8], now: Instant) {
        let Some(claim) = Claim::read(packet) else { return };
        let is_relayed = from == GATEWAY;
        if claim.source == credentials::GATEWAY_ROUTE {
            if is_relayed {
                self.registration.handle_packet(packet, now);
            }
            return;
        }
        let path = if is_relayed { Path::Relay } else { Path::Direct(from) };
        if claim.source == credentials::route(self.node.peer()) {
            self.keeper.handle_packet(path, packet, now, &mut || self.random.bytes());
            if claim.kind == PacketKind::Answer && path != Path::Relay && self.keeper.heard() == Some(now) {
                let first = self.direct_answers.map_or(now, |(first, _)| first);
                self.direct_answers = Some((first, now));
            }
        }
    }

    /// Whether QUIC may see what comes from there.
    pub(crate) fn takes(&self, from: SocketAddr) -> bool {
        // The control link's route is always there.
        from == GATEWAY || self.validated.contains(&from) || self.route == Some(Path::Direct(from))
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
        }
        scene.send(self.node, address(path), packet);
    }

    /// Does what was decided.
    pub(crate) fn act(&mut self, scene: &mut Scene) -> PathChange {
        let is_registered = self.registration.is_registered(scene.now);
        if std::mem::replace(&mut self.registered, is_registered) != is_registered {
            let node = self.node;
            scene.note(format_args!("{node:?}: registered at the relay: {is_registered}"));
            scene.tally.registrations += u64::from(is_registered);
            self.keeper.set_relay(is_registered, scene.now);
        }
        let change = self.follow_events(scene);
        while let Some(transmit) = self.keeper.poll_transmit() {
            let (node, kind, choice) = (self.node, transmit.to.kind(), self.chosen.0);
            let what = format_args!("{node:?}: a packet of ours over {kind}, which is not {choice}");
            scene.demand(choice.allows(kind), Promise::Allowed, what);
            self.send_own(address(transmit.to), &transmit.packet, scene);
        }
        while let Some(packet) = self.registration.poll_transmit() {
            self.send_own(GATEWAY, &packet, scene);
        }
        let validated = self.keeper.validated().count();
        let (node, most) = (self.node, 2 * PEER_ADDRESSES_MAX + 1);
        let what = format_args!("{node:?}: takes packets from {validated} addresses");
        scene.demand(validated <= most, Promise::Bounded, what);
        change
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
                    self.falls += u32::from(path == Path::Relay && why == PathReason::Silent);
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
    path.address().unwrap_or(GATEWAY)
}
