//! How an act is begun, ended and run again. Each ends in the audit log, in the transaction that makes it:
//! done, refused, or refused and an alert. A fault of ours leaves nothing, and is no end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use crate::store::{AuditOutcome, StoreError, Turn, Tx};
use adit_core::domain::id::{ActId, OrganizationId};
use adit_core::domain::places::address_of;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

use super::super::counted::{Moment, Weighed};
use super::super::error::PlatformError;
use super::super::terms::Terms;
use super::super::{Action, Initiator, Platform, expiry};
use super::entry::{Entry, Logs, Names};
use super::outcome::ActError;
use super::plain::error_of;
use super::retries::Retries;
use super::{Act, Said};

/// What was asked, the same for every attempt.
pub(super) struct Asked<'a> {
    pub(super) initiator: &'a Initiator,
    pub(super) action: Action,
    pub(super) object: String,
    pub(super) changes: Changes,
    /// Whom it runs beside at first.
    pub(super) turn: Turn,
}

/// Whether the work may change anything, or looks and has its end noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changes {
    Something,
    Nothing,
}

/// How an act ended.
#[derive(Debug)]
pub(in super::super) struct Told<T, E> {
    pub(in super::super) ended: Result<T, E>,
    /// It has a row of its own in the audit log, and is not only counted in another's.
    pub(in super::super) is_listed: bool,
}

/// The end of an attempt, and what is counted in memory once it is certain.
struct Ended<T, E> {
    told: Told<T, E>,
    counted: Option<(Weighed, u32)>,
}

/// Why an attempt has no end yet.
enum Failure<T, E> {
    Fault(E),
    /// The answer to its commit was lost.
    InDoubt(Ended<T, E>),
}

impl<T, E: ActError> From<StoreError> for Failure<T, E> {
    fn from(error: StoreError) -> Self {
        Self::Fault(error_of(error))
    }
}

impl Platform {
    /// Does what somebody asks. `object` is what was asked for, as it was asked. The work is run again in a new
    /// transaction when others kept it from committing or the database was away.
    pub(in super::super) async fn act<T, E: ActError>(
        &self,
        initiator: &Initiator,
        action: Action,
        object: impl Display,
        work: impl AsyncFn(&mut Act) -> Result<T, E>,
    ) -> Result<T, E> {
        self.act_told(initiator, action, object, work).await.ended
    }

    /// Does the same for one who wants to know whether it has a row of its own.
    pub(in super::super) async fn act_told<T, E: ActError>(
        &self,
        initiator: &Initiator,
        action: Action,
        object: impl Display,
        work: impl AsyncFn(&mut Act) -> Result<T, E>,
    ) -> Told<T, E> {
        let (changes, turn) = (Changes::Something, Turn::Beside);
        let asked = Asked { initiator, action, object: object.to_string(), changes, turn };
        // Boxed: what it takes to run again is much, and whoever asks has it within a future of its own.
        Box::pin(self.run(&asked, work)).await
    }

    /// Does what somebody asks once every other act that has begun is over, and before any other begins.
    pub(in super::super) async fn act_alone<T, E: ActError>(
        &self,
        initiator: &Initiator,
        action: Action,
        object: impl Display,
        work: impl AsyncFn(&mut Act) -> Result<T, E>,
    ) -> Result<T, E> {
        let (changes, turn) = (Changes::Something, Turn::Alone);
        let asked = Asked { initiator, action, object: object.to_string(), changes, turn };
        // Boxed: what it takes to run again is much, and whoever asks has it within a future of its own.
        Box::pin(self.run(&asked, work)).await.ended
    }

    /// Judges or takes notice of what changes nothing but the log. Nobody is kept from writing meanwhile, nor
    /// by one who repeats what is only counted.
    pub(in super::super) async fn note<T, E: ActError>(
        &self,
        initiator: &Initiator,
        action: Action,
        object: impl Display,
        work: impl AsyncFn(&mut Act) -> Result<T, E>,
    ) -> Told<T, E> {
        let (changes, turn) = (Changes::Nothing, Turn::Beside);
        let asked = Asked { initiator, action, object: object.to_string(), changes, turn };
        // Boxed: what it takes to run again is much, and whoever asks has it within a future of its own.
        Box::pin(self.run(&asked, work)).await
    }

    async fn run<T, E: ActError>(
        &self,
        asked: &Asked<'_>,
        work: impl AsyncFn(&mut Act) -> Result<T, E>,
    ) -> Told<T, E> {
        let mut retries = self.retries().in_turn(asked.turn);
        loop {
            let id = ActId::from_random(random::bytes());
            let error = match self.attempt(asked, id, &work, &retries).await {
                Ok(ended) => return self.settle(ended),
                Err(Failure::Fault(error)) => error,
                Err(Failure::InDoubt(ended)) => match self.was_made(id, &mut retries).await {
                    Ok(true) => return self.settle(ended),
                    Ok(false) => error_of(StoreError::Away { doing: "committing" }),
                    Err(error) => return Told::failed(error.into()),
                },
            };
            if !error.is_transient() {
                return Told::failed(error);
            }
            if let Err(error) = retries.wait_after(error).await {
                return Told::failed(error);
            }
        }
    }

    /// Runs it once.
    async fn attempt<T, E: ActError>(
        &self,
        asked: &Asked<'_>,
        id: ActId,
        work: &impl AsyncFn(&mut Act) -> Result<T, E>,
        retries: &Retries,
    ) -> Result<Ended<T, E>, Failure<T, E>> {
        let working = async {
            let mut act = self.begin(asked, id, retries.turn()).await?;
            match on_terms(&mut act, work).await {
                Err(error) if error.refusal().is_none() => Err(error),
                // Run again, it is answered with what was made.
                Err(_)
                    if act.tx.is_postgres()
                        && self.is_made_meanwhile(asked.initiator).await.map_err(error_of)? =>
                {
                    Err(error_of(StoreError::Conflict { doing: "making what is made once" }))
                }
                ended => Ok((act, ended)),
            }
        };
        match self.in_time(retries, working).await.map_err(Failure::Fault)? {
            (act, Ok(value)) if act.said.is_nothing => Ok(Ended::untold(value)),
            (act, ended) => self.tell(asked, act, retries.turn(), ended).await,
        }
    }

    /// Returns whether what is asked in this task was made for its key, as it is now: an attempt that began before sees
    /// nothing of it but what stands in its way.
    async fn is_made_meanwhile(&self, initiator: &Initiator) -> Result<bool, StoreError> {
        match Terms::of(initiator).once {
            Some(once) => Terms::has_made(&mut self.begin_read().await?, &once, self.now()).await,
            None => Ok(false),
        }
    }

    async fn begin(&self, asked: &Asked<'_>, id: ActId, turn: Turn) -> Result<Act, PlatformError> {
        let tx = match asked.changes {
            Changes::Something => self.begin_act(id, turn).await?,
            Changes::Nothing => self.begin_read().await?,
        };
        let mut act = Act {
            tx,
            now: self.now(),
            seal: Arc::clone(&self.seal),
            initiator: asked.initiator.clone(),
            proven: None,
            id,
            said: Said::of(asked.object.clone(), asked.initiator),
        };
        if asked.changes == Changes::Something {
            // Before the savepoint: an offer whose time is over has expired whatever becomes of the rest.
            expiry::expire_first(&mut act, asked.initiator).await?;
            act.tx.savepoint().await?;
        }
        Ok(act)
    }

    /// Begins a transaction of which it can be found out later whether it was committed.
    async fn begin_act(&self, id: ActId, turn: Turn) -> Result<Tx, StoreError> {
        let mut tx = self.begin_write(turn).await?;
        tx.claim_act(id).await?;
        Ok(tx)
    }

    /// Writes the end of an attempt and commits it.
    async fn tell<T, E: ActError>(
        &self,
        asked: &Asked<'_>,
        mut act: Act,
        turn: Turn,
        ended: Result<T, E>,
    ) -> Result<Ended<T, E>, Failure<T, E>> {
        if ended.is_err() && asked.changes == Changes::Something {
            act.tx.rollback_to_savepoint().await?;
        }
        let (names, logs) = act.names_and_logs().await?;
        // What a refusal says is the same to all.
        let apart = if ended.is_ok() { std::mem::take(&mut act.said.apart) } else { BTreeMap::new() };
        let entry = asked.entry(&act.said, &names, &ended);
        let weighed = self.weigh(asked, &act, &entry, &logs, ended.as_ref().err());
        let is_listed = weighed.as_ref().is_none_or(Weighed::is_new);
        debug!(
            action = %asked.action,
            object = entry.object,
            by = names.elsewhere,
            outcome = entry.outcome.as_str(),
            detail = entry.detail,
            is_listed,
            "the platform was asked"
        );
        let Act { mut tx, now, id, said, .. } = act;
        let counted = weighed.map(|weighed| (weighed, said.times));
        let ended = Ended { told: Told { ended, is_listed }, counted };
        let heard = said.heard.filter(|_| ended.told.ended.is_ok());
        let is_kept = match heard {
            Some(heard) if !is_listed => heard.changes(&mut tx).await?,
            _ => false,
        };
        if !is_listed && !is_kept {
            return Ok(ended);
        }
        let mut tx = match asked.changes {
            Changes::Something => tx,
            Changes::Nothing => {
                drop(tx);
                self.begin_act(id, turn).await?
            }
        };
        if let Some(heard) = heard {
            heard.keep(&mut tx).await?;
        }
        match &ended.counted {
            Some((row, _)) if !row.is_new() => {}
            Some((row, times)) => row.entry.write(&mut tx, Some(id), now, logs, *times).await?,
            None => write(&mut tx, id, now, &entry, &apart, names.of(&logs)).await?,
        }
        match self.commit(tx).await {
            Ok(()) => Ok(ended),
            Err(StoreError::CommitUnknown) => Err(Failure::InDoubt(ended)),
            Err(error) => Err(error.into()),
        }
    }

    /// Weighs an entry of one who may cause it again and again. What changed something is listed.
    fn weigh(
        &self,
        asked: &Asked<'_>,
        act: &Act,
        entry: &Entry,
        logs: &Logs,
        refusal: Option<&impl Display>,
    ) -> Option<Weighed> {
        let reporter = asked.initiator.reporter()?;
        let kind = match (act.said.kind.clone(), refusal) {
            (Some(kind), Some(_)) => kind,
            (None, Some(refusal)) => asked.kind(&entry.object, refusal),
            (Some(kind), None) if asked.changes == Changes::Nothing => kind,
            (_, None) => return None,
        };
        let at = Moment { now: act.now, instant: Instant::now() };
        Some(self.counted().weigh(reporter, &kind, logs, entry.clone(), at))
    }

    /// Counts in memory, now that the end is certain.
    fn settle<T, E>(&self, ended: Ended<T, E>) -> Told<T, E> {
        if let Some((weighed, times)) = ended.counted {
            self.counted().settle(weighed, times);
        }
        ended.told
    }

    /// Finds out whether an attempt was made whose commit had no answer.
    async fn was_made(&self, id: ActId, retries: &mut Retries) -> Result<bool, PlatformError> {
        loop {
            // It waits for the transaction to end, of which a server that is stopped may have the commit.
            let asking = async { self.has_act(id).await.map_err(PlatformError::Store) };
            match self.in_time(retries, asking).await {
                Ok(was_made) => {
                    debug!(act = %id, was_made, "the answer to a commit was lost; the log was asked for it");
                    return Ok(was_made);
                }
                Err(error) if error.is_transient() => {
                    retries.wait_after(error).await.map_err(in_doubt)?;
                }
                Err(error) => return Err(in_doubt(error)),
            }
        }
    }

    async fn has_act(&self, id: ActId) -> Result<bool, StoreError> {
        #[cfg(test)]
        self.faults.begin()?;
        self.store.was_committed(id).await
    }
}

/// Converts the failure to find out.
fn in_doubt(error: PlatformError) -> PlatformError {
    match error {
        PlatformError::Store(error) | PlatformError::Away(error) => PlatformError::Unknown(error),
        error => error,
    }
}

/// Does the work as who asks is now, on its terms.
async fn on_terms<T, E: ActError>(
    act: &mut Act,
    work: &impl AsyncFn(&mut Act) -> Result<T, E>,
) -> Result<T, E> {
    // First: one who may do nothing any more learns of no term either.
    act.prove_initiator().await?;
    let terms = Terms::of(&act.initiator);
    let judged = terms.judge(act).await?;
    let done = work(act).await?;
    judged.end(&terms, act).await?;
    Ok(done)
}

/// Writes an entry under the name that the initiator has in each log, with what is said there.
async fn write(
    tx: &mut Tx,
    id: ActId,
    now: Timestamp,
    entry: &Entry,
    apart: &BTreeMap<OrganizationId, String>,
    logs_by_name: Vec<(&str, Logs)>,
) -> Result<(), StoreError> {
    for (name, logs) in logs_by_name {
        for log in logs {
            let detail = log.and_then(|organization| apart.get(&organization)).unwrap_or(&entry.detail);
            let entry = Entry { actor: name.to_owned(), detail: detail.clone(), ..entry.clone() };
            entry.write(tx, Some(id), now, [log], 1).await?;
        }
    }
    Ok(())
}

impl Asked<'_> {
    pub(super) fn entry<T, E: ActError>(&self, said: &Said, names: &Names, ended: &Result<T, E>) -> Entry {
        let (outcome, detail) = match ended {
            Ok(_) => (said.outcome, said.detail.clone()),
            Err(error) => (error.refusal().unwrap_or(AuditOutcome::Refused), said.refusal(error)),
        };
        Entry {
            actor: names.elsewhere.clone(),
            action: self.action,
            object: said.object.clone(),
            outcome,
            detail,
            bucket: None,
        }
    }

    /// Returns what tells refusals apart whose work does not say.
    pub(super) fn kind(&self, object: &str, refusal: &impl Display) -> String {
        let who = match self.initiator {
            Initiator::Agent { server } => server.to_string(),
            Initiator::Stranger { address } => address_of(*address).to_string(),
            Initiator::Host { .. } | Initiator::Member { .. } | Initiator::System => String::new(),
        };
        format!("{} {who} {object} {refusal}", self.action)
    }
}

impl Said {
    fn refusal(&self, error: &impl Display) -> String {
        match &self.remark {
            Some(remark) => format!("{error} ({remark})"),
            None => error.to_string(),
        }
    }
}

impl<T, E> Told<T, E> {
    const fn failed(error: E) -> Self {
        Self { ended: Err(error), is_listed: false }
    }
}

impl<T, E> Ended<T, E> {
    const fn untold(value: T) -> Self {
        Self { told: Told { ended: Ok(value), is_listed: false }, counted: None }
    }
}
