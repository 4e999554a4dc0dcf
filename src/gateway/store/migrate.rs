//! Moves all rows of one database into another, empty one, which may be of the other engine: in one
//! transaction of each, in pages, and compared before it is committed. What the rows mean is not known here.
//!
//! Both are never open to who serves them. The target is committed behind a fence, then the source is fenced, whose
//! writers wait all the while, then the target's fence is lifted. Whatever ends this between two of these steps, the
//! same move, begun again, goes on after the last.

use std::fmt::Write as _;

use tracing::debug;

use super::fence::{Fence, FenceKind};
use super::query::{Query, Value, sql, sql_of};
use super::tables::{TABLES, Table};
use super::tx::Tx;
use super::{Store, StoreError, Turn};
use adit_core::domain::id::ActId;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

/// Rows that are in memory at a time; the values of so many fit into one statement of either engine.
const PAGE_ROWS: usize = 500;

/// One table that was moved and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovedTable {
    pub name: &'static str,
    pub rows: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(
        "a gateway serves what is to be moved, and said so until {until}; stop it, and try again after that"
    )]
    Served { until: Timestamp },
    #[error(
        "there is nothing to move: the source holds no platform; see that --from and --to are not swapped"
    )]
    Nothing,
    #[error("the target holds something already (in its table `{table}`); name an empty database")]
    Taken { table: &'static str },
    #[error(
        "the target's own platform was moved to {to} at {at}; empty it first, as by moving its file away or making the \
         server's database anew, or name an empty database"
    )]
    Left { to: String, at: Timestamp },
    /// Somebody acted on the source since.
    #[error(
        "the target holds an unfinished move, and is not the same as the source any more (table `{table}`); the source \
         is as it was: empty the target, as by moving its file away or making the server's database anew, and move again"
    )]
    Outdated { table: &'static str },
    #[error(
        "the table `{table}` is not the same in the target at `{row}`, column `{column}`; nothing was moved, please \
         report it"
    )]
    Differs { table: &'static str, row: String, column: &'static str },
    #[error("the table `{table}` has more rows in the {side}; nothing was moved, please report it")]
    Longer { table: &'static str, side: &'static str },
    #[error(
        "the numbers of the table `{table}` do not go on where they were; nothing was moved, please report it"
    )]
    Numbers { table: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One row, as many values as its table has columns.
type Row = Vec<Value>;

/// What both sides hold while a move is under way, each behind the other's back.
struct Arrived {
    moved: Vec<MovedTable>,
    /// Keeps whoever would write from the source.
    from: Tx,
    /// None where the source is fenced already.
    fence: Option<Fence>,
}

impl Store {
    /// Copies every row to `target`, compares both, and commits only where they are equal. Whoever would write
    /// on either side waits until it is over, and is refused on this one from then on. Goes on where it was broken
    /// off before.
    pub(crate) async fn move_to(
        &self,
        target: &Self,
        now: Timestamp,
        asks_leases: bool,
    ) -> Result<Vec<MovedTable>, MoveError> {
        let arrived = self.arrive_at(target, now, asks_leases).await?;
        let moved = leave(arrived).await?;
        target.open_up().await?;
        Ok(moved)
    }

    /// Has all rows in the target, behind a fence.
    async fn arrive_at(
        &self,
        target: &Self,
        now: Timestamp,
        asks_leases: bool,
    ) -> Result<Arrived, MoveError> {
        // Alone: what others still commit while this waits for them is seen.
        let (mut from, mut to) = (self.write_in(Turn::Alone).await?, target.write_in(Turn::Alone).await?);
        to.hold_writers().await?;
        from.hold_writers().await?;
        let (left, unfinished) = (from.fence().await?, to.fence().await?);
        let is_again = match (&left, unfinished) {
            (None, Some(fence)) if fence.kind == FenceKind::Moved => {
                return Err(MoveError::Left { to: fence.place, at: fence.at });
            }
            (None, unfinished) => unfinished.map(|fence| fence.id),
            (Some(left), Some(fence)) if left.kind == FenceKind::Moved && left.id == fence.id => {
                Some(fence.id)
            }
            (Some(left), _) => return Err(left.clone().refusal().into()),
        };
        if left.is_none() && asks_leases {
            from.must_not_be_served(now).await?;
        }
        let id = if let Some(id) = &is_again {
            id.clone()
        } else {
            to.must_be_empty().await?;
            from.must_hold_something().await?;
            fill(&mut from, &mut to).await?;
            let fence = Fence::arriving(ActId::from_random(random::bytes()), self, now);
            let id = fence.id.clone();
            to.set_fence(fence).await?;
            id
        };
        let compared = compare_all(&mut from, &mut to).await;
        let moved = match compared {
            Err(error) if is_again.is_some() => return Err(error.of_unfinished()),
            compared => compared?,
        };
        to.commit().await?;
        let fence = left.is_none().then(|| Fence::moved(id, target, now));
        Ok(Arrived { moved, from, fence })
    }

    /// Lets the target be served, now that the source is not.
    async fn open_up(&self) -> Result<(), MoveError> {
        let mut to = self.write_in(Turn::Alone).await?;
        to.lift_fence().await?;
        Ok(to.commit().await?)
    }
}

/// Fences the source.
async fn leave(Arrived { moved, mut from, fence }: Arrived) -> Result<Vec<MovedTable>, MoveError> {
    if let Some(fence) = fence {
        from.set_fence(fence).await?;
        from.commit().await?;
    }
    Ok(moved)
}

impl MoveError {
    /// Says what a difference means in a target that was filled some time ago.
    fn of_unfinished(self) -> Self {
        match self {
            Self::Differs { table, .. } | Self::Longer { table, .. } | Self::Numbers { table } => {
                Self::Outdated { table }
            }
            error => error,
        }
    }
}

/// Writes every row into an empty target, and what numbers its next ones.
async fn fill(from: &mut Tx, to: &mut Tx) -> Result<(), StoreError> {
    for table in TABLES.iter().filter(|table| table.is_never_empty) {
        to.run("making room", sql_of(format!("DELETE FROM {}", table.name))).await?;
    }
    for table in &TABLES {
        copy(from, to, table).await?;
    }
    // In PostgreSQL they stay even where the transaction does not.
    for table in TABLES.iter().filter(|table| table.numbered.is_some()) {
        let newest = from.newest_number(table).await?;
        to.number_after(table, newest).await?;
    }
    Ok(())
}

async fn compare_all(from: &mut Tx, to: &mut Tx) -> Result<Vec<MovedTable>, MoveError> {
    let mut moved = Vec::new();
    for table in &TABLES {
        let rows = compare(from, to, table).await?;
        debug!(table = table.name, rows, "a table is moved and equal");
        moved.push(MovedTable { name: table.name, rows });
    }
    for table in TABLES.iter().filter(|table| table.numbered.is_some()) {
        if to.newest_number(table).await? != from.newest_number(table).await? {
            return Err(MoveError::Numbers { table: table.name });
        }
    }
    Ok(moved)
}

async fn copy(from: &mut Tx, to: &mut Tx, table: &Table) -> Result<(), StoreError> {
    let mut pages = Pages::of(table);
    loop {
        let rows = pages.next(from).await?;
        if rows.is_empty() {
            return Ok(());
        }
        to.run("writing what is moved", insert(table, rows)).await?;
    }
}

/// Reads both sides again, row by row; returns how many rows there are.
async fn compare(from: &mut Tx, to: &mut Tx, table: &Table) -> Result<u64, MoveError> {
    let (mut of_source, mut of_target) = (Pages::of(table), Pages::of(table));
    loop {
        let (source, target) = (of_source.next(from).await?, of_target.next(to).await?);
        if let Some(differs) =
            source.iter().zip(&target).find_map(|(one, other)| differing(table, one, other))
        {
            return Err(differs);
        }
        match (source.len(), target.len()) {
            (0, 0) => return Ok(of_source.read),
            (source, target) if source > target => {
                return Err(MoveError::Longer { table: table.name, side: "source" });
            }
            (source, target) if source < target => {
                return Err(MoveError::Longer { table: table.name, side: "target" });
            }
            _ => {}
        }
    }
}

/// Returns the first difference, without saying what stands there.
fn differing(table: &Table, one: &Row, other: &Row) -> Option<MoveError> {
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    let row = key(table, one).map(|value| shown(&value)).collect::<Vec<_>>().join(" ");
    Some(MoveError::Differs { table: table.name, row, column: table.columns[at].name })
}

/// Returns the value of a key; keys are identities and numbers.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(Some(text)) => text.clone(),
        Value::Number(Some(number)) => number.to_string(),
        Value::Text(None) | Value::Number(None) | Value::Flag(_) | Value::Bytes(_) => "?".into(),
    }
}

/// Returns the values of a row's key.
fn key(table: &Table, row: &Row) -> impl Iterator<Item = Value> {
    let is_key = |name: &str| table.key.contains(&name);
    let values = table.columns.iter().zip(row).filter(move |(column, _)| is_key(column.name));
    values.map(|(_, value)| value.clone())
}

/// The rows of one table in order, page by page.
struct Pages<'t> {
    table: &'t Table,
    read: u64,
    /// The key of the last row that was read.
    last: Option<Vec<Value>>,
}

impl<'t> Pages<'t> {
    const fn of(table: &'t Table) -> Self {
        Self { table, read: 0, last: None }
    }

    /// Returns no row once all were read.
    async fn next(&mut self, tx: &mut Tx) -> Result<Vec<Row>, StoreError> {
        let cells = tx.rows("reading what is moved", self.query()).await?;
        let read = |cells| {
            self.table.columns.iter().map(|column| super::cells::Cells::value(cells, *column)).collect()
        };
        let rows = cells.iter().map(read).collect::<Result<Vec<Row>, StoreError>>()?;
        self.read += rows.len() as u64;
        self.last = rows.last().map(|row| key(self.table, row).collect()).or(self.last.take());
        Ok(rows)
    }

    fn query(&self) -> Query {
        let Table { name, key, .. } = self.table;
        let columns = names(self.table.columns.iter().map(|column| column.name));
        let order = names(self.table.order().into_iter());
        let mut text = format!("SELECT {columns} FROM {name}");
        let last = self.last.as_deref().filter(|_| !key.is_empty()).unwrap_or_default();
        if !last.is_empty() {
            let _ = write!(text, " WHERE ({order}) > ({})", places(1, last.len()));
        }
        let _ = write!(text, " ORDER BY {order} LIMIT {PAGE_ROWS}");
        if key.is_empty() {
            let _ = write!(text, " OFFSET {}", self.read);
        }
        last.iter().cloned().fold(sql_of(text), Query::bind)
    }
}

fn insert(table: &Table, rows: Vec<Row>) -> Query {
    let width = table.columns.len();
    let columns = names(table.columns.iter().map(|column| column.name));
    let places: Vec<_> = (0..rows.len()).map(|row| format!("({})", places(row * width + 1, width))).collect();
    let text = format!("INSERT INTO {} ({columns}) VALUES {}", table.name, places.join(", "));
    rows.into_iter().flatten().fold(sql_of(text), Query::bind)
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Returns `$first, $first+1 …`.
fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

impl Tx {
    /// Makes whoever would write wait to the end of this transaction. `SQLite` does since it began; in
    /// `PostgreSQL` nothing may have been read before.
    async fn hold_writers(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            let tables = names(TABLES.iter().map(|table| table.name));
            let lock = sql_of(format!("LOCK TABLE {tables} IN EXCLUSIVE MODE"));
            self.run("waiting for who writes", lock).await?;
        }
        Ok(())
    }

    async fn must_be_empty(&mut self) -> Result<(), MoveError> {
        match self.first_filled().await? {
            Some(table) => Err(MoveError::Taken { table }),
            None => Ok(()),
        }
    }

    async fn must_hold_something(&mut self) -> Result<(), MoveError> {
        self.first_filled().await?.map(drop).ok_or(MoveError::Nothing)
    }

    /// Returns a table that has rows, if any has.
    async fn first_filled(&mut self) -> Result<Option<&'static str>, StoreError> {
        for table in TABLES.iter().filter(|table| !table.is_never_empty) {
            let any = sql_of(format!("SELECT count(*) AS n FROM (SELECT 1 FROM {} LIMIT 1) it", table.name));
            if self.count("looking for rows", any).await? > 0 {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    async fn must_not_be_served(&mut self, now: Timestamp) -> Result<(), MoveError> {
        let query =
            sql("SELECT max(until) AS until FROM gateway_lease WHERE until > $1").bind(now.as_millis());
        let until =
            self.one("looking for a gateway", query, |cells| cells.maybe_time("until")).await?.flatten();
        until.map_or(Ok(()), |until| Err(MoveError::Served { until }))
    }

    /// Returns the newest number that a table gave to a row, 0 where it gave none.
    async fn newest_number(&mut self, table: &Table) -> Result<i64, StoreError> {
        let query = if self.is_postgres() {
            let sequence = sequence(table);
            sql_of(format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM {sequence}"))
        } else {
            sql("SELECT coalesce(max(seq), 0) AS n FROM sqlite_sequence WHERE name = $1").bind(table.name)
        };
        let newest = self.one("reading the newest number", query, |cells| cells.serial("n")).await?;
        newest.ok_or(StoreError::Damaged { column: "seq" })
    }

    /// Gives new rows numbers after `newest`.
    async fn number_after(&mut self, table: &Table, newest: i64) -> Result<(), StoreError> {
        const DOING: &str = "setting the newest number";
        if self.is_postgres() {
            // One that gave none yet begins with 1.
            let set = sql_of(format!("SELECT setval('{}', $1, $2) AS n", sequence(table)));
            return self.rows(DOING, set.bind(newest.max(1)).bind(newest > 0)).await.map(drop);
        }
        let forget = sql("DELETE FROM sqlite_sequence WHERE name = $1").bind(table.name);
        self.run(DOING, forget).await?;
        if newest == 0 {
            return Ok(());
        }
        let set = sql("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)");
        self.run(DOING, set.bind(table.name).bind(newest)).await.map(drop)
    }
}

/// Returns `PostgreSQL`'s name of the sequence that numbers a table's rows.
fn sequence(table: &Table) -> String {
    format!("{}_{}_seq", table.name, table.numbered.unwrap_or_default())
}

#[cfg(test)]
mod tests;
