//! What is true of a connection now, as people, the gateway and the metrics are told it. One task writes it,
//! the connection's own; all others read it.

use std::time::Duration;

use tokio::sync::watch;

use super::upstream::UpstreamState;
use crate::stats::{Fault, TimedFlag};
use adit_core::domain::connection::Side;
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::connection::{ConnectionView, Full};
use adit_core::protocol::route::PathReason;

/// What is true of a connection now, read as a whole.
#[derive(Debug, Clone, Default)]
pub struct ConnectionStatus {
    /// The word of its policy, for people.
    pub policy: &'static str,
    /// Since when one of the two agents stops.
    pub stopping: Option<Timestamp>,
    pub route: Option<String>,
    pub tunnel: Option<TunnelStatus>,
    /// Whether the target's Mirth answers: measured on the target, told to the source.
    pub mirth: TimedFlag,
    pub port_open: bool,
    /// The port is closed because as many connections are open as may be.
    pub full: Option<Full>,
    /// What keeps it from carrying, as the machine sees it.
    pub fault: Option<SideFault>,
    pub streams: usize,
    pub last_error: Option<Fault>,
    /// What is known of the managed Mirth; at a target alone.
    pub upstream: UpstreamState,
    /// Whether messages or requests could pass when it was looked at last.
    works: bool,
}

/// The tunnel of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelStatus {
    pub since: Timestamp,
    /// The peer is not heard, so that nothing new may begin; found out at this time.
    pub silent_since: Option<Timestamp>,
    /// How its packets go; `None` until that is known.
    pub path: Option<PathKind>,
    pub why: Option<PathReason>,
    /// How often packets have taken another path since this agent wanted the peer.
    pub path_changes: u64,
    pub rtt: Duration,
    pub packets_sent: u64,
    pub packets_lost: u64,
}

impl ConnectionStatus {
    /// Notes whether the connection works now. What went wrong before it began to is over, and stays in the
    /// log and the audit alone.
    fn judge(&mut self, at_target: bool) {
        let problem = self.health(at_target).problem();
        // At its limit it carries as much as it may.
        self.note_works(problem.is_none_or(|problem| problem.lets_pass() || problem.is_full()));
    }

    fn note_works(&mut self, works: bool) {
        if works && !self.works {
            self.last_error = None;
        }
        self.works = works;
    }

    /// Remembers a fault; returns whether it differs from the last one, so that a repeated one is logged once.
    fn note_fault(&mut self, fault: Fault) -> bool {
        let is_new = self.last_error.as_ref().is_none_or(|last| last.what != fault.what);
        self.last_error = Some(fault);
        is_new
    }

    fn lose_tunnel(&mut self) {
        self.tunnel = None;
        self.streams = 0;
        self.full = None;
        self.stopping = None;
        self.works = false;
    }

    /// Returns whether there is a tunnel whose peer is heard.
    #[must_use]
    pub fn is_peer_heard(&self) -> bool {
        self.tunnel.is_some_and(|tunnel| tunnel.silent_since.is_none())
    }
}

/// Writes the status of one connection; there is one of it.
#[derive(Debug)]
pub(crate) struct StatusWriter {
    status: watch::Sender<ConnectionStatus>,
    side: Side,
}

impl StatusWriter {
    #[must_use]
    pub(crate) fn new(side: Side) -> Self {
        Self { status: watch::Sender::default(), side }
    }

    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<ConnectionStatus> {
        self.status.subscribe()
    }

    /// Takes what the machine says.
    pub(super) fn follow(&self, view: &ConnectionView<'_>, is_draining: bool, now: Timestamp) {
        self.status.send_modify(|status| {
            status.policy = view.policy.as_str();
            status.stopping = is_draining.then(|| status.stopping.unwrap_or(now));
            status.port_open = view.is_port_open;
            status.full = view.full;
            status.fault = view.fault;
            if self.side == Side::Source {
                status.mirth.set(view.upstream, now);
            }
            status.judge(self.side == Side::Target);
        });
    }

    /// Takes what was measured of the tunnel. A path that was forgotten leaves the tunnel to its end.
    pub(super) fn measure(&self, tunnel: TunnelStatus, streams: usize) {
        self.status.send_modify(|status| {
            let path = tunnel.path.or(status.tunnel.and_then(|before| before.path));
            let before = status.tunnel.and_then(|before| before.silent_since);
            let silent_since = tunnel.silent_since.map(|now| before.unwrap_or(now));
            status.tunnel = Some(TunnelStatus { silent_since, path, ..tunnel });
            status.streams = streams;
        });
    }

    pub(super) fn lose_tunnel(&self) {
        self.status.send_modify(ConnectionStatus::lose_tunnel);
    }

    pub(super) fn set_route(&self, route: String) {
        self.status.send_modify(|status| status.route = Some(route));
    }

    /// Takes what is known of the Mirth beside the target.
    pub(super) fn set_upstream(&self, upstream: UpstreamState, now: Timestamp) {
        self.status.send_modify(|status| {
            status.mirth.set(upstream.answers, now);
            status.upstream = upstream;
        });
    }

    /// Remembers a fault; returns whether it is another than the last.
    pub(super) fn note_fault(&self, fault: Fault) -> bool {
        let mut is_new = false;
        self.status.send_modify(|status| is_new = status.note_fault(fault));
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(what: &str) -> Fault {
        Fault { at: Timestamp::from_millis(0), what: what.into() }
    }

    fn last_fault_after(works: &[bool]) -> Option<String> {
        let mut status = ConnectionStatus::default();
        for (number, works) in works.iter().enumerate() {
            status.note_fault(fault(&format!("fault {number}")));
            status.note_works(*works);
        }
        status.last_error.map(|fault| fault.what)
    }

    #[test]
    fn a_fault_from_before_the_connection_worked_is_over_once_it_works() {
        assert_eq!(last_fault_after(&[false, false]).as_deref(), Some("fault 1"));
        assert_eq!(last_fault_after(&[false, true]), None);
        assert_eq!(last_fault_after(&[true, false, true]), None);
    }

    #[test]
    fn a_fault_of_a_connection_that_works_stays_until_it_recovered() {
        assert_eq!(last_fault_after(&[true, true]).as_deref(), Some("fault 1"));
        let mut status = ConnectionStatus::default();
        status.note_works(true);
        status.note_fault(fault("the tunnel ended"));
        status.lose_tunnel();
        assert!(status.last_error.is_some());
        status.note_works(true);
        assert_eq!(status.last_error, None);
    }

    #[test]
    fn a_path_that_nobody_knows_is_none_and_one_that_was_known_stays() {
        let writer = StatusWriter::new(Side::Source);
        let reader = writer.subscribe();
        let tunnel = |path, silent_at: Option<i64>| TunnelStatus {
            since: Timestamp::from_millis(1),
            silent_since: silent_at.map(Timestamp::from_millis),
            path,
            why: None,
            path_changes: 0,
            rtt: Duration::ZERO,
            packets_sent: 0,
            packets_lost: 0,
        };
        let seen = || reader.borrow().tunnel.map(|tunnel| (tunnel.path, tunnel.silent_since));
        writer.measure(tunnel(None, None), 0);
        assert_eq!(seen(), Some((None, None)));
        writer.measure(tunnel(Some(PathKind::Relay), Some(5)), 0);
        writer.measure(tunnel(None, Some(6)), 0);
        assert_eq!(seen(), Some((Some(PathKind::Relay), Some(Timestamp::from_millis(5)))));
        writer.lose_tunnel();
        assert_eq!(seen(), None);
    }
}
