use proptest::prelude::*;

use super::*;
use crate::domain::secret::Secret;
use crate::protocol::packet::Claim;

const HALF_TRIP: Duration = Duration::from_millis(20);

#[test]
fn two_peers_that_know_each_others_address_validate_it_in_one_round_trip() {
    let mut net = Net::new();
    net.announce(A, &[B_HOME]);
    net.run_for(HALF_TRIP * 2);
    assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    assert_eq!(net.events(A), [RouteEvent::Validated(at(B_HOME)), RouteEvent::Active(at(B_HOME))]);
    // The probed side had its own answer before the prober could have sent anything more.
    net.run_for(HALF_TRIP);
    assert_eq!(net.events(B), [RouteEvent::Validated(at(A_HOME)), RouteEvent::Active(at(A_HOME))]);
}

#[test]
fn what_the_prober_sends_on_its_answer_comes_from_a_validated_source() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let first = drain(&mut b, drain_all(&mut a), at(A_HOME), now);
    // The probe back goes first, so its answer, and then QUIC, follow what the answer lets happen.
    assert_eq!(first.len(), 2);
    let second = drain(&mut a, first, at(B_HOME), now);
    assert_eq!(a.active(), Some(at(B_HOME)));
    drain(&mut b, second, at(A_HOME), now);
    assert_eq!(b.active(), Some(at(A_HOME)));
}

#[test]
fn candidates_are_searched_at_doubling_times_and_then_every_two_seconds() {
    let mut net = Net::new();
    net.announce(A, &[NOWHERE]);
    net.run_for(Duration::from_secs(10));
    let times: Vec<_> = net.sent.iter().map(|sent| sent.after.as_millis()).collect();
    assert_eq!(times, [0, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 4_560, 6_560, 8_560]);
    net.run_for(Duration::from_hours(1));
    assert_eq!(net.sent.len(), 13 + 1_800, "it never gives up and never floods");
}

#[test]
fn an_active_path_is_probed_every_second_and_the_others_rest() {
    let mut net = Net::new();
    net.announce(A, &[NOWHERE, B_HOME]);
    net.run_for(Duration::from_secs(1));
    net.sent.clear();
    net.run_for(Duration::from_secs(10));
    let probes: Vec<_> = net.sent_by(A).filter(|sent| sent.is_probe).collect();
    assert!((9..=11).contains(&probes.len()), "{} probes", probes.len());
    assert!(probes.iter().all(|sent| sent.to == B_HOME));
    assert!(net.peer(A).silent_for(net.now).unwrap() <= PROBE_EVERY + HALF_TRIP * 2);
}

#[test]
fn a_lost_probe_is_repeated_before_the_path_counts_as_silent() {
    let mut net = Net::connected();
    net.cut = true;
    net.run_for(Duration::from_secs(2));
    net.cut = false;
    net.run_for(Duration::from_millis(300));
    assert!(net.peer(A).silent_for(net.now).unwrap() < Duration::from_millis(300));
    assert_eq!(net.events(A), []);
}

#[test]
fn after_three_seconds_of_silence_all_candidates_are_searched_and_the_answering_one_is_taken() {
    let mut net = Net::connected();
    net.announce(A, &[B_HOME, B_OTHER]);
    net.run_for(Duration::from_secs(1));
    net.dead.push(B_HOME);
    net.run_for(PATH_SILENCE + Duration::from_secs(1) + HALF_TRIP * 2);
    assert_eq!(net.peer(A).active(), Some(at(B_OTHER)));
    assert_eq!(net.events(A), [RouteEvent::Validated(at(B_OTHER)), RouteEvent::Active(at(B_OTHER))]);
}

#[test]
fn a_silent_path_stays_active_while_nothing_better_answers_and_recovers() {
    let mut net = Net::connected();
    net.cut = true;
    net.run_for(Duration::from_mins(10));
    assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    assert!(net.peer(A).silent_for(net.now).unwrap() > Duration::from_secs(590));
    net.cut = false;
    net.run_for(PROBE_SEARCH_MAX + HALF_TRIP * 2);
    assert!(net.peer(A).silent_for(net.now).unwrap() < PROBE_SEARCH_MAX);
}

#[test]
fn a_peer_that_moves_is_found_by_its_own_probes() {
    let mut net = Net::connected();
    net.homes[B] = B_OTHER;
    net.dead.push(B_HOME);
    net.run_for(PATH_SILENCE + Duration::from_secs(2));
    assert_eq!(net.peer(A).active(), Some(at(B_OTHER)));
}

#[test]
fn a_restarted_peer_is_an_event_once_and_its_path_goes_on() {
    let mut net = Net::connected();
    net.peers[B] = peer(B);
    net.peers[B].boot = BootId::from_bytes([77; 8]);
    net.run_for(Duration::from_secs(5));
    let expected = [
        RouteEvent::Lapsed(at(B_HOME)),
        RouteEvent::BootChanged(BootId::from_bytes([77; 8])),
        RouteEvent::Validated(at(B_HOME)),
        RouteEvent::Active(at(B_HOME)),
    ];
    assert_eq!(net.events(A), expected);
    assert_eq!(net.peer(A).peer_boot(), Some(BootId::from_bytes([77; 8])));
    assert_eq!(net.peer(B).active(), Some(at(A_HOME)));
}

#[test]
fn a_replayed_probe_of_an_earlier_run_cuts_nothing_and_validates_nobody() {
    let mut net = Net::connected();
    let mut earlier = peer(B);
    earlier.boot = BootId::from_bytes([1; 8]);
    earlier.probe(at(A_HOME), 0, net.now, &mut nonces(5));
    let replayed = earlier.poll_transmit().unwrap().packet;
    for _ in 0..5 {
        net.inject(A, MALLORY, &replayed);
    }
    net.run_for(Duration::from_secs(3));
    assert_eq!(net.events(A), []);
    assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    assert!(!net.peer(A).validated().any(|address| address == at(MALLORY)));
}

#[test]
fn a_replayed_or_late_answer_proves_nothing() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let answers = drain(&mut b, drain_all(&mut a), at(A_HOME), now);
    let late = now + PROBE_ANSWER_WITHIN + Duration::from_millis(1);
    drain(&mut a, answers.clone(), at(B_HOME), late);
    assert_eq!(a.active(), None, "a late answer was believed");
    drain(&mut a, answers, at(B_HOME), now);
    assert_eq!(a.active(), None, "a nonce counted twice");
}

#[test]
fn an_answer_from_elsewhere_validates_only_after_that_place_was_asked() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let answers = drain(&mut b, drain_all(&mut a), at(A_HOME), now);
    let asked = drain(&mut a, answers, at(MALLORY), now);
    assert_eq!(a.validated().count(), 0);
    assert!(asked.iter().all(|sent| sent.to == at(MALLORY)));
    let answers = drain(&mut b, asked, at(A_HOME), now);
    drain(&mut a, answers, at(MALLORY), now);
    assert_eq!(a.active(), Some(at(MALLORY)));
}

#[test]
fn packets_with_another_key_route_or_a_reflected_probe_get_silence() {
    let now = Instant::now();
    let mut a = peer(A);
    let mut stranger = peer(B);
    stranger.set_keys(vec![ProbeKey::derive(&Secret::from_bytes([8; 32]))]);
    let mut other_server = peer(B);
    other_server.own = RouteId::from_bytes([9; 8]);
    let mut misdirected = peer(B);
    misdirected.peer = RouteId::from_bytes([9; 8]);
    for (what, prober) in
        [("key", &mut stranger), ("source", &mut other_server), ("destination", &mut misdirected)]
    {
        prober.probe(at(A_HOME), 0, now, &mut nonces(1));
        assert_eq!(drain(&mut a, drain_all(prober), at(B_HOME), now), [], "another {what} was answered");
    }
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let own = drain_all(&mut a);
    assert_eq!(drain(&mut a, own, at(B_HOME), now), [], "our own probe came back");
    assert_eq!(a.active(), None);
}

#[test]
fn a_probe_one_over_the_rate_is_not_answered_until_the_next_second() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    let mut replies = |millis: u64| {
        let now = now + Duration::from_millis(millis);
        b.probe(at(A_HOME), 0, now, &mut nonces(millis));
        let probe = drain_all(&mut b);
        drain(&mut a, probe, at(MALLORY), now).len()
    };
    for _ in 0..PROBE_ANSWERS_PER_SECOND {
        assert_eq!(replies(0), 2);
    }
    assert_eq!(replies(0), 0);
    assert_eq!(replies(999), 0);
    assert_eq!(replies(1_000), 2);
}

#[test]
fn strangers_cannot_use_up_the_answers_of_the_path_in_use() {
    let mut net = Net::connected();
    net.run_for(Duration::from_millis(1));
    let mut twin = peer(B);
    for port in 0..200 {
        twin.probe(at(A_HOME), 0, net.now, &mut nonces(port));
        let probe = twin.poll_transmit().unwrap().packet;
        net.inject(A, MALLORY + u16::try_from(port).unwrap(), &probe);
    }
    net.peers[B].probe(at(A_HOME), 0, net.now, &mut nonces(9_999));
    net.sent.clear();
    net.run_for(HALF_TRIP * 2);
    assert!(net.sent_by(A).any(|sent| sent.to == B_HOME && !sent.is_probe));
}

#[test]
fn outstanding_probes_learnt_addresses_and_candidates_are_bounded() {
    let now = Instant::now();
    let mut a = peer(A);
    let many: Vec<_> = (1..=100).map(at).collect();
    a.set_candidates(&many, now);
    assert_eq!(a.targets.len(), PEER_ADDRESSES_MAX);
    for number in 0..=u64::try_from(PROBES_OUTSTANDING_MAX).unwrap() {
        a.probe(at(1), 0, now, &mut nonces(number));
    }
    assert_eq!(a.outstanding.len(), PROBES_OUTSTANDING_MAX);
    drain_all(&mut a);
    for port in 200..300 {
        a.validate(at(port), now + Duration::from_millis(port.into()));
        a.set_candidates(&many, now);
    }
    // The active one is in use and does not count.
    assert_eq!(a.targets.len(), 2 * PEER_ADDRESSES_MAX + 1);
    assert_eq!(a.active(), Some(at(200)));
    assert!(a.validated().any(|address| address == at(299)));
    assert!(!a.validated().any(|address| address == at(201)));
}

#[test]
fn a_source_that_answers_nothing_for_a_minute_lapses_unless_it_is_in_use() {
    let now = Instant::now();
    let mut a = peer(A);
    a.validate(at(B_HOME), now);
    a.validate(at(B_OTHER), now);
    while a.poll_event().is_some() {}
    let later = now + SOURCE_LAPSES_AFTER;
    a.handle_timeout(later.checked_sub(Duration::from_millis(1)).unwrap(), &mut nonces(1));
    assert_eq!(a.poll_event(), None);
    a.handle_timeout(later, &mut nonces(1));
    assert_eq!(a.poll_event(), Some(RouteEvent::Lapsed(at(B_OTHER))));
    assert_eq!(a.validated().collect::<Vec<_>>(), [at(B_HOME)]);
}

#[test]
fn without_a_key_the_route_is_silent_and_asks_for_no_timer() {
    let now = Instant::now();
    let mut a = peer(A);
    a.set_keys(Vec::new());
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    assert_eq!((a.poll_transmit(), a.poll_timeout()), (None, None));
}

#[test]
fn a_key_the_peer_does_not_hold_yet_only_costs_a_turn() {
    let mut net = Net::new();
    let unknown = ProbeKey::derive(&Secret::from_bytes([8; 32]));
    net.peers[A].set_keys(vec![unknown.clone(), shared_key()]);
    net.announce(A, &[B_HOME]);
    net.run_for(Duration::from_millis(100));
    assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    net.sent.clear();
    net.run_for(Duration::from_secs(5));
    assert!(net.sent_by(A).all(|sent| sent.key == shared_key().id()), "it left the key that works");
}

#[test]
fn an_announcement_that_drops_the_address_in_use_leaves_it_in_use() {
    let mut net = Net::connected();
    net.announce(A, &[]);
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    assert!(net.peer(A).silent_for(net.now).unwrap() < Duration::from_secs(2));
}

#[test]
fn a_mapped_address_is_the_ipv4_address_it_maps() {
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:443".parse().unwrap();
    assert_eq!(canonical(mapped), "192.0.2.1:443".parse().unwrap());
    let v6: SocketAddr = "[fe80::1%3]:443".parse().unwrap();
    assert_eq!(canonical(v6), v6);
}

#[test]
fn on_a_lossy_wire_the_path_holds_whatever_the_seed() {
    for seed in 0..40 {
        let mut net = Net::connected();
        net.loss_percent = 20;
        net.chance = seed;
        net.run_for(Duration::from_mins(2));
        assert!(net.peer(A).silent_for(net.now).unwrap() < PATH_SILENCE, "seed {seed}");
        assert_eq!(net.peer(B).active(), Some(at(A_HOME)), "seed {seed}");
        assert!(net.sent.len() < 4 * 2 * 120 * 2, "seed {seed}: {} packets", net.sent.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_nor_draw_an_answer(wire in prop::collection::vec(any::<u8>(), 0..200)) {
        let now = Instant::now();
        let mut a = peer(A);
        a.handle_packet(at(MALLORY), &wire, now, &mut nonces(1));
        prop_assert_eq!((a.poll_transmit(), a.poll_event()), (None, None));
    }

    #[test]
    fn a_wire_that_repeats_alters_and_misplaces_packets_never_validates_a_stranger(
        seed in any::<u64>(),
        mischief in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..3), 1..40),
    ) {
        let mut net = Net::connected();
        net.chance = seed;
        net.run_for(Duration::from_secs(3));
        for (which, bit, kind) in mischief {
            let mut packet = net.sent[which.index(net.sent.len())].packet.clone();
            if kind == 0 {
                let bit = bit.index(packet.len() * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            let from = if kind == 1 { B_HOME } else { MALLORY };
            net.inject(A, from, &packet);
            net.run_for(Duration::from_millis(70));
        }
        prop_assert_eq!(net.events(A), []);
        prop_assert_eq!(net.peer(A).active(), Some(at(B_HOME)));
    }
}

/// The two ends, as indices.
const A: usize = 0;
const B: usize = 1;

/// Places, as ports of one documentation address.
const A_HOME: u16 = 1_000;
const B_HOME: u16 = 2_000;
const B_OTHER: u16 = 2_001;
const NOWHERE: u16 = 3_000;
const MALLORY: u16 = 4_000;

fn at(place: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), place)
}

fn shared_key() -> ProbeKey {
    ProbeKey::derive(&Secret::from_bytes([7; 32]))
}

fn peer(which: usize) -> PeerRoute {
    let route = |which: usize| RouteId::from_bytes([u8::try_from(which).unwrap(); 8]);
    let boot = BootId::from_bytes([40 + u8::try_from(which).unwrap(); 8]);
    let mut peer = PeerRoute::new(route(which), boot, route(1 - which));
    peer.set_keys(vec![shared_key()]);
    peer
}

/// Distinct nonces from `start` on; tests that mix sources start far apart.
fn nonces(start: u64) -> impl FnMut() -> [u8; 16] {
    let mut next = u128::from(start) << 64;
    move || {
        next += 1;
        next.to_be_bytes()
    }
}

fn drain_all(peer: &mut PeerRoute) -> Vec<OwnTransmit> {
    std::iter::from_fn(|| peer.poll_transmit()).collect()
}

/// Hands `packets` to `peer` as coming from `from`; gives what it sends in turn.
fn drain(
    peer: &mut PeerRoute,
    packets: Vec<OwnTransmit>,
    from: SocketAddr,
    now: Instant,
) -> Vec<OwnTransmit> {
    for sent in packets {
        let mut nonce = nonces(u64::from(from.port()) + 10_000);
        peer.handle_packet(from, &sent.packet, now, &mut nonce);
    }
    drain_all(peer)
}

struct Sent {
    by: usize,
    to: u16,
    after: Duration,
    is_probe: bool,
    key: crate::protocol::packet::KeyId,
    packet: Box<[u8]>,
}

/// Both ends, a wire with latency and faults, and a clock that jumps from deadline to deadline.
struct Net {
    start: Instant,
    now: Instant,
    peers: [PeerRoute; 2],
    homes: [u16; 2],
    /// Packets to these places vanish.
    dead: Vec<u16>,
    cut: bool,
    loss_percent: u64,
    chance: u64,
    nonce: u64,
    wire: Vec<(Instant, usize, u16, Box<[u8]>)>,
    sent: Vec<Sent>,
}

impl Net {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            peers: [peer(A), peer(B)],
            homes: [A_HOME, B_HOME],
            dead: Vec::new(),
            cut: false,
            loss_percent: 0,
            chance: 0,
            nonce: 0,
            wire: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Both ends have validated each other, and what they said then is forgotten.
    fn connected() -> Self {
        let mut net = Self::new();
        net.announce(A, &[B_HOME]);
        net.announce(B, &[A_HOME]);
        net.run_for(Duration::from_secs(1));
        assert!(!net.events(A).is_empty() && !net.events(B).is_empty());
        net
    }

    fn announce(&mut self, to: usize, places: &[u16]) {
        let places: Vec<_> = places.iter().copied().map(at).collect();
        let now = self.now;
        self.peers[to].set_candidates(&places, now);
    }

    fn peer(&self, which: usize) -> &PeerRoute {
        &self.peers[which]
    }

    fn events(&mut self, which: usize) -> Vec<RouteEvent> {
        std::iter::from_fn(|| self.peers[which].poll_event()).collect()
    }

    fn sent_by(&self, which: usize) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.by == which)
    }

    fn inject(&mut self, to: usize, from: u16, packet: &[u8]) {
        self.wire.push((self.now, to, from, packet.into()));
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.collect();
            let timers = self.peers.iter().filter_map(PeerRoute::poll_timeout);
            let next = self.wire.iter().map(|(due, ..)| *due).chain(timers).min();
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
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|(due, ..)| *due <= now);
        self.wire = later;
        let due: Vec<_> = due;
        for (_, to, from, packet) in due {
            let mut nonce = self.nonces();
            self.peers[to].handle_packet(at(from), &packet, now, &mut nonce);
        }
    }

    fn collect(&mut self) {
        for by in [A, B] {
            while let Some(OwnTransmit { to, packet }) = self.peers[by].poll_transmit() {
                let place = to.port();
                let is_lost = self.is_lost();
                let target = 1 - by;
                let homes = [self.homes[target], if target == B { B_OTHER } else { A_HOME }];
                let is_probe = packet[0] == 1;
                // An answer leaves from where its probe arrived, a probe from home.
                let asked =
                    self.sent_by(target).find(|sent| sent.is_probe && sent.packet[33..49] == packet[33..49]);
                let from = asked.filter(|_| !is_probe).map_or(self.homes[by], |asked| asked.to);
                let (after, key) = (self.now - self.start, Claim::read(&packet).unwrap().key);
                self.sent.push(Sent { by, to: place, after, is_probe, key, packet: packet.clone() });
                if homes.contains(&place) && !self.dead.contains(&place) && !is_lost {
                    self.wire.push((self.now + HALF_TRIP, target, from, packet));
                }
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        // Knuth's MMIX generator: the same faults for the same seed.
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.cut || (self.chance >> 33) % 100 < self.loss_percent
    }

    fn nonces(&mut self) -> impl FnMut() -> [u8; 16] + use<> {
        self.nonce += 1;
        nonces(self.nonce + 1_000_000)
    }
}
