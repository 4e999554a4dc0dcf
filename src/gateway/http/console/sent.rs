//! What was sent from a form, kept for as long as it is answered: what is refused is shown again as it was sent. Where
//! there is no page for that, as while the database is away or once the session has ended, a page of its own keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::Console;
use super::ask::Refused;
use super::frame::{Frame, Shown, page_refused};
use crate::http::caller::is_from_elsewhere;
use adit_core::domain::limits::API_BODY_BYTES_MAX;

const FORM: &str = "application/x-www-form-urlencoded";
/// What no page shows again, and what each is called.
const SECRETS: [(&str, &str); 7] = [
    ("password", "Password"),
    ("old", "Old password"),
    ("new", "New password"),
    ("client_secret", "Client secret"),
    ("code", "Code"),
    ("token", "Token"),
    ("link", ""),
];
/// What nobody has typed or chosen.
const UNSEEN: [&str; 3] = ["csrf", "key", "tag"];

/// What a form held when it was sent, without passwords, codes and secrets.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    path: String,
    fields: BTreeMap<String, String>,
    /// What of the secrets stood in it.
    secrets: Vec<(&'static str, &'static str)>,
}

/// On an answer that says why something is refused without the form that it was sent from.
#[derive(Debug, Clone)]
pub(super) struct WithoutForm(pub(super) Refused);

impl Sent {
    fn read(path: &str, bytes: &[u8]) -> Self {
        let mut sent = Self { path: path.to_owned(), fields: BTreeMap::new(), secrets: Vec::new() };
        for (name, value) in form_urlencoded::parse(bytes) {
            match SECRETS.into_iter().find(|(secret, _)| *secret == name) {
                Some((_, label)) if label.is_empty() || value.is_empty() => {}
                Some(secret) => sent.secrets.push(secret),
                None => drop(sent.fields.insert(name.into_owned(), value.into_owned())),
            }
        }
        sent
    }

    pub(super) fn is_from(&self, path: &str) -> bool {
        self.path == path
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns what somebody has typed or chosen.
    fn seen(&self) -> Vec<(String, &str)> {
        let seen = self.fields.iter().filter(|(name, _)| !UNSEEN.contains(&name.as_str()));
        seen.map(|(name, value)| (label(name), value.as_str())).collect()
    }

    fn says_something(&self) -> bool {
        !self.secrets.is_empty() || !self.seen().is_empty()
    }
}

/// Returns what a field is called by its name, as in "Role claim".
fn label(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect::<String>().replace('_', " ")
}

/// Shows what was sent, to be sent again.
#[derive(Debug, Template)]
#[template(path = "kept.html")]
struct Kept<'s> {
    frame: Frame,
    refused: &'s Refused,
    sent: &'s Sent,
}

/// Keeps what a form sends while it is answered; see [`WithoutForm`]. What comes from another site is not drawn on
/// pages of ours.
pub(super) async fn keep(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let is_own = is_form(request.headers()) && !is_from_elsewhere(request.headers(), &console.origin);
    if request.method() != Method::POST || !is_own {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, API_BODY_BYTES_MAX).await else {
        return Shown::from(too_long()).into_response();
    };
    let sent = Sent::read(parts.uri.path(), &bytes);
    parts.extensions.insert(sent.clone());
    let answer = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    match answer.extensions().get::<WithoutForm>() {
        Some(WithoutForm(refused)) if sent.says_something() => {
            let frame = Frame::outside(refused.title.clone());
            page_refused(refused, &Kept { frame, refused, sent: &sent }).into_response()
        }
        _ => answer,
    }
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

pub(super) fn too_long() -> Refused {
    let why = "the form is longer than a form may be; go back, and shorten what it holds";
    unreadable(StatusCode::PAYLOAD_TOO_LARGE, why)
}

pub(super) fn unreadable(status: StatusCode, why: &str) -> Refused {
    let title = "The form cannot be read".into();
    Refused { status, kind: "malformed".into(), title, detail: why.into(), field: None, retry_after: None }
}
