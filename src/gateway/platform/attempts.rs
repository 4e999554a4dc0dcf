//! How often a password or code may be wrong. A browser that has signed in to an account before has a budget of its
//! own there, known by what it was given then (OWASP, "device cookies"); all others share one for each account and
//! one for each address. So nobody who guesses, from however many addresses, locks out who works here.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_core::domain::digest::sha256;
use adit_core::domain::email::Email;
use adit_core::domain::limits::{
    DEVICE_KNOWN, SIGN_IN_ACCOUNT_BURST, SIGN_IN_ACCOUNT_EACH, SIGN_IN_ADDRESS_BURST, SIGN_IN_ADDRESS_EACH,
    SIGN_IN_KEYS_MAX,
};
use adit_core::domain::places::address_of;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::token_buckets::TokenBuckets;
use adit_net::identity::random;
use subtle::ConstantTimeEq;

use super::people::{PeopleRefusal, Visit};
use super::seal::{SIGNATURE_BYTES, SealingKey};

const NONCE_BYTES: usize = 16;
const UNTIL_BYTES: usize = 8;

type Nonce = [u8; NONCE_BYTES];

/// An account as it is named by who signs in, there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AccountKey([u8; 32]);

/// What is tried; each has its own budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tried {
    Password,
    Code,
}

/// From whose budget was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Device(Tried, Nonce),
    Stranger(Tried, IpAddr, AccountKey),
}

#[derive(Debug)]
pub(super) struct Attempts {
    addresses: TokenBuckets<IpAddr>,
    accounts: TokenBuckets<(Tried, AccountKey)>,
    devices: TokenBuckets<(Tried, Nonce)>,
}

impl Default for Attempts {
    fn default() -> Self {
        let accounts = (SIGN_IN_ACCOUNT_BURST, SIGN_IN_ACCOUNT_EACH, SIGN_IN_KEYS_MAX);
        Self {
            addresses: TokenBuckets::every(SIGN_IN_ADDRESS_BURST, SIGN_IN_ADDRESS_EACH, SIGN_IN_KEYS_MAX),
            accounts: TokenBuckets::every(accounts.0, accounts.1, accounts.2),
            devices: TokenBuckets::every(accounts.0, accounts.1, accounts.2),
        }
    }
}

impl AccountKey {
    pub(super) fn of(organization: &str, email: &Email) -> Self {
        Self(sha256(format!("{}\0{email}", organization.trim().to_lowercase()).as_bytes()))
    }
}

impl Attempts {
    /// Takes one attempt, or says when there is another.
    pub(super) fn take(
        &mut self,
        tried: Tried,
        account: AccountKey,
        address: IpAddr,
        device: Option<Nonce>,
        now: Instant,
    ) -> Result<Taken, PeopleRefusal> {
        if let Some(nonce) = device {
            let key = (tried, nonce);
            let taken = self.devices.try_take(key, now);
            return if taken {
                Ok(Taken::Device(tried, nonce))
            } else {
                Err(wait(self.devices.wait(&key, now)))
            };
        }
        let address = address_of(address);
        if !self.addresses.try_take(address, now) {
            return Err(wait(self.addresses.wait(&address, now)));
        }
        if !self.accounts.try_take((tried, account), now) {
            self.addresses.give_back(&address);
            return Err(wait(self.accounts.wait(&(tried, account), now)));
        }
        Ok(Taken::Stranger(tried, address, account))
    }

    /// Gives back what was taken for what turned out to be right.
    pub(super) fn give_back(&mut self, taken: Taken) {
        match taken {
            Taken::Device(tried, nonce) => self.devices.give_back(&(tried, nonce)),
            Taken::Stranger(tried, address, account) => {
                self.addresses.give_back(&address);
                self.accounts.give_back(&(tried, account));
            }
        }
    }
}

fn wait(span: Duration) -> PeopleRefusal {
    let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    PeopleRefusal::TooOften { seconds }
}

/// Makes what a browser keeps that has signed in to an account.
pub(super) fn new_device(seal: &SealingKey, account: AccountKey, now: Timestamp) -> String {
    let nonce: Nonce = random::bytes();
    let until = now.saturating_add(DEVICE_KNOWN).as_millis().to_be_bytes();
    let signature = sign(seal, account, &nonce, until);
    hex::encode([&nonce[..], &until, &signature].concat())
}

/// Returns which browser it is, if it has signed in to this account before.
pub(super) fn device(seal: &SealingKey, account: AccountKey, visit: &Visit, now: Timestamp) -> Option<Nonce> {
    let mut bytes = [0; NONCE_BYTES + UNTIL_BYTES + SIGNATURE_BYTES];
    hex::decode_to_slice(visit.device.as_ref()?, &mut bytes).ok()?;
    let (nonce, rest) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let (until, signature) = rest.split_first_chunk::<UNTIL_BYTES>()?;
    let is_ours: bool = sign(seal, account, nonce, *until).ct_eq(signature).into();
    let is_known = Timestamp::from_millis(i64::from_be_bytes(*until)) > now;
    (is_ours && is_known).then_some(*nonce)
}

fn sign(
    seal: &SealingKey,
    account: AccountKey,
    nonce: &Nonce,
    until: [u8; UNTIL_BYTES],
) -> [u8; SIGNATURE_BYTES] {
    seal.sign(&[b"device", &account.0, nonce, &until])
}

#[cfg(test)]
mod tests {
    use adit_core::domain::secret::Secret;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn account(email: &str) -> AccountKey {
        AccountKey::of("Lakeside", &email.parse().unwrap())
    }

    fn visit(device: &str) -> Visit {
        Visit { address: [192, 0, 2, 7].into(), agent: String::new(), device: Some(device.to_owned()) }
    }

    #[test]
    fn a_browser_is_known_to_the_account_it_signed_in_to_alone() {
        let key = SealingKey::from_secret(&Secret::from_bytes([1; 32])).unwrap();
        let kept = new_device(&key, account("ada@b"), NOW);
        assert!(device(&key, account("ada@b"), &visit(&kept), NOW).is_some());
        assert!(device(&key, account("eve@b"), &visit(&kept), NOW).is_none());
        let later = NOW.saturating_add(DEVICE_KNOWN);
        assert!(device(&key, account("ada@b"), &visit(&kept), later).is_none(), "not for ever");
        let other = SealingKey::from_secret(&Secret::from_bytes([2; 32])).unwrap();
        assert!(device(&other, account("ada@b"), &visit(&kept), NOW).is_none());
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            let digit = if &changed[at..=at] == "0" { "1" } else { "0" };
            changed.replace_range(at..=at, digit);
            assert!(device(&key, account("ada@b"), &visit(&changed), NOW).is_none(), "digit {at}");
        }
    }

    #[test]
    fn strangers_from_everywhere_use_up_nothing_of_a_known_browser() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let mut guess = |number: u32, device| {
            let address = IpAddr::from(number.to_be_bytes());
            attempts.take(Tried::Password, account("ada@b"), address, device, start)
        };
        let guesses = (0..1_000).filter(|number| guess(*number, None).is_ok()).count();
        assert_eq!(guesses, SIGN_IN_ACCOUNT_BURST as usize);
        assert!(guess(0, Some([1; 16])).is_ok());
    }

    #[test]
    fn one_address_has_few_guesses_at_all_accounts_together() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let mut guess = |number: u32, now| {
            let account = account(&format!("user{number}@b"));
            attempts.take(Tried::Password, account, [192, 0, 2, 7].into(), None, now)
        };
        let guesses = (0..1_000).filter(|number| guess(*number, start).is_ok()).count();
        assert_eq!(guesses, SIGN_IN_ADDRESS_BURST as usize);
        assert_eq!(guess(0, start).unwrap_err(), wait(SIGN_IN_ADDRESS_EACH));
        assert!(guess(0, start + SIGN_IN_ADDRESS_EACH).is_ok());
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        for _ in 0..1_000 {
            let address = [192, 0, 2, 7].into();
            let taken = attempts.take(Tried::Password, account("ada@b"), address, None, start).unwrap();
            attempts.give_back(taken);
        }
    }
}
