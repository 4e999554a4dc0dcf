//! Connections that come and go alone, beside others that stay.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::*;
use crate::entries::Entries;
use crate::fixture;
use crate::parts;
use adit_core::config::agent::AgentConfig;
use adit_net::identity::time::{HostClock, LearntClock};

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
    let (shared, _) = fixture::parts(folder.path(), &config, entries, Arc::clone(&clock));
    let mut connections = Connections::new(parts::of_connections(&shared), None);
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
