//! What is asked of the platform, while it runs: one transaction that holds a change with its audit entries,
//! or the refusal's alone. How one is begun, ended and run again is in [`run`].

pub(super) mod entry;
pub(super) mod numbered;
pub(super) mod outcome;
pub(super) mod plain;
pub(super) mod retries;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use crate::store::{AuditOutcome, ChannelRecord, ConnectionRecord, ServerRecord, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ActId, ChannelId, ConnectionId, OrganizationId, ServerId, UserId};
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::{self, Field, Viewer};

use super::error::{PlatformError, Resource};
use super::proof::{self, Proven};
use super::seal::SealingKey;
use super::sessions::Heard;
use super::{Action, Initiator, agents, viewer};
use entry::{Entry, GATEWAY, Logs};

/// What the work of an act is given. It may be given several, one after another: whatever it does outside of
/// the transaction would be done as often.
pub(super) struct Act {
    pub(super) tx: Tx,
    pub(super) now: Timestamp,
    pub(super) seal: Arc<SealingKey>,
    /// As it is now, once the work begins.
    initiator: Initiator,
    proven: Option<Proven>,
    id: ActId,
    said: Said,
}

/// What its entry will say.
#[derive(Debug)]
struct Said {
    object: String,
    made: Option<String>,
    detail: String,
    /// What the entry says instead in the logs of some.
    apart: BTreeMap<OrganizationId, String>,
    remark: Option<String>,
    teller: Option<String>,
    /// What the agent's server was called last on a connection that has ended.
    last_called: Option<Name>,
    outcome: AuditOutcome,
    kind: Option<String>,
    times: u32,
    concerned: BTreeSet<OrganizationId>,
    is_nothing: bool,
    /// What the row of an admin session has to take.
    heard: Option<Heard>,
}

impl Said {
    fn of(object: String, initiator: &Initiator) -> Self {
        Self {
            object,
            made: None,
            detail: String::new(),
            apart: BTreeMap::new(),
            remark: None,
            teller: None,
            last_called: None,
            outcome: AuditOutcome::Done,
            kind: None,
            times: 1,
            concerned: initiator.organization().into_iter().collect(),
            is_nothing: false,
            heard: None,
        }
    }
}

impl Act {
    /// Has the initiator be what its proof proves now, before the work.
    async fn prove_initiator(&mut self) -> Result<(), PlatformError> {
        self.proven = proof::require(&mut self.tx, &self.initiator, self.now).await?;
        if let (Some(proven), Initiator::Member { role, .. }) = (&self.proven, &mut self.initiator) {
            *role = proven.role;
        }
        Ok(())
    }

    /// Returns the organization acted for, if the initiator's role has the permission. Who comes in, and how, is
    /// changed by people who have signed in lately.
    pub(super) fn member(&self, permission: Permission) -> Result<OrganizationId, PlatformError> {
        let organization = self.initiator.member(permission)?;
        if permission == Permission::ManageUsers {
            self.require_late_sign_in()?;
        }
        Ok(organization)
    }

    /// Returns the organization acted for, for what only takes away: programs do that too, and nobody signs in again
    /// first.
    pub(super) fn member_taking_away(&self, permission: Permission) -> Result<OrganizationId, PlatformError> {
        Ok(self.initiator.member(permission)?)
    }

    /// Refuses a program, and a person who has signed in long ago.
    pub(super) fn require_late_sign_in(&self) -> Result<(), PlatformError> {
        match &self.proven {
            Some(proven) => Ok(proven.require_late_sign_in(self.now)?),
            None => Ok(()),
        }
    }

    /// Returns whether the initiator is that user.
    pub(super) fn is_by(&self, user: UserId) -> bool {
        self.initiator.proof().is_some_and(|proof| proof.user == user)
    }

    /// Returns the organization whose user asks.
    pub(super) const fn organization(&self) -> Option<OrganizationId> {
        self.initiator.organization()
    }

    /// Returns whether the gateway's operator asks.
    pub(super) const fn is_host(&self) -> bool {
        matches!(self.initiator, Initiator::Host { .. })
    }

    /// Has the row of an admin session take what its agent says, once the work has ended well.
    pub(super) fn hears(&mut self, heard: Heard) {
        self.said.heard = Some(heard);
    }

    /// Adds an organization concerned: its log gets the entry too. Called once the asker is known to see that
    /// organization's part.
    pub(super) fn concerns(&mut self, organization: OrganizationId) {
        self.said.concerned.insert(organization);
    }

    /// Does the same for both parties of a connection. Of one that has ended, the other party knows its agent's
    /// server by the name that it had then.
    pub(super) fn concerns_both(&mut self, connection: &ConnectionRecord) {
        if let Initiator::Agent { server } = self.initiator
            && connection.status.is_terminal()
        {
            let side = connection.side_of(server);
            self.said.last_called = side.map(|side| connection.end(side).name().clone());
        }
        self.concerns(connection.source.organization);
        self.concerns(connection.target.organization);
    }

    /// Names the object. The object is only known now: it was just made.
    pub(super) fn made(&mut self, resource: Resource, id: impl Display) {
        self.names(format!("{resource} {id}"));
        self.makes(id);
    }

    /// Says what was made, where the entry names another object.
    pub(super) fn makes(&mut self, id: impl Display) {
        self.said.made = Some(id.to_string());
    }

    /// Returns what its entries in the log have in common.
    pub(super) const fn id(&self) -> ActId {
        self.id
    }

    /// Returns what was made, if anything was.
    pub(super) fn made_id(&self) -> Option<&str> {
        self.said.made.as_deref()
    }

    /// Returns what the entry will call the object.
    pub(super) fn object(&self) -> &str {
        &self.said.object
    }

    /// Names the object otherwise than it was asked for.
    pub(super) fn names(&mut self, object: String) {
        self.said.object = object;
    }

    /// Says what every organization concerned may read beside the action.
    pub(super) fn describe(&mut self, detail: impl Into<String>) {
        self.said.detail = detail.into();
    }

    /// Says something else to one of them, who may not see all that the others may.
    pub(super) fn describe_to(&mut self, organization: OrganizationId, detail: impl Into<String>) {
        self.said.apart.insert(organization, detail.into());
    }

    /// Adds, in parentheses, to what a refusal says by itself.
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.said.remark = Some(remark.into());
    }

    /// Names who did it where the initiator alone says too little or too much.
    pub(super) fn told_by(&mut self, teller: impl Into<String>) {
        self.said.teller = Some(teller.into());
    }

    /// Says that what the entry tells of was a refusal, by somebody else and before.
    pub(super) const fn tells_of(&mut self, outcome: AuditOutcome) {
        self.said.outcome = outcome;
    }

    /// Counts entries of one kind in one row a span. What changes nothing and is done may be counted; the
    /// refusals of agents and strangers always are, and this tells them apart otherwise than by their texts.
    pub(super) fn counts_as(&mut self, kind: impl Into<String>) {
        self.said.kind = Some(kind.into());
    }

    /// Says that the entry stands for so many, which must not be 0.
    pub(super) const fn times(&mut self, times: u32) {
        self.said.times = times;
    }

    /// Ends without an entry: nothing is changed, and there is nothing that anybody would look for in a log.
    pub(super) const fn leaves_no_entry(&mut self) {
        self.said.is_nothing = true;
    }

    /// Takes [`Self::leaves_no_entry`] back: there is something to tell.
    pub(super) const fn leaves_an_entry(&mut self) {
        self.said.is_nothing = false;
    }

    /// Writes what follows from the act by a rule, as the gateway's own, in the logs of both parties.
    pub(super) async fn also(
        &mut self,
        action: Action,
        connection: &ConnectionRecord,
        detail: String,
    ) -> Result<(), PlatformError> {
        self.also_of(action, format!("connection {}", connection.id), agents::both(connection), detail).await
    }

    /// Does the same for any object, in the logs named.
    pub(super) async fn also_of(
        &mut self,
        action: Action,
        object: String,
        logs: Logs,
        detail: String,
    ) -> Result<(), PlatformError> {
        let actor = GATEWAY.into();
        let entry = Entry { actor, action, object, outcome: AuditOutcome::Done, detail, bucket: None };
        entry.write(&mut self.tx, Some(self.id), self.now, logs, 1).await?;
        Ok(())
    }

    /// Writes another entry that belongs to the act.
    pub(super) async fn also_in(&mut self, entry: &Entry, logs: entry::Logs) -> Result<(), PlatformError> {
        Ok(entry.write(&mut self.tx, Some(self.id), self.now, logs, 1).await?)
    }

    /// Returns what the initiator calls itself.
    pub(super) fn initiator_name(&self) -> &str {
        self.initiator.name()
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
        // By one statement: what is hidden takes as long to find as what is not there.
        let found = self.tx.channel_seen_by(organization, self.now, id).await?;
        let shows = |viewer, channel: &ChannelRecord| {
            visibility::listed(Field::ChannelPublic, viewer, channel.published)
        };
        let seen = found.filter(|(channel, viewer)| shows(*viewer, channel));
        seen.ok_or(PlatformError::NotFound { resource: Resource::Channel })
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

    /// Returns a connection that has the agent's server at one end, and which.
    pub(super) async fn connection_of(
        &mut self,
        server: ServerId,
        id: ConnectionId,
    ) -> Result<(ConnectionRecord, Side), agents::AgentError> {
        let (connection, side) = agents::connection_of(&mut self.tx, server, id).await?;
        self.concerns_both(&connection);
        Ok((connection, side))
    }
}
