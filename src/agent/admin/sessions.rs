//! Who is at work on a managed Mirth: a session for each address that the managing side's clients come
//! from, begun in the audit before anything is served, ended when nobody was connected for a minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::{MissedTickBehavior, interval};

use super::refusal_sums::{Line, RefusalSums};
use crate::admin::parts::AdminParts;
use crate::entries::LiveConnection;
use crate::outbox::Note;
use adit_core::domain::access::Access;
use adit_core::domain::limits;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::{SessionReport, SessionStage};
use adit_net::identity::time::TimeSource;
use adit_observe::audit::{AdminCounts, AdminSessionId, AuditEntry, AuditError, RefusalKind};

const CHECK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSession {
    #[error("no session can be opened: this server's audit cannot be written")]
    Audit(#[from] AuditError),
    #[error(
        "no session can be opened: {} addresses work over this connection already",
        limits::ADMIN_SESSIONS_MAX
    )]
    TooMany,
}

/// The sessions of one entry, and what was refused besides.
#[derive(Debug, Default)]
pub(crate) struct AdminSessions {
    refusals: Mutex<RefusalSums>,
    live: Mutex<BTreeMap<IpAddr, Arc<AdminSession>>>,
    begun: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct AdminSession {
    pub number: u64,
    pub local_peer: IpAddr,
    since: Instant,
    begun: OnceCell<()>,
    counts: SessionCounts,
    activity: Mutex<SessionActivity>,
}

#[derive(Debug, Default)]
struct SessionCounts {
    requests: AtomicU64,
    refused: AtomicU64,
    /// Refused too, but not meant by anybody.
    expected: AtomicU64,
    changes: AtomicU64,
    audits: AtomicU64,
}

#[derive(Debug)]
struct SessionActivity {
    connections: usize,
    /// When the last connection ended.
    idle_since: Instant,
    reported: Instant,
    reported_requests: u64,
    /// Whether the first refusal or change was told.
    is_reported: bool,
}

/// One HTTP connection's part in its session.
#[derive(Debug)]
pub(crate) struct SessionGuard(Arc<AdminSession>);

impl SessionGuard {
    #[must_use]
    pub(crate) fn session(&self) -> &AdminSession {
        &self.0
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut activity = self.0.activity.lock();
        activity.connections -= 1;
        activity.idle_since = Instant::now();
    }
}

impl AdminSession {
    pub(crate) fn count_request(&self) {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refusal(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_expected(&self) {
        self.counts.expected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a change; returns the number of the change within its session.
    pub(crate) fn count_change(&self) -> u64 {
        self.counts.changes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts one more record in Mirth's own audit.
    pub(crate) fn count_audit(&self) {
        self.counts.audits.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self, stage: SessionStage) -> SessionReport {
        SessionReport {
            number: self.number,
            stage: stage.into(),
            local_peer: self.local_peer,
            requests: self.counts.requests.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
            changes: self.counts.changes.load(Ordering::Relaxed),
            audits: self.counts.audits.load(Ordering::Relaxed),
        }
    }
}

impl AdminSessions {
    /// Takes part in the session of `local_peer`; a new one is in the audit when this returns.
    pub(crate) async fn register(
        &self,
        parts: &AdminParts,
        entry: &LiveConnection,
        local_peer: IpAddr,
    ) -> Result<SessionGuard, NoSession> {
        let session_guard = self.join(local_peer)?;
        let session = session_guard.session();
        session.begun.get_or_try_init(|| begin(parts, entry, session)).await?;
        // One that began while it could be written goes on only while it can.
        parts.audit.check().await?;
        Ok(session_guard)
    }

    fn join(&self, local_peer: IpAddr) -> Result<SessionGuard, NoSession> {
        let mut live = self.live.lock();
        if !live.contains_key(&local_peer) && live.len() >= limits::ADMIN_SESSIONS_MAX {
            tracing::debug!(%local_peer, open = live.len(), "as many addresses are at work as may be");
            return Err(NoSession::TooMany);
        }
        let session = live.entry(local_peer).or_insert_with(|| {
            let now = Instant::now();
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            let activity = SessionActivity {
                connections: 0,
                idle_since: now,
                reported: now,
                reported_requests: 0,
                is_reported: false,
            };
            Arc::new(AdminSession {
                number,
                local_peer,
                since: now,
                begun: OnceCell::new(),
                counts: SessionCounts::default(),
                activity: Mutex::new(activity),
            })
        });
        session.activity.lock().connections += 1;
        Ok(SessionGuard(Arc::clone(session)))
    }

    /// Counts a refusal; it is in the audit when this returns, in a line of its own or as one of a sum.
    /// `detail` makes that line.
    pub(crate) async fn audit_refusal(
        &self,
        parts: &AdminParts,
        entry: &LiveConnection,
        kind: &RefusalKind,
        detail: impl FnOnce(Timestamp) -> AuditEntry,
    ) -> Result<(), AuditError> {
        self.audit_sum(parts, entry).await?;
        let line = self.refusals.lock().handle(kind, Instant::now());
        let RefusalKind { method, template, status } = kind;
        tracing::debug!(
            method,
            template,
            status,
            listed = matches!(line, Line::Detail),
            "a refusal goes into the audit"
        );
        let now = parts.clock.now();
        match line {
            Line::Detail => parts.audit.append(detail(now)).await,
            Line::SumBegins => {
                parts.audit.append(AuditEntry::admin_refusals_counted(now, entry.config.id)).await
            }
            Line::None => parts.audit.check().await,
        }
    }

    async fn audit_sum(&self, parts: &AdminParts, entry: &LiveConnection) -> Result<(), AuditError> {
        let Some(sum) = self.refusals.lock().poll(Instant::now()) else { return Ok(()) };
        let summed = AuditEntry::admin_refusals_summed(parts.clock.now(), entry.config.id, sum);
        parts.audit.append(summed).await
    }

    /// Returns how many are open.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        self.live.lock().len()
    }

    /// Ends sessions whose clients have gone and reports the others; runs until dropped.
    pub(crate) async fn keep(self: Arc<Self>, parts: Arc<AdminParts>, entry: Arc<LiveConnection>) {
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            // What is missing in the audit was said aloud there.
            let _ = self.audit_sum(&parts, &entry).await;
            for session in self.take_over(Instant::now()) {
                end(&parts, &entry, &session).await;
            }
            for report in self.due_reports(Instant::now()) {
                send_report(&parts, &entry, report);
            }
        }
    }

    fn take_over(&self, now: Instant) -> Vec<Arc<AdminSession>> {
        let mut live = self.live.lock();
        let mut over = Vec::new();
        live.retain(|_, session| {
            let activity = session.activity.lock();
            let idle = now.saturating_duration_since(activity.idle_since);
            let stays = activity.connections > 0 || idle < limits::ADMIN_SESSION_IDLE;
            if !stays {
                tracing::debug!(
                    session = session.number,
                    ?idle,
                    "nobody was connected for so long, so the session ends"
                );
                over.push(Arc::clone(session));
            }
            stays
        });
        over
    }

    fn due_reports(&self, now: Instant) -> Vec<SessionReport> {
        let due = |session: &Arc<AdminSession>| {
            let report = session.report(SessionStage::Running);
            let mut activity = session.activity.lock();
            let waited = now.saturating_duration_since(activity.reported) >= limits::ADMIN_REPORT_EVERY;
            let is_new = !activity.is_reported && report.refused + report.changes + report.audits > 0;
            let is_due = is_new || (waited && report.requests > activity.reported_requests);
            activity.is_reported |= is_new;
            if is_due {
                activity.reported = now;
                activity.reported_requests = report.requests;
            }
            is_due.then_some(report)
        };
        self.live.lock().values().filter_map(due).collect()
    }
}

async fn begin(parts: &AdminParts, entry: &LiveConnection, session: &AdminSession) -> Result<(), AuditError> {
    let rules = parts.policies.rules();
    let rule = rules.rule(entry.config.id);
    let organization = rule.and_then(|rule| rule.peer_organization.clone());
    let access = rule.and_then(|rule| Access::of(rule.kind)).map_or("none", Access::as_str);
    let who = (organization, entry.config.peer);
    let id = AdminSessionId { connection: entry.config.id, number: session.number };
    let started = AuditEntry::admin_started(parts.clock.now(), id, access, who, session.local_peer);
    parts.audit.append(started).await?;
    tracing::info!(connection = %entry.config.name, session = session.number, local_peer = %session.local_peer, access, "admin session started");
    send_report(parts, entry, session.report(SessionStage::Started));
    Ok(())
}

async fn end(parts: &AdminParts, entry: &LiveConnection, session: &AdminSession) {
    // One that never began has nothing to end.
    if session.begun.get().is_none() {
        return;
    }
    let report = session.report(SessionStage::Ended);
    let SessionReport { requests, refused, changes, audits, .. } = report;
    // The managing side passes bytes on and counts nothing.
    let judged = entry.managed.is_some().then_some(AdminCounts {
        requests,
        refused,
        expected: session.counts.expected.load(Ordering::Relaxed),
        changes,
        audits,
    });
    let id = AdminSessionId { connection: entry.config.id, number: session.number };
    // What is missing in the audit was said aloud there.
    let _ = parts
        .audit
        .append(AuditEntry::admin_ended(parts.clock.now(), id, session.since.elapsed(), judged))
        .await;
    tracing::info!(connection = %entry.config.name, session = session.number, requests, refused, changes, audits, "admin session ended");
    send_report(parts, entry, report);
}

fn send_report(parts: &AdminParts, entry: &LiveConnection, session: SessionReport) {
    parts.outbox.notify(Note::AdminSession { connection: entry.config.id, session });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn connections_from_one_address_share_a_session_until_a_minute_after_the_last() {
        let sessions = AdminSessions::default();
        let first = sessions.join(PEER).unwrap();
        let second = sessions.join(PEER).unwrap();
        let other = sessions.join("10.1.2.3".parse().unwrap()).unwrap();
        assert_eq!([&first, &second, &other].map(|it| it.session().number), [1, 1, 2]);
        drop(first);
        let later = |span| Instant::now() + span;
        assert!(sessions.take_over(later(limits::ADMIN_SESSION_IDLE * 2)).is_empty());
        drop(second);
        assert!(sessions.take_over(Instant::now()).is_empty());
        let over = sessions.take_over(later(limits::ADMIN_SESSION_IDLE));
        assert_eq!(over.iter().map(|session| session.number).collect::<Vec<_>>(), [1]);
        assert_eq!(sessions.join(PEER).unwrap().session().number, 3);
        assert_eq!(sessions.open(), 2);
    }

    #[test]
    fn addresses_that_a_peer_makes_up_are_bounded() {
        let sessions = AdminSessions::default();
        let address = |number: usize| IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]);
        let held: Vec<_> =
            (0..limits::ADMIN_SESSIONS_MAX).map(|number| sessions.join(address(number)).unwrap()).collect();
        assert!(matches!(sessions.join(address(held.len())), Err(NoSession::TooMany)));
        assert!(sessions.join(address(0)).is_ok());
    }

    #[test]
    fn a_session_is_reported_once_a_minute_only_when_something_happened() {
        let sessions = AdminSessions::default();
        let session_guard = sessions.join(PEER).unwrap();
        let later = Instant::now() + limits::ADMIN_REPORT_EVERY;
        assert!(sessions.due_reports(later).is_empty());
        session_guard.session().count_request();
        assert!(sessions.due_reports(Instant::now()).is_empty());
        let [report] = sessions.due_reports(later)[..] else { panic!("one report") };
        assert_eq!((report.requests, report.refused, report.changes), (1, 0, 0));
        assert!(sessions.due_reports(later + limits::ADMIN_REPORT_EVERY).is_empty());
    }

    #[test]
    fn the_first_refusal_or_change_is_reported_at_once() {
        let sessions = AdminSessions::default();
        let session_guard = sessions.join(PEER).unwrap();
        for _ in 0..3 {
            session_guard.session().count_request();
            session_guard.session().count_refusal();
        }
        let [report] = sessions.due_reports(Instant::now())[..] else { panic!("one report") };
        assert_eq!((report.requests, report.refused), (3, 3));
        session_guard.session().count_change();
        assert!(sessions.due_reports(Instant::now()).is_empty());
    }
}
