//! The HTTP connections that one admin connection carries at a time, at the managing side. When all are
//! taken, one whose client was answered and has asked for nothing since makes room: closing such a one loses
//! nothing (RFC 9112 §9.3), and no local user can keep the others out by holding them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use adit_core::domain::limits::ADMIN_QUIET_AFTER;

/// How long one that is told to go may take.
const GOING_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Streams {
    permits: Arc<Semaphore>,
    taken: Mutex<Vec<Arc<Activity>>>,
}

/// What one client does.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Since when it has been answered and asks for nothing.
    quiet_since: Mutex<Option<Instant>>,
    go: Notify,
}

impl Activity {
    pub(super) fn note_asked(&self) {
        *self.quiet_since.lock() = None;
    }

    pub(super) fn note_answered(&self, now: Instant) {
        *self.quiet_since.lock() = Some(now);
    }

    /// Resolves when its place is needed.
    pub(super) async fn must_go(&self) {
        self.go.notified().await;
    }

    fn quiet_since(&self) -> Option<Instant> {
        *self.quiet_since.lock()
    }
}

/// One client's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    streams: &'a Streams,
    pub activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.streams.taken.lock().retain(|activity| !Arc::ptr_eq(activity, &self.activity));
    }
}

impl Streams {
    #[must_use]
    pub(super) fn new(streams_max: u32) -> Self {
        Self { permits: Arc::new(Semaphore::new(streams_max as usize)), taken: Mutex::default() }
    }

    /// Takes a place, if need be from a client that has been quiet for long; `None` when all are at work.
    pub(super) async fn take(&self) -> Option<Stream<'_>> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if self.send_one_away(Instant::now()) => {
                let freed = timeout(GOING_TIMEOUT, Arc::clone(&self.permits).acquire_owned());
                freed.await.ok()?.ok()?
            }
            Err(_) => return None,
        };
        let activity = Arc::new(Activity::default());
        self.taken.lock().push(Arc::clone(&activity));
        Some(Stream { streams: self, activity, _permit: permit })
    }

    /// Sends the one away that has been quiet for longest; returns whether there was any.
    fn send_one_away(&self, now: Instant) -> bool {
        let taken = self.taken.lock();
        let quiet = taken.iter().filter_map(|activity| Some((activity.quiet_since()?, activity)));
        let long = quiet.filter(|(since, _)| now.saturating_duration_since(*since) >= ADMIN_QUIET_AFTER);
        let Some((since, activity)) = long.min_by_key(|(since, _)| *since) else {
            tracing::debug!(taken = taken.len(), "all places are taken and every client is at work");
            return false;
        };
        let quiet_for = now.saturating_duration_since(since);
        tracing::debug!(
            taken = taken.len(),
            ?quiet_for,
            "all places are taken, so the quietest client makes room"
        );
        // Not chosen again while it goes.
        activity.note_asked();
        activity.go.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_been_quiet_for_long_makes_room_before_who_waits_for_an_answer() {
        let streams = Streams::new(2);
        let (busy, quiet) = (streams.take().await.unwrap(), streams.take().await.unwrap());
        let ago = |span| Instant::now().checked_sub(span).unwrap();
        busy.activity.note_answered(ago(ADMIN_QUIET_AFTER * 4));
        busy.activity.note_asked();
        quiet.activity.note_answered(ago(ADMIN_QUIET_AFTER));
        let going = async {
            quiet.activity.must_go().await;
            drop(quiet);
        };
        let (newcomer, ()) = tokio::join!(streams.take(), going);
        let newcomer = newcomer.unwrap();
        newcomer.activity.note_answered(Instant::now());
        assert!(streams.take().await.is_none(), "nobody has been quiet for long");
        drop(busy);
        assert!(streams.take().await.is_some());
    }
}
