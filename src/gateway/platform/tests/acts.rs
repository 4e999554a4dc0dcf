//! Acts whose commits fail, are lost or only seem to be: each is made once, and told of once.

use super::faults::CommitFault::{self, Away, Conflict, LostAnswer, LostCommit};
use adit_core::domain::id::GatewayId;

use super::*;

/// What may become of an act's commits until one of them is made.
const FATES: [&[CommitFault]; 7] = [
    &[],
    &[Conflict],
    &[Conflict, Conflict],
    &[LostAnswer],
    &[LostCommit],
    &[LostCommit, LostCommit, LostAnswer],
    &[Conflict, LostCommit, Conflict],
];

#[tokio::test]
async fn an_act_is_made_once_whatever_becomes_of_its_commits() {
    for fate in FATES {
        let world = World::new().await;
        let party = world.party("Lakeside", Tier::Standard).await;
        world.platform.faults.fail_commits(fate.iter().copied());
        let made = world.platform.add_server(&party.initiator, &text("one")).await.unwrap();
        let servers = world.platform.servers(&party.initiator).await.unwrap();
        assert_eq!(servers.iter().map(|server| server.id).collect::<Vec<_>>(), [made], "{fate:?}");
        let log = world.platform.audit(&party.initiator, 10).await.unwrap();
        let told: Vec<_> = log.iter().filter(|entry| entry.action == "add server").collect();
        assert_eq!(told.len(), 1, "{fate:?}");
        assert_eq!((told[0].object.clone(), told[0].times), (format!("server {made}"), 1), "{fate:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_once_whatever_becomes_of_its_commits() {
    for fate in FATES {
        let world = World::new().await;
        let party = world.party("Lakeside", Tier::Free).await;
        world.server(&party, "one").await;
        let before = world.log_length(&party).await;
        world.platform.faults.fail_commits(fate.iter().copied());
        let asked = world.platform.add_server(&party.initiator, &text("two")).await;
        assert!(refused(asked).contains("the Free tier admits 1 servers"), "{fate:?}");
        assert_eq!(world.log_length(&party).await, before + 1, "{fate:?}");
        assert_eq!(world.last_entry(&party).await.2, "refused", "{fate:?}");
    }
}

#[tokio::test]
async fn what_an_agent_repeats_is_counted_once_whatever_becomes_of_its_commits() {
    for fate in FATES {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        platform.faults.fail_commits(fate.iter().copied());
        let unknown = ConnectionId::from_random([9; 16]);
        for _ in 0..3 {
            assert!(matches!(
                platform.fetch_secret(pair.source_server, unknown).await,
                Err(AgentError::NotFound)
            ));
        }
        let last = platform.audit(&pair.source.initiator, 1).await.unwrap().remove(0);
        assert_eq!((last.action.as_str(), last.outcome.as_str(), last.times), ("fetch secret", "refused", 3));
    }
}

#[tokio::test]
async fn a_secret_is_handed_out_for_the_first_time_only_once_its_entry_is_there() {
    let mut pair = Pair::new().await;
    pair.world.platform.act_wait = Duration::from_millis(30);
    let platform = &pair.world.platform;
    platform.faults.fail_commits([Conflict; 100]);
    let handed_out = platform.fetch_secret(pair.source_server, pair.connection).await;
    assert!(handed_out.is_err());
    while platform.faults.next_commit().is_some() {}
    platform.fetch_secret(pair.source_server, pair.connection).await.unwrap();
    let (_, action, _, detail) = pair.world.last_entry(&pair.source).await;
    assert_eq!([action, detail], ["fetch secret", "epoch 1, to the source's agent"]);
}

#[tokio::test]
async fn a_database_that_stays_away_is_named_with_nothing_changed() {
    let mut world = World::new().await;
    world.platform.act_wait = Duration::from_millis(50);
    let party = world.party("Lakeside", Tier::Standard).await;
    world.platform.faults.set_away(true);
    let asked = world.platform.add_server(&party.initiator, &text("one")).await;
    let looked = world.platform.servers(&party.initiator).await;
    for error in [asked.unwrap_err(), looked.unwrap_err()] {
        assert!(matches!(error, PlatformError::Away(_)), "{error:?}");
        assert!(error.to_string().contains("nothing was changed"), "{error}");
    }
    world.platform.faults.set_away(false);
    assert_eq!(world.platform.servers(&party.initiator).await.unwrap(), []);
    world.server(&party, "one").await;
}

#[tokio::test]
async fn a_database_that_comes_back_in_time_is_never_noticed() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    world.platform.faults.set_away(true);
    let (server, ()) = tokio::join!(world.server(&party, "one"), async {
        tokio::task::yield_now().await;
        world.platform.faults.set_away(false);
    });
    assert_eq!(world.platform.servers(&party.initiator).await.unwrap()[0].id, server);
}

#[tokio::test]
async fn a_commit_nobody_can_be_asked_about_says_to_look_first() {
    let mut world = World::new().await;
    world.platform.act_wait = Duration::from_millis(50);
    let party = world.party("Lakeside", Tier::Standard).await;
    world.platform.faults.fail_commits([Away]);
    let error = world.platform.add_server(&party.initiator, &text("one")).await.unwrap_err();
    assert!(matches!(error, PlatformError::Unknown(_)), "{error:?}");
    assert!(error.to_string().ends_with("look before asking again"), "{error}");
}

#[tokio::test]
async fn a_measurement_whose_commit_fails_is_written_in_the_end() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let gateway = GatewayId::from_bytes([7; 8]);
    platform.start_service(gateway).await.unwrap();
    platform.faults.fail_commits([Conflict, LostCommit, LostAnswer]);
    platform.linked(gateway, pair.source_server, true);
    platform.flush_reports().await.unwrap();
    let servers = platform.servers(&pair.source.initiator).await.unwrap();
    assert!(servers[0].is_online);
}

#[tokio::test]
async fn an_agent_or_stranger_sees_no_list_of_users() {
    let pair = Pair::new().await;
    let address = std::net::IpAddr::from([192, 0, 2, 7]);
    for initiator in
        [Initiator::Agent { server: pair.source_server }, Initiator::Stranger { address }, Initiator::System]
    {
        let platform = &pair.world.platform;
        for listed in [
            platform.servers(&initiator).await.map(drop),
            platform.channels(&initiator).await.map(drop),
            platform.peerings(&initiator).await.map(drop),
            platform.grants(&initiator).await.map(drop),
            platform.connections(&initiator).await.map(drop),
            platform.organizations(&initiator).await.map(drop),
            platform.audit(&initiator, 10).await.map(drop),
        ] {
            assert_eq!(refused(listed), "this is done for an organization; say which");
        }
    }
}
