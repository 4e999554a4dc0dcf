//! Connections as people see them. A row exists only for the two parties, and both may see all of
//! it but whose tier holds a pause: secrets and connector files are not in it for anybody.

use super::{listed, peer_of};
use crate::platform::error::{PlatformError, Resource};
use crate::platform::expiry::is_due;
use crate::platform::{Initiator, Platform, viewer};
use crate::store::{Carried, ConnectionFilter, ConnectionRecord, ConnectionRow, Tx};
use adit_core::domain::access::Access;
use adit_core::domain::connection::{ConnectionType, Protocol, Side};
use adit_core::domain::connectivity::{Connectivity, Facts, SideFacts, Timed};
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionView {
    pub id: ConnectionId,
    pub kind: ConnectionType,
    pub source: EndView,
    pub target: EndView,
    pub carried: CarriedView,
    pub status: Status,
    /// Whose pause is in force; to the party concerned it says when that is for its tier's sake.
    pub held_by: Vec<String>,
    /// Why it is Failed.
    pub failure: Option<String>,
    pub connectivity: Connectivity,
    /// The green dot: connected and active.
    pub pulses: bool,
    pub last_ack: Option<Timestamp>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    /// The other party as the viewer calls it, "Self" where it is the viewer; absent for the operator.
    pub peer: Option<String>,
}

/// What the connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedView {
    Channel {
        channel: Name,
        protocol: Protocol,
    },
    Admin {
        access: Access,
        /// The managed server's organization.
        offered_by: Name,
        /// While it is Offered: until when the recipient may accept.
        expires_at: Option<Timestamp>,
    },
}

/// What is known of one end, each with the time it came to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndView {
    /// Absent until the recipient of an offer has named one.
    pub server: Option<ServerId>,
    /// The server's; the organization's while there is no server.
    pub name: Name,
    pub organization: Name,
    pub organization_id: OrganizationId,
    /// Agent to gateway.
    pub link: TimedState,
    /// Agent to agent; says the path while it is up.
    pub tunnel: TimedState,
    /// Agent to its Mirth; the target's.
    pub mirth: Option<TimedState>,
    /// What keeps it from carrying, as its agent sees it.
    pub fault: Option<TimedState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedState {
    pub state: &'static str,
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
    /// Lists the connections one is a party of, the oldest first; which of them, and whether those that have
    /// ended too, is the filter's to say.
    pub async fn list_connections(
        &self,
        initiator: &Initiator,
        filter: &ConnectionFilter,
        paging: &Paging,
    ) -> Result<Page<ConnectionView>, PlatformError> {
        let asked = Asked { filter: filter.clone(), paging: paging.clone(), ended: None };
        Ok(self.connections_asked(initiator, &asked).await?.0)
    }

    /// Does the same, and counts those that have ended and fit the rest of the filter, at the same moment.
    pub async fn list_connections_beside_ended(
        &self,
        initiator: &Initiator,
        filter: &ConnectionFilter,
        paging: &Paging,
    ) -> Result<(Page<ConnectionView>, u32), PlatformError> {
        let filter = filter.clone();
        let ended = ConnectionFilter { statuses: ConnectionFilter::ended().statuses, ..filter.clone() };
        let asked = Asked { filter, paging: paging.clone(), ended: Some(ended) };
        self.connections_asked(initiator, &asked).await
    }

    async fn connections_asked(
        &self,
        initiator: &Initiator,
        asked: &Asked,
    ) -> Result<(Page<ConnectionView>, u32), PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        let (mut page, mut ended) = self.connection_rows(viewpoint, asked).await?;
        let now = self.now();
        if page.rows.iter().any(|row| is_due(&row.connection, now)) {
            self.expire_offers().await?;
            (page, ended) = self.connection_rows(viewpoint, asked).await?;
        }
        let sees = |row: &ConnectionRow| sees(viewpoint, &row.connection);
        let page = page.filter_map(|row| sees(&row).then(|| shown(row, now, viewpoint)));
        Ok((listed("connections", viewpoint, page), ended))
    }

    /// Counts the connections of such a list.
    pub async fn count_connections(
        &self,
        initiator: &Initiator,
        filter: &ConnectionFilter,
    ) -> Result<u32, PlatformError> {
        let (viewpoint, now, filter) = (initiator.viewpoint()?, self.now(), filter.clone());
        self.look(async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.count_connections(viewpoint, now, &filter).await?)
        })
        .await
    }

    pub async fn connection(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<ConnectionView, PlatformError> {
        let (viewpoint, now) = (initiator.viewpoint()?, self.now());
        let mut found =
            self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.connection_row(id).await?)).await?;
        if found.as_ref().is_some_and(|row| is_due(&row.connection, now)) {
            self.expire_offers().await?;
            found = self
                .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.connection_row(id).await?))
                .await?;
        }
        let found = found.filter(|row| sees(viewpoint, &row.connection));
        let row = found.ok_or(PlatformError::NotFound { resource: Resource::Connection })?;
        Ok(shown(row, now, viewpoint))
    }

    async fn connection_rows(
        &self,
        viewpoint: Option<OrganizationId>,
        asked: &Asked,
    ) -> Result<(Page<ConnectionRow>, u32), PlatformError> {
        let (asked, now) = (asked.clone(), self.now());
        self.look(async move |tx: &mut Tx| {
            let page = tx.list_connections(viewpoint, now, &asked.filter, &asked.paging).await?;
            let ended = match &asked.ended {
                Some(filter) => tx.count_connections(viewpoint, now, filter).await?,
                None => 0,
            };
            Ok::<_, PlatformError>((page, ended))
        })
        .await
    }
}

/// Which page is asked for, and what is counted beside it.
#[derive(Debug, Clone)]
struct Asked {
    filter: ConnectionFilter,
    paging: Paging,
    ended: Option<ConnectionFilter>,
}

fn sees(viewpoint: Option<OrganizationId>, connection: &ConnectionRecord) -> bool {
    viewpoint.is_none_or(|own| viewer::side_of(connection, own).is_some())
}

pub(super) fn shown(row: ConnectionRow, now: Timestamp, viewpoint: Option<OrganizationId>) -> ConnectionView {
    let facts = row.facts_at(now);
    view(row.connection, &facts, viewpoint)
}

pub(in crate::platform) fn view(
    connection: ConnectionRecord,
    facts: &Facts,
    viewpoint: Option<OrganizationId>,
) -> ConnectionView {
    let connectivity = facts.connectivity();
    let ends = [&connection.source, &connection.target].map(|end| (end.organization, &end.organization_name));
    let peer = peer_of(viewpoint, ends);
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
        peer,
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
        fault: current_fault(side_facts).map(|told| timed(fault(told.value), told.since)),
    }
}

/// What an agent said last is its word no longer once its link is down.
fn current_fault(side: &SideFacts) -> Option<Timed<Word<SideFault>>> {
    side.fault.filter(|_| side.link.is_some_and(|link| link.value))
}

/// What only a newer agent knows is a fault all the same.
fn fault(fault: Word<SideFault>) -> &'static str {
    fault.known().map_or("other", SideFault::as_str)
}

/// A path that only a newer agent takes is one all the same.
fn path(path: Word<PathKind>) -> &'static str {
    path.known().map_or("other", PathKind::as_str)
}
