//! What may happen on a connection now: the agent's file says what may ever be, the gateway's rules narrow it,
//! an explicit end or a revocation stays until a person of the host undoes it.
//!
//! How file and rules are compared is the agent's, who has both.

use crate::protocol::control::{ConfigMismatch, Rule};
use crate::protocol::rule_list::WhyUnusable;

/// What may happen on an entry's connection now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// No gateway has said anything yet.
    Unknown,
    /// The gateway does not list the connection, and may again.
    Unlisted,
    /// The rule does not fit this agent's file.
    ConfigMismatch(ConfigMismatch),
    /// This build cannot use the rule.
    Unusable(WhyUnusable),
    /// Not switched on.
    Ready(Rule),
    /// What runs may end, nothing new starts.
    Paused(Rule),
    Active(Rule),
    Terminated,
}

impl Policy {
    #[must_use]
    pub const fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Ready(rule) | Self::Paused(rule) | Self::Active(rule) => Some(rule),
            Self::Unknown
            | Self::Unlisted
            | Self::ConfigMismatch(_)
            | Self::Unusable(_)
            | Self::Terminated => None,
        }
    }

    /// Returns whether an open tunnel may stay open.
    #[must_use]
    pub const fn keeps_tunnel(&self) -> bool {
        matches!(self, Self::Active(_) | Self::Paused(_))
    }

    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Returns the status for people, in the words of the status table.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => word::UNKNOWN,
            Self::Unlisted => word::UNLISTED,
            Self::ConfigMismatch(_) => word::CONFIG_MISMATCH,
            Self::Unusable(_) => word::UNUSABLE,
            Self::Ready(_) => word::READY,
            Self::Paused(_) => word::PAUSED,
            Self::Active(_) => word::ACTIVE,
            Self::Terminated => word::TERMINATED,
        }
    }
}

/// The words that people read, and that `--json` and the status socket carry.
pub mod word {
    pub const UNKNOWN: &str = "No rule";
    pub const UNLISTED: &str = "Not listed";
    pub const CONFIG_MISMATCH: &str = "Mismatch";
    pub const UNUSABLE: &str = "Update needed";
    pub const READY: &str = "Ready";
    pub const PAUSED: &str = "Paused";
    pub const ACTIVE: &str = "Active";
    pub const TERMINATED: &str = "Terminated";
    /// Whatever the rules say, one of the two agents stops.
    pub const STOPPING: &str = "Stopping";
}
