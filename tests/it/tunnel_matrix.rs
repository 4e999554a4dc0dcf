//! Promise I6: who is refused a tunnel, whatever they stole. Every refusal looks the same from
//! outside, is named and audited inside, and leaves the real peer's way open.

use std::sync::Arc;
use std::time::Duration;

use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::id::{ConnectionId, RouteId, ServerId};
use adit_core::domain::limits::LEAF_LIFE;
use adit_core::domain::secret::Secret;
use adit_core::protocol::frame::Code;
use adit_core::protocol::initial::OwnId;
use adit_core::protocol::open;
use adit_net::identity::key::KeyPair;
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, TimeSource};
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::AgentEndpoint;
use adit_net::transport::opening;
use parking_lot::Mutex;
use quinn::ConnectionIdGenerator;

use super::any_certificate::AnyCertificate;
use super::impostor::{Forger, Place, open_tunnel};
use super::lab::{HANG_LIMIT, Lab, Part, SOURCE_OWNER, edit, eventually, mirth};

/// How often `part` wrote down a refusal for this reason.
fn audited(lab: &Lab, part: Part, reason: &str) -> usize {
    let audit = std::fs::read_to_string(lab.state(part).join("audit.jsonl")).unwrap_or_default();
    audit.lines().filter(|line| line.contains("peer_refused") && line.contains(reason)).count()
}

async fn becomes_audited(lab: &Lab, part: Part, before: usize, reason: &str) {
    eventually(&format!("{part:?} audits `{reason}`"), async || {
        (audited(lab, part, reason) > before).then_some(())
    })
    .await;
}

/// The gateway tells the organizations what its agent refused.
async fn gateway_audits(lab: &Lab, reason: &str) {
    eventually(&format!("the gateway audits `{reason}`"), async || {
        let audit = lab.admin(&["audit", "--rows", "1000", "--json"]).await;
        (audit.contains("refuse peer") && audit.contains(reason)).then_some(())
    })
    .await;
}

/// An impostor in A's place before the real B.
struct Trial<'a> {
    lab: &'a Lab,
    place: &'a Place,
    endpoint: &'a AgentEndpoint,
}

impl Trial<'_> {
    /// Shows `identity` with the right proof for `connection`.
    async fn shows(&self, identity: Identity, connection: ConnectionId, reason: &str) {
        self.endpoint.renew(identity).unwrap();
        self.proves(connection, &self.place.secret(connection), open::VERSION, reason).await;
        self.endpoint.renew(self.place.identity.clone()).unwrap();
    }

    async fn proves(&self, connection: ConnectionId, secret: &Secret, version: u16, reason: &str) {
        let refused = open_tunnel(self.place, self.endpoint, connection, secret, version).await;
        let Err(error) = refused else { panic!("let in: {reason}") };
        if error.peer_code().is_some() {
            assert_eq!(error.peer_code(), Some(Code::Refused), "one answer for every reason: {error:?}");
        }
        // Of a kind only the first has a line at once.
        becomes_audited(self.lab, Part::B, 0, reason).await;
    }
}

/// Three connections, the last of which is not in B's file.
async fn lab() -> (Vec<adit_lab::mirth::Mirth>, Lab) {
    let mirths = vec![mirth().await, mirth().await, mirth().await];
    let targets: Vec<_> = mirths.iter().map(|mirth| (Protocol::Mllp, mirth.address())).collect();
    let mut lab = Lab::written(&targets);
    edit(&lab.config(Part::B), |text| {
        let last = text.rfind("[[p2p_target]]").unwrap();
        text[..last].to_owned()
    });
    lab.start_all().await;
    lab.port_open(0).await;
    lab.port_open(1).await;
    (mirths, lab)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_audits_its_refusal_of_every_source_that_is_not_the_one() {
    let (_mirths, mut lab) = lab().await;
    let ids = [
        lab.entry(Part::A, 0).await.unwrap().id,
        lab.entry(Part::A, 1).await.unwrap().id,
        lab.entry(Part::A, 2).await.unwrap().id,
    ];
    // The real A has asked for it since the start.
    becomes_audited(&lab, Part::B, 0, "not in this agent's file").await;
    gateway_audits(&lab, "not in this agent's file").await;

    let place = Place::take(&mut lab, Part::A);
    let endpoint = place.endpoint().await;
    let (own, now) = (place.enrolment.server, HostClock.now());
    let forger = Forger::with_stolen_ca(&lab, &place.trust);
    let stolen_key = Arc::clone(place.identity.key());
    let new_key = Arc::new(KeyPair::generate().unwrap());
    let stranger = ServerId::from_random(random::bytes());
    let trial = Trial { lab: &lab, place: &place, endpoint: &endpoint };

    // With everything right the impostor is the agent: each refusal below has its one reason.
    let secret = place.secret(ids[0]);
    open_tunnel(&place, &endpoint, ids[0], &secret, open::VERSION).await.expect("the thief of all is let in");

    let day = Duration::from_secs(24 * 3600);
    let expired = now.saturating_sub(LEAF_LIFE + day);
    trial.shows(forger.self_signed(own), ids[0], "not signed by the CA").await;
    trial.shows(forger.other_ca_signs(&stolen_key, own, now), ids[0], "not signed by the CA").await;
    trial.shows(forger.signs(&stolen_key, own, expired), ids[0], "certificate expired").await;
    trial.shows(forger.signs(&stolen_key, own, now.saturating_add(3 * day)), ids[0], "valid from").await;
    trial.shows(forger.signs(&new_key, stranger, now), ids[0], "belongs to another peer").await;
    trial.shows(forger.signs(&new_key, own, now), ids[0], "not the known key").await;

    let wrong = Secret::from_bytes(random::bytes());
    trial.proves(ids[0], &wrong, open::VERSION, "does not hold the connection's secret").await;
    trial.proves(ids[1], &secret, open::VERSION, "does not hold the connection's secret").await;
    trial.proves(ids[0], &secret, open::VERSION + 1, "malformed or late").await;
    trial.proves(ids[2], &place.secret(ids[2]), open::VERSION, "not in this agent's file").await;
    let unknown = ConnectionId::from_random(random::bytes());
    trial.proves(unknown, &wrong, open::VERSION, "has no rule for").await;

    let command = async |verb: &str, id: ConnectionId| {
        lab.admin(&["connection", verb, &id.to_string(), "--as", SOURCE_OWNER]).await;
    };
    command("pause", ids[0]).await;
    lab.entry_becomes(Part::B, 0, "is paused", |entry| entry.status == "Paused").await;
    trial.proves(ids[0], &secret, open::VERSION, "is paused").await;
    command("resume", ids[0]).await;
    lab.entry_becomes(Part::B, 0, "is active", |entry| entry.status == "Active").await;
    command("terminate", ids[1]).await;
    lab.entry_becomes(Part::B, 1, "is over", |entry| entry.status == "Terminated").await;
    trial.proves(ids[1], &place.secret(ids[1]), open::VERSION, "was terminated").await;

    // What is refused is refused for good reasons only.
    open_tunnel(&place, &endpoint, ids[0], &secret, open::VERSION).await.expect("still the thief of all");
    lab.admin(&["server", "revoke", &own.to_string(), "--as", SOURCE_OWNER]).await;
    let revoked = async || {
        let again = open_tunnel(&place, &endpoint, ids[0], &secret, open::VERSION).await;
        again.is_err().then_some(())
    };
    eventually("the revoked key is refused", revoked).await;
    becomes_audited(&lab, Part::B, 0, "was revoked").await;

    for reason in [
        "belongs to another peer",
        "not the known key",
        "does not hold the connection's secret",
        "malformed or late",
        "is paused",
        "was terminated",
        "was revoked",
    ] {
        gateway_audits(&lab, reason).await;
    }
    assert!(!lab.log(Part::B).contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_audits_its_refusal_of_every_target_that_is_not_the_one() {
    let (_mirths, mut lab) = lab().await;
    let id = lab.entry(Part::A, 0).await.unwrap().id;
    let place = Place::take(&mut lab, Part::B);
    let endpoint = place.endpoint().await;
    let now = HostClock.now();
    let forger = Forger::with_stolen_ca(&lab, &place.trust);
    let stranger = ServerId::from_random(random::bytes());
    let new_key = Arc::new(KeyPair::generate().unwrap());
    let own = place.enrolment.server;

    let unsigned = "not signed by the CA";
    let rows: [(Identity, Option<Secret>, &str); 6] = [
        (forger.self_signed(own), None, unsigned),
        (forger.other_ca_signs(&new_key, own, now), None, unsigned),
        (forger.signs(&new_key, own, now.saturating_sub(LEAF_LIFE * 2)), None, "certificate expired"),
        (forger.signs(&new_key, stranger, now), None, "the peer is"),
        (forger.signs(&new_key, own, now), Some(place.secret(id)), "not the known key"),
        (place.identity.clone(), Some(Secret::from_bytes([7; 32])), "does not hold the connection's secret"),
    ];
    // The tunnel to the real B is over once A has heard of another start in its place.
    lab.entry_becomes(Part::A, 0, "has no tunnel", |entry| entry.tunnel.on == Some(false)).await;
    for (identity, secret, reason) in rows {
        endpoint.renew(identity.clone()).unwrap();
        // Dials that came before were shown the last certificate.
        while let Ok(Some(earlier)) = tokio::time::timeout(Duration::ZERO, endpoint.accept()).await {
            drop(earlier);
        }
        eventually(&format!("A dials and leaves: {reason}"), async || {
            refused_by_source(&place, &endpoint, &identity, id, secret.as_ref()).await
        })
        .await;
        becomes_audited(&lab, Part::A, 0, reason).await;
        let entry = lab.entry(Part::A, 0).await.unwrap();
        assert!(!entry.port_open && entry.tunnel.on == Some(false), "{reason}: {entry:?}");
    }
}

/// Answers A's next dial, with a proof where `secret` is given and it asks for `id`; waits until A
/// has left by itself. `None` when it was another connection's dial.
async fn refused_by_source(
    place: &Place,
    endpoint: &AgentEndpoint,
    identity: &Identity,
    id: ConnectionId,
    secret: Option<&Secret>,
) -> Option<()> {
    let incoming = tokio::time::timeout(HANG_LIMIT, endpoint.accept()).await.expect("A dials").unwrap();
    let Ok(link) = incoming.accept().await else { return Some(()) };
    let Ok(asked) = opening::receive(&link).await else { return Some(()) };
    let secret = secret.expect("A asks nobody with such a certificate");
    if asked.open.connection != id {
        link.close(Code::Refused);
        return None;
    }
    let peer = link.peer(&place.trust).unwrap();
    let exporter = link.exporter().unwrap();
    let (theirs, ours) = (peer.leaf_hash(), identity.leaf_hash());
    let proof = open::proof(secret, &exporter, id, Side::Target, &theirs, &ours);
    let Ok(_opening) = asked.answer(proof).await else { return Some(()) };
    tokio::time::timeout(HANG_LIMIT, link.closed()).await.expect("A leaves");
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_certificate_is_refused_with_an_audit_entry() {
    let (_mirths, mut lab) = lab().await;
    let place = Place::take(&mut lab, Part::A);
    let (own_route, next) = (place.enrolment.route, Arc::new(Mutex::new(None)));
    let mut config = quinn::EndpointConfig::default();
    let routed = {
        let next = Arc::clone(&next);
        move || Routed { route: own_route, next: Arc::clone(&next) }
    };
    config.cid_generator(move || Box::new(routed())).grease_quic_bit(false);
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint =
        quinn::Endpoint::new_with_abstract_socket(config, None, Arc::clone(&place.socket) as _, runtime)
            .unwrap();
    place.is_heard().await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![open::ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    // It holds the secret, and so far it may come.
    let dial = place.socket.dial(place.peer_route);
    *next.lock() = Some(dial.ids.source);
    let destination = dial.ids.destination;
    client.initial_dst_cid_provider(Arc::new(move || quinn_proto::ConnectionId::new(&destination)));

    let address = adit_net::transport::socket::VIRTUAL_PEER;
    let connecting = endpoint.connect_with(client, address, "adit").unwrap();
    let ended = async {
        match connecting.await {
            // TLS 1.3: the client is done before it is judged.
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    };
    let error = tokio::time::timeout(HANG_LIMIT, ended).await.expect("it is refused");
    // TLS alert 116, certificate_required (RFC 8446 §6).
    assert!(error.to_string().contains("116") || error.to_string().contains("certificate"), "{error}");
    becomes_audited(&lab, Part::B, 0, "certificate").await;
}

/// Connection ids that carry a route, as agents' do.
struct Routed {
    route: RouteId,
    /// Of the next one.
    next: Arc<Mutex<Option<OwnId>>>,
}

impl ConnectionIdGenerator for Routed {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        let mut id: OwnId = random::bytes();
        id[..8].copy_from_slice(self.route.as_bytes());
        quinn_proto::ConnectionId::new(&self.next.lock().take().unwrap_or(id))
    }

    fn cid_len(&self) -> usize {
        14
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
