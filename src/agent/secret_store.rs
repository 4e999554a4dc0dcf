//! The connections' secrets that the gateway gave out: on disk first, so that what is acknowledged is true.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::disk::Disk;
use super::entries::Entries;
use super::policies::Policies;
use super::state::{StateError, StoredSecret};
use adit_core::config::agent::Entry;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::SECRETS_KEPT_MAX;
use adit_core::domain::secret::Secret;
use adit_core::protocol::control::Rule;

/// The secrets held; the last of each connection first.
type Held = BTreeMap<ConnectionId, Vec<StoredSecret>>;

#[derive(Debug)]
pub(crate) struct SecretStore {
    held: watch::Sender<Held>,
    entries: Arc<Entries>,
    policies: Arc<Policies>,
    disk: Disk,
}

impl SecretStore {
    #[must_use]
    pub(crate) fn new(held: Held, entries: Arc<Entries>, policies: Arc<Policies>, disk: Disk) -> Arc<Self> {
        Arc::new(Self { held: watch::Sender::new(held), entries, policies, disk })
    }

    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    /// Returns the secret that `rule` asks for: the file's own, or the fetched one of that epoch.
    #[must_use]
    pub(crate) fn of(&self, entry: &Entry, rule: &Rule) -> Option<Secret> {
        if entry.secret.is_some() {
            return entry.secret.clone();
        }
        let held = self.held.borrow();
        let stored = held.get(&entry.id)?.iter().find(|stored| stored.epoch == rule.secret_epoch);
        stored.map(|stored| stored.secret.clone())
    }

    /// Returns the secret by which the peer's agent is asked whether it is there. While a rotated one is on
    /// its way the one before still is: a live tunnel must not lose its route.
    #[must_use]
    pub(crate) fn for_probes(&self, entry: &Entry, rule: &Rule) -> Option<Secret> {
        let last = || self.held.borrow().get(&entry.id)?.first().map(|stored| stored.secret.clone());
        self.of(entry, rule).or_else(last)
    }

    /// Returns whether a secret is worth keeping: this agent's file lists its connection, whose rule asks for
    /// it. What the gateway may make an agent keep is bounded by the agent's own file.
    #[must_use]
    pub(crate) fn wants(&self, connection: ConnectionId, epoch: u32) -> bool {
        // One that is held is not replaced: a gateway gives each out once.
        let is_held = self
            .held
            .borrow()
            .get(&connection)
            .is_some_and(|stored| stored.iter().any(|stored| stored.epoch == epoch));
        !is_held
            && self.entries.get(connection).is_some()
            && self.policies.received_epoch(connection) == Some(epoch)
    }

    /// Keeps a fetched secret: on disk first, so that the acknowledgement is true.
    pub(crate) async fn keep(
        &self,
        connection: ConnectionId,
        stored: StoredSecret,
    ) -> Result<(), StateError> {
        let (written, epoch) = (stored.clone(), stored.epoch);
        self.disk.write(move |state| state.store_secret(connection, &written)).await?;
        self.held.send_modify(|held| {
            let kept = held.entry(connection).or_default();
            kept.retain(|earlier| earlier.epoch != stored.epoch);
            kept.insert(0, stored);
            kept.truncate(SECRETS_KEPT_MAX);
        });
        tracing::debug!(%connection, epoch, "the secret of a connection was fetched and is on disk");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::policy::tests::rule;

    const fn stored(epoch: u32, byte: u8) -> StoredSecret {
        StoredSecret { epoch, secret: Secret::from_bytes([byte; 32]) }
    }

    #[tokio::test]
    async fn a_secret_is_wanted_once_for_the_epoch_of_a_listed_connections_rule() {
        let Fixture { secrets, policies, .. } = &Fixture::new();
        assert!(!secrets.wants(Fixture::id(1), 1), "no rule asks for it");
        let mut book = policies.received();
        book.apply_snapshot(1, vec![rule(1), rule(3)], Vec::new());
        policies.adopt(book).await;
        assert!(secrets.wants(Fixture::id(1), 1));
        assert!(!secrets.wants(Fixture::id(1), 2), "another epoch");
        assert!(!secrets.wants(Fixture::id(3), 1), "not in the file");
        secrets.keep(Fixture::id(1), stored(1, 7)).await.unwrap();
        assert!(!secrets.wants(Fixture::id(1), 1), "it is held");
    }

    #[tokio::test]
    async fn probes_use_the_last_secret_while_a_rotated_one_is_on_its_way() {
        let fixture = Fixture::new();
        fixture.secrets.keep(Fixture::id(1), stored(1, 7)).await.unwrap();
        let entry = &fixture.entries.get(Fixture::id(1)).unwrap().config;
        let rotated = Rule { secret_epoch: 2, ..rule(1) };
        assert_eq!(fixture.secrets.of(entry, &rotated), None);
        assert_eq!(fixture.secrets.for_probes(entry, &rotated), Some(stored(1, 7).secret));
        fixture.secrets.keep(Fixture::id(1), stored(2, 8)).await.unwrap();
        assert_eq!(fixture.secrets.for_probes(entry, &rotated), Some(stored(2, 8).secret));
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_written_is_not_held() {
        let fixture = Fixture::new();
        fixture.break_disk();
        assert!(fixture.secrets.keep(Fixture::id(1), stored(1, 7)).await.is_err());
        assert!(fixture.secrets.watch().borrow().is_empty());
    }
}
