//! How fast the path delivers: one sample an acknowledgement, as in
//! draft-cheng-iccrg-delivery-rate-estimation-02 §3.
//!
//! The draft notes the state of delivery beside every packet. quinn names a packet to its controller
//! only by when it was sent, so that state is noted for moments, [`MOMENTS_A_ROUND_TRIP`] in each
//! round trip, and a packet finds the last moment before it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How finely a round trip is divided. More costs memory, fewer blur the sample.
const MOMENTS_A_ROUND_TRIP: u32 = 32;
/// Packets that were sent before the oldest moment give no sample.
const MOMENTS_MAX: usize = 256;

/// What delivery had come to when packets were sent.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    is_app_limited: bool,
}

/// What one acknowledgement tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Bytes a second; none if no time passed.
    pub rate: Option<u64>,
    /// What had been delivered when the newest acknowledged packet was sent.
    pub delivered_before: u64,
    /// The application had less to send than the path would have taken.
    pub is_app_limited: bool,
    /// The shortest of this acknowledgement, the peer's delay included.
    pub round_trip: Duration,
    pub bytes: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Delivery {
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    /// The application is limited until so much is delivered.
    app_limited_until: u64,
    in_flight: u64,
    moments: VecDeque<Moment>,
    /// When the newest packet of the acknowledgement in hand was sent.
    newest: Option<Instant>,
    bytes: u64,
}

impl Delivery {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited_until: 0,
            in_flight: 0,
            moments: VecDeque::new(),
            newest: None,
            bytes: 0,
        }
    }

    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn handle_sent(&mut self, now: Instant, bytes: u64, round_trip_min: Duration) {
        if self.in_flight == 0 {
            self.first_sent = now;
            self.delivered_at = now;
        }
        self.in_flight += bytes;
        let between = round_trip_min / MOMENTS_A_ROUND_TRIP;
        if self.moments.back().is_some_and(|last| now.saturating_duration_since(last.at) < between) {
            return;
        }
        if self.moments.len() == MOMENTS_MAX {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            is_app_limited: self.app_limited_until > self.delivered,
        });
    }

    pub(super) fn handle_ack(&mut self, sent: Instant, bytes: u64) {
        self.bytes += bytes;
        self.newest = self.newest.max(Some(sent));
    }

    pub(super) const fn handle_lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// Takes a sample: the acknowledgement in hand is complete.
    pub(super) fn sample(&mut self, now: Instant, in_flight: u64, is_app_limited: bool) -> Option<Sample> {
        self.in_flight = in_flight;
        let bytes = std::mem::take(&mut self.bytes);
        let newest = self.newest.take();
        self.delivered += bytes;
        if is_app_limited {
            self.app_limited_until = self.delivered + in_flight.max(1);
        }
        let newest = newest?;
        self.delivered_at = now;
        let moment = self.take_moment(newest);
        self.first_sent = newest;
        let moment = moment?;
        let sending = newest.saturating_duration_since(moment.first_sent);
        let acknowledging = now.saturating_duration_since(moment.delivered_at);
        let round_trip = now.saturating_duration_since(newest);
        let interval = sending.max(acknowledging);
        let delivered = self.delivered - moment.delivered;
        Some(Sample {
            rate: rate(delivered, interval),
            delivered_before: moment.delivered,
            is_app_limited: moment.is_app_limited,
            round_trip,
            bytes,
        })
    }

    /// Takes the last moment before `sent`; older ones are forgotten.
    fn take_moment(&mut self, sent: Instant) -> Option<Moment> {
        let next = self.moments.partition_point(|moment| moment.at <= sent);
        let moment = self.moments.get(next.checked_sub(1)?).copied();
        self.moments.drain(..next - 1);
        moment
    }
}

/// Returns the bytes a second.
fn rate(bytes: u64, interval: Duration) -> Option<u64> {
    let nanos = interval.as_nanos();
    (nanos > 0).then(|| u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn a_steady_stream_is_sampled_at_its_rate_from_the_second_round_trip() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        let mut in_flight = 0;
        for millis in 0..200 {
            delivery.handle_sent(at(millis), 1_000, ROUND_TRIP);
            in_flight += 1_000;
            if let Some(sent) = millis.checked_sub(50) {
                in_flight -= 1_000;
                delivery.handle_ack(at(sent), 1_000);
                let sample = delivery.sample(at(millis), in_flight, false).unwrap();
                assert_eq!(sample.round_trip, ROUND_TRIP);
                if sent > 60 {
                    let rate = sample.rate.unwrap();
                    assert!((950_000..=1_050_000).contains(&rate), "{rate} at {millis} ms");
                }
            }
        }
        assert!(delivery.moments.len() <= MOMENTS_A_ROUND_TRIP as usize + 2);
    }

    #[test]
    fn a_pause_before_sending_does_not_lower_the_sample() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        let sent = start + Duration::from_secs(60);
        delivery.handle_sent(sent, 10_000, ROUND_TRIP);
        delivery.handle_ack(sent, 10_000);
        let sample = delivery.sample(sent + ROUND_TRIP, 0, true).unwrap();
        assert_eq!(sample.rate, Some(200_000));
    }

    #[test]
    fn what_is_sent_after_the_application_ran_dry_says_so() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        let mut sample = |millis, is_app_limited| {
            let sent = start + Duration::from_millis(millis);
            delivery.handle_sent(sent, 1_000, ROUND_TRIP);
            delivery.handle_ack(sent, 1_000);
            delivery.sample(sent + ROUND_TRIP, 0, is_app_limited).unwrap().is_app_limited
        };
        assert_eq!([sample(0, true), sample(100, false), sample(200, false)], [false, true, false]);
    }

    #[test]
    fn beyond_a_bound_moments_that_nobody_acknowledges_give_no_sample() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start);
        for millis in 0..1_000 {
            delivery.handle_sent(start + Duration::from_millis(millis), 40, Duration::ZERO);
        }
        assert_eq!(delivery.moments.len(), MOMENTS_MAX);
        delivery.handle_ack(start, 40);
        assert_eq!(delivery.sample(start + Duration::from_secs(1), 0, false), None);
        assert_eq!(delivery.delivered(), 40);
    }
}
