//! How a peer can be reached now: decides which paths to probe and when, which sources may hand
//! packets to QUIC, and over which path to send: directly to an address, or through a relay, over UDP or
//! TCP.
//!
//! The life of a route: candidates arrive and are all probed at 0, 10, 20, 40 … ms, each relay among
//! them, over each carrier to it. The first to answer becomes active and is probed every second. What is better is probed
//! every two seconds, as long as what is sent, until it may take over; what is worse is kept warm.
//! When the active path leaves a probe unanswered for a second, all are searched again; when it has
//! been silent for three, the best that answers takes its place. `choice` has these rules, and
//! those of coming back. A probe over an unknown path is answered and probed back, so both ends learn
//! each other's address in one round trip.
//!
//! What is believed, and why:
//! - Only an answer with a nonce of ours, still outstanding, over the path it was sent to, validates
//!   that path. It is fresh and cannot be replayed, and each nonce counts once.
//! - A probe may be a replay, so it changes nothing; it earns an answer of its own length and a
//!   short probe, both rate-limited.
//! - A changed boot id counts only in such an answer: a replayed probe of an earlier run must not
//!   be able to cut tunnels.
//! - That a relay is there is said by the caller, that it works by the peer's answer alone.
//!
//! What a path costs is our own leg of it: the peer may reach the same relay over another carrier. So each
//! probe is marked with the carrier its answer is to come back over, and with whether its path is in use, or
//! would be if only it answered: by that a relay learns over which carrier this agent is to be reached.
//!
//! No socket, clock or randomness here. After every call the caller empties
//! [`PeerRoute::poll_transmit`] and [`PeerRoute::poll_event`] and asks when to come back.

mod choice;
mod outstanding;
mod path;
mod path_probe;
mod path_probes;
mod patience;
mod why_not;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use self::choice::{Change, Choice, PathRole};
use self::outstanding::Outstanding;
pub use self::path::{Path, PathReason, canonical};
use self::path_probe::Proof;
use self::path_probes::PathProbes;
use self::patience::terms;
pub use self::why_not::WhyNot;
use super::packet::{PROBE_BYTES_MIN, Packet, PacketKey, PacketKind, PacketVerdict, marked};
use super::token_bucket::TokenBucket;
use crate::domain::id::{BootId, RelayId, RouteId};
use crate::domain::limits::{
    PROBE_AGAIN, PROBE_ANSWERS_PER_SECOND, PROBE_BYTES_MAX, PROBE_EVERY, PROBES_PER_SECOND, RUNS_OVER_MAX,
};
use crate::domain::path::{Carrier, PathKind, PathPreference};

/// One of our own packets, sealed, on its way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTransmit {
    pub to: Path,
    pub packet: Box<[u8]>,
}

/// What changed. Addresses are in [`canonical`] form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteEvent {
    /// QUIC packets from this source may be handed on.
    Validated(SocketAddr),
    /// And from this one no more.
    Lapsed(SocketAddr),
    /// Send over this path from now on; it was validated before.
    Active { path: Path, why: PathReason },
    /// The path in use answers again, after it kept a probe waiting for a second or more: what was
    /// sent meanwhile is lost.
    Resumed,
    /// The path in use is not allowed any more and no other answers: send nothing.
    Inactive,
    /// The peer's process is a new one: every connection with the old one is dead, and no path is in
    /// use until the next [`Self::Active`].
    BootChanged(BootId),
}

/// The route to one peer server, whichever and however many connections use it.
#[derive(Debug)]
pub struct PeerRoute {
    own: RouteId,
    boot: BootId,
    peer: RouteId,
    peer_boot: Option<BootId>,
    /// Runs of the peer that are over: what they sent is replayed. The oldest is forgotten first.
    over: VecDeque<BootId>,
    keys: Vec<PacketKey>,
    /// Which of `keys` seals the next probe: the last one answered; while none answers each in
    /// turn, as the peer may not hold all of them yet.
    key: usize,
    probes: PathProbes,
    choice: Choice,
    outstanding: Outstanding,
    probed: TokenBucket,
    answered: Answered,
    transmits: VecDeque<OwnTransmit>,
    events: VecDeque<RouteEvent>,
}

/// What the peer may still make us send, by where it asks from: nobody uses up another's share.
#[derive(Debug)]
struct Answered {
    validated: TokenBucket,
    relay: TokenBucket,
    tcp: TokenBucket,
    /// From unknown addresses, of the peer's run that is known: it may have moved, or be replayed.
    strangers: TokenBucket,
    /// From unknown addresses, of another run: one who has listened to the known one cannot use up what a
    /// restarted peer needs.
    newcomers: TokenBucket,
}

impl Default for Answered {
    fn default() -> Self {
        let answers = || TokenBucket::per_second(PROBE_ANSWERS_PER_SECOND, PROBE_ANSWERS_PER_SECOND);
        Self {
            validated: answers(),
            relay: answers(),
            tcp: answers(),
            strangers: answers(),
            newcomers: answers(),
        }
    }
}

impl PeerRoute {
    #[must_use]
    pub fn new(own: RouteId, boot: BootId, peer: RouteId) -> Self {
        Self {
            own,
            boot,
            peer,
            peer_boot: None,
            over: VecDeque::new(),
            keys: Vec::new(),
            key: 0,
            probes: PathProbes::default(),
            choice: Choice::new(),
            outstanding: Outstanding::default(),
            probed: TokenBucket::per_second(PROBES_PER_SECOND, PROBES_PER_SECOND),
            answered: Answered::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Sets one key for every connection with this peer whose secret is held. Without any, the route is
    /// silent.
    pub fn set_keys(&mut self, keys: Vec<PacketKey>) {
        let used = self.keys.get(self.key).map(PacketKey::id);
        self.key = keys.iter().position(|key| Some(key.id()) == used).unwrap_or(0);
        self.keys = keys;
    }

    /// Sets what the peer announced last, most wanted first; what exceeds the bound is ignored. An address in
    /// use stays in use, and a list that says nothing new starts nothing.
    pub fn set_candidates(&mut self, addresses: &[SocketAddr], now: Instant) {
        let paths: Vec<_> = addresses.iter().map(|address| Path::Direct(*address).canonical()).collect();
        self.probes.announce(PathKind::Direct, &paths, self.choice.active(), now);
    }

    /// Sets through which relays the peer can be asked, and over which carriers to them; what exceeds the
    /// bound is ignored. One in use stays in use as long as the peer answers through it. What was gone and is
    /// there again is another carrier, and begins anew.
    pub fn set_relays(&mut self, relays: &[(RelayId, Carrier)], now: Instant) {
        let paths = relays.iter().map(|(relay, carrier)| Path::Relay { relay: *relay, carrier: *carrier });
        let (udp, tcp): (Vec<_>, Vec<_>) = paths.partition(|path| path.carrier() == Carrier::Udp);
        self.probes.announce(PathKind::Relay, &udp, self.choice.active(), now);
        self.probes.announce(PathKind::Tcp, &tcp, self.choice.active(), now);
    }

    /// Sets what the owner allows from now on, and wants most. Nothing else is probed, answered or, but for
    /// the moment it takes to find another path, used.
    pub fn set_preference(&mut self, preference: PathPreference, now: Instant) {
        if preference != self.choice.preference() {
            self.set_allowed(preference, self.choice.forbidden().clone(), now);
        }
    }

    /// Sets which relays packets for this peer must not take from now on, as no rule names them. They are left,
    /// and neither probed nor answered over, as what the owner does not allow.
    pub fn forbid_relays(&mut self, relays: BTreeSet<RelayId>, now: Instant) {
        if relays != *self.choice.forbidden() {
            self.set_allowed(self.choice.preference(), relays, now);
        }
    }

    /// Returns whether no rule lets packets for this peer take this relay.
    #[must_use]
    pub fn forbids(&self, relay: RelayId) -> bool {
        self.choice.forbidden().contains(&relay)
    }

    fn set_allowed(&mut self, preference: PathPreference, forbidden: BTreeSet<RelayId>, now: Instant) {
        let allowed_before: BTreeSet<_> =
            self.probes.iter().map(|(path, _)| path).filter(|path| self.choice.allows(*path)).collect();
        let change = self.choice.set_allowed(preference, forbidden, &self.probes, now);
        for (path, probe) in self.probes.iter_mut() {
            if allowed_before.contains(&path) {
                probe.search(now);
            } else {
                probe.reset(now);
            }
        }
        self.apply(change, now);
    }

    /// Sets the length of the longest packets QUIC sends to this peer. A better path must carry it before it
    /// takes over.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.choice.set_mtu(mtu.clamp(PROBE_BYTES_MIN, PROBE_BYTES_MAX));
    }

    /// Begins the search again, as at the start: for when the network under us changed.
    pub fn search(&mut self, now: Instant) {
        self.choice.search(now);
        for (_, probe) in self.probes.iter_mut() {
            probe.search(now);
        }
    }

    /// Takes one packet of ours as it came from the socket. What does not verify, is not for us, not
    /// from this peer or over a path that is not allowed gets silence; what is returned is for our own log.
    pub fn handle_packet(
        &mut self,
        from: Path,
        packet: &[u8],
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) -> PacketVerdict {
        if !self.choice.allows(from) {
            return PacketVerdict::PathNotAllowed;
        }
        let opened = self.keys.iter().enumerate().find_map(|(index, key)| Some((index, key.open(packet)?)));
        let Some((key, packet)) = opened else { return PacketVerdict::WrongKey };
        if packet.destination != self.own || packet.source != self.peer {
            return PacketVerdict::Misplaced;
        }
        let from = from.canonical();
        match packet.kind {
            PacketKind::Probe => self.handle_probe(from, &packet, key, now, nonce),
            PacketKind::Answer => self.handle_answer(from, &packet, key, now, nonce),
            PacketKind::Register | PacketKind::Challenge | PacketKind::Confirm | PacketKind::Registered => {
                PacketVerdict::Misplaced
            }
        }
    }

    /// Sends what is due, leaves what is silent and forgets what has lapsed. Early or late calls do
    /// no harm.
    pub fn handle_timeout(&mut self, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        let lapsed = |address| self.events.push_back(RouteEvent::Lapsed(address));
        self.probes.lapse(self.choice.active(), now, lapsed);
        if self.choice.is_doubtful(&self.probes, now) {
            self.search(now);
        }
        let change = self.choice.handle_timeout(&self.probes, now);
        self.apply(change, now);
        if self.keys.is_empty() {
            return;
        }
        let due = self.due(now);
        for to in &due {
            self.probe_on_schedule(*to, now, nonce);
        }
        if self.choice.is_lost() && !due.is_empty() {
            self.key = (self.key + 1) % self.keys.len();
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.keys.is_empty() {
            return None;
        }
        let due = self.probes.iter().filter(|(path, _)| self.is_probed(*path)).map(|(_, probe)| probe.due);
        due.chain(self.choice.poll_timeout(&self.probes)).min()
    }

    pub fn poll_transmit(&mut self) -> Option<OwnTransmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<RouteEvent> {
        self.events.pop_front()
    }

    /// Returns where to send. It stays while no other path answers, however long it is silent.
    #[must_use]
    pub fn active(&self) -> Option<Path> {
        self.choice.active()
    }

    /// Returns whether the path in use is silent and all are asked.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.choice.is_searching()
    }

    /// Returns whether nothing can be relied on: there is no path in use, or it has kept a probe waiting, or it
    /// is not allowed any more and on its way out.
    #[must_use]
    pub fn is_in_doubt(&self, now: Instant) -> bool {
        self.choice.is_in_doubt(&self.probes, now)
    }

    /// Returns since when a probe over this path has waited for its answer, if one does.
    #[must_use]
    pub fn unanswered_since(&self, path: Path) -> Option<Instant> {
        self.probes.get(path.canonical())?.asked
    }

    /// Returns why packets do not take each kind of path that is better than the one in use, or any where
    /// none is: first those the owner allows, most wanted first, then those that are not allowed.
    pub fn why_not(&self, now: Instant) -> impl Iterator<Item = (PathKind, WhyNot)> {
        why_not::of_better_kinds(&self.choice, &self.probes, now)
    }

    /// Returns when the peer last answered over any allowed path.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        let allowed = self.probes.iter().filter(|(path, _)| self.choice.allows(*path));
        allowed.filter_map(|(_, probe)| probe.answered).max()
    }

    /// Returns the peer's run, once it has answered.
    #[must_use]
    pub const fn peer_boot(&self) -> Option<BootId> {
        self.peer_boot
    }

    /// Returns which of the keys the peer has answered last; while none answers, the one tried next.
    #[must_use]
    pub const fn key(&self) -> usize {
        self.key
    }

    /// Returns the addresses whose QUIC packets may be handed on.
    pub fn validated(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let valid = self.probes.iter().filter(|(_, probe)| probe.answered.is_some());
        valid.filter_map(|(path, _)| path.address())
    }

    fn handle_probe(
        &mut self,
        from: Path,
        packet: &Packet,
        key: usize,
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) -> PacketVerdict {
        if self.over.contains(&packet.boot) {
            return PacketVerdict::OldRun;
        }
        let is_valid = self.probes.get(from).is_some_and(|probe| probe.answered.is_some());
        let is_known_run = self.peer_boot == Some(packet.boot);
        let limiter = match from {
            Path::Relay { carrier: Carrier::Udp, .. } => &mut self.answered.relay,
            Path::Relay { carrier: Carrier::Tcp, .. } => &mut self.answered.tcp,
            Path::Direct(_) if is_valid => &mut self.answered.validated,
            Path::Direct(_) if is_known_run => &mut self.answered.strangers,
            Path::Direct(_) => &mut self.answered.newcomers,
        };
        if !limiter.try_take(now) {
            return PacketVerdict::TooMany;
        }
        if self.is_worth_asking(from, now) || self.peer_boot.is_some_and(|boot| boot != packet.boot) {
            // First, so that the peer has answered it, and is validated here, before our answer
            // lets it send.
            self.probe(from, key, now, nonce);
        }
        self.send(from, key, &packet.answer(self.boot));
        PacketVerdict::Taken
    }

    /// Returns whether a probe that came over `path` is reason to probe back: an answer is old news, and none
    /// is under way. In a search both ends ask until they know, as firewalls open from within.
    fn is_worth_asking(&self, path: Path, now: Instant) -> bool {
        let Some(probe) = self.probes.get(path) else { return true };
        if self.choice.is_lost() || self.choice.role(path) == PathRole::Searched {
            return !probe.answered_within(PROBE_EVERY, now);
        }
        !probe.answered_within(PROBE_EVERY * 2, now) && !probe.is_asked(now)
    }

    fn handle_answer(
        &mut self,
        from: Path,
        answer: &Packet,
        key: usize,
        now: Instant,
        nonce: &mut impl FnMut() -> [u8; 16],
    ) -> PacketVerdict {
        let Some((asked, proof)) = self.outstanding.take(answer.nonce, from, now) else {
            return PacketVerdict::Unasked;
        };
        if asked != from {
            // The peer answers from another address than it was asked at: ask it there.
            if self.answered.strangers.try_take(now) {
                self.probe(from, key, now, nonce);
            }
            return PacketVerdict::Taken;
        }
        self.key = key;
        self.believe_boot(answer.boot, now);
        self.validate(from, Proof { length: proof.length.min(answer.length), ..proof }, now);
        PacketVerdict::Taken
    }

    fn believe_boot(&mut self, boot: BootId, now: Instant) {
        let Some(before) = self.peer_boot.replace(boot).filter(|known| *known != boot) else { return };
        // It answered what was just asked, so it is not over: a host may be taken back to an earlier moment.
        self.over.retain(|run| *run != boot);
        self.over.push_back(before);
        if self.over.len() > RUNS_OVER_MAX {
            self.over.pop_front();
        }
        // What the earlier run was asked it may still answer, late; that must not undo this.
        self.outstanding.clear();
        self.choice.forget(now);
        self.probes.reset(now, |address| self.events.push_back(RouteEvent::Lapsed(address)));
        self.events.push_back(RouteEvent::BootChanged(boot));
    }

    fn validate(&mut self, path: Path, proof: Proof, now: Instant) {
        let lapsed = |address| self.events.push_back(RouteEvent::Lapsed(address));
        let probe = self.probes.learn(path, self.choice.active(), now, lapsed);
        let (was_valid, was_steady) = (probe.answered.is_some(), probe.steady.is_some());
        let resumes = self.choice.role(path) == PathRole::Active && probe.is_doubted(now);
        probe.note_answer(proof, now);
        if let Some(address) = path.address().filter(|_| !was_valid) {
            self.events.push_back(RouteEvent::Validated(address));
        }
        if resumes {
            self.events.push_back(RouteEvent::Resumed);
        }
        let change = self.choice.note_answer(path, proof, &self.probes, now);
        self.apply(change, now);
        let (role, mtu) = (self.choice.role(path), self.choice.mtu());
        if let Some(probe) = self.probes.get_mut(path) {
            if role == PathRole::Better && !was_steady && proof.length < mtu {
                // It has just turned up: ask at once for all that it must carry.
                probe.due = now;
            } else {
                let climb_at = self.choice.climb_at(path.kind(), probe);
                probe.schedule_after_answer(role, proof, climb_at, now);
            }
        }
    }

    fn apply(&mut self, change: Option<Change>, now: Instant) {
        match change {
            Some(Change::Use { path, why }) => {
                if let Some(probe) = self.probes.get_mut(path) {
                    probe.due = now;
                }
                self.events.push_back(RouteEvent::Active { path, why });
            }
            Some(Change::UseNone) => self.events.push_back(RouteEvent::Inactive),
            None => {}
        }
    }

    /// Returns whether it is probed of our own accord.
    fn is_probed(&self, path: Path) -> bool {
        !matches!(self.choice.role(path), PathRole::Idle | PathRole::Forbidden)
    }

    /// Returns what is to be probed now, the path in use first: after an outage of all it is then the first
    /// to answer again.
    fn due(&self, now: Instant) -> Vec<Path> {
        let due = self.probes.iter().filter(|(path, probe)| probe.due <= now && self.is_probed(*path));
        let mut due: Vec<_> = due.map(|(path, _)| path).collect();
        let active = self.active().filter(|active| self.is_probed(*active));
        if let Some(active) = active.filter(|_| !due.is_empty())
            && (due.contains(&active) || self.choice.is_silent(&self.probes, now))
        {
            due.retain(|path| *path != active);
            due.insert(0, active);
        }
        due
    }

    fn probe_on_schedule(&mut self, to: Path, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        let may_send = self.probed.try_take(now);
        if may_send {
            self.probe(to, self.key, now, nonce);
        }
        let role = self.choice.role(to);
        let Some(probe) = self.probes.get_mut(to) else { return };
        if may_send {
            probe.schedule_after_probe(role, terms(to.kind()).silence, now);
        } else {
            probe.due = now + PROBE_AGAIN;
        }
    }

    fn probe(&mut self, to: Path, key: usize, now: Instant, nonce: &mut impl FnMut() -> [u8; 16]) {
        let mut length = PROBE_BYTES_MIN;
        let role = self.choice.role(to);
        if let Some(probe) = self.probes.get_mut(to) {
            if role == PathRole::Better && probe.is_responsive(now) {
                length = self.choice.mtu();
            }
            probe.note_probe(length, now);
        }
        let probe = Packet {
            kind: PacketKind::Probe,
            destination: self.peer,
            source: self.own,
            boot: self.boot,
            nonce: marked(nonce(), to.carrier(), self.choice.is_wanted_back(to)),
            length,
        };
        self.outstanding.note(probe.nonce, to, Proof { sent: now, length });
        self.send(to, key, &probe);
    }

    fn send(&mut self, to: Path, key: usize, packet: &Packet) {
        let Some(key) = self.keys.get(key) else { return };
        let packet = key.seal(packet, &mut [0; PROBE_BYTES_MAX]).into();
        self.transmits.push_back(OwnTransmit { to, packet });
    }
}

#[cfg(test)]
mod tests;
