//! TLS over TCP, for enrolment. Which certificates are good is `identity`'s business.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::identity::tls::{ENROL_ALPN, SERVER_NAME};

/// The gateway's side, whose certificate can be replaced between two connections.
#[derive(Debug)]
pub struct EnrolTls {
    config: ArcSwap<ServerConfig>,
}

impl EnrolTls {
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self { config: ArcSwap::from_pointee(config) }
    }

    pub fn replace(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    pub async fn accept(
        &self,
        tcp: TcpStream,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        tcp.set_nodelay(true)?;
        let stream = TlsAcceptor::from(self.config.load_full()).accept(tcp).await?;
        require_alpn(stream.get_ref().1.alpn_protocol())?;
        Ok(stream)
    }
}

/// The newcomer's side.
pub async fn connect_enrol(
    tcp: TcpStream,
    config: ClientConfig,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin> {
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER_NAME).expect("the constant server name is a DNS name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    require_alpn(stream.get_ref().1.alpn_protocol())?;
    Ok(stream)
}

/// Over TCP, TLS itself lets a peer pass that names no protocol at all.
fn require_alpn(chosen: Option<&[u8]>) -> io::Result<()> {
    if chosen == Some(ENROL_ALPN) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak adit-enrol/1"))
}
