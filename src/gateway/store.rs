//! The gateway's database, on one of two engines: `SQLite` in the state folder, or `PostgreSQL`. Migrations,
//! queries and constraints; no rule of the platform, no audit decision and no unsealed secret.
//!
//! Each statement is written once for both ([`query`]), save those few that ask `Tx::is_postgres`; how an engine
//! is opened, begun and brought up to date is in [`sqlite`] and [`postgres`].

mod admin_session;
mod agreement;
mod api_token;
mod audit;
mod build;
mod cells;
mod change;
mod channel;
mod connection;
mod ending;
mod error;
mod fact;
mod fence;
mod file;
mod grant;
mod idempotency;
mod invitation;
mod lease;
mod lists;
mod location;
mod look;
mod measurement;
mod migrate;
mod note_mark;
mod offer;
mod organization;
mod postgres;
mod provider;
mod query;
mod reached;
mod relayed;
mod secret;
mod server;
mod session;
mod sign_in_flow;
mod single_sign_on;
mod sqlite;
mod tables;
mod token;
mod tx;
mod unreadable;
mod user;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::timeout;

use adit_core::domain::id::ActId;
use adit_core::domain::limits::FEED_POLL_EVERY;

use postgres::PostgresEngine;
use sqlite::SqliteEngine;
use tx::text;

pub(crate) use admin_session::AdminSessionRecord;
pub use admin_session::SessionCounts;
pub(crate) use agreement::AgreementRecord;
pub use agreement::AgreementStatus;
pub(crate) use api_token::ApiTokenRecord;
pub use audit::AuditOutcome;
pub(crate) use audit::{AuditRecord, AuditRow};
pub(crate) use change::{ChangeKind, ChangeRow, ChangesAfter};
pub(crate) use channel::ChannelRecord;
pub(crate) use connection::{Carried, ConnectionRecord, NewConnection};
pub(crate) use ending::{Cause, UnreadConnection, UnreadGrant};
pub(crate) use error::StoreError;
pub(crate) use fact::FactRecord;
pub use fence::{TakeBackError, TakenBack};
pub use grant::GrantStatus;
pub(crate) use grant::{GrantRecord, NewGrant, Origin};
pub(crate) use idempotency::OnceKey;
pub(crate) use invitation::{InvitationRecord, NewInvitation};
pub(crate) use lease::NewLink;
pub use lists::{
    AdminSessionFilter, AuditFilter, ChannelFilter, ConnectionFilter, EndsSoon, GrantFilter, Need,
    OrganizationFilter, PeeringFilter, ServerFilter,
};
pub(crate) use lists::{AdminSessionRow, ChannelRow, ConnectionRow, Counts, GrantRow, Grouped};
pub use location::Location;
pub use look::LookedAt;
pub(crate) use measurement::MeasurementRow;
pub use migrate::{MoveError, MovedTable};
pub(crate) use note_mark::NoteRun;
pub(crate) use offer::NewOffer;
pub(crate) use organization::OrganizationRecord;
pub(crate) use provider::ProviderRecord;
pub(crate) use reached::ReachedRow;
pub(crate) use secret::{SEALED_BYTES, SecretRecord};
pub(crate) use server::{NewServer, ServerRecord};
pub(crate) use session::{NewUserSession, SessionRecord};
pub(crate) use sign_in_flow::SignInFlow;
pub(crate) use single_sign_on::{NewSingleSignOnAccount, SingleSignOnAccount};
pub(crate) use token::TokenRecord;
pub(crate) use tx::Tx;
pub(crate) use user::{NewUser, PasswordHash, Sealed, UserRecord};

#[derive(Debug)]
pub(crate) struct Store {
    engine: Engine,
    /// Where it is, for people; nothing secret.
    place: String,
    /// Told when this process has committed a change.
    committed: Arc<Notify>,
}

/// Whom a transaction that changes something runs beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All others; what they do at the same time may keep it from committing.
    Beside,
    /// Nobody: it waits until those that run have ended, and those that come wait for it.
    Alone,
}

/// Whether a database that its platform is not in is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fencing {
    Heeded,
    /// By who moves it.
    PassedOver,
}

#[derive(Debug)]
enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

impl Store {
    /// Opens the database, making and migrating it as needed. Refused, now and in every change: one that its
    /// platform has moved away from, or has not arrived in.
    pub(crate) async fn open(location: &Location) -> Result<Self, StoreError> {
        Self::open_by(location, Fencing::Heeded).await
    }

    /// Opens one from or to which a platform is moved, which may have been so before.
    pub(crate) async fn open_to_move(location: &Location) -> Result<Self, StoreError> {
        Self::open_by(location, Fencing::PassedOver).await
    }

    async fn open_by(location: &Location, fencing: Fencing) -> Result<Self, StoreError> {
        let engine = match location {
            Location::Sqlite(path) => Engine::Sqlite(SqliteEngine::open(path, fencing).await?),
            Location::Postgres(url) => Engine::Postgres(PostgresEngine::open(url, fencing).await?),
        };
        Ok(Self { engine, place: location.place()?, committed: Arc::default() })
    }

    /// Returns every name at which a file is opened for the database `name`.
    #[must_use]
    pub(crate) fn file_names(name: &str) -> Vec<String> {
        file::names(name)
    }

    /// Begins a transaction that commits only as if no other ran beside it.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        self.write_in(Turn::Beside).await
    }

    /// Does the same in its turn, which is every one's with `SQLite`.
    pub(crate) async fn write_in(&self, turn: Turn) -> Result<Tx, StoreError> {
        let tx = match &self.engine {
            Engine::Sqlite(engine) => engine.write().await,
            Engine::Postgres(engine) => engine.write(turn).await,
        };
        tx.map(|tx| tx.telling(&self.committed))
    }

    /// Begins a consistent view; writing in it is an error.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read().await,
            Engine::Postgres(engine) => engine.read().await,
        }
    }

    /// Returns an error where another process keeps a file locked. A server's locks end by themselves.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.probe().await,
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Returns what keeps one waiting who is not served in time.
    pub(crate) const fn out_of_time(&self) -> StoreError {
        const DOING: &str = "waiting for its turn";
        match &self.engine {
            Engine::Sqlite(_) => StoreError::Busy { doing: DOING },
            Engine::Postgres(_) => StoreError::Away { doing: DOING },
        }
    }

    /// Returns whether the transaction that claimed `act` was committed, for one whose answer was lost.
    pub(crate) async fn was_committed(&self, act: ActId) -> Result<bool, StoreError> {
        let mut tx = match &self.engine {
            Engine::Sqlite(engine) => engine.read().await?,
            Engine::Postgres(engine) => engine.look().await?,
        };
        tx.claim_act(act).await?;
        tx.has_act(act).await
    }

    /// Waits until there may be a change after `seq`: at once where this process commits one, and within
    /// [`FEED_POLL_EVERY`] (`SQLite`) or as soon as the server says so where another does.
    pub(crate) async fn until_change_after(&self, seq: i64) -> Result<(), StoreError> {
        loop {
            let committed = self.committed.notified();
            tokio::pin!(committed);
            committed.as_mut().enable();
            if self.newest_change().await? != seq || self.is_broken_off() {
                return Ok(());
            }
            match &self.engine {
                Engine::Sqlite(_) => drop(timeout(FEED_POLL_EVERY, committed).await),
                Engine::Postgres(engine) => tokio::select! {
                    () = committed => {}
                    heard = engine.heard() => heard?,
                },
            }
        }
    }

    /// Returns whether the server that said what changes was lost since the last [`Self::was_broken_off`]: another
    /// one may have taken its place, without the last changes, and have had others since.
    fn is_broken_off(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(_) => false,
            Engine::Postgres(engine) => engine.is_broken_off(),
        }
    }

    /// Does the same, and forgets it.
    fn was_broken_off(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(_) => false,
            Engine::Postgres(engine) => engine.take_broken_off(),
        }
    }

    /// Waits for what runs and releases the database.
    pub(crate) async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
