//! Agents on carriers, through the thread, over pipes in the place of TLS on TCP. Some calls wait for the thread
//! and hold up theirs, so the carriers are served by others.

use bytes::{Bytes, BytesMut};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use super::*;
use crate::transport::carrier::websocket::{Ended, Incoming, Outgoing, WebSocket};
use crate::transport::pair::soon;
use crate::transport::relay::carriers::{CarrierEnded, CarrierRefusal};
use adit_core::domain::limits::{CARRIER_QUEUE_BYTES_MAX, CARRIER_UNPROVEN_BYTES_MAX};
use adit_core::protocol::carrier;

/// What a pipe holds: less than a queue.
const PIPE_BYTES: usize = 16 * 1024;

/// An agent's end of a carrier.
struct Near {
    outgoing: Outgoing<DuplexStream>,
    incoming: Incoming<DuplexStream>,
    /// Packets of the message that came last.
    arrived: std::collections::VecDeque<Vec<u8>>,
}

impl Near {
    async fn send(&mut self, packets: &[Vec<u8>]) {
        let mut message = BytesMut::new();
        for packet in packets {
            assert!(carrier::append(&mut message, packet));
        }
        self.outgoing.feed(message.freeze()).await.unwrap();
        self.outgoing.flush().await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        while self.arrived.is_empty() {
            let message = soon(self.incoming.next()).await.unwrap();
            self.arrived.extend(carrier::packets(&message).map(|packet| packet.unwrap().to_vec()));
        }
        self.arrived.pop_front().unwrap()
    }
}

/// Carriers of a world, each served by a task.
#[derive(Default)]
struct Served(JoinSet<CarrierEnded>);

impl Served {
    /// Opens a carrier; returns the agent's end.
    async fn open(&mut self, world: &World) -> Near {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let served = world.thread.handle().carriers().open(([192, 0, 2, 1], 7).into()).unwrap();
        self.0.spawn(async move { served.serve(WebSocket::server(far, Bytes::new()).await).await });
        let (outgoing, incoming) = WebSocket::client(near, Bytes::new()).await.split();
        Near { outgoing, incoming, arrived: std::collections::VecDeque::new() }
    }

    async fn agent(&mut self, world: &World, number: u8) -> (RouteId, Near) {
        let handle = world.thread.handle();
        handle.join(route(number), ORGANIZATION, key(number)).await;
        handle.permit(route(number), (0..8).map(route).collect()).await;
        let mut near = self.open(world).await;
        register(&mut near, number, 1).await;
        (route(number), near)
    }
}

fn key(number: u8) -> PacketKey {
    PacketKey::of_link(&[number; 32])
}

fn sealed(kind: PacketKind, from: u8, nonce: [u8; 16]) -> Vec<u8> {
    let packet = Packet {
        kind,
        destination: GATEWAY,
        source: route(from),
        boot: BOOT,
        nonce,
        length: PROBE_BYTES_MIN,
    };
    key(from).seal(&packet, &mut [0; PROBE_BYTES_MIN]).to_vec()
}

/// Registers by hand, with the `number`th Register.
async fn register(near: &mut Near, agent: u8, number: u8) {
    let mut nonce = [3; 16];
    nonce[..8].copy_from_slice(&u64::from(number).to_be_bytes());
    near.send(&[sealed(PacketKind::Register, agent, nonce)]).await;
    let challenge = key(agent).open(&near.receive().await).unwrap();
    near.send(&[sealed(PacketKind::Confirm, agent, challenge.nonce)]).await;
    assert_eq!(key(agent).open(&near.receive().await).unwrap().kind, PacketKind::Registered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_pass_between_carriers_and_udp_in_every_direction() {
    let (world, mut served) = (World::start(), Served::default());
    let ((one, mut near), (other, mut far)) = (served.agent(&world, 1).await, served.agent(&world, 2).await);
    let third = world.agent(3).await;
    for round in 0..20 {
        let packets: Vec<_> =
            [20, 1_452, 1_452, 700, 6_500].iter().map(|&length| quic(other, length, round)).collect();
        near.send(&packets).await;
        for packet in &packets {
            assert_eq!(far.receive().await, *packet);
        }
        let packets: Vec<_> =
            [1_200, 1_200, 30, 1_452].iter().map(|&length| quic(third.route, length, round)).collect();
        far.send(&packets).await;
        for packet in &packets {
            assert_eq!(third.receive(), *packet);
        }
        for length in [60, 1_452] {
            third.udp.send_to(&quic(one, length, round), world.address).unwrap();
            assert_eq!(near.receive().await, quic(one, length, round));
        }
    }
    world.eventually(|counters| counters.packets() == 20 * (5 + 4 + 2));
    let traffic = world.thread.handle().traffic().await;
    let there = traffic.iter().find(|pair| (pair.from, pair.to) == (one, other)).unwrap();
    assert_eq!(there.packets, 20 * 5);
    world.eventually(|counters| (counters.carriers(), counters.proven_carriers()) == (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_fills_its_own_queue_and_delays_nobody() {
    let (world, mut served) = (World::start(), Served::default());
    let ((slow, mut unread), (other, mut far)) =
        (served.agent(&world, 1).await, served.agent(&world, 2).await);
    let third = world.agent(3).await;
    // Far more than its queue and the pipe hold.
    let packets = 4 * CARRIER_QUEUE_BYTES_MAX / 1_000;
    for sent in 0..packets {
        third.udp.send_to(&quic(slow, 1_000, 1), world.address).unwrap();
        if sent % 16 == 0 {
            third.udp.send_to(&quic(other, 100, 2), world.address).unwrap();
            assert_eq!(far.receive().await, quic(other, 100, 2));
        }
    }
    world.eventually(|_| world.dropped(DropReason::CarrierFull) > packets as u64 / 2);
    assert_eq!(world.dropped(DropReason::SocketFull), 0);
    // What waited for it is there once it reads, and then there is room again.
    assert_eq!(unread.receive().await, quic(slow, 1_000, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_next_carrier_replaces_the_one_before() {
    let (world, mut served) = (World::start(), Served::default());
    let (one, mut before) = served.agent(&world, 1).await;
    let third = world.agent(3).await;
    let mut after = served.open(&world).await;
    register(&mut after, 1, 2).await;
    assert!(matches!(soon(before.incoming.next()).await, Err(Ended::Closed)));
    let end = soon(served.0.join_next()).await.unwrap().unwrap();
    assert!(matches!(end, CarrierEnded::Refused(CarrierRefusal::Replaced)), "{end}");
    third.udp.send_to(&quic(one, 100, 1), world.address).unwrap();
    assert_eq!(after.receive().await, quic(one, 100, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_carrier_ends_is_reached_where_else_it_is() {
    let (world, mut served) = (World::start(), Served::default());
    let one = world.agent(1).await;
    let mut near = served.open(&world).await;
    // Later than its address.
    register(&mut near, 1, 2).await;
    let third = world.agent(3).await;
    third.udp.send_to(&quic(one.route, 100, 1), world.address).unwrap();
    assert_eq!(near.receive().await, quic(one.route, 100, 1));
    drop(near);
    soon(served.0.join_next()).await.unwrap().unwrap();
    // The thread hears of it before the next batch.
    assert_eq!(world.thread.handle().carriers().count(), 0);
    world.thread.handle().traffic().await;
    third.udp.send_to(&quic(one.route, 100, 2), world.address).unwrap();
    assert_eq!(one.receive(), quic(one.route, 100, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_framed_otherwise_ends_its_carrier() {
    let (world, mut served) = (World::start(), Served::default());
    let mut near = served.open(&world).await;
    near.outgoing.feed(Bytes::from_static(&[0, 9, 1])).await.unwrap();
    near.outgoing.flush().await.unwrap();
    let end = soon(served.0.join_next()).await.unwrap().unwrap();
    assert!(matches!(end, CarrierEnded::Refused(CarrierRefusal::Misframed)), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_carriers_reach_nobody_but_the_gateway_itself() {
    use std::future::poll_fn;
    use std::io::IoSliceMut;

    use quinn::AsyncUdpSocket;
    use quinn::udp::RecvMeta;

    let (world, mut served) = (World::start(), Served::default());
    let (one, mut near) = served.agent(&world, 1).await;
    let mut stranger = served.open(&world).await;
    stranger.send(&[quic(one, 100, 1), vec![0x3f; 100], quic(GATEWAY, 100, 3)]).await;
    world.eventually(|counters| counters.own() == 1);
    world.eventually(|_| world.dropped(DropReason::UnknownSource) == 1);
    world.eventually(|_| world.dropped(DropReason::UnknownKind) == 1);
    let mut buffer = vec![0; 1_000];
    let mut meta = [RecvMeta::default()];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    poll_fn(|cx| world.socket.poll_recv(cx, &mut slices, &mut meta)).await.unwrap();
    // And it is answered at the address that stands for it.
    let contents = quic(route(9), 250, 4);
    let transmit = quinn::udp::Transmit {
        destination: meta[0].addr,
        ecn: None,
        contents: &contents,
        segment_size: Some(200),
        src_ip: None,
    };
    world.socket.try_send(&transmit).unwrap();
    assert_eq!(stranger.receive().await, contents[..200]);
    assert_eq!(stranger.receive().await, contents[200..]);
    near.send(&[quic(one, 100, 1)]).await;
    world.eventually(|_| world.dropped(DropReason::NotPermitted) == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_nobody_has_proven_takes_little_and_a_proven_one_what_comes() {
    let (world, mut served) = (World::start(), Served::default());
    let (_, mut proven) = served.agent(&world, 1).await;
    let mut stranger = served.open(&world).await;
    let packets = vec![vec![0x3f; 6_000]; 10];
    let messages = CARRIER_UNPROVEN_BYTES_MAX / (10 * 6_000);
    for _ in 0..=messages {
        proven.send(&packets).await;
    }
    for _ in 0..messages {
        stranger.send(&packets).await;
    }
    world.eventually(|_| world.dropped(DropReason::UnknownKind) == 10 * (2 * messages as u64 + 1));
    // It may be gone before the last is written.
    let _ = stranger.outgoing.feed(vec![0; 60_000].into()).await;
    let _ = stranger.outgoing.flush().await;
    let end = soon(served.0.join_next()).await.unwrap().unwrap();
    assert!(matches!(end, CarrierEnded::Refused(CarrierRefusal::Talkative)), "{end}");
    assert_eq!(world.thread.handle().carriers().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_packets_ends_its_carrier() {
    let (world, mut served) = (World::start(), Served::default());
    let mut near = served.open(&world).await;
    near.outgoing.feed(Bytes::new()).await.unwrap();
    near.outgoing.flush().await.unwrap();
    let end = soon(served.0.join_next()).await.unwrap().unwrap();
    assert!(matches!(end, CarrierEnded::Refused(CarrierRefusal::Misframed)), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_overheard_does_nothing_elsewhere() {
    let (world, mut served) = (World::start(), Served::default());
    let (one, mut near) = served.agent(&world, 1).await;
    let third = world.agent(3).await;
    let mut thief = served.open(&world).await;
    let mut nonce = [3; 16];
    nonce[..8].copy_from_slice(&2_u64.to_be_bytes());
    let overheard = sealed(PacketKind::Register, 1, nonce);
    near.send(std::slice::from_ref(&overheard)).await;
    let challenge = key(1).open(&near.receive().await).unwrap();
    let confirm = sealed(PacketKind::Confirm, 1, challenge.nonce);
    let probe = sealed(PacketKind::Probe, 1, [7; 16]);
    // Before its owner has confirmed: over another carrier, and over UDP.
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for packet in [&overheard, &confirm, &probe] {
        thief.send(std::slice::from_ref(packet)).await;
        stranger.send_to(packet, world.address).unwrap();
    }
    world.eventually(|_| world.dropped(DropReason::Replayed) >= 2);
    near.send(&[confirm]).await;
    assert_eq!(key(1).open(&near.receive().await).unwrap().kind, PacketKind::Registered);
    thief.send(&[quic(third.route, 100, 9)]).await;
    world.eventually(|_| world.dropped(DropReason::UnknownSource) == 1);
    third.udp.send_to(&quic(one, 100, 1), world.address).unwrap();
    assert_eq!(near.receive().await, quic(one, 100, 1));
    world.eventually(|counters| (counters.carriers(), counters.proven_carriers()) == (2, 1));
}
