//! Two hosts at work: an agent of the real binary at each side, and what stands beside it for a Mirth.

use std::net::SocketAddr;
use std::time::Duration;

use adit_lab::messages::Generator;
use adit_lab::mirth::{Behaviour, Mirth};
use adit_lab::sender::Sender;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::interval;

use super::driver::Browser;
use super::processes::{eventually, free_port};
use super::stage::{Agent, Partnership, Stage};

/// Both agents of a partnership, and where messages go in and come out.
pub(crate) struct Hosts {
    pub(crate) source: Agent,
    pub(crate) target: Agent,
    pub(crate) mirth: Mirth,
    pub(crate) sender: Sender,
}

impl Hosts {
    /// Gives both agents what the console has for them, and starts none of them.
    pub(crate) async fn ready(
        stage: &Stage,
        ada: &Browser,
        bob: &Browser,
        partnership: &Partnership,
    ) -> Self {
        let Partnership { source_server, target_server, connection, .. } = partnership;
        let mirth = stand_in().await;
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let entry = entry_of(ada, connection, "source", &listen.to_string()).await;
        let source = stage.agent("lakeside", &connector_of(ada, source_server).await, &entry);
        let entry = entry_of(bob, connection, "target", &mirth.address().to_string()).await;
        let target = stage.agent("stmary", &connector_of(bob, target_server).await, &entry);
        Self { source, target, mirth, sender: Sender::to(listen) }
    }

    /// Starts both agents of an Active connection, and waits until its tunnel is up.
    pub(crate) async fn connected(
        stage: &Stage,
        ada: &Browser,
        bob: &Browser,
        partnership: &Partnership,
    ) -> Self {
        let mut hosts = Self::ready(stage, ada, bob, partnership).await;
        let connection = &partnership.connection;
        ada.does("POST", &format!("/connections/{connection}/activate"), &json!({})).await;
        hosts.source.start();
        hosts.target.start();
        eventually("both sides say that the tunnel is up", async || {
            let it = ada.does("GET", &format!("/connections/{connection}"), &Value::Null).await;
            (it["connectivity"] == "Connected").then_some(())
        })
        .await;
        hosts
    }

    /// Sends messages; returns how many were accepted.
    pub(crate) async fn send(&self, seed: u64, count: usize) -> usize {
        self.sender.send(Generator::new(seed).take(count)).await.accepted()
    }
}

pub(crate) async fn stand_in() -> Mirth {
    Mirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Behaviour::ACCEPT).unwrap()
}

/// The connector file of a server of whoever is signed in.
pub(crate) async fn connector_of(browser: &Browser, server: &str) -> String {
    let issued =
        browser.does("POST", &format!("/servers/{server}/connector"), &json!({ "life": "1h" })).await;
    issued["file"].as_str().unwrap().to_owned()
}

/// One side's entry, at this address.
async fn entry_of(browser: &Browser, connection: &str, side: &str, address: &str) -> String {
    let path = format!("/connections/{connection}/entry?side={side}");
    at_address(browser.does("GET", &path, &Value::Null).await.as_str().unwrap(), address)
}

/// An entry with the address that its host uses, in the place of the usual one.
pub(crate) fn at_address(entry: &str, address: &str) -> String {
    let lines = entry.lines().map(|line| match line.split_once('=') {
        Some((key, _)) if matches!(key.trim(), "listen" | "forward_to") => format!("{key}= \"{address}\"\n"),
        Some((key, _)) if key.trim() == "mirth" => format!("{key}= \"https://{address}\"\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// The name of an entry, by which its host's commands know it.
pub(crate) fn name_in(entry: &str) -> String {
    let line = entry.lines().find(|line| line.starts_with("name")).expect("an entry has a name");
    line.split('"').nth(1).unwrap().to_owned()
}

/// Sends a message now and then until something is seen.
pub(crate) async fn send_until(sender: &Sender, seen: impl Future<Output = ()>) {
    let mut messages = Generator::new(15);
    let mut due = interval(Duration::from_millis(250));
    let sending = async {
        loop {
            due.tick().await;
            sender.send([messages.next_message()]).await;
        }
    };
    tokio::select! {
        () = seen => {}
        () = sending => {}
    }
}
