//! The visibility table at every outlet of the platform: what each viewer's lists and logs contain.

use super::*;

#[tokio::test]
async fn every_list_shows_each_viewer_exactly_what_the_table_allows() {
    let pair = Pair::new().await;
    let world = &pair.world;
    let peer = world.party("Peer", Tier::Standard).await;
    world.peers(&peer, &pair.target).await;
    let outsider = world.party("Outsider", Tier::Standard).await;
    let hidden = world.channel(&pair.target, pair.target_server, "Hidden").await;
    world.platform.set_published(&pair.target.initiator, hidden, false).await.unwrap();
    // Server name, published channel, unpublished channel, the connection's id.
    let connection = pair.connection.to_string();
    let words = ["St Mary Mirth", "ADT", "Hidden", connection.as_str()];
    for (viewer, seen) in [
        (&pair.target, [true, true, true, true]),
        (&pair.source, [true, true, false, true]),
        (&peer, [false, true, false, false]),
        (&outsider, [false, false, false, false]),
    ] {
        let lists = everything(world, &viewer.initiator).await;
        assert_eq!(words.map(|word| lists.contains(word)), seen, "{:?}\n{lists}", viewer.initiator);
        let own_server = lists.contains(&format!("{:?}", pair.target_server));
        assert_eq!(own_server, seen[3], "a server's id is its owner's and its other parties'");
    }
}

#[tokio::test]
async fn no_list_or_log_ever_contains_a_secret_or_token() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let token =
        platform.issue_token(&pair.target.initiator, pair.target_server, TokenLife::Hour).await.unwrap();
    let secret = platform.view_secret(&pair.target.initiator, pair.connection).await.unwrap();
    for initiator in [&pair.target.initiator, &pair.source.initiator, &host()] {
        let lists = everything(&pair.world, initiator).await;
        for forbidden in [token.token.reveal_hex(), secret.secret.reveal_hex()] {
            assert!(!lists.contains(&forbidden));
        }
    }
    assert!(!format!("{token:?} {secret:?}").contains(&token.token.reveal_hex()));
}

#[tokio::test]
async fn a_party_learns_nothing_of_the_others_token_or_enrolment() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let before = everything(&pair.world, &pair.source.initiator).await;
    platform.issue_token(&pair.target.initiator, pair.target_server, TokenLife::Hour).await.unwrap();
    assert_eq!(everything(&pair.world, &pair.source.initiator).await, before);
    let asked = platform.issue_token(&pair.source.initiator, pair.target_server, TokenLife::Hour).await;
    assert_eq!(refused(asked), "there is no such server");
}

#[tokio::test]
async fn after_the_end_a_server_name_stays_only_in_the_ended_row() {
    let pair = Pair::new().await;
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    let platform = &pair.world.platform;
    let channels = format!("{:?}", platform.channels(&pair.source.initiator).await.unwrap());
    assert!(channels.contains("ADT") && !channels.contains("St Mary Mirth"), "{channels}");
    let row = platform.connection(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(row.target.name.as_str(), "St Mary Mirth");
}

#[tokio::test]
async fn a_forbidden_thing_answers_as_a_missing_one_down_to_the_audit_entry() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let outsider = pair.world.party("Outsider", Tier::Standard).await;
    let initiator = &outsider.initiator;
    let own = pair.world.server(&outsider, "own").await;
    let missing = [9; 16];
    let (server, channel) = (ServerId::from_random(missing), ChannelId::from_random(missing));
    let (grant, connection) = (GrantId::from_random(missing), ConnectionId::from_random(missing));
    let pairs = [
        (
            platform.describe_server(initiator, pair.target_server, &text("x")).await,
            platform.describe_server(initiator, server, &text("x")).await,
        ),
        (
            platform.request_grant(initiator, pair.channel, own).await.map(drop),
            platform.request_grant(initiator, channel, own).await.map(drop),
        ),
        (platform.revoke_grant(initiator, pair.grant).await, platform.revoke_grant(initiator, grant).await),
        (
            platform.command(initiator, pair.connection, ConnectionCommand::Terminate).await.map(drop),
            platform.command(initiator, connection, ConnectionCommand::Terminate).await.map(drop),
        ),
        (
            platform.connection(initiator, pair.connection).await.map(drop),
            platform.connection(initiator, connection).await.map(drop),
        ),
    ];
    for (forbidden, absent) in pairs {
        assert_eq!(refused(forbidden), refused(absent));
    }
    assert_eq!(pair.status().await, "Ready");
    assert!(
        !everything(&pair.world, &pair.target.initiator).await.contains("Outsider"),
        "nor is the owner told"
    );
}

async fn everything(world: &World, initiator: &Initiator) -> String {
    let platform = &world.platform;
    let lists = [
        format!("{:#?}", platform.servers(initiator).await.unwrap()),
        format!("{:#?}", platform.channels(initiator).await.unwrap()),
        format!("{:#?}", platform.peerings(initiator).await.unwrap()),
        format!("{:#?}", platform.grants(initiator).await.unwrap()),
        format!("{:#?}", platform.connections(initiator).await.unwrap()),
        format!("{:#?}", platform.audit(initiator, u32::MAX).await.unwrap()),
    ];
    lists.join("\n")
}
