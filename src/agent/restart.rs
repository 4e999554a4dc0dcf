//! A gateway that said that it stops is most likely back in a moment, and what it relayed waits for that:
//! it is dialled often for a while, and nobody is warned before it has stayed away for long.

use std::time::{Duration, Instant};

use adit_core::domain::limits::{GATEWAY_RESTARTS_WITHIN, STOPPED_PEER_EXCUSED};

/// For a packet to a gateway far away, that is lost, and the answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A handshake that was begun before the gateway listened waits ever longer before it asks again, and one
/// that is begun again asks twice in this time.
const DIAL_TIMEOUT_SHORT: Duration = Duration::from_millis(600);
/// Spreads the agents, each in half to all of it.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// When the gateway said so last.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    said: Option<Instant>,
}

impl Restart {
    pub(crate) fn begin(&mut self, now: Instant) {
        self.said = Some(now);
    }

    /// Returns how long a handshake may take.
    #[must_use]
    pub(crate) fn dial_timeout(&self, now: Instant) -> Duration {
        if self.is_within(GATEWAY_RESTARTS_WITHIN, now) { DIAL_TIMEOUT_SHORT } else { DIAL_TIMEOUT }
    }

    /// Returns the pause before the next dial, where it is not the usual one; `draw` is uniform in 0..1.
    #[must_use]
    pub(crate) fn pause(&self, now: Instant, draw: f64) -> Option<Duration> {
        let soon = self.is_within(GATEWAY_RESTARTS_WITHIN, now);
        soon.then(|| PAUSE_MAX.mul_f64(1.0 - draw.clamp(0.0, 1.0) / 2.0))
    }

    /// Returns whether its absence is no news.
    #[must_use]
    pub(crate) fn is_excused(&self, now: Instant) -> bool {
        self.is_within(STOPPED_PEER_EXCUSED, now)
    }

    fn is_within(&self, span: Duration, now: Instant) -> bool {
        self.said.is_some_and(|said| now.saturating_duration_since(said) < span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopping_gateway_is_excused_for_longer_than_it_is_dialled_often() {
        let (mut restart, start) = (Restart::default(), Instant::now());
        let usual = |restart: &Restart, now| {
            (restart.dial_timeout(now), restart.pause(now, 0.5)) == (DIAL_TIMEOUT, None)
        };
        assert!(usual(&restart, start) && !restart.is_excused(start));
        restart.begin(start);
        for draw in [0.0, 0.5, 1.0] {
            let pause = restart.pause(start, draw).unwrap();
            assert!(pause <= PAUSE_MAX && pause >= PAUSE_MAX / 2, "{pause:?}");
        }
        assert_eq!(restart.dial_timeout(start), DIAL_TIMEOUT_SHORT);
        let later = start + GATEWAY_RESTARTS_WITHIN;
        assert!(usual(&restart, later) && restart.is_excused(later));
        assert!(!restart.is_excused(start + STOPPED_PEER_EXCUSED));
    }
}
