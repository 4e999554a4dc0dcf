//! Who may begin a handshake: nothing reaches QUIC whose sender has not shown that it holds the secret
//! of a live connection, and no peer holds more than its share of what can be under way.
//!
//! A peer's first Initial passes if its tag verifies for this run of both agents and was not used
//! before; it then has a **place**, and so have its repetitions, until the handshake is over. What
//! follows of the same handshake is told by the id that the peer is answered at, and what answers our
//! own dials by ours. A place that nobody claims, or whose peer does not go on, ends by itself. All
//! else is dropped in silence: who holds no key gets no answer.
//!
//! Short headers are not asked about here: QUIC drops what belongs to no connection. No socket, clock
//! or randomness here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::initial::{Ends, InitialId, LongHeader, LongKind, OwnId, TagKey, number, route_of};
use super::replay_window::ReplayWindow;
use super::token_bucket::TokenBucket;
use crate::domain::id::{BootId, RouteId};
use crate::domain::limits::{
    FIRST_FLIGHT_TIMEOUT, HANDSHAKE_PLACES_MAX, HANDSHAKES_BURST_PER_PLACE, INITIALS_OF_PLACE_MAX,
    PEERS_LEFT_MAX, QUIC_MTU_MIN, TAG_KEYS_TRIED_MAX, handshake_share,
};

/// What becomes of a packet with a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionVerdict {
    /// QUIC may have it.
    Passes,
    /// Nothing shows that its sender may begin a handshake, or that it belongs to one.
    Unproven,
    /// Its peer has as many handshakes under way, or has begun as many of late, as it may.
    Crowded,
}

/// Names a place; no two ever have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceId(u64);

/// The ids of a handshake that we begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialIds {
    /// Where the target sends to.
    pub source: OwnId,
    /// Where the first Initial goes.
    pub destination: InitialId,
}

#[derive(Debug)]
pub struct Admission {
    own: RouteId,
    boot: BootId,
    peers: BTreeMap<RouteId, Peer>,
    /// Ids at which handshakes that we began are answered.
    dials: BTreeMap<OwnId, Dialled>,
    places: Vec<Place>,
    /// Of the last place given.
    last_place: u64,
    /// Of our last handshake, with whomever.
    last_number: u32,
    /// What peers had used that are none any more; the oldest is forgotten first.
    left: VecDeque<(RouteId, BootId, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialled {
    Peer,
    /// It asks everybody to prove their address first.
    Gateway,
}

/// An agent that live connections name.
#[derive(Debug)]
struct Peer {
    /// One for each connection whose secret is held.
    keys: Vec<TagKey>,
    /// The one that it is known to hold.
    key: usize,
    /// Its run, once it has answered a probe.
    boot: Option<BootId>,
    used: ReplayWindow,
    begun: TokenBucket,
}

/// A handshake under way.
#[derive(Debug)]
struct Place {
    id: PlaceId,
    peer: RouteId,
    destination: InitialId,
    source: OwnId,
    /// Nobody has claimed it yet; from then on it is kept until it is given back.
    ends: Option<Instant>,
    /// The peer has answered what it was sent.
    goes_on: bool,
    /// Initials that came to the id it is answered at.
    initials: u32,
}

impl Admission {
    #[must_use]
    pub const fn new(own: RouteId, boot: BootId) -> Self {
        Self {
            own,
            boot,
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            places: Vec::new(),
            last_place: 0,
            last_number: 0,
            left: VecDeque::new(),
        }
    }

    /// Sets this run of the agent. Tags that were made for another do not count.
    pub const fn set_boot(&mut self, boot: BootId) {
        self.boot = boot;
    }

    /// Names a peer and the keys of its connections. What it has used stays used.
    pub fn set_peer(&mut self, route: RouteId, keys: Vec<TagKey>) {
        let share = handshake_share(keys.len());
        let begun = || TokenBucket::per_second(share * HANDSHAKES_BURST_PER_PLACE, share);
        let peer = self.peers.entry(route).or_insert_with(|| Peer {
            keys: Vec::new(),
            key: 0,
            boot: None,
            used: ReplayWindow::default(),
            begun: begun(),
        });
        if peer.keys.len() != keys.len() {
            peer.begun = begun();
        }
        peer.keys = keys;
    }

    /// Forgets a peer: it begins no handshake.
    pub fn remove_peer(&mut self, route: RouteId) {
        if let Some(Peer { boot: Some(boot), used, .. }) = self.peers.remove(&route) {
            self.left.retain(|(left, ..)| *left != route);
            self.left.push_back((route, boot, used.highest()));
            if self.left.len() > PEERS_LEFT_MAX {
                self.left.pop_front();
            }
        }
        self.places.retain(|place| place.peer != route);
    }

    /// Says what the peer's probes have told: its run, and which of its keys it holds. What another
    /// run of it began is over.
    pub fn note_peer(&mut self, route: RouteId, boot: Option<BootId>, key: usize) {
        let Some(peer) = self.peers.get_mut(&route) else { return };
        peer.key = key;
        if peer.boot != boot {
            peer.boot = boot;
            let left = self.left.iter().find(|(left, run, _)| *left == route && Some(*run) == boot);
            peer.used = left.map_or_else(ReplayWindow::default, |(.., used)| ReplayWindow::after(*used));
            self.places.retain(|place| place.peer != route);
        }
    }

    /// Returns the ids for a handshake with `target`, made of `random`. Who is no peer, as the
    /// gateway, gets no tag; nor does a peer of which too little is known, and it will not answer.
    pub fn dial(&mut self, target: RouteId, random: [u8; 18]) -> DialIds {
        let (mut source, mut untagged) = (OwnId::default(), InitialId::default());
        source[..8].copy_from_slice(self.own.as_bytes());
        source[8..].copy_from_slice(&random[..6]);
        untagged[..8].copy_from_slice(target.as_bytes());
        untagged[8..].copy_from_slice(&random[6..]);
        let dialled = if self.peers.contains_key(&target) { Dialled::Peer } else { Dialled::Gateway };
        self.dials.insert(source, dialled);
        DialIds { source, destination: self.tagged(target, source).unwrap_or(untagged) }
    }

    fn tagged(&mut self, target: RouteId, source: OwnId) -> Option<InitialId> {
        let peer = self.peers.get(&target)?;
        let key = peer.keys.get(peer.key).or_else(|| peer.keys.first())?;
        let ends = Ends { source, source_boot: self.boot, target, target_boot: peer.boot? };
        // It rises whichever peer is dialled: a peer that is named again must not hear an earlier one again.
        self.last_number = self.last_number.checked_add(1)?;
        Some(key.initial_id(self.last_number, &ends))
    }

    /// Notes that our handshake is over, one way or the other.
    pub fn end_dial(&mut self, source: &OwnId) {
        self.dials.remove(source);
    }

    /// Judges a packet with a long header. `packet` is a whole datagram, of which QUIC looks at the
    /// first head alone to find the connection.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) -> AdmissionVerdict {
        let Some(header) = LongHeader::read(packet) else { return AdmissionVerdict::Unproven };
        if !header.destination.starts_with(self.own.as_bytes()) {
            return AdmissionVerdict::Unproven;
        }
        let passes = match (header.kind, OwnId::try_from(header.destination)) {
            (LongKind::Initial, Err(_)) => return self.handle_first(&header, packet.len(), now),
            (LongKind::Initial, Ok(id)) => self.dials.contains_key(&id) || self.goes_on(&header),
            (LongKind::Retry, Ok(id)) => self.dials.get(&id) == Some(&Dialled::Gateway),
            // It begins nothing: QUIC drops what is of no connection.
            (LongKind::Handshake, Ok(_)) => {
                self.goes_on(&header);
                true
            }
            (LongKind::Retry | LongKind::Handshake, Err(_)) => false,
        };
        if passes { AdmissionVerdict::Passes } else { AdmissionVerdict::Unproven }
    }

    /// Returns whether the handshake goes on: a peer that is answered at the id of a place was reached, and
    /// answers.
    fn goes_on(&mut self, header: &LongHeader<'_>) -> bool {
        let place = self.places.iter_mut().find(|place| place.source == header.source);
        place.is_some_and(|place| {
            place.goes_on = true;
            place.initials = place.initials.saturating_add(u32::from(header.kind == LongKind::Initial));
            place.initials <= INITIALS_OF_PLACE_MAX
        })
    }

    fn handle_first(&mut self, header: &LongHeader<'_>, length: usize, now: Instant) -> AdmissionVerdict {
        let (Ok(destination), Ok(source)) =
            (InitialId::try_from(header.destination), OwnId::try_from(header.source))
        else {
            return AdmissionVerdict::Unproven;
        };
        // QUIC takes no shorter datagram for a first one (RFC 9000 §14.1).
        if length < QUIC_MTU_MIN {
            return AdmissionVerdict::Unproven;
        }
        self.lapse(now);
        if let Some(place) = self.places.iter().find(|place| place.destination == destination) {
            return if place.source == source {
                AdmissionVerdict::Passes
            } else {
                AdmissionVerdict::Unproven
            };
        }
        let route = route_of(&source);
        let held = self.places.iter().filter(|place| place.peer == route).count();
        // Who has none is never kept out by those who have many.
        let is_full = held > 0 && self.places.len() >= HANDSHAKE_PLACES_MAX;
        let Some(peer) = self.peers.get_mut(&route) else { return AdmissionVerdict::Unproven };
        let Some(source_boot) = peer.boot else { return AdmissionVerdict::Unproven };
        if !peer.used.is_fresh(number(&destination)) {
            return AdmissionVerdict::Unproven;
        }
        if is_full || held >= handshake_share(peer.keys.len()) as usize || !peer.begun.try_take(now) {
            return AdmissionVerdict::Crowded;
        }
        let ends = Ends { source, source_boot, target: self.own, target_boot: self.boot };
        let mut tried = peer.keys.iter().filter(|key| key.is_hinted(&destination)).take(TAG_KEYS_TRIED_MAX);
        if !tried.any(|key| key.verifies(&destination, &ends)) {
            peer.begun.give_back();
            return AdmissionVerdict::Unproven;
        }
        peer.used.note(number(&destination));
        self.seat(route, destination, source, now);
        AdmissionVerdict::Passes
    }

    fn seat(&mut self, peer: RouteId, destination: InitialId, source: OwnId, now: Instant) {
        self.last_place += 1;
        let (id, ends) = (PlaceId(self.last_place), Some(now + FIRST_FLIGHT_TIMEOUT));
        self.places.push(Place { id, peer, destination, source, ends, goes_on: false, initials: 0 });
    }

    fn lapse(&mut self, now: Instant) {
        self.places.retain(|place| place.ends.is_none_or(|ends| ends > now));
    }

    /// Returns the place of the handshake whose first Initial went to `destination`, once; `None` for
    /// one that was not admitted. It lasts until [`Self::give_back`].
    pub fn claim(&mut self, destination: &[u8]) -> Option<PlaceId> {
        let place = self.places.iter_mut().find(|place| place.destination == destination)?;
        place.ends.take()?;
        Some(place.id)
    }

    /// Returns whether the peer has answered what it was sent in this handshake.
    #[must_use]
    pub fn is_going_on(&self, place: PlaceId) -> bool {
        self.places.iter().any(|held| held.id == place && held.goes_on)
    }

    pub fn give_back(&mut self, place: PlaceId) {
        self.places.retain(|held| held.id != place);
    }
}

#[cfg(test)]
mod tests;
