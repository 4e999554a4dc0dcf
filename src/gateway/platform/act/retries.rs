//! How often and for how long a transaction is run again. Arithmetic only: the clock and the draw come from
//! outside, and nobody sleeps here.

use std::time::{Duration, Instant};

use crate::store::Turn;
use adit_core::domain::limits::{ACT_LAST_ATTEMPT, ACT_RETRY_DELAY_MAX, ACT_RETRY_DELAY_MIN};
use adit_core::protocol::backoff::Backoff;

#[derive(Debug)]
pub(in super::super) struct Retries {
    until: Instant,
    backoff: Backoff,
    turn: Turn,
}

impl Retries {
    pub(in super::super) fn new(now: Instant, wait: Duration) -> Self {
        let backoff = Backoff::new(ACT_RETRY_DELAY_MIN, ACT_RETRY_DELAY_MAX, wait);
        Self { until: now + wait, backoff, turn: Turn::Beside }
    }

    /// Begins with another turn.
    pub(super) fn in_turn(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }

    /// Returns whom the next attempt runs beside.
    pub(super) const fn turn(&self) -> Turn {
        self.turn
    }

    /// Returns the pause before the next attempt; none when the time is over. Who was kept from committing by
    /// others runs alone from then on, so that no crowd can do so again, and waits in their line.
    pub(super) fn next_pause(&mut self, now: Instant, draw: f64, is_conflict: bool) -> Option<Duration> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        if is_conflict && self.turn == Turn::Beside {
            self.turn = Turn::Alone;
            return Some(Duration::ZERO);
        }
        Some(self.backoff.next_delay(draw).min(left))
    }

    /// Returns when an attempt is given up, the last one too.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        self.until.max(now) + ACT_LAST_ATTEMPT
    }
}

#[cfg(test)]
mod tests {
    use adit_core::domain::limits::ACT_WAIT;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pauses_double_up_to_their_bound() {
        let now = Instant::now();
        let mut retries = Retries::new(now, ACT_WAIT);
        let pauses: Vec<_> = (0..9).filter_map(|_| retries.next_pause(now, 0.0, false)).collect();
        assert_eq!(
            pauses.iter().map(Duration::as_millis).collect::<Vec<_>>(),
            [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]
        );
    }

    #[test]
    fn no_attempt_follows_the_one_at_the_end_of_the_time() {
        let now = Instant::now();
        let mut retries = Retries::new(now, ACT_WAIT);
        let nearly = now + ACT_WAIT.saturating_sub(Duration::from_millis(1));
        assert_eq!(retries.next_pause(nearly, 0.0, false), Some(Duration::from_millis(1)));
        assert_eq!(retries.next_pause(now + ACT_WAIT, 0.0, false), None);
        assert_eq!(retries.next_pause(now + ACT_WAIT * 2, 0.0, true), None);
    }

    #[test]
    fn whom_others_kept_from_committing_runs_alone() {
        let now = Instant::now();
        let mut retries = Retries::new(now, ACT_WAIT);
        assert_eq!(retries.turn(), Turn::Beside);
        assert_eq!(retries.next_pause(now, 0.0, false), Some(ACT_RETRY_DELAY_MIN), "the database was away");
        assert_eq!(retries.turn(), Turn::Beside);
        assert_eq!(retries.next_pause(now, 0.0, true), Some(Duration::ZERO));
        assert_eq!(retries.turn(), Turn::Alone);
        assert_eq!(retries.next_pause(now, 0.0, true), Some(ACT_RETRY_DELAY_MIN * 2), "in vain");
        assert_eq!(retries.turn(), Turn::Alone);
    }

    proptest! {
        #[test]
        fn whatever_is_drawn_the_pauses_fill_the_time_in_few_attempts(
            draws in prop::collection::vec(0.0..1.0_f64, 64),
        ) {
            let start = Instant::now();
            let (mut retries, mut now, mut attempts) = (Retries::new(start, ACT_WAIT), start, 0);
            for draw in draws {
                let Some(pause) = retries.next_pause(now, draw, false) else { break };
                now += pause;
                attempts += 1;
            }
            prop_assert_eq!(now, start + ACT_WAIT);
            prop_assert!((10..=40).contains(&attempts), "{}", attempts);
        }
    }
}
