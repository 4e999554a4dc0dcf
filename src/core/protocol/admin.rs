//! What opens a stream of an admin tunnel, before its HTTP bytes: where the client connected from, as
//! the managing side's agent tells it. The managed side writes it into its audit and believes nothing
//! by it.

use std::net::{IpAddr, Ipv6Addr};

/// Version and address.
pub const OPENING_BYTES: usize = 17;
const VERSION: u8 = 1;

/// From the managing side's agent, once on each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminOpening {
    pub local_peer: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the peer's agent opened an admin stream in version {found}, this one knows {VERSION}; update the older one"
)]
pub struct UnknownVersion {
    found: u8,
}

impl AdminOpening {
    #[must_use]
    pub fn encode(self) -> [u8; OPENING_BYTES] {
        let address = match self.local_peer.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut bytes = [VERSION; OPENING_BYTES];
        bytes[1..].copy_from_slice(&address.octets());
        bytes
    }

    pub fn decode(bytes: [u8; OPENING_BYTES]) -> Result<Self, UnknownVersion> {
        let [version, address @ ..] = bytes;
        if version != VERSION {
            return Err(UnknownVersion { found: version });
        }
        Ok(Self { local_peer: IpAddr::V6(Ipv6Addr::from(address)).to_canonical() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_reads_back_unless_it_names_another_version() {
        for address in ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::7"] {
            let opening = AdminOpening { local_peer: address.parse().unwrap() };
            assert_eq!(AdminOpening::decode(opening.encode()), Ok(opening));
        }
        let mut bytes = AdminOpening { local_peer: "::1".parse().unwrap() }.encode();
        bytes[0] = 2;
        assert_eq!(AdminOpening::decode(bytes), Err(UnknownVersion { found: 2 }));
    }
}
