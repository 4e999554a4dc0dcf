//! What real agents measure of real messages, as both parties see it on the gateway. The minute is not waited for:
//! the gateway's clock is set on, and the agents' follow it with the next heartbeat.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use adit_agent::Agent;
use adit_core::config::LogFormat;
use adit_core::config::agent::AgentConfig;
use adit_core::config::connector::Connector;
use adit_core::config::gateway::{GatewayConfig, IdentityProviders, RelayConfig};
use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;
use adit_gateway::platform::{
    EndMeasurements, MeasuredRange, MeasurementsView, Plan, Provided, Provisioned, TokenLife, agent_entry,
};
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_lab::messages::{Generator, Message};
use adit_lab::sender::{Report, Sender};
use adit_net::identity::time::{HostClock, TimeSource};
use tokio::net::TcpStream;

use super::lab::{HANG_LIMIT, eventually, free_address, mirth};

const MESSAGES: usize = 40;
const MINUTES: MeasuredRange = MeasuredRange { span: Span::Minute, from: None, to: None };

/// The host's clock, set on by so much.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl TimeSource for Ahead {
    fn now(&self) -> Timestamp {
        let millis = u64::try_from(self.0.load(Ordering::Relaxed)).unwrap();
        HostClock.now().saturating_add(Duration::from_millis(millis))
    }
}

async fn gateway(folder: &Path, clock: &Arc<Ahead>) -> Gateway {
    let listen = "127.0.0.1:0".parse().unwrap();
    let sockets = GatewaySockets::bind(listen).unwrap();
    let config = GatewayConfig {
        name: sockets.address().into(),
        listen,
        state: folder.join("gateway"),
        database: None,
        trust_domain: "example.org".parse().unwrap(),
        metrics: None,
        log: LogFormat::Text,
        relay: RelayConfig::default(),
        console: None,
        identity_providers: IdentityProviders::default(),
    };
    Gateway::start(&config, sockets, Arc::clone(clock) as Arc<dyn TimeSource>).await.unwrap()
}

async fn provisioned(gateway: &Gateway) -> Provisioned {
    let plan = Plan {
        source_organization: "Lakeside".parse().unwrap(),
        source_server: "source".parse().unwrap(),
        target_organization: "St Mary".parse().unwrap(),
        target_server: "target".parse().unwrap(),
        channels: vec![("ADT".parse().unwrap(), Protocol::Mllp)],
        admin: Vec::new(),
        token_life: TokenLife::Hour,
    };
    gateway.platform().provision(&plan).await.unwrap()
}

/// Starts the agent of one end, in this process.
async fn agent(folder: &Path, gateway: &Gateway, made: &Provisioned, side: Side, at: SocketAddr) -> Agent {
    let end: &Provided = if side == Side::Source { &made.source } else { &made.target };
    let view = gateway.platform().connection(&end.initiator, made.connections[0]).await.unwrap();
    let folder = folder.join(side.as_str());
    std::fs::create_dir(&folder).unwrap();
    let trust = gateway.authority().trust();
    let connector = Connector {
        addresses: vec![gateway.address().into()],
        trust_domain: trust.trust_domain().clone(),
        key: trust.ca_key(),
        server: end.server,
        token: Some(end.token.token.clone()),
    };
    let path = folder.join("connector.toml");
    std::fs::write(&path, connector.render("a server", end.token.expires_at).as_bytes()).unwrap();
    let entry = agent_entry(&view, side, &at.to_string()).unwrap();
    let text =
        format!("connector = \"connector.toml\"\nstate = \"state\"\nlisten = \"127.0.0.1:0\"\n{entry}");
    Agent::start(AgentConfig::parse(&text, &folder).unwrap()).await.unwrap()
}

/// Says what each end counted.
fn counted(view: &MeasurementsView) -> [u64; 2] {
    [Side::Source, Side::Target].map(|side| view.end(side).total.get(Figure::Messages))
}

#[track_caller]
fn has_seen_all(end: &EndMeasurements, report: &Report) {
    let get = |figure| end.total.get(figure);
    let all = u64::try_from(report.sent.len()).unwrap();
    assert_eq!([get(Figure::Messages), get(Figure::AckAa), end.total.acknowledged()], [all; 3]);
    assert_eq!(end.total.latencies().counts().map(|(_, count)| count).sum::<u64>(), all);
    assert!(end.total.latencies().p99() >= end.total.latencies().p50());
    assert_eq!(end.total.path(), Some(PathKind::Direct));
    assert!(get(Figure::UpMillis) > 0 && get(Figure::PacketsSent) > 0 && end.total.rtt_mean().is_some());
}

/// Of what was sent, nothing that a person could read is in any file of the gateway.
fn has_no_word_of(folder: &Path, messages: &[Message]) {
    for file in std::fs::read_dir(folder).unwrap() {
        let Ok(contents) = std::fs::read(file.unwrap().path()) else { continue };
        for message in messages {
            for segment in message.payload.split(|byte| *byte == b'\r').filter(|line| line.len() > 16) {
                assert!(!contents.windows(segment.len()).any(|window| window == segment));
            }
        }
    }
}

#[tokio::test]
async fn both_parties_see_every_message_that_real_agents_carried() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Ahead::default());
    let gateway = gateway(folder.path(), &clock).await;
    let made = provisioned(&gateway).await;
    let (mirth, port) = (mirth().await, free_address());
    let target = agent(folder.path(), &gateway, &made, Side::Target, mirth.address()).await;
    let source = agent(folder.path(), &gateway, &made, Side::Source, port).await;
    eventually("the port is open", async || TcpStream::connect(port).await.ok()).await;
    let messages: Vec<_> = Generator::new(14).take(MESSAGES).collect();
    let sender = Sender { response_timeout: HANG_LIMIT, ..Sender::to(port) };
    let report = sender.send(messages.clone()).await;
    assert_eq!(report.accepted(), MESSAGES);

    clock.0.fetch_add(130_000, Ordering::Relaxed);
    let all = u64::try_from(MESSAGES).unwrap();
    let view = eventually("both ends are measured", async || {
        let seen = gateway.platform().measurements(&made.source.initiator, made.connections[0], MINUTES);
        Some(seen.await.unwrap()).filter(|view| counted(view) == [all; 2])
    })
    .await;
    for side in [Side::Source, Side::Target] {
        has_seen_all(view.end(side), &report);
    }
    let bytes = |sums: &Sums| (sums.get(Figure::BytesSent), sums.get(Figure::BytesReceived));
    let (sent, received) = bytes(&view.source.total);
    assert_eq!(bytes(&view.target.total), (received, sent), "what one end sends the other receives");
    assert!(sent >= report.bytes());
    let other = gateway.platform().measurements(&made.target.initiator, made.connections[0], MINUTES).await;
    assert_eq!(counted(&other.unwrap()), [all; 2]);
    has_no_word_of(&folder.path().join("gateway"), &messages);
    source.end().await;
    target.end().await;
    gateway.shutdown().await;
}
