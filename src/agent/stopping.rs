//! The word that this agent stops, and what may still end in order before it does.
//!
//! Ports close at once. What somebody waits for (an acknowledgement, the release of an association, an
//! answer) may end within a bounded time; what waits for nothing is ended at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use adit_core::config::agent::Service;
use adit_core::domain::connection::Protocol;
use adit_core::domain::limits;

/// Shared by all tasks of an agent.
#[derive(Debug)]
pub(crate) struct Stopping {
    since: watch::Sender<Option<Instant>>,
    tunnels: TaskTracker,
    reset: AtomicU64,
}

impl Stopping {
    #[must_use]
    pub(crate) fn new() -> Arc<Self> {
        let (since, tunnels) = (watch::Sender::new(None), TaskTracker::new());
        // An open tracker is never waited for to the end; a closed one counts on.
        tunnels.close();
        Arc::new(Self { since, tunnels, reset: AtomicU64::new(0) })
    }

    /// Begins the stop: nothing new begins from now on.
    pub(crate) fn begin(&self, now: Instant) {
        self.since.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert(now);
            is_first
        });
    }

    #[must_use]
    pub(crate) fn is_begun(&self) -> bool {
        self.since.borrow().is_some()
    }

    /// Changes when the agent begins to stop, and says since when.
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.since.subscribe()
    }

    /// Resolves once the agent stops.
    pub(crate) async fn begun(&self) {
        // The sender lives as long as its agent.
        let _ = self.watch().wait_for(Option::is_some).await;
    }

    /// Returns since when the agent stops, if it does.
    #[must_use]
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.since.borrow()
    }

    /// Notes that a tunnel is up. It is waited for until what is returned is dropped.
    pub(crate) fn tunnel_up(&self) -> TaskTrackerToken {
        self.tunnels.token()
    }

    /// Resolves once no tunnel is up.
    pub(crate) async fn all_ended(&self) {
        self.tunnels.wait().await;
    }

    /// Counts exchanges whose time was over.
    pub(crate) fn note_reset(&self, exchanges: u64) {
        self.reset.fetch_add(exchanges, Ordering::Relaxed);
    }

    #[must_use]
    pub(crate) fn reset(&self) -> u64 {
        self.reset.load(Ordering::Relaxed)
    }
}

/// Returns how long what a connection carries may take to end.
#[must_use]
pub(crate) const fn limit(service: Service) -> std::time::Duration {
    match service {
        Service::Channel(Protocol::Dicom) => limits::STOP_DICOM_TIMEOUT,
        Service::Channel(Protocol::Mllp | Protocol::Tcp) | Service::Admin { .. } => limits::STOP_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_exchange_has_five_seconds_where_an_association_has_eight() {
        let of = |protocol| limit(Service::Channel(protocol)).as_secs();
        assert_eq!([Protocol::Mllp, Protocol::Tcp, Protocol::Dicom].map(of), [5, 5, 8]);
    }

    #[test]
    fn the_first_word_says_since_when_it_stops() {
        let (stopping, start) = (Stopping::new(), Instant::now());
        assert_eq!(stopping.since(), None);
        stopping.begin(start);
        stopping.begin(start + Duration::from_secs(3));
        assert_eq!(stopping.since(), Some(start));
    }

    #[tokio::test]
    async fn it_is_over_with_the_last_tunnel() {
        let stopping = Stopping::new();
        stopping.all_ended().await;
        let (one, other) = (stopping.tunnel_up(), stopping.tunnel_up());
        drop(one);
        let mut ended = std::pin::pin!(stopping.all_ended());
        tokio::select! {
            biased;
            () = &mut ended => panic!("one is up"),
            () = std::future::ready(()) => {}
        }
        drop(other);
        ended.await;
    }
}
