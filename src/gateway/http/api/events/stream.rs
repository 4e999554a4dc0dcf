//! One stream: first what was missed, then what happens, in pieces of text.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::events::Happened;
use crate::http::Api;
use crate::http::caller::Caller;
use crate::platform::PlatformError;
use crate::store::ReachedRow;
use crate::store::{ChangeKind, ChangeRow, ChangesAfter};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::{
    CHANGES_READ_MAX, EVENT_HEARTBEAT_EVERY, EVENT_PROOF_EVERY, EVENTS_RESUMED_MAX,
};
use adit_core::domain::visible::error_chain;
use adit_core::domain::word::Word;

pub(super) struct EventStream {
    api: Arc<Api>,
    caller: Caller,
    happens: Receiver<Happened>,
    /// Sent before anything else.
    first: Option<String>,
    /// The newest change that was told or read past.
    seen: i64,
    beats_at: Instant,
    proven_until: Instant,
}

/// What a listener has heard of last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It begins to listen.
    Nothing,
    /// None of ours.
    Other,
    Change(i64),
}

impl EventStream {
    /// Begins after what the listener has heard of last.
    pub(super) async fn begin(api: Arc<Api>, caller: Caller, after: Heard) -> Result<Self, PlatformError> {
        // Before anything is read: whatever changes from here on, it is told.
        let happens = api.events.follow();
        // What ended since the request's head was read was told to nobody here: it is looked at first of all.
        let now = Instant::now();
        let (beats_at, proven_until) = (now + EVENT_HEARTBEAT_EVERY, now);
        let mut stream = Self { api, caller, happens, first: None, seen: 0, beats_at, proven_until };
        let first = stream.missed(after).await?;
        stream.first = Some(first);
        Ok(stream)
    }

    /// Returns what happened before the stream began.
    async fn missed(&mut self, after: Heard) -> Result<String, PlatformError> {
        let platform = Arc::clone(&self.api.platform);
        let newest = platform.newest_change().await?;
        let known = match after {
            Heard::Nothing => {
                self.seen = newest;
                return Ok(event("start", Some(&self.id(newest)), &[]));
            }
            Heard::Other => None,
            Heard::Change(known) => Some(known).filter(|known| (0..=newest).contains(known)),
        };
        self.seen = newest;
        let reload = event("reload", Some(&self.id(newest)), &[]);
        let Some(mut at) = known else { return Ok(reload) };
        if newest - at > EVENTS_RESUMED_MAX {
            return Ok(reload);
        }
        let mut text = String::new();
        while at < newest {
            match platform.changes_after(at, CHANGES_READ_MAX).await? {
                ChangesAfter::Lost { .. } => return Ok(reload),
                ChangesAfter::Rows(rows) => {
                    self.seen = at;
                    text.push_str(&self.changed(&rows));
                    let Some(last) = rows.last() else { break };
                    at = last.seq;
                }
            }
        }
        self.seen = at.max(newest);
        // What is reached has no numbers: it may be otherwise in any way.
        text.push_str(&event("connectivity", Some(&self.id(self.seen)), &[]));
        Ok(text)
    }

    /// Returns the next piece, or nothing once nobody may listen any more.
    pub(super) async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(Bytes::from(first)), self));
        }
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.proven_until) => {
                    let Some(span) = self.proven_for().await else {
                        debug!(user = %self.caller.user, "a stream of events ends: its user may not listen any more");
                        return None;
                    };
                    self.proven_until = Instant::now() + span.min(EVENT_PROOF_EVERY);
                }
                () = sleep_until(self.beats_at) => return Some(self.piece(":\n\n".to_owned())),
                happened = self.happens.recv() => {
                    let text = self.told(happened)?;
                    if !text.is_empty() {
                        return Some(self.piece(text));
                    }
                }
            }
        }
    }

    fn piece(mut self, text: String) -> (Result<Bytes, Infallible>, Self) {
        self.beats_at = Instant::now() + EVENT_HEARTBEAT_EVERY;
        (Ok(Bytes::from(text)), self)
    }

    /// Returns for how long the user may listen at most, if it may. A database that is away has nothing to tell anybody
    /// either; what it held against a user is found later.
    async fn proven_for(&self) -> Option<Duration> {
        let platform = &self.api.platform;
        match platform.proven_until(&self.caller.initiator).await {
            Ok(until) => until.map(|until| until.since(platform.now())),
            Err(error) if error.is_transient() => Some(EVENT_PROOF_EVERY),
            Err(error) => {
                debug!(why = error_chain(&error), "whether a user may still listen was not read");
                None
            }
        }
    }

    /// Writes what happened, as far as it concerns the organization; `None` when the gateway stops.
    fn told(&mut self, happened: Result<Happened, RecvError>) -> Option<String> {
        Some(match happened {
            Ok(Happened::Changed(rows)) => self.changed(&rows),
            Ok(Happened::Reached(rows)) => reached(self.caller.organization, &rows),
            Ok(Happened::Anything) | Err(RecvError::Lagged(_)) => {
                // What is not told may have been about the one who listens.
                self.proven_until = Instant::now();
                event("reload", None, &[])
            }
            Err(RecvError::Closed) => return None,
        })
    }

    /// Returns what an event of a change is called.
    fn id(&self, seq: i64) -> String {
        self.api.platform.told_change(self.caller.organization, seq)
    }

    fn changed(&mut self, rows: &[ChangeRow]) -> String {
        let mut text = String::new();
        let own = Some(self.caller.organization);
        for row in rows.iter().filter(|row| row.seq > self.seen && row.organization == own) {
            let server = row.server.map(|id| id.to_string());
            let connection = row.connection.map(|id| id.to_string());
            text.push_str(&event(word(row.kind), Some(&self.id(row.seq)), &ids(server, connection)));
            if row.kind == Word::Known(ChangeKind::User) {
                // It may be about the one who listens.
                self.proven_until = Instant::now();
            }
        }
        self.seen = rows.last().map_or(self.seen, |last| last.seq.max(self.seen));
        text
    }
}

fn reached(own: OrganizationId, rows: &[ReachedRow]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.organization == own) {
        let (server, connection) =
            (row.server.map(|id| id.to_string()), row.connection.map(|id| id.to_string()));
        text.push_str(&event("connectivity", None, &ids(server, connection)));
    }
    text
}

fn ids(server: Option<String>, connection: Option<String>) -> Vec<(&'static str, String)> {
    let named = [("server", server), ("connection", connection)];
    named.into_iter().filter_map(|(name, id)| id.map(|id| (name, id))).collect()
}

/// Returns the API's word for a kind of change.
const fn word(kind: Word<ChangeKind>) -> &'static str {
    match kind {
        Word::Known(ChangeKind::Organization) => "organization",
        Word::Known(ChangeKind::Server | ChangeKind::Key) => "server",
        Word::Known(ChangeKind::Channel) => "channel",
        Word::Known(ChangeKind::Agreement) => "peering",
        Word::Known(ChangeKind::Grant) => "grant",
        Word::Known(ChangeKind::Connection) => "connection",
        Word::Known(ChangeKind::Secret | ChangeKind::SecretState) => "secret",
        Word::Known(ChangeKind::Token) => "connector",
        Word::Known(ChangeKind::User) => "user",
        Word::Known(ChangeKind::AdminSession) => "admin_session",
        // What a newer build calls a change may be of anything.
        Word::Other(_) => "reload",
    }
}

/// Writes one event. Ids need no escaping in JSON.
fn event(kind: &str, id: Option<&str>, ids: &[(&'static str, String)]) -> String {
    let mut text = format!("event: {kind}\n");
    if let Some(id) = id {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "id: {id}");
    }
    let fields: Vec<_> = ids.iter().map(|(name, id)| format!("\"{name}\":\"{id}\"")).collect();
    let _ = write!(text, "data: {{{}}}\n\n", fields.join(","));
    text
}
