//! The reference model: what DOMAIN promises, over plain vectors. It shares identifiers and words with the product and
//! no code. Where DOMAIN leaves something open (which of two reasons a refusal names, whose log it is in) it says what
//! the product has always done.

#[path = "model/agents.rs"]
mod agents;
#[path = "model/audit.rs"]
mod audit;
#[path = "model/connections.rs"]
mod connections;
#[path = "model/ends.rs"]
mod ends;
#[path = "model/grants.rs"]
mod grants;
#[path = "model/mutation.rs"]
mod mutation;
#[path = "model/offers.rs"]
mod offers;
#[path = "model/owned.rs"]
mod owned;
#[path = "model/secrets.rs"]
mod secrets;
#[path = "model/sight.rs"]
mod sight;

use std::collections::{BTreeMap, BTreeSet};

use adit_core::domain::connection::Side;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

use crate::outcome::{Entry, Outcome, Refusal, Status, Value};
use crate::step::{Asker, Decision, Event, GrantEnd, Step, Wish};

pub(crate) use mutation::Mutation;

use audit::Act;

#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) name: String,
    pub(crate) tier: Tier,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) organization: usize,
    pub(crate) name: String,
    pub(crate) key: Option<u8>,
    pub(crate) was_enrolled: bool,
    pub(crate) link: Option<bool>,
    pub(crate) token: Option<Token>,
    pub(crate) is_deleted: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) number: usize,
    pub(crate) until: i64,
    pub(crate) bound: Option<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) server: usize,
    pub(crate) name: String,
    pub(crate) published: bool,
    pub(crate) is_deleted: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Peering {
    pub(crate) requester: usize,
    pub(crate) recipient: usize,
    pub(crate) status: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) channel: usize,
    pub(crate) owner: usize,
    pub(crate) holder: usize,
    pub(crate) is_offer: bool,
    pub(crate) source: Option<usize>,
    pub(crate) status: &'static str,
    pub(crate) connection: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    P2p,
    AdminRw,
    AdminRo,
}

/// Of two, the source's comes first.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) kind: Kind,
    pub(crate) grant: Option<usize>,
    pub(crate) organizations: [usize; 2],
    pub(crate) source: Option<usize>,
    pub(crate) target: usize,
    pub(crate) status: Status,
    pub(crate) is_held_for_tier: bool,
    pub(crate) expires_at: i64,
    pub(crate) cuts: u32,
    pub(crate) secret: Secret,
    /// As they were when it ended.
    last_names: Option<[String; 2]>,
    last_channel: Option<String>,
    told: [Option<Told>; 2],
    worked_before: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Secret {
    pub(crate) epoch: u32,
    is_gone: bool,
    viewed: [bool; 2],
    stored: [Option<i64>; 2],
    /// Of an admin connection, whatever its epoch.
    views: Vec<i64>,
    /// The newest epoch that each side was handed.
    handed: [Option<u32>; 2],
}

/// What a side's agent told last.
#[derive(Debug, Clone, Copy)]
struct Told {
    path: Option<u8>,
    mirth: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    Change,
    Reveal,
    ChangeTier,
    Rename,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: i64,
    sequence: u64,
    mutation: Option<Mutation>,
    pub(crate) organizations: Vec<Organization>,
    pub(crate) servers: Vec<Server>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) peerings: Vec<Peering>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) connections: Vec<Connection>,
    /// The servers whose tokens were issued, in order.
    pub(crate) tokens: Vec<usize>,
    /// Keys that are good nowhere any more, and whose they were.
    revoked: BTreeMap<u8, usize>,
    /// Every audit entry, in the order of its first time.
    pub(crate) log: Vec<Entry>,
    counted: BTreeMap<audit::Repeated, Vec<usize>>,
}

impl Model {
    pub(crate) fn new(sequence: u64, now: i64, mutation: Option<Mutation>) -> Self {
        Self {
            now,
            sequence,
            mutation,
            organizations: Vec::new(),
            servers: Vec::new(),
            channels: Vec::new(),
            peerings: Vec::new(),
            grants: Vec::new(),
            connections: Vec::new(),
            tokens: Vec::new(),
            revoked: BTreeMap::new(),
            log: Vec::new(),
            counted: BTreeMap::new(),
        }
    }

    /// Does what the step says and returns what comes of it.
    pub(crate) fn apply(&mut self, step: &Step) -> Outcome {
        self.now += i64::from(step.after_seconds) * 1_000;
        self.expire();
        match step.event {
            Event::Member { who, wish } => self.wish(who, wish),
            Event::Agent { server, report } => self.report(server, report),
            Event::Sweep => Ok(Value::Nothing),
        }
    }

    fn wish(&mut self, who: Asker, wish: Wish) -> Outcome {
        let mut act = Act::of(self, who, wish);
        let outcome = self.decide(&mut act, who, wish);
        self.note(&act, &outcome);
        outcome
    }

    fn decide(&mut self, act: &mut Act, who: Asker, wish: Wish) -> Outcome {
        match wish {
            Wish::AddOrganization { name, tier } => self.add_organization(act, who, name, tier),
            Wish::SetTier { organization, tier } => self.set_tier(act, who, organization, tier),
            Wish::AddServer { name } => self.add_server(act, who, name),
            Wish::DescribeServer { server, name } => self.describe_server(who, server, name),
            Wish::RevokeServer { server } => self.revoke_server(act, who, server),
            Wish::AddChannel { server, name, published } => {
                self.add_channel(act, who, server, name, published)
            }
            Wish::SetPublished { channel, published } => self.publish(who, channel, published),
            Wish::RequestPeering { with } => self.request_peering(act, who, with),
            Wish::DecidePeering { peering, decision } => self.decide_peering(act, who, peering, decision),
            Wish::OfferGrant { channel, to } => self.offer_grant(act, who, channel, to),
            Wish::RequestGrant { channel, source } => self.request_grant(act, who, channel, source),
            Wish::ApproveGrant { grant, source } => self.approve_grant(act, who, grant, source),
            Wish::EndGrant { grant, how: GrantEnd::Deny } => self.deny_grant(act, who, grant),
            Wish::EndGrant { grant, how } => self.end_grant(act, who, grant, how == GrantEnd::Revoke),
            Wish::OfferAdmin { server, to, writes, hours } => {
                self.offer_admin(act, who, server, to, writes, hours)
            }
            Wish::AcceptOffer { connection, source } => self.accept_offer(act, who, connection, source),
            Wish::DeclineOffer { connection } => self.end_offer(act, who, connection, Decision::Decline),
            Wish::WithdrawOffer { connection } => self.end_offer(act, who, connection, Decision::Withdraw),
            Wish::Order { connection, order } => self.order(act, who, connection, order),
            Wish::ViewSecret { connection } => self.view_secret(act, who, connection),
            Wish::RotateSecret { connection } => self.rotate_secret(act, who, connection),
            Wish::IssueToken { server, hours } => self.issue_token(who, server, hours),
            Wish::EndPeering { peering } => self.end_peering(act, who, peering),
            Wish::DeleteServer { server } => self.delete_server(who, server),
            Wish::DescribeChannel { channel, name } => self.describe_channel(who, channel, name),
            Wish::DeleteChannel { channel } => self.delete_channel(who, channel),
            Wish::RenameOrganization { organization, name } => self.rename(act, who, organization, name),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Returns the organization asked for, if the role may.
    fn member(&self, who: Asker, permission: Permission) -> Result<usize, Refusal> {
        let Asker::Member { organization, role } = who else {
            return Err(Refusal::Rule("NeedsOrganization"));
        };
        let may = match (role, permission) {
            (UserRole::Owner, _) | (UserRole::Operator, Permission::Change | Permission::Reveal) => true,
            (UserRole::Operator, Permission::ChangeTier) => self.is(Mutation::OperatorsChangeTheTier),
            (UserRole::Auditor, Permission::Reveal) => self.is(Mutation::AuditorsReveal),
            (UserRole::Operator, Permission::Rename)
            | (UserRole::Auditor, Permission::Change | Permission::ChangeTier | Permission::Rename) => false,
        };
        if may { Ok(organization) } else { Err(Refusal::Rule("Role")) }
    }

    fn own_server(&self, number: usize, organization: usize) -> Result<usize, Refusal> {
        let found = self.server(number).filter(|server| server.organization == organization);
        found.map(|_| number).ok_or(Refusal::NotFound("server"))
    }

    /// Returns a server that has not been deleted.
    fn server(&self, number: usize) -> Option<&Server> {
        self.servers.get(number).filter(|it| !it.is_deleted)
    }

    /// Returns whether it is a channel of the organization's that has not been deleted.
    fn owns_channel(&self, organization: usize, channel: usize) -> bool {
        self.channels.get(channel).is_some_and(|it| !it.is_deleted) && self.owner_of(channel) == organization
    }

    pub(crate) fn owner_of(&self, channel: usize) -> usize {
        self.servers[self.channels[channel].server].organization
    }

    pub(crate) fn is_live(&self, one: usize, other: usize) -> bool {
        self.peering_between(one, other).is_some_and(|peering| peering.status == "live")
    }

    /// Returns what is asked or agreed between two now.
    fn peering_between(&self, one: usize, other: usize) -> Option<&Peering> {
        let parties = |it: &&Peering| {
            (it.requester, it.recipient) == (one, other) || (it.requester, it.recipient) == (other, one)
        };
        self.peerings.iter().filter(parties).find(|it| matches!(it.status, "requested" | "live"))
    }

    /// Checks that there is an agreement with a peer, whose existence is nobody's secret.
    fn agreed(&self, own: usize, peer: usize) -> Result<(), Refusal> {
        if peer >= self.organizations.len() {
            return Err(Refusal::NotFound("organization"));
        }
        if self.is_live(own, peer) { Ok(()) } else { Err(Refusal::Rule("NoAgreement")) }
    }
}

impl Connection {
    fn is_alone(&self) -> bool {
        self.organizations[0] == self.organizations[1]
    }

    /// Returns the side a party acts as.
    fn side_of(&self, organization: usize) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.organizations[at(*side)] == organization)
    }

    pub(crate) fn server_at(&self, side: Side) -> Option<usize> {
        match side {
            Side::Source => self.source,
            Side::Target => Some(self.target),
        }
    }

    fn side_of_server(&self, server: usize) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.server_at(*side) == Some(server))
    }

    fn parties(&self) -> BTreeSet<usize> {
        self.organizations.into_iter().collect()
    }
}

const fn at(side: Side) -> usize {
    match side {
        Side::Source => 0,
        Side::Target => 1,
    }
}

/// Returns how many servers, peers and channels a server there may be.
const fn limits(tier: Tier) -> [usize; 3] {
    match tier {
        Tier::Free => [1, 3, 5],
        Tier::Standard => [5, 20, 25],
        Tier::Enterprise => [usize::MAX; 3],
    }
}

const fn writes(tier: Tier) -> bool {
    match tier {
        Tier::Free => false,
        Tier::Standard | Tier::Enterprise => true,
    }
}
