//! The shared secret of a connection: views, fetches, epochs, its end (DOMAIN §6).

use super::audit::Act;
use super::{Kind, Model, Mutation, Permission, Secret, at};
use crate::outcome::{Entry, Outcome, Refusal, Thing, Value};
use crate::step::Asker;
use adit_core::domain::connection::Side;

const HOUR: i64 = 3_600_000;
const VIEWS_AN_HOUR: usize = 5;
const KEPT_AFTER_STORED: i64 = 72 * HOUR;

impl Secret {
    pub(crate) const fn is_viewed(&self, side: Side) -> bool {
        self.viewed[at(side)]
    }

    pub(crate) const fn is_stored(&self, side: Side) -> bool {
        self.stored[at(side)].is_some()
    }

    pub(super) fn forget(&mut self) {
        self.is_gone = true;
    }

    /// Whether both agents hold it, and both views are used or the time for them is over.
    fn is_due(&self, now: i64) -> bool {
        let [Some(source), Some(target)] = self.stored else { return false };
        self.viewed == [true; 2] || now - source.max(target) >= KEPT_AFTER_STORED
    }
}

impl Model {
    fn forget_if_due(&mut self, number: usize) {
        let keeps = self.is(Mutation::SecretsKeptForever);
        let connection = &mut self.connections[number];
        if connection.kind == Kind::P2p && connection.secret.is_due(self.now) && !keeps {
            connection.secret.forget();
        }
    }

    pub(super) fn view_secret(&mut self, act: &mut Act, who: Asker, number: usize) -> Outcome {
        let own = self.member(who, Permission::Reveal)?;
        let side = self.party_of_connection(act, number, own)?;
        self.check_owner(number, side)?;
        self.forget_if_due(number);
        let views_again = self.is(Mutation::SecretsShownTwice);
        let views_max = if self.is(Mutation::AdminSecretsShownAlways) { usize::MAX } else { VIEWS_AN_HOUR };
        let now = self.now;
        let connection = &mut self.connections[number];
        let is_alone = connection.is_alone();
        let secret = &mut connection.secret;
        if connection.kind == Kind::P2p {
            if secret.viewed[at(side)] && !views_again {
                return Err(Refusal::Rule("SecretViewed"));
            }
        } else if secret.views.iter().filter(|view| now - **view < HOUR).count() >= views_max {
            return Err(Refusal::Rule("SecretViewedOften"));
        }
        if secret.is_gone {
            return Err(Refusal::Rule("SecretGone"));
        }
        if connection.kind == Kind::P2p {
            secret.viewed[at(side)] = true;
            secret.viewed[at(side.other())] |= is_alone;
        } else {
            secret.views.push(now);
        }
        let epoch = secret.epoch;
        self.forget_if_due(number);
        Ok(Value::Secret(epoch))
    }

    /// To the recipient of an admin offer there is no secret.
    fn check_owner(&self, number: usize, side: Side) -> Result<(), Refusal> {
        let owns = self.connections[number].kind == Kind::P2p
            || side == Side::Target
            || self.is(Mutation::RecipientsViewAdminSecrets);
        if owns { Ok(()) } else { Err(Refusal::NotFound("secret")) }
    }

    pub(super) fn rotate_secret(&mut self, act: &mut Act, who: Asker, number: usize) -> Outcome {
        let own = self.member(who, Permission::Change)?;
        let side = self.party_of_connection(act, number, own)?;
        self.check_owner(number, side)?;
        if self.connections[number].status.is_over() {
            return Err(Refusal::Rule("Final"));
        }
        Ok(Value::Epoch(self.rotate(number)))
    }

    /// Makes a new secret, which nobody has seen or holds.
    pub(super) fn rotate(&mut self, number: usize) -> u32 {
        let keeps = self.is(Mutation::RotationsKeepViews);
        let secret = &mut self.connections[number].secret;
        secret.epoch += 1;
        secret.is_gone = false;
        secret.stored = [None; 2];
        if !keeps {
            secret.viewed = [false; 2];
        }
        secret.epoch
    }

    pub(super) fn fetch(&mut self, server: usize, number: usize) -> Outcome {
        let side = self.agents_own(server, number, "fetch secret")?;
        self.forget_if_due(number);
        let again = self.is(Mutation::SecretsFetchedTwice);
        let connection = &mut self.connections[number];
        let runs = connection.status.runs();
        let secret = &mut connection.secret;
        if !runs || secret.is_gone || (secret.stored[at(side)].is_some() && !again) {
            let (thing, why) = (Thing::Connection(number), Refusal::Rule("SecretUnavailable"));
            return Err(self.refuse_agent(server, "fetch secret", thing, why, self.logs_of(number)));
        }
        let epoch = secret.epoch;
        let is_first = secret.handed[at(side)].replace(epoch) != Some(epoch);
        let (actor, logs) = (self.agent_at(server, number), self.logs_of(number));
        let (action, thing, outcome) = ("fetch secret", Thing::Connection(number), "done");
        if is_first {
            self.write(&actor, action, &thing, outcome, logs);
        } else {
            let kind = format!("fetch again {number} {side:?} {epoch}");
            let entry = Entry { log: None, actor, action: action.into(), thing, outcome, times: 1 };
            self.write_counted(kind, &entry, logs);
        }
        Ok(Value::Secret(epoch))
    }

    pub(super) fn stored(&mut self, server: usize, number: usize, epoch: u32) -> Outcome {
        let side = self.agents_own(server, number, "hold secret")?;
        let now = self.now;
        let connection = &mut self.connections[number];
        let runs = connection.status.runs();
        let secret = &mut connection.secret;
        if !runs || secret.epoch != epoch || secret.stored[at(side)].is_some() {
            return Ok(Value::Nothing);
        }
        secret.stored[at(side)] = Some(now);
        self.forget_if_due(number);
        let (actor, logs) = (self.agent_at(server, number), self.logs_of(number));
        self.write(&actor, "hold secret", &Thing::Connection(number), "done", logs);
        Ok(Value::Nothing)
    }

    /// Returns the side a server stands at, if it stands at one.
    pub(super) fn agents_side(&self, server: usize, number: usize) -> Option<Side> {
        self.connections.get(number).and_then(|it| it.side_of_server(server))
    }

    /// Returns the logs of both parties.
    pub(super) fn logs_of(&self, number: usize) -> Vec<Option<usize>> {
        self.connections[number].parties().into_iter().map(Some).collect()
    }
}
