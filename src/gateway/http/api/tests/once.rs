//! What is made once however often it is asked for.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::site::{Answer, Person, Site, request};
use adit_core::domain::limits::REQUEST_KEY_LASTS;
use adit_core::domain::tier::Tier;

async fn keyed(site: &Site, person: &Person, path: &str, key: &str, body: Value) -> Answer {
    site.send(Some(person), request(Method::POST, path, Some(body), &[("Idempotency-Key", key)])).await
}

fn server(name: &str) -> Value {
    json!({ "name": name })
}

async fn count(site: &Site, person: &Person) -> usize {
    site.get(person, "/servers").await.json()["rows"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_request_that_is_repeated_under_its_key_makes_nothing_again() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let first = keyed(&site, &lakeside, "/servers", "k1", server("a")).await.is(201);
    let again = keyed(&site, &lakeside, "/servers", "k1", server("a")).await.is(201);
    assert_eq!(first, again);
    assert_eq!(count(&site, &lakeside).await, 1);
    let log = site.get(&lakeside, "/audit?action=add%20server").await.json();
    assert_eq!(log["rows"].as_array().unwrap().len(), 1, "asking again is no act");
    keyed(&site, &lakeside, "/servers", "k2", server("b")).await.is(201);
    assert_eq!(count(&site, &lakeside).await, 2);
}

#[tokio::test]
async fn what_is_answered_to_a_repeated_request_is_as_it_is_now() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let made = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    let path = format!("/servers/{}", made.field("id"));
    site.change(&lakeside, Method::PATCH, &path, &made.tag(), Some(json!({"name": "b"}))).await.is(200);
    let again = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    assert_eq!((again.field("id"), again.field("name")), (made.field("id"), "b".into()));
    let tag = again.tag();
    site.change(&lakeside, Method::DELETE, &path, &tag, None).await.is(200);
    keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(404);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let made = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    let other = keyed(&site, &lakeside, "/servers", "k", server("b")).await.is(422);
    assert_eq!(other.field("type"), "urn:adit:problem:key-reused");
    let channel = json!({"server": made.field("id"), "name": "ADT", "protocol": "mllp"});
    keyed(&site, &lakeside, "/channels", "k", channel).await.is(422);
    assert_eq!(count(&site, &lakeside).await, 1);
}

#[tokio::test]
async fn a_key_is_its_users_own() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let st_mary = site.organization("St Mary", Tier::Enterprise).await;
    let one = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    let other = keyed(&site, &st_mary, "/servers", "k", server("a")).await.is(201);
    assert_ne!(one.field("id"), other.field("id"));
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Free).await;
    let first = keyed(&site, &lakeside, "/servers", "k1", server("a")).await.is(201);
    keyed(&site, &lakeside, "/servers", "k2", server("b")).await.is(409);
    let path = format!("/servers/{}", first.field("id"));
    site.change(&lakeside, Method::DELETE, &path, "*", None).await.is(200);
    keyed(&site, &lakeside, "/servers", "k2", server("b")).await.is(201);
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let first = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    site.pass(REQUEST_KEY_LASTS.saturating_sub(Duration::from_secs(1)));
    let again = keyed(&site, &lakeside, "/servers", "k", server("a")).await.is(201);
    assert_eq!(first.field("id"), again.field("id"));
    site.pass(Duration::from_secs(2));
    keyed(&site, &lakeside, "/servers", "k", server("b")).await.is(201);
    assert_eq!(count(&site, &lakeside).await, 2);
    site.pass(REQUEST_KEY_LASTS * 2);
    site.api.platform.sweep().await.unwrap();
    keyed(&site, &lakeside, "/servers", "k", server("c")).await.is(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_requests_under_one_key_make_one_thing() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let asking = (0..8).map(|_| keyed(&site, &lakeside, "/servers", "k", server("a")));
    let answers = futures_util::future::join_all(asking).await;
    let ids: std::collections::BTreeSet<_> = answers.into_iter().map(|it| it.is(201).field("id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(count(&site, &lakeside).await, 1);
}

#[tokio::test]
async fn a_connector_file_is_not_shown_again_to_a_repeated_request() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let path = format!("/servers/{}/connector", site.server(&lakeside, "a").await);
    let first = keyed(&site, &lakeside, &path, "k", json!({"life": "1h"})).await.is(201);
    let again = keyed(&site, &lakeside, &path, "k", json!({"life": "1h"})).await.is(201).json();
    assert!(first.json()["file"].is_string());
    assert_eq!((&again["file"], &again["progress"]), (&Value::Null, &first.json()["progress"]));
}

#[tokio::test]
async fn a_key_is_one_short_text() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    for wrong in ["", &"k".repeat(101)] {
        keyed(&site, &lakeside, "/servers", wrong, server("a")).await.is(400);
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let twice = request(Method::POST, "/servers", Some(server("a")), &twice);
    site.send(Some(&lakeside), twice).await.is(400);
    keyed(&site, &lakeside, "/servers", &"k".repeat(100), server("a")).await.is(201);
}
