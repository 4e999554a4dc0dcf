//! Limits to so many a second: what bounds the packets that others can make us send.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct FixedWindowLimiter {
    second: Option<Instant>,
    taken: u32,
}

impl FixedWindowLimiter {
    /// Returns whether one more is allowed now.
    pub(super) fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let second = *self.second.get_or_insert(now);
        if now.saturating_duration_since(second) >= Duration::from_secs(1) {
            self.second = Some(now);
            self.taken = 0;
        }
        let allowed = self.taken < per_second;
        self.taken += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_as_many_as_allowed_pass_in_each_second() {
        let start = Instant::now();
        let mut limiter = FixedWindowLimiter::default();
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            assert_eq!((0..100).filter(|_| limiter.take(20, now)).count(), 20);
            assert!(!limiter.take(20, now + Duration::from_millis(999)));
        }
    }
}
