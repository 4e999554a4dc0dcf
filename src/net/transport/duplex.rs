//! A data stream read and written in pieces, for those that look into what passes: admin sessions.
//!
//! The same credit holds as for spliced streams, so a receiver that stalls stops itself alone. Both
//! directions belong to one task: they share the waker of the stream's signals.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, WriteError};

use super::splice::ByteCounts;
use super::stream_window::{Overrun, ReceiveWindow, SendWindow};
use super::tunnel::{DataStream, StreamSignals, Tunnel};

/// What is read at once: a chunk of one packet, or what arrived of several.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Why a direction stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    #[error("the other end gave the stream up")]
    Cut,
    #[error("the tunnel was lost")]
    Lost,
}

/// One stream with its credit. Dropped before both directions ended, it is cut.
#[derive(Debug)]
pub struct Duplex<'c> {
    stream: DataStream,
    sending: SendWindow,
    receiving: ReceiveWindow,
    counts: &'c ByteCounts,
}

impl<'c> Duplex<'c> {
    /// Makes the duplex; the stream's header must have been read or written. What passes is added to
    /// `counts`.
    #[must_use]
    pub fn new(stream: DataStream, counts: &'c ByteCounts) -> Self {
        let receiving = ReceiveWindow::new(&stream.tunnel);
        Self { stream, sending: SendWindow::default(), receiving, counts }
    }

    /// Returns both directions, to be used side by side in one task.
    pub fn halves(&mut self) -> (Incoming<'_>, Outgoing<'_>) {
        let DataStream { send, receive, id, signals, tunnel, finished } = &mut self.stream;
        let counts = self.counts;
        let incoming = Incoming { receive, id: *id, signals, tunnel, receiving: &mut self.receiving, counts };
        (incoming, Outgoing { send, signals, finished, sending: &mut self.sending, counts })
    }
}

/// From the peer.
pub struct Incoming<'a> {
    receive: &'a mut quinn::RecvStream,
    id: u64,
    signals: &'a StreamSignals,
    tunnel: &'a Tunnel,
    receiving: &'a mut ReceiveWindow,
    counts: &'a ByteCounts,
}

impl Incoming<'_> {
    /// Returns the next bytes; `None` at the peer's end. May be dropped while it waits.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Stopped> {
        if self.signals.cut_at().is_some_and(|at| self.receiving.received() >= at) {
            return Err(Stopped::Cut);
        }
        match self.receive.read_chunk(CHUNK_BYTES_MAX, true).await {
            Ok(Some(chunk)) => {
                let within = self.receiving.handle_received(chunk.bytes.len(), self.tunnel);
                within.map(|()| Some(chunk.bytes)).map_err(|Overrun| Stopped::Lost)
            }
            Ok(None) => Ok(None),
            Err(ReadError::Reset(_) | ReadError::ClosedStream | ReadError::IllegalOrderedRead) => {
                Err(Stopped::Cut)
            }
            Err(ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected) => Err(Stopped::Lost),
        }
    }

    /// Waits for bytes and gives all that have arrived, about `bytes_max`: small packets become large
    /// writes. `None` at the peer's end. Holds nothing while it waits, and may be dropped then.
    pub async fn gather(&mut self, bytes_max: usize) -> Result<Option<BytesMut>, Stopped> {
        let Some(first) = self.read().await? else { return Ok(None) };
        let mut into = BytesMut::with_capacity(bytes_max.max(first.len()));
        into.extend_from_slice(&first);
        while into.capacity() - into.len() >= CHUNK_BYTES_MAX {
            let more = poll_fn(|cx| Poll::Ready(pin!(self.read()).poll(cx))).await;
            match more {
                Poll::Ready(Ok(Some(bytes))) => into.extend_from_slice(&bytes),
                // An end or a cut is said again by the next call, after what came before it.
                Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => break,
            }
        }
        Ok(Some(into))
    }

    /// Notes that so many of the bytes read have left this agent: the peer may send more.
    pub fn delivered(&mut self, bytes: usize) {
        self.receiving.handle_delivered(bytes as u64, (self.tunnel, self.id), self.counts, || 0);
    }
}

/// To the peer.
pub struct Outgoing<'a> {
    send: &'a mut quinn::SendStream,
    signals: &'a StreamSignals,
    finished: &'a mut bool,
    sending: &'a mut SendWindow,
    counts: &'a ByteCounts,
}

impl Outgoing<'_> {
    /// Sends all of `bytes`. Dropped while it waits, what was sent is gone from them.
    pub async fn write(&mut self, bytes: &mut Bytes) -> Result<(), Stopped> {
        // Does nothing before it is polled.
        let mut stopped = pin!(self.send.stopped());
        while !bytes.is_empty() {
            poll_fn(|cx| {
                self.sending.refresh(self.signals, cx);
                if self.sending.is_used_up() {
                    // A peer that gave up grants no more, and its own direction may have ended before.
                    return stopped.as_mut().poll(cx).map(|_| Err(Stopped::Cut));
                }
                self.sending.poll_write(self.send, bytes, self.counts, cx).map_err(|error| match error {
                    WriteError::Stopped(_) | WriteError::ClosedStream => Stopped::Cut,
                    WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected => Stopped::Lost,
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Ends this direction after everything written.
    pub fn finish(&mut self) {
        // Fails only when the peer stopped the stream; reading reports that.
        let _ = self.send.finish();
        *self.finished = true;
    }

    /// Waits until the peer has all of an ended direction, or wants no more.
    pub async fn taken(&self) {
        let _ = self.send.stopped().await;
    }
}
