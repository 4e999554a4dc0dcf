//! A transaction that holds a change with its audit entries, or only those of a refusal.

use std::collections::BTreeSet;
use std::fmt::Display;

use tracing::debug;

use crate::store::{AuditOutcome, AuditRecord, ChannelRecord, ConnectionRecord, ServerRecord, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ChannelId, ConnectionId, OrganizationId, ServerId};
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::{self, Field, Viewer};

use super::error::{PlatformError, Resource};
use super::{Actor, Platform, expiry, viewer};

pub(super) struct AuditedTx {
    pub(super) tx: Tx,
    pub(super) now: Timestamp,
    pub(super) actor: Actor,
    action: &'static str,
    object: String,
    detail: String,
    concerned: BTreeSet<OrganizationId>,
}

impl Platform {
    /// Starts the transaction of what a user asks for. `object` is what was asked for, as it was asked.
    pub(super) async fn begin(
        &self,
        actor: &Actor,
        action: &'static str,
        object: impl Display,
    ) -> Result<AuditedTx, PlatformError> {
        let mut tx = self.store.write().await?;
        let now = self.now();
        // Before the savepoint: an offer whose time is over has expired whatever becomes of the rest.
        expiry::expire_offers(&mut tx, now).await?;
        tx.savepoint().await?;
        Ok(AuditedTx {
            tx,
            now,
            actor: actor.clone(),
            action,
            object: object.to_string(),
            detail: String::new(),
            concerned: actor.viewpoint().into_iter().collect(),
        })
    }
}

impl AuditedTx {
    /// Returns the organization acted for, if the actor's role has the permission.
    pub(super) fn member(&self, permission: Permission) -> Result<OrganizationId, PlatformError> {
        Ok(self.actor.member(permission)?)
    }

    /// Adds an organization concerned: its log gets the entry too. Called once the asker is known to see that
    /// organization's part.
    pub(super) fn concerns(&mut self, organization: OrganizationId) {
        self.concerned.insert(organization);
    }

    pub(super) fn concerns_both(&mut self, connection: &ConnectionRecord) {
        self.concerns(connection.source.organization);
        self.concerns(connection.target.organization);
    }

    /// Names the object. The object is only known now: it was just made.
    pub(super) fn made(&mut self, resource: Resource, id: impl Display) {
        self.object = format!("{resource} {id}");
    }

    /// Says what every organization concerned may read beside the action.
    pub(super) fn describe(&mut self, detail: impl Into<String>) {
        self.detail = detail.into();
    }

    /// Commits the change with its entries, or takes it back and commits the refusal's.
    pub(super) async fn finish<T>(mut self, outcome: Result<T, PlatformError>) -> Result<T, PlatformError> {
        let (word, reason) = match &outcome {
            Ok(_) => (AuditOutcome::Done, self.detail.clone()),
            Err(error @ (PlatformError::NotFound { .. } | PlatformError::Refused(_))) => {
                self.tx.rollback_to_savepoint().await?;
                (AuditOutcome::Refused, error.to_string())
            }
            Err(PlatformError::Cursor(_) | PlatformError::Store(_) | PlatformError::Seal(_)) => {
                return outcome;
            }
        };
        self.write_entries(word, &reason).await?;
        let by = self.actor.viewpoint().map_or_else(|| "the operator".to_owned(), |it| it.to_string());
        debug!(
            action = self.action,
            object = self.object,
            by,
            outcome = word.as_str(),
            reason,
            "the platform was asked"
        );
        self.tx.commit().await?;
        outcome
    }

    async fn write_entries(&mut self, outcome: AuditOutcome, detail: &str) -> Result<(), PlatformError> {
        let home = self.actor.viewpoint();
        let (name, elsewhere) = match &self.actor {
            Actor::Host { name } => (name.clone(), "the gateway's operator".to_owned()),
            Actor::Member { organization, name, .. } => {
                let organization = self.tx.organization(*organization).await?;
                (name.clone(), organization.map_or_else(|| name.clone(), |it| it.name.to_string()))
            }
        };
        let mut logs: Vec<Option<OrganizationId>> = self.concerned.iter().copied().map(Some).collect();
        if home.is_none() {
            logs.push(None);
        }
        for organization in logs {
            let entry = AuditRecord {
                at: self.now,
                organization,
                actor: if organization == home { name.clone() } else { elsewhere.clone() },
                action: self.action,
                object: self.object.clone(),
                outcome,
                detail: detail.to_owned(),
                bucket: None,
                act: None,
            };
            self.tx.append_audit(&entry).await?;
        }
        Ok(())
    }

    /// Returns a server of the organization acted for.
    pub(super) async fn own_server(
        &mut self,
        id: ServerId,
        organization: OrganizationId,
    ) -> Result<ServerRecord, PlatformError> {
        let server = self.tx.server(id).await?.filter(|server| {
            let viewer = if server.organization == organization { Viewer::Owner } else { Viewer::Outsider };
            visibility::listed(Field::ServerDetail, viewer, false)
        });
        server.ok_or(PlatformError::NotFound { resource: Resource::Server })
    }

    /// Returns a channel as far as the organization may know of it.
    pub(super) async fn channel(
        &mut self,
        id: ChannelId,
        organization: OrganizationId,
    ) -> Result<(ChannelRecord, Viewer), PlatformError> {
        let Some(channel) = self.tx.channel(id).await? else {
            return Err(PlatformError::NotFound { resource: Resource::Channel });
        };
        let viewer = viewer::of_channel(&mut self.tx, organization, &channel).await?;
        if visibility::listed(Field::ChannelPublic, viewer, channel.published) {
            Ok((channel, viewer))
        } else {
            Err(PlatformError::NotFound { resource: Resource::Channel })
        }
    }

    /// Returns a connection the organization is a party of, and the side it acts as.
    pub(super) async fn connection(
        &mut self,
        id: ConnectionId,
        organization: OrganizationId,
    ) -> Result<(ConnectionRecord, Side), PlatformError> {
        let found = self.tx.connection(id).await?;
        let found = found.and_then(|it| viewer::side_of(&it, organization).map(|side| (it, side)));
        let (connection, side) = found.ok_or(PlatformError::NotFound { resource: Resource::Connection })?;
        self.concerns_both(&connection);
        Ok((connection, side))
    }
}
