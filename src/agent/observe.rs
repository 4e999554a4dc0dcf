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
    /// It is counted among those whose message has no answer.
    is_unanswered: bool,
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
        Self { seen, protocol, asked_last: false, is_waited_for: false, is_unanswered: false }
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
        self.count_unanswered(self.owes() == Owes::Known(true) && !self.is_within_request());
    }

    fn count_unanswered(&mut self, is_unanswered: bool) {
        let unanswered = &self.seen.entry.stats.unanswered;
        match (std::mem::replace(&mut self.is_unanswered, is_unanswered), is_unanswered) {
            (false, true) => unanswered.fetch_add(1, Ordering::Relaxed),
            (true, false) => unanswered.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => return,
        };
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
        self.count_unanswered(false);
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
            MllpEvent::Off { why } => self.note_off(&why),
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
                self.note_off(&why);
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

    fn note_off(&self, why: &dyn std::fmt::Display) {
        self.entry.stats.unobserved.fetch_add(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::stats::count;
    use adit_net::identity::time::HostClock;

    const ADT: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\r\x1c\r";
    const ACK: &[u8] = b"\x0bMSH|^~\\&|C|D|A|B|1||ACK|2|P|2.5\rMSA|AA|1\r\x1c\r";

    #[test]
    fn a_whole_message_is_unanswered_until_its_answer_or_the_end_of_its_stream() {
        let fixture = Fixture::new();
        let entry = Arc::clone(fixture.entries.get(Fixture::id(1)).unwrap());
        let unanswered = || count(&entry.stats.unanswered);
        let mut stream = StreamObserver::new(Arc::clone(&entry), Arc::new(LearntClock::new(HostClock, 0)));
        let (begun, rest) = ADT.split_at(10);
        stream.request(begun);
        assert_eq!(unanswered(), 0, "it is not whole");
        stream.request(rest);
        assert_eq!(unanswered(), 1);
        stream.request(ADT);
        stream.response(ACK);
        assert_eq!(unanswered(), 1, "the second waits");
        stream.response(ACK);
        assert_eq!(unanswered(), 0);
        stream.request(ADT);
        stream.request(b"no message");
        assert_eq!((unanswered(), count(&entry.stats.unobserved)), (0, 1), "nothing is known of it any more");
        let mut stream = StreamObserver::new(Arc::clone(&entry), Arc::new(LearntClock::new(HostClock, 0)));
        stream.request(ADT);
        assert_eq!(unanswered(), 1);
        drop(stream);
        assert_eq!(unanswered(), 0);
    }
}
