//! What the gateway says of another copy of this agent: the same state folder in use twice. It holds for a
//! while and is said again for as long as both run.

use std::net::SocketAddr;
use std::time::Instant;

use parking_lot::Mutex;

use super::stats::Fault;
use adit_core::domain::limits::{COPY_SAID_FOR, REPEATS_WRITTEN_EVERY};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};

#[derive(Debug)]
pub(crate) struct Copies(Mutex<Word>);

#[derive(Debug)]
struct Word {
    last: Option<(Fault, Instant)>,
    written: RepeatLimiter<()>,
}

impl Default for Copies {
    fn default() -> Self {
        Self(Mutex::new(Word { last: None, written: RepeatLimiter::every(REPEATS_WRITTEN_EVERY, 1) }))
    }
}

impl Copies {
    /// Notes that the gateway saw another copy, whose link came from `other`.
    pub(crate) fn note(&self, other: SocketAddr, at: Timestamp, now: Instant) {
        let what = format!(
            "another copy of this agent runs and opens control links from {other}; stop one of the two, or empty its \
             state folder and enrol it with a connector file of a server of its own"
        );
        let mut word = self.0.lock();
        if let Some(more) = word.written.handle((), now) {
            tracing::warn!(more = shown(more), "{what}");
        }
        word.last = Some((Fault { at, what }, now));
    }

    /// Returns what is to be done about it, while it was said of late.
    #[must_use]
    pub(crate) fn seen(&self, now: Instant) -> Option<Fault> {
        let last = self.0.lock().last.clone();
        last.filter(|(_, said)| now.saturating_duration_since(*said) < COPY_SAID_FOR).map(|(fault, _)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_copy_is_seen_until_it_was_not_said_for_a_while() {
        let (copies, start) = (Copies::default(), Instant::now());
        assert_eq!(copies.seen(start), None);
        copies.note(([192, 0, 2, 7], 4_433).into(), Timestamp::from_millis(1), start);
        let seen = copies.seen(start + COPY_SAID_FOR / 2).unwrap();
        assert!(seen.what.contains("192.0.2.7:4433"), "{}", seen.what);
        assert_eq!(copies.seen(start + COPY_SAID_FOR), None);
    }
}
