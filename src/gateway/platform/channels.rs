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

use super::audited_tx::AuditedTx;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Actor, Platform};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    pub server: ServerId,
    pub name: Name,
    pub description: Description,
    pub protocol: Protocol,
    pub published: bool,
}

impl Platform {
    pub async fn add_channel(&self, actor: &Actor, new: &NewChannel) -> Result<ChannelId, PlatformError> {
        let mut audited = self.begin(actor, "add channel", format!("server {}", new.server)).await?;
        let outcome = add(&mut audited, new).await;
        audited.finish(outcome).await
    }

    /// Shows the channel to peers without a connection, or hides it from them.
    pub async fn set_published(
        &self,
        actor: &Actor,
        id: ChannelId,
        published: bool,
    ) -> Result<(), PlatformError> {
        let action = if published { "publish channel" } else { "unpublish channel" };
        let mut audited = self.begin(actor, action, format!("channel {id}")).await?;
        let outcome = publish(&mut audited, id, published).await;
        audited.finish(outcome).await
    }
}

async fn add(audited: &mut AuditedTx, new: &NewChannel) -> Result<ChannelId, PlatformError> {
    let organization = audited.member(Permission::Change)?;
    let server = audited.own_server(new.server, organization).await?;
    let Some(owner) = audited.tx.organization(organization).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    let present = audited.tx.count_channels(new.server).await?;
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
    audited.tx.insert_channel(&channel, audited.now).await?;
    audited.made(Resource::Channel, channel.id);
    audited.describe(format!("name {}, {}", new.name, new.protocol));
    Ok(channel.id)
}

async fn publish(audited: &mut AuditedTx, id: ChannelId, published: bool) -> Result<(), PlatformError> {
    let organization = audited.member(Permission::Change)?;
    let (channel, viewer) = audited.channel(id, organization).await?;
    if viewer != Viewer::Owner {
        return Err(PlatformError::NotFound { resource: Resource::Channel });
    }
    audited.tx.set_published(id, published).await?;
    audited.describe(format!("name {}", channel.name));
    Ok(())
}
