//! The rules of the platform over the store: every change people and agents may ask for, each with
//! its audit entry in the same transaction, refusals too.
//!
//! Whoever asks comes in as an [`Initiator`] that somebody else has authenticated, and what is asked for is an
//! act: [`act`] runs it, tells of it in the audit log, and runs it again when the database asks for that. No socket
//! here, and no word about how an answer is shown. Identity providers are asked by [`HttpsClient`], and never within an
//! act.

mod act;
mod action;
mod agents;
mod api_tokens;
mod attempts;
mod changes;
mod channels;
mod connections;
mod connectors;
mod counted;
mod ending;
mod enrolment;
mod entry;
mod error;
mod expiry;
mod export;
#[cfg(test)]
mod faults;
mod grants;
mod holds;
mod initiator;
mod invitations;
mod lists;
mod measurements;
mod notes;
mod offers;
mod organizations;
mod owners;
mod passwords;
mod peerings;
mod people;
mod presence;
mod proof;
mod providers;
mod provision;
mod relayed;
pub(super) mod seal;
mod second_factor;
mod secrets;
mod servers;
mod sessions;
mod sign_in;
mod signed;
mod single_sign_on;
mod terms;
mod tokens;
mod users;
mod uses;
mod viewer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync;
use tracing::debug;

use crate::openid::OpenId;
use crate::store::{Store, StoreError};
use adit_core::domain::id::BootId;
use adit_core::domain::limits::ACT_WAIT;
use adit_core::domain::time::Timestamp;
use adit_net::host::folder::Folder;
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use adit_net::transport::https_client::HttpsClient;

pub(crate) use crate::store::OnceKey;
pub use crate::store::{
    AdminSessionFilter, AgreementStatus, AuditFilter, AuditOutcome, ChannelFilter, ConnectionFilter,
    EndsSoon, GrantFilter, GrantStatus, Location, Need, OrganizationFilter, PeeringFilter, ServerFilter,
    SessionCounts,
};
pub use action::Action;
pub use agents::AgentError;
pub use api_tokens::{ApiTokenView, Bearer, IssuedApiToken, NewApiToken, UsersApiTokenView};
pub use channels::{ChannelText, NewChannel};
pub use connections::ConnectionCommand;
pub use connectors::{ConnectorFile, ConnectorProgress, ConnectorStage, GatewayPlace};
pub use ending::{AffectedParty, Consequences};
pub use enrolment::{EnrolRefusal, Enrolment, LinkRefusal};
pub use entry::{agent_entry, usual_address};
pub use error::{ActionRefusal, OpenError, PlatformError, Resource};
pub use export::{AUDIT_CSV_HEAD, AuditExport, audit_csv, audit_json_line, entry_id};
pub use initiator::Initiator;
pub use invitations::{Acceptance, InvitationStatus, InvitationView, IssuedInvitation};
pub use lists::{
    AdminSessionState, AdminSessionView, AuditView, CarriedView, ChannelView, ConnectionView, EndView,
    GrantView, Group, OrganizationView, OverviewView, PeeringView, ServerView, SessionEnd, TimedState,
};
pub use measurements::{EndMeasurements, MeasuredRange, MeasuredStep, MeasurementRefused, MeasurementsView};
pub use notes::{AgentNote, NoteTaken, NumberedNote};
pub use offers::{AdminOffer, InvalidLife, OfferLife};
pub use people::{PeopleRefusal, Visit, WeakPassword};
pub(crate) use presence::Touched;
pub use proof::{Proof, UserProof};
pub use providers::ProviderRefusal;
pub(crate) use providers::{ProviderSettings, ProviderView, RoleValues};
pub use provision::{Plan, Provided, Provisioned};
pub use relayed::Relayed;
pub use second_factor::RecoveryCodes;
#[cfg(test)]
pub(crate) use second_factor::tests::code_of as totp_code_of;
pub use secrets::{Revealed, SecretState};
pub use servers::ServerText;
pub use sign_in::{Credentials, PasswordChange};
pub use signed::{NewSession, SignInStage, Signed, UserSessionView};
pub(crate) use single_sign_on::{
    BeginSingleSignOn, FinishSingleSignOn, SingleSignOnError, SingleSignOnRefusal, callback_of,
};
pub(crate) use terms::{Terms, Unchanged};
pub use tokens::{IssuedToken, TokenLife};
pub use users::UserView;

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
    touched: presence::TouchedNotes,
    /// Held by the one who writes what was measured.
    measuring: sync::Mutex<()>,
    /// What agents measured by the minute, until it is written.
    minutes: Mutex<measurements::MinuteBuffer>,
    /// Held by the one who writes it, adds it up or deletes what is old.
    keeping: sync::Mutex<measurements::Keeping>,
    counted: Mutex<counted::Counted>,
    /// Held by the one who writes what was counted.
    counting: sync::Mutex<()>,
    /// Of this process, for what it counts.
    run: BootId,
    /// When sessions and API tokens were used last, until it is written.
    uses: Mutex<uses::Uses>,
    handed_out: Mutex<secrets::HandedOut>,
    passwords: passwords::Passwords,
    attempts: Mutex<attempts::Attempts>,
    openid: OpenId,
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
        check_not_emptied(&folder, database)?;
        let store = Store::open(database).await?;
        let mut tx = store.read().await?;
        let keeps_secrets = tx.keeps_secrets().await? || tx.keeps_client_secrets().await?;
        drop(tx);
        debug!(state = %state.display(), keeps_secrets, "the platform is open");
        let seal = Arc::new(seal::SealingKey::open(&folder, keeps_secrets)?);
        Ok(Self {
            store,
            seal,
            time,
            measured: Mutex::default(),
            touched: presence::TouchedNotes::default(),
            measuring: sync::Mutex::default(),
            minutes: Mutex::default(),
            keeping: sync::Mutex::default(),
            counted: Mutex::default(),
            counting: sync::Mutex::default(),
            run: BootId::from_bytes(random::bytes()),
            uses: Mutex::default(),
            handed_out: Mutex::default(),
            passwords: passwords::Passwords::default(),
            attempts: Mutex::default(),
            openid: OpenId::new(HttpsClient::new(None)?),
            act_wait: ACT_WAIT,
            #[cfg(test)]
            faults: faults::Faults::default(),
        })
    }

    /// Speaks to identity providers by `https` from now on.
    #[must_use]
    pub fn asking_providers_by(self, https: HttpsClient) -> Self {
        Self { openid: OpenId::new(https), ..self }
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
        self.flush_measurements().await?;
        self.flush_counted().await?;
        self.flush_uses().await?;
        self.store.close().await;
        Ok(())
    }
}

/// Refuses a file that has lost what it held. `SQLite` takes one of less than a page for a new one; the key is made
/// after the database, so beside it there was something.
pub(super) fn check_not_emptied(folder: &Folder, database: &Location) -> Result<(), OpenError> {
    if let Location::Sqlite(path) = database
        && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() < PAGE_BYTES)
        && folder.read(seal::FILE)?.is_some()
    {
        return Err(StoreError::Emptied { path: path.clone() }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
