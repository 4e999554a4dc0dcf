//! The row that is kept of an admin session: what the managed server's agent tells, which judges each request. An agent
//! numbers its sessions anew with each run of it. Counts only grow and an end stays, so words that come twice, late or
//! not at all leave a row that is right.

use std::time::Duration;

use tracing::{debug, trace};

use crate::store::{AdminSessionRecord, SessionCounts, StoreError, Tx};
use adit_core::domain::id::{BootId, ConnectionId, KeptSessionId};
use adit_core::domain::limits::{ADMIN_SESSION_SILENT_AFTER, ADMIN_SESSION_TOLD_EVERY, ADMIN_SESSIONS_MAX};
use adit_core::domain::measurement::Span;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{SessionReport, SessionStage};
use adit_net::identity::random;

use super::super::Platform;
use super::super::error::PlatformError;

/// What a managed server's agent says now.
#[derive(Debug, Clone, Copy)]
pub(in crate::platform) struct Heard {
    connection: ConnectionId,
    /// `None` of an agent that tells no run.
    run: Option<BootId>,
    session: SessionReport,
    now: Timestamp,
}

/// What a row becomes by it.
#[derive(Debug, Clone)]
struct Kept {
    record: AdminSessionRecord,
    is_new: bool,
    /// Whether who follows what happens is told: of a beginning and an end, of the first refusal or change, and now
    /// and then.
    is_telling: bool,
}

impl Heard {
    pub(super) const fn new(
        connection: ConnectionId,
        run: Option<BootId>,
        session: SessionReport,
        now: Timestamp,
    ) -> Self {
        Self { connection, run, session, now }
    }

    /// Writes it into its row, where anything of that becomes otherwise.
    pub(in crate::platform) async fn keep(&self, tx: &mut Tx) -> Result<(), StoreError> {
        match self.weigh(tx).await? {
            Some(kept) => kept.write(tx).await,
            None => Ok(()),
        }
    }

    /// Returns whether anything of its row becomes otherwise.
    pub(in crate::platform) async fn changes(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        Ok(self.weigh(tx).await?.is_some())
    }

    /// Returns what its row becomes; none where it stays as it is, or may not begin.
    async fn weigh(&self, tx: &mut Tx) -> Result<Option<Kept>, StoreError> {
        match tx.admin_session(self.connection, self.run, self.session.number).await? {
            Some(record) if !self.begins_after(&record) => Ok(self.go_on(&record)),
            earlier => self.begin(tx, earlier.map_or(0, |earlier| earlier.round.saturating_add(1))).await,
        }
    }

    fn is_stage(&self, stage: SessionStage) -> bool {
        self.session.stage == Word::Known(stage)
    }

    /// Returns whether it begins another session under the number of this one, as it may where no run is told.
    fn begins_after(&self, record: &AdminSessionRecord) -> bool {
        let is_over = record.ended_at.is_some() || is_silent(record, self.now);
        self.run.is_none() && self.is_stage(SessionStage::Started) && is_over
    }

    fn go_on(&self, before: &AdminSessionRecord) -> Option<Kept> {
        let ends = self.is_stage(SessionStage::Ended) && before.ended_at.is_none();
        let counts = before.counts.most(self.counts());
        let is_first = counts.is_judged() && !before.counts.is_judged();
        let is_due = before.ended_at.is_none() && self.now.since(before.heard_at) >= ADMIN_SESSION_TOLD_EVERY;
        let is_telling = ends || is_first || is_due;
        // What has a run has a number, and is in a transaction that writes whatever becomes of this.
        let grows = self.run.is_some() && counts != before.counts;
        (is_telling || grows).then(|| {
            let record = AdminSessionRecord {
                heard_at: before.heard_at.max(self.now),
                ended_at: before.ended_at.or(ends.then_some(self.now)),
                counts,
                ..*before
            };
            Kept { record, is_new: false, is_telling }
        })
    }

    async fn begin(&self, tx: &mut Tx, round: u32) -> Result<Option<Kept>, StoreError> {
        let most = u32::try_from(ADMIN_SESSIONS_MAX).unwrap_or(u32::MAX);
        let minute_ago = self.now.saturating_sub(Duration::from_mins(1));
        if tx.count_admin_sessions(self.connection, minute_ago, most).await? >= most {
            debug!(connection = %self.connection, "an admin session too many in a minute: it is in the log alone");
            return Ok(None);
        }
        let connection = tx.connection(self.connection).await?.filter(|it| !it.status.is_terminal());
        let Some(connection) = connection else { return Ok(None) };
        let record = AdminSessionRecord {
            id: KeptSessionId::from_random(random::bytes()),
            connection: connection.id,
            source_owner: connection.source.organization,
            target_owner: connection.target.organization,
            run: self.run,
            number: self.session.number,
            round,
            local_peer: self.session.local_peer,
            begun_at: self.now,
            heard_at: self.now,
            ended_at: self.is_stage(SessionStage::Ended).then_some(self.now),
            counts: self.counts(),
        };
        Ok(Some(Kept { record, is_new: true, is_telling: true }))
    }

    const fn counts(&self) -> SessionCounts {
        let SessionReport { requests, refused, changes, audits, .. } = self.session;
        SessionCounts { requests, refused, changes, audits }
    }
}

impl Kept {
    async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let Self { record, is_new, is_telling } = self;
        if is_new {
            tx.insert_admin_session(&record).await?;
            let gone = tx.prune_admin_sessions(record.connection).await?;
            trace!(connection = %record.connection, gone, "admin sessions beyond those that are kept");
        } else {
            tx.update_admin_session(&record).await?;
        }
        if is_telling {
            tx.tell_of_admin_session(record.connection);
        }
        Ok(())
    }
}

impl Platform {
    /// Deletes sessions whose time is over, some of them; returns how many.
    pub(in crate::platform) async fn delete_old_admin_sessions(
        &self,
        now: Timestamp,
    ) -> Result<u64, PlatformError> {
        let kept_from = now.saturating_sub(Span::Hour.kept());
        let deleted = self
            .record(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.delete_admin_sessions(kept_from).await?)
            })
            .await?;
        trace!(deleted, "old admin sessions are deleted");
        Ok(deleted)
    }
}

/// Returns whether its agent has told nothing of it for so long that it is not called running.
pub(in crate::platform) fn is_silent(record: &AdminSessionRecord, now: Timestamp) -> bool {
    record.heard_at < silent_before(now)
}

/// Returns since when a session must have been heard of to be called running.
pub(in crate::platform) fn silent_before(now: Timestamp) -> Timestamp {
    now.saturating_sub(ADMIN_SESSION_SILENT_AFTER)
}
