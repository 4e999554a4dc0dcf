use super::*;

const PACKETS: u64 = 20_000;
/// About what 1 Gbit/s of full packets is.
const EVERY: Duration = Duration::from_micros(12);
const PACKET_BYTES: usize = 1_200;

fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0xa5; PACKET_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// What arrived when, of packets numbered from zero that entered one after the other.
#[derive(Debug, PartialEq)]
struct Arrival {
    number: u64,
    bytes: Vec<u8>,
    /// Since it entered.
    after: Duration,
}

struct Run {
    arrivals: Vec<Arrival>,
    counts: WireCounts,
}

fn run(seed: u64, impairment: Impairment) -> Run {
    let mut wire = Wire::new(seed);
    wire.impairment = impairment;
    carry(&mut wire, Instant::now(), |_, _| {})
}

/// Carries packets; `change` may touch the wire before each packet.
fn carry(wire: &mut Wire<u64>, start: Instant, change: impl Fn(&mut Wire<u64>, u64)) -> Run {
    let mut arrivals = Vec::new();
    let entered = |number: u64| start + EVERY * u32::try_from(number).unwrap();
    let mut collect = |wire: &mut Wire<u64>, until: Option<Instant>| {
        while let Some(due) = wire.poll_timeout().filter(|due| until.is_none_or(|until| *due <= until)) {
            let (number, bytes) = wire.poll_arrival(due).expect("it is due");
            arrivals.push(Arrival { number, bytes: bytes.to_vec(), after: due - entered(number) });
        }
    };
    for number in 0..PACKETS {
        change(wire, number);
        wire.enter(&payload(number), number, entered(number));
        collect(wire, Some(entered(number)));
    }
    collect(wire, None);
    Run { arrivals, counts: wire.counts }
}

impl Run {
    fn numbers(&self) -> Vec<u64> {
        self.arrivals.iter().map(|arrival| arrival.number).collect()
    }

    fn altered(&self) -> u64 {
        self.arrivals.iter().filter(|arrival| arrival.bytes != payload(arrival.number)).count() as u64
    }

    /// Returns the number of packets that came after one that had entered later.
    fn overtaken(&self) -> u64 {
        let mut newest = 0;
        let mut late = |number: &u64| {
            newest = newest.max(*number);
            *number < newest
        };
        self.numbers().iter().copied().filter(|number| late(number)).count() as u64
    }

    fn copies(&self) -> u64 {
        let mut numbers = self.numbers();
        numbers.sort_unstable();
        numbers.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }

    fn slowest(&self) -> Duration {
        self.arrivals.iter().map(|arrival| arrival.after).max().unwrap()
    }

    fn fastest(&self) -> Duration {
        self.arrivals.iter().map(|arrival| arrival.after).min().unwrap()
    }
}

const EVERYTHING: Impairment = Impairment {
    loss: 0.03,
    reorder: 0.04,
    duplicate: 0.05,
    corrupt: 0.06,
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(3),
    ..Impairment::NONE
};

#[test]
fn the_fates_of_packets_are_decided_by_the_seed() {
    let [first, second, other] = [7, 7, 8].map(|seed| run(seed, EVERYTHING));
    assert_eq!(first.arrivals, second.arrivals);
    assert_eq!(first.counts, second.counts);
    assert_ne!(first.numbers(), other.numbers());
}

#[test]
fn a_change_in_between_does_not_shift_the_fates_of_later_packets() {
    let lossy = Impairment { loss: 0.1, ..Impairment::NONE };
    let mut wire = Wire::new(7);
    let changed = carry(&mut wire, Instant::now(), |wire, number| {
        wire.impairment = if number < 1_000 { Impairment::BLACKHOLE } else { lossy };
    });
    let expected: Vec<_> = run(7, lossy).numbers().into_iter().filter(|number| *number >= 1_000).collect();
    assert_eq!(changed.numbers(), expected);
}

#[test]
fn a_wire_that_is_not_impaired_changes_nothing() {
    let run = run(1, Impairment::NONE);
    assert_eq!(run.numbers(), (0..PACKETS).collect::<Vec<_>>());
    assert_eq!((run.altered(), run.slowest()), (0, Duration::ZERO));
    assert_eq!(run.counts, WireCounts { entered: PACKETS, delivered: PACKETS, ..WireCounts::default() });
}

/// Checks one impairment of a tenth of all packets: what it does is counted, seen, and all there is.
#[track_caller]
fn check(impairment: Impairment, count: impl Fn(&WireCounts) -> u64, seen: impl Fn(&Run) -> u64) {
    let run = run(3, impairment);
    let counted = count(&run.counts);
    assert!((PACKETS / 10).abs_diff(counted) < PACKETS / 100, "{counted} of {PACKETS}");
    assert_eq!(seen(&run), counted);
    let WireCounts { entered, delivered, lost, reordered, duplicated, corrupted, .. } = run.counts;
    assert_eq!(lost + reordered + duplicated + corrupted, counted, "{:?}", run.counts);
    assert_eq!((entered, delivered), (PACKETS, PACKETS - lost + duplicated));
    assert_eq!(run.arrivals.len() as u64, delivered);
    assert_eq!(run.copies(), duplicated);
    assert_eq!(run.altered(), corrupted);
    // The very last ones have nobody behind them.
    assert!(reordered.abs_diff(run.overtaken()) <= 20, "{}", run.overtaken());
    assert_eq!(run.slowest(), if reordered > 0 { HELD_BACK } else { Duration::ZERO });
}

#[test]
fn loss_does_nothing_but_lose_its_share() {
    let missing = |run: &Run| PACKETS - run.arrivals.len() as u64;
    check(Impairment { loss: 0.1, ..Impairment::NONE }, |counts| counts.lost, missing);
}

#[test]
fn reorder_does_nothing_but_hold_its_share_back() {
    let held = |run: &Run| run.arrivals.iter().filter(|arrival| arrival.after == HELD_BACK).count() as u64;
    check(Impairment { reorder: 0.1, ..Impairment::NONE }, |counts| counts.reordered, held);
}

#[test]
fn duplicate_does_nothing_but_double_its_share() {
    check(Impairment { duplicate: 0.1, ..Impairment::NONE }, |counts| counts.duplicated, Run::copies);
}

#[test]
fn corrupt_does_nothing_but_alter_its_share() {
    check(Impairment { corrupt: 0.1, ..Impairment::NONE }, |counts| counts.corrupted, Run::altered);
}

#[test]
fn a_corrupt_packet_differs_in_one_to_three_bits_but_not_in_length() {
    let run = run(4, Impairment { corrupt: 1.0, ..Impairment::NONE });
    for Arrival { number, bytes, .. } in run.arrivals {
        let flipped = bytes.iter().zip(payload(number)).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        assert!((1..=3).contains(&flipped), "{flipped}");
        assert_eq!(bytes.len(), PACKET_BYTES);
    }
    let mut wire = Wire::new(4);
    wire.impairment = Impairment { corrupt: 1.0, ..Impairment::NONE };
    let now = Instant::now();
    for bytes in [&[][..], &[0]] {
        wire.enter(bytes, (), now);
        assert_eq!(wire.poll_arrival(now).unwrap().1.len(), bytes.len());
    }
}

#[test]
fn delay_delays_every_packet_alike() {
    let delay = Duration::from_millis(50);
    let run = run(1, Impairment { delay, ..Impairment::NONE });
    assert_eq!((run.fastest(), run.slowest()), (delay, delay));
    assert_eq!(run.numbers(), (0..PACKETS).collect::<Vec<_>>());
}

#[test]
fn jitter_varies_the_delay_without_changing_the_order() {
    let (delay, jitter) = (Duration::from_millis(5), Duration::from_millis(2));
    let run = run(1, Impairment { delay, jitter, ..Impairment::NONE });
    assert_eq!(run.numbers(), (0..PACKETS).collect::<Vec<_>>());
    assert!(run.fastest() >= delay && run.slowest() <= delay + jitter);
    assert!(run.slowest() > run.fastest() + jitter / 2);
}

fn rate(bits_per_second: u64, queue_bytes: u64) -> Impairment {
    let bits_per_second = NonZeroU64::new(bits_per_second).unwrap();
    Impairment { rate: Some(Rate { bits_per_second, queue_bytes }), ..Impairment::NONE }
}

#[test]
fn a_rate_spaces_packets_by_their_length_on_the_wire() {
    let length = PACKET_BYTES as u64 + HEADER_BYTES;
    // A packet a millisecond, and one entered long after the wire was idle.
    let mut wire = Wire::new(1);
    wire.impairment = rate(length * 8 * 1_000, 10 * length);
    let start = Instant::now();
    for number in 0..3 {
        wire.enter(&payload(number), number, start);
    }
    let late = start + Duration::from_secs(1);
    wire.enter(&payload(3), 3, late);
    let expected = [1, 2, 3, 1_001].map(|millis| start + Duration::from_millis(millis));
    for due in expected {
        assert_eq!(wire.poll_timeout(), Some(due));
        wire.poll_arrival(due).unwrap();
    }
}

#[test]
fn the_queue_of_a_rate_drops_newcomers_when_it_is_full() {
    let length = PACKET_BYTES as u64 + HEADER_BYTES;
    let mut wire = Wire::new(1);
    wire.impairment = rate(1_000_000, 10 * length);
    let start = Instant::now();
    for number in 0..25 {
        wire.enter(&payload(number), number, start);
    }
    // What is being sent no longer waits when the queue is as long as it may be.
    assert_eq!((wire.counts.overflowed, wire.in_order.len()), (15, 10));
    let numbers: Vec<_> =
        std::iter::from_fn(|| wire.poll_arrival(start + Duration::from_secs(9)).map(|(number, _)| number))
            .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    // A queue without room still lets a packet pass an idle wire.
    wire.impairment = rate(1_000_000, 0);
    wire.enter(&payload(0), 0, start + Duration::from_secs(10));
    assert_eq!(wire.in_order.len(), 1);
}

#[test]
fn a_blackhole_swallows_what_enters_but_not_what_is_under_way() {
    let mut wire = Wire::new(1);
    wire.impairment = Impairment { delay: Duration::from_millis(50), ..Impairment::NONE };
    let now = Instant::now();
    wire.enter(&payload(0), 0, now);
    wire.impairment = Impairment::BLACKHOLE;
    wire.enter(&payload(1), 1, now);
    assert_eq!(wire.poll_arrival(now + Duration::from_secs(1)).map(|(number, _)| number), Some(0));
    assert_eq!(wire.poll_timeout(), None);
    assert_eq!((wire.counts.blackholed, wire.counts.delivered), (1, 1));
}

#[test]
fn what_is_longer_than_a_frame_vanishes() {
    let mut wire = Wire::new(1);
    wire.impairment = Impairment::ETHERNET;
    let now = Instant::now();
    for length in [1_471, 1_472, 1_473] {
        wire.enter(&vec![0; length], length, now);
    }
    let lengths: Vec<_> = std::iter::from_fn(|| wire.poll_arrival(now).map(|(length, _)| length)).collect();
    assert_eq!((lengths, wire.counts.too_long), (vec![1_471, 1_472], 1));
}

#[test]
fn what_exceeds_the_bound_on_waiting_packets_is_dropped_with_a_count() {
    let mut wire = Wire::new(1);
    wire.impairment = Impairment { delay: Duration::from_secs(1), duplicate: 0.5, ..Impairment::NONE };
    let now = Instant::now();
    let large = vec![0; usize::from(u16::MAX)];
    for number in 0..4_000 {
        wire.enter(&large, number, now);
    }
    assert!(wire.waiting_bytes <= SHIM_WAITING_BYTES_MAX);
    assert!(wire.waiting_bytes > SHIM_WAITING_BYTES_MAX - large.len());
    let WireCounts { overflowed, duplicated, .. } = wire.counts;
    assert_eq!(overflowed + wire.in_order.len() as u64, 4_000 + duplicated);
    // Drained, it carries again, and its memory is not kept.
    while wire.poll_arrival(now + Duration::from_secs(1)).is_some() {}
    assert_eq!((wire.waiting_bytes, wire.spare.len()), (0, 0));
    wire.enter(&payload(1), 1, now);
    assert_eq!(wire.in_order.len() as u64, 1 + u64::from(wire.counts.duplicated > duplicated));
}
