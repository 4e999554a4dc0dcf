//! The keys that this agent knows of its peers and of the Mirths it manages, and what a person's comparison makes
//! of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::audit_log::AuditLog;
use super::disk::Disk;
use super::entries::Entries;
use super::state::{AgentState, StateError};
use super::trust::{self, TrustRefusal};
use adit_core::config::agent::AdminManaged;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_net::identity::known_keys::{KeyVerdict, KnownKey, KnownKeys};
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_observe::audit::AuditEntry;

#[derive(Debug)]
pub(crate) struct TrustStore {
    known: Arc<Mutex<KnownKeys>>,
    /// The key that each peer of the file showed last.
    shown: Mutex<BTreeMap<ServerId, KeyFingerprint>>,
    mirth_keys: watch::Sender<BTreeMap<ConnectionId, KeyFingerprint>>,
    /// This agent's own key.
    own: KeyFingerprint,
    entries: Arc<Entries>,
    clock: Arc<LearntClock>,
    audit: Arc<AuditLog>,
    disk: Disk,
}

/// Why a key is not trusted from now on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(transparent)]
    Refused(#[from] TrustRefusal),
    #[error("the running agent does not have this connection; restart it, so that it reads its file")]
    NotListed,
    #[error(transparent)]
    Unkept(#[from] StateError),
}

impl TrustStore {
    /// Starts with the keys of the last run; `own` is this agent's.
    pub(crate) fn new(
        own: KeyFingerprint,
        entries: Arc<Entries>,
        (clock, audit): (Arc<LearntClock>, Arc<AuditLog>),
        state: &AgentState,
        disk: Disk,
    ) -> Result<Arc<Self>, StateError> {
        Ok(Arc::new(Self {
            known: Arc::new(Mutex::new(state.known_keys()?)),
            shown: Mutex::default(),
            mirth_keys: watch::Sender::new(state.mirth_keys()?),
            own,
            entries,
            clock,
            audit,
            disk,
        }))
    }

    /// Returns every key that is known for a connection.
    #[must_use]
    pub(crate) fn keys(&self) -> Vec<KeyFingerprint> {
        self.known.lock().keys().collect()
    }

    #[must_use]
    pub(crate) fn known(&self, connection: ConnectionId) -> Option<KnownKey> {
        self.known.lock().get(connection)
    }

    /// Remembers the key that the peer of an entry showed.
    pub(crate) fn note_shown(&self, peer: ServerId, shown: KeyFingerprint) {
        self.shown.lock().insert(peer, shown);
    }

    #[must_use]
    pub(crate) fn check(&self, connection: ConnectionId, shown: KeyFingerprint) -> KeyVerdict {
        let keys = self.known.lock();
        match keys.check(connection, shown) {
            KeyVerdict::FirstContact if self.is_compared(&keys, connection, shown) => {
                KeyVerdict::Known { verified: true }
            }
            verdict => verdict,
        }
    }

    /// Returns whether a person compared this key for another connection with the same peer.
    fn is_compared(&self, keys: &KnownKeys, connection: ConnectionId, shown: KeyFingerprint) -> bool {
        let Some(entry) = self.entries.get(connection) else { return false };
        self.entries.all().filter(|other| other.config.peer == entry.config.peer).any(|other| {
            let known = keys.get(other.config.id);
            other.config.peer_key == Some(shown) || known.is_some_and(|it| it.key == shown && it.verified)
        })
    }

    /// Pins a key at first contact, after the proofs. Another one may have been met or trusted since
    /// the key was checked.
    pub(crate) async fn meet(&self, connection: ConnectionId, key: KeyFingerprint) -> KeyVerdict {
        let (verdict, is_compared) = {
            let mut keys = self.known.lock();
            let is_compared = self.is_compared(&keys, connection, key);
            let verdict = keys.meet(connection, key);
            if verdict == KeyVerdict::FirstContact && is_compared {
                keys.trust(connection, key);
            }
            (verdict, is_compared)
        };
        tracing::debug!(%connection, %key, verdict = verdict.as_str(), is_compared, "the key of a peer that has proven itself");
        if verdict != KeyVerdict::FirstContact {
            return verdict;
        }
        if !is_compared {
            self.warn_of_first_contact(connection, key);
        }
        if let Err(error) = self.store_known().await {
            tracing::error!(%error, "the known keys could not be kept");
        }
        verdict
    }

    fn warn_of_first_contact(&self, connection: ConnectionId, key: KeyFingerprint) {
        let name = self.entries.get(connection).map(|entry| tracing::field::display(&entry.config.name));
        tracing::warn!(connection = name, %key, "first contact with an unverified key; compare it with the peer by phone, then run `adit trust`");
    }

    /// Trusts the key: a person compared the key out of band. Returns the names of the connections with the
    /// same peer for which that counts, too.
    pub(crate) async fn trust(
        &self,
        connection: ConnectionId,
        key: KeyFingerprint,
        force: bool,
    ) -> Result<Vec<String>, TrustError> {
        let Some(entry) = self.entries.get(connection) else { return Err(TrustError::NotListed) };
        let peer = entry.config.peer;
        let shown = self.shown.lock().get(&peer).copied();
        let judged = trust::judge(&entry.config, key, Some(self.own), shown, force);
        let (name, shown) = (&entry.config.name, shown.map(tracing::field::display));
        tracing::debug!(connection = %name, %key, shown, force, is_trusted = judged.is_ok(), "a person names the key of a peer");
        judged?;
        self.audit.note(AuditEntry::key_trusted(self.clock.now(), connection, peer, key)).await;
        let entries = self.entries.all().map(|entry| &entry.config);
        let also = trust::trust(&mut self.known.lock(), entries, &entry.config, key);
        self.store_known().await?;
        Ok(also)
    }

    /// Returns the key of the managed Mirth: the file's own, or the one that a person trusted.
    #[must_use]
    pub(crate) fn mirth_key(&self, managed: &AdminManaged) -> Option<KeyFingerprint> {
        managed.mirth_key.or_else(|| self.mirth_keys.borrow().get(&managed.entry.id).copied())
    }

    #[must_use]
    pub(crate) fn watch_mirth_keys(&self) -> watch::Receiver<BTreeMap<ConnectionId, KeyFingerprint>> {
        self.mirth_keys.subscribe()
    }

    /// Trusts the key: a person compared the key of this host's Mirth.
    pub(crate) async fn trust_mirth(
        &self,
        connection: ConnectionId,
        key: KeyFingerprint,
    ) -> Result<(), StateError> {
        tracing::debug!(%connection, %key, "a person trusts the key of the managed Mirth");
        self.audit.note(AuditEntry::mirth_key_trusted(self.clock.now(), connection, key)).await;
        self.disk.write(move |state| state.trust_mirth_key(connection, key)).await?;
        self.mirth_keys.send_modify(|keys| {
            keys.insert(connection, key);
        });
        Ok(())
    }

    async fn store_known(&self) -> Result<(), StateError> {
        let known = Arc::clone(&self.known);
        self.disk.write(move |state| state.store_known_keys(|| known.lock().clone())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, OWN_KEY};
    use crate::policy::tests::PEER;

    const KEY: KeyFingerprint = KeyFingerprint::from_bytes([1; 32]);
    const OTHER: KeyFingerprint = KeyFingerprint::from_bytes([2; 32]);

    #[tokio::test]
    async fn a_key_that_was_met_is_known_after_a_restart() {
        let fixture = Fixture::new();
        assert_eq!(fixture.trust.meet(Fixture::id(1), KEY).await, KeyVerdict::FirstContact);
        let fixture = fixture.restart();
        assert_eq!(fixture.trust.check(Fixture::id(1), KEY), KeyVerdict::Known { verified: false });
        assert_eq!(fixture.trust.check(Fixture::id(1), OTHER), KeyVerdict::Changed { known: KEY });
        assert_eq!(fixture.trust.check(Fixture::id(2), KEY), KeyVerdict::FirstContact, "nobody compared it");
    }

    #[tokio::test]
    async fn a_key_that_was_compared_counts_for_every_connection_with_its_peer() {
        let fixture = Fixture::new();
        let also = fixture.trust.trust(Fixture::id(1), KEY, false).await.unwrap();
        assert_eq!(also, ["entry-2"]);
        assert_eq!(fixture.trust.check(Fixture::id(2), KEY), KeyVerdict::Known { verified: true });
        assert_eq!(fixture.audit_lines(), 1);
    }

    #[tokio::test]
    async fn a_key_is_not_trusted_that_is_this_agents_own_or_not_what_the_peer_shows() {
        let trust = &Fixture::new().trust;
        let refused = trust.trust(Fixture::id(1), OWN_KEY, true).await;
        assert!(matches!(refused, Err(TrustError::Refused(TrustRefusal::Own(_)))), "{refused:?}");
        trust.note_shown(PEER, OTHER);
        let refused = trust.trust(Fixture::id(1), KEY, false).await;
        assert!(matches!(refused, Err(TrustError::Refused(TrustRefusal::ShowsOther { .. }))), "{refused:?}");
        let unlisted = trust.trust(Fixture::id(3), KEY, true).await;
        assert!(matches!(unlisted, Err(TrustError::NotListed)), "{unlisted:?}");
        assert_eq!(trust.known(Fixture::id(1)), None);
    }

    #[tokio::test]
    async fn a_trusted_key_of_mirth_reaches_who_watches_and_the_next_run() {
        let fixture = Fixture::new();
        let mut watched = fixture.trust.watch_mirth_keys();
        fixture.trust.trust_mirth(Fixture::id(1), KEY).await.unwrap();
        assert_eq!(watched.borrow_and_update().get(&Fixture::id(1)), Some(&KEY));
        let keys = fixture.restart().trust.watch_mirth_keys();
        assert_eq!(keys.borrow().get(&Fixture::id(1)), Some(&KEY));
    }
}
