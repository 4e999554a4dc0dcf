//! Which builds have written to a database.

use super::StoreError;
use super::query::sql;
use super::tx::Tx;
use adit_core::domain::word::UnknownWord;

/// Notes that this build, which knows schemas up to `known`, writes here from now on.
pub(super) async fn note(tx: &mut Tx, known: usize) -> Result<(), StoreError> {
    let query = sql("INSERT INTO build (version, schema) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(number(known));
    tx.run("noting which build writes", query).await.map(drop)
}

/// Returns which builds know more than this one, as far as they said so where it can be read here.
pub(super) async fn beyond(tx: &mut Tx, known: usize) -> String {
    let query =
        sql("SELECT version FROM build WHERE schema > $1 ORDER BY schema, version").bind(number(known));
    let found = tx.all("asking which build wrote", query, |cells| cells.string("version")).await;
    match found.unwrap_or_default() {
        versions if versions.is_empty() => "a newer adit".into(),
        versions => {
            let versions = versions.iter().map(|version| UnknownWord::new(version).to_string());
            format!("adit {}", versions.collect::<Vec<_>>().join(" and "))
        }
    }
}

fn number(known: usize) -> i64 {
    i64::try_from(known).unwrap_or(i64::MAX)
}
