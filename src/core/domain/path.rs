//! The paths a tunnel can take between two agents, in the words of DOMAIN §4, and what an owner
//! allows of them. How a path is chosen is decided in `protocol::route`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The path in use; the better one is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// UDP between the agents, to an address the peer announced or was seen at.
    Direct,
    /// UDP through a relay, which forwards and cannot read.
    Relay,
    /// The same relay over TCP 443: a WebSocket that every network lets out.
    Tcp,
}

impl PathKind {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Relay, Self::Tcp];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What takes packets to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A datagram each.
    Udp,
    /// Batches of packets in the messages of a WebSocket.
    Tcp,
}

impl Carrier {
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The paths an owner allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathChoice {
    /// The best that answers.
    #[default]
    Auto,
    Direct,
    Relay,
}

impl PathChoice {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Direct, Self::Relay];

    #[must_use]
    pub const fn allows(self, path: PathKind) -> bool {
        matches!(
            (self, path),
            (Self::Auto, _) | (Self::Direct, PathKind::Direct) | (Self::Relay, PathKind::Relay)
        )
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for PathChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no path; write auto, direct or relay")]
pub struct UnknownPath {
    found: String,
}

impl FromStr for PathChoice {
    type Err = UnknownPath;

    fn from_str(text: &str) -> Result<Self, UnknownPath> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| UnknownPath { found: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_allows_what_its_word_says() {
        for (choice, direct, relay) in [
            (PathChoice::Auto, true, true),
            (PathChoice::Direct, true, false),
            (PathChoice::Relay, false, true),
        ] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert_eq!((choice.allows(PathKind::Direct), choice.allows(PathKind::Relay)), (direct, relay));
        }
        let error = "tcp".parse::<PathChoice>().unwrap_err();
        assert_eq!(error.to_string(), "`tcp` is no path; write auto, direct or relay");
    }

    #[test]
    fn a_direct_path_is_better_than_the_relay() {
        assert!(PathKind::Direct < PathKind::Relay);
    }
}
