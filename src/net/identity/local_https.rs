//! The certificate that this host shows to the Administrators and browsers beside it. Java clients of
//! Mirth take exactly one self-signed certificate and ask for no name (MIRTH §2); browsers ask for the
//! name, so both are in it. It says nothing about the peer: that is proven inside the tunnel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use adit_core::domain::digest::sha256;
use adit_core::domain::time::Timestamp;

use super::ca::{params, signing};
use super::error::IdentityError;
use super::key::KeyPair;

/// People compare its fingerprint once and keep it.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug)]
pub struct LocalCertificate {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// What people open it by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalNames {
    /// Lower-case.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl LocalCertificate {
    pub fn generate(names: &LocalNames, now: Timestamp) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = params("adit admin session", now, LIFE);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in &names.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(signing)?));
        }
        params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        let certificate = params.self_signed(key.signer()).map_err(signing)?;
        Ok(Self { certificate: certificate.der().clone(), key })
    }

    /// Takes what [`Self::certificate_der`] and [`Self::key`] gave, read back from disk.
    pub fn from_parts(certificate_der: &[u8], key: KeyPair) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from(certificate_der.to_vec());
        if !key.owns(&certificate) {
            return Err(IdentityError::KeyMismatch);
        }
        Ok(Self { certificate, key })
    }

    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Returns whether it is good for all of `names` at `now`.
    #[must_use]
    pub fn serves(&self, names: &LocalNames, now: Timestamp) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(&self.certificate) else { return false };
        let validity = certificate.validity();
        let is_valid =
            (validity.not_before.timestamp()..validity.not_after.timestamp()).contains(&now.as_secs());
        let Ok(Some(san)) = certificate.subject_alternative_name() else { return false };
        let held = |wanted: &GeneralName<'_>| san.value.general_names.contains(wanted);
        let octets = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        is_valid
            && names.names.iter().all(|name| held(&GeneralName::DNSName(name)))
            && names.addresses.iter().all(|address| held(&GeneralName::IPAddress(&octets(address))))
    }

    /// Returns SHA-256 of the certificate, as browsers show it: `AB:CD:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256(&self.certificate).map(|byte| format!("{byte:02X}")).join(":")
    }

    /// Returns the configuration for clients as old as Java 8; no ALPN, as Mirth offers none.
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(self.key.to_pkcs8().to_vec().into());
        let failed = |error: rustls::Error| IdentityError::Signing { what: error.to_string() };
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn names() -> LocalNames {
        LocalNames {
            names: vec!["localhost".into()],
            addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        }
    }

    #[test]
    fn one_self_signed_certificate_serves_its_names_for_ten_years() {
        let made = LocalCertificate::generate(&names(), NOW).unwrap();
        let (_, certificate) = X509Certificate::from_der(made.certificate_der()).unwrap();
        assert_eq!(certificate.subject(), certificate.issuer());
        assert!(certificate.verify_signature(None).is_ok());
        assert!(made.serves(&names(), NOW));
        assert!(made.serves(&LocalNames::default(), NOW));
        let years = |count: u64| NOW.saturating_add(Duration::from_secs(count * 365 * 24 * 3600));
        assert!(made.serves(&names(), years(9)) && !made.serves(&names(), years(11)));
        let more = LocalNames { names: vec!["mirth.example.org".into()], ..names() };
        assert!(!made.serves(&more, NOW));
        let more = LocalNames { addresses: vec!["10.1.2.3".parse().unwrap()], ..names() };
        assert!(!made.serves(&more, NOW));
    }

    #[test]
    fn it_reads_back_from_disk_with_its_own_key_alone() {
        let made = LocalCertificate::generate(&names(), NOW).unwrap();
        let key = || KeyPair::from_pkcs8_der(&made.key().to_pkcs8()).unwrap();
        let read = LocalCertificate::from_parts(made.certificate_der(), key()).unwrap();
        assert_eq!(read.fingerprint(), made.fingerprint());
        assert_eq!(made.fingerprint().len(), 32 * 3 - 1);
        let other = KeyPair::generate().unwrap();
        assert!(matches!(
            LocalCertificate::from_parts(made.certificate_der(), other),
            Err(IdentityError::KeyMismatch)
        ));
        assert!(read.server_config().is_ok());
    }
}
