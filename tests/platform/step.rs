//! One thing that somebody asks of the platform, with objects by number in the order they were made; prints as a
//! line of a story. Which steps a sequence has is [`crate::draft`]'s to choose.

use std::fmt;

use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

/// The number of something that nobody ever made.
pub(crate) const NOBODY: usize = usize::MAX;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Host,
    Member { organization: usize, role: UserRole },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    Decline,
    Withdraw,
}

/// What is asked of a grant beside its approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantEnd {
    Deny,
    Revoke,
    Relinquish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Activate,
    Pause,
    Resume,
    Disconnect,
    Retry,
    Terminate,
}

impl Order {
    pub(crate) const ALL: [Self; 6] =
        [Self::Activate, Self::Pause, Self::Resume, Self::Disconnect, Self::Retry, Self::Terminate];
}

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    AddOrganization { name: usize, tier: Tier },
    SetTier { organization: usize, tier: Tier },
    AddServer { name: u8 },
    DescribeServer { server: usize, name: u8 },
    RevokeServer { server: usize },
    AddChannel { server: usize, name: u8, published: bool },
    SetPublished { channel: usize, published: bool },
    RequestPeering { with: usize },
    DecidePeering { peering: usize, decision: Decision },
    OfferGrant { channel: usize, to: usize },
    RequestGrant { channel: usize, source: usize },
    ApproveGrant { grant: usize, source: Option<usize> },
    EndGrant { grant: usize, how: GrantEnd },
    OfferAdmin { server: usize, to: usize, writes: bool, hours: u32 },
    AcceptOffer { connection: usize, source: usize },
    DeclineOffer { connection: usize },
    WithdrawOffer { connection: usize },
    Order { connection: usize, order: Order },
    ViewSecret { connection: usize },
    RotateSecret { connection: usize },
    IssueToken { server: usize, hours: u32 },
    EndPeering { peering: usize },
    DeleteServer { server: usize },
    DescribeChannel { channel: usize, name: u8 },
    DeleteChannel { channel: usize },
    RenameOrganization { organization: usize, name: usize },
}

/// What an agent, or a host that says it is one, asks for or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// `token` by the order in which all were issued.
    Redeem {
        token: usize,
        key: u8,
    },
    Judge {
        token: usize,
        key: Option<u8>,
    },
    Authorize {
        key: u8,
    },
    Linked {
        up: bool,
    },
    Tunnel {
        connection: usize,
        path: Option<u8>,
        mirth: Option<bool>,
    },
    Fetch {
        connection: usize,
    },
    Stored {
        connection: usize,
        epoch: u32,
    },
    Mismatch {
        connection: usize,
        reason: u8,
    },
    RefusedPeer {
        connection: usize,
        reason: u8,
        times: u32,
    },
    Session {
        connection: usize,
        stage: u8,
        number: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Member {
        who: Asker,
        wish: Wish,
    },
    Agent {
        server: usize,
        report: Report,
    },
    /// The gateway's own round.
    Sweep,
}

impl Event {
    /// Returns the connection that the table of DOMAIN §3 is asked about.
    pub(crate) const fn connection(self) -> Option<usize> {
        match self {
            Self::Member { wish, .. } => match wish {
                Wish::AcceptOffer { connection, .. }
                | Wish::DeclineOffer { connection }
                | Wish::WithdrawOffer { connection }
                | Wish::Order { connection, .. } => Some(connection),
                _ => None,
            },
            Self::Agent { report: Report::Mismatch { connection, .. }, .. } => Some(connection),
            Self::Agent { .. } | Self::Sweep => None,
        }
    }
}

/// An event and how long after the last one it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after_seconds: u32,
    pub(crate) event: Event,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = match self.event {
            Event::Member { who: Asker::Host, wish } => format!("host: {wish:?}"),
            Event::Member { who: Asker::Member { organization, role }, wish } => {
                format!("{role} of organization {organization}: {wish:?}")
            }
            Event::Agent { server, report } => format!("agent of server {server}: {report:?}"),
            Event::Sweep => "the gateway sweeps".into(),
        };
        write!(f, "+{:>7} s  {}", self.after_seconds, told.replace(&NOBODY.to_string(), "(none)"))
    }
}

/// Returns the names that things are given. Every other one differs from an earlier one in its case alone.
pub(crate) fn organization_name(sequence: u64, number: usize) -> String {
    format!("Hospital {sequence}-{number}")
}

pub(crate) fn server_name(who: Asker, number: u8) -> String {
    cased(format!("Mirth {}-{}", home(who), number % SERVER_NAMES), number >= SERVER_NAMES)
}

pub(crate) fn channel_name(who: Asker, number: u8) -> String {
    cased(format!("Channel {}-{}", home(who), number % CHANNEL_NAMES), number >= CHANNEL_NAMES)
}

/// Returns what a user is called; nobody outside the own organization may read it.
pub(crate) fn user_name(who: Asker) -> String {
    match who {
        Asker::Host => "the operator himself".into(),
        Asker::Member { organization, role } => format!("Ada {organization} {role}"),
    }
}

const SERVER_NAMES: u8 = 7;
const CHANNEL_NAMES: u8 = 7;

fn home(who: Asker) -> String {
    match who {
        Asker::Host => "host".into(),
        Asker::Member { organization, .. } => organization.to_string(),
    }
}

fn cased(name: String, is_upper: bool) -> String {
    if is_upper { name.to_uppercase() } else { name }
}
