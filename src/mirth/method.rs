//! The methods that logs and audits name. A partner may send any token of 32 letters as one, so what is
//! none of these is named by no word of the partner's.

/// Registered methods that some client of Mirth might send (RFC 9110 §9, RFC 5789).
const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
const OTHER: &str = "other";

/// Returns the method's own name where it is a known one, and `other` where it is not.
#[must_use]
pub fn as_logged(method: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == method).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_method_is_named() {
        assert_eq!(KNOWN.map(as_logged), KNOWN);
        for method in ["", "PID|", "PID|1||DOE^JANE", "get", "PROPFIND", "GETX"] {
            assert_eq!(as_logged(method), "other", "{method}");
        }
    }
}
