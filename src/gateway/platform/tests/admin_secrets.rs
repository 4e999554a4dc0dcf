//! The secret of an admin connection: its one owner, the bound on views, both agents, its end.

use adit_core::domain::limits::{
    ADMIN_SECRET_VIEWS_MAX, ADMIN_SECRET_VIEWS_WITHIN, SECRET_KEPT_AFTER_STORED,
};

use super::*;

#[tokio::test]
async fn the_servers_owner_views_it_again_five_times_within_any_hour() {
    let managed = Managed::active(Access::ReadOnly).await;
    let view =
        async || managed.world.platform.view_secret(&managed.owner.initiator, managed.connection).await;
    let first = view().await.unwrap();
    managed.world.pass(Duration::from_secs(1));
    for _ in 1..ADMIN_SECRET_VIEWS_MAX {
        assert_eq!(view().await.unwrap(), first);
    }
    assert!(refused(view().await).contains("5 times an hour"));
    managed.world.platform.rotate_secret(&managed.owner.initiator, managed.connection).await.unwrap();
    assert!(refused(view().await).contains("5 times an hour"), "a rotation gives no new views");
    managed.world.pass(ADMIN_SECRET_VIEWS_WITHIN.checked_sub(Duration::from_secs(1)).unwrap());
    assert_ne!(view().await.unwrap().secret, first.secret, "the first view is an hour ago");
    assert!(refused(view().await).contains("5 times an hour"), "the others are not");
    managed.world.pass(Duration::from_secs(1));
    assert!(view().await.is_ok());
}

#[tokio::test]
async fn views_that_were_used_are_used_after_a_restart_too() {
    let managed = Managed::active(Access::ReadOnly).await;
    let owner = &managed.owner.initiator;
    for _ in 0..ADMIN_SECRET_VIEWS_MAX {
        managed.world.platform.view_secret(owner, managed.connection).await.unwrap();
    }
    managed.world.platform.close().await.unwrap();
    let again = managed.world.again().await;
    assert!(refused(again.view_secret(owner, managed.connection).await).contains("5 times an hour"));
    managed.world.pass(ADMIN_SECRET_VIEWS_WITHIN);
    assert!(again.view_secret(owner, managed.connection).await.is_ok());
}

#[tokio::test]
async fn the_secret_does_not_exist_to_the_recipient_nor_the_connection_to_others() {
    let managed = Managed::active(Access::ReadOnly).await;
    let (platform, id) = (&managed.world.platform, managed.connection);
    let recipient = &managed.recipient.initiator;
    assert_eq!(refused(platform.view_secret(recipient, id).await), "there is no such secret");
    assert_eq!(refused(platform.rotate_secret(recipient, id).await), "there is no such secret");
    let (actor, action, outcome, _) = managed.world.last_entry(&managed.owner).await;
    assert_eq!([&*actor, &*action, &*outcome], ["Lakeside", "rotate secrets", "refused"]);
    let stranger = managed.world.party("Stranger", Tier::Standard).await;
    for id in [id, ConnectionId::from_random([9; 16])] {
        let viewed = platform.view_secret(&stranger.initiator, id).await;
        assert_eq!(refused(viewed), "there is no such connection");
    }
    let auditor = member(managed.owner.id, UserRole::Auditor);
    assert!(refused(platform.view_secret(&auditor, id).await).contains("may not reveal"));
}

#[tokio::test]
async fn each_sides_agent_fetches_it_once_after_acceptance() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let (platform, id) = (&managed.world.platform, managed.connection);
    let early = platform.fetch_secret(managed.server, id).await;
    assert!(matches!(early, Err(AgentError::SecretUnavailable)), "{early:?}");
    assert!(matches!(platform.fetch_secret(managed.sources[0], id).await, Err(AgentError::NotFound)));
    managed.accept().await.unwrap();
    let viewed = platform.view_secret(&managed.owner.initiator, id).await.unwrap();
    for server in [managed.server, managed.sources[0]] {
        assert_eq!(platform.fetch_secret(server, id).await.unwrap(), (1, viewed.secret.clone()));
        platform.secret_stored(server, id, 1).await.unwrap();
        let again = platform.fetch_secret(server, id).await;
        assert!(matches!(again, Err(AgentError::SecretUnavailable)), "{again:?}");
    }
    assert!(matches!(platform.fetch_secret(managed.sources[1], id).await, Err(AgentError::NotFound)));
}

#[tokio::test]
async fn it_is_kept_until_the_connection_ends_however_it_ends() {
    let managed = Managed::active(Access::ReadOnly).await;
    let platform = &managed.world.platform;
    for server in [managed.server, managed.sources[0]] {
        platform.secret_stored(server, managed.connection, 1).await.unwrap();
    }
    managed.world.pass(SECRET_KEPT_AFTER_STORED * 2);
    assert_eq!(platform.sweep().await.unwrap(), 0);
    assert!(platform.view_secret(&managed.owner.initiator, managed.connection).await.is_ok());
    managed.command(&managed.recipient, ConnectionCommand::Terminate).await.unwrap();
    assert!(!is_kept(&managed).await);

    let managed = Managed::offered(Access::ReadOnly).await;
    assert!(is_kept(&managed).await);
    managed.world.platform.decline_offer(&managed.recipient.initiator, managed.connection).await.unwrap();
    assert!(!is_kept(&managed).await);
    let gone = managed.world.platform.view_secret(&managed.owner.initiator, managed.connection).await;
    assert!(refused(gone).contains("no longer available"));
}

#[tokio::test]
async fn rotation_reaches_both_agents_anew() {
    let managed = Managed::active(Access::ReadWrite).await;
    let (platform, id) = (&managed.world.platform, managed.connection);
    platform.secret_stored(managed.server, id, 1).await.unwrap();
    assert_eq!(platform.rotate_secret(&managed.owner.initiator, id).await.unwrap(), 2);
    for server in [managed.server, managed.sources[0]] {
        assert_eq!(platform.rules_for(server).await.unwrap().0[0].secret_epoch, 2);
        assert_eq!(platform.fetch_secret(server, id).await.unwrap().0, 2);
    }
}

async fn is_kept(managed: &Managed) -> bool {
    let mut tx = managed.world.platform.store.read().await.unwrap();
    tx.secret(managed.connection).await.unwrap().unwrap().sealed.is_some()
}
