//! Follows what changes on the platform, by whichever process, and tells those whom it concerns: the links of the
//! servers that a change names, the relay, and the streams of events, each of which takes out what is its
//! organization's ([`EventHub`]).
//!
//! Nothing is read here but the feed's own rows: what is true now, everybody reads on their own. A database that is
//! away ends nothing: it is said once, those who follow wait, and what changed meanwhile is told when it is back.

mod concerned;
mod inbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::events::EventHub;
use super::platform::{Platform, PlatformError};
use super::store::{ChangeKind, ChangeRow, ChangesAfter};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::{CHANGES_READ_MAX, DATABASE_ASKED_MAX, DATABASE_ASKED_MIN};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_core::domain::word::Word;
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_observe::metrics;

pub(crate) use self::concerned::{Concerned, ConcernedServers};
pub(crate) use self::inbox::{LinkInbox, News};

/// After so many failures in a row a database counts as away that is merely busy or strange.
const FAILURES_MAX: u32 = 3;
/// How often it is said of each kind of thing that it is not written.
const UNWRITTEN_SAID_EVERY: Duration = Duration::from_mins(1);
const UNWRITTEN_KINDS_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Feed {
    links: Mutex<Links>,
    relay: ConcernedServers,
    events: Arc<EventHub>,
    away_since: Mutex<Option<Timestamp>>,
    suspected: Notify,
    /// Nobody could write for as long as an act may wait.
    is_locked: AtomicBool,
    unwritten: Mutex<RepeatLimiter<&'static str>>,
}

/// A server's links: two for a moment, where a newer has replaced one that has yet to end.
#[derive(Debug, Default)]
struct Links {
    by_server: BTreeMap<(ServerId, u64), Arc<LinkInbox>>,
    made: u64,
}

/// A link's place among those who follow. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct FeedSubscription {
    feed: Arc<Feed>,
    key: (ServerId, u64),
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            links: Mutex::default(),
            relay: ConcernedServers::default(),
            events: Arc::default(),
            away_since: Mutex::default(),
            suspected: Notify::default(),
            is_locked: AtomicBool::default(),
            unwritten: Mutex::new(RepeatLimiter::every(UNWRITTEN_SAID_EVERY, UNWRITTEN_KINDS_MAX)),
        }
    }
}

impl Feed {
    /// Fills `inbox` from now on with what changes for `server`, and with the database's comings and goings.
    #[must_use]
    pub(crate) fn follow_server(
        self: &Arc<Self>,
        server: ServerId,
        inbox: Arc<LinkInbox>,
    ) -> FeedSubscription {
        let mut links = self.links.lock();
        links.made += 1;
        let key = (server, links.made);
        links.by_server.insert(key, inbox);
        FeedSubscription { feed: Arc::clone(self), key }
    }

    /// Returns the servers of which the relay must read again what they may do.
    pub(crate) const fn relay(&self) -> &ConcernedServers {
        &self.relay
    }

    /// Returns what streams of events are fed from.
    pub(crate) const fn events(&self) -> &Arc<EventHub> {
        &self.events
    }

    /// Returns since when the database is away, if it is.
    pub(crate) fn away_since(&self) -> Option<Timestamp> {
        *self.away_since.lock()
    }

    /// Has the database asked at once whether it is there: somebody was not served. One that others keep locked for
    /// as long as an act may wait is as good as away.
    pub(crate) fn suspect_database(&self, why: &PlatformError) {
        self.is_locked.fetch_or(why.is_locked(), Ordering::Relaxed);
        self.suspected.notify_one();
    }

    /// Logs what the database does not take though it is there, as where its disk is full. It is tried again all
    /// the time; each kind has a line at once and then one in a while that counts.
    pub(crate) fn note_unwritten(&self, otherwise: &'static str, error: &PlatformError) {
        let why = error_chain(error);
        let due = self.unwritten.lock().handle(otherwise, Instant::now());
        if let Some(more) = due {
            error!(why, otherwise, more, "the database failed; trying again");
        } else {
            debug!(why, otherwise, "the database failed again; counted for the next line");
        }
    }

    /// Follows the platform for as long as it may change; what there was up to `seen` is known.
    pub(crate) async fn follow(&self, platform: &Platform, mut seen: i64) {
        let mut failures = 0;
        loop {
            match self.next(platform, seen).await {
                Ok(read) => (seen, failures) = (read, 0),
                Err(error) => {
                    failures += 1;
                    if error.is_away() || error.is_locked() || failures >= FAILURES_MAX {
                        seen = self.until_back(platform, &error, seen).await;
                    } else {
                        debug!(why = error_chain(&error), failures, "the feed was not read; trying again");
                        sleep(DATABASE_ASKED_MIN).await;
                    }
                }
            }
        }
    }

    /// Waits for changes and tells them on; returns the number of the last.
    async fn next(&self, platform: &Platform, seen: i64) -> Result<i64, PlatformError> {
        tokio::select! {
            changed = platform.until_change_after(seen) => changed?,
            () = self.suspected.notified() => self.ask(platform).await?,
        }
        match platform.changes_after(seen, CHANGES_READ_MAX).await? {
            ChangesAfter::Rows(rows) => {
                self.dispatch(&rows);
                Ok(rows.last().map_or(seen, |row| row.seq))
            }
            ChangesAfter::Lost { newest } => {
                self.tell_lost(seen, newest);
                Ok(newest)
            }
        }
    }

    /// Asks a database that has not served somebody whether it is there.
    async fn ask(&self, platform: &Platform) -> Result<(), PlatformError> {
        if self.is_locked.swap(false, Ordering::Relaxed) {
            return Err(PlatformError::locked());
        }
        platform.newest_change().await.map(drop)
    }

    /// Tells on what changed; each who is concerned is woken once.
    fn dispatch(&self, rows: &[ChangeRow]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        let of = |concerns: fn(ChangeKind) -> bool| {
            // What a newer build calls a change may concern anybody.
            let concerned = rows.iter().filter(|row| match row.kind {
                Word::Known(kind) => concerns(kind),
                Word::Other(_) => true,
            });
            concerned.filter_map(|row| row.server).collect::<BTreeSet<_>>()
        };
        let (links, relay) = (of(concerns_link), of(concerns_relay));
        let woken = self.wake(&links);
        debug!(from = first.seq, to = last.seq, servers = links.len(), woken, "the platform has changed");
        self.relay.note(Concerned::Servers(relay));
        self.events.tell_changes(rows);
    }

    fn tell_lost(&self, seen: i64, newest: i64) {
        debug!(seen, newest, "changes are missing from the feed: everybody reads everything again");
        self.wake_all(LinkInbox::note_rules);
        self.relay.note(Concerned::All);
        self.events.tell_anything();
    }

    fn wake(&self, servers: &BTreeSet<ServerId>) -> usize {
        let links = self.links.lock();
        let of = |server| links.by_server.range((server, 0)..=(server, u64::MAX)).map(|(_, inbox)| inbox);
        servers.iter().copied().flat_map(of).map(|inbox| inbox.note_rules()).count()
    }

    fn wake_all(&self, note: fn(&LinkInbox)) {
        self.links.lock().by_server.values().for_each(|inbox| note(inbox));
    }

    /// Waits until the database can be read and written, has everybody read everything again, and returns its newest
    /// change. It is said once that it is away, and once that it is back.
    async fn until_back(&self, platform: &Platform, error: &PlatformError, seen: i64) -> i64 {
        let since = platform.now();
        warn!(
            why = error_chain(error),
            "the database is away: what runs goes on by the rules as they are, whatever needs it waits"
        );
        self.note_database(Some(since));
        let mut delay = DATABASE_ASKED_MIN;
        let newest = loop {
            sleep(delay).await;
            match platform.newest_if_writable().await {
                Ok(newest) => break newest,
                Err(error) => debug!(why = error_chain(&error), "the database is still away"),
            }
            delay = (delay * 2).min(DATABASE_ASKED_MAX);
        };
        // Who was not served meanwhile says nothing of what is now.
        self.is_locked.store(false, Ordering::Relaxed);
        // Another may have taken its place, which had not heard of everything and has heard of other things since.
        self.tell_lost(seen, newest);
        self.note_database(None);
        let seconds = platform.now().since(since).as_secs();
        info!(seconds, "the database is back: what changed meanwhile is caught up with");
        newest
    }

    fn note_database(&self, away_since: Option<Timestamp>) {
        *self.away_since.lock() = away_since;
        metrics::database_up(away_since.is_none());
        self.wake_all(LinkInbox::note_database);
    }
}

impl Drop for FeedSubscription {
    fn drop(&mut self) {
        self.feed.links.lock().by_server.remove(&self.key);
    }
}

/// Returns whether an agent's rules may say it.
const fn concerns_link(kind: ChangeKind) -> bool {
    match kind {
        ChangeKind::Organization
        | ChangeKind::Server
        | ChangeKind::Key
        | ChangeKind::Connection
        | ChangeKind::Secret => true,
        ChangeKind::Channel
        | ChangeKind::Agreement
        | ChangeKind::Grant
        | ChangeKind::SecretState
        | ChangeKind::Token
        | ChangeKind::User
        | ChangeKind::AdminSession => false,
    }
}

/// Returns whether it may change who reaches whom through the relay.
const fn concerns_relay(kind: ChangeKind) -> bool {
    match kind {
        ChangeKind::Key | ChangeKind::Connection => true,
        ChangeKind::Organization
        | ChangeKind::Server
        | ChangeKind::Channel
        | ChangeKind::Agreement
        | ChangeKind::Grant
        | ChangeKind::Secret
        | ChangeKind::SecretState
        | ChangeKind::Token
        | ChangeKind::User
        | ChangeKind::AdminSession => false,
    }
}

#[cfg(test)]
mod tests;
