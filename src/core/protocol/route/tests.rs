use proptest::prelude::*;

use std::time::Duration;

use super::*;
use crate::domain::limits::{
    PATH_DOUBT, PATH_SILENCE, PEER_ADDRESSES_MAX, PROBE_ANSWER_WITHIN, PROBE_SEARCH_MAX,
    PROBES_OUTSTANDING_MAX, SOURCE_LAPSES_AFTER,
};
use crate::domain::secret::Secret;

mod agreement;
mod choice;
mod kinds;
mod net;

use self::net::{
    A, A_HOME, B, B_HOME, B_OTHER, HALF_TRIP, MALLORY, NOWHERE, Net, active, at, drain, drain_all, nonces,
    path, peer, shared_key,
};

#[test]
fn two_peers_that_know_each_others_address_validate_it_in_one_round_trip() {
    let mut net = Net::new();
    net.announce(A, &[B_HOME]);
    net.run_for(HALF_TRIP * 2);
    assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    assert_eq!(net.events(A), [RouteEvent::Validated(at(B_HOME)), active(path(B_HOME), PathReason::First)]);
    // The probed side had its own answer before the prober could have sent anything more.
    net.run_for(HALF_TRIP);
    assert_eq!(net.events(B), [RouteEvent::Validated(at(A_HOME)), active(path(A_HOME), PathReason::First)]);
}

#[test]
fn what_the_prober_sends_on_its_answer_comes_from_a_validated_source() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let first = drain(&mut b, drain_all(&mut a), path(A_HOME), now);
    // The probe back goes first, so its answer, and then QUIC, follow what the answer lets happen.
    assert_eq!(first.len(), 2);
    let second = drain(&mut a, first, path(B_HOME), now);
    assert_eq!(a.active(), Some(path(B_HOME)));
    drain(&mut b, second, path(A_HOME), now);
    assert_eq!(b.active(), Some(path(A_HOME)));
}

#[test]
fn candidates_are_searched_at_times_that_double_to_two_seconds() {
    let mut net = Net::new();
    net.announce(A, &[NOWHERE]);
    net.run_for(Duration::from_secs(10));
    let times: Vec<_> = net.sent.iter().map(|sent| sent.after.as_millis()).collect();
    assert_eq!(times, [0, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 4_560, 6_560, 8_560]);
    net.run_for(Duration::from_hours(1));
    assert_eq!(net.sent.len(), 13 + 1_800, "it never gives up and never floods");
}

#[test]
fn only_the_active_path_is_probed_every_second() {
    let mut net = Net::new();
    net.announce(A, &[NOWHERE, B_HOME]);
    net.run_for(Duration::from_secs(1));
    net.sent.clear();
    net.run_for(Duration::from_secs(10));
    let probes: Vec<_> = net.sent_by(A).filter(|sent| sent.is_probe).collect();
    assert!((9..=11).contains(&probes.len()), "{} probes", probes.len());
    assert!(probes.iter().all(|sent| sent.to == path(B_HOME)));
    assert!(net.silence(A) <= PROBE_EVERY + HALF_TRIP * 2);
}

#[test]
fn a_lost_probe_is_repeated_before_the_path_counts_as_silent() {
    let mut net = Net::connected();
    net.cut_direct(true);
    net.run_for(Duration::from_secs(2));
    net.cut_direct(false);
    net.run_for(Duration::from_millis(300));
    assert!(net.silence(A) < Duration::from_millis(300));
    assert_eq!(net.events(A), [RouteEvent::Resumed]);
}

#[test]
fn a_peer_that_answers_at_another_address_is_followed_as_soon_as_the_one_in_use_keeps_a_probe_waiting() {
    let mut net = Net::connected();
    net.announce(A, &[B_HOME, B_OTHER]);
    net.run_for(Duration::from_secs(1));
    net.dead.push(B_HOME);
    // The next probe, the second it waits, and the search's first round trip.
    net.run_for(PROBE_EVERY + PATH_DOUBT + HALF_TRIP * 3);
    assert_eq!(net.peer(A).active(), Some(path(B_OTHER)));
}

#[test]
fn after_three_seconds_of_silence_a_search_takes_the_candidate_that_answers() {
    let mut net = Net::connected();
    net.announce(A, &[B_HOME, B_OTHER]);
    net.run_for(Duration::from_secs(1));
    net.dead.push(B_HOME);
    net.run_for(PATH_SILENCE + Duration::from_secs(1) + HALF_TRIP * 2);
    assert_eq!(net.peer(A).active(), Some(path(B_OTHER)));
    assert_eq!(net.events(A), [RouteEvent::Validated(at(B_OTHER)), active(path(B_OTHER), PathReason::Moved)]);
}

#[test]
fn a_silent_path_stays_active_until_it_recovers_if_nothing_better_answers() {
    let mut net = Net::connected();
    net.cut_direct(true);
    net.run_for(Duration::from_mins(10));
    assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    assert!(net.silence(A) > Duration::from_secs(590));
    net.cut_direct(false);
    net.run_for(PROBE_SEARCH_MAX + HALF_TRIP * 2);
    assert!(net.silence(A) < PROBE_SEARCH_MAX);
}

#[test]
fn a_peer_that_moves_is_found_by_its_own_probes() {
    let mut net = Net::connected();
    net.homes[B] = B_OTHER;
    net.dead.push(B_HOME);
    net.run_for(PATH_SILENCE + Duration::from_secs(2));
    assert_eq!(net.peer(A).active(), Some(path(B_OTHER)));
}

#[test]
fn a_restarted_peer_is_one_event_on_a_path_that_goes_on() {
    let mut net = Net::connected();
    net.peers[B] = peer(B);
    net.peers[B].boot = BootId::from_bytes([77; 8]);
    net.run_for(Duration::from_secs(5));
    let expected = [
        RouteEvent::Lapsed(at(B_HOME)),
        RouteEvent::BootChanged(BootId::from_bytes([77; 8])),
        RouteEvent::Validated(at(B_HOME)),
        active(path(B_HOME), PathReason::First),
    ];
    assert_eq!(net.events(A), expected);
    assert_eq!(net.peer(A).peer_boot(), Some(BootId::from_bytes([77; 8])));
    assert_eq!(net.peer(B).active(), Some(path(A_HOME)));
}

#[test]
fn a_replayed_probe_of_an_earlier_run_neither_cuts_nor_validates_anything() {
    let mut net = Net::connected();
    let mut earlier = peer(B);
    earlier.boot = BootId::from_bytes([1; 8]);
    earlier.probe(path(A_HOME), 0, net.now, &mut nonces(5));
    let replayed = earlier.poll_transmit().unwrap().packet;
    for _ in 0..5 {
        net.inject(A, path(MALLORY), &replayed);
    }
    net.run_for(Duration::from_secs(3));
    assert_eq!(net.events(A), []);
    assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    assert!(!net.peer(A).validated().any(|address| address == at(MALLORY)));
}

#[test]
fn a_replayed_or_late_answer_proves_nothing() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let answers = drain(&mut b, drain_all(&mut a), path(A_HOME), now);
    let late = now + PROBE_ANSWER_WITHIN + Duration::from_millis(1);
    drain(&mut a, answers.clone(), path(B_HOME), late);
    assert_eq!(a.active(), None, "a late answer was believed");
    drain(&mut a, answers, path(B_HOME), now);
    assert_eq!(a.active(), None, "a nonce counted twice");
}

#[test]
fn an_answer_from_elsewhere_validates_only_after_that_place_was_asked() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let answers = drain(&mut b, drain_all(&mut a), path(A_HOME), now);
    let asked = drain(&mut a, answers, path(MALLORY), now);
    assert_eq!(a.validated().count(), 0);
    assert!(asked.iter().all(|sent| sent.to == path(MALLORY)));
    let answers = drain(&mut b, asked, path(A_HOME), now);
    drain(&mut a, answers, path(MALLORY), now);
    assert_eq!(a.active(), Some(path(MALLORY)));
}

#[test]
fn packets_with_another_key_route_or_a_reflected_probe_get_silence() {
    let now = Instant::now();
    let mut a = peer(A);
    let mut stranger = peer(B);
    stranger.set_keys(vec![PacketKey::of_connection(&Secret::from_bytes([8; 32]))]);
    let mut other_server = peer(B);
    other_server.own = RouteId::from_bytes([9; 8]);
    let mut misdirected = peer(B);
    misdirected.peer = RouteId::from_bytes([9; 8]);
    for (what, prober) in
        [("key", &mut stranger), ("source", &mut other_server), ("destination", &mut misdirected)]
    {
        prober.probe(path(A_HOME), 0, now, &mut nonces(1));
        assert_eq!(drain(&mut a, drain_all(prober), path(B_HOME), now), [], "another {what} was answered");
    }
    a.set_candidates(&[at(B_HOME)], now);
    a.handle_timeout(now, &mut nonces(1));
    let own = drain_all(&mut a);
    assert_eq!(drain(&mut a, own, path(B_HOME), now), [], "our own probe came back");
    assert_eq!(a.active(), None);
}

#[test]
fn a_probe_one_over_the_rate_is_not_answered_until_one_more_is_due() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    let mut replies = |millis: u64| {
        let now = now + Duration::from_millis(millis);
        b.probe(path(A_HOME), 0, now, &mut nonces(millis));
        let probe = drain_all(&mut b);
        drain(&mut a, probe, path(MALLORY), now).len()
    };
    for _ in 0..PROBE_ANSWERS_PER_SECOND {
        assert_eq!(replies(0), 2);
    }
    let each = 1_000 / u64::from(PROBE_ANSWERS_PER_SECOND);
    assert_eq!(replies(0), 0);
    assert_eq!(replies(each - 1), 0);
    assert_eq!([replies(each), replies(each)], [2, 0]);
    for _ in 0..PROBE_ANSWERS_PER_SECOND {
        assert_eq!(replies(each + 1_000), 2);
    }
    assert_eq!(replies(each + 1_000), 0);
}

#[test]
fn strangers_cannot_use_up_the_answers_of_the_path_in_use() {
    let mut net = Net::connected();
    net.run_for(Duration::from_millis(1));
    let mut twin = peer(B);
    for port in 0..200 {
        twin.probe(path(A_HOME), 0, net.now, &mut nonces(port));
        let probe = twin.poll_transmit().unwrap().packet;
        net.inject(A, path(MALLORY + u16::try_from(port).unwrap()), &probe);
    }
    net.peers[B].probe(path(A_HOME), 0, net.now, &mut nonces(9_999));
    net.sent.clear();
    net.run_for(HALF_TRIP * 2);
    assert!(net.sent_by(A).any(|sent| sent.to == path(B_HOME) && !sent.is_probe));
}

#[test]
fn a_peer_restarted_elsewhere_is_answered_however_often_its_earlier_run_is_replayed() {
    let mut net = Net::connected();
    net.run_for(Duration::from_millis(1));
    let mut over = peer(B);
    over.boot = BootId::from_bytes([1; 8]);
    let mut twin = peer(B);
    let mut moved = peer(B);
    moved.boot = BootId::from_bytes([77; 8]);
    let mut a = std::mem::replace(&mut net.peers[A], peer(A));
    a.over.push_back(over.boot);
    drain_all(&mut a);
    for port in 0..200 {
        for replayed in [&mut over, &mut twin] {
            replayed.probe(path(A_HOME), 0, net.now, &mut nonces(port));
            let probe = drain_all(replayed);
            drain(&mut a, probe, path(MALLORY + u16::try_from(port).unwrap()), net.now);
        }
    }
    moved.probe(path(A_HOME), 0, net.now, &mut nonces(9_999));
    let probe = drain_all(&mut moved);
    assert_eq!(drain(&mut a, probe, path(B_OTHER), net.now).len(), 2);
}

#[test]
fn packets_of_a_bounded_number_of_earlier_runs_get_silence() {
    let (now, mut a) = (Instant::now(), peer(A));
    let run = |number: usize| BootId::from_bytes((number as u64).to_be_bytes());
    for number in 0..RUNS_OVER_MAX * 2 {
        a.believe_boot(run(number), now);
    }
    assert_eq!(a.over.len(), RUNS_OVER_MAX);
    let mut b = peer(B);
    for number in RUNS_OVER_MAX..RUNS_OVER_MAX * 2 - 1 {
        b.boot = run(number);
        b.probe(path(A_HOME), 0, now, &mut nonces(1));
        let probe = drain_all(&mut b);
        assert_eq!(drain(&mut a, probe, path(B_HOME), now), [], "run {number}");
    }
}

#[test]
fn all_that_a_route_remembers_of_its_peer_is_bounded() {
    let now = Instant::now();
    let mut a = peer(A);
    let many: Vec<_> = (1..=100).map(at).collect();
    a.set_candidates(&many, now);
    assert_eq!(a.probes.iter().count(), PEER_ADDRESSES_MAX);
    for number in 0..=u64::try_from(PROBES_OUTSTANDING_MAX).unwrap() {
        a.probe(path(1), 0, now, &mut nonces(number));
    }
    assert_eq!(a.outstanding.len(), PROBES_OUTSTANDING_MAX);
    drain_all(&mut a);
    for port in 200..300 {
        a.validate(path(port), short_proof(now), now + Duration::from_millis(port.into()));
        a.set_candidates(&many, now);
    }
    // The active one is in use and does not count.
    assert_eq!(a.probes.iter().count(), 2 * PEER_ADDRESSES_MAX + 1);
    assert_eq!(a.active(), Some(path(200)));
    assert!(a.validated().any(|address| address == at(299)));
    assert!(!a.validated().any(|address| address == at(201)));
}

#[test]
fn a_source_that_answers_nothing_for_a_minute_lapses_unless_it_is_in_use() {
    let now = Instant::now();
    let mut a = peer(A);
    a.validate(path(B_HOME), short_proof(now), now);
    a.validate(path(B_OTHER), short_proof(now), now);
    while a.poll_event().is_some() {}
    let later = now + SOURCE_LAPSES_AFTER;
    a.handle_timeout(later.checked_sub(Duration::from_millis(1)).unwrap(), &mut nonces(1));
    assert_eq!(a.poll_event(), None);
    a.handle_timeout(later, &mut nonces(1));
    assert_eq!(a.poll_event(), Some(RouteEvent::Lapsed(at(B_OTHER))));
    assert_eq!(a.validated().collect::<Vec<_>>(), [at(B_HOME)]);
}

#[test]
fn without_a_key_the_route_neither_sends_nor_asks_for_a_timer() {
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
    let unknown = PacketKey::of_connection(&Secret::from_bytes([8; 32]));
    net.peers[A].set_keys(vec![unknown.clone(), shared_key()]);
    net.announce(A, &[B_HOME]);
    net.run_for(Duration::from_millis(100));
    assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    net.sent.clear();
    net.run_for(Duration::from_secs(5));
    assert!(net.sent_by(A).all(|sent| sent.key == shared_key().id()), "it left the key that works");
}

#[test]
fn an_announcement_that_drops_the_address_in_use_leaves_it_in_use() {
    let mut net = Net::connected();
    net.announce(A, &[]);
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    assert!(net.silence(A) < Duration::from_secs(2));
}

#[test]
fn on_a_lossy_wire_the_path_holds_whatever_the_seed() {
    for seed in 0..40 {
        let mut net = Net::connected();
        net.loss_percent = 20;
        net.random = seed;
        net.run_for(Duration::from_mins(2));
        assert!(net.silence(A) < PATH_SILENCE, "seed {seed}");
        assert_eq!(net.peer(B).active(), Some(path(A_HOME)), "seed {seed}");
        assert!(net.sent.len() < 4 * 2 * 120 * 2, "seed {seed}: {} packets", net.sent.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_nor_draw_an_answer(wire in prop::collection::vec(any::<u8>(), 0..200)) {
        let now = Instant::now();
        let mut a = peer(A);
        a.handle_packet(path(MALLORY), &wire, now, &mut nonces(1));
        prop_assert_eq!((a.poll_transmit(), a.poll_event()), (None, None));
    }

    #[test]
    fn a_wire_that_repeats_alters_or_misplaces_packets_never_validates_an_intruder(
        seed in any::<u64>(),
        mischief in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..3), 1..40),
    ) {
        let mut net = Net::connected();
        net.random = seed;
        net.run_for(Duration::from_secs(3));
        for (which, bit, kind) in mischief {
            let mut packet = net.sent[which.index(net.sent.len())].packet.clone();
            if kind == 0 {
                let bit = bit.index(packet.len() * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            let from = path(if kind == 1 { B_HOME } else { MALLORY });
            net.inject(A, from, &packet);
            net.run_for(Duration::from_millis(70));
        }
        prop_assert_eq!(net.events(A), []);
        prop_assert_eq!(net.peer(A).active(), Some(path(B_HOME)));
    }
}

fn short_proof(now: Instant) -> Proof {
    Proof { sent: now, length: PROBE_BYTES_MIN }
}

#[test]
fn a_packet_that_is_not_taken_is_told_apart_for_the_own_log() {
    let now = Instant::now();
    let mut a = peer(A);
    let mut told = |prober: &mut PeerRoute, from: Path| {
        prober.probe(path(A_HOME), 0, now, &mut nonces(1));
        let probe = drain_all(prober).remove(0);
        a.handle_packet(from, &probe.packet, now, &mut nonces(2))
    };
    let mut stranger = peer(B);
    stranger.set_keys(vec![PacketKey::of_connection(&Secret::from_bytes([8; 32]))]);
    assert_eq!(told(&mut stranger, path(B_HOME)), PacketVerdict::WrongKey);
    let mut misdirected = peer(B);
    misdirected.peer = RouteId::from_bytes([9; 8]);
    assert_eq!(told(&mut misdirected, path(B_HOME)), PacketVerdict::Misplaced);
    assert_eq!(told(&mut peer(B), path(B_HOME)), PacketVerdict::Taken);
}
