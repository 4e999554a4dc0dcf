//! What an `SQLite` database holds, as text, read without any code of ours.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

/// Each table's columns, and its rows in order: each a value for each column, as SQL writes it.
pub(super) struct Dump(BTreeMap<String, (Vec<String>, Vec<Vec<String>>)>);

impl Dump {
    pub(super) async fn of(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut all = BTreeMap::new();
        for table in words(&mut connection, tables.to_owned()).await {
            let columns =
                words(&mut connection, format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let mut values: Vec<Vec<String>> = Vec::new();
            let order = columns.join(", ");
            for column in &columns {
                let column = format!("SELECT quote({column}) FROM {table} ORDER BY {order}");
                values.push(words(&mut connection, column).await);
            }
            let count = values.first().map_or(0, Vec::len);
            let mut rows: Vec<Vec<String>> =
                (0..count).map(|row| values.iter().map(|column| column[row].clone()).collect()).collect();
            rows.sort();
            all.insert(table, (columns, rows));
        }
        connection.close().await.unwrap();
        Self(all)
    }

    /// The same but for one table.
    pub(super) fn without(mut self, table: &str) -> Self {
        self.0.remove(table);
        self
    }

    pub(super) fn rows(&self, table: &str) -> usize {
        self.0[table].1.len()
    }

    /// Both are the same, row by row.
    pub(super) fn is(&self, other: &Self) {
        assert_eq!(self.0.keys().collect::<Vec<_>>(), other.0.keys().collect::<Vec<_>>());
        for (table, held) in &self.0 {
            assert_eq!(held, &other.0[table], "{table}");
        }
    }

    /// Every value of the tables and columns that both have is the same here; `but` names columns that
    /// another schema has by design.
    pub(super) fn is_still_in(&self, later: &Self, but: &[(&str, &str)]) {
        for (table, (columns, rows)) in &self.0 {
            let (later_columns, later_rows) = &later.0[table];
            let kept: Vec<_> = columns.iter().filter(|name| !but.contains(&(table, name))).collect();
            let picked = |from: &[String], rows: &[Vec<String>]| {
                let places: Vec<_> =
                    kept.iter().map(|name| from.iter().position(|it| it == *name).expect(name)).collect();
                let mut rows: Vec<Vec<String>> =
                    rows.iter().map(|row| places.iter().map(|at| row[*at].clone()).collect()).collect();
                rows.sort();
                rows
            };
            assert_eq!(picked(columns, rows), picked(later_columns, later_rows), "{table}");
        }
    }

    /// Every table that holds rows.
    pub(super) fn filled(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, (_, rows))| !rows.is_empty()).map(|(name, _)| name.as_str()).collect()
    }
}

async fn words(connection: &mut SqliteConnection, query: String) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await.unwrap()
}
