//! The promises of a connection's machine, to the millisecond; its whole table is in [`table`].

mod laws;
mod promises;
mod table;

use std::time::Duration;

use super::*;
use crate::domain::id::{BootId, KeyFingerprint};
use crate::domain::limits;
use crate::protocol::control::{Activity, ConfigMismatch, Rule, fixture};

pub(super) const KEY: KeyFingerprint = KeyFingerprint::from_bytes([1; 32]);
pub(super) const RUN: BootId = BootId::from_bytes([1; 8]);
pub(super) const OTHER_RUN: BootId = BootId::from_bytes([2; 8]);
pub(super) const STALL: Duration = Duration::from_secs(4);
pub(super) const STOP: Duration = Duration::from_secs(5);

/// A machine with its clock, at the start of 0 ms.
pub(super) struct Run {
    pub start: Instant,
    pub now: Instant,
    pub machine: ConnectionMachine,
    counts: PacketCounts,
}

impl Run {
    pub(super) fn new(side: Side) -> Self {
        let settings =
            ConnectionSettings { side, stall_limit: STALL, stop_limit: STOP, connections_max: 2, seed: 1 };
        let start = Instant::now();
        let counts = PacketCounts::default();
        Self { start, now: start, machine: ConnectionMachine::new(settings), counts }
    }

    /// A source that dials, or a target that is dialled.
    pub(super) fn active(side: Side) -> Self {
        let mut run = Self::new(side);
        let now = run.now;
        run.machine.handle_bound(now);
        run.machine.handle_policy(active(), now);
        run.machine.handle_secret(true, now);
        run.machine.handle_path(path(now), now);
        run
    }

    /// With its tunnel up, and the far Mirth there.
    pub(super) fn up(side: Side) -> Self {
        let mut run = Self::active(side);
        run.open();
        run
    }

    pub(super) fn open(&mut self) {
        let now = self.now;
        match self.machine.settings.side {
            Side::Source => {
                self.machine.handle_dialed(Ok(()), now);
                self.machine.handle_proven(Ok(proven()), now);
            }
            Side::Target => self.machine.handle_incoming(proven(), now),
        }
        self.machine.handle_upstream(Some(true), now);
        self.perform();
    }

    /// Does what the machine wants of the port; returns all it wants.
    pub(super) fn perform(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::OpenListener { .. } => self.machine.handle_listener(true),
                Action::CloseListener { .. } => self.machine.handle_listener(false),
                _ => {}
            }
            actions.push(action);
        }
        actions
    }

    /// Lets time pass from deadline to deadline; returns what was wanted, and after how many milliseconds.
    pub(super) fn run_for(&mut self, span: Duration) -> Vec<(u128, Action)> {
        let end = self.now + span;
        let mut dated = Vec::new();
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            let elapsed = (self.now - self.start).as_millis();
            dated.extend(self.perform().into_iter().map(|action| (elapsed, action)));
        }
        self.now = end;
        dated
    }

    /// The peer acknowledges something on the tunnel, and answers below QUIC.
    pub(super) fn hear(&mut self) {
        self.counts.answers += 1;
        self.machine.handle_counts(self.counts, self.now);
        self.machine.handle_path(path(self.now), self.now);
    }

    /// Lets time pass while the peer is heard every half second.
    pub(super) fn hear_for(&mut self, span: Duration) -> Vec<(u128, Action)> {
        let end = self.now + span;
        let mut dated = Vec::new();
        while self.now < end {
            dated.extend(self.run_for(Duration::from_millis(500).min(end - self.now)));
            self.hear();
            let elapsed = (self.now - self.start).as_millis();
            dated.extend(self.perform().into_iter().map(|action| (elapsed, action)));
        }
        dated
    }

    pub(super) fn state(&self) -> String {
        self.machine.status().state.to_string()
    }
}

pub(super) fn rule() -> Rule {
    Rule { cut_epoch: 3, ..fixture::rule(1) }
}

pub(super) fn active() -> Policy {
    Policy::Active(rule())
}

pub(super) fn paused() -> Policy {
    Policy::Paused(Rule { activity: Activity::Paused, ..rule() })
}

pub(super) fn proven() -> Proven {
    Proven { terms: Terms { peer_key: KEY, cut_epoch: 3 }, expires: None }
}

pub(super) fn path(heard: Instant) -> PeerPath {
    PeerPath { is_there: true, boot: Some(RUN), heard: Some(heard) }
}

/// What was wanted, without when.
pub(super) fn wanted(dated: &[(u128, Action)]) -> Vec<Action> {
    dated.iter().map(|(_, action)| action.clone()).collect()
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const OPEN: Action = Action::OpenListener { is_of_limit: false };
pub(super) const SHUT: Action = Action::CloseListener { is_of_limit: false };

pub(super) const fn reopen_after() -> u128 {
    limits::PORT_REOPEN_AFTER.as_millis()
}
