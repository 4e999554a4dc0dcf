//! So many at once, then so many a second: the one limiter of everything that costs something each.
//!
//! The generic cell rate algorithm: one point in time says how far ahead of its rate the taker is.

use std::time::{Duration, Instant};

/// `burst` at once, and `per_second` from then on.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    each: Duration,
    burst: Duration,
    /// When everything taken so far will be paid off.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// Allows `burst` at once and then `per_second`, which must not be 0.
    #[must_use]
    pub fn per_second(burst: u32, per_second: u32) -> Self {
        Self::every(burst, Duration::from_secs(1) / per_second)
    }

    /// Allows `burst` at once and then one in each `each`.
    #[must_use]
    pub const fn every(burst: u32, each: Duration) -> Self {
        Self { each, burst: each.saturating_mul(burst), full_at: None }
    }

    /// Takes one in any case; returns how long it has to wait.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + self.each);
        self.owed(now)
    }

    /// Takes one if it need not wait; returns whether it did.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let taken = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.each;
        let fits = taken.saturating_duration_since(now) <= self.burst;
        if fits {
            self.full_at = Some(taken);
        }
        fits
    }

    /// Takes what costs `cost`, in time at its rate, unless what was taken before has to wait; returns whether it
    /// did. So one alone may cost more than a burst.
    pub fn try_spend(&mut self, cost: Duration, now: Instant) -> bool {
        let fits = self.owed(now).is_zero();
        if fits {
            self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + cost);
        }
        fits
    }

    /// Returns in what time one more can be taken once the burst is used up.
    #[must_use]
    pub const fn each(&self) -> Duration {
        self.each
    }

    /// Returns how long until one could be taken without waiting.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        let taken = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.each;
        taken.saturating_duration_since(now).saturating_sub(self.burst)
    }

    /// Gives one back that was taken and turned out to cost nothing.
    pub fn give_back(&mut self) {
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(self.each));
    }

    /// Returns how long one would have to wait for what was taken before.
    #[must_use]
    pub fn owed(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| {
            full_at.saturating_duration_since(now).saturating_sub(self.burst)
        })
    }

    /// Returns whether nothing taken still counts, so that forgetting the bucket changes nothing.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_a_burst_waits_its_turn() {
        let start = Instant::now();
        let mut bucket = TokenBucket::per_second(10, 20);
        for _ in 0..10 {
            assert_eq!(bucket.take(start), Duration::ZERO);
        }
        assert_eq!(bucket.take(start), Duration::from_millis(50));
        assert_eq!(bucket.take(start), Duration::from_millis(100));
        assert_eq!(bucket.owed(start), Duration::from_millis(100));
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn what_would_have_to_wait_is_not_taken() {
        let start = Instant::now();
        let mut bucket = TokenBucket::per_second(3, 1);
        assert_eq!((0..10).filter(|_| bucket.try_take(start)).count(), 3);
        assert!(!bucket.try_take(start + Duration::from_millis(999)));
        assert!(bucket.try_take(start + Duration::from_secs(1)));
        assert!(!bucket.is_full(start + Duration::from_secs(3)));
        assert!(bucket.is_full(start + Duration::from_secs(4)));
    }

    #[test]
    fn exactly_as_many_as_a_second_allows_pass_at_once_in_each() {
        let start = Instant::now();
        let mut bucket = TokenBucket::per_second(20, 20);
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            assert_eq!((0..100).filter(|_| bucket.try_take(now)).count(), 20);
            assert!(!bucket.try_take(now + Duration::from_millis(49)));
        }
    }

    #[test]
    fn of_a_flood_no_more_passes_than_one_burst_beside_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::per_second(20, 20);
        let flood = (0..10_000).flat_map(|ms| [Duration::from_millis(ms); 3]);
        assert_eq!(flood.filter(|at| bucket.try_take(start + *at)).count(), 20 + 10 * 20 - 1);
    }

    #[test]
    fn what_costs_more_than_a_burst_is_taken_once_nothing_waits() {
        let start = Instant::now();
        let mut bucket = TokenBucket::every(1, Duration::from_millis(100));
        assert!(bucket.try_spend(Duration::from_secs(1), start));
        assert!(!bucket.try_spend(Duration::from_secs(1), start + Duration::from_millis(899)));
        assert!(bucket.try_spend(Duration::from_secs(1), start + Duration::from_millis(900)));
    }

    #[test]
    fn one_can_be_taken_exactly_after_the_wait_that_was_told() {
        let start = Instant::now();
        let mut bucket = TokenBucket::every(2, Duration::from_secs(3));
        assert_eq!(bucket.wait(start), Duration::ZERO);
        assert!(bucket.try_take(start) && bucket.try_take(start));
        let told = bucket.wait(start + Duration::from_secs(1));
        assert_eq!(told, Duration::from_secs(2));
        assert!(!bucket.try_take(start + Duration::from_millis(2_999)));
        assert!(bucket.try_take(start + Duration::from_secs(1) + told));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let start = Instant::now();
        let mut bucket = TokenBucket::every(1, Duration::from_mins(1));
        for _ in 0..100 {
            assert!(bucket.try_take(start));
            bucket.give_back();
        }
        assert!(bucket.try_take(start));
        assert!(!bucket.try_take(start));
    }
}
