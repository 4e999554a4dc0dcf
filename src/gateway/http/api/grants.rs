//! Grants: permission for one peer on one channel, offered by its owner or requested by the peer.

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
use crate::http::input::{Asked, Id, OptionalBody, optional, paging, value, values};
use crate::http::once::{Creation, Once, created};
use crate::http::output::{Named, Rows};
use crate::http::problem::{Problem, Problems};
use crate::http::tag::{Known, Tagged, current};
use crate::platform::{GrantFilter, GrantStatus, GrantView, PlatformError};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::GrantId;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(offer))
        .routes(routes!(request))
        .routes(routes!(one))
        .routes(routes!(approve))
        .routes(routes!(deny))
        .routes(routes!(revoke))
        .routes(routes!(relinquish))
}

/// Permission for one peer on one channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Grant {
    #[schema(format = Uuid)]
    id: String,
    channel: GrantedChannel,
    /// Whose channel it is
    owner: Named,
    /// Who may send to it
    holder: Named,
    /// `offered` by the owner or `requested` by the holder
    origin: &'static str,
    /// `pending`, `approved`, `denied`, `revoked` or `relinquished`
    status: &'static str,
    /// Who has to approve or deny it, while it is pending
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    decider: Option<String>,
    /// Made by its approval
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    connection: Option<String>,
}

/// The channel of a grant; without name and protocol while one may not see it.
#[derive(Debug, Serialize, ToSchema)]
struct GrantedChannel {
    #[schema(format = Uuid)]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
}

impl Tagged for Grant {}

pub(super) fn shown(view: GrantView) -> Grant {
    let is_pending = view.status == GrantStatus::Pending.as_str();
    Grant {
        id: view.id.to_string(),
        channel: GrantedChannel {
            id: view.channel.to_string(),
            name: view.channel_name.map(|name| name.to_string()),
            protocol: view.protocol.map(Protocol::as_str),
        },
        owner: Named::new(view.owner_id, view.owner),
        holder: Named::new(view.holder_id, view.holder),
        origin: view.origin,
        status: view.status,
        decider: is_pending.then(|| view.decider_id.to_string()),
        connection: view.connection.map(|id| id.to_string()),
    }
}

/// Which grants.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GrantQuery {
    /// Any of these, with commas between them: `pending`, `approved`, `denied`, `revoked`, `relinquished`
    status: Option<String>,
    /// Whose owner or holder this organization is
    #[param(format = Uuid)]
    organization: Option<String>,
    #[param(format = Uuid)]
    channel: Option<String>,
    /// That this organization has to approve or deny
    #[param(format = Uuid)]
    decider: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists the grants that one has given or holds, the oldest first
#[utoipa::path(
    get,
    path = "/grants",
    tag = "grants",
    params(GrantQuery),
    responses((status = 200, body = Rows<Grant>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<GrantQuery>,
) -> Result<Json<Rows<Grant>>, Problem> {
    let filter = GrantFilter {
        organization: optional("organization", query.organization.as_deref())?,
        statuses: values("status", query.status.as_deref(), |text| text.parse::<GrantStatus>().ok())?,
        channel: optional("channel", query.channel.as_deref())?,
        decider: optional("decider", query.decider.as_deref())?,
        ..GrantFilter::default()
    };
    let paging = paging(query.after.as_deref(), query.count)?;
    let page = api.platform.list_grants(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}

/// Shows a grant that one has given or holds
#[utoipa::path(
    get,
    path = "/grants/{id}",
    tag = "grants",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Grant), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<GrantId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.grant(&caller.initiator, id).await?)))
}

/// What is offered to whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OfferedGrant {
    /// One's own, published
    #[schema(format = Uuid)]
    channel: String,
    /// The peer that may send to it and decides
    #[schema(format = Uuid)]
    holder: String,
}

/// Offers a peer to send to a channel of one's own; the peer decides
#[utoipa::path(
    post,
    path = "/grants/offer",
    tag = "grants",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = OfferedGrant,
    responses((status = 201, body = Grant), Problems)
)]
async fn offer(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<OfferedGrant>,
) -> Result<Response, Problem> {
    let (channel, holder) = (value("channel", &asked.channel)?, value("holder", &asked.holder)?);
    make(&api, &caller, once, api.platform.offer_grant(&caller.initiator, channel, holder)).await
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RequestedGrant {
    /// A peer's, published
    #[schema(format = Uuid)]
    channel: String,
    /// The server of one's own that will send
    #[schema(format = Uuid)]
    source_server: String,
}

/// Asks to send to a peer's channel; its owner decides
#[utoipa::path(
    post,
    path = "/grants/request",
    tag = "grants",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = RequestedGrant,
    responses((status = 201, body = Grant), Problems)
)]
async fn request(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<RequestedGrant>,
) -> Result<Response, Problem> {
    let channel = value("channel", &asked.channel)?;
    let source = value("source_server", &asked.source_server)?;
    make(&api, &caller, once, api.platform.request_grant(&caller.initiator, channel, source)).await
}

async fn make(
    api: &Api,
    caller: &Caller,
    once: Once,
    making: impl Future<Output = Result<GrantId, PlatformError>>,
) -> Result<Response, Problem> {
    let made = once.make(api, caller, making).await?.id()?;
    let view = api.platform.grant(&caller.initiator, made).await?;
    Ok(created(&format!("grants/{made}"), &shown(view)))
}

/// How it is approved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approval {
    /// For what was offered: the server of one's own that will send
    #[schema(format = Uuid)]
    source_server: Option<String>,
}

/// Approves a grant, which makes the connection
#[utoipa::path(
    post,
    path = "/grants/{id}/approve",
    tag = "grants",
    params(("id" = String, Path, format = Uuid)),
    request_body = Option<Approval>,
    responses((status = 200, body = Grant), Problems)
)]
async fn approve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<GrantId>,
    OptionalBody(asked): OptionalBody<Approval>,
) -> Result<Response, Problem> {
    let source = optional("source_server", asked.source_server.as_deref())?;
    now(&api, &caller, id, api.platform.approve_grant(&caller.initiator, id, source)).await
}

/// Denies a grant
#[utoipa::path(
    post,
    path = "/grants/{id}/deny",
    tag = "grants",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Grant), Problems)
)]
async fn deny(State(api): State<Arc<Api>>, caller: Caller, Id(id): Id<GrantId>) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.deny_grant(&caller.initiator, id)).await
}

/// Revokes a grant on a channel of one's own; its connection is terminated
#[utoipa::path(
    post,
    path = "/grants/{id}/revoke",
    tag = "grants",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Grant), Problems)
)]
async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<GrantId>,
) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.revoke_grant(&caller.initiator, id)).await
}

/// Relinquishes a grant that one holds; its connection is terminated
#[utoipa::path(
    post,
    path = "/grants/{id}/relinquish",
    tag = "grants",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Grant), Problems)
)]
async fn relinquish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<GrantId>,
) -> Result<Response, Problem> {
    now(&api, &caller, id, api.platform.relinquish_grant(&caller.initiator, id)).await
}

/// Does it, and answers with what there is then.
async fn now<T>(
    api: &Api,
    caller: &Caller,
    id: GrantId,
    doing: impl Future<Output = Result<T, PlatformError>>,
) -> Result<Response, Problem> {
    doing.await?;
    Ok(current(StatusCode::OK, &shown(api.platform.grant(&caller.initiator, id).await?)))
}
