//! Who is on a control link now, and where and how it says it can be reached. In memory only: after a
//! restart every agent reports again.
//!
//! A link watches its peers, and what one of them says wakes those who watch it and nobody else. Everything is
//! under one lock that is held for a look-up and the waking of those concerned: no change looks at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use tracing::debug;

use super::feed::LinkInbox;
use super::runs::Runs;
use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::limits::CONTROL_LINKS_MAX;
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::text::listed;

/// Which kinds of path an owner allows to whom.
type Allowed = BTreeMap<ServerId, Vec<Word<PathKind>>>;

#[derive(Debug, Default)]
pub(crate) struct AgentPresence {
    links: Mutex<Links>,
    guards_made: AtomicU64,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Links {
    present: HashMap<ServerId, Present>,
    /// The present servers that watch one, which may be away.
    watchers: HashMap<ServerId, BTreeSet<ServerId>>,
}

#[derive(Debug)]
struct Present {
    guard: u64,
    inbox: Arc<LinkInbox>,
    watched: BTreeSet<ServerId>,
    addresses: Vec<SocketAddr>,
    /// Who is not told.
    hidden_from: BTreeSet<ServerId>,
    /// Where not all kinds of path are.
    allowed: Allowed,
    /// Dropped when a newer link of the same server takes over.
    _in_use: oneshot::Sender<()>,
}

/// A live link's place. Dropping it makes the server absent, unless a newer link has its place.
#[derive(Debug)]
pub(crate) struct PresenceGuard {
    presence: Arc<AgentPresence>,
    server: ServerId,
    number: u64,
    replaced: oneshot::Receiver<()>,
}

impl Links {
    /// Wakes those of `concerned` that watch `server`.
    fn wake(&self, server: ServerId, concerned: impl Fn(ServerId) -> bool) {
        let watchers = self.watchers.get(&server).into_iter().flatten();
        for watcher in watchers.filter(|watcher| concerned(**watcher)) {
            if let Some(present) = self.present.get(watcher) {
                present.inbox.note_peer(server);
            }
        }
    }

    fn watch(&mut self, watcher: ServerId, peer: ServerId) {
        self.watchers.entry(peer).or_default().insert(watcher);
    }

    fn unwatch(&mut self, watcher: ServerId, peer: ServerId) {
        if let Some(watchers) = self.watchers.get_mut(&peer) {
            watchers.remove(&watcher);
            if watchers.is_empty() {
                self.watchers.remove(&peer);
            }
        }
    }

    /// Takes a server out, with what it watches.
    fn remove(&mut self, server: ServerId) -> Option<Present> {
        let present = self.present.remove(&server)?;
        for peer in &present.watched {
            self.unwatch(server, *peer);
        }
        Some(present)
    }

    fn of_guard(&mut self, guard: &PresenceGuard) -> Option<&mut Present> {
        self.present.get_mut(&guard.server).filter(|present| present.guard == guard.number)
    }
}

impl AgentPresence {
    /// Registers a link, whose inbox is told of the peers that it watches. A server has one link: the newer
    /// replaces the older, which may be dead without knowing.
    #[must_use]
    pub(crate) fn join(self: &Arc<Self>, server: ServerId, inbox: Arc<LinkInbox>) -> PresenceGuard {
        let (in_use, replaced) = oneshot::channel();
        let number = self.guards_made.fetch_add(1, Ordering::Relaxed);
        let present = Present {
            guard: number,
            inbox,
            watched: BTreeSet::new(),
            addresses: Vec::new(),
            hidden_from: BTreeSet::new(),
            allowed: BTreeMap::new(),
            _in_use: in_use,
        };
        let mut links = self.links.lock();
        let older = links.remove(server);
        links.present.insert(server, present);
        links.wake(server, |_| true);
        drop(links);
        debug!(%server, replaces_older = older.is_some(), "the server is present");
        PresenceGuard { presence: Arc::clone(self), server, number, replaced }
    }

    /// Notes which run of the server's agent has a link now. If it takes turns with another, returns where
    /// the other opened its link.
    pub(crate) fn note_run(&self, server: ServerId, boot: BootId, from: SocketAddr) -> Option<SocketAddr> {
        self.runs.lock().note(server, boot, from, Instant::now())
    }

    /// Returns whether a link of `server` may be served: it has one already, or there are not too many.
    #[must_use]
    pub(crate) fn has_room_for(&self, server: ServerId) -> bool {
        let present = &self.links.lock().present;
        present.len() < CONTROL_LINKS_MAX || present.contains_key(&server)
    }

    /// Returns what `asker` may know of where `server` is: nothing of one that is away, has not reported yet
    /// or hides from it.
    #[must_use]
    pub(crate) fn addresses(&self, server: ServerId, asker: ServerId) -> Vec<SocketAddr> {
        let present = &self.links.lock().present;
        let shown = present.get(&server).filter(|present| !present.hidden_from.contains(&asker));
        shown.map(|present| present.addresses.clone()).unwrap_or_default()
    }

    /// Returns which kinds of path the owner of `server` allows to `asker`, most wanted first; none where that
    /// is all, and `None` of one that is away.
    #[must_use]
    pub(crate) fn allowed(&self, server: ServerId, asker: ServerId) -> Option<Vec<Word<PathKind>>> {
        let present = &self.links.lock().present;
        present.get(&server).map(|present| present.allowed.get(&asker).cloned().unwrap_or_default())
    }

    #[must_use]
    pub(crate) fn is_present(&self, server: ServerId) -> bool {
        self.links.lock().present.contains_key(&server)
    }
}

impl PresenceGuard {
    /// Resolves when a newer link of this server has taken over.
    pub(crate) async fn replaced(&mut self) {
        // The sender is never used, only dropped.
        let _ = (&mut self.replaced).await;
    }

    /// Makes the server absent as dropping does; returns whether it was, no newer link having taken over.
    pub(crate) fn leave(self) -> bool {
        let is_current = self.presence.links.lock().of_guard(&self).is_some();
        drop(self);
        is_current
    }

    /// Sets the peers of which the link's inbox is told from now on.
    pub(crate) fn watch(&self, peers: BTreeSet<ServerId>) {
        let mut links = self.presence.links.lock();
        let Some(mine) = links.of_guard(self) else { return };
        let gone: Vec<_> = mine.watched.difference(&peers).copied().collect();
        let new: Vec<_> = peers.difference(&mine.watched).copied().collect();
        mine.watched = peers;
        for peer in gone {
            links.unwatch(self.server, peer);
        }
        for peer in new {
            links.watch(self.server, peer);
        }
    }

    /// Sets where the server can be reached from now on.
    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        let mut links = self.presence.links.lock();
        let Some(mine) = links.of_guard(self).filter(|mine| mine.addresses != addresses) else { return };
        debug!(before = %listed(&mine.addresses), now = %listed(&addresses), "where the agent is reached");
        mine.addresses = addresses;
        links.wake(self.server, |_| true);
    }

    /// Sets who is not told from now on.
    pub(crate) fn hide_from(&self, peers: BTreeSet<ServerId>) {
        let mut links = self.presence.links.lock();
        let Some(mine) = links.of_guard(self).filter(|mine| mine.hidden_from != peers) else { return };
        debug!(peers = %listed(&peers), "these peers are not told where the agent is");
        let concerned: BTreeSet<_> = mine.hidden_from.symmetric_difference(&peers).copied().collect();
        mine.hidden_from = peers;
        links.wake(self.server, |watcher| concerned.contains(&watcher));
    }

    /// Sets which kinds of path its owner allows to whom from now on.
    pub(crate) fn allow(&self, allowed: Allowed) {
        let mut links = self.presence.links.lock();
        let Some(mine) = links.of_guard(self).filter(|mine| mine.allowed != allowed) else { return };
        debug!(peers = %listed(allowed.keys()), "to these peers not all kinds of path are allowed");
        let all = mine.allowed.keys().chain(allowed.keys()).copied();
        let concerned: BTreeSet<_> = all.filter(|peer| mine.allowed.get(peer) != allowed.get(peer)).collect();
        mine.allowed = allowed;
        links.wake(self.server, |watcher| concerned.contains(&watcher));
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        let mut links = self.presence.links.lock();
        if links.of_guard(self).is_some() {
            links.remove(self.server);
            links.wake(self.server, |_| true);
            drop(links);
            debug!(server = %self.server, "the server is absent");
        }
    }
}

#[cfg(test)]
mod tests;
