//! What was measured of each end of a connection, step by step. No change of the platform: nobody is woken.

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{ROWS_OF_STATEMENT, Tx, text};
use adit_core::domain::connection::Side;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::MEASUREMENTS_OF_WRITE_MAX;
use adit_core::domain::measurement::{Span, Sums};
use adit_core::domain::time::Timestamp;

/// One end in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeasurementRow {
    pub connection: ConnectionId,
    pub side: Side,
    /// When the step began.
    pub at: Timestamp,
    pub sums: Sums,
}

/// Deletes the oldest of a span that are older than `$1`, at most `$2`.
macro_rules! delete {
    ($span:literal) => {
        concat!(
            "DELETE FROM measurement WHERE (connection, span, at, side) IN (
                SELECT connection, span, at, side FROM measurement WHERE span = '",
            $span,
            "' AND at < $1 ORDER BY at LIMIT $2)"
        )
    };
}

impl Tx {
    /// Writes steps, no two of one end and time; what is there already of one is replaced.
    pub(crate) async fn put_measurements(
        &mut self,
        span: Span,
        rows: &[MeasurementRow],
    ) -> Result<(), StoreError> {
        debug_assert!(rows.len() <= MEASUREMENTS_OF_WRITE_MAX, "a transaction is bounded");
        for rows in rows.chunks(ROWS_OF_STATEMENT) {
            let mut query = sql("INSERT INTO measurement (connection, span, at, side, sums) VALUES ");
            for (number, row) in rows.iter().enumerate() {
                query = query
                    .then(if number == 0 { "(" } else { ", (" })
                    .value(text(row.connection))
                    .then(", ")
                    .value(span.as_str())
                    .then(", ")
                    .value(row.at.as_millis())
                    .then(", ")
                    .value(row.side.as_str())
                    .then(", ")
                    .value(row.sums.to_bytes())
                    .then(")");
            }
            let query =
                query.then(" ON CONFLICT (connection, span, at, side) DO UPDATE SET sums = excluded.sums");
            self.run("keeping what was measured", query).await?;
        }
        Ok(())
    }

    /// Returns the steps of one connection that began from `from` on and before `to`, in order.
    pub(crate) async fn measurements(
        &mut self,
        connection: ConnectionId,
        span: Span,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<MeasurementRow>, StoreError> {
        let query = sql("SELECT connection, at, side, sums FROM measurement
             WHERE connection = $1 AND span = $2 AND at >= $3 AND at < $4 ORDER BY at, side")
        .bind(text(connection))
        .bind(span.as_str())
        .bind(from.as_millis())
        .bind(to.as_millis());
        self.all_readable("reading what was measured", query, read).await
    }

    /// Returns the minutes of several connections in the same way, by connection.
    pub(crate) async fn measured_minutes(
        &mut self,
        connections: &[ConnectionId],
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<MeasurementRow>, StoreError> {
        let query = sql("SELECT connection, at, side, sums FROM measurement WHERE connection IN (")
            .list(connections.iter().map(text))
            .then(") AND span = ")
            .value(Span::Minute.as_str())
            .then(" AND at >= ")
            .value(from.as_millis())
            .then(" AND at < ")
            .value(to.as_millis());
        self.all_readable("reading the minutes of an hour", query, read).await
    }

    /// Returns connections whose minutes of an hour are not added up and that were not over before it, after one of
    /// them, by id.
    pub(crate) async fn not_added_up(
        &mut self,
        hour: Timestamp,
        after: Option<ConnectionId>,
        count: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query = sql("SELECT c.id FROM connection c WHERE c.id > $1
                AND (c.status NOT IN ('Declined', 'Expired', 'Terminated') OR c.changed_at >= $2)
                AND NOT EXISTS (SELECT 1 FROM measurement m
                    WHERE m.connection = c.id AND m.span = 'hour' AND m.at = $2)
             ORDER BY c.id LIMIT $3")
        .bind(after.map(text).unwrap_or_default())
        .bind(hour.as_millis())
        .bind(i64::from(count));
        self.all("listing what is to be added up", query, |cells| cells.get("id")).await
    }

    /// Returns which of these connections have sums of the hour already.
    pub(crate) async fn added_up(
        &mut self,
        hour: Timestamp,
        connections: &[ConnectionId],
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query = sql("SELECT DISTINCT connection FROM measurement WHERE connection IN (")
            .list(connections.iter().map(text))
            .then(") AND span = ")
            .value(Span::Hour.as_str())
            .then(" AND at = ")
            .value(hour.as_millis());
        self.all("asking which hours are added up", query, |cells| cells.get("connection")).await
    }

    /// Deletes some of the steps that began before `before`, at most `count`; returns how many those were.
    pub(crate) async fn delete_measurements(
        &mut self,
        span: Span,
        before: Timestamp,
        count: u32,
    ) -> Result<u64, StoreError> {
        // Named, not bound: the oldest of a span have an index of its own, which serves nothing else.
        let query = match span {
            Span::Minute => sql(delete!("minute")),
            Span::Hour => sql(delete!("hour")),
        };
        let query = query.bind(before.as_millis()).bind(i64::from(count));
        self.run("deleting old measurements", query).await
    }
}

fn read(cells: &Cells) -> Result<MeasurementRow, StoreError> {
    let side = match cells.string("side")?.as_str() {
        "source" => Side::Source,
        "target" => Side::Target,
        _ => return Err(StoreError::Damaged { column: "side" }),
    };
    let sums = Sums::from_bytes(&cells.blob("sums")?);
    Ok(MeasurementRow {
        connection: cells.get("connection")?,
        side,
        at: cells.time("at")?,
        sums: sums.map_err(|_| StoreError::Damaged { column: "sums" })?,
    })
}
