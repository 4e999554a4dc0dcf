//! Measures taken by stand-ins: a latency histogram of bounded size, and the comparison of what a
//! sender was told with what a receiver recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;

use super::hl7::AckCode;
use super::mirth::Received;
use super::sender::{SendOutcome, Sent};

/// SHA-256 of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self::from(digest::digest(&digest::SHA256, payload))
    }

    /// Returns the digest of what was put into a context of SHA-256, piece by piece.
    #[must_use]
    pub fn finish(context: digest::Context) -> Self {
        Self::from(context.finish())
    }

    fn from(digest: digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..8]))
    }
}

/// Steps within each power of two: a quantile is at most 1/128 above the value it stands for.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.ilog2();

/// Durations from a nanosecond to centuries in a fixed 64 KB, exact to under one per cent.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let octaves = u64::from(u64::BITS - STEP_BITS) + 1;
        let length = usize::try_from(octaves * STEPS).expect("some thousand steps fit");
        Self { counts: vec![0; length], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[step_of(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(duration);
    }

    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The duration that `share` (0 to 1) of all recorded ones do not exceed; zero when empty.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank needs no more than the 53 bits of a float"
    )]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_edge(step)).min(self.max);
            }
        }
        Duration::ZERO
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|share| self.quantile(share));
        write!(f, "{} recorded, p50 {p50:?}, p99 {p99:?}, max {:?}", self.total, self.max)
    }
}

/// Returns the step of a duration: below `STEPS` a step is a nanosecond; above, each octave has `STEPS` of
/// them.
fn step_of(nanoseconds: u64) -> usize {
    let octave = nanoseconds.max(1).ilog2().saturating_sub(STEP_BITS - 1);
    let shift = octave.saturating_sub(1);
    let step = u64::from(shift) * STEPS + (nanoseconds >> shift);
    usize::try_from(step).expect("some thousand steps fit")
}

fn upper_edge(step: usize) -> u64 {
    let step = step as u64;
    let shift = (step / STEPS).saturating_sub(1);
    let first = (step - shift * STEPS) << shift;
    first.saturating_add((1 << shift) - 1)
}

/// How what arrived differs from what was sent. Empty lists mean exactly once, unchanged, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Acknowledged to the sender, and not recorded by the receiver: promise I3 broken.
    pub acknowledged_but_missing: Vec<String>,
    /// Recorded more than once: promise I4 broken.
    pub repeated: Vec<String>,
    /// Recorded with other bytes than sent: promise I1 broken.
    pub altered: Vec<String>,
    /// Recorded, and sent by none of these senders.
    pub unknown: Vec<String>,
    /// Recorded after a message that its own TCP connection sent later.
    pub out_of_order: Vec<String>,
    /// Sent, and answered with anything but `AA`.
    pub not_accepted: Vec<String>,
}

impl Differences {
    /// Compares what senders were told with what a stand-in Mirth recorded, both in their order.
    #[must_use]
    pub fn between<'a>(sent: &[Sent], received: impl IntoIterator<Item = &'a Received>) -> Self {
        let mut differences = Self::default();
        let expected: BTreeMap<&str, (usize, &Sent)> =
            sent.iter().enumerate().map(|(place, sent)| (sent.control_id.as_str(), (place, sent))).collect();
        let mut times_seen: BTreeMap<&str, u32> = BTreeMap::new();
        let mut last_place: BTreeMap<u64, usize> = BTreeMap::new();
        for message in received {
            let id = message.control_id.as_str();
            let Some(&(place, sent)) = expected.get(id) else {
                differences.unknown.push(id.to_owned());
                continue;
            };
            let times = times_seen.entry(id).or_default();
            *times += 1;
            if *times == 2 {
                differences.repeated.push(id.to_owned());
            }
            if message.digest != sent.digest {
                differences.altered.push(id.to_owned());
            }
            if last_place.insert(message.connection, place).is_some_and(|last| last > place) {
                differences.out_of_order.push(id.to_owned());
            }
        }
        for sent in sent {
            let SendOutcome::Answered { code, .. } = sent.outcome else {
                differences.not_accepted.push(sent.control_id.clone());
                continue;
            };
            if code != AckCode::Aa {
                differences.not_accepted.push(sent.control_id.clone());
            }
            if !times_seen.contains_key(sent.control_id.as_str()) {
                differences.acknowledged_but_missing.push(sent.control_id.clone());
            }
        }
        differences
    }

    /// Returns whether every message arrived exactly once, unchanged, in order, and was accepted.
    #[must_use]
    pub fn none(&self) -> bool {
        self.not_accepted.is_empty() && self.only_refusals()
    }

    /// Returns whether nothing acknowledged is missing and nothing arrived that should not have, though some
    /// messages may have failed: what must hold under any fault.
    #[must_use]
    pub fn only_refusals(&self) -> bool {
        let Self { acknowledged_but_missing, repeated, altered, unknown, out_of_order, not_accepted: _ } =
            self;
        [acknowledged_but_missing, repeated, altered, unknown, out_of_order]
            .iter()
            .all(|list| list.is_empty())
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("acknowledged but missing", &self.acknowledged_but_missing),
            ("repeated", &self.repeated),
            ("altered", &self.altered),
            ("never sent", &self.unknown),
            ("out of order", &self.out_of_order),
            ("not accepted", &self.not_accepted),
        ];
        let mut separator = "";
        for (name, list) in lists {
            let Some(first) = list.first() else { continue };
            write!(f, "{separator}{} {name} (first: {first})", list.len())?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no difference") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_exact_to_one_per_cent_from_nanoseconds_to_hours() {
        for nanoseconds in (0..62).flat_map(|shift| [1_u64 << shift, (1 << shift) + (1 << shift) / 3]) {
            let mut histogram = Histogram::default();
            histogram.record(Duration::from_nanos(nanoseconds));
            histogram.record(Duration::from_secs(u64::from(u32::MAX)));
            let found = u64::try_from(histogram.quantile(0.5).as_nanos()).unwrap();
            assert!(found >= nanoseconds, "{found} for {nanoseconds}");
            assert!(found - nanoseconds <= nanoseconds / 100, "{found} for {nanoseconds}");
        }
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_nanos(u64::MAX));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(u64::MAX));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn quantiles_of_added_histograms_are_those_of_all_durations() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        (1..=50).for_each(|n| low.record(Duration::from_nanos(n)));
        (51..=100).for_each(|n| high.record(Duration::from_nanos(n)));
        low.add(&high);
        assert_eq!(low.quantile(0.5), Duration::from_nanos(50));
        assert_eq!(low.quantile(0.99), Duration::from_nanos(99));
        assert_eq!((low.count(), low.max()), (100, Duration::from_nanos(100)));
    }

    fn sent(control_id: &str, code: AckCode) -> Sent {
        let outcome = SendOutcome::Answered { code, latency: Duration::ZERO };
        Sent {
            control_id: control_id.into(),
            digest: Digest::of(control_id.as_bytes()),
            bytes: 1,
            connection: 0,
            outcome,
        }
    }

    fn received(control_id: &str, payload: &str) -> Received {
        Received {
            connection: 0,
            control_id: control_id.into(),
            message_type: String::new(),
            digest: Digest::of(payload.as_bytes()),
            bytes: 1,
            answered: None,
        }
    }

    #[track_caller]
    fn check(arrived: &[(&str, &str)], expected: &str) {
        let sent = [sent("1", AckCode::Aa), sent("2", AckCode::Aa)];
        let journal: Vec<Received> = arrived.iter().map(|(id, payload)| received(id, payload)).collect();
        assert_eq!(Differences::between(&sent, &journal).to_string(), expected);
    }

    #[test]
    fn every_way_to_differ_is_named() {
        check(&[("1", "1"), ("2", "2")], "no difference");
        check(&[("1", "1")], "1 acknowledged but missing (first: 2)");
        check(&[("1", "1"), ("2", "2"), ("2", "2")], "1 repeated (first: 2)");
        check(&[("1", "x"), ("2", "2")], "1 altered (first: 1)");
        check(&[("2", "2"), ("1", "1")], "1 out of order (first: 1)");
        check(&[("1", "1"), ("2", "2"), ("3", "3")], "1 never sent (first: 3)");
    }

    #[test]
    fn a_refused_message_is_a_difference_but_breaks_no_promise() {
        let differences = Differences::between(&[sent("1", AckCode::Ar)], &[received("1", "1")]);
        assert!(!differences.none() && differences.only_refusals());
        let reset = Sent { outcome: SendOutcome::Reset, ..sent("1", AckCode::Aa) };
        let differences = Differences::between(&[reset], &[]);
        assert!(!differences.none() && differences.only_refusals());
    }
}
