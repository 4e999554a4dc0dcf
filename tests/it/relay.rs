//! The gateway's UDP port against those who mean harm: 100,000 packets that are forged, replayed or
//! thrown back, and those who are not welcome any more.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_core::config::gateway::RelayConfig;
use adit_core::domain::id::{BootId, RouteId};
use adit_core::domain::limits::{RELAY_ANSWERS_PER_SECOND, RELAY_REPEATS_ANSWERED_MAX};
use adit_core::domain::path::Carrier;
use adit_core::domain::secret::Secret;
use adit_core::protocol::control::ToGateway;
use adit_core::protocol::initial::TagKey;
use adit_core::protocol::packet::{PROBE_BYTES_MIN, Packet, PacketKey, PacketKind};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::relay::DropReason;
use adit_gateway::platform::ConnectionCommand;
use adit_lab::messages::Draws;
use adit_net::identity::random;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::link;
use adit_net::transport::relay::RelayHandle;
use adit_net::transport::socket::{AgentSocket, OwnPacket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::lab::draws;
use super::world::{Link, Pair, World, eventually};

const PACKETS: usize = 100_000;
/// Sent before anyone looks how far the gateway is: no kernel's buffer overflows.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server's agent as far as the relay is concerned.
struct Member {
    route: RouteId,
    link: Link,
    registration: Registration,
}

/// What an eavesdropper has of a registration: the agent's words, and the gateway's.
#[derive(Default)]
struct Overheard {
    agent: Vec<Vec<u8>>,
    gateway: Vec<Vec<u8>>,
}

impl Member {
    async fn start(world: &World, agent: &super::world::Agent) -> Self {
        let link = agent.welcomed(world).await;
        let route = agent.enrolment.route;
        let boot = BootId::from_bytes(random::bytes());
        let mut registration = Registration::new(route, agent.enrolment.gateway_route, boot);
        registration.set_key(Some(link.registration.clone()), Instant::now());
        Self { route, link, registration }
    }

    /// Registers at `udp`'s address, as if the agent were there.
    fn register_at(&mut self, udp: &UdpSocket, gateway: SocketAddr) -> Overheard {
        let mut overheard = Overheard::default();
        let now = Instant::now();
        self.registration.search(now);
        self.registration.handle_timeout(now, &mut random::bytes);
        while let Some((_, packet)) = self.registration.poll_transmit() {
            udp.send_to(&packet, gateway).unwrap();
            let answer = receive(udp);
            self.registration.handle_packet(Carrier::Udp, &answer, now);
            overheard.agent.push(packet.into());
            overheard.gateway.push(answer);
        }
        overheard
    }

    /// Keeps the agent's own socket registered from now on.
    fn keep_registered(&mut self, gateway: SocketAddr, tasks: &mut JoinSet<()>) {
        let boot = BootId::from_bytes([0; 8]);
        let idle = Registration::new(self.route, self.route, boot);
        let mut registration = std::mem::replace(&mut self.registration, idle);
        registration.search(Instant::now());
        let own_packets = self.link.own_packets.take().unwrap();
        tasks.spawn(keep(registration, Arc::clone(&self.link.socket), own_packets, gateway));
    }
}

async fn keep(
    mut registration: Registration,
    socket: Arc<AgentSocket>,
    mut own_packets: mpsc::Receiver<OwnPacket>,
    gateway: SocketAddr,
) {
    loop {
        let due = registration.poll_timeout().unwrap();
        tokio::select! {
            Some(packet) = own_packets.recv() => {
                registration.handle_packet(Carrier::Udp, &packet.bytes, Instant::now());
            }
            () = sleep_until(due.into()) => {}
        }
        registration.handle_timeout(Instant::now(), &mut random::bytes);
        while let Some((_, packet)) = registration.poll_transmit() {
            socket.send_own(gateway, &packet);
        }
    }
}

fn udp() -> UdpSocket {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    udp
}

fn receive(udp: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let (length, _) = udp.recv_from(&mut buffer).expect("a packet arrives");
    buffer.truncate(length);
    buffer
}

/// A QUIC packet with a short header.
fn quic(route: RouteId, length: usize) -> Vec<u8> {
    let mut packet = vec![7; length];
    packet[0] = 0x40;
    packet[1..9].copy_from_slice(route.as_bytes());
    packet
}

/// Everything that has reached the gateway's UDP port.
fn seen(relay: &RelayHandle) -> u64 {
    judged(relay) + relay.counters().own()
}

/// The same without what is the gateway's own: links speak whenever they like.
fn judged(relay: &RelayHandle) -> u64 {
    let counters = relay.counters();
    let dropped: u64 = DropReason::ALL.iter().map(|&reason| counters.dropped(reason)).sum();
    counters.packets() + counters.answers() + dropped
}

/// Waits until so much has; a few packets take microseconds, so it only steps aside.
async fn sees(relay: &RelayHandle, packets: u64) {
    counts(relay, seen, packets).await;
}

async fn counts(relay: &RelayHandle, count: fn(&RelayHandle) -> u64, packets: u64) {
    let give_up = Instant::now() + PATIENCE;
    while count(relay) < packets {
        assert!(Instant::now() < give_up, "the gateway takes no packets");
        tokio::task::yield_now().await;
    }
}

/// As if each had answered the other's probes: handshakes between the two pass.
fn meet(source: &Member, target: &Member) {
    let boot = |member: &Member| BootId::from_bytes(*member.route.as_bytes());
    for (one, other) in [(source, target), (target, source)] {
        let gate = one.link.socket.gate();
        gate.set_boot(boot(one));
        gate.set_peer(other.route, vec![TagKey::of_connection(&Secret::from_bytes([4; 32]))]);
        gate.note_peer(other.route, Some(boot(other)), 0);
    }
}

/// Both ends of a tunnel that goes through the relay.
async fn tunnel(source: &Member, target: &Member, pair: &Pair) -> (Connection, Connection) {
    let dialled = source.link.endpoint.connect_tunnel(target.route, pair.target.server());
    let accepted = async { target.link.endpoint.accept().await.unwrap().accept().await };
    let (dialled, accepted) =
        timeout(PATIENCE, async { tokio::join!(dialled, accepted) }).await.expect("it connects");
    let ends = (dialled.unwrap(), accepted.unwrap());
    ends.0.open_window(8);
    ends.1.admit(8);
    ends
}

/// Sends a number, waits for it to come back, and so on; counts them and keeps the longest wait.
async fn converse(ends: (Connection, Connection), rounds: Arc<AtomicU64>, longest_us: Arc<AtomicU64>) {
    let (mut there, mut back) = link::open(&ends.0).await.unwrap();
    let echo = async {
        let (mut sender, mut receiver) = link::accept(&ends.1).await.unwrap();
        loop {
            let number: ToGateway = receiver.receive().await.unwrap();
            sender.send(&number).await.unwrap();
        }
    };
    let ask = async {
        for number in 0.. {
            let asked = Instant::now();
            there.send(&ToGateway::Heartbeat { number }).await.unwrap();
            assert_eq!(back.receive::<ToGateway>().await.unwrap(), ToGateway::Heartbeat { number });
            let took = u64::try_from(asked.elapsed().as_micros()).unwrap();
            longest_us.fetch_max(took, Ordering::Relaxed);
            rounds.store(number + 1, Ordering::Relaxed);
        }
    };
    tokio::join!(echo, ask);
}

/// What one who knows everything that was ever sent, but no key, can make of it.
struct Forger {
    draws: Draws,
    gateway: RouteId,
    members: [RouteId; 2],
    overheard: Overheard,
    probe: Vec<u8>,
}

impl Forger {
    fn drawn(&mut self, below: usize) -> usize {
        usize::try_from(self.draws.below(below as u64)).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.draws.below(256)).unwrap()).collect()
    }

    fn word(&mut self) -> Vec<u8> {
        let index = self.drawn(self.overheard.agent.len());
        self.overheard.agent[index].clone()
    }

    fn answer(&mut self) -> Vec<u8> {
        let index = self.drawn(self.overheard.gateway.len());
        self.overheard.gateway[index].clone()
    }

    fn packet(&mut self) -> (&'static str, Vec<u8>) {
        match self.drawn(10) {
            0 => {
                let length = 1 + self.drawn(200);
                ("noise", self.bytes(length))
            }
            1 => {
                let route = self.members[self.drawn(2)];
                ("QUIC for a member", quic(route, PROBE_BYTES_MIN + self.drawn(1_400)))
            }
            2 => {
                // Right in everything but the seal.
                let mut packet = self.word();
                let at = 25 + self.drawn(packet.len() - 25);
                packet[at] ^= 1 << self.drawn(8);
                ("flipped", packet)
            }
            3 => {
                let packet = self.word();
                let length = self.drawn(packet.len());
                ("cut", packet[..length].to_vec())
            }
            4 => {
                // Sealed, but with a key of the forger's own.
                let packet = Packet {
                    kind: PacketKind::ALL[self.drawn(6)],
                    destination: [self.gateway, self.members[0], self.members[1]][self.drawn(3)],
                    source: [self.gateway, self.members[0], self.members[1]][self.drawn(3)],
                    boot: BootId::from_bytes([1; 8]),
                    nonce: [2; 16],
                    length: PROBE_BYTES_MIN,
                };
                let mut wire = PacketKey::of_link(&[9; 32]).seal(&packet, &mut [0; 100]).to_vec();
                let genuine = &self.overheard.agent[0];
                wire[25..33].copy_from_slice(&genuine[25..33]);
                ("sealed anew", wire)
            }
            5 | 6 => ("replayed", self.word()),
            7 | 8 => ("reflected", self.answer()),
            _ => ("probe in a member's name", self.probe.clone()),
        }
    }
}

/// What came back, none of it longer than what it answers.
#[derive(Default)]
struct Answers {
    lengths: BTreeMap<(u8, usize), u64>,
}

impl Answers {
    fn collect(&mut self, udp: &UdpSocket) {
        udp.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        while let Ok((length, _)) = udp.recv_from(&mut buffer) {
            *self.lengths.entry((buffer[0], length)).or_default() += 1;
        }
    }

    fn count(&self) -> u64 {
        self.lengths.values().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_packets_forged_replayed_or_reflected_have_no_effect() {
    let world = World::start().await;
    let (gateway, relay) = (world.gateway.address(), world.gateway.relay().clone());
    let pair = world.pair().await;
    let mut tasks = JoinSet::new();
    let (mut source, mut target) =
        (Member::start(&world, &pair.source).await, Member::start(&world, &pair.target).await);

    // The source was elsewhere before, and everything it said there was overheard.
    let before = udp();
    let mut overheard = Overheard::default();
    for _ in 0..3 {
        let more = source.register_at(&before, gateway);
        overheard.agent.extend(more.agent);
        overheard.gateway.extend(more.gateway);
    }
    let routes = [source.route, target.route];
    for (one, other) in [(&mut source, routes[1]), (&mut target, routes[0])] {
        one.keep_registered(gateway, &mut tasks);
        one.link.socket.set_route(other, gateway);
    }
    meet(&source, &target);
    eventually(async || relay.counters().answers() >= 10).await;
    let (rounds, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ends = tunnel(&source, &target, &pair).await;
    tasks.spawn(converse(ends, Arc::clone(&rounds), Arc::clone(&longest)));

    let probe = Packet {
        kind: PacketKind::Probe,
        destination: target.route,
        source: source.route,
        boot: BootId::from_bytes([1; 8]),
        nonce: [3; 16],
        length: PROBE_BYTES_MIN,
    };
    let mut forger = Forger {
        draws: draws(100_000),
        gateway: pair.source.enrolment.gateway_route,
        members: [source.route, target.route],
        overheard,
        probe: PacketKey::of_link(&[9; 32]).seal(&probe, &mut [0; 100]).to_vec(),
    };
    let (strangers, mut answers) = ([before, udp()], Answers::default());
    let (started, mut sent) = (Instant::now(), BTreeMap::<_, u64>::new());
    let rounds_before = rounds.load(Ordering::Relaxed);
    for batch in 0..PACKETS / AT_ONCE {
        let seen_before = seen(&relay);
        for number in 0..AT_ONCE {
            let (what, packet) = forger.packet();
            // A datagram without a byte reaches no judgement.
            let packet = if packet.is_empty() { vec![0x05] } else { packet };
            strangers[(batch + number) % 2].send_to(&packet, gateway).unwrap();
            *sent.entry(what).or_default() += 1;
        }
        sees(&relay, seen_before + AT_ONCE as u64).await;
        for stranger in &strangers {
            answers.collect(stranger);
        }
    }
    let took = started.elapsed();
    let during = rounds.load(Ordering::Relaxed) - rounds_before;
    let counters = relay.counters();
    let drops: Vec<_> = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), counters.dropped(reason)))
        .filter(|(_, packets)| *packets > 0)
        .collect();
    println!("sent in {took:?}: {sent:?}");
    println!("dropped: {drops:?}; answered: {:?}", answers.lengths);
    println!("relayed meanwhile: {during} round trips, the longest {} µs", longest.load(Ordering::Relaxed));

    // Nothing but challenges was ever sent, each of the shortest request's length.
    let challenge = (4, PROBE_BYTES_MIN);
    assert!(answers.lengths.keys().all(|answer| *answer == challenge), "{:?}", answers.lengths);
    // For either member so many a second, and once a few for the latest Register.
    let seconds = took.as_secs() + 2;
    let bound = 2 * seconds * u64::from(RELAY_ANSWERS_PER_SECOND) + u64::from(RELAY_REPEATS_ANSWERED_MAX);
    assert!(answers.count() <= bound, "{} of at most {bound}", answers.count());
    // The agents talked on all the time, and still do; nobody else's packet went through.
    assert!(during > 0 && longest.load(Ordering::Relaxed) < 3_000_000);
    let after = rounds.load(Ordering::Relaxed);
    eventually(async || rounds.load(Ordering::Relaxed) > after + 10).await;
    for stranger in &strangers {
        let unknown = counters.dropped(DropReason::UnknownSource);
        stranger.send_to(&quic(target.route, 100), gateway).unwrap();
        eventually(async || counters.dropped(DropReason::UnknownSource) > unknown).await;
    }
    tasks.shutdown().await;
}

/// Two members registered at plain sockets, one of which reaches the other.
struct Reached {
    world: World,
    pair: Pair,
    source: (Member, UdpSocket),
    target: (Member, UdpSocket),
}

impl Reached {
    async fn start() -> Self {
        let reached = Self::start_in(World::start().await).await;
        assert!(reached.reaches().await);
        reached
    }

    async fn start_in(world: World) -> Self {
        let pair = world.pair().await;
        let mut members = Vec::new();
        for agent in [&pair.source, &pair.target] {
            let (mut member, udp) = (Member::start(&world, agent).await, udp());
            member.register_at(&udp, world.gateway.address());
            members.push((member, udp));
        }
        let (Some(target), Some(source)) = (members.pop(), members.pop()) else { panic!("two") };
        Self { world, pair, source, target }
    }

    /// Whether a packet of the source arrives; told by the gateway's own count, so that a packet
    /// that does not come need not be waited for.
    async fn reaches(&self) -> bool {
        let counters = self.world.gateway.relay().counters();
        let (packets, judged_before) = (counters.packets(), judged(self.world.gateway.relay()));
        let packet = quic(self.target.0.route, 500);
        self.source.1.send_to(&packet, self.world.gateway.address()).unwrap();
        counts(self.world.gateway.relay(), judged, judged_before + 1).await;
        let passed = counters.packets() > packets;
        if passed {
            assert_eq!(receive(&self.target.1), packet);
        }
        passed
    }

    /// Waits until the source's Registers are taken for forged ones.
    async fn cannot_register(&mut self) {
        let (relay, gateway) = (self.world.gateway.relay().clone(), self.world.gateway.address());
        let refused = relay.counters().dropped(DropReason::NoLink);
        let give_up = Instant::now() + PATIENCE;
        while relay.counters().dropped(DropReason::NoLink) == refused {
            let now = Instant::now();
            assert!(now < give_up, "the agent can still register");
            let (registration, udp) = (&mut self.source.0.registration, &self.source.1);
            registration.search(now);
            registration.handle_timeout(now, &mut random::bytes);
            let judged_before = judged(&relay);
            udp.send_to(&registration.poll_transmit().unwrap().1, gateway).unwrap();
            counts(&relay, judged, judged_before + 1).await;
        }
    }

    async fn is_cut(&self) -> Duration {
        let since = Instant::now();
        eventually(async || !self.reaches().await).await;
        since.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_server_is_not_relayed_even_when_its_link_is_gone() {
    let mut reached = Box::pin(Reached::start()).await;
    let server = reached.pair.source.server();
    reached.source.0.link.endpoint.close(PATIENCE).await;
    // Once the gateway knows, the agent can register no more.
    reached.cannot_register().await;
    let platform = reached.world.gateway.platform();
    assert!(reached.reaches().await, "an agent whose link broke is relayed until it lapses");
    platform.revoke_server(&reached.pair.source_initiator, server).await.unwrap();
    println!("cut {:?} after the revocation", reached.is_cut().await);
    reached.cannot_register().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_connection_is_relayed_unlike_a_terminated_one() {
    let reached = Box::pin(Reached::start()).await;
    let (platform, initiator) = (reached.world.gateway.platform(), &reached.pair.source_initiator);
    platform.command(initiator, reached.pair.connection, ConnectionCommand::Pause).await.unwrap();
    assert!(reached.reaches().await);
    platform.command(initiator, reached.pair.connection, ConnectionCommand::Terminate).await.unwrap();
    println!("cut {:?} after the end", reached.is_cut().await);
    assert!(!reached.reaches().await);
}

/// They register all the same: so their carriers are proven, and packets of the gateway's own find them.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_relay_lets_agents_register_and_reach_nobody() {
    let world = World::start_with(RelayConfig { enabled: false, ..RelayConfig::default() }).await;
    let reached = Reached::start_in(world).await;
    assert!(!reached.reaches().await);
    let counters = reached.world.gateway.relay().counters();
    assert_eq!((counters.packets(), counters.dropped(DropReason::NoLink)), (0, 0));
    assert!(counters.dropped(DropReason::NotPermitted) > 0);
}
