//! The table of DOMAIN §3, written from its text a second time.

use super::audit::Act;
use super::{Kind, Model, Mutation, Permission};
use crate::outcome::{Outcome, Refusal, Status, Value};
use crate::step::{Asker, Order};
use adit_core::domain::connection::Side;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initiator {
    System,
    Party(Side),
}

/// What may befall a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Accept,
    Decline,
    Withdraw,
    AgentRefuses,
    Order(Order),
}

impl Model {
    pub(super) fn order(&mut self, act: &mut Act, who: Asker, number: usize, order: Order) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let side = self.party_of_connection(act, number, own)?;
        let connection = &self.connections[number];
        if order == Order::Pause && connection.is_held_for_tier && side == Side::Target {
            // The tier's hold becomes the owner's own.
            let status = connection.status;
            self.connections[number].is_held_for_tier = false;
            return Ok(Value::Status(status));
        }
        let to = self.next(number, What::Order(order), Initiator::Party(side))?;
        self.check_start(number, order, side, to)?;
        self.carry(number, order, to, side);
        Ok(Value::Status(to))
    }

    /// Nothing read-write starts while the owner's tier does not admit it, and the owner's hold stays.
    fn check_start(&self, number: usize, order: Order, side: Side, to: Status) -> Result<(), Refusal> {
        let connection = &self.connections[number];
        let starts = to == Status::Active && connection.status != Status::Active;
        let lifts = order == Order::Resume && side == Side::Target;
        if starts || lifts { self.check_tier(connection.kind, connection.organizations[1]) } else { Ok(()) }
    }

    fn carry(&mut self, number: usize, order: Order, to: Status, side: Side) {
        let cuts = order == Order::Disconnect && !self.is(Mutation::DisconnectsCutNothing);
        let connection = &mut self.connections[number];
        if to.is_over() {
            self.end_connection(number, to, Initiator::Party(side));
            return;
        }
        connection.cuts += u32::from(cuts);
        connection.status = to;
        connection.is_held_for_tier &= matches!(to, Status::Paused { target: true, .. });
    }

    /// Returns the status after an event, or the rule that forbids it.
    pub(super) fn next(&self, number: usize, what: What, by: Initiator) -> Result<Status, Refusal> {
        let connection = &self.connections[number];
        let (status, is_p2p) = (connection.status, connection.kind == Kind::P2p);
        let retries = self.is(Mutation::TerminatedMayRetry) && what == What::Order(Order::Retry);
        if status.is_over() && !retries {
            return Err(Refusal::Rule("Final"));
        }
        if is_p2p && matches!(what, What::Accept | What::Decline | What::Withdraw) {
            return Err(Refusal::Rule("AdminOnly"));
        }
        match (status, what) {
            (Status::Offered, What::Accept) => self.only(Side::Source, by, Status::Active),
            (Status::Offered, What::Decline) => self.only(Side::Source, by, Status::Declined),
            (Status::Offered, What::Withdraw) => self.only(Side::Target, by, Status::Terminated),
            (Status::Ready, What::Order(Order::Activate)) => Ok(Status::Active),
            (Status::Offered, What::Order(Order::Activate)) if self.is(Mutation::ActivateFromOffered) => {
                Ok(Status::Active)
            }
            (Status::Active, What::Order(Order::Activate)) if self.is(Mutation::ActivateTwice) => {
                Ok(Status::Active)
            }
            (Status::Active, What::Order(Order::Pause)) => Ok(paused(by)),
            (Status::Paused { source, target }, What::Order(Order::Pause)) => second_hold(source, target, by),
            (Status::Paused { source, target }, What::Order(Order::Resume)) => {
                self.lifted(source, target, by, connection.is_alone())
            }
            (Status::Active | Status::Paused { .. }, What::Order(Order::Disconnect)) => Ok(status),
            (Status::Ready | Status::Active | Status::Paused { .. }, What::AgentRefuses) => {
                Ok(Status::Failed)
            }
            (Status::Failed, What::Order(Order::Retry)) => Ok(Status::Ready),
            (Status::Terminated, What::Order(Order::Retry)) if retries => Ok(Status::Ready),
            (_, What::Order(Order::Terminate)) => Ok(Status::Terminated),
            _ => Err(Refusal::Rule("NotNow")),
        }
    }

    fn only(&self, side: Side, by: Initiator, to: Status) -> Result<Status, Refusal> {
        let accepts = to == Status::Active && self.is(Mutation::OwnersAccept);
        if by == Initiator::Party(side) || accepts { Ok(to) } else { Err(Refusal::Rule("NotYours")) }
    }

    /// An organization at both ends is one party, whichever end its hold is at.
    fn lifted(&self, source: bool, target: bool, by: Initiator, is_alone: bool) -> Result<Status, Refusal> {
        let by_source = by == Initiator::Party(Side::Source);
        let holds = if by_source { source } else { target };
        if !holds && !is_alone && !self.is(Mutation::AnyoneResumes) {
            return Err(Refusal::Rule("HeldByOther"));
        }
        let source = source && !by_source && !is_alone;
        let target = target && by_source && !is_alone;
        Ok(if source || target { Status::Paused { source, target } } else { Status::Active })
    }

    /// Ends it with what comes from it: the secret goes, the grant is no more.
    pub(super) fn end_connection(&mut self, number: usize, to: Status, by: Initiator) {
        let names = [Side::Source, Side::Target].map(|side| self.end_name(number, side));
        let grant = self.connections[number].grant;
        let channel = grant.map(|grant| self.channels[self.grants[grant].channel].name.clone());
        let keeps = !self.is(Mutation::RenamedChannelsShowInWhatEnded);
        let connection = &mut self.connections[number];
        connection.last_names = Some(names);
        connection.last_channel = channel.filter(|_| keeps);
        connection.status = to;
        connection.is_held_for_tier = false;
        connection.secret.forget();
        connection.cuts += u32::from(to == Status::Terminated);
        if let Some(grant) = connection.grant
            && self.mutation != Some(Mutation::TerminatedGrantsStay)
        {
            let relinquishes = by == Initiator::Party(Side::Source);
            self.grants[grant].status = if relinquishes { "relinquished" } else { "revoked" };
        }
    }
}

fn paused(by: Initiator) -> Status {
    let source = by == Initiator::Party(Side::Source);
    Status::Paused { source, target: !source }
}

/// Each party has one hold.
fn second_hold(source: bool, target: bool, by: Initiator) -> Result<Status, Refusal> {
    let has_one = if by == Initiator::Party(Side::Source) { source } else { target };
    if has_one {
        Err(Refusal::Rule("AlreadyHeld"))
    } else {
        Ok(Status::Paused { source: true, target: true })
    }
}
