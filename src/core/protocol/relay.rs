//! Who may send through the relay, to whom, and from where: the gateway's side, without socket or
//! clock. One thread owns it, so nothing is locked.
//!
//! A packet is forwarded unread, by the route it is for, when it comes from where its sender
//! registered, each of the two permits the other, and the receiver is registered. An agent
//! registers by proving that it holds the key of its live control link and receives where it sends
//! from ([`super::registration`] has the talk): at one UDP address, over one carrier on TCP, or both.
//! Everything else gets silence, save that a challenge is sent to who sealed a new Register, or who
//! sent a probe in a member's name, and that probes of the gateway's own route are answered that a
//! live link sealed; no answer is longer than what it answers, and how many there are is bounded.
//! Which servers permit each other is decided by the platform.
//!
//! One who is registered over both is sent to over the carrier that it uses itself towards the sender
//! (its QUIC packets and its probes marked so say which), but for an answer, which goes back over the
//! carrier that was asked over: so what it proves is proven.

mod bandwidth;
mod challenges;
mod members;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Instant;

use self::bandwidth::BandwidthLimiter;
use self::challenges::Challenges;
use self::members::{Index, LatestRegister, Members};
use super::packet::{
    Claim, PROBE_BYTES_MIN, Packet, PacketKey, PacketKind, claimed_nonce, is_marked_in_use,
    is_of_unknown_kind, is_ours, marked_carrier, quic_route,
};
use super::registration::split_register_nonce;
use crate::domain::id::{BootId, CarrierId, OrganizationId, RouteId};
use crate::domain::limits::{
    PROBE_BYTES_MAX, RELAY_MEMBERS_MAX, RELAY_PAIRS_MAX, RELAY_REPEATS_ANSWERED_MAX,
};
use crate::domain::path::Carrier;

pub use self::members::{PairId, PairTraffic};

/// Room for the longest answer of the relay, which is as long as the probe that it answers.
pub const ANSWER_BYTES: usize = PROBE_BYTES_MAX;

/// Where a packet comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Udp(SocketAddr),
    Carrier(CarrierId),
}

impl Source {
    #[must_use]
    pub const fn carrier(self) -> Carrier {
        match self {
            Self::Udp(_) => Carrier::Udp,
            Self::Carrier(_) => Carrier::Tcp,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Carrier(id) => write!(f, "carrier {id}"),
        }
    }
}

/// What to do with one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayVerdict {
    /// It is QUIC for the gateway itself.
    Own,
    /// Send it there, unchanged. Over UDP equal pairs have equal addresses within a batch.
    Forward {
        to: Source,
        pair: PairId,
    },
    /// Send so many bytes of the answer back to where the packet came from.
    Answer {
        length: usize,
    },
    Drop(DropReason),
}

/// Why a packet went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Neither QUIC with a route nor ours, or of a wrong length.
    Malformed,
    /// From an address of those that stand for carriers within the gateway and that nobody has outside.
    FalseAddress,
    /// Ours, and of a kind that only a newer build knows.
    UnknownKind,
    /// Nobody has registered from there, or not lately.
    UnknownSource,
    /// The two do not permit each other, or nobody has that route.
    NotPermitted,
    /// The receiver is not registered, or not lately.
    PeerAway,
    /// The sender's organization has used up its bandwidth.
    OverBandwidth,
    /// Ours, but of a kind that the relay never takes from there.
    Unexpected,
    /// Ours, in the name of an agent that has no control link, as after its end or the gateway's start.
    NoLink,
    /// Ours, but not sealed with the key of that agent's control link.
    Forged,
    /// Ours, but it was here before or comes too late.
    Replayed,
    /// It would be answered, but too many are.
    TooMany,
    /// For the gateway itself, which has more waiting than it can take.
    OwnQueueFull,
    /// The socket takes no more packets at the moment.
    SocketFull,
    /// The carrier has more waiting than it can take: who reads it is slow.
    CarrierFull,
    /// The carrier has ended.
    CarrierEnded,
    /// The kernel refused to send it there.
    Unsendable,
}

impl DropReason {
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::FalseAddress,
        Self::UnknownKind,
        Self::UnknownSource,
        Self::NotPermitted,
        Self::PeerAway,
        Self::OverBandwidth,
        Self::Unexpected,
        Self::NoLink,
        Self::Forged,
        Self::Replayed,
        Self::TooMany,
        Self::OwnQueueFull,
        Self::SocketFull,
        Self::CarrierFull,
        Self::CarrierEnded,
        Self::Unsendable,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::FalseAddress => "false_address",
            Self::UnknownKind => "unknown_kind",
            Self::UnknownSource => "unknown_source",
            Self::NotPermitted => "not_permitted",
            Self::PeerAway => "peer_away",
            Self::OverBandwidth => "over_bandwidth",
            Self::Unexpected => "unexpected",
            Self::NoLink => "no_link",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::TooMany => "too_many",
            Self::OwnQueueFull => "own_queue_full",
            Self::SocketFull => "socket_full",
            Self::CarrierFull => "carrier_full",
            Self::CarrierEnded => "carrier_ended",
            Self::Unsendable => "unsendable",
        }
    }
}

/// What an answer of the relay means, for its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayEvent {
    /// The agent must show that it receives where it seems to send from.
    Challenged { route: RouteId },
    /// It is reached where its confirmation came from; `before` it was, over the same carrier, unless that
    /// had lapsed.
    Registered { route: RouteId, before: Option<Source> },
    /// A probe of the gateway itself is answered.
    Answered { route: RouteId },
}

/// What does not fit the relay's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayFull {
    #[error("the relay knows {RELAY_MEMBERS_MAX} agents already; spread the agents over more gateways")]
    Members,
    #[error(
        "the relay holds {RELAY_PAIRS_MAX} pairs of agents already; spread the agents over more gateways"
    )]
    Pairs,
}

#[derive(Debug)]
pub struct Relay {
    own: RouteId,
    boot: BootId,
    challenges: Challenges,
    members: Members,
    bandwidth: Option<BandwidthLimiter>,
    local: Option<IpAddr>,
    event: Option<RelayEvent>,
}

impl Relay {
    /// Makes a relay; `challenge_key` is random bytes that nobody else knows; `start` any time before the
    /// first packet.
    #[must_use]
    pub fn new(own: RouteId, boot: BootId, challenge_key: [u8; 32], start: Instant) -> Self {
        let challenges = Challenges::new(&challenge_key, start);
        let members = Members::default();
        Self { own, boot, challenges, members, bandwidth: None, local: None, event: None }
    }

    /// Lets every organization send so much and no more.
    #[must_use]
    pub fn limited_to(mut self, bits_per_second_each: NonZeroU64) -> Self {
        self.bandwidth = Some(BandwidthLimiter::new(bits_per_second_each));
        self
    }

    /// Notes that the agent of `route` has a control link with this key; it may register from now on. What it
    /// had registered over an earlier link stays.
    pub fn join(
        &mut self,
        route: RouteId,
        organization: OrganizationId,
        key: PacketKey,
    ) -> Result<(), RelayFull> {
        self.members.join(route, organization, key)
    }

    /// Notes that its control link has ended: it cannot register any more, and what is registered lapses.
    pub fn leave(&mut self, route: RouteId) {
        if let Some(index) = self.members.find(route) {
            self.members.leave(index);
        }
    }

    /// Removes an agent. It is not welcome any more: not one packet more from it or to it.
    pub fn remove(&mut self, route: RouteId) {
        if let Some(index) = self.members.find(route) {
            self.members.remove(index);
        }
    }

    /// Sets an agent's peers: these and no others are its peers. A packet passes only between two that permit
    /// each other. What is in excess of a bound is not permitted, and said.
    pub fn permit(&mut self, route: RouteId, peers: BTreeSet<RouteId>) -> Result<(), RelayFull> {
        match self.members.find(route) {
            Some(index) => self.members.permit(index, peers),
            None => Ok(()),
        }
    }

    /// Notes that the packets that follow came to this address of the gateway, which may have many.
    pub const fn arrived_at(&mut self, local: Option<IpAddr>) {
        self.local = local;
    }

    /// Returns the address of the gateway from which packets of this pair must be sent.
    #[must_use]
    pub fn local_of(&self, pair: PairId) -> Option<IpAddr> {
        self.members.local_of(pair)
    }

    /// Judges one packet that came from `from`; what it answers, it writes to `answer`.
    pub fn handle(
        &mut self,
        from: Source,
        packet: &[u8],
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> RelayVerdict {
        if matches!(from, Source::Udp(address) if address.port() == 0) {
            // Nobody can be answered there.
            return RelayVerdict::Drop(DropReason::Malformed);
        }
        let outcome = match packet.first() {
            Some(&first) if is_ours(first) => self.handle_ours(from, packet, now, answer),
            _ => match quic_route(packet) {
                Some(route) if route == self.own => Ok(RelayVerdict::Own),
                Some(route) => self.forward(from, None, route, packet, now),
                None => Err(DropReason::Malformed),
            },
        };
        outcome.unwrap_or_else(RelayVerdict::Drop)
    }

    /// Takes what the last answer meant; nothing where it only repeats one.
    pub const fn take_event(&mut self) -> Option<RelayEvent> {
        self.event.take()
    }

    /// Forgets who has lapsed. Nothing depends on when it is called but memory; once a second is
    /// enough.
    pub fn forget_lapsed(&mut self, now: Instant) {
        self.members.forget_lapsed(now);
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.forget_idle(now);
        }
    }

    /// Returns the number of agents that packets reach now.
    #[must_use]
    pub fn registered(&self, now: Instant) -> usize {
        self.members.registered(now)
    }

    /// Returns where the agent of `route` is reached now over this carrier.
    #[must_use]
    pub fn place_of(&self, route: RouteId, carrier: Carrier, now: Instant) -> Option<Source> {
        self.members.over(self.members.find(route)?, carrier, now)
    }

    /// Returns whether an agent is registered by this carrier now. One whose answer is no is nobody's: whoever
    /// it belongs to has proven nothing, or not lately, or has another by now.
    #[must_use]
    pub fn is_proven(&mut self, carrier: CarrierId, now: Instant) -> bool {
        self.members.at(Source::Carrier(carrier), now).is_some()
    }

    /// Notes that a carrier has ended: nobody is reached by it.
    pub fn end_carrier(&mut self, carrier: CarrierId) {
        self.members.end_carrier(carrier);
    }

    /// Returns what went from whom to whom since the two permitted each other.
    pub fn traffic(&self) -> impl Iterator<Item = PairTraffic> + '_ {
        self.members.traffic()
    }

    /// Judges a packet; `claimed` is what it says of itself, where it is ours.
    #[inline]
    fn forward(
        &mut self,
        from: Source,
        claimed: Option<&Claim>,
        destination: RouteId,
        packet: &[u8],
        now: Instant,
    ) -> Result<RelayVerdict, DropReason> {
        let source = self.members.at(from, now).ok_or(DropReason::UnknownSource)?;
        if claimed.is_some_and(|claim| claim.source != self.members.route(source)) {
            return Err(DropReason::UnknownSource);
        }
        let peer = self.members.peer(source, destination).ok_or(DropReason::NotPermitted)?;
        let asked_over = claimed.and_then(|claim| asked_over(claim, packet));
        let carrier = asked_over.unwrap_or_else(|| self.members.wanted(peer));
        let to = self.members.receiver_over(peer, carrier, now).ok_or(DropReason::PeerAway)?;
        let length = packet.len();
        if let Some(bandwidth) = &mut self.bandwidth
            && !bandwidth.take(self.members.organization(source), length, now)
        {
            return Err(DropReason::OverBandwidth);
        }
        self.members.count(peer.pair, length);
        if claimed.is_none_or(|claim| shows_use(claim, packet)) {
            self.members.note_use(peer.pair, from.carrier());
        }
        Ok(RelayVerdict::Forward { to, pair: peer.pair })
    }

    fn handle_ours(
        &mut self,
        from: Source,
        packet: &[u8],
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> Result<RelayVerdict, DropReason> {
        if is_of_unknown_kind(packet) {
            return Err(DropReason::UnknownKind);
        }
        let claim = Claim::read(packet).ok_or(DropReason::Malformed)?;
        let is_to_gateway = claim.destination == self.own;
        match claim.kind {
            PacketKind::Probe | PacketKind::Answer if !is_to_gateway => {
                let forwarded = self.forward(from, Some(&claim), claim.destination, packet, now);
                match forwarded {
                    Err(DropReason::UnknownSource) if claim.kind == PacketKind::Probe => {
                        self.challenge_claim(from, &claim, now, answer)
                    }
                    forwarded => forwarded,
                }
            }
            PacketKind::Probe if is_to_gateway => self.handle_probe(from, &claim, packet, now, answer),
            PacketKind::Register if is_to_gateway => self.handle_register(from, &claim, packet, now, answer),
            PacketKind::Confirm if is_to_gateway => self.handle_confirm(from, &claim, packet, now, answer),
            PacketKind::Probe
            | PacketKind::Answer
            | PacketKind::Register
            | PacketKind::Challenge
            | PacketKind::Confirm
            | PacketKind::Registered => Err(DropReason::Unexpected),
        }
    }

    /// Challenges a probe in a member's name from elsewhere: most likely its address has changed. Only the
    /// member itself can confirm.
    fn challenge_claim(
        &mut self,
        from: Source,
        claim: &Claim,
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> Result<RelayVerdict, DropReason> {
        let index = self.members.find(claim.source).ok_or(DropReason::UnknownSource)?;
        self.members.peer(index, claim.destination).ok_or(DropReason::NotPermitted)?;
        let link = self.members.link(index).ok_or(DropReason::NoLink)?;
        if !link.claims.try_take(now) {
            return Err(DropReason::TooMany);
        }
        let nonce = self.challenges.nonce(claim.source, from, now);
        self.event = Some(RelayEvent::Challenged { route: claim.source });
        Ok(self.answer(index, PacketKind::Challenge, self.boot, nonce, answer))
    }

    fn handle_register(
        &mut self,
        from: Source,
        claim: &Claim,
        packet: &[u8],
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> Result<RelayVerdict, DropReason> {
        let (index, register) = self.open(claim, packet)?;
        let link = self.members.link(index).ok_or(DropReason::NoLink)?;
        let (number, random) = split_register_nonce(register.nonce);
        let latest = link.latest(from.carrier());
        if number < latest.number {
            return Err(DropReason::Replayed);
        }
        if number == latest.number {
            // Someone may have overheard it and been faster: it is answered a few times.
            if latest.repeats >= RELAY_REPEATS_ANSWERED_MAX {
                return Err(DropReason::Replayed);
            }
            latest.repeats += 1;
        } else {
            if !link.registers.try_take(now) {
                return Err(DropReason::TooMany);
            }
            *link.latest(from.carrier()) = LatestRegister { number, repeats: 0 };
        }
        let nonce = self.challenges.nonce(claim.source, from, now);
        self.event = Some(RelayEvent::Challenged { route: claim.source });
        Ok(self.answer(index, PacketKind::Challenge, BootId::from_bytes(random), nonce, answer))
    }

    fn handle_confirm(
        &mut self,
        from: Source,
        claim: &Claim,
        packet: &[u8],
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> Result<RelayVerdict, DropReason> {
        let (index, confirm) = self.open(claim, packet)?;
        if !self.challenges.accepts(claim.source, from, now, &confirm.nonce) {
            return Err(DropReason::Replayed);
        }
        let before = self.members.over(index, from.carrier(), now);
        let link = self.members.link(index).ok_or(DropReason::NoLink)?;
        if link.confirmed.contains(&confirm.nonce) {
            // It has counted. The agent may have missed the answer, so that is said again.
            if before != Some(from) || !link.again.try_take(now) {
                return Err(DropReason::Replayed);
            }
        } else {
            link.remember_confirmed(confirm.nonce);
            self.members.register(index, from, self.local, now);
            self.event = Some(RelayEvent::Registered { route: claim.source, before });
        }
        Ok(self.answer(index, PacketKind::Registered, self.boot, confirm.nonce, answer))
    }

    /// Answers a probe of the gateway itself, so that an agent knows over which carriers it is there.
    fn handle_probe(
        &mut self,
        from: Source,
        claim: &Claim,
        packet: &[u8],
        now: Instant,
        answer: &mut [u8; ANSWER_BYTES],
    ) -> Result<RelayVerdict, DropReason> {
        let (index, probe) = self.open(claim, packet)?;
        let is_registered = self.members.at(from, now) == Some(index);
        let link = self.members.link(index).ok_or(DropReason::NoLink)?;
        let allowance = if is_registered { &mut link.probes } else { &mut link.strays };
        if !allowance.try_take(now) {
            return Err(DropReason::TooMany);
        }
        self.event = Some(RelayEvent::Answered { route: claim.source });
        let reply = probe.answer(self.boot);
        Ok(RelayVerdict::Answer { length: link.key.seal(&reply, answer).len() })
    }

    /// Returns what a packet to the gateway says, when the claimed agent's live link has sealed it.
    fn open(&mut self, claim: &Claim, packet: &[u8]) -> Result<(Index, Packet), DropReason> {
        let index = self.members.find(claim.source).ok_or(DropReason::NoLink)?;
        let link = self.members.link(index).ok_or(DropReason::NoLink)?;
        let packet = link.key.open(packet).ok_or(DropReason::Forged)?;
        Ok((index, packet))
    }

    fn answer(
        &mut self,
        index: Index,
        kind: PacketKind,
        boot: BootId,
        nonce: [u8; 16],
        answer: &mut [u8; ANSWER_BYTES],
    ) -> RelayVerdict {
        let destination = self.members.route(index);
        let Some(link) = self.members.link(index) else { return RelayVerdict::Drop(DropReason::NoLink) };
        let packet = Packet { kind, destination, source: self.own, boot, nonce, length: PROBE_BYTES_MIN };
        RelayVerdict::Answer { length: link.key.seal(&packet, answer).len() }
    }
}

/// Returns over which carrier an answer is to come back; of other packets nothing says so.
fn asked_over(claim: &Claim, packet: &[u8]) -> Option<Carrier> {
    let nonce = claimed_nonce(packet).filter(|_| claim.kind == PacketKind::Answer)?;
    Some(marked_carrier(&nonce))
}

/// Returns whether a packet of ours shows that its sender uses the path that it came over.
fn shows_use(claim: &Claim, packet: &[u8]) -> bool {
    claim.kind == PacketKind::Probe && claimed_nonce(packet).is_some_and(|nonce| is_marked_in_use(&nonce))
}

#[cfg(test)]
mod tests;
