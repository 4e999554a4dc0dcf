//! Which user of this host a loopback connection comes from. The kernel is asked for the socket at its
//! other end, with one datagram that is answered before the call returns; no rights are needed.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use tokio::net::TcpStream;

use adit_core::protocol::sock_diag::{Answer, Ends, read_answer, request};

/// An answer about one socket, with all that the kernel may append, is shorter.
const ANSWER_BYTES_MAX: usize = 1_024;
/// Answers to questions before that may still wait.
const OLD_ANSWERS_MAX: usize = 4;

/// Asks the kernel whose a socket is.
#[derive(Debug)]
pub struct PeerUsers {
    socket: OwnedFd,
    sequence: u32,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the kernel does not say which user a local connection comes from; let the service use AF_NETLINK \
     (RestrictAddressFamilies in its unit), or take `allow_users` out"
)]
pub struct NoPeerUsers {
    source: rustix::io::Errno,
}

/// Whose the other end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerUser {
    Known(u32),
    /// The connection comes from elsewhere, or the process that made it has let it go.
    Unknown,
}

impl PeerUsers {
    pub fn new() -> Result<Self, NoPeerUsers> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = (AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::SOCK_DIAG));
        let socket = socket_with(kind.0, kind.1, flags, kind.2).map_err(|source| NoPeerUsers { source })?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Returns the user who made the other end of a connection that was accepted.
    pub fn of(&mut self, tcp: &TcpStream) -> PeerUser {
        let (Ok(local), Ok(peer)) = (tcp.local_addr(), tcp.peer_addr()) else { return PeerUser::Unknown };
        let user = self.holder(local, peer);
        // A connection that was reset leaves its ends to another: what was found may be that one's socket.
        // While ours is open, nobody else can have the same ends.
        if tcp.peer_addr().is_err() { PeerUser::Unknown } else { user }
    }

    fn holder(&mut self, local: SocketAddr, peer: SocketAddr) -> PeerUser {
        let ends = Ends::new(peer, local);
        if !ends.local.ip().is_loopback() {
            return PeerUser::Unknown;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(&ends, self.sequence);
        let kernel = SocketAddrNetlink::new(0, 0);
        if sendto(&self.socket, &request, SendFlags::DONTWAIT, &kernel).is_err() {
            return PeerUser::Unknown;
        }
        let mut bytes = [0; ANSWER_BYTES_MAX];
        for _ in 0..OLD_ANSWERS_MAX {
            let Ok((_, length)) = recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) else { break };
            let answer = bytes.get(..length).unwrap_or_default();
            match read_answer(answer, &ends, self.sequence) {
                Answer::HeldBy(user) => return PeerUser::Known(user),
                Answer::NotHeld => return PeerUser::Unknown,
                Answer::Unasked => {}
            }
        }
        PeerUser::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn own() -> PeerUser {
        PeerUser::Known(rustix::process::geteuid().as_raw())
    }

    async fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut target = listener.local_addr().unwrap();
        if target.ip().is_unspecified() {
            target.set_ip([127, 0, 0, 1].into());
        }
        let client = TcpStream::connect(target).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_of_this_host_tells_its_user_in_either_family() {
        let mut users = PeerUsers::new().unwrap();
        for address in ["127.0.0.1:0", "127.5.0.1:0", "[::1]:0", "[::]:0"] {
            let (_client, accepted) = pair(address).await;
            assert_eq!(users.of(&accepted), own(), "{address}");
        }
    }

    #[tokio::test]
    async fn a_client_that_has_said_all_it_has_to_say_is_still_known() {
        let (mut client, accepted) = pair("127.0.0.1:0").await;
        client.shutdown().await.unwrap();
        accepted.readable().await.unwrap();
        assert_eq!(PeerUsers::new().unwrap().of(&accepted), own());
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_nobody() {
        let mut users = PeerUsers::new().unwrap();
        let (client, accepted) = pair("127.0.0.1:0").await;
        drop(client);
        accepted.readable().await.unwrap();
        assert_eq!(users.of(&accepted), PeerUser::Unknown, "closed");
        let (client, accepted) = pair("127.0.0.1:0").await;
        client.set_zero_linger().unwrap();
        drop(client);
        accepted.readable().await.unwrap();
        assert_eq!(users.of(&accepted), PeerUser::Unknown, "reset");
    }

    /// Returns what was accepted from a client that is gone, and what `take` made at the client's address.
    /// Between the two another process may be given its port: then once more.
    async fn retaken<T>(
        listener: &TcpListener,
        take: impl Fn(SocketAddr) -> std::io::Result<T>,
    ) -> (TcpStream, SocketAddr, T) {
        loop {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let accepted = listener.accept().await.unwrap().0;
            let ends = client.local_addr().unwrap();
            client.set_zero_linger().unwrap();
            drop(client);
            accepted.readable().await.unwrap();
            match take(ends) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                taken => return (accepted, ends, taken.unwrap()),
            }
        }
    }

    #[tokio::test]
    async fn who_takes_the_ends_of_a_reset_connection_is_not_taken_for_its_maker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (accepted, _, again) = retaken(&listener, |ends| {
            let again = TcpSocket::new_v4()?;
            again.set_reuseaddr(true)?;
            again.bind(ends)?;
            Ok(again)
        })
        .await;
        let _again = again.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(PeerUsers::new().unwrap().of(&accepted), PeerUser::Unknown);
    }

    #[tokio::test]
    async fn a_listener_at_the_ends_of_a_client_that_is_gone_is_not_taken_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (accepted, ends, _taken) = retaken(&listener, std::net::TcpListener::bind).await;
        let mut users = PeerUsers::new().unwrap();
        assert_eq!(users.holder(accepted.local_addr().unwrap(), ends), PeerUser::Unknown);
    }

    #[tokio::test]
    async fn what_one_question_costs_is_shown() {
        const ROUNDS: u32 = 2_000;
        let mut users = PeerUsers::new().unwrap();
        let (_client, accepted) = pair("127.0.0.1:0").await;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            assert_eq!(users.of(&accepted), own());
        }
        println!("{:?} a question", start.elapsed() / ROUNDS);
    }
}
