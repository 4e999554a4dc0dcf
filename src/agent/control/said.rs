//! What was said over one control link of each connection, so that it is said once, or not too often. All of it is
//! forgotten where the gateway could not keep it; a new link begins with none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::domain::id::ConnectionId;
use adit_core::protocol::control::{ConfigMismatch, Report};

/// What did not come is asked for again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How soon the gateway hears again why a connection that it has in force cannot be.
const MISMATCH_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Said {
    /// Connections of which the gateway was asked whether they ended.
    missed: BTreeSet<ConnectionId>,
    reported: BTreeMap<ConnectionId, Report>,
    /// What was said of a connection, and when.
    config_mismatch: BTreeMap<(ConnectionId, ConfigMismatch), Instant>,
    stored: BTreeMap<ConnectionId, u32>,
    asked: BTreeMap<ConnectionId, (u32, Instant)>,
}

impl Said {
    /// Returns whether it was not said yet that the secret of this epoch is here; from now on it was.
    pub(super) fn is_stored_news(&mut self, connection: ConnectionId, epoch: u32) -> bool {
        self.stored.insert(connection, epoch) != Some(epoch)
    }

    /// Returns whether what is true of a connection differs from what was said last; from now on it does not.
    pub(super) fn is_report_news(&mut self, connection: ConnectionId, report: Report) -> bool {
        self.reported.insert(connection, report) != Some(report)
    }

    /// Returns of which of these, the connections that the gateway does not list, it was not asked yet whether
    /// they ended. One that was listed meanwhile is asked of again.
    pub(super) fn newly_missing(&mut self, missing: BTreeSet<ConnectionId>) -> Vec<ConnectionId> {
        let news = missing.difference(&self.missed).copied().collect();
        self.missed = missing;
        news
    }

    /// Returns whether to say it: once; and again while the gateway has the connection in force all the same:
    /// it was retried, and what came in between may not have been seen here.
    pub(super) fn may_report_mismatch(
        &mut self,
        connection: ConnectionId,
        reason: ConfigMismatch,
        in_force: bool,
        now: Instant,
    ) -> bool {
        let said = self.config_mismatch.get(&(connection, reason));
        let may = said.is_none_or(|at| in_force && now.duration_since(*at) >= MISMATCH_AGAIN);
        if may {
            self.config_mismatch.insert((connection, reason), now);
        }
        may
    }

    /// Forgets that it was said: it is said again once it is found again.
    pub(super) fn forget_mismatch(&mut self, connection: ConnectionId, reason: ConfigMismatch) {
        self.config_mismatch.remove(&(connection, reason));
    }

    /// Returns whether the secret of this epoch may be asked for now; if so, it was.
    pub(super) fn may_ask(&mut self, connection: ConnectionId, epoch: u32, now: Instant) -> bool {
        let asked = self.asked.get(&connection);
        let waits = asked.is_some_and(|(then, at)| *then == epoch && now.duration_since(*at) < ASK_AGAIN);
        if !waits {
            self.asked.insert(connection, (epoch, now));
        }
        !waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnectionId = ConnectionId::from_bytes([1; 16]);
    const OTHER: ConnectionId = ConnectionId::from_bytes([2; 16]);
    const IDLE: Report = Report { tunnel: None, mirth: None, last_ack: None, fault: None };

    #[test]
    fn what_is_true_is_said_once_until_it_differs() {
        let mut said = Said::default();
        assert_eq!([1, 1, 2, 1].map(|epoch| said.is_stored_news(ONE, epoch)), [true, false, true, true]);
        let answers = Report { mirth: Some(true), ..IDLE };
        let news = [IDLE, IDLE, answers, IDLE].map(|report| said.is_report_news(ONE, report));
        assert_eq!(news, [true, false, true, true]);
        assert!(said.is_stored_news(OTHER, 1) && said.is_report_news(OTHER, IDLE));
    }

    #[test]
    fn a_secret_is_asked_for_again_after_a_while_unless_it_was_rotated() {
        let (mut said, start) = (Said::default(), Instant::now());
        assert!(said.may_ask(ONE, 1, start));
        assert!(!said.may_ask(ONE, 1, start + ASK_AGAIN / 2));
        assert!(said.may_ask(OTHER, 1, start) && said.may_ask(ONE, 2, start));
        assert!(said.may_ask(ONE, 2, start + ASK_AGAIN));
    }

    #[test]
    fn a_mismatch_is_said_once_unless_the_connection_is_in_force_all_the_same() {
        let (mut said, start) = (Said::default(), Instant::now());
        let mut may = |in_force, after| {
            said.may_report_mismatch(ONE, ConfigMismatch::MirthTooOld, in_force, start + after)
        };
        assert!(may(true, Duration::ZERO) && !may(true, MISMATCH_AGAIN / 2));
        assert!(!may(false, MISMATCH_AGAIN) && may(true, MISMATCH_AGAIN));
        said.forget_mismatch(ONE, ConfigMismatch::MirthTooOld);
        assert!(said.may_report_mismatch(ONE, ConfigMismatch::MirthTooOld, false, start));
    }

    #[test]
    fn a_missing_connection_is_asked_of_again_once_it_was_listed() {
        let mut said = Said::default();
        assert_eq!(said.newly_missing([ONE].into()), [ONE]);
        assert_eq!(said.newly_missing([ONE, OTHER].into()), [OTHER]);
        assert_eq!(said.newly_missing([OTHER].into()), []);
        assert_eq!(said.newly_missing([ONE, OTHER].into()), [ONE]);
    }
}
