//! `PostgreSQL` 15 or later, for a host whose platform outgrows one file, or is shared. Changes run as
//! SERIALIZABLE and may have to run again; reads see one moment. Every wait has an end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgSslMode};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::query::{sql, sql_of};
use super::tables::TABLES;
use super::tx::{Tx, tx_answer};
use super::{Fencing, StoreError, Turn, build, text};
use adit_core::config::DatabaseUrl;
use adit_core::domain::id::ActId;
use adit_core::domain::limits::{
    DATABASE_ANSWER_TIMEOUT, DATABASE_CONNECT_TIMEOUT, DATABASE_CONNECTIONS_MAX, FEED_ASKED_EVERY_AT_LEAST,
};

/// Schemas from which a database of this engine can start; the numbers are those of `SQLite`'s.
const MIGRATIONS: [(usize, &str); 4] = [
    (5, include_str!("migrations/postgres/0005_platform.sql")),
    (6, include_str!("migrations/postgres/0006_people.sql")),
    (7, include_str!("migrations/postgres/0007_console.sql")),
    (8, include_str!("migrations/postgres/0008_sessions.sql")),
];
pub(super) const KNOWN: usize = super::sqlite::MIGRATIONS.len();
/// Held while the schema is looked at and brought up to date: gateways may start at the same time.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7017274, 0)";
/// Held while rows of the feed are written, to the end of the transaction: their numbers are in the order of the
/// commits.
pub(super) const FEED_LOCK: &str = "SELECT pg_advisory_xact_lock(7017274, 1)";
/// A table that is no larger is read whole, whatever is known of it.
const SMALL_TABLE_BYTES: i64 = 64 * 1024;
/// The oldest server that is known to do what is asked of it.
const OLDEST_SERVER: i64 = 150_000;
/// Where the feed says that there is something new.
const CHANNEL: &str = "adit_change";
/// Tells whoever listens on [`CHANNEL`].
pub(super) const TELL: &str = "SELECT pg_notify('adit_change', '')";

/// A table's lock is waited for before the transaction looks at anything, so that who runs alone sees what
/// all before it left. Nobody else locks this table so, and the server serves those who wait in order. Each also
/// asks whether the server follows another one, for what such a one shows may be older than what was promised, and
/// whether the platform is here still.
const SERIALIZABLE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE feed IN ROW EXCLUSIVE MODE;
     SELECT pg_is_in_recovery() AS follows, EXISTS (SELECT FROM fence) AS is_fenced";
const ALONE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE feed IN SHARE ROW EXCLUSIVE MODE;
     SELECT pg_is_in_recovery() AS follows, EXISTS (SELECT FROM fence) AS is_fenced";
const READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
     SELECT pg_is_in_recovery() AS follows, EXISTS (SELECT FROM fence) AS is_fenced";
/// Sees what was committed after it began.
const LOOKING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
     SELECT pg_is_in_recovery() AS follows, false AS is_fenced";
const MIGRATING: &str = "BEGIN; SELECT pg_is_in_recovery() AS follows, false AS is_fenced";

#[derive(Debug)]
pub(super) struct PostgresEngine {
    pool: PgPool,
    /// The one who follows the feed listens on a connection of its own.
    listener: Mutex<Option<PgListener>>,
    /// It was lost, and nobody has heeded that yet.
    is_broken_off: AtomicBool,
    /// Where it is, for people; nothing secret.
    pub(super) place: String,
    fencing: Fencing,
}

impl PostgresEngine {
    /// Connects, and makes or migrates the schema. A database that is away is no lasting error.
    pub(super) async fn open(url: &DatabaseUrl, fencing: Fencing) -> Result<Self, StoreError> {
        let engine = Self::connecting(url, fencing)?;
        engine.migrate().await?;
        engine.look_at_tables().await;
        debug!(database = engine.place, connections = DATABASE_CONNECTIONS_MAX, "the database is open");
        Ok(engine)
    }

    /// Reads the URL; a connection is made when one is asked for.
    pub(super) fn connecting(url: &DatabaseUrl, fencing: Fencing) -> Result<Self, StoreError> {
        let options = options(url)?;
        let place = place(&options);
        let pool = PgPoolOptions::new()
            .max_connections(DATABASE_CONNECTIONS_MAX)
            .acquire_timeout(DATABASE_CONNECT_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool, listener: Mutex::default(), is_broken_off: AtomicBool::default(), place, fencing })
    }

    pub(super) async fn write(&self, turn: Turn) -> Result<Tx, StoreError> {
        let statement = match turn {
            Turn::Beside => SERIALIZABLE,
            Turn::Alone => ALONE,
        };
        self.begin(statement).await
    }

    pub(super) async fn read(&self) -> Result<Tx, StoreError> {
        self.begin(READING).await
    }

    pub(super) async fn close(&self) {
        self.listener.lock().await.take();
        // Who waits for a server that says nothing waits in vain.
        let _ = timeout(DATABASE_ANSWER_TIMEOUT, self.pool.close()).await;
    }

    /// Begins on the first connection that still works; those that the server has closed are left.
    async fn begin(&self, statement: &'static str) -> Result<Tx, StoreError> {
        let asked = Instant::now();
        loop {
            let connection = self.pool.acquire().await;
            let connection =
                connection.map_err(|source| StoreError::from_query("starting a transaction", source))?;
            match Tx::begin_on_postgres(connection, statement).await {
                Err(StoreError::Away { .. }) if asked.elapsed() < DATABASE_CONNECT_TIMEOUT => {}
                Ok((mut tx, true)) if self.fencing == Fencing::Heeded => {
                    tx.must_be_here().await?;
                    return Ok(tx);
                }
                begun => return begun.map(|(tx, _)| tx),
            }
        }
    }

    /// Begins a view that sees what is committed while it lasts.
    pub(super) async fn look(&self) -> Result<Tx, StoreError> {
        self.begin(LOOKING).await
    }

    /// Waits until the feed may have something new, or a while has passed. What becomes of the one connection that
    /// listens says nothing about the database: whoever asks for what is new finds out.
    pub(super) async fn heard(&self) -> Result<(), StoreError> {
        let mut kept = self.listener.lock().await;
        let Some(listener) = kept.as_mut() else {
            // What came before it listened is asked for at once.
            *kept = self.listen().await?;
            return Ok(());
        };
        match timeout(FEED_ASKED_EVERY_AT_LEAST, listener.try_recv()).await {
            Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
            Ok(Ok(None)) => self.break_off(&mut kept),
            Ok(Err(error)) => {
                debug!(%error, "the connection that listens for changes is lost");
                self.break_off(&mut kept);
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn break_off(&self, kept: &mut Option<PgListener>) {
        *kept = None;
        self.is_broken_off.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection that listened was lost since this was last taken.
    pub(super) fn is_broken_off(&self) -> bool {
        self.is_broken_off.load(Ordering::Relaxed)
    }

    pub(super) fn take_broken_off(&self) -> bool {
        self.is_broken_off.swap(false, Ordering::Relaxed)
    }

    /// Listens; returns none where the connection had been closed by the server, as all are after its restart.
    async fn listen(&self) -> Result<Option<PgListener>, StoreError> {
        const DOING: &str = "listening for changes";
        let mut listener = tx_answer(DOING, PgListener::connect_with(&self.pool)).await?;
        // It is made anew here, on a connection that works.
        listener.eager_reconnect(false);
        match tx_answer(DOING, listener.listen(CHANNEL)).await {
            Ok(()) => Ok(Some(listener)),
            Err(error) if error.is_away() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to look at the schema, alone. A migration takes as long as it takes; what waits for a lock gives up.
    async fn begin_migration(&self) -> Result<Tx, StoreError> {
        // Not serializable: what is seen after the lock counts.
        let mut tx = self.begin(MIGRATING).await?;
        tx.rows("waiting for the schema", sql(SCHEMA_LOCK)).await?;
        tx.script("SET LOCAL statement_timeout = 0").await?;
        Ok(tx)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tx = self.begin_migration().await?;
        self.check_server(&mut tx).await?;
        let found = self.schema(&mut tx).await?;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        if done > KNOWN {
            let builds = build::beyond(&mut tx, KNOWN).await;
            let what = self.place.clone();
            return Err(StoreError::Newer { what, builds, found, known: KNOWN });
        }
        if done < KNOWN {
            debug!(database = self.place, from = done, to = KNOWN, "the database is brought up to date");
        }
        for (_, migration) in MIGRATIONS.iter().filter(|(number, _)| *number > done) {
            tx.script(migration).await?;
        }
        if self.fencing == Fencing::Heeded {
            tx.must_be_here().await?;
        }
        build::note(&mut tx, KNOWN).await?;
        tx.commit().await
    }

    /// Has the server look at the tables that were filled and that it never looked at, as after a move, a restored copy or an
    /// upgrade of its own. It does so by itself sooner or later; until then it takes the organization that has most of
    /// the platform for one that has little. What cannot be done soon is left to it.
    async fn look_at_tables(&self) {
        match timeout(DATABASE_ANSWER_TIMEOUT, self.look_at_each()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the server's look at its tables is left to itself"),
            Err(_) => debug!("the server's look at its tables takes long and is left to itself"),
        }
    }

    async fn look_at_each(&self) -> Result<(), StoreError> {
        const DOING: &str = "looking at the tables";
        let mut tx = self.begin(MIGRATING).await?;
        let query = sql("SELECT relname::text AS name FROM pg_stat_user_tables
             WHERE schemaname = current_schema() AND last_analyze IS NULL AND last_autoanalyze IS NULL
                AND pg_relation_size(relid) > $1")
        .bind(SMALL_TABLE_BYTES);
        let unseen = tx.all(DOING, query, |cells| cells.string("name")).await?;
        for table in TABLES.iter().filter(|table| unseen.iter().any(|name| name == table.name)) {
            tx.run(DOING, sql_of(format!("ANALYZE {}", table.name))).await?;
            tx.commit().await?;
            debug!(table = table.name, "the server has looked at a table for the first time");
            tx = self.begin(MIGRATING).await?;
        }
        Ok(())
    }

    pub(super) async fn check_server(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let query = sql("SELECT current_setting('server_version_num')::bigint AS version,
                pg_encoding_to_char(encoding)::text AS encoding FROM pg_database WHERE datname = current_database()");
        let read = |cells: &super::cells::Cells| Ok((cells.serial("version")?, cells.string("encoding")?));
        let Some((version, encoding)) = tx.one("asking for the server's version", query, read).await? else {
            return Err(StoreError::Damaged { column: "server_version_num" });
        };
        if version < OLDEST_SERVER {
            let why = format!("{} is PostgreSQL {}; adit needs 15 or later", self.place, version / 10_000);
            return Err(StoreError::Setting { why });
        }
        if encoding != "UTF8" {
            let why = format!(
                "the database {} is encoded as {encoding}; make it with `createdb --owner=USER --encoding=UTF8 --template=template0`",
                self.place
            );
            return Err(StoreError::Setting { why });
        }
        Ok(())
    }

    /// Returns the number of the schema, 0 in an empty database.
    pub(super) async fn schema(&self, tx: &mut Tx) -> Result<i64, StoreError> {
        const DOING: &str = "reading the database's version";
        let ours = sql("SELECT count(*) AS n FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_name = 'adit_schema'");
        if tx.count(DOING, ours).await? > 0 {
            let version = tx
                .one(DOING, sql("SELECT version FROM adit_schema"), |cells| cells.serial("version"))
                .await?;
            return version.ok_or(StoreError::Damaged { column: "version" });
        }
        let any =
            sql("SELECT count(*) AS n FROM information_schema.tables WHERE table_schema = current_schema()");
        match tx.count(DOING, any).await? {
            0 => Ok(0),
            _ => Err(StoreError::Setting {
                why: format!(
                    "{} holds tables of something else; give adit a database of its own",
                    self.place
                ),
            }),
        }
    }
}

impl Tx {
    /// Takes an act's place: who asks what became of it waits until this transaction has ended.
    pub(crate) async fn claim_act(&mut self, act: ActId) -> Result<(), StoreError> {
        if self.is_postgres() {
            let query = sql("SELECT pg_advisory_xact_lock(hashtextextended($1, 7017274))").bind(text(act));
            self.rows("claiming a change", query).await?;
        }
        Ok(())
    }
}

/// Reads the URL. What leaves this host goes through TLS whose certificate is verified.
fn options(url: &DatabaseUrl) -> Result<PgConnectOptions, StoreError> {
    let parsed: Result<PgConnectOptions, _> = url.reveal().parse();
    // The parser's words may repeat the URL, which may hold a password.
    let options = parsed.map_err(|_| StoreError::Setting {
        why: "it is no URL such as postgres://adit@db.example.org/adit?sslrootcert=/etc/adit/db-ca.pem"
            .into(),
    })?;
    let options = if stays_here(&options) { options } else { verified(options)? };
    let millis = DATABASE_ANSWER_TIMEOUT.as_millis();
    Ok(options
        .application_name("adit gateway")
        .options([
            ("statement_timeout", format!("{millis}")),
            ("lock_timeout", format!("{millis}")),
            // What is asked for is little of much, and in memory: an index serves it, whatever a disk would say.
            ("random_page_cost", "1.1".to_owned()),
            // Little is read by each statement; compiling it takes longer.
            ("jit", "off".to_owned()),
            // A connection asks the same few statements again and again, and some join so many tables that to plan one
            // takes longer than to run it.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // Each connection plans them once: joins are written in a good order, and only neighbours are weighed.
            ("join_collapse_limit", "4".to_owned()),
            ("idle_in_transaction_session_timeout", format!("{}", 2 * millis)),
        ])
        .disable_statement_logging())
}

fn stays_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback =
        host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback
}

fn verified(options: PgConnectOptions) -> Result<PgConnectOptions, StoreError> {
    match options.get_ssl_mode() {
        // What sqlx takes when the URL says nothing, and what says the same.
        PgSslMode::Prefer | PgSslMode::VerifyFull => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
        // Public CAs are trusted too, and sign for anybody: without the name a certificate proves nothing.
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Require | PgSslMode::VerifyCa => {
            Err(StoreError::Setting {
                why: format!(
                    "the database at {} is on another host, and nothing would prove that it is that one; write \
                 sslmode=verify-full and sslrootcert=FILE with the CA of its certificate",
                    options.get_host()
                ),
            })
        }
    }
}

/// Returns where the database is, without user and password.
pub(super) fn place_of(url: &DatabaseUrl) -> Result<String, StoreError> {
    options(url).map(|options| place(&options))
}

fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;
    use crate::store::Store;
    use crate::store::fixture::{Crowd, Place};

    #[tokio::test]
    async fn a_migration_takes_as_long_as_it_takes_and_waits_for_a_lock_no_longer_than_others() {
        let place = Place::new().await;
        let Location::Postgres(url) = &place.location else { return };
        let engine = PostgresEngine::connecting(url, Fencing::Heeded).unwrap();
        let mut tx = engine.begin_migration().await.unwrap();
        let query = sql("SELECT current_setting('statement_timeout') AS statement,
            current_setting('lock_timeout') AS lock");
        let read =
            |cells: &crate::store::cells::Cells| Ok((cells.string("statement")?, cells.string("lock")?));
        let limits = tx.one("asking for the limits", query, read).await.unwrap();
        assert_eq!(limits, Some(("0".to_owned(), "5s".to_owned())));
    }

    #[tokio::test]
    async fn tables_that_were_filled_and_never_looked_at_are_looked_at_when_the_database_is_opened() {
        const KNOWN: &str = "SELECT DISTINCT tablename::text AS it FROM pg_stats
            WHERE schemaname = current_schema() ORDER BY it";
        let place = Place::new().await;
        if !matches!(place.location, Location::Postgres(_)) {
            return;
        }
        let store = place.store().await;
        Crowd::unseen(&store, 440).await;
        assert_eq!(store.read().await.unwrap().texts(KNOWN).await, [""; 0]);
        store.close().await;
        let store = Store::open(&place.location).await.unwrap();
        let known = store.read().await.unwrap().texts(KNOWN).await;
        assert!(
            known.contains(&"connection".into()) && known.contains(&"connection_fact".into()),
            "{known:?}"
        );
        assert!(!known.contains(&"organization".into()), "one that is small: {known:?}");
    }
}
