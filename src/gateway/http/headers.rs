//! Headers that every answer carries, so that a browser does nothing with it that nobody meant.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};

/// What an endpoint may set otherwise.
const UNLESS_SET: [(HeaderName, HeaderValue); 3] = [
    // Whatever an answer of the API holds, it is for its asker alone.
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];
const ALWAYS: [(HeaderName, HeaderValue); 1] =
    [(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Puts them on an answer. Only where browsers trust the certificate may they be told never to do without.
pub(super) fn dress(headers: &mut HeaderMap, is_public: bool) {
    for (name, value) in UNLESS_SET {
        headers.entry(name).or_insert(value);
    }
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if is_public {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
}
