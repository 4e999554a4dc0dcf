//! One path that packets can take to a peer, and why one is left for another.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::domain::path::PathKind;

/// Where a packet goes next on its way to the peer; the better one is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// The peer itself, at this address.
    Direct(SocketAddr),
    /// The gateway, which knows from the packet's route where the peer is.
    Relay,
}

impl Path {
    #[must_use]
    pub const fn kind(self) -> PathKind {
        match self {
            Self::Direct(_) => PathKind::Direct,
            Self::Relay => PathKind::Relay,
        }
    }

    /// Returns the peer's address, where it is known here.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Direct(address) => Some(address),
            Self::Relay => None,
        }
    }

    #[must_use]
    pub(super) fn canonical(self) -> Self {
        match self {
            Self::Direct(address) => Self::Direct(canonical(address)),
            Self::Relay => Self::Relay,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "direct to {address}"),
            Self::Relay => f.write_str("relay"),
        }
    }
}

/// Returns the form in which addresses are compared: IPv4 as IPv4 even where a dual-stack socket reports it
/// mapped into IPv6 (RFC 4291 §2.5.5.2), and no flow label.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match (address, address.ip().to_canonical()) {
        (SocketAddr::V6(mut v6), IpAddr::V6(_)) => {
            v6.set_flowinfo(0);
            SocketAddr::V6(v6)
        }
        (_, ip) => SocketAddr::new(ip, address.port()),
    }
}

/// Why a path was taken into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathReason {
    /// There was none before, and it answered first.
    First,
    /// It is of a better kind than the one before, and has proven itself.
    Better,
    /// The one before fell silent.
    Silent,
    /// The one before fell silent; this is the same kind, at another address.
    Moved,
    /// The owner does not allow the one before.
    Forced,
}

impl PathReason {
    pub const ALL: [Self; 5] = [Self::First, Self::Better, Self::Silent, Self::Moved, Self::Forced];

    /// Returns one word, for labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Better => "better",
            Self::Silent => "silent",
            Self::Moved => "moved",
            Self::Forced => "forced",
        }
    }
}

impl fmt::Display for PathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "it answered first",
            Self::Better => "a better path answers",
            Self::Silent => "the path before fell silent",
            Self::Moved => "the peer answers at another address",
            Self::Forced => "the path before is not allowed any more",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_maps() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:443".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:443".parse().unwrap());
        let v6: SocketAddr = "[fe80::1%3]:443".parse().unwrap();
        assert_eq!(canonical(v6), v6);
        assert_eq!(Path::Direct(mapped).canonical().to_string(), "direct to 192.0.2.1:443");
        assert_eq!(Path::Relay.canonical().to_string(), "relay");
    }

    #[test]
    fn no_two_reasons_share_a_label_or_words() {
        let labels: BTreeSet<_> = PathReason::ALL.map(PathReason::as_str).into();
        let words: BTreeSet<_> = PathReason::ALL.map(|why| why.to_string()).into();
        assert_eq!((labels.len(), words.len()), (PathReason::ALL.len(), PathReason::ALL.len()));
    }
}
