//! What is seen of messages, acknowledgements, associations and objects in passing: counts, codes
//! and latencies. Nothing of their content is kept, and no byte waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::entries::LiveConnection;
use adit_core::config::agent::Service;
use adit_core::domain::connection::Protocol;
use adit_core::protocol::dicom::{
    AeTitle, DicomEvent, DicomObserver, Operation, Status, StatusClass, Titles,
};
use adit_core::protocol::mllp::{MllpEvent, MllpObserver};
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::transport::splice::Observer;

/// Watches one TCP connection of an entry.
pub(crate) struct StreamObserver {
    seen: Seen,
    protocol: Watched,
    /// The source's side spoke last.
    asked_last: bool,
    /// It is counted among those that somebody waits for.
    is_waited_for: bool,
}

/// Whether somebody waits for something on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owes {
    /// By what was read of the protocol.
    Known(bool),
    /// By who spoke last, or by an association that may be used again.
    Guessed(bool),
}

impl Owes {
    #[must_use]
    pub(crate) const fn is_owed(self) -> bool {
        match self {
            Self::Known(owes) | Self::Guessed(owes) => owes,
        }
    }
}

enum Watched {
    Mllp(Box<MllpObserver>),
    Dicom(Box<DicomObserver>),
    /// Bytes as they are; nothing is read from them.
    Nothing,
}

impl StreamObserver {
    #[must_use]
    pub(crate) fn new(entry: Arc<LiveConnection>, clock: Arc<LearntClock>) -> Self {
        let protocol = match entry.config.service {
            Service::Channel(Protocol::Mllp) => Watched::Mllp(Box::default()),
            Service::Channel(Protocol::Dicom) => Watched::Dicom(Box::default()),
            Service::Channel(Protocol::Tcp) | Service::Admin { .. } => Watched::Nothing,
        };
        let seen = Seen { entry, clock, association: None };
        Self { seen, protocol, asked_last: false, is_waited_for: false }
    }

    #[must_use]
    pub(crate) fn owes(&self) -> Owes {
        let guessed = Owes::Guessed(self.asked_last);
        match &self.protocol {
            Watched::Mllp(mllp) => mllp.owes().map_or(guessed, Owes::Known),
            Watched::Dicom(dicom) => Owes::Guessed(self.asked_last || dicom.is_associated()),
            Watched::Nothing => guessed,
        }
    }

    /// Returns whether what was read last of the requests is no end of one; true where that is not known.
    #[must_use]
    pub(crate) fn is_within_request(&self) -> bool {
        match &self.protocol {
            Watched::Mllp(mllp) => mllp.owes().is_none() || mllp.is_within_message(),
            Watched::Dicom(_) | Watched::Nothing => true,
        }
    }

    fn count(&mut self, asked: bool) {
        self.asked_last = asked;
        let owes = self.owes().is_owed();
        if owes != std::mem::replace(&mut self.is_waited_for, owes) {
            self.seen.entry.stats.note_waiting(owes);
        }
    }
}

impl Observer for StreamObserver {
    fn request(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        match &mut self.protocol {
            Watched::Mllp(mllp) => mllp.request(bytes, Instant::now(), &mut |event| seen.on_mllp(event)),
            Watched::Dicom(dicom) => dicom.request(bytes, Instant::now(), &mut |event| seen.on_dicom(event)),
            Watched::Nothing => {}
        }
        self.count(true);
    }

    fn response(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        match &mut self.protocol {
            Watched::Mllp(mllp) => mllp.response(bytes, Instant::now(), &mut |event| seen.on_mllp(event)),
            Watched::Dicom(dicom) => dicom.response(bytes, Instant::now(), &mut |event| seen.on_dicom(event)),
            Watched::Nothing => {}
        }
        self.count(false);
    }
}

impl Drop for StreamObserver {
    fn drop(&mut self) {
        if self.is_waited_for {
            self.seen.entry.stats.note_waiting(false);
        }
    }
}

/// Where what is seen goes.
struct Seen {
    entry: Arc<LiveConnection>,
    clock: Arc<LearntClock>,
    association: Option<Association>,
}

/// One that was asked for and has not ended.
struct Association {
    calling: AeTitle,
    is_accepted: bool,
}

impl Seen {
    fn on_mllp(&self, event: MllpEvent) {
        let LiveConnection { stats, metrics, .. } = &*self.entry;
        match event {
            MllpEvent::Message { kind } => {
                stats.messages.fetch_add(1, Ordering::Relaxed);
                metrics.message(kind.as_str());
            }
            MllpEvent::Ack { code, kind, latency } => {
                stats.acknowledged.fetch_add(1, Ordering::Relaxed);
                stats.passing.note_ack(code, latency);
                stats.note_ack(self.clock.now());
                metrics.acknowledgement(kind.as_str(), code.as_str(), latency);
            }
            MllpEvent::Off { why } => self.log_off(&why),
        }
    }

    fn on_dicom(&mut self, event: DicomEvent) {
        let LiveConnection { config, stats, metrics, .. } = &*self.entry;
        match event {
            DicomEvent::Requested { titles } => {
                self.association = Some(Association { calling: titles.calling, is_accepted: false });
            }
            DicomEvent::Accepted { titles } => {
                stats.dicom.accepted.fetch_add(1, Ordering::Relaxed);
                stats.dicom.open.fetch_add(1, Ordering::Relaxed);
                metrics.association(titles.calling.as_str(), "accepted");
                self.association = Some(Association { calling: titles.calling, is_accepted: true });
            }
            DicomEvent::Rejected { titles, rejection } => {
                stats.dicom.rejected.fetch_add(1, Ordering::Relaxed);
                let (connection, Titles { calling, called }) = (&config.name, titles);
                tracing::info!(%connection, %calling, %called, %rejection, "DICOM association rejected");
                self.end_association("rejected");
            }
            DicomEvent::StoreRequested => metrics.request(Operation::CStore.as_str()),
            DicomEvent::Called { operation } => metrics.request(operation.as_str()),
            DicomEvent::Stored { status, bytes, latency } => {
                metrics.object(status.class().as_str(), bytes, latency);
                stats.passing.note_latency(latency);
                self.count_object(status, bytes);
            }
            DicomEvent::Released => self.end_association("released"),
            DicomEvent::Aborted { abort } => {
                stats.dicom.aborted.fetch_add(1, Ordering::Relaxed);
                tracing::info!(connection = %config.name, by = %abort, "DICOM association aborted");
                self.end_association("aborted");
            }
            DicomEvent::Off { why } => {
                self.log_off(&why);
                self.end_association("unobserved");
            }
        }
    }

    fn count_object(&self, status: Status, bytes: u64) {
        let counters = &self.entry.stats;
        match status.class() {
            StatusClass::Success | StatusClass::Warning => {
                counters.dicom.stored.fetch_add(1, Ordering::Relaxed);
                counters.dicom.bytes.fetch_add(bytes, Ordering::Relaxed);
                counters.note_ack(self.clock.now());
            }
            StatusClass::Failure => {
                counters.dicom.failed.fetch_add(1, Ordering::Relaxed);
                tracing::info!(connection = %self.entry.config.name, %status, "DICOM object refused");
            }
        }
    }

    fn end_association(&mut self, outcome: &'static str) {
        if let Some(Association { calling, is_accepted }) = self.association.take() {
            self.entry.stats.dicom.open.fetch_sub(is_accepted.into(), Ordering::Relaxed);
            self.entry.metrics.association(calling.as_str(), outcome);
        }
    }

    fn log_off(&self, why: &dyn std::fmt::Display) {
        let connection = &self.entry.config.name;
        tracing::warn!(%connection, %why, "this TCP connection is carried, but not observed");
    }
}

impl Drop for Seen {
    /// Notes that the TCP connection ended.
    fn drop(&mut self) {
        if self.association.is_some() {
            self.entry.stats.dicom.lost.fetch_add(1, Ordering::Relaxed);
            self.end_association("lost");
        }
    }
}
