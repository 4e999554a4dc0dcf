//! Channels: published receiving endpoints. Where one forwards to is in its owner's agent file and
//! never here.

use serde::Serialize;

use crate::store::{ChannelRecord, Tx};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ChannelId, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_core::domain::visibility::{self, Field, Viewer};
use adit_net::identity::random;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::views::{shown, shown_if_any};
use super::{Action, Initiator, Platform, viewer};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    pub server: ServerId,
    pub name: Name,
    pub description: Description,
    pub protocol: Protocol,
    pub published: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelView {
    #[serde(serialize_with = "shown")]
    pub id: ChannelId,
    #[serde(serialize_with = "shown")]
    pub name: Name,
    #[serde(serialize_with = "shown")]
    pub organization: Name,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    /// As far as the viewer may know the server.
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub server: Option<Name>,
    #[serde(serialize_with = "shown")]
    pub protocol: Protocol,
    #[serde(serialize_with = "shown")]
    pub description: Description,
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

    /// Returns own channels, peers' published ones, and those one has a connection to.
    pub async fn channels(&self, initiator: &Initiator) -> Result<Vec<ChannelView>, PlatformError> {
        self.expire_offers().await?;
        let viewpoint = initiator.viewpoint()?;
        self.look(async move |tx: &mut Tx| list(tx, viewpoint).await).await
    }
}

async fn list(tx: &mut Tx, viewpoint: Option<OrganizationId>) -> Result<Vec<ChannelView>, PlatformError> {
    let mut views = Vec::new();
    for channel in tx.channels().await? {
        views.extend(view(tx, viewpoint, channel).await?);
    }
    Ok(views)
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

async fn view(
    tx: &mut Tx,
    viewpoint: Option<OrganizationId>,
    channel: ChannelRecord,
) -> Result<Option<ChannelView>, PlatformError> {
    let (of_channel, of_server) = match viewpoint {
        None => (Viewer::Owner, Viewer::Owner),
        Some(own) => (
            viewer::of_channel(tx, own, &channel).await?,
            viewer::of_server(tx, own, channel.organization, channel.server).await?,
        ),
    };
    if !visibility::listed(Field::ChannelPublic, of_channel, channel.published) {
        return Ok(None);
    }
    let server_shows = visibility::listed(Field::ServerName, of_server, false);
    Ok(Some(ChannelView {
        id: channel.id,
        name: channel.name,
        organization: channel.organization_name,
        organization_id: channel.organization,
        server: server_shows.then_some(channel.server_name),
        protocol: channel.protocol,
        description: channel.description,
        published: channel.published,
    }))
}
