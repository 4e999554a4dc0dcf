//! An empty database for a test: on `PostgreSQL` in a schema of its own where `ADIT_TEST_POSTGRES` says where
//! a server is (`tests/run.sh` runs the suite once on each engine), else in a file.

mod crowd;

use std::cell::{Cell, RefCell};

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

pub(crate) use crowd::Crowd;

use super::query::{Query, Value, sql};
use super::tx::text;
use super::{Location, NewUserSession, SessionRecord, Store, Tx};
use adit_core::config::DatabaseUrl;
use adit_core::domain::id::{OrganizationId, SessionId, UserId};
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

const VARIABLE: &str = "ADIT_TEST_POSTGRES";

thread_local! {
    /// A test and what it asks of a database are on one thread.
    static STATEMENTS: Cell<usize> = const { Cell::new(0) };
    static PLANS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

pub(super) fn count_statement() {
    STATEMENTS.set(STATEMENTS.get() + 1);
}

/// Notes the plan of every statement that reads rows from now on, in this test.
pub(crate) fn note_plans() {
    PLANS.set(Some(Vec::new()));
}

/// Returns the plans, each a text of several lines, and notes no more.
pub(crate) fn take_plans() -> Vec<String> {
    PLANS.take().unwrap_or_default()
}

impl Tx {
    pub(super) async fn note_plan(&mut self, query: &Query) {
        if PLANS.with_borrow(Option::is_none) {
            return;
        }
        // As the server runs it: with a plan that is made without the values, and kept.
        let (ask, column) = if self.is_postgres() {
            let prepare =
                Query { text: format!("PREPARE noted AS {}", query.text).into(), values: Vec::new() };
            self.fetch("preparing for a plan", prepare).await.unwrap();
            (explain_noted(&query.values), "QUERY PLAN")
        } else {
            (Query { text: format!("EXPLAIN QUERY PLAN {}", query.text).into(), ..query.clone() }, "detail")
        };
        let lines = self.fetch("asking for a plan", ask).await.unwrap();
        if self.is_postgres() {
            self.fetch("after a plan", sql("DEALLOCATE noted")).await.unwrap();
        }
        let lines: Vec<_> = lines.iter().map(|cells| cells.string(column).unwrap()).collect();
        PLANS.with_borrow_mut(|plans| plans.as_mut().unwrap().push(lines.join("\n")));
    }

    /// Returns what one column of text holds.
    pub(crate) async fn texts(&mut self, query: &'static str) -> Vec<String> {
        let rows = self.rows("asking for a test", super::query::sql(query)).await.unwrap();
        rows.iter().map(|cells| cells.string("it").unwrap()).collect()
    }
}

impl Store {
    /// Writes what no build of this version would.
    pub(crate) async fn meddle(&self, statement: String) {
        let mut tx = self.write().await.unwrap();
        assert!(tx.run("meddling for a test", super::query::sql_of(statement)).await.unwrap() > 0);
        tx.commit().await.unwrap();
    }

    /// Adds a user of whom nothing matters but that there is one.
    /// Gives a user another address, as a provider does.
    pub(crate) async fn set_some_email(&self, user: UserId, email: &str) {
        let mut tx = self.write().await.unwrap();
        let query =
            sql("UPDATE user_account SET email = $1 WHERE id = $2").bind(email.to_owned()).bind(text(user));
        tx.run("giving a user another address", query).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Adds a user with a session that nobody has to use.
    pub(crate) async fn add_some_user(
        &self,
        user: UserId,
        organization: OrganizationId,
        role: UserRole,
    ) -> SessionId {
        let mut tx = self.write().await.unwrap();
        let query =
            sql("INSERT INTO user_account (id, organization, name, email, role, created_at, changed_at)
             VALUES ($1, $2, 'Ada', $3, $4, 0, 0)")
            .bind(text(user))
            .bind(text(organization))
            .bind(format!("{user}@example.org"))
            .bind(role.as_str());
        tx.run("adding a user", query).await.unwrap();
        let far = Timestamp::from_millis(4_102_444_800_000);
        let record = SessionRecord {
            id: SessionId::from_random(random::bytes()),
            account: user,
            is_whole: true,
            created_at: far,
            seen_at: far,
            expires_at: far,
            address: String::new(),
            agent: String::new(),
        };
        let session = record.id;
        tx.insert_session(&NewUserSession { record, hash: random::bytes() }).await.unwrap();
        tx.commit().await.unwrap();
        session
    }
}

fn explain_noted(values: &[Value]) -> Query {
    let quoted = |value: &Value| match value {
        Value::Text(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        Value::Number(Some(number)) => format!("'{number}'"),
        Value::Flag(Some(flag)) => format!("'{flag}'"),
        Value::Bytes(Some(bytes)) => format!("'\\x{}'", hex::encode(bytes)),
        Value::Text(None) | Value::Number(None) | Value::Flag(None) | Value::Bytes(None) => "NULL".into(),
    };
    let values: Vec<_> = values.iter().map(quoted).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    Query { text: format!("EXPLAIN EXECUTE noted{values}").into(), values: Vec::new() }
}

/// Returns how many statements ran since the last time, in this test.
pub(crate) fn take_statements() -> usize {
    STATEMENTS.take()
}

pub(crate) struct Place {
    pub location: Location,
    _folder: TempDir,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = match std::env::var(VARIABLE) {
            Ok(url) => Location::Postgres(schema_on(&url).await),
            Err(_) => Location::Sqlite(folder.path().join("platform.db")),
        };
        Self { location, _folder: folder }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.location).await.unwrap()
    }

    /// Returns all that the database holds, as it is kept or as text.
    pub(crate) async fn contents(&self) -> Vec<u8> {
        let url = match &self.location {
            Location::Sqlite(path) => {
                let mut contents = std::fs::read(path).unwrap();
                // What was committed last is beside it.
                let log = path.with_extension("db-wal");
                contents.extend(std::fs::read(log).unwrap_or_default());
                return contents;
            }
            Location::Postgres(url) => url,
        };
        let mut connection = PgConnection::connect(url.reveal()).await.unwrap();
        let tables =
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()";
        let tables: Vec<(String,)> = sqlx::query_as(tables).fetch_all(&mut connection).await.unwrap();
        let mut contents = Vec::new();
        for (table,) in tables {
            let rows = sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT it::text FROM {table} it")));
            let rows: Vec<(String,)> = rows.fetch_all(&mut connection).await.unwrap();
            contents.extend(rows.into_iter().flat_map(|(row,)| row.into_bytes()));
        }
        contents
    }
}

/// Makes a schema that nothing else uses; the server is thrown away with it.
async fn schema_on(server: &str) -> DatabaseUrl {
    let name = format!("t_{}", hex::encode(random::bytes::<8>()));
    let mut connection = PgConnection::connect(server).await.unwrap();
    let made = sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {name}")));
    connection.execute(made).await.unwrap();
    connection.close().await.unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}options=-csearch_path%3D{name}").parse().unwrap()
}
