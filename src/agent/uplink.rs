//! The control link from the agent's side: dials the gateway for ever, applies what it says, and
//! reports what is true here. Without it everything known goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::context::Context;
use super::standing::Standing;
use super::state::HeldSecret;
use super::tunnels::chain;
use super::ways::Announced;
use crate::domain::connection::Side;
use crate::domain::id::{BootId, ConnectionId};
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::identity::chance;
use crate::identity::time::TimeSource;
use crate::identity::tls::{Identity, Trust};
use crate::protocol::backoff::Backoff;
use crate::protocol::control::{self, Activity, Report, ToAgent, ToGateway, Unfit};
use crate::protocol::heartbeat::{Beat, Heartbeat};
use crate::protocol::packet::PacketKey;
use crate::protocol::route::canonical;
use crate::protocol::rules::RuleBook;
use crate::transport::endpoint::{Connection, TransportError};
use crate::transport::link::{self, LinkReceiver, LinkSender};
use crate::transport::routes::RelayLeg;
use crate::transport::socket::AgentSocket;

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Reports go out at most this often, and only when they differ from the last.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A secret that did not come is asked for again.
const FETCH_AGAIN: Duration = Duration::from_secs(30);
/// How soon the gateway hears again why a connection that it has in force cannot be.
const UNFIT_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error("cannot find the address of the gateway `{host}`")]
    Resolve { host: String, source: std::io::Error },
    #[error("the gateway has no address")]
    NoAddress,
    #[error("cannot reach the gateway at {address}")]
    Dial { address: SocketAddr, source: TransportError },
    #[error("the control link broke")]
    Link(#[from] TransportError),
    #[error("the gateway was silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the gateway ended the link: {0}")]
    Goodbye(String),
    #[error("the gateway sent changes that do not follow each other; starting anew")]
    Gap,
    #[error("the gateway did not start with a welcome")]
    NoWelcome,
    #[error("the gateway's new leaf does not fit this agent's key")]
    BadLeaf,
    #[error("cannot sign the request for a new certificate")]
    Request { source: crate::identity::error::IdentityError },
    #[error("the certificate was renewed; the link starts over with it")]
    Renewed,
    #[error(
        "the gateway named more connections and revoked keys than an agent remembers ({})",
        limits::RULES_KEPT_MAX
    )]
    TooMuch,
}

/// What the uplink needs beside the context.
pub struct Uplink {
    pub context: Arc<Context>,
    pub socket: Arc<AgentSocket>,
    pub boot: BootId,
    pub announced: Announced,
    pub direct_addresses: Vec<SocketAddr>,
    pub outbox: mpsc::Receiver<ToGateway>,
}

impl Uplink {
    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut backoff =
            Backoff::new(limits::CONTROL_BACKOFF_MIN, limits::CONTROL_BACKOFF_MAX, limits::CONTROL_LASTED);
        loop {
            let mut up_since = None;
            let Err(error) = self.one_link(&mut up_since).await;
            self.context.set_link(false);
            self.context.routes.set_relay(None);
            self.context.note_link_fault(chain(&error));
            if let Some(up_since) = up_since {
                backoff.on_lost(Instant::now().saturating_duration_since(up_since));
            }
            sleep(backoff.next_delay(chance::draw())).await;
        }
    }

    async fn one_link(
        &mut self,
        up_since: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, UplinkError> {
        let (connection, gateway) = self.dial().await?;
        let (mut sender, mut receiver) = link::open(&connection).await?;
        let software = env!("CARGO_PKG_VERSION").into();
        sender.send(&ToGateway::Hello { version: control::VERSION, software, boot: self.boot }).await?;
        let welcome = timeout(WELCOME_TIMEOUT, receiver.receive()).await;
        let now = match welcome.map_err(|_| UplinkError::NoWelcome)?? {
            ToAgent::Welcome { now, .. } => now,
            ToAgent::RenewOnly { now } => {
                tracing::warn!("this agent's certificate has expired; renewing it");
                self.context.learn_time(now).await;
                return self.renew_only(&mut sender, &mut receiver).await;
            }
            ToAgent::Goodbye { reason } => return Err(UplinkError::Goodbye(reason)),
            _ => return Err(UplinkError::NoWelcome),
        };
        self.context.learn_time(now).await;
        sender.send(&self.hidden_from()).await?;
        sender.send(&ToGateway::Listening { addresses: self.reachable_at(gateway) }).await?;
        *up_since = Some(Instant::now());
        self.context.set_link(true);
        let key = PacketKey::of_link(&connection.registration_secret()?);
        self.context.routes.set_relay(Some(RelayLeg { address: canonical(gateway), key }));
        tracing::info!(%gateway, "the control link is up");
        Session::new(self).run(sender, receiver).await
    }

    /// Nothing else is served to an expired leaf; with the new one the link starts over.
    async fn renew_only(
        &self,
        sender: &mut LinkSender,
        receiver: &mut LinkReceiver,
    ) -> Result<std::convert::Infallible, UplinkError> {
        let csr = self.context.endpoint.credentials().identity.key().csr_der();
        let csr = hex::encode(csr.map_err(|source| UplinkError::Request { source })?);
        sender.send(&ToGateway::Renew { csr }).await?;
        let answer = timeout(WELCOME_TIMEOUT, receiver.receive()).await;
        match answer.map_err(|_| UplinkError::Silent(WELCOME_TIMEOUT))?? {
            ToAgent::Renewed { leaf } => {
                self.renew(&leaf).await?;
                Err(UplinkError::Renewed)
            }
            ToAgent::Goodbye { reason } => Err(UplinkError::Goodbye(reason)),
            _ => Err(UplinkError::NoWelcome),
        }
    }

    /// Takes a new leaf over the key in use.
    async fn renew(&self, leaf: &str) -> Result<(), UplinkError> {
        let context = &self.context;
        let leaf = hex::decode(leaf).map_err(|_| UplinkError::BadLeaf)?;
        let credentials = context.endpoint.credentials();
        let identity =
            renewed(&leaf, &credentials.identity, &credentials.trust).ok_or(UplinkError::BadLeaf)?;
        // On disk before use: a crash in between must not lose the only good leaf.
        if let Err(error) = context.keep_leaf(leaf).await {
            tracing::error!(%error, "the renewed certificate could not be kept");
            return Ok(());
        }
        context.endpoint.renew(identity)?;
        tracing::info!("this agent's certificate was renewed");
        Ok(())
    }

    /// Tries every address of the gateway in turn.
    async fn dial(&self) -> Result<(Connection, SocketAddr), UplinkError> {
        let enrolment = &self.context.enrolment;
        let mut failure = UplinkError::NoAddress;
        for host in &enrolment.gateway_addresses {
            let resolved = match tokio::net::lookup_host((host.host(), host.port())).await {
                Ok(resolved) => resolved,
                Err(source) => {
                    failure = UplinkError::Resolve { host: host.to_string(), source };
                    continue;
                }
            };
            for address in resolved {
                self.socket.set_route(enrolment.gateway_route, address);
                let connecting = self.context.endpoint.connect_control(enrolment.gateway_route);
                let connected = timeout(DIAL_TIMEOUT, connecting)
                    .await
                    .unwrap_or(Err(TransportError::Timeout { after: DIAL_TIMEOUT }));
                match connected {
                    Ok(connection) => return Ok((connection, address)),
                    Err(source) => failure = UplinkError::Dial { address, source },
                }
            }
        }
        Err(failure)
    }

    /// Whom the gateway must not tell where this host is.
    fn hidden_from(&self) -> ToGateway {
        ToGateway::HiddenFrom { peers: self.context.paths.hidden_from() }
    }

    /// The addresses of this agent's socket that peers may try.
    fn reachable_at(&self, gateway: SocketAddr) -> Vec<SocketAddr> {
        let mut addresses = self.direct_addresses.clone();
        if let Ok(bound) = self.socket.bound() {
            let ip = if bound.ip().is_unspecified() { local_ip_toward(gateway) } else { Some(bound.ip()) };
            addresses.extend(ip.map(|ip| SocketAddr::new(ip.to_canonical(), bound.port())));
        }
        addresses.truncate(limits::PEER_ADDRESSES_MAX);
        addresses
    }
}

/// The new leaf with the key in use. One of another CA or for another name would lock this agent out:
/// nobody would take it, and it could not ask for a better one.
fn renewed(leaf: &[u8], before: &Identity, trust: &Trust) -> Option<Identity> {
    let identity = Identity::new(leaf, Arc::clone(before.key())).ok()?;
    let name = identity.name(trust).ok()?;
    (before.name(trust).ok() == Some(name)).then_some(identity)
}

/// The source address the kernel would choose; no packet is sent.
fn local_ip_toward(address: SocketAddr) -> Option<std::net::IpAddr> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// One live link and what was said on it.
struct Session<'a> {
    uplink: &'a mut Uplink,
    revision: u64,
    reported: BTreeMap<ConnectionId, Report>,
    /// What was said of a connection, and when.
    unfit: BTreeMap<(ConnectionId, Unfit), Instant>,
    held: BTreeMap<ConnectionId, u32>,
    asked: BTreeMap<ConnectionId, (u32, Instant)>,
    renewed: Option<Instant>,
    renew_after: Duration,
}

impl<'a> Session<'a> {
    fn new(uplink: &'a mut Uplink) -> Self {
        // Jitter keeps a thousand agents from renewing in the same minute.
        let renew_after = limits::LEAF_RENEW_EVERY.mul_f64(0.9 + 0.2 * chance::draw());
        Self {
            uplink,
            revision: 0,
            reported: BTreeMap::new(),
            unfit: BTreeMap::new(),
            held: BTreeMap::new(),
            asked: BTreeMap::new(),
            renewed: None,
            renew_after,
        }
    }

    async fn run(
        mut self,
        mut sender: LinkSender,
        mut receiver: LinkReceiver,
    ) -> Result<std::convert::Infallible, UplinkError> {
        let mut heartbeat = Heartbeat::new(
            Instant::now(),
            limits::CONTROL_HEARTBEAT_EVERY,
            limits::CONTROL_HEARTBEATS_MISSED_MAX,
        );
        let mut paths = self.uplink.context.paths.watch();
        // A choice made since the link was opened is said again.
        paths.mark_changed();
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut outgoing = Vec::new();
            tokio::select! {
                message = receiver.receive() => {
                    heartbeat.handle_heard(Instant::now());
                    self.handle(message?, &mut outgoing).await?;
                }
                Some(message) = self.uplink.outbox.recv() => outgoing.push(message),
                Ok(()) = paths.changed() => outgoing.push(self.uplink.hidden_from()),
                _ = reports.tick() => self.report(&mut outgoing),
                () = sleep_until(heartbeat.deadline().into()) => match heartbeat.poll(Instant::now()) {
                    Some(Beat::Send { number }) => outgoing.push(ToGateway::Heartbeat { number }),
                    Some(Beat::Lost { silent_for }) => return Err(UplinkError::Silent(silent_for)),
                    None => {}
                },
            }
            for message in outgoing {
                sender.send(&message).await?;
            }
        }
    }

    async fn handle(&mut self, message: ToAgent, outgoing: &mut Vec<ToGateway>) -> Result<(), UplinkError> {
        let context = Arc::clone(&self.uplink.context);
        match message {
            ToAgent::Heartbeat { now, .. } => {
                context.clock.learn(now);
                // A link that has not said its rules yet confirms none.
                if self.revision > 0 {
                    context.confirm_rules();
                }
            }
            ToAgent::Snapshot { revision, rules, revoked } => {
                let mut book = (*context.rules()).clone();
                book.apply_snapshot(revision, rules, revoked);
                self.adopt(revision, book).await?;
                self.sync(outgoing);
            }
            ToAgent::Change { revision, change } => {
                let mut book = (*context.rules()).clone();
                book.apply_change(revision, change).map_err(|_| UplinkError::Gap)?;
                self.adopt(revision, book).await?;
                self.sync(outgoing);
            }
            ToAgent::Candidates { peer, addresses } => self.uplink.announced.set(peer, addresses),
            ToAgent::Secret { connection, epoch, .. } if !context.wants_secret(connection, epoch) => {}
            ToAgent::Secret { connection, epoch, secret } => {
                let Ok(secret) = Secret::from_hex(&secret) else { return Ok(()) };
                match context.keep_secret(connection, HeldSecret { epoch, secret }).await {
                    Ok(()) => outgoing.push(ToGateway::SecretHeld { connection, epoch }),
                    Err(error) => tracing::error!(%error, "a connection's secret could not be kept"),
                }
            }
            ToAgent::SecretUnavailable { connection } => self.note_no_secret(connection),
            ToAgent::Renewed { leaf } => self.uplink.renew(&leaf).await?,
            ToAgent::Goodbye { reason } => return Err(UplinkError::Goodbye(reason)),
            ToAgent::Welcome { .. } | ToAgent::RenewOnly { .. } => {}
        }
        Ok(())
    }

    /// What the gateway may make this agent remember is bounded.
    async fn adopt(&mut self, revision: u64, book: RuleBook) -> Result<(), UplinkError> {
        if book.remembered() > limits::RULES_KEPT_MAX {
            return Err(UplinkError::TooMuch);
        }
        self.revision = revision;
        self.uplink.context.adopt_rules(book).await;
        self.uplink.context.confirm_rules();
        Ok(())
    }

    fn note_no_secret(&self, connection: ConnectionId) {
        let context = &self.uplink.context;
        if let Some(entry) = context.entries.get(connection) {
            let what = "the gateway no longer holds this connection's secret for this side; \
                        run Rotate Secrets, or write `secret` into the entry";
            context.note_fault(entry, what);
        }
    }

    /// Compares the rules with the file and the secrets held.
    fn sync(&mut self, outgoing: &mut Vec<ToGateway>) {
        let context = Arc::clone(&self.uplink.context);
        let rules = context.rules();
        for entry in context.entries.all() {
            let connection = entry.config.id;
            let standing = Standing::of(&entry.config, entry.side, &rules);
            entry.facts.changing().status = standing.word();
            let found = entry.facts.changing().unfit;
            if let Some(reason) = found.filter(|_| standing.is_active())
                && self.may_say_unfit(connection, reason, true)
            {
                outgoing.push(ToGateway::Unfit { connection, reason });
            }
            if found.is_none() || !standing.keeps_tunnel() {
                // Said again if it is found again once the connection was retried.
                self.unfit.remove(&(connection, Unfit::MirthTooOld));
            }
            if let Standing::Unfit(reason) = standing {
                context.note_fault(entry, &reason.to_string());
                let in_force = rules.rule(connection).is_some_and(|rule| rule.activity != Activity::Ready);
                if self.may_say_unfit(connection, reason, in_force) {
                    outgoing.push(ToGateway::Unfit { connection, reason });
                }
                continue;
            }
            let Some(rule) = standing.rule() else { continue };
            entry.facts.changing().route = Some(format!("{} → {}", rule.source_name, rule.target_name));
            let epoch = rule.secret_epoch;
            if context.secret(&entry.config, rule).is_some() {
                if self.held.insert(connection, epoch) != Some(epoch) {
                    outgoing.push(ToGateway::SecretHeld { connection, epoch });
                }
            } else if self.may_ask(connection, epoch) {
                outgoing.push(ToGateway::FetchSecret { connection });
            }
        }
    }

    /// Once; and again while the gateway has the connection in force all the same: it was retried, and
    /// what came in between may not have been seen here.
    fn may_say_unfit(&mut self, connection: ConnectionId, reason: Unfit, in_force: bool) -> bool {
        let now = Instant::now();
        let said = self.unfit.get(&(connection, reason));
        let may = said.is_none_or(|at| in_force && now.duration_since(*at) >= UNFIT_AGAIN);
        if may {
            self.unfit.insert((connection, reason), now);
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
        if self.revision > 0 {
            self.sync(outgoing);
        }
        let context = &self.uplink.context;
        for entry in context.entries.all() {
            let connection = entry.config.id;
            if context.rules().rule(connection).is_none() {
                continue;
            }
            let report = entry.facts.report(entry.side == Side::Target);
            if self.reported.insert(connection, report) != Some(report) {
                outgoing.push(ToGateway::Report { connection, report });
            }
        }
        self.ask_renewal(outgoing);
    }

    /// Asks once a day, and at once when the leaf in use is older than that.
    fn ask_renewal(&mut self, outgoing: &mut Vec<ToGateway>) {
        let context = &self.uplink.context;
        let credentials = context.endpoint.credentials();
        let Ok((not_before, _)) = credentials.identity.validity(&credentials.trust) else { return };
        let signed = not_before.saturating_add(limits::LEAF_BACKDATED);
        let is_old = context.clock.now().since(signed) >= self.renew_after;
        let waits = self.renewed.is_some_and(|at| at.elapsed() < FETCH_AGAIN);
        if !is_old || waits {
            return;
        }
        self.renewed = Some(Instant::now());
        match credentials.identity.key().csr_der() {
            Ok(csr) => outgoing.push(ToGateway::Renew { csr: hex::encode(csr) }),
            Err(error) => tracing::error!(%error, "cannot ask for a new certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustDomain;
    use crate::domain::id::ServerId;
    use crate::domain::time::Timestamp;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::csr::VerifiedCsr;
    use crate::identity::key::KeyPair;

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

    #[test]
    fn a_renewed_leaf_of_another_ca_name_or_key_is_not_taken() {
        let domain: TrustDomain = "example.org".parse().unwrap();
        let ca = CertificateAuthority::create(domain.clone(), NOW).unwrap();
        let other_ca = CertificateAuthority::create(domain, NOW).unwrap();
        let key = Arc::new(KeyPair::generate().unwrap());
        let (own, other) = (ServerId::from_bytes([1; 16]), ServerId::from_bytes([2; 16]));
        let sign = |ca: &CertificateAuthority, key: &KeyPair, server| {
            let csr = VerifiedCsr::parse_and_verify(&key.csr_der().unwrap()).unwrap();
            ca.sign_server(&csr, server, NOW).unwrap()
        };
        let before = Identity::new(&sign(&ca, &key, own), Arc::clone(&key)).unwrap();
        let taken = |leaf: &[u8]| renewed(leaf, &before, ca.trust()).is_some();
        assert!(taken(&sign(&ca, &key, own)));
        assert!(!taken(&sign(&ca, &key, other)));
        assert!(!taken(&sign(&other_ca, &key, own)));
        assert!(!taken(&sign(&ca, &KeyPair::generate().unwrap(), own)));
        assert!(!taken(b"no leaf"));
    }
}
