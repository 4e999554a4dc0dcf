//! The control link from the agent's side: dials the gateway forever, applies what it says, and reports what
//! is true here. Without it everything known goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::Instrument;

use super::context::Context;
use super::policy;
use super::rejected::Rejected;
use super::restart::Restart;
use super::state::StoredSecret;
use super::wanted_peers::Announced;
use adit_core::config::HostPort;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, RelayId};
use adit_core::domain::limits;
use adit_core::domain::secret::Secret;
use adit_core::domain::visible::error_chain;
use adit_core::domain::word::UnknownWord;
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::connection::Policy;
use adit_core::protocol::control::{
    Activity, Change, ConfigMismatch, Report, Rule, ToAgent, ToGateway, VERSION, VERSIONS,
};
use adit_core::protocol::heartbeat::{Beat, Heartbeat};
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::repeat_limiter::shown;
use adit_core::protocol::route::canonical;
use adit_core::protocol::rule_list::{RuleList, UnusableRule};
use adit_core::protocol::rules::{RuleBook, RuleEffect};
use adit_core::protocol::text::listed;
use adit_net::identity::random;
use adit_net::identity::renewal::LeafRefused;
use adit_net::identity::time::TimeSource;
use adit_net::transport::any_address::any_like;
use adit_net::transport::control_dial::{self, GatewayPlace};
use adit_net::transport::destination::Destination;
use adit_net::transport::endpoint::{Connection, TransportError};
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::resolve::resolve_all;
use adit_net::transport::routes::RelayServer;
use adit_net::transport::socket::AgentSocket;
use adit_observe::unknown;

const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the gateway's name is still looked up once its carrier is open.
const LOOK_UP_GRACE: Duration = Duration::from_millis(500);
/// How often it is looked up on a link that came up without.
const LOOK_UP_AGAIN: Duration = Duration::from_mins(1);
/// Reports go out at most this often, and only when they differ from the last.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A secret that did not come is asked for again.
const FETCH_AGAIN: Duration = Duration::from_secs(30);
/// How soon the gateway hears again why a connection that it has in force cannot be.
const MISMATCH_AGAIN: Duration = Duration::from_secs(5);
const LET_OUT: &str = "see that the gateway runs, and let UDP out to its port and the answers in, or at least \
                       TCP to its port 443";
const UNLISTED: &str =
    "the gateway does not list this connection; it comes back by itself once the gateway does";

#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    #[error("cannot find the address of the gateway `{host}`")]
    Resolve { host: String, source: std::io::Error },
    #[error("the gateway has no address")]
    NoAddress,
    #[error("cannot reach the gateway at {place}")]
    Dial { place: Destination, source: TransportError },
    #[error("the control link broke")]
    Link(#[from] TransportError),
    #[error("the gateway was silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the gateway ended the link: {reason}")]
    Goodbye { reason: String, stopping: bool },
    #[error("the gateway sent changes that do not follow each other; starting anew")]
    Gap,
    #[error("the gateway did not start with a welcome")]
    NoWelcome,
    #[error(
        "the gateway picked control version {picked}, this agent ({}) speaks {VERSIONS:?}; update adit here",
        env!("CARGO_PKG_VERSION")
    )]
    Version { picked: u16 },
    #[error("the gateway's new certificate was not taken")]
    Leaf(#[from] LeafRefused),
    #[error("the gateway's new certificate is not hexadecimal")]
    LeafText,
    #[error("cannot sign the request for a new certificate")]
    Request { source: adit_net::identity::error::IdentityError },
    #[error("the certificate was renewed; the link starts over with it")]
    Renewed,
    #[error("what a gateway said for good was undone here; the link starts anew with all it says now")]
    Undone,
    #[error("the gateway was restarted; it is dialled anew")]
    Restarted,
}

impl LinkEnd {
    /// Returns whether the gateway may merely be away.
    const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::NoAddress
                | Self::Dial { .. }
                | Self::Link(_)
                | Self::Silent(_)
                | Self::NoWelcome
                | Self::Restarted
                | Self::Goodbye { stopping: true, .. }
        )
    }

    /// Returns one line with its causes, and what to do where a person can do something. Only a packet that
    /// did not come back is a firewall's doing.
    fn said(&self) -> String {
        let what = error_chain(self);
        let remedy = match self {
            Self::Resolve { .. } | Self::NoAddress => {
                "correct the name service of this host, or the addresses in a new connector file"
            }
            Self::Dial { source, .. } | Self::Link(source) if source.is_silence() => LET_OUT,
            Self::Silent(_) => LET_OUT,
            _ => return what,
        };
        format!("{what}; {remedy}")
    }
}

/// What the control link needs beside the context.
pub(crate) struct ControlClient {
    pub context: Arc<Context>,
    pub socket: Arc<AgentSocket>,
    pub boot: BootId,
    pub announced: Announced,
    pub direct_addresses: Vec<SocketAddr>,
    pub outbox: mpsc::Receiver<ToGateway>,
}

impl ControlClient {
    /// Runs until dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff =
            Backoff::new(limits::CONTROL_BACKOFF_MIN, limits::CONTROL_BACKOFF_MAX, limits::CONTROL_LASTED);
        let mut restart = Restart::default();
        let mut number = 0_u64;
        loop {
            let mut up_since = None;
            number += 1;
            let dialling = self.one_link(&mut up_since, restart.dial_timeout(Instant::now()));
            let Err(error) = dialling.instrument(tracing::debug_span!("link", number)).await;
            self.context.set_link(false);
            self.context.routes.set_relay(None);
            let now = Instant::now();
            if matches!(error, LinkEnd::Goodbye { stopping: true, .. }) {
                restart.begin(now);
                tracing::info!("the gateway is stopping; it is dialled until it is back");
            }
            let is_excused = restart.is_excused(now) && error.is_absence();
            self.context.note_link_fault(error.said(), is_excused);
            if let Some(up_since) = up_since {
                backoff.on_lost(now.saturating_duration_since(up_since));
            }
            let pause = restart.pause(now, random::draw());
            let pause = pause.unwrap_or_else(|| backoff.next_delay(random::draw()));
            let lived = up_since.map(|up_since| tracing::field::debug(up_since.elapsed()));
            tracing::debug!(
                error = error_chain(&error),
                lived,
                ?pause,
                is_excused,
                "the control link is away; it is dialled again after the pause"
            );
            sleep(pause).await;
        }
    }

    async fn one_link(
        &mut self,
        up_since: &mut Option<Instant>,
        dial_timeout: Duration,
    ) -> Result<std::convert::Infallible, LinkEnd> {
        let GatewayDialled { connection, place, addresses } = self.dial(dial_timeout).await?;
        let (mut sender, mut receiver) = link::open(&connection).await?;
        sender.send(&self.hello()).await?;
        let welcome = timeout(WELCOME_TIMEOUT, known(&mut receiver)).await;
        let (now, capabilities) = match welcome.map_err(|_| LinkEnd::NoWelcome)?? {
            ToAgent::Welcome { version, now, capabilities } => {
                if !VERSIONS.contains(&version) {
                    return Err(LinkEnd::Version { picked: version });
                }
                tracing::debug!(version, %capabilities, "the gateway welcomes this agent");
                (now, capabilities)
            }
            ToAgent::RenewOnly { now } => {
                tracing::warn!("this agent's certificate has expired; renewing it");
                self.context.learn_time(now).await;
                return self.renew_only(&mut sender, &mut receiver).await;
            }
            ToAgent::Goodbye { reason, stopping } => return Err(LinkEnd::Goodbye { reason, stopping }),
            _ => return Err(LinkEnd::NoWelcome),
        };
        self.context.learn_time(now).await;
        sender.send(&self.hidden_from()).await?;
        let tells_paths = capabilities.has(Capability::AllowedPaths);
        if tells_paths {
            sender.send(&self.allowed_paths()).await?;
        }
        let toward = place.address().or_else(|| addresses.first().copied());
        let mut session = ControlSession::new(self, toward, tells_paths);
        let mut first = Vec::new();
        session.announce(&mut first);
        for message in first {
            sender.send(&message).await?;
        }
        *up_since = Some(Instant::now());
        let context = &session.client.context;
        context.set_link(true);
        let key = PacketKey::of_link(&connection.registration_secret()?);
        // An older gateway answers no probes, and the link stays on the path on which it was dialled.
        let answers_probes = capabilities.has(Capability::Carrier);
        context.routes.follow(context.enrolment.gateway_route, &connection);
        let is_nowhere = addresses.is_empty();
        context.routes.set_relay(Some(RelayServer { place, addresses, key, answers_probes }));
        if let Some(more) = context.link_repeats.note("the control link is up", Instant::now()) {
            tracing::info!(gateway = %place, more = shown(more), "the control link is up");
        }
        let context = Arc::clone(context);
        tokio::select! {
            ended = session.run(sender, receiver) => ended,
            never = look_up_again(&context), if is_nowhere => match never {},
        }
    }

    /// Renews the leaf: nothing else is served to an expired leaf; with the new one the link starts over.
    async fn renew_only(
        &self,
        sender: &mut LinkSender,
        receiver: &mut LinkReceiver,
    ) -> Result<std::convert::Infallible, LinkEnd> {
        let csr = self.context.endpoint.credentials().identity.key().csr_der();
        let csr = hex::encode(csr.map_err(|source| LinkEnd::Request { source })?);
        sender.send(&ToGateway::Renew { csr }).await?;
        let answer = timeout(WELCOME_TIMEOUT, known(receiver)).await;
        match answer.map_err(|_| LinkEnd::Silent(WELCOME_TIMEOUT))?? {
            ToAgent::Renewed { leaf } => match self.renew(&leaf).await {
                Ok(()) => Err(LinkEnd::Renewed),
                Err(error) => {
                    self.context.note_rejected(Rejected::Leaf, error_chain(&error)).await;
                    Err(error)
                }
            },
            ToAgent::Goodbye { reason, stopping } => Err(LinkEnd::Goodbye { reason, stopping }),
            _ => Err(LinkEnd::NoWelcome),
        }
    }

    /// Takes a new leaf over the key in use, which was asked for.
    async fn renew(&self, leaf: &str) -> Result<(), LinkEnd> {
        let context = &self.context;
        let leaf = hex::decode(leaf).map_err(|_| LinkEnd::LeafText)?;
        let credentials = context.endpoint.credentials();
        let identity = credentials.identity.renewed(&leaf, &credentials.trust, context.clock.now())?;
        // On disk before use: a crash in between must not lose the only good leaf.
        if let Err(error) = context.keep_leaf(leaf).await {
            tracing::error!(%error, "the renewed certificate could not be kept");
            return Ok(());
        }
        context.endpoint.renew(identity)?;
        context.clear_rejected(Rejected::Leaf);
        tracing::info!("this agent's certificate was renewed");
        Ok(())
    }

    /// Dials the gateway at whichever of its addresses answers, or over its carrier; each may take so long.
    async fn dial(&self, limit: Duration) -> Result<GatewayDialled, LinkEnd> {
        let Context { enrolment, routes, endpoint, .. } = &*self.context;
        tracing::debug!(
            gateway = %listed(&enrolment.gateway_addresses),
            ?limit,
            "the gateway's addresses are looked up"
        );
        let (route, mut carriers) = (enrolment.gateway_route, routes.carriers());
        let relay = RelayId(route);
        let (addresses, mut nameless) = tokio::select! {
            found = look_up(&enrolment.gateway_addresses) => found,
            // Where a proxy looks names up, this host may ask in vain for long.
            () = async {
                // The sender lives as long as the agent.
                let _ = carriers.wait_for(|open| open.contains(relay)).await;
                sleep(LOOK_UP_GRACE).await;
            } => {
                tracing::debug!("the gateway's carrier is open before its name is found, so that is not waited for");
                (Vec::new(), Vec::new())
            }
        };
        let gateway = GatewayPlace { route, addresses: addresses.clone(), carriers: routes.carriers() };
        let mut failed = match control_dial::dial(endpoint, &self.socket, gateway, limit).await {
            Ok((connection, place)) => return Ok(GatewayDialled { connection, place, addresses }),
            Err(failed) => failed,
        };
        if failed.iter().any(|(place, error)| place.address().is_none() && error.is_silence()) {
            tracing::debug!("nobody answered over the carrier, so another one is dialled");
            routes.note_carrier_dead();
        }
        // What a gateway answered tells more than silence.
        let telling = failed.iter().position(|(_, error)| !error.is_silence());
        let failure = telling.map(|place| failed.swap_remove(place)).or_else(|| failed.pop());
        Err(match (failure, nameless.pop()) {
            (Some((place, source)), _) => LinkEnd::Dial { place, source },
            (None, Some((host, source))) => LinkEnd::Resolve { host: host.to_string(), source },
            (None, None) => LinkEnd::NoAddress,
        })
    }

    fn hello(&self) -> ToGateway {
        ToGateway::Hello {
            version: VERSION,
            versions: VERSIONS.to_vec(),
            capabilities: Capabilities::own(),
            software: env!("CARGO_PKG_VERSION").into(),
            boot: self.boot,
        }
    }

    /// Returns whom the gateway must not tell where this host is.
    fn hidden_from(&self) -> ToGateway {
        ToGateway::HiddenFrom { peers: self.context.paths.hidden_from() }
    }

    /// Returns what the gateway tells peers of the paths that this agent's owner allows.
    fn allowed_paths(&self) -> ToGateway {
        ToGateway::AllowedPaths { peers: self.context.paths.allowed() }
    }

    /// Returns the addresses of this agent's socket that peers may try now; `None` while this host has none
    /// toward the gateway. Where no name of the gateway can be looked up, as behind a proxy that does so
    /// itself, only those of the file are known.
    fn reachable_at(&self, toward: Option<SocketAddr>) -> Option<Vec<SocketAddr>> {
        let bound = self.socket.bound().ok()?;
        let ip = match toward {
            _ if !bound.ip().is_unspecified() => Some(bound.ip()),
            Some(gateway) => Some(local_ip_toward(gateway)?),
            None => None,
        };
        let own = ip.map(|ip| SocketAddr::new(ip.to_canonical(), bound.port()));
        let mut addresses: Vec<_> = self.direct_addresses.iter().copied().chain(own).collect();
        addresses.truncate(limits::PEER_ADDRESSES_MAX);
        Some(addresses)
    }
}

/// A gateway that was dialled.
struct GatewayDialled {
    connection: Connection,
    /// Where it answered.
    place: Destination,
    /// Where else it may be over UDP, and what its name says.
    addresses: Vec<SocketAddr>,
}

/// Returns the addresses of the gateway, and the names that could not be looked up.
async fn look_up(gateway: &[HostPort]) -> (Vec<SocketAddr>, Vec<(HostPort, std::io::Error)>) {
    let (candidates, nameless) = resolve_all(gateway).await;
    (candidates.into_iter().map(|candidate| canonical(candidate.address)).collect(), nameless)
}

/// Looks the gateway up again and again until it has an address, so that the link can go over to UDP.
async fn look_up_again(context: &Context) -> std::convert::Infallible {
    loop {
        let (addresses, _) = look_up(&context.enrolment.gateway_addresses).await;
        if !addresses.is_empty() {
            tracing::debug!(addresses = %listed(&addresses), "the gateway's addresses are known now");
            context.routes.set_gateway_addresses(addresses);
            std::future::pending::<()>().await;
        }
        sleep(LOOK_UP_AGAIN).await;
    }
}

/// Waits for the next message that this build knows.
async fn known(receiver: &mut LinkReceiver) -> Result<ToAgent, TransportError> {
    loop {
        match receiver.receive().await? {
            ToAgent::Unknown => unknown::note("message", receiver.tag()),
            message => return Ok(message),
        }
    }
}

/// Returns the source address the kernel would choose; no packet is sent.
fn local_ip_toward(address: SocketAddr) -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind(any_like(address)).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// One live link and what was said on it.
struct ControlSession<'a> {
    client: &'a mut ControlClient,
    /// An address of the gateway, where one is known.
    toward: Option<SocketAddr>,
    /// The gateway tells peers which paths this agent's owner allows.
    tells_paths: bool,
    /// Where the gateway was told that this agent can be reached.
    reachable: Vec<SocketAddr>,
    /// Whether the gateway has given its whole view on this link.
    has_snapshot: bool,
    /// Rules that came ahead of their snapshot.
    parts: BTreeMap<ConnectionId, Rule>,
    unusable_parts: BTreeMap<ConnectionId, UnusableRule>,
    /// Connections of which the gateway was asked whether they ended.
    missed: BTreeSet<ConnectionId>,
    reported: BTreeMap<ConnectionId, Report>,
    /// What was said of a connection, and when.
    config_mismatch: BTreeMap<(ConnectionId, ConfigMismatch), Instant>,
    stored: BTreeMap<ConnectionId, u32>,
    asked: BTreeMap<ConnectionId, (u32, Instant)>,
    renewal_asked: Option<Instant>,
    awaits_leaf: bool,
    renew_after: Duration,
}

impl<'a> ControlSession<'a> {
    fn new(client: &'a mut ControlClient, toward: Option<SocketAddr>, tells_paths: bool) -> Self {
        // Jitter keeps a thousand agents from renewing in the same minute.
        let renew_after = limits::LEAF_RENEW_EVERY.mul_f64(0.9 + 0.2 * random::draw());
        Self {
            client,
            toward,
            tells_paths,
            reachable: Vec::new(),
            has_snapshot: false,
            parts: BTreeMap::new(),
            unusable_parts: BTreeMap::new(),
            missed: BTreeSet::new(),
            reported: BTreeMap::new(),
            config_mismatch: BTreeMap::new(),
            stored: BTreeMap::new(),
            asked: BTreeMap::new(),
            renewal_asked: None,
            awaits_leaf: false,
            renew_after,
        }
    }

    async fn run(
        mut self,
        mut sender: LinkSender,
        mut receiver: LinkReceiver,
    ) -> Result<std::convert::Infallible, LinkEnd> {
        let mut heartbeat = Heartbeat::new(
            Instant::now(),
            limits::CONTROL_HEARTBEAT_EVERY,
            limits::CONTROL_HEARTBEATS_MISSED_MAX,
        );
        let mut paths = self.client.context.paths.watch();
        // A choice made since the link was opened is said again.
        paths.mark_changed();
        let mut gateway_path = self.client.context.routes.gateway_path();
        let mut run = None;
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut outgoing = Vec::new();
            tokio::select! {
                message = receiver.receive() => {
                    heartbeat.handle_heard(Instant::now());
                    let message = message?;
                    if message == ToAgent::Unknown {
                        unknown::note("message", receiver.tag());
                    }
                    self.handle(message, &mut outgoing).await?;
                }
                Some(message) = self.client.outbox.recv() => outgoing.push(message),
                Ok(()) = gateway_path.changed() => {
                    let boot = gateway_path.borrow_and_update().boot;
                    if run.is_some_and(|run| boot.is_some_and(|boot| boot != run)) {
                        return Err(LinkEnd::Restarted);
                    }
                    run = boot.or(run);
                }
                Ok(()) = paths.changed() => {
                    outgoing.push(self.client.hidden_from());
                    if self.tells_paths {
                        outgoing.push(self.client.allowed_paths());
                    }
                }
                _ = reports.tick() => {
                    if self.client.context.take_undone() {
                        tracing::debug!("something that a gateway said for good was undone here; all is heard again");
                        return Err(LinkEnd::Undone);
                    }
                    self.client.context.retry_keeping_rules().await;
                    self.announce(&mut outgoing);
                    self.report(&mut outgoing);
                }
                () = sleep_until(heartbeat.deadline().into()) => match heartbeat.poll(Instant::now()) {
                    Some(Beat::Send { number }) => outgoing.push(ToGateway::Heartbeat { number }),
                    Some(Beat::Lost { silent_for }) => return Err(LinkEnd::Silent(silent_for)),
                    None => {}
                },
            }
            for message in outgoing {
                sender.send(&message).await?;
            }
        }
    }

    async fn handle(&mut self, message: ToAgent, outgoing: &mut Vec<ToGateway>) -> Result<(), LinkEnd> {
        let context = Arc::clone(&self.client.context);
        match message {
            ToAgent::Heartbeat { now, number } => {
                tracing::trace!(number, %now, "received a heartbeat");
                context.hear_time(now).await;
                // A link that has not said its rules yet confirms none.
                if self.has_snapshot {
                    context.confirm_rules();
                }
            }
            ToAgent::SnapshotPart { rules, revoked } => {
                tracing::debug!(
                    rules = rules.usable.len(),
                    unusable = rules.unusable.len(),
                    revoked = revoked.len(),
                    "a part of the snapshot of rules came"
                );
                self.keep_parts(rules);
                let mut book = context.received_rules();
                log_effects(&book.apply_revoked(revoked));
                self.adopt(book).await;
            }
            ToAgent::Snapshot { revision, rules, revoked } => {
                tracing::debug!(
                    revision,
                    rules = rules.usable.len(),
                    unusable = rules.unusable.len(),
                    revoked = revoked.len(),
                    "the snapshot of rules is whole"
                );
                self.keep_parts(rules);
                let rules = self.take_parts();
                let mut book = context.received_rules();
                log_effects(&book.apply_snapshot(revision, rules, revoked));
                self.has_snapshot = true;
                self.adopt(book).await;
                context.confirm_rules();
                self.sync(outgoing);
            }
            ToAgent::Change { revision, change } => {
                tracing::debug!(revision, "a change of the rules came");
                if change == Change::Unknown {
                    unknown::note("change", UnknownWord::NONE);
                }
                let mut book = context.received_rules();
                log_effects(&book.apply_change(revision, change).map_err(|_| LinkEnd::Gap)?);
                self.adopt(book).await;
                context.confirm_rules();
                self.sync(outgoing);
            }
            ToAgent::Ended { connections } => {
                tracing::debug!(
                    connections = %listed(&connections),
                    "the gateway says that these have ended for good"
                );
                let mut book = context.received_rules();
                log_effects(&book.apply_ended(connections));
                self.adopt(book).await;
                self.sync(outgoing);
            }
            ToAgent::AnotherCopy { at } => context.copies.note(at, context.clock.now(), Instant::now()),
            ToAgent::Candidates { peer, addresses } => self.client.announced.set(peer, addresses),
            ToAgent::AllowedPaths { peer, allowed } => context.paths.note_peers_word(peer, allowed),
            ToAgent::Secret { connection, epoch, .. } if !context.wants_secret(connection, epoch) => {
                tracing::debug!(%connection, epoch, "a secret that no rule of this agent's file asks for is not kept");
            }
            ToAgent::Secret { connection, epoch, secret } => {
                let Ok(secret) = Secret::from_hex(&secret) else {
                    tracing::debug!(%connection, epoch, "a secret came that is none");
                    return Ok(());
                };
                match context.keep_secret(connection, StoredSecret { epoch, secret }).await {
                    Ok(()) => outgoing.push(ToGateway::SecretStored { connection, epoch }),
                    Err(error) => tracing::error!(%error, "a connection's secret could not be kept"),
                }
            }
            ToAgent::SecretUnavailable { connection } => self.note_no_secret(connection),
            ToAgent::Renewed { leaf } => self.take_leaf(&leaf).await,
            ToAgent::Goodbye { reason, stopping } => return Err(LinkEnd::Goodbye { reason, stopping }),
            ToAgent::Welcome { .. } | ToAgent::RenewOnly { .. } | ToAgent::Unknown => {}
        }
        Ok(())
    }

    /// Says where this agent can be reached, when that is news: a host's address may change under a link
    /// that lives on.
    fn announce(&mut self, outgoing: &mut Vec<ToGateway>) {
        // While there is none, what was said last may come true again.
        let Some(addresses) = self.client.reachable_at(self.toward) else { return };
        if self.reachable == addresses {
            return;
        }
        if !self.reachable.is_empty() {
            tracing::info!(addresses = %listed(&addresses), "this host's address has changed; peers are told");
        }
        tracing::debug!(
            addresses = %listed(&addresses),
            "the gateway is told where peers can reach this agent"
        );
        self.reachable.clone_from(&addresses);
        outgoing.push(ToGateway::Listening { addresses });
    }

    /// Adopts the rules: what the gateway may make this agent remember is bounded; no bound ends the link.
    async fn adopt(&mut self, book: RuleBook) {
        let context = &self.client.context;
        let left_out = book.left_out();
        let is_new = left_out > context.rules().left_out();
        context.adopt_rules(book).await;
        if is_new {
            let what = format!(
                "it has named {left_out} connections and keys since the start that concern nothing in this agent's \
                 file, more than are kept"
            );
            context.note_rejected(Rejected::Foreign, what).await;
        }
    }

    /// Keeps rules ahead of their snapshot: those of the own file, and few of the rest.
    fn keep_parts(&mut self, rules: RuleList) {
        if rules.nameless > 0 {
            unknown::note("rule", UnknownWord::NONE);
        }
        for rule in rules.unusable {
            if self.client.context.entries.get(rule.connection()).is_some() {
                self.unusable_parts.insert(rule.connection(), rule);
            }
        }
        for rule in rules.usable {
            let is_ours = self.client.context.entries.get(rule.connection).is_some();
            if is_ours || self.parts.len() < limits::RULES_FOREIGN_MAX {
                self.parts.insert(rule.connection, rule);
            } else {
                tracing::debug!(connection = %rule.connection, "a rule for nothing in this agent's file is left out");
            }
        }
    }

    fn take_parts(&mut self) -> RuleList {
        RuleList {
            usable: std::mem::take(&mut self.parts).into_values().collect(),
            unusable: std::mem::take(&mut self.unusable_parts).into_values().collect(),
            nameless: 0,
        }
    }

    /// Takes a renewed leaf: a leaf that was not asked for or is not good is not taken; the link goes on with
    /// the one in use.
    async fn take_leaf(&mut self, leaf: &str) {
        let is_asked = std::mem::take(&mut self.awaits_leaf);
        let taken = if is_asked { self.client.renew(leaf).await } else { Err(LeafRefused::Unasked.into()) };
        if let Err(error) = taken {
            self.client.context.note_rejected(Rejected::Leaf, error_chain(&error)).await;
        }
    }

    fn note_no_secret(&self, connection: ConnectionId) {
        let context = &self.client.context;
        if let Some(entry) = context.entries.get(connection) {
            let what = "the gateway no longer holds this connection's secret for this side; \
                        have `adit admin connection rotate` run, or write `secret` into the entry";
            context.note_fault(entry, what);
        }
    }

    /// Compares the rules with the file and the secrets held.
    fn sync(&mut self, outgoing: &mut Vec<ToGateway>) {
        let context = Arc::clone(&self.client.context);
        let rules = context.rules();
        for entry in context.entries.all() {
            let connection = entry.config.id;
            let policy = policy::of(&entry.config, entry.side, &rules);
            let found = entry.status().upstream.config_mismatch;
            if let Some(reason) = found.filter(|_| policy.is_active())
                && self.may_report_mismatch(connection, reason, true)
            {
                outgoing.push(ToGateway::ConfigMismatch { connection, reason: reason.into() });
            }
            if found.is_none() || !policy.keeps_tunnel() {
                // Said again if it is found again once the connection was retried.
                self.config_mismatch.remove(&(connection, ConfigMismatch::MirthTooOld));
            }
            if policy == Policy::Unlisted {
                context.note_fault(entry, UNLISTED);
            }
            if let Policy::Unusable(why) = policy {
                context.note_fault(entry, &why.to_string());
                continue;
            }
            if let Policy::ConfigMismatch(reason) = policy {
                tracing::trace!(name = %entry.config.name, %reason, "the rule and this agent's file disagree");
                context.note_fault(entry, &reason.to_string());
                let in_force = rules.rule(connection).is_some_and(|rule| rule.activity != Activity::Ready);
                if self.may_report_mismatch(connection, reason, in_force) {
                    outgoing.push(ToGateway::ConfigMismatch { connection, reason: reason.into() });
                }
                continue;
            }
            let Some(rule) = policy.rule() else { continue };
            let epoch = rule.secret_epoch;
            if context.secret(&entry.config, rule).is_some() {
                if self.stored.insert(connection, epoch) != Some(epoch) {
                    outgoing.push(ToGateway::SecretStored { connection, epoch });
                }
            } else if self.may_ask(connection, epoch) {
                tracing::debug!(%connection, epoch, "the secret of this connection is not here; it is asked for");
                outgoing.push(ToGateway::FetchSecret { connection });
            }
        }
    }

    /// Asks once whether what the gateway does not list has ended; again once that was undone here.
    fn ask_ended(&mut self, outgoing: &mut Vec<ToGateway>) {
        let context = &self.client.context;
        let rules = context.rules();
        let is_missing = |id: &ConnectionId| {
            rules.rule(*id).is_none() && rules.unusable(*id).is_none() && !rules.is_ended(*id)
        };
        let missing: BTreeSet<_> =
            context.entries.all().map(|entry| entry.config.id).filter(is_missing).collect();
        let connections: Vec<_> = missing.difference(&self.missed).copied().collect();
        self.missed = missing;
        if !connections.is_empty() {
            tracing::debug!(
                connections = %listed(&connections),
                "the gateway names no rule for these; it is asked whether they ended"
            );
            outgoing.push(ToGateway::Missing { connections });
        }
    }

    /// Returns whether to say it: once; and again while the gateway has the connection in force all the same:
    /// it was retried, and what came in between may not have been seen here.
    fn may_report_mismatch(
        &mut self,
        connection: ConnectionId,
        reason: ConfigMismatch,
        in_force: bool,
    ) -> bool {
        let now = Instant::now();
        let said = self.config_mismatch.get(&(connection, reason));
        let may = said.is_none_or(|at| in_force && now.duration_since(*at) >= MISMATCH_AGAIN);
        if may {
            self.config_mismatch.insert((connection, reason), now);
        }
        may
    }

    fn may_ask(&mut self, connection: ConnectionId, epoch: u32) -> bool {
        let now = Instant::now();
        let asked = self.asked.get(&connection);
        let waits = asked.is_some_and(|(then, at)| *then == epoch && now.duration_since(*at) < FETCH_AGAIN);
        if !waits {
            self.asked.insert(connection, (epoch, now));
        }
        !waits
    }

    fn report(&mut self, outgoing: &mut Vec<ToGateway>) {
        if self.has_snapshot {
            self.sync(outgoing);
            self.ask_ended(outgoing);
        }
        let context = &self.client.context;
        for entry in context.entries.all() {
            let connection = entry.config.id;
            if context.rules().rule(connection).is_none() {
                continue;
            }
            let report = entry.stats.report(&entry.status(), entry.side == Side::Target);
            if self.reported.insert(connection, report) != Some(report) {
                tracing::trace!(%connection, "what is true of this connection is reported");
                outgoing.push(ToGateway::Report { connection, report });
            }
        }
        self.ask_renewal(outgoing);
    }

    /// Asks once a day, and at once when the leaf in use is older than that or is none that peers take.
    fn ask_renewal(&mut self, outgoing: &mut Vec<ToGateway>) {
        let context = &self.client.context;
        let credentials = context.endpoint.credentials();
        let Ok((not_before, _)) = credentials.identity.validity(&credentials.trust) else { return };
        let signed = not_before.saturating_add(limits::LEAF_BACKDATED);
        let now = context.clock.now();
        let is_due =
            now.since(signed) >= self.renew_after || !credentials.identity.is_usable(&credentials.trust, now);
        let waits = self.renewal_asked.is_some_and(|at| at.elapsed() < FETCH_AGAIN);
        if !is_due || waits {
            return;
        }
        tracing::debug!(%signed, %now, "the certificate in use is old or not usable; a new one is asked for");
        self.renewal_asked = Some(Instant::now());
        match credentials.identity.key().csr_der() {
            Ok(csr) => {
                self.awaits_leaf = true;
                outgoing.push(ToGateway::Renew { csr: hex::encode(csr) });
            }
            Err(error) => tracing::error!(%error, "cannot ask for a new certificate"),
        }
    }
}

/// Says what the gateway's word means for what runs now, whatever the file makes of it.
fn log_effects(effects: &[RuleEffect]) {
    for effect in effects {
        match effect {
            RuleEffect::Revoked(key) => tracing::debug!(%key, "no leaf over this key is good any more"),
            RuleEffect::Ended(connection) => tracing::debug!(%connection, "a connection has ended for good"),
            RuleEffect::Suspended(connection) => {
                tracing::debug!(%connection, "a connection is suspended: the gateway has no usable rule for it");
            }
            RuleEffect::Cut(connection) => tracing::debug!(%connection, "a connection's tunnel is to be cut"),
            RuleEffect::Changed(rule) => {
                let Rule { connection, secret_epoch, cut_epoch, .. } = rule;
                tracing::debug!(%connection, secret_epoch, cut_epoch, "a rule is new or differs");
            }
        }
    }
}
