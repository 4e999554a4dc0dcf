//! Two ends in one process, over real loopback sockets, for the tests of this layer.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::carrier::queues::{self, CarrierEnd, SocketEnd};
use super::endpoint::{AgentEndpoint, Connection, Credentials, TransportError, TunnelSettings};
use super::opening::{self, Opening};
use super::port;
use super::socket::{AgentSocket, OwnPacket};
use super::tunnel::Tunnel;
use crate::identity::ca::CertificateAuthority;
use crate::identity::csr::VerifiedCsr;
use crate::identity::key::KeyPair;
use crate::identity::time::StoppedClock;
use crate::identity::tls::Identity;
use adit_core::config::agent::Congestion;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, RelayId, RouteId, ServerId};
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::carrier::{append, packets};
use adit_core::protocol::initial::TagKey;
use adit_core::protocol::open::{self, Open};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
/// Nothing on loopback takes longer, however busy the machine is.
const HANG_LIMIT: Duration = Duration::from_secs(30);

/// Waits for what must come.
pub(super) async fn soon<T>(coming: impl Future<Output = T>) -> T {
    timeout(HANG_LIMIT, coming).await.expect("it comes")
}

/// One agent as this layer knows it.
pub(super) struct End {
    pub server: ServerId,
    pub route: RouteId,
    pub socket: Arc<AgentSocket>,
    pub own_packets: Option<mpsc::Receiver<OwnPacket>>,
    pub endpoint: AgentEndpoint,
}

impl End {
    pub(super) fn new(ca: &CertificateAuthority, number: u8) -> Self {
        Self::with_ends(ca, number, BTreeMap::new())
    }

    /// Returns one that may use a carrier to `relay`, and that carrier's other end.
    pub(super) fn with_carrier(ca: &CertificateAuthority, number: u8, relay: RelayId) -> (Self, CarrierEnd) {
        let (socket, carrier) = queues::queues();
        (Self::with_ends(ca, number, BTreeMap::from([(relay, socket)])), carrier)
    }

    fn with_ends(ca: &CertificateAuthority, number: u8, carriers: BTreeMap<RelayId, SocketEnd>) -> Self {
        let server = ServerId::from_bytes([number; 16]);
        let route = RouteId::from_bytes([number; 8]);
        let key = Arc::new(KeyPair::generate().unwrap());
        let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
        let identity = Identity::new(&ca.sign_server(&csr, server, NOW).unwrap(), key).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (socket, own_packets) = AgentSocket::with_carriers(udp, route, carriers).unwrap();
        socket.gate().set_boot(boot(number));
        let credentials =
            Credentials { identity, trust: ca.trust().clone(), clock: Arc::new(StoppedClock(NOW)) };
        let settings = TunnelSettings { congestion: Congestion::Bbr };
        let endpoint = AgentEndpoint::new(Arc::clone(&socket), route, credentials, settings).unwrap();
        Self { server, route, socket, own_packets: Some(own_packets), endpoint }
    }

    /// Lets both meet, as if both had answered each other's probes: each knows the other's run and a secret
    /// of both.
    pub(super) fn meet(&self, other: &Self) {
        for (one, other) in [(self, other), (other, self)] {
            let [number, ..] = *other.route.as_bytes();
            let gate = one.socket.gate();
            gate.set_peer(other.route, vec![TagKey::of_connection(&Secret::from_bytes([4; 32]))]);
            gate.note_peer(other.route, Some(boot(number)), 0);
            one.socket.set_route(other.route, other.socket.bound().unwrap());
        }
    }
}

fn boot(number: u8) -> BootId {
    BootId::from_bytes([number; 8])
}

pub(super) struct Pair {
    pub source: End,
    pub target: End,
}

/// Both ends of a connection whose proofs were exchanged.
pub(super) struct Opened {
    pub source: (Connection, Opening),
    pub target: (Connection, Opening),
}

impl Pair {
    /// Returns two that know each other's way.
    pub(super) fn new() -> Self {
        let ca = CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap();
        let (source, target) = (End::new(&ca, 1), End::new(&ca, 2));
        source.meet(&target);
        Self { source, target }
    }

    /// Returns both connections after the handshake; nothing is proven.
    pub(super) async fn connected(&self) -> (Connection, Connection) {
        let dialled = self.source.endpoint.connect_tunnel(self.target.route, self.target.server);
        let accepted = async { self.target.endpoint.accept().await.unwrap().accept().await };
        let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
        (dialled.unwrap(), accepted.unwrap())
    }

    pub(super) async fn opened(&self, streams_max: u32) -> Opened {
        let (source, target) = self.connected().await;
        let open = open();
        let asking = async {
            let (_, opening) = opening::ask(&source, &open).await?;
            source.open_window(streams_max);
            Ok::<_, TransportError>(opening)
        };
        let answering = async {
            let asked = opening::receive(&target).await?;
            target.admit(streams_max);
            asked.answer(open.proof).await
        };
        let (asked, answered) = soon(async { tokio::join!(asking, answering) }).await;
        let (asked, answered) = (asked.unwrap(), answered.unwrap());
        Opened { source: (source, asked), target: (target, answered) }
    }

    /// Returns both ends of a tunnel, whose frames are exchanged by `tasks`.
    pub(super) async fn tunnel(
        &self,
        streams_max: u32,
        tasks: &mut JoinSet<()>,
    ) -> (Arc<Tunnel>, Arc<Tunnel>) {
        let opened = self.opened(streams_max).await;
        let [source, target] = [opened.source, opened.target].map(|(connection, opening)| {
            let tunnel = Tunnel::new(connection, streams_max);
            let running = Arc::clone(&tunnel);
            tasks.spawn(async move { drop(running.run(opening).await) });
            tunnel
        });
        (source, target)
    }
}

/// Opens a carrier that leads to `relay`: each packet of its messages goes there, from an address of the
/// carrier's own, and what comes back is a message each. It lasts as long as `tasks`.
pub(super) fn carry(carrier: CarrierEnd, relay: SocketAddr, tasks: &mut JoinSet<()>) {
    carrier.set_open(true);
    tasks.spawn(async move {
        let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 7_000];
        loop {
            tokio::select! {
                message = carrier.next() => {
                    for packet in packets(&message) {
                        udp.send_to(packet.unwrap(), relay).await.unwrap();
                    }
                }
                received = udp.recv(&mut buffer) => {
                    let mut message = BytesMut::new();
                    assert!(append(&mut message, &buffer[..received.unwrap()]));
                    carrier.deliver(message.freeze()).await;
                }
            }
        }
    });
}

/// Returns an opening message. Whether it proves anything is not this layer's business.
pub(super) fn open() -> Open {
    let connection = ConnectionId::from_bytes([3; 16]);
    let secret = Secret::from_bytes([4; 32]);
    let proof = open::proof(&secret, &[0; 32], connection, Side::Source, &[0; 32], &[0; 32]);
    Open { version: open::VERSION, connection, proof }
}

/// Returns a TCP connection: our end, set up as the agent's are, and the program's.
pub(super) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = port::dial(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}
