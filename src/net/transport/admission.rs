//! The gate before QUIC, shared by the socket, the endpoint and the route keeper. Who may pass is decided
//! in `protocol::admission`; here are the lock, the clock and the guards.
//!
//! Only packets of handshakes come here. What a tunnel carries has short headers and never takes the
//! lock.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::identity::random;
use adit_core::domain::id::{BootId, RouteId};
use adit_core::domain::limits::FIRST_FLIGHT_TIMEOUT;
use adit_core::protocol::admission::{Admission, AdmissionVerdict, DialIds, PlaceId};
use adit_core::protocol::initial::TagKey;

/// The gate of one agent.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Mutex<Admission>>);

impl Gate {
    #[must_use]
    pub(super) fn new(own: RouteId) -> Self {
        // Nobody can know this run until the route keeper names it.
        Self(Arc::new(Mutex::new(Admission::new(own, BootId::from_bytes(random::bytes())))))
    }

    /// Says which run of this agent tags must be for.
    pub fn set_boot(&self, boot: BootId) {
        self.0.lock().set_boot(boot);
    }

    /// Lets a peer begin handshakes, by the keys of its connections.
    pub fn set_peer(&self, route: RouteId, keys: Vec<TagKey>) {
        self.0.lock().set_peer(route, keys);
    }

    pub(super) fn remove_peer(&self, route: RouteId) {
        self.0.lock().remove_peer(route);
    }

    /// Says which run of the peer is known, and by which of its keys.
    pub fn note_peer(&self, route: RouteId, boot: Option<BootId>, key: usize) {
        self.0.lock().note_peer(route, boot, key);
    }

    /// Judges a datagram that begins with a long header.
    pub(super) fn judge(&self, packet: &[u8]) -> AdmissionVerdict {
        self.0.lock().handle_packet(packet, Instant::now())
    }

    pub(super) fn dial(&self, target: RouteId) -> Dial {
        let ids = self.0.lock().dial(target, random::bytes());
        Dial { gate: self.clone(), ids }
    }

    pub(super) fn claim(&self, destination: &[u8]) -> Option<Place> {
        let id = self.0.lock().claim(destination)?;
        Some(Place(Arc::new(Held { gate: self.clone(), id })))
    }
}

/// A handshake that we begin; dropped, its answers pass no more.
pub struct Dial {
    gate: Gate,
    /// What its first packet must carry.
    pub ids: DialIds,
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.gate.0.lock().end_dial(&self.ids.source);
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dial").field(&self.ids.source).finish()
    }
}

/// The place of a handshake that a peer began; it is free again when the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    gate: Gate,
    id: PlaceId,
}

impl Place {
    /// Resolves when the peer has not gone on in time, and never if it has.
    pub(super) async fn is_abandoned(&self) {
        sleep(FIRST_FLIGHT_TIMEOUT).await;
        if self.0.gate.0.lock().is_going_on(self.0.id) {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.0.lock().give_back(self.id);
    }
}
