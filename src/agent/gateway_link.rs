//! What is true of the control link, for people: whether it is up, why it is away, whether the gateway has its
//! database, and what it said over the link that was not taken.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::audit_log::AuditLog;
use super::copies::Copies;
use super::rejected::{Rejected, RejectedStatements};
use super::repeats::Repeats;
use super::stats::{Fault, TimedFlag};
use super::stopping::Stopping;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::DatabaseAway;
use adit_core::protocol::repeat_limiter::shown;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_observe::audit::AuditEntry;
use adit_observe::metrics::{CONTROL_DATABASE_AWAY, CONTROL_LINK_UP};

const GATEWAY_STOPPED: &str = "the gateway was stopped; the link comes back with it";

#[derive(Debug)]
pub(crate) struct GatewayLink {
    status: Mutex<LinkStatus>,
    rejected: Mutex<RejectedStatements>,
    /// Of this agent.
    pub(crate) copies: Copies,
    pub(crate) repeats: Repeats,
    clock: Arc<LearntClock>,
    stopping: Arc<Stopping>,
    audit: Arc<AuditLog>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct LinkStatus {
    pub(crate) up: TimedFlag,
    pub(crate) last_error: Option<Fault>,
    /// Since when the gateway's database is away, as it says over the link that is up.
    pub(crate) database_away: Option<Timestamp>,
    /// That it is away was logged, and not yet that it is back.
    is_database_missed: bool,
}

impl GatewayLink {
    #[must_use]
    pub(crate) fn new(clock: Arc<LearntClock>, stopping: Arc<Stopping>, audit: Arc<AuditLog>) -> Arc<Self> {
        Arc::new(Self {
            status: Mutex::default(),
            rejected: Mutex::default(),
            copies: Copies::default(),
            repeats: Repeats::default(),
            clock,
            stopping,
            audit,
        })
    }

    #[must_use]
    pub(crate) fn status(&self) -> LinkStatus {
        self.status.lock().clone()
    }

    /// Notes that the link has come up or is away.
    pub(crate) fn note_up(&self, up: bool) {
        let mut status = self.status.lock();
        status.up.set(Some(up), self.clock.now());
        if up {
            status.last_error = None;
        } else {
            // Nobody says so any more.
            status.database_away = None;
            metrics::gauge!(CONTROL_DATABASE_AWAY).set(0.0);
        }
        drop(status);
        metrics::gauge!(CONTROL_LINK_UP).set(f64::from(u8::from(up)));
    }

    /// Notes since when the gateway's database is away, as it says over the link that is up, or that it is not.
    pub(crate) fn note_database(&self, away_since: Option<Timestamp>) {
        let mut status = self.status.lock();
        status.database_away = away_since;
        let is_news =
            std::mem::replace(&mut status.is_database_missed, away_since.is_some()) != away_since.is_some();
        drop(status);
        metrics::gauge!(CONTROL_DATABASE_AWAY).set(f64::from(u8::from(away_since.is_some())));
        if !is_news {
            return;
        }
        match away_since.map(|since| DatabaseAway { since }.to_string()) {
            Some(what) => {
                if let Some(more) = self.repeats.note("the gateway's database is away", Instant::now()) {
                    tracing::warn!(more = shown(more), "{what}");
                }
            }
            None => {
                if let Some(more) = self.repeats.note("the gateway's database is back", Instant::now()) {
                    tracing::info!(more = shown(more), "the gateway's database is back; what waited goes on");
                }
            }
        }
    }

    #[must_use]
    pub(crate) fn is_database_away(&self) -> bool {
        self.status.lock().database_away.is_some()
    }

    /// Remembers why the link is away; the same reason again is only remembered. `is_excused`: the gateway
    /// said that it stops, and that alone counts for a while.
    pub(crate) fn note_fault(&self, what: String, is_excused: bool) {
        if is_excused {
            tracing::debug!("the gateway is away: {what}");
            let fault = Fault { at: self.clock.now(), what: GATEWAY_STOPPED.into() };
            self.status.lock().last_error.get_or_insert(fault);
            return;
        }
        let mut status = self.status.lock();
        if status.last_error.as_ref().is_none_or(|fault| fault.what != what) {
            if self.stopping.is_begun() {
                tracing::debug!("the gateway is away: {what}");
            } else if let Some(more) = self.repeats.note("the gateway is away", Instant::now()) {
                tracing::warn!(more = shown(more), "the gateway is away: {what}");
            }
        }
        status.last_error = Some(Fault { at: self.clock.now(), what });
    }

    /// Remembers what the gateway said and was not taken; writes it down now and then.
    pub(crate) async fn note_rejected(&self, kind: Rejected, what: String) {
        let fault = Fault { at: self.clock.now(), what: what.clone() };
        if self.rejected.lock().note(kind, fault, Instant::now()) {
            tracing::warn!("not taken from the gateway: {what}");
            self.audit.note(AuditEntry::gateway_not_taken(self.clock.now(), &what)).await;
        }
    }

    /// Forgets the fault: the gateway said better since.
    pub(crate) fn clear_rejected(&self, kind: Rejected) {
        self.rejected.lock().clear(kind);
    }

    #[must_use]
    pub(crate) fn rejected(&self) -> Vec<Fault> {
        self.rejected.lock().all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    fn last_error(link: &GatewayLink) -> Option<String> {
        link.status().last_error.map(|fault| fault.what)
    }

    #[test]
    fn a_gateway_that_said_it_stops_is_at_fault_for_nothing_else_until_it_is_back() {
        let link = &Fixture::new().link;
        link.note_fault("refused".into(), true);
        link.note_fault("silent".into(), true);
        assert_eq!(last_error(link).as_deref(), Some(GATEWAY_STOPPED));
        link.note_up(true);
        assert_eq!(last_error(link), None);
        link.note_fault("silent".into(), false);
        assert_eq!(last_error(link).as_deref(), Some("silent"));
    }

    #[test]
    fn a_database_is_away_until_the_gateway_says_otherwise_or_nobody_says_it_any_more() {
        let link = &Fixture::new().link;
        let since = Timestamp::from_millis(1_795_510_800_000);
        link.note_up(true);
        assert!(!link.is_database_away());
        link.note_database(Some(since));
        link.note_database(Some(since));
        assert_eq!(link.status().database_away, Some(since));
        link.note_database(None);
        assert!(!link.is_database_away());
        link.note_database(Some(since));
        link.note_up(false);
        assert_eq!(link.status().database_away, None);
        assert!(link.status().is_database_missed, "that it is back is still to be logged");
        link.note_up(true);
        link.note_database(None);
        assert!(!link.status().is_database_missed);
    }

    #[tokio::test]
    async fn what_was_not_taken_is_shown_until_better_was_said() {
        let fixture = Fixture::new();
        for _ in 0..2 {
            fixture.link.note_rejected(Rejected::Leaf, "it is another's".into()).await;
        }
        assert_eq!(fixture.link.rejected().len(), 1);
        assert_eq!(fixture.audit_lines(), 1);
        fixture.link.clear_rejected(Rejected::Leaf);
        assert!(fixture.link.rejected().is_empty());
    }
}
