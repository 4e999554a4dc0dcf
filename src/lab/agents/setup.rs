//! The platform that a run needs, written through the calls that operators make: organizations of some servers
//! each, a ring of active connections between the servers, keys enrolled with tokens, leaves of the gateway's CA.
//!
//! Two short cuts: tokens are redeemed and leaves signed in this process rather than over the enrolment port, which
//! admits thirty a minute from one address; and all is written in memory first, for each of seven acts a server
//! would wait for the disk.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{interval, timeout};

use super::AgentsError;
use adit_core::config::{DatabaseUrl, TrustDomain};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ConnectionId, OrganizationId, RouteId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::Password;
use adit_core::domain::tier::Tier;
use adit_gateway::authority::Authority;
use adit_gateway::migrate::{Side, migrate};
use adit_gateway::platform::{
    Acceptance, ConnectionCommand, DATABASE, Initiator, Location, NewApiToken, NewChannel, Platform,
    ServerText, TokenLife, Visit,
};
use adit_net::host::folder::Folder;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, TimeSource};
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::Credentials;

pub(super) const TRUST_DOMAIN: &str = "lab.adit.test";
/// Servers of one organization, save for what does not divide.
const SERVERS_EACH: usize = 8;
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where files wait for no disk, on Linux as it is usually set up.
pub(crate) const MEMORY: &str = "/dev/shm";
/// A database that was let go is whole within this.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
const RELEASE_LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a run has to do with.
pub(super) struct Town {
    /// Open beside the gateway, as `adit admin` has it.
    pub(super) platform: Platform,
    /// The gateway's.
    pub(super) route: RouteId,
    pub(super) agents: Vec<Credentials>,
    pub(super) connections: Vec<Tie>,
    /// API tokens of as many users.
    pub(super) tokens: Vec<String>,
}

/// An active connection and who may end it.
pub(super) struct Tie {
    pub(super) connection: ConnectionId,
    pub(super) actor: Initiator,
    pub(super) source: usize,
    pub(super) target: usize,
}

/// A server before its agent has a key.
struct Server {
    actor: Initiator,
    id: ServerId,
}

/// Fills the platform of the folder `state`: `agents` servers, each with a connection to so many of the next as
/// `rounds` says. With a `database` its rows are moved there.
pub(super) async fn fill(
    state: &Path,
    database: Option<&DatabaseUrl>,
    agents: usize,
    rounds: usize,
    people: usize,
) -> Result<Town, AgentsError> {
    let clock: Arc<dyn TimeSource> = Arc::new(HostClock);
    let memory = TempDir::with_prefix_in("adit-agents-", MEMORY).ok();
    let place = memory.as_ref().map_or_else(|| state.to_owned(), |memory| memory.path().join("state"));
    let platform = Platform::open(&place, Arc::clone(&clock)).await?;
    let (authority, agents, connections) = write(&platform, &place, &clock, agents, rounds).await?;
    let tokens = users(&platform, &connections, people).await?;
    platform.close().await?;
    drop(platform);
    if memory.is_some() {
        released(&place).await?;
        copy_to(&place, state)?;
    }
    let location = match database {
        Some(url) => {
            move_to(state, url, &clock).await?;
            Location::Postgres(url.clone())
        }
        None => Location::Sqlite(state.join(DATABASE)),
    };
    let platform = Platform::open_at(state, &location, clock).await?;
    Ok(Town { platform, route: authority.route(), agents, connections, tokens })
}

/// Moves the rows as `adit gateway migrate` does, to a database that must be empty.
pub(crate) async fn move_to(
    state: &Path,
    url: &DatabaseUrl,
    clock: &Arc<dyn TimeSource>,
) -> Result<(), AgentsError> {
    let (from, to) = (Side::State(state.into()), Side::Postgres(url.clone()));
    let moved = migrate(&from, &to, Arc::clone(clock)).await;
    moved.map(drop).map_err(|source| AgentsError::Move { source: Box::new(source) })
}

type Written = (Authority, Vec<Credentials>, Vec<Tie>);

async fn write(
    platform: &Platform,
    state: &Path,
    clock: &Arc<dyn TimeSource>,
    agents: usize,
    rounds: usize,
) -> Result<Written, AgentsError> {
    let trust_domain: TrustDomain = TRUST_DOMAIN.parse().expect("a constant that is a trust domain");
    let authority = Authority::open(&Folder::open(state)?, &trust_domain, clock.now())?;
    let actors = organizations(platform, (agents / SERVERS_EACH).max(1)).await?;
    let mut servers = Vec::with_capacity(agents);
    let mut credentials = Vec::with_capacity(agents);
    for number in 0..agents {
        let actor = actors[number * actors.len() / agents].clone();
        let server = add_server(platform, actor, number).await?;
        credentials.push(enrol(platform, &authority, clock, &server).await?);
        servers.push(server);
    }
    let mut connections = Vec::with_capacity(agents * rounds);
    for step in 1..=rounds {
        for source in 0..agents {
            connections.push(connect(platform, &servers, source, (source + step) % agents).await?);
        }
    }
    Ok((authority, credentials, connections))
}

/// Waits until the database in `folder` is one file: the last connection to it ends in a thread of its own.
pub(crate) async fn released(folder: &Path) -> Result<(), AgentsError> {
    let beside = folder.join(format!("{DATABASE}-wal"));
    let mut look = interval(RELEASE_LOOK_EVERY);
    let gone = async {
        while beside.exists() {
            look.tick().await;
        }
    };
    let late = |_| AgentsError::Write { path: beside.clone(), source: io::ErrorKind::TimedOut.into() };
    timeout(RELEASE_TIMEOUT, gone).await.map_err(late)
}

/// Copies every file; modes stay.
pub(crate) fn copy_to(from: &Path, to: &Path) -> Result<(), AgentsError> {
    Folder::open(to)?;
    let copy = || -> io::Result<()> {
        for file in fs::read_dir(from)? {
            let path: PathBuf = file?.path();
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
        Ok(())
    };
    copy().map_err(|source| AgentsError::Write { path: to.into(), source })
}

/// Makes organizations in a ring, each with an agreement with itself and the next.
async fn organizations(platform: &Platform, count: usize) -> Result<Vec<Initiator>, AgentsError> {
    let host = Initiator::Host { name: "set-up".into() };
    let mut actors = Vec::with_capacity(count);
    let mut ids: Vec<OrganizationId> = Vec::with_capacity(count);
    for number in 0..count {
        let name: Name = format!("Hospital {}", number + 1).parse()?;
        let organization = platform.add_organization(&host, &name, Tier::Enterprise).await?;
        let actor =
            Initiator::Member { organization, role: UserRole::Owner, name: "set-up".into(), proof: None };
        platform.request_peering(&actor, organization).await?;
        actors.push(actor);
        ids.push(organization);
    }
    // Two organizations are a pair and no ring.
    let pairs = if count > 2 { count } else { count - 1 };
    for number in 0..pairs {
        let next = (number + 1) % count;
        let peering = platform.request_peering(&actors[number], ids[next]).await?;
        platform.accept_peering(&actors[next], peering).await?;
    }
    Ok(actors)
}

/// Makes users with an API token each, of the organizations whose connections there are, in turn.
async fn users(platform: &Platform, ties: &[Tie], count: usize) -> Result<Vec<String>, AgentsError> {
    let visit = Visit { address: HERE, agent: "adit-lab".into(), device: None };
    let mut tokens = Vec::with_capacity(count);
    for (number, tie) in
        ties.iter().cycle().step_by((ties.len() / count.max(1)).max(1)).take(count).enumerate()
    {
        let email = format!("user{number}@lab.example").parse().expect("a constant form of addresses");
        let invited = platform.invite(&tie.actor, &email, UserRole::Auditor, TokenLife::Hour).await?;
        let acceptance = Acceptance {
            token: invited.token,
            name: Some(format!("User {number}").parse()?),
            password: Password::new(hex::encode(random::bytes::<16>())),
        };
        let signed = platform.accept_invitation(&acceptance, &visit).await?.signed;
        let new = NewApiToken { name: "lab".parse()?, role: UserRole::Auditor, days: 1 };
        let issued = platform.issue_api_token(&signed, &new).await?;
        tokens.push(format!("adit_{}", issued.token.reveal_hex()));
    }
    Ok(tokens)
}

async fn add_server(platform: &Platform, actor: Initiator, number: usize) -> Result<Server, AgentsError> {
    let name = format!("Mirth {}", number + 1).parse()?;
    let text = ServerText { name, description: Description::default(), version: Description::default() };
    let id = platform.add_server(&actor, &text).await?;
    Ok(Server { actor, id })
}

async fn enrol(
    platform: &Platform,
    authority: &Authority,
    clock: &Arc<dyn TimeSource>,
    server: &Server,
) -> Result<Credentials, AgentsError> {
    let key = Arc::new(KeyPair::generate()?);
    let csr = VerifiedCsr::from_der(&key.csr_der()?)?;
    let issued = platform.issue_token(&server.actor, server.id, TokenLife::Day).await?;
    platform.redeem_token(server.id, &issued.token, csr.fingerprint(), HERE).await?;
    let leaf = authority.sign_server(&csr, server.id, clock.now())?;
    let identity = Identity::new(&leaf, key)?;
    Ok(Credentials { identity, trust: authority.trust().clone(), clock: Arc::clone(clock) })
}

/// Connects two servers as people would: a channel, a grant that is asked for and approved, the switch.
async fn connect(
    platform: &Platform,
    servers: &[Server],
    source: usize,
    target: usize,
) -> Result<Tie, AgentsError> {
    let (from, to) = (&servers[source], &servers[target]);
    let new = NewChannel {
        server: to.id,
        name: format!("From {}", source + 1).parse()?,
        description: Description::default(),
        protocol: Protocol::Mllp,
        published: true,
    };
    let channel = platform.add_channel(&to.actor, &new).await?;
    let grant = platform.request_grant(&from.actor, channel, from.id).await?;
    let connection = platform.approve_grant(&to.actor, grant, None).await?;
    platform.command(&from.actor, connection, ConnectionCommand::Activate).await?;
    Ok(Tie { connection, actor: from.actor.clone(), source, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_server_has_two_connections_in_the_ring() {
        let folder = tempfile::tempdir().unwrap();
        let town = fill(&folder.path().join("state"), None, 24, 1, 0).await.unwrap();
        let mut ends = vec![0; 24];
        for tie in &town.connections {
            ends[tie.source] += 1;
            ends[tie.target] += 1;
        }
        assert_eq!(ends, vec![2; 24]);
    }
}
