//! The one judgement over a presented chain. Both verifiers and `VerifiedPeer` go through it.
//!
//! A good chain is a leaf, or a leaf and the CA itself; there are no intermediates. rustls-webpki
//! checks the signature, the dates and that a leaf is no CA; the narrower profile is checked here.

use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use adit_core::domain::time::Timestamp;

use super::error::IdentityError;
use super::gateway_time::is_lawful;
use super::key::PublicKey;
use super::name::PeerName;
use super::tls::{Dates, Trust};

/// What a verified leaf says.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) name: PeerName,
    pub(super) key: PublicKey,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Verifies `chain` as the peer sent it, leaf first.
pub(super) fn verify(
    leaf: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    trust: &Trust,
    dates: &Dates,
) -> Result<Leaf, IdentityError> {
    match rest {
        [] => {}
        [ca] if ca.as_ref() == trust.ca_der() => {}
        [_] => return Err(IdentityError::UnknownIssuer),
        more => return Err(IdentityError::ChainLength { sent: more.len() + 1 }),
    }
    let read = read(leaf, trust)?;
    verify_signature(leaf, &read, trust)?;
    // Dates last: what is named expired is otherwise good.
    if let Dates::Enforce(clock) = dates {
        let now = clock.now();
        if now > read.not_after {
            return Err(IdentityError::Expired { at: read.not_after, now });
        }
        if now < read.not_before {
            return Err(IdentityError::NotYetValid { at: read.not_before, now });
        }
        if !is_lawful((read.not_before, read.not_after)) {
            return Err(IdentityError::BadCertificate {
                what: "it is valid for longer than any gateway signs one",
            });
        }
    }
    Ok(read)
}

/// Reads the leaf under our profile, its signature not yet verified.
fn read(der: &CertificateDer<'_>, trust: &Trust) -> Result<Leaf, IdentityError> {
    let bad = |what| IdentityError::BadCertificate { what };
    let (after, certificate) =
        X509Certificate::from_der(der).map_err(|_| bad("it is not a DER certificate"))?;
    if !after.is_empty() {
        return Err(bad("bytes follow its end"));
    }
    if certificate.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(bad("its signature is not ECDSA with SHA-256"));
    }
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| bad("its extended key usage is repeated"))?
        .ok_or(bad("it has no extended key usage"))?;
    if !usage.value.client_auth || !usage.value.server_auth || usage.value.any {
        return Err(bad("its extended key usage is not client and server"));
    }
    let bad_name = || IdentityError::BadName { trust_domain: trust.trust_domain().to_string() };
    let names = certificate.subject_alternative_name().map_err(|_| bad_name())?.ok_or_else(bad_name)?;
    let [GeneralName::URI(uri)] = names.value.general_names[..] else { return Err(bad_name()) };
    let validity = certificate.validity();
    let timestamp = |secs: i64| Timestamp::from_millis(secs.saturating_mul(1000));
    Ok(Leaf {
        name: PeerName::from_uri(uri, trust.trust_domain()).ok_or_else(bad_name)?,
        key: PublicKey::from_spki(certificate.public_key().raw)?,
        not_before: timestamp(validity.not_before.timestamp()),
        not_after: timestamp(validity.not_after.timestamp()),
    })
}

/// Verifies the signature at a moment at which the leaf is valid by its own word, so that only the dates stay
/// open.
fn verify_signature(der: &CertificateDer<'_>, leaf: &Leaf, trust: &Trust) -> Result<(), IdentityError> {
    let bad = |what| IdentityError::BadCertificate { what };
    let parsed = ParsedCertificate::try_from(der).map_err(|_| bad("it is not a DER certificate"))?;
    let inside = u64::try_from(leaf.not_before.as_secs()).map_err(|_| bad("it begins before 1970"))?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        trust.roots(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(inside)),
        aws_lc_rs::default_provider().signature_verification_algorithms.all,
    )
    .map_err(|error| match error {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => IdentityError::UnknownIssuer,
        _ => bad("it breaks RFC 5280, or is a CA"),
    })
}
