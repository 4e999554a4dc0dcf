//! The local connections that a source's port carries at a time, and who makes room when there are as
//! many as its file allows, or ends because an agent stops.
//!
//! At the limit the port closes. A connection on which no byte ever passed, in either direction, is reset
//! then if it is old enough: any user of this host can open any number of those. One whose server speaks
//! first has passed bytes and stays.
//!
//! Where an agent stops, no connection begins a new exchange: MLLP is read up to the end of a message and
//! ended once all is acknowledged, what else there is once it is at rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use super::observe::{Owes, StreamObserver};
use adit_core::domain::limits::{SILENT_GRACE, STOP_REST_AFTER};
use adit_net::transport::splice::{Ending, Observer};

/// Silent connections reset together: this part of all, so that who has something to say finds room.
const TOGETHER: usize = 8;
/// At rest at no count.
const NEVER: u64 = u64::MAX;

/// Observes one connection, and tells its task to end it or to let it rest.
#[derive(Debug)]
pub(crate) struct StreamControl {
    since: Instant,
    /// Blocks of bytes that passed.
    passed: AtomicU64,
    /// Somebody waits for something, as far as can be told.
    owes: AtomicBool,
    ending: AtomicBool,
    /// At rest while no more blocks than these have passed.
    rest_at: AtomicU64,
    must_go: AtomicBool,
    changed: Notify,
}

impl StreamControl {
    #[must_use]
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            since: now,
            passed: AtomicU64::new(0),
            owes: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            rest_at: AtomicU64::new(NEVER),
            must_go: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// Notes that bytes passed.
    pub(crate) fn note_passed(&self, owes: bool) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        self.owes.store(owes, Ordering::Relaxed);
    }

    /// Resolves when there is something new for the connection to see to.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns whether its place is needed.
    #[must_use]
    pub(crate) fn must_go(&self) -> bool {
        self.must_go.load(Ordering::Relaxed)
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    fn is_silent_since(&self) -> Option<Instant> {
        (self.passed() == 0).then_some(self.since)
    }

    fn send_away(&self) {
        self.must_go.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn rest(&self, passed: u64) {
        self.rest_at.store(passed, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// Notes that bytes passed, for whatever else watches them.
pub(crate) struct ControlledObserver {
    pub control: Arc<StreamControl>,
    pub observer: StreamObserver,
}

impl Observer for ControlledObserver {
    fn request(&mut self, bytes: &[u8]) {
        self.observer.request(bytes);
        self.control.note_passed(self.observer.owes().is_owed());
    }

    fn response(&mut self, bytes: &[u8]) {
        self.observer.response(bytes);
        self.control.note_passed(self.observer.owes().is_owed());
    }

    fn is_ending(&self) -> bool {
        self.control.is_ending()
    }

    fn takes_requests(&self) -> bool {
        !self.control.is_ending() || self.observer.is_within_request()
    }

    fn is_at_rest(&self) -> bool {
        self.control.is_ending()
            && match self.observer.owes() {
                Owes::Known(owes) => !owes,
                // What passed since it was found at rest proves that it was not.
                Owes::Guessed(_) => self.control.rest_at.load(Ordering::Relaxed) == self.control.passed(),
            }
    }
}

/// How a connection's task ended; `None` where it never was carried.
pub(crate) type Ended = Option<Ending>;

/// All of one tunnel.
#[derive(Debug)]
pub(crate) struct LocalConnections {
    max: usize,
    tasks: JoinSet<Ended>,
    controls: HashMap<Id, Watched>,
}

#[derive(Debug)]
struct Watched {
    control: Arc<StreamControl>,
    /// What had passed when it was looked at last, and since when no more has.
    seen: Option<(u64, Instant)>,
}

impl LocalConnections {
    #[must_use]
    pub(crate) fn new(max: usize) -> Self {
        Self { max, tasks: JoinSet::new(), controls: HashMap::new() }
    }

    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() >= self.max
    }

    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Starts to follow a connection; `control`: of one that may be sent away while it is silent.
    pub(crate) fn start(
        &mut self,
        control: Option<Arc<StreamControl>>,
        serving: impl Future<Output = Ended> + Send + 'static,
    ) {
        let id = self.tasks.spawn(serving).id();
        control.map(|control| self.controls.insert(id, Watched { control, seen: None }));
    }

    /// Waits for the next that ends; `None` while there is none.
    pub(crate) async fn next_ended(&mut self) -> Option<Ended> {
        let (id, ended) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(error) => (error.id(), None),
        };
        self.controls.remove(&id);
        Some(ended)
    }

    /// Lets no connection begin anything any more, and ends those that are at rest. Asked again and again
    /// while some are left.
    pub(crate) fn put_to_rest(&mut self, now: Instant) {
        for Watched { control, seen } in self.controls.values_mut() {
            if !control.is_ending() {
                control.end();
            }
            let passed = control.passed();
            let since = seen.filter(|(before, _)| *before == passed).map_or(now, |(_, since)| since);
            *seen = Some((passed, since));
            let is_quiet = now.saturating_duration_since(since) >= STOP_REST_AFTER;
            if is_quiet && !control.owes.load(Ordering::Relaxed) {
                tracing::trace!(passed, "a connection is at rest and may end");
                control.rest(passed);
            }
        }
    }

    /// Sends the oldest of those away on which nothing ever passed; returns how many.
    pub(crate) fn send_silent_away(&mut self, now: Instant) -> usize {
        let silent =
            self.controls.iter().filter_map(|(id, watched)| Some((watched.control.is_silent_since()?, *id)));
        let old = silent.filter(|(since, _)| now.saturating_duration_since(*since) >= SILENT_GRACE);
        let mut old: Vec<_> = old.collect();
        old.sort_unstable_by_key(|(since, _)| *since);
        old.truncate(self.max.div_ceil(TOGETHER));
        for (_, id) in &old {
            // Not chosen again while it goes.
            self.controls.remove(id).inspect(|watched| watched.control.send_away());
        }
        old.len()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    fn serve(connections: &mut LocalConnections, since: Instant) -> Arc<StreamControl> {
        let control = StreamControl::new(since);
        let going = Arc::clone(&control);
        connections.start(Some(Arc::clone(&control)), async move {
            while !going.must_go() {
                going.changed().await;
            }
            None
        });
        control
    }

    #[tokio::test]
    async fn the_oldest_that_never_spoke_make_room_after_their_grace() {
        let start = Instant::now();
        let mut connections = LocalConnections::new(3);
        let spoke_long_ago = serve(&mut connections, start);
        spoke_long_ago.note_passed(false);
        serve(&mut connections, start);
        assert!(!connections.is_full());
        serve(&mut connections, start + Duration::from_secs(1));
        assert!(connections.is_full());
        let almost = SILENT_GRACE.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(connections.send_silent_away(start + almost), 0);
        // An eighth of three, and never none.
        assert_eq!(connections.send_silent_away(start + SILENT_GRACE), 1);
        assert_eq!(connections.next_ended().await, Some(None));
        assert!(!connections.is_full());
        assert_eq!(connections.send_silent_away(start + SILENT_GRACE), 0);
        assert_eq!(connections.send_silent_away(start + 2 * SILENT_GRACE), 1);
        assert_eq!(connections.next_ended().await, Some(None));
        assert_eq!(connections.send_silent_away(start + 100 * SILENT_GRACE), 0, "it has spoken");
    }

    #[tokio::test]
    async fn who_has_no_control_is_never_sent_away() {
        let mut connections = LocalConnections::new(1);
        connections.start(None, pending());
        assert!(connections.is_full());
        assert_eq!(connections.send_silent_away(Instant::now() + 2 * SILENT_GRACE), 0);
    }

    #[tokio::test]
    async fn who_is_waited_for_is_put_to_rest_only_once_nothing_passes_nor_is_owed() {
        let start = Instant::now();
        let mut connections = LocalConnections::new(3);
        let control = serve(&mut connections, start);
        let rests = |control: &StreamControl| control.rest_at.load(Ordering::Relaxed) == control.passed();
        control.note_passed(true);
        connections.put_to_rest(start);
        assert!(control.is_ending() && !rests(&control));
        connections.put_to_rest(start + STOP_REST_AFTER);
        assert!(!rests(&control), "somebody waits");
        control.note_passed(false);
        connections.put_to_rest(start + STOP_REST_AFTER);
        assert!(!rests(&control), "something has passed");
        connections.put_to_rest(start + 2 * STOP_REST_AFTER);
        assert!(rests(&control));
        control.note_passed(false);
        assert!(!rests(&control), "something has passed since it was found at rest");
    }
}
