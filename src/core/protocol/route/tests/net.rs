//! Two keepers on a wire with latency and faults, and a clock that jumps from deadline to deadline.

use std::time::Duration;

use super::super::*;
use crate::domain::secret::Secret;
use crate::protocol::packet::{Claim, KeyId, is_marked_in_use, marked_carrier};

/// One way, directly; through the relay it takes longer, and over TCP a little more.
pub(super) const HALF_TRIP: Duration = Duration::from_millis(20);
pub(super) const HALF_TRIP_RELAY: Duration = Duration::from_millis(30);
pub(super) const MORE_OVER_TCP: Duration = Duration::from_millis(2);

const GATEWAY: RelayId = RelayId(RouteId::from_bytes(*b"gateway0"));
pub(super) const RELAY: Path = Path::Relay { relay: GATEWAY, carrier: Carrier::Udp };
pub(super) const TCP: Path = Path::Relay { relay: GATEWAY, carrier: Carrier::Tcp };

/// The two ends, as indices.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// Places, as ports of one documentation address.
pub(super) const A_HOME: u16 = 1_000;
pub(super) const B_HOME: u16 = 2_000;
pub(super) const B_OTHER: u16 = 2_001;
pub(super) const NOWHERE: u16 = 3_000;
pub(super) const MALLORY: u16 = 4_000;

pub(super) fn at(place: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), place)
}

pub(super) fn path(place: u16) -> Path {
    Path::Direct(at(place))
}

pub(super) fn active(path: Path, why: PathReason) -> RouteEvent {
    RouteEvent::Active { path, why }
}

pub(super) fn shared_key() -> PacketKey {
    PacketKey::of_connection(&Secret::from_bytes([7; 32]))
}

pub(super) fn peer(which: usize) -> PeerRoute {
    let route = |which: usize| RouteId::from_bytes([u8::try_from(which).unwrap(); 8]);
    let boot = BootId::from_bytes([40 + u8::try_from(which).unwrap(); 8]);
    let mut peer = PeerRoute::new(route(which), boot, route(1 - which));
    peer.set_keys(vec![shared_key()]);
    peer
}

/// Returns distinct nonces from `start` on; tests that mix sources start far apart.
pub(super) fn nonces(start: u64) -> impl FnMut() -> [u8; 16] {
    let mut next = u128::from(start) << 64;
    move || {
        next += 1;
        next.to_be_bytes()
    }
}

pub(super) fn drain_all(peer: &mut PeerRoute) -> Vec<OwnTransmit> {
    std::iter::from_fn(|| peer.poll_transmit()).collect()
}

/// Hands `packets` to `peer` as coming from `from`; gives what it sends in turn.
pub(super) fn drain(
    peer: &mut PeerRoute,
    packets: Vec<OwnTransmit>,
    from: Path,
    now: Instant,
) -> Vec<OwnTransmit> {
    let start = from.address().map_or(1, |address| u64::from(address.port()));
    for sent in packets {
        peer.handle_packet(from, &sent.packet, now, &mut nonces(start + 10_000));
    }
    drain_all(peer)
}

pub(super) struct Sent {
    pub(super) by: usize,
    pub(super) to: Path,
    pub(super) after: Duration,
    pub(super) is_probe: bool,
    pub(super) key: KeyId,
    pub(super) packet: Box<[u8]>,
}

/// What the relay knows of one end.
#[derive(Debug, Clone, Copy, Default)]
struct Legs {
    udp: bool,
    tcp: bool,
    latest: Option<Carrier>,
    used: Option<Carrier>,
}

impl Legs {
    fn has(self, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Udp => self.udp,
            Carrier::Tcp => self.tcp,
        }
    }

    /// Returns where a packet for this end goes that is wanted over `carrier`. Its UDP address is remembered
    /// for a while.
    fn towards(self, carrier: Option<Carrier>) -> Carrier {
        let mut wanted = carrier.into_iter().chain(self.latest).chain(Carrier::ALL);
        wanted.find(|carrier| self.has(*carrier)).unwrap_or(Carrier::Udp)
    }
}

struct Travelling {
    due: Instant,
    to: usize,
    from: Path,
    packet: Box<[u8]>,
}

/// Both ends. Faults are public, and may be changed between runs.
pub(super) struct Net {
    start: Instant,
    pub(super) now: Instant,
    pub(super) peers: [PeerRoute; 2],
    pub(super) homes: [u16; 2],
    /// Packets to these places vanish.
    pub(super) dead: Vec<u16>,
    /// What each end sends vanishes, by the kind of path it takes.
    pub(super) direct_cut: [bool; 2],
    pub(super) relay_cut: [bool; 2],
    /// Between each end and the relay nothing passes over that carrier, either way.
    pub(super) udp_leg_cut: [bool; 2],
    pub(super) tcp_leg_cut: [bool; 2],
    /// Over which carrier each end is registered at the relay, and took packets to the other last.
    legs: [Legs; 2],
    /// How long a packet takes one way.
    pub(super) direct_trip: Duration,
    pub(super) relay_trip: Duration,
    /// What is longer vanishes on direct paths.
    pub(super) direct_mtu: usize,
    pub(super) loss_percent: u64,
    pub(super) random: u64,
    nonce: u64,
    wire: Vec<Travelling>,
    pub(super) sent: Vec<Sent>,
    /// What the keepers said, in order, and when.
    said: Vec<(Duration, usize, RouteEvent)>,
}

impl Net {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            peers: [peer(A), peer(B)],
            homes: [A_HOME, B_HOME],
            dead: Vec::new(),
            direct_cut: [false; 2],
            relay_cut: [false; 2],
            udp_leg_cut: [false; 2],
            tcp_leg_cut: [false; 2],
            legs: [Legs::default(); 2],
            direct_trip: HALF_TRIP,
            relay_trip: HALF_TRIP_RELAY,
            direct_mtu: usize::MAX,
            loss_percent: 0,
            random: 0,
            nonce: 0,
            wire: Vec::new(),
            sent: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Returns a net in which both ends have validated each other, and what they said then is forgotten.
    pub(super) fn connected() -> Self {
        let mut net = Self::new();
        net.announce(A, &[B_HOME]);
        net.announce(B, &[A_HOME]);
        net.run_for(Duration::from_secs(1));
        assert!(!net.events(A).is_empty() && !net.events(B).is_empty());
        net
    }

    /// Returns the same, with a relay that both are registered at.
    pub(super) fn relayed() -> Self {
        let mut net = Self::new();
        net.announce(A, &[B_HOME]);
        net.announce(B, &[A_HOME]);
        net.set_relay(true);
        net.run_for(Duration::from_secs(1));
        for which in [A, B] {
            assert_eq!(net.peer(which).active().map(Path::kind), Some(PathKind::Direct));
            net.events(which);
        }
        net
    }

    pub(super) fn announce(&mut self, to: usize, places: &[u16]) {
        let places: Vec<_> = places.iter().copied().map(at).collect();
        let now = self.now;
        self.peers[to].set_candidates(&places, now);
    }

    /// Registers both ends at the relay over UDP, or neither.
    pub(super) fn set_relay(&mut self, available: bool) {
        for which in [A, B] {
            self.set_leg(which, Carrier::Udp, available);
        }
    }

    /// Opens a carrier to the relay at both ends, or ends both.
    pub(super) fn set_tcp(&mut self, available: bool) {
        for which in [A, B] {
            self.set_leg(which, Carrier::Tcp, available);
        }
    }

    pub(super) fn set_leg(&mut self, which: usize, carrier: Carrier, available: bool) {
        let legs = &mut self.legs[which];
        match carrier {
            Carrier::Udp => legs.udp = available,
            Carrier::Tcp => legs.tcp = available,
        }
        if available {
            legs.latest = Some(carrier);
        }
        let relays: Vec<_> = Carrier::ALL
            .into_iter()
            .filter(|carrier| legs.has(*carrier))
            .map(|carrier| (GATEWAY, carrier))
            .collect();
        self.peers[which].set_relays(&relays, self.now);
    }

    pub(super) fn prefer(&mut self, which: usize, preference: PathPreference) {
        let now = self.now;
        self.peers[which].set_preference(preference, now);
    }

    /// Says whether the rules of one end name the relay.
    pub(super) fn forbid_relay(&mut self, which: usize, is_forbidden: bool) {
        let relays = RELAY.relay().filter(|_| is_forbidden).into_iter().collect();
        let now = self.now;
        self.peers[which].forbid_relays(relays, now);
    }

    pub(super) fn allow_only(&mut self, which: usize, kind: PathKind) {
        self.prefer(which, PathPreference::only(kind));
    }

    /// Cuts all UDP of one end, or none of it.
    pub(super) fn block_udp(&mut self, which: usize, cut: bool) {
        self.udp_leg_cut[which] = cut;
        self.direct_cut = [cut; 2];
    }

    pub(super) fn cut_tcp(&mut self, cut: bool) {
        self.tcp_leg_cut = [cut; 2];
    }

    pub(super) fn cut_direct(&mut self, cut: bool) {
        self.direct_cut = [cut; 2];
    }

    pub(super) fn cut_relay(&mut self, cut: bool) {
        self.relay_cut = [cut; 2];
    }

    pub(super) fn cut_all(&mut self, cut: bool) {
        self.cut_direct(cut);
        self.cut_relay(cut);
        self.cut_tcp(cut);
    }

    pub(super) fn peer(&self, which: usize) -> &PeerRoute {
        &self.peers[which]
    }

    pub(super) fn kind(&self, which: usize) -> Option<PathKind> {
        self.peers[which].active().map(Path::kind)
    }

    /// Returns for how long the path in use has not answered.
    pub(super) fn silence(&self, which: usize) -> Duration {
        let peer = &self.peers[which];
        let answered = peer.active().and_then(|path| peer.probes.get(path)?.answered);
        self.now - answered.expect("a path in use has answered")
    }

    /// Returns what `which` said since it was last asked.
    pub(super) fn events(&mut self, which: usize) -> Vec<RouteEvent> {
        self.dated_events(which).into_iter().map(|(_, event)| event).collect()
    }

    /// Returns the same, with the time since the start.
    pub(super) fn dated_events(&mut self, which: usize) -> Vec<(Duration, RouteEvent)> {
        self.collect();
        let said = self.said.extract_if(.., |(_, by, _)| *by == which);
        said.map(|(after, _, event)| (after, event)).collect()
    }

    pub(super) fn sent_by(&self, which: usize) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.by == which)
    }

    /// Returns the most packets that one end sent within any second.
    pub(super) fn busiest_second(&self, which: usize) -> usize {
        let times: Vec<_> = self.sent_by(which).map(|sent| sent.after).collect();
        let within = |first: usize| {
            times[first..].partition_point(|after| *after < times[first] + Duration::from_secs(1))
        };
        (0..times.len()).map(within).max().unwrap_or(0)
    }

    pub(super) fn inject(&mut self, to: usize, from: Path, packet: &[u8]) {
        self.wire.push(Travelling { due: self.now, to, from, packet: packet.into() });
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.collect();
            let timers = self.peers.iter().filter_map(PeerRoute::poll_timeout);
            let next = self.wire.iter().map(|packet| packet.due).chain(timers).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.deliver();
            for which in [A, B] {
                let (now, mut nonce) = (self.now, self.nonces());
                self.peers[which].handle_timeout(now, &mut nonce);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.wire.extract_if(.., |packet| packet.due <= now).collect();
        for Travelling { to, from, packet, .. } in due {
            let mut nonce = self.nonces();
            self.peers[to].handle_packet(from, &packet, now, &mut nonce);
        }
    }

    fn collect(&mut self) {
        for by in [A, B] {
            let after = self.elapsed();
            self.said
                .extend(std::iter::from_fn(|| self.peers[by].poll_event()).map(|event| (after, by, event)));
            for OwnTransmit { to, packet } in drain_all(&mut self.peers[by]) {
                let is_probe = packet[0] == 1;
                let from = self.source(by, to, is_probe, &packet);
                let trip = match to {
                    Path::Direct(_) => self.direct_trip,
                    Path::Relay { carrier: Carrier::Udp, .. } => self.relay_trip,
                    Path::Relay { carrier: Carrier::Tcp, .. } => self.relay_trip + MORE_OVER_TCP,
                };
                if self.arrives(by, to, from, packet.len()) {
                    let due = self.now + trip;
                    self.wire.push(Travelling { due, to: 1 - by, from, packet: packet.clone() });
                }
                let key = Claim::read(&packet).unwrap().key;
                self.sent.push(Sent { by, to, after, is_probe, key, packet });
            }
        }
    }

    /// Returns where the other end sees it come from: a probe from home, an answer from where it was asked,
    /// and what a relay forwards over what it chooses.
    fn source(&mut self, by: usize, to: Path, is_probe: bool, packet: &[u8]) -> Path {
        let nonce: &[u8; 16] = packet[33..49].try_into().unwrap();
        if let Some(relay) = to.relay() {
            if is_probe && is_marked_in_use(nonce) && self.reaches_relay(by, to.carrier()) {
                self.legs[by].used = Some(to.carrier());
            }
            let legs = self.legs[1 - by];
            let wanted = if is_probe { legs.used } else { Some(marked_carrier(nonce)) };
            return Path::Relay { relay, carrier: legs.towards(wanted) };
        }
        if is_probe {
            return path(self.homes[by]);
        }
        let asked = self.sent.iter().rev().find(|sent| sent.is_probe && sent.packet[33..49] == *nonce);
        asked.map_or(path(self.homes[by]), |asked| asked.to)
    }

    fn arrives(&mut self, by: usize, to: Path, from: Path, length: usize) -> bool {
        // Knuth's MMIX generator: the same faults for the same seed.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_lost = (self.random >> 33) % 100 < self.loss_percent;
        let target = 1 - by;
        let homes = [self.homes[target], if target == B { B_OTHER } else { A_HOME }];
        match to {
            Path::Relay { carrier, .. } => {
                let lands = match from.carrier() {
                    Carrier::Udp => !self.udp_leg_cut[target],
                    Carrier::Tcp => !self.tcp_leg_cut[target],
                };
                // TCP repairs what is lost.
                let is_repaired = carrier == Carrier::Tcp && from.carrier() == Carrier::Tcp;
                self.reaches_relay(by, carrier) && lands && (!is_lost || is_repaired)
            }
            Path::Direct(address) => {
                let place = address.port();
                !is_lost
                    && homes.contains(&place)
                    && !self.dead.contains(&place)
                    && !self.direct_cut[by]
                    && length <= self.direct_mtu
            }
        }
    }

    fn reaches_relay(&self, by: usize, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Udp => !self.relay_cut[by] && !self.udp_leg_cut[by],
            Carrier::Tcp => !self.tcp_leg_cut[by],
        }
    }

    fn nonces(&mut self) -> impl FnMut() -> [u8; 16] + use<> {
        self.nonce += 1;
        nonces(self.nonce + 1_000_000)
    }
}
