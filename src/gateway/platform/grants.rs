//! Grants: permission for one peer on one channel, and the P2P connection an approval makes.

use crate::store::{AgreementStatus, GrantRecord, GrantStatus, NewConnection, NewGrant, Origin};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, GrantId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::secret::Secret;
use adit_core::domain::status::{self, Actor, Event};
use adit_core::domain::visibility::Viewer;
use adit_net::identity::random;

use super::act::Act;
use super::connections;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Action, Initiator, Platform};

impl Platform {
    /// Offers a channel, by its owner, to a peer, who then decides.
    pub async fn offer_grant(
        &self,
        initiator: &Initiator,
        channel: ChannelId,
        to: OrganizationId,
    ) -> Result<GrantId, PlatformError> {
        self.act(initiator, Action::OfferGrant, format!("channel {channel}"), async move |act: &mut Act| {
            offer(act, channel, to).await
        })
        .await
    }

    /// Asks, for a peer, to send to a channel from one of its servers; the channel's owner then decides.
    pub async fn request_grant(
        &self,
        initiator: &Initiator,
        channel: ChannelId,
        source: ServerId,
    ) -> Result<GrantId, PlatformError> {
        self.act(initiator, Action::RequestGrant, format!("channel {channel}"), async move |act: &mut Act| {
            request(act, channel, source).await
        })
        .await
    }

    /// Provisions the connection. `source` is for offers: the decider's server that will send.
    pub async fn approve_grant(
        &self,
        initiator: &Initiator,
        id: GrantId,
        source: Option<ServerId>,
    ) -> Result<ConnectionId, PlatformError> {
        self.act(initiator, Action::ApproveGrant, format!("grant {id}"), async move |act: &mut Act| {
            approve(act, id, source).await
        })
        .await
    }

    pub async fn deny_grant(&self, initiator: &Initiator, id: GrantId) -> Result<(), PlatformError> {
        self.act(initiator, Action::DenyGrant, format!("grant {id}"), async move |act: &mut Act| {
            deny(act, id).await
        })
        .await
    }

    /// Revokes a grant, by the channel's owner; ends the connection made from it.
    pub async fn revoke_grant(&self, initiator: &Initiator, id: GrantId) -> Result<(), PlatformError> {
        self.end_grant(initiator, Action::RevokeGrant, id, GrantStatus::Revoked).await
    }

    /// Relinquishes a grant, by its holder; ends the connection made from it.
    pub async fn relinquish_grant(&self, initiator: &Initiator, id: GrantId) -> Result<(), PlatformError> {
        self.end_grant(initiator, Action::RelinquishGrant, id, GrantStatus::Relinquished).await
    }

    async fn end_grant(
        &self,
        initiator: &Initiator,
        action: Action,
        id: GrantId,
        to: GrantStatus,
    ) -> Result<(), PlatformError> {
        self.act(initiator, action, format!("grant {id}"), async move |act: &mut Act| end(act, id, to).await)
            .await
    }
}

async fn offer(act: &mut Act, channel: ChannelId, to: OrganizationId) -> Result<GrantId, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (channel, viewer) = act.channel(channel, own).await?;
    if viewer != Viewer::Owner {
        return Err(PlatformError::NotFound { resource: Resource::Channel });
    }
    let agreement = agreement_with(act, own, to).await?;
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
        created_at: act.now,
    };
    make(act, &new, to, &channel.name).await
}

async fn request(act: &mut Act, channel: ChannelId, source: ServerId) -> Result<GrantId, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (channel, _) = act.channel(channel, own).await?;
    let source = act.own_server(source, own).await?.id;
    let agreement = agreement_with(act, own, channel.organization).await?;
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
        created_at: act.now,
    };
    make(act, &new, channel.organization, &channel.name).await
}

async fn make(
    act: &mut Act,
    new: &NewGrant,
    peer: OrganizationId,
    channel: &Name,
) -> Result<GrantId, PlatformError> {
    act.tx.insert_grant(new).await?;
    act.concerns(peer);
    act.made(Resource::Grant, new.id);
    act.describe(format!("channel {channel}"));
    Ok(new.id)
}

/// What the channel of a grant is called in the log of each party.
pub(super) struct Called {
    owner: (OrganizationId, String),
    holder: (OrganizationId, String),
}

/// Finds out what each party may call a grant's channel: a holder that may not see it now, as one that was hidden
/// since, does not learn what it is called.
pub(super) async fn called(act: &mut Act, grant: &GrantRecord) -> Result<Called, PlatformError> {
    let by_name = format!("channel {}", grant.channel_name);
    let for_holder = match act.channel(grant.channel, grant.holder).await {
        Ok(_) => by_name.clone(),
        Err(PlatformError::NotFound { .. }) => format!("channel {}", grant.channel),
        Err(error) => return Err(error),
    };
    Ok(Called { owner: (grant.owner, by_name), holder: (grant.holder, for_holder) })
}

impl Called {
    /// Returns who is told what.
    pub(super) fn told(self) -> [(OrganizationId, String); 2] {
        [self.holder, self.owner]
    }

    /// Says it in the act's own entry, before `rest`.
    fn describe(self, act: &mut Act, rest: &str) {
        act.describe(format!("{}{rest}", self.owner.1));
        for (party, channel) in self.told() {
            act.describe_to(party, format!("{channel}{rest}"));
        }
    }
}

/// Returns a live agreement with the peer; with none, the peer's existence is not confirmed beyond its name.
pub(super) async fn agreement_with(
    act: &mut Act,
    own: OrganizationId,
    peer: OrganizationId,
) -> Result<AgreementId, PlatformError> {
    let Some(organization) = act.tx.organization(peer).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    match act.tx.agreement_between(own, peer).await? {
        Some(agreement) if agreement.status == AgreementStatus::Live => Ok(agreement.id),
        _ => Err(ActionRefusal::NoAgreement { peer: organization.name }.into()),
    }
}

/// Returns a grant the organization is a party of.
async fn party(act: &mut Act, id: GrantId) -> Result<(GrantRecord, OrganizationId), PlatformError> {
    let own = act.member(Permission::Change)?;
    let found = act.tx.grant(id).await?.filter(|grant| grant.owner == own || grant.holder == own);
    let grant = found.ok_or(PlatformError::NotFound { resource: Resource::Grant })?;
    act.concerns(grant.owner);
    act.concerns(grant.holder);
    Ok((grant, own))
}

/// Returns a pending grant that is the organization's to decide.
async fn pending(act: &mut Act, id: GrantId) -> Result<GrantRecord, PlatformError> {
    let (grant, own) = party(act, id).await?;
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
    act: &mut Act,
    id: GrantId,
    source: Option<ServerId>,
) -> Result<ConnectionId, PlatformError> {
    let grant = pending(act, id).await?;
    agreement_with(act, grant.owner, grant.holder).await?;
    let (source, decider) = match (grant.origin, grant.source_server, source) {
        (Origin::Offered, _, None) => return Err(ActionRefusal::SourceNeeded.into()),
        (Origin::Offered, _, Some(source)) => (act.own_server(source, grant.holder).await?.id, Side::Source),
        (Origin::Requested, Some(asked), named) if named.is_none_or(|named| named == asked) => {
            (asked, Side::Target)
        }
        (Origin::Requested, ..) => return Err(ActionRefusal::SourceFixed.into()),
    };
    if source == grant.target_server {
        return Err(ActionRefusal::SameServer.into());
    }
    act.tx.decide_grant(id, GrantStatus::Approved, Some(source), act.now).await?;
    let connection = provision(act, &grant, source, decider).await?;
    let called = called(act, &grant).await?;
    called.describe(act, &format!(", connection {connection}"));
    Ok(connection)
}

/// Provisions a connection. Provisioning and its end are one transaction: nobody sees a half-made connection,
/// and an error leaves none.
async fn provision(
    act: &mut Act,
    grant: &GrantRecord,
    source: ServerId,
    decider: Side,
) -> Result<ConnectionId, PlatformError> {
    const EPOCH: u32 = 1;
    let id = ConnectionId::from_random(random::bytes());
    let status = status::on(None, ConnectionType::P2p, Event::Create, Actor::Party(decider))
        .map_err(ActionRefusal::from)?;
    let new = NewConnection {
        id,
        grant: grant.id,
        source,
        target: grant.target_server,
        status,
        created_at: act.now,
    };
    act.tx.insert_connection(&new).await?;
    let sealed = act.seal.seal(id, EPOCH, &Secret::from_bytes(random::bytes()))?;
    act.tx.put_secret(id, EPOCH, &sealed, act.now).await?;
    if let Some(connection) = act.tx.connection(id).await? {
        connections::shift(&mut act.tx, &connection, Event::SetUpDone, Actor::System, None, act.now).await?;
    }
    Ok(id)
}

async fn deny(act: &mut Act, id: GrantId) -> Result<(), PlatformError> {
    let grant = pending(act, id).await?;
    let called = called(act, &grant).await?;
    act.tx.decide_grant(id, GrantStatus::Denied, None, act.now).await?;
    called.describe(act, "");
    Ok(())
}

async fn end(act: &mut Act, id: GrantId, to: GrantStatus) -> Result<(), PlatformError> {
    let (grant, own) = party(act, id).await?;
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
    // While the connection lives that ends with it: its holder may see the channel by that alone.
    let called = called(act, &grant).await?;
    if let Some(connection) = act.tx.connection_of_grant(id).await? {
        let actor = Actor::Party(side);
        connections::shift(&mut act.tx, &connection, Event::Terminate, actor, None, act.now).await?;
        called.describe(act, &format!("; connection {} terminated", connection.id));
    } else {
        act.tx.decide_grant(id, to, None, act.now).await?;
        called.describe(act, "");
    }
    Ok(())
}
