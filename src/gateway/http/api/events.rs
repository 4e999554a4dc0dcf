//! What happens, as it happens: server-sent events (WHATWG HTML §9.2) of what concerns the caller's organization. An
//! event says what to read again and nothing else, so that whoever may not read it learns nothing.

mod stream;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::stream::{EventStream, Heard};
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::problem::{Problem, Problems};

const LAST_EVENT_ID: &str = "Last-Event-ID";

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(events))
}

/// One event, as its stream writes it.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "described, never made")]
struct StreamedEvent {
    /// A kind of thing, `start` or `reload`
    event: String,
    /// What to send as `Last-Event-ID`; not every event has one
    id: Option<String>,
    /// A JSON object with ids
    data: String,
}

/// Streams what concerns one's own organization
///
/// Each event is a kind of thing, with the ids of one's own server or connection where it is of one: `organization`,
/// `server`, `channel`, `peering`, `grant`, `connection`, `admin_session`, `secret`, `connector`, `user`, and
/// `connectivity` for what is true of a connection now. `start` begins a stream, `reload` says that more has happened than is told: read everything
/// again. A comment comes after 15 seconds without an event. The stream ends when its user may not listen any more.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The `id` after which a stream goes on")),
    responses((status = 200, body = StreamedEvent, content_type = "text/event-stream"), Problems)
)]
async fn events(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get(LAST_EVENT_ID).map_or(Heard::Nothing, |value| {
        let text = value.to_str().ok();
        let change = text.and_then(|text| api.platform.change_told(caller.organization, text));
        change.map_or(Heard::Other, Heard::Change)
    });
    let stream = EventStream::begin(api, caller, after).await?;
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(unfold(stream, EventStream::next))).into_response())
}
