//! Connector files and how far they have come, for their server's owner alone.

use super::*;
use adit_core::config::connector::Connector;
use adit_core::domain::id::GatewayId;

const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);

fn place() -> GatewayPlace {
    GatewayPlace {
        addresses: vec!["gateway.example.org:443".parse().unwrap()],
        trust_domain: "example.org".parse().unwrap(),
        ca_key: key(9),
    }
}

async fn stage(world: &World, party: &Party, server: ServerId) -> Option<&'static str> {
    let progress = world.platform.connector_progress(&party.initiator, server).await.unwrap();
    progress.map(|it| it.stage.as_str())
}

#[tokio::test]
async fn a_connector_file_is_followed_from_download_to_its_agents_link() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let server = world.server(&party, "Mirth").await;
    let platform = &world.platform;
    platform.start_service(GATEWAY).await.unwrap();
    assert_eq!(stage(&world, &party, server).await, None);
    let file = platform.connector(&party.initiator, server, TokenLife::Day, &place()).await.unwrap();
    let read = Connector::parse(&file.text).unwrap();
    assert_eq!((read.server, read.key, read.addresses), (server, key(9), place().addresses));
    assert_eq!(stage(&world, &party, server).await, Some("downloaded"));
    let from = "192.0.2.7".parse().unwrap();
    platform.redeem_token(server, &read.token.unwrap(), key(1), from).await.unwrap();
    assert_eq!(stage(&world, &party, server).await, Some("enrolled"));
    platform.linked(GATEWAY, server, true);
    platform.flush_reports().await.unwrap();
    assert_eq!(stage(&world, &party, server).await, Some("connected"));
    platform.linked(GATEWAY, server, false);
    platform.flush_reports().await.unwrap();
    assert_eq!(stage(&world, &party, server).await, Some("enrolled"));
    platform.revoke_server(&party.initiator, server).await.unwrap();
    assert_eq!(stage(&world, &party, server).await, Some("revoked"));
    platform.connector(&party.initiator, server, TokenLife::Hour, &place()).await.unwrap();
    assert_eq!(stage(&world, &party, server).await, Some("downloaded"));
    world.pass(Duration::from_hours(1));
    assert_eq!(stage(&world, &party, server).await, Some("expired"), "with nobody's doing");
}

#[tokio::test]
async fn a_connector_is_its_servers_owners_alone() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let (peer, server) = (&pair.source.initiator, pair.target_server);
    platform.connector(&pair.target.initiator, server, TokenLife::Hour, &place()).await.unwrap();
    let missing = ServerId::from_random([9; 16]);
    for (forbidden, none) in [
        (
            platform.connector_progress(peer, server).await.map(drop),
            platform.connector_progress(peer, missing).await.map(drop),
        ),
        (
            platform.connector(peer, server, TokenLife::Hour, &place()).await.map(drop),
            platform.connector(peer, missing, TokenLife::Hour, &place()).await.map(drop),
        ),
    ] {
        assert_eq!(refused(forbidden), refused(none));
    }
    let auditor = member(pair.target.id, UserRole::Auditor);
    assert!(platform.connector_progress(&auditor, server).await.unwrap().is_some());
    let revealed = platform.connector(&auditor, server, TokenLife::Hour, &place()).await.map(drop);
    assert_eq!(refused(revealed), "the role auditor may not reveal a secret");
}
