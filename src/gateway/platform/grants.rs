//! Grants: permission for one peer on one channel, and the P2P connection an approval makes.

use crate::store::{AgreementStatus, GrantRecord, GrantStatus, NewConnection, NewGrant, Origin};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, GrantId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::secret::Secret;
use adit_core::domain::status::{self, Event, Initiator};
use adit_core::domain::visibility::Viewer;
use adit_net::identity::random;

use super::audited_tx::AuditedTx;
use super::connections;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::seal::SealingKey;
use super::{Actor, Platform};

impl Platform {
    /// Offers a channel, by its owner, to a peer, who then decides.
    pub async fn offer_grant(
        &self,
        actor: &Actor,
        channel: ChannelId,
        to: OrganizationId,
    ) -> Result<GrantId, PlatformError> {
        let mut audited = self.begin(actor, "offer grant", format!("channel {channel}")).await?;
        let outcome = offer(&mut audited, channel, to).await;
        audited.finish(outcome).await
    }

    /// Asks, for a peer, to send to a channel from one of its servers; the channel's owner then decides.
    pub async fn request_grant(
        &self,
        actor: &Actor,
        channel: ChannelId,
        source: ServerId,
    ) -> Result<GrantId, PlatformError> {
        let mut audited = self.begin(actor, "request grant", format!("channel {channel}")).await?;
        let outcome = request(&mut audited, channel, source).await;
        audited.finish(outcome).await
    }

    /// Provisions the connection. `source` is for offers: the decider's server that will send.
    pub async fn approve_grant(
        &self,
        actor: &Actor,
        id: GrantId,
        source: Option<ServerId>,
    ) -> Result<ConnectionId, PlatformError> {
        let mut audited = self.begin(actor, "approve grant", format!("grant {id}")).await?;
        let outcome = approve(&mut audited, &self.seal, id, source).await;
        audited.finish(outcome).await
    }

    pub async fn deny_grant(&self, actor: &Actor, id: GrantId) -> Result<(), PlatformError> {
        let mut audited = self.begin(actor, "deny grant", format!("grant {id}")).await?;
        let outcome = deny(&mut audited, id).await;
        audited.finish(outcome).await
    }

    /// Revokes a grant, by the channel's owner; ends the connection made from it.
    pub async fn revoke_grant(&self, actor: &Actor, id: GrantId) -> Result<(), PlatformError> {
        self.end_grant(actor, "revoke grant", id, GrantStatus::Revoked).await
    }

    /// Relinquishes a grant, by its holder; ends the connection made from it.
    pub async fn relinquish_grant(&self, actor: &Actor, id: GrantId) -> Result<(), PlatformError> {
        self.end_grant(actor, "relinquish grant", id, GrantStatus::Relinquished).await
    }

    async fn end_grant(
        &self,
        actor: &Actor,
        action: &'static str,
        id: GrantId,
        to: GrantStatus,
    ) -> Result<(), PlatformError> {
        let mut audited = self.begin(actor, action, format!("grant {id}")).await?;
        let outcome = end(&mut audited, id, to).await;
        audited.finish(outcome).await
    }
}

async fn offer(
    audited: &mut AuditedTx,
    channel: ChannelId,
    to: OrganizationId,
) -> Result<GrantId, PlatformError> {
    let own = audited.member(Permission::Change)?;
    let (channel, viewer) = audited.channel(channel, own).await?;
    if viewer != Viewer::Owner {
        return Err(PlatformError::NotFound { resource: Resource::Channel });
    }
    let agreement = agreement_with(audited, own, to).await?;
    if !channel.published {
        return Err(ActionRefusal::NotPublished.into());
    }
    let new = NewGrant {
        id: GrantId::from_random(random::bytes()),
        agreement,
        channel: channel.id,
        holder: to,
        origin: Origin::Offered,
        source_server: None,
        created_at: audited.now,
    };
    make(audited, &new, to, &channel.name).await
}

async fn request(
    audited: &mut AuditedTx,
    channel: ChannelId,
    source: ServerId,
) -> Result<GrantId, PlatformError> {
    let own = audited.member(Permission::Change)?;
    let (channel, _) = audited.channel(channel, own).await?;
    let source = audited.own_server(source, own).await?.id;
    let agreement = agreement_with(audited, own, channel.organization).await?;
    if source == channel.server {
        return Err(ActionRefusal::SameServer.into());
    }
    let new = NewGrant {
        id: GrantId::from_random(random::bytes()),
        agreement,
        channel: channel.id,
        holder: own,
        origin: Origin::Requested,
        source_server: Some(source),
        created_at: audited.now,
    };
    make(audited, &new, channel.organization, &channel.name).await
}

async fn make(
    audited: &mut AuditedTx,
    new: &NewGrant,
    peer: OrganizationId,
    channel: &Name,
) -> Result<GrantId, PlatformError> {
    audited.tx.insert_grant(new).await?;
    audited.concerns(peer);
    audited.made(Resource::Grant, new.id);
    audited.describe(format!("channel {channel}"));
    Ok(new.id)
}

/// Returns a live agreement with the peer; with none, the peer's existence is not confirmed beyond its name.
pub(super) async fn agreement_with(
    audited: &mut AuditedTx,
    own: OrganizationId,
    peer: OrganizationId,
) -> Result<AgreementId, PlatformError> {
    let Some(organization) = audited.tx.organization(peer).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    match audited.tx.agreement_between(own, peer).await? {
        Some(agreement) if agreement.status == AgreementStatus::Live => Ok(agreement.id),
        _ => Err(ActionRefusal::NoAgreement { peer: organization.name }.into()),
    }
}

/// Returns a grant the organization is a party of.
async fn party(audited: &mut AuditedTx, id: GrantId) -> Result<(GrantRecord, OrganizationId), PlatformError> {
    let own = audited.member(Permission::Change)?;
    let found = audited.tx.grant(id).await?.filter(|grant| grant.owner == own || grant.holder == own);
    let grant = found.ok_or(PlatformError::NotFound { resource: Resource::Grant })?;
    audited.concerns(grant.owner);
    audited.concerns(grant.holder);
    Ok((grant, own))
}

/// Returns a pending grant that is the organization's to decide.
async fn pending(audited: &mut AuditedTx, id: GrantId) -> Result<GrantRecord, PlatformError> {
    let (grant, own) = party(audited, id).await?;
    if grant.status != GrantStatus::Pending {
        return Err(ActionRefusal::GrantDecided { status: grant.status.as_str() }.into());
    }
    let (decider, name) = match grant.origin {
        Origin::Offered => (grant.holder, &grant.holder_name),
        Origin::Requested => (grant.owner, &grant.owner_name),
    };
    if decider != own {
        return Err(ActionRefusal::NotDecider { decider: name.clone() }.into());
    }
    Ok(grant)
}

async fn approve(
    audited: &mut AuditedTx,
    seal: &SealingKey,
    id: GrantId,
    source: Option<ServerId>,
) -> Result<ConnectionId, PlatformError> {
    let grant = pending(audited, id).await?;
    agreement_with(audited, grant.owner, grant.holder).await?;
    let (source, decider) = match (grant.origin, grant.source_server, source) {
        (Origin::Offered, _, None) => return Err(ActionRefusal::SourceNeeded.into()),
        (Origin::Offered, _, Some(source)) => {
            (audited.own_server(source, grant.holder).await?.id, Side::Source)
        }
        (Origin::Requested, Some(asked), named) if named.is_none_or(|named| named == asked) => {
            (asked, Side::Target)
        }
        (Origin::Requested, ..) => return Err(ActionRefusal::SourceFixed.into()),
    };
    if source == grant.target_server {
        return Err(ActionRefusal::SameServer.into());
    }
    audited.tx.decide_grant(id, GrantStatus::Approved, Some(source), audited.now).await?;
    let connection = provision(audited, seal, &grant, source, decider).await?;
    audited.describe(format!("channel {}, connection {connection}", grant.channel_name));
    Ok(connection)
}

/// Provisions a connection. Provisioning and its end are one transaction: nobody sees a half-made connection,
/// and an error leaves none.
async fn provision(
    audited: &mut AuditedTx,
    seal: &SealingKey,
    grant: &GrantRecord,
    source: ServerId,
    decider: Side,
) -> Result<ConnectionId, PlatformError> {
    const EPOCH: u32 = 1;
    let id = ConnectionId::from_random(random::bytes());
    let status = status::on(None, ConnectionType::P2p, Event::Create, Initiator::Party(decider))
        .map_err(ActionRefusal::from)?;
    let new = NewConnection {
        id,
        grant: grant.id,
        source,
        target: grant.target_server,
        status,
        created_at: audited.now,
    };
    audited.tx.insert_connection(&new).await?;
    let sealed = seal.seal(id, EPOCH, &Secret::from_bytes(random::bytes()))?;
    audited.tx.put_secret(id, EPOCH, &sealed, audited.now).await?;
    if let Some(connection) = audited.tx.connection(id).await? {
        connections::shift(
            &mut audited.tx,
            &connection,
            Event::SetUpDone,
            Initiator::System,
            None,
            audited.now,
        )
        .await?;
    }
    Ok(id)
}

async fn deny(audited: &mut AuditedTx, id: GrantId) -> Result<(), PlatformError> {
    let grant = pending(audited, id).await?;
    audited.tx.decide_grant(id, GrantStatus::Denied, None, audited.now).await?;
    audited.describe(format!("channel {}", grant.channel_name));
    Ok(())
}

async fn end(audited: &mut AuditedTx, id: GrantId, to: GrantStatus) -> Result<(), PlatformError> {
    let (grant, own) = party(audited, id).await?;
    let side = if to == GrantStatus::Revoked {
        if grant.owner != own {
            return Err(ActionRefusal::NotOwner { owner: grant.owner_name }.into());
        }
        Side::Target
    } else {
        if grant.holder != own {
            return Err(ActionRefusal::NotHolder { holder: grant.holder_name }.into());
        }
        Side::Source
    };
    if !matches!(grant.status, GrantStatus::Pending | GrantStatus::Approved) {
        return Err(ActionRefusal::GrantEnded { status: grant.status.as_str() }.into());
    }
    audited.describe(format!("channel {}", grant.channel_name));
    match audited.tx.connection_of_grant(id).await? {
        Some(connection) => {
            let initiator = Initiator::Party(side);
            connections::shift(&mut audited.tx, &connection, Event::Terminate, initiator, None, audited.now)
                .await?;
            audited
                .describe(format!("channel {}; connection {} terminated", grant.channel_name, connection.id));
        }
        None => audited.tx.decide_grant(id, to, None, audited.now).await?,
    }
    Ok(())
}
