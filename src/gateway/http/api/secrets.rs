//! The shared secret of a connection: viewed deliberately, since each view counts, or made anew. No other answer has
//! one in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::Id;
use crate::http::problem::{Problem, Problems};
use adit_core::domain::id::ConnectionId;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(view)).routes(routes!(rotate))
}

/// A secret on its only way to an owner's eyes. Deliberately without `Debug`.
#[derive(Serialize, ToSchema)]
struct ViewedSecret {
    /// 64 hexadecimal digits, as the agent's file takes it
    #[schema(value_type = String)]
    secret: Zeroizing<String>,
    /// Which of the connection's secrets it is, counted from 1
    epoch: u32,
}

/// Views the secret of a connection
///
/// Of a P2P connection once for each owner; of an admin connection for the managed server's owner alone, five times an
/// hour at most. When it is gone, Rotate Secrets makes a new one.
#[utoipa::path(
    post,
    path = "/connections/{id}/view-secret",
    tag = "secrets",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = ViewedSecret), Problems)
)]
async fn view(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    let revealed = api.platform.view_secret(&caller.initiator, id).await?;
    let secret = Zeroizing::new(revealed.secret.reveal_hex());
    Ok(([(CACHE_CONTROL, "no-store")], Json(ViewedSecret { secret, epoch: revealed.epoch })).into_response())
}

/// Which secret is good now.
#[derive(Debug, Serialize, ToSchema)]
struct RotatedSecret {
    /// Which of the connection's secrets it is, counted from 1
    epoch: u32,
}

/// Rotates the secret of a connection
///
/// The old one is dead for new handshakes at once; tunnels that are up go on. Each owner may view the new one.
#[utoipa::path(
    post,
    path = "/connections/{id}/rotate-secrets",
    tag = "secrets",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = RotatedSecret), Problems)
)]
async fn rotate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Json<RotatedSecret>, Problem> {
    Ok(Json(RotatedSecret { epoch: api.platform.rotate_secret(&caller.initiator, id).await? }))
}
