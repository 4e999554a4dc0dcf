//! The embedded engine: one file in the gateway's state folder. One writer at a time (`BEGIN IMMEDIATE`),
//! readers apart. `adit admin` opens the same file while the gateway runs.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tracing::debug;

use super::query::sql;
use super::tx::Tx;
use super::{Fencing, StoreError, build, file};
use adit_core::domain::limits::{STORE_BUSY_TIMEOUT, STORE_READERS_MAX, STORE_TURN_TIMEOUT};

/// Each file raises `user_version` by one in its last lines.
pub(super) const MIGRATIONS: [&str; 8] = [
    include_str!("migrations/0001_platform.sql"),
    include_str!("migrations/0002_paths.sql"),
    include_str!("migrations/0003_offers.sql"),
    include_str!("migrations/0004_words.sql"),
    include_str!("migrations/0005_acts.sql"),
    include_str!("migrations/0006_people.sql"),
    include_str!("migrations/0007_console.sql"),
    include_str!("migrations/0008_sessions.sql"),
];
/// `application_id` of our files: "adit".
pub(super) const APPLICATION_ID: i64 = 0x6164_6974;
/// A writer that waited longer has a line in the log.
const LONG_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct SqliteEngine {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Finds out whether somebody keeps the database locked, and no writer waits for it meanwhile.
    prober: SqlitePool,
    fencing: Fencing,
}

impl SqliteEngine {
    /// Opens `path`, making and migrating it as needed. Refused: a file others may read, another program's
    /// database, one written by a newer adit.
    pub(super) async fn open(path: &Path, fencing: Fencing) -> Result<Self, StoreError> {
        file::make_or_check(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(STORE_BUSY_TIMEOUT)
            .pragma("secure_delete", "ON");
        let opening = |source| StoreError::Open { path: path.into(), source };
        // A table that others refer to is made anew only where nobody looks at the references meanwhile.
        let migrating =
            pool(1).connect_with(quiet(options.clone().foreign_keys(false))).await.map_err(opening)?;
        let migrated = migrate(&migrating, path, fencing).await;
        migrating.close().await;
        migrated?;
        let writer = pool(1).connect_with(quiet(options.clone())).await.map_err(opening)?;
        let prober = pool(1).connect_lazy_with(quiet(options.clone()));
        let reading = quiet(options.pragma("query_only", "ON"));
        let readers = pool(STORE_READERS_MAX).connect_with(reading).await.map_err(opening)?;
        debug!(path = %path.display(), readers = STORE_READERS_MAX, "the database is open");
        Ok(Self { writer, readers, prober, fencing })
    }

    pub(super) async fn write(&self) -> Result<Tx, StoreError> {
        let asked = Instant::now();
        let tx = begin(&self.writer, "BEGIN IMMEDIATE").await;
        let waited = asked.elapsed();
        if waited > LONG_WAIT {
            debug!(
                waited_ms = waited.as_millis(),
                is_served = tx.is_ok(),
                "a writer waited for the database"
            );
        }
        let mut tx = tx?;
        // Who opened it before it was moved is refused too.
        if self.fencing == Fencing::Heeded {
            tx.must_be_here().await?;
        }
        Ok(tx)
    }

    pub(super) async fn read(&self) -> Result<Tx, StoreError> {
        begin(&self.readers, "BEGIN DEFERRED").await
    }

    /// Returns an error where somebody has kept the database locked for [`STORE_BUSY_TIMEOUT`].
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        begin(&self.prober, "BEGIN IMMEDIATE").await.map(drop)
    }

    pub(super) async fn close(&self) {
        self.prober.close().await;
        self.readers.close().await;
        // The last connection that closes does so too, unless another one closes at the same time.
        let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&self.writer).await;
        debug!(is_emptied = emptied.is_ok(), "the log is moved into the database");
        self.writer.close().await;
    }
}

pub(super) fn quiet(options: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlx::ConnectOptions::disable_statement_logging(options)
}

pub(super) fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(STORE_TURN_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A full disk has SQLite take a transaction back by itself; sqlx then counts it as open for ever.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

pub(super) async fn begin(pool: &SqlitePool, statement: &'static str) -> Result<Tx, StoreError> {
    let begun = pool.begin_with(statement).await;
    // Who waits longer than the pool lets it waits for another writer.
    begun.map(Tx::of_sqlite).map_err(|source| match source {
        sqlx::Error::PoolTimedOut => StoreError::Busy { doing: "starting a transaction" },
        source => StoreError::from_query("starting a transaction", source),
    })
}

async fn migrate(pool: &SqlitePool, path: &Path, fencing: Fencing) -> Result<(), StoreError> {
    let mut tx = begin(pool, "BEGIN IMMEDIATE").await?;
    let application = pragma(&mut tx, "application_id").await?;
    let found = pragma(&mut tx, "user_version").await?;
    let known = MIGRATIONS.len();
    if application != APPLICATION_ID && (application != 0 || found != 0 || has_tables(&mut tx).await?) {
        return Err(StoreError::Foreign { path: path.into() });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Foreign { path: path.into() })?;
    if done > known {
        let builds = build::beyond(&mut tx, known).await;
        return Err(StoreError::Newer { what: path.display().to_string(), builds, found, known });
    }
    if done < known {
        debug!(path = %path.display(), from = done, to = known, "the database is brought up to date");
    }
    for migration in &MIGRATIONS[done..] {
        tx.script(migration).await?;
    }
    if done < known {
        check_references(&mut tx).await?;
    }
    if fencing == Fencing::Heeded {
        tx.must_be_here().await?;
    }
    build::note(&mut tx, known).await?;
    tx.commit().await
}

/// Checks that every reference has what it refers to.
async fn check_references(tx: &mut Tx) -> Result<(), StoreError> {
    let query = sql("SELECT count(*) AS n FROM pragma_foreign_key_check");
    match tx.count("checking what refers to what", query).await? {
        0 => Ok(()),
        _ => Err(StoreError::Dangling),
    }
}

pub(super) async fn pragma(tx: &mut Tx, name: &'static str) -> Result<i64, StoreError> {
    const DOING: &str = "reading the database's version";
    let Some(connection) = tx.sqlite() else { return Err(StoreError::Damaged { column: name }) };
    let query = sqlx::query(AssertSqlSafe(format!("PRAGMA {name}")));
    let row = query.fetch_one(connection).await.map_err(|source| StoreError::from_query(DOING, source))?;
    row.try_get(0).map_err(|source| StoreError::from_query(DOING, source))
}

pub(super) async fn has_tables(tx: &mut Tx) -> Result<bool, StoreError> {
    let query = sql("SELECT count(*) AS n FROM sqlite_schema");
    tx.count("looking for tables", query).await.map(|tables| tables > 0)
}
