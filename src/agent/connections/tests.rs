//! Connections that come and go alone, beside others that stay.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::*;
use crate::entries::Entries;
use crate::outbox::Outbox;
use crate::parts::{self, Beginnings};
use crate::paths::Paths;
use crate::state::{AgentState, Enrolment};
use adit_core::config::agent::{AgentConfig, Congestion};
use adit_core::domain::id::{BootId, RouteId, ServerId};
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::time::{HostClock, LearntClock, TimeSource};
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::{AgentEndpoint, Credentials, TunnelSettings};
use adit_net::transport::routes::{OwnEnd, Routes};
use adit_net::transport::socket::AgentSocket;
use adit_observe::audit::AuditFile;

const HANG_LIMIT: Duration = Duration::from_secs(60);

/// Returns two free ports below those that the kernel hands out by itself.
fn free_ports() -> [SocketAddr; 2] {
    let mut free = (20_000..32_000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .filter(|address| TcpListener::bind(address).is_ok());
    [free.next().unwrap(), free.next().unwrap()]
}

fn config(folder: &Path, ports: [SocketAddr; 2]) -> AgentConfig {
    let entry = |number: usize| {
        format!(
            "[[p2p_source]]\nname = \"s{number}\"\nid = \"0000000{number}-0000-4000-8000-000000000000\"\n\
             peer = \"00000009-0000-4000-8000-000000000000\"\nprotocol = \"mllp\"\nlisten = \"{}\"\n",
            ports[number]
        )
    };
    let text = format!("state = \"state\"\n{}{}", entry(0), entry(1));
    AgentConfig::parse(&text, folder).unwrap()
}

fn parts(folder: &Path, config: &AgentConfig, entries: Entries, clock: Arc<LearntClock>) -> ConnectionParts {
    let (now, server) = (HostClock.now(), ServerId::from_bytes([1; 16]));
    let ca = CertificateAuthority::create("example.org".parse().unwrap(), now).unwrap();
    let key = Arc::new(KeyPair::generate().unwrap());
    let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
    let identity = Identity::new(&ca.sign_server(&csr, server, now).unwrap(), key).unwrap();
    let route = RouteId::from_bytes([1; 8]);
    let gateway = RouteId::from_bytes([2; 8]);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (socket, own_packets) = AgentSocket::new(udp, route).unwrap();
    let own = OwnEnd { route, gateway, boot: BootId::from_bytes([3; 8]) };
    let (routes, _) = Routes::new(Arc::clone(&socket), own_packets, own);
    let credentials = Credentials { identity, trust: ca.trust().clone(), clock: clock.clone() };
    let settings = TunnelSettings { congestion: Congestion::Bbr };
    let endpoint = AgentEndpoint::new(socket, route, credentials, settings).unwrap();
    let enrolment = Enrolment {
        server,
        route,
        gateway_route: gateway,
        gateway_addresses: Vec::new(),
        trust_domain: "example.org".parse().unwrap(),
        ca: Vec::new(),
        leaf: Vec::new(),
        spent_token: [0; 32],
    };
    let state = Arc::new(AgentState::open(&config.state).unwrap());
    let audit = AuditFile::open(&folder.join("audit.jsonl")).unwrap();
    let (paths, (outbox, _)) = (Paths::from_config(config), Outbox::new());
    let beginnings = Beginnings { clock, endpoint, routes, entries, paths, enrolment, audit, outbox };
    parts::of_connections(&parts::load(beginnings, &state).unwrap())
}

fn is_taken(port: SocketAddr) -> bool {
    TcpListener::bind(port).is_err()
}

async fn becomes(taken: bool, port: SocketAddr) {
    let changes = async {
        while is_taken(port) != taken {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(HANG_LIMIT, changes).await.is_ok(), "{port} taken: {}", !taken);
}

#[tokio::test]
async fn one_connection_is_stopped_or_replaced_while_another_keeps_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let config = config(folder.path(), ports);
    let clock = Arc::new(LearntClock::new(HostClock, 0));
    let (entries, runs) = Entries::from_config(&config, &clock);
    let ids: Vec<_> = runs.iter().map(|run| run.entry.config.id).collect();
    let mut connections = Connections::new(parts(folder.path(), &config, entries, Arc::clone(&clock)), None);
    for run in runs {
        connections.start(run);
    }
    for port in ports {
        becomes(true, port).await;
    }
    assert!(timeout(HANG_LIMIT, connections.stop(ids[0])).await.unwrap());
    assert!(!is_taken(ports[0]) && is_taken(ports[1]));
    assert!(!connections.stop(ids[0]).await, "it runs no more");
    let (_, runs) = Entries::from_config(&config, &clock);
    connections.start(runs.into_iter().next().unwrap());
    becomes(true, ports[0]).await;
    assert!(is_taken(ports[1]), "nobody touched it");
    connections.shutdown().await;
    assert!(ports.iter().all(|port| !is_taken(*port)));
}
