//! The agent's own audit. What a person did or what was refused is on disk before anything goes on; a refusal
//! that repeats is counted, and written once an hour.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::entries::Entries;
use super::outbox::{Note, Outbox};
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits;
use adit_core::protocol::control::PeerRefusal;
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_observe::audit::{AuditEntry, AuditError, AuditFile};

#[derive(Debug)]
pub(crate) struct AuditLog {
    file: Arc<AuditFile>,
    /// The last line could not be written.
    fails: AtomicBool,
    clock: Arc<LearntClock>,
    entries: Arc<Entries>,
    /// The gateway is told of refused peers.
    outbox: Outbox,
    refusals: Mutex<RepeatLimiter<RefusalKind>>,
    /// Handshakes that failed, by what was wrong: strangers have a say in it, so they are apart.
    handshakes: Mutex<RepeatLimiter<String>>,
}

/// Who was refused, at which of this file's connections, and why.
type RefusalKind = (Option<ServerId>, Option<ConnectionId>, PeerRefusal);

impl AuditLog {
    #[must_use]
    pub(crate) fn new(
        file: AuditFile,
        clock: Arc<LearntClock>,
        entries: Arc<Entries>,
        outbox: Outbox,
    ) -> Arc<Self> {
        Arc::new(Self {
            file: Arc::new(file),
            fails: AtomicBool::new(false),
            clock,
            entries,
            outbox,
            refusals: Mutex::new(RepeatLimiter::every(
                limits::REPEATS_WRITTEN_EVERY,
                limits::REFUSAL_KINDS_MAX,
            )),
            handshakes: Mutex::new(RepeatLimiter::every(
                limits::REPEATS_WRITTEN_EVERY,
                limits::HANDSHAKE_KINDS_MAX,
            )),
        })
    }

    /// Writes an entry, on disk when this returns. What cannot be written down must not happen in an admin
    /// session (I9).
    pub(crate) async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || file.append(&entry)).await;
        let written = written.unwrap_or_else(|lost| Err(AuditError::lost(lost.into())));
        if let Err(error) = &written {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "the audit file cannot be written");
        }
        self.fails.store(written.is_err(), Ordering::Relaxed);
        written
    }

    /// Writes an entry if that is possible: P2P goes on without its audit file; the alarm is loud (I9).
    pub(crate) async fn note(&self, entry: AuditEntry) {
        let _ = self.append(entry).await;
    }

    /// Checks whether the audit can be written as far as is known: one that could not be is tried again.
    pub(crate) async fn check(&self) -> Result<(), AuditError> {
        if !self.fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        tracing::debug!("the audit could not be written before; it is tried again");
        self.append(AuditEntry::resumed(self.clock.now())).await
    }

    /// Records a refused peer and tells the gateway.
    pub(crate) async fn refuse_peer(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: PeerRefusal,
    ) {
        if let Some(left_out) = self.record_refusal(connection, peer, Some(reason), &reason.to_string()).await
        {
            self.outbox.notify(Note::RefusedPeer { connection, peer, reason, left_out });
        }
    }

    /// Records that a handshake failed and why.
    pub(crate) async fn refuse_handshake(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: &str,
    ) {
        self.record_refusal(connection, peer, None, reason).await;
    }

    /// Records the first refusal of a kind, and then once an hour how many there were. Returns how many
    /// were left out since the last, where this one was recorded.
    async fn record_refusal(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        kind: Option<PeerRefusal>,
        reason: &str,
    ) -> Option<u64> {
        metrics::counter!(adit_observe::metrics::PEER_REFUSALS).increment(1);
        // A peer may name any connection; only this file's are told apart.
        let known = connection.filter(|connection| self.entries.get(*connection).is_some());
        let now = Instant::now();
        let left_out = match kind {
            Some(kind) => self.refusals.lock().handle((peer, known, kind), now),
            None => self.handshakes.lock().handle(reason.to_owned(), now),
        };
        let (named, by) = (connection.map(tracing::field::display), peer.map(tracing::field::display));
        let Some(left_out) = left_out else {
            tracing::debug!(
                connection = named,
                peer = by,
                reason,
                "refused a peer; that was said not long ago, so it is only counted"
            );
            return None;
        };
        let reason = match left_out {
            0 => reason.to_owned(),
            left_out => format!("{reason} ({left_out} more like it since the last such line)"),
        };
        tracing::warn!(connection = named, peer = by, reason, "refused a peer");
        self.note(AuditEntry::peer_refused(self.clock.now(), connection, peer, &reason)).await;
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::policy::tests::PEER;

    #[tokio::test]
    async fn a_refusal_that_repeats_is_written_and_told_once() {
        let mut fixture = Fixture::new();
        for _ in 0..3 {
            fixture.audit.refuse_peer(Some(Fixture::id(1)), Some(PEER), PeerRefusal::Paused).await;
        }
        assert_eq!(fixture.audit_lines(), 1);
        let told = fixture.notes.try_receive();
        assert!(matches!(told, Some(Note::RefusedPeer { left_out: 0, .. })), "{told:?}");
        assert_eq!(fixture.notes.try_receive(), None);
    }

    #[tokio::test]
    async fn connections_that_a_peer_makes_up_are_not_told_apart() {
        let fixture = Fixture::new();
        for number in 10..30 {
            let made_up = Some(Fixture::id(number));
            fixture.audit.refuse_peer(made_up, Some(PEER), PeerRefusal::UnknownConnection).await;
        }
        assert_eq!(fixture.audit_lines(), 1);
        for number in [1, 2] {
            fixture.audit.refuse_peer(Some(Fixture::id(number)), Some(PEER), PeerRefusal::Paused).await;
        }
        assert_eq!(fixture.audit_lines(), 3);
    }
}
