//! The gateway's front door to those without UDP: the opening handshake of a carrier, and an agent that has
//! nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::domain::id::RouteId;
use adit_core::domain::limits::{CARRIER_NEWCOMERS, CARRIERS_MAX};
use adit_core::domain::path;
use adit_core::protocol::carrier;
use adit_core::protocol::control::{ToAgent, VERSION};
use adit_core::protocol::enrol;
use adit_core::protocol::registration::Registration;
use adit_core::protocol::relay::DropReason;
use adit_net::identity::random;
use adit_net::identity::tls::{ENROL_ALPN, enrol_client_config};
use adit_net::transport::carrier::websocket::{Incoming, Outgoing, WebSocket};
use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{Agent, Link, World, eventually};

const PATIENCE: Duration = Duration::from_secs(20);
/// RFC 6455 §1.3
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Connects to the gateway's TCP port and asks TLS for these protocols.
async fn connect(world: &World, alpns: &[&[u8]]) -> TlsStream<TcpStream> {
    let trust = world.gateway.authority().trust();
    let mut config = enrol_client_config(trust.ca_key(), trust.trust_domain().clone()).unwrap();
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
    let name = ServerName::try_from("gateway.example.org").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

/// Returns all that comes back to a request.
async fn ask(world: &World, alpns: &[&[u8]], request: &str) -> String {
    let mut stream = connect(world, alpns).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(count @ 1..)) = timeout(PATIENCE, stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(answer).unwrap()
}

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

type Carrier = (Outgoing<TlsStream<TcpStream>>, Incoming<TlsStream<TcpStream>>);

async fn open(world: &World) -> Carrier {
    let mut stream = connect(world, &[carrier::ALPN]).await;
    stream.write_all(upgrade(carrier::PATH).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in [&format!("sec-websocket-accept: {ACCEPT}"), "upgrade: websocket", "connection: upgrade"] {
        assert!(head.lines().any(|found| found.eq_ignore_ascii_case(line)), "{line} is not in\n{head}");
    }
    WebSocket::client(stream, Bytes::new()).await.split()
}

/// Carries an agent's packets between UDP, where its socket finds the gateway, and a carrier.
async fn bridge(world: &World, tasks: &mut JoinSet<()>) -> SocketAddr {
    let (mut outgoing, mut incoming) = open(world).await;
    let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = udp.local_addr().unwrap();
    let (back, agent) = (Arc::clone(&udp), Arc::new(std::sync::OnceLock::new()));
    let found = Arc::clone(&agent);
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            found.get_or_init(|| from);
            let mut message = BytesMut::new();
            assert!(carrier::append(&mut message, &buffer[..length]));
            if outgoing.feed(message.freeze()).await.is_err() || outgoing.flush().await.is_err() {
                break;
            }
        }
    });
    tasks.spawn(async move {
        while let Ok(message) = incoming.next().await {
            for packet in carrier::packets(&message) {
                let to: &SocketAddr = agent.get().expect("the agent spoke first");
                back.send_to(packet.unwrap(), to).await.unwrap();
            }
        }
    });
    address
}

/// Returns a control link over a carrier, once it is up.
async fn linked(world: &World, agent: &Agent, at: SocketAddr) -> Link {
    let (identity, trust) = agent.host.state.identity(&agent.enrolment).unwrap();
    let dialled = timeout(PATIENCE, agent.dial_at(world, at, identity, trust)).await.expect("it is answered");
    let mut link = dialled.unwrap();
    link.hello().await;
    assert!(matches!(link.next().await, Ok(ToAgent::Welcome { version: VERSION, .. })));
    assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { revision: 1, .. })));
    link
}

/// An agent that has nothing but a carrier.
struct OnCarrier {
    agent: Agent,
    link: Link,
    /// Where its socket finds the gateway.
    at: SocketAddr,
    _bridge: JoinSet<()>,
}

impl OnCarrier {
    /// Links and registers.
    async fn start(world: &World, agent: Agent) -> Self {
        let mut bridged = JoinSet::new();
        let at = bridge(world, &mut bridged).await;
        let link = linked(world, &agent, at).await;
        let mut registered = Self { agent, link, at, _bridge: bridged };
        registered.register().await;
        registered
    }

    async fn register(&mut self) {
        let enrolment = &self.agent.enrolment;
        register(&mut self.link, enrolment.route, enrolment.gateway_route, self.at).await;
    }
}

/// Registers an agent over its socket's way to the gateway, which to it is UDP.
async fn register(link: &mut Link, route: RouteId, gateway: RouteId, at: SocketAddr) {
    let boot = adit_core::domain::id::BootId::from_bytes([1; 8]);
    let mut registration = Registration::new(route, gateway, boot);
    let now = Instant::now();
    registration.set_key(Some(link.registration.clone()), now);
    registration.handle_timeout(now, &mut random::bytes);
    let own_packets = link.own_packets.as_mut().unwrap();
    while let Some((_, packet)) = registration.poll_transmit() {
        link.socket.send_own(at, &packet);
        let answer = timeout(PATIENCE, own_packets.recv()).await.unwrap().unwrap();
        registration.handle_packet(path::Carrier::Udp, &answer.bytes, now);
    }
    assert!(registration.is_registered(path::Carrier::Udp, now));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_no_carrier_is_told_what_would() {
    let world = World::start().await;
    let http: &[&[u8]] = &[carrier::ALPN];
    let plain = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", carrier::PATH);
    let answer = ask(&world, http, &plain).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("a carrier is a WebSocket of version 13"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("upgrade: websocket\r\n"), "{answer}");
    let upgrade_here = upgrade(carrier::PATH);
    let (post, get) = (upgrade_here.replace("GET", "POST"), upgrade("/elsewhere"));
    for (request, expected) in [
        (&upgrade_here.replace("Version: 13", "Version: 8"), "HTTP/1.1 426 "),
        (&upgrade_here.replace(KEY, "short"), "HTTP/1.1 400 "),
        (&post, "HTTP/1.1 405 "),
        (&get, "HTTP/1.1 404 "),
        (
            &format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}", enrol::PATH),
            "HTTP/1.1 404 ",
        ),
    ] {
        let answer = ask(&world, http, request).await;
        assert!(answer.starts_with(expected), "{request}\n{answer}");
    }
    // Where enrolment is asked for, nothing else is served.
    let answer = ask(&world, &[ENROL_ALPN], &upgrade_here).await;
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("only /api/v1/enrol is served here"),
        "{answer}"
    );
    assert_eq!(world.gateway.relay().carriers().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_udp_have_a_control_link_and_each_other() {
    let world = World::start().await;
    let pair = world.pair().await;
    let mut tasks = JoinSet::new();
    let gateway = pair.source.enrolment.gateway_route;
    let counters = world.gateway.relay().counters();
    let mut links = Vec::new();
    for agent in [&pair.source, &pair.target] {
        let at = bridge(&world, &mut tasks).await;
        let mut link = linked(&world, agent, at).await;
        register(&mut link, agent.enrolment.route, gateway, at).await;
        links.push((link, at));
    }
    eventually(async || (counters.carriers(), counters.proven_carriers()) == (2, 2)).await;
    let (route, bytes) = (pair.target.enrolment.route, counters.bytes());
    let packet = [&[0x40][..], route.as_bytes(), &[7; 500]].concat();
    links[0].0.socket.send_own(links[0].1, &packet);
    eventually(async || counters.bytes() == bytes + packet.len() as u64).await;
    // A carrier that is cut is forgotten.
    tasks.shutdown().await;
    eventually(async || counters.carriers() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_gateway_says_goodbye_over_carriers() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut tasks = JoinSet::new();
    let at = bridge(&world, &mut tasks).await;
    let mut link = linked(&world, &agent, at).await;
    let (goodbye, ()) = tokio::join!(link.goodbye(), async {
        timeout(PATIENCE, world.gateway.shutdown()).await.expect("it stops");
    });
    assert_eq!(goodbye, "the gateway is stopping");
}

#[tokio::test(flavor = "multi_thread")]
async fn carriers_that_nobody_proves_take_each_others_places_and_no_agents() {
    let world = World::start().await;
    let mut agent = OnCarrier::start(&world, world.enrolled("a").await).await;
    let carriers = world.gateway.relay().carriers();
    let mut flood = Vec::new();
    for _ in 0..=CARRIER_NEWCOMERS.of_address {
        flood.push(open(&world).await);
    }
    // The one that waited longest has gone, and the agent's, which is older, has not.
    assert!(timeout(PATIENCE, flood[0].1.next()).await.expect("it is ended").is_err());
    eventually(async || carriers.count() == 1 + CARRIER_NEWCOMERS.of_address).await;
    agent.register().await;
    assert_eq!(world.gateway.relay().counters().dropped(DropReason::CarrierEnded), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_carrier_more_than_are_served_is_told_when_to_ask_again() {
    let world = World::start().await;
    let carriers = world.gateway.relay().carriers();
    let from = world.gateway.address();
    let mut held: Vec<_> = (0..CARRIERS_MAX).map(|_| carriers.open(from).expect("has room")).collect();
    assert!(carriers.open(from).is_none());
    let answer = ask(&world, &[carrier::ALPN], &upgrade(carrier::PATH)).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503 ") && answer.contains("retry-after: 60\r\n"), "{answer}");
    held.pop();
    drop(open(&world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_shape_open_no_carrier_and_have_one_answer() {
    let world = World::start().await;
    let http: &[&[u8]] = &[carrier::ALPN];
    let upgrade_here = upgrade(carrier::PATH);
    let with =
        |header: &str| upgrade_here.replace("host: gateway\r\n", &format!("host: gateway\r\n{header}\r\n"));
    let long = "x".repeat(9 * 1_024);
    for (request, expected) in [
        (with("transfer-encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 400 "),
        (with("content-length: 5") + "hello", "HTTP/1.1 400 "),
        (with("content-length: 5\r\ntransfer-encoding: chunked") + "0\r\n\r\n", "HTTP/1.1 400 "),
        (with("content-length: 5\r\ncontent-length: 6") + "hello!", "HTTP/1.1 400 "),
        (upgrade_here.replace("GET", "HEAD"), "HTTP/1.1 400 "),
        (upgrade_here.replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0 426 "),
        (upgrade_here.replace(carrier::PATH, "//api/v1/carrier"), "HTTP/1.1 404 "),
        (upgrade_here.replace(carrier::PATH, "/api/v1/carrier/"), "HTTP/1.1 404 "),
        (upgrade_here.replace(carrier::PATH, "/api/v1/../v1/carrier"), "HTTP/1.1 404 "),
        (upgrade_here.replace(carrier::PATH, "https://127.0.0.1:1/elsewhere"), "HTTP/1.1 404 "),
        (upgrade_here.replace("GET", "CONNECT").replace(carrier::PATH, "127.0.0.1:1"), "HTTP/1.1 404 "),
        (upgrade_here.replace("GET", "OPTIONS").replace(carrier::PATH, "*"), "HTTP/1.1 404 "),
        (with(&format!("x: {long}")), "HTTP/1.1 431 "),
        (upgrade_here.replace(carrier::PATH, &format!("/{long}")), "HTTP/1.1 4"),
        (with("x: y\r\n".repeat(200).trim_end()), "HTTP/1.1 431 "),
        (with("bad header: y"), "HTTP/1.1 400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        ("\x16\x03\x01\x02".to_owned(), ""),
    ] {
        // One more, which must not be looked at.
        let answer = ask(&world, http, &format!("{request}{upgrade_here}")).await;
        assert!(answer.starts_with(expected), "{request}\n{answer}");
        assert!(answer.matches("HTTP/1.").count() <= 1 && !answer.contains(" 101 "), "{request}\n{answer}");
    }
    assert_eq!(world.gateway.relay().carriers().count(), 0);
}

/// Opens a carrier, sends this, and waits for the carrier's end.
async fn end_by(world: &World, bytes: &[u8]) {
    let mut stream = connect(world, &[carrier::ALPN]).await;
    stream.write_all(&[upgrade(carrier::PATH).as_bytes(), bytes].concat()).await.unwrap();
    let mut chunk = [0; 4096];
    while let Ok(1..) = timeout(PATIENCE, stream.read(&mut chunk)).await.expect("the carrier ends") {}
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_no_agent_sends_end_their_carrier_and_nobody_elses() {
    let world = World::start().await;
    let mut agent = OnCarrier::start(&world, world.enrolled("a").await).await;
    let carriers = world.gateway.relay().carriers();
    for bytes in [
        // Not masked.
        &[0x82, 3, 0, 1, 7][..],
        // Text.
        &[0x81, 0x81, 0, 0, 0, 0, b'a'],
        // Reserved bits, as of a compressed message, and a reserved kind.
        &[0xc2, 0x83, 0, 0, 0, 0, 0, 1, 7],
        &[0x83, 0x80, 0, 0, 0, 0],
        // The end of a message that did not begin.
        &[0x80, 0x83, 0, 0, 0, 0, 0, 1, 7],
        // One that begins within another.
        &[0x02, 0x81, 0, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0],
        // A ping in pieces, and one that is too long.
        &[0x09, 0x80, 0, 0, 0, 0],
        &[&[0x89, 0xfe, 0, 126][..], &[0; 4 + 126]].concat(),
        // A byte more than a message may have, and as many as there are.
        &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0],
        &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        // Framed otherwise, and nothing.
        &[0x82, 0x83, 0, 0, 0, 0, 0, 9, 7],
        &[0x82, 0x80, 0, 0, 0, 0],
        // Goodbye, and more behind it.
        &[0x88, 0x80, 0, 0, 0, 0, 0x82, 0x83, 0, 0, 0, 0, 0, 1, 7],
        // No WebSocket at all.
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        end_by(&world, bytes).await;
        eventually(async || carriers.count() == 1).await;
    }
    agent.register().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_without_end_and_pieces_without_end_hold_up_no_agent() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut tasks = JoinSet::new();
    for piece in [&[0x89, 0x80, 0, 0, 0, 0][..], &[0x00, 0x80, 0, 0, 0, 0]] {
        let mut stream = connect(&world, &[carrier::ALPN]).await;
        stream.write_all(upgrade(carrier::PATH).as_bytes()).await.unwrap();
        stream.write_all(&[0x02, 0x80, 0, 0, 0, 0]).await.unwrap();
        let flood = piece.repeat(1_000);
        // Reads no answer, so that they wait at the gateway.
        tasks.spawn(async move { while stream.write_all(&flood).await.is_ok() {} });
    }
    let _agent = OnCarrier::start(&world, agent).await;
    let carriers = world.gateway.relay().carriers();
    eventually(async || carriers.count() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_udp_is_let_in_beside_those_who_begin_and_stop() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let to = world.gateway.address();
    let (mut kept, mut slow_heads) = (Vec::new(), Vec::new());
    // Silent ones, half a hello, and half a request, each many times what its address may have.
    for round in 0..100 {
        kept.push(TcpStream::connect(to).await.unwrap());
        let mut speaking = TcpStream::connect(to).await.unwrap();
        speaking.write_all(&[0x16, 3, 1, 0]).await.unwrap();
        kept.push(speaking);
        if round < 50 {
            let mut slow = connect(&world, &[carrier::ALPN]).await;
            slow.write_all(b"GET /api/v1/carrier HTTP/1.1\r\nhost: ").await.unwrap();
            slow_heads.push(slow);
        }
    }
    let _agent = OnCarrier::start(&world, agent).await;
    drop((kept, slow_heads));
}
