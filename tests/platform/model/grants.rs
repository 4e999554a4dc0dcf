//! Permission for one peer on one channel, and the P2P connection that an approval makes (DOMAIN §1, §2).

use super::audit::Act;
use super::connections::Initiator;
use super::{Connection, Grant, Kind, Model, Mutation, Permission, Secret};
use crate::outcome::{Outcome, Refusal, Status, Thing, Value};
use crate::step::Asker;
use adit_core::domain::connection::Side;

impl Model {
    pub(super) fn offer_grant(&mut self, act: &mut Act, who: Asker, channel: usize, to: usize) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        if !self.owns_channel(own, channel) {
            return Err(Refusal::NotFound("channel"));
        }
        self.agreed(own, to)?;
        if !self.channels[channel].published {
            return Err(Refusal::Rule("NotPublished"));
        }
        self.make_grant(act, channel, to, None)?;
        act.concerns([to]);
        Ok(Value::Made)
    }

    pub(super) fn request_grant(
        &mut self,
        act: &mut Act,
        who: Asker,
        channel: usize,
        source: usize,
    ) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let exists = self.channels.get(channel).is_some_and(|it| !it.is_deleted);
        if !exists || !self.sees_channel(Some(own), channel) {
            return Err(Refusal::NotFound("channel"));
        }
        let source = self.own_server(source, own)?;
        let owner = self.owner_of(channel);
        self.agreed(own, owner)?;
        if source == self.channels[channel].server {
            return Err(Refusal::Rule("SameServer"));
        }
        self.make_grant(act, channel, own, Some(source))?;
        act.concerns([owner]);
        Ok(Value::Made)
    }

    fn make_grant(
        &mut self,
        act: &mut Act,
        channel: usize,
        holder: usize,
        source: Option<usize>,
    ) -> Result<(), Refusal> {
        self.check_only_grant(channel, holder, source, None)?;
        act.made(Thing::Grant(self.grants.len()));
        self.grants.push(Grant {
            channel,
            owner: self.owner_of(channel),
            holder,
            is_offer: source.is_none(),
            source,
            status: "pending",
            connection: None,
        });
        Ok(())
    }

    /// One living grant for a channel, a holder and a sending server.
    fn check_only_grant(
        &self,
        channel: usize,
        holder: usize,
        source: Option<usize>,
        but: Option<usize>,
    ) -> Result<(), Refusal> {
        let exists = self.grants.iter().enumerate().any(|(number, it)| {
            Some(number) != but
                && (it.channel, it.holder, it.source) == (channel, holder, source)
                && matches!(it.status, "pending" | "approved")
        });
        if exists { Err(Refusal::Rule("Exists")) } else { Ok(()) }
    }

    fn party_of_grant(&self, act: &mut Act, who: Asker, number: usize) -> Result<(Grant, usize), Refusal> {
        let own = self.member(who, Permission::Change)?;
        let found = self.grants.get(number).filter(|it| it.owner == own || it.holder == own);
        let grant = found.ok_or(Refusal::NotFound("grant"))?.clone();
        act.concerns([grant.owner, grant.holder]);
        Ok((grant, own))
    }

    fn pending_grant(&self, act: &mut Act, who: Asker, number: usize) -> Result<Grant, Refusal> {
        let (grant, own) = self.party_of_grant(act, who, number)?;
        if grant.status != "pending" {
            return Err(Refusal::Rule("GrantDecided"));
        }
        let is_decider = own == grant.decider() || self.is(Mutation::AskersDecideGrants);
        if is_decider { Ok(grant) } else { Err(Refusal::Rule("NotDecider")) }
    }

    pub(super) fn approve_grant(
        &mut self,
        act: &mut Act,
        who: Asker,
        number: usize,
        named: Option<usize>,
    ) -> Outcome {
        let grant = self.pending_grant(act, who, number)?;
        self.agreed(grant.owner, grant.holder)?;
        let source = match (grant.source, named) {
            (None, None) => return Err(Refusal::Rule("SourceNeeded")),
            (None, Some(named)) => self.own_server(named, grant.holder)?,
            (Some(asked), named) if named.is_none_or(|named| named == asked) => asked,
            (Some(_), _) => return Err(Refusal::Rule("SourceFixed")),
        };
        let target = self.channels[grant.channel].server;
        if source == target {
            return Err(Refusal::Rule("SameServer"));
        }
        self.check_only_grant(grant.channel, grant.holder, Some(source), Some(number))?;
        let decided = &mut self.grants[number];
        decided.status = "approved";
        decided.source = Some(source);
        decided.connection = Some(self.connections.len());
        self.connections.push(Connection {
            kind: Kind::P2p,
            grant: Some(number),
            organizations: [grant.holder, grant.owner],
            source: Some(source),
            target,
            status: Status::Ready,
            is_held_for_tier: false,
            expires_at: i64::MAX,
            cuts: 0,
            secret: Secret { epoch: 1, ..Secret::default() },
            last_names: None,
            last_channel: None,
            told: [None; 2],
            worked_before: false,
        });
        Ok(Value::Made)
    }

    pub(super) fn deny_grant(&mut self, act: &mut Act, who: Asker, number: usize) -> Outcome {
        self.pending_grant(act, who, number)?;
        self.grants[number].status = "denied";
        Ok(Value::Nothing)
    }

    pub(super) fn end_grant(&mut self, act: &mut Act, who: Asker, number: usize, revokes: bool) -> Outcome {
        let (grant, own) = self.party_of_grant(act, who, number)?;
        if revokes && grant.owner != own {
            return Err(Refusal::Rule("NotOwner"));
        }
        if !revokes && grant.holder != own {
            return Err(Refusal::Rule("NotHolder"));
        }
        if !matches!(grant.status, "pending" | "approved") {
            return Err(Refusal::Rule("GrantEnded"));
        }
        match grant.connection {
            Some(connection) => {
                let side = if revokes { Side::Target } else { Side::Source };
                self.end_connection(connection, Status::Terminated, Initiator::Party(side));
            }
            None => self.grants[number].status = if revokes { "revoked" } else { "relinquished" },
        }
        Ok(Value::Nothing)
    }
}

impl Grant {
    pub(crate) const fn decider(&self) -> usize {
        if self.is_offer { self.holder } else { self.owner }
    }
}
