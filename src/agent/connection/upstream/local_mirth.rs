//! The Mirth that receives channel data beside the target's agent, and whether it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::UpstreamState;
use crate::entries::LiveConnection;
use crate::mirth_activity::{ActivityMark, MirthActivity};
use crate::observe::StreamObserver;
use adit_core::config::HostPort;
use adit_core::domain::limits;
use adit_core::protocol::frame::Code;
use adit_net::identity::time::LearntClock;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::port::is_exhausted;
use adit_net::transport::resolve::dial;
use adit_net::transport::splice::{self, Ending, Observer};
use adit_net::transport::tunnel::DataStream;
use adit_observe::metrics;

const DOWN: &str = "start its listener, or correct `forward_to`";
const LACK: &str = "this agent cannot dial it; give the process more of what ran out, such as open files \
    (`LimitNOFILE`)";
/// How soon a Mirth that does not answer is tried again.
const PROBE_DOWN_EVERY: Duration = Duration::from_secs(1);

/// The Mirth that receives channel data beside this agent, and whether it answers.
pub(crate) struct LocalMirth {
    address: HostPort,
    probe: bool,
    clock: Arc<LearntClock>,
    state: watch::Sender<UpstreamState>,
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

impl LocalMirth {
    #[must_use]
    pub(crate) fn new(address: HostPort, probe: bool, clock: Arc<LearntClock>) -> Self {
        // Without probes only real dials could tell, and they need an open port first.
        let answers = (!probe).then_some(true);
        let state =
            watch::Sender::new(UpstreamState { answers, serves: answers, ..UpstreamState::default() });
        let started = Instant::now();
        let mirth_activity = MirthActivity::new(started);
        Self { address, probe, clock, state, started, last_good_dial: AtomicU64::new(0), mirth_activity }
    }

    #[must_use]
    pub(super) fn state(&self) -> watch::Receiver<UpstreamState> {
        self.state.subscribe()
    }

    /// Serves one stream, whose header was read.
    pub(super) async fn carry(
        self: Arc<Self>,
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
        let observer = StreamObserver::new(Arc::clone(&entry), Arc::clone(&self.clock));
        let observer = ActivityObserver { observer, mark: self.mirth_activity.open() };
        let stall_limit = entry.config.stall_limit;
        let ending = splice::target(tcp, stream, observer, &entry.stats.bytes, stall_limit).await;
        if ending == Ending::LocalLost {
            entry.note_fault(&format!(
                "the local Mirth at {} acknowledged nothing on an open connection for {} s, so it was reset; \
                     see that its host runs and can be reached",
                self.address,
                stall_limit.as_secs()
            ));
        }
        entry.stats.count_stream(ending != Ending::Finished);
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
            let is_news = self.state.send_if_modified(|state| {
                let is_news = state.answers != Some(answered);
                (state.answers, state.serves) = (Some(answered), Some(answered));
                is_news
            });
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
    pub(super) async fn keep_probed(&self, entry: &LiveConnection) {
        loop {
            let answers = self.state.borrow().answers;
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
                entry.note_fault(&what);
                sleep(PROBE_DOWN_EVERY).await;
            }
        }
    }

    /// Waits, but no longer than until a dial changes what is known.
    async fn wait(&self, time: Duration) {
        let mut state = self.state.subscribe();
        let _ = timeout(time, state.changed()).await;
    }
}
