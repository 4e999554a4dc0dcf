//! Things that cost something each: so many at once, then so many a second; the others wait.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Pace {
    each: Duration,
    burst: Duration,
    /// When everything taken so far would be paid off.
    paid: Option<Instant>,
}

impl Pace {
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let each = Duration::from_secs(1) / per_second;
        Self { each, burst: each * burst, paid: None }
    }

    /// Takes one; gives how long it has to wait.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + self.each);
        self.owed(now)
    }

    /// How long one would have to wait for what was taken before.
    #[must_use]
    pub fn owed(&self, now: Instant) -> Duration {
        self.paid
            .map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now).saturating_sub(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_what_follows_waits_its_turn() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 20);
        for _ in 0..10 {
            assert_eq!(pace.take(start), Duration::ZERO);
        }
        assert_eq!(pace.take(start), Duration::from_millis(50));
        assert_eq!(pace.take(start), Duration::from_millis(100));
        assert_eq!(pace.owed(start), Duration::from_millis(100));
        assert_eq!(pace.take(start + Duration::from_secs(1)), Duration::ZERO);
    }
}
