//! Every metric by name, what it means, and how to count into it.
//!
//! Label values come from this host's own file or from small fixed sets; what a peer sends is
//! bounded first. No label ever holds an address, an id of a person, or message content.

mod endpoint;
mod labels;
mod people;
mod relay;
mod stream;

use std::time::Duration;

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use endpoint::{LoopbackListener, MetricsError, listen, serve, serve_at};
pub use people::{
    EVENT_STREAMS, PEOPLE_CONNECTIONS, console_certificate_expires, http_request, rate_limited,
};
pub use relay::{RelaySample, relay};
pub use stream::{AdminOutcome, StreamMetrics};

use adit_core::domain::path::PathKind;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::UNKNOWN_WORDS;

pub const BUILD_INFO: &str = "adit_build_info";

pub const CONTROL_LINK_UP: &str = "adit_control_link_up";
pub const CONTROL_DATABASE_AWAY: &str = "adit_control_link_database_away";
const CONTROL_LINK_PATH: &str = "adit_control_link_path";
const CARRIER_UP: &str = "adit_carrier_up";
const CARRIERS_OPENED: &str = "adit_carriers_opened_total";
/// Labelled `why`, one of a fixed few words.
const OWN_CARRIERS_ENDED: &str = "adit_carriers_ended_total";
const CARRIERS_NOT_OPENED: &str = "adit_carriers_not_opened_total";
pub const PEER_REFUSALS: &str = "adit_peer_refusals_total";
/// Messages for the gateway that were dropped because the link was away for long.
pub const CONTROL_DROPPED: &str = "adit_control_messages_dropped_total";
/// Labelled `reason`, one of a fixed few words.
const DROPPED_PACKETS: &str = "adit_dropped_packets_total";
/// Labelled `reason`, one of a fixed few words.
const STREAMS_REFUSED: &str = "adit_streams_refused_total";
const HANDSHAKES_UNFINISHED: &str = "adit_handshakes_unfinished_total";
const TUNNEL_UP: &str = "adit_tunnel_up";
const TUNNEL_RTT: &str = "adit_tunnel_rtt_seconds";
const TUNNEL_SENT: &str = "adit_tunnel_packets_sent";
const TUNNEL_LOST: &str = "adit_tunnel_packets_lost";
const PATH_CHANGES: &str = "adit_path_changes_total";
const MIRTH_UP: &str = "adit_mirth_up";
const LEAF_EXPIRES: &str = "adit_leaf_expiry_timestamp";
/// Labelled `reason`: repeated, or unread.
pub(crate) const LOG_LEFT_OUT: &str = "adit_log_lines_left_out_total";
const WORKING: &str = "adit_entry_working";
const PORT_OPEN: &str = "adit_source_port_open";
const BYTES: &str = "adit_bytes_total";
const STREAMS: &str = "adit_streams";
const STREAMS_OPENED: &str = "adit_streams_opened_total";
const STREAMS_CUT: &str = "adit_streams_cut_total";
const LIMIT_REACHED: &str = "adit_streams_limit_reached_total";
const SILENT_RESET: &str = "adit_streams_silent_reset_total";
const REFUSED_USERS: &str = "adit_local_users_refused_total";
const MESSAGES: &str = "adit_messages_total";
const ACKS: &str = "adit_acknowledgements_total";
const ACK_LATENCY: &str = "adit_acknowledgement_seconds";
const DICOM_OPEN: &str = "adit_dicom_associations";
/// Labelled `outcome`: accepted, rejected, released, aborted, lost with its TCP
/// connection, or unobserved from some byte on.
const DICOM_ASSOCIATIONS: &str = "adit_dicom_associations_total";
const DICOM_REQUESTS: &str = "adit_dicom_requests_total";
const DICOM_OBJECTS: &str = "adit_dicom_objects_total";
const DICOM_BYTES: &str = "adit_dicom_object_bytes_total";
const DICOM_STORE_LATENCY: &str = "adit_dicom_store_seconds";
/// Labelled `outcome`: forwarded, answered here, refused.
const ADMIN_REQUESTS: &str = "adit_admin_requests_total";

pub const CONTROL_LINKS: &str = "adit_gateway_control_links";
const DATABASE_UP: &str = "adit_gateway_database_up";
pub const CONTROL_NEWCOMERS_HELD: &str = "adit_gateway_control_newcomers";
/// Labelled `why`, one of a fixed few words.
pub const NEWCOMERS_GONE: &str = "adit_gateway_control_newcomers_gone_total";
/// Labelled `outcome`, one of a fixed few words.
pub const ENROLMENTS: &str = "adit_gateway_enrolments_total";
/// Labelled `why`, one of a fixed few words.
pub const CARRIERS_ENDED: &str = "adit_gateway_carriers_ended_total";
pub const LINK_REFUSALS: &str = "adit_gateway_link_refusals_total";
/// Labelled `reason`, one of a fixed few words.
pub const GATEWAY_DROPPED: &str = "adit_gateway_dropped_total";

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The whole list, as `/metrics` explains it.
const DESCRIPTIONS: &[(Kind, &str, &str)] = &[
    (Kind::Gauge, BUILD_INFO, "Always 1; the label says which version runs."),
    (Kind::Counter, LOG_LEFT_OUT, "Lines that the log has not, as repeats of others or unread; by reason."),
    (Kind::Gauge, CONTROL_LINK_UP, "1 while the agent's link to its gateway is up."),
    (
        Kind::Gauge,
        CONTROL_DATABASE_AWAY,
        "1 while the gateway says over that link that its database is away; 0 also while there is no link.",
    ),
    (
        Kind::Gauge,
        CONTROL_LINK_PATH,
        "1 for the path that the agent's link to its gateway uses; direct is UDP.",
    ),
    (
        Kind::Gauge,
        CARRIER_UP,
        "1 while the agent's WebSocket to TCP 443 is open, which carries the tcp path.",
    ),
    (Kind::Counter, CARRIERS_OPENED, "WebSockets to the gateway's TCP 443 that this agent opened."),
    (Kind::Counter, OWN_CARRIERS_ENDED, "Those that ended, by why; one that is not needed is closed."),
    (
        Kind::Counter,
        CARRIERS_NOT_OPENED,
        "How often none could be opened; the log and `adit status` say why.",
    ),
    (Kind::Counter, PEER_REFUSALS, "Peers this agent refused; the log and the audit say why."),
    (Kind::Counter, CONTROL_DROPPED, "Messages for the gateway that were dropped while its link was away."),
    (
        Kind::Counter,
        DROPPED_PACKETS,
        "Packets at the agent's UDP port or of its carrier that went nowhere, by reason.",
    ),
    (Kind::Counter, STREAMS_REFUSED, "TCP connections that were not carried, by reason."),
    (Kind::Counter, HANDSHAKES_UNFINISHED, "Handshakes that peers began and did not finish in time."),
    (Kind::Gauge, LEAF_EXPIRES, "When the agent's certificate expires, as Unix time; renewed daily."),
    (
        Kind::Counter,
        UNKNOWN_WORDS,
        "What a newer build said and this one does not know and read past, by kind; the log names it once.",
    ),
    (Kind::Gauge, WORKING, "1 while messages or requests can pass on a connection, as `adit health` has it."),
    (Kind::Gauge, TUNNEL_UP, "1 while a connection's tunnel is up, labelled with the path it uses."),
    (Kind::Gauge, TUNNEL_RTT, "Round-trip time of the tunnel that is up."),
    (Kind::Gauge, TUNNEL_SENT, "Packets sent by the tunnel that is up, since it came up."),
    (Kind::Gauge, TUNNEL_LOST, "Packets lost by the tunnel that is up, since it came up."),
    (Kind::Counter, PATH_CHANGES, "How often a tunnel's packets took another path; the log says why."),
    (Kind::Gauge, MIRTH_UP, "1 while the Mirth behind a connection answers, as far as it is known here."),
    (Kind::Gauge, PORT_OPEN, "1 while a source's port accepts connections from the local Mirth."),
    (Kind::Counter, BYTES, "Payload carried, by direction into or out of the tunnel."),
    (Kind::Gauge, STREAMS, "TCP connections carried now."),
    (Kind::Counter, STREAMS_OPENED, "TCP connections carried since the agent started."),
    (Kind::Counter, STREAMS_CUT, "TCP connections that ended in a reset since the agent started."),
    (Kind::Counter, LIMIT_REACHED, "How often as many TCP connections were open as `streams_max` allows."),
    (Kind::Counter, SILENT_RESET, "TCP connections reset at that limit because no byte ever passed on them."),
    (Kind::Counter, REFUSED_USERS, "Connections of users of this host that `allow_users` does not name."),
    (Kind::Counter, MESSAGES, "HL7 messages seen in passing, by message type."),
    (Kind::Counter, ACKS, "HL7 acknowledgements seen in passing, by type of the message and code."),
    (Kind::Histogram, ACK_LATENCY, "From the end of a message to the end of its acknowledgement, seen here."),
    (Kind::Gauge, DICOM_OPEN, "DICOM associations open now, seen in passing."),
    (
        Kind::Counter,
        DICOM_ASSOCIATIONS,
        "DICOM associations seen in passing, by calling AE title and outcome.",
    ),
    (Kind::Counter, DICOM_REQUESTS, "DICOM requests seen in passing, by operation."),
    (Kind::Counter, DICOM_OBJECTS, "Answered C-STOREs seen in passing, by class of their status."),
    (Kind::Counter, DICOM_BYTES, "Bytes of the objects of these C-STOREs."),
    (
        Kind::Histogram,
        DICOM_STORE_LATENCY,
        "From the end of an object to the end of its response, seen here.",
    ),
    (Kind::Counter, ADMIN_REQUESTS, "Requests of admin sessions judged here, by outcome."),
    (Kind::Gauge, CONTROL_LINKS, "Control links the gateway serves now."),
    (Kind::Gauge, DATABASE_UP, "1 while the gateway's database answers; before the start 0."),
    (Kind::Gauge, CONTROL_NEWCOMERS_HELD, "Control links whose agent is not known yet."),
    (
        Kind::Counter,
        NEWCOMERS_GONE,
        "Control links that ended, or were not answered, before their agent was known; by why.",
    ),
    (
        Kind::Counter,
        ENROLMENTS,
        "Enrolment requests, by outcome; `not read` has all TCP connections that broke off before one.",
    ),
    (Kind::Counter, LINK_REFUSALS, "Control links the gateway refused; the log and the audit say why."),
    (
        Kind::Counter,
        GATEWAY_DROPPED,
        "What agents and strangers sent or caused and the gateway left out; by reason.",
    ),
    (Kind::Counter, people::REQUESTS, "Requests of people and their programs, by route and class of status."),
    (Kind::Histogram, people::SECONDS, "From the head of a request to the head of its answer, by route."),
    (Kind::Counter, people::RATE_LIMITED, "Requests answered 429, by whom they were too many of."),
    (Kind::Gauge, PEOPLE_CONNECTIONS, "Connections kept open for users who have proven who they are."),
    (Kind::Gauge, EVENT_STREAMS, "Event streams that users have open."),
    (
        Kind::Gauge,
        people::CONSOLE_CERTIFICATE_EXPIRES,
        "When the certificate that browsers see expires, as Unix time.",
    ),
    (Kind::Counter, relay::PACKETS, "Packets forwarded between agents that have no direct path."),
    (Kind::Counter, relay::BYTES, "Bytes of the packets forwarded."),
    (Kind::Counter, relay::SENDS, "System calls that sent them; packets of one pair go out together."),
    (Kind::Counter, relay::ANSWERS, "Challenges and confirmations sent to agents that register."),
    (Kind::Gauge, relay::REGISTERED, "Agents that the relay reaches now."),
    (Kind::Counter, CARRIERS_ENDED, "Carriers that ended or were refused, by why."),
    (
        Kind::Gauge,
        relay::CARRIERS,
        "Agents' carriers on TCP 443 that are open now, by whether an agent has proven to own it.",
    ),
    (
        Kind::Counter,
        relay::DROPPED,
        "Packets at the gateway's UDP port or from carriers that were not passed on, by reason.",
    ),
];

/// Upper bounds in seconds: a LAN's hundredths to beyond the 5 s that a TCP Sender waits.
const ACK_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same up to the 60 s that a DICOM Sender waits.
const STORE_BUCKETS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];

/// Counts from now on; what was counted before is lost. Give the handle to [`serve`], which also
/// keeps what is counted compact.
pub fn install() -> Result<PrometheusHandle, MetricsError> {
    let handle = builder()
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|source| MetricsError::Install { source })?;
    describe();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(ACK_LATENCY.into()), &ACK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(DICOM_STORE_LATENCY.into()), &STORE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(people::SECONDS.into()), &people::SECONDS_BUCKETS)
}

fn describe() {
    for &(ref kind, name, help) in DESCRIPTIONS {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, help),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// Publishes how the control link's packets go; `None` while there is no link.
pub fn control_link_path(path: Option<PathKind>) {
    // No relay stands between an agent and its gateway.
    for kind in [PathKind::Direct, PathKind::Tcp] {
        gauge!(CONTROL_LINK_PATH, "path" => kind.as_str()).set(flag(path == Some(kind)));
    }
}

/// Publishes whether the gateway's database answers.
pub fn database_up(up: bool) {
    gauge!(DATABASE_UP).set(flag(up));
}

/// Publishes whether a carrier is open, from the start on.
pub fn carrier_up(up: bool) {
    gauge!(CARRIER_UP).set(flag(up));
}

/// Counts a carrier that was opened.
pub fn carrier_opened() {
    carrier_up(true);
    counter!(CARRIERS_OPENED).increment(1);
}

/// Counts a carrier that was open and has ended.
pub fn carrier_ended(why: &'static str) {
    carrier_up(false);
    counter!(OWN_CARRIERS_ENDED, "why" => why).increment(1);
}

/// Counts an attempt that opened none.
pub fn carrier_not_opened() {
    counter!(CARRIERS_NOT_OPENED).increment(1);
}

/// Counts a connection to an entry's port by a user of this host that may not connect.
pub fn refused_user(connection: &str) {
    counter!(REFUSED_USERS, "connection" => connection.to_owned()).increment(1);
}

/// Publishes how many packets went nowhere for a reason since the start.
pub fn dropped_packets(reason: &'static str, packets: u64) {
    counter!(DROPPED_PACKETS, "reason" => reason).absolute(packets);
}

/// Counts a TCP connection that was not carried.
pub fn refused_stream(connection: &str, reason: &'static str) {
    counter!(STREAMS_REFUSED, "connection" => connection.to_owned(), "reason" => reason).increment(1);
}

/// Counts a handshake that a peer left unfinished.
pub fn unfinished_handshake() {
    counter!(HANDSHAKES_UNFINISHED).increment(1);
}

/// Publishes until when the agent's certificate is good.
pub fn leaf_expires(at: Timestamp) {
    gauge!(LEAF_EXPIRES).set(as_gauge(u64::try_from(at.as_secs()).unwrap_or(0)));
}

/// What is true of one connection now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectionSample {
    pub tunnel: Option<TunnelSample>,
    /// `None` while nobody knows.
    pub mirth: Option<bool>,
    /// `None` at the target, which has no port.
    pub port_open: Option<bool>,
    /// Whether messages or requests can pass.
    pub works: bool,
    pub streams: usize,
    /// DICOM associations open now; `None` where another protocol is carried.
    pub associations: Option<u64>,
    /// These six since the agent started.
    pub limit_reached: u64,
    pub silent_reset: u64,
    pub streams_opened: u64,
    pub streams_cut: u64,
    pub bytes_into_tunnel: u64,
    pub bytes_out_of_tunnel: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TunnelSample {
    /// `None` until it is known.
    pub path: Option<PathKind>,
    /// Since the agent wanted the peer.
    pub path_changes: u64,
    pub rtt: Duration,
    pub packets_sent: u64,
    pub packets_lost: u64,
}

/// Publishes what is true of one connection; `connection` is the name in this host's own file.
pub fn connection(connection: &str, sample: &ConnectionSample) {
    let name = || connection.to_owned();
    for path in PathKind::ALL {
        let up = sample.tunnel.is_some_and(|tunnel| tunnel.path == Some(path));
        gauge!(TUNNEL_UP, "connection" => name(), "path" => path.as_str()).set(flag(up));
    }
    if let Some(tunnel) = sample.tunnel {
        gauge!(TUNNEL_RTT, "connection" => name()).set(tunnel.rtt);
        counter!(PATH_CHANGES, "connection" => name()).absolute(tunnel.path_changes);
        gauge!(TUNNEL_SENT, "connection" => name()).set(as_gauge(tunnel.packets_sent));
        gauge!(TUNNEL_LOST, "connection" => name()).set(as_gauge(tunnel.packets_lost));
    }
    if let Some(mirth) = sample.mirth {
        gauge!(MIRTH_UP, "connection" => name()).set(flag(mirth));
    }
    if let Some(open) = sample.port_open {
        gauge!(PORT_OPEN, "connection" => name()).set(flag(open));
    }
    gauge!(WORKING, "connection" => name()).set(flag(sample.works));
    gauge!(STREAMS, "connection" => name()).set(as_gauge(sample.streams as u64));
    if let Some(open) = sample.associations {
        gauge!(DICOM_OPEN, "connection" => name()).set(as_gauge(open));
    }
    counter!(STREAMS_OPENED, "connection" => name()).absolute(sample.streams_opened);
    counter!(STREAMS_CUT, "connection" => name()).absolute(sample.streams_cut);
    counter!(LIMIT_REACHED, "connection" => name()).absolute(sample.limit_reached);
    counter!(SILENT_RESET, "connection" => name()).absolute(sample.silent_reset);
    counter!(BYTES, "connection" => name(), "direction" => "in").absolute(sample.bytes_into_tunnel);
    counter!(BYTES, "connection" => name(), "direction" => "out").absolute(sample.bytes_out_of_tunnel);
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^53 packets are never reached")]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
