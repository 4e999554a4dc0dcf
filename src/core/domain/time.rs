//! A point in time as the gateway counts it. Nothing here asks a clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, in gateway time. Prints as RFC 3339 with seconds, and reads that too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads a date as HTTP writes it, as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    #[must_use]
    pub fn from_http_date(text: &str) -> Option<Self> {
        let read = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self(read.as_millisecond()))
    }

    /// Returns whole seconds, as certificates count.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns how long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.as_secs()) {
            Ok(instant) => f.pad(&instant.to_string()),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let read: Result<jiff::Timestamp, _> = text.parse();
        read.map(|at| Self(at.as_millisecond())).map_err(|_| InvalidTime)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a point in time (RFC 3339), such as 2026-11-24T09:00:00Z")]
pub struct InvalidTime;

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970, or a time as in RFC 3339")
    }

    fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Timestamp, E> {
        Ok(Timestamp(millis))
    }

    fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Timestamp, E> {
        let found = de::Unexpected::Unsigned(millis);
        i64::try_from(millis).map(Timestamp).map_err(|_| E::invalid_value(found, &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(|InvalidTime| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_back_whether_told_to_programs_or_people() {
        let read = |text: &str| serde_json::from_str::<Timestamp>(text).ok();
        let at = Timestamp::from_millis(1_795_510_800_000);
        assert_eq!(read(&serde_json::to_string(&at).unwrap()), Some(at));
        assert_eq!(read(&format!("\"{at}\"")), Some(at));
        assert_eq!(read("-1"), Some(Timestamp::from_millis(-1)));
        for wrong in ["\"yesterday\"", "1.5", "18446744073709551615", "null"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_timestamp_prints_as_utc_seconds() {
        assert_eq!(Timestamp::from_millis(1_795_510_800_999).to_string(), "2026-11-24T09:00:00Z");
    }

    #[test]
    fn a_date_of_http_is_read_and_nothing_else_taken_for_one() {
        let read = Timestamp::from_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read, Some(Timestamp::from_millis(784_111_777_000)));
        for wrong in ["", "120", "Mon, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"] {
            assert_eq!(Timestamp::from_http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_span_to_a_later_moment_is_zero() {
        let now = Timestamp::from_millis(1_000);
        assert_eq!(now.since(now.saturating_add(Duration::from_secs(5))), Duration::ZERO);
    }
}
