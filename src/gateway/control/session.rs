//! One live control link: a single loop that turns messages, changes and timers into answers. Whatever needs the
//! database is done beside it, one thing at a time (`queue`, `work`).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{sleep_until, timeout};
use tracing::{debug, trace};

use super::queue::{Work, WorkQueue};
use super::reported::{allowed, hidden_from, reachable};
use super::view::AgentView;
use super::work::{self, Truth, Worked};
use super::{Control, LinkAgent, LinkEnd, NOT_WELCOME, OpenLink, count_dropped, lost};
use crate::feed::{LinkInbox, News};
use crate::platform::AgentNote;
use crate::presence::PresenceGuard;
use crate::relay::RelayGuard;
use adit_core::domain::id::{BootId, ConnectionId, ServerId};
use adit_core::domain::limits::{
    CONTROL_HEARTBEAT_EVERY, CONTROL_HEARTBEATS_MISSED_MAX, CONTROL_LAST_WORDS_TIMEOUT,
    CONTROL_MESSAGES_BURST, CONTROL_MESSAGES_PER_SECOND, MEASUREMENTS_BURST, MEASUREMENTS_LATE_BURST,
    MEASUREMENTS_LATE_PER_SECOND, MEASUREMENTS_PER_SECOND,
};
use adit_core::domain::measurement::Sums;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::control::{Activity, Change, Rule, ToAgent, ToGateway};
use adit_core::protocol::heartbeat::{Beat, Heartbeat};
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::text::{Software, listed};
use adit_core::protocol::token_bucket::TokenBucket;
use adit_net::transport::endpoint::{Connection, TransportError};
use adit_net::transport::gateway_socket::Origin;
use adit_net::transport::link::{LinkReceiver, LinkSender};
use adit_observe::unknown;

/// Serves the agent; `copy`: where another copy of the agent was seen.
pub(super) async fn run(
    control: &Control,
    link: &mut OpenLink,
    software: Software,
    boot: BootId,
    copy: Option<SocketAddr>,
) -> Result<Infallible, LinkEnd> {
    let server = link.agent.server;
    // Before anything is read: what changes from here on is heard.
    let inbox = Arc::new(LinkInbox::default());
    let _following = control.feed.follow_server(server, Arc::clone(&inbox));
    let mut guard = control.presence.join(server, Arc::clone(&inbox));
    control.platform.linked_by(control.gateway, server, software);
    let end = serve_relayed(control, link, &inbox, &mut guard, (boot, copy)).await;
    if guard.leave() {
        control.platform.linked(control.gateway, server, false);
        // A newer link may have come up between the two steps, and its word was overwritten.
        if control.presence.is_present(server) {
            control.platform.linked(control.gateway, server, true);
        }
    }
    end
}

/// Serves the agent, who may use the relay meanwhile.
async fn serve_relayed(
    control: &Control,
    link: &mut OpenLink,
    inbox: &LinkInbox,
    guard: &mut PresenceGuard,
    run: (BootId, Option<SocketAddr>),
) -> Result<Infallible, LinkEnd> {
    let relayed = Box::pin(join_relay(control, link)).await?;
    let end = converse(control, link, inbox, guard, run).await;
    control.relay.leave(relayed).await;
    end
}

/// Lets the agent register at the relay. Its key is judged once more: since it was, and before anybody followed,
/// it may have been revoked while its hello was waited for. What is revoked from here on is heard.
async fn join_relay(control: &Control, link: &OpenLink) -> Result<RelayGuard, LinkEnd> {
    let agent = &link.agent;
    let registration = PacketKey::of_link(&link.connection.registration_secret().map_err(lost)?);
    let _turn = control.turns.acquire().await;
    control.authorize_key(agent.server, &agent.peer).await?;
    let joining = control.relay.join(&control.platform, agent.server, agent.peer.key(), registration);
    let joined = joining.await.map_err(|source| LinkEnd::Platform { source })?;
    joined.ok_or_else(|| LinkEnd::Refused { reason: NOT_WELCOME.into() })
}

async fn converse(
    control: &Control,
    link: &mut OpenLink,
    inbox: &LinkInbox,
    guard: &mut PresenceGuard,
    (boot, copy): (BootId, Option<SocketAddr>),
) -> Result<Infallible, LinkEnd> {
    let OpenLink { agent, connection, sender, receiver, version, capabilities, .. } = link;
    // Only now: who is welcome registers at the relay at once, which must know its key.
    let (version, now) = (*version, control.clock.now());
    let copy = copy.map(|at| ToAgent::AnotherCopy { at });
    let own = Capabilities::own().with(Capability::AcknowledgesNotes).with(Capability::KeepsMeasurements);
    let welcome = ToAgent::Welcome { version, now, capabilities: own };
    send(sender, [welcome].into_iter().chain(copy)).await?;
    let turn = control.turns.acquire().await;
    let (rules, revoked) = control.rules(agent.server).await?;
    drop(turn);
    debug!(rules = rules.len(), revoked = revoked.len(), "the agent is sent all that it may know");
    rules.iter().for_each(log_rule);
    let (view, snapshot) = AgentView::snapshot(rules, revoked);
    send(sender, snapshot).await?;

    let mut session = ControlSession {
        control,
        agent,
        boot,
        connection,
        sender,
        capabilities,
        view,
        queue: WorkQueue::default(),
        work: None,
        told_away: None,
        catches_up_since_away: false,
        measured: TokenBucket::per_second(MEASUREMENTS_BURST, MEASUREMENTS_PER_SECOND),
        measured_late: TokenBucket::per_second(MEASUREMENTS_LATE_BURST, MEASUREMENTS_LATE_PER_SECOND),
    };
    let end = session.serve(receiver, inbox, guard).await;
    if let Err(end) = &end {
        Box::pin(session.take_last_words(end)).await;
    }
    end
}

struct ControlSession<'link> {
    control: &'link Control,
    agent: &'link LinkAgent,
    boot: BootId,
    connection: &'link Connection,
    sender: &'link mut LinkSender,
    capabilities: &'link Capabilities,
    view: AgentView,
    queue: WorkQueue,
    work: Option<RunningWork<'link>>,
    /// Since when the agent was told that the database is away, if that was the last it was told.
    told_away: Option<Timestamp>,
    /// What is read of the rules, if anything is, has all that changed while the database was away.
    catches_up_since_away: bool,
    /// How much of what the agent measures is taken.
    measured: TokenBucket,
    /// And of what it measured of connections that have ended.
    measured_late: TokenBucket,
}

type RunningWork<'link> = Pin<Box<dyn Future<Output = Result<Worked, LinkEnd>> + Send + 'link>>;

impl ControlSession<'_> {
    async fn serve(
        &mut self,
        receiver: &mut LinkReceiver,
        inbox: &LinkInbox,
        guard: &mut PresenceGuard,
    ) -> Result<Infallible, LinkEnd> {
        let mut limiter = TokenBucket::per_second(CONTROL_MESSAGES_BURST, CONTROL_MESSAGES_PER_SECOND);
        let mut next_read = Instant::now();
        let mut heartbeat = Heartbeat::new(next_read, CONTROL_HEARTBEAT_EVERY, CONTROL_HEARTBEATS_MISSED_MAX);
        self.tell_database().await?;
        self.watch_peers(&BTreeSet::new(), guard).await?;
        loop {
            self.begin_work();
            let look_again = self.deadline();
            tokio::select! {
                message = receive_from(next_read, receiver), if self.queue.has_room() => {
                    let message = message.map_err(lost)?;
                    if message == ToGateway::Unknown {
                        unknown::note("message", receiver.tag());
                    }
                    let now = Instant::now();
                    match &message {
                        ToGateway::Heartbeat { .. } => heartbeat.handle_beat(now),
                        _ => heartbeat.handle_heard(now),
                    }
                    // Who is too fast is read later, not cut off: the transport's windows then hold it back.
                    let pause = limiter.take(now);
                    if !pause.is_zero() {
                        trace!(pause_ms = pause.as_millis(), "the agent writes too fast: its next message waits");
                    }
                    next_read = now + pause;
                    self.handle(message, guard)?;
                }
                worked = finished(&mut self.work) => {
                    self.work = None;
                    self.handle_worked(worked?, guard).await?;
                }
                news = inbox.news() => self.handle_news(news).await?,
                () = sleep_until(heartbeat.deadline().into()) => {
                    let now = Instant::now();
                    match heartbeat.poll(now) {
                        Some(Beat::Send { number }) => self.send_heartbeat(number).await?,
                        // It is not its agent that is silent where nothing is read; QUIC knows whether it is there.
                        Some(Beat::Lost { .. }) if !self.queue.has_room() => heartbeat.handle_heard(now),
                        Some(Beat::Lost { silent_for }) => return Err(LinkEnd::Silent { silent_for }),
                        None => {}
                    }
                }
                () = reached(look_again) => trace!("what waits for the database is tried again"),
                () = guard.replaced() => return Err(LinkEnd::Replaced),
                () = self.control.stop.cancelled() => return Err(LinkEnd::Stopping),
            }
        }
    }

    async fn send_heartbeat(&mut self, number: u64) -> Result<(), LinkEnd> {
        trace!(number, "a heartbeat is sent");
        let now = self.control.clock.now();
        send(self.sender, [ToAgent::Heartbeat { number, now }]).await
    }

    /// Takes a message: what needs no database has its effect at once, and the rest waits for its turn.
    fn handle(&mut self, message: ToGateway, guard: &PresenceGuard) -> Result<(), LinkEnd> {
        match message {
            ToGateway::Hello { .. } => {
                return Err(LinkEnd::Misbehaved { what: "it said hello twice".into() });
            }
            ToGateway::Heartbeat { .. } | ToGateway::Unknown => {}
            ToGateway::HiddenFrom { peers } => guard.hide_from(hidden_from(peers)?),
            ToGateway::AllowedPaths { peers } => guard.allow(allowed(peers)?),
            ToGateway::Listening { addresses } => {
                let origin = self.control.endpoint.origin(self.connection);
                let from = origin.map_or(self.agent.from, Origin::address);
                guard.set_addresses(reachable(addresses, from)?);
            }
            ToGateway::Measured { connection, at, sums } => self.take_measured(connection, at, sums),
            message @ (ToGateway::FetchSecret { .. }
            | ToGateway::Missing { .. }
            | ToGateway::SecretStored { .. }
            | ToGateway::Report { .. }
            | ToGateway::ConfigMismatch { .. }
            | ToGateway::RefusedPeer { note: None, .. }
            | ToGateway::AdminSession { note: None, .. }
            | ToGateway::Renew { .. }) => self.queue.push(message),
            ToGateway::RefusedPeer { connection, peer, reason, left_out, note: Some(number) } => {
                self.queue.push_note(number, work::refused_peer(connection, peer, reason, left_out));
            }
            ToGateway::AdminSession { connection, session, note: Some(number) } => {
                self.queue.push_note(number, AgentNote::AdminSession { connection, session });
            }
        }
        Ok(())
    }

    /// Takes a minute of a connection that the agent was told of, as its own end's. It is written later, with others.
    fn take_measured(&mut self, connection: ConnectionId, at: Timestamp, sums: Sums) {
        let Some(side) = self.view.side(connection) else {
            return self.take_measured_late(connection, at, sums);
        };
        if !self.measured.try_take(Instant::now()) {
            count_dropped("measurement");
            return trace!(%connection, %at, "the agent measures more than is kept");
        }
        let taken = self.control.platform.take_measured(self.agent.server, (connection, side), at, sums);
        if let Err(why) = taken {
            count_dropped("measurement");
            debug!(%connection, %at, %why, "what the agent measured is not kept");
        }
    }

    /// Has the database asked whether it is a minute before the end of a connection that the agent was told of.
    fn take_measured_late(&mut self, connection: ConnectionId, at: Timestamp, sums: Sums) {
        if !self.measured_late.try_take(Instant::now()) {
            count_dropped("foreign_measurement");
            return trace!(%connection, %at, "the agent measures more of what it was not told of than is looked up");
        }
        self.queue.push(ToGateway::Measured { connection, at, sums });
    }

    /// Begins what is due, unless something is under way or the database is away.
    fn begin_work(&mut self) {
        if self.work.is_some() || self.control.feed.away_since().is_some() {
            return;
        }
        let Some(work) = self.queue.next(Instant::now()) else { return };
        let told = match work {
            Work::CatchUp => {
                self.catches_up_since_away = true;
                self.view.connections()
            }
            Work::Serve(_) | Work::Take(_) => Vec::new(),
        };
        self.work = Some(Box::pin(work::run(self.control, self.agent, self.boot, work, told)));
    }

    /// Returns when to look again what waits; none while something is under way, or the database is away, whose end is
    /// told anyway.
    fn deadline(&self) -> Option<Instant> {
        if self.work.is_some() || self.control.feed.away_since().is_some() {
            return None;
        }
        self.queue.deadline()
    }

    async fn handle_worked(&mut self, worked: Worked, guard: &PresenceGuard) -> Result<(), LinkEnd> {
        match worked {
            Worked::Later(work) => {
                self.queue.put_back(work, Instant::now());
                return Ok(());
            }
            Worked::Served(answer) => send(self.sender, answer).await?,
            Worked::Taken(notes) => {
                send(self.sender, notes.into_iter().map(|note| ToAgent::Noted { note })).await?;
            }
            Worked::CaughtUp(truth) => {
                self.tell_changes(truth, guard).await?;
                self.tell_back().await?;
            }
        }
        self.queue.note_done();
        Ok(())
    }

    async fn handle_news(&mut self, news: News) -> Result<(), LinkEnd> {
        if news.rules {
            self.queue.note_rules();
        }
        if news.database {
            self.tell_database().await?;
        }
        self.send_presence(&news.peers).await
    }

    /// Tells an agent that asks for it when the database goes. When it comes back, what waits is due; the agent is
    /// told so after what changed meanwhile.
    async fn tell_database(&mut self) -> Result<(), LinkEnd> {
        let away_since = self.control.feed.away_since();
        if away_since.is_none() {
            self.queue.resume();
            // Also for an agent that is not told: before anything of its is served, it must still be welcome.
            self.queue.note_rules();
            return Ok(());
        }
        self.catches_up_since_away = false;
        if away_since == self.told_away || !self.capabilities.has(Capability::DatabaseAway) {
            return Ok(());
        }
        self.told_away = away_since;
        debug!(since = %listed(away_since), "the agent is told that the database is away");
        send(self.sender, [ToAgent::Database { away_since }]).await
    }

    /// Tells an agent that knows the database as away that it is back: it says and asks all again, and its rules
    /// are confirmed from here on.
    async fn tell_back(&mut self) -> Result<(), LinkEnd> {
        let is_due = self.told_away.is_some() && self.catches_up_since_away;
        if !is_due || self.control.feed.away_since().is_some() {
            return Ok(());
        }
        self.told_away = None;
        debug!("the agent is told that the database is back");
        send(self.sender, [ToAgent::Database { away_since: None }]).await
    }

    /// Tells what differs from what the agent knows.
    async fn tell_changes(&mut self, truth: Truth, guard: &PresenceGuard) -> Result<(), LinkEnd> {
        let before = self.view.peers();
        let changes = self.view.catch_up(truth.rules, truth.revoked, &truth.ended);
        changes.iter().for_each(log_change);
        send(self.sender, changes).await?;
        self.watch_peers(&before, guard).await
    }

    /// Watches the peers that the agent has now, and tells of those that it had not `before`.
    async fn watch_peers(
        &mut self,
        before: &BTreeSet<ServerId>,
        guard: &PresenceGuard,
    ) -> Result<(), LinkEnd> {
        let peers = self.view.peers();
        if peers == *before {
            return Ok(());
        }
        let new = peers.difference(before).copied().collect();
        // First: what they say from here on is heard.
        guard.watch(peers);
        self.send_presence(&new).await
    }

    /// Tells where these peers are and which paths their owners allow, as far as that is news.
    async fn send_presence(&mut self, peers: &BTreeSet<ServerId>) -> Result<(), LinkEnd> {
        let (presence, own) = (&self.control.presence, self.agent.server);
        let candidates = self.view.candidates(peers, |peer| presence.addresses(peer, own));
        for candidate in &candidates {
            if let ToAgent::Candidates { peer, addresses } = candidate {
                debug!(%peer, addresses = %listed(addresses), "the agent is told where a peer is");
            }
        }
        send(self.sender, candidates).await?;
        if !self.capabilities.has(Capability::AllowedPaths) {
            return Ok(());
        }
        let allowed = self.view.allowed_paths(peers, |peer| presence.allowed(peer, own));
        for message in &allowed {
            if let ToAgent::AllowedPaths { peer, allowed } = message {
                debug!(%peer, allowed = %listed(allowed), "the agent is told which paths a peer's owner allows");
            }
        }
        send(self.sender, allowed).await
    }

    /// Serves what the agent had said before its link ended, unless it was not welcome any more. Nobody is
    /// answered.
    async fn take_last_words(&mut self, end: &LinkEnd) {
        match end {
            LinkEnd::Lost { .. } | LinkEnd::Silent { .. } | LinkEnd::Stopping => {}
            LinkEnd::Replaced => self.queue.drop_reports(),
            _ => return,
        }
        if self.control.feed.away_since().is_none() {
            let _ = timeout(CONTROL_LAST_WORDS_TIMEOUT, self.serve_last_words()).await;
        }
        let lost = self.queue.said_once();
        if lost > 0 {
            debug!(lost, "what the agent said last and once is lost: the database is away or busy");
            count_dropped("last_words");
        }
    }

    async fn serve_last_words(&mut self) {
        if let Some(work) = self.work.take()
            && let Ok(Worked::Later(work)) = work.await
        {
            return self.queue.put_back(work, Instant::now());
        }
        while let Some(work) = self.queue.next_said() {
            let worked = work::run(self.control, self.agent, self.boot, work, Vec::new()).await;
            if let Ok(Worked::Later(work)) = worked {
                return self.queue.put_back(work, Instant::now());
            }
        }
    }
}

fn log_change(message: &ToAgent) {
    let ToAgent::Change { revision, change } = message else { return };
    match change {
        Change::Rule { rule } => {
            debug!(revision, connection = %rule.connection, "a connection is new to the agent or has changed");
            log_rule(rule);
        }
        Change::Ended { connection } => debug!(revision, %connection, "the agent is told that it has ended"),
        Change::Unlisted { connection } => {
            debug!(revision, %connection, "the agent is told that the gateway does not know it any more");
        }
        Change::Revoked { key } => debug!(revision, %key, "the agent is told of a revoked key"),
        // Only read, never said.
        Change::Unusable { .. } | Change::Unknown => {}
    }
}

fn log_rule(rule: &Rule) {
    let activity = match rule.activity {
        Activity::Ready => "ready",
        Activity::Paused => "paused",
        Activity::Active => "active",
    };
    trace!(
        connection = %rule.connection,
        kind = %rule.kind,
        side = %rule.side,
        peer = %rule.peer,
        peer_route = %rule.peer_route,
        activity,
        secret_epoch = rule.secret_epoch,
        cut_epoch = rule.cut_epoch,
        "a rule as the agent is sent it"
    );
}

async fn send(sender: &mut LinkSender, messages: impl IntoIterator<Item = ToAgent>) -> Result<(), LinkEnd> {
    for message in messages {
        sender.send(&message).await.map_err(lost)?;
    }
    Ok(())
}

/// Receives the next message; safe to drop while waiting: nothing read is lost.
async fn receive_from(at: Instant, receiver: &mut LinkReceiver) -> Result<ToGateway, TransportError> {
    sleep_until(at.into()).await;
    receiver.receive().await
}

/// Resolves when what is under way is done; never if there is nothing.
async fn finished(work: &mut Option<RunningWork<'_>>) -> Result<Worked, LinkEnd> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Resolves at that time; never if there is none.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
