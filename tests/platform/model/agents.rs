//! What agents tell, and how they come to be known: tokens, keys, links (DOMAIN §4, §6).

use std::collections::BTreeSet;

use super::connections::{Initiator, What};
use super::{Kind, Model, Mutation, Told, at};
use crate::outcome::{Entry, Outcome, Refusal, Thing, Value};
use crate::step::Report;
use adit_core::domain::connection::Side;

const SESSION_ROWS: u64 = 32;

impl Model {
    pub(super) fn report(&mut self, server: usize, report: Report) -> Outcome {
        match report {
            Report::Redeem { token, key } => self.redeem(server, token, key),
            Report::Judge { token, key } => {
                let judged = self.judge(server, token, key);
                judged.map_err(|why| self.refuse_enrolment(server, why)).map(Value::Until)
            }
            Report::Authorize { key } => self.authorize(server, key),
            Report::Linked { up } => Ok(self.link(server, up)),
            Report::Tunnel { connection, path, mirth } => {
                self.tunnel(server, connection, Told { path, mirth })
            }
            Report::Fetch { connection } => self.fetch(server, connection),
            Report::Stored { connection, epoch } => self.stored(server, connection, epoch),
            Report::Mismatch { connection, .. } => self.mismatch(server, connection),
            Report::RefusedPeer { connection, reason, times } => {
                self.refused_peer(server, connection, reason, times)
            }
            Report::Session { connection, stage, number } => self.session(server, connection, stage, number),
        }
    }

    /// Returns until when the token is good for the key.
    fn judge(&self, server: usize, token: usize, key: Option<u8>) -> Result<i64, Refusal> {
        let kept = self.server(server).and_then(|it| it.token.as_ref());
        let kept = kept.filter(|kept| kept.number == token).ok_or(Refusal::Rule("Wrong"))?;
        if self.now >= kept.until && !self.is(Mutation::TokensNeverExpire) {
            return Err(Refusal::Rule("Expired"));
        }
        if kept.bound.is_some_and(|bound| Some(bound) != key) && !self.is(Mutation::TokensForAnyKey) {
            return Err(Refusal::Rule("OtherKey"));
        }
        let Some(key) = key else { return Ok(kept.until) };
        if self.revoked.contains_key(&key) && !self.is(Mutation::RevokedKeysEnrol) {
            return Err(Refusal::Rule("RevokedKey"));
        }
        let elsewhere = self.servers.iter().position(|it| it.key == Some(key));
        if elsewhere.is_some_and(|other| other != server) {
            return Err(Refusal::Rule("KeyInUse"));
        }
        Ok(kept.until)
    }

    fn refuse_enrolment(&mut self, server: usize, why: Refusal) -> Refusal {
        let known = self.server(server).map(|it| it.organization);
        let thing =
            if known.is_some() { Thing::Server(server) } else { Thing::Text("server unknown".into()) };
        let outcome = match why {
            Refusal::Rule("OtherKey" | "RevokedKey" | "KeyInUse") => "alert",
            _ => "refused",
        };
        let entry = Entry {
            log: None,
            actor: "a host at 192.0.2.7".into(),
            action: "enrol".into(),
            thing,
            outcome,
            times: 1,
        };
        let whose = known.map_or_else(|| "unknown".into(), |_| server.to_string());
        self.write_counted(format!("enrol {whose} {why:?}"), &entry, vec![known]);
        why
    }

    fn redeem(&mut self, server: usize, token: usize, key: u8) -> Outcome {
        self.judge(server, token, Some(key)).map_err(|why| self.refuse_enrolment(server, why))?;
        let known = &mut self.servers[server];
        let mut concerned = BTreeSet::from([Some(known.organization)]);
        let bound = known.token.as_mut().and_then(|token| token.bound.replace(key));
        let is_new = known.key != Some(key) && known.was_enrolled;
        let old = known.key.replace(key).filter(|old| *old != key);
        self.servers[server].was_enrolled = true;
        if let Some(old) = old {
            self.revoked.insert(old, server);
        }
        let mut rotated = BTreeSet::new();
        for number in 0..self.connections.len() {
            let connection = &self.connections[number];
            if is_new && !connection.status.is_over() && connection.side_of_server(server).is_some() {
                concerned.extend(connection.parties().into_iter().map(Some));
                self.rotate(number);
                rotated.insert(number);
            }
        }
        let actor = format!("agent of {}", self.servers[server].name);
        self.write(&actor, "enrol", &Thing::Server(server), "done", concerned);
        Ok(Value::Enrolled { is_first: bound.is_none(), revoked: old, rotated })
    }

    fn authorize(&mut self, server: usize, key: u8) -> Outcome {
        let known = self.server(server);
        let why = match known {
            _ if self.revoked.contains_key(&key) => "RevokedKey",
            None => "UnknownServer",
            Some(known) if known.key != Some(key) => "KeyNotOnFile",
            Some(known) => return Ok(Value::Name(known.name.clone())),
        };
        let log = known.map(|it| it.organization);
        let entry = Entry {
            log: None,
            actor: "a host with a certificate".into(),
            action: "open control link".into(),
            thing: Thing::Server(server),
            outcome: "refused",
            times: 1,
        };
        self.write_counted(format!("link {server} {key}"), &entry, vec![log]);
        Err(Refusal::Rule(why))
    }

    /// After a link came up nothing is known of its tunnels until the agent tells.
    fn link(&mut self, server: usize, up: bool) -> Value {
        if let Some(known) = self.servers.get_mut(server) {
            known.link = Some(up);
        }
        for connection in self.connections.iter_mut().filter(|_| up) {
            if let Some(side) = connection.side_of_server(server)
                && let Some(told) = &mut connection.told[at(side)]
            {
                told.path = None;
            }
        }
        Value::Nothing
    }

    fn tunnel(&mut self, server: usize, number: usize, told: Told) -> Outcome {
        let side = self.agents_side(server, number).ok_or(Refusal::NotFound("connection"))?;
        self.connections[number].told[at(side)] = Some(told);
        let is_connected = self.is_connected(number);
        self.connections[number].worked_before |= is_connected;
        Ok(Value::Nothing)
    }

    /// Told again where the table knows no such event, it changes nothing and is counted.
    fn mismatch(&mut self, server: usize, number: usize) -> Outcome {
        let (action, thing) = ("fail connection", Thing::Connection(number));
        let side = self.agents_own(server, number, action)?;
        let next = self.next(number, What::AgentRefuses, Initiator::System);
        let (actor, logs) = (self.agent_at(server, number), self.logs_of(number));
        let Ok(to) = next else {
            let entry =
                Entry { log: None, actor, action: action.into(), thing, outcome: "refused", times: 1 };
            return Ok(Value::Row(self.write_counted(format!("mismatch {number} {side:?}"), &entry, logs)));
        };
        self.connections[number].status = to;
        self.connections[number].is_held_for_tier = false;
        self.write(&actor, action, &thing, "done", logs);
        Ok(Value::Row(true))
    }

    /// Both organizations read it when the connection is theirs, else the agent's own.
    fn refused_peer(&mut self, server: usize, number: usize, reason: u8, times: u32) -> Outcome {
        let nobody = Thing::Text("an unknown peer".into());
        let Some(known) = self.server(server) else {
            return Err(self.refuse_agent(
                server,
                "refuse peer",
                nobody,
                Refusal::NotFound("connection"),
                vec![],
            ));
        };
        let (thing, logs) = match self.agents_side(server, number) {
            Some(_) => (Thing::Connection(number), self.logs_of(number)),
            None => (nobody, vec![Some(known.organization)]),
        };
        let actor = self.agent_at(server, number);
        let kind = format!("peer {server} {thing:?} {reason}");
        let entry =
            Entry { log: None, actor, action: "refuse peer".into(), thing, outcome: "refused", times };
        Ok(Value::Row(self.write_counted(kind, &entry, logs)))
    }

    fn session(&mut self, server: usize, number: usize, stage: u8, session: u64) -> Outcome {
        let (action, apart) = match stage {
            0 => ("admin session started", session % SESSION_ROWS),
            1 => ("admin session running", 0),
            _ => ("admin session ended", session % SESSION_ROWS),
        };
        let side = self.agents_own(server, number, action)?;
        let connection = &self.connections[number];
        if connection.kind == Kind::P2p || connection.source.is_none() {
            let (thing, missing) = (Thing::Connection(number), Refusal::NotFound("connection"));
            return Err(self.refuse_agent(server, action, thing, missing, vec![]));
        }
        let (actor, logs) = (self.agent_at(server, number), self.logs_of(number));
        let entry = Entry {
            log: None,
            actor,
            action: action.into(),
            thing: Thing::Connection(number),
            outcome: "done",
            times: 1,
        };
        self.write_counted(format!("{action} {number} {side:?} {apart}"), &entry, logs);
        Ok(Value::Nothing)
    }

    /// Returns the side a server stands at; what is not its own does not exist to it, and that it asked is counted.
    pub(super) fn agents_own(&mut self, server: usize, number: usize, action: &str) -> Result<Side, Refusal> {
        let missing = Refusal::NotFound("connection");
        self.agents_side(server, number)
            .ok_or_else(|| self.refuse_agent(server, action, Thing::Connection(number), missing, vec![]))
    }

    /// Counts that an agent was refused, in its organization's log and in those of the others concerned.
    pub(super) fn refuse_agent(
        &mut self,
        server: usize,
        action: &str,
        thing: Thing,
        why: Refusal,
        mut logs: Vec<Option<usize>>,
    ) -> Refusal {
        let is_both_parties = !logs.is_empty();
        logs.extend(self.server(server).map(|it| Some(it.organization)));
        if logs.is_empty() {
            logs.push(None);
        }
        let kind = format!("{action} {server} {thing:?} {why:?}");
        let actor = match thing {
            Thing::Connection(number) if is_both_parties => self.agent_at(server, number),
            _ => self.agent(server),
        };
        let entry = Entry { log: None, actor, action: action.into(), thing, outcome: "refused", times: 1 };
        self.write_counted(kind, &entry, logs);
        why
    }

    /// Returns what a server's agent is called where it asks about a connection: at one that has ended, by the name
    /// that its server had then.
    pub(super) fn agent_at(&self, server: usize, number: usize) -> String {
        let last = self.connections.get(number).and_then(|it| it.last_names.as_ref());
        match (self.agents_side(server, number), last) {
            (Some(side), Some(names)) => format!("agent of {}", names[at(side)]),
            _ => self.agent(server),
        }
    }

    /// Returns what a server's agent is called in every log.
    fn agent(&self, server: usize) -> String {
        format!("agent of {}", self.server(server).map_or("an unknown server", |it| &it.name))
    }
}
