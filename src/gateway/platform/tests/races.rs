//! Two processes on one database: two platforms stand for them.

use adit_core::domain::limits::OFFER_LIFE_DEFAULT;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_racing_decisions_exactly_one_wins() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
        let here = &pair.world.platform;
        let there = second(&pair).await;
        let grant = here.request_grant(&pair.source.initiator, lab, pair.source_server).await.unwrap();
        let (approved, denied) = tokio::join!(
            here.approve_grant(&pair.target.initiator, grant, None),
            there.deny_grant(&pair.target.initiator, grant),
        );
        assert!(approved.is_ok() != denied.is_ok(), "{approved:?} {denied:?}");
        if approved.is_ok() {
            assert!(refused(denied).contains("only a pending one is decided"));
        } else {
            assert!(refused(approved).contains("only a pending one is decided"));
        }
        let made = here.connections(&pair.source.initiator).await.unwrap().len();
        let grants = here.grants(&pair.source.initiator).await.unwrap();
        let status = grants.iter().find(|it| it.id == grant).unwrap().status;
        assert!(matches!((made, status), (2, "approved") | (1, "denied")), "{made} {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_two_parallel_reveals_gives_the_secret() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let there = second(&pair).await;
        let (one, two) = tokio::join!(
            pair.world.platform.view_secret(&pair.source.initiator, pair.connection),
            there.view_secret(&pair.source.initiator, pair.connection),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_crossing_peering_requests_become_one_agreement() {
    for _ in 0..10 {
        let world = World::new().await;
        let one = world.party("Lakeside", Tier::Standard).await;
        let two = world.party("St Mary", Tier::Standard).await;
        let (first, second) = tokio::join!(
            world.platform.request_peering(&one.initiator, two.id),
            world.platform.request_peering(&two.initiator, one.id),
        );
        assert_eq!(first.unwrap(), second.unwrap());
        let peerings = world.platform.peerings(&one.initiator).await.unwrap();
        assert_eq!(peerings.iter().map(|it| it.status).collect::<Vec<_>>(), ["live"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_redeemed_with_two_keys_at_once_binds_one() {
    for _ in 0..10 {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        let issued =
            platform.issue_token(&pair.source.initiator, pair.source_server, TokenLife::Hour).await.unwrap();
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
        world.platform.add_server(&party.initiator, &one),
        world.platform.add_server(&party.initiator, &two),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_running_platform_notices_what_another_process_wrote() {
    let pair = Pair::new().await;
    let there = second(&pair).await;
    let before = pair.world.platform.newest_change().await.unwrap();
    there.command(&pair.source.initiator, pair.connection, ConnectionCommand::Activate).await.unwrap();
    assert_ne!(pair.world.platform.newest_change().await.unwrap(), before);
    assert_eq!(pair.status().await, "Active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_acceptances_with_different_servers_leave_one_source() {
    for _ in 0..10 {
        let managed = Managed::offered(Access::ReadWrite).await;
        let there = managed.second(managed.world.clock.clone()).await;
        let (initiator, id) = (&managed.recipient.initiator, managed.connection);
        let (one, two) = tokio::join!(
            managed.world.platform.accept_offer(initiator, id, managed.sources[0]),
            there.accept_offer(initiator, id, managed.sources[1]),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let source = managed.view(&managed.owner).await.source.server;
        assert_eq!(source, Some(managed.sources[usize::from(two.is_ok())]));
        let late = if one.is_ok() { refused(two) } else { refused(one) };
        assert_eq!(late, "`accept` is possible when the connection is Offered; it is Active");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acceptance_racing_a_withdrawal_or_a_refusal_has_one_winner() {
    for round in 0..20 {
        let managed = Managed::offered(Access::ReadOnly).await;
        let there = managed.second(managed.world.clock.clone()).await;
        let ending = async {
            if round % 2 == 0 {
                there.withdraw_offer(&managed.owner.initiator, managed.connection).await
            } else {
                there.decline_offer(&managed.recipient.initiator, managed.connection).await
            }
        };
        let (accepted, ended) = tokio::join!(managed.accept(), ending);
        assert!(accepted.is_ok() != ended.is_ok(), "{accepted:?} {ended:?}");
        let status = managed.status().await;
        match ended {
            Ok(to) => assert_eq!(status, to.to_string()),
            Err(_) => assert_eq!(status, "Active"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acceptance_racing_the_expiry_has_one_winner() {
    for _ in 0..10 {
        let managed = Managed::offered(Access::ReadOnly).await;
        // The other process's clock is past the end of the offer already.
        let later = managed.world.platform.now().saturating_add(OFFER_LIFE_DEFAULT).as_millis();
        let there = managed.second(Arc::new(Clock(AtomicI64::new(later)))).await;
        let (accepted, swept) = tokio::join!(managed.accept(), there.sweep());
        swept.unwrap();
        let log = managed.world.platform.audit(&managed.owner.initiator, 10).await.unwrap();
        let expired = log.iter().filter(|entry| entry.action == "expire offer").count();
        let status = managed.status().await;
        match accepted {
            Ok(_) => assert_eq!((&*status, expired), ("Active", 0)),
            Err(error) => {
                assert_eq!((&*status, expired), ("Expired", 1));
                assert!(refused(Err::<(), _>(error)).contains("is Expired"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acceptance_racing_a_downgrade_never_leaves_read_write_running() {
    for _ in 0..10 {
        let managed = Managed::offered(Access::ReadWrite).await;
        let there = managed.second(managed.world.clock.clone()).await;
        let initiator = host();
        let (accepted, downgraded) =
            tokio::join!(managed.accept(), there.set_tier(&initiator, managed.owner.id, Tier::Free));
        downgraded.unwrap();
        let expected = if accepted.is_ok() { "Paused" } else { "Offered" };
        assert_eq!(managed.status().await, expected, "{accepted:?}");
    }
}

async fn second(pair: &Pair) -> Platform {
    pair.world.again().await
}
