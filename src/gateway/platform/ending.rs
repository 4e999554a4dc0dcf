//! What ends with an agreement, a channel or a server: the grants over it and the connections made from them,
//! said before and carried out by the same look at them. Each end has an entry of its own in both logs.

use std::collections::BTreeMap;
use std::fmt;

use crate::store::{
    AgreementStatus, ConnectionRecord, GrantRecord, GrantStatus, Origin, Tx, UnreadConnection, UnreadGrant,
};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::{AgreementId, ChannelId, OrganizationId, ServerId};
use adit_core::domain::role::Permission;
use adit_core::domain::status::{Actor, Event, Status};
use adit_core::domain::time::Timestamp;

pub(super) use crate::store::Cause;

use super::act::Act;
use super::error::{PlatformError, Resource};
use super::grants::called;
use super::lists::peer_name;
use super::{Action, Initiator, Platform, connections, expiry};

/// How much ends with something, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequences {
    pub channels: usize,
    /// Pending and approved ones.
    pub grants: usize,
    /// All but open offers.
    pub connections: usize,
    /// Open offers to administer a server.
    pub offers: usize,
    /// Who is at the other end of how much, by name.
    pub parties: Vec<AffectedParty>,
}

/// The part of one peer in what ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedParty {
    pub organization: OrganizationId,
    /// "Self" where it is the asker's own.
    pub name: String,
    pub grants: usize,
    pub connections: usize,
    pub offers: usize,
}

impl Consequences {
    /// Says how much it is, without who is at the other end of it.
    #[must_use]
    pub fn counts(&self) -> String {
        let counted = [
            (self.channels, "channel"),
            (self.grants, "grant"),
            (self.connections, "connection"),
            (self.offers, "open offer"),
        ];
        let parts: Vec<_> = counted
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}{}", if number == 1 { "" } else { "s" }))
            .collect();
        let words = if parts.is_empty() { "nothing else".to_owned() } else { parts.join(", ") };
        format!("{words} ends with it")
    }
}

impl fmt::Display for Consequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.counts())?;
        for (number, party) in self.parties.iter().enumerate() {
            f.write_str(if number == 0 { " (" } else { ", " })?;
            f.write_str(&party.name)?;
        }
        if self.parties.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// What hangs on it: what is pending or has not ended.
#[derive(Debug)]
pub(super) struct Ending {
    cause: Cause,
    pub(super) channels: Vec<ChannelId>,
    pending: Vec<GrantRecord>,
    connections: Vec<ConnectionRecord>,
    /// What else hangs on it, in words that this build cannot read: it ends all the same.
    unread_grants: Vec<UnreadGrant>,
    unread_connections: Vec<UnreadConnection>,
}

impl Platform {
    /// Returns what [`Self::end_peering`] would end.
    pub async fn peering_ending(
        &self,
        initiator: &Initiator,
        id: AgreementId,
    ) -> Result<Consequences, PlatformError> {
        let (own, now) = (initiator.member(Permission::See)?, self.now());
        self.look(async move |tx: &mut Tx| {
            let found = tx.agreement(id).await?.filter(|it| it.has(own));
            let living = found.filter(|it| it.status == AgreementStatus::Live);
            living.ok_or(PlatformError::NotFound { resource: Resource::Peering })?;
            Ok(Ending::of(tx, Cause::Agreement(id), now).await?.consequences(own))
        })
        .await
    }

    /// Returns what [`Self::delete_channel`] would end.
    pub async fn channel_deletion(
        &self,
        initiator: &Initiator,
        id: ChannelId,
    ) -> Result<Consequences, PlatformError> {
        let (own, now) = (initiator.member(Permission::See)?, self.now());
        self.look(async move |tx: &mut Tx| {
            let found = tx.channel(id).await?.filter(|channel| channel.organization == own);
            found.ok_or(PlatformError::NotFound { resource: Resource::Channel })?;
            Ok(Ending::of(tx, Cause::Channel(id), now).await?.consequences(own))
        })
        .await
    }

    /// Returns what [`Self::delete_server`] would end.
    pub async fn server_deletion(
        &self,
        initiator: &Initiator,
        id: ServerId,
    ) -> Result<Consequences, PlatformError> {
        let (own, now) = (initiator.member(Permission::See)?, self.now());
        self.look(async move |tx: &mut Tx| {
            let found = tx.server(id).await?.filter(|server| server.organization == own);
            found.ok_or(PlatformError::NotFound { resource: Resource::Server })?;
            Ok(Ending::of(tx, Cause::Server(id), now).await?.consequences(own))
        })
        .await
    }
}

impl Ending {
    /// Finds what ends. An offer whose time is over has ended already.
    pub(super) async fn of(tx: &mut Tx, cause: Cause, now: Timestamp) -> Result<Self, PlatformError> {
        let (channels, pending, mut connections) = match cause {
            Cause::Agreement(id) => {
                (Vec::new(), tx.pending_of_agreement(id).await?, tx.living_of_agreement(id).await?)
            }
            Cause::Channel(id) => {
                (vec![id], tx.pending_of_channel(id).await?, tx.living_of_channel(id).await?)
            }
            Cause::Server(id) => (
                tx.channels_of_server(id).await?,
                tx.pending_of_server(id).await?,
                tx.living_of_server(id).await?,
            ),
        };
        let mut unread_grants = tx.open_grants(cause).await?;
        unread_grants.retain(|unread| pending.iter().all(|grant| grant.id != unread.id));
        let mut unread_connections = tx.open_connections(cause).await?;
        unread_connections.retain(|unread| connections.iter().all(|connection| connection.id != unread.id));
        connections.retain(|connection| !expiry::is_due(connection, now));
        Ok(Self { cause, channels, pending, connections, unread_grants, unread_connections })
    }

    /// Counts it, as `own` sees it.
    pub(super) fn consequences(&self, own: OrganizationId) -> Consequences {
        let mut parties: BTreeMap<OrganizationId, AffectedParty> = BTreeMap::new();
        let mut all = Consequences { channels: self.channels.len(), ..Consequences::default() };
        let mut add = |(id, name): (OrganizationId, String), grants, connections, offers| {
            let party = parties.entry(id).or_insert_with(|| AffectedParty {
                organization: id,
                name,
                grants: 0,
                connections: 0,
                offers: 0,
            });
            party.grants += grants;
            party.connections += connections;
            party.offers += offers;
            all.grants += grants;
            all.connections += connections;
            all.offers += offers;
        };
        for grant in &self.pending {
            let ends = [(grant.owner, &grant.owner_name), (grant.holder, &grant.holder_name)];
            add(peer_name(own, ends), 1, 0, 0);
        }
        for connection in &self.connections {
            let ends = [&connection.source, &connection.target]
                .map(|end| (end.organization, &end.organization_name));
            let peer = peer_name(own, ends);
            match connection.status {
                Status::Offered => add(peer, 0, 0, 1),
                _ => add(peer, usize::from(connection.kind() == ConnectionType::P2p), 1, 0),
            }
        }
        all.grants += self.unread_grants.len();
        all.connections += self.unread_connections.len();
        all.parties = parties.into_values().collect();
        all.parties.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Ends the grants and connections, by `own`. The channels are left to the caller.
    pub(super) async fn carry_out(&self, act: &mut Act, own: OrganizationId) -> Result<(), PlatformError> {
        for grant in &self.pending {
            let (to, action) = end_of(grant, own);
            let called = called(act, grant).await?;
            act.tx.decide_grant(grant.id, to, None, act.now).await?;
            let why = self.why(grant.source_server, None);
            for (party, channel) in BTreeMap::from(called.told()) {
                let (object, detail) = (format!("grant {}", grant.id), format!("{channel}, because {why}"));
                act.also_of(action, object, vec![Some(party)], detail).await?;
            }
        }
        for connection in &self.connections {
            let (event, side, action) = event_of(connection, own);
            let actor = Actor::Party(side);
            let to = connections::shift(&mut act.tx, connection, event, actor, None, act.now).await?;
            let source = connection.source.server.as_ref().map(|server| server.id);
            let target = connection.target.server.as_ref().map(|server| server.id);
            let detail = format!("from {} to {to}, because {}", connection.status, self.why(source, target));
            act.also(action, connection, detail).await?;
        }
        self.end_unread(act).await
    }

    /// Ends what this build cannot read: nothing outlives what it hangs on because of a word.
    async fn end_unread(&self, act: &mut Act) -> Result<(), PlatformError> {
        const UNREAD: &str = "from a state that this build does not know, because";
        for unread in &self.unread_connections {
            act.tx.void_connection(unread, act.now).await?;
            let (object, logs) = (format!("connection {}", unread.id), unread.parties.map(Some).to_vec());
            let detail = format!("{UNREAD} {}", self.why(None, None));
            act.also_of(Action::TerminateConnection, object, logs, detail).await?;
        }
        for unread in &self.unread_grants {
            act.tx.decide_grant(unread.id, GrantStatus::Revoked, None, act.now).await?;
            let (object, logs) = (format!("grant {}", unread.id), unread.parties.map(Some).to_vec());
            let detail = format!("{UNREAD} {}", self.why(None, None));
            act.also_of(Action::RevokeGrant, object, logs, detail).await?;
        }
        Ok(())
    }

    /// Says why, to both parties: which servers the other has is not told to who sends to none of them yet.
    fn why(&self, source: Option<ServerId>, target: Option<ServerId>) -> &'static str {
        match self.cause {
            Cause::Agreement(_) => "the agreement was ended",
            Cause::Channel(_) => "the channel was deleted",
            Cause::Server(id) if source == Some(id) => "the server at its source was deleted",
            Cause::Server(id) if target == Some(id) => "the server at its target was deleted",
            Cause::Server(_) => "the server of the channel was deleted",
        }
    }
}

/// Returns how a pending grant ends by one of its parties: who would decide denies it, who made it takes it
/// back.
fn end_of(grant: &GrantRecord, own: OrganizationId) -> (GrantStatus, Action) {
    match (grant.origin, grant.owner == own) {
        (Origin::Requested, true) | (Origin::Offered, false) => (GrantStatus::Denied, Action::DenyGrant),
        (Origin::Offered, true) => (GrantStatus::Revoked, Action::RevokeGrant),
        (Origin::Requested, false) => (GrantStatus::Relinquished, Action::RelinquishGrant),
    }
}

/// Returns what ends a connection by one of its parties, and as which side.
fn event_of(connection: &ConnectionRecord, own: OrganizationId) -> (Event, Side, Action) {
    let side = if connection.target.organization == own { Side::Target } else { Side::Source };
    match (connection.status, side) {
        (Status::Offered, Side::Target) => (Event::Withdraw, side, Action::WithdrawOffer),
        (Status::Offered, Side::Source) => (Event::Decline, side, Action::DeclineOffer),
        _ => (Event::Terminate, side, Action::TerminateConnection),
    }
}
