//! Servers: adding, describing, taking their key off file, deleting.

use crate::store::NewServer;
use adit_core::domain::id::{KeyFingerprint, RouteId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_net::identity::random;

use super::act::Act;
use super::ending::{Cause, Consequences, Ending};
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Action, Initiator, Platform};

/// What an owner writes about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerText {
    pub name: Name,
    pub description: Description,
    /// Of the Mirth; the owner's alone to see.
    pub version: Description,
}

impl Platform {
    pub async fn add_server(
        &self,
        initiator: &Initiator,
        new: &ServerText,
    ) -> Result<ServerId, PlatformError> {
        let new = new.clone();
        self.act(initiator, Action::AddServer, format!("server {}", new.name), async move |act: &mut Act| {
            add(act, &new).await
        })
        .await
    }

    pub async fn describe_server(
        &self,
        initiator: &Initiator,
        id: ServerId,
        text: &ServerText,
    ) -> Result<(), PlatformError> {
        let text = text.clone();
        self.act(initiator, Action::DescribeServer, format!("server {id}"), async move |act: &mut Act| {
            describe(act, id, &text).await
        })
        .await
    }

    /// Revokes a server's key, for a lost or stolen host: no leaf over its key is good any more. Enrolling it
    /// again needs a new token and rotates the secrets of its connections.
    pub async fn revoke_server(
        &self,
        initiator: &Initiator,
        id: ServerId,
    ) -> Result<KeyFingerprint, PlatformError> {
        self.act(initiator, Action::RevokeServerKey, format!("server {id}"), async move |act: &mut Act| {
            revoke(act, id).await
        })
        .await
    }

    /// Deletes a server, by its owner, with all that hangs on it: its agent is cut off for good, its channels are
    /// gone, grants and connections have ended. [`Self::server_deletion`] says so before.
    pub async fn delete_server(
        &self,
        initiator: &Initiator,
        id: ServerId,
    ) -> Result<Consequences, PlatformError> {
        self.act(initiator, Action::DeleteServer, format!("server {id}"), async move |act: &mut Act| {
            delete(act, id).await
        })
        .await
    }
}

async fn add(act: &mut Act, new: &ServerText) -> Result<ServerId, PlatformError> {
    let organization = act.member(Permission::Change)?;
    let Some(owner) = act.tx.organization(organization).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    let present = act.tx.count_servers(organization).await?;
    owner.tier.admit(Counted::Servers, present).map_err(ActionRefusal::from)?;
    let id = ServerId::from_random(random::bytes());
    let server = NewServer {
        id,
        organization,
        name: new.name.clone(),
        description: new.description.clone(),
        version: new.version.to_string(),
        route: RouteId::from_bytes(random::bytes()),
        created_at: act.now,
    };
    act.tx.insert_server(&server).await?;
    act.made(Resource::Server, id);
    act.describe(format!("name {}", new.name));
    Ok(id)
}

async fn describe(act: &mut Act, id: ServerId, text: &ServerText) -> Result<(), PlatformError> {
    let organization = act.member(Permission::Change)?;
    act.own_server(id, organization).await?;
    act.tx.describe_server(id, &text.name, &text.description, text.version.as_str()).await?;
    act.describe(format!("name {}", text.name));
    Ok(())
}

async fn revoke(act: &mut Act, id: ServerId) -> Result<KeyFingerprint, PlatformError> {
    let organization = act.member(Permission::Change)?;
    let server = act.own_server(id, organization).await?;
    let key = server.key.ok_or(ActionRefusal::NotEnrolled)?;
    act.tx.revoke_key(key, id, act.now).await?;
    act.tx.set_key(id, None, act.now).await?;
    // A connector file that nobody has used may lie on the host that is lost.
    if act.tx.token(id).await?.is_some_and(|token| token.bound_key.is_none()) {
        act.tx.delete_token(id).await?;
    }
    for connection in act.tx.connections_of_server(id).await? {
        if !connection.status.is_terminal() {
            act.concerns_both(&connection);
        }
    }
    act.describe(format!("key {key}"));
    Ok(key)
}

async fn delete(act: &mut Act, id: ServerId) -> Result<Consequences, PlatformError> {
    let organization = act.member(Permission::Change)?;
    let server = act.own_server(id, organization).await?;
    let ending = Ending::of(&mut act.tx, Cause::Server(id), act.now).await?;
    ending.carry_out(act, organization).await?;
    for &channel in &ending.channels {
        act.tx.delete_channel(channel, act.now).await?;
    }
    act.tx.delete_token(id).await?;
    if let Some(key) = server.key {
        act.tx.revoke_key(key, id, act.now).await?;
        act.tx.set_key(id, None, act.now).await?;
    }
    act.tx.delete_server(id, act.now).await?;
    let consequences = ending.consequences(organization);
    act.describe(match server.key {
        Some(key) => format!("name {}; key {key} is revoked; {consequences}", server.name),
        None => format!("name {}; {consequences}", server.name),
    });
    Ok(consequences)
}
