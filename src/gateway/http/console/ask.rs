//! Asks the API as the browser that wants a page: with its cookies, from its address, in its proof's name.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, COOKIE, ETAG, IF_MATCH, ORIGIN, RETRY_AFTER, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::Console;
use super::sent::Sent;
use super::shapes::Session;
use crate::http::caller::UNATTENDED;
use crate::http::{Client, Connection, Proof};

const BASE: &str = "/api/v1";
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
const ONCE: HeaderName = HeaderName::from_static("idempotency-key");
/// What of a browser's request tells who it is and where it comes from.
const HANDED_ON: [HeaderName; 5] = [COOKIE, ORIGIN, USER_AGENT, SITE, UNATTENDED];
/// The kind of what is refused because the form is of another user.
pub(super) const ANOTHERS: &str = "of-another-user";
/// The longest answer that a page is made of.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A browser that wants a page, as the API sees it.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    console: Arc<Console>,
    headers: HeaderMap,
    extensions: Extensions,
    /// Whose form it sends, if it sends one of somebody who was signed in.
    form_of: Option<String>,
}

/// Why the API does not do what was asked.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The last part of the problem's type, as in `rule`.
    pub(super) kind: Box<str>,
    pub(super) title: Box<str>,
    pub(super) detail: String,
    /// The field that it is about, if it is about one.
    pub(super) field: Option<Box<str>>,
    pub(super) retry_after: Option<HeaderValue>,
}

/// What the API answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

/// A change to be asked for.
#[derive(Debug)]
pub(super) struct Change<'c> {
    method: Method,
    path: &'c str,
    body: Option<serde_json::Value>,
    csrf: Option<&'c str>,
    tag: Option<&'c str>,
    key: Option<&'c str>,
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Self::Rejection> {
        let mut headers = HeaderMap::new();
        for name in HANDED_ON {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let form_of = parts.extensions.get::<Sent>().and_then(Sent::user).map(str::to_owned);
        Ok(Self { console: Arc::clone(console), headers, extensions: of_asker(&parts.extensions), form_of })
    }
}

/// Returns what the front door and the limits have said of a request; not where it was routed to, which is otherwise
/// in the API.
fn of_asker(extensions: &Extensions) -> Extensions {
    let mut kept = Extensions::new();
    keep::<Client>(extensions, &mut kept);
    keep::<Proof>(extensions, &mut kept);
    keep::<Arc<Connection>>(extensions, &mut kept);
    kept
}

fn keep<T: Clone + Send + Sync + 'static>(from: &Extensions, to: &mut Extensions) {
    if let Some(said) = from.get::<T>() {
        to.insert(said.clone());
    }
}

impl Visit {
    /// Returns who is signed in.
    ///
    /// Fails too where the form that is sent was shown to another user of the same browser: what the one has typed is
    /// not shown to the other, and not done in the other's name.
    pub(super) async fn session(&self) -> Result<Session, Refused> {
        let session: Session = self.get("/session").await?;
        match &self.form_of {
            Some(user) if *user != session.user.id => Err(Refused::anothers()),
            _ => Ok(session),
        }
    }

    /// Reads what stands at a path below the API's.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        self.ask(Method::GET, path, None, &[]).await?.read()
    }

    /// Reads it with by what its state is known.
    pub(super) async fn get_tagged<T: DeserializeOwned>(&self, path: &str) -> Result<(T, String), Refused> {
        let answer = self.ask(Method::GET, path, None, &[]).await?;
        Ok((answer.read()?, answer.tag().unwrap_or_default().to_owned()))
    }

    /// Reads a text.
    pub(super) async fn text(&self, path: &str) -> Result<String, Refused> {
        let answer = self.ask(Method::GET, path, None, &[]).await?;
        Ok(String::from_utf8_lossy(&answer.bytes).into_owned())
    }

    /// Asks for a change.
    pub(super) async fn change(&self, change: Change<'_>) -> Result<Answer, Refused> {
        let mut headers = Vec::new();
        for (name, value) in [(CSRF, change.csrf), (IF_MATCH, change.tag), (ONCE, change.key)] {
            // What is no header's value is no proof either.
            headers
                .extend(value.and_then(|text| HeaderValue::from_str(text).ok()).map(|value| (name, value)));
        }
        self.ask(change.method, change.path, change.body, &headers).await
    }

    /// Returns what the browser asked for as it stands: to be streamed on.
    pub(super) async fn response(&self, path: &str) -> axum::response::Response {
        self.call(Method::GET, path, None, &[]).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Refused> {
        let (parts, body) = self.call(method, path, body, headers).await.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| Refused::failed())?;
        if parts.status.is_success() {
            return Ok(Answer { headers: parts.headers, bytes });
        }
        Err(Refused::read(parts.status, &parts.headers, &bytes))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> axum::response::Response {
        let mut request =
            Request::new(body.as_ref().map_or_else(Body::empty, |it| Body::from(it.to_string())));
        *request.method_mut() = method;
        let Ok(uri) = format!("{BASE}{path}").parse() else {
            return axum::response::IntoResponse::into_response(StatusCode::NOT_FOUND);
        };
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        let answering = TowerToHyperService::new(self.console.api.clone()).call(request);
        answering.await.unwrap_or_else(|never| match never {})
    }
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.bytes).map_err(|_| Refused::failed())
    }

    /// By what a state of the thing is known.
    pub(super) fn tag(&self) -> Option<&str> {
        self.headers.get(ETAG).and_then(|tag| tag.to_str().ok())
    }
}

impl<'c> Change<'c> {
    pub(super) fn new(method: Method, path: &'c str) -> Self {
        Self { method, path, body: None, csrf: None, tag: None, key: None }
    }

    pub(super) fn post(path: &'c str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn sending(self, body: &impl Serialize) -> Self {
        Self { body: serde_json::to_value(body).ok(), ..self }
    }

    /// Shows what only a page of ours knows.
    pub(super) fn proving(self, csrf: &'c str) -> Self {
        Self { csrf: Some(csrf), ..self }
    }

    /// Makes a thing once, however often the form is sent.
    pub(super) fn once(self, key: Option<&'c str>) -> Self {
        Self { key, ..self }
    }

    /// Changes only what still is as it was shown.
    pub(super) fn of_state(self, tag: Option<&'c str>) -> Self {
        Self { tag, ..self }
    }
}

impl Refused {
    fn read(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Details {
            r#type: String,
            title: Box<str>,
            detail: String,
            field: Option<Box<str>>,
        }
        let retry_after = headers.get(RETRY_AFTER).cloned();
        let Ok(Details { r#type, title, detail, field }) = serde_json::from_slice(bytes) else {
            return Self { status, ..Self::failed() };
        };
        let kind = Box::<str>::from(r#type.rsplit(':').next().unwrap_or_default());
        // Who reads it is at it.
        let title = if &*kind == "sign-in" { "Not signed in".into() } else { title };
        Self { status, kind, title, detail, field, retry_after }
    }

    /// What a page says by itself, where nothing was asked for.
    pub(super) fn said(title: &str, detail: impl Into<String>) -> Self {
        let (title, detail) = (title.into(), detail.into());
        Self { status: StatusCode::OK, kind: "said".into(), title, detail, field: None, retry_after: None }
    }

    /// Of a form whose session has ended before it was sent.
    pub(super) fn signed_out() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            kind: "sign-in".into(),
            title: "You are not signed in any more".into(),
            detail: "Your session had ended, so what you sent was not done. Sign in, and go on with it here."
                .into(),
            field: None,
            retry_after: None,
        }
    }

    /// Of a form that was sent, has made something, and is sent again with something else.
    pub(super) fn of_made(self) -> Self {
        let title = "What you sent first was made".into();
        Self { title, detail: "What you sent first was made; look before you send this.".into(), ..self }
    }

    /// Of a form that was shown to another user, and is not shown to this one.
    fn anothers() -> Self {
        let why =
            "somebody else was signed in here when this form was shown, so nothing was done; begin anew";
        Self {
            status: StatusCode::FORBIDDEN,
            kind: ANOTHERS.into(),
            title: "The form is of another user".into(),
            detail: why.into(),
            field: None,
            retry_after: None,
        }
    }

    /// Of a value that no form of ours offers.
    pub(super) fn unoffered(field: &'static str, offered: &[&str]) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "invalid".into(),
            title: "A value is not one that is expected".into(),
            detail: format!("choose one of {}", offered.join(", ")),
            field: Some(field.into()),
            retry_after: None,
        }
    }

    /// Of a form of ours that was shown in an earlier session.
    pub(super) fn of_earlier_session(self) -> Self {
        let title = "The form is of an earlier session".into();
        let detail = "you have signed in again since it was shown, so nothing was done; look through it, and send it again";
        Self { title, detail: detail.into(), ..self }
    }

    fn failed() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "internal".into(),
            title: "The gateway failed".into(),
            detail: "this is the gateway's fault; its log says more".into(),
            field: None,
            retry_after: None,
        }
    }

    /// Of what the same form has made before, and nobody can show again.
    pub(super) fn shown_before() -> Self {
        Self {
            status: StatusCode::CONFLICT,
            kind: "shown-before".into(),
            title: "It was shown before".into(),
            detail:
                "what this form made was shown once, when it was sent first; make another, which voids it"
                    .into(),
            field: None,
            retry_after: None,
        }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        &*self.kind == kind
    }
}

/// Returns a path with a query of those that say something.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let said = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Returns an id for a path: what is none names nothing, and reaches no other path.
pub(super) fn segment(id: &str) -> &str {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id { id } else { "none" }
}
