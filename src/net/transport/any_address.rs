//! Binds `[::]` on hosts that have IPv6 and its IPv4 counterpart on those that have none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Binds `address` by `bind`; a kernel without IPv6 gets `0.0.0.0` for `[::]`.
pub fn bind_any<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_about_family(&error) => {
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
    use super::*;

    #[track_caller]
    fn check(asked: &str, refusal: io::ErrorKind, expected: Option<&str>) {
        // A kernel that refuses IPv6 sockets.
        let bind = |address: SocketAddr| if address.is_ipv6() { Err(refusal.into()) } else { Ok(address) };
        let bound = bind_any(asked.parse().unwrap(), bind).ok();
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
}
