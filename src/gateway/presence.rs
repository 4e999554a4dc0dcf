//! Who is on a control link now, and where it says it can be reached. In memory only: after a
//! restart every agent reports again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use tracing::debug;

use super::runs::Runs;
use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::limits::CONTROL_LINKS_MAX;
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::text::listed;

#[derive(Debug, Default)]
pub(crate) struct AgentPresence {
    present: Mutex<BTreeMap<ServerId, Present>>,
    guards_made: AtomicU64,
    runs: Mutex<Runs>,
    /// Rises with every change of who is where.
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Present {
    guard: u64,
    addresses: Vec<SocketAddr>,
    /// Who is not told.
    hidden_from: BTreeSet<ServerId>,
    /// Which kinds of path its owner allows to whom, where not all.
    allowed: BTreeMap<ServerId, Vec<Word<PathKind>>>,
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

impl AgentPresence {
    /// Registers a link. A server has one link: the newer replaces the older, which may be dead without
    /// knowing.
    #[must_use]
    pub(crate) fn join(self: &Arc<Self>, server: ServerId) -> PresenceGuard {
        let (in_use, replaced) = oneshot::channel();
        let number = self.guards_made.fetch_add(1, Ordering::Relaxed);
        let (addresses, hidden_from, allowed) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        let present = Present { guard: number, addresses, hidden_from, allowed, _in_use: in_use };
        let older = self.present.lock().insert(server, present);
        debug!(%server, replaces_older = older.is_some(), "the server is present");
        self.changed();
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
        let present = self.present.lock();
        present.len() < CONTROL_LINKS_MAX || present.contains_key(&server)
    }

    /// Returns what `asker` may know of where `server` is: nothing of one that is away, has not reported yet
    /// or hides from it.
    #[must_use]
    pub(crate) fn addresses(&self, server: ServerId, asker: ServerId) -> Vec<SocketAddr> {
        let present = self.present.lock();
        let shown = present.get(&server).filter(|present| !present.hidden_from.contains(&asker));
        shown.map(|present| present.addresses.clone()).unwrap_or_default()
    }

    /// Returns which kinds of path the owner of `server` allows to `asker`, most wanted first; none where that
    /// is all, and `None` of one that is away.
    #[must_use]
    pub(crate) fn allowed(&self, server: ServerId, asker: ServerId) -> Option<Vec<Word<PathKind>>> {
        let present = self.present.lock();
        present.get(&server).map(|present| present.allowed.get(&asker).cloned().unwrap_or_default())
    }

    #[must_use]
    pub(crate) fn is_present(&self, server: ServerId) -> bool {
        self.present.lock().contains_key(&server)
    }

    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

impl PresenceGuard {
    /// Resolves when a newer link of this server has taken over.
    pub(crate) async fn replaced(&mut self) {
        // The sender is never used, only dropped.
        let _ = (&mut self.replaced).await;
    }

    /// Returns whether no newer link has taken over.
    #[must_use]
    pub(crate) fn is_current(&self) -> bool {
        self.presence.present.lock().get(&self.server).is_some_and(|present| present.guard == self.number)
    }

    /// Sets where the server can be reached from now on.
    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.change(|mine| {
            let has_moved = mine.addresses != addresses;
            has_moved.then(|| {
                debug!(
                    before = %listed(&mine.addresses),
                    now = %listed(&addresses),
                    "where the agent is reached"
                );
                mine.addresses = addresses;
            })
        });
    }

    /// Sets who is not told from now on.
    pub(crate) fn hide_from(&self, peers: BTreeSet<ServerId>) {
        self.change(|mine| {
            (mine.hidden_from != peers).then(|| {
                debug!(peers = %listed(&peers), "these peers are not told where the agent is");
                mine.hidden_from = peers;
            })
        });
    }

    /// Sets which kinds of path its owner allows to whom from now on.
    pub(crate) fn allow(&self, allowed: BTreeMap<ServerId, Vec<Word<PathKind>>>) {
        self.change(|mine| {
            (mine.allowed != allowed).then(|| {
                debug!(?allowed, "to these peers not all kinds of path are allowed");
                mine.allowed = allowed;
            })
        });
    }

    fn change(&self, change: impl FnOnce(&mut Present) -> Option<()>) {
        let mut present = self.presence.present.lock();
        let mine = present.get_mut(&self.server).filter(|present| present.guard == self.number);
        if mine.and_then(change).is_some() {
            drop(present);
            self.presence.changed();
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        let mut present = self.presence.present.lock();
        if present.get(&self.server).is_some_and(|present| present.guard == self.number) {
            present.remove(&self.server);
            drop(present);
            debug!(server = %self.server, "the server is absent");
            self.presence.changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId::from_bytes([1; 16]);
    const PEER: ServerId = ServerId::from_bytes([2; 16]);

    fn address(port: u16) -> Vec<SocketAddr> {
        vec![([127, 0, 0, 1], port).into()]
    }

    #[tokio::test]
    async fn a_newer_link_replaces_the_older_whose_end_then_changes_nothing() {
        let presence = Arc::new(AgentPresence::default());
        let mut older = presence.join(SERVER);
        older.set_addresses(address(1));
        let newer = presence.join(SERVER);
        older.replaced().await;
        assert_eq!(presence.addresses(SERVER, PEER), []);
        assert!(newer.is_current() && !older.is_current());

        newer.set_addresses(address(2));
        older.set_addresses(address(1));
        drop(older);
        assert_eq!(presence.addresses(SERVER, PEER), address(2));
        drop(newer);
        assert!(!presence.is_present(SERVER));
    }

    #[test]
    fn who_a_server_hides_from_is_not_told_where_it_is() {
        let (presence, other) = (Arc::new(AgentPresence::default()), ServerId::from_bytes([3; 16]));
        let guard = presence.join(SERVER);
        guard.hide_from([PEER].into());
        guard.set_addresses(address(1));
        assert_eq!(presence.addresses(SERVER, PEER), []);
        assert_eq!(presence.addresses(SERVER, other), address(1));
        let mut watching = presence.subscribe();
        watching.mark_unchanged();
        guard.hide_from(BTreeSet::new());
        assert!(watching.has_changed().unwrap());
        assert_eq!(presence.addresses(SERVER, PEER), address(1));
    }

    #[test]
    fn what_an_owner_allows_is_told_to_whom_it_concerns_while_its_agent_is_there() {
        let (presence, other) = (Arc::new(AgentPresence::default()), ServerId::from_bytes([3; 16]));
        assert_eq!(presence.allowed(SERVER, PEER), None);
        let guard = presence.join(SERVER);
        assert_eq!(presence.allowed(SERVER, PEER), Some(vec![]));
        let mut watching = presence.subscribe();
        watching.mark_unchanged();
        let tcp = vec![Word::Known(PathKind::Tcp)];
        for is_news in [true, false] {
            guard.allow([(PEER, tcp.clone())].into());
            assert_eq!(watching.has_changed().unwrap(), is_news);
            watching.mark_unchanged();
        }
        assert_eq!(presence.allowed(SERVER, PEER), Some(tcp));
        assert_eq!(presence.allowed(SERVER, other), Some(vec![]));
        drop(guard);
        assert_eq!(presence.allowed(SERVER, PEER), None);
    }

    #[test]
    fn only_a_change_wakes_those_who_watch() {
        let presence = Arc::new(AgentPresence::default());
        let guard = presence.join(SERVER);
        guard.set_addresses(address(1));
        let mut watching = presence.subscribe();
        watching.mark_unchanged();
        guard.set_addresses(address(1));
        assert!(!watching.has_changed().unwrap());
        drop(guard);
        assert!(watching.has_changed().unwrap());
    }
}
