//! The refusal matrix: real rustls handshakes in memory, one row a way of being wrong.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use adit_core::config::TrustDomain;
use adit_core::domain::digest::sha256;
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::limits::{LEAF_BACKDATED, LEAF_LIFE};
use adit_core::domain::time::Timestamp;

use super::ca::CertificateAuthority;
use super::csr::VerifiedCsr;
use super::error::IdentityError;
use super::key::KeyPair;
use super::name::PeerName;
use super::peer::VerifiedPeer;
use super::time::StoppedClock;
use super::tls::{
    Dates, ENROL_ALPN, Identity, SERVER_NAME, Trust, client_config, enrol_client_config, enrol_server_config,
    refusal, server_config,
};

const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
const ALPN: &[u8] = b"adit/1";
const A: ServerId = ServerId::from_bytes([0xa; 16]);
const B: ServerId = ServerId::from_bytes([0xb; 16]);

#[test]
fn when_two_servers_of_one_ca_meet_each_knows_the_others_whole_identity() {
    let ca = ca();
    let (a, b) = (server(&ca, A, NOW), server(&ca, B, NOW));
    let (client, serving) = meet(dialling(&a, ca.trust(), B), taking(&b, ca.trust())).unwrap();

    let seen_by_b = peer(serving.peer_certificates(), ca.trust()).unwrap();
    assert_eq!(seen_by_b.name(), PeerName::Server(A));
    assert_eq!(seen_by_b.key(), a.key().fingerprint());
    assert_eq!(seen_by_b.leaf_hash(), sha256(a.leaf_der()));
    assert_eq!(seen_by_b.not_before(), NOW.saturating_sub(LEAF_BACKDATED));
    assert_eq!(seen_by_b.not_after(), NOW.saturating_add(LEAF_LIFE));
    let seen_by_a = peer(client.peer_certificates(), ca.trust()).unwrap();
    assert_eq!(seen_by_a.server(), Some(B));

    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(serving.server_name(), Some(SERVER_NAME));
    assert_eq!(serving.alpn_protocol(), Some(ALPN));
}

#[test]
fn a_client_that_is_not_a_valid_server_of_the_trust_domain_is_refused() {
    let ca = ca();
    let other_ca = self::ca();
    let elsewhere = CertificateAuthority::from_parts(
        ca.certificate_der(),
        KeyPair::from_pkcs8_der(&ca.key().to_pkcs8()).unwrap(),
        "example.com".parse().unwrap(),
    )
    .unwrap();
    let old = NOW.saturating_sub(LEAF_LIFE + Duration::from_secs(1));
    let early = NOW.saturating_add(LEAF_BACKDATED + Duration::from_secs(1));
    let domain = || IdentityError::BadName { trust_domain: "example.org".into() };
    let bad = |what| IdentityError::BadCertificate { what };
    let uri = |name: PeerName| vec![rcgen::SanType::URI(name.to_uri(&trust_domain()).try_into().unwrap())];
    let a = PeerName::Server(A);

    let rows: Vec<(&str, Identity, IdentityError)> = vec![
        ("other CA", server(&other_ca, A, NOW), IdentityError::UnknownIssuer),
        ("other trust domain", server(&elsewhere, A, NOW), domain()),
        ("the gateway", gateway(&ca), IdentityError::GatewayDials),
        (
            "expired",
            server(&ca, A, old),
            IdentityError::Expired { at: NOW.saturating_sub(Duration::from_secs(1)), now: NOW },
        ),
        (
            "not yet valid",
            server(&ca, A, early),
            IdentityError::NotYetValid { at: NOW.saturating_add(Duration::from_secs(1)), now: NOW },
        ),
        ("self-signed", self_signed(uri(a)), IdentityError::UnknownIssuer),
        ("no name", forged(&ca, |params| params.subject_alt_names.clear()), domain()),
        (
            "two names",
            forged(&ca, |params| params.subject_alt_names.extend(uri(PeerName::Server(B)))),
            domain(),
        ),
        (
            "a DNS name",
            forged(&ca, |params| {
                params.subject_alt_names = vec![rcgen::SanType::DnsName("a".try_into().unwrap())];
            }),
            domain(),
        ),
        (
            "a URI that is no name",
            forged(&ca, |params| {
                params.subject_alt_names =
                    vec![rcgen::SanType::URI("spiffe://example.org/server/x".try_into().unwrap())];
            }),
            domain(),
        ),
        (
            "a CA as leaf",
            forged(&ca, |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            bad("it breaks RFC 5280, or is a CA"),
        ),
        (
            "no extended key usage",
            forged(&ca, |params| params.extended_key_usages.clear()),
            bad("it has no extended key usage"),
        ),
        (
            "another extended key usage",
            forged(&ca, |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
            bad("its extended key usage is not client and server"),
        ),
    ];
    let b = server(&ca, B, NOW);
    for (what, client, expected) in rows {
        let refused = meet(dialling(&client, ca.trust(), B), taking(&b, ca.trust())).err();
        assert_eq!(refused, Some(Refused { by: "server", why: Some(expected) }), "{what}");
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let ca = ca();
    let mut client = enrol_client_config(ca.key_fingerprint(), trust_domain()).unwrap();
    client.alpn_protocols = vec![ALPN.to_vec()];
    // It takes the server's certificate, which comes with the CA here, and shows none itself.
    let mut serving = taking(&gateway(&ca), ca.trust());
    let shows_ca = enrol_server_config(&gateway(&ca), ca.trust()).unwrap();
    serving.cert_resolver = shows_ca.cert_resolver;
    assert_eq!(meet(client, serving).err(), Some(Refused { by: "server", why: None }));
}

#[test]
fn a_leaf_shown_without_its_private_key_is_refused() {
    let ca = ca();
    let (a, thief) = (server(&ca, A, NOW), server(&ca, B, NOW));
    let mut stolen = dialling(&thief, ca.trust(), B);
    let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&thief.private_key()).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(a.leaf_der().to_vec())], key);
    stolen.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown));
    let refused = meet(stolen, taking(&thief, ca.trust())).err();
    assert_eq!(refused, Some(Refused { by: "server", why: None }));
}

#[test]
fn a_server_that_is_not_the_one_dialled_is_refused() {
    let ca = ca();
    let other_ca = self::ca();
    let wrong = |expected, found| IdentityError::WrongPeer { expected, found };
    let rows = [
        (server(&ca, A, NOW), PeerName::Server(B), wrong(PeerName::Server(B), PeerName::Server(A))),
        (server(&ca, A, NOW), PeerName::Gateway, wrong(PeerName::Gateway, PeerName::Server(A))),
        (gateway(&ca), PeerName::Server(B), wrong(PeerName::Server(B), PeerName::Gateway)),
        (server(&other_ca, B, NOW), PeerName::Server(B), IdentityError::UnknownIssuer),
    ];
    let a = server(&ca, A, NOW);
    for (serving, expected, why) in rows {
        let client = client_config(&a, ca.trust(), expected, now(), &[ALPN]).unwrap();
        let refused = meet(client, taking(&serving, ca.trust())).err();
        assert_eq!(refused, Some(Refused { by: "client", why: Some(why) }));
    }
}

#[test]
fn without_dates_an_expired_agent_reaches_the_gateway_as_expired() {
    let ca = ca();
    let old = NOW.saturating_sub(LEAF_LIFE + Duration::from_hours(1));
    let agent = server(&ca, A, old);
    let key = Arc::new(KeyPair::generate().unwrap());
    let gateway = Identity::new(&ca.sign_gateway(&key, old).unwrap(), key).unwrap();
    let client = client_config(&agent, ca.trust(), PeerName::Gateway, Dates::Ignore, &[ALPN]).unwrap();
    let serving = server_config(&gateway, ca.trust(), Dates::Ignore, &[ALPN]).unwrap();
    let (_, serving) = meet(client, serving).unwrap();

    let peer = peer(serving.peer_certificates(), ca.trust()).unwrap();
    assert_eq!(peer.server(), Some(A));
    assert!(peer.is_expired(NOW));
    assert!(!peer.is_expired(old));
}

#[test]
fn a_peer_cannot_be_made_from_a_chain_that_our_verifiers_would_refuse() {
    let ca = ca();
    let foreign = server(&self::ca(), A, NOW);
    let chain = |identity: &Identity| vec![CertificateDer::from(identity.leaf_der().to_vec())];
    assert_eq!(VerifiedPeer::from_handshake(&chain(&foreign), ca.trust()), Err(IdentityError::UnknownIssuer));
    assert_eq!(VerifiedPeer::from_handshake(&[], ca.trust()), Err(IdentityError::ChainLength { sent: 0 }));
    let good = server(&ca, A, NOW);
    let ca_der = CertificateDer::from(ca.certificate_der().to_vec());
    let with_ca = [chain(&good), vec![ca_der.clone()]].concat();
    assert!(VerifiedPeer::from_handshake(&with_ca, ca.trust()).is_ok());
    let with_two = [with_ca, vec![ca_der]].concat();
    assert_eq!(
        VerifiedPeer::from_handshake(&with_two, ca.trust()),
        Err(IdentityError::ChainLength { sent: 3 })
    );
    let with_other = [chain(&good), chain(&foreign)].concat();
    assert_eq!(VerifiedPeer::from_handshake(&with_other, ca.trust()), Err(IdentityError::UnknownIssuer));
}

#[test]
fn a_newcomer_takes_the_gateway_that_its_connector_file_names() {
    let ca = ca();
    let (_, serving) = meet(newcomer(ca.key_fingerprint()), enrolling(&gateway(&ca), ca.trust())).unwrap();
    assert_eq!(serving.alpn_protocol(), Some(ENROL_ALPN));
}

#[test]
fn a_newcomer_refuses_whoever_is_not_the_gateway_of_the_named_key() {
    let ca = ca();
    let other = self::ca();
    let (pinned, found) = (ca.key_fingerprint(), other.key_fingerprint());
    let rows = [
        (
            "another CA",
            enrolling(&gateway(&other), other.trust()),
            IdentityError::WrongCaKey { expected: pinned, found },
        ),
        (
            // The right CA's certificate is public; a copy of it still lacks a leaf.
            "another CA's leaf beside the right CA",
            enrolling(&gateway(&other), ca.trust()),
            IdentityError::UnknownIssuer,
        ),
        (
            "a server of the right CA",
            enrolling(&server(&ca, A, NOW), ca.trust()),
            IdentityError::WrongPeer { expected: PeerName::Gateway, found: PeerName::Server(A) },
        ),
    ];
    for (what, serving, why) in rows {
        let refused = meet(newcomer(pinned), serving).err();
        assert_eq!(refused, Some(Refused { by: "client", why: Some(why) }), "{what}");
    }
}

#[test]
fn another_alpn_is_refused() {
    let ca = ca();
    let (a, b) = (server(&ca, A, NOW), server(&ca, B, NOW));
    let client = client_config(&a, ca.trust(), PeerName::Server(B), now(), &[b"adit/2"]).unwrap();
    assert!(meet(client, taking(&b, ca.trust())).is_err());
}

#[test]
fn a_ca_reads_back_from_its_files_only_with_its_own_key() {
    let ca = ca();
    let key = || KeyPair::from_pkcs8_der(&ca.key().to_pkcs8()).unwrap();
    let read = CertificateAuthority::from_parts(ca.certificate_der(), key(), trust_domain()).unwrap();
    assert_eq!(read.key_fingerprint(), ca.key_fingerprint());
    assert_eq!(
        CertificateAuthority::from_parts(ca.certificate_der(), KeyPair::generate().unwrap(), trust_domain())
            .err(),
        Some(IdentityError::KeyMismatch)
    );
    assert_eq!(
        CertificateAuthority::from_parts(server(&ca, A, NOW).leaf_der(), key(), trust_domain()).err(),
        Some(IdentityError::BadCa { what: "it is not marked as a CA" })
    );
}

#[test]
fn serials_are_random() {
    let ca = ca();
    let key = KeyPair::generate().unwrap();
    let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
    let serial = || {
        let leaf = ca.sign_server(&csr, A, NOW).unwrap();
        x509_parser::parse_x509_certificate(&leaf).unwrap().1.raw_serial().to_vec()
    };
    let (one, other) = (serial(), serial());
    assert_ne!(one, other);
    assert_eq!(one.len(), 16);
}

#[derive(Debug, PartialEq)]
struct Refused {
    by: &'static str,
    /// Absent when rustls itself refused.
    why: Option<IdentityError>,
}

/// Runs a handshake to its end over memory.
fn meet(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Refused> {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let refused = |by: &'static str| move |error: rustls::Error| Refused { by, why: refusal(&error) };
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().map_err(refused("server"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().map_err(refused("client"))?;
    }
    Ok((client, server))
}

fn peer(chain: Option<&[CertificateDer<'static>]>, trust: &Trust) -> Result<VerifiedPeer, IdentityError> {
    VerifiedPeer::from_handshake(chain.unwrap(), trust)
}

fn now() -> Dates {
    Dates::Enforce(Arc::new(StoppedClock(NOW)))
}

fn trust_domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn ca() -> CertificateAuthority {
    CertificateAuthority::create(trust_domain(), NOW).unwrap()
}

fn server(ca: &CertificateAuthority, server: ServerId, signed: Timestamp) -> Identity {
    let key = KeyPair::generate().unwrap();
    let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
    Identity::new(&ca.sign_server(&csr, server, signed).unwrap(), Arc::new(key)).unwrap()
}

fn gateway(ca: &CertificateAuthority) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity::new(&ca.sign_gateway(&key, NOW).unwrap(), Arc::new(key)).unwrap()
}

/// Returns a leaf that our CA would never sign, signed by its key.
fn forged(ca: &CertificateAuthority, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
    let mut params = rcgen::CertificateParams::default();
    let uri = PeerName::Server(A).to_uri(&trust_domain());
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let ca_der = CertificateDer::from(ca.certificate_der());
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca_der, ca.key().signer()).unwrap();
    let leaf = params.signed_by(key.signer(), &issuer).unwrap();
    Identity::new(leaf.der(), Arc::new(key)).unwrap()
}

fn self_signed(names: Vec<rcgen::SanType>) -> Identity {
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = names;
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(key.signer()).unwrap();
    Identity::new(leaf.der(), Arc::new(key)).unwrap()
}

fn dialling(identity: &Identity, trust: &Trust, peer: ServerId) -> ClientConfig {
    client_config(identity, trust, PeerName::Server(peer), now(), &[ALPN]).unwrap()
}

fn taking(identity: &Identity, trust: &Trust) -> ServerConfig {
    server_config(identity, trust, now(), &[ALPN]).unwrap()
}

fn newcomer(ca_key: KeyFingerprint) -> ClientConfig {
    enrol_client_config(ca_key, trust_domain()).unwrap()
}

fn enrolling(identity: &Identity, trust: &Trust) -> ServerConfig {
    enrol_server_config(identity, trust).unwrap()
}
