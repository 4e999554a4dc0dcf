//! What a newcomer and the gateway say to each other: one request, one answer, JSON over HTTP/1.1.
//!
//! Everything here travels inside TLS whose CA key the newcomer has checked. `Debug` never shows
//! the token.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::id::{KeyFingerprint, RouteId, ServerId};
use crate::domain::time::Timestamp;
use crate::protocol::text;

pub const PATH: &str = "/api/v1/enrol";

#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    pub server: ServerId,
    /// As the connector file has it.
    pub token: Zeroizing<String>,
    /// A certificate signing request, DER in hex.
    pub csr: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request {{ server: {}, token: [secret] }}", self.server)
    }
}

/// Where a token is asked about without being used up.
pub const TOKEN_PATH: &str = "/api/v1/enrol/token";

/// Whether this token would enrol this server now, with this key.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenQuestion {
    pub server: ServerId,
    pub token: Zeroizing<String>,
    /// The one that the host has made, if it has.
    pub key: Option<KeyFingerprint>,
}

impl fmt::Debug for TokenQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenQuestion {{ server: {}, token: [secret] }}", self.server)
    }
}

/// It would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGood {
    pub expires: Timestamp,
    pub gateway_route: RouteId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// DER in hex.
    pub leaf: String,
    pub ca: String,
    pub route: RouteId,
    pub gateway_route: RouteId,
    pub trust_domain: String,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One line for the operator of the agent.
    #[serde(deserialize_with = "text::reason")]
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_never_shows_its_token() {
        let request = Request {
            server: ServerId::from_bytes([1; 16]),
            token: Zeroizing::new("0badcafe".into()),
            csr: String::new(),
        };
        assert!(!format!("{request:?}").contains("0badcafe"));
        let sent = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&sent).unwrap().token.as_str(), "0badcafe");
        let question =
            TokenQuestion { server: ServerId::from_bytes([1; 16]), token: request.token, key: None };
        assert!(!format!("{question:?}").contains("0badcafe"));
    }
}
