//! The agents that the relay knows, where they are, and who may reach whom.
//!
//! Only the gateway adds members and pairs, and a member is at one address and at one carrier at a time, so
//! strangers cannot make any of this grow. What is asked for every packet is one look-up in a hash map, one
//! in a short sorted list, and no allocation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{RelayFull, Source};
use crate::domain::id::{CarrierId, OrganizationId, RouteId};
use crate::domain::limits::{
    REGISTRATION_LASTS, RELAY_ANSWERS_PER_SECOND, RELAY_CONFIRMS_KEPT_MAX, RELAY_MEMBERS_MAX,
    RELAY_PAIRS_MAX, RELAY_PEERS_MAX,
};
use crate::domain::path::Carrier;
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
    /// The latest Register over each carrier: which of two is faster is chance.
    latest: [LatestRegister; Carrier::ALL.len()],
    pub(super) registers: TokenBucket,
    pub(super) claims: TokenBucket,
    pub(super) again: TokenBucket,
    /// Probes from where it is registered, and from elsewhere: who repeats what was overheard elsewhere takes
    /// nothing from the agent.
    pub(super) probes: TokenBucket,
    pub(super) strays: TokenBucket,
    /// The latest confirmations that counted.
    pub(super) confirmed: VecDeque<[u8; 16]>,
}

/// The number of a Register, and how often it came again.
#[derive(Debug)]
pub(super) struct LatestRegister {
    pub(super) number: u64,
    pub(super) repeats: u32,
}

impl Link {
    fn new(key: PacketKey) -> Self {
        let answers = || TokenBucket::per_second(RELAY_ANSWERS_PER_SECOND, RELAY_ANSWERS_PER_SECOND);
        Self {
            key,
            // No Register has the number 0.
            latest: Carrier::ALL.map(|_| LatestRegister { number: 0, repeats: u32::MAX }),
            registers: answers(),
            claims: answers(),
            again: answers(),
            probes: answers(),
            strays: answers(),
            confirmed: VecDeque::with_capacity(RELAY_CONFIRMS_KEPT_MAX),
        }
    }

    pub(super) const fn latest(&mut self, carrier: Carrier) -> &mut LatestRegister {
        &mut self.latest[carrier as usize]
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
    at_address: Option<Registered<SocketAddr>>,
    at_carrier: Option<Registered<CarrierId>>,
    permitted: BTreeSet<RouteId>,
    /// Ordered by route.
    peers: Vec<Peer>,
}

impl Member {
    /// Returns where it is reached over UDP, unless that has lapsed.
    #[inline]
    fn address(&self, now: Instant) -> Option<SocketAddr> {
        self.at_address.as_ref().filter(|registered| registered.holds(now)).map(|registered| registered.place)
    }

    /// Returns by which carrier it is reached, unless that has lapsed.
    #[inline]
    fn carrier(&self, now: Instant) -> Option<CarrierId> {
        self.at_carrier.as_ref().filter(|registered| registered.holds(now)).map(|registered| registered.place)
    }

    /// Returns over which of the two it registered later.
    fn latest(&self) -> Carrier {
        let since = |carrier: &Registered<CarrierId>| carrier.since;
        let address = self.at_address.as_ref().map(|registered| registered.since);
        if self.at_carrier.as_ref().map(since) > address { Carrier::Tcp } else { Carrier::Udp }
    }
}

#[derive(Debug, Clone, Copy)]
struct Registered<T> {
    place: T,
    /// Where it reaches the gateway: a NAT lets answers in from there only.
    local: Option<IpAddr>,
    since: Instant,
}

impl<T> Registered<T> {
    #[inline]
    fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < REGISTRATION_LASTS
    }
}

#[derive(Debug)]
struct Pair {
    traffic: PairTraffic,
    receiver: Index,
    /// The other direction.
    back: u32,
    /// Over which carrier the sender sent last to the receiver what shows the path that it uses.
    sender_uses: Option<Carrier>,
    /// The same of the receiver to the sender.
    receiver_uses: Option<Carrier>,
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
    /// The same of carriers, whose names are the gateway's.
    by_carrier: HashMap<CarrierId, Index, BuildHasherDefault<DefaultHasher>>,
    /// Who sent last over UDP: packets come in runs.
    latest: Option<(SocketAddr, Index)>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            slots: Slots::new(RELAY_MEMBERS_MAX),
            pairs: Slots::new(RELAY_PAIRS_MAX),
            by_route: BTreeMap::new(),
            by_address: HashMap::default(),
            by_carrier: HashMap::default(),
            latest: None,
        }
    }
}

impl Members {
    pub(super) fn find(&self, route: RouteId) -> Option<Index> {
        self.by_route.get(&route).copied()
    }

    /// Returns who is registered there.
    #[inline]
    pub(super) fn at(&mut self, source: Source, now: Instant) -> Option<Index> {
        match source {
            Source::Udp(address) => {
                let index = match self.latest {
                    Some((latest, index)) if latest == address => index,
                    _ => {
                        let index = *self.by_address.get(&address)?;
                        self.latest = Some((address, index));
                        index
                    }
                };
                self.slots.get(index)?.address(now).map(|_| index)
            }
            Source::Carrier(id) => {
                let index = *self.by_carrier.get(&id)?;
                self.slots.get(index)?.carrier(now).map(|_| index)
            }
        }
    }

    /// Returns where it is registered over this carrier, unless that has lapsed.
    #[inline]
    pub(super) fn over(&self, index: Index, carrier: Carrier, now: Instant) -> Option<Source> {
        let member = self.slots.get(index)?;
        match carrier {
            Carrier::Udp => member.address(now).map(Source::Udp),
            Carrier::Tcp => member.carrier(now).map(Source::Carrier),
        }
    }

    /// Returns where the receiver of this pair is reached: over `carrier` if it is registered there, else over
    /// the other.
    #[inline]
    pub(super) fn receiver_over(&self, peer: Peer, carrier: Carrier, now: Instant) -> Option<Source> {
        self.over(peer.index, carrier, now).or_else(|| {
            let other = match carrier {
                Carrier::Udp => Carrier::Tcp,
                Carrier::Tcp => Carrier::Udp,
            };
            self.over(peer.index, other, now)
        })
    }

    /// Returns over which carrier the receiver of this pair wants to be reached: the one that it used last
    /// towards the sender, or else the one over which it registered last.
    #[inline]
    pub(super) fn wanted(&self, peer: Peer) -> Carrier {
        let used = self.pairs.get(peer.pair.0).and_then(|pair| pair.receiver_uses);
        used.unwrap_or_else(|| self.slots.get(peer.index).map_or(Carrier::Udp, Member::latest))
    }

    /// Notes that the sender of this pair uses this carrier towards the receiver.
    #[inline]
    pub(super) fn note_use(&mut self, pair: PairId, carrier: Carrier) {
        let Some(there) = self.pairs.get_mut(pair.0) else { return };
        if there.sender_uses == Some(carrier) {
            return;
        }
        there.sender_uses = Some(carrier);
        let back = there.back;
        if let Some(back) = self.pairs.get_mut(back) {
            back.receiver_uses = Some(carrier);
        }
    }

    /// Returns the gateway's address by which the receiver of this pair knows it.
    #[inline]
    pub(super) fn local_of(&self, pair: PairId) -> Option<IpAddr> {
        let receiver = self.pairs.get(pair.0)?.receiver;
        self.slots.get(receiver)?.at_address.as_ref()?.local
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
        indexes.filter(|&&index| self.is_registered(index, now)).count()
    }

    fn is_registered(&self, index: Index, now: Instant) -> bool {
        Carrier::ALL.into_iter().any(|carrier| self.over(index, carrier, now).is_some())
    }

    pub(super) fn join(
        &mut self,
        route: RouteId,
        organization: OrganizationId,
        key: PacketKey,
    ) -> Result<(), RelayFull> {
        if let Some(index) = self.find(route) {
            let Some(member) = self.slots.get_mut(index) else { return Ok(()) };
            member.organization = organization;
            if member.link.as_ref().is_none_or(|link| link.key.id() != key.id()) {
                member.link = Some(Box::new(Link::new(key)));
                self.forget_use(index);
            }
            return Ok(());
        }
        let member = Member {
            route,
            organization,
            link: Some(Box::new(Link::new(key))),
            at_address: None,
            at_carrier: None,
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
        if member.at_address.is_none() && member.at_carrier.is_none() {
            self.remove(index);
        }
    }

    pub(super) fn remove(&mut self, index: Index) {
        self.unregister(index, Carrier::Udp);
        self.unregister(index, Carrier::Tcp);
        let Some(member) = self.slots.remove(index) else { return };
        self.by_route.remove(&member.route);
        for peer in member.peers {
            self.pairs.remove(peer.pair.0);
            if let Some(back) = self.remove_peer(peer.index, member.route) {
                self.pairs.remove(back.pair.0);
            }
        }
    }

    /// Registers it there: from now on it is there, over this carrier, and nobody else is.
    pub(super) fn register(&mut self, index: Index, source: Source, local: Option<IpAddr>, since: Instant) {
        let before = match source {
            Source::Udp(address) => self.by_address.get(&address),
            Source::Carrier(id) => self.by_carrier.get(&id),
        };
        let before = before.copied();
        if before != Some(index) {
            self.unregister(index, source.carrier());
            if let Some(before) = before {
                self.unregister(before, source.carrier());
            }
            match source {
                Source::Udp(address) => self.by_address.insert(address, index),
                Source::Carrier(id) => self.by_carrier.insert(id, index),
            };
        }
        let Some(member) = self.slots.get_mut(index) else { return };
        match source {
            Source::Udp(place) => member.at_address = Some(Registered { place, local, since }),
            Source::Carrier(place) => member.at_carrier = Some(Registered { place, local: None, since }),
        }
    }

    /// Notes that a carrier has ended: nobody is there any more.
    pub(super) fn end_carrier(&mut self, id: CarrierId) {
        if let Some(index) = self.by_carrier.get(&id).copied() {
            self.unregister(index, Carrier::Tcp);
            self.remove_if_gone(index);
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
        for carrier in Carrier::ALL {
            let is_lapsed = |index: &Index| self.over(*index, carrier, now).is_none();
            let lapsed: Vec<_> = self.by_route.values().copied().filter(is_lapsed).collect();
            for index in lapsed {
                self.unregister(index, carrier);
            }
        }
        let indexes: Vec<_> = self.by_route.values().copied().collect();
        for index in indexes {
            self.remove_if_gone(index);
        }
    }

    /// Removes it where neither a link nor anything registered is left of it.
    fn remove_if_gone(&mut self, index: Index) {
        let is_gone = |member: &Member| {
            member.link.is_none() && member.at_address.is_none() && member.at_carrier.is_none()
        };
        if self.slots.get(index).is_some_and(is_gone) {
            self.remove(index);
        }
    }

    fn unregister(&mut self, index: Index, carrier: Carrier) {
        let Some(member) = self.slots.get_mut(index) else { return };
        match carrier {
            Carrier::Udp => {
                self.latest = None;
                if let Some(registered) = member.at_address.take() {
                    self.by_address.remove(&registered.place);
                }
            }
            Carrier::Tcp => {
                if let Some(registered) = member.at_carrier.take() {
                    self.by_carrier.remove(&registered.place);
                }
            }
        }
    }

    /// Forgets which carriers it used: a new run of the agent may use others.
    fn forget_use(&mut self, index: Index) {
        let Some(member) = self.slots.get(index) else { return };
        for peer in &member.peers {
            let Some(there) = self.pairs.get_mut(peer.pair.0) else { continue };
            there.sender_uses = None;
            let back = there.back;
            if let Some(back) = self.pairs.get_mut(back) {
                back.receiver_uses = None;
            }
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
        let new = |from, to, receiver, back| Pair {
            traffic: PairTraffic { from, to, packets: 0, bytes: 0 },
            receiver,
            back,
            sender_uses: None,
            receiver_uses: None,
        };
        let there = self.pairs.insert(new(own, peer, peer_index, u32::MAX))?;
        let Some(back) = self.pairs.insert(new(peer, own, index, there)) else {
            self.pairs.remove(there);
            return None;
        };
        if let Some(there) = self.pairs.get_mut(there) {
            there.back = back;
        }
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
