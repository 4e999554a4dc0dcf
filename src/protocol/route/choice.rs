//! Which hop is used: prefer the better kind, leave what is silent, come back with patience.
//!
//! - The first hop that answers is used. One of a better kind takes over once it has answered a
//!   probe as long as the packets that are sent (the MTU in use).
//! - A hop that has not answered for three seconds is left for the best that answers; a search
//!   began two seconds earlier, when it first kept a probe waiting for one. While nothing answers
//!   it stays. A peer that answers that search at another address of the same kind has moved, and
//!   is followed at once.
//! - A kind that was left because it was silent must answer for 30 s without a gap before it is
//!   used again, and twice as long each time it falls again within ten minutes.
//! - What the owner does not allow is left at once for a hop known to be good; else for the first
//!   that answers, and after three seconds for nothing.
//!
//! Only decides. What was asked and answered is kept in [`super::target`], by [`super::PeerRoute`].

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::hop::{Hop, PathReason};
use super::target::{Proof, Target};
use super::targets::Targets;
use crate::domain::limits::{CLIMB_AFTER, CLIMB_AFTER_MAX, CLIMB_LASTED, PATH_SILENCE, QUIC_MTU_MIN};
use crate::domain::path::{PathChoice, PathKind};

#[derive(Debug)]
pub(super) struct Choice {
    allowed: PathChoice,
    active: Option<Active>,
    patience: Patience,
    mtu: usize,
}

#[derive(Debug)]
struct Active {
    hop: Hop,
    /// Since when all hops are probed, not only this one.
    search: Option<Instant>,
    /// It is not allowed any more, and is left by then.
    leave_by: Option<Instant>,
}

/// What to do about the hop in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Use { hop: Hop, why: PathReason },
    UseNone,
}

/// What a hop is to the one in use, and so how it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is in use.
    Active,
    /// The one in use is in doubt, or there is none: whatever answers is welcome.
    Searched,
    /// Of a better kind than the one in use.
    Better,
    /// Of a worse kind: kept warm.
    Standby,
    /// Of the same kind: asked only in a search.
    Idle,
    Forbidden,
}

impl Choice {
    pub(super) const fn new() -> Self {
        let patience = Patience { falls: 0, serving: None };
        Self { allowed: PathChoice::Auto, active: None, patience, mtu: QUIC_MTU_MIN }
    }

    pub(super) fn active(&self) -> Option<Hop> {
        self.active.as_ref().map(|active| active.hop)
    }

    pub(super) const fn allowed(&self) -> PathChoice {
        self.allowed
    }

    pub(super) const fn allows(&self, hop: Hop) -> bool {
        self.allowed.allows(hop.kind())
    }

    pub(super) const fn mtu(&self) -> usize {
        self.mtu
    }

    pub(super) const fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// No hop is known to work.
    pub(super) fn is_lost(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.search.is_some())
    }

    pub(super) fn role(&self, hop: Hop) -> Role {
        let Some(active) = &self.active else {
            return if self.allows(hop) { Role::Searched } else { Role::Forbidden };
        };
        match hop.kind().cmp(&active.hop.kind()) {
            _ if !self.allows(hop) => Role::Forbidden,
            _ if hop == active.hop => Role::Active,
            _ if active.search.is_some() || active.leave_by.is_some() => Role::Searched,
            std::cmp::Ordering::Less => Role::Better,
            std::cmp::Ordering::Equal => Role::Idle,
            std::cmp::Ordering::Greater => Role::Standby,
        }
    }

    /// The owner's word.
    pub(super) fn set_allowed(
        &mut self,
        allowed: PathChoice,
        targets: &Targets,
        now: Instant,
    ) -> Option<Change> {
        self.allowed = allowed;
        let active = self.active.as_mut()?;
        if allowed.allows(active.hop.kind()) {
            active.leave_by = None;
            return None;
        }
        active.leave_by = Some(now + PATH_SILENCE);
        let good = self.best(targets, |target| target.answered_within(PATH_SILENCE, now))?;
        Some(self.switch(good, PathReason::Forced, now))
    }

    /// All hops are probed from now on, until the one in use answers.
    pub(super) fn search(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.search.get_or_insert(now);
        }
    }

    /// An answer came over `hop`, which is allowed, and stands in `targets` already.
    pub(super) fn note_answer(
        &mut self,
        hop: Hop,
        proof: Proof,
        targets: &Targets,
        now: Instant,
    ) -> Option<Change> {
        match self.role(hop) {
            Role::Active => {
                self.active.as_mut()?.search = None;
                None
            }
            Role::Searched => match &self.active {
                None => Some(self.switch(hop, PathReason::First, now)),
                Some(active) if active.leave_by.is_some() => Some(self.switch(hop, PathReason::Forced, now)),
                Some(_) => self.leave_silent(targets, now),
            },
            Role::Better => {
                let has_proven = proof.length >= self.mtu
                    && self.climb_at(targets.get(hop)?).is_some_and(|at| proof.sent >= at);
                has_proven.then(|| self.switch(hop, PathReason::Better, now))
            }
            Role::Standby | Role::Idle | Role::Forbidden => None,
        }
    }

    /// When an answered probe of this better hop is proof enough.
    pub(super) fn climb_at(&self, target: &Target) -> Option<Instant> {
        target.steady.map(|steady| steady + self.patience.wait())
    }

    /// Whether a search must begin.
    pub(super) fn is_doubtful(&self, targets: &Targets, now: Instant) -> bool {
        self.doubted_at(targets).is_some_and(|at| at <= now)
    }

    /// Leaves what has had its time.
    pub(super) fn handle_timeout(&mut self, targets: &Targets, now: Instant) -> Option<Change> {
        if self.active.as_ref()?.leave_by.is_some_and(|by| by <= now) {
            self.forget(now);
            return Some(Change::UseNone);
        }
        self.leave_silent(targets, now)
    }

    pub(super) fn poll_timeout(&self, targets: &Targets) -> Option<Instant> {
        let leave_by = self.active.as_ref().and_then(|active| active.leave_by);
        let next = self.next_best(targets);
        let silent_at = next.and_then(|_| self.kept(targets)?.silent_at());
        [leave_by, self.doubted_at(targets), silent_at].into_iter().flatten().min()
    }

    /// The hop in use is not silent by accident: the peer is another one now.
    pub(super) fn forget(&mut self, now: Instant) {
        self.active = None;
        self.patience.rest(now);
    }

    pub(super) fn is_silent(&self, targets: &Targets, now: Instant) -> bool {
        self.kept(targets).is_some_and(|target| target.is_silent(now))
    }

    /// The hop in use, unless it is on its way out.
    fn kept<'a>(&self, targets: &'a Targets) -> Option<&'a Target> {
        let active = self.active.as_ref().filter(|active| active.leave_by.is_none())?;
        targets.get(active.hop)
    }

    fn doubted_at(&self, targets: &Targets) -> Option<Instant> {
        let is_searching = self.active.as_ref().is_some_and(|active| active.search.is_some());
        self.kept(targets).filter(|_| !is_searching)?.doubted_at()
    }

    fn leave_silent(&mut self, targets: &Targets, now: Instant) -> Option<Change> {
        let next = self.next_best(targets)?;
        let is_same_kind = self.active().is_some_and(|active| active.kind() == next.kind());
        let has_moved = is_same_kind && self.kept(targets).is_some_and(|target| target.is_doubted(now));
        if !has_moved && !self.is_silent(targets, now) {
            return None;
        }
        let why = if is_same_kind { PathReason::Moved } else { PathReason::Silent };
        Some(self.switch(next, why, now))
    }

    /// The best other hop that has answered since the search began.
    fn next_best(&self, targets: &Targets) -> Option<Hop> {
        let since = self.active.as_ref()?.search?;
        self.best(targets, |target| target.answered_since(since))
    }

    /// The best allowed hop but the one in use: of the best kind the one that answered last.
    fn best(&self, targets: &Targets, is_good: impl Fn(&Target) -> bool) -> Option<Hop> {
        let others = targets.iter().filter(|(hop, _)| self.allows(*hop) && Some(*hop) != self.active());
        let good = others.filter(|(_, target)| is_good(target));
        good.min_by_key(|(hop, target)| (hop.kind(), Reverse(target.answered))).map(|(hop, _)| hop)
    }

    fn switch(&mut self, hop: Hop, why: PathReason, now: Instant) -> Change {
        self.active = Some(Active { hop, search: None, leave_by: None });
        match (hop.kind(), why) {
            (PathKind::Direct, _) => self.patience.serve(now),
            (PathKind::Relay, PathReason::Silent) => self.patience.fall(now),
            (PathKind::Relay, _) => self.patience.rest(now),
        }
        Change::Use { hop, why }
    }
}

/// How long the better kind must answer before it is used again.
#[derive(Debug)]
struct Patience {
    /// How often it fell silent in use, each time soon after the time before.
    falls: u32,
    /// Since when it has been in use.
    serving: Option<Instant>,
}

impl Patience {
    fn wait(&self) -> Duration {
        match self.falls.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => CLIMB_AFTER.saturating_mul(2_u32.saturating_pow(doubled)).min(CLIMB_AFTER_MAX),
        }
    }

    fn serve(&mut self, now: Instant) {
        self.serving.get_or_insert(now);
    }

    /// It is not in use any more, for no fault of its own.
    fn rest(&mut self, now: Instant) {
        let served = self.serving.take().map(|since| now.saturating_duration_since(since));
        if served.is_some_and(|served| served >= CLIMB_LASTED) {
            self.falls = 0;
        }
    }

    fn fall(&mut self, now: Instant) {
        self.rest(now);
        self.falls = self.falls.saturating_add(1);
    }
}
