//! The outer TLS of a carrier: with the gateway's name and the protocol that every appliance knows, and with
//! whoever answers.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use adit_core::config::HostPort;
use adit_core::protocol::carrier::ALPN;

use crate::identity::outer::{self, GatewayKey, OuterTls};
use crate::identity::tls::SERVER_NAME;

/// Does the agent's side; says who answered.
pub(super) async fn connect(
    tcp: TcpStream,
    at: &HostPort,
    gateway: &GatewayKey,
) -> io::Result<(TlsStream<TcpStream>, OuterTls)> {
    tcp.set_nodelay(true)?;
    let (config, seen) = outer::client_config(gateway, ALPN).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server_name(at), tcp).await?;
    let unseen = || io::Error::new(io::ErrorKind::InvalidData, "the other end showed no certificate");
    Ok((stream, seen.take().ok_or_else(unseen)?))
}

/// Looks who answers for the gateway, and hangs up.
pub async fn look(tcp: TcpStream, at: &HostPort, gateway: &GatewayKey) -> io::Result<OuterTls> {
    connect(tcp, at, gateway).await.map(|(_, outer)| outer)
}

/// Returns the name to send as SNI, by which an appliance knows what it is told to leave alone. An address is
/// none and is not sent.
pub(crate) fn server_name(at: &HostPort) -> ServerName<'static> {
    ServerName::try_from(at.host().to_owned()).unwrap_or_else(|_| {
        ServerName::try_from(SERVER_NAME).expect("the constant server name is a DNS name")
    })
}
