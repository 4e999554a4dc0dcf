//! Enrolment, the agent's side: from a connector file to an identity in the state folder.
//!
//! The key pair is made here and is on disk before the gateway is asked, and the token stays in its
//! file until the identity is on disk: killed at any step, the next start does it again with the
//! same key. The CA's key is checked inside the handshake, before the token is sent.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::state::{AgentState, Enrolment, StateError};
use adit_core::config::connector::{Connector, without_token};
use adit_core::config::{ConfigProblems, HostPort};
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::limits::{
    CARRIER_DIAL_TIMEOUT, CONFIG_BYTES_MAX, ENROL_BODY_BYTES_MAX, ENROL_TIMEOUT, REASON_CHARS_MAX,
};
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::visible::{error_chain, one_line};
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::enrol::{self, Granted, Refused, TokenGood};
use adit_core::protocol::text::listed;
use adit_net::host::regular;
use adit_net::identity::error::IdentityError;
use adit_net::identity::key::KeyPair;
use adit_net::identity::name::PeerName;
use adit_net::identity::outer::{GatewayKey, OuterTls};
use adit_net::identity::random;
use adit_net::identity::tls::{Identity, Trust, enrol_client_config, refusal};
use adit_net::transport::carrier::outer_tls;
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::carrier::ways::{Way, first_way, ways};
use adit_net::transport::happy_eyeballs::ATTEMPT_TIMEOUT;
use adit_net::transport::tls::connect_enrol;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a gateway may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);
/// By which part of it, at most, it is exceeded: told to many, they come back one after another.
const RETRY_AFTER_SPREAD: f64 = 0.25;
/// What a gateway means that says "too many requests" without a time.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_mins(1);
/// How long is looked who answers in the gateway's place.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a wait is told in the log.
const SAID_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(
        "this agent is not enrolled; have `adit admin token issue` on the gateway's host write a connector file for its \
         server, and name it as `connector` in the agent's file"
    )]
    NoConnector,
    #[error("cannot read the connector file `{path}`; it must exist and be readable by this user")]
    ReadConnector { path: PathBuf, source: io::Error },
    #[error("the connector file `{path}` cannot be used; have `adit admin token issue` write it anew")]
    BadConnector { path: PathBuf, source: ConfigProblems },
    #[error(
        "the token in the connector file `{path}` was erased when it was used; have `adit admin token issue` on the \
         gateway's host write a new one"
    )]
    NoToken { path: PathBuf },
    #[error(
        "no gateway answers ({}); check the addresses in the connector file, and that TCP is let out to them or that \
         `proxy` in the agent's file names the proxy that leads there",
        each_attempt(tried)
    )]
    Unreachable { tried: Vec<Attempt> },
    #[error(
        "the gateway at {address} is not the one this connector file belongs to; nothing was sent to it; have \
         `adit admin token issue` on its host write a new connector file"
    )]
    NotTheGateway { address: HostPort, source: IdentityError },
    #[error(
        "somebody between this host and the gateway at {address} breaks TLS open, and shows a certificate of {issuer}; \
         nothing was sent to it: have the gateway's name exempted from TLS inspection, or enrol from another network"
    )]
    Intercepted { address: HostPort, issuer: String },
    #[error("the gateway at {address} refused to enrol this agent: {answer}")]
    Refused { address: HostPort, answer: String },
    #[error("the gateway at {address} cannot enrol this agent at present: {answer}")]
    NotNow { address: HostPort, answer: String, retry_after: Option<Duration> },
    #[error("cannot sign the request for a certificate")]
    Signing { source: IdentityError },
    #[error(
        "the answer of the gateway at {address} makes no sense ({what}); compare the versions of agent and gateway"
    )]
    Nonsense { address: HostPort, what: String },
}

impl EnrolError {
    /// Returns whether the same request may succeed later without anybody changing this host.
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Intercepted { .. } | Self::NotNow { .. })
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotNow { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// An address that did not lead to an answer, and why.
#[derive(Debug)]
pub struct Attempt {
    pub address: HostPort,
    pub why: String,
}

/// Obtains the identity as [`identify`] does, but waits while the network or the gateway is away, and says in
/// `why` for what: an agent that exits would have to be started by hand where nothing restarts it.
pub async fn await_identity(
    state: &AgentState,
    connector: Option<&Path>,
    proxies: &Proxies,
    why: &watch::Sender<Option<String>>,
) -> Result<Enrolment, EnrolError> {
    patiently(|| identify(state, connector, proxies), random::draw, why).await
}

/// Repeats `attempt` until it succeeds or fails for a reason that no repetition changes.
async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, EnrolError>,
    mut draw: impl FnMut() -> f64,
    why: &watch::Sender<Option<String>>,
) -> Result<T, EnrolError> {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, RETRY_MAX);
    let mut said_at = None::<Instant>;
    loop {
        let error = match attempt().await {
            Err(error) if error.may_pass() => error,
            ended => return ended,
        };
        why.send_replace(Some(error.to_string()));
        let pause = match error.retry_after() {
            Some(told) => as_told(told, draw()),
            None => backoff.next_delay(draw()),
        };
        tracing::debug!(%error, ?pause, "not enrolled yet; the next attempt comes after the pause");
        if said_at.is_none_or(|said_at| said_at.elapsed() >= SAID_EVERY) {
            said_at = Some(Instant::now());
            let seconds = pause.as_secs();
            warn!(%error, "not enrolled yet; the agent tries again in {seconds} s, and so on");
        }
        sleep(pause).await;
    }
}

/// Returns how long to wait: many who were told the same do not come back together.
fn as_told(told: Duration, draw: f64) -> Duration {
    told.clamp(RETRY_MIN, RETRY_AFTER_MAX).mul_f64(1.0 + draw * RETRY_AFTER_SPREAD)
}

/// Returns this agent's identity: the one in its state, or a new one by enrolment.
pub async fn identify(
    state: &AgentState,
    connector: Option<&Path>,
    proxies: &Proxies,
) -> Result<Enrolment, EnrolError> {
    if let Some(enrolment) = state.enrolment()? {
        tracing::debug!(server = %enrolment.server, route = %enrolment.route, "this agent is enrolled");
        // A crash may have come between keeping the identity and erasing the token.
        if let Some(path) = connector.filter(|path| holds_spent_token(path, &enrolment)) {
            erase_or_warn(path);
        }
        return Ok(enrolment);
    }
    let path = connector.ok_or(EnrolError::NoConnector)?;
    let text = regular::read_text(path, CONFIG_BYTES_MAX)
        .map_err(|source| EnrolError::ReadConnector { path: path.into(), source })?;
    let connector =
        Connector::parse(&text).map_err(|source| EnrolError::BadConnector { path: path.into(), source })?;
    let token = connector.token.as_ref().ok_or_else(|| EnrolError::NoToken { path: path.into() })?;
    let enrolment = enrol(state, &connector, proxies, token).await?;
    erase_or_warn(path);
    Ok(enrolment)
}

/// Enrols this agent and keeps its identity.
async fn enrol(
    state: &AgentState,
    connector: &Connector,
    proxies: &Proxies,
    token: &RegistrationToken,
) -> Result<Enrolment, EnrolError> {
    let key = state.key_pair()?;
    let csr = key.csr_der().map_err(|source| EnrolError::Signing { source })?;
    let request = enrol::Request {
        server: connector.server,
        token: Zeroizing::new(token.reveal_hex()),
        csr: hex::encode(csr),
    };
    let (address, granted) = ask_any::<Granted>(connector, proxies, enrol::PATH, &request).await?;
    let enrolment = accept(connector, &granted, key, token.hash())
        .map_err(|what| EnrolError::Nonsense { address, what })?;
    state.store_enrolment(&enrolment)?;
    info!(server = %enrolment.server, "enrolled");
    Ok(enrolment)
}

/// Asks whether the gateway would take the connector file's token, which stays unused. `key` is this host's,
/// if it has made one.
pub async fn ask_about_token(
    connector: &Connector,
    proxies: &Proxies,
    token: &RegistrationToken,
    key: Option<KeyFingerprint>,
) -> Result<TokenGood, EnrolError> {
    let token = Zeroizing::new(token.reveal_hex());
    let question = enrol::TokenQuestion { server: connector.server, token, key };
    ask_any(connector, proxies, enrol::TOKEN_PATH, &question).await.map(|(_, good)| good)
}

/// Asks the gateway on whichever way to an address of the file first completes a handshake with the right CA
/// key; the first final answer decides, good or bad.
async fn ask_any<A: DeserializeOwned>(
    connector: &Connector,
    proxies: &Proxies,
    path: &'static str,
    request: &impl Serialize,
) -> Result<(HostPort, A), EnrolError> {
    let (mut left, nameless) = ways(&connector.addresses, proxies).await;
    let is_proxied = left.iter().any(|way| way.proxy().is_some());
    let limit = if is_proxied { CARRIER_DIAL_TIMEOUT } else { ATTEMPT_TIMEOUT };
    let mut failed = Failed::default();
    for (address, error) in nameless {
        failed.note(address, Failure::Unreachable(error_chain(&error)))?;
    }
    while !left.is_empty() {
        tracing::debug!(path, ways = %listed(&left), "the gateway is asked over TLS");
        match first_way(left.clone(), limit, |way| connect(way, connector)).await {
            Ok((way, stream)) => {
                let asked = timeout(ENROL_TIMEOUT, ask(&way.gateway, path, stream, request)).await;
                let late = || Err(Failure::Unreachable("no answer in time".into()));
                let failure = match asked.unwrap_or_else(|_| late()) {
                    Ok(granted) => return Ok((way.gateway, granted)),
                    Err(failure) => failure,
                };
                // Another way may still be right.
                tracing::debug!(%way, %failure, left = left.len() - 1, "this way did not lead to an answer");
                left.retain(|other| *other != way);
                failed.note(way.gateway, failure)?;
            }
            Err(all) => {
                for (way, failure) in all {
                    failed.note(way.gateway, failure)?;
                }
                break;
            }
        }
    }
    Err(failed.into_error())
}

/// How the ways to the gateway failed, as long as none of them did for good.
#[derive(Debug, Default)]
struct Failed {
    tried: Vec<Attempt>,
    not_the_gateway: Option<(HostPort, IdentityError)>,
    intercepted: Option<(HostPort, String)>,
}

impl Failed {
    fn note(&mut self, address: HostPort, failure: Failure) -> Result<(), EnrolError> {
        match failure {
            Failure::Final(error) => return Err(error),
            Failure::NotTheGateway(source) => self.not_the_gateway = Some((address, source)),
            Failure::Intercepted { issuer } => self.intercepted = Some((address, issuer)),
            Failure::Unreachable(why) => self.tried.push(Attempt { address, why }),
        }
        Ok(())
    }

    fn into_error(self) -> EnrolError {
        let Self { mut tried, not_the_gateway, intercepted } = self;
        if let Some((address, issuer)) = intercepted {
            return EnrolError::Intercepted { address, issuer };
        }
        match not_the_gateway {
            // With no other address left to come back, no repetition helps.
            Some((address, source)) if tried.is_empty() => EnrolError::NotTheGateway { address, source },
            Some((address, source)) => {
                let why = format!("not the gateway of this connector file ({source})");
                tried.push(Attempt { address, why });
                EnrolError::Unreachable { tried }
            }
            None => EnrolError::Unreachable { tried },
        }
    }
}

enum Failure {
    Unreachable(String),
    NotTheGateway(IdentityError),
    Intercepted { issuer: String },
    Final(EnrolError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::NotTheGateway(why) => why.fmt(f),
            Self::Intercepted { issuer } => write!(f, "TLS is broken open with a certificate of {issuer}"),
            Self::Final(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match refusal(&error) {
            Some(refusal) => Self::NotTheGateway(refusal),
            None => Self::Unreachable(error.to_string()),
        }
    }
}

/// Connects up to the end of the handshake, which checks the CA's key; the token is not sent yet.
fn connect(
    way: Way,
    connector: &Connector,
) -> impl Future<Output = Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Failure>> + Send + use<>
{
    let known = GatewayKey { ca_key: connector.key, trust_domain: connector.trust_domain.clone() };
    async move {
        let tls = enrol_client_config(known.ca_key, known.trust_domain.clone());
        let tls = tls.map_err(Failure::NotTheGateway)?;
        let tcp = way.connect().await.map_err(|error| Failure::Unreachable(error_chain(&error)))?;
        match connect_enrol(tcp, &way.gateway, tls).await {
            Ok(stream) => Ok(stream),
            // TLS was spoken, but not with the gateway, or not as it speaks it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(match look(&way, &known).await {
                Some(issuer) => Failure::Intercepted { issuer },
                None => error.into(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Looks whether somebody stands between this host and the gateway; returns whose certificate is shown then.
/// An appliance often knows no more than the protocols of the web, so it is asked in one of those.
async fn look(way: &Way, known: &GatewayKey) -> Option<String> {
    let looked = timeout(LOOK_TIMEOUT, async {
        let tcp = way.connect().await.ok()?;
        outer_tls::look(tcp, &way.gateway, known).await.ok()
    });
    let outer = looked.await.ok().flatten();
    let certificate = outer.as_ref().map(tracing::field::display);
    tracing::debug!(%way, certificate, "it was looked who answers in the gateway's place");
    outer.as_ref().and_then(OuterTls::interceptor).map(str::to_owned)
}

async fn ask<A: DeserializeOwned>(
    address: &HostPort,
    path: &'static str,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    request: &impl Serialize,
) -> Result<A, Failure> {
    let nonsense = |what: String| Failure::Final(EnrolError::Nonsense { address: address.clone(), what });
    let body = serde_json::to_vec(request).expect("our own request is plain JSON").into();
    let broke_off = |error: hyper::Error| Failure::Unreachable(format!("the exchange broke off: {error}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
    let exchange = async {
        let response = sender.send_request(post(address, path, body)).await.map_err(broke_off)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ENROL_BODY_BYTES_MAX).collect().await;
        Ok::<_, Failure>((head, body.map_err(|error| nonsense(error.to_string()))?.to_bytes()))
    };
    // The connection may end in the very moment in which the answer is whole.
    let mut exchange = pin!(exchange);
    let (head, body) = tokio::select! {
        answer = &mut exchange => answer?,
        _ = connection => exchange.await?,
    };
    tracing::debug!(%address, status = head.status.as_u16(), bytes = body.len(), "the gateway answered");
    if head.status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| nonsense(error.to_string()));
    }
    let said = serde_json::from_slice(&body).map(|Refused { error }| one_line(&error, REASON_CHARS_MAX));
    let address = address.clone();
    Err(Failure::Final(if is_transient(head.status) {
        let answer = said.unwrap_or_else(|_| format!("status {}", head.status));
        EnrolError::NotNow { address, answer, retry_after: retry_after(&head) }
    } else {
        let answer = said.map_err(|_| nonsense(format!("status {}", head.status)))?;
        EnrolError::Refused { address, answer }
    }))
}

fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Returns the seconds that the gateway asks to wait, if it does.
fn retry_after(head: &Parts) -> Option<Duration> {
    let told = head.headers.get(hyper::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let told = told.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    told.or_else(|| (head.status == StatusCode::TOO_MANY_REQUESTS).then_some(RETRY_AFTER_DEFAULT))
}

fn post(address: &HostPort, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(hyper::header::HOST, address.to_string())
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("a host and port as parsed are a header value")
}

/// Checks what the gateway gave before it counts: CA, trust domain, name, key.
fn accept(
    connector: &Connector,
    granted: &Granted,
    key: Arc<KeyPair>,
    spent_token: [u8; 32],
) -> Result<Enrolment, String> {
    let ca = hex::decode(&granted.ca).map_err(|_| "its CA is not hexadecimal")?;
    let leaf = hex::decode(&granted.leaf).map_err(|_| "its leaf is not hexadecimal")?;
    if granted.trust_domain != connector.trust_domain.as_str() {
        return Err(format!("its trust domain is `{}`", one_line(&granted.trust_domain, REASON_CHARS_MAX)));
    }
    let trust = Trust::pinned(&ca, connector.trust_domain.clone(), connector.key)
        .map_err(|error| error.to_string())?;
    let identity = Identity::new(&leaf, key).map_err(|error| error.to_string())?;
    match identity.name(&trust).map_err(|error| error.to_string())? {
        PeerName::Server(server) if server == connector.server => {}
        other => return Err(format!("its leaf names {other}")),
    }
    Ok(Enrolment {
        server: connector.server,
        route: granted.route,
        gateway_route: granted.gateway_route,
        gateway_addresses: connector.addresses.clone(),
        trust_domain: connector.trust_domain.clone(),
        ca,
        leaf,
        spent_token,
    })
}

fn holds_spent_token(path: &Path, enrolment: &Enrolment) -> bool {
    let text = regular::read_text(path, CONFIG_BYTES_MAX);
    let connector = text.ok().and_then(|text| Connector::parse(&text).ok());
    connector.and_then(|connector| connector.token).is_some_and(|token| enrolment.has_spent(&token))
}

fn erase_or_warn(path: &Path) {
    if let Err(error) = erase_token(path) {
        info!(
            path = %path.display(), %error,
            "the spent token stays in the connector file, which cannot be written; it is of no use to anybody"
        );
    }
}

/// Overwrites the token where it stands, rather than leaving it behind in a replaced file.
fn erase_token(path: &Path) -> io::Result<()> {
    let mut file = regular::open(path, OpenOptions::new().read(true).write(true))?;
    let text = regular::read_all(&file, CONFIG_BYTES_MAX)?;
    // One handle for both: what is written is what was read.
    let Some(erased) = without_token(&text) else { return Ok(()) };
    file.rewind()?;
    file.write_all(erased.as_bytes())?;
    file.set_len(erased.len() as u64)?;
    file.sync_all()
}

fn each_attempt(tried: &[Attempt]) -> String {
    let each: Vec<_> = tried.iter().map(|attempt| format!("{}: {}", attempt.address, attempt.why)).collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use adit_core::config::ProxySettings;
    use adit_core::domain::id::ServerId;
    use adit_core::domain::time::Timestamp;
    use adit_net::identity::local_https::{LocalCertificate, LocalNames};
    use adit_net::identity::time::{HostClock, TimeSource};
    use adit_net::transport::tls::LocalTls;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::*;

    fn unreachable() -> EnrolError {
        EnrolError::Unreachable { tried: Vec::new() }
    }

    fn not_now(retry_after: Option<Duration>) -> EnrolError {
        let address = "127.0.0.1:1".parse().unwrap();
        EnrolError::NotNow { address, answer: String::new(), retry_after }
    }

    /// Runs through `failures`, then succeeds; returns the outcome and when each attempt began.
    async fn run(failures: Vec<EnrolError>) -> (Result<(), EnrolError>, Vec<Duration>) {
        let (start, mut began) = (Instant::now(), Vec::new());
        let mut failures = failures.into_iter();
        let ended = patiently(
            async || {
                began.push(start.elapsed());
                failures.next().map_or(Ok(()), Err)
            },
            || 0.0,
            &watch::Sender::new(None),
        )
        .await;
        (ended, began)
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_is_away_is_tried_again_ever_later() {
        let (ended, began) = run((0..7).map(|_| unreachable()).collect()).await;
        ended.unwrap();
        assert_eq!(began, [0, 1, 3, 7, 15, 31, 61, 91].map(Duration::from_secs));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_a_time_waits_that_long_within_reason() {
        let day = Duration::from_hours(24);
        let (ended, began) =
            run(vec![not_now(Some(Duration::from_secs(40))), not_now(Some(day)), not_now(None)]).await;
        ended.unwrap();
        assert_eq!(began, [0, 40, 640, 641].map(Duration::from_secs));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_told_is_not_made_longer_by_what_failed_before() {
        let away = (0..6).map(|_| unreachable());
        let told = (0..3).map(|_| not_now(Some(Duration::from_secs(2))));
        let (ended, began) = run(away.chain(told).collect()).await;
        ended.unwrap();
        assert_eq!(began[7..], [63, 65, 67].map(Duration::from_secs));
    }

    #[test]
    fn agents_told_the_same_wait_come_back_apart_but_never_too_soon() {
        let told = Duration::from_secs(8);
        let waits: std::collections::BTreeSet<_> =
            (0..40_u32).map(|agent| as_told(told, f64::from(agent) / 40.0)).collect();
        assert_eq!(waits.len(), 40);
        assert!(waits.iter().all(|wait| *wait >= told && *wait <= told * 5 / 4), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_repetition_changes_ends_the_wait() {
        let address: HostPort = "127.0.0.1:1".parse().unwrap();
        let refused = EnrolError::Refused { address, answer: String::new() };
        for error in [refused, EnrolError::NoConnector] {
            let (ended, began) = run(vec![unreachable(), error]).await;
            assert!(ended.is_err());
            assert_eq!(began.len(), 2);
        }
    }

    /// Stand-in for a proxy that breaks TLS open: shows a certificate of its own to whoever asks it to connect
    /// somewhere, and notes what came in clear: its requests, and what is behind them inside TLS.
    async fn inspecting_proxy(tasks: &mut JoinSet<()>) -> (SocketAddr, tokio::sync::mpsc::Receiver<Vec<u8>>) {
        let certificate = LocalCertificate::generate(&LocalNames::default(), HostClock.now()).unwrap();
        let tls = LocalTls::new(&certificate).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (note, noted) = tokio::sync::mpsc::channel(16);
        tasks.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                note.send(head).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let Ok(mut stream) = tls.accept(client).await else { continue };
                let mut inside = Vec::new();
                let _ = stream.read_to_end(&mut inside).await;
                note.send(inside).await.unwrap();
            }
        });
        (at, noted)
    }

    #[tokio::test]
    async fn enrolment_sends_no_token_to_who_breaks_tls_open_and_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let connector = Connector {
            addresses: vec!["gateway.example.org:443".parse().unwrap()],
            trust_domain: "example.org".parse().unwrap(),
            key: KeyFingerprint::from_bytes([7; 32]),
            server: ServerId::from_random([7; 16]),
            token: Some(RegistrationToken::from_bytes([7; 32])),
        };
        let file = folder.path().join("connector.toml");
        std::fs::write(&file, connector.render("Lakeside", Timestamp::from_millis(0)).as_bytes()).unwrap();
        let state = AgentState::open(&folder.path().join("state")).unwrap();
        let mut tasks = JoinSet::new();
        let (proxy, mut noted) = inspecting_proxy(&mut tasks).await;
        let settings =
            ProxySettings { proxy: Some(format!("http://{proxy}").parse().unwrap()), no_proxy: None };
        let proxies = Proxies::new(&settings, |_| None);

        let error = identify(&state, Some(&file), &proxies).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("shows a certificate of CN=adit admin session; nothing was sent to it"),
            "{text}"
        );
        assert!(
            text.contains("have the gateway's name exempted from TLS inspection, or enrol from another"),
            "{text}"
        );
        assert!(error.may_pass(), "an appliance is told to leave it alone while the agent waits");
        tasks.shutdown().await;
        while let Some(noted) = noted.recv().await {
            let head = String::from_utf8(noted).unwrap();
            assert!(head.is_empty() || head.starts_with("CONNECT gateway.example.org:443 "), "{head}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_nobody_stands_before_is_unreachable_as_ever() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = unused.local_addr().unwrap();
        drop(unused);
        assert!(TcpStream::connect(address).await.is_err());
        let connector = Connector {
            addresses: vec![address.into()],
            trust_domain: "example.org".parse().unwrap(),
            key: KeyFingerprint::from_bytes([7; 32]),
            server: ServerId::from_random([7; 16]),
            token: None,
        };
        let token = RegistrationToken::from_bytes([7; 32]);
        let error = ask_about_token(&connector, &Proxies::default(), &token, None).await.unwrap_err();
        assert!(matches!(error, EnrolError::Unreachable { .. }), "{error}");
    }
}
