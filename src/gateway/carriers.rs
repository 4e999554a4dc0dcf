//! Carriers at the gateway: the opening handshake, and how long each is served.
//!
//! Anyone may open one; it is worth nothing until an agent with a control link has registered by it, and holds a
//! place among few until then. What travels inside, and when one counts as proven, is the relay's business
//! ([`adit_net::transport::relay`]).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use axum::routing::{Router, get};
use bytes::Bytes;
use hyper::body::Body as _;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::attempt_limiter::HandshakeLimiter;
use adit_core::domain::limits::{
    CARRIER_HEAD_BYTES_MAX, CARRIER_NEWCOMERS, CARRIER_PROVEN_WITHIN, CARRIERS_MAX,
};
use adit_core::domain::visible::error_chain;
use adit_core::protocol::carrier;
use adit_net::transport::carrier::websocket::{self, WebSocket};
use adit_net::transport::newcomers::Newcomers;
use adit_net::transport::relay::carriers::{CarrierEnded, Carriers};
use adit_net::transport::tls::FrontDoorStream;
use adit_observe::http;
use adit_observe::metrics::CARRIERS_ENDED;

const PLAIN: &str = "text/plain; charset=utf-8";
/// The protocol's one version (RFC 6455 §4.1).
const WEBSOCKET_VERSION: &[u8] = b"13";
/// Sixteen random bytes in base64 (RFC 6455 §4.1).
const KEY_CHARS: usize = 24;
/// When one who finds no room may ask again.
const FULL_RETRY_SECONDS: HeaderValue = HeaderValue::from_static("60");

/// Where the request of a connection leaves that it opens a carrier.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Option<OnUpgrade>>>);

impl Asked {
    /// Takes what becomes the carrier's stream; `None` where the request was for something else.
    pub(super) fn take(&self) -> Option<OnUpgrade> {
        self.0.lock().take()
    }
}

#[derive(Debug)]
pub(super) struct CarrierService {
    carriers: Arc<Carriers>,
    /// Those that nobody has proven.
    newcomers: Arc<Newcomers>,
    /// Once no control link needs one any more.
    stop: CancellationToken,
}

/// Returns where carriers are opened.
pub(super) fn routes(door: Arc<CarrierService>) -> Router {
    Router::new().route(carrier::PATH, get(open)).with_state(door)
}

async fn open(
    State(door): State<Arc<CarrierService>>,
    Extension(asked): Extension<Asked>,
    mut request: Request,
) -> Response {
    let key = match key_of(&request) {
        Ok(key) => key,
        Err(why) => {
            debug!(%why, "a request for a carrier opens none");
            return why.into_response();
        }
    };
    if door.carriers.count() >= CARRIERS_MAX {
        debug!("a carrier is refused: as many are served as may be");
        count_ended("full");
        let mut full =
            plain(StatusCode::SERVICE_UNAVAILABLE, "this gateway serves as many carriers as it may\n");
        full.headers_mut().insert(RETRY_AFTER, FULL_RETRY_SECONDS);
        return full;
    }
    *asked.0.lock() = request.extensions_mut().remove::<OnUpgrade>();
    let mut response = switching(StatusCode::SWITCHING_PROTOCOLS, Body::empty());
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, key);
    response
}

/// Why a request opens no carrier (RFC 6455 §4.2.1).
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum NoOpening {
    #[error("it asks for no WebSocket of version 13")]
    NoWebSocket,
    #[error("it has no key")]
    NoKey,
    #[error("its head is longer than any that opens one")]
    TooLong,
    #[error("it is no GET without a body")]
    OtherRequest,
}

impl NoOpening {
    fn into_response(self) -> Response {
        match self {
            Self::NoWebSocket => {
                let why =
                    "a carrier is a WebSocket of version 13; a proxy on the way may have taken that out\n";
                let mut response = switching(StatusCode::UPGRADE_REQUIRED, Body::from(why));
                response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                response
            }
            Self::NoKey => {
                plain(StatusCode::BAD_REQUEST, "the request has no Sec-WebSocket-Key of 16 bytes\n")
            }
            Self::TooLong => {
                plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too long\n")
            }
            Self::OtherRequest => {
                plain(StatusCode::BAD_REQUEST, "a carrier is asked for by a GET without a body\n")
            }
        }
    }
}

/// Returns the answer to the key of an opening handshake.
fn key_of(request: &Request) -> Result<HeaderValue, NoOpening> {
    let headers = request.headers();
    let head_bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if head_bytes > CARRIER_HEAD_BYTES_MAX {
        return Err(NoOpening::TooLong);
    }
    // What is behind a body would be taken for the carrier's.
    if request.method() != Method::GET || !request.body().is_end_stream() {
        return Err(NoOpening::OtherRequest);
    }
    let is_upgrade = names(headers, CONNECTION, "upgrade") && names(headers, UPGRADE, "websocket");
    let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if !is_upgrade || request.version() != Version::HTTP_11 || version != Some(WEBSOCKET_VERSION) {
        return Err(NoOpening::NoWebSocket);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    key.filter(|key| key.len() == KEY_CHARS)
        .and_then(|key| HeaderValue::try_from(websocket::accept_key(key)).ok())
        .ok_or(NoOpening::NoKey)
}

/// Returns whether a header's list names this, in any case of letters.
fn names(headers: &HeaderMap, header: HeaderName, expected: &str) -> bool {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(expected))
}

fn switching(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    http::response(status, PLAIN, text).map(Body::new)
}

impl CarrierService {
    pub(super) fn new(carriers: Arc<Carriers>, stop: CancellationToken) -> Self {
        Self { carriers, newcomers: Newcomers::new(CARRIER_NEWCOMERS), stop }
    }

    /// Serves a carrier to its end.
    pub(super) async fn serve(
        &self,
        stream: FrontDoorStream,
        read: Bytes,
        from: SocketAddr,
        handshakes: &HandshakeLimiter,
    ) {
        let Some(carrier) = self.carriers.open(from) else {
            count_ended("full");
            return debug!("a carrier finds no room");
        };
        debug!(carrier = %carrier.id(), "a carrier is open; nobody has proven to own it");
        let websocket = WebSocket::server(stream, read).await;
        let mut newcomer = self.newcomers.enter(from.ip());
        // The relay ends one that nobody proves before this.
        let proving = async {
            let proven = newcomer.within(2 * CARRIER_PROVEN_WITHIN, carrier.proven()).await;
            drop(newcomer);
            if let Err(gone) = proven {
                return gone;
            }
            handshakes.finished(from.ip());
            debug!("an agent has proven itself over the carrier");
            std::future::pending().await
        };
        tokio::select! {
            end = carrier.serve(websocket) => report(&end),
            gone = proving => {
                count_ended("displaced");
                debug!(why = %gone, "a carrier that nobody has proven is ended");
            }
            () = self.stop.cancelled() => {
                count_ended("stopping");
                debug!("a carrier ends with the gateway");
            }
        }
    }
}

fn count_ended(why: &'static str) {
    metrics::counter!(CARRIERS_ENDED, "why" => why).increment(1);
}

fn report(end: &CarrierEnded) {
    count_ended(end.as_str());
    match end {
        CarrierEnded::Refused(why) => debug!(%why, "the gateway ends a carrier"),
        CarrierEnded::WebSocket(why) => {
            debug!(why = error_chain(why), "a carrier ended");
        }
        CarrierEnded::RelayGone => info!("a carrier ended: the relay has"),
    }
}
