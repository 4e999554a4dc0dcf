//! What linked agents hear of rules, secrets and each other, as people change the platform.

use std::sync::Arc;

use adit_core::domain::id::ServerId;
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{
    Activity, Change, ConfigMismatch, PeerPaths, PeerRefusal, Rule, ToAgent, ToGateway,
};
use adit_gateway::platform::{ConnectionCommand, Platform};
use adit_net::identity::key::KeyPair;

use super::world::{Agent, Link, Pair, World};

async fn snapshot(agent: &Agent, world: &World) -> (Link, Vec<Rule>) {
    let mut link = agent.link(world).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Welcome { .. })));
    let Ok(ToAgent::Snapshot { revision: 1, rules, .. }) = link.next().await else { panic!("no snapshot") };
    (link, rules.usable)
}

async fn change(link: &mut Link, expected: u64) -> Change {
    match link.next().await {
        Ok(ToAgent::Change { revision, change }) if revision == expected => change,
        other => panic!("expected change {expected}, got {other:?}"),
    }
}

async fn rule(link: &mut Link, expected: u64) -> Rule {
    match change(link, expected).await {
        Change::Rule { rule } => rule,
        other => panic!("expected a rule, got {other:?}"),
    }
}

async fn candidates(link: &mut Link, of: ServerId) -> Vec<std::net::SocketAddr> {
    match link.next().await {
        Ok(ToAgent::Candidates { peer, addresses }) if peer == of => addresses,
        other => panic!("expected candidates, got {other:?}"),
    }
}

/// Nothing else was said before the answer to a question.
async fn assert_silent(link: &mut Link) {
    let connection = adit_core::domain::id::ConnectionId::from_random([0xee; 16]);
    link.send(ToGateway::FetchSecret { connection }).await;
    assert_eq!(link.next().await.unwrap(), ToAgent::SecretUnavailable { connection });
}

#[tokio::test]
async fn only_peers_hear_where_the_other_is() {
    let world = World::start().await;
    let Pair { source, target, .. } = world.pair().await;
    let stranger = world.enrolled("stranger").await;
    let mut stranger = stranger.welcomed(&world).await;
    let mut at_source = source.welcomed(&world).await;
    let mut at_target = target.welcomed(&world).await;

    let bound = std::net::SocketAddr::new([0, 0, 0, 0].into(), at_source.address.port());
    let public: std::net::SocketAddr = "192.0.2.1:4433".parse().unwrap();
    at_source.send(ToGateway::Listening { addresses: vec![bound, public] }).await;
    assert_eq!(candidates(&mut at_target, source.server()).await, [at_source.address, public]);
    at_target.send(ToGateway::Listening { addresses: vec![at_target.address] }).await;
    assert_eq!(candidates(&mut at_source, target.server()).await, [at_target.address]);

    drop(at_source);
    assert_eq!(candidates(&mut at_target, source.server()).await, []);
    assert_silent(&mut stranger).await;
}

#[tokio::test]
async fn a_peer_that_an_agent_hides_from_never_hears_where_it_is() {
    let world = World::start().await;
    let Pair { source, target, .. } = world.pair().await;
    let mut at_source = source.welcomed(&world).await;
    let mut at_target = target.welcomed(&world).await;
    at_source.send(ToGateway::HiddenFrom { peers: vec![target.server()] }).await;
    at_source.send(ToGateway::Listening { addresses: vec![at_source.address] }).await;
    // What the source said before is done when the target hears it.
    at_target.send(ToGateway::Listening { addresses: vec![at_target.address] }).await;
    assert_eq!(candidates(&mut at_source, target.server()).await, [at_target.address]);
    assert_silent(&mut at_source).await;
    assert_silent(&mut at_target).await;
    at_source.send(ToGateway::HiddenFrom { peers: Vec::new() }).await;
    assert_eq!(candidates(&mut at_target, source.server()).await, [at_source.address]);
}

#[tokio::test]
async fn what_an_owner_allows_is_told_to_a_peer_that_can_hear_it() {
    let world = World::start().await;
    let Pair { source, target, .. } = world.pair().await;
    let mut at_source = source.welcomed(&world).await;
    let mut at_target = target.dial(&world).await.unwrap();
    at_target.hello_with(Capabilities::own()).await;
    assert!(matches!(at_target.next().await, Ok(ToAgent::Welcome { .. })));
    assert!(matches!(at_target.next().await, Ok(ToAgent::Snapshot { .. })));
    let allowed = vec![PathKind::Tcp.into(), PathKind::Relay.into()];
    let peers = |allowed: &[Word<PathKind>], peer| vec![PeerPaths { peer, allowed: allowed.to_vec() }];
    at_source.send(ToGateway::AllowedPaths { peers: peers(&allowed, target.server()) }).await;
    let told = ToAgent::AllowedPaths { peer: source.server(), allowed: allowed.clone() };
    assert_eq!(at_target.next().await.unwrap(), told);
    at_source.send(ToGateway::AllowedPaths { peers: Vec::new() }).await;
    let told = ToAgent::AllowedPaths { peer: source.server(), allowed: Vec::new() };
    assert_eq!(at_target.next().await.unwrap(), told);
    // An agent of an older build never said that it can hear it.
    at_target.send(ToGateway::AllowedPaths { peers: peers(&allowed, source.server()) }).await;
    assert_silent(&mut at_target).await;
    assert_silent(&mut at_source).await;
}

#[tokio::test]
async fn what_people_change_in_another_process_is_pushed_in_order() {
    let world = World::start().await;
    let Pair { source, source_initiator: initiator, connection, target, .. } = world.pair().await;
    let (mut link, rules) = snapshot(&source, &world).await;
    assert_eq!(rules.len(), 1);
    assert_eq!((rules[0].connection, rules[0].activity), (connection, Activity::Active));
    assert_eq!(rules[0].peer, target.server());
    assert_eq!(rules[0].peer_route, target.enrolment.route);

    let admin = Platform::open(&world.state(), Arc::clone(&world.clock) as _).await.unwrap();
    admin.command(&initiator, connection, ConnectionCommand::Pause).await.unwrap();
    assert_eq!(rule(&mut link, 2).await.activity, Activity::Paused);
    admin.command(&initiator, connection, ConnectionCommand::Resume).await.unwrap();
    assert_eq!(rule(&mut link, 3).await.activity, Activity::Active);
    admin.command(&initiator, connection, ConnectionCommand::Disconnect).await.unwrap();
    assert_eq!(rule(&mut link, 4).await.cut_epoch, rules[0].cut_epoch + 1);
    admin.rotate_secret(&initiator, connection).await.unwrap();
    assert_eq!(rule(&mut link, 5).await.secret_epoch, rules[0].secret_epoch + 1);
    admin.command(&initiator, connection, ConnectionCommand::Terminate).await.unwrap();
    assert_eq!(change(&mut link, 6).await, Change::Ended { connection });
}

#[tokio::test]
async fn each_side_fetches_one_secret_until_it_holds_it() {
    let world = World::start().await;
    let Pair { source, target, connection, .. } = world.pair().await;
    let mut secrets = Vec::new();
    for agent in [&source, &target] {
        let mut link = agent.welcomed(&world).await;
        // Killed before the secret was on disk, an agent asks again.
        for _ in 0..2 {
            link.send(ToGateway::FetchSecret { connection }).await;
            secrets.push(link.next().await.unwrap());
        }
        let ToAgent::Secret { epoch, .. } = secrets[0] else { panic!("{:?}", secrets[0]) };
        link.send(ToGateway::SecretStored { connection, epoch }).await;
        link.send(ToGateway::FetchSecret { connection }).await;
        assert_eq!(link.next().await.unwrap(), ToAgent::SecretUnavailable { connection });
    }
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));

    let stranger = world.enrolled("stranger").await;
    let mut stranger = stranger.welcomed(&world).await;
    stranger.send(ToGateway::FetchSecret { connection }).await;
    assert_eq!(stranger.next().await.unwrap(), ToAgent::SecretUnavailable { connection });
}

#[tokio::test]
async fn an_agent_enrolled_anew_cuts_the_old_key_off_everywhere() {
    let world = World::start().await;
    let Pair { source, source_initiator, target, .. } = world.pair().await;
    let old_key = source.host.state.key_pair().unwrap().fingerprint();
    let mut old = source.welcomed(&world).await;
    let (mut at_target, rules) = snapshot(&target, &world).await;

    let issued = world.issue(&source_initiator, source.server()).await;
    let anew = world.enrolled_with(issued, "source anew").await;
    assert_eq!(anew.enrolment.route, source.enrolment.route);
    assert!(old.goodbye().await.contains("revoked"));
    assert_eq!(change(&mut at_target, 2).await, Change::Revoked { key: old_key });
    assert_eq!(rule(&mut at_target, 3).await.secret_epoch, rules[0].secret_epoch + 1);
    anew.welcomed(&world).await;
}

#[tokio::test]
async fn a_connection_that_an_agents_file_forbids_fails_with_the_reason() {
    let world = World::start().await;
    let Pair { source, target, connection, .. } = world.pair().await;
    let (mut at_source, _) = snapshot(&source, &world).await;
    let (mut at_target, _) = snapshot(&target, &world).await;
    at_source.send(ToGateway::ConfigMismatch { connection, reason: ConfigMismatch::Protocol.into() }).await;
    assert_eq!(rule(&mut at_target, 2).await.activity, Activity::Ready);
    assert_eq!(rule(&mut at_source, 2).await.activity, Activity::Ready);
}

#[tokio::test]
async fn every_refusal_is_in_the_audit_log() {
    let world = World::start().await;
    let Pair { source, connection, target, .. } = world.pair().await;

    let mut link = source.welcomed(&world).await;
    let peer = Some(target.server());
    let reason = PeerRefusal::WrongSecret.into();
    link.send(ToGateway::RefusedPeer { connection: Some(connection), peer, reason, left_out: 0, note: None })
        .await;
    link.send(ToGateway::Renew { csr: hex::encode(KeyPair::generate().unwrap().csr_der().unwrap()) }).await;
    link.goodbye().await;

    let server = world.server("refused").await;
    let connector = world.connector(server).await;
    let wrong = Some(adit_core::domain::secret::RegistrationToken::from_bytes([1; 32]));
    let host = world.host("refused");
    host.write(&adit_core::config::connector::Connector { token: wrong, ..connector });
    host.enrol().await.unwrap_err();

    world
        .gateway
        .platform()
        .revoke_server(&world.owner, world.enrolled("revoked").await.server())
        .await
        .unwrap();

    let refusals = world.audited_refusals().await;
    for expected in ["refuse peer: ", "renew leaf: ", "enrol: "] {
        assert!(refusals.iter().any(|refusal| refusal.starts_with(expected)), "{expected}: {refusals:#?}");
    }
}
