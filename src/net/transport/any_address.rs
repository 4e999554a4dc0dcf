//! Binds `[::]` for both families on hosts that have IPv6 and its IPv4 counterpart on those that have none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Binds a socket at `address` after `prepare` has set it up. `[::]` serves IPv4 too, whatever the host's
/// default is; a kernel without IPv6 gets `0.0.0.0` for it.
pub fn bind_any(
    address: SocketAddr,
    kind: Type,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    bind_either(address, |address| {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if address.ip() == Ipv6Addr::UNSPECIFIED {
            socket.set_only_v6(false)?;
        }
        prepare(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket)
    })
}

/// Returns any address and port of the family of `address`, to speak to it from.
#[must_use]
pub const fn any_like(address: SocketAddr) -> SocketAddr {
    let any =
        if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(any, 0)
}

fn bind_either<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_about_family(&error) => {
            tracing::debug!(%address, %error, "this host has no IPv6, so the address is bound for IPv4");
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

/// Returns whether the error is about the family: a port that is taken or forbidden is so for IPv4 too, and
/// the first answer names what was asked.
fn is_about_family(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(asked: &str, refusal: io::ErrorKind, expected: Option<&str>) {
        // A kernel that refuses IPv6 sockets.
        let bind = |address: SocketAddr| if address.is_ipv6() { Err(refusal.into()) } else { Ok(address) };
        let bound = bind_either(asked.parse().unwrap(), bind).ok();
        assert_eq!(bound, expected.map(|expected| expected.parse().unwrap()), "{asked} {refusal}");
    }

    #[test]
    fn a_kernel_without_ipv6_serves_ipv4_where_any_address_was_asked() {
        check("[::]:443", io::ErrorKind::Unsupported, Some("0.0.0.0:443"));
        check("[::]:443", io::ErrorKind::AddrNotAvailable, Some("0.0.0.0:443"));
        check("[::]:443", io::ErrorKind::AddrInUse, None);
        check("[::]:443", io::ErrorKind::PermissionDenied, None);
        check("[2001:db8::1]:443", io::ErrorKind::Unsupported, None);
    }

    #[test]
    fn a_socket_at_any_address_hears_ipv4() {
        let any: SocketAddr = "[::]:0".parse().unwrap();
        let socket: UdpSocket = bind_any(any, Type::DGRAM, |_| Ok(())).unwrap().into();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let destination: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let sender = UdpSocket::bind(any_like(destination)).unwrap();
        sender.send_to(b"1", destination).unwrap();
        assert_eq!(socket.recv(&mut [0]).unwrap(), 1);
    }

    #[test]
    fn a_socket_is_set_up_before_it_is_bound() {
        let prepare = |socket: &Socket| {
            assert_eq!(socket.local_addr()?.as_socket().map(|address| address.port()), Some(0));
            socket.set_reuse_address(true)
        };
        let socket = bind_any("127.0.0.1:0".parse().unwrap(), Type::STREAM, prepare).unwrap();
        assert!(socket.reuse_address().unwrap());
    }
}
