//! Which refusals of an admin connection get a line of their own in the audit, and what is said of the
//! others: every denial stands there, but a partner's will to be refused fills no disk.
//!
//! The first get a line each, with all detail. Beyond their rate a line says that from there on they are
//! counted, and another at the end of each minute how many there were, of which kinds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use adit_core::domain::limits::{
    ADMIN_REFUSAL_KINDS_MAX, ADMIN_REFUSALS_DETAILED_BURST, ADMIN_REFUSALS_DETAILED_EVERY,
};
use adit_core::protocol::token_bucket::TokenBucket;
use adit_observe::audit::{RefusalKind, RefusalSum};

const MINUTE: Duration = Duration::from_mins(1);

/// What is to be written before a refusal is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// This one, with all detail.
    Detail,
    /// That refusals are counted from here on.
    SumBegins,
    /// Nothing: the line is there that says they are counted.
    None,
}

#[derive(Debug)]
pub(super) struct RefusalSums {
    detailed: TokenBucket,
    sum: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    kinds: BTreeMap<RefusalKind, u64>,
    others: u64,
}

impl Default for RefusalSums {
    fn default() -> Self {
        let detailed = TokenBucket::every(ADMIN_REFUSALS_DETAILED_BURST, ADMIN_REFUSALS_DETAILED_EVERY);
        Self { detailed, sum: None }
    }
}

impl RefusalSums {
    /// Counts a refusal; returns what has to be written first.
    pub(super) fn handle(&mut self, kind: &RefusalKind, now: Instant) -> Line {
        if self.detailed.try_take(now) {
            return Line::Detail;
        }
        let begins = self.sum.is_none();
        let sum = self.sum.get_or_insert_with(|| Open { since: now, kinds: BTreeMap::new(), others: 0 });
        let has_room = sum.kinds.len() < ADMIN_REFUSAL_KINDS_MAX;
        match sum.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            // Noise of other kinds must not hide guesses.
            None if has_room || is_login(kind) => drop(sum.kinds.insert(kind.clone(), 1)),
            None => sum.others += 1,
        }
        if begins { Line::SumBegins } else { Line::None }
    }

    /// Returns what was counted in the last minute, once that is over.
    pub(super) fn poll(&mut self, now: Instant) -> Option<RefusalSum> {
        self.sum.take_if(|sum| now.saturating_duration_since(sum.since) >= MINUTE).map(|sum| {
            let seconds = now.saturating_duration_since(sum.since).as_secs();
            RefusalSum::new(seconds, sum.kinds.into_iter().collect(), sum.others)
        })
    }
}

/// Returns whether the template is one of the tables' few templates for logins, which are named whatever else
/// came first.
fn is_login(kind: &RefusalKind) -> bool {
    kind.template.to_ascii_lowercase().contains("login")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(number: u16) -> RefusalKind {
        RefusalKind { method: "GET", template: "/channels".into(), status: number }
    }

    fn spent(start: Instant) -> RefusalSums {
        let mut sums = RefusalSums::default();
        for _ in 0..ADMIN_REFUSALS_DETAILED_BURST {
            assert_eq!(sums.handle(&kind(403), start), Line::Detail);
        }
        sums
    }

    #[test]
    fn a_sum_names_logins_however_many_other_kinds_came_first() {
        let start = Instant::now();
        let mut sums = spent(start);
        for number in 400..500 {
            sums.handle(&kind(number), start);
        }
        let login = RefusalKind { method: "POST", template: "/users/_login".into(), status: 401 };
        assert_eq!(sums.handle(&login, start), Line::None);
        let sum = sums.poll(start + MINUTE).expect("is due");
        assert!(format!("{sum:?}").contains("_login"), "{sum:?}");
    }

    #[test]
    fn refusals_after_the_first_few_are_counted_under_one_line() {
        let start = Instant::now();
        let mut sums = spent(start);
        assert_eq!(sums.handle(&kind(403), start), Line::SumBegins);
        for _ in 0..999 {
            assert_eq!(sums.handle(&kind(403), start), Line::None);
        }
        assert_eq!(sums.handle(&kind(400), start), Line::None);
        assert_eq!(sums.poll(start + MINUTE.saturating_sub(Duration::from_millis(1))), None);
        let expected = RefusalSum::new(60, vec![(kind(400), 1), (kind(403), 1_000)], 0);
        assert_eq!(sums.poll(start + MINUTE), Some(expected));
        assert_eq!(sums.poll(start + MINUTE * 2), None);
    }

    #[test]
    fn a_sum_tells_few_kinds_apart() {
        let start = Instant::now();
        let mut sums = spent(start);
        for number in 0..100 {
            sums.handle(&kind(number), start);
        }
        let sum = sums.poll(start + MINUTE).expect("is due");
        let line = serde_json::to_string(&sum).expect("is JSON");
        assert!(line.contains("\"count\":100") && line.contains("\"others\":92"), "{line}");
    }

    /// A day of refusals as fast as they are answered takes a few megabytes.
    #[test]
    fn a_day_of_refusals_has_a_bounded_number_of_lines() {
        let start = Instant::now();
        let mut sums = RefusalSums::default();
        let mut lines = 0;
        for step in 0..24 * 3600 * 2 {
            let now = start + Duration::from_millis(500) * step;
            lines += usize::from(sums.poll(now).is_some());
            for _ in 0..10 {
                lines += usize::from(sums.handle(&kind(403), now) != Line::None);
            }
        }
        println!("{lines} lines of some 400 bytes");
        assert!(lines < 14_000, "{lines}");
    }
}
