//! What keeps a connection from carrying, in the word that both parties are told.

use super::ConnectionMachine;
use super::policy::Policy;
use super::port::Full;
use super::state::ConnectionState;
use crate::domain::connection::Side;
use crate::domain::side_fault::SideFault;
use crate::protocol::control::PeerRefusal;

/// Returns what a refusal is to the two parties; none where the rules alone tell them.
pub(super) const fn of_refusal(refusal: PeerRefusal) -> Option<SideFault> {
    match refusal {
        PeerRefusal::ChangedKey => Some(SideFault::PeerKey),
        PeerRefusal::UnverifiedKey => Some(SideFault::PeerKeyUncompared),
        PeerRefusal::WrongSecret => Some(SideFault::WrongSecret),
        PeerRefusal::Revoked | PeerRefusal::WrongPeer => Some(SideFault::PeerCertificate),
        PeerRefusal::RefusedOurKey => Some(SideFault::RefusedByPeer),
        PeerRefusal::UnknownConnection
        | PeerRefusal::Unlisted
        | PeerRefusal::Paused
        | PeerRefusal::NotActive
        | PeerRefusal::Terminated
        | PeerRefusal::BadOpening => None,
    }
}

impl ConnectionMachine {
    /// Returns the first thing that is wrong at this side. What people decided is no fault of an agent's.
    pub(super) fn fault(&self) -> Option<SideFault> {
        match &self.policy {
            Policy::ConfigMismatch(_) => return Some(SideFault::Mismatch),
            Policy::Unusable(_) => return Some(SideFault::UpdateNeeded),
            Policy::Unknown
            | Policy::Unlisted
            | Policy::Ready(_)
            | Policy::Paused(_)
            | Policy::Terminated => {
                return None;
            }
            Policy::Active(_) => {}
        }
        match &self.state {
            ConnectionState::Up(session) if session.is_silent() => Some(SideFault::PeerSilent),
            ConnectionState::Up(_) => self.port.full.map(|full| match full {
                Full::Here => SideFault::Full,
                Full::AtPeer => SideFault::PeerFull,
            }),
            ConnectionState::Draining { .. } | ConnectionState::Stopped => Some(SideFault::Stopping),
            ConnectionState::Idle { .. }
            | ConnectionState::WaitingForPath
            | ConnectionState::Dialing { .. }
            | ConnectionState::Proving { .. }
            | ConnectionState::Backoff { .. }
            | ConnectionState::Mismatch { .. }
            | ConnectionState::Ended => self.fault_without_tunnel(),
        }
    }

    fn fault_without_tunnel(&self) -> Option<SideFault> {
        if self.settings.side == Side::Source && !self.is_bound {
            Some(SideFault::PortTaken)
        } else if !self.has_secret {
            Some(SideFault::NoSecret)
        } else if !self.path.is_there {
            Some(SideFault::NoPath)
        } else {
            self.failure
        }
    }
}
