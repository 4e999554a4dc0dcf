//! Organizations: whom one can ask for peering, and one's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, Body, Id, optional, paging, value};
use crate::http::output::Rows;
use crate::http::problem::{Problem, Problems};
use crate::http::tag::{Expected, Known, Tagged, current};
use crate::platform::{OrganizationFilter, OrganizationView, PlatformError, Unchanged};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::tier::Tier;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(own, rename))
        .routes(routes!(set_tier))
}

/// A healthcare entity.
#[derive(Debug, Serialize, ToSchema)]
struct Organization {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    /// One's own only
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    /// One's own only: whether who signs in by password must show a second factor
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_second_factor: Option<bool>,
}

impl Tagged for Organization {}

#[expect(clippy::needless_pass_by_value, reason = "a page's rows are turned into what is shown")]
fn shown(view: OrganizationView) -> Organization {
    Organization {
        id: view.id.to_string(),
        name: view.name.to_string(),
        tier: view.tier.map(Tier::as_str),
        needs_second_factor: view.needs_second_factor,
    }
}

/// Which organizations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OrganizationQuery {
    /// A part of the name
    search: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists the organizations of this gateway, by name
#[utoipa::path(
    get,
    path = "/organizations",
    tag = "organizations",
    params(OrganizationQuery),
    responses((status = 200, body = Rows<Organization>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<OrganizationQuery>,
) -> Result<Json<Rows<Organization>>, Problem> {
    let search = optional("search", query.search.as_deref())?;
    let filter = OrganizationFilter { search, ..OrganizationFilter::default() };
    let paging = paging(query.after.as_deref(), query.count)?;
    let page = api.platform.find_organizations(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}

/// Shows one organization
#[utoipa::path(
    get,
    path = "/organizations/{id}",
    tag = "organizations",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Organization), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.organization(&caller.initiator, id).await?)))
}

/// Shows one's own organization
#[utoipa::path(
    get,
    path = "/organization",
    tag = "organizations",
    params(("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Organization), (status = 304), Problems)
)]
async fn own(State(api): State<Arc<Api>>, caller: Caller, known: Known) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.organization(&caller.initiator, caller.organization).await?)))
}

/// What is to be written anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationChange {
    name: String,
}

/// Renames one's own organization
#[utoipa::path(
    patch,
    path = "/organization",
    tag = "organizations",
    params(("If-Match" = String, Header, description = "The `ETag` of `/organization` as it was read")),
    request_body = OrganizationChange,
    responses((status = 200, body = Organization), Problems)
)]
async fn rename(
    State(api): State<Arc<Api>>,
    caller: Caller,
    expected: Expected,
    Body(asked): Body<OrganizationChange>,
) -> Result<Response, Problem> {
    let (id, name) = (caller.organization, value("name", &asked.name)?);
    change(&api, &caller, expected, api.platform.rename_organization(&caller.initiator, id, &name)).await
}

/// How many servers, peers and channels are admitted, and whether Admin RW is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTier {
    /// `Free`, `Standard` or `Enterprise`
    tier: String,
}

/// Sets the tier of one's own organization
///
/// A lower one deletes nothing: what is above its limits stays, and no more is made. Admin RW connections of one's
/// own servers are cut and held while the tier does not admit them.
#[utoipa::path(
    put,
    path = "/organization/tier",
    tag = "organizations",
    params(("If-Match" = String, Header, description = "The `ETag` of `/organization` as it was read")),
    request_body = NewTier,
    responses((status = 200, body = Organization), Problems)
)]
async fn set_tier(
    State(api): State<Arc<Api>>,
    caller: Caller,
    expected: Expected,
    Body(asked): Body<NewTier>,
) -> Result<Response, Problem> {
    let (id, tier) = (caller.organization, value("tier", &asked.tier)?);
    change(&api, &caller, expected, api.platform.set_tier(&caller.initiator, id, tier)).await
}

async fn change(
    api: &Api,
    caller: &Caller,
    expected: Expected,
    changing: impl Future<Output = Result<(), PlatformError>>,
) -> Result<Response, Problem> {
    let id = caller.organization;
    let terms = expected.terms(move |judge| Unchanged::Organization(id, judge), shown);
    api.platform.on_terms(terms, changing).await?;
    Ok(current(StatusCode::OK, &shown(api.platform.organization(&caller.initiator, id).await?)))
}
