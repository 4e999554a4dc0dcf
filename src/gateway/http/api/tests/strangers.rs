//! What is not one's own is answered as what is not there, wherever its id is sent; and whoever is not signed in, or
//! sends more than is asked for, gets nowhere.

use axum::http::Method;
use serde_json::json;

use super::described::{Operation, no_id, operations};
use super::region::{Region, Thing};
use super::site::{Answer, Person};
use crate::store::fixture::take_statements;

/// Who may see what is found under a path: its id is no secret to anybody.
fn is_public(thing: &Thing) -> bool {
    thing.path == "organizations"
}

impl Region {
    /// Returns what `person` may not see.
    async fn unseen_by(&self, person: &Person) -> Vec<Thing> {
        let mut unseen = Vec::new();
        for thing in self.things.iter().filter(|thing| !is_public(thing) && thing.path != "offers") {
            let answer = self.site.get(person, &format!("/{}/{}", thing.path, thing.id)).await;
            if answer.status == 404 {
                unseen.push(thing.clone());
            }
        }
        unseen
    }

    async fn own_server(&self, person: &Person) -> String {
        let list = self.site.get(person, "/servers").await.json();
        match list["rows"][0]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => self.site.server(person, "another").await,
        }
    }
}

#[track_caller]
fn assert_alike(what: &str, one: &Answer, other: &Answer) {
    assert_eq!(one, other, "{what}: {}\n{}", one.text(), other.text());
}

#[test]
fn what_is_asked_before_anybody_is_signed_in_is_described_so() {
    let all = operations();
    let public = all.iter().filter(|operation| operation.is_public()).map(Operation::name);
    assert_eq!(
        public.collect::<Vec<_>>(),
        [
            "POST /invitations/accept",
            "POST /session",
            "POST /session/single-sign-on",
            "GET /session/single-sign-on/callback/{organization}"
        ]
    );
}

#[tokio::test]
async fn an_id_that_one_may_not_see_is_answered_like_one_that_nothing_has() {
    let region = Region::new().await;
    let mut asked = 0;
    for person in [&region.riverside, &region.hillcrest, &region.lakeside] {
        let (unseen, own_server) = (region.unseen_by(person).await, region.own_server(person).await);
        for operation in operations().into_iter().filter(Operation::has_path_parameter) {
            for thing in &unseen {
                let body = || operation.body(|_| own_server.clone());
                let [known, none] = [thing.id.clone(), no_id()].map(|id| operation.path_of(&id));
                take_statements();
                let known = region.site.send(Some(person), operation.request(&known, body())).await;
                let asked_for_known = take_statements();
                let none = region.site.send(Some(person), operation.request(&none, body())).await;
                let what = format!("{} with {thing:?}", operation.name());
                assert_eq!(asked_for_known, take_statements(), "what the database is asked for {what}");
                assert_alike(&format!("{} with {thing:?}", operation.name()), &known, &none);
                // What is for everybody leads a browser on whatever it comes with.
                let is_refused = operation.is_public() || known.status.is_client_error();
                assert!(is_refused, "{} with {thing:?}", operation.name());
                asked += 1;
            }
        }
    }
    assert!(asked > 500, "{asked}");
}

#[tokio::test]
async fn an_id_in_a_body_that_one_may_not_see_is_answered_like_one_that_nothing_has() {
    let region = Region::new().await;
    let mut asked = 0;
    for person in [&region.riverside, &region.hillcrest, &region.lakeside] {
        let (unseen, own_server) = (region.unseen_by(person).await, region.own_server(person).await);
        let own_organization = person.organization();
        let own_channel = region.site.channel(person, &own_server, "own", true).await;
        let own = |field: &str| match field {
            "channel" => own_channel.clone(),
            "server" | "source_server" => own_server.clone(),
            _ => own_organization.clone(),
        };
        let whole = operations().into_iter().filter(|operation| !operation.has_path_parameter());
        for operation in whole.filter(|operation| operation.method == Method::POST) {
            for field in operation.named_fields() {
                for thing in &unseen {
                    let [known, none] = [thing.id.clone(), no_id()]
                        .map(|id| operation.body(|name| if name == field { id.clone() } else { own(name) }));
                    let path = operation.path_of("");
                    take_statements();
                    let known = region.site.send(Some(person), operation.request(&path, known)).await;
                    let asked_for_known = take_statements();
                    let none = region.site.send(Some(person), operation.request(&path, none)).await;
                    let what = format!("{} {field} {thing:?}", operation.name());
                    assert_eq!(asked_for_known, take_statements(), "what the database is asked for {what}");
                    assert_alike(&format!("{} {field} {thing:?}", operation.name()), &known, &none);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 50, "{asked}");
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_so_by_every_endpoint_that_is_not_for_everybody() {
    let region = Region::new().await;
    for operation in operations().into_iter().filter(|operation| !operation.is_public()) {
        let ids = region.of_path(&operation.path).into_iter().map(|thing| thing.id).chain([no_id()]);
        for id in ids {
            let path = operation.path_of(&id);
            let answer = region.site.send(None, operation.request(&path, operation.body(|_| no_id()))).await;
            assert_eq!(answer.status, 401, "{}: {}", operation.name(), answer.text());
            assert_eq!(answer.json()["type"], "urn:adit:problem:sign-in", "{}", operation.name());
        }
    }
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_refused_by_every_endpoint() {
    let region = Region::new().await;
    let mut tried = 0;
    for operation in operations() {
        let Some(body) = operation.body(|_| no_id()) else { continue };
        let path = operation.path_of(&no_id());
        for extra in ["id", "organization_id", "owner", "status", "created_at", "is_admin"] {
            let mut more = body.clone();
            if more.insert(extra.to_owned(), json!("Enterprise")).is_some() {
                continue;
            }
            let person = Some(&region.st_mary);
            let without = region.site.send(person, operation.request(&path, Some(body.clone()))).await;
            if without.status == 401 {
                // Only for who signs in with a browser, which nobody here does.
                continue;
            }
            assert!(!without.text().contains("fields and types"), "{}: {}", operation.name(), without.text());
            let with = region.site.send(person, operation.request(&path, Some(more))).await;
            assert_eq!(with.status, 422, "{} with {extra}: {}", operation.name(), with.text());
            assert!(with.text().contains("fields and types"), "{}: {}", operation.name(), with.text());
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}
