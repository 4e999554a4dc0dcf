//! The demo: gateway, two agents, two stand-in Mirths and a stand-in archive in one process, on free
//! loopback ports and a temporary state. It enrols with real tokens, provisions by real peering, grants
//! and offers, sends real messages and objects, works on a Mirth from afar, and says if anything
//! differed.

mod admin;
mod agent_thread;
mod paths;
mod table;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::sleep;

pub use self::table::{Row, table};

use self::agent_thread::AgentThread;
use super::admin_client::ClientError;
use super::admin_mirth::{AdminMirth, PASSWORD as ADMIN_PASSWORD, StandInError, USER as ADMIN_USER};
use super::dicom::differences as object_differences;
use super::dicom::modality::{self, Modality};
use super::dicom::object::Object;
use super::dicom::pacs::{Pacs, Treatment};
use super::lab::{self, Lab, LabAdmin, LabConnection, LabError, Wanted};
use super::measure::Differences;
use super::messages::{Generator, Kind};
use super::mirth::{Behaviour, Mirth};
use super::sender::{self, Sender};
use adit_agent::AgentError;
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::access::Access;
use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::name::Description;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_gateway::platform::{ConnectionCommand, NewChannel, PlatformError, agent_entry};
use adit_gateway::service::{Gateway, GatewayError, GatewaySockets};
use adit_net::identity::time::HostClock;

/// How long everything may take to come up on a slow machine.
const UP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot use a temporary folder; set TMPDIR to one that this user may write to")]
    Folder { source: io::Error },
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("the agent `{name}` did not start")]
    Agent { name: &'static str, source: AgentError },
    #[error(
        "there is no thread for the agent `{name}`; let this user have more processes and open files \
         (`ulimit -u`, `ulimit -n`)"
    )]
    Thread { name: &'static str, source: io::Error },
    #[error("the agent `{name}` ended at its start; this is a bug, please report it")]
    AgentGone { name: &'static str },
    #[error("cannot bind a port on 127.0.0.1; the demo needs a loopback interface with free ports")]
    Bind { source: io::Error },
    #[error("{what} was not up after {} s; run with ADIT_LOG=info to see why", UP_WITHIN.as_secs())]
    NotUp { what: String },
    #[error("{cut} TCP connections broke while the path changed; this is a bug, please report it")]
    Cut { cut: u64 },
    #[error(transparent)]
    StandIn(#[from] StandInError),
    #[error("an admin session broke off; this is a bug, please report it")]
    Admin(#[from] ClientError),
    #[error("{what} went otherwise than it must; this is a bug, please report it: {found}")]
    Unexpected { what: String, found: String },
    #[error("what arrived differs from what was sent; this is a bug, please report it:\n{differences}")]
    Differs { differences: String },
}

/// Who listens, beside Lakeside's agent and beside St Mary's.
#[derive(Debug)]
struct StandIns {
    lakeside: Mirth,
    st_mary: Mirth,
    archive: Pacs,
    /// St Mary's Mirth as its administrators see it.
    st_mary_admin: AdminMirth,
}

/// Where senders and administrators connect.
#[derive(Debug)]
struct Ports {
    /// Beside Lakeside's agent: for messages to St Mary.
    messages: SocketAddr,
    /// For objects to St Mary's archive.
    objects: SocketAddr,
    /// Beside St Mary's agent: for messages to Lakeside.
    back: SocketAddr,
    /// Beside Lakeside's agent: St Mary's Mirth, view-only.
    view: SocketAddr,
    /// The same with full control.
    manage: SocketAddr,
}

impl Ports {
    fn take() -> Result<Self, DemoError> {
        Ok(Self {
            messages: free_port()?,
            objects: free_port()?,
            back: free_port()?,
            view: free_port()?,
            manage: free_port()?,
        })
    }

    /// Returns all that the demo carries but the way back.
    fn wanted(&self, stand_ins: &StandIns) -> Wanted {
        let StandIns { st_mary, archive, st_mary_admin, .. } = stand_ins;
        let connection = |protocol, listen, forward_to| LabConnection { protocol, listen, forward_to };
        let admin = |access, listen| LabAdmin { access, listen, mirth: st_mary_admin.address() };
        Wanted {
            connections: vec![
                connection(Protocol::Mllp, self.messages, st_mary.address()),
                connection(Protocol::Dicom, self.objects, archive.address()),
            ],
            admin: vec![admin(Access::ReadOnly, self.view), admin(Access::ReadWrite, self.manage)],
            path: PathPreference::AUTO,
        }
    }
}

/// A demo that is up.
#[derive(Debug)]
pub struct Demo {
    stand_ins: StandIns,
    ports: Ports,
    agent_a: AgentThread,
    agent_b: AgentThread,
    gateway: Gateway,
    lab: Lab,
    folder: TemporaryFolder,
}

impl Demo {
    /// Brings everything up and says each step as it happens.
    pub async fn start(say: &impl Fn(&str)) -> Result<Self, DemoError> {
        let folder = TemporaryFolder::make().map_err(|source| DemoError::Folder { source })?;
        let stand_ins = StandIns::start().await?;
        let StandIns { lakeside, st_mary, archive, st_mary_admin } = &stand_ins;
        say(&format!(
            "Stand-ins listen: for HL7 Lakeside's Mirth on {}, St Mary's on {}; for DICOM St Mary's archive on {}; \
             for administrators St Mary's Mirth on https://{}.",
            lakeside.address(),
            st_mary.address(),
            archive.address(),
            st_mary_admin.address()
        ));
        let ports = Ports::take()?;
        let lab = lab::write(&folder.path.join("lab"), &ports.wanted(&stand_ins)).await?;
        say("Lakeside Clinic and St Mary Hospital are registered at the gateway; each has one server.");
        say(
            "Lakeside asked for peering, St Mary accepted; St Mary published two channels, for HL7 and DICOM, \
             granted them to Lakeside, and the connections are Active. St Mary also offered to have its Mirth \
             viewed, and managed, and Lakeside accepted.",
        );
        let config =
            GatewayConfig::parse(&read(&lab.gateway)?, &folder.path).expect("the lab writes valid files");
        let gateway =
            Gateway::start(&config, GatewaySockets::bind(config.listen)?, Arc::new(HostClock)).await?;
        say(&format!(
            "The gateway runs on {} (UDP and TCP) with its own certificate authority.",
            gateway.address()
        ));
        connect_back(&gateway, &lab, ports.back, lakeside.address()).await?;
        say("The same the other way round: St Mary may send messages to Lakeside.");
        let agent_a = AgentThread::start("lakeside", &lab.agent_a).await?;
        let agent_b = AgentThread::start("st-mary", &lab.agent_b).await?;
        say(
            "Both agents made their own keys, enrolled with single-use tokens and hold certificates for 14 days.",
        );
        let demo = Self { stand_ins, ports, agent_a, agent_b, gateway, lab, folder };
        demo.wait_until_open().await?;
        say("The agents found each other, proved certificates and shared secrets to one another, and \
             opened their ports: one QUIC tunnel per connection, the gateway no longer in the way.");
        Ok(demo)
    }

    /// Sends messages and objects, works on a Mirth, and compares what arrived.
    pub async fn run(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let mut rows = self.send_messages(say).await?;
        rows.extend(self.send_objects(say).await?);
        rows.extend(self.manage_mirth(say).await?);
        rows.extend(self.change_paths(say).await?);
        Ok(rows)
    }

    /// Returns where a real Mirth, MLLP client or modality may be pointed.
    #[must_use]
    pub fn invitation(&self) -> String {
        let Ports { messages, objects, back, view, manage } = &self.ports;
        let StandIns { lakeside, st_mary, archive, .. } = &self.stand_ins;
        format!(
            "Point a real Mirth's TCP Sender or any MLLP client at {messages} (arrives at St Mary's stand-in, {})\n\
             or at {back} (arrives at Lakeside's stand-in, {}), and any DICOM sender at {objects} (arrives at the\n\
             archive's stand-in, {}). What they say: ACK with code AA, status success. Scripts may work on St Mary's\n\
             stand-in Mirth at https://{view}/api (view-only) and https://{manage}/api as {ADMIN_USER}, password\n\
             {ADMIN_PASSWORD}. Ctrl-C ends it.",
            st_mary.address(),
            lakeside.address(),
            archive.address()
        )
    }

    /// Ends everything in order and removes the temporary state.
    pub async fn shutdown(self) {
        self.agent_a.shutdown().await;
        self.agent_b.shutdown().await;
        self.gateway.shutdown().await;
        self.stand_ins.shutdown().await;
        drop(self.folder);
    }

    /// Sends sample messages of several types, there and back.
    async fn send_messages(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let mut rows = Vec::new();
        let StandIns { lakeside, st_mary, .. } = &self.stand_ins;
        let kept = self.kept_sender();
        let each = Sender::to(self.ports.messages);
        let back = Sender { target: self.ports.back, ..kept.clone() };
        say("Lakeside sends 1,200 messages of six types on 4 kept connections …");
        rows.push(self.check("A → B, 4 connections", st_mary, kept.send_from_all(paths::sources(1))).await?);
        say("… 300 messages on a new TCP connection each, as Mirth does by default …");
        let messages: Vec<_> = Generator::new(5).take(300).collect();
        rows.push(self.check("A → B, one connection each", st_mary, each.send(messages)).await?);
        say("… and 8 documents of 8 MB.");
        let documents: Vec<_> = Generator::new(6).only(Kind::Document).padded_to(8_000_000).take(8).collect();
        rows.push(self.check("A → B, 8 MB documents", st_mary, kept.send(documents)).await?);
        say("St Mary sends 300 messages back.");
        let messages: Vec<_> = Generator::new(7).take(300).collect();
        rows.push(self.check("B → A, 1 connection", lakeside, back.send(messages)).await?);
        say(
            "Every message arrived exactly once, unchanged and in order, and its own acknowledgement came back.",
        );
        Ok(rows)
    }

    /// Sends objects of a modality, several associations at once, and a large one.
    async fn send_objects(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let mut rows = Vec::new();
        let modality = Modality::to(self.ports.objects);
        say("Lakeside's CT sends 20 DICOM objects of 512 KiB on 2 associations at once …");
        let series = [11, 12].map(|seed| Object::series(seed, 10, 512 * 1024));
        rows.push(self.check_objects("A → B, 2 associations", modality.send_from_all(series)).await?);
        say("… and one of 32 MiB.");
        let large = [Object::new(13, 32 * 1024 * 1024)];
        rows.push(self.check_objects("A → B, 32 MiB object", modality.send(large)).await?);
        say("Every object was stored exactly once, and its hash is the one that was sent.");
        Ok(rows)
    }

    async fn wait_until_open(&self) -> Result<(), DemoError> {
        let deadline = Instant::now() + UP_WITHIN;
        for (agent, what) in [(&self.agent_a, "Lakeside's ports"), (&self.agent_b, "St Mary's port")] {
            while !agent.port_open() {
                if Instant::now() > deadline {
                    return Err(DemoError::NotUp { what: what.into() });
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    fn path(&self) -> &'static str {
        self.agent_a.path_in_use().map_or("none", PathKind::as_str)
    }

    async fn check(
        &self,
        what: &str,
        receiver: &Mirth,
        sending: impl Future<Output = sender::Report>,
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
            return Err(DemoError::Differs { differences: differences.to_string() });
        }
        let counts = [report.sent.len(), report.accepted()];
        let volume = (report.bytes(), report.took);
        Ok(Row::new(what, counts, &report.latencies, volume, self.path()))
    }

    async fn check_objects(
        &self,
        what: &str,
        sending: impl Future<Output = modality::Report>,
    ) -> Result<Row, DemoError> {
        let before = self.stand_ins.archive.journal().stored().len();
        let report = sending.await;
        // An object is in the journal before it is answered.
        let stored = self.stand_ins.archive.journal().stored();
        let differences = object_differences(&report.sent, &stored[before..]);
        if !differences.is_empty() {
            return Err(DemoError::Differs { differences: differences.join("\n") });
        }
        let counts = [report.sent.len(), report.accepted()];
        let volume = (report.bytes(), report.took);
        Ok(Row::new(what, counts, &report.latencies, volume, self.path()))
    }
}

impl StandIns {
    async fn start() -> Result<Self, DemoError> {
        let bind = async || listener().await.map_err(|source| DemoError::Bind { source });
        let failed = |source| DemoError::Bind { source };
        Ok(Self {
            lakeside: Mirth::start(bind().await?, Behaviour::ACCEPT).map_err(failed)?,
            st_mary: Mirth::start(bind().await?, Behaviour::ACCEPT).map_err(failed)?,
            archive: Pacs::start(bind().await?, Treatment::STORE).map_err(failed)?,
            st_mary_admin: AdminMirth::start(bind().await?)?,
        })
    }

    async fn shutdown(self) {
        self.lakeside.shutdown().await;
        self.st_mary.shutdown().await;
        self.archive.shutdown().await;
        self.st_mary_admin.shutdown().await;
    }
}

/// Connects the way back, decided by the same people through the same rules, while the gateway runs.
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
    let channel = platform.add_channel(&receiver.initiator, &channel).await?;
    let grant = platform.request_grant(&sender.initiator, channel, sender.server).await?;
    let connection = platform.approve_grant(&receiver.initiator, grant, None).await?;
    platform.command(&sender.initiator, connection, ConnectionCommand::Activate).await?;
    let view = platform.connection(&sender.initiator, connection).await?;
    for (agent, side, address) in
        [(&lab.agent_b, Side::Source, listen), (&lab.agent_a, Side::Target, forward_to)]
    {
        if let Some(entry) = agent_entry(&view, side, &address.to_string()) {
            append(agent, &entry)?;
        }
    }
    Ok(())
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

async fn listener() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

fn free_port() -> Result<SocketAddr, DemoError> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|source| DemoError::Bind { source })
}

/// Removed with everything in it when dropped.
#[derive(Debug)]
struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn make() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("adit-demo-{}", hex::encode(adit_net::identity::random::bytes::<8>()));
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
