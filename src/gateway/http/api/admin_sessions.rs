//! Admin sessions: who works on a managed Mirth, and what became of it, as the managed server's agent told it.

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
    managing: AdminSessionEnd,
    managed: AdminSessionEnd,
    /// Where the managing side's client comes from
    local_peer: String,
    /// `running`; `silent`, where for ten minutes the managed server's agent told neither of its end nor that it goes
    /// on; `ended`
    state: &'static str,
    /// When the gateway was told of it first
    started_at: Time,
    /// When it was told of it last
    heard_at: Time,
    /// When it was told of its end
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    requests: u64,
    /// Of these, refused
    refused: u64,
    /// Of these, changing anything
    changes: u64,
    /// Records added to Mirth's own audit
    audits: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct AdminSessionEnd {
    organization: Named,
    /// The server's name
    server: String,
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

/// Lists the sessions of one's admin connections, the newest first
///
/// They are what the managed server's agent told. They are kept for 90 days, and of each connection the newest 1,000 in
/// which nothing was refused or changed and the newest 4,000 in which something was.
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
        managing: end(view.managing),
        managed: end(view.managed),
        local_peer: view.local_peer.to_string(),
        state: view.state.as_str(),
        started_at: view.started_at.into(),
        heard_at: view.heard_at.into(),
        ended_at: view.ended_at.map(Time),
        requests: view.counts.requests,
        refused: view.counts.refused,
        changes: view.counts.changes,
        audits: view.counts.audits,
    }
}

fn end(end: SessionEnd) -> AdminSessionEnd {
    AdminSessionEnd {
        organization: Named::new(end.organization_id, end.organization),
        server: end.server.to_string(),
    }
}
