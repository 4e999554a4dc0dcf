//! What ends with an agreement, a server or a channel, and what they are called (DOMAIN §1).

use std::collections::BTreeSet;

use super::audit::Act;
use super::connections::Initiator;
use super::{Grant, Kind, Model, Mutation, Permission};
use crate::outcome::{Outcome, Refusal, Status, Thing, Value};
use crate::step::{Asker, channel_name, organization_name};
use adit_core::domain::connection::Side;

impl Model {
    /// Whatever lives between the two ends with it.
    pub(super) fn end_peering(&mut self, act: &mut Act, who: Asker, number: usize) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let found = self.peerings.get(number).filter(|it| it.requester == own || it.recipient == own);
        let peering = found.ok_or(Refusal::NotFound("peering"))?;
        let parties = BTreeSet::from([peering.requester, peering.recipient]);
        act.concerns(parties.iter().copied());
        if peering.status != "live" {
            return Err(Refusal::Rule("PeeringNotLive"));
        }
        let grants = self.pending(|it| BTreeSet::from([it.owner, it.holder]) == parties);
        let grants = if self.is(Mutation::EndedAgreementsLeaveGrants) { Vec::new() } else { grants };
        let connections = self.living_numbers(|model, number| model.connections[number].parties() == parties);
        let ends = self.end_all(own, 0, &grants, &connections);
        self.peerings[number].status = "ended";
        Ok(ends)
    }

    pub(super) fn delete_server(&mut self, who: Asker, number: usize) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let number = self.own_server(number, own)?;
        let channels: Vec<_> = (0..self.channels.len())
            .filter(|channel| {
                let it = &self.channels[*channel];
                it.server == number && !it.is_deleted
            })
            .collect();
        let grants = self.pending(|it| channels.contains(&it.channel) || it.source == Some(number));
        let connections =
            self.living_numbers(|model, it| model.connections[it].side_of_server(number).is_some());
        let ends = self.end_all(own, channels.len(), &grants, &connections);
        for channel in channels {
            self.hide_channel(channel);
        }
        let server = &mut self.servers[number];
        server.is_deleted = true;
        server.token = None;
        if let Some(key) = server.key.take() {
            self.revoked.insert(key, number);
        }
        Ok(ends)
    }

    pub(super) fn describe_channel(&mut self, who: Asker, number: usize, name: u8) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        if !self.owns_channel(own, number) {
            return Err(Refusal::NotFound("channel"));
        }
        let name = channel_name(who, name);
        let server = self.channels[number].server;
        let taken = self.channels.iter().enumerate().any(|(other, it)| {
            other != number && it.server == server && !it.is_deleted && it.name.eq_ignore_ascii_case(&name)
        });
        if taken {
            return Err(Refusal::Rule("Exists"));
        }
        self.channels[number].name = name;
        Ok(Value::Nothing)
    }

    pub(super) fn delete_channel(&mut self, who: Asker, number: usize) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        if !self.owns_channel(own, number) {
            return Err(Refusal::NotFound("channel"));
        }
        let grants = self.pending(|it| it.channel == number);
        let connections = self.living_numbers(|model, it| {
            let grant = model.connections[it].grant;
            grant.is_some_and(|grant| model.grants[grant].channel == number)
        });
        let ends = self.end_all(own, 1, &grants, &connections);
        self.hide_channel(number);
        Ok(ends)
    }

    fn hide_channel(&mut self, number: usize) {
        let channel = &mut self.channels[number];
        channel.is_deleted = true;
        channel.published = false;
    }

    /// Peers find it in their logs under the new name.
    pub(super) fn rename(&mut self, act: &mut Act, who: Asker, number: usize, name: usize) -> Outcome {
        if let Asker::Member { organization, .. } = who {
            if organization != number {
                return Err(Refusal::NotFound("organization"));
            }
            self.member(who, Permission::Rename)?;
        }
        if number >= self.organizations.len() {
            return Err(Refusal::NotFound("organization"));
        }
        act.concerns([number]);
        let name = organization_name(self.sequence, name);
        let mut others = self.organizations.iter().enumerate().filter(|(other, _)| *other != number);
        if others.any(|(_, other)| other.name == name) {
            return Err(Refusal::Rule("Exists"));
        }
        let peers = (0..self.organizations.len()).filter(|peer| self.is_live(number, *peer));
        act.concerns(peers.collect::<Vec<_>>());
        self.organizations[number].name = name;
        Ok(Value::Nothing)
    }

    fn pending(&self, ends: impl Fn(&Grant) -> bool) -> Vec<usize> {
        let all = self.grants.iter().enumerate();
        all.filter(|(_, it)| it.status == "pending" && ends(it)).map(|(number, _)| number).collect()
    }

    fn living_numbers(&self, ends: impl Fn(&Self, usize) -> bool) -> Vec<usize> {
        let all = 0..self.connections.len();
        all.filter(|number| !self.connections[*number].status.is_over() && ends(self, *number)).collect()
    }

    /// Ends grants and connections by one of their parties, each in both logs.
    fn end_all(&mut self, own: usize, channels: usize, grants: &[usize], connections: &[usize]) -> Value {
        let mut ends = [channels, grants.len(), 0, 0];
        for number in grants {
            self.end_pending(own, *number);
        }
        for number in connections {
            let connection = &self.connections[*number];
            let is_offer = connection.status == Status::Offered;
            ends[1] += usize::from(connection.kind == Kind::P2p);
            ends[if is_offer { 3 } else { 2 }] += 1;
            let side = if connection.organizations[1] == own { Side::Target } else { Side::Source };
            let (to, action) = match (is_offer, side) {
                (true, Side::Source) => (Status::Declined, "decline offer"),
                (true, Side::Target) => (Status::Terminated, "withdraw offer"),
                (false, _) => (Status::Terminated, "terminate connection"),
            };
            self.end_connection(*number, to, Initiator::Party(side));
            self.write_by_gateway(*number, action);
        }
        Value::Ends(ends)
    }

    /// Who would decide denies it; who made it takes it back.
    fn end_pending(&mut self, own: usize, number: usize) {
        let grant = &mut self.grants[number];
        let (status, action) = match (grant.is_offer, grant.owner == own) {
            (false, true) | (true, false) => ("denied", "deny grant"),
            (true, true) => ("revoked", "revoke grant"),
            (false, false) => ("relinquished", "relinquish grant"),
        };
        grant.status = status;
        let logs = [Some(grant.owner), Some(grant.holder)];
        self.write("the gateway", action, &Thing::Grant(number), "done", logs);
    }
}
