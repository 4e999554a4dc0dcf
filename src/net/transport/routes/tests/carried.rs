//! Agents at a relay that they reach over UDP, which the test can cut, and over carriers: pipes in the place of
//! TLS on TCP.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::*;
use crate::identity::ca::CertificateAuthority;
use crate::identity::key::KeyPair;
use crate::identity::tls::Identity;
use crate::transport::carrier::pump::pump;
use crate::transport::carrier::queues::CarrierEnd;
use crate::transport::carrier::websocket::WebSocket;
use crate::transport::control_dial::{self, GatewayPlace};
use crate::transport::endpoint::GatewayEndpoint;
use crate::transport::pair::NOW;
use crate::transport::relay::RelayThread;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::{CARRIED_BYTES_UNTIL_UDP, CARRIER_SILENCE, QUIC_MTU_MIN};
use adit_core::protocol::relay::Relay;

const RELAY: RelayId = RelayId(GATEWAY);
const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([1; 16]);

struct World {
    ca: CertificateAuthority,
    relay: RelayThread,
    gateway: SocketAddr,
    tasks: JoinSet<()>,
}

impl World {
    /// Starts a gateway that repeats what comes on any stream.
    fn start() -> Self {
        let ca = CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap();
        let key = Arc::new(KeyPair::generate().unwrap());
        let identity = Identity::new(&ca.sign_gateway(&key, NOW).unwrap(), key).unwrap();
        let relay = Relay::new(GATEWAY, BootId::from_bytes([1; 8]), [7; 32], Instant::now());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (relay, socket) = RelayThread::start(udp, relay).unwrap();
        let gateway = socket.bound().unwrap();
        let reset_key = ca.key().derive(b"stateless reset");
        let endpoint = GatewayEndpoint::new(socket, GATEWAY, &reset_key, &identity, ca.trust()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                served.spawn(async move { repeat(incoming.accept().await.unwrap()).await });
            }
        });
        Self { ca, relay, gateway, tasks }
    }

    /// Returns an agent with a link, which was dialled over UDP where that passes, else over a carrier.
    async fn agent(&mut self, number: u8, udp_passes: bool) -> Agent {
        let mut agent = self.unlinked(number, udp_passes).await;
        let place = GatewayPlace {
            route: GATEWAY,
            addresses: vec![agent.wire.address],
            carriers: agent.routes.carriers(),
        };
        let (endpoint, socket) = (&agent.end.endpoint, &agent.end.socket);
        let dialled = soon(control_dial::dial(endpoint, socket, place, Duration::from_secs(20))).await;
        let (link, place) = dialled.unwrap();
        assert_eq!(place.address().is_some(), udp_passes);
        let key = PacketKey::of_link(&link.registration_secret().unwrap());
        let handle = self.relay.handle();
        handle.join(agent.end.route, ORGANIZATION, key.clone()).await;
        handle.permit(agent.end.route, [1, 2].map(|number| RouteId::from_bytes([number; 8])).into()).await;
        agent.routes.follow(GATEWAY, &link);
        let addresses = vec![agent.wire.address];
        agent.routes.set_relay(Some(RelayServer { place, addresses, key, answers_probes: true }));
        agent.link = Some(link);
        agent
    }

    async fn unlinked(&mut self, number: u8, udp_passes: bool) -> Agent {
        let (mut end, carrier) = End::with_carrier(&self.ca, number, RELAY);
        let routes = driven(&mut end, number, &mut self.tasks);
        let (end, wire) = (Arc::new(end), Wire::new(self.gateway, udp_passes, &mut self.tasks).await);
        let (mut pings, pinged) = (routes.pings(), Arc::clone(&end));
        self.tasks.spawn(async move {
            while pings.changed().await.is_ok() {
                pinged.endpoint.ping();
            }
        });
        let agent = Agent { end, carrier, routes, wire, link: None };
        if !udp_passes {
            self.open_carrier(&agent).await;
        }
        agent
    }

    async fn open_carrier(&mut self, agent: &Agent) -> AbortHandle {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let served = self.relay.handle().carriers().open(([192, 0, 2, 1], 7).into()).unwrap();
        let far = WebSocket::server(far, Bytes::new()).await;
        self.tasks.spawn(async move { drop(served.serve(far).await) });
        let (near, carrier) = (WebSocket::client(near, Bytes::new()).await, agent.carrier.clone());
        carrier.set_open(true);
        agent.routes.set_carrier(RELAY, true);
        self.tasks.spawn(async move { drop(pump(near, &carrier, std::future::pending::<()>()).await) })
    }
}

/// Repeats what comes on streams of this connection, until it ends.
async fn repeat(connection: Connection) {
    let mut repeated = JoinSet::new();
    while let Ok((mut send, mut receive)) = connection.0.accept_bi().await {
        repeated.spawn(async move {
            while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
                send.write_all(&chunk.bytes).await.unwrap();
            }
        });
    }
}

struct Agent {
    end: Arc<End>,
    carrier: CarrierEnd,
    routes: Routes,
    wire: Wire,
    link: Option<Connection>,
}

impl Agent {
    fn link(&self) -> &Connection {
        self.link.as_ref().unwrap()
    }

    async fn gateways_path_is(&self, kind: PathKind) {
        let mut path = self.routes.gateway_path();
        soon(path.wait_for(|state| state.kind() == Some(kind))).await.unwrap();
    }

    async fn path_is(&self, peer: &Self, kind: PathKind) {
        let mut path = self.routes.path_state(peer.end.server);
        soon(path.wait_for(|state| state.kind() == Some(kind))).await.unwrap();
    }
}

/// UDP between one agent and the gateway.
struct Wire {
    address: SocketAddr,
    passes: Arc<AtomicBool>,
    /// What is longer is lost.
    bytes_max: Arc<AtomicUsize>,
}

impl Wire {
    async fn new(gateway: SocketAddr, passes: bool, tasks: &mut JoinSet<()>) -> Self {
        let (near, far) = (udp().await, udp().await);
        let (address, passes) = (near.local_addr().unwrap(), Arc::new(AtomicBool::new(passes)));
        let bytes_max = Arc::new(AtomicUsize::new(usize::MAX));
        let (is_open, longest) = (Arc::clone(&passes), Arc::clone(&bytes_max));
        let takes =
            move |length| is_open.load(Ordering::Relaxed) && length <= longest.load(Ordering::Relaxed);
        tasks.spawn(async move {
            let (mut agent, mut up, mut down) = (None, [0; 7_000], [0; 7_000]);
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut up) => {
                        agent = Some(from);
                        if takes(length) {
                            far.send_to(&up[..length], gateway).await.unwrap();
                        }
                    }
                    Ok((length, _)) = far.recv_from(&mut down) => {
                        if let Some(agent) = agent.filter(|_| takes(length)) {
                            near.send_to(&down[..length], agent).await.unwrap();
                        }
                    }
                }
            }
        });
        Self { address, passes, bytes_max }
    }

    fn narrow(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    fn set(&self, passes: bool) {
        self.passes.store(passes, Ordering::Relaxed);
    }
}

async fn udp() -> tokio::net::UdpSocket {
    tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// One stream, whose other end repeats what comes.
struct Echo(quinn::SendStream, quinn::RecvStream);

impl Echo {
    async fn open(connection: &Connection) -> Self {
        let (send, receive) = soon(connection.0.open_bi()).await.unwrap();
        Self(send, receive)
    }

    /// Sends so much and waits until it has come back.
    async fn check(&mut self, bytes: usize) {
        let sent: Vec<_> = (0..bytes).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let mut received = vec![0; bytes];
        let (written, read) =
            soon(async { tokio::join!(self.0.write_all(&sent), self.1.read_exact(&mut received)) }).await;
        written.unwrap();
        read.unwrap();
        assert!(received == sent, "{bytes} bytes come back as they went");
    }
}

#[tokio::test]
async fn a_control_link_moves_between_a_carrier_and_udp_underneath() {
    let mut world = World::start();
    let agent = world.agent(1, false).await;
    let mut echo = Echo::open(agent.link()).await;
    agent.gateways_path_is(PathKind::Tcp).await;
    echo.check(10_000).await;
    agent.wire.set(true);
    agent.gateways_path_is(PathKind::Direct).await;
    echo.check(10_000).await;
    assert_eq!(agent.end.socket.destination_of(GATEWAY), Some(agent.wire.address.into()));
    agent.wire.set(false);
    agent.gateways_path_is(PathKind::Tcp).await;
    echo.check(10_000).await;
    let state = *agent.routes.gateway_path().borrow();
    assert_eq!((state.why, state.changes), (Some(PathReason::Silent), 2));
    assert!(matches!(state.why_not[0], Some((PathKind::Direct, WhyNot::Silent { .. }))), "{state:?}");
    assert!(!agent.link().is_closed());
    assert!(*agent.routes.carrier_wanted().borrow());
}

/// Returns both ends of a tunnel, once each has a path of this kind to the other.
async fn tunnel(near: &Agent, far: &Agent, kind: PathKind) -> (Connection, Connection) {
    near.routes.want(wanted(&far.end, vec![]));
    far.routes.want(wanted(&near.end, vec![]));
    near.path_is(far, kind).await;
    far.path_is(near, kind).await;
    let dialled = near.end.endpoint.connect_tunnel(far.end.route, far.end.server);
    let accepted = async { far.end.endpoint.accept().await.unwrap().accept().await };
    let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    near.routes.follow(far.end.route, &dialled);
    far.routes.follow(near.end.route, &accepted);
    accepted.admit(4);
    dialled.open_window(4);
    (dialled, accepted)
}

#[tokio::test]
async fn a_tunnel_goes_on_while_each_end_takes_another_carrier_to_the_relay() {
    let mut world = World::start();
    let (near, far) = (world.agent(1, false).await, world.agent(2, false).await);
    let (dialled, accepted) = tunnel(&near, &far, PathKind::Tcp).await;
    world.tasks.spawn(repeat(accepted));
    let mut echo = Echo::open(&dialled).await;
    echo.check(300_000).await;
    // Each end's way to the relay is its own affair.
    near.wire.set(true);
    near.path_is(&far, PathKind::Relay).await;
    echo.check(300_000).await;
    assert_eq!(far.routes.path_state(near.end.server).borrow().kind(), Some(PathKind::Tcp));
    far.wire.set(true);
    far.path_is(&near, PathKind::Relay).await;
    echo.check(300_000).await;
    near.wire.set(false);
    near.path_is(&far, PathKind::Tcp).await;
    echo.check(300_000).await;
}

#[tokio::test]
async fn datagrams_grow_over_a_carrier_no_longer_than_udp_is_sure_to_carry() {
    let mut world = World::start();
    let (near, far) = (world.agent(1, false).await, world.agent(2, false).await);
    let (dialled, accepted) = tunnel(&near, &far, PathKind::Tcp).await;
    world.tasks.spawn(repeat(accepted));
    let mut echo = Echo::open(&dialled).await;
    let mtu = || usize::from(dialled.measured().mtu);
    while mtu() <= QUIC_MTU_MIN {
        echo.check(10_000).await;
    }
    echo.check(300_000).await;
    assert!(mtu() <= CARRIED_BYTES_UNTIL_UDP, "{} bytes", mtu());
    let (name, long) = near.end.socket.drops().all()[14];
    assert!(name == "carrier_long" && long > 0, "what was longer was not sent");
}

/// RFC 8200 §5 has links of 1,280 bytes; VPNs have no more.
#[tokio::test]
async fn what_began_over_a_carrier_climbs_to_udp_on_the_narrowest_network() {
    let mut world = World::start();
    let (near, far) = (world.agent(1, false).await, world.agent(2, false).await);
    let (dialled, accepted) = tunnel(&near, &far, PathKind::Tcp).await;
    world.tasks.spawn(repeat(accepted));
    let mut echo = Echo::open(&dialled).await;
    while usize::from(dialled.measured().mtu) <= QUIC_MTU_MIN {
        echo.check(10_000).await;
    }
    for agent in [&near, &far] {
        agent.wire.narrow(1_280 - 40 - 8);
        agent.wire.set(true);
    }
    near.path_is(&far, PathKind::Relay).await;
    far.path_is(&near, PathKind::Relay).await;
    echo.check(300_000).await;
}

#[tokio::test]
async fn a_transfer_goes_on_when_udp_ends_in_its_middle() {
    let mut world = World::start();
    let (near, far) = (world.agent(1, true).await, world.agent(2, true).await);
    let carriers = [world.open_carrier(&near).await, world.open_carrier(&far).await];
    let (dialled, accepted) = tunnel(&near, &far, PathKind::Relay).await;
    world.tasks.spawn(repeat(accepted));
    let mut echo = Echo::open(&dialled).await;
    echo.check(10_000).await;
    let cut = async {
        while dialled.measured().packets_sent < 500 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        near.wire.set(false);
    };
    tokio::join!(echo.check(3_000_000), cut);
    assert_eq!(near.routes.path_state(far.end.server).borrow().kind(), Some(PathKind::Tcp));
    drop(carriers);
}

#[tokio::test]
async fn what_is_registered_over_a_carrier_ends_with_it_and_begins_with_the_next() {
    let mut world = World::start();
    let agent = world.agent(1, true).await;
    let mut registered = agent.routes.registered.subscribe();
    let both = |over: &Vec<_>| *over == Carrier::ALL.map(|carrier| (RELAY, carrier));
    for _ in 0..2 {
        let carrier = world.open_carrier(&agent).await;
        soon(registered.wait_for(both)).await.unwrap();
        carrier.abort();
        agent.routes.set_carrier(RELAY, false);
        soon(registered.wait_for(|over| *over == [(RELAY, Carrier::Udp)])).await.unwrap();
    }
    // One that takes another's place at once is another all the same.
    world.open_carrier(&agent).await.abort();
    world.open_carrier(&agent).await;
    soon(registered.wait_for(both)).await.unwrap();
    registered.mark_unchanged();
    world.open_carrier(&agent).await;
    soon(registered.changed()).await.unwrap();
    soon(registered.wait_for(both)).await.unwrap();
}

#[tokio::test]
async fn a_carrier_that_answers_nothing_is_told_to_be_dead() {
    let mut world = World::start();
    let agent = world.agent(1, true).await;
    // It takes all that is sent; as a proxy does that has forgotten where to.
    agent.carrier.set_open(true);
    // Word of one before.
    agent.routes.note_carrier_dead();
    let opened = Instant::now();
    agent.routes.set_carrier(RELAY, true);
    let dead = soon(agent.routes.carrier_dead());
    tokio::select! {
        () = dead => {}
        () = async { loop { agent.carrier.next().await; } } => unreachable!("it takes for ever"),
    }
    assert!(opened.elapsed() >= CARRIER_SILENCE);
}

#[tokio::test]
async fn a_gateway_that_answers_no_probes_is_asked_none_and_has_no_carrier() {
    let mut world = World::start();
    let agent = world.unlinked(1, true).await;
    let mut is_wanted = agent.routes.carrier_wanted();
    assert!(*is_wanted.borrow_and_update(), "from the first dial on");
    let (place, key) = (Destination::Udp(agent.wire.address), PacketKey::of_link(&[1; 32]));
    agent.routes.set_relay(Some(RelayServer { place, addresses: vec![], key, answers_probes: false }));
    soon(is_wanted.wait_for(|is_wanted| !is_wanted)).await.unwrap();
    let state = *agent.routes.gateway_path().borrow();
    assert_eq!(state, PathState { path: Some(Path::Direct(agent.wire.address)), ..PathState::default() });
    agent.routes.set_relay(None);
    soon(is_wanted.wait_for(|is_wanted| *is_wanted)).await.unwrap();
}

#[tokio::test]
async fn a_link_that_came_up_without_an_address_goes_over_to_udp_once_there_is_one() {
    let mut world = World::start();
    let agent = world.agent(1, false).await;
    let relay = agent.routes.relay.borrow().clone().map(|server| RelayServer { addresses: vec![], ..server });
    agent.routes.set_relay(relay);
    agent.gateways_path_is(PathKind::Tcp).await;
    agent.wire.set(true);
    agent.routes.set_gateway_addresses(vec![agent.wire.address]);
    agent.gateways_path_is(PathKind::Direct).await;
    Echo::open(agent.link()).await.check(10_000).await;
}
