//! Certificates of CAs of the moment, and clients that only look at one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_net::identity::web::certificate_pem;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// In PEM.
pub(super) struct Made {
    pub(super) leaf: String,
    pub(super) signer: String,
    pub(super) key: String,
}

/// Makes a certificate for `name`, signed by one called `issuer`.
pub(super) fn made(issuer: &str, name: &str) -> Made {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, issuer);
    let ca_key = KeyPair::generate().unwrap();
    let signer = certificate_pem(ca.self_signed(&ca_key).unwrap().der());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.into()]).unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = certificate_pem(key.serialized_der()).replace("CERTIFICATE", "PRIVATE KEY");
    Made { leaf: certificate_pem(leaf.der()), signer, key }
}

/// What a client saw.
pub(super) struct Look {
    chain: Vec<CertificateDer<'static>>,
    pub(super) issuer: String,
}

/// Does a handshake with whoever answers, asking for `name`.
pub(super) async fn look(tcp: TcpStream, name: &str, alpns: &[&[u8]]) -> io::Result<Look> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let chain: Vec<_> =
        stream.get_ref().1.peer_certificates().unwrap().iter().map(|it| it.clone().into_owned()).collect();
    let issuer = X509Certificate::from_der(&chain[0]).unwrap().1.issuer().to_string();
    Ok(Look { chain, issuer })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Look {
    pub(super) fn names(&self, host: &str) -> bool {
        let leaf = ParsedCertificate::try_from(&self.chain[0]).unwrap();
        verify_server_name(&leaf, &ServerName::try_from(host).unwrap()).is_ok()
    }

    /// Returns whether it is the leaf by which agents know the gateway.
    pub(super) fn is_gateways_own(&self) -> bool {
        let (_, leaf) = X509Certificate::from_der(&self.chain[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        names.value.general_names == [GeneralName::URI("spiffe://example.org/gateway")]
    }

    /// Judges as `curl --cacert` does.
    pub(super) fn is_good_for(&self, host: &str, ca_der: &[u8], now_secs: u64) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca_der.to_vec())).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_secs));
        let host = ServerName::try_from(host).unwrap();
        verifier.verify_server_cert(&self.chain[0], &self.chain[1..], &host, &[], now).is_ok()
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
