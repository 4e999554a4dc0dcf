//! What a link asks of the platform, one thing at a time and beside its loop: heartbeats go on while the database
//! is slow or away. What cannot be served just now is handed back, to be tried again; only a fault that time does
//! not mend ends a link.

use tracing::field::display;
use tracing::{debug, warn};

use super::queue::Work;
use super::{Control, LinkAgent, LinkEnd, count_dropped};
use crate::platform::{AgentError, AgentNote, NoteTaken, NumberedNote};
use adit_core::domain::id::{BootId, ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::limits::CONNECTIONS_ASKED_MAX;
use adit_core::domain::visible::error_chain;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{NoteNumber, PeerRefusal, Rule, ToAgent, ToGateway};
use adit_core::protocol::text::listed;

/// What came of it.
pub(super) enum Worked {
    CaughtUp(Truth),
    Served(Option<ToAgent>),
    /// These are on file, or never will be.
    Taken(Vec<NoteNumber>),
    /// The database is away, busy or full.
    Later(Work),
}

/// What an agent must know as it stands in the database.
pub(super) struct Truth {
    pub(super) rules: Vec<Rule>,
    pub(super) revoked: Vec<KeyFingerprint>,
    /// Those that the agent was told of and that have reached a final status.
    pub(super) ended: Vec<ConnectionId>,
}

/// Does the work when it is the link's turn; `told` are the connections that the agent knows of.
pub(super) async fn run(
    control: &Control,
    agent: &LinkAgent,
    boot: BootId,
    work: Work,
    told: Vec<ConnectionId>,
) -> Result<Worked, LinkEnd> {
    let _turn = control.turns.acquire().await;
    let outcome = match &work {
        Work::CatchUp => catch_up(control, agent, &told).await.map(Worked::CaughtUp),
        Work::Serve(message) => serve(control, agent, message).await.map(Worked::Served),
        Work::Take(notes) => take(control, agent, boot, notes).await.map(Worked::Taken),
    };
    match outcome {
        Err(LinkEnd::Platform { source }) if source.is_transient() => {
            debug!(why = error_chain(&source), "the database does not serve this now; it waits");
            control.feed.suspect_database(&source);
            Ok(Worked::Later(work))
        }
        Err(LinkEnd::Platform { source }) if source.is_full() => {
            // What can be read is served; the rest waits until there is room.
            control.feed.note_unwritten("what agents say is not written yet", &source);
            Ok(Worked::Later(work))
        }
        outcome => outcome,
    }
}

/// Reads what holds now. Something changed that may concern the server: is its agent still welcome, and what must
/// it hear?
async fn catch_up(control: &Control, agent: &LinkAgent, told: &[ConnectionId]) -> Result<Truth, LinkEnd> {
    control.authorize_key(agent.server, &agent.peer).await?;
    let (rules, revoked) = control.rules(agent.server).await?;
    let is_gone = |id: &&ConnectionId| rules.binary_search_by_key(*id, |rule| rule.connection).is_err();
    let gone: Vec<_> = told.iter().filter(is_gone).copied().collect();
    let ended = if gone.is_empty() { Vec::new() } else { control.ended_among(agent.server, &gone).await? };
    Ok(Truth { rules, revoked, ended })
}

async fn serve(
    control: &Control,
    agent: &LinkAgent,
    message: &ToGateway,
) -> Result<Option<ToAgent>, LinkEnd> {
    let (platform, server) = (&control.platform, agent.server);
    match message {
        ToGateway::FetchSecret { connection } => fetch_secret(control, agent, *connection).await.map(Some),
        ToGateway::Missing { connections } => ended(control, agent, connections).await,
        ToGateway::SecretStored { connection, epoch } => {
            control.authorize_key(server, &agent.peer).await?;
            ignore_stale(platform.secret_stored(server, *connection, *epoch).await)?;
            Ok(None)
        }
        ToGateway::Report { connection, report } => {
            ignore_stale(platform.report(server, *connection, report, control.clock.now()).await)?;
            Ok(None)
        }
        ToGateway::ConfigMismatch { connection, reason } => {
            control.authorize_key(server, &agent.peer).await?;
            let is_new = ignore_stale(platform.config_mismatch(server, *connection, *reason).await)?;
            if is_new == Some(true) {
                warn!(%connection, why = reason.sentence(), "an agent's own file forbids a connection");
            }
            Ok(None)
        }
        ToGateway::RefusedPeer { connection, peer, reason, left_out, .. } => {
            control.authorize_key(server, &agent.peer).await?;
            let note = refused_peer(*connection, *peer, *reason, *left_out);
            if ignore_stale(platform.take_note(server, note).await)? == Some(true) {
                log_listed(&note);
            }
            Ok(None)
        }
        ToGateway::AdminSession { connection, session, .. } => {
            control.authorize_key(server, &agent.peer).await?;
            let note = AgentNote::AdminSession { connection: *connection, session: *session };
            ignore_stale(platform.take_note(server, note).await)?;
            Ok(None)
        }
        ToGateway::Measured { connection, at, sums } => {
            match platform.take_measured_late(server, *connection, *at, sums.clone()).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    count_dropped("measurement");
                    debug!(%connection, %at, %why, "what the agent measured is not kept");
                }
                Err(AgentError::Platform(source)) => return Err(LinkEnd::Platform { source }),
                Err(AgentError::NotFound | AgentError::SecretUnavailable) => {
                    count_dropped("foreign_measurement");
                    debug!(%connection, "the agent measures a connection that is none of its own");
                }
            }
            Ok(None)
        }
        ToGateway::Renew { csr } => control.renew(agent, csr).await.map(Some),
        // Answered without the database, by the link's loop.
        ToGateway::Hello { .. }
        | ToGateway::Heartbeat { .. }
        | ToGateway::HiddenFrom { .. }
        | ToGateway::AllowedPaths { .. }
        | ToGateway::Listening { .. }
        | ToGateway::Unknown => Ok(None),
    }
}

/// Takes notes that are acknowledged; those of another's connections too: they are not to be said again.
async fn take(
    control: &Control,
    agent: &LinkAgent,
    boot: BootId,
    notes: &[NumberedNote],
) -> Result<Vec<NoteNumber>, LinkEnd> {
    control.authorize_key(agent.server, &agent.peer).await?;
    let taken = control.platform.take_notes(agent.server, boot, notes).await;
    let taken = taken.map_err(|source| LinkEnd::Platform { source })?;
    for (NumberedNote { number, note }, taken) in notes.iter().zip(taken) {
        match taken {
            NoteTaken::Listed => log_listed(note),
            NoteTaken::Counted => {}
            NoteTaken::Refused => {
                count_dropped("stale_note");
                debug!(number = number.0, "an agent's note was not taken");
            }
            NoteTaken::Known => debug!(number = number.0, "a note is on file already"),
        }
    }
    Ok(notes.iter().map(|noted| noted.number).collect())
}

/// Returns the note that a refused peer is.
pub(super) fn refused_peer(
    connection: Option<ConnectionId>,
    peer: Option<ServerId>,
    reason: Word<PeerRefusal>,
    left_out: u64,
) -> AgentNote {
    let times = u32::try_from(left_out).unwrap_or(u32::MAX).saturating_add(1);
    AgentNote::RefusedPeer { connection, peer, reason, times }
}

fn log_listed(note: &AgentNote) {
    if let AgentNote::RefusedPeer { connection, peer, reason, times } = note {
        let (connection, peer, more) = (connection.map(display), peer.map(display), times - 1);
        warn!(connection, peer, why = reason.sentence(), more, "an agent refused a peer");
    }
}

async fn fetch_secret(
    control: &Control,
    agent: &LinkAgent,
    connection: ConnectionId,
) -> Result<ToAgent, LinkEnd> {
    match control.platform.fetch_secret(agent.server, connection).await {
        Ok((epoch, secret)) => {
            // A key is revoked together with the rotation of its server's secrets: one that is good now was so
            // when this secret was read.
            control.authorize_key(agent.server, &agent.peer).await?;
            debug!(%connection, epoch, "the agent is handed its connection's secret");
            Ok(ToAgent::Secret { connection, epoch, secret: secret.reveal_hex() })
        }
        Err(why @ (AgentError::NotFound | AgentError::SecretUnavailable)) => {
            debug!(%connection, %why, "the agent is handed no secret");
            Ok(ToAgent::SecretUnavailable { connection })
        }
        Err(AgentError::Platform(source)) => Err(LinkEnd::Platform { source }),
    }
}

/// Tells which of the agent's own connections are over; of others nothing is said.
async fn ended(
    control: &Control,
    agent: &LinkAgent,
    asked: &[ConnectionId],
) -> Result<Option<ToAgent>, LinkEnd> {
    if asked.len() > CONNECTIONS_ASKED_MAX {
        let count = asked.len();
        let what =
            format!("it asked about {count} connections, at most {CONNECTIONS_ASKED_MAX} are answered");
        return Err(LinkEnd::Misbehaved { what });
    }
    let connections = control.ended_among(agent.server, asked).await?;
    debug!(asked = %listed(asked), ended = %listed(&connections), "the agent asks which connections are over");
    Ok((!connections.is_empty()).then_some(ToAgent::Ended { connections }))
}

/// Passes a note on: a refused note is an agent that lags behind a change; it will hear of it.
fn ignore_stale<T>(outcome: Result<T, AgentError>) -> Result<Option<T>, LinkEnd> {
    match outcome {
        Ok(taken) => Ok(Some(taken)),
        Err(why @ (AgentError::NotFound | AgentError::SecretUnavailable)) => {
            count_dropped("stale_note");
            debug!(%why, "an agent's note was not taken");
            Ok(None)
        }
        Err(AgentError::Platform(source)) => Err(LinkEnd::Platform { source }),
    }
}
