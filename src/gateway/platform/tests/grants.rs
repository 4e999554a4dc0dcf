//! Who offers, requests, decides and ends a grant, and what each may not.

use super::*;

#[tokio::test]
async fn a_grant_requested_or_offered_is_the_other_partys_to_decide() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    let requested = platform.request_grant(&pair.source.initiator, lab, pair.source_server).await.unwrap();
    let early = platform.approve_grant(&pair.source.initiator, requested, None).await;
    assert_eq!(refused(early), "this grant is for St Mary to approve or deny");
    platform.deny_grant(&pair.target.initiator, requested).await.unwrap();
    let offered = platform.offer_grant(&pair.target.initiator, lab, pair.source.id).await.unwrap();
    let own = platform.approve_grant(&pair.target.initiator, offered, None).await;
    assert_eq!(refused(own), "this grant is for Lakeside to approve or deny");
    let nameless = platform.approve_grant(&pair.source.initiator, offered, None).await;
    assert!(refused(nameless).contains("names the server of yours that will send"));
    let foreign = platform.approve_grant(&pair.source.initiator, offered, Some(pair.target_server)).await;
    assert_eq!(refused(foreign), "there is no such server");
    let made = platform.approve_grant(&pair.source.initiator, offered, Some(pair.source_server)).await;
    let view = platform.connection(&pair.target.initiator, made.unwrap()).await.unwrap();
    assert_eq!(view.status.to_string(), "Ready");
    let twice = platform.deny_grant(&pair.source.initiator, offered).await;
    assert_eq!(refused(twice), "the grant is approved; only a pending one is decided");
}

#[tokio::test]
async fn the_owner_of_a_requested_grant_cannot_choose_another_sending_server() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    let grant = platform.request_grant(&pair.source.initiator, lab, pair.source_server).await.unwrap();
    let other = pair.world.server(&pair.source, "other").await;
    let approved = platform.approve_grant(&pair.target.initiator, grant, Some(other)).await;
    assert!(refused(approved).contains("named the sending server"));
}

#[tokio::test]
async fn without_agreement_visible_channel_or_own_server_there_is_no_grant() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let stranger = pair.world.party("Stranger", Tier::Standard).await;
    let strange_server = pair.world.server(&stranger, "strange").await;
    let unseen = platform.request_grant(&stranger.initiator, pair.channel, strange_server).await;
    assert_eq!(refused(unseen), "there is no such channel");
    let unknown = ChannelId::from_random([9; 16]);
    let unknown = platform.request_grant(&stranger.initiator, unknown, strange_server).await;
    assert_eq!(refused(unknown), "there is no such channel");
    let offered = platform.offer_grant(&pair.target.initiator, pair.channel, stranger.id).await;
    assert_eq!(refused(offered), "there is no agreement with Stranger; ask for peering first");
    let foreign = platform.request_grant(&pair.source.initiator, pair.channel, pair.target_server).await;
    assert_eq!(refused(foreign), "there is no such server");
    let by_peer = platform.offer_grant(&pair.source.initiator, pair.channel, pair.target.id).await;
    assert_eq!(refused(by_peer), "there is no such channel");
}

#[tokio::test]
async fn an_unpublished_channel_is_neither_offered_nor_requested() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    platform.set_published(&pair.target.initiator, lab, false).await.unwrap();
    let offered = platform.offer_grant(&pair.target.initiator, lab, pair.source.id).await;
    assert_eq!(refused(offered), "the channel is not published; publish it before offering it");
    let requested = platform.request_grant(&pair.source.initiator, lab, pair.source_server).await;
    assert_eq!(refused(requested), "there is no such channel");
    let by_peer = platform.set_published(&pair.source.initiator, pair.channel, false).await;
    assert_eq!(refused(by_peer), "there is no such channel");
}

#[tokio::test]
async fn a_sending_server_has_one_living_grant_for_a_channel() {
    let pair = Pair::new().await;
    let again =
        pair.world.platform.request_grant(&pair.source.initiator, pair.channel, pair.source_server).await;
    assert_eq!(refused(again), "making a grant: there is one already; choose another or use that one");
}

#[tokio::test]
async fn only_the_owner_by_revoking_or_the_holder_by_relinquishing_ends_the_connection() {
    for owner_ends in [true, false] {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        let by_holder = platform.revoke_grant(&pair.source.initiator, pair.grant).await;
        assert!(refused(by_holder).contains("is revoked by St Mary"));
        let by_owner = platform.relinquish_grant(&pair.target.initiator, pair.grant).await;
        assert!(refused(by_owner).contains("is relinquished by Lakeside"));
        if owner_ends {
            platform.revoke_grant(&pair.target.initiator, pair.grant).await.unwrap();
        } else {
            platform.relinquish_grant(&pair.source.initiator, pair.grant).await.unwrap();
        }
        assert_eq!(pair.status().await, "Terminated");
        let word = if owner_ends { "revoked" } else { "relinquished" };
        assert_eq!(platform.grants(&pair.source.initiator).await.unwrap()[0].status, word);
        let twice = platform.revoke_grant(&pair.target.initiator, pair.grant).await;
        assert_eq!(refused(twice), format!("the grant is {word} already"));
        platform.request_grant(&pair.source.initiator, pair.channel, pair.source_server).await.unwrap();
    }
}

#[tokio::test]
async fn a_pending_grant_is_taken_back_by_whoever_could_end_it() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    let grant = platform.request_grant(&pair.source.initiator, lab, pair.source_server).await.unwrap();
    platform.relinquish_grant(&pair.source.initiator, grant).await.unwrap();
    let late = platform.approve_grant(&pair.target.initiator, grant, None).await;
    assert_eq!(refused(late), "the grant is relinquished; only a pending one is decided");
}

#[tokio::test]
async fn a_server_never_sends_to_itself() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let server = world.server(&party, "one").await;
    world.peers(&party, &party).await;
    let adt = world.channel(&party, server, "ADT").await;
    let requested = world.platform.request_grant(&party.initiator, adt, server).await;
    assert_eq!(refused(requested), "a server cannot send to itself; name another one");
}
