//! The key of an account at an ACME authority, and what is signed with it: JSON Web Signatures by ES256 (RFC 7515, RFC
//! 7518 §3.4). What is said in them is not known here.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use adit_core::domain::digest::sha256;

use super::error::IdentityError;
use super::key::KeyPair;
use super::web::base64_url;

/// A P-256 point in the open starts with this (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

pub struct AccountKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl AccountKey {
    pub fn generate() -> Result<Self, IdentityError> {
        Self::from_pkcs8_der(&KeyPair::generate()?.to_pkcs8())
    }

    /// Reads what [`Self::to_pkcs8`] gave.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, IdentityError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| IdentityError::BadPrivateKey)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// Returns the key for a file of mode 0600.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Returns the public key as a JSON Web Key (RFC 7517 §4), its members in the order in which they are hashed
    /// (RFC 7638 §3).
    #[must_use]
    pub fn jwk(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = match point {
            [UNCOMPRESSED, coordinates @ ..] => coordinates.split_at(coordinates.len() / 2),
            _ => point.split_at(0),
        };
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, base64_url(x), base64_url(y))
    }

    /// Returns by which an authority knows the key (RFC 8555 §8.1).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        base64_url(&sha256(self.jwk().as_bytes()))
    }

    /// Signs a payload under its protected header; returns all three as they are sent (RFC 7515 §7.2.2).
    pub fn sign(&self, protected: &str, payload: &str) -> Result<String, IdentityError> {
        let (protected, payload) = (base64_url(protected.as_bytes()), base64_url(payload.as_bytes()));
        let signed = format!("{protected}.{payload}");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| IdentityError::Signing { what: "a request to an ACME authority".into() })?;
        let signature = base64_url(signature.as_ref());
        Ok(format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#))
    }
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountKey({})", self.thumbprint())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_is_verified_by_the_public_key_over_header_and_payload() {
        let key = AccountKey::generate().unwrap();
        let signed = key.sign(r#"{"alg":"ES256"}"#, "{}").unwrap();
        assert!(
            signed.starts_with(r#"{"protected":"eyJhbGciOiJFUzI1NiJ9","payload":"e30","signature":""#),
            "{signed}"
        );
        let signature = key.pair.sign(&SystemRandom::new(), b"eyJhbGciOiJFUzI1NiJ9.e30").unwrap();
        assert_eq!(signature.as_ref().len(), 64);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        assert!(public.verify(b"eyJhbGciOiJFUzI1NiJ9.e30", signature.as_ref()).is_ok());
    }

    #[test]
    fn a_key_is_the_same_after_a_restart_and_never_prints_itself() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8_der(key.to_pkcs8()).unwrap();
        assert_eq!((again.jwk(), again.thumbprint()), (key.jwk(), key.thumbprint()));
        // 32 bytes each.
        assert_eq!(key.jwk().len(), r#"{"crv":"P-256","kty":"EC","x":"","y":""}"#.len() + 2 * 43);
        assert_eq!(format!("{key:?}"), format!("AccountKey({})", key.thumbprint()));
        assert!(AccountKey::from_pkcs8_der(b"nothing").is_err());
    }
}
