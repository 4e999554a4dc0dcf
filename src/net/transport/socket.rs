//! An agent's UDP socket as quinn sees it.
//!
//! It shows one constant virtual remote address for every peer. Outgoing packets carry
//! their route in the destination connection id; the table says where that route is now, so a path
//! can change underneath a live connection. Incoming packets reach quinn only from validated
//! sources, and those of a handshake only if it may be ([`super::admission`]). Our own packets (first byte below 0x40) never reach quinn; they go to the route keeper
//! through a bounded queue. What is decided about routes is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tracing::{debug, trace};

use super::admission::{Dial, Gate};
use super::udp::{SocketBuffers, UdpIo, WritablePoller, retain_segments};
use adit_core::domain::id::RouteId;
use adit_core::domain::limits::{OWN_PACKETS_OF_STRANGERS_MAX, OWN_PACKETS_QUEUED_MAX, PROBE_BYTES_MAX};
use adit_core::domain::word::UNKNOWN_WORDS;
use adit_core::protocol::admission::AdmissionVerdict;
use adit_core::protocol::packet::{is_of_unknown_kind, is_ours, own_route, quic_route};
use adit_core::protocol::route::canonical;

/// What quinn takes for the address of every peer.
pub const VIRTUAL_PEER: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 443, 0, 0));

/// Where each route is now, and from which addresses packets are taken.
#[derive(Debug, Default, Clone)]
struct RouteTable {
    addresses: BTreeMap<RouteId, SocketAddr>,
    /// Where routes may be whose first answer is waited for.
    candidates: BTreeMap<RouteId, Vec<SocketAddr>>,
    validated: BTreeSet<SocketAddr>,
    /// All of them; an address that is in none any more is a stranger's again.
    sources: BTreeSet<SocketAddr>,
}

/// A packet below QUIC and where it came from.
#[derive(Debug)]
pub struct OwnPacket {
    pub from: SocketAddr,
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

/// Packets that went nowhere, by reason.
#[derive(Debug, Default)]
pub struct SocketDrops {
    pub no_route: AtomicU64,
    pub unvalidated: AtomicU64,
    /// From port 0, where nobody can be answered.
    pub unanswerable: AtomicU64,
    /// Of handshakes that nobody with a connection's secret began, and of peers with too many.
    pub unproven: AtomicU64,
    pub crowded: AtomicU64,
    /// Of handshakes whose place was gone when QUIC saw them.
    pub unclaimed: AtomicU64,
    pub own_queue_full: AtomicU64,
    /// Ours, and of a kind that only a newer build knows.
    pub unknown_kind: AtomicU64,
    /// Packets below QUIC for another route than ours, or too long.
    pub own_foreign: AtomicU64,
    /// Packets below QUIC that are none.
    pub unreadable: AtomicU64,
    /// From a route that no live rule names.
    pub unknown_peer: AtomicU64,
    /// Of a peer's or the gateway's route, and not to be believed: see `PacketVerdict`.
    pub not_taken: AtomicU64,
    /// Of ours, because the kernel took none for so long.
    pub own_unsent: AtomicU64,
}

impl SocketDrops {
    /// Returns how many there were of each, by the word that metrics and log have for it.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 13] {
        [
            ("no_route", &self.no_route),
            ("unvalidated", &self.unvalidated),
            ("unanswerable", &self.unanswerable),
            ("unproven", &self.unproven),
            ("crowded", &self.crowded),
            ("unclaimed", &self.unclaimed),
            ("own_queue_full", &self.own_queue_full),
            ("unknown_kind", &self.unknown_kind),
            ("own_foreign", &self.own_foreign),
            ("unreadable", &self.unreadable),
            ("unknown_peer", &self.unknown_peer),
            ("not_taken", &self.not_taken),
            ("own_unsent", &self.own_unsent),
        ]
        .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }
}

pub(super) fn count(dropped: &AtomicU64) {
    dropped.fetch_add(1, Ordering::Relaxed);
}

/// One UDP socket for all tunnels and the control link of an agent.
pub struct AgentSocket {
    udp: Arc<UdpIo>,
    route: RouteId,
    table: ArcSwap<RouteTable>,
    own_packets: mpsc::Sender<OwnPacket>,
    of_strangers: Arc<AtomicUsize>,
    gate: Gate,
    drops: SocketDrops,
}

impl AgentSocket {
    /// Takes a bound socket for the agent whose packets carry `route`; gives the queue of our own
    /// packets for the route keeper.
    pub fn new(
        socket: std::net::UdpSocket,
        route: RouteId,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<OwnPacket>)> {
        let udp = Arc::new(UdpIo::new(socket)?);
        let (own_packets, queue) = mpsc::channel(OWN_PACKETS_QUEUED_MAX);
        let (table, gate, drops) = (ArcSwap::default(), Gate::new(route), SocketDrops::default());
        let of_strangers = Arc::default();
        let socket = Self { udp, route, table, own_packets, of_strangers, gate, drops };
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

    /// Sends packets of `route` to `address` from now on, and takes packets from there; from where
    /// it was before only if that address is validated.
    pub fn set_route(&self, route: RouteId, address: SocketAddr) {
        let address = self.udp.as_family(address);
        self.change_table(|table| {
            table.candidates.remove(&route);
            table.addresses.insert(route, address);
        });
    }

    /// Sends the packets of handshakes with `route` to each of `addresses` from now on. The first of them
    /// that answers becomes the route's, as [`Self::address_of`] then says; the others are strangers again.
    pub fn set_candidates(&self, route: RouteId, addresses: &[SocketAddr]) {
        let addresses: Vec<_> = addresses.iter().map(|address| self.udp.as_family(*address)).collect();
        self.change_table(|table| {
            table.addresses.remove(&route);
            table.candidates.insert(route, addresses.clone());
        });
    }

    /// Adds one, unless one has answered.
    pub fn add_candidate(&self, route: RouteId, address: SocketAddr) {
        let address = self.udp.as_family(address);
        self.change_table(|table| {
            table.candidates.get_mut(&route).into_iter().for_each(|candidates| candidates.push(address));
        });
    }

    /// Returns where packets of `route` are sent; `None` also while none of its candidates has answered.
    #[must_use]
    pub fn address_of(&self, route: RouteId) -> Option<SocketAddr> {
        self.table.load().addresses.get(&route).copied().map(canonical)
    }

    /// Takes packets from `address` beside those that routes are sent to.
    pub fn validate_source(&self, address: SocketAddr) {
        trace!(%address, "packets from here reach QUIC");
        let address = self.udp.as_family(address);
        self.change_table(|table| {
            table.validated.insert(address);
        });
    }

    /// Takes packets from `address` no more, unless a route is sent there.
    pub fn forget_source(&self, address: SocketAddr) {
        trace!(%address, "packets from here reach QUIC no more, unless a route is sent there");
        let address = self.udp.as_family(address);
        self.change_table(|table| {
            table.validated.remove(&address);
        });
    }

    /// Forgets where `route` is: packets for it are dropped.
    pub fn remove_route(&self, route: RouteId) {
        trace!(%route, "packets of this route are dropped from now on");
        self.change_table(|table| {
            table.candidates.remove(&route);
            table.addresses.remove(&route);
        });
    }

    /// Sends one of our own packets. `false`: the socket is full, try again when it is
    /// [`Self::writable`]. Any other failure is a lost packet, which is normal below QUIC.
    pub fn send_own(&self, to: SocketAddr, packet: &[u8]) -> bool {
        let destination = self.udp.as_family(to);
        let transmit =
            Transmit { destination, ecn: None, contents: packet, segment_size: None, src_ip: None };
        let sent = self.udp.try_send_own(&transmit);
        sent.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |()| true)
    }

    /// Waits until the kernel takes packets.
    pub async fn writable(&self) {
        self.udp.writable().await;
    }

    fn change_table(&self, change: impl Fn(&mut RouteTable)) {
        self.table.rcu(|table| {
            let mut table = RouteTable::clone(table);
            change(&mut table);
            let candidates = table.candidates.values().flatten();
            table.sources =
                table.validated.iter().chain(table.addresses.values()).chain(candidates).copied().collect();
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
        let validated = table.sources.contains(&from);
        retain_segments(buffer, meta, |packet| {
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
        });
    }

    /// Notes that `from` answered a handshake of ours: the routes that it may be the address of are there.
    fn resolve_candidates(&self, from: SocketAddr) {
        debug!(from = %canonical(from), "an address that was dialled has answered, and has the handshake");
        self.change_table(|table| {
            let RouteTable { addresses, candidates, .. } = table;
            candidates.retain(|route, candidates| {
                let is_there = candidates.contains(&from);
                if is_there {
                    addresses.insert(*route, from);
                }
                !is_there
            });
        });
    }

    /// Sends a handshake's packet for each of `candidates`. It is lost only where the kernel takes none at
    /// all.
    fn send_to_each(&self, candidates: &[SocketAddr], transmit: &Transmit) -> io::Result<()> {
        let mut sent = Ok(());
        for (place, address) in candidates.iter().enumerate() {
            let transmit = Transmit { destination: *address, src_ip: None, ..transmit.clone() };
            match self.udp.try_send(&transmit) {
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

    fn queue_own(&self, from: SocketAddr, packet: &[u8], validated: bool) {
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
            let (from, bytes) = (canonical(from), Bytes::copy_from_slice(packet));
            self.own_packets.try_send(OwnPacket { from, bytes, _of_strangers: queued }).is_ok()
        };
        if !is_queued {
            trace!(from = %canonical(from), validated, "dropped a packet below QUIC: too many wait");
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
        let Some(address) = route.and_then(|route| table.addresses.get(&route)) else {
            let candidates = route.and_then(|route| table.candidates.get(&route));
            if let Some(candidates) = candidates.filter(|_| is_of_handshake(transmit.contents)) {
                return self.send_to_each(candidates, transmit);
            }
            // To quinn a packet without a route is a lost one.
            count(&self.drops.no_route);
            return Ok(());
        };
        self.udp.try_send(&Transmit { destination: *address, src_ip: None, ..transmit.clone() })
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.udp.poll_recv(cx, bufs, meta))?;
        let table = self.table.load();
        for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
            self.sort_batch(&table, buffer, meta);
        }
        Poll::Ready(Ok(count))
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
mod tests {
    use std::future::poll_fn;
    use std::net::UdpSocket;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const HERE: RouteId = RouteId::from_bytes(*b"here 000");
    const THERE: RouteId = RouteId::from_bytes(*b"there 00");

    fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn address(udp: &UdpSocket) -> SocketAddr {
        udp.local_addr().unwrap()
    }

    fn agent() -> (Arc<AgentSocket>, mpsc::Receiver<OwnPacket>) {
        AgentSocket::new(udp(), HERE).unwrap()
    }

    /// Returns a QUIC packet with a short header, for `route`.
    fn quic(route: RouteId, mark: u8) -> Vec<u8> {
        [&[0x40][..], route.as_bytes(), &[mark; 30]].concat()
    }

    /// Returns a packet of ours for `route`, as far as the socket looks.
    fn own(route: RouteId, length: usize) -> Vec<u8> {
        let mut packet = [&[0x01][..], route.as_bytes()].concat();
        packet.resize(length, 0);
        packet
    }

    fn transmit(contents: &[u8]) -> Transmit<'_> {
        Transmit { destination: VIRTUAL_PEER, ecn: None, contents, segment_size: None, src_ip: None }
    }

    /// Sends as quinn does: again when the socket takes packets.
    async fn send(socket: &Arc<AgentSocket>, packet: &[u8]) {
        let mut poller = Arc::clone(socket).create_io_poller();
        while let Err(error) = socket.try_send(&transmit(packet)) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.unwrap();
        }
    }

    /// Returns what quinn is handed next, and from where it believes to have it.
    async fn handed(socket: &AgentSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_535];
        loop {
            let mut meta = [RecvMeta::default()];
            let received = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
            timeout(Duration::from_secs(20), received).await.expect("a packet arrives").unwrap();
            if meta[0].len > 0 {
                return (buffer[..meta[0].len].to_vec(), meta[0].addr);
            }
        }
    }

    #[tokio::test]
    async fn a_packet_below_quic_for_another_route_is_counted() {
        let (socket, _queue) = agent();
        let (stranger, peer) = (udp(), udp());
        socket.validate_source(address(&peer));
        stranger.send_to(&own(THERE, 100), socket.bound().unwrap()).unwrap();
        peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
        handed(&socket).await;
        let dropped: Vec<_> = socket.drops().all().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(dropped, [("own_foreign", 1)]);
    }

    #[tokio::test]
    async fn a_packet_of_a_stranger_never_reaches_quinn() {
        let (socket, _queue) = agent();
        let (stranger, peer) = (udp(), udp());
        socket.validate_source(address(&peer));
        stranger.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
        peer.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
        assert_eq!(handed(&socket).await, (quic(HERE, 2), VIRTUAL_PEER));
        assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_comes_from_port_zero_is_nobodys() {
        let (socket, mut queue) = agent();
        let mut buffer = own(HERE, 65);
        let mut meta = RecvMeta { len: 65, stride: 65, ..RecvMeta::default() };
        meta.addr = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.sort_batch(&socket.table.load(), &mut buffer, &mut meta);
        assert!(queue.try_recv().is_err());
        assert_eq!(meta.len, 0);
    }

    #[tokio::test]
    async fn an_address_that_a_route_has_left_is_a_strangers_again() {
        let (socket, _queue) = agent();
        let (before, validated, now) = (udp(), udp(), udp());
        socket.set_route(THERE, address(&before));
        socket.validate_source(address(&validated));
        socket.set_route(THERE, address(&validated));
        socket.set_route(THERE, address(&now));
        for udp in [&before, &validated, &now] {
            udp.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
        }
        for _ in 0..2 {
            handed(&socket).await;
        }
        assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 1);

        // Taken back while it was in use, as when a peer's agent is restarted.
        socket.validate_source(address(&now));
        socket.forget_source(address(&now));
        socket.forget_source(address(&validated));
        socket.set_route(THERE, address(&before));
        for udp in [&validated, &now, &before] {
            udp.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
        }
        handed(&socket).await;
        assert_eq!(socket.drops().unvalidated.load(Ordering::Relaxed), 3);
        assert_eq!(socket.table.load().sources.len(), 1);
    }

    #[tokio::test]
    async fn a_packet_goes_only_where_its_route_is() {
        let (socket, _queue) = agent();
        let (one, other) = (udp(), udp());
        socket.set_route(THERE, address(&one));
        send(&socket, &quic(THERE, 1)).await;
        socket.set_route(THERE, address(&other));
        send(&socket, &quic(THERE, 2)).await;
        send(&socket, &quic(HERE, 3)).await;
        socket.remove_route(THERE);
        send(&socket, &quic(THERE, 4)).await;
        for (udp, mark) in [(&one, 1), (&other, 2)] {
            let mut buffer = [0; 100];
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&quic(THERE, mark)[..], socket.bound().unwrap()));
            udp.set_nonblocking(true).unwrap();
            assert!(udp.recv_from(&mut buffer).is_err(), "one packet and no more");
        }
        assert_eq!(socket.drops().no_route.load(Ordering::Relaxed), 2);
    }

    /// Has `socket` take `count` packets of our own from `sender`, a few at a time, so that no kernel's
    /// buffer overflows first; `peer` shows that they were taken.
    async fn take_own(socket: &AgentSocket, sender: &UdpSocket, count: usize, peer: &UdpSocket) {
        for _ in 0..count / 8 {
            for _ in 0..8 {
                sender.send_to(&own(HERE, 65), socket.bound().unwrap()).unwrap();
            }
            peer.send_to(&quic(HERE, 1), socket.bound().unwrap()).unwrap();
            assert_eq!(handed(socket).await.0, quic(HERE, 1));
        }
    }

    #[tokio::test]
    async fn our_own_packets_are_queued_up_to_the_bound_without_reaching_quinn() {
        let (socket, mut queue) = agent();
        let (stranger, peer) = (udp(), udp());
        socket.validate_source(address(&peer));
        // Too long, for another, of no kind: none of them takes a place.
        for junk in [&own(HERE, PROBE_BYTES_MAX + 1)[..], &own(THERE, 65), &[0x3f; 65], &[0x01]] {
            stranger.send_to(junk, socket.bound().unwrap()).unwrap();
        }
        take_own(&socket, &peer, OWN_PACKETS_QUEUED_MAX + 8, &peer).await;
        assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 8);
        for _ in 0..OWN_PACKETS_QUEUED_MAX {
            let packet = queue.try_recv().unwrap();
            assert_eq!((packet.from, packet.bytes.len()), (address(&peer), 65));
        }
        assert!(queue.try_recv().is_err());
    }

    #[tokio::test]
    async fn strangers_fill_no_more_than_their_part_of_the_queue() {
        let (socket, mut queue) = agent();
        let (stranger, peer) = (udp(), udp());
        socket.validate_source(address(&peer));
        take_own(&socket, &stranger, OWN_PACKETS_OF_STRANGERS_MAX + 80, &peer).await;
        assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 80);
        take_own(&socket, &peer, 80, &peer).await;
        assert_eq!(socket.drops().own_queue_full.load(Ordering::Relaxed), 80);
        for sender in [(&stranger, OWN_PACKETS_OF_STRANGERS_MAX), (&peer, 80)] {
            for _ in 0..sender.1 {
                assert_eq!(queue.try_recv().unwrap().from, address(sender.0));
            }
        }
        // What was taken out makes room.
        take_own(&socket, &stranger, 8, &peer).await;
        assert_eq!(queue.try_recv().unwrap().from, address(&stranger));
    }

    #[tokio::test]
    async fn a_handshake_that_nobody_entitled_began_never_reaches_quinn() {
        let (socket, _queue) = agent();
        let peer = udp();
        socket.validate_source(address(&peer));
        let long = |first: u8, destination: &[u8]| {
            let length = u8::try_from(destination.len()).unwrap();
            let mut packet = [&[first, 0, 0, 0, 1, length][..], destination, &[14], &[5; 14]].concat();
            packet.resize(1_200, 0);
            packet
        };
        let first = [&HERE.as_bytes()[..], &[9; 12]].concat();
        let known = [&HERE.as_bytes()[..], &[9; 6]].concat();
        let mut negotiation = long(0xc0, &known);
        negotiation[4] = 0;
        for packet in [long(0xc0, &first), long(0xc0, &known), long(0xd0, &first), negotiation] {
            peer.send_to(&packet, socket.bound().unwrap()).unwrap();
        }
        peer.send_to(&quic(HERE, 2), socket.bound().unwrap()).unwrap();
        assert_eq!(handed(&socket).await.0, quic(HERE, 2));
        assert_eq!(socket.drops().unproven.load(Ordering::Relaxed), 4);
    }
}
