//! Where a connection can be in its life, and what is true of it meanwhile.

use std::fmt;
use std::time::{Duration, Instant};

use super::policy::Policy;
use super::port::Full;
use super::session::Session;
use crate::domain::connection::Side;
use crate::domain::id::BootId;
use crate::domain::side_fault::SideFault;
use crate::protocol::control::ConfigMismatch;
use crate::protocol::rule_list::WhyUnusable;

/// What an entry of the agent's file is to its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionSettings {
    pub side: Side,
    /// A tunnel that was silent for so long is cut.
    pub stall_limit: Duration,
    /// What is under way may take so long to end once this agent stops.
    pub stop_limit: Duration,
    /// TCP connections that the source's port takes at a time.
    pub connections_max: usize,
    /// Random: two agents must not come back in step.
    pub seed: u64,
}

/// Where a connection is in its life.
#[derive(Debug)]
pub enum ConnectionState {
    /// Nothing is to be done here now.
    Idle {
        why: IdleReason,
    },
    /// It may be dialled, but no path to the peer's agent answers.
    WaitingForPath,
    Dialing {
        attempt: u32,
        until: Instant,
    },
    /// QUIC's handshake is done, the proofs are not.
    Proving {
        attempt: u32,
        until: Instant,
    },
    Up(Box<Session>),
    /// One of the two agents stops: what is under way may end, nothing begins.
    Draining {
        session: Box<Session>,
        since: Instant,
    },
    Backoff {
        until: Instant,
    },
    /// The gateway's rule cannot be followed here.
    Mismatch {
        reason: Mismatch,
    },
    /// For good, until a person of this host undoes it.
    Ended,
    /// The machine was told to stop, and has.
    Stopped,
}

/// Why nothing is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleReason {
    /// No gateway has said anything yet.
    NoRule,
    Unlisted,
    /// Not switched on.
    Ready,
    Paused,
    /// The source's port could not be taken yet.
    NoPort,
    /// The connection's secret has not come yet.
    NoSecret,
    /// It is the peer that dials.
    PeerDials,
}

/// Why a rule cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It says other than this agent's file.
    Config(ConfigMismatch),
    /// This build does not know what it says.
    Unusable(WhyUnusable),
}

/// The path to the peer's agent, as far as the connection must know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerPath {
    pub is_there: bool,
    /// The run of the peer's agent that answers.
    pub boot: Option<BootId>,
    /// When it last answered below QUIC.
    pub heard: Option<Instant>,
}

/// What is true of a connection now.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionView<'a> {
    pub state: &'a ConnectionState,
    pub policy: &'a Policy,
    /// Whether the target's Mirth answers; at the source its agent's word, not known while it is silent.
    pub upstream: Option<bool>,
    pub is_port_open: bool,
    /// As far as the tunnel and the far Mirth are concerned.
    pub may_port_open: bool,
    /// Why the port is closed though it might be open.
    pub full: Option<Full>,
    /// What keeps it from carrying, as far as this side sees it.
    pub fault: Option<SideFault>,
}

impl ConnectionState {
    /// Returns its name, for the log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::WaitingForPath => "waiting for a path",
            Self::Dialing { .. } => "dialing",
            Self::Proving { .. } => "proving",
            Self::Up(_) => "up",
            Self::Draining { .. } => "draining",
            Self::Backoff { .. } => "backing off",
            Self::Mismatch { .. } => "mismatch",
            Self::Ended => "ended",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Idle { why } => write!(f, " ({})", why.as_str()),
            Self::Dialing { attempt, .. } | Self::Proving { attempt, .. } => {
                write!(f, " (attempt {attempt})")
            }
            _ => Ok(()),
        }
    }
}

impl IdleReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no rule yet",
            Self::Unlisted => "not listed",
            Self::Ready => "not switched on",
            Self::Paused => "paused",
            Self::NoPort => "no port yet",
            Self::NoSecret => "no secret yet",
            Self::PeerDials => "the peer dials",
        }
    }
}
