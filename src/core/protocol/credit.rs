//! Flow control of one stream above QUIC's: a stalled receiver stops only itself, and what all
//! streams of a tunnel may have under way is bounded.
//!
//! QUIC's own stream window is one fixed size for all streams. Here every stream starts with
//! [`STREAM_CREDIT_INITIAL`] and grows while its local socket drains, from a budget that the
//! streams of a tunnel share. Credit is counted in bytes from the start of the stream, as in
//! RFC 9000 §4.1. Who carries it to the peer is [`super::frame`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::domain::limits::{CREDIT_ROUND_TRIP_MIN, STREAM_CREDIT_INITIAL, STREAM_CREDIT_MAX};

/// A window that lasted so many times longer than it should to be worth its size is halved.
const SHRINK_BEYOND: u32 = 8;

/// The sender's half: how far it may go.
#[derive(Debug, Clone)]
pub struct SendCredit {
    limit: u64,
}

impl SendCredit {
    #[must_use]
    pub const fn new() -> Self {
        Self { limit: STREAM_CREDIT_INITIAL }
    }

    /// Takes what the peer granted. Credit once given is never taken back, so a lower limit is ignored.
    pub fn handle_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Returns how much more may be sent when `sent` bytes of this stream were sent so far.
    #[must_use]
    pub const fn available(&self, sent: u64) -> u64 {
        self.limit.saturating_sub(sent)
    }
}

impl Default for SendCredit {
    fn default() -> Self {
        Self::new()
    }
}

/// What the streams of one tunnel may be granted together beyond their initial credit.
#[derive(Debug)]
pub struct CreditBudget {
    left: AtomicU64,
}

impl CreditBudget {
    #[must_use]
    pub fn shared(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    /// Takes `wanted`, or as much of it as is left.
    fn take(&self, wanted: u64) -> u64 {
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)))
            .unwrap_or_else(|left| left);
        before.min(wanted)
    }

    fn give_back(&self, amount: u64) {
        self.left.fetch_add(amount, Ordering::Relaxed);
    }
}

/// The receiver's half: what it granted, and when to grant more. Dropping it returns what it held
/// of the budget.
#[derive(Debug)]
pub struct ReceiveCredit {
    budget: Arc<CreditBudget>,
    window: u64,
    delivered: u64,
    /// What the peer was last told.
    limit: u64,
    /// When that was, or when the first bytes were delivered.
    measured_from: Option<Instant>,
    /// How much was delivered by then.
    delivered_then: u64,
    /// How much of it the program behind the local socket had not taken; `None` at first.
    queued_then: Option<u64>,
    /// Since then the peer has used up all it may send, and waits.
    is_used_up: bool,
}

impl ReceiveCredit {
    #[must_use]
    pub const fn new(budget: Arc<CreditBudget>) -> Self {
        Self {
            budget,
            window: STREAM_CREDIT_INITIAL,
            delivered: 0,
            limit: STREAM_CREDIT_INITIAL,
            measured_from: None,
            delivered_then: 0,
            queued_then: None,
            is_used_up: false,
        }
    }

    /// Returns how far the peer may go.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns how much the peer may have under way.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// Notes that the local socket took `count` more bytes of the `received` ones. Returns the limit to tell
    /// the peer, once at least half of the window was delivered. The tunnel's round trip, and how much the
    /// local socket took that the program behind it has not, are asked for only then.
    pub fn handle_delivered(
        &mut self,
        count: u64,
        received: u64,
        now: Instant,
        round_trip: impl FnOnce() -> Duration,
        queued: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let since = *self.measured_from.get_or_insert(now);
        self.delivered = self.delivered.saturating_add(count);
        self.is_used_up |= received >= self.limit;
        let under_way = self.limit.saturating_sub(self.delivered);
        if under_way > self.window / 2 {
            return None;
        }
        let queued = queued();
        self.resize(now.saturating_duration_since(since), round_trip(), queued);
        self.queued_then = Some(queued);
        self.limit = self.delivered.saturating_add(self.window);
        self.measured_from = Some(now);
        self.delivered_then = self.delivered;
        self.is_used_up = false;
        Some(self.limit)
    }

    /// Doubles the window when the sender waits for credit, and not for network or program: when it
    /// was used up within two round trips, or at all while the local socket holds next to nothing
    /// (on a busy host every round takes long), and the program behind the socket keeps up. A socket
    /// nobody reads from swallows megabytes at first; hundreds of those must not use up the budget.
    /// Halves a window that is far larger than the stream's pace.
    fn resize(&mut self, took: Duration, round_trip: Duration, queued: u64) {
        let delivered = (self.delivered - self.delivered_then).max(1);
        let pace = took.as_nanos().saturating_mul(self.window.into()) / u128::from(delivered);
        let worth = round_trip.max(CREDIT_ROUND_TRIP_MIN).saturating_mul(2);
        let taken = self.queued_then.map(|then| (delivered + then).saturating_sub(queued));
        let is_short = self.is_used_up && queued <= self.window / 8;
        if pace <= worth.as_nanos() || is_short {
            if taken.is_some_and(|taken| taken >= delivered / 2) {
                let wanted = self.window.min(STREAM_CREDIT_MAX - self.window);
                self.window += self.budget.take(wanted);
            }
        } else if pace > worth.saturating_mul(SHRINK_BEYOND).as_nanos() {
            // At most half the window is under way now, so what was granted still fits.
            let smaller = (self.window / 2).max(STREAM_CREDIT_INITIAL);
            self.budget.give_back(self.window - smaller);
            self.window = smaller;
        }
    }
}

impl Drop for ReceiveCredit {
    fn drop(&mut self) {
        self.budget.give_back(self.window - STREAM_CREDIT_INITIAL);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::limits::TUNNEL_CREDIT_BUDGET;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn a_sender_may_go_exactly_to_the_limit() {
        let mut credit = SendCredit::new();
        assert_eq!(credit.available(0), STREAM_CREDIT_INITIAL);
        assert_eq!(credit.available(STREAM_CREDIT_INITIAL), 0);
        assert_eq!(credit.available(STREAM_CREDIT_INITIAL + 1), 0);
        credit.handle_limit(STREAM_CREDIT_INITIAL + 10);
        assert_eq!(credit.available(STREAM_CREDIT_INITIAL + 1), 9);
    }

    #[test]
    fn a_limit_never_falls() {
        let mut credit = SendCredit::new();
        credit.handle_limit(1);
        assert_eq!(credit.available(0), STREAM_CREDIT_INITIAL);
    }

    #[test]
    fn nothing_is_granted_until_half_the_window_was_delivered() {
        let now = Instant::now();
        let mut credit = ReceiveCredit::new(CreditBudget::shared(TUNNEL_CREDIT_BUDGET));
        assert_eq!(credit.handle_delivered(STREAM_CREDIT_INITIAL / 2 - 1, 0, now, || ROUND_TRIP, || 0), None);
        assert!(credit.handle_delivered(1, 0, now, || ROUND_TRIP, || 0).is_some());
    }

    #[test]
    fn a_stream_whose_bytes_stay_in_the_kernel_does_not_grow() {
        let (budget, now) = (CreditBudget::shared(TUNNEL_CREDIT_BUDGET), Instant::now());
        let mut credit = ReceiveCredit::new(budget);
        let half = STREAM_CREDIT_INITIAL / 2;
        for number in 1..100 {
            // The far kernel took 64 KiB, once.
            credit.handle_delivered(half, 0, now, || ROUND_TRIP, || number * half - 64 * 1024);
        }
        assert_eq!(credit.window, STREAM_CREDIT_INITIAL);
        credit.handle_delivered(half, 0, now, || ROUND_TRIP, || 99 * half);
        assert_eq!(credit.window, 2 * STREAM_CREDIT_INITIAL);
    }

    #[test]
    fn a_sender_that_waits_for_credit_gets_more_though_every_round_takes_long() {
        let pace = Duration::from_millis(60);
        for (used_up, queued, expected) in [
            (true, 0, STREAM_CREDIT_MAX),
            (false, 0, STREAM_CREDIT_INITIAL),
            (true, 1 << 20, STREAM_CREDIT_INITIAL),
        ] {
            let mut now = Instant::now();
            let mut credit = ReceiveCredit::new(CreditBudget::shared(TUNNEL_CREDIT_BUDGET));
            for _ in 0..20 {
                now += pace;
                let received = if used_up { credit.limit } else { credit.limit - 1 };
                credit.handle_delivered(credit.window / 2, received, now, || Duration::ZERO, || queued);
            }
            assert_eq!(credit.window, expected, "used up {used_up}, queued {queued}");
        }
    }

    #[test]
    fn a_stream_whose_socket_never_drains_holds_its_initial_credit_alone() {
        let (budget, now) = (CreditBudget::shared(TUNNEL_CREDIT_BUDGET), Instant::now());
        let stalled: Vec<_> = (0..256).map(|_| ReceiveCredit::new(Arc::clone(&budget))).collect();
        let mut busy = ReceiveCredit::new(budget);
        drain(&mut busy, now, 64 * 1024 * 1024, ROUND_TRIP, ROUND_TRIP / 2);
        assert_eq!(busy.window, STREAM_CREDIT_MAX);
        assert!(stalled.iter().all(|credit| credit.limit == STREAM_CREDIT_INITIAL));
    }

    #[test]
    fn a_stream_at_line_rate_fills_fifty_milliseconds_of_a_gigabit() {
        let now = Instant::now();
        let mut credit = ReceiveCredit::new(CreditBudget::shared(TUNNEL_CREDIT_BUDGET));
        drain(&mut credit, now, 40_000_000, ROUND_TRIP, Duration::from_millis(25));
        assert!(credit.window >= 6_250_000, "window {}", credit.window);
    }

    #[test]
    fn a_stream_has_a_wide_window_only_while_it_is_fast() {
        let (budget, now) = (CreditBudget::shared(TUNNEL_CREDIT_BUDGET), Instant::now());
        let mut credit = ReceiveCredit::new(Arc::clone(&budget));
        let later = drain(&mut credit, now, 4_000_000, ROUND_TRIP, Duration::from_secs(10));
        assert_eq!(credit.window, STREAM_CREDIT_INITIAL);
        let later = drain(&mut credit, later, 64_000_000, ROUND_TRIP, Duration::ZERO);
        assert_eq!(credit.window, STREAM_CREDIT_MAX);
        drain(&mut credit, later, 64_000_000, ROUND_TRIP, Duration::from_secs(10));
        assert_eq!(credit.window, STREAM_CREDIT_INITIAL);
        assert_eq!(budget.left.load(Ordering::Relaxed), TUNNEL_CREDIT_BUDGET);
    }

    #[test]
    fn an_exhausted_budget_leaves_new_streams_their_initial_credit_until_one_closes() {
        let (budget, now) = (CreditBudget::shared(TUNNEL_CREDIT_BUDGET), Instant::now());
        let mut fast: Vec<_> = (0..8).map(|_| ReceiveCredit::new(Arc::clone(&budget))).collect();
        for credit in &mut fast {
            drain(credit, now, 64_000_000, ROUND_TRIP, Duration::ZERO);
        }
        assert_eq!(budget.left.load(Ordering::Relaxed), 0);
        let mut late = ReceiveCredit::new(Arc::clone(&budget));
        drain(&mut late, now, 64_000_000, ROUND_TRIP, Duration::ZERO);
        assert_eq!(late.window, STREAM_CREDIT_INITIAL);
        fast.clear();
        drain(&mut late, now, 64_000_000, ROUND_TRIP, Duration::ZERO);
        assert_eq!(late.window, STREAM_CREDIT_MAX);
        drop(late);
        assert_eq!(budget.left.load(Ordering::Relaxed), TUNNEL_CREDIT_BUDGET);
    }

    /// Delivers `total` bytes, each half window taking `pace`; gives the time at the end.
    fn drain(
        credit: &mut ReceiveCredit,
        mut now: Instant,
        total: u64,
        round_trip: Duration,
        pace: Duration,
    ) -> Instant {
        let mut done = 0;
        while done < total {
            let count = credit.window / 2;
            now += pace;
            credit.handle_delivered(count, 0, now, || round_trip, || 0);
            done += count;
        }
        now
    }

    proptest! {
        #[test]
        fn what_is_under_way_never_exceeds_initial_credits_plus_budget(
            steps in prop::collection::vec((0_usize..12, 0_u64..20_000_000, 0_u64..500, any::<bool>()), 1..300),
        ) {
            let (budget, mut now) = (CreditBudget::shared(TUNNEL_CREDIT_BUDGET), Instant::now());
            let mut streams: Vec<_> = (0..12).map(|_| ReceiveCredit::new(Arc::clone(&budget))).collect();
            for (index, count, millis, reopen) in steps {
                now += Duration::from_millis(millis);
                if reopen {
                    streams[index] = ReceiveCredit::new(Arc::clone(&budget));
                }
                let stream = &mut streams[index];
                let (before, under_way) = (stream.limit, stream.limit - stream.delivered);
                let received = stream.delivered + count;
                if let Some(limit) = stream.handle_delivered(count.min(under_way), received, now, || ROUND_TRIP, || 0) {
                    prop_assert!(limit >= before);
                }
                prop_assert!(stream.window <= STREAM_CREDIT_MAX);
                let under_way: u64 = streams.iter().map(|stream| stream.limit - stream.delivered).sum();
                prop_assert!(under_way <= 12 * STREAM_CREDIT_INITIAL + TUNNEL_CREDIT_BUDGET);
            }
        }
    }
}
