//! The loop of the relay's thread: commands, one batch in, its packets out, then messages of carriers.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn::udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tracing::{debug, info_span, trace, warn};

use super::carriers::{self, CarrierOutbox, CarrierRefusal, Inbound};
use super::counters::{RelayCounters, Tally};
use super::outbox::{Outbox, Parcel};
use super::{EventFd, RelayCommand};
use crate::transport::gateway_socket::OwnDatagram;
use adit_core::domain::id::CarrierId;
use adit_core::domain::limits::{
    GATEWAY_OWN_BYTES_MAX, GATEWAY_OWN_OF_BATCH_MAX, RELAY_CARRIER_MESSAGES_AT_ONCE_MAX,
    RELAY_CARRIER_PACKETS_AT_ONCE_MAX,
};
use adit_core::protocol::carrier;
use adit_core::protocol::relay::{ANSWER_BYTES, DropReason, Relay, RelayEvent, RelayVerdict, Source};
use adit_core::protocol::text::listed;
use adit_core::protocol::token_bucket::TokenBucket;

/// Room for the largest message that the kernel gathers.
const MESSAGE_BYTES: usize = 64 * 1024;
/// Blocks that own packets are copied into; many share one.
const OWN_BLOCK_BYTES: usize = 64 * 1024;
/// How often those who lapsed are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Every path carries QUIC packets of this length (RFC 9000 §14), so a send of many such fails only
/// where the kernel cannot segment at all.
const STRIDE_ALWAYS: usize = 1_200;
/// How many refused registrations have a line at once, and how soon there is one more: strangers cause them.
const REFUSALS_SAID_BURST: u32 = 20;
const REFUSALS_SAID_EACH: Duration = Duration::from_millis(100);

/// Through which the thread is fed and hands on.
pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<RelayCommand>,
    pub(super) inbox: mpsc::Receiver<Inbound>,
    pub(super) own: mpsc::Sender<OwnDatagram>,
    pub(super) event_fd: Arc<EventFd>,
}

pub(super) struct Forwarder {
    relay: Relay,
    commands: mpsc::Receiver<RelayCommand>,
    inbox: mpsc::Receiver<Inbound>,
    event_fd: Arc<EventFd>,
    carriers: CarrierOutbox,
    answer: Box<[u8; ANSWER_BYTES]>,
    wire: Wire,
    own: OwnQueue,
    outbox: Outbox,
    tally: Tally,
    counters: Arc<RelayCounters>,
    /// The socket serves every address of this host, so answers must name theirs.
    serves_many: bool,
    swept: Instant,
    refusals_said: TokenBucket,
}

impl Forwarder {
    pub(super) fn new(
        udp: Arc<UdpSocket>,
        relay: Relay,
        queues: Queues,
        carriers: CarrierOutbox,
        counters: Arc<RelayCounters>,
    ) -> io::Result<Self> {
        let serves_many = udp.local_addr()?.ip().is_unspecified();
        let Queues { commands, inbox, own, event_fd } = queues;
        Ok(Self {
            relay,
            commands,
            inbox,
            event_fd,
            carriers,
            answer: Box::new([0; ANSWER_BYTES]),
            wire: Wire::new(udp)?,
            own: OwnQueue { queue: own, block: BytesMut::new(), of_batch: 0 },
            outbox: Outbox::new(),
            tally: Tally::default(),
            counters,
            serves_many,
            swept: Instant::now(),
            refusals_said: TokenBucket::every(REFUSALS_SAID_BURST, REFUSALS_SAID_EACH),
        })
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut received = vec![0; BATCH_SIZE * MESSAGE_BYTES].into_boxed_slice();
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let _span = info_span!("relay").entered();
        debug!(batch = BATCH_SIZE, many_addresses = self.serves_many, "the relay's thread runs");
        while !stop.load(Ordering::Relaxed) {
            self.handle_commands();
            self.forget_ended();
            let count = self.wire.receive(&mut received, &mut metas);
            let now = Instant::now();
            for (message, meta) in metas[..count].iter().enumerate() {
                self.sort(&received, message * MESSAGE_BYTES, meta, now);
            }
            self.send(&received);
            self.own.of_batch = 0;
            let has_more = self.handle_messages(now);
            self.own.of_batch = 0;
            self.carriers.flush();
            if now.saturating_duration_since(self.swept) >= SWEEP_EVERY {
                self.sweep(now);
            }
            self.tally.publish(&self.counters);
            // A batch with room left has emptied the socket; asking it again costs more than the wait.
            if count < BATCH_SIZE && !has_more {
                self.wait();
            }
        }
        debug!("the relay's thread was told to end");
    }

    fn handle_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let outcome = match command {
                RelayCommand::Join { route, organization, key } => {
                    debug!(%route, %organization, "an agent may register, with the key of its link");
                    self.relay.join(route, organization, *key)
                }
                RelayCommand::Permit { route, peers } => {
                    debug!(%route, peers = %listed(&peers), "packets pass between these, where each permits it");
                    self.relay.permit(route, peers)
                }
                RelayCommand::Leave { route } => {
                    debug!(%route, "an agent registers no more; what it registered lapses");
                    self.relay.leave(route);
                    Ok(())
                }
                RelayCommand::Remove { route } => {
                    debug!(%route, "an agent is removed: no packet passes from it or to it");
                    self.relay.remove(route);
                    Ok(())
                }
                RelayCommand::Traffic { answer } => {
                    // Who asked may have gone.
                    let _ = answer.send(self.relay.traffic().collect());
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                warn!(%error, "an agent or some of its peers are not relayed");
            }
        }
    }

    /// Judges every packet of one message, which starts at `base`.
    fn sort(&mut self, received: &[u8], base: usize, meta: &RecvMeta, now: Instant) {
        if carriers::carrier_at(meta.addr).is_some() {
            return self
                .tally
                .dropped(DropReason::FalseAddress, meta.len.div_ceil(meta.stride.max(1)) as u64);
        }
        let local = meta.dst_ip.filter(|_| self.serves_many);
        self.relay.arrived_at(local);
        let origin = Origin { source: Source::Udp(meta.addr), address: meta.addr, local, ecn: meta.ecn };
        let (mut start, end) = (base, base + meta.len);
        while start < end {
            let next = (start + meta.stride.max(1)).min(end);
            self.judge(&origin, received, start, next, now);
            start = next;
        }
    }

    /// Judges the packets of messages that came over carriers; returns whether there may be more. Each goes on
    /// before the next is looked at: it is one buffer.
    fn handle_messages(&mut self, now: Instant) -> bool {
        let (mut messages, mut judged) = (0, 0);
        while messages < RELAY_CARRIER_MESSAGES_AT_ONCE_MAX && judged < RELAY_CARRIER_PACKETS_AT_ONCE_MAX {
            let Ok(Inbound { carrier: id, message }) = self.inbox.try_recv() else { return false };
            messages += 1;
            if !self.carriers.serves(id) {
                // What an ended one left must not register it anew.
                self.tally
                    .dropped(DropReason::CarrierEnded, carrier::packets(&message).flatten().count() as u64);
                continue;
            }
            self.relay.arrived_at(None);
            let address = carriers::address_of(id);
            let origin = Origin { source: Source::Carrier(id), address, local: None, ecn: None };
            let mut start = 0;
            for packet in carrier::packets(&message) {
                let Ok(packet) = packet else {
                    self.tally.dropped(DropReason::Malformed, 1);
                    self.refuse(id, CarrierRefusal::Misframed);
                    break;
                };
                judged += 1;
                start += carrier::LENGTH_BYTES;
                self.judge(&origin, &message, start, start + packet.len(), now);
                start += packet.len();
            }
            self.send(&message);
        }
        true
    }

    /// Judges one packet.
    #[inline]
    fn judge(&mut self, origin: &Origin, received: &[u8], start: usize, end: usize, now: Instant) {
        let packet = &received[start..end];
        match self.relay.handle(origin.source, packet, now, &mut self.answer) {
            RelayVerdict::Forward { to: Source::Udp(to), pair } => {
                self.outbox.push((pair, to, origin.ecn), start, end);
            }
            RelayVerdict::Forward { to: Source::Carrier(id), .. } => match self.carriers.push(id, packet) {
                Ok(()) => {
                    self.tally.packets += 1;
                    self.tally.bytes += packet.len() as u64;
                }
                Err(reason) => self.tally.dropped(reason, 1),
            },
            RelayVerdict::Answer { length } => {
                let event = self.relay.take_event();
                log_answer(event, origin.source);
                self.note_place(event, origin.source);
                let answer = &self.answer[..length];
                let sent = match origin.source {
                    Source::Udp(to) => self.wire.send_one(to, origin.local, answer),
                    Source::Carrier(id) => self.carriers.push(id, answer),
                };
                match sent {
                    Ok(()) => self.tally.answers += 1,
                    Err(reason) => self.tally.dropped(reason, 1),
                }
            }
            RelayVerdict::Own => match self.own.push(packet, origin) {
                Ok(()) => self.tally.own += 1,
                Err(reason) => self.tally.dropped(reason, 1),
            },
            RelayVerdict::Drop(reason) => {
                self.tally.dropped(reason, 1);
                if is_of_registration(reason) && self.refusals_said.try_take(now) {
                    debug!(from = %origin.source, reason = reason.as_str(), "a packet for the relay is refused");
                }
            }
        }
    }

    /// Notes what a registration means for carriers: this one is proven, and the one before is nobody's.
    fn note_place(&mut self, event: Option<RelayEvent>, source: Source) {
        let (Source::Carrier(id), Some(RelayEvent::Registered { before, .. })) = (source, event) else {
            return;
        };
        self.carriers.note_proof(id);
        if let Some(Source::Carrier(before)) = before
            && before != id
        {
            self.refuse(before, CarrierRefusal::Replaced);
        }
    }

    fn refuse(&mut self, id: CarrierId, why: CarrierRefusal) {
        self.carriers.refuse(id, why);
        self.relay.end_carrier(id);
    }

    /// Forgets carriers that have ended by themselves.
    fn forget_ended(&mut self) {
        for id in self.carriers.take_ended() {
            debug!(carrier = %id, "a carrier has ended");
            self.relay.end_carrier(id);
        }
    }

    fn send(&mut self, received: &[u8]) {
        let Self { relay, wire, outbox, tally, .. } = self;
        let segments_max = wire.state.max_gso_segments();
        outbox.flush(received, segments_max, |parcel| {
            wire.send(&parcel, relay.local_of(parcel.pair), tally);
        });
    }

    fn sweep(&mut self, now: Instant) {
        self.relay.forget_lapsed(now);
        let (before, registered) = (self.tally.registered, self.relay.registered(now) as u64);
        if registered != before {
            debug!(before, now = registered, "agents that the relay reaches");
        }
        self.tally.registered = registered;
        let Self { relay, carriers, .. } = self;
        let (refused, proven) = carriers.sweep(now, |id| relay.is_proven(id, now));
        for id in refused {
            relay.end_carrier(id);
        }
        self.tally.carriers = self.carriers.count() as u64;
        self.tally.proven_carriers = proven as u64;
        self.tally.dropped(DropReason::CarrierFull, self.carriers.take_lost());
        self.swept = now;
    }

    /// Waits until a packet comes, an order, or the next sweep.
    fn wait(&self) {
        let mut fds =
            [PollFd::new(&*self.wire.udp, PollFlags::IN), PollFd::new(&self.event_fd.fd, PollFlags::IN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        if fds[1].revents().contains(PollFlags::IN) {
            self.event_fd.clear();
        }
    }
}

/// Returns whether only packets of our own are dropped for it: of others there is no line, but a count.
const fn is_of_registration(reason: DropReason) -> bool {
    use DropReason::{Forged, NoLink, Replayed, TooMany, Unexpected};
    matches!(reason, Forged | NoLink | Replayed | TooMany | Unexpected)
}

/// Where a packet came from, and how.
struct Origin {
    source: Source,
    /// The same as quinn knows it.
    address: SocketAddr,
    local: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

fn log_answer(event: Option<RelayEvent>, at: Source) {
    match event {
        Some(RelayEvent::Challenged { route }) => trace!(%route, %at, "an agent is challenged"),
        Some(RelayEvent::Registered { route, before: None }) => {
            debug!(%route, %at, "an agent has registered");
        }
        Some(RelayEvent::Answered { route }) => trace!(%route, %at, "an agent's probe is answered"),
        Some(RelayEvent::Registered { route, before: Some(before) }) if before != at => {
            debug!(%route, %before, %at, "an agent is reached at another place");
        }
        Some(RelayEvent::Registered { route, .. }) => trace!(%route, %at, "an agent has registered again"),
        None => trace!(%at, "an answer is repeated"),
    }
}

/// The socket, as far as the kernel's batches go.
struct Wire {
    udp: Arc<UdpSocket>,
    /// Not the endpoint's: what the kernel refuses here says nothing about its packets.
    state: UdpSocketState,
    /// What the kernel refuses of answers must not decide how packets are forwarded.
    state_of_answers: UdpSocketState,
    /// Longer packets go one by one: the kernel refused to send many of their length at once.
    stride_max: usize,
    /// What the kernel refused last: a stream of the same has one line.
    refused: Option<(SocketAddr, Option<i32>)>,
}

impl Wire {
    fn new(udp: Arc<UdpSocket>) -> io::Result<Self> {
        let state = UdpSocketState::new((&*udp).into())?;
        let state_of_answers = UdpSocketState::new((&*udp).into())?;
        Ok(Self { udp, state, state_of_answers, stride_max: usize::MAX, refused: None })
    }

    /// Receives; returns how many messages came, each in its part of `received`.
    fn receive(&self, received: &mut [u8], metas: &mut [RecvMeta; BATCH_SIZE]) -> usize {
        let mut parts = received.chunks_exact_mut(MESSAGE_BYTES);
        let mut slices: [IoSliceMut; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        match self.state.recv((&*self.udp).into(), &mut slices, metas) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    debug!(%error, "the relay's socket could not be read; trying again");
                }
                0
            }
        }
    }

    /// Sends a packet of ours, or says why it did not go out.
    fn send_one(&self, to: SocketAddr, local: Option<IpAddr>, contents: &[u8]) -> Result<(), DropReason> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: local };
        self.state_of_answers.try_send((&*self.udp).into(), &transmit).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DropReason::SocketFull,
            _ => DropReason::Unsendable,
        })
    }

    /// Sends or drops: to QUIC a packet that does not fit is a lost one.
    fn send(&mut self, parcel: &Parcel, local: Option<IpAddr>, tally: &mut Tally) {
        let is_many = parcel.segments() > 1;
        if is_many && parcel.stride > self.stride_max {
            return self.send_singly(parcel, local, tally);
        }
        let transmit = Transmit {
            destination: parcel.to,
            ecn: parcel.ecn,
            contents: parcel.contents,
            segment_size: is_many.then_some(parcel.stride),
            src_ip: local,
        };
        match self.state.try_send((&*self.udp).into(), &transmit) {
            Ok(()) => {
                tally.sends += 1;
                tally.packets += parcel.segments() as u64;
                tally.bytes += parcel.contents.len() as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tally.dropped(DropReason::SocketFull, parcel.segments() as u64);
            }
            Err(error) if is_many && is_about_segments(&error) => {
                self.note_refusal(parcel.stride);
                self.send_singly(parcel, local, tally);
            }
            Err(error) => {
                tally.dropped(DropReason::Unsendable, parcel.segments() as u64);
                let refused = Some((parcel.to, error.raw_os_error()));
                if self.refused != refused {
                    self.refused = refused;
                    debug!(to = %parcel.to, %error, "the kernel refuses to send there");
                }
                if is_about_segments(&error) {
                    self.ask_anew();
                }
            }
        }
    }

    fn send_singly(&mut self, parcel: &Parcel, local: Option<IpAddr>, tally: &mut Tally) {
        for contents in parcel.contents.chunks(parcel.stride) {
            self.send(&Parcel { contents, ..*parcel }, local, tally);
        }
    }

    /// Notes a refusal: either these packets are too long for the way they go, or the kernel cannot segment
    /// at all. quinn takes the first for the second and would never try again, for nobody.
    fn note_refusal(&mut self, stride: usize) {
        if stride <= STRIDE_ALWAYS {
            return;
        }
        debug!(longest = stride - 1, "longer packets go one by one: the kernel refused many at a time");
        self.stride_max = stride - 1;
        self.ask_anew();
    }

    /// Asks again: quinn takes some refusals for a kernel without segmentation, for good.
    fn ask_anew(&mut self) {
        if let Ok(state) = UdpSocketState::new((&*self.udp).into()) {
            self.state = state;
        }
    }
}

fn is_about_segments(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::IO].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Towards the gateway's own endpoint.
struct OwnQueue {
    queue: mpsc::Sender<OwnDatagram>,
    block: BytesMut,
    /// Queued from this batch: a flood of them must not hold up what is relayed.
    of_batch: usize,
}

impl OwnQueue {
    fn push(&mut self, packet: &[u8], origin: &Origin) -> Result<(), DropReason> {
        if packet.len() > GATEWAY_OWN_BYTES_MAX {
            return Err(DropReason::Malformed);
        }
        if self.of_batch >= GATEWAY_OWN_OF_BATCH_MAX || self.queue.capacity() == 0 {
            return Err(DropReason::OwnQueueFull);
        }
        self.of_batch += 1;
        if self.block.capacity() < packet.len() {
            self.block.reserve(OWN_BLOCK_BYTES);
        }
        self.block.extend_from_slice(packet);
        let bytes = self.block.split().freeze();
        let &Origin { address, local, ecn, .. } = origin;
        let datagram = OwnDatagram { from: address, local, ecn, bytes };
        self.queue.try_send(datagram).map_err(|_| DropReason::OwnQueueFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::relay::carriers::Carriers;
    use crate::transport::relay::tests::{pairs, relay};

    /// Returns a thread's parts without the thread, and where its own packets arrive.
    fn forwarder() -> (Forwarder, Arc<Carriers>, mpsc::Receiver<OwnDatagram>) {
        let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let event_fd = Arc::new(EventFd::new().unwrap());
        let (own, arrived) = mpsc::channel(GATEWAY_OWN_OF_BATCH_MAX * 2);
        let (_, commands) = mpsc::channel(1);
        let (carriers, inbox) = Carriers::new(Arc::clone(&event_fd));
        let queues = Queues { commands, inbox, own, event_fd };
        let outbox = CarrierOutbox::new(Arc::clone(&carriers));
        (Forwarder::new(udp, relay(), queues, outbox, Arc::default()).unwrap(), carriers, arrived)
    }

    #[test]
    fn a_packet_from_udp_in_a_carriers_name_goes_nowhere() {
        let (mut forwarder, carriers, mut arrived) = forwarder();
        let carrier = carriers.open(([192, 0, 2, 1], 7).into()).unwrap();
        let mut received = [0x40; 3 * 100];
        received[1..9].copy_from_slice(b"gateway0");
        let meta = |addr| {
            let mut meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (addr, 300, 100);
            meta
        };
        forwarder.sort(&received, 0, &meta(carriers::address_of(carrier.id())), Instant::now());
        assert!(arrived.try_recv().is_err());
        assert_eq!(forwarder.tally.drops(DropReason::FalseAddress), 3);
        forwarder.sort(&received, 0, &meta(([192, 0, 2, 1], 7).into()), Instant::now());
        assert!(arrived.try_recv().is_ok());
    }

    /// Queues a message of a carrier that holds this packet so many times.
    fn deliver(carriers: &Carriers, carrier: CarrierId, packet: &[u8], times: usize) {
        let mut message = BytesMut::new();
        for _ in 0..times {
            assert!(carrier::append(&mut message, packet));
        }
        carriers.inbox.try_send(Inbound { carrier, message: message.freeze() }).unwrap();
    }

    #[test]
    fn a_flood_of_tiny_packets_over_carriers_lets_udp_have_its_turn() {
        let (mut forwarder, carriers, _arrived) = forwarder();
        let carrier = carriers.open(([192, 0, 2, 1], 7).into()).unwrap();
        for _ in 0..3 {
            deliver(&carriers, carrier.id(), &[0x40], RELAY_CARRIER_PACKETS_AT_ONCE_MAX);
        }
        for turn in 1..=3 {
            assert!(forwarder.handle_messages(Instant::now()), "there may be more");
            let judged = forwarder.tally.drops(DropReason::Malformed);
            assert_eq!(judged, turn * RELAY_CARRIER_PACKETS_AT_ONCE_MAX as u64);
        }
        assert!(!forwarder.handle_messages(Instant::now()));
    }

    #[test]
    fn a_flood_for_the_gateway_over_carriers_takes_a_bounded_part_too() {
        let (mut forwarder, carriers, mut arrived) = forwarder();
        let carrier = carriers.open(([192, 0, 2, 1], 7).into()).unwrap();
        let mut own = [0x40; 100];
        own[1..9].copy_from_slice(b"gateway0");
        for _ in 0..3 {
            deliver(&carriers, carrier.id(), &own, GATEWAY_OWN_OF_BATCH_MAX / 2 + 1);
        }
        forwarder.handle_messages(Instant::now());
        let taken = std::iter::from_fn(|| arrived.try_recv().ok()).count();
        assert_eq!(taken, GATEWAY_OWN_OF_BATCH_MAX);
    }

    #[test]
    fn what_an_ended_carrier_has_left_is_not_looked_at() {
        let (mut forwarder, carriers, mut arrived) = forwarder();
        let carrier = carriers.open(([192, 0, 2, 1], 7).into()).unwrap();
        let mut own = [0x40; 100];
        own[1..9].copy_from_slice(b"gateway0");
        deliver(&carriers, carrier.id(), &own, 2);
        drop(carrier);
        forwarder.forget_ended();
        forwarder.handle_messages(Instant::now());
        assert!(arrived.try_recv().is_err());
        assert_eq!(forwarder.tally.drops(DropReason::CarrierEnded), 2);
    }

    #[test]
    fn an_event_fd_that_is_raised_twice_is_written_once_and_raised_again_after_it_was_seen() {
        let event_fd = EventFd::new().unwrap();
        let is_readable = || rustix::io::read(&event_fd.fd, &mut [0; 8]).is_ok();
        event_fd.signal();
        event_fd.signal();
        assert!(is_readable() && !is_readable());
        event_fd.signal();
        assert!(!is_readable(), "nobody has seen the first");
        event_fd.clear();
        event_fd.signal();
        assert!(is_readable());
    }

    #[test]
    fn a_flood_for_the_gateway_takes_a_bounded_part_of_each_batch() {
        let (queue, mut arrived) = mpsc::channel(GATEWAY_OWN_OF_BATCH_MAX * 2);
        let mut own = OwnQueue { queue, block: BytesMut::new(), of_batch: 0 };
        let address = SocketAddr::from(([192, 0, 2, 1], 7));
        let origin = Origin { source: Source::Udp(address), address, local: None, ecn: None };
        for _batch in 0..2 {
            let taken = (0..1_000).filter(|_| own.push(&[0x40; 100], &origin).is_ok()).count();
            assert_eq!(taken, GATEWAY_OWN_OF_BATCH_MAX);
            own.of_batch = 0;
        }
        assert_eq!(own.push(&[0x40; 100], &origin), Err(DropReason::OwnQueueFull));
        assert_eq!(arrived.try_recv().unwrap().bytes[..], [0x40; 100]);
        assert_eq!(own.push(&[0; GATEWAY_OWN_BYTES_MAX + 1], &origin), Err(DropReason::Malformed));
        assert_eq!(own.push(&[0; GATEWAY_OWN_BYTES_MAX], &origin), Ok(()));
    }

    #[test]
    fn only_packets_whose_length_the_kernel_refused_to_batch_go_one_by_one() {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (receiver, mut tally) = (bind(), Tally::default());
        let mut wire = Wire::new(Arc::new(bind())).unwrap();
        wire.note_refusal(STRIDE_ALWAYS);
        assert_eq!(wire.stride_max, usize::MAX, "that says nothing about lengths");
        wire.note_refusal(STRIDE_ALWAYS + 300);
        assert_eq!(wire.stride_max, STRIDE_ALWAYS + 299);
        assert!(wire.state.max_gso_segments() > 1, "the kernel is asked again");
        let contents = [7; 4_000];
        let parcel = |stride| Parcel {
            pair: pairs()[0],
            to: receiver.local_addr().unwrap(),
            ecn: None,
            contents: &contents,
            stride,
        };
        for (stride, sends) in [(STRIDE_ALWAYS + 299, 1), (STRIDE_ALWAYS + 300, 3)] {
            let before = (tally.sends, tally.packets);
            wire.send(&parcel(stride), None, &mut tally);
            assert_eq!((tally.sends - before.0, tally.packets - before.1), (sends, 3));
            let lengths: Vec<_> = (0..3).map(|_| receiver.recv(&mut [0; 4_000]).unwrap()).collect();
            assert_eq!(lengths, [stride, stride, 4_000 - 2 * stride]);
        }
    }
}
