//! What all pages have around them, who looks at them, and what is shown where there is no page.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERER,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tracing::error;
use url::{Position, Url};

use super::ask::{Answer, Refused, Visit, with_query};
use super::fields::Fields;
use super::form::Form;
use super::sent::{Sent, WithoutForm};
use super::shapes::Session;
use super::{Console, assets};
use crate::http::problem::{Problem, ProblemKind};

/// Nothing but ours: no other host, nothing inline, no frame, no form to elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// A form from a page without a referrer would come from nowhere: browsers would send `Origin: null`.
const OWN_REFERRER: HeaderValue = HeaderValue::from_static("same-origin");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// One who is signed in, at a page.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    pub(super) visit: Visit,
    pub(super) session: Session,
}

impl FromRequestParts<Arc<Console>> for Viewer {
    type Rejection = Shown;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Shown> {
        let Ok(visit) = Visit::from_request_parts(parts, console).await;
        match visit.session().await {
            Ok(session) if session.stage == "whole" => Ok(Self { visit, session }),
            Ok(session) if session.stage == "second_factor" => Err(led("/sign-in/second-factor", parts)),
            Ok(_) if parts.method == Method::GET => Err(go_to("/account/second-factor")),
            Ok(_) => Err(go_to("/account/second-factor?done=nothing")),
            Err(refused) if refused.is("sign-in") => Err(to_sign_in(parts)),
            Err(refused) => Err(refused.into()),
        }
    }
}

/// Sends one who is not signed in to do so, and back afterwards: to the page, or to that whose form was sent in vain.
fn to_sign_in(parts: &Parts) -> Shown {
    if parts.method != Method::GET {
        return led(&with_query("/sign-in", &[("to", &page_of_form(parts)), ("done", "nothing")]), parts);
    }
    let wanted = parts.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    go_to(&with_query("/sign-in", &[("to", if wanted == "/" { "" } else { wanted })]))
}

/// Sends one on to sign in; what a form has sent in vain is kept meanwhile.
fn led(path: &str, parts: &Parts) -> Shown {
    let Shown(mut response) = go_to(path);
    if parts.method != Method::GET {
        response.extensions_mut().insert(WithoutForm(Refused::signed_out()));
    }
    Shown(response)
}

/// Returns the page that a form was sent from, as browsers say it within a site; see [`OWN_REFERRER`].
fn page_of_form(parts: &Parts) -> String {
    let from = parts.headers.get(REFERER).and_then(|from| from.to_str().ok());
    let from = from.and_then(|from| Url::parse(from).ok());
    from.map_or_else(String::new, |from| from[Position::BeforePath..Position::AfterQuery].to_owned())
}

/// What stands around a page.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub(super) title: String,
    /// The part of the console that it belongs to, as in the address.
    pub(super) section: &'static str,
    pub(super) session: Option<Session>,
    /// Why what was asked for last was not done.
    pub(super) refused: Option<Refused>,
    /// What was sent then.
    pub(super) sent: Option<Sent>,
    /// What was done last.
    pub(super) done: Option<&'static str>,
    /// Whether a field of the page has the focus, rather than what is said above it.
    pub(super) starts_at_field: bool,
}

#[expect(clippy::unused_self, reason = "a template asks its frame for all that stands around it")]
impl Frame {
    /// Of a page for one who is signed in.
    pub(super) fn of(viewer: &Viewer, section: &'static str, title: impl Into<String>) -> Self {
        Self { title: title.into(), section, session: Some(viewer.session.clone()), ..Self::default() }
    }

    /// Of one for anybody.
    pub(super) fn outside(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Of a page with one field, which is filled in at once.
    pub(super) fn at_field(self) -> Self {
        Self { starts_at_field: true, ..self }
    }

    pub(super) fn refused(self, refused: Option<Refused>) -> Self {
        Self { refused, ..self }
    }

    /// Of a page whose form is shown again as it was sent, with why what it asks for is not done.
    pub(super) fn again(self, refused: &Refused, fields: &Fields) -> Self {
        let sent = fields.sent().cloned();
        let is_outdated = sent.is_some() && refused.is("cross-site");
        let refused = match refused.clone() {
            refused if is_outdated => refused.of_earlier_session(),
            refused if refused.is("key-reused") => refused.of_made(),
            refused => refused,
        };
        Self { refused: Some(refused), sent, ..self }
    }

    /// Returns the form of the page that is sent to a path.
    pub(super) fn form(&self, path: &str) -> Form<'_> {
        Form::new(self.sent.as_ref().filter(|sent| sent.is_from(path)), self.refused.as_ref())
    }

    /// Says what was done, by the word in the address.
    pub(super) fn done(self, word: &str) -> Self {
        Self { done: sentence(word), ..self }
    }

    /// Returns what its forms hold to show that they are of a page of ours.
    pub(super) fn proof(&self) -> String {
        self.session.as_ref().map_or_else(String::new, Session::proof)
    }

    pub(super) fn style(&self) -> &'static str {
        assets::style()
    }

    pub(super) fn script(&self) -> &'static str {
        assets::script()
    }

    pub(super) fn icon(&self) -> &'static str {
        assets::icon()
    }

    /// Returns the class of a link in the list of pages.
    pub(super) fn is_at(&self, section: &str) -> bool {
        self.section == section
    }

    pub(super) fn is_owner(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.user.role == "owner")
    }

    /// Returns whether the viewer may change anything at all.
    pub(super) fn may_act(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.user.role != "auditor")
    }
}

/// Returns what is said after something was done. The word comes from the address, so it chooses among these alone.
fn sentence(word: &str) -> Option<&'static str> {
    Some(match word {
        "saved" => "Saved.",
        "added" => "Added.",
        "deleted" => "Deleted.",
        "sent" => "Sent. The other side decides now.",
        "accepted" => "Accepted.",
        "declined" => "Declined.",
        "withdrawn" => "Withdrawn.",
        "ended" => "The agreement has ended.",
        "approved" => "Approved. The connection is Ready as soon as it is set up.",
        "denied" => "Denied.",
        "revoked" => "Revoked.",
        "relinquished" => "Relinquished.",
        "published" => "Published: your peers see it.",
        "unpublished" => "Not published any more.",
        "activated" => "Activated. The agents connect as soon as they can.",
        "paused" => "Paused.",
        "resumed" => "Your pause is lifted.",
        "disconnected" => "Open tunnels are cut. The status stays as it was.",
        "retried" => "It is Ready again.",
        "terminated" => "Terminated.",
        "rotated" => "The secret is replaced. Both agents fetch the new one by themselves.",
        "offered" => "Offered. The recipient decides now.",
        "invited" => "The invitation is made.",
        "key-revoked" => "The agent's key is revoked. It needs a new connector configuration.",
        "second-factor" => "Your second factor is set up.",
        "no-second-factor" => "Your second factor is removed.",
        "password" => "Your password is changed, and you are signed out everywhere else.",
        "elsewhere" => "You are signed out everywhere else.",
        "signed-out" => "You are signed out.",
        _ => return None,
    })
}

/// What a browser is answered.
#[derive(Debug)]
pub(super) struct Shown(Response);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        self.0
    }
}

impl From<Refused> for Shown {
    /// Says so on a page of its own.
    fn from(refused: Refused) -> Self {
        let status = refused.status;
        let frame = Frame::outside(refused.title.clone());
        let Shown(mut response) =
            refuse(page_as(status, &Apart { frame, refused: refused.clone() }), &refused);
        response.extensions_mut().insert(WithoutForm(refused));
        Shown(response)
    }
}

/// A page that says why there is none.
#[derive(Debug, Template)]
#[template(path = "apart.html")]
struct Apart {
    frame: Frame,
    refused: Refused,
}

/// Shows once what was made, where the page it belongs on cannot be. Deliberately without `Debug`.
#[derive(Template)]
#[template(path = "made.html")]
struct Made<'m> {
    frame: Frame,
    secret: Option<&'m str>,
    back: &'m str,
}

/// Says that something was made, with what is shown once of it, without asking for anything else.
pub(super) fn page_of_made(secret: Option<&str>, back: &str) -> Shown {
    page(&Made { frame: Frame::outside("It was made"), secret, back })
}

/// Shows a page.
pub(super) fn page(page: &impl Template) -> Shown {
    page_as(StatusCode::OK, page)
}

/// Shows a page again, with why what was sent from it is refused.
pub(super) fn page_refused(refused: &Refused, page: &impl Template) -> Shown {
    refuse(page_as(refused.status, page), refused)
}

fn refuse(shown: Shown, refused: &Refused) -> Shown {
    let Shown(mut response) = shown;
    if let Some(seconds) = &refused.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.clone());
    }
    Shown(response)
}

fn page_as(status: StatusCode, page: &impl Template) -> Shown {
    let text = match page.render() {
        Ok(text) => text,
        Err(why) => {
            error!(%why, "a page cannot be written");
            return Shown(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
    };
    let headers = [
        (CONTENT_TYPE, HTML),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, OWN_REFERRER),
        (CACHE_CONTROL, NO_STORE),
    ];
    Shown((status, headers, text).into_response())
}

/// Sends a browser on to a page of ours.
pub(super) fn go_to(path: &str) -> Shown {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    Shown((StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, NO_STORE)]).into_response())
}

/// Sends it on with the cookies that the API gave it.
pub(super) fn go_to_with(path: &str, answer: &Answer) -> Shown {
    let Shown(mut response) = go_to(path);
    keep_cookies(&mut response, &answer.headers);
    Shown(response)
}

/// Shows a page with the cookies that the API gave.
pub(super) fn page_with(shown: Shown, answer: &Answer) -> Shown {
    let Shown(mut response) = shown;
    keep_cookies(&mut response, &answer.headers);
    Shown(response)
}

fn keep_cookies(response: &mut Response, from: &HeaderMap) {
    for cookie in from.get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
}

/// Returns a path of this site that one may be sent on to; the start page for anything else.
pub(super) fn own_path(to: &str) -> &str {
    let is_own = to.starts_with('/')
        && !to.starts_with("//")
        && !to.contains(['\\', '\r', '\n', '\t'])
        && to.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { to } else { "/" }
}

/// Leads a browser that wants to see where forms are sent, as after a reload, to the page that they stand on.
pub(super) async fn to_page_of_form(uri: Uri) -> Shown {
    go_to(&page_of(uri.path()))
}

/// Returns the page that leads to the form which is sent to a path.
pub(super) fn page_of(path: &str) -> String {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match parts[..] {
        ["connections" | "servers" | "channels", id, _, ..] => format!("/{}/{id}", parts[0]),
        ["users", id, "link"] => format!("/users/{id}"),
        ["invitations", ..] => "/users".into(),
        ["sign-out"] | [] => "/".into(),
        [first, ..] => format!("/{first}"),
    }
}

/// Answers where nothing is served: people by a page, programs by problem details.
pub(crate) async fn nothing_here(headers: HeaderMap, uri: Uri) -> Response {
    let is_page = headers.get(ACCEPT).is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/html"));
    if !is_page || uri.path().starts_with("/api/") {
        return Problem::not_found("path; /api/v1/openapi.json lists what there is").into_response();
    }
    let problem = Problem::new(ProblemKind::NotFound, "there is no such page; start again at the overview");
    let refused = Refused {
        status: StatusCode::NOT_FOUND,
        kind: "not-found".into(),
        title: "Not found".into(),
        detail: problem.detail,
        field: None,
        retry_after: None,
    };
    Shown::from(refused).into_response()
}
