//! Users of one's organization.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::invitations::{IssuedInvitation, Life, answered};
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, Body, Id, PageQuery};
use crate::http::once::Creation;
use crate::http::output::{Rows, Time};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::platform::UserView;
use adit_core::domain::id::UserId;
use adit_core::domain::role::UserRole;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, change)).routes(routes!(renew_sign_in))
}

/// Owner: all; operator: all but users, tier and the organization's name; auditor: sees, never changes, never reveals a
/// secret.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Owner,
    Operator,
    Auditor,
}

impl From<UserRole> for Role {
    fn from(role: UserRole) -> Self {
        match role {
            UserRole::Owner => Self::Owner,
            UserRole::Operator => Self::Operator,
            UserRole::Auditor => Self::Auditor,
        }
    }
}

impl From<Role> for UserRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Operator => Self::Operator,
            Role::Auditor => Self::Auditor,
        }
    }
}

/// A person who acts for one's organization.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    organization: String,
    organization_name: String,
    name: String,
    email: String,
    role: Role,
    /// Whether the user signs in with a password
    has_password: bool,
    has_second_factor: bool,
    /// Whether the user has signed in at the organization's identity provider
    has_single_sign_on: bool,
    created_at: Time,
    /// Last
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<Time>,
    /// Absent for who may sign in
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Time>,
}

pub(super) fn shown(view: &UserView) -> User {
    User {
        id: view.id.to_string(),
        organization: view.organization.to_string(),
        organization_name: view.organization_name.to_string(),
        name: view.name.to_string(),
        email: view.email.to_string(),
        role: view.role.into(),
        has_password: view.has_password,
        has_second_factor: view.has_second_factor,
        has_single_sign_on: view.has_single_sign_on,
        created_at: view.created_at.into(),
        signed_in_at: view.signed_in_at.map(Time),
        disabled_at: view.disabled_at.map(Time),
    }
}

/// What is to be otherwise: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    role: Option<Role>,
    /// Whether the user is kept out: sessions end and API tokens are revoked
    disabled: Option<bool>,
}

/// How long a link is good.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkRequest {
    #[serde(default)]
    life: Life,
}

/// Lists the users of one's organization, by name
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    params(PageQuery),
    responses((status = 200, body = Rows<User>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(page): Asked<PageQuery>,
) -> Result<Json<Rows<User>>, Problem> {
    let page = api.platform.list_users(&caller.initiator, &page.paging()?).await?;
    Ok(Json(Rows::of(page, |view| shown(&view))))
}

/// Shows a user of one's organization
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = User), Problems)
)]
async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<UserId>,
) -> Result<Json<User>, Problem> {
    Ok(Json(shown(&api.platform.user(&caller.initiator, id).await?)))
}

/// Changes a user's role, or keeps the user out, or lets the user in again
///
/// The last owner who can sign in stays one. Who is kept out has all sessions ended, all API tokens revoked and all links
/// void. A role is changed, and a user let in again, by an owner who has signed in with a browser within the hour.
#[utoipa::path(
    patch,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, format = Uuid)),
    request_body = UserChange,
    responses((status = 200, body = User), Problems)
)]
async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<UserId>,
    Body(change): Body<UserChange>,
) -> Result<Json<User>, Problem> {
    let (platform, by) = (&api.platform, &caller.initiator);
    match (change.role, change.disabled) {
        (Some(role), None) => platform.set_user_role(by, id, role.into()).await?,
        (None, Some(true)) => platform.disable_user(by, id).await?,
        (None, Some(false)) => platform.enable_user(by, id).await?,
        _ => {
            let detail = "send `role` or `disabled`, one at a time: each is an act of its own";
            return Err(Problem::new(ProblemKind::Invalid, detail));
        }
    }
    Ok(Json(shown(&platform.user(by, id).await?)))
}

/// Makes a link by which a user sets a new password and is rid of the second factor; shown once
///
/// Nothing is changed before it is used; then the user's sessions end and its API tokens are revoked. By an owner who has
/// signed in with a browser within the hour, and for another user: one's own password is changed by who knows it.
#[utoipa::path(
    post,
    path = "/users/{id}/sign-in-link",
    tag = "users",
    params(("id" = String, Path, format = Uuid), ("Idempotency-Key" = Option<String>, Header)),
    request_body = LinkRequest,
    responses((status = 201, body = IssuedInvitation), Problems)
)]
async fn renew_sign_in(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<UserId>,
    Creation { asked, once }: Creation<LinkRequest>,
) -> Result<Response, Problem> {
    let issuing = api.platform.renew_sign_in(&caller.initiator, id, asked.life.into());
    answered(&api, &caller, once.make(&api, &caller, issuing).await?).await
}
