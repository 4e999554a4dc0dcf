//! What agents tell of for the audit logs of both organizations: peers that were refused, and admin sessions. A
//! note under a number is said again until it is known to be on file, and counts once however often it is said;
//! how such notes are written is [`numbered`](super::act::numbered).

use adit_core::domain::id::{BootId, ConnectionId, ServerId};
use adit_core::domain::word::Word;
use adit_core::protocol::control::{NoteNumber, PeerRefusal, SessionReport};

use crate::store::AuditOutcome;

use super::act::Act;
use super::agents::AgentError;
use super::{Action, Initiator, Platform, sessions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentNote {
    /// A peer or stranger was refused at a tunnel.
    RefusedPeer {
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: Word<PeerRefusal>,
        /// How many alike it stands for.
        times: u32,
    },
    AdminSession {
        connection: ConnectionId,
        session: SessionReport,
    },
}

/// A note that its agent says until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedNote {
    pub number: NoteNumber,
    pub note: AgentNote,
}

/// What became of a note. Each is on file, or never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteTaken {
    /// It has a row of its own.
    Listed,
    /// It is counted in another's.
    Counted,
    /// It tells of what is none of its server's; that is in the log.
    Refused,
    /// It was taken when it was said before.
    Known,
}

impl Platform {
    /// Takes a note that its agent says once. Repeats are counted in one row a span. Returns whether it has a row
    /// of its own.
    pub async fn take_note(&self, server: ServerId, note: AgentNote) -> Result<bool, AgentError> {
        let (agent, action, object) = (Initiator::Agent { server }, note.action(), note.object());
        let work = async move |act: &mut Act| note.tell(act, server, None).await;
        let told = self.note(&agent, action, object, work).await;
        told.ended.map(|()| told.is_listed)
    }

    /// Notes that a peer or stranger was refused at a tunnel. Both organizations read it when the connection
    /// is theirs. Returns whether it has a row of its own.
    pub async fn refused_peer(
        &self,
        server: ServerId,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: impl Into<Word<PeerRefusal>>,
        times: u32,
    ) -> Result<bool, AgentError> {
        let reason = reason.into();
        self.take_note(server, AgentNote::RefusedPeer { connection, peer, reason, times }).await
    }

    /// Notes a session's report from one of its ends.
    pub async fn admin_session(
        &self,
        server: ServerId,
        connection: ConnectionId,
        session: &SessionReport,
    ) -> Result<(), AgentError> {
        let session = *session;
        self.take_note(server, AgentNote::AdminSession { connection, session }).await.map(drop)
    }
}

impl AgentNote {
    pub(super) const fn action(&self) -> Action {
        match self {
            Self::RefusedPeer { .. } => Action::RefusePeer,
            Self::AdminSession { session, .. } => sessions::action(session.stage),
        }
    }

    pub(super) fn object(&self) -> String {
        match self {
            Self::RefusedPeer { peer, .. } => {
                peer.map_or_else(|| "an unknown peer".to_owned(), |peer| format!("server {peer}"))
            }
            Self::AdminSession { connection, .. } => format!("connection {connection}"),
        }
    }

    /// Tells of it in an act that changes nothing else. `run` is its agent's, where that is known.
    pub(super) async fn tell(
        &self,
        act: &mut Act,
        server: ServerId,
        run: Option<BootId>,
    ) -> Result<(), AgentError> {
        match self {
            Self::RefusedPeer { connection, reason, times, .. } => {
                refuse_peer(act, server, *connection, *reason, *times).await
            }
            Self::AdminSession { connection, session } => {
                sessions::tell(act, (server, run), *connection, session).await
            }
        }
    }
}

async fn refuse_peer(
    act: &mut Act,
    server: ServerId,
    id: Option<ConnectionId>,
    reason: Word<PeerRefusal>,
    times: u32,
) -> Result<(), AgentError> {
    if act.tx.server(server).await?.is_none() {
        return Err(AgentError::NotFound);
    }
    let connection = match id {
        Some(id) => act.tx.connection(id).await?.filter(|it| it.side_of(server).is_some()),
        None => None,
    };
    if let Some(connection) = connection {
        act.names(format!("connection {}", connection.id));
        act.concerns_both(&connection);
    }
    act.tells_of(AuditOutcome::Refused);
    act.describe(reason.sentence());
    act.counts_as(format!("peer {server} {} {reason}", act.object()));
    act.times(times);
    Ok(())
}
