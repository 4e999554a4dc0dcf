//! Points in time as the API writes them (RFC 3339, UTC).

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as NoTime, StrDeserializer};

use adit_core::domain::time::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Returns the milliseconds from 1970 until now.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the milliseconds since 1970, if it is a point in time.
pub(super) fn millis(at: &str) -> Option<i64> {
    let text: StrDeserializer<'_, NoTime> = at.into_deserializer();
    Timestamp::deserialize(text).ok().map(Timestamp::as_millis)
}

/// Returns whether days are what is written on an axis that is `span_ms` long.
pub(super) const fn is_in_days(span_ms: i64) -> bool {
    span_ms > 2 * DAY_MS
}

/// Writes a place on an axis that is `span_ms` long: the hour, or the day.
pub(super) fn axis_text(at_ms: i64, span_ms: i64) -> String {
    let text = Timestamp::from_millis(at_ms).to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let hour = time.get(..5).unwrap_or_default();
    if is_in_days(span_ms) { date.get(5..).unwrap_or_default().to_owned() } else { format!("{hour} UTC") }
}
