//! The rules of the platform over the store: every change people and agents may ask for, each with
//! its audit entry in the same transaction, refusals too.
//!
//! Whoever asks comes in as an [`Initiator`] that somebody else has authenticated, and what is asked for is an
//! act: [`act`] runs it, tells of it in the audit log, and runs it again when the database asks for that. No socket here, and no word about how an answer is shown.

mod act;
mod action;
mod agents;
mod audit;
mod changes;
mod channels;
mod connections;
mod counted;
mod enrolment;
mod entry;
mod error;
mod expiry;
#[cfg(test)]
mod faults;
mod grants;
mod holds;
mod initiator;
mod offers;
mod organizations;
mod peerings;
mod presence;
mod provision;
mod relayed;
pub(super) mod seal;
mod secrets;
mod servers;
mod sessions;
mod tokens;
mod viewer;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync;
use tracing::debug;

use crate::store::{Store, StoreError};
use adit_core::domain::limits::ACT_WAIT;
use adit_core::domain::time::Timestamp;
use adit_net::host::folder::Folder;
use adit_net::identity::time::TimeSource;

pub use crate::store::Location;
pub use action::Action;
pub use agents::AgentError;
pub use audit::AuditView;
pub use channels::{ChannelView, NewChannel};
pub use connections::ConnectionCommand;
pub use enrolment::{EnrolRefusal, Enrolment, LinkRefusal};
pub use entry::{agent_entry, usual_address};
pub use error::{ActionRefusal, OpenError, PlatformError, Resource};
pub use grants::GrantView;
pub use initiator::Initiator;
pub use offers::{AdminOffer, InvalidLife, OfferLife};
pub use organizations::OrganizationView;
pub use peerings::PeeringView;
pub use provision::{Plan, Provided, Provisioned};
pub use relayed::Relayed;
pub use secrets::Revealed;
pub use servers::{ServerText, ServerView};
pub use tokens::{IssuedToken, TokenLife};
pub use views::{CarriedView, ConnectionView, EndView, TimedState};

/// The database's name in the state folder.
pub const DATABASE: &str = "platform.db";
/// `SQLite`'s own default; no page of ours has another size.
const PAGE_BYTES: u64 = 4_096;

#[derive(Debug)]
pub struct Platform {
    store: Store,
    seal: Arc<seal::SealingKey>,
    time: Arc<dyn TimeSource>,
    measured: Mutex<presence::MeasureBuffer>,
    /// Held by the one who writes what was measured.
    measuring: sync::Mutex<()>,
    counted: Mutex<counted::Counted>,
    handed_out: Mutex<secrets::HandedOut>,
    /// For how long an act is run again.
    act_wait: Duration,
    #[cfg(test)]
    faults: faults::Faults,
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
        let keeps_secrets = !store.read().await?.sealed_secrets().await?.is_empty();
        debug!(state = %state.display(), keeps_secrets, "the platform is open");
        let seal = Arc::new(seal::SealingKey::open(&folder, keeps_secrets)?);
        Ok(Self {
            store,
            seal,
            time,
            measured: Mutex::default(),
            measuring: sync::Mutex::default(),
            counted: Mutex::default(),
            handed_out: Mutex::default(),
            act_wait: ACT_WAIT,
            #[cfg(test)]
            faults: faults::Faults::default(),
        })
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn counted(&self) -> MutexGuard<'_, counted::Counted> {
        self.counted.lock()
    }

    fn measured(&self) -> MutexGuard<'_, presence::MeasureBuffer> {
        self.measured.lock()
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
