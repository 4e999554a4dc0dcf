//! Dials the gateway at whichever of its addresses answers.
//!
//! One handshake for all, after RFC 8305: its packets go to the first address, 250 ms later to the second
//! too, and so on; who answers first has it. A silent address costs what QUIC takes to send again.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::debug;

use super::endpoint::{AgentEndpoint, Connection, TransportError};
use super::happy_eyeballs::{ATTEMPT_DELAY, families_in_turn};
use super::socket::AgentSocket;
use adit_core::domain::id::RouteId;
use adit_core::protocol::route::canonical;
use adit_core::protocol::text::listed;

/// An address that did not lead to a connection, and why.
pub type Failed = (SocketAddr, TransportError);

/// Dials; returns a control connection and where the gateway is, or how each address failed: an answer that
/// is none of the gateway's does not keep the others from being tried.
pub async fn dial(
    endpoint: &AgentEndpoint,
    socket: &AgentSocket,
    gateway: RouteId,
    addresses: impl IntoIterator<Item = SocketAddr>,
    limit: Duration,
) -> Result<(Connection, SocketAddr), Vec<Failed>> {
    let mut left = families_in_turn(addresses.into_iter().map(canonical));
    let mut failed = Vec::new();
    while let Some((first, others)) = left.split_first() {
        let first = *first;
        let outcome = shake_hands(endpoint, socket, gateway, (first, others), limit).await;
        let answered = socket.address_of(gateway);
        match &outcome {
            Ok(_) => debug!(address = %answered.unwrap_or(first), "the gateway answered"),
            Err(error) => {
                let answered = answered.map(tracing::field::display);
                debug!(answered, addresses = %listed(&left), %error, "the gateway could not be dialled");
            }
        }
        match (outcome, answered) {
            (Ok(connection), answered) => return Ok((connection, answered.unwrap_or(first))),
            (Err(error), Some(answered)) => {
                left.retain(|address| *address != answered);
                failed.push((answered, error));
            }
            (Err(TransportError::Timeout { after }), None) => {
                let silent = |address| (address, TransportError::Timeout { after });
                failed.extend(left.drain(..).map(silent));
            }
            (Err(error), None) => {
                failed.push((first, error));
                return Err(failed);
            }
        }
    }
    Err(failed)
}

async fn shake_hands(
    endpoint: &AgentEndpoint,
    socket: &AgentSocket,
    gateway: RouteId,
    (first, others): (SocketAddr, &[SocketAddr]),
    limit: Duration,
) -> Result<Connection, TransportError> {
    debug!(address = %first, ?limit, "the gateway is dialled");
    socket.set_candidates(gateway, &[first]);
    let mut connecting = pin!(endpoint.connect_control(gateway));
    for address in others {
        tokio::select! {
            connected = &mut connecting => return connected,
            () = sleep(ATTEMPT_DELAY) => {
                debug!(%address, "no answer yet, so the gateway is dialled here too");
                socket.add_candidate(gateway, *address);
            }
        }
    }
    let connected = timeout(limit, connecting).await;
    connected.unwrap_or(Err(TransportError::Timeout { after: limit }))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::key::KeyPair;
    use crate::identity::tls::Identity;
    use crate::transport::endpoint::GatewayEndpoint;
    use crate::transport::pair::{End, NOW, soon};
    use crate::transport::relay::RelayThread;
    use adit_core::domain::id::BootId;
    use adit_core::protocol::relay::Relay;

    const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");

    fn authority() -> CertificateAuthority {
        CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap()
    }

    struct Gateway {
        address: SocketAddr,
        endpoint: GatewayEndpoint,
        #[expect(dead_code, reason = "it ends when this is dropped")]
        relay: RelayThread,
    }

    impl Gateway {
        fn start(ca: &CertificateAuthority) -> Self {
            let key = Arc::new(KeyPair::generate().unwrap());
            let identity = Identity::new(&ca.sign_gateway(&key, NOW).unwrap(), key).unwrap();
            let relay = Relay::new(GATEWAY, BootId::from_bytes([1; 8]), [7; 32], Instant::now());
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let (relay, socket) = RelayThread::start(udp, relay).unwrap();
            let address = socket.bound().unwrap();
            let reset_key = ca.key().derive(b"stateless reset");
            let endpoint = GatewayEndpoint::new(socket, GATEWAY, &reset_key, &identity, ca.trust()).unwrap();
            Self { address, endpoint, relay }
        }

        async fn serve(&self) {
            let mut served = Vec::new();
            loop {
                let incoming = self.endpoint.accept().await.expect("it is open");
                served.push(incoming.accept().await);
            }
        }
    }

    /// Takes packets and answers none.
    fn silent() -> (UdpSocket, SocketAddr) {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        (udp, address)
    }

    #[tokio::test]
    async fn only_the_address_that_answers_among_silent_ones_stays_the_gateways() {
        let ca = Arc::new(authority());
        let gateway = Gateway::start(&ca);
        let (silents, agent) = ([silent(), silent()], End::new(&ca, 1));
        let addresses = [silents[0].1, silents[1].1, gateway.address];
        let dialled = tokio::select! {
            dialled = soon(dial(&agent.endpoint, &agent.socket, GATEWAY, addresses, Duration::from_secs(5))) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
        };
        let (connection, address) = dialled.expect("no attempt is lost on a silent address");
        assert_eq!(address, gateway.address);
        assert!(!connection.is_closed());
        assert_eq!(agent.socket.address_of(GATEWAY), Some(gateway.address));
    }

    #[tokio::test]
    async fn the_answer_of_another_gateway_does_not_hide_the_right_one() {
        let (ca, other) = (Arc::new(authority()), authority());
        let (gateway, wrong, agent) = (Gateway::start(&ca), Gateway::start(&other), End::new(&ca, 1));
        let addresses = [wrong.address, gateway.address];
        let dialled = tokio::select! {
            dialled = soon(dial(&agent.endpoint, &agent.socket, GATEWAY, addresses, Duration::from_secs(5))) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
            () = wrong.serve() => unreachable!("it serves for ever"),
        };
        assert_eq!(dialled.expect("the second is right").1, gateway.address);
    }

    #[tokio::test]
    async fn every_silent_address_is_named() {
        let ca = Arc::new(authority());
        let (silents, agent) = ([silent(), silent()], End::new(&ca, 1));
        let addresses = [silents[0].1, silents[1].1];
        let failed = soon(dial(&agent.endpoint, &agent.socket, GATEWAY, addresses, Duration::from_secs(5)))
            .await
            .unwrap_err();
        assert_eq!(failed.iter().map(|(address, _)| *address).collect::<Vec<_>>(), addresses);
        assert!(failed.iter().all(|(_, error)| error.is_silence()));
    }
}
