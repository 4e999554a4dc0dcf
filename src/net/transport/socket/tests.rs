//! One socket, peers that are plain UDP sockets, and carriers that the test holds the other end of.

use std::future::poll_fn;
use std::net::UdpSocket;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use super::*;
use crate::transport::carrier::queues::{CarrierEnd, queues};
use adit_core::protocol::carrier::{append, packets};

const HERE: RouteId = RouteId::from_bytes(*b"here 000");
const THERE: RouteId = RouteId::from_bytes(*b"there 00");
const RELAY: RelayId = RelayId(RouteId::from_bytes(*b"gateway0"));
const CARRIER: Destination = Destination::Carrier(RELAY);

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn address(udp: &UdpSocket) -> SocketAddr {
    udp.local_addr().unwrap()
}

fn agent() -> (Arc<AgentSocket>, mpsc::Receiver<OwnPacket>) {
    AgentSocket::new(udp(), HERE).unwrap()
}

/// Returns an agent whose carrier is open, and the carrier's other end.
fn carried() -> (Arc<AgentSocket>, mpsc::Receiver<OwnPacket>, CarrierEnd) {
    let (end, carrier) = queues();
    carrier.set_open(true);
    let (socket, queue) = AgentSocket::with_carriers(udp(), HERE, BTreeMap::from([(RELAY, end)])).unwrap();
    (socket, queue, carrier)
}

fn message(of: &[&[u8]]) -> Bytes {
    let mut message = BytesMut::new();
    assert!(of.iter().all(|packet| append(&mut message, packet)));
    message.freeze()
}

/// Returns the packets that wait for the carrier.
fn taken(carrier: &CarrierEnd) -> Vec<Vec<u8>> {
    let messages: Vec<_> = std::iter::from_fn(|| carrier.try_next()).collect();
    messages.iter().flat_map(|message| packets(message)).map(|packet| packet.unwrap().to_vec()).collect()
}

fn dropped(socket: &AgentSocket) -> Vec<(&'static str, u64)> {
    socket.drops().all().into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Returns a QUIC packet with a short header, for `route`.
fn quic(route: RouteId, mark: u8) -> Vec<u8> {
    [&[0x40][..], route.as_bytes(), &[mark; 30]].concat()
}

/// Returns a packet of ours for `route`, as far as the socket looks.
fn own(route: RouteId, length: usize) -> Vec<u8> {
    let mut packet = [&[0x01][..], route.as_bytes()].concat();
    packet.resize(length, 0);
    packet
}

fn transmit(contents: &[u8]) -> Transmit<'_> {
    Transmit { destination: VIRTUAL_PEER, ecn: None, contents, segment_size: None, src_ip: None }
}

/// Sends as quinn does: again when the socket takes packets.
async fn send(socket: &Arc<AgentSocket>, packet: &[u8]) {
    let mut poller = Arc::clone(socket).create_io_poller();
    while let Err(error) = socket.try_send(&transmit(packet)) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.unwrap();
    }
}

/// Returns what quinn is handed next, and from where it believes to have it.
async fn handed(socket: &AgentSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    loop {
        let mut meta = [RecvMeta::default()];
        let received = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        timeout(Duration::from_secs(20), received).await.expect("a packet arrives").unwrap();
        if meta[0].len > 0 {
            return (buffer[..meta[0].len].to_vec(), meta[0].addr);
        }
    }
}

#[tokio::test]
async fn a_packet_below_quic_for_another_route_is_counted() {
    let (socket, _queue) = agent();
    let (stranger, peer) = (udp(), udp());
    socket.validate_source(address(&peer));
    stranger.send_to(&own(THERE, 100), socket.bound().unwrap()).unwrap();
    peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
    handed(&socket).await;
    let dropped: Vec<_> = socket.drops().all().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(dropped, [("own_foreign", 1)]);
}

#[tokio::test]
async fn a_packet_of_a_stranger_never_reaches_quinn() {
    let (socket, _queue) = agent();
    let (stranger, peer) = (udp(), udp());
    socket.validate_source(address(&peer));
    stranger.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
    peer.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
    assert_eq!(handed(&socket).await, (quic(HERE, 2), VIRTUAL_PEER));
    assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_comes_from_port_zero_is_nobodys() {
    let (socket, mut queue) = agent();
    let mut buffer = own(HERE, 65);
    let mut meta = RecvMeta { len: 65, stride: 65, ..RecvMeta::default() };
    meta.addr = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.sort_batch(&socket.table.load(), &mut buffer, &mut meta);
    assert!(queue.try_recv().is_err());
    assert_eq!(meta.len, 0);
}

#[tokio::test]
async fn an_address_that_a_route_has_left_is_a_strangers_again() {
    let (socket, _queue) = agent();
    let (before, validated, now) = (udp(), udp(), udp());
    socket.set_route(THERE, address(&before));
    socket.validate_source(address(&validated));
    socket.set_route(THERE, address(&validated));
    socket.set_route(THERE, address(&now));
    for udp in [&before, &validated, &now] {
        udp.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
    }
    for _ in 0..2 {
        handed(&socket).await;
    }
    assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 1);

    // Taken back while it was in use, as when a peer's agent is restarted.
    socket.validate_source(address(&now));
    socket.forget_source(address(&now));
    socket.forget_source(address(&validated));
    socket.set_route(THERE, address(&before));
    for udp in [&validated, &now, &before] {
        udp.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
    }
    handed(&socket).await;
    assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 3);
    assert_eq!(socket.table.load().sources.len(), 1);
}

#[tokio::test]
async fn a_packet_goes_only_where_its_route_is() {
    let (socket, _queue) = agent();
    let (one, other) = (udp(), udp());
    socket.set_route(THERE, address(&one));
    send(&socket, &quic(THERE, 1)).await;
    socket.set_route(THERE, address(&other));
    send(&socket, &quic(THERE, 2)).await;
    send(&socket, &quic(HERE, 3)).await;
    socket.remove_route(THERE);
    send(&socket, &quic(THERE, 4)).await;
    for (udp, mark) in [(&one, 1), (&other, 2)] {
        let mut buffer = [0; 100];
        let (length, from) = udp.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&quic(THERE, mark)[..], socket.bound().unwrap()));
        udp.set_nonblocking(true).unwrap();
        assert!(udp.recv_from(&mut buffer).is_err(), "one packet and no more");
    }
    assert_eq!(socket.drops().no_route.load(Ordering::Relaxed), 2);
}

/// Has `socket` take `count` packets of our own from `sender`, a few at a time, so that no kernel's
/// buffer overflows first; `peer` shows that they were taken.
async fn take_own(socket: &AgentSocket, sender: &UdpSocket, count: usize, peer: &UdpSocket) {
    for _ in 0..count / 8 {
        for _ in 0..8 {
            sender.send_to(&own(HERE, 65), socket.bound().unwrap()).unwrap();
        }
        peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
        assert_eq!(handed(socket).await.0, quic(HERE, 1));
    }
}

#[tokio::test]
async fn our_own_packets_are_queued_up_to_the_bound_without_reaching_quinn() {
    let (socket, mut queue) = agent();
    let (stranger, peer) = (udp(), udp());
    socket.validate_source(address(&peer));
    // Too long, for another, of no kind: none of them takes a place.
    for junk in [&own(HERE, PROBE_BYTES_MAX + 1)[..], &own(THERE, 65), &[0x3f; 65], &[0x01]] {
        stranger.send_to(junk, socket.bound().unwrap()).unwrap();
    }
    take_own(&socket, &peer, OWN_PACKETS_QUEUED_MAX + 8, &peer).await;
    assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 8);
    for _ in 0..OWN_PACKETS_QUEUED_MAX {
        let packet = queue.try_recv().unwrap();
        assert_eq!((packet.from, packet.bytes.len()), (address(&peer).into(), 65));
    }
    assert!(queue.try_recv().is_err());
}

#[tokio::test]
async fn strangers_fill_no_more_than_their_part_of_the_queue() {
    let (socket, mut queue) = agent();
    let (stranger, peer) = (udp(), udp());
    socket.validate_source(address(&peer));
    take_own(&socket, &stranger, OWN_PACKETS_OF_STRANGERS_MAX + 80, &peer).await;
    assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 80);
    take_own(&socket, &peer, 80, &peer).await;
    assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 80);
    for sender in [(&stranger, OWN_PACKETS_OF_STRANGERS_MAX), (&peer, 80)] {
        for _ in 0..sender.1 {
            assert_eq!(queue.try_recv().unwrap().from, address(sender.0).into());
        }
    }
    // What was taken out makes room.
    take_own(&socket, &stranger, 8, &peer).await;
    assert_eq!(queue.try_recv().unwrap().from, address(&stranger).into());
}

#[tokio::test]
async fn a_handshake_that_nobody_entitled_began_never_reaches_quinn() {
    let (socket, _queue) = agent();
    let peer = udp();
    socket.validate_source(address(&peer));
    let long = |first: u8, destination: &[u8]| {
        let length = u8::try_from(destination.len()).unwrap();
        let mut packet = [&[first, 0, 0, 0, 1, length][..], destination, &[14], &[5; 14]].concat();
        packet.resize(1_200, 0);
        packet
    };
    let first = [&HERE.as_bytes()[..], &[9; 12]].concat();
    let known = [&HERE.as_bytes()[..], &[9; 6]].concat();
    let mut negotiation = long(0xc0, &known);
    negotiation[4] = 0;
    for packet in [long(0xc0, &first), long(0xc0, &known), long(0xd0, &first), negotiation] {
        peer.send_to(&packet, socket.bound().unwrap()).unwrap();
    }
    peer.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
    assert_eq!(handed(&socket).await.0, quic(HERE, 2));
    assert_eq!(socket.drops().unproven.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_route_moves_from_udp_to_a_carrier_and_back() {
    let (socket, _queue, carrier) = carried();
    let peer = udp();
    socket.set_route(THERE, address(&peer));
    send(&socket, &quic(THERE, 1)).await;
    socket.set_route(THERE, CARRIER);
    send(&socket, &quic(THERE, 2)).await;
    assert_eq!(socket.destination_of(THERE), Some(CARRIER));
    socket.set_route(THERE, address(&peer));
    send(&socket, &quic(THERE, 3)).await;
    assert_eq!(taken(&carrier), [quic(THERE, 2)]);
    for mark in [1, 3] {
        let mut buffer = [0; 100];
        let (length, _) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], quic(THERE, mark));
    }
}

#[tokio::test]
async fn segments_go_over_a_carrier_as_packets_up_to_the_routes_bound() {
    let (socket, _queue, carrier) = carried();
    let long = [quic(THERE, 1), vec![0; CARRIED_BYTES_UNTIL_UDP]].concat();
    let packet = &long[..CARRIED_BYTES_UNTIL_UDP];
    let sent = |bytes: usize| {
        let contents = [&long[..bytes], &long[..bytes], &quic(THERE, 2)].concat();
        let transmit = Transmit { segment_size: Some(bytes), ..transmit(&contents) };
        socket.try_send(&transmit).unwrap();
        taken(&carrier)
    };
    socket.set_route(THERE, CARRIER);
    assert_eq!(sent(CARRIED_BYTES_UNTIL_UDP), [packet, packet, &quic(THERE, 2)]);
    assert!(sent(CARRIED_BYTES_UNTIL_UDP + 1).is_empty());
    assert_eq!(dropped(&socket), [("carrier_long", 3)]);
    // A connection that has found more on UDP goes on with it.
    socket.set_route_within(THERE, CARRIER, CARRIED_BYTES_UNTIL_UDP + 1);
    assert_eq!(sent(CARRIED_BYTES_UNTIL_UDP + 1).len(), 3);
}

#[tokio::test]
async fn what_finds_no_carrier_is_counted_and_blocks_nothing() {
    let (socket, _queue, carrier) = carried();
    socket.set_route(THERE, CARRIER);
    carrier.set_open(false);
    socket.try_send(&transmit(&quic(THERE, 1))).unwrap();
    assert!(socket.send_own(CARRIER, &own(THERE, 65)));
    // Nor does one of a relay that is not known here.
    assert!(socket.send_own(Destination::Carrier(RelayId(HERE)), &own(THERE, 65)));
    assert_eq!(dropped(&socket), [("carrier_full", 3)]);
}

#[tokio::test]
async fn a_carrier_that_nobody_validated_hands_quinn_nothing() {
    let (socket, mut queue, carrier) = carried();
    let ours = own(HERE, 65);
    carrier.deliver(message(&[&quic(HERE, 1), &ours])).await;
    let peer = udp();
    socket.validate_source(address(&peer));
    peer.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
    assert_eq!(handed(&socket).await.0, quic(HERE, 2));
    assert_eq!(dropped(&socket), [("unvalidated", 1)]);
    let packet = queue.try_recv().unwrap();
    assert_eq!((packet.from, &packet.bytes[..]), (CARRIER, &ours[..]));

    socket.validate_source(CARRIER);
    carrier.deliver(message(&[&quic(HERE, 3)])).await;
    assert_eq!(handed(&socket).await, (quic(HERE, 3), VIRTUAL_PEER));
    socket.forget_source(CARRIER);
    carrier.deliver(message(&[&quic(HERE, 4)])).await;
    peer.send_to(&quic(HERE, 5), socket.bound().unwrap()).unwrap();
    assert_eq!(handed(&socket).await.0, quic(HERE, 5));
}

#[tokio::test]
async fn strangers_over_a_carrier_fill_no_more_than_their_part_of_the_queue() {
    let (socket, mut queue, carrier) = carried();
    let peer = udp();
    socket.validate_source(address(&peer));
    let many = vec![own(HERE, 65); OWN_PACKETS_OF_STRANGERS_MAX + 3];
    let many: Vec<_> = many.iter().map(Vec::as_slice).collect();
    for message in many.chunks(100).map(message) {
        carrier.deliver(message).await;
        peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
        handed(&socket).await;
    }
    assert_eq!(dropped(&socket), [("own_queue_full", 3)]);
    for _ in 0..OWN_PACKETS_OF_STRANGERS_MAX {
        assert_eq!(queue.try_recv().unwrap().from, CARRIER);
    }
}

/// Returns what quinn is handed in one turn, as it cuts it.
async fn turn(socket: &AgentSocket, buffers: usize) -> Vec<Vec<usize>> {
    let mut memory = vec![vec![0; 4_000]; buffers];
    let mut bufs: Vec<_> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let mut meta = vec![RecvMeta::default(); buffers];
    let received = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta));
    let count = timeout(Duration::from_secs(20), received).await.expect("something came").unwrap();
    let batch = |(meta, buffer): (&RecvMeta, &Vec<u8>)| {
        assert_eq!((meta.addr, meta.dst_ip), (VIRTUAL_PEER, None));
        buffer[..meta.len].chunks(meta.stride).map(<[u8]>::len).collect()
    };
    meta.iter().zip(&memory).take(count).map(batch).collect()
}

#[tokio::test]
async fn a_message_becomes_batches_of_packets_of_one_length() {
    let (socket, _queue, carrier) = carried();
    socket.validate_source(CARRIER);
    let (short, long, ours) = (vec![0x40; 500], vec![0x40; 1_200], own(HERE, 100));
    let lengths = [&long, &long, &ours, &short, &long, &short, &short, &short, &long];
    let lengths: Vec<_> = lengths.map(Vec::as_slice).to_vec();
    carrier.deliver(message(&lengths)).await;
    let handed = turn(&socket, 16).await;
    assert_eq!(handed, [vec![1_200, 1_200, 500], vec![1_200, 500], vec![500, 500], vec![1_200]]);

    // No more than a buffer holds, and half of them: the other half is for UDP.
    carrier.deliver(message(&[&long[..]; 10])).await;
    assert_eq!(turn(&socket, 4).await, [[1_200; 3]; 2]);
    assert_eq!(turn(&socket, 4).await, [vec![1_200; 3], vec![1_200]]);
}

#[tokio::test]
async fn udp_has_its_share_while_a_carrier_is_never_empty() {
    let (socket, _queue, carrier) = carried();
    let peer = udp();
    socket.validate_source(CARRIER);
    socket.validate_source(address(&peer));
    for _ in 0..8 {
        carrier.deliver(message(&[&[0x40; 1_200][..]; 50])).await;
    }
    peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
    // Long before the carrier is empty.
    let handed = loop {
        let handed = turn(&socket, 2).await;
        assert_eq!(handed[0], [1_200; 3]);
        if handed.len() > 1 {
            break handed;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(handed[1], [39]);
}

#[tokio::test]
async fn a_misframed_message_is_counted_and_its_carrier_told() {
    let (socket, _queue, carrier) = carried();
    socket.validate_source(CARRIER);
    let good = message(&[&quic(HERE, 1)]);
    carrier.deliver([&good[..], &[0, 9, 1]].concat().into()).await;
    carrier.deliver(message(&[&quic(HERE, 2)])).await;
    for mark in [1, 2] {
        assert_eq!(handed(&socket).await.0, quic(HERE, mark));
    }
    assert_eq!(dropped(&socket), [("misframed", 1)]);
    timeout(Duration::from_secs(20), carrier.misframed()).await.expect("it is told");
}

#[tokio::test]
async fn of_candidates_the_carrier_that_answers_first_is_where_the_route_is() {
    let (socket, _queue, carrier) = carried();
    let silent = udp();
    socket.set_candidates(THERE, &[address(&silent).into()]);
    socket.add_candidate(THERE, CARRIER);
    let dial = socket.dial(THERE);
    let mut initial = [&[0xc0, 0, 0, 0, 1, 20][..], &dial.ids.destination, &[0]].concat();
    initial.resize(1_200, 0);
    send(&socket, &initial).await;
    assert_eq!(taken(&carrier), [initial]);
    let answer = [&[0xe0, 0, 0, 0, 1, 14][..], &dial.ids.source, &[14], &[5; 14], &[0; 60]].concat();
    carrier.deliver(message(&[&answer])).await;
    assert_eq!(handed(&socket).await.0, answer);
    assert_eq!(socket.destination_of(THERE), Some(CARRIER));
    // A stranger again.
    silent.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
    carrier.deliver(message(&[&quic(HERE, 2)])).await;
    assert_eq!(handed(&socket).await.0, quic(HERE, 2));
}
