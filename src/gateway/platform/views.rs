//! Connections as people see them. A row exists only for the two parties, and both may see all of
//! it but whose tier holds a pause: secrets and connector files are not in it for anybody.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::store::{Carried, ConnectionRecord, Tx};
use adit_core::domain::access::Access;
use adit_core::domain::connection::{ConnectionType, Protocol, Side};
use adit_core::domain::connectivity::{Connectivity, Facts};
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::path::PathKind;
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;

use super::error::{PlatformError, Resource};
use super::presence::facts_of;
use super::{Initiator, Platform, viewer};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    #[serde(serialize_with = "shown")]
    pub id: ConnectionId,
    #[serde(serialize_with = "shown")]
    pub kind: ConnectionType,
    pub source: EndView,
    pub target: EndView,
    #[serde(flatten)]
    pub carried: CarriedView,
    #[serde(serialize_with = "shown")]
    pub status: Status,
    /// Whose pause is in force; to the party concerned it says when that is for its tier's sake.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// Why it is Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(serialize_with = "shown")]
    pub connectivity: Connectivity,
    /// The green dot: connected and active.
    pub pulses: bool,
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub last_ack: Option<Timestamp>,
    #[serde(serialize_with = "shown")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "shown")]
    pub changed_at: Timestamp,
}

/// What the connection is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CarriedView {
    Channel {
        #[serde(serialize_with = "shown")]
        channel: Name,
        #[serde(serialize_with = "shown")]
        protocol: Protocol,
    },
    Admin {
        #[serde(serialize_with = "shown")]
        access: Access,
        /// The managed server's organization.
        #[serde(serialize_with = "shown")]
        offered_by: Name,
        /// While it is Offered: until when the recipient may accept.
        #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
}

/// What is known of one end, each with the time it came to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndView {
    /// Absent until the recipient of an offer has named one.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerId>,
    /// The server's; the organization's while there is no server.
    #[serde(serialize_with = "shown")]
    pub name: Name,
    #[serde(serialize_with = "shown")]
    pub organization: Name,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    /// Agent to gateway.
    pub link: TimedState,
    /// Agent to agent; says the path while it is up.
    pub tunnel: TimedState,
    /// Agent to its Mirth; the target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirth: Option<TimedState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimedState {
    pub state: &'static str,
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl ConnectionView {
    #[must_use]
    pub const fn end(&self, side: Side) -> &EndView {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Returns the route, the same no matter who looks. Before acceptance the recipient's name stands for its
    /// server's.
    #[must_use]
    pub fn route(&self) -> String {
        format!("{} → {}", self.source.name, self.target.name)
    }
}

impl Platform {
    /// Returns the connections one is a party of, ended ones too; lists hide those until asked.
    pub async fn connections(&self, initiator: &Initiator) -> Result<Vec<ConnectionView>, PlatformError> {
        self.expire_offers().await?;
        let (viewpoint, now) = (initiator.viewpoint()?, self.now());
        self.look(async move |tx: &mut Tx| list(tx, viewpoint, now).await).await
    }

    pub async fn connection(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<ConnectionView, PlatformError> {
        self.expire_offers().await?;
        let (viewpoint, now) = (initiator.viewpoint()?, self.now());
        self.look(async move |tx: &mut Tx| one(tx, viewpoint, id, now).await).await
    }
}

async fn list(
    tx: &mut Tx,
    viewpoint: Option<OrganizationId>,
    now: Timestamp,
) -> Result<Vec<ConnectionView>, PlatformError> {
    let mut views = Vec::new();
    for connection in tx.connections().await? {
        if sees(viewpoint, &connection) {
            let facts = facts_of(tx, &connection, now).await?;
            views.push(view(connection, &facts, viewpoint));
        }
    }
    Ok(views)
}

async fn one(
    tx: &mut Tx,
    viewpoint: Option<OrganizationId>,
    id: ConnectionId,
    now: Timestamp,
) -> Result<ConnectionView, PlatformError> {
    let found = tx.connection(id).await?.filter(|connection| sees(viewpoint, connection));
    let connection = found.ok_or(PlatformError::NotFound { resource: Resource::Connection })?;
    let facts = facts_of(tx, &connection, now).await?;
    Ok(view(connection, &facts, viewpoint))
}

fn sees(viewpoint: Option<OrganizationId>, connection: &ConnectionRecord) -> bool {
    viewpoint.is_none_or(|own| viewer::side_of(connection, own).is_some())
}

fn view(connection: ConnectionRecord, facts: &Facts, viewpoint: Option<OrganizationId>) -> ConnectionView {
    let connectivity = facts.connectivity();
    let held_by = [Side::Source, Side::Target]
        .into_iter()
        .filter(|side| connection.status.pause_hold().is_some_and(|holds| holds.includes(*side)))
        .map(|side| holder(&connection, side, viewpoint))
        .collect();
    ConnectionView {
        id: connection.id,
        kind: connection.kind(),
        source: end(&connection, facts, Side::Source),
        target: end(&connection, facts, Side::Target),
        carried: carried(&connection),
        status: connection.status,
        held_by,
        failure: connection.failure,
        connectivity,
        pulses: connectivity.pulses(connection.status),
        last_ack: facts.last_ack,
        created_at: connection.created_at,
        changed_at: connection.changed_at,
    }
}

/// Names the holder: what tier an organization has is its own to see, and the operator's.
fn holder(connection: &ConnectionRecord, side: Side, viewpoint: Option<OrganizationId>) -> String {
    let end = connection.end(side);
    let for_tier = side == Side::Target && connection.held_for_tier;
    if for_tier && viewpoint.is_none_or(|own| own == end.organization) {
        format!("{} (until its tier admits Admin RW)", end.organization_name)
    } else {
        end.organization_name.to_string()
    }
}

fn carried(connection: &ConnectionRecord) -> CarriedView {
    match &connection.carried {
        Carried::Channel { name, protocol, .. } => {
            CarriedView::Channel { channel: name.clone(), protocol: *protocol }
        }
        Carried::Admin { access, expires_at, .. } => CarriedView::Admin {
            access: *access,
            offered_by: connection.target.organization_name.clone(),
            expires_at: (connection.status == Status::Offered).then_some(*expires_at),
        },
    }
}

fn end(connection: &ConnectionRecord, facts: &Facts, side: Side) -> EndView {
    let end = connection.end(side);
    let side_facts = facts.side(side);
    let timed = |state: &'static str, since| TimedState { state, since: Some(since) };
    let never = TimedState { state: "never", since: None };
    let up_or_down = |up: bool| if up { "up" } else { "down" };
    EndView {
        server: end.server.as_ref().map(|server| server.id),
        name: end.name().clone(),
        organization: end.organization_name.clone(),
        organization_id: end.organization,
        link: side_facts.link.map_or(never.clone(), |link| timed(up_or_down(link.value), link.since)),
        tunnel: side_facts
            .tunnel
            .map_or(never, |tunnel| timed(tunnel.value.map_or("down", path), tunnel.since)),
        mirth: side_facts.mirth.map(|mirth| timed(up_or_down(mirth.value), mirth.since)),
    }
}

/// A path that only a newer agent takes is one all the same.
fn path(path: Word<PathKind>) -> &'static str {
    path.known().map_or("other", PathKind::as_str)
}

/// Writes it as people read it.
pub(super) fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Writes it for what is absent otherwise, never null.
#[expect(clippy::ref_option, reason = "serde hands a field over by reference")]
pub(super) fn shown_if_any<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
