//! Two drivers over real sockets, and an attacker beside them.

mod carried;

use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::transport::pair::{End, Pair, soon};
use adit_core::domain::limits::PROBE_BYTES_MAX;
use adit_core::protocol::packet::{PROBE_BYTES_MIN, Packet, PacketKind};

const SECRET: [u8; 32] = [4; 32];
const GATEWAY: RouteId = RouteId::from_bytes([9; 8]);

/// Returns two that nobody told yet where the other is; quinn drives the sockets.
fn strangers() -> Pair {
    let pair = Pair::new();
    pair.source.socket.remove_route(pair.target.route);
    pair.target.socket.remove_route(pair.source.route);
    pair
}

fn driven(end: &mut End, boot: u8, tasks: &mut JoinSet<()>) -> Routes {
    let own_packets = end.own_packets.take().unwrap();
    let own = OwnEnd { route: end.route, gateway: GATEWAY, boot: BootId::from_bytes([boot; 8]) };
    let (routes, driver) = Routes::new(Arc::clone(&end.socket), own_packets, own);
    tasks.spawn(driver.run());
    routes
}

fn wanted(peer: &End, candidates: Vec<SocketAddr>) -> BTreeMap<ServerId, WantedPeer> {
    let secrets = vec![Secret::from_bytes(SECRET)];
    BTreeMap::from([(
        peer.server,
        WantedPeer {
            route: peer.route,
            name: "peer".into(),
            secrets,
            candidates,
            path: PathPreference::AUTO,
            relays: Vec::new(),
        },
    )])
}

#[test]
fn a_relay_is_forbidden_unless_the_rules_of_all_connections_allow_it() {
    let own = RelayId(GATEWAY);
    let other = RelayId(RouteId::from_bytes([8; 8]));
    let named = |relays: &[RelayId]| Relays::try_from(relays.to_vec()).unwrap();
    for (relays, forbidden) in [
        (vec![], false),
        (vec![named(&[]), named(&[other, own])], false),
        (vec![named(&[]), named(&[other])], true),
    ] {
        let wanted = WantedPeer {
            route: RouteId::from_bytes([7; 8]),
            name: "peer".into(),
            secrets: Vec::new(),
            candidates: Vec::new(),
            path: PathPreference::AUTO,
            relays,
        };
        assert_eq!(!wanted.forbidden(own, own).is_empty(), forbidden, "{wanted:?}");
    }
}

#[tokio::test]
async fn two_with_the_secret_meet_where_one_was_told_until_they_are_not_wanted() {
    let (mut pair, mut tasks) = (strangers(), JoinSet::new());
    let near = driven(&mut pair.source, 1, &mut tasks);
    let far = driven(&mut pair.target, 2, &mut tasks);
    let place = pair.target.socket.bound().unwrap();
    near.want(wanted(&pair.target, vec![place]));
    far.want(wanted(&pair.source, vec![]));
    let mut path_state = near.path_state(pair.target.server);
    let found = *soon(path_state.wait_for(|state| state.path.is_some())).await.unwrap();
    assert_eq!((found.path, found.boot), (Some(Path::Direct(place)), Some(BootId::from_bytes([2; 8]))));
    assert!(found.heard.is_some());
    let mut back = far.path_state(pair.source.server);
    let found = *soon(back.wait_for(|state| state.path.is_some())).await.unwrap();
    assert_eq!(found.path, Some(Path::Direct(pair.source.socket.bound().unwrap())));
    pair.connected().await;

    near.want(BTreeMap::new());
    soon(path_state.wait_for(|state| *state == PathState::default())).await.unwrap();
}

#[tokio::test]
async fn nothing_forged_cut_short_or_oversized_is_answered_nor_a_replay_at_greater_length() {
    let (mut pair, mut tasks) = (strangers(), JoinSet::new());
    let routes = driven(&mut pair.target, 2, &mut tasks);
    routes.want(wanted(&pair.source, vec![]));
    let probe = |secret: [u8; 32], length| {
        let packet = Packet {
            kind: PacketKind::Probe,
            destination: pair.target.route,
            source: pair.source.route,
            boot: BootId::from_bytes([9; 8]),
            nonce: [7; 16],
            length,
        };
        let key = PacketKey::of_connection(&Secret::from_bytes(secret));
        key.seal(&packet, &mut [0; PROBE_BYTES_MAX]).to_vec()
    };
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = pair.target.socket.bound().unwrap();
    let genuine = probe(SECRET, PROBE_BYTES_MIN + 40);
    let oversized = [&genuine[..], &[0; 2_000]].concat();
    let forged = probe([5; 32], PROBE_BYTES_MIN);
    for bytes in [&forged[..], &genuine[..genuine.len() - 1], &genuine[..1], &[0x3f; 1_400], &oversized] {
        attacker.send_to(bytes, target).await.unwrap();
    }
    // Packets keep their order on loopback: what comes back is for these alone.
    let mut buffer = [0; 4_000];
    let mut answers = 0;
    for _ in 0..3 {
        attacker.send_to(&genuine, target).await.unwrap();
        // The probe that asks back, and the answer.
        for _ in 0..2 {
            let (length, from) = soon(attacker.recv_from(&mut buffer)).await.unwrap();
            assert!(length <= genuine.len() && from == target, "{length} bytes from {from}");
            let opened =
                PacketKey::of_connection(&Secret::from_bytes(SECRET)).open(&buffer[..length]).unwrap();
            answers += usize::from(opened.kind == PacketKind::Answer && opened.nonce == [7; 16]);
        }
    }
    assert_eq!(answers, 3);
    let known = *routes.path_state(pair.source.server).borrow();
    assert_eq!(known, PathState { why_not: known.why_not, ..PathState::default() });
}
