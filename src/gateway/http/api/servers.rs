//! Servers: one's own, with all that is known of them. Those of others are seen by name alone, where a connection or a
//! channel names them.

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
use crate::http::input::{Asked, Body, Id, paging, value};
use crate::http::once::{Creation, created};
use crate::http::output::{Rows, Time};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::http::tag::{Expected, Known, Tagged, current};
use crate::platform::{EndsSoon, ServerFilter, ServerText, ServerView, Terms, Unchanged};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::NAME_CHARS_MAX;
use adit_core::domain::name::Description;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(one, put, patch, delete))
        .routes(routes!(deletion))
        .routes(routes!(revoke_key))
}

/// A server of one's own organization.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Server {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    description: String,
    /// Of the Mirth, as its owner wrote it
    version: String,
    /// Fingerprint of the agent's key, once it is enrolled
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled_at: Option<Time>,
    /// When its agent's certificate ends, which the agent renews each day
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_at: Option<Time>,
    /// Whether its agent is linked to the gateway
    online: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_since: Option<Time>,
    /// The version of adit that its agent runs, as it told when it was linked last
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
}

/// Its agent comes and goes, and enrols.
impl Tagged for Server {
    fn written(&self) -> Option<Vec<&str>> {
        Some(vec![&self.name, &self.description, &self.version])
    }
}

pub(super) fn shown(view: ServerView) -> Server {
    Server {
        id: view.id.to_string(),
        name: view.name.to_string(),
        description: view.description.to_string(),
        version: view.version,
        key: view.key.map(|key| key.to_string()),
        enrolled_at: view.enrolled_at.map(Time),
        certificate_expires_at: view.certificate_until.map(Time),
        online: view.is_online,
        online_since: view.online_since.map(Time),
        agent_version: view.agent_version,
    }
}

/// Which servers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ServerQuery {
    /// With something that ends soon: `certificate`, which the agent has not renewed as it should, or `connector`, a
    /// connector file by which nobody has enrolled yet
    ending: Option<String>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists one's servers, by name
#[utoipa::path(
    get,
    path = "/servers",
    tag = "servers",
    params(ServerQuery),
    responses((status = 200, body = Rows<Server>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<ServerQuery>,
) -> Result<Json<Rows<Server>>, Problem> {
    let ending = query.ending.as_deref().map(ends_soon).transpose()?;
    let filter = ServerFilter { ending, ..ServerFilter::default() };
    let paging = paging(query.after.as_deref(), query.count)?;
    let page = api.platform.list_servers(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}

fn ends_soon(word: &str) -> Result<EndsSoon, Problem> {
    let known = EndsSoon::ALL.into_iter().find(|it| it.as_str() == word);
    known.ok_or_else(|| Problem::new(ProblemKind::Invalid, "`ending` is `certificate` or `connector`"))
}

/// Shows a server of one's own
#[utoipa::path(
    get,
    path = "/servers/{id}",
    tag = "servers",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Server), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&shown(api.platform.server(&caller.initiator, id).await?)))
}

/// What an owner writes about a server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WrittenServer {
    name: String,
    #[serde(default)]
    description: String,
    /// Of the Mirth
    #[serde(default)]
    version: String,
}

impl WrittenServer {
    fn text(&self) -> Result<ServerText, Problem> {
        Ok(ServerText {
            name: value("name", &self.name)?,
            description: value("description", &self.description)?,
            version: version(&self.version)?,
        })
    }
}

/// Reads the version of a Mirth, which is as long as a name at most.
fn version(text: &str) -> Result<Description, Problem> {
    let version: Description = value("version", text)?;
    let chars = version.as_str().chars().count();
    if chars > NAME_CHARS_MAX {
        let detail = format!("`version`: it has at most {NAME_CHARS_MAX} characters, this one {chars}");
        return Err(Problem::new(ProblemKind::Invalid, detail).at("version"));
    }
    Ok(version)
}

/// Adds a server
#[utoipa::path(
    post,
    path = "/servers",
    tag = "servers",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = WrittenServer,
    responses((status = 201, body = Server), Problems)
)]
async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<WrittenServer>,
) -> Result<Response, Problem> {
    let text = asked.text()?;
    let made = once.make(&api, &caller, api.platform.add_server(&caller.initiator, &text)).await?.id()?;
    let view = api.platform.server(&caller.initiator, made).await?;
    Ok(created(&format!("servers/{made}"), &shown(view)))
}

/// Writes a server's name, description and version anew
#[utoipa::path(
    put,
    path = "/servers/{id}",
    tag = "servers",
    params(
        ("id" = String, Path, format = Uuid),
        ("If-Match" = String, Header, description = "The `ETag` of the server as it was read")
    ),
    request_body = WrittenServer,
    responses((status = 200, body = Server), Problems)
)]
async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
    expected: Expected,
    Body(asked): Body<WrittenServer>,
) -> Result<Response, Problem> {
    describe(&api, &caller, id, expected, &asked.text()?).await
}

/// What is to be written anew; the rest stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ServerChange {
    name: Option<String>,
    description: Option<String>,
    version: Option<String>,
}

/// Writes some of a server's name, description and version anew
#[utoipa::path(
    patch,
    path = "/servers/{id}",
    tag = "servers",
    params(
        ("id" = String, Path, format = Uuid),
        ("If-Match" = String, Header, description = "The `ETag` of the server as it was read")
    ),
    request_body = ServerChange,
    responses((status = 200, body = Server), Problems)
)]
async fn patch(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
    expected: Expected,
    Body(asked): Body<ServerChange>,
) -> Result<Response, Problem> {
    let view = api.platform.server(&caller.initiator, id).await?;
    let text = ServerText {
        name: asked.name.map_or_else(|| Ok(view.name.clone()), |text| value("name", &text))?,
        description: asked
            .description
            .map_or_else(|| Ok(view.description.clone()), |text| value("description", &text))?,
        version: version(asked.version.as_deref().unwrap_or(&view.version))?,
    };
    // What stays is as it was just read, also where any state is to be changed.
    let expected = expected.narrowed_to(&shown(view));
    describe(&api, &caller, id, expected, &text).await
}

async fn describe(
    api: &Api,
    caller: &Caller,
    id: ServerId,
    expected: Expected,
    text: &ServerText,
) -> Result<Response, Problem> {
    let describing = api.platform.describe_server(&caller.initiator, id, text);
    api.platform.on_terms(terms(id, expected), describing).await?;
    now(api, caller, id).await
}

fn terms(id: ServerId, expected: Expected) -> Terms {
    expected.terms(move |judge| Unchanged::Server(id, judge), shown)
}

/// Revokes the key of a server's agent, as of a host that is lost or stolen
///
/// Enrolling it again takes a new connector file and rotates the secrets of its connections.
#[utoipa::path(
    post,
    path = "/servers/{id}/revoke-key",
    tag = "servers",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Server), Problems)
)]
async fn revoke_key(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
) -> Result<Response, Problem> {
    api.platform.revoke_server(&caller.initiator, id).await?;
    now(&api, &caller, id).await
}

/// Says what would end with a server
#[utoipa::path(
    get,
    path = "/servers/{id}/deletion",
    tag = "servers",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Consequences), Problems)
)]
async fn deletion(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
) -> Result<Json<Consequences>, Problem> {
    Ok(Json(api.platform.server_deletion(&caller.initiator, id).await?.into()))
}

/// Deletes a server, with its channels and all that hangs on it
#[utoipa::path(
    delete,
    path = "/servers/{id}",
    tag = "servers",
    params(
        ("id" = String, Path, format = Uuid),
        ("If-Match" = String, Header, description = "The `ETag` of the server as it was read")
    ),
    responses((status = 200, body = Consequences), Problems)
)]
async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
    expected: Expected,
) -> Result<Json<Consequences>, Problem> {
    let deleting = api.platform.delete_server(&caller.initiator, id);
    Ok(Json(api.platform.on_terms(terms(id, expected), deleting).await?.into()))
}

async fn now(api: &Api, caller: &Caller, id: ServerId) -> Result<Response, Problem> {
    Ok(current(StatusCode::OK, &shown(api.platform.server(&caller.initiator, id).await?)))
}
