//! What `adit admin --json` prints of the platform's views. Scripts read it: a field keeps its name and its
//! form whatever becomes of the views, and what is not there is absent, never null.

use serde::Serialize;

use adit_gateway::platform::{
    AuditView, CarriedView, ChannelView, ConnectionView, EndView, GrantView, OrganizationView, PeeringView,
    ServerView, TimedState,
};

#[derive(Serialize)]
pub(super) struct OrganizationJson {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
}

impl From<&OrganizationView> for OrganizationJson {
    fn from(view: &OrganizationView) -> Self {
        Self { id: text(view.id), name: text(&view.name), tier: view.tier.map(text) }
    }
}

#[derive(Serialize)]
pub(super) struct ServerJson {
    id: String,
    name: String,
    organization: String,
    description: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled_at: Option<String>,
    online: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
}

impl From<&ServerView> for ServerJson {
    fn from(view: &ServerView) -> Self {
        Self {
            id: text(view.id),
            name: text(&view.name),
            organization: text(&view.organization),
            description: text(&view.description),
            version: view.version.clone(),
            key: view.key.map(text),
            enrolled_at: view.enrolled_at.map(text),
            online: view.is_online,
            online_since: view.online_since.map(text),
            agent_version: view.agent_version.clone(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ChannelJson {
    id: String,
    name: String,
    organization: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    protocol: String,
    description: String,
    published: bool,
}

impl From<&ChannelView> for ChannelJson {
    fn from(view: &ChannelView) -> Self {
        Self {
            id: text(view.id),
            name: text(&view.name),
            organization: text(&view.organization),
            server: view.server.as_ref().map(text),
            protocol: text(view.protocol),
            description: text(&view.description),
            published: view.published,
        }
    }
}

#[derive(Serialize)]
pub(super) struct PeeringJson {
    id: String,
    peer: String,
    requester: String,
    recipient: String,
    status: &'static str,
    requested_at: String,
}

impl From<&PeeringView> for PeeringJson {
    fn from(view: &PeeringView) -> Self {
        Self {
            id: text(view.id),
            peer: view.peer.clone(),
            requester: text(&view.requester),
            recipient: text(&view.recipient),
            status: view.status,
            requested_at: text(view.requested_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct GrantJson {
    id: String,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    owner: String,
    holder: String,
    origin: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
}

impl From<&GrantView> for GrantJson {
    fn from(view: &GrantView) -> Self {
        Self {
            id: text(view.id),
            channel: text(view.channel),
            channel_name: view.channel_name.as_ref().map(text),
            protocol: view.protocol.map(text),
            owner: text(&view.owner),
            holder: text(&view.holder),
            origin: view.origin,
            status: view.status,
            connection: view.connection.map(text),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ConnectionJson {
    id: String,
    kind: &'static str,
    source: EndJson,
    target: EndJson,
    #[serde(flatten)]
    carried: CarriedJson,
    status: &'static str,
    /// Whose pause is in force; to the party concerned it says when that is for its tier's sake.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    connectivity: &'static str,
    pulses: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ack: Option<String>,
    created_at: String,
    changed_at: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CarriedJson {
    Channel {
        channel: String,
        protocol: String,
    },
    Admin {
        access: String,
        offered_by: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    },
}

#[derive(Serialize)]
struct EndJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    name: String,
    organization: String,
    link: TimedJson,
    tunnel: TimedJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirth: Option<TimedJson>,
}

#[derive(Serialize)]
struct TimedJson {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl From<&ConnectionView> for ConnectionJson {
    fn from(view: &ConnectionView) -> Self {
        Self {
            id: text(view.id),
            kind: view.kind.as_str(),
            source: (&view.source).into(),
            target: (&view.target).into(),
            carried: (&view.carried).into(),
            status: view.status.as_str(),
            held_by: view.held_by.clone(),
            failure: view.failure.clone(),
            connectivity: view.connectivity.as_str(),
            pulses: view.pulses,
            last_ack: view.last_ack.map(text),
            created_at: text(view.created_at),
            changed_at: text(view.changed_at),
        }
    }
}

impl From<&CarriedView> for CarriedJson {
    fn from(view: &CarriedView) -> Self {
        match view {
            CarriedView::Channel { channel, protocol } => {
                Self::Channel { channel: text(channel), protocol: text(protocol) }
            }
            CarriedView::Admin { access, offered_by, expires_at } => Self::Admin {
                access: text(access),
                offered_by: text(offered_by),
                expires_at: expires_at.map(text),
            },
        }
    }
}

impl From<&EndView> for EndJson {
    fn from(view: &EndView) -> Self {
        Self {
            server: view.server.map(text),
            name: text(&view.name),
            organization: text(&view.organization),
            link: (&view.link).into(),
            tunnel: (&view.tunnel).into(),
            mirth: view.mirth.as_ref().map(TimedJson::from),
        }
    }
}

impl From<&TimedState> for TimedJson {
    fn from(view: &TimedState) -> Self {
        Self { state: view.state, since: view.since.map(text) }
    }
}

#[derive(Serialize)]
pub(super) struct AuditJson {
    id: i64,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    actor: String,
    action: String,
    object: String,
    outcome: String,
    detail: String,
    times: u32,
}

impl From<&AuditView> for AuditJson {
    fn from(view: &AuditView) -> Self {
        Self {
            id: view.id,
            at: text(view.at),
            organization: view.organization.as_ref().map(text),
            actor: view.actor.clone(),
            action: view.action.clone(),
            object: view.object.clone(),
            outcome: view.outcome.clone(),
            detail: view.detail.clone(),
            times: view.times,
        }
    }
}

fn text(value: impl std::fmt::Display) -> String {
    value.to_string()
}
