//! The API, version 1: one file for each kind of thing, and the description that is made of them.

mod account;
mod admin_sessions;
mod audit;
mod channels;
mod connections;
mod connectors;
mod consequences;
mod description;
mod events;
mod grants;
mod invitations;
mod measurements;
mod offers;
mod organizations;
mod overview;
mod peerings;
mod second_factor;
mod secrets;
mod servers;
mod session;
pub(super) mod sso;
mod tokens;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use super::problem::{Problem, ProblemKind};

const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    components(schemas(super::problem::ProblemDetails)),
    info(
        title = "adit gateway",
        description = "What two organizations do and see together. Errors are problem details (RFC 9457); lists come in pages.",
        license(name = "Apache-2.0")
    )
)]
struct Head;

/// Returns every endpoint with its description.
fn described() -> OpenApiRouter<Arc<Api>> {
    let all = OpenApiRouter::new()
        .merge(organizations::routes())
        .merge(overview::routes())
        .merge(resources())
        .merge(session::routes())
        .merge(account::routes())
        .merge(second_factor::routes())
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(invitations::routes())
        .merge(measurements::routes())
        .merge(sso::routes());
    OpenApiRouter::with_openapi(Head::openapi()).nest(BASE, all)
}

/// Returns what organizations own and share.
fn resources() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(peerings::routes())
        .merge(servers::routes())
        .merge(connectors::routes())
        .merge(channels::routes())
        .merge(grants::routes())
        .merge(connections::routes())
        .merge(offers::routes())
        .merge(admin_sessions::routes())
        .merge(secrets::routes())
        .merge(audit::routes())
        .merge(events::routes())
}

/// Returns the description of the API (`OpenAPI` 3.1).
#[cfg(test)]
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    description::finished(described().split_for_parts().1)
}

pub(crate) fn routes(api: Arc<Api>) -> Router {
    let (router, described) = described().split_for_parts();
    let description: Arc<str> =
        serde_json::to_string_pretty(&description::finished(described)).unwrap_or_default().into();
    let served = move || {
        let text = description.to_string();
        async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], text) }
    };
    router
        .route(&format!("{BASE}/openapi.json"), axum::routing::get(served))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .with_state(api)
}

async fn nothing_here() -> Problem {
    Problem::not_found("path; /api/v1/openapi.json lists what there is")
}

async fn other_method(method: Method, uri: Uri) -> Problem {
    Problem::new(ProblemKind::Method, format!("{method} is not served at {}", uri.path()))
}

#[cfg(test)]
pub(in crate::http) mod tests;
