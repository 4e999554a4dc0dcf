//! A sender that keeps to the window and paces as quinn does, on a path with a rate, a delay, a
//! queue and random loss. All of it on a hand-moved clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::*;

const MTU: u16 = 1_452;
const STEP: Duration = Duration::from_micros(100);
const STEPS_A_SECOND: u32 = 10_000;

/// One way of the network, and back.
struct Wire {
    bytes_per_second: u64,
    round_trip: Duration,
    queue_bytes_max: u64,
    lost_in_thousand: u64,
    random: u64,
    /// When the last byte that was queued leaves.
    busy_until: Instant,
}

impl Wire {
    /// Returns when the packet's acknowledgement is back, if it arrives.
    fn carry(&mut self, now: Instant) -> Option<Instant> {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let begins = self.busy_until.max(now);
        let queued = product(self.bytes_per_second, begins - now);
        if queued > self.queue_bytes_max || (self.random >> 33) % 1_000 < self.lost_in_thousand {
            return None;
        }
        self.busy_until =
            begins + Duration::from_nanos(u64::from(MTU) * 1_000_000_000 / self.bytes_per_second);
        Some(self.busy_until + self.round_trip)
    }
}

struct Sender {
    bbr: Bbr,
    next: u64,
    /// Sent and neither acknowledged nor found lost.
    under_way: BTreeMap<u64, Instant>,
    acks: VecDeque<(Instant, u64)>,
    tokens: u64,
    smoothed: Duration,
    delivered: u64,
    /// How often something is there to send: the application, a share of the steps.
    busy_steps_in_ten: u32,
}

impl Sender {
    fn new(now: Instant) -> Self {
        Self {
            bbr: Bbr::new(now, MTU),
            next: 0,
            under_way: BTreeMap::new(),
            acks: VecDeque::new(),
            tokens: 10 * u64::from(MTU),
            smoothed: Duration::from_millis(100),
            delivered: 0,
            busy_steps_in_ten: 10,
        }
    }

    fn in_flight(&self) -> u64 {
        self.under_way.len() as u64 * u64::from(MTU)
    }

    fn step(&mut self, now: Instant, wire: &mut Wire, is_busy: bool) {
        self.receive(now, !is_busy);
        let refill = product(self.bbr.window() * 5 / 4, STEP) * 1_000_000_000;
        self.tokens += refill / u64::try_from(self.smoothed.as_nanos()).unwrap();
        let capacity = self.bbr.window() * 2_000_000 / u64::try_from(self.smoothed.as_nanos()).unwrap();
        self.tokens = self.tokens.min(capacity.clamp(10 * u64::from(MTU), 256 * u64::from(MTU)));
        let mtu = u64::from(MTU);
        while is_busy && self.tokens >= mtu && self.in_flight() + mtu < self.bbr.window() {
            self.tokens -= mtu;
            if let Some(back) = wire.carry(now) {
                self.acks.push_back((back, self.next));
            }
            self.under_way.insert(self.next, now);
            self.bbr.handle_sent(now, mtu);
            self.next += 1;
        }
    }

    fn receive(&mut self, now: Instant, is_app_limited: bool) {
        let mut largest = None;
        while self.acks.front().is_some_and(|&(at, _)| at <= now) {
            let (_, packet) = self.acks.pop_front().unwrap();
            let Some(sent) = self.under_way.remove(&packet) else { continue };
            self.bbr.handle_ack(sent, u64::from(MTU));
            self.delivered += u64::from(MTU);
            self.smoothed = (self.smoothed * 7 + (now - sent)) / 8;
            largest = Some(packet);
        }
        let Some(largest) = largest else {
            // The probe timeout, when everything was lost.
            if self.under_way.values().next_back().is_some_and(|&sent| now - sent > self.smoothed * 3) {
                let lost = self.in_flight();
                self.under_way.clear();
                self.bbr.handle_lost(lost);
            }
            return;
        };
        self.bbr.handle_acks(now, self.in_flight(), is_app_limited);
        let kept = self.under_way.split_off(&largest.saturating_sub(2));
        let lost = std::mem::replace(&mut self.under_way, kept).len() as u64 * u64::from(MTU);
        if lost > 0 {
            self.bbr.handle_lost(lost);
        }
    }
}

fn gigabit(round_trip_millis: u64) -> Wire {
    Wire {
        bytes_per_second: 125_000_000,
        round_trip: Duration::from_millis(round_trip_millis),
        queue_bytes_max: 4_000_000,
        lost_in_thousand: 0,
        random: 7,
        busy_until: Instant::now(),
    }
}

/// Sends for `seconds` of the wire's time; what each sender had delivered in the last of them, as a
/// share of the wire's rate.
fn run(senders: &mut [Sender], wire: &mut Wire, now: &mut Instant, seconds: u32) -> Vec<f64> {
    let steps = STEPS_A_SECOND * seconds;
    let mut before = Vec::new();
    for step in 0..steps {
        if step == steps - STEPS_A_SECOND {
            before = senders.iter().map(|sender| sender.delivered).collect();
        }
        for sender in &mut *senders {
            let is_busy = step % 10 < sender.busy_steps_in_ten;
            sender.step(*now, wire, is_busy);
        }
        *now += STEP;
    }
    let delivered = senders.iter().zip(before).map(|(sender, before)| sender.delivered - before);
    delivered.map(|bytes| to_share(bytes, wire.bytes_per_second)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a second")]
fn to_share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Runs a sender alone on `wire`: in the last of `seconds` it has `at_least` of its rate.
#[track_caller]
fn check(mut wire: Wire, seconds: u32, at_least: f64) -> (Sender, Wire, Instant) {
    let mut now = wire.busy_until;
    let mut senders = [Sender::new(now)];
    let share = run(&mut senders, &mut wire, &mut now, seconds)[0];
    let [sender] = senders;
    assert!(share >= at_least, "{share:.3} of the rate in the last second; {:?}", sender.bbr);
    (sender, wire, now)
}

#[test]
fn a_path_is_full_within_seconds_whatever_its_rate_or_round_trip() {
    check(gigabit(50), 2, 0.95);
    check(gigabit(2), 2, 0.95);
    check(gigabit(200), 4, 0.9);
    check(Wire { bytes_per_second: 250_000, queue_bytes_max: 60_000, ..gigabit(30) }, 2, 0.95);
}

#[test]
fn one_loss_in_a_hundred_does_not_slow_it_down_even_from_the_start() {
    for random in 0..8 {
        check(Wire { lost_in_thousand: 10, random: random << 40, ..gigabit(50) }, 2, 0.9);
    }
}

#[test]
fn what_queues_on_the_way_stays_below_a_round_trip() {
    for round_trip in [10, 50] {
        let (_, wire, now) = check(Wire { queue_bytes_max: 1 << 30, ..gigabit(round_trip) }, 5, 0.95);
        let queued = wire.busy_until.saturating_duration_since(now);
        assert!(queued < wire.round_trip, "{queued:?} queued of {:?}", wire.round_trip);
    }
}

#[test]
fn a_path_with_a_shallow_queue_is_filled_with_little_loss() {
    let (mut sender, mut wire, mut now) = check(Wire { queue_bytes_max: 300_000, ..gigabit(50) }, 5, 0.85);
    let before = (sender.next, sender.delivered);
    run(std::slice::from_mut(&mut sender), &mut wire, &mut now, 10);
    let sent = (sender.next - before.0) * u64::from(MTU);
    let arrived = to_share(sender.delivered - before.1, sent);
    assert!(arrived > 0.95, "{arrived:.3} of what was sent arrived");
}

#[test]
fn it_follows_a_path_that_slows_down_before_it_speeds_up() {
    let (sender, mut wire, mut now) = check(gigabit(20), 2, 0.95);
    let mut senders = [sender];
    for (bytes_per_second, at_least) in [(25_000_000, 0.9), (125_000_000, 0.9)] {
        wire.bytes_per_second = bytes_per_second;
        let share = run(&mut senders, &mut wire, &mut now, 3)[0];
        assert!(share >= at_least, "{share:.3} at {bytes_per_second} bytes a second");
        let queued = wire.busy_until.saturating_duration_since(now);
        assert!(queued < wire.round_trip, "{queued:?} queued at {bytes_per_second} bytes a second");
    }
}

#[test]
fn two_share_a_path_without_starving() {
    let mut wire = gigabit(20);
    let mut now = wire.busy_until;
    let mut senders = vec![Sender::new(now)];
    run(&mut senders, &mut wire, &mut now, 3);
    senders.push(Sender::new(now));
    let shares = run(&mut senders, &mut wire, &mut now, 15);
    assert!(shares.iter().sum::<f64>() > 0.95, "{shares:?}");
    assert!(shares.iter().all(|&share| share > 0.25), "{shares:?}");
}

#[test]
fn an_application_that_pauses_keeps_what_was_learnt() {
    let (sender, mut wire, mut now) = check(gigabit(50), 2, 0.95);
    let learnt = sender.bbr.path_bytes();
    let mut senders = [Sender { busy_steps_in_ten: 0, ..sender }];
    run(&mut senders, &mut wire, &mut now, 60);
    senders[0].busy_steps_in_ten = 1;
    run(&mut senders, &mut wire, &mut now, 1);
    assert!(senders[0].bbr.window() > learnt / 2, "{:?}", senders[0].bbr);
    senders[0].busy_steps_in_ten = 10;
    assert!(run(&mut senders, &mut wire, &mut now, 1)[0] > 0.85);
}

#[test]
fn after_ten_seconds_without_a_shorter_round_trip_it_makes_room_to_see_one() {
    let (sender, mut wire, mut now) = check(gigabit(20), 2, 0.95);
    // The way became longer, and only a drained path shows by how much.
    wire.round_trip = Duration::from_millis(40);
    let mut senders = [sender];
    let share = run(&mut senders, &mut wire, &mut now, 15)[0];
    assert!(share > 0.9, "{share:.3}");
    let measured = senders[0].bbr.round_trip.unwrap();
    assert!((40..46).contains(&measured.as_millis()), "{measured:?}");
}

#[test]
fn persistent_loss_leaves_four_packets_until_something_is_acknowledged() {
    let (sender, mut wire, mut now) = check(gigabit(50), 2, 0.95);
    let mut senders = [sender];
    senders[0].bbr.handle_persistent_loss();
    assert_eq!(senders[0].bbr.window(), PACKETS_MIN * u64::from(MTU));
    assert!(run(&mut senders, &mut wire, &mut now, 2)[0] > 0.95);
}

#[test]
fn a_marked_packet_narrows_the_window_as_loss_does() {
    let (sender, mut wire, mut now) = check(gigabit(50), 2, 0.95);
    let mut senders = [sender];
    senders[0].bbr.handle_mark();
    run(&mut senders, &mut wire, &mut now, 1);
    assert!(senders[0].bbr.ceiling < u64::MAX);
}

#[test]
fn only_the_most_of_the_last_rounds_is_remembered() {
    let mut most = RoundMax::default();
    most.note(9);
    for _ in 1..ROUNDS {
        most.start_round();
        most.note(3);
        assert_eq!(most.get(), 9);
    }
    most.start_round();
    assert_eq!(most.get(), 3);
}
