//! One view for each owner, one hand-over for each side, deletion, rotation.

use adit_core::domain::limits::SECRET_KEPT_AFTER_STORED;

use super::*;

#[tokio::test]
async fn each_owner_views_the_same_secret_once_before_being_pointed_to_rotation() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let source = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    let again = platform.view_secret(&pair.source.initiator, pair.connection).await;
    assert!(refused(again).contains("Rotate Secrets makes a new one"));
    let target = platform.view_secret(&pair.target.initiator, pair.connection).await.unwrap();
    assert_eq!(source, target);
    let (_, action, outcome, detail) = pair.world.last_entry(&pair.source).await;
    assert_eq!([&*action, &*outcome], ["view secret", "done"]);
    assert!(!detail.contains(&source.secret.reveal_hex()), "{detail}");
}

#[tokio::test]
async fn a_fetch_repeats_until_it_is_stored_without_using_up_a_view() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let viewed = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    for _ in 0..2 {
        let (epoch, secret) = platform.fetch_secret(pair.source_server, pair.connection).await.unwrap();
        assert_eq!((epoch, secret), (1, viewed.secret.clone()));
    }
    platform.secret_stored(pair.source_server, pair.connection, 1).await.unwrap();
    let again = platform.fetch_secret(pair.source_server, pair.connection).await;
    assert!(matches!(again, Err(AgentError::SecretUnavailable)), "{again:?}");
    assert!(platform.fetch_secret(pair.target_server, pair.connection).await.is_ok());
    assert!(platform.view_secret(&pair.target.initiator, pair.connection).await.is_ok());
}

#[tokio::test]
async fn once_both_agents_store_it_the_last_view_deletes_it() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    store_secret(&pair).await;
    assert!(is_kept(&pair).await);
    platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    assert!(is_kept(&pair).await);
    platform.view_secret(&pair.target.initiator, pair.connection).await.unwrap();
    assert!(!is_kept(&pair).await);
}

#[tokio::test]
async fn unviewed_it_is_deleted_72_hours_after_both_agents_store_it_by_read_or_sweep() {
    for swept in [true, false] {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        platform.secret_stored(pair.source_server, pair.connection, 1).await.unwrap();
        pair.world.pass(SECRET_KEPT_AFTER_STORED * 2);
        assert_eq!(platform.sweep().await.unwrap(), 0, "one agent alone starts nothing");
        platform.secret_stored(pair.target_server, pair.connection, 1).await.unwrap();
        pair.world.pass(SECRET_KEPT_AFTER_STORED.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(platform.sweep().await.unwrap(), 0);
        pair.world.pass(Duration::from_millis(1));
        if swept {
            assert_eq!(platform.sweep().await.unwrap(), 1);
            assert_eq!(platform.sweep().await.unwrap(), 0);
        }
        let viewed = platform.view_secret(&pair.source.initiator, pair.connection).await;
        assert!(refused(viewed).contains("no longer available here; Rotate Secrets makes a new one"));
        assert!(!is_kept(&pair).await);
    }
}

#[tokio::test]
async fn a_rotated_secret_starts_neither_viewed_nor_stored() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    store_secret(&pair).await;
    let old = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    assert_eq!(platform.rotate_secret(&pair.target.initiator, pair.connection).await.unwrap(), 2);
    let new = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    assert_ne!(old.secret, new.secret);
    let (rules, _) = platform.rules_for(pair.target_server).await.unwrap();
    assert_eq!(rules[0].secret_epoch, 2);
    platform.secret_stored(pair.source_server, pair.connection, 1).await.unwrap();
    let (epoch, secret) = platform.fetch_secret(pair.source_server, pair.connection).await.unwrap();
    assert_eq!((epoch, secret), (2, new.secret), "word of the old epoch holds nothing");
}

#[tokio::test]
async fn every_connection_has_its_own_secret_sealed_in_the_database() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let lab = pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    let grant = platform.request_grant(&pair.source.initiator, lab, pair.source_server).await.unwrap();
    let other = platform.approve_grant(&pair.target.initiator, grant, None).await.unwrap();
    let one = platform.view_secret(&pair.source.initiator, pair.connection).await.unwrap();
    let two = platform.view_secret(&pair.source.initiator, other).await.unwrap();
    assert_ne!(one.secret, two.secret);
    let token =
        platform.issue_token(&pair.source.initiator, pair.source_server, TokenLife::Hour).await.unwrap();
    platform.close().await.unwrap();
    let database = pair.world.place.contents().await;
    for secret in [one.secret.expose(), two.secret.expose(), token.token.expose()] {
        let hex = hex::encode(secret);
        assert!(!database.windows(32).any(|window| window == secret));
        assert!(!database.windows(64).any(|window| window == hex.as_bytes()));
    }
}

#[tokio::test]
async fn an_outsider_gets_the_answer_of_a_connection_that_does_not_exist_even_as_an_agent() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let stranger = pair.world.party("Stranger", Tier::Standard).await;
    let server = pair.world.server(&stranger, "strange").await;
    let missing = ConnectionId::from_random([9; 16]);
    for id in [pair.connection, missing] {
        assert_eq!(
            refused(platform.view_secret(&stranger.initiator, id).await),
            "there is no such connection"
        );
        assert_eq!(
            refused(platform.rotate_secret(&stranger.initiator, id).await),
            "there is no such connection"
        );
        assert!(matches!(platform.fetch_secret(server, id).await, Err(AgentError::NotFound)));
        assert!(matches!(platform.secret_stored(server, id, 1).await, Err(AgentError::NotFound)));
    }
}

async fn store_secret(pair: &Pair) {
    for server in [pair.source_server, pair.target_server] {
        pair.world.platform.secret_stored(server, pair.connection, 1).await.unwrap();
    }
}

async fn is_kept(pair: &Pair) -> bool {
    let mut tx = pair.world.platform.store.read().await.unwrap();
    tx.secret(pair.connection).await.unwrap().unwrap().sealed.is_some()
}
