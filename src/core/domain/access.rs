//! What an admin connection lets a partner do on the managed Mirth, and what its owner keeps back or
//! adds. Which request falls under which of these is known in `mirth`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::connection::ConnectionType;

/// Full control, or view only; the lesser allows less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

impl Access {
    pub const ALL: [Self; 2] = [Self::ReadOnly, Self::ReadWrite];

    /// Returns the word as written in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }

    /// Returns what a connection of this type allows; none for channel data.
    #[must_use]
    pub const fn of(kind: ConnectionType) -> Option<Self> {
        match kind {
            ConnectionType::P2p => None,
            ConnectionType::AdminRw => Some(Self::ReadWrite),
            ConnectionType::AdminRo => Some(Self::ReadOnly),
        }
    }

    /// Returns the type of the connections that allow this much.
    #[must_use]
    pub const fn kind(self) -> ConnectionType {
        match self {
            Self::ReadOnly => ConnectionType::AdminRo,
            Self::ReadWrite => ConnectionType::AdminRw,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads that the owner of a managed server can keep back from view-only partners (`hide`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Message content, metadata, attachments and searches: PHI.
    Messages,
    /// Channels, code templates and global scripts, which may hold passwords.
    Scripts,
    ConfigurationMap,
    ServerSettings,
    ServerLog,
    Users,
    Events,
    GlobalMaps,
}

impl Category {
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::Scripts,
        Self::ConfigurationMap,
        Self::ServerSettings,
        Self::ServerLog,
        Self::Users,
        Self::Events,
        Self::GlobalMaps,
    ];

    /// Returns the word as written in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Scripts => "scripts",
            Self::ConfigurationMap => "configuration-map",
            Self::ServerSettings => "server-settings",
            Self::ServerLog => "server-log",
            Self::Users => "users",
            Self::Events => "events",
            Self::GlobalMaps => "global-maps",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads that view-only partners get only where the owner says so (`show`): they hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptIn {
    ServerConfiguration,
    ServerProperty,
}

impl OptIn {
    pub const ALL: [Self; 2] = [Self::ServerConfiguration, Self::ServerProperty];

    /// Returns the word as written in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerConfiguration => "server-configuration",
            Self::ServerProperty => "server-property",
        }
    }
}

impl fmt::Display for OptIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_type_says_what_it_allows_from_read_only_up() {
        assert_eq!(
            ConnectionType::ALL.map(Access::of),
            [None, Some(Access::ReadWrite), Some(Access::ReadOnly)]
        );
        assert!(Access::ReadOnly < Access::ReadWrite);
        assert!(Access::ALL.into_iter().all(|access| Access::of(access.kind()) == Some(access)));
    }
}
