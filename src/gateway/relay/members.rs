//! Which agents the relay knows, and what it was told of each. Pure: the truth as it was read goes in, and the
//! difference comes out.
//!
//! Reads are numbered as they begin, and of two the later counts. A change that the earlier saw and the later did
//! not is told by the feed only after its commit, and the read that follows from it is later still.

use std::collections::{BTreeMap, BTreeSet};

use crate::feed::Concerned;
use crate::platform::Relayed;
use adit_core::domain::id::{KeyFingerprint, RouteId, ServerId};

/// Which of two reads began later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct ReadNumber(u64);

#[derive(Debug, Default)]
pub(super) struct Members {
    by_server: BTreeMap<ServerId, Member>,
    /// Links that are being let in, by server, and by the read that it is done with. Here until something of the
    /// server changes: then what was read may be old.
    joining: BTreeSet<(ServerId, ReadNumber)>,
    links: u64,
    reads: ReadNumber,
}

#[derive(Debug)]
pub(super) struct Member {
    route: RouteId,
    /// The leaf its link was opened with.
    leaf: KeyFingerprint,
    peers: BTreeSet<RouteId>,
    /// Whose word on it counts.
    read: ReadNumber,
    /// The number of its latest link, while that is up.
    link: Option<u64>,
}

/// What the relay is to be told of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Removed { route: RouteId },
    Permitted { route: RouteId, before: BTreeSet<RouteId>, peers: BTreeSet<RouteId> },
}

impl Member {
    pub(super) const fn new(
        route: RouteId,
        leaf: KeyFingerprint,
        peers: BTreeSet<RouteId>,
        read: ReadNumber,
    ) -> Self {
        Self { route, leaf, peers, read, link: None }
    }
}

impl Members {
    pub(super) const fn begin_read(&mut self) -> ReadNumber {
        self.reads.0 += 1;
        self.reads
    }

    /// Begins the read by which a link is let in.
    pub(super) fn begin_join(&mut self, server: ServerId) -> ReadNumber {
        let read = self.begin_read();
        self.joining.insert((server, read));
        read
    }

    /// Ends it; returns whether something of the server changed meanwhile, so that it must be read again.
    pub(super) fn end_join(&mut self, server: ServerId, read: ReadNumber) -> bool {
        !self.joining.remove(&(server, read))
    }

    /// Makes a server a member, or another link its latest; returns that link's number.
    pub(super) fn insert(&mut self, server: ServerId, member: Member) -> u64 {
        self.links += 1;
        self.by_server.insert(server, Member { link: Some(self.links), ..member });
        self.links
    }

    /// Notes that a link has ended; returns the member's route if it was the latest.
    pub(super) fn leave(&mut self, server: ServerId, link: u64) -> Option<RouteId> {
        let member = self.by_server.get_mut(&server).filter(|member| member.link == Some(link))?;
        member.link = None;
        Some(member.route)
    }

    /// Notes whom a change concerns; returns the members among them.
    pub(super) fn note_changed(&mut self, concerned: &Concerned) -> Vec<ServerId> {
        match concerned {
            Concerned::All => {
                self.joining.clear();
                self.by_server.keys().copied().collect()
            }
            Concerned::Servers(servers) => {
                for server in servers {
                    self.interrupt_joining(*server);
                }
                servers.iter().filter(|server| self.by_server.contains_key(server)).copied().collect()
            }
        }
    }

    /// Has everybody read again what was being read of a server.
    fn interrupt_joining(&mut self, server: ServerId) {
        let all = (server, ReadNumber(0))..=(server, ReadNumber(u64::MAX));
        while let Some(first) = self.joining.range(all.clone()).next().copied() {
            self.joining.remove(&first);
        }
    }

    /// Sets what a read has found of a server; returns what of it the relay does not know.
    pub(super) fn set(
        &mut self,
        server: ServerId,
        found: Option<Relayed>,
        read: ReadNumber,
    ) -> Option<Change> {
        let member = self.by_server.get_mut(&server).filter(|member| member.read < read)?;
        let route = member.route;
        let Some(now) = found.filter(|now| now.key == member.leaf) else {
            self.by_server.remove(&server);
            return Some(Change::Removed { route });
        };
        member.read = read;
        if now.peers == member.peers {
            return None;
        }
        let before = std::mem::replace(&mut member.peers, now.peers.clone());
        Some(Change::Permitted { route, before, peers: now.peers })
    }
}

#[cfg(test)]
mod tests;
