//! Key pairs and public keys. ECDSA P-256 is the only kind there is.

use aws_lc_rs::hkdf;
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use adit_core::domain::digest::sha256;
use adit_core::domain::id::KeyFingerprint;

use super::error::IdentityError;

/// A `SubjectPublicKeyInfo` for id-ecPublicKey on prime256v1 up to the point (RFC 5480 §2).
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const P256_SPKI_LEN: usize = P256_SPKI_PREFIX.len() + 64;

/// A P-256 public key in its one canonical encoding, so that one key has one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: [u8; P256_SPKI_LEN],
}

impl PublicKey {
    /// Reads a key; whether the point lies on the curve is found out by the one who verifies a signature with
    /// it.
    pub fn from_spki(der: &[u8]) -> Result<Self, IdentityError> {
        let spki: [u8; P256_SPKI_LEN] = der.try_into().map_err(|_| IdentityError::KeyKind)?;
        if !spki.starts_with(&P256_SPKI_PREFIX) {
            return Err(IdentityError::KeyKind);
        }
        Ok(Self { spki })
    }

    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::from_bytes(sha256(&self.spki))
    }

    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

/// A private key with its public half. Wiped when dropped, never printed.
pub struct KeyPair {
    pair: rcgen::KeyPair,
}

impl KeyPair {
    pub fn generate() -> Result<Self, IdentityError> {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|pair| Self { pair })
            .map_err(|error| IdentityError::Signing { what: error.to_string() })
    }

    /// Reads what [`Self::to_pkcs8`] gave.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from(der);
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|pair| Self { pair })
            .map_err(|_| IdentityError::BadPrivateKey)
    }

    /// Returns the key for a file of mode 0600.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.serialize_der())
    }

    /// Returns a key for another purpose, the same for life (HKDF-SHA256, RFC 5869); it tells nothing of this
    /// one.
    #[must_use]
    pub fn derive(&self, purpose: &'static [u8]) -> [u8; 32] {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit key")
            .extract(&self.to_pkcs8())
            .expand(&[purpose], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("one block is far below 255");
        key
    }

    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::from_bytes(sha256(&self.pair.subject_public_key_info()))
    }

    pub fn public(&self) -> Result<PublicKey, IdentityError> {
        PublicKey::from_spki(&self.pair.subject_public_key_info())
    }

    /// Returns a certificate signing request that carries the key and asks for nothing.
    pub fn csr_der(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .serialize_request(&self.pair)
            .map(|request| request.der().to_vec())
            .map_err(|error| IdentityError::Signing { what: error.to_string() })
    }

    pub(super) const fn signer(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    pub(super) fn owns(&self, certificate: &CertificateDer<'_>) -> bool {
        use x509_parser::prelude::{FromDer, X509Certificate};
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, certificate)| certificate.public_key().raw == self.pair.subject_public_key_info())
    }
}

impl Drop for KeyPair {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_reads_back_from_its_file_without_ever_printing_itself() {
        let key = KeyPair::generate().unwrap();
        let file = key.to_pkcs8();
        let read = KeyPair::from_pkcs8_der(&file).unwrap();
        assert_eq!(read.fingerprint(), key.fingerprint());
        assert_eq!(format!("{key:?}"), format!("KeyPair({})", key.fingerprint()));
    }

    #[test]
    fn a_cut_key_file_is_refused_at_every_byte() {
        let file = KeyPair::generate().unwrap().to_pkcs8();
        for cut in 0..file.len() {
            assert_eq!(
                KeyPair::from_pkcs8_der(&file[..cut]).err(),
                Some(IdentityError::BadPrivateKey),
                "cut at byte {cut}"
            );
        }
    }

    #[test]
    fn only_the_canonical_encoding_of_a_p256_key_is_a_public_key() {
        let pair = KeyPair::generate().unwrap();
        let spki = pair.pair.subject_public_key_info();
        assert_eq!(PublicKey::from_spki(&spki).unwrap().fingerprint(), pair.fingerprint());

        let mut compressed = spki.clone();
        compressed[26] = 0x02;
        let longer = [&spki[..], &[0]].concat();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        for other in [&compressed, &longer, &p384.subject_public_key_info(), &Vec::new()] {
            assert_eq!(PublicKey::from_spki(other), Err(IdentityError::KeyKind));
        }
    }
}
