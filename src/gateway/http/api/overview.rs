//! What an organization begins with: what waits for somebody, and what flows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::{Connection, shown as connection};
use super::grants::{Grant, shown as grant};
use super::invitations::{Invitation, shown as invitation};
use super::peerings::{Peering, shown as peering};
use super::servers::{Server, shown as server};
use super::tokens::{ApiToken, shown as api_token};
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::problem::{Problem, Problems};
use crate::platform;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// The first few of a kind, and how many there are in all.
#[derive(Debug, Serialize, ToSchema)]
struct Group<T> {
    rows: Vec<T>,
    count: u32,
}

impl<T> Group<T> {
    fn of<V>(group: platform::Group<V>, shown: impl FnMut(V) -> T) -> Self {
        Self { rows: group.rows.into_iter().map(shown).collect(), count: group.count }
    }
}

/// What an organization has, what waits for it, and what flows.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    servers: ServerCounts,
    /// One's own
    channels: u32,
    /// Agreements that are live
    peers: u32,
    connections: ConnectionCounts,
    needs: Needs,
    /// Connections that are Active and connected, with their `last_hour`
    flows: Group<Connection>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ServerCounts {
    all: u32,
    /// Whose agents are linked to the gateway
    online: u32,
}

#[derive(Debug, Serialize, ToSchema)]
struct ConnectionCounts {
    /// That have not ended
    all: u32,
    active: u32,
    /// Of those that are Active
    connected: u32,
    /// Of all
    p2p: u32,
    /// Of those that are Active
    p2p_active: u32,
    /// Whether a message was ever acknowledged on one of them
    acknowledged: bool,
}

/// What waits for somebody, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct Needs {
    /// One's own to accept or decline
    peerings: Group<Peering>,
    /// One's own to approve or deny
    grants: Group<Grant>,
    /// Offered to one, to accept or decline
    offers: Group<Connection>,
    failed: Group<Connection>,
    /// Active, and not connected
    broken: Group<Connection>,
    /// Ready to be activated
    ready: Group<Connection>,
    /// Servers whose agents have not renewed their certificates as they should: they end within seven days, or have
    /// ended
    certificates: Group<Server>,
    /// Servers with a connector file that nobody has enrolled by and that ends within a day
    connectors: Group<Server>,
    /// Open, and end within a day; for owners
    invitations: Group<Invitation>,
    /// The user's own that end within 14 days; for who has signed in with a browser
    api_tokens: Group<ApiToken>,
}

/// Shows what one's organization has, what waits for it, and what flows
///
/// However much there is: of each kind the first few, and how many there are in all; the lists have the rest.
#[utoipa::path(
    get,
    path = "/overview",
    tag = "organizations",
    responses((status = 200, body = Overview), Problems)
)]
async fn overview(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Overview>, Problem> {
    let view = api.platform.overview(&caller.initiator).await?;
    let mut arrived = api.platform.arrivals_of_last_hour(&caller.initiator, &view.flows.rows).await?;
    let counts = counted(&view);
    let needs = Needs {
        peerings: Group::of(view.peerings, peering),
        grants: Group::of(view.grants, grant),
        offers: Group::of(view.offered, connection),
        failed: Group::of(view.failed, connection),
        broken: Group::of(view.broken, connection),
        ready: Group::of(view.ready, connection),
        certificates: Group::of(view.certificates, server),
        connectors: Group::of(view.connectors, server),
        invitations: Group::of(view.invitations, invitation),
        api_tokens: Group::of(view.api_tokens, |view| api_token(&view)),
    };
    let flows = Group::of(view.flows, |view| {
        let last_hour = arrived.remove(&view.id).unwrap_or_default();
        let mut row = connection(view);
        row.last_hour = Some(last_hour);
        row
    });
    let servers = ServerCounts { all: view.servers, online: view.linked };
    let (channels, peers) = (view.channels, view.peers);
    Ok(Json(Overview { servers, channels, peers, connections: counts, needs, flows }))
}

fn counted(view: &platform::OverviewView) -> ConnectionCounts {
    let groups = [&view.offered, &view.failed, &view.broken, &view.ready, &view.flows];
    ConnectionCounts {
        all: view.idle + groups.iter().map(|group| group.count).sum::<u32>(),
        active: view.broken.count + view.flows.count,
        connected: view.flows.count,
        p2p: view.p2p,
        p2p_active: view.p2p_active,
        acknowledged: view.has_acknowledged,
    }
}
