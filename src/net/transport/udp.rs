//! One UDP socket with everything the kernel offers for batches: GSO, GRO, ECN, large buffers.
//!
//! The agent's socket. What the gateway's receives belongs to the relay's thread instead.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::UdpPoller;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

/// What the kernel is asked to buffer in each direction; what it gave is reported.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Sizes the kernel granted.
#[derive(Debug, Clone, Copy)]
pub struct SocketBuffers {
    pub receive_bytes: usize,
    pub send_bytes: usize,
}

#[derive(Debug)]
pub(super) struct UdpIo {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    /// quinn takes some refusals of the kernel for a lack of segmentation, for good. What happens to
    /// packets of our own, whose addresses strangers may choose, must not slow the others down.
    own_state: UdpSocketState,
    is_v6: bool,
    /// The last send found the kernel's buffer full. Lets the common case ask nothing and
    /// allocate nothing.
    is_full: AtomicBool,
}

impl UdpIo {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        ask_for_buffers(&state, &socket);
        let own_state = UdpSocketState::new((&socket).into())?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { io, state, own_state, is_v6, is_full: AtomicBool::new(false) })
    }

    pub(super) fn bound(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(super) fn buffers(&self) -> io::Result<SocketBuffers> {
        Ok(SocketBuffers {
            receive_bytes: self.state.recv_buffer_size((&self.io).into())?,
            send_bytes: self.state.send_buffer_size((&self.io).into())?,
        })
    }

    /// Writes an address for the socket: a dual-stack socket knows IPv4 addresses as `::ffff:a.b.c.d`.
    pub(super) fn as_family(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }

    pub(super) fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.try_send_by(&self.state, transmit)
    }

    /// Does the same for packets of our own.
    pub(super) fn try_send_own(&self, transmit: &Transmit) -> io::Result<()> {
        self.try_send_by(&self.own_state, transmit)
    }

    fn try_send_by(&self, state: &UdpSocketState, transmit: &Transmit) -> io::Result<()> {
        let sent = self.io.try_io(Interest::WRITABLE, || state.send((&self.io).into(), transmit));
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_full.store(true, Ordering::Release);
        }
        sent
    }

    pub(super) async fn writable(&self) {
        // An error is a socket that is gone; the next sender finds out.
        let _ = self.io.writable().await;
    }

    pub(super) fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let received =
                self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta));
            // An error here is stale readiness or an ICMP message about one peer of many.
            if let Ok(count) = received {
                return Poll::Ready(Ok(count));
            }
        }
    }

    pub(super) fn segments_per_send(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub(super) fn segments_per_receive(&self) -> usize {
        self.state.gro_segments()
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Asks for buffers; refusal leaves the kernel's default, which is reported.
pub(super) fn ask_for_buffers(state: &UdpSocketState, socket: &std::net::UdpSocket) {
    let _ = state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER_BYTES);
    let _ = state.set_send_buffer_size(socket.into(), SOCKET_BUFFER_BYTES);
}

/// Keeps the packets of one received batch that `keep` wants at the front of `buffer`.
pub(super) fn retain_segments(buffer: &mut [u8], meta: &mut RecvMeta, mut keep: impl FnMut(&[u8]) -> bool) {
    let stride = meta.stride.max(1);
    let mut kept = 0;
    let mut start = 0;
    while start < meta.len {
        let end = (start + stride).min(meta.len);
        if keep(&buffer[start..end]) {
            if kept != start {
                buffer.copy_within(start..end, kept);
            }
            kept += end - start;
        }
        start = end;
    }
    meta.len = kept;
}

type WritableFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Wakes one quinn task when the socket takes packets again.
pub(super) struct WritablePoller {
    udp: Arc<UdpIo>,
    waiting: Option<WritableFuture>,
}

impl WritablePoller {
    pub(super) fn boxed(udp: Arc<UdpIo>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Self { udp, waiting: None })
    }
}

impl UdpPoller for WritablePoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        if self.waiting.is_none() && !self.udp.is_full.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let udp = Arc::clone(&self.udp);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { udp.io.writable().await }));
        let outcome = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.udp.is_full.store(false, Ordering::Release);
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for WritablePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").field("waiting", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_batch_moves_to_the_front_in_order() {
        let mut buffer = *b"aaBBccDDe";
        let mut meta = RecvMeta { len: 9, stride: 2, ..RecvMeta::default() };
        retain_segments(&mut buffer, &mut meta, |packet| packet[0].is_ascii_lowercase());
        assert_eq!(&buffer[..meta.len], b"aacce");
    }

    #[test]
    fn an_empty_batch_stays_empty() {
        let mut meta = RecvMeta { len: 0, stride: 0, ..RecvMeta::default() };
        retain_segments(&mut [], &mut meta, |_| true);
        assert_eq!(meta.len, 0);
    }
}
