//! Everything that can be wrong with a certificate, a request for one, or a key.

use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::time::Timestamp;

use super::name::PeerName;

/// Grouped by blame: what a peer presented, what it asked for, what this host has on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the peer sent {sent} certificates; expected its leaf, or its leaf and the CA")]
    ChainLength { sent: usize },
    #[error("the peer's certificate is not signed by the CA of this trust domain")]
    UnknownIssuer,
    #[error("the peer's certificate cannot be read: {what}")]
    BadCertificate { what: &'static str },
    #[error("the peer's certificate does not carry exactly one name of the trust domain `{trust_domain}`")]
    BadName { trust_domain: String },
    #[error("the peer is {found}, expected {expected}")]
    WrongPeer { expected: PeerName, found: PeerName },
    #[error("the gateway cannot be a client here; only servers dial")]
    GatewayDials,
    #[error(
        "the peer's certificate expired at {at}, now it is {now}; its agent renews it once it reaches the gateway"
    )]
    Expired { at: Timestamp, now: Timestamp },
    #[error("the peer's certificate is valid from {at}, now it is {now}; compare the clocks")]
    NotYetValid { at: Timestamp, now: Timestamp },
    #[error(
        "the gateway's CA key is {found}, the connector file names {expected}; compare the gateway's \
         address in the connector file, and take a new one if the gateway was set up anew"
    )]
    WrongCaKey { expected: KeyFingerprint, found: KeyFingerprint },

    #[error("Mirth shows the key {shown}, and no key of it is trusted yet")]
    UnknownMirthKey { shown: KeyFingerprint },
    #[error("Mirth shows the key {shown}, but {known} is the trusted one")]
    ChangedMirthKey { shown: KeyFingerprint, known: KeyFingerprint },

    #[error("the certificate request cannot be read: {what}")]
    BadRequest { what: &'static str },
    #[error("the certificate request is not signed with the key it carries")]
    RequestSignature,
    #[error("the key is not ECDSA P-256 in its one canonical form")]
    KeyKind,
    #[error("the certificate request asks for a name; names are given by the gateway alone")]
    RequestNames,
    #[error("the certificate request asks to be a CA")]
    RequestCa,

    #[error("the private key cannot be read: expected a PKCS#8 ECDSA P-256 key in DER")]
    BadPrivateKey,
    #[error("the private key does not belong to the certificate; restore both from one backup")]
    KeyMismatch,
    #[error("the CA certificate cannot be used: {what}")]
    BadCa { what: &'static str },
    #[error("signing failed: {what}")]
    Signing { what: String },
}
