//! The hops worth probing, of one peer: which there are, and how many at most.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::hop::Hop;
use super::target::Target;
use crate::domain::limits::{PEER_ADDRESSES_MAX, SOURCE_LAPSES_AFTER};
use crate::domain::path::PathKind;

/// At most [`PEER_ADDRESSES_MAX`] announced addresses, as many learnt ones, the hop in use and the
/// relay.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<Hop, Target>);

impl Targets {
    pub(super) fn get(&self, hop: Hop) -> Option<&Target> {
        self.0.get(&hop)
    }

    pub(super) fn get_mut(&mut self, hop: Hop) -> Option<&mut Target> {
        self.0.get_mut(&hop)
    }

    /// The better kind first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Hop, &Target)> {
        self.0.iter().map(|(hop, target)| (*hop, target))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Hop, &mut Target)> {
        self.0.iter_mut().map(|(hop, target)| (*hop, target))
    }

    /// Sets which hops of `kind` there are, up to the bound. What answers or is in use stays even so.
    pub(super) fn announce(&mut self, kind: PathKind, hops: &[Hop], in_use: Option<Hop>, now: Instant) {
        let hops = &hops[..hops.len().min(PEER_ADDRESSES_MAX)];
        self.0.retain(|hop, target| {
            if hop.kind() != kind {
                return true;
            }
            target.announced = hops.contains(hop);
            target.announced || target.answered.is_some() || Some(*hop) == in_use
        });
        for hop in hops {
            self.0.entry(*hop).or_insert_with(|| Target::new(true, now));
        }
    }

    /// The target of `hop`, new where nobody announced it. Learnt addresses are bounded: the one
    /// that answered longest ago makes room, and is given to `lapsed` if it was valid.
    pub(super) fn learn(
        &mut self,
        hop: Hop,
        in_use: Option<Hop>,
        now: Instant,
        lapsed: impl FnMut(SocketAddr),
    ) -> &mut Target {
        if !self.0.contains_key(&hop)
            && let Some(oldest) = self.without_room(in_use)
            && self.0.remove(&oldest).is_some_and(|target| target.answered.is_some())
        {
            oldest.address().into_iter().for_each(lapsed);
        }
        self.0.entry(hop).or_insert_with(|| Target::new(false, now))
    }

    /// Who must go before another address is learnt.
    fn without_room(&self, in_use: Option<Hop>) -> Option<Hop> {
        let is_learnt = |hop: Hop, target: &Target| {
            hop.kind() == PathKind::Direct && !target.announced && Some(hop) != in_use
        };
        let learnt = || self.iter().filter(|(hop, target)| is_learnt(*hop, target));
        let is_full = learnt().count() >= PEER_ADDRESSES_MAX;
        learnt().min_by_key(|(_, target)| target.answered).map(|(hop, _)| hop).filter(|_| is_full)
    }

    /// Nothing that was answered counts any more; what was only learnt is forgotten.
    pub(super) fn begin_anew(&mut self, now: Instant, mut lapsed: impl FnMut(SocketAddr)) {
        self.0.retain(|hop, target| {
            if target.answered.take().is_some() {
                hop.address().into_iter().for_each(&mut lapsed);
            }
            target.begin_anew(now);
            target.announced
        });
    }

    /// Forgets what has answered nothing for long, unless it is in use.
    pub(super) fn lapse(&mut self, in_use: Option<Hop>, now: Instant, mut lapsed: impl FnMut(SocketAddr)) {
        self.0.retain(|hop, target| {
            let has_lapsed = target.answered.is_some() && !target.answered_within(SOURCE_LAPSES_AFTER, now);
            if !has_lapsed || Some(*hop) == in_use {
                return true;
            }
            (target.answered, target.steady) = (None, None);
            hop.address().into_iter().for_each(&mut lapsed);
            target.announced
        });
    }
}
