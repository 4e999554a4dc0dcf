//! Channels: published receiving endpoints. Where one forwards to is in its owner's agent file and
//! never here.

use crate::store::ChannelRecord;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_core::domain::visibility::Viewer;
use adit_net::identity::random;

use super::act::Act;
use super::ending::{Cause, Consequences, Ending};
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

/// What an owner writes about a channel. Its protocol is its own for life: what ended over it tells of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelText {
    pub name: Name,
    pub description: Description,
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

    /// Renames or describes a channel, by its owner.
    pub async fn describe_channel(
        &self,
        initiator: &Initiator,
        id: ChannelId,
        text: &ChannelText,
    ) -> Result<(), PlatformError> {
        let text = text.clone();
        self.act(initiator, Action::DescribeChannel, format!("channel {id}"), async move |act: &mut Act| {
            describe(act, id, &text).await
        })
        .await
    }

    /// Deletes a channel, by its owner: its grants end, and the connections made from them.
    pub async fn delete_channel(
        &self,
        initiator: &Initiator,
        id: ChannelId,
    ) -> Result<Consequences, PlatformError> {
        self.act(initiator, Action::DeleteChannel, format!("channel {id}"), async move |act: &mut Act| {
            delete(act, id).await
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
    let (channel, _) = own_channel(act, id).await?;
    act.tx.set_published(id, published).await?;
    act.describe(format!("name {}", channel.name));
    Ok(())
}

async fn describe(act: &mut Act, id: ChannelId, text: &ChannelText) -> Result<(), PlatformError> {
    let (channel, _) = own_channel(act, id).await?;
    act.tx.describe_channel(id, &text.name, &text.description).await?;
    act.describe(if channel.name == text.name {
        format!("name {}", text.name)
    } else {
        format!("name {}, before {}", text.name, channel.name)
    });
    Ok(())
}

async fn delete(act: &mut Act, id: ChannelId) -> Result<Consequences, PlatformError> {
    let (channel, own) = own_channel(act, id).await?;
    let ending = Ending::of(&mut act.tx, Cause::Channel(id), act.now).await?;
    ending.carry_out(act, own).await?;
    act.tx.delete_channel(id, act.now).await?;
    let consequences = ending.consequences(own);
    act.describe(format!("name {}; {consequences}", channel.name));
    Ok(consequences)
}

/// Returns a channel of the organization acted for.
async fn own_channel(act: &mut Act, id: ChannelId) -> Result<(ChannelRecord, OrganizationId), PlatformError> {
    let own = act.member(Permission::Change)?;
    match act.channel(id, own).await? {
        (channel, Viewer::Owner) => Ok((channel, own)),
        _ => Err(PlatformError::NotFound { resource: Resource::Channel }),
    }
}
