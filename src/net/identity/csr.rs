//! Certificate signing requests as the gateway receives them: one verified key comes out, nothing else.
//!
//! What a request says beyond its key never reaches a certificate. A request that asks for a name or
//! for the CA flag is refused rather than ignored, because an honest agent asks for neither.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use adit_core::domain::id::KeyFingerprint;

use super::error::IdentityError;
use super::key::PublicKey;

/// A P-256 key whose owner has proven to hold its private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCsr {
    key: PublicKey,
}

impl VerifiedCsr {
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|_| IdentityError::BadRequest { what: "it is not a DER PKCS#10 request" })?;
        if !rest.is_empty() {
            return Err(IdentityError::BadRequest { what: "bytes follow its end" });
        }
        let info = &request.certification_request_info;
        let key = PublicKey::from_spki(info.subject_pki.raw)?;
        if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(IdentityError::KeyKind);
        }
        request.verify_signature().map_err(|_| IdentityError::RequestSignature)?;

        if info.subject.iter().next().is_some() {
            return Err(IdentityError::RequestNames);
        }
        // `requested_extensions` reads the first such attribute only; a second could hide a wish.
        if info.attributes().len() > 1 {
            return Err(IdentityError::BadRequest { what: "it has more than one attribute" });
        }
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(_) => return Err(IdentityError::RequestNames),
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    return Err(IdentityError::RequestCa);
                }
                _ => {}
            }
        }
        Ok(Self { key })
    }

    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.key.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::super::key::KeyPair;
    use super::*;

    fn request(
        key: &rcgen::KeyPair,
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Result<VerifiedCsr, IdentityError> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        VerifiedCsr::from_der(params.serialize_request(key).unwrap().der())
    }

    #[test]
    fn a_request_of_ours_gives_nothing_but_its_key() {
        let pair = KeyPair::generate().unwrap();
        let csr = VerifiedCsr::from_der(&pair.csr_der().unwrap()).unwrap();
        assert_eq!(csr.fingerprint(), pair.fingerprint());
    }

    #[test]
    fn a_request_that_asks_for_a_name_or_the_ca_flag_is_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let uri = "spiffe://example.org/gateway".try_into().unwrap();
        assert_eq!(
            request(&key, |params| params.subject_alt_names = vec![rcgen::SanType::URI(uri)]),
            Err(IdentityError::RequestNames)
        );
        assert_eq!(
            request(&key, |params| params.distinguished_name.push(rcgen::DnType::CommonName, "gateway")),
            Err(IdentityError::RequestNames)
        );
        assert_eq!(
            request(&key, |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            Err(IdentityError::RequestCa)
        );
    }

    #[test]
    fn a_request_over_a_key_of_another_kind_is_refused() {
        for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            assert_eq!(request(&key, |_| {}), Err(IdentityError::KeyKind));
        }
        let rsa =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        assert_eq!(request(&rsa, |_| {}), Err(IdentityError::KeyKind));
    }

    #[test]
    fn a_request_changed_in_a_signed_byte_or_cut_anywhere_is_refused() {
        let der = KeyPair::generate().unwrap().csr_der().unwrap();
        let honest = VerifiedCsr::from_der(&der).unwrap();
        let (outer_header, info_header) = (3, 2);
        let signed = outer_header..outer_header + info_header + usize::from(der[4]);
        for at in 0..der.len() {
            let mut tampered = der.clone();
            tampered[at] ^= 0x01;
            // The parser is lax about a few bytes that no signature covers and nothing depends on.
            if let Ok(csr) = VerifiedCsr::from_der(&tampered) {
                assert!(!signed.contains(&at) && csr == honest, "byte {at} changed");
            }
            assert!(VerifiedCsr::from_der(&der[..at]).is_err(), "cut at byte {at}");
        }
        let longer = [&der[..], &[0]].concat();
        assert!(VerifiedCsr::from_der(&longer).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_without_a_panic(bytes: Vec<u8>, at in any::<proptest::sample::Index>(), byte: u8) {
            assert!(VerifiedCsr::from_der(&bytes).is_err());
            let mut der = KeyPair::generate().unwrap().csr_der().unwrap();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = VerifiedCsr::from_der(&der);
        }
    }
}
