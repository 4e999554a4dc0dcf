//! Channels as people see them.

use super::listed;
use crate::platform::error::PlatformError;
use crate::platform::{Initiator, Platform};
use crate::store::{ChannelFilter, ChannelRow, Tx};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::visibility::{self, Field};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelView {
    pub id: ChannelId,
    pub name: Name,
    pub organization: Name,
    pub organization_id: OrganizationId,
    /// As far as the viewer may know the server.
    pub server: Option<Name>,
    pub server_id: Option<ServerId>,
    pub protocol: Protocol,
    pub description: Description,
    pub published: bool,
}

impl Platform {
    /// Lists channels by name: own ones, peers' published ones, and those one has a connection to.
    pub async fn list_channels(
        &self,
        initiator: &Initiator,
        filter: &ChannelFilter,
        paging: &Paging,
    ) -> Result<Page<ChannelView>, PlatformError> {
        let (viewpoint, now) = (initiator.viewpoint()?, self.now());
        let (filter, paging) = (filter.clone(), paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_channels(viewpoint, now, &filter, &paging).await?)
            })
            .await?;
        Ok(listed("channels", viewpoint, page.filter_map(view)))
    }
}

pub(in crate::platform) fn view(row: ChannelRow) -> Option<ChannelView> {
    let ChannelRow { channel, viewer, server_viewer } = row;
    if !visibility::listed(Field::ChannelPublic, viewer, channel.published) {
        return None;
    }
    let server_shows = visibility::listed(Field::ServerName, server_viewer, false);
    Some(ChannelView {
        id: channel.id,
        name: channel.name,
        organization: channel.organization_name,
        organization_id: channel.organization,
        server: server_shows.then_some(channel.server_name),
        server_id: server_shows.then_some(channel.server),
        protocol: channel.protocol,
        description: channel.description,
        published: channel.published,
    })
}
