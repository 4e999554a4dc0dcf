//! Lines of the log that may repeat without end, as those of a peer that comes and goes: the first few of a
//! kind are written, the rest is counted and told once a minute.

use std::time::Instant;

use parking_lot::Mutex;

use adit_core::domain::limits::{REPEATED_KINDS_MAX, REPEATS_BURST, REPEATS_SUMMED_EVERY};
use adit_core::protocol::repeat_limiter::RepeatLimiter;

#[derive(Debug)]
pub struct Repeats(Mutex<RepeatLimiter<String>>);

impl Default for Repeats {
    fn default() -> Self {
        Self(Mutex::new(RepeatLimiter::bursts(REPEATS_BURST, REPEATS_SUMMED_EVERY, REPEATED_KINDS_MAX)))
    }
}

impl Repeats {
    /// Counts one. Returns how many before it were left out, if it is to be written.
    pub fn note(&self, line: &str, now: Instant) -> Option<u64> {
        self.with(|written| written.handle(line.to_owned(), now))
    }

    /// Returns the lines that were left out, and how often, as far as they are to be told now.
    pub fn due(&self, now: Instant) -> Vec<(String, u64)> {
        let due = self.with(|written| written.due(now));
        let named = |kind: Option<String>| kind.unwrap_or_else(|| "lines of other kinds".into());
        due.into_iter().map(|(kind, left_out)| (named(kind), left_out)).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut RepeatLimiter<String>) -> T) -> T {
        act(&mut self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_that_flaps_for_an_hour_has_two_lines_a_minute() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let (mut lines, mut counted) = (0, 0);
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            let written = repeats.note("tunnel is up", now);
            for left_out in written.into_iter().chain(repeats.due(now).into_iter().map(|(_, times)| times)) {
                lines += 1;
                counted += left_out;
            }
        }
        assert!(lines <= 124, "{lines}");
        assert!(counted >= 3_400, "{counted}");
    }

    #[test]
    fn what_happens_a_few_times_is_written_each_time() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        assert!((0..REPEATS_BURST).all(|_| repeats.note("tunnel is up", now) == Some(0)));
        assert_eq!(repeats.note("tunnel is up", now), None);
        assert_eq!(repeats.note("the tunnel ended", now), Some(0));
    }
}
