//! Adds up what is counted of each connection, minute by minute, for the gateway and through it for the two
//! parties. The data path only counts ([`PassingCounts`]); once a second what it has counted is read here, and
//! once a minute the sums of it are set aside until the control link tells them.
//!
//! Sums alone leave this host: nothing here has ever seen a message. What cannot be told within an hour is dropped.

mod meter;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use self::meter::{Meter, Reading};
use super::entries::{Entries, LiveConnection};
use super::stats::count;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::{
    MEASUREMENTS_CAUGHT_UP_AT_ONCE, MEASUREMENTS_SPREAD, MEASUREMENTS_TOLD_AT_ONCE, MEASUREMENTS_UNSENT_MAX,
};
use adit_core::domain::measurement::{BUCKETS, Figure, Latencies, Span, Sums, bucket_of};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::ToGateway;
use adit_core::protocol::mllp::AckCode;
use adit_core::protocol::rules::RuleBook;
use adit_net::identity::time::{LearntClock, TimeSource};

/// How often what is counted is read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Acknowledgements by code and by latency as the data path counts them: two additions for each, no lock and no
/// memory.
#[derive(Debug)]
pub struct PassingCounts {
    acks: [AtomicU64; AckCode::ALL.len()],
    /// Since they were taken last.
    latencies: [AtomicU64; BUCKETS],
}

/// Acknowledgements by what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Neither, by a code of the table.
    pub(crate) other: u64,
}

impl Default for PassingCounts {
    fn default() -> Self {
        Self {
            acks: std::array::from_fn(|_| AtomicU64::new(0)),
            latencies: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl PassingCounts {
    /// Counts an acknowledgement, and how long it took where that is known.
    pub fn note_ack(&self, code: AckCode, latency: Option<Duration>) {
        self.acks[code as usize].fetch_add(1, Ordering::Relaxed);
        self.note_latency(latency);
    }

    /// Counts how long an answer took whose outcome is counted elsewhere.
    pub fn note_latency(&self, latency: Option<Duration>) {
        if let Some(bucket) = latency.and_then(|latency| self.latencies.get(usize::from(bucket_of(latency))))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many acknowledgements say what.
    pub(crate) fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for (code, counted) in AckCode::ALL.into_iter().zip(&self.acks) {
            *match code {
                AckCode::Aa | AckCode::Ca => &mut outcomes.accepted,
                AckCode::Ae | AckCode::Ar | AckCode::Ce | AckCode::Cr => &mut outcomes.refused,
                AckCode::Other => &mut outcomes.other,
            } += count(counted);
        }
        outcomes
    }

    fn take_latencies(&self) -> Latencies {
        let mut taken = Latencies::default();
        for (bucket, counted) in (0..).zip(&self.latencies) {
            if counted.load(Ordering::Relaxed) > 0 {
                taken.add(bucket, counted.swap(0, Ordering::Relaxed));
            }
        }
        taken
    }
}

/// Of every connection of this agent's file, the minute that runs and those that are not told yet.
#[derive(Debug, Default)]
pub(crate) struct Measurements(Mutex<BTreeMap<ConnectionId, Measured>>);

#[derive(Debug, Default)]
struct Measured {
    meter: Meter,
    /// The oldest first.
    unsent: VecDeque<(Timestamp, Sums)>,
    /// Since when the connection is known to have ended. What is measured of it later is nobody's.
    ended: Option<Timestamp>,
}

/// How the gateway's word on a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Listed,
    /// For good: what was measured before is told all the same.
    Ended,
    /// Nothing is told of it.
    Unlisted,
}

impl Standing {
    pub(crate) fn of(connection: ConnectionId, rules: &RuleBook) -> Self {
        match rules.rule(connection) {
            Some(_) => Self::Listed,
            None if rules.is_ended(connection) => Self::Ended,
            None => Self::Unlisted,
        }
    }
}

impl Measurements {
    /// Reads what is counted once a second; runs until dropped.
    pub(crate) async fn run(self: Arc<Self>, entries: Arc<Entries>, clock: Arc<LearntClock>) {
        let mut ticks = interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            ticks.tick().await;
            let at = Instant::now();
            self.sample(&entries, clock.now(), at.duration_since(before));
            before = at;
        }
    }

    /// Reads what is counted; `passed` has passed since the last time.
    fn sample(&self, entries: &Entries, now: Timestamp, passed: Duration) {
        let mut ends = self.0.lock();
        for entry in entries.all() {
            let end = ends.entry(entry.config.id).or_default();
            let latencies = || entry.stats.passing.take_latencies();
            if let Some(minute) = end.meter.handle(&reading(entry), latencies, now, passed) {
                end.keep(minute, entry);
            }
        }
    }

    /// Takes what is to be told now of those connections that the gateway lists, or has ended: of the last minute each
    /// in its own part of the one that follows, so that agents do not speak all at once, and a little of what is older.
    pub(crate) fn take_due(
        &self,
        now: Timestamp,
        standing: impl Fn(ConnectionId) -> Standing,
    ) -> Vec<ToGateway> {
        let (mut last, mut older) = (MEASUREMENTS_TOLD_AT_ONCE, MEASUREMENTS_CAUGHT_UP_AT_ONCE);
        let mut due = Vec::new();
        for (connection, end) in self.0.lock().iter_mut() {
            match standing(*connection) {
                Standing::Unlisted => continue,
                Standing::Listed => end.ended = None,
                Standing::Ended => end.note_end(now),
            }
            let (is_last, is_due) = match end.unsent.back() {
                Some((at, _)) => (is_last(*at, now), is_due(*connection, *at, now)),
                None => continue,
            };
            if is_last && is_due && last > 0 {
                last -= 1;
                due.extend(end.unsent.pop_back().map(|minute| message(*connection, minute)));
            }
            while older > 0 && end.unsent.front().is_some_and(|(at, _)| !self::is_last(*at, now)) {
                older -= 1;
                due.extend(end.unsent.pop_front().map(|minute| message(*connection, minute)));
            }
        }
        due
    }
}

impl Measured {
    /// Remembers when the end was heard of first; what began after it goes.
    fn note_end(&mut self, now: Timestamp) {
        let ended = *self.ended.get_or_insert(now);
        self.unsent.retain(|(at, _)| *at <= ended);
    }

    fn keep(&mut self, minute: (Timestamp, Sums), entry: &LiveConnection) {
        if self.ended.is_some_and(|ended| ended < minute.0) {
            return;
        }
        if self.unsent.len() >= MEASUREMENTS_UNSENT_MAX
            && let Some((at, _)) = self.unsent.pop_front()
        {
            tracing::debug!(connection = %entry.config.name, %at, "what was measured then could not be told and is dropped");
        }
        self.unsent.push_back(minute);
    }
}

fn message(connection: ConnectionId, (at, sums): (Timestamp, Sums)) -> ToGateway {
    ToGateway::Measured { connection, at, sums }
}

/// Returns whether no other minute has ended since.
fn is_last(at: Timestamp, now: Timestamp) -> bool {
    now < at.saturating_add(2 * Span::Minute.length())
}

/// Returns whether it is the connection's turn in the minute that follows.
fn is_due(connection: ConnectionId, at: Timestamp, now: Timestamp) -> bool {
    let seconds = u32::try_from(MEASUREMENTS_SPREAD.as_secs()).unwrap_or(1).max(1);
    // Ids are random, so any part of one spreads them.
    let [.., a, b] = *connection.as_bytes();
    let turn = Duration::from_secs(u64::from(u32::from(u16::from_be_bytes([a, b])) % seconds));
    now >= at.saturating_add(Span::Minute.length() + turn)
}

fn reading(entry: &LiveConnection) -> Reading {
    let stats = &entry.stats;
    let mut counted = Sums::default();
    for (figure, code) in Figure::ACKS.into_iter().zip(&stats.passing.acks) {
        counted.add(figure, count(code));
    }
    for (figure, counter) in [
        (Figure::Messages, &stats.messages),
        (Figure::BytesSent, &stats.bytes.into_tunnel),
        (Figure::BytesReceived, &stats.bytes.out_of_tunnel),
        (Figure::ObjectsStored, &stats.dicom.stored),
        (Figure::ObjectsFailed, &stats.dicom.failed),
    ] {
        counted.add(figure, count(counter));
    }
    Reading { counted, tunnel: entry.status().tunnel }
}

#[cfg(test)]
mod tests;
