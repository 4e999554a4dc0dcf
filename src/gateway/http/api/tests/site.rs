//! The API over a platform of five organizations' making, asked as each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::http::caller::Caller;
use crate::http::{Api, Client};
use crate::platform::{Initiator, Platform, Proof, UserProof};
use crate::set_clock::Clock;
use crate::store::ApiTokenRecord;
use crate::store::fixture::Place;
use adit_core::domain::id::{ApiTokenId, OrganizationId, UserId};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_net::identity::random;

pub(super) struct Site {
    pub(super) api: Arc<Api>,
    feed: Arc<Feed>,
    router: Router,
    clock: Arc<Clock>,
    place: Place,
    _folder: tempfile::TempDir,
}

/// One who asks.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) caller: Caller,
}

impl Person {
    pub(super) fn organization(&self) -> String {
        self.caller.organization.to_string()
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Returns one field's text.
    #[track_caller]
    pub(super) fn field(&self, name: &str) -> String {
        let json = self.json();
        json[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {json}")).to_owned()
    }

    pub(super) fn tag(&self) -> String {
        self.headers[ETAG].to_str().unwrap().to_owned()
    }
}

/// A stream of events that is read.
pub(super) struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    /// Returns the next event: its kind, its id and its data. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(String, Option<String>, Value)> {
        let event = loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event != ":" {
                    break event;
                }
                continue;
            }
            let waiting = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = waiting.await.expect("nothing is told")?.unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        };
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
        Some((field("event: ").unwrap(), field("id: "), data))
    }
}

impl Site {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(1_795_510_800_000)));
        let place = Place::new().await;
        let state = folder.path().join("state");
        let platform = Platform::open_at(&state, &place.location, clock.clone()).await.unwrap();
        let feed = Arc::new(Feed::default());
        let api = Api::over(Arc::new(platform), "https://gateway.example.org");
        let api = Arc::new(Api { events: Arc::clone(feed.events()), ..api });
        let router = crate::http::routes(Arc::clone(&api));
        Self { api, feed, router, clock, place, _folder: folder }
    }

    /// Has everybody told what happens while `trying` runs.
    pub(super) fn following<T>(&self, trying: impl Future<Output = T>) -> impl Future<Output = T> {
        Box::pin(async move {
            let platform = &self.api.platform;
            let seen = platform.newest_change().await.unwrap();
            let events = self.feed.events();
            tokio::select! {
                () = self.feed.follow(platform, seen) => panic!("the feed ends"),
                () = Arc::clone(events).follow_reach(Arc::clone(platform)) => panic!("the hub ends"),
                tried = trying => tried,
            }
        })
    }

    pub(super) fn pass(&self, span: Duration) {
        self.clock.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Makes an organization, and returns its owner.
    pub(super) async fn organization(&self, name: &str, tier: Tier) -> Person {
        let host = Initiator::Host { name: "operator".into() };
        let id = self.api.platform.add_organization(&host, &name.parse().unwrap(), tier).await.unwrap();
        self.person(id, UserRole::Owner).await
    }

    pub(super) async fn person(&self, organization: OrganizationId, role: UserRole) -> Person {
        let user = UserId::from_random(random::bytes());
        let store = self.place.store().await;
        let session = store.add_some_user(user, organization, role).await;
        store.close().await;
        let proof = Some(UserProof { user, by: Proof::Session(session) });
        let initiator = Initiator::Member { organization, role, name: "Ada".into(), proof };
        Person { caller: Caller { user, organization, initiator } }
    }

    /// Makes an API token of one who asks; returns its id, and who shows it.
    pub(super) async fn api_token(&self, person: &Person, role: UserRole) -> (ApiTokenId, Person) {
        let Caller { user, organization, .. } = person.caller;
        let now = self.api.platform.now();
        let record = ApiTokenRecord {
            id: ApiTokenId::from_random(random::bytes()),
            account: user,
            name: "nightly".parse().unwrap(),
            role,
            created_at: now,
            expires_at: now.saturating_add(Duration::from_hours(24 * 30)),
            used_at: None,
            revoked_at: None,
        };
        let store = self.place.store().await;
        let mut tx = store.write().await.unwrap();
        tx.insert_api_token(&record, &random::bytes()).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let proof = Some(UserProof { user, by: Proof::Token(record.id) });
        let initiator = Initiator::Member { organization, role, name: "Ada".into(), proof };
        (record.id, Person { caller: Caller { user, organization, initiator } })
    }

    /// Ends the session by which one asks.
    pub(super) async fn end_session(&self, person: &Person) {
        let Initiator::Member { proof: Some(UserProof { by: Proof::Session(id), .. }), .. } =
            person.caller.initiator
        else {
            panic!("no session")
        };
        let store = self.place.store().await;
        let mut tx = store.write().await.unwrap();
        assert!(tx.delete_session(id, person.caller.organization).await.unwrap());
        tx.commit().await.unwrap();
        store.close().await;
    }

    pub(super) async fn send(&self, person: Option<&Person>, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Client { address: "192.0.2.1".parse().unwrap() });
        if let Some(person) = person {
            request.extensions_mut().insert(person.caller.clone());
        }
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // Events do not end.
        let is_stream = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes = if is_stream { Bytes::new() } else { to_bytes(body, usize::MAX).await.unwrap() };
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Opens a stream of events.
    pub(super) async fn stream(&self, person: &Person, after: Option<&str>) -> Stream {
        let headers: Vec<_> = after.map(|id| ("last-event-id", id)).into_iter().collect();
        let mut request = request(Method::GET, "/events", None, &headers);
        request.extensions_mut().insert(person.caller.clone());
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Stream { body: response.into_body(), text: String::new() }
    }

    pub(super) async fn get(&self, person: &Person, path: &str) -> Answer {
        self.send(Some(person), request(Method::GET, path, None, &[])).await
    }

    pub(super) async fn post(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.send(Some(person), request(Method::POST, path, Some(body), &[])).await
    }

    /// Does what takes no body.
    pub(super) async fn act(&self, person: &Person, path: &str) -> Answer {
        self.send(Some(person), request(Method::POST, path, None, &[])).await
    }

    /// Changes what has the tag.
    pub(super) async fn change(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        tag: &str,
        body: Option<Value>,
    ) -> Answer {
        self.send(Some(person), request(method, path, body, &[(IF_MATCH.as_str(), tag)])).await
    }

    pub(super) async fn server(&self, owner: &Person, name: &str) -> String {
        let body = json!({"name": name, "description": "in room 2", "version": "4.5.2"});
        self.post(owner, "/servers", body).await.is(201).field("id")
    }

    pub(super) async fn channel(&self, owner: &Person, server: &str, name: &str, published: bool) -> String {
        let body = json!({"server": server, "name": name, "description": "admissions", "protocol": "mllp", "published": published});
        self.post(owner, "/channels", body).await.is(201).field("id")
    }

    pub(super) async fn peers(&self, one: &Person, other: &Person) -> String {
        let body = json!({"organization": other.organization()});
        let id = self.post(one, "/peerings", body).await.is(201).field("id");
        self.act(other, &format!("/peerings/{id}/accept")).await.is(200);
        id
    }
}

/// Makes a request to the API.
pub(super) fn request(
    method: Method,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => {
            request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
        }
        None => request.body(Body::empty()).unwrap(),
    }
}
