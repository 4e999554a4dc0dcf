//! Two processes on one database: two platforms stand for them.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_racing_decisions_exactly_one_wins() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
        let here = &pair.world.platform;
        let there = second(&pair).await;
        let grant = here.request_grant(&pair.source.actor, lab, pair.source_server).await.unwrap();
        let (approved, denied) = tokio::join!(
            here.approve_grant(&pair.target.actor, grant, None),
            there.deny_grant(&pair.target.actor, grant),
        );
        assert!(approved.is_ok() != denied.is_ok(), "{approved:?} {denied:?}");
        if approved.is_ok() {
            assert!(refused(denied).contains("only a pending one is decided"));
        } else {
            assert!(refused(approved).contains("only a pending one is decided"));
        }
        let made = here.connections(&pair.source.actor).await.unwrap().len();
        let grants = here.grants(&pair.source.actor).await.unwrap();
        let status = grants.iter().find(|it| it.id == grant).unwrap().status;
        assert!(matches!((made, status), (2, "approved") | (1, "denied")), "{made} {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_parallel_reveals_give_one_secret_and_one_refusal() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let there = second(&pair).await;
        let (one, two) = tokio::join!(
            pair.world.platform.view_secret(&pair.source.actor, pair.connection),
            there.view_secret(&pair.source.actor, pair.connection),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_crossing_peering_requests_leave_one() {
    for _ in 0..10 {
        let world = World::new().await;
        let one = world.party("Lakeside", Tier::Standard).await;
        let two = world.party("St Mary", Tier::Standard).await;
        let (first, second) = tokio::join!(
            world.platform.request_peering(&one.actor, two.id),
            world.platform.request_peering(&two.actor, one.id),
        );
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        assert_eq!(world.platform.peerings(&one.actor).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_redeemed_with_two_keys_at_once_binds_one() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        let issued =
            platform.issue_token(&pair.source.actor, pair.source_server, TokenLife::Hour).await.unwrap();
        let from = "192.0.2.7".parse().unwrap();
        let (one, two) = tokio::join!(
            platform.redeem_token(pair.source_server, &issued.token, key(1), from),
            platform.redeem_token(pair.source_server, &issued.token, key(2), from),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_place_of_a_tier_is_given_once() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (one, two) = (text("one"), text("two"));
    let (first, second) = tokio::join!(
        world.platform.add_server(&party.actor, &one),
        world.platform.add_server(&party.actor, &two),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_running_platform_notices_what_another_process_wrote() {
    let pair = Pair::new().await;
    let there = second(&pair).await;
    let before = pair.world.platform.data_version().await.unwrap();
    there.command(&pair.source.actor, pair.connection, Command::Activate).await.unwrap();
    assert_ne!(pair.world.platform.data_version().await.unwrap(), before);
    assert_eq!(pair.status().await, "Active");
}

async fn second(pair: &Pair) -> Platform {
    let state = pair.world.folder.path().join("state");
    Platform::open(&state, pair.world.clock.clone()).await.unwrap()
}
