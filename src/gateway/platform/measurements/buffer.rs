//! Minutes that are not written yet, each end's newest word on each. Pure: it is told the time.
//!
//! While there is room, an agent may have as many as it likes. Once there is none, whoever has the most gives way: no
//! agent crowds out another that has less.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::MeasurementRow;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::{
    MEASUREMENT_AHEAD_MAX, MEASUREMENTS_OF_WRITE_MAX, MEASUREMENTS_WAITING_MAX, MEASUREMENTS_WRITE_EVERY,
};
use adit_core::domain::measurement::{Span, Sums};
use adit_core::domain::time::Timestamp;
use tracing::trace;

/// Why a minute was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasurementRefused {
    #[error("no minute begins at this time")]
    NoMinute,
    #[error("the minute lies ahead")]
    Ahead,
    #[error("the minute is older than those that are kept")]
    TooOld,
    #[error("as many minutes wait to be written as may, and no agent has more of them")]
    Full,
    #[error("the minute is none of those before the connection's end that are still taken")]
    Ended,
}

/// One end's minute.
type Key = (Timestamp, ConnectionId, Side);

/// Bounded by [`MEASUREMENTS_WAITING_MAX`], and one batch more while one is put back.
#[derive(Debug, Default)]
pub(in crate::platform) struct MinuteBuffer {
    /// The oldest first.
    waiting: BTreeMap<Key, (ServerId, Sums)>,
    /// Whose agent said which of them.
    by_server: BTreeMap<ServerId, BTreeSet<Key>>,
    /// How many each has.
    counts: BTreeSet<(usize, ServerId)>,
    written_at: Option<Timestamp>,
}

/// Minutes that are being written, and whose agent said each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<MeasurementRow>,
    servers: Vec<ServerId>,
}

impl MinuteBuffer {
    /// Takes a minute; said again, it takes the place of what waits.
    pub(super) fn handle(
        &mut self,
        server: ServerId,
        row: MeasurementRow,
        now: Timestamp,
    ) -> Result<(), MeasurementRefused> {
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
            self.make_room(server)?;
        }
        self.insert(key, server, sums);
        Ok(())
    }

    /// Lets the oldest go of the agent with the most, unless the asker has as many.
    fn make_room(&mut self, asker: ServerId) -> Result<(), MeasurementRefused> {
        let Some(&(most, largest)) = self.counts.last() else { return Err(MeasurementRefused::Full) };
        if self.count(asker) + 1 >= most {
            return Err(MeasurementRefused::Full);
        }
        let oldest = self.by_server.get(&largest).and_then(|keys| keys.first().copied());
        let oldest = oldest.ok_or(MeasurementRefused::Full)?;
        trace!(server = %largest, waiting = most, "an agent with much that waits makes room for others");
        self.remove(&oldest);
        Ok(())
    }

    fn count(&self, server: ServerId) -> usize {
        self.by_server.get(&server).map_or(0, BTreeSet::len)
    }

    fn insert(&mut self, key: Key, server: ServerId, sums: Sums) {
        // An end is one server's for life; where a word of another server stands, it is replaced as a whole.
        self.remove(&key);
        self.waiting.insert(key, (server, sums));
        let keys = self.by_server.entry(server).or_default();
        self.counts.remove(&(keys.len(), server));
        keys.insert(key);
        self.counts.insert((keys.len(), server));
    }

    fn remove(&mut self, key: &Key) -> Option<(ServerId, Sums)> {
        let (server, sums) = self.waiting.remove(key)?;
        if let Some(keys) = self.by_server.get_mut(&server) {
            self.counts.remove(&(keys.len(), server));
            keys.remove(key);
            if keys.is_empty() {
                self.by_server.remove(&server);
            } else {
                self.counts.insert((keys.len(), server));
            }
        }
        Some((server, sums))
    }

    /// Returns whether it is time to write, or there is a batch.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let is_time = self.written_at.is_none_or(|at| now.since(at) >= MEASUREMENTS_WRITE_EVERY);
        !self.waiting.is_empty() && (is_time || self.waiting.len() >= MEASUREMENTS_OF_WRITE_MAX)
    }

    /// Takes the oldest, at most a batch. What has grown too old while it waited goes: its hour may be gone.
    pub(super) fn take(&mut self, now: Timestamp) -> Batch {
        self.written_at = Some(now);
        let mut batch = Batch::default();
        while batch.rows.len() < MEASUREMENTS_OF_WRITE_MAX {
            let Some(key) = self.waiting.keys().next().copied() else { break };
            let Some((server, sums)) = self.remove(&key) else { break };
            let (at, connection, side) = key;
            if !is_too_old(at, now) {
                batch.rows.push(MeasurementRow { connection, side, at, sums });
                batch.servers.push(server);
            }
        }
        batch
    }

    /// Puts back what could not be written, unless there is newer.
    pub(super) fn put_back(&mut self, batch: Batch) {
        for (MeasurementRow { connection, side, at, sums }, server) in
            batch.rows.into_iter().zip(batch.servers)
        {
            let key = (at, connection, side);
            if !self.waiting.contains_key(&key) {
                self.insert(key, server, sums);
            }
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

    const ONE: ServerId = ServerId::from_bytes([1; 16]);
    const OTHER: ServerId = ServerId::from_bytes([2; 16]);
    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    fn row(at: Timestamp, messages: u64) -> MeasurementRow {
        let mut sums = Sums::default();
        sums.add(Figure::Messages, messages);
        MeasurementRow { connection: ConnectionId::from_bytes([1; 16]), side: Side::Source, at, sums }
    }

    #[test]
    fn only_whole_minutes_of_the_last_day_are_taken() {
        let mut buffer = MinuteBuffer::default();
        let mut at =
            |millis| buffer.handle(ONE, row(Timestamp::from_millis(NOW.as_millis() + millis), 1), NOW);
        assert_eq!(at(-1), Err(MeasurementRefused::NoMinute));
        assert_eq!(at(180_000), Err(MeasurementRefused::Ahead));
        assert_eq!(at(-86_460_000), Err(MeasurementRefused::TooOld));
        assert_eq!([at(120_000), at(-86_400_000), at(0)], [Ok(()); 3]);
    }

    #[test]
    fn the_newest_word_on_a_minute_counts_also_over_one_that_is_put_back() {
        let mut buffer = MinuteBuffer::default();
        for messages in [1, 2] {
            buffer.handle(ONE, row(NOW, messages), NOW).unwrap();
        }
        let taken = buffer.take(NOW);
        assert_eq!(taken.rows, [row(NOW, 2)]);
        buffer.handle(ONE, row(NOW, 3), NOW).unwrap();
        buffer.put_back(taken);
        assert_eq!(buffer.take(NOW).rows, [row(NOW, 3)]);
    }

    fn of(number: usize) -> MeasurementRow {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MeasurementRow { connection: ConnectionId::from_bytes(bytes), ..row(NOW, 1) }
    }

    #[test]
    fn one_agent_crowds_out_no_other_that_has_less() {
        let mut buffer = MinuteBuffer::default();
        for number in 0..MEASUREMENTS_WAITING_MAX {
            buffer.handle(ONE, of(number), NOW).unwrap();
        }
        let others = MEASUREMENTS_WAITING_MAX..;
        for number in others.clone().take(MEASUREMENTS_WAITING_MAX / 2) {
            assert_eq!(buffer.handle(OTHER, of(number), NOW), Ok(()), "{number}");
        }
        assert_eq!(buffer.waiting.len(), MEASUREMENTS_WAITING_MAX);
        assert_eq!([ONE, OTHER].map(|server| buffer.count(server)), [MEASUREMENTS_WAITING_MAX / 2; 2]);
        for (server, number) in [(ONE, 0), (OTHER, 2 * MEASUREMENTS_WAITING_MAX)] {
            assert_eq!(
                buffer.handle(server, of(number), NOW),
                Err(MeasurementRefused::Full),
                "each has its half"
            );
        }
        let batch = buffer.take(NOW);
        let counted = buffer.count(ONE) + buffer.count(OTHER);
        assert_eq!(counted, MEASUREMENTS_WAITING_MAX - MEASUREMENTS_OF_WRITE_MAX);
        buffer.put_back(batch);
        assert_eq!(buffer.counts.iter().map(|(count, _)| count).sum::<usize>(), MEASUREMENTS_WAITING_MAX);
    }

    #[test]
    fn a_buffer_that_is_full_takes_no_other_end_and_gives_batches() {
        let mut buffer = MinuteBuffer::default();
        for number in 0..MEASUREMENTS_WAITING_MAX {
            buffer.handle(ONE, of(number), NOW).unwrap();
        }
        assert_eq!(buffer.handle(ONE, of(MEASUREMENTS_WAITING_MAX), NOW), Err(MeasurementRefused::Full));
        assert_eq!(buffer.handle(ONE, of(0), NOW), Ok(()));
        assert_eq!(buffer.take(NOW).rows.len(), MEASUREMENTS_OF_WRITE_MAX);
        assert!(buffer.is_due(NOW), "there is a batch more");
    }

    #[test]
    fn what_grew_too_old_while_the_database_was_away_is_not_written() {
        let mut buffer = MinuteBuffer::default();
        buffer.handle(ONE, row(NOW, 1), NOW).unwrap();
        assert!(buffer.is_due(NOW));
        let later = NOW.saturating_add(Duration::from_hours(25));
        assert_eq!(buffer.take(later).rows, []);
        assert!(!buffer.is_due(later));
    }
}
