//! The target's end of a connection: streams become connections to the local Mirth.
//!
//! One task an entry: it takes the tunnel that the peer opened (a newer one replaces an older), hands
//! every stream to the local end, and tells the peer whether the local Mirth answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::absence::{self, Absence, TunnelEnd};
use super::context::Context;
use super::entries::LiveConnection;
use super::mirth_activity::{ActivityMark, MirthActivity};
use super::observe::StreamObserver;
use super::policy;
use super::session::{self, HealthCheck, Terms, TunnelSession};
use super::tunnels::Admitted;
use adit_core::config::HostPort;
use adit_core::domain::connection::Side;
use adit_core::domain::limits;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::frame::Code;
use adit_net::identity::time::TimeSource;
use adit_net::task::named;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::port::is_exhausted;
use adit_net::transport::resolve::dial;
use adit_net::transport::splice::{self, Ending, Observer};
use adit_net::transport::tunnel::{DataStream, Tunnel};
use adit_observe::metrics;

const DOWN: &str = "start its listener, or correct `forward_to`";
const LACK: &str = "this agent cannot dial it; give the process more of what ran out, such as open files \
    (`LimitNOFILE`)";
/// How soon a Mirth that does not answer is tried again.
const PROBE_DOWN_EVERY: Duration = Duration::from_secs(1);

/// What the streams of a tunnel lead to.
pub(crate) trait LocalEnd: Send + Sync + 'static {
    /// Returns whether the local Mirth answers, as far as it is known.
    fn answers(&self) -> watch::Receiver<Option<bool>>;

    /// Keeps that known; runs until dropped.
    fn watch(&self, context: &Arc<Context>, entry: &Arc<LiveConnection>) -> impl Future<Output = ()> + Send;

    /// Serves one stream, whose header was read.
    fn carry(
        self: Arc<Self>,
        context: Arc<Context>,
        entry: Arc<LiveConnection>,
        stream: DataStream,
        connection: Connection,
    ) -> impl Future<Output = ()> + Send;
}

/// Runs until dropped.
pub(crate) async fn run(
    context: Arc<Context>,
    entry: Arc<LiveConnection>,
    local: Arc<impl LocalEnd>,
    mut incoming: mpsc::Receiver<Admitted>,
) {
    let mut watching = std::pin::pin!(local.watch(&context, &entry));
    let mut rules = context.watch_rules();
    // The rules kept on disk count from the start.
    rules.mark_changed();
    let mut next = None;
    let mut absence = Absence::default();
    loop {
        let admitted = if let Some(admitted) = next.take() {
            admitted
        } else {
            tokio::select! {
                () = &mut watching => return,
                _ = rules.changed() => {
                    let policy = policy::of(&entry.config, Side::Target, &rules.borrow_and_update());
                    let before = std::mem::replace(&mut entry.stats.status().policy, policy.as_str());
                    if before != policy.as_str() {
                        tracing::debug!(policy = policy.as_str(), "what the rules let it do; the peer dials");
                    }
                    continue;
                }
                () = absence.lasts() => {
                    absence.end();
                    if policy::of(&entry.config, Side::Target, &context.rules()).is_active() {
                        context.note_fault(&entry, absence::STAYS_AWAY);
                    }
                    continue;
                }
                Some(admitted) = incoming.recv() => admitted,
            }
        };
        let Terms { peer_key, cut_epoch } = admitted.terms;
        tracing::debug!(%peer_key, cut_epoch, peer_expires = %admitted.peer_expires, "the peer has opened a tunnel");
        absence.end();
        entry.log_up();
        let end = tokio::select! {
            () = &mut watching => return,
            (end, newer) = serve(&context, &entry, &local, admitted, &mut incoming) => {
                next = newer;
                end
            }
        };
        absence.begin(&context, &entry, &end, Instant::now());
    }
}

/// Serves the peer's streams while the tunnel lives; tells of its end and gives the tunnel that
/// replaces it, if one does.
async fn serve(
    context: &Arc<Context>,
    entry: &Arc<LiveConnection>,
    local: &Arc<impl LocalEnd>,
    admitted: Admitted,
    incoming: &mut mpsc::Receiver<Admitted>,
) -> (TunnelEnd, Option<Admitted>) {
    let _up = context.stopping.tunnel_up();
    let mut session = TunnelSession::new(context, &admitted);
    let tunnel = Arc::clone(&admitted.tunnel);
    let mut rules = context.watch_rules();
    let mut answers = local.answers();
    answers.mark_changed();
    let mut health_checks = session::health_checks();
    let mut streams = JoinSet::new();
    let places = Arc::new(Semaphore::new(entry.config.streams_max as usize));
    let mut newer = None;
    let mut running = std::pin::pin!(tunnel.run(admitted.opening));
    let mut stop = context.stopping.watch();
    let mut ending = tunnel.ending();
    // A stop may have begun before this tunnel came.
    stop.mark_changed();
    let mut has_said_goodbye = false;
    let why = loop {
        tokio::select! {
            error = &mut running => {
                has_said_goodbye = absence::is_goodbye(&error);
                break error_chain(&error);
            }
            Some(admitted) = incoming.recv() => {
                newer = Some(admitted);
                session.connection().close(Code::Ended);
                break "the peer opened a new one".into();
            }
            // The connection's end, which this reports too, is named by the first branch.
            Ok(stream) = tunnel.accept_stream() => {
                if session.may_start(context, entry) {
                    let (local, context, entry) = (Arc::clone(local), Arc::clone(context), Arc::clone(entry));
                    let (connection, places) = (session.connection().clone(), Arc::clone(&places));
                    let span = tracing::debug_span!("stream", number = stream.number());
                    let carrying = carry(local, context, entry, stream, connection, places);
                    streams.spawn(named("stream", carrying).instrument(span));
                } else {
                    metrics::refused_stream(entry.config.name.as_str(), "not active");
                    stream.refuse(Code::Paused);
                }
                continue;
            }
            _ = streams.join_next(), if !streams.is_empty() => continue,
            _ = answers.changed() => {
                if let Some(answers) = *answers.borrow_and_update() {
                    tunnel.send_mirth_state(answers);
                }
            }
            _ = health_checks.tick() => {}
            _ = rules.changed() => {}
            _ = stop.changed() => {}
            _ = ending.changed() => {}
        }
        let silent_for = match session.supervise(context, entry, &rules.borrow_and_update()) {
            HealthCheck::Alive { silent_for } => silent_for,
            HealthCheck::Over(code, why) => {
                session.connection().close(code);
                break why.into();
            }
        };
        session.record(context, entry, silent_for);
        let policy = policy::of(&entry.config, Side::Target, &rules.borrow());
        let mut status = entry.stats.status();
        status.policy = policy.as_str();
        status.note_stopping(*ending.borrow_and_update(), context.clock.now());
        status.judge(true);
        drop(status);
        if context.stopping.is_begun() && has_ended(context, entry, &tunnel) {
            session.connection().close(Code::Goodbye);
            break "this agent stops".into();
        }
    };
    let is_announced = has_said_goodbye || (*ending.borrow() && !context.stopping.is_begun());
    // What still runs sees the tunnel lost and resets its socket.
    while streams.join_next().await.is_some() {}
    let mut status = entry.stats.status();
    status.lose_tunnel();
    (TunnelEnd { why, is_announced }, newer)
}

/// Returns whether the tunnel is to end. The source knows what is under way and closes the tunnel once
/// nothing is: it is told, and waited for in reason.
fn has_ended(context: &Context, entry: &LiveConnection, tunnel: &Tunnel) -> bool {
    tunnel.send_stopping();
    let now = Instant::now();
    let is_over = context.stopping.is_over(entry.config.service, now);
    if is_over {
        tracing::debug!(
            waiting = entry.stats.waiting(),
            "the time to end in order is over; what is left is reset"
        );
        context.stopping.note_reset(entry.stats.waiting());
    }
    is_over || (tunnel.streams_open() == 0 && context.stopping.is_told(now))
}

async fn carry(
    local: Arc<impl LocalEnd>,
    context: Arc<Context>,
    entry: Arc<LiveConnection>,
    mut stream: DataStream,
    connection: Connection,
    places: Arc<Semaphore>,
) {
    let Some(_place) = take_place(places, &stream).await else {
        entry.stats.limit_reached.fetch_add(1, Ordering::Relaxed);
        metrics::refused_stream(entry.config.name.as_str(), "full");
        let limit = entry.config.streams_max;
        let what = format!(
            "the peer's agent opens more TCP connections at a time than `streams_max` = {limit} here; raise it here, or lower it there"
        );
        context.note_fault(&entry, &what);
        return stream.refuse(Code::Full);
    };
    // The far side cut before it said anything.
    if !splice::read_header(&mut stream).await {
        tracing::debug!("the far side gave the stream up before it said anything");
        metrics::refused_stream(entry.config.name.as_str(), "no header");
        return stream.refuse(Code::Cut);
    }
    local.carry(context, entry, stream, connection).await;
}

/// Takes a place for a stream. The peer counts as well: streams of its that are too many have at most not yet
/// ended here, so one waits a little. What its sender cut meanwhile is given no place: nobody waits for its
/// delivery.
async fn take_place(places: Arc<Semaphore>, stream: &DataStream) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
        return Some(place);
    }
    let place = timeout(limits::PLACE_WAIT_MAX, places.acquire_owned()).await.ok()?.ok()?;
    (!stream.is_cut()).then_some(place)
}

/// The Mirth that receives channel data beside this agent, and whether it answers.
pub(crate) struct LocalMirth {
    address: HostPort,
    probe: bool,
    answers: watch::Sender<Option<bool>>,
    started: Instant,
    /// Milliseconds after `started` of the last dial that succeeded.
    last_good_dial: AtomicU64,
    /// The connections that are open.
    mirth_activity: Arc<MirthActivity>,
}

/// Watches a connection, and hears that Mirth lives.
struct ActivityObserver {
    observer: StreamObserver,
    mark: ActivityMark,
}

impl Observer for ActivityObserver {
    fn request(&mut self, bytes: &[u8]) {
        self.observer.request(bytes);
    }

    fn response(&mut self, bytes: &[u8]) {
        self.mark.note_heard(Instant::now());
        self.observer.response(bytes);
    }
}

impl LocalEnd for LocalMirth {
    fn answers(&self) -> watch::Receiver<Option<bool>> {
        self.answers.subscribe()
    }

    async fn watch(&self, context: &Arc<Context>, entry: &Arc<LiveConnection>) {
        self.keep_probed(context, entry).await;
    }

    async fn carry(
        self: Arc<Self>,
        context: Arc<Context>,
        entry: Arc<LiveConnection>,
        stream: DataStream,
        connection: Connection,
    ) {
        let dialled = tokio::select! {
            dialled = self.dial() => dialled,
            // A Mirth that is slow to answer must not hold up the tunnel that follows.
            _ = connection.closed() => return,
        };
        let Some(tcp) = dialled else {
            metrics::refused_stream(entry.config.name.as_str(), "Mirth does not answer");
            return stream.refuse(Code::DialFailed);
        };
        let observer = StreamObserver::new(Arc::clone(&entry), Arc::clone(&context.clock));
        let observer = ActivityObserver { observer, mark: self.mirth_activity.open() };
        let stall_limit = entry.config.stall_limit;
        let ending = splice::target(tcp, stream, observer, &entry.stats.bytes, stall_limit).await;
        if ending == Ending::LocalLost {
            context.note_fault(
                &entry,
                &format!(
                    "the local Mirth at {} acknowledged nothing on an open connection for {} s, so it was reset; \
                     see that its host runs and can be reached",
                    self.address,
                    stall_limit.as_secs()
                ),
            );
        }
        entry.stats.count_stream(ending != Ending::Finished);
    }
}

impl LocalMirth {
    #[must_use]
    pub(crate) fn new(address: HostPort, probe: bool) -> Self {
        // Without probes only real dials could tell, and they need an open port first.
        let answers = watch::Sender::new(if probe { None } else { Some(true) });
        let started = Instant::now();
        let mirth_activity = MirthActivity::new(started);
        Self { address, probe, answers, started, last_good_dial: AtomicU64::new(0), mirth_activity }
    }

    /// Dials a connection for a stream. Its outcome is as good as a probe's.
    async fn dial(&self) -> Option<TcpStream> {
        let began = Instant::now();
        let dialled = timeout(limits::TARGET_DIAL_TIMEOUT, dial(&self.address)).await;
        let took = began.elapsed();
        match &dialled {
            Ok(Ok(_)) => tracing::debug!(address = %self.address, ?took, "the local Mirth took a connection"),
            Ok(Err(error)) => {
                tracing::debug!(address = %self.address, ?took, %error, "the local Mirth took no connection");
            }
            Err(_) => {
                tracing::debug!(address = %self.address, ?took, "the local Mirth did not answer in time");
            }
        }
        let stream = dialled.ok().and_then(Result::ok);
        self.note(stream.is_some(), began);
        stream
    }

    /// Takes a dial's outcome; returns whether Mirth answers by all that is known.
    fn note(&self, connected: bool, began: Instant) -> bool {
        if connected {
            let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last_good_dial.store(millis, Ordering::Relaxed);
        }
        let answered = connected || self.mirth_activity.outweighs(began, Instant::now());
        if answered || self.probe {
            let is_news = self.answers.send_if_modified(|known| known.replace(answered) != Some(answered));
            if is_news {
                tracing::debug!(address = %self.address, answered, connected, "whether the local Mirth answers has changed");
            }
        }
        answered
    }

    /// Returns how long ago Mirth last proved that it answers: by taking a connection, or by what it said on
    /// one.
    fn idle(&self) -> Duration {
        let last_good = Duration::from_millis(self.last_good_dial.load(Ordering::Relaxed));
        let dialled = self.started.elapsed().saturating_sub(last_good);
        self.mirth_activity.quiet_for(Instant::now()).map_or(dialled, |quiet| quiet.min(dialled))
    }

    /// Dials now and then when nobody else did, and records what is known.
    async fn keep_probed(&self, context: &Context, entry: &LiveConnection) {
        loop {
            let answers = *self.answers.borrow();
            entry.stats.status().mirth.set(answers, context.clock.now());
            if !self.probe {
                std::future::pending::<()>().await;
            }
            let idle = self.idle();
            if answers == Some(true) && idle < limits::MIRTH_PROBE_AFTER {
                self.wait(limits::MIRTH_PROBE_AFTER.saturating_sub(idle)).await;
                continue;
            }
            tracing::trace!(address = %self.address, ?idle, "the local Mirth is probed");
            let began = Instant::now();
            let probed = timeout(limits::TARGET_DIAL_TIMEOUT, dial(&self.address)).await;
            let failure = match probed {
                // Closed in order: a probe must not look like a cut transfer.
                Ok(Ok(stream)) => {
                    let _ = socket2::SockRef::from(&stream).set_linger(None);
                    None
                }
                Ok(Err(error)) if is_exhausted(&error) => Some((error.to_string(), LACK)),
                Ok(Err(error)) => Some((error.to_string(), DOWN)),
                Err(_) => Some(("no answer".into(), DOWN)),
            };
            let answered = self.note(failure.is_none(), began);
            if let Some((failure, remedy)) = failure.filter(|_| !answered) {
                let what =
                    format!("the local Mirth at {} does not answer ({failure}); {remedy}", self.address);
                context.note_fault(entry, &what);
                entry.stats.status().mirth.set(Some(false), context.clock.now());
                sleep(PROBE_DOWN_EVERY).await;
            }
        }
    }

    /// Waits, but no longer than until a dial changes what is known.
    async fn wait(&self, time: Duration) {
        let mut answers = self.answers.subscribe();
        let _ = timeout(time, answers.changed()).await;
    }
}
