//! The key that seals what is secret in the database (connection secrets, seeds of second factors, client secrets of
//! identity providers, verifiers of sign-ins under way), kept in a file beside it.
//!
//! AES-256-GCM (NIST SP 800-38D); connection and epoch are authenticated with each secret, so that
//! a sealed secret moved to another row does not open.

use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use tracing::debug;
use zeroize::Zeroizing;

use crate::store::SEALED_BYTES;
use adit_core::domain::id::{ConnectionId, OrganizationId};
use adit_core::domain::secret::Secret;
use adit_net::host::folder::{Folder, FolderError};
use adit_net::identity::random;

pub(crate) const FILE: &str = "sealing.key";
pub(crate) const TURN: &str = "sealing";
/// Sets the key that signs apart from the one that seals.
const SIGNS: &[u8] = b"adit: signs what the gateway hands out";
pub(super) const SIGNATURE_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the sealing key cannot be used")]
    Folder {
        #[from]
        source: FolderError,
    },
    #[error("`{path}` is no sealing key (64 hexadecimal digits); restore it from a backup")]
    Damaged { path: PathBuf },
    #[error(
        "the sealing key `{path}` is missing, and the database holds secrets sealed with it; restore the file from a backup"
    )]
    Missing { path: PathBuf },
    #[error(
        "this sealing key does not open the stored secret; restore `sealing.key` or run `adit admin connection rotate`"
    )]
    Unseal,
    #[error("sealing a secret failed; this is a bug, please report it")]
    Seal,
}

pub(super) struct SealingKey {
    seals: LessSafeKey,
    /// Signs what is handed out and must come back unchanged.
    signs: hmac::Key,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey([secret])")
    }
}

impl SealingKey {
    /// Reads the key, or makes one while nothing depends on an older one. The gateway and `adit
    /// admin` may both come first; one makes it and the other finds it.
    pub(super) fn open(folder: &Folder, is_needed: bool) -> Result<Self, SealError> {
        let _turn = folder.turn(TURN)?;
        let path = folder.path().join(FILE);
        if let Some(text) = folder.read(FILE)? {
            let text = std::str::from_utf8(&text).unwrap_or_default().trim_end();
            let key = Secret::from_hex(text).map_err(|_| SealError::Damaged { path })?;
            return Self::from_secret(&key);
        }
        if is_needed {
            return Err(SealError::Missing { path });
        }
        debug!(path = %path.display(), "there is no sealing key yet, and nothing sealed; one is made");
        let key = Secret::from_bytes(random::bytes());
        folder.write(FILE, Zeroizing::new(key.reveal_hex()).as_bytes())?;
        Self::from_secret(&key)
    }

    pub(super) fn from_secret(key: &Secret) -> Result<Self, SealError> {
        let signs = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), SIGNS);
        let signs = hmac::Key::new(hmac::HMAC_SHA256, signs.as_ref());
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| SealError::Seal)?;
        Ok(Self { seals: LessSafeKey::new(key), signs })
    }

    pub(super) fn seal(
        &self,
        connection: ConnectionId,
        epoch: u32,
        secret: &Secret,
    ) -> Result<[u8; SEALED_BYTES], SealError> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = [0; SEALED_BYTES];
        let (head, rest) = sealed.split_at_mut(NONCE_LEN);
        let (body, tail) = rest.split_at_mut(32);
        head.copy_from_slice(&nonce);
        body.copy_from_slice(secret.expose());
        let tag = self
            .seals
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(connection, epoch)),
                body,
            )
            .map_err(|_| SealError::Seal)?;
        tail.copy_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub(super) fn open_sealed(
        &self,
        connection: ConnectionId,
        epoch: u32,
        sealed: &[u8; SEALED_BYTES],
    ) -> Result<Secret, SealError> {
        let (nonce, body) = sealed.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Unseal)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .seals
            .open_in_place(nonce, Aad::from(associated(connection, epoch)), &mut body)
            .map_err(|_| SealError::Unseal)?;
        plain.first_chunk().copied().map(Secret::from_bytes).ok_or(SealError::Unseal)
    }
}

impl SealingKey {
    /// Seals bytes of any length. They open only with the same text, which says what they are and whose.
    pub(super) fn seal_as(&self, what: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = self
            .seals
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(what.as_bytes()),
                &mut body,
            )
            .map_err(|_| SealError::Seal)?;
        Ok([&nonce[..], &body[..], tag.as_ref()].concat())
    }

    /// Opens what [`Self::seal_as`] sealed.
    pub(super) fn open_as(&self, what: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::Unseal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Unseal)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .seals
            .open_in_place(nonce, Aad::from(what.as_bytes()), &mut body)
            .map_err(|_| SealError::Unseal)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    /// Signs what is handed out.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        let mut context = hmac::Context::with_key(&self.signs);
        for part in parts {
            context.update(part);
        }
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(context.sign().as_ref());
        signature
    }
}

/// Numbers of the platform that are shown to one organization. Each counts for all organizations together: as they are,
/// they would tell how much happens elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Veiled {
    AuditEntry,
    Change,
}

impl Veiled {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::AuditEntry => b"audit entry",
            Self::Change => b"change",
        }
    }
}

/// Rounds of the network: four make it a permutation that nobody tells from a random one (Luby and Rackoff, 1988).
const ROUNDS: [u8; 4] = [0, 1, 2, 3];

impl SealingKey {
    /// Turns a number into one that tells `whose` members nothing, each into another one.
    pub(super) fn veil(&self, of: Veiled, whose: OrganizationId, number: i64) -> i64 {
        let [mut left, mut right] = halves(number);
        for round in ROUNDS {
            (left, right) = (right, left ^ self.round(of, whose, round, right));
        }
        whole([left, right])
    }

    /// Turns it back; what was never shown becomes any number.
    pub(super) fn unveil(&self, of: Veiled, whose: OrganizationId, number: i64) -> i64 {
        let [mut left, mut right] = halves(number);
        for round in ROUNDS.into_iter().rev() {
            (left, right) = (right ^ self.round(of, whose, round, left), left);
        }
        whole([left, right])
    }

    fn round(&self, of: Veiled, whose: OrganizationId, round: u8, half: u32) -> u32 {
        let parts = [b"number ", of.as_bytes(), whose.as_bytes(), &[round], &half.to_be_bytes()];
        let [a, b, c, d, ..] = self.sign(&parts);
        u32::from_be_bytes([a, b, c, d])
    }
}

fn halves(number: i64) -> [u32; 2] {
    let bytes = number.to_be_bytes();
    let half =
        |from: usize| bytes.iter().skip(from).take(4).fold(0, |half, byte| half << 8 | u32::from(*byte));
    [half(0), half(4)]
}

fn whole([left, right]: [u32; 2]) -> i64 {
    i64::from_be_bytes((u64::from(left) << 32 | u64::from(right)).to_be_bytes())
}

fn associated(connection: ConnectionId, epoch: u32) -> [u8; 20] {
    let mut data = [0; 20];
    data[..16].copy_from_slice(connection.as_bytes());
    data[16..].copy_from_slice(&epoch.to_be_bytes());
    data
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_in_its_own_row_at_its_own_epoch() {
        let key = SealingKey::from_secret(&Secret::from_bytes([1; 32])).unwrap();
        let secret = Secret::from_bytes([7; 32]);
        let connection = ConnectionId::from_random([2; 16]);
        let sealed = key.seal(connection, 3, &secret).unwrap();
        assert_eq!(key.open_sealed(connection, 3, &sealed).unwrap(), secret);
        assert!(key.open_sealed(connection, 4, &sealed).is_err(), "another epoch");
        assert!(key.open_sealed(ConnectionId::from_random([3; 16]), 3, &sealed).is_err(), "another row");
        for at in 0..SEALED_BYTES {
            let mut damaged = sealed;
            damaged[at] ^= 1;
            assert!(key.open_sealed(connection, 3, &damaged).is_err(), "byte {at}");
        }
        let other = SealingKey::from_secret(&Secret::from_bytes([9; 32])).unwrap();
        assert!(other.open_sealed(connection, 3, &sealed).is_err(), "another key");
    }

    #[test]
    fn what_was_sealed_as_one_thing_opens_as_no_other() {
        let key = SealingKey::from_secret(&Secret::from_bytes([1; 32])).unwrap();
        let sealed = key.seal_as("seed of one", b"twenty bytes of seed").unwrap();
        assert_eq!(&key.open_as("seed of one", &sealed).unwrap()[..], b"twenty bytes of seed");
        assert!(key.open_as("seed of another", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open_as("seed of one", &damaged).is_err(), "byte {at}");
            assert!(key.open_as("seed of one", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_veiled_number_reads_back_for_whom_it_was_shown_alone() {
        let key = SealingKey::from_secret(&Secret::from_bytes([1; 32])).unwrap();
        let [one, other] = [1, 2].map(|number| OrganizationId::from_bytes([number; 16]));
        for number in [0, 1, 2, 1_000, -1, i64::MAX, i64::MIN] {
            let veiled = key.veil(Veiled::AuditEntry, one, number);
            assert_eq!(key.unveil(Veiled::AuditEntry, one, veiled), number);
            assert_ne!(veiled, number);
            assert_ne!(key.veil(Veiled::AuditEntry, other, number), veiled);
            assert_ne!(key.veil(Veiled::Change, one, number), veiled);
        }
        let shown: Vec<_> = (1..200).map(|number| key.veil(Veiled::Change, one, number)).collect();
        let rises = shown.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((50..150).contains(&rises), "their order is not told: {rises}");
    }

    #[test]
    fn a_lost_key_is_not_replaced_while_secrets_depend_on_it() {
        let (_parent, folder) = folder();
        assert!(matches!(SealingKey::open(&folder, true), Err(SealError::Missing { .. })));
        SealingKey::open(&folder, false).unwrap();
        SealingKey::open(&folder, true).unwrap();
    }

    #[test]
    fn a_readable_or_damaged_key_file_is_refused() {
        let (_parent, folder) = folder();
        SealingKey::open(&folder, false).unwrap();
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SealingKey::open(&folder, true), Err(SealError::Folder { .. })));
        folder.write(FILE, b"abc").unwrap();
        assert!(matches!(SealingKey::open(&folder, true), Err(SealError::Damaged { .. })));
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("state")).unwrap();
        (parent, folder)
    }
}
