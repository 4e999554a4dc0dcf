//! The life of one connection of an agent's file at one of its ends: waited for, dialled, proven, up, drained,
//! tried again.
//!
//! Both sides are this one machine: the source dials, and has the port that people or a Mirth connect to; the
//! target is dialled, and has the Mirth behind it. It is told what happens and what time it is, and asked what to
//! do; sockets, tasks and the log are its driver's. Whether the tunnel's peer is silent is judged by what was
//! counted and heard so far, so its driver says that before it says that time has passed.

mod absence;
mod action;
mod fault;
mod policy;
mod port;
mod redial;
mod session;
mod state;

use std::collections::VecDeque;
use std::time::Instant;

pub use self::action::{Action, Audited, DialFailure, EndReason, Report};
pub use self::policy::{Policy, word};
pub use self::port::Full;
pub use self::session::{PeerKey, Proven, Session, Terms};
pub use self::state::{ConnectionSettings, ConnectionState, ConnectionView, IdleReason, Mismatch, PeerPath};

use self::absence::Absence;
use self::port::Port;
use self::redial::Redial;
use super::control::PeerRefusal;
use super::frame::Code;
use super::liveness::PacketCounts;
use crate::domain::connection::Side;
use crate::domain::limits::{
    STOP_HEARD_WITHIN, STOP_REST_AFTER, TUNNEL_HANDSHAKE_TIMEOUT, TUNNEL_OPEN_TIMEOUT, WAIT_UNSAID_MAX,
};
use crate::domain::side_fault::SideFault;

/// The machine; see the module.
#[derive(Debug)]
pub struct ConnectionMachine {
    settings: ConnectionSettings,
    state: ConnectionState,
    policy: Policy,
    /// The port is this process's own.
    is_bound: bool,
    has_secret: bool,
    path: PeerPath,
    upstream: Option<bool>,
    /// TCP connections that are carried now.
    streams: usize,
    port: Port,
    redial: Redial,
    absence: Absence,
    /// Why the last dial brought no tunnel, at either side.
    failure: Option<SideFault>,
    /// Since when something is waited for that nobody was told of.
    waits_since: Option<Instant>,
    /// Since when this agent stops.
    stop: Option<Instant>,
    actions: VecDeque<Action>,
}

impl ConnectionMachine {
    #[must_use]
    pub fn new(settings: ConnectionSettings) -> Self {
        Self {
            state: ConnectionState::Idle { why: IdleReason::NoRule },
            policy: Policy::Unknown,
            is_bound: false,
            has_secret: false,
            path: PeerPath::default(),
            upstream: None,
            streams: 0,
            port: Port::new(settings.connections_max),
            redial: Redial::new(settings.seed),
            absence: Absence::default(),
            failure: None,
            waits_since: None,
            stop: None,
            actions: VecDeque::new(),
            settings,
        }
    }

    // What happens.

    /// Takes what rules and file let the connection do.
    pub fn handle_policy(&mut self, policy: Policy, now: Instant) {
        if self.policy != policy {
            self.failure = None;
        }
        self.policy = policy;
        self.advance(now);
    }

    /// Takes whether the secret that the rule asks for is here.
    pub fn handle_secret(&mut self, is_here: bool, now: Instant) {
        self.has_secret = is_here;
        self.advance(now);
    }

    /// Takes what is true of the key that the tunnel's peer has shown.
    pub fn handle_key(&mut self, key: PeerKey, now: Instant) {
        if let Some(session) = self.session_mut() {
            session.set_key(key);
        }
        self.advance(now);
    }

    /// Takes the path to the peer's agent as it is now.
    pub fn handle_path(&mut self, path: PeerPath, now: Instant) {
        self.path = path;
        self.redial.note_run(path.boot);
        if let Some(session) = self.session_mut() {
            session.hear(path, now);
        }
        if let ConnectionState::Dialing { .. } | ConnectionState::Proving { .. } = self.state
            && self.redial.is_other_run(path.boot)
        {
            self.fail(DialFailure::away("the peer's agent was restarted meanwhile".into()), now);
        }
        self.advance(now);
    }

    /// Takes how the QUIC handshake that [`Action::Dial`] asked for has ended.
    pub fn handle_dialed(&mut self, outcome: Result<(), DialFailure>, now: Instant) {
        let ConnectionState::Dialing { attempt, .. } = self.state else { return };
        match outcome {
            Ok(()) => {
                self.state = ConnectionState::Proving { attempt, until: now + TUNNEL_OPEN_TIMEOUT };
                self.act(Action::Prove);
            }
            Err(failure) => self.fail(failure, now),
        }
        self.advance(now);
    }

    /// Takes how the exchange of proofs that [`Action::Prove`] asked for has ended.
    pub fn handle_proven(&mut self, outcome: Result<Proven, DialFailure>, now: Instant) {
        let ConnectionState::Proving { .. } = self.state else { return };
        match outcome {
            Ok(proven) => self.begin(proven, now),
            Err(failure) => self.fail(failure, now),
        }
        self.advance(now);
    }

    /// Takes a tunnel that the target's peer has opened and proven. A newer one replaces an older.
    pub fn handle_incoming(&mut self, proven: Proven, now: Instant) {
        if self.settings.side == Side::Source || matches!(self.state, ConnectionState::Stopped) {
            return;
        }
        self.end(Some(Code::Ended), EndReason::Replaced, now);
        self.begin(proven, now);
        self.advance(now);
    }

    /// Takes that the target has refused the peer that dialled.
    pub fn handle_refused(&mut self, refusal: PeerRefusal) {
        if self.session().is_none() {
            self.failure = fault::of_refusal(refusal);
        }
    }

    /// Takes what QUIC has counted on the tunnel by now.
    pub fn handle_counts(&mut self, counts: PacketCounts, now: Instant) {
        if let Some(session) = self.session_mut() {
            session.count(counts, now);
        }
        self.advance(now);
    }

    /// Takes that the tunnel has ended by itself; `is_goodbye`: the peer took its leave.
    pub fn handle_lost(&mut self, why: String, is_goodbye: bool, now: Instant) {
        if let Some(session) = self.session_mut() {
            session.is_farewell |= is_goodbye;
        }
        self.end(None, EndReason::Lost(why), now);
        self.advance(now);
    }

    /// Takes whether the target's Mirth answers: at the source its agent says so.
    pub fn handle_upstream(&mut self, answers: Option<bool>, now: Instant) {
        let is_news = std::mem::replace(&mut self.upstream, answers) != answers;
        if is_news && self.session().is_some() {
            self.tell_upstream();
        }
        self.advance(now);
    }

    /// Takes how many TCP connections are carried now.
    pub fn handle_streams(&mut self, streams: usize, now: Instant) {
        if self.session().is_some() {
            self.streams = streams;
            self.advance(now);
        }
    }

    /// Takes that one of the source's has ended, and how many are left; `is_full_there`: the peer's agent had
    /// no place for it.
    pub fn handle_ended(&mut self, is_full_there: bool, streams: usize, now: Instant) {
        if !self.has_port() {
            return;
        }
        self.streams = streams;
        if self.port.handle_ended(is_full_there && streams > 0, now) {
            self.act(Action::Report(Report::PeerFull));
        }
        self.advance(now);
    }

    /// Takes that the host ran out of something, so that the port can accept nothing.
    pub fn handle_starved(&mut self, now: Instant) {
        if self.has_port() {
            self.port.handle_starved(now);
            self.advance(now);
        }
    }

    /// Takes that the source's port is this process's own, though closed. Nothing is dialled before.
    pub fn handle_bound(&mut self, now: Instant) {
        self.is_bound = true;
        self.advance(now);
    }

    /// Takes whether the port is open, after [`Action::OpenListener`] or [`Action::CloseListener`]. One that
    /// could not be opened or closed is asked for again with what happens next.
    pub fn handle_listener(&mut self, is_open: bool) {
        self.port.set_open(is_open);
    }

    /// Takes that the peer's agent stops.
    pub fn handle_peer_stopping(&mut self, now: Instant) {
        self.drain(now);
        self.advance(now);
    }

    /// Takes that this agent stops since `since`, or this connection alone does. Said again, nothing changes.
    pub fn handle_stop(&mut self, since: Instant, now: Instant) {
        if self.stop.is_none() {
            self.stop = Some(since);
            if let ConnectionState::Dialing { .. } = self.state {
                self.act(Action::Close(Code::Goodbye));
                self.state = ConnectionState::Idle { why: IdleReason::NoRule };
            }
            if self.session().is_some() {
                self.act(Action::SendStopping);
                self.drain(now);
            }
        }
        self.advance(now);
    }

    /// Takes that time has passed. What was counted on the tunnel and heard of its peer is said before.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            ConnectionState::Dialing { until, .. } if *until <= now => {
                self.fail(DialFailure::unanswered(TUNNEL_HANDSHAKE_TIMEOUT), now);
            }
            ConnectionState::Proving { until, .. } if *until <= now => {
                self.fail(DialFailure::unanswered(TUNNEL_OPEN_TIMEOUT), now);
            }
            _ => {}
        }
        let stall_limit = self.settings.stall_limit;
        if let Some((code, why)) = self.session_mut().and_then(|session| session.judge(stall_limit, now)) {
            self.end(Some(code), why, now);
        }
        if self.session_mut().is_some_and(|session| session.takes_ping(now)) {
            self.act(Action::Ping);
        }
        self.speak_up(now);
        self.advance(now);
    }

    // What to do.

    /// Returns when [`Self::handle_timeout`] is due, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.state {
            ConnectionState::Dialing { until, .. }
            | ConnectionState::Proving { until, .. }
            | ConnectionState::Backoff { until } => Some(*until),
            ConnectionState::Up(session) => Some(session.poll_timeout(self.settings.stall_limit)),
            ConnectionState::Draining { session, since } => {
                let judged = session.poll_timeout(self.settings.stall_limit);
                self.drained_at(*since).into_iter().chain([judged]).min()
            }
            ConnectionState::Idle { .. }
            | ConnectionState::WaitingForPath
            | ConnectionState::Mismatch { .. }
            | ConnectionState::Ended
            | ConnectionState::Stopped => None,
        };
        let port = self.session().and_then(|_| self.port.poll_timeout());
        own.into_iter().chain(port).chain(self.speaks_up_at()).min()
    }

    /// Returns the next thing to do; asked until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    #[must_use]
    pub fn status(&self) -> ConnectionView<'_> {
        ConnectionView {
            state: &self.state,
            policy: &self.policy,
            upstream: match (self.settings.side, self.session()) {
                (Side::Source, Some(session)) if session.is_silent() => None,
                _ => self.upstream,
            },
            is_port_open: self.port.is_open,
            may_port_open: self.port.may_open,
            full: self.port.full,
            fault: self.fault(),
        }
    }

    /// Returns the tunnel, if one is up.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        match &self.state {
            ConnectionState::Up(session) | ConnectionState::Draining { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Returns whether a TCP connection may start on the tunnel.
    #[must_use]
    pub fn may_start(&self) -> bool {
        self.policy.is_active()
            && self.session().is_some_and(|session| session.broken(&self.policy).is_none())
    }

    /// Returns whether one of the two agents stops: nothing may begin.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self.state, ConnectionState::Draining { .. })
    }

    // How the state moves.

    const fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            ConnectionState::Up(session) | ConnectionState::Draining { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Whether a port may be open.
    fn has_port(&self) -> bool {
        self.settings.side == Side::Source && self.session().is_some()
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Does what follows from what is known.
    fn advance(&mut self, now: Instant) {
        if let Some(why) = self.session().and_then(|session| session.broken(&self.policy)) {
            self.end(Some(Code::Ended), why, now);
        }
        self.end_drained(now);
        self.steer_port(now);
        if let ConnectionState::Idle { .. }
        | ConnectionState::WaitingForPath
        | ConnectionState::Backoff { .. }
        | ConnectionState::Mismatch { .. }
        | ConnectionState::Ended = self.state
        {
            self.rest(now);
        }
    }

    /// Moves to where a connection without a tunnel belongs, which may be the next dial.
    fn rest(&mut self, now: Instant) {
        self.state = self.resting(now);
        let waits = matches!(
            self.state,
            ConnectionState::WaitingForPath | ConnectionState::Idle { why: IdleReason::NoSecret }
        );
        self.waits_since = waits.then(|| self.waits_since.unwrap_or(now));
        if let ConnectionState::Dialing { .. } = self.state {
            self.act(Action::Dial);
        }
    }

    fn resting(&mut self, now: Instant) -> ConnectionState {
        if self.stop.is_some() {
            return ConnectionState::Stopped;
        }
        let why = match self.policy {
            Policy::Unknown => IdleReason::NoRule,
            Policy::Unlisted => IdleReason::Unlisted,
            Policy::Ready(_) => IdleReason::Ready,
            Policy::Paused(_) => IdleReason::Paused,
            Policy::ConfigMismatch(reason) => {
                return ConnectionState::Mismatch { reason: Mismatch::Config(reason) };
            }
            Policy::Unusable(reason) => {
                return ConnectionState::Mismatch { reason: Mismatch::Unusable(reason) };
            }
            Policy::Terminated => return ConnectionState::Ended,
            Policy::Active(_) if self.settings.side == Side::Target => IdleReason::PeerDials,
            Policy::Active(_) => return self.dialling(now),
        };
        ConnectionState::Idle { why }
    }

    fn dialling(&mut self, now: Instant) -> ConnectionState {
        if let Some(until) = self.redial.waits_until(now) {
            ConnectionState::Backoff { until }
        } else if !self.is_bound {
            ConnectionState::Idle { why: IdleReason::NoPort }
        } else if !self.has_secret {
            ConnectionState::Idle { why: IdleReason::NoSecret }
        } else if !self.path.is_there {
            ConnectionState::WaitingForPath
        } else {
            let attempt = self.redial.begin(self.path.boot);
            ConnectionState::Dialing { attempt, until: now + TUNNEL_HANDSHAKE_TIMEOUT }
        }
    }

    /// A dial has failed.
    fn fail(&mut self, failure: DialFailure, now: Instant) {
        let is_excused = failure.is_absence() && self.absence.is_excused(now);
        self.act(Action::Close(Code::Refused));
        if let Some(audited) = failure.audited() {
            self.act(Action::Audit(audited));
        }
        self.failure = failure.fault();
        self.act(Action::Report(Report::DialFailed { what: failure.into_what(), is_excused }));
        let until = self.redial.fail(now);
        self.state = ConnectionState::Backoff { until };
    }

    /// A tunnel is up.
    fn begin(&mut self, proven: Proven, now: Instant) {
        self.absence.end();
        self.failure = None;
        self.redial.succeed();
        self.waits_since = None;
        self.streams = 0;
        if self.settings.side == Side::Source {
            self.upstream = None;
        }
        self.state = ConnectionState::Up(Box::new(Session::new(proven, self.path.boot, now)));
        self.act(Action::Serve);
        self.act(Action::Report(Report::Up));
        self.tell_upstream();
        if self.stop.is_some() {
            self.act(Action::SendStopping);
            self.drain(now);
        }
    }

    /// The target's peer is told whether the Mirth here answers.
    fn tell_upstream(&mut self) {
        if let (Side::Target, Some(answers)) = (self.settings.side, self.upstream) {
            self.act(Action::SendUpstream(answers));
        }
    }

    fn drain(&mut self, now: Instant) {
        let state = std::mem::replace(&mut self.state, ConnectionState::WaitingForPath);
        self.state = match state {
            ConnectionState::Up(session) => {
                if self.stop.is_none() && self.settings.side == Side::Source {
                    self.act(Action::Report(Report::PeerStops));
                }
                ConnectionState::Draining { session, since: now }
            }
            state => state,
        };
    }

    /// Ends a tunnel over which nothing is waited for any more, or for too long.
    fn end_drained(&mut self, now: Instant) {
        let ConnectionState::Draining { since, .. } = self.state else { return };
        if self.drained_at(since).is_none_or(|at| now < at) {
            return;
        }
        if self.overdue_at().is_some_and(|at| now >= at) {
            self.act(Action::Report(Report::Overdue));
        }
        let why = match self.settings.side {
            Side::Source => EndReason::Stops,
            Side::Target => EndReason::StopsHere,
        };
        self.end(Some(Code::Goodbye), why, now);
    }

    /// When a tunnel ends that is drained since `since`, if no stream begins or ends. What ended just now may
    /// be on its way to the peer. The source knows what is under way and closes the tunnel once nothing is: it
    /// is told, and waited for in reason.
    fn drained_at(&self, since: Instant) -> Option<Instant> {
        let at_rest = match self.settings.side {
            Side::Source => Some(since + STOP_REST_AFTER),
            Side::Target => self.stop.map(|stop| stop + STOP_HEARD_WITHIN),
        };
        at_rest.filter(|_| self.streams == 0).into_iter().chain(self.overdue_at()).min()
    }

    fn overdue_at(&self) -> Option<Instant> {
        self.stop.map(|stop| stop + self.settings.stop_limit)
    }

    /// The tunnel is no more, if there was one.
    fn end(&mut self, close: Option<Code>, why: EndReason, now: Instant) {
        let is_peers_stop = self.is_draining() && self.stop.is_none();
        let state = std::mem::replace(&mut self.state, ConnectionState::WaitingForPath);
        let (ConnectionState::Up(session) | ConnectionState::Draining { session, .. }) = state else {
            self.state = state;
            return;
        };
        if let Some(code) = close {
            self.act(Action::Close(code));
        }
        self.port.shut();
        self.steer_port(now);
        self.act(Action::End);
        self.streams = 0;
        if self.settings.side == Side::Source {
            self.upstream = None;
        }
        let is_announced = (session.is_farewell || is_peers_stop) && self.stop.is_none();
        self.absence.begin(is_announced, now);
        self.act(Action::Report(Report::Ended { why, is_announced }));
        if self.settings.side == Side::Source {
            self.redial.lose(now.saturating_duration_since(session.since()), now);
        }
    }

    /// Opens the port or closes it.
    fn steer_port(&mut self, now: Instant) {
        if self.settings.side == Side::Target {
            return;
        }
        let is_healthy = match &self.state {
            ConnectionState::Up(session) => {
                self.policy.is_active() && !session.is_silent() && self.upstream == Some(true)
            }
            _ => false,
        };
        self.port.judge(is_healthy, now);
        let steered = self.port.steer(self.streams, now);
        if steered.is_limit_reached {
            self.act(Action::Report(Report::LimitReached));
        }
        if steered.is_full_news {
            self.act(Action::Report(Report::Full));
        }
        if let Some(opens) = steered.opens {
            let is_of_limit = steered.is_of_limit;
            self.act(if opens {
                Action::OpenListener { is_of_limit }
            } else {
                Action::CloseListener { is_of_limit }
            });
        }
    }

    /// When something is said of what is waited for, or of a peer that stays away.
    fn speaks_up_at(&self) -> Option<Instant> {
        if self.session().is_some() || !self.policy.is_active() {
            return None;
        }
        match self.absence.until() {
            Some(until) => Some(until).filter(|_| self.is_waiting()),
            None => self.waits_since.map(|since| since + WAIT_UNSAID_MAX),
        }
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.state, ConnectionState::Idle { .. } | ConnectionState::WaitingForPath)
    }

    fn speak_up(&mut self, now: Instant) {
        if self.speaks_up_at().is_none_or(|at| now < at) {
            return;
        }
        self.waits_since = self.waits_since.map(|_| now);
        if self.absence.until().is_some() {
            self.absence.end();
            return self.act(Action::Report(Report::StaysAway));
        }
        match self.state {
            ConnectionState::WaitingForPath => self.act(Action::Report(Report::WaitsForPath)),
            _ => self.act(Action::Report(Report::WaitsForSecret)),
        }
    }
}

#[cfg(test)]
mod tests;
