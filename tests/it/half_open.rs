//! Strangers who begin and go silent: QUIC handshakes with the gateway that nobody finishes.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use adit_core::domain::id::RouteId;
use adit_core::domain::limits::{CONTROL_NEWCOMERS_MAX, STATUS_CONNECTIONS_MAX};
use adit_core::protocol::control;
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::key::KeyPair;
use adit_net::identity::name::PeerName;
use adit_net::identity::random;
use adit_net::identity::tls::{self, Dates, Identity};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};
use tokio::net::UnixStream;

use super::lab::{Lab, Part, eventually, free_address, is_long};

/// One initial packet a millisecond.
const INTERVAL: Duration = Duration::from_millis(1);
/// What the gateway may take for them all: some fifty kilobytes a handshake under way, with those that
/// have just been given up.
const GROWTH_BYTES_MAX: u64 = 96 * 1024 * 1024;
const GONE: &str = "x";

/// Answers a Retry, and then nothing any more.
struct Silent {
    socket: UdpSocket,
    gateway: SocketAddr,
    endpoint: Endpoint,
    config: ClientConfig,
    begun: HashMap<ConnectionHandle, Connection>,
    /// Handshakes that have proven their address.
    proven: usize,
}

impl Silent {
    fn at(from: IpAddr, gateway: SocketAddr, route: RouteId) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint = Endpoint::new(Arc::new(config), None, false, None);
        Self { socket, gateway, endpoint, config: stranger(route), begun: HashMap::new(), proven: 0 }
    }

    fn begin(&mut self) {
        let begun = self.endpoint.connect(Instant::now(), self.config.clone(), self.gateway, GONE);
        let (handle, mut connection) = begun.unwrap();
        self.send_next(&mut connection);
        self.begun.insert(handle, connection);
    }

    fn answer_retries(&mut self) {
        let mut datagram = [0; 2_048];
        let mut answer = Vec::new();
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let bytes = datagram[..length].into();
            let event = self.endpoint.handle(Instant::now(), self.gateway, None, None, bytes, &mut answer);
            let Some(DatagramEvent::ConnectionEvent(handle, event)) = event else { continue };
            if let Some(mut connection) = self.begun.remove(&handle) {
                connection.handle_event(event);
                self.proven += usize::from(self.send_next(&mut connection));
            }
        }
    }

    fn send_next(&self, connection: &mut Connection) -> bool {
        let mut packet = Vec::new();
        let is_some = connection.poll_transmit(Instant::now(), 1, &mut packet).is_some();
        // A full buffer is a packet that the network lost.
        is_some && self.socket.send_to(&packet, self.gateway).is_ok()
    }
}

/// With a leaf that nobody gets to see.
fn stranger(route: RouteId) -> ClientConfig {
    let now = adit_core::domain::time::Timestamp::from_millis(1_795_510_800_000);
    let ca = CertificateAuthority::create("example.org".parse().unwrap(), now).unwrap();
    let key = Arc::new(KeyPair::generate().unwrap());
    let identity = Identity::new(&ca.sign_gateway(&key, now).unwrap(), key).unwrap();
    let tls = tls::client_config(&identity, ca.trust(), PeerName::Gateway, Dates::Ignore, &[control::ALPN])
        .unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.initial_dst_cid_provider(Arc::new(move || {
        let mut id = random::bytes::<20>();
        id[..8].copy_from_slice(route.as_bytes());
        quinn_proto::ConnectionId::new(&id)
    }));
    config
}

/// Begins handshakes from each address in turn, at least `count` and until told to stop, and finishes none;
/// returns how many it began, and how many of them got as far as a proven address.
fn attack(
    from: &[IpAddr],
    count: usize,
    gateway: SocketAddr,
    route: RouteId,
    stop: &AtomicBool,
) -> (usize, usize) {
    let mut strangers: Vec<_> = from.iter().map(|&from| Silent::at(from, gateway, route)).collect();
    let began = Instant::now();
    let mut number = 0;
    while number < count || !stop.load(Ordering::Relaxed) {
        let silent = &mut strangers[number % from.len()];
        silent.begin();
        strangers.iter_mut().for_each(Silent::answer_retries);
        number += 1;
        let due = began + INTERVAL * u32::try_from(number).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    (number, strangers.iter().map(|silent| silent.proven).sum())
}

/// What the gateway's metrics say of `name`.
async fn metric(lab: &Lab, name: &str) -> Option<f64> {
    let text = lab.metrics(Part::Gateway).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

async fn an_agent_gets_in_past(from: Vec<IpAddr>) {
    let mut lab = Lab::written(&[(Protocol::Mllp, free_address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
    let up = async |lab: &Lab| {
        eventually("the agent has its link", async || {
            lab.status(Part::A).await.filter(|status| status.gateway.on == Some(true))
        })
        .await;
    };
    up(&lab).await;
    let gateway = lab.gateway_address();
    let enrolment = fs::read(lab.state(Part::A).join("enrolment.json")).unwrap();
    let enrolment: serde_json::Value = serde_json::from_slice(&enrolment).unwrap();
    let route: RouteId = enrolment["gateway_route"].as_str().unwrap().parse().unwrap();
    let before = lab.resident_bytes(Part::Gateway);

    let count = if is_long() { 16_000 } else { 3_000 };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let attacking = tokio::task::spawn_blocking(move || attack(&from, count, gateway, route, &stopped));
    // It restarts in the middle, as hosts do.
    lab.kill(Part::A);
    tokio::time::sleep(INTERVAL * u32::try_from(count / 2).unwrap()).await;
    lab.start(Part::A);
    let began = Instant::now();
    up(&lab).await;
    let linked = began.elapsed();
    let held = metric(&lab, "adit_gateway_control_newcomers").await;
    stop.store(true, Ordering::Relaxed);
    let (count, proven) = attacking.await.unwrap();
    let grown = lab.resident_bytes(Part::Gateway).saturating_sub(before);
    let lines = lab.log(Part::Gateway).lines().count();
    println!(
        "{proven} of {count} handshakes with a proven address and no more: {} -> +{} MB resident, {held:?} places \
         held, {lines} lines logged; an agent was linked {linked:?} after its start",
        before >> 20,
        grown >> 20
    );
    // On a busy machine some are lost before they are read.
    assert!(proven > CONTROL_NEWCOMERS_MAX, "the attack was none: {proven}");
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes");
    assert!(lines < 200, "{lines} lines");
    let held = held.expect("the gateway counts its newcomers");
    assert!(held <= f64::from(u32::try_from(CONTROL_NEWCOMERS_MAX).unwrap()), "{held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_one_address_leaves_unfinished_cost_the_gateway_little() {
    an_agent_gets_in_past(vec![Ipv4Addr::LOCALHOST.into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_many_addresses_leave_unfinished_cost_the_gateway_little() {
    an_agent_gets_in_past((2..54).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_answered_while_silent_local_connections_hold_every_place() {
    let mut lab = Lab::written(&[(Protocol::Mllp, free_address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
    eventually("the agent answers", async || lab.status(Part::A).await).await;
    let mut silent = Vec::new();
    for _ in 0..4 * STATUS_CONNECTIONS_MAX {
        silent.push(UnixStream::connect(lab.state(Part::A).join("agent.sock")).await.unwrap());
    }
    // The command itself waits no longer than a silent one is waited for.
    assert!(lab.status(Part::A).await.is_some());
}
