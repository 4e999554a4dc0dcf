//! The agents that the relay knows, where they are, and who may reach whom.
//!
//! Only the gateway adds members and pairs, and a member is at one address at a time, so strangers
//! cannot make any of this grow. What is asked for every packet is one look-up in a hash map, one
//! in a short sorted list, and no allocation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::RelayFull;
use crate::domain::id::{OrganizationId, RouteId};
use crate::domain::limits::{
    REGISTRATION_LASTS, RELAY_ANSWERS_PER_SECOND, RELAY_CONFIRMS_KEPT_MAX, RELAY_MEMBERS_MAX,
    RELAY_PAIRS_MAX, RELAY_PEERS_MAX,
};
use crate::protocol::packet::PacketKey;
use crate::protocol::token_bucket::TokenBucket;

/// A member's place in the list, as long as it is a member.
pub(super) type Index = u32;

/// Names one direction of one pair of agents, as long as they permit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(u32);

/// What one agent sent to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairTraffic {
    pub from: RouteId,
    pub to: RouteId,
    pub packets: u64,
    pub bytes: u64,
}

/// What a live control link brings, and what it has used up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) key: PacketKey,
    /// The latest Register, and how often it came again.
    pub(super) number: u64,
    pub(super) repeats: u32,
    pub(super) registers: TokenBucket,
    pub(super) claims: TokenBucket,
    pub(super) again: TokenBucket,
    /// The latest confirmations that counted.
    pub(super) confirmed: VecDeque<[u8; 16]>,
}

impl Link {
    fn new(key: PacketKey) -> Self {
        let answers = || TokenBucket::per_second(RELAY_ANSWERS_PER_SECOND, RELAY_ANSWERS_PER_SECOND);
        Self {
            key,
            number: 0,
            // No Register has the number 0.
            repeats: u32::MAX,
            registers: answers(),
            claims: answers(),
            again: answers(),
            confirmed: VecDeque::with_capacity(RELAY_CONFIRMS_KEPT_MAX),
        }
    }

    pub(super) fn remember_confirmed(&mut self, nonce: [u8; 16]) {
        if self.confirmed.len() >= RELAY_CONFIRMS_KEPT_MAX {
            self.confirmed.pop_front();
        }
        self.confirmed.push_back(nonce);
    }
}

/// One that the other permits too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    route: RouteId,
    pub(super) index: Index,
    pub(super) pair: PairId,
}

#[derive(Debug)]
struct Member {
    route: RouteId,
    organization: OrganizationId,
    /// Boxed, so that what every packet asks for lies close together.
    link: Option<Box<Link>>,
    registered: Option<Registered>,
    permitted: BTreeSet<RouteId>,
    /// Ordered by route.
    peers: Vec<Peer>,
}

#[derive(Debug, Clone, Copy)]
struct Registered {
    address: SocketAddr,
    /// Where it reaches the gateway: a NAT lets answers in from there only.
    local: Option<IpAddr>,
    since: Instant,
}

#[derive(Debug)]
struct Pair {
    traffic: PairTraffic,
    receiver: Index,
}

/// Places that are used again: an index stays what it was until it is given back.
#[derive(Debug)]
struct Slots<T> {
    taken: Vec<Option<T>>,
    free: Vec<u32>,
    count_max: usize,
}

impl<T> Slots<T> {
    const fn new(count_max: usize) -> Self {
        Self { taken: Vec::new(), free: Vec::new(), count_max }
    }

    fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            self.taken[index as usize] = Some(value);
            return Some(index);
        }
        let index = u32::try_from(self.taken.len()).ok().filter(|_| self.taken.len() < self.count_max)?;
        self.taken.push(Some(value));
        Some(index)
    }

    #[inline]
    fn get(&self, index: u32) -> Option<&T> {
        self.taken.get(index as usize)?.as_ref()
    }

    #[inline]
    fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.taken.get_mut(index as usize)?.as_mut()
    }

    fn remove(&mut self, index: u32) -> Option<T> {
        let removed = self.taken.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(removed)
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.taken.iter().flatten()
    }
}

#[derive(Debug)]
pub(super) struct Members {
    slots: Slots<Member>,
    pairs: Slots<Pair>,
    by_route: BTreeMap<RouteId, Index>,
    /// Hashed without a random key, which lets nobody do harm: only addresses that were proven are in it,
    /// one for each member.
    by_address: HashMap<SocketAddr, Index, BuildHasherDefault<DefaultHasher>>,
    /// Who sent last: packets come in runs.
    latest: Option<(SocketAddr, Index)>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            slots: Slots::new(RELAY_MEMBERS_MAX),
            pairs: Slots::new(RELAY_PAIRS_MAX),
            by_route: BTreeMap::new(),
            by_address: HashMap::default(),
            latest: None,
        }
    }
}

impl Members {
    pub(super) fn find(&self, route: RouteId) -> Option<Index> {
        self.by_route.get(&route).copied()
    }

    /// Returns who is registered at this address.
    #[inline]
    pub(super) fn at(&mut self, address: SocketAddr, now: Instant) -> Option<Index> {
        let index = match self.latest {
            Some((latest, index)) if latest == address => index,
            _ => {
                let index = *self.by_address.get(&address)?;
                self.latest = Some((address, index));
                index
            }
        };
        self.address(index, now).map(|_| index)
    }

    /// Returns where it is registered, unless that has lapsed.
    #[inline]
    pub(super) fn address(&self, index: Index, now: Instant) -> Option<SocketAddr> {
        let registered = self.slots.get(index)?.registered.as_ref()?;
        (now.saturating_duration_since(registered.since) < REGISTRATION_LASTS).then_some(registered.address)
    }

    /// Returns the gateway's address by which the receiver of this pair knows it.
    #[inline]
    pub(super) fn local_of(&self, pair: PairId) -> Option<IpAddr> {
        let receiver = self.pairs.get(pair.0)?.receiver;
        self.slots.get(receiver)?.registered.as_ref()?.local
    }

    /// Returns a peer that it may send to.
    #[inline]
    pub(super) fn peer(&self, index: Index, route: RouteId) -> Option<Peer> {
        let peers = &self.slots.get(index)?.peers;
        let place = peers.binary_search_by_key(&route, |peer| peer.route).ok()?;
        Some(peers[place])
    }

    #[inline]
    pub(super) fn count(&mut self, pair: PairId, bytes: usize) {
        if let Some(pair) = self.pairs.get_mut(pair.0) {
            pair.traffic.packets += 1;
            pair.traffic.bytes += bytes as u64;
        }
    }

    pub(super) fn route(&self, index: Index) -> RouteId {
        self.slots.get(index).map_or(RouteId::from_bytes([0; 8]), |member| member.route)
    }

    pub(super) fn organization(&self, index: Index) -> OrganizationId {
        self.slots.get(index).map_or(OrganizationId::from_bytes([0; 16]), |member| member.organization)
    }

    pub(super) fn link(&mut self, index: Index) -> Option<&mut Link> {
        self.slots.get_mut(index)?.link.as_deref_mut()
    }

    pub(super) fn traffic(&self) -> impl Iterator<Item = PairTraffic> + '_ {
        self.pairs.iter().map(|pair| pair.traffic)
    }

    pub(super) fn registered(&self, now: Instant) -> usize {
        let indexes = self.by_route.values();
        indexes.filter(|&&index| self.address(index, now).is_some()).count()
    }

    pub(super) fn join(
        &mut self,
        route: RouteId,
        organization: OrganizationId,
        key: PacketKey,
    ) -> Result<(), RelayFull> {
        if let Some(member) = self.find(route).and_then(|index| self.slots.get_mut(index)) {
            member.organization = organization;
            if member.link.as_ref().is_none_or(|link| link.key.id() != key.id()) {
                member.link = Some(Box::new(Link::new(key)));
            }
            return Ok(());
        }
        let member = Member {
            route,
            organization,
            link: Some(Box::new(Link::new(key))),
            registered: None,
            permitted: BTreeSet::new(),
            peers: Vec::new(),
        };
        let index = self.slots.insert(member).ok_or(RelayFull::Members)?;
        self.by_route.insert(route, index);
        Ok(())
    }

    pub(super) fn leave(&mut self, index: Index) {
        let Some(member) = self.slots.get_mut(index) else { return };
        member.link = None;
        if member.registered.is_none() {
            self.remove(index);
        }
    }

    pub(super) fn remove(&mut self, index: Index) {
        self.unregister(index);
        let Some(member) = self.slots.remove(index) else { return };
        self.by_route.remove(&member.route);
        for peer in member.peers {
            self.pairs.remove(peer.pair.0);
            if let Some(back) = self.remove_peer(peer.index, member.route) {
                self.pairs.remove(back.pair.0);
            }
        }
    }

    /// Registers an address: from now on it is at `address`, and nobody else is.
    pub(super) fn register(
        &mut self,
        index: Index,
        address: SocketAddr,
        local: Option<IpAddr>,
        since: Instant,
    ) {
        if self.by_address.get(&address) != Some(&index) {
            self.unregister(index);
            if let Some(before) = self.by_address.get(&address).copied() {
                self.unregister(before);
            }
            self.by_address.insert(address, index);
        }
        if let Some(member) = self.slots.get_mut(index) {
            member.registered = Some(Registered { address, local, since });
        }
    }

    pub(super) fn permit(&mut self, index: Index, mut permitted: BTreeSet<RouteId>) -> Result<(), RelayFull> {
        let mut outcome = Ok(());
        if let Some(first_too_many) = permitted.iter().nth(RELAY_PEERS_MAX).copied() {
            permitted.split_off(&first_too_many);
            outcome = Err(RelayFull::Pairs);
        }
        let Some(member) = self.slots.get_mut(index) else { return Ok(()) };
        let before = std::mem::replace(&mut member.permitted, permitted.clone());
        // First what ends, so that there is room for what begins.
        for &peer in before.difference(&permitted) {
            self.part(index, peer);
        }
        for &peer in &permitted {
            if self.pair(index, peer).is_none() {
                outcome = Err(RelayFull::Pairs);
            }
        }
        outcome
    }

    pub(super) fn forget_lapsed(&mut self, now: Instant) {
        let is_lapsed = |index: &Index| self.address(*index, now).is_none();
        let lapsed: Vec<_> = self.by_route.values().copied().filter(is_lapsed).collect();
        for index in lapsed {
            self.unregister(index);
            if self.slots.get(index).is_some_and(|member| member.link.is_none()) {
                self.remove(index);
            }
        }
    }

    fn unregister(&mut self, index: Index) {
        self.latest = None;
        let Some(member) = self.slots.get_mut(index) else { return };
        if let Some(registered) = member.registered.take() {
            self.by_address.remove(&registered.address);
        }
    }

    /// Joins the two when each permits the other; `None` when there is no room for that.
    fn pair(&mut self, index: Index, peer: RouteId) -> Option<()> {
        let own = self.route(index);
        let Some(peer_index) = self.find(peer).filter(|&peer_index| {
            peer_index != index
                && self.peer(index, peer).is_none()
                && self.slots.get(peer_index).is_some_and(|member| member.permitted.contains(&own))
        }) else {
            return Some(());
        };
        let new =
            |from, to, receiver| Pair { traffic: PairTraffic { from, to, packets: 0, bytes: 0 }, receiver };
        let there = self.pairs.insert(new(own, peer, peer_index))?;
        let Some(back) = self.pairs.insert(new(peer, own, index)) else {
            self.pairs.remove(there);
            return None;
        };
        self.insert_peer(index, Peer { route: peer, index: peer_index, pair: PairId(there) });
        self.insert_peer(peer_index, Peer { route: own, index, pair: PairId(back) });
        Some(())
    }

    fn part(&mut self, index: Index, peer: RouteId) {
        let own = self.route(index);
        let Some(there) = self.remove_peer(index, peer) else { return };
        self.pairs.remove(there.pair.0);
        if let Some(back) = self.remove_peer(there.index, own) {
            self.pairs.remove(back.pair.0);
        }
    }

    fn insert_peer(&mut self, index: Index, peer: Peer) {
        let Some(member) = self.slots.get_mut(index) else { return };
        if let Err(place) = member.peers.binary_search_by_key(&peer.route, |peer| peer.route) {
            member.peers.insert(place, peer);
        }
    }

    fn remove_peer(&mut self, index: Index, route: RouteId) -> Option<Peer> {
        let peers = &mut self.slots.get_mut(index)?.peers;
        let place = peers.binary_search_by_key(&route, |peer| peer.route).ok()?;
        Some(peers.remove(place))
    }
}
