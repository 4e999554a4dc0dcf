//! A hostile agent in the place of a real one: it stole the whole state of a killed agent, even its
//! UDP port, and shows whatever certificates and proofs a test wants.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use adit_agent::state::{AgentState, Enrolment};
use adit_core::config::agent::Congestion;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, RouteId, ServerId};
use adit_core::domain::path::PathPreference;
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Rule;
use adit_core::protocol::open::{self, Open, Proof};
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::random;
use adit_net::identity::time::HostClock;
use adit_net::identity::tls::{Identity, Trust};
use adit_net::transport::endpoint::{AgentEndpoint, Connection, Credentials, TransportError, TunnelSettings};
use adit_net::transport::opening;
use adit_net::transport::routes::{OwnEnd, Routes, WantedPeer};
use adit_net::transport::socket::AgentSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part};

/// What a killed agent left behind, with its way to its peer open again.
pub(crate) struct Place {
    pub socket: Arc<AgentSocket>,
    pub enrolment: Enrolment,
    pub identity: Identity,
    pub trust: Trust,
    pub peer: ServerId,
    pub peer_route: RouteId,
    secrets: Vec<(ConnectionId, Secret)>,
    routes: Routes,
    _driver: JoinSet<()>,
    _state: AgentState,
}

impl Place {
    /// Kills `part` and takes its place.
    pub(crate) fn take(lab: &mut Lab, part: Part) -> Self {
        let other = if part == Part::A { Part::B } else { Part::A };
        let [own_port, peer_port] = [part, other].map(|part| udp_port(lab, part));
        lab.kill(part);
        let state = AgentState::open(&lab.state(part)).unwrap();
        let enrolment = state.enrolled().unwrap();
        let (identity, trust) = state.identity(&enrolment).unwrap();
        let rules: Vec<Rule> = state.rule_book().unwrap().rules().cloned().collect();
        let secrets: Vec<_> =
            state.secrets().unwrap().into_iter().map(|(id, stored)| (id, stored.secret)).collect();
        let (peer, peer_route) = (rules[0].peer, rules[0].peer_route);

        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, own_port)).unwrap();
        let (socket, own_packets) = AgentSocket::new(udp, enrolment.route).unwrap();
        let boot = BootId::from_bytes(random::bytes());
        let own = OwnEnd { route: enrolment.route, gateway: enrolment.gateway_route, boot };
        let (routes, driver) = Routes::new(Arc::clone(&socket), own_packets, own);
        let mut driving = JoinSet::new();
        driving.spawn(driver.run());
        let candidate: SocketAddr = (Ipv4Addr::LOCALHOST, peer_port).into();
        let wanted = WantedPeer {
            name: "peer".into(),
            route: peer_route,
            secrets: secrets.iter().map(|(_, secret)| secret.clone()).collect(),
            candidates: vec![candidate],
            path: PathPreference::AUTO,
            relays: Vec::new(),
        };
        routes.want([(peer, wanted)].into());
        Self {
            socket,
            enrolment,
            identity,
            trust,
            peer,
            peer_route,
            secrets,
            routes,
            _driver: driving,
            _state: state,
        }
    }

    /// Waits until the peer has answered; an endpoint must be there to read the socket.
    pub(crate) async fn is_heard(&self) {
        let mut path_state = self.routes.path_state(self.peer);
        let validated = timeout(HANG_LIMIT, path_state.wait_for(|state| state.path.is_some())).await;
        assert!(validated.is_ok(), "the peer answers no probe");
    }

    pub(crate) fn secret(&self, connection: ConnectionId) -> Secret {
        let found = self.secrets.iter().find(|(id, _)| *id == connection);
        found.map_or_else(|| Secret::from_bytes([1; 32]), |(_, secret)| secret.clone())
    }

    pub(crate) async fn endpoint(&self) -> AgentEndpoint {
        let credentials = Credentials {
            identity: self.identity.clone(),
            trust: self.trust.clone(),
            clock: Arc::new(HostClock),
        };
        let settings = TunnelSettings { congestion: Congestion::Bbr };
        let socket = Arc::clone(&self.socket);
        let endpoint = AgentEndpoint::new(socket, self.enrolment.route, credentials, settings).unwrap();
        self.is_heard().await;
        endpoint
    }
}

fn udp_port(lab: &Lab, part: Part) -> u16 {
    let kept = std::fs::read_to_string(lab.state(part).join("udp-port.json")).unwrap();
    kept.trim().parse().unwrap()
}

/// When a dial that nobody answers is given up for the next, as an agent does: a dial's tag is made once, of the
/// secret that the peer answered by last, and no gateway tells an impostor that its connection has ended.
const DIAL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Dials the peer and tries to open `connection` with `secret`.
pub(crate) async fn open_tunnel(
    place: &Place,
    endpoint: &AgentEndpoint,
    connection: ConnectionId,
    secret: &Secret,
    version: u16,
) -> Result<(Connection, Proof), TransportError> {
    let own_leaf = endpoint.credentials().identity.leaf_hash();
    let dialling = async {
        loop {
            let dial = timeout(DIAL_AGAIN_AFTER, endpoint.connect_tunnel(place.peer_route, place.peer));
            if let Ok(outcome) = dial.await {
                break outcome;
            }
        }
    };
    let link = timeout(HANG_LIMIT, dialling).await.expect("the peer answers a dial")?;
    let peer = link.peer(&place.trust)?;
    let exporter = link.exporter()?;
    let proof = open::proof(secret, &exporter, connection, Side::Source, &own_leaf, &peer.leaf_hash());
    let (theirs, _opening) = opening::ask(&link, &Open { version, connection, proof }).await?;
    Ok((link, theirs))
}

/// Certificates of every doubtful kind.
pub(crate) struct Forger {
    ca: CertificateAuthority,
    trust: Trust,
}

impl Forger {
    /// With the lab's own CA, so that only what a test wants wrong is wrong.
    pub(crate) fn with_stolen_ca(lab: &Lab, trust: &Trust) -> Self {
        let key = std::fs::read(lab.state(Part::Gateway).join("ca.p8")).unwrap();
        let key = KeyPair::from_pkcs8_der(&key).unwrap();
        let ca = CertificateAuthority::from_parts(trust.ca_der(), key, trust.trust_domain().clone()).unwrap();
        Self { ca, trust: trust.clone() }
    }

    pub(crate) fn signs(&self, key: &Arc<KeyPair>, server: ServerId, at: Timestamp) -> Identity {
        Self::sign(&self.ca, key, server, at)
    }

    /// By a CA of the same name.
    pub(crate) fn other_ca_signs(&self, key: &Arc<KeyPair>, server: ServerId, now: Timestamp) -> Identity {
        let other = CertificateAuthority::create(self.trust.trust_domain().clone(), now).unwrap();
        Self::sign(&other, key, server, now)
    }

    fn sign(ca: &CertificateAuthority, key: &Arc<KeyPair>, server: ServerId, at: Timestamp) -> Identity {
        let request = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
        Identity::new(&ca.sign_server(&request, server, at).unwrap(), Arc::clone(key)).unwrap()
    }

    pub(crate) fn self_signed(&self, server: ServerId) -> Identity {
        let key = KeyPair::generate().unwrap();
        let signer = rcgen::KeyPair::try_from(key.to_pkcs8().as_slice()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        let name = format!("spiffe://{}/server/{server}", self.trust.trust_domain());
        params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        Identity::new(params.self_signed(&signer).unwrap().der(), Arc::new(key)).unwrap()
    }
}
