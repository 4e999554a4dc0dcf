//! Control links: who may have one, and what is served on it.
//!
//! Each link is one task with one loop (`session`). What a link has been told is kept in `view`, what it has to
//! ask of the database in `queue`, how fast it may speak in its loop. Rules and refusals are the platform's; QUIC is the
//! transport's.

mod queue;
mod reported;
mod session;
mod view;
mod work;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, error, field, info, info_span, warn};

use super::attempt_limiter::{AttemptLimiter, HandshakeLimiter, Throttled};
use super::authority::{Authority, AuthorityError};
use super::feed::Feed;
use super::platform::{Action, LinkRefusal, Platform, PlatformError};
use super::presence::AgentPresence;
use super::relay::RelayKeeper;
use adit_core::domain::id::{ConnectionId, GatewayId, KeyFingerprint, ServerId};
use adit_core::domain::limits::{
    CONTROL_HANDSHAKE_TIMEOUT, CONTROL_LINKS_MAX, CONTROL_NEWCOMERS, CONTROL_OPEN_TIMEOUT,
    CONTROL_OPENINGS_BURST, CONTROL_OPENINGS_EACH, CONTROL_RENEW_TIMEOUT, GATEWAY_STOP_TIMEOUT,
    LINK_END_KINDS_MAX, RENEWALS_BURST, RENEWALS_EACH, REPEATS_WRITTEN_EVERY, THROTTLED_SAID_EVERY,
};
use adit_core::domain::places::address_of;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::capability::{self, Capabilities};
use adit_core::protocol::control::{DatabaseAway, Rule, ToAgent, ToGateway, VERSION};
use adit_core::protocol::frame::Code;
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_core::protocol::route::canonical;
use adit_core::protocol::token_buckets::TokenBuckets;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::peer::VerifiedPeer;
use adit_net::identity::time::TimeSource;
use adit_net::task::named;
use adit_net::transport::endpoint::{Connection, GatewayEndpoint, Incoming, TransportError};
use adit_net::transport::gateway_socket::Origin;
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::newcomers::{Gone, Newcomer, Newcomers};
use adit_observe::metrics::{
    CONTROL_LINKS, CONTROL_NEWCOMERS_HELD, GATEWAY_DROPPED, LINK_REFUSALS, NEWCOMERS_GONE,
};

/// How long a goodbye may take to arrive.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a link ended, by blame.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    /// Nobody knows whose it would have become.
    #[error("the handshake was not finished: {0}")]
    Unfinished(Gone),
    #[error("this agent opens links too often; a copy of its state folder may be in use elsewhere")]
    TooOften,
    /// The peer goes away or the network does.
    #[error("the link was lost")]
    Lost { source: TransportError },
    #[error("nothing was heard from the agent for {} s", silent_for.as_secs())]
    Silent { silent_for: Duration },
    #[error("{reason}")]
    Refused { reason: String },
    /// The agent does not keep to the protocol.
    #[error("the agent broke the protocol: {what}")]
    Misbehaved { what: String },
    #[error(
        "a newer link of this agent has taken over; if that was not this host, a copy of its state folder is in use elsewhere"
    )]
    Replaced,
    #[error("the gateway is stopping")]
    Stopping,
    /// Ours.
    #[error(transparent)]
    Database(#[from] DatabaseAway),
    #[error("the platform cannot answer")]
    Platform { source: PlatformError },
    #[error("a certificate cannot be signed")]
    Signing { source: AuthorityError },
}

/// Told where the log says more.
const NOT_WELCOME: &str = "this agent's key is not the one on file any more; empty its state folder and enrol with a new connector file";

/// What every link needs.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) platform: Arc<Platform>,
    pub(super) authority: Arc<Authority>,
    pub(super) presence: Arc<AgentPresence>,
    pub(super) relay: Arc<RelayKeeper>,
    pub(super) clock: Arc<dyn TimeSource>,
    pub(super) feed: Arc<Feed>,
    pub(super) gateway: GatewayId,
    /// In which links read and write the database, one after another: ten thousand at once would all be late.
    pub(super) turns: Semaphore,
    pub(super) endpoint: GatewayEndpoint,
    pub(super) stop: CancellationToken,
    /// Limits what strangers can make us write.
    pub(super) audited: AttemptLimiter,
    pub(super) limiters: ControlLimiters,
}

/// How much anybody gets out of opening links, and each agent out of its own.
#[derive(Debug)]
pub(super) struct ControlLimiters {
    newcomers: Arc<Newcomers>,
    handshakes: HandshakeLimiter,
    /// A revoked key's holder takes nothing from the one that took its place.
    openings: Mutex<TokenBuckets<(ServerId, KeyFingerprint)>>,
    renewals: Mutex<TokenBuckets<ServerId>>,
    logged: Mutex<RepeatLimiter<(String, Cause)>>,
    throttled: Throttled,
}

impl Default for ControlLimiters {
    fn default() -> Self {
        let keys_max = 2 * CONTROL_LINKS_MAX;
        let openings = TokenBuckets::every(CONTROL_OPENINGS_BURST, CONTROL_OPENINGS_EACH, keys_max);
        let renewals = TokenBuckets::every(RENEWALS_BURST, RENEWALS_EACH, keys_max);
        Self {
            newcomers: Newcomers::new(CONTROL_NEWCOMERS),
            handshakes: HandshakeLimiter::default(),
            openings: Mutex::new(openings),
            renewals: Mutex::new(renewals),
            logged: Mutex::new(RepeatLimiter::every(REPEATS_WRITTEN_EVERY, LINK_END_KINDS_MAX)),
            throttled: Throttled::default(),
        }
    }
}

/// Who caused what is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Agent(ServerId, KeyFingerprint),
    /// Nobody whose name is proven, at an address.
    Stranger(IpAddr),
}

impl ControlLimiters {
    fn may_open(&self, server: ServerId, key: KeyFingerprint) -> bool {
        let mut openings = self.openings.lock();
        openings.try_take((server, key), Instant::now())
    }

    fn may_renew(&self, server: ServerId) -> bool {
        let mut renewals = self.renewals.lock();
        renewals.try_take(server, Instant::now())
    }

    /// Returns whether a line about one of this kind is due, and how many of them had none since the last.
    fn may_log(&self, kind: &str, cause: Cause) -> Option<u64> {
        self.logged.lock().handle((kind.to_owned(), cause), Instant::now())
    }
}

/// Who is at the other end of a link.
struct LinkAgent {
    server: ServerId,
    peer: VerifiedPeer,
    from: SocketAddr,
}

/// A link whose agent is known and welcome, before it said what it wants.
struct OpenLink {
    agent: LinkAgent,
    connection: Connection,
    sender: LinkSender,
    receiver: LinkReceiver,
    /// In which both talk; picked once the agent has said hello.
    version: u16,
    /// What the agent can do beyond it.
    capabilities: Capabilities,
}

/// Serves links until told to stop, then says goodbye to all.
pub(super) async fn run(control: Arc<Control>, endpoint: GatewayEndpoint) {
    let mut links = JoinSet::new();
    let mut log_tick = tokio::time::interval(THROTTLED_SAID_EVERY);
    loop {
        tokio::select! {
            now = log_tick.tick() => control.limiters.throttled.log_due(now.into()),
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let origin = incoming.origin();
                let from = origin.address();
                if control.limiters.handshakes.may_begin(from.ip(), Instant::now()) {
                    let newcomer = control.limiters.newcomers.enter(from.ip());
                    let span = info_span!("link", %from);
                    span.in_scope(|| debug!(%origin, "an agent begins a handshake"));
                    let serving = serve(Arc::clone(&control), incoming, newcomer);
                    links.spawn(named("control link", serving).instrument(span));
                } else {
                    control.turn_away(incoming);
                }
            }
            Some(_) = links.join_next() => {}
            () = control.stop.cancelled() => break,
        }
        let newcomers = control.limiters.newcomers.held();
        gauge(CONTROL_NEWCOMERS_HELD, newcomers);
        gauge(CONTROL_LINKS, links.len().saturating_sub(newcomers));
    }
    debug!(links = links.len(), "every control link is told that the gateway stops");
    let all_ended = async { while links.join_next().await.is_some() {} };
    if timeout(GATEWAY_STOP_TIMEOUT, all_ended).await.is_err() {
        debug!(links = links.len(), "control links that did not end in time are cut");
        links.shutdown().await;
    }
    endpoint.close(GOODBYE_TIMEOUT).await;
}

/// Counts what is left out without a line of its own at INFO.
fn count_dropped(reason: &'static str) {
    metrics::counter!(GATEWAY_DROPPED, "reason" => reason).increment(1);
}

fn gauge(name: &'static str, count: usize) {
    metrics::gauge!(name).set(u32::try_from(count).unwrap_or(u32::MAX));
}

async fn serve(control: Arc<Control>, incoming: Incoming, newcomer: Newcomer) {
    let from = incoming.origin().address().ip();
    // Boxed, as all that is asked of the platform on a link: what it takes is given back before the link lives on for
    // days.
    let mut link = match Box::pin(open(&control, incoming, newcomer)).await {
        Ok(link) => link,
        Err(end) => {
            Box::pin(control.audit_handshake(from, &end)).await;
            return control.report_unopened(from, &end);
        }
    };
    let span = info_span!("agent", name = field::Empty, server = %link.agent.server);
    async {
        let end = match serve_open(&control, &mut link).await {
            Ok(never) => match never {},
            Err(end) => control.blamed(end),
        };
        control.report(Cause::Agent(link.agent.server, link.agent.peer.key()), &end);
        // What is ours to explain is said in general words; the details are in our log.
        let reason = match &end {
            LinkEnd::Lost { .. } | LinkEnd::Silent { .. } => return,
            LinkEnd::Platform { .. } | LinkEnd::Signing { .. } => {
                "the gateway has a fault of its own; its log says more".to_owned()
            }
            other => other.to_string(),
        };
        let stopping = matches!(end, LinkEnd::Stopping);
        debug!(reason, stopping, "the agent is told why its link ends");
        let _ = link.sender.send(&ToAgent::Goodbye { reason, stopping }).await;
        link.sender.finish(GOODBYE_TIMEOUT).await;
    }
    .instrument(span)
    .await;
}

/// Accepts handshake and stream of the agent.
async fn open(control: &Control, incoming: Incoming, mut newcomer: Newcomer) -> Result<OpenLink, LinkEnd> {
    let from = incoming.origin().address();
    let handshake = newcomer.within(CONTROL_HANDSHAKE_TIMEOUT, incoming.accept()).await;
    let connection = handshake.map_err(LinkEnd::Unfinished)?.map_err(lost)?;
    let peer = connection.peer(control.authority.trust()).map_err(lost)?;
    let Some(server) = peer.server() else {
        connection.close(Code::Refused);
        return Err(LinkEnd::Misbehaved { what: "it presented the gateway's name".into() });
    };
    debug!(%server, key = %peer.key(), expires = %peer.not_after(), "the handshake is done");
    // From here on it is one agent's affair, and no stranger's place.
    drop(newcomer);
    if !control.limiters.may_open(server, peer.key()) {
        // Counted like one that was never finished: it costs the same.
        connection.close(Code::Refused);
        return Err(LinkEnd::TooOften);
    }
    control.limiters.handshakes.finished(from.ip());
    if !control.presence.has_room_for(server) {
        connection.close(Code::Refused);
        return Err(LinkEnd::Refused { reason: format!("{CONTROL_LINKS_MAX} links are served already") });
    }
    let from = control.endpoint.origin(&connection).map_or(from, Origin::address);
    let (sender, receiver) = in_time(link::accept(&connection)).await?;
    Ok(OpenLink {
        agent: LinkAgent { server, peer, from },
        connection,
        sender,
        receiver,
        version: VERSION,
        capabilities: Capabilities::default(),
    })
}

/// Serves the link from hello to the end; there is no end without a reason.
async fn serve_open(control: &Control, link: &mut OpenLink) -> Result<std::convert::Infallible, LinkEnd> {
    control.check_database()?;
    let turn = control.turns.acquire().await;
    let name = control.authorize_key(link.agent.server, &link.agent.peer).await?;
    drop(turn);
    Span::current().record("name", &name);
    link.connection.admit_control();
    let hello = in_time(link.receiver.receive()).await?;
    let ToGateway::Hello { version, versions, capabilities, software, boot } = hello else {
        return Err(LinkEnd::Misbehaved { what: "its first message is no hello".into() });
    };
    link.version = capability::pick(version, &versions)
        .map_err(|refused| LinkEnd::Refused { reason: format!("{refused} (it is adit {software})") })?;
    let now = control.clock.now();
    if link.agent.peer.is_expired(now) {
        info!(%software, expired = %link.agent.peer.not_after(), "an agent with an expired leaf may renew it");
        return Box::pin(renew_only(control, link)).await;
    }
    info!(%software, %boot, version = link.version, %capabilities, "agent connected");
    link.capabilities = capabilities;
    let copy = control.presence.note_run(link.agent.server, boot, canonical(link.agent.from));
    if let Some(at) = copy {
        Box::pin(control.report_copy(&link.agent, at)).await?;
    }
    session::run(control, link, software, boot, copy).await
}

/// Serves an agent whose leaf has expired: the only thing to have here is a new one.
async fn renew_only(control: &Control, link: &mut OpenLink) -> Result<std::convert::Infallible, LinkEnd> {
    link.sender.send(&ToAgent::RenewOnly { now: control.clock.now() }).await.map_err(lost)?;
    let renewing = async {
        loop {
            match link.receiver.receive().await.map_err(lost)? {
                ToGateway::Renew { csr } => {
                    let renewed = control.renew(&link.agent, &csr).await?;
                    link.sender.send(&renewed).await.map_err(lost)?;
                }
                ToGateway::Heartbeat { .. } | ToGateway::Unknown => {}
                _ => {
                    debug!("the agent asks for more than a new leaf, over one that has expired");
                    let reason = "the certificate has expired; on this link it can only be renewed".into();
                    return Err(LinkEnd::Refused { reason });
                }
            }
        }
    };
    tokio::select! {
        end = timeout(CONTROL_RENEW_TIMEOUT, renewing) => {
            end.unwrap_or(Err(LinkEnd::Silent { silent_for: CONTROL_RENEW_TIMEOUT }))
        }
        () = control.stop.cancelled() => Err(LinkEnd::Stopping),
    }
}

impl Control {
    /// Refuses a link that nobody can judge: without the database nobody is known to be welcome.
    fn check_database(&self) -> Result<(), LinkEnd> {
        self.feed.away_since().map_or(Ok(()), |since| Err(DatabaseAway { since }.into()))
    }

    /// Returns the end as it is told: one who was not served just because the database is away or busy is told so.
    fn blamed(&self, end: LinkEnd) -> LinkEnd {
        match end {
            LinkEnd::Platform { source } if source.is_transient() => {
                debug!(why = error_chain(&source), "a link cannot be served while the database is away");
                self.feed.suspect_database(&source);
                let since = self.feed.away_since().unwrap_or_else(|| self.clock.now());
                DatabaseAway { since }.into()
            }
            end => end,
        }
    }

    /// Logs how a link ended whose agent was known. One that is refused comes back for as long as it runs:
    /// the first refusal has a line at once, its repeats one an hour.
    fn report(&self, cause: Cause, end: &LinkEnd) {
        match end {
            LinkEnd::Lost { source } => info!(why = error_chain(source), "control link lost"),
            LinkEnd::Silent { .. } | LinkEnd::Replaced | LinkEnd::Stopping | LinkEnd::Unfinished(_) => {
                info!(why = %end, "control link ended");
            }
            LinkEnd::Refused { .. } | LinkEnd::Misbehaved { .. } | LinkEnd::TooOften => {
                metrics::counter!(LINK_REFUSALS).increment(1);
                // The reasons are ours; what it broke is its own choice.
                let kind =
                    if matches!(end, LinkEnd::Misbehaved { .. }) { "misbehaved" } else { &end.to_string() };
                if let Some(more) = self.limiters.may_log(kind, cause) {
                    warn!(why = %end, more, "control link refused");
                } else {
                    debug!(why = %end, kind, "control link refused again; counted for the next line");
                }
            }
            // Said once for all links.
            LinkEnd::Database(_) => debug!(why = %end, "control link refused"),
            LinkEnd::Platform { .. } | LinkEnd::Signing { .. } => {
                error!(why = error_chain(end), "control link failed");
            }
        }
    }

    /// Turns one away: too many handshakes were begun and not finished where this one comes from. It stays
    /// unanswered: an honest agent asks again, and is let in as soon as there is room.
    fn turn_away(&self, incoming: Incoming) {
        metrics::counter!(NEWCOMERS_GONE, "why" => "too many").increment(1);
        let from = incoming.origin().address().ip();
        self.limiters.throttled.note(
            "control links wait, too many handshakes were begun there and not finished",
            from,
            Instant::now(),
        );
        incoming.ignore();
    }

    /// Logs how a link ended whose agent never became known, or welcome. Strangers cause these at will, so
    /// only some have a line of their own.
    fn report_unopened(&self, from: IpAddr, end: &LinkEnd) {
        let cause = Cause::Stranger(address_of(from));
        let kind = match end {
            LinkEnd::Unfinished(Gone::Displaced) => "displaced",
            LinkEnd::Unfinished(Gone::Late { .. }) => "late",
            LinkEnd::Lost { source } if source.refused_handshake().is_some() => "refused",
            LinkEnd::TooOften => "too often",
            LinkEnd::Lost { .. } | LinkEnd::Silent { .. } => "lost",
            LinkEnd::Refused { .. } | LinkEnd::Misbehaved { .. } => "refused",
            LinkEnd::Replaced
            | LinkEnd::Stopping
            | LinkEnd::Database(_)
            | LinkEnd::Platform { .. }
            | LinkEnd::Signing { .. } => {
                return self.report(cause, end);
            }
        };
        if matches!(kind, "refused" | "too often") {
            metrics::counter!(LINK_REFUSALS).increment(1);
        } else {
            metrics::counter!(NEWCOMERS_GONE, "why" => kind).increment(1);
        }
        match self.limiters.may_log(kind, cause) {
            Some(more) if kind == "refused" || kind == "too often" => {
                warn!(why = error_chain(end), more, "control link refused");
            }
            Some(more) => info!(why = error_chain(end), more, "control link not opened"),
            None => {
                debug!(
                    why = error_chain(end),
                    kind, "control link not opened again; counted for the next line"
                );
            }
        }
    }

    /// Reports that two runs of one agent take turns. They do so for as long as both live.
    async fn report_copy(&self, agent: &LinkAgent, other: SocketAddr) -> Result<(), LinkEnd> {
        let (server, here) = (agent.server, canonical(agent.from));
        if let Some(more) = self.limiters.may_log("another copy", Cause::Agent(server, agent.peer.key())) {
            warn!(
                %here, %other, more,
                "two copies of this agent run and take the control link from each other; stop one, or give it a \
                 server and a connector file of its own"
            );
            let recorded = self.platform.copy_seen(server, here, other, more.saturating_add(1)).await;
            recorded.map_err(|source| LinkEnd::Platform { source })?;
        }
        Ok(())
    }

    /// Checks whether the peer's key is still on file. A refusal is in the audit log before it is told.
    async fn authorize_key(&self, server: ServerId, peer: &VerifiedPeer) -> Result<String, LinkEnd> {
        let reason = match Box::pin(self.platform.authorize_key(server, peer.key())).await {
            Ok(name) => return Ok(name),
            Err(LinkRefusal::Platform(source)) => {
                return Err(self.unwritten_refusal(server, peer, source).await);
            }
            Err(LinkRefusal::UnknownServer) => {
                "this server is not registered any more; ask the gateway's operator"
            }
            Err(LinkRefusal::RevokedKey) => {
                "this agent's key was revoked; empty its state folder and enrol with a new connector file"
            }
            Err(LinkRefusal::KeyNotOnFile) => {
                "this agent's key is not the one on file; empty its state folder and enrol with a new \
                 connector file"
            }
        };
        Err(LinkEnd::Refused { reason: reason.into() })
    }

    /// Returns what becomes of a link whose key could not be judged with an audit entry. One that is not good is
    /// refused even where that cannot be written, as while the disk is full.
    async fn unwritten_refusal(
        &self,
        server: ServerId,
        peer: &VerifiedPeer,
        source: PlatformError,
    ) -> LinkEnd {
        if !source.is_away() && matches!(self.platform.has_key(server, peer.key()).await, Ok(false)) {
            error!(
                why = error_chain(&source),
                "an agent's key is not on file; that it is refused cannot be audited"
            );
            return LinkEnd::Refused { reason: NOT_WELCOME.into() };
        }
        LinkEnd::Platform { source }
    }

    /// Returns the rules, by connection, and revoked keys as the server must know them now.
    async fn rules(&self, server: ServerId) -> Result<(Vec<Rule>, Vec<KeyFingerprint>), LinkEnd> {
        Box::pin(self.platform.rules_for(server)).await.map_err(|source| LinkEnd::Platform { source })
    }

    /// Returns which of these connections of the server have reached a final status.
    async fn ended_among(
        &self,
        server: ServerId,
        connections: &[ConnectionId],
    ) -> Result<Vec<ConnectionId>, LinkEnd> {
        let ended = self.platform.ended_among(server, connections).await;
        ended.map_err(|source| LinkEnd::Platform { source })
    }

    /// Audits a stranger that the handshake refused: no certificate, another CA, a name that is none.
    async fn audit_handshake(&self, from: IpAddr, end: &LinkEnd) {
        let LinkEnd::Lost { source } = end else { return };
        let Some(why) = source.refused_handshake() else { return };
        if self.audited.let_in(from).is_err() {
            count_dropped("unaudited_refusal");
            debug!(%why, "not audited: too many were refused where this one comes from");
            return;
        }
        let audited = self.platform.host_refused(None, Action::OpenControlLink, from, &why.to_string()).await;
        match audited {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                debug!(why = error_chain(&error), "a refused handshake is not audited: the database is away");
                count_dropped("unaudited_refusal");
            }
            Err(error) => error!(why = error_chain(&error), "a refused handshake could not be audited"),
        }
    }

    /// Signs a new leaf over the key on file; any other key is refused.
    async fn renew(&self, agent: &LinkAgent, csr: &str) -> Result<ToAgent, LinkEnd> {
        if !self.limiters.may_renew(agent.server) {
            let reason = "the agent asks for new certificates too often".into();
            return Err(LinkEnd::Refused { reason });
        }
        let csr = match renewable(csr, &agent.peer) {
            Ok(csr) => csr,
            Err(reason) => {
                let (server, from) = (Some(agent.server), agent.from.ip());
                let audited = self.platform.host_refused(server, Action::RenewLeaf, from, &reason).await;
                audited.map_err(|source| LinkEnd::Platform { source })?;
                return Err(LinkEnd::Refused { reason });
            }
        };
        self.authorize_key(agent.server, &agent.peer).await?;
        let leaf = self
            .authority
            .sign_server(&csr, agent.server, self.clock.now())
            .map_err(|source| LinkEnd::Signing { source })?;
        info!("leaf renewed");
        self.note_leaf(agent).await;
        Ok(ToAgent::Renewed { leaf: hex::encode(leaf) })
    }

    /// Notes until when the leaf is good, for its server's owner; an agent gets it all the same where that fails.
    async fn note_leaf(&self, agent: &LinkAgent) {
        let noted = self.platform.note_leaf(agent.server, agent.peer.key()).await;
        if let Err(error) = noted {
            debug!(why = error_chain(&error), "that the leaf was renewed is not noted");
            if error.is_transient() {
                self.feed.suspect_database(&error);
            }
        }
    }
}

fn renewable(csr: &str, peer: &VerifiedPeer) -> Result<VerifiedCsr, String> {
    let der = hex::decode(csr).map_err(|_| "the certificate request is not hexadecimal")?;
    let csr = VerifiedCsr::from_der(&der).map_err(|error| error.to_string())?;
    if csr.fingerprint() == peer.key() {
        return Ok(csr);
    }
    Err("a leaf is renewed over its own key only; for a new key enrol again with a new connector file".into())
}

fn lost(source: TransportError) -> LinkEnd {
    match source {
        TransportError::Peer { what } => LinkEnd::Misbehaved { what },
        source => LinkEnd::Lost { source },
    }
}

async fn in_time<T>(step: impl Future<Output = Result<T, TransportError>>) -> Result<T, LinkEnd> {
    match timeout(CONTROL_OPEN_TIMEOUT, step).await {
        Ok(outcome) => outcome.map_err(lost),
        Err(_) => Err(LinkEnd::Silent { silent_for: CONTROL_OPEN_TIMEOUT }),
    }
}
