//! The nonces of challenges, which nobody has to keep: each is an HMAC over whom it asks, where,
//! and when. So strangers cannot fill a memory, and a nonce is worth nothing elsewhere.

use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use super::Source;
use crate::domain::id::RouteId;
use crate::domain::limits::RELAY_CHALLENGE_SECONDS;

#[derive(Debug)]
pub(super) struct Challenges {
    key: hmac::Key,
    start: Instant,
}

impl Challenges {
    pub(super) fn new(key: &[u8; 32], start: Instant) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), start }
    }

    /// Returns one nonce for each agent and place a second.
    pub(super) fn nonce(&self, route: RouteId, source: Source, now: Instant) -> [u8; 16] {
        self.nonce_of(route, source, self.second(now))
    }

    /// Returns whether `nonce` was made for this agent at this place, within the last seconds.
    pub(super) fn accepts(&self, route: RouteId, source: Source, now: Instant, nonce: &[u8; 16]) -> bool {
        let second = self.second(now);
        (0..RELAY_CHALLENGE_SECONDS)
            .filter_map(|ago| second.checked_sub(ago))
            .any(|second| self.nonce_of(route, source, second).ct_eq(nonce).into())
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }

    fn nonce_of(&self, route: RouteId, source: Source, second: u64) -> [u8; 16] {
        let mut message = [0; 8 + 1 + 16 + 2 + 4 + 8];
        message[..8].copy_from_slice(route.as_bytes());
        match source {
            Source::Udp(address) => {
                let (ip, scope) = match address {
                    SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
                    SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
                };
                message[9..25].copy_from_slice(&ip.octets());
                message[25..27].copy_from_slice(&address.port().to_be_bytes());
                message[27..31].copy_from_slice(&scope.to_be_bytes());
            }
            Source::Carrier(id) => {
                message[8] = 1;
                message[9..17].copy_from_slice(&id.0.to_be_bytes());
            }
        }
        message[31..].copy_from_slice(&second.to_be_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&hmac::sign(&self.key, &message).as_ref()[..16]);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::id::CarrierId;

    #[test]
    fn a_nonce_is_good_for_one_agent_at_one_place_for_two_to_three_seconds() {
        let start = Instant::now();
        let challenges = Challenges::new(&[1; 32], start);
        let route = RouteId::from_bytes([1; 8]);
        let udp = |address: &str| Source::Udp(address.parse().unwrap());
        let carrier = |id| Source::Carrier(CarrierId(id));
        for (address, asked) in
            [(udp("192.0.2.1:7"), 0), (udp("192.0.2.1:7"), 999), (carrier(3), 1_000), (carrier(3), 5_500)]
        {
            let at = |ms| start + Duration::from_millis(ms);
            let nonce = challenges.nonce(route, address, at(asked));
            let second = asked / 1_000 * 1_000;
            assert!(challenges.accepts(route, address, at(asked), &nonce));
            assert!(challenges.accepts(route, address, at(second + 2_999), &nonce));
            assert!(!challenges.accepts(route, address, at(second + 3_000), &nonce));
            if asked >= 1_000 {
                assert!(!challenges.accepts(route, address, at(second - 1), &nonce), "from the future");
            }
            let others =
                ["192.0.2.1:8", "192.0.2.2:7", "[fe80::1%1]:7", "[fe80::1%2]:7", "[0:0:0:3::]:0"].map(udp);
            for other in others.into_iter().chain([0, 1, 1 << 63].map(carrier)) {
                assert!(!challenges.accepts(route, other, at(asked), &nonce), "{other}");
            }
            assert!(!challenges.accepts(RouteId::from_bytes([2; 8]), address, at(asked), &nonce));
            let stranger = Challenges::new(&[2; 32], start);
            assert!(!stranger.accepts(route, address, at(asked), &nonce));
        }
    }
}
