//! One connection over which people and their programs ask (HTTP/1.1).
//!
//! It begins as a newcomer's: a few requests, in little time. Once an answer was given to somebody who has proven
//! who they are, whatever the answer, it is that user's, kept open between requests, in one of the user's places. Who
//! sends or reads too slowly is ended, whoever it is; see [`super::pace`].

mod body;
mod stream;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue, UPGRADE};
use axum::http::{Extensions, Request, Response, StatusCode};
use axum::routing::Router;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use adit_core::domain::limits::{
    API_HEAD_BYTES_MAX, API_HEAD_TIMEOUT, API_HEADERS_MAX, API_IDLE_TIMEOUT, API_NEWCOMER_REQUESTS_MAX,
    ENROL_TIMEOUT,
};
use adit_core::domain::places::Progress;
use adit_net::transport::newcomers::{Advance, Gone, Newcomer};

use self::body::{Arriving, Leaving};
pub(crate) use self::stream::Paced;
use super::client::Whence;
use super::known_places::KnownPlace;
use super::pace::{Late, Pace, Patience};

/// What is known of a connection while it lasts.
#[derive(Debug)]
pub(crate) struct Connection {
    whence: Whence,
    /// Whether whom it is with was decided by a certificate that browsers trust.
    is_public: bool,
    /// Put into every request.
    extensions: Extensions,
    /// Of the newcomer that it began as.
    advance: Option<Advance>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    began: Instant,
    requests: u32,
    /// Whether it ends after the answer in hand.
    is_last: bool,
    /// Whether the request in hand was answered before it was whole.
    is_unread: bool,
    /// Whether it is a newcomer's no longer.
    is_known: bool,
    place: Option<KnownPlace>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Late(#[from] Late),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl Connection {
    /// Makes one that begins as a newcomer's, who advances by asking.
    pub(crate) fn of_newcomer(
        whence: Whence,
        is_public: bool,
        extensions: Extensions,
        advance: &Advance,
    ) -> Arc<Self> {
        Self::new(whence, is_public, extensions, Some(advance.clone()), Patience::default())
    }

    /// Makes one of a trusted proxy, which is many people's and nobody's.
    pub(crate) fn of_proxy(whence: Whence) -> Arc<Self> {
        Self::new(whence, false, Extensions::new(), None, Patience::default())
    }

    fn new(
        whence: Whence,
        is_public: bool,
        extensions: Extensions,
        advance: Option<Advance>,
        patience: Patience,
    ) -> Arc<Self> {
        let mut pace = Pace::new(patience, Instant::now());
        if advance.is_none() {
            pace.known();
        }
        let state = State {
            pace,
            began: Instant::now(),
            requests: 0,
            is_last: false,
            is_unread: false,
            is_known: advance.is_none(),
            place: None,
        };
        Arc::new(Self { whence, is_public, extensions, advance, state: Mutex::new(state) })
    }

    pub(super) const fn is_public(&self) -> bool {
        self.is_public
    }

    /// Returns whether it is many people's.
    pub(super) const fn is_proxys(&self) -> bool {
        matches!(self.whence, Whence::Proxy { .. })
    }

    /// Returns whether it has a user's place.
    pub(super) fn is_kept(&self) -> bool {
        self.state.lock().place.is_some()
    }

    /// Keeps it open in a user's place.
    pub(super) fn keep(&self, place: KnownPlace) {
        let mut state = self.state.lock();
        state.place = Some(place);
        state.is_known = true;
        state.pace.known();
    }

    /// Lets the answer in hand be the last, without a limit to how long it takes where it streams.
    pub(super) fn streams(&self) {
        let mut state = self.state.lock();
        state.place = None;
        state.is_known = true;
        state.pace.known();
        state.is_last = true;
    }

    /// Lets the answer in hand be the last.
    pub(super) fn end_after_answer(&self) {
        self.state.lock().is_last = true;
    }

    fn is_known(&self) -> bool {
        self.state.lock().is_known
    }

    fn pace<T>(&self, note: impl FnOnce(&mut Pace, Instant) -> T) -> T {
        note(&mut self.state.lock().pace, Instant::now())
    }

    fn asked(&self, is_whole: bool) {
        let mut state = self.state.lock();
        state.requests = state.requests.saturating_add(1);
        state.is_unread = false;
        state.pace.asked(is_whole, Instant::now());
        drop(state);
        if is_whole {
            self.is_asked_in_full();
        }
    }

    fn body_ended(&self) {
        self.pace(Pace::body_ended);
        self.is_asked_in_full();
    }

    fn leaves_body(&self) {
        self.state.lock().is_unread = true;
    }

    /// Ends it; returns whether more may come of what was refused.
    fn ends_with_more_to_come(&self) -> bool {
        let mut state = self.state.lock();
        let is_more_to_come = state.is_unread || state.pace.is_at_head();
        state.pace.ends(Instant::now());
        is_more_to_come
    }

    fn is_asked_in_full(&self) {
        if let Some(advance) = &self.advance {
            advance.to(Progress::Asked);
        }
    }

    /// Returns whether nothing is read after the answer in hand.
    fn ends(&self) -> bool {
        let state = self.state.lock();
        // A newcomer is told while there is time: nobody sends a request that is cut by the end of that time.
        let is_over =
            state.requests >= API_NEWCOMER_REQUESTS_MAX || state.began.elapsed() >= ENROL_TIMEOUT / 2;
        state.is_last || !state.is_known && is_over
    }

    /// Returns whether anything was asked.
    pub(crate) fn was_asked(&self) -> bool {
        self.state.lock().requests > 0
    }
}

/// Serves requests until either end has enough of it, or the gateway stops. Returns the newcomer if it still is one.
pub(crate) async fn serve<S>(
    stream: S,
    router: Router,
    connection: &Arc<Connection>,
    newcomer: Option<Newcomer>,
    stop: &CancellationToken,
) -> Result<Option<Newcomer>, BrokenOff>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answering = Answering { router, connection: Arc::clone(connection) };
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        // Only a last resort: hyper counts the time in which nothing is asked too.
        .header_read_timeout(API_IDLE_TIMEOUT + 2 * API_HEAD_TIMEOUT)
        .max_buf_size(API_HEAD_BYTES_MAX)
        .max_headers(API_HEADERS_MAX)
        .serve_connection(TokioIo::new(Paced::new(stream, Arc::clone(connection))), answering)
        .with_upgrades();
    let sleep = Box::pin(sleep_until(TokioInstant::now()));
    let mut served = Served { http: Box::pin(http), connection, sleep, stop };
    if let Some(mut newcomer) = newcomer {
        match newcomer.within(ENROL_TIMEOUT, served.run(true)).await {
            Ok(Some(end)) => return end.map(|()| Some(newcomer)),
            Ok(None) => debug!("a user has proven who it is; the connection is kept"),
            Err(gone) => return Err(gone.into()),
        }
    }
    served.run(false).await.unwrap_or(Ok(())).map(|()| None)
}

type Http<S> = UpgradeableConnection<TokioIo<Paced<S>>, Answering>;

struct Served<'c, S> {
    http: Pin<Box<Http<S>>>,
    connection: &'c Connection,
    sleep: Pin<Box<Sleep>>,
    stop: &'c CancellationToken,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Served<'_, S> {
    /// Runs to the end or, where that is asked, until it is known whose the connection is, which is `None`.
    async fn run(&mut self, until_known: bool) -> Option<Result<(), BrokenOff>> {
        let mut stopped = pin!(self.stop.cancelled());
        let mut is_stopping = false;
        poll_fn(|cx| {
            if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                self.http.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(end) = self.http.as_mut().poll(cx) {
                return Poll::Ready(Some(end.map_err(BrokenOff::from)));
            }
            if until_known && self.connection.is_known() {
                return Poll::Ready(None);
            }
            self.poll_late(cx).map(|late| Some(Err(late.into())))
        })
        .await
    }

    /// Resolves when a step took too long. One that is only idle is closed in order first.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let Some((at, late)) = self.connection.pace(|pace, _| pace.deadline()) else {
                return Poll::Pending;
            };
            if self.sleep.deadline() != TokioInstant::from(at) {
                self.sleep.as_mut().reset(at.into());
            }
            ready!(self.sleep.as_mut().poll(cx));
            if late != Late::Idle {
                return Poll::Ready(late);
            }
            self.connection.pace(Pace::ends);
            self.http.as_mut().graceful_shutdown();
            // Nothing else may wake it.
            cx.waker().wake_by_ref();
        }
    }
}

/// Answers one connection's requests.
#[derive(Debug)]
struct Answering {
    router: Router,
    connection: Arc<Connection>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let connection = Arc::clone(&self.connection);
        if request.headers().contains_key(UPGRADE) {
            // Whether granted or not: what follows may be meant for whoever speaks otherwise (RFC 9110 §7.8).
            connection.end_after_answer();
        }
        connection.asked(request.body().is_end_stream());
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&connection))));
        let client = connection.whence.client(request.headers());
        let extensions = request.extensions_mut();
        extensions.extend(connection.extensions.clone());
        extensions.insert(client);
        extensions.insert(Arc::clone(&connection));
        let answering = TowerToHyperService::new(self.router.clone()).call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            // hyper would say the same to one who goes on to speak something else, and proxies would believe it.
            if connection.ends() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Body::new(Leaving::new(body, connection))))
        })
    }
}

#[cfg(test)]
mod tests;
