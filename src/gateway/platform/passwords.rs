//! Passwords: which are taken, and how they are known again (argon2id, RFC 9106). Hashing takes memory and time on
//! purpose, so few are hashed at a time, on threads that may block, and few wait for it: browsers that have signed
//! in before wait apart from strangers, who cannot take their places.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHash as Phc, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tracing::{debug, error};

use crate::store::PasswordHash;
use adit_core::domain::limits::{
    PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PASSWORDS_HASHED_MAX, PASSWORDS_WAITING_MAX,
};
use adit_core::domain::secret::Password;
use adit_net::identity::random;

use super::people::{PeopleRefusal, WeakPassword};

/// What a hash costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// OWASP, Password Storage Cheat Sheet: at least these for argon2id.
const USUAL: Cost = Cost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// Of hundreds of users that tests make; what is usual has tests of its own.
#[cfg(test)]
const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// When one may ask again who found no place to wait.
const RETRY_SECONDS: u32 = 2;

/// Those of at least twelve characters that lists of leaked passwords begin with, and what people make of the rule.
const COMMON: [&str; 24] = [
    "123456789012",
    "1234567890123",
    "12345678901234",
    "1234567890123456",
    "123456123456",
    "111111111111",
    "000000000000",
    "aaaaaaaaaaaa",
    "abcdefghijkl",
    "abcdefghijklmnop",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopas",
    "qwertyuiop[]",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "administrator",
    "adminadminadmin",
    "passwordpassword",
    "password1234",
    "password12345",
    "password123456",
    "changemechangeme",
    "letmeinletmein",
];

/// Who waits where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A browser that has signed in before, or somebody who shows a secret.
    Known,
    Stranger,
}

impl Lane {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known browsers",
            Self::Stranger => "strangers",
        }
    }
}

#[derive(Debug)]
pub(super) struct Passwords {
    cost: Cost,
    hashing: Arc<Semaphore>,
    known: Semaphore,
    strangers: Semaphore,
}

/// What a password turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) is_right: bool,
    /// It was hashed with less than is usual today.
    pub(super) is_outdated: bool,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            #[cfg(not(test))]
            cost: USUAL,
            #[cfg(test)]
            cost: CHEAP,
            hashing: Arc::new(Semaphore::new(PASSWORDS_HASHED_MAX)),
            known: Semaphore::new(PASSWORDS_WAITING_MAX),
            strangers: Semaphore::new(PASSWORDS_WAITING_MAX),
        }
    }
}

impl Passwords {
    /// Hashes a password that was taken.
    pub(super) async fn hash(&self, lane: Lane, password: &Password) -> Result<PasswordHash, PeopleRefusal> {
        let (password, cost) = (password.clone(), self.cost);
        self.work(lane, move || cost.hash(&password)).await?.ok_or_else(too_many)
    }

    /// Compares a password with a hash. Without one it takes as long, and is wrong.
    pub(super) async fn verify(
        &self,
        lane: Lane,
        password: &Password,
        hash: Option<PasswordHash>,
    ) -> Result<Verified, PeopleRefusal> {
        let (password, cost) = (password.clone(), self.cost);
        self.work(lane, move || cost.verify(&password, hash.as_ref())).await
    }

    /// Works on a thread that may block, once it is its turn.
    async fn work<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PeopleRefusal> {
        let waiting = match lane {
            Lane::Known => &self.known,
            Lane::Stranger => &self.strangers,
        };
        let _place = waiting.try_acquire().map_err(|_| {
            debug!(lane = lane.as_str(), "a password is not looked at: too many wait");
            too_many()
        })?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| too_many())?;
        let working = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also where nobody waits for it any more.
            let _turn = turn;
            work()
        });
        working.await.map_err(|_| {
            error!("a thread that hashed a password ended");
            too_many()
        })
    }
}

const fn too_many() -> PeopleRefusal {
    PeopleRefusal::TooOften { seconds: RETRY_SECONDS }
}

impl Cost {
    fn argon2(self) -> Option<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES)).ok()?;
        Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    fn hash(self, password: &Password) -> Option<PasswordHash> {
        let salt: [u8; SALT_BYTES] = random::bytes();
        let hash: Phc = self.argon2()?.hash_password_with_salt(password.expose().as_bytes(), &salt).ok()?;
        Some(PasswordHash(hash.to_string()))
    }

    fn verify(self, password: &Password, hash: Option<&PasswordHash>) -> Verified {
        const WRONG: Verified = Verified { is_right: false, is_outdated: false };
        let parsed = hash.and_then(|hash| Phc::new(&hash.0).ok());
        let (Some(argon2), Some(parsed)) = (self.argon2(), parsed) else {
            // Whoever asks must not learn by the time it takes that there is nothing to compare with.
            std::hint::black_box(self.hash(password));
            return WRONG;
        };
        if argon2.verify_password(password.expose().as_bytes(), &parsed).is_err() {
            return WRONG;
        }
        Verified { is_right: true, is_outdated: self.is_above(&parsed) }
    }

    /// Returns whether a hash was made with less.
    fn is_above(self, hash: &Phc) -> bool {
        let Ok(params) = Params::try_from(hash) else { return true };
        hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
            || params.m_cost() < self.memory_kib
            || params.t_cost() < self.passes
            || params.p_cost() < self.lanes
    }
}

/// Judges a password that somebody wants to have, beside what everybody knows of its user.
pub(super) fn judge(password: &Password, known: &[&str]) -> Result<(), WeakPassword> {
    let text = password.expose();
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&text.chars().count()) {
        return Err(WeakPassword::Length);
    }
    let lower = text.to_lowercase();
    if COMMON.contains(&lower.as_str()) || is_one_letter(&lower) {
        return Err(WeakPassword::Common);
    }
    let is_known = |known: &&str| {
        let known = known.to_lowercase();
        !known.is_empty() && is_little_more(&lower, &known)
    };
    if known.iter().any(is_known) { Err(WeakPassword::Name) } else { Ok(()) }
}

fn is_one_letter(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_none_or(|first| chars.all(|char| char == first))
}

/// Returns whether nothing but a few characters is left of a text without a known word.
fn is_little_more(text: &str, known: &str) -> bool {
    const LEFT_MIN: usize = 5;
    text.contains(known) && text.replace(known, "").chars().count() < LEFT_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn a_password_is_known_again_by_its_hash_alone() {
        let hash = USUAL.hash(&password("correct horse battery")).unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        let right = USUAL.verify(&password("correct horse battery"), Some(&hash));
        assert_eq!(right, Verified { is_right: true, is_outdated: false });
        assert!(!USUAL.verify(&password("correct horse batterx"), Some(&hash)).is_right);
        assert!(!USUAL.verify(&password("correct horse battery"), None).is_right);
        assert!(!USUAL.verify(&password("x"), Some(&PasswordHash("no hash".into()))).is_right);
        let again = USUAL.hash(&password("correct horse battery")).unwrap();
        assert_ne!(hash, again, "each has a salt of its own");
    }

    #[test]
    fn a_hash_of_less_than_is_usual_is_outdated() {
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(USUAL.memory_kib - 1, USUAL.passes, USUAL.lanes, None).unwrap(),
        );
        let hash: Phc = weak.hash_password_with_salt(b"correct horse battery", &[1; 16]).unwrap();
        let verified =
            USUAL.verify(&password("correct horse battery"), Some(&PasswordHash(hash.to_string())));
        assert_eq!(verified, Verified { is_right: true, is_outdated: true });
    }

    #[test]
    fn a_password_is_judged_by_length_and_by_what_is_tried_first() {
        let known = ["Ada Lovelace", "ada@lakeside.example", "Lakeside Hospital"];
        let judge = |text: &str| judge(&password(text), &known);
        assert_eq!(judge("correct horse battery"), Ok(()));
        assert_eq!(judge("größer als 🐘"), Ok(()));
        assert_eq!(judge("elevenchars"), Err(WeakPassword::Length));
        assert_eq!(judge(&"ab".repeat(64)), Ok(()));
        assert_eq!(judge(&"ab".repeat(65)), Err(WeakPassword::Length));
        assert_eq!(judge("Password1234"), Err(WeakPassword::Common));
        assert_eq!(judge("zzzzzzzzzzzzzz"), Err(WeakPassword::Common));
        for text in ["ada@lakeside.example", "LAKESIDE HOSPITAL", "Ada Lovelace1!", "1lakeside hospital"] {
            assert_eq!(judge(text), Err(WeakPassword::Name), "{text}");
        }
    }

    #[tokio::test]
    async fn strangers_who_wait_take_no_place_of_a_known_browser() {
        let passwords = Passwords::default();
        let _all =
            passwords.strangers.try_acquire_many(u32::try_from(PASSWORDS_WAITING_MAX).unwrap()).unwrap();
        let asked = password("correct horse battery");
        let refused = passwords.verify(Lane::Stranger, &asked, None).await.unwrap_err();
        assert!(matches!(refused, PeopleRefusal::TooOften { .. }));
        assert!(!passwords.verify(Lane::Known, &asked, None).await.unwrap().is_right);
    }
}
