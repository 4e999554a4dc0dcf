//! Single sign-on over HTTP: cookies, redirects, and what no answer may show. The provider is a stand-in.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{CONTENT_TYPE, COOKIE, HeaderName};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::*;
use crate::http::Client;
use crate::http::api::routes as every_route;
use crate::openid::stand_in::{CLIENT, CLIENT_SECRET, StandInProvider};
use crate::platform::{Initiator, Platform};
use crate::set_clock::Clock;
use crate::store::fixture::Place;
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::limits::PROVIDER_KNOWN_LIFE;
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::SessionToken;
use adit_core::domain::tier::Tier;
use adit_net::identity::time::TimeSource;
use adit_net::transport::https_client::HttpsClient;

const ORIGIN_HERE: &str = "https://console.example.org";

struct Site {
    router: Router,
    organization: OrganizationId,
    provider: StandInProvider,
    clock: Arc<Clock>,
    api: Arc<Api>,
    _folder: tempfile::TempDir,
    _place: Place,
}

/// An answer as a browser has it.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }

    fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|it| it.to_str().unwrap()).collect()
    }
}

impl Site {
    /// St Mary, without a provider yet.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(1_795_510_800_000)));
        let place = Place::new().await;
        let state = folder.path().join("state");
        let platform = Platform::open_at(&state, &place.location, clock.clone()).await.unwrap();
        let platform = platform.asking_providers_by(HttpsClient::new(None).unwrap().plain_on_loopback());
        let host = Initiator::Host { name: "operator".into() };
        let name = "St Mary".parse().unwrap();
        let organization = platform.add_organization(&host, &name, Tier::Free).await.unwrap();
        let provider = StandInProvider::start(clock.now()).await;
        let api = Arc::new(Api::over(Arc::new(platform), ORIGIN_HERE));
        let router = every_route(Arc::clone(&api));
        Self { router, organization, provider, clock, api, _folder: folder, _place: place }
    }

    async fn with_provider() -> Self {
        let site = Self::new().await;
        assert_eq!(site.set(&site.settings()).await.status, 200);
        site
    }

    fn settings(&self) -> Value {
        json!({
            "issuer": self.provider.issuer, "client_id": CLIENT, "client_secret": CLIENT_SECRET,
            "role_claim": "roles", "owner_value": "adit-owner", "auditor_value": "adit-auditor",
        })
    }

    fn caller(&self, role: UserRole) -> Caller {
        let organization = self.organization;
        Caller {
            user: UserId::from_random([1; 16]),
            organization,
            initiator: Initiator::Member { organization, role, name: "Ada".into(), proof: None },
        }
    }

    async fn ask(&self, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Client { address: [192, 0, 2, 7].into() });
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn as_user(&self, role: UserRole, method: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri("/api/v1/organization/identity-provider");
        let request = request.header(CONTENT_TYPE, "application/json").extension(self.caller(role));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.ask(request.body(body).unwrap()).await
    }

    async fn set(&self, settings: &Value) -> Answer {
        self.as_user(UserRole::Owner, "PUT", Some(settings)).await
    }

    async fn begin(&self, wanted: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post("/api/v1/session/single-sign-on");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(CONTENT_TYPE, "application/json");
        self.ask(request.body(Body::from(wanted.to_string())).unwrap()).await
    }

    /// Begins, signs in at the provider, and comes back; `query` may change with what.
    async fn sign_in(&self, go_to: &str, query: impl FnOnce(String) -> String) -> Answer {
        let begun = self.begin(&json!({ "organization": "ST MARY", "go_to": go_to }), &[]).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let cookie = begun.cookies()[0].split(';').next().unwrap().to_owned();
        let claims = json!({ "sub": "ada", "email": "ada@st-mary.example", "roles": ["adit-auditor"] });
        let back = self.provider.sign_in(begun.body["authorization_url"].as_str().unwrap(), claims);
        let issuer: String = byte_serialize(self.provider.issuer.as_bytes()).collect();
        let asked = query(format!("state={}&code={}&iss={issuer}&session_state=x", back.state, back.code));
        self.come_back(&asked, &cookie).await
    }

    async fn come_back(&self, query: &str, cookie: &str) -> Answer {
        self.come_back_to(&self.organization.to_string(), query, cookie).await
    }

    async fn come_back_to(&self, organization: &str, query: &str, cookie: &str) -> Answer {
        let request = Request::get(format!("{CALLBACKS}/{organization}?{query}")).header(COOKIE, cookie);
        self.ask(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn who_signs_in_at_the_provider_goes_on_with_a_session() {
    let site = Site::with_provider().await;
    let answer = site.sign_in("/servers?x=1", |query| query).await;
    assert_eq!((answer.status, answer.header(LOCATION)), (303, "/servers?x=1"));
    assert_eq!((answer.header(CACHE_CONTROL), answer.header(REFERRER_POLICY)), ("no-store", "no-referrer"));
    let (value, attributes) = answer.cookies()[0].split_once(';').unwrap();
    let token = value.strip_prefix("__Host-adit_session=").unwrap();
    assert!(SessionToken::from_hex(token).is_ok());
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Strict");
}

#[tokio::test]
async fn nobody_is_led_on_to_another_site() {
    let site = Site::with_provider().await;
    for elsewhere in ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"] {
        let answer = site.sign_in(elsewhere, |query| query).await;
        assert_eq!((answer.status, answer.header(LOCATION)), (303, "/"), "{elsewhere}");
    }
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_why_and_gets_no_session() {
    let site = Site::with_provider().await;
    let told = async |query: &dyn Fn(String) -> String| {
        let answer = site.sign_in("/", query).await;
        assert_eq!(answer.status, 303);
        assert!(answer.cookies().iter().all(|cookie| !cookie.starts_with(cookies::SESSION)), "{answer:?}");
        let location = answer.header(LOCATION).to_owned();
        assert!(location.contains("&detail="), "{location}");
        location.split('&').next().unwrap().to_owned()
    };
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |query: String| query.replace(&from, &to)
    };
    assert_eq!(
        told(&|query| format!("{query}&error=access_denied")).await,
        "/sign-in?problem=denied#problem=denied"
    );
    assert_eq!(told(&replaced("code=", "code=0")).await, "/sign-in?problem=not-proven#problem=not-proven");
    assert_eq!(told(&replaced("state=", "state=00")).await, "/sign-in?problem=expired#problem=expired");
    assert_eq!(told(&replaced("iss=", "iss=x")).await, "/sign-in?problem=other-issuer#problem=other-issuer");
    assert_eq!(told(&replaced("iss=", "no=")).await, "/sign-in?problem=other-issuer#problem=other-issuer");
    assert_eq!(
        told(&|query| format!("{query}&state=1")).await,
        "/sign-in?problem=expired#problem=expired",
        "said twice"
    );
    assert_eq!(told(&|_| String::new()).await, "/sign-in?problem=expired#problem=expired");
}

#[tokio::test]
async fn the_answer_is_worth_nothing_without_the_cookie_of_its_browser() {
    let site = Site::with_provider().await;
    for cookie in ["", "__Host-adit_sign_in=zz", &format!("__Host-adit_sign_in={}", "ab".repeat(32))] {
        let begun = site.begin(&json!({ "organization": "St Mary" }), &[]).await;
        let claims = json!({ "sub": "ada", "email": "ada@st-mary.example", "roles": "adit-owner" });
        let back = site.provider.sign_in(begun.body["authorization_url"].as_str().unwrap(), claims);
        let query = format!("state={}&code={}&iss={}", back.state, back.code, site.provider.issuer);
        let answer = site.come_back(&query, cookie).await;
        assert!(
            answer.header(LOCATION).starts_with("/sign-in?problem=other-browser#problem=other-browser"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_browser_keeps_its_cookie_for_all_its_tabs() {
    let site = Site::with_provider().await;
    let wanted = json!({ "organization": "St Mary" });
    let first = site.begin(&wanted, &[]).await;
    let first = first.cookies()[0];
    assert!(first.ends_with("; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax"), "{first}");
    let pair = first.split(';').next().unwrap();
    let second = site.begin(&wanted, &[("cookie", &format!("a=b; {pair}"))]).await;
    assert_eq!(second.cookies()[0], first);
}

#[tokio::test]
async fn two_tabs_of_one_browser_sign_in_one_after_the_other() {
    let site = Site::with_provider().await;
    let wanted = json!({ "organization": "St Mary" });
    let first = site.begin(&wanted, &[]).await;
    let pair = first.cookies()[0].split(';').next().unwrap().to_owned();
    let second = site.begin(&wanted, &[("cookie", &pair)]).await;
    for begun in [&second, &first] {
        let claims = json!({ "sub": "ada", "email": "ada@st-mary.example", "roles": "adit-auditor" });
        let back = site.provider.sign_in(begun.body["authorization_url"].as_str().unwrap(), claims);
        let query = format!("state={}&code={}&iss={}", back.state, back.code, site.provider.issuer);
        let answer = site.come_back(&query, &pair).await;
        assert_eq!(answer.header(LOCATION), "/", "{answer:?}");
        let kept = answer.cookies().iter().all(|cookie| !cookie.starts_with(cookies::SIGN_IN));
        assert!(kept, "the other tab's cookie stays: {answer:?}");
        let again = site.come_back(&query, &pair).await;
        let told = again.header(LOCATION);
        assert!(
            told.starts_with("/sign-in?problem=expired#problem=expired&detail=")
                && told.contains("begin+anew"),
            "{told}"
        );
        assert!(again.cookies().is_empty(), "{again:?}");
    }
}

#[tokio::test]
async fn each_organization_has_a_callback_of_its_own_and_is_shown_it() {
    let site = Site::with_provider().await;
    let own = format!("{ORIGIN_HERE}{CALLBACKS}/{}", site.organization);
    assert_eq!(site.as_user(UserRole::Auditor, "GET", None).await.body["redirect_uri"], own.as_str());
    let wanted = json!({ "organization": "St Mary" });
    let other = "00000000-0000-4000-8000-000000000000";
    for elsewhere in [other, "x", "%00"] {
        let begun = site.begin(&wanted, &[]).await;
        let cookie = begun.cookies()[0].split(';').next().unwrap().to_owned();
        let url = begun.body["authorization_url"].as_str().unwrap().to_owned();
        let escaped: String = byte_serialize(own.as_bytes()).collect();
        assert!(url.contains(&format!("redirect_uri={escaped}&")), "{url}");
        let claims = json!({ "sub": "ada", "email": "ada@st-mary.example", "roles": "adit-auditor" });
        let back = site.provider.sign_in(&url, claims);
        let query = format!("state={}&code={}&iss={}", back.state, back.code, site.provider.issuer);
        let answer = site.come_back_to(elsewhere, &query, &cookie).await;
        let told = answer.header(LOCATION);
        assert!(
            told.starts_with("/sign-in?problem=other-issuer#problem=other-issuer"),
            "{elsewhere}: {answer:?}"
        );
    }
    let request = Request::get(CALLBACKS).body(Body::empty()).unwrap();
    assert_eq!(site.ask(request).await.status, 404, "there is none for all");
}

#[tokio::test]
async fn no_other_site_begins_a_sign_in() {
    let site = Site::with_provider().await;
    let wanted = json!({ "organization": "St Mary" });
    for header in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(site.begin(&wanted, &[header]).await.status, 403, "{header:?}");
    }
    assert_eq!(site.begin(&wanted, &[("origin", ORIGIN_HERE)]).await.status, 200);
}

#[tokio::test]
async fn an_organization_without_a_provider_is_like_none() {
    let site = Site::new().await;
    let known = site.begin(&json!({ "organization": "St Mary" }), &[]).await;
    let unknown = site.begin(&json!({ "organization": "Nobody" }), &[]).await;
    assert_eq!((known.status, &known.body), (404, &unknown.body));
}

#[tokio::test]
async fn a_provider_that_is_away_is_answered_503_with_what_helps() {
    let site = Site::with_provider().await;
    site.provider.lie(|lies| lies.is_away = true);
    let span = i64::try_from(PROVIDER_KNOWN_LIFE.as_millis()).unwrap();
    site.clock.0.fetch_add(span, Ordering::SeqCst);
    let answer = site.begin(&json!({ "organization": "St Mary" }), &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body["type"], "urn:adit:problem:provider-away");
    assert!(answer.body["detail"].as_str().unwrap().contains("password"), "{}", answer.body);
    assert_eq!(answer.header(axum::http::header::RETRY_AFTER), "30");
}

#[tokio::test]
async fn everybody_of_the_organization_sees_the_provider_and_nobody_its_secret() {
    let site = Site::with_provider().await;
    for role in UserRole::ALL {
        let answer = site.as_user(role, "GET", None).await;
        let keys: Vec<_> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "auditor_value",
            "changed_at",
            "client_id",
            "has_client_secret",
            "issuer",
            "owner_value",
            "passwords_for_owners_only",
            "redirect_uri",
            "role_claim",
        ];
        assert_eq!(keys, expected, "{role}");
        assert!(!answer.body.to_string().contains(CLIENT_SECRET));
    }
    for role in [UserRole::Operator, UserRole::Auditor] {
        assert_eq!(site.as_user(role, "PUT", Some(&site.settings())).await.status, 403);
        assert_eq!(site.as_user(role, "DELETE", None).await.status, 403);
    }
    let mut settings = site.settings();
    settings["passwords_for_owners_only"] = true.into();
    assert_eq!(site.set(&settings).await.body["passwords_for_owners_only"], true);
    assert_eq!(site.as_user(UserRole::Owner, "DELETE", None).await.status, 204);
    assert_eq!(site.as_user(UserRole::Auditor, "GET", None).await.status, 404);
    assert_eq!(site.as_user(UserRole::Owner, "DELETE", None).await.status, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_provider_is_said_and_no_secret_repeated() {
    let site = Site::new().await;
    for (field, value, why) in [
        ("issuer", json!("https://10.0.0.1/"), "identity_providers"),
        ("issuer", json!("ftp://id.example/"), "`issuer`"),
        ("client_secret", json!(""), "`client_secret`"),
        ("client_secret", json!(["hunter2"]), "fields and types"),
        ("client_secret", json!("hunter2\u{202e}"), "`client_secret`"),
        ("role_claim", json!(""), "`role_claim`"),
        ("secret", json!("hunter2"), "fields and types"),
    ] {
        let mut settings = site.settings();
        settings[field] = value;
        let answer = site.set(&settings).await;
        assert_eq!(answer.status, 422, "{field}: {answer:?}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(why) && !detail.contains("hunter2"), "{detail}");
    }
}

#[tokio::test]
async fn neither_the_secret_nor_a_code_or_state_stands_in_the_audit_log() {
    let site = Site::with_provider().await;
    let mut seen = String::new();
    site.sign_in("/", |query| {
        seen.clone_from(&query);
        query
    })
    .await;
    let host = Initiator::Host { name: "operator".into() };
    let log = format!("{:?}", site.api.platform.audit(&host, u32::MAX).await.unwrap());
    assert!(log.contains("sign in") && log.contains("set identity provider"));
    assert!(!log.contains(CLIENT_SECRET));
    for part in seen.split('&').filter(|part| part.starts_with("code") || part.starts_with("state")) {
        assert!(!log.contains(part.split_once('=').unwrap().1), "{part}");
    }
}
