//! The carriers that the gateway serves: what lies between each one's WebSocket and the relay's thread.
//!
//! Packets to a carrier wait in a bounded queue of its own, so a slow reader fills only that; messages from
//! all of them share one bounded queue, and TCP holds back who sends more. Each queue has a lock of its own,
//! held for a copy or a swap: the thread and the gateway's endpoint fill it, the carrier's task empties it.
//! The packets between two UDP addresses meet none of them. Which carrier is whose, and for how long it
//! counts as proven, is decided in [`adit_core::protocol::relay`].
//!
//! quinn knows only addresses, so each carrier has one that nobody has outside: of the prefix whose packets
//! every router discards (RFC 6666).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};
use tracing::debug;

use super::EventFd;
use crate::transport::carrier::queues::Waiting;
use crate::transport::carrier::websocket::{Ended, WebSocket};
use adit_core::domain::id::CarrierId;
use adit_core::domain::limits::{
    CARRIER_PROVEN_WITHIN, CARRIER_UNPROVEN_BYTES_MAX, CARRIERS_MAX, RELAY_CARRIER_MESSAGES_QUEUED_MAX,
};
use adit_core::protocol::relay::DropReason;

/// The discard prefix (RFC 6666), whose last eight bytes name the carrier.
const PREFIX: u64 = 0x0100_0000_0000_0000;
/// quinn takes no port 0.
const PORT: u16 = 443;

/// Returns the address at which quinn knows a carrier.
pub(in crate::transport) fn address_of(id: CarrierId) -> SocketAddr {
    let ip = Ipv6Addr::from_bits(u128::from(PREFIX) << 64 | u128::from(id.0));
    SocketAddr::new(IpAddr::V6(ip), PORT)
}

/// Returns which carrier quinn knows at this address; `None` for all addresses that others have.
#[inline]
pub(in crate::transport) fn carrier_at(address: SocketAddr) -> Option<CarrierId> {
    let SocketAddr::V6(v6) = address else { return None };
    let (prefix, id) = halves(v6.ip().to_bits());
    (prefix == PREFIX).then_some(CarrierId(id))
}

const fn halves(bits: u128) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "each half is what stands in its eight bytes")]
    let halves = ((bits >> 64) as u64, bits as u64);
    halves
}

/// Why the relay serves a carrier no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarrierRefusal {
    #[error("no agent has proven itself over it within {} s", CARRIER_PROVEN_WITHIN.as_secs())]
    NeverProven,
    #[error("its agent has not proven itself lately, or is not welcome any more")]
    Lapsed,
    #[error("its agent has another by now")]
    Replaced,
    #[error("a message on it holds no packets as they are framed")]
    Misframed,
    #[error("more came over it than an agent sends before it has proven itself")]
    Talkative,
}

impl CarrierRefusal {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverProven => "never_proven",
            Self::Lapsed => "lapsed",
            Self::Replaced => "replaced",
            Self::Misframed => "misframed",
            Self::Talkative => "talkative",
        }
    }
}

/// Why a carrier ended.
#[derive(Debug, thiserror::Error)]
pub enum CarrierEnded {
    #[error(transparent)]
    Refused(#[from] CarrierRefusal),
    #[error(transparent)]
    WebSocket(#[from] Ended),
    #[error("the relay's thread has ended")]
    RelayGone,
}

impl CarrierEnded {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(why) => why.as_str(),
            Self::WebSocket(Ended::Closed) => "closed",
            Self::WebSocket(Ended::Broken(_)) => "broken",
            Self::WebSocket(Ended::Misbehaved { .. }) => "misbehaved",
            Self::RelayGone => "relay_gone",
        }
    }
}

/// Whether anybody has proven to own a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unproven,
    Proven,
    Refused(CarrierRefusal),
}

/// What the thread, the endpoint and the carrier's task share of one carrier.
#[derive(Debug)]
struct Shared {
    id: CarrierId,
    /// Where its TCP connection comes from.
    peer: SocketAddr,
    opened: Instant,
    waiting: Mutex<Waiting>,
    filled: Notify,
    phase: watch::Sender<Phase>,
}

/// One message from a carrier.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) carrier: CarrierId,
    pub(super) message: Bytes,
}

/// All that are served.
#[derive(Debug)]
pub struct Carriers {
    open: RwLock<HashMap<CarrierId, Arc<Shared>>>,
    opened: AtomicU64,
    /// Those that ended by themselves, which the relay must forget.
    ended: Mutex<Vec<CarrierId>>,
    any_ended: AtomicBool,
    /// Packets of the gateway's own endpoint that found no room.
    lost: AtomicU64,
    pub(super) inbox: mpsc::Sender<Inbound>,
    event_fd: Arc<EventFd>,
}

impl Carriers {
    pub(super) fn new(event_fd: Arc<EventFd>) -> (Arc<Self>, mpsc::Receiver<Inbound>) {
        let (inbox, messages) = mpsc::channel(RELAY_CARRIER_MESSAGES_QUEUED_MAX);
        let carriers = Self {
            open: RwLock::default(),
            opened: AtomicU64::new(1),
            ended: Mutex::default(),
            any_ended: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            inbox,
            event_fd,
        };
        (Arc::new(carriers), messages)
    }

    /// Takes a carrier whose TCP connection comes from `peer`; `None` where as many are served as may be.
    #[must_use]
    pub fn open(self: &Arc<Self>, peer: SocketAddr) -> Option<RelayCarrier> {
        let id = CarrierId(self.opened.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared {
            id,
            peer,
            opened: Instant::now(),
            waiting: Mutex::default(),
            filled: Notify::new(),
            phase: watch::Sender::new(Phase::Unproven),
        });
        let mut open = self.open.write();
        if open.len() >= CARRIERS_MAX {
            return None;
        }
        open.insert(id, Arc::clone(&shared));
        drop(open);
        Some(RelayCarrier { carriers: Arc::clone(self), shared })
    }

    /// Returns how many are served.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.read().len()
    }

    /// Returns where the TCP connection of a carrier comes from, while it is there.
    pub(in crate::transport) fn peer_of(&self, id: CarrierId) -> Option<SocketAddr> {
        self.open.read().get(&id).map(|shared| shared.peer)
    }

    /// Queues what quinn sends to a carrier; what finds no room is lost, as in any network.
    pub(in crate::transport) fn send(&self, id: CarrierId, contents: &[u8], segment: usize) {
        let Some(shared) = self.get(id) else { return };
        let mut waiting = shared.waiting.lock();
        let lost = contents.chunks(segment.max(1)).filter(|packet| !waiting.push(packet)).count();
        drop(waiting);
        if lost > 0 {
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
        shared.filled.notify_one();
    }

    fn get(&self, id: CarrierId) -> Option<Arc<Shared>> {
        self.open.read().get(&id).cloned()
    }
}

/// The relay's thread's way to the carriers.
#[derive(Debug)]
pub(super) struct CarrierOutbox {
    carriers: Arc<Carriers>,
    /// To whom was sent last: packets come in runs.
    latest: Option<Arc<Shared>>,
    /// Those that had nothing waiting before this batch; they are woken once it is worked through.
    filled: Vec<Arc<Shared>>,
}

impl CarrierOutbox {
    pub(super) const fn new(carriers: Arc<Carriers>) -> Self {
        Self { carriers, latest: None, filled: Vec::new() }
    }

    /// Queues a packet for a carrier.
    pub(super) fn push(&mut self, id: CarrierId, packet: &[u8]) -> Result<(), DropReason> {
        if self.latest.as_ref().is_none_or(|latest| latest.id != id) {
            self.latest = self.carriers.get(id);
        }
        let Some(shared) = &self.latest else { return Err(DropReason::CarrierEnded) };
        let mut waiting = shared.waiting.lock();
        let was_empty = waiting.is_empty();
        if !waiting.push(packet) {
            return Err(DropReason::CarrierFull);
        }
        drop(waiting);
        if was_empty {
            self.filled.push(Arc::clone(shared));
        }
        Ok(())
    }

    /// Wakes those that have something to send now.
    pub(super) fn flush(&mut self) {
        // One that ended must not be kept.
        self.latest = None;
        for shared in self.filled.drain(..) {
            shared.filled.notify_one();
        }
    }

    /// Takes those that have ended by themselves since the last call.
    pub(super) fn take_ended(&self) -> Vec<CarrierId> {
        // Asked before every batch: looking costs nothing while there are none.
        if !self.carriers.any_ended.load(Ordering::Relaxed)
            || !self.carriers.any_ended.swap(false, Ordering::AcqRel)
        {
            return Vec::new();
        }
        std::mem::take(&mut self.carriers.ended.lock())
    }

    /// Notes that an agent has proven itself over a carrier.
    pub(super) fn note_proof(&self, id: CarrierId) {
        if let Some(shared) = self.carriers.get(id) {
            shared.phase.send_if_modified(|phase| {
                let is_first = *phase == Phase::Unproven;
                if is_first {
                    *phase = Phase::Proven;
                }
                is_first
            });
        }
    }

    /// Returns whether a carrier is served.
    pub(super) fn serves(&self, id: CarrierId) -> bool {
        self.carriers.open.read().contains_key(&id)
    }

    /// Serves a carrier no longer.
    pub(super) fn refuse(&self, id: CarrierId, why: CarrierRefusal) {
        let shared = self.carriers.open.write().remove(&id);
        if let Some(shared) = shared {
            debug!(carrier = %id, peer = %shared.peer, %why, "the relay serves a carrier no longer");
            shared.phase.send_replace(Phase::Refused(why));
        }
    }

    /// Refuses those that nobody has proven in time, or not lately; returns them, and how many of the others
    /// are proven.
    pub(super) fn sweep(
        &self,
        now: Instant,
        mut is_proven: impl FnMut(CarrierId) -> bool,
    ) -> (Vec<CarrierId>, usize) {
        let (mut refused, mut proven) = (BTreeMap::new(), 0);
        for (&id, shared) in &*self.carriers.open.read() {
            let phase = *shared.phase.borrow();
            if is_proven(id) {
                proven += 1;
            } else if phase == Phase::Proven {
                refused.insert(id, CarrierRefusal::Lapsed);
            } else if now.saturating_duration_since(shared.opened) >= CARRIER_PROVEN_WITHIN {
                refused.insert(id, CarrierRefusal::NeverProven);
            }
        }
        for (&id, &why) in &refused {
            self.refuse(id, why);
        }
        (refused.into_keys().collect(), proven)
    }

    pub(super) fn count(&self) -> usize {
        self.carriers.count()
    }

    /// Returns how many packets of the gateway's own found no room since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        self.carriers.lost.swap(0, Ordering::Relaxed)
    }
}

/// One carrier as its task sees the relay. Dropping it ends the carrier there.
#[derive(Debug)]
pub struct RelayCarrier {
    carriers: Arc<Carriers>,
    shared: Arc<Shared>,
}

impl RelayCarrier {
    #[must_use]
    pub fn id(&self) -> CarrierId {
        self.shared.id
    }

    /// Waits until an agent has proven itself over it; never, where that does not happen.
    pub fn proven(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.shared.phase.subscribe();
        async move {
            if phase.wait_for(|phase| *phase == Phase::Proven).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Carries packets both ways until either end is done.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, websocket: WebSocket<S>) -> CarrierEnded {
        let (mut outgoing, mut incoming) = websocket.split();
        let sending = async {
            loop {
                outgoing.send_all(self.next().await, || self.try_next()).await?;
            }
        };
        let receiving = async {
            let mut unproven = 0_usize;
            loop {
                let message = incoming.next().await?;
                if *self.shared.phase.borrow() == Phase::Unproven {
                    unproven += message.len();
                    if unproven > CARRIER_UNPROVEN_BYTES_MAX {
                        return Err(CarrierRefusal::Talkative.into());
                    }
                }
                if message.is_empty() {
                    return Err(CarrierRefusal::Misframed.into());
                }
                let inbound = Inbound { carrier: self.shared.id, message };
                if self.carriers.inbox.send(inbound).await.is_err() {
                    return Err::<std::convert::Infallible, _>(CarrierEnded::RelayGone);
                }
                self.carriers.event_fd.signal();
            }
        };
        let end = tokio::select! {
            end = sending => end,
            end = receiving => end,
            why = self.refused() => Err(CarrierEnded::Refused(why)),
        };
        let Err(end) = end;
        outgoing.close().await;
        end
    }

    async fn next(&self) -> Bytes {
        loop {
            if let Some(message) = self.try_next() {
                return message;
            }
            self.shared.filled.notified().await;
        }
    }

    fn try_next(&self) -> Option<Bytes> {
        self.shared.waiting.lock().pop()
    }

    async fn refused(&self) -> CarrierRefusal {
        let mut phase = self.shared.phase.subscribe();
        let refused = phase.wait_for(|phase| matches!(phase, Phase::Refused(_))).await.map(|phase| *phase);
        match refused {
            Ok(Phase::Refused(why)) => why,
            // The sender is kept beside this.
            Ok(Phase::Unproven | Phase::Proven) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for RelayCarrier {
    fn drop(&mut self) {
        let id = self.shared.id;
        if self.carriers.open.write().remove(&id).is_some() {
            self.carriers.ended.lock().push(id);
            self.carriers.any_ended.store(true, Ordering::Release);
            self.carriers.event_fd.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use adit_core::domain::limits::CARRIER_QUEUE_BYTES_MAX;

    /// Returns carriers that no thread serves, and the thread's way to them.
    fn carriers() -> (Arc<Carriers>, CarrierOutbox) {
        let (carriers, _) = Carriers::new(Arc::new(EventFd::new().unwrap()));
        (Arc::clone(&carriers), CarrierOutbox::new(carriers))
    }

    fn peer() -> SocketAddr {
        ([192, 0, 2, 1], 7).into()
    }

    #[tokio::test]
    async fn a_carrier_that_nobody_proves_is_refused_in_time_and_one_whose_proof_lapses_at_once() {
        let (carriers, outbox) = carriers();
        let (unproven, lapsing, proven) =
            (carriers.open(peer()).unwrap(), carriers.open(peer()).unwrap(), carriers.open(peer()).unwrap());
        let ids: BTreeSet<_> = [lapsing.id(), proven.id()].into();
        for &id in &ids {
            outbox.note_proof(id);
        }
        lapsing.proven().await;
        let start = Instant::now();
        assert_eq!(outbox.sweep(start, |id| ids.contains(&id)), (vec![], 2));
        assert_eq!(outbox.sweep(start, |id| id == proven.id()), (vec![lapsing.id()], 1));
        assert_eq!(lapsing.refused().await, CarrierRefusal::Lapsed);
        let late = start + CARRIER_PROVEN_WITHIN;
        assert_eq!(outbox.sweep(late, |id| id == proven.id()), (vec![unproven.id()], 1));
        assert_eq!(unproven.refused().await, CarrierRefusal::NeverProven);
        assert_eq!((carriers.count(), carriers.peer_of(proven.id())), (1, Some(peer())));
        drop((unproven, lapsing));
        assert!(outbox.take_ended().is_empty(), "the relay has ended them itself");
        let id = proven.id();
        drop(proven);
        assert_eq!((outbox.take_ended(), outbox.take_ended()), (vec![id], vec![]));
        assert_eq!(carriers.peer_of(id), None);
    }

    #[test]
    fn carriers_beyond_the_bound_are_not_served() {
        let (carriers, _outbox) = carriers();
        let mut open: Vec<_> = (0..CARRIERS_MAX).map(|_| carriers.open(peer()).unwrap()).collect();
        assert!(carriers.open(peer()).is_none());
        open.pop();
        assert!(carriers.open(peer()).is_some());
    }

    #[tokio::test]
    async fn packets_wait_up_to_the_bound_and_reach_a_carrier_in_order_from_both_who_send() {
        let (carriers, mut outbox) = carriers();
        let carrier = carriers.open(peer()).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(20), carrier.next());
        let send = async {
            outbox.push(carrier.id(), &[1; 100]).unwrap();
            carriers.send(carrier.id(), &[2; 150], 100);
            outbox.push(carrier.id(), &[3; 10]).unwrap();
            outbox.flush();
        };
        let (message, ()) = tokio::join!(next, send);
        let message = message.unwrap();
        let packets = adit_core::protocol::carrier::packets(&message);
        let found: Vec<_> =
            packets.map(|packet| packet.map(|packet| (packet[0], packet.len())).unwrap()).collect();
        assert_eq!(found, [(1, 100), (2, 100), (2, 50), (3, 10)]);

        let fit = (0..1_000).take_while(|_| outbox.push(carrier.id(), &[1; 1_000]).is_ok()).count();
        assert_eq!(fit, CARRIER_QUEUE_BYTES_MAX / 1_002);
        assert_eq!(outbox.push(carrier.id(), &[1; 1_000]), Err(DropReason::CarrierFull));
        carriers.send(carrier.id(), &[2; 3_000], 1_000);
        assert_eq!((outbox.take_lost(), outbox.take_lost()), (3, 0));
        outbox.flush();
        let id = carrier.id();
        drop(carrier);
        assert_eq!(outbox.push(id, &[1; 100]), Err(DropReason::CarrierEnded));
    }

    #[test]
    fn a_carriers_address_is_one_that_nobody_has() {
        for id in [0, 1, 77, u64::MAX] {
            let address = address_of(CarrierId(id));
            assert_eq!(carrier_at(address), Some(CarrierId(id)));
            assert!(address.to_string().starts_with("[100::"), "{address}");
        }
        for other in
            ["192.0.2.1:443", "[100:0:0:1::1]:443", "[::1]:443", "[2001:db8::1]:443", "[::ffff:1.0.0.0]:1"]
        {
            assert_eq!(carrier_at(other.parse().unwrap()), None, "{other}");
        }
    }
}
