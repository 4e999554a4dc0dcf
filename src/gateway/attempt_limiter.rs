//! Counts attempts per address, so that nobody gets much out of asking often.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{debug, warn};

use adit_core::domain::limits;
use adit_core::domain::places::{address_of, network_of};
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_core::protocol::token_bucket::TokenBucket;
use adit_core::protocol::token_buckets::TokenBuckets;

#[derive(Debug)]
pub(super) struct AttemptLimiter {
    attempts: Mutex<TokenBuckets<IpAddr>>,
}

impl AttemptLimiter {
    pub(super) fn per_minute(attempts_max: NonZeroU32) -> Self {
        let each = Duration::from_mins(1) / attempts_max.get();
        let attempts = TokenBuckets::every(attempts_max.get(), each, limits::LIMITER_ADDRESSES_MAX);
        Self { attempts: Mutex::new(attempts) }
    }

    /// Counts an attempt; says how long to wait when there were too many.
    pub(super) fn let_in(&self, from: IpAddr) -> Result<(), Duration> {
        let (from, now) = (address_of(from), Instant::now());
        let mut attempts = self.attempts.lock();
        if attempts.try_take(from, now) {
            return Ok(());
        }
        let wait = attempts.wait(&from, now);
        debug!(%from, wait_ms = wait.as_millis(), "an attempt too many from one address");
        Err(wait)
    }

    /// Gives an attempt back: one that was counted was no guess.
    pub(super) fn give_back(&self, from: IpAddr) {
        self.attempts.lock().give_back(&address_of(from));
    }
}

/// Who was told to wait, or left waiting, and how many of them have no line in the log.
#[derive(Debug)]
pub(super) struct Throttled {
    logged: Mutex<RepeatLimiter<(&'static str, IpAddr)>>,
}

impl Default for Throttled {
    fn default() -> Self {
        let logged = RepeatLimiter::every(limits::THROTTLED_SAID_EVERY, limits::LINK_END_KINDS_MAX);
        Self { logged: Mutex::new(logged) }
    }
}

impl Throttled {
    /// Counts one; the first of its kind and address has a line at once.
    pub(super) fn note(&self, what: &'static str, from: IpAddr, now: Instant) {
        let from = address_of(from);
        let mut logged = self.logged.lock();
        if let Some(more) = logged.handle((what, from), now) {
            warn!(%from, more, "throttled: {what}");
        }
    }

    /// Logs what was counted since; called now and then.
    pub(super) fn log_due(&self, now: Instant) {
        let due = self.logged.lock().due(now);
        for (kind, more) in due {
            if let Some((what, from)) = kind {
                warn!(%from, more, "throttled: {what}");
            } else {
                warn!(more, "throttled: more addresses than are told apart");
            }
        }
    }
}

/// Handshakes begun and not finished, which cost us more than the one who begins them.
#[derive(Debug)]
pub(super) struct HandshakeLimiter {
    begun: Mutex<Begun>,
}

#[derive(Debug)]
struct Begun {
    address: TokenBuckets<IpAddr>,
    network: TokenBuckets<IpAddr>,
    all: TokenBucket,
}

impl Default for HandshakeLimiter {
    fn default() -> Self {
        let keys_max = limits::LIMITER_ADDRESSES_MAX;
        let begun = Begun {
            address: TokenBuckets::every(
                limits::HANDSHAKES_OF_ADDRESS_BURST,
                limits::HANDSHAKES_OF_ADDRESS_EACH,
                keys_max,
            ),
            network: TokenBuckets::every(
                limits::HANDSHAKES_OF_NETWORK_BURST,
                limits::HANDSHAKES_OF_NETWORK_EACH,
                keys_max,
            ),
            all: TokenBucket::every(limits::HANDSHAKES_OF_ALL_BURST, limits::HANDSHAKES_OF_ALL_EACH),
        };
        Self { begun: Mutex::new(begun) }
    }
}

impl HandshakeLimiter {
    /// Counts one that begins; false when too many of its address, its network or all were not finished.
    pub(super) fn may_begin(&self, from: IpAddr, now: Instant) -> bool {
        let mut begun = self.begun.lock();
        if !begun.address.try_take(address_of(from), now) {
            debug!(from = %address_of(from), "too many handshakes of one address are not finished");
            return false;
        }
        if !begun.network.try_take(network_of(from), now) {
            debug!(%from, network = %network_of(from), "too many handshakes of one network are not finished");
            begun.address.give_back(&address_of(from));
            return false;
        }
        let is_let_in = begun.all.try_take(now);
        if !is_let_in {
            debug!(%from, "too many handshakes of all are not finished");
            begun.give_back(from);
        }
        is_let_in
    }

    /// Notes that one that was counted is finished, and its peer known.
    pub(super) fn finished(&self, from: IpAddr) {
        let mut begun = self.begun.lock();
        begun.give_back(from);
        begun.all.give_back();
    }
}

impl Begun {
    fn give_back(&mut self, from: IpAddr) {
        self.address.give_back(&address_of(from));
        self.network.give_back(&network_of(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();

    #[test]
    fn only_an_address_that_tries_too_often_waits() {
        let limiter = AttemptLimiter::per_minute(THREE);
        let one = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        for attempt in 0..3 {
            assert_eq!(limiter.let_in(one), Ok(()), "attempt {attempt}");
        }
        for waits in [one, neighbour] {
            let wait = limiter.let_in(waits).unwrap_err();
            assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(20), "{wait:?}");
        }
        assert_eq!(limiter.let_in("192.0.2.1".parse().unwrap()), Ok(()));
        limiter.give_back(one);
        assert_eq!(limiter.let_in(neighbour), Ok(()), "what was no guess is free again");
    }

    #[test]
    fn the_addresses_counted_have_a_bound() {
        let limiter = AttemptLimiter::per_minute(THREE);
        let address = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..limits::LIMITER_ADDRESSES_MAX {
            assert_eq!(limiter.let_in(address(number)), Ok(()), "address {number}");
        }
        assert_eq!(limiter.let_in(address(limits::LIMITER_ADDRESSES_MAX)), Err(Duration::from_secs(20)));
    }

    #[test]
    fn handshakes_that_are_finished_do_not_count() {
        let handshakes = HandshakeLimiter::default();
        let (from, now) = ([192, 0, 2, 1].into(), Instant::now());
        for _ in 0..10_000 {
            assert!(handshakes.may_begin(from, now));
            handshakes.finished(from);
        }
    }

    #[test]
    fn unfinished_handshakes_are_bounded_from_one_address_to_all() {
        let now = Instant::now();
        let begun = |address: fn(u32) -> [u8; 4]| {
            let handshakes = HandshakeLimiter::default();
            (0..10_000).filter(|number| handshakes.may_begin(address(*number).into(), now)).count()
        };
        assert_eq!(begun(|_| [192, 0, 2, 1]), limits::HANDSHAKES_OF_ADDRESS_BURST as usize);
        let network = |number: u32| [192, 0, 2, number.to_be_bytes()[3]];
        assert_eq!(begun(network), limits::HANDSHAKES_OF_NETWORK_BURST as usize);
        assert_eq!(
            begun(|number| number.swap_bytes().to_be_bytes()),
            limits::HANDSHAKES_OF_ALL_BURST as usize
        );
    }

    #[test]
    fn who_is_refused_for_the_crowd_keeps_the_own_share() {
        let handshakes = HandshakeLimiter::default();
        let now = Instant::now();
        for host in 0..200 {
            handshakes.may_begin([192, 0, 2, host].into(), now);
        }
        let later = now + limits::HANDSHAKES_OF_NETWORK_EACH;
        assert!(handshakes.may_begin([192, 0, 2, 250].into(), later));
        assert!(handshakes.may_begin([198, 51, 100, 1].into(), later));
    }
}
