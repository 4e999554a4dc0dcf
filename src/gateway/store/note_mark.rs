//! Up to which number what is told again until it is on file is there. Who tells counts from 1 within one run and
//! tells in order, so one row a run says of each number whether it was taken. No note is here, only the mark.

use super::StoreError;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{BootId, ServerId};
use adit_core::domain::limits::NOTE_RUNS_KEPT_MAX;
use adit_core::domain::time::Timestamp;

/// One run of somebody who tells under numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteRun {
    teller: String,
    run: BootId,
}

impl NoteRun {
    /// Returns the run of a server's agent.
    pub(crate) fn of_agent(server: ServerId, boot: BootId) -> Self {
        Self { teller: text(server), run: boot }
    }

    /// Returns the run of a process that counts in memory what is told again and again.
    pub(crate) fn of_counts(run: BootId) -> Self {
        Self { teller: "counts".into(), run }
    }
}

impl Tx {
    /// Returns up to which number the run's words are on file; `None` before the first.
    pub(crate) async fn note_mark(&mut self, run: &NoteRun) -> Result<Option<u64>, StoreError> {
        let query = sql("SELECT number FROM note_mark WHERE teller = $1 AND run = $2")
            .bind(run.teller.clone())
            .bind(text(run.run));
        let number =
            self.one("asking which notes are on file", query, |cells| cells.serial("number")).await?;
        number
            .map(|number| u64::try_from(number).map_err(|_| StoreError::Damaged { column: "number" }))
            .transpose()
    }

    /// Notes that everything up to `number` is on file.
    pub(crate) async fn set_note_mark(
        &mut self,
        run: &NoteRun,
        number: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO note_mark (teller, run, number, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (teller, run) DO UPDATE SET number = excluded.number, at = excluded.at")
        .bind(run.teller.clone())
        .bind(text(run.run))
        // Nobody has counted so far.
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .bind(at.as_millis());
        self.run("noting which notes are on file", query).await.map(drop)
    }

    /// Forgets the marks of the teller's other runs but the newest.
    pub(crate) async fn forget_old_note_runs(&mut self, run: &NoteRun) -> Result<(), StoreError> {
        let query = sql("DELETE FROM note_mark WHERE teller = $1 AND run <> $2 AND run NOT IN
                (SELECT run FROM note_mark WHERE teller = $1 ORDER BY at DESC, run LIMIT $3)")
        .bind(run.teller.clone())
        .bind(text(run.run))
        .bind(NOTE_RUNS_KEPT_MAX);
        self.run("forgetting earlier runs", query).await.map(drop)
    }
}
