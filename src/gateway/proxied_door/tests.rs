//! Requests through a proxy and beside it, over real TCP: whose address counts.

use std::net::Ipv4Addr;

use axum::Extension;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::front_door;
use crate::http::{Client, Limits};
use adit_core::domain::limits::API_OF_ADDRESS_BURST;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct World {
    at: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    async fn new(trusted: &[IpAddr]) -> Self {
        let stop = CancellationToken::new();
        let whose = get(|Extension(client): Extension<Client>| async move { client.address.to_string() });
        let door = ProxiedDoor {
            api: Limits::new(stop.clone()).around(Router::new().route("/whose", whose)),
            trusted: trusted.into(),
            newcomers: front_door::newcomers(),
            places: places(),
            stop: stop.clone(),
        };
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(Arc::new(door), listener));
        Self { at, stop, tasks }
    }

    /// Asks once on a connection of its own, as forwarded for somebody.
    async fn ask(&self, forwarded_for: &str) -> String {
        let mut tcp = TcpStream::connect(self.at).await.unwrap();
        let request = format!(
            "GET /whose HTTP/1.1\r\nHost: console\r\nX-Forwarded-For: {forwarded_for}\r\nConnection: close\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_a_request_is() {
    let mut world = World::new(&[HERE]).await;
    assert!(world.ask("198.51.100.7").await.ends_with("198.51.100.7"));
    assert!(world.ask("10.0.0.1, 198.51.100.7").await.ends_with("198.51.100.7"));
    world.stop.cancel();
    world.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_is_not_trusted_speaks_for_nobody_else() {
    let world = World::new(&["127.0.0.2".parse().unwrap()]).await;
    assert!(world.ask("198.51.100.7").await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_a_limit_of_its_own() {
    let world = World::new(&[HERE]).await;
    let mut asked = 0;
    while world.ask("198.51.100.7").await.starts_with("HTTP/1.1 200 ") {
        asked += 1;
        assert!(asked < 100 * API_OF_ADDRESS_BURST, "it is served without end");
    }
    assert!(asked >= API_OF_ADDRESS_BURST);
    assert!(world.ask("198.51.100.8").await.starts_with("HTTP/1.1 200 "));
}
