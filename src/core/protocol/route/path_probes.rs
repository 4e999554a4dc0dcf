//! The paths worth probing, of one peer: which there are, and how many at most.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::path::Path;
use super::path_probe::PathProbe;
use crate::domain::limits::{PEER_ADDRESSES_MAX, SOURCE_LAPSES_AFTER};
use crate::domain::path::PathKind;

/// Of each kind at most [`PEER_ADDRESSES_MAX`] announced paths and as many learnt ones, and the path in use.
#[derive(Debug, Default)]
pub(super) struct PathProbes(BTreeMap<Path, PathProbe>);

impl PathProbes {
    pub(super) fn get(&self, path: Path) -> Option<&PathProbe> {
        self.0.get(&path)
    }

    pub(super) fn get_mut(&mut self, path: Path) -> Option<&mut PathProbe> {
        self.0.get_mut(&path)
    }

    /// Returns them all, ordered.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Path, &PathProbe)> {
        self.0.iter().map(|(path, probe)| (*path, probe))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Path, &mut PathProbe)> {
        self.0.iter_mut().map(|(path, probe)| (*path, probe))
    }

    /// Sets which paths of `kind` there are, up to the bound. What answers or is in use stays even so.
    pub(super) fn announce(&mut self, kind: PathKind, paths: &[Path], in_use: Option<Path>, now: Instant) {
        let paths = &paths[..paths.len().min(PEER_ADDRESSES_MAX)];
        self.0.retain(|path, probe| {
            if path.kind() != kind {
                return true;
            }
            let was_announced = std::mem::replace(&mut probe.announced, paths.contains(path));
            if probe.announced && !was_announced {
                match kind {
                    PathKind::Direct => probe.search(now),
                    PathKind::Relay | PathKind::Tcp => probe.reset(now),
                }
            }
            probe.announced || probe.answered.is_some() || Some(*path) == in_use
        });
        for path in paths {
            self.0.entry(*path).or_insert_with(|| PathProbe::new(true, now));
        }
    }

    /// Returns the probe of `path`, new where nobody announced it. Learnt paths of a kind are bounded: the one
    /// that answered longest ago makes room, and its address is given to `lapsed` if it was valid.
    pub(super) fn learn(
        &mut self,
        path: Path,
        in_use: Option<Path>,
        now: Instant,
        lapsed: impl FnMut(SocketAddr),
    ) -> &mut PathProbe {
        if !self.0.contains_key(&path)
            && let Some(oldest) = self.without_room(path.kind(), in_use)
            && self.0.remove(&oldest).is_some_and(|probe| probe.answered.is_some())
        {
            oldest.address().into_iter().for_each(lapsed);
        }
        self.0.entry(path).or_insert_with(|| PathProbe::new(false, now))
    }

    /// Returns who must go before another path of `kind` is learnt.
    fn without_room(&self, kind: PathKind, in_use: Option<Path>) -> Option<Path> {
        let is_learnt =
            |path: Path, probe: &PathProbe| path.kind() == kind && !probe.announced && Some(path) != in_use;
        let learnt = || self.iter().filter(|(path, probe)| is_learnt(*path, probe));
        let is_full = learnt().count() >= PEER_ADDRESSES_MAX;
        learnt().min_by_key(|(_, probe)| probe.answered).map(|(path, _)| path).filter(|_| is_full)
    }

    /// Begins again: nothing that was answered counts any more; what was only learnt is forgotten.
    pub(super) fn reset(&mut self, now: Instant, mut lapsed: impl FnMut(SocketAddr)) {
        self.0.retain(|path, probe| {
            if probe.answered.take().is_some() {
                path.address().into_iter().for_each(&mut lapsed);
            }
            probe.reset(now);
            probe.announced
        });
    }

    /// Forgets what has answered nothing for long, unless it is in use.
    pub(super) fn lapse(&mut self, in_use: Option<Path>, now: Instant, mut lapsed: impl FnMut(SocketAddr)) {
        self.0.retain(|path, probe| {
            let has_lapsed = probe.answered.is_some() && !probe.answered_within(SOURCE_LAPSES_AFTER, now);
            if !has_lapsed || Some(*path) == in_use {
                return true;
            }
            (probe.answered, probe.steady) = (None, None);
            path.address().into_iter().for_each(&mut lapsed);
            probe.announced
        });
    }
}
