//! What came of a step, in words that model and platform share: they are compared by them, and printed.

use std::collections::BTreeSet;

use adit_core::domain::connection::Side;

/// The activation status, with who holds a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Ready,
    Active,
    Paused { source: bool, target: bool },
    Offered,
    Failed,
    Declined,
    Expired,
    Terminated,
}

impl Status {
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Declined | Self::Expired | Self::Terminated)
    }

    /// Returns whether its agents know of it: it was set up or accepted, and has not ended.
    pub(crate) const fn runs(self) -> bool {
        matches!(self, Self::Ready | Self::Active | Self::Paused { .. } | Self::Failed)
    }
}

/// Why something was not done; the word of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    NotFound(&'static str),
    Rule(&'static str),
}

/// What an answer holds beside "done".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    /// Another object exists, with the next number of its kind.
    Made,
    Status(Status),
    Epoch(u32),
    /// The secret of this epoch of the connection asked for.
    Secret(u32),
    Key(u8),
    /// Whether it has a row of its own in the audit.
    Row(bool),
    /// Until when the token is good.
    Until(i64),
    Name(String),
    /// How many channels, grants, connections and open offers ended.
    Ends([usize; 4]),
    Enrolled {
        is_first: bool,
        revoked: Option<u8>,
        rotated: BTreeSet<usize>,
    },
}

pub(crate) type Outcome = Result<Value, Refusal>;

/// What an audit entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Organization(usize),
    Server(usize),
    Channel(usize),
    Peering(usize),
    Grant(usize),
    Connection(usize),
    Text(String),
}

/// An audit entry as one organization reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Whose log; `None` is the gateway operator's.
    pub(crate) log: Option<usize>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) thing: Thing,
    pub(crate) outcome: &'static str,
    pub(crate) times: u32,
}

/// One of the lists that people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Organizations,
    Servers,
    Channels,
    Peerings,
    Grants,
    Connections,
}

impl List {
    pub(crate) const ALL: [Self; 6] =
        [Self::Connections, Self::Grants, Self::Peerings, Self::Channels, Self::Servers, Self::Organizations];
}

/// A row of one of the lists, by the numbers of what it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    Organization {
        number: usize,
        tier: Option<&'static str>,
    },
    Server {
        number: usize,
        name: String,
        organization: usize,
        key: Option<u8>,
        is_enrolled: bool,
        is_online: bool,
    },
    Channel {
        number: usize,
        name: String,
        organization: usize,
        server: Option<String>,
        published: bool,
    },
    Peering {
        number: usize,
        peer: String,
        requester: usize,
        recipient: usize,
        status: &'static str,
    },
    Grant(GrantLine),
    Connection(Box<ConnectionLine>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantLine {
    pub(crate) number: usize,
    pub(crate) channel: usize,
    pub(crate) channel_name: Option<String>,
    pub(crate) owner: usize,
    pub(crate) holder: usize,
    pub(crate) decider: usize,
    pub(crate) origin: &'static str,
    pub(crate) status: &'static str,
    pub(crate) connection: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionLine {
    pub(crate) number: usize,
    pub(crate) kind: &'static str,
    pub(crate) route: String,
    pub(crate) organizations: [usize; 2],
    pub(crate) servers: [Option<usize>; 2],
    pub(crate) carried: String,
    pub(crate) status: Status,
    pub(crate) held_by: Vec<String>,
    pub(crate) has_failure: bool,
    pub(crate) connectivity: &'static str,
    pub(crate) pulses: bool,
    pub(crate) links: [&'static str; 2],
    pub(crate) tunnels: [&'static str; 2],
    pub(crate) mirths: [Option<&'static str>; 2],
}

/// What a server's agent is told of one connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleLine {
    pub(crate) connection: usize,
    pub(crate) kind: &'static str,
    pub(crate) has_protocol: bool,
    pub(crate) side: Side,
    pub(crate) peer: usize,
    pub(crate) names: [String; 2],
    pub(crate) peer_organization: Option<String>,
    pub(crate) activity: &'static str,
    pub(crate) epoch: u32,
    pub(crate) cuts: u32,
}

/// All that a server's agent is told, and what the relay and the end of connections mean to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentView {
    pub(crate) rules: Vec<RuleLine>,
    pub(crate) revoked: BTreeSet<u8>,
    pub(crate) ended: BTreeSet<usize>,
    /// Servers it may reach through the relay; `None` when it may not use it.
    pub(crate) reaches: Option<usize>,
}
