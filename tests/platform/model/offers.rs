//! Admin offers: made by the managed server's owner, accepted by the recipient alone, in time (DOMAIN §2, §3).

use super::audit::Act;
use super::connections::{Initiator, What};
use super::{Connection, Kind, Model, Mutation, Permission, Secret, writes};
use crate::outcome::{Outcome, Refusal, Status, Thing, Value};
use crate::step::{Asker, Decision};
use adit_core::domain::connection::Side;

impl Model {
    pub(super) fn offer_admin(
        &mut self,
        act: &mut Act,
        who: Asker,
        server: usize,
        to: usize,
        writes: bool,
        hours: u32,
    ) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let target = self.own_server(server, own)?;
        if to == own {
            return Err(Refusal::Rule("OfferToSelf"));
        }
        self.agreed(own, to)?;
        let kind = if writes { Kind::AdminRw } else { Kind::AdminRo };
        self.check_tier(kind, own)?;
        let is_open = self.connections.iter().any(|it| {
            it.status == Status::Offered && (it.target, it.organizations[0], it.kind) == (target, to, kind)
        });
        if is_open {
            return Err(Refusal::Rule("Exists"));
        }
        act.concerns([to]);
        act.made(Thing::Connection(self.connections.len()));
        self.connections.push(Connection {
            kind,
            grant: None,
            organizations: [to, own],
            source: None,
            target,
            status: Status::Offered,
            is_held_for_tier: false,
            expires_at: self.now + i64::from(hours) * 3_600_000,
            cuts: 0,
            secret: Secret { epoch: 1, ..Secret::default() },
            last_names: None,
            last_channel: None,
            told: [None; 2],
            worked_before: false,
        });
        Ok(Value::Made)
    }

    /// Checks that the owner's tier admits what the kind may do.
    pub(super) fn check_tier(&self, kind: Kind, owner: usize) -> Result<(), Refusal> {
        let fits = writes(self.organizations[owner].tier) || self.is(Mutation::FreeOffersWrite);
        if kind == Kind::AdminRw && !fits { Err(Refusal::Rule("ReadWriteTier")) } else { Ok(()) }
    }

    pub(super) fn accept_offer(
        &mut self,
        act: &mut Act,
        who: Asker,
        number: usize,
        source: usize,
    ) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let side = self.party_of_connection(act, number, own)?;
        let to = self.next(number, What::Accept, Initiator::Party(side))?;
        let source = self.own_server(source, own)?;
        let offer = &self.connections[number];
        self.agreed(offer.organizations[1], own)?;
        self.check_tier(offer.kind, offer.organizations[1])?;
        let accepted = &mut self.connections[number];
        accepted.source = Some(source);
        accepted.status = to;
        Ok(Value::Status(to))
    }

    pub(super) fn end_offer(&mut self, act: &mut Act, who: Asker, number: usize, how: Decision) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let side = self.party_of_connection(act, number, own)?;
        let what = if how == Decision::Decline { What::Decline } else { What::Withdraw };
        let to = self.next(number, what, Initiator::Party(side))?;
        self.end_connection(number, to, Initiator::Party(side));
        Ok(Value::Status(to))
    }

    /// An offer whose time is over has expired, whoever looks first.
    pub(super) fn expire(&mut self) {
        if self.is(Mutation::OffersNeverExpire) {
            return;
        }
        for number in 0..self.connections.len() {
            let offer = &self.connections[number];
            if offer.status == Status::Offered && offer.expires_at <= self.now {
                self.end_connection(number, Status::Expired, Initiator::System);
                self.write_by_gateway(number, "expire offer");
            }
        }
    }

    /// Writes what follows from a rule, in both parties' logs.
    pub(super) fn write_by_gateway(&mut self, number: usize, action: &'static str) {
        let logs = self.connections[number].parties();
        let thing = Thing::Connection(number);
        self.write("the gateway", action, &thing, "done", logs.into_iter().map(Some));
    }

    pub(super) fn party_of_connection(
        &self,
        act: &mut Act,
        number: usize,
        own: usize,
    ) -> Result<Side, Refusal> {
        let found = self.connections.get(number);
        let found = found.and_then(|it| it.side_of(own).map(|side| (it, side)));
        let (connection, side) = found.ok_or(Refusal::NotFound("connection"))?;
        act.concerns(connection.parties());
        Ok(side)
    }
}
