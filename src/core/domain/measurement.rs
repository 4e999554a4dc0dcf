//! What is measured of one end of a connection in a step of time: sums alone, which merge exactly. No word or
//! number out of a message is among them, and there is no place where one could stand.
//!
//! Kept as numbers behind tags, so that a build reads past the figures that a newer one has added.

mod latencies;
mod written;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::limits::{
    MEASUREMENT_FIGURE_MAX, MEASUREMENT_HOURS_KEPT, MEASUREMENT_MINUTES_KEPT, MEASUREMENT_STEPS_MAX,
};
use super::path::PathKind;
use super::time::Timestamp;

pub use latencies::{BUCKETS, Latencies, bucket_of};
pub use written::UnreadableSums;

/// How long the steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    Minute,
    Hour,
}

impl Span {
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }

    /// Returns for how long such steps are shown.
    #[must_use]
    pub const fn kept(self) -> Duration {
        match self {
            Self::Minute => MEASUREMENT_MINUTES_KEPT,
            Self::Hour => MEASUREMENT_HOURS_KEPT,
        }
    }

    /// Returns how many steps are shown at once, at most: all that are kept.
    #[must_use]
    pub const fn steps_max(self) -> usize {
        match self {
            Self::Minute => MEASUREMENT_STEPS_MAX[0],
            Self::Hour => MEASUREMENT_STEPS_MAX[1],
        }
    }

    /// Returns when the step began in which `at` lies.
    #[must_use]
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let length = i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(at.as_millis().saturating_sub(at.as_millis().rem_euclid(length)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Span {
    type Err = UnknownSpan;

    fn from_str(text: &str) -> Result<Self, UnknownSpan> {
        Self::ALL.into_iter().find(|span| span.as_str() == text).ok_or(UnknownSpan)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write minute or hour")]
pub struct UnknownSpan;

/// One number of the sums. New ones go to the end: the place is the tag under which it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// For how much of the step the agent measured.
    MeasuredMillis,
    /// For how much of it the tunnel was up, its peer heard.
    UpMillis,
    /// And over which path.
    DirectMillis,
    RelayMillis,
    TcpMillis,
    Messages,
    AckAa,
    AckAe,
    AckAr,
    AckCa,
    AckCe,
    AckCr,
    AckOther,
    /// Into the tunnel.
    BytesSent,
    /// Out of it.
    BytesReceived,
    /// DICOM objects answered with success or a warning.
    ObjectsStored,
    /// Answered with a failure.
    ObjectsFailed,
    PacketsSent,
    PacketsLost,
    /// The sum of as many samples.
    RttMicros,
    RttSamples,
}

impl Figure {
    pub const ALL: [Self; 21] = [
        Self::MeasuredMillis,
        Self::UpMillis,
        Self::DirectMillis,
        Self::RelayMillis,
        Self::TcpMillis,
        Self::Messages,
        Self::AckAa,
        Self::AckAe,
        Self::AckAr,
        Self::AckCa,
        Self::AckCe,
        Self::AckCr,
        Self::AckOther,
        Self::BytesSent,
        Self::BytesReceived,
        Self::ObjectsStored,
        Self::ObjectsFailed,
        Self::PacketsSent,
        Self::PacketsLost,
        Self::RttMicros,
        Self::RttSamples,
    ];

    /// Acknowledgements by their code, in the order of HL7 table 0008; the last are all others.
    pub const ACKS: [Self; 7] =
        [Self::AckAa, Self::AckAe, Self::AckAr, Self::AckCa, Self::AckCe, Self::AckCr, Self::AckOther];

    /// Returns the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MeasuredMillis => "measured_ms",
            Self::UpMillis => "up_ms",
            Self::DirectMillis => "direct_ms",
            Self::RelayMillis => "relay_ms",
            Self::TcpMillis => "tcp_ms",
            Self::Messages => "messages",
            Self::AckAa => "ack_aa",
            Self::AckAe => "ack_ae",
            Self::AckAr => "ack_ar",
            Self::AckCa => "ack_ca",
            Self::AckCe => "ack_ce",
            Self::AckCr => "ack_cr",
            Self::AckOther => "ack_other",
            Self::BytesSent => "bytes_sent",
            Self::BytesReceived => "bytes_received",
            Self::ObjectsStored => "objects_stored",
            Self::ObjectsFailed => "objects_failed",
            Self::PacketsSent => "packets_sent",
            Self::PacketsLost => "packets_lost",
            Self::RttMicros => "rtt_micros",
            Self::RttSamples => "rtt_samples",
        }
    }

    /// Returns the time spent on such a path.
    #[must_use]
    pub const fn of_path(path: PathKind) -> Self {
        match path {
            PathKind::Direct => Self::DirectMillis,
            PathKind::Relay => Self::RelayMillis,
            PathKind::Tcp => Self::TcpMillis,
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.as_str() == word)
    }

    const fn place(self) -> usize {
        self as usize
    }
}

/// What was measured of one end of a connection in one step, or in several together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    figures: [u64; Figure::ALL.len()],
    /// From a message to its acknowledgement.
    latencies: Latencies,
}

impl Sums {
    #[must_use]
    pub const fn get(&self, figure: Figure) -> u64 {
        self.figures[figure.place()]
    }

    pub const fn add(&mut self, figure: Figure, more: u64) {
        let sum = &mut self.figures[figure.place()];
        *sum = sum.saturating_add(more);
    }

    #[must_use]
    pub const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    pub const fn latencies_mut(&mut self) -> &mut Latencies {
        &mut self.latencies
    }

    /// Adds another step: in any order and grouping the same comes out.
    pub fn merge(&mut self, other: &Self) {
        for figure in Figure::ALL {
            self.add(figure, other.get(figure));
        }
        self.latencies.merge(&other.latencies);
    }

    /// Returns them as far as they can be true of a step so long; what an agent says beyond that is left out.
    #[must_use]
    pub fn capped(mut self, span: Span) -> Self {
        let length = u64::try_from(span.length().as_millis()).unwrap_or(u64::MAX);
        for sum in &mut self.figures {
            *sum = (*sum).min(MEASUREMENT_FIGURE_MAX);
        }
        self.cap(Figure::MeasuredMillis, length);
        self.cap(Figure::UpMillis, self.get(Figure::MeasuredMillis));
        let mut left = self.get(Figure::UpMillis);
        for path in PathKind::ALL.map(Figure::of_path) {
            self.cap(path, left);
            left -= self.get(path);
        }
        self.cap(Figure::PacketsLost, self.get(Figure::PacketsSent));
        self.latencies.cap(MEASUREMENT_FIGURE_MAX);
        self
    }

    const fn cap(&mut self, figure: Figure, most: u64) {
        let sum = &mut self.figures[figure.place()];
        if *sum > most {
            *sum = most;
        }
    }

    /// Returns all acknowledgements, whatever their codes.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        Figure::ACKS.into_iter().fold(0, |sum, code| sum.saturating_add(self.get(code)))
    }

    /// Returns the share of `length` in which the tunnel was up; what was not measured counts as down.
    #[must_use]
    pub fn up_share(&self, length: Duration) -> f64 {
        share(self.get(Figure::UpMillis), u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the share of its packets that were lost, if it sent any.
    #[must_use]
    pub fn loss_share(&self) -> Option<f64> {
        let sent = self.get(Figure::PacketsSent);
        (sent > 0).then(|| share(self.get(Figure::PacketsLost), sent))
    }

    /// Returns the mean round-trip time, if any was seen.
    #[must_use]
    pub fn rtt_mean(&self) -> Option<Duration> {
        let mean = self.get(Figure::RttMicros).checked_div(self.get(Figure::RttSamples));
        mean.map(Duration::from_micros)
    }

    /// Returns the kind of path that was used for the longest, if any was known.
    #[must_use]
    pub fn path(&self) -> Option<PathKind> {
        let used = |path: &PathKind| self.get(Figure::of_path(*path));
        PathKind::ALL.into_iter().rev().max_by_key(used).filter(|path| used(path) > 0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people has far fewer digits")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

#[cfg(test)]
mod tests;
