mod carriers;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::limits::{
    REGISTRATION_LASTS, RELAY_ANSWERS_PER_SECOND, RELAY_CONFIRMS_KEPT_MAX, RELAY_PEERS_MAX,
};
use crate::protocol::registration::{Registration, register_nonce};

const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");
const BOOT: BootId = BootId::from_bytes(*b"gw boot0");
const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([1; 16]);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A relay, and agents that register as real ones do.
struct World {
    start: Instant,
    relay: Relay,
    drawn: u64,
}

/// One agent of the world.
struct Agent {
    route: RouteId,
    key: PacketKey,
    address: SocketAddr,
    registration: Registration,
}

impl World {
    fn new() -> Self {
        Self::of(|relay| relay)
    }

    fn of(change: impl FnOnce(Relay) -> Relay) -> Self {
        let start = Instant::now();
        Self { start, relay: change(Relay::new(GATEWAY, BOOT, [9; 32], start)), drawn: 0 }
    }

    fn at(&self, after: Duration) -> Instant {
        self.start + after
    }

    /// Returns an agent with a control link that has not registered yet.
    fn agent(&mut self, number: u8) -> Agent {
        let (route, key) = (route(number), PacketKey::of_link(&[number; 32]));
        self.relay.join(route, ORGANIZATION, key.clone()).unwrap();
        let mut registration = Registration::new(route, GATEWAY, BootId::from_bytes([number; 8]));
        registration.set_key(Some(key.clone()), self.start);
        Agent { route, key, address: address(u16::from(number)), registration }
    }

    fn register(&mut self, agent: &mut Agent, after: Duration) {
        let now = self.at(after);
        agent.registration.search(now);
        let drawn = &mut self.drawn;
        agent.registration.handle_timeout(now, &mut || {
            *drawn += 1;
            register_nonce(0, drawn.to_be_bytes())
        });
        self.converse(agent, after);
        assert!(agent.registration.is_registered(Carrier::Udp, now));
        assert_eq!(self.udp_of(agent.route, after), Some(agent.address));
    }

    /// Carries packets between the two until both have said all they have to say.
    fn converse(&mut self, agent: &mut Agent, after: Duration) {
        while let Some((_, packet)) = agent.registration.poll_transmit() {
            if let Some(answer) = self.answer(agent.address, &packet, after) {
                agent.registration.handle_packet(Carrier::Udp, &answer, self.start + after);
            }
        }
    }

    /// Returns what is sent back to `from`; never longer than what it answers.
    fn answer(&mut self, from: impl Into<Source>, packet: &[u8], after: Duration) -> Option<Vec<u8>> {
        let mut answer = [0; ANSWER_BYTES];
        match self.relay.handle(from.into(), packet, self.start + after, &mut answer) {
            RelayVerdict::Answer { length } => {
                assert!(length <= packet.len());
                Some(answer[..length].to_vec())
            }
            RelayVerdict::Own | RelayVerdict::Forward { .. } | RelayVerdict::Drop(_) => None,
        }
    }

    fn handle(&mut self, from: impl Into<Source>, packet: &[u8], after: Duration) -> RelayVerdict {
        self.relay.handle(from.into(), packet, self.start + after, &mut [0; ANSWER_BYTES])
    }

    /// Checks where a QUIC packet from `from` for `to` goes.
    #[track_caller]
    fn check(&mut self, from: &Agent, to: &Agent, after: Duration, expected: Result<(), DropReason>) {
        let outcome = match self.handle(from.address, &quic(to.route), after) {
            RelayVerdict::Forward { to: address, .. } => {
                assert_eq!(address, to.address.into());
                Ok(())
            }
            RelayVerdict::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(outcome, expected);
    }

    /// Returns at which UDP address an agent is reached.
    fn udp_of(&self, route: RouteId, after: Duration) -> Option<SocketAddr> {
        self.relay.place_of(route, Carrier::Udp, self.at(after)).map(|place| match place {
            Source::Udp(address) => address,
            Source::Carrier(id) => panic!("carrier {id}"),
        })
    }

    fn permit(&mut self, one: &Agent, other: &Agent) {
        self.relay.permit(one.route, [other.route].into()).unwrap();
        self.relay.permit(other.route, [one.route].into()).unwrap();
    }

    /// Returns two registered agents that permit each other.
    fn pair() -> (Self, Agent, Agent) {
        let mut world = Self::new();
        let (mut one, mut other) = (world.agent(1), world.agent(2));
        world.register(&mut one, Duration::ZERO);
        world.register(&mut other, Duration::ZERO);
        world.permit(&one, &other);
        (world, one, other)
    }
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        Self::Udp(address)
    }
}

impl From<CarrierId> for Source {
    fn from(id: CarrierId) -> Self {
        Self::Carrier(id)
    }
}

fn route(number: u8) -> RouteId {
    RouteId::from_bytes([b'a', b'g', b'e', b'n', b't', 0, 0, number])
}

fn address(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn quic(route: RouteId) -> Vec<u8> {
    [&[0x40][..], route.as_bytes(), &[7; 91]].concat()
}

fn packet(kind: PacketKind, source: RouteId, destination: RouteId, nonce: [u8; 16]) -> Packet {
    let boot = BootId::from_bytes([1; 8]);
    Packet { kind, destination, source, boot, nonce, length: PROBE_BYTES_MIN }
}

fn seal(key: &PacketKey, packet: &Packet) -> Vec<u8> {
    key.seal(packet, &mut [0; PROBE_BYTES_MIN]).to_vec()
}

fn register(agent: &Agent, number: u64) -> Vec<u8> {
    seal(&agent.key, &packet(PacketKind::Register, agent.route, GATEWAY, register_nonce(number, [3; 8])))
}

fn probe(from: &Agent, to: &Agent) -> Vec<u8> {
    // The relay holds no key of it.
    let key = PacketKey::of_link(&[0xaa; 32]);
    seal(&key, &packet(PacketKind::Probe, from.route, to.route, [4; 16]))
}

#[test]
fn registered_agents_that_permit_each_other_reach_each_other_unread() {
    let (mut world, one, other) = World::pair();
    world.check(&one, &other, MS, Ok(()));
    world.check(&other, &one, MS, Ok(()));
    for (from, to) in [(&one, &other), (&other, &one)] {
        let verdict = world.handle(from.address, &probe(from, to), MS);
        assert!(matches!(verdict, RelayVerdict::Forward { to: address, .. } if address == to.address.into()));
    }
}

#[test]
fn an_event_says_where_an_agent_was_reached_before() {
    let mut world = World::new();
    let mut agent = world.agent(1);
    world.register(&mut agent, Duration::ZERO);
    let route = agent.route;
    assert_eq!(world.relay.take_event(), Some(RelayEvent::Registered { route, before: None }));
    assert_eq!(world.relay.take_event(), None);
    let before = Some(agent.address.into());
    agent.address = address(999);
    world.register(&mut agent, SECOND);
    assert_eq!(world.relay.take_event(), Some(RelayEvent::Registered { route, before }));
    world.answer(agent.address, &register(&agent, 1 << 40), 2 * SECOND);
    assert_eq!(world.relay.take_event(), Some(RelayEvent::Challenged { route }));
}

#[test]
fn packets_for_the_gateway_are_its_own_wherever_they_come_from() {
    let (mut world, one, _) = World::pair();
    assert_eq!(world.handle(one.address, &quic(GATEWAY), MS), RelayVerdict::Own);
    assert_eq!(world.handle(address(999), &quic(GATEWAY), MS), RelayVerdict::Own);
}

#[test]
fn a_packet_passes_only_when_each_permits_the_other() {
    let mut world = World::new();
    let (mut one, mut other) = (world.agent(1), world.agent(2));
    world.register(&mut one, Duration::ZERO);
    world.register(&mut other, Duration::ZERO);
    world.check(&one, &other, MS, Err(DropReason::NotPermitted));
    for (first, second) in [(&one, &other), (&other, &one)] {
        world.relay.permit(first.route, [second.route].into()).unwrap();
        world.check(&one, &other, MS, Err(DropReason::NotPermitted));
        world.check(&other, &one, MS, Err(DropReason::NotPermitted));
        world.relay.permit(second.route, [first.route].into()).unwrap();
        world.check(&one, &other, MS, Ok(()));
        world.check(&other, &one, MS, Ok(()));
        // And what one takes back is gone both ways, whatever the other says.
        world.relay.permit(first.route, BTreeSet::new()).unwrap();
        world.check(&one, &other, MS, Err(DropReason::NotPermitted));
        world.check(&other, &one, MS, Err(DropReason::NotPermitted));
        world.relay.permit(second.route, BTreeSet::new()).unwrap();
    }
    world.relay.permit(one.route, [one.route].into()).unwrap();
    world.check(&one, &one, MS, Err(DropReason::NotPermitted));
}

#[test]
fn only_members_that_registered_are_relayed() {
    let mut world = World::new();
    let (mut one, mut other) = (world.agent(1), world.agent(2));
    world.permit(&one, &other);
    world.check(&one, &other, MS, Err(DropReason::UnknownSource));
    world.register(&mut one, MS);
    world.check(&one, &other, MS, Err(DropReason::PeerAway));
    world.check(&other, &one, MS, Err(DropReason::UnknownSource));
    world.register(&mut other, MS);
    world.check(&one, &other, MS, Ok(()));
    // Someone else's name on it, from a registered address.
    assert_eq!(
        world.handle(
            one.address,
            &seal(&one.key, &packet(PacketKind::Answer, other.route, one.route, [0; 16])),
            MS
        ),
        RelayVerdict::Drop(DropReason::UnknownSource)
    );
}

#[test]
fn a_registration_lapses_exactly_sixty_seconds_after_it_was_confirmed() {
    let (mut world, mut one, other) = World::pair();
    world.register(&mut one, SECOND * 30);
    let lapses = REGISTRATION_LASTS;
    world.check(&one, &other, lapses.saturating_sub(MS), Ok(()));
    world.check(&one, &other, lapses, Err(DropReason::PeerAway));
    world.check(&other, &one, lapses, Err(DropReason::UnknownSource));
    // Forgetting it changes nothing that can be seen.
    world.relay.forget_lapsed(world.start + lapses);
    world.check(&other, &one, lapses, Err(DropReason::UnknownSource));
    world.check(&one, &other, lapses, Err(DropReason::PeerAway));
    assert_eq!(world.relay.registered(world.start + lapses), 1);
}

#[test]
fn an_agent_without_a_link_is_relayed_until_it_lapses_without_registering_again() {
    let (mut world, one, mut other) = World::pair();
    world.relay.leave(one.route);
    let late = REGISTRATION_LASTS.saturating_sub(MS);
    world.register(&mut other, late);
    world.relay.forget_lapsed(world.start + late);
    world.check(&one, &other, late, Ok(()));
    let verdict = world.handle(one.address, &register(&one, 1_000), late);
    assert_eq!(verdict, RelayVerdict::Drop(DropReason::NoLink));
    world.relay.forget_lapsed(world.start + REGISTRATION_LASTS);
    assert_eq!(world.relay.traffic().count(), 0);
    world.check(&other, &one, REGISTRATION_LASTS, Err(DropReason::NotPermitted));
    // One that never registered is forgotten at once.
    let third = world.agent(3);
    world.relay.leave(third.route);
    assert_eq!(world.relay.members.find(third.route), None);
}

#[test]
fn a_revoked_agent_is_out_at_once_both_ways() {
    let (mut world, one, other) = World::pair();
    world.relay.remove(one.route);
    world.check(&one, &other, MS, Err(DropReason::UnknownSource));
    world.check(&other, &one, MS, Err(DropReason::NotPermitted));
    let verdict = world.handle(one.address, &register(&one, 1_000), MS);
    assert_eq!(verdict, RelayVerdict::Drop(DropReason::NoLink));
    assert_eq!(world.relay.traffic().count(), 0);
    assert!(world.relay.members.find(one.route).is_none());
}

#[test]
fn a_new_link_keeps_the_address_under_only_the_new_key() {
    let (mut world, mut one, other) = World::pair();
    let before = one.key.clone();
    one.key = PacketKey::of_link(&[0x77; 32]);
    world.relay.join(one.route, ORGANIZATION, one.key.clone()).unwrap();
    world.check(&one, &other, MS, Ok(()));
    let old = seal(&before, &packet(PacketKind::Register, one.route, GATEWAY, register_nonce(900, [0; 8])));
    assert_eq!(world.handle(one.address, &old, MS), RelayVerdict::Drop(DropReason::Forged));
    one.registration.set_key(Some(one.key.clone()), world.at(MS));
    world.register(&mut one, MS);
}

#[test]
fn a_changed_address_is_healed_in_one_round_trip_by_the_next_probe() {
    let (mut world, mut one, other) = World::pair();
    let (before, after) = (one.address, address(4_444));
    one.address = after;
    // The probe is not forwarded, but answered with a challenge to where it came from.
    let challenge = world.answer(after, &probe(&one, &other), MS).expect("challenged");
    one.registration.handle_packet(Carrier::Udp, &challenge, world.at(MS));
    world.converse(&mut one, MS);
    assert_eq!(world.udp_of(one.route, MS), Some(after));
    world.check(&one, &other, MS, Ok(()));
    world.check(&other, &one, MS, Ok(()));
    // Where it was belongs to no agent now.
    let verdict = world.handle(before, &quic(other.route), MS);
    assert_eq!(verdict, RelayVerdict::Drop(DropReason::UnknownSource));
}

#[test]
fn each_receiver_is_sent_to_from_the_address_it_registered_at() {
    let mut world = World::new();
    let (mut one, mut other) = (world.agent(1), world.agent(2));
    let local = |last| Some(std::net::IpAddr::from([198, 51, 100, last]));
    world.relay.arrived_at(local(1));
    world.register(&mut one, MS);
    world.relay.arrived_at(local(2));
    world.register(&mut other, MS);
    world.permit(&one, &other);
    for (from, to, expected) in [(&one, &other, local(2)), (&other, &one, local(1))] {
        let RelayVerdict::Forward { pair, .. } = world.handle(from.address, &quic(to.route), MS) else {
            panic!("forwarded")
        };
        assert_eq!(world.relay.local_of(pair), expected);
    }
}

#[test]
fn an_address_belongs_to_who_proved_it_last() {
    let (mut world, mut one, mut other) = World::pair();
    other.address = one.address;
    world.register(&mut other, SECOND);
    assert_eq!(world.udp_of(one.route, SECOND), None);
    world.check(&other, &one, SECOND, Err(DropReason::PeerAway));
    world.check(&one, &other, SECOND, Err(DropReason::NotPermitted));
    one.address = address(5_555);
    world.register(&mut one, SECOND * 2);
    world.check(&one, &other, SECOND * 2, Ok(()));
    world.check(&other, &one, SECOND * 2, Ok(()));
}

#[test]
fn a_probe_in_a_members_name_earns_nothing_but_a_bounded_number_of_challenges() {
    let (mut world, one, other) = World::pair();
    let forged = probe(&one, &other);
    let mut challenged = 0;
    for port in 0..1_000 {
        challenged += u32::from(world.answer(address(10_000 + port), &forged, MS).is_some());
    }
    assert_eq!(challenged, RELAY_ANSWERS_PER_SECOND);
    world.check(&one, &other, MS, Ok(()));
    world.check(&other, &one, MS, Ok(()));
    // A probe between two that do not permit each other, or of nobody, earns nothing.
    let stranger = Agent { route: route(99), key: one.key.clone(), ..World::new().agent(99) };
    for (from, to) in [(&one, &stranger), (&stranger, &one), (&one, &one)] {
        assert_eq!(world.answer(address(7), &probe(from, to), SECOND * 2), None);
    }
}

#[test]
fn a_confirmation_counts_once_from_its_own_address_only() {
    let (mut world, one, other) = World::pair();
    let elsewhere = address(6_666);
    // Thrown at the relay by one who overheard it, and passed the challenge on to the agent.
    let challenge = world.answer(elsewhere, &register(&one, 2), MS).expect("challenged");
    let challenge = one.key.open(&challenge).expect("sealed for the agent");
    let confirm = seal(&one.key, &packet(PacketKind::Confirm, one.route, GATEWAY, challenge.nonce));
    assert_eq!(world.handle(one.address, &confirm, MS), RelayVerdict::Drop(DropReason::Replayed));
    world.check(&other, &one, MS, Ok(()));
    // In time and from there it counts, and afterwards it is only answered, where it is true.
    assert!(world.answer(elsewhere, &confirm, MS).is_some());
    assert_eq!(world.udp_of(one.route, MS), Some(elsewhere));
    assert!(world.answer(elsewhere, &confirm, SECOND).is_some());
    let lapses = MS + REGISTRATION_LASTS;
    assert_eq!(world.udp_of(one.route, lapses), None, "the second one renewed nothing");
    let mut moved = one;
    moved.address = address(7_777);
    world.register(&mut moved, SECOND);
    assert_eq!(world.handle(elsewhere, &confirm, SECOND), RelayVerdict::Drop(DropReason::Replayed));
    assert_eq!(world.handle(elsewhere, &confirm, SECOND * 3), RelayVerdict::Drop(DropReason::Replayed));
    assert_eq!(world.udp_of(moved.route, SECOND * 3), Some(moved.address));
}

#[test]
fn repeated_confirmations_are_bounded_in_answers_as_in_memory() {
    let mut world = World::new();
    let one = world.agent(1);
    let confirm_at = |world: &mut World, number: u64, after: Duration| {
        let challenge = world.answer(one.address, &register(&one, number), after).expect("challenged");
        let nonce = one.key.open(&challenge).expect("for the agent").nonce;
        seal(&one.key, &packet(PacketKind::Confirm, one.route, GATEWAY, nonce))
    };
    let confirm = confirm_at(&mut world, 1, MS);
    let answered = (0..1_000).filter(|_| world.answer(one.address, &confirm, MS).is_some()).count();
    assert_eq!(answered, 1 + RELAY_ANSWERS_PER_SECOND as usize);
    for second in 1..30 {
        let confirm = confirm_at(&mut world, 1 + u64::from(second), SECOND * second);
        assert!(world.answer(one.address, &confirm, SECOND * second).is_some());
    }
    let index = world.relay.members.find(one.route).unwrap();
    let link = world.relay.members.link(index).unwrap();
    assert_eq!(link.confirmed.len(), RELAY_CONFIRMS_KEPT_MAX);
}

#[test]
fn a_replayed_register_that_earns_nothing_cannot_starve_the_next() {
    let (mut world, one, other) = World::pair();
    let stranger = address(8_888);
    let old: Vec<_> = (100..200).map(|number| register(&one, number)).collect();
    let answered = old.iter().filter(|old| world.answer(one.address, old, SECOND).is_some()).count();
    assert_eq!(answered, RELAY_ANSWERS_PER_SECOND as usize, "not even the agent has more");
    let latest = &old[RELAY_ANSWERS_PER_SECOND as usize - 1];
    for _ in 0..100 {
        for old in &old[..RELAY_ANSWERS_PER_SECOND as usize - 1] {
            assert_eq!(world.answer(stranger, old, SECOND), None);
            assert_eq!(world.answer(one.address, old, SECOND), None);
        }
    }
    let repeats = (0..100).filter(|_| world.answer(stranger, latest, SECOND).is_some()).count();
    assert_eq!(repeats, RELAY_REPEATS_ANSWERED_MAX as usize);
    // Meanwhile the agent goes on, once its second is over.
    for number in 201..206 {
        assert!(world.answer(one.address, &register(&one, number), SECOND * 2).is_some());
    }
    world.check(&one, &other, SECOND, Ok(()));
}

#[test]
fn nothing_is_ever_sent_to_port_zero() {
    let (mut world, one, other) = World::pair();
    let nowhere = SocketAddr::new(one.address.ip(), 0);
    for packet in [register(&one, 99), probe(&one, &other), quic(GATEWAY)] {
        let verdict = world.handle(nowhere, &packet, SECOND);
        assert_eq!(verdict, RelayVerdict::Drop(DropReason::Malformed));
    }
}

#[test]
fn packets_reflected_cut_or_forged_get_silence() {
    let (mut world, one, other) = World::pair();
    let wire = register(&one, 60);
    for bit in 0..wire.len() * 8 {
        let mut forged = wire.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(world.answer(one.address, &forged, MS), None, "bit {bit}");
        assert_eq!(world.answer(one.address, &wire[..bit / 8], MS), None, "cut at byte {}", bit / 8);
    }
    let challenge = world.answer(one.address, &wire, MS).expect("genuine");
    for from in [one.address, other.address, address(999)] {
        assert_eq!(world.handle(from, &challenge, MS), RelayVerdict::Drop(DropReason::Unexpected));
    }
    for (kind, source, destination, expected) in [
        (PacketKind::Register, GATEWAY, one.route, DropReason::Unexpected),
        (PacketKind::Confirm, one.route, other.route, DropReason::Unexpected),
        (PacketKind::Challenge, one.route, GATEWAY, DropReason::Unexpected),
        (PacketKind::Registered, one.route, other.route, DropReason::Unexpected),
        (PacketKind::Probe, other.route, GATEWAY, DropReason::Forged),
        (PacketKind::Answer, one.route, GATEWAY, DropReason::Unexpected),
        (PacketKind::Register, GATEWAY, GATEWAY, DropReason::NoLink),
        (PacketKind::Register, other.route, GATEWAY, DropReason::Forged),
        (PacketKind::Confirm, one.route, GATEWAY, DropReason::Replayed),
    ] {
        let sealed = seal(&one.key, &packet(kind, source, destination, [1; 16]));
        assert_eq!(world.handle(one.address, &sealed, MS), RelayVerdict::Drop(expected), "{kind:?}");
    }
    world.check(&one, &other, MS, Ok(()));
}

#[test]
fn every_pair_is_counted_for_itself() {
    let (mut world, one, other) = World::pair();
    for _ in 0..3 {
        world.check(&one, &other, MS, Ok(()));
    }
    world.check(&other, &one, MS, Ok(()));
    let mut traffic: Vec<_> = world.relay.traffic().collect();
    traffic.sort_by_key(|traffic| traffic.from);
    let line = |from: &Agent, to: &Agent, packets| PairTraffic {
        from: from.route,
        to: to.route,
        packets,
        bytes: packets * 100,
    };
    assert_eq!(traffic, [line(&one, &other, 3), line(&other, &one, 1)]);
}

#[test]
fn only_an_organization_that_uses_up_its_bandwidth_waits() {
    let mut world = World::of(|relay| relay.limited_to(NonZeroU64::new(8_000).unwrap()));
    let (mut one, mut other) = (world.agent(1), world.agent(2));
    world.relay.join(other.route, OrganizationId::from_bytes([2; 16]), other.key.clone()).unwrap();
    world.register(&mut one, Duration::ZERO);
    world.register(&mut other, Duration::ZERO);
    world.permit(&one, &other);
    // A kilobyte a second: two packets of a hundred bytes in the burst of a tenth of it.
    world.check(&one, &other, MS, Ok(()));
    world.check(&one, &other, MS, Ok(()));
    world.check(&one, &other, MS, Err(DropReason::OverBandwidth));
    world.check(&other, &one, MS, Ok(()));
    world.check(&one, &other, SECOND, Ok(()));
    world.relay.forget_lapsed(world.start + SECOND * 3);
}

#[test]
fn members_above_the_bound_are_refused_until_one_leaves() {
    let mut world = World::new();
    let join = |relay: &mut Relay, number: u64| {
        relay.join(RouteId::from_bytes(number.to_be_bytes()), ORGANIZATION, PacketKey::of_link(&[1; 32]))
    };
    for number in 0..RELAY_MEMBERS_MAX as u64 {
        join(&mut world.relay, number).unwrap();
    }
    assert_eq!(join(&mut world.relay, 1 << 40), Err(RelayFull::Members));
    join(&mut world.relay, 0).unwrap();
    world.relay.leave(RouteId::from_bytes(7_u64.to_be_bytes()));
    join(&mut world.relay, 1 << 40).unwrap();
}

#[test]
fn peers_above_the_bound_are_not_permitted() {
    let mut world = World::new();
    let one = world.agent(1);
    let peers: BTreeSet<_> =
        (0..=RELAY_PEERS_MAX as u64).map(|number| RouteId::from_bytes(number.to_be_bytes())).collect();
    let last = *peers.last().unwrap();
    let relay = &mut world.relay;
    relay.join(last, ORGANIZATION, PacketKey::of_link(&[1; 32])).unwrap();
    relay.permit(last, [one.route].into()).unwrap();
    assert_eq!(relay.permit(one.route, peers), Err(RelayFull::Pairs));
    assert_eq!(relay.traffic().count(), 0);
}

#[test]
fn pairs_above_the_bound_are_refused_until_some_part() {
    let mut world = World::new();
    let relay = &mut world.relay;
    // Groups of members, everybody with everybody: 513 of them make the bound overflow.
    let group: BTreeSet<_> = (0..514_u64).map(|number| RouteId::from_bytes(number.to_be_bytes())).collect();
    let mut full = 0;
    for &route in &group {
        relay.join(route, ORGANIZATION, PacketKey::of_link(&[1; 32])).unwrap();
        full += usize::from(relay.permit(route, group.clone()).is_err());
    }
    assert!(full > 0);
    assert_eq!(relay.traffic().count(), RELAY_PAIRS_MAX);
    relay.permit(*group.first().unwrap(), BTreeSet::new()).unwrap();
    relay.permit(*group.last().unwrap(), group.clone()).unwrap();
}

proptest! {
    #[test]
    fn whatever_is_thrown_at_it_neither_moves_a_registration_nor_earns_anything_longer(
        packets in prop::collection::vec(
            (0_u16..4, 0_u8..9, prop::collection::vec(any::<u8>(), 0..90), any::<bool>()), 1..60,
        ),
    ) {
        let (mut world, one, other) = World::pair();
        for (from, kind, mut bytes, is_named) in packets {
            if let Some(first) = bytes.first_mut() {
                *first = if kind == 8 { 0x40 } else { kind };
            }
            if is_named && bytes.len() >= 33 {
                bytes[1..9].copy_from_slice(GATEWAY.as_bytes());
                bytes[9..17].copy_from_slice(one.route.as_bytes());
                bytes[25..33].copy_from_slice(&register(&one, 0)[25..33]);
            }
            let mut answer = [0; ANSWER_BYTES];
            match world.relay.handle(address(from).into(), &bytes, world.start + MS, &mut answer) {
                RelayVerdict::Forward { .. } => prop_assert!(from == 1 || from == 2),
                RelayVerdict::Answer { length } => prop_assert!(length <= bytes.len()),
                RelayVerdict::Own | RelayVerdict::Drop(_) => {}
            }
        }
        world.check(&one, &other, MS, Ok(()));
        world.check(&other, &one, MS, Ok(()));
    }

    /// Members that join, leave, permit, move and lapse in any order: the tables stay what the rule
    /// says, for every pair.
    #[test]
    fn any_order_of_commands_keeps_the_rule(steps in prop::collection::vec((0_u8..6, 0_u8..5, 0_u8..5), 1..80)) {
        let mut world = World::new();
        let mut permits: std::collections::BTreeMap<u8, BTreeSet<RouteId>> = std::collections::BTreeMap::new();
        let mut agents: Vec<Agent> = (0..5).map(|number| {
            let agent = world.agent(number + 1);
            world.relay.remove(agent.route);
            agent
        }).collect();
        let mut after = Duration::ZERO;
        for (step, one, other) in steps {
            after += SECOND * 2;
            let agent = &mut agents[usize::from(one)];
            let is_member = permits.contains_key(&one);
            match step {
                0 | 1 => {
                    world.relay.join(agent.route, ORGANIZATION, agent.key.clone()).unwrap();
                    permits.entry(one).or_default();
                    agent.registration.set_key(None, world.at(after));
                    agent.key = PacketKey::of_link(&[world.drawn.to_le_bytes()[0] ^ 0x55; 32]);
                    world.drawn += 1;
                    world.relay.join(agent.route, ORGANIZATION, agent.key.clone()).unwrap();
                    agent.registration.set_key(Some(agent.key.clone()), world.at(after));
                    agent.address = address(u16::from(other) + 1);
                    world.register(agent, after);
                }
                2 | 3 if is_member => {
                    let peer = route(other + 1);
                    permits.get_mut(&one).unwrap().insert(peer);
                    world.relay.permit(agent.route, permits[&one].clone()).unwrap();
                }
                4 if is_member => {
                    permits.insert(one, BTreeSet::new());
                    world.relay.permit(agent.route, BTreeSet::new()).unwrap();
                }
                5 if is_member => {
                    permits.remove(&one);
                    world.relay.remove(agent.route);
                }
                _ => {}
            }
            let now = world.at(after);
            for from in 0..5 {
                for to in 0..5 {
                    let permitted = |a: u8, b: u8| {
                        permits.get(&a).is_some_and(|peers| peers.contains(&route(b + 1)))
                    };
                    let expected = from != to && permitted(from, to) && permitted(to, from);
                    let found = world.relay.members.find(route(from + 1));
                    let found = found.is_some_and(|index| world.relay.members.peer(index, route(to + 1)).is_some());
                    prop_assert_eq!(found, expected);
                }
                if let Some(place) = world.udp_of(route(from + 1), after) {
                    prop_assert_eq!(place, agents[usize::from(from)].address);
                    let index = world.relay.members.at(place.into(), now);
                    prop_assert_eq!(index, world.relay.members.find(route(from + 1)));
                }
            }
        }
    }
}
