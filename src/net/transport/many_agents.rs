//! One UDP socket from which many agents dial the gateway, each with a leaf of its own: for tools that put a
//! gateway under load. Control links alone; an agent has a socket of its own that knows routes, see `endpoint`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, TokioRuntime};

use super::endpoint::{self, Connection, Credentials, TransportError};
use super::handshake::finish;
use crate::identity::name::PeerName;
use crate::identity::random;
use crate::identity::tls::{Dates, SERVER_NAME};
use adit_core::domain::id::RouteId;
use adit_core::protocol::control;

/// The socket of many agents.
#[derive(Debug)]
pub struct ManyAgents {
    endpoint: quinn::Endpoint,
}

impl ManyAgents {
    /// Binds any free port of `address`.
    pub fn bind(address: IpAddr) -> Result<Self, TransportError> {
        let failed = |source| TransportError::Endpoint { source };
        let socket = UdpSocket::bind(SocketAddr::new(address, 0)).map_err(failed)?;
        let route = RouteId::from_bytes(random::bytes());
        let config = endpoint::endpoint_config(route, EndpointConfig::default());
        let endpoint = quinn::Endpoint::new(config, None, socket, Arc::new(TokioRuntime)).map_err(failed)?;
        Ok(Self { endpoint })
    }

    /// Returns where packets of its agents come from.
    pub fn address(&self) -> Result<SocketAddr, TransportError> {
        self.endpoint.local_addr().map_err(|source| TransportError::Endpoint { source })
    }

    /// Dials the gateway of `route` at `address` as the agent that `credentials` name.
    pub async fn connect_control(
        &self,
        credentials: &Credentials,
        route: RouteId,
        address: SocketAddr,
    ) -> Result<Connection, TransportError> {
        let config = endpoint::client_config(
            credentials,
            route,
            PeerName::Gateway,
            Dates::Ignore,
            &[control::ALPN],
            endpoint::control_transport(),
        )?;
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|source| TransportError::Connect { source })?;
        finish(connecting).await
    }

    /// Tells the gateway that all its agents go, and waits until it heard or the time is over.
    pub async fn close(&self, limit: Duration) {
        endpoint::close(&self.endpoint, limit).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::key::KeyPair;
    use crate::identity::tls::Identity;
    use crate::transport::endpoint::GatewayEndpoint;
    use crate::transport::pair::{End, NOW, soon};
    use crate::transport::relay::RelayThread;
    use adit_core::domain::id::{BootId, ServerId};
    use adit_core::protocol::relay::Relay;
    use std::time::Instant;

    const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");

    #[tokio::test]
    async fn agents_of_one_socket_are_told_apart_by_their_leaves() {
        let ca = CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap();
        let key = Arc::new(KeyPair::generate().unwrap());
        let identity = Identity::new(&ca.sign_gateway(&key, NOW).unwrap(), key).unwrap();
        let relay = Relay::new(GATEWAY, BootId::from_bytes([1; 8]), [7; 32], Instant::now());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (_relay, socket) = RelayThread::start(udp, relay).unwrap();
        let address = socket.bound().unwrap();
        let reset_key = ca.key().derive(b"stateless reset");
        let gateway = GatewayEndpoint::new(socket, GATEWAY, &reset_key, &identity, ca.trust()).unwrap();

        let agents = ManyAgents::bind("127.0.0.1".parse().unwrap()).unwrap();
        for number in [1, 2] {
            let end = End::new(&ca, number);
            let credentials = end.endpoint.credentials();
            let dialled = agents.connect_control(&credentials, GATEWAY, address);
            let accepted = async { gateway.accept().await.unwrap().accept().await };
            let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
            let peer = accepted.unwrap().peer(ca.trust()).unwrap();
            assert_eq!(peer.server(), Some(ServerId::from_bytes([number; 16])));
            dialled.unwrap();
        }
    }
}
