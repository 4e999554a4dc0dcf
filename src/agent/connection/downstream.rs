//! The source's end of a connection: the port that the local Mirth's sender connects to, or the people who
//! manage the peer's Mirth, and the connections that come in there.
//!
//! When the port is open the connection's machine decides; who may connect, and what the log hears of limits,
//! is decided here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::admin::listener::AdminListener;
use crate::audit_log::AuditLog;
use crate::entries::LiveConnection;
use crate::local_connections::{ControlledObserver, Ended, LocalConnections, StreamControl};
use crate::local_users::LocalUsers;
use crate::observe::StreamObserver;
use crate::stats::count;
use adit_core::domain::limits;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::task::named;
use adit_net::transport::port::{self, BindError, GatedListener};
use adit_net::transport::splice::{self, Ending};
use adit_net::transport::tunnel::{DataStream, Tunnel};
use adit_observe::audit::AuditEntry;
use adit_observe::metrics;

/// How soon a port that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Who connects to the port.
#[derive(Clone)]
pub(crate) enum Clients {
    Mirth,
    Admin(Arc<AdminListener>),
}

impl Clients {
    /// Returns the most local connections served at a time. People's have places of their own until they ask
    /// for something.
    #[must_use]
    pub(crate) const fn connections_max(&self, streams_max: u32) -> usize {
        match self {
            Self::Mirth => streams_max as usize,
            // Those that lost their place end at once, and others may come before they have.
            Self::Admin(_) => streams_max as usize + 2 * limits::ADMIN_NEWCOMERS_MAX,
        }
    }
}

/// The port of a source, and what came in there.
pub(crate) struct Downstream {
    clock: Arc<LearntClock>,
    audit: Arc<AuditLog>,
    entry: Arc<LiveConnection>,
    clients: Clients,
    /// Who of this host may connect; `None`: anybody.
    users: Option<LocalUsers>,
    port: Port,
    connections: LocalConnections,
    /// Lines of the audit. What is written is not waited for: who waits here carries the tunnel's credit.
    writes: JoinSet<()>,
    said: RepeatLimiter<Said>,
}

enum Port {
    /// To be bound then.
    Unbound(SocketAddr, Instant),
    Bound(GatedListener),
}

/// What happened at the port.
pub(crate) enum DownstreamEvent {
    Bound,
    Unbound(BindError),
    Accepted(TcpStream),
    /// This host ran out of something.
    Starved(std::io::Error),
    Ended(Ended),
    Written,
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

impl Downstream {
    #[must_use]
    pub(crate) fn new(
        (clock, audit): (Arc<LearntClock>, Arc<AuditLog>),
        entry: Arc<LiveConnection>,
        listen: SocketAddr,
        (clients, users): (Clients, Option<LocalUsers>),
    ) -> Self {
        let connections = LocalConnections::new(clients.connections_max(entry.config.streams_max));
        Self {
            clock,
            audit,
            entry,
            clients,
            users,
            port: Port::Unbound(listen, Instant::now()),
            connections,
            writes: JoinSet::new(),
            said: RepeatLimiter::every(limits::LIMIT_SAID_EVERY, SAID_KINDS),
        }
    }

    /// Says what keeps the kernel from telling users apart, if something does.
    pub(crate) fn fault(&self) -> Option<String> {
        self.users.as_ref().and_then(LocalUsers::fault).map(|fault| error_chain(fault))
    }

    /// Waits for what happens next. Cancelled, nothing is lost: what was accepted or has ended is handed out at
    /// once.
    pub(crate) async fn next(&mut self) -> DownstreamEvent {
        let at_port = async {
            match &mut self.port {
                Port::Bound(port) => match port.accept().await {
                    Ok(tcp) => DownstreamEvent::Accepted(tcp),
                    Err(error) => DownstreamEvent::Starved(error),
                },
                Port::Unbound(listen, again) => {
                    sleep_until((*again).into()).await;
                    match GatedListener::bind(*listen) {
                        Ok(bound) => {
                            self.port = Port::Bound(bound);
                            DownstreamEvent::Bound
                        }
                        Err(error) => {
                            *again = Instant::now() + BIND_AGAIN;
                            DownstreamEvent::Unbound(error)
                        }
                    }
                }
            }
        };
        tokio::select! {
            event = at_port => event,
            Some(ended) = self.connections.next_ended() => DownstreamEvent::Ended(ended),
            Some(_) = self.writes.join_next() => DownstreamEvent::Written,
        }
    }

    #[must_use]
    pub(crate) fn connections_max(&self) -> usize {
        self.clients.connections_max(self.entry.config.streams_max)
    }

    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Opens the port or closes it; closed, it refuses, and resets those that were not accepted. Returns
    /// whether it is open. `is_of_limit`: it opens or closes because of one, which is said elsewhere and may be
    /// often.
    pub(crate) fn steer(&mut self, opens: bool, is_of_limit: bool) -> bool {
        let Port::Bound(port) = &mut self.port else { return false };
        let steered = if opens { port.open() } else { port.close() };
        let (address, is_open) = (port.address(), port.is_open());
        match steered {
            Ok(()) if is_of_limit => {}
            Ok(()) => log_port(&self.entry, address, opens),
            Err(error) => {
                let what = format!("cannot open or close TCP {address}: {error}");
                self.entry.note_fault(&what);
            }
        }
        is_open
    }

    /// Starts to serve a connection of who may connect. Dropped otherwise, it is reset.
    pub(crate) fn serve(&mut self, tcp: TcpStream, tunnel: &Arc<Tunnel>) {
        if !self.is_let_in(&tcp) {
            return;
        }
        let (entry, tunnel) = (Arc::clone(&self.entry), Arc::clone(tunnel));
        match &self.clients {
            Clients::Mirth => {
                let control = StreamControl::new(Instant::now());
                let clock = Arc::clone(&self.clock);
                let carrying = carry(entry, clock, tcp, tunnel, Arc::clone(&control));
                let span = tracing::debug_span!("stream", number = Empty);
                self.connections.start(Some(control), named("stream", carrying).instrument(span));
            }
            Clients::Admin(listener) => {
                let span = tracing::debug_span!("client", address = Empty, stream = Empty);
                let serving = Arc::clone(listener).carry(entry, tcp, tunnel);
                let serving = async move {
                    serving.await;
                    None
                };
                self.connections.start(None, named("admin client", serving).instrument(span));
            }
        }
    }

    /// Returns whether a connection is one of a user who may connect.
    fn is_let_in(&mut self, tcp: &TcpStream) -> bool {
        let Some(users) = &mut self.users else { return true };
        let Err(refused) = users.check(tcp, Instant::now()) else { return true };
        tracing::debug!(
            user = refused.id(),
            "a local connection of a user that `allow_users` does not name is reset"
        );
        self.entry.stats.strangers.fetch_add(1, Ordering::Relaxed);
        metrics::refused_user(self.entry.config.name.as_str());
        if let Some(left_out) = refused.left_out {
            // Where the kernel names no user, that is what is to be mended.
            let what = users.fault().map_or_else(|| refused.what(), |fault| error_chain(fault));
            self.entry.note_fault(&what);
            let (at, connection) = (self.clock.now(), self.entry.config.id);
            let written = AuditEntry::local_user_refused(at, connection, refused.id(), left_out);
            let audit = Arc::clone(&self.audit);
            let writing = async move {
                // It was refused all the same; that it could not be written is an alarm of its own.
                let _ = audit.append(written).await;
            };
            self.writes.spawn(named("audit of a refused user", writing).in_current_span());
        }
        false
    }

    /// Lets no connection begin anything any more, and ends those at rest. Asked again while some are left.
    pub(crate) fn put_to_rest(&mut self, now: Instant) {
        self.connections.put_to_rest(now);
    }

    /// Waits until all have ended whose tunnel is lost: each resets its socket.
    pub(crate) async fn end_all(&mut self) {
        while self.connections.next_ended().await.is_some() {}
    }

    /// Makes room: at the limit those that never said anything go; says what was reached since it was said
    /// last.
    pub(crate) fn make_room(&mut self, now: Instant) {
        let sent = if self.connections.is_full() { self.connections.send_silent_away(now) } else { 0 };
        if sent > 0 {
            tracing::debug!(sent, "the oldest on which nothing ever passed make room");
            self.entry.stats.silent_reset.fetch_add(sent as u64, Ordering::Relaxed);
            self.note(Said::Silence, now).inspect(|_| {
                tracing::warn!(
                    connection = %self.entry.config.name,
                    reset = count(&self.entry.stats.silent_reset),
                    "all of `streams_max` were taken, so TCP connections on which no byte had passed for {} s were reset; see which local program opens them, and name in `allow_users` who may connect",
                    limits::SILENT_GRACE.as_secs()
                );
            });
        }
        self.said.due_of(&Said::Limit, now).inspect(|times| log_limit(&self.entry, *times));
    }

    pub(crate) fn log_limit_reached(&mut self, now: Instant) {
        self.note(Said::Limit, now).inspect(|times| log_limit(&self.entry, *times));
    }

    pub(crate) fn log_peer_full(&mut self, now: Instant) {
        tracing::debug!(closed_for = ?limits::PEER_FULL_PORT_CLOSED, "the peer's agent carries no more, so the port closes");
        self.note(Said::PeerFull, now).inspect(|times| {
            tracing::warn!(
                connection = %self.entry.config.name,
                times,
                "the peer's agent carries as many TCP connections as its own `streams_max` allows, so the port was closed until one ended; have it raised there, or lower it here"
            );
        });
    }

    /// Says that the port can accept nothing; returns the fault. Those that wait are reset at once instead of
    /// delivered when they gave up.
    pub(crate) fn log_starved(&mut self, error: &std::io::Error, now: Instant) -> String {
        let address = match &self.port {
            Port::Bound(port) => port.address(),
            Port::Unbound(listen, _) => *listen,
        };
        let what = format!(
            "cannot accept on TCP {address}, so it refuses for {} s: {error}; give this process more of what ran out, such as open files (`LimitNOFILE`)",
            limits::STARVED_PORT_CLOSED.as_secs()
        );
        self.note(Said::Lack, now).inspect(|times| {
            tracing::warn!(connection = %self.entry.config.name, times, "{what}");
        });
        what
    }

    /// Counts one; if it is to be said now: how many it stands for.
    fn note(&mut self, said: Said, now: Instant) -> Option<u64> {
        self.said.handle(said, now).map(|left_out| left_out + 1)
    }
}

/// Returns whether a connection ended because the peer had no place for it.
#[must_use]
pub(crate) fn is_full_there(ended: Ended) -> bool {
    ended == Some(Ending::FullThere)
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
    let Some(stream) = open_for(&tcp, &tunnel, entry.config.stall_limit).await else {
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

/// Opens a stream for `tcp`. The peer lets us open more than are carried, so none is waited for; if one is, or if
/// other connections fill the tunnel for a while, what its sender closed meanwhile is not delivered.
async fn open_for(tcp: &TcpStream, tunnel: &Arc<Tunnel>, stall_limit: Duration) -> Option<DataStream> {
    let mut opening = std::pin::pin!(tunnel.open_stream_within(limits::PLACE_WAIT_MAX));
    tokio::select! {
        biased;
        opened = &mut opening => return opened.ok(),
        () = tokio::task::yield_now() => {}
    }
    let opened = timeout(stall_limit, opening).await.ok()?.ok()?;
    port::is_still_connected(tcp).then_some(opened)
}
