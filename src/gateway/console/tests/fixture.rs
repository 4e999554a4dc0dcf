//! Certificates of CAs of the moment, and clients that only look at one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_core::domain::time::Timestamp;
use adit_net::host::folder::Folder;
use adit_net::identity::tls::{enrol_server_config, http_server_config, people_server_config};
use adit_net::identity::web::certificate_pem;
use adit_net::transport::tls::{FrontDoorConfigs, FrontDoorStream, FrontDoorTls, Spoken};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::Authority;

/// In PEM.
pub(crate) struct Made {
    pub(crate) leaf: String,
    pub(crate) signer: String,
    pub(crate) key: String,
}

/// Makes a front door as a gateway called `gateway` has it; returns it with its CA.
pub(crate) fn front_door(state: &Folder, gateway: &str, now: Timestamp) -> (Arc<FrontDoorTls>, Vec<u8>) {
    let authority = Authority::open(state, &"example.org".parse().unwrap(), now).unwrap();
    let (identity, trust) = (authority.identity(), authority.trust());
    let people = authority.for_people(gateway, now).unwrap();
    let configs = FrontDoorConfigs {
        enrolment: Arc::new(enrol_server_config(&identity, trust).unwrap()),
        carriers: Arc::new(http_server_config(&identity, trust).unwrap()),
        people: Arc::new(people_server_config(&people.leaf_der, &people.key, trust).unwrap()),
    };
    (Arc::new(FrontDoorTls::new(configs)), trust.ca_der().to_vec())
}

/// Connects as one who asks for `name`; returns as what it was served, and what it saw.
pub(crate) async fn ask(tls: &FrontDoorTls, name: &str, alpns: &[&[u8]]) -> io::Result<(Spoken, Look)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    let (served, _) = listener.accept().await?;
    let (accepted, look) = tokio::join!(tls.accept(served), look(tcp, name, alpns));
    Ok((accepted?.0, look?))
}

/// Makes a certificate for `name`, signed by one called `issuer`.
pub(crate) fn made(issuer: &str, name: &str) -> Made {
    made_for_life(issuer, &CertificateParams::new(vec![name.into()]).unwrap())
}

/// Makes a certificate as it is asked for, signed by one called `issuer`.
pub(crate) fn made_for_life(issuer: &str, params: &CertificateParams) -> Made {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, issuer);
    let ca_key = KeyPair::generate().unwrap();
    let signer = certificate_pem(ca.self_signed(&ca_key).unwrap().der());
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = certificate_pem(key.serialized_der()).replace("CERTIFICATE", "PRIVATE KEY");
    Made { leaf: certificate_pem(leaf.der()), signer, key }
}

/// What a client saw.
pub(crate) struct Look {
    chain: Vec<CertificateDer<'static>>,
    pub(crate) issuer: String,
}

/// Returns both ends of a connection of one who asks for `name`.
pub(crate) async fn joined(
    tls: &FrontDoorTls,
    name: &str,
    alpns: &[&[u8]],
) -> io::Result<(FrontDoorStream, TlsStream<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    let (served, _) = listener.accept().await?;
    let (accepted, connected) = tokio::join!(tls.accept(served), connect(tcp, name, alpns));
    Ok((accepted?.1, connected?))
}

/// Does a handshake with whoever answers, asking for `name`.
pub(crate) async fn look(tcp: TcpStream, name: &str, alpns: &[&[u8]]) -> io::Result<Look> {
    let stream = connect(tcp, name, alpns).await?;
    let chain: Vec<_> =
        stream.get_ref().1.peer_certificates().unwrap().iter().map(|it| it.clone().into_owned()).collect();
    let issuer = X509Certificate::from_der(&chain[0]).unwrap().1.issuer().to_string();
    Ok(Look { chain, issuer })
}

async fn connect(tcp: TcpStream, name: &str, alpns: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Look {
    pub(crate) fn names(&self, host: &str) -> bool {
        let leaf = ParsedCertificate::try_from(&self.chain[0]).unwrap();
        verify_server_name(&leaf, &ServerName::try_from(host).unwrap()).is_ok()
    }

    /// Returns what an ACME authority looks for behind `host` (RFC 8737 §3), if it was shown.
    pub(crate) fn challenge_digest(&self, host: &str) -> Option<[u8; 32]> {
        let (_, leaf) = X509Certificate::from_der(&self.chain[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let extension = leaf.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")?;
        // An octet string in DER.
        let digest = extension.value.strip_prefix(&[4, 32])?.try_into().unwrap();
        let is_for_host = names.value.general_names == [GeneralName::DNSName(host)];
        Some(digest).filter(|_| extension.critical && is_for_host)
    }

    /// Returns whether it is the leaf by which agents know the gateway.
    pub(crate) fn is_gateways_own(&self) -> bool {
        let (_, leaf) = X509Certificate::from_der(&self.chain[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        names.value.general_names == [GeneralName::URI("spiffe://example.org/gateway")]
    }

    /// Judges as `curl --cacert` does.
    pub(crate) fn is_good_for(&self, host: &str, ca_der: &[u8], now_secs: u64) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca_der.to_vec())).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_secs));
        let host = ServerName::try_from(host).unwrap();
        verifier.verify_server_cert(&self.chain[0], &self.chain[1..], &host, &[], now).is_ok()
    }
}

/// Takes a challenge's certificate too, whose critical extension makes rustls stop reading.
fn or_unread(judged: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
    match judged {
        Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
            Ok(HandshakeSignatureValid::assertion())
        }
        judged => judged,
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
        or_unread(verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        or_unread(verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
