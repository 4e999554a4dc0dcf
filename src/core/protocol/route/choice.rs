//! Which path is used: prefer the better kind, leave what is silent, come back with patience. Which
//! kind is the better one, the owner says.
//!
//! - The first path that answers is used. One of a better kind takes over once it has answered a
//!   probe as long as the packets that are sent (the MTU in use).
//! - A path that has not answered for three seconds is left for the best that answers; a search
//!   began two seconds earlier, when it first kept a probe waiting for one. While nothing answers
//!   it stays. A peer that answers that search at another address of the same kind has moved, and
//!   is followed at once.
//! - A kind that was left because it was silent must answer for 30 s without a gap before it is
//!   used again, and twice as long each time it falls again within ten minutes. How long is asked
//!   of which kind stands in [`super::patience`].
//! - What the owner does not allow, or a relay that the rules do not name, is left at once for a path known to be good; else for the first
//!   that answers, and after three seconds for nothing.
//!
//! Only decides. What was asked and answered is kept in [`super::path_probe`], by [`super::PeerRoute`].

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Instant;

use super::path::{Path, PathReason};
use super::path_probe::{PathProbe, Proof};
use super::path_probes::PathProbes;
use super::patience::{Patience, terms};
use crate::domain::id::RelayId;
use crate::domain::limits::{PATH_SILENCE, QUIC_MTU_MIN};
use crate::domain::path::{PathKind, PathPreference};

#[derive(Debug)]
pub(super) struct Choice {
    preference: PathPreference,
    /// Relays that no rule lets packets for this peer take.
    forbidden: BTreeSet<RelayId>,
    active: Option<Active>,
    patience: Patience,
    mtu: usize,
}

#[derive(Debug)]
struct Active {
    path: Path,
    /// Since when all paths are probed, not only this one.
    search: Option<Instant>,
    /// It is not allowed any more, and is left by then.
    leave_by: Option<Instant>,
}

/// What to do about the path in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Use { path: Path, why: PathReason },
    UseNone,
}

/// What a path is to the one in use, and so how it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathRole {
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
    pub(super) fn new() -> Self {
        let preference = PathPreference::AUTO;
        Self {
            preference,
            forbidden: BTreeSet::new(),
            active: None,
            patience: Patience::default(),
            mtu: QUIC_MTU_MIN,
        }
    }

    pub(super) fn active(&self) -> Option<Path> {
        self.active.as_ref().map(|active| active.path)
    }

    pub(super) const fn preference(&self) -> PathPreference {
        self.preference
    }

    pub(super) const fn forbidden(&self) -> &BTreeSet<RelayId> {
        &self.forbidden
    }

    pub(super) fn allows(&self, path: Path) -> bool {
        let is_forbidden = path.relay().is_some_and(|relay| self.forbidden.contains(&relay));
        self.preference.allows(path.kind()) && !is_forbidden
    }

    pub(super) const fn mtu(&self) -> usize {
        self.mtu
    }

    pub(super) const fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// Returns whether no path is known to work.
    pub(super) fn is_lost(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.search.is_some())
    }

    pub(super) fn role(&self, path: Path) -> PathRole {
        let Some(active) = &self.active else {
            return if self.allows(path) { PathRole::Searched } else { PathRole::Forbidden };
        };
        let rank = |path: Path| self.preference.rank(path.kind());
        match rank(path).cmp(&rank(active.path)) {
            _ if !self.allows(path) => PathRole::Forbidden,
            _ if path == active.path => PathRole::Active,
            _ if active.search.is_some() || active.leave_by.is_some() => PathRole::Searched,
            std::cmp::Ordering::Less => PathRole::Better,
            std::cmp::Ordering::Equal => PathRole::Idle,
            std::cmp::Ordering::Greater => PathRole::Standby,
        }
    }

    /// Returns whether packets of the peer are to come this way too, as far as a relay chooses.
    pub(super) fn is_wanted_back(&self, path: Path) -> bool {
        match self.role(path) {
            // Where nothing answers, the relay may try whatever takes our questions there: else two ends that
            // lose their UDP at once would ask each other over TCP, and be handed the questions over UDP.
            PathRole::Active | PathRole::Searched => true,
            // What comes over a carrier that the owner does not allow is not taken.
            PathRole::Better | PathRole::Standby | PathRole::Idle | PathRole::Forbidden => {
                let relayed = [PathKind::Relay, PathKind::Tcp];
                relayed.into_iter().all(|kind| kind == path.kind() || !self.preference.allows(kind))
            }
        }
    }

    /// Sets what is allowed, and wanted most: the owner's word, and of relays the rules'.
    pub(super) fn set_allowed(
        &mut self,
        preference: PathPreference,
        forbidden: BTreeSet<RelayId>,
        probes: &PathProbes,
        now: Instant,
    ) -> Option<Change> {
        (self.preference, self.forbidden) = (preference, forbidden);
        let is_allowed = self.allows(self.active()?);
        self.active.as_mut()?.leave_by = (!is_allowed).then_some(now + PATH_SILENCE);
        if is_allowed {
            return None;
        }
        let good = self.best(probes, |probe| probe.answered_within(PATH_SILENCE, now))?;
        Some(self.switch(good, PathReason::Forced, now))
    }

    /// Returns whether all are asked because the path in use is silent.
    pub(super) fn is_searching(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.search.is_some())
    }

    /// Searches: all paths are probed from now on, until the one in use answers.
    pub(super) fn search(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.search.get_or_insert(now);
        }
    }

    /// Notes that an answer came over `path`, which is allowed, and stands in `probes` already.
    pub(super) fn note_answer(
        &mut self,
        path: Path,
        proof: Proof,
        probes: &PathProbes,
        now: Instant,
    ) -> Option<Change> {
        match self.role(path) {
            PathRole::Active => {
                self.active.as_mut()?.search = None;
                None
            }
            PathRole::Searched => match &self.active {
                None => Some(self.switch(path, PathReason::First, now)),
                Some(active) if active.leave_by.is_some() => Some(self.switch(path, PathReason::Forced, now)),
                Some(_) => self.leave_silent(probes, now),
            },
            PathRole::Better => {
                let has_proven = proof.length >= self.mtu
                    && self.climb_at(path.kind(), probes.get(path)?).is_some_and(|at| proof.sent >= at);
                has_proven.then(|| self.switch(path, PathReason::Better, now))
            }
            PathRole::Standby | PathRole::Idle | PathRole::Forbidden => None,
        }
    }

    /// Returns when an answered probe of this better path, of this kind, is proof enough.
    pub(super) fn climb_at(&self, kind: PathKind, probe: &PathProbe) -> Option<Instant> {
        probe.steady.map(|steady| self.patience.climb_at(kind, steady))
    }

    /// Returns whether a search must begin.
    pub(super) fn is_doubtful(&self, probes: &PathProbes, now: Instant) -> bool {
        self.doubted_at(probes).is_some_and(|at| at <= now)
    }

    /// Leaves what has had its time.
    pub(super) fn handle_timeout(&mut self, probes: &PathProbes, now: Instant) -> Option<Change> {
        if self.active.as_ref()?.leave_by.is_some_and(|by| by <= now) {
            self.forget(now);
            return Some(Change::UseNone);
        }
        self.leave_silent(probes, now)
    }

    pub(super) fn poll_timeout(&self, probes: &PathProbes) -> Option<Instant> {
        let leave_by = self.active.as_ref().and_then(|active| active.leave_by);
        let next = self.next_best(probes);
        let silent_at = next.and_then(|_| self.silent_at(probes));
        [leave_by, self.doubted_at(probes), silent_at].into_iter().flatten().min()
    }

    /// Forgets the choice. The path in use is not silent by accident: the peer is another one now.
    pub(super) fn forget(&mut self, now: Instant) {
        if let Some(active) = self.active.take() {
            self.patience.rest(active.path.kind(), now);
        }
    }

    pub(super) fn is_silent(&self, probes: &PathProbes, now: Instant) -> bool {
        self.silent_at(probes).is_some_and(|at| at <= now)
    }

    /// Returns whether nothing can be relied on: there is no path in use, or it has kept a probe waiting, or
    /// it is on its way out.
    pub(super) fn is_in_doubt(&self, probes: &PathProbes, now: Instant) -> bool {
        self.kept(probes).is_none_or(|probe| probe.is_doubted(now))
    }

    fn silent_at(&self, probes: &PathProbes) -> Option<Instant> {
        let kind = self.active()?.kind();
        self.kept(probes)?.silent_at(terms(kind).silence)
    }

    /// Returns the path in use, unless it is on its way out.
    fn kept<'a>(&self, probes: &'a PathProbes) -> Option<&'a PathProbe> {
        let active = self.active.as_ref().filter(|active| active.leave_by.is_none())?;
        probes.get(active.path)
    }

    fn doubted_at(&self, probes: &PathProbes) -> Option<Instant> {
        self.kept(probes).filter(|_| !self.is_searching())?.doubted_at()
    }

    fn leave_silent(&mut self, probes: &PathProbes, now: Instant) -> Option<Change> {
        let next = self.next_best(probes)?;
        let is_same_kind = self.active().is_some_and(|active| active.kind() == next.kind());
        let has_moved = is_same_kind && self.kept(probes).is_some_and(|probe| probe.is_doubted(now));
        if !has_moved && !self.is_silent(probes, now) {
            return None;
        }
        let why = if is_same_kind { PathReason::Moved } else { PathReason::Silent };
        Some(self.switch(next, why, now))
    }

    /// Returns the best other path that has answered since the search began.
    fn next_best(&self, probes: &PathProbes) -> Option<Path> {
        let since = self.active.as_ref()?.search?;
        self.best(probes, |probe| probe.answered_since(since))
    }

    /// Returns the best allowed path but the one in use: of the best kind the one that answered last.
    fn best(&self, probes: &PathProbes, is_good: impl Fn(&PathProbe) -> bool) -> Option<Path> {
        let others = probes.iter().filter(|(path, _)| self.allows(*path) && Some(*path) != self.active());
        let good = others.filter(|(_, probe)| is_good(probe));
        good.min_by_key(|(path, probe)| (self.preference.rank(path.kind()), Reverse(probe.answered)))
            .map(|(path, _)| path)
    }

    fn switch(&mut self, path: Path, why: PathReason, now: Instant) -> Change {
        let before = self.active().map(Path::kind).filter(|before| *before != path.kind());
        match (before, why) {
            (Some(before), PathReason::Silent) => self.patience.fall(before, now),
            (Some(before), _) => self.patience.rest(before, now),
            (None, _) => {}
        }
        self.active = Some(Active { path, search: None, leave_by: None });
        self.patience.serve(path.kind(), now);
        Change::Use { path, why }
    }
}
