//! How far both directions of a data stream may go, and how far they went: what a peer granted is never
//! overrun, and a peer that overruns what it was granted loses the tunnel.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use quinn::{SendStream, WriteError};
use tracing::debug;

use super::splice::ByteCounts;
use super::stall::Stall;
use super::tunnel::{StreamSignals, Tunnel};
use adit_core::protocol::credit::{ReceiveCredit, SendCredit};
use adit_core::protocol::frame::Code;

/// To the peer.
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    credit: SendCredit,
    sent: u64,
    stall: Stall,
}

impl SendWindow {
    /// Takes what the peer granted meanwhile, and wakes this task when it grants more.
    pub(super) fn refresh(&mut self, signals: &StreamSignals, cx: &Context<'_>) {
        signals.register(cx.waker());
        self.credit.handle_limit(signals.limit());
        if self.stall.since.is_some() && self.credit.available(self.sent) > 0 {
            self.stall.end();
        }
    }

    /// Returns whether nothing may be sent; from then on the stream is stalled.
    pub(super) fn is_used_up(&mut self) -> bool {
        let is_used_up = self.credit.available(self.sent) == 0;
        if is_used_up {
            self.stall.begin();
        }
        is_used_up
    }

    /// Returns how often the stream was stalled.
    pub(super) const fn stalls(&self) -> u64 {
        self.stall.count
    }

    /// Says what is lost with a stream that ends while it is stalled.
    pub(super) fn end_unfinished(&self) {
        self.stall.end_unfinished();
    }

    /// Returns how many bytes of the stream were sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends as much of `bytes` as the peer and QUIC take at once, and takes it from their front. While the
    /// window is used up, only [`Self::refresh`] wakes the task.
    pub(super) fn poll_write(
        &mut self,
        send: &mut SendStream,
        bytes: &mut Bytes,
        counts: &ByteCounts,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let allowed = self.credit.available(self.sent);
        let len = bytes.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        if len == 0 {
            self.stall.begin();
            return Poll::Pending;
        }
        let mut chunk = [bytes.slice(..len)];
        let written = ready!(pin!(send.write_chunks(&mut chunk)).poll(cx))?.bytes;
        bytes.advance(written);
        self.sent += written as u64;
        counts.into_tunnel.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// The peer sent more than it was granted; the tunnel is closed.
#[derive(Debug)]
pub(super) struct Overrun;

/// From the peer.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    credit: ReceiveCredit,
    received: u64,
}

impl ReceiveWindow {
    /// Makes the window of one stream of `tunnel`.
    pub(super) fn new(tunnel: &Tunnel) -> Self {
        Self { credit: ReceiveCredit::new(Arc::clone(tunnel.budget())), received: 0 }
    }

    /// Returns how many bytes of the stream were received.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Counts what was received.
    pub(super) fn handle_received(&mut self, bytes: usize, tunnel: &Tunnel) -> Result<(), Overrun> {
        self.received += bytes as u64;
        if self.received <= self.credit.limit() {
            return Ok(());
        }
        // A peer that goes beyond its credit would have us buffer without bound.
        debug!(received = self.received, limit = self.credit.limit(), "the peer goes beyond its credit");
        tunnel.connection().close(Code::Protocol);
        Err(Overrun)
    }

    /// Counts what has left this agent, and grants the peer more of stream `id` when it is due. `queued` is
    /// what the program behind the local socket has not taken of it.
    pub(super) fn handle_delivered(
        &mut self,
        bytes: u64,
        (tunnel, id): (&Tunnel, u64),
        counts: &ByteCounts,
        queued: impl FnOnce() -> u64,
    ) {
        counts.out_of_tunnel.fetch_add(bytes, Ordering::Relaxed);
        let (round_trip, before) = (|| tunnel.rtt(), self.credit.window());
        let more = self.credit.handle_delivered(bytes, self.received, Instant::now(), round_trip, queued);
        if let Some(limit) = more {
            tunnel.grant(id, limit, (before, self.credit.window()));
        }
    }
}
