//! What was sent from a form, kept for as long as it is answered: what is refused is shown again as it was sent. Where
//! there is no page for that, as while the database is away or once the session has ended, a page of its own keeps it.

use std::collections::BTreeMap;
use std::fmt;
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
use super::ask::{ANOTHERS, Refused};
use super::frame::{Frame, Shown, page_of, page_refused};
use super::shapes::PROOF_OF;
use crate::http::caller::is_from_elsewhere;
use adit_core::domain::limits::API_BODY_BYTES_MAX;

const FORM: &str = "application/x-www-form-urlencoded";
/// What no page shows again, and what each is called.
pub(super) const SECRETS: [(&str, &str); 7] = [
    ("password", "Password"),
    ("old", "Old password"),
    ("new", "New password"),
    ("client_secret", "Client secret"),
    ("code", "Code"),
    ("token", "Token"),
    ("link", ""),
];
/// What else forms of ours hold, and what is called how; without a name what nobody has typed or chosen.
pub(super) const KEPT: [(&str, &str); 36] = [
    ("csrf", ""),
    ("key", ""),
    ("tag", ""),
    (EMPTIED, ""),
    ("channel", ""),
    ("to", ""),
    ("disabled", ""),
    ("needed", ""),
    ("how", ""),
    ("username", ""),
    ("elsewhere", ""),
    ("name", "Name"),
    ("description", "Description"),
    ("version", "Version of Mirth"),
    ("protocol", "Protocol"),
    ("published", "Publish it"),
    ("server", "Server"),
    ("source_server", "Send from"),
    ("offer", "Channel"),
    ("holder", "Peer"),
    ("recipient", "Who manages it"),
    ("access", "Access"),
    ("life", "Good for"),
    ("role", "Role"),
    ("days", "Days"),
    ("tier", "Tier"),
    ("email", "E-mail address"),
    ("organization", "Organization"),
    ("issuer", "Issuer"),
    ("client_id", "Client ID"),
    ("role_claim", "Claim that gives roles"),
    ("owner_value", "Its value for owners"),
    ("operator_value", "Its value for operators"),
    ("auditor_value", "Its value for auditors"),
    ("passwords_for_owners_only", "Nobody but owners signs in with a password as well"),
    ("revoke_api_tokens", "Revoke my API tokens too"),
];
/// Which secrets the page that kept a form has left out.
const EMPTIED: &str = "emptied";
/// As many fields of a form are kept; no form of ours has half of them.
const FIELDS_KEPT_MAX: usize = 32;
/// What is done by which form. Those of a thing that only its id tells are not here: nobody repeats what cannot be told.
const ACTS: [(&str, &str); 11] = [
    ("/account/tokens", "Make an API token"),
    ("/account/password", "Change your password"),
    ("/channels", "Add a channel"),
    ("/invitation", "Set your password"),
    ("/organization/name", "Rename your organization"),
    ("/organization/single-sign-on", "Set up single sign-on"),
    ("/organization/tier", "Change your organization's tier"),
    ("/peering", "Ask for an agreement"),
    ("/servers", "Add a server"),
    ("/sign-in", "Sign in"),
    ("/users/invite", "Invite somebody"),
];

/// What a form held when it was sent, without passwords, codes and secrets. Its `Debug` shows no values.
#[derive(Clone)]
pub(super) struct Sent {
    path: String,
    fields: BTreeMap<&'static str, String>,
    /// What of the secrets stood in it.
    secrets: Vec<(&'static str, &'static str)>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("path", &self.path).finish_non_exhaustive()
    }
}

/// On an answer that says why something is refused without the form that it was sent from.
#[derive(Debug, Clone)]
pub(super) struct WithoutForm(pub(super) Refused);

impl Sent {
    fn read(path: &str, bytes: &[u8]) -> Self {
        let mut sent = Self { path: path.to_owned(), fields: BTreeMap::new(), secrets: Vec::new() };
        for (name, value) in form_urlencoded::parse(bytes) {
            if name == EMPTIED {
                sent.empty(&value);
            } else if !value.is_empty() && SECRETS.iter().any(|(secret, _)| *secret == name) {
                sent.empty(&name);
            } else if let Some((known, _)) = KEPT.iter().find(|(known, _)| *known == name)
                && sent.fields.len() < FIELDS_KEPT_MAX
            {
                sent.fields.insert(known, value.into_owned());
            }
        }
        sent
    }

    /// Notes a secret that is left out.
    fn empty(&mut self, name: &str) {
        let secret = SECRETS.into_iter().find(|(secret, label)| *secret == name && !label.is_empty());
        self.secrets.extend(secret.filter(|secret| !self.secrets.contains(secret)));
    }

    /// Returns whether a secret stood in a field, which no page shows again.
    pub(super) fn is_emptied(&self, name: &str) -> bool {
        self.secrets.iter().any(|(secret, _)| *secret == name)
    }

    /// Returns whose form it is, by the proof in it.
    pub(super) fn user(&self) -> Option<&str> {
        self.value("csrf").and_then(|proof| proof.split_once(PROOF_OF)).map(|(_, user)| user)
    }

    pub(super) fn is_from(&self, path: &str) -> bool {
        self.path == path
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns what somebody has typed or chosen, but for ids, which tell people nothing.
    fn seen(&self) -> Vec<(&'static str, &str)> {
        let labelled = KEPT.iter().filter(|(_, label)| !label.is_empty());
        let said = labelled.filter_map(|(name, label)| Some((*label, self.value(name)?)));
        said.filter(|(_, value)| !is_id(value)).collect()
    }

    /// Returns what was to be done, where that and to whom can be told.
    fn act(&self) -> Option<&'static str> {
        let (_, act) = ACTS.iter().find(|(path, _)| *path == self.path)?;
        (!self.fields.values().any(|value| is_id(value))).then_some(*act)
    }

    fn says_something(&self) -> bool {
        KEPT.iter().any(|(name, label)| !label.is_empty() && self.value(name).is_some())
    }
}

fn is_id(value: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    value.len() == 36 && value.matches('-').count() == 4 && value.bytes().all(is_digit)
}

/// Shows what was sent, to be sent again.
#[derive(Debug, Template)]
#[template(path = "kept.html")]
struct Kept<'s> {
    frame: Frame,
    refused: &'s Refused,
    sent: &'s Sent,
    /// The page that leads to the form again.
    back: String,
}

impl Kept<'_> {
    /// Of a session that has ended: what is sent again without one's proof is not done, and shows the form.
    fn is_signed_out(&self) -> bool {
        self.refused.is("sign-in")
    }

    /// Returns whether the same may go well later.
    fn may_repeat(&self) -> bool {
        let status = self.refused.status;
        status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
    }
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
        Some(WithoutForm(refused)) if refused.is(ANOTHERS) => answer,
        Some(WithoutForm(refused)) if sent.says_something() || has_secrets(&sent, refused) => {
            let frame = Frame::outside(refused.title.clone());
            page_refused(refused, &Kept { frame, refused, sent: &sent, back: page_of(&sent.path) })
                .into_response()
        }
        _ => answer,
    }
}

/// Returns whether what was sent holds secrets that are asked for once more.
fn has_secrets(sent: &Sent, refused: &Refused) -> bool {
    !sent.secrets.is_empty() && !refused.is("sign-in")
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
