//! How much of what others cause is written down: the first of a kind at once, then one line a span that
//! counts its repeats. So what goes on for ever costs next to nothing and is never forgotten either.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Decides which of many alike are written. Kinds may hold what others chose: their number has a bound,
/// and beyond it all further kinds share one line a span.
#[derive(Debug)]
pub struct Written<K> {
    every: Duration,
    kinds_max: usize,
    kinds: BTreeMap<K, Counted>,
    beyond: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    written: Instant,
    left_out: u64,
}

impl<K: Ord> Written<K> {
    #[must_use]
    pub const fn every(every: Duration, kinds_max: usize) -> Self {
        Self { every, kinds_max, kinds: BTreeMap::new(), beyond: None }
    }

    /// Counts one. Returns how many of its kind were left out since the last, if it is to be written.
    pub fn handle(&mut self, kind: K, now: Instant) -> Option<u64> {
        if let Some(counted) = self.kinds.get_mut(&kind) {
            return counted.handle(self.every, now);
        }
        if self.kinds.len() >= self.kinds_max {
            self.kinds.retain(|_, counted| !counted.is_due(self.every, now));
        }
        if self.kinds.len() < self.kinds_max {
            self.kinds.insert(kind, Counted::begin(now));
            return Some(0);
        }
        match &mut self.beyond {
            Some(counted) => counted.handle(self.every, now),
            none => {
                *none = Some(Counted::begin(now));
                Some(0)
            }
        }
    }
}

impl Counted {
    const fn begin(now: Instant) -> Self {
        Self { written: now, left_out: 0 }
    }

    fn is_due(&self, every: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.written) >= every
    }

    fn handle(&mut self, every: Duration, now: Instant) -> Option<u64> {
        if !self.is_due(every, now) {
            self.left_out += 1;
            return None;
        }
        self.written = now;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_first_is_written_at_once_and_its_repeats_are_a_count_an_hour() {
        let start = Instant::now();
        let mut written = Written::every(HOUR, 8);
        assert_eq!(written.handle("one", start), Some(0));
        for second in 1..3_600 {
            assert_eq!(written.handle("one", start + Duration::from_secs(second)), None);
        }
        assert_eq!(written.handle("other", start + HOUR / 2), Some(0));
        assert_eq!(written.handle("one", start + HOUR), Some(3_599));
        assert_eq!(written.handle("one", start + HOUR), None);
    }

    #[test]
    fn a_day_of_one_refused_peer_is_two_dozen_lines() {
        let start = Instant::now();
        let mut written = Written::every(HOUR, 8);
        let mut counted = 0;
        let mut lines = 0;
        for second in (0..24 * 3_600).step_by(5) {
            if let Some(left_out) = written.handle("one", start + Duration::from_secs(second)) {
                lines += 1;
                counted += 1 + left_out;
            }
        }
        assert_eq!(lines, 24);
        assert_eq!(counted, 23 * 720 + 1, "none is lost");
    }

    #[test]
    fn kinds_beyond_the_bound_share_a_line_and_old_ones_make_room() {
        let start = Instant::now();
        let mut written = Written::every(HOUR, 2);
        assert_eq!([1, 2].map(|kind| written.handle(kind, start)), [Some(0), Some(0)]);
        assert_eq!([3, 4, 5].map(|kind| written.handle(kind, start)), [Some(0), None, None]);
        assert_eq!(written.handle(1, start), None);
        assert_eq!(written.handle(6, start + HOUR), Some(0), "the old kinds made room");
        assert_eq!(written.kinds.len(), 1);
    }
}
