//! One transaction, and reading its rows back as the domain's values.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use super::StoreError;
use adit_core::domain::name::{Description, Name};
use adit_core::domain::time::Timestamp;

/// Rolls back when dropped without [`Tx::commit`].
pub(crate) struct Tx {
    inner: Transaction<'static, Sqlite>,
}

pub(super) fn sql(text: &'static str) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(text)
}

/// Returns an identity or name as it stands in a column.
pub(super) fn text(value: impl Display) -> String {
    value.to_string()
}

impl Tx {
    pub(super) async fn begin(pool: &SqlitePool, statement: &'static str) -> Result<Self, StoreError> {
        let inner = pool
            .begin_with(statement)
            .await
            .map_err(|source| StoreError::from_query("starting a transaction", source))?;
        Ok(Self { inner })
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await.map_err(|source| StoreError::from_query("committing", source))
    }

    /// Remembers this point for [`Tx::rollback_to_savepoint`].
    pub(crate) async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.run("marking a change", sql("SAVEPOINT change")).await.map(drop)
    }

    /// Takes back everything since [`Tx::savepoint`], so that a refusal leaves nothing but its audit entry.
    pub(crate) async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.run("taking a change back", sql("ROLLBACK TO change")).await.map(drop)
    }

    pub(super) async fn run(
        &mut self,
        doing: &'static str,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> Result<u64, StoreError> {
        let done =
            query.execute(&mut *self.inner).await.map_err(|source| StoreError::from_query(doing, source))?;
        Ok(done.rows_affected())
    }

    pub(super) async fn one<T>(
        &mut self,
        doing: &'static str,
        query: Query<'static, Sqlite, SqliteArguments>,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let row = query
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(|source| StoreError::from_query(doing, source))?;
        row.map(|row| read(&Cells { row })).transpose()
    }

    pub(super) async fn all<T>(
        &mut self,
        doing: &'static str,
        query: Query<'static, Sqlite, SqliteArguments>,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(doing, query).await?.iter().map(read).collect()
    }

    pub(super) async fn rows(
        &mut self,
        doing: &'static str,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> Result<Vec<Cells>, StoreError> {
        let rows = query
            .fetch_all(&mut *self.inner)
            .await
            .map_err(|source| StoreError::from_query(doing, source))?;
        Ok(rows.into_iter().map(|row| Cells { row }).collect())
    }

    pub(super) async fn count(
        &mut self,
        doing: &'static str,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> Result<u32, StoreError> {
        Ok(self.one(doing, query, |cells| cells.number("n")).await?.unwrap_or(0))
    }

    pub(super) async fn pragma(&mut self, statement: &'static str) -> Result<i64, StoreError> {
        let doing = "reading the database's version";
        let row = sql(statement)
            .fetch_one(&mut *self.inner)
            .await
            .map_err(|source| StoreError::from_query(doing, source))?;
        row.try_get(0).map_err(|source| StoreError::from_query(doing, source))
    }

    pub(super) async fn has_tables(&mut self) -> Result<bool, StoreError> {
        self.count("looking for tables", sql("SELECT count(*) AS n FROM sqlite_schema"))
            .await
            .map(|tables| tables > 0)
    }

    pub(super) async fn script(&mut self, script: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(script)
            .execute(&mut *self.inner)
            .await
            .map(drop)
            .map_err(|source| StoreError::from_query("bringing the database up to date", source))
    }
}

/// One row, read column by column; anything unexpected is [`StoreError::Damaged`].
pub(super) struct Cells {
    row: SqliteRow,
}

impl Cells {
    pub(super) fn get<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.string(column)?.parse().map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn maybe<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        text.map(|text| text.parse().map_err(|_| StoreError::Damaged { column })).transpose()
    }

    /// Returns a name as it stands there: also one that would not be taken today.
    pub(super) fn name(&self, column: &'static str) -> Result<Name, StoreError> {
        self.string(column).map(Name::from_stored)
    }

    pub(super) fn maybe_name(&self, column: &'static str) -> Result<Option<Name>, StoreError> {
        let text: Option<String> = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        Ok(text.map(Name::from_stored))
    }

    pub(super) fn description(&self, column: &'static str) -> Result<Description, StoreError> {
        self.string(column).map(Description::from_stored)
    }

    pub(super) fn string(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.try_get(column).map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn number(&self, column: &'static str) -> Result<u32, StoreError> {
        let number: i64 = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        u32::try_from(number).map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn serial(&self, column: &'static str) -> Result<i64, StoreError> {
        self.row.try_get(column).map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        self.maybe_flag(column)?.ok_or(StoreError::Damaged { column })
    }

    pub(super) fn maybe_flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        let flag: Option<i64> = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        Ok(flag.map(|flag| flag != 0))
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.maybe_time(column)?.ok_or(StoreError::Damaged { column })
    }

    pub(super) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        Ok(millis.map(Timestamp::from_millis))
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| StoreError::Damaged { column })).transpose()
    }

    pub(super) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.maybe_bytes(column)?.ok_or(StoreError::Damaged { column })
    }
}
