//! What people and their programs ask of a gateway over HTTP.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use adit_core::domain::time::Timestamp;

use super::as_gauge;

/// Labelled `route`, a template of ours and never a path, and `status`, its class.
pub(super) const REQUESTS: &str = "adit_gateway_http_requests_total";
/// Labelled `route`.
pub(super) const SECONDS: &str = "adit_gateway_http_request_seconds";
/// Labelled `whom`, one of a fixed few words.
pub(super) const RATE_LIMITED: &str = "adit_gateway_http_rate_limited_total";
pub const PEOPLE_CONNECTIONS: &str = "adit_gateway_http_connections";
pub const EVENT_STREAMS: &str = "adit_gateway_event_streams";
pub(super) const CONSOLE_CERTIFICATE_EXPIRES: &str = "adit_gateway_console_certificate_expiry_timestamp";

/// Upper bounds in seconds: from a list out of memory to an act that waited for its database.
pub(super) const SECONDS_BUCKETS: [f64; 12] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counts a request that was answered.
pub fn http_request(route: &str, status: u16, took: Duration) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    counter!(REQUESTS, "route" => route.to_owned(), "status" => class).increment(1);
    histogram!(SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
}

/// Counts one who was told to ask again later.
pub fn rate_limited(whom: &'static str) {
    counter!(RATE_LIMITED, "whom" => whom).increment(1);
}

/// Publishes until when the certificate that browsers see is good.
pub fn console_certificate_expires(at: Timestamp) {
    gauge!(CONSOLE_CERTIFICATE_EXPIRES).set(as_gauge(u64::try_from(at.as_secs()).unwrap_or(0)));
}
