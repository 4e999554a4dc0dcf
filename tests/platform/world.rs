//! The product under test, and the one place that calls it. Numbers go in and come out; identities stay here.

#[path = "world/act.rs"]
mod act;
#[path = "world/look.rs"]
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use adit_core::config::DatabaseUrl;
use adit_core::domain::id::{
    AgreementId, ChannelId, ConnectionId, GatewayId, GrantId, KeyFingerprint, OrganizationId, ServerId,
};
use adit_core::domain::limits::LEASE_LASTS;
use adit_core::domain::secret::{RegistrationToken, Secret};
use adit_core::domain::time::Timestamp;
use adit_gateway::platform::{Initiator, Location, Platform};
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::memory_folder::memory_folder;
use crate::outcome::Thing;
use crate::step::{Asker, NOBODY, user_name};

pub(crate) use act::command;
pub(crate) use look::Written;

/// What the platform keeps its data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// In a folder of its own, on disk.
    Sqlite,
    /// In a schema of its own on the server that `ADIT_TEST_POSTGRES` names.
    Postgres,
}

impl Engine {
    /// Returns the engine that is asked for: `tests/run.sh` runs the suite once on each.
    pub(crate) fn asked() -> Self {
        if std::env::var_os(SERVER).is_some() { Self::Postgres } else { Self::Sqlite }
    }
}

/// Says where a `PostgreSQL` server is.
const SERVER: &str = "ADIT_TEST_POSTGRES";

/// The gateway that serves every link.
pub(crate) const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);
/// Where hosts that present tokens are.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
/// Longer than any offer or secret of an earlier sequence lasts.
const BETWEEN_SEQUENCES_MILLIS: i64 = 40 * 24 * 3_600_000;
const HOUR_MILLIS: i64 = 3_600_000;

#[derive(Debug)]
struct Clock(AtomicI64);

impl TimeSource for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A platform that many sequences use one after another, each with organizations of its own.
pub(crate) struct World {
    pub(crate) platform: Arc<Platform>,
    clock: Arc<Clock>,
    pub(crate) sequence: u64,
    pub(crate) made: Made,
    /// The newest audit entry that was read.
    seen: i64,
    /// When the gateway last said that it lives; what it says of links counts for a while after.
    lived_at: i64,
    location: Location,
    folder: TempDir,
}

/// What this sequence made, in order.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) organizations: Vec<OrganizationId>,
    pub(crate) servers: Vec<ServerId>,
    pub(crate) channels: Vec<ChannelId>,
    pub(crate) peerings: Vec<AgreementId>,
    pub(crate) grants: Vec<GrantId>,
    pub(crate) connections: Vec<ConnectionId>,
    tokens: Vec<RegistrationToken>,
    /// As they were first seen, by connection and epoch.
    secrets: BTreeMap<(ConnectionId, u32), Secret>,
    /// Admin connections whose acceptance was answered with yes.
    accepted: BTreeSet<ConnectionId>,
    /// Names of organizations by number, as the audit writes them.
    names: BTreeMap<String, usize>,
    /// What the audit calls a thing.
    texts: BTreeMap<String, Thing>,
}

impl World {
    pub(crate) async fn open(engine: Engine) -> Self {
        let folder = memory_folder();
        let clock = Arc::new(Clock(AtomicI64::new(1_795_510_800_000)));
        let location = locate(engine, folder.path()).await;
        let platform = Arc::new(open(&location, folder.path(), clock.clone()).await);
        platform.start_service(GATEWAY).await.unwrap();
        Self { platform, clock, sequence: 0, made: Made::default(), seen: 0, lived_at: 0, location, folder }
    }

    /// Opens another platform on the same data, with the same clock.
    pub(crate) async fn another(&self) -> Arc<Platform> {
        Arc::new(open(&self.location, self.folder.path(), self.clock.clone()).await)
    }

    /// Begins a sequence: at a full hour, long after everything of the last one is over.
    pub(crate) async fn begin(&mut self) {
        self.sequence += 1;
        self.made = Made::default();
        let then = self.now() + BETWEEN_SEQUENCES_MILLIS;
        self.clock.0.store(then - then.rem_euclid(HOUR_MILLIS), Ordering::SeqCst);
        self.platform.sweep().await.unwrap();
        let newest = self.platform.audit(&self.actor(Asker::Host), 1).await.unwrap();
        self.seen = newest.last().map_or(0, |row| row.id);
        self.made.note_unknown();
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub(crate) fn pass(&self, seconds: u32) {
        self.clock.0.fetch_add(i64::from(seconds) * 1_000, Ordering::SeqCst);
    }

    /// Lets the gateway say that it lives, as often as it has to.
    async fn live(&mut self) {
        let lived_for = Duration::from_millis(self.now().abs_diff(self.lived_at));
        if lived_for >= LEASE_LASTS / 2 {
            self.platform.renew_lease(GATEWAY).await.unwrap();
            self.lived_at = self.now();
        }
    }

    pub(crate) fn actor(&self, who: Asker) -> Initiator {
        let name = user_name(who);
        match who {
            Asker::Host => Initiator::Host { name },
            Asker::Member { organization, role } => Initiator::Member {
                organization: self.made.organizations[organization],
                role,
                name,
                proof: None,
            },
        }
    }

    /// Returns a key that no other sequence uses.
    fn key(&self, number: u8) -> KeyFingerprint {
        let mut bytes = [number; 32];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        KeyFingerprint::from_bytes(bytes)
    }
}

async fn locate(engine: Engine, folder: &Path) -> Location {
    if engine == Engine::Sqlite {
        return Location::Sqlite(folder.join("platform.db"));
    }
    let server = std::env::var(SERVER).unwrap();
    let schema = format!("m_{}", hex::encode(random::bytes::<8>()));
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let made = sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}")));
    made.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    let url: DatabaseUrl = format!("{server}{separator}options=-csearch_path%3D{schema}").parse().unwrap();
    Location::Postgres(url)
}

async fn open(location: &Location, folder: &Path, clock: Arc<Clock>) -> Platform {
    Platform::open_at(&folder.join("state"), location, clock).await.unwrap()
}

/// Returns a made thing's identity, or one that nobody has.
pub(crate) fn known<T: Copy>(made: &[T], number: usize, missing: T) -> T {
    made.get(number).copied().unwrap_or(missing)
}

/// Returns the number of an identity.
#[track_caller]
pub(crate) fn number_of<T: PartialEq + Display>(made: &[T], id: &T) -> usize {
    made.iter().position(|it| it == id).unwrap_or_else(|| panic!("{id} is none of this sequence's"))
}

const MISSING: [u8; 16] = [9; 16];

impl Made {
    /// Knows what is asked for and does not exist.
    fn note_unknown(&mut self) {
        self.note("organization", self.organization(NOBODY), Thing::Organization(NOBODY));
        self.note("server", self.server(NOBODY), Thing::Server(NOBODY));
        self.note("channel", self.channel(NOBODY), Thing::Channel(NOBODY));
        self.note("peering", self.peering(NOBODY), Thing::Peering(NOBODY));
        self.note("grant", self.grant(NOBODY), Thing::Grant(NOBODY));
        self.note("connection", self.connection(NOBODY), Thing::Connection(NOBODY));
    }

    fn note(&mut self, word: &str, id: impl Display, thing: Thing) {
        self.texts.insert(format!("{word} {id}"), thing);
    }

    pub(crate) fn organization(&self, number: usize) -> OrganizationId {
        known(&self.organizations, number, OrganizationId::from_random(MISSING))
    }

    pub(crate) fn server(&self, number: usize) -> ServerId {
        known(&self.servers, number, ServerId::from_random(MISSING))
    }

    pub(crate) fn channel(&self, number: usize) -> ChannelId {
        known(&self.channels, number, ChannelId::from_random(MISSING))
    }

    pub(crate) fn peering(&self, number: usize) -> AgreementId {
        known(&self.peerings, number, AgreementId::from_random(MISSING))
    }

    pub(crate) fn grant(&self, number: usize) -> GrantId {
        known(&self.grants, number, GrantId::from_random(MISSING))
    }

    pub(crate) fn connection(&self, number: usize) -> ConnectionId {
        known(&self.connections, number, ConnectionId::from_random(MISSING))
    }
}
