//! How long to wait before trying again: doubling, jittered, bounded, forever.
//!
//! Arithmetic only; the draw comes from outside and nobody sleeps here. Being connected does not
//! reset it, having stayed connected does, so a flapping link cannot hammer.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    lasted: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts with a short delay; `lasted` is how long a link must have been up for the next delay to be
    /// short again.
    #[must_use]
    pub const fn new(delay_min: Duration, delay_max: Duration, lasted: Duration) -> Self {
        Self { delay_min, delay_max, lasted, failures: 0 }
    }

    /// Returns the pause before the next attempt: between half and all of the doubled delay. `draw` is
    /// uniform in 0..1; what lies outside counts as the nearer end.
    pub fn next_delay(&mut self, draw: f64) -> Duration {
        let doubled = self.delay_min.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        #[expect(clippy::manual_clamp, reason = "`clamp` keeps NaN, of which no delay can be made")]
        let draw = draw.max(0.0).min(1.0);
        doubled.min(self.delay_max).mul_f64(1.0 - draw / 2.0)
    }

    /// Starts over. What kept failing is gone: the next delay is short again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes that the link is down after having been up for `up_for`.
    pub fn on_lost(&mut self, up_for: Duration) {
        if up_for >= self.lasted {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);
    const LASTED: Duration = Duration::from_secs(30);

    fn backoff() -> Backoff {
        Backoff::new(MIN, MAX, LASTED)
    }

    #[test]
    fn the_delay_doubles_until_it_stays_at_its_bound() {
        let mut backoff = backoff();
        let delays: Vec<_> = (0..9).map(|_| backoff.next_delay(0.0).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn what_has_nothing_to_do_with_earlier_failures_starts_short() {
        let mut backoff = Backoff { failures: 9, ..backoff() };
        backoff.reset();
        assert_eq!(backoff.next_delay(0.0), MIN);
    }

    #[test]
    fn it_never_gives_up() {
        let mut backoff = Backoff { failures: u32::MAX, ..backoff() };
        assert_eq!(backoff.next_delay(0.0), MAX);
        assert_eq!(backoff.next_delay(0.0), MAX);
    }

    #[test]
    fn only_a_link_that_has_lasted_resets_it() {
        let mut backoff = backoff();
        backoff.next_delay(0.0);
        backoff.next_delay(0.0);
        backoff.on_lost(LASTED.checked_sub(Duration::from_nanos(1)).unwrap());
        assert_eq!(backoff.next_delay(0.0), MIN * 4);
        backoff.on_lost(LASTED);
        assert_eq!(backoff.next_delay(0.0), MIN);
    }

    #[test]
    fn a_draw_outside_its_range_is_taken_as_the_nearer_end() {
        for (draw, delay) in [(-1.0, MIN), (f64::NAN, MIN), (2.0, MIN / 2), (f64::INFINITY, MIN / 2)] {
            assert_eq!(backoff().next_delay(draw), delay, "draw {draw}");
        }
    }

    proptest! {
        #[test]
        fn every_delay_is_from_half_the_least_to_the_most(draws in prop::collection::vec(0.0..1.0, 0..80)) {
            let mut backoff = backoff();
            for draw in draws {
                let delay = backoff.next_delay(draw);
                prop_assert!(delay >= MIN / 2 && delay <= MAX, "{delay:?}");
            }
        }
    }
}
