//! The platform that is looked at: one big organization with most servers, its peers, and connections in every state
//! that lists show, with what their agents would have told of them. Everything is written through the calls that
//! operators, people and agents make, in memory first, as for the many agents.

mod sites;
mod told;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::interval;

use self::sites::{Site, Tie};
use super::Wanted;
use super::browser::Person;
use super::listeners::STREAMS_EACH;
use crate::agents::AgentsError;
use crate::agents::setup::{HERE, MEMORY, copy_to, move_to, released};
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, GatewayId, ServerId};
use adit_core::domain::limits::LEASE_RENEWED_EVERY;
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::Password;
use adit_gateway::platform::{
    Acceptance, DATABASE, Initiator, Location, NewApiToken, Platform, TokenLife, Visit,
};
use adit_net::identity::random;
use adit_net::identity::time::{HostClock, TimeSource};

/// What a run has to do with.
pub(super) struct Crowd {
    /// Open beside the gateway, as `adit admin` has it.
    pub(super) platform: Arc<Platform>,
    written: Written,
}

/// What is known of what was written.
pub(super) struct Written {
    /// Of the big organization.
    pub(super) owner: Initiator,
    pub(super) person: Person,
    /// API tokens of users of the big organization.
    pub(super) tokens: Vec<String>,
    pub(super) active: Vec<ConnectionId>,
    /// As which links of agents are told of.
    gateway: GatewayId,
    server: ServerId,
    channel: ChannelId,
    peering: AgreementId,
}

impl std::ops::Deref for Crowd {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.written
    }
}

impl Crowd {
    pub(super) async fn fill(state: &Path, wanted: &Wanted) -> Result<Self, AgentsError> {
        let clock: Arc<dyn TimeSource> = Arc::new(HostClock);
        let memory = TempDir::with_prefix_in("adit-pages-", MEMORY).ok();
        let place = memory.as_ref().map_or_else(|| state.to_owned(), |memory| memory.path().join("state"));
        let platform = Platform::open(&place, Arc::clone(&clock)).await?;
        let written = write(&platform, wanted, &clock).await?;
        platform.close().await?;
        drop(platform);
        if memory.is_some() {
            released(&place).await?;
            copy_to(&place, state)?;
        }
        let location = match &wanted.database {
            Some(url) => {
                move_to(state, url, &clock).await?;
                Location::Postgres(url.clone())
            }
            None => Location::Sqlite(state.join(DATABASE)),
        };
        Ok(Self { platform: Arc::new(Platform::open_at(state, &location, clock).await?), written })
    }

    /// Keeps the word of the gateway that agents are linked to, until what is returned is dropped.
    pub(super) fn keep_alive(&self) -> JoinSet<()> {
        let (platform, gateway) = (Arc::clone(&self.platform), self.gateway);
        let mut living = JoinSet::new();
        living.spawn(async move {
            let mut every = interval(LEASE_RENEWED_EVERY);
            loop {
                every.tick().await;
                // One that fails is made good by the next.
                let _ = platform.renew_lease(gateway).await;
            }
        });
        living
    }

    /// Returns every page that an owner may look at.
    pub(super) fn paths(&self) -> Vec<String> {
        let Written { server, channel, peering, active, .. } = &self.written;
        let connection = active.first().map(ToString::to_string).unwrap_or_default();
        let fixed = [
            "/",
            "/connections",
            "/connections?search=radiology+7",
            "/connections?status=Active&connectivity=Disconnected%2CNever+connected",
            "/connections?ended=true",
            "/servers",
            "/servers/new",
            "/channels",
            "/channels?of=peers",
            "/channels/new",
            "/peering",
            "/grants",
            "/grants/new",
            "/offers/new",
            "/admin-sessions",
            "/audit",
            "/audit?outcome=refused",
            "/users",
            "/organization",
            "/account",
        ];
        let mut paths: Vec<_> = fixed.map(str::to_owned).into();
        paths.extend([
            format!("/connections/{connection}"),
            format!("/connections/{connection}?span=24h"),
            format!("/connections/{connection}/diagnose"),
            format!("/servers/{server}"),
            format!("/channels/{channel}"),
            format!("/peering/{peering}/end"),
        ]);
        paths
    }
}

async fn write(
    platform: &Platform,
    wanted: &Wanted,
    clock: &Arc<dyn TimeSource>,
) -> Result<Written, AgentsError> {
    let sites = sites::add(platform, wanted.servers).await?;
    let big = &sites[0];
    let (ties, channel) = sites::connect(platform, &sites, wanted.connections).await?;
    let active = sites::decide(platform, big, &ties).await?;
    let peering = sites::ask(platform, &sites, channel).await?;
    let gateway = GatewayId::from_bytes(random::bytes());
    told::link(platform, gateway, &sites).await?;
    let connected: Vec<Tie> = ties.iter().filter(|tie| active.contains(&tie.id)).copied().collect();
    told::report(platform, &connected, clock.now()).await?;
    told::measure(platform, &connected, wanted.measured, clock.now()).await?;
    let person = Person {
        organization: sites::BIG.into(),
        email: "owner@lakeside.example".into(),
        password: hex::encode(random::bytes::<16>()),
    };
    let tokens = people(platform, big, &person, wanted.streams.div_ceil(STREAMS_EACH)).await?;
    let (owner, active) = (big.actor.clone(), active.into_iter().collect());
    Ok(Written { owner, person, tokens, active, gateway, server: big.servers[0], channel, peering })
}

/// Makes the one who looks, and as many who listen; returns the API tokens of these.
async fn people(
    platform: &Platform,
    big: &Site,
    person: &Person,
    listeners: usize,
) -> Result<Vec<String>, AgentsError> {
    join(platform, big, &person.email, UserRole::Owner, person.password.clone()).await?;
    let mut tokens = Vec::with_capacity(listeners);
    for number in 0..listeners {
        let (email, password) =
            (format!("auditor{number}@lakeside.example"), hex::encode(random::bytes::<16>()));
        let signed = join(platform, big, &email, UserRole::Auditor, password).await?;
        let new = NewApiToken { name: "lab".parse()?, role: UserRole::Auditor, days: 1 };
        let issued = platform.issue_api_token(&signed, &new).await?;
        tokens.push(format!("adit_{}", issued.token.reveal_hex()));
    }
    Ok(tokens)
}

async fn join(
    platform: &Platform,
    site: &Site,
    email: &str,
    role: UserRole,
    password: String,
) -> Result<adit_gateway::platform::Signed, AgentsError> {
    let visit = Visit { address: HERE, agent: "adit-lab".into(), device: None };
    let email = email.parse().expect("a constant form of addresses");
    let invited = platform.invite(&site.actor, &email, role, TokenLife::Hour).await?;
    let acceptance = Acceptance {
        token: invited.token,
        name: Some(format!("The {role}").parse()?),
        password: Password::new(password),
    };
    Ok(platform.accept_invitation(&acceptance, &visit).await?.signed)
}
