//! Peerings: requests to other organizations, and the agreements they become.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::consequences::Consequences;
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, Id, optional, paging, value, values};
use crate::http::once::{Creation, created};
use crate::http::output::{Named, Rows, Time};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::http::tag::{Known, Tagged, current};
use crate::platform::{AgreementStatus, PeeringFilter, PeeringView, PlatformError};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::name::Name;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, request))
        .routes(routes!(one))
        .routes(routes!(accept))
        .routes(routes!(decline))
        .routes(routes!(withdraw))
        .routes(routes!(ending))
        .routes(routes!(end))
}

/// A peering request, or the agreement it became.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Peering {
    #[schema(format = Uuid)]
    id: String,
    /// The other organization; `Self` where it is one's own
    peer: String,
    requester: Named,
    recipient: Named,
    /// `requested`, `live`, `declined`, `withdrawn` or `ended`
    status: &'static str,
    requested_at: Time,
}

impl Tagged for Peering {}

pub(super) fn shown(view: PeeringView) -> Peering {
    Peering {
        id: view.id.to_string(),
        peer: view.peer,
        requester: Named::new(view.requester_id, view.requester),
        recipient: Named::new(view.recipient_id, view.recipient),
        status: view.status,
        requested_at: view.requested_at.into(),
    }
}

/// Which peerings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PeeringQuery {
    /// Any of these, with commas between them: `requested`, `live`, `declined`, `withdrawn`, `ended`
    status: Option<String>,
    /// That this organization has to accept or decline
    #[param(format = Uuid)]
    decider: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists one's peering requests and agreements, the oldest first
#[utoipa::path(
    get,
    path = "/peerings",
    tag = "peerings",
    params(PeeringQuery),
    responses((status = 200, body = Rows<Peering>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<PeeringQuery>,
) -> Result<Json<Rows<Peering>>, Problem> {
    let statuses = values("status", query.status.as_deref(), |text| text.parse::<AgreementStatus>().ok())?;
    let decider = optional("decider", query.decider.as_deref())?;
    let filter = PeeringFilter { statuses, decider, ..PeeringFilter::default() };
    let paging = paging(query.after.as_deref(), query.count)?;
    let page = api.platform.list_peerings(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}

/// Shows a peering request or agreement of one's own
#[utoipa::path(
    get,
    path = "/peerings/{id}",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Peering), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.peering(&caller.initiator, id).await?)))
}

/// With whom; one of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPeering {
    /// The organization's id,
    #[schema(format = Uuid)]
    organization: Option<String>,
    /// or its name
    name: Option<String>,
}

/// Asks another organization for peering
///
/// One's own organization accepts at once.
#[utoipa::path(
    post,
    path = "/peerings",
    tag = "peerings",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewPeering,
    responses((status = 201, body = Peering), Problems)
)]
async fn request(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<NewPeering>,
) -> Result<Response, Problem> {
    let platform = &api.platform;
    let with = match (asked.organization, asked.name) {
        (Some(id), None) => value::<OrganizationId>("organization", &id)?,
        (None, Some(name)) => {
            let name: Name = value("name", &name)?;
            platform.organization_named(&caller.initiator, &name).await?.id
        }
        _ => return Err(Problem::new(ProblemKind::Invalid, "say either `organization` or `name`")),
    };
    let made = once.make(&api, &caller, platform.request_peering(&caller.initiator, with)).await?.id()?;
    let view = platform.peering(&caller.initiator, made).await?;
    Ok(created(&format!("peerings/{made}"), &shown(view)))
}

/// Accepts a request: from then on there is an agreement
#[utoipa::path(
    post,
    path = "/peerings/{id}/accept",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Peering), Problems)
)]
async fn accept(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.accept_peering(&caller.initiator, id)).await
}

/// Declines a request
#[utoipa::path(
    post,
    path = "/peerings/{id}/decline",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Peering), Problems)
)]
async fn decline(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.decline_peering(&caller.initiator, id)).await
}

/// Withdraws one's own request
#[utoipa::path(
    post,
    path = "/peerings/{id}/withdraw",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Peering), Problems)
)]
async fn withdraw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.withdraw_peering(&caller.initiator, id)).await
}

/// Says what would end with a living agreement
#[utoipa::path(
    get,
    path = "/peerings/{id}/ending",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Consequences), Problems)
)]
async fn ending(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
) -> Result<Json<Consequences>, Problem> {
    Ok(Json(api.platform.peering_ending(&caller.initiator, id).await?.into()))
}

/// Ends an agreement, with all that hangs on it
#[utoipa::path(
    post,
    path = "/peerings/{id}/end",
    tag = "peerings",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Consequences), Problems)
)]
async fn end(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<AgreementId>,
) -> Result<Json<Consequences>, Problem> {
    Ok(Json(api.platform.end_peering(&caller.initiator, id).await?.into()))
}

/// Does it, and answers with what there is then.
async fn now(
    api: &Api,
    caller: &Caller,
    id: AgreementId,
    doing: impl Future<Output = Result<(), PlatformError>>,
) -> Result<Response, Problem> {
    doing.await?;
    Ok(current(StatusCode::OK, &shown(api.platform.peering(&caller.initiator, id).await?)))
}
