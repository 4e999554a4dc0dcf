//! What agents measured of connections, for their two parties: taken by the minute, kept for a day, added up by
//! the hour, kept for a quarter. Nobody is woken by it, and no act waits for it.
//!
//! What comes waits in memory ([`MinuteBuffer`]) and is written a batch at a time. An hour is added up from its
//! minutes once it is over, and once more when one of them comes late, so it is always exactly their sum; its
//! minutes are therefore deleted an hour at a time, and only when nothing of it can come any more.

mod buffer;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::trace;

use crate::store::{MeasurementRow, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::{
    ADMIN_SESSIONS_DELETED_AT_ONCE, MEASURED_CONNECTIONS_AT_ONCE, MEASUREMENT_HOUR_GRACE,
    MEASUREMENT_MINUTES_SLACK, MEASUREMENTS_AFTER_END, MEASUREMENTS_DELETED_AT_ONCE,
};
use adit_core::domain::measurement::{Span, Sums};
use adit_core::domain::time::Timestamp;

use super::Platform;
use super::agents::{self, AgentError};
use super::error::PlatformError;

pub use self::buffer::MeasurementRefused;
pub(super) use self::buffer::MinuteBuffer;
pub use self::view::{EndMeasurements, MeasuredRange, MeasuredStep, MeasurementsView};

/// How often old steps are looked for.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// How far hours are added up, and when old steps were deleted last.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The hour that is added up next, and the connection after which to go on in it. After a start it is the oldest
    /// one that can be; what is there of an hour is exact, so only what is missing is added up.
    next: Option<(Timestamp, Option<ConnectionId>)>,
    pruned_at: Option<Timestamp>,
}

impl Platform {
    /// Takes one end's minute from its own agent. It is written with the next ones.
    pub fn take_measured(
        &self,
        server: ServerId,
        (connection, side): (ConnectionId, Side),
        at: Timestamp,
        sums: Sums,
    ) -> Result<(), MeasurementRefused> {
        let row = MeasurementRow { connection, side, at, sums: sums.capped(Span::Minute) };
        self.minutes.lock().handle(server, row, self.now())
    }

    /// Does the same for a connection that the agent is not told of any more: what it measured before the end is its
    /// parties', for as long as agents keep it.
    pub async fn take_measured_late(
        &self,
        server: ServerId,
        connection: ConnectionId,
        at: Timestamp,
        sums: Sums,
    ) -> Result<Result<(), MeasurementRefused>, AgentError> {
        let found =
            self.look(async move |tx: &mut Tx| agents::connection_of(tx, server, connection).await).await;
        let (record, side) = found?;
        let has_ended = record.status.is_terminal();
        if !has_ended && agents::activity(record.status).is_none() {
            return Err(AgentError::NotFound);
        }
        let is_over = self.now().since(record.changed_at) > MEASUREMENTS_AFTER_END;
        if has_ended && (is_over || at >= record.changed_at) {
            return Ok(Err(MeasurementRefused::Ended));
        }
        Ok(self.take_measured(server, (connection, side), at, sums))
    }

    /// Does what is due: writes minutes, adds up hours, deletes what is old. A bounded part of each; for the gateway
    /// to call about once a second.
    pub async fn keep_measurements(&self) -> Result<(), PlatformError> {
        let now = self.now();
        if self.minutes.lock().is_due(now) {
            self.flush_measurements().await?;
        }
        let mut keeping = self.keeping.lock().await;
        self.add_up_hours(&mut keeping, now).await?;
        self.prune_measurements(&mut keeping, now).await
    }

    /// Writes all that waits.
    pub(super) async fn flush_measurements(&self) -> Result<(), PlatformError> {
        let _turn = self.keeping.lock().await;
        loop {
            let now = self.now();
            let batch = Arc::new(self.minutes.lock().take(now));
            if batch.rows.is_empty() {
                return Ok(());
            }
            let writing = Arc::clone(&batch);
            let written = self.record(async move |tx: &mut Tx| write(tx, &writing.rows, now).await).await;
            trace!(minutes = batch.rows.len(), is_written = written.is_ok(), "measurements");
            if let Err(error) = written {
                self.minutes.lock().put_back(Arc::unwrap_or_clone(batch));
                return Err(error);
            }
        }
    }

    /// Adds up the hour that is next, for some connections, if it is over.
    async fn add_up_hours(&self, keeping: &mut Keeping, now: Timestamp) -> Result<(), PlatformError> {
        let oldest = whole_hours_from(now);
        let (hour, after) = keeping.next.filter(|(hour, _)| *hour >= oldest).unwrap_or((oldest, None));
        if !is_over(hour, now) {
            return Ok(());
        }
        let added = self
            .record(async move |tx: &mut Tx| {
                let count = MEASURED_CONNECTIONS_AT_ONCE;
                let connections = tx.not_added_up(hour, after, count).await?;
                add_up(tx, &connections, hour).await?;
                Ok::<_, PlatformError>(connections)
            })
            .await?;
        let is_whole = added.len() < MEASURED_CONNECTIONS_AT_ONCE as usize;
        trace!(%hour, connections = added.len(), is_whole, "minutes are added up");
        let following = hour.saturating_add(Span::Hour.length());
        keeping.next = Some(if is_whole { (following, None) } else { (hour, added.last().copied()) });
        Ok(())
    }

    /// Deletes some of the steps whose time is over, if there may be any.
    async fn prune_measurements(&self, keeping: &mut Keeping, now: Timestamp) -> Result<(), PlatformError> {
        if keeping.pruned_at.is_some_and(|at| now.since(at) < PRUNE_EVERY) {
            return Ok(());
        }
        let hours_from = now.saturating_sub(Span::Hour.kept());
        let bounds = [(Span::Minute, whole_hours_from(now)), (Span::Hour, Span::Hour.begin(hours_from))];
        let deleted = self
            .record(async move |tx: &mut Tx| {
                let mut most = 0;
                for (span, before) in bounds {
                    let deleted = tx.delete_measurements(span, before, MEASUREMENTS_DELETED_AT_ONCE).await?;
                    most = most.max(deleted);
                }
                Ok::<_, PlatformError>(most)
            })
            .await?;
        trace!(deleted, "old measurements are deleted");
        let sessions = self.delete_old_admin_sessions(now).await?;
        // Where there was as much as may go at once, there is more.
        let is_all = deleted < u64::from(MEASUREMENTS_DELETED_AT_ONCE)
            && sessions < u64::from(ADMIN_SESSIONS_DELETED_AT_ONCE);
        keeping.pruned_at = is_all.then_some(now);
        Ok(())
    }
}

/// Returns from which hour on every minute that was taken is there still.
fn whole_hours_from(now: Timestamp) -> Timestamp {
    Span::Hour.begin(now.saturating_sub(Span::Minute.kept()).saturating_sub(MEASUREMENT_MINUTES_SLACK))
}

/// Returns whether an hour is over for so long that its minutes should be there.
fn is_over(hour: Timestamp, now: Timestamp) -> bool {
    hour.saturating_add(Span::Hour.length()).saturating_add(MEASUREMENT_HOUR_GRACE) <= now
}

/// Writes minutes. An hour that is over, or that another gateway has added up already by its clock, is added up again
/// with those that come late.
async fn write(tx: &mut Tx, rows: &[MeasurementRow], now: Timestamp) -> Result<(), PlatformError> {
    tx.put_measurements(Span::Minute, rows).await?;
    let mut late = BTreeMap::<_, BTreeSet<_>>::new();
    let mut running = BTreeMap::<_, BTreeSet<_>>::new();
    for row in rows {
        let hour = Span::Hour.begin(row.at);
        let hours = if is_over(hour, now) { &mut late } else { &mut running };
        hours.entry(hour).or_default().insert(row.connection);
    }
    for (hour, connections) in running {
        let connections: Vec<_> = connections.into_iter().collect();
        for connections in connections.chunks(MEASURED_CONNECTIONS_AT_ONCE as usize) {
            let added_up = tx.added_up(hour, connections).await?;
            late.entry(hour).or_default().extend(added_up);
        }
    }
    for (hour, connections) in late {
        let connections: Vec<_> = connections.into_iter().collect();
        add_up(tx, &connections, hour).await?;
    }
    Ok(())
}

/// Writes the sums of an hour's minutes, of both ends of these connections.
async fn add_up(tx: &mut Tx, connections: &[ConnectionId], hour: Timestamp) -> Result<(), PlatformError> {
    let range = (hour, hour.saturating_add(Span::Hour.length()));
    for connections in connections.chunks(MEASURED_CONNECTIONS_AT_ONCE as usize) {
        let mut hours = BTreeMap::<_, Sums>::new();
        for minute in tx.measured_minutes(connections, range).await? {
            hours.entry((minute.connection, minute.side)).or_default().merge(&minute.sums);
        }
        let rows: Vec<_> = hours
            .into_iter()
            .map(|((connection, side), sums)| MeasurementRow { connection, side, at: hour, sums })
            .collect();
        tx.put_measurements(Span::Hour, &rows).await?;
    }
    Ok(())
}
