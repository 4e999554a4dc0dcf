use std::time::Duration;

use super::*;
use crate::domain::secret::Secret;

const TARGET: RouteId = RouteId::from_bytes(*b"target00");
const PEER: RouteId = RouteId::from_bytes(*b"peer0000");
const OTHER: RouteId = RouteId::from_bytes(*b"other000");
const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");

fn boot(byte: u8) -> BootId {
    BootId::from_bytes([byte; 8])
}

fn key(byte: u8) -> TagKey {
    TagKey::of_connection(&Secret::from_bytes([byte; 32]))
}

/// Returns random bytes, others each time.
fn random() -> [u8; 18] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 18];
    random[..8].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    random
}

/// Returns an agent at `own` that has heard from each of `peers` and shares the key of its number with it.
fn agent(own: RouteId, run: u8, peers: &[(RouteId, u8, u8)]) -> Admission {
    let mut agent = Admission::new(own, boot(run));
    for (route, run, secret) in peers {
        agent.set_peer(*route, vec![key(*secret)]);
        agent.note_peer(*route, Some(boot(*run)), 0);
    }
    agent
}

fn target() -> Admission {
    agent(TARGET, 1, &[(PEER, 2, 7), (OTHER, 3, 8)])
}

fn peer() -> Admission {
    agent(PEER, 2, &[(TARGET, 1, 7)])
}

fn other() -> Admission {
    agent(OTHER, 3, &[(TARGET, 1, 8)])
}

fn packet(first: u8, destination: &[u8], source: &[u8]) -> Vec<u8> {
    let length = |id: &[u8]| u8::try_from(id.len()).unwrap();
    let head = [&[first, 0, 0, 0, 1][..], &[length(destination)], destination, &[length(source)], source];
    let mut packet = head.concat();
    packet.resize(QUIC_MTU_MIN, 0);
    packet
}

fn initial(ids: &DialIds) -> Vec<u8> {
    packet(0xc0, &ids.destination, &ids.source)
}

/// Returns a packet of a dialled handshake's second flight, to an id that the target chose.
fn second(first: u8, ids: &DialIds) -> Vec<u8> {
    packet(first, b"target00chosen", &ids.source)
}

#[test]
fn a_peers_first_initial_passes_however_often_while_the_handshake_lasts() {
    let (mut target, now) = (target(), Instant::now());
    let ids = peer().dial(TARGET, random());
    for _ in 0..5 {
        assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    }
    let place = target.claim(&ids.destination).expect("it has a place");
    assert_eq!(target.claim(&ids.destination), None, "a place is claimed once");
    // Claimed, it is kept as long as it takes.
    let later = now + FIRST_FLIGHT_TIMEOUT * 10;
    assert_eq!(target.handle_packet(&initial(&ids), later), AdmissionVerdict::Passes);
    target.give_back(place);
    assert_eq!(target.handle_packet(&initial(&ids), later), AdmissionVerdict::Unproven);
}

#[test]
fn a_replay_earns_no_second_handshake() {
    let (mut target, mut peer, now) = (target(), peer(), Instant::now());
    let first = peer.dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&first), now), AdmissionVerdict::Passes);
    // Nobody claimed it; its time is over.
    let later = now + FIRST_FLIGHT_TIMEOUT;
    assert_eq!(target.handle_packet(&initial(&first), later), AdmissionVerdict::Unproven);
    // With another id to be answered at, or after later ones, it is no better.
    let elsewhere = DialIds { source: *b"peer0000nobody", ..first };
    assert_eq!(target.handle_packet(&initial(&elsewhere), later), AdmissionVerdict::Unproven);
    let second = peer.dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&second), later), AdmissionVerdict::Passes);
    assert_eq!(target.handle_packet(&initial(&first), later), AdmissionVerdict::Unproven);
}

#[test]
fn a_copy_of_a_live_handshakes_first_initial_passes_only_for_the_same_client() {
    let (mut target, now) = (target(), Instant::now());
    let ids = peer().dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    let forged = DialIds { source: *b"peer0000nobody", ..ids };
    assert_eq!(target.handle_packet(&initial(&forged), now), AdmissionVerdict::Unproven);
}

#[test]
fn who_holds_no_secret_of_a_live_connection_begins_nothing() {
    let now = Instant::now();
    let stranger = RouteId::from_bytes(*b"stranger");
    for (mut forger, what) in [
        (agent(PEER, 2, &[(TARGET, 1, 9)]), "another secret"),
        (agent(PEER, 2, &[(TARGET, 1, 8)]), "the secret of another peer"),
        (agent(stranger, 2, &[(TARGET, 1, 7)]), "a route that nobody names"),
        (agent(PEER, 9, &[(TARGET, 1, 7)]), "an earlier run of the peer"),
        (agent(PEER, 2, &[(TARGET, 9, 7)]), "an earlier run of the target"),
    ] {
        let ids = forger.dial(TARGET, random());
        let mut target = target();
        assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Unproven, "{what}");
        assert_eq!(target.claim(&ids.destination), None, "{what}");
    }
    let mut target = target();
    target.remove_peer(PEER);
    let ids = peer().dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Unproven, "an ended connection");
}

#[test]
fn any_flipped_bit_of_either_id_of_a_first_initial_is_silence() {
    let now = Instant::now();
    let ids = peer().dial(TARGET, random());
    let whole = initial(&ids);
    // From the version to the end of the client's own id.
    for bit in 8..(1 + 4 + 1 + 20 + 1 + 14) * 8 {
        let mut forged = whole.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(target().handle_packet(&forged, now), AdmissionVerdict::Unproven, "bit {bit}");
    }
}

#[test]
fn either_secret_counts_while_one_takes_the_place_of_the_other() {
    let (mut target, now) = (target(), Instant::now());
    target.set_peer(PEER, vec![key(6), key(7)]);
    assert_eq!(target.handle_packet(&initial(&peer().dial(TARGET, random())), now), AdmissionVerdict::Passes);
    let mut ahead = peer();
    let _earlier = ahead.dial(TARGET, random());
    ahead.set_peer(TARGET, vec![key(7), key(6)]);
    ahead.note_peer(TARGET, Some(boot(1)), 1);
    assert_eq!(target.handle_packet(&initial(&ahead.dial(TARGET, random())), now), AdmissionVerdict::Passes);
}

#[test]
fn only_so_many_keys_of_a_peer_are_tried_on_one_tag() {
    let (mut target, now) = (target(), Instant::now());
    let ids = peer().dial(TARGET, random());
    let decoys = |count| std::iter::repeat_with(|| key(7).impostor()).take(count).chain([key(7)]).collect();
    target.set_peer(PEER, decoys(TAG_KEYS_TRIED_MAX));
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Unproven);
    target.set_peer(PEER, decoys(TAG_KEYS_TRIED_MAX - 1));
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
}

#[test]
fn what_a_peer_had_begun_is_over_when_it_begins_again_after_a_restart() {
    let (mut target, now) = (target(), Instant::now());
    let mut earlier = peer();
    let share = handshake_share(1);
    let begun: Vec<_> = (0..share).map(|_| earlier.dial(TARGET, random())).collect();
    for ids in &begun {
        assert_eq!(target.handle_packet(&initial(ids), now), AdmissionVerdict::Passes);
        target.claim(&ids.destination).unwrap();
    }
    let mut later = agent(PEER, 5, &[(TARGET, 1, 7)]);
    let ids = later.dial(TARGET, random());
    assert_ne!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    target.note_peer(PEER, Some(boot(5)), 0);
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    assert_eq!(target.handle_packet(&initial(&begun[0]), now), AdmissionVerdict::Unproven);
}

#[test]
fn a_peer_named_anew_has_still_used_what_it_had_used() {
    let (mut target, mut peer, now) = (target(), peer(), Instant::now());
    let used = peer.dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&used), now), AdmissionVerdict::Passes);
    for one in [&mut target, &mut peer] {
        let it = if one.own == TARGET { (PEER, 2) } else { (TARGET, 1) };
        one.remove_peer(it.0);
        one.set_peer(it.0, vec![key(7)]);
        one.note_peer(it.0, Some(boot(it.1)), 0);
    }
    assert_eq!(target.handle_packet(&initial(&used), now), AdmissionVerdict::Unproven);
    assert_eq!(target.handle_packet(&initial(&peer.dial(TARGET, random())), now), AdmissionVerdict::Passes);
}

#[test]
fn what_is_remembered_of_peers_that_left_is_bounded() {
    let mut target = target();
    for number in 0..PEERS_LEFT_MAX as u64 * 2 {
        let route = RouteId::from_bytes(number.to_le_bytes());
        target.set_peer(route, vec![key(1)]);
        target.note_peer(route, Some(boot(1)), 0);
        target.remove_peer(route);
        target.set_peer(PEER, vec![key(7)]);
    }
    assert_eq!(target.left.len(), PEERS_LEFT_MAX);
}

#[test]
fn one_peers_unfinished_handshakes_leave_the_places_of_all_others() {
    let (mut target, mut peer, mut other) = (target(), peer(), other());
    let start = Instant::now();
    let share = handshake_share(1) as usize;
    let mut passed = 0;
    for step in 0..320 {
        let now = start + Duration::from_millis(step * 1_000 / 32);
        let verdict = target.handle_packet(&initial(&peer.dial(TARGET, random())), now);
        passed += usize::from(verdict == AdmissionVerdict::Passes);
        assert!(target.places.len() <= share, "{} places", target.places.len());
    }
    // In ten seconds a place is given four times at most.
    assert!((share..=share * 4).contains(&passed), "{passed} passed");
    let now = start + Duration::from_secs(10);
    assert_eq!(target.handle_packet(&initial(&peer.dial(TARGET, random())), now), AdmissionVerdict::Crowded);
    for _ in 0..share {
        assert_eq!(
            target.handle_packet(&initial(&other.dial(TARGET, random())), now),
            AdmissionVerdict::Passes
        );
    }
}

#[test]
fn a_peer_without_a_place_gets_exactly_one_when_all_are_taken() {
    let now = Instant::now();
    let mut target = agent(TARGET, 1, &[]);
    let crowd = HANDSHAKE_PLACES_MAX / 4;
    for number in 0..=crowd {
        let route = RouteId::from_bytes((number as u64).to_le_bytes());
        target.set_peer(route, vec![key(7)]);
        target.note_peer(route, Some(boot(2)), 0);
        let mut one = agent(route, 2, &[(TARGET, 1, 7)]);
        let verdicts: Vec<_> =
            (0..4).map(|_| target.handle_packet(&initial(&one.dial(TARGET, random())), now)).collect();
        let expected = if number < crowd {
            [AdmissionVerdict::Passes; 4]
        } else {
            [
                AdmissionVerdict::Passes,
                AdmissionVerdict::Crowded,
                AdmissionVerdict::Crowded,
                AdmissionVerdict::Crowded,
            ]
        };
        assert_eq!(verdicts, expected, "peer {number}");
    }
    assert_eq!(target.places.len(), HANDSHAKE_PLACES_MAX + 1);
}

#[test]
fn a_peer_that_ends_its_handshakes_at_once_begins_only_so_many_a_second() {
    let (mut target, mut peer) = (target(), peer());
    let start = Instant::now();
    let mut in_ten_seconds = 0;
    for step in 0..10_000 {
        let ids = peer.dial(TARGET, random());
        if target.handle_packet(&initial(&ids), start + Duration::from_millis(step))
            == AdmissionVerdict::Passes
        {
            in_ten_seconds += 1;
            let place = target.claim(&ids.destination).unwrap();
            target.give_back(place);
        }
    }
    let share = handshake_share(1);
    let most = share * HANDSHAKES_BURST_PER_PLACE + share * 10;
    assert!((most - share..=most).contains(&in_ten_seconds), "{in_ten_seconds} of {most}");
}

#[test]
fn forged_tags_use_up_nothing_of_the_peer_they_name() {
    let (mut target, mut peer, now) = (target(), peer(), Instant::now());
    let genuine = peer.dial(TARGET, random());
    for number in 0..10_000_u32 {
        let mut forged = genuine;
        forged.destination[9..13].copy_from_slice(&number.to_be_bytes());
        forged.destination[19] ^= 1;
        assert_eq!(target.handle_packet(&initial(&forged), now), AdmissionVerdict::Unproven);
    }
    assert_eq!(target.handle_packet(&initial(&genuine), now), AdmissionVerdict::Passes);
}

#[test]
fn a_crowded_out_initial_passes_when_there_is_room_again() {
    let (mut target, mut peer, now) = (target(), peer(), Instant::now());
    for _ in 0..handshake_share(1) {
        assert_eq!(
            target.handle_packet(&initial(&peer.dial(TARGET, random())), now),
            AdmissionVerdict::Passes
        );
    }
    let ids = peer.dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Crowded);
    assert_eq!(target.handle_packet(&initial(&ids), now + FIRST_FLIGHT_TIMEOUT), AdmissionVerdict::Passes);
}

#[test]
fn only_an_admitted_or_dialled_handshake_goes_on() {
    let (mut target, now) = (target(), Instant::now());
    let mut peer = peer();
    let ids = peer.dial(TARGET, random());
    // An id of ours that a stranger has seen, of a connection that lives or not.
    assert_eq!(target.handle_packet(&second(0xc0, &ids), now), AdmissionVerdict::Unproven);
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    let place = target.claim(&ids.destination).unwrap();
    assert!(!target.is_going_on(place));
    assert_eq!(target.handle_packet(&second(0xc0, &ids), now), AdmissionVerdict::Passes);
    assert!(target.is_going_on(place));
    target.give_back(place);
    assert_eq!(target.handle_packet(&second(0xc0, &ids), now), AdmissionVerdict::Unproven);

    // The client's side of it.
    let answer = packet(0xc0, &ids.source, b"target00chosen");
    assert_eq!(peer.handle_packet(&answer, now), AdmissionVerdict::Passes);
    peer.end_dial(&ids.source);
    assert_eq!(peer.handle_packet(&answer, now), AdmissionVerdict::Unproven);
}

#[test]
fn a_lost_acknowledgement_of_the_first_flight_does_not_hide_that_the_peer_goes_on() {
    let (mut target, now) = (target(), Instant::now());
    let ids = peer().dial(TARGET, random());
    assert_eq!(target.handle_packet(&initial(&ids), now), AdmissionVerdict::Passes);
    let place = target.claim(&ids.destination).unwrap();
    assert_eq!(target.handle_packet(&second(0xe0, &ids), now), AdmissionVerdict::Passes);
    assert!(target.is_going_on(place));
}

#[test]
fn a_retry_is_taken_from_the_gateway_alone() {
    let (mut peer, now) = (peer(), Instant::now());
    let retry = |ids: &DialIds| packet(0xf0, &ids.source, b"anybody0chosen");
    let to_peer = peer.dial(TARGET, random());
    let to_gateway = peer.dial(GATEWAY, random());
    assert_eq!(peer.handle_packet(&retry(&to_peer), now), AdmissionVerdict::Unproven);
    assert_eq!(peer.handle_packet(&retry(&to_gateway), now), AdmissionVerdict::Passes);
}

#[test]
fn what_begins_no_handshake_of_ours_is_dropped_whatever_its_id() {
    let (mut target, mut peer, now) = (target(), peer(), Instant::now());
    let ids = peer.dial(TARGET, random());
    let whole = initial(&ids);
    for length in [0, 1, 7, 8, 13, 15, 19] {
        let id = &[&b"target00"[..], &[1; 12]].concat()[..length];
        assert_eq!(target.handle_packet(&packet(0xc0, id, &ids.source), now), AdmissionVerdict::Unproven);
    }
    let short = &whole[..QUIC_MTU_MIN - 1];
    assert_eq!(target.handle_packet(short, now), AdmissionVerdict::Unproven, "too short for QUIC");
    let early_data = packet(0xd0, &ids.destination, &ids.source);
    assert_eq!(target.handle_packet(&early_data, now), AdmissionVerdict::Unproven, "0-RTT");
    let elsewhere = packet(0xe0, b"other000chosen", &ids.source);
    assert_eq!(target.handle_packet(&elsewhere, now), AdmissionVerdict::Unproven, "of another agent");
    assert_eq!(target.handle_packet(&whole, now), AdmissionVerdict::Passes);
}

#[test]
fn a_peer_of_which_too_little_is_known_is_dialled_without_a_tag() {
    let mut peer = Admission::new(PEER, boot(2));
    peer.set_peer(TARGET, vec![key(7)]);
    let ids = peer.dial(TARGET, random());
    assert!(ids.destination.starts_with(TARGET.as_bytes()));
    assert_eq!(target().handle_packet(&initial(&ids), Instant::now()), AdmissionVerdict::Unproven);
}
