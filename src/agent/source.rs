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
use super::context::Context;
use super::entries::LiveEntry;
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
use crate::transport::port::TruthPort;
use crate::transport::splice::{self, Ending};
use crate::transport::tunnel::Tunnel;

/// How soon a port that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// How soon after a local failure to accept the next attempt follows.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
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
    let mut streams = JoinSet::new();
    let tasks_max = clients.near.tasks_max(entry.config.streams_max);
    let mut running = std::pin::pin!(tunnel.run(admitted.opening));
    let why = loop {
        tokio::select! {
            error = &mut running => break chain(&error),
            accepted = port.accept(), if streams.len() < tasks_max => match accepted {
                // Dropped, it is reset.
                Ok(_) if !held.may_start(context, entry) => {}
                Ok(tcp) => {
                    if !is_let_in(context, entry, clients, &tcp, &mut streams) {
                        continue;
                    }
                    let (entry, tunnel) = (Arc::clone(entry), Arc::clone(&tunnel));
                    match &clients.near {
                        Near::Mirth => streams.spawn(carry(entry, Arc::clone(&context.clock), tcp, tunnel)),
                        Near::People(door) => {
                            streams.spawn(Arc::clone(door).carry(Arc::clone(context), entry, tcp, tunnel))
                        }
                    };
                    continue;
                }
                Err(error) => {
                    context.note_fault(entry, &format!("cannot accept on {}: {error}", port.address()));
                    sleep(ACCEPT_AGAIN).await;
                }
            },
            _ = streams.join_next(), if !streams.is_empty() => continue,
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
        steer_port(context, entry, port, health.judge(is_healthy, now));
        held.record(entry);
        let mut changing = entry.facts.changing();
        changing.status = standing.word();
        changing.mirth.set(mirth, context.clock.now());
        let works = is_healthy && changing.port_open;
        changing.note_works(works);
    };
    steer_port(context, entry, port, health.judge(false, Instant::now()));
    // What still runs sees the tunnel lost and resets its socket.
    while streams.join_next().await.is_some() {}
    let mut changing = entry.facts.changing();
    changing.lose_tunnel();
    changing.mirth.set(None, context.clock.now());
    why
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

fn steer_port(context: &Context, entry: &LiveEntry, port: &mut TruthPort, open: bool) {
    if open == port.is_open() {
        return;
    }
    let steered = if open { port.open() } else { port.close() };
    match steered {
        Ok(()) => tracing::info!(connection = %entry.config.name, address = %port.address(), open, "port"),
        Err(error) => {
            context.note_fault(entry, &format!("cannot open or close TCP {}: {error}", port.address()));
        }
    }
    entry.facts.changing().port_open = port.is_open();
}

async fn carry(entry: Arc<LiveEntry>, clock: Arc<LearntClock>, tcp: TcpStream, tunnel: Arc<Tunnel>) {
    // Dropped unused, the socket is reset.
    let Ok(stream) = tunnel.open_stream().await else { return };
    let observer = StreamObserver::new(Arc::clone(&entry), clock);
    let ending = splice::source(tcp, stream, observer, &entry.facts.bytes, entry.config.stall_limit).await;
    entry.facts.count_stream(ending != Ending::Finished);
}
