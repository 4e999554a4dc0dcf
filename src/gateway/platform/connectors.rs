//! Connector configuration: the file by which one server's agent finds the gateway and enrols, and how far that
//! has come. Both are the server's owner's alone; the file goes out once, with a token that is nowhere else.

use zeroize::Zeroizing;

use crate::store::{ServerRecord, TokenRecord, Tx};
use adit_core::config::connector::Connector;
use adit_core::config::{HostPort, TrustDomain};
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;

use super::error::{PlatformError, Resource};
use super::{Initiator, IssuedToken, Platform, TokenLife};

/// What every connector file says of the gateway; the platform itself does not know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPlace {
    /// Tried in turn; at least one.
    pub addresses: Vec<HostPort>,
    pub trust_domain: TrustDomain,
    /// Of the gateway's certificate authority.
    pub ca_key: KeyFingerprint,
}

/// A connector file on its only way out.
pub struct ConnectorFile {
    pub server: ServerId,
    pub server_name: Name,
    pub expires_at: Timestamp,
    /// As `connector.toml` has it; it holds the token.
    pub text: Zeroizing<String>,
}

/// How far a server's newest connector file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorProgress {
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub stage: ConnectorStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorStage {
    /// Nobody has enrolled with it yet.
    Downloaded,
    /// Nobody has, and nobody can any more.
    Expired,
    /// An agent has a certificate by it.
    Enrolled,
    /// That agent's control link is up.
    Connected,
    /// The key that enrolled with it is not on file any more.
    Revoked,
}

impl ConnectorStage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downloaded => "downloaded",
            Self::Expired => "expired",
            Self::Enrolled => "enrolled",
            Self::Connected => "connected",
            Self::Revoked => "revoked",
        }
    }
}

impl GatewayPlace {
    /// Returns the file that carries a token to its server's agent.
    #[must_use]
    pub fn file(&self, issued: IssuedToken) -> ConnectorFile {
        let IssuedToken { server, server_name, token, expires_at } = issued;
        let connector = Connector {
            addresses: self.addresses.clone(),
            trust_domain: self.trust_domain.clone(),
            key: self.ca_key,
            server,
            token: Some(token),
        };
        let text = connector.render(server_name.as_str(), expires_at);
        ConnectorFile { server, server_name, expires_at, text }
    }
}

impl Platform {
    /// Issues a registration token, which voids the one before, in the file that its server's agent takes.
    pub async fn connector(
        &self,
        initiator: &Initiator,
        server: ServerId,
        life: TokenLife,
        gateway: &GatewayPlace,
    ) -> Result<ConnectorFile, PlatformError> {
        Ok(gateway.file(self.issue_token(initiator, server, life).await?))
    }

    /// Returns how far the newest connector file has come, to its server's owner; `None` where none was issued.
    pub async fn connector_progress(
        &self,
        initiator: &Initiator,
        server: ServerId,
    ) -> Result<Option<ConnectorProgress>, PlatformError> {
        let (own, now) = (initiator.member(Permission::See)?, self.now());
        self.look(async move |tx: &mut Tx| {
            let found = tx.server(server).await?.filter(|found| found.organization == own);
            let found = found.ok_or(PlatformError::NotFound { resource: Resource::Server })?;
            let token = tx.token(server).await?;
            Ok(token.map(|token| progress(&found, &token, now)))
        })
        .await
    }
}

fn progress(server: &ServerRecord, token: &TokenRecord, now: Timestamp) -> ConnectorProgress {
    let is_up = server.link_at(now).is_some_and(|link| link.value);
    let stage = match token.bound_key {
        None if now >= token.expires_at => ConnectorStage::Expired,
        None => ConnectorStage::Downloaded,
        bound if bound != server.key => ConnectorStage::Revoked,
        Some(_) if is_up => ConnectorStage::Connected,
        Some(_) => ConnectorStage::Enrolled,
    };
    ConnectorProgress { issued_at: token.issued_at, expires_at: token.expires_at, stage }
}
