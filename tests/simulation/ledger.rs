//! The books of all streams of a run, which both ends are judged by: what was said, heard, echoed
//! and acknowledged. What a stream carries follows from its number, so every byte can be checked
//! where it arrives.

use std::sync::LazyLock;
use std::time::Instant;

use crate::random::Random;

/// A prime, so that no two streams and no two places of a stream look alike for long.
const PERIOD: u64 = 65_521;
/// The most that is compared or written at once.
pub(crate) const PIECE_MAX: u64 = PERIOD;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the source to the target.
    There,
    /// The echo.
    Back,
}

/// The next `length` bytes of a stream from `offset`, at most [`PIECE_MAX`].
pub(crate) fn content(number: u64, direction: Direction, offset: u64, length: u64) -> &'static [u8] {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random::new(1);
        let once: Vec<u8> = (0..PERIOD).flat_map(|_| random.bytes::<1>()).collect();
        once.repeat(2)
    });
    let turn = if direction == Direction::There { 0 } else { 31_337 };
    let begin = (number * 7_919 + turn + offset) % PERIOD;
    &NOISE[usize::try_from(begin).unwrap()..usize::try_from(begin + length.min(PERIOD)).unwrap()]
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    records: Vec<Record>,
}

/// One stream, as both ends really saw it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub size: u64,
    pub opened: Instant,
    pub sent: u64,
    pub received: u64,
    pub acknowledged: u64,
    /// The source said that this is all; the target heard so.
    pub sent_end: bool,
    pub received_end: bool,
    /// The target has met this number.
    pub met: bool,
    pub fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Running,
    Complete(Instant),
    Broken,
}

impl Ledger {
    pub(crate) fn open(&mut self, size: u64, now: Instant) -> u64 {
        self.records.push(Record {
            size,
            opened: now,
            sent: 0,
            received: 0,
            acknowledged: 0,
            sent_end: false,
            received_end: false,
            met: false,
            fate: Fate::Running,
        });
        self.records.len() as u64 - 1
    }

    pub(crate) fn get(&mut self, number: u64) -> Option<&mut Record> {
        self.records.get_mut(usize::try_from(number).ok()?)
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) fn running(&self) -> usize {
        self.records.iter().filter(|record| record.fate == Fate::Running).count()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.received + record.acknowledged).sum()
    }
}
