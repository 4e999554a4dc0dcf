//! What the recorded process does: one act of each kind in a story that grants all of them, then acts drawn
//! from a seed, of which many are refused.

use std::net::{IpAddr, Ipv4Addr};

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{
    AgreementId, ChannelId, ConnectionId, GatewayId, GrantId, KeyFingerprint, OrganizationId, ServerId,
};
use adit_core::domain::path::PathKind;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{ConfigMismatch, PeerRefusal, Report, SessionReport, SessionStage};
use adit_gateway::platform::{
    AdminOffer, ConnectionCommand, Initiator, NewChannel, OfferLife, ServerText, TokenLife,
};
use adit_lab::messages::Draws;
use adit_net::identity::time::TimeSource;

use super::process::Process;
use crate::whole_lists::WholeLists as _;

/// The gateway that serves every link.
const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

pub(crate) fn host() -> Initiator {
    Initiator::Host { name: "operator".into() }
}

fn owner(organization: OrganizationId) -> Initiator {
    Initiator::Member { organization, role: UserRole::Owner, name: "Ada".into(), proof: None }
}

fn key(number: u8) -> KeyFingerprint {
    KeyFingerprint::from_bytes([number; 32])
}

fn text(name: &str, description: &str) -> ServerText {
    ServerText {
        name: name.parse().unwrap(),
        description: description.parse().unwrap(),
        version: "4.5.2".parse().unwrap(),
    }
}

fn channel(server: ServerId, name: &str) -> NewChannel {
    NewChannel {
        server,
        name: name.parse().unwrap(),
        description: "Results as they are signed".parse().unwrap(),
        protocol: Protocol::Mllp,
        published: true,
    }
}

/// What was made, in the order it was.
#[derive(Debug, Default)]
pub(crate) struct Made {
    organizations: Vec<OrganizationId>,
    servers: Vec<(OrganizationId, ServerId)>,
    agreements: Vec<AgreementId>,
    channels: Vec<(OrganizationId, ChannelId)>,
    grants: Vec<GrantId>,
    connections: Vec<ConnectionId>,
    names: u64,
}

/// Performs every kind of act; all but the last few are granted.
pub(crate) async fn one_of_each(mut process: Process, made: &mut Made) -> Process {
    organizations(&mut process, made).await;
    peerings(&mut process, made).await;
    enrolments(&mut process, made).await;
    process = process.open_again("open again").await;
    grants(&mut process, made).await;
    secrets(&mut process, made).await;
    commands(&mut process, made).await;
    offers(&mut process, made).await;
    process = process.open_again("open once more").await;
    reports(&mut process, made).await;
    process
}

async fn organizations(process: &mut Process, made: &mut Made) {
    for name in ["North Clinic", "South Clinic", "East Clinic"] {
        let done = process.platform.add_organization(&host(), &name.parse().unwrap(), Tier::Free).await;
        made.organizations.push(process.granted("add organization", done).await);
    }
    for organization in made.organizations.clone() {
        let done = process.platform.set_tier(&host(), organization, Tier::Enterprise).await;
        process.granted("set tier", done).await;
        for name in ["one", "two"] {
            let done = process.platform.add_server(&owner(organization), &text(name, "")).await;
            made.servers.push((organization, process.granted("add server", done).await));
        }
    }
    let (organization, server) = made.servers[0];
    let described = text("one, in the cellar", "Behind the second door");
    let done = process.platform.describe_server(&owner(organization), server, &described).await;
    process.granted("describe server", done).await;
}

async fn peerings(process: &mut Process, made: &mut Made) {
    let [north, south, east] = made.organizations[..] else { panic!("{made:?}") };
    for (from, to) in [(north, south), (north, east), (east, south)] {
        let done = process.platform.request_peering(&owner(from), to).await;
        made.agreements.push(process.granted("request peering", done).await);
    }
    let done = process.platform.accept_peering(&owner(south), made.agreements[0]).await;
    process.granted("accept peering", done).await;
    let done = process.platform.decline_peering(&owner(east), made.agreements[1]).await;
    process.granted("decline peering", done).await;
    let done = process.platform.withdraw_peering(&owner(east), made.agreements[2]).await;
    process.granted("withdraw peering", done).await;
}

async fn enrolments(process: &mut Process, made: &Made) {
    for (number, (organization, server)) in (1..).zip(&made.servers[..3]) {
        let done = process.platform.issue_token(&owner(*organization), *server, TokenLife::Day).await;
        let issued = process.granted("issue token", done).await;
        let done = process.platform.redeem_token(*server, &issued.token, key(number), FROM).await;
        process.granted("redeem token", done).await;
        let done = process.platform.redeem_token(*server, &issued.token, key(99), FROM).await;
        assert!(process.answered("redeem token with another key", done).await.is_none());
    }
}

/// North sends to South, twice over: once asked for, once offered. Others come to nothing.
async fn grants(process: &mut Process, made: &mut Made) {
    let (north, source) = made.servers[0];
    let (south, target) = made.servers[2];
    for name in ["ADT", "ORU", "Notes", "Orders"] {
        let done = process.platform.add_channel(&owner(south), &channel(target, name)).await;
        made.channels.push((south, process.granted("add channel", done).await));
    }
    for published in [false, true] {
        let done = process.platform.set_published(&owner(south), made.channels[0].1, published).await;
        process.granted("publish channel", done).await;
    }
    for at in [0, 2] {
        let done = process.platform.request_grant(&owner(north), made.channels[at].1, source).await;
        made.grants.push(process.granted("request grant", done).await);
    }
    for at in [1, 3] {
        let done = process.platform.offer_grant(&owner(south), made.channels[at].1, north).await;
        made.grants.push(process.granted("offer grant", done).await);
    }
    for (by, grant, from) in [(south, 0, None), (north, 2, Some(source)), (north, 3, Some(source))] {
        let done = process.platform.approve_grant(&owner(by), made.grants[grant], from).await;
        made.connections.push(process.granted("approve grant", done).await);
    }
    let done = process.platform.deny_grant(&owner(south), made.grants[1]).await;
    process.granted("deny grant", done).await;
    let done = process.platform.revoke_grant(&owner(south), made.grants[3]).await;
    process.granted("revoke grant", done).await;
}

async fn secrets(process: &mut Process, made: &Made) {
    let ((north, source), (_, target)) = (made.servers[0], made.servers[2]);
    let connection = made.connections[0];
    let done = process.platform.view_secret(&owner(north), connection).await;
    process.granted("view secret", done).await;
    let done = process.platform.rotate_secret(&owner(north), connection).await;
    process.granted("rotate secret", done).await;
    for server in [source, target] {
        let done = process.platform.fetch_secret(server, connection).await;
        let (epoch, _) = process.granted("fetch secret", done).await;
        let done = process.platform.secret_stored(server, connection, epoch).await;
        process.granted("secret stored", done).await;
    }
}

async fn commands(process: &mut Process, made: &Made) {
    let ((north, _), (south, target)) = (made.servers[0], made.servers[2]);
    for connection in &made.connections[..2] {
        for (by, command) in [
            (north, ConnectionCommand::Activate),
            (south, ConnectionCommand::Pause),
            (south, ConnectionCommand::Resume),
            (north, ConnectionCommand::Disconnect),
        ] {
            let done = process.platform.command(&owner(by), *connection, command).await;
            process.granted(&format!("{command:?}"), done).await;
        }
    }
    let done = process.platform.config_mismatch(target, made.connections[0], ConfigMismatch::Protocol).await;
    process.granted("mismatch", done).await;
    let done = process.platform.command(&owner(north), made.connections[0], ConnectionCommand::Retry).await;
    process.granted("Retry", done).await;
    let done = process.platform.relinquish_grant(&owner(north), made.grants[2]).await;
    process.granted("relinquish grant", done).await;
    let done =
        process.platform.command(&owner(south), made.connections[0], ConnectionCommand::Activate).await;
    process.granted("Activate", done).await;
}

/// One accepted, one declined, one withdrawn, and one whose time passes.
async fn offers(process: &mut Process, made: &mut Made) {
    let ((north, source), (south, target)) = (made.servers[0], made.servers[2]);
    for access in [Access::ReadOnly, Access::ReadWrite, Access::ReadWrite, Access::ReadWrite] {
        let offer = AdminOffer { server: target, to: north, access, life: OfferLife::default() };
        let done = process.platform.offer_admin(&owner(south), &offer).await;
        let connection = process.granted("offer administration", done).await;
        made.connections.push(connection);
        match made.connections.len() {
            4 => {
                let done = process.platform.accept_offer(&owner(north), connection, source).await;
                process.granted("accept offer", done).await;
            }
            5 => {
                let done = process.platform.decline_offer(&owner(north), connection).await;
                process.granted("decline offer", done).await;
            }
            6 => {
                let done = process.platform.withdraw_offer(&owner(south), connection).await;
                process.granted("withdraw offer", done).await;
            }
            _ => process.clock.pass(31 * DAY_MILLIS),
        }
    }
    // Two transactions, so two acts: first the offer expires, then a secret that is due goes.
    let done = process.platform.connections(&host()).await;
    process.granted("list connections", done).await;
    let done = process.platform.sweep().await;
    process.granted("sweep", done).await;
}

/// What agents tell, a link that comes and goes, and a key that is taken off.
async fn reports(process: &mut Process, made: &Made) {
    let ((north, source), (_, target)) = (made.servers[0], made.servers[2]);
    let done = process.platform.start_service(GATEWAY).await;
    process.granted("start service", done).await;
    process.platform.linked(GATEWAY, source, true);
    let done = process.platform.flush_reports().await;
    process.granted("link up", done).await;
    let report =
        Report { tunnel: Some(Word::Known(PathKind::Direct)), mirth: None, last_ack: None, fault: None };
    let done = process.platform.report(source, made.connections[0], &report, process.clock.now()).await;
    process.granted("report", done).await;
    let session = SessionReport {
        number: 3,
        stage: Word::Known(SessionStage::Started),
        local_peer: FROM,
        requests: 12,
        refused: 1,
        changes: 2,
        audits: 0,
    };
    let done = process.platform.admin_session(target, made.connections[3], &session).await;
    process.granted("admin session", done).await;
    for _ in 0..2 {
        let refusal = PeerRefusal::Unlisted;
        let done = process.platform.refused_peer(target, None, Some(source), refusal, 2).await;
        process.granted("refuse peer", done).await;
    }
    let done = process.platform.flush_counted().await;
    process.granted("write what was counted", done).await;
    let done = process.platform.revoke_server(&owner(north), source).await;
    process.granted("revoke server", done).await;
    let done =
        process.platform.command(&owner(north), made.connections[0], ConnectionCommand::Terminate).await;
    process.granted("Terminate", done).await;
}

/// Performs one act that is drawn, by somebody drawn: often it is refused.
pub(crate) async fn any(process: &mut Process, made: &mut Made, draws: &mut Draws) {
    let organization = draws.pick(&made.organizations);
    let by = owner(organization);
    made.names += 1;
    let name = format!("drawn {}", made.names);
    match draws.below(5) {
        0 => any_of_servers(process, made, draws, &by, &name).await,
        1 => any_of_grants(process, made, draws, &by, &name).await,
        2 => any_of_offers(process, made, draws, &by).await,
        3 => any_of_agents(process, made, draws).await,
        _ => {
            let command = draws.pick(&ConnectionCommand::ALL);
            let connection = draws.pick(&made.connections);
            let done = process.platform.command(&by, connection, command).await;
            process.answered(&format!("{command:?}"), done).await;
        }
    }
}

async fn any_of_servers(
    process: &mut Process,
    made: &mut Made,
    draws: &mut Draws,
    by: &Initiator,
    name: &str,
) {
    let Initiator::Member { organization, .. } = by else { panic!("{by:?}") };
    let (_, server) = draws.pick(&made.servers);
    match draws.below(4) {
        0 => {
            let done = process.platform.add_server(by, &text(name, "")).await;
            if let Some(server) = process.answered("add server", done).await {
                made.servers.push((*organization, server));
            }
        }
        1 => {
            let done = process.platform.describe_server(by, server, &text(name, "Moved")).await;
            process.answered("describe server", done).await;
        }
        2 => {
            let done = process.platform.issue_token(by, server, TokenLife::Hour).await;
            let Some(issued) = process.answered("issue token", done).await else { return };
            let number = u8::try_from(100 + made.names % 100).unwrap();
            let done = process.platform.redeem_token(server, &issued.token, key(number), FROM).await;
            process.answered("redeem token", done).await;
        }
        _ => {
            let done = process.platform.revoke_server(by, server).await;
            process.answered("revoke server", done).await;
        }
    }
}

async fn any_of_grants(
    process: &mut Process,
    made: &mut Made,
    draws: &mut Draws,
    by: &Initiator,
    name: &str,
) {
    let Initiator::Member { organization, .. } = by else { panic!("{by:?}") };
    let ((_, server), (_, wanted)) = (draws.pick(&made.servers), draws.pick(&made.channels));
    let grant = draws.pick(&made.grants);
    match draws.below(5) {
        0 => {
            let done = process.platform.add_channel(by, &channel(server, name)).await;
            if let Some(channel) = process.answered("add channel", done).await {
                made.channels.push((*organization, channel));
            }
        }
        1 => {
            let done = process.platform.request_grant(by, wanted, server).await;
            made.grants.extend(process.answered("request grant", done).await);
        }
        2 => {
            let done = process.platform.offer_grant(by, wanted, draws.pick(&made.organizations)).await;
            made.grants.extend(process.answered("offer grant", done).await);
        }
        3 => {
            let source = [None, Some(server)][usize::from(draws.below(2) == 0)];
            let done = process.platform.approve_grant(by, grant, source).await;
            made.connections.extend(process.answered("approve grant", done).await);
        }
        _ => {
            let done = process.platform.deny_grant(by, grant).await;
            process.answered("deny grant", done).await;
        }
    }
}

async fn any_of_offers(process: &mut Process, made: &mut Made, draws: &mut Draws, by: &Initiator) {
    let ((_, server), connection) = (draws.pick(&made.servers), draws.pick(&made.connections));
    let to = draws.pick(&made.organizations);
    match draws.below(4) {
        0 => {
            let access = draws.pick(&Access::ALL);
            let offer = AdminOffer { server, to, access, life: OfferLife::default() };
            let done = process.platform.offer_admin(by, &offer).await;
            made.connections.extend(process.answered("offer administration", done).await);
        }
        1 => {
            let done = process.platform.accept_offer(by, connection, server).await;
            process.answered("accept offer", done).await;
        }
        2 => {
            let done = process.platform.request_peering(by, to).await;
            made.agreements.extend(process.answered("request peering", done).await);
        }
        _ => {
            let done = process.platform.accept_peering(by, draws.pick(&made.agreements)).await;
            process.answered("accept peering", done).await;
        }
    }
}

async fn any_of_agents(process: &mut Process, made: &Made, draws: &mut Draws) {
    let ((organization, server), connection) = (draws.pick(&made.servers), draws.pick(&made.connections));
    match draws.below(4) {
        0 => {
            let done = process.platform.rotate_secret(&owner(organization), connection).await;
            process.answered("rotate secret", done).await;
        }
        1 => {
            let done = process.platform.fetch_secret(server, connection).await;
            let Some((epoch, _)) = process.answered("fetch secret", done).await else { return };
            let done = process.platform.secret_stored(server, connection, epoch).await;
            process.answered("secret stored", done).await;
        }
        2 => {
            process.platform.linked(GATEWAY, server, draws.below(2) == 0);
            let done = process.platform.flush_reports().await;
            process.answered("link", done).await;
        }
        _ => {
            let done = process.platform.view_secret(&owner(organization), connection).await;
            process.answered("view secret", done).await;
        }
    }
}
