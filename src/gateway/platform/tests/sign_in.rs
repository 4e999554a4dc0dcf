//! Signing in, and what a session is good for.

use std::net::IpAddr;

use adit_core::domain::id::SessionId;
use adit_core::domain::limits::{
    DEVICES_KNOWN_MAX, SIGN_IN_ACCOUNT_BURST, USER_SESSION_FRESH, USER_SESSION_IDLE, USER_SESSION_LIFE,
    USER_SESSIONS_MAX,
};
use adit_core::domain::page::Paging;

use super::people::{PASSWORD, api_token, email, password_change, visit, visit_from};
use super::*;

async fn lakeside() -> (World, Party, NewSession) {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let session = world.user(&party, "a@x.example", UserRole::Owner).await;
    (world, party, session)
}

#[tokio::test]
async fn organization_address_and_password_together_sign_in() {
    let (world, party, first) = lakeside().await;
    let session = world.sign_in(" LAKESIDE ", "A@X.example", PASSWORD, &visit()).await.unwrap();
    assert_ne!(session.token, first.token);
    assert_eq!(world.stage(&session).await, Some(SignInStage::Whole));
    let (actor, action, outcome, detail) = world.last_entry(&party).await;
    assert_eq!(
        [actor.as_str(), &action, &outcome, &detail],
        ["Ada Lovelace <a@x.example>", "sign in", "done", "from 192.0.2.7"]
    );
}

#[tokio::test]
async fn whatever_is_wrong_gets_one_answer_and_fills_no_log() {
    let (world, party, _) = lakeside().await;
    let other = world.party("St Mary", Tier::Free).await;
    let before = (world.log_length(&party).await, world.log_length(&other).await);
    let mut answers = Vec::new();
    for (organization, address, text) in [
        ("Lakeside", "a@x.example", "wrong horse battery"),
        ("Lakeside", "nobody@x.example", PASSWORD),
        ("St Mary", "a@x.example", PASSWORD),
        ("Nowhere", "a@x.example", PASSWORD),
    ] {
        for _ in 0..2 {
            answers.push(refused(world.sign_in(organization, address, text, &visit()).await));
        }
    }
    answers.dedup();
    assert_eq!(answers, ["the organization, the e-mail address or the password is wrong"]);
    let (actor, _, outcome, _) = world.last_entry(&party).await;
    assert_eq!([actor.as_str(), &outcome], ["a host at 192.0.2.7", "refused"]);
    let after = (world.log_length(&party).await, world.log_length(&other).await);
    assert_eq!(
        after,
        (before.0 + 1, before.1),
        "two wrong passwords are one row, of the account's organization"
    );
    let all = world.platform.audit(&host(), u32::MAX).await.unwrap();
    assert!(all.iter().all(|entry| !format!("{entry:?}").contains("nobody@")));
}

#[tokio::test]
async fn a_thousand_guesses_from_everywhere_keep_no_known_browser_out() {
    let (world, _, first) = lakeside().await;
    let mut guesses = 0;
    for number in 0..1_000_u32 {
        let from = visit_from(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), None);
        let refusal = refused(world.sign_in("Lakeside", "a@x.example", "wrong horse battery", &from).await);
        guesses += u32::from(!refusal.contains("too many attempts"));
    }
    assert!(guesses <= SIGN_IN_ACCOUNT_BURST + 1, "{guesses}");
    let address = [192, 0, 2, 8].into();
    let refusal =
        refused(world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit_from(address, None)).await);
    assert!(refusal.contains("too many attempts; try again in"), "{refusal}");
    let known = visit_from(address, first.device);
    world.sign_in("Lakeside", "a@x.example", PASSWORD, &known).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_or_after_its_life() {
    let (world, _, session) = lakeside().await;
    let mut passed = Duration::ZERO;
    while passed + USER_SESSION_IDLE < USER_SESSION_LIFE {
        let step = USER_SESSION_IDLE.saturating_sub(Duration::from_secs(1));
        world.pass(step);
        passed += step;
        assert!(world.stage(&session).await.is_some(), "after {passed:?}");
    }
    world.pass(USER_SESSION_LIFE.saturating_sub(passed));
    assert_eq!(world.stage(&session).await, None, "however much it is used");
    let idle = world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    world.pass(USER_SESSION_IDLE);
    assert_eq!(world.stage(&idle).await, None);
    assert_eq!(world.platform.sweep_people().await.unwrap(), 2);
}

#[tokio::test]
async fn one_sees_and_ends_ones_own_sessions_alone() {
    let (world, party, first) = lakeside().await;
    let platform = &world.platform;
    let second = world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    let eve = world.user(&party, "eve@x.example", UserRole::Owner).await;
    let sessions = platform.list_user_sessions(&second.signed, &Paging::default()).await.unwrap().rows;
    assert_eq!(sessions.iter().filter(|it| it.is_own).count(), 1);
    assert_eq!((sessions.len(), sessions[0].agent.as_str()), (2, "Firefox"));
    for id in [eve.signed.session, SessionId::from_random([9; 16])] {
        let revoked = platform.revoke_user_session(&second.signed, id).await;
        assert_eq!(refused(revoked), "there is no such session");
    }
    platform.revoke_user_session(&second.signed, first.signed.session).await.unwrap();
    assert_eq!(world.stage(&first).await, None);
    platform.sign_out(&second.signed).await.unwrap();
    assert_eq!(world.stage(&second).await, None);
    assert!(world.stage(&eve).await.is_some());
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_renews_this_one() {
    let (world, _, first) = lakeside().await;
    let platform = &world.platform;
    let second = world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    let change = async |old: &str, new: &str| {
        platform.change_password(&second.signed, &password_change(old, new), &visit()).await
    };
    assert!(refused(change("wrong horse battery", "a good new password").await).contains("is wrong"));
    assert!(refused(change(PASSWORD, "short").await).contains("12 to 128"));
    let renewed = change(PASSWORD, "a good new password").await.unwrap();
    for ended in [&first, &second] {
        assert_eq!(world.stage(ended).await, None);
    }
    assert_eq!(world.stage(&renewed).await, Some(SignInStage::Whole));
    assert!(refused(change(PASSWORD, "another new password").await).contains("is wrong"));
    assert!(world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.is_err());
    world.sign_in("Lakeside", "a@x.example", "a good new password", &visit()).await.unwrap();
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    let (world, _, first) = lakeside().await;
    for _ in 0..USER_SESSIONS_MAX {
        world.pass(Duration::from_secs(1));
        world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    }
    assert_eq!(world.stage(&first).await, None);
}

#[tokio::test]
async fn nothing_that_signs_in_is_in_the_database_or_printed() {
    let (world, _, session) = lakeside().await;
    let said =
        format!("{session:?} {:?} {:?}", world.platform, visit_from([1; 4].into(), session.device.clone()));
    let dump = world.place.contents().await;
    let cookie = session.token.reveal_hex();
    let device = session.device.clone().unwrap();
    for secret in [PASSWORD.as_bytes(), cookie.as_bytes(), session.token.expose(), device.as_bytes()] {
        assert!(!dump.windows(secret.len()).any(|window| window == secret));
    }
    for secret in [PASSWORD, &cookie, &device] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(dump.windows(9).any(|window| window == b"$argon2id"));
}

/// Has strangers use up what they have at Ada's account.
async fn crowd(world: &World) {
    for number in 0..=SIGN_IN_ACCOUNT_BURST {
        let from = visit_from(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), None);
        let _ = world.sign_in("Lakeside", "a@x.example", "wrong horse battery", &from).await;
    }
}

/// Returns whether a browser is known while strangers guess.
async fn is_known(world: &World, text: &str, device: Option<&String>) -> bool {
    crowd(world).await;
    let from = visit_from([192, 0, 2, 8].into(), device.cloned());
    match world.sign_in("Lakeside", "a@x.example", text, &from).await {
        Ok(_) => true,
        refused => {
            assert!(super::refused(refused).contains("too many attempts"));
            false
        }
    }
}

#[tokio::test]
async fn a_browser_is_known_no_more_after_a_new_password() {
    let (world, _, first) = lakeside().await;
    assert!(is_known(&world, PASSWORD, first.device.as_ref()).await);
    let change = password_change(PASSWORD, "a good new password");
    let from = visit_from([192, 0, 2, 8].into(), first.device.clone());
    let renewed = world.platform.change_password(&first.signed, &change, &from).await.unwrap();
    assert!(!is_known(&world, "a good new password", first.device.as_ref()).await);
    assert!(is_known(&world, "a good new password", renewed.device.as_ref()).await);
}

#[tokio::test]
async fn a_browser_is_known_no_more_once_its_user_was_disabled() {
    let (world, party, first) = lakeside().await;
    world.user(&party, "b@x.example", UserRole::Owner).await;
    world.platform.disable_user(&party.initiator, first.signed.id()).await.unwrap();
    world.platform.enable_user(&party.initiator, first.signed.id()).await.unwrap();
    assert!(!is_known(&world, PASSWORD, first.device.as_ref()).await);
}

#[tokio::test]
async fn whoever_signs_out_everywhere_leaves_no_other_browser_signed_in_or_known() {
    let (world, party, first) = lakeside().await;
    let second = world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    let renewed = world.platform.revoke_other_sessions(&second.signed, &visit()).await.unwrap();
    assert_eq!(world.last_entry(&party).await.3, "other sessions ended: 1");
    for ended in [&first, &second] {
        assert_eq!(world.stage(ended).await, None);
        assert!(!is_known(&world, PASSWORD, ended.device.as_ref()).await);
    }
    assert_eq!(world.stage(&renewed).await, Some(SignInStage::Whole));
    assert!(is_known(&world, PASSWORD, renewed.device.as_ref()).await);
}

#[tokio::test]
async fn whoever_signs_out_everywhere_has_signed_in_no_later_for_it() {
    let (world, _, first) = lakeside().await;
    for _ in 0..4 {
        world.pass(USER_SESSION_FRESH / 4);
        assert_eq!(world.stage(&first).await, Some(SignInStage::Whole), "it is used");
    }
    let renewed = world.platform.revoke_other_sessions(&first.signed, &visit()).await.unwrap();
    assert_eq!(renewed.signed.expires_at, first.signed.expires_at);
    let by = renewed.signed.initiator();
    let invited = world.platform.invite(&by, &email("eve@x.example"), UserRole::Owner, TokenLife::Day).await;
    assert!(refused(invited).contains("sign in again first"));
}

#[tokio::test]
async fn only_the_newest_browsers_of_an_account_are_known() {
    let (world, _, first) = lakeside().await;
    for _ in 0..DEVICES_KNOWN_MAX * 2 {
        let from = visit_from([192, 0, 2, 8].into(), first.device.clone());
        let again = world.sign_in("Lakeside", "a@x.example", PASSWORD, &from).await.unwrap();
        assert_eq!(again.device, first.device, "one browser stays one");
    }
    for _ in 1..DEVICES_KNOWN_MAX {
        world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    }
    assert!(is_known(&world, PASSWORD, first.device.as_ref()).await);
    // Strangers here have to wait; another process has counted none of them.
    let other = world.again().await;
    let credentials = Credentials {
        organization: "Lakeside".into(),
        email: super::people::email("a@x.example"),
        password: super::people::password(PASSWORD),
    };
    other.sign_in(&credentials, &visit()).await.unwrap();
    assert!(!is_known(&world, PASSWORD, first.device.as_ref()).await);
}

#[tokio::test]
async fn a_browser_that_another_user_signed_in_with_is_a_strangers() {
    let (world, party, _) = lakeside().await;
    let eve = world.user(&party, "eve@x.example", UserRole::Owner).await;
    assert!(!is_known(&world, PASSWORD, eve.device.as_ref()).await);
}

#[tokio::test]
async fn whoever_asked_too_often_learns_nothing_of_a_password_that_is_right() {
    let (world, party, _) = lakeside().await;
    crowd(&world).await;
    let before = world.log_length(&party).await;
    let from = visit_from([192, 0, 2, 8].into(), None);
    let mut answers = Vec::new();
    for text in [PASSWORD, "wrong horse battery"] {
        answers.push(refused(world.sign_in("Lakeside", "a@x.example", text, &from).await));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(world.log_length(&party).await, before);
}

#[tokio::test]
async fn programs_outlive_a_new_password_unless_they_are_to_end_too() {
    let (world, _, session) = lakeside().await;
    let platform = &world.platform;
    let issued = platform.issue_api_token(&session.signed, &api_token()).await.unwrap();
    let change = password_change(PASSWORD, "a good new password");
    let session = platform.change_password(&session.signed, &change, &visit()).await.unwrap();
    assert!(platform.bearer(&issued.token).await.unwrap().is_some());
    let change =
        PasswordChange { revokes_api_tokens: true, ..password_change("a good new password", PASSWORD) };
    platform.change_password(&session.signed, &change, &visit()).await.unwrap();
    assert_eq!(platform.bearer(&issued.token).await.unwrap(), None);
}
