//! How much a TCP socket has accepted but its peer has not acknowledged.
//!
//! A socket is reset only after what was written before reached the far side; the kernel tells how
//! much is still under way (`SIOCOUTQ`, tcp(7)), and no safe interface offers it.

#![expect(unsafe_code, reason = "SIOCOUTQ has no safe wrapper in std, socket2 or rustix")]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::ioctl::{Getter, ioctl};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// `TIOCOUTQ`, which sockets know as `SIOCOUTQ`.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// Bytes in the socket's send queue, sent or not, that the peer has not acknowledged.
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
