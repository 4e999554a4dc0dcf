//! Channels: one's own, those that peers publish, and those that one has a connection to.

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
use crate::http::input::{Asked, Body, Id, optional, paging, value};
use crate::http::once::{Creation, created};
use crate::http::output::{Named, Rows};
use crate::http::problem::{Problem, Problems};
use crate::http::tag::{Expected, Known, Tagged, current};
use crate::platform::{ChannelFilter, ChannelText, ChannelView, NewChannel, Terms, Unchanged};
use adit_core::domain::id::{ChannelId, OrganizationId};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(one, patch, delete))
        .routes(routes!(deletion))
        .routes(routes!(publish))
        .routes(routes!(unpublish))
}

/// A receiving endpoint of a server.
#[derive(Debug, Serialize, ToSchema)]
struct Channel {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    description: String,
    /// `mllp`, `dicom` or `tcp`
    protocol: &'static str,
    organization: Named,
    /// Of one's own, and of those that one has a connection to
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Named>,
    /// Of one's own: whether peers see it
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<bool>,
}

/// Its server and its organization are called otherwise by others' changes.
impl Tagged for Channel {
    fn written(&self) -> Option<Vec<&str>> {
        let published = if self.published == Some(true) { "published" } else { "hidden" };
        Some(vec![&self.name, &self.description, self.protocol, published])
    }
}

/// Shows it as far as the organization may see it.
fn shown(view: ChannelView, own: OrganizationId) -> Channel {
    let is_own = view.organization_id == own;
    Channel {
        id: view.id.to_string(),
        name: view.name.to_string(),
        description: view.description.to_string(),
        protocol: view.protocol.as_str(),
        organization: Named::new(view.organization_id, view.organization),
        server: view.server_id.zip(view.server).map(|(id, name)| Named::new(id, name)),
        published: is_own.then_some(view.published),
    }
}

/// Which channels.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ChannelQuery {
    /// Only one's own, or with `false` only those of others
    own: Option<bool>,
    /// Of this organization, one's own or a peer
    #[param(format = Uuid)]
    organization: Option<String>,
    /// On this server, as far as one may know it
    #[param(format = Uuid)]
    server: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists channels by name: one's own, those that peers publish, and those that one has a connection to
#[utoipa::path(
    get,
    path = "/channels",
    tag = "channels",
    params(ChannelQuery),
    responses((status = 200, body = Rows<Channel>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<ChannelQuery>,
) -> Result<Json<Rows<Channel>>, Problem> {
    let named = optional("organization", query.organization.as_deref())?;
    let own = (query.own == Some(true)).then_some(caller.organization);
    let filter = ChannelFilter {
        organization: named.or(own),
        others: query.own == Some(false),
        server: optional("server", query.server.as_deref())?,
        ..ChannelFilter::default()
    };
    let paging = paging(query.after.as_deref(), query.count)?;
    if query.own.zip(named).is_some_and(|(own, named)| own != (named == caller.organization)) {
        return Ok(Json(Rows { rows: Vec::new(), next: None }));
    }
    let page = api.platform.list_channels(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, |view| shown(view, caller.organization))))
}

/// Shows a channel
#[utoipa::path(
    get,
    path = "/channels/{id}",
    tag = "channels",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Channel), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.channel(&caller.initiator, id).await?, caller.organization)))
}

/// A channel to add. Where it forwards to stands in the agent's own file alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddedChannel {
    /// One's own server
    #[schema(format = Uuid)]
    server: String,
    name: String,
    #[serde(default)]
    description: String,
    /// `mllp`, `dicom` or `tcp`
    protocol: String,
    /// Whether peers see it
    #[serde(default)]
    published: bool,
}

/// Adds a channel to a server of one's own
#[utoipa::path(
    post,
    path = "/channels",
    tag = "channels",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = AddedChannel,
    responses((status = 201, body = Channel), Problems)
)]
async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<AddedChannel>,
) -> Result<Response, Problem> {
    let new = NewChannel {
        server: value("server", &asked.server)?,
        name: value("name", &asked.name)?,
        description: value("description", &asked.description)?,
        protocol: value("protocol", &asked.protocol)?,
        published: asked.published,
    };
    let made = once.make(&api, &caller, api.platform.add_channel(&caller.initiator, &new)).await?.id()?;
    let view = api.platform.channel(&caller.initiator, made).await?;
    Ok(created(&format!("channels/{made}"), &shown(view, caller.organization)))
}

/// What is to be written anew; the rest stays, and the protocol does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChannelChange {
    name: Option<String>,
    description: Option<String>,
}

/// Writes a channel's name or description anew
#[utoipa::path(
    patch,
    path = "/channels/{id}",
    tag = "channels",
    params(
        ("id" = String, Path, format = Uuid),
        ("If-Match" = String, Header, description = "The `ETag` of the channel as it was read")
    ),
    request_body = ChannelChange,
    responses((status = 200, body = Channel), Problems)
)]
async fn patch(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    expected: Expected,
    Body(asked): Body<ChannelChange>,
) -> Result<Response, Problem> {
    let view = api.platform.channel(&caller.initiator, id).await?;
    let text = ChannelText {
        name: asked.name.map_or_else(|| Ok(view.name.clone()), |text| value("name", &text))?,
        description: asked
            .description
            .map_or_else(|| Ok(view.description.clone()), |text| value("description", &text))?,
    };
    // What stays is as it was just read, also where any state is to be changed.
    let expected = expected.narrowed_to(&shown(view, caller.organization));
    let describing = api.platform.describe_channel(&caller.initiator, id, &text);
    api.platform.on_terms(terms(&caller, id, expected), describing).await?;
    now(&api, &caller, id).await
}

fn terms(caller: &Caller, id: ChannelId, expected: Expected) -> Terms {
    let own = caller.organization;
    expected.terms(move |judge| Unchanged::Channel(id, judge), move |view| shown(view, own))
}

/// Says what would end with a channel
#[utoipa::path(
    get,
    path = "/channels/{id}/deletion",
    tag = "channels",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Consequences), Problems)
)]
async fn deletion(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Json<Consequences>, Problem> {
    Ok(Json(api.platform.channel_deletion(&caller.initiator, id).await?.into()))
}

/// Deletes a channel, with all that hangs on it
#[utoipa::path(
    delete,
    path = "/channels/{id}",
    tag = "channels",
    params(
        ("id" = String, Path, format = Uuid),
        ("If-Match" = String, Header, description = "The `ETag` of the channel as it was read")
    ),
    responses((status = 200, body = Consequences), Problems)
)]
async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    expected: Expected,
) -> Result<Json<Consequences>, Problem> {
    let deleting = api.platform.delete_channel(&caller.initiator, id);
    Ok(Json(api.platform.on_terms(terms(&caller, id, expected), deleting).await?.into()))
}

/// Shows a channel to peers
#[utoipa::path(
    post,
    path = "/channels/{id}/publish",
    tag = "channels",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Channel), Problems)
)]
async fn publish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Response, Problem> {
    set_published(&api, &caller, id, true).await
}

/// Hides a channel from peers that have no connection to it
#[utoipa::path(
    post,
    path = "/channels/{id}/unpublish",
    tag = "channels",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Channel), Problems)
)]
async fn unpublish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Response, Problem> {
    set_published(&api, &caller, id, false).await
}

async fn set_published(
    api: &Api,
    caller: &Caller,
    id: ChannelId,
    published: bool,
) -> Result<Response, Problem> {
    api.platform.set_published(&caller.initiator, id, published).await?;
    now(api, caller, id).await
}

async fn now(api: &Api, caller: &Caller, id: ChannelId) -> Result<Response, Problem> {
    let view = api.platform.channel(&caller.initiator, id).await?;
    Ok(current(StatusCode::OK, &shown(view, caller.organization)))
}
