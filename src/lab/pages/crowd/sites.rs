//! Organizations, servers, channels, grants and connections, and what people decided of them.

use std::collections::BTreeSet;

use crate::agents::AgentsError;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, OrganizationId, ServerId};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::protocol::control::ConfigMismatch;
use adit_gateway::platform::{
    AdminOffer, AgentError, ConnectionCommand, Initiator, NewChannel, OfferLife, Platform, PlatformError,
    ServerText, TokenLife,
};

pub(super) const BIG: &str = "Lakeside University Hospital";
/// Organizations beside the big one; together they have a fifth of the servers.
const PEERS: usize = 20;
const WARDS: [&str; 5] = ["Radiology", "Laboratory", "Admission", "Cardiology", "Pharmacy"];
/// Of each kind of thing that waits for somebody.
const WAITING: usize = 12;

/// An organization with its servers.
pub(super) struct Site {
    id: OrganizationId,
    pub(super) actor: Initiator,
    pub(super) servers: Vec<ServerId>,
}

/// A connection and its ends.
#[derive(Clone, Copy)]
pub(super) struct Tie {
    pub(super) id: ConnectionId,
    pub(super) source: ServerId,
    pub(super) target: ServerId,
}

/// Makes the big organization and its peers, each with its servers and an agreement with the big one.
pub(super) async fn add(platform: &Platform, servers: usize) -> Result<Vec<Site>, AgentsError> {
    let big_servers = servers - (servers / 5 / PEERS) * PEERS;
    let mut sites: Vec<Site> = Vec::with_capacity(PEERS + 1);
    for number in 0..=PEERS {
        let name = if number == 0 { BIG.to_owned() } else { format!("Clinic of St. Elsewhere {number}") };
        let count = if number == 0 { big_servers } else { (servers - big_servers) / PEERS };
        let site = site(platform, &name, count).await?;
        match sites.first() {
            None => {
                platform.request_peering(&site.actor, site.id).await?;
            }
            Some(big) => {
                let peering = platform.request_peering(&big.actor, site.id).await?;
                platform.accept_peering(&site.actor, peering).await?;
            }
        }
        sites.push(site);
    }
    Ok(sites)
}

async fn site(platform: &Platform, name: &str, servers: usize) -> Result<Site, AgentsError> {
    let host = Initiator::Host { name: "set-up".into() };
    let id = platform.add_organization(&host, &name.parse()?, Tier::Enterprise).await?;
    let actor =
        Initiator::Member { organization: id, role: UserRole::Owner, name: "set-up".into(), proof: None };
    let mut site = Site { id, actor, servers: Vec::with_capacity(servers) };
    for number in 0..servers {
        let ward = WARDS[number % WARDS.len()];
        let text = ServerText {
            name: format!("{ward} {number} production").parse()?,
            description: "Mirth Connect in the main building, second server room".parse()?,
            version: "4.5.2".parse()?,
        };
        site.servers.push(platform.add_server(&site.actor, &text).await?);
    }
    Ok(site)
}

/// Connects servers of the big organization with others of it and, each fifth, with a peer's. Returns a channel of it,
/// too.
pub(super) async fn connect(
    platform: &Platform,
    sites: &[Site],
    count: usize,
) -> Result<(Vec<Tie>, ChannelId), AgentsError> {
    let big = &sites[0];
    let (mut ties, mut own) = (Vec::with_capacity(count), None);
    for number in 0..count {
        let (turn, place) = (number / big.servers.len(), number % big.servers.len());
        let source = big.servers[place];
        let peer = sites.get(1 + number % PEERS).filter(|peer| number % 5 == 0 && !peer.servers.is_empty());
        let (site, target) = match peer {
            Some(peer) => (peer, peer.servers[number / 5 % peer.servers.len()]),
            None => (big, big.servers[(place + turn + 1) % big.servers.len()]),
        };
        let channel = add_channel(platform, site, target, &format!("Orders from {number}")).await?;
        if peer.is_none() {
            own = own.or(Some(channel));
        }
        let grant = platform.request_grant(&big.actor, channel, source).await?;
        let id = platform.approve_grant(&site.actor, grant, None).await?;
        ties.push(Tie { id, source, target });
    }
    let own = match own {
        Some(own) => own,
        None => add_channel(platform, big, big.servers[0], "Results").await?,
    };
    Ok((ties, own))
}

async fn add_channel(
    platform: &Platform,
    site: &Site,
    server: ServerId,
    name: &str,
) -> Result<ChannelId, AgentsError> {
    let new = NewChannel {
        server,
        name: name.parse()?,
        description: "HL7 v2.5.1, ORM and ORU of the wards".parse()?,
        protocol: Protocol::Mllp,
        published: true,
    };
    Ok(platform.add_channel(&site.actor, &new).await?)
}

/// Switches most on, and leaves some in each other state. Returns those that are Active.
pub(super) async fn decide(
    platform: &Platform,
    big: &Site,
    ties: &[Tie],
) -> Result<BTreeSet<ConnectionId>, AgentsError> {
    let mut active = BTreeSet::new();
    for (number, tie) in ties.iter().enumerate() {
        let command = async |command| platform.command(&big.actor, tie.id, command).await;
        if number % 40 == 39 {
            continue;
        }
        command(ConnectionCommand::Activate).await?;
        match number % 50 {
            11 => drop(command(ConnectionCommand::Pause).await?),
            12 => drop(command(ConnectionCommand::Terminate).await?),
            13 => fail(platform, tie).await?,
            _ => drop(active.insert(tie.id)),
        }
    }
    Ok(active)
}

async fn fail(platform: &Platform, tie: &Tie) -> Result<(), AgentsError> {
    match platform.config_mismatch(tie.target, tie.id, ConfigMismatch::Protocol).await {
        Ok(_) => Ok(()),
        Err(AgentError::Platform(source)) => Err(source.into()),
        Err(other) => Err(AgentsError::People { source: other.into() }),
    }
}

/// Leaves things open that wait for somebody at the big organization, and refused attempts in its log. Returns an
/// agreement of it.
pub(super) async fn ask(
    platform: &Platform,
    sites: &[Site],
    channel: ChannelId,
) -> Result<AgreementId, AgentsError> {
    let (big, peers) = (&sites[0], &sites[1..]);
    for number in 0..WAITING {
        let other = site(platform, &format!("Practice {number} at the market"), 0).await?;
        platform.request_peering(&other.actor, big.id).await?;
        let outsider = platform.request_grant(&other.actor, channel, big.servers[0]).await;
        assert_refused(outsider)?;
    }
    for peer in peers.iter().take(WAITING).filter(|peer| !peer.servers.is_empty()) {
        platform.request_grant(&peer.actor, channel, peer.servers[0]).await?;
        let (server, to, life) = (peer.servers[0], big.id, OfferLife::default());
        platform.offer_admin(&peer.actor, &AdminOffer { server, to, access: Access::ReadOnly, life }).await?;
        platform.issue_token(&peer.actor, server, TokenLife::Hour).await?;
    }
    for server in big.servers.iter().take(WAITING) {
        platform.issue_token(&big.actor, *server, TokenLife::Hour).await?;
        let again = platform.request_peering(&big.actor, peers[0].id).await;
        assert_refused(again.map(drop))?;
    }
    let partner = site(platform, "Practice at the bridge", 0).await?;
    let peering = platform.request_peering(&big.actor, partner.id).await?;
    platform.accept_peering(&partner.actor, peering).await?;
    Ok(peering)
}

/// A refusal is what was meant.
fn assert_refused<T>(asked: Result<T, PlatformError>) -> Result<(), AgentsError> {
    match asked {
        Ok(_) | Err(PlatformError::Refused(_) | PlatformError::NotFound { .. }) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
