//! The carriers of an agent's socket: their messages become what quinn takes for batches of datagrams.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use quinn::udp::RecvMeta;

use super::VIRTUAL_PEER;
use super::drops::count;
use crate::transport::carrier::queues::SocketEnd;
use adit_core::domain::id::RelayId;
use adit_core::protocol::carrier::{LENGTH_BYTES, packets};

/// One end for each relay; who is at the other changes nothing here.
#[derive(Debug)]
pub(super) struct Carriers(BTreeMap<RelayId, Lane>);

#[derive(Debug)]
struct Lane {
    end: SocketEnd,
    /// What is left of the message that is being handed on. Only the socket's reader asks.
    left: Mutex<Bytes>,
}

/// Packets of equal length at the front of a buffer, but for the last, which may be shorter.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    length: usize,
    stride: usize,
}

impl Carriers {
    pub(super) fn new(ends: BTreeMap<RelayId, SocketEnd>) -> Self {
        let lane = |end| Lane { end, left: Mutex::default() };
        Self(ends.into_iter().map(|(relay, end)| (relay, lane(end))).collect())
    }

    /// Queues packets for the carrier of `relay`; returns how many found no room or no carrier.
    pub(super) fn send(&self, relay: RelayId, contents: &[u8], segment: usize) -> u64 {
        let packets = || contents.chunks(segment.max(1)).count() as u64;
        self.0.get(&relay).map_or_else(packets, |lane| lane.end.send(contents, segment))
    }

    /// Fills buffers from what has come over any carrier, at most half of them, so that UDP has its share;
    /// returns how many. `keeps` says of each packet whether it is for quinn.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        misframed: &AtomicU64,
        mut keeps: impl FnMut(RelayId, &[u8]) -> bool,
    ) -> usize {
        let buffers_max = bufs.len().div_ceil(2);
        let mut filled = 0;
        for (relay, lane) in &self.0 {
            let mut left = lane.left.lock();
            while filled < buffers_max {
                if left.is_empty() {
                    let Poll::Ready(Some(message)) = lane.end.poll_receive(cx) else { break };
                    *left = message;
                }
                let Ok(batch) = fill(&mut left, &mut bufs[filled], |packet| keeps(*relay, packet)) else {
                    tracing::debug!(%relay, "a message of the carrier is not framed as ours are, so the carrier ends");
                    count(misframed);
                    lane.end.note_misframed();
                    left.clear();
                    continue;
                };
                if batch.length > 0 {
                    let Batch { length, stride } = batch;
                    meta[filled] =
                        RecvMeta { addr: VIRTUAL_PEER, len: length, stride, ..RecvMeta::default() };
                    filled += 1;
                }
            }
        }
        filled
    }
}

/// Moves packets of `message` into `buffer` as long as they make one batch.
fn fill(
    message: &mut Bytes,
    buffer: &mut [u8],
    mut keeps: impl FnMut(&[u8]) -> bool,
) -> Result<Batch, adit_core::protocol::carrier::Misframed> {
    let mut batch = Batch::default();
    let mut is_over = false;
    while let Some(packet) = packets(message).next() {
        let packet = match packet {
            Ok(packet) => packet,
            // What came before it is good.
            Err(_) if batch.length > 0 => return Ok(batch),
            Err(misframed) => return Err(misframed),
        };
        let end = batch.length + packet.len();
        let fits = batch.length == 0 || (!is_over && packet.len() <= batch.stride && end <= buffer.len());
        if !fits {
            return Ok(batch);
        }
        if keeps(packet)
            && let Some(room) = buffer.get_mut(batch.length..end)
        {
            room.copy_from_slice(packet);
            if batch.length == 0 {
                batch.stride = packet.len();
            }
            is_over = packet.len() < batch.stride;
            batch.length = end;
        }
        let taken = LENGTH_BYTES + packet.len();
        message.advance(taken);
    }
    Ok(batch)
}
