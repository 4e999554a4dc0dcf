//! Every bound of the system, named once. A bound's overflow has a test where it is used.

use std::num::NonZeroU32;
use std::time::Duration;

use super::connection::Protocol;

/// A tunnel must have exchanged both proofs this long after its QUIC handshake.
pub const TUNNEL_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// What may be read on a tunnel's first stream before both proofs are verified.
pub const TUNNEL_OPEN_BYTES_MAX: usize = 4 * 1024;
/// TCP connections carried by one tunnel at a time, unless the agent's file says otherwise.
pub const TUNNEL_STREAMS_MAX: u32 = 1_024;
/// The most an agent's file may ask for in its place.
pub const TUNNEL_STREAMS_ALLOWED: u32 = 16_384;
/// What a stream may have under way before its receiver has written any of it to its local socket.
pub const STREAM_CREDIT_INITIAL: u64 = 256 * 1024;
/// The most a draining stream's credit may grow to: 50 ms × 1 Gbit/s needs 6.25 MB.
pub const STREAM_CREDIT_MAX: u64 = 16 * 1024 * 1024;
/// What all streams of one tunnel together may be granted beyond their initial credit.
pub const TUNNEL_CREDIT_BUDGET: u64 = 64 * 1024 * 1024;
/// A stream's window grows as if no round trip were shorter: on fast paths wake-ups are the delay.
pub const CREDIT_ROUND_TRIP_MIN: Duration = Duration::from_millis(5);
/// Sent but not yet acknowledged bytes of one tunnel.
pub const TUNNEL_SEND_WINDOW: u64 = 16 * 1024 * 1024;

/// How long the target waits for its Mirth to accept a TCP connection.
pub const TARGET_DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long bytes sent before a reset may take to reach the far socket.
pub const RESET_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Tunnel silent for so long: the source's port closes.
pub const TUNNEL_SILENCE: Duration = Duration::from_secs(3);
/// The peer's agent is heard but acknowledges nothing on the tunnel for so long: it has ended it. After
/// an outage QUIC asks less often, and more time is given.
pub const TUNNEL_UNANSWERED: Duration = Duration::from_secs(10);
pub const TUNNEL_UNANSWERED_MAX: Duration = Duration::from_secs(60);
/// A tunnel that is not answered, or does not answer, though its peer is heard, is made to send this
/// often.
pub const TUNNEL_STIRRED_EVERY: Duration = Duration::from_secs(1);
/// After a silence of so long, what a tunnel asked before does not count.
pub const TUNNEL_ASKED_ANEW_AFTER: Duration = Duration::from_secs(2);
/// The peer must have been heard within this for the source's port to open.
pub const PEER_HEARD_WITHIN: Duration = Duration::from_secs(5);
/// Health must have lasted this long before a closed port opens again.
pub const PORT_REOPEN_AFTER: Duration = Duration::from_secs(2);
/// Without a real dial for so long, the target probes its Mirth.
pub const MIRTH_PROBE_AFTER: Duration = Duration::from_secs(10);

/// Silence of a tunnel after which its open sockets are reset. MLLP stays below the sender's 5 s:
/// a late acknowledgement would be matched to the next message.
#[must_use]
pub const fn stall_limit(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Mllp => Duration::from_secs(4),
        Protocol::Dicom | Protocol::Tcp => Duration::from_secs(60),
    }
}

/// The same for admin sessions: Mirth takes its time over a large answer.
pub const ADMIN_STALL_LIMIT: Duration = Duration::from_secs(60);
/// HTTP connections carried by one admin tunnel at a time, unless the agent's file says otherwise: the
/// Administrator keeps two, a browser six.
pub const ADMIN_STREAMS_MAX: u32 = 64;
/// A client's TLS handshake with the managing side's agent, and its head's first sign of a Host.
pub const ADMIN_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head, from its first byte.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that is read before it is judged, from the end of its head.
pub const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A body that is passed on as it comes, and an answer: so long without a byte.
pub const ADMIN_STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// An HTTP connection without a request; the Administrator asks every 20 s.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bodies beyond [`ADMIN_SMALL_BODY_BYTES`] that one agent holds at a time.
pub const ADMIN_LARGE_BODIES_MAX: usize = 2;
pub const ADMIN_SMALL_BODY_BYTES: usize = 1024 * 1024;
/// What may be read of a client's next request while Mirth answers the one before.
pub const ADMIN_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// A session ends when its client has had no connection for so long.
pub const ADMIN_SESSION_IDLE: Duration = Duration::from_secs(60);
/// Sessions of one admin connection at a time: addresses that the managing side's clients come from.
pub const ADMIN_SESSIONS_MAX: usize = 64;
/// How often the gateway hears of a session whose counts rise.
pub const ADMIN_REPORT_EVERY: Duration = Duration::from_secs(60);
/// Refused requests of one admin connection that are answered at once, and then each second: each is
/// written to disk first.
pub const ADMIN_REFUSALS_BURST: u32 = 1_000;
pub const ADMIN_REFUSALS_PER_SECOND: u32 = 20;
/// Requests of one admin connection that are sent on at once, and then each second.
pub const ADMIN_REQUESTS_BURST: u32 = 2_000;
pub const ADMIN_REQUESTS_PER_SECOND: u32 = 500;
/// Wrong passwords over one admin connection, and then each second: whoever says who asks waits for them.
pub const ADMIN_WRONG_LOGINS_BURST: u32 = 10;
pub const ADMIN_WRONG_LOGINS_PER_SECOND: u32 = 1;
/// The request in hand when a connection is paused must be whole within this.
pub const ADMIN_LAST_REQUEST: Duration = Duration::from_secs(30);
/// Channels of which one client's connection remembers that Mirth has them.
pub const ADMIN_CHANNELS_KNOWN_MAX: usize = 4_096;
/// How far the gateway's word on the time may be from what this host knows of it.
pub const CLOCK_STEP_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an agent may have been off whose host lost its clock meanwhile.
pub const CLOCK_LOST_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often the same kind of thing that the gateway said and was not taken is written down.
pub const NOT_TAKEN_SAID_EVERY: Duration = Duration::from_hours(1);
/// Secrets of one connection that an agent keeps: the gateway may go back to an earlier one when it
/// is restored.
pub const SECRETS_KEPT_MAX: usize = 4;
/// The gateway must have confirmed the rules within this for an admin session (DESIGN §3).
pub const ADMIN_RULES_CONFIRMED_WITHIN: Duration = Duration::from_hours(1);
/// Of Mirth's answers to the agent itself: its version, and its list of operations.
pub const MIRTH_VERSION_BYTES_MAX: usize = 1024;
pub const MIRTH_WADL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Operations unknown to adit that are named in log and status; all are denied.
pub const MIRTH_UNKNOWN_NAMED_MAX: usize = 32;
/// Networks that one managing entry may let in, and names by which people open it.
pub const ADMIN_NETWORKS_MAX: usize = 64;

/// The longest stall limit an agent's file may ask for.
pub const STALL_LIMIT_SECONDS_MAX: u32 = 3_600;

/// One control message on the wire.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
pub const CONTROL_HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// A control link is dead after this many heartbeats went unanswered.
pub const CONTROL_HEARTBEATS_MISSED_MAX: u32 = 3;
pub const CONTROL_BACKOFF_MIN: Duration = Duration::from_millis(500);
pub const CONTROL_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A link that lasted this long resets its back-off.
pub const CONTROL_LASTED: Duration = Duration::from_secs(30);
/// Control links a gateway serves at a time.
pub const CONTROL_LINKS_MAX: usize = 10_000;
/// Handshake, hello and every other single step of a control link's opening.
pub const CONTROL_OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// An expired leaf must have been renewed this long after its link opened.
pub const CONTROL_RENEW_TIMEOUT: Duration = Duration::from_secs(30);
/// What an agent may say at once after it connected, and then each second.
pub const CONTROL_MESSAGES_BURST: u32 = 4_096;
pub const CONTROL_MESSAGES_PER_SECOND: u32 = 200;
/// How often the gateway looks for changes that another process wrote.
pub const RULES_POLL_EVERY: Duration = Duration::from_millis(250);
/// How often the gateway looks for sealed secrets whose time is over.
pub const SECRETS_SWEPT_EVERY: Duration = Duration::from_mins(1);
/// How long a stopping gateway waits for its links to end.
pub const GATEWAY_STOP_TIMEOUT: Duration = Duration::from_secs(5);

pub const TUNNEL_BACKOFF_MIN: Duration = Duration::from_millis(250);
pub const TUNNEL_BACKOFF_MAX: Duration = Duration::from_secs(10);
pub const TUNNEL_LASTED: Duration = Duration::from_secs(10);

/// Handshakes an endpoint holds before it has decided on them, and their buffers (each, all).
pub const ENDPOINT_INCOMING_MAX: usize = 64;
pub const ENDPOINT_INCOMING_BYTES_EACH: u64 = 64 * 1024;
pub const ENDPOINT_INCOMING_BYTES_ALL: u64 = 1024 * 1024;

/// How often the route to a peer is probed while a tunnel is wanted.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe of the path in use that was not answered is repeated sooner.
pub const PROBE_AGAIN: Duration = Duration::from_millis(250);
/// First pause between two probes of a candidate; it doubles up to the second while none answers.
/// A path better than the one in use is probed at that pace for good.
pub const PROBE_SEARCH_MIN: Duration = Duration::from_millis(10);
pub const PROBE_SEARCH_MAX: Duration = Duration::from_secs(2);
/// How often a path worse than the one in use is probed.
pub const PROBE_STANDBY_EVERY: Duration = Duration::from_secs(15);
/// Probes of one route that leave a second of our own accord, whatever is searched.
pub const PROBES_PER_SECOND: u32 = 256;
/// A probe unanswered for so long is a gap: behind the path in use all others are searched.
pub const PATH_DOUBT: Duration = Duration::from_secs(1);
/// A path that has not answered for so long is given up for the next one that does.
pub const PATH_SILENCE: Duration = Duration::from_secs(3);
/// A kind of path that was given up must answer so long without a gap before it is used again. Each
/// time it is given up again this doubles, up to the second, until it has served for the third.
pub const CLIMB_AFTER: Duration = Duration::from_secs(30);
pub const CLIMB_AFTER_MAX: Duration = Duration::from_secs(480);
pub const CLIMB_LASTED: Duration = Duration::from_mins(10);
/// An answer that comes later than this after its probe proves nothing.
pub const PROBE_ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Probes of one route waiting for their answer; the oldest is forgotten first.
pub const PROBES_OUTSTANDING_MAX: usize = 256;
/// A validated source that has answered nothing for so long must answer anew.
pub const SOURCE_LAPSES_AFTER: Duration = Duration::from_mins(1);
/// What every path must carry (RFC 9000 §14).
pub const QUIC_MTU_MIN: usize = 1_200;
/// The longest probe or answer: the longest datagram that QUIC may send.
pub const PROBE_BYTES_MAX: usize = 6_500;
/// Candidate addresses one peer may announce.
pub const PEER_ADDRESSES_MAX: usize = 16;
/// Probes of one peer that are answered a second: so many from validated sources, so many through
/// the relay, and so many from all others together.
pub const PROBE_ANSWERS_PER_SECOND: u32 = 20;

/// How often an agent tells the relay where it is, and how soon again while it is not answered.
pub const REGISTER_EVERY: Duration = Duration::from_secs(15);
pub const REGISTER_AGAIN_MIN: Duration = Duration::from_millis(250);
pub const REGISTER_AGAIN_MAX: Duration = Duration::from_secs(2);
/// An agent that has not told the relay for so long is not reached through it any more.
pub const REGISTRATION_LASTS: Duration = Duration::from_mins(1);
/// Attempts to register whose answer still counts; it covers round trips up to two seconds.
pub const REGISTERS_OUTSTANDING_MAX: usize = 4;
/// Unasked challenges that an agent confirms a second.
pub const CONFIRMS_PER_SECOND: u32 = 20;
/// Agents that the relay knows at a time: those with a control link, and those whose link has just
/// ended.
pub const RELAY_MEMBERS_MAX: usize = 2 * CONTROL_LINKS_MAX;
/// Peers that one agent may reach through the relay, and pairs of all agents together, each way
/// counted.
pub const RELAY_PEERS_MAX: usize = 16_384;
pub const RELAY_PAIRS_MAX: usize = 262_144;
/// How long a challenge may be confirmed, in its own steps of a second.
pub const RELAY_CHALLENGE_SECONDS: u64 = 3;
/// Packets the relay answers an agent a second: new ones, those that merely claim to be its own,
/// and repetitions of a confirmation each; and repetitions of one Register in all.
pub const RELAY_ANSWERS_PER_SECOND: u32 = 20;
pub const RELAY_REPEATS_ANSWERED_MAX: u32 = 4;
/// Confirmations of one agent that the relay remembers as counted; more than can be earned while
/// one is valid.
pub const RELAY_CONFIRMS_KEPT_MAX: usize = 8;
/// How far an organization's traffic may run ahead of its bandwidth.
pub const RELAY_BURST: Duration = Duration::from_millis(100);
/// The most bandwidth a gateway's file may give an organization: a terabit.
pub const RELAY_MEGABITS_MAX: u32 = 1_000_000;
/// Packets for the gateway itself that wait for its endpoint, how many of one received batch may
/// join them, and how long one may be.
pub const GATEWAY_OWN_QUEUED_MAX: usize = 1_024;
pub const GATEWAY_OWN_OF_BATCH_MAX: usize = 256;
pub const GATEWAY_OWN_BYTES_MAX: usize = PROBE_BYTES_MAX;
/// Orders to the relay's thread that wait while it works through a batch.
pub const RELAY_COMMANDS_QUEUED_MAX: usize = 1_024;

/// Body of an enrolment request, its deadline, and how many one address may make a minute.
pub const ENROL_BODY_BYTES_MAX: usize = 16 * 1024;
pub const ENROL_TIMEOUT: Duration = Duration::from_secs(10);
pub const ENROL_PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// TCP connections the gateway's enrolment endpoint serves at a time.
pub const ENROL_CONNECTIONS_MAX: usize = 256;
/// Addresses whose attempts are counted one by one; beyond that, newcomers wait.
pub const DOOR_ADDRESSES_MAX: usize = 16_384;
/// Refusals of one kind, or of one address, that are written to an audit log a minute; all are
/// counted.
pub const REFUSALS_AUDITED_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Kinds of refusals (which peer, which reason) that an agent tells apart at a time.
pub const REFUSAL_KINDS_MAX: usize = 1_024;
/// Rules that an agent keeps of connections that its own file does not name.
pub const RULES_FOREIGN_MAX: usize = 256;
/// Ended connections, and revoked keys, that an agent keeps beside those of its own file and the keys
/// known there.
pub const WORDS_FOREIGN_MAX: usize = 4_096;
/// Connections that an agent may ask about at once: all that its file can name.
pub const CONNECTIONS_ASKED_MAX: usize = 4 * ENTRIES_MAX;
/// Rules, and revoked keys, in one message of a snapshot; a longer one has several.
pub const SNAPSHOT_RULES_MAX: usize = 256;
pub const SNAPSHOT_KEYS_MAX: usize = 4_096;

pub const LEAF_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Leaves are valid from this long before they are signed: hospital clocks are wrong.
pub const LEAF_BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// A leaf may be valid for so much longer than its life and its backdating: clocks are read twice.
pub const LEAF_SLACK: Duration = Duration::from_secs(3600);
pub const LEAF_RENEW_EVERY: Duration = Duration::from_secs(24 * 3600);
pub const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

pub const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(3600);
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Both agents hold a P2P secret for so long: the gateway forgets it, viewed or not.
pub const SECRET_KEPT_AFTER_HELD: Duration = Duration::from_secs(72 * 3600);

/// How long an admin offer may be accepted, unless its maker chooses, and what can be chosen.
pub const OFFER_LIFE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
pub const OFFER_LIFE_MIN: Duration = Duration::from_secs(3600);
pub const OFFER_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the owner of a managed server may view an admin connection's secret within how long.
pub const ADMIN_SECRET_VIEWS_MAX: u32 = 5;
pub const ADMIN_SECRET_VIEWS_WITHIN: Duration = Duration::from_secs(3600);
/// Admin sessions of one connection whose starts, and whose ends, one side's agent has in rows of their
/// own within a minute; what goes beyond is counted in these.
pub const ADMIN_SESSION_ROWS_PER_MINUTE: u64 = 32;

/// Public names and descriptions, in characters.
pub const NAME_CHARS_MAX: usize = 80;
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Message types and codes a metric may carry as labels before the rest is counted as `other`.
pub const METRIC_LABELS_MAX: usize = 64;
/// Collectors of metrics served at a time, and how long one may take.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
pub const METRICS_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A message a stand-in of the demo takes, what its journal remembers, and the TCP connections it
/// serves at a time.
pub const STAND_IN_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const STAND_IN_JOURNAL_MAX: usize = 2_000_000;
pub const STAND_IN_CONNECTIONS_MAX: usize = 4_096;
/// Requests a stand-in of Mirth's HTTPS port remembers, the sessions it holds, the head it takes (as
/// Mirth's own server does), and the body it keeps where it keeps one at all.
pub const STAND_IN_REQUESTS_MAX: usize = 100_000;
pub const STAND_IN_SESSIONS_MAX: usize = 10_000;
pub const STAND_IN_HEAD_BYTES_MAX: usize = 8 * 1024;
pub const STAND_IN_BODY_BYTES_KEPT_MAX: usize = 16 * 1024 * 1024;
/// Addresses that send through one shim, and what may wait in each of its directions.
pub const SHIM_CLIENTS_MAX: usize = 64;
pub const SHIM_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// An MLLP message's header segment, as far as the observer looks for MSH-9 and MSA-1.
pub const MLLP_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Messages of one TCP connection whose acknowledgement is awaited for its latency.
pub const MLLP_AWAITED_MAX: usize = 256;
/// A DICOM association request or its acceptance: 128 presentation contexts with all their transfer
/// syntaxes are a tenth of it.
pub const DICOM_ASSOCIATE_BYTES_MAX: u32 = 1024 * 1024;
/// A DICOM message's command set, as far as the observer reads one.
pub const DICOM_COMMAND_BYTES_MAX: usize = 16 * 1024;
/// C-STOREs of one side of an association whose response is awaited for their size and latency.
pub const DICOM_AWAITED_MAX: usize = 256;
/// The head of a request to a managed Mirth, or of its answer, with its first line and the empty one.
/// Mirth itself takes 8 KiB.
pub const ADMIN_HEAD_BYTES_MAX: usize = 32 * 1024;
pub const ADMIN_HEADERS_MAX: usize = 100;
/// The target in such a request line, and its method; the longest registered one has 17 letters.
pub const ADMIN_TARGET_BYTES_MAX: usize = 8 * 1024;
pub const ADMIN_METHOD_BYTES_MAX: usize = 32;
/// A file in a state folder: rules and secrets of some thousand connections fit.
pub const PRIVATE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Entries of one kind in an agent's file.
pub const ENTRIES_MAX: usize = 1_024;
/// Addresses an agent's file may add to those the agent finds by itself.
pub const DIRECT_ADDRESSES_MAX: usize = 8;
/// Addresses of one gateway in a connector file.
pub const GATEWAY_ADDRESSES_MAX: usize = 8;
/// A configuration file of ours.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// How long a writer of the gateway's database waits for another process to finish.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers of the gateway's database at a time.
pub const STORE_READERS_MAX: u32 = 4;
/// How often the state of one side of a connection is written, at most.
pub const FACT_WRITE_EVERY: Duration = Duration::from_secs(1);
/// And when nothing but the time of its last acknowledgement is new.
pub const ACK_TIME_WRITE_EVERY: Duration = Duration::from_secs(30);
/// Audit rows one request may ask for.
pub const AUDIT_ROWS_MAX: u32 = 10_000;
