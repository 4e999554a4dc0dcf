//! Every bound of the system, named once. A bound's overflow has a test where it is used.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::connection::Protocol;
use super::places::Bounds;

/// The QUIC handshake of a tunnel over a path that answers takes a few round trips.
pub const TUNNEL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A tunnel must have exchanged both proofs this long after its QUIC handshake.
pub const TUNNEL_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// What may be read on a tunnel's first stream before both proofs are verified.
pub const TUNNEL_OPEN_BYTES_MAX: usize = 4 * 1024;
/// TCP connections carried by one tunnel at a time, unless the agent's file says otherwise.
pub const TUNNEL_STREAMS_MAX: u32 = 1_024;
/// The most an agent's file may ask for in its place.
pub const TUNNEL_STREAMS_ALLOWED: u32 = 16_384;
/// Returns the number of streams that a peer may have open in QUIC, where `streams` are carried at a time.
/// Ended ones count there until quinn tells of them, which it does by eighths only; the limit that is meant
/// is counted by us.
#[must_use]
pub const fn quic_streams(streams: u32) -> u32 {
    streams.saturating_mul(2).saturating_add(64)
}

/// How long a stream waits at the target for a place that one before it is about to leave.
pub const PLACE_WAIT_MAX: Duration = Duration::from_secs(1);
/// A local connection on which no byte ever passed for so long makes room when its port's limit is reached.
pub const SILENT_GRACE: Duration = Duration::from_secs(10);
/// How often a log hears that a port's limit was reached, at most.
pub const LIMIT_SAID_EVERY: Duration = Duration::from_secs(60);
/// How long a port stays closed after the peer said that it carries as many as it may, unless one ends.
pub const PEER_FULL_PORT_CLOSED: Duration = Duration::from_secs(5);
/// How long a port stays closed that cannot accept, because something of the host ran out.
pub const STARVED_PORT_CLOSED: Duration = Duration::from_secs(1);
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
pub const TUNNEL_PINGED_EVERY: Duration = Duration::from_secs(1);
/// After a silence of so long, what a tunnel asked before does not count.
pub const TUNNEL_ASKED_ANEW_AFTER: Duration = Duration::from_secs(2);
/// Health must have lasted this long before a closed port opens again.
pub const PORT_REOPEN_AFTER: Duration = Duration::from_secs(2);
/// Without a real dial for so long, the target probes its Mirth.
pub const MIRTH_PROBE_AFTER: Duration = Duration::from_secs(10);

/// Returns the silence of a tunnel after which its open sockets are reset. MLLP stays below the sender's 5 s:
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
/// Clients of one admin connection that have not asked for anything yet, at a time.
pub const ADMIN_NEWCOMERS_MAX: usize = 64;
pub const ADMIN_NEWCOMERS: Bounds =
    Bounds { all: ADMIN_NEWCOMERS_MAX, of_network: ADMIN_NEWCOMERS_MAX, of_address: ADMIN_NEWCOMERS_MAX };
/// A client that was answered and has asked for nothing for so long goes when its place is needed.
pub const ADMIN_QUIET_AFTER: Duration = Duration::from_secs(10);
/// A client's TLS handshake with the managing side's agent, and its head's first sign of a Host.
pub const ADMIN_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head, from its first byte.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that is read before it is judged, from the end of its head.
pub const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that sends a body, or takes an answer: so long without a byte. And one that has ended its
/// requests: so long without an answer, because nothing tells whether it still waits. Mirth itself may take
/// as long as it likes.
pub const ADMIN_STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// An HTTP connection without a request; the Administrator asks every 20 s.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bodies beyond [`ADMIN_SMALL_BODY_BYTES`] that one agent holds at a time.
pub const ADMIN_LARGE_BODIES_MAX: usize = 2;
pub const ADMIN_SMALL_BODY_BYTES: usize = 1024 * 1024;
/// An answer of Mirth that is held whole to be rewritten: a launch file, a user's preferences.
pub const ADMIN_REWRITTEN_BYTES_MAX: usize = 1024 * 1024;
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
/// Refusals at one side of an admin connection that have a line of their own in the audit, at once and then
/// one in each of these spans. Whatever goes beyond is summed up in two lines a minute: with lines of some
/// 400 bytes that is 7 MB on the worst of days.
pub const ADMIN_REFUSALS_DETAILED_BURST: u32 = 2_000;
pub const ADMIN_REFUSALS_DETAILED_EVERY: Duration = Duration::from_secs(10);
/// Kinds of refusals that one such sum tells apart.
pub const ADMIN_REFUSAL_KINDS_MAX: usize = 8;
/// Requests of which Mirth may make a session, which it keeps for days: at once, and then each second.
pub const ADMIN_MIRTH_SESSIONS_BURST: u32 = 1_000;
pub const ADMIN_MIRTH_SESSIONS_PER_SECOND: u32 = 5;
/// Requests of one admin connection that are sent on at once, and then each second.
pub const ADMIN_REQUESTS_BURST: u32 = 2_000;
pub const ADMIN_REQUESTS_PER_SECOND: u32 = 500;
/// Passwords over one admin connection that Mirth has not proven right, at once and then each second.
pub const ADMIN_WRONG_LOGINS_BURST: u32 = 10;
pub const ADMIN_WRONG_LOGINS_PER_SECOND: u32 = 1;
/// How long one that carries a password waits for its turn before it is refused.
pub const ADMIN_LOGIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Records of Mirth's own audit that one admin connection sends at once, and then each second: the
/// Administrator sends one for each message that is looked at.
pub const ADMIN_AUDITS_BURST: u32 = 20;
pub const ADMIN_AUDITS_PER_SECOND: u32 = 5;
/// KiB of requests that Mirth writes into its event log as they are, at once and then each second.
pub const ADMIN_EVENTS_BURST: u32 = 1_000;
pub const ADMIN_EVENTS_PER_SECOND: u32 = 50;
/// Questions of the agent's own whether Mirth has a channel, at once and then each second.
pub const ADMIN_QUESTIONS_BURST: u32 = 2_000;
pub const ADMIN_QUESTIONS_PER_SECOND: u32 = 100;
/// How long Mirth's word that it has a channel counts: the Administrator's views ask every 20 s, and one that
/// was removed is asked for again before long.
pub const ADMIN_CHANNEL_KNOWN_FOR: Duration = Duration::from_secs(30);
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

/// Users of this host that one entry may let connect.
pub const ALLOWED_USERS_MAX: usize = 64;
/// Connections of other users to one entry's port that are written down at once, and then one in each of
/// these; all are counted.
pub const REFUSED_USERS_AUDITED_BURST: u32 = 10;
pub const REFUSED_USERS_AUDITED_EVERY: Duration = Duration::from_secs(6);

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
/// Control links that have not proven whose they are, at a time. As many as may begin within a second
/// ([`HANDSHAKES_OF_ALL_EACH`]): when all agents come at once, each handshake has so long before its place is needed.
pub const CONTROL_NEWCOMERS_MAX: usize = 1_024;
pub const CONTROL_NEWCOMERS: Bounds = Bounds { all: CONTROL_NEWCOMERS_MAX, of_network: 512, of_address: 256 };
/// From an agent's first packet to its verified leaf: two round trips of a second, and one packet lost.
pub const CONTROL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);
/// Handshakes that nobody finishes, at once and then one in each: of one address, of one network, of all.
/// One that is finished does not count. An honest agent at a flooding address gets its turn among them, so
/// that address may have many; what was given up lingers for about a second (RFC 9000 §10.2).
pub const HANDSHAKES_OF_ADDRESS_BURST: u32 = 64;
pub const HANDSHAKES_OF_ADDRESS_EACH: Duration = Duration::from_micros(3_333);
pub const HANDSHAKES_OF_NETWORK_BURST: u32 = 128;
pub const HANDSHAKES_OF_NETWORK_EACH: Duration = Duration::from_micros(2_500);
pub const HANDSHAKES_OF_ALL_BURST: u32 = 512;
pub const HANDSHAKES_OF_ALL_EACH: Duration = Duration::from_millis(1);
/// Words of a gateway that it knows nothing of a link (RFC 9000 §10.3), one in each: after a restart ten thousand
/// agents hear so within one heartbeat. None is longer than the packet that it answers.
pub const GATEWAY_RESETS_EACH: Duration = Duration::from_micros(250);
/// Links that one agent's key may open at once, and then one in each.
pub const CONTROL_OPENINGS_BURST: u32 = 32;
pub const CONTROL_OPENINGS_EACH: Duration = Duration::from_secs(2);
/// Runs of one agent of which the gateway knows that they had a link.
pub const RUNS_OF_AGENT_KEPT_MAX: usize = 8;
/// How long an agent says of itself that another copy of it runs, unless the gateway says so again. Copies
/// take turns at least every two longest back-offs.
pub const COPY_SAID_FOR: Duration = Duration::from_mins(5);
/// Lines of one kind that an agent writes of one connection at once, how often one that counts the repeats
/// follows, and how many kinds are told apart.
pub const REPEATS_BURST: u32 = 4;
pub const REPEATS_SUMMED_EVERY: Duration = Duration::from_mins(1);
pub const REPEATED_KINDS_MAX: usize = 32;
/// Leaves that one agent may have renewed at once, and then one in each; it asks once a day.
pub const RENEWALS_BURST: u32 = 8;
pub const RENEWALS_EACH: Duration = Duration::from_secs(30);
/// What an agent may send before its key is authorized.
pub const CONTROL_OPENING_BYTES_MAX: u32 = 16 * 1024;
/// After its first line, what repeats has one line in each of these that counts it.
pub const REPEATS_WRITTEN_EVERY: Duration = Duration::from_hours(1);
/// Who is told to wait, or left waiting, has a line at once and then one in each of these that counts.
pub const THROTTLED_SAID_EVERY: Duration = Duration::from_mins(1);
/// Kinds of ends and attempts (which one, from where) that the gateway's log tells apart at a time.
pub const LINK_END_KINDS_MAX: usize = 256;
/// Handshake, hello and every other single step of a control link's opening.
pub const CONTROL_OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// An expired leaf must have been renewed this long after its link opened.
pub const CONTROL_RENEW_TIMEOUT: Duration = Duration::from_secs(30);
/// What an agent may say at once after it connected, and then each second.
pub const CONTROL_MESSAGES_BURST: u32 = 4_096;
pub const CONTROL_MESSAGES_PER_SECOND: u32 = 200;
/// Messages of one agent that wait for the gateway's database; then its link is not read until one is served.
pub const CONTROL_WAITING_MAX: usize = 256;
/// How long a link that ends is served what its agent had said before.
pub const CONTROL_LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// Links that read or write the gateway's database at a time; the others wait for their turn.
pub const CONTROL_TURNS_MAX: usize = 8;
/// Rows of the feed that are read at once, and servers whose changes wait for the relay one by one; what goes
/// beyond means all.
pub const CHANGES_READ_MAX: u32 = 1_000;
pub const CHANGED_SERVERS_MAX: usize = 4_096;
/// Servers that are asked about in one statement.
pub const SERVERS_ASKED_MAX: usize = 512;
/// Rows of the feed that are kept: who is further behind reads everything again.
pub const CHANGES_KEPT_MAX: u32 = 100_000;
/// How soon a database that is away is asked again.
pub const DATABASE_ASKED_MIN: Duration = Duration::from_millis(250);
pub const DATABASE_ASKED_MAX: Duration = Duration::from_secs(5);
/// How often a gateway says in the database that it lives, and how long that counts.
pub const LEASE_RENEWED_EVERY: Duration = Duration::from_secs(10);
pub const LEASE_LASTS: Duration = Duration::from_secs(30);
/// How often the gateway looks for sealed secrets whose time is over.
pub const SECRETS_SWEPT_EVERY: Duration = Duration::from_mins(1);
/// How long an agent that stops waits for acknowledgements, answers and, with DICOM, associations. In all
/// it must end before `docker stop` kills it after 10 s.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
pub const STOP_DICOM_TIMEOUT: Duration = Duration::from_secs(8);
/// A TCP connection on which nothing passed for so long is at rest, where no more can be known of it.
pub const STOP_REST_AFTER: Duration = Duration::from_millis(250);
/// A peer that carries nothing ends its tunnel within this time once it was told.
pub const STOP_HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How long a peer whose agent said that it stops may be away before anybody is warned.
pub const STOPPED_PEER_EXCUSED: Duration = Duration::from_secs(60);
/// How long a gateway that said that it stops is dialled often: most are back in a moment.
pub const GATEWAY_RESTARTS_WITHIN: Duration = Duration::from_secs(10);
/// How long a stopping gateway waits for its links to end.
pub const GATEWAY_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an active connection may wait for its secret or a path before its owner hears of it.
pub const WAIT_UNSAID_MAX: Duration = Duration::from_secs(10);
pub const TUNNEL_BACKOFF_MIN: Duration = Duration::from_millis(250);
pub const TUNNEL_BACKOFF_MAX: Duration = Duration::from_secs(10);
pub const TUNNEL_LASTED: Duration = Duration::from_secs(10);

/// Handshakes an endpoint holds before it has decided on them, and their buffers (each, all). One beyond is refused,
/// and its agent waits before it comes again: there is room for a thousand that come at once while all is busy.
pub const ENDPOINT_INCOMING_MAX: usize = 1_024;
pub const ENDPOINT_INCOMING_BYTES_EACH: u64 = 64 * 1024;
pub const ENDPOINT_INCOMING_BYTES_ALL: u64 = 1024 * 1024;

/// Handshakes of peers that an agent has under way at a time, beside one for each peer that has none
/// yet, and what QUIC itself may hold of them before they are accepted: more than ever pass.
pub const HANDSHAKE_PLACES_MAX: usize = 256;
pub const TUNNELS_INCOMING_MAX: usize = 8_192;
/// Handshakes that one peer may begin at once for each place of its share; each second then as many as
/// it has places.
pub const HANDSHAKES_BURST_PER_PLACE: u32 = 4;
/// A peer that begins a handshake must have answered what it was sent within this. It covers a round
/// trip of 600 ms with a loss on either way.
pub const FIRST_FLIGHT_TIMEOUT: Duration = Duration::from_secs(3);
/// Initials of one handshake to the id that its peer is answered at: acknowledgements and repetitions.
pub const INITIALS_OF_PLACE_MAX: u32 = 64;
/// Keys that are tried on one tag: those of one peer whose hint fits.
pub const TAG_KEYS_TRIED_MAX: usize = 16;
/// Numbers of handshakes that may arrive out of order: every connection of a file dials at once.
pub const REPLAY_WINDOW: u32 = 2_048;
/// Peers that were named before, of which is remembered what they had used.
pub const PEERS_LEFT_MAX: usize = 1_024;

/// Returns how many handshakes one peer may have under way: two for each of its connections, within bounds.
#[must_use]
pub const fn handshake_share(connections: usize) -> u32 {
    match connections {
        0..=2 => 4,
        #[expect(clippy::cast_possible_truncation, reason = "it is below 32")]
        3..32 => connections as u32 * 2,
        _ => 64,
    }
}

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
/// A validated source that has answered nothing for so long must answer again.
pub const SOURCE_LAPSES_AFTER: Duration = Duration::from_mins(1);
/// What every path must carry (RFC 9000 §14).
pub const QUIC_MTU_MIN: usize = 1_200;
/// The longest probe or answer: the longest datagram that QUIC may send.
pub const PROBE_BYTES_MAX: usize = 6_500;
/// Candidate addresses one peer may announce.
pub const PEER_ADDRESSES_MAX: usize = 16;
/// Runs of a peer's agent that are remembered to be over.
pub const RUNS_OVER_MAX: usize = 8;
/// Probes of one peer that are answered a second: so many from validated sources, so many through
/// the relay, and from all others together so many of its known run and of another.
pub const PROBE_ANSWERS_PER_SECOND: u32 = 20;

/// Packets of our own that wait for an agent's route keeper, how many of them may come from addresses
/// that are not validated, and how many it takes in one turn.
pub const OWN_PACKETS_QUEUED_MAX: usize = 256;
pub const OWN_PACKETS_OF_STRANGERS_MAX: usize = 64;
pub const OWN_PACKETS_A_TURN: usize = 32;

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
/// Commands to the relay's thread that wait while it works through a batch.
pub const RELAY_COMMANDS_QUEUED_MAX: usize = 1_024;

/// One message of a carrier, from either end; a longer one ends it. A packet in it is no longer than the
/// longest datagram.
pub const CARRIER_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Packets that wait for a carrier to take them, in bytes, at either end; more are dropped, and QUIC repairs.
pub const CARRIER_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// QUIC's datagrams over a carrier as long as their connection has not been on UDP: what IPv6 carries over
/// any link, of 1,280 bytes (RFC 8200 §5) less the heads of IPv6 and UDP. Larger ones would hold it there, for
/// UDP must carry them before it is taken again.
pub const CARRIED_BYTES_UNTIL_UDP: usize = 1_280 - 40 - 8;
/// Messages that came over a carrier and wait for the socket's reader; then TCP holds the others back.
pub const CARRIER_MESSAGES_QUEUED_MAX: usize = 16;
/// The head of the request that opens a carrier.
pub const CARRIER_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Messages of all carriers together that wait for the gateway's relay, how many of them it works through
/// before it looks at UDP again.
pub const RELAY_CARRIER_MESSAGES_QUEUED_MAX: usize = 128;
pub const RELAY_CARRIER_MESSAGES_AT_ONCE_MAX: usize = 32;
/// Packets of such messages after which it looks at UDP, however many messages are left: they may be tiny.
pub const RELAY_CARRIER_PACKETS_AT_ONCE_MAX: usize = 2_048;
/// From the first byte of TCP to the end of the WebSocket's opening, proxies included.
pub const CARRIER_DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A carrier at the gateway by which no agent with a link has registered within this time is ended; later as
/// soon as its registration lapses ([`REGISTRATION_LASTS`]).
pub const CARRIER_PROVEN_WITHIN: Duration = Duration::from_secs(15);
/// What is taken over a carrier that nobody has proven: handshakes and registrations many times over.
pub const CARRIER_UNPROVEN_BYTES_MAX: usize = 512 * 1024;
/// An agent whose carrier has answered no probe for so long dials another: a proxy on the way may be dead.
pub const CARRIER_SILENCE: Duration = Duration::from_secs(6);
/// Carriers that one gateway serves at a time, and those among them that nobody has proven.
pub const CARRIERS_MAX: usize = CONTROL_LINKS_MAX;
pub const CARRIER_NEWCOMERS_MAX: usize = 512;
pub const CARRIER_NEWCOMERS: Bounds = Bounds { all: CARRIER_NEWCOMERS_MAX, of_network: 256, of_address: 128 };
/// How long UDP to the gateway must have answered without a gap before a carrier that nothing uses is ended.
pub const CARRIER_KEPT_FOR: Duration = Duration::from_mins(1);

/// Body of an enrolment request, its deadline, which also bounds the head of a request for a carrier, and how many
/// one address may make a minute.
pub const ENROL_BODY_BYTES_MAX: usize = 16 * 1024;
pub const ENROL_TIMEOUT: Duration = Duration::from_secs(10);
pub const ENROL_PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// TCP connections at the gateway's front door that are no carriers, at a time.
pub const ENROL_CONNECTIONS_MAX: usize = 256;
pub const ENROL_CONNECTIONS: Bounds = Bounds { all: ENROL_CONNECTIONS_MAX, of_network: 128, of_address: 64 };
/// The first byte after a TCP connection is up: one lost packet fits.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(3);
/// TLS with a newcomer, from its first byte.
pub const ENROL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses whose attempts are counted one by one; beyond that, newcomers wait.
pub const LIMITER_ADDRESSES_MAX: usize = 16_384;
/// Rows of one action that one agent, or all strangers together, may cause in the audit logs at once, and
/// then one in each; what goes beyond is one row a minute that counts.
pub const AUDIT_ROWS_BURST: u32 = 64;
pub const AUDIT_ROWS_EACH: Duration = Duration::from_secs(15);
/// Rows of a minute whose repeats are counted in memory, and actions of agents told apart.
pub const AUDIT_ROWS_COUNTED_MAX: usize = 65_536;
/// What such a row may tell in words.
pub const AUDIT_DETAIL_CHARS_MAX: usize = 300;
/// Reports of one agent that are written when they come, and then one in each; the others wait for the
/// next round.
pub const FACTS_AT_ONCE_BURST: u32 = 64;
pub const FACTS_AT_ONCE_EACH: Duration = Duration::from_secs(1);
/// Refusals of one kind, or of one address, that are written to an audit log a minute; all are
/// counted.
pub const REFUSALS_AUDITED_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Kinds of refusals (which peer, which reason) that an agent tells apart at a time.
pub const REFUSAL_KINDS_MAX: usize = 1_024;
/// Kinds of failed handshakes that it tells apart.
pub const HANDSHAKE_KINDS_MAX: usize = 64;
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
/// Within this somebody is told that a thing ends by itself: a leaf that is renewed no more, though its agent should do
/// so each day; a connector file and an invitation that nobody has used; an API token.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_hours(7 * 24);
pub const CONNECTOR_ENDS_SOON: Duration = Duration::from_hours(24);
pub const INVITATION_ENDS_SOON: Duration = Duration::from_hours(24);
pub const API_TOKEN_ENDS_SOON: Duration = Duration::from_hours(14 * 24);
pub const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Both agents hold a P2P secret for so long: the gateway forgets it, viewed or not.
pub const SECRET_KEPT_AFTER_STORED: Duration = Duration::from_secs(72 * 3600);

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
/// An admin session that its agent told nothing of for so long is not called running any more: longer than a client keeps
/// a connection without a request, and its end until it is told.
pub const ADMIN_SESSION_SILENT_AFTER: Duration = Duration::from_mins(10);
/// Admin sessions of one connection that are kept: the newest in which nothing was refused or changed.
pub const ADMIN_SESSIONS_QUIET_KEPT_MAX: u32 = 1_000;
/// And the newest in which something was.
pub const ADMIN_SESSIONS_JUDGED_KEPT_MAX: u32 = 4_000;
/// Admin sessions that are deleted in one transaction, because there are newer ones or because their time is over.
pub const ADMIN_SESSIONS_DELETED_AT_ONCE: u32 = 500;
/// A session that goes on is told to who follows what happens no more often than this; nor is its row written more often
/// where it was only heard of.
pub const ADMIN_SESSION_TOLD_EVERY: Duration = Duration::from_secs(30);

/// What an agent says of its build, and why a gateway ends a link, in characters.
pub const SOFTWARE_CHARS_MAX: usize = 64;

/// What a tunnel's frame of a type that this build does not know may hold.
pub const FRAME_HELD_BYTES_MAX: usize = 1024;
/// Of a word that this build does not know; a longer one is not kept.
pub const UNKNOWN_WORD_BYTES_MAX: usize = 24;
/// Unknown words that a process names in its log; all are counted.
pub const UNKNOWN_WORDS_SAID_MAX: usize = 64;
/// Of a rule that cannot be used, as it was given; of a longer one only the reason stays.
pub const UNUSABLE_RULE_BYTES_MAX: usize = 2 * 1024;
/// Versions and capabilities that one end of a control link tells the other; more are not read.
pub const VERSIONS_TOLD_MAX: usize = 16;
pub const CAPABILITIES_TOLD_MAX: usize = 64;
/// Relays that one rule may name: those of the gateways that both its ends may use.
pub const RULE_RELAYS_MAX: usize = 8;
/// Notes for its gateway that an agent keeps until they are acknowledged; while there are as many, later ones
/// wait, and then are dropped.
pub const NOTES_UNACKNOWLEDGED_MAX: usize = 256;
/// Notes of one agent that its gateway takes in one transaction.
pub const NOTES_TAKEN_MAX: usize = 64;
/// Such transactions of one link at once, and then one in each: what it says meanwhile goes together.
pub const NOTES_TAKEN_BURST: u32 = 4;
pub const NOTES_TAKEN_EACH: Duration = Duration::from_millis(500);
/// Runs of one agent of which a gateway remembers which notes it has.
pub const NOTE_RUNS_KEPT_MAX: i64 = 16;
pub const REASON_CHARS_MAX: usize = 500;
/// An error with its causes, as it is logged and shown: peers have a say in it.
pub const ERROR_CHARS_MAX: usize = 2_000;
/// A secret, a certificate or the request for one, in hexadecimal digits.
pub const DIGITS_MAX: usize = 8 * 1024;
/// Public names and descriptions, in characters.
pub const NAME_CHARS_MAX: usize = 80;
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Of an e-mail address (RFC 5321 §4.5.3.1).
pub const EMAIL_CHARS_MAX: usize = 254;
/// A request to the API: more than any of them needs.
pub const API_BODY_BYTES_MAX: usize = 64 << 10;
/// A password, in characters: fewer are guessed, more are no password.
pub const PASSWORD_CHARS_MIN: usize = 12;
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Passwords hashed or verified at a time; each takes 19 MiB.
pub const PASSWORDS_HASHED_MAX: usize = 2;
/// Those that wait for it: of browsers that have signed in before, and of all others, each.
pub const PASSWORDS_WAITING_MAX: usize = 64;
/// Wrong passwords or codes that one address, all strangers to one account, or one known browser may send at
/// once, and how often one more.
pub const SIGN_IN_ADDRESS_BURST: u32 = 20;
pub const SIGN_IN_ADDRESS_EACH: Duration = Duration::from_secs(15);
pub const SIGN_IN_ACCOUNT_BURST: u32 = 10;
pub const SIGN_IN_ACCOUNT_EACH: Duration = Duration::from_secs(60);
/// Addresses, accounts and browsers that are told apart in this, each, and budgets that all others share.
pub const SIGN_IN_KEYS_MAX: usize = 20_000;
pub const SIGN_IN_SHARED_BUDGETS: usize = 4_096;
/// For how long a browser is known after it was signed in.
pub const DEVICE_KNOWN: Duration = Duration::from_hours(24 * 180);
/// Browsers that are known to one account, the newest.
pub const DEVICES_KNOWN_MAX: i64 = 20;
/// A session of a browser that nobody uses, and one that is used; one that still lacks the second factor.
pub const USER_SESSION_IDLE: Duration = Duration::from_mins(30);
pub const USER_SESSION_LIFE: Duration = Duration::from_hours(12);
pub const USER_SESSION_HALF_LIFE: Duration = Duration::from_mins(10);
/// For how long after signing in one may change who comes in and how.
pub const USER_SESSION_FRESH: Duration = Duration::from_hours(1);
/// How often it is written when sessions and API tokens were used last: so much of it is lost with a gateway that dies.
pub const USES_WRITTEN_EVERY: Duration = Duration::from_secs(5);
/// A session whose last use as it is written is older has the next one written before it is served. Far below
/// [`USER_SESSION_IDLE`], so that none which is used is ever idle by what is written.
pub const SESSION_USE_WRITTEN_WITHIN: Duration = Duration::from_mins(10);
/// Sessions and API tokens whose last use waits in memory to be written; the next is written at once.
pub const USES_WAITING_MAX: usize = 16_384;
/// How many of them are written in one transaction.
pub const USES_OF_WRITE_MAX: usize = 512;
/// Browsers one user is signed in with; the oldest is signed out for a new one.
pub const USER_SESSIONS_MAX: u32 = 20;
/// What a browser calls itself, as it is kept.
pub const USER_AGENT_CHARS_MAX: usize = 200;
/// API tokens of one user that are good, and how long one may be.
pub const API_TOKENS_MAX: u32 = 20;
pub const API_TOKEN_DAYS_MAX: u32 = 365;
/// Invitations of one organization that are open.
pub const INVITATIONS_OPEN_MAX: u32 = 100;
/// For how long what has ended of invitations and API tokens is still listed.
pub const ENDED_KEPT: Duration = Duration::from_hours(24 * 90);
/// Codes for when there is no second factor at hand.
pub const RECOVERY_CODES: usize = 10;
/// Its head, and how many headers; cookies of other sites behind the same name need room too.
pub const API_HEAD_BYTES_MAX: usize = 16 * 1024;
pub const API_HEADERS_MAX: usize = 64;
/// How long head and body may take to arrive, and for how long a user's connection is kept where nothing is asked.
pub const API_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
pub const API_BODY_TIMEOUT: Duration = Duration::from_secs(10);
pub const API_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same of a connection that was answered and is nobody's.
pub const API_NEWCOMER_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer waits for its reader, and how fast that must read to be waited for longer.
pub const API_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
pub const API_WRITE_BYTES_PER_SECOND_MIN: NonZeroU64 = NonZeroU64::new(16 * 1024).unwrap();
/// What is read and thrown away behind a request that was answered before it was whole; no longer than an answer waits.
pub const API_LINGER_BYTES_MAX: usize = 8 << 20;
/// Requests over one connection of which none has proven whose it is.
pub const API_NEWCOMER_REQUESTS_MAX: u32 = 16;
/// Connections kept for users who have proven who they are, in all and of each; who has no place is served as
/// newcomers are.
pub const API_CONNECTIONS_MAX: usize = 4_096;
pub const API_CONNECTIONS_OF_USER_MAX: usize = 32;
/// Connections of trusted proxies.
pub const PROXY_CONNECTIONS_MAX: usize = 1_024;
/// Proxies whose word is taken for whom they are asked by.
pub const TRUSTED_PROXIES_MAX: usize = 16;
/// How often the files of the certificate that browsers see are looked at, and how large one may be.
pub const CONSOLE_LOOKED_EVERY: Duration = Duration::from_secs(5);
pub const CONSOLE_FILE_BYTES_MAX: u64 = 256 * 1024;
/// How long before its end that certificate is warned of, and how often.
pub const CONSOLE_EXPIRY_WARNED: Duration = Duration::from_secs(14 * 24 * 3600);
pub const CONSOLE_EXPIRY_SAID_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How soon the gateway looks again whether a certificate is due at an ACME authority.
pub const ACME_LOOKED_EVERY: Duration = Duration::from_secs(5);
/// How long one order may take, and within it the authority's look at the front door.
pub const ACME_ORDER_TIMEOUT: Duration = Duration::from_secs(300);
pub const ACME_POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long is waited after an order that failed, at first and at most; twice as long after each. Public authorities
/// take five failures an hour of one name.
pub const ACME_RETRY_MIN: Duration = Duration::from_secs(300);
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// How soon after an order that brought a certificate the next is made, however short that certificate's life.
pub const ACME_ORDERED_EVERY_MIN: Duration = Duration::from_secs(3600);
/// How long an authority may tell the gateway to stay away.
pub const ACME_RETRY_AFTER_MAX: Duration = Duration::from_secs(8 * 24 * 3600);
/// How often an authority is asked when it wants a certificate renewed (RFC 9773 §4.3).
pub const ACME_WINDOW_ASKED_MIN: Duration = Duration::from_secs(3600);
pub const ACME_WINDOW_ASKED_MAX: Duration = Duration::from_secs(24 * 3600);
/// Event streams, in all and of each user.
pub const EVENT_STREAMS_MAX: usize = 1_000;
pub const EVENT_STREAMS_OF_USER_MAX: usize = 10;
/// Requests at once, and then one in each: of one address that prove nobody, and of one user.
pub const API_OF_ADDRESS_BURST: u32 = 240;
pub const API_OF_ADDRESS_EACH: Duration = Duration::from_millis(50);
pub const API_OF_USER_BURST: u32 = 200;
pub const API_OF_USER_EACH: Duration = Duration::from_millis(10);
/// Users whose requests are counted one by one; beyond that, others wait.
pub const LIMITER_USERS_MAX: usize = 16_384;
/// One request to an identity provider or an ACME authority, and what it may answer with.
pub const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
pub const PROVIDER_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Requests to one identity provider at a time.
pub const PROVIDER_REQUESTS_MAX: usize = 8;
/// Users who wait for one of those places, each no longer than a request may last.
pub const PROVIDER_WAITING_MAX: usize = 256;
/// For how long what a provider says of itself is taken as read, and of how many it is kept.
pub const PROVIDER_KNOWN_LIFE: Duration = Duration::from_secs(3600);
pub const PROVIDERS_KNOWN_MAX: usize = 256;
/// How often a provider is asked for keys because of one that is not known.
pub const PROVIDER_KEYS_EVERY: Duration = Duration::from_secs(60);
/// By how much a provider's clock may differ.
pub const PROVIDER_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Providers that a gateway's file may name.
pub const IDENTITY_PROVIDERS_MAX: usize = 256;
/// How long signing in at a provider may take.
pub const SIGN_IN_FLOW_LIFE: Duration = Duration::from_secs(600);
/// Sign-ins under way at a time, from one address and at one organization's provider.
pub const SIGN_IN_FLOWS_OF_ADDRESS_MAX: u32 = 50;
pub const SIGN_IN_FLOWS_OF_ORGANIZATION_MAX: u32 = 2_000;
/// Where to go on after it.
pub const GO_TO_CHARS_MAX: usize = 500;
/// What is read of a browser's name for itself.
pub const BROWSER_CHARS_MAX: usize = 200;
/// Message types and codes a metric may carry as labels before the rest is counted as `other`.
pub const METRIC_LABELS_MAX: usize = 64;
/// Collectors of metrics served at a time, and how long one may take.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
pub const METRICS_CONNECTIONS: Bounds = Bounds {
    all: METRICS_CONNECTIONS_MAX,
    of_network: METRICS_CONNECTIONS_MAX,
    of_address: METRICS_CONNECTIONS_MAX,
};
/// Commands that ask a running agent at a time.
pub const STATUS_CONNECTIONS_MAX: usize = 16;
pub const METRICS_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What is held at once of a collector's request.
pub const METRICS_BUFFER_BYTES_MAX: usize = 16 * 1024;
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
/// An answer of a managed Mirth that is masked: a tag or a member's name that is kept until it is whole,
/// a value that is kept until it is known what it is, and how deep elements or containers may lie.
pub const MASK_TOKEN_BYTES_MAX: usize = 64 * 1024;
pub const MASK_VALUE_BYTES_MAX: usize = 64 * 1024;
pub const MASK_DEPTH_MAX: usize = 1_024;
/// A longer masked answer is sent in pieces of at least this.
pub const MASK_SENT_BYTES_MIN: usize = 16 * 1024;
/// An answer that says its length is masked whole, and says its new length, up to this size; a longer
/// one goes on in chunks.
pub const MASK_WHOLE_BYTES_MAX: u64 = 64 * 1024;
/// A file in a state folder: rules and secrets of some thousand connections fit.
pub const PRIVATE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long one process waits for another's turn in a private folder; each takes milliseconds.
pub const FOLDER_TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an agent that starts waits for a command that writes its state; another agent is there for longer.
pub const FOLDER_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// What an agent answers at its status socket: a thousand entries with all that can be said of them.
pub const STATUS_ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Entries of one kind in an agent's file.
pub const ENTRIES_MAX: usize = 1_024;
/// Peers from which one agent may hide where it is: as many as entries of all kinds can name.
pub const HIDDEN_FROM_MAX: usize = 4 * ENTRIES_MAX;
/// Kinds of path that one owner may name to a peer: those of this build, and room for a newer one's.
pub const PATH_KINDS_TOLD_MAX: usize = 8;
/// Addresses an agent's file may add to those the agent finds by itself.
pub const DIRECT_ADDRESSES_MAX: usize = 8;
/// What an agent's file may name that is dialled without its proxy, and how long a name.
pub const NO_PROXY_MAX: usize = 64;
pub const NO_PROXY_CHARS_MAX: usize = 253;
/// Addresses of one gateway in a connector file.
pub const GATEWAY_ADDRESSES_MAX: usize = 8;
/// A configuration file of ours.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// How long a writer of the gateway's database waits for another process to finish before it says so; an act waits
/// again.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_secs(4);
/// How often it is asked whether somebody keeps that database locked, and for how long until it counts as away.
pub const STORE_LOCK_ASKED_EVERY: Duration = Duration::from_secs(2);
pub const STORE_LOCK_SAID_AFTER: Duration = Duration::from_secs(8);
/// How long a writer waits for others of its own process, which wait for that one first.
pub const STORE_TURN_TIMEOUT: Duration = Duration::from_secs(15);
/// For how long an act is run again while the gateway's database is away or others change the same.
pub const ACT_WAIT: Duration = Duration::from_secs(10);
/// How much longer its last attempt may take, until it commits.
pub const ACT_LAST_ATTEMPT: Duration = Duration::from_secs(1);
/// The pause before it is run again: the first, and the longest.
pub const ACT_RETRY_DELAY_MIN: Duration = Duration::from_millis(10);
pub const ACT_RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
/// Readers of the gateway's database at a time.
pub const STORE_READERS_MAX: u32 = 4;
/// Connections to a database server at a time.
pub const DATABASE_CONNECTIONS_MAX: u32 = 16;
/// How long a database server may take to let one in.
pub const DATABASE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// And to answer: what takes longer has gone wrong.
pub const DATABASE_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a database in a file is asked whether another process has changed anything.
pub const FEED_POLL_EVERY: Duration = Duration::from_millis(100);
/// And one on a server, which says so by itself, for what its word did not reach.
pub const FEED_ASKED_EVERY_AT_LEAST: Duration = Duration::from_secs(5);
/// How often the state of one side of a connection is written, at most.
pub const FACT_WRITE_EVERY: Duration = Duration::from_secs(1);
/// Reports and links that are written together.
pub const FACTS_OF_WRITE_MAX: usize = 512;
/// And when nothing but the time of its last acknowledgement is new.
pub const ACK_TIME_WRITE_EVERY: Duration = Duration::from_secs(30);
/// Audit rows one request may ask for.
pub const AUDIT_ROWS_MAX: u32 = 10_000;
/// Pieces of news that wait for a stream of events; one that is further behind reads everything again.
pub const EVENTS_WAITING_MAX: usize = 256;
/// How much may have changed since a stream broke off that is told when it goes on.
pub const EVENTS_RESUMED_MAX: i64 = 10_000;
/// How often a stream of events shows that it lives.
pub const EVENT_HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often it is asked whether its user may still listen.
pub const EVENT_PROOF_EVERY: Duration = Duration::from_secs(30);
/// How long a request that is repeated under its key is not made again.
pub const REQUEST_KEY_LASTS: Duration = Duration::from_hours(24);
/// The text of such a key.
pub const REQUEST_KEY_CHARS_MAX: usize = 100;
/// Entries of the log that are looked at for one page of those that a filter wants; the next page goes on there.
pub const AUDIT_WALK_ROWS_MAX: u32 = 20_000;
/// Rows of one page of a list, at most, and where nobody says how many.
pub const PAGE_ROWS_MAX: u32 = 500;
pub const PAGE_ROWS_DEFAULT: u32 = 100;
/// What an overview shows of each kind of thing that waits, and of connections that flow.
pub const OVERVIEW_ROWS_MAX: u32 = 4;
pub const OVERVIEW_FLOWS_MAX: u32 = 10;
/// The text of a cursor that is looked at; ours are shorter.
pub const CURSOR_CHARS_MAX: usize = 1_024;
/// What is expired or deleted because its time is over, in one transaction.
pub const DUE_ROWS_MAX: u32 = 100;

/// Lines of the log that wait for a reader; more are counted and dropped.
pub const LOG_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// How often a log that cannot be written is tried again.
pub const LOG_RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a process waits for its last lines.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Lines that are alike but for their time are written so often within the span below.
pub const LOG_REPEATS_WRITTEN_MAX: u64 = 20;
/// How often it is said how many lines of a kind were left out.
pub const LOG_REPEATS_SAID_EVERY: Duration = Duration::from_secs(10);
/// How many lines are told apart within that span; others are written.
pub const LOG_KINDS_COMPARED_MAX: usize = 1_024;
/// A longer line is written without being compared.
pub const LOG_COMPARED_BYTES_MAX: usize = 2 * 1024;

/// For how long what was measured of a connection is shown by the minute, and by the hour.
pub const MEASUREMENT_MINUTES_KEPT: Duration = Duration::from_hours(24);
pub const MEASUREMENT_HOURS_KEPT: Duration = Duration::from_hours(90 * 24);
/// How many such steps that is, which are shown at once.
pub const MEASUREMENT_STEPS_MAX: [usize; 2] = [24 * 60, 90 * 24];
/// One sum of one step: as many bytes as 2 Tbit/s carry in a minute. A quarter's worth of hours has room in 64 bits.
pub const MEASUREMENT_FIGURE_MAX: u64 = 1 << 44;
/// One end's step as the gateway keeps it.
pub const MEASUREMENT_BYTES_MAX: usize = 2 * 1024;
/// Finished minutes of one connection that an agent keeps until it can tell them; older ones are dropped.
pub const MEASUREMENTS_UNSENT_MAX: usize = 60;
/// Over so much of a minute agents spread what they measured in the last.
pub const MEASUREMENTS_SPREAD: Duration = Duration::from_secs(45);
/// What an agent tells of the last minute each second, at most, and of older ones.
pub const MEASUREMENTS_TOLD_AT_ONCE: usize = 100;
pub const MEASUREMENTS_CAUGHT_UP_AT_ONCE: usize = 4;
/// What an agent may tell of its connections at once, and then each second; more is dropped.
pub const MEASUREMENTS_BURST: u32 = 4_096;
pub const MEASUREMENTS_PER_SECOND: u32 = 128;
/// For how long after a connection's end what was measured before it is taken: as long as agents keep it.
pub const MEASUREMENTS_AFTER_END: Duration = Duration::from_mins(60);
/// What an agent may tell of connections that its link does not list, at once and then each second: each asks the
/// database once.
pub const MEASUREMENTS_LATE_BURST: u32 = 256;
pub const MEASUREMENTS_LATE_PER_SECOND: u32 = 4;
/// How far a minute may lie ahead, by the gateway's clock.
pub const MEASUREMENT_AHEAD_MAX: Duration = Duration::from_mins(2);
/// Minutes that wait in the gateway to be written. Beyond that the oldest go of the agent with the most that wait.
pub const MEASUREMENTS_WAITING_MAX: usize = 65_536;
/// How often they are written, and how many at once.
pub const MEASUREMENTS_WRITE_EVERY: Duration = Duration::from_secs(5);
pub const MEASUREMENTS_OF_WRITE_MAX: usize = 512;
/// How long an hour is over before its minutes are added up; what comes later is added then.
pub const MEASUREMENT_HOUR_GRACE: Duration = Duration::from_mins(5);
/// Minutes stay so much longer than they are shown: an hour goes as a whole, and is added up again while it can.
pub const MEASUREMENT_MINUTES_SLACK: Duration = Duration::from_hours(1);
/// Connections whose minutes are added up at once, and steps that are deleted at once.
pub const MEASURED_CONNECTIONS_AT_ONCE: u32 = 128;
pub const MEASUREMENTS_DELETED_AT_ONCE: u32 = 2_000;
