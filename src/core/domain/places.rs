//! Places for those who have not proven who they are: few, and shared out by where they come from.
//!
//! Each one that comes gets one. When all are taken, or all that their address or network may have, somebody
//! goes for it: the least advanced, of those who have come equally far and hold at least their part of the
//! places; among equals one from where most of them come; then the one that has been waited for longest. So one
//! that goes on is not held up by those who only connect, nor one that has just connected by those who go on as
//! far as they can and stop there, however many. Who is
//! served meanwhile, and how long each step may take, is decided above.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// How far somebody has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    Connected,
    /// Has said something, whatever it is.
    Speaking,
    /// TLS is done.
    Secured,
    /// Has asked for something in full, and is being answered.
    Asked,
}

impl Progress {
    const STEPS: usize = Self::Asked as usize + 1;
}

/// One place; never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceId(u64);

/// How many places there are, and how many of them one address and one network may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub all: usize,
    pub of_network: usize,
    pub of_address: usize,
}

#[derive(Debug)]
pub struct Places {
    bounds: Bounds,
    held: BTreeMap<PlaceId, Held>,
    given: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    address: IpAddr,
    network: IpAddr,
    progress: Progress,
    /// When it came this far.
    since: Instant,
}

impl Places {
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, held: BTreeMap::new(), given: 0 }
    }

    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Gives a place to the one that comes from `from`; returns it, and whose was taken away for it.
    pub fn take(&mut self, from: IpAddr, now: Instant) -> (PlaceId, Option<PlaceId>) {
        let (address, network) = (address_of(from), network_of(from));
        let of_address = |held: &Held| held.address == address;
        let of_network = |held: &Held| held.network == network;
        let gone = if self.count(of_address) >= self.bounds.of_address {
            self.first_to_go(of_address)
        } else if self.count(of_network) >= self.bounds.of_network {
            self.first_to_go(of_network)
        } else if self.held.len() >= self.bounds.all {
            self.first_to_go(|_| true)
        } else {
            None
        };
        gone.inspect(|gone| _ = self.held.remove(gone));
        let place = PlaceId(self.given);
        self.given = self.given.wrapping_add(1);
        self.held.insert(place, Held { address, network, progress: Progress::Connected, since: now });
        (place, gone)
    }

    /// Notes how far its holder has come; nobody goes back.
    pub fn advance(&mut self, place: PlaceId, progress: Progress, now: Instant) {
        if let Some(held) = self.held.get_mut(&place).filter(|held| held.progress < progress) {
            held.progress = progress;
            held.since = now;
        }
    }

    /// Takes a place back that is not needed any more.
    pub fn leave(&mut self, place: PlaceId) {
        self.held.remove(&place);
    }

    fn count(&self, counts: impl Fn(&Held) -> bool) -> usize {
        self.held.values().filter(|held| counts(held)).count()
    }

    fn first_to_go(&self, may_go: impl Fn(&Held) -> bool) -> Option<PlaceId> {
        let (mut addresses, mut networks) = (BTreeMap::new(), BTreeMap::new());
        for held in self.held.values() {
            *addresses.entry(held.address).or_insert(0_usize) += 1;
            *networks.entry(held.network).or_insert(0_usize) += 1;
        }
        let of = |counts: &BTreeMap<IpAddr, usize>, whose| counts.get(&whose).copied().unwrap_or(0);
        let rank = |held: &Held| {
            let crowd = (of(&networks, held.network), of(&addresses, held.address));
            (held.progress, std::cmp::Reverse(crowd), held.since)
        };
        let (mut all, mut equals) = (0_usize, BTreeMap::new());
        for held in self.held.values().filter(|held| may_go(held)) {
            all += 1;
            *equals.entry(held.progress).or_insert(0_usize) += 1;
        }
        let is_crowd =
            |held: &&Held| equals.get(&held.progress).is_some_and(|equals| equals * Progress::STEPS >= all);
        let candidates = self.held.iter().filter(|(_, held)| may_go(held) && is_crowd(held));
        candidates.min_by_key(|(place, held)| (rank(held), **place)).map(|(place, _)| *place)
    }
}

/// Returns the address that counts: one host has a whole IPv6 /64 to come from (RFC 4291 §2.5.4).
#[must_use]
pub fn address_of(from: IpAddr) -> IpAddr {
    prefix(from, 32, 64)
}

/// Returns the network that counts: one customer is commonly given an IPv6 /48 (RFC 6177 §2), and hosts side
/// by side share an IPv4 /24.
#[must_use]
pub fn network_of(from: IpAddr) -> IpAddr {
    prefix(from, 24, 48)
}

fn prefix(from: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << (32 - v4_bits))).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - v6_bits))).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds { all: 256, of_network: 128, of_address: 64 };
    const STEP: Duration = Duration::from_millis(1);

    fn v4(network: u8, host: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, network, host).into()
    }

    /// Returns a host's place in the `subnet`th /64 of the `site`th /48.
    fn v6(site: u16, subnet: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, site, subnet, 0, 0, 0, 1).into()
    }

    /// Returns all places taken by silent ones that came one after another.
    fn full(from: impl Fn(usize) -> IpAddr, start: Instant) -> (Places, Vec<PlaceId>) {
        let mut places = Places::new(BOUNDS);
        let given = (0..BOUNDS.all).map(|number| {
            let now = start + STEP * u32::try_from(number).unwrap();
            let (place, gone) = places.take(from(number), now);
            assert_eq!(gone, None, "{number}");
            place
        });
        let given = given.collect();
        (places, given)
    }

    #[test]
    fn whoever_has_said_nothing_for_longest_goes_for_whoever_comes() {
        let start = Instant::now();
        let (mut places, given) = full(|number| v4(u8::try_from(number).unwrap(), 1), start);
        places.advance(given[0], Progress::Speaking, start);
        for (site, expected) in (1..).zip(&given[1..10]) {
            assert_eq!(places.take(v6(site, 1), start + STEP * 1_000).1, Some(*expected));
        }
        assert_eq!(places.held(), BOUNDS.all);
    }

    #[test]
    fn no_crowd_of_silent_ones_takes_the_place_of_one_who_speaks() {
        let start = Instant::now();
        let mut places = Places::new(BOUNDS);
        let (honest, _) = places.take(v4(1, 1), start);
        places.advance(honest, Progress::Speaking, start);
        for number in 0..10_000_u16 {
            let from = v4(u8::try_from(number % 200).unwrap(), u8::try_from(number / 200 % 50).unwrap());
            let (_, gone) = places.take(from, start + STEP * u32::from(number));
            assert_ne!(gone, Some(honest), "{number}");
        }
    }

    #[test]
    fn no_crowd_of_those_who_go_on_and_stop_takes_the_place_of_one_who_has_just_connected() {
        let start = Instant::now();
        for progress in [Progress::Speaking, Progress::Secured, Progress::Asked] {
            let (mut places, given) = full(|number| v4(u8::try_from(number % 8).unwrap(), 1), start);
            for place in given {
                places.advance(place, progress, start);
            }
            let (honest, _) = places.take(v4(99, 1), start + STEP);
            for number in 0..1_000_u16 {
                let now = start + STEP * (2 + u32::from(number));
                let (place, gone) = places.take(v4(u8::try_from(number % 8).unwrap(), 1), now);
                assert_ne!(gone, Some(honest), "{number}");
                places.advance(place, progress, now);
            }
        }
    }

    #[test]
    fn among_the_equally_advanced_one_of_the_largest_crowd_goes() {
        let start = Instant::now();
        let mut places = Places::new(BOUNDS);
        // The oldest of all, alone at its address.
        let (honest, _) = places.take(v4(9, 1), start);
        places.advance(honest, Progress::Speaking, start);
        for number in 0..1_000_u16 {
            let from = v4(u8::try_from(number % 5).unwrap(), u8::try_from(number % 52).unwrap());
            let now = start + STEP * (1 + u32::from(number));
            let (place, gone) = places.take(from, now);
            assert_ne!(gone, Some(honest), "{number}");
            places.advance(place, Progress::Speaking, now);
        }
        assert_eq!(places.held(), BOUNDS.all);
    }

    #[test]
    fn an_address_beyond_its_share_takes_its_own_places() {
        let start = Instant::now();
        let mut places = Places::new(BOUNDS);
        let (other, _) = places.take(v4(2, 1), start);
        let first: Vec<_> = (0..BOUNDS.of_address).map(|_| places.take(v4(1, 1), start).0).collect();
        assert_eq!(places.take(v4(1, 1), start).1, Some(first[0]));
        assert_eq!(places.held(), BOUNDS.of_address + 1);
        places.leave(other);
        places.leave(other);
        assert_eq!(places.held(), BOUNDS.of_address);
    }

    #[test]
    fn an_ipv6_address_is_counted_by_its_64_within_the_network_of_its_48() {
        let start = Instant::now();
        let mut places = Places::new(BOUNDS);
        for number in 0..BOUNDS.of_address {
            let suffix = u16::try_from(number).unwrap();
            let from = Ipv6Addr::new(0x2001, 0xdb8, 1, 1, suffix, 2, 3, 4);
            assert_eq!(places.take(from.into(), start).1, None);
        }
        assert!(places.take(v6(1, 1), start).1.is_some());
        // The subnets of a /58 are 64, of a /48 many more: together they get no more than the network.
        let mut held = places.held();
        for subnet in 2..1_000 {
            places.take(v6(1, subnet), start);
            held = held.max(places.held());
        }
        assert_eq!(held, BOUNDS.of_network);
        assert_eq!(places.take(v6(2, 1), start).1, None);
    }

    #[test]
    fn the_same_ipv4_host_counts_once_in_both_spellings() {
        let mapped: IpAddr = "::ffff:10.0.1.1".parse().unwrap();
        assert_eq!(address_of(mapped), v4(1, 1));
        assert_eq!(network_of(mapped), v4(1, 0));
    }
}
