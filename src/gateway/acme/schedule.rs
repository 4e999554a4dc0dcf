//! When a certificate is asked for, and when its authority is asked when it wants that (RFC 9773): pure, from what is
//! known and what time it is.
//!
//! What is known outlives the process, so that one who is restarted again and again asks no more often for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use adit_core::domain::limits::{
    ACME_ORDERED_EVERY_MIN, ACME_RETRY_AFTER_MAX, ACME_RETRY_MAX, ACME_RETRY_MIN, ACME_WINDOW_ASKED_MAX,
    ACME_WINDOW_ASKED_MIN,
};
use adit_core::domain::time::Timestamp;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Order,
    AskWindow,
    WaitUntil(Timestamp),
}

/// A certificate as the schedule sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Drawn once for this certificate, so that not all are renewed in the same moment.
    pub(super) draw: u16,
}

/// When the authority wants a certificate to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// What became of orders for one name at one authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) directory: String,
    pub(super) name: String,
    /// Whether the certificate that there is came from there.
    #[serde(default)]
    pub(super) has_certificate: bool,
    #[serde(default)]
    pub(super) failed: Option<Failed>,
    #[serde(default)]
    succeeded_at: Option<Timestamp>,
    #[serde(default)]
    window: Option<Window>,
    #[serde(default)]
    ask_window_at: Option<Timestamp>,
}

/// The orders of late that brought nothing; one that is under way counts until it brings something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) times: u32,
    pub(super) at: Timestamp,
    pub(super) retry_at: Timestamp,
    pub(super) why: String,
}

const UNFINISHED: &str = "it is under way, or the gateway ended before it came to an end";

impl Orders {
    pub(super) fn none(directory: &str, name: &str) -> Self {
        Self { directory: directory.into(), name: name.into(), ..Self::default() }
    }

    pub(super) fn next(&self, life: Option<Life>, now: Timestamp) -> Step {
        let due = life.map_or(now, |life| self.renewal(life));
        let held = self.failed.as_ref().and_then(|failed| failed.holds(now));
        let order_at = due.max(held.unwrap_or(due)).max(self.earliest(now).unwrap_or(due));
        if order_at <= now {
            return Step::Order;
        }
        if life.is_none() {
            return Step::WaitUntil(order_at);
        }
        match self.ask_window_at.filter(|at| at.since(now) <= ACME_WINDOW_ASKED_MAX) {
            Some(ask_at) if ask_at > now => Step::WaitUntil(ask_at.min(order_at)),
            _ => Step::AskWindow,
        }
    }

    /// Returns until when nothing is ordered after a success: where the clocks of gateway and authority differ by more
    /// than a certificate's life, the next would be due at once.
    fn earliest(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = self.succeeded_at?.saturating_add(ACME_ORDERED_EVERY_MIN);
        Some(earliest).filter(|at| at.since(now) <= ACME_ORDERED_EVERY_MIN)
    }

    /// Returns when a certificate is to be renewed: when its authority wants that, or after two thirds of its life,
    /// or a little earlier.
    pub(super) fn renewal(&self, life: Life) -> Timestamp {
        let tenth = life.until.since(life.from) / 10;
        if let Some(window) = self.window {
            // An authority that errs must not let it end.
            return between(window.start, window.end, life.draw).min(life.from.saturating_add(tenth * 9));
        }
        let two_thirds = life.from.saturating_add(tenth * 20 / 3);
        between(life.from.saturating_add(tenth * 6), two_thirds, life.draw)
    }

    /// Counts an order before it is made; it has failed unless it is said to have succeeded. `draw` is in `0.0..1.0`.
    pub(super) fn begin(&mut self, now: Timestamp, draw: f64) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
        let retry_at = now.saturating_add(pause(times, draw));
        self.failed = Some(Failed { times, at: now, retry_at, why: UNFINISHED.into() });
    }

    /// Notes why the order that was begun last has failed, and for how long the authority wants to be left alone.
    pub(super) fn fail(&mut self, now: Timestamp, why: String, retry_after: Option<Duration>) {
        if let Some(failed) = &mut self.failed {
            let asked_for = now.saturating_add(retry_after.unwrap_or_default().min(ACME_RETRY_AFTER_MAX));
            failed.retry_at = failed.retry_at.max(asked_for);
            failed.why = why;
        }
    }

    pub(super) fn succeed(&mut self, now: Timestamp) {
        self.has_certificate = true;
        self.succeeded_at = Some(now);
        self.failed = None;
        self.window = None;
        self.ask_window_at = None;
    }

    /// Notes when the authority wants the certificate renewed, where it has said so, and asks again in so long.
    pub(super) fn note_window(&mut self, now: Timestamp, window: Option<Window>, again_in: Duration) {
        let again_in = again_in.clamp(ACME_WINDOW_ASKED_MIN, ACME_WINDOW_ASKED_MAX);
        self.ask_window_at = Some(now.saturating_add(again_in));
        self.window = window.filter(|window| window.start < window.end).or(self.window);
    }

    /// Returns whether the authority has said when it wants the certificate renewed.
    pub(super) const fn has_window(&self) -> bool {
        self.window.is_some()
    }
}

impl Failed {
    /// Returns until when nothing is ordered. What lies further ahead than it may was written by another clock.
    fn holds(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.retry_at).filter(|at| at.since(now) <= ACME_RETRY_AFTER_MAX)
    }
}

/// Returns how long is waited after so many failures in a row.
fn pause(failures: u32, draw: f64) -> Duration {
    let doubled =
        ACME_RETRY_MIN.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(ACME_RETRY_MAX).mul_f64(1.0 + draw / 4.0)
}

fn between(start: Timestamp, end: Timestamp, draw: u16) -> Timestamp {
    start.saturating_add(end.since(start) / (u32::from(u16::MAX) + 1) * u32::from(draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    fn after(span: Duration) -> Timestamp {
        NOW.saturating_add(span)
    }

    /// A certificate of 90 days from now on.
    fn life(draw: u16) -> Life {
        Life { from: NOW, until: after(90 * DAY), draw }
    }

    fn none() -> Orders {
        Orders::none("https://acme.example/directory", "console.example.org")
    }

    fn asked(window: Option<Window>) -> Orders {
        let mut orders = none();
        orders.succeed(NOW);
        orders.note_window(NOW, window, DAY);
        orders
    }

    #[test]
    fn a_name_without_a_certificate_is_ordered_for_at_once() {
        assert_eq!(none().next(None, NOW), Step::Order);
    }

    #[test]
    fn a_certificate_is_renewed_between_six_tenths_and_two_thirds_of_its_life() {
        assert_eq!(asked(None).renewal(life(0)), after(54 * DAY));
        assert_eq!(asked(None).renewal(life(1 << 15)), after(57 * DAY));
        let latest = asked(None).renewal(life(u16::MAX));
        assert!(latest <= after(60 * DAY) && latest > after(60 * DAY).saturating_sub(10 * MINUTE));
        let orders = asked(None);
        let due = orders.renewal(life(7));
        let before = due.saturating_sub(Duration::from_millis(1));
        assert_ne!(orders.next(Some(life(7)), before), Step::Order);
        assert_eq!(orders.next(Some(life(7)), due), Step::Order);
        assert_eq!(orders.next(Some(life(7)), after(1_000 * DAY)), Step::Order);
    }

    #[test]
    fn the_authority_is_asked_when_it_wants_that_and_again_when_it_said_so() {
        let mut orders = none();
        orders.succeed(NOW);
        assert_eq!(orders.next(Some(life(0)), NOW), Step::AskWindow);
        for (said, taken) in [(Duration::ZERO, ACME_WINDOW_ASKED_MIN), (6 * 60 * MINUTE, 6 * 60 * MINUTE)] {
            orders.note_window(NOW, None, said);
            assert_eq!(orders.next(Some(life(0)), NOW), Step::WaitUntil(after(taken)));
            assert_eq!(orders.next(Some(life(0)), after(taken)), Step::AskWindow);
        }
        orders.note_window(NOW, None, 1_000 * DAY);
        assert_eq!(orders.next(Some(life(0)), NOW), Step::WaitUntil(after(ACME_WINDOW_ASKED_MAX)));
    }

    #[test]
    fn a_certificate_is_renewed_when_its_authority_wants_that() {
        let window = |start, end| Some(Window { start: after(start), end: after(end) });
        let week = asked(window(10 * DAY, 17 * DAY));
        assert_eq!(week.renewal(life(0)), after(10 * DAY));
        assert_eq!(week.renewal(life(1 << 15)), after(10 * DAY + 84 * 60 * MINUTE));
        let long_past =
            asked(Some(Window { start: Timestamp::from_millis(0), end: Timestamp::from_millis(1) }));
        assert_eq!(long_past.next(Some(life(9)), after(DAY)), Step::Order);
        // What would let it end, or is no window, is not followed.
        assert_eq!(asked(window(200 * DAY, 300 * DAY)).renewal(life(9)), after(81 * DAY));
        assert_eq!(asked(window(9 * DAY, 8 * DAY)).renewal(life(0)), after(54 * DAY));
    }

    #[test]
    fn a_window_outlives_an_authority_that_does_not_answer() {
        let window = Some(Window { start: after(DAY), end: after(2 * DAY) });
        let mut orders = asked(window);
        orders.note_window(after(DAY / 2), None, DAY);
        assert_eq!(orders.renewal(life(0)), after(DAY));
    }

    #[test]
    fn orders_that_fail_come_ever_more_seldom() {
        let mut orders = none();
        let mut at = NOW;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(orders.next(None, at), Step::Order);
            orders.begin(at, 0.0);
            orders.fail(at, "refused".into(), None);
            let Step::WaitUntil(next) = orders.next(None, at) else { panic!("it does not wait") };
            pauses.push(next.since(at).as_secs() / 60);
            at = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
        assert_eq!(pause(u32::MAX, 0.0), ACME_RETRY_MAX);
        assert!(pause(1, 0.999) < 7 * MINUTE && pause(1, 0.999) > 6 * MINUTE);
    }

    #[test]
    fn an_authority_that_wants_to_be_left_alone_is() {
        for (said, kept) in [(DAY, DAY), (MINUTE, ACME_RETRY_MIN), (1_000 * DAY, ACME_RETRY_AFTER_MAX)] {
            let mut orders = none();
            orders.begin(NOW, 0.0);
            orders.fail(NOW, "too many".into(), Some(said));
            assert_eq!(orders.next(None, NOW), Step::WaitUntil(after(kept)));
        }
    }

    #[test]
    fn an_order_that_a_crash_cut_short_counts_as_one_that_failed() {
        let mut orders = none();
        orders.begin(NOW, 0.0);
        let written = serde_json::to_string(&orders).unwrap();
        let read: Orders = serde_json::from_str(&written).unwrap();
        assert_eq!(read.next(None, NOW), Step::WaitUntil(after(ACME_RETRY_MIN)));
        assert_eq!(read.next(None, after(ACME_RETRY_MIN)), Step::Order);
    }

    #[test]
    fn a_renewal_that_fails_waits_as_well() {
        let mut orders = asked(None);
        let due = orders.renewal(life(0));
        orders.begin(due, 0.0);
        orders.fail(due, "refused".into(), Some(DAY));
        assert_eq!(orders.next(Some(life(0)), due), Step::AskWindow);
        orders.note_window(due, None, DAY);
        assert_eq!(orders.next(Some(life(0)), due), Step::WaitUntil(due.saturating_add(DAY)));
        orders.succeed(NOW);
        assert_eq!(orders.failed, None);
    }

    #[test]
    fn a_certificate_that_is_due_as_soon_as_it_is_there_is_renewed_no_more_often_than_hourly() {
        let ended = Life { from: Timestamp::from_millis(0), until: Timestamp::from_millis(1), draw: 0 };
        let mut orders = none();
        orders.succeed(NOW);
        orders.note_window(NOW, None, DAY);
        assert_eq!(orders.next(Some(ended), NOW), Step::WaitUntil(after(ACME_ORDERED_EVERY_MIN)));
        assert_eq!(orders.next(Some(ended), after(ACME_ORDERED_EVERY_MIN)), Step::Order);
    }

    #[test]
    fn a_clock_that_was_wrong_and_is_set_right_stops_nothing() {
        let mut orders = none();
        orders.begin(after(365 * DAY), 0.0);
        assert_eq!(orders.next(None, NOW), Step::Order);
        orders.begin(NOW, 0.0);
        orders.succeed(NOW);
        orders.note_window(after(365 * DAY), None, DAY);
        assert_eq!(orders.next(Some(life(0)), NOW), Step::AskWindow);
    }
}
