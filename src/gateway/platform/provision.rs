//! Two organizations joined from nothing, for the demo and the lab: the same calls in the same order
//! as two operators make them.

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

use super::channels::NewChannel;
use super::connections::ConnectionCommand;
use super::error::PlatformError;
use super::offers::{AdminOffer, OfferLife};
use super::servers::ServerText;
use super::tokens::{IssuedToken, TokenLife};
use super::{Initiator, Platform};

/// Who sends to whom over what, and how far the source may administer the target.
#[derive(Debug, Clone)]
pub struct Plan {
    pub source_organization: Name,
    pub source_server: Name,
    pub target_organization: Name,
    pub target_server: Name,
    pub channels: Vec<(Name, Protocol)>,
    /// One admin connection each.
    pub admin: Vec<Access>,
    pub token_life: TokenLife,
}

/// One side, ready to enrol.
#[derive(Debug)]
pub struct Provided {
    pub initiator: Initiator,
    pub organization: OrganizationId,
    pub server: ServerId,
    pub token: IssuedToken,
}

#[derive(Debug)]
pub struct Provisioned {
    pub source: Provided,
    pub target: Provided,
    /// Active, in the order of the plan's channels.
    pub connections: Vec<ConnectionId>,
    /// Active, in the order of the plan's.
    pub admin: Vec<ConnectionId>,
}

impl Platform {
    pub async fn provision(&self, plan: &Plan) -> Result<Provisioned, PlatformError> {
        let source = self.provide(&plan.source_organization, &plan.source_server, plan.token_life).await?;
        let target = self.provide(&plan.target_organization, &plan.target_server, plan.token_life).await?;
        let peering = self.request_peering(&source.initiator, target.organization).await?;
        self.accept_peering(&target.initiator, peering).await?;
        let mut connections = Vec::with_capacity(plan.channels.len());
        for (name, protocol) in &plan.channels {
            let new = NewChannel {
                server: target.server,
                name: name.clone(),
                description: Description::default(),
                protocol: *protocol,
                published: true,
            };
            let channel = self.add_channel(&target.initiator, &new).await?;
            let grant = self.request_grant(&source.initiator, channel, source.server).await?;
            let connection = self.approve_grant(&target.initiator, grant, None).await?;
            self.command(&source.initiator, connection, ConnectionCommand::Activate).await?;
            connections.push(connection);
        }
        let mut admin = Vec::with_capacity(plan.admin.len());
        for &access in &plan.admin {
            let (server, to) = (target.server, source.organization);
            let offer = AdminOffer { server, to, access, life: OfferLife::default() };
            let connection = self.offer_admin(&target.initiator, &offer).await?;
            self.accept_offer(&source.initiator, connection, source.server).await?;
            admin.push(connection);
        }
        Ok(Provisioned { source, target, connections, admin })
    }

    async fn provide(
        &self,
        organization: &Name,
        server: &Name,
        life: TokenLife,
    ) -> Result<Provided, PlatformError> {
        let host = Initiator::Host { name: "set-up".into() };
        let organization = self.add_organization(&host, organization, Tier::Enterprise).await?;
        let initiator =
            Initiator::Member { organization, role: UserRole::Owner, name: "set-up".into(), proof: None };
        let text = ServerText {
            name: server.clone(),
            description: Description::default(),
            version: Description::default(),
        };
        let server = self.add_server(&initiator, &text).await?;
        let token = self.issue_token(&initiator, server, life).await?;
        Ok(Provided { initiator, organization, server, token })
    }
}
