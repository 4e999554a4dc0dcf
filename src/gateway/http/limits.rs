//! What is done to every request before and after it is served: how often one may ask, what shape a request has,
//! which headers an answer carries, and what the log and the metrics hear of it.
//!
//! Whoever has not proven who they are is counted by address, others by user: the endpoint tells when it knows
//! ([`Proof`]), and then the address has its own back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{Extensions, HeaderMap, Method, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::Router;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Client;
use super::connection::Connection;
use super::event_stream::EventStream;
use super::headers;
use super::known_places::KnownPlaces;
use super::problem::{Problem, ProblemKind};
use adit_core::domain::id::UserId;
use adit_core::domain::limits::{
    API_BODY_BYTES_MAX, API_CONNECTIONS_MAX, API_CONNECTIONS_OF_USER_MAX, API_OF_ADDRESS_BURST,
    API_OF_ADDRESS_EACH, API_OF_USER_BURST, API_OF_USER_EACH, EVENT_STREAMS_MAX, EVENT_STREAMS_OF_USER_MAX,
    LIMITER_ADDRESSES_MAX, LIMITER_USERS_MAX,
};
use adit_core::domain::places::address_of;
use adit_core::protocol::token_buckets::TokenBuckets;
use adit_observe::metrics::{self, EVENT_STREAMS, PEOPLE_CONNECTIONS};

/// Of a request that no endpoint is for, whatever its path.
const NO_ROUTE: &str = "none";
/// When one who has as many event streams as may be may ask again.
const STREAMS_RETRY_SECONDS: u32 = 30;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Limits {
    addresses: Mutex<TokenBuckets<IpAddr>>,
    users: Mutex<TokenBuckets<UserId>>,
    connections: Arc<KnownPlaces>,
    streams: Arc<KnownPlaces>,
    stop: CancellationToken,
}

impl Limits {
    /// Makes those of a gateway that stops once it is told.
    pub(crate) fn new(stop: CancellationToken) -> Arc<Self> {
        let addresses = TokenBuckets::every(API_OF_ADDRESS_BURST, API_OF_ADDRESS_EACH, LIMITER_ADDRESSES_MAX);
        let users = TokenBuckets::every(API_OF_USER_BURST, API_OF_USER_EACH, LIMITER_USERS_MAX);
        Arc::new(Self {
            addresses: Mutex::new(addresses),
            users: Mutex::new(users),
            connections: KnownPlaces::new(
                API_CONNECTIONS_MAX,
                API_CONNECTIONS_OF_USER_MAX,
                PEOPLE_CONNECTIONS,
            ),
            streams: KnownPlaces::new(EVENT_STREAMS_MAX, EVENT_STREAMS_OF_USER_MAX, EVENT_STREAMS),
            stop,
        })
    }

    /// Puts the limits around all that `router` serves.
    pub(crate) fn around(self: &Arc<Self>, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::clone(self), serve))
    }

    /// Takes one from who comes from `address`.
    fn take_of_address(&self, address: IpAddr) -> Result<(), Problem> {
        let (address, now) = (address_of(address), Instant::now());
        let mut addresses = self.addresses.lock();
        if addresses.try_take(address, now) {
            return Ok(());
        }
        Err(too_many("address", addresses.wait(&address, now)))
    }

    fn take_of_user(&self, user: UserId) -> Result<(), Problem> {
        let now = Instant::now();
        let mut users = self.users.lock();
        if users.try_take(user, now) {
            return Ok(());
        }
        Err(too_many("user", users.wait(&user, now)))
    }

    /// Gives an event stream its place, which ends with the gateway.
    fn begin_stream(&self, response: Response, user: UserId, connection: Option<&Connection>) -> Response {
        let Some(place) = self.streams.take(user) else {
            metrics::rate_limited("event stream");
            let why = format!(
                "as many event streams are open as may be; a user has at most {EVENT_STREAMS_OF_USER_MAX}"
            );
            return Problem::new(ProblemKind::TooMany, why)
                .retry_after(STREAMS_RETRY_SECONDS)
                .into_response();
        };
        connection.inspect(|connection| connection.streams());
        let stopped = self.stop.clone().cancelled_owned();
        response.map(|body| Body::new(EventStream::new(body, place, stopped)))
    }
}

fn too_many(whom: &'static str, wait: Duration) -> Problem {
    metrics::rate_limited(whom);
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    let why = format!("too many requests of one {whom}; ask again in {seconds} s");
    Problem::new(ProblemKind::TooMany, why).retry_after(seconds)
}

/// Whom an answer has let in: put into its extensions, it says whose the connection is from then on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProvenHere(pub(crate) UserId);

/// What a request has proven, to those who served it.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    limits: Arc<Limits>,
    user: Arc<Mutex<Option<UserId>>>,
}

impl Proof {
    /// Notes that the request with these extensions is `user`'s, who may be one who asks too often. To be called
    /// as soon as that is known.
    pub(crate) fn note(extensions: &Extensions, user: UserId) -> Result<(), Problem> {
        let Some(proof) = extensions.get::<Self>() else { return Ok(()) };
        let known = proof.user.lock().replace(user);
        if known == Some(user) { Ok(()) } else { proof.limits.take_of_user(user) }
    }
}

/// A request, as far as it is spoken of once it is answered.
struct Asked {
    method: Method,
    route: Option<MatchedPath>,
    address: IpAddr,
    began: Instant,
    connection: Option<Arc<Connection>>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let client = extensions.get::<Client>();
        Self {
            method: request.method().clone(),
            route: extensions.get::<MatchedPath>().cloned(),
            address: client.map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.address),
            began: Instant::now(),
            connection: extensions.get::<Arc<Connection>>().cloned(),
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str)
    }

    /// Returns whether the address pays at once: where a user keeps the connection, nobody else at the user's
    /// address can keep it from being served.
    fn is_of_address(&self) -> bool {
        !self.connection.as_deref().is_some_and(Connection::is_kept)
    }
}

async fn serve(State(limits): State<Arc<Limits>>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let proof = Proof { limits: Arc::clone(&limits), user: Arc::default() };
    let mut response = match let_in(&limits, &asked, &request) {
        Ok(()) => {
            request.extensions_mut().insert(proof.clone());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let user = *proof.user.lock();
    response = settle(&limits, &asked, user, response);
    let is_public = asked.connection.as_deref().is_some_and(Connection::is_public);
    headers::dress(response.headers_mut(), is_public);
    tell(&asked, user, &response);
    response
}

fn let_in(limits: &Limits, asked: &Asked, request: &Request) -> Result<(), Problem> {
    if asked.is_of_address() {
        limits.take_of_address(asked.address)?;
    }
    well_formed(request.version(), request.headers()).inspect_err(|_| {
        // What follows may be part of what was refused.
        asked.connection.as_deref().inspect(|connection| connection.end_after_answer());
    })
}

/// Refuses what two readers could take for two different requests (RFC 9112 §6.3, §3.2).
fn well_formed(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let why = "send the length of the body as `Content-Length`; no `Transfer-Encoding` is taken";
        return Err(Problem::new(ProblemKind::Malformed, why));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && version == Version::HTTP_11 {
        return Err(Problem::new(ProblemKind::Malformed, "send the header `Host` once"));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.is_some_and(|length| length.parse().is_ok_and(|length: u64| length > API_BODY_BYTES_MAX as u64))
    {
        let why = format!("the body of a request has at most {API_BODY_BYTES_MAX} bytes");
        return Err(Problem::new(ProblemKind::TooLarge, why));
    }
    Ok(())
}

/// Lets who has proven itself have what it is due, and who has not pay.
fn settle(limits: &Limits, asked: &Asked, user: Option<UserId>, response: Response) -> Response {
    let connection = asked.connection.as_deref();
    let user = user.or_else(|| response.extensions().get::<ProvenHere>().map(|proven| proven.0));
    let Some(user) = user else {
        if !asked.is_of_address() && limits.take_of_address(asked.address).is_err() {
            connection.inspect(|connection| connection.end_after_answer());
        }
        return response;
    };
    if asked.is_of_address() {
        limits.addresses.lock().give_back(&address_of(asked.address));
    }
    if is_event_stream(&response) {
        return limits.begin_stream(response, user, connection);
    }
    if let Some(connection) = connection.filter(|it| !it.is_proxys() && !it.is_kept())
        && let Some(place) = limits.connections.take(user)
    {
        connection.keep(place);
    }
    response
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

fn tell(asked: &Asked, user: Option<UserId>, response: &Response) {
    let took = asked.began.elapsed();
    let status = response.status();
    metrics::http_request(asked.route(), status.as_u16(), took);
    debug!(
        method = %asked.method, route = asked.route(), status = status.as_u16(), ms = took.as_millis(),
        user = user.map(tracing::field::display), from = %asked.address, "a request is answered"
    );
}
