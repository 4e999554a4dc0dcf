//! What both agents and the gateway act in: the clock, the wire, the books.

use std::time::Instant;

use crate::ledger::Ledger;
use crate::log::{Log, Promise};
use crate::random::Random;
use crate::tally::Tally;
use crate::wire::{Node, Wire};

#[derive(Debug)]
pub(crate) struct Scene {
    pub start: Instant,
    pub now: Instant,
    pub random: Random,
    pub wire: Wire,
    pub ledger: Ledger,
    pub log: Log,
    pub tally: Tally,
    /// Tunnels that were open and are no more, for the judge.
    pub ended: Vec<End>,
}

/// The end of an open tunnel at one of its ends.
#[derive(Debug)]
pub(crate) struct End {
    pub node: Node,
    pub why: String,
    pub cause: Cause,
}

/// What could excuse the end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Silence or a restart.
    Outage,
    /// The other end does not acknowledge: it knows nothing of the tunnel any more, or the path does
    /// not carry its datagrams.
    Unanswered,
    /// The other end waited in vain for the proof that this one sent.
    Unproven,
    /// The other end gave it up, and was judged for that.
    Told,
    /// Nothing.
    Fault,
}

impl Scene {
    pub(crate) fn new(seed: u64, prints: bool) -> Self {
        let (start, random) = (Instant::now(), Random::new(seed));
        Self {
            start,
            now: start,
            wire: Wire::new(start, random.fork("wire")),
            ledger: Ledger::default(),
            log: Log::new(start, prints),
            tally: Tally::default(),
            ended: Vec::new(),
            random,
        }
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.log.note(self.now, what);
    }

    pub(crate) fn demand(&mut self, holds: bool, promise: Promise, what: std::fmt::Arguments<'_>) {
        if !holds {
            self.log.violate(self.now, promise, what);
        }
    }

    pub(crate) fn send(&mut self, sender: Node, to: std::net::SocketAddr, bytes: &[u8]) {
        self.wire.send(self.now, sender, to, bytes, &mut self.tally);
    }
}
