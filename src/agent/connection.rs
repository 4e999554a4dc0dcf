//! Drives the machine of one connection: what happens at its port or its Mirth, on its tunnel and to its rules
//! goes in, what is to be done comes out and is done here.
//!
//! What to do is decided in [`adit_core::protocol::connection`]. Here are the tasks, the timers and the log.
//! Two things differ between the sides, and are adaptors: where TCP connections come from (`downstream`) and
//! where they go (`upstream`).

mod attempt;
pub mod downstream;
mod live;
mod log;
pub mod status;
pub mod upstream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::attempt::{Attempt, Outcome, next_outcome};
use self::downstream::{Downstream, DownstreamEvent};
use self::live::{Live, LiveEvent};
use self::log::Said;
use self::status::StatusWriter;
use self::upstream::{Streams, Upstream, UpstreamState};
use super::admin::parts::AdminParts;
use super::entries::{Found, LiveConnection};
use super::policy;
use super::stopping::{self, Stopping};
use super::tunnels::{self, Admission, Admitted};
use adit_core::domain::connection::Side;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::connection::{
    Action, Audited, ConnectionMachine, ConnectionSettings, ConnectionState, DialFailure, PeerKey, PeerPath,
    Proven,
};
use adit_core::protocol::control::Rule;
use adit_core::protocol::frame::Code;
use adit_core::protocol::rules::RuleBook;
use adit_net::identity::random;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::task::named;
use adit_net::transport::routes::PathState;
use adit_observe::metrics;

/// How often a live tunnel is looked at: QUIC tells of nothing that it counts.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What differs between the two sides.
pub(crate) enum End {
    Source(Box<Downstream>),
    Target { upstream: Upstream, streams: Streams, incoming: mpsc::Receiver<Admitted> },
}

/// What connections share.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionParts {
    pub(crate) clock: Arc<LearntClock>,
    /// What ends once that has begun ends by order: it is no fault.
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) admin: Arc<AdminParts>,
}

/// Runs one connection of the agent's file.
pub(crate) struct ConnectionDriver {
    parts: ConnectionParts,
    entry: Arc<LiveConnection>,
    machine: ConnectionMachine,
    end: End,
    attempt: Option<Attempt>,
    /// Proven or come in, and to be served next.
    admitted: Option<Admitted>,
    live: Option<Live>,
    status: StatusWriter,
    faults: mpsc::Receiver<Found>,
    writes: JoinSet<()>,
    /// This connection alone is to stop.
    stop: CancellationToken,
    /// The machine was told to stop.
    has_heard_stop: bool,
    rules: watch::Receiver<Arc<RuleBook>>,
    path: watch::Receiver<PathState>,
    said: Said,
}

/// What happened.
enum Event {
    Rules,
    Secrets,
    Path,
    Stop,
    Found(Found),
    Attempt(Outcome),
    Live(LiveEvent),
    Downstream(DownstreamEvent),
    Incoming(Admitted),
    Upstream,
    /// One that needs nothing more.
    TaskEnded,
    /// A deadline has come, or it is time to look at the tunnel.
    Time,
}

impl ConnectionDriver {
    #[must_use]
    pub(crate) fn new(
        parts: ConnectionParts,
        entry: Arc<LiveConnection>,
        end: End,
        (status, faults): (StatusWriter, mpsc::Receiver<Found>),
        stop: CancellationToken,
    ) -> Self {
        let config = &entry.config;
        let connections_max = match &end {
            End::Source(downstream) => downstream.connections_max(),
            End::Target { .. } => config.streams_max as usize,
        };
        let settings = ConnectionSettings {
            side: entry.side,
            stall_limit: config.stall_limit,
            stop_limit: stopping::limit(config.service),
            connections_max,
            seed: u64::from_be_bytes(random::bytes()),
        };
        Self {
            machine: ConnectionMachine::new(settings),
            rules: parts.admission.policies.watch(),
            path: parts.admission.routes.path_state(config.peer),
            parts,
            entry,
            end,
            attempt: None,
            admitted: None,
            live: None,
            status,
            faults,
            writes: JoinSet::new(),
            stop,
            has_heard_stop: false,
            said: Said::default(),
        }
    }

    /// Runs until this connection alone was told to stop and has, or until dropped: an agent that stops keeps
    /// its ports to itself to the end.
    pub(crate) async fn run(mut self) {
        let upstream = self.upstream();
        let mut state = upstream.as_ref().map(Upstream::state);
        let mut watching = std::pin::pin!(watch_upstream(upstream, Arc::clone(&self.entry)));
        let (mut secrets, mut stopping) = (self.parts.admission.secrets.watch(), self.parts.stopping.watch());
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin();
        loop {
            self.perform().await;
            if let ConnectionState::Stopped = self.machine.status().state
                && self.stop.is_cancelled()
            {
                return;
            }
            let due = self.machine.poll_timeout();
            // Each branch may be dropped before it is done: receivers, listeners and join sets hand out a thing
            // only once it is taken, and what else runs (dials, the tunnel's frames, the watch of Mirth) lives
            // outside and goes on. None is preferred, so none starves: at the limit of any of them the others
            // still have their turn. What an event means is done below and waits for nothing but the end of
            // tasks whose tunnel is lost: this loop carries the tunnel's frames.
            let event = tokio::select! {
                Ok(()) = self.rules.changed() => Event::Rules,
                Ok(()) = secrets.changed() => Event::Secrets,
                Ok(()) = self.path.changed() => Event::Path,
                Ok(_) = stopping.wait_for(Option::is_some), if !self.has_heard_stop => Event::Stop,
                () = self.stop.cancelled(), if !self.has_heard_stop => Event::Stop,
                Some(found) = self.faults.recv() => Event::Found(found),
                outcome = next_outcome(&mut self.attempt) => Event::Attempt(outcome),
                event = next_live(&mut self.live, self.entry.side) => Event::Live(event),
                event = next_at_end(&mut self.end, &mut state) => event,
                Some(_) = self.writes.join_next() => Event::TaskEnded,
                () = &mut watching => return,
                () = until(due) => Event::Time,
                _ = looks.tick(), if self.live.is_some() => Event::Time,
            };
            self.handle(event, state.as_mut());
        }
    }

    fn upstream(&self) -> Option<Upstream> {
        match &self.end {
            End::Source(_) => None,
            End::Target { upstream, .. } => Some(upstream.clone()),
        }
    }

    /// Tells the machine what is so before anything happens.
    fn begin(&mut self) {
        if let End::Source(downstream) = &self.end
            && let Some(fault) = downstream.fault()
        {
            self.note_fault(&fault);
        }
        let now = Instant::now();
        if let End::Target { upstream, .. } = &self.end {
            let state = upstream.state().borrow().clone();
            self.take_upstream(state, now);
        }
        self.hear_path(now);
        self.hear_rules(now);
        self.hear_stop(now);
    }

    fn handle(&mut self, event: Event, upstream: Option<&mut watch::Receiver<UpstreamState>>) {
        let now = Instant::now();
        match event {
            Event::Rules | Event::Secrets => self.hear_rules(now),
            Event::Path => self.hear_path(now),
            Event::Stop => self.hear_stop(now),
            Event::Found(Found::Fault(fault)) => self.log_fault(fault),
            Event::Found(Found::Refused(refusal)) => self.machine.handle_refused(refusal),
            Event::Attempt(outcome) => self.handle_outcome(outcome, now),
            Event::Live(event) => self.handle_live(event, now),
            Event::Downstream(event) => self.handle_downstream(event, now),
            Event::Incoming(admitted) => self.handle_incoming(admitted, now),
            Event::Upstream => {
                if let Some(state) = upstream.map(|state| state.borrow_and_update().clone()) {
                    self.take_upstream(state, now);
                }
            }
            Event::TaskEnded => {}
            Event::Time => self.look(now),
        }
    }

    // What is told to the machine.

    fn hear_rules(&mut self, now: Instant) {
        let policy = policy::of(&self.entry.config, self.entry.side, &self.rules.borrow_and_update());
        let mut has_secret = false;
        if let Some(rule) = policy.rule() {
            has_secret = self.parts.admission.secrets.of(&self.entry.config, rule).is_some();
            self.status.set_route(format!("{} → {}", rule.source_name, rule.target_name));
        }
        self.hear_key(now);
        self.machine.handle_secret(has_secret, now);
        self.machine.handle_policy(policy, now);
    }

    /// Rules may have changed since they were looked at last, and keys say nothing when they do.
    fn hear_news(&mut self, now: Instant) {
        if self.rules.has_changed().unwrap_or(false) {
            self.hear_rules(now);
        } else {
            self.hear_key(now);
        }
    }

    fn hear_key(&mut self, now: Instant) {
        let Some(shown) = self.machine.session().map(|session| session.terms().peer_key) else { return };
        let (admission, entry) = (&self.parts.admission, &self.entry);
        let known = || admission.trust.known(entry.config.id).map(|known| known.key);
        let trusted = entry.config.peer_key.or_else(known);
        let key = PeerKey {
            is_revoked: admission.policies.rules().is_revoked(shown),
            is_replaced: trusted.is_some_and(|trusted| trusted != shown),
        };
        self.machine.handle_key(key, now);
    }

    fn hear_path(&mut self, now: Instant) {
        let path = peer_path(&self.path.borrow_and_update());
        self.machine.handle_path(path, now);
    }

    fn hear_stop(&mut self, now: Instant) {
        let since = self.parts.stopping.since().or_else(|| self.stop.is_cancelled().then_some(now));
        if let Some(since) = since {
            self.has_heard_stop = true;
            self.machine.handle_stop(since, now);
        }
    }

    fn take_upstream(&mut self, state: UpstreamState, now: Instant) {
        self.machine.handle_upstream(state.serves, now);
        self.status.set_upstream(state, self.parts.clock.now());
    }

    fn proven(&self, admitted: &Admitted, now: Instant) -> Proven {
        let lives = admitted.peer_expires.since(self.parts.clock.now());
        Proven { terms: admitted.terms, expires: now.checked_add(lives) }
    }

    /// Looks at what says nothing by itself, and lets time pass.
    fn look(&mut self, now: Instant) {
        self.hear_news(now);
        self.hear_path(now);
        if let Some(live) = &self.live {
            if let Some(counts) = live.counts() {
                self.machine.handle_counts(counts, now);
            }
            if let End::Target { .. } = self.end {
                self.machine.handle_streams(live.streams_open(), now);
            }
        }
        self.machine.handle_timeout(now);
        if let End::Source(downstream) = &mut self.end
            && self.live.is_some()
        {
            downstream.make_room(now);
            if self.machine.is_draining() {
                downstream.put_to_rest(now);
            }
        }
        self.measure();
    }

    fn measure(&self) {
        if let (Some(live), Some(session)) = (&self.live, self.machine.session()) {
            let silent_since = session.is_silent().then(|| self.parts.clock.now());
            let tunnel = live.measured(&self.path.borrow(), silent_since);
            self.status.measure(tunnel, live.streams_open());
        }
    }

    fn handle_incoming(&mut self, admitted: Admitted, now: Instant) {
        if let ConnectionState::Stopped = self.machine.status().state {
            // Proven before the stop, and handed over after it.
            return admitted.tunnel.connection().close(Code::Goodbye);
        }
        let proven = self.proven(&admitted, now);
        self.hear_path(now);
        self.admitted = Some(admitted);
        self.machine.handle_incoming(proven, now);
        self.hear_key(now);
    }

    fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        self.attempt = None;
        match outcome {
            Outcome::Dialled(Ok(dialled)) => {
                self.attempt = Some(Attempt::Dialled(dialled));
                self.machine.handle_dialed(Ok(()), now);
            }
            Outcome::Dialled(Err(failure)) => self.machine.handle_dialed(Err(failure), now),
            Outcome::Proven(Ok(admitted)) => {
                tracing::debug!(
                    peer_key = %admitted.terms.peer_key, cut_epoch = admitted.terms.cut_epoch,
                    peer_expires = %admitted.peer_expires, "both ends have proven that they hold the secret"
                );
                let proven = self.proven(&admitted, now);
                self.hear_path(now);
                self.admitted = Some(admitted);
                self.machine.handle_proven(Ok(proven), now);
                self.hear_key(now);
            }
            Outcome::Proven(Err(failure)) => self.machine.handle_proven(Err(failure), now),
        }
    }

    fn handle_live(&mut self, event: LiveEvent, now: Instant) {
        match event {
            LiveEvent::Lost(error) => {
                let is_goodbye = error.peer_code() == Some(Code::Goodbye);
                self.machine.handle_lost(error_chain(&error), is_goodbye, now);
            }
            LiveEvent::PeerMirth(answers) => {
                if let End::Source(_) = self.end {
                    self.machine.handle_upstream(answers, now);
                }
            }
            LiveEvent::Ending => {
                self.machine.handle_peer_stopping(now);
                if let End::Source(downstream) = &mut self.end {
                    downstream.put_to_rest(now);
                }
            }
            LiveEvent::Stream(stream) => {
                self.hear_news(now);
                let may_start = self.machine.may_start();
                match (&mut self.end, &self.live) {
                    (End::Target { upstream, streams, .. }, Some(live)) if may_start => {
                        let connection = live.connection().clone();
                        streams.start(upstream, &self.entry, (stream, connection));
                    }
                    _ => {
                        metrics::refused_stream(self.entry.config.name.as_str(), "not active");
                        stream.refuse(Code::Paused);
                    }
                }
            }
        }
    }

    fn handle_downstream(&mut self, event: DownstreamEvent, now: Instant) {
        let End::Source(downstream) = &mut self.end else { return };
        match event {
            DownstreamEvent::Bound => self.machine.handle_bound(now),
            DownstreamEvent::Unbound(error) => self.note_fault(&error_chain(&error)),
            DownstreamEvent::Accepted(tcp) => self.handle_accepted(tcp, now),
            DownstreamEvent::Starved(error) => {
                let what = downstream.log_starved(&error, now);
                self.status.note_fault(self.fault(what));
                self.machine.handle_starved(now);
            }
            DownstreamEvent::Ended(ended) => {
                let left = downstream.connections();
                self.machine.handle_ended(downstream::is_full_there(ended), left, now);
            }
            DownstreamEvent::Written => {}
        }
    }

    fn handle_accepted(&mut self, tcp: tokio::net::TcpStream, now: Instant) {
        self.hear_news(now);
        let may_start = self.machine.may_start() && !self.machine.is_draining();
        let (End::Source(downstream), Some(live)) = (&mut self.end, &self.live) else { return };
        if !may_start {
            // Dropped, it is reset.
            tracing::debug!("a local connection is reset: the rules have changed since the port opened");
            return metrics::refused_stream(self.entry.config.name.as_str(), "not active");
        }
        downstream.serve(tcp, live.tunnel());
        self.machine.handle_streams(downstream.connections(), now);
    }

    // What is done.

    /// Does all that the machine wants, and tells what is so then.
    async fn perform(&mut self) {
        self.log_changes();
        while let Some(action) = self.machine.poll_action() {
            self.act(action).await;
        }
        let (view, is_draining) = (self.machine.status(), self.machine.is_draining());
        self.status.follow(&view, is_draining, self.parts.clock.now());
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Dial => self.dial(),
            Action::Prove => self.prove(),
            Action::Serve => self.serve(),
            Action::Close(code) => self.close(code),
            Action::End => self.end().await,
            Action::Ping => self.ping(),
            Action::SendStopping => self.with_live(|live| live.tunnel().send_stopping()),
            Action::SendUpstream(answers) => self.with_live(|live| live.tunnel().send_mirth_state(answers)),
            Action::OpenListener { is_of_limit } => self.steer(true, is_of_limit),
            Action::CloseListener { is_of_limit } => self.steer(false, is_of_limit),
            Action::Report(report) => self.report(report),
            Action::Audit(audited) => self.audit(audited),
        }
    }

    fn dial(&mut self) {
        let Some(rule) = self.rule() else { return };
        let path = self.path.borrow().path.map(tracing::field::display);
        tracing::debug!(path, epoch = rule.secret_epoch, peer_route = %rule.peer_route, "the peer is dialled");
        self.attempt =
            Some(Attempt::Dialing(Box::pin(tunnels::dial(Arc::clone(&self.parts.admission), rule))));
    }

    fn prove(&mut self) {
        let secret = self
            .rule()
            .and_then(|rule| Some((self.parts.admission.secrets.of(&self.entry.config, &rule)?, rule)));
        let (Some(Attempt::Dialled(dialled)), Some((secret, rule))) = (self.attempt.take(), secret) else {
            let gone = DialFailure::away("the connection's secret is no longer here".into());
            return self.machine.handle_proven(Err(gone), Instant::now());
        };
        let (admission, entry) = (Arc::clone(&self.parts.admission), Arc::clone(&self.entry));
        let proving = tunnels::prove(admission, entry, rule, secret, dialled);
        self.attempt = Some(Attempt::Proving(Box::pin(proving)));
    }

    fn rule(&self) -> Option<Rule> {
        self.machine.status().policy.rule().cloned()
    }

    fn serve(&mut self) {
        let Some(admitted) = self.admitted.take() else { return };
        if let End::Target { streams, .. } = &mut self.end {
            tracing::debug!(
                peer_key = %admitted.terms.peer_key, cut_epoch = admitted.terms.cut_epoch,
                peer_expires = %admitted.peer_expires, "the peer has opened a tunnel"
            );
            *streams = Streams::new(self.entry.config.streams_max);
        }
        self.live = Some(Live::new(admitted, self.parts.clock.now(), self.parts.stopping.tunnel_up()));
        self.measure();
    }

    fn close(&mut self, code: Code) {
        match self.attempt.take() {
            Some(Attempt::Dialled(dialled)) => dialled.connection.close(code),
            // Given up, QUIC ends it by itself.
            Some(Attempt::Dialing(_) | Attempt::Proving(_)) => {}
            None => self.with_live(|live| live.connection().close(code)),
        }
    }

    /// What still runs sees the tunnel lost and resets its socket.
    async fn end(&mut self) {
        match &mut self.end {
            End::Source(downstream) => downstream.end_all().await,
            End::Target { streams, .. } => while streams.next_ended().await.is_some() {},
        }
        self.live = None;
        self.status.lose_tunnel();
    }

    fn ping(&self) {
        tracing::debug!("the peer is heard and does not answer on the tunnel, so it is asked again");
        self.with_live(|live| live.connection().note_path_change());
        self.parts.admission.routes.want_ping();
    }

    fn with_live(&self, act: impl FnOnce(&Live)) {
        if let Some(live) = &self.live {
            act(live);
        }
    }

    fn steer(&mut self, opens: bool, is_of_limit: bool) {
        if let End::Source(downstream) = &mut self.end {
            self.machine.handle_listener(downstream.steer(opens, is_of_limit));
        }
    }

    /// Records a peer that was found wanting here in both audits, as on the target's side.
    fn audit(&mut self, audited: Audited) {
        let audit = Arc::clone(&self.parts.admission.audit);
        let (connection, peer) = (Some(self.entry.config.id), Some(self.entry.config.peer));
        let writing = async move {
            match audited {
                Audited::Refused(refusal) => audit.refuse_peer(connection, peer, refusal).await,
                Audited::Handshake(what) => audit.refuse_handshake(connection, peer, &what).await,
            }
        };
        self.writes.spawn(named("audit of a refused peer", writing).in_current_span());
    }
}

/// Returns what the machine must know of a path.
fn peer_path(state: &PathState) -> PeerPath {
    PeerPath { is_there: state.path.is_some(), boot: state.boot, heard: state.heard }
}

async fn watch_upstream(upstream: Option<Upstream>, entry: Arc<LiveConnection>) {
    match upstream {
        Some(upstream) => upstream.watch(entry).await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_live(live: &mut Option<Live>, side: Side) -> LiveEvent {
    match live {
        Some(live) => live.next(side == Side::Target).await,
        None => std::future::pending().await,
    }
}

async fn next_at_end(end: &mut End, state: &mut Option<watch::Receiver<UpstreamState>>) -> Event {
    match (end, state) {
        (End::Source(downstream), _) => Event::Downstream(downstream.next().await),
        (End::Target { streams, incoming, .. }, Some(state)) => tokio::select! {
            Some(admitted) = incoming.recv() => Event::Incoming(admitted),
            Ok(()) = state.changed() => Event::Upstream,
            Some(()) = streams.next_ended() => Event::TaskEnded,
        },
        (End::Target { .. }, None) => std::future::pending().await,
    }
}
