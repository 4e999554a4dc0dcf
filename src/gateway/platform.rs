//! The rules of the platform over the store: every change people and agents may ask for, each with
//! its audit entry in the same transaction, refusals too.
//!
//! Users come in as an [`Actor`] that somebody else has authenticated; agents as a server id out of
//! a verified leaf. No socket here, and no word about how an answer is shown.

mod actor;
mod agents;
mod audit;
mod audited_tx;
mod channels;
mod connections;
mod counted;
mod enrolment;
mod entry;
mod error;
mod expiry;
mod grants;
mod holds;
mod lists;
mod look;
mod offers;
mod organizations;
mod peerings;
mod presence;
mod provision;
pub(super) mod seal;
mod secrets;
mod servers;
mod sessions;
mod tokens;
mod viewer;

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync;
use tracing::debug;

use crate::store::{Store, StoreError};
use adit_core::domain::time::Timestamp;
use adit_net::host::folder::Folder;
use adit_net::identity::time::TimeSource;

pub use crate::store::{
    AgreementStatus, AuditFilter, AuditOutcome, ChannelFilter, ConnectionFilter, DatabaseUrl, GrantFilter,
    GrantStatus, Location, PeeringFilter, ServerFilter,
};
pub use actor::Actor;
pub use agents::{AgentError, Relayed};
pub use channels::NewChannel;
pub use connections::ConnectionCommand;
pub use enrolment::{EnrolRefusal, Enrolment, LinkRefusal};
pub use entry::{agent_entry, usual_address};
pub use error::{ActionRefusal, OpenError, PlatformError, Resource};
pub use lists::{
    AuditView, CarriedView, ChannelView, ConnectionView, EndView, GrantView, OrganizationView, PeeringView,
    ServerView, TimedState,
};
pub use offers::{AdminOffer, InvalidLife, OfferLife};
pub use provision::{Plan, Provided, Provisioned};
pub use secrets::Revealed;
pub use servers::ServerText;
pub use tokens::{IssuedToken, TokenLife};

/// The database's name in the state folder.
pub const DATABASE: &str = "platform.db";
/// `SQLite`'s own default; no page of ours has another size.
const PAGE_BYTES: u64 = 4_096;

#[derive(Debug)]
pub struct Platform {
    store: Store,
    seal: seal::SealingKey,
    time: Arc<dyn TimeSource>,
    presence: sync::Mutex<presence::PresenceBuffer>,
    counted: Mutex<counted::Counted>,
    handed_out: Mutex<secrets::HandedOut>,
}

impl Platform {
    /// Opens the platform in the gateway's state folder, making what is missing. The gateway and
    /// `adit admin` may have it open at the same time.
    pub async fn open(state: &Path, time: Arc<dyn TimeSource>) -> Result<Self, OpenError> {
        Self::open_at(state, &Location::Sqlite(state.join(DATABASE)), time).await
    }

    /// Does the same with a database that may be elsewhere; what is secret stays in the state folder.
    pub async fn open_at(
        state: &Path,
        database: &Location,
        time: Arc<dyn TimeSource>,
    ) -> Result<Self, OpenError> {
        let folder = Folder::open(state)?;
        // SQLite takes a file of less than a page for a new one. The key is made after the database: beside
        // it, such a file has lost what it held.
        if let Location::Sqlite(path) = database
            && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() < PAGE_BYTES)
            && folder.read(seal::FILE)?.is_some()
        {
            return Err(StoreError::Emptied { path: path.clone() }.into());
        }
        let store = Store::open(database).await?;
        let keeps_secrets = store.read().await?.keeps_secrets().await?;
        debug!(state = %state.display(), keeps_secrets, "the platform is open");
        let seal = seal::SealingKey::open(&folder, keeps_secrets)?;
        Ok(Self {
            store,
            seal,
            time,
            presence: sync::Mutex::default(),
            counted: Mutex::default(),
            handed_out: Mutex::default(),
        })
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn counted(&self) -> MutexGuard<'_, counted::Counted> {
        self.counted.lock()
    }

    /// Returns the number of the newest change.
    pub async fn newest_change(&self) -> Result<i64, PlatformError> {
        Ok(self.store.newest_change().await?)
    }

    /// Writes what waits in memory and releases the database.
    pub async fn close(&self) -> Result<(), PlatformError> {
        debug!("what waits in memory is written; the database is released");
        self.flush_all_reports().await?;
        self.flush_counted().await?;
        self.store.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
