//! What one link has to ask of the database, in order: catching up with its rules goes before what its agent said.
//! Pure. What could not be served, because the database is away or busy, stays and waits. Notes are taken a few times a
//! second, all that there are together: who says many has no more of the database than others.
//!
//! Nothing is dropped here, though an agent that is told when the database is back says most of it again: what it
//! says again finds its like in the queue, or changes nothing a second time. Agents of earlier builds say it once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::platform::{AgentNote, NumberedNote};
use adit_core::domain::limits::{
    CONTROL_WAITING_MAX, DATABASE_ASKED_MAX, DATABASE_ASKED_MIN, NOTES_TAKEN_BURST, NOTES_TAKEN_EACH,
    NOTES_TAKEN_MAX,
};
use adit_core::protocol::control::{NoteNumber, ToGateway};
use adit_core::protocol::token_bucket::TokenBucket;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Read what the agent must know now.
    CatchUp,
    Serve(ToGateway),
    /// In the order of their numbers, without which a note that is taken would stand for one that is not.
    Take(Vec<NumberedNote>),
}

#[derive(Debug)]
pub(super) struct WorkQueue {
    is_stale: bool,
    messages: VecDeque<ToGateway>,
    notes: BTreeMap<NoteNumber, AgentNote>,
    pace: TokenBucket,
    /// When notes that wait for their pace alone may be taken.
    notes_at: Option<Instant>,
    /// The notes had their turn last.
    messages_next: bool,
    /// Not before, after so many failures in a row.
    not_before: Option<Instant>,
    failures: u32,
}

impl Default for WorkQueue {
    fn default() -> Self {
        Self {
            is_stale: false,
            messages: VecDeque::new(),
            notes: BTreeMap::new(),
            pace: TokenBucket::every(NOTES_TAKEN_BURST, NOTES_TAKEN_EACH),
            notes_at: None,
            messages_next: false,
            not_before: None,
            failures: 0,
        }
    }
}

impl WorkQueue {
    /// Notes that the rules may have changed.
    pub(super) const fn note_rules(&mut self) {
        self.is_stale = true;
    }

    /// Returns whether another message may be read from the agent.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() + self.notes.len() < CONTROL_WAITING_MAX
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

    /// Adds a note under a number; said again, it is the same.
    pub(super) fn push_note(&mut self, number: NoteNumber, note: AgentNote) {
        self.notes.insert(number, note);
    }

    /// Takes what is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Work> {
        if self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        self.not_before = None;
        if std::mem::take(&mut self.is_stale) {
            return Some(Work::CatchUp);
        }
        self.notes_at = (!self.notes.is_empty()).then(|| now + self.pace.wait(now)).filter(|at| now < *at);
        if self.notes_at.is_some() {
            return self.messages.pop_front().map(Work::Serve);
        }
        let work = self.next_said();
        if matches!(work, Some(Work::Take(_))) {
            self.pace.take(now);
        }
        work
    }

    /// Takes what the agent said next, whenever it was to be tried again, however many notes it says: on a link that
    /// has ended no more come. Messages and notes take turns.
    pub(super) fn next_said(&mut self) -> Option<Work> {
        let (message, notes) = (!self.messages.is_empty(), !self.notes.is_empty());
        if !notes || message && self.messages_next {
            self.messages_next = false;
            return self.messages.pop_front().map(Work::Serve);
        }
        self.messages_next = true;
        let first = std::iter::from_fn(|| self.notes.pop_first()).take(NOTES_TAKEN_MAX);
        Some(Work::Take(first.map(|(number, note)| NumberedNote { number, note }).collect()))
    }

    pub(super) const fn note_done(&mut self) {
        self.failures = 0;
    }

    /// Puts back what could not be done; it is due again after a while that grows.
    pub(super) fn put_back(&mut self, work: Work, now: Instant) {
        match work {
            Work::CatchUp => self.is_stale = true,
            Work::Serve(message) => {
                self.messages_next = true;
                self.messages.push_front(message);
            }
            Work::Take(notes) => {
                self.messages_next = false;
                self.notes.extend(notes.into_iter().map(|noted| (noted.number, noted.note)));
            }
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
        let waits = self.is_stale || !self.messages.is_empty() || !self.notes.is_empty();
        self.not_before.filter(|_| waits).or(self.notes_at)
    }

    /// Drops what was measured: a newer link's agent measures.
    pub(super) fn drop_reports(&mut self) {
        self.messages.retain(|message| !matches!(message, ToGateway::Report { .. }));
    }

    /// Returns how much waits that no agent says again on its next link.
    pub(super) fn said_once(&self) -> usize {
        let is_said_once = |message: &&ToGateway| {
            matches!(message, ToGateway::RefusedPeer { .. } | ToGateway::AdminSession { .. })
        };
        self.messages.iter().filter(is_said_once).count()
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
    use adit_core::protocol::control::{PeerRefusal, Report, SessionReport, SessionStage};

    use super::*;

    const ONE: ConnectionId = ConnectionId::from_bytes([1; 16]);
    const OTHER: ConnectionId = ConnectionId::from_bytes([2; 16]);
    const FETCH: ToGateway = ToGateway::FetchSecret { connection: ONE };

    fn report(connection: ConnectionId, mirth: bool) -> ToGateway {
        ToGateway::Report {
            connection,
            report: Report { tunnel: None, mirth: Some(mirth), last_ack: None, fault: None },
        }
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

    fn note(number: u64) -> NumberedNote {
        let reason = PeerRefusal::Paused.into();
        let note = AgentNote::RefusedPeer { connection: None, peer: None, reason, times: 1 };
        NumberedNote { number: NoteNumber(number), note }
    }

    fn push_notes(queue: &mut WorkQueue, numbers: impl IntoIterator<Item = u64>) {
        for NumberedNote { number, note } in numbers.into_iter().map(note) {
            queue.push_note(number, note);
        }
    }

    #[test]
    fn notes_go_by_their_numbers_in_bounded_batches_that_take_turns_with_messages() {
        let (mut queue, most) = (WorkQueue::default(), NOTES_TAKEN_MAX as u64);
        push_notes(&mut queue, (1..=most + 1).rev());
        queue.push(FETCH);
        queue.push(report(OTHER, true));
        let first = Work::Take((1..=most).map(note).collect());
        let last = Work::Take(vec![note(most + 1)]);
        let expected = [first, Work::Serve(FETCH), last, Work::Serve(report(OTHER, true))];
        assert_eq!(all(&mut queue), expected);
    }

    #[test]
    fn an_agent_that_says_notes_without_end_has_no_more_than_its_share_of_acts() {
        const MINUTE: Duration = Duration::from_mins(1);
        let start = Instant::now();
        let (mut queue, mut now, mut said, mut taken, mut acts, mut served) =
            (WorkQueue::default(), start, 0, 0, 0, 0);
        while now < start + MINUTE {
            // As fast as the link is read, each act done at once, and something to ask beside.
            while queue.has_room() {
                said += 1;
                push_notes(&mut queue, [said]);
                if said.is_multiple_of(50) {
                    queue.push(report(ConnectionId::from_bytes([said.to_be_bytes()[7]; 16]), true));
                }
            }
            match queue.next(now) {
                Some(Work::Take(notes)) => {
                    acts += 1;
                    assert!(
                        notes.iter().map(|noted| noted.number.0).eq(taken + 1..=taken + notes.len() as u64)
                    );
                    taken += notes.len() as u64;
                    queue.note_done();
                }
                Some(Work::Serve(_)) => served += 1,
                Some(Work::CatchUp) => panic!("nothing changed"),
                None => now = queue.deadline().filter(|at| *at > now).expect("it is told when to look again"),
            }
        }
        let share =
            NOTES_TAKEN_BURST + u32::try_from(MINUTE.as_millis() / NOTES_TAKEN_EACH.as_millis()).unwrap();
        assert!((share - 2..=share).contains(&acts), "{acts} acts of {share}");
        assert!(taken > 100 * u64::from(share / 2) && served > 0, "{taken} notes, {served} messages");
    }

    #[test]
    fn messages_go_on_while_notes_wait_for_their_pace() {
        let (mut queue, now) = (WorkQueue::default(), Instant::now());
        for number in 1..=u64::from(NOTES_TAKEN_BURST) {
            push_notes(&mut queue, [number]);
            assert!(matches!(queue.next(now), Some(Work::Take(_))));
        }
        let next = u64::from(NOTES_TAKEN_BURST) + 1;
        push_notes(&mut queue, [next]);
        queue.push(FETCH);
        assert_eq!(queue.next(now), Some(Work::Serve(FETCH)));
        assert_eq!(queue.next(now), None);
        assert_eq!(queue.deadline(), Some(now + NOTES_TAKEN_EACH));
        assert_eq!(queue.next(now + NOTES_TAKEN_EACH), Some(Work::Take(vec![note(next)])));
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn notes_that_are_said_again_while_they_wait_are_the_same() {
        let (mut queue, now) = (WorkQueue::default(), Instant::now());
        push_notes(&mut queue, [5, 6]);
        let taken = queue.next(now).unwrap();
        // Said again while the first are under way, which then fail.
        push_notes(&mut queue, [5, 6, 7]);
        queue.put_back(taken, now);
        queue.resume();
        assert_eq!(all(&mut queue), [Work::Take(vec![note(5), note(6), note(7)])]);
    }

    #[test]
    fn only_what_no_agent_says_again_is_lost_with_its_link() {
        let mut queue = WorkQueue::default();
        push_notes(&mut queue, [1, 2]);
        queue.push(FETCH);
        assert_eq!(queue.said_once(), 0);
        let reason = PeerRefusal::Paused.into();
        queue.push(ToGateway::RefusedPeer { connection: None, peer: None, reason, left_out: 0, note: None });
        assert_eq!(queue.said_once(), 1);
    }

    #[test]
    fn a_link_is_read_no_further_while_as_much_waits_as_may() {
        let mut queue = WorkQueue::default();
        push_notes(&mut queue, 1..CONTROL_WAITING_MAX as u64);
        assert!(queue.has_room());
        queue.push(FETCH);
        assert!(!queue.has_room());
    }
}
