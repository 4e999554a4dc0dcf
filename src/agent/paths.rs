//! What is allowed of the path to each peer: the word of the agent's file, until a person chooses
//! otherwise with `adit path`. A choice ends with the agent; the file is the lasting word. Beside it what the
//! peer's owner allows, as the gateway told: it decides nothing here, but where the two have no kind in common
//! it says why there is no path.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use adit_core::config::agent::AgentConfig;
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::PATH_KINDS_TOLD_MAX;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_core::domain::word::Word;
use adit_core::protocol::control::PeerPaths;
use adit_core::protocol::text::listed;

#[derive(Debug)]
pub struct Paths {
    by_peer: watch::Sender<BTreeMap<ServerId, PathPreference>>,
    /// Of peers of this agent's file alone.
    told: Mutex<BTreeMap<ServerId, Vec<Word<PathKind>>>>,
}

/// Two owners allow no kind of path in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this side allows {own} and the peer's side {peer}: no path is allowed by both; agree on one and write it as `path` or \
     `prefer` on both sides"
)]
pub struct NoCommonPath {
    own: PathPreference,
    peer: String,
}

impl Paths {
    #[must_use]
    pub fn from_config(config: &AgentConfig) -> Self {
        let by_peer = config.entries().map(|(_, entry)| (entry.peer, entry.path)).collect();
        Self { by_peer: watch::Sender::new(by_peer), told: Mutex::default() }
    }

    #[must_use]
    pub fn to(&self, peer: ServerId) -> PathPreference {
        self.by_peer.borrow().get(&peer).copied().unwrap_or_default()
    }

    /// Counts for all connections with `peer`: they share the path to it.
    pub fn choose(&self, peer: ServerId, choice: PathPreference) {
        self.by_peer.send_if_modified(|paths| paths.insert(peer, choice) != Some(choice));
    }

    /// Returns the peers to which no direct path is allowed, and who therefore learn no address of this host.
    #[must_use]
    pub fn hidden_from(&self) -> Vec<ServerId> {
        let paths = self.by_peer.borrow();
        let hidden = paths.iter().filter(|(_, choice)| !choice.allows(PathKind::Direct));
        hidden.map(|(peer, _)| *peer).collect()
    }

    /// Returns what the gateway is to tell the peers: to whom not every kind is allowed in the usual order.
    #[must_use]
    pub fn allowed(&self) -> Vec<PeerPaths> {
        let paths = self.by_peer.borrow();
        let special = paths.iter().filter(|(_, choice)| **choice != PathPreference::AUTO);
        let told = special.map(|(peer, choice)| PeerPaths {
            peer: *peer,
            allowed: choice.iter().map(Word::Known).collect(),
        });
        told.collect()
    }

    /// Notes which kinds of path a peer's owner allows; none is no word on it.
    pub fn note_peers_word(&self, peer: ServerId, mut allowed: Vec<Word<PathKind>>) {
        if !self.by_peer.borrow().contains_key(&peer) {
            return tracing::debug!(%peer, "which paths a stranger allows is not kept");
        }
        allowed.truncate(PATH_KINDS_TOLD_MAX);
        tracing::debug!(%peer, allowed = %listed(&allowed), "the gateway says which paths a peer's owner allows");
        self.told.lock().insert(peer, allowed);
    }

    /// Returns what each side allows, where no path of the one leads to the other.
    #[must_use]
    pub fn conflict(&self, peer: ServerId) -> Option<NoCommonPath> {
        let (own, told) = (self.to(peer), self.told.lock());
        let allowed = told.get(&peer).filter(|allowed| !allowed.is_empty())?;
        let peer = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        (!own.iter().any(|kind| meets(kind, allowed))).then_some(NoCommonPath { own, peer })
    }

    /// Returns whether the peer's owner allows what a path of this kind leads to, as far as was told.
    #[must_use]
    pub fn peer_meets(&self, peer: ServerId, kind: PathKind) -> bool {
        let told = self.told.lock();
        told.get(&peer).is_none_or(|allowed| allowed.is_empty() || meets(kind, allowed))
    }

    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<ServerId, PathPreference>> {
        self.by_peer.subscribe()
    }
}

/// Returns whether a path of this kind leads to a peer that allows these. Of a relayed tunnel each end takes its
/// own way to the relay; a kind that only a newer build knows is none that this one could use.
fn meets(kind: PathKind, allowed: &[Word<PathKind>]) -> bool {
    let mut known = allowed.iter().filter_map(|allowed| allowed.known());
    match kind {
        PathKind::Direct => known.any(|allowed| allowed == PathKind::Direct),
        PathKind::Relay | PathKind::Tcp => known.any(|allowed| allowed != PathKind::Direct),
    }
}

#[cfg(test)]
impl Paths {
    /// Returns those of an agent with one peer.
    pub(crate) fn to_one(peer: ServerId, own: PathPreference) -> Self {
        Self { by_peer: watch::Sender::new([(peer, own)].into()), told: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ServerId = ServerId::from_bytes([2; 16]);
    const STRANGER: ServerId = ServerId::from_bytes([3; 16]);

    fn paths(own: PathPreference) -> Paths {
        Paths::to_one(PEER, own)
    }

    #[test]
    fn peers_are_told_of_what_is_not_the_usual() {
        let paths = paths(PathPreference::AUTO);
        assert_eq!(paths.allowed(), []);
        paths.choose(PEER, "tcp,relay".parse().unwrap());
        let allowed = vec![PathKind::Tcp.into(), PathKind::Relay.into()];
        assert_eq!(paths.allowed(), [PeerPaths { peer: PEER, allowed }]);
    }

    #[test]
    fn of_a_peers_words_no_more_are_kept_than_there_can_be() {
        let paths = paths(PathPreference::AUTO);
        paths.note_peers_word(PEER, vec![PathKind::Tcp.into(); 1_000]);
        assert_eq!(paths.told.lock()[&PEER].len(), PATH_KINDS_TOLD_MAX);
        paths.note_peers_word(STRANGER, vec![PathKind::Tcp.into()]);
        assert!(!paths.told.lock().contains_key(&STRANGER));
    }

    #[test]
    fn two_owners_without_a_path_in_common_are_named_with_what_each_allows() {
        let paths = paths(PathPreference::only(PathKind::Direct));
        assert_eq!(paths.conflict(PEER), None, "nobody has said anything");
        paths.note_peers_word(PEER, vec![PathKind::Relay.into(), PathKind::Tcp.into()]);
        let said = paths.conflict(PEER).unwrap().to_string();
        assert!(said.starts_with("this side allows direct and the peer's side relay,tcp: no path"), "{said}");
        for agreed in [vec![PathKind::Tcp.into(), PathKind::Direct.into()], vec![]] {
            paths.note_peers_word(PEER, agreed);
            assert_eq!(paths.conflict(PEER), None);
        }
        paths.note_peers_word(STRANGER, vec![PathKind::Tcp.into()]);
        assert!(!paths.told.lock().contains_key(&STRANGER));
    }

    #[test]
    fn two_owners_meet_at_the_relay_whatever_each_takes_there() {
        for (own, peers, meet) in [
            ("relay", "tcp", true),
            ("tcp", "relay", true),
            ("tcp", "direct", false),
            ("direct", "direct,tcp", true),
            ("relay,direct", "direct", true),
        ] {
            let paths = paths(own.parse().unwrap());
            let peers: PathPreference = peers.parse().unwrap();
            paths.note_peers_word(PEER, peers.iter().map(Word::Known).collect());
            assert_eq!(paths.conflict(PEER).is_none(), meet, "{own} and {peers}");
        }
        let paths = paths(PathPreference::AUTO);
        paths.note_peers_word(PEER, vec![Word::from_text("punched")]);
        assert!(paths.conflict(PEER).is_some(), "a kind that this build does not know is none of its own");
        assert!(!paths.peer_meets(PEER, PathKind::Relay));
        assert!(paths.peer_meets(STRANGER, PathKind::Relay));
    }
}
