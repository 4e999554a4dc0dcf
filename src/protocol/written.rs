//! How much of what others cause is written down: so many of a kind a minute, and how many more there were.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_mins(1);

/// Kinds are few and ours: none may hold what others chose.
#[derive(Debug)]
pub struct Written<K> {
    per_minute: u32,
    kinds: BTreeMap<K, Counted>,
}

#[derive(Debug)]
struct Counted {
    minute: Instant,
    in_minute: u32,
    left_out: u64,
}

impl<K: Ord> Written<K> {
    #[must_use]
    pub const fn per_minute(per_minute: u32) -> Self {
        Self { per_minute, kinds: BTreeMap::new() }
    }

    /// Counts one. Returns how many of its kind were left out since the last, if it is to be written.
    pub fn handle(&mut self, kind: K, now: Instant) -> Option<u64> {
        let counted = self.kinds.entry(kind).or_insert(Counted { minute: now, in_minute: 0, left_out: 0 });
        if now.saturating_duration_since(counted.minute) >= MINUTE {
            counted.minute = now;
            counted.in_minute = 0;
        }
        if counted.in_minute >= self.per_minute {
            counted.left_out += 1;
            return None;
        }
        counted.in_minute += 1;
        Some(std::mem::take(&mut counted.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_a_minutes_share_is_said_in_the_next() {
        let start = Instant::now();
        let mut written = Written::per_minute(2);
        assert_eq!((0..9).filter_map(|_| written.handle("one", start)).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(written.handle("other", start), Some(0));
        assert_eq!(written.handle("one", start + MINUTE), Some(7));
        assert_eq!(written.handle("one", start + MINUTE), Some(0));
        assert_eq!(written.handle("one", start + MINUTE), None);
    }
}
