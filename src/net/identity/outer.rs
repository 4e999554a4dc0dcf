//! The outer TLS of a gateway's TCP port, which is not trusted: any certificate is taken, and whose it was is
//! said. Appliances that break TLS open are met in many hospitals, and what travels inside on the tcp path
//! needs nobody's trust; only enrolment must know that nobody reads along.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tracing::debug;
use x509_parser::prelude::{FromDer, X509Certificate};

use adit_core::config::TrustDomain;
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::visible::one_line;

use super::ca;
use super::error::IdentityError;
use super::tls;
use super::verifier::{EnrolVerifier, algorithms};

const ISSUER_CHARS_MAX: usize = 200;

/// By what a gateway is known before and after enrolment.
#[derive(Debug, Clone)]
pub struct GatewayKey {
    /// Of its CA.
    pub ca_key: KeyFingerprint,
    pub trust_domain: TrustDomain,
}

/// Who answered for the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OuterTls {
    /// The gateway itself: nobody on the way reads the outer TLS.
    Gateways,
    /// Somebody with a certificate of `issuer`, who can read what the outer TLS carries.
    Foreign { issuer: String },
}

impl OuterTls {
    /// Returns who stands between, unless it is another gateway that was found at the address.
    #[must_use]
    pub fn interceptor(&self) -> Option<&str> {
        match self {
            Self::Foreign { issuer } if *issuer != format!("CN={}", ca::COMMON_NAME) => Some(issuer),
            Self::Foreign { .. } | Self::Gateways => None,
        }
    }
}

/// Returns whose certificate was shown, for the log.
impl fmt::Display for OuterTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateways => f.write_str("the gateway's own"),
            Self::Foreign { issuer } => write!(f, "of {issuer}"),
        }
    }
}

/// What a handshake has found, once it is done or has failed after the certificate came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<OuterTls>>>);

impl Seen {
    pub(crate) fn take(&self) -> Option<OuterTls> {
        self.0.lock().take()
    }

    fn note(&self, outer: OuterTls) {
        *self.0.lock() = Some(outer);
    }
}

/// Dials whoever answers; whose certificate it was is in what comes back beside it. For one handshake.
pub(crate) fn client_config(
    gateway: &GatewayKey,
    alpn: &[u8],
) -> Result<(ClientConfig, Seen), IdentityError> {
    let verifier = OuterVerifier {
        gateway: EnrolVerifier::new(gateway.ca_key, gateway.trust_domain.clone()),
        algorithms: algorithms(),
        seen: Seen::default(),
    };
    let seen = verifier.seen.clone();
    let mut config = tls::client_judged_by(Arc::new(verifier))?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok((config, seen))
}

#[derive(Debug)]
struct OuterVerifier {
    gateway: EnrolVerifier,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Seen,
}

impl OuterVerifier {
    /// Takes any signature; without a good one nobody has shown that the certificate is theirs.
    fn take(
        &self,
        leaf: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> HandshakeSignatureValid {
        verified.unwrap_or_else(|error| {
            debug!(%error, "the outer TLS is not signed by whom its certificate names");
            self.seen.note(OuterTls::Foreign { issuer: issuer(leaf) });
            HandshakeSignatureValid::assertion()
        })
    }
}

impl ServerCertVerifier for OuterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let outer = match self.gateway.judge(end_entity, intermediates) {
            Ok(()) => OuterTls::Gateways,
            Err(error) => {
                debug!(%error, "the outer TLS is not the gateway's");
                OuterTls::Foreign { issuer: issuer(end_entity) }
            }
        };
        self.seen.note(outer);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(self.take(cert, verify_tls12_signature(message, cert, dss, &self.algorithms)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(self.take(cert, verify_tls13_signature(message, cert, dss, &self.algorithms)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Returns the issuer as the certificate has it, fit for people.
fn issuer(leaf: &CertificateDer<'_>) -> String {
    let read = X509Certificate::from_der(leaf).map(|(_, certificate)| certificate.issuer().to_string());
    let issuer = one_line(&read.unwrap_or_default(), ISSUER_CHARS_MAX);
    if issuer.is_empty() { "an issuer without a name".into() } else { issuer }
}

/// Returns a certificate for `name` by a CA that is none of ours, and its key.
#[cfg(test)]
pub(crate) fn foreign_certificate(issuer: &str, name: &str) -> (Vec<u8>, Vec<u8>) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, issuer);
    let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &issuer).unwrap();
    (leaf.der().to_vec(), key.serialize_der())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuers_name_is_one_short_line_whatever_stands_in_it() {
        for name in ["\u{1b}[31mEvil\n\u{202e}", &"x".repeat(5_000)] {
            let (leaf, _) = foreign_certificate(name, "gateway.example.org");
            let shown = issuer(&leaf.into());
            assert!(!shown.contains(char::is_control) && !shown.contains('\u{202e}'), "{shown}");
            assert!(shown.starts_with("CN=") && shown.chars().count() <= ISSUER_CHARS_MAX, "{shown}");
        }
        assert_eq!(issuer(&vec![7; 9].into()), "an issuer without a name");
    }
}
