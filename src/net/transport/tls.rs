//! TLS over TCP, at the gateway's front door and at both ends of admin sessions. Which certificates are good is
//! `identity`'s business.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::pki_types::ServerName;
use rustls::server::{Acceptor, ClientHello};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, TlsStream};
use tracing::debug;

use crate::identity::acme_challenge;
use crate::identity::error::IdentityError;
use crate::identity::local_https::LocalCertificate;
use crate::identity::mirth_key;
use crate::identity::tls::ENROL_ALPN;
use crate::transport::carrier::outer_tls;
use adit_core::config::HostPort;
use adit_core::domain::id::KeyFingerprint;
use adit_core::protocol::carrier;

/// The gateway's side, whose certificates can be replaced between two connections. What a client wants to speak
/// decides how it is let in (RFC 7301), and then whom it asks for (RFC 6066 §3).
///
/// Agents ask for enrolment, or speak HTTP/1.1 and say that they speak nothing else; both see the gateway's own leaf,
/// unless they ask for the console's name, which none of theirs is.
#[derive(Debug)]
pub struct FrontDoorTls {
    configs: ArcSwap<FrontDoorConfigs>,
    console: ArcSwapOption<ConsoleTls>,
    /// What an ACME authority is to find, while one looks.
    challenge: ArcSwapOption<ConsoleTls>,
}

/// What those see who ask for a name: the console's certificate, or a challenge for one.
#[derive(Debug)]
pub struct ConsoleTls {
    pub host: String,
    pub config: Arc<ServerConfig>,
}

/// How clients are let in.
#[derive(Debug)]
pub struct FrontDoorConfigs {
    /// Those who ask for enrolment.
    pub enrolment: Arc<ServerConfig>,
    /// Agents that open a carrier; what matters of it is secured inside.
    pub carriers: Arc<ServerConfig>,
    /// All others, who may know the CA and want to see the gateway's name.
    pub people: Arc<ServerConfig>,
}

/// What a client of the front door speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Enrolment,
    /// HTTP, under a certificate of the gateway's CA.
    Http,
    /// HTTP, under one that browsers trust.
    Console,
    /// Nothing: an ACME authority has seen what it came for (RFC 8737 §3).
    Challenge,
}

impl Spoken {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrolment => "enrolment",
            Self::Http => "http",
            Self::Console => "console",
            Self::Challenge => "challenge",
        }
    }
}

/// A client's connection, secured.
pub type FrontDoorStream = tokio_rustls::server::TlsStream<TcpStream>;

impl FrontDoorTls {
    #[must_use]
    pub fn new(configs: FrontDoorConfigs) -> Self {
        let (console, challenge) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { configs: ArcSwap::from_pointee(configs), console, challenge }
    }

    pub fn replace(&self, configs: FrontDoorConfigs) {
        self.configs.store(Arc::new(configs));
    }

    pub fn show_to_browsers(&self, console: ConsoleTls) {
        self.console.store(Some(Arc::new(console)));
    }

    /// Shows an ACME authority what it is to find, until what is returned is dropped.
    #[must_use]
    pub fn show_challenge(self: &Arc<Self>, challenge: ConsoleTls) -> ShownChallenge {
        self.challenge.store(Some(Arc::new(challenge)));
        ShownChallenge(Arc::clone(self))
    }

    pub async fn accept(&self, tcp: TcpStream) -> io::Result<(Spoken, FrontDoorStream)> {
        tcp.set_nodelay(true)?;
        let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
        let (spoken, config) = self.choose(&start.client_hello());
        debug!(spoken = spoken.as_str(), "a client says hello");
        let stream = start.into_stream(config).await?;
        if spoken == Spoken::Enrolment {
            require_alpn(stream.get_ref().1.alpn_protocol())?;
        }
        Ok((spoken, stream))
    }

    fn choose(&self, hello: &ClientHello<'_>) -> (Spoken, Arc<ServerConfig>) {
        let configs = self.configs.load();
        let alpn: Vec<_> = hello.alpn().into_iter().flatten().collect();
        let name = hello.server_name();
        debug!(server_name = name, protocols = alpn.len(), "a client says whom it wants");
        if alpn.contains(&ENROL_ALPN) {
            return (Spoken::Enrolment, Arc::clone(&configs.enrolment));
        }
        let console = self.console.load();
        let is_asked =
            |console: &&Arc<ConsoleTls>| name.is_some_and(|it| it.eq_ignore_ascii_case(&console.host));
        let challenge = self.challenge.load();
        // Where there is no challenge, no server here speaks that protocol, and TLS says so.
        if let Some(challenge) =
            challenge.as_ref().filter(is_asked).filter(|_| alpn == [acme_challenge::ALPN])
        {
            return (Spoken::Challenge, Arc::clone(&challenge.config));
        }
        if let Some(console) = console.as_ref().filter(is_asked) {
            return (Spoken::Console, Arc::clone(&console.config));
        }
        let may_be_agent = alpn == [carrier::ALPN];
        let config = if may_be_agent { &configs.carriers } else { &configs.people };
        (Spoken::Http, Arc::clone(config))
    }
}

/// Ends the showing of a challenge when it is dropped.
#[derive(Debug)]
pub struct ShownChallenge(Arc<FrontDoorTls>);

impl Drop for ShownChallenge {
    fn drop(&mut self) {
        self.0.challenge.store(None);
    }
}

/// Does the newcomer's side. The gateway's name is sent along, by which an appliance knows what it is told to
/// leave alone.
pub async fn connect_enrol(
    tcp: TcpStream,
    at: &HostPort,
    config: ClientConfig,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    tcp.set_nodelay(true)?;
    let name = outer_tls::server_name(at);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    require_alpn(stream.get_ref().1.alpn_protocol())?;
    Ok(stream)
}

/// One end of an admin session: HTTPS with a client of this host, or with the local Mirth. The socket
/// is set up to be cut: dropped before its shutdown, it is reset.
#[derive(Debug)]
pub struct HttpsStream(TlsStream<TcpStream>);

impl HttpsStream {
    /// Ends in order: what was written arrives, and the other end sees that nothing is missing.
    pub async fn end(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

/// The side that people's clients connect to.
#[derive(Debug, Clone)]
pub struct LocalTls(Arc<ServerConfig>);

impl LocalTls {
    pub fn new(certificate: &LocalCertificate) -> Result<Self, IdentityError> {
        certificate.server_config().map(|config| Self(Arc::new(config)))
    }

    pub async fn accept(&self, tcp: TcpStream) -> io::Result<HttpsStream> {
        let accepted = TlsAcceptor::from(Arc::clone(&self.0)).accept(tcp).await?;
        Ok(HttpsStream(TlsStream::Server(accepted)))
    }
}

impl From<ServerConfig> for LocalTls {
    fn from(config: ServerConfig) -> Self {
        Self(Arc::new(config))
    }
}

/// The side that dials the local Mirth, whose certificate is known by its key.
#[derive(Debug, Clone)]
pub struct MirthTls(Arc<ClientConfig>);

impl MirthTls {
    /// Makes a connector; with no key trusted every handshake fails, and its error names the key shown.
    pub fn new(trusted: Option<KeyFingerprint>) -> Result<Self, IdentityError> {
        mirth_key::client_config(trusted).map(|config| Self(Arc::new(config)))
    }

    /// Connects; `host` is sent as SNI where it is a name, as Java does.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<HttpsStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connected = TlsConnector::from(Arc::clone(&self.0)).connect(name, tcp).await?;
        Ok(HttpsStream(TlsStream::Client(connected)))
    }
}

impl AsyncRead for HttpsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HttpsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // From here on closing is no cut.
        let _ = socket2::SockRef::from(self.0.get_ref().0).set_linger(None);
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Requires the protocol: over TCP, TLS itself lets a peer pass that names no protocol at all.
fn require_alpn(chosen: Option<&[u8]>) -> io::Result<()> {
    if chosen == Some(ENROL_ALPN) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak adit-enrol/1"))
}
