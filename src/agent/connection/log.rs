//! What people hear of a connection: its faults, and at DEBUG where it is in its life and why.

use std::time::Instant;

use super::downstream::Downstream;
use super::{ConnectionDriver, End};
use crate::stats::Fault;
use adit_core::protocol::connection::{ConnectionState, EndReason, Report, Session};
use adit_core::protocol::repeat_limiter::shown;
use adit_net::identity::time::TimeSource;

const WAITS_FOR_SECRET: &str =
    "the connection's secret is not here; it comes over the link to the gateway, so see that it is up";
const WAITS_FOR_PATH: &str = "the peer's agent does not answer; it must run, and both agents must reach the gateway, by UDP or \
    by TCP 443, which relays; where `path` or `prefer` allows only the direct one, name a port with `listen`, let it in \
    at the firewall, and behind NAT add `direct_addresses`";
const PEER_STOPPED: &str = "the peer's agent was stopped; the tunnel comes back with it";
const STAYS_AWAY: &str =
    "the peer's agent was stopped and has not come back; ask the partner whether it should run";

/// What the log heard last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    state: String,
    policy: &'static str,
    may_port_open: bool,
    is_silent: bool,
}

impl ConnectionDriver {
    pub(super) fn report(&mut self, report: Report) {
        let now = Instant::now();
        match report {
            Report::Up => self.entry.log_up(),
            Report::Ended { why, is_announced } => self.report_end(&why, is_announced),
            Report::DialFailed { what, is_excused: true } => {
                tracing::debug!(connection = %self.entry.config.name, "{what}");
            }
            Report::DialFailed { what, is_excused: false } => self.note_fault(&what),
            Report::WaitsForSecret => self.note_fault(WAITS_FOR_SECRET),
            Report::WaitsForPath => self.note_fault(WAITS_FOR_PATH),
            Report::StaysAway => self.note_fault(STAYS_AWAY),
            Report::PeerStops => {
                let (connection, waiting) = (&self.entry.config.name, self.entry.stats.waiting());
                tracing::info!(
                    %connection, waiting,
                    "the peer's agent is stopping, so the port is closed; what somebody waits for may end"
                );
            }
            Report::Overdue => {
                let waiting = self.entry.stats.waiting();
                tracing::debug!(waiting, "the time to end in order is over; what is left is reset");
                self.parts.stopping.note_reset(waiting);
            }
            Report::Full => self.entry.stats.note_full(),
            Report::LimitReached => self.with_downstream(|downstream| downstream.log_limit_reached(now)),
            Report::PeerFull => self.with_downstream(|downstream| downstream.log_peer_full(now)),
        }
    }

    fn with_downstream(&mut self, act: impl FnOnce(&mut Downstream)) {
        if let End::Source(downstream) = &mut self.end {
            act(downstream);
        }
    }

    fn report_end(&self, why: &EndReason, is_announced: bool) {
        tracing::debug!(%why, is_announced, "the tunnel has ended");
        if !is_announced {
            return self.note_fault(&format!("the tunnel ended: {why}"));
        }
        self.status.note_fault(self.fault(PEER_STOPPED.into()));
        tracing::info!(connection = %self.entry.config.name, "{PEER_STOPPED}");
    }

    pub(super) fn fault(&self, what: String) -> Fault {
        Fault { at: self.parts.clock.now(), what }
    }

    pub(super) fn note_fault(&self, what: &str) {
        self.log_fault(self.fault(what.into()));
    }

    /// Remembers and logs what went wrong; the same again is only remembered.
    pub(super) fn log_fault(&self, fault: Fault) {
        let (connection, what) = (&self.entry.config.name, fault.what.clone());
        let is_new = self.status.note_fault(fault);
        if is_new && self.parts.stopping.is_begun() {
            tracing::debug!(%connection, "{what}");
        } else if is_new && let Some(more) = self.entry.repeats.note(&what, Instant::now()) {
            tracing::warn!(%connection, more = shown(more), "{what}");
        }
    }

    /// Says where the connection is in its life, where that is new, and by what.
    pub(super) fn log_changes(&mut self) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let view = self.machine.status();
        let session = self.machine.session();
        let is_silent = session.is_some_and(Session::is_silent);
        let silent_for = session.map(|session| session.silent_for(Instant::now()));
        let silent_ms = silent_for.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
        let (policy, peer_mirth) = (view.policy.as_str(), view.upstream);
        let path = self.path.borrow().path.map(tracing::field::display);
        if view.may_port_open != self.said.may_port_open {
            let ends = self.machine.is_draining();
            tracing::debug!(policy, peer_mirth, silent_ms, ends, "whether the port may be open has changed");
        }
        if is_silent != self.said.is_silent
            && let Some(live) = &self.live
        {
            let measured = live.connection().measured();
            let (sent, lost, rtt) = (measured.packets_sent, measured.packets_lost, measured.rtt);
            tracing::debug!(
                is_silent,
                silent_ms,
                path,
                sent,
                lost,
                ?rtt,
                "whether the peer is heard has changed"
            );
        }
        let state = view.state.to_string();
        if state != self.said.state || policy != self.said.policy {
            log_state(&self.said.state, view.state, policy, path.is_some(), Instant::now());
        }
        self.said = Said { state, policy, may_port_open: view.may_port_open, is_silent };
    }
}

/// Says that the connection is somewhere else in its life.
fn log_state(before: &str, state: &ConnectionState, policy: &str, has_path: bool, now: Instant) {
    let unsaid = match state {
        ConnectionState::WaitingForPath => WAITS_FOR_PATH,
        ConnectionState::Idle { why } => why.as_str(),
        ConnectionState::Mismatch { .. } | ConnectionState::Ended => "the rules do not let it carry",
        ConnectionState::Backoff { until } => {
            let pause = until.saturating_duration_since(now);
            return tracing::debug!(
                before,
                policy,
                has_path,
                ?pause,
                "the peer is dialled again after this pause, or once its agent was restarted"
            );
        }
        ConnectionState::Dialing { .. }
        | ConnectionState::Proving { .. }
        | ConnectionState::Up(_)
        | ConnectionState::Draining { .. }
        | ConnectionState::Stopped => {
            return tracing::debug!(before, %state, policy, has_path, "the connection goes on");
        }
    };
    tracing::debug!(before, %state, policy, has_path, why = unsaid, "the peer is not dialled");
}
