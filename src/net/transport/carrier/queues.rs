//! What lies between an agent's socket and its carrier: packets one way, messages the other.
//!
//! The socket never waits. A packet that finds no room is dropped, as in any network, and QUIC repairs; a
//! socket that said it would block instead would make quinn spin. Incoming messages are held back by TCP.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use adit_core::domain::limits::{
    CARRIER_MESSAGE_BYTES_MAX, CARRIER_MESSAGES_QUEUED_MAX, CARRIER_QUEUE_BYTES_MAX,
};
use adit_core::protocol::carrier;

/// The socket's end: packets go in, messages come out. Whether a carrier is there makes no difference but that
/// without one packets are dropped.
#[derive(Debug)]
pub struct SocketEnd {
    outgoing: Arc<Outgoing>,
    /// Only the socket's reader reads, so this is never waited for.
    incoming: Mutex<mpsc::Receiver<Bytes>>,
}

/// The carrier's end: messages to send come out, messages that came go in.
#[derive(Debug, Clone)]
pub struct CarrierEnd {
    outgoing: Arc<Outgoing>,
    incoming: mpsc::Sender<Bytes>,
}

#[derive(Debug, Default)]
struct Outgoing {
    /// A carrier takes what is queued.
    is_open: AtomicBool,
    waiting: Mutex<Waiting>,
    filled: Notify,
    misframed: Notify,
    dropped: AtomicU64,
}

/// Messages that wait: those that are full, and the one that is being filled.
#[derive(Debug, Default)]
pub(in crate::transport) struct Waiting {
    full: std::collections::VecDeque<Bytes>,
    filling: BytesMut,
    bytes: usize,
}

/// Returns both ends, for one relay.
#[must_use]
pub fn queues() -> (SocketEnd, CarrierEnd) {
    let outgoing = Arc::<Outgoing>::default();
    let (incoming, queue) = mpsc::channel(CARRIER_MESSAGES_QUEUED_MAX);
    let socket = SocketEnd { outgoing: Arc::clone(&outgoing), incoming: Mutex::new(queue) };
    (socket, CarrierEnd { outgoing, incoming })
}

impl SocketEnd {
    /// Queues the packets of `contents`, each `segment` bytes long but for the last; what finds no room, or
    /// no carrier, is dropped and counted; returns how many did.
    pub fn send(&self, contents: &[u8], segment: usize) -> u64 {
        let mut lost = 0;
        if self.outgoing.is_open.load(Ordering::Acquire) {
            let mut waiting = self.outgoing.waiting.lock();
            for packet in contents.chunks(segment.max(1)) {
                lost += u64::from(!waiting.push(packet));
            }
        } else {
            lost = contents.chunks(segment.max(1)).count() as u64;
        }
        self.outgoing.dropped.fetch_add(lost, Ordering::Relaxed);
        self.outgoing.filled.notify_one();
        lost
    }

    /// Tells the carrier's end that a message held no packets as they are framed.
    pub fn note_misframed(&self) {
        self.outgoing.misframed.notify_one();
    }

    /// Returns whether a carrier takes packets now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outgoing.is_open.load(Ordering::Acquire)
    }

    /// Polls for the next message that came; never ends while the carrier's end is kept anywhere.
    pub fn poll_receive(&self, cx: &mut Context) -> Poll<Option<Bytes>> {
        Pin::new(&mut *self.incoming.lock()).poll_recv(cx)
    }

    /// Returns how many packets found no room or no carrier.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.outgoing.dropped.load(Ordering::Relaxed)
    }
}

impl CarrierEnd {
    /// Takes packets from now on, or no more; what waited for an earlier carrier is forgotten.
    pub fn set_open(&self, is_open: bool) {
        let mut waiting = self.outgoing.waiting.lock();
        *waiting = Waiting::default();
        // Word of the one before may have come late.
        let _ = self.outgoing.misframed.notified().now_or_never();
        self.outgoing.is_open.store(is_open, Ordering::Release);
    }

    /// Waits for packets to send; returns them as one message.
    pub async fn next(&self) -> Bytes {
        loop {
            if let Some(message) = self.try_next() {
                return message;
            }
            self.outgoing.filled.notified().await;
        }
    }

    /// Waits until a message that was delivered turns out to hold no packets as they are framed: whoever is at
    /// the other end is none of ours, and the carrier ends.
    pub async fn misframed(&self) {
        self.outgoing.misframed.notified().await;
    }

    /// Returns the next message, if any packet waits.
    #[must_use]
    pub fn try_next(&self) -> Option<Bytes> {
        self.outgoing.waiting.lock().pop()
    }

    /// Hands on a message that came; waits while the socket has as many as it may. `false`: the socket is gone.
    pub async fn deliver(&self, message: Bytes) -> bool {
        self.incoming.send(message).await.is_ok()
    }
}

impl Waiting {
    /// Queues a packet; `false` where it finds no room.
    pub(in crate::transport) fn push(&mut self, packet: &[u8]) -> bool {
        let length = carrier::LENGTH_BYTES + packet.len();
        if self.bytes + length > CARRIER_QUEUE_BYTES_MAX {
            return false;
        }
        if self.filling.len() + length > CARRIER_MESSAGE_BYTES_MAX {
            self.full.push_back(self.filling.split().freeze());
        }
        if self.filling.is_empty() {
            self.filling.reserve(CARRIER_MESSAGE_BYTES_MAX.min(length.max(8 * 1024)));
        }
        let taken = carrier::append(&mut self.filling, packet);
        self.bytes += if taken { length } else { 0 };
        taken
    }

    pub(in crate::transport) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes the next message. One who has nothing waiting holds no memory: most have nothing at most times.
    pub(in crate::transport) fn pop(&mut self) -> Option<Bytes> {
        let message = self.full.pop_front().unwrap_or_else(|| std::mem::take(&mut self.filling).freeze());
        self.bytes -= message.len();
        (!message.is_empty()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn lengths(message: &[u8]) -> Vec<usize> {
        carrier::packets(message).map(|packet| packet.unwrap().len()).collect()
    }

    #[tokio::test]
    async fn segments_come_out_as_packets_of_one_message() {
        let (socket, carrier) = queues();
        carrier.set_open(true);
        socket.send(&[1; 250], 100);
        socket.send(&[2; 30], 30);
        assert_eq!(lengths(&carrier.next().await), [100, 100, 50, 30]);
        assert_eq!((carrier.try_next(), socket.dropped()), (None, 0));
    }

    #[test]
    fn what_finds_no_room_or_no_carrier_is_dropped_and_counted() {
        let (socket, carrier) = queues();
        socket.send(&[1; 250], 100);
        assert_eq!(socket.dropped(), 3);
        carrier.set_open(true);
        assert!(carrier.try_next().is_none(), "nothing waits for a carrier that was not there");
        let one = 1_000 + carrier::LENGTH_BYTES;
        let fit = CARRIER_QUEUE_BYTES_MAX / one;
        socket.send(&vec![0; 1_000 * (fit + 8)], 1_000);
        assert_eq!(socket.dropped(), 3 + 8);
        let sent: usize =
            std::iter::from_fn(|| carrier.try_next()).map(|message| lengths(&message).len()).sum();
        assert_eq!(sent, fit);
        socket.send(&[0; 10], 10);
        carrier.set_open(false);
        carrier.set_open(true);
        assert!(carrier.try_next().is_none(), "what waited for the one before is forgotten");
    }

    #[tokio::test]
    async fn messages_reach_the_socket_in_order_and_wait_for_it() {
        let (socket, carrier) = queues();
        for number in 0..CARRIER_MESSAGES_QUEUED_MAX {
            assert!(carrier.deliver(vec![u8::try_from(number).unwrap()].into()).await);
        }
        let one_more = carrier.deliver(vec![99].into());
        let mut one_more = std::pin::pin!(one_more);
        assert!(futures_poll_once(one_more.as_mut()).await.is_none(), "TCP holds it back");
        let first = poll_fn(|cx| socket.poll_receive(cx)).await;
        assert_eq!(first.as_deref(), Some(&[0][..]));
        assert!(one_more.await);
    }

    /// Polls once.
    async fn futures_poll_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
        let mut future = Some(future);
        poll_fn(|cx| {
            let polled = Pin::new(future.as_mut().unwrap()).poll(cx);
            Poll::Ready(match polled {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        })
        .await
    }
}
