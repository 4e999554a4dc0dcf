//! The agent's local socket: `adit status`, `adit trust`, `adit path` and `adit check` ask here.
//!
//! A Unix socket of mode 0600 in the state folder; one JSON line asks, one answers.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

use super::admin::explain::{Explained, explanation};
use super::better_paths::{self, LinkPath};
use super::carrier::CarrierStatus;
use super::connection::status::ConnectionStatus;
use super::entries::{Entries, LiveConnection};
use super::gateway_link::GatewayLink;
use super::paths::Paths;
use super::policies::{Forgotten, Policies};
use super::state::Enrolment;
use super::stats::{AdminStatus, AgentStatus, EntryStatus, ManagedStatus, PeerKey, TimedFlag, count};
use super::stopping::Stopping;
use super::trust_store::TrustStore;
use adit_core::config::agent::Service;
use adit_core::domain::access::Access;
use adit_core::domain::connection::{ConnectionType, Protocol};
use adit_core::domain::id::{ConnectionId, KeyFingerprint};
use adit_core::domain::limits::{STATUS_ANSWER_BYTES_MAX, STATUS_CONNECTIONS_MAX};
use adit_core::domain::path::PathPreference;
use adit_core::domain::places::Bounds;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::connection::Full;
use adit_core::protocol::control::Rule;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::task::named;
use adit_net::transport::endpoint::AgentEndpoint;
use adit_net::transport::newcomers::{Newcomer, Newcomers};
use adit_net::transport::routes::Routes;

pub(super) const SOCKET: &str = "agent.sock";
const REQUEST_BYTES_MAX: u64 = 4 * 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: Bounds = Bounds {
    all: STATUS_CONNECTIONS_MAX,
    of_network: STATUS_CONNECTIONS_MAX,
    of_address: STATUS_CONNECTIONS_MAX,
};
/// With those that are being answered, or have just lost their place.
const TASKS_MAX: usize = 4 * STATUS_CONNECTIONS_MAX;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    Status,
    Trust {
        connection: ConnectionId,
        key: KeyFingerprint,
        /// Though the peer shows another one.
        #[serde(default)]
        force: bool,
    },
    /// From now on `path` is what is allowed of the path to the connection's peer.
    Path {
        connection: ConnectionId,
        path: PathPreference,
    },
    /// The HTTPS key of the managed Mirth.
    TrustMirth {
        connection: ConnectionId,
        key: KeyFingerprint,
    },
    /// What a gateway said for good of the connection is undone.
    ForgetEnded {
        connection: ConnectionId,
    },
    /// What would become of a request on an admin connection.
    Explain {
        connection: ConnectionId,
        method: String,
        target: String,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    Status(Box<AgentStatus>),
    Trusted {
        /// Other connections with the same peer for which it counts.
        also: Vec<String>,
    },
    PathChosen,
    Explained(Explained),
    Forgotten {
        ended: bool,
        revoked: Vec<KeyFingerprint>,
    },
    Failed {
        what: String,
    },
    /// The agent is not enrolled and tries to be; why it is not yet, once an attempt has ended.
    Waits {
        what: Option<String>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("cannot open the status socket `{path}`; the agent needs to write to its state folder")]
    Bind { path: PathBuf, source: io::Error },
    #[error("no agent answers at `{path}`; start it with `adit agent --config FILE`")]
    NotRunning { path: PathBuf, source: io::Error },
    #[error("this user may not ask the agent at `{path}`; run this as the agent's user or as root")]
    NotAllowed { path: PathBuf },
    #[error(
        "the agent waits for enrolment: {}; it keeps trying",
        what.as_deref().unwrap_or("no attempt has ended yet")
    )]
    Waits { what: Option<String> },
    #[error("the agent at `{path}` did not answer as expected; compare the versions of agent and command")]
    Nonsense { path: PathBuf },
}

/// The open socket of an agent, from its start; its file goes with it.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// What the agent was started with, for display.
#[derive(Debug)]
pub struct StartupInfo {
    /// Where its UDP socket is bound.
    pub listen: String,
    /// SHA-256 of its certificate for admin sessions.
    pub certificate: Option<String>,
    /// When it began to serve.
    pub started: Instant,
    pub carrier: watch::Receiver<CarrierStatus>,
}

/// Where what is shown comes from, and what people change.
#[derive(Debug)]
pub(crate) struct StatusSources {
    pub(crate) clock: Arc<LearntClock>,
    pub(crate) endpoint: Arc<AgentEndpoint>,
    pub(crate) routes: Routes,
    pub(crate) entries: Arc<Entries>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) enrolment: Arc<Enrolment>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) link: Arc<GatewayLink>,
    pub(crate) stopping: Arc<Stopping>,
}

impl StatusSocket {
    pub fn bind(state: &Path) -> Result<Self, StatusError> {
        let path = state.join(SOCKET);
        let bind = || {
            // The state's lock is held, so a file that is there was left by a crash.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bind().map_err(|source| StatusError::Bind { path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Answers until dropped.
    pub(crate) async fn run(self, sources: Arc<StatusSources>, startup: StartupInfo) {
        let startup = Arc::new(startup);
        self.serve_each(move |line| {
            let (sources, startup) = (Arc::clone(&sources), Arc::clone(&startup));
            async move { answer_to(&sources, &line, &startup).await }
        })
        .await;
    }

    /// Answers whatever is asked by why the agent is not enrolled yet, until dropped.
    pub async fn run_waiting(&self, why: watch::Receiver<Option<String>>) {
        self.serve_each(move |_| {
            let what = why.borrow().clone();
            async move { Answer::Waits { what } }
        })
        .await;
    }

    /// Serves each client by itself. A client that goes away or stalls costs nobody else anything: at the
    /// bound the one that has asked nothing for longest goes.
    async fn serve_each<F>(&self, answer: impl Fn(String) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let newcomers = Newcomers::new(CONNECTIONS);
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if served.len() < TASKS_MAX => match accepted {
                    Ok((stream, _)) => {
                        // All come from this host.
                        let newcomer = newcomers.enter(Ipv4Addr::LOCALHOST.into());
                        let serving = named("status request", serve(stream, newcomer, answer.clone()));
                        served.spawn(serving.instrument(tracing::debug_span!("status")));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the status socket cannot accept");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
                Some(_) = served.join_next() => {}
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks the agent whose state is at `state`; one that waits to be enrolled answers nothing else.
pub async fn ask(state: &Path, request: &Request) -> Result<Answer, StatusError> {
    let path = state.join(SOCKET);
    let nonsense = || StatusError::Nonsense { path: path.clone() };
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.take(STATUS_ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answered = timeout(REQUEST_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
        .map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => StatusError::NotAllowed { path: path.clone() },
            _ => StatusError::NotRunning { path: path.clone(), source },
        })?;
    match serde_json::from_slice(&answered).map_err(|_| nonsense())? {
        Answer::Waits { what } => Err(StatusError::Waits { what }),
        answer => Ok(answer),
    }
}

async fn serve<F>(stream: UnixStream, mut newcomer: Newcomer, answer: impl FnOnce(String) -> F)
where
    F: Future<Output = Answer>,
{
    let mut reader = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    let asked = newcomer.within(REQUEST_TIMEOUT, reader.read_line(&mut line)).await;
    drop(newcomer);
    if matches!(asked, Ok(Ok(_))) {
        let mut stream = reader.into_inner().into_inner();
        let answering = async {
            let mut answered = serde_json::to_vec(&answer(line).await)?;
            answered.push(b'\n');
            stream.write_all(&answered).await
        };
        // A client that does not read the answer is not waited for.
        let _ = timeout(REQUEST_TIMEOUT, answering).await;
    }
}

async fn answer_to(sources: &Arc<StatusSources>, line: &str, startup: &StartupInfo) -> Answer {
    let request = serde_json::from_str(line);
    log_request(&request);
    match request {
        Ok(Request::Status) => Answer::Status(Box::new(status(sources, startup))),
        Ok(Request::Trust { connection, key, force }) => {
            match sources.trust.trust(connection, key, force).await {
                Ok(also) => Answer::Trusted { also },
                Err(error) => Answer::Failed { what: error_chain(&error) },
            }
        }
        Ok(Request::TrustMirth { connection, key }) => match sources.trust.trust_mirth(connection, key).await
        {
            Ok(()) => Answer::Trusted { also: Vec::new() },
            Err(error) => Answer::Failed { what: error_chain(&error) },
        },
        Ok(Request::Path { connection, path }) => match sources.entries.get(connection) {
            Some(entry) => {
                sources.paths.choose(entry.config.peer, path);
                tracing::info!(connection = %entry.config.name, %path, "the path was chosen");
                Answer::PathChosen
            }
            None => unknown_connection(),
        },
        Ok(Request::ForgetEnded { connection }) => match sources.entries.get(connection) {
            Some(entry) => match sources.policies.forget_end(entry).await {
                Ok(Forgotten { ended, revoked }) => Answer::Forgotten { ended, revoked },
                Err(error) => Answer::Failed { what: error_chain(&error) },
            },
            None => unknown_connection(),
        },
        Ok(Request::Explain { connection, method, target }) => match sources.entries.get(connection) {
            Some(entry) => explain(entry, method, target),
            None => unknown_connection(),
        },
        Err(_) => Answer::Failed { what: "this agent does not know the request".into() },
    }
}

/// Says what a person of this host asks; a request's own words may be a path of Mirth's and stay out.
fn log_request(request: &Result<Request, serde_json::Error>) {
    let (what, connection) = match request {
        Ok(Request::Status) => return tracing::trace!("asked for the status"),
        Ok(Request::Trust { connection, .. }) => ("trust", Some(connection)),
        Ok(Request::TrustMirth { connection, .. }) => ("trust of Mirth's key", Some(connection)),
        Ok(Request::Path { connection, .. }) => ("path", Some(connection)),
        Ok(Request::ForgetEnded { connection }) => ("forget ended", Some(connection)),
        Ok(Request::Explain { connection, .. }) => ("explain", Some(connection)),
        Err(_) => ("nothing that is known here", None),
    };
    tracing::debug!(
        what,
        connection = connection.map(tracing::field::display),
        "a command on this host asks"
    );
}

fn unknown_connection() -> Answer {
    Answer::Failed { what: "the running agent has no such connection; restart it".into() }
}

fn explain(entry: &LiveConnection, method: String, target: String) -> Answer {
    let Some(managed) = &entry.managed else {
        return Answer::Failed {
            what: "what passes is decided where the managed server stands; run this on its host".into(),
        };
    };
    match managed.ready() {
        Some(ready) => {
            Answer::Explained(explanation(&ready.judge, ready.access, managed.config.mask, method, target))
        }
        None => Answer::Failed {
            what: "this agent does not know its Mirth yet; `adit status` says what is missing".into(),
        },
    }
}

fn status(sources: &StatusSources, startup: &StartupInfo) -> AgentStatus {
    let credentials = sources.endpoint.credentials();
    let link = sources.link.status();
    let leaf_expires =
        credentials.identity.validity(&credentials.trust).map_or(sources.clock.now(), |(_, expires)| expires);
    AgentStatus {
        software: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: startup.started.elapsed().as_secs(),
        server: sources.enrolment.server,
        name: own_name(sources),
        key: credentials.identity.key().fingerprint(),
        leaf_expires,
        gateway: link.up,
        gateway_path: LinkPath::of(&sources.routes.gateway_path().borrow(), Instant::now()),
        gateway_error: link.last_error,
        gateway_database_away_since: link.database_away,
        not_taken: sources.link.rejected(),
        clone_seen: sources.link.copies.seen(Instant::now()),
        relay: sources.routes.is_registered(),
        carrier: Some(startup.carrier.borrow().clone()),
        stopping: sources.stopping.is_begun(),
        listen: startup.listen.clone(),
        admin_certificate: startup.certificate.clone(),
        entries: sources.entries.all().map(|entry| entry_status(sources, entry, link.up)).collect(),
    }
}

fn entry_status(sources: &StatusSources, entry: &LiveConnection, gateway: TimedFlag) -> EntryStatus {
    let counters = &entry.stats;
    let status = entry.status().clone();
    let known = sources
        .trust
        .known(entry.config.id)
        .map(|known| PeerKey { fingerprint: known.key, verified: known.verified });
    let pinned = entry.config.peer_key.map(|fingerprint| PeerKey { fingerprint, verified: true });
    let rtt = status.tunnel.map(|tunnel| tunnel.rtt.as_micros());
    let rules = sources.policies.rules();
    let rule = rules.rule(entry.config.id);
    let route = rule.map(|rule| format!("{} → {}", rule.source_name, rule.target_name));
    let admin = admin_status(sources, entry, rule, &status);
    let path_state = *sources.routes.path_state(entry.config.peer).borrow();
    EntryStatus {
        name: entry.config.name.to_string(),
        id: entry.config.id,
        kind: kind(entry, rule).as_str().into(),
        route: route.or_else(|| status.route.clone()).unwrap_or_default(),
        side: entry.side.as_str().into(),
        protocol: entry.config.service.protocol().map_or("https", Protocol::as_str).into(),
        peer: entry.config.peer,
        peer_name: rule.map(|rule| rule.peer_name().to_owned()),
        status: status.as_str().into(),
        gateway,
        tunnel: TimedFlag {
            on: Some(status.is_peer_heard()),
            since: status.tunnel.map(|tunnel| tunnel.silent_since.unwrap_or(tunnel.since)),
        },
        silent_since: status.tunnel.and_then(|tunnel| tunnel.silent_since),
        mirth: status.mirth,
        path_choice: sources.paths.to(entry.config.peer),
        path_conflict: sources.paths.conflict(entry.config.peer).map(|conflict| conflict.to_string()),
        path_reason: status.tunnel.and_then(|tunnel| tunnel.why).map(|why| why.to_string()),
        path_changes: status.tunnel.map_or(0, |tunnel| tunnel.path_changes),
        path: status.tunnel.and_then(|tunnel| tunnel.path),
        better_paths: better_paths::to_peer(&path_state, &sources.paths, entry.config.peer, Instant::now()),
        rtt_micros: rtt.and_then(|micros| u64::try_from(micros).ok()),
        packets_lost: status.tunnel.map(|tunnel| tunnel.packets_lost),
        port_open: status.port_open,
        at_limit: status.full.is_some(),
        peer_full: status.full == Some(Full::AtPeer),
        streams_max: entry.config.streams_max,
        limit_reached: count(&counters.limit_reached),
        silent_reset: count(&counters.silent_reset),
        address: entry.address.clone(),
        streams: status.streams,
        streams_opened: count(&counters.streams_opened),
        streams_cut: count(&counters.streams_cut),
        strangers_refused: count(&counters.strangers),
        messages: count(&counters.messages),
        acknowledged: count(&counters.acknowledged),
        bytes_into_tunnel: count(&counters.bytes.into_tunnel),
        bytes_out_of_tunnel: count(&counters.bytes.out_of_tunnel),
        dicom: (entry.config.service.protocol() == Some(Protocol::Dicom)).then(|| counters.dicom.counts()),
        last_ack: counters.last_ack(),
        peer_key: pinned.or(known),
        admin,
        last_error: status.last_error,
    }
}

/// Returns what the gateway calls this server in the rules of the file's connections.
fn own_name(sources: &StatusSources) -> Option<String> {
    let rules = sources.policies.rules();
    let mut known = sources.entries.all().filter_map(|entry| rules.rule(entry.config.id));
    known.next().map(|rule| rule.own_name().to_owned())
}

/// Returns the gateway's word, or what the file lets it be.
fn kind(entry: &LiveConnection, rule: Option<&Rule>) -> ConnectionType {
    match (rule, entry.config.service) {
        (Some(rule), _) => rule.kind,
        (None, Service::Channel(_)) => ConnectionType::P2p,
        (None, Service::Admin { access_max: Access::ReadOnly }) => ConnectionType::AdminRo,
        (None, Service::Admin { access_max: Access::ReadWrite }) => ConnectionType::AdminRw,
    }
}

fn admin_status(
    sources: &StatusSources,
    entry: &LiveConnection,
    rule: Option<&Rule>,
    status: &ConnectionStatus,
) -> Option<AdminStatus> {
    let sessions = entry.sessions.as_ref()?.open();
    let counts = &entry.stats.admin;
    let managed = entry.managed.as_ref().map(|managed| ManagedStatus {
        mirth_version: status.upstream.version.clone(),
        mirth_key: sources.trust.mirth_key(&managed.config),
        mirth_key_shown: status.upstream.key_shown,
        requests: count(&counts.requests),
        refused: count(&counts.refused),
        refused_as_expected: count(&counts.expected),
        changes: count(&counts.changes),
        audits: count(&counts.audits),
        unknown_operations: status.upstream.unknown_operations.clone(),
        masks: managed.config.mask,
    });
    Some(AdminStatus { access: rule.and_then(|rule| Access::of(rule.kind)), sessions, managed })
}
