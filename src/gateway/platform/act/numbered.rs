//! Notes under numbers, a batch in one transaction: the rows they begin or add to, and the mark up to which their
//! agent's run is on file. So a note is in the log exactly once however often it is said, by whichever link, and
//! whatever becomes of a commit's answer or of this process. Nothing of them is counted in memory.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use super::super::counted::{Moment, Reporter, Weighed};
use super::super::error::PlatformError;
use super::super::notes::{AgentNote, NoteTaken, NumberedNote};
use super::super::{AgentError, Initiator, Platform};
use super::entry::{Entry, Logs};
use super::run::{Asked, Changes};
use super::{Act, Said};
use crate::store::{AuditOutcome, NoteRun, Turn, Tx};
use adit_core::domain::id::{ActId, BootId, ServerId};
use adit_core::protocol::text::listed;
use adit_net::identity::random;

impl Platform {
    /// Takes notes of one run of an agent, in the order of their numbers. What became of each is true of it once
    /// this returns; after an error nothing is known, and they may be given again.
    pub async fn take_notes(
        &self,
        server: ServerId,
        boot: BootId,
        notes: &[NumberedNote],
    ) -> Result<Vec<NoteTaken>, PlatformError> {
        // An agent that says again what is on file keeps nobody from writing.
        let run = NoteRun::of_agent(server, boot);
        let mark =
            self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.note_mark(&run).await?)).await?;
        if notes.iter().all(|noted| mark.is_some_and(|mark| noted.number.0 <= mark)) {
            return Ok(notes.iter().map(|_| NoteTaken::Known).collect());
        }
        let mut retries = self.retries();
        loop {
            match self.take_once(server, boot, notes, retries.turn()).await {
                Ok(taken) => return Ok(taken),
                Err(error) => retries.wait_where_harmless(error).await?,
            }
        }
    }

    async fn take_once(
        &self,
        server: ServerId,
        boot: BootId,
        notes: &[NumberedNote],
        turn: Turn,
    ) -> Result<Vec<NoteTaken>, PlatformError> {
        let (run, mut act) = (NoteRun::of_agent(server, boot), self.begin_notes(server, turn).await?);
        let mark = act.tx.note_mark(&run).await?;
        let mut batch = Batch::default();
        let mut taken = Vec::new();
        for NumberedNote { number, note } in notes {
            let is_known = mark.is_some_and(|mark| number.0 <= mark);
            taken.push(if is_known {
                NoteTaken::Known
            } else {
                self.weigh_note(&mut act, (server, boot), note, &mut batch).await?
            });
        }
        let last = notes.iter().map(|noted| noted.number.0).max().filter(|last| mark < Some(*last));
        debug!(%server, notes = notes.len(), rows = batch.rows.len(), mark = listed(mark), last = listed(last), "an agent's notes are taken");
        let Some(last) = last else { return Ok(taken) };
        let Act { mut tx, now, .. } = act;
        for Row { weighed, logs, times, .. } in &batch.rows {
            let id = ActId::from_random(random::bytes());
            weighed.entry.write(&mut tx, Some(id), now, logs.iter().copied(), *times).await?;
        }
        if mark.is_none() {
            tx.forget_old_note_runs(&run).await?;
        }
        tx.set_note_mark(&run, last, now).await?;
        self.commit(tx).await?;
        let mut counted = self.counted();
        batch.rows.into_iter().for_each(|row| counted.settle(row.weighed, 0));
        Ok(taken)
    }

    async fn begin_notes(&self, server: ServerId, turn: Turn) -> Result<Act, PlatformError> {
        let initiator = Initiator::Agent { server };
        Ok(Act {
            tx: self.begin_write(turn).await?,
            now: self.now(),
            seal: Arc::clone(&self.seal),
            id: ActId::from_random(random::bytes()),
            said: Said::of(String::new(), &initiator),
            initiator,
            proven: None,
        })
    }

    /// Finds the row for a note: one that an earlier note of the batch has, one of the log, or a new one.
    async fn weigh_note(
        &self,
        act: &mut Act,
        (server, boot): (ServerId, BootId),
        note: &AgentNote,
        batch: &mut Batch,
    ) -> Result<NoteTaken, PlatformError> {
        act.said = Said::of(note.object(), &act.initiator);
        let ended = match note.tell(act, server, Some(boot)).await {
            Err(AgentError::Platform(error)) => return Err(error),
            ended => ended,
        };
        if let (Ok(()), Some(heard)) = (&ended, act.said.heard) {
            heard.keep(&mut act.tx).await?;
        }
        let (names, logs) = act.names_and_logs().await?;
        let (action, object) = (note.action(), note.object());
        let initiator = act.initiator.clone();
        let (changes, turn) = (Changes::Nothing, Turn::Beside);
        let asked = Asked { initiator: &initiator, action, object, changes, turn };
        let entry = asked.entry(&act.said, &names, &ended);
        let refusal = ended.as_ref().err();
        let kind = match (&act.said.kind, refusal) {
            (Some(kind), _) => kind.clone(),
            (None, Some(refusal)) => asked.kind(&entry.object, refusal),
            (None, None) => asked.kind(&entry.object, &""),
        };
        let is_new = batch.add(kind, logs, act.said.times, entry, |kind, logs, entry| {
            let at = Moment { now: act.now, instant: Instant::now() };
            self.counted().weigh(Reporter::Agent(server), kind, logs, entry, at)
        });
        Ok(match (refusal, is_new) {
            (Some(_), _) => NoteTaken::Refused,
            (None, true) => NoteTaken::Listed,
            (None, false) => NoteTaken::Counted,
        })
    }
}

/// The rows of one transaction.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    kind: String,
    outcome: AuditOutcome,
    logs: Logs,
    weighed: Weighed,
    times: u32,
}

impl Batch {
    /// Adds to the row of the kind, which is weighed where the batch has none; returns whether it is a new one.
    fn add(
        &mut self,
        kind: String,
        logs: Logs,
        times: u32,
        entry: Entry,
        weigh: impl FnOnce(&str, &Logs, Entry) -> Weighed,
    ) -> bool {
        let outcome = entry.outcome;
        let same = |row: &&mut Row| row.kind == kind && row.logs == logs && row.outcome == outcome;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.times = row.times.saturating_add(times);
            return false;
        }
        let weighed = weigh(&kind, &logs, entry);
        let is_new = weighed.is_new();
        self.rows.push(Row { kind, outcome, logs, weighed, times });
        is_new
    }
}
