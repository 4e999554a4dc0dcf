//! Who reads of what, in which words; what is one row however often it happens.

use std::collections::BTreeSet;

use super::{Model, Mutation};
use crate::outcome::{Entry, Outcome, Thing};
use crate::step::{Asker, Decision, GrantEnd, Order, Wish, organization_name, server_name, user_name};

/// What is one row within its span: the kind, the number of the span with its length, whose logs.
pub(super) type Repeated = (String, i64, i64, Vec<Option<usize>>);

/// What a user asked for, as far as it is known by now.
#[derive(Debug)]
pub(super) struct Act {
    who: Asker,
    action: &'static str,
    thing: Thing,
    concerned: BTreeSet<usize>,
}

impl Act {
    pub(super) fn of(model: &Model, who: Asker, wish: Wish) -> Self {
        let (action, thing) = words(model, who, wish);
        let concerned = match who {
            Asker::Host => BTreeSet::new(),
            Asker::Member { organization, .. } => BTreeSet::from([organization]),
        };
        Self { who, action, thing, concerned }
    }

    pub(super) fn concerns(&mut self, organizations: impl IntoIterator<Item = usize>) {
        self.concerned.extend(organizations);
    }

    pub(super) fn made(&mut self, thing: Thing) {
        self.thing = thing;
    }
}

impl Model {
    /// Writes the one entry of each organization concerned.
    pub(super) fn note(&mut self, act: &Act, outcome: &Outcome) {
        if outcome.is_err() && self.is(Mutation::RefusalsUnwritten) {
            return;
        }
        let home = match act.who {
            Asker::Host => None,
            Asker::Member { organization, .. } => Some(organization),
        };
        let abroad = match home {
            None => "the gateway's operator".to_owned(),
            Some(organization) => self.organizations[organization].name.clone(),
        };
        let mut logs: Vec<Option<usize>> = act.concerned.iter().copied().map(Some).collect();
        if home.is_none() {
            logs.push(None);
        }
        if self.is(Mutation::PeersUntold) {
            logs.retain(|log| *log == home);
        }
        for log in logs {
            let actor = if log == home { user_name(act.who) } else { abroad.clone() };
            self.log.push(Entry {
                log,
                actor,
                action: act.action.into(),
                thing: act.thing.clone(),
                outcome: if outcome.is_ok() { "done" } else { "refused" },
                times: 1,
            });
        }
    }

    /// Writes what nobody of an organization did.
    pub(super) fn write(
        &mut self,
        actor: &str,
        action: &str,
        thing: &Thing,
        outcome: &'static str,
        logs: impl IntoIterator<Item = Option<usize>>,
    ) -> Vec<usize> {
        let logs: BTreeSet<_> = logs.into_iter().collect();
        let first = self.log.len();
        self.log.extend(logs.into_iter().map(|log| Entry {
            log,
            actor: actor.into(),
            action: action.into(),
            thing: thing.clone(),
            outcome,
            times: 1,
        }));
        (first..self.log.len()).collect()
    }

    /// Writes what agents and strangers may repeat: what was done is one row a minute, what was refused one an hour.
    /// Returns whether it has a row of its own.
    pub(super) fn write_counted(&mut self, kind: String, entry: &Entry, logs: Vec<Option<usize>>) -> bool {
        let span = if entry.outcome == "done" { 60 } else { 3_600 };
        let mut logs = logs;
        logs.sort_unstable();
        logs.dedup();
        let repeated = (kind, span, (self.now / 1_000).div_euclid(span), logs.clone());
        if let Some(rows) = self.counted.get(&repeated).filter(|_| !self.is(Mutation::RepeatsEachARow)) {
            for row in rows {
                self.log[*row].times += entry.times;
            }
            return false;
        }
        let rows = self.write(&entry.actor, &entry.action, &entry.thing, entry.outcome, logs);
        for row in &rows {
            self.log[*row].times = entry.times;
        }
        self.counted.insert(repeated, rows);
        true
    }
}

fn words(model: &Model, who: Asker, wish: Wish) -> (&'static str, Thing) {
    match wish {
        Wish::AddOrganization { name, .. } => {
            let name = organization_name(model.sequence, name);
            ("add organization", Thing::Text(format!("organization {name}")))
        }
        Wish::SetTier { organization, .. } => ("set tier", Thing::Organization(organization)),
        Wish::AddServer { name } => ("add server", Thing::Text(format!("server {}", server_name(who, name)))),
        Wish::DescribeServer { server, .. } => ("describe server", Thing::Server(server)),
        Wish::RevokeServer { server } => ("revoke server key", Thing::Server(server)),
        Wish::AddChannel { server, .. } => ("add channel", Thing::Server(server)),
        Wish::SetPublished { channel, published: true } => ("publish channel", Thing::Channel(channel)),
        Wish::SetPublished { channel, published: false } => ("unpublish channel", Thing::Channel(channel)),
        Wish::RequestPeering { with } => ("request peering", Thing::Organization(with)),
        Wish::DecidePeering { peering, decision } => (decided(decision), Thing::Peering(peering)),
        Wish::OfferGrant { channel, .. } => ("offer grant", Thing::Channel(channel)),
        Wish::RequestGrant { channel, .. } => ("request grant", Thing::Channel(channel)),
        Wish::ApproveGrant { grant, .. } => ("approve grant", Thing::Grant(grant)),
        Wish::EndGrant { grant, how } => (ended(how), Thing::Grant(grant)),
        Wish::OfferAdmin { server, .. } => ("offer administration", Thing::Server(server)),
        Wish::AcceptOffer { connection, .. } => ("accept offer", Thing::Connection(connection)),
        Wish::DeclineOffer { connection } => ("decline offer", Thing::Connection(connection)),
        Wish::WithdrawOffer { connection } => ("withdraw offer", Thing::Connection(connection)),
        Wish::Order { connection, order } => (ordered(order), Thing::Connection(connection)),
        Wish::ViewSecret { connection } => ("view secret", Thing::Connection(connection)),
        Wish::RotateSecret { connection } => ("rotate secrets", Thing::Connection(connection)),
        Wish::IssueToken { server, .. } => ("issue token", Thing::Server(server)),
        Wish::EndPeering { peering } => ("end peering", Thing::Peering(peering)),
        Wish::DeleteServer { server } => ("delete server", Thing::Server(server)),
        Wish::DescribeChannel { channel, .. } => ("describe channel", Thing::Channel(channel)),
        Wish::DeleteChannel { channel } => ("delete channel", Thing::Channel(channel)),
        Wish::RenameOrganization { organization, .. } => {
            ("rename organization", Thing::Organization(organization))
        }
    }
}

const fn decided(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "accept peering",
        Decision::Decline => "decline peering",
        Decision::Withdraw => "withdraw peering",
    }
}

const fn ended(how: GrantEnd) -> &'static str {
    match how {
        GrantEnd::Deny => "deny grant",
        GrantEnd::Revoke => "revoke grant",
        GrantEnd::Relinquish => "relinquish grant",
    }
}

const fn ordered(order: Order) -> &'static str {
    match order {
        Order::Activate => "activate connection",
        Order::Pause => "pause connection",
        Order::Resume => "resume connection",
        Order::Disconnect => "disconnect connection",
        Order::Retry => "retry connection",
        Order::Terminate => "terminate connection",
    }
}
