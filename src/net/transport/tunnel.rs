//! An open tunnel: data streams, and the frames both ends exchange beside them.
//!
//! The first stream proves who may use the tunnel and then carries credit, cuts and health. Its
//! reader turns frames into signals for the streams; its writer drains one bounded queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{debug, trace};

use super::endpoint::{Connection, TransportError};
use super::opening::Opening;
use adit_core::domain::limits;
use adit_core::domain::word::UNKNOWN_WORDS;
use adit_core::protocol::credit::CreditBudget;
use adit_core::protocol::frame::{Code, Decoder, FrameError, STREAM_HEADER, TunnelFrame};

/// Frames that wait for a peer that does not read; beyond this the tunnel is closed.
const FRAMES_QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// A stream that is not cut.
const NEVER: u64 = u64::MAX;

/// The streams and frames of one verified connection.
#[derive(Debug)]
pub struct Tunnel {
    connection: Connection,
    streams_max: u32,
    streams: Mutex<Streams>,
    frames: FrameQueue,
    budget: Arc<CreditBudget>,
    peer_mirth: watch::Sender<Option<bool>>,
    /// One of the two agents stops.
    ending: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Streams {
    live: BTreeMap<u64, Arc<StreamSignals>>,
    /// Cuts that overtook the first packet of their stream.
    early_cuts: BTreeMap<u64, u64>,
    /// Streams with a lower id were seen before.
    next_unseen: u64,
}

/// What frames tell one stream.
#[derive(Debug)]
pub(super) struct StreamSignals {
    limit: AtomicU64,
    cut_at: AtomicU64,
    changed: AtomicWaker,
}

impl StreamSignals {
    fn new(cut_at: u64) -> Self {
        Self {
            limit: AtomicU64::new(limits::STREAM_CREDIT_INITIAL),
            cut_at: AtomicU64::new(cut_at),
            changed: AtomicWaker::new(),
        }
    }

    /// Returns how far the peer lets us send.
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// Returns where the peer's bytes end in a cut.
    pub(super) fn cut_at(&self) -> Option<u64> {
        Some(self.cut_at.load(Ordering::Acquire)).filter(|at| *at != NEVER)
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.changed.register(waker);
    }
}

/// One data stream with its signals. Dropped before both directions ended, it is cut: quinn alone
/// would end it as if all had been said.
#[derive(Debug)]
pub struct DataStream {
    pub(super) send: quinn::SendStream,
    pub(super) receive: quinn::RecvStream,
    pub(super) id: u64,
    pub(super) signals: Arc<StreamSignals>,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) finished: bool,
}

impl DataStream {
    /// Returns the number that both ends know the stream by.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.id
    }

    /// Gives the stream back unused, with the reason.
    pub fn refuse(mut self, code: Code) {
        debug!(stream = self.id, peer_hears = %code, "a stream is given back unused");
        self.give_up(code);
    }

    /// Ends our direction after everything written.
    pub(super) fn finish(&mut self) {
        // Fails only when the peer stopped the stream; reading reports that.
        let _ = self.send.finish();
        self.finished = true;
    }

    /// Ends both directions with `code`. A direction that ended already stays ended.
    pub(super) fn give_up(&mut self, code: Code) {
        let code = quinn::VarInt::from_u32(code.to_u32());
        if !self.finished {
            let _ = self.send.reset(code);
            self.finished = true;
        }
        let _ = self.receive.stop(code);
    }

    /// Returns whether one of the two agents stops: nothing may begin any more.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.tunnel.ending()
    }

    /// Returns whether the peer has cut it already, as far as frames tell.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.signals.cut_at().is_some()
    }

    /// Waits until the peer gives the stream up; an end in order is none.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.send.stopped();
        async move {
            if !matches!(stopped.await, Ok(Some(_))) {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the peer wants no more, or has acknowledged all of an ended direction.
    pub(super) async fn stopped(&self) {
        let _ = self.send.stopped().await;
    }
}

impl Drop for DataStream {
    fn drop(&mut self) {
        self.give_up(Code::Cut);
        self.tunnel.streams().live.remove(&self.id);
    }
}

impl Tunnel {
    /// Makes a tunnel; `connection` must have passed the proof.
    #[must_use]
    pub fn new(connection: Connection, streams_max: u32) -> Arc<Self> {
        Arc::new(Self {
            connection,
            streams_max,
            streams: Mutex::default(),
            frames: FrameQueue::default(),
            budget: CreditBudget::shared(limits::TUNNEL_CREDIT_BUDGET),
            peer_mirth: watch::Sender::new(None),
            ending: watch::Sender::new(false),
        })
    }

    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    #[must_use]
    pub fn streams_open(&self) -> usize {
        self.streams().live.len()
    }

    /// Returns whether the Mirth at the far end answers; `None` until its agent has said so.
    #[must_use]
    pub fn peer_mirth(&self) -> watch::Receiver<Option<bool>> {
        self.peer_mirth.subscribe()
    }

    pub fn send_mirth_state(&self, answers: bool) {
        debug!(answers, "the peer's agent is told whether the local Mirth answers");
        self.send_frame(TunnelFrame::Mirth { answers });
    }

    /// Returns whether one of the two agents stops: nothing may begin any more.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Tells the peer that this agent stops. A peer that has said so itself need not hear it.
    pub fn send_stopping(&self) {
        if self.begin_ending() {
            debug!("the peer's agent is told that this one stops");
            self.send_frame(TunnelFrame::Stopping);
        }
    }

    /// Returns whether that is news.
    fn begin_ending(&self) -> bool {
        self.ending.send_if_modified(|ending| !std::mem::replace(ending, true))
    }

    pub(super) fn budget(&self) -> &Arc<CreditBudget> {
        &self.budget
    }

    pub(super) fn rtt(&self) -> Duration {
        self.connection.0.rtt()
    }

    /// Opens a stream for a local connection. Its header goes out at once, so that the far side dials while
    /// the first bytes are still on their way, and a server that speaks first is heard.
    pub async fn open_stream(self: &Arc<Self>) -> Result<DataStream, TransportError> {
        let (send, receive) = self.connection.0.open_bi().await.map_err(TransportError::lost)?;
        self.begin(send, receive).await
    }

    /// Opens one in the same way if the peer lets it be opened within `place_wait`. Its header is waited for as
    /// long as the tunnel lives: it stands behind what other streams have under way, which says nothing of the peer.
    pub async fn open_stream_within(
        self: &Arc<Self>,
        place_wait: Duration,
    ) -> Result<DataStream, TransportError> {
        let opened = timeout(place_wait, self.connection.0.open_bi()).await;
        let (send, receive) =
            opened.map_err(|_| TransportError::StreamClosed)?.map_err(TransportError::lost)?;
        self.begin(send, receive).await
    }

    async fn begin(
        self: &Arc<Self>,
        mut send: quinn::SendStream,
        receive: quinn::RecvStream,
    ) -> Result<DataStream, TransportError> {
        send.write_all(&[STREAM_HEADER]).await.map_err(|_| TransportError::StreamClosed)?;
        Ok(self.register(send, receive))
    }

    /// Accepts the next stream the peer opens.
    pub async fn accept_stream(self: &Arc<Self>) -> Result<DataStream, TransportError> {
        let (send, receive) = self.connection.0.accept_bi().await.map_err(TransportError::lost)?;
        Ok(self.register(send, receive))
    }

    fn register(self: &Arc<Self>, send: quinn::SendStream, receive: quinn::RecvStream) -> DataStream {
        let id: u64 = send.id().into();
        let mut streams = self.streams();
        let cut_at = streams.early_cuts.remove(&id).unwrap_or(NEVER);
        streams.next_unseen = streams.next_unseen.max(id + 1);
        let signals = Arc::new(StreamSignals::new(cut_at));
        streams.live.insert(id, Arc::clone(&signals));
        drop(streams);
        DataStream { send, receive, id, signals, tunnel: Arc::clone(self), finished: false }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock()
    }

    /// Tells the peer how far it may go on a stream, whose window was `before`.
    pub(super) fn grant(&self, stream: u64, limit: u64, (before, window): (u64, u64)) {
        if window == before {
            trace!(stream, limit, window, "the peer is granted more credit");
        } else {
            debug!(stream, limit, before, window, "the window of a stream changes with what it delivers");
        }
        self.send_frame(TunnelFrame::Credit { stream, limit });
    }

    pub(super) fn send_frame(&self, frame: TunnelFrame) {
        if !self.frames.push(frame) {
            debug!(bytes_max = FRAMES_QUEUED_BYTES_MAX, "the peer reads no frames, so its tunnel is closed");
            self.connection.close(Code::Protocol);
        }
    }

    /// Exchanges frames on the first stream until the connection ends; gives the reason.
    pub async fn run(&self, mut opening: Opening) -> TransportError {
        let error = tokio::select! {
            error = self.read_frames(&mut opening.receive, &opening.rest) => error,
            error = self.frames.write_to(&mut opening.send) => error,
        };
        debug!(%error, streams = self.streams_open(), "no more frames are exchanged on this tunnel");
        match error {
            TransportError::Lost { .. } | TransportError::Closed { .. } => {}
            _ => self.connection.close(Code::Protocol),
        }
        error
    }

    async fn read_frames(&self, receive: &mut quinn::RecvStream, rest: &[u8]) -> TransportError {
        let mut decoder = Decoder::default();
        if let Err(error) = self.handle_bytes(&mut decoder, rest) {
            return error;
        }
        loop {
            let outcome = match receive.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.handle_bytes(&mut decoder, &chunk.bytes),
                Ok(None) => Err(TransportError::StreamClosed),
                Err(error) => Err(TransportError::of_read(error)),
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    fn handle_bytes(&self, decoder: &mut Decoder, bytes: &[u8]) -> Result<(), TransportError> {
        let broken = |error: FrameError| TransportError::Peer { what: error.to_string() };
        decoder.extend(bytes);
        while let Some(frame) = decoder.next_frame().map_err(broken)? {
            self.handle_frame(frame)?;
        }
        Ok(())
    }

    fn handle_frame(&self, frame: TunnelFrame) -> Result<(), TransportError> {
        match frame {
            TunnelFrame::Credit { stream, limit } => {
                trace!(stream, limit, "the peer grants more credit");
                if let Some(signals) = self.streams().live.get(&stream) {
                    signals.limit.fetch_max(limit, Ordering::AcqRel);
                    signals.changed.wake();
                }
            }
            TunnelFrame::Cut { stream, at } => return self.handle_cut(stream, at),
            TunnelFrame::Mirth { answers } => {
                debug!(answers, "the peer's agent says whether its Mirth answers");
                self.peer_mirth.send_replace(Some(answers));
            }
            TunnelFrame::Stopping => {
                debug!("the peer's agent says that it stops, so nothing begins on this tunnel any more");
                self.begin_ending();
            }
            TunnelFrame::Unknown { kind } => {
                metrics::counter!(UNKNOWN_WORDS, "kind" => "frame").increment(1);
                tracing::debug!(kind, "the peer sent a frame that this build does not know; it is ignored");
            }
        }
        Ok(())
    }

    fn handle_cut(&self, stream: u64, at: u64) -> Result<(), TransportError> {
        let mut streams = self.streams();
        if let Some(signals) = streams.live.get(&stream) {
            debug!(stream, at, "the far socket was reset; the local one is, once it has what came before");
            signals.cut_at.store(at, Ordering::Release);
            signals.changed.wake();
        } else if stream >= streams.next_unseen {
            if streams.early_cuts.len() >= limits::quic_streams(self.streams_max) as usize {
                return Err(TransportError::Peer { what: "cuts of streams it never opened".into() });
            }
            trace!(stream, at, "a cut came ahead of its stream");
            streams.early_cuts.insert(stream, at);
        } else {
            trace!(stream, at, "a cut came after the end of its stream");
        }
        Ok(())
    }
}

/// Encoded frames that wait for the first stream.
#[derive(Debug, Default)]
struct FrameQueue {
    encoded: Mutex<BytesMut>,
    filled: Notify,
}

impl FrameQueue {
    /// Returns whether there was room.
    fn push(&self, frame: TunnelFrame) -> bool {
        let mut encoded = self.encoded.lock();
        if encoded.len() >= FRAMES_QUEUED_BYTES_MAX {
            return false;
        }
        frame.encode(&mut *encoded);
        drop(encoded);
        self.filled.notify_one();
        true
    }

    async fn write_to(&self, send: &mut quinn::SendStream) -> TransportError {
        loop {
            self.filled.notified().await;
            let frames = self.encoded.lock().split().freeze();
            if let Err(error) = send.write_chunk(frames).await {
                return TransportError::of_write(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
