//! One QUIC connection at one of its ends: handshake, proofs, streams, and the judgement of how long
//! it was silent. What `agent/tunnels.rs` and `agent/session.rs` do with tasks and timers is done here
//! with deadlines; settings, verifiers and messages are the product's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::domain::connection::Side;
use adit_core::domain::id::BootId;
use adit_core::domain::limits::{TUNNEL_OPEN_TIMEOUT, TUNNEL_SEND_WINDOW};
use adit_core::protocol::frame::Code;
use adit_core::protocol::liveness::Liveness;
use adit_core::protocol::open::{self, EXPORTER_LABEL, Open, Proof, Reply};
use adit_net::identity::peer::VerifiedPeer;
use adit_net::transport::congestion::PathHandle;
use adit_net::transport::endpoint::{counts, receive_window};
use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamId, VarInt};
use rustls::pki_types::CertificateDer;

use crate::credentials;
use crate::log::Promise;
use crate::scene::{Cause, End, Scene};
use crate::traffic::{self, Program, Read, STREAMS_MAX, Traffic};
use crate::wire::Node;

/// As the agent's own.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub connection: Connection,
    node: Node,
    phase: Phase,
    liveness: Liveness,
    path: Option<Arc<PathHandle>>,
    /// The peer's run when the tunnel opened.
    boot: Option<BootId>,
    /// Something happened that streams may have waited for.
    woken: bool,
}

#[derive(Debug)]
enum Phase {
    Handshaking {
        until: Instant,
    },
    Opening {
        until: Instant,
        stream: Option<StreamId>,
        buffer: BytesMut,
    },
    Open {
        since: Instant,
        traffic: Traffic,
    },
    /// Closed; what is left is to tell the peer.
    Over,
}

impl Tunnel {
    pub(crate) fn new(node: Node, connection: Connection, now: Instant) -> Self {
        Self {
            path: PathHandle::of(connection.congestion_state().clone_box()),
            connection,
            node,
            phase: Phase::Handshaking { until: now + HANDSHAKE_TIMEOUT },
            liveness: Liveness::new(now),
            boot: None,
            woken: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Since when it is open.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { since, .. } => Some(since),
            Phase::Handshaking { .. } | Phase::Opening { .. } | Phase::Over => None,
        }
    }

    /// When this end does something of its own accord; `stall` is its stall limit.
    pub(crate) fn poll_timeout(&mut self, stall: Duration, program: Option<&Program>) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Handshaking { until } | Phase::Opening { until, .. } => Some(*until),
            Phase::Open { traffic, .. } => {
                let judged = [self.liveness.ends_at(stall)].into_iter().chain(self.liveness.pings_at());
                traffic.poll_timeout(program).into_iter().chain(judged).min()
            }
            Phase::Over => None,
        };
        self.connection.poll_timeout().into_iter().chain(own).min()
    }

    pub(crate) fn handle_timeout(&mut self, stall: Duration, scene: &mut Scene) {
        self.connection.handle_timeout(scene.now);
        self.woken = true;
        match &self.phase {
            Phase::Handshaking { until } | Phase::Opening { until, .. } if *until <= scene.now => {
                self.connection.close(scene.now, code(Code::Refused), Bytes::new());
                self.phase = Phase::Over;
            }
            Phase::Open { .. } if self.liveness.silent_for(scene.now) >= stall => {
                self.end(Some(Code::Stalled), "silent for the stall limit".into(), Cause::Outage, scene);
            }
            Phase::Open { .. } if self.liveness.is_forgotten(scene.now) => {
                scene.tally.forgotten += 1;
                self.end(
                    Some(Code::Stalled),
                    "the other end does not answer".into(),
                    Cause::Unanswered,
                    scene,
                );
            }
            Phase::Handshaking { .. } | Phase::Opening { .. } | Phase::Open { .. } | Phase::Over => {}
        }
    }

    /// Whether it must be pinged, though nothing is known to have changed.
    pub(crate) fn asks_again(&mut self, now: Instant) -> bool {
        let asks = self.is_open() && self.liveness.pings_at().is_some_and(|at| at <= now);
        if asks {
            self.liveness.note_pinged(now);
            self.note_path_change();
        }
        asks
    }

    /// The path below is another now.
    pub(crate) fn note_path_change(&self) {
        self.followed().inspect(|path| path.note_change());
    }

    /// The size of its datagrams.
    pub(crate) fn mtu(&self) -> Option<u16> {
        self.followed().map(|path| path.mtu())
    }

    /// As the product, only once the proofs are exchanged.
    fn followed(&self) -> Option<&Arc<PathHandle>> {
        self.path.as_ref().filter(|_| self.is_open())
    }

    pub(crate) fn ping(&mut self) {
        if !self.is_over() {
            self.connection.local_address_changed();
        }
    }

    /// The peer was heard below QUIC, and this is its run.
    pub(crate) fn hear(&mut self, heard: Option<Instant>, boot: Option<BootId>, scene: &mut Scene) {
        heard.inspect(|heard| self.liveness.note_heard(*heard));
        match (self.boot, boot) {
            (Some(before), Some(after)) if before != after => {
                self.end(Some(Code::Ended), "the peer's agent was restarted".into(), Cause::Outage, scene);
            }
            (None, boot) => self.boot = boot,
            _ => {}
        }
    }

    /// The process of this end dies; nobody is told.
    pub(crate) fn die(&mut self, scene: &mut Scene) {
        self.end(None, "this agent was restarted".into(), Cause::Outage, scene);
    }

    /// Does whatever can be done now.
    pub(crate) fn drive(&mut self, program: Option<&mut Program>, scene: &mut Scene) {
        if let Some(path) = &self.path {
            self.liveness.note_counts(counts(&self.connection.stats(), path), scene.now);
        }
        while let Some(event) = self.connection.poll() {
            self.woken = true;
            match event {
                Event::Connected => self.begin_opening(scene),
                Event::ConnectionLost { reason } => self.lose(&reason, scene),
                Event::HandshakeDataReady
                | Event::Stream(_)
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        if !std::mem::take(&mut self.woken) {
            return;
        }
        self.open(scene);
        if let Phase::Open { traffic, .. } = &mut self.phase {
            match program {
                Some(program) => traffic.ask(&mut self.connection, program, scene),
                None => traffic.answer(&mut self.connection, scene),
            }
        }
    }

    fn begin_opening(&mut self, scene: &mut Scene) {
        let mut stream = None;
        if self.node == Node::Source {
            let open = Open {
                version: open::VERSION,
                connection: credentials::CONNECTION,
                proof: self.proof(Side::Source, scene),
            };
            let mut bytes = BytesMut::new();
            open.encode(&mut bytes);
            stream = self.connection.streams().open(Dir::Bi);
            let written = stream.map(|id| self.connection.send_stream(id).write(&bytes));
            let whole = matches!(written, Some(Ok(count)) if count == bytes.len());
            scene.demand(whole, Promise::Sound, format_args!("an opening does not fit: {written:?}"));
        }
        self.phase =
            Phase::Opening { until: scene.now + TUNNEL_OPEN_TIMEOUT, stream, buffer: BytesMut::new() };
    }

    /// Reads the peer's half of the opening, and answers it.
    fn open(&mut self, scene: &mut Scene) {
        let Phase::Opening { stream, buffer, .. } = &mut self.phase else { return };
        if stream.is_none() {
            *stream = self.connection.streams().accept(Dir::Bi);
        }
        let Some(id) = *stream else { return };
        if let Read::Ended | Read::Broken(_) =
            traffic::read(&mut self.connection, id, |bytes| buffer.extend_from_slice(bytes))
        {
            return scene.demand(false, Promise::Sound, format_args!("the first stream of a tunnel ended"));
        }
        let mut buffer = std::mem::take(buffer);
        let proven = match self.node {
            Node::Source => Reply::decode(&mut buffer).map(|reply| reply.map(|reply| reply.proof)),
            _ => Open::decode(&mut buffer).map(|open| open.map(|open| open.proof)),
        };
        match proven {
            Ok(Some(theirs)) => self.admit(id, theirs, scene),
            Ok(None) => {
                if let Phase::Opening { buffer: kept, .. } = &mut self.phase {
                    *kept = buffer;
                }
            }
            Err(error) => scene.demand(false, Promise::Exact, format_args!("an opening is garbled: {error}")),
        }
    }

    fn admit(&mut self, id: StreamId, theirs: Proof, scene: &mut Scene) {
        let (their_side, our_side) = match self.node {
            Node::Source => (Side::Target, Side::Source),
            _ => (Side::Source, Side::Target),
        };
        let right = theirs == self.proof(their_side, scene);
        scene.demand(right, Promise::Exact, format_args!("the peer's proof is wrong"));
        if self.node == Node::Target {
            let mut bytes = BytesMut::new();
            Reply { proof: self.proof(our_side, scene) }.encode(&mut bytes);
            let written = self.connection.send_stream(id).write(&bytes);
            let whole = matches!(written, Ok(count) if count == bytes.len());
            scene.demand(whole, Promise::Sound, format_args!("a reply does not fit: {written:?}"));
            self.connection.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(STREAMS_MAX + 1));
        }
        self.connection.set_receive_window(VarInt::from_u64(receive_window(STREAMS_MAX)).expect("a window"));
        self.connection.set_send_window(TUNNEL_SEND_WINDOW);
        self.phase = Phase::Open { since: scene.now, traffic: Traffic::new(id) };
        self.liveness = Liveness::new(scene.now);
        scene.tally.tunnels += u64::from(self.node == Node::Source);
        let node = self.node;
        scene.note(format_args!("{node:?}: the tunnel is open"));
    }

    /// What `side` proves in this TLS session.
    fn proof(&self, side: Side, scene: &mut Scene) -> Proof {
        let session = self.connection.crypto_session();
        let mut exporter = [0; 32];
        let is_bound = session.export_keying_material(&mut exporter, EXPORTER_LABEL, b"").is_ok();
        let credentials = credentials::of(self.node);
        let chain =
            session.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let peer = chain.and_then(|chain| VerifiedPeer::from_handshake(&chain, &credentials.trust).ok());
        let is_peer =
            peer.as_ref().and_then(VerifiedPeer::server) == Some(credentials::server(self.node.peer()));
        scene.demand(is_bound && is_peer, Promise::Sound, format_args!("a handshake with somebody else"));
        let theirs = peer.map_or([0; 32], |peer| peer.leaf_hash());
        let ours = credentials.identity.leaf_hash();
        let (source, target) = if self.node == Node::Source { (ours, theirs) } else { (theirs, ours) };
        open::proof(&credentials::secret(), &exporter, credentials::CONNECTION, side, &source, &target)
    }

    fn lose(&mut self, reason: &ConnectionError, scene: &mut Scene) {
        let cause = match reason {
            ConnectionError::TimedOut | ConnectionError::Reset => Cause::Outage,
            ConnectionError::ApplicationClosed(close) => {
                match Code::from_u64(close.error_code.into_inner()) {
                    Some(Code::Stalled | Code::Ended) => Cause::Told,
                    Some(Code::Refused) => Cause::Unproven,
                    _ => Cause::Fault,
                }
            }
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => Cause::Fault,
        };
        self.end(None, reason.to_string(), cause, scene);
    }

    fn end(&mut self, close: Option<Code>, why: String, cause: Cause, scene: &mut Scene) {
        if let Some(why) = close {
            self.connection.close(scene.now, code(why), Bytes::new());
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        if let Phase::Open { mut traffic, .. } = phase {
            traffic.cut(scene);
            let node = self.node;
            scene.note(format_args!("{node:?}: the tunnel ended: {why}"));
            scene.ended.push(End { node, why, cause });
        }
    }
}

fn code(why: Code) -> VarInt {
    VarInt::from_u32(why.to_u32())
}
