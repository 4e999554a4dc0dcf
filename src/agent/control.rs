//! The control link from the agent's side: dials the gateway forever, and says hello. What is said over a link is
//! `session`'s. Without a link everything known goes on.

mod said;
mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::Instrument;

use self::session::ControlSession;
use super::disk::Disk;
use super::entries::Entries;
use super::exchanges::Exchanges;
use super::gateway_link::GatewayLink;
use super::measurements::Measurements;
use super::outbox::Notes;
use super::paths::Paths;
use super::policies::Policies;
use super::rejected::Rejected;
use super::restart::Restart;
use super::secret_store::SecretStore;
use super::state::Enrolment;
use super::wanted_peers::Announced;
use adit_core::config::HostPort;
use adit_core::domain::id::{BootId, ConnectionId, RelayId};
use adit_core::domain::limits;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::control::{DatabaseAway, ToAgent, ToGateway, VERSION, VERSIONS};
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::repeat_limiter::shown;
use adit_core::protocol::route::canonical;
use adit_core::protocol::text::listed;
use adit_net::identity::random;
use adit_net::identity::renewal::LeafRefused;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::transport::any_address::any_like;
use adit_net::transport::control_dial::{self, GatewayPlace};
use adit_net::transport::destination::Destination;
use adit_net::transport::endpoint::{AgentEndpoint, Connection, TransportError};
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::resolve::resolve_all;
use adit_net::transport::routes::{RelayServer, Routes};
use adit_net::transport::socket::AgentSocket;
use adit_observe::unknown;

const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the gateway's name is still looked up once its carrier is open.
const LOOK_UP_GRACE: Duration = Duration::from_millis(500);
/// How often it is looked up on a link that came up without.
const LOOK_UP_AGAIN: Duration = Duration::from_mins(1);
const LET_OUT: &str = "see that the gateway runs, and let UDP out to its port and the answers in, or at least \
                       TCP to its port 443";

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
    #[error(transparent)]
    Database(#[from] DatabaseAway),
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
                | Self::Database(_)
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

/// What keeps the control link, and what it needs.
pub(crate) struct ControlClient {
    pub clock: Arc<LearntClock>,
    pub endpoint: Arc<AgentEndpoint>,
    pub routes: Routes,
    pub entries: Arc<Entries>,
    pub paths: Arc<Paths>,
    pub enrolment: Arc<Enrolment>,
    pub policies: Arc<Policies>,
    pub secrets: Arc<SecretStore>,
    pub link: Arc<GatewayLink>,
    pub measurements: Arc<Measurements>,
    pub disk: Disk,
    pub socket: Arc<AgentSocket>,
    pub boot: BootId,
    pub announced: Announced,
    pub direct_addresses: Vec<SocketAddr>,
    pub notes: Notes,
    /// How the last messages fared, by connection.
    pub exchanges: BTreeMap<ConnectionId, Exchanges>,
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
            self.link.note_up(false);
            self.routes.set_relay(None);
            let now = Instant::now();
            if matches!(error, LinkEnd::Goodbye { stopping: true, .. }) {
                restart.begin(now);
                tracing::info!("the gateway is stopping; it is dialled until it is back");
            }
            let is_excused = restart.is_excused(now) && error.is_absence();
            self.link.note_fault(error.said(), is_excused);
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
        let (answer, away_since) = first_answer(&mut receiver, LinkEnd::NoWelcome).await?;
        let (now, capabilities) = match answer {
            ToAgent::Welcome { version, now, capabilities } => {
                if !VERSIONS.contains(&version) {
                    return Err(LinkEnd::Version { picked: version });
                }
                tracing::debug!(version, %capabilities, "the gateway welcomes this agent");
                (now, capabilities)
            }
            ToAgent::RenewOnly { now } => {
                tracing::warn!("this agent's certificate has expired; renewing it");
                self.learn_time(now).await;
                return self.renew_only(&mut sender, &mut receiver).await;
            }
            ToAgent::Goodbye { reason, stopping } => return Err(LinkEnd::Goodbye { reason, stopping }),
            _ => return Err(LinkEnd::NoWelcome),
        };
        self.learn_time(now).await;
        sender.send(&self.hidden_from()).await?;
        if capabilities.has(Capability::AllowedPaths) {
            sender.send(&self.allowed_paths()).await?;
        }
        let toward = place.address().or_else(|| addresses.first().copied());
        // An older gateway answers no probes, and the link stays on the path on which it was dialled.
        let answers_probes = capabilities.has(Capability::Carrier);
        let mut session = ControlSession::new(self, toward, capabilities);
        let mut first = Vec::new();
        session.announce(&mut first);
        session.repeat_notes(&mut first);
        for message in first {
            sender.send(&message).await?;
        }
        *up_since = Some(Instant::now());
        let client = &session.client;
        client.link.note_up(true);
        client.link.note_database(away_since);
        let key = PacketKey::of_link(&connection.registration_secret()?);
        client.routes.follow(client.enrolment.gateway_route, &connection);
        let is_nowhere = addresses.is_empty();
        client.routes.set_relay(Some(RelayServer { place, addresses, key, answers_probes }));
        if let Some(more) = client.link.repeats.note("the control link is up", Instant::now()) {
            tracing::info!(gateway = %place, more = shown(more), "the control link is up");
        }
        let (enrolment, routes) = (Arc::clone(&client.enrolment), client.routes.clone());
        tokio::select! {
            ended = session.run(sender, receiver) => ended,
            never = look_up_again(&enrolment, &routes), if is_nowhere => match never {},
        }
    }

    /// Renews the leaf: nothing else is served to an expired leaf; with the new one the link starts over.
    async fn renew_only(
        &self,
        sender: &mut LinkSender,
        receiver: &mut LinkReceiver,
    ) -> Result<std::convert::Infallible, LinkEnd> {
        let csr = self.endpoint.credentials().identity.key().csr_der();
        let csr = hex::encode(csr.map_err(|source| LinkEnd::Request { source })?);
        sender.send(&ToGateway::Renew { csr }).await?;
        let (answer, _) = first_answer(receiver, LinkEnd::Silent(WELCOME_TIMEOUT)).await?;
        match answer {
            ToAgent::Renewed { leaf } => match self.renew(&leaf).await {
                Ok(()) => Err(LinkEnd::Renewed),
                Err(error) => {
                    self.link.note_rejected(Rejected::Leaf, error_chain(&error)).await;
                    Err(error)
                }
            },
            ToAgent::Goodbye { reason, stopping } => Err(LinkEnd::Goodbye { reason, stopping }),
            _ => Err(LinkEnd::NoWelcome),
        }
    }

    /// Learns gateway time and keeps the offset for the next start.
    async fn learn_time(&self, said: Timestamp) {
        let Some(offset) = self.hear_time(said).await else { return };
        let kept = self.disk.write(move |state| state.store_clock_offset_millis(offset)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the clock offset could not be kept");
        }
    }

    /// Learns gateway time where the gateway's word is plausible.
    async fn hear_time(&self, said: Timestamp) -> Option<i64> {
        let Self { clock, endpoint, link, .. } = self;
        let credentials = endpoint.credentials();
        let offset = clock.learn(said, credentials.identity.validity(&credentials.trust).ok());
        if offset.is_some() {
            link.clear_rejected(Rejected::Clock);
            return offset;
        }
        let what = format!(
            "the gateway says it is {said}, here it is {}; if the gateway is right, set this host's clock",
            clock.now()
        );
        link.note_rejected(Rejected::Clock, what).await;
        None
    }

    /// Takes a new leaf over the key in use, which was asked for.
    async fn renew(&self, leaf: &str) -> Result<(), LinkEnd> {
        let leaf = hex::decode(leaf).map_err(|_| LinkEnd::LeafText)?;
        let credentials = self.endpoint.credentials();
        let identity = credentials.identity.renewed(&leaf, &credentials.trust, self.clock.now())?;
        // On disk before use: a crash in between must not lose the only good leaf.
        if let Err(error) = self.disk.write(move |state| state.store_leaf(&leaf)).await {
            tracing::error!(%error, "the renewed certificate could not be kept");
            return Ok(());
        }
        self.endpoint.renew(identity)?;
        self.link.clear_rejected(Rejected::Leaf);
        tracing::info!("this agent's certificate was renewed");
        Ok(())
    }

    /// Dials the gateway at whichever of its addresses answers, or over its carrier; each may take so long.
    async fn dial(&self, limit: Duration) -> Result<GatewayDialled, LinkEnd> {
        let Self { enrolment, routes, endpoint, .. } = self;
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
        ToGateway::HiddenFrom { peers: self.paths.hidden_from() }
    }

    /// Returns what the gateway tells peers of the paths that this agent's owner allows.
    fn allowed_paths(&self) -> ToGateway {
        ToGateway::AllowedPaths { peers: self.paths.allowed() }
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
async fn look_up_again(enrolment: &Enrolment, routes: &Routes) -> std::convert::Infallible {
    loop {
        let (addresses, _) = look_up(&enrolment.gateway_addresses).await;
        if !addresses.is_empty() {
            tracing::debug!(addresses = %listed(&addresses), "the gateway's addresses are known now");
            routes.set_gateway_addresses(addresses);
            std::future::pending::<()>().await;
        }
        sleep(LOOK_UP_AGAIN).await;
    }
}

/// Waits a bounded time for what a link begins with, and says since when the gateway's database is away, if it
/// is; where no more than that was said, that is why there is no link.
async fn first_answer(
    receiver: &mut LinkReceiver,
    silence: LinkEnd,
) -> Result<(ToAgent, Option<Timestamp>), LinkEnd> {
    let mut away = None;
    let answered = timeout(WELCOME_TIMEOUT, async {
        loop {
            match known(receiver).await? {
                ToAgent::Database { away_since } => away = away_since,
                message => return Ok::<_, TransportError>(message),
            }
        }
    });
    match answered.await {
        Ok(message) => Ok((message?, away)),
        Err(_) => Err(away.map_or(silence, |since| DatabaseAway { since }.into())),
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
