//! The source's end of a connection: the local Mirth's sender connects here, or the people who manage
//! the peer's Mirth.
//!
//! One task an entry: it keeps the port, dials the peer as soon as the connection is Active, opens
//! the port while the far Mirth answers, and joins every local connection to a stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::absence::{self, Absence, TunnelEnd};
use super::admin::listener::AdminListener;
use super::context::Context;
use super::entries::LiveConnection;
use super::local_connections::{ControlledObserver, Cooldown, Ended, LocalConnections, StreamControl};
use super::local_users::LocalUsers;
use super::observe::StreamObserver;
use super::policy;
use super::session::{self, HealthCheck, PortHealth, TunnelSession};
use super::stats::{Full, count};
use super::tunnels::{self, Admitted, TunnelError};
use adit_core::domain::connection::Side;
use adit_core::domain::limits;
use adit_core::domain::secret::Secret;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::connection::Policy;
use adit_core::protocol::control::{PeerRefusal, Rule};
use adit_core::protocol::frame::Code;
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_net::identity::random;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::task::named;
use adit_net::transport::port::{self, GatedListener};
use adit_net::transport::splice::{self, Ending};
use adit_net::transport::tunnel::{DataStream, Tunnel};
use adit_observe::audit::AuditEntry;
use adit_observe::metrics;

/// How soon a port that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// How long an Active connection may wait for something before the operator hears what.
const WAIT_UNSAID_MAX: Duration = Duration::from_secs(10);
const WAITS_FOR_SECRET: &str =
    "the connection's secret is not here; it comes over the link to the gateway, so see that it is up";
const WAITS_FOR_WAY: &str = "the peer's agent does not answer; it must run, and both agents must reach the gateway by UDP, \
    which relays; where `path` allows only the direct one, name a port with `listen`, let it in at the firewall, \
    and behind NAT add `direct_addresses`";

/// Who connects to the port.
#[derive(Clone)]
pub(crate) enum Downstream {
    Mirth,
    Admin(Arc<AdminListener>),
}

impl Downstream {
    /// Returns the most local connections served at a time. People's have places of their own until they ask
    /// for something.
    const fn tasks_max(&self, streams_max: u32) -> usize {
        match self {
            Self::Mirth => streams_max as usize,
            // Those that lost their place end at once, and others may come before they have.
            Self::Admin(_) => streams_max as usize + 2 * limits::ADMIN_NEWCOMERS_MAX,
        }
    }
}

/// Who connects, and who of this host may.
pub(crate) struct Clients {
    pub downstream: Downstream,
    /// `None`: anybody.
    pub users: Option<LocalUsers>,
}

/// Runs until dropped.
pub(crate) async fn run(
    context: Arc<Context>,
    entry: Arc<LiveConnection>,
    listen: SocketAddr,
    mut clients: Clients,
) {
    let mut port = bind(&context, &entry, listen).await;
    if let Some(fault) = clients.users.as_ref().and_then(LocalUsers::fault) {
        context.note_fault(&entry, &error_chain(fault));
    }
    let mut backoff =
        Backoff::new(limits::TUNNEL_BACKOFF_MIN, limits::TUNNEL_BACKOFF_MAX, limits::TUNNEL_LASTED);
    let mut health = PortHealth::default();
    let mut path_state = context.routes.path_state(entry.config.peer);
    let mut peer_run = None;
    let mut absence = Absence::default();
    loop {
        let (rule, secret) = until_dialable(&context, &entry, &absence).await;
        if context.stopping.is_begun() {
            return std::future::pending().await;
        }
        let run = path_state.borrow_and_update().boot;
        if run != peer_run {
            // What failed was an earlier process of the peer.
            peer_run = run;
            tracing::debug!("the peer's agent is a new run, so what failed before counts no more");
            backoff.reset();
        }
        match tunnels::dial(&context, &entry, &rule, &secret).await {
            Ok(admitted) => {
                entry.log_up();
                let started = Instant::now();
                log_admitted(&admitted);
                let end = serve(&context, &entry, admitted, &mut clients, &mut port, &mut health).await;
                absence.begin(&context, &entry, &end, Instant::now());
                backoff.on_lost(started.elapsed());
            }
            Err(error) => {
                record_refusal(&context, &rule, &error).await;
                if error.is_absence() && absence.is_excused(Instant::now()) {
                    tracing::debug!(connection = %entry.config.name, "{}", error_chain(&error));
                } else {
                    context.note_fault(&entry, &error_chain(&error));
                }
            }
        }
        let pause = backoff.next_delay(random::draw());
        tracing::debug!(
            ?pause,
            "the peer is dialled again after this pause, or once its agent was restarted"
        );
        sleep(pause.min(limits::TUNNEL_BACKOFF_MIN)).await;
        let restarted = path_state.wait_for(|state| state.boot.is_some() && state.boot != peer_run);
        let _ = timeout(pause.saturating_sub(limits::TUNNEL_BACKOFF_MIN), restarted).await;
    }
}

/// Records the refusal: a peer that was found wanting here is in both audits, as on the target's side.
async fn record_refusal(context: &Context, rule: &Rule, error: &TunnelError) {
    let (connection, peer) = (Some(rule.connection), Some(rule.peer));
    match error {
        TunnelError::Refused(refusal) => context.refuse_peer(connection, peer, *refusal).await,
        TunnelError::ChangedKey { .. } => {
            context.refuse_peer(connection, peer, PeerRefusal::ChangedKey).await;
        }
        TunnelError::Transport(error) if error.refused_handshake().is_some() => {
            context.refuse_handshake(connection, peer, &error_chain(error)).await;
        }
        TunnelError::UnverifiedKey { .. } => {
            context.refuse_peer(connection, peer, PeerRefusal::UnverifiedKey).await;
        }
        TunnelError::Transport(_) | TunnelError::RefusedByPeer | TunnelError::PeerRestarted => {}
    }
}

fn log_admitted(admitted: &Admitted) {
    let Admitted { terms, peer_expires, .. } = admitted;
    tracing::debug!(peer_key = %terms.peer_key, cut_epoch = terms.cut_epoch, %peer_expires, "both ends have proven that they hold the secret");
}

async fn bind(context: &Context, entry: &LiveConnection, listen: SocketAddr) -> GatedListener {
    loop {
        match GatedListener::bind(listen) {
            Ok(port) => return port,
            Err(error) => context.note_fault(entry, &error_chain(&error)),
        }
        sleep(BIND_AGAIN).await;
    }
}

/// Waits until the rules, the secret and the path to the peer allow a dial.
async fn until_dialable(context: &Context, entry: &LiveConnection, absence: &Absence) -> (Rule, Secret) {
    let mut rules = context.watch_rules();
    let mut secrets = context.watch_secrets();
    let mut path_state = context.routes.path_state(entry.config.peer);
    let mut said = None;
    loop {
        let policy = policy::of(&entry.config, Side::Source, &rules.borrow_and_update());
        secrets.borrow_and_update();
        entry.stats.status().policy = policy.as_str();
        let path = path_state.borrow_and_update().path;
        let has_path = path.is_some();
        let waits_for = match policy.clone() {
            Policy::Active(rule) => match context.secret(&entry.config, &rule) {
                Some(secret) if has_path => {
                    let (path, epoch) = (path.map(tracing::field::display), rule.secret_epoch);
                    tracing::debug!(path, epoch, peer_route = %rule.peer_route, "the peer is dialled");
                    return (rule, secret);
                }
                Some(_) => Some(WAITS_FOR_WAY),
                None => Some(WAITS_FOR_SECRET),
            },
            Policy::Unknown
            | Policy::Unlisted
            | Policy::ConfigMismatch(_)
            | Policy::Unusable(_)
            | Policy::Ready(_)
            | Policy::Paused(_)
            | Policy::Terminated => None,
        };
        let why = waits_for.unwrap_or("the rules do not let it carry");
        if said.replace((policy.as_str(), why)) != Some((policy.as_str(), why)) {
            tracing::debug!(policy = policy.as_str(), has_path, why, "the peer is not dialled");
        }
        // The senders live as long as the agent.
        tokio::select! {
            () = sleep(WAIT_UNSAID_MAX), if waits_for.is_some() && !absence.is_excused(Instant::now()) => {
                context.note_fault(entry, waits_for.unwrap_or_default());
            }
            () = absence.lasts(), if absence.is_excused(Instant::now()) => {
                context.note_fault(entry, absence::STAYS_AWAY);
            }
            _ = rules.changed() => {}
            _ = secrets.changed() => {}
            _ = path_state.changed() => {}
        }
    }
}

/// Serves local connections while the tunnel lives; tells of its end.
async fn serve(
    context: &Arc<Context>,
    entry: &Arc<LiveConnection>,
    admitted: Admitted,
    clients: &mut Clients,
    port: &mut GatedListener,
    health: &mut PortHealth,
) -> TunnelEnd {
    let _up = context.stopping.tunnel_up();
    let mut session = TunnelSession::new(context, &admitted);
    let tunnel = Arc::clone(&admitted.tunnel);
    let mut peer_mirth = tunnel.peer_mirth();
    let mut rules = context.watch_rules();
    let mut health_checks = session::health_checks();
    let mut writes = JoinSet::new();
    let mut gate = Gate::new(clients.downstream.tasks_max(entry.config.streams_max));
    let mut running = std::pin::pin!(tunnel.run(admitted.opening));
    let mut stop = context.stopping.watch();
    let mut ending = tunnel.ending();
    // A stop may have begun while the peer was dialled.
    stop.mark_changed();
    let mut has_said_goodbye = false;
    let why = loop {
        tokio::select! {
            error = &mut running => {
                has_said_goodbye = absence::is_goodbye(&error);
                break error_chain(&error);
            }
            accepted = port.accept() => {
                match accepted {
                    // Dropped, it is reset.
                    Ok(_) if !session.may_start(context, entry) => {
                        tracing::debug!("a local connection is reset: the rules have changed since the port opened");
                        metrics::refused_stream(entry.config.name.as_str(), "not active");
                    }
                    Ok(tcp) => {
                        if is_let_in(context, entry, clients, &tcp, &mut writes) {
                            start(context, entry, &clients.downstream, tcp, &tunnel, &mut gate.connections);
                            gate.steer(context, entry, port);
                        }
                        continue;
                    }
                    Err(error) => gate.note_starved(context, entry, port, &error),
                }
            }
            Some(ended) = gate.connections.next_ended() => {
                gate.note_ended(entry, ended);
                if gate.ending_since.is_none() {
                    gate.steer(context, entry, port);
                    continue;
                }
            }
            Some(_) = writes.join_next() => continue,
            _ = health_checks.tick() => {}
            _ = rules.changed() => {}
            _ = peer_mirth.changed() => {}
            _ = stop.changed() => {}
            _ = ending.changed() => {}
        }
        let now = Instant::now();
        if context.stopping.is_begun() {
            tunnel.send_stopping();
        }
        let ends = *ending.borrow_and_update();
        let silent_for = match session.supervise(context, entry, &rules.borrow_and_update()) {
            HealthCheck::Alive { silent_for } => silent_for,
            HealthCheck::Over(code, why) => {
                session.connection().close(code);
                break why.into();
            }
        };
        let policy = policy::of(&entry.config, Side::Source, &rules.borrow());
        // What the peer said is not known any more while it is silent.
        let mirth = (*peer_mirth.borrow_and_update()).filter(|_| silent_for < limits::TUNNEL_SILENCE);
        let is_healthy = policy.is_active() && mirth == Some(true);
        gate.judge(health.judge(is_healthy && !ends, now), || {
            let silent_ms = u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(
                policy = policy.as_str(),
                peer_mirth = mirth,
                silent_ms,
                ends,
                "whether the port may be open has changed"
            );
        });
        gate.make_room(entry, now);
        gate.steer(context, entry, port);
        session.record(context, entry, silent_for);
        let mut status = entry.stats.status();
        status.policy = policy.as_str();
        status.note_stopping(ends, context.clock.now());
        status.mirth.set(mirth, context.clock.now());
        status.judge(false);
        drop(status);
        if ends && gate.has_ended(context, entry, now) {
            session.connection().close(Code::Goodbye);
            break "one of the agents stops".into();
        }
    };
    let is_announced = has_said_goodbye || (*ending.borrow() && !context.stopping.is_begun());
    health.judge(false, Instant::now());
    gate.may_open = false;
    gate.steer(context, entry, port);
    // What still runs sees the tunnel lost and resets its socket.
    while gate.connections.next_ended().await.is_some() {}
    while writes.join_next().await.is_some() {}
    let mut status = entry.stats.status();
    status.lose_tunnel();
    status.mirth.set(None, context.clock.now());
    TunnelEnd { why, is_announced }
}

/// When the port of a tunnel that lives is open, and what it carries.
struct Gate {
    connections: LocalConnections,
    was_full: bool,
    /// As far as the tunnel and the far Mirth are concerned.
    may_open: bool,
    /// This host ran out of something.
    starved: Cooldown,
    /// Since when nothing may begin any more, because one of the agents stops.
    ending_since: Option<Instant>,
    /// The peer carries as many as its own file allows.
    peer_full: Cooldown,
    said: RepeatLimiter<Said>,
}

/// What is said at once and then summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Limit,
    PeerFull,
    Lack,
    /// Silent connections were reset at the limit.
    Silence,
}

const SAID_KINDS: usize = 4;

impl Gate {
    fn new(streams_max: usize) -> Self {
        Self {
            connections: LocalConnections::new(streams_max),
            was_full: false,
            may_open: false,
            starved: Cooldown::default(),
            ending_since: None,
            peer_full: Cooldown::default(),
            said: RepeatLimiter::every(limits::LIMIT_SAID_EVERY, SAID_KINDS),
        }
    }

    /// Takes whether the port may be open as far as the tunnel and the far Mirth are concerned; `say` tells why
    /// where that is new.
    fn judge(&mut self, may_open: bool, say: impl FnOnce()) {
        if may_open != self.may_open {
            say();
        }
        self.may_open = may_open;
    }

    /// Opens the port or closes it; closed, it refuses, and resets those that were not accepted. At a limit
    /// it opens again with the first that ends: what is full is not ill.
    fn steer(&mut self, context: &Context, entry: &LiveConnection, port: &mut GatedListener) {
        let now = Instant::now();
        let full = if self.connections.is_full() {
            Some(Full::Here)
        } else {
            (!self.peer_full.is_over(now)).then_some(Full::AtPeer)
        };
        let said = full.filter(|_| self.may_open);
        let mut status = entry.stats.status();
        let before = std::mem::replace(&mut status.full, said);
        drop(status);
        if said.is_some() && before.is_none() {
            entry.stats.limit_reached.fetch_add(1, Ordering::Relaxed);
        }
        if self.connections.is_full() && !self.was_full {
            self.note(Said::Limit, now).inspect(|times| log_limit(entry, *times));
        }
        self.was_full = self.connections.is_full();
        let open = self.may_open && full.is_none() && self.starved.is_over(now);
        steer_port(context, entry, port, open, said.or(before).is_some());
    }

    /// Lets no connection begin anything any more. Returns whether nothing is waited for, or for too long.
    fn has_ended(&mut self, context: &Context, entry: &LiveConnection, now: Instant) -> bool {
        if self.ending_since.is_none() && !context.stopping.is_begun() {
            let (connection, waiting) = (&entry.config.name, entry.stats.waiting());
            tracing::info!(
                %connection, waiting,
                "the peer's agent is stopping, so the port is closed; what somebody waits for may end"
            );
        }
        let since = *self.ending_since.get_or_insert(now);
        self.connections.put_to_rest(now);
        let is_over = context.stopping.is_over(entry.config.service, now);
        if is_over {
            tracing::debug!(
                waiting = entry.stats.waiting(),
                "the time to end in order is over; what is left is reset"
            );
            context.stopping.note_reset(entry.stats.waiting());
        }
        // What ended just now may be on its way to the peer.
        let is_through = now.saturating_duration_since(since) >= limits::STOP_REST_AFTER;
        is_over || (is_through && self.connections.is_empty())
    }

    fn note_ended(&mut self, entry: &LiveConnection, ended: Ended) {
        if ended == Some(Ending::FullThere) && !self.connections.is_empty() {
            let now = Instant::now();
            tracing::debug!(closed_for = ?limits::PEER_FULL_PORT_CLOSED, "the peer's agent carries no more, so the port closes");
            self.peer_full.begin(now, limits::PEER_FULL_PORT_CLOSED);
            self.note(Said::PeerFull, now).inspect(|times| {
                tracing::warn!(
                    connection = %entry.config.name,
                    times,
                    "the peer's agent carries as many TCP connections as its own `streams_max` allows, so the port was closed until one ended; have it raised there, or lower it here"
                );
            });
        } else {
            // With one that ended here, one has ended there.
            self.peer_full.end();
        }
    }

    /// Closes the port at once: those that wait to be accepted are reset instead of delivered when they gave
    /// up.
    fn note_starved(
        &mut self,
        context: &Context,
        entry: &LiveConnection,
        port: &mut GatedListener,
        error: &std::io::Error,
    ) {
        let (now, address) = (Instant::now(), port.address());
        let what = format!(
            "cannot accept on TCP {address}, so it refuses for {} s: {error}; give this process more of what ran out, such as open files (`LimitNOFILE`)",
            limits::STARVED_PORT_CLOSED.as_secs()
        );
        entry.stats.note_fault(context.clock.now(), &what);
        self.note(Said::Lack, now).inspect(|times| {
            tracing::warn!(connection = %entry.config.name, times, "{what}");
        });
        self.starved.begin(now, limits::STARVED_PORT_CLOSED);
        self.steer(context, entry, port);
    }

    /// Makes room: at the limit those that never said anything go; says what was reached since it was said
    /// last.
    fn make_room(&mut self, entry: &LiveConnection, now: Instant) {
        if self.connections.is_full() {
            let sent = self.connections.send_silent_away(now);
            if sent > 0 {
                tracing::debug!(sent, "the oldest on which nothing ever passed make room");
                entry.stats.silent_reset.fetch_add(sent as u64, Ordering::Relaxed);
                self.note(Said::Silence, now).inspect(|_| {
                    tracing::warn!(
                        connection = %entry.config.name,
                        reset = count(&entry.stats.silent_reset),
                        "all of `streams_max` were taken, so TCP connections on which no byte had passed for {} s were reset; see which local program opens them, and name in `allow_users` who may connect",
                        limits::SILENT_GRACE.as_secs()
                    );
                });
            }
        }
        self.said.due_of(&Said::Limit, now).inspect(|times| log_limit(entry, *times));
    }

    /// Counts one; if it is to be said now: how many it stands for.
    fn note(&mut self, said: Said, now: Instant) -> Option<u64> {
        self.said.handle(said, now).map(|left_out| left_out + 1)
    }
}

fn log_limit(entry: &LiveConnection, times: u64) {
    let (connection, streams_max) = (&entry.config.name, entry.config.streams_max);
    tracing::warn!(
        %connection,
        streams_max,
        times,
        "as many TCP connections are open as may be, so the port was closed until one ended; raise `streams_max`, or let the local Mirth open fewer"
    );
}

fn start(
    context: &Arc<Context>,
    entry: &Arc<LiveConnection>,
    downstream: &Downstream,
    tcp: TcpStream,
    tunnel: &Arc<Tunnel>,
    connections: &mut LocalConnections,
) {
    let (entry, tunnel) = (Arc::clone(entry), Arc::clone(tunnel));
    match downstream {
        Downstream::Mirth => {
            let control = StreamControl::new(Instant::now());
            let carrying = carry(entry, Arc::clone(&context.clock), tcp, tunnel, Arc::clone(&control));
            let span = tracing::debug_span!("stream", number = Empty);
            connections.start(Some(control), named("stream", carrying).instrument(span));
        }
        Downstream::Admin(listener) => {
            let span = tracing::debug_span!("client", address = Empty, stream = Empty);
            let serving = Arc::clone(listener).carry(Arc::clone(context), entry, tcp, tunnel);
            let serving = async move {
                serving.await;
                None
            };
            connections.start(None, named("admin client", serving).instrument(span));
        }
    }
}

/// Returns whether a connection is one of a user who may connect. Dropped otherwise, it is reset. What is
/// written of it is not waited for: the loop that asks carries the tunnel's credit.
fn is_let_in(
    context: &Arc<Context>,
    entry: &LiveConnection,
    clients: &mut Clients,
    tcp: &TcpStream,
    writes: &mut JoinSet<()>,
) -> bool {
    let Some(users) = &mut clients.users else { return true };
    let Err(refused) = users.check(tcp, Instant::now()) else { return true };
    tracing::debug!(
        user = refused.id(),
        "a local connection of a user that `allow_users` does not name is reset"
    );
    entry.stats.strangers.fetch_add(1, Ordering::Relaxed);
    metrics::refused_user(entry.config.name.as_str());
    if let Some(left_out) = refused.left_out {
        // Where the kernel names no user, that is what is to be mended.
        let what = users.fault().map_or_else(|| refused.what(), |fault| error_chain(fault));
        context.note_fault(entry, &what);
        let (at, connection) = (context.clock.now(), entry.config.id);
        let written = AuditEntry::local_user_refused(at, connection, refused.id(), left_out);
        let context = Arc::clone(context);
        let writing = async move {
            // It was refused all the same; that it could not be written is an alarm of its own.
            let _ = context.audit_admin(written).await;
        };
        writes.spawn(named("audit of a refused user", writing).in_current_span());
    }
    false
}

/// Opens the port or closes it; `of_limit`: it opens or closes because of one, which is said elsewhere and
/// may be often.
fn steer_port(
    context: &Context,
    entry: &LiveConnection,
    port: &mut GatedListener,
    open: bool,
    of_limit: bool,
) {
    if open == port.is_open() {
        return;
    }
    let steered = if open { port.open() } else { port.close() };
    match steered {
        Ok(()) if of_limit => {}
        Ok(()) => log_port(entry, port.address(), open),
        Err(error) => {
            context.note_fault(entry, &format!("cannot open or close TCP {}: {error}", port.address()));
        }
    }
    entry.stats.status().port_open = port.is_open();
}

fn log_port(entry: &LiveConnection, address: SocketAddr, open: bool) {
    if let Some(more) = entry.repeats.note(if open { "port open" } else { "port closed" }, Instant::now()) {
        tracing::info!(connection = %entry.config.name, %address, open, more = shown(more), "port");
    }
}

async fn carry(
    entry: Arc<LiveConnection>,
    clock: Arc<LearntClock>,
    tcp: TcpStream,
    tunnel: Arc<Tunnel>,
    control: Arc<StreamControl>,
) -> Ended {
    // Dropped unused, the socket is reset.
    let Some(stream) = open_for(&tcp, &tunnel).await else {
        tracing::debug!("no stream could be opened for a local connection, or it is gone; it is reset");
        metrics::refused_stream(entry.config.name.as_str(), "no stream");
        return None;
    };
    Span::current().record("number", stream.number());
    let observer = ControlledObserver {
        control: Arc::clone(&control),
        observer: StreamObserver::new(Arc::clone(&entry), clock),
    };
    let (counts, stall_limit) = (&entry.stats.bytes, entry.config.stall_limit);
    let mut spliced = std::pin::pin!(splice::source(tcp, stream, observer, counts, stall_limit));
    let ending = loop {
        tokio::select! {
            biased;
            // Dropped, both its ends are reset.
            () = control.changed() => if control.must_go() {
                tracing::debug!("nothing ever passed here and others need the place, so it is reset");
                break Ending::CutHere;
            },
            ending = &mut spliced => break ending,
        }
    };
    entry.stats.count_stream(!matches!(ending, Ending::Finished | Ending::PutToRest));
    Some(ending)
}

/// Opens a stream for `tcp`. The peer lets us open more than are carried, so none is waited for; if one is,
/// what its sender closed meanwhile is not delivered.
async fn open_for(tcp: &TcpStream, tunnel: &Arc<Tunnel>) -> Option<DataStream> {
    let mut opening = std::pin::pin!(tunnel.open_stream());
    tokio::select! {
        biased;
        opened = &mut opening => return opened.ok(),
        () = tokio::task::yield_now() => {}
    }
    let opened = timeout(limits::PLACE_WAIT_MAX, opening).await.ok()?.ok()?;
    port::is_still_connected(tcp).then_some(opened)
}
