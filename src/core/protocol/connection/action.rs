//! What a connection's machine has its driver do, and what it has to say.

use std::fmt;
use std::time::Duration;

use super::fault;
use crate::domain::side_fault::SideFault;
use crate::protocol::control::PeerRefusal;
use crate::protocol::frame::Code;

/// What is to be done now, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin a QUIC handshake with the peer; its outcome goes to `handle_dialed`.
    Dial,
    /// Exchange the proofs over it; the outcome goes to `handle_proven`.
    Prove,
    /// Serve the tunnel that was proven, or that the peer has opened.
    Serve,
    /// Close the attempt or the tunnel.
    Close(Code),
    /// Let what runs over the tunnel end: it is no more.
    End,
    /// Make QUIC send something at once.
    Ping,
    /// Tell the peer that this agent stops.
    SendStopping,
    /// Tell the peer whether the Mirth here answers.
    SendUpstream(bool),
    /// `is_of_limit`: because of a limit, which is said elsewhere and may be often.
    OpenListener {
        is_of_limit: bool,
    },
    CloseListener {
        is_of_limit: bool,
    },
    Report(Report),
    Audit(Audited),
}

/// What is said to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    Up,
    /// `is_announced`: the peer's agent said that it stops, so nobody is warned.
    Ended {
        why: EndReason,
        is_announced: bool,
    },
    /// `is_excused`: the peer is away by order, so nobody is warned.
    DialFailed {
        what: String,
        is_excused: bool,
    },
    WaitsForSecret,
    WaitsForPath,
    /// The peer's agent said that it stops, and has not come back.
    StaysAway,
    /// The peer's agent stops; what somebody waits for may end.
    PeerStops,
    /// The time to end in order was over; what was left is reset.
    Overdue,
    /// The port closes, or would open, because of a limit.
    Full,
    /// As many TCP connections are open as may be.
    LimitReached,
    /// The peer's agent had no place for one.
    PeerFull,
}

/// A peer that was found wanting when it was dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    Refused(PeerRefusal),
    /// Its part of the handshake was not accepted.
    Handshake(String),
}

/// Why a dial brought no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialFailure {
    what: String,
    blame: Blame,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Blame {
    /// The peer's agent may merely be away.
    Away,
    /// It refused this agent.
    Peer,
    Audited(Audited),
}

impl DialFailure {
    /// Returns the failure of a peer that may merely be away; `what` is for people.
    #[must_use]
    pub const fn away(what: String) -> Self {
        Self { what, blame: Blame::Away }
    }

    pub(super) fn unanswered(after: Duration) -> Self {
        Self::away(format!(
            "the tunnel to the peer could not be opened: the peer did not answer in {} s",
            after.as_secs()
        ))
    }

    /// Returns the failure of a peer that refused this agent.
    #[must_use]
    pub const fn refused_by_peer(what: String) -> Self {
        Self { what, blame: Blame::Peer }
    }

    /// Returns the failure of a peer that this agent refuses; it goes into the audit.
    #[must_use]
    pub const fn refused(what: String, audited: Audited) -> Self {
        Self { what, blame: Blame::Audited(audited) }
    }

    pub(super) const fn is_absence(&self) -> bool {
        matches!(self.blame, Blame::Away | Blame::Audited(Audited::Handshake(_)))
    }

    pub(super) fn audited(&self) -> Option<Audited> {
        match &self.blame {
            Blame::Audited(audited) => Some(audited.clone()),
            Blame::Away | Blame::Peer => None,
        }
    }

    /// Returns what both parties are told of it.
    pub(super) fn fault(&self) -> Option<SideFault> {
        match &self.blame {
            Blame::Away => Some(SideFault::PeerSilent),
            Blame::Peer => Some(SideFault::RefusedByPeer),
            Blame::Audited(Audited::Refused(refusal)) => fault::of_refusal(*refusal),
            Blame::Audited(Audited::Handshake(_)) => Some(SideFault::PeerCertificate),
        }
    }

    pub(super) fn into_what(self) -> String {
        self.what
    }
}

/// Why a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    Revoked,
    OtherKey,
    NotActive,
    Cut,
    Expired,
    Restarted,
    Stalled,
    Forgotten,
    /// One of the two agents stops, and the source ends the tunnel.
    Stops,
    /// This agent stops, and it is the target.
    StopsHere,
    Replaced,
    /// It broke, or the peer closed it.
    Lost(String),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoked => "the peer's certificate was revoked",
            Self::OtherKey => "another key of the peer is trusted now",
            Self::NotActive => "the connection is no longer active",
            Self::Cut => "the connection was disconnected by one of its parties",
            Self::Expired => "the peer's certificate expired; it opens the tunnel anew with its renewed one",
            Self::Restarted => "the peer's agent was restarted",
            Self::Stalled => "the peer's agent was silent for the stall limit",
            Self::Forgotten => "the peer's agent is heard but knows nothing of the tunnel",
            Self::Stops => "one of the agents stops",
            Self::StopsHere => "this agent stops",
            Self::Replaced => "the peer opened a new one",
            Self::Lost(why) => why,
        })
    }
}
