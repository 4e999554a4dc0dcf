//! Signing in over HTTP, and what is refused of those who would be somebody else.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use serde_json::json;

use super::world::{Asking, Key, ORIGIN, PASSWORD, ask, two_organizations};

const OWNER: &str = "owner@lakeside.example";

#[tokio::test]
async fn a_cookie_that_was_there_before_the_sign_in_is_never_the_one_after() {
    let world = two_organizations().await;
    let planted = format!("__Host-adit_session={}", "ab".repeat(32));
    let strange = Key { cookies: vec![planted.clone()], ..Key::default() };
    let signed = world.sign_in(&strange, "Lakeside", OWNER, PASSWORD).await;
    assert_eq!(signed.headers[CACHE_CONTROL], "no-store");
    assert!(!signed.key().cookies.contains(&planted));
    assert_eq!(world.ask(&strange, "GET", "/session").await.status, StatusCode::UNAUTHORIZED);
    let again = world.sign_in(&world.one.owner, "Lakeside", OWNER, PASSWORD).await.key();
    assert_ne!(again.cookies, world.one.owner.cookies);
    let old = world.ask(&world.one.owner, "GET", "/session").await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED, "what was shown is not left behind");
    assert_eq!(world.ask(&again, "GET", "/session").await.body["stage"], "whole");
}

#[tokio::test]
async fn a_change_comes_from_a_page_of_ours_with_its_token() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    let change =
        || Asking::new("PUT", "/organization/second-factor-rule").sending(json!({ "needed": false }));
    let without = Key { csrf: None, ..owner.clone() };
    let others = Key { csrf: world.other.owner.csrf.clone(), ..owner.clone() };
    for (key, asking, is_served) in [
        (owner, change(), true),
        (owner, change().with("origin", ORIGIN), true),
        (owner, change().with("origin", ORIGIN).with("sec-fetch-site", "same-origin"), true),
        (&without, change(), false),
        (&without, change().with("origin", ORIGIN), false),
        (&others, change().with("origin", ORIGIN), false),
        (owner, change().with("origin", "https://evil.example"), false),
        (owner, change().with("origin", "null"), false),
        (owner, change().with("origin", "https://console.example.org.evil.example"), false),
        (owner, change().with("sec-fetch-site", "cross-site"), false),
    ] {
        let answer = ask(&world.router, key, asking.clone()).await;
        if is_served {
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{asking:?}");
        } else {
            assert_eq!(
                (answer.status, answer.problem()),
                (StatusCode::FORBIDDEN, "cross-site"),
                "{asking:?}"
            );
        }
    }
    let typed = json!({ "organization": "Lakeside", "email": OWNER, "password": PASSWORD });
    let foreign = Asking::new("POST", "/session").sending(typed).with("origin", "https://evil.example");
    let answer = ask(&world.router, &Key::default(), foreign).await;
    assert_eq!(answer.problem(), "cross-site", "nobody is signed in by another site");
}

#[tokio::test]
async fn a_session_and_a_token_together_are_refused() {
    let world = two_organizations().await;
    let both = Key { bearer: world.one.program.bearer.clone(), ..world.one.owner.clone() };
    let answer = world.ask(&both, "GET", "/users").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "malformed"));
    let twice = Key {
        cookies: [&world.one.owner.cookies[..], &world.other.owner.cookies[..]].concat(),
        ..Key::default()
    };
    assert_eq!(world.ask(&twice, "GET", "/users").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn nothing_in_the_url_is_a_credential() {
    let world = two_organizations().await;
    let token = world.one.program.bearer.clone().unwrap();
    let session = world.one.owner.cookies[0].split('=').next_back().unwrap().to_owned();
    for query in [format!("token={token}"), format!("access_token={token}"), format!("session={session}")] {
        let answer = world.ask(&Key::default(), "GET", &format!("/users?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_credential_is_answered_alike() {
    let world = two_organizations().await;
    let bearer = |text: &str| Key { bearer: Some(text.into()), ..Key::default() };
    let cookie = |text: &str| Key { cookies: vec![format!("__Host-adit_session={text}")], ..Key::default() };
    let mut answers = Vec::new();
    for key in [
        Key::default(),
        bearer(&format!("adit_{}", "0".repeat(64))),
        bearer(&"0".repeat(64)),
        bearer("adit_"),
        cookie(&"0".repeat(64)),
        cookie("x"),
        cookie(world.one.program.bearer.as_deref().unwrap().strip_prefix("adit_").unwrap()),
    ] {
        let answer = world.ask(&key, "GET", "/users").await;
        answers.push((answer.status, answer.bytes));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_passwords_are_answered_alike_and_then_too_many() {
    let world = two_organizations().await;
    let key = Key::default();
    let wrong = world.sign_in(&key, "Lakeside", OWNER, "wrong horse battery").await;
    let unknown = world.sign_in(&key, "Lakeside", "nobody@lakeside.example", PASSWORD).await;
    let other = world.sign_in(&key, "St Mary", OWNER, PASSWORD).await;
    assert_eq!((wrong.status, wrong.problem()), (StatusCode::UNAUTHORIZED, "sign-in"));
    assert!(wrong.bytes == unknown.bytes && wrong.bytes == other.bytes);
    let mut last = wrong;
    for _ in 0..30 {
        last = world.sign_in(&key, "Lakeside", OWNER, "wrong horse battery").await;
    }
    assert_eq!((last.status, last.problem()), (StatusCode::TOO_MANY_REQUESTS, "too-many"));
    let seconds: u32 = last.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds));
    let known = world.one.owner.device();
    assert_eq!(world.sign_in(&known, "Lakeside", OWNER, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_has_the_browser_forget_it() {
    let world = two_organizations().await;
    let out = world.ask(&world.one.owner, "DELETE", "/session").await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers["set-cookie"].to_str().unwrap().starts_with("__Host-adit_session=; Max-Age=0;"));
    assert_eq!(world.ask(&world.one.owner, "GET", "/session").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_half_session_may_show_the_code_or_sign_out_and_nothing_else() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    let begun = world.send(owner, "POST", "/account/second-factor", shown()).await;
    assert_eq!(begun.headers[CACHE_CONTROL], "no-store");
    let link = adit_core::domain::secret::SecretLink::new(begun.body["link"].as_str().unwrap().into());
    let code = |world: &super::world::World| {
        let code = crate::platform::totp_code_of(&link, world.platform.now());
        json!({ "code": code.expose() })
    };
    let confirmed = world.send(owner, "PUT", "/account/second-factor", code(&world)).await;
    assert_eq!(confirmed.body["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(world.ask(owner, "GET", "/account").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.ask(&confirmed.key(), "GET", "/account").await.body["has_second_factor"], true);
    let half = world.sign_in(&Key::default(), "Lakeside", OWNER, PASSWORD).await;
    assert_eq!(half.body["stage"], "second_factor");
    let half = half.key();
    for (method, path) in [
        ("GET", "/account"),
        ("GET", "/users"),
        ("GET", "/organizations"),
        ("GET", "/account/sessions"),
        ("GET", "/account/api-tokens"),
    ] {
        let answer = world.ask(&half, method, path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.body["detail"].as_str().unwrap().contains("show your second factor first"));
    }
    let early = world.send(&half, "POST", "/account/second-factor", shown()).await;
    assert_eq!(early.status, StatusCode::UNAUTHORIZED);
    let wrong = world.send(&half, "POST", "/session/second-factor", json!({ "code": "000000" })).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    world.pass(std::time::Duration::from_secs(30));
    let whole = world.send(&half, "POST", "/session/second-factor", code(&world)).await;
    assert_eq!(world.ask(&whole.key(), "GET", "/users").await.status, StatusCode::OK);
    assert_eq!(world.ask(&half, "GET", "/session").await.status, StatusCode::UNAUTHORIZED);
    let recovery = json!({ "code": confirmed.body["recovery_codes"][0] });
    for status in [StatusCode::OK, StatusCode::UNAUTHORIZED] {
        let half = world.sign_in(&Key::default(), "Lakeside", OWNER, PASSWORD).await.key();
        let shown = world.send(&half, "POST", "/session/second-factor", recovery.clone()).await;
        assert_eq!(shown.status, status);
    }
}

#[tokio::test]
async fn who_must_set_up_a_second_factor_may_do_that_alone() {
    let world = two_organizations().await;
    let (owner, operator) = (&world.one.owner, &world.one.operator);
    let early = world.send(owner, "PUT", "/organization/second-factor-rule", json!({ "needed": true })).await;
    assert_eq!((early.status, early.problem()), (StatusCode::CONFLICT, "rule"));
    let begun = world.send(owner, "POST", "/account/second-factor", shown()).await;
    let link = adit_core::domain::secret::SecretLink::new(begun.body["link"].as_str().unwrap().into());
    let code = json!({ "code": crate::platform::totp_code_of(&link, world.platform.now()).expose() });
    let owner = world.send(owner, "PUT", "/account/second-factor", code).await.key();
    let set = world.send(&owner, "PUT", "/organization/second-factor-rule", json!({ "needed": true })).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT);
    let (ours, others) = (
        world.ask(&owner, "GET", "/organization").await,
        world.ask(&world.other.owner, "GET", "/organization"),
    );
    assert_eq!(
        (&ours.body["needs_second_factor"], &others.await.body["needs_second_factor"]),
        (&json!(true), &json!(false))
    );
    let listed = world.ask(&world.other.owner, "GET", "/organizations").await;
    let ours = listed.body["rows"].as_array().unwrap().iter().find(|row| row["name"] == ours.body["name"]);
    assert_eq!(ours.unwrap().get("needs_second_factor"), None, "nobody else's to know");
    assert_eq!(world.ask(operator, "GET", "/session").await.body["stage"], "set_up");
    for key in [operator, &world.one.program] {
        let answer = world.ask(key, "GET", "/users").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.body["detail"].as_str().unwrap().contains("set one up first"));
    }
    assert_eq!(world.ask(&world.other.operator, "GET", "/users").await.status, StatusCode::OK);
    assert_eq!(world.send(operator, "POST", "/account/second-factor", shown()).await.status, StatusCode::OK);
}

/// The password, shown once more.
fn shown() -> serde_json::Value {
    json!({ "password": PASSWORD })
}
