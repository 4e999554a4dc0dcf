//! When the local Mirth last said something on a connection that is open.
//!
//! Bytes that come back on an open connection prove more than a dial: a receiver that serves one
//! connection at a time takes no other meanwhile, and lives. What was said on a connection that has ended
//! proves nothing: its end may have been Mirth's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use adit_core::domain::limits::MIRTH_PROBE_AFTER;

/// The open connections of one entry's Mirth.
#[derive(Debug)]
pub(crate) struct MirthActivity {
    started: Instant,
    open: Mutex<Vec<Arc<AtomicU64>>>,
}

/// One open connection; forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct ActivityMark {
    mirth_activity: Arc<MirthActivity>,
    /// Milliseconds after the start of the last bytes, and one more; 0 before there were any.
    heard: Arc<AtomicU64>,
}

impl ActivityMark {
    /// Notes that Mirth said something. Called for every block of bytes.
    pub(crate) fn note_heard(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.mirth_activity.started).as_millis();
        self.heard.store(u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1), Ordering::Relaxed);
    }
}

impl Drop for ActivityMark {
    fn drop(&mut self) {
        self.mirth_activity.open.lock().retain(|heard| !Arc::ptr_eq(heard, &self.heard));
    }
}

impl MirthActivity {
    #[must_use]
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { started: now, open: Mutex::default() })
    }

    /// Notes that a connection was opened.
    #[must_use]
    pub(crate) fn open(self: &Arc<Self>) -> ActivityMark {
        let heard = Arc::new(AtomicU64::new(0));
        self.open.lock().push(Arc::clone(&heard));
        ActivityMark { mirth_activity: Arc::clone(self), heard }
    }

    /// Returns when bytes came last on a connection that is open still.
    #[must_use]
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        let latest = self.open.lock().iter().map(|heard| heard.load(Ordering::Relaxed)).max()?;
        let millis = latest.checked_sub(1)?;
        self.started.checked_add(Duration::from_millis(millis))
    }

    /// Returns how long Mirth has proven itself alive without a dial, if it did so within
    /// [`MIRTH_PROBE_AFTER`].
    #[must_use]
    pub(crate) fn quiet_for(&self, now: Instant) -> Option<Duration> {
        let quiet = now.saturating_duration_since(self.last_heard()?);
        (quiet < MIRTH_PROBE_AFTER).then_some(quiet)
    }

    /// Returns whether a dial that was begun at `began` and has failed proves nothing: bytes came since, or
    /// shortly before.
    #[must_use]
    pub(crate) fn outweighs(&self, began: Instant, now: Instant) -> bool {
        // Times are kept in milliseconds.
        let since = |heard: Instant| heard + Duration::from_millis(1) > began;
        self.quiet_for(now).is_some() || self.last_heard().is_some_and(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_failed_dial_counts_only_once_nothing_has_come_back_for_ten_seconds() {
        let start = Instant::now();
        let mirth_activity = MirthActivity::new(start);
        let mark = mirth_activity.open();
        assert!(!mirth_activity.outweighs(start, start + SECOND), "nothing was heard yet");
        mark.note_heard(start + SECOND);
        assert!(mirth_activity.outweighs(start + SECOND * 2, start + SECOND * 10));
        assert!(!mirth_activity.outweighs(start + SECOND * 2, start + SECOND * 11));
    }

    #[test]
    fn bytes_that_came_after_the_dial_began_outweigh_it_however_long_it_took() {
        let start = Instant::now();
        let mirth_activity = MirthActivity::new(start);
        let mark = mirth_activity.open();
        mark.note_heard(start + SECOND * 3);
        assert!(mirth_activity.outweighs(start + SECOND * 3, start + SECOND * 30));
        assert!(!mirth_activity.outweighs(start + SECOND * 4, start + SECOND * 30));
    }

    #[test]
    fn no_probe_is_due_while_bytes_come_back_on_any_connection() {
        let start = Instant::now();
        let mirth_activity = MirthActivity::new(start);
        let (talks, _silent) = (mirth_activity.open(), mirth_activity.open());
        for second in 0..60 {
            talks.note_heard(start + SECOND * second);
            let now = start + SECOND * (second + 9);
            assert_eq!(mirth_activity.quiet_for(now), Some(SECOND * 9), "at {second} s");
        }
        assert_eq!(mirth_activity.quiet_for(start + SECOND * 69), None);
    }

    #[test]
    fn what_was_said_on_a_connection_that_has_ended_proves_nothing() {
        let start = Instant::now();
        let mirth_activity = MirthActivity::new(start);
        let (ends, stays) = (mirth_activity.open(), mirth_activity.open());
        stays.note_heard(start + SECOND);
        ends.note_heard(start + SECOND * 5);
        drop(ends);
        assert_eq!(mirth_activity.last_heard(), Some(start + SECOND));
        drop(stays);
        assert_eq!(mirth_activity.last_heard(), None);
        assert!(!mirth_activity.outweighs(start, start + SECOND * 6));
    }
}
