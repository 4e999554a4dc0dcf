//! Whether the far end of a local TCP connection still takes what it is sent.
//!
//! A receiver that only stops reading lives: its kernel acknowledges, closes its window and answers what
//! asks it to open that again. It may take as long as it likes. One whose host has vanished answers
//! nothing. `TCP_USER_TIMEOUT` cannot be used, because the kernel ends a living receiver by it too that
//! keeps its window closed for so long (tcp(7), and Linux since 5.11).

use std::time::{Duration, Instant};

/// Unanswered questions for an open window that tell of a lost receiver; one may be lost on its way.
const PROBES_UNANSWERED_MIN: u8 = 2;

/// What the kernel knows of one direction of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Something was written that is not acknowledged, sent or not.
    pub is_pending: bool,
    /// Something was sent that is not acknowledged.
    pub in_flight: bool,
    /// Unanswered questions for an open window.
    pub probes: u8,
    /// Whether the receiver has room.
    pub window_open: bool,
    /// Bytes acknowledged since the connection's start.
    pub acknowledged: u64,
    /// How long ago the receiver answered anything at all.
    pub answered_ago: Duration,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It owes nothing: look again once something was written.
    Settled,
    /// Look again before long.
    Waiting,
    /// It has acknowledged nothing for the limit.
    Lost,
}

/// Follows one connection from a write on.
#[derive(Debug)]
pub struct AckWatch {
    limit: Duration,
    /// Since when nothing new has been acknowledged that was sent.
    since: Instant,
    acknowledged: Option<u64>,
}

impl AckWatch {
    /// Starts: something was written now.
    #[must_use]
    pub const fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, since: now, acknowledged: None }
    }

    pub fn judge(&mut self, queue: SendQueue, now: Instant) -> Found {
        let is_new = self.acknowledged.replace(queue.acknowledged) != Some(queue.acknowledged);
        // With its window closed a receiver is asked ever more rarely, and may drop what was under way.
        let is_owed = queue.in_flight && queue.window_open || queue.probes >= PROBES_UNANSWERED_MIN;
        // With room at the receiver only new acknowledgements count: it may be heard and not hear us.
        if (is_new || !queue.window_open || !queue.in_flight)
            && let Some(answered) = now.checked_sub(queue.answered_ago)
        {
            self.since = self.since.max(answered);
        }
        if !is_owed {
            self.since = now;
            return if queue.is_pending { Found::Waiting } else { Found::Settled };
        }
        let is_lost = now.saturating_duration_since(self.since) >= self.limit;
        if is_lost { Found::Lost } else { Found::Waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);
    const SETTLED: SendQueue = SendQueue {
        is_pending: false,
        in_flight: false,
        probes: 0,
        window_open: true,
        acknowledged: 100,
        answered_ago: Duration::ZERO,
    };
    const SENT: SendQueue = SendQueue { is_pending: true, in_flight: true, ..SETTLED };
    const FULL: SendQueue = SendQueue { is_pending: true, window_open: false, ..SETTLED };

    struct Run {
        start: Instant,
        watch: AckWatch,
    }

    impl Run {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, watch: AckWatch::new(LIMIT, start) }
        }

        /// Looks at `millis`; the receiver answered last at `answered`.
        fn look(&mut self, queue: SendQueue, millis: u64, answered: u64) -> Found {
            let answered_ago = Duration::from_millis(millis - answered);
            let now = self.start + Duration::from_millis(millis);
            self.watch.judge(SendQueue { answered_ago, ..queue }, now)
        }
    }

    #[test]
    fn what_is_sent_without_ever_being_acknowledged_is_lost_at_the_limit() {
        let mut run = Run::new();
        for millis in [1_000, 2_000, 3_000, 3_999] {
            assert_eq!(run.look(SENT, millis, 0), Found::Waiting, "at {millis} ms");
        }
        assert_eq!(run.look(SENT, 4_000, 0), Found::Lost);
    }

    #[test]
    fn what_was_idle_before_has_the_whole_limit_from_the_write_on() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = AckWatch::new(LIMIT, at(3_600));
        let queue = |answered_ago| SendQueue { answered_ago: Duration::from_secs(answered_ago), ..SENT };
        assert_eq!(watch.judge(queue(3_603), at(3_603)), Found::Waiting);
        assert_eq!(watch.judge(queue(3_604), at(3_604)), Found::Lost);
    }

    #[test]
    fn a_receiver_that_acknowledges_a_little_at_a_time_lives() {
        let mut run = Run::new();
        for second in 1..100 {
            let queue = SendQueue { acknowledged: 100 + second, ..SENT };
            assert_eq!(run.look(queue, second * 3_000, second * 3_000 - 10), Found::Waiting);
        }
    }

    #[test]
    fn a_receiver_that_only_stops_reading_lives_however_rarely_it_is_asked() {
        let mut run = Run::new();
        for second in 0..7_200 {
            let asked = u8::from(second % 120 == 0);
            let queue = SendQueue { probes: asked, in_flight: second % 2 == 0, ..FULL };
            assert_eq!(run.look(queue, second * 1_000, second / 120 * 120_000), Found::Waiting);
        }
    }

    #[test]
    fn a_receiver_that_vanishes_with_its_window_closed_is_lost_by_what_it_does_not_answer() {
        let mut run = Run::new();
        assert_eq!(run.look(FULL, 60_000, 59_000), Found::Waiting);
        assert_eq!(run.look(SendQueue { probes: 2, ..FULL }, 62_000, 59_000), Found::Waiting);
        assert_eq!(run.look(SendQueue { probes: 3, ..FULL }, 64_000, 59_000), Found::Lost);
    }

    #[test]
    fn old_acknowledgements_are_no_news_where_the_receiver_has_room() {
        let mut run = Run::new();
        assert_eq!(run.look(SENT, 500, 400), Found::Waiting);
        assert_eq!(run.look(SENT, 4_399, 4_300), Found::Waiting);
        assert_eq!(run.look(SENT, 4_400, 4_390), Found::Lost);
    }

    #[test]
    fn a_connection_that_owes_nothing_needs_no_further_look() {
        let mut run = Run::new();
        assert_eq!(run.look(SENT, 1_000, 0), Found::Waiting);
        assert_eq!(run.look(SendQueue { acknowledged: 200, ..SETTLED }, 2_000, 1_500), Found::Settled);
    }
}
