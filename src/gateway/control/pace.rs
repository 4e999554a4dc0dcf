//! How fast one link may speak: a burst, then a steady rate. Pure.
//!
//! Who is too fast is read later, not cut off: the transport's windows then hold it back.

use std::time::{Duration, Instant};

use crate::domain::limits::{CONTROL_MESSAGES_BURST, CONTROL_MESSAGES_PER_SECOND};

/// When the allowance would be full again (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Pace {
    full_at: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Counts a message and says from when the next may be read.
    pub(super) fn handle_message(&mut self, now: Instant) -> Instant {
        let each = Duration::from_secs(1) / CONTROL_MESSAGES_PER_SECOND;
        self.full_at = self.full_at.max(now) + each;
        let owed = self.full_at.duration_since(now);
        now + owed.saturating_sub(each * CONTROL_MESSAGES_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_what_follows_at_the_steady_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for number in 0..CONTROL_MESSAGES_BURST {
            assert_eq!(pace.handle_message(now), now, "message {number}");
        }
        let each = Duration::from_secs(1) / CONTROL_MESSAGES_PER_SECOND;
        assert_eq!(pace.handle_message(now), now + each);
        assert_eq!(pace.handle_message(now), now + each * 2);
        // A second of silence gives back a second's worth.
        let later = now + Duration::from_secs(1);
        for number in 0..CONTROL_MESSAGES_PER_SECOND - 2 {
            assert_eq!(pace.handle_message(later), later, "message {number}");
        }
        assert!(pace.handle_message(later) >= later);
    }
}
