mod carriers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use adit_core::domain::id::BootId;
use adit_core::domain::path::Carrier;
use adit_core::protocol::packet::{PROBE_BYTES_MIN, Packet, PacketKind};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::relay::{ANSWER_BYTES, DropReason, PairId, RelayVerdict, Source};

const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");
const BOOT: BootId = BootId::from_bytes([1; 8]);
const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([1; 16]);
/// Far more than loopback needs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn relay() -> Relay {
    Relay::new(GATEWAY, BOOT, [7; 32], Instant::now())
}

/// Names of pairs, for those who have no relay.
pub(super) fn pairs() -> Vec<PairId> {
    let now = Instant::now();
    let mut relay = relay();
    let routes: BTreeSet<_> = (0..4).map(route).collect();
    for (port, &route) in (1..).zip(&routes) {
        let key = PacketKey::of_link(&[1; 32]);
        relay.join(route, ORGANIZATION, key.clone()).unwrap();
        relay.permit(route, routes.clone()).unwrap();
        let mut registration = Registration::new(route, GATEWAY, BOOT);
        registration.set_key(Some(key), now);
        registration.handle_timeout(now, &mut || [3; 16]);
        while let Some((_, packet)) = registration.poll_transmit() {
            let mut answer = [0; ANSWER_BYTES];
            relay.handle(Source::Udp(([10, 0, 0, 1], port).into()), &packet, now, &mut answer);
            registration.handle_packet(Carrier::Udp, &answer[..PROBE_BYTES_MIN], now);
        }
    }
    let mut pair = |to| match relay.handle(
        Source::Udp(([10, 0, 0, 1], 1).into()),
        &quic(route(to), 30, 0),
        now,
        &mut [0; ANSWER_BYTES],
    ) {
        RelayVerdict::Forward { pair, .. } => pair,
        other => panic!("{other:?}"),
    };
    (1..4).map(&mut pair).collect()
}

fn route(number: u8) -> RouteId {
    RouteId::from_bytes([b'a', b'g', b'e', b'n', b't', 0, 0, number])
}

/// Returns a QUIC packet with a short header.
fn quic(route: RouteId, length: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; length];
    packet[0] = 0x40;
    packet[1..9].copy_from_slice(route.as_bytes());
    packet
}

/// A relay on a real socket.
struct World {
    thread: RelayThread,
    socket: Arc<GatewaySocket>,
    address: SocketAddr,
}

/// An agent's socket, registered at it.
struct Agent {
    route: RouteId,
    udp: UdpSocket,
}

impl World {
    fn start() -> Self {
        let (thread, socket) = RelayThread::start(udp(), relay()).unwrap();
        let address = socket.bound().unwrap();
        Self { thread, socket, address }
    }

    async fn agent(&self, number: u8) -> Agent {
        let (route, key) = (route(number), PacketKey::of_link(&[number; 32]));
        let handle = self.thread.handle();
        handle.join(route, ORGANIZATION, key.clone()).await;
        handle.permit(route, (0..8).map(self::route).collect()).await;
        let agent = Agent { route, udp: udp() };
        let now = Instant::now();
        let mut registration = Registration::new(route, GATEWAY, BOOT);
        registration.set_key(Some(key), now);
        registration.handle_timeout(now, &mut || [number; 16]);
        while let Some((_, packet)) = registration.poll_transmit() {
            agent.udp.send_to(&packet, self.address).unwrap();
            registration.handle_packet(Carrier::Udp, &agent.receive(), now);
        }
        assert!(registration.is_registered(Carrier::Udp, now));
        agent
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.thread.handle().counters().dropped(reason)
    }

    /// Waits until the thread has published what it did; counters tell nobody when they change.
    fn eventually(&self, is_so: impl Fn(&RelayCounters) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self.thread.handle().counters()) {
            assert!(Instant::now() < give_up, "{:?}", self.thread.handle().counters());
            std::thread::yield_now();
        }
    }
}

impl Agent {
    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let (length, _) = self.udp.recv_from(&mut buffer).expect("a packet arrives");
        buffer.truncate(length);
        buffer
    }
}

fn udp() -> UdpSocket {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    udp
}

#[tokio::test]
async fn packets_of_every_length_arrive_unchanged_in_order() {
    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    let lengths = [20, 1_200, 1_200, 1_200, 700, 1_452, 1_452, 6_500, 6_500, 30_000, 65_000, 9, 1_452];
    for round in 0..20 {
        let packets: Vec<_> = lengths.iter().map(|&length| quic(other.route, length, round)).collect();
        for packet in &packets {
            one.udp.send_to(packet, world.address).unwrap();
        }
        for packet in &packets {
            assert!(other.receive() == *packet, "{} bytes of round {round}", packet.len());
        }
    }
    world.eventually(|counters| counters.packets() == 20 * lengths.len() as u64);
    let bytes = 20 * lengths.iter().sum::<usize>() as u64;
    let traffic = world.thread.handle().traffic().await;
    let there = traffic.iter().find(|pair| pair.from == one.route).unwrap();
    assert_eq!((there.packets, there.bytes), (20 * lengths.len() as u64, bytes));
    assert_eq!(world.thread.handle().counters().bytes(), bytes);
}

#[tokio::test]
async fn packets_of_many_agents_reach_each_its_own() {
    let world = World::start();
    let mut agents = Vec::new();
    for number in 0..6 {
        agents.push(world.agent(number).await);
    }
    for round in 0..50 {
        for (from, to) in [(0, 1), (2, 3), (4, 5), (0, 3), (1, 0)] {
            let mark = round * 5 + u8::try_from(from).unwrap();
            agents[from].udp.send_to(&quic(agents[to].route, 200, mark), world.address).unwrap();
        }
        for (to, expected) in [(1, vec![0]), (3, vec![0, 2]), (5, vec![4]), (0, vec![1])] {
            let mut marks: Vec<_> = expected.iter().map(|_| agents[to].receive()[199] - round * 5).collect();
            marks.sort_unstable();
            assert_eq!(marks, expected);
        }
    }
}

#[tokio::test]
async fn a_batch_goes_out_as_it_came_in_with_its_congestion_mark() {
    use std::io::IoSliceMut;

    use quinn::udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};

    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    let [sending, receiving] = [&one, &other].map(|agent| UdpSocketState::new((&agent.udp).into()).unwrap());
    other.udp.set_nonblocking(false).unwrap();
    for (mark, ecn) in [(1, Some(EcnCodepoint::Ect0)), (2, Some(EcnCodepoint::Ce)), (3, None)] {
        let before = world.thread.handle().counters().sends();
        let contents = quic(other.route, 1_452, mark).repeat(10);
        let transmit = Transmit {
            destination: world.address,
            ecn,
            contents: &contents,
            segment_size: Some(1_452),
            src_ip: None,
        };
        sending.try_send((&one.udp).into(), &transmit).unwrap();
        let (mut buffer, mut arrived) = (vec![0; 65_535], Vec::new());
        while arrived.len() < contents.len() {
            let mut meta = [RecvMeta::default()];
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            receiving.recv((&other.udp).into(), slices, &mut meta).unwrap();
            assert_eq!(meta[0].ecn, ecn);
            arrived.extend_from_slice(&buffer[..meta[0].len]);
        }
        assert!(arrived == contents);
        world.eventually(|counters| counters.sends() > before);
        assert_eq!(world.thread.handle().counters().sends() - before, 1);
    }
}

#[tokio::test]
async fn more_commands_than_the_queue_holds_are_all_handled() {
    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    let handle = world.thread.handle();
    for _ in 0..RELAY_COMMANDS_QUEUED_MAX {
        handle.permit(one.route, BTreeSet::new()).await;
        handle.permit(one.route, [other.route].into()).await;
    }
    assert_eq!(handle.traffic().await.len(), 2);
}

#[tokio::test]
async fn what_is_not_permitted_goes_nowhere_but_into_the_count() {
    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    let stranger = udp();
    stranger.send_to(&quic(other.route, 100, 1), world.address).unwrap();
    stranger.send_to(&[0x3f; 100], world.address).unwrap();
    stranger.send_to(&[0x01; 10], world.address).unwrap();
    one.udp.send_to(&quic(route(99), 100, 1), world.address).unwrap();
    world.eventually(|_| world.dropped(DropReason::NotPermitted) == 1);
    assert_eq!(world.dropped(DropReason::UnknownSource), 1);
    assert_eq!(world.dropped(DropReason::UnknownKind), 1);
    assert_eq!(world.dropped(DropReason::Malformed), 1);

    let handle = world.thread.handle();
    handle.permit(other.route, BTreeSet::new()).await;
    assert_eq!(handle.traffic().await, []);
    one.udp.send_to(&quic(other.route, 100, 1), world.address).unwrap();
    world.eventually(|_| world.dropped(DropReason::NotPermitted) == 2);
    handle.permit(other.route, [one.route].into()).await;
    handle.remove(one.route).await;
    handle.leave(other.route).await;
    assert_eq!(handle.traffic().await, []);
    one.udp.send_to(&quic(other.route, 100, 1), world.address).unwrap();
    world.eventually(|_| world.dropped(DropReason::UnknownSource) == 2);
    other.udp.set_nonblocking(true).unwrap();
    assert!(other.udp.recv_from(&mut [0; 100]).is_err());
}

#[tokio::test]
async fn the_gateways_own_packets_reach_its_endpoint_up_to_the_bound() {
    use std::future::poll_fn;
    use std::io::IoSliceMut;

    use quinn::AsyncUdpSocket;
    use quinn::udp::RecvMeta;

    let world = World::start();
    let stranger = udp();
    stranger.send_to(&quic(GATEWAY, GATEWAY_OWN_BYTES + 1, 1), world.address).unwrap();
    // A few at a time, so that no kernel's buffer overflows first.
    let total = GATEWAY_OWN_QUEUED_MAX as u64 + 8;
    for sent in 1..=total {
        stranger.send_to(&quic(GATEWAY, 100, u8::try_from(sent % 250).unwrap()), world.address).unwrap();
        if sent % 8 == 0 {
            world.eventually(|counters| counters.own() + world.dropped(DropReason::OwnQueueFull) == sent);
        }
    }
    assert_eq!(world.dropped(DropReason::OwnQueueFull), 8);
    assert_eq!(world.dropped(DropReason::Malformed), 1);
    let mut buffers = [vec![0; 1_000], vec![0; 1_000]];
    for sent in 1..=GATEWAY_OWN_QUEUED_MAX / 2 {
        let mut metas = [RecvMeta::default(); 2];
        let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        let count = poll_fn(|cx| world.socket.poll_recv(cx, &mut slices, &mut metas)).await.unwrap();
        assert_eq!(count, 2);
        assert_eq!(buffers[1][..100], quic(GATEWAY, 100, u8::try_from(sent * 2 % 250).unwrap()));
        assert_eq!((metas[1].addr, metas[1].len), (stranger.local_addr().unwrap(), 100));
    }
    // Once the thread has ended the endpoint hears it.
    let World { thread, socket, .. } = world;
    drop(thread);
    let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
    let ended = poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut [RecvMeta::default(); 2])).await;
    assert!(ended.is_err());
}

const GATEWAY_OWN_BYTES: usize = adit_core::domain::limits::GATEWAY_OWN_BYTES_MAX;

#[tokio::test]
async fn a_command_is_handled_while_packets_pour_in() {
    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    let address = world.address;
    let stop = Arc::new(AtomicBool::new(false));
    let pouring = {
        let (stop, packet) = (Arc::clone(&stop), quic(other.route, 1_000, 1));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                one.udp.send_to(&packet, address).unwrap();
            }
        })
    };
    world.eventually(|counters| counters.packets() > 1_000);
    world.thread.handle().remove(route(1)).await;
    assert_eq!(world.thread.handle().traffic().await, []);
    world.eventually(|_| world.dropped(DropReason::UnknownSource) > 0);
    stop.store(true, Ordering::Relaxed);
    pouring.join().unwrap();
    drop(world);
}

#[tokio::test]
async fn a_datagram_that_cannot_go_on_is_counted_without_stopping_others() {
    let world = World::start();
    let (one, other) = (world.agent(1).await, world.agent(2).await);
    // Sealed so that nobody can open it: dropped without a word.
    let key = PacketKey::of_link(&[0x55; 32]);
    let packet = Packet {
        kind: PacketKind::Register,
        destination: GATEWAY,
        source: one.route,
        boot: BOOT,
        nonce: [9; 16],
        length: PROBE_BYTES_MIN,
    };
    one.udp.send_to(key.seal(&packet, &mut [0; PROBE_BYTES_MIN]), world.address).unwrap();
    world.eventually(|_| world.dropped(DropReason::Forged) == 1);
    one.udp.send_to(&quic(other.route, 100, 1), world.address).unwrap();
    assert_eq!(other.receive(), quic(other.route, 100, 1));
}
