//! Minutes that are not written yet, each end's newest word on each. Pure: it is told the time.

use std::collections::BTreeMap;

use crate::store::MeasurementRow;
use adit_core::domain::connection::Side;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::{
    MEASUREMENT_AHEAD_MAX, MEASUREMENTS_OF_WRITE_MAX, MEASUREMENTS_WAITING_MAX, MEASUREMENTS_WRITE_EVERY,
};
use adit_core::domain::measurement::{Span, Sums};
use adit_core::domain::time::Timestamp;

/// Why a minute was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasurementRefused {
    #[error("no minute begins at this time")]
    NoMinute,
    #[error("the minute lies ahead")]
    Ahead,
    #[error("the minute is older than those that are kept")]
    TooOld,
    #[error("as many minutes wait to be written as may")]
    Full,
}

/// Bounded by [`MEASUREMENTS_WAITING_MAX`], and one batch more while one is put back.
#[derive(Debug, Default)]
pub(in crate::platform) struct MinuteBuffer {
    /// The oldest first.
    waiting: BTreeMap<(Timestamp, ConnectionId, Side), Sums>,
    written_at: Option<Timestamp>,
}

impl MinuteBuffer {
    /// Takes a minute; said again, it takes the place of what waits.
    pub(super) fn handle(&mut self, row: MeasurementRow, now: Timestamp) -> Result<(), MeasurementRefused> {
        let MeasurementRow { connection, side, at, sums } = row;
        if Span::Minute.begin(at) != at {
            return Err(MeasurementRefused::NoMinute);
        }
        if at > now.saturating_add(MEASUREMENT_AHEAD_MAX) {
            return Err(MeasurementRefused::Ahead);
        }
        if is_too_old(at, now) {
            return Err(MeasurementRefused::TooOld);
        }
        let key = (at, connection, side);
        if self.waiting.len() >= MEASUREMENTS_WAITING_MAX && !self.waiting.contains_key(&key) {
            return Err(MeasurementRefused::Full);
        }
        self.waiting.insert(key, sums);
        Ok(())
    }

    /// Returns whether it is time to write, or there is a batch.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let is_time = self.written_at.is_none_or(|at| now.since(at) >= MEASUREMENTS_WRITE_EVERY);
        !self.waiting.is_empty() && (is_time || self.waiting.len() >= MEASUREMENTS_OF_WRITE_MAX)
    }

    /// Takes the oldest, at most a batch. What has grown too old while it waited goes: its hour may be gone.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<MeasurementRow> {
        self.written_at = Some(now);
        let oldest = std::iter::from_fn(|| self.waiting.pop_first());
        oldest
            .filter(|((at, ..), _)| !is_too_old(*at, now))
            .take(MEASUREMENTS_OF_WRITE_MAX)
            .map(|((at, connection, side), sums)| MeasurementRow { connection, side, at, sums })
            .collect()
    }

    /// Puts back what could not be written, unless there is newer.
    pub(super) fn put_back(&mut self, rows: Vec<MeasurementRow>) {
        for MeasurementRow { connection, side, at, sums } in rows {
            self.waiting.entry((at, connection, side)).or_insert(sums);
        }
    }
}

fn is_too_old(at: Timestamp, now: Timestamp) -> bool {
    at < now.saturating_sub(Span::Minute.kept())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use adit_core::domain::measurement::Figure;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn row(at: Timestamp, messages: u64) -> MeasurementRow {
        let mut sums = Sums::default();
        sums.add(Figure::Messages, messages);
        MeasurementRow { connection: ConnectionId::from_bytes([1; 16]), side: Side::Source, at, sums }
    }

    #[test]
    fn only_whole_minutes_of_the_last_day_are_taken() {
        let mut buffer = MinuteBuffer::default();
        let mut at = |millis| buffer.handle(row(Timestamp::from_millis(NOW.as_millis() + millis), 1), NOW);
        assert_eq!(at(-1), Err(MeasurementRefused::NoMinute));
        assert_eq!(at(180_000), Err(MeasurementRefused::Ahead));
        assert_eq!(at(-86_460_000), Err(MeasurementRefused::TooOld));
        assert_eq!([at(120_000), at(-86_400_000), at(0)], [Ok(()); 3]);
    }

    #[test]
    fn the_newest_word_on_a_minute_counts_also_over_one_that_is_put_back() {
        let mut buffer = MinuteBuffer::default();
        for messages in [1, 2] {
            buffer.handle(row(NOW, messages), NOW).unwrap();
        }
        let taken = buffer.take(NOW);
        assert_eq!(taken, [row(NOW, 2)]);
        buffer.handle(row(NOW, 3), NOW).unwrap();
        buffer.put_back(taken);
        assert_eq!(buffer.take(NOW), [row(NOW, 3)]);
    }

    #[test]
    fn a_buffer_that_is_full_takes_no_other_end_and_gives_batches() {
        let mut buffer = MinuteBuffer::default();
        let of = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            MeasurementRow { connection: ConnectionId::from_bytes(bytes), ..row(NOW, 1) }
        };
        for number in 0..MEASUREMENTS_WAITING_MAX {
            buffer.handle(of(number), NOW).unwrap();
        }
        assert_eq!(buffer.handle(of(MEASUREMENTS_WAITING_MAX), NOW), Err(MeasurementRefused::Full));
        assert_eq!(buffer.handle(of(0), NOW), Ok(()));
        assert_eq!(buffer.take(NOW).len(), MEASUREMENTS_OF_WRITE_MAX);
        assert!(buffer.is_due(NOW), "there is a batch more");
    }

    #[test]
    fn what_grew_too_old_while_the_database_was_away_is_not_written() {
        let mut buffer = MinuteBuffer::default();
        buffer.handle(row(NOW, 1), NOW).unwrap();
        assert!(buffer.is_due(NOW));
        let later = NOW.saturating_add(Duration::from_hours(25));
        assert_eq!(buffer.take(later), []);
        assert!(!buffer.is_due(later));
    }
}
