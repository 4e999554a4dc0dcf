//! The private CA of one gateway. It alone decides what a leaf says; see DESIGN §3.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;

use adit_core::config::TrustDomain;
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::limits::{CA_LIFE, LEAF_BACKDATED, LEAF_LIFE};
use adit_core::domain::time::Timestamp;

use super::csr::VerifiedCsr;
use super::error::IdentityError;
use super::key::{KeyPair, PublicKey};
use super::name::PeerName;
use super::random;
use super::tls::Trust;

/// Signs leaves for the servers of one trust domain and for its gateway.
#[derive(Debug)]
pub struct CertificateAuthority {
    trust: Trust,
    key: KeyPair,
}

/// By which people know a certificate of a gateway's CA.
pub(super) const COMMON_NAME: &str = "adit CA";

impl CertificateAuthority {
    pub fn create(trust_domain: TrustDomain, now: Timestamp) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = params(COMMON_NAME, now, CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(key.signer()).map_err(signing)?;
        Self::from_parts(certificate.der(), key, trust_domain)
    }

    /// Takes what [`Self::certificate_der`] and [`Self::key`] gave, read back from disk.
    pub fn from_parts(
        certificate_der: &[u8],
        key: KeyPair,
        trust_domain: TrustDomain,
    ) -> Result<Self, IdentityError> {
        let trust = Trust::new(certificate_der, trust_domain)?;
        if trust.ca_key() != key.fingerprint() {
            return Err(IdentityError::KeyMismatch);
        }
        Ok(Self { trust, key })
    }

    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.trust.ca_der()
    }

    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    #[must_use]
    pub fn key_fingerprint(&self) -> KeyFingerprint {
        self.trust.ca_key()
    }

    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Signs the server's leaf in DER. Whether the server may have one was decided by the caller.
    pub fn sign_server(
        &self,
        csr: &VerifiedCsr,
        server: ServerId,
        now: Timestamp,
    ) -> Result<Vec<u8>, IdentityError> {
        self.sign(csr.key(), PeerName::Server(server), now, LEAF_LIFE)
    }

    /// Signs a leaf of any length, as no gateway signs one.
    #[cfg(test)]
    pub(super) fn sign_for(
        &self,
        key: &KeyPair,
        server: ServerId,
        from: Timestamp,
        life: Duration,
    ) -> Result<Vec<u8>, IdentityError> {
        let now = from.saturating_add(LEAF_BACKDATED);
        self.sign(&key.public()?, PeerName::Server(server), now, life.saturating_sub(LEAF_BACKDATED))
    }

    /// Signs the gateway's own leaf in DER.
    pub fn sign_gateway(&self, key: &KeyPair, now: Timestamp) -> Result<Vec<u8>, IdentityError> {
        self.sign(&key.public()?, PeerName::Gateway, now, LEAF_LIFE)
    }

    /// Signs a leaf in DER that says to people what the gateway is called: a DNS name or an address. No agent takes
    /// it for anybody's.
    pub fn sign_for_people(
        &self,
        key: &KeyPair,
        host: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, IdentityError> {
        let mut params = params("adit gateway", now, LEAF_LIFE);
        params.subject_alt_names = vec![match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(signing)?),
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.signed(params, &key.public()?)
    }

    fn sign(
        &self,
        key: &PublicKey,
        name: PeerName,
        now: Timestamp,
        life: Duration,
    ) -> Result<Vec<u8>, IdentityError> {
        let common_name = match name {
            PeerName::Gateway => "adit gateway",
            PeerName::Server(_) => "adit server",
        };
        let mut params = params(common_name, now, life);
        let uri = name.to_uri(self.trust.trust_domain()).try_into().map_err(signing)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        // Every agent both dials and is dialled.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        self.signed(params, key)
    }

    fn signed(&self, mut params: CertificateParams, key: &PublicKey) -> Result<Vec<u8>, IdentityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let subject = SubjectPublicKeyInfo::from_der(key.spki_der()).map_err(signing)?;
        let ca = CertificateDer::from(self.certificate_der());
        let issuer = Issuer::from_ca_cert_der(&ca, self.key.signer()).map_err(signing)?;
        params.signed_by(&subject, &issuer).map(|leaf| leaf.der().to_vec()).map_err(signing)
    }
}

pub(super) fn params(common_name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let mut serial: [u8; 16] = random::bytes();
    // Positive and of full length (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let span = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_secs()).unwrap_or(0));
    params.not_before = epoch + span(now.saturating_sub(LEAF_BACKDATED));
    params.not_after = epoch + span(now.saturating_add(life));
    params
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub(super) fn signing(error: rcgen::Error) -> IdentityError {
    IdentityError::Signing { what: error.to_string() }
}
