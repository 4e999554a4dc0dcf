//! Admin sessions, a row each: what each side's agent told of it, apart from what the other's did. What is the same
//! session, and when one is over, is decided elsewhere.

use std::net::IpAddr;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::{Query, sql};
use super::tx::{Tx, text};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, KeptSessionId, OrganizationId};
use adit_core::domain::limits::ADMIN_SESSIONS_SWEPT_AT_ONCE;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminSessionRecord {
    pub id: KeptSessionId,
    pub connection: ConnectionId,
    /// The connection's.
    pub source_owner: OrganizationId,
    pub target_owner: OrganizationId,
    /// Where the managing side's client comes from.
    pub local_peer: IpAddr,
    /// When it was told of first.
    pub begun_at: Timestamp,
    /// And last.
    pub heard_at: Timestamp,
    /// It has not ended, and was heard of lately.
    pub runs: bool,
    pub source: Option<SideSession>,
    pub target: Option<SideSession>,
}

/// What one side's agent told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SideSession {
    /// `None` of an agent that tells no run.
    pub run: Option<BootId>,
    /// Within that run.
    pub number: u64,
    pub heard_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub counts: SessionCounts,
}

/// What happened in a session. The managing side does not judge: it counts requests alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounts {
    pub requests: u64,
    pub refused: u64,
    pub changes: u64,
    /// Records added to Mirth's own audit.
    pub audits: u64,
}

impl AdminSessionRecord {
    #[must_use]
    pub(crate) const fn side(&self, side: Side) -> Option<&SideSession> {
        match side {
            Side::Source => self.source.as_ref(),
            Side::Target => self.target.as_ref(),
        }
    }

    pub(crate) const fn side_mut(&mut self, side: Side) -> &mut Option<SideSession> {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// Selects what [`read`] reads, of the session `a`.
macro_rules! admin_session_columns {
    () => {
        "a.id AS session, a.connection, a.source_owner, a.target_owner, a.local_peer, a.begun_at, a.heard_at, a.runs,
            a.source_run, a.source_number, a.source_heard_at, a.source_ended_at, a.source_requests,
            a.target_run, a.target_number, a.target_heard_at, a.target_ended_at, a.target_requests, a.target_refused,
            a.target_changes, a.target_audits "
    };
}
pub(super) use admin_session_columns;

const SELECT: &str =
    concat!("SELECT ", admin_session_columns!(), "FROM admin_session a WHERE a.connection = ");
const NEWEST: &str = " ORDER BY a.runs DESC, a.begun_at DESC, a.id DESC LIMIT 1";

impl Tx {
    /// Returns the newest session of an address that one side told of under this number of this run.
    pub(crate) async fn admin_session_told(
        &mut self,
        connection: ConnectionId,
        side: Side,
        (run, number): (Option<BootId>, u64),
        local_peer: IpAddr,
    ) -> Result<Option<AdminSessionRecord>, StoreError> {
        let query = sql(SELECT).value(text(connection));
        let query = query.then(of(side, " AND a.source_run = ", " AND a.target_run = ")).value(run_text(run));
        let query = query.then(of(side, " AND a.source_number = ", " AND a.target_number = "));
        let query =
            query.value(stored(number)).then(" AND a.local_peer = ").value(text(local_peer)).then(NEWEST);
        self.one("looking for an admin session", query, read).await
    }

    /// Returns the newest session of an address that this side has not told of, and the other one since `from`.
    pub(crate) async fn admin_session_to_join(
        &mut self,
        connection: ConnectionId,
        side: Side,
        local_peer: IpAddr,
        from: Timestamp,
        must_run: bool,
    ) -> Result<Option<AdminSessionRecord>, StoreError> {
        let query = sql(SELECT).value(text(connection)).then(" AND a.local_peer = ").value(text(local_peer));
        let query = query.then(is_silent(side)).then(" AND a.heard_at >= ").value(from.as_millis());
        let query = if must_run { query.then(" AND a.runs = ").value(true) } else { query };
        self.one("looking for an admin session", query.then(NEWEST), read).await
    }

    /// Counts the sessions that one side alone told of, and from `from` on.
    pub(crate) async fn count_admin_sessions_of(
        &mut self,
        connection: ConnectionId,
        side: Side,
        from: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM admin_session a WHERE a.connection = ");
        let query = query.value(text(connection)).then(is_silent(side.other()));
        let query = query.then(" AND a.begun_at > ").value(from.as_millis());
        self.count("counting new admin sessions", query).await
    }

    /// Writes a session, over what is there of it.
    pub(crate) async fn put_admin_session(&mut self, record: &AdminSessionRecord) -> Result<(), StoreError> {
        let query = sql("INSERT INTO admin_session (id, connection, source_owner, target_owner, local_peer, begun_at,
                heard_at, runs, source_run, source_number, source_heard_at, source_ended_at, source_requests,
                target_run, target_number, target_heard_at, target_ended_at, target_requests, target_refused,
                target_changes, target_audits)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
             ON CONFLICT (id) DO UPDATE SET heard_at = excluded.heard_at, runs = excluded.runs,
                source_run = excluded.source_run, source_number = excluded.source_number,
                source_heard_at = excluded.source_heard_at, source_ended_at = excluded.source_ended_at,
                source_requests = excluded.source_requests, target_run = excluded.target_run,
                target_number = excluded.target_number, target_heard_at = excluded.target_heard_at,
                target_ended_at = excluded.target_ended_at, target_requests = excluded.target_requests,
                target_refused = excluded.target_refused, target_changes = excluded.target_changes,
                target_audits = excluded.target_audits")
        .bind(text(record.id))
        .bind(text(record.connection))
        .bind(text(record.source_owner))
        .bind(text(record.target_owner))
        .bind(text(record.local_peer))
        .bind(record.begun_at.as_millis())
        .bind(record.heard_at.as_millis())
        .bind(record.runs);
        let query = bind_side(query, record.source.as_ref());
        let query = bind_side(query, record.target.as_ref());
        let judged = record.target.map(|told| told.counts);
        let query = query
            .bind(judged.map(|counts| stored(counts.refused)))
            .bind(judged.map(|counts| stored(counts.changes)))
            .bind(judged.map(|counts| stored(counts.audits)));
        self.run("keeping an admin session", query).await.map(drop)
    }

    /// Has it told to both parties that something of a connection's sessions is otherwise.
    pub(crate) fn tell_of_admin_session(&mut self, connection: ConnectionId) {
        self.note_change(Changed::AdminSession(connection));
    }

    /// Ends, as of when they were heard of last, one side's part of the sessions of its other runs.
    pub(crate) async fn end_admin_sessions_of_other_runs(
        &mut self,
        connection: ConnectionId,
        side: Side,
        run: Option<BootId>,
    ) -> Result<(), StoreError> {
        // What the managed side still tells of goes on.
        let query = sql(of(
            side,
            "UPDATE admin_session SET source_ended_at = source_heard_at,
                runs = runs AND coalesce(target_heard_at > source_heard_at AND target_ended_at IS NULL, FALSE)
             WHERE source_ended_at IS NULL AND source_run <> $1 AND connection = $2",
            "UPDATE admin_session SET target_ended_at = target_heard_at, runs = FALSE
             WHERE target_ended_at IS NULL AND target_run <> $1 AND connection = $2",
        ));
        let query = query.bind(run_text(run)).bind(text(connection));
        self.run("ending the admin sessions of an earlier run", query).await.map(drop)
    }

    /// Deletes all but the newest `kept` sessions of a connection that `sides` told of and nobody else.
    pub(crate) async fn prune_admin_sessions_of(
        &mut self,
        connection: ConnectionId,
        sides: [bool; 2],
        kept: u32,
    ) -> Result<u64, StoreError> {
        let [source, target] = sides;
        let query = sql(
            "DELETE FROM admin_session WHERE id IN (SELECT a.id FROM admin_session a WHERE a.connection = ",
        );
        let query = query.value(text(connection));
        let query =
            query.then(if source { " AND a.source_run IS NOT NULL" } else { " AND a.source_run IS NULL" });
        let query =
            query.then(if target { " AND a.target_run IS NOT NULL" } else { " AND a.target_run IS NULL" });
        let query = query.then(" ORDER BY a.runs DESC, a.begun_at DESC, a.id DESC LIMIT ");
        let query = query.value(i64::from(ADMIN_SESSIONS_SWEPT_AT_ONCE)).then(" OFFSET ");
        let query = query.value(i64::from(kept)).then(")");
        self.run("deleting admin sessions beyond those that are kept", query).await
    }

    /// Notes of sessions that were heard of last before `before` that they are silent; some of them, and how many.
    pub(crate) async fn silence_admin_sessions(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        const DOING: &str = "finding silent admin sessions";
        let query = sql("SELECT id, connection FROM admin_session WHERE runs = $1 AND heard_at < $2
             ORDER BY heard_at LIMIT $3")
        .bind(true)
        .bind(before.as_millis())
        .bind(i64::from(ADMIN_SESSIONS_SWEPT_AT_ONCE));
        let silent: Vec<(String, ConnectionId)> =
            self.all(DOING, query, |cells| Ok((cells.string("id")?, cells.get("connection")?))).await?;
        if silent.is_empty() {
            return Ok(0);
        }
        let query = sql("UPDATE admin_session SET runs = FALSE WHERE id IN (")
            .list(silent.iter().map(|(id, _)| id.clone()))
            .then(")");
        self.run(DOING, query).await?;
        for (_, connection) in &silent {
            self.tell_of_admin_session(*connection);
        }
        Ok(silent.len())
    }

    /// Deletes sessions that were heard of last before `before`, some of them; returns how many.
    pub(crate) async fn delete_admin_sessions(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM admin_session WHERE id IN (
                SELECT id FROM admin_session WHERE runs = $1 AND heard_at < $2 ORDER BY heard_at LIMIT $3)")
        .bind(false)
        .bind(before.as_millis())
        .bind(i64::from(ADMIN_SESSIONS_SWEPT_AT_ONCE));
        self.run("deleting old admin sessions", query).await
    }
}

/// Returns the words for one side.
const fn of(side: Side, source: &'static str, target: &'static str) -> &'static str {
    match side {
        Side::Source => source,
        Side::Target => target,
    }
}

const fn is_silent(side: Side) -> &'static str {
    of(side, " AND a.source_run IS NULL", " AND a.target_run IS NULL")
}

fn run_text(run: Option<BootId>) -> String {
    run.map(text).unwrap_or_default()
}

/// Nobody has counted so far.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn bind_side(query: Query, told: Option<&SideSession>) -> Query {
    query
        .bind(told.map(|told| run_text(told.run)))
        .bind(told.map(|told| stored(told.number)))
        .bind(told.map(|told| told.heard_at.as_millis()))
        .bind(told.and_then(|told| told.ended_at).map(Timestamp::as_millis))
        .bind(told.map(|told| stored(told.counts.requests)))
}

pub(super) fn read(cells: &Cells) -> Result<AdminSessionRecord, StoreError> {
    let source = Columns {
        run: "source_run",
        number: "source_number",
        heard_at: "source_heard_at",
        ended_at: "source_ended_at",
        requests: "source_requests",
    };
    let target = Columns {
        run: "target_run",
        number: "target_number",
        heard_at: "target_heard_at",
        ended_at: "target_ended_at",
        requests: "target_requests",
    };
    let target = match read_side(cells, &target)? {
        Some(told @ SideSession { counts, .. }) => {
            Some(SideSession { counts: judged(cells, counts)?, ..told })
        }
        None => None,
    };
    Ok(AdminSessionRecord {
        id: cells.get("session")?,
        connection: cells.get("connection")?,
        source_owner: cells.get("source_owner")?,
        target_owner: cells.get("target_owner")?,
        local_peer: cells.get("local_peer")?,
        begun_at: cells.time("begun_at")?,
        heard_at: cells.time("heard_at")?,
        runs: cells.flag("runs")?,
        source: read_side(cells, &source)?,
        target,
    })
}

/// What one side's columns are called.
struct Columns {
    run: &'static str,
    number: &'static str,
    heard_at: &'static str,
    ended_at: &'static str,
    requests: &'static str,
}

fn read_side(cells: &Cells, columns: &Columns) -> Result<Option<SideSession>, StoreError> {
    let Some(heard_at) = cells.maybe_time(columns.heard_at)? else { return Ok(None) };
    let run = cells.string(columns.run)?;
    let run = Some(run).filter(|run| !run.is_empty()).map(|run| run.parse()).transpose();
    Ok(Some(SideSession {
        run: run.map_err(|_| StoreError::Damaged { column: columns.run })?,
        number: counted(cells, columns.number)?,
        heard_at,
        ended_at: cells.maybe_time(columns.ended_at)?,
        counts: SessionCounts { requests: counted(cells, columns.requests)?, ..SessionCounts::default() },
    }))
}

fn judged(cells: &Cells, counts: SessionCounts) -> Result<SessionCounts, StoreError> {
    Ok(SessionCounts {
        refused: counted(cells, "target_refused")?,
        changes: counted(cells, "target_changes")?,
        audits: counted(cells, "target_audits")?,
        ..counts
    })
}

fn counted(cells: &Cells, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(cells.serial(column)?).map_err(|_| StoreError::Damaged { column })
}

#[cfg(test)]
mod tests;
