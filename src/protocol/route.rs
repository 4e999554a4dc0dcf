//! Where a peer can be reached now: decides which addresses to probe and when, which sources may
//! hand packets to QUIC, and which address to send to. Knows one path: direct.
//!
//! The life of a route: candidates arrive and are all probed at 0, 10, 20, 40 … ms. The first to
//! answer becomes active and is probed every second; the others rest. When it has been silent for
//! three seconds, all are searched again. A probe from an unknown source is answered and probed
//! back, so both ends learn each other's address in one round trip.
//!
//! What is believed, and why:
//! - Only an answer with a nonce of ours, still outstanding, from the address it was sent to,
//!   validates that address. It is fresh and cannot be replayed, and each nonce counts once.
//! - A probe may be a replay, so it changes nothing; it earns an answer of its own length and a
//!   probe, both rate-limited.
//! - A changed boot id counts only in such an answer: a replayed probe of an earlier run must not
//!   be able to cut tunnels.
//!
//! No socket, clock or chance here. After every call the caller empties
//! [`PeerRoute::poll_transmit`] and [`PeerRoute::poll_event`] and asks when to come back.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::packet::{PROBE_BYTES_MIN, Packet, PacketKind, ProbeKey};
use crate::domain::id::{BootId, RouteId};
use crate::domain::limits::{
    PATH_SILENCE, PEER_ADDRESSES_MAX, PROBE_AGAIN, PROBE_ANSWER_WITHIN, PROBE_ANSWERS_PER_SECOND,
    PROBE_BYTES_MAX, PROBE_EVERY, PROBE_SEARCH_MAX, PROBE_SEARCH_MIN, PROBES_OUTSTANDING_MAX,
    SOURCE_LAPSES_AFTER,
};

/// One of our own packets, sealed, on its way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTransmit {
    pub to: SocketAddr,
    pub packet: Box<[u8]>,
}

/// What changed. Addresses are in [`canonical`] form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteEvent {
    /// QUIC packets from this source may be handed on.
    Validated(SocketAddr),
    /// And from this one no more.
    Lapsed(SocketAddr),
    /// Send to this address from now on; it was validated before.
    Active(SocketAddr),
    /// The peer's process is a new one: every connection with the old one is dead.
    BootChanged(BootId),
}

/// The form in which addresses are compared: IPv4 as IPv4 even where a dual-stack socket reports it
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

/// The route to one peer server, whichever and however many connections use it.
#[derive(Debug)]
pub struct PeerRoute {
    own: RouteId,
    boot: BootId,
    peer: RouteId,
    peer_boot: Option<BootId>,
    keys: Vec<ProbeKey>,
    /// Which of `keys` seals the next probe: the last one answered; while none answers each in
    /// turn, as the peer may not hold all of them yet.
    key: usize,
    targets: BTreeMap<SocketAddr, Target>,
    active: Option<Active>,
    outstanding: VecDeque<Outstanding>,
    answered: Allowance,
    answered_strangers: Allowance,
    transmits: VecDeque<OwnTransmit>,
    events: VecDeque<RouteEvent>,
}

/// An address worth probing.
#[derive(Debug)]
struct Target {
    /// The peer announced it; otherwise it was learnt from a probe.
    announced: bool,
    /// When it last answered; `None` when it never did, or too long ago.
    answered: Option<Instant>,
    /// Probes since a search began.
    probes: u32,
    due: Instant,
}

#[derive(Debug)]
struct Active {
    address: SocketAddr,
    heard: Instant,
    /// All targets are probed, not only this one.
    searching: bool,
}

#[derive(Debug)]
struct Outstanding {
    nonce: [u8; 16],
    to: SocketAddr,
    sent: Instant,
}

impl PeerRoute {
    #[must_use]
    pub fn new(own: RouteId, boot: BootId, peer: RouteId) -> Self {
        Self {
            own,
            boot,
            peer,
            peer_boot: None,
            keys: Vec::new(),
            key: 0,
            targets: BTreeMap::new(),
            active: None,
            outstanding: VecDeque::new(),
            answered: Allowance::default(),
            answered_strangers: Allowance::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// One key for every connection with this peer whose secret is held. Without any, the route is
    /// silent.
    pub fn set_keys(&mut self, keys: Vec<ProbeKey>) {
        let used = self.keys.get(self.key).map(ProbeKey::id);
        self.key = keys.iter().position(|key| Some(key.id()) == used).unwrap_or(0);
        self.keys = keys;
    }

    /// What the peer announced last, most wanted first; what exceeds the bound is ignored. An
    /// address in use stays in use, and a list that says nothing new starts nothing.
    pub fn set_candidates(&mut self, addresses: &[SocketAddr], now: Instant) {
        let announced: Vec<_> = addresses.iter().copied().map(canonical).take(PEER_ADDRESSES_MAX).collect();
        let active = self.active();
        self.targets.retain(|address, target| {
            target.announced = announced.contains(address);
            target.announced || target.answered.is_some() || Some(*address) == active
        });
        for address in announced {
            self.targets.entry(address).or_insert(Target {
                announced: true,
                answered: None,
                probes: 0,
                due: now,
            });
        }
    }

    /// Begins the search anew, as at the start: for when the network under us changed.
    pub fn search(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.searching = true;
        }
        for target in self.targets.values_mut() {
            target.probes = 0;
            target.due = now;
        }
    }

    /// Takes one packet of ours as it came from the socket. What does not verify, is not for us or
    /// not from this peer gets silence.
    pub fn handle_packet(
        &mut self,
        from: SocketAddr,
        packet: &[u8],
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) {
        let opened = self.keys.iter().enumerate().find_map(|(index, key)| Some((index, key.open(packet)?)));
        let Some((key, packet)) = opened else { return };
        if packet.destination != self.own || packet.source != self.peer {
            return;
        }
        let from = canonical(from);
        match packet.kind {
            PacketKind::Probe => self.handle_probe(from, &packet, key, now, nonce),
            PacketKind::Answer => self.handle_answer(from, &packet, key, now, nonce),
        }
    }

    /// Sends what is due and forgets what has lapsed. Early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        self.forget_lapsed(now);
        if self.active.as_ref().is_some_and(|active| !active.searching && is_silent(active, now)) {
            self.search(now);
        }
        if self.keys.is_empty() {
            return;
        }
        let due: Vec<_> = self.probed().filter(|(_, target)| target.due <= now).map(|(to, _)| *to).collect();
        for to in due {
            self.probe(to, self.key, now, nonce);
            self.schedule_after_probe(to, now);
        }
        if self.is_searching() {
            self.key = (self.key + 1) % self.keys.len();
        }
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.keys.is_empty() {
            return None;
        }
        let silent = self.active.as_ref().filter(|active| !active.searching);
        let silent = silent.map(|active| active.heard + PATH_SILENCE);
        self.probed().map(|(_, target)| target.due).chain(silent).min()
    }

    pub fn poll_transmit(&mut self) -> Option<OwnTransmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<RouteEvent> {
        self.events.pop_front()
    }

    /// Where to send to. It stays while nothing better answers, however long it is silent.
    #[must_use]
    pub fn active(&self) -> Option<SocketAddr> {
        self.active.as_ref().map(|active| active.address)
    }

    /// When the active address last answered.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.active.as_ref().map(|active| active.heard)
    }

    /// For how long the active address has not answered; `None` while there is none.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.heard().map(|heard| now.saturating_duration_since(heard))
    }

    /// The peer's run, once it has answered.
    #[must_use]
    pub const fn peer_boot(&self) -> Option<BootId> {
        self.peer_boot
    }

    /// The addresses whose QUIC packets may be handed on.
    pub fn validated(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.targets.iter().filter(|(_, target)| target.answered.is_some()).map(|(address, _)| *address)
    }

    fn handle_probe(
        &mut self,
        from: SocketAddr,
        probe: &Packet,
        key: usize,
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) {
        let answered = self.targets.get(&from).and_then(|target| target.answered);
        let allowance = if answered.is_some() { &mut self.answered } else { &mut self.answered_strangers };
        if !allowance.take(now) {
            return;
        }
        let is_stale =
            answered.is_none_or(|answered| now.saturating_duration_since(answered) >= PROBE_EVERY * 2);
        if is_stale || self.is_searching() || self.peer_boot.is_some_and(|boot| boot != probe.boot) {
            // First, so that the peer has answered it, and is validated here, before our answer
            // lets it send.
            self.probe(from, key, now, nonce);
        }
        self.send(from, key, &probe.answer(self.boot));
    }

    fn handle_answer(
        &mut self,
        from: SocketAddr,
        answer: &Packet,
        key: usize,
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) {
        let Some(index) = self.outstanding.iter().position(|probe| probe.nonce == answer.nonce) else {
            return;
        };
        let Some(probe) = self.outstanding.remove(index) else { return };
        if now.saturating_duration_since(probe.sent) > PROBE_ANSWER_WITHIN {
            return;
        }
        if probe.to != from {
            // The peer answers from another address than it was asked at: ask it there.
            if self.answered_strangers.take(now) {
                self.probe(from, key, now, nonce);
            }
            return;
        }
        self.key = key;
        self.believe_boot(answer.boot);
        self.validate(from, now);
    }

    fn believe_boot(&mut self, boot: BootId) {
        if self.peer_boot.replace(boot).is_some_and(|known| known != boot) {
            // What the earlier run was asked it may still answer, late; that must not undo this.
            self.outstanding.clear();
            self.active = None;
            let events = &mut self.events;
            self.targets.retain(|address, target| {
                if target.answered.take().is_some() {
                    events.push_back(RouteEvent::Lapsed(*address));
                }
                target.announced
            });
            self.events.push_back(RouteEvent::BootChanged(boot));
        }
    }

    fn validate(&mut self, address: SocketAddr, now: Instant) {
        if !self.targets.contains_key(&address) {
            self.make_room_to_learn();
        }
        let target = self.targets.entry(address).or_insert(Target {
            announced: false,
            answered: None,
            probes: 0,
            due: now,
        });
        target.probes = 0;
        target.due = now + PROBE_EVERY;
        if target.answered.replace(now).is_none() {
            self.events.push_back(RouteEvent::Validated(address));
        }
        match &mut self.active {
            Some(active) if active.address == address => {
                active.heard = now;
                active.searching = false;
            }
            Some(active) if !is_silent(active, now) => {}
            _ => {
                self.active = Some(Active { address, heard: now, searching: false });
                self.events.push_back(RouteEvent::Active(address));
            }
        }
    }

    /// Learnt addresses are bounded: the one that answered longest ago makes room.
    fn make_room_to_learn(&mut self) {
        let active = self.active();
        let learnt =
            || self.targets.iter().filter(|(address, target)| !target.announced && Some(**address) != active);
        if learnt().count() < PEER_ADDRESSES_MAX {
            return;
        }
        let oldest = learnt().min_by_key(|(_, target)| target.answered).map(|(address, _)| *address);
        if let Some(oldest) = oldest
            && self.targets.remove(&oldest).is_some_and(|target| target.answered.is_some())
        {
            self.events.push_back(RouteEvent::Lapsed(oldest));
        }
    }

    fn forget_lapsed(&mut self, now: Instant) {
        let (active, events) = (self.active(), &mut self.events);
        self.targets.retain(|address, target| {
            let lapsed = target
                .answered
                .is_some_and(|answered| now.saturating_duration_since(answered) >= SOURCE_LAPSES_AFTER);
            if !lapsed || Some(*address) == active {
                return true;
            }
            target.answered = None;
            events.push_back(RouteEvent::Lapsed(*address));
            target.announced
        });
    }

    fn is_searching(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.searching)
    }

    /// What is probed of our own accord: everything while searching, else the active address.
    fn probed(&self) -> impl Iterator<Item = (&SocketAddr, &Target)> {
        let only = self.active.as_ref().filter(|active| !active.searching).map(|active| active.address);
        self.targets.iter().filter(move |(address, _)| only.is_none_or(|only| only == **address))
    }

    fn schedule_after_probe(&mut self, to: SocketAddr, now: Instant) {
        let searching = self.is_searching();
        let Some(target) = self.targets.get_mut(&to) else { return };
        let pause = if searching {
            // At 0, 10, 20, 40, 80 … ms: each pause but the first as long as all before it.
            PROBE_SEARCH_MIN.saturating_mul(2_u32.saturating_pow(target.probes.saturating_sub(1)))
        } else {
            PROBE_AGAIN
        };
        target.probes = target.probes.saturating_add(1);
        target.due = now + pause.min(PROBE_SEARCH_MAX);
    }

    fn probe(&mut self, to: SocketAddr, key: usize, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        let probe = Packet {
            kind: PacketKind::Probe,
            destination: self.peer,
            source: self.own,
            boot: self.boot,
            nonce: nonce(),
            length: PROBE_BYTES_MIN,
        };
        if self.outstanding.len() >= PROBES_OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Outstanding { nonce: probe.nonce, to, sent: now });
        self.send(to, key, &probe);
    }

    fn send(&mut self, to: SocketAddr, key: usize, packet: &Packet) {
        let Some(key) = self.keys.get(key) else { return };
        let packet = key.seal(packet, &mut [0; PROBE_BYTES_MAX]).into();
        self.transmits.push_back(OwnTransmit { to, packet });
    }
}

fn is_silent(active: &Active, now: Instant) -> bool {
    now.saturating_duration_since(active.heard) >= PATH_SILENCE
}

/// So many a second and no more.
#[derive(Debug, Default)]
struct Allowance {
    second: Option<Instant>,
    taken: u32,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let second = *self.second.get_or_insert(now);
        if now.saturating_duration_since(second) >= Duration::from_secs(1) {
            self.second = Some(now);
            self.taken = 0;
        }
        self.taken += 1;
        // Stops counting there: nothing overflows within the second.
        self.taken = self.taken.min(PROBE_ANSWERS_PER_SECOND + 1);
        self.taken <= PROBE_ANSWERS_PER_SECOND
    }
}

#[cfg(test)]
mod tests;
