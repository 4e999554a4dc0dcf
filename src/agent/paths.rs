//! What is allowed of the path to each peer: the word of the agent's file, until a person chooses
//! otherwise with `adit path`. A choice ends with the agent; the file is the lasting word.

use std::collections::BTreeMap;

use tokio::sync::watch;

use adit_core::config::agent::AgentConfig;
use adit_core::domain::id::ServerId;
use adit_core::domain::path::{PathKind, PathPreference};

#[derive(Debug)]
pub struct Paths {
    by_peer: watch::Sender<BTreeMap<ServerId, PathPreference>>,
}

impl Paths {
    #[must_use]
    pub fn from_config(config: &AgentConfig) -> Self {
        let by_peer = config.entries().map(|(_, entry)| (entry.peer, entry.path)).collect();
        Self { by_peer: watch::Sender::new(by_peer) }
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

    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<ServerId, PathPreference>> {
        self.by_peer.subscribe()
    }
}
