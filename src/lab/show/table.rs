//! The demo's closing table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::Histogram;

/// One row of the closing table.
#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub sent: usize,
    /// Acknowledged with AA, or answered with success.
    pub accepted: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub bytes_per_second: u64,
    pub path: &'static str,
}

impl Row {
    /// Makes a row of `sent` and `accepted` of `bytes` in all, answered after `latencies`, within `took`.
    pub(super) fn new(
        what: &str,
        [sent, accepted]: [usize; 2],
        latencies: &Histogram,
        (bytes, took): (u64, Duration),
        path: &'static str,
    ) -> Self {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            what: what.into(),
            sent,
            accepted,
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            bytes_per_second: bytes.saturating_mul(1000) / millis,
            path,
        }
    }
}

/// Returns the closing table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<30} {:>8} {:>8} {:>10} {:>10} {:>8}  path\n",
        "", "sent", "accepted", "p50 ms", "p99 ms", "MB/s"
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<30} {:>8} {:>8} {:>10.3} {:>10.3} {:>6}.{}  {}",
            row.what,
            row.sent,
            row.accepted,
            row.p50.as_secs_f64() * 1e3,
            row.p99.as_secs_f64() * 1e3,
            row.bytes_per_second / 1_000_000,
            row.bytes_per_second / 100_000 % 10,
            row.path
        );
    }
    text
}
