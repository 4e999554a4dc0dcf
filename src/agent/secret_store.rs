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
