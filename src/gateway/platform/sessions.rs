//! Admin sessions as agents tell of them, for the audit logs of both organizations and, as the managed server's agent
//! tells, a row each for their list. The agents' own files have every request refused or changing anything; here is their sum.

mod kept;

use crate::store::Carried;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, ConnectionId, ServerId};
use adit_core::domain::limits::ADMIN_SESSION_ROWS_PER_MINUTE;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{SessionReport, SessionStage};

pub(super) use self::kept::{Heard, is_silent, silent_before};

use super::Action;
use super::act::Act;
use super::agents::{self, AgentError};

/// Tells of a session's report from an end of an admin connection that was accepted, also after it ended: the
/// session's end is told then. Nobody else's word is taken, and the managing side's is in the log alone.
pub(super) async fn tell(
    act: &mut Act,
    (server, run): (ServerId, Option<BootId>),
    id: ConnectionId,
    session: &SessionReport,
) -> Result<(), AgentError> {
    let (connection, side) = agents::connection_of(&mut act.tx, server, id).await?;
    let is_admin = matches!(connection.carried, Carried::Admin { .. });
    if !is_admin || connection.source.server.is_none() {
        return Err(AgentError::NotFound);
    }
    act.concerns_both(&connection);
    let apart = match session.stage {
        // What grows while it runs is told once a minute; the end has the sum.
        Word::Known(SessionStage::Running) | Word::Other(_) => 0,
        // An agent that makes sessions up must not fill the other organization's log.
        Word::Known(SessionStage::Started | SessionStage::Ended) => {
            session.number % ADMIN_SESSION_ROWS_PER_MINUTE
        }
    };
    act.describe(detail(session, side));
    act.counts_as(format!("{} {id} {side} {apart}", action(session.stage)));
    if side == Side::Target {
        act.hears(Heard::new(id, run, *session, act.now));
    }
    Ok(())
}

/// Returns what a report of this stage is called.
pub(super) const fn action(stage: Word<SessionStage>) -> Action {
    match stage {
        Word::Known(SessionStage::Started) => Action::StartAdminSession,
        // A newer agent's stage is one of a session that runs.
        Word::Known(SessionStage::Running) | Word::Other(_) => Action::RunAdminSession,
        Word::Known(SessionStage::Ended) => Action::EndAdminSession,
    }
}

/// Writes a session's detail. The managing side does not judge: it counts neither refusals nor changes.
fn detail(session: &SessionReport, side: Side) -> String {
    let SessionReport { number, local_peer, requests, refused, changes, audits, .. } = session;
    match side {
        Side::Source => format!(
            "session {number} from {local_peer}: {requests} requests, told by the managing server's agent"
        ),
        Side::Target => format!(
            "session {number} from {local_peer}: {requests} requests, {refused} refused, {changes} changes{}, \
             told by the managed server's agent",
            records(*audits)
        ),
    }
}

/// Writes the records, only of a session that has any: most servers keep no such audit.
fn records(audits: u64) -> String {
    match audits {
        0 => String::new(),
        audits => format!(", {audits} records in Mirth's own audit"),
    }
}
