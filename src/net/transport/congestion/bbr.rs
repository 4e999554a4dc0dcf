//! BBR for a sender that can only set its window: sends as much as the path delivers in its
//! shortest round trip, and a little more; loss alone does not slow it down.
//!
//! The model and the states are draft-ietf-ccwg-bbr's: bandwidth is the most delivered in the last
//! rounds (§5.5.5), the round trip the shortest of the last ten seconds (§5.5.7). Two things differ.
//! quinn paces by 1.25 × window ÷ smoothed round trip and by nothing else, so gains apply to the
//! window, and they are smaller than the draft's window gain of 2: a standing queue of a whole
//! round trip would delay the messages beside a bulk transfer. And only loss above
//! [`LOSS_TOLERATED`] narrows the window: wireless and crowded links lose one packet in a hundred
//! without being full.

use std::time::{Duration, Instant};

use tracing::trace;

use super::delivery::{Delivery, Sample};

/// What passes before the first round trip is measured (RFC 6928 has 10; DICOM starts with more).
const INITIAL_PACKETS: u64 = 32;
/// Below four packets acknowledgements come too rarely to tell of loss (§5.6.4.4).
const PACKETS_MIN: u64 = 4;
/// Rounds that the most delivered is remembered for.
const ROUNDS: usize = 10;
/// Doubles each round while the path is filled: 4 × ln 2 (§5.3.1.2).
const GAIN_STARTUP: f64 = 2.77;
/// Looks for more; then lets the queue that this made run off; then keeps the path full.
const GAIN_UP: f64 = 1.5;
const GAIN_DOWN: f64 = 0.9;
const GAIN_CRUISE: f64 = 1.2;
/// One round trip each of up and down, and so many of cruising.
const CRUISE_ROUND_TRIPS: u32 = 6;
const DRAIN_ROUND_TRIPS_MAX: u32 = 3;
const GAIN_PROBE_ROUND_TRIP: f64 = 0.5;
/// The pipe is full once delivery grew by less than this three times (§5.3.1.2).
const GROWTH: f64 = 1.25;
const ROUNDS_WITHOUT_GROWTH: u32 = 3;
/// Timers and tasks are late by about so much, and acknowledgements with them.
const SCHEDULING: Duration = Duration::from_millis(2);
const ROUND_TRIP_LIFE: Duration = Duration::from_secs(10);
const PROBE_ROUND_TRIP_FOR: Duration = Duration::from_millis(200);
/// A peer with nothing to say may keep an acknowledgement back for so long (RFC 9000 §18.2).
const ACK_DELAY: Duration = Duration::from_millis(25);
/// The share of a round's bytes, and the least number of packets, whose loss means a full path.
const LOSS_TOLERATED: f64 = 0.02;
const LOSS_PACKETS_MIN: u64 = 8;
/// What is left of the window after a round of more loss; and how it grows again (§5.3.3.6).
const LOSS_BACK_OFF: f64 = 0.85;
const CEILING_GROWTH: f64 = 1.25;

#[derive(Debug, Clone)]
pub(super) struct Bbr {
    mtu: u64,
    delivery: Delivery,
    state: State,
    /// Bytes a second.
    bandwidth: RoundMax,
    /// Bytes acknowledged at once beyond what the bandwidth explains (§5.5.9).
    aggregation: RoundMax,
    aggregate_since: Instant,
    aggregate_bytes: u64,
    round_trip: Option<Duration>,
    round_trip_at: Instant,
    round: Round,
    /// Rounds without growth, and what it is measured by.
    full_bandwidth: u64,
    full_rounds: u32,
    /// More than this under way was lost lately.
    ceiling: u64,
    window: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Startup,
    Drain {
        since: Instant,
    },
    Up {
        since: Instant,
    },
    Down {
        since: Instant,
    },
    Cruise {
        since: Instant,
    },
    /// The window is small so that the `shortest` round trip shows; then it is `window` again.
    ProbeRoundTrip {
        until: Instant,
        window: u64,
        shortest: Duration,
    },
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain { .. } => "drain",
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
            Self::Cruise { .. } => "cruise",
            Self::ProbeRoundTrip { .. } => "probe of the round trip",
        }
    }
}

/// From sending a packet to its acknowledgement (§5.5.1).
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// It ends when what was sent after so much was delivered is acknowledged.
    ends_at: u64,
    began_at: u64,
    lost: u64,
    is_marked: bool,
    in_flight_max: u64,
}

impl Bbr {
    pub(super) fn new(now: Instant, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            delivery: Delivery::new(now),
            state: State::Startup,
            bandwidth: RoundMax::default(),
            aggregation: RoundMax::default(),
            aggregate_since: now,
            aggregate_bytes: 0,
            round_trip: None,
            round_trip_at: now,
            round: Round::default(),
            full_bandwidth: 0,
            full_rounds: 0,
            ceiling: u64::MAX,
            window: INITIAL_PACKETS * mtu,
        }
    }

    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    pub(super) const fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * self.mtu
    }

    /// Returns the bits a second that the path is believed to carry.
    pub(super) fn bits_per_second(&self) -> u64 {
        self.bandwidth.get().saturating_mul(8)
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
        self.window = self.window.max(PACKETS_MIN * self.mtu);
    }

    pub(super) fn handle_sent(&mut self, now: Instant, bytes: u64) {
        self.delivery.handle_sent(now, bytes, self.round_trip.unwrap_or_default());
    }

    pub(super) fn handle_ack(&mut self, sent: Instant, bytes: u64) {
        self.delivery.handle_ack(sent, bytes);
    }

    pub(super) fn handle_lost(&mut self, bytes: u64) {
        self.delivery.handle_lost(bytes);
        self.round.lost += bytes;
    }

    /// Notes that a router was about to lose packets (RFC 3168).
    pub(super) const fn handle_mark(&mut self) {
        self.round.is_marked = true;
    }

    /// Notes that nothing came through for several probe timeouts (RFC 9002 §7.6): what is known of the path
    /// is kept, and the window grows towards it again with what is acknowledged.
    pub(super) const fn handle_persistent_loss(&mut self) {
        self.window = PACKETS_MIN * self.mtu;
    }

    /// Notes that an acknowledgement is complete, and `in_flight` is what it left under way.
    pub(super) fn handle_acks(&mut self, now: Instant, in_flight: u64, is_app_limited: bool) {
        let Some(sample) = self.delivery.sample(now, in_flight, is_app_limited) else { return };
        self.round.in_flight_max = self.round.in_flight_max.max(in_flight + sample.bytes);
        let is_round_over = sample.delivered_before >= self.round.ends_at;
        if let Some(rate) = sample.rate.filter(|&rate| !sample.is_app_limited || rate >= self.bandwidth.get())
        {
            if is_round_over && !sample.is_app_limited {
                self.bandwidth.start_round();
            }
            self.bandwidth.note(rate);
        }
        self.measure_aggregation(now, sample.bytes, is_round_over);
        self.measure_round_trip(now, sample.round_trip, is_app_limited);
        if is_round_over {
            self.end_round(&sample);
        }
        self.change_state(now, in_flight, is_app_limited);
        self.set_window(sample.bytes);
    }

    fn measure_aggregation(&mut self, now: Instant, bytes: u64, is_round_over: bool) {
        if is_round_over {
            self.aggregation.start_round();
        }
        let expected = product(self.bandwidth.get(), now.saturating_duration_since(self.aggregate_since));
        if self.aggregate_bytes <= expected {
            self.aggregate_since = now;
            self.aggregate_bytes = 0;
        }
        let expected = product(self.bandwidth.get(), now.saturating_duration_since(self.aggregate_since));
        self.aggregate_bytes += bytes;
        self.aggregation.note(self.aggregate_bytes.saturating_sub(expected));
    }

    fn measure_round_trip(&mut self, now: Instant, sample: Duration, is_app_limited: bool) {
        if let State::ProbeRoundTrip { shortest, .. } = &mut self.state {
            *shortest = sample.min(*shortest);
        }
        let Some(shortest) = self.round_trip else {
            (self.round_trip, self.round_trip_at) = (Some(sample), now);
            return;
        };
        // Nothing of ours queues on an idle path; a peer that waits with its acknowledgement may
        // explain the difference.
        let confirms = is_app_limited && sample <= shortest + ACK_DELAY;
        let refutes = is_app_limited && !confirms && self.is_round_trip_old(now);
        if sample <= shortest || refutes {
            self.round_trip = Some(sample);
        }
        if sample <= shortest || refutes || confirms {
            self.round_trip_at = now;
        }
    }

    fn is_round_trip_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.round_trip_at) > ROUND_TRIP_LIFE
    }

    fn end_round(&mut self, sample: &Sample) {
        let delivered = self.delivery.delivered() - self.round.began_at;
        let is_lossy = self.round.lost >= LOSS_PACKETS_MIN * self.mtu
            && self.round.lost > scaled(self.round.lost + delivered, LOSS_TOLERATED);
        if is_lossy || self.round.is_marked {
            let narrowed = scaled(self.round.in_flight_max, LOSS_BACK_OFF);
            self.ceiling = narrowed.max(scaled(self.path_bytes(), GAIN_DOWN)).max(PACKETS_MIN * self.mtu);
        }
        if self.state == State::Startup {
            if is_lossy {
                self.full_rounds = ROUNDS_WITHOUT_GROWTH;
            } else if !sample.is_app_limited {
                self.note_growth();
            }
        }
        self.round = Round {
            ends_at: self.delivery.delivered(),
            began_at: self.delivery.delivered(),
            ..Round::default()
        };
    }

    fn note_growth(&mut self) {
        if self.bandwidth.get() >= scaled(self.full_bandwidth, GROWTH) {
            self.full_bandwidth = self.bandwidth.get();
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
        }
    }

    fn change_state(&mut self, now: Instant, in_flight: u64, is_app_limited: bool) {
        let round_trip = self.round_trip.unwrap_or_default();
        let lasted = |since: Instant, round_trips: u32| {
            now.saturating_duration_since(since) >= round_trip.max(SCHEDULING) * round_trips
        };
        let is_full = |gain| in_flight >= scaled(self.path_bytes(), gain);
        let next = match self.state {
            State::ProbeRoundTrip { until, window, shortest } if now >= until => {
                self.window = window;
                (self.round_trip, self.round_trip_at) = (Some(shortest), now);
                self.after_probe(now)
            }
            State::ProbeRoundTrip { .. } => return,
            _ if self.is_round_trip_old(now) && !is_app_limited => {
                let until = now + PROBE_ROUND_TRIP_FOR.max(round_trip * 2);
                State::ProbeRoundTrip { until, window: self.window, shortest: Duration::MAX }
            }
            State::Startup if self.full_rounds >= ROUNDS_WITHOUT_GROWTH => State::Drain { since: now },
            State::Drain { since } if lasted(since, DRAIN_ROUND_TRIPS_MAX) || !is_full(1.0) => {
                State::Up { since: now }
            }
            State::Up { since } if lasted(since, 2) || (lasted(since, 1) && is_full(GAIN_UP)) => {
                State::Down { since: now }
            }
            State::Down { since } if lasted(since, 1) || !is_full(GAIN_DOWN) => State::Cruise { since: now },
            State::Cruise { since } if lasted(since, CRUISE_ROUND_TRIPS) => {
                if self.ceiling != u64::MAX {
                    self.ceiling = scaled(self.ceiling, CEILING_GROWTH);
                }
                State::Up { since: now }
            }
            same => same,
        };
        if next != self.state {
            trace!(state = next.as_str(), window = self.window, "congestion control is in another state");
        }
        self.state = next;
    }

    const fn after_probe(&self, now: Instant) -> State {
        if self.full_rounds >= ROUNDS_WITHOUT_GROWTH { State::Cruise { since: now } } else { State::Startup }
    }

    /// Returns what the path holds when it is full and no queue has formed (§2.4), with what late timers and
    /// gathered acknowledgements keep from counting.
    fn path_bytes(&self) -> u64 {
        product(self.bandwidth.get(), self.round_trip.unwrap_or_default() + SCHEDULING)
    }

    fn set_window(&mut self, acknowledged: u64) {
        let least = PACKETS_MIN * self.mtu;
        let room = self.aggregation.get().min(self.path_bytes());
        let wanted = |gain| scaled(self.path_bytes(), gain) + room + least;
        let target = match self.state {
            State::Startup => wanted(GAIN_STARTUP).max(self.initial_window()).max(self.window),
            State::Drain { .. } => scaled(self.path_bytes(), GAIN_DOWN),
            State::Up { .. } => wanted(GAIN_UP).min(self.ceiling),
            State::Down { .. } => wanted(GAIN_DOWN).min(self.ceiling),
            State::Cruise { .. } => wanted(GAIN_CRUISE).min(self.ceiling),
            State::ProbeRoundTrip { .. } => wanted(GAIN_PROBE_ROUND_TRIP).min(self.ceiling),
        };
        self.window = target.min(self.window + acknowledged).max(least);
    }
}

/// The most of the last [`ROUNDS`] rounds.
#[derive(Debug, Clone, Copy, Default)]
struct RoundMax {
    values: [u64; ROUNDS],
    current: usize,
}

impl RoundMax {
    const fn start_round(&mut self) {
        self.current = (self.current + 1) % ROUNDS;
        self.values[self.current] = 0;
    }

    fn note(&mut self, value: u64) {
        self.values[self.current] = self.values[self.current].max(value);
    }

    fn get(&self) -> u64 {
        self.values.into_iter().max().unwrap_or(0)
    }
}

/// Returns what `rate` bytes a second come to.
fn product(rate: u64, duration: Duration) -> u64 {
    u64::try_from(u128::from(rate) * duration.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes under way, by a gain that is positive: far below 2^52"
)]
fn scaled(bytes: u64, gain: f64) -> u64 {
    (bytes as f64 * gain) as u64
}

#[cfg(test)]
mod tests;
