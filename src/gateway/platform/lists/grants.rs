//! Grants as their parties see them.

use super::{listed, peer_of};
use crate::platform::error::PlatformError;
use crate::platform::{Initiator, Platform};
use crate::store::{GrantFilter, GrantRecord, GrantRow, Origin, Tx};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, ConnectionId, GrantId, OrganizationId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::visibility::{self, Field, Viewer};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantView {
    pub id: GrantId,
    pub channel: ChannelId,
    /// Absent while the viewer may not see the channel.
    pub channel_name: Option<Name>,
    pub protocol: Option<Protocol>,
    pub owner: Name,
    pub owner_id: OrganizationId,
    pub holder: Name,
    pub holder_id: OrganizationId,
    pub origin: &'static str,
    pub status: &'static str,
    /// The party that has to approve or deny it while it is pending.
    pub decider_id: OrganizationId,
    pub connection: Option<ConnectionId>,
    /// The other party as the viewer calls it, "Self" where it is the viewer; absent for the operator.
    pub peer: Option<String>,
}

impl Platform {
    /// Lists the grants one is a party of, the oldest first.
    pub async fn list_grants(
        &self,
        initiator: &Initiator,
        filter: &GrantFilter,
        paging: &Paging,
    ) -> Result<Page<GrantView>, PlatformError> {
        let (viewpoint, now) = (initiator.viewpoint()?, self.now());
        let (filter, paging) = (filter.clone(), paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_grants(viewpoint, now, &filter, &paging).await?)
            })
            .await?;
        Ok(listed("grants", viewpoint, page.map(|row| view(row, viewpoint))))
    }
}

pub(super) fn view(row: GrantRow, viewpoint: Option<OrganizationId>) -> GrantView {
    let ends = [(row.grant.owner, &row.grant.owner_name), (row.grant.holder, &row.grant.holder_name)];
    let peer = peer_of(viewpoint, ends);
    GrantView { peer, ..view_of(row.grant, row.connection, row.published, row.viewer) }
}

pub(in crate::platform) fn view_of(
    grant: GrantRecord,
    connection: Option<ConnectionId>,
    published: bool,
    viewer: Viewer,
) -> GrantView {
    let shows = visibility::listed(Field::ChannelPublic, viewer, published);
    GrantView {
        id: grant.id,
        channel: grant.channel,
        channel_name: shows.then_some(grant.channel_name),
        protocol: shows.then_some(grant.protocol),
        owner: grant.owner_name,
        owner_id: grant.owner,
        holder: grant.holder_name,
        holder_id: grant.holder,
        origin: grant.origin.as_str(),
        status: grant.status.as_str(),
        decider_id: match grant.origin {
            Origin::Offered => grant.holder,
            Origin::Requested => grant.owner,
        },
        connection,
        peer: None,
    }
}
