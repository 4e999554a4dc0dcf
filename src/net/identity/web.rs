//! Certificates that browsers trust, as their CA hands them out: PEM, the leaf first. Whether a browser's CAs lead to
//! it is not known here; what would be wrong with any is.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use adit_core::domain::digest::sha256;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::carrier;

use super::ca::signing;
use super::error::IdentityError;
use super::key::KeyPair;
use super::tls::showing;

/// Characters of a line between the marks (RFC 7468 §2).
const PEM_LINE_CHARS: usize = 64;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WebCertificateError {
    #[error(
        "the file of the certificate holds none in PEM; write the certificate first, then those that lead to its CA"
    )]
    NoCertificate,
    #[error(
        "the file of the key holds none in PEM; write the private key without a passphrase, as PKCS#8, PKCS#1 or SEC1"
    )]
    NoKey,
    #[error("certificate {number} of the file cannot be read; write it as its CA has handed it out")]
    Unreadable { number: usize },
    #[error(
        "certificate {number} of the file did not sign the one before it; write the certificate first, then the one that \
         signed it, and so on"
    )]
    Order { number: usize },
    #[error("the certificate does not name {host}; get one that has it among its names, or correct the name")]
    Name { host: String },
    #[error(
        "the key does not belong to the certificate, or is of no known kind; write the one that the certificate was asked \
         for with: RSA, ECDSA or Ed25519"
    )]
    Key,
}

/// A certificate, those that lead to its CA, and its key.
#[derive(Debug)]
pub struct WebCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl WebCertificate {
    /// Reads one that is good for `host`, whatever the time.
    pub fn from_pem(certificate: &[u8], key: &[u8], host: &str) -> Result<Self, WebCertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| WebCertificateError::NoCertificate)?;
        let leaf = chain.first().ok_or(WebCertificateError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| WebCertificateError::NoKey)?;
        let validity = judge_chain(&chain)?;
        judge_name(leaf, host)?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider())
            .map_err(|_| WebCertificateError::Key)?;
        let (not_before, not_after) = validity;
        Ok(Self { chain, key, not_before, not_after })
    }

    /// Returns by which an ACME authority knows it, where it says who signed it (RFC 9773 §4.1).
    #[must_use]
    pub fn renewal_id(&self) -> Option<String> {
        let (_, leaf) = X509Certificate::from_der(self.chain.first()?).ok()?;
        let signer = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(signer) => signer.key_identifier.as_ref(),
            _ => None,
        })?;
        Some(format!("{}.{}", base64_url(signer.0), base64_url(leaf.tbs_certificate.raw_serial())))
    }

    /// Returns a number that is as good as drawn once for this certificate, and the same whenever it is asked for.
    #[must_use]
    pub fn draw(&self) -> u16 {
        let [first, second, ..] = sha256(self.chain.first().map_or(&[], |leaf| leaf.as_ref()));
        u16::from_be_bytes([first, second])
    }

    /// Returns the gateway's side towards browsers.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        showing(self.chain.clone(), self.key.clone_key(), &versions, carrier::ALPN).map(Arc::new)
    }
}

/// Returns from when until when the first is valid, if each was signed by the next.
fn judge_chain(chain: &[CertificateDer<'_>]) -> Result<(Timestamp, Timestamp), WebCertificateError> {
    let read = |(certificate, number)| match X509Certificate::from_der(certificate) {
        Ok(([], read)) => Ok(read),
        _ => Err(WebCertificateError::Unreadable { number }),
    };
    let chain: Vec<_> = chain.iter().map(AsRef::as_ref).zip(1..).map(read).collect::<Result<_, _>>()?;
    for (pair, number) in chain.windows(2).zip(2..) {
        if let [signed, signer] = pair
            && signed.issuer() != signer.subject()
        {
            return Err(WebCertificateError::Order { number });
        }
    }
    let leaf = chain.first().ok_or(WebCertificateError::NoCertificate)?;
    let timestamp = |secs: i64| Timestamp::from_millis(secs.saturating_mul(1_000));
    let validity = leaf.validity();
    Ok((timestamp(validity.not_before.timestamp()), timestamp(validity.not_after.timestamp())))
}

fn judge_name(leaf: &CertificateDer<'_>, host: &str) -> Result<(), WebCertificateError> {
    let other_name = || WebCertificateError::Name { host: host.into() };
    let name = ServerName::try_from(host).map_err(|_| other_name())?;
    let leaf =
        ParsedCertificate::try_from(leaf).map_err(|_| WebCertificateError::Unreadable { number: 1 })?;
    verify_server_name(&leaf, &name).map_err(|_| other_name())
}

/// Returns a certificate in PEM (RFC 7468 §5).
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

/// Returns a private key in PEM (RFC 7468 §10).
#[must_use]
pub fn key_pem(key: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(pem("PRIVATE KEY", &key.to_pkcs8()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(base64(der));
    // Enough room from the start: it may hold a key, and no copy is left behind by growing.
    let mut pem = String::with_capacity(text.len() + text.len() / PEM_LINE_CHARS + 2 * label.len() + 40);
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    for line in text.as_bytes().chunks(PEM_LINE_CHARS) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.extend(["-----END ", label, "-----\n"]);
    pem
}

/// Returns a request for a certificate for `host` (RFC 2986), as public authorities take it.
pub fn request_for(key: &KeyPair, host: &str) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(signing)?;
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key.signer()).map(|request| request.der().to_vec()).map_err(signing)
}

/// Returns base64 as it stands in URLs and in JSON Web Signatures, without padding (RFC 4648 §5).
#[must_use]
pub fn base64_url(bytes: &[u8]) -> String {
    let other = |char| match char {
        '+' => '-',
        '/' => '_',
        char => char,
    };
    base64(bytes).trim_end_matches('=').chars().map(other).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            if digit <= group.len() {
                let at = bits >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[at as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    const HOST: &str = "console.example.org";

    struct Made {
        leaf: String,
        signer: String,
        key: String,
    }

    fn made(name: &str) -> Made {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "Test CA");
        let ca_key = KeyPair::generate().unwrap();
        let signer = certificate_pem(ca.self_signed(&ca_key).unwrap().der());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let key = certificate_pem(key.serialized_der()).replace("CERTIFICATE", "PRIVATE KEY");
        Made { leaf: certificate_pem(leaf.der()), signer, key }
    }

    fn read(certificate: &str, key: &str) -> Result<WebCertificate, WebCertificateError> {
        WebCertificate::from_pem(certificate.as_bytes(), key.as_bytes(), HOST)
    }

    #[test]
    fn a_chain_in_order_with_its_key_and_name_is_served() {
        for name in [HOST, "*.example.org"] {
            let made = made(name);
            let whole = format!("{}{}", made.leaf, made.signer);
            assert!(read(&made.leaf, &made.key).unwrap().server_config().is_ok());
            assert!(read(&whole, &made.key).unwrap().server_config().is_ok());
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_pair_is_named() {
        let (good, other) = (made(HOST), made("other.example.org"));
        let check = |certificate: &str, key: &str, expected| {
            assert_eq!(read(certificate, key).err(), Some(expected));
        };
        check("", &good.key, WebCertificateError::NoCertificate);
        check(
            &good.leaf.replace("CERTIFICATE", "CERTIFICATES"),
            &good.key,
            WebCertificateError::NoCertificate,
        );
        check(&good.leaf, "", WebCertificateError::NoKey);
        check(&good.leaf, &good.leaf, WebCertificateError::NoKey);
        check(&good.leaf, &other.key, WebCertificateError::Key);
        check(&other.leaf, &other.key, WebCertificateError::Name { host: HOST.into() });
        let order = WebCertificateError::Order { number: 2 };
        check(&format!("{}{}", good.signer, good.leaf), &good.key, order);
        check(
            &format!("{}{}", good.leaf, certificate_pem(b"x")),
            &good.key,
            WebCertificateError::Unreadable { number: 2 },
        );
    }

    #[test]
    fn a_certificate_is_known_to_its_authority_by_who_signed_it_and_its_number() {
        // The example of RFC 9773 §4.1.
        let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0, 0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signer = 0x6988_5b6b_8746_4041_e1b3_7b84_7ba0_ae2c_u128.to_be_bytes();
        let signer = [&signer[..], &[0xde, 0x01, 0xc8, 0xd4]].concat();
        ca.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(signer);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &Issuer::new(ca, KeyPair::generate().unwrap())).unwrap();
        let key = certificate_pem(key.serialized_der()).replace("CERTIFICATE", "PRIVATE KEY");
        let known = read(&certificate_pem(leaf.der()), &key).unwrap().renewal_id();
        assert_eq!(known.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        let made = made(HOST);
        assert_eq!(read(&made.leaf, &made.key).unwrap().renewal_id(), None);
    }

    #[test]
    fn base64_is_as_rfc_4648_has_it() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(base64_url(bytes.as_bytes()), text.trim_end_matches('='));
        }
        assert_eq!(base64_url(&[0xfb, 0xff, 0xbf]), "-_-_");
    }
}
