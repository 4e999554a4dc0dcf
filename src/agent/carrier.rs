//! Keeps the carrier to the gateway while one is wanted: dials it, carries what it brings and takes, and dials
//! another where it ends or is dead. When it is wanted is decided by those who watch the paths.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::repeats::Repeats;
use super::stats::{Fault, TimedFlag};
use adit_core::config::HostPort;
use adit_core::domain::id::RelayId;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::repeat_limiter::shown;
use adit_net::identity::outer::{GatewayKey, OuterTls};
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use adit_net::transport::carrier::client::{CarrierError, Opened, dial};
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::carrier::pump::pump;
use adit_net::transport::carrier::queues::CarrierEnd;
use adit_net::transport::routes::Routes;
use adit_observe::metrics;

const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often a gateway that has no carriers is asked whether it was updated.
const REFUSED_RETRY: Duration = Duration::from_mins(1);

/// Those who send over the carrier.
pub trait CarrierUser: Send + Sync {
    /// Returns whether they want one, as it changes.
    fn wanted(&self) -> watch::Receiver<bool>;

    /// Waits until the one there is must be taken for dead.
    fn dead(&self) -> impl Future<Output = ()> + Send;

    /// Tells them that another one takes packets now, or none any more.
    fn set_carrier(&self, is_open: bool);
}

/// Whose packets the carrier takes: all that go by the relay at the gateway.
#[derive(Debug)]
pub(crate) struct RelayedRoutes {
    pub(crate) routes: Routes,
    pub(crate) relay: RelayId,
}

impl CarrierUser for RelayedRoutes {
    fn wanted(&self) -> watch::Receiver<bool> {
        self.routes.carrier_wanted()
    }

    async fn dead(&self) {
        self.routes.carrier_dead().await;
    }

    fn set_carrier(&self, is_open: bool) {
        self.routes.set_carrier(self.relay, is_open);
    }
}

#[derive(Debug)]
pub struct CarrierKeeper<U> {
    pub gateway: Vec<HostPort>,
    pub proxies: Arc<Proxies>,
    pub key: GatewayKey,
    pub end: CarrierEnd,
    pub user: U,
    /// Has one writer, which is the keeper.
    pub status: watch::Sender<CarrierStatus>,
    pub clock: Arc<dyn TimeSource>,
}

/// What is true of the carrier, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierStatus {
    pub is_wanted: bool,
    pub up: TimedFlag,
    /// Of the last that was up.
    pub proxy: Option<HostPort>,
    /// Whose certificate was shown in place of the gateway's, by the last that was up.
    pub foreign_issuer: Option<String>,
    pub last_error: Option<Fault>,
}

/// Returns `up since …`, with what is on the way, or why it is not.
impl std::fmt::Display for CarrierStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.up.on, self.up.since, &self.last_error) {
            (Some(true), Some(since), _) => write!(f, "up since {since}")?,
            (Some(true), None, _) => f.write_str("up")?,
            (_, _, Some(fault)) if self.is_wanted => write!(f, "down; {}: {}", fault.at, fault.what)?,
            _ if self.is_wanted => f.write_str("being dialled")?,
            _ => return f.write_str("not needed"),
        }
        if self.up.on == Some(true) {
            if let Some(proxy) = &self.proxy {
                write!(f, ", through the proxy {proxy}")?;
            }
            if let Some(issuer) = &self.foreign_issuer {
                write!(f, ", over TLS that somebody breaks open with a certificate of {issuer}")?;
            }
        }
        Ok(())
    }
}

/// Why no carrier was opened.
#[derive(Debug)]
struct Failure {
    what: String,
    is_refusal: bool,
}

impl From<CarrierError> for Failure {
    fn from(error: CarrierError) -> Self {
        Self { what: error_chain(&error), is_refusal: error.is_refusal() }
    }
}

/// What ended a carrier that was up.
enum Over {
    NotWanted,
    Dead,
    Ended(String),
}

impl Over {
    /// Returns one word, for labels.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::NotWanted => "not-needed",
            Self::Dead => "dead",
            Self::Ended(_) => "broken",
        }
    }
}

impl<U: CarrierUser> CarrierKeeper<U> {
    /// Runs until dropped.
    pub async fn run(self) {
        let dial = || async { dial(&self.gateway, &self.proxies, &self.key).await.map_err(Failure::from) };
        self.keep(dial, random::draw).await;
    }

    async fn keep<S, F>(&self, dial: impl Fn() -> F, mut draw: impl FnMut() -> f64)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = Result<Opened<S>, Failure>>,
    {
        metrics::carrier_up(false);
        let mut wanted = self.user.wanted();
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, RETRY_MAX);
        let repeats = Repeats::default();
        loop {
            if wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
                // Nobody is left who could want one.
                return pending().await;
            }
            self.status.send_modify(|status| status.is_wanted = true);
            debug!("a carrier is dialled");
            let dialled = tokio::select! {
                dialled = dial() => dialled,
                _ = wanted.wait_for(|is_wanted| !*is_wanted) => {
                    self.note_unwanted();
                    continue;
                }
            };
            let pause = match dialled {
                Ok(opened) => {
                    let since = Instant::now();
                    let Some(what) = self.carry(opened, &mut wanted, &repeats).await else { continue };
                    self.note_failure(what);
                    backoff.on_lost(since.elapsed());
                    backoff.next_delay(draw())
                }
                Err(Failure { what, is_refusal }) => {
                    metrics::carrier_not_opened();
                    if let Some(left_out) = repeats.note(&what, std::time::Instant::now()) {
                        info!(more = shown(left_out), "{what}");
                    }
                    self.note_failure(what);
                    if is_refusal { REFUSED_RETRY } else { backoff.next_delay(draw()) }
                }
            };
            debug!(?pause, "the next carrier is dialled after the pause");
            tokio::select! {
                () = sleep(pause) => {}
                // What is wanted anew is for another reason, and is dialled at once.
                _ = wanted.wait_for(|is_wanted| !*is_wanted) => self.note_unwanted(),
            }
        }
    }

    /// Carries until it ends; returns why, or `None` once it is not wanted.
    async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        opened: Opened<S>,
        wanted: &mut watch::Receiver<bool>,
        repeats: &Repeats,
    ) -> Option<String> {
        let Opened { websocket, gateway, peer, proxy, outer } = opened;
        let foreign_issuer = match outer {
            OuterTls::Gateways => None,
            OuterTls::Foreign { issuer } => Some(issuer),
        };
        let say = |line: &str| {
            if let Some(left_out) = repeats.note(line, std::time::Instant::now()) {
                info!(
                    %gateway, peer = peer.map(tracing::field::display), proxy = proxy.as_ref().map(tracing::field::display),
                    issuer = foreign_issuer.as_deref(), more = shown(left_out), "{line}"
                );
            }
        };
        say("the tcp path to the gateway is open");
        metrics::carrier_opened();
        self.status.send_modify(|status| {
            status.up.set(Some(true), self.clock.now());
            status.proxy.clone_from(&proxy);
            status.foreign_issuer.clone_from(&foreign_issuer);
        });
        // Word that the one before is dead may have come late.
        tokio::select! {
            biased;
            () = self.user.dead() => debug!("the carrier before was dead too"),
            () = std::future::ready(()) => {}
        }
        self.end.set_open(true);
        self.user.set_carrier(true);

        let mut over = Over::NotWanted;
        let until = async {
            tokio::select! {
                _ = wanted.wait_for(|is_wanted| !*is_wanted) => {}
                () = self.user.dead() => over = Over::Dead,
            }
        };
        let ended = pump(websocket, &self.end, until).await;
        if let Some(ended) = ended {
            over = Over::Ended(error_chain(&ended));
        }

        self.user.set_carrier(false);
        self.end.set_open(false);
        metrics::carrier_ended(over.as_str());
        match over {
            Over::NotWanted => {
                say("the tcp path to the gateway is not needed any more");
                self.note_unwanted();
                None
            }
            Over::Dead => {
                let what =
                    "what was sent over the tcp path was not answered; a proxy on the way may have lost it";
                say(what);
                Some(what.into())
            }
            Over::Ended(why) => {
                let what = format!("the tcp path to the gateway ended: {why}");
                say(&what);
                Some(what)
            }
        }
    }

    fn note_unwanted(&self) {
        self.status.send_modify(|status| {
            status.is_wanted = false;
            status.up.set(None, self.clock.now());
        });
    }

    fn note_failure(&self, what: String) {
        self.status.send_modify(|status| {
            status.up.set(Some(false), self.clock.now());
            status.last_error = Some(Fault { at: self.clock.now(), what });
        });
    }
}

#[cfg(test)]
mod tests {
    use adit_core::domain::id::KeyFingerprint;
    use adit_net::identity::time::HostClock;
    use adit_net::transport::carrier::queues::{SocketEnd, queues};
    use adit_net::transport::carrier::websocket::WebSocket;
    use bytes::Bytes;
    use parking_lot::Mutex;
    use tokio::io::{DuplexStream, duplex};
    use tokio::sync::{Notify, mpsc};
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    /// Whoever wants a carrier in a test, and what it was told.
    #[derive(Clone)]
    struct User {
        wanted: Arc<watch::Sender<bool>>,
        dead: Arc<Notify>,
        told: Arc<Mutex<Vec<bool>>>,
    }

    impl CarrierUser for User {
        fn wanted(&self) -> watch::Receiver<bool> {
            self.wanted.subscribe()
        }

        async fn dead(&self) {
            self.dead.notified().await;
        }

        fn set_carrier(&self, is_open: bool) {
            self.told.lock().push(is_open);
        }
    }

    struct Scene {
        user: User,
        socket: SocketEnd,
        status: watch::Receiver<CarrierStatus>,
        /// The other ends of what was dialled, and when.
        dialled: mpsc::Receiver<(Instant, Option<WebSocket<DuplexStream>>)>,
        start: Instant,
        _tasks: JoinSet<()>,
    }

    /// Starts a keeper; each dialling succeeds, or fails as `failure` says.
    fn start(is_wanted: bool, failure: Option<bool>) -> Scene {
        let (socket, end) = queues();
        let user = User {
            wanted: Arc::new(watch::Sender::new(is_wanted)),
            dead: Arc::default(),
            told: Arc::default(),
        };
        let status = watch::Sender::default();
        let keeper = CarrierKeeper {
            gateway: Vec::new(),
            proxies: Arc::default(),
            key: GatewayKey {
                ca_key: KeyFingerprint::from_bytes([0; 32]),
                trust_domain: "example.org".parse().unwrap(),
            },
            end,
            user: user.clone(),
            status: status.clone(),
            clock: Arc::new(HostClock),
        };
        let (note, dialled) = mpsc::channel(64);
        let dial = move || {
            let note = note.clone();
            async move {
                if let Some(is_refusal) = failure {
                    note.send((Instant::now(), None)).await.unwrap();
                    return Err(Failure { what: "on purpose".into(), is_refusal });
                }
                let (near, far) = duplex(4_096);
                let far = WebSocket::server(far, Bytes::new()).await;
                note.send((Instant::now(), Some(far))).await.unwrap();
                Ok(Opened {
                    websocket: WebSocket::client(near, Bytes::new()).await,
                    gateway: "gateway.example.org:443".parse().unwrap(),
                    peer: None,
                    proxy: Some("proxy:3128".parse().unwrap()),
                    outer: OuterTls::Foreign { issuer: "CN=Hospital".into() },
                })
            }
        };
        let status = status.subscribe();
        let run = async move { keeper.keep(dial, || 0.0).await };
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        Scene { user, socket, status, dialled, start: Instant::now(), _tasks: tasks }
    }

    impl Scene {
        async fn next(&mut self) -> (Duration, Option<WebSocket<DuplexStream>>) {
            let (at, far) = self.dialled.recv().await.unwrap();
            (at - self.start, far)
        }

        async fn is_up(&mut self, on: Option<bool>) -> CarrierStatus {
            self.status.wait_for(|status| status.up.on == on).await.unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_carrier_is_dialled_once_it_is_wanted() {
        let mut scene = start(false, None);
        assert!(timeout(Duration::from_secs(99), scene.next()).await.is_err());
        assert!(!scene.socket.is_open());
        scene.user.wanted.send_replace(true);
        let (_, far) = scene.next().await;
        let status = scene.is_up(Some(true)).await;
        assert!(status.to_string().starts_with("up since "), "{status}");
        assert!(status.to_string().contains("through the proxy proxy:3128"), "{status}");
        assert!(status.to_string().ends_with("with a certificate of CN=Hospital"), "{status}");
        let (_outgoing, mut incoming) = far.unwrap().split();
        while !scene.socket.is_open() {
            tokio::task::yield_now().await;
        }
        scene.socket.send(&[7; 5], 5);
        assert_eq!(incoming.next().await.unwrap().len(), 7);
        assert_eq!(*scene.user.told.lock(), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_opened_is_dialled_ever_later() {
        let mut scene = start(true, Some(false));
        let mut began = Vec::new();
        for _ in 0..9 {
            began.push(scene.next().await.0.as_millis());
        }
        assert_eq!(began, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 61_500, 91_500]);
        let status = scene.is_up(Some(false)).await;
        assert!(
            status.to_string().starts_with("down; ") && status.to_string().ends_with(": on purpose"),
            "{status}"
        );
        assert!(scene.user.told.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_without_carriers_is_asked_once_a_minute() {
        let mut scene = start(true, Some(true));
        let mut began = Vec::new();
        for _ in 0..4 {
            began.push(scene.next().await.0.as_secs());
        }
        assert_eq!(began, [0, 60, 120, 180]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_carrier_that_is_not_needed_any_more_is_closed_in_order() {
        let mut scene = start(true, None);
        let (_, far) = scene.next().await;
        let (_outgoing, mut incoming) = far.unwrap().split();
        scene.is_up(Some(true)).await;
        scene.user.wanted.send_replace(false);
        assert_eq!(incoming.next().await.unwrap_err().to_string(), "the other end closed it");
        let status = scene.is_up(None).await;
        assert_eq!(status.to_string(), "not needed");
        assert!(!scene.socket.is_open());
        assert_eq!(*scene.user.told.lock(), [true, false]);
        let before = scene.start.elapsed();
        scene.user.wanted.send_replace(true);
        assert_eq!(scene.next().await.0, before, "wanted anew, it is dialled at once");
    }

    #[tokio::test(start_paused = true)]
    async fn another_is_dialled_for_one_that_is_dead_or_has_ended() {
        let mut scene = start(true, None);
        let (_, first) = scene.next().await;
        scene.is_up(Some(true)).await;
        scene.user.dead.notify_one();
        let (at, second) = scene.next().await;
        // Nobody reads there, and saying goodbye takes no longer than a second.
        assert!(at <= Duration::from_secs(2), "{at:?}");
        drop(first);
        scene.is_up(Some(true)).await;
        let ended_at = scene.start.elapsed();
        drop(second);
        let (at, _third) = scene.next().await;
        assert!(at <= ended_at + Duration::from_secs(1), "{at:?}");
        let what = scene.status.borrow().last_error.clone().unwrap().what;
        assert!(what.starts_with("the tcp path to the gateway ended: its connection broke off"), "{what}");
        scene.is_up(Some(true)).await;
        assert_eq!(*scene.user.told.lock(), [true, false, true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_with_the_wish_that_it_belongs_to() {
        let mut scene = start(true, Some(true));
        scene.next().await;
        scene.is_up(Some(false)).await;
        scene.user.wanted.send_replace(false);
        scene.is_up(None).await;
        scene.user.wanted.send_replace(true);
        assert_eq!(scene.next().await.0, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn late_word_of_a_dead_carrier_ends_no_other() {
        let mut scene = start(false, None);
        scene.user.dead.notify_one();
        scene.user.wanted.send_replace(true);
        let (_, _far) = scene.next().await;
        scene.is_up(Some(true)).await;
        assert!(timeout(Duration::from_secs(9), scene.next()).await.is_err(), "it stays");
        assert_eq!(*scene.user.told.lock(), [true]);
    }
}
