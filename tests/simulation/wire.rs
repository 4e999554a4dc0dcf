//! The network between the three nodes: what becomes of a datagram on its way.
//!
//! Each direction of each pair has its own conditions. Agents sit behind address translators: what
//! others see of an agent is a mapping that can be replaced, and nothing is delivered to an address
//! that no mapping holds. Strangers send from any address; what is sent to them is only counted.
//! Beside it each agent may have a carrier to the gateway, under the same weather: see `carriers`.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use adit_core::protocol::packet::is_ours;

use adit_core::domain::id::CarrierId;

use crate::carriers::{Carriers, OVER_TCP, Taken, Way, carrier_at, place_of};
use crate::random::Random;
use crate::tally::Tally;

/// Datagrams under way; what exceeds this is lost, as in any queue.
const IN_FLIGHT_MAX: usize = 8_192;

/// Datagrams that strangers remember.
const OVERHEARD_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Source,
    Target,
    Gateway,
    /// Anyone else who is on the network.
    Stranger,
}

impl Node {
    pub(crate) const AGENTS: [Self; 2] = [Self::Source, Self::Target];

    /// The other agent.
    pub(crate) fn peer(self) -> Self {
        if self == Self::Source { Self::Target } else { Self::Source }
    }
}

/// Where the gateway listens.
pub(crate) const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443);

/// Where a registered agent sits that strangers have taken over.
pub(crate) const INSIDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200)), 1_023);

/// An address of the network from which strangers send.
pub(crate) fn stranger(number: u64) -> SocketAddr {
    let [low, high, ..] = number.to_le_bytes();
    (Ipv4Addr::new(203, 0, 113, low), 1_024 + u16::from(high)).into()
}

fn is_strangers(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V4(v4) if v4.ip().octets().starts_with(&[203, 0, 113]))
}

/// What one direction between two nodes is like. Probabilities are per thousand datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    pub loss: u64,
    pub reorder: u64,
    pub duplicate: u64,
    pub corrupt: u64,
    pub delay: Duration,
    pub jitter: Duration,
}

impl Weather {
    pub(crate) const FINE: Self = Self {
        loss: 0,
        reorder: 0,
        duplicate: 0,
        corrupt: 0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
    };

    pub(crate) fn draw(random: &mut Random) -> Self {
        if random.hits(250) {
            return Self { delay: random.millis(1, 60), ..Self::FINE };
        }
        Self {
            loss: random.below(60),
            reorder: random.below(60),
            duplicate: random.below(40),
            corrupt: random.below(20),
            delay: random.millis(1, 80),
            jitter: random.millis(0, 20),
        }
    }
}

#[derive(Debug, Clone)]
struct Direction {
    weather: Weather,
    /// How many faults make a black hole of it.
    blocked: u32,
    mtu: usize,
    /// When the latest that was not reordered arrives.
    latest: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    /// Who really made it, and where it was first seen; no node is told.
    pub maker: Node,
    pub made_at: Option<SocketAddr>,
    /// Who really sent it.
    pub sender: Node,
    /// Who gets it; none where nobody sits at the address.
    pub receiver: Node,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    directions: BTreeMap<(Node, Node), Direction>,
    /// The address of an agent as another node sees it.
    mappings: BTreeMap<(Node, Node), SocketAddr>,
    carriers: Carriers,
    next_port: u16,
    start: Instant,
    under_way: BTreeMap<(Instant, u64), Datagram>,
    overheard: VecDeque<Datagram>,
    /// Until then a stranger sends a copy of every packet below QUIC ahead of it.
    rushed_until: Option<Instant>,
    sent: u64,
    random: Random,
    /// Of who sent what when to whom: two runs of one seed must agree.
    pub digest: u64,
    pub most_under_way: usize,
}

impl Wire {
    pub(crate) fn new(start: Instant, random: Random) -> Self {
        let nodes = [Node::Source, Node::Target, Node::Gateway];
        let pairs = nodes.into_iter().flat_map(|from| nodes.into_iter().map(move |to| (from, to)));
        let fine = Direction { weather: Weather::FINE, blocked: 0, mtu: 1_500, latest: None };
        let mut wire = Self {
            directions: pairs.filter(|(from, to)| from != to).map(|pair| (pair, fine.clone())).collect(),
            mappings: BTreeMap::new(),
            carriers: Carriers::default(),
            next_port: 10_000,
            start,
            under_way: BTreeMap::new(),
            overheard: VecDeque::new(),
            rushed_until: None,
            sent: 0,
            random,
            digest: 0,
            most_under_way: 0,
        };
        for agent in Node::AGENTS {
            wire.rebind(agent, agent.peer());
            wire.rebind(agent, Node::Gateway);
        }
        wire
    }

    /// The address under which `seen_by` sees `node` now.
    pub(crate) fn address(&self, node: Node, seen_by: Node) -> SocketAddr {
        if node == Node::Gateway {
            return GATEWAY;
        }
        // Strangers see what the peer sees.
        let seen_by = if seen_by == Node::Gateway { seen_by } else { node.peer() };
        self.mappings[&(node, seen_by)]
    }

    /// The address translator of `agent` gives it a new address towards `seen_by`.
    pub(crate) fn rebind(&mut self, agent: Node, seen_by: Node) {
        let host = if agent == Node::Source { 1 } else { 2 };
        self.next_port += 1;
        let address = (Ipv4Addr::new(198, 51, 100, host), self.next_port).into();
        self.mappings.insert((agent, seen_by), address);
    }

    pub(crate) fn set_weather(&mut self, from: Node, to: Node, weather: Weather) {
        self.direction(from, to).weather = weather;
    }

    pub(crate) fn block(&mut self, from: Node, to: Node) {
        self.direction(from, to).blocked += 1;
    }

    pub(crate) fn unblock(&mut self, from: Node, to: Node) {
        let blocked = &mut self.direction(from, to).blocked;
        *blocked = blocked.saturating_sub(1);
    }

    pub(crate) fn set_mtu(&mut self, one: Node, other: Node, mtu: usize) {
        self.direction(one, other).mtu = mtu;
        self.direction(other, one).mtu = mtu;
    }

    /// Whether what is sent both ways arrives, as far as no chance is in it.
    pub(crate) fn is_open(&self, one: Node, other: Node) -> bool {
        [(one, other), (other, one)].iter().all(|pair| self.directions[pair].blocked == 0)
    }

    /// A node sends from its own place to `to`.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        sender: Node,
        to: SocketAddr,
        bytes: &[u8],
        tally: &mut Tally,
    ) {
        tally.datagrams += 1;
        self.sent += 1;
        if to == OVER_TCP {
            return self.send_over_tcp(now, sender, Way::Up, bytes, tally);
        }
        if let Some(carrier) = carrier_at(to) {
            match self.carriers.holder(carrier) {
                Some(agent) => self.send_over_tcp(now, agent, Way::Down, bytes, tally),
                None => tally.to_nobody += 1,
            }
            return;
        }
        let Some(receiver) = self.holder(sender, to) else {
            tally.to_nobody += 1;
            return;
        };
        self.note(now, sender, receiver);
        let from = self.address(sender, receiver);
        let datagram = Datagram {
            maker: sender,
            made_at: Some(from),
            sender,
            receiver,
            from,
            to,
            bytes: bytes.to_vec(),
        };
        self.rush(now, &datagram, tally);
        self.carry(now, datagram, tally);
    }

    /// Sends over the carrier of `agent`, either way.
    fn send_over_tcp(&mut self, now: Instant, agent: Node, way: Way, bytes: &[u8], tally: &mut Tally) {
        let (sender, receiver) = ends(agent, way);
        self.note(now, sender, receiver);
        // Drawn whatever becomes of it.
        let (is_lost, early, repaired) =
            (self.random.below(1_000), self.random.draw(), self.random.millis(20, 200));
        let Direction { weather, mtu, .. } = *self.direction(sender, receiver);
        if bytes.len() > mtu {
            // An agent sends nothing over a carrier that UDP would not carry.
            tally.oversized += 1;
            return;
        }
        let repair = if is_lost < weather.loss { repaired } else { Duration::ZERO };
        let takes = weather.delay + weather.jitter.mul_f64(early) + repair;
        match self.carriers.take(agent, way, bytes, takes, now) {
            Taken::Sent { carrier, arrives } => {
                let datagram = over_tcp(agent, way, carrier, bytes.to_vec());
                self.overhear(&datagram);
                self.put(arrives, datagram);
            }
            Taken::Held => tally.held += 1,
            Taken::Full => tally.blocked += 1,
            Taken::Gone => tally.to_nobody += 1,
        }
    }

    /// An agent opens a carrier, which takes the place of one that it had.
    pub(crate) fn open_carrier(&mut self, agent: Node) {
        self.carriers.open(agent);
    }

    pub(crate) fn end_carrier(&mut self, agent: Node) {
        self.carriers.end(agent);
    }

    pub(crate) fn has_carrier(&self, agent: Node) -> bool {
        self.carriers.is_open(agent)
    }

    /// The carriers whose end the gateway hears of now.
    pub(crate) fn take_ended_carriers(&mut self) -> Vec<CarrierId> {
        self.carriers.take_ended()
    }

    pub(crate) fn block_tcp(&mut self, agent: Node) {
        self.carriers.stick(agent);
    }

    pub(crate) fn unblock_tcp(&mut self, agent: Node, now: Instant) {
        let after = self.random.millis(10, 500);
        for (way, arrives, bytes) in self.carriers.free(agent, after, now) {
            let Some(carrier) = self.carriers.id_of(agent) else { return };
            self.put(arrives, over_tcp(agent, way, carrier, bytes));
        }
    }

    /// Whether TCP passes between an agent and the gateway.
    pub(crate) fn is_tcp_open(&self, agent: Node) -> bool {
        !self.carriers.is_stuck(agent)
    }

    /// The gateway's process takes carriers, or is gone with all that it had.
    pub(crate) fn serve_carriers(&mut self, serves: bool) {
        self.carriers.serve(serves);
    }

    /// Whether an agent that dials a carrier now gets one.
    pub(crate) fn accepts_carriers(&self, agent: Node) -> bool {
        self.carriers.serves() && self.is_tcp_open(agent)
    }

    /// How long an agent takes to open a carrier: TCP, TLS and the WebSocket.
    pub(crate) fn dial_time(&self, agent: Node) -> Duration {
        let delay = |from, to| self.directions[&(from, to)].weather.delay;
        (delay(agent, Node::Gateway) + delay(Node::Gateway, agent)) * 3
    }

    /// Until then a stranger on the way brings a copy of each of our own packets under its address,
    /// and is faster.
    pub(crate) fn rush_until(&mut self, until: Instant) {
        self.rushed_until = Some(until);
    }

    fn rush(&mut self, now: Instant, datagram: &Datagram, tally: &mut Tally) {
        let is_ours = datagram.bytes.first().is_some_and(|first| is_ours(*first));
        if is_ours && self.rushed_until.is_some_and(|until| until > now) {
            tally.strangers += 1;
            let from = stranger(self.random.below(4));
            self.inject(now, Datagram { from, ..datagram.clone() });
        }
    }

    /// A stranger sends `datagram`, and nothing befalls it on its way.
    pub(crate) fn inject(&mut self, at: Instant, datagram: Datagram) {
        self.put(at, Datagram { sender: Node::Stranger, ..datagram });
    }

    /// One of the datagrams that strangers overheard lately.
    pub(crate) fn overheard(&mut self) -> Option<Datagram> {
        let count = self.overheard.len() as u64;
        (count > 0).then(|| self.overheard[usize::try_from(self.random.below(count)).unwrap()].clone())
    }

    fn overhear(&mut self, datagram: &Datagram) {
        if self.overheard.len() >= OVERHEARD_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back(datagram.clone());
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`. The translator may have forgotten where to
    /// since it was sent.
    pub(crate) fn arrive(&mut self, now: Instant, tally: &mut Tally) -> Option<Datagram> {
        while self.next_arrival()? <= now {
            let (_, datagram) = self.under_way.pop_first()?;
            if !self.has_way(&datagram) {
                tally.to_nobody += 1;
                continue;
            }
            let agent_moved = carrier_at(datagram.to).is_none()
                && Node::AGENTS.contains(&datagram.receiver)
                && !self
                    .mappings
                    .iter()
                    .any(|((agent, _), at)| (*agent, *at) == (datagram.receiver, datagram.to));
            if !agent_moved {
                return Some(datagram);
            }
            tally.to_nobody += 1;
        }
        None
    }

    /// Whether what is to come over a carrier still can: whoever brings it, one that is open.
    fn has_way(&self, datagram: &Datagram) -> bool {
        let place = if datagram.receiver == Node::Gateway { datagram.from } else { datagram.to };
        let is_over_tcp = [datagram.from, datagram.to].contains(&OVER_TCP);
        match carrier_at(place) {
            Some(carrier) => {
                let agent = self.carriers.holder(carrier);
                agent.is_some()
                    && (datagram.receiver == Node::Gateway || is_over_tcp && agent == Some(datagram.receiver))
            }
            None => !is_over_tcp,
        }
    }

    /// Who sits at `to` for what `sender` sends there.
    fn holder(&self, sender: Node, to: SocketAddr) -> Option<Node> {
        if to == GATEWAY {
            return Some(Node::Gateway);
        }
        if is_strangers(to) {
            return Some(Node::Stranger);
        }
        let mut held = self.mappings.iter().filter(|((_, seen_by), at)| *seen_by == sender && **at == to);
        held.next().map(|((agent, _), _)| *agent)
    }

    fn carry(&mut self, now: Instant, mut datagram: Datagram, tally: &mut Tally) {
        let pair = (datagram.sender, datagram.receiver);
        // Drawn whatever becomes of it, so that one fault more does not change all others.
        let draws = [0; 4].map(|_| self.random.below(1_000));
        let (early, late) = (self.random.draw(), self.random.millis(5, 120));
        let Some(direction) = self.directions.get_mut(&pair) else {
            tally.to_strangers += 1;
            return self.put(now, datagram);
        };
        let weather = direction.weather;
        if direction.blocked > 0 {
            tally.blocked += 1;
            return;
        }
        if datagram.bytes.len() > direction.mtu {
            tally.oversized += 1;
            return;
        }
        // What the network cannot carry, strangers cannot bring either.
        self.overhear(&datagram);
        let Some(direction) = self.directions.get_mut(&pair) else { return };
        if draws[0] < weather.loss {
            tally.lost += 1;
            return;
        }
        let on_time = now + weather.delay + weather.jitter.mul_f64(early);
        let arrives = if draws[1] < weather.reorder {
            tally.reordered += 1;
            on_time + late
        } else {
            let in_order = direction.latest.map_or(on_time, |latest| latest.max(on_time));
            direction.latest = Some(in_order);
            in_order
        };
        if draws[2] < weather.duplicate {
            tally.duplicated += 1;
            self.put(arrives + late, datagram.clone());
        }
        if draws[3] < weather.corrupt {
            tally.corrupted += 1;
            let bit = usize::try_from(self.random.below(datagram.bytes.len() as u64 * 8)).expect("a bit");
            datagram.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.put(arrives, datagram);
    }

    fn put(&mut self, arrives: Instant, datagram: Datagram) {
        self.sent += 1;
        if self.under_way.len() < IN_FLIGHT_MAX {
            self.under_way.insert((arrives, self.sent), datagram);
            self.most_under_way = self.most_under_way.max(self.under_way.len());
        }
    }

    fn note(&mut self, now: Instant, sender: Node, receiver: Node) {
        let micros = u64::try_from((now - self.start).as_micros()).unwrap_or(u64::MAX);
        let what = micros << 8 | (sender as u64) << 4 | receiver as u64;
        self.digest = (self.digest ^ what).wrapping_mul(0x0100_0000_01b3);
    }

    fn direction(&mut self, from: Node, to: Node) -> &mut Direction {
        self.directions.get_mut(&(from, to)).expect("every two of the three nodes")
    }
}

/// Who sends and who gets what goes this way over the carrier of `agent`.
fn ends(agent: Node, way: Way) -> (Node, Node) {
    match way {
        Way::Up => (agent, Node::Gateway),
        Way::Down => (Node::Gateway, agent),
    }
}

fn over_tcp(agent: Node, way: Way, carrier: CarrierId, bytes: Vec<u8>) -> Datagram {
    let (sender, receiver) = ends(agent, way);
    let (from, to) = match way {
        Way::Up => (place_of(carrier), GATEWAY),
        Way::Down => (OVER_TCP, place_of(carrier)),
    };
    Datagram { maker: sender, made_at: Some(from), sender, receiver, from, to, bytes }
}
