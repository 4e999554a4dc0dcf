//! Three kinds of path: the owner's order, a patience each, and what a relay must know of the two that it
//! carries.

use std::time::Duration;

use super::super::*;
use super::net::{
    A, A_HOME, B, B_HOME, HALF_TRIP, HALF_TRIP_RELAY, MORE_OVER_TCP, Net, RELAY, TCP, active, drain,
    drain_all, nonces, path, peer,
};
use crate::domain::limits::{
    CLIMB_AFTER, PATH_DOUBT, PATH_SILENCE, PROBE_EVERY, PROBE_SEARCH_MAX, PROBE_STANDBY_EVERY,
};
use crate::protocol::packet::{is_marked_in_use, marked_carrier};

const SECOND: Duration = Duration::from_secs(1);
/// After this long without an answer the path in use has been left, if another answers.
const LEFT: Duration = Duration::from_secs(5);

#[test]
fn an_end_without_udp_is_on_tcp_while_the_other_is_on_the_relay() {
    let mut net = Net::new();
    net.block_udp(A, true);
    net.set_leg(A, Carrier::Tcp, true);
    net.set_leg(B, Carrier::Udp, true);
    net.announce(A, &[B_HOME]);
    net.announce(B, &[A_HOME]);
    net.run_for(SECOND * 60);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Tcp), Some(PathKind::Relay)));
    let trip = HALF_TRIP_RELAY * 2 + MORE_OVER_TCP;
    let events = net.dated_events(A);
    assert_eq!(events, [(trip, active(TCP, PathReason::First))]);
}

#[test]
fn udp_lost_in_use_is_left_for_tcp_and_taken_again_within_35_seconds_of_its_return() {
    for tenths in 0..20 {
        let mut net = three_kinds();
        net.run_for(SECOND / 10 * tenths);
        block_both(&mut net, true);
        let cut = net.elapsed();
        net.run_for(SECOND * 100);
        assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Tcp), Some(PathKind::Tcp)));
        let events = net.dated_events(A);
        let [(left, RouteEvent::Active { path: TCP, why: PathReason::Silent }), ..] = events[..] else {
            panic!("{events:?}")
        };
        assert!(
            left <= cut + PATH_SILENCE + SECOND + HALF_TRIP * 2,
            "left after {:?}",
            left.saturating_sub(cut)
        );
        block_both(&mut net, false);
        net.run_for(SECOND * 35);
        assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Direct), Some(PathKind::Direct)));
    }
}

#[test]
fn two_ends_that_lose_their_udp_at_once_find_each_other_over_tcp() {
    let mut net = three_kinds();
    prefer_at_both(&mut net, &[PathKind::Relay, PathKind::Tcp]);
    net.run_for(SECOND * 20);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Relay), Some(PathKind::Relay)));
    net.events(A);
    // The relay has seen both use UDP, and learns of the loss from nobody but them.
    block_both(&mut net, true);
    net.run_for(PATH_SILENCE + SECOND * 2);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Tcp), Some(PathKind::Tcp)));
}

#[test]
fn two_ends_that_allow_one_carrier_alone_are_handed_packets_over_that_one() {
    for kind in [PathKind::Tcp, PathKind::Relay] {
        let mut net = three_kinds();
        // The relay has seen both search over UDP.
        prefer_at_both(&mut net, &[kind, PathKind::Direct]);
        net.run_for(PROBE_SEARCH_MAX + SECOND);
        assert_eq!((net.kind(A), net.kind(B)), (Some(kind), Some(kind)));
    }
}

#[test]
fn what_an_owner_prefers_is_used_before_what_is_faster() {
    for order in [
        [PathKind::Direct, PathKind::Relay, PathKind::Tcp],
        [PathKind::Direct, PathKind::Tcp, PathKind::Relay],
        [PathKind::Relay, PathKind::Direct, PathKind::Tcp],
        [PathKind::Relay, PathKind::Tcp, PathKind::Direct],
        [PathKind::Tcp, PathKind::Direct, PathKind::Relay],
        [PathKind::Tcp, PathKind::Relay, PathKind::Direct],
    ] {
        let mut net = Net::new();
        prefer_at_both(&mut net, &order);
        net.announce(A, &[B_HOME]);
        net.announce(B, &[A_HOME]);
        net.set_relay(true);
        net.set_tcp(true);
        net.run_for(SECOND * 2);
        // The best takes over, the next one where it falls silent, and so on.
        for (place, kind) in order.into_iter().enumerate() {
            assert_eq!((net.kind(A), net.kind(B)), (Some(kind), Some(kind)), "{order:?} at {place}");
            let quiet = net.events(A).len();
            assert!(quiet > 0 || place > 0);
            cut(&mut net, kind, true);
            net.run_for(LEFT);
        }
        // While all are silent the last one stays.
        net.events(A);
        net.run_for(SECOND * 600);
        assert_eq!((net.kind(A), changes(&mut net)), (Some(order[2]), vec![]), "{order:?}");
        for kind in order {
            cut(&mut net, kind, false);
        }
        net.run_for(CLIMB_AFTER + PROBE_SEARCH_MAX + SECOND);
        assert_eq!((net.kind(A), net.kind(B)), (Some(order[0]), Some(order[0])), "{order:?}");
    }
}

#[test]
fn a_new_order_moves_packets_once_the_path_it_prefers_has_proven_itself() {
    let mut net = three_kinds();
    net.run_for(SECOND * 7);
    net.events(A);
    let said = net.elapsed();
    net.prefer(A, "tcp,relay,direct".parse().unwrap());
    net.run_for(SECOND);
    let trip = HALF_TRIP_RELAY * 2 + MORE_OVER_TCP;
    let events = net.dated_events(A);
    // The relay has never failed here either: it takes over first, for it answers sooner.
    let Some((at, RouteEvent::Active { path: TCP, why: PathReason::Better })) = events.last() else {
        panic!("{events:?}")
    };
    assert!(*at <= said + (trip + MORE_OVER_TCP) * 2, "{events:?}");
    assert!(!events.iter().any(|(_, event)| *event == RouteEvent::Inactive));
}

#[test]
fn a_preference_without_the_path_in_use_leaves_it_for_the_best_that_is_allowed() {
    let mut net = three_kinds();
    // Long enough that both others have answered as standby, not lately.
    net.run_for(PROBE_STANDBY_EVERY + SECOND * 7);
    net.events(A);
    let said = net.elapsed();
    net.prefer(A, "tcp,relay".parse().unwrap());
    net.run_for(PROBE_SEARCH_MAX + SECOND);
    let events = net.dated_events(A);
    let Some((at, RouteEvent::Active { path: RELAY, why: PathReason::Forced })) = events.first() else {
        panic!("whatever is allowed and answers first serves: {events:?}")
    };
    assert!(*at <= said + (HALF_TRIP_RELAY + MORE_OVER_TCP) * 2);
    assert_eq!(net.peer(A).active(), Some(TCP));
}

#[test]
fn each_kind_has_a_patience_of_its_own() {
    let mut net = three_kinds();
    // Direct has fallen three times, and is gone for good.
    for _ in 0..3 {
        net.cut_direct(true);
        net.run_for(LEFT);
        net.cut_direct(false);
        while net.kind(A) != Some(PathKind::Direct) || net.kind(B) != Some(PathKind::Direct) {
            net.run_for(SECOND);
            assert!(net.elapsed() < SECOND * 400);
        }
    }
    net.cut_direct(true);
    net.run_for(LEFT);
    cut(&mut net, PathKind::Relay, true);
    net.run_for(LEFT);
    assert_eq!(net.kind(A), Some(PathKind::Tcp));
    net.events(A);
    cut(&mut net, PathKind::Relay, false);
    let lifted = net.elapsed();
    net.run_for(CLIMB_AFTER + PROBE_SEARCH_MAX + SECOND);
    let [(climbed, RouteEvent::Active { path: RELAY, why: PathReason::Better })] = net.dated_events(A)[..]
    else {
        panic!("the relay has fallen once")
    };
    assert!(
        (CLIMB_AFTER..=CLIMB_AFTER + PROBE_SEARCH_MAX + SECOND).contains(&(climbed.saturating_sub(lifted)))
    );
}

#[test]
fn a_path_that_comes_and_goes_is_used_ever_more_rarely_whatever_its_kind() {
    for kind in PathKind::ALL {
        let mut order = PathKind::ALL;
        order.sort_by_key(|other| *other != kind);
        let mut net = three_kinds();
        prefer_at_both(&mut net, &order);
        net.run_for(SECOND * 2);
        net.events(A);
        for _ in 0..72 {
            cut(&mut net, kind, true);
            net.run_for(SECOND * 10);
            cut(&mut net, kind, false);
            net.run_for(SECOND * 40);
        }
        let climbs = net.events(A).into_iter();
        let climbs =
            climbs.filter(|event| matches!(event, RouteEvent::Active { why: PathReason::Better, .. }));
        // It answers for 40 s at most: enough after the first fall, too little after the second.
        assert_eq!(climbs.count(), 1, "{kind}");
    }
}

#[test]
fn a_probe_names_the_carrier_for_its_answer_and_whether_its_path_is_in_use() {
    for (kind, in_use) in [(PathKind::Direct, path(B_HOME)), (PathKind::Relay, RELAY), (PathKind::Tcp, TCP)] {
        let mut net = three_kinds();
        let mut order = PathKind::ALL;
        order.sort_by_key(|other| *other != kind);
        prefer_at_both(&mut net, &order);
        net.run_for(SECOND * 2);
        net.sent.clear();
        net.run_for(PROBE_STANDBY_EVERY * 2);
        let mut marks: Vec<_> = net
            .sent_by(A)
            .filter(|sent| sent.is_probe)
            .map(|sent| {
                let nonce: [u8; 16] = sent.packet[33..49].try_into().unwrap();
                assert_eq!(marked_carrier(&nonce), sent.to.carrier());
                (sent.to, is_marked_in_use(&nonce))
            })
            .collect();
        marks.sort_unstable();
        marks.dedup();
        let expected = [path(B_HOME), RELAY, TCP].map(|path| (path, path == in_use));
        assert_eq!(marks, expected, "{kind}");
    }
}

#[test]
fn an_answer_over_the_other_carrier_proves_neither() {
    let now = Instant::now();
    let (mut a, mut b) = (peer(A), peer(B));
    let relay = TCP.relay().unwrap();
    a.set_relays(&[(relay, Carrier::Tcp)], now);
    a.handle_timeout(now, &mut nonces(1));
    let asked = drain_all(&mut a);
    assert!(asked.len() == 1 && asked[0].to == TCP);
    let answers: Vec<_> =
        drain(&mut b, asked, RELAY, now).into_iter().filter(|sent| sent.packet[0] == 2).collect();
    let asked_there = drain(&mut a, answers.clone(), RELAY, now);
    assert_eq!(a.active(), None);
    assert!(asked_there.iter().all(|sent| sent.to == RELAY));
    // The genuine one has kept its worth.
    drain(&mut a, answers, TCP, now);
    assert_eq!(a.active(), Some(TCP));
}

#[test]
fn a_carrier_that_fails_says_nothing_of_the_other_to_the_same_relay() {
    for (fails, kind) in [(PathKind::Tcp, PathKind::Relay), (PathKind::Relay, PathKind::Tcp)] {
        let mut net = three_kinds();
        prefer_at_both(&mut net, &[kind, fails]);
        net.run_for(SECOND * 2);
        assert_eq!(net.kind(A), Some(kind));
        net.events(A);
        cut(&mut net, fails, true);
        net.run_for(SECOND * 120);
        assert_eq!((net.kind(A), changes(&mut net)), (Some(kind), vec![]));
        assert!(net.silence(A) < SECOND * 2);
    }
}

#[test]
fn a_carrier_that_is_there_again_is_asked_at_once() {
    let mut net = three_kinds();
    net.set_tcp(false);
    net.run_for(SECOND * 5);
    net.sent.clear();
    net.set_tcp(true);
    net.run_for(Duration::ZERO);
    assert!(net.sent_by(A).any(|sent| sent.is_probe && sent.to == TCP));
    // And told again it is nothing new.
    net.run_for(SECOND);
    net.sent.clear();
    net.set_tcp(true);
    net.run_for(Duration::ZERO);
    assert!(net.sent_by(A).all(|sent| sent.to != TCP));
}

#[test]
fn a_dead_carrier_is_told_by_the_probe_it_keeps_waiting_and_another_begins_anew() {
    let mut net = three_kinds();
    prefer_at_both(&mut net, &[PathKind::Tcp, PathKind::Direct]);
    net.run_for(SECOND * 5);
    assert_eq!(net.kind(A), Some(PathKind::Tcp));
    net.cut_tcp(true);
    net.run_for(SECOND * 8);
    let since = net.peer(A).unanswered_since(TCP).expect("one waits");
    assert!((SECOND * 6..SECOND * 8).contains(&(net.now - since)), "{:?}", net.now - since);
    assert_eq!(net.peer(A).unanswered_since(path(B_HOME)).filter(|since| net.now - *since > SECOND), None);

    net.set_tcp(false);
    net.set_tcp(true);
    assert_eq!(net.peer(A).unanswered_since(TCP), None);
    net.run_for(SECOND * 2);
    let since = net.peer(A).unanswered_since(TCP).expect("the other one is dead too");
    assert!(net.now - since <= SECOND * 2);
}

#[test]
fn replays_over_one_carrier_use_up_nothing_of_the_other() {
    let mut net = three_kinds();
    net.run_for(SECOND * 10);
    let replayed = net.sent_by(B).find(|sent| sent.is_probe).unwrap().packet.clone();
    for _ in 0..200 {
        net.inject(A, RELAY, &replayed);
    }
    net.run_for(Duration::ZERO);
    net.sent.clear();
    net.inject(A, TCP, &replayed);
    net.run_for(Duration::ZERO);
    assert!(net.sent_by(A).any(|sent| sent.to == TCP && !sent.is_probe));
}

#[test]
fn a_route_is_in_doubt_while_nothing_it_uses_answers_or_may_stay() {
    let mut net = Net::new();
    let in_doubt = |net: &Net| net.peer(A).is_in_doubt(net.now);
    assert!(in_doubt(&net), "there is no path yet");
    net.announce(A, &[B_HOME]);
    net.announce(B, &[A_HOME]);
    net.run_for(SECOND * 3);
    assert!(!in_doubt(&net));
    net.cut_direct(true);
    net.run_for(PROBE_EVERY + PATH_DOUBT + HALF_TRIP * 2);
    assert!(in_doubt(&net));
    net.cut_direct(false);
    net.run_for(SECOND);
    assert!(!in_doubt(&net));
    net.allow_only(A, PathKind::Tcp);
    assert!(in_doubt(&net), "its path is on its way out");
    net.run_for(PATH_SILENCE);
    assert!(in_doubt(&net), "it has none");
}

#[test]
fn what_is_wrong_with_each_better_path_is_told() {
    let mut net = Net::new();
    net.block_udp(A, true);
    let why_not = |net: &Net| net.peer(A).why_not(net.now).collect::<Vec<_>>();
    let nothing = [
        (PathKind::Direct, WhyNot::NoAddress),
        (PathKind::Relay, WhyNot::NotRegistered),
        (PathKind::Tcp, WhyNot::NoCarrier),
    ];
    assert_eq!(why_not(&net), nothing);

    net.announce(A, &[B_HOME]);
    net.announce(B, &[A_HOME]);
    net.set_tcp(true);
    net.set_leg(B, Carrier::Udp, true);
    net.run_for(Duration::from_millis(1));
    assert_eq!(why_not(&net)[0], (PathKind::Direct, WhyNot::Asked));
    net.run_for(SECOND * 20);
    let [(PathKind::Direct, WhyNot::Silent { since }), (PathKind::Relay, WhyNot::NotRegistered)] =
        why_not(&net)[..]
    else {
        panic!("{:?}", why_not(&net))
    };
    assert_eq!((net.kind(A), net.now - since), (Some(PathKind::Tcp), net.elapsed()));

    // What was never left in silence proves itself in a moment; what was, in thirty seconds.
    let mut net = three_kinds();
    net.cut_direct(true);
    net.run_for(LEFT);
    net.cut_direct(false);
    net.run_for(PROBE_SEARCH_MAX + SECOND);
    let [(PathKind::Direct, WhyNot::Proving { until })] = why_not(&net)[..] else {
        panic!("{:?}", why_not(&net))
    };
    let left = until - net.now;
    net.run_for(left + HALF_TRIP * 2 + SECOND);
    assert_eq!((net.kind(A), why_not(&net)), (Some(PathKind::Direct), vec![]));

    // A kind that is not allowed is told where most owners would want it more than the one in use.
    net.allow_only(A, PathKind::Relay);
    net.run_for(SECOND * 5);
    assert_eq!(why_not(&net), [(PathKind::Direct, WhyNot::NotAllowed)]);
    net.prefer(A, "relay,direct".parse().unwrap());
    net.run_for(SECOND * 5);
    assert_eq!((net.kind(A), why_not(&net)), (Some(PathKind::Relay), vec![]));
}

#[test]
fn a_relay_that_the_rules_do_not_name_is_neither_probed_nor_answered() {
    let mut net = three_kinds();
    net.forbid_relay(A, true);
    net.run_for(SECOND);
    net.sent.clear();
    net.run_for(SECOND * 60);
    assert!(net.sent_by(B).any(|sent| sent.to.relay().is_some()));
    assert!(net.sent_by(A).all(|sent| sent.to == path(B_HOME)));
    assert_eq!((net.kind(A), changes(&mut net)), (Some(PathKind::Direct), vec![]));
}

#[test]
fn a_relay_in_use_that_the_rules_name_no_more_is_left_until_they_name_it() {
    let mut net = three_kinds();
    net.cut_direct(true);
    net.run_for(LEFT + SECOND);
    assert_eq!(net.kind(A), Some(PathKind::Relay));
    changes(&mut net);
    net.forbid_relay(A, true);
    net.run_for(SECOND * 10);
    assert_eq!((net.kind(A), changes(&mut net)), (None, vec![RouteEvent::Inactive]));
    let why_not: Vec<_> = net.peer(A).why_not(net.now).map(|(_, why)| why.as_str()).collect();
    assert_eq!(why_not, ["silent", "other-relay", "other-relay"]);
    net.forbid_relay(A, false);
    net.run_for(PROBE_SEARCH_MAX + SECOND);
    assert!(net.kind(A).is_some_and(|kind| kind != PathKind::Direct), "{:?}", net.kind(A));
}

#[test]
fn a_path_that_carries_only_short_packets_is_told_apart_from_a_silent_one() {
    let mut net = Net::new();
    net.direct_mtu = 1_300;
    net.peers.iter_mut().for_each(|peer| peer.set_mtu(1_452));
    net.set_relay(true);
    net.run_for(SECOND);
    net.announce(A, &[B_HOME]);
    net.announce(B, &[A_HOME]);
    net.run_for(SECOND * 10);
    for _ in 0..40 {
        net.run_for(SECOND);
        let told: Vec<_> = net.peer(A).why_not(net.now).collect();
        assert_eq!(told, [(PathKind::Direct, WhyNot::TooNarrow { bytes: 1_452 })]);
    }
    net.cut_direct(true);
    net.run_for(SECOND * 15);
    assert!(matches!(net.peer(A).why_not(net.now).next(), Some((PathKind::Direct, WhyNot::Silent { .. }))));
}

/// Returns a net in which both ends are on direct, with the relay over both carriers behind it.
fn three_kinds() -> Net {
    let mut net = Net::relayed();
    net.set_tcp(true);
    net.run_for(SECOND);
    assert_eq!((net.kind(A), net.events(A)), (Some(PathKind::Direct), vec![]));
    net.events(B);
    net
}

/// Returns what A said of the path in use.
fn changes(net: &mut Net) -> Vec<RouteEvent> {
    let mut said = net.events(A);
    said.retain(|event| !matches!(event, RouteEvent::Validated(_) | RouteEvent::Lapsed(_)));
    said
}

fn prefer_at_both(net: &mut Net, kinds: &[PathKind]) {
    for which in [A, B] {
        net.prefer(which, PathPreference::new(kinds).unwrap());
    }
}

/// Cuts a kind of path at both ends, or none of it.
fn cut(net: &mut Net, kind: PathKind, cut: bool) {
    match kind {
        PathKind::Direct => net.cut_direct(cut),
        PathKind::Relay => net.udp_leg_cut = [cut; 2],
        PathKind::Tcp => net.cut_tcp(cut),
    }
}

fn block_both(net: &mut Net, cut: bool) {
    net.block_udp(A, cut);
    net.block_udp(B, cut);
}
