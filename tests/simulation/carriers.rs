//! The carriers between the agents and the gateway: TCP, as far as packets notice. Nothing is lost,
//! doubled or overtaken; what is late holds up all behind it, and what does not fit a queue is dropped.
//!
//! A carrier can be stuck, as behind a dead proxy: then each end learns of it by silence alone. It can
//! be cut: then both know. Whether one is open is decided by an agent's keeper, in `paths`.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use adit_core::domain::id::CarrierId;
use adit_core::domain::limits::CARRIER_QUEUE_BYTES_MAX;

use crate::wire::Node;

/// From where an agent gets what came over its carrier, and where it sends what is to go over it. The
/// discard prefix (RFC 6666) has no hosts.
pub(crate) const OVER_TCP: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), 443);

/// How long TCP waits at most before it tries again, once a stuck way is free.
const TRIES_AGAIN: Duration = Duration::from_millis(500);

/// Where the gateway finds a carrier.
pub(crate) fn place_of(carrier: CarrierId) -> SocketAddr {
    let [high, low] = [carrier.0 >> 16, carrier.0 & 0xffff].map(|half| u16::try_from(half).unwrap());
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 1, high, low)), 443)
}

/// The carrier at such a place.
pub(crate) fn carrier_at(place: SocketAddr) -> Option<CarrierId> {
    let SocketAddr::V6(v6) = place else { return None };
    match v6.ip().segments() {
        [0x100, 0, 0, 0, 0, 1, high, low] => Some(CarrierId(u64::from(high) << 16 | u64::from(low))),
        _ => None,
    }
}

/// Which way a packet goes over a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

#[derive(Debug, Default)]
pub(crate) struct Carriers {
    /// The gateway's process is gone.
    refused: bool,
    open: BTreeMap<Node, Open>,
    stuck: BTreeMap<Node, u32>,
    latest_id: u64,
    /// Those that ended, and of which the gateway has not heard yet.
    ended: Vec<CarrierId>,
}

#[derive(Debug)]
struct Open {
    id: CarrierId,
    up: Pipe,
    down: Pipe,
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    /// Waits for a stuck way to be free.
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
    /// When the latest arrives.
    latest: Option<Instant>,
}

/// What becomes of a packet for a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Sent {
        carrier: CarrierId,
        arrives: Instant,
    },
    Held,
    /// The queue is full.
    Full,
    /// There is no such carrier.
    Gone,
}

impl Carriers {
    /// An agent's new carrier; one that it had is nobody's now.
    pub(crate) fn open(&mut self, agent: Node) -> CarrierId {
        self.end(agent);
        self.latest_id += 1;
        let id = CarrierId(self.latest_id);
        self.open.insert(agent, Open { id, up: Pipe::default(), down: Pipe::default() });
        id
    }

    pub(crate) fn is_open(&self, agent: Node) -> bool {
        self.open.contains_key(&agent)
    }

    pub(crate) fn id_of(&self, agent: Node) -> Option<CarrierId> {
        self.open.get(&agent).map(|open| open.id)
    }

    pub(crate) fn holder(&self, carrier: CarrierId) -> Option<Node> {
        self.open.iter().find(|(_, open)| open.id == carrier).map(|(agent, _)| *agent)
    }

    /// The agent's carrier is no more. Of a stuck one the gateway does not hear.
    pub(crate) fn end(&mut self, agent: Node) {
        let is_stuck = self.is_stuck(agent);
        if let Some(open) = self.open.remove(&agent)
            && !is_stuck
        {
            self.ended.push(open.id);
        }
    }

    /// Whether the gateway takes any; one that is gone has cut those it had.
    pub(crate) fn serve(&mut self, serves: bool) {
        self.refused = !serves;
        if self.refused {
            self.open.clear();
        }
    }

    pub(crate) fn serves(&self) -> bool {
        !self.refused
    }

    /// What the gateway's own end told it.
    pub(crate) fn take_ended(&mut self) -> Vec<CarrierId> {
        std::mem::take(&mut self.ended)
    }

    pub(crate) fn is_stuck(&self, agent: Node) -> bool {
        self.stuck.get(&agent).is_some_and(|faults| *faults > 0)
    }

    /// Nothing passes between this agent and the gateway over TCP, until it is freed as often.
    pub(crate) fn stick(&mut self, agent: Node) {
        *self.stuck.entry(agent).or_default() += 1;
    }

    /// Frees a stuck way; gives what was held, in order, with the time at which it arrives.
    pub(crate) fn free(
        &mut self,
        agent: Node,
        after: Duration,
        now: Instant,
    ) -> Vec<(Way, Instant, Vec<u8>)> {
        let faults = self.stuck.entry(agent).or_default();
        *faults = faults.saturating_sub(1);
        let (true, Some(open)) = (*faults == 0, self.open.get_mut(&agent)) else { return Vec::new() };
        let arrives = now + after.min(TRIES_AGAIN);
        let mut freed = Vec::new();
        for way in Way::BOTH {
            let pipe = open.pipe(way);
            pipe.held_bytes = 0;
            if !pipe.held.is_empty() {
                pipe.latest = Some(arrives);
            }
            freed.extend(pipe.held.drain(..).map(|packet| (way, arrives, packet)));
        }
        freed
    }

    /// A packet that would take so long if nothing were before it.
    pub(crate) fn take(
        &mut self,
        agent: Node,
        way: Way,
        packet: &[u8],
        takes: Duration,
        now: Instant,
    ) -> Taken {
        let is_stuck = self.is_stuck(agent);
        let Some(open) = self.open.get_mut(&agent) else { return Taken::Gone };
        let carrier = open.id;
        let pipe = open.pipe(way);
        if !is_stuck {
            let arrives = pipe.latest.map_or(now + takes, |latest| latest.max(now + takes));
            pipe.latest = Some(arrives);
            return Taken::Sent { carrier, arrives };
        }
        if pipe.held_bytes + packet.len() > CARRIER_QUEUE_BYTES_MAX {
            return Taken::Full;
        }
        pipe.held_bytes += packet.len();
        pipe.held.push_back(packet.to_vec());
        Taken::Held
    }
}

impl Open {
    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}
