//! The promises of the switch between direct and relay, to the millisecond.

use std::time::Duration;

use super::super::*;
use super::net::{
    A, A_HOME, B, B_HOME, HALF_TRIP, HALF_TRIP_RELAY, Net, RELAY, active, at, drain_all, nonces, path, peer,
};
use crate::domain::limits::{
    CLIMB_AFTER, CLIMB_AFTER_MAX, CLIMB_LASTED, PATH_DOUBT, PATH_SILENCE, PEER_ADDRESSES_MAX,
    PROBE_SEARCH_MAX, PROBE_STANDBY_EVERY, PROBES_OUTSTANDING_MAX,
};

const DIRECT: Path =
    Path::Direct(SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(192, 0, 2, 1), B_HOME)));
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn direct_takes_over_from_the_first_path_that_answered_once_it_carries_what_is_sent() {
    let mut net = Net::new();
    net.relay_trip = HALF_TRIP / 2;
    net.announce(A, &[B_HOME]);
    net.set_relay(true);
    net.run_for(SECOND);
    let expected = [
        (HALF_TRIP, active(RELAY, PathReason::First)),
        (HALF_TRIP * 2, RouteEvent::Validated(at(B_HOME))),
        (HALF_TRIP * 4, active(DIRECT, PathReason::Better)),
    ];
    assert_eq!(net.dated_events(A), expected);
    let padded: Vec<_> = net.sent_by(A).filter(|sent| sent.is_probe && sent.packet.len() == 1_200).collect();
    assert!(padded.len() == 1 && padded[0].to == DIRECT, "{} padded probes", padded.len());
}

#[test]
fn a_silent_path_is_left_exactly_three_seconds_after_its_last_answer() {
    for wait in 0..20 {
        let mut net = Net::relayed();
        net.run_for(Duration::from_millis(wait * 73));
        let heard = [A, B].map(|which| net.elapsed().saturating_sub(net.silence(which)));
        net.cut_direct(true);
        net.run_for(PATH_SILENCE + HALF_TRIP * 2);
        for (which, heard) in heard.into_iter().enumerate() {
            // An answer may have been under way at the cut.
            let events = net.dated_events(which);
            let [(left, RouteEvent::Active { path: RELAY, why: PathReason::Silent })] = events[..] else {
                panic!("{events:?}");
            };
            let given_up = heard + PATH_SILENCE;
            assert!(
                left == given_up || left == given_up + SECOND + HALF_TRIP * 2,
                "{left:?}, not {given_up:?}"
            );
        }
    }
}

#[test]
fn a_silent_path_stays_until_the_first_that_answers_is_taken() {
    let mut net = Net::relayed();
    net.cut_all(true);
    net.run_for(SECOND * 20);
    assert_eq!((net.peer(A).active(), net.events(A)), (Some(DIRECT), vec![]));
    net.cut_relay(false);
    net.sent.clear();
    let lifted = net.elapsed();
    net.run_for(PROBE_SEARCH_MAX + HALF_TRIP_RELAY * 2);
    let asked = net.sent_by(A).find(|sent| sent.is_probe && sent.to == RELAY).unwrap().after;
    assert!(asked <= lifted + PROBE_SEARCH_MAX);
    let expected = (asked + HALF_TRIP_RELAY * 2, active(RELAY, PathReason::Silent));
    assert_eq!(net.dated_events(A), [expected]);
}

#[test]
fn an_outage_of_all_paths_ends_on_the_path_that_was_in_use() {
    for tenths in 20..250 {
        let mut net = Net::relayed();
        net.cut_all(true);
        net.run_for(Duration::from_millis(tenths * 100));
        net.cut_all(false);
        net.run_for(PROBE_SEARCH_MAX + SECOND);
        for which in [A, B] {
            assert_eq!(net.kind(which), Some(PathKind::Direct), "after {tenths} tenths of a second");
            assert_eq!(net.events(which), [RouteEvent::Resumed], "after {tenths} tenths of a second");
        }
    }
}

#[test]
fn a_path_that_was_left_is_used_again_after_answering_for_exactly_thirty_seconds() {
    let mut net = fallen();
    let answers_again = lift_direct(&mut net);
    net.run_for(CLIMB_AFTER + SECOND);
    assert_eq!(net.dated_events(A), [(answers_again + CLIMB_AFTER, active(DIRECT, PathReason::Better))]);
}

#[test]
fn a_gap_unlike_a_lost_probe_starts_the_thirty_seconds_again() {
    for (gap, restarts) in [(900, false), (3_100, true)] {
        let mut net = fallen();
        let first = lift_direct(&mut net);
        net.run_for(CLIMB_AFTER / 2);
        net.cut_direct(true);
        net.run_for(Duration::from_millis(gap));
        let second = lift_direct(&mut net);
        net.run_for(CLIMB_AFTER + SECOND);
        let climbed = if restarts { second } else { first } + CLIMB_AFTER;
        assert_eq!(net.dated_events(A), [(climbed, active(DIRECT, PathReason::Better))], "{gap} ms");
    }
}

#[test]
fn each_fall_soon_after_a_climb_doubles_the_patience_up_to_eight_minutes() {
    let mut net = Net::relayed();
    for seconds in [30, 60, 120, 240, 480, 480] {
        assert_eq!(patience(&mut net), SECOND * seconds);
    }
    assert_eq!(CLIMB_AFTER_MAX, SECOND * 480);
}

#[test]
fn nothing_less_than_ten_minutes_of_service_restores_the_patience() {
    for (served, expected) in [(CLIMB_LASTED.saturating_sub(SECOND * 9), 4), (CLIMB_LASTED, 1)] {
        let mut net = Net::relayed();
        patience(&mut net);
        patience(&mut net);
        net.run_for(served);
        assert_eq!(patience(&mut net), CLIMB_AFTER * expected);
    }
}

#[test]
fn a_better_path_that_carries_only_short_packets_is_retried_without_being_used() {
    let mut net = Net::new();
    net.direct_mtu = 1_300;
    net.relay_trip = HALF_TRIP / 2;
    net.peers.iter_mut().for_each(|peer| peer.set_mtu(1_452));
    net.announce(A, &[B_HOME]);
    net.set_relay(true);
    net.run_for(SECOND * 60);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Relay), Some(PathKind::Relay)));
    let padded: Vec<_> = net
        .sent_by(A)
        .filter(|sent| sent.is_probe && sent.packet.len() == 1_452)
        .map(|sent| sent.after)
        .collect();
    assert!(padded.windows(2).all(|pair| pair[1] <= pair[0] + SECOND * 3), "{padded:?}");
    assert!(padded.len() <= 2 * 60, "{} padded probes", padded.len());

    net.peers.iter_mut().for_each(|peer| peer.set_mtu(1_300));
    net.run_for(SECOND * 4);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Direct), Some(PathKind::Direct)));
}

#[test]
fn a_path_that_carries_only_short_packets_is_better_than_a_silent_one() {
    let mut net = Net::new();
    net.direct_mtu = 1_000;
    net.relay_trip = HALF_TRIP / 2;
    net.announce(A, &[B_HOME]);
    net.set_relay(true);
    net.run_for(SECOND * 10);
    net.cut_relay(true);
    net.events(A);
    net.run_for(SECOND + PATH_SILENCE + HALF_TRIP);
    assert_eq!(net.events(A), [active(DIRECT, PathReason::Silent)]);
}

#[test]
fn padding_is_bounded_by_the_longest_probe() {
    let mut net = fallen();
    net.peers[A].set_mtu(usize::MAX);
    lift_direct(&mut net);
    net.run_for(SECOND * 10);
    assert_eq!(net.sent_by(A).map(|sent| sent.packet.len()).max(), Some(PROBE_BYTES_MAX));
}

#[test]
fn a_better_path_is_watched_every_two_seconds_where_a_worse_one_is_probed_every_fifteen() {
    let probes = |net: &Net, to: Path| net.sent_by(A).filter(|sent| sent.is_probe && sent.to == to).count();
    let mut net = Net::relayed();
    net.run_for(PROBE_STANDBY_EVERY * 2);
    net.sent.clear();
    net.run_for(PROBE_STANDBY_EVERY * 20);
    assert!((18..=22).contains(&probes(&net, RELAY)), "{} probes", probes(&net, RELAY));

    let mut net = fallen();
    net.run_for(SECOND * 10);
    net.sent.clear();
    net.run_for(SECOND * 60);
    assert!((29..=31).contains(&probes(&net, DIRECT)), "{} probes", probes(&net, DIRECT));
    // It answers nothing: only what answers a short probe is asked to carry a long one.
    assert!(net.sent_by(A).all(|sent| sent.packet.len() == PROBE_BYTES_MIN));
}

#[test]
fn a_forced_path_is_taken_after_one_round_trip_unless_it_just_answered() {
    let mut net = Net::relayed();
    net.run_for(SECOND * 7);
    net.events(A);
    let said = net.elapsed();
    net.allow_only(A, PathKind::Relay);
    assert_eq!(net.peer(A).active(), Some(DIRECT), "the old path serves until the new one answers");
    net.run_for(SECOND);
    let forced = (said + HALF_TRIP_RELAY * 2, active(RELAY, PathReason::Forced));
    assert_eq!(net.dated_events(A), [forced]);
    net.allow_only(A, PathKind::Direct);
    assert_eq!(net.events(A), [active(DIRECT, PathReason::Forced)]);
}

#[test]
fn a_path_that_was_not_left_in_silence_is_used_again_as_soon_as_it_is_allowed() {
    let mut net = Net::relayed();
    net.allow_only(A, PathKind::Relay);
    net.run_for(SECOND * 100);
    net.events(A);
    let said = net.elapsed();
    net.prefer(A, PathPreference::AUTO);
    net.run_for(SECOND);
    let events = net.dated_events(A);
    // One round trip to find it, another to see that it carries what is sent.
    assert_eq!(events.last(), Some(&(said + HALF_TRIP * 4, active(DIRECT, PathReason::Better))));
}

#[test]
fn what_is_not_allowed_is_neither_probed_nor_answered() {
    let mut net = Net::relayed();
    net.allow_only(A, PathKind::Relay);
    net.run_for(SECOND);
    net.sent.clear();
    net.run_for(SECOND * 30);
    assert!(net.sent_by(B).any(|sent| sent.to == path(A_HOME)));
    assert!(net.sent_by(A).all(|sent| sent.to == RELAY));
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Relay), Some(PathKind::Relay)));
}

#[test]
fn a_path_that_is_not_allowed_is_left_after_three_seconds_though_no_other_answers() {
    let mut net = Net::relayed();
    net.run_for(SECOND * 7);
    net.cut_relay(true);
    net.events(A);
    let said = net.elapsed();
    net.allow_only(A, PathKind::Relay);
    net.run_for(SECOND * 10);
    assert_eq!(net.dated_events(A), [(said + PATH_SILENCE, RouteEvent::Inactive)]);
    assert_eq!(net.peer(A).active(), None);
    net.cut_relay(false);
    net.run_for(PROBE_SEARCH_MAX + SECOND);
    assert_eq!(net.events(A), [active(RELAY, PathReason::First)]);
}

#[test]
fn a_choice_taken_back_in_time_changes_nothing() {
    let mut net = Net::relayed();
    net.run_for(SECOND * 7);
    net.cut_relay(true);
    net.allow_only(A, PathKind::Relay);
    net.run_for(SECOND);
    net.prefer(A, PathPreference::AUTO);
    net.run_for(SECOND * 20);
    assert_eq!((net.peer(A).active(), net.events(A)), (Some(DIRECT), vec![]));
}

#[test]
fn two_ends_that_allow_nothing_in_common_never_have_a_path_in_use() {
    let mut net = Net::new();
    net.allow_only(A, PathKind::Direct);
    net.allow_only(B, PathKind::Relay);
    net.announce(A, &[B_HOME]);
    net.announce(B, &[A_HOME]);
    net.set_relay(true);
    net.run_for(SECOND * 60);
    for which in [A, B] {
        assert_eq!((net.peer(which).active(), net.peer(which).heard()), (None, None));
        assert_eq!(net.events(which), []);
    }
    net.prefer(B, PathPreference::AUTO);
    net.run_for(PROBE_SEARCH_MAX + SECOND);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Direct), Some(PathKind::Direct)));
}

#[test]
fn a_path_that_works_in_one_direction_only_is_left_by_both_ends() {
    for dead in [[true, false], [false, true]] {
        let mut net = Net::relayed();
        net.direct_cut = dead;
        net.run_for(SECOND + PATH_SILENCE + HALF_TRIP * 2);
        assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Relay), Some(PathKind::Relay)));
    }
}

#[test]
fn a_relay_we_are_not_registered_at_serves_as_long_as_the_peer_answers_through_it() {
    let mut net = fallen();
    net.set_relay(false);
    net.run_for(SECOND * 100);
    let lapsed = RouteEvent::Lapsed(at(B_HOME));
    assert_eq!((net.peer(A).active(), net.events(A)), (Some(RELAY), vec![lapsed]));
    lift_direct(&mut net);
    net.cut_relay(true);
    net.run_for(PATH_SILENCE + SECOND * 2);
    assert_eq!(net.events(A).last(), Some(&active(DIRECT, PathReason::Silent)));
    net.run_for(SECOND * 60);
    net.sent.clear();
    net.run_for(SECOND * 60);
    assert!(net.sent.iter().all(|sent| sent.to != RELAY), "a relay that is not there is probed");
}

#[test]
fn a_path_that_answers_again_says_so_once_unless_it_only_lost_a_probe() {
    let mut net = Net::relayed();
    net.cut_all(true);
    net.run_for(PATH_DOUBT + SECOND);
    net.cut_all(false);
    net.run_for(SECOND * 30);
    assert_eq!(net.events(A), [RouteEvent::Resumed]);
    for _ in 0..20 {
        net.cut_all(true);
        net.run_for(Duration::from_millis(240));
        net.cut_all(false);
        net.run_for(SECOND);
    }
    assert_eq!(net.events(A), []);
}

#[test]
fn a_host_that_slept_leaves_no_path_that_nobody_asked() {
    let mut net = Net::relayed();
    net.now += SECOND * 50;
    net.run_for(SECOND * 10);
    assert_eq!((net.kind(A), net.events(A)), (Some(PathKind::Direct), vec![]));
    // Nor where its network needs a moment to wake.
    net.now += SECOND * 50;
    net.cut_direct(true);
    net.run_for(SECOND + SECOND / 2);
    net.cut_direct(false);
    net.run_for(SECOND * 10);
    assert_eq!((net.kind(A), net.events(A)), (Some(PathKind::Direct), vec![RouteEvent::Resumed]));
}

#[test]
fn a_restarted_peer_is_found_over_whichever_path_is_left() {
    let mut net = fallen();
    net.peers[B] = peer(B);
    net.peers[B].boot = BootId::from_bytes([77; 8]);
    net.set_leg(B, Carrier::Udp, true);
    net.run_for(SECOND * 2);
    let expected = [
        RouteEvent::Lapsed(at(B_HOME)),
        RouteEvent::BootChanged(BootId::from_bytes([77; 8])),
        active(RELAY, PathReason::First),
    ];
    assert_eq!(net.events(A), expected);
    assert_eq!(net.kind(B), Some(PathKind::Relay));
}

#[test]
fn the_peer_was_heard_when_it_answered_over_any_path_that_is_allowed() {
    let mut net = fallen();
    let since = |net: &Net| net.now - net.peer(A).heard().unwrap();
    net.run_for(SECOND * 10);
    assert!(since(&net) < SECOND * 2);
    net.allow_only(A, PathKind::Direct);
    assert!(since(&net) > SECOND * 10, "the relay's answers still count");
}

#[test]
fn probes_of_our_own_accord_are_bounded_whatever_is_searched() {
    let now = Instant::now();
    let mut a = peer(A);
    let many: Vec<_> = (1..=100).map(at).collect();
    a.set_candidates(&many, now);
    a.set_relays(&[(RELAY.relay().unwrap(), Carrier::Udp)], now);
    assert_eq!(a.probes.iter().count(), PEER_ADDRESSES_MAX + 1);
    let sent_in = |a: &mut PeerRoute, second: u64| {
        (0..1_000)
            .map(|milli| {
                let now = now + SECOND * u32::try_from(second).unwrap() + Duration::from_millis(milli);
                a.search(now);
                a.handle_timeout(now, &mut nonces(second * 1_000 + milli));
                drain_all(a).len()
            })
            .sum::<usize>()
    };
    let rate = usize::try_from(PROBES_PER_SECOND).unwrap();
    // As many at once, and the last millisecond's share is not due yet.
    assert_eq!(sent_in(&mut a, 0), 2 * rate - 1);
    for second in 1..4 {
        assert_eq!(sent_in(&mut a, second), rate);
    }
    assert_eq!(a.outstanding.len(), PROBES_OUTSTANDING_MAX);
    assert!(a.poll_timeout().unwrap() > now + SECOND * 3, "it asks for no timer in the past");
}

#[test]
fn replays_over_the_relay_earn_no_more_than_those_of_any_other_source() {
    let mut net = Net::relayed();
    net.run_for(SECOND * 10);
    let replayed = net.sent_by(B).find(|sent| sent.is_probe).unwrap().packet.clone();
    net.sent.clear();
    for _ in 0..200 {
        net.inject(A, RELAY, &replayed);
    }
    let answers = |net: &Net| net.sent_by(A).filter(|sent| sent.to == RELAY && !sent.is_probe).count();
    net.run_for(Duration::ZERO);
    assert_eq!(answers(&net), usize::try_from(PROBE_ANSWERS_PER_SECOND).unwrap());
    net.run_for(SECOND / 2);
    let asked = net.sent_by(B).filter(|sent| sent.to == RELAY && sent.is_probe).count();
    let allowed = usize::try_from(PROBE_ANSWERS_PER_SECOND).unwrap() + asked;
    let probes = net.sent_by(A).filter(|sent| sent.to == RELAY && sent.is_probe).count();
    assert!(answers(&net) <= allowed && probes <= 1, "{} answers, {probes} probes", answers(&net));
    assert_eq!((net.peer(A).active(), net.events(A)), (Some(DIRECT), vec![]));
    // They use up nothing of what the path in use needs.
    let later = net.elapsed();
    for _ in 0..200 {
        net.inject(A, RELAY, &replayed);
    }
    net.run_for(SECOND * 2);
    let probes = net.sent_by(B).filter(|sent| sent.is_probe && sent.to == path(A_HOME) && sent.after > later);
    let answers = net.sent_by(A).filter(|sent| !sent.is_probe && sent.to == DIRECT && sent.after > later);
    assert_eq!(answers.count(), probes.count());
}

/// Returns a net in which both ends have left direct for the relay, and what they said then is forgotten.
fn fallen() -> Net {
    let mut net = Net::relayed();
    fall(&mut net);
    net
}

fn fall(net: &mut Net) {
    net.cut_direct(true);
    net.run_for(PATH_SILENCE + SECOND * 2);
    assert_eq!((net.kind(A), net.kind(B)), (Some(PathKind::Relay), Some(PathKind::Relay)));
    net.events(A);
}

/// Lets direct packets through again. Returns when A has its first answer.
fn lift_direct(net: &mut Net) -> Duration {
    net.cut_direct(false);
    let sent = net.sent.len();
    net.run_for(PROBE_SEARCH_MAX + HALF_TRIP * 2);
    let first = net.sent[sent..].iter().find(|sent| sent.by == A && sent.is_probe && sent.to == DIRECT);
    first.expect("a better path is probed every two seconds").after + HALF_TRIP * 2
}

/// Falls, lifts and climbs; gives how long direct had to answer.
fn patience(net: &mut Net) -> Duration {
    fall(net);
    let answers_again = lift_direct(net);
    let (climbed, event) = loop {
        net.run_for(SECOND);
        if let [said] = net.dated_events(A)[..] {
            break said;
        }
        assert!(net.elapsed() < answers_again + CLIMB_AFTER_MAX + SECOND);
    };
    assert_eq!(event, active(DIRECT, PathReason::Better));
    // The other end follows.
    net.run_for(SECOND * 3);
    climbed.saturating_sub(answers_again)
}
