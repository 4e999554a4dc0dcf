//! Signing in and out with a browser.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::{User, shown as user};
use crate::http::caller::{Browser, Visitor};
use crate::http::input::{Body, value};
use crate::http::output::{NoStore, Time};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::http::{Api, ProvenHere, cookies};
use crate::platform::{ActionRefusal, Credentials, NewSession, PeopleRefusal, PlatformError, Signed};
use adit_core::domain::secret::{Code, Password, SessionToken};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(read, sign_in, sign_out)).routes(routes!(show_second_factor))
}

/// A browser that is signed in, or is on its way there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    #[schema(format = Uuid)]
    id: String,
    /// `whole`: all that the role permits; `second_factor`: a code is asked for; `set_up`: a second factor is to be
    /// set up first
    #[schema(value_type = Stage)]
    stage: &'static str,
    /// To be sent with every change, in the header X-CSRF-Token
    csrf_token: String,
    /// When it ends however much it is used
    expires_at: Time,
    user: User,
}

/// How far a browser is signed in.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "described, never made: the platform's word is written")]
enum Stage {
    SecondFactor,
    SetUp,
    Whole,
}

/// What is typed to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// The organization's name
    organization: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// A second factor: six digits by the clock, or a recovery code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShownCode {
    #[schema(value_type = String, format = Password)]
    pub(super) code: Code,
}

pub(super) fn shown(signed: &Signed, token: &SessionToken) -> Session {
    Session {
        id: signed.session.to_string(),
        stage: signed.stage.as_str(),
        csrf_token: cookies::csrf_token(token),
        expires_at: signed.expires_at.into(),
        user: user(&signed.user),
    }
}

/// Answers with a new session, which the browser is to keep.
pub(in crate::http) fn begun(new: &NewSession) -> Response {
    let cookies = cookies_of(new);
    // The connection is the user's from here on.
    let proven = Extension(ProvenHere(new.signed.id()));
    (cookies, proven, NoStore(shown(&new.signed, &new.token))).into_response()
}

/// Returns what the browser is to keep of a new session.
pub(in crate::http) fn cookies_of(new: &NewSession) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, cookies::set_session(&new.token));
    if let Some(device) = &new.device {
        headers.append(SET_COOKIE, cookies::set_device(device));
    }
    headers
}

/// Tells who is signed in with this browser, and how far
#[utoipa::path(
    get,
    path = "/session",
    tag = "session",
    responses((status = 200, body = Session), Problems)
)]
async fn read(browser: Browser) -> NoStore<Session> {
    NoStore(shown(&browser.signed, &browser.token))
}

/// Signs in with a password
///
/// The cookie that comes with the answer is the session's. Where `stage` is `second_factor`, a code is to be shown.
#[utoipa::path(
    post,
    path = "/session",
    tag = "session",
    request_body = SignIn,
    responses((status = 200, body = Session), Problems),
    security(())
)]
async fn sign_in(
    State(api): State<Arc<Api>>,
    Visitor(visit): Visitor,
    headers: HeaderMap,
    Body(typed): Body<SignIn>,
) -> Result<Response, Problem> {
    let credentials = Credentials {
        organization: typed.organization,
        email: value("email", &typed.email)?,
        password: typed.password,
    };
    let before = cookies::session(&headers)?;
    let new = api.platform.sign_in(&credentials, &visit).await.map_err(wrong)?;
    // What the browser showed before is not taken over, nor left behind.
    if let Some(before) = before
        && let Some(signed) = api.platform.signed(&before).await?
    {
        api.platform.sign_out(&signed).await?;
    }
    Ok(begun(&new))
}

/// Signs out
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204), Problems))]
async fn sign_out(State(api): State<Arc<Api>>, browser: Browser) -> Result<Response, Problem> {
    api.platform.sign_out(&browser.signed).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookies::clear_session())]).into_response())
}

/// Completes a sign-in with the second factor
///
/// The session is replaced by another, with another cookie.
#[utoipa::path(
    post,
    path = "/session/second-factor",
    tag = "session",
    request_body = ShownCode,
    responses((status = 200, body = Session), Problems)
)]
async fn show_second_factor(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(ShownCode { code }): Body<ShownCode>,
) -> Result<Response, Problem> {
    let shown = api.platform.show_second_factor(&browser.signed, &code, &visit).await;
    Ok(begun(&shown.map_err(wrong)?))
}

/// Says that nobody is signed in where what was shown is wrong.
fn wrong(error: PlatformError) -> Problem {
    match error {
        PlatformError::Refused(ActionRefusal::People(
            refusal @ (PeopleRefusal::WrongPassword | PeopleRefusal::WrongCode),
        )) => Problem::new(ProblemKind::SignIn, refusal.to_string()),
        error => error.into(),
    }
}
