//! The gateway as one component: bound sockets in, a handle out that stops and joins everything.
//!
//! UDP and TCP share one address: control links and the relay on the one; on the other enrolment, carriers, which bring
//! control links and the relay too, and what is served to people.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Type;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::acme::Acme;
use super::attempt_limiter::{AttemptLimiter, HandshakeLimiter, Throttled};
use super::authority::{Authority, AuthorityError};
use super::carriers::{self, CarrierService};
use super::console::{Console, ConsoleFiles};
use super::control::{self, Control, ControlLimiters};
use super::database::{self, DatabaseFileError};
use super::enrolment::{self, Enrolment};
use super::feed::Feed;
use super::front_door::{self, FrontDoor};
use super::gateway_id::{self, GatewayIdError};
use super::http::{self, Api};
use super::identity_providers::{self, ProviderCaError};
use super::platform::{GatewayPlace, OpenError, Platform, PlatformError};
use super::presence::AgentPresence;
use super::proxied_door::{self, ProxiedDoor};
use super::relay::RelayKeeper;
use adit_core::config::console::{ConsoleConfig, ConsoleWay};
use adit_core::config::gateway::{GatewayConfig, RelayConfig};
use adit_core::domain::id::{BootId, GatewayId};
use adit_core::domain::limits::{
    CHANGES_KEPT_MAX, CONTROL_TURNS_MAX, DATABASE_ASKED_MAX, DATABASE_ASKED_MIN, FACT_WRITE_EVERY,
    LEAF_RENEW_EVERY, LEASE_RENEWED_EVERY, REFUSALS_AUDITED_PER_MINUTE, SECRETS_SWEPT_EVERY,
    STORE_LOCK_ASKED_EVERY, USES_WRITTEN_EVERY,
};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::relay::Relay;
use adit_net::host::folder::{Folder, FolderError, FolderLock};
use adit_net::identity::error::IdentityError;
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use adit_net::identity::tls::{enrol_server_config, http_server_config, people_server_config};
use adit_net::task::named;
use adit_net::transport::any_address::bind_any;
use adit_net::transport::endpoint::{GatewayEndpoint, TransportError};
use adit_net::transport::relay::{RelayHandle, RelayThread};
use adit_net::transport::tls::{FrontDoorConfigs, FrontDoorTls};
use adit_observe::metrics;

/// Tries for a port that is free for both UDP and TCP, when any will do.
const ANY_PORT_TRIES: u32 = 16;
const BACKLOG: i32 = 128;
/// What is said of a platform that nobody has begun.
pub const NOTHING_YET: &str = "there is no organization yet, so nobody could sign in; make the first one and its owner \
    with `adit gateway init --organization NAME --email EMAIL`";
const MEGABIT: NonZeroU64 = NonZeroU64::new(1_000_000).unwrap();

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    DatabaseFile(#[from] DatabaseFileError),
    #[error(transparent)]
    Id(#[from] GatewayIdError),
    #[error(transparent)]
    ProviderCa(#[from] ProviderCaError),
    #[error("the gateway's database cannot be opened")]
    Database {
        #[from]
        source: OpenError,
    },
    #[error("the gateway's database cannot be used")]
    Platform {
        #[from]
        source: PlatformError,
    },
    #[error(
        "cannot listen on {protocol} {address}; stop what uses it, choose another `listen`, or allow this user a port below 1024"
    )]
    Listen { protocol: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot present the gateway's certificate")]
    Identity { source: IdentityError },
    #[error("cannot serve control links")]
    Transport { source: TransportError },
    /// Nothing was served yet.
    #[error("{NOTHING_YET}")]
    NothingYet,
}

/// Whether a gateway serves a platform that nobody has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptiness {
    Served,
    Refused,
}

/// Sockets that are bound but not yet served.
#[derive(Debug)]
pub struct GatewaySockets {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl GatewaySockets {
    /// Binds UDP and TCP on one address. Port 0 takes any that is free for both.
    pub fn bind(listen: SocketAddr) -> Result<Self, GatewayError> {
        let mut tries = if listen.port() == 0 { ANY_PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let failed = |protocol, address| move |source| GatewayError::Listen { protocol, address, source };
            let tcp = bind_tcp(listen).map_err(failed("TCP", listen))?;
            let address = tcp.local_addr().map_err(failed("TCP", listen))?;
            match bind_udp(address) {
                Ok(udp) => return Ok(Self { udp, tcp, address }),
                Err(error) if tries > 0 => {
                    debug!(%address, %error, "free for TCP and not for UDP; another is tried");
                }
                Err(source) => return Err(failed("UDP", address)(source)),
            }
        }
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    // A restart must not wait for the old connections' last minutes.
    let socket = bind_any(address, Type::STREAM, |socket| socket.set_reuse_address(true))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind_any(address, Type::DGRAM, |_| Ok(()))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A running gateway. Dropping it ends everything at once; [`Self::shutdown`] says goodbye first.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    platform: Arc<Platform>,
    authority: Arc<Authority>,
    /// Says the word to stop, at the latest when it is dropped.
    stop: DropGuard,
    tasks: JoinSet<()>,
    /// Ends after everything that lives on its socket.
    relay: RelayThread,
    id: GatewayId,
    _lock: FolderLock,
}

impl Gateway {
    /// Claims the state, opens CA and database, and serves `sockets`. While the database is away it waits, and
    /// nothing is served; dropping the future ends that.
    pub async fn start(
        config: &GatewayConfig,
        sockets: GatewaySockets,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self, GatewayError> {
        Self::start_on(config, sockets, clock, Emptiness::Served).await
    }

    /// Does the same for a platform that has an organization. Another one is refused before anything is served of it
    /// and anything noted in it.
    pub async fn start_begun(
        config: &GatewayConfig,
        sockets: GatewaySockets,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self, GatewayError> {
        Self::start_on(config, sockets, clock, Emptiness::Refused).await
    }

    async fn start_on(
        config: &GatewayConfig,
        sockets: GatewaySockets,
        clock: Arc<dyn TimeSource>,
        emptiness: Emptiness,
    ) -> Result<Self, GatewayError> {
        let folder = Folder::open(&config.state)?;
        let lock = folder.lock()?;
        let authority = Arc::new(Authority::open(&folder, &config.trust_domain, clock.now())?);
        let gateway = gateway_id::open(&folder)?;
        let (platform, seen) = open_platform(config, &clock, gateway, emptiness).await?;

        let address = sockets.address;
        let stopping = CancellationToken::new();
        let stop = stopping.clone().drop_guard();
        let feed = Arc::new(Feed::default());
        let listening = |source| GatewayError::Listen { protocol: "TCP", address, source };
        let tcp = tokio::net::TcpListener::from_std(sockets.tcp).map_err(listening)?;
        let (relay, endpoint) = endpoint(&authority, config.relay, sockets.udp, address)?;
        let carriers = Arc::clone(relay.handle().carriers());
        let keeper = Arc::new(RelayKeeper::new(relay.handle().clone(), config.relay.enabled));
        let host = config.name.host().to_owned();
        let tls = Arc::new(FrontDoorTls::new(front_door_configs(&authority, &host, clock.now())?));
        let loopback = config.console.as_ref().map(listen_for_proxy).transpose()?.flatten();

        let (handshakes, throttled) = (Arc::<HandshakeLimiter>::default(), Arc::<Throttled>::default());
        let enrolment = Enrolment {
            platform: Arc::clone(&platform),
            authority: Arc::clone(&authority),
            clock: Arc::clone(&clock),
            feed: Arc::clone(&feed),
            handshakes: Arc::clone(&handshakes),
            throttled: Arc::clone(&throttled),
            limiters: enrolment::EnrolmentLimiters::default(),
        };
        // Goodbyes go over carriers too, so these end last.
        let carriers_stop = CancellationToken::new();
        let carriers = Arc::new(CarrierService::new(carriers, carriers_stop.clone()));
        let limits = http::Limits::new(stopping.clone());
        let api = http::router(Arc::new(api(config, &platform, &authority, &feed)), &limits);
        let newcomers = front_door::newcomers();
        let proxied = loopback.map(|(listener, trusted)| {
            let (api, newcomers) = (api.clone(), Arc::clone(&newcomers));
            let (places, stop) = (proxied_door::places(), stopping.clone());
            (Arc::new(ProxiedDoor { api, trusted, newcomers, places, stop }), listener)
        });
        let door = FrontDoor {
            tls: Arc::clone(&tls),
            enrolment: enrolment::routes(Arc::new(enrolment)),
            public: carriers::routes(Arc::clone(&carriers)).merge(api),
            carriers,
            newcomers,
            handshakes,
            throttled,
            stop: stopping.clone(),
        };
        let control = Control {
            platform: Arc::clone(&platform),
            authority: Arc::clone(&authority),
            presence: Arc::new(AgentPresence::default()),
            relay: Arc::clone(&keeper),
            clock: Arc::clone(&clock),
            feed: Arc::clone(&feed),
            gateway,
            turns: Semaphore::new(CONTROL_TURNS_MAX),
            endpoint: endpoint.clone(),
            stop: stopping.clone(),
            audited: AttemptLimiter::per_minute(REFUSALS_AUDITED_PER_MINUTE),
            limiters: ControlLimiters::default(),
        };
        let mut tasks = JoinSet::new();
        // Before the first connection is taken: some may wait already.
        keep_certificate(config, folder, &tls, &clock, &stopping, &mut tasks);
        tasks.spawn(named("front door", front_door::run(Arc::new(door), tcp)));
        if let Some((door, listener)) = proxied {
            tasks.spawn(named("door for a proxy", proxied_door::run(door, listener)));
        }
        let linking = control::run(Arc::new(control), endpoint.clone());
        let linking = async move {
            linking.await;
            carriers_stop.cancel();
        };
        tasks.spawn(named("control links", linking));
        let following = follow_feed(Arc::clone(&feed), Arc::clone(&platform), seen);
        tasks.spawn(named("feed", until(stopping.clone(), following)).instrument(info_span!("feed")));
        let keeping = keep_relay(Arc::clone(&keeper), Arc::clone(&feed), Arc::clone(&platform));
        let keeping = until(stopping.clone(), keeping);
        tasks.spawn(named("relay members", keeping).instrument(info_span!("relay_members")));
        let reaching = Arc::clone(feed.events()).follow_reach(Arc::clone(&platform));
        let reaching = until(stopping.clone(), reaching);
        tasks.spawn(named("reach", reaching).instrument(info_span!("reach")));
        let leasing = until(stopping.clone(), renew_lease(Arc::clone(&platform), Arc::clone(&feed), gateway));
        tasks.spawn(named("lease", leasing));
        let looking = until(stopping.clone(), look_for_locks(Arc::clone(&platform), Arc::clone(&feed)));
        tasks.spawn(named("locks", looking));
        let maintaining = until(stopping.clone(), maintenance(Arc::clone(&platform), feed, keeper));
        tasks.spawn(named("maintenance", maintaining).instrument(info_span!("maintenance")));
        let renewing = until(stopping, renew_daily(Arc::clone(&authority), host, clock, endpoint, tls));
        tasks.spawn(named("renewal of the gateway's leaf", renewing).instrument(info_span!("renewal")));
        info!(%address, ca_key = %authority.trust().ca_key(), "gateway serves");
        Ok(Self { address, platform, authority, stop, tasks, relay, id: gateway, _lock: lock })
    }

    /// Returns where UDP and TCP are served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub const fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Returns what the relay does, for those who ask in this process.
    #[must_use]
    pub const fn relay(&self) -> &RelayHandle {
        self.relay.handle()
    }

    #[must_use]
    pub const fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Says goodbye to every link and waits until all is done.
    pub async fn shutdown(mut self) {
        self.stop.disarm().cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Err(error) = self.platform.stop_service(self.id).await {
            error!(
                why = error_chain(&error),
                "what agents said last, and that this gateway stops, could not be written"
            );
        }
        if let Err(error) = self.platform.close().await {
            error!(why = error_chain(&error), "the last reports could not be written");
        }
        info!("the gateway has stopped");
    }

    /// Resolves only when a part of the gateway ends that should not.
    pub async fn failed(&mut self) {
        self.tasks.join_next().await;
        error!(
            "a part of the gateway ended by itself; unless a line before says why, this is a bug, please report it"
        );
    }
}

/// Shows browsers the certificate that there is, and lets a task keep it.
fn keep_certificate(
    config: &GatewayConfig,
    folder: Folder,
    tls: &Arc<FrontDoorTls>,
    clock: &Arc<dyn TimeSource>,
    stopping: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    if let Some(files) = config.console.as_ref().and_then(ConsoleFiles::of) {
        let mut console = Console::new(files, Arc::clone(tls), Arc::clone(clock));
        console.look();
        let following = until(stopping.clone(), console.follow());
        tasks.spawn(named("console's certificate", following).instrument(info_span!("console")));
    }
    if let Some(acme) = acme(config, folder, tls, clock) {
        let following = until(stopping.clone(), acme.follow());
        tasks.spawn(named("console's certificate", following).instrument(info_span!("acme")));
    }
}

/// Returns who gets a certificate for browsers, if the gateway is to.
fn acme(
    config: &GatewayConfig,
    folder: Folder,
    tls: &Arc<FrontDoorTls>,
    clock: &Arc<dyn TimeSource>,
) -> Option<Acme> {
    let ConsoleConfig { name, way: ConsoleWay::Acme(acme) } = config.console.as_ref()? else { return None };
    Some(Acme::open(acme, name, folder, Arc::clone(tls), Arc::clone(clock)))
}

fn api(config: &GatewayConfig, platform: &Arc<Platform>, authority: &Authority, feed: &Feed) -> Api {
    Api {
        platform: Arc::clone(platform),
        origin: config.origin(),
        gateway: GatewayPlace {
            addresses: vec![config.name.clone()],
            trust_domain: config.trust_domain.clone(),
            ca_key: authority.trust().ca_key(),
        },
        events: Arc::clone(feed.events()),
    }
}

fn endpoint(
    authority: &Authority,
    config: RelayConfig,
    udp: UdpSocket,
    address: SocketAddr,
) -> Result<(RelayThread, GatewayEndpoint), GatewayError> {
    let boot = BootId::from_bytes(random::bytes());
    let megabits_each = config.megabits_per_second_per_organization;
    debug!(%address, %boot, relays = config.enabled, megabits_each, "the relay's thread takes the UDP port");
    let mut relay = Relay::new(authority.route(), boot, random::bytes(), Instant::now());
    if let Some(megabits) = config.megabits_per_second_per_organization {
        relay = relay.limited_to(NonZeroU64::from(megabits).saturating_mul(MEGABIT));
    }
    let listening = |source| GatewayError::Listen { protocol: "UDP", address, source };
    let (thread, socket) = RelayThread::start(udp, relay).map_err(listening)?;
    let endpoint = GatewayEndpoint::new(
        socket,
        authority.route(),
        &authority.reset_key(),
        &authority.identity(),
        authority.trust(),
    )
    .map_err(|source| GatewayError::Transport { source })?;
    Ok((thread, endpoint))
}

/// Opens the platform, and returns it with the newest change that it has. That the database is away is said once.
async fn open_platform(
    config: &GatewayConfig,
    clock: &Arc<dyn TimeSource>,
    gateway: GatewayId,
    emptiness: Emptiness,
) -> Result<(Arc<Platform>, i64), GatewayError> {
    metrics::database_up(false);
    let mut delay = None;
    loop {
        match begin_on_platform(config, clock, gateway, emptiness).await {
            Ok(begun) => {
                if delay.is_some() {
                    info!("the gateway's database is there");
                }
                metrics::database_up(true);
                return Ok(begun);
            }
            Err(error) if is_away(&error) => {
                if delay.is_none() {
                    let why = error_chain(&error);
                    warn!(why, "the gateway's database is away; nothing is served until it is there");
                }
                let wait = delay.unwrap_or(DATABASE_ASKED_MIN);
                sleep(wait).await;
                delay = Some((wait * 2).min(DATABASE_ASKED_MAX));
            }
            Err(error) => return Err(error),
        }
    }
}

async fn begin_on_platform(
    config: &GatewayConfig,
    clock: &Arc<dyn TimeSource>,
    gateway: GatewayId,
    emptiness: Emptiness,
) -> Result<(Arc<Platform>, i64), GatewayError> {
    let database = database::location(config)?;
    let https = identity_providers::client(&config.identity_providers)?;
    let platform = Platform::open_at(&config.state, &database, Arc::clone(clock)).await?;
    let platform = platform.asking_providers_by(https);
    if emptiness == Emptiness::Refused && !platform.has_organizations().await? {
        platform.close().await?;
        return Err(GatewayError::NothingYet);
    }
    platform.start_service(gateway).await?;
    // Before the first link: whatever changes from here on, it is told.
    let seen = platform.newest_change().await?;
    Ok((Arc::new(platform), seen))
}

const fn is_away(error: &GatewayError) -> bool {
    match error {
        GatewayError::Database { source } => source.is_away(),
        GatewayError::Platform { source } => source.is_transient(),
        _ => false,
    }
}

/// Tells links and the relay what changed, also what `adit admin` wrote from another process.
async fn follow_feed(feed: Arc<Feed>, platform: Arc<Platform>, seen: i64) {
    feed.follow(&platform, seen).await;
}

async fn keep_relay(keeper: Arc<RelayKeeper>, feed: Arc<Feed>, platform: Arc<Platform>) {
    keeper.follow(&feed, &platform).await;
}

/// Says in the database that this gateway lives, which also shows soon whether the database is there.
async fn renew_lease(platform: Arc<Platform>, feed: Arc<Feed>, gateway: GatewayId) {
    loop {
        sleep(LEASE_RENEWED_EVERY).await;
        let is_away = feed.away_since().is_some();
        let renewed = if is_away {
            platform.newest_if_writable().await.map(drop)
        } else {
            platform.renew_lease(gateway).await
        };
        if let Err(error) = &renewed
            && error.is_elsewhere()
        {
            // Nobody is to be served by rules that are kept elsewhere by now.
            return error!(
                why = error_chain(error),
                "this gateway's platform is in another database now; it ends"
            );
        }
        if !is_away {
            note_served(&feed, "this gateway's lease is not renewed", renewed);
        }
    }
}

/// Says soon that another process keeps the database locked, which reading it does not show.
async fn look_for_locks(platform: Arc<Platform>, feed: Arc<Feed>) {
    loop {
        sleep(STORE_LOCK_ASKED_EVERY).await;
        if feed.away_since().is_none()
            && let Err(error) = platform.ask_whether_locked().await
            && error.is_locked()
        {
            feed.suspect_database(&error);
        }
    }
}

/// Writes what agents reported and what people use, forgets secrets whose time is over and changes that everybody has heard of, and
/// publishes what the relay did.
async fn maintenance(platform: Arc<Platform>, feed: Arc<Feed>, relay: Arc<RelayKeeper>) {
    let mut every = interval(FACT_WRITE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut uses_written_at, mut swept_at) = (None, None);
    loop {
        let now = every.tick().await.into_std();
        relay.measure();
        if feed.away_since().is_some() {
            continue;
        }
        note_served(&feed, "reports of agents are not written yet", platform.flush_reports().await);
        let kept = platform.keep_measurements().await;
        note_served(&feed, "what agents measured is not kept yet", kept);
        note_served(
            &feed,
            "what was repeated is not counted in the audit yet",
            platform.flush_counted().await,
        );
        if is_due(uses_written_at, USES_WRITTEN_EVERY, now) {
            uses_written_at = Some(now);
            let written = platform.flush_uses().await;
            note_served(&feed, "when sessions and API tokens were used last is not written yet", written);
        }
        if is_due(swept_at, SECRETS_SWEPT_EVERY, now) {
            swept_at = Some(now);
            let secrets = note_served(&feed, "secrets that are due are not deleted", platform.sweep().await);
            let changes = platform.prune_changes(CHANGES_KEPT_MAX).await;
            let changes = note_served(&feed, "old changes are not forgotten", changes);
            let people = platform.sweep_people().await;
            let people =
                note_served(&feed, "sessions and invitations that are over are not forgotten", people);
            debug!(secrets, changes, people, "what is over is deleted");
        }
    }
}

fn is_due(last: Option<Instant>, every: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now - last >= every)
}

/// Returns what was done. What was not is tried again; where the database is away, that is said elsewhere.
fn note_served<T>(feed: &Feed, otherwise: &'static str, outcome: Result<T, PlatformError>) -> Option<T> {
    match outcome {
        Ok(done) => return Some(done),
        Err(error) if error.is_transient() => {
            feed.suspect_database(&error);
            debug!(why = error_chain(&error), otherwise, "the database is away or busy; trying again");
        }
        Err(error) => feed.note_unwritten(otherwise, &error),
    }
    None
}

/// Keeps the gateway's own leaf, renewed like an agent's.
async fn renew_daily(
    authority: Arc<Authority>,
    host: String,
    clock: Arc<dyn TimeSource>,
    endpoint: GatewayEndpoint,
    tls: Arc<FrontDoorTls>,
) {
    loop {
        debug!(hours = LEAF_RENEW_EVERY.as_secs() / 3_600, "the gateway's leaf is renewed after this time");
        sleep(LEAF_RENEW_EVERY).await;
        if let Err(error) = renew(&authority, &host, &*clock, &endpoint, &tls) {
            error!(%error, "cannot renew the gateway's leaf; trying again tomorrow");
        }
    }
}

fn renew(
    authority: &Authority,
    host: &str,
    clock: &dyn TimeSource,
    endpoint: &GatewayEndpoint,
    tls: &FrontDoorTls,
) -> Result<(), GatewayError> {
    authority.renew(clock.now())?;
    let (identity, trust) = (authority.identity(), authority.trust());
    endpoint.renew(&identity, trust).map_err(|source| GatewayError::Transport { source })?;
    tls.replace(front_door_configs(authority, host, clock.now())?);
    info!("the gateway's leaf is renewed");
    Ok(())
}

fn front_door_configs(
    authority: &Authority,
    host: &str,
    now: Timestamp,
) -> Result<FrontDoorConfigs, GatewayError> {
    let (identity, trust) = (authority.identity(), authority.trust());
    let enrolment = Arc::new(enrol_server_config(&identity, trust).map_err(presenting)?);
    let carriers = Arc::new(http_server_config(&identity, trust).map_err(presenting)?);
    let people = authority.for_people(host, now)?;
    let people = people_server_config(&people.leaf_der, &people.key, trust).map_err(presenting)?;
    Ok(FrontDoorConfigs { enrolment, carriers, people: Arc::new(people) })
}

/// Where a reverse proxy connects to, and whose word is taken for whom it is asked by.
type Loopback = (tokio::net::TcpListener, Arc<[IpAddr]>);

/// Listens where a reverse proxy connects to, if the console is behind one.
fn listen_for_proxy(console: &ConsoleConfig) -> Result<Option<Loopback>, GatewayError> {
    let ConsoleWay::Proxy { listen, trusted_proxies } = &console.way else { return Ok(None) };
    let failed = |source| GatewayError::Listen { protocol: "TCP", address: *listen, source };
    let listener = bind_tcp(*listen).and_then(tokio::net::TcpListener::from_std).map_err(failed)?;
    info!(address = %listen, "plain HTTP is served to a reverse proxy");
    Ok(Some((listener, trusted_proxies.iter().map(IpAddr::to_canonical).collect())))
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled(work).await;
}

const fn presenting(source: IdentityError) -> GatewayError {
    GatewayError::Identity { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_port_means_one_that_is_free_for_both() {
        let sockets = GatewaySockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(sockets.address().port(), 0);
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.address());
        assert_eq!(sockets.tcp.local_addr().unwrap(), sockets.address());
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = GatewaySockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = GatewaySockets::bind(taken.address()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on TCP {}; stop", taken.address())), "{error}");
    }
}
