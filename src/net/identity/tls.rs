//! TLS configurations that accept our private CA and nothing else: TLS 1.3 only (save around a carrier, which
//! secures nothing), both sides authenticated (save enrolment and carriers), no tickets, no resumption, no 0-RTT, one
//! constant server name. What people see, who know the CA or a public one, is here too.
//!
//! Sockets and QUIC are the transport's business. Revocation is decided after the handshake, from
//! the [`super::peer::VerifiedPeer`].

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use adit_core::config::TrustDomain;
use adit_core::domain::digest::sha256;
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::carrier;

use super::error::IdentityError;
use super::key::{KeyPair, PublicKey};
use super::leaf;
use super::name::PeerName;
use super::time::TimeSource;
use super::verifier::{self, EnrolVerifier, PeerVerifier, Refused};

/// The server name every client sends, so that an onlooker learns nothing from it.
pub const SERVER_NAME: &str = "adit";

/// ALPN of enrolment.
pub const ENROL_ALPN: &[u8] = b"adit-enrol/1";

/// Whose word counts: one CA, for one trust domain.
#[derive(Debug, Clone)]
pub struct Trust {
    ca: CertificateDer<'static>,
    ca_key: KeyFingerprint,
    roots: Arc<RootCertStore>,
    domain: TrustDomain,
}

impl Trust {
    pub fn new(ca_der: &[u8], trust_domain: TrustDomain) -> Result<Self, IdentityError> {
        let bad = |what| IdentityError::BadCa { what };
        let (rest, certificate) =
            X509Certificate::from_der(ca_der).map_err(|_| bad("it is not a DER certificate"))?;
        if !rest.is_empty() {
            return Err(bad("bytes follow its end"));
        }
        if !certificate.is_ca() {
            return Err(bad("it is not marked as a CA"));
        }
        let ca_key = PublicKey::from_spki(certificate.public_key().raw)?.fingerprint();
        let ca = CertificateDer::from(ca_der.to_vec());
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).map_err(|_| bad("it breaks RFC 5280"))?;
        Ok(Self { ca, ca_key, roots: Arc::new(roots), domain: trust_domain })
    }

    /// Does as [`Self::new`], and the CA's key must be the one a person handed over.
    pub fn pinned(
        ca_der: &[u8],
        trust_domain: TrustDomain,
        expected: KeyFingerprint,
    ) -> Result<Self, IdentityError> {
        let trust = Self::new(ca_der, trust_domain)?;
        if trust.ca_key != expected {
            return Err(IdentityError::WrongCaKey { expected, found: trust.ca_key });
        }
        Ok(trust)
    }

    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        &self.ca
    }

    #[must_use]
    pub const fn ca_key(&self) -> KeyFingerprint {
        self.ca_key
    }

    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    pub(super) fn roots(&self) -> &RootCertStore {
        &self.roots
    }
}

/// What this host presents: its leaf and the key to it.
#[derive(Debug, Clone)]
pub struct Identity {
    leaf: CertificateDer<'static>,
    key: Arc<KeyPair>,
}

impl Identity {
    pub fn new(leaf_der: &[u8], key: Arc<KeyPair>) -> Result<Self, IdentityError> {
        let leaf = CertificateDer::from(leaf_der.to_vec());
        if !key.owns(&leaf) {
            return Err(IdentityError::KeyMismatch);
        }
        Ok(Self { leaf, key })
    }

    #[must_use]
    pub fn leaf_der(&self) -> &[u8] {
        &self.leaf
    }

    #[must_use]
    pub const fn key(&self) -> &Arc<KeyPair> {
        &self.key
    }

    /// Returns the name in the leaf, which must be one that `trust` vouches for.
    pub fn name(&self, trust: &Trust) -> Result<PeerName, IdentityError> {
        leaf::verify(&self.leaf, &[], trust, &Dates::Ignore).map(|leaf| leaf.name)
    }

    /// Returns SHA-256 of the leaf, which both ends of a tunnel put into their proofs.
    #[must_use]
    pub fn leaf_hash(&self) -> [u8; 32] {
        sha256(&self.leaf)
    }

    /// Returns from when until when the leaf is valid.
    pub fn validity(&self, trust: &Trust) -> Result<(Timestamp, Timestamp), IdentityError> {
        let leaf = leaf::verify(&self.leaf, &[], trust, &Dates::Ignore)?;
        Ok((leaf.not_before, leaf.not_after))
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.to_pkcs8().to_vec().into())
    }
}

/// Whether a peer's leaf must be valid now.
#[derive(Debug, Clone)]
pub enum Dates {
    /// Between agents.
    Enforce(Arc<dyn TimeSource>),
    /// The gateway's leaf, whose dates an agent with a wrong clock cannot judge; and on the control
    /// link an agent's expired leaf, which may still renew: the gateway decides after the handshake.
    Ignore,
}

/// Takes connections from servers of the trust domain.
pub fn server_config(
    identity: &Identity,
    trust: &Trust,
    dates: Dates,
    alpns: &[&[u8]],
) -> Result<ServerConfig, IdentityError> {
    let verifier = PeerVerifier::for_clients(trust.clone(), dates);
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setting_up)?
        .with_client_cert_verifier(Arc::new(verifier));
    let config =
        builder.with_single_cert(vec![identity.leaf.clone()], identity.private_key()).map_err(setting_up)?;
    Ok(without_memory(config, alpns))
}

/// Dials `expected`, and takes nobody else for it.
pub fn client_config(
    identity: &Identity,
    trust: &Trust,
    expected: PeerName,
    dates: Dates,
    alpns: &[&[u8]],
) -> Result<ClientConfig, IdentityError> {
    let verifier = PeerVerifier::for_server(trust.clone(), expected, dates);
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setting_up)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![identity.leaf.clone()], identity.private_key())
        .map_err(setting_up)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    Ok(config)
}

/// Returns the gateway's side of enrolment: it shows leaf and CA; the newcomer has nothing to show yet.
pub fn enrol_server_config(identity: &Identity, trust: &Trust) -> Result<ServerConfig, IdentityError> {
    to_anybody(identity, trust, &[&rustls::version::TLS13], ENROL_ALPN)
}

/// Returns the gateway's side towards those who speak HTTP: carriers, whose outer TLS nobody trusts. TLS 1.2 is
/// taken too, which some appliances speak that look into it.
pub fn http_server_config(identity: &Identity, trust: &Trust) -> Result<ServerConfig, IdentityError> {
    to_anybody(identity, trust, &[&rustls::version::TLS13, &rustls::version::TLS12], carrier::ALPN)
}

/// Returns the gateway's side towards people who know its CA and expect its name in the leaf.
pub fn people_server_config(
    leaf_der: &[u8],
    key: &KeyPair,
    trust: &Trust,
) -> Result<ServerConfig, IdentityError> {
    let chain = vec![CertificateDer::from(leaf_der.to_vec()), trust.ca.clone()];
    let key = PrivateKeyDer::Pkcs8(key.to_pkcs8().to_vec().into());
    showing(chain, key, &[&rustls::version::TLS13, &rustls::version::TLS12], carrier::ALPN)
}

fn to_anybody(
    identity: &Identity,
    trust: &Trust,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[u8],
) -> Result<ServerConfig, IdentityError> {
    showing(vec![identity.leaf.clone(), trust.ca.clone()], identity.private_key(), versions, alpn)
}

/// Returns a server that shows a chain to whoever comes, and asks for none.
pub(super) fn showing(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[u8],
) -> Result<ServerConfig, IdentityError> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(setting_up)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(setting_up)?;
    Ok(without_memory(config, &[alpn]))
}

/// Does as [`showing`] with one certificate that nobody judges here, for no client of ours would take it.
pub(super) fn showing_unjudged(
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'_>,
    alpn: &[u8],
) -> Result<ServerConfig, IdentityError> {
    let key = aws_lc_rs::sign::any_ecdsa_type(key).map_err(setting_up)?;
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(setting_up)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    Ok(without_memory(config, &[alpn]))
}

/// Returns a client that shows nothing and leaves the judgement to `verifier`.
pub(super) fn client_judged_by(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(setting_up)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Returns the newcomer's side: all it knows is the CA's key, which is checked inside the handshake, so that
/// no byte of the token leaves before.
pub fn enrol_client_config(
    ca_key: KeyFingerprint,
    trust_domain: TrustDomain,
) -> Result<ClientConfig, IdentityError> {
    let verifier = EnrolVerifier::new(ca_key, trust_domain);
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setting_up)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    Ok(config)
}

/// Returns what a failed handshake found wrong with the peer, if it was one of our verifiers that refused.
/// Looks through the whole chain of causes.
#[must_use]
pub fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<IdentityError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) =
            error.downcast_ref()
        {
            return other.0.downcast_ref::<Refused>().map(|refused| refused.0.clone());
        }
        // An I/O error's payload is not its source.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(payload) => Some(payload),
            None => error.source(),
        };
    }
    None
}

/// Takes what a verifier of ours found wrong in the handshake that this thread has just driven. For
/// QUIC, which hands on no error but a text.
#[must_use]
pub fn take_finding() -> Option<IdentityError> {
    verifier::take_finding()
}

fn without_memory(mut config: ServerConfig, alpns: &[&[u8]]) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    config
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn setting_up(error: rustls::Error) -> IdentityError {
    IdentityError::Signing { what: error.to_string() }
}
