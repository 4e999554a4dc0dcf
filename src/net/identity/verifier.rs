//! The certificate verifiers rustls calls during a handshake. They judge by `leaf::verify` alone.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    PeerMisbehaved, SignatureScheme,
};
use tracing::{debug, trace};

use adit_core::config::TrustDomain;
use adit_core::domain::id::KeyFingerprint;

use super::error::IdentityError;
use super::leaf;
use super::name::PeerName;
use super::tls::{Dates, Trust};

/// Whom a handshake may be with.
#[derive(Debug, Clone, Copy)]
enum Expected {
    AnyServer,
    Exactly(PeerName),
}

/// Between peers that both hold leaves of the same CA.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    trust: Trust,
    expected: Expected,
    dates: Dates,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(super) fn for_clients(trust: Trust, dates: Dates) -> Self {
        Self { trust, expected: Expected::AnyServer, dates, algorithms: algorithms() }
    }

    pub(super) fn for_server(trust: Trust, expected: PeerName, dates: Dates) -> Self {
        Self { trust, expected: Expected::Exactly(expected), dates, algorithms: algorithms() }
    }

    fn judge(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        let found = leaf::verify(leaf, rest, &self.trust, &self.dates).map_err(refused)?.name;
        trace!(%found, "the peer's certificate is of our CA and good now");
        match (self.expected, found) {
            (Expected::AnyServer, PeerName::Server(_)) => Ok(()),
            (Expected::AnyServer, PeerName::Gateway) => Err(refused(IdentityError::GatewayDials)),
            (Expected::Exactly(expected), found) if found == expected => Ok(()),
            (Expected::Exactly(expected), found) => {
                Err(refused(IdentityError::WrongPeer { expected, found }))
            }
        }
    }
}

/// What every verifier of ours has in common: TLS 1.3, and signatures of P-256 alone.
macro_rules! p256_in_tls13_alone {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(no_tls12())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_p256(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    };
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    p256_in_tls13_alone!();
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    p256_in_tls13_alone!();
}

/// For a newcomer that knows the key of the CA but not yet its certificate, which the gateway sends
/// along. The dates are left open: a newcomer's clock may be wrong.
#[derive(Debug)]
pub(super) struct EnrolVerifier {
    ca_key: KeyFingerprint,
    trust_domain: TrustDomain,
    algorithms: WebPkiSupportedAlgorithms,
}

impl EnrolVerifier {
    pub(super) fn new(ca_key: KeyFingerprint, trust_domain: TrustDomain) -> Self {
        Self { ca_key, trust_domain, algorithms: algorithms() }
    }

    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
    ) -> Result<(), IdentityError> {
        let [ca] = rest else { return Err(IdentityError::ChainLength { sent: rest.len() + 1 }) };
        let trust = Trust::pinned(ca, self.trust_domain.clone(), self.ca_key)?;
        let found = leaf::verify(leaf, &[], &trust, &Dates::Ignore)?.name;
        match found {
            PeerName::Gateway => Ok(()),
            PeerName::Server(_) => Err(IdentityError::WrongPeer { expected: PeerName::Gateway, found }),
        }
    }
}

impl ServerCertVerifier for EnrolVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion()).map_err(refused)
    }

    p256_in_tls13_alone!();
}

fn verify_p256(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if dss.scheme != SignatureScheme::ECDSA_NISTP256_SHA256 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_tls13_signature(message, cert, dss, algorithms)
}

pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

/// An [`IdentityError`] on its way through rustls and QUIC, which hand it on as `Debug` text.
#[derive(Clone)]
pub(super) struct Refused(pub(super) IdentityError);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Refused {}

thread_local! {
    static FINDING: Cell<Option<IdentityError>> = const { Cell::new(None) };
}

/// Returns what a verifier found wrong in the handshake that this thread has just driven. A verifier runs
/// within the call that drives its handshake, so its reason is left where that call can take it.
pub(super) fn take_finding() -> Option<IdentityError> {
    FINDING.take()
}

pub(super) fn refused(error: IdentityError) -> Error {
    debug!(%error, "a certificate is refused");
    FINDING.set(Some(error.clone()));
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(error)))))
}

/// Returns an error, never reached: both sides speak TLS 1.3 only.
fn no_tls12() -> Error {
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into()
}
