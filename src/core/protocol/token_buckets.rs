//! A token bucket for each of those who take, with a bound on how many are told apart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::token_bucket::TokenBucket;

#[derive(Debug)]
pub struct TokenBuckets<K> {
    fresh: TokenBucket,
    keys_max: usize,
    buckets: BTreeMap<K, TokenBucket>,
}

impl<K: Ord> TokenBuckets<K> {
    /// Allows each of at most `keys_max` takers `burst` at once and then one in each `each`.
    #[must_use]
    pub const fn every(burst: u32, each: Duration, keys_max: usize) -> Self {
        Self::of(TokenBucket::every(burst, each), keys_max)
    }

    /// Gives each of at most `keys_max` takers a bucket like `fresh`.
    #[must_use]
    pub const fn of(fresh: TokenBucket, keys_max: usize) -> Self {
        Self { fresh, keys_max, buckets: BTreeMap::new() }
    }

    /// Takes one for `key` if it need not wait; returns whether it did. When too many are told apart, those
    /// whose taking still counts keep their bucket and newcomers wait.
    pub fn try_take(&mut self, key: K, now: Instant) -> bool {
        self.bucket(key, now).is_some_and(|bucket| bucket.try_take(now))
    }

    /// Takes for `key` what costs `cost` unless what it took before has to wait; returns whether it did. When
    /// too many are told apart, newcomers wait.
    pub fn try_spend(&mut self, key: K, cost: Duration, now: Instant) -> bool {
        self.bucket(key, now).is_some_and(|bucket| bucket.try_spend(cost, now))
    }

    /// Forgets those of whom nothing counts any more.
    pub fn forget_full(&mut self, now: Instant) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Returns whether `key` has a bucket, or could have one.
    pub fn has_room(&mut self, key: &K, now: Instant) -> bool {
        if self.buckets.len() >= self.keys_max && !self.knows(key) {
            self.forget_full(now);
        }
        self.buckets.len() < self.keys_max || self.knows(key)
    }

    /// Returns whether `key` has a bucket.
    #[must_use]
    pub fn knows(&self, key: &K) -> bool {
        self.buckets.contains_key(key)
    }

    fn bucket(&mut self, key: K, now: Instant) -> Option<&mut TokenBucket> {
        if !self.has_room(&key, now) {
            return None;
        }
        Some(self.buckets.entry(key).or_insert_with(|| self.fresh.clone()))
    }

    /// Returns how long `key` has to wait until it could take one.
    #[must_use]
    pub fn wait(&self, key: &K, now: Instant) -> Duration {
        // Whom nothing is known of waits until somebody's taking counts no longer.
        self.buckets.get(key).map_or(self.fresh.each(), |bucket| bucket.wait(now))
    }

    /// Gives `key` one back that was taken and turned out to cost nothing.
    pub fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(1);

    #[test]
    fn who_takes_too_much_waits_while_others_do_not() {
        let start = Instant::now();
        let mut buckets = TokenBuckets::every(3, EACH, 10);
        assert_eq!((0..10).filter(|_| buckets.try_take("one", start)).count(), 3);
        assert!(buckets.try_take("other", start));
        assert!(buckets.try_take("one", start + EACH));
    }

    #[test]
    fn at_the_bound_only_a_bucket_that_owes_nothing_makes_room() {
        let start = Instant::now();
        let mut buckets = TokenBuckets::every(3, EACH, 10);
        for key in 0..10 {
            assert!(buckets.try_take(key, start));
        }
        assert!(!buckets.try_take(10, start));
        assert!(buckets.try_take(9, start));
        assert!(buckets.try_take(10, start + EACH));
    }

    #[test]
    fn only_those_who_owe_nothing_are_forgotten() {
        let start = Instant::now();
        let mut buckets = TokenBuckets::every(3, EACH, 10);
        assert!(buckets.try_take("one", start));
        assert!(buckets.try_spend("other", EACH * 2, start));
        buckets.forget_full(start + EACH);
        assert_eq!(buckets.buckets.keys().collect::<Vec<_>>(), [&"other"]);
        buckets.forget_full(start + EACH * 2);
        assert!(buckets.is_empty());
    }
}
