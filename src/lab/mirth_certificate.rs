//! The certificate of a stand-in for Mirth's HTTPS port: it names no host and nobody knows who signed
//! it, as with Mirth's own. Nothing that the product trusts is made here.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use adit_core::domain::digest::sha256;
use adit_core::domain::id::KeyFingerprint;
use adit_net::identity::error::IdentityError;

/// One RSA-2048 leaf `CN=mirth-connect` without SAN, signed by a CA of its own.
#[derive(Debug)]
pub struct MirthCertificate {
    leaf: CertificateDer<'static>,
    key: rcgen::KeyPair,
}

impl MirthCertificate {
    pub fn generate() -> Result<Self, IdentityError> {
        let mut params = named("Mirth Connect Certificate Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(params, rsa_key()?).map_err(|error| signing(&error))?;
        let key = rsa_key()?;
        let leaf = named("mirth-connect").signed_by(&key, &ca).map_err(|error| signing(&error))?;
        Ok(Self { leaf: leaf.der().clone(), key })
    }

    /// Returns what people compare: of its public key.
    #[must_use]
    pub fn key_fingerprint(&self) -> KeyFingerprint {
        fingerprint(&self.key.subject_public_key_info())
    }

    /// Returns a configuration: TLS 1.2 or 1.3, the leaf alone, no ALPN.
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let failed = |error: rustls::Error| IdentityError::Signing { what: error.to_string() };
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![self.leaf.clone()], key)
            .map_err(failed)
    }
}

fn fingerprint(public_key: &[u8]) -> KeyFingerprint {
    KeyFingerprint::from_bytes(sha256(public_key))
}

fn signing(error: &rcgen::Error) -> IdentityError {
    IdentityError::Signing { what: error.to_string() }
}

fn rsa_key() -> Result<rcgen::KeyPair, IdentityError> {
    rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(|error| signing(&error))
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn the_leaf_is_as_mirths_without_a_host_name() {
        let made = MirthCertificate::generate().unwrap();
        let (_, leaf) = X509Certificate::from_der(&made.leaf).unwrap();
        assert_eq!(leaf.subject().to_string(), "CN=mirth-connect");
        assert_eq!(leaf.issuer().to_string(), "CN=Mirth Connect Certificate Authority");
        assert!(leaf.subject_alternative_name().unwrap().is_none());
        assert_eq!(leaf.public_key().parsed().unwrap().key_size(), 2048);
        assert_eq!(fingerprint(leaf.public_key().raw), made.key_fingerprint());
    }
}
