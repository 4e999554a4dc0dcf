//! What one link has to ask of the database, in order: catching up with its rules goes before what its agent said.
//! Pure. What could not be served, because the database is away or busy, stays and waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use adit_core::domain::limits::{CONTROL_WAITING_MAX, DATABASE_ASKED_MAX, DATABASE_ASKED_MIN};
use adit_core::protocol::control::ToGateway;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Read what the agent must know now.
    CatchUp,
    Serve(ToGateway),
}

#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    is_stale: bool,
    messages: VecDeque<ToGateway>,
    /// Not before, after so many failures in a row.
    not_before: Option<Instant>,
    failures: u32,
}

impl WorkQueue {
    /// Notes that the rules may have changed.
    pub(super) const fn note_rules(&mut self) {
        self.is_stale = true;
    }

    /// Returns whether another message may be read from the agent.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < CONTROL_WAITING_MAX
    }

    /// Appends a message. What says the same as one that waits is that one: an agent asks and tells again while
    /// it has no answer; and of two reports the newer counts.
    pub(super) fn push(&mut self, message: ToGateway) {
        let waiting = self.messages.iter_mut().find(|waiting| is_same(waiting, &message));
        match waiting {
            Some(waiting) => *waiting = message,
            None => self.messages.push_back(message),
        }
    }

    /// Takes what is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Work> {
        if self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if std::mem::take(&mut self.is_stale) {
            return Some(Work::CatchUp);
        }
        self.messages.pop_front().map(Work::Serve)
    }

    /// Takes the next message, whenever it was to be tried again.
    pub(super) fn next_message(&mut self) -> Option<ToGateway> {
        self.messages.pop_front()
    }

    pub(super) const fn note_done(&mut self) {
        self.failures = 0;
    }

    /// Puts back what could not be done; it is due again after a while that grows.
    pub(super) fn put_back(&mut self, work: Work, now: Instant) {
        match work {
            Work::CatchUp => self.is_stale = true,
            Work::Serve(message) => self.messages.push_front(message),
        }
        self.not_before = Some(now + delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// Makes everything due: the database is back.
    pub(super) const fn resume(&mut self) {
        self.not_before = None;
        self.failures = 0;
    }

    /// Returns when to look again, if anything waits for a time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_stale || !self.messages.is_empty())
    }

    /// Drops what was measured: a newer link's agent measures.
    pub(super) fn drop_reports(&mut self) {
        self.messages.retain(|message| !matches!(message, ToGateway::Report { .. }));
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// Returns whether the newer may stand for the older, wherever that waits.
fn is_same(older: &ToGateway, newer: &ToGateway) -> bool {
    match (older, newer) {
        (ToGateway::Report { connection, .. }, ToGateway::Report { connection: same, .. }) => {
            connection == same
        }
        (
            ToGateway::FetchSecret { .. }
            | ToGateway::Missing { .. }
            | ToGateway::SecretStored { .. }
            | ToGateway::ConfigMismatch { .. },
            _,
        ) => older == newer,
        _ => false,
    }
}

fn delay(failures: u32) -> Duration {
    DATABASE_ASKED_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(DATABASE_ASKED_MAX)
}

#[cfg(test)]
mod tests {
    use adit_core::domain::id::ConnectionId;
    use adit_core::protocol::control::{Report, SessionReport, SessionStage};

    use super::*;

    const ONE: ConnectionId = ConnectionId::from_bytes([1; 16]);
    const OTHER: ConnectionId = ConnectionId::from_bytes([2; 16]);
    const FETCH: ToGateway = ToGateway::FetchSecret { connection: ONE };

    fn report(connection: ConnectionId, mirth: bool) -> ToGateway {
        ToGateway::Report { connection, report: Report { tunnel: None, mirth: Some(mirth), last_ack: None } }
    }

    fn all(queue: &mut WorkQueue) -> Vec<Work> {
        std::iter::from_fn(|| queue.next(Instant::now())).collect()
    }

    #[test]
    fn rules_go_before_what_the_agent_said_in_its_order() {
        let mut queue = WorkQueue::default();
        queue.push(FETCH);
        queue.push(report(OTHER, true));
        queue.note_rules();
        queue.note_rules();
        assert_eq!(all(&mut queue), [Work::CatchUp, Work::Serve(FETCH), Work::Serve(report(OTHER, true))]);
    }

    #[test]
    fn an_agent_that_repeats_itself_waits_once_with_its_newest_report() {
        let mut queue = WorkQueue::default();
        for message in [FETCH, report(ONE, true), FETCH, report(OTHER, true), report(ONE, false)] {
            queue.push(message);
        }
        let expected = [FETCH, report(ONE, false), report(OTHER, true)].map(Work::Serve);
        assert_eq!(all(&mut queue), expected);
    }

    #[test]
    fn what_goes_into_an_audit_waits_as_often_as_it_was_said() {
        let session = SessionReport {
            number: 1,
            stage: SessionStage::Running.into(),
            local_peer: std::net::Ipv4Addr::LOCALHOST.into(),
            requests: 1,
            refused: 0,
            changes: 0,
            audits: 0,
        };
        let mut queue = WorkQueue::default();
        for _ in 0..CONTROL_WAITING_MAX {
            assert!(queue.has_room());
            queue.push(ToGateway::AdminSession { connection: ONE, session, note: None });
        }
        assert!(!queue.has_room(), "then the link is read no further");
        assert_eq!(all(&mut queue).len(), CONTROL_WAITING_MAX);
    }

    #[test]
    fn what_failed_is_due_again_later_at_first_place_or_at_once_when_the_database_is_back() {
        let (mut queue, now) = (WorkQueue::default(), Instant::now());
        queue.push(report(OTHER, true));
        for failures in 0..9 {
            queue.put_back(Work::Serve(FETCH), now);
            let waits = DATABASE_ASKED_MIN.saturating_mul(1 << failures).min(DATABASE_ASKED_MAX);
            assert_eq!(queue.deadline(), Some(now + waits));
            assert_eq!(queue.next(now), None);
            assert_eq!(queue.next(now + waits), Some(Work::Serve(FETCH)));
        }
        queue.put_back(Work::CatchUp, now);
        queue.resume();
        assert_eq!(queue.deadline(), None);
        assert_eq!(queue.next(now), Some(Work::CatchUp));
        assert_eq!(queue.next(now), Some(Work::Serve(report(OTHER, true))));
    }
}
