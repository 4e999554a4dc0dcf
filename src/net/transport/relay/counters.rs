//! What the relay's thread has done, for others to read while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_core::protocol::relay::DropReason;

/// Counted since the thread started, but for `registered` and `carriers`, which are of now.
#[derive(Debug, Default)]
pub struct RelayCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    sends: AtomicU64,
    answers: AtomicU64,
    own: AtomicU64,
    registered: AtomicU64,
    carriers: AtomicU64,
    proven_carriers: AtomicU64,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl RelayCounters {
    /// Returns the number of packets that were sent on.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of system calls that sent them on.
    #[must_use]
    pub fn sends(&self) -> u64 {
        self.sends.load(Ordering::Relaxed)
    }

    /// Challenges and confirmations sent to agents.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Returns the number of packets for the gateway itself.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// Returns the number of agents that are reached through the relay, as of the last second.
    #[must_use]
    pub fn registered(&self) -> u64 {
        self.registered.load(Ordering::Relaxed)
    }

    /// Returns the number of carriers that are served, as of the last second.
    #[must_use]
    pub fn carriers(&self) -> u64 {
        self.carriers.load(Ordering::Relaxed)
    }

    /// Returns the number of those that an agent has proven.
    #[must_use]
    pub fn proven_carriers(&self) -> u64 {
        self.proven_carriers.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }
}

/// The thread's own count, which costs nothing to keep; published once a batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) sends: u64,
    pub(super) answers: u64,
    pub(super) own: u64,
    pub(super) registered: u64,
    pub(super) carriers: u64,
    pub(super) proven_carriers: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Tally {
    pub(super) const fn dropped(&mut self, reason: DropReason, packets: u64) {
        self.drops[reason as usize] += packets;
    }

    #[cfg(test)]
    pub(super) const fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(super) fn publish(&self, counters: &RelayCounters) {
        let totals = [
            (&counters.packets, self.packets),
            (&counters.bytes, self.bytes),
            (&counters.sends, self.sends),
            (&counters.answers, self.answers),
            (&counters.own, self.own),
            (&counters.registered, self.registered),
            (&counters.carriers, self.carriers),
            (&counters.proven_carriers, self.proven_carriers),
        ];
        for (counter, total) in totals.into_iter().chain(counters.drops.iter().zip(self.drops)) {
            counter.store(total, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_for_itself() {
        let counters = RelayCounters::default();
        let mut tally = Tally::default();
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            tally.dropped(reason, number as u64 + 1);
        }
        tally.publish(&counters);
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.dropped(reason), number as u64 + 1);
        }
    }
}
