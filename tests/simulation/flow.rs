//! Flow control above QUIC's, as `transport/tunnel.rs` and `transport/splice.rs` do it: the product's
//! credit of each stream, told in the product's frames on the tunnel's first stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::domain::limits::TUNNEL_CREDIT_BUDGET;
use adit_core::protocol::credit::{CreditBudget, ReceiveCredit, SendCredit};
use adit_core::protocol::frame::{Decoder, TunnelFrame};
use bytes::{Buf, BytesMut};
use quinn_proto::{Connection, StreamId, VarInt};

use crate::log::Promise;
use crate::scene::Scene;
use crate::traffic::{Read, read};

/// Frames that may wait for QUIC to take them.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// The first stream of an open tunnel.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: StreamId,
    decoder: Decoder,
    unsent: BytesMut,
    /// What the peer said last of its Mirth, and nobody took yet.
    pub mirth: Option<bool>,
    budget: Arc<CreditBudget>,
}

/// One stream's credit in both directions.
#[derive(Debug)]
pub(crate) struct Flow {
    stream: u64,
    send: SendCredit,
    receive: ReceiveCredit,
}

impl Frames {
    pub(crate) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            unsent: BytesMut::new(),
            mirth: None,
            budget: CreditBudget::shared(TUNNEL_CREDIT_BUDGET),
        }
    }

    pub(crate) fn flow(&self, stream: StreamId) -> Flow {
        Flow {
            stream: VarInt::from(stream).into_inner(),
            send: SendCredit::new(),
            receive: ReceiveCredit::new(Arc::clone(&self.budget)),
        }
    }

    /// What the peer has granted to which stream.
    pub(crate) fn read(&mut self, connection: &mut Connection, scene: &mut Scene) -> Vec<(u64, u64)> {
        let mut granted = Vec::new();
        let outcome = read(connection, self.stream, |bytes| self.decoder.extend(bytes));
        let lives = matches!(outcome, Read::Open);
        scene.demand(lives, Promise::Lives, format_args!("the first stream of a living tunnel ended"));
        loop {
            match self.decoder.next_frame() {
                Ok(Some(TunnelFrame::Credit { stream, limit })) => granted.push((stream, limit)),
                Ok(Some(TunnelFrame::Mirth { answers })) => self.mirth = Some(answers),
                Ok(Some(frame)) => scene.demand(false, Promise::Exact, format_args!("nobody sent {frame:?}")),
                Ok(None) => return granted,
                Err(error) => {
                    scene.demand(false, Promise::Exact, format_args!("a frame is garbled: {error}"));
                    return granted;
                }
            }
        }
    }

    pub(crate) fn tell(&mut self, frame: TunnelFrame) {
        frame.encode(&mut self.unsent);
    }

    pub(crate) fn write(&mut self, connection: &mut Connection, scene: &mut Scene) {
        while !self.unsent.is_empty() {
            // Blocked, it is tried again when something stirs.
            let Ok(count) = connection.send_stream(self.stream).write(&self.unsent) else { break };
            self.unsent.advance(count);
        }
        let waiting = self.unsent.len();
        let what = format_args!("{waiting} bytes of frames wait");
        scene.demand(waiting <= UNSENT_BYTES_MAX, Promise::Bounded, what);
    }
}

impl Flow {
    pub(crate) fn stream(&self) -> u64 {
        self.stream
    }

    pub(crate) fn grant(&mut self, limit: u64) {
        self.send.handle_limit(limit);
    }

    /// How much more may be sent when `sent` was sent so far.
    pub(crate) fn room(&self, sent: u64) -> u64 {
        self.send.available(sent)
    }

    /// The program took `count` bytes more and has `received` now.
    pub(crate) fn take(
        &mut self,
        count: u64,
        received: u64,
        round_trip: Duration,
        now: Instant,
        frames: &mut Frames,
    ) -> bool {
        let within = received <= self.receive.limit();
        if let Some(limit) = self.receive.handle_delivered(count, received, now, || round_trip, || 0) {
            TunnelFrame::Credit { stream: self.stream, limit }.encode(&mut frames.unsent);
        }
        within
    }
}
