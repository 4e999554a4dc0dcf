//! The demo: gateway, two agents and two stand-in Mirths in one process, on free loopback ports and
//! a temporary state. It enrols with real tokens, provisions by real peering and grant, sends real
//! messages, and says if anything differed.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::lab::{self, Lab, LabConnection, LabError};
use super::measure::Differences;
use super::messages::{Generator, Kind, Message};
use super::mirth::{Behaviour, Mirth};
use super::sender::{Connections, Report, Sender};
use crate::agent::context::Context;
use crate::agent::{Agent, AgentError};
use crate::config::agent::AgentConfig;
use crate::config::gateway::GatewayConfig;
use crate::domain::connection::{Protocol, Side};
use crate::domain::name::Description;
use crate::gateway::platform::{Command, NewChannel, PlatformError, agent_entry};
use crate::gateway::service::{Gateway, GatewayError, GatewaySockets};
use crate::identity::time::HostClock;
use crate::protocol::control::PathKind;

/// How long everything may take to come up on a slow machine.
const UP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot make a temporary folder")]
    Folder { source: io::Error },
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("the agent `{name}` did not start")]
    Agent { name: &'static str, source: AgentError },
    #[error("the agent `{name}` ended at its start; this is a bug, please report it")]
    AgentGone { name: &'static str },
    #[error("cannot bind a port on 127.0.0.1")]
    Bind { source: io::Error },
    #[error("{what} was not up after {} s; run with RUST_LOG=info to see why", UP_WITHIN.as_secs())]
    NotUp { what: String },
    #[error("what arrived differs from what was sent:\n{differences}")]
    Differs { differences: Box<Differences> },
}

/// One row of the closing table.
#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub messages: usize,
    pub accepted: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub bytes_per_second: u64,
    pub path: &'static str,
}

/// A demo that is up.
#[derive(Debug)]
pub struct Demo {
    mirth_a: Mirth,
    mirth_b: Mirth,
    /// Where a sender beside Mirth A connects, and where one beside Mirth B does.
    port_a: SocketAddr,
    port_b: SocketAddr,
    agent_a: AgentThread,
    agent_b: AgentThread,
    gateway: Gateway,
    folder: TemporaryFolder,
}

impl Demo {
    /// Brings everything up and says each step as it happens.
    pub async fn start(say: &impl Fn(&str)) -> Result<Self, DemoError> {
        let folder = TemporaryFolder::make().map_err(|source| DemoError::Folder { source })?;
        let mirth_a = stand_in().await?;
        let mirth_b = stand_in().await?;
        say(&format!(
            "Two stand-in Mirths listen for HL7: Lakeside's on {}, St Mary's on {}.",
            mirth_a.address(),
            mirth_b.address()
        ));
        let [port_a, port_b] = [free_port()?, free_port()?];
        let there = LabConnection { protocol: Protocol::Mllp, listen: port_a, forward_to: mirth_b.address() };
        let lab = lab::write(&folder.path.join("lab"), &[there]).await?;
        say("Lakeside Clinic and St Mary Hospital are registered at the gateway; each has one server.");
        say("Lakeside asked for peering, St Mary accepted; St Mary published a channel, granted it to \
             Lakeside, and the connection is Active.");
        let config =
            GatewayConfig::parse(&read(&lab.gateway)?, &folder.path).expect("the lab writes valid files");
        let gateway =
            Gateway::start(&config, GatewaySockets::bind(config.listen)?, Arc::new(HostClock)).await?;
        say(&format!(
            "The gateway runs on {} (UDP and TCP) with its own certificate authority.",
            gateway.address()
        ));
        connect_back(&gateway, &lab, port_b, mirth_a.address()).await?;
        say("The same the other way round: St Mary may send to Lakeside.");
        let agent_a = AgentThread::start("lakeside", &lab.agent_a).await?;
        let agent_b = AgentThread::start("st-mary", &lab.agent_b).await?;
        say(
            "Both agents made their own keys, enrolled with single-use tokens and hold certificates for 14 days.",
        );
        let demo = Self { mirth_a, mirth_b, port_a, port_b, agent_a, agent_b, gateway, folder };
        demo.wait_until_open().await?;
        say("The agents found each other, proved certificates and shared secrets to one another, and \
             opened their ports: one QUIC tunnel per connection, the gateway no longer in the way.");
        Ok(demo)
    }

    /// Sends sample messages of several types and compares what arrived.
    pub async fn run(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let mut rows = Vec::new();
        let kept = Sender {
            connections: Connections::KeptOpen { in_flight: NonZeroUsize::MIN },
            ..Sender::to(self.port_a)
        };
        let each = Sender::to(self.port_a);
        let back = Sender { target: self.port_b, ..kept.clone() };
        say("Lakeside sends 1,200 messages of six types on 4 kept connections …");
        let sources: Vec<Vec<Message>> =
            (1..=4).map(|seed| Generator::new(seed).take(300).collect()).collect();
        rows.push(self.check("A → B, 4 connections", &self.mirth_b, kept.send_from_all(sources)).await?);
        say("… 300 messages on a new TCP connection each, as Mirth does by default …");
        let messages: Vec<_> = Generator::new(5).take(300).collect();
        rows.push(self.check("A → B, one connection each", &self.mirth_b, each.send(messages)).await?);
        say("… and 8 documents of 8 MB.");
        let documents: Vec<_> = Generator::new(6).only(Kind::Document).padded_to(8_000_000).take(8).collect();
        rows.push(self.check("A → B, 8 MB documents", &self.mirth_b, kept.send(documents)).await?);
        say("St Mary sends 300 messages back.");
        let messages: Vec<_> = Generator::new(7).take(300).collect();
        rows.push(self.check("B → A, 1 connection", &self.mirth_a, back.send(messages)).await?);
        say(
            "Every message arrived exactly once, unchanged and in order, and its own acknowledgement came back.",
        );
        Ok(rows)
    }

    /// Where a real Mirth or MLLP client may be pointed.
    #[must_use]
    pub fn invitation(&self) -> String {
        format!(
            "Point a real Mirth's TCP Sender or any MLLP client at {} (arrives at St Mary's stand-in, {})\n\
             or at {} (arrives at Lakeside's stand-in, {}). What they say: ACK with code AA. Ctrl-C ends it.",
            self.port_a,
            self.mirth_b.address(),
            self.port_b,
            self.mirth_a.address()
        )
    }

    /// Ends everything in order and removes the temporary state.
    pub async fn shutdown(self) {
        self.agent_a.shutdown().await;
        self.agent_b.shutdown().await;
        self.gateway.shutdown().await;
        self.mirth_a.shutdown().await;
        self.mirth_b.shutdown().await;
        drop(self.folder);
    }

    async fn wait_until_open(&self) -> Result<(), DemoError> {
        let deadline = Instant::now() + UP_WITHIN;
        for (agent, what) in [(&self.agent_a, "Lakeside's port"), (&self.agent_b, "St Mary's port")] {
            while !agent.port_open() {
                if Instant::now() > deadline {
                    return Err(DemoError::NotUp { what: what.into() });
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    async fn check(
        &self,
        what: &str,
        receiver: &Mirth,
        sending: impl Future<Output = Report>,
    ) -> Result<Row, DemoError> {
        let before = receiver.journal().count();
        let report = sending.await;
        let expected = before + report.sent.len() as u64;
        // What was acknowledged is in the journal already; the rest has failed and is named below.
        receiver
            .journal()
            .reaches(
                expected,
                if report.accepted() == report.sent.len() { ARRIVE_WITHIN } else { Duration::ZERO },
            )
            .await;
        let journal = receiver.journal().received();
        let new = journal.iter().skip(usize::try_from(before).unwrap_or(usize::MAX));
        let differences = Differences::between(&report.sent, new);
        if !differences.none() {
            return Err(DemoError::Differs { differences: Box::new(differences) });
        }
        Ok(Row {
            what: what.into(),
            messages: report.sent.len(),
            accepted: report.accepted(),
            p50: report.latencies.quantile(0.5),
            p99: report.latencies.quantile(0.99),
            bytes_per_second: rate(report.bytes(), report.took),
            path: self.agent_a.path(),
        })
    }
}

fn rate(bytes: u64, took: Duration) -> u64 {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

/// The closing table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<28} {:>8} {:>8} {:>10} {:>10} {:>8}  path\n",
        "", "messages", "ACK AA", "p50 ms", "p99 ms", "MB/s"
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<28} {:>8} {:>8} {:>10.3} {:>10.3} {:>6}.{}  {}",
            row.what,
            row.messages,
            row.accepted,
            row.p50.as_secs_f64() * 1e3,
            row.p99.as_secs_f64() * 1e3,
            row.bytes_per_second / 1_000_000,
            row.bytes_per_second / 100_000 % 10,
            row.path
        );
    }
    text
}

/// The way back, decided by the same people through the same rules, while the gateway runs.
async fn connect_back(
    gateway: &Gateway,
    lab: &Lab,
    listen: SocketAddr,
    forward_to: SocketAddr,
) -> Result<(), DemoError> {
    let platform = gateway.platform();
    let (sender, receiver) = (&lab.provisioned.target, &lab.provisioned.source);
    let channel = NewChannel {
        server: receiver.server,
        name: "results".parse().expect("a constant that is a name"),
        description: Description::default(),
        protocol: Protocol::Mllp,
        published: true,
    };
    let channel = platform.add_channel(&receiver.actor, &channel).await?;
    let grant = platform.request_grant(&sender.actor, channel, sender.server).await?;
    let connection = platform.approve_grant(&receiver.actor, grant, None).await?;
    platform.command(&sender.actor, connection, Command::Activate).await?;
    let view = platform.connection(&sender.actor, connection).await?;
    append(&lab.agent_b, &agent_entry(&view, Side::Source, &listen.to_string()))?;
    append(&lab.agent_a, &agent_entry(&view, Side::Target, &forward_to.to_string()))
}

fn append(path: &Path, entry: &str) -> Result<(), DemoError> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| write!(file, "\n{entry}"))
        .map_err(|source| DemoError::Folder { source })
}

fn read(path: &Path) -> Result<String, DemoError> {
    std::fs::read_to_string(path).map_err(|source| DemoError::Folder { source })
}

async fn stand_in() -> Result<Mirth, DemoError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|source| DemoError::Bind { source })?;
    Mirth::start(listener, Behaviour::ACCEPT).map_err(|source| DemoError::Bind { source })
}

fn free_port() -> Result<SocketAddr, DemoError> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|source| DemoError::Bind { source })
}

/// An agent on a thread of its own, as its own process would run it.
#[derive(Debug)]
struct AgentThread {
    context: Arc<Context>,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl AgentThread {
    async fn start(name: &'static str, file: &Path) -> Result<Self, DemoError> {
        let text = read(file)?;
        let base = file.parent().unwrap_or(file).to_path_buf();
        let config = AgentConfig::parse(&text, &base).expect("the lab writes valid files");
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || run_agent(config, started, stopped))
            .map_err(|source| DemoError::Folder { source })?;
        let context = starting
            .await
            .map_err(|_| DemoError::AgentGone { name })?
            .map_err(|source| DemoError::Agent { name, source })?;
        Ok(Self { context, stop, thread })
    }

    fn port_open(&self) -> bool {
        let mut sources = self.context.entries.all().filter(|entry| entry.side == Side::Source);
        sources.all(|entry| entry.facts.changing().port_open)
    }

    fn path(&self) -> &'static str {
        let mut entries = self.context.entries.all();
        match entries.find_map(|entry| entry.facts.changing().tunnel) {
            Some(tunnel) => match tunnel.path {
                PathKind::Direct => "direct",
            },
            None => "none",
        }
    }

    async fn shutdown(self) {
        drop(self.context);
        // An agent that is gone already needs no word.
        let _ = self.stop.send(());
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

fn run_agent(
    config: AgentConfig,
    started: oneshot::Sender<Result<Arc<Context>, AgentError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without a runtime `started` is dropped, which says so.
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        match Agent::start(config).await {
            Ok(agent) => {
                let _ = started.send(Ok(Arc::clone(agent.context())));
                let _ = stopped.await;
                agent.shutdown().await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    });
}

/// Removed with everything in it when dropped.
#[derive(Debug)]
struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn make() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("adit-demo-{}", hex::encode(crate::identity::chance::bytes::<8>()));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
