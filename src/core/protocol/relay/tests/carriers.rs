//! Two ways to one agent: UDP and a carrier.

use super::*;
use crate::protocol::packet::marked;

const ONE: CarrierId = CarrierId(11);
const OTHER: CarrierId = CarrierId(12);

impl World {
    /// Registers an agent there by hand; the number must be new over that carrier.
    fn register_at(&mut self, agent: &Agent, place: impl Into<Source>, number: u64, after: Duration) {
        let place = place.into();
        let challenge = self.answer(place, &register(agent, number), after).expect("challenged");
        let nonce = agent.key.open(&challenge).expect("for the agent").nonce;
        let confirm = seal(&agent.key, &packet(PacketKind::Confirm, agent.route, GATEWAY, nonce));
        assert!(self.answer(place, &confirm, after).is_some());
        assert_eq!(self.relay.place_of(agent.route, place.carrier(), self.at(after)), Some(place));
    }

    /// Returns two agents that permit each other, each registered at its address and at its carrier.
    fn pair_over_both() -> (Self, Agent, Agent) {
        let (mut world, one, other) = Self::pair();
        world.register_at(&one, ONE, 1, MS);
        world.register_at(&other, OTHER, 1, MS);
        (world, one, other)
    }

    /// Returns where a packet goes.
    #[track_caller]
    fn goes(&mut self, from: impl Into<Source>, packet: &[u8], after: Duration) -> Source {
        match self.handle(from, packet, after) {
            RelayVerdict::Forward { to, .. } => to,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns a packet that the two seal with a key of theirs.
fn between(kind: PacketKind, from: &Agent, to: &Agent, nonce: [u8; 16]) -> Vec<u8> {
    seal(&PacketKey::of_link(&[0xaa; 32]), &packet(kind, from.route, to.route, nonce))
}

fn probe_over(from: &Agent, to: &Agent, carrier: Carrier, in_use: bool) -> Vec<u8> {
    between(PacketKind::Probe, from, to, marked([0xff; 16], carrier, in_use))
}

fn answer_over(from: &Agent, to: &Agent, carrier: Carrier) -> Vec<u8> {
    between(PacketKind::Answer, from, to, marked([0xff; 16], carrier, false))
}

#[test]
fn an_agent_on_a_carrier_reaches_one_on_udp_and_is_reached() {
    let mut world = World::new();
    let (one, mut other) = (world.agent(1), world.agent(2));
    world.register(&mut other, Duration::ZERO);
    world.permit(&one, &other);
    world.check(&other, &one, Duration::ZERO, Err(DropReason::PeerAway));
    world.register_at(&one, ONE, 1, Duration::ZERO);
    assert_eq!(world.relay.registered(world.start), 2);
    assert_eq!(world.goes(ONE, &quic(other.route), MS), other.address.into());
    assert_eq!(world.goes(other.address, &quic(one.route), MS), ONE.into());
    assert_eq!(world.goes(ONE, &probe(&one, &other), MS), other.address.into());
    assert_eq!(world.handle(OTHER, &quic(one.route), MS), RelayVerdict::Drop(DropReason::UnknownSource));
    assert_eq!(world.handle(OTHER, &quic(GATEWAY), MS), RelayVerdict::Own);
}

#[test]
fn an_answer_comes_back_over_the_carrier_that_was_asked_over() {
    let (mut world, one, other) = World::pair_over_both();
    for asked in Carrier::ALL {
        let expected = match asked {
            Carrier::Udp => one.address.into(),
            Carrier::Tcp => ONE.into(),
        };
        // Whatever the one who answers uses, and whatever the one who asked.
        for used in [Source::from(one.address), ONE.into()] {
            world.goes(used, &quic(other.route), MS);
            for answering in [Source::from(other.address), OTHER.into()] {
                assert_eq!(world.goes(answering, &answer_over(&other, &one, asked), MS), expected);
            }
        }
    }
    world.relay.end_carrier(ONE);
    let back = answer_over(&other, &one, Carrier::Tcp);
    assert_eq!(world.goes(other.address, &back, MS), one.address.into(), "the other is all there is");
}

#[test]
fn packets_follow_the_carrier_that_their_receiver_uses_towards_who_sends_them() {
    let (mut world, one, other) = World::pair_over_both();
    let mut third = world.agent(3);
    world.register(&mut third, MS);
    for (agent, peers) in [(&one, [&other, &third]), (&other, [&one, &third]), (&third, [&one, &other])] {
        world.relay.permit(agent.route, peers.map(|peer| peer.route).into()).unwrap();
    }
    let to_one = quic(one.route);
    assert_eq!(world.goes(other.address, &to_one, MS), ONE.into(), "where it registered last");
    for (shows, expected) in [
        (quic(other.route), true),
        (probe_over(&one, &other, Carrier::Udp, true), true),
        (probe_over(&one, &other, Carrier::Udp, false), false),
        (answer_over(&one, &other, Carrier::Udp), false),
    ] {
        world.goes(ONE, &quic(other.route), MS);
        assert_eq!(world.goes(other.address, &to_one, MS), ONE.into());
        world.goes(one.address, &shows, MS);
        let to = if expected { one.address.into() } else { ONE.into() };
        assert_eq!(world.goes(other.address, &to_one, MS), to);
        assert_eq!(world.goes(other.address, &probe(&other, &one), MS), to, "probes take the same way");
        assert_eq!(world.goes(third.address, &to_one, MS), ONE.into(), "a third sees nothing of it");
    }
}

#[test]
fn what_a_receiver_used_is_forgotten_with_its_link() {
    let (mut world, mut one, other) = World::pair_over_both();
    world.goes(one.address, &quic(other.route), MS);
    assert_eq!(world.goes(other.address, &quic(one.route), MS), one.address.into());
    world.relay.join(one.route, ORGANIZATION, one.key.clone()).unwrap();
    assert_eq!(world.goes(other.address, &quic(one.route), MS), one.address.into(), "it is the same link");
    one.key = PacketKey::of_link(&[0x77; 32]);
    world.relay.join(one.route, ORGANIZATION, one.key.clone()).unwrap();
    assert_eq!(world.goes(other.address, &quic(one.route), MS), ONE.into());
}

#[test]
fn each_place_lapses_for_itself() {
    let (mut world, one, mut other) = World::pair_over_both();
    let late = SECOND * 59;
    world.register(&mut other, late);
    world.register_at(&one, ONE, 2, late);
    world.goes(one.address, &quic(other.route), late);
    let lapsed = REGISTRATION_LASTS + MS;
    for _ in 0..2 {
        assert_eq!(world.goes(other.address, &quic(one.route), lapsed), ONE.into());
        let verdict = world.handle(one.address, &quic(other.route), lapsed);
        assert_eq!(verdict, RelayVerdict::Drop(DropReason::UnknownSource));
        world.relay.forget_lapsed(world.start + lapsed);
    }
    assert!(world.relay.is_proven(ONE, world.start + lapsed));
    assert!(!world.relay.is_proven(OTHER, world.start + lapsed));
    assert!(!world.relay.is_proven(CarrierId(99), world.start + lapsed));
}

#[test]
fn a_carrier_is_one_members_and_a_member_has_one() {
    let (mut world, one, other) = World::pair_over_both();
    let now = world.at(SECOND);
    world.register_at(&one, CarrierId(21), 2, SECOND);
    assert!(!world.relay.is_proven(ONE, now), "it has another");
    world.register_at(&other, CarrierId(21), 2, SECOND);
    assert_eq!(world.relay.place_of(one.route, Carrier::Tcp, now), None);
    assert_eq!(world.udp_of(one.route, SECOND), Some(one.address), "its address stays");
    world.relay.end_carrier(CarrierId(21));
    assert_eq!(world.relay.place_of(other.route, Carrier::Tcp, now), None);
    assert_eq!(world.goes(one.address, &quic(other.route), SECOND), other.address.into());
    // One that was only there, without a link, is gone with it.
    world.register_at(&one, CarrierId(22), 3, SECOND);
    world.relay.forget_lapsed(world.start + REGISTRATION_LASTS);
    world.relay.leave(one.route);
    world.relay.end_carrier(CarrierId(22));
    assert_eq!(world.relay.members.find(one.route), None);
}

#[test]
fn registers_over_two_carriers_do_not_outrun_each_other() {
    let mut world = World::new();
    let one = world.agent(1);
    assert!(world.answer(ONE, &register(&one, 2), MS).is_some());
    assert!(world.answer(one.address, &register(&one, 1), MS).is_some(), "sent before, and here later");
    let verdict = world.handle(ONE, &register(&one, 1), MS);
    assert_eq!(verdict, RelayVerdict::Drop(DropReason::Replayed));
}

#[test]
fn a_challenge_over_a_carrier_is_worth_nothing_elsewhere() {
    let mut world = World::new();
    let one = world.agent(1);
    let challenge = world.answer(ONE, &register(&one, 1), MS).expect("challenged");
    let nonce = one.key.open(&challenge).unwrap().nonce;
    let confirm = seal(&one.key, &packet(PacketKind::Confirm, one.route, GATEWAY, nonce));
    for elsewhere in [Source::from(OTHER), one.address.into()] {
        assert_eq!(world.handle(elsewhere, &confirm, MS), RelayVerdict::Drop(DropReason::Replayed));
    }
    assert!(world.answer(ONE, &confirm, MS).is_some());
}

#[test]
fn a_probe_of_the_gateway_is_answered_in_its_length_over_where_it_came() {
    let (mut world, one, _) = World::pair_over_both();
    for from in [Source::from(one.address), ONE.into(), address(999).into(), CarrierId(99).into()] {
        for length in [PROBE_BYTES_MIN, 1_452, PROBE_BYTES_MAX] {
            let probe = Packet { length, ..packet(PacketKind::Probe, one.route, GATEWAY, [9; 16]) };
            let probe = one.key.seal(&probe, &mut [0; PROBE_BYTES_MAX]).to_vec();
            let answer = world.answer(from, &probe, MS).expect("answered");
            assert_eq!(answer.len(), length);
            assert_eq!(world.relay.take_event(), Some(RelayEvent::Answered { route: one.route }));
            let answer = one.key.open(&answer).expect("sealed by the link's key");
            let expected =
                Packet { length, boot: BOOT, ..packet(PacketKind::Answer, GATEWAY, one.route, [9; 16]) };
            assert_eq!(answer, expected);
        }
    }
    let stranger = PacketKey::of_link(&[0x66; 32]);
    let forged = seal(&stranger, &packet(PacketKind::Probe, one.route, GATEWAY, [9; 16]));
    assert_eq!(world.handle(one.address, &forged, MS), RelayVerdict::Drop(DropReason::Forged));
    world.relay.leave(one.route);
    let late = seal(&one.key, &packet(PacketKind::Probe, one.route, GATEWAY, [9; 16]));
    assert_eq!(world.handle(one.address, &late, MS), RelayVerdict::Drop(DropReason::NoLink));
}

#[test]
fn answers_to_probes_of_the_gateway_are_bounded_and_strangers_use_up_none_of_the_agents() {
    let (mut world, one, _) = World::pair_over_both();
    let probe = seal(&one.key, &packet(PacketKind::Probe, one.route, GATEWAY, [9; 16]));
    let replayed = (0..500).filter(|port| world.answer(address(10_000 + port), &probe, MS).is_some()).count();
    assert_eq!(replayed, RELAY_ANSWERS_PER_SECOND as usize);
    let answered = (0..500).filter(|_| world.answer(ONE, &probe, MS).is_some()).count();
    assert_eq!(answered, RELAY_ANSWERS_PER_SECOND as usize);
    assert!(world.answer(ONE, &probe, SECOND).is_some());
}

/// What a receiver's way to a sender is by the rule, kept the slow way.
#[derive(Debug, Default)]
struct Model {
    registered: std::collections::BTreeMap<(usize, Carrier), u64>,
    used: std::collections::BTreeMap<(usize, usize), Carrier>,
}

impl Model {
    fn way(&self, receiver: usize, sender: usize, asked_over: Option<Carrier>) -> Option<Carrier> {
        let latest = || {
            Carrier::ALL.into_iter().max_by_key(|carrier| self.registered.get(&(receiver, *carrier)).copied())
        };
        let wanted = asked_over.or_else(|| self.used.get(&(receiver, sender)).copied()).or_else(latest)?;
        let is_there = |carrier: &Carrier| self.registered.contains_key(&(receiver, *carrier));
        Some(wanted).filter(is_there).or_else(|| Carrier::ALL.into_iter().find(is_there))
    }
}

proptest! {
    /// Three agents that register, lose carriers, join anew and send in any order: every packet takes the way
    /// that the rule says.
    #[test]
    fn every_packet_takes_the_way_of_the_rule(
        steps in prop::collection::vec((0_u8..7, 0_usize..3, 0_usize..3, any::<bool>(), any::<bool>()), 1..55),
    ) {
        let mut world = World::new();
        let mut agents: Vec<Agent> = (1..=3).map(|number| world.agent(number)).collect();
        let routes: BTreeSet<_> = agents.iter().map(|agent| agent.route).collect();
        for agent in &agents {
            world.relay.permit(agent.route, routes.clone()).unwrap();
        }
        let place = |agent: &Agent, who: usize, carrier| match carrier {
            Carrier::Udp => Source::Udp(agent.address),
            Carrier::Tcp => Source::Carrier(CarrierId(who as u64)),
        };
        let mut model = Model::default();
        // A nonce counts once, and there is one a second; nothing lapses within these.
        for (number, (step, who, whom, is_tcp, is_marked)) in (1_u64..).zip(steps) {
            let after = SECOND * u32::try_from(number).unwrap();
            let carrier = if is_tcp { Carrier::Tcp } else { Carrier::Udp };
            let from = place(&agents[who], who, carrier);
            match step {
                0 | 1 => {
                    world.register_at(&agents[who], from, number, after);
                    model.registered.insert((who, carrier), number);
                }
                2 if is_tcp => {
                    world.relay.end_carrier(CarrierId(who as u64));
                    model.registered.remove(&(who, carrier));
                }
                2 => {
                    agents[who].key = PacketKey::of_link(&[number.to_le_bytes()[0]; 32]);
                    let key = agents[who].key.clone();
                    world.relay.join(agents[who].route, ORGANIZATION, key).unwrap();
                    model.used.retain(|(user, _), _| *user != who);
                }
                _ if who == whom => {}
                _ => {
                    let (one, other) = (&agents[who], &agents[whom]);
                    let (packet, asked_over, shows) = match step {
                        3 => (answer_over(one, other, carrier), Some(carrier), false),
                        4 => (probe_over(one, other, carrier, is_marked), None, is_marked),
                        _ => (quic(other.route), None, true),
                    };
                    let found = match world.handle(from, &packet, after) {
                        RelayVerdict::Forward { to, .. } => Some(to),
                        _ => None,
                    };
                    let is_registered = model.registered.contains_key(&(who, carrier));
                    let way = model.way(whom, who, asked_over).filter(|_| is_registered);
                    prop_assert_eq!(found, way.map(|way| place(other, whom, way)));
                    if shows && found.is_some() {
                        model.used.insert((who, whom), carrier);
                    }
                }
            }
        }
    }
}

#[test]
fn a_member_earns_nothing_over_its_carrier_in_anothers_name() {
    let (mut world, one, other) = World::pair_over_both();
    let third = world.agent(3);
    world.permit(&third, &other);
    world.register_at(&third, CarrierId(13), 1, MS);
    let places = |world: &World| {
        [&one, &other, &third].map(|agent| world.relay.place_of(agent.route, Carrier::Tcp, world.at(MS)))
    };
    let before = places(&world);
    for (kind, nonce) in [(PacketKind::Register, [0xff; 16]), (PacketKind::Confirm, [1; 16])] {
        let forged = seal(&one.key, &packet(kind, other.route, GATEWAY, nonce));
        assert_eq!(world.handle(ONE, &forged, MS), RelayVerdict::Drop(DropReason::Forged));
    }
    let forged = seal(&one.key, &packet(PacketKind::Probe, other.route, GATEWAY, [2; 16]));
    assert_eq!(world.handle(ONE, &forged, MS), RelayVerdict::Drop(DropReason::Forged));
    let in_others_name = probe_over(&other, &third, Carrier::Tcp, true);
    let challenge = world.answer(ONE, &in_others_name, MS).expect("its owner may have moved");
    assert!(one.key.open(&challenge).is_none(), "which is for its owner alone");
    let answer = answer_over(&other, &third, Carrier::Tcp);
    assert_eq!(world.handle(ONE, &answer, MS), RelayVerdict::Drop(DropReason::UnknownSource));
    assert_eq!(world.handle(ONE, &quic(third.route), MS), RelayVerdict::Drop(DropReason::NotPermitted));
    assert_eq!(places(&world), before);
    assert_eq!(world.goes(CarrierId(13), &quic(other.route), MS), OTHER.into());
}
