//! Enrolment, the agent's side: from a connector file to an identity in the state folder.
//!
//! The key pair is made here and is on disk before the gateway is asked, and the token stays in its
//! file until the identity is on disk: killed at any step, the next start does it again with the
//! same key. The CA's key is checked inside the handshake, before the token is sent.

use std::fs::OpenOptions;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::info;
use zeroize::Zeroizing;

use super::state::{AgentState, Enrolment, StateError, token_mark};
use crate::config::connector::{Connector, without_token};
use crate::config::{ConfigProblems, HostPort};
use crate::domain::limits::{CONFIG_BYTES_MAX, ENROL_BODY_BYTES_MAX, ENROL_TIMEOUT};
use crate::domain::secret::RegistrationToken;
use crate::identity::error::IdentityError;
use crate::identity::key::KeyPair;
use crate::identity::name::PeerName;
use crate::identity::tls::{Identity, Trust, enrol_client_config, refusal};
use crate::protocol::enrol::{self, Granted, Refused};
use crate::store::regular;
use crate::transport::tls::connect_enrol;

/// Name resolution and TCP connect, for each address.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(
        "this agent is not enrolled; download a connector file for its server from the gateway and name it \
         as `connector` in the agent's file"
    )]
    NoConnector,
    #[error("cannot read the connector file `{path}`; it must exist and be readable by this user")]
    ReadConnector { path: PathBuf, source: io::Error },
    #[error("the connector file `{path}` cannot be used; download it again")]
    BadConnector { path: PathBuf, source: ConfigProblems },
    #[error("the token in the connector file `{path}` was erased when it was used; download the file again")]
    NoToken { path: PathBuf },
    #[error(
        "no gateway answers ({}); check the addresses in the connector file and that TCP is let out to them",
        listed(tried)
    )]
    Unreachable { tried: Vec<Attempt> },
    #[error("the gateway at {address} is not the one this connector file belongs to; nothing was sent to it")]
    NotTheGateway { address: HostPort, source: IdentityError },
    #[error("the gateway at {address} refused to enrol this agent: {answer}")]
    Refused { address: HostPort, answer: String },
    #[error("cannot sign the request for a certificate")]
    Signing { source: IdentityError },
    #[error(
        "the answer of the gateway at {address} makes no sense ({what}); compare the versions of agent and gateway"
    )]
    Nonsense { address: HostPort, what: String },
}

/// An address that did not lead to an answer, and why.
#[derive(Debug)]
pub struct Attempt {
    pub address: HostPort,
    pub why: String,
}

/// This agent's identity: the one in its state, or a new one by enrolment.
pub async fn identify(state: &AgentState, connector: Option<&Path>) -> Result<Enrolment, EnrolError> {
    if let Some(enrolment) = state.enrolment()? {
        // A crash may have come between keeping the identity and erasing the token.
        if let Some(path) = connector.filter(|path| holds_spent_token(path, &enrolment)) {
            erase_or_say(path);
        }
        return Ok(enrolment);
    }
    let path = connector.ok_or(EnrolError::NoConnector)?;
    let text = regular::read_text(path, CONFIG_BYTES_MAX)
        .map_err(|source| EnrolError::ReadConnector { path: path.into(), source })?;
    let connector =
        Connector::parse(&text).map_err(|source| EnrolError::BadConnector { path: path.into(), source })?;
    let token = connector.token.as_ref().ok_or_else(|| EnrolError::NoToken { path: path.into() })?;
    let enrolment = enrol(state, &connector, token).await?;
    erase_or_say(path);
    Ok(enrolment)
}

/// Enrols this agent and keeps its identity.
async fn enrol(
    state: &AgentState,
    connector: &Connector,
    token: &RegistrationToken,
) -> Result<Enrolment, EnrolError> {
    let key = state.key_pair()?;
    let csr = key.csr_der().map_err(|source| EnrolError::Signing { source })?;
    let request = enrol::Request {
        server: connector.server,
        token: Zeroizing::new(token.reveal_hex()),
        csr: hex::encode(csr),
    };
    let (address, granted) = ask_any(connector, &request).await?;
    let enrolment = accept(connector, &granted, key, token_mark(token))
        .map_err(|what| EnrolError::Nonsense { address, what })?;
    state.store_enrolment(&enrolment)?;
    info!(server = %enrolment.server, "enrolled");
    Ok(enrolment)
}

/// The first address that gives a final answer decides, good or bad.
async fn ask_any(connector: &Connector, request: &enrol::Request) -> Result<(HostPort, Granted), EnrolError> {
    let mut tried = Vec::new();
    let mut not_the_gateway = None;
    for address in &connector.addresses {
        match timeout(DIAL_TIMEOUT + ENROL_TIMEOUT, ask(address, connector, request)).await {
            Ok(Ok(granted)) => return Ok((address.clone(), granted)),
            Ok(Err(Failure::Final(error))) => return Err(error),
            // Another address may still be right.
            Ok(Err(Failure::NotTheGateway(source))) => {
                not_the_gateway = Some(EnrolError::NotTheGateway { address: address.clone(), source });
            }
            Ok(Err(Failure::Unreachable(why))) => tried.push(Attempt { address: address.clone(), why }),
            Err(_) => tried.push(Attempt { address: address.clone(), why: "no answer in time".into() }),
        }
    }
    Err(not_the_gateway.unwrap_or(EnrolError::Unreachable { tried }))
}

enum Failure {
    Unreachable(String),
    NotTheGateway(IdentityError),
    Final(EnrolError),
}

async fn ask(
    address: &HostPort,
    connector: &Connector,
    request: &enrol::Request,
) -> Result<Granted, Failure> {
    let nonsense = |what: String| Failure::Final(EnrolError::Nonsense { address: address.clone(), what });
    let body = serde_json::to_vec(request).expect("our own request is plain JSON").into();
    let tls =
        enrol_client_config(connector.key, connector.trust_domain.clone()).map_err(Failure::NotTheGateway)?;
    let tcp = dial(address).await.map_err(|error| Failure::Unreachable(error.to_string()))?;
    let stream = connect_enrol(tcp, tls).await.map_err(|error| match refusal(&error) {
        Some(refusal) => Failure::NotTheGateway(refusal),
        None => Failure::Unreachable(format!("TLS: {error}")),
    })?;
    let broke_off = |error: hyper::Error| Failure::Unreachable(format!("the exchange broke off: {error}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
    let exchange = async {
        let response = sender.send_request(post(address, body)).await.map_err(broke_off)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ENROL_BODY_BYTES_MAX).collect().await;
        Ok::<_, Failure>((status, body.map_err(|error| nonsense(error.to_string()))?.to_bytes()))
    };
    // The connection may end in the very moment in which the answer is whole.
    let mut exchange = pin!(exchange);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        _ = connection => exchange.await?,
    };
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| nonsense(error.to_string()));
    }
    let Refused { error } =
        serde_json::from_slice(&body).map_err(|_| nonsense(format!("status {status}")))?;
    Err(Failure::Final(EnrolError::Refused { address: address.clone(), answer: one_line(&error) }))
}

fn post(address: &HostPort, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(enrol::PATH)
        .header(hyper::header::HOST, address.to_string())
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("a host and port as parsed are a header value")
}

async fn dial(address: &HostPort) -> io::Result<TcpStream> {
    let dialling = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in lookup_host((address.host(), address.port())).await? {
            match TcpStream::connect(candidate).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    timeout(DIAL_TIMEOUT, dialling).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
        return Err(format!("its trust domain is `{}`", one_line(&granted.trust_domain)));
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

fn erase_or_say(path: &Path) {
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

fn listed(tried: &[Attempt]) -> String {
    let each: Vec<_> = tried.iter().map(|attempt| format!("{}: {}", attempt.address, attempt.why)).collect();
    each.join("; ")
}

/// What others wrote, made fit for one line of a log.
fn one_line(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(300).collect()
}
