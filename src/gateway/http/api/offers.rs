//! Admin offers: the owner of a server offers a peer to manage it, and the peer accepts or declines. An offer is a
//! connection that is Offered, and goes by its id.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::{Connection, detail, now};
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::input::{Body, Id, optional, value};
use crate::http::once::{Creation, created};
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::platform::AdminOffer;
use adit_core::domain::access::Access;
use adit_core::domain::id::ConnectionId;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(offer))
        .routes(routes!(accept))
        .routes(routes!(decline))
        .routes(routes!(withdraw))
}

/// What is offered to whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOffer {
    /// One's own, to be managed
    #[schema(format = Uuid)]
    server: String,
    /// The peer that may manage it
    #[schema(format = Uuid)]
    recipient: String,
    /// `read-only` or `read-write`
    access: String,
    /// How long it may be accepted: hours or days from `1h` to `30d`; `7d` where none is said
    life: Option<String>,
}

/// Offers a peer to manage a server of one's own
#[utoipa::path(
    post,
    path = "/offers",
    tag = "offers",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewOffer,
    responses((status = 201, body = Connection), Problems)
)]
async fn offer(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Creation { asked, once }: Creation<NewOffer>,
) -> Result<Response, Problem> {
    let offer = AdminOffer {
        server: value("server", &asked.server)?,
        to: value("recipient", &asked.recipient)?,
        access: access(&asked.access)?,
        life: optional("life", asked.life.as_deref())?.unwrap_or_default(),
    };
    let made = once.make(&api, &caller, api.platform.offer_admin(&caller.initiator, &offer)).await?.id()?;
    Ok(created(&format!("connections/{made}"), &detail(&api, &caller, made).await?))
}

fn access(text: &str) -> Result<Access, Problem> {
    let known = Access::ALL.into_iter().find(|access| access.as_str() == text);
    known.ok_or_else(|| {
        Problem::new(ProblemKind::Invalid, "`access`: expected `read-only` or `read-write`").at("access")
    })
}

/// From where it is managed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    /// The server of one's own whose agent carries the sessions
    #[schema(format = Uuid)]
    server: String,
}

/// Accepts an offer: the connection is Active
#[utoipa::path(
    post,
    path = "/offers/{id}/accept",
    tag = "offers",
    params(("id" = String, Path, format = Uuid)),
    request_body = Acceptance,
    responses((status = 200, body = Connection), Problems)
)]
async fn accept(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Body(asked): Body<Acceptance>,
) -> Result<Response, Problem> {
    let server = value("server", &asked.server)?;
    api.platform.accept_offer(&caller.initiator, id, server).await?;
    now(&api, &caller, id).await
}

/// Declines an offer
#[utoipa::path(
    post,
    path = "/offers/{id}/decline",
    tag = "offers",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn decline(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    api.platform.decline_offer(&caller.initiator, id).await?;
    now(&api, &caller, id).await
}

/// Withdraws one's own offer
#[utoipa::path(
    post,
    path = "/offers/{id}/withdraw",
    tag = "offers",
    params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = Connection), Problems)
)]
async fn withdraw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
) -> Result<Response, Problem> {
    api.platform.withdraw_offer(&caller.initiator, id).await?;
    now(&api, &caller, id).await
}
