//! One QUIC connection at one of its ends: handshake, proofs, streams. What `agent/tunnels.rs` and
//! `agent/connection/live.rs` do with tasks is done here with deadlines; settings, verifiers and messages are
//! the product's. How long it lives its connection's machine decides.

use std::sync::Arc;
use std::time::Instant;

use adit_core::domain::connection::Side;
use adit_core::domain::limits::{TUNNEL_HANDSHAKE_TIMEOUT, TUNNEL_OPEN_TIMEOUT, TUNNEL_SEND_WINDOW};
use adit_core::protocol::frame::Code;
use adit_core::protocol::liveness::PacketCounts;
use adit_core::protocol::open::{self, EXPORTER_LABEL, Open, Proof, Reply};
use adit_net::identity::peer::VerifiedPeer;
use adit_net::transport::congestion::PathHandle;
use adit_net::transport::endpoint::{counts, receive_window};
use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamId, VarInt};
use rustls::pki_types::CertificateDer;

use crate::credentials;
use crate::log::Promise;
use crate::scene::{Cause, Scene};
use crate::traffic::{self, Program, Read, STREAMS_MAX, Traffic};
use crate::wire::Node;

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub connection: Connection,
    node: Node,
    phase: Phase,
    path: Option<Arc<PathHandle>>,
    /// Something happened that streams may have waited for.
    woken: bool,
    /// What its connection's machine must hear.
    pub events: Vec<TunnelEvent>,
}

/// What happened to a tunnel.
#[derive(Debug)]
pub(crate) enum TunnelEvent {
    /// At the source: QUIC's handshake is done.
    Connected,
    /// Both ends have proven themselves.
    Proven,
    /// The far Mirth answers, says the peer.
    Mirth(bool),
    Lost {
        why: String,
        cause: Cause,
    },
}

#[derive(Debug)]
enum Phase {
    /// `until`: at the target, whose machine does not know it yet.
    Handshaking {
        until: Option<Instant>,
    },
    /// The source's handshake is done.
    Connected,
    Opening {
        until: Option<Instant>,
        stream: Option<StreamId>,
        buffer: BytesMut,
    },
    Proven {
        stream: StreamId,
    },
    Open {
        traffic: Traffic,
    },
    /// Closed; what is left is to tell the peer.
    Over,
}

impl Tunnel {
    pub(crate) fn new(node: Node, connection: Connection, now: Instant) -> Self {
        let until = (node == Node::Target).then(|| now + TUNNEL_HANDSHAKE_TIMEOUT);
        Self {
            path: PathHandle::of(connection.congestion_state().clone_box()),
            connection,
            node,
            phase: Phase::Handshaking { until },
            woken: false,
            events: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// When this end does something of its own accord.
    pub(crate) fn poll_timeout(&mut self, program: Option<&Program>) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Handshaking { until } | Phase::Opening { until, .. } => *until,
            Phase::Open { traffic, .. } => traffic.poll_timeout(program),
            Phase::Connected | Phase::Proven { .. } | Phase::Over => None,
        };
        self.connection.poll_timeout().into_iter().chain(own).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.woken = true;
        if let Phase::Handshaking { until } | Phase::Opening { until, .. } = &self.phase
            && until.is_some_and(|until| until <= now)
        {
            self.close(Code::Refused, now);
            self.phase = Phase::Over;
        }
    }

    /// What its liveness is judged by.
    pub(crate) fn counts(&self) -> Option<PacketCounts> {
        let path = self.path.as_ref().filter(|_| self.is_open())?;
        Some(counts(&self.connection.stats(), path))
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

    /// Does whatever can be done now.
    pub(crate) fn drive(&mut self, program: Option<&mut Program>, scene: &mut Scene) {
        while let Some(event) = self.connection.poll() {
            self.woken = true;
            match event {
                Event::Connected if self.node == Node::Source => {
                    self.phase = Phase::Connected;
                    self.events.push(TunnelEvent::Connected);
                }
                Event::Connected => self.begin_opening(Some(scene.now + TUNNEL_OPEN_TIMEOUT), None),
                Event::ConnectionLost { reason } => self.lose(&reason),
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
            self.events.extend(traffic.take_mirth().map(TunnelEvent::Mirth));
        }
    }

    /// Begins the source's half of the opening.
    pub(crate) fn prove(&mut self, scene: &mut Scene) {
        let open = Open {
            version: open::VERSION,
            connection: credentials::CONNECTION,
            proof: self.proof(Side::Source, scene),
        };
        let mut bytes = BytesMut::new();
        open.encode(&mut bytes);
        let stream = self.connection.streams().open(Dir::Bi);
        let written = stream.map(|id| self.connection.send_stream(id).write(&bytes));
        let whole = matches!(written, Some(Ok(count)) if count == bytes.len());
        scene.demand(whole, Promise::Sound, format_args!("an opening does not fit: {written:?}"));
        self.begin_opening(None, stream);
    }

    fn begin_opening(&mut self, until: Option<Instant>, stream: Option<StreamId>) {
        self.phase = Phase::Opening { until, stream, buffer: BytesMut::new() };
        self.woken = true;
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
        self.phase = Phase::Proven { stream: id };
        self.events.push(TunnelEvent::Proven);
    }

    /// Carries streams from now on.
    pub(crate) fn serve(&mut self, scene: &mut Scene) {
        let Phase::Proven { stream } = self.phase else {
            return scene.demand(
                false,
                Promise::Sound,
                format_args!("a tunnel is served that is not proven"),
            );
        };
        self.connection.set_receive_window(VarInt::from_u64(receive_window(STREAMS_MAX)).expect("a window"));
        self.connection.set_send_window(TUNNEL_SEND_WINDOW);
        self.phase = Phase::Open { traffic: Traffic::new(stream) };
        self.woken = true;
        scene.tally.tunnels += u64::from(self.node == Node::Source);
        let node = self.node;
        scene.note(format_args!("{node:?}: the tunnel is open"));
    }

    /// The peer is told whether the Mirth here answers.
    pub(crate) fn tell_mirth(&mut self, answers: bool) {
        if let Phase::Open { traffic } = &mut self.phase {
            traffic.tell_mirth(answers);
            self.woken = true;
        }
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

    fn lose(&mut self, reason: &ConnectionError) {
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
        if !self.is_over() {
            self.events.push(TunnelEvent::Lost { why: reason.to_string(), cause });
        }
        if !self.is_open() {
            self.phase = Phase::Over;
        }
    }

    pub(crate) fn close(&mut self, why: Code, now: Instant) {
        self.connection.close(now, code(why), Bytes::new());
        if !self.is_open() {
            self.phase = Phase::Over;
        }
    }

    /// It is no more, and what it carried is broken.
    pub(crate) fn end(&mut self, scene: &mut Scene) {
        if let Phase::Open { mut traffic } = std::mem::replace(&mut self.phase, Phase::Over) {
            traffic.cut(scene);
        }
    }
}

fn code(why: Code) -> VarInt {
    VarInt::from_u32(why.to_u32())
}
