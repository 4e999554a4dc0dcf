//! Where packets go and come from, as an agent's socket knows it: an address of its UDP socket, or the
//! carrier of a relay.

use std::fmt;
use std::net::SocketAddr;

use adit_core::domain::id::RelayId;
use adit_core::protocol::route::canonical;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Udp(SocketAddr),
    /// The carrier of this relay, whichever connection it is at the moment.
    Carrier(RelayId),
}

impl Destination {
    /// Returns the address that packets go to themselves; none where a carrier takes them.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(address) => Some(address),
            Self::Carrier(_) => None,
        }
    }

    /// Writes an address as people do, whatever the family of the socket.
    #[must_use]
    pub fn canonical(self) -> Self {
        self.map_address(canonical)
    }

    pub(super) fn map_address(self, change: impl FnOnce(SocketAddr) -> SocketAddr) -> Self {
        match self {
            Self::Udp(address) => Self::Udp(change(address)),
            Self::Carrier(relay) => Self::Carrier(relay),
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Udp(address)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Carrier(relay) => write!(f, "relay {relay} over tcp"),
        }
    }
}
