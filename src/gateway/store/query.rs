//! One statement with its values, for either engine. The text is written once: `$1`, `$2` … stand for the
//! values in both, and only what both understand alike is used.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments};

/// A value to bind; each may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    /// 0 or 1 in `SQLite`.
    Flag(Option<bool>),
    Bytes(Option<Vec<u8>>),
}

#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Put together of our own texts only; what comes from elsewhere is a value.
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value>,
}

pub(super) const fn sql(text: &'static str) -> Query {
    Query { text: Cow::Borrowed(text), values: Vec::new() }
}

/// Does the same with a text that was put together of our own words, never of a value.
pub(super) const fn sql_of(text: String) -> Query {
    Query { text: Cow::Owned(text), values: Vec::new() }
}

impl Query {
    /// Binds the next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Goes on with a text.
    pub(super) fn then(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Goes on with the place of a value, and binds it there.
    pub(super) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        // Writing to a string cannot fail.
        let _ = write!(self.text.to_mut(), "${}", self.values.len());
        self
    }

    /// Goes on with the places of several values, with commas between them.
    pub(super) fn list<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Self {
        values.into_iter().enumerate().fold(self, |query, (number, value)| {
            if number == 0 { query.value(value) } else { query.then(", ").value(value) }
        })
    }

    /// Goes on with rows of two values each, as `VALUES` takes them; both engines call the columns `column1` and
    /// `column2`.
    pub(super) fn pairs<V: Into<Value>, W: Into<Value>>(
        self,
        rows: impl IntoIterator<Item = (V, W)>,
    ) -> Self {
        rows.into_iter().enumerate().fold(self, |query, (number, (one, other))| {
            let query = query.then(if number == 0 { "(" } else { ", (" });
            query.value(one).then(", ").value(other).then(")")
        })
    }

    pub(super) fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        let query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::Flag(flag) => query.bind(flag.map(i64::from)),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }

    pub(super) fn for_postgres(self) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        let query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::Flag(flag) => query.bind(flag),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&'static str>> for Value {
    fn from(text: Option<&'static str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(Some(flag))
    }
}

impl From<Option<bool>> for Value {
    fn from(flag: Option<bool>) -> Self {
        Self::Flag(flag)
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}
