//! An agent's UDP socket and its carriers, as quinn sees them: as one socket.
//!
//! It shows one constant virtual remote address for every peer. Outgoing packets carry
//! their route in the destination connection id; the table says where that route is now, so a path
//! can change underneath a live connection, from UDP to a carrier and back too. Incoming packets reach quinn
//! only from validated sources, and those of a handshake only if it may be ([`super::admission`]). Our own
//! packets (first byte below 0x40) never reach quinn; they go to the route keeper through a bounded queue.
//! What is decided about routes is not here.

mod carriers;
mod drops;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tracing::{debug, trace};

use self::carriers::Carriers;
pub use self::drops::SocketDrops;
pub(super) use self::drops::count;
use super::admission::{Dial, Gate};
use super::carrier::queues::SocketEnd;
use super::destination::Destination;
use super::udp::{SocketBuffers, UdpIo, WritablePoller, retain_segments};
use adit_core::domain::id::{RelayId, RouteId};
use adit_core::domain::limits::{
    CARRIED_BYTES_UNTIL_UDP, OWN_PACKETS_OF_STRANGERS_MAX, OWN_PACKETS_QUEUED_MAX, PROBE_BYTES_MAX,
};
use adit_core::domain::word::UNKNOWN_WORDS;
use adit_core::protocol::admission::AdmissionVerdict;
use adit_core::protocol::packet::{is_of_unknown_kind, is_ours, own_route, quic_route};
use adit_core::protocol::text::listed;

/// What quinn takes for the address of every peer.
pub const VIRTUAL_PEER: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 443, 0, 0));

/// Where each route is now, and from where packets are taken.
#[derive(Debug, Default, Clone)]
struct RouteTable {
    legs: BTreeMap<RouteId, Leg>,
    /// Where routes may be whose first answer is waited for.
    candidates: BTreeMap<RouteId, Vec<Destination>>,
    validated: BTreeSet<Destination>,
    /// Where relays send from that forward packets to us.
    relays: BTreeSet<Destination>,
    /// All of them; what is in none any more is a stranger's again.
    sources: BTreeSet<Destination>,
}

/// Where packets of a route are sent.
#[derive(Debug, Clone, Copy)]
struct Leg {
    destination: Destination,
    /// What a carrier takes of QUIC's datagrams: the search for larger ones must not find what UDP will not
    /// carry later.
    bytes_max: usize,
}

impl Leg {
    const fn to(destination: Destination) -> Self {
        Self { destination, bytes_max: CARRIED_BYTES_UNTIL_UDP }
    }
}

/// A packet below QUIC and where it came from.
#[derive(Debug)]
pub struct OwnPacket {
    pub from: Destination,
    pub bytes: Bytes,
    _of_strangers: Option<Queued>,
}

/// Counts one packet of strangers as long as it waits.
#[derive(Debug)]
struct Queued(Arc<AtomicUsize>);

impl Queued {
    /// Counts one more; `None` when as many wait as may. Only the socket's reader asks, so there is no race.
    fn one_more(count: &Arc<AtomicUsize>) -> Option<Self> {
        let has_room = count.load(Ordering::Relaxed) < OWN_PACKETS_OF_STRANGERS_MAX;
        has_room.then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(count))
        })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One UDP socket, and a carrier for each relay, for all tunnels and the control link of an agent.
pub struct AgentSocket {
    udp: Arc<UdpIo>,
    carriers: Carriers,
    route: RouteId,
    table: ArcSwap<RouteTable>,
    own_packets: mpsc::Sender<OwnPacket>,
    of_strangers: Arc<AtomicUsize>,
    gate: Gate,
    drops: SocketDrops,
}

impl AgentSocket {
    /// Takes a bound socket for the agent whose packets carry `route`; gives the queue of our own
    /// packets for the route keeper. It has no carriers.
    pub fn new(
        socket: std::net::UdpSocket,
        route: RouteId,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<OwnPacket>)> {
        Self::with_carriers(socket, route, BTreeMap::new())
    }

    /// Does the same, for one with a carrier for each of these relays, whether it is open or not.
    pub fn with_carriers(
        socket: std::net::UdpSocket,
        route: RouteId,
        carriers: BTreeMap<RelayId, SocketEnd>,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<OwnPacket>)> {
        let (udp, carriers) = (Arc::new(UdpIo::new(socket)?), Carriers::new(carriers));
        let (own_packets, queue) = mpsc::channel(OWN_PACKETS_QUEUED_MAX);
        let (table, gate, drops) = (ArcSwap::default(), Gate::new(route), SocketDrops::default());
        let of_strangers = Arc::default();
        let socket = Self { udp, carriers, route, table, own_packets, of_strangers, gate, drops };
        Ok((Arc::new(socket), queue))
    }

    /// Returns the address the kernel bound.
    pub fn bound(&self) -> io::Result<SocketAddr> {
        self.udp.bound()
    }

    pub fn buffers(&self) -> io::Result<SocketBuffers> {
        self.udp.buffers()
    }

    #[must_use]
    pub const fn drops(&self) -> &SocketDrops {
        &self.drops
    }

    /// Begins a handshake with `target`: its answers pass as long as what this returns is kept.
    #[must_use]
    pub fn dial(&self, target: RouteId) -> Dial {
        self.gate.dial(target)
    }

    /// Returns what handshakes pass through.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Sends packets of `route` there from now on, and takes packets from there; from where it was before only
    /// if that is validated. Over a carrier go no longer ones than every network's UDP should carry.
    pub fn set_route(&self, route: RouteId, destination: impl Into<Destination>) {
        self.set_leg(route, Leg::to(destination.into()));
    }

    /// Does the same, and lets datagrams of up to `bytes_max` go over a carrier: the size that the route's
    /// connections have found on UDP.
    pub fn set_route_within(&self, route: RouteId, destination: Destination, bytes_max: usize) {
        self.set_leg(route, Leg { destination, bytes_max });
    }

    fn set_leg(&self, route: RouteId, leg: Leg) {
        let leg = Leg { destination: self.as_family(leg.destination), ..leg };
        self.change_table(|table| {
            table.candidates.remove(&route);
            table.legs.insert(route, leg);
        });
    }

    /// Sends the packets of handshakes with `route` to each of these from now on. The first of them that
    /// answers becomes the route's, as [`Self::destination_of`] then says; the others are strangers again.
    pub fn set_candidates(&self, route: RouteId, candidates: &[Destination]) {
        let candidates: Vec<_> = candidates.iter().map(|candidate| self.as_family(*candidate)).collect();
        self.change_table(|table| {
            table.legs.remove(&route);
            table.candidates.insert(route, candidates.clone());
        });
    }

    /// Adds one, unless one has answered.
    pub fn add_candidate(&self, route: RouteId, candidate: Destination) {
        let candidate = self.as_family(candidate);
        self.change_table(|table| {
            let candidates = table.candidates.get_mut(&route);
            for candidates in candidates.into_iter().filter(|candidates| !candidates.contains(&candidate)) {
                candidates.push(candidate);
            }
        });
    }

    /// Returns where packets of `route` are sent; `None` also while none of its candidates has answered.
    #[must_use]
    pub fn destination_of(&self, route: RouteId) -> Option<Destination> {
        self.table.load().legs.get(&route).map(|leg| leg.destination.canonical())
    }

    /// Takes packets from there beside those that routes are sent to.
    pub fn validate_source(&self, source: impl Into<Destination>) {
        let source = source.into();
        trace!(%source, "packets from here reach QUIC");
        let source = self.as_family(source);
        self.change_table(|table| {
            table.validated.insert(source);
        });
    }

    /// Takes packets from there no more, unless a route is sent there.
    pub fn forget_source(&self, source: impl Into<Destination>) {
        let source = source.into();
        trace!(%source, "packets from here reach QUIC no more, unless a route is sent there");
        let source = self.as_family(source);
        self.change_table(|table| {
            table.validated.remove(&source);
        });
    }

    /// Takes packets from these relays, whatever else is said of where they are.
    pub fn set_relay_sources(&self, relays: &[Destination]) {
        debug!(relays = %listed(relays), "packets that these relays forward reach QUIC, and no other's");
        let relays: BTreeSet<_> = relays.iter().map(|relay| self.as_family(*relay)).collect();
        self.change_table(|table| table.relays.clone_from(&relays));
    }

    /// Forgets where `route` is: packets for it are dropped.
    pub fn remove_route(&self, route: RouteId) {
        trace!(%route, "packets of this route are dropped from now on");
        self.change_table(|table| {
            table.candidates.remove(&route);
            table.legs.remove(&route);
        });
    }

    /// Sends one of our own packets. `false`: the socket is full, try again when it is
    /// [`Self::writable`]. Any other failure is a lost packet, which is normal below QUIC.
    pub fn send_own(&self, to: impl Into<Destination>, packet: &[u8]) -> bool {
        let destination = match to.into() {
            Destination::Udp(address) => self.udp.as_family(address),
            Destination::Carrier(relay) => {
                self.count_carrier_full(self.carriers.send(relay, packet, packet.len()));
                return true;
            }
        };
        let transmit =
            Transmit { destination, ecn: None, contents: packet, segment_size: None, src_ip: None };
        let sent = self.udp.try_send_own(&transmit);
        sent.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |()| true)
    }

    fn as_family(&self, destination: Destination) -> Destination {
        destination.map_address(|address| self.udp.as_family(address))
    }

    /// Waits until the kernel takes packets.
    pub async fn writable(&self) {
        self.udp.writable().await;
    }

    fn change_table(&self, change: impl Fn(&mut RouteTable)) {
        self.table.rcu(|table| {
            let mut table = RouteTable::clone(table);
            change(&mut table);
            let (legs, candidates) = (table.legs.values(), table.candidates.values().flatten());
            let sent_to = legs.map(|leg| &leg.destination).chain(candidates);
            let taken_from = table.validated.iter().chain(&table.relays);
            table.sources = taken_from.chain(sent_to).copied().collect();
            table
        });
    }

    /// Takes our own packets out of one received batch and refuses unvalidated sources.
    fn sort_batch(&self, table: &RouteTable, buffer: &mut [u8], meta: &mut RecvMeta) {
        let from = meta.addr;
        if from.port() == 0 {
            // Nobody can be answered there, and trying would cost the socket its batches.
            meta.len = 0;
            return count(&self.drops.unanswerable);
        }
        meta.addr = VIRTUAL_PEER;
        meta.dst_ip = None;
        let from = Destination::Udp(from);
        let validated = table.sources.contains(&from);
        retain_segments(buffer, meta, |packet| self.passes(table, from, validated, packet));
    }

    /// Returns whether a packet is for quinn; takes it where it is one of ours.
    fn passes(&self, table: &RouteTable, from: Destination, validated: bool, packet: &[u8]) -> bool {
        if is_ours(packet[0]) {
            self.queue_own(from, packet, validated);
            return false;
        }
        if !validated {
            count(&self.drops.unvalidated);
        }
        let passes = validated && self.admits(packet);
        if passes && is_of_handshake(packet) && !table.candidates.is_empty() {
            self.resolve_candidates(from);
        }
        passes
    }

    /// Fills buffers with what came over carriers; returns how many.
    fn poll_carriers(&self, cx: &mut Context, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        // Most of the time nothing comes, and nothing is loaded.
        let mut table = None;
        self.carriers.poll_receive(cx, bufs, meta, &self.drops.misframed, |relay, packet| {
            let table = table.get_or_insert_with(|| self.table.load());
            let from = Destination::Carrier(relay);
            self.passes(table, from, table.sources.contains(&from), packet)
        })
    }

    /// Notes that a handshake of ours was answered from there: the routes that may be there are.
    fn resolve_candidates(&self, from: Destination) {
        debug!(from = %from.canonical(), "where the gateway was dialled it has answered, and has the handshake");
        self.change_table(|table| {
            let RouteTable { legs, candidates, .. } = table;
            candidates.retain(|route, candidates| {
                let is_there = candidates.contains(&from);
                if is_there {
                    legs.insert(*route, Leg::to(from));
                }
                !is_there
            });
        });
    }

    fn send_to(&self, leg: Leg, transmit: &Transmit) -> io::Result<()> {
        match leg.destination {
            Destination::Udp(destination) => {
                self.udp.try_send(&Transmit { destination, src_ip: None, ..transmit.clone() })
            }
            Destination::Carrier(relay) => {
                self.send_over(relay, leg.bytes_max, transmit);
                Ok(())
            }
        }
    }

    /// Sends over a carrier what is not too long for it. What finds no room is lost: a carrier never blocks.
    fn send_over(&self, relay: RelayId, bytes_max: usize, transmit: &Transmit) {
        let contents = transmit.contents;
        let segment = transmit.segment_size.unwrap_or(contents.len()).max(1);
        if segment > bytes_max {
            let long = contents.chunks(segment).count() as u64;
            trace!(%relay, bytes = segment, bytes_max, "longer than what goes over a carrier");
            self.drops.carrier_long.fetch_add(long, Ordering::Relaxed);
        } else {
            self.count_carrier_full(self.carriers.send(relay, contents, segment));
        }
    }

    fn count_carrier_full(&self, lost: u64) {
        if lost > 0 {
            self.drops.carrier_full.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Sends a handshake's packet for each of `candidates`. It is lost only where the kernel takes none at
    /// all.
    fn send_to_each(&self, candidates: &[Destination], transmit: &Transmit) -> io::Result<()> {
        let mut sent = Ok(());
        for (place, candidate) in candidates.iter().enumerate() {
            match self.send_to(Leg::to(*candidate), transmit) {
                // Asked again once there is room, quinn sends it to all of them again.
                Err(error) if place == 0 && error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                result => sent = sent.or(result),
            }
        }
        sent
    }

    /// Returns whether it is admitted: what a tunnel carries passes unseen; a packet of a handshake must
    /// belong to one that may be.
    fn admits(&self, packet: &[u8]) -> bool {
        let dropped = match packet.first() {
            Some(_) if is_of_handshake(packet) => match self.gate.judge(packet) {
                AdmissionVerdict::Passes => return true,
                AdmissionVerdict::Unproven => {
                    trace!("dropped a handshake's packet that no secret of ours has tagged");
                    &self.drops.unproven
                }
                AdmissionVerdict::Crowded => {
                    trace!("dropped a handshake's packet of a peer that has as many under way as it may");
                    &self.drops.crowded
                }
            },
            Some(_) => return true,
            None => return false,
        };
        count(dropped);
        false
    }

    fn queue_own(&self, from: Destination, packet: &[u8], validated: bool) {
        // One who does not know our route cannot fill the queue, and who does only a part of it.
        if packet.len() > PROBE_BYTES_MAX || own_route(packet) != Some(self.route) {
            if is_of_unknown_kind(packet) {
                metrics::counter!(UNKNOWN_WORDS, "kind" => "packet").increment(1);
                return count(&self.drops.unknown_kind);
            }
            return count(&self.drops.own_foreign);
        }
        let queued = if validated { None } else { Queued::one_more(&self.of_strangers) };
        let is_queued = (validated || queued.is_some()) && {
            let (from, bytes) = (from.canonical(), Bytes::copy_from_slice(packet));
            self.own_packets.try_send(OwnPacket { from, bytes, _of_strangers: queued }).is_ok()
        };
        if !is_queued {
            trace!(from = %from.canonical(), validated, "dropped a packet below QUIC: too many wait");
            count(&self.drops.own_queue_full);
        }
    }
}

/// Recognises a long header (RFC 9000 §17.2).
fn is_of_handshake(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0x80 != 0)
}

impl AsyncUdpSocket for AgentSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        WritablePoller::boxed(Arc::clone(&self.udp))
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let table = self.table.load();
        let route = quic_route(transmit.contents);
        let Some(leg) = route.and_then(|route| table.legs.get(&route)) else {
            let candidates = route.and_then(|route| table.candidates.get(&route));
            if let Some(candidates) = candidates.filter(|_| is_of_handshake(transmit.contents)) {
                return self.send_to_each(candidates, transmit);
            }
            // To quinn a packet without a route is a lost one.
            count(&self.drops.no_route);
            return Ok(());
        };
        self.send_to(*leg, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let carried = self.poll_carriers(cx, bufs, meta);
        let (bufs, meta) = (&mut bufs[carried..], &mut meta[carried..]);
        if bufs.is_empty() {
            return Poll::Ready(Ok(carried));
        }
        let count = match self.udp.poll_recv(cx, bufs, meta) {
            Poll::Pending if carried > 0 => 0,
            received => ready!(received)?,
        };
        let table = self.table.load();
        for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
            self.sort_batch(&table, buffer, meta);
        }
        Poll::Ready(Ok(carried + count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(VIRTUAL_PEER)
    }

    fn max_transmit_segments(&self) -> usize {
        self.udp.segments_per_send()
    }

    fn max_receive_segments(&self) -> usize {
        self.udp.segments_per_receive()
    }

    fn may_fragment(&self) -> bool {
        self.udp.may_fragment()
    }
}

impl fmt::Debug for AgentSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSocket").field("table", &self.table.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
