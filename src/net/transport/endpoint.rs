//! quinn with our limits: endpoints, connections and the settings that carry the design.
//!
//! An agent has one endpoint, client and server, whose peers all sit at the virtual address; the
//! gateway's has real ones. Who a peer is, is read here from the verified leaf; whether it may
//! stay is decided above.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, ValidationTokenConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use tracing::{debug, trace};

use super::admission::Place;
use super::congestion::{self, PathHandle};
use super::connection_ids::{NextId, RoutedIds, initial_id};
use super::gateway_socket::{GatewaySocket, Origin};
use super::handshake::{Answering, Dialling, Told, finish};

use super::socket::{self, AgentSocket, SocketDrops, VIRTUAL_PEER};
use crate::identity::error::IdentityError;
use crate::identity::name::PeerName;
use crate::identity::peer::VerifiedPeer;
use crate::identity::time::TimeSource;
use crate::identity::tls::{self, Dates, Identity, SERVER_NAME, Trust};
use adit_core::config::agent::Congestion;
use adit_core::domain::id::{RouteId, ServerId};
use adit_core::domain::limits;
use adit_core::protocol::control;
use adit_core::protocol::frame::Code;
use adit_core::protocol::liveness::PacketCounts;
use adit_core::protocol::open::{self, EXPORTER_LABEL};
use adit_core::protocol::registration::REGISTRATION_LABEL;

/// Datagrams every path carries (RFC 9000 §14) and the most we try. Ten GSO segments of the latter
/// must stay under 64 KB, or the kernel refuses them.
const MTU_MIN: u16 = 1_200;
const MTU_MAX: u16 = 6_500;
/// Large enough for one 64 KB batch of the largest datagrams.
const DATAGRAM_BYTES_MAX: u16 = MTU_MAX;
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const INITIAL_RTT: Duration = Duration::from_millis(100);
const CONTROL_WINDOW: u32 = 2 * 1024 * 1024;

/// What cannot be set up or was lost below the agent's and the gateway's decisions.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("cannot open the QUIC endpoint")]
    Endpoint { source: std::io::Error },
    #[error("the TLS settings do not fit QUIC; this is a bug, please report it")]
    Suite { source: quinn::crypto::rustls::NoInitialCipherSuite },
    #[error("cannot start a QUIC connection")]
    Connect { source: quinn::ConnectError },
    #[error("the QUIC connection was lost")]
    Lost { source: quinn::ConnectionError },
    #[error("the handshake failed: {why}")]
    Handshake { why: Box<HandshakeFailure>, source: quinn::ConnectionError },
    #[error("{code}")]
    Closed { code: Code },
    #[error("the peer's certificate is not acceptable")]
    Identity { source: IdentityError },
    #[error("the peer closed a stream it must keep open")]
    StreamClosed,
    #[error("the peer sent what the protocol does not allow: {what}")]
    Peer { what: String },
    #[error("the peer did not answer in {} s", after.as_secs())]
    Timeout { after: Duration },
}

/// Why a handshake failed on this side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// A verifier of ours refused what the peer showed.
    #[error("{0}")]
    Refused(IdentityError),
    /// TLS itself failed. Its words are for people: nothing is decided by them.
    #[error("{text}")]
    Tls { text: String },
}

impl TransportError {
    pub(super) fn lost(source: quinn::ConnectionError) -> Self {
        let code = match &source {
            quinn::ConnectionError::ApplicationClosed(close) => Code::from_u64(close.error_code.into_inner()),
            _ => None,
        };
        code.map_or(Self::Lost { source }, |code| Self::Closed { code })
    }

    /// Returns whether packets went out and nothing came back, as where a firewall drops them.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Lost { source: quinn::ConnectionError::TimedOut })
    }

    /// Returns what we found wrong with the peer during the handshake (RFC 9001 §4.8).
    #[must_use]
    pub fn refused_handshake(&self) -> Option<&HandshakeFailure> {
        match self {
            Self::Handshake { why, source: quinn::ConnectionError::TransportError(error) } => {
                (0x100..0x200).contains(&u64::from(error.code)).then_some(why)
            }
            _ => None,
        }
    }

    /// Returns the application code the peer closed the connection with.
    #[must_use]
    pub fn peer_code(&self) -> Option<Code> {
        match self {
            Self::Closed { code } => Some(*code),
            _ => None,
        }
    }
}

/// How a tunnel's connection behaves once it is open.
#[derive(Debug, Clone, Copy)]
pub struct TunnelSettings {
    pub congestion: Congestion,
}

/// What an agent shows its peers and judges them by.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub identity: Identity,
    pub trust: Trust,
    pub clock: Arc<dyn TimeSource>,
}

/// Client and server of all tunnels and of the control link, on one socket.
#[derive(Debug)]
pub struct AgentEndpoint {
    endpoint: quinn::Endpoint,
    socket: Arc<AgentSocket>,
    next_id: NextId,
    credentials: ArcSwap<Credentials>,
    settings: TunnelSettings,
}

impl AgentEndpoint {
    pub fn new(
        socket: Arc<AgentSocket>,
        route: RouteId,
        credentials: Credentials,
        settings: TunnelSettings,
    ) -> Result<Self, TransportError> {
        let next_id = NextId::default();
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            routed_config(route, &next_id, EndpointConfig::default()),
            Some(tunnel_server_config(&credentials, settings)?),
            Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )
        .map_err(|source| TransportError::Endpoint { source })?;
        let credentials = ArcSwap::from_pointee(credentials);
        Ok(Self { endpoint, socket, next_id, credentials, settings })
    }

    #[must_use]
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.load_full()
    }

    /// Returns the packets of its socket that went nowhere.
    #[must_use]
    pub fn drops(&self) -> &SocketDrops {
        self.socket.drops()
    }

    /// Shows a renewed leaf from the next handshake on.
    pub fn renew(&self, identity: Identity) -> Result<(), TransportError> {
        let credentials = Credentials { identity, ..Credentials::clone(&self.credentials.load()) };
        let server = tunnel_server_config(&credentials, self.settings)?;
        self.endpoint.set_server_config(Some(server));
        self.credentials.store(Arc::new(credentials));
        debug!("the renewed certificate is shown from the next handshake on");
        Ok(())
    }

    /// Judges peers by other credentials, and shows them, when it dials.
    #[cfg(test)]
    pub(super) fn know(&self, credentials: Credentials) {
        self.credentials.store(Arc::new(credentials));
    }

    /// Dials `peer`, whose leaf must be valid now, at `route`.
    pub async fn connect_tunnel(&self, route: RouteId, peer: ServerId) -> Result<Connection, TransportError> {
        let config = tunnel_client_config(&self.credentials.load(), self.settings, route, peer)?;
        self.connect(config, route).await
    }

    /// Dials the gateway, whose dates a host with a wrong clock cannot judge.
    pub async fn connect_control(&self, route: RouteId) -> Result<Connection, TransportError> {
        let (credentials, transport) = (self.credentials.load_full(), control_transport());
        let config = client_config(
            &credentials,
            route,
            PeerName::Gateway,
            Dates::Ignore,
            &[control::ALPN],
            transport,
        )?;
        self.connect(config, route).await
    }

    async fn connect(&self, mut config: ClientConfig, route: RouteId) -> Result<Connection, TransportError> {
        // Kept until the handshake is over, however that ends.
        let dial = self.socket.dial(route);
        let (ids, next_id) = (dial.ids, self.next_id.clone());
        config.initial_dst_cid_provider(Arc::new(move || {
            // quinn asks for both ids in one step, this one first.
            next_id.set(ids.source);
            quinn_proto::ConnectionId::new(&ids.destination)
        }));
        debug!(%route, "a handshake begins");
        let connecting = self
            .endpoint
            .connect_with(config, VIRTUAL_PEER, SERVER_NAME)
            .map_err(|source| TransportError::Connect { source })?;
        finish(connecting).await
    }

    /// Accepts the next peer that dials; `None` once the endpoint is closed. How many there are at a time is
    /// bounded by the places that the gate gives.
    pub async fn accept(&self) -> Option<IncomingTunnel> {
        loop {
            let incoming = self.endpoint.accept().await?;
            if let Some(place) = self.socket.gate().claim(&incoming.orig_dst_cid()) {
                return Some(IncomingTunnel { incoming, place });
            }
            // It got past the socket by ids of a handshake that is over.
            debug!("a handshake came by ids of one that is over; it is left unanswered");
            socket::count(&self.socket.drops().unclaimed);
            incoming.ignore();
        }
    }

    /// Has every connection send something at once: what was lost with a path that died is found
    /// out by its acknowledgement instead of a timer that has backed off. Touches all connections.
    pub fn ping(&self) {
        // The socket is the same; its address is a constant.
        let _ = self.endpoint.rebind_abstract(Arc::clone(&self.socket) as Arc<dyn AsyncUdpSocket>);
    }

    /// Tells every peer that this agent goes, and waits until they heard or the time is over.
    pub async fn close(&self, limit: Duration) {
        close(&self.endpoint, limit).await;
    }
}

/// The gateway's control endpoint.
#[derive(Debug, Clone)]
pub struct GatewayEndpoint {
    endpoint: quinn::Endpoint,
    socket: Arc<GatewaySocket>,
}

impl GatewayEndpoint {
    /// Takes agents of the trust domain; an expired leaf is judged after the handshake, because it
    /// may still renew. With the same `reset_key` after a restart, agents learn at once that their
    /// links are dead (RFC 9000 §10.3).
    pub fn new(
        socket: Arc<GatewaySocket>,
        route: RouteId,
        reset_key: &[u8; 32],
        identity: &Identity,
        trust: &Trust,
    ) -> Result<Self, TransportError> {
        let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key)));
        config.min_reset_interval(limits::GATEWAY_RESETS_EACH);
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            endpoint_config(route, config),
            Some(control_server_config(identity, trust)?),
            Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )
        .map_err(|source| TransportError::Endpoint { source })?;
        Ok(Self { endpoint, socket })
    }

    /// Shows a renewed leaf from the next handshake on.
    pub fn renew(&self, identity: &Identity, trust: &Trust) -> Result<(), TransportError> {
        self.endpoint.set_server_config(Some(control_server_config(identity, trust)?));
        Ok(())
    }

    /// Accepts the next agent that dials. Everybody who comes over UDP proves their address first (QUIC Retry,
    /// RFC 9000 §8.1.2), so that nothing longer than what asked for it goes to an address that is not proven.
    /// TCP has proven those who come over a carrier.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let incoming = self.endpoint.accept().await?;
            match self.socket.origin(incoming.remote_address()) {
                Some(origin @ Origin::Carrier(_)) => return Some(Incoming { incoming, origin }),
                Some(origin @ Origin::Udp(_)) if incoming.remote_address_validated() => {
                    return Some(Incoming { incoming, origin });
                }
                Some(Origin::Udp(from)) => {
                    trace!(%from, "an agent that dials must prove its address first");
                    // It fails only for who already answered one.
                    let _ = incoming.retry();
                }
                None => {
                    debug!("a handshake came over a carrier that has ended; it is left unanswered");
                    incoming.ignore();
                }
            }
        }
    }

    /// Returns where the other end of a connection is now; nowhere where its carrier has just ended.
    #[must_use]
    pub fn origin(&self, connection: &Connection) -> Option<Origin> {
        self.socket.origin(connection.0.remote_address())
    }

    pub async fn close(&self, limit: Duration) {
        close(&self.endpoint, limit).await;
    }
}

pub(super) async fn close(endpoint: &quinn::Endpoint, limit: Duration) {
    endpoint.close(code(Code::Goodbye), b"");
    // Peers that do not answer notice by themselves.
    let _ = tokio::time::timeout(limit, endpoint.wait_idle()).await;
}

/// A handshake that a peer with a place has begun.
#[derive(Debug)]
pub struct IncomingTunnel {
    incoming: quinn::Incoming,
    place: Place,
}

impl IncomingTunnel {
    /// Returns its place, which the peer holds as long as any copy of it is kept.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Finishes the handshake. A peer that does not answer soon is not waited for.
    pub async fn accept(self) -> Result<Connection, TransportError> {
        let connecting = self.incoming.accept().map_err(TransportError::lost)?;
        tokio::select! {
            connected = finish(connecting) => connected,
            () = self.place.is_abandoned() => {
                debug!("a peer began a handshake and did not go on, so its place is given to others");
                Err(TransportError::Timeout { after: limits::FIRST_FLIGHT_TIMEOUT })
            }
        }
    }
}

/// A handshake that has not been decided on.
#[derive(Debug)]
pub struct Incoming {
    incoming: quinn::Incoming,
    origin: Origin,
}

impl Incoming {
    /// Returns where the handshake comes from.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Leaves it unanswered; a peer that is there asks again.
    pub fn ignore(self) {
        self.incoming.ignore();
    }

    /// Finishes the handshake.
    pub async fn accept(self) -> Result<Connection, TransportError> {
        finish(self.incoming.accept().map_err(TransportError::lost)?).await
    }
}

/// One QUIC connection after its handshake.
#[derive(Clone)]
pub struct Connection(pub(super) quinn::Connection);

impl Connection {
    /// Returns who the peer is, from the leaf that the handshake verified.
    pub fn peer(&self, trust: &Trust) -> Result<VerifiedPeer, TransportError> {
        let chain = self
            .0
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .ok_or_else(|| TransportError::Peer { what: "no certificate".into() })?;
        VerifiedPeer::from_handshake(&chain, trust).map_err(|source| TransportError::Identity { source })
    }

    /// Returns whether the peer of a tunnel reads past frames that it does not know.
    #[must_use]
    pub fn skips_unknown_frames(&self) -> bool {
        let told = self.0.handshake_data().and_then(|data| data.downcast::<Told>().ok());
        told.is_some_and(|told| told.protocol.as_deref() == Some(open::ALPN_SKIPPING))
    }

    /// Returns what the proofs of a tunnel are bound to.
    pub fn exporter(&self) -> Result<[u8; 32], TransportError> {
        self.exported(EXPORTER_LABEL)
    }

    /// Returns what authenticates an agent's registration at the relay, from its control link.
    pub fn registration_secret(&self) -> Result<[u8; 32], TransportError> {
        self.exported(REGISTRATION_LABEL)
    }

    /// Returns 32 bytes that only the two ends of this TLS channel know (RFC 8446 §7.5).
    fn exported(&self, label: &[u8]) -> Result<[u8; 32], TransportError> {
        let mut secret = [0; 32];
        self.0
            .export_keying_material(&mut secret, label, b"")
            .map_err(|_| TransportError::Peer { what: "no exported keying material".into() })?;
        Ok(secret)
    }

    /// Lets the verified peer use the tunnel in full. That it has no more than `streams` at a time is for the
    /// one who takes them to see to.
    pub fn admit(&self, streams: u32) {
        self.0.set_max_concurrent_bi_streams(VarInt::from_u32(limits::quic_streams(streams)));
        self.open_window(streams);
    }

    /// Takes tunnel payload from the verified peer. All streams' credit fits, so no stalled stream
    /// can hold up another.
    pub fn open_window(&self, streams: u32) {
        debug!(bytes = receive_window(streams), streams, "the proven peer may have so much under way");
        let window = VarInt::from_u64(receive_window(streams)).unwrap_or(VarInt::MAX);
        self.0.set_receive_window(window);
        self.0.set_send_window(limits::TUNNEL_SEND_WINDOW);
    }

    /// Takes control messages in full from an agent that is welcome.
    pub fn admit_control(&self) {
        self.0.set_receive_window(VarInt::from_u32(CONTROL_WINDOW));
        self.0.set_send_window(u64::from(CONTROL_WINDOW));
    }

    pub fn close(&self, why: Code) {
        if !self.is_closed() {
            debug!(peer_hears = %why, "this end closes the QUIC connection");
        }
        self.0.close(code(why), b"");
    }

    /// Waits for the end and says why.
    pub async fn closed(&self) -> TransportError {
        TransportError::lost(self.0.closed().await)
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.close_reason().is_some()
    }

    /// Returns where the gateway sees the agent; the virtual address on agents.
    #[must_use]
    pub fn remote_address(&self) -> std::net::SocketAddr {
        self.0.remote_address()
    }

    /// Notes a change of path. What is under way may be lost: congestion control starts again, and two
    /// packets pass in any case.
    pub fn note_path_change(&self) {
        PathHandle::of(self.0.congestion_state()).inspect(|handle| handle.note_change());
    }

    /// Returns what its congestion controller shares with the route keeper; lives as long as the connection.
    pub(super) fn path_handle(&self) -> Option<Weak<PathHandle>> {
        PathHandle::of(self.0.congestion_state()).map(|handle| Arc::downgrade(&handle))
    }

    /// Returns the same, to be kept: quinn copies the whole controller for it.
    #[must_use]
    pub fn path(&self) -> Option<Arc<PathHandle>> {
        PathHandle::of(self.0.congestion_state())
    }

    /// Returns what the tunnel's liveness is judged by.
    #[must_use]
    pub fn counts(&self, path: &PathHandle) -> PacketCounts {
        counts(&self.0.stats(), path)
    }

    #[must_use]
    pub fn measured(&self) -> Measured {
        let stats = self.0.stats();
        Measured {
            rtt: stats.path.rtt,
            mtu: stats.path.current_mtu,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
        }
    }
}

/// Returns what all streams may have under way, with room for frames. quinn tells the peer of freed room only
/// by eighths of the window, so that much may be free and not known to it.
#[must_use]
pub const fn receive_window(streams: u32) -> u64 {
    let under_way = streams as u64 * limits::STREAM_CREDIT_INITIAL
        + limits::TUNNEL_CREDIT_BUDGET
        + limits::TUNNEL_OPEN_BYTES_MAX as u64;
    under_way + under_way / 7 + 1
}

impl TransportError {
    /// Returns what a stream's failure to write means.
    pub(super) fn of_write(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(source) => Self::lost(source),
            _ => Self::StreamClosed,
        }
    }

    /// Returns what a stream's failure to read means.
    pub(super) fn of_read(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(source) => Self::lost(source),
            _ => Self::StreamClosed,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.0.stable_id())
    }
}

/// What quinn measured of a connection since its start.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub rtt: Duration,
    pub mtu: u16,
    pub packets_sent: u64,
    pub packets_lost: u64,
}

/// Returns what is asked and answered on a tunnel. A probe for a larger datagram is no question: where the
/// path does not carry it, nobody can answer. Nor is an acknowledgement an answer that says nothing new: a
/// peer that nothing reaches repeats its last ones.
#[must_use]
pub fn counts(stats: &quinn::ConnectionStats, path: &PathHandle) -> PacketCounts {
    let (there, back) = (&stats.frame_tx, &stats.frame_rx);
    PacketCounts {
        questions: (there.stream + there.ping).saturating_sub(stats.path.sent_plpmtud_probes),
        answers: path.acknowledged(),
        asked: back.stream + back.ping,
        sent: stats.udp_tx.datagrams,
    }
}

/// Returns the settings of every endpoint of ours, agent's or gateway's, that sits at `route`. Public, as the
/// two below, for one who drives QUIC without sockets.
#[must_use]
pub fn endpoint_config(route: RouteId, config: EndpointConfig) -> EndpointConfig {
    routed_config(route, &NextId::default(), config)
}

fn routed_config(route: RouteId, next: &NextId, mut config: EndpointConfig) -> EndpointConfig {
    let next = next.clone();
    config.cid_generator(move || Box::new(RoutedIds::new(route, next.clone())));
    // The fixed bit tells QUIC from our own packets.
    config.grease_quic_bit(false);
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("a datagram of 6,500 bytes is a valid maximum");
    config
}

fn code(why: Code) -> VarInt {
    VarInt::from_u32(why.to_u32())
}

fn server_config(
    identity: &Identity,
    trust: &Trust,
    dates: Dates,
    alpns: &[&[u8]],
) -> Result<ServerConfig, TransportError> {
    let tls = tls::server_config(identity, trust, dates, alpns)
        .map_err(|source| TransportError::Identity { source })?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|source| TransportError::Suite { source })?;
    let mut config = ServerConfig::with_crypto(Arc::new(Answering(Arc::new(crypto))));
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .validation_token_config(tokens)
        .migration(false)
        .max_incoming(limits::ENDPOINT_INCOMING_MAX)
        .incoming_buffer_size(limits::ENDPOINT_INCOMING_BYTES_EACH)
        .incoming_buffer_size_total(limits::ENDPOINT_INCOMING_BYTES_ALL);
    Ok(config)
}

/// Returns how an agent takes tunnels.
pub fn tunnel_server_config(
    credentials: &Credentials,
    settings: TunnelSettings,
) -> Result<ServerConfig, TransportError> {
    let dates = Dates::Enforce(credentials.clock.clone());
    let mut config = server_config(&credentials.identity, &credentials.trust, dates, open::ALPNS)?;
    // How many there may be is the gate's to say.
    config.max_incoming(limits::TUNNELS_INCOMING_MAX);
    config.transport_config(Arc::new(tunnel_transport(settings)));
    Ok(config)
}

/// Returns how an agent dials `peer` at `route`, whose leaf must be valid now.
pub fn tunnel_client_config(
    credentials: &Credentials,
    settings: TunnelSettings,
    route: RouteId,
    peer: ServerId,
) -> Result<ClientConfig, TransportError> {
    let dates = Dates::Enforce(credentials.clock.clone());
    client_config(credentials, route, PeerName::Server(peer), dates, open::ALPNS, tunnel_transport(settings))
}

pub(super) fn client_config(
    credentials: &Credentials,
    route: RouteId,
    peer: PeerName,
    dates: Dates,
    alpns: &[&[u8]],
    transport: TransportConfig,
) -> Result<ClientConfig, TransportError> {
    let tls = tls::client_config(&credentials.identity, &credentials.trust, peer, dates, alpns)
        .map_err(|source| TransportError::Identity { source })?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|source| TransportError::Suite { source })?;
    let mut config = ClientConfig::new(Arc::new(Dialling(Arc::new(crypto))));
    config.transport_config(Arc::new(transport));
    config.initial_dst_cid_provider(Arc::new(move || initial_id(route)));
    Ok(config)
}

fn control_server_config(identity: &Identity, trust: &Trust) -> Result<ServerConfig, TransportError> {
    let mut config = server_config(identity, trust, Dates::Ignore, &[control::ALPN])?;
    let mut transport = control_transport();
    // Until the agent is authorized.
    transport
        .receive_window(VarInt::from_u32(limits::CONTROL_OPENING_BYTES_MAX))
        .send_window(u64::from(limits::CONTROL_OPENING_BYTES_MAX));
    config.transport_config(Arc::new(transport));
    // An agent behind a NAT may change its address; quinn validates the new one.
    config.migration(true);
    Ok(config)
}

fn base_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("two minutes fit")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        .allow_spin(false)
        .min_mtu(MTU_MIN)
        .initial_mtu(MTU_MIN);
    transport
}

/// Returns the settings until both proofs are verified: one stream and a few kilobytes.
fn tunnel_transport(settings: TunnelSettings) -> TransportConfig {
    let mut transport = base_transport();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU_MAX);
    let opening = VarInt::from_u32(limits::TUNNEL_OPEN_BYTES_MAX.try_into().unwrap_or(u32::MAX));
    transport
        .mtu_discovery_config(Some(discovery))
        .send_fairness(true)
        .stream_receive_window(VarInt::from_u64(limits::STREAM_CREDIT_MAX).unwrap_or(VarInt::MAX))
        .receive_window(opening)
        .send_window(limits::TUNNEL_OPEN_BYTES_MAX as u64)
        .congestion_controller_factory(congestion::factory(settings.congestion));
    transport
}

pub(super) fn control_transport() -> TransportConfig {
    let mut transport = base_transport();
    transport
        .stream_receive_window(VarInt::from_u32(CONTROL_WINDOW))
        .receive_window(VarInt::from_u32(CONTROL_WINDOW))
        .send_window(u64::from(CONTROL_WINDOW));
    transport
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::transport::pair::{Pair, soon};

    #[test]
    fn what_streams_may_have_under_way_fits_even_with_an_eighth_of_the_window_untold() {
        for streams in [1, limits::TUNNEL_STREAMS_MAX, limits::TUNNEL_STREAMS_ALLOWED] {
            let window = receive_window(streams);
            let under_way = u64::from(streams) * limits::STREAM_CREDIT_INITIAL + limits::TUNNEL_CREDIT_BUDGET;
            assert!(window - window / 8 >= under_way + limits::TUNNEL_OPEN_BYTES_MAX as u64);
        }
    }

    #[tokio::test]
    async fn before_the_proofs_a_peer_has_four_kilobytes_on_one_stream() {
        let pair = Pair::new();
        let (source, target) = pair.connected().await;
        for one in [&source.0, &target.0] {
            // A peer that does not restrain itself.
            one.set_send_window(1 << 30);
            let (mut send, _receive) = soon(one.open_bi()).await.unwrap();
            let mut written = 0;
            std::future::poll_fn(|cx| {
                while let Poll::Ready(more) = std::pin::pin!(send.write(&[0; 1_000])).poll(cx) {
                    written += more.unwrap();
                }
                Poll::Ready(())
            })
            .await;
            assert_eq!(written, limits::TUNNEL_OPEN_BYTES_MAX);
            let mut second = std::pin::pin!(one.open_bi());
            let mut one_way = std::pin::pin!(one.open_uni());
            std::future::poll_fn(|cx| {
                assert!(second.as_mut().poll(cx).is_pending());
                assert!(one_way.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
    }

    #[tokio::test]
    async fn a_peer_without_a_leaf_of_this_ca_or_of_another_name_is_refused() {
        let (pair, strangers) = (Pair::new(), Pair::new());
        let address = pair.target.socket.bound().unwrap();
        strangers.source.socket.set_route(pair.target.route, address);
        pair.target.socket.set_route(strangers.source.route, strangers.source.socket.bound().unwrap());
        let dialled = strangers.source.endpoint.connect_tunnel(pair.target.route, pair.target.server);
        let accepted = async { pair.target.endpoint.accept().await.unwrap().accept().await };
        let (dialled, accepted) = soon(async { tokio::join!(dialled, accepted) }).await;
        assert!(dialled.unwrap_err().refused_handshake().is_some());
        assert!(accepted.is_err());

        // What one run of a source has begun with, no other of the same name can.
        let pair = Pair::new();
        let other = ServerId::from_bytes([9; 16]);
        pair.target.socket.set_route(pair.source.route, pair.source.socket.bound().unwrap());
        let dialled = pair.source.endpoint.connect_tunnel(pair.target.route, other);
        let accepted = async { pair.target.endpoint.accept().await.unwrap().accept().await };
        let (dialled, _) = soon(async { tokio::join!(dialled, accepted) }).await;
        assert!(dialled.unwrap_err().refused_handshake().is_some());
    }
}
