//! How far a connection has come with a request, and until when it may take the next step. It is told the time
//! and asks for none.

use std::time::{Duration, Instant};

use adit_core::domain::limits::{
    API_BODY_TIMEOUT, API_HEAD_TIMEOUT, API_IDLE_TIMEOUT, API_NEWCOMER_IDLE_TIMEOUT,
    API_WRITE_BYTES_PER_SECOND_MIN, API_WRITE_TIMEOUT,
};

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing is asked.
    Idle,
    /// The head of a request arrives.
    Head,
    /// Its body does.
    Body,
    /// It is ours to answer; who reads slowly is told by [`Stall`].
    Answer,
    /// Nothing more is answered; what is written last, or the rest of what was refused, may still be on its way.
    End,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Late {
    #[error("nothing was asked for a while")]
    Idle,
    #[error("the head of a request did not arrive in time")]
    Head,
    #[error("the body of a request did not arrive in time")]
    Body,
    #[error("an answer is not read, or too slowly")]
    Write,
}

/// Something written that the other end does not take.
#[derive(Debug, Clone, Copy)]
struct Stall {
    since: Instant,
    /// Taken meanwhile.
    bytes: usize,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) idle: Duration,
    /// The same of one that was answered and has not proven whose it is: others need its place.
    pub(super) idle_newcomer: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    /// Until what is written is taken; for as long again as it takes at the least rate.
    pub(super) write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle: API_IDLE_TIMEOUT,
            idle_newcomer: API_NEWCOMER_IDLE_TIMEOUT,
            head: API_HEAD_TIMEOUT,
            body: API_BODY_TIMEOUT,
            write: API_WRITE_TIMEOUT,
        }
    }
}

#[derive(Debug)]
pub(super) struct Pace {
    patience: Patience,
    step: Step,
    since: Instant,
    is_answered: bool,
    is_known: bool,
    stall: Option<Stall>,
}

impl Pace {
    pub(super) const fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, step: Step::Idle, since: now, is_answered: false, is_known: false, stall: None }
    }

    fn go(&mut self, step: Step, now: Instant) {
        self.step = step;
        self.since = now;
    }

    /// Notes that it is known whose it is.
    pub(super) const fn known(&mut self) {
        self.is_known = true;
    }

    /// Notes that something came.
    pub(super) fn came(&mut self, now: Instant) {
        if self.step == Step::Idle {
            self.go(Step::Head, now);
        }
    }

    /// Notes that a head is whole, and whether that is all of the request.
    pub(super) fn asked(&mut self, is_whole: bool, now: Instant) {
        self.go(if is_whole { Step::Answer } else { Step::Body }, now);
    }

    /// Notes that nothing more of a body is awaited.
    pub(super) fn body_ended(&mut self, now: Instant) {
        if self.step == Step::Body {
            self.go(Step::Answer, now);
        }
    }

    /// Notes that an answer is on its way.
    pub(super) fn answered(&mut self, now: Instant) {
        self.is_answered = true;
        if self.step != Step::End {
            self.go(Step::Idle, now);
        }
    }

    /// Returns whether a head has begun and was never whole.
    pub(super) const fn is_at_head(&self) -> bool {
        matches!(self.step, Step::Head)
    }

    /// Notes that nothing more is wanted of it.
    pub(super) fn ends(&mut self, now: Instant) {
        self.go(Step::End, now);
    }

    pub(super) fn write_waits(&mut self, now: Instant) {
        self.stall.get_or_insert(Stall { since: now, bytes: 0 });
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some(stall) = &mut self.stall {
            stall.bytes = stall.bytes.saturating_add(bytes);
        }
    }

    pub(super) const fn flushed(&mut self) {
        self.stall = None;
    }

    /// Returns until when the next step may take, and what is late then.
    pub(super) fn deadline(&self) -> Option<(Instant, Late)> {
        let Patience { idle, idle_newcomer, head, body, write } = self.patience;
        let idle = if self.is_answered && !self.is_known { idle_newcomer } else { idle };
        let step = match self.step {
            Step::Idle => Some((idle, Late::Idle)),
            Step::Head => Some((head, Late::Head)),
            Step::Body => Some((body, Late::Body)),
            Step::Answer => None,
            Step::End => Some((write, Late::Write)),
        };
        let step = step.map(|(limit, late)| (self.since + limit, late));
        let write = self.stall.map(|stall| (stall.since + write + at_least_rate(stall.bytes), Late::Write));
        step.into_iter().chain(write).min_by_key(|(at, _)| *at)
    }
}

/// Returns how long so much may take at the least rate.
fn at_least_rate(bytes: usize) -> Duration {
    let millis = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000);
    Duration::from_millis(millis / API_WRITE_BYTES_PER_SECOND_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_step_of_a_request_has_its_own_time() {
        let start = Instant::now();
        let mut pace = Pace::new(Patience::default(), start);
        pace.known();
        assert_eq!(pace.deadline(), Some((start + API_IDLE_TIMEOUT, Late::Idle)));
        pace.came(start + SECOND);
        // More of it gives no more time.
        pace.came(start + 2 * SECOND);
        assert_eq!(pace.deadline(), Some((start + SECOND + API_HEAD_TIMEOUT, Late::Head)));
        pace.asked(false, start + 3 * SECOND);
        pace.came(start + 4 * SECOND);
        assert_eq!(pace.deadline(), Some((start + 3 * SECOND + API_BODY_TIMEOUT, Late::Body)));
        pace.body_ended(start + 5 * SECOND);
        assert_eq!(pace.deadline(), None, "what takes long now is ours");
        pace.answered(start + 6 * SECOND);
        assert_eq!(pace.deadline(), Some((start + 6 * SECOND + API_IDLE_TIMEOUT, Late::Idle)));
    }

    #[test]
    fn one_who_was_answered_and_proved_nothing_is_soon_idle_for_too_long() {
        let start = Instant::now();
        let mut pace = Pace::new(Patience::default(), start);
        assert_eq!(pace.deadline(), Some((start + API_IDLE_TIMEOUT, Late::Idle)), "nothing was asked yet");
        pace.asked(true, start);
        pace.answered(start);
        assert_eq!(pace.deadline(), Some((start + API_NEWCOMER_IDLE_TIMEOUT, Late::Idle)));
        pace.known();
        assert_eq!(pace.deadline(), Some((start + API_IDLE_TIMEOUT, Late::Idle)));
    }

    #[test]
    fn a_reader_must_keep_up_with_the_least_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Patience::default(), start);
        pace.asked(true, start);
        pace.wrote(1_000_000);
        assert_eq!(pace.deadline(), None, "what is taken at once waits for nobody");
        pace.write_waits(start);
        assert_eq!(pace.deadline(), Some((start + API_WRITE_TIMEOUT, Late::Write)));
        let second = usize::try_from(API_WRITE_BYTES_PER_SECOND_MIN.get()).unwrap();
        pace.wrote(second);
        pace.write_waits(start + SECOND);
        assert_eq!(pace.deadline(), Some((start + API_WRITE_TIMEOUT + SECOND, Late::Write)));
        pace.flushed();
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn one_who_does_not_read_is_late_however_long_one_may_be_idle() {
        let start = Instant::now();
        let mut pace = Pace::new(Patience::default(), start);
        pace.known();
        pace.write_waits(start);
        pace.answered(start);
        assert_eq!(pace.deadline(), Some((start + API_WRITE_TIMEOUT, Late::Write)));
    }
}
