//! What is counted of each entry by its tasks, and what is shown of it: by `adit status`, to the gateway, as
//! metrics. What is true of it now is in [`super::connection::status`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::better_paths::{BetterPath, LinkPath};
use super::carrier::CarrierStatus;
use super::connection::status::ConnectionStatus;
use super::measurements::PassingCounts;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::path::{PathKind, PathPreference};
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Report;
use adit_net::transport::splice::ByteCounts;
use adit_observe::metrics::{ConnectionSample, TunnelSample};

/// Counts what passes on one entry's connection.
#[derive(Debug, Default)]
pub struct Stats {
    pub bytes: ByteCounts,
    pub messages: AtomicU64,
    pub acknowledged: AtomicU64,
    pub streams_opened: AtomicU64,
    pub streams_cut: AtomicU64,
    /// Connections of users of this host that may not connect.
    pub strangers: AtomicU64,
    /// How often as many connections were open as may be.
    pub limit_reached: AtomicU64,
    /// Connections that were reset then because no byte ever passed on them.
    pub silent_reset: AtomicU64,
    /// Exchanges of which somebody waits for the end, now.
    waiting: AtomicU64,
    /// TCP connections on which a whole message waits for its answer, as far as they are observed, now.
    pub(crate) unanswered: AtomicU64,
    /// Those that are carried and no longer observed.
    pub(crate) unobserved: AtomicU64,
    pub dicom: DicomStats,
    /// By code and latency, for the sums of a minute.
    pub passing: PassingCounts,
    pub admin: AdminStats,
    /// When a message was acknowledged last, in milliseconds; 0 while none was.
    last_ack: AtomicI64,
}

/// What is counted of the requests of admin sessions, where they are judged.
#[derive(Debug, Default)]
pub struct AdminStats {
    /// Sent on to Mirth.
    pub requests: AtomicU64,
    pub refused: AtomicU64,
    /// Refused too, and not listed: what a client asks by itself.
    pub expected: AtomicU64,
    pub changes: AtomicU64,
    /// Records added to Mirth's own audit.
    pub audits: AtomicU64,
}

/// What is counted of DICOM in passing.
#[derive(Debug, Default)]
pub struct DicomStats {
    pub open: AtomicU64,
    pub accepted: AtomicU64,
    pub rejected: AtomicU64,
    pub aborted: AtomicU64,
    pub lost: AtomicU64,
    pub stored: AtomicU64,
    pub failed: AtomicU64,
    pub bytes: AtomicU64,
}

impl DicomStats {
    #[must_use]
    pub fn counts(&self) -> DicomCounts {
        DicomCounts {
            open: count(&self.open),
            accepted: count(&self.accepted),
            rejected: count(&self.rejected),
            aborted: count(&self.aborted),
            lost: count(&self.lost),
            stored: count(&self.stored),
            failed: count(&self.failed),
            bytes: count(&self.bytes),
        }
    }
}

/// A fact that is on, off or not known, with the time it became so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedFlag {
    pub on: Option<bool>,
    pub since: Option<Timestamp>,
}

impl TimedFlag {
    /// Keeps the time when nothing changes.
    pub fn set(&mut self, on: Option<bool>, now: Timestamp) {
        if self.on != on {
            *self = Self { on, since: Some(now) };
        }
    }
}

/// The last thing that went wrong, in one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub at: Timestamp,
    pub what: String,
}

/// An exchange that is under way.
#[derive(Debug)]
pub struct WaitedFor<'a>(&'a Stats);

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        self.0.note_waiting(false);
    }
}

impl Stats {
    /// Notes that one more is waited for, or one less.
    pub fn note_waiting(&self, begins: bool) {
        if begins {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one more as waited for until this is dropped.
    #[must_use]
    pub fn waited_for(&self) -> WaitedFor<'_> {
        self.note_waiting(true);
        WaitedFor(self)
    }

    /// Returns the number of exchanges of which somebody waits for the end.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        count(&self.waiting)
    }

    /// Notes that as many connections are open as may be.
    pub fn note_full(&self) {
        self.limit_reached.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a TCP connection ended.
    pub fn count_stream(&self, cut: bool) {
        self.streams_opened.fetch_add(1, Ordering::Relaxed);
        self.streams_cut.fetch_add(u64::from(cut), Ordering::Relaxed);
    }

    pub fn note_ack(&self, at: Timestamp) {
        self.last_ack.store(at.as_millis(), Ordering::Relaxed);
    }

    #[must_use]
    pub fn last_ack(&self) -> Option<Timestamp> {
        let millis = self.last_ack.load(Ordering::Relaxed);
        (millis != 0).then(|| Timestamp::from_millis(millis))
    }

    /// Returns what is exported; the target has no port.
    #[must_use]
    pub fn sample(
        &self,
        status: &ConnectionStatus,
        at_target: bool,
        protocol: Option<Protocol>,
    ) -> ConnectionSample {
        ConnectionSample {
            tunnel: status.tunnel.map(|tunnel| TunnelSample {
                path: tunnel.path,
                path_changes: tunnel.path_changes,
                rtt: tunnel.rtt,
                packets_sent: tunnel.packets_sent,
                packets_lost: tunnel.packets_lost,
            }),
            mirth: status.mirth.on,
            port_open: (!at_target).then_some(status.port_open),
            works: status.health(at_target).works(),
            streams: status.streams,
            limit_reached: count(&self.limit_reached),
            silent_reset: count(&self.silent_reset),
            associations: (protocol == Some(Protocol::Dicom)).then(|| count(&self.dicom.open)),
            streams_opened: count(&self.streams_opened),
            streams_cut: count(&self.streams_cut),
            bytes_into_tunnel: count(&self.bytes.into_tunnel),
            bytes_out_of_tunnel: count(&self.bytes.out_of_tunnel),
        }
    }

    /// Returns what the gateway is told; `at_target` alone measures its Mirth. A tunnel is told once its path
    /// is known.
    #[must_use]
    pub fn report(&self, status: &ConnectionStatus, at_target: bool, fault: Option<SideFault>) -> Report {
        let heard = status.tunnel.filter(|tunnel| tunnel.silent_since.is_none());
        Report {
            tunnel: heard.and_then(|tunnel| tunnel.path).map(Into::into),
            mirth: if at_target { status.mirth.on } else { None },
            last_ack: self.last_ack(),
            fault: fault.map(Into::into),
        }
    }
}

/// One entry as `adit status` shows it; also its `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryStatus {
    pub name: String,
    pub id: ConnectionId,
    #[serde(rename = "type")]
    pub kind: String,
    pub route: String,
    pub side: String,
    pub protocol: String,
    pub peer: ServerId,
    /// What the gateway calls the peer.
    #[serde(default)]
    pub peer_name: Option<String>,
    pub status: String,
    /// The three timed flags: agent ↔ gateway, agent ↔ agent, agent ↔ local Mirth.
    pub gateway: TimedFlag,
    pub tunnel: TimedFlag,
    pub mirth: TimedFlag,
    pub path: Option<PathKind>,
    /// What is allowed.
    pub path_choice: PathPreference,
    /// That the two owners allow no path in common, with what each does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_conflict: Option<String>,
    /// Why the path in use was taken.
    pub path_reason: Option<String>,
    pub path_changes: u64,
    /// Those that are wanted more than the one in use, most wanted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub better_paths: Vec<BetterPath>,
    pub rtt_micros: Option<u64>,
    pub packets_lost: Option<u64>,
    /// Since when the peer of its tunnel has not been heard, if it is not.
    #[serde(default)]
    pub silent_since: Option<Timestamp>,
    pub port_open: bool,
    /// It is closed because as many connections are open as may be.
    #[serde(default)]
    pub at_limit: bool,
    /// It is the peer that carries as many as it may.
    #[serde(default)]
    pub peer_full: bool,
    #[serde(default)]
    pub streams_max: u32,
    /// How often that was so.
    #[serde(default)]
    pub limit_reached: u64,
    /// Connections that were reset then because no byte ever passed on them.
    #[serde(default)]
    pub silent_reset: u64,
    pub address: String,
    pub streams: usize,
    pub streams_opened: u64,
    pub streams_cut: u64,
    /// Connections of users of this host that `allow_users` does not name.
    #[serde(default)]
    pub strangers_refused: u64,
    pub messages: u64,
    pub acknowledged: u64,
    pub bytes_into_tunnel: u64,
    pub bytes_out_of_tunnel: u64,
    /// Where DICOM is carried.
    pub dicom: Option<DicomCounts>,
    pub last_ack: Option<Timestamp>,
    pub peer_key: Option<PeerKey>,
    /// Of an admin connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminStatus>,
    pub last_error: Option<Fault>,
}

/// An admin connection as its own side sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminStatus {
    /// What the connection's type allows, once the gateway has said it.
    pub access: Option<Access>,
    pub sessions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedStatus>,
}

/// What the managed side knows and has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedStatus {
    pub mirth_version: Option<String>,
    pub mirth_key: Option<KeyFingerprint>,
    /// Shown by Mirth, and not the trusted one.
    pub mirth_key_shown: Option<KeyFingerprint>,
    pub requests: u64,
    pub refused: u64,
    /// Refused too, and not listed: what a client asks by itself.
    #[serde(default)]
    pub refused_as_expected: u64,
    pub changes: u64,
    #[serde(default)]
    pub audits: u64,
    pub unknown_operations: Vec<String>,
    /// Whether credentials are masked in view-only answers.
    #[serde(default)]
    pub masks: bool,
}

/// What was seen of DICOM since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DicomCounts {
    /// Associations open now.
    pub open: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub aborted: u64,
    /// Ended with their TCP connection, without a word.
    pub lost: u64,
    /// Objects answered with success or a warning, and their bytes.
    pub stored: u64,
    pub bytes: u64,
    /// Objects answered with a failure.
    pub failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerKey {
    pub fingerprint: KeyFingerprint,
    pub verified: bool,
}

/// The whole agent as `adit status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub software: String,
    /// For how long the agent has served.
    #[serde(default)]
    pub uptime_seconds: u64,
    pub server: ServerId,
    /// What the gateway calls it.
    #[serde(default)]
    pub name: Option<String>,
    pub key: KeyFingerprint,
    pub leaf_expires: Timestamp,
    pub gateway: TimedFlag,
    /// The path of the control link, while that is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_path: Option<LinkPath>,
    pub gateway_error: Option<Fault>,
    /// Since when the gateway's database is away, while it says so over the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_database_away_since: Option<Timestamp>,
    /// What the gateway said last of each kind that this agent did not take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_taken: Vec<Fault>,
    /// The gateway said of late that another copy of this agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_seen: Option<Fault>,
    /// Whether the relay carries packets of this agent.
    pub relay: bool,
    /// The WebSocket on TCP 443, which carries the tcp path; an older agent has none.
    #[serde(default)]
    pub carrier: Option<CarrierStatus>,
    /// It was told to stop and lets what is under way end.
    #[serde(default)]
    pub stopping: bool,
    pub listen: String,
    /// SHA-256 of the certificate that people beside this agent see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_certificate: Option<String>,
    pub entries: Vec<EntryStatus>,
}

/// Reads a counter for display.
#[must_use]
pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
