//! Who the two agents are: a CA, keys and leaves made once and shared by all seeds, since making
//! them takes longer than a run.

use std::sync::{Arc, LazyLock};

use adit_core::domain::id::{ConnectionId, RouteId, ServerId};
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::time::TimeSource;
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::Credentials;

use crate::wire::Node;

const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
pub(crate) const CONNECTION: ConnectionId = ConnectionId::from_bytes([3; 16]);
pub(crate) const GATEWAY_ROUTE: RouteId = RouteId::from_bytes(*b"gateway0");

/// A third agent, which may talk to the target and to nobody else.
pub(crate) const INSIDER_ROUTE: RouteId = RouteId::from_bytes(*b"insider0");

/// What the two agents and nobody else know.
pub(crate) fn secret() -> Secret {
    Secret::from_bytes([4; 32])
}

#[derive(Debug)]
struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

pub(crate) fn route(agent: Node) -> RouteId {
    RouteId::from_bytes([number(agent); 8])
}

pub(crate) fn server(agent: Node) -> ServerId {
    ServerId::from_bytes([number(agent); 16])
}

pub(crate) fn of(agent: Node) -> &'static Credentials {
    static BOTH: LazyLock<[Credentials; 2]> = LazyLock::new(|| {
        let ca = CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap();
        Node::AGENTS.map(|agent| {
            let key = Arc::new(KeyPair::generate().unwrap());
            let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
            let identity = Identity::new(&ca.sign_server(&csr, server(agent), NOW).unwrap(), key).unwrap();
            Credentials { identity, trust: ca.trust().clone(), clock: Arc::new(Stopped) }
        })
    });
    &BOTH[usize::from(number(agent) - 1)]
}

fn number(agent: Node) -> u8 {
    if agent == Node::Source { 1 } else { 2 }
}
