//! What is shown of a connection: the same to both parties, but for whose tier holds a pause.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::connectors::ConnectorProgress;
use crate::http::output::{Named, Time};
use crate::http::tag::Tagged;
use crate::platform::{CarriedView, ConnectionView, EndView, TimedState};

impl Tagged for Connection {}

/// A tunnel between two servers.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http::api) struct Connection {
    #[schema(format = Uuid)]
    id: String,
    /// `P2P`, `Admin RW` or `Admin RO`
    r#type: &'static str,
    /// The same for whoever looks
    route: String,
    source: End,
    target: End,
    /// Of a P2P connection
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<CarriedChannel>,
    /// Of an admin connection
    #[serde(skip_serializing_if = "Option::is_none")]
    administration: Option<Administration>,
    /// What people decided: `Provisioning`, `Ready`, `Active`, `Paused`, `Offered`, `Failed`, `Declined`, `Expired` or
    /// `Terminated`
    status: &'static str,
    /// Whose pauses are in force
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_by: Vec<String>,
    /// Why it is Failed
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// What is true now: `Connected`, `Disconnected` or `Never connected`
    connectivity: &'static str,
    /// Whether it is connected while it is Active
    pulses: bool,
    /// When a message was acknowledged last
    #[serde(skip_serializing_if = "Option::is_none")]
    last_acknowledged_at: Option<Time>,
    created_at: Time,
    changed_at: Time,
    /// In details, to the owner of the target server alone
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connector: Option<ConnectorProgress>,
    /// In details, to an owner of the secret alone, while the connection has not ended: what View Secret would find:
    /// `viewable`, `viewed` by this owner, whose one view is used, or `gone`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_view: Option<&'static str>,
    /// In lists that are asked for it: messages and stored objects of each of the last 60 minutes, the oldest first;
    /// empty where nothing was measured
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http::api) last_hour: Option<Vec<u64>>,
}

/// One end, as its agent and the gateway know it.
#[derive(Debug, Serialize, ToSchema)]
struct End {
    organization: Named,
    /// Absent until the recipient of an offer has named one
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Named>,
    /// Its agent's link to the gateway: `up`, `down` or `never`
    link: State,
    /// The tunnel as its agent has it: `direct`, `punched`, `relay`, `tcp` or `other` while it is up, else `down` or
    /// `never`
    tunnel: State,
    /// Its agent's way to the local Mirth, at the target: `up` or `down`
    #[serde(skip_serializing_if = "Option::is_none")]
    mirth: Option<State>,
    /// What keeps the connection from carrying, as its agent sees it; absent while nothing does, and of an agent that
    /// does not say. `no_entry`, `mismatch`, `update_needed`: its file or its build; `port_taken`: the port for local
    /// senders; `no_secret`, `wrong_secret`, `file_secret`, `peer_key`, `peer_key_uncompared`, `peer_certificate`,
    /// `refused_by_peer`: one side does not trust the other; `no_common_path`, `no_path`, `path_limited`, `peer_silent`:
    /// packets between the agents; `mirth_key`: the key of the managed Mirth; `stopping`, `full`, `peer_full`;
    /// `sender_refused`, `not_answered`, `not_accepted`: the last message; `other`
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<State>,
}

/// What is so, and since when.
#[derive(Debug, Serialize, ToSchema)]
struct State {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CarriedChannel {
    name: String,
    /// `mllp`, `dicom` or `tcp`
    protocol: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Administration {
    /// `read-only` or `read-write`
    access: &'static str,
    /// Whose server is managed
    offered_by: String,
    /// While it is Offered: until when it may be accepted
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

pub(in crate::http::api) fn shown(view: ConnectionView) -> Connection {
    let route = view.route();
    let (channel, administration) = carried(view.carried);
    Connection {
        id: view.id.to_string(),
        r#type: view.kind.as_str(),
        route,
        source: end(view.source),
        target: end(view.target),
        channel,
        administration,
        status: view.status.as_str(),
        held_by: view.held_by,
        failure: view.failure,
        connectivity: view.connectivity.as_str(),
        pulses: view.pulses,
        last_acknowledged_at: view.last_ack.map(Time),
        created_at: view.created_at.into(),
        changed_at: view.changed_at.into(),
        connector: None,
        secret_view: None,
        last_hour: None,
    }
}

fn carried(carried: CarriedView) -> (Option<CarriedChannel>, Option<Administration>) {
    match carried {
        CarriedView::Channel { channel, protocol } => {
            (Some(CarriedChannel { name: channel.to_string(), protocol: protocol.as_str() }), None)
        }
        CarriedView::Admin { access, offered_by, expires_at } => {
            let administration = Administration {
                access: access.as_str(),
                offered_by: offered_by.to_string(),
                expires_at: expires_at.map(Time),
            };
            (None, Some(administration))
        }
    }
}

fn end(end: EndView) -> End {
    End {
        organization: Named::new(end.organization_id, end.organization),
        server: end.server.map(|id| Named::new(id, end.name)),
        link: state(&end.link),
        tunnel: state(&end.tunnel),
        mirth: end.mirth.as_ref().map(state),
        fault: end.fault.as_ref().map(state),
    }
}

fn state(timed: &TimedState) -> State {
    State { state: timed.state, since: timed.since.map(Time) }
}
