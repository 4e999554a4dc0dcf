//! API tokens: of one's own account, and of all users of one's organization. Programs show them; only who signs in with
//! a browser makes or ends them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::Role;
use crate::http::Api;
use crate::http::caller::{API_TOKEN_PREFIX, Browser, Caller};
use crate::http::input::{Asked, Id, PageQuery, value};
use crate::http::once::{Creation, Made};
use crate::http::output::{NoStore, Rows, Time};
use crate::http::problem::{Problem, Problems};
use crate::platform::{ApiTokenView, NewApiToken, UsersApiTokenView};
use adit_core::domain::id::ApiTokenId;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, issue))
        .routes(routes!(revoke))
        .routes(routes!(list_users))
        .routes(routes!(revoke_users))
}

/// What a program shows, without the token itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiToken {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    /// At most this one, and at most the user's
    role: Role,
    created_at: Time,
    expires_at: Time,
    /// About when it was used last
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
}

/// A token of one of the organization's users, without the token itself.
#[derive(Debug, Serialize, ToSchema)]
struct UsersApiToken {
    #[serde(flatten)]
    token: ApiToken,
    user: ApiTokenUser,
}

/// Who made a token, and as whom its programs act.
#[derive(Debug, Serialize, ToSchema)]
struct ApiTokenUser {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    email: String,
}

/// A token, shown once.
#[derive(Debug, Serialize, ToSchema)]
struct IssuedApiToken {
    /// To be sent as `Authorization: Bearer TOKEN`. Absent where the same request was answered before: it is shown once.
    /// Where that answer was lost, revoke this one and issue another, with another key
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(flatten)]
    issued: ApiToken,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiTokenRequest {
    #[schema(max_length = 80)]
    name: String,
    role: Role,
    /// For how long it is good
    #[schema(minimum = 1, maximum = 365)]
    days: u32,
}

pub(super) fn shown(view: &ApiTokenView) -> ApiToken {
    ApiToken {
        id: view.id.to_string(),
        name: view.name.to_string(),
        role: view.role.into(),
        created_at: view.created_at.into(),
        expires_at: view.expires_at.into(),
        used_at: view.used_at.map(Time),
        revoked_at: view.revoked_at.map(Time),
    }
}

/// Lists one's API tokens, the oldest first
#[utoipa::path(
    get,
    path = "/account/api-tokens",
    tag = "account",
    params(PageQuery),
    responses((status = 200, body = Rows<ApiToken>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Asked(page): Asked<PageQuery>,
) -> Result<Json<Rows<ApiToken>>, Problem> {
    let page = api.platform.list_api_tokens(&browser.whole()?.signed, &page.paging()?).await?;
    Ok(Json(Rows::of(page, |view| shown(&view))))
}

/// Issues an API token; the answer shows it, once
///
/// By who has signed in within the hour. A token does what its role may, but changes no way in: it invites nobody, makes no
/// link or token, and sets no role and no identity provider.
#[utoipa::path(
    post,
    path = "/account/api-tokens",
    tag = "account",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = ApiTokenRequest,
    responses((status = 201, body = IssuedApiToken), Problems)
)]
async fn issue(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Creation { asked, once }: Creation<ApiTokenRequest>,
) -> Result<Response, Problem> {
    let browser = browser.whole()?;
    let new = NewApiToken { name: value("name", &asked.name)?, role: asked.role.into(), days: asked.days };
    let issuing = api.platform.issue_api_token(&browser.signed, &new);
    let issued = match once.make(&api, &browser.clone().into(), issuing).await? {
        Made::Now(issued) => {
            let token = format!("{API_TOKEN_PREFIX}{}", issued.token.reveal_hex());
            IssuedApiToken { token: Some(token), issued: shown(&issued.view) }
        }
        Made::Before(id) => {
            let view = api.platform.api_token(&browser.signed, Made::<ApiTokenId>::Before(id).id()?).await?;
            IssuedApiToken { token: None, issued: shown(&view) }
        }
    };
    Ok((StatusCode::CREATED, NoStore(issued)).into_response())
}

/// Revokes an API token
#[utoipa::path(
    delete,
    path = "/account/api-tokens/{id}",
    tag = "account",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 204), Problems)
)]
async fn revoke(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Id(id): Id<ApiTokenId>,
) -> Result<StatusCode, Problem> {
    api.platform.revoke_api_token(&browser.whole()?.signed, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown_with_user(view: &UsersApiTokenView) -> UsersApiToken {
    UsersApiToken {
        token: shown(&view.token),
        user: ApiTokenUser {
            id: view.user.to_string(),
            name: view.user_name.to_string(),
            email: view.email.to_string(),
        },
    }
}

/// Lists the API tokens of one's organization's users, the oldest first
///
/// Which programs can act for the organization, and as whom; those that ended stay for a while.
#[utoipa::path(
    get,
    path = "/organization/api-tokens",
    tag = "users",
    params(PageQuery),
    responses((status = 200, body = Rows<UsersApiToken>), Problems)
)]
async fn list_users(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(page): Asked<PageQuery>,
) -> Result<Json<Rows<UsersApiToken>>, Problem> {
    let page = api.platform.list_users_api_tokens(&caller.initiator, &page.paging()?).await?;
    Ok(Json(Rows::of(page, |view| shown_with_user(&view))))
}

/// Revokes an API token of any user of one's organization
///
/// By an owner who has signed in with a browser within the hour. It counts at once, also for requests and streams under
/// way.
#[utoipa::path(
    delete,
    path = "/organization/api-tokens/{id}",
    tag = "users",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 204), Problems)
)]
async fn revoke_users(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ApiTokenId>,
) -> Result<StatusCode, Problem> {
    api.platform.revoke_users_api_token(&caller.initiator, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
