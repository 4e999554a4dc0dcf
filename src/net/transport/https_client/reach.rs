//! Which addresses lie in the public Internet, by the registries of special-purpose addresses (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether an address is anybody's to reach: neither this host, nor its network, nor a translation into
/// either.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Of carriers (RFC 6598), of protocols (RFC 6890), of relays (RFC 7526), of benchmarks (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is 2000::/3; a NAT64 prefix leads on to an IPv4 address (RFC 6052).
    if (a, b) == (0x64, 0xff9b) {
        let [.., high, low] = address.segments();
        let v4 = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
        return address.segments()[2..6] == [0; 4] && is_public_v4(v4);
    }
    let is_unicast = (0x2000..0x4000).contains(&a);
    // Teredo, benchmarks and the like (2001::/23), documentation, 6to4, documentation again (RFC 9637).
    let is_special =
        (a == 0x2001 && b < 0x200) || (a, b) == (0x2001, 0xdb8) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    is_unicast && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let judge = |address: &str| is_public(address.parse().unwrap());
        for public in
            ["1.1.1.1", "20.190.128.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::101:101"]
        {
            assert!(judge(public), "{public}");
        }
        for special in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "64:ff9b::1:0:0:101:101",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
        ] {
            assert!(!judge(special), "{special}");
        }
    }
}
