//! API tokens: no more than their user, and no longer.

use adit_core::domain::limits::API_TOKENS_MAX;
use adit_core::domain::page::Paging;
use adit_core::domain::secret::ApiToken;

use super::*;

fn new(role: UserRole, days: u32) -> NewApiToken {
    NewApiToken { name: "nightly export".parse().unwrap(), role, days }
}

#[tokio::test]
async fn a_token_acts_as_its_user_with_at_most_its_own_role() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let (owner, platform) = (world.user(&party, "a@x.example", UserRole::Owner).await, &world.platform);
    let operator = world.user(&party, "b@x.example", UserRole::Operator).await.signed;
    let above = platform.issue_api_token(&operator, &new(UserRole::Owner, 30)).await;
    assert!(refused(above).contains("at most its user's role, operator"));
    let issued = platform.issue_api_token(&operator, &new(UserRole::Operator, 30)).await.unwrap();
    let bearer = platform.bearer(&issued.token).await.unwrap().unwrap();
    platform.add_server(&bearer.initiator, &text("one")).await.unwrap();
    assert_eq!(world.last_entry(&party).await.0, "Ada Lovelace <b@x.example> by API token nightly export");
    let listed = &platform.list_api_tokens(&operator, &Paging::default()).await.unwrap().rows[0];
    assert_eq!(listed.used_at, Some(platform.now()));
    platform.set_user_role(&owner.signed.initiator(), operator.id(), UserRole::Auditor).await.unwrap();
    let bearer = platform.bearer(&issued.token).await.unwrap().unwrap();
    assert!(refused(platform.add_server(&bearer.initiator, &text("two")).await).contains("auditor"));
    platform.disable_user(&owner.signed.initiator(), operator.id()).await.unwrap();
    platform.enable_user(&owner.signed.initiator(), operator.id()).await.unwrap();
    assert_eq!(platform.bearer(&issued.token).await.unwrap(), None, "it ended with its user");
}

#[tokio::test]
async fn a_token_ends_with_the_password_that_a_link_replaces() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let (owner, platform) = (world.user(&party, "a@x.example", UserRole::Owner).await, &world.platform);
    let operator = world.user(&party, "b@x.example", UserRole::Operator).await.signed;
    let issued = platform.issue_api_token(&operator, &new(UserRole::Operator, 365)).await.unwrap();
    let by = owner.signed.initiator();
    let link = platform.renew_sign_in(&by, operator.id(), TokenLife::Hour).await.unwrap();
    assert!(platform.bearer(&issued.token).await.unwrap().is_some(), "nothing is changed until it is used");
    platform.accept_invitation(&people::acceptance(link.token), &people::visit()).await.unwrap();
    assert_eq!(platform.bearer(&issued.token).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_ends_by_itself_or_by_its_user() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let signed = world.user(&party, "a@x.example", UserRole::Owner).await.signed;
    let platform = &world.platform;
    for days in [0, 366] {
        let issued = platform.issue_api_token(&signed, &new(UserRole::Auditor, days)).await;
        assert!(refused(issued).contains("1 to 365 days"));
    }
    let revoked = platform.issue_api_token(&signed, &new(UserRole::Auditor, 1)).await.unwrap();
    let expiring = platform.issue_api_token(&signed, &new(UserRole::Auditor, 1)).await.unwrap();
    platform.revoke_api_token(&signed, revoked.view.id).await.unwrap();
    assert_eq!(platform.bearer(&revoked.token).await.unwrap(), None);
    assert!(platform.bearer(&expiring.token).await.unwrap().is_some());
    world.pass(Duration::from_hours(24));
    assert_eq!(platform.bearer(&expiring.token).await.unwrap(), None);
    assert_eq!(platform.bearer(&ApiToken::from_bytes([7; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_has_so_many_tokens_and_revokes_no_others() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Standard).await;
    let signed = world.user(&party, "a@x.example", UserRole::Owner).await.signed;
    let eve = world.user(&party, "e@x.example", UserRole::Owner).await.signed;
    let platform = &world.platform;
    let mut last = None;
    for _ in 0..API_TOKENS_MAX {
        last = Some(platform.issue_api_token(&signed, &new(UserRole::Auditor, 1)).await.unwrap());
    }
    let last = last.unwrap();
    let more = platform.issue_api_token(&signed, &new(UserRole::Auditor, 1)).await;
    assert!(refused(more).contains("revoke one first"));
    let revoked = platform.revoke_api_token(&eve, last.view.id).await;
    assert_eq!(refused(revoked), "there is no such API token");
    let dump = world.place.contents().await;
    let hex = last.token.reveal_hex();
    for secret in [last.token.expose().as_slice(), hex.as_bytes()] {
        assert!(!dump.windows(secret.len()).any(|window| window == secret));
    }
    assert!(!format!("{last:?}").contains(&hex));
}
