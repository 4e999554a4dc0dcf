//! How much a TCP socket has accepted but its peer has not acknowledged.
//!
//! A socket is reset only after what was written before reached the far side; the kernel tells how
//! much is still under way (`SIOCOUTQ`, tcp(7)), and no safe interface offers it. Nor what tells whether
//! the far side lives that does not acknowledge (`TCP_INFO`).

#![expect(unsafe_code, reason = "SIOCOUTQ and TCP_INFO have no safe wrapper in std, socket2 or rustix")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::ioctl::{Getter, ioctl};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use adit_core::protocol::unacknowledged::{AckWatch, Found, SendQueue};

/// `TIOCOUTQ`, which sockets know as `SIOCOUTQ`.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// Looks at a connection that owes acknowledgements, in each span of the limit.
const LOOKS_PER_LIMIT: u32 = 8;
/// What is read of `TCP_INFO`: all that Linux 5.4 and later fill in.
const TCP_INFO_BYTES: usize = 232;

/// Returns the bytes in the socket's send queue, sent or not, that the peer has not acknowledged.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    // SAFETY: SIOCOUTQ writes exactly one C int through the pointer that `Getter` provides.
    let bytes: c_int = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new())? };
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Waits until the peer has acknowledged everything written, the socket fails, or `limit` is over.
pub async fn drained(socket: &TcpStream, limit: Duration) {
    let give_up = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    // The kernel offers no event for an empty send queue.
    while unacknowledged(socket).is_ok_and(|bytes| bytes > 0) && Instant::now() < give_up {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Follows a socket from a write on: true once the far side has acknowledged nothing for `limit`, false
/// as soon as it owes nothing.
pub async fn is_lost(socket: impl AsFd, limit: Duration) -> bool {
    let mut watch = AckWatch::new(limit, std::time::Instant::now());
    loop {
        sleep(limit / LOOKS_PER_LIMIT).await;
        // A socket that cannot be asked fails by itself.
        let Ok(queue) = send_queue(&socket) else { return false };
        match watch.judge(queue, std::time::Instant::now()) {
            Found::Settled => return false,
            Found::Waiting => {}
            Found::Lost => return true,
        }
    }
}

/// A socket that belongs to somebody else, watched for as long as this exists.
#[derive(Debug)]
pub struct WatchedSocket(OwnedFd);

impl WatchedSocket {
    pub fn of(socket: &TcpStream) -> io::Result<Self> {
        socket.as_fd().try_clone_to_owned().map(Self)
    }

    /// Waits until the far side has acknowledged nothing of what it was sent for `limit`.
    pub async fn lost(&self, limit: Duration) {
        while !is_lost(&self.0, limit).await {}
    }

    /// Makes every reader or writer of the socket fail.
    pub fn shut(&self) {
        // One that is gone already is as good.
        let _ = socket2::SockRef::from(&self.0).shutdown(std::net::Shutdown::Both);
    }
}

fn send_queue(socket: &impl AsFd) -> io::Result<SendQueue> {
    let pending = unacknowledged(socket)?;
    let info = tcp_info(socket)?;
    let short =
        |at: usize| info.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let long =
        |at: usize| info.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    // Offsets in `struct tcp_info` of linux/tcp.h, which only ever grows.
    Ok(SendQueue {
        is_pending: pending > 0,
        probes: info.get(3).copied().unwrap_or(0),
        in_flight: short(24).is_some_and(|packets| packets > 0),
        answered_ago: Duration::from_millis(short(56).unwrap_or(0).into()),
        acknowledged: long(120).unwrap_or(0),
        // Where the kernel does not tell, any answer counts.
        window_open: short(228).is_some_and(|window| window > 0),
    })
}

/// Returns as much of it as this kernel knows.
fn tcp_info(socket: &impl AsFd) -> io::Result<Vec<u8>> {
    let mut info = vec![0_u8; TCP_INFO_BYTES];
    let mut length = libc::socklen_t::try_from(info.len()).unwrap_or_default();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes into `info`, which has as many, and then their number.
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    info.truncate(length as usize);
    Ok(info)
}
