//! A tunnel that is up: the terms it was admitted under, and whether its peer still answers.
//!
//! Liveness is measured by what the peer says of what it heard from us ([`super::super::liveness`]), never by
//! QUIC's own idle timer nor by what merely arrives: silence for the stall limit cuts every open socket
//! (DESIGN §5), and where packets pass in one direction only, both ends are silent.

use std::time::{Duration, Instant};

use super::PeerPath;
use super::action::EndReason;
use super::policy::Policy;
use crate::domain::id::{BootId, KeyFingerprint};
use crate::domain::limits::TUNNEL_SILENCE;
use crate::protocol::frame::Code;
use crate::protocol::liveness::{Liveness, PacketCounts};

/// What a tunnel was admitted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub peer_key: KeyFingerprint,
    pub cut_epoch: u32,
}

/// A tunnel whose ends have both proven themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    pub terms: Terms,
    /// When the peer's leaf expires, by a clock that no word of the gateway moves.
    pub expires: Option<Instant>,
}

/// What is true now of the key that a tunnel's peer has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerKey {
    pub is_revoked: bool,
    /// Another one is in the file, or trusted since.
    pub is_replaced: bool,
}

/// A tunnel in use.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    expires: Option<Instant>,
    since: Instant,
    key: PeerKey,
    /// The run of the peer's agent.
    boot: Option<BootId>,
    is_restarted: bool,
    liveness: Liveness,
    is_silent: bool,
    /// The peer took its leave.
    pub(super) is_farewell: bool,
}

impl Session {
    pub(super) fn new(proven: Proven, boot: Option<BootId>, now: Instant) -> Self {
        Self {
            terms: proven.terms,
            expires: proven.expires,
            since: now,
            key: PeerKey::default(),
            boot,
            is_restarted: false,
            liveness: Liveness::new(now),
            is_silent: false,
            is_farewell: false,
        }
    }

    #[must_use]
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Returns whether the peer is not heard, so that nothing new may begin.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns for how long nothing has been heard of the peer.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        self.liveness.silent_for(now)
    }

    pub(super) const fn set_key(&mut self, key: PeerKey) {
        self.key = key;
    }

    pub(super) fn hear(&mut self, path: PeerPath, now: Instant) {
        if let Some(heard) = path.heard {
            self.liveness.note_heard(heard);
        }
        match (self.boot, path.boot) {
            (Some(before), Some(after)) => self.is_restarted |= before != after,
            (None, boot) => self.boot = boot,
            (Some(_), None) => {}
        }
        self.note_sound(now);
    }

    pub(super) fn count(&mut self, counts: PacketCounts, now: Instant) {
        self.liveness.note_counts(counts, now);
        self.note_sound(now);
    }

    /// Notes that the peer may have been heard again. Silence is found out by time alone.
    fn note_sound(&mut self, now: Instant) {
        self.is_silent &= self.liveness.silent_for(now) >= TUNNEL_SILENCE;
    }

    /// Returns why it may not be used any more under `policy`.
    pub(super) fn broken(&self, policy: &Policy) -> Option<EndReason> {
        if self.key.is_revoked {
            return Some(EndReason::Revoked);
        }
        if self.key.is_replaced {
            return Some(EndReason::OtherKey);
        }
        if !policy.keeps_tunnel() {
            return Some(EndReason::NotActive);
        }
        if policy.rule().is_some_and(|rule| rule.cut_epoch != self.terms.cut_epoch) {
            return Some(EndReason::Cut);
        }
        // A restarted peer knows nothing of this tunnel, and cannot tell us so.
        self.is_restarted.then_some(EndReason::Restarted)
    }

    /// Returns why it must be closed, by the time that has passed.
    pub(super) fn judge(&mut self, stall_limit: Duration, now: Instant) -> Option<(Code, EndReason)> {
        if self.expires.is_some_and(|at| now >= at) {
            return Some((Code::Ended, EndReason::Expired));
        }
        let silent_for = self.liveness.silent_for(now);
        self.is_silent = silent_for >= TUNNEL_SILENCE;
        if silent_for >= stall_limit {
            return Some((Code::Stalled, EndReason::Stalled));
        }
        self.liveness.is_forgotten(now).then_some((Code::Stalled, EndReason::Forgotten))
    }

    /// Returns whether QUIC must be made to send now, and counts it as made to.
    pub(super) fn takes_ping(&mut self, now: Instant) -> bool {
        let is_due = self.liveness.pings_at().is_some_and(|at| at <= now);
        if is_due {
            self.liveness.note_pinged(now);
        }
        is_due
    }

    pub(super) fn poll_timeout(&self, stall_limit: Duration) -> Instant {
        let ends = self.liveness.ends_at(stall_limit);
        let silent = (!self.is_silent).then(|| self.liveness.silent_at(TUNNEL_SILENCE));
        [self.expires, silent, self.liveness.pings_at()].into_iter().flatten().fold(ends, Instant::min)
    }
}
