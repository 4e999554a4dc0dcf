//! How often a password or code may be wrong. A browser that has signed in to an account before has a budget of its
//! own there, known by what it was given then (OWASP, "device cookies"); all others share one for each account and
//! one for each address. So nobody who guesses, from however many addresses, locks out who works here. A browser is
//! known as long as the password and the second factor stay as they were; see [`UserRecord::knows_device`].

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_core::domain::digest::sha256;
use adit_core::domain::email::Email;
use adit_core::domain::id::UserId;
use adit_core::domain::limits::{
    DEVICE_KNOWN, SIGN_IN_ACCOUNT_BURST, SIGN_IN_ACCOUNT_EACH, SIGN_IN_ADDRESS_BURST, SIGN_IN_ADDRESS_EACH,
    SIGN_IN_KEYS_MAX, SIGN_IN_SHARED_BUDGETS,
};
use adit_core::domain::places::address_of;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::token_bucket::TokenBucket;
use adit_core::protocol::token_buckets::TokenBuckets;
use subtle::ConstantTimeEq;

use super::Platform;
use super::error::PlatformError;
use super::passwords::Lane;
use super::people::{PeopleRefusal, Visit};
use super::seal::{SIGNATURE_BYTES, SealingKey};
use crate::store::{Tx, UserRecord};

const USER_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
const UNTIL_BYTES: usize = 8;

/// A browser that has signed in to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Device {
    pub(super) user: UserId,
    /// Which of the account's.
    pub(super) number: i64,
}

/// An account as it is named by who signs in, there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccountKey([u8; 32]);

/// What is tried; each has its own budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tried {
    Password,
    Code,
}

/// From whose budget was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Device(Tried, Device),
    Stranger(Tried, IpAddr, AccountKey),
}

#[derive(Debug)]
pub(super) struct Attempts {
    addresses: Budgets<IpAddr>,
    accounts: Budgets<(Tried, AccountKey)>,
    devices: Budgets<(Tried, Device)>,
}

/// A budget of its own for each taker, as long as they are few enough to be told apart. All others share some, by a
/// hash that nobody can foretell: so whoever comes as ever another takes no more memory, gains no more than the shared
/// budgets, and keeps others out only by using up all of them.
#[derive(Debug)]
struct Budgets<K> {
    own: TokenBuckets<K>,
    shared: Vec<TokenBucket>,
    hash: RandomState,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            addresses: Budgets::every(SIGN_IN_ADDRESS_BURST, SIGN_IN_ADDRESS_EACH),
            accounts: Budgets::every(SIGN_IN_ACCOUNT_BURST, SIGN_IN_ACCOUNT_EACH),
            devices: Budgets::every(SIGN_IN_ACCOUNT_BURST, SIGN_IN_ACCOUNT_EACH),
        }
    }
}

impl<K: Ord + Hash> Budgets<K> {
    fn every(burst: u32, each: Duration) -> Self {
        Self {
            own: TokenBuckets::every(burst, each, SIGN_IN_KEYS_MAX),
            shared: vec![TokenBucket::every(burst, each); SIGN_IN_SHARED_BUDGETS],
            hash: RandomState::new(),
        }
    }

    /// Takes one, or says how long to wait.
    fn take(&mut self, key: K, now: Instant) -> Result<(), PeopleRefusal> {
        if self.own.has_room(&key, now) {
            let span = self.own.wait(&key, now);
            return if self.own.try_take(key, now) { Ok(()) } else { Err(wait(span)) };
        }
        let Some(shared) = self.shared_of(&key) else { return Err(wait(Duration::ZERO)) };
        if shared.try_take(now) { Ok(()) } else { Err(wait(shared.wait(now))) }
    }

    fn give_back(&mut self, key: &K) {
        if self.own.knows(key) {
            self.own.give_back(key);
        } else if let Some(shared) = self.shared_of(key) {
            shared.give_back();
        }
    }

    fn shared_of(&mut self, key: &K) -> Option<&mut TokenBucket> {
        let buckets = self.shared.len() as u64;
        let at = self.hash.hash_one(key).checked_rem(buckets)?;
        self.shared.get_mut(usize::try_from(at).ok()?)
    }
}

impl AccountKey {
    pub(super) fn of(organization: &str, email: &Email) -> Self {
        Self(sha256(format!("{}\0{email}", organization.trim().to_lowercase()).as_bytes()))
    }

    pub(super) fn of_user(user: &UserRecord) -> Self {
        Self::of(user.organization_name.as_str(), &user.email)
    }
}

impl Attempts {
    /// Takes one attempt, or says when there is another.
    pub(super) fn take(
        &mut self,
        tried: Tried,
        account: AccountKey,
        address: IpAddr,
        device: Option<Device>,
        now: Instant,
    ) -> Result<Taken, PeopleRefusal> {
        if let Some(device) = device {
            self.devices.take((tried, device), now)?;
            return Ok(Taken::Device(tried, device));
        }
        let address = address_of(address);
        self.addresses.take(address, now)?;
        if let Err(refusal) = self.accounts.take((tried, account), now) {
            self.addresses.give_back(&address);
            return Err(refusal);
        }
        Ok(Taken::Stranger(tried, address, account))
    }

    /// Gives back what was taken for what turned out to be right, or was not looked at.
    pub(super) fn give_back(&mut self, taken: Taken) {
        match taken {
            Taken::Device(tried, device) => self.devices.give_back(&(tried, device)),
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
pub(super) fn cookie_of(seal: &SealingKey, device: Device, now: Timestamp) -> String {
    let until = now.saturating_add(DEVICE_KNOWN).as_millis().to_be_bytes();
    let signature = sign(seal, device, until);
    hex::encode([&device.user.as_bytes()[..], &device.number.to_be_bytes(), &until, &signature].concat())
}

/// Returns which browser it says it is, if that was said by us. Whether the account still knows it is not known here.
pub(super) fn device_shown(seal: &SealingKey, visit: &Visit, now: Timestamp) -> Option<Device> {
    let mut bytes = [0; USER_BYTES + NUMBER_BYTES + UNTIL_BYTES + SIGNATURE_BYTES];
    hex::decode_to_slice(visit.device.as_ref()?, &mut bytes).ok()?;
    let (user, rest) = bytes.split_first_chunk::<USER_BYTES>()?;
    let (number, rest) = rest.split_first_chunk::<NUMBER_BYTES>()?;
    let (until, signature) = rest.split_first_chunk::<UNTIL_BYTES>()?;
    let device = Device { user: UserId::from_bytes(*user), number: i64::from_be_bytes(*number) };
    let is_ours: bool = sign(seal, device, *until).ct_eq(signature).into();
    let is_in_time = Timestamp::from_millis(i64::from_be_bytes(*until)) > now;
    (is_ours && is_in_time).then_some(device)
}

fn sign(seal: &SealingKey, device: Device, until: [u8; UNTIL_BYTES]) -> [u8; SIGNATURE_BYTES] {
    seal.sign(&[b"device", device.user.as_bytes(), &device.number.to_be_bytes(), &until])
}

impl Platform {
    /// Takes an attempt, and says where it waits.
    pub(super) async fn take_attempt(
        &self,
        tried: Tried,
        account: AccountKey,
        visit: &Visit,
    ) -> Result<(Taken, Lane), PlatformError> {
        let known = self.known_device(account, visit).await?;
        let lane = if known.is_some() { Lane::Known } else { Lane::Stranger };
        let taken = self.attempts.lock().take(tried, account, visit.address, known, Instant::now());
        Ok((taken?, lane))
    }

    /// Gives an attempt back that was no guess.
    pub(super) fn give_back(&self, taken: Taken) {
        self.attempts.lock().give_back(taken);
    }

    /// Returns which of the account's browsers it is. The database is asked by those alone who show what we have
    /// signed.
    async fn known_device(
        &self,
        account: AccountKey,
        visit: &Visit,
    ) -> Result<Option<Device>, PlatformError> {
        let Some(shown) = device_shown(&self.seal, visit, self.now()) else { return Ok(None) };
        let user =
            self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.user(shown.user).await?)).await?;
        let is_known = user.is_some_and(|user| {
            AccountKey::of_user(&user) == account
                && user.disabled_at.is_none()
                && user.knows_device(shown.number)
        });
        Ok(is_known.then_some(shown))
    }
}

#[cfg(test)]
mod tests {
    use adit_core::domain::secret::Secret;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
    const DEVICE: Device = Device { user: UserId::from_bytes([7; 16]), number: 3 };

    fn account(email: &str) -> AccountKey {
        AccountKey::of("Lakeside", &email.parse().unwrap())
    }

    fn visit(device: &str) -> Visit {
        Visit { address: [192, 0, 2, 7].into(), agent: String::new(), device: Some(device.to_owned()) }
    }

    #[test]
    fn a_browser_is_what_we_have_signed_alone() {
        let key = SealingKey::from_secret(&Secret::from_bytes([1; 32])).unwrap();
        let kept = cookie_of(&key, DEVICE, NOW);
        assert_eq!(device_shown(&key, &visit(&kept), NOW), Some(DEVICE));
        let later = NOW.saturating_add(DEVICE_KNOWN);
        assert_eq!(device_shown(&key, &visit(&kept), later), None, "not for ever");
        let other = SealingKey::from_secret(&Secret::from_bytes([2; 32])).unwrap();
        assert_eq!(device_shown(&other, &visit(&kept), NOW), None);
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            let digit = if &changed[at..=at] == "0" { "1" } else { "0" };
            changed.replace_range(at..=at, digit);
            assert_eq!(device_shown(&key, &visit(&changed), NOW), None, "digit {at}");
        }
    }

    #[test]
    fn whoever_comes_as_ever_another_shuts_nobody_out_and_gains_little() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let mut guess = |address: u32, account: &str| {
            let address = IpAddr::from(address.to_be_bytes());
            attempts.take(
                Tried::Password,
                AccountKey::of(account, &"a@b".parse().unwrap()),
                address,
                None,
                start,
            )
        };
        let many = u32::try_from(SIGN_IN_KEYS_MAX).unwrap();
        for number in 0..many {
            guess(number, &number.to_string()).unwrap();
        }
        guess(many, "an honest one").unwrap();
        let account = account_guesses(&mut attempts, start);
        assert!(account <= SIGN_IN_ACCOUNT_BURST as usize, "{account} guesses at one account");
        let counted = attempts.addresses.shared.len() + attempts.accounts.shared.len();
        assert_eq!(counted, 2 * SIGN_IN_SHARED_BUDGETS);
    }

    /// Returns how many guesses thousands of addresses have at one account.
    fn account_guesses(attempts: &mut Attempts, start: Instant) -> usize {
        let guesses = (0..1_000_u32).filter(|number| {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            attempts.take(Tried::Password, account("ada@b"), address, None, start).is_ok()
        });
        guesses.count()
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
        assert!(guess(0, Some(DEVICE)).is_ok());
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
