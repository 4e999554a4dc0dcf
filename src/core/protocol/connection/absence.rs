//! A peer whose agent said that it stops is away by order. Nobody is warned of that until it stays away.

use std::time::Instant;

use crate::domain::limits::STOPPED_PEER_EXCUSED;

/// Until when the peer is excused, if it is away by order.
#[derive(Debug, Default)]
pub(super) struct Absence {
    until: Option<Instant>,
}

impl Absence {
    /// Notes that the tunnel ended; `is_announced`: the peer's agent said that it stops.
    pub(super) fn begin(&mut self, is_announced: bool, now: Instant) {
        self.until = is_announced.then(|| now + STOPPED_PEER_EXCUSED);
    }

    /// Notes that the peer is there, or its absence has been told.
    pub(super) const fn end(&mut self) {
        self.until = None;
    }

    pub(super) fn is_excused(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Returns when a peer that is away by order has been so for long.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_stopped_is_excused_for_a_minute() {
        let start = Instant::now();
        let mut absence = Absence::default();
        absence.begin(false, start);
        assert!(!absence.is_excused(start), "it did not say that it stops");
        absence.begin(true, start);
        let end = start + STOPPED_PEER_EXCUSED;
        assert_eq!(absence.until(), Some(end));
        assert!(absence.is_excused(start) && !absence.is_excused(end));
        absence.end();
        assert!(!absence.is_excused(start), "it was told");
    }
}
