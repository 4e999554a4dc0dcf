//! The agent beside a Mirth server: enrols, keeps the control link, keeps a tunnel for every
//! active connection that its file names, and carries what the local Mirth sends and receives.
//!
//! One thread runs it all: on the data path wake-ups between threads cost more than they give.

pub mod admin;
mod audit_log;
pub mod better_paths;
pub mod carrier;
pub mod connection;
mod connections;
mod control;
mod copies;
pub mod diagnosis;
mod disk;
pub mod enrol;
pub mod entries;
mod exchanges;
#[cfg(test)]
mod fixture;
mod gateway_link;
pub mod health;
mod local_connections;
mod local_users;
pub mod measurements;
mod mirth_activity;
mod observe;
mod outbox;
mod parts;
pub mod paths;
pub mod policies;
mod policy;
mod rejected;
mod repeats;
mod restart;
mod secret_store;
mod side_fault;
pub mod state;
pub mod stats;
pub mod status;
mod stopping;
pub mod trust;
mod trust_store;
mod tunnels;
mod wanted_peers;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use self::admin::certificate;
use self::carrier::{CarrierKeeper, RelayedRoutes};
use self::connections::Connections;

use self::entries::Entries;
use self::gateway_link::GatewayLink;
use self::outbox::Outbox;
use self::parts::{Beginnings, ControlOwn, Parts};
use self::paths::Paths;
use self::state::{AgentState, StateError};
use self::status::{StartupInfo, StatusError, StatusSocket};
use self::stopping::Stopping;
use self::tunnels::Admission;
use adit_core::config::agent::AgentConfig;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, RelayId};
use adit_core::domain::visible::error_chain;
use adit_net::host::folder;
use adit_net::identity::error::IdentityError;
use adit_net::identity::local_https::LocalCertificate;
use adit_net::identity::outer::GatewayKey;
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, LearntClock, TimeSource};
use adit_net::task::named;
use adit_net::transport::any_address::bind_any;
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::carrier::queues;
use adit_net::transport::endpoint::{AgentEndpoint, Credentials, TransportError, TunnelSettings};
use adit_net::transport::routes::{OwnEnd, Routes};
use adit_net::transport::socket::AgentSocket;
use adit_net::transport::tls::LocalTls;
use adit_observe::audit::{AuditEntry, AuditError, AuditFile};
use adit_observe::metrics;

/// The agent's own audit in its state folder.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Returns every name that is ever opened in an agent's state folder.
#[must_use]
pub fn state_names() -> Vec<String> {
    let mut names = folder::names(&state::FILES, &[]);
    names.extend([AUDIT_FILE, status::SOCKET].map(str::to_owned));
    names
}

/// How often metrics are brought up to date.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// What tunnels may take to end after the last exchange has, or was reset.
const STOP_SLACK: Duration = Duration::from_secs(1);
/// How long peers are told that this agent goes.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Enrol(#[from] enrol::EnrolError),
    #[error("cannot bind UDP {address}; stop what uses it, or change `listen`")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot set up the UDP socket")]
    Socket { source: io::Error },
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the HTTPS certificate for admin sessions cannot be used")]
    Certificate(#[from] IdentityError),
}

/// A running agent. Dropped, it stops at once and every open socket is reset.
#[derive(Debug)]
pub struct Agent {
    parts: Parts,
    connections: Connections,
    tasks: Tasks,
}

/// The tasks of an agent; each says which it is when it ends.
type Tasks = JoinSet<&'static str>;

impl Agent {
    /// Enrols if need be and starts everything; returns when ports and sockets are bound.
    pub async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let state = Arc::new(AgentState::open(&config.state)?);
        state.set_damaged_aside();
        let audit = AuditFile::open(&config.state.join(AUDIT_FILE))?;
        let clock = Arc::new(LearntClock::new(HostClock, state.clock_offset_millis()?));
        let was_enrolled = state.enrolment()?.is_some();
        // Bound before the wait, which may be long, so that people can ask what is missing.
        let status = StatusSocket::bind(&config.state)?;
        let why = watch::Sender::new(None);
        let proxies = Proxies::of_host(&config.proxies);
        let enrolment = tokio::select! {
            enrolment = enrol::await_identity(&state, config.connector.as_deref(), &proxies, &why) => enrolment?,
            () = status.run_waiting(why.subscribe()) => unreachable!("it answers until dropped"),
        };
        let (identity, trust) = state.identity(&enrolment)?;
        if clock.drop_bad_offset(identity.validity(&trust).ok()) {
            tracing::warn!(
                "the kept correction of this host's clock contradicts its certificate and was dropped"
            );
        }
        if !was_enrolled {
            let key = identity.key().fingerprint();
            audit.append(&AuditEntry::enrolled(clock.now(), enrolment.server, key))?;
        }
        let (carried, carrier_end) = queues::queues();
        let carriers = BTreeMap::from([(RelayId(enrolment.gateway_route), carried)]);
        let udp = bind_lasting(&state, config.listen)?;
        let (socket, own_packets) = AgentSocket::with_carriers(udp, enrolment.route, carriers)
            .map_err(|source| AgentError::Socket { source })?;
        report_buffers(&socket);
        let boot = BootId::from_bytes(random::bytes());
        let own = OwnEnd { route: enrolment.route, gateway: enrolment.gateway_route, boot };
        let (routes, route_driver) = Routes::new(Arc::clone(&socket), own_packets, own);
        let key = GatewayKey { ca_key: trust.ca_key(), trust_domain: enrolment.trust_domain.clone() };
        let credentials = Credentials { identity, trust, clock: clock.clone() };
        let settings = TunnelSettings { congestion: config.congestion };
        let endpoint = AgentEndpoint::new(Arc::clone(&socket), enrolment.route, credentials, settings)?;
        let certificate = certificate::of_config(&config, &state, clock.now())?;
        let fingerprint = certificate.as_ref().map(LocalCertificate::fingerprint);
        let local_tls = certificate.as_ref().map(LocalTls::new).transpose()?;
        let (entries, runs) = Entries::from_config(&config, &clock);
        let paths = Paths::from_config(&config);
        let (outbox, notes) = Outbox::new();
        let listen = socket.bound().map_or_else(|_| String::new(), |bound| bound.to_string());
        let carrier_status = watch::Sender::default();
        let startup = StartupInfo {
            listen,
            certificate: fingerprint,
            started: Instant::now(),
            carrier: carrier_status.subscribe(),
        };
        let known_addresses = state.peer_addresses()?;
        let beginnings = Beginnings { clock, endpoint, routes, entries, paths, enrolment, audit, outbox };
        let parts = parts::load(beginnings, &state)?;
        parts.policies.note_unusable();
        let announced = parts::of_announced(&parts, known_addresses);
        let own = ControlOwn {
            socket,
            boot,
            announced: announced.clone(),
            direct_addresses: config.direct_addresses.clone(),
            notes,
        };
        let control = parts::of_control(&parts, own);
        let relay = RelayId(parts.enrolment.gateway_route);
        let keeper = CarrierKeeper {
            gateway: parts.enrolment.gateway_addresses.clone(),
            proxies: Arc::new(proxies),
            key,
            end: carrier_end,
            user: RelayedRoutes { routes: parts.routes.clone(), relay },
            status: carrier_status,
            clock: parts.clock.clone(),
        };
        let connection_parts = parts::of_connections(&parts);
        let mut tasks = start_tasks(&parts, Arc::clone(&connection_parts.admission));
        spawn(&mut tasks, "carrier", tracing::debug_span!("carrier"), keeper.run());
        spawn(&mut tasks, "paths", tracing::debug_span!("paths"), route_driver.run());
        spawn(&mut tasks, "peers' addresses", Span::none(), announced.clone().keep());
        spawn(&mut tasks, "wanted peers", Span::none(), announced.run());
        let sources = Arc::new(parts::of_status(&parts));
        spawn(&mut tasks, "status socket", Span::none(), status.run(sources, startup));
        let mut connections = Connections::new(connection_parts, local_tls);
        for run in runs {
            connections.start(run);
        }
        spawn(&mut tasks, "control link", tracing::debug_span!("control"), control.run());
        Ok(Self { parts, connections, tasks })
    }

    /// Returns the connections of its file.
    #[must_use]
    pub const fn entries(&self) -> &Arc<Entries> {
        &self.parts.entries
    }

    /// Returns what is allowed of the path to each peer, to be changed.
    #[must_use]
    pub const fn paths(&self) -> &Arc<Paths> {
        &self.parts.paths
    }

    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.parts.routes
    }

    /// Resolves only when a part of the agent ends that should not: it must be started again.
    pub async fn failed(&mut self) {
        let task = tokio::select! {
            task = self.tasks.join_next() => task.and_then(Result::ok),
            () = self.connections.failed() => Some("connection"),
        };
        tracing::error!(task, "a part of the agent ended by itself; this is a bug, please report it");
    }

    /// Stops in order: what is under way may end, see [`Self::drain`].
    pub async fn shutdown(self) {
        self.drain().await;
        self.end().await;
    }

    /// Closes the ports and waits a bounded time for what somebody waits for: acknowledgements, answers,
    /// the release of associations.
    pub async fn drain(&self) {
        let Parts { stopping, entries, .. } = &self.parts;
        let waiting: u64 = entries.all().map(|entry| entry.stats.waiting()).sum();
        let limit =
            entries.all().map(|entry| stopping::limit(entry.config.service)).max().unwrap_or_default();
        tracing::info!(
            "{waiting} exchanges are waited for, at most {} s; a second signal ends at once",
            limit.as_secs()
        );
        for entry in entries.all() {
            let (streams, waiting) = (entry.status().streams, entry.stats.waiting());
            let limit = stopping::limit(entry.config.service);
            tracing::debug!(connection = %entry.config.name, streams, waiting, ?limit, "a connection is drained");
        }
        stopping.begin(Instant::now());
        // Each tunnel ends by itself in time; what keeps one from doing so must not keep the process.
        let _ = timeout(limit + STOP_SLACK, stopping.all_ended()).await;
        match stopping.reset() {
            0 => tracing::info!("all exchanges have ended"),
            reset => tracing::info!("{reset} exchanges took too long and are reset"),
        }
    }

    /// Stops at once: peers are told, open sockets are reset.
    pub async fn end(mut self) {
        self.parts.stopping.begin(Instant::now());
        tracing::debug!(limit = ?CLOSE_TIMEOUT, "peers and the gateway are told that this agent goes");
        self.parts.endpoint.close(CLOSE_TIMEOUT).await;
        tracing::debug!(tasks = self.tasks.len(), "what still runs is stopped");
        self.connections.shutdown().await;
        self.tasks.shutdown().await;
    }
}

/// Starts what needs nothing but the parts.
fn start_tasks(parts: &Parts, admission: Arc<Admission>) -> Tasks {
    let (endpoint, stopping) = (Arc::clone(&parts.endpoint), Arc::clone(&parts.stopping));
    let published = Published {
        endpoint: Arc::clone(&endpoint),
        entries: Arc::clone(&parts.entries),
        link: Arc::clone(&parts.link),
        routes: parts.routes.clone(),
    };
    let mut tasks = Tasks::new();
    spawn(&mut tasks, "pings", Span::none(), ping_connections(parts.routes.clone(), endpoint));
    spawn(&mut tasks, "incoming tunnels", Span::none(), accept(admission, stopping));
    spawn(&mut tasks, "metrics", Span::none(), publish(published));
    let measuring = Arc::clone(&parts.measurements);
    let measured = measuring.run(Arc::clone(&parts.entries), Arc::clone(&parts.clock));
    spawn(&mut tasks, "measurements", Span::none(), measured);
    tasks
}

fn spawn(tasks: &mut Tasks, name: &'static str, span: Span, task: impl Future<Output = ()> + Send + 'static) {
    let run = async move {
        named(name, task).await;
        name
    };
    tasks.spawn(run.instrument(span));
}

/// Of what metrics are made.
struct Published {
    endpoint: Arc<AgentEndpoint>,
    entries: Arc<Entries>,
    link: Arc<GatewayLink>,
    routes: Routes,
}

/// Exports what is true of every entry, as often as anybody may look.
async fn publish(published: Published) {
    let Published { endpoint, entries, link, routes } = published;
    let mut turns = tokio::time::interval(PUBLISH_EVERY);
    let mut drops = BTreeMap::new();
    loop {
        turns.tick().await;
        let credentials = endpoint.credentials();
        if let Ok((_, expires)) = credentials.identity.validity(&credentials.trust) {
            metrics::leaf_expires(expires);
        }
        metrics::control_link_path(routes.gateway_path().borrow().kind());
        log_repeats(&entries, &link);
        publish_drops(&endpoint, &mut drops);
        for entry in entries.all() {
            let (is_target, protocol) = (entry.side == Side::Target, entry.config.service.protocol());
            let sample = entry.stats.sample(&entry.status(), is_target, protocol);
            metrics::connection(entry.config.name.as_str(), &sample);
        }
    }
}

/// Publishes how many packets went nowhere, and says how many did since the last time.
fn publish_drops(endpoint: &AgentEndpoint, before: &mut BTreeMap<&'static str, u64>) {
    for (reason, all) in endpoint.drops().all() {
        metrics::dropped_packets(reason, all);
        let dropped = all - before.insert(reason, all).unwrap_or(0);
        if dropped > 0 {
            tracing::debug!(reason, dropped, all, "packets went nowhere");
        }
    }
}

fn log_repeats(entries: &Entries, link: &GatewayLink) {
    let now = Instant::now();
    for entry in entries.all() {
        for (line, times) in entry.repeats.due(now) {
            tracing::info!(connection = %entry.config.name, times, "again and again: {line}");
        }
    }
    for (line, times) in link.repeats.due(now) {
        tracing::info!(times, "again and again: {line}");
    }
}

/// Wakes the connections whose packets take another path.
async fn ping_connections(routes: Routes, endpoint: Arc<AgentEndpoint>) {
    let mut pings = routes.pings();
    // The sender lives as long as the agent.
    while pings.changed().await.is_ok() {
        endpoint.ping();
    }
}

/// Answers peers that dial: as many at a time as the gate has places, no more of one peer than its share.
async fn accept(admission: Arc<Admission>, stopping: Arc<Stopping>) {
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            // A peer that dials now is answered by the run that follows.
            () = stopping.begun() => std::future::pending().await,
            incoming = admission.endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let answered = named("handshake", tunnels::answer(Arc::clone(&admission), incoming));
                answering.spawn(answered.instrument(tunnels::incoming_span()));
            }
            _ = answering.join_next(), if !answering.is_empty() => {}
        }
    }
}

/// Binds a port; where the kernel may choose the port, the one it chose before is tried first: peers that
/// know this agent find it again while the gateway cannot tell them.
fn bind_lasting(state: &AgentState, listen: SocketAddr) -> Result<UdpSocket, AgentError> {
    if listen.port() != 0 {
        return bind_udp(listen);
    }
    let before = state.udp_port()?;
    if let Some(socket) = before.and_then(|port| bind_udp(SocketAddr::new(listen.ip(), port)).ok()) {
        tracing::debug!(
            port = before,
            "the UDP port of the last run is free, so peers find this agent there"
        );
        return Ok(socket);
    }
    tracing::debug!(before, "there is no UDP port of the last run, or it is taken; the kernel chooses one");
    let socket = bind_udp(listen)?;
    let bound = socket.local_addr().map_err(|source| AgentError::Socket { source })?;
    if let Err(error) = state.store_udp_port(bound.port()) {
        // The port serves without it; only the next start may get another.
        tracing::warn!(error = %error_chain(&error), "the UDP port cannot be kept for the next start");
    }
    Ok(socket)
}

/// Binds the UDP socket; a host without IPv6 gets its IPv4 counterpart of "any address".
fn bind_udp(address: SocketAddr) -> Result<UdpSocket, AgentError> {
    let bound = bind_any(address, socket2::Type::DGRAM, |_| Ok(()));
    bound.map(Into::into).map_err(|source| AgentError::Bind { address, source })
}

fn report_buffers(socket: &AgentSocket) {
    if let Ok(buffers) = socket.buffers() {
        tracing::info!(
            receive_bytes = buffers.receive_bytes,
            send_bytes = buffers.send_bytes,
            "UDP socket buffers; raise net.core.rmem_max and net.core.wmem_max to 4 MiB if these are smaller"
        );
    }
}
