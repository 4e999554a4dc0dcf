//! How much of what others cause is written down: the first of a kind at once, then one line a span that
//! counts its repeats. So what goes on forever costs next to nothing and is never forgotten either.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::token_bucket::TokenBucket;

/// Decides which of many alike are written. Kinds may hold what others chose: their number has a bound,
/// and beyond it all further kinds share one line a span.
#[derive(Debug)]
pub struct RepeatLimiter<K> {
    burst: u32,
    every: Duration,
    kinds_max: usize,
    kinds: BTreeMap<K, Counted>,
    beyond: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    lines: TokenBucket,
    left_out: u64,
}

impl<K: Ord> RepeatLimiter<K> {
    #[must_use]
    pub const fn every(every: Duration, kinds_max: usize) -> Self {
        Self::bursts(1, every, kinds_max)
    }

    /// Does the same for what is no repeat yet when it happens `burst` times.
    #[must_use]
    pub const fn bursts(burst: u32, every: Duration, kinds_max: usize) -> Self {
        Self { burst, every, kinds_max, kinds: BTreeMap::new(), beyond: None }
    }

    /// Counts one. Returns how many of its kind were left out since the last, if it is to be written.
    pub fn handle(&mut self, kind: K, now: Instant) -> Option<u64> {
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= self.kinds_max {
            self.kinds.retain(|_, counted| !counted.lines.is_full(now));
        }
        let is_told_apart = self.kinds.contains_key(&kind) || self.kinds.len() < self.kinds_max;
        let fresh = || Counted { lines: TokenBucket::every(self.burst, self.every), left_out: 0 };
        let counted = if is_told_apart {
            self.kinds.entry(kind).or_insert_with(fresh)
        } else {
            self.beyond.get_or_insert_with(fresh)
        };
        let left_out = counted.poll(now);
        counted.left_out += u64::from(left_out.is_none());
        left_out
    }

    /// Returns how many of this kind were left out, if its next line is due.
    pub fn due_of(&mut self, kind: &K, now: Instant) -> Option<u64> {
        self.kinds.get_mut(kind).filter(|counted| counted.left_out > 0)?.poll(now)
    }
}

impl<K: Ord + Clone> RepeatLimiter<K> {
    /// Returns how many of each kind were left out whose next line is due; `None` stands for all kinds
    /// beyond the bound. So the last of many are told too, though none comes after them.
    pub fn due(&mut self, now: Instant) -> Vec<(Option<K>, u64)> {
        let kinds = self.kinds.iter_mut().map(|(kind, counted)| (Some(kind.clone()), counted));
        let all = kinds.chain(self.beyond.iter_mut().map(|counted| (None, counted)));
        let untold = all.filter(|(_, counted)| counted.left_out > 0);
        untold.filter_map(|(kind, counted)| Some((kind, counted.poll(now)?))).collect()
    }
}

impl Counted {
    fn poll(&mut self, now: Instant) -> Option<u64> {
        self.lines.try_take(now).then(|| std::mem::take(&mut self.left_out))
    }
}

/// Returns what a line shows of those left out before it: nothing where there were none.
#[must_use]
pub fn shown(left_out: u64) -> Option<u64> {
    (left_out > 0).then_some(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_first_is_written_at_once_but_its_repeats_as_a_count_an_hour() {
        let start = Instant::now();
        let mut limiter = RepeatLimiter::every(HOUR, 8);
        assert_eq!(limiter.handle("one", start), Some(0));
        for second in 1..3_600 {
            assert_eq!(limiter.handle("one", start + Duration::from_secs(second)), None);
        }
        assert_eq!(limiter.handle("other", start + HOUR / 2), Some(0));
        assert_eq!(limiter.handle("one", start + HOUR), Some(3_599));
        assert_eq!(limiter.handle("one", start + HOUR), None);
    }

    #[test]
    fn a_day_of_one_refused_peer_is_two_dozen_lines() {
        let start = Instant::now();
        let mut limiter = RepeatLimiter::every(HOUR, 8);
        let mut counted = 0;
        let mut lines = 0;
        for second in (0..24 * 3_600).step_by(5) {
            if let Some(left_out) = limiter.handle("one", start + Duration::from_secs(second)) {
                lines += 1;
                counted += 1 + left_out;
            }
        }
        assert_eq!(lines, 24);
        assert_eq!(counted, 23 * 720 + 1, "none is lost");
    }

    #[test]
    fn the_last_of_many_are_told_though_none_comes_after_them() {
        let start = Instant::now();
        let mut limiter = RepeatLimiter::every(HOUR, 2);
        for kind in [1, 1, 1, 2, 3, 4] {
            limiter.handle(kind, start);
        }
        assert_eq!(limiter.due(start + HOUR / 2), []);
        assert_eq!(limiter.due(start + HOUR), [(Some(1), 2), (None, 1)]);
        assert_eq!(limiter.due(start + 2 * HOUR), []);
    }

    #[test]
    fn repeats_of_one_kind_are_summed_up_without_one_that_comes_after_them() {
        let start = Instant::now();
        let mut limiter = RepeatLimiter::every(HOUR, 2);
        assert_eq!(limiter.due_of(&1, start), None);
        assert_eq!([1, 2].map(|kind| limiter.handle(kind, start)), [Some(0), Some(0)]);
        assert!((0..500).all(|_| limiter.handle(1, start + HOUR / 2).is_none()));
        assert_eq!(limiter.handle(2, start + HOUR / 2), None);
        assert_eq!(limiter.due_of(&1, start + HOUR / 2), None);
        assert_eq!(limiter.due_of(&1, start + HOUR), Some(500));
        assert_eq!(limiter.due_of(&1, start + 3 * HOUR), None);
        assert_eq!(limiter.handle(1, start + 3 * HOUR), Some(0));
        assert_eq!(limiter.due(start + 3 * HOUR), [(Some(2), 1)], "another kind's are its own");
    }

    #[test]
    fn kinds_beyond_the_bound_share_a_line_until_old_ones_make_room() {
        let start = Instant::now();
        let mut limiter = RepeatLimiter::every(HOUR, 2);
        assert_eq!([1, 2].map(|kind| limiter.handle(kind, start)), [Some(0), Some(0)]);
        assert_eq!([3, 4, 5].map(|kind| limiter.handle(kind, start)), [Some(0), None, None]);
        assert_eq!(limiter.handle(1, start), None);
        assert_eq!(limiter.handle(6, start + HOUR), Some(0), "the old kinds made room");
        assert_eq!(limiter.kinds.len(), 1);
    }
}
