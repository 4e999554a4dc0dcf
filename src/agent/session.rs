//! Keeps an open tunnel for as long as it may and can live, and says why it ended.
//!
//! Liveness is measured by what the peer says of what it heard from us (`protocol::liveness`), never
//! by QUIC's own idle timer nor by what merely arrives: silence for the stall limit cuts every open
//! socket (DESIGN §5), and where packets pass in one direction only, both ends are silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::context::Context;
use super::entries::LiveConnection;
use super::policy;
use super::stats::TunnelStatus;
use super::tunnels::Admitted;
use adit_core::config::agent::Entry;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, KeyFingerprint};
use adit_core::domain::limits;
use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::frame::Code;
use adit_core::protocol::liveness::Liveness;
use adit_core::protocol::rules::RuleBook;
use adit_net::identity::time::TimeSource;
use adit_net::transport::congestion::PathHandle;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::routes::PathState;
use adit_net::transport::tunnel::Tunnel;

/// How often a live tunnel is checked.
const HEALTH_CHECK_EVERY: Duration = Duration::from_millis(250);

/// A tunnel in use, with what its liveness is judged by.
pub(crate) struct TunnelSession {
    pub tunnel: Arc<Tunnel>,
    terms: Terms,
    /// When the peer's leaf expires, by a clock that no word of the gateway moves.
    expires: Option<Instant>,
    path_state: watch::Receiver<PathState>,
    boot: Option<BootId>,
    liveness: Liveness,
    is_silent: bool,
    /// Counts what the peer acknowledges.
    path: Option<Arc<PathHandle>>,
    since: Timestamp,
}

/// What a tunnel was admitted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub peer_key: KeyFingerprint,
    pub cut_epoch: u32,
}

impl Terms {
    /// Returns why a tunnel of `entry` must end under the rules of now; `known` is the key that is known now.
    #[must_use]
    pub fn broken(
        self,
        entry: &Entry,
        side: Side,
        rules: &RuleBook,
        known: Option<KeyFingerprint>,
    ) -> Option<&'static str> {
        if rules.is_revoked(self.peer_key) {
            return Some("the peer's certificate was revoked");
        }
        if entry.peer_key.or(known).is_some_and(|known| known != self.peer_key) {
            return Some("another key of the peer is trusted now");
        }
        let policy = policy::of(entry, side, rules);
        if !policy.keeps_tunnel() {
            return Some("the connection is no longer active");
        }
        let cut = policy.rule().is_some_and(|rule| rule.cut_epoch != self.cut_epoch);
        cut.then_some("the connection was disconnected by one of its parties")
    }
}

/// What a check of a tunnel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthCheck {
    /// Heard so long ago.
    Alive { silent_for: Duration },
    /// It must be closed with this code, for this reason.
    Over(Code, &'static str),
}

impl TunnelSession {
    pub(crate) fn new(context: &Context, admitted: &Admitted) -> Self {
        let path_state = context.routes.path_state(admitted.peer);
        let boot = path_state.borrow().boot;
        let now = context.clock.now();
        Self {
            tunnel: Arc::clone(&admitted.tunnel),
            terms: admitted.terms,
            expires: Instant::now().checked_add(admitted.peer_expires.since(now)),
            path_state,
            boot,
            liveness: Liveness::new(Instant::now()),
            is_silent: false,
            path: admitted.tunnel.connection().path(),
            since: now,
        }
    }

    #[must_use]
    pub(crate) fn connection(&self) -> &Connection {
        self.tunnel.connection()
    }

    /// Returns whether a TCP connection may start on it. Asked for each: rules may have changed since the
    /// last check.
    #[must_use]
    pub(crate) fn may_start(&self, context: &Context, entry: &LiveConnection) -> bool {
        let rules = context.rules();
        let policy = policy::of(&entry.config, entry.side, &rules);
        policy.is_active() && self.broken(context, entry, &rules).is_none()
    }

    /// Judges the tunnel by what was heard and by the rules.
    pub(crate) fn supervise(
        &mut self,
        context: &Context,
        entry: &LiveConnection,
        rules: &RuleBook,
    ) -> HealthCheck {
        if let Some(why) = self.broken(context, entry, rules) {
            return HealthCheck::Over(Code::Ended, why);
        }
        let now = Instant::now();
        if self.expires.is_some_and(|at| now > at) {
            return HealthCheck::Over(
                Code::Ended,
                "the peer's certificate expired; it opens the tunnel anew with its renewed one",
            );
        }
        if let Some(path) = &self.path {
            self.liveness.note_counts(self.connection().counts(path), now);
        }
        let path_state = *self.path_state.borrow();
        path_state.heard.inspect(|heard| self.liveness.note_heard(*heard));
        // A restarted peer knows nothing of this tunnel, and cannot tell us so.
        match (self.boot, path_state.boot) {
            (Some(before), Some(after)) if before != after => {
                return HealthCheck::Over(Code::Ended, "the peer's agent was restarted");
            }
            (None, boot) => self.boot = boot,
            _ => {}
        }
        let silent_for = self.liveness.silent_for(now);
        self.note_silence(silent_for);
        if silent_for >= entry.config.stall_limit {
            return HealthCheck::Over(Code::Stalled, "the peer's agent was silent for the stall limit");
        }
        if self.liveness.is_forgotten(now) {
            return HealthCheck::Over(
                Code::Stalled,
                "the peer's agent is heard but knows nothing of the tunnel",
            );
        }
        if self.liveness.pings_at().is_some_and(|at| at <= now) {
            tracing::debug!(
                ?silent_for,
                "the peer is heard and does not answer on the tunnel, so it is asked again"
            );
            self.liveness.note_pinged(now);
            self.connection().note_path_change();
            context.routes.want_ping();
        }
        HealthCheck::Alive { silent_for }
    }

    /// Says when the peer falls silent, and when it is heard again.
    fn note_silence(&mut self, silent_for: Duration) {
        let is_silent = silent_for >= limits::TUNNEL_SILENCE;
        if std::mem::replace(&mut self.is_silent, is_silent) != is_silent {
            let (path_state, measured) = (*self.path_state.borrow(), self.connection().measured());
            let path = path_state.path.map(tracing::field::display);
            let (sent, lost, rtt) = (measured.packets_sent, measured.packets_lost, measured.rtt);
            tracing::debug!(
                is_silent,
                ?silent_for,
                path,
                sent,
                lost,
                ?rtt,
                "whether the peer is heard has changed"
            );
        }
    }

    fn broken(&self, context: &Context, entry: &LiveConnection, rules: &RuleBook) -> Option<&'static str> {
        let known = context.known_key(entry.config.id).map(|known| known.key);
        self.terms.broken(&entry.config, entry.side, rules, known)
    }

    /// Writes what is true of the tunnel into the entry's record.
    pub(crate) fn record(&self, context: &Context, entry: &LiveConnection, silent_for: Duration) {
        let measured = self.connection().measured();
        let path_state = *self.path_state.borrow();
        let mut status = entry.stats.status();
        status.streams = self.tunnel.streams_open();
        let before = status.tunnel.and_then(|tunnel| tunnel.silent_since);
        let silent_since = before.unwrap_or_else(|| context.clock.now());
        status.tunnel = Some(TunnelStatus {
            since: self.since,
            silent_since: (silent_for >= limits::TUNNEL_SILENCE).then_some(silent_since),
            // A path that was forgotten leaves the tunnel to its end.
            path: path_state.kind().or(status.tunnel.map(|tunnel| tunnel.path)).unwrap_or(PathKind::Direct),
            why: path_state.why,
            path_changes: path_state.changes,
            rtt: measured.rtt,
            packets_sent: measured.packets_sent,
            packets_lost: measured.packets_lost,
        });
    }
}

/// Returns the ticks at which a live tunnel is checked.
#[must_use]
pub(crate) fn health_checks() -> tokio::time::Interval {
    let mut health_checks = interval(HEALTH_CHECK_EVERY);
    health_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    health_checks
}

/// When the source's port may be open: the far Mirth answers and its agent is heard. Reopening
/// waits for health that lasts (DESIGN §5).
#[derive(Debug, Default)]
pub(crate) struct PortHealth {
    closed_before: bool,
    healthy_since: Option<Instant>,
}

impl PortHealth {
    /// Returns whether the port may be open now.
    pub(crate) fn judge(&mut self, is_healthy: bool, now: Instant) -> bool {
        if !is_healthy {
            self.closed_before = self.closed_before || self.healthy_since.is_some();
            self.healthy_since = None;
            return false;
        }
        let since = *self.healthy_since.get_or_insert(now);
        !self.closed_before || now.saturating_duration_since(since) >= limits::PORT_REOPEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{entry, rule};
    use adit_core::protocol::control::{Activity, Change, Rule};

    const KEY: KeyFingerprint = KeyFingerprint::from_bytes([1; 32]);
    const OTHER: KeyFingerprint = KeyFingerprint::from_bytes([2; 32]);
    const TERMS: Terms = Terms { peer_key: KEY, cut_epoch: 3 };

    fn book(rule: Rule) -> RuleBook {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, vec![rule], Vec::new());
        book
    }

    #[test]
    fn a_tunnel_ends_only_by_what_forbids_it() {
        let with = |activity, cut_epoch| book(Rule { activity, cut_epoch, ..rule(1) });
        let changed = |change| {
            let mut book = with(Activity::Active, 3);
            book.apply_change(2, change).unwrap();
            book
        };
        let connection = entry(1).id;
        let fine = None;
        let inactive = Some("the connection is no longer active");
        for (what, rules, known, expected) in [
            ("active", with(Activity::Active, 3), Some(KEY), fine),
            ("paused", with(Activity::Paused, 3), Some(KEY), fine),
            ("another's key revoked", changed(Change::Revoked { key: OTHER }), Some(KEY), fine),
            ("no known key", with(Activity::Active, 3), None, fine),
            ("ready", with(Activity::Ready, 3), Some(KEY), inactive),
            ("no rule", RuleBook::default(), Some(KEY), inactive),
            ("not listed", changed(Change::Unlisted { connection }), Some(KEY), inactive),
            ("ended", changed(Change::Ended { connection }), Some(KEY), inactive),
            ("a mismatch", book(Rule { side: Side::Target, ..rule(1) }), Some(KEY), inactive),
            (
                "cut",
                with(Activity::Active, 4),
                Some(KEY),
                Some("the connection was disconnected by one of its parties"),
            ),
            (
                "another count of cuts, of a gateway that was restored",
                with(Activity::Active, 2),
                Some(KEY),
                Some("the connection was disconnected by one of its parties"),
            ),
            (
                "revoked",
                changed(Change::Revoked { key: KEY }),
                Some(KEY),
                Some("the peer's certificate was revoked"),
            ),
            (
                "another key trusted",
                with(Activity::Active, 3),
                Some(OTHER),
                Some("another key of the peer is trusted now"),
            ),
        ] {
            assert_eq!(TERMS.broken(&entry(1), Side::Source, &rules, known), expected, "{what}");
        }
    }

    #[test]
    fn the_key_in_the_file_counts_more_than_the_one_met() {
        let rules = book(Rule { cut_epoch: TERMS.cut_epoch, ..rule(1) });
        let with = |peer_key| Entry { peer_key, ..entry(1) };
        let broken = |peer_key, known| TERMS.broken(&with(peer_key), Side::Source, &rules, known).is_some();
        assert!(!broken(Some(KEY), Some(OTHER)));
        assert!(broken(Some(OTHER), Some(KEY)));
    }

    #[test]
    fn only_a_port_that_reopens_waits_for_two_seconds_of_health() {
        let start = Instant::now();
        let mut health = PortHealth::default();
        assert!(!health.judge(false, start));
        assert!(health.judge(true, start));
        assert!(!health.judge(false, start + Duration::from_secs(1)));
        assert!(!health.judge(true, start + Duration::from_secs(2)));
        assert!(!health.judge(true, start + Duration::from_millis(3_999)));
        assert!(health.judge(true, start + Duration::from_secs(4)));
    }

    #[test]
    fn a_flap_starts_the_wait_anew() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut health = PortHealth::default();
        health.judge(true, start);
        health.judge(false, at(100));
        assert!(!health.judge(true, at(200)));
        health.judge(false, at(2_100));
        assert!(!health.judge(true, at(2_300)));
        assert!(health.judge(true, at(4_300)));
    }
}
