//! The gateway's UDP socket and its carriers as quinn sees them: real addresses, one for each carrier
//! that nobody has outside, and only packets for the gateway's own route.
//!
//! quinn sends through the socket, or into a carrier's queue, directly. What it receives comes from the
//! relay's thread, which owns the receiving side ([`super::relay`]), through a bounded queue.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use super::relay::{self, carriers::Carriers};
use super::udp::ask_for_buffers;

/// Where the other end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// At this address.
    Udp(SocketAddr),
    /// At the end of a carrier whose TCP connection comes from this address; where a proxy is on the way, the
    /// proxy's.
    Carrier(SocketAddr),
}

impl Origin {
    /// Returns the address that counts for limits.
    #[must_use]
    pub const fn address(self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Carrier(address) => address,
        }
    }
}

/// One packet for the gateway itself.
#[derive(Debug)]
pub(super) struct OwnDatagram {
    pub(super) from: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: Bytes,
}

/// Give it to one endpoint; the relay's thread feeds it.
pub struct GatewaySocket {
    udp: Arc<UdpSocket>,
    state: UdpSocketState,
    /// The last send found the kernel's buffer full.
    is_full: AtomicBool,
    /// Only the endpoint's driver reads, so this is never waited for.
    arrived: Mutex<mpsc::Receiver<OwnDatagram>>,
    carriers: Arc<Carriers>,
}

impl GatewaySocket {
    pub(super) fn new(
        udp: Arc<UdpSocket>,
        arrived: mpsc::Receiver<OwnDatagram>,
        carriers: Arc<Carriers>,
    ) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new((&*udp).into())?;
        ask_for_buffers(&state, &udp);
        let (is_full, arrived) = (AtomicBool::new(false), Mutex::new(arrived));
        Ok(Arc::new(Self { udp, state, is_full, arrived, carriers }))
    }

    /// Returns who is at an address that quinn knows; nobody where that is a carrier's that has ended.
    pub(super) fn origin(&self, address: SocketAddr) -> Option<Origin> {
        match relay::carriers::carrier_at(address) {
            None => Some(Origin::Udp(address)),
            Some(id) => self.carriers.peer_of(id).map(Origin::Carrier),
        }
    }

    pub fn bound(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Carrier(address) => write!(f, "{address} by a carrier"),
        }
    }
}

impl AsyncUdpSocket for GatewaySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritablePoller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        if let Some(id) = relay::carriers::carrier_at(transmit.destination) {
            let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
            self.carriers.send(id, transmit.contents, segment);
            return Ok(());
        }
        let sent = self.state.send((&*self.udp).into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_full.store(true, Ordering::Release);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived.lock();
        let mut count = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta) {
            let datagram = match arrived.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => datagram,
                Poll::Ready(None) if count == 0 => {
                    return Poll::Ready(Err(io::Error::other("the relay's thread has ended")));
                }
                Poll::Ready(None) | Poll::Pending => break,
            };
            // The thread queues nothing that is longer than what quinn said it takes.
            let length = datagram.bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram.bytes[..length]);
            *meta = RecvMeta {
                addr: datagram.from,
                len: length,
                stride: length,
                ecn: datagram.ecn,
                dst_ip: datagram.local,
            };
            count += 1;
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.bound()
    }

    /// quinn keeps room for so many of the longest datagrams in every connection, for as long as it lives. Control
    /// links say little: they need no more than one at a time.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl fmt::Debug for GatewaySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewaySocket").field("udp", &self.udp).finish_non_exhaustive()
    }
}

type WritableFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Wakes one quinn task when the socket takes packets again.
///
/// The socket is watched only while somebody waits: a standing watch would wake the runtime for
/// every packet that the relay's thread sends.
struct WritablePoller {
    socket: Arc<GatewaySocket>,
    waiting: Option<WritableFuture>,
}

impl UdpPoller for WritablePoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        if self.waiting.is_none() && !self.socket.is_full.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(writable(socket)));
        let outcome = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.socket.is_full.store(false, Ordering::Release);
        Poll::Ready(outcome)
    }
}

/// Waits until it is writable, over a descriptor of its own: several may wait at a time.
async fn writable(socket: Arc<GatewaySocket>) -> io::Result<()> {
    tokio::net::UdpSocket::from_std(socket.udp.try_clone()?)?.writable().await
}

impl fmt::Debug for WritablePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").field("waiting", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::key::KeyPair;
    use crate::identity::tls::Identity;
    use crate::transport::endpoint::{GatewayEndpoint, TransportError};
    use crate::transport::link;
    use crate::transport::pair::{End, NOW, soon};
    use crate::transport::relay::RelayThread;
    use adit_core::domain::id::{BootId, RouteId};
    use adit_core::protocol::control::ToGateway;
    use adit_core::protocol::relay::Relay;

    const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");

    /// Returns a gateway's endpoint, as one start of its process makes it.
    fn gateway(ca: &CertificateAuthority, at: SocketAddr) -> (RelayThread, GatewayEndpoint, SocketAddr) {
        let key = Arc::new(KeyPair::generate().unwrap());
        let identity = Identity::new(&ca.sign_gateway(&key, NOW).unwrap(), key).unwrap();
        let relay = Relay::new(GATEWAY, BootId::from_bytes([1; 8]), [7; 32], Instant::now());
        let (thread, socket) = RelayThread::start(UdpSocket::bind(at).unwrap(), relay).unwrap();
        let address = socket.bound().unwrap();
        let reset_key = ca.key().derive(b"stateless reset");
        let endpoint = GatewayEndpoint::new(socket, GATEWAY, &reset_key, &identity, ca.trust()).unwrap();
        (thread, endpoint, address)
    }

    /// Serves one link in a runtime of its own until it has said something, then ends at once, as a
    /// killed process does: nobody is told.
    fn serve_until_crash(ca: &CertificateAuthority, tell: &std::sync::mpsc::SyncSender<SocketAddr>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let heard = runtime.block_on(async {
            let (thread, endpoint, address) = gateway(ca, ([127, 0, 0, 1], 0).into());
            tell.send(address).unwrap();
            let connection = soon(endpoint.accept()).await.unwrap().accept().await.unwrap();
            let (sender, mut receiver) = soon(link::accept(&connection)).await.unwrap();
            assert_eq!(soon(receiver.receive()).await.ok(), Some(ToGateway::Heartbeat { number: 1 }));
            (thread, endpoint, connection, sender, receiver)
        });
        // Those who would say goodbye are gone before those who would tell them to.
        drop(runtime);
        drop(heard);
    }

    #[tokio::test]
    async fn agents_of_a_killed_gateway_learn_from_its_next_start_that_their_link_is_dead() {
        let ca = Arc::new(CertificateAuthority::create("example.org".parse().unwrap(), NOW).unwrap());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let crashing = thread::spawn({
            let ca = Arc::clone(&ca);
            move || serve_until_crash(&ca, &tell)
        });
        let address = told.recv().unwrap();
        let agent = End::new(&ca, 1);
        agent.socket.set_route(GATEWAY, address);
        let connection = soon(agent.endpoint.connect_control(GATEWAY)).await.unwrap();
        let (mut sender, _receiver) = soon(link::open(&connection)).await.unwrap();
        sender.send(&ToGateway::Heartbeat { number: 1 }).await.unwrap();
        tokio::task::spawn_blocking(|| crashing.join().unwrap()).await.unwrap();

        let _restarted = gateway(&ca, address);
        assert!(!connection.is_closed());
        sender.send(&ToGateway::Heartbeat { number: 2 }).await.unwrap();
        // Far sooner than the link's silence or QUIC's own limit would tell.
        let end = soon(connection.closed()).await;
        let TransportError::Lost { source } = end else { panic!("{end}") };
        assert_eq!(source, quinn::ConnectionError::Reset);
    }
}
