//! The path to each peer and to the gateway, as an agent's tasks share it: they say which peers they want, and
//! watch the path to each.
//!
//! What to probe and what to believe is decided in `protocol::route` and `protocol::registration`; one task,
//! `driver`, owns all that. The carrier to the relay is dialled elsewhere; here is said when it is wanted and
//! when it is dead.

mod driven;
mod driver;
mod log;
mod relay;
mod silence;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

pub use self::driver::RouteDriver;
use super::destination::Destination;
use super::endpoint::Connection;
use super::followers::Followers;
use super::socket::{AgentSocket, OwnPacket};
use adit_core::domain::id::{BootId, RelayId, RouteId, ServerId};
use adit_core::domain::limits::{REPEATED_KINDS_MAX, REPEATS_BURST, REPEATS_SUMMED_EVERY};
use adit_core::domain::path::{Carrier, PathKind, PathPreference};
use adit_core::domain::relays::Relays;
use adit_core::domain::secret::Secret;
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_core::protocol::route::{Path, PathReason, WhyNot};

/// A peer that a live rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPeer {
    pub route: RouteId,
    /// As people call its server.
    pub name: String,
    /// The secrets of its connections; any of them may authenticate a probe.
    pub secrets: Vec<Secret>,
    pub candidates: Vec<SocketAddr>,
    pub path: PathPreference,
    /// What the rule of each of its connections says of relays: one is used where all allow it.
    pub relays: Vec<Relays>,
}

impl WantedPeer {
    /// Returns `relay` if no packets for this peer may take it.
    fn forbidden(&self, relay: RelayId, own: RelayId) -> BTreeSet<RelayId> {
        let is_allowed = self.relays.iter().all(|relays| relays.allows(relay, own));
        (!is_allowed).then_some(relay).into_iter().collect()
    }
}

/// The gateway and its relay, while the control link is up.
#[derive(Debug, Clone)]
pub struct RelayServer {
    /// Where the control link was answered.
    pub place: Destination,
    /// Where the gateway may be reached over UDP.
    pub addresses: Vec<SocketAddr>,
    /// From the control link's TLS exporter.
    pub key: PacketKey,
    /// It answers probes to its own route (`Capability::Carrier`), so that the link can change its path.
    pub answers_probes: bool,
}

/// The path to a peer, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    /// How packets go; nothing can be dialled without.
    pub path: Option<Path>,
    /// Why this one.
    pub why: Option<PathReason>,
    /// Why none of a better kind, or none at all.
    pub why_not: [Option<(PathKind, WhyNot)>; PathKind::ALL.len()],
    /// How often it was another before.
    pub changes: u64,
    pub boot: Option<BootId>,
    /// When the peer last answered a probe, on whichever path.
    pub heard: Option<Instant>,
}

impl PathState {
    #[must_use]
    pub fn kind(&self) -> Option<PathKind> {
        self.path.map(Path::kind)
    }
}

/// The relays to which a carrier is open, each with a number that another carrier does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenCarriers {
    numbers: BTreeMap<RelayId, u64>,
    opened: u64,
}

impl OpenCarriers {
    #[must_use]
    pub fn contains(&self, relay: RelayId) -> bool {
        self.numbers.contains_key(&relay)
    }

    /// Notes another carrier to `relay`, or that there is none any more.
    pub fn set(&mut self, relay: RelayId, is_open: bool) {
        if is_open {
            self.opened += 1;
            self.numbers.insert(relay, self.opened);
        } else {
            self.numbers.remove(&relay);
        }
    }
}

type PathStates = Arc<Mutex<BTreeMap<ServerId, watch::Sender<PathState>>>>;

/// The handle that tasks share.
#[derive(Debug, Clone)]
pub struct Routes {
    path_states: PathStates,
    wanted: watch::Sender<BTreeMap<ServerId, WantedPeer>>,
    relay: watch::Sender<Option<RelayServer>>,
    carriers: watch::Sender<OpenCarriers>,
    carrier_wanted: watch::Sender<bool>,
    carrier_dead: Arc<Notify>,
    gateway_path: watch::Sender<PathState>,
    followers: Arc<Followers>,
    pings: watch::Sender<u64>,
    unanswered: Arc<Notify>,
    registered: watch::Sender<Vec<(RelayId, Carrier)>>,
}

/// Who an agent is below QUIC.
#[derive(Debug, Clone, Copy)]
pub struct OwnEnd {
    pub route: RouteId,
    pub gateway: RouteId,
    pub boot: BootId,
}

impl Routes {
    /// Returns the handle and the driver that the agent runs.
    #[must_use]
    pub fn new(
        socket: Arc<AgentSocket>,
        own_packets: mpsc::Receiver<OwnPacket>,
        own: OwnEnd,
    ) -> (Self, RouteDriver) {
        socket.gate().set_boot(own.boot);
        let routes = Self {
            path_states: PathStates::default(),
            wanted: watch::Sender::new(BTreeMap::new()),
            relay: watch::Sender::new(None),
            carriers: watch::Sender::new(OpenCarriers::default()),
            // From the first dial on.
            carrier_wanted: watch::Sender::new(true),
            carrier_dead: Arc::default(),
            gateway_path: watch::Sender::new(PathState::default()),
            followers: Arc::default(),
            pings: watch::Sender::new(0),
            unanswered: Arc::default(),
            registered: watch::Sender::new(Vec::new()),
        };
        let driver = RouteDriver::new(&routes, socket, own_packets, own);
        (routes, driver)
    }

    /// Names all peers that may be reached and heard from now on; the path to others is forgotten.
    pub fn want(&self, peers: BTreeMap<ServerId, WantedPeer>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != peers;
            if differs {
                *wanted = peers;
            }
            differs
        });
    }

    /// Sets where the relay is and how to register there; `None` when the control link is away. What is
    /// registered stays so until it lapses.
    pub fn set_relay(&self, relay: Option<RelayServer>) {
        self.relay.send_replace(relay);
    }

    /// Sets where the gateway may be reached over UDP: it was not known when the control link came up.
    pub fn set_gateway_addresses(&self, addresses: Vec<SocketAddr>) {
        self.relay.send_if_modified(|relay| {
            let is_news = relay.as_ref().is_some_and(|server| server.addresses != addresses);
            if let Some(server) = relay {
                server.addresses = addresses;
            }
            is_news
        });
    }

    /// Notes that another carrier to `relay` takes packets now, or none any more.
    pub fn set_carrier(&self, relay: RelayId, is_open: bool) {
        if is_open {
            // That another one before was dead says nothing of this one.
            pin!(self.carrier_dead.notified()).enable();
        }
        self.carriers.send_modify(|carriers| carriers.set(relay, is_open));
    }

    /// Returns the carriers that are open, as they change.
    #[must_use]
    pub fn carriers(&self) -> watch::Receiver<OpenCarriers> {
        self.carriers.subscribe()
    }

    /// Returns whether a carrier to the gateway's relay is wanted, as it changes: while UDP may not do, and
    /// for a while after it does.
    #[must_use]
    pub fn carrier_wanted(&self) -> watch::Receiver<bool> {
        self.carrier_wanted.subscribe()
    }

    /// Waits until the open carrier has answered nothing for so long that it must be taken for dead.
    pub async fn carrier_dead(&self) {
        self.carrier_dead.notified().await;
    }

    /// Notes that the gateway was dialled over the open carrier and did not answer.
    pub fn note_carrier_dead(&self) {
        self.carrier_dead.notify_one();
    }

    /// Returns the path that the control link's packets take, as it changes; empty while there is no link.
    #[must_use]
    pub fn gateway_path(&self) -> watch::Receiver<PathState> {
        self.gateway_path.subscribe()
    }

    /// Follows a route: from now on `tunnel` is told when packets of `route` take another path.
    pub fn follow(&self, route: RouteId, tunnel: &Connection) {
        self.followers.add(route, tunnel);
    }

    /// Rises when connections must send something at once; see `AgentEndpoint::ping`.
    #[must_use]
    pub fn pings(&self) -> watch::Receiver<u64> {
        self.pings.subscribe()
    }

    /// Notes that a tunnel is not answered though its peer is heard: connections must send something soon.
    pub fn want_ping(&self) {
        self.unanswered.notify_one();
    }

    /// Returns whether the relay carries packets of this agent.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        !self.registered.borrow().is_empty()
    }

    /// Returns through which relays peers can reach this agent, and over what.
    #[must_use]
    pub fn registered(&self) -> Vec<(RelayId, Carrier)> {
        self.registered.borrow().clone()
    }

    /// Returns the state of the path to `peer`, as it changes; empty while it is not wanted. Being heard
    /// again, or why a better kind is not used, is not notified, only seen.
    #[must_use]
    pub fn path_state(&self, peer: ServerId) -> watch::Receiver<PathState> {
        path_state_of(&self.path_states, peer).subscribe()
    }
}

fn path_state_of(path_states: &PathStates, peer: ServerId) -> watch::Sender<PathState> {
    let mut path_states = path_states.lock();
    path_states.entry(peer).or_default().clone()
}

/// Returns the first lines of a kind, then one a minute that counts.
const fn summed<K: Ord>() -> RepeatLimiter<K> {
    RepeatLimiter::bursts(REPEATS_BURST, REPEATS_SUMMED_EVERY, REPEATED_KINDS_MAX)
}

#[cfg(test)]
mod tests;
