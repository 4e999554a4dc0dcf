//! Drives the route keepers of all peers: packets and timers in, probes and table changes out.
//!
//! What to probe and what to believe is decided in `protocol::route`. One task owns all keepers;
//! others say which peers they want and watch the way to each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::socket::{AgentSocket, OwnPacket};
use crate::domain::id::{BootId, RouteId, ServerId};
use crate::domain::secret::Secret;
use crate::identity::chance;
use crate::protocol::packet::{Claim, ProbeKey};
use crate::protocol::route::{PeerRoute, RouteEvent};

/// A driver with nothing due looks again after this long.
const IDLE: Duration = Duration::from_secs(60);

/// A peer that a live rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPeer {
    pub route: RouteId,
    /// The secrets of its connections; any of them may authenticate a probe.
    pub secrets: Vec<Secret>,
    pub candidates: Vec<SocketAddr>,
}

/// What is known of the way to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// Where packets go; nothing can be dialled without.
    pub address: Option<SocketAddr>,
    pub boot: Option<BootId>,
    /// When the peer last answered a probe.
    pub heard: Option<Instant>,
}

type Ways = Arc<Mutex<BTreeMap<ServerId, watch::Sender<Way>>>>;

/// The handle that tasks share.
#[derive(Debug, Clone)]
pub struct Routes {
    ways: Ways,
    wanted: watch::Sender<BTreeMap<ServerId, WantedPeer>>,
}

impl Routes {
    /// The handle and the driver that the agent runs.
    #[must_use]
    pub fn new(
        socket: Arc<AgentSocket>,
        own_packets: mpsc::Receiver<OwnPacket>,
        own_route: RouteId,
        boot: BootId,
    ) -> (Self, RouteDriver) {
        let (wanted, wanted_changes) = watch::channel(BTreeMap::new());
        let routes = Self { ways: Ways::default(), wanted };
        let driver = RouteDriver {
            socket,
            own_packets,
            own_route,
            boot,
            wanted: wanted_changes,
            ways: Arc::clone(&routes.ways),
            peers: BTreeMap::new(),
        };
        (routes, driver)
    }

    /// Names all peers that may be reached and heard from now on; the way to others is forgotten.
    pub fn want(&self, peers: BTreeMap<ServerId, WantedPeer>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != peers;
            if differs {
                *wanted = peers;
            }
            differs
        });
    }

    /// The way to `peer`, as it changes; empty while it is not wanted. Being heard again is not
    /// notified, only seen.
    #[must_use]
    pub fn way(&self, peer: ServerId) -> watch::Receiver<Way> {
        way_of(&self.ways, peer).subscribe()
    }
}

fn way_of(ways: &Ways, peer: ServerId) -> watch::Sender<Way> {
    let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    ways.entry(peer).or_default().clone()
}

/// Owns the keepers; see [`Self::run`].
#[derive(Debug)]
pub struct RouteDriver {
    socket: Arc<AgentSocket>,
    own_packets: mpsc::Receiver<OwnPacket>,
    own_route: RouteId,
    boot: BootId,
    wanted: watch::Receiver<BTreeMap<ServerId, WantedPeer>>,
    ways: Ways,
    peers: BTreeMap<ServerId, DrivenPeer>,
}

#[derive(Debug)]
struct DrivenPeer {
    wanted: WantedPeer,
    keeper: PeerRoute,
    way: watch::Sender<Way>,
}

impl RouteDriver {
    /// Runs until dropped, or until the handle and the socket are gone.
    pub async fn run(mut self) {
        loop {
            let due = self.peers.values().filter_map(|peer| peer.keeper.poll_timeout()).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                packet = self.own_packets.recv() => match packet {
                    Some(packet) => self.handle_packet(&packet),
                    None => return,
                },
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.handle_wanted(),
                    Err(_) => return,
                },
                () = sleep_until(due.into()) => self.handle_timeout(),
            }
        }
    }

    fn handle_packet(&mut self, packet: &OwnPacket) {
        let Some(claim) = Claim::read(&packet.bytes) else { return };
        let mut peers = self.peers.values_mut();
        let Some(peer) = peers.find(|peer| peer.wanted.route == claim.source) else { return };
        let now = Instant::now();
        peer.keeper.handle_packet(packet.from, &packet.bytes, now, &mut chance::bytes);
        peer.act(&self.socket);
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            peer.keeper.handle_timeout(now, &mut chance::bytes);
            peer.act(&self.socket);
        }
    }

    fn handle_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        self.peers.retain(|server, peer| {
            // A peer that enrolled anew has another route.
            let keeps = wanted.get(server).is_some_and(|wanted| wanted.route == peer.wanted.route);
            if !keeps {
                peer.forget(&self.socket);
            }
            keeps
        });
        for (server, wanted) in wanted {
            let peer = self.peers.entry(server).or_insert_with(|| DrivenPeer {
                keeper: PeerRoute::new(self.own_route, self.boot, wanted.route),
                wanted: WantedPeer { secrets: Vec::new(), candidates: Vec::new(), ..wanted },
                way: way_of(&self.ways, server),
            });
            if peer.wanted.secrets != wanted.secrets {
                peer.keeper.set_keys(wanted.secrets.iter().map(ProbeKey::derive).collect());
            }
            if peer.wanted.candidates != wanted.candidates {
                peer.keeper.set_candidates(&wanted.candidates, now);
            }
            peer.wanted = wanted;
        }
        self.handle_timeout();
    }
}

impl DrivenPeer {
    /// Does what the keeper decided.
    fn act(&mut self, socket: &AgentSocket) {
        while let Some(event) = self.keeper.poll_event() {
            match event {
                RouteEvent::Validated(address) => socket.validate_source(address),
                RouteEvent::Lapsed(address) => socket.forget_source(address),
                RouteEvent::Active(address) => {
                    tracing::debug!(route = %self.wanted.route, %address, "the way to a peer");
                    socket.set_route(self.wanted.route, address);
                }
                RouteEvent::BootChanged(boot) => {
                    tracing::info!(route = %self.wanted.route, %boot, "a peer's agent was restarted");
                }
            }
        }
        while let Some(transmit) = self.keeper.poll_transmit() {
            socket.send_own(transmit.to, &transmit.packet);
        }
        self.publish();
    }

    fn publish(&self) {
        let now =
            Way { address: self.keeper.active(), boot: self.keeper.peer_boot(), heard: self.keeper.heard() };
        self.way.send_if_modified(|way| {
            let is_news = (way.address, way.boot) != (now.address, now.boot);
            *way = now;
            is_news
        });
    }

    fn forget(&self, socket: &AgentSocket) {
        for address in self.keeper.validated() {
            socket.forget_source(address);
        }
        socket.remove_route(self.wanted.route);
        self.way.send_replace(Way::default());
    }
}

#[cfg(test)]
mod tests;
