//! What agent and gateway say to each other over the control link: versioned messages, a snapshot
//! of the rules, then numbered changes.
//!
//! A message is one JSON object behind a four-byte big-endian length. Secrets travel inside the
//! mutually authenticated link only, and `Debug` never shows them.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::connection::{ConnectionType, Protocol, Side};
use crate::domain::id::{BootId, ConnectionId, KeyFingerprint, RouteId, ServerId};
use crate::domain::limits::CONTROL_MESSAGE_BYTES_MAX;
use crate::domain::measurement::Sums;
use crate::domain::path::PathKind;
use crate::domain::relays::Relays;
use crate::domain::side_fault::SideFault;
use crate::domain::time::Timestamp;
use crate::domain::word::{UnknownWord, Word, readable};
use crate::protocol::capability::{self, Capabilities};
use crate::protocol::length_prefix::{self, TooLong};
use crate::protocol::rule_list::{GivenRule, RuleList, UnusableRule};
use crate::protocol::text::{self, Software};

/// The version in which every build says hello.
pub const VERSION: u16 = 1;
/// The versions this build speaks. A gateway picks the highest that both ends speak; an agent that speaks
/// none of its own is told both lists.
pub const VERSIONS: &[u16] = &[VERSION];

/// ALPN of the control link.
pub const ALPN: &[u8] = b"adit-control/1";

/// One connection as one agent needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub connection: ConnectionId,
    pub kind: ConnectionType,
    /// Present exactly for P2P.
    pub protocol: Option<Protocol>,
    /// The end this agent stands at.
    pub side: Side,
    pub peer: ServerId,
    pub peer_route: RouteId,
    /// Public names, for people: the route is shown as `{source} → {target}`. What is no name is read as
    /// `unnamed`, so that one bad rule costs neither the link nor the others.
    #[serde(deserialize_with = "text::name")]
    pub source_name: String,
    #[serde(deserialize_with = "text::name")]
    pub target_name: String,
    /// The public name of the other organization, for the audit of admin sessions.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text::name_if_any")]
    pub peer_organization: Option<String>,
    pub activity: Activity,
    /// Rises with every Rotate Secrets; a secret of a lower epoch is dead for new handshakes.
    pub secret_epoch: u32,
    /// Rises with every "disconnect now"; a rise cuts the open tunnel.
    pub cut_epoch: u32,
    /// None is named where the gateway's own is meant.
    #[serde(default, skip_serializing_if = "Relays::is_empty")]
    pub relays: Relays,
}

impl Rule {
    /// Returns the public name of this agent's server.
    #[must_use]
    pub fn own_name(&self) -> &str {
        if self.side == Side::Source { &self.source_name } else { &self.target_name }
    }

    /// Returns the public name of the peer's.
    #[must_use]
    pub fn peer_name(&self) -> &str {
        if self.side == Side::Source { &self.target_name } else { &self.source_name }
    }
}

/// What may happen on a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Configured, no tunnel (Ready, Failed).
    Ready,
    /// Running TCP streams may end, nothing new starts.
    Paused,
    Active,
}

/// One numbered change after a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change", from = "GivenChange")]
pub enum Change {
    /// The connection is new or its rule differs.
    Rule { rule: Rule },
    /// The same with a rule that this build cannot use.
    #[serde(rename = "rule")]
    Unusable { rule: UnusableRule },
    /// It has reached a final status: cut at once, and only a person of the agent's host undoes it.
    Ended { connection: ConnectionId },
    /// The gateway knows nothing of it any more: cut at once, until it is listed again.
    Unlisted { connection: ConnectionId },
    /// No leaf over this key is good any more: cut at once, and only a person of the agent's host
    /// undoes it.
    Revoked { key: KeyFingerprint },
    /// A newer gateway's; it changes nothing here.
    Unknown,
}

/// A [`Change`] as it comes, its rule usable or not.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
enum GivenChange {
    Rule {
        rule: GivenRule,
    },
    Ended {
        connection: ConnectionId,
    },
    Unlisted {
        connection: ConnectionId,
    },
    Revoked {
        key: KeyFingerprint,
    },
    #[serde(other)]
    Unknown,
}

impl From<GivenChange> for Change {
    fn from(given: GivenChange) -> Self {
        match given {
            GivenChange::Rule { rule: GivenRule::Usable(rule) } => Self::Rule { rule: *rule },
            GivenChange::Rule { rule: GivenRule::Unusable(rule) } => Self::Unusable { rule },
            GivenChange::Ended { connection } => Self::Ended { connection },
            GivenChange::Unlisted { connection } => Self::Unlisted { connection },
            GivenChange::Revoked { key } => Self::Revoked { key },
            GivenChange::Rule { rule: GivenRule::Nameless } | GivenChange::Unknown => Self::Unknown,
        }
    }
}

/// From agent to gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ToGateway {
    /// First on every link.
    Hello {
        /// The lowest that it speaks, which is all that a gateway of 0.1.0 reads.
        version: u16,
        /// All that it speaks; none from an agent of 0.1.0.
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "capability::versions")]
        versions: Vec<u16>,
        #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
        capabilities: Capabilities,
        software: Software,
        boot: BootId,
    },
    Heartbeat {
        number: u64,
    },
    /// Peers to which this agent's owner allows no direct path: they are not told where it is. Said
    /// before the addresses, and again when it changes.
    HiddenFrom {
        peers: Vec<ServerId>,
    },
    /// Which kinds of path this agent's owner allows to each of these peers; to all others any. Said to a gateway
    /// that tells them so, at the start of a link and when it changes.
    AllowedPaths {
        #[serde(deserialize_with = "readable")]
        peers: Vec<PeerPaths>,
    },
    /// Where this agent's UDP socket can be reached directly.
    Listening {
        #[serde(deserialize_with = "readable")]
        addresses: Vec<SocketAddr>,
    },
    FetchSecret {
        connection: ConnectionId,
    },
    /// The agent's own file has these, the snapshot has not: which of them have ended?
    Missing {
        connections: Vec<ConnectionId>,
    },
    /// Sent after the secret is on disk (fsync) or was found in the agent's own file.
    #[serde(rename = "secret_held")]
    SecretStored {
        connection: ConnectionId,
        epoch: u32,
    },
    /// What is true now of one connection, sent when it changes, at most once a second.
    Report {
        connection: ConnectionId,
        report: Report,
    },
    /// This agent's own file forbids the connection as it is: it becomes Failed with the reason.
    #[serde(rename = "unfit")]
    ConfigMismatch {
        connection: ConnectionId,
        reason: Word<ConfigMismatch>,
    },
    /// A peer or stranger was refused here; for the audit log of both sides.
    RefusedPeer {
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: Word<PeerRefusal>,
        /// How many alike were not told since the last.
        #[serde(default)]
        left_out: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<NoteNumber>,
    },
    /// What happens in an admin session, for the audit logs of both sides.
    AdminSession {
        connection: ConnectionId,
        session: SessionReport,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<NoteNumber>,
    },
    /// What one finished minute of a connection was at this end; said once, to a gateway that keeps such. Said again,
    /// it takes the place of what was said before.
    Measured {
        connection: ConnectionId,
        /// When the minute began.
        at: Timestamp,
        sums: Sums,
    },
    /// A certificate signing request, DER in hex, over the key already on file.
    Renew {
        #[serde(deserialize_with = "text::digits")]
        csr: String,
    },
    /// A newer agent's; it is counted and has no other effect.
    #[serde(other)]
    Unknown,
}

/// From gateway to agent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ToAgent {
    Welcome {
        /// The one that the gateway picked.
        version: u16,
        now: Timestamp,
        #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
        capabilities: Capabilities,
    },
    /// The leaf has expired: only `Renew` is served on this link.
    RenewOnly {
        now: Timestamp,
    },
    Heartbeat {
        number: u64,
        now: Timestamp,
    },
    /// Another copy of this agent runs: it opened the link at `at` that took the place of this one's, and
    /// now this one is back. Said again each time.
    AnotherCopy {
        at: SocketAddr,
    },
    /// Comes before the snapshot that it belongs to, where one message does not hold it all.
    SnapshotPart {
        rules: RuleList,
        #[serde(deserialize_with = "readable")]
        revoked: Vec<KeyFingerprint>,
    },
    /// With the parts before it the gateway's whole view.
    Snapshot {
        revision: u64,
        rules: RuleList,
        #[serde(deserialize_with = "readable")]
        revoked: Vec<KeyFingerprint>,
    },
    /// Whether the gateway's database is away, said to an agent that asks for it, whenever that changes. While
    /// it is, heartbeats confirm no rule, and of what is said over the link nothing is kept or answered that
    /// needs it: `None` asks for all of that once more. Also said ahead of a welcome that is not to come.
    Database {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        away_since: Option<Timestamp>,
    },
    /// The note of this number is on file, or never will be: it is not said again.
    Noted {
        note: NoteNumber,
    },
    /// Of the connections the agent misses, these are over for good.
    Ended {
        connections: Vec<ConnectionId>,
    },
    /// `revision` is the last one plus one; a gap means a change was lost and the link starts again.
    Change {
        revision: u64,
        change: Change,
    },
    /// Where a peer says it can be reached; an empty list when it is away.
    Candidates {
        peer: ServerId,
        #[serde(deserialize_with = "readable")]
        addresses: Vec<SocketAddr>,
    },
    /// Which kinds of path a peer's owner allows to this agent; an empty list is no word on it. Said to an agent
    /// that asks for it.
    AllowedPaths {
        peer: ServerId,
        allowed: Vec<Word<PathKind>>,
    },
    /// In hex; see [`crate::domain::secret::Secret::from_hex`].
    Secret {
        connection: ConnectionId,
        epoch: u32,
        #[serde(deserialize_with = "text::digits")]
        secret: String,
    },
    /// This side fetched it before, or it was deleted: rotate, or write it into the agent's file.
    SecretUnavailable {
        connection: ConnectionId,
    },
    /// The new leaf, DER in hex.
    Renewed {
        #[serde(deserialize_with = "text::digits")]
        leaf: String,
    },
    /// The gateway ends the link and says why.
    Goodbye {
        #[serde(deserialize_with = "text::reason")]
        reason: String,
        /// It stops, or is started again: dialled soon, it may be there again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stopping: bool,
    },
    /// A newer gateway's; it is counted and has no other effect.
    #[serde(other)]
    Unknown,
}

/// Counts the notes of one run of an agent that must be in the audit once each: with the server and the run it
/// names a note for good, so that one that is said again is known again. A gateway of an earlier build takes no
/// notice of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoteNumber(pub u64);

/// Why a gateway cannot serve what needs its database, for the people of an agent's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the gateway's database has been away since {since}: what runs goes on, changes of rules and secrets wait; nothing \
     is to be done here, tell the gateway's operator"
)]
pub struct DatabaseAway {
    pub since: Timestamp,
}

/// The kinds of path that an owner allows to one peer, most wanted first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPaths {
    pub peer: ServerId,
    pub allowed: Vec<Word<PathKind>>,
}

/// What one agent measures of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The path in use when the tunnel is up.
    pub tunnel: Option<Word<PathKind>>,
    /// Whether the local Mirth answers; target side only.
    pub mirth: Option<bool>,
    pub last_ack: Option<Timestamp>,
    /// What keeps it from carrying as this side sees it; none from an earlier agent, to which it may be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Word<SideFault>>,
}

/// An admin session as one of its two agents tells of it: at its start, now and then while the counts
/// rise, and at its end. The agents' own audit files have every refusal and change; this sums them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Tells the sessions of one agent's run apart.
    pub number: u64,
    pub stage: Word<SessionStage>,
    /// Where the managing side's client connected from.
    pub local_peer: std::net::IpAddr,
    /// Since the session's start; the managing side does not judge and counts no refusals or changes.
    pub requests: u64,
    pub refused: u64,
    pub changes: u64,
    /// Records added to Mirth's own audit, in the client's words.
    #[serde(default)]
    pub audits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStage {
    Started,
    Running,
    Ended,
}

/// Why an agent's own file forbids a connection for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ConfigMismatch {
    #[error("the agent's file and the gateway have different types for this connection")]
    Type,
    #[error("the agent's file has this connection on the other side")]
    Side,
    #[error("the agent's file names another peer for this connection")]
    Peer,
    #[error("the agent's file names another protocol for this connection")]
    Protocol,
    #[error("the agent's file allows view-only administration (`max_access`), the connection is read-write")]
    Access,
    #[error(
        "the managed Mirth is older than 4.4.1, where view-only cannot be enforced; update it, then retry"
    )]
    MirthTooOld,
}

/// Why an agent refused a peer. Told to the gateway and the local log, never to the peer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum PeerRefusal {
    #[error("the peer's certificate was revoked")]
    Revoked,
    #[error("the peer asked for a connection this agent has no rule for")]
    UnknownConnection,
    #[error("the connection is not in this agent's file")]
    Unlisted,
    #[error("the connection belongs to another peer")]
    WrongPeer,
    #[error("the connection is paused")]
    Paused,
    #[error("the connection is not active")]
    NotActive,
    #[error("the connection was terminated")]
    Terminated,
    #[error("the peer's key is not the known key of this connection")]
    ChangedKey,
    #[error("the peer's key was not compared yet, and an admin connection needs that first")]
    UnverifiedKey,
    #[error("the peer does not hold the connection's secret")]
    WrongSecret,
    #[error("the peer's opening message is malformed or late")]
    BadOpening,
    #[error(
        "the peer's agent refused this agent's key; its operator compares it with the one in this host's `adit status`, \
         then runs `adit trust` there"
    )]
    RefusedOurKey,
}

impl std::fmt::Debug for ToAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Welcome { version, now, capabilities } => {
                write!(f, "Welcome {{ version: {version}, now: {now}, capabilities: {capabilities} }}")
            }
            Self::RenewOnly { now } => write!(f, "RenewOnly {{ now: {now} }}"),
            Self::Heartbeat { number, .. } => write!(f, "Heartbeat {{ number: {number} }}"),
            Self::AnotherCopy { at } => write!(f, "AnotherCopy {{ at: {at} }}"),
            Self::Snapshot { revision, rules, revoked } => {
                write!(f, "Snapshot {{ revision: {revision}, rules: {rules:?}, revoked: {revoked:?} }}")
            }
            Self::SnapshotPart { rules, revoked } => {
                write!(f, "SnapshotPart {{ rules: {rules:?}, revoked: {revoked:?} }}")
            }
            Self::Database { away_since } => write!(f, "Database {{ away_since: {away_since:?} }}"),
            Self::Noted { note } => write!(f, "Noted {{ note: {note:?} }}"),
            Self::Ended { connections } => write!(f, "Ended {{ connections: {connections:?} }}"),
            Self::Change { revision, change } => {
                write!(f, "Change {{ revision: {revision}, change: {change:?} }}")
            }
            Self::Candidates { peer, addresses } => {
                write!(f, "Candidates {{ peer: {peer}, addresses: {addresses:?} }}")
            }
            Self::AllowedPaths { peer, allowed } => {
                write!(f, "AllowedPaths {{ peer: {peer}, allowed: {allowed:?} }}")
            }
            Self::Secret { connection, epoch, .. } => {
                write!(f, "Secret {{ connection: {connection}, epoch: {epoch}, secret: [secret] }}")
            }
            Self::SecretUnavailable { connection } => {
                write!(f, "SecretUnavailable {{ connection: {connection} }}")
            }
            Self::Renewed { .. } => f.write_str("Renewed"),
            Self::Goodbye { reason, stopping } => {
                write!(f, "Goodbye {{ reason: {reason:?}, stopping: {stopping} }}")
            }
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

const LENGTH_BYTES: usize = 4;

/// Appends `message` as it goes on the wire; after an error `to` is as it was.
pub fn encode<M: Serialize>(message: &M, to: &mut BytesMut) -> Result<(), ControlError> {
    let start = to.len();
    to.put_u32(0);
    let written = serde_json::to_writer((&mut *to).writer(), message);
    let length = to.len() - start - LENGTH_BYTES;
    let error = match written {
        Err(source) => ControlError::Unwritable { source },
        Ok(()) if length > CONTROL_MESSAGE_BYTES_MAX => ControlError::OwnTooLong { length },
        Ok(()) => {
            let prefix = u32::try_from(length).expect("the bound is far below 4 GiB");
            to[start..start + LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
            return Ok(());
        }
    };
    to.truncate(start);
    Err(error)
}

/// Reads messages from a stream that arrives in pieces. Holds at most one unfinished message and
/// what was handed in behind it, so its owner asks for all messages before handing in more.
#[derive(Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// What the last message called itself.
    tag: Option<UnknownWord>,
}

impl Decoder {
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns what the last message called itself, for one that was unknown.
    #[must_use]
    pub fn tag(&self) -> UnknownWord {
        self.tag.unwrap_or(UnknownWord::NONE)
    }

    /// Returns the next whole message. After an error the link means nothing any more.
    pub fn next_message<M: DeserializeOwned>(&mut self) -> Result<Option<M>, ControlError> {
        let taken = length_prefix::take::<LENGTH_BYTES>(&mut self.buffer, CONTROL_MESSAGE_BYTES_MAX);
        let Some(message) = taken.map_err(|TooLong { length }| ControlError::PeerTooLong { length })? else {
            return Ok(None);
        };
        self.tag = serde_json::from_slice(&message).ok().map(|Tag { word }| UnknownWord::new(&word));
        serde_json::from_slice(&message).map(Some).map_err(|error| ControlError::PeerMalformed {
            category: error.classify(),
            column: error.column(),
        })
    }
}

/// What every message begins to say.
#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "type")]
    word: String,
}

/// What is buffered may hold a secret.
impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder {{ bytes: {} }}", self.buffer.len())
    }
}

/// A message that cannot go over the link: what the peer did wrong, then what we did.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the other end announced a control message of {length} bytes, {CONTROL_MESSAGE_BYTES_MAX} are allowed"
    )]
    PeerTooLong { length: usize },
    /// Without the parser's own text, which quotes the message and with it perhaps a secret.
    #[error(
        "the other end sent a control message that cannot be read ({category:?} error at byte {column}); agent and gateway must speak the same version"
    )]
    PeerMalformed { category: serde_json::error::Category, column: usize },
    #[error(
        "a control message would have {length} bytes, {CONTROL_MESSAGE_BYTES_MAX} are allowed; this server has too many connections"
    )]
    OwnTooLong { length: usize },
    #[error("a control message cannot be written as JSON")]
    Unwritable { source: serde_json::Error },
}

#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
#[cfg(test)]
mod tests;
