//! An empty database for a test: on `PostgreSQL` in a schema of its own where `ADIT_TEST_POSTGRES` says where
//! a server is (`tests/run.sh` runs the suite once on each engine), else in a file.

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use super::{Location, Store};
use adit_core::config::DatabaseUrl;
use adit_net::identity::random;

const VARIABLE: &str = "ADIT_TEST_POSTGRES";

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
}

impl Place {
    /// Returns all that the database holds, as it is kept or as text.
    pub(crate) async fn contents(&self) -> Vec<u8> {
        let url = match &self.location {
            Location::Sqlite(path) => return std::fs::read(path).unwrap(),
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
