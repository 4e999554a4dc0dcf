//! One transaction of either engine.

use std::fmt::Display;
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, Postgres, Row as _, Sqlite, SqliteConnection, Transaction};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::{Query, sql};
use adit_core::domain::limits::DATABASE_ANSWER_TIMEOUT;

/// Rows that one statement writes: few enough for any engine's number of values.
pub(super) const ROWS_OF_STATEMENT: usize = 32;

/// Rolls back when dropped without [`Tx::commit`].
pub(crate) struct Tx {
    inner: Inner,
    /// What was changed, in order; written as rows of the feed just before the commit.
    changed: Vec<Changed>,
    /// How much of it had been changed at the savepoint.
    changed_before: usize,
    /// Told when something was changed and is committed.
    committed: Option<Arc<Notify>>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PostgresTx),
}

/// `None` once it has ended.
struct PostgresTx {
    connection: Option<PoolConnection<Postgres>>,
}

/// Returns an identity or name as it stands in a column.
pub(super) fn text(value: impl Display) -> String {
    value.to_string()
}

impl Tx {
    pub(super) fn of_sqlite(inner: Transaction<'static, Sqlite>) -> Self {
        Self::new(Inner::Sqlite(inner))
    }

    /// Begins on a connection, with a statement that also asks whether the server follows another one, and whether
    /// the database is fenced, which is returned. Whoever stops waiting for that leaves no connection behind on which a
    /// transaction is open.
    pub(super) async fn begin_on_postgres(
        connection: PoolConnection<Postgres>,
        statement: &'static str,
    ) -> Result<(Self, bool), StoreError> {
        const DOING: &str = "starting a transaction";
        let mut tx = PostgresTx { connection: Some(connection) };
        let asking = tx.connection(DOING)?.fetch_all(sqlx::raw_sql(statement));
        let rows = tx_answer(DOING, asking).await;
        let told = rows.and_then(|rows| {
            let told = |row: &PgRow| Ok((row.try_get("follows")?, row.try_get("is_fenced")?));
            let told = rows.first().map(told).transpose();
            told.map_err(|source| StoreError::from_query(DOING, source))
        });
        let begun = match told {
            Ok(Some((true, _))) => Err(StoreError::Follows),
            Ok(told) => Ok(told.is_some_and(|(_, is_fenced)| is_fenced)),
            Err(error) => Err(error),
        };
        let is_fenced = tx.keep(begun)?;
        Ok((Self::new(Inner::Postgres(tx)), is_fenced))
    }

    fn new(inner: Inner) -> Self {
        Self { inner, changed: Vec::new(), changed_before: 0, committed: None }
    }

    /// Tells `committed` once something is changed.
    pub(super) fn telling(self, committed: &Arc<Notify>) -> Self {
        Self { committed: Some(Arc::clone(committed)), ..self }
    }

    /// Commits what was done. [`StoreError::CommitUnknown`]: the answer was lost, and with it whether it was.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut self.changed);
        let has_changes = !changed.is_empty();
        self.write_changes(changed).await?;
        match &mut self.inner {
            Inner::Sqlite(_) => {}
            Inner::Postgres(tx) => tx.commit().await?,
        }
        let Self { inner, committed, .. } = self;
        if let Inner::Sqlite(tx) = inner {
            tx.commit().await.map_err(|source| StoreError::from_query("committing", source))?;
        }
        if has_changes && let Some(committed) = committed {
            committed.notify_waiters();
        }
        Ok(())
    }

    /// Notes what is changed, for those who follow.
    pub(crate) fn note_change(&mut self, changed: Changed) {
        self.changed.push(changed);
    }

    /// Remembers this point for [`Tx::rollback_to_savepoint`].
    pub(crate) async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.changed_before = self.changed.len();
        self.run("marking a change", sql("SAVEPOINT change")).await.map(drop)
    }

    /// Takes back everything since [`Tx::savepoint`], so that a refusal leaves nothing but its audit entry.
    pub(crate) async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.changed.truncate(self.changed_before);
        self.run("taking a change back", sql("ROLLBACK TO SAVEPOINT change")).await.map(drop)
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Returns how many rows it concerned.
    pub(super) async fn run(&mut self, doing: &'static str, query: Query) -> Result<u64, StoreError> {
        #[cfg(test)]
        super::fixture::count_statement();
        #[cfg(test)]
        self.note_plan(&query).await;
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let done = query.for_sqlite().execute(&mut **tx).await;
                Ok(done.map_err(|source| StoreError::from_query(doing, source))?.rows_affected())
            }
            Inner::Postgres(tx) => {
                let connection = tx.connection(doing)?;
                let done = tx_answer(doing, query.for_postgres().execute(&mut **connection)).await;
                Ok(tx.keep(done)?.rows_affected())
            }
        }
    }

    pub(super) async fn rows(&mut self, doing: &'static str, query: Query) -> Result<Vec<Cells>, StoreError> {
        #[cfg(test)]
        super::fixture::count_statement();
        #[cfg(test)]
        self.note_plan(&query).await;
        self.fetch(doing, query).await
    }

    pub(super) async fn fetch(
        &mut self,
        doing: &'static str,
        query: Query,
    ) -> Result<Vec<Cells>, StoreError> {
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let rows = query.for_sqlite().fetch_all(&mut **tx).await;
                let rows = rows.map_err(|source| StoreError::from_query(doing, source))?;
                Ok(rows.into_iter().map(Cells::from).collect())
            }
            Inner::Postgres(tx) => {
                let connection = tx.connection(doing)?;
                let rows = tx_answer(doing, query.for_postgres().fetch_all(&mut **connection)).await;
                Ok(tx.keep(rows)?.into_iter().map(Cells::from).collect())
            }
        }
    }

    pub(super) async fn one<T>(
        &mut self,
        doing: &'static str,
        query: Query,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(doing, query).await?.first().map(read).transpose()
    }

    pub(super) async fn all<T>(
        &mut self,
        doing: &'static str,
        query: Query,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(doing, query).await?.iter().map(read).collect()
    }

    pub(super) async fn count(&mut self, doing: &'static str, query: Query) -> Result<u32, StoreError> {
        Ok(self.one(doing, query, |cells| cells.number("n")).await?.unwrap_or(0))
    }

    /// Runs several statements that have no values.
    pub(super) async fn script(&mut self, script: &'static str) -> Result<(), StoreError> {
        const DOING: &str = "bringing the database up to date";
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let done = sqlx::raw_sql(script).execute(&mut **tx).await;
                done.map(drop).map_err(|source| StoreError::from_query(DOING, source))
            }
            Inner::Postgres(tx) => {
                let connection = tx.connection(DOING)?;
                let done = sqlx::raw_sql(script).execute(&mut **connection).await;
                let done = done.map(drop).map_err(|source| StoreError::from_query(DOING, source));
                tx.keep(done)
            }
        }
    }

    /// Returns `SQLite`'s connection, for what only that engine has.
    pub(super) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Some(&mut **tx),
            Inner::Postgres(_) => None,
        }
    }
}

/// Waits for the server's answer, but not for ever: one that is stopped, or out of reach behind a link that
/// says nothing, never answers.
pub(super) async fn tx_answer<T>(
    doing: &'static str,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match timeout(DATABASE_ANSWER_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(|source| StoreError::from_query(doing, source)),
        Err(_) => Err(StoreError::Away { doing }),
    }
}

impl PostgresTx {
    fn connection(&mut self, doing: &'static str) -> Result<&mut PoolConnection<Postgres>, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Away { doing })
    }

    /// Gives the connection up where the server was not heard any more: nobody knows what state it is in.
    fn keep<T>(&mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if outcome.as_ref().is_err_and(StoreError::is_away)
            && let Some(mut connection) = self.connection.take()
        {
            connection.close_on_drop();
        }
        outcome
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        const DOING: &str = "committing";
        let mut connection = self.connection.take().ok_or(StoreError::Away { doing: DOING })?;
        let done = tx_answer(DOING, connection.execute("COMMIT")).await;
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                connection.close_on_drop();
                Err(if error.is_away() { StoreError::CommitUnknown } else { error })
            }
        }
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return connection.close_on_drop() };
        runtime.spawn(async move {
            let done = timeout(DATABASE_ANSWER_TIMEOUT, connection.execute("ROLLBACK")).await;
            if !matches!(done, Ok(Ok(_))) {
                debug!("a transaction could not be rolled back; its connection is closed");
                connection.close_on_drop();
            }
        });
    }
}
