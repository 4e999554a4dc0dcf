//! Admin sessions, a row each, as the managed server's agent tells of them. What is the same session, and which may
//! begin, is decided elsewhere.

use std::net::IpAddr;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{BootId, ConnectionId, KeptSessionId, OrganizationId};
use adit_core::domain::limits::{
    ADMIN_SESSIONS_DELETED_AT_ONCE, ADMIN_SESSIONS_JUDGED_KEPT_MAX, ADMIN_SESSIONS_QUIET_KEPT_MAX,
};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminSessionRecord {
    pub id: KeptSessionId,
    pub connection: ConnectionId,
    /// The connection's.
    pub source_owner: OrganizationId,
    pub target_owner: OrganizationId,
    /// `None` of an agent that tells no run.
    pub run: Option<BootId>,
    /// Within that run.
    pub number: u64,
    /// How often the number began before, in a run that is not told; otherwise 0.
    pub round: u32,
    /// Where the managing side's client comes from.
    pub local_peer: IpAddr,
    /// When it was told of first.
    pub begun_at: Timestamp,
    /// And last.
    pub heard_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub counts: SessionCounts,
}

/// What happened in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounts {
    pub requests: u64,
    pub refused: u64,
    pub changes: u64,
    /// Records added to Mirth's own audit.
    pub audits: u64,
}

impl SessionCounts {
    /// Returns whether anything was refused or changed.
    #[must_use]
    pub(crate) const fn is_judged(&self) -> bool {
        self.refused > 0 || self.changes > 0
    }

    /// Returns the larger of each.
    #[must_use]
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            refused: self.refused.max(other.refused),
            changes: self.changes.max(other.changes),
            audits: self.audits.max(other.audits),
        }
    }
}

/// Selects what [`read`] reads, of the session `a`.
macro_rules! admin_session_columns {
    () => {
        "a.id AS session, a.connection, a.source_owner, a.target_owner, a.run, a.number, a.round, a.local_peer,
            a.begun_at, a.heard_at, a.ended_at, a.requests, a.refused, a.changes, a.audits "
    };
}
pub(super) use admin_session_columns;

impl Tx {
    /// Returns the session that was told of under this number of this run; the newest, where the run is not told.
    pub(crate) async fn admin_session(
        &mut self,
        connection: ConnectionId,
        run: Option<BootId>,
        number: u64,
    ) -> Result<Option<AdminSessionRecord>, StoreError> {
        let query = sql(concat!(
            "SELECT ",
            admin_session_columns!(),
            "FROM admin_session a WHERE a.connection = $1 AND a.run = $2 AND a.number = $3
             ORDER BY a.round DESC LIMIT 1"
        ));
        let query = query.bind(text(connection)).bind(run_text(run)).bind(stored(number));
        self.one("looking for an admin session", query, read).await
    }

    /// Counts the sessions of a connection that began after `after`, to `most`.
    pub(crate) async fn count_admin_sessions(
        &mut self,
        connection: ConnectionId,
        after: Timestamp,
        most: u32,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM (SELECT a.begun_at FROM admin_session a
                WHERE a.connection = $1 AND a.begun_at > $2 ORDER BY a.begun_at DESC LIMIT $3) begun")
        .bind(text(connection))
        .bind(after.as_millis())
        .bind(i64::from(most));
        self.count("counting new admin sessions", query).await
    }

    pub(crate) async fn insert_admin_session(
        &mut self,
        record: &AdminSessionRecord,
    ) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO admin_session (id, connection, source_owner, target_owner, run, number, round,
                local_peer, begun_at, heard_at, ended_at, requests, refused, changes, audits, judged)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)")
            .bind(text(record.id))
            .bind(text(record.connection))
            .bind(text(record.source_owner))
            .bind(text(record.target_owner))
            .bind(run_text(record.run))
            .bind(stored(record.number))
            .bind(i64::from(record.round))
            .bind(text(record.local_peer))
            .bind(record.begun_at.as_millis())
            .bind(record.heard_at.as_millis())
            .bind(record.ended_at.map(Timestamp::as_millis))
            .bind(stored(record.counts.requests))
            .bind(stored(record.counts.refused))
            .bind(stored(record.counts.changes))
            .bind(stored(record.counts.audits))
            .bind(record.counts.is_judged());
        self.run("beginning an admin session", query).await.map(drop)
    }

    /// Writes what changes of a session while it goes on.
    pub(crate) async fn update_admin_session(
        &mut self,
        record: &AdminSessionRecord,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE admin_session SET heard_at = $2, ended_at = $3, requests = $4, refused = $5,
                changes = $6, audits = $7, judged = $8 WHERE id = $1")
        .bind(text(record.id))
        .bind(record.heard_at.as_millis())
        .bind(record.ended_at.map(Timestamp::as_millis))
        .bind(stored(record.counts.requests))
        .bind(stored(record.counts.refused))
        .bind(stored(record.counts.changes))
        .bind(stored(record.counts.audits))
        .bind(record.counts.is_judged());
        self.run("keeping an admin session", query).await.map(drop)
    }

    /// Has it told to both parties that something of a connection's sessions is otherwise.
    pub(crate) fn tell_of_admin_session(&mut self, connection: ConnectionId) {
        self.note_change(Changed::AdminSession(connection));
    }

    /// Deletes the oldest sessions of a connection beyond those that are kept of either kind; returns how many.
    pub(crate) async fn prune_admin_sessions(&mut self, connection: ConnectionId) -> Result<u64, StoreError> {
        let mut query = sql("DELETE FROM admin_session WHERE id IN (");
        let kinds = [
            ("SELECT quiet.id FROM (", false, ADMIN_SESSIONS_QUIET_KEPT_MAX, ") quiet"),
            (" UNION ALL SELECT judged.id FROM (", true, ADMIN_SESSIONS_JUDGED_KEPT_MAX, ") judged)"),
        ];
        for (before, is_judged, kept, behind) in kinds {
            query = query
                .then(before)
                .then("SELECT a.id FROM admin_session a WHERE a.connection = ")
                .value(text(connection))
                .then(" AND a.judged = ")
                .value(is_judged)
                .then(" ORDER BY a.begun_at DESC, a.id DESC LIMIT ")
                .value(i64::from(ADMIN_SESSIONS_DELETED_AT_ONCE))
                .then(" OFFSET ")
                .value(i64::from(kept))
                .then(behind);
        }
        self.run("deleting admin sessions beyond those that are kept", query).await
    }

    /// Deletes sessions that began before `before`, some of them; returns how many.
    pub(crate) async fn delete_admin_sessions(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM admin_session WHERE id IN (
                SELECT a.id FROM admin_session a WHERE a.begun_at < $1 ORDER BY a.begun_at LIMIT $2)")
        .bind(before.as_millis())
        .bind(i64::from(ADMIN_SESSIONS_DELETED_AT_ONCE));
        self.run("deleting old admin sessions", query).await
    }
}

fn run_text(run: Option<BootId>) -> String {
    run.map(text).unwrap_or_default()
}

/// Nobody has counted so far.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn read(cells: &Cells) -> Result<AdminSessionRecord, StoreError> {
    let run = Some(cells.string("run")?).filter(|run| !run.is_empty());
    let run = run.map(|run| run.parse()).transpose();
    Ok(AdminSessionRecord {
        id: cells.get("session")?,
        connection: cells.get("connection")?,
        source_owner: cells.get("source_owner")?,
        target_owner: cells.get("target_owner")?,
        run: run.map_err(|_| StoreError::Damaged { column: "run" })?,
        number: counted(cells, "number")?,
        round: cells.number("round")?,
        local_peer: cells.get("local_peer")?,
        begun_at: cells.time("begun_at")?,
        heard_at: cells.time("heard_at")?,
        ended_at: cells.maybe_time("ended_at")?,
        counts: SessionCounts {
            requests: counted(cells, "requests")?,
            refused: counted(cells, "refused")?,
            changes: counted(cells, "changes")?,
            audits: counted(cells, "audits")?,
        },
    })
}

fn counted(cells: &Cells, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(cells.serial(column)?).map_err(|_| StoreError::Damaged { column })
}

#[cfg(test)]
mod tests;
