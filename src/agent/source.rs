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

use super::admin::door::Door;
use super::carried::{Carried, Crossings, Ended, Heard, Pause, Sign};
use super::context::Context;
use super::entries::LiveEntry;
use super::facts::count;
use super::hold::{self, Held, Look, PortHealth};
use super::local_users::LocalUsers;
use super::observe::StreamObserver;
use super::standing::Standing;
use super::tunnels::{self, Admitted, TunnelError, chain};
use crate::domain::connection::Side;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::identity::chance;
use crate::identity::time::{LearntClock, TimeSource};
use crate::observe::audit::AuditEntry;
use crate::observe::metrics;
use crate::protocol::backoff::Backoff;
use crate::protocol::control::{PeerRefusal, Rule};
use crate::transport::port::{self, TruthPort};
use crate::transport::splice::{self, Ending};
use crate::transport::tunnel::{DataStream, Tunnel};

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
pub enum Near {
    Mirth,
    People(Arc<Door>),
}

impl Near {
    /// Local connections served at a time. People's have places of their own until they ask for something.
    const fn tasks_max(&self, streams_max: u32) -> usize {
        match self {
            Self::Mirth => streams_max as usize,
            // Those that lost their place end at once, and others may come before they have.
            Self::People(_) => streams_max as usize + 2 * limits::ADMIN_NEWCOMERS_MAX,
        }
    }
}

/// Who connects, and who of this host may.
pub struct Clients {
    pub near: Near,
    /// `None`: anybody.
    pub users: Option<LocalUsers>,
}

/// Runs until dropped.
pub async fn run(context: Arc<Context>, entry: Arc<LiveEntry>, listen: SocketAddr, mut clients: Clients) {
    let mut port = bind(&context, &entry, listen).await;
    if let Some(fault) = clients.users.as_ref().and_then(LocalUsers::fault) {
        context.note_fault(&entry, &chain(fault));
    }
    let mut backoff =
        Backoff::new(limits::TUNNEL_BACKOFF_MIN, limits::TUNNEL_BACKOFF_MAX, limits::TUNNEL_LASTED);
    let mut health = PortHealth::default();
    let mut way = context.routes.way(entry.config.peer);
    let mut peer_run = None;
    loop {
        let (rule, secret) = until_dialable(&context, &entry).await;
        let run = way.borrow_and_update().boot;
        if run != peer_run {
            // What failed was an earlier process of the peer.
            peer_run = run;
            backoff.reset();
        }
        match tunnels::dial(&context, &entry, &rule, &secret).await {
            Ok(admitted) => {
                tracing::info!(connection = %entry.config.name, "tunnel is up");
                let started = Instant::now();
                let why = serve(&context, &entry, admitted, &mut clients, &mut port, &mut health).await;
                context.note_fault(&entry, &format!("the tunnel ended: {why}"));
                backoff.on_lost(started.elapsed());
            }
            Err(error) => {
                record_refusal(&context, &rule, &error).await;
                context.note_fault(&entry, &chain(&error));
            }
        }
        let pause = backoff.next_delay(chance::draw());
        sleep(pause.min(limits::TUNNEL_BACKOFF_MIN)).await;
        let restarted = way.wait_for(|way| way.boot.is_some() && way.boot != peer_run);
        let _ = timeout(pause.saturating_sub(limits::TUNNEL_BACKOFF_MIN), restarted).await;
    }
}

/// A peer that was found wanting here is in both audits, as on the target's side.
async fn record_refusal(context: &Context, rule: &Rule, error: &TunnelError) {
    let (connection, peer) = (Some(rule.connection), Some(rule.peer));
    match error {
        TunnelError::Refused(refusal) => context.refuse_peer(connection, peer, *refusal).await,
        TunnelError::ChangedKey { .. } => {
            context.refuse_peer(connection, peer, PeerRefusal::ChangedKey).await;
        }
        TunnelError::Transport(error) if error.refused_handshake().is_some() => {
            context.refuse_handshake(connection, peer, &chain(error)).await;
        }
        TunnelError::UnverifiedKey { .. } => {
            context.refuse_peer(connection, peer, PeerRefusal::UnverifiedKey).await;
        }
        TunnelError::Transport(_) | TunnelError::RefusedByPeer | TunnelError::PeerRestarted => {}
    }
}

async fn bind(context: &Context, entry: &LiveEntry, listen: SocketAddr) -> TruthPort {
    loop {
        match TruthPort::bind(listen) {
            Ok(port) => return port,
            Err(error) => context.note_fault(entry, &chain(&error)),
        }
        sleep(BIND_AGAIN).await;
    }
}

/// Waits until the rules, the secret and the way to the peer allow a dial.
async fn until_dialable(context: &Context, entry: &LiveEntry) -> (Rule, Secret) {
    let mut rules = context.watch_rules();
    let mut secrets = context.watch_secrets();
    let mut way = context.routes.way(entry.config.peer);
    loop {
        let standing = Standing::of(&entry.config, Side::Source, &rules.borrow_and_update());
        secrets.borrow_and_update();
        entry.facts.changing().status = standing.word();
        let has_way = way.borrow_and_update().hop.is_some();
        let waits_for = match standing {
            Standing::Active(rule) => match context.secret(&entry.config, &rule) {
                Some(secret) if has_way => return (rule, secret),
                Some(_) => Some(WAITS_FOR_WAY),
                None => Some(WAITS_FOR_SECRET),
            },
            Standing::Unknown
            | Standing::Unlisted
            | Standing::Unfit(_)
            | Standing::Ready(_)
            | Standing::Paused(_)
            | Standing::Terminated => None,
        };
        // The senders live as long as the agent.
        tokio::select! {
            () = sleep(WAIT_UNSAID_MAX), if waits_for.is_some() => {
                context.note_fault(entry, waits_for.unwrap_or_default());
            }
            _ = rules.changed() => {}
            _ = secrets.changed() => {}
            _ = way.changed() => {}
        }
    }
}

/// Serves local connections while the tunnel lives; gives the reason of its end.
async fn serve(
    context: &Arc<Context>,
    entry: &Arc<LiveEntry>,
    admitted: Admitted,
    clients: &mut Clients,
    port: &mut TruthPort,
    health: &mut PortHealth,
) -> String {
    let mut held = Held::new(context, &admitted);
    let tunnel = Arc::clone(&admitted.tunnel);
    let mut peer_mirth = tunnel.peer_mirth();
    let mut rules = context.watch_rules();
    let mut looks = hold::looks();
    let mut writes = JoinSet::new();
    let mut gate = Gate::new(clients.near.tasks_max(entry.config.streams_max));
    let mut running = std::pin::pin!(tunnel.run(admitted.opening));
    let why = loop {
        tokio::select! {
            error = &mut running => break chain(&error),
            accepted = port.accept() => {
                match accepted {
                    // Dropped, it is reset.
                    Ok(_) if !held.may_start(context, entry) => {}
                    Ok(tcp) => {
                        if is_let_in(context, entry, clients, &tcp, &mut writes) {
                            start(context, entry, &clients.near, tcp, &tunnel, &mut gate.carried);
                            gate.steer(context, entry, port);
                        }
                        continue;
                    }
                    Err(error) => gate.note_starved(context, entry, port, &error),
                }
            }
            Some(ended) = gate.carried.next_ended() => {
                gate.note_ended(entry, ended);
                gate.steer(context, entry, port);
                continue;
            }
            Some(_) = writes.join_next() => continue,
            _ = looks.tick() => {}
            _ = rules.changed() => {}
            _ = peer_mirth.changed() => {}
        }
        let now = Instant::now();
        let silent_for = match held.look(context, entry, &rules.borrow_and_update()) {
            Look::Alive { silent_for } => silent_for,
            Look::Over(code, why) => {
                held.connection().close(code);
                break why.into();
            }
        };
        let standing = Standing::of(&entry.config, Side::Source, &rules.borrow());
        let mirth = *peer_mirth.borrow_and_update();
        let is_healthy = standing.is_active() && mirth == Some(true) && silent_for < limits::TUNNEL_SILENCE;
        gate.may_open = health.judge(is_healthy, now);
        gate.make_room(entry, now);
        gate.steer(context, entry, port);
        held.record(entry);
        let mut changing = entry.facts.changing();
        changing.status = standing.word();
        changing.mirth.set(mirth, context.clock.now());
        changing.judge(false);
    };
    health.judge(false, Instant::now());
    gate.may_open = false;
    gate.steer(context, entry, port);
    // What still runs sees the tunnel lost and resets its socket.
    while gate.carried.next_ended().await.is_some() {}
    while writes.join_next().await.is_some() {}
    let mut changing = entry.facts.changing();
    changing.lose_tunnel();
    changing.mirth.set(None, context.clock.now());
    why
}

/// When the port of a tunnel that lives is open, and what it carries.
struct Gate {
    carried: Carried,
    was_full: bool,
    /// As far as the tunnel and the far Mirth are concerned.
    may_open: bool,
    /// This host ran out of something.
    starved: Pause,
    /// The peer carries as many as its own file allows.
    peer_full: Pause,
    /// What is said at once and then summed up: the limit, the peer's, a lack, silence at the limit.
    limit_said: Crossings,
    peer_full_said: Crossings,
    lack_said: Crossings,
    silence_said: Crossings,
}

impl Gate {
    fn new(streams_max: usize) -> Self {
        Self {
            carried: Carried::new(streams_max),
            was_full: false,
            may_open: false,
            starved: Pause::default(),
            peer_full: Pause::default(),
            limit_said: Crossings::default(),
            peer_full_said: Crossings::default(),
            lack_said: Crossings::default(),
            silence_said: Crossings::default(),
        }
    }

    /// Opens the port or closes it; closed, it refuses, and resets whoever was not accepted. At a limit it
    /// opens again with the first that ends: what is full is not ill.
    fn steer(&mut self, context: &Context, entry: &LiveEntry, port: &mut TruthPort) {
        let now = Instant::now();
        let is_full = self.carried.is_full() || !self.peer_full.is_over(now);
        let at_limit = self.may_open && is_full;
        let mut changing = entry.facts.changing();
        let was_at_limit = std::mem::replace(&mut changing.at_limit, at_limit);
        changing.peer_full = at_limit && !self.carried.is_full();
        drop(changing);
        if at_limit && !was_at_limit {
            entry.facts.limit_reached.fetch_add(1, Ordering::Relaxed);
        }
        if self.carried.is_full() && !self.was_full {
            self.limit_said.note(now).inspect(|times| say_limit(entry, *times));
        }
        self.was_full = self.carried.is_full();
        let open = self.may_open && !is_full && self.starved.is_over(now);
        steer_port(context, entry, port, open, at_limit || was_at_limit);
    }

    fn note_ended(&mut self, entry: &LiveEntry, ended: Ended) {
        if ended == Some(Ending::FullThere) && !self.carried.is_empty() {
            let now = Instant::now();
            self.peer_full.begin(now, limits::PEER_FULL_PORT_CLOSED);
            self.peer_full_said.note(now).inspect(|times| {
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

    /// Closed at once: whoever waits to be accepted is reset instead of delivered when they gave up.
    fn note_starved(
        &mut self,
        context: &Context,
        entry: &LiveEntry,
        port: &mut TruthPort,
        error: &std::io::Error,
    ) {
        let (now, address) = (Instant::now(), port.address());
        let what = format!(
            "cannot accept on TCP {address}, so it refuses for {} s: {error}; give this process more of what ran out, such as open files (`LimitNOFILE`)",
            limits::STARVED_PORT_CLOSED.as_secs()
        );
        entry.facts.note_fault(context.clock.now(), &what);
        self.lack_said.note(now).inspect(|times| {
            tracing::warn!(connection = %entry.config.name, times, "{what}");
        });
        self.starved.begin(now, limits::STARVED_PORT_CLOSED);
        self.steer(context, entry, port);
    }

    /// At the limit those that never said anything go; says what was reached since it was said last.
    fn make_room(&mut self, entry: &LiveEntry, now: Instant) {
        if self.carried.is_full() {
            let sent = self.carried.send_silent_away(now);
            if sent > 0 {
                entry.facts.silent_reset.fetch_add(sent as u64, Ordering::Relaxed);
                self.silence_said.note(now).inspect(|_| {
                    tracing::warn!(
                        connection = %entry.config.name,
                        reset = count(&entry.facts.silent_reset),
                        "all of `streams_max` were taken, so TCP connections on which no byte had passed for {} s were reset; see which local program opens them, and name in `allow_users` who may connect",
                        limits::SILENT_GRACE.as_secs()
                    );
                });
            }
        }
        self.limit_said.due(now).inspect(|times| say_limit(entry, *times));
    }
}

fn say_limit(entry: &LiveEntry, times: u64) {
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
    entry: &Arc<LiveEntry>,
    near: &Near,
    tcp: TcpStream,
    tunnel: &Arc<Tunnel>,
    carried: &mut Carried,
) {
    let (entry, tunnel) = (Arc::clone(entry), Arc::clone(tunnel));
    match near {
        Near::Mirth => {
            let sign = Sign::new(Instant::now());
            let carrying = carry(entry, Arc::clone(&context.clock), tcp, tunnel, Arc::clone(&sign));
            carried.start(Some(sign), carrying);
        }
        Near::People(door) => {
            let serving = Arc::clone(door).carry(Arc::clone(context), entry, tcp, tunnel);
            carried.start(None, async move {
                serving.await;
                None
            });
        }
    }
}

/// Whether a connection is one of a user who may connect. Dropped otherwise, it is reset. What is written
/// of it is not waited for: the loop that asks carries the tunnel's credit.
fn is_let_in(
    context: &Arc<Context>,
    entry: &LiveEntry,
    clients: &mut Clients,
    tcp: &TcpStream,
    writes: &mut JoinSet<()>,
) -> bool {
    let Some(users) = &mut clients.users else { return true };
    let Err(stranger) = users.check(tcp, Instant::now()) else { return true };
    entry.facts.strangers.fetch_add(1, Ordering::Relaxed);
    metrics::stranger(entry.config.name.as_str());
    if let Some(left_out) = stranger.left_out {
        // Where the kernel tells nobody's user, that is what is to be mended.
        let what = users.fault().map_or_else(|| stranger.what(), |fault| chain(fault));
        context.note_fault(entry, &what);
        let (at, connection) = (context.clock.now(), entry.config.id);
        let written = AuditEntry::stranger_refused(at, connection, stranger.id(), left_out);
        let context = Arc::clone(context);
        writes.spawn(async move {
            // It was refused all the same; that it could not be written is an alarm of its own.
            let _ = context.audit_admin(written).await;
        });
    }
    false
}

/// `of_limit`: it opens or closes because of one, which is said elsewhere and may be often.
fn steer_port(context: &Context, entry: &LiveEntry, port: &mut TruthPort, open: bool, of_limit: bool) {
    if open == port.is_open() {
        return;
    }
    let steered = if open { port.open() } else { port.close() };
    match steered {
        Ok(()) if of_limit => {}
        Ok(()) => tracing::info!(connection = %entry.config.name, address = %port.address(), open, "port"),
        Err(error) => {
            context.note_fault(entry, &format!("cannot open or close TCP {}: {error}", port.address()));
        }
    }
    entry.facts.changing().port_open = port.is_open();
}

async fn carry(
    entry: Arc<LiveEntry>,
    clock: Arc<LearntClock>,
    tcp: TcpStream,
    tunnel: Arc<Tunnel>,
    sign: Arc<Sign>,
) -> Ended {
    // Dropped unused, the socket is reset.
    let stream = open_for(&tcp, &tunnel).await?;
    let observer =
        Heard { sign: Arc::clone(&sign), observer: StreamObserver::new(Arc::clone(&entry), clock) };
    let ending = tokio::select! {
        ending = splice::source(tcp, stream, observer, &entry.facts.bytes, entry.config.stall_limit) => ending,
        // Dropped, both its ends are reset.
        () = sign.must_go() => Ending::CutHere,
    };
    entry.facts.count_stream(ending != Ending::Finished);
    Some(ending)
}

/// A stream for `tcp`. The peer lets us open more than are carried, so none is waited for; if one is, what
/// its sender closed meanwhile is not delivered.
async fn open_for(tcp: &TcpStream, tunnel: &Arc<Tunnel>) -> Option<DataStream> {
    let mut opening = std::pin::pin!(tunnel.open_stream());
    tokio::select! {
        biased;
        opened = &mut opening => return opened.ok(),
        () = tokio::task::yield_now() => {}
    }
    let opened = timeout(limits::PLACE_WAIT_MAX, opening).await.ok()?.ok()?;
    port::is_held(tcp).then_some(opened)
}
