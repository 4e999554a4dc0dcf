//! Packets that an agent's socket sent nowhere and handed to nobody, counted by reason.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// For a carrier that had no room, or was not there.
    pub carrier_full: AtomicU64,
    /// For a carrier, and longer than what UDP is known to carry later.
    pub carrier_long: AtomicU64,
    /// Messages of a carrier that end within a packet.
    pub misframed: AtomicU64,
}

impl SocketDrops {
    /// Returns how many there were of each, by the word that metrics and log have for it.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 16] {
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
            ("carrier_full", &self.carrier_full),
            ("carrier_long", &self.carrier_long),
            ("misframed", &self.misframed),
        ]
        .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }
}

pub(in crate::transport) fn count(dropped: &AtomicU64) {
    dropped.fetch_add(1, Ordering::Relaxed);
}
