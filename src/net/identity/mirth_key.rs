//! The local Mirth's HTTPS key: a known key, like a peer's. Mirth's certificate has no name that could
//! be verified and a private issuer, so its public key is compared and nothing else.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use subtle::ConstantTimeEq;
use x509_parser::prelude::{FromDer, X509Certificate};

use adit_core::domain::digest::sha256;
use adit_core::domain::id::KeyFingerprint;

use super::error::IdentityError;
use super::tls;
use super::verifier::{algorithms, refused};

/// Dials a Mirth that must show the key `trusted`. With none trusted the handshake ends as
/// [`IdentityError::UnknownMirthKey`], which names the key shown.
pub(crate) fn client_config(trusted: Option<KeyFingerprint>) -> Result<ClientConfig, IdentityError> {
    tls::client_judged_by(Arc::new(MirthVerifier { trusted, algorithms: algorithms() }))
}

#[derive(Debug)]
struct MirthVerifier {
    trusted: Option<KeyFingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl MirthVerifier {
    fn judge(&self, leaf: &CertificateDer<'_>) -> Result<(), IdentityError> {
        let unreadable = IdentityError::BadCertificate { what: "it is not a DER certificate" };
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| unreadable)?;
        let shown = KeyFingerprint::from_bytes(sha256(certificate.public_key().raw));
        match self.trusted {
            None => Err(IdentityError::UnknownMirthKey { shown }),
            Some(known) if bool::from(known.as_bytes().ct_eq(shown.as_bytes())) => Ok(()),
            Some(known) => Err(IdentityError::ChangedMirthKey { shown, known }),
        }
    }
}

impl ServerCertVerifier for MirthVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity).map(|()| ServerCertVerified::assertion()).map_err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
