//! Admin sessions: who works on a managed Mirth, and what became of it, as both sides' agents told it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Asked, optional, paging};
use crate::http::output::{Named, Rows, Time};
use crate::http::problem::{Problem, Problems};
use crate::platform::{AdminSessionFilter, AdminSessionView, SessionEnd};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One address's work on a managed Mirth, from its first connection until it has had none for a minute.
#[derive(Debug, Serialize, ToSchema)]
struct AdminSession {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    connection: String,
    /// `Admin RW` or `Admin RO`
    r#type: &'static str,
    managing: Managing,
    managed: Managed,
    /// Where the managing side's client comes from
    local_peer: String,
    /// `running`; `silent`, where for ten minutes nobody told of its end nor that it goes on; `ended`
    state: &'static str,
    started_at: Time,
    /// When either side's agent told of it last
    heard_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Managing {
    organization: Named,
    /// The server's name
    server: String,
    /// Requests that its agent told of; absent where it told nothing
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
}

/// What the managed side's agent told is absent where it told nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Managed {
    organization: Named,
    /// The server's name
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// Of these, refused
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
    /// Of these, changing anything
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<u64>,
    /// Records added to Mirth's own audit
    #[serde(skip_serializing_if = "Option::is_none")]
    audits: Option<u64>,
}

/// Which admin sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AdminSessionQuery {
    /// Of this connection
    #[param(format = Uuid)]
    connection: Option<String>,
    /// Those that run, or those that do not
    running: Option<bool>,
    /// `next` of the page before
    after: Option<String>,
    /// Rows, 1 to 500
    #[param(minimum = 1, maximum = 500)]
    count: Option<u32>,
}

/// Lists the sessions of one's admin connections: those that run first, then the newest
///
/// They are kept for 90 days, and of each connection the newest.
#[utoipa::path(
    get,
    path = "/admin-sessions",
    tag = "connections",
    params(AdminSessionQuery),
    responses((status = 200, body = Rows<AdminSession>), Problems)
)]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(query): Asked<AdminSessionQuery>,
) -> Result<Json<Rows<AdminSession>>, Problem> {
    let filter = AdminSessionFilter {
        connection: optional("connection", query.connection.as_deref())?,
        running: query.running,
    };
    let paging = paging(query.after.as_deref(), query.count)?;
    let page = api.platform.list_admin_sessions(&caller.initiator, &filter, &paging).await?;
    Ok(Json(Rows::of(page, shown)))
}

fn shown(view: AdminSessionView) -> AdminSession {
    AdminSession {
        id: view.id.to_string(),
        connection: view.connection.to_string(),
        r#type: view.kind.as_str(),
        managing: managing(view.managing),
        managed: managed(view.managed),
        local_peer: view.local_peer.to_string(),
        state: view.state.as_str(),
        started_at: view.started_at.into(),
        heard_at: view.heard_at.into(),
        ended_at: view.ended_at.map(Time),
    }
}

fn managing(end: SessionEnd) -> Managing {
    Managing {
        organization: Named::new(end.organization_id, end.organization),
        server: end.server.to_string(),
        requests: end.told.map(|told| told.requests),
    }
}

fn managed(end: SessionEnd) -> Managed {
    Managed {
        organization: Named::new(end.organization_id, end.organization),
        server: end.server.to_string(),
        requests: end.told.map(|told| told.requests),
        refused: end.told.map(|told| told.refused),
        changes: end.told.map(|told| told.changes),
        audits: end.told.map(|told| told.audits),
    }
}
