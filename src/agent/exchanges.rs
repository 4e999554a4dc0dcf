//! How the last messages of a connection fared, by what was counted: whether somebody still waits for an answer, was
//! refused, or was not let in. Pure; looked at once a second.

use std::time::{Duration, Instant};

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
    /// Local connections that ended, and those of users who may not connect.
    pub(crate) streams: u64,
    pub(crate) strangers: u64,
}

impl Counted {
    pub(crate) fn of(stats: &Stats) -> Self {
        let (accepted, refused) = stats.passing.outcomes();
        Self {
            messages: count(&stats.messages),
            accepted: accepted + count(&stats.dicom.stored),
            refused: refused + count(&stats.dicom.failed),
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
    is_refused: bool,
    is_turned_away: bool,
}

impl Exchanges {
    /// Takes a look.
    pub(crate) fn handle(&mut self, now_counted: Counted, now: Instant) {
        let before = std::mem::replace(&mut self.seen, now_counted);
        let is_accepted = now_counted.accepted > before.accepted;
        let is_refused = now_counted.refused > before.refused;
        if is_accepted || is_refused {
            self.unanswered = None;
            self.is_refused = !is_accepted;
        } else if now_counted.messages > before.messages {
            self.unanswered.get_or_insert(now);
        }
        if now_counted.streams > before.streams {
            self.is_turned_away = false;
        } else if now_counted.strangers > before.strangers {
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

    const NONE: Counted = Counted { messages: 0, accepted: 0, refused: 0, streams: 0, strangers: 0 };

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
}
