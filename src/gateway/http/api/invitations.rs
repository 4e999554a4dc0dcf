//! Invitations: links that make somebody a user of one's organization.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::session::{Session, begun};
use super::users::Role;
use crate::http::Api;
use crate::http::caller::{Caller, Visitor};
use crate::http::input::{Asked, Body, Id, PageQuery, optional, value};
use crate::http::once::{Creation, Made};
use crate::http::output::{NoStore, Rows, Time};
use crate::http::problem::{Problem, Problems};
use crate::platform::{Acceptance, InvitationView, IssuedInvitation as Issued, TokenLife};
use adit_core::domain::id::InvitationId;
use adit_core::domain::secret::{InvitationToken, Password};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, invite)).routes(routes!(accept)).routes(routes!(revoke))
}

/// How long a link is good.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub(super) enum Life {
    #[serde(rename = "1h")]
    Hour,
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
}

impl From<Life> for TokenLife {
    fn from(life: Life) -> Self {
        match life {
            Life::Hour => Self::Hour,
            Life::Day => Self::Day,
            Life::Week => Self::Week,
        }
    }
}

/// An invitation, without its link.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invitation {
    #[schema(format = Uuid)]
    id: String,
    email: String,
    role: Role,
    /// Whose password is set anew; absent for a newcomer
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    invited_by: String,
    #[schema(value_type = Status)]
    status: &'static str,
    created_at: Time,
    expires_at: Time,
}

/// How an invitation stands.
#[derive(ToSchema)]
#[schema(as = InvitationStatus, rename_all = "lowercase")]
#[expect(dead_code, reason = "described, never made: the platform's word is written")]
enum Status {
    Open,
    Accepted,
    Revoked,
    Expired,
}

pub(super) fn shown(view: InvitationView) -> Invitation {
    Invitation {
        id: view.id.to_string(),
        email: view.email.to_string(),
        role: view.role.into(),
        user: view.user.map(|user| user.to_string()),
        invited_by: view.invited_by,
        status: view.status.as_str(),
        created_at: view.created_at.into(),
        expires_at: view.expires_at.into(),
    }
}

/// A link, shown once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedInvitation {
    #[schema(format = Uuid)]
    id: String,
    email: String,
    role: Role,
    /// To be handed to who is invited. Absent where the same request was answered before: it is shown once. Where that
    /// answer was lost, ask anew, with another key: the new link voids the one before
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    expires_at: Time,
}

/// Answers with a link, or without it where it was shown before.
pub(super) async fn answered(api: &Api, caller: &Caller, made: Made<Issued>) -> Result<Response, Problem> {
    let shown = match made {
        Made::Now(issued) => IssuedInvitation {
            id: issued.id.to_string(),
            email: issued.email.to_string(),
            role: issued.role.into(),
            link: Some(issued.link(&api.origin)),
            expires_at: issued.expires_at.into(),
        },
        Made::Before(id) => {
            let id = Made::<InvitationId>::Before(id).id()?;
            shown_before(&api.platform.invitation(&caller.initiator, id).await?)
        }
    };
    Ok((StatusCode::CREATED, NoStore(shown)).into_response())
}

fn shown_before(view: &InvitationView) -> IssuedInvitation {
    IssuedInvitation {
        id: view.id.to_string(),
        email: view.email.to_string(),
        role: view.role.into(),
        link: None,
        expires_at: view.expires_at.into(),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationRequest {
    #[schema(max_length = 254)]
    email: String,
    role: Role,
    #[serde(default)]
    life: Life,
}

/// What somebody sends who accepts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationAcceptance {
    /// What the link holds behind the `#`
    #[schema(value_type = String, format = Password)]
    token: Token,
    /// A newcomer's
    #[schema(max_length = 80)]
    name: Option<String>,
    /// 12 to 128 characters
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// A token as it is typed; what is none is no invitation's.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Token(Password);

/// Lists the invitations of one's organization, the oldest first
#[utoipa::path(
    get,
    path = "/invitations",
    tag = "users",
    params(PageQuery),
    responses((status = 200, body = Rows<Invitation>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(page): Asked<PageQuery>,
) -> Result<Json<Rows<Invitation>>, Problem> {
    let page = api.platform.list_invitations(&caller.initiator, &page.paging()?).await?;
    Ok(Json(Rows::of(page, shown)))
}

/// Invites somebody to act for one's organization; the answer shows the link, once
///
/// What was open for the address is void. By an owner who has signed in with a browser within the hour.
#[utoipa::path(
    post,
    path = "/invitations",
    tag = "users",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = InvitationRequest,
    responses((status = 201, body = IssuedInvitation), Problems)
)]
async fn invite(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<InvitationRequest>,
) -> Result<Response, Problem> {
    let (email, role) = (value("email", &asked.email)?, asked.role.into());
    let issuing = api.platform.invite(&caller.initiator, &email, role, asked.life.into());
    answered(&api, &caller, once.make(&api, &caller, issuing).await?).await
}

/// Revokes an invitation
#[utoipa::path(
    delete,
    path = "/invitations/{id}",
    tag = "users",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 204), Problems)
)]
async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<InvitationId>,
) -> Result<StatusCode, Problem> {
    api.platform.revoke_invitation(&caller.initiator, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts an invitation, or sets a new password, and signs in
#[utoipa::path(
    post,
    path = "/invitations/accept",
    tag = "users",
    request_body = InvitationAcceptance,
    responses((status = 200, body = Session), Problems),
    security(())
)]
async fn accept(
    State(api): State<Arc<Api>>,
    Visitor(visit): Visitor,
    Body(sent): Body<InvitationAcceptance>,
) -> Result<Response, Problem> {
    let token =
        InvitationToken::from_hex(sent.token.0.expose()).map_err(|_| Problem::not_found("invitation"))?;
    let name = optional("name", sent.name.as_deref())?;
    let acceptance = Acceptance { token, name, password: sent.password };
    Ok(begun(&api.platform.accept_invitation(&acceptance, &visit).await?))
}
