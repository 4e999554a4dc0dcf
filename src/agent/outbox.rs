//! Notes for the gateway's audit that wait for the control link, and those that it has not acknowledged: they are
//! said again on the next link, and once its database is back. What does not fit is dropped and counted; the
//! agent's own audit file has it.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::NOTES_UNACKNOWLEDGED_MAX;
use adit_core::protocol::control::{NoteNumber, PeerRefusal, SessionReport, SessionStage, ToGateway};
use adit_observe::metrics::CONTROL_DROPPED;

/// Notes that wait at a time.
const OUTBOX_MAX: usize = 256;

/// What the gateway writes into the audit logs of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    RefusedPeer {
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: PeerRefusal,
        left_out: u64,
    },
    AdminSession {
        connection: ConnectionId,
        session: SessionReport,
    },
}

impl Note {
    /// Returns it as it is said, with its number where that is acknowledged.
    fn to_message(self, note: Option<NoteNumber>) -> ToGateway {
        match self {
            Self::RefusedPeer { connection, peer, reason, left_out } => {
                ToGateway::RefusedPeer { connection, peer, reason: reason.into(), left_out, note }
            }
            Self::AdminSession { connection, session } => {
                ToGateway::AdminSession { connection, session, note }
            }
        }
    }

    /// Returns whether a later note has all that this one says: counts of a session only grow.
    fn is_outdone_by(&self, later: &Self) -> bool {
        match (self, later) {
            (
                Self::AdminSession { connection, session },
                Self::AdminSession { connection: of, session: later },
            ) => (connection, session.number) == (of, later.number) && session.stage == SessionStage::Running,
            (Self::RefusedPeer { .. }, _) | (_, Self::RefusedPeer { .. }) => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Note>);

impl Outbox {
    /// Returns the outbox, and its end at the control link.
    #[must_use]
    pub(crate) fn new() -> (Self, Notes) {
        let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
        (Self(outbox), Notes { queue, unacknowledged: VecDeque::new(), last: 0 })
    }

    /// Queues a note for the gateway.
    pub(crate) fn notify(&self, note: Note) {
        if self.0.try_send(note).is_err() {
            metrics::counter!(CONTROL_DROPPED).increment(1);
            tracing::debug!("a note for the gateway was dropped: as many wait for it as may");
        }
    }
}

/// The notes at the control link: longer than one link, as long as the agent runs.
#[derive(Debug)]
pub(crate) struct Notes {
    queue: mpsc::Receiver<Note>,
    /// By number, the oldest first.
    unacknowledged: VecDeque<(NoteNumber, Note)>,
    last: u64,
}

impl Notes {
    /// Waits for the next note, and for room to keep it; `None` once nobody can write one.
    pub(crate) async fn receive(&mut self) -> Option<Note> {
        if self.unacknowledged.len() >= NOTES_UNACKNOWLEDGED_MAX {
            // Whoever acknowledges one comes back here.
            std::future::pending::<()>().await;
        }
        self.queue.recv().await
    }

    /// Numbers a note and keeps it until it is acknowledged; returns it as it is said.
    pub(crate) fn keep(&mut self, note: Note) -> ToGateway {
        self.unacknowledged.retain(|(_, before)| !before.is_outdone_by(&note));
        self.last += 1;
        let number = NoteNumber(self.last);
        self.unacknowledged.push_back((number, note));
        note.to_message(Some(number))
    }

    /// Forgets the note of this number: the gateway has it.
    pub(crate) fn note_acknowledged(&mut self, number: NoteNumber) {
        self.unacknowledged.retain(|(kept, _)| *kept != number);
    }

    /// Returns all that was not acknowledged, to be said again.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = ToGateway> {
        self.unacknowledged.iter().map(|(number, note)| note.to_message(Some(*number)))
    }

    /// Returns the same for a gateway that acknowledges nothing, and forgets it.
    pub(crate) fn take_unnumbered(&mut self) -> impl Iterator<Item = ToGateway> {
        self.unacknowledged.drain(..).map(|(_, note)| note.to_message(None))
    }
}

/// Says a note to a gateway that acknowledges none.
pub(crate) fn unnumbered(note: Note) -> ToGateway {
    note.to_message(None)
}

#[cfg(test)]
impl Notes {
    pub(crate) fn try_receive(&mut self) -> Option<Note> {
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn refused(left_out: u64) -> Note {
        Note::RefusedPeer { connection: None, peer: None, reason: PeerRefusal::Paused, left_out }
    }

    fn session(number: u64, stage: SessionStage, requests: u64) -> Note {
        let session = SessionReport {
            number,
            stage: stage.into(),
            local_peer: std::net::Ipv4Addr::LOCALHOST.into(),
            requests,
            refused: 0,
            changes: 0,
            audits: 0,
        };
        Note::AdminSession { connection: ConnectionId::from_bytes([1; 16]), session }
    }

    fn said(notes: &Notes) -> Vec<ToGateway> {
        notes.unacknowledged().collect()
    }

    #[test]
    fn what_is_said_while_the_link_is_away_is_kept_up_to_the_bound() {
        let (outbox, mut notes) = Outbox::new();
        for number in 0..=OUTBOX_MAX {
            outbox.notify(refused(number.try_into().unwrap()));
        }
        let kept = std::iter::from_fn(|| notes.try_receive()).count();
        assert_eq!(kept, OUTBOX_MAX);
    }

    #[test]
    fn a_note_is_said_again_under_its_number_until_it_is_acknowledged() {
        let (_outbox, mut notes) = Outbox::new();
        let first = notes.keep(refused(1));
        let second = notes.keep(refused(2));
        assert_eq!(said(&notes), [first.clone(), second.clone()]);
        notes.note_acknowledged(NoteNumber(1));
        assert_eq!(said(&notes), [second]);
        notes.note_acknowledged(NoteNumber(7));
        notes.note_acknowledged(NoteNumber(2));
        assert_eq!(said(&notes), []);
        assert_ne!(notes.keep(refused(1)), first, "a number is never used again");
    }

    #[test]
    fn of_a_session_that_runs_only_the_last_counts_wait() {
        let (_outbox, mut notes) = Outbox::new();
        let started = notes.keep(session(1, SessionStage::Started, 0));
        notes.keep(session(1, SessionStage::Running, 5));
        let other = notes.keep(session(2, SessionStage::Running, 1));
        let last = notes.keep(session(1, SessionStage::Running, 9));
        assert_eq!(said(&notes), [started.clone(), other.clone(), last]);
        let ended = notes.keep(session(1, SessionStage::Ended, 9));
        assert_eq!(said(&notes), [started, other, ended]);
    }

    #[test]
    fn a_gateway_that_acknowledges_nothing_is_told_once_without_numbers() {
        let (_outbox, mut notes) = Outbox::new();
        notes.keep(refused(1));
        let told: Vec<_> = notes.take_unnumbered().collect();
        assert!(matches!(told[..], [ToGateway::RefusedPeer { note: None, left_out: 1, .. }]), "{told:?}");
        assert_eq!(said(&notes), []);
    }

    #[tokio::test]
    async fn no_note_is_taken_while_as_many_as_may_wait_for_their_acknowledgement() {
        let (outbox, mut notes) = Outbox::new();
        for number in 0..NOTES_UNACKNOWLEDGED_MAX {
            notes.keep(refused(number.try_into().unwrap()));
        }
        outbox.notify(refused(0));
        assert!(timeout(Duration::from_millis(10), notes.receive()).await.is_err());
        notes.note_acknowledged(NoteNumber(1));
        assert_eq!(notes.receive().await, Some(refused(0)));
    }
}
