//! Whether a carrier is dead: what is asked over it is answered by nobody.
//!
//! A proxy on the way may have forgotten the connection and hold it open all the same. No clock here.

use std::time::Instant;

use adit_core::domain::limits::CARRIER_SILENCE;

/// What was asked over one carrier since it last answered.
#[derive(Debug, Default)]
pub(super) struct CarrierSilence {
    /// When the first of them was.
    since: Option<Instant>,
    unanswered: u32,
}

impl CarrierSilence {
    pub(super) fn note_asked(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Forgets what was asked: something was answered, or the carrier is another one.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Returns from when on it is dead. One question alone may have found no room.
    pub(super) fn dead_at(&self) -> Option<Instant> {
        self.since.filter(|_| self.unanswered > 1).map(|since| since + CARRIER_SILENCE)
    }

    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.dead_at().is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_carrier_is_dead_six_seconds_after_the_first_of_two_questions_unless_one_is_answered() {
        let (mut silence, start) = (CarrierSilence::default(), Instant::now());
        silence.note_asked(start);
        assert_eq!(silence.dead_at(), None, "one may be lost");
        silence.note_asked(start + MS);
        assert_eq!(silence.dead_at(), Some(start + CARRIER_SILENCE));
        assert!(!silence.is_dead(start + CARRIER_SILENCE.saturating_sub(MS)));
        assert!(silence.is_dead(start + CARRIER_SILENCE));
        silence.reset();
        assert!(!silence.is_dead(start + CARRIER_SILENCE));
        let again = start + CARRIER_SILENCE;
        silence.note_asked(again);
        silence.note_asked(again);
        assert_eq!(silence.dead_at(), Some(again + CARRIER_SILENCE));
    }
}
