//! Entries that agents and strangers cause as often as they like. The first of its kind in its span is in
//! the log before anything follows from it; repeats are counted in memory and added to its row about once a
//! second, or at once where each must be on file before it is acknowledged (`act/numbered`). What was refused is
//! one row an hour, what was done one a minute. One agent, and all strangers together, have so many rows of an
//! action; what goes beyond is one row a span that counts and tells nothing they chose. So nobody hides what
//! others did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, trace};

use crate::store::{AuditOutcome, NoteRun, Tx};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::{
    AUDIT_DETAIL_CHARS_MAX, AUDIT_ROWS_BURST, AUDIT_ROWS_COUNTED_MAX, AUDIT_ROWS_EACH, REPEATS_WRITTEN_EVERY,
};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::one_line;
use adit_core::protocol::token_buckets::TokenBuckets;

use super::act::entry::{Entry, Logs};
use super::error::PlatformError;
use super::{Action, Platform};

/// Who caused an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reporter {
    Agent(ServerId),
    /// Nobody whose name is proven.
    Stranger,
}

/// What is one row a span, and in which logs.
type Kind = (String, Logs);

#[derive(Debug)]
pub(super) struct Counted {
    rows: BTreeMap<Kind, Row>,
    /// Apart by log: what one partner causes at an agent uses up nothing of another's.
    budgets: TokenBuckets<(Reporter, Action, Logs)>,
    /// What is being written, or may have been: it is written once, under its number.
    batch: Option<Arc<CountedBatch>>,
    batches: u64,
}

/// What was counted up to a moment, as it is added to the rows.
#[derive(Debug)]
struct CountedBatch {
    number: u64,
    rows: Vec<(Entry, Logs, u32)>,
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    unwritten: u32,
    /// The seconds at which its span ends.
    until: i64,
}

impl Default for Counted {
    fn default() -> Self {
        let budgets = TokenBuckets::every(AUDIT_ROWS_BURST, AUDIT_ROWS_EACH, AUDIT_ROWS_COUNTED_MAX);
        Self { rows: BTreeMap::new(), budgets, batch: None, batches: 0 }
    }
}

/// What is to become of an entry once what it tells of is certain.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) entry: Entry,
    logs: Logs,
    /// The seconds at which its span ends; none for a repeat, or one of many.
    until: Option<i64>,
}

impl Weighed {
    /// Returns whether it has a row to be written.
    pub(super) const fn is_new(&self) -> bool {
        self.until.is_some()
    }

    fn key(&self) -> Kind {
        (self.entry.bucket.clone().unwrap_or_default(), self.logs.clone())
    }
}

impl Counted {
    /// Weighs an entry whose kind is `kind` within its span. Nothing is counted yet.
    pub(super) fn weigh(
        &mut self,
        reporter: Reporter,
        kind: &str,
        logs: &Logs,
        entry: Entry,
        at: Moment,
    ) -> Weighed {
        let span = span_of(entry.outcome);
        let own = in_bucket(bucket(span, at.now, format_args!("{kind}")), entry.clone());
        if self.is_begun(&own, logs) {
            return Weighed { entry: own, logs: logs.clone(), until: None };
        }
        let has_room = self.rows.len() < AUDIT_ROWS_COUNTED_MAX;
        if has_room && self.budgets.try_take((reporter, entry.action, logs.clone()), at.instant) {
            let detail = one_line(&own.detail, AUDIT_DETAIL_CHARS_MAX);
            let entry = Entry { detail, ..own };
            return Weighed { entry, logs: logs.clone(), until: Some(ends(span, at.now)) };
        }
        debug!(kind, has_room, "an audit entry too many: it is counted in the row for all such");
        let bucket = bucket(span, at.now, format_args!("{reporter:?} {} beyond", entry.action));
        let entry = in_bucket(bucket, beyond(reporter, entry));
        let until = (!self.is_begun(&entry, logs)).then(|| ends(span, at.now));
        Weighed { entry, logs: logs.clone(), until }
    }

    /// Counts an entry that stands for `times`: its row was written, or is another's.
    pub(super) fn settle(&mut self, weighed: Weighed, times: u32) {
        let (key, until) = (weighed.key(), weighed.until);
        let Weighed { entry, .. } = weighed;
        trace!(bucket = key.0, times, is_new = until.is_some(), "caused again and again");
        match until {
            Some(until) => {
                self.rows.entry(key).or_insert(Row { entry, unwritten: 0, until });
            }
            None => self.count(key, entry, times),
        }
    }

    /// Adds to a row. One that was forgotten meanwhile lives until it is written.
    fn count(&mut self, key: Kind, entry: Entry, times: u32) {
        let row = self.rows.entry(key).or_insert_with(|| Row { entry, unwritten: 0, until: 0 });
        row.unwritten = row.unwritten.saturating_add(times);
    }

    fn is_begun(&self, entry: &Entry, logs: &Logs) -> bool {
        self.rows.contains_key(&(entry.bucket.clone().unwrap_or_default(), logs.clone()))
    }

    /// Takes what was counted and not written; forgets the rows whose span is over.
    fn take_unwritten(&mut self, now: Timestamp) -> Vec<(Entry, Logs, u32)> {
        let due = self.rows.iter_mut().filter(|(_, row)| row.unwritten > 0);
        let due =
            due.map(|((_, logs), row)| (row.entry.clone(), logs.clone(), std::mem::take(&mut row.unwritten)));
        let due = due.collect();
        self.rows.retain(|_, row| row.until > now.as_secs());
        due
    }

    /// Returns the batch to write and whether it may have been written before; none if nothing is counted.
    fn begin_batch(&mut self, now: Timestamp) -> Option<(Arc<CountedBatch>, bool)> {
        if let Some(batch) = &self.batch {
            return Some((Arc::clone(batch), true));
        }
        let rows = self.take_unwritten(now);
        if rows.is_empty() {
            return None;
        }
        self.batches += 1;
        let batch = Arc::new(CountedBatch { number: self.batches, rows });
        self.batch = Some(Arc::clone(&batch));
        Some((batch, false))
    }
}

fn in_bucket(bucket: String, entry: Entry) -> Entry {
    Entry { bucket: Some(bucket), ..entry }
}

/// Returns the row that stands for all that have none of their own.
fn beyond(reporter: Reporter, entry: Entry) -> Entry {
    let actor = match reporter {
        Reporter::Agent(_) => entry.actor,
        Reporter::Stranger => "hosts at several addresses".into(),
    };
    let detail = "more than are listed one by one; this row counts them".into();
    Entry { actor, object: "several".into(), detail, ..entry }
}

/// Returns for how many seconds repeats are one row.
const fn span_of(outcome: AuditOutcome) -> i64 {
    match outcome {
        AuditOutcome::Done => 60,
        AuditOutcome::Refused | AuditOutcome::Alert => REPEATS_WRITTEN_EVERY.as_secs().cast_signed(),
    }
}

/// Returns the bucket, equal within one span.
fn bucket(span: i64, now: Timestamp, what: fmt::Arguments<'_>) -> String {
    format!("{span}:{} {what}", now.as_secs().div_euclid(span))
}

const fn ends(span: i64, now: Timestamp) -> i64 {
    (now.as_secs().div_euclid(span) + 1) * span
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
}

impl Platform {
    /// Writes what was counted since the last time; for the gateway to call about once a second.
    pub async fn flush_counted(&self) -> Result<(), PlatformError> {
        let _turn = self.counting.lock().await;
        loop {
            let now = self.now();
            let Some((batch, is_again)) = self.counted().begin_batch(now) else { return Ok(()) };
            let (run, writing) = (NoteRun::of_counts(self.run), Arc::clone(&batch));
            let written = self.record(async move |tx: &mut Tx| writing.write(tx, &run, now).await).await;
            let is_written = written.is_ok();
            debug!(
                rows = batch.rows.len(),
                number = batch.number,
                is_again,
                is_written,
                "repeats are added to their audit rows"
            );
            written?;
            self.counted().batch = None;
            if !is_again {
                return Ok(());
            }
        }
    }
}

impl CountedBatch {
    /// Adds to the rows, unless this batch was added before and only the answer was lost.
    async fn write(&self, tx: &mut Tx, run: &NoteRun, now: Timestamp) -> Result<(), PlatformError> {
        let mark = tx.note_mark(run).await?;
        if mark.is_some_and(|mark| self.number <= mark) {
            debug!(number = self.number, "this batch of repeats is on file already");
            return Ok(());
        }
        for (entry, logs, times) in &self.rows {
            entry.write(tx, None, now, logs.iter().copied(), *times).await?;
        }
        if mark.is_none() {
            tx.forget_old_note_runs(run).await?;
        }
        Ok(tx.set_note_mark(run, self.number, now).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit_core::domain::id::OrganizationId;

    use super::*;

    const AGENT: Reporter = Reporter::Agent(ServerId::from_bytes([1; 16]));
    const OTHER: Reporter = Reporter::Agent(ServerId::from_bytes([2; 16]));
    const HOUR: Duration = Duration::from_hours(1);

    fn entry(action: Action) -> Entry {
        Entry {
            actor: "agent of St Mary".into(),
            action,
            object: "server 0badcafe".into(),
            outcome: AuditOutcome::Refused,
            detail: "wrong".into(),
            bucket: None,
        }
    }

    fn moment(after: Duration, start: Instant) -> Moment {
        let now = Timestamp::from_millis(1_795_510_800_000).saturating_add(after);
        Moment { now, instant: start + after }
    }

    fn handle(counted: &mut Counted, reporter: Reporter, kind: &str, at: Moment) -> Option<Entry> {
        cause(counted, reporter, kind, &vec![None], at)
    }

    fn cause(
        counted: &mut Counted,
        reporter: Reporter,
        kind: &str,
        logs: &Logs,
        at: Moment,
    ) -> Option<Entry> {
        let weighed = counted.weigh(reporter, kind, logs, entry(Action::RefusePeer), at);
        let row = weighed.is_new().then(|| weighed.entry.clone());
        counted.settle(weighed, 1);
        row
    }

    #[test]
    fn what_one_partner_causes_uses_up_nothing_of_anothers_log() {
        let at = moment(Duration::ZERO, Instant::now());
        let mut counted = Counted::default();
        let of = |number: u8| vec![Some(OrganizationId::from_bytes([number; 16]))];
        let mut begins = |kind: String, logs: &Logs| {
            cause(&mut counted, AGENT, &kind, logs, at).is_some_and(|row| row.object != "several")
        };
        assert!((0..AUDIT_ROWS_BURST).all(|kind| begins(kind.to_string(), &of(1))));
        assert!(!begins("one more".into(), &of(1)));
        assert!(begins("the first".into(), &of(2)));
    }

    #[test]
    fn repeats_of_an_hour_are_one_row_that_counts() {
        let at = moment(Duration::ZERO, Instant::now());
        let mut counted = Counted::default();
        assert!(handle(&mut counted, AGENT, "x", at).is_some());
        assert!((0..99).all(|_| handle(&mut counted, AGENT, "x", at).is_none()));
        let [(row, _, 99)] = &counted.take_unwritten(at.now)[..] else { panic!("one row, 99 times") };
        assert_eq!(row.object, "server 0badcafe");
        assert!(counted.take_unwritten(at.now).is_empty());
        let still = Moment { now: at.now.saturating_add(HOUR / 2), ..at };
        assert!(handle(&mut counted, AGENT, "x", still).is_none());
        let next = Moment { now: at.now.saturating_add(HOUR), ..at };
        assert!(handle(&mut counted, AGENT, "x", next).is_some());
    }

    #[test]
    fn what_one_agent_makes_up_is_counted_in_a_row_that_tells_nothing_of_it() {
        let at = moment(Duration::ZERO, Instant::now());
        let mut counted = Counted::default();
        let made_up = |counted: &mut Counted, reporter, number: u32| {
            handle(counted, reporter, &format!("peer {number}"), at)
        };
        let rows: Vec<_> = (0..3_000).filter_map(|number| made_up(&mut counted, AGENT, number)).collect();
        assert_eq!(rows.len(), AUDIT_ROWS_BURST as usize + 1);
        assert_eq!(rows.last().unwrap().object, "several");
        let unwritten: u32 = counted.take_unwritten(at.now).iter().map(|(_, _, times)| times).sum();
        assert_eq!(rows.len() + unwritten as usize, 3_000, "none is lost");
        assert!(made_up(&mut counted, OTHER, 9_999).is_some(), "another agent has rows of its own");
    }

    #[test]
    fn an_agent_that_goes_on_for_hours_has_few_rows_an_hour() {
        let start = Instant::now();
        let mut counted = Counted::default();
        let mut rows = 0;
        for second in 0..3_600 {
            let at = moment(Duration::from_secs(second), start);
            for number in 0..20 {
                rows += u64::from(handle(&mut counted, AGENT, &format!("{second} {number}"), at).is_some());
            }
            counted.take_unwritten(at.now);
        }
        let earned = 3_600 / AUDIT_ROWS_EACH.as_secs();
        assert!(rows <= u64::from(AUDIT_ROWS_BURST) + earned + 61, "{rows}");
    }

    #[test]
    fn a_long_detail_with_breaks_is_cut_to_one_line() {
        let at = moment(Duration::ZERO, Instant::now());
        let told = Entry { detail: format!("a\n{}", "x".repeat(10_000)), ..entry(Action::Enrol) };
        let Weighed { entry: row, .. } = Counted::default().weigh(AGENT, "x", &vec![None], told, at);
        assert_eq!(row.detail.chars().count(), AUDIT_DETAIL_CHARS_MAX);
        assert!(!row.detail.contains('\n'));
    }
}
