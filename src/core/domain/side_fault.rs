//! What keeps a connection from carrying, as the agent of one side sees it: one word of a closed list. Both parties
//! are told it, so it names no address, no file, no key and no number of the agent's host.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideFault {
    /// The agent's file has no entry for the connection.
    NoEntry,
    /// The agent's file says other than the platform.
    Mismatch,
    /// The agent's build cannot use what the gateway says of the connection.
    UpdateNeeded,
    /// The port for local senders is not to be had, as where another program has it.
    PortTaken,
    /// The connection's secret has not come, and cannot be had any more.
    NoSecret,
    /// The peer shows another key than the one that is trusted here.
    PeerKey,
    /// Nobody here has compared the peer's key, which an admin connection needs.
    PeerKeyUncompared,
    /// The peer's certificate is not accepted here, or is another server's.
    PeerCertificate,
    /// The peer does not hold this side's secret.
    WrongSecret,
    /// This side's secret is written in its own file, and the peer refuses it, or answers nothing that is asked with it.
    FileSecret,
    /// The peer's agent refused this one.
    RefusedByPeer,
    /// The two owners allow no kind of path in common.
    NoCommonPath,
    /// No path to the peer's agent answers.
    NoPath,
    /// The same, where this side's own file does not allow every kind.
    PathLimited,
    /// There is a path, and the peer's agent does not answer on it.
    PeerSilent,
    /// One of the two agents stops.
    Stopping,
    /// The managed Mirth shows another key than the one that is trusted here.
    MirthKey,
    /// As many TCP connections are open as this side's file allows.
    Full,
    /// As many as the peer's file allows.
    PeerFull,
    /// Local senders are turned away: the file does not let their user connect.
    SenderRefused,
    /// The Mirth of this side has not answered the last message.
    NotAnswered,
    /// The Mirth of this side has refused the last message.
    NotAccepted,
}

impl SideFault {
    pub const ALL: [Self; 22] = [
        Self::NoEntry,
        Self::Mismatch,
        Self::UpdateNeeded,
        Self::PortTaken,
        Self::NoSecret,
        Self::PeerKey,
        Self::PeerKeyUncompared,
        Self::PeerCertificate,
        Self::WrongSecret,
        Self::FileSecret,
        Self::RefusedByPeer,
        Self::NoCommonPath,
        Self::NoPath,
        Self::PathLimited,
        Self::PeerSilent,
        Self::Stopping,
        Self::MirthKey,
        Self::Full,
        Self::PeerFull,
        Self::SenderRefused,
        Self::NotAnswered,
        Self::NotAccepted,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoEntry => "no_entry",
            Self::Mismatch => "mismatch",
            Self::UpdateNeeded => "update_needed",
            Self::PortTaken => "port_taken",
            Self::NoSecret => "no_secret",
            Self::PeerKey => "peer_key",
            Self::PeerKeyUncompared => "peer_key_uncompared",
            Self::PeerCertificate => "peer_certificate",
            Self::WrongSecret => "wrong_secret",
            Self::FileSecret => "file_secret",
            Self::RefusedByPeer => "refused_by_peer",
            Self::NoCommonPath => "no_common_path",
            Self::NoPath => "no_path",
            Self::PathLimited => "path_limited",
            Self::PeerSilent => "peer_silent",
            Self::Stopping => "stopping",
            Self::MirthKey => "mirth_key",
            Self::Full => "full",
            Self::PeerFull => "peer_full",
            Self::SenderRefused => "sender_refused",
            Self::NotAnswered => "not_answered",
            Self::NotAccepted => "not_accepted",
        }
    }
}

impl fmt::Display for SideFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_as_the_wire_spells_it() {
        for fault in SideFault::ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.as_str());
            assert!(fault.as_str().len() <= crate::domain::limits::UNKNOWN_WORD_BYTES_MAX, "{fault}");
        }
    }
}
