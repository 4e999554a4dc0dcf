//! Servers: adding, describing, taking their key off file.

use crate::store::NewServer;
use adit_core::domain::id::{KeyFingerprint, RouteId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_net::identity::random;

use super::audited_tx::AuditedTx;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Actor, Platform};

/// What an owner writes about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerText {
    pub name: Name,
    pub description: Description,
    /// Of the Mirth; the owner's alone to see.
    pub version: Description,
}

impl Platform {
    pub async fn add_server(&self, actor: &Actor, new: &ServerText) -> Result<ServerId, PlatformError> {
        let mut audited = self.begin(actor, "add server", format!("server {}", new.name)).await?;
        let outcome = add(&mut audited, new).await;
        audited.finish(outcome).await
    }

    pub async fn describe_server(
        &self,
        actor: &Actor,
        id: ServerId,
        text: &ServerText,
    ) -> Result<(), PlatformError> {
        let mut audited = self.begin(actor, "describe server", format!("server {id}")).await?;
        let outcome = describe(&mut audited, id, text).await;
        audited.finish(outcome).await
    }

    /// Revokes a server's key, for a lost or stolen host: no leaf over its key is good any more. Enrolling it
    /// again needs a new token and rotates the secrets of its connections.
    pub async fn revoke_server(&self, actor: &Actor, id: ServerId) -> Result<KeyFingerprint, PlatformError> {
        let mut audited = self.begin(actor, "revoke server key", format!("server {id}")).await?;
        let outcome = revoke(&mut audited, id).await;
        audited.finish(outcome).await
    }
}

async fn add(audited: &mut AuditedTx, new: &ServerText) -> Result<ServerId, PlatformError> {
    let organization = audited.member(Permission::Change)?;
    let Some(owner) = audited.tx.organization(organization).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    let present = audited.tx.count_servers(organization).await?;
    owner.tier.admit(Counted::Servers, present).map_err(ActionRefusal::from)?;
    let id = ServerId::from_random(random::bytes());
    let server = NewServer {
        id,
        organization,
        name: new.name.clone(),
        description: new.description.clone(),
        version: new.version.to_string(),
        route: RouteId::from_bytes(random::bytes()),
        created_at: audited.now,
    };
    audited.tx.insert_server(&server).await?;
    audited.made(Resource::Server, id);
    audited.describe(format!("name {}", new.name));
    Ok(id)
}

async fn describe(audited: &mut AuditedTx, id: ServerId, text: &ServerText) -> Result<(), PlatformError> {
    let organization = audited.member(Permission::Change)?;
    audited.own_server(id, organization).await?;
    audited.tx.describe_server(id, &text.name, &text.description, text.version.as_str()).await?;
    audited.describe(format!("name {}", text.name));
    Ok(())
}

async fn revoke(audited: &mut AuditedTx, id: ServerId) -> Result<KeyFingerprint, PlatformError> {
    let organization = audited.member(Permission::Change)?;
    let server = audited.own_server(id, organization).await?;
    let key = server.key.ok_or(ActionRefusal::NotEnrolled)?;
    audited.tx.revoke_key(key, id, audited.now).await?;
    audited.tx.set_key(id, None, audited.now).await?;
    for connection in audited.tx.connections_of_server(id).await? {
        if !connection.status.is_terminal() {
            audited.concerns_both(&connection);
        }
    }
    audited.describe(format!("key {key}"));
    Ok(key)
}
