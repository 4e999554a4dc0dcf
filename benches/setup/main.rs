//! How long a tunnel takes to set up between two agents on loopback: handshake and both proofs, one
//! after the other, medians in microseconds.
//!
//!     cargo bench -p adit-benches --bench setup -- [--once]
//!
//! `--once` sets up a few, to show that it works; its figures mean nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on fails where it stands, and speaks to people"
)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::config::agent::Congestion;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, RouteId, ServerId};
use adit_core::domain::path::PathPreference;
use adit_core::domain::secret::Secret;
use adit_core::protocol::frame::Code;
use adit_core::protocol::open::{self, Open};
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, TimeSource};
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::{AgentEndpoint, Credentials, TunnelSettings};
use adit_net::transport::opening;
use adit_net::transport::routes::{OwnEnd, Routes, WantedPeer};
use adit_net::transport::socket::AgentSocket;
use tokio::task::JoinSet;

/// As many tunnels as one peer may begin at once, with so many connections.
const TUNNELS: usize = 200;
const CONNECTIONS: u8 = 40;

struct End {
    server: ServerId,
    route: RouteId,
    at: SocketAddr,
    routes: Routes,
    endpoint: AgentEndpoint,
}

impl End {
    fn new(ca: &CertificateAuthority, number: u8, tasks: &mut JoinSet<()>) -> Self {
        let (server, route) = (ServerId::from_bytes([number; 16]), RouteId::from_bytes([number; 8]));
        let key = Arc::new(KeyPair::generate().unwrap());
        let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
        let identity = Identity::new(&ca.sign_server(&csr, server, HostClock.now()).unwrap(), key).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = udp.local_addr().unwrap();
        let (socket, own_packets) = AgentSocket::new(udp, route).unwrap();
        let boot = BootId::from_bytes(random::bytes());
        let own = OwnEnd { route, gateway: RouteId::from_bytes([9; 8]), boot };
        let (routes, driver) = Routes::new(Arc::clone(&socket), own_packets, own);
        tasks.spawn(driver.run());
        let credentials = Credentials { identity, trust: ca.trust().clone(), clock: Arc::new(HostClock) };
        let settings = TunnelSettings { congestion: Congestion::Bbr };
        let endpoint = AgentEndpoint::new(socket, route, credentials, settings).unwrap();
        Self { server, route, at, routes, endpoint }
    }

    fn wants(&self, other: &Self) {
        let wanted = WantedPeer {
            name: "peer".into(),
            route: other.route,
            secrets: (1..=CONNECTIONS).map(|number| Secret::from_bytes([number; 32])).collect(),
            candidates: vec![other.at],
            path: PathPreference::AUTO,
            relays: Vec::new(),
        };
        self.routes.want([(other.server, wanted)].into());
    }
}

fn opening_message() -> Open {
    let (connection, secret) = (ConnectionId::from_bytes([3; 16]), Secret::from_bytes([4; 32]));
    let proof = open::proof(&secret, &[0; 32], connection, Side::Source, &[0; 32], &[0; 32]);
    Open { version: open::VERSION, connection, proof }
}

async fn answer_all(target: Arc<End>) {
    while let Some(incoming) = target.endpoint.accept().await {
        let Ok(connection) = incoming.accept().await else { continue };
        let asked = opening::receive(&connection).await.unwrap();
        let proof = opening_message().proof;
        let _opening = asked.answer(proof).await.unwrap();
        connection.closed().await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let once = std::env::args().any(|argument| argument == "--once");
    let ca = CertificateAuthority::create("bench.test".parse().unwrap(), HostClock.now()).unwrap();
    let mut tasks = JoinSet::new();
    let (source, target) = (End::new(&ca, 1, &mut tasks), Arc::new(End::new(&ca, 2, &mut tasks)));
    source.wants(&target);
    target.wants(&source);
    tasks.spawn(answer_all(Arc::clone(&target)));
    source.routes.path_state(target.server).wait_for(|state| state.path.is_some()).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..if once { 3 } else { TUNNELS } {
        let started = Instant::now();
        let connection = source.endpoint.connect_tunnel(target.route, target.server).await.unwrap();
        let (_, opening) = opening::ask(&connection, &opening_message()).await.unwrap();
        took.push(started.elapsed());
        drop(opening);
        connection.close(Code::Goodbye);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_micros();
    println!("| | p10 µs | median µs | p90 µs |\n|---|---:|---:|---:|");
    println!("| a tunnel's set-up | {} | {} | {} |", at(10), at(50), at(90));
    println!("setup: all tunnels came up{}", if once { ", a few: the figures mean nothing" } else { "" });
}
