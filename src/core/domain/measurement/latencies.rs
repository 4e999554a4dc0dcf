//! Latencies by their size: four buckets an octave from 64 µs to 67 s, one below and one above. Counts merge
//! exactly, and a quantile is off by at most an eighth.

use std::collections::BTreeMap;
use std::time::Duration;

/// Below the first bound, four in each of twenty octaves, above the last.
pub const BUCKETS: usize = 82;
/// The first bound, as a power of two of microseconds.
const FIRST: u32 = 6;
/// Buckets of one octave, as a power of two: its quarters.
const QUARTERS: u32 = 2;
const LAST: u8 = 81;

/// Returns the bucket of a latency. It is on the data path: a few instructions, no loop.
#[must_use]
pub const fn bucket_of(latency: Duration) -> u8 {
    // A latency of 600,000 years is not measured.
    #[expect(clippy::cast_possible_truncation, reason = "what is cut off is above the last bound too")]
    let micros = if latency.as_secs() > 1_000 { u64::MAX } else { latency.as_micros() as u64 };
    let Some(octave) = micros.checked_ilog2() else { return 0 };
    if octave < FIRST {
        return 0;
    }
    // The two bits below the highest one say which quarter.
    let quarter = (micros >> (octave - QUARTERS)) & 0b11;
    let bucket = 1 + ((octave - FIRST) << QUARTERS) as u64 + quarter;
    #[expect(clippy::cast_possible_truncation, reason = "it is below 82")]
    let bucket = if bucket > LAST as u64 { LAST } else { bucket as u8 };
    bucket
}

/// Returns the microseconds at which a bucket begins.
const fn begin(bucket: u8) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let (octave, quarter) = ((bucket - 1) >> QUARTERS, (bucket - 1) & 0b11);
    (4 + quarter as u64) << (octave as u32 + FIRST - QUARTERS)
}

/// How many latencies lie in each bucket; empty buckets are not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latencies(BTreeMap<u8, u64>);

impl Latencies {
    pub fn note(&mut self, latency: Duration) {
        self.add(bucket_of(latency), 1);
    }

    /// Counts more in a bucket; what is above all is in the last.
    pub fn add(&mut self, bucket: u8, more: u64) {
        if more > 0 {
            let count = self.0.entry(bucket.min(LAST)).or_default();
            *count = count.saturating_add(more);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add(*bucket, *count);
        }
    }

    /// Returns the buckets that are not empty, in order.
    pub fn counts(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().map(|(bucket, count)| (*bucket, *count))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn cap(&mut self, most: u64) {
        for count in self.0.values_mut() {
            *count = (*count).min(most);
        }
    }

    /// Returns the latency that half of them do not exceed, to an eighth.
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.percentile(50)
    }

    /// Returns the latency that 99 % of them do not exceed, to an eighth.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.percentile(99)
    }

    /// Returns the middle of the bucket in which the percentile lies; of the last bucket, which has no end, its
    /// beginning.
    fn percentile(&self, percent: u128) -> Option<Duration> {
        let all = self.0.values().fold(0_u128, |sum, count| sum + u128::from(*count));
        let rank = (all * percent).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let (bucket, _) = self.0.iter().find(|(_, count)| {
            seen += u128::from(**count);
            seen >= rank
        })?;
        let from = begin(*bucket);
        let to = if *bucket == LAST { from } else { begin(*bucket + 1) };
        Some(Duration::from_micros(from.midpoint(to)))
    }
}
