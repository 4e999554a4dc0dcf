//! Whether the gateway's word on the time can be true: a gateway in the wrong hands must not make
//! every certificate expired, or an expired one good, by saying another year.
//!
//! Pure. Clocks in hospitals are wrong, so no single one is believed: this host knows what it was
//! told before and how long ago by two clocks, what its own clock says, and when its own leaf was
//! made. What none of them makes plausible is refused, and a person sets the host's clock.

use std::time::Duration;

use adit_core::domain::limits::{CLOCK_LOST_MAX, CLOCK_STEP_MAX, LEAF_BACKDATED, LEAF_LIFE, LEAF_SLACK};
use adit_core::domain::time::Timestamp;

/// From when until when a leaf is valid.
pub(super) type Validity = (Timestamp, Timestamp);

/// What this host knows of the time, before the gateway's word is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witnesses {
    /// The time known at the start.
    pub started: Timestamp,
    /// That, and what has passed since by a clock that nobody sets.
    pub counted: Timestamp,
    /// This host's clock, corrected as at the start.
    pub corrected: Timestamp,
    /// This host's clock as it is.
    pub host: Timestamp,
    /// Of the own leaf at the start, which the gateway signed at a time of its own. One that was renewed
    /// since is no witness: its time is the gateway's word of now.
    pub leaf: Option<Validity>,
}

/// Why the gateway's word is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grounds {
    /// It is close to what was known.
    Known,
    /// What was known before is worth less than this: count from here.
    Better,
}

impl Witnesses {
    /// Judges `said`; `None` when nothing speaks for it.
    #[must_use]
    pub(super) fn judge(&self, said: Timestamp) -> Option<Grounds> {
        if is_near(said, self.counted) || is_near(said, self.corrected) {
            return Some(Grounds::Known);
        }
        if is_near(said, self.host) {
            return Some(Grounds::Better);
        }
        let (from, until) = self.leaf.filter(|leaf| is_lawful(*leaf))?;
        if !is_within(self.started, (from, until)) {
            // The own leaf shows that what was known is wrong.
            let is_behind = self.started < from;
            let lost = if is_behind { CLOCK_LOST_MAX } else { Duration::ZERO };
            return is_within(said, (from, until.saturating_add(lost))).then_some(Grounds::Better);
        }
        // A process that runs for long has counted its leaf's life away.
        let is_in_reach = distance(said, self.counted) <= LEAF_LIFE.saturating_add(CLOCK_STEP_MAX);
        (is_in_reach && is_within(said, (from, until))).then_some(Grounds::Known)
    }

    /// Returns whether the correction kept from an earlier run is worth less than none: with it the time is
    /// not the own leaf's, and without it is.
    #[must_use]
    pub(super) fn is_correction_bad(&self) -> bool {
        let Some(leaf) = self.leaf.filter(|leaf| is_lawful(*leaf)) else { return false };
        // A host that was off for long is past its leaf by a right correction too.
        let (from, until) = leaf;
        let reach = (from, until.saturating_add(CLOCK_LOST_MAX));
        !is_within(self.corrected, reach) && is_within(self.host, leaf)
    }
}

/// Returns whether a leaf is valid for no longer than a gateway signs them.
#[must_use]
pub(super) fn is_lawful((from, until): Validity) -> bool {
    until.since(from) <= LEAF_LIFE.saturating_add(LEAF_BACKDATED).saturating_add(LEAF_SLACK)
}

fn is_near(said: Timestamp, known: Timestamp) -> bool {
    distance(said, known) <= CLOCK_STEP_MAX
}

fn is_within(at: Timestamp, (from, until): Validity) -> bool {
    at >= from.saturating_sub(CLOCK_STEP_MAX) && at <= until.saturating_add(CLOCK_STEP_MAX)
}

fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const YEAR: i64 = 365 * DAY;

    /// Returns the seconds from the moment at which the own leaf was signed.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_795_510_800 + seconds) * 1_000)
    }

    fn leaf_signed(seconds: i64) -> Validity {
        (at(seconds).saturating_sub(LEAF_BACKDATED), at(seconds).saturating_add(LEAF_LIFE))
    }

    fn witnesses(counted: i64, corrected: i64, host: i64) -> Witnesses {
        let leaf = Some(leaf_signed(0));
        let started = at(counted);
        Witnesses { started, counted: started, corrected: at(corrected), host: at(host), leaf }
    }

    #[track_caller]
    fn check(known: Witnesses, said: i64, expected: Option<Grounds>) {
        assert_eq!(known.judge(at(said)), expected, "{known:?} hears {}", at(said));
    }

    #[test]
    fn thirty_years_either_way_are_not_believed() {
        for host in [0, -YEAR, 5 * YEAR] {
            for jump in [30 * YEAR, -30 * YEAR, 60 * DAY, -60 * DAY] {
                check(witnesses(3_600, 3_600, host + 3_600), 3_600 + jump, None);
            }
        }
    }

    #[test]
    fn the_first_word_sets_any_wrong_clock_right() {
        for host in [0, 3_600, -2 * DAY, 5 * DAY, YEAR, -YEAR, -40 * YEAR] {
            let known = witnesses(host, host, host);
            assert!(known.judge(at(10)).is_some(), "{host}");
        }
        check(witnesses(YEAR, YEAR, YEAR), 10, Some(Grounds::Better));
    }

    #[test]
    fn a_host_whose_clock_was_lost_while_it_was_off_is_set_right() {
        let lost = witnesses(-20 * YEAR, -20 * YEAR, -21 * YEAR);
        for off in [DAY, 20 * DAY, 200 * DAY] {
            check(lost, off, Some(Grounds::Better));
        }
        check(lost, 3 * YEAR, None);
        check(lost, -20 * DAY, None);
    }

    #[test]
    fn a_host_that_was_off_or_stood_still_for_long_is_right_by_its_own_clock() {
        check(witnesses(90 * DAY, 90 * DAY, 90 * DAY + YEAR), 90 * DAY + 60, Some(Grounds::Known));
        // A virtual machine was held: only its clock went on.
        check(witnesses(0, 90 * DAY, 90 * DAY + YEAR), 90 * DAY, Some(Grounds::Known));
    }

    #[test]
    fn a_gateway_whose_clock_was_set_right_is_believed_by_hosts_whose_own_is_right() {
        check(witnesses(0, 0, 200 * DAY), 200 * DAY, Some(Grounds::Better));
        check(witnesses(0, 0, -200 * DAY), -200 * DAY, Some(Grounds::Better));
        check(witnesses(0, 0, 3 * YEAR), 200 * DAY, None);
    }

    #[test]
    fn a_process_that_has_run_for_long_is_not_set_back_into_its_first_leaf() {
        let long = Witnesses { started: at(0), ..witnesses(200 * DAY, 200 * DAY, 9 * YEAR) };
        check(long, 5 * DAY, None);
        check(long, 200 * DAY + 60, Some(Grounds::Known));
    }

    #[test]
    fn a_leaf_longer_than_any_gateway_signs_speaks_for_nothing() {
        let long = (at(30 * YEAR), at(40 * YEAR));
        let known = Witnesses { leaf: Some(long), ..witnesses(0, 0, 0) };
        check(known, 35 * YEAR, None);
        check(known, 60, Some(Grounds::Known));
        check(Witnesses { leaf: None, ..known }, 35 * YEAR, None);
        assert!(is_lawful(leaf_signed(7)) && !is_lawful(long) && is_lawful((at(9), at(8))));
    }

    #[test]
    fn a_correction_that_an_older_version_kept_is_dropped_where_the_leaf_shows_it_wrong() {
        assert!(witnesses(30 * YEAR, 30 * YEAR, 60).is_correction_bad());
        assert!(!witnesses(60, 60, YEAR).is_correction_bad());
        assert!(!witnesses(60, 60, 120).is_correction_bad());
        assert!(!witnesses(YEAR, YEAR, 2 * YEAR).is_correction_bad());
        // Off for longer than its leaf lives, on a host three days behind.
        assert!(!witnesses(17 * 24 * 3_600, 17 * 24 * 3_600, 14 * 24 * 3_600).is_correction_bad());
    }
}
