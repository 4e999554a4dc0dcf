//! The row that is kept of an admin session. Both agents tell of it under numbers of their own, which begin anew with
//! each run of theirs; what they have in common is the address that the client comes from. A side's first word of a
//! session joins it to what the other side told of that address, and its words are kept apart from the other's ever
//! after. Counts only grow and an end stays, so words that come twice, late or not at all leave a row that is right.

use std::time::Duration;

use tracing::{debug, trace};

use crate::store::{AdminSessionRecord, ConnectionRecord, SessionCounts, SideSession, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, KeptSessionId};
use adit_core::domain::limits::{
    ADMIN_SESSION_ROWS_PER_MINUTE, ADMIN_SESSION_SILENT_AFTER, ADMIN_SESSION_TOLD_EVERY,
    ADMIN_SESSIONS_KEPT_MAX,
};
use adit_core::domain::measurement::Span;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{SessionReport, SessionStage};
use adit_net::identity::random;

use super::super::Platform;
use super::super::act::Act;
use super::super::error::PlatformError;

/// What one side's agent says now.
struct Heard<'a> {
    side: Side,
    run: Option<BootId>,
    session: &'a SessionReport,
    now: Timestamp,
}

/// Keeps what one side tells.
pub(super) async fn keep(
    act: &mut Act,
    connection: &ConnectionRecord,
    side: Side,
    run: Option<BootId>,
    session: &SessionReport,
) -> Result<(), PlatformError> {
    let heard = Heard { side, run, session, now: act.now };
    let tx = &mut act.tx;
    let known = tx.admin_session_told(connection.id, side, (run, session.number), session.local_peer).await?;
    let (mut record, is_new) = match known {
        Some(record) if heard.is_of(&record) => (record, false),
        earlier => {
            if let Some(earlier) = earlier {
                end_earlier(tx, earlier, side).await?;
            }
            match heard.begin(tx, connection).await? {
                Some(record) => (record, true),
                None => return Ok(()),
            }
        }
    };
    let is_telling = heard.is_telling(&record);
    heard.write_into(&mut record);
    tx.put_admin_session(&record).await?;
    if is_new {
        let sides = [record.source.is_some(), record.target.is_some()];
        let gone = tx.prune_admin_sessions_of(connection.id, sides, ADMIN_SESSIONS_KEPT_MAX).await?;
        trace!(connection = %connection.id, gone, "admin sessions beyond those that are kept");
    }
    if is_telling {
        tx.tell_of_admin_session(connection.id);
    }
    Ok(())
}

/// Ends one side's part of a session whose number has begun anew: its end was lost.
async fn end_earlier(tx: &mut Tx, mut earlier: AdminSessionRecord, side: Side) -> Result<(), PlatformError> {
    if let Some(told) = earlier.side_mut(side) {
        told.ended_at = told.ended_at.or(Some(told.heard_at));
    }
    earlier.runs = earlier.runs && ended_at(&earlier).is_none();
    Ok(tx.put_admin_session(&earlier).await?)
}

impl Heard<'_> {
    fn is_stage(&self, stage: SessionStage) -> bool {
        self.session.stage == Word::Known(stage)
    }

    /// Returns whether it is of this session, of which its side told under the same number. An agent that tells its run
    /// gives a number once in it; of one that tells none, a number that starts anew, or is heard of long after its end,
    /// is another session's.
    fn is_of(&self, record: &AdminSessionRecord) -> bool {
        let Some(before) = record.side(self.side) else { return false };
        let is_again = if self.is_stage(SessionStage::Started) {
            before.ended_at.is_some() || before.counts != SessionCounts::default()
        } else {
            before.ended_at.is_some() && self.now.since(before.heard_at) > ADMIN_SESSION_SILENT_AFTER
        };
        self.run.is_some() || !is_again
    }

    /// Returns the row of a session that its side has not told of: the other side's, or a new one. None where it has
    /// made as many as it may.
    async fn begin(
        &self,
        tx: &mut Tx,
        connection: &ConnectionRecord,
    ) -> Result<Option<AdminSessionRecord>, PlatformError> {
        let (id, side, session) = (connection.id, self.side, self.session);
        tx.end_admin_sessions_of_other_runs(id, side, self.run).await?;
        let from = self.now.saturating_sub(ADMIN_SESSION_SILENT_AFTER);
        let must_run = self.is_stage(SessionStage::Started);
        if let Some(record) = tx.admin_session_to_join(id, side, session.local_peer, from, must_run).await? {
            return Ok(Some(record));
        }
        let minute_ago = self.now.saturating_sub(Duration::from_mins(1));
        let made = tx.count_admin_sessions_of(id, side, minute_ago).await?;
        if u64::from(made) >= ADMIN_SESSION_ROWS_PER_MINUTE {
            debug!(connection = %id, %side, made, "an admin session too many in a minute: it is in the log alone");
            return Ok(None);
        }
        Ok(Some(AdminSessionRecord {
            id: KeptSessionId::from_random(random::bytes()),
            connection: id,
            source_owner: connection.source.organization,
            target_owner: connection.target.organization,
            local_peer: session.local_peer,
            begun_at: self.now,
            heard_at: self.now,
            runs: true,
            source: None,
            target: None,
        }))
    }

    /// Returns whether who follows what happens is told: of a beginning and an end, of the first refusal or change, and
    /// now and then.
    fn is_telling(&self, record: &AdminSessionRecord) -> bool {
        let Some(before) = record.side(self.side) else { return true };
        let ends = self.is_stage(SessionStage::Ended) && before.ended_at.is_none();
        let is_judged = |counts: SessionCounts| counts.refused > 0 || counts.changes > 0;
        let is_first = !is_judged(before.counts) && is_judged(self.counts());
        ends || is_first || self.now.since(before.heard_at) >= ADMIN_SESSION_TOLD_EVERY
    }

    /// Returns what its side may count: the managing one does not judge.
    const fn counts(&self) -> SessionCounts {
        let SessionReport { requests, refused, changes, audits, .. } = *self.session;
        match self.side {
            Side::Source => SessionCounts { requests, refused: 0, changes: 0, audits: 0 },
            Side::Target => SessionCounts { requests, refused, changes, audits },
        }
    }

    fn write_into(&self, record: &mut AdminSessionRecord) {
        let first = SideSession {
            run: self.run,
            number: self.session.number,
            heard_at: self.now,
            ended_at: None,
            counts: SessionCounts::default(),
        };
        let told = record.side_mut(self.side).get_or_insert(first);
        told.heard_at = told.heard_at.max(self.now);
        told.counts = most(told.counts, self.counts());
        if self.is_stage(SessionStage::Ended) {
            told.ended_at = told.ended_at.or(Some(self.now));
        }
        record.heard_at = record.heard_at.max(self.now);
        record.runs = ended_at(record).is_none();
    }
}

fn most(one: SessionCounts, other: SessionCounts) -> SessionCounts {
    SessionCounts {
        requests: one.requests.max(other.requests),
        refused: one.refused.max(other.refused),
        changes: one.changes.max(other.changes),
        audits: one.audits.max(other.audits),
    }
}

/// Returns when a session ended. The managed side knows; the managing side's word counts until the managed one tells
/// otherwise.
pub(in crate::platform) fn ended_at(record: &AdminSessionRecord) -> Option<Timestamp> {
    let managed = record.target.as_ref();
    let managing = record.source.and_then(|told| told.ended_at);
    managed
        .and_then(|told| told.ended_at)
        .or_else(|| managing.filter(|at| managed.is_none_or(|told| told.heard_at <= *at)))
}

impl Platform {
    /// Finds sessions of which nobody told for long, and deletes those whose time is over: some of each.
    pub(in crate::platform) async fn sweep_admin_sessions(
        &self,
        now: Timestamp,
    ) -> Result<(), PlatformError> {
        let silent_before = now.saturating_sub(ADMIN_SESSION_SILENT_AFTER);
        let kept_from = now.saturating_sub(Span::Hour.kept());
        let (silent, deleted) = self
            .record(async move |tx: &mut Tx| {
                let silent = tx.silence_admin_sessions(silent_before).await?;
                Ok::<_, PlatformError>((silent, tx.delete_admin_sessions(kept_from).await?))
            })
            .await?;
        trace!(silent, deleted, "admin sessions are swept");
        Ok(())
    }
}
