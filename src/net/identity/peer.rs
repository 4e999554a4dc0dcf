//! The proof that a peer is who its leaf says.

use rustls::pki_types::CertificateDer;

use adit_core::domain::digest::sha256;
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::time::Timestamp;

use super::error::IdentityError;
use super::leaf;
use super::name::PeerName;
use super::tls::{Dates, Trust};

/// Who stands at the other end of a finished TLS handshake. There is no other way to make one, so its holder
/// need not ask again who the peer is, only whether it is welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer {
    name: PeerName,
    key: KeyFingerprint,
    leaf_hash: [u8; 32],
    not_before: Timestamp,
    not_after: Timestamp,
}

impl VerifiedPeer {
    /// Reads the peer from the chain that a finished handshake under our verifiers gives. Name and signature
    /// are verified once more, since a chain does not tell where it comes from; dates were the handshake's
    /// business, and [`Self::is_expired`] tells.
    pub fn from_handshake(chain: &[CertificateDer<'_>], trust: &Trust) -> Result<Self, IdentityError> {
        let [der, rest @ ..] = chain else { return Err(IdentityError::ChainLength { sent: 0 }) };
        let leaf = leaf::verify(der, rest, trust, &Dates::Ignore)?;
        Ok(Self {
            name: leaf.name,
            key: leaf.key.fingerprint(),
            leaf_hash: leaf_hash(der),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        })
    }

    #[must_use]
    pub const fn name(&self) -> PeerName {
        self.name
    }

    /// Returns the server at the other end, unless it is the gateway.
    #[must_use]
    pub const fn server(&self) -> Option<ServerId> {
        match self.name {
            PeerName::Server(server) => Some(server),
            PeerName::Gateway => None,
        }
    }

    #[must_use]
    pub const fn key(&self) -> KeyFingerprint {
        self.key
    }

    /// Returns the hash of its leaf: see [`leaf_hash`].
    #[must_use]
    pub const fn leaf_hash(&self) -> [u8; 32] {
        self.leaf_hash
    }

    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

/// Returns SHA-256 of a leaf's DER: how proofs name the leaf of either side.
#[must_use]
pub fn leaf_hash(der: &[u8]) -> [u8; 32] {
    sha256(der)
}
