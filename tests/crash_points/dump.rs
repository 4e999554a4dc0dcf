//! A database as text: its schema, its version and every row of every table, in an order of its own, so that
//! two are the same when their texts are.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

/// One line for each table: its name, and the expression that writes a row of it.
const TABLES: &str = r#"SELECT 'SELECT ''' || t.name || ' '' || '
        || group_concat('quote("' || c.name || '")', ' || '','' || ') || ' AS line FROM "' || t.name || '"'
    FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' GROUP BY t.name"#;
const REST: &str = "SELECT coalesce(sql, name) FROM sqlite_schema
    UNION ALL SELECT 'application ' || application_id FROM pragma_application_id
    UNION ALL SELECT 'version ' || user_version FROM pragma_user_version ORDER BY 1";

/// Opens the database of a state folder to look at it only.
pub(crate) async fn open(state: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(state.join("platform.db")).read_only(true);
    SqliteConnection::connect_with(&options).await
}

/// Returns its text.
pub(crate) async fn dump(database: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *database).await?;
    let rows = format!("{} ORDER BY 1", tables.join(" UNION ALL "));
    let mut lines: Vec<String> = sqlx::query_scalar(REST).fetch_all(&mut *database).await?;
    if !tables.is_empty() {
        lines.extend(sqlx::query_scalar::<_, String>(AssertSqlSafe(rows)).fetch_all(database).await?);
    }
    Ok(lines.join("\n"))
}

/// Returns what `SQLite` itself finds wrong with the file and with references between rows.
pub(crate) async fn faults(database: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut faults: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *database).await?;
    faults.retain(|line| line != "ok");
    let dangling = "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to no ' || parent
        FROM pragma_foreign_key_check";
    faults.extend(sqlx::query_scalar::<_, String>(dangling).fetch_all(database).await?);
    Ok(faults)
}
