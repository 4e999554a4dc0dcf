//! Connector files: by one a server's agent finds the gateway and enrols. Each is shown once, to the server's owner
//! alone; how far it has come can be asked at any time.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Id, value};
use crate::http::once::{Creation, Made};
use crate::http::output::Time;
use crate::http::problem::{Problem, Problems};
use crate::platform;
use adit_core::domain::id::ServerId;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(progress, issue))
}

/// How far a server's newest connector file has come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectorProgress {
    /// `none` was issued; `downloaded`, `enrolled`, `connected`; or `expired` or `revoked`
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<Time>,
    /// Until when an agent may enrol with it
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

impl From<Option<platform::ConnectorProgress>> for ConnectorProgress {
    fn from(progress: Option<platform::ConnectorProgress>) -> Self {
        Self {
            stage: progress.map_or("none", |progress| progress.stage.as_str()),
            issued_at: progress.map(|progress| progress.issued_at.into()),
            expires_at: progress.map(|progress| progress.expires_at.into()),
        }
    }
}

/// A connector file on its only way to its owner. Deliberately without `Debug`.
#[derive(Serialize, ToSchema)]
struct IssuedConnector {
    progress: ConnectorProgress,
    /// `connector.toml` for the server's agent, with a registration token in it that is good once. Absent where the
    /// same request was answered before: it is shown once
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    file: Option<Zeroizing<String>>,
}

/// How long it is good for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewConnector {
    /// `1h`, `24h` or `7d`
    life: String,
}

/// Issues a connector file for a server of one's own, which voids the one before
#[utoipa::path(
    post,
    path = "/servers/{id}/connector",
    tag = "connectors",
    params(("id" = String, Path, format = Uuid), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewConnector,
    responses((status = 201, body = IssuedConnector), Problems)
)]
async fn issue(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
    Creation { asked, once }: Creation<NewConnector>,
) -> Result<Response, Problem> {
    let life = value("life", &asked.life)?;
    let issuing = api.platform.connector(&caller.initiator, id, life, &api.gateway);
    let file = match once.make(&api, &caller, issuing).await? {
        Made::Now(file) => Some(file.text),
        Made::Before(_) => None,
    };
    let progress = api.platform.connector_progress(&caller.initiator, id).await?.into();
    let answer =
        (StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(IssuedConnector { progress, file }));
    Ok(answer.into_response())
}

/// Shows how far the newest connector file of a server of one's own has come
#[utoipa::path(
    get,
    path = "/servers/{id}/connector",
    tag = "connectors",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = ConnectorProgress), Problems)
)]
async fn progress(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ServerId>,
) -> Result<Json<ConnectorProgress>, Problem> {
    Ok(Json(api.platform.connector_progress(&caller.initiator, id).await?.into()))
}
