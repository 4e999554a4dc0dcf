//! A browser without script: it keeps cookies, sends forms and finds links.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE,
};
use axum::http::{HeaderMap, Method, Request};
use axum::response::IntoResponse;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use url::form_urlencoded;

use crate::http::Client;
use crate::http::api::tests::world::{self, Key, World, two_organizations};
use crate::http::console::{self, Console};
use crate::http::problem::{Problem, ProblemKind};
use crate::platform::Platform;
use adit_core::domain::id::OrganizationId;

pub(super) use world::PASSWORD;

#[derive(Debug, Clone, Default)]
pub(super) struct Browser {
    pub(super) cookies: Vec<String>,
    pub(super) csrf: String,
    /// Where its forms say they come from, if not from here.
    pub(super) origin: String,
    /// Whether its pages ask by themselves, and nobody sits before it.
    pub(super) is_unattended: bool,
}

pub(super) struct Page {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) text: String,
}

/// Two organizations' pages.
pub(super) struct Pages {
    world: World,
    router: Router,
}

impl From<&Key> for Browser {
    fn from(key: &Key) -> Self {
        let csrf = key.csrf.clone().unwrap_or_default();
        Self { cookies: key.cookies.clone(), csrf, ..Self::default() }
    }
}

impl Pages {
    pub(super) async fn new() -> Self {
        let world = two_organizations().await;
        let api = world.router.clone();
        let pages = console::routes(Console::new(api.clone(), world::ORIGIN.into()));
        let router = api.merge(pages).fallback(console::nothing_here);
        Self { world, router }
    }

    pub(super) fn platform(&self) -> &Platform {
        &self.world.platform
    }

    /// Serves other pages.
    pub(super) fn over(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// Serves the pages over an API that changes things, and reads none but the session.
    pub(super) fn whose_reading_fails(self) -> Self {
        let reading_fails = async |request: axum::extract::Request, next: axum::middleware::Next| {
            if request.method() == Method::GET && !request.uri().path().ends_with("/session") {
                return Problem::new(ProblemKind::Away, "nothing was changed; try again").into_response();
            }
            next.run(request).await
        };
        let api = self.world.router.clone().layer(axum::middleware::from_fn(reading_fails));
        self.over(console::routes(Console::new(api, world::ORIGIN.into())))
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.world.pass(span);
    }

    /// Returns both organizations.
    pub(super) fn organizations(&self) -> [OrganizationId; 2] {
        [self.world.one.id, self.world.other.id]
    }

    pub(super) fn owner(&self) -> Browser {
        (&self.world.one.owner).into()
    }

    pub(super) fn auditor(&self) -> Browser {
        (&self.world.one.auditor).into()
    }

    pub(super) fn other_owner(&self) -> Browser {
        (&self.world.other.owner).into()
    }

    pub(super) fn everybody(&self) -> [Browser; 3] {
        [&self.world.one.owner, &self.world.one.operator, &self.world.one.auditor].map(Browser::from)
    }

    pub(super) async fn get(&self, browser: &Browser, path: &str) -> Page {
        self.ask(browser, Method::GET, path, Body::empty()).await
    }

    /// Sends a form of a page.
    pub(super) async fn post(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .append_pair("csrf", &browser.csrf)
            .finish();
        self.ask(browser, Method::POST, path, Body::from(form)).await
    }

    /// Sends a form as it was filled in.
    pub(super) async fn send(&self, browser: &Browser, path: &str, sent: &[(String, String)]) -> Page {
        let fields: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(browser, path, &fields).await
    }

    pub(super) async fn sign_in(&self, fields: &[(&str, &str)]) -> Page {
        self.post(&Browser::default(), "/sign-in", &[fields, &[("password", PASSWORD)]].concat()).await
    }

    /// Sends a form that must do what it says.
    pub(super) async fn done(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) {
        self.made(browser, path, fields).await;
    }

    /// Does so; returns where it leads.
    pub(super) async fn made(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> String {
        let page = self.post(browser, path, fields).await;
        assert_eq!(page.status, 303, "{path}: {}", page.text);
        page.location().to_owned()
    }

    /// Returns the first form or link on a page that ends so.
    pub(super) async fn link(&self, browser: &Browser, path: &str, end: &str) -> String {
        let page = self.get(browser, path).await;
        let found = page.paths().into_iter().find(|path| path.ends_with(end));
        found.unwrap_or_else(|| panic!("nothing on {path} ends with {end}: {}", page.text))
    }

    /// Returns the page of the only connection.
    pub(super) async fn connection(&self, browser: &Browser) -> String {
        let page = self.get(browser, "/connections").await;
        let found = page.paths().into_iter().find(|path| path.starts_with("/connections/"));
        found.unwrap_or_else(|| panic!("no connection: {}", page.text))
    }

    async fn ask(&self, browser: &Browser, method: Method, path: &str, body: Body) -> Page {
        let mut request = Request::builder().method(&method).uri(path).header(ACCEPT, "text/html");
        if !browser.cookies.is_empty() {
            request = request.header(COOKIE, browser.cookies.join("; "));
        }
        if browser.is_unattended {
            request = request.header("x-unattended", "1");
        }
        if method == Method::POST {
            let origin = if browser.origin.is_empty() { world::ORIGIN } else { &browser.origin };
            request =
                request.header(ORIGIN, origin).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(Client { address: [192, 0, 2, 7].into() });
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Page { status: parts.status.as_u16(), headers: parts.headers, text }
    }
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |to| to.to_str().unwrap())
    }

    /// Returns the browser that it signs in.
    pub(super) fn browser(&self) -> Browser {
        let cookies = self.headers.get_all(SET_COOKIE).iter();
        let cookies = cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        Browser { cookies: cookies.collect(), ..Browser::default() }
    }

    /// Returns where its links and forms lead.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for name in ["href=\"", "action=\""] {
            let found = self.text.split(name).skip(1).filter_map(|rest| rest.split('"').next());
            paths.extend(found.map(str::to_owned));
        }
        paths
    }

    pub(super) fn assets(&self) -> Vec<String> {
        let found = self.text.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        let mut assets: Vec<_> = found.map(|name| format!("/assets/{name}")).collect();
        assets.sort();
        assets.dedup();
        assets
    }

    /// Nothing inline, nothing of another host, and the policy that says so.
    #[track_caller]
    pub(super) fn assert_is_ours(&self, path: &str) {
        let policy = self.headers.get(CONTENT_SECURITY_POLICY).map_or("", |it| it.to_str().unwrap());
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        for inline in [" style=\"", " onclick=", "<style", "javascript:", "src=\"http", "href=\"http"] {
            assert!(!self.text.contains(inline), "{path} has {inline}");
        }
        assert_eq!(self.text.matches("<script").count(), 1, "{path}");
        assert_eq!(self.text.matches("<h1").count(), 1, "{path}");
    }
}
