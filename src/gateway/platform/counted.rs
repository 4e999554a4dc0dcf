//! Entries that agents and strangers cause as often as they like. The first of its kind in its span is in
//! the log before anything follows from it; repeats are counted in memory and added to its row about once a
//! second. What was refused is one row an hour, what was done one a minute. One agent, and all strangers
//! together, have so many rows of an action; what goes beyond is one row a span that counts and tells
//! nothing they chose. So nobody hides what others did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use tracing::{debug, trace};

use crate::store::AuditOutcome;
use adit_core::domain::id::{OrganizationId, ServerId};
use adit_core::domain::limits::{
    AUDIT_DETAIL_CHARS_MAX, AUDIT_ROWS_BURST, AUDIT_ROWS_COUNTED_MAX, AUDIT_ROWS_EACH, REPEATS_WRITTEN_EVERY,
};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::one_line;
use adit_core::protocol::token_buckets::TokenBuckets;

use super::Platform;
use super::audit::AgentEntry;
use super::error::PlatformError;

/// Who caused an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reporter {
    Agent(ServerId),
    /// Nobody whose name is proven.
    Stranger,
}

type Logs = Vec<Option<OrganizationId>>;
/// What is one row a span, and in which logs.
type Kind = (String, Logs);

#[derive(Debug)]
pub(super) struct Counted {
    rows: BTreeMap<Kind, Row>,
    /// Apart by log: what one partner causes at an agent uses up nothing of another's.
    budgets: TokenBuckets<(Reporter, &'static str, Logs)>,
}

#[derive(Debug)]
struct Row {
    entry: AgentEntry,
    unwritten: u32,
    /// The seconds at which its span ends.
    until: i64,
}

impl Default for Counted {
    fn default() -> Self {
        let budgets = TokenBuckets::every(AUDIT_ROWS_BURST, AUDIT_ROWS_EACH, AUDIT_ROWS_COUNTED_MAX);
        Self { rows: BTreeMap::new(), budgets }
    }
}

/// What becomes of an entry.
enum Recorded {
    /// Nothing yet: it is a repeat, or one of many.
    Counted,
    Row(AgentEntry),
}

impl Counted {
    /// Takes an entry whose kind is `kind` within its span, and which stands for `times` of them.
    fn handle(
        &mut self,
        reporter: Reporter,
        kind: &str,
        logs: &Logs,
        entry: AgentEntry,
        times: u32,
        at: Moment,
    ) -> Recorded {
        let span = span_of(entry.outcome);
        let bucket = bucket(span, at.now, format_args!("{kind}"));
        if self.is_repeat(&bucket, logs, times) {
            return Recorded::Counted;
        }
        let has_room = self.rows.len() < AUDIT_ROWS_COUNTED_MAX;
        if has_room && self.budgets.try_take((reporter, entry.action, logs.clone()), at.instant) {
            let detail = one_line(&entry.detail, AUDIT_DETAIL_CHARS_MAX);
            return self.begin(bucket, logs, AgentEntry { detail, ..entry }, ends(span, at.now));
        }
        debug!(kind, has_room, "an audit entry too many: it is counted in the row for all such");
        let bucket = self::bucket(span, at.now, format_args!("{reporter:?} {} beyond", entry.action));
        if self.is_repeat(&bucket, logs, times) {
            return Recorded::Counted;
        }
        self.begin(bucket, logs, beyond(reporter, entry), ends(span, at.now))
    }

    /// Counts it where its row has begun.
    fn is_repeat(&mut self, bucket: &str, logs: &Logs, times: u32) -> bool {
        let row = self.rows.get_mut(&(bucket.to_owned(), logs.clone()));
        row.map(|row| row.unwritten = row.unwritten.saturating_add(times)).is_some()
    }

    fn begin(&mut self, bucket: String, logs: &Logs, entry: AgentEntry, until: i64) -> Recorded {
        let entry = AgentEntry { bucket: Some(bucket.clone()), ..entry };
        self.rows.insert((bucket, logs.clone()), Row { entry: entry.clone(), unwritten: 0, until });
        Recorded::Row(entry)
    }

    /// Takes what was counted and not written; forgets the rows whose span is over.
    fn take_unwritten(&mut self, now: Timestamp) -> Vec<(AgentEntry, Logs, u32)> {
        let due = self.rows.iter_mut().filter(|(_, row)| row.unwritten > 0);
        let due =
            due.map(|((_, logs), row)| (row.entry.clone(), logs.clone(), std::mem::take(&mut row.unwritten)));
        let due = due.collect();
        self.rows.retain(|_, row| row.until > now.as_secs());
        due
    }

    /// Puts entries back: they could not be written.
    fn put_back(&mut self, due: Vec<(AgentEntry, Logs, u32)>) {
        for (entry, logs, times) in due {
            let key = (entry.bucket.clone().unwrap_or_default(), logs);
            // A row that was forgotten meanwhile lives until it is written.
            let row = self.rows.entry(key).or_insert_with(|| Row { entry, unwritten: 0, until: 0 });
            row.unwritten = row.unwritten.saturating_add(times);
        }
    }
}

/// Returns the row that stands for all that have none of their own.
fn beyond(reporter: Reporter, entry: AgentEntry) -> AgentEntry {
    let actor = match reporter {
        Reporter::Agent(_) => entry.actor,
        Reporter::Stranger => "hosts at several addresses".into(),
    };
    let detail = "more than are listed one by one; this row counts them".into();
    AgentEntry { actor, object: "several".into(), detail, ..entry }
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
struct Moment {
    now: Timestamp,
    instant: Instant,
}

impl Platform {
    /// Notes what may be repeated; entries of one `kind` are one row a span in each log. Returns whether
    /// it has a row of its own.
    pub(super) async fn note_counted(
        &self,
        reporter: Reporter,
        kind: &str,
        entry: AgentEntry,
        logs: impl IntoIterator<Item = Option<OrganizationId>>,
    ) -> Result<bool, PlatformError> {
        self.note_counted_times(reporter, kind, entry, logs, 1).await
    }

    /// Does the same for something that happened `times`, which must not be 0.
    pub(super) async fn note_counted_times(
        &self,
        reporter: Reporter,
        kind: &str,
        entry: AgentEntry,
        logs: impl IntoIterator<Item = Option<OrganizationId>>,
        times: u32,
    ) -> Result<bool, PlatformError> {
        let mut logs: Logs = logs.into_iter().collect();
        logs.sort_unstable();
        logs.dedup();
        let at = Moment { now: self.now(), instant: Instant::now() };
        trace!(
            kind,
            times,
            action = entry.action,
            outcome = entry.outcome.as_str(),
            "caused again and again"
        );
        let recorded = self.counted().handle(reporter, kind, &logs, entry, times, at);
        let Recorded::Row(entry) = recorded else { return Ok(false) };
        let mut tx = self.store.write().await?;
        entry.write_times(&mut tx, at.now, logs, times).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Writes what was counted since the last time; for the gateway to call about once a second.
    pub async fn flush_counted(&self) -> Result<(), PlatformError> {
        let now = self.now();
        let due = self.counted().take_unwritten(now);
        if due.is_empty() {
            return Ok(());
        }
        let written = self.write_counted(now, &due).await;
        debug!(rows = due.len(), is_written = written.is_ok(), "repeats are added to their audit rows");
        if written.is_err() {
            self.counted().put_back(due);
        }
        written
    }

    async fn write_counted(
        &self,
        now: Timestamp,
        due: &[(AgentEntry, Logs, u32)],
    ) -> Result<(), PlatformError> {
        let mut tx = self.store.write().await?;
        for (entry, logs, times) in due {
            entry.write_times(&mut tx, now, logs.iter().copied(), *times).await?;
        }
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AGENT: Reporter = Reporter::Agent(ServerId::from_bytes([1; 16]));
    const OTHER: Reporter = Reporter::Agent(ServerId::from_bytes([2; 16]));
    const HOUR: Duration = Duration::from_hours(1);

    fn entry(action: &'static str) -> AgentEntry {
        AgentEntry {
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

    fn handle(counted: &mut Counted, reporter: Reporter, kind: &str, at: Moment) -> Option<AgentEntry> {
        match counted.handle(reporter, kind, &vec![None], entry("refuse peer"), 1, at) {
            Recorded::Row(entry) => Some(entry),
            Recorded::Counted => None,
        }
    }

    #[test]
    fn what_one_partner_causes_uses_up_nothing_of_anothers_log() {
        let at = moment(Duration::ZERO, Instant::now());
        let mut counted = Counted::default();
        let of = |number: u8| vec![Some(OrganizationId::from_bytes([number; 16]))];
        let mut begins = |kind: String, logs: &Logs| matches!(counted.handle(AGENT, &kind, logs, entry("refuse peer"), 1, at), Recorded::Row(row) if row.object != "several");
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
        let told = AgentEntry { detail: format!("a\n{}", "x".repeat(10_000)), ..entry("enrol") };
        let Recorded::Row(row) = Counted::default().handle(AGENT, "x", &vec![None], told, 1, at) else {
            panic!("a row")
        };
        assert_eq!(row.detail.chars().count(), AUDIT_DETAIL_CHARS_MAX);
        assert!(!row.detail.contains('\n'));
    }
}
