//! Whether a connection works: one truth, judged here alone from what its tasks measured. `adit status`,
//! `adit check`, `adit health` and the metric `adit_entry_working` tell it, the first three in the words of
//! [`super::diagnosis`].

use super::connection::status::ConnectionStatus;
use super::stats::EntryStatus;
use adit_core::domain::connection::Side;
use adit_core::protocol::connection::{Full, word};

/// What a connection needs to carry messages, as far as this host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionHealth<'a> {
    /// A word of the status table; empty while nothing was said.
    pub status: &'a str,
    pub tunnel: Tunnel,
    /// `None` while nobody knows.
    pub mirth: Option<bool>,
    pub port: Port,
    /// Whether a person has compared the peer's key.
    pub compared: bool,
}

/// The tunnel to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    None,
    /// It is there, and its peer is not heard.
    Silent,
    Up,
}

impl Tunnel {
    const fn of(is_heard: bool, is_silent: bool) -> Self {
        match (is_heard, is_silent) {
            (true, _) => Self::Up,
            (false, true) => Self::Silent,
            (false, false) => Self::None,
        }
    }
}

/// The local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The target has none.
    None,
    Open,
    Closed,
    /// Closed because as many connections are open as may be.
    Full,
    /// As many as the peer's file allows.
    PeerFull,
}

impl Port {
    const fn of(is_open: bool, full: Option<Full>) -> Self {
        match (is_open, full) {
            (true, _) => Self::Open,
            (false, Some(Full::AtPeer)) => Self::PeerFull,
            (false, Some(Full::Here)) => Self::Full,
            (false, None) => Self::Closed,
        }
    }
}

/// The first thing that a connection lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthProblem {
    /// People decided so.
    NotActivated,
    Paused,
    Terminated,
    /// One of the two agents stops.
    Stopping,
    /// The gateway's rules do not let it carry, or say nothing yet.
    NoRule,
    Unlisted,
    ConfigMismatch,
    /// This build cannot use the gateway's rule.
    Unusable,
    Tunnel,
    /// The peer's agent is not heard.
    Silent,
    Mirth,
    MirthUnknown,
    Port,
    Full,
    PeerFull,
    /// It carries, but nobody has made sure to whom.
    Comparison,
}

impl HealthProblem {
    /// Says in few words why a port is closed; [`super::diagnosis`] says what to do.
    #[must_use]
    pub const fn why_closed(self) -> &'static str {
        match self {
            Self::NotActivated => "not switched on",
            Self::Paused => "paused",
            Self::Terminated => "terminated",
            Self::NoRule => "the gateway has said no rule yet",
            Self::Unlisted => "the gateway does not list it",
            Self::ConfigMismatch => "the gateway and the file disagree",
            Self::Unusable => "this build cannot use the gateway's rule",
            Self::Stopping => "one of the two agents stops",
            Self::Tunnel => "no tunnel to the peer",
            Self::Silent => "the peer's agent is not heard",
            Self::Mirth => "the partner's Mirth does not answer",
            Self::MirthUnknown => "the partner's Mirth was not heard of yet",
            Self::Port => "it opens after two seconds without trouble",
            Self::Full => "as many connections are open as may be",
            Self::PeerFull => "the peer carries no more connections",
            Self::Comparison => "nobody has compared the peer's key",
        }
    }

    /// Returns whether messages or requests pass all the same.
    #[must_use]
    pub const fn lets_pass(self) -> bool {
        matches!(self, Self::Comparison)
    }

    /// Returns whether people meant it so: paused, ended, or not switched on yet.
    #[must_use]
    pub const fn is_meant(self) -> bool {
        matches!(self, Self::NotActivated | Self::Paused | Self::Terminated)
    }

    /// Returns whether as many connections are carried as may be: nothing is broken.
    #[must_use]
    pub const fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::PeerFull)
    }

    /// Returns whether it stays until somebody acts, once the gateway has said its rules.
    #[must_use]
    pub const fn is_decided(self) -> bool {
        match self {
            Self::NotActivated
            | Self::Paused
            | Self::Terminated
            | Self::Unlisted
            | Self::ConfigMismatch
            | Self::Unusable
            | Self::Full
            | Self::PeerFull
            | Self::Comparison => true,
            Self::Stopping
            | Self::NoRule
            | Self::Tunnel
            | Self::Silent
            | Self::Mirth
            | Self::MirthUnknown
            | Self::Port => false,
        }
    }
}

impl ConnectionHealth<'_> {
    /// Returns what the connection lacks first, or `None` while messages or requests can pass and it is
    /// known to whom.
    #[must_use]
    pub fn problem(&self) -> Option<HealthProblem> {
        match self.status {
            word::ACTIVE => {}
            word::STOPPING => return Some(HealthProblem::Stopping),
            word::READY => return Some(HealthProblem::NotActivated),
            word::PAUSED => return Some(HealthProblem::Paused),
            word::TERMINATED => return Some(HealthProblem::Terminated),
            word::UNLISTED => return Some(HealthProblem::Unlisted),
            word::CONFIG_MISMATCH => return Some(HealthProblem::ConfigMismatch),
            word::UNUSABLE => return Some(HealthProblem::Unusable),
            _ => return Some(HealthProblem::NoRule),
        }
        match (self.tunnel, self.mirth, self.port) {
            (Tunnel::None, ..) => Some(HealthProblem::Tunnel),
            (Tunnel::Silent, ..) => Some(HealthProblem::Silent),
            (_, Some(false), _) => Some(HealthProblem::Mirth),
            (_, None, _) => Some(HealthProblem::MirthUnknown),
            (_, _, Port::Closed) => Some(HealthProblem::Port),
            (_, _, Port::Full) => Some(HealthProblem::Full),
            (_, _, Port::PeerFull) => Some(HealthProblem::PeerFull),
            (Tunnel::Up, Some(true), Port::Open | Port::None) => {
                (!self.compared).then_some(HealthProblem::Comparison)
            }
        }
    }

    /// Returns whether messages or requests can pass now.
    #[must_use]
    pub fn works(&self) -> bool {
        self.problem().is_none_or(HealthProblem::lets_pass)
    }
}

impl ConnectionStatus {
    /// Returns it in the words of the status table.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        if self.stopping.is_some() { word::STOPPING } else { self.policy }
    }

    /// Returns what the metric is computed from, which does not ask who compared keys.
    #[must_use]
    pub fn health(&self, at_target: bool) -> ConnectionHealth<'static> {
        let port = if at_target { Port::None } else { Port::of(self.port_open, self.full) };
        ConnectionHealth {
            status: self.as_str(),
            tunnel: Tunnel::of(self.is_peer_heard(), self.tunnel.is_some()),
            mirth: self.mirth.on,
            port,
            compared: true,
        }
    }
}

impl EntryStatus {
    /// Returns what commands compute it from.
    #[must_use]
    pub fn health(&self) -> ConnectionHealth<'_> {
        let port = if self.is_source() {
            let whose = if self.peer_full { Full::AtPeer } else { Full::Here };
            Port::of(self.port_open, self.at_limit.then_some(whose))
        } else {
            Port::None
        };
        ConnectionHealth {
            status: &self.status,
            tunnel: Tunnel::of(self.tunnel.on == Some(true), self.silent_since.is_some()),
            mirth: self.mirth.on,
            port,
            compared: self.peer_key.is_none_or(|key| key.verified),
        }
    }

    /// Returns whether this host is the side that dials and has the port.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.side == Side::Source.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKING: ConnectionHealth<'static> = ConnectionHealth {
        status: word::ACTIVE,
        tunnel: Tunnel::Up,
        mirth: Some(true),
        port: Port::Open,
        compared: true,
    };

    #[test]
    fn what_keeps_a_connection_from_working_is_the_first_thing_it_lacks() {
        let problem = |health: ConnectionHealth<'static>| health.problem();
        assert_eq!(problem(WORKING), None);
        assert_eq!(problem(ConnectionHealth { port: Port::None, ..WORKING }), None);
        assert_eq!(problem(ConnectionHealth { port: Port::Closed, ..WORKING }), Some(HealthProblem::Port));
        assert_eq!(problem(ConnectionHealth { port: Port::Full, ..WORKING }), Some(HealthProblem::Full));
        assert_eq!(
            problem(ConnectionHealth { port: Port::PeerFull, ..WORKING }),
            Some(HealthProblem::PeerFull)
        );
        assert_eq!(problem(ConnectionHealth { mirth: None, ..WORKING }), Some(HealthProblem::MirthUnknown));
        assert_eq!(problem(ConnectionHealth { mirth: Some(false), ..WORKING }), Some(HealthProblem::Mirth));
        assert_eq!(
            problem(ConnectionHealth { tunnel: Tunnel::None, mirth: None, ..WORKING }),
            Some(HealthProblem::Tunnel)
        );
        assert_eq!(
            problem(ConnectionHealth { tunnel: Tunnel::Silent, mirth: None, ..WORKING }),
            Some(HealthProblem::Silent)
        );
        for (status, expected) in [
            ("", HealthProblem::NoRule),
            (word::UNKNOWN, HealthProblem::NoRule),
            (word::UNLISTED, HealthProblem::Unlisted),
            (word::CONFIG_MISMATCH, HealthProblem::ConfigMismatch),
            (word::UNUSABLE, HealthProblem::Unusable),
            (word::STOPPING, HealthProblem::Stopping),
            (word::READY, HealthProblem::NotActivated),
            (word::PAUSED, HealthProblem::Paused),
            (word::TERMINATED, HealthProblem::Terminated),
        ] {
            assert_eq!(problem(ConnectionHealth { status, ..WORKING }), Some(expected), "{status}");
        }
    }

    #[test]
    fn a_key_that_nobody_compared_is_a_problem_that_lets_messages_pass() {
        let health = ConnectionHealth { compared: false, ..WORKING };
        assert_eq!(health.problem(), Some(HealthProblem::Comparison));
        assert!(health.works() && WORKING.works());
        assert!(!ConnectionHealth { port: Port::Full, ..WORKING }.works());
    }

    #[test]
    fn what_people_switched_off_is_no_failure() {
        for status in [word::READY, word::PAUSED, word::TERMINATED] {
            let problem = ConnectionHealth { status, tunnel: Tunnel::None, ..WORKING }.problem();
            assert!(problem.is_some_and(HealthProblem::is_meant), "{status}");
        }
    }

    #[test]
    fn an_agent_that_nobody_told_anything_is_not_working() {
        assert_eq!(ConnectionStatus::default().health(true).problem(), Some(HealthProblem::NoRule));
    }
}
