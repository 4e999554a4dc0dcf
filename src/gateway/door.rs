//! Counts attempts per address, so that nobody gets much out of asking often.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::limits::DOOR_ADDRESSES_MAX;

#[derive(Debug)]
pub(super) struct Door {
    attempts: DefaultKeyedRateLimiter<IpAddr>,
}

impl Door {
    pub(super) fn per_minute(attempts_max: NonZeroU32) -> Self {
        Self { attempts: RateLimiter::keyed(Quota::per_minute(attempts_max)) }
    }

    /// Counts an attempt; false when there were too many.
    pub(super) fn lets_in(&self, from: IpAddr) -> bool {
        if self.attempts.len() >= DOOR_ADDRESSES_MAX {
            // Whoever has not come within the minute is forgotten; if that frees nothing, this is an
            // attack from everywhere and newcomers wait.
            self.attempts.retain_recent();
            if self.attempts.len() >= DOOR_ADDRESSES_MAX {
                return false;
            }
        }
        self.attempts.check_key(&counted_as(from)).is_ok()
    }
}

/// One customer has a whole IPv6 /64.
fn counted_as(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();

    #[test]
    fn an_address_that_tries_too_often_waits_and_others_do_not() {
        let door = Door::per_minute(THREE);
        let one = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        for attempt in 0..3 {
            assert!(door.lets_in(one), "attempt {attempt}");
        }
        assert!(!door.lets_in(one));
        assert!(!door.lets_in(neighbour));
        assert!(door.lets_in("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn the_addresses_counted_have_a_bound() {
        let door = Door::per_minute(THREE);
        let address = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..DOOR_ADDRESSES_MAX {
            assert!(door.lets_in(address(number)), "address {number}");
        }
        assert!(!door.lets_in(address(DOOR_ADDRESSES_MAX)));
    }
}
