//! Two organizations with a user of each role, who ask as browsers and programs do: by real cookies and tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::request::Builder;
use axum::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::http::api::routes;
use crate::http::{Api, Client};
use crate::platform::{Initiator, Platform, Signed};
use crate::set_clock::Clock;
use crate::store::fixture::Place;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::SessionToken;
use adit_core::domain::tier::Tier;

pub(in crate::http) const ORIGIN: &str = "https://console.example.org";
pub(in crate::http) const PASSWORD: &str = "correct horse battery";

/// What a user shows.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Key {
    /// `NAME=VALUE` of each cookie.
    pub(in crate::http) cookies: Vec<String>,
    pub(in crate::http) csrf: Option<String>,
    pub(in crate::http) bearer: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(in crate::http) struct Answer {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) headers: HeaderMap,
    pub(in crate::http) body: Value,
    pub(in crate::http) bytes: Vec<u8>,
}

/// An organization with its users.
#[derive(Debug)]
pub(in crate::http) struct Side {
    pub(in crate::http) id: OrganizationId,
    pub(in crate::http) owner: Key,
    pub(in crate::http) operator: Key,
    pub(in crate::http) auditor: Key,
    /// A program of the operator.
    pub(in crate::http) program: Key,
}

pub(in crate::http) struct World {
    pub(in crate::http) platform: Arc<Platform>,
    pub(in crate::http) router: Router,
    pub(in crate::http) one: Side,
    pub(in crate::http) other: Side,
    pub(in crate::http) place: Place,
    clock: Arc<Clock>,
    _folder: tempfile::TempDir,
}

/// A request that is asked in this world.
#[derive(Debug, Clone)]
pub(in crate::http) struct Asking {
    pub(in crate::http) method: Method,
    pub(in crate::http) path: String,
    pub(in crate::http) body: Option<Value>,
    pub(in crate::http) headers: HeaderMap,
    pub(in crate::http) address: IpAddr,
}

/// Makes two organizations, Lakeside and St Mary, of the Enterprise tier, with an owner, an operator and an
/// auditor each.
pub(in crate::http) async fn two_organizations() -> World {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicI64::new(1_795_510_800_000)));
    let place = Place::new().await;
    let state = folder.path().join("state");
    let platform = Platform::open_at(&state, &place.location, Arc::clone(&clock) as _).await.unwrap();
    let platform = Arc::new(platform);
    let api = Api::over(Arc::clone(&platform), ORIGIN);
    let router = routes(Arc::new(api));
    let one = side(&platform, &router, "Lakeside", "lakeside.example").await;
    let other = side(&platform, &router, "St Mary", "stmary.example").await;
    World { platform, router, one, other, place, clock, _folder: folder }
}

async fn side(platform: &Platform, router: &Router, name: &'static str, domain: &str) -> Side {
    let host = Initiator::Host { name: "operator".into() };
    let id = platform.add_organization(&host, &name.parse().unwrap(), Tier::Enterprise).await.unwrap();
    let by =
        Initiator::Member { organization: id, role: UserRole::Owner, name: "operator".into(), proof: None };
    let user = async |role: UserRole| {
        let email = format!("{role}@{domain}").parse().unwrap();
        let invited = platform.invite(&by, &email, role, crate::platform::TokenLife::Hour).await.unwrap();
        let accepted = json!({ "token": invited.token.reveal_hex(), "name": format!("The {role}"), "password": PASSWORD });
        let asking = Asking::new("POST", "/invitations/accept").sending(accepted);
        ask(router, &Key::default(), asking).await.key()
    };
    let (owner, operator) = (user(UserRole::Owner).await, user(UserRole::Operator).await);
    let auditor = user(UserRole::Auditor).await;
    let issuing = Asking::new("POST", "/account/api-tokens")
        .sending(json!({ "name": "nightly", "role": "operator", "days": 30 }));
    let issued = ask(router, &operator, issuing).await;
    assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    let program = Key { bearer: Some(issued.body["token"].as_str().unwrap().into()), ..Key::default() };
    Side { id, owner, operator, auditor, program }
}

impl World {
    /// Returns who is signed in with the key.
    pub(in crate::http) async fn signed(&self, key: &Key) -> Signed {
        let value = key.cookies.iter().find_map(|it| it.strip_prefix("__Host-adit_session=")).unwrap();
        self.platform.signed(&SessionToken::from_hex(value).unwrap()).await.unwrap().unwrap()
    }

    pub(in crate::http) async fn ask(&self, key: &Key, method: &str, path: &str) -> Answer {
        ask(&self.router, key, Asking::new(method, path)).await
    }

    pub(in crate::http) async fn send(&self, key: &Key, method: &str, path: &str, body: Value) -> Answer {
        ask(&self.router, key, Asking::new(method, path).sending(body)).await
    }

    /// Asks with a body that is held back until something else was done.
    pub(in crate::http) async fn holding_back(
        &self,
        key: &Key,
        path: &str,
        body: Value,
        meanwhile: impl AsyncFnOnce(),
    ) -> Answer {
        let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (has_asked, may_go_on) = (Arc::clone(&asked), Arc::clone(&go_on));
        let held = futures_util::stream::once(async move {
            has_asked.notify_one();
            may_go_on.notified().await;
            Ok::<_, std::convert::Infallible>(body.to_string())
        });
        let mut request = head(key, &Asking::new("POST", path)).header(CONTENT_TYPE, "application/json");
        request.extensions_mut().unwrap().insert(Client { address: [192, 0, 2, 7].into() });
        let request = request.body(Body::from_stream(held)).unwrap();
        let doing = async {
            asked.notified().await;
            meanwhile().await;
            go_on.notify_one();
        };
        let answering = TowerToHyperService::new(self.router.clone()).call(request);
        let (response, ()) = tokio::join!(answering, doing);
        answer_of(response.unwrap()).await
    }

    pub(in crate::http) async fn sign_in(
        &self,
        key: &Key,
        organization: &str,
        email: &str,
        password: &str,
    ) -> Answer {
        let typed = json!({ "organization": organization, "email": email, "password": password });
        self.send(key, "POST", "/session", typed).await
    }

    pub(in crate::http) fn pass(&self, span: Duration) {
        self.clock.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Asking {
    /// A request below the API's base path.
    pub(in crate::http) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.parse().unwrap(),
            path: format!("/api/v1{path}"),
            body: None,
            headers: HeaderMap::new(),
            address: [192, 0, 2, 7].into(),
        }
    }

    pub(in crate::http) fn sending(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(in crate::http) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        self
    }
}

/// Asks a router as who shows the key.
pub(in crate::http) async fn ask(router: &Router, key: &Key, asking: Asking) -> Answer {
    let mut request = head(key, &asking);
    if asking.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = asking.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let mut request = request.body(body).unwrap();
    request.headers_mut().extend(asking.headers);
    request.extensions_mut().insert(Client { address: asking.address });
    let response = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
    answer_of(response).await
}

/// Returns what a request says first, as one who shows the key asks it.
fn head(key: &Key, asking: &Asking) -> Builder {
    let mut request = Request::builder().method(asking.method.clone()).uri(asking.path.as_str());
    if !key.cookies.is_empty() {
        request = request.header(COOKIE, key.cookies.join("; "));
    }
    if let Some(csrf) = &key.csrf {
        request = request.header("x-csrf-token", csrf);
    }
    if let Some(bearer) = &key.bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
    }
    request
}

async fn answer_of(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body, bytes }
}

impl Answer {
    /// Returns what a browser keeps and sends from then on.
    #[track_caller]
    pub(in crate::http) fn key(&self) -> Key {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        let cookies = self.headers.get_all(SET_COOKIE).iter();
        let cookies = cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        let session = self.body.get("session").unwrap_or(&self.body);
        let csrf = session["csrf_token"].as_str().map(str::to_owned);
        Key { cookies: cookies.collect(), csrf, bearer: None }
    }

    /// Returns the kind of problem that it tells of.
    pub(in crate::http) fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:adit:problem:").unwrap_or(kind)
    }
}

impl Key {
    /// Returns the same without the session, as a browser has it that was signed out.
    pub(in crate::http) fn device(&self) -> Self {
        let cookies = self.cookies.iter().filter(|cookie| cookie.contains("device")).cloned().collect();
        Self { cookies, csrf: None, bearer: None }
    }
}
