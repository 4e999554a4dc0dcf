//! The gateway as far as the relay needs it: a process that can be down, control links that give
//! agents their keys, and the product's relay, whose every decision is judged here by what really
//! was sent by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_core::domain::id::{BootId, OrganizationId};
use adit_core::domain::limits::REGISTRATION_LASTS;
use adit_core::domain::path::Carrier;
use adit_core::protocol::packet::{Claim, PacketKey, PacketKind};
use adit_core::protocol::registration::Registration;
use adit_core::protocol::relay::{ANSWER_BYTES, DropReason, Relay, RelayVerdict, Source};

use crate::carriers::{carrier_at, place_of};
use crate::credentials;
use crate::log::Promise;
use crate::random::Random;
use crate::scene::Scene;
use crate::wire::{Datagram, INSIDER, Node};

/// A control link without a sign of life for so long is dead: three missed heartbeats.
pub(crate) const LINK_SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Gateway {
    relay: Relay,
    pub is_up: bool,
    random: Random,
    /// Who has a control link to this run.
    linked: BTreeSet<Node>,
    permits: bool,
    insider: Registration,
    /// Addresses whose holders really confirmed to this run, and when last.
    proven: BTreeMap<SocketAddr, (Node, Instant)>,
    /// Bytes that came from an address, and those that it was answered with.
    talked: BTreeMap<SocketAddr, (u64, u64)>,
}

impl Gateway {
    pub(crate) fn new(mut random: Random, now: Instant) -> Self {
        let mut gateway = Self {
            relay: relay(&mut random, now),
            insider: insider(&mut random),
            is_up: true,
            random,
            linked: BTreeSet::new(),
            permits: true,
            proven: BTreeMap::new(),
            talked: BTreeMap::new(),
        };
        gateway.join_insider(now);
        gateway
    }

    /// The process is gone, and all it knew.
    pub(crate) fn stop(&mut self) {
        self.is_up = false;
        self.linked.clear();
        self.proven.clear();
    }

    pub(crate) fn start(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_up, true) {
            return;
        }
        self.relay = relay(&mut self.random, now);
        self.join_insider(now);
    }

    /// The third agent has a control link too, and registers without a wire.
    fn join_insider(&mut self, now: Instant) {
        let key = PacketKey::of_link(&self.random.bytes());
        let organization = OrganizationId::from_bytes([8; 16]);
        let joined = self.relay.join(credentials::INSIDER_ROUTE, organization, key.clone());
        joined
            .and_then(|()| {
                let peers = [credentials::route(Node::Target)].into();
                self.relay.permit(credentials::INSIDER_ROUTE, peers)
            })
            .unwrap();
        self.insider.set_key(Some(key), now);
        self.refresh_insider(now);
    }

    fn refresh_insider(&mut self, now: Instant) {
        self.insider.handle_timeout(now, &mut || self.random.bytes());
        while let Some((_, packet)) = self.insider.poll_transmit() {
            let (mut answer, from) = ([0; ANSWER_BYTES], Source::Udp(INSIDER));
            if let RelayVerdict::Answer { length } = self.relay.handle(from, &packet, now, &mut answer) {
                self.insider.handle_packet(Carrier::Udp, &answer[..length], now);
            }
        }
    }

    /// A control link of `agent` is up; gives the key both ends take from it.
    pub(crate) fn link(&mut self, agent: Node, scene: &mut Scene) -> PacketKey {
        let key = PacketKey::of_link(&self.random.bytes());
        let organization = OrganizationId::from_bytes([9; 16]);
        let joined = self.relay.join(credentials::route(agent), organization, key.clone());
        scene.demand(joined.is_ok(), Promise::Sound, format_args!("the relay is full: {joined:?}"));
        self.linked.insert(agent);
        self.permit(self.permits, scene);
        key
    }

    pub(crate) fn unlink(&mut self, agent: Node) {
        if self.linked.remove(&agent) {
            self.relay.leave(credentials::route(agent));
        }
    }

    /// Whether the rules let the two talk.
    pub(crate) fn permit(&mut self, permits: bool, scene: &mut Scene) {
        self.permits = permits;
        for agent in Node::AGENTS {
            let insider = (agent == Node::Target).then_some(credentials::INSIDER_ROUTE);
            let peer = permits.then(|| credentials::route(agent.peer()));
            let peers = peer.into_iter().chain(insider).collect();
            let permitted = self.relay.permit(credentials::route(agent), peers);
            scene.demand(permitted.is_ok(), Promise::Sound, format_args!("the relay is full: {permitted:?}"));
        }
    }

    pub(crate) fn is_linked(&self, agent: Node) -> bool {
        self.linked.contains(&agent)
    }

    pub(crate) fn permits(&self) -> bool {
        self.permits
    }

    /// The carriers have ended, and the gateway has heard of it.
    pub(crate) fn end_carriers(&mut self, scene: &mut Scene) {
        for carrier in scene.wire.take_ended_carriers() {
            self.relay.end_carrier(carrier);
            self.proven.remove(&place_of(carrier));
        }
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.relay.forget_lapsed(now);
        if self.is_up {
            self.refresh_insider(now);
        }
    }

    pub(crate) fn receive(&mut self, datagram: &Datagram, scene: &mut Scene) {
        if !self.is_up {
            return;
        }
        let (from, bytes) = (datagram.from, &datagram.bytes[..]);
        self.talked.entry(from).or_default().0 += bytes.len() as u64;
        let mut answer = [0; ANSWER_BYTES];
        let source = carrier_at(from).map_or(Source::Udp(from), Source::Carrier);
        match self.relay.handle(source, bytes, scene.now, &mut answer) {
            RelayVerdict::Own => {}
            RelayVerdict::Forward { to, .. } => {
                let to = match to {
                    Source::Udp(address) => address,
                    Source::Carrier(carrier) => place_of(carrier),
                };
                self.judge_forward(datagram, to, scene);
                scene.tally.relayed += 1;
                scene.tally.relayed_across +=
                    u64::from(carrier_at(to).is_some() != carrier_at(from).is_some());
                scene.send(Node::Gateway, to, bytes);
            }
            RelayVerdict::Answer { length } => {
                self.judge_answer(datagram, length, scene);
                scene.send(Node::Gateway, from, &answer[..length]);
            }
            RelayVerdict::Drop(reason) => note_drop(reason, scene),
        }
    }

    /// Only between two who may, each where it proved to be.
    fn judge_forward(&self, datagram: &Datagram, to: SocketAddr, scene: &mut Scene) {
        let holder = |address: SocketAddr| {
            let (node, since) = self.proven.get(&address)?;
            (scene.now.saturating_duration_since(*since) <= REGISTRATION_LASTS).then_some(*node)
        };
        let (sender, receiver) = (holder(datagram.from), holder(to));
        let claims = Claim::read(&datagram.bytes).map(|claim| claim.source);
        let fits = if datagram.from == INSIDER {
            // In its own name, to the one it may talk to.
            receiver == Some(Node::Target)
                && claims.is_none_or(|claimed| claimed == credentials::INSIDER_ROUTE)
        } else {
            sender.is_some() && receiver.is_some() && sender != receiver && self.permits
        };
        scene.tally.insider += u64::from(datagram.from == INSIDER);
        let (from, permits) = (datagram.from, self.permits);
        let what = format_args!(
            "a packet from {from} ({sender:?}) was forwarded to {to} ({receiver:?}), permitted: {permits}"
        );
        scene.demand(fits, Promise::Relayed, what);
    }

    fn judge_answer(&mut self, datagram: &Datagram, length: usize, scene: &mut Scene) {
        let from = datagram.from;
        let kind = Claim::read(&datagram.bytes).map(|claim| claim.kind);
        // No matter who brings it: its nonce is for the one address where its maker received the challenge.
        if kind == Some(PacketKind::Confirm) && datagram.made_at == Some(from) {
            self.proven.insert(from, (datagram.maker, scene.now));
        }
        let talked = self.talked.entry(from).or_default();
        talked.1 += length as u64;
        let (came, went) = *talked;
        let what = format_args!("{from} sent {came} bytes and was answered with {went}");
        scene.demand(went <= came && length <= datagram.bytes.len(), Promise::Relayed, what);
        scene.tally.relay_answers += 1;
    }
}

fn note_drop(reason: DropReason, scene: &mut Scene) {
    let tally = &mut scene.tally;
    *match reason {
        DropReason::UnknownSource => &mut tally.unknown_source,
        DropReason::NotPermitted => &mut tally.not_permitted,
        DropReason::PeerAway => &mut tally.peer_away,
        DropReason::Forged => &mut tally.forged,
        DropReason::Replayed => &mut tally.replayed,
        DropReason::TooMany => &mut tally.too_many,
        DropReason::Malformed | DropReason::UnknownKind | DropReason::Unexpected => &mut tally.malformed,
        DropReason::OverBandwidth
        | DropReason::NoLink
        | DropReason::FalseAddress
        | DropReason::CarrierFull
        | DropReason::CarrierEnded
        | DropReason::OwnQueueFull
        | DropReason::SocketFull
        | DropReason::Unsendable => return,
    } += 1;
}

fn insider(random: &mut Random) -> Registration {
    let boot = BootId::from_bytes(random.bytes());
    Registration::new(credentials::INSIDER_ROUTE, credentials::GATEWAY_ROUTE, boot)
}

fn relay(random: &mut Random, now: Instant) -> Relay {
    Relay::new(credentials::GATEWAY_ROUTE, BootId::from_bytes(random.bytes()), random.bytes(), now)
}
