//! Nobody changes what somebody else has changed since it was read.

use axum::http::Method;
use axum::http::header::IF_NONE_MATCH;
use serde_json::json;

use super::site::{Site, request};
use adit_core::domain::id::GatewayId;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

#[tokio::test]
async fn a_thing_that_is_known_is_not_sent_again() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let path = format!("/servers/{}", site.server(&lakeside, "a").await);
    let tag = site.get(&lakeside, &path).await.is(200).tag();
    let known = [(IF_NONE_MATCH.as_str(), tag.as_str())];
    let ask = || request(Method::GET, &path, None, &known);
    let same = site.send(Some(&lakeside), ask()).await.is(304);
    assert_eq!((same.tag(), same.bytes.len()), (tag.clone(), 0));
    site.change(&lakeside, Method::PATCH, &path, &tag, Some(json!({"name": "b"}))).await.is(200);
    assert_ne!(site.send(Some(&lakeside), ask()).await.is(200).tag(), tag);
}

#[tokio::test]
async fn a_change_needs_the_state_that_it_changes() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let path = format!("/servers/{}", site.server(&lakeside, "a").await);
    for (method, body) in [
        (Method::PUT, Some(json!({"name": "b"}))),
        (Method::PATCH, Some(json!({"name": "b"}))),
        (Method::DELETE, None),
    ] {
        let without = site.send(Some(&lakeside), request(method.clone(), &path, body.clone(), &[])).await;
        assert_eq!(without.is(428).field("type"), "urn:adit:problem:precondition");
        let other = site.change(&lakeside, method.clone(), &path, "\"0123\"", body.clone()).await;
        assert_eq!(other.is(412).field("type"), "urn:adit:problem:changed");
        site.change(&lakeside, method, &path, "0123", body).await.is(400);
    }
    assert_eq!(site.get(&lakeside, &path).await.field("name"), "a");
}

#[tokio::test]
async fn an_agent_that_comes_back_keeps_nobody_from_writing_about_its_server() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let server = site.server(&lakeside, "a").await;
    let path = format!("/servers/{server}");
    let tag = site.get(&lakeside, &path).await.is(200).tag();
    let (platform, gateway) = (&site.api.platform, GatewayId::from_bytes([7; 8]));
    platform.start_service(gateway).await.unwrap();
    platform.linked(gateway, server.parse().unwrap(), true);
    platform.flush_reports().await.unwrap();
    let now = site.get(&lakeside, &path).await.is(200);
    assert!(now.json()["online"] == true && now.tag() != tag, "who keeps a copy is told that it is old");
    site.change(&lakeside, Method::PATCH, &path, &tag, Some(json!({"name": "b"}))).await.is(200);
    site.change(&lakeside, Method::PATCH, &path, &tag, Some(json!({"name": "c"}))).await.is(412);
}

#[tokio::test]
async fn the_second_of_two_who_read_the_same_changes_nothing() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let server = site.server(&lakeside, "a").await;
    let channel = site.channel(&lakeside, &server, "ADT", true).await;
    for path in [format!("/servers/{server}"), format!("/channels/{channel}"), "/organization".to_owned()] {
        let tag = site.get(&lakeside, &path).await.is(200).tag();
        let first = site.change(&lakeside, Method::PATCH, &path, &tag, Some(json!({"name": "first"}))).await;
        assert_eq!(first.is(200).field("name"), "first");
        let second =
            site.change(&lakeside, Method::PATCH, &path, &tag, Some(json!({"name": "second"}))).await;
        second.is(412);
        let now = site.get(&lakeside, &path).await;
        assert_eq!(now.field("name"), "first", "{path}");
        let body = Some(json!({"name": "third"}));
        site.change(&lakeside, Method::PATCH, &path, &now.tag(), body).await.is(200);
    }
    let tag = site.get(&lakeside, "/organization").await.tag();
    let tier = || Some(json!({"tier": "free"}));
    let changed = site.change(&lakeside, Method::PUT, "/organization/tier", &tag, tier()).await.is(200);
    assert_eq!(changed.field("tier"), "Free");
    site.change(&lakeside, Method::PUT, "/organization/tier", &tag, tier()).await.is(412);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_changes_of_one_state_one_is_made() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let path = format!("/servers/{}", site.server(&lakeside, "a").await);
    let tag = site.get(&lakeside, &path).await.is(200).tag();
    let asking = (0..8).map(|number| {
        let body = Some(json!({"name": format!("name {number}")}));
        site.change(&lakeside, Method::PATCH, &path, &tag, body)
    });
    let answers = futures_util::future::join_all(asking).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.status == 412).count()), (1, 7));
}

#[tokio::test]
async fn who_may_not_change_a_thing_is_told_that_before_its_state() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let st_mary = site.organization("St Mary", Tier::Standard).await;
    let auditor = site.person(lakeside.caller.organization, UserRole::Auditor).await;
    let path = format!("/servers/{}", site.server(&lakeside, "a").await);
    let (wrong, body) = ("\"0123\"", || Some(json!({"name": "b"})));
    site.change(&auditor, Method::PATCH, &path, wrong, body()).await.is(403);
    site.change(&auditor, Method::DELETE, &path, wrong, None).await.is(403);
    site.change(&st_mary, Method::PATCH, &path, wrong, body()).await.is(404);
    site.change(&st_mary, Method::DELETE, &path, wrong, None).await.is(404);
}

#[tokio::test]
async fn an_update_that_is_refused_for_its_state_is_in_the_log() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let path = format!("/servers/{}", site.server(&lakeside, "a").await);
    site.change(&lakeside, Method::DELETE, &path, "\"0123\"", None).await.is(412);
    let log = site.get(&lakeside, "/audit?outcome=refused").await.json();
    assert_eq!(log["rows"][0]["action"], "delete server");
}
