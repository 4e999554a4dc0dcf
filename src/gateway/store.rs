//! The gateway's database: `SQLite` through sqlx. Migrations, queries and constraints; no rule of the
//! platform, no audit decision and no unsealed secret.
//!
//! One writer at a time (`BEGIN IMMEDIATE`), readers apart, and one connection that only watches
//! for what another process wrote. `adit admin` opens the same file while the gateway runs.

mod agreement;
mod audit;
mod change;
mod channel;
mod connection;
mod error;
mod fact;
mod file;
mod grant;
mod offer;
mod organization;
mod relayed;
mod secret;
mod server;
mod token;
mod tx;
mod unreadable;

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};
use tokio::sync::Mutex;

use tracing::debug;

use adit_core::domain::limits::{STORE_BUSY_TIMEOUT, STORE_READERS_MAX};
use adit_core::domain::word::UnknownWord;

pub(crate) use agreement::{AgreementRecord, AgreementStatus};
pub(crate) use audit::{AuditOutcome, AuditRecord, AuditRow};
pub(crate) use change::{ChangeKind, ChangeRow, ChangesAfter};
pub(crate) use channel::ChannelRecord;
pub(crate) use connection::{Carried, ConnectionRecord, NewConnection};
pub(crate) use error::StoreError;
pub(crate) use fact::FactRecord;
pub(crate) use grant::{GrantRecord, GrantStatus, NewGrant, Origin};
pub(crate) use offer::NewOffer;
pub(crate) use organization::OrganizationRecord;
pub(crate) use secret::{SEALED_BYTES, SecretRecord};
pub(crate) use server::{NewServer, ServerRecord};
pub(crate) use token::TokenRecord;
pub(crate) use tx::Tx;

/// Each file raises `user_version` by one in its last lines.
const MIGRATIONS: [&str; 5] = [
    include_str!("store/migrations/0001_platform.sql"),
    include_str!("store/migrations/0002_paths.sql"),
    include_str!("store/migrations/0003_offers.sql"),
    include_str!("store/migrations/0004_words.sql"),
    include_str!("store/migrations/0005_change.sql"),
];
/// `application_id` of our files: "adit".
const APPLICATION_ID: i64 = 0x6164_6974;
/// A writer that waited longer has a line in the log.
const LONG_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// `PRAGMA data_version` is relative to the connection that asks, so one connection asks.
    watcher: Mutex<SqliteConnection>,
}

impl Store {
    /// Opens `path`, making and migrating it as needed. Refused: a file others may read, another
    /// program's database, one written by a newer adit.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        file::make_or_check(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(STORE_BUSY_TIMEOUT)
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let opening = |source| StoreError::Open { path: path.into(), source };
        let writer = pool(1).connect_with(options.clone()).await.map_err(opening)?;
        migrate(&writer, path).await?;
        let reading = options.pragma("query_only", "ON");
        let readers = pool(STORE_READERS_MAX).connect_with(reading.clone()).await.map_err(opening)?;
        let watcher = Mutex::new(reading.connect().await.map_err(opening)?);
        debug!(path = %path.display(), readers = STORE_READERS_MAX, "the database is open");
        Ok(Self { writer, readers, watcher })
    }

    /// Returns every name at which a file is opened for the database `name`.
    #[must_use]
    pub(crate) fn file_names(name: &str) -> Vec<String> {
        file::names(name)
    }

    /// Begins a transaction that no other writer of any process runs beside.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        let asked = Instant::now();
        let tx = Tx::begin(&self.writer, "BEGIN IMMEDIATE").await;
        let waited = asked.elapsed();
        if waited > LONG_WAIT {
            debug!(
                waited_ms = waited.as_millis(),
                is_served = tx.is_ok(),
                "a writer waited for the database"
            );
        }
        tx
    }

    /// Begins a consistent view; writing in it is an error.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        Tx::begin(&self.readers, "BEGIN DEFERRED").await
    }

    /// Returns a number that differs from the last answer when anything was committed since.
    pub(crate) async fn data_version(&self) -> Result<i64, StoreError> {
        let mut watcher = self.watcher.lock().await;
        let row = sqlx::query("PRAGMA data_version")
            .fetch_one(&mut *watcher)
            .await
            .map_err(|source| StoreError::from_query("asking for changes", source))?;
        row.try_get(0).map_err(|source| StoreError::from_query("asking for changes", source))
    }

    /// Waits for what runs and releases the file.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(STORE_BUSY_TIMEOUT + Duration::from_secs(5))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let mut tx = Tx::begin(writer, "BEGIN IMMEDIATE").await?;
    let application = tx.pragma("PRAGMA application_id").await?;
    let found = tx.pragma("PRAGMA user_version").await?;
    let known = MIGRATIONS.len();
    if application != APPLICATION_ID && (application != 0 || found != 0 || tx.has_tables().await?) {
        return Err(StoreError::Foreign { path: path.into() });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Foreign { path: path.into() })?;
    if done > known {
        let builds = builds_beyond(&mut tx, known).await;
        return Err(StoreError::Newer { path: path.into(), builds, found, known });
    }
    if done < known {
        debug!(path = %path.display(), from = done, to = known, "the database is brought up to date");
    }
    for migration in &MIGRATIONS[done..] {
        tx.script(migration).await?;
    }
    note_build(&mut tx).await?;
    tx.commit().await
}

/// Notes that this build writes here from now on.
async fn note_build(tx: &mut Tx) -> Result<(), StoreError> {
    let query = tx::sql("INSERT OR IGNORE INTO build (version, schema) VALUES (?1, ?2)")
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX));
    tx.run("noting which build writes", query).await.map(drop)
}

/// Returns which builds know more than this one, as far as they said so where it can be read here.
async fn builds_beyond(tx: &mut Tx, known: usize) -> String {
    let query = tx::sql("SELECT version FROM build WHERE schema > ?1 ORDER BY schema, version")
        .bind(i64::try_from(known).unwrap_or(i64::MAX));
    let found = tx.all("asking which build wrote", query, |cells| cells.string("version")).await;
    match found.unwrap_or_default() {
        versions if versions.is_empty() => "a newer adit".into(),
        versions => format!(
            "adit {}",
            versions
                .iter()
                .map(|version| UnknownWord::new(version).to_string())
                .collect::<Vec<_>>()
                .join(" and ")
        ),
    }
}

#[cfg(test)]
mod tests;
