//! Connections as their two parties see them, and what a party may do to one.

mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, Id, optional, paging, values};
use crate::http::output::Rows;
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::http::tag::{Known, current};
use crate::platform::{
    ConnectionCommand, ConnectionFilter, ConnectionView, PlatformError, Resource, SecretState, agent_entry,
    usual_address,
};
use adit_core::config::HostPort;
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::id::{ConnectionId, OrganizationId};
use adit_core::domain::status::Status;

pub(super) use shown::Connection;
pub(super) use shown::shown;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(entry))
        .routes(routes!(activate))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(disconnect))
        .routes(routes!(retry))
        .routes(routes!(terminate))
}

/// Some connections, and how many more have ended.
#[derive(Debug, Serialize, ToSchema)]
struct Connections {
    rows: Vec<Connection>,
    /// What to send as `after` for the next page; absent at the end
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Declined, Expired or Terminated ones that fit the rest of the query, listed or not
    ended: u32,
}

/// Which connections.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ConnectionQuery {
    /// Any of these, with commas between them: `Provisioning`, `Ready`, `Active`, `Paused`, `Offered`, `Failed`,
    /// `Declined`, `Expired`, `Terminated`
    status: Option<String>,
    /// Any of these, with commas between them: `P2P`, `Admin RW`, `Admin RO`
    r#type: Option<String>,
    /// With this server at one of its ends
    #[param(format = Uuid)]
    server: Option<String>,
    /// With this organization at one of its ends
    #[param(format = Uuid)]
    peer: Option<String>,
    /// Any of these, with commas between them: `Connected`, `Disconnected`, `Never connected`
    connectivity: Option<String>,
    /// Offered to this organization
    #[param(format = Uuid)]
    recipient: Option<String>,
    /// A part of the name of one of its ends, of its channel, or of the other party
    search: Option<String>,
    /// Whether those that have ended are listed too; where no status is asked for, they are not
    ended: Option<bool>,
    /// Whether each row has its `last_hour`
    last_hour: Option<bool>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

impl ConnectionQuery {
    fn filter(&self) -> Result<ConnectionFilter, Problem> {
        let statuses = values("status", self.status.as_deref(), |word| {
            let same: Vec<_> = Status::ALL.into_iter().filter(|it| is_label(it.as_str(), word)).collect();
            (!same.is_empty()).then_some(same)
        })?;
        let living =
            if self.ended == Some(true) { BTreeSet::new() } else { ConnectionFilter::living().statuses };
        Ok(ConnectionFilter {
            statuses: if statuses.is_empty() { living } else { statuses.into_iter().flatten().collect() },
            kinds: values("type", self.r#type.as_deref(), |word| {
                ConnectionType::ALL.into_iter().find(|it| is_label(it.as_str(), word))
            })?,
            recipient: optional("recipient", self.recipient.as_deref())?,
            server: optional("server", self.server.as_deref())?,
            organization: optional("peer", self.peer.as_deref())?,
            connectivity: values("connectivity", self.connectivity.as_deref(), |word| {
                Connectivity::ALL.into_iter().find(|it| is_label(it.as_str(), word))
            })?,
            search: optional("search", self.search.as_deref())?,
        })
    }
}

fn is_label(label: &str, word: &str) -> bool {
    label.eq_ignore_ascii_case(word)
}

/// Lists one's connections, the oldest first; those that have ended are counted until they are asked for
#[utoipa::path(
    get,
    path = "/connections",
    tag = "connections",
    params(ConnectionQuery),
    responses((status = 200, body = Connections), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<ConnectionQuery>,
) -> Result<Json<Connections>, Problem> {
    let filter = query.filter()?;
    let paging = paging(query.after.as_deref(), query.count)?;
    let (page, ended) =
        api.platform.list_connections_beside_ended(&caller.initiator, &filter, &paging).await?;
    let mut arrived = match query.last_hour {
        Some(true) => Some(api.platform.arrivals_of_last_hour(&caller.initiator, &page.rows).await?),
        Some(false) | None => None,
    };
    let Rows { rows, next } = Rows::of(page, |view| {
        let last_hour = arrived.as_mut().map(|arrived| arrived.remove(&view.id).unwrap_or_default());
        let mut row = shown(view);
        row.last_hour = last_hour;
        row
    });
    Ok(Json(Connections { rows, next, ended }))
}

/// Shows a connection of one's own
#[utoipa::path(
    get,
    path = "/connections/{id}",
    tag = "connections",
    params(("id" = String, Path, format = Uuid), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Connection), (status = 304), Problems)
)]
async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    known: Known,
) -> Result<Response, Problem> {
    Ok(known.answer(&detail(&api, &caller, id).await?))
}

/// Which entry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EntryQuery {
    /// Where one's own organization is at both ends: `source` or `target`
    side: Option<String>,
    /// Where the agent listens, forwards to or finds its Mirth, as in `127.0.0.1:6661`
    address: Option<String>,
}

/// Writes the lines that belong into the `agent.toml` of one's own side
#[utoipa::path(
    get,
    path = "/connections/{id}/entry",
    tag = "connections",
    params(("id" = String, Path, format = Uuid), EntryQuery),
    responses((status = 200, body = String, content_type = "text/plain"), Problems)
)]
async fn entry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Asked(query): Asked<EntryQuery>,
) -> Result<Response, Problem> {
    let side = query.side.as_deref().map(side).transpose()?;
    let address = optional::<HostPort>("address", query.address.as_deref())?;
    let view = api.platform.connection(&caller.initiator, id).await?;
    let side = own_side(&view, caller.organization, side)?;
    let address = address.map_or_else(|| usual_address(&view.carried).to_owned(), |it| it.to_string());
    let text = agent_entry(&view, side, &address).ok_or_else(|| {
        Problem::new(ProblemKind::Rule, "the offer is not accepted; its entries are there once it is")
    })?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

fn side(text: &str) -> Result<Side, Problem> {
    let known = [Side::Source, Side::Target].into_iter().find(|side| side.as_str() == text);
    known.ok_or_else(|| Problem::new(ProblemKind::Invalid, "`side` is `source` or `target`"))
}

/// Returns the side whose entry is meant; the other party's entry is the other party's.
fn own_side(view: &ConnectionView, own: OrganizationId, asked: Option<Side>) -> Result<Side, Problem> {
    let sides = match asked {
        Some(side) => vec![side],
        None => vec![Side::Source, Side::Target],
    };
    let mine = sides.into_iter().find(|side| view.end(*side).organization_id == own);
    mine.ok_or_else(|| PlatformError::NotFound { resource: Resource::Connection }.into())
}

/// Activates a connection that is Ready
#[utoipa::path(
    post,
    path = "/connections/{id}/activate",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn activate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Activate).await
}

/// Pauses a connection: what runs may end, nothing new starts
#[utoipa::path(
    post,
    path = "/connections/{id}/pause",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn pause(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Pause).await
}

/// Lifts one's own pause
#[utoipa::path(
    post,
    path = "/connections/{id}/resume",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn resume(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Resume).await
}

/// Cuts open tunnels; the status stays
#[utoipa::path(
    post,
    path = "/connections/{id}/disconnect",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Disconnect).await
}

/// Makes a connection that is Failed Ready again
#[utoipa::path(
    post,
    path = "/connections/{id}/retry",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Retry).await
}

/// Terminates a connection for good; tunnels are cut at once
#[utoipa::path(
    post,
    path = "/connections/{id}/terminate",
    tag = "connections",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn terminate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    execute(&api, &caller, id, ConnectionCommand::Terminate).await
}

async fn execute(
    api: &Api,
    caller: &Caller,
    id: ConnectionId,
    command: ConnectionCommand,
) -> Result<Response, Problem> {
    api.platform.command(&caller.initiator, id, command).await?;
    now(api, caller, id).await
}

/// Answers with what there is.
pub(super) async fn now(api: &Api, caller: &Caller, id: ConnectionId) -> Result<Response, Problem> {
    Ok(current(StatusCode::OK, &detail(api, caller, id).await?))
}

/// Returns all that a party may see of it. How far its connector file has come is the target's owner's alone, and how
/// its secret stands an owner's of that.
pub(super) async fn detail(api: &Api, caller: &Caller, id: ConnectionId) -> Result<Connection, Problem> {
    let view = api.platform.connection(&caller.initiator, id).await?;
    let target = view.target.server.filter(|_| view.target.organization_id == caller.organization);
    let is_living = !view.status.is_terminal();
    let mut connection = shown(view);
    if let Some(server) = target.filter(|_| is_living) {
        connection.connector = Some(api.platform.connector_progress(&caller.initiator, server).await?.into());
    }
    if is_living {
        connection.secret_view =
            api.platform.secret_state(&caller.initiator, id).await?.map(SecretState::as_str);
    }
    Ok(connection)
}
