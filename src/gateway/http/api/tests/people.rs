//! Users, invitations and accounts over HTTP: each to their own organization, by their role.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use serde_json::json;

use super::world::{Asking, Key, PASSWORD, ask, two_organizations};
use crate::store::fixture::take_statements;

#[tokio::test]
async fn a_role_and_a_disabling_count_within_a_running_session() {
    let world = two_organizations().await;
    let (owner, operator) = (&world.one.owner, &world.one.operator);
    let id = world.ask(operator, "GET", "/account").await.body["id"].as_str().unwrap().to_owned();
    let path = format!("/users/{id}");
    let changed = world.send(owner, "PATCH", &path, json!({ "role": "auditor" })).await;
    assert_eq!((changed.status, &changed.body["role"]), (StatusCode::OK, &json!("auditor")));
    assert_eq!(world.ask(operator, "GET", "/account").await.body["role"], "auditor");
    let disabled = world.send(owner, "PATCH", &path, json!({ "disabled": true })).await;
    assert!(disabled.body["disabled_at"].is_string());
    for key in [operator, &world.one.program] {
        assert_eq!(world.ask(key, "GET", "/users").await.status, StatusCode::UNAUTHORIZED);
    }
    for both in [json!({}), json!({ "role": "owner", "disabled": false }), json!({ "name": "Eve" })] {
        assert_eq!(world.send(owner, "PATCH", &path, both).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn anothers_things_and_missing_ones_have_the_same_bytes() {
    let world = two_organizations().await;
    let (owner, other) = (&world.one.owner, &world.other.owner);
    let user = world.ask(other, "GET", "/account").await.body["id"].as_str().unwrap().to_owned();
    let sessions = world.ask(other, "GET", "/account/sessions").await;
    let session = sessions.body["rows"][0]["id"].as_str().unwrap().to_owned();
    let tokens = world.ask(&world.other.operator, "GET", "/account/api-tokens").await;
    let token = tokens.body["rows"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({ "email": "new@stmary.example", "role": "auditor" });
    let invitation = world.send(other, "POST", "/invitations", body).await;
    let invitation = invitation.body["id"].as_str().unwrap().to_owned();
    let missing = "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d";
    for (method, path, id, body) in [
        ("GET", "/users/ID", &user, None),
        ("PATCH", "/users/ID", &user, Some(json!({ "role": "auditor" }))),
        ("PATCH", "/users/ID", &user, Some(json!({ "disabled": true }))),
        ("POST", "/users/ID/sign-in-link", &user, Some(json!({}))),
        ("DELETE", "/account/sessions/ID", &session, None),
        ("DELETE", "/account/api-tokens/ID", &token, None),
        ("DELETE", "/organization/api-tokens/ID", &token, None),
        ("DELETE", "/invitations/ID", &invitation, None),
    ] {
        let ask = async |id: &str| {
            let path = path.replace("ID", id);
            match &body {
                Some(body) => world.send(owner, method, &path, body.clone()).await,
                None => world.ask(owner, method, &path).await,
            }
        };
        take_statements();
        let forbidden = ask(id).await;
        let asked_for_forbidden = take_statements();
        let absent = ask(missing).await;
        assert_eq!(asked_for_forbidden, take_statements(), "{method} {path}");
        assert_eq!(forbidden.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(forbidden.bytes, absent.bytes, "{method} {path}");
    }
    let users = world.ask(owner, "GET", "/users").await;
    assert!(!String::from_utf8(users.bytes).unwrap().contains("stmary"));
}

#[tokio::test]
async fn only_an_owner_invites_and_the_link_holds_its_token_in_the_fragment() {
    let world = two_organizations().await;
    let body = json!({ "email": "New@lakeside.example", "role": "auditor", "life": "1h" });
    for key in [&world.one.operator, &world.one.auditor, &world.one.program] {
        let refused = world.send(key, "POST", "/invitations", body.clone()).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "role"));
        assert_eq!(world.ask(key, "GET", "/invitations").await.status, StatusCode::FORBIDDEN);
    }
    let made = world.send(&world.one.owner, "POST", "/invitations", body).await;
    assert_eq!(
        (made.status, &made.headers[CACHE_CONTROL]),
        (StatusCode::CREATED, &"no-store".parse().unwrap())
    );
    let link = made.body["link"].as_str().unwrap();
    let token = link.strip_prefix("https://console.example.org/invitation#").unwrap();
    let listed = world.ask(&world.one.owner, "GET", "/invitations").await;
    assert!(!String::from_utf8(listed.bytes).unwrap().contains(token));
    let accept = json!({ "token": token, "name": "New", "password": PASSWORD });
    let accepted = world.send(&Key::default(), "POST", "/invitations/accept", accept.clone()).await;
    assert_eq!(accepted.body["user"]["email"], "new@lakeside.example");
    let again = world.send(&Key::default(), "POST", "/invitations/accept", accept).await;
    let none = json!({ "token": "x", "name": "New", "password": PASSWORD });
    let none = world.send(&Key::default(), "POST", "/invitations/accept", none).await;
    assert_eq!((again.status, again.bytes), (StatusCode::NOT_FOUND, none.bytes));
}

#[tokio::test]
async fn a_program_manages_no_account() {
    let world = two_organizations().await;
    let program = &world.one.program;
    assert_eq!(world.ask(program, "GET", "/account").await.body["email"], "operator@lakeside.example");
    for (method, path, body) in [
        ("GET", "/session", None),
        ("DELETE", "/session", None),
        ("GET", "/account/sessions", None),
        ("GET", "/account/api-tokens", None),
        ("POST", "/account/api-tokens", Some(json!({ "name": "more", "role": "auditor", "days": 1 }))),
        ("PUT", "/account/password", Some(json!({ "old": PASSWORD, "new": "another long password" }))),
        ("POST", "/account/second-factor", Some(json!({ "password": PASSWORD }))),
        ("DELETE", "/account/sessions", None),
    ] {
        let answer = match body {
            Some(body) => world.send(program, method, path, body).await,
            None => world.ask(program, method, path).await,
        };
        assert_eq!((answer.status, answer.problem()), (StatusCode::FORBIDDEN, "role"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    let change = |old: &str, new: &str| json!({ "old": old, "new": new });
    let wrong = world
        .send(owner, "PUT", "/account/password", change("wrong horse battery", "another long one"))
        .await;
    assert_eq!((wrong.status, wrong.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"));
    let weak = world.send(owner, "PUT", "/account/password", change(PASSWORD, "lakeside1234")).await;
    assert_eq!(weak.problem(), "invalid");
    let changed = world.send(owner, "PUT", "/account/password", change(PASSWORD, "another long one")).await;
    assert_eq!(world.ask(owner, "GET", "/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.ask(&changed.key(), "GET", "/session").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_is_idle_or_old_is_over() {
    let world = two_organizations().await;
    world.pass(Duration::from_mins(30));
    let answer = world.ask(&world.one.owner, "GET", "/session").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_answer_but_its_own_shows_a_secret() {
    let world = two_organizations().await;
    let (owner, program) = (&world.one.owner, &world.one.program);
    let secrets = [
        PASSWORD.to_owned(),
        owner.cookies[0].split('=').next_back().unwrap().to_owned(),
        owner.cookies[1].split('=').next_back().unwrap().to_owned(),
        program.bearer.clone().unwrap(),
        program.bearer.as_ref().unwrap()[5..].to_owned(),
    ];
    for path in [
        "/session",
        "/account",
        "/account/sessions",
        "/account/api-tokens",
        "/organization/api-tokens",
        "/users",
        "/invitations",
    ] {
        let answer = world.ask(owner, "GET", path).await;
        let text = String::from_utf8(answer.bytes).unwrap() + &format!("{:?}", answer.headers);
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{path}");
    }
    let dump = world.place.contents().await;
    for secret in &secrets {
        assert!(!dump.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_body_that_is_held_back_is_taken_from_who_one_is_when_it_comes() {
    let world = two_organizations().await;
    let (owner, operator) = (&world.one.owner, &world.one.operator);
    let id = world.ask(operator, "GET", "/account").await.body["id"].as_str().unwrap().to_owned();
    let held = world.holding_back(operator, "/servers", json!({ "name": "late" }), async || {
        let path = format!("/users/{id}");
        assert_eq!(
            world.send(owner, "PATCH", &path, json!({ "role": "auditor" })).await.status,
            StatusCode::OK
        );
    });
    let answer = held.await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::FORBIDDEN, "role"));
    let held = world.holding_back(&world.one.program, "/servers", json!({ "name": "late" }), async || {
        let tokens = world.ask(operator, "GET", "/account/api-tokens").await;
        let path = format!("/account/api-tokens/{}", tokens.body["rows"][0]["id"].as_str().unwrap());
        assert_eq!(world.ask(operator, "DELETE", &path).await.status, StatusCode::NO_CONTENT);
    });
    let answer = held.await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "sign-in"));
    assert_eq!(world.ask(owner, "GET", "/servers").await.body["rows"], json!([]));
}

#[tokio::test]
async fn one_signs_all_of_ones_other_browsers_out() {
    let world = two_organizations().await;
    let (here, email) = (&world.one.operator, "operator@lakeside.example");
    let there = world.sign_in(&Key::default(), "Lakeside", email, PASSWORD).await.key();
    let renewed = world.ask(here, "DELETE", "/account/sessions").await;
    for key in [here, &there] {
        assert_eq!(world.ask(key, "GET", "/session").await.status, StatusCode::UNAUTHORIZED);
    }
    let sessions = world.ask(&renewed.key(), "GET", "/account/sessions").await;
    assert_eq!(sessions.body["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_shown_once_is_made_once_for_a_key() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    let user =
        world.ask(&world.one.operator, "GET", "/account").await.body["id"].as_str().unwrap().to_owned();
    for (path, body, shown) in [
        ("/invitations".to_owned(), json!({ "email": "new@lakeside.example", "role": "auditor" }), "link"),
        (format!("/users/{user}/sign-in-link"), json!({}), "link"),
        ("/account/api-tokens".to_owned(), json!({ "name": "x", "role": "auditor", "days": 1 }), "token"),
    ] {
        let ask = async || {
            let asking = Asking::new("POST", &path).sending(body.clone()).with("idempotency-key", &path);
            ask(&world.router, owner, asking).await
        };
        let (first, again) = (ask().await, ask().await);
        assert_eq!([first.status, again.status], [StatusCode::CREATED; 2], "{path}: {again:?}");
        assert!(first.body[shown].is_string() && again.body.get(shown).is_none(), "{path}");
        let mut known = first.body.clone();
        known.as_object_mut().unwrap().remove(shown);
        assert_eq!(known, again.body, "{path}");
    }
}

#[tokio::test]
async fn whoever_signed_in_long_ago_is_told_to_sign_in_again_before_inviting() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    for _ in 0..3 {
        world.pass(Duration::from_mins(20));
        assert_eq!(world.ask(owner, "GET", "/session").await.status, StatusCode::OK);
    }
    let body = json!({ "email": "new@lakeside.example", "role": "owner" });
    let late = world.send(owner, "POST", "/invitations", body.clone()).await;
    assert_eq!((late.status, late.problem()), (StatusCode::FORBIDDEN, "sign-in-again"));
    let owner = world.sign_in(&Key::default(), "Lakeside", "owner@lakeside.example", PASSWORD).await.key();
    assert_eq!(world.send(&owner, "POST", "/invitations", body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn whoever_sees_the_users_of_an_organization_sees_their_api_tokens() {
    let world = two_organizations().await;
    let path = "/organization/api-tokens";
    world.pass(Duration::from_secs(1));
    let new = json!({ "name": "<b>reports</b>", "role": "auditor", "days": 1 });
    let made = world.send(&world.one.owner, "POST", "/account/api-tokens", new).await;
    world.ask(&world.one.program, "GET", "/servers").await;
    let by_owner = world.ask(&world.one.owner, "GET", path).await;
    let rows = by_owner.body["rows"].as_array().unwrap();
    let operator = world.ask(&world.one.operator, "GET", "/account").await.body["id"].clone();
    let email = "operator@lakeside.example";
    let whose = json!({ "id": operator, "name": "The operator", "email": email });
    assert_eq!((rows.len(), &rows[0]["name"], &rows[0]["user"]), (2, &json!("nightly"), &whose));
    assert!(rows[0]["used_at"].is_string() && rows[0].get("revoked_at").is_none(), "{}", rows[0]);
    assert_eq!((&rows[1]["id"], &rows[1]["name"]), (&made.body["id"], &json!("<b>reports</b>")));
    for key in [&world.one.operator, &world.one.auditor, &world.one.program] {
        assert_eq!(world.ask(key, "GET", path).await.body, by_owner.body);
    }
    let others = world.ask(&world.other.owner, "GET", path).await;
    assert_eq!(others.body["rows"].as_array().unwrap().len(), 1);
    assert!(!String::from_utf8(others.bytes).unwrap().contains("lakeside"));
    let first = world.ask(&world.one.auditor, "GET", "/organization/api-tokens?count=1").await;
    let next = format!("{path}?count=1&after={}", first.body["next"].as_str().unwrap());
    assert_eq!(world.ask(&world.one.auditor, "GET", &next).await.body["rows"], json!([rows[1]]));
    assert_eq!(world.ask(&Key::default(), "GET", path).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_owner_revokes_the_api_token_of_another_at_once() {
    let world = two_organizations().await;
    let (owner, program) = (&world.one.owner, &world.one.program);
    let tokens = world.ask(owner, "GET", "/organization/api-tokens").await;
    let id = tokens.body["rows"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/organization/api-tokens/{id}");
    for key in [&world.one.operator, &world.one.auditor, program] {
        let refused = world.ask(key, "DELETE", &path).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "role"));
    }
    let unproven = Key { csrf: None, ..owner.clone() };
    assert_eq!(world.ask(&unproven, "DELETE", &path).await.problem(), "cross-site");
    assert_eq!(world.ask(&world.other.owner, "DELETE", &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.ask(program, "GET", "/servers").await.status, StatusCode::OK, "nothing is revoked yet");
    let held = world.holding_back(program, "/servers", json!({ "name": "late" }), async || {
        assert_eq!(world.ask(owner, "DELETE", &path).await.status, StatusCode::NO_CONTENT);
    });
    let held = held.await;
    assert_eq!((held.status, held.problem()), (StatusCode::UNAUTHORIZED, "sign-in"));
    assert_eq!(world.ask(program, "GET", "/servers").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.ask(owner, "DELETE", &path).await.status, StatusCode::NO_CONTENT, "it is, already");
    let own = world.ask(&world.one.operator, "GET", "/account/api-tokens").await;
    assert!(own.body["rows"][0]["revoked_at"].is_string(), "{}", own.body);
    let log = world.ask(owner, "GET", "/audit?action=revoke+API+token&outcome=done").await;
    let entry = &log.body["rows"][0];
    assert_eq!(entry["object"], format!("API token {id}"), "{}", log.body);
    assert_eq!(entry["detail"], "called nightly, of The operator <operator@lakeside.example>");
    assert_eq!(entry["actor"], "The owner <owner@lakeside.example>");
}

#[tokio::test]
async fn a_program_and_who_signed_in_long_ago_revoke_no_api_token_of_others() {
    let world = two_organizations().await;
    let owner = &world.one.owner;
    let tokens = world.ask(owner, "GET", "/organization/api-tokens").await;
    let path = format!("/organization/api-tokens/{}", tokens.body["rows"][0]["id"].as_str().unwrap());
    let new = json!({ "name": "guard", "role": "owner", "days": 1 });
    let guard = world.send(owner, "POST", "/account/api-tokens", new).await;
    let guard = Key { bearer: Some(guard.body["token"].as_str().unwrap().into()), ..Key::default() };
    let refused = world.ask(&guard, "DELETE", &path).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "role"));
    for _ in 0..3 {
        world.pass(Duration::from_mins(20));
        assert_eq!(world.ask(owner, "GET", "/session").await.status, StatusCode::OK);
    }
    let late = world.ask(owner, "DELETE", &path).await;
    assert_eq!((late.status, late.problem()), (StatusCode::FORBIDDEN, "sign-in-again"));
}
