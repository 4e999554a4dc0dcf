//! What is seen of messages in passing: counts, acknowledgement codes and latencies, by message
//! type. Nothing of a message is kept, and no byte waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::entries::LiveEntry;
use crate::domain::connection::Protocol;
use crate::identity::time::{LearntClock, TimeSource};
use crate::observe::metrics as names;
use crate::protocol::mllp::{MllpEvent, MllpObserver};
use crate::transport::splice::Observer;

/// Watches one TCP connection of an entry.
pub struct StreamObserver {
    entry: Arc<LiveEntry>,
    clock: Arc<LearntClock>,
    mllp: Option<Box<MllpObserver>>,
}

impl StreamObserver {
    #[must_use]
    pub fn new(entry: Arc<LiveEntry>, clock: Arc<LearntClock>) -> Self {
        let mllp = match entry.config.protocol {
            Protocol::Mllp => Some(Box::default()),
            // Bytes as they are; nothing is read from them.
            Protocol::Dicom | Protocol::Tcp => None,
        };
        Self { entry, clock, mllp }
    }
}

impl Observer for StreamObserver {
    fn request(&mut self, bytes: &[u8]) {
        if let Some(mllp) = &mut self.mllp {
            let (entry, clock) = (&self.entry, &self.clock);
            mllp.request(bytes, Instant::now(), &mut |event| record(entry, clock, event));
        }
    }

    fn response(&mut self, bytes: &[u8]) {
        if let Some(mllp) = &mut self.mllp {
            let (entry, clock) = (&self.entry, &self.clock);
            mllp.response(bytes, Instant::now(), &mut |event| record(entry, clock, event));
        }
    }
}

fn record(entry: &LiveEntry, clock: &LearntClock, event: MllpEvent) {
    match event {
        MllpEvent::Message { kind } => {
            entry.facts.messages.fetch_add(1, Ordering::Relaxed);
            names::message(entry.config.name.as_str(), kind.as_str());
        }
        MllpEvent::Ack { code, kind, latency } => {
            entry.facts.acknowledged.fetch_add(1, Ordering::Relaxed);
            entry.facts.note_ack(clock.now());
            names::acknowledgement(entry.config.name.as_str(), kind.as_str(), code.as_str(), latency);
        }
        MllpEvent::Off { why } => {
            tracing::warn!(connection = %entry.config.name, %why, "this TCP connection is carried, but not observed");
        }
    }
}
