//! What the gateway said that this agent did not take: remembered by kind for `adit status`, written
//! down at most once an hour each, however often it is said.

use std::collections::BTreeMap;
use std::time::Instant;

use super::stats::Fault;
use adit_core::domain::limits::NOT_TAKEN_SAID_EVERY;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rejected {
    /// What time it is.
    Clock,
    /// A new certificate.
    Leaf,
    /// Rules, ends and revocations that concern nothing here.
    Foreign,
}

#[derive(Debug, Default)]
pub(crate) struct RejectedStatements {
    /// What was not taken, unless the gateway said better since, and when it was written down last.
    kinds: BTreeMap<Rejected, (Option<Fault>, Instant)>,
}

impl RejectedStatements {
    /// Remembers one; whether it is to be written down.
    pub(crate) fn note(&mut self, kind: Rejected, fault: Fault, now: Instant) -> bool {
        let written = self.kinds.get(&kind).map(|(_, at)| *at);
        let is_due = written.is_none_or(|at| now.saturating_duration_since(at) >= NOT_TAKEN_SAID_EVERY);
        self.kinds.insert(kind, (Some(fault), written.filter(|_| !is_due).unwrap_or(now)));
        is_due
    }

    /// Forgets the fault: the gateway said better since.
    pub(crate) fn clear(&mut self, kind: Rejected) {
        if let Some((fault, _)) = self.kinds.get_mut(&kind) {
            *fault = None;
        }
    }

    #[must_use]
    pub(crate) fn all(&self) -> Vec<Fault> {
        self.kinds.values().filter_map(|(fault, _)| fault.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use adit_core::domain::time::Timestamp;

    #[test]
    fn a_repeated_fault_is_shown_as_said_last_but_written_down_once_an_hour() {
        let start = Instant::now();
        let fault = |what: &str| Fault { at: Timestamp::from_millis(1), what: what.into() };
        let mut statements = RejectedStatements::default();
        assert!(statements.note(Rejected::Clock, fault("one"), start));
        assert!(statements.note(Rejected::Leaf, fault("other"), start));
        let minute = Duration::from_mins(1);
        assert!((1..60).all(|turn| !statements.note(Rejected::Clock, fault("two"), start + turn * minute)));
        assert_eq!(statements.all(), [fault("two"), fault("other")]);
        assert!(statements.note(Rejected::Clock, fault("three"), start + 60 * minute));
        statements.clear(Rejected::Clock);
        assert_eq!(statements.all(), [fault("other")]);
        // Who says good and bad in turn writes no more.
        assert!(!statements.note(Rejected::Clock, fault("four"), start + 61 * minute));
        assert!(statements.note(Rejected::Clock, fault("five"), start + 120 * minute));
    }
}
