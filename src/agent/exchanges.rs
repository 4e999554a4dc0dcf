//! How the last messages of a connection fared, by what was counted: whether somebody still waits for an answer, was
//! refused, or was not let in. Pure; looked at once a second.

use std::time::{Duration, Instant};

use super::measurements::Outcomes;
use super::stats::{Stats, count};
use adit_core::domain::side_fault::SideFault;

/// A Mirth that has not answered for so long is said not to.
const ANSWER_AWAITED: Duration = Duration::from_secs(10);

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) messages: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Answers that say neither.
    pub(crate) answered_otherwise: u64,
    /// TCP connections of which nothing more is read.
    pub(crate) unobserved: u64,
    /// TCP connections on which somebody waits for the answer to a whole message, now.
    pub(crate) unanswered: u64,
    pub(crate) bytes: u64,
    /// Local connections that ended, and those of users who may not connect.
    pub(crate) streams: u64,
    pub(crate) strangers: u64,
}

impl Counted {
    pub(crate) fn of(stats: &Stats) -> Self {
        let Outcomes { accepted, refused, other } = stats.passing.outcomes();
        Self {
            messages: count(&stats.messages),
            accepted: accepted + count(&stats.dicom.stored),
            refused: refused + count(&stats.dicom.failed),
            answered_otherwise: other,
            unobserved: count(&stats.unobserved),
            unanswered: count(&stats.unanswered),
            bytes: count(&stats.bytes.into_tunnel) + count(&stats.bytes.out_of_tunnel),
            streams: count(&stats.streams_opened),
            strangers: count(&stats.strangers),
        }
    }
}

/// What is known of the last ones.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    seen: Counted,
    /// Since when a message waits, none being answered meanwhile.
    unanswered: Option<Instant>,
    /// It waited already when another was answered.
    is_left_over: bool,
    is_refused: bool,
    is_turned_away: bool,
}

impl Exchanges {
    /// Takes a look.
    pub(crate) fn handle(&mut self, now_counted: Counted, now: Instant) {
        let before = std::mem::replace(&mut self.seen, now_counted);
        self.handle_answers(&before, now);
        self.handle_senders(&before);
    }

    fn handle_answers(&mut self, before: &Counted, now: Instant) {
        let seen = &self.seen;
        let is_accepted = seen.accepted > before.accepted;
        let is_refused = seen.refused > before.refused;
        let is_answered = seen.answered_otherwise > before.answered_otherwise;
        let is_unobserved = seen.unobserved > before.unobserved;
        if is_accepted || is_refused || is_answered || is_unobserved {
            // What still waits has its own wait from here on.
            self.unanswered = (seen.unanswered > 0).then_some(now);
            self.is_left_over = true;
        } else if seen.messages > before.messages {
            self.unanswered.get_or_insert(now);
            self.is_left_over = false;
        } else if self.is_left_over && seen.unanswered == 0 {
            // The answer was counted just before what it answers, or nobody waits any more.
            self.unanswered = None;
        }
        if is_accepted || is_refused {
            self.is_refused = !is_accepted;
        }
    }

    /// A stream is counted once it has ended; one that carries was let in all the same.
    fn handle_senders(&mut self, before: &Counted) {
        let seen = &self.seen;
        let is_carrying = seen.messages > before.messages || seen.bytes > before.bytes;
        if is_carrying || seen.streams > before.streams {
            self.is_turned_away = false;
        } else if seen.strangers > before.strangers {
            self.is_turned_away = true;
        }
    }

    /// Returns what is wrong beside the Mirth that receives.
    pub(crate) fn fault_of_receiver(&self, now: Instant) -> Option<SideFault> {
        let waits = self.unanswered.is_some_and(|since| now.duration_since(since) >= ANSWER_AWAITED);
        match (waits, self.is_refused) {
            (true, _) => Some(SideFault::NotAnswered),
            (false, true) => Some(SideFault::NotAccepted),
            (false, false) => None,
        }
    }

    /// Returns what is wrong beside the Mirth that sends.
    pub(crate) fn fault_of_sender(&self) -> Option<SideFault> {
        self.is_turned_away.then_some(SideFault::SenderRefused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_core::protocol::mllp::AckCode;

    const NONE: Counted = Counted {
        messages: 0,
        accepted: 0,
        refused: 0,
        answered_otherwise: 0,
        unobserved: 0,
        unanswered: 0,
        bytes: 0,
        streams: 0,
        strangers: 0,
    };

    /// Looks once a second at what was counted; returns what is wrong after each look.
    fn looks(counted: &[Counted]) -> Vec<Option<SideFault>> {
        let (mut exchanges, start) = (Exchanges::default(), Instant::now());
        let look = |(second, counted): (u64, &Counted)| {
            let now = start + Duration::from_secs(second);
            exchanges.handle(*counted, now);
            exchanges.fault_of_receiver(now).or_else(|| exchanges.fault_of_sender())
        };
        (0..).zip(counted).map(look).collect()
    }

    #[test]
    fn a_message_is_not_answered_once_it_has_waited_until_another_is() {
        let waits = Counted { messages: 1, ..NONE };
        let more = Counted { messages: 2, ..NONE };
        let mut counted = vec![NONE];
        counted.extend([waits; 5]);
        counted.extend([more; 7]);
        counted.push(Counted { accepted: 1, ..more });
        let found = looks(&counted);
        assert_eq!(found.iter().position(Option::is_some), Some(11), "{found:?}");
        assert_eq!(found[11..], [Some(SideFault::NotAnswered), Some(SideFault::NotAnswered), None]);
    }

    #[test]
    fn a_refused_message_is_told_until_one_is_accepted() {
        let refused = Counted { messages: 1, refused: 1, ..NONE };
        let again = Counted { messages: 2, accepted: 1, ..refused };
        let wrong = Some(SideFault::NotAccepted);
        assert_eq!(looks(&[NONE, refused, refused, again, again]), [None, wrong, wrong, None, None]);
    }

    #[test]
    fn a_sender_that_is_turned_away_is_told_until_one_is_let_in() {
        let away = Counted { strangers: 1, ..NONE };
        let wrong = Some(SideFault::SenderRefused);
        assert_eq!(looks(&[NONE, away, Counted { streams: 1, ..away }]), [None, wrong, None]);
    }

    #[test]
    fn an_answer_without_a_known_code_is_one_and_says_nothing_of_a_refusal() {
        let stats = Stats::default();
        stats.passing.note_ack(AckCode::Other, None);
        assert_eq!(Counted::of(&stats), Counted { answered_otherwise: 1, ..NONE });
        let waits = Counted { messages: 1, ..NONE };
        let mut counted = vec![NONE, waits];
        counted.extend([Counted { answered_otherwise: 1, ..waits }; 12]);
        assert_eq!(looks(&counted), [None; 14]);
        let refused = Counted { messages: 1, refused: 1, ..NONE };
        let other = Counted { messages: 2, answered_otherwise: 1, ..refused };
        let wrong = Some(SideFault::NotAccepted);
        assert_eq!(looks(&[NONE, refused, other]), [None, wrong, wrong]);
    }

    #[test]
    fn what_is_not_observed_any_more_is_not_waited_for() {
        let waits = Counted { messages: 1, unanswered: 1, ..NONE };
        let mut counted = vec![NONE, waits];
        counted.extend([Counted { unobserved: 1, unanswered: 0, ..waits }; 12]);
        assert_eq!(looks(&counted), [None; 14]);
    }

    #[test]
    fn a_message_that_waits_when_another_is_answered_is_told_after_its_own_wait() {
        let first = Counted { messages: 1, unanswered: 1, ..NONE };
        let next = Counted { messages: 2, accepted: 1, unanswered: 1, ..NONE };
        let mut counted = vec![NONE, first];
        counted.extend([next; 11]);
        counted.push(Counted { accepted: 2, unanswered: 0, ..next });
        let found = looks(&counted);
        assert_eq!(found.iter().position(Option::is_some), Some(12), "{found:?}");
        assert_eq!(found[12..], [Some(SideFault::NotAnswered), None]);
    }

    #[test]
    fn an_answer_that_is_counted_before_what_it_answers_leaves_nothing_that_waits() {
        let answered = Counted { messages: 1, accepted: 1, unanswered: 1, ..NONE };
        let mut counted = vec![NONE, answered];
        counted.extend([Counted { unanswered: 0, ..answered }; 12]);
        assert_eq!(looks(&counted), [None; 14]);
    }

    #[test]
    fn a_sender_that_is_turned_away_is_no_longer_told_once_another_carries() {
        let away = Counted { strangers: 1, ..NONE };
        let wrong = Some(SideFault::SenderRefused);
        for carries in [Counted { messages: 1, ..away }, Counted { bytes: 1, ..away }] {
            assert_eq!(looks(&[NONE, away, carries, carries]), [None, wrong, None, None]);
        }
    }
}
