//! A listener with a gate: it accepts only while the far Mirth can be reached, and it
//! stays ours while it does not.
//!
//! A closed port refuses (RST) because its socket is bound but does not listen. No other local
//! user can take it: `SO_REUSEADDR` is set only while `bind` and `listen` need it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, trace};

use super::any_address::bind_any;

const BACKLOG: i32 = 1_024;
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// What the kernel keeps of a local connection in each direction; it doubles this for its own use.
/// Left alone it lets each socket grow to megabytes, and hundreds of stalled ones use up the memory
/// that all TCP of the host shares, so that no socket moves any more. Enough for 4 Gbit/s to a
/// program a millisecond away.
const KERNEL_BUFFER_BYTES: usize = 512 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("cannot bind TCP {address}; stop what uses it, or change `listen` of the entry")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A bound port, open or closed.
#[derive(Debug)]
pub struct GatedListener {
    socket: Socket,
    address: SocketAddr,
    listening: Option<TcpListener>,
}

impl GatedListener {
    /// Takes the port; it starts closed. A kernel without IPv6 gets `0.0.0.0` for `[::]`. Port 0 cannot
    /// be gated: the kernel takes back one of its own choice when it closes.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let prepare = |socket: &Socket| {
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(true)
        };
        let bind = || {
            let socket = bind_any(address, Type::STREAM, prepare)?;
            socket.set_reuse_address(false)?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok(Self { socket, address: bound, listening: None })
        };
        bind().map_err(|source| BindError { address, source })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.listening.is_some()
    }

    /// Accepts connections from now on.
    pub fn open(&mut self) -> io::Result<()> {
        if self.is_open() {
            return Ok(());
        }
        debug!(address = %self.address, "the port listens from now on");
        // Before it listens: without a descriptor for it, the kernel alone would accept.
        let copy = self.socket.try_clone()?;
        self.socket.set_reuse_address(true)?;
        self.socket.listen(BACKLOG)?;
        // Registered again each time: a socket that does not listen counts as hung up forever.
        match TcpListener::from_std(copy.into()) {
            Ok(listening) => self.listening = Some(listening),
            Err(error) => {
                self.refuse()?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Refuses connections from now on and resets those nobody accepted yet; accepted ones live.
    pub fn close(&mut self) -> io::Result<()> {
        if self.listening.take().is_none() {
            return Ok(());
        }
        debug!(address = %self.address, "the port refuses from now on, and resets those that wait");
        self.refuse()
    }

    fn refuse(&self) -> io::Result<()> {
        self.socket.set_reuse_address(false)?;
        self.socket.shutdown(std::net::Shutdown::Read)
    }

    /// Accepts the next local connection, set up to be cut rather than ended; waits forever while closed.
    /// Fails only when the host has run out of something, as of file descriptors: those that wait are not
    /// served.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        let Some(listening) = &self.listening else { return std::future::pending().await };
        loop {
            match listening.accept().await {
                // One that takes no option any more is gone already.
                Ok((stream, from)) if prepare(&stream).is_err() => {
                    debug!(%from, "a local connection was gone when it was accepted");
                }
                Ok((stream, from)) => {
                    trace!(%from, "a local connection was accepted");
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    trace!("a local connection was reset before it was accepted");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns whether the process that opened this still waits at its other end, as far as the kernel has told.
#[must_use]
pub fn is_still_connected(stream: &TcpStream) -> bool {
    let asked = std::pin::pin!(stream.ready(Interest::READABLE | Interest::ERROR));
    let told = asked.poll(&mut Context::from_waker(Waker::noop()));
    !matches!(told, Poll::Ready(Ok(ready)) if ready.is_read_closed() || ready.is_error())
}

/// Returns whether this host ran out of something, as of file descriptors, memory or local ports: nothing is
/// known then of the one that was dialled.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| lacks.contains(&code))
}

/// Dials the local Mirth; the socket is set up to be cut rather than ended.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(stream)
}

/// Prepares the socket: if this process dies, the kernel sends RST and no truncated transfer looks complete.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(KERNEL_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(KERNEL_BUFFER_BYTES)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE).with_interval(KEEP_ALIVE_EVERY);
    socket.set_tcp_keepalive(&keep_alive)
}

#[cfg(test)]
mod tests {
    use socket2::Domain;

    use super::*;

    async fn refused(address: SocketAddr) -> bool {
        TcpStream::connect(address).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Binds one below the ports that the kernel hands out by itself, so that nothing takes it in between.
    fn bind_free() -> GatedListener {
        (20_000..32_000)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .find_map(|address| GatedListener::bind(address).ok())
            .unwrap()
    }

    #[tokio::test]
    async fn a_port_refuses_whenever_it_is_closed() {
        let mut port = bind_free();
        for _ in 0..3 {
            assert!(refused(port.address()).await);
            port.open().unwrap();
            let client = TcpStream::connect(port.address()).await.unwrap();
            let accepted = port.accept().await.unwrap();
            port.close().unwrap();
            assert!(refused(port.address()).await);
            // What was accepted lives on.
            accepted.try_write(b"x").unwrap();
            client.readable().await.unwrap();
            assert_eq!(client.try_read(&mut [0; 2]).unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_closed_port_cannot_be_taken_by_another_socket() {
        let mut port = bind_free();
        let take = || {
            let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            other.set_reuse_address(true).unwrap();
            other.bind(&port.address().into())
        };
        assert!(take().is_err());
        port.open().unwrap();
        port.close().unwrap();
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        other.set_reuse_address(true).unwrap();
        assert!(other.bind(&port.address().into()).is_err());
    }

    #[tokio::test]
    async fn closing_resets_what_nobody_accepted() {
        let mut port = bind_free();
        port.open().unwrap();
        let client = TcpStream::connect(port.address()).await.unwrap();
        port.close().unwrap();
        client.readable().await.unwrap();
        let error = client.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let holder = std::net::TcpListener::bind(any_port()).unwrap();
        let address = holder.local_addr().unwrap();
        let error = GatedListener::bind(address).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()));
    }
}
