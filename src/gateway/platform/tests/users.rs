//! Invitations and users: who comes in, as what, and who stays out.

use adit_core::domain::page::Paging;
use adit_core::domain::secret::InvitationToken;

use super::people::{PASSWORD, acceptance, email, password, visit};
use super::*;

#[tokio::test]
async fn an_invitation_makes_one_user_with_its_role() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (platform, owner) = (&world.platform, &party.initiator);
    let invited =
        platform.invite(owner, &email("Ada@x.example"), UserRole::Operator, TokenLife::Hour).await.unwrap();
    let open = &platform.list_invitations(owner, &Paging::default()).await.unwrap().rows[0];
    assert_eq!((open.status, open.invited_by.as_str()), (InvitationStatus::Open, "Ada"));
    let session = platform.accept_invitation(&acceptance(invited.token.clone()), &visit()).await.unwrap();
    assert_eq!(session.signed.stage, SignInStage::Whole);
    let (actor, action, outcome, detail) = world.last_entry(&party).await;
    assert_eq!([&actor, &action, &outcome], ["Ada Lovelace <ada@x.example>", "accept invitation", "done"]);
    assert_eq!(detail, "as operator, from 192.0.2.7");
    let users = world.users(&party).await;
    assert_eq!(
        (users.len(), users[0].role, users[0].email.as_str()),
        (1, UserRole::Operator, "ada@x.example")
    );
    let again = platform.accept_invitation(&acceptance(invited.token), &visit()).await;
    assert_eq!(refused(again), "there is no such invitation");
    let twice = platform.invite(owner, &email("ada@x.example"), UserRole::Owner, TokenLife::Hour).await;
    assert!(refused(twice).contains("has a user with this e-mail address"));
}

#[tokio::test]
async fn a_link_that_is_over_is_as_one_that_never_was() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (platform, owner) = (&world.platform, &party.initiator);
    let invite = async || {
        platform.invite(owner, &email("a@x.example"), UserRole::Auditor, TokenLife::Hour).await.unwrap()
    };
    let voided = invite().await;
    let revoked = invite().await;
    platform.revoke_invitation(owner, revoked.id).await.unwrap();
    let twice = platform.revoke_invitation(owner, revoked.id).await;
    assert!(refused(twice).contains("accepted, revoked or has expired"));
    let expired = invite().await;
    world.pass(Duration::from_hours(1));
    let tokens = [voided.token, revoked.token, expired.token, InvitationToken::from_bytes([9; 32])];
    let before = world.log_length(&party).await;
    for token in tokens {
        let accepted = platform.accept_invitation(&acceptance(token), &visit()).await;
        assert_eq!(refused(accepted), "there is no such invitation");
    }
    assert_eq!(world.log_length(&party).await, before, "nobody fills the organization's log");
    let statuses: Vec<_> = platform.list_invitations(owner, &Paging::default()).await.unwrap().rows;
    let mut statuses: Vec<_> = statuses.iter().map(|it| it.status.as_str()).collect();
    // All were made at one time.
    statuses.sort_unstable();
    assert_eq!(statuses, ["expired", "revoked", "revoked"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_accept_one_invitation_at_once_one_becomes_a_user() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let there = world.again().await;
    for number in 0..4 {
        let address = email(&format!("user{number}@x.example"));
        let invited = world
            .platform
            .invite(&party.initiator, &address, UserRole::Auditor, TokenLife::Hour)
            .await
            .unwrap();
        let (accepted, from) = (acceptance(invited.token), visit());
        let (one, two) = tokio::join!(
            world.platform.accept_invitation(&accepted, &from),
            there.accept_invitation(&accepted, &from)
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
    assert_eq!(world.users(&party).await.len(), 4);
}

#[tokio::test]
async fn a_weak_password_is_refused_and_leaves_the_link_good() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let platform = &world.platform;
    let invited = platform
        .invite(&party.initiator, &email("a@x.example"), UserRole::Owner, TokenLife::Hour)
        .await
        .unwrap();
    for weak in ["short", "password1234", "lakeside1234", "a@x.example1"] {
        let with = Acceptance { password: password(weak), ..acceptance(invited.token.clone()) };
        assert!(refused(platform.accept_invitation(&with, &visit()).await).contains("password"), "{weak}");
    }
    let nameless = Acceptance { name: None, ..acceptance(invited.token.clone()) };
    assert!(refused(platform.accept_invitation(&nameless, &visit()).await).contains("write your name"));
    platform.accept_invitation(&acceptance(invited.token), &visit()).await.unwrap();
}

#[tokio::test]
async fn only_owners_manage_users_and_only_their_own() {
    let world = World::new().await;
    let (party, other) =
        (world.party("Lakeside", Tier::Free).await, world.party("St Mary", Tier::Free).await);
    let user = world.user(&party, "a@x.example", UserRole::Auditor).await.signed.id();
    let platform = &world.platform;
    for role in [UserRole::Operator, UserRole::Auditor] {
        let by = member(party.id, role);
        let invited = platform.invite(&by, &email("b@x.example"), UserRole::Auditor, TokenLife::Hour).await;
        assert!(refused(invited).contains("may not manage users"));
        assert!(refused(platform.disable_user(&by, user).await).contains("may not manage users"));
        assert!(refused(platform.set_user_role(&by, user, UserRole::Owner).await).contains("may not"));
        assert!(platform.list_invitations(&by, &Paging::default()).await.is_err());
    }
    for id in [user, adit_core::domain::id::UserId::from_random([9; 16])] {
        let by = &other.initiator;
        assert_eq!(refused(platform.disable_user(by, id).await), "there is no such user");
        assert_eq!(refused(platform.user(by, id).await), "there is no such user");
        assert_eq!(refused(platform.renew_sign_in(by, id, TokenLife::Hour).await), "there is no such user");
    }
    assert!(world.users(&other).await.is_empty());
}

#[tokio::test]
async fn the_last_owner_who_can_sign_in_stays_one() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (platform, by) = (&world.platform, &party.initiator);
    let ada = world.user(&party, "a@x.example", UserRole::Owner).await.signed.id();
    let eve = world.user(&party, "e@x.example", UserRole::Owner).await.signed.id();
    platform.disable_user(by, eve).await.unwrap();
    for outcome in
        [platform.disable_user(by, ada).await, platform.set_user_role(by, ada, UserRole::Operator).await]
    {
        assert!(refused(outcome).contains("the last owner who can sign in"));
    }
    platform.enable_user(by, eve).await.unwrap();
    platform.set_user_role(by, ada, UserRole::Operator).await.unwrap();
    assert_eq!(world.role_of(&party, ada).await, UserRole::Operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_owners_who_disable_each_other_at_once_leave_one() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let there = world.again().await;
    let one = world.user(&party, "a@x.example", UserRole::Owner).await.signed;
    let two = world.user(&party, "e@x.example", UserRole::Owner).await.signed;
    let (one_by, two_by) = (one.initiator(), two.initiator());
    let (first, second) =
        tokio::join!(world.platform.disable_user(&one_by, two.id()), there.disable_user(&two_by, one.id()));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_comes_back_by_signing_in() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let session = world.user(&party, "a@x.example", UserRole::Auditor).await;
    let (platform, by, id) = (&world.platform, &party.initiator, session.signed.id());
    platform.disable_user(by, id).await.unwrap();
    assert_eq!(world.stage(&session).await, None);
    let refusal = refused(world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await);
    assert!(refusal.contains("password is wrong"), "{refusal}");
    let (.., detail) = world.last_entry(&party).await;
    assert!(detail.contains("the user is disabled"), "{detail}");
    assert!(refused(platform.renew_sign_in(by, id, TokenLife::Hour).await).contains("disabled"));
    platform.enable_user(by, id).await.unwrap();
    assert_eq!(world.stage(&session).await, None, "what was ended stays so");
    world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
}

#[tokio::test]
async fn a_role_counts_from_the_next_request_on() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let session = world.user(&party, "a@x.example", UserRole::Operator).await;
    world.platform.set_user_role(&party.initiator, session.signed.id(), UserRole::Auditor).await.unwrap();
    let signed = world.platform.signed(&session.token).await.unwrap().unwrap();
    let added = world.platform.add_server(&signed.initiator(), &text("x")).await;
    assert_eq!(refused(added), "the role auditor may not change anything");
}

#[tokio::test]
async fn a_sign_in_link_sets_a_password_anew_and_ends_what_the_old_one_began() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let session = world.user(&party, "a@x.example", UserRole::Operator).await;
    let id = session.signed.id();
    let link = world.platform.renew_sign_in(&party.initiator, id, TokenLife::Day).await.unwrap();
    assert_eq!(world.stage(&session).await, Some(SignInStage::Whole), "nothing before it is used");
    let accepted = Acceptance { token: link.token, name: None, password: password("another long password") };
    let renewed = world.platform.accept_invitation(&accepted, &visit()).await.unwrap();
    assert_eq!((renewed.signed.id(), renewed.signed.user.role), (id, UserRole::Operator));
    assert_eq!(renewed.signed.user.name.as_str(), "Ada Lovelace");
    assert_eq!(world.stage(&session).await, None);
    assert!(world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.is_err());
    world.sign_in("Lakeside", "a@x.example", "another long password", &visit()).await.unwrap();
}

#[tokio::test]
async fn a_gateway_begins_once() {
    let world = World::new().await;
    let platform = &world.platform;
    let begin = async |name: &str, by: &Initiator| {
        platform.begin_gateway(by, &name.parse().unwrap(), Tier::Free, &email("a@x.example")).await
    };
    assert!(!platform.has_organizations().await.unwrap());
    let first = begin("Lakeside", &host()).await.unwrap();
    let session = platform.accept_invitation(&acceptance(first.token), &visit()).await.unwrap();
    let user = &session.signed.user;
    assert_eq!((user.role, user.organization_name.as_str()), (UserRole::Owner, "Lakeside"));
    assert!(platform.has_organizations().await.unwrap());
    assert!(refused(begin("St Mary", &host()).await).contains("`adit admin user invite`"));
    let log = platform.audit(&session.signed.initiator(), 10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions.len(), 3, "{actions:?}");
    assert!(actions.contains(&"add organization") && actions.contains(&"invite user"));
}

#[tokio::test]
async fn nobody_makes_a_link_for_oneself() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let ada = world.user(&party, "a@x.example", UserRole::Owner).await.signed;
    let eve = world.user(&party, "e@x.example", UserRole::Owner).await.signed;
    let own = world.platform.renew_sign_in(&ada.initiator(), ada.id(), TokenLife::Hour).await;
    assert!(refused(own).contains("change your own by the one you have"));
    world.platform.renew_sign_in(&ada.initiator(), eve.id(), TokenLife::Hour).await.unwrap();
}

#[tokio::test]
async fn a_program_takes_ways_in_away_and_makes_none() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (ada, platform) = (world.user(&party, "a@x.example", UserRole::Owner).await.signed, &world.platform);
    let eve = world.user(&party, "e@x.example", UserRole::Operator).await.signed.id();
    let new = NewApiToken { role: UserRole::Owner, ..super::people::api_token() };
    let token = platform.issue_api_token(&ada, &new).await.unwrap().token;
    let by = platform.bearer(&token).await.unwrap().unwrap().initiator;
    let address = email("new@x.example");
    for outcome in [
        platform.invite(&by, &address, UserRole::Auditor, TokenLife::Hour).await.map(drop),
        platform.renew_sign_in(&by, eve, TokenLife::Hour).await.map(drop),
        platform.set_user_role(&by, eve, UserRole::Owner).await,
        platform.enable_user(&by, eve).await,
        platform.remove_identity_provider(&by).await,
    ] {
        assert_eq!(refused(outcome), "this is done by who signs in with a browser; an API token cannot");
    }
    let owner = ada.initiator();
    let invited = platform.invite(&owner, &address, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    platform.revoke_invitation(&by, invited.id).await.unwrap();
    platform.disable_user(&by, eve).await.unwrap();
}

#[tokio::test]
async fn whoever_signed_in_long_ago_signs_in_again_before_making_a_way_in() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (ada, platform) = (world.user(&party, "a@x.example", UserRole::Owner).await, &world.platform);
    let eve = world.user(&party, "e@x.example", UserRole::Operator).await.signed.id();
    for _ in 0..3 {
        world.pass(Duration::from_mins(20));
        assert!(world.stage(&ada).await.is_some());
    }
    let (by, address) = (ada.signed.initiator(), email("new@x.example"));
    for outcome in [
        platform.invite(&by, &address, UserRole::Auditor, TokenLife::Hour).await.map(drop),
        platform.renew_sign_in(&by, eve, TokenLife::Hour).await.map(drop),
        platform.set_user_role(&by, eve, UserRole::Owner).await,
        platform.issue_api_token(&ada.signed, &super::people::api_token()).await.map(drop),
        platform.set_second_factor_rule(&ada.signed, false).await,
    ] {
        assert!(refused(outcome).starts_with("sign in again first"));
    }
    platform.disable_user(&by, eve).await.unwrap();
    platform.add_server(&by, &text("one")).await.unwrap();
    let again = world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap().signed;
    platform.enable_user(&again.initiator(), eve).await.unwrap();
}

#[tokio::test]
async fn a_link_is_void_with_its_user_whatever_address_that_had() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let (platform, owner) = (&world.platform, &party.initiator);
    let eve = world.user(&party, "e@x.example", UserRole::Operator).await.signed.id();
    let link = platform.renew_sign_in(owner, eve, TokenLife::Day).await.unwrap();
    world.place.store().await.set_some_email(eve, "other@x.example").await;
    platform.disable_user(owner, eve).await.unwrap();
    platform.enable_user(owner, eve).await.unwrap();
    let accepted = platform.accept_invitation(&acceptance(link.token), &visit()).await;
    assert_eq!(refused(accepted), "there is no such invitation");
}

#[tokio::test]
async fn a_link_is_void_once_its_user_has_set_another_password() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let eve = world.user(&party, "e@x.example", UserRole::Operator).await.signed;
    let link = world.platform.renew_sign_in(&party.initiator, eve.id(), TokenLife::Day).await.unwrap();
    let change = super::people::password_change(PASSWORD, "a good new password");
    world.platform.change_password(&eve, &change, &visit()).await.unwrap();
    let accepted = world.platform.accept_invitation(&acceptance(link.token), &visit()).await;
    assert_eq!(refused(accepted), "there is no such invitation");
}
