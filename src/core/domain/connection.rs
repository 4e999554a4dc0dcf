//! What a connection is: its type, what it carries, and which end one stands at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Fixed for the life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionType {
    P2p,
    AdminRw,
    AdminRo,
}

impl ConnectionType {
    pub const ALL: [Self; 3] = [Self::P2p, Self::AdminRw, Self::AdminRo];

    /// Returns the label, shown to people exactly as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P2p => "P2P",
            Self::AdminRw => "Admin RW",
            Self::AdminRo => "Admin RO",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a channel speaks. Bytes pass unchanged whichever it is; the protocol decides the stall
/// limit and which observer watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Mllp,
    Dicom,
    Tcp,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Mllp, Self::Dicom, Self::Tcp];

    /// Returns the word as written in files and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mllp => "mllp",
            Self::Dicom => "dicom",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
            .ok_or_else(|| UnknownProtocol { found: text.into() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no protocol; write mllp, dicom or tcp")]
pub struct UnknownProtocol {
    found: String,
}

/// The end of a connection a server stands at. For admin connections the managing side is the
/// source and the managed server the target; the source always dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Source,
    Target,
}

impl Side {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
