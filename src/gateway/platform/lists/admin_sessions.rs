//! Admin sessions as the parties of their connections see them: both see what the managed server's agent told, as they
//! both see the connection.

use std::net::IpAddr;

use super::listed;
use crate::platform::error::PlatformError;
use crate::platform::sessions::{is_silent, silent_before};
use crate::platform::{Initiator, Platform, viewer};
use crate::store::{AdminSessionFilter, AdminSessionRow, SessionCounts, Tx};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::{ConnectionId, KeptSessionId, OrganizationId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSessionView {
    pub id: KeptSessionId,
    pub connection: ConnectionId,
    pub kind: ConnectionType,
    pub managing: SessionEnd,
    pub managed: SessionEnd,
    /// Where the managing side's client comes from.
    pub local_peer: IpAddr,
    pub state: AdminSessionState,
    /// When the gateway was told of it first.
    pub started_at: Timestamp,
    /// And last.
    pub heard_at: Timestamp,
    /// When it was told of its end.
    pub ended_at: Option<Timestamp>,
    pub counts: SessionCounts,
}

/// One end of a session's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    pub organization_id: OrganizationId,
    pub organization: Name,
    /// The server's name.
    pub server: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminSessionState {
    Running,
    /// Its agent told neither of its end nor, lately, that it goes on.
    Silent,
    Ended,
}

impl AdminSessionState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Silent => "silent",
            Self::Ended => "ended",
        }
    }
}

impl Platform {
    /// Lists the sessions of the admin connections that one is a party of, the newest first.
    pub async fn list_admin_sessions(
        &self,
        initiator: &Initiator,
        filter: &AdminSessionFilter,
        paging: &Paging,
    ) -> Result<Page<AdminSessionView>, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        let (filter, paging, now) = (*filter, paging.clone(), self.now());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(
                    tx.list_admin_sessions(viewpoint, &filter, silent_before(now), &paging).await?,
                )
            })
            .await?;
        let sees = |row: &AdminSessionRow| {
            viewpoint.is_none_or(|own| viewer::side_of(&row.connection, own).is_some())
        };
        Ok(listed("admin sessions", viewpoint, page.filter_map(|row| sees(&row).then(|| view(&row, now)))))
    }
}

fn view(row: &AdminSessionRow, now: Timestamp) -> AdminSessionView {
    let AdminSessionRow { session, connection } = row;
    let end = |side: Side| {
        let end = connection.end(side);
        SessionEnd {
            organization_id: end.organization,
            organization: end.organization_name.clone(),
            server: end.name().clone(),
        }
    };
    AdminSessionView {
        id: session.id,
        connection: connection.id,
        kind: connection.kind(),
        managing: end(Side::Source),
        managed: end(Side::Target),
        local_peer: session.local_peer,
        state: match (session.ended_at, is_silent(session, now)) {
            (Some(_), _) => AdminSessionState::Ended,
            (None, true) => AdminSessionState::Silent,
            (None, false) => AdminSessionState::Running,
        },
        started_at: session.begun_at,
        heard_at: session.heard_at,
        ended_at: session.ended_at,
        counts: session.counts,
    }
}
