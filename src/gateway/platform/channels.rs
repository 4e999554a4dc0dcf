//! Channels: published receiving endpoints. Where one forwards to is in its owner's agent file and
//! never here.

use crate::store::ChannelRecord;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_core::domain::visibility::Viewer;
use adit_net::identity::random;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Action, Initiator, Platform};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    pub server: ServerId,
    pub name: Name,
    pub description: Description,
    pub protocol: Protocol,
    pub published: bool,
}

impl Platform {
    pub async fn add_channel(
        &self,
        initiator: &Initiator,
        new: &NewChannel,
    ) -> Result<ChannelId, PlatformError> {
        let new = new.clone();
        self.act(
            initiator,
            Action::AddChannel,
            format!("server {}", new.server),
            async move |act: &mut Act| add(act, &new).await,
        )
        .await
    }

    /// Shows the channel to peers without a connection, or hides it from them.
    pub async fn set_published(
        &self,
        initiator: &Initiator,
        id: ChannelId,
        published: bool,
    ) -> Result<(), PlatformError> {
        let action = if published { Action::PublishChannel } else { Action::UnpublishChannel };
        self.act(initiator, action, format!("channel {id}"), async move |act: &mut Act| {
            publish(act, id, published).await
        })
        .await
    }
}

async fn add(act: &mut Act, new: &NewChannel) -> Result<ChannelId, PlatformError> {
    let organization = act.member(Permission::Change)?;
    let server = act.own_server(new.server, organization).await?;
    let Some(owner) = act.tx.organization(organization).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    let present = act.tx.count_channels(new.server).await?;
    owner.tier.admit(Counted::ChannelsPerServer, present).map_err(ActionRefusal::from)?;
    let channel = ChannelRecord {
        id: ChannelId::from_random(random::bytes()),
        server: server.id,
        server_name: server.name,
        organization,
        organization_name: owner.name,
        name: new.name.clone(),
        description: new.description.clone(),
        protocol: new.protocol,
        published: new.published,
    };
    act.tx.insert_channel(&channel, act.now).await?;
    act.made(Resource::Channel, channel.id);
    act.describe(format!("name {}, {}", new.name, new.protocol));
    Ok(channel.id)
}

async fn publish(act: &mut Act, id: ChannelId, published: bool) -> Result<(), PlatformError> {
    let organization = act.member(Permission::Change)?;
    let (channel, viewer) = act.channel(id, organization).await?;
    if viewer != Viewer::Owner {
        return Err(PlatformError::NotFound { resource: Resource::Channel });
    }
    act.tx.set_published(id, published).await?;
    act.describe(format!("name {}", channel.name));
    Ok(())
}
