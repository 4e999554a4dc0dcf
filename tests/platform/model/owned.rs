//! What an organization owns, whom it peers with, and what its tier admits (DOMAIN §1, §7).

use super::audit::Act;
use super::{
    Channel, Kind, Model, Mutation, Organization, Peering, Permission, Server, Token, limits, writes,
};
use crate::outcome::{Outcome, Refusal, Status, Thing, Value};
use crate::step::{Asker, Decision, channel_name, organization_name, server_name};
use adit_core::domain::tier::Tier;

impl Model {
    pub(super) fn add_organization(&mut self, act: &mut Act, who: Asker, name: usize, tier: Tier) -> Outcome {
        if who != Asker::Host {
            return Err(Refusal::Rule("NeedsHost"));
        }
        let name = organization_name(self.sequence, name);
        if self.organizations.iter().any(|other| other.name == name) {
            return Err(Refusal::Rule("Exists"));
        }
        let number = self.organizations.len();
        self.organizations.push(Organization { name, tier });
        act.made(Thing::Organization(number));
        act.concerns([number]);
        Ok(Value::Made)
    }

    pub(super) fn set_tier(&mut self, act: &mut Act, who: Asker, number: usize, tier: Tier) -> Outcome {
        if let Asker::Member { organization, .. } = who {
            if organization != number {
                return Err(Refusal::NotFound("organization"));
            }
            self.member(who, Permission::ChangeTier)?;
        }
        let Some(organization) = self.organizations.get_mut(number) else {
            return Err(Refusal::NotFound("organization"));
        };
        let before = std::mem::replace(&mut organization.tier, tier);
        act.concerns([number]);
        for connection in 0..self.connections.len() {
            let it = &self.connections[connection];
            if it.kind == Kind::AdminRw && it.organizations[1] == number {
                self.follow_tier(connection, before, tier);
            }
        }
        Ok(Value::Nothing)
    }

    /// A downgrade cuts and holds what runs; what it held goes on when the tier fits again.
    fn follow_tier(&mut self, number: usize, before: Tier, tier: Tier) {
        let connection = &mut self.connections[number];
        let was = connection.status;
        if writes(tier) {
            if let Status::Paused { source, .. } = was
                && connection.is_held_for_tier
            {
                connection.is_held_for_tier = false;
                connection.status =
                    if source { Status::Paused { source, target: false } } else { Status::Active };
                self.write_by_gateway(number, "release connection");
            }
        } else if writes(before) && self.mutation != Some(Mutation::DowngradesHoldNothing) {
            match was {
                Status::Active => connection.status = Status::Paused { source: false, target: true },
                Status::Paused { source, target: false } => {
                    connection.status = Status::Paused { source, target: true };
                }
                Status::Paused { target: true, .. } => {}
                _ => return,
            }
            connection.is_held_for_tier = connection.status != was;
            connection.cuts += 1;
            self.write_by_gateway(number, "hold connection");
        }
    }

    pub(super) fn add_server(&mut self, act: &mut Act, who: Asker, name: u8) -> Outcome {
        let organization = self.member(who, Permission::Change)?;
        let counts = |it: &&Server| !it.is_deleted || self.is(Mutation::DeletedServersCount);
        let present = self.servers.iter().filter(counts).filter(|it| it.organization == organization).count();
        if present >= limits(self.organizations[organization].tier)[0]
            && !self.is(Mutation::FreeServersUnbounded)
        {
            return Err(Refusal::Rule("Limit"));
        }
        let name = server_name(who, name);
        self.check_server_name(organization, &name, None)?;
        act.made(Thing::Server(self.servers.len()));
        let (key, link, token) = (None, None, None);
        let (was_enrolled, is_deleted) = (false, false);
        self.servers.push(Server { organization, name, key, was_enrolled, link, token, is_deleted });
        Ok(Value::Made)
    }

    fn check_server_name(&self, organization: usize, name: &str, but: Option<usize>) -> Result<(), Refusal> {
        let taken = self.servers.iter().enumerate().any(|(number, it)| {
            it.organization == organization
                && !it.is_deleted
                && Some(number) != but
                && it.name.eq_ignore_ascii_case(name)
        });
        if taken { Err(Refusal::Rule("Exists")) } else { Ok(()) }
    }

    pub(super) fn describe_server(&mut self, who: Asker, server: usize, name: u8) -> Outcome {
        let organization = self.member(who, Permission::Change)?;
        let server = self.own_server(server, organization)?;
        let name = server_name(who, name);
        self.check_server_name(organization, &name, Some(server))?;
        self.servers[server].name = name;
        Ok(Value::Nothing)
    }

    pub(super) fn revoke_server(&mut self, act: &mut Act, who: Asker, server: usize) -> Outcome {
        let organization = self.member(who, Permission::Change)?;
        let server = self.own_server(server, organization)?;
        let key = self.servers[server].key.ok_or(Refusal::Rule("NotEnrolled"))?;
        self.servers[server].key = None;
        // One that nobody has used may be in the wrong hands.
        self.servers[server].token.take_if(|token| token.bound.is_none());
        self.revoked.insert(key, server);
        for connection in self.connections.iter().filter(|it| !it.status.is_over()) {
            if connection.side_of_server(server).is_some() {
                act.concerns(connection.parties());
            }
        }
        Ok(Value::Key(key))
    }

    pub(super) fn issue_token(&mut self, who: Asker, server: usize, hours: u32) -> Outcome {
        let organization = self.member(who, Permission::Reveal)?;
        let server = self.own_server(server, organization)?;
        let until = self.now + i64::from(hours) * 3_600_000;
        self.servers[server].token = Some(Token { number: self.tokens.len(), until, bound: None });
        self.tokens.push(server);
        Ok(Value::Until(until))
    }

    pub(super) fn add_channel(
        &mut self,
        act: &mut Act,
        who: Asker,
        server: usize,
        name: u8,
        published: bool,
    ) -> Outcome {
        let organization = self.member(who, Permission::Change)?;
        let server = self.own_server(server, organization)?;
        let of_server = self.channels.iter().filter(|it| it.server == server && !it.is_deleted);
        if of_server.clone().count() >= limits(self.organizations[organization].tier)[2] {
            return Err(Refusal::Rule("Limit"));
        }
        let name = channel_name(who, name);
        if of_server.clone().any(|it| it.name.eq_ignore_ascii_case(&name)) {
            return Err(Refusal::Rule("Exists"));
        }
        act.made(Thing::Channel(self.channels.len()));
        self.channels.push(Channel { server, name, published, is_deleted: false });
        Ok(Value::Made)
    }

    pub(super) fn publish(&mut self, who: Asker, channel: usize, published: bool) -> Outcome {
        let organization = self.member(who, Permission::Change)?;
        if !self.owns_channel(organization, channel) {
            return Err(Refusal::NotFound("channel"));
        }
        self.channels[channel].published = published;
        Ok(Value::Nothing)
    }

    pub(super) fn request_peering(&mut self, act: &mut Act, who: Asker, with: usize) -> Outcome {
        let requester = self.member(who, Permission::Change)?;
        if with >= self.organizations.len() {
            return Err(Refusal::NotFound("organization"));
        }
        match self.peering_between(requester, with).map(|it| (it.status, it.requester)) {
            Some(("live", _)) => return Err(Refusal::Rule("PeeringLive")),
            Some((_, first)) if first == with && !self.is(Mutation::CrossingRequestsWait) => {
                return self.cross(act, requester, with);
            }
            Some(_) => return Err(Refusal::Rule("PeeringOpen")),
            None => {}
        }
        if !self.has_room_for_a_peer(requester) {
            return Err(Refusal::Rule("Limit"));
        }
        let status = if requester == with { "live" } else { "requested" };
        act.concerns([with]);
        act.made(Thing::Peering(self.peerings.len()));
        self.peerings.push(Peering { requester, recipient: with, status });
        Ok(Value::Made)
    }

    /// Two requests that cross are one agreement.
    fn cross(&mut self, act: &mut Act, own: usize, first: usize) -> Outcome {
        self.check_room([first, own], own)?;
        let is_it = |it: &Peering| (it.requester, it.recipient, it.status) == (first, own, "requested");
        let number = self.peerings.iter().position(is_it).ok_or(Refusal::NotFound("peering"))?;
        self.peerings[number].status = "live";
        act.concerns([first]);
        act.made(Thing::Peering(number));
        let logs = [Some(first), Some(own)];
        self.write("the gateway", "accept peering", &Thing::Peering(number), "done", logs);
        Ok(Value::Nothing)
    }

    fn has_room_for_a_peer(&self, organization: usize) -> bool {
        let of_it = |it: &&Peering| it.requester == organization || it.recipient == organization;
        let live = self.peerings.iter().filter(of_it).filter(|it| it.status == "live").count();
        live < limits(self.organizations[organization].tier)[1]
    }

    pub(super) fn decide_peering(
        &mut self,
        act: &mut Act,
        who: Asker,
        number: usize,
        decision: Decision,
    ) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let found = self.peerings.get(number).filter(|it| it.requester == own || it.recipient == own);
        let peering = found.ok_or(Refusal::NotFound("peering"))?;
        let parties = [peering.requester, peering.recipient];
        act.concerns(parties);
        if peering.status != "requested" {
            return Err(Refusal::Rule("PeeringDecided"));
        }
        match decision {
            Decision::Withdraw if own != parties[0] => return Err(Refusal::Rule("NotRequester")),
            Decision::Accept | Decision::Decline if own != parties[1] => {
                return Err(Refusal::Rule("NotRecipient"));
            }
            Decision::Accept => self.check_room(parties, own)?,
            Decision::Decline | Decision::Withdraw => {}
        }
        self.peerings[number].status = match decision {
            Decision::Accept => "live",
            Decision::Decline => "declined",
            Decision::Withdraw => "withdrawn",
        };
        Ok(Value::Nothing)
    }

    /// What tier a peer has is not the decider's to read.
    fn check_room(&self, parties: [usize; 2], own: usize) -> Result<(), Refusal> {
        match parties.into_iter().find(|party| !self.has_room_for_a_peer(*party)) {
            None => Ok(()),
            Some(full) if full == own => Err(Refusal::Rule("Limit")),
            Some(_) => Err(Refusal::Rule("PeerFull")),
        }
    }
}
