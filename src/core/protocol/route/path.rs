//! One path that packets can take to a peer, and why one is left for another.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::domain::id::RelayId;
use crate::domain::path::{Carrier, PathKind};

/// Where a packet goes next on its way to the peer. What the peer's packets take on their part is the peer's
/// affair: of two ends of one relay, one may be reached over UDP and the other over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// The peer itself, at this address.
    Direct(SocketAddr),
    /// A relay, which knows from the packet's route where the peer is; and what takes packets to it.
    Relay { relay: RelayId, carrier: Carrier },
}

impl Path {
    #[must_use]
    pub const fn kind(self) -> PathKind {
        match self {
            Self::Direct(_) => PathKind::Direct,
            Self::Relay { carrier: Carrier::Udp, .. } => PathKind::Relay,
            Self::Relay { carrier: Carrier::Tcp, .. } => PathKind::Tcp,
        }
    }

    /// Returns what takes packets away from here.
    #[must_use]
    pub const fn carrier(self) -> Carrier {
        match self {
            Self::Direct(_) => Carrier::Udp,
            Self::Relay { carrier, .. } => carrier,
        }
    }

    /// Returns the peer's address, where it is known here.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Direct(address) => Some(address),
            Self::Relay { .. } => None,
        }
    }

    /// Returns the relay on the way, if there is one.
    #[must_use]
    pub const fn relay(self) -> Option<RelayId> {
        match self {
            Self::Direct(_) => None,
            Self::Relay { relay, .. } => Some(relay),
        }
    }

    #[must_use]
    pub(super) fn canonical(self) -> Self {
        match self {
            Self::Direct(address) => Self::Direct(canonical(address)),
            Self::Relay { .. } => self,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "direct to {address}"),
            Self::Relay { relay, carrier } => write!(f, "relay {relay} over {}", carrier.as_str()),
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
    use crate::domain::id::RouteId;

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_maps() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:443".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:443".parse().unwrap());
        let v6: SocketAddr = "[fe80::1%3]:443".parse().unwrap();
        assert_eq!(canonical(v6), v6);
        assert_eq!(Path::Direct(mapped).canonical().to_string(), "direct to 192.0.2.1:443");
    }

    #[test]
    fn what_takes_packets_away_decides_the_kind_of_a_path() {
        let relay = RelayId(RouteId::from_bytes([0xab; 8]));
        let relayed = Carrier::ALL.map(|carrier| Path::Relay { relay, carrier });
        let direct = Path::Direct(SocketAddr::from(([192, 0, 2, 1], 443)));
        let told = [direct, relayed[0], relayed[1]].map(|path| (path.kind(), path.carrier(), path.relay()));
        let expected = [
            (PathKind::Direct, Carrier::Udp, None),
            (PathKind::Relay, Carrier::Udp, Some(relay)),
            (PathKind::Tcp, Carrier::Tcp, Some(relay)),
        ];
        assert_eq!(told, expected);
        let shown = relayed.map(|path| path.canonical().to_string());
        assert_eq!(shown, ["relay abababababababab over udp", "relay abababababababab over tcp"]);
    }

    #[test]
    fn no_two_reasons_share_a_label_or_words() {
        let labels: BTreeSet<_> = PathReason::ALL.map(PathReason::as_str).into();
        let words: BTreeSet<_> = PathReason::ALL.map(|why| why.to_string()).into();
        assert_eq!((labels.len(), words.len()), (PathReason::ALL.len(), PathReason::ALL.len()));
    }
}
