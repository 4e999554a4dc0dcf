//! Gateway time: the one clock that certificates, rules and audit entries are judged by.
//!
//! The gateway's own clock is that time. An agent learns its offset over the control link, because
//! clocks in hospitals are wrong, as far as `gateway_time` finds its word plausible, and keeps it on
//! disk (not here).

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::debug;

use super::gateway_time::{Grounds, Validity, Witnesses};
use adit_core::domain::limits::LEAF_LIFE;
use adit_core::domain::time::Timestamp;

/// A smaller change of the offset is not worth a line.
const NEWS_MILLIS: u64 = 1_000;

pub trait TimeSource: Send + Sync + Debug {
    fn now(&self) -> Timestamp;
}

/// The clock of this host, which on the gateway's host is gateway time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl TimeSource for HostClock {
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp::from_millis(millis)
    }
}

/// Gateway time on an agent: another clock plus the offset learnt from the gateway.
#[derive(Debug)]
pub struct LearntClock<C = HostClock> {
    clock: C,
    offset_millis: AtomicI64,
    anchor: Mutex<Anchor>,
}

/// What the gateway's word is held against. It does not move with what is close to it.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    known: Timestamp,
    offset_millis: i64,
    at: Instant,
    leaf: LeafWitness,
}

/// The own leaf as it was at the start.
#[derive(Debug, Clone, Copy)]
enum LeafWitness {
    Unasked,
    Of(Validity),
    Spent,
}

impl<C: TimeSource> LearntClock<C> {
    /// Starts from `offset_millis` as [`Self::learn`] gave it in an earlier run, or zero.
    pub fn new(clock: C, offset_millis: i64) -> Self {
        let known = shifted(clock.now(), offset_millis);
        let anchor = Anchor { known, offset_millis, at: Instant::now(), leaf: LeafWitness::Unasked };
        Self { clock, offset_millis: AtomicI64::new(offset_millis), anchor: Mutex::new(anchor) }
    }

    /// Takes the gateway's word for what time it is where that is plausible; returns the offset to
    /// keep on disk. `leaf` is from when until when the own leaf is valid.
    pub fn learn(&self, said: Timestamp, leaf: Option<Validity>) -> Option<i64> {
        self.learn_at(said, leaf, Instant::now())
    }

    fn learn_at(&self, said: Timestamp, leaf: Option<Validity>, at: Instant) -> Option<i64> {
        let mut anchor = self.anchor.lock();
        if let (LeafWitness::Unasked, Some(leaf)) = (anchor.leaf, leaf) {
            anchor.leaf = LeafWitness::Of(leaf);
        }
        let offset_millis = said.as_millis().saturating_sub(self.clock.now().as_millis());
        let (witnesses, before) = (self.witnesses(*anchor, at), self.offset_millis());
        let judged = witnesses.judge(said);
        if judged.is_none() || before.abs_diff(offset_millis) >= NEWS_MILLIS {
            let (counted, corrected, host) = (witnesses.counted, witnesses.corrected, witnesses.host);
            let is_taken = judged.is_some();
            debug!(%said, %counted, %corrected, %host, before_ms = before, offset_ms = offset_millis, is_taken, "the gateway says what time it is");
        }
        match judged? {
            Grounds::Better => {
                *anchor = Anchor { known: said, offset_millis, at, leaf: LeafWitness::Spent };
            }
            // A process that runs for long outlives its witness: the leaf in use takes its place.
            Grounds::Known if at.saturating_duration_since(anchor.at) > LEAF_LIFE => {
                let leaf = leaf.map_or(anchor.leaf, LeafWitness::Of);
                *anchor = Anchor { known: said, offset_millis, at, leaf };
            }
            Grounds::Known => {}
        }
        self.offset_millis.store(offset_millis, Ordering::Relaxed);
        Some(offset_millis)
    }

    /// Drops the offset of an earlier run where the own leaf shows that it is wrong; returns whether
    /// it did.
    pub fn drop_bad_offset(&self, leaf: Option<Validity>) -> bool {
        let mut anchor = self.anchor.lock();
        let at = Instant::now();
        anchor.leaf = leaf.map_or(LeafWitness::Unasked, LeafWitness::Of);
        let is_bad = self.witnesses(*anchor, at).is_correction_bad();
        if is_bad {
            *anchor = Anchor { known: self.clock.now(), offset_millis: 0, at, leaf: anchor.leaf };
            self.offset_millis.store(0, Ordering::Relaxed);
        }
        is_bad
    }

    fn witnesses(&self, anchor: Anchor, at: Instant) -> Witnesses {
        let host = self.clock.now();
        let leaf = match anchor.leaf {
            LeafWitness::Of(leaf) => Some(leaf),
            LeafWitness::Unasked | LeafWitness::Spent => None,
        };
        Witnesses {
            started: anchor.known,
            counted: anchor.known.saturating_add(at.saturating_duration_since(anchor.at)),
            corrected: shifted(host, anchor.offset_millis),
            host,
            leaf,
        }
    }

    /// Returns how far the gateway's clock is ahead of this host's.
    pub fn offset_millis(&self) -> i64 {
        self.offset_millis.load(Ordering::Relaxed)
    }
}

impl<C: TimeSource> TimeSource for LearntClock<C> {
    fn now(&self) -> Timestamp {
        shifted(self.clock.now(), self.offset_millis())
    }
}

fn shifted(at: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add(millis))
}

/// A clock that stands still, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct StoppedClock(pub Timestamp);

#[cfg(test)]
impl TimeSource for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use adit_core::domain::limits::{LEAF_BACKDATED, LEAF_LIFE};

    const DAY: Duration = Duration::from_hours(24);
    const GATEWAY: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn leaf() -> Validity {
        (GATEWAY.saturating_sub(LEAF_BACKDATED), GATEWAY.saturating_add(LEAF_LIFE))
    }

    #[test]
    fn a_host_clock_a_year_behind_is_set_right_by_what_the_gateway_says() {
        let host = GATEWAY.saturating_sub(365 * DAY);
        let clock = LearntClock::new(StoppedClock(host), 0);
        assert_eq!(clock.now(), host);

        let offset = clock.learn(GATEWAY, Some(leaf())).unwrap();
        assert_eq!(clock.now(), GATEWAY);
        let after_restart = LearntClock::new(StoppedClock(host), offset);
        assert_eq!(after_restart.now(), GATEWAY);
    }

    #[test]
    fn a_word_that_nothing_makes_plausible_changes_nothing() {
        let clock = LearntClock::new(StoppedClock(GATEWAY), 0);
        let start = Instant::now();
        for years in [30, 1] {
            assert_eq!(clock.learn_at(GATEWAY.saturating_add(years * 365 * DAY), Some(leaf()), start), None);
            assert_eq!(clock.learn_at(GATEWAY.saturating_sub(years * 365 * DAY), Some(leaf()), start), None);
        }
        assert_eq!(clock.now(), GATEWAY);
        let minute = Duration::from_mins(1);
        assert_eq!(clock.learn_at(GATEWAY.saturating_add(minute), Some(leaf()), start), Some(60_000));
        assert_eq!(clock.now(), GATEWAY.saturating_add(minute));
    }

    #[test]
    fn time_passes_for_a_process_whose_host_clock_stands_still() {
        let clock = LearntClock::new(StoppedClock(GATEWAY), 0);
        let later = 200 * DAY;
        let said = GATEWAY.saturating_add(later);
        assert!(clock.learn_at(said, Some(leaf()), Instant::now()).is_none());
        assert!(clock.learn_at(said, Some(leaf()), Instant::now() + later).is_some());
    }

    #[test]
    fn a_word_in_small_steps_gets_no_further_than_one_leafs_life() {
        let start = Instant::now();
        let wrong_host = GATEWAY.saturating_sub(3_000 * DAY);
        let clock = LearntClock::new(StoppedClock(wrong_host), offset(3_000 * DAY));
        let mut furthest = Duration::ZERO;
        for step in 0..10_000 {
            let ahead = step * Duration::from_hours(1);
            // A gateway in the wrong hands renews the leaf with every step.
            let now = clock.now();
            let leaf = Some((now.saturating_sub(LEAF_BACKDATED), now.saturating_add(LEAF_LIFE)));
            if clock.learn_at(GATEWAY.saturating_add(ahead), leaf, start).is_some() {
                furthest = ahead;
            }
        }
        assert_eq!(furthest, LEAF_LIFE + DAY);
    }

    fn offset(span: Duration) -> i64 {
        i64::try_from(span.as_millis()).unwrap()
    }

    #[test]
    fn an_offset_that_the_own_leaf_contradicts_is_dropped() {
        let clock = LearntClock::new(StoppedClock(GATEWAY), offset(30 * 365 * DAY));
        assert!(clock.drop_bad_offset(Some(leaf())));
        assert_eq!(clock.now(), GATEWAY);
        assert!(!clock.drop_bad_offset(Some(leaf())));
        assert!(clock.learn(GATEWAY, Some(leaf())).is_some());
    }
}
