//! The agent's end of a carrier: dials the gateway's TCP port, through a proxy where there is one, speaks TLS
//! with whoever answers, and asks for the WebSocket.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use adit_core::config::HostPort;
use adit_core::domain::limits::CARRIER_DIAL_TIMEOUT;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::carrier::PATH;

use super::proxy::Proxies;
use super::switch::{self, Answer};
use super::ways::{Way, WayError, first_way, ways};
use super::websocket::{WebSocket, accept_key, fresh_key};
use super::{outer_tls, proxy::Proxy};
use crate::identity::outer::{GatewayKey, OuterTls};

/// A carrier that takes messages.
#[derive(Debug)]
pub struct Opened<S> {
    pub websocket: WebSocket<S>,
    pub gateway: HostPort,
    /// Who has the TCP connection: the gateway, or the proxy.
    pub peer: Option<SocketAddr>,
    pub proxy: Option<HostPort>,
    pub outer: OuterTls,
}

/// No way to the gateway led to a carrier.
#[derive(Debug, thiserror::Error)]
#[error("the tcp path to the gateway cannot be opened ({})", each(tried))]
pub struct CarrierError {
    tried: Vec<(HostPort, DialError)>,
}

impl CarrierError {
    /// Returns whether something answered and has no carriers: to ask again soon is of no use.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.tried.iter().any(|(_, error)| matches!(error, DialError::NoCarriers { .. }))
    }
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Way(#[from] WayError),
    #[error(
        "TLS failed; update the gateway if it is older than this agent, else see that what answers there is the gateway"
    )]
    Tls { source: io::Error },
    #[error(
        "the exchange broke off; have whatever stands on the way let WebSockets through to the gateway's name"
    )]
    Http { source: hyper::Error },
    #[error(
        "it answers {status} to the request for the tcp path{}; {}",
        behind(outer),
        remedy(*status)
    )]
    NoCarriers { status: StatusCode, outer: OuterTls },
    #[error("its answer is no WebSocket's{}; see that what answers there is the gateway", behind(outer))]
    NoWebSocket { outer: OuterTls },
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Way(error.into())
    }
}

/// Opens a carrier on the first way that leads to one.
pub async fn dial(
    gateway: &[HostPort],
    proxies: &Proxies,
    key: &GatewayKey,
) -> Result<Opened<impl AsyncRead + AsyncWrite + Debug + Send + Unpin + use<>>, CarrierError> {
    let (ways, nameless) = ways(gateway, proxies).await;
    let mut tried: Vec<_> = nameless.into_iter().map(|(name, error)| (name, error.into())).collect();
    match first_way(ways, CARRIER_DIAL_TIMEOUT, |way| open(way, key.clone())).await {
        Ok((way, opened)) => {
            debug!(%way, certificate = %opened.outer, "a carrier is open");
            Ok(opened)
        }
        Err(failed) => {
            tried.extend(failed.into_iter().map(|(way, error)| (way.gateway, error)));
            Err(CarrierError { tried })
        }
    }
}

async fn open(
    way: Way,
    key: GatewayKey,
) -> Result<Opened<impl AsyncRead + AsyncWrite + Debug + Send + Unpin + use<>>, DialError> {
    let tcp = way.connect().await?;
    let peer = tcp.peer_addr().ok();
    let tls = outer_tls::connect(tcp, &way.gateway, &key).await;
    let (stream, outer) = tls.map_err(|source| DialError::Tls { source })?;
    let nonce = fresh_key();
    let request = request(&way.gateway, &nonce);
    let switches = |status| status == StatusCode::SWITCHING_PROTOCOLS;
    match switch::ask(stream, request, switches).await.map_err(|source| DialError::Http { source })? {
        Answer::Switched { head, stream, read } => {
            if !is_websocket(&head.headers, &nonce) {
                return Err(DialError::NoWebSocket { outer });
            }
            let websocket = WebSocket::client(stream, read).await;
            let proxy = way.proxy().map(Proxy::at).cloned();
            Ok(Opened { websocket, gateway: way.gateway, peer, proxy, outer })
        }
        Answer::Refused { head } => Err(DialError::NoCarriers { status: head.status, outer }),
    }
}

/// Asks for a WebSocket (RFC 6455 §4.1).
fn request(gateway: &HostPort, key: &str) -> Request<Empty<Bytes>> {
    Request::get(PATH)
        .header(header::HOST, gateway.to_string())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
        .expect("a host and port as parsed, and base64, are header values")
}

/// Returns whether this answers the key, and asks for nothing that was not offered (RFC 6455 §4.1).
fn is_websocket(headers: &HeaderMap, key: &str) -> bool {
    let accepted = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    accepted == Some(accept_key(key.as_bytes()).as_bytes())
        && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        && !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
}

const fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "it has no room or is not ready, and is asked again in a minute",
        StatusCode::UPGRADE_REQUIRED => {
            "something on the way has taken the WebSocket out; have it let WebSockets through to the gateway's name"
        }
        _ => {
            "update the gateway if it is older than this agent, else see that what answers there is the gateway"
        }
    }
}

fn behind(outer: &OuterTls) -> String {
    match outer {
        OuterTls::Gateways => String::new(),
        OuterTls::Foreign { issuer } => format!(", over TLS with a certificate of {issuer}"),
    }
}

/// Returns each failure once: the addresses of one name mostly fail alike.
fn each(tried: &[(HostPort, DialError)]) -> String {
    let mut each: Vec<_> =
        tried.iter().map(|(name, error)| format!("{name}: {}", error_chain(error))).collect();
    each.dedup();
    if each.is_empty() { "its addresses are not known".into() } else { each.join("; ") }
}
