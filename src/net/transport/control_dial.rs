//! Dials the gateway at whichever of its addresses answers, or over its carrier.
//!
//! One handshake for all, after RFC 8305: its packets go to the first address, 250 ms later to the second
//! too, and so on; who answers first has it. A silent address costs what QUIC takes to send again. A carrier
//! that opens meanwhile joins them; the handshake then begins anew, so that nothing waits for QUIC's timer.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::destination::Destination;
use super::endpoint::{AgentEndpoint, Connection, TransportError};
use super::happy_eyeballs::{ATTEMPT_DELAY, families_in_turn};
use super::routes::OpenCarriers;
use super::socket::AgentSocket;
use adit_core::domain::id::{RelayId, RouteId};
use adit_core::protocol::route::canonical;
use adit_core::protocol::text::listed;

/// What did not lead to a connection, and why.
pub type Failed = (Destination, TransportError);

/// Where a gateway may be dialled.
#[derive(Debug, Clone)]
pub struct GatewayPlace {
    pub route: RouteId,
    pub addresses: Vec<SocketAddr>,
    /// The relays to which a carrier is open: the gateway may be one of them.
    pub carriers: watch::Receiver<OpenCarriers>,
}

/// Dials; returns a control connection and where the gateway is, or how each way failed: an answer that is
/// none of the gateway's does not keep the others from being tried. `limit` is for each handshake.
pub async fn dial(
    endpoint: &AgentEndpoint,
    socket: &AgentSocket,
    gateway: GatewayPlace,
    limit: Duration,
) -> Result<(Connection, Destination), Vec<Failed>> {
    let GatewayPlace { route, addresses, carriers } = gateway;
    let addresses = families_in_turn(addresses.into_iter().map(canonical));
    let left = addresses.into_iter().map(Destination::Udp).collect();
    let mut dial =
        Dial { endpoint, socket, route, limit, left, carriers, has_begun: false, has_joined: false };
    let mut failed = Vec::new();
    loop {
        dial.join_carrier();
        if dial.left.is_empty() && (!failed.is_empty() || !dial.carrier_opens().await) {
            return Err(failed);
        }
        let outcome = match dial.shake_hands().await {
            Handshake::Ended(outcome) => outcome,
            Handshake::Joined => continue,
        };
        let (left, answered) = (&mut dial.left, socket.destination_of(route));
        let first = left.first().copied();
        if let Err(error) = &outcome {
            let (answered, left) = (answered.map(tracing::field::display), listed(&*left));
            debug!(answered, %left, %error, "the gateway could not be dialled");
        }
        match (outcome, answered.or(first)) {
            (Ok(connection), Some(place)) => {
                debug!(address = %place, "the gateway answered");
                return Ok((connection, place));
            }
            (Err(TransportError::Timeout { after }), _) if answered.is_none() => {
                let silent = |place| (place, TransportError::Timeout { after });
                failed.extend(left.drain(..).map(silent));
                return Err(failed);
            }
            (Err(error), Some(place)) => {
                failed.push((place, error));
                if answered.is_none() {
                    return Err(failed);
                }
                left.retain(|other| *other != place);
            }
            // Without a place nothing is dialled.
            (Ok(_) | Err(_), None) => return Err(failed),
        }
    }
}

/// A dial under way.
struct Dial<'a> {
    endpoint: &'a AgentEndpoint,
    socket: &'a AgentSocket,
    route: RouteId,
    limit: Duration,
    /// What has not failed, in the order in which it is tried.
    left: Vec<Destination>,
    carriers: watch::Receiver<OpenCarriers>,
    has_begun: bool,
    /// The carrier is among them, or was.
    has_joined: bool,
}

/// How a handshake came to its end.
enum Handshake {
    Ended(Result<Connection, TransportError>),
    /// A carrier has opened before anybody answered.
    Joined,
}

impl Dial<'_> {
    /// Tries the carrier too, once, if it is open: behind the first address, unless that was silent already.
    fn join_carrier(&mut self) {
        let relay = RelayId(self.route);
        if !self.has_joined && self.carriers.borrow_and_update().contains(relay) {
            self.has_joined = true;
            let place = if self.has_begun { 0 } else { self.left.len().min(1) };
            self.left.insert(place, Destination::Carrier(relay));
        }
    }

    /// Waits for the carrier where there is nothing else; returns whether it has joined.
    async fn carrier_opens(&mut self) -> bool {
        debug!(limit = ?self.limit, "the gateway has no address that is known here; its carrier is waited for");
        let opened = timeout(self.limit, opens(&mut self.carriers, RelayId(self.route))).await;
        self.join_carrier();
        opened.is_ok() && !self.left.is_empty()
    }

    async fn shake_hands(&mut self) -> Handshake {
        self.has_begun = true;
        let Self { endpoint, socket, route, limit, ref left, ref mut carriers, .. } = *self;
        let Some((first, others)) = left.split_first() else { return Handshake::Joined };
        debug!(address = %first, ?limit, "the gateway is dialled");
        socket.set_candidates(route, &[*first]);
        let connected = async {
            let mut connecting = pin!(endpoint.connect_control(route));
            for place in others {
                tokio::select! {
                    connected = &mut connecting => return connected,
                    () = sleep(ATTEMPT_DELAY) => {
                        debug!(address = %place, "no answer yet, so the gateway is dialled here too");
                        socket.add_candidate(route, *place);
                    }
                }
            }
            let connected = timeout(limit, connecting).await;
            connected.unwrap_or(Err(TransportError::Timeout { after: limit }))
        };
        let mut connected = pin!(connected);
        if !self.has_joined {
            tokio::select! {
                biased;
                connected = &mut connected => return Handshake::Ended(connected),
                () = opens(carriers, RelayId(route)) => {}
            }
            if socket.destination_of(route).is_none() {
                debug!(
                    "the gateway's carrier has opened before an address answered, so it is dialled there too"
                );
                return Handshake::Joined;
            }
        }
        Handshake::Ended(connected.await)
    }
}

/// Waits until the carrier of `relay` is open; for ever where nobody opens any.
async fn opens(carriers: &mut watch::Receiver<OpenCarriers>, relay: RelayId) {
    if carriers.wait_for(|open| open.contains(relay)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::task::JoinSet;

    use super::*;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::key::KeyPair;
    use crate::identity::tls::Identity;
    use crate::transport::endpoint::GatewayEndpoint;
    use crate::transport::pair::{End, NOW, carry, soon};
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

    /// Returns where the gateway may be, without a carrier.
    fn place(addresses: &[SocketAddr]) -> GatewayPlace {
        let carriers = watch::Sender::new(OpenCarriers::default()).subscribe();
        GatewayPlace { route: GATEWAY, addresses: addresses.to_vec(), carriers }
    }

    fn open_carrier() -> watch::Receiver<OpenCarriers> {
        let mut open = OpenCarriers::default();
        open.set(RelayId(GATEWAY), true);
        watch::Sender::new(open).subscribe()
    }

    async fn dialled(agent: &End, place: GatewayPlace) -> Result<(Connection, Destination), Vec<Failed>> {
        soon(dial(&agent.endpoint, &agent.socket, place, Duration::from_secs(5))).await
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
        let place = place(&[silents[0].1, silents[1].1, gateway.address]);
        let dialled = tokio::select! {
            dialled = dialled(&agent, place) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
        };
        let (connection, address) = dialled.expect("no attempt is lost on a silent address");
        assert_eq!(address, gateway.address.into());
        assert!(!connection.is_closed());
        assert_eq!(agent.socket.destination_of(GATEWAY), Some(gateway.address.into()));
    }

    #[tokio::test]
    async fn the_answer_of_another_gateway_does_not_hide_the_right_one() {
        let (ca, other) = (Arc::new(authority()), authority());
        let (gateway, wrong, agent) = (Gateway::start(&ca), Gateway::start(&other), End::new(&ca, 1));
        let place = place(&[wrong.address, gateway.address]);
        let dialled = tokio::select! {
            dialled = dialled(&agent, place) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
            () = wrong.serve() => unreachable!("it serves for ever"),
        };
        assert_eq!(dialled.expect("the second is right").1, gateway.address.into());
    }

    #[tokio::test]
    async fn every_silent_address_is_named() {
        let ca = Arc::new(authority());
        let (silents, agent) = ([silent(), silent()], End::new(&ca, 1));
        let addresses = [silents[0].1, silents[1].1];
        let failed = dialled(&agent, place(&addresses)).await.unwrap_err();
        let expected = addresses.map(Destination::Udp);
        assert_eq!(failed.iter().map(|(place, _)| *place).collect::<Vec<_>>(), expected);
        assert!(failed.iter().all(|(_, error)| error.is_silence()));
    }

    #[tokio::test]
    async fn a_carrier_that_opens_while_every_address_is_silent_has_the_handshake() {
        let ca = Arc::new(authority());
        let (gateway, silent) = (Gateway::start(&ca), silent());
        silent.0.set_nonblocking(true).unwrap();
        let (agent, carrier) = End::with_carrier(&ca, 1, RelayId(GATEWAY));
        let open = watch::Sender::new(OpenCarriers::default());
        let place = GatewayPlace { carriers: open.subscribe(), ..place(&[silent.1]) };
        let mut tasks = JoinSet::new();
        let opening = async {
            // The agent has dialled before there is a carrier.
            let silent = tokio::net::UdpSocket::from_std(silent.0).unwrap();
            silent.readable().await.unwrap();
            carry(carrier, gateway.address, &mut tasks);
            open.send_modify(|open| open.set(RelayId(GATEWAY), true));
            std::future::pending::<()>().await;
        };
        let dialled = tokio::select! {
            dialled = dialled(&agent, place) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
            () = opening => unreachable!("it opens one"),
        };
        let (connection, place) = dialled.expect("the carrier leads there");
        assert_eq!(place, Destination::Carrier(RelayId(GATEWAY)));
        assert!(!connection.is_closed());
        assert_eq!(agent.socket.destination_of(GATEWAY), Some(place));
    }

    #[tokio::test]
    async fn a_gateway_without_a_known_address_is_dialled_over_its_carrier() {
        let ca = Arc::new(authority());
        let gateway = Gateway::start(&ca);
        let (agent, carrier) = End::with_carrier(&ca, 1, RelayId(GATEWAY));
        let mut tasks = JoinSet::new();
        carry(carrier, gateway.address, &mut tasks);
        let carriers = open_carrier();
        let dialled = tokio::select! {
            dialled = dialled(&agent, GatewayPlace { carriers, ..place(&[]) }) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
        };
        assert_eq!(dialled.expect("the carrier leads there").1, Destination::Carrier(RelayId(GATEWAY)));
    }

    #[tokio::test]
    async fn an_address_that_answers_has_the_handshake_though_a_carrier_is_open() {
        let ca = Arc::new(authority());
        let gateway = Gateway::start(&ca);
        let (agent, carrier) = End::with_carrier(&ca, 1, RelayId(GATEWAY));
        // It takes what comes, and nothing comes back.
        carrier.set_open(true);
        let carriers = open_carrier();
        let dialled = tokio::select! {
            dialled = dialled(&agent, GatewayPlace { carriers, ..place(&[gateway.address]) }) => dialled,
            () = gateway.serve() => unreachable!("it serves for ever"),
        };
        assert_eq!(dialled.expect("it answers").1, gateway.address.into());
    }
}
