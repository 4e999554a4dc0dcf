//! What is asked of each kind of path: how long it may be silent before it is left, and how long it must
//! answer before it is used again. How much a kind is wanted is the owner's word, in
//! [`crate::domain::path::PathPreference`].

use std::time::{Duration, Instant};

use crate::domain::limits::{CLIMB_AFTER, CLIMB_AFTER_MAX, CLIMB_LASTED, PATH_SILENCE};
use crate::domain::path::PathKind;

/// What is asked of one kind of path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// One in use that has not answered for so long is left for the next that does.
    pub(super) silence: Duration,
    /// A kind that was left in silence must answer so long without a gap before it is used again; twice as
    /// long each time it falls again, up to the second.
    climb_after: Duration,
    climb_after_max: Duration,
    /// What served so long has made up for its falls.
    lasted: Duration,
}

pub(super) const fn terms(kind: PathKind) -> Terms {
    match kind {
        PathKind::Direct | PathKind::Relay | PathKind::Tcp => Terms {
            silence: PATH_SILENCE,
            climb_after: CLIMB_AFTER,
            climb_after_max: CLIMB_AFTER_MAX,
            lasted: CLIMB_LASTED,
        },
    }
}

/// How far each kind is trusted with what is sent.
#[derive(Debug, Default)]
pub(super) struct Patience([Service; PathKind::ALL.len()]);

/// How one kind has served.
#[derive(Debug, Clone, Copy, Default)]
struct Service {
    /// How often it fell silent in use, each time soon after the time before.
    falls: u32,
    /// When it did so last.
    fell: Option<Instant>,
    /// Since when it has been in use.
    serving: Option<Instant>,
}

impl Patience {
    /// Returns how long this kind must answer before it is used again.
    fn wait(&self, kind: PathKind) -> Duration {
        let terms = terms(kind);
        match self.0[kind.index()].falls.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => {
                terms.climb_after.saturating_mul(2_u32.saturating_pow(doubled)).min(terms.climb_after_max)
            }
        }
    }

    /// Returns when this kind is used again, if it answers without a gap since `steady`: what was asked before
    /// it fell, and answered after, proves nothing.
    pub(super) fn climb_at(&self, kind: PathKind, steady: Instant) -> Instant {
        let fell = self.0[kind.index()].fell;
        fell.map_or(steady, |fell| steady.max(fell)) + self.wait(kind)
    }

    /// Notes that this kind is in use.
    pub(super) fn serve(&mut self, kind: PathKind, now: Instant) {
        self.0[kind.index()].serving.get_or_insert(now);
    }

    /// Notes that it is not in use any more, for no fault of its own.
    pub(super) fn rest(&mut self, kind: PathKind, now: Instant) {
        let service = &mut self.0[kind.index()];
        let served = service.serving.take().map(|since| now.saturating_duration_since(since));
        if served.is_some_and(|served| served >= terms(kind).lasted) {
            service.falls = 0;
        }
    }

    /// Notes that it fell silent in use, and was left.
    pub(super) fn fall(&mut self, kind: PathKind, now: Instant) {
        self.rest(kind, now);
        let service = &mut self.0[kind.index()];
        service.falls = service.falls.saturating_add(1);
        service.fell = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::path::PathPreference;

    #[test]
    fn the_table_of_ranks_and_patience_is_this() {
        let mut table =
            vec!["kind    rank  silent  again after a fall, and each one more   forgotten after".to_owned()];
        for kind in PathKind::ALL {
            let start = Instant::now();
            let mut patience = Patience::default();
            assert_eq!(patience.wait(kind), Duration::ZERO);
            let waits: Vec<_> = (0..6)
                .map(|_| {
                    patience.serve(kind, start);
                    patience.fall(kind, start);
                    patience.wait(kind).as_secs().to_string()
                })
                .collect();
            assert!(PathKind::ALL.iter().all(|other| *other == kind || patience.wait(*other).is_zero()));
            table.push(format!(
                "{:8}{:4}{:6} s  {:38}{:4} s",
                kind.as_str(),
                PathPreference::AUTO.rank(kind).unwrap(),
                terms(kind).silence.as_secs(),
                format!("{} s", waits.join(" ")),
                terms(kind).lasted.as_secs(),
            ));
        }
        let table = table.join("\n");
        println!("{table}");
        let expected = "\
kind    rank  silent  again after a fall, and each one more   forgotten after
direct     0     3 s  30 60 120 240 480 480 s                600 s
relay      1     3 s  30 60 120 240 480 480 s                600 s
tcp        2     3 s  30 60 120 240 480 480 s                600 s";
        assert_eq!(table, expected);
    }

    #[test]
    fn what_was_asked_before_a_fall_counts_from_the_fall_on() {
        let start = Instant::now();
        let mut patience = Patience::default();
        let fell = start + CLIMB_LASTED;
        assert_eq!(patience.climb_at(PathKind::Relay, start), start);
        patience.fall(PathKind::Relay, fell);
        assert_eq!(patience.climb_at(PathKind::Relay, start), fell + CLIMB_AFTER);
        let later = fell + CLIMB_AFTER;
        assert_eq!(patience.climb_at(PathKind::Relay, later), later + CLIMB_AFTER);
        assert_eq!(patience.climb_at(PathKind::Tcp, start), start);
    }

    #[test]
    fn a_kind_that_served_long_enough_has_made_up_for_its_falls_and_no_other_has() {
        let start = Instant::now();
        let mut patience = Patience::default();
        for kind in PathKind::ALL {
            patience.fall(kind, start);
            patience.fall(kind, start);
        }
        patience.serve(PathKind::Relay, start);
        patience.rest(PathKind::Relay, start + CLIMB_LASTED);
        let waits = PathKind::ALL.map(|kind| patience.wait(kind));
        assert_eq!(waits, [CLIMB_AFTER * 2, Duration::ZERO, CLIMB_AFTER * 2]);
    }
}
