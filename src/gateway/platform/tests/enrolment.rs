//! Registration tokens, keys and who is authorized by them, with every refusal.

use std::net::{IpAddr, Ipv4Addr};

use adit_core::domain::secret::RegistrationToken;

use super::*;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[tokio::test]
async fn a_token_is_bound_to_the_first_key_which_may_repeat_until_it_expires() {
    let pair = Pair::new().await;
    let token = issue(&pair).await;
    let first = redeem(&pair, &token, 1).await.unwrap();
    assert_eq!((first.server, first.revoked, first.rotated.len()), (pair.source_server, None, 0));
    assert_eq!(redeem(&pair, &token, 1).await.unwrap().route, first.route);
    assert!(matches!(redeem(&pair, &token, 2).await, Err(EnrolRefusal::OtherKey)));
    assert_eq!(pair.world.last_entry(&pair.source).await.2, "alert");
    pair.world.pass(TokenLife::Hour.duration());
    assert!(matches!(redeem(&pair, &token, 1).await, Err(EnrolRefusal::Expired)));
    assert!(pair.world.platform.authorize_key(pair.source_server, key(1)).await.is_ok());
}

#[tokio::test]
async fn a_token_that_nobody_used_is_gone_with_the_key_of_a_lost_host() {
    let pair = Pair::new().await;
    redeem(&pair, &issue(&pair).await, 1).await.unwrap();
    let lost = issue(&pair).await;
    pair.world.platform.revoke_server(&pair.source.initiator, pair.source_server).await.unwrap();
    assert!(matches!(redeem(&pair, &lost, 2).await, Err(EnrolRefusal::Wrong)));
    redeem(&pair, &issue(&pair).await, 2).await.unwrap();
}

#[tokio::test]
async fn tokens_wrong_in_any_way_get_one_answer() {
    let pair = Pair::new().await;
    let voided = issue(&pair).await;
    let good = issue(&pair).await;
    let mut mistyped = *good.expose();
    mistyped[31] ^= 1;
    let platform = &pair.world.platform;
    for (server, token) in [
        (pair.source_server, &voided),
        (pair.source_server, &RegistrationToken::from_bytes(mistyped)),
        (pair.target_server, &good),
        (ServerId::from_random([9; 16]), &good),
        (ServerId::from_random([9; 16]), &RegistrationToken::from_bytes([0; 32])),
    ] {
        let refused = platform.redeem_token(server, token, key(1), FROM).await;
        assert!(matches!(refused, Err(EnrolRefusal::Wrong)), "{refused:?}");
    }
    assert!(redeem(&pair, &good, 1).await.is_ok());
}

#[tokio::test]
async fn a_new_key_by_a_new_token_replaces_the_old_one_with_its_secrets() {
    let pair = Pair::new().await;
    let token = issue(&pair).await;
    redeem(&pair, &token, 1).await.unwrap();
    let token = issue(&pair).await;
    let enrolment = redeem(&pair, &token, 2).await.unwrap();
    assert_eq!(enrolment.revoked, Some(key(1)));
    assert_eq!(enrolment.rotated, [pair.connection]);
    let platform = &pair.world.platform;
    let authorized = platform.authorize_key(pair.source_server, key(1)).await;
    assert!(matches!(authorized, Err(LinkRefusal::RevokedKey)));
    assert!(platform.authorize_key(pair.source_server, key(2)).await.is_ok());
    let (rules, revoked) = platform.rules_for(pair.target_server).await.unwrap();
    assert_eq!((rules[0].secret_epoch, revoked), (2, vec![key(1)]));
    let (_, action, _, detail) = pair.world.last_entry(&pair.target).await;
    assert!(action == "enrol" && detail.contains("adit trust"), "{detail}");
    let token = issue(&pair).await;
    assert!(matches!(redeem(&pair, &token, 1).await, Err(EnrolRefusal::RevokedKey)));
}

#[tokio::test]
async fn the_same_key_under_a_new_token_changes_nothing() {
    let pair = Pair::new().await;
    let token = issue(&pair).await;
    redeem(&pair, &token, 1).await.unwrap();
    let token = issue(&pair).await;
    let enrolment = redeem(&pair, &token, 1).await.unwrap();
    assert_eq!((enrolment.revoked, enrolment.rotated.len()), (None, 0));
}

#[tokio::test]
async fn a_key_serves_one_server_only() {
    let pair = Pair::new().await;
    let token = issue(&pair).await;
    redeem(&pair, &token, 1).await.unwrap();
    let platform = &pair.world.platform;
    let other =
        platform.issue_token(&pair.target.initiator, pair.target_server, TokenLife::Hour).await.unwrap();
    let refused = platform.redeem_token(pair.target_server, &other.token, key(1), FROM).await;
    assert!(matches!(refused, Err(EnrolRefusal::KeyInUse)));
    assert!(platform.redeem_token(pair.target_server, &other.token, key(2), FROM).await.is_ok());
}

#[tokio::test]
async fn a_revoked_server_comes_back_only_by_a_new_key_that_rotates_its_secrets() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let early = platform.revoke_server(&pair.source.initiator, pair.source_server).await;
    assert!(refused(early).contains("nothing to revoke"));
    let token = issue(&pair).await;
    redeem(&pair, &token, 1).await.unwrap();
    let by_peer = platform.revoke_server(&pair.target.initiator, pair.source_server).await;
    assert_eq!(refused(by_peer), "there is no such server");
    platform.revoke_server(&pair.source.initiator, pair.source_server).await.unwrap();
    let authorized = platform.authorize_key(pair.source_server, key(1)).await;
    assert!(matches!(authorized, Err(LinkRefusal::RevokedKey)));
    assert!(matches!(redeem(&pair, &token, 1).await, Err(EnrolRefusal::RevokedKey)));
    let token = issue(&pair).await;
    assert_eq!(redeem(&pair, &token, 2).await.unwrap().rotated, [pair.connection]);
}

#[tokio::test]
async fn refusals_of_an_unknown_key_or_server_are_counted_by_the_hour() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let before = pair.world.log_length(&pair.source).await;
    for _ in 0..50 {
        let authorized = platform.authorize_key(pair.source_server, key(5)).await;
        assert!(matches!(authorized, Err(LinkRefusal::KeyNotOnFile)));
        pair.world.pass(std::time::Duration::from_secs(1));
    }
    let unknown = platform.authorize_key(ServerId::from_random([9; 16]), key(5)).await;
    assert!(matches!(unknown, Err(LinkRefusal::UnknownServer)));
    assert_eq!(pair.world.log_length(&pair.source).await, before + 1);
    assert_eq!(platform.audit(&pair.source.initiator, 1).await.unwrap()[0].times, 50);
}

#[tokio::test]
async fn strangers_with_wrong_tokens_cannot_fill_the_log() {
    let pair = Pair::new().await;
    let before = pair.world.platform.audit(&host(), u32::MAX).await.unwrap().len();
    for number in 0..40 {
        let server = ServerId::from_random([number; 16]);
        let token = RegistrationToken::from_bytes([number; 32]);
        let redeemed = pair.world.platform.redeem_token(server, &token, key(number), FROM).await;
        assert!(redeemed.is_err());
    }
    let log = pair.world.platform.audit(&host(), u32::MAX).await.unwrap();
    assert_eq!(log.len(), before + 1);
    assert_eq!((log[before].times, log[before].organization.as_ref()), (40, None));
}

async fn issue(pair: &Pair) -> RegistrationToken {
    let platform = &pair.world.platform;
    platform.issue_token(&pair.source.initiator, pair.source_server, TokenLife::Hour).await.unwrap().token
}

async fn redeem(pair: &Pair, token: &RegistrationToken, number: u8) -> Result<Enrolment, EnrolRefusal> {
    pair.world.platform.redeem_token(pair.source_server, token, key(number), FROM).await
}

#[tokio::test]
async fn only_the_key_on_file_is_a_servers_key() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let server = world.server(&party, "A").await;
    let (key, other) = (KeyFingerprint::from_bytes([1; 32]), KeyFingerprint::from_bytes([2; 32]));
    let issued = world.platform.issue_token(&party.initiator, server, TokenLife::Hour).await.unwrap();
    world.platform.redeem_token(server, &issued.token, key, [127, 0, 0, 1].into()).await.unwrap();
    let is_good = async |server, key| world.platform.has_key(server, key).await.unwrap();
    assert!(is_good(server, key).await && !is_good(server, other).await);
    assert!(!is_good(ServerId::from_random([9; 16]), key).await);
    world.platform.revoke_server(&party.initiator, server).await.unwrap();
    assert!(!is_good(server, key).await);
}
