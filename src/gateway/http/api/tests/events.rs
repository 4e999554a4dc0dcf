//! What is told at once, and to whom.

use std::time::Instant;

use axum::http::Method;
use serde_json::json;

use super::region::Region;
use super::site::{Site, request};
use super::world::two_organizations;
use crate::platform::{Initiator, Proof, UserProof};
use adit_core::domain::id::GatewayId;
use adit_core::domain::limits::{EVENT_PROOF_EVERY, EVENTS_WAITING_MAX, USER_SESSION_IDLE};
use adit_core::domain::path::PathKind;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::protocol::control::Report;

#[tokio::test]
async fn each_organization_hears_of_its_own_things_alone() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let st_mary = site.organization("St Mary", Tier::Standard).await;
    site.following(async {
        let (mut one, mut other) = (site.stream(&lakeside, None).await, site.stream(&st_mary, None).await);
        assert_eq!(one.next().await.unwrap().0, "start");
        assert_eq!(other.next().await.unwrap().0, "start");
        let server = site.server(&lakeside, "a").await;
        let (kind, id, data) = one.next().await.unwrap();
        assert_eq!((kind.as_str(), data), ("server", json!({ "server": server })));
        assert!(id.is_some());
        let own = site.server(&st_mary, "b").await;
        assert_eq!(
            other.next().await.unwrap().2,
            json!({ "server": own }),
            "nothing of Lakeside's came before"
        );
    })
    .await;
}

#[tokio::test]
async fn a_stream_goes_on_after_the_event_that_was_heard_last() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    site.following(async {
        let mut stream = site.stream(&lakeside, None).await;
        let (_, id, _) = stream.next().await.unwrap();
        drop(stream);
        let servers = [site.server(&lakeside, "a").await, site.server(&lakeside, "b").await];
        let mut stream = site.stream(&lakeside, id.as_deref()).await;
        for server in servers {
            assert_eq!(stream.next().await.unwrap().2, json!({ "server": server }));
        }
        assert_eq!(stream.next().await.unwrap().0, "connectivity");
        let server = site.server(&lakeside, "c").await;
        assert_eq!(stream.next().await.unwrap().2, json!({ "server": server }), "each is told once");
    })
    .await;
}

#[tokio::test]
async fn one_who_missed_more_than_is_kept_reads_everything_again() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    site.server(&lakeside, "a").await;
    site.server(&lakeside, "b").await;
    site.api.platform.prune_changes(1).await.unwrap();
    let pruned = site.api.platform.told_change(lakeside.caller.organization, 0);
    for after in ["0", "-1", "99999999", "none", "7fffffffffffffff", "0000000000000001", &pruned] {
        assert_eq!(site.stream(&lakeside, Some(after)).await.next().await.unwrap().0, "reload", "{after}");
    }
}

#[tokio::test]
async fn neither_an_event_nor_an_entry_of_the_log_tells_how_much_others_do() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let other = site.organization("St Mary", Tier::Enterprise).await;
    site.following(async {
        let mut stream = site.stream(&lakeside, None).await;
        let mut ids = vec![stream.next().await.unwrap().1.unwrap()];
        for name in ["a", "b", "c"] {
            site.server(&other, name).await;
            site.server(&lakeside, name).await;
            ids.push(stream.next().await.unwrap().1.unwrap());
        }
        let log = site.get(&lakeside, "/audit?count=2").await.json();
        let next = hex::decode(log["next"].as_str().unwrap()).unwrap();
        let next = String::from_utf8(next).unwrap();
        let (_, place) = next.rsplit_once(':').unwrap();
        ids.extend(log["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let numbers = ids.iter().map(|id| i64::from_str_radix(id, 16).unwrap_or(i64::MIN));
        let numbers: Vec<_> = numbers.chain([place.parse().unwrap()]).collect();
        assert!(numbers.iter().all(|number| number.unsigned_abs() > 1_000_000), "{numbers:?}");
        let rest =
            site.get(&lakeside, &format!("/audit?after={}", log["next"].as_str().unwrap())).await.json();
        let whole = site.get(&lakeside, "/audit").await.json();
        let rows = |page: &serde_json::Value| page["rows"].as_array().unwrap().clone();
        assert_eq!([rows(&log), rows(&rest)].concat(), rows(&whole));
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_is_told_to_read_everything_again() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Enterprise).await;
    let mut stream = site.stream(&lakeside, None).await;
    assert_eq!(stream.next().await.unwrap().0, "start");
    for _ in 0..=EVENTS_WAITING_MAX {
        site.api.events.tell_changes(&[]);
    }
    assert_eq!(stream.next().await.unwrap().0, "reload");
}

#[tokio::test]
async fn a_peer_hears_nothing_of_a_channel_that_is_hidden_from_it() {
    let region = Region::new().await;
    let hidden = region.of_path("channels").into_iter().find(|it| it.called == "hidden").unwrap();
    let path = format!("/channels/{}", hidden.id);
    let site = &region.site;
    site.following(async {
        let mut stream = site.stream(&region.hillcrest, None).await;
        assert_eq!(stream.next().await.unwrap().0, "start");
        let body = Some(json!({"description": "secret plans"}));
        site.change(&region.st_mary, axum::http::Method::PATCH, &path, "*", body).await.is(200);
        site.server(&region.hillcrest, "own").await;
        assert_eq!(stream.next().await.unwrap().0, "server");
        site.act(&region.st_mary, &format!("{path}/publish")).await.is(200);
        let (kind, _, data) = stream.next().await.unwrap();
        assert_eq!((kind.as_str(), data), ("channel", json!({})));
    })
    .await;
}

#[tokio::test]
async fn both_parties_hear_that_their_connection_is_reached_otherwise() {
    let region = Region::new().await;
    let connection = region.of_path("connections").remove(0).id;
    let server = region.of_path("servers").remove(0).id;
    let (site, platform) = (&region.site, &region.site.api.platform);
    // What the agents told while nobody listened.
    platform.next_touched().await;
    site.following(async {
        let mut owner = site.stream(&region.st_mary, None).await;
        let mut party = site.stream(&region.lakeside, None).await;
        let mut outsider = site.stream(&region.riverside, None).await;
        for stream in [&mut owner, &mut party, &mut outsider] {
            assert_eq!(stream.next().await.unwrap().0, "start");
        }
        site.pass(std::time::Duration::from_secs(5));
        let report =
            Report { tunnel: Some(PathKind::Relay.into()), mirth: Some(false), last_ack: None, fault: None };
        let (of, at) = (connection.parse().unwrap(), platform.now());
        platform.report(server.parse().unwrap(), of, &report, at).await.unwrap();
        platform.flush_reports().await.unwrap();
        let told = owner.next().await.unwrap();
        assert_eq!(told, ("connectivity".into(), None, json!({"server": server, "connection": connection})));
        let (kind, _, data) = party.next().await.unwrap();
        assert_eq!((kind.as_str(), &data["connection"]), ("connectivity", &json!(connection)));
        assert_ne!(data["server"], json!(server), "the other side's server is not named");
        platform.linked(GatewayId::from_bytes([7; 8]), server.parse().unwrap(), false);
        platform.flush_reports().await.unwrap();
        assert_eq!(owner.next().await.unwrap().2, json!({ "server": server }));
        site.server(&region.riverside, "another").await;
        assert_eq!(outsider.next().await.unwrap().0, "server", "nothing was told before");
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_at_once_with_the_session_it_was_asked_for_by() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    site.following(async {
        let mut stream = site.stream(&lakeside, None).await;
        assert_eq!(stream.next().await.unwrap().0, "start");
        site.server(&lakeside, "a").await;
        assert_eq!(stream.next().await.unwrap().0, "server", "it was proven when this was told");
        let began = Instant::now();
        site.end_session(&lakeside).await;
        assert_eq!(stream.next().await.unwrap().0, "user");
        assert_eq!(stream.next().await, None);
        assert!(began.elapsed() < EVENT_PROOF_EVERY / 2);
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_a_program_ends_at_once_with_the_token_that_an_owner_revokes() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    let operator = site.person(lakeside.caller.organization, UserRole::Operator).await;
    let (token, program) = site.api_token(&operator, UserRole::Operator).await;
    site.following(async {
        let mut stream = site.stream(&program, None).await;
        assert_eq!(stream.next().await.unwrap().0, "start");
        site.server(&lakeside, "a").await;
        assert_eq!(stream.next().await.unwrap().0, "server", "it was proven when this was told");
        let began = Instant::now();
        let path = format!("/organization/api-tokens/{token}");
        site.send(Some(&lakeside), request(Method::DELETE, &path, None, &[])).await.is(204);
        assert_eq!(stream.next().await.unwrap().0, "user");
        assert_eq!(stream.next().await, None);
        assert!(began.elapsed() < EVENT_PROOF_EVERY / 2);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_asked_for_by_a_session_that_has_ended_tells_nothing() {
    let site = Site::new().await;
    let lakeside = site.organization("Lakeside", Tier::Standard).await;
    site.end_session(&lakeside).await;
    let mut stream = site.stream(&lakeside, None).await;
    assert_eq!(stream.next().await.unwrap().0, "start");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_when_its_proof_does_by_the_clock() {
    let world = two_organizations().await;
    let signed = world.signed(&world.one.operator).await;
    let until = world.platform.proven_until(&signed.initiator()).await.unwrap().unwrap();
    assert_eq!(until, world.platform.now().saturating_add(USER_SESSION_IDLE));
    world.pass(USER_SESSION_IDLE);
    assert_eq!(world.platform.proven_until(&signed.initiator()).await.unwrap(), None);
}

#[tokio::test]
async fn a_proof_holds_while_the_session_the_role_and_the_user_do() {
    let world = two_organizations().await;
    let signed = world.signed(&world.one.operator).await;
    let holds = async |by: &Initiator| world.platform.proven_until(by).await.unwrap().is_some();
    assert!(holds(&signed.initiator()).await);
    let other = world.signed(&world.other.operator).await;
    let Initiator::Member { organization, role, name, .. } = signed.initiator() else { panic!("a member") };
    let proof = Some(UserProof { user: signed.id(), by: Proof::Session(other.session) });
    assert!(
        !holds(&Initiator::Member { organization, role, name, proof }).await,
        "another's session proves nothing"
    );
    let owner = world.signed(&world.one.owner).await;
    world.platform.set_user_role(&owner.initiator(), signed.id(), UserRole::Auditor).await.unwrap();
    assert!(!holds(&signed.initiator()).await);
    world.platform.sign_out(&other).await.unwrap();
    assert!(!holds(&other.initiator()).await);
}
