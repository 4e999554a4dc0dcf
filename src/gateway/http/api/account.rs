//! One's own account: who one is, one's password, and where one is signed in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::session::{Session, begun};
use super::users::{User, shown as user};
use crate::http::Api;
use crate::http::caller::{Browser, Caller, Visitor};
use crate::http::input::{Asked, Body, Id, PageQuery};
use crate::http::output::{Rows, Time};
use crate::http::problem::{Problem, Problems};
use crate::platform::{self, ActionRefusal, PeopleRefusal, PlatformError, UserSessionView};
use adit_core::domain::id::SessionId;
use adit_core::domain::secret::Password;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(change_password))
        .routes(routes!(sessions, revoke_other_sessions))
        .routes(routes!(revoke_session))
}

/// A browser in which one is signed in.
#[derive(Debug, Serialize, ToSchema)]
struct AccountSession {
    #[schema(format = Uuid)]
    id: String,
    /// Whether it is the one that asks
    own: bool,
    created_at: Time,
    /// About when it was used last
    seen_at: Time,
    expires_at: Time,
    /// Signed in from
    address: String,
    /// What the browser calls itself
    agent: String,
}

fn shown(view: UserSessionView) -> AccountSession {
    AccountSession {
        id: view.id.to_string(),
        own: view.is_own,
        created_at: view.created_at.into(),
        seen_at: view.seen_at.into(),
        expires_at: view.expires_at.into(),
        address: view.address,
        agent: view.agent,
    }
}

/// A new password, with the one it replaces.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(value_type = String, format = Password)]
    old: Password,
    /// 12 to 128 characters
    #[schema(value_type = String, format = Password)]
    new: Password,
    /// Whether one's API tokens are revoked too
    #[serde(default)]
    revoke_api_tokens: bool,
}

/// Tells who asks
#[utoipa::path(get, path = "/account", tag = "account", responses((status = 200, body = User), Problems))]
async fn read(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<User>, Problem> {
    Ok(Json(user(&api.platform.user(&caller.initiator, caller.user).await?)))
}

/// Changes the password; all other sessions end
///
/// This session is replaced by another, with another cookie. Links that would set a new password are void, and no other
/// browser is known any more. One's API tokens stay good, so that no program stops at a password that is changed by
/// habit; where somebody else may have had the password, revoke them too, by `revoke_api_tokens`.
#[utoipa::path(
    put,
    path = "/account/password",
    tag = "account",
    request_body = PasswordChange,
    responses((status = 200, body = Session), Problems)
)]
async fn change_password(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(sent): Body<PasswordChange>,
) -> Result<Response, Problem> {
    let browser = browser.whole()?;
    let PasswordChange { old, new, revoke_api_tokens: revokes_api_tokens } = sent;
    let change = platform::PasswordChange { old, new, revokes_api_tokens };
    let changed = api.platform.change_password(&browser.signed, &change, &visit).await;
    Ok(begun(&changed.map_err(at_old_or_new)?))
}

/// Says which of the two passwords is meant.
fn at_old_or_new(error: PlatformError) -> Problem {
    let field = match &error {
        PlatformError::Refused(ActionRefusal::People(PeopleRefusal::WrongPassword)) => "old",
        PlatformError::Refused(ActionRefusal::People(PeopleRefusal::Password(_))) => "new",
        _ => return Problem::from(error),
    };
    Problem::from(error).at(field)
}

/// Lists where one is signed in, the oldest first
#[utoipa::path(
    get,
    path = "/account/sessions",
    tag = "account",
    params(PageQuery),
    responses((status = 200, body = Rows<AccountSession>), Problems)
)]
async fn sessions(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Asked(page): Asked<PageQuery>,
) -> Result<Json<Rows<AccountSession>>, Problem> {
    let signed = browser.whole()?.signed;
    let page = api.platform.list_user_sessions(&signed, &page.paging()?).await?;
    Ok(Json(Rows::of(page, shown)))
}

/// Signs all of one's other browsers out
///
/// None of them is known any more: to sign in there is as in a new browser. This session is replaced by another, with
/// another cookie.
#[utoipa::path(
    delete,
    path = "/account/sessions",
    tag = "account",
    responses((status = 200, body = Session), Problems)
)]
async fn revoke_other_sessions(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
) -> Result<Response, Problem> {
    Ok(begun(&api.platform.revoke_other_sessions(&browser.whole()?.signed, &visit).await?))
}

/// Signs one of one's browsers out
#[utoipa::path(
    delete,
    path = "/account/sessions/{id}",
    tag = "account",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 204), Problems)
)]
async fn revoke_session(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Id(id): Id<SessionId>,
) -> Result<StatusCode, Problem> {
    api.platform.revoke_user_session(&browser.whole()?.signed, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
