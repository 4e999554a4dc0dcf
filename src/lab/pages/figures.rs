//! What was measured of the console, as text and as JSON.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::browser::Got;
use crate::measure::Histogram;

/// One page, as it came again and again.
#[derive(Debug, Default)]
pub(super) struct Tally {
    took: Histogram,
    bytes: usize,
}

impl Tally {
    pub(super) fn note(&mut self, got: Got) {
        self.took.record(got.took);
        self.bytes = self.bytes.max(got.bytes);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.took.add(&other.took);
        self.bytes = self.bytes.max(other.bytes);
    }
}

#[derive(Debug, Serialize)]
pub struct PageFigures {
    /// Without ids.
    pub page: String,
    /// The most that it had.
    pub bytes: usize,
    pub times: u64,
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub p50: Duration,
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub p99: Duration,
    /// While others are asked for at the same time.
    #[serde(rename = "p50_at_once_seconds", serialize_with = "seconds")]
    pub p50_at_once: Duration,
    #[serde(rename = "p99_at_once_seconds", serialize_with = "seconds")]
    pub p99_at_once: Duration,
}

impl PageFigures {
    pub(super) fn of(alone: &[(String, Tally)], together: &[(String, Tally)]) -> Vec<Self> {
        let pairs = alone.iter().zip(together);
        pairs
            .map(|((path, alone), (_, together))| Self {
                page: without_ids(path),
                bytes: alone.bytes.max(together.bytes),
                times: alone.took.count(),
                p50: alone.took.quantile(0.5),
                p99: alone.took.quantile(0.99),
                p50_at_once: together.took.quantile(0.5),
                p99_at_once: together.took.quantile(0.99),
            })
            .collect()
    }
}

/// Returns a path with `{id}` for what is as long as one.
fn without_ids(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let parts: Vec<_> = path.split('/').map(|part| if part.len() == 36 { "{id}" } else { part }).collect();
    let query = query.map(|query| if query.starts_with("after=") { "after={place}" } else { query });
    query.map_or_else(|| parts.join("/"), |query| format!("{}?{query}", parts.join("/")))
}

/// What open streams of events cost the gateway.
#[derive(Debug, Default, Serialize)]
pub struct StreamFigures {
    pub streams: usize,
    /// That were open to the end.
    pub open: usize,
    #[serde(rename = "more_resident_bytes")]
    pub more_resident: u64,
    /// Without them, with them at rest, and with them while things change.
    #[serde(rename = "cpu_percent_without")]
    pub percent_without: f64,
    #[serde(rename = "cpu_percent_at_rest")]
    pub percent_at_rest: f64,
    #[serde(rename = "cpu_percent_with_changes")]
    pub percent_with_changes: f64,
    /// Changes of connections, by people.
    pub changes: u64,
    /// Events that all streams together were told.
    pub events: u64,
}

#[derive(Debug, Serialize)]
pub struct Figures {
    pub servers: usize,
    pub connections: usize,
    #[serde(rename = "set_up_seconds", serialize_with = "seconds")]
    pub set_up: Duration,
    #[serde(rename = "resident_bytes")]
    pub resident_empty: u64,
    /// After all pages.
    #[serde(rename = "resident_bytes_after_pages")]
    pub resident_pages: u64,
    /// How many asked for pages at the same time, where several did.
    pub at_once: usize,
    pub pages: Vec<PageFigures>,
    pub streams: StreamFigures,
}

impl Figures {
    /// Returns whether every stream stayed open and was told something.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.streams.open == self.streams.streams && (self.streams.open == 0 || self.streams.events > 0)
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, connections, at_once, streams, .. } = self;
        writeln!(
            f,
            "{servers} servers, {connections} connections, written in {:.1} s",
            self.set_up.as_secs_f64()
        )?;
        writeln!(
            f,
            "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "page, times in ms",
            "bytes",
            "p50",
            "p99",
            format!("p50 x{at_once}"),
            format!("p99 x{at_once}")
        )?;
        for page in &self.pages {
            let [p50, p99, p50_at_once, p99_at_once] =
                [page.p50, page.p99, page.p50_at_once, page.p99_at_once]
                    .map(|it| format!("{:.1}", it.as_secs_f64() * 1e3));
            writeln!(
                f,
                "{:<44} {:>8} {p50:>8} {p99:>8} {p50_at_once:>8} {p99_at_once:>8}",
                page.page, page.bytes
            )?;
        }
        writeln!(
            f,
            "memory {} KiB at the start, {} KiB after the pages",
            self.resident_empty / 1_024,
            self.resident_pages / 1_024
        )?;
        writeln!(
            f,
            "{} of {} streams of events: {} KiB more; processor {:.1} % of a core without, {:.1} % with them, {:.1} % while {} changes are told by {} events",
            streams.open,
            streams.streams,
            streams.more_resident / 1_024,
            streams.percent_without,
            streams.percent_at_rest,
            streams.percent_with_changes,
            streams.changes,
            streams.events
        )
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_without_its_ids() {
        let id = "00000000-0000-4000-8000-000000000000";
        assert_eq!(without_ids(&format!("/connections/{id}?span=24h")), "/connections/{id}?span=24h");
        assert_eq!(without_ids("/audit?after=0123"), "/audit?after={place}");
        assert_eq!(without_ids("/"), "/");
    }
}
