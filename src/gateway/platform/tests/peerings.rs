//! Who asks, accepts, declines and withdraws, and what each may not.

use super::*;

#[tokio::test]
async fn a_request_is_the_recipients_to_answer_unless_the_requester_withdraws_it() {
    let world = World::new().await;
    let asks = world.party("Lakeside", Tier::Standard).await;
    let asked = world.party("St Mary", Tier::Standard).await;
    let id = world.platform.request_peering(&asks.initiator, asked.id).await.unwrap();
    let platform = &world.platform;
    let by_requester = "a peering request is for St Mary to accept or decline";
    assert_eq!(refused(platform.accept_peering(&asks.initiator, id).await), by_requester);
    assert_eq!(refused(platform.decline_peering(&asks.initiator, id).await), by_requester);
    let withdrawn = platform.withdraw_peering(&asked.initiator, id).await;
    assert_eq!(refused(withdrawn), "a peering request is for Lakeside to withdraw");
    platform.decline_peering(&asked.initiator, id).await.unwrap();
    let late = "this peering request is declined and stays so; make a new one";
    assert_eq!(refused(platform.accept_peering(&asked.initiator, id).await), late);
    assert_eq!(refused(platform.withdraw_peering(&asks.initiator, id).await), late);
    let again = platform.request_peering(&asks.initiator, asked.id).await.unwrap();
    platform.withdraw_peering(&asks.initiator, again).await.unwrap();
    let third = platform.request_peering(&asked.initiator, asks.id).await.unwrap();
    platform.accept_peering(&asks.initiator, third).await.unwrap();
    let live = platform.request_peering(&asks.initiator, asked.id).await;
    assert_eq!(refused(live), "Lakeside and St Mary have an agreement already");
}

#[tokio::test]
async fn requests_that_cross_are_one_agreement_which_both_logs_call_what_it_is() {
    let world = World::new().await;
    let asks = world.party("Lakeside", Tier::Standard).await;
    let asked = world.party("St Mary", Tier::Standard).await;
    let open = world.platform.request_peering(&asks.initiator, asked.id).await.unwrap();
    let again = world.platform.request_peering(&asks.initiator, asked.id).await;
    assert_eq!(
        refused(again),
        "a request from Lakeside to St Mary is open already; St Mary accepts or declines it"
    );
    let crossing = world.platform.request_peering(&asked.initiator, asks.id).await.unwrap();
    assert_eq!(crossing, open);
    let peerings = world.platform.peerings(&asks.initiator).await.unwrap();
    assert_eq!(peerings.iter().map(|it| it.status).collect::<Vec<_>>(), ["live"]);
    for (party, actor) in [(&asks, "St Mary"), (&asked, "Ada")] {
        let log = world.platform.audit(&party.initiator, 2).await.unwrap();
        let told: Vec<_> = log.iter().map(|it| (&*it.actor, &*it.action, &*it.detail)).collect();
        assert_eq!(
            told,
            [
                (
                    "the gateway",
                    "accept peering",
                    "from Lakeside to St Mary, because St Mary asked for the same"
                ),
                (
                    actor,
                    "request peering",
                    "from St Mary to Lakeside, whose own request was open and is accepted"
                ),
            ]
        );
        assert!(log.iter().all(|it| it.object == format!("peering {open}")));
    }
}

#[tokio::test]
async fn a_crossing_request_is_refused_while_the_other_is_full() {
    let world = World::new().await;
    let full = world.party("Lakeside", Tier::Free).await;
    let open = world.party("St Mary", Tier::Enterprise).await;
    world.platform.request_peering(&full.initiator, open.id).await.unwrap();
    for number in 0..3 {
        let peer = world.party(&format!("Peer {number}"), Tier::Standard).await;
        world.peers(&peer, &full).await;
    }
    let crossing = world.platform.request_peering(&open.initiator, full.id).await;
    assert_eq!(refused(crossing), "Lakeside cannot take another peer now; ask them to make room");
}

#[tokio::test]
async fn an_agreement_with_oneself_is_accepted_at_once_under_the_name_self() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    world.peers(&party, &party).await;
    let peerings = world.platform.peerings(&party.initiator).await.unwrap();
    assert_eq!((peerings[0].peer.as_str(), peerings[0].status), ("Self", "live"));
}

#[tokio::test]
async fn each_party_reads_the_decision_in_its_own_log_without_the_others_user_names() {
    let world = World::new().await;
    let asks = world.party("Lakeside", Tier::Standard).await;
    let asked = world.party("St Mary", Tier::Standard).await;
    world.peers(&asks, &asked).await;
    let (actor, action, outcome, detail) = world.last_entry(&asked).await;
    assert_eq!([&*actor, &*action, &*outcome], ["Ada", "accept peering", "done"]);
    assert_eq!(detail, "from Lakeside to St Mary");
    assert_eq!(world.last_entry(&asks).await.0, "St Mary");
}

#[tokio::test]
async fn a_full_peer_is_refused_without_telling_the_other_ones_tier() {
    let world = World::new().await;
    let full = world.party("Lakeside", Tier::Free).await;
    let open = world.party("St Mary", Tier::Enterprise).await;
    let pending = world.platform.request_peering(&full.initiator, open.id).await.unwrap();
    for number in 0..3 {
        let peer = world.party(&format!("Peer {number}"), Tier::Standard).await;
        world.peers(&peer, &full).await;
    }
    let accepted = world.platform.accept_peering(&open.initiator, pending).await;
    assert_eq!(refused(accepted), "Lakeside cannot take another peer now; ask them to make room");
    let another = world.party("Another", Tier::Standard).await;
    let asked = world.platform.request_peering(&full.initiator, another.id).await;
    assert_eq!(refused(asked), "the Free tier admits 3 peers; a higher tier admits more");
}
