//! One row of either engine, read column by column as the domain's values; anything unexpected is
//! [`StoreError::Damaged`].

use std::str::FromStr;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::StoreError;
use super::query::Value;
use super::tables::{Column, Kind};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::time::Timestamp;

pub(super) struct Cells {
    row: Row,
}

enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Cells {
    fn from(row: SqliteRow) -> Self {
        Self { row: Row::Sqlite(row) }
    }
}

impl From<PgRow> for Cells {
    fn from(row: PgRow) -> Self {
        Self { row: Row::Postgres(row) }
    }
}

impl Cells {
    pub(super) fn get<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.string(column)?.parse().map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn maybe<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.cell(column)?;
        text.map(|text| text.parse().map_err(|_| StoreError::Damaged { column })).transpose()
    }

    /// Returns a name as it stands there: also one that would not be taken today.
    pub(super) fn name(&self, column: &'static str) -> Result<Name, StoreError> {
        self.string(column).map(Name::from_stored)
    }

    pub(super) fn maybe_name(&self, column: &'static str) -> Result<Option<Name>, StoreError> {
        let text: Option<String> = self.cell(column)?;
        Ok(text.map(Name::from_stored))
    }

    pub(super) fn description(&self, column: &'static str) -> Result<Description, StoreError> {
        self.string(column).map(Description::from_stored)
    }

    pub(super) fn string(&self, column: &'static str) -> Result<String, StoreError> {
        self.there(column)
    }

    pub(super) fn number(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.serial(column)?).map_err(|_| StoreError::Damaged { column })
    }

    pub(super) fn serial(&self, column: &'static str) -> Result<i64, StoreError> {
        self.there(column)
    }

    pub(super) fn maybe_serial(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.cell(column)
    }

    /// Returns bytes of any length.
    pub(super) fn maybe_blob(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.cell(column)
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        self.maybe_flag(column)?.ok_or(StoreError::Damaged { column })
    }

    pub(super) fn maybe_flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        match &self.row {
            Row::Sqlite(row) => {
                let flag: Option<i64> = row.try_get(column).map_err(|_| StoreError::Damaged { column })?;
                Ok(flag.map(|flag| flag != 0))
            }
            Row::Postgres(row) => row.try_get(column).map_err(|_| StoreError::Damaged { column }),
        }
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.maybe_time(column)?.ok_or(StoreError::Damaged { column })
    }

    pub(super) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.cell(column)?;
        Ok(millis.map(Timestamp::from_millis))
    }

    pub(super) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.maybe_bytes(column)?.ok_or(StoreError::Damaged { column })
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, StoreError> {
        let bytes: Option<Vec<u8>> = self.cell(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| StoreError::Damaged { column })).transpose()
    }

    /// Returns bytes of any number.
    pub(super) fn blob(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.there(column)
    }

    /// Returns a column as it is moved elsewhere.
    pub(super) fn value(&self, column: Column) -> Result<Value, StoreError> {
        Ok(match column.kind {
            Kind::Text => Value::Text(self.cell(column.name)?),
            Kind::Number => Value::Number(self.cell(column.name)?),
            Kind::Flag => Value::Flag(self.maybe_flag(column.name)?),
            Kind::Bytes => Value::Bytes(self.cell(column.name)?),
        })
    }

    fn there<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.cell(column)?.ok_or(StoreError::Damaged { column })
    }

    fn cell<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let cell = match &self.row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        };
        cell.map_err(|_| StoreError::Damaged { column })
    }
}
