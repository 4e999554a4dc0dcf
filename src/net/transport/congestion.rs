//! Which congestion controller a tunnel has, and what becomes of it when the path below changes.
//!
//! quinn believes that every connection keeps its path for life, so nothing in it starts again when we send
//! over another one: `PathAware` does, around whichever controller was chosen. Its packets still count as
//! under way until they are found lost, and a fresh window would be full of them; the first packets after a
//! change pass in any case, because their acknowledgement is what finds the others lost. quinn's round-trip
//! times and datagram size stay as they were.

mod bbr;
mod delivery;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;
use tracing::debug;

use self::bbr::Bbr;
use adit_core::config::agent::Congestion;
use adit_core::domain::limits::PROBE_BYTES_MAX;

/// Packets that pass after a change of path, whatever is under way on the path that was left.
const FREE_PACKETS: u64 = 2;
/// As many pass again after each such span, until the new path has acknowledged one. quinn holds
/// acknowledgements back while a connection with data to send has a full window, so two ends that both
/// send, and whose first packets crossed, would wait for each other until their timers fire.
const FREE_AGAIN: Duration = Duration::from_millis(20);
/// Spans after which a path that acknowledges nothing is left to quinn's own timers.
const FREE_SPANS_MAX: u64 = 100;

type Factory = Arc<dyn ControllerFactory + Send + Sync>;

/// Makes the controller that an agent's file names, aware of changes of path.
#[must_use]
pub fn factory(congestion: Congestion) -> Factory {
    let inner: Factory = match congestion {
        Congestion::Bbr => Arc::new(BbrFactory),
        Congestion::Cubic => Arc::new(CubicConfig::default()),
    };
    Arc::new(PathAwareFactory(inner))
}

/// One connection's path as others know it; shared with every copy of its controller.
#[derive(Debug, Default)]
pub struct PathHandle {
    /// Counts the changes of path.
    changes: AtomicU64,
    /// The size of datagrams in use.
    mtu: AtomicU16,
    /// Packets that the peer has acknowledged.
    acknowledged: AtomicU64,
}

impl PathHandle {
    /// Returns the handle of the connection whose controller this is, or is a copy of.
    #[must_use]
    pub fn of(controller: Box<dyn Controller>) -> Option<Arc<Self>> {
        controller.into_any().downcast::<PathAware>().ok().map(|controller| controller.path)
    }

    /// Notes that packets take another path from now on.
    pub fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Returns the number of packets that the peer must acknowledge and has. One that it acknowledges again
    /// and again, as a peer does that nothing reaches any more, counts once.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

struct BbrFactory;

impl ControllerFactory for BbrFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Bbr::new(now, current_mtu))
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, _: u64) {
        self.handle_sent(now, bytes);
    }

    fn on_ack(&mut self, _: Instant, sent: Instant, bytes: u64, _: bool, _: &RttEstimator) {
        self.handle_ack(sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Option<u64>) {
        self.handle_acks(now, in_flight, app_limited);
    }

    fn on_congestion_event(&mut self, _: Instant, _: Instant, is_persistent: bool, lost_bytes: u64) {
        match lost_bytes {
            0 => self.handle_mark(),
            lost => self.handle_lost(lost),
        }
        if is_persistent {
            self.handle_persistent_loss();
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.set_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        Self::window(self)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = Self::window(self);
        metrics.pacing_rate = Some(self.bits_per_second());
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        Self::initial_window(self)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

struct PathAwareFactory(Factory);

impl ControllerFactory for PathAwareFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(PathAware::new(Arc::clone(&self.0), now, current_mtu))
    }
}

/// A controller that starts again on each path.
struct PathAware {
    factory: Factory,
    inner: Box<dyn Controller>,
    mtu: u16,
    path: Arc<PathHandle>,
    /// The path that `inner` knows.
    path_known: u64,
    /// When it was taken; what was sent before tells nothing of it.
    path_since: Instant,
    /// Whether anything sent since was acknowledged, and how many packets were sent until then.
    path_proven: bool,
    path_packets: u64,
    in_flight: u64,
}

impl PathAware {
    fn new(factory: Factory, now: Instant, mtu: u16) -> Self {
        Self {
            inner: Arc::clone(&factory).build(now, mtu),
            factory,
            mtu,
            path: Arc::new(PathHandle { mtu: AtomicU16::new(mtu), ..PathHandle::default() }),
            path_known: 0,
            path_since: now,
            path_proven: true,
            path_packets: 0,
            in_flight: 0,
        }
    }

    fn follow_path(&mut self, now: Instant) {
        let path = self.path.changes();
        if path != self.path_known {
            self.path_known = path;
            self.path_since = now;
            self.path_proven = false;
            self.path_packets = 0;
            debug!(
                path,
                under_way = self.in_flight,
                mtu = self.mtu,
                "congestion control starts again on another path"
            );
            self.inner = Arc::clone(&self.factory).build(now, self.mtu);
        }
    }

    /// Returns whether an acknowledged packet tells of the path in use; then the path is proven.
    fn handle_acknowledged(&mut self, sent: Instant) -> bool {
        let tells = sent >= self.path_since;
        if tells && !self.path_proven {
            debug!(
                path = self.path_known,
                packets = self.path_packets,
                "the other path has acknowledged a packet"
            );
        }
        self.path_proven |= tells;
        tells
    }

    fn free_packets(&self) -> u64 {
        if self.path.changes() != self.path_known {
            return FREE_PACKETS;
        }
        if self.path_proven {
            return 0;
        }
        let spans = self.path_since.elapsed().as_nanos() / FREE_AGAIN.as_nanos();
        let spans = u64::try_from(spans).map_or(FREE_SPANS_MAX, |spans| spans.min(FREE_SPANS_MAX));
        let allowed = FREE_PACKETS * (1 + spans);
        allowed.saturating_sub(self.path_packets).min(FREE_PACKETS)
    }
}

impl Controller for PathAware {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.follow_path(now);
        self.in_flight += bytes;
        self.path_packets += bytes.div_ceil(u64::from(self.mtu));
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.path.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.follow_path(now);
        if self.handle_acknowledged(sent) {
            self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.follow_path(now);
        self.in_flight = in_flight;
        self.inner.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.follow_path(now);
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if sent >= self.path_since {
            self.inner.on_congestion_event(now, sent, is_persistent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        if new_mtu != self.mtu {
            debug!(before = self.mtu, mtu = new_mtu, "datagrams on this tunnel have another size now");
        }
        self.mtu = new_mtu;
        self.path.mtu.store(new_mtu, Ordering::Relaxed);
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        match self.free_packets() {
            0 => self.inner.window(),
            // quinn sends while what is under way stays below the window, and counts a probe for a
            // larger datagram that it told nobody of.
            free => {
                let under_way = self.in_flight + PROBE_BYTES_MAX as u64;
                self.inner.window().max(under_way + free * u64::from(self.mtu) + 1)
            }
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            factory: Arc::clone(&self.factory),
            inner: self.inner.clone_box(),
            path: Arc::clone(&self.path),
            ..*self
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl fmt::Debug for PathAware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathAware").field("path", &self.path_known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1_200;
    const PROBE: u64 = PROBE_BYTES_MAX as u64;

    fn controller() -> (Box<dyn Controller>, Instant) {
        let now = Instant::now();
        (factory(Congestion::Cubic).build(now, MTU), now)
    }

    fn later(now: Instant, millis: u64) -> Instant {
        now + Duration::from_millis(millis)
    }

    #[test]
    fn after_a_change_of_path_two_packets_pass_a_full_window_before_a_fresh_one_counts() {
        let (mut controller, now) = controller();
        let fresh = controller.window();
        controller.on_sent(now, fresh, 0);
        controller.on_congestion_event(later(now, 1), now, false, 1_200);
        let narrowed = controller.window();
        assert!(narrowed < fresh);

        PathHandle::of(controller.clone_box()).unwrap().note_change();
        for (packet, left) in [(1, 2), (2, 1)] {
            let in_flight = fresh - 1_200 + (packet - 1) * 1_200;
            assert_eq!(controller.window(), in_flight + PROBE + left * 1_200 + 1);
            controller.on_sent(later(now, 2), 1_200, packet);
        }
        assert_eq!(controller.window(), fresh);
    }

    #[test]
    fn a_probe_that_only_quinn_counts_does_not_hold_them_up() {
        let (mut controller, now) = controller();
        let fresh = controller.window();
        controller.on_sent(now, fresh, 0);
        PathHandle::of(controller.clone_box()).unwrap().note_change();
        let under_way = fresh + 6_500;
        assert!(under_way + u64::from(MTU) < controller.window());
    }

    #[test]
    fn packets_keep_passing_until_the_new_path_has_acknowledged_one() {
        let now = Instant::now();
        let since = now.checked_sub(FREE_AGAIN * 2).unwrap();
        let mut controller = PathAware::new(factory(Congestion::Cubic), since, MTU);
        let fresh = controller.window();
        controller.on_sent(since, fresh, 0);
        controller.path.note_change();
        // Two spans have passed: two packets at a time, six at least.
        for packet in 0..6 {
            assert!(controller.window() > fresh + packet * 1_200 + 1_200, "packet {packet}");
            controller.on_sent(since, 1_200, packet + 1);
        }
        // What was sent before the change proves nothing.
        assert!(!controller.handle_acknowledged(since.checked_sub(FREE_AGAIN).unwrap()));
        controller.path_since = now.checked_sub(FREE_AGAIN * 100).unwrap();
        assert!(controller.window() > fresh + 6 * 1_200 + 2 * 1_200);
        assert!(controller.handle_acknowledged(since));
        assert_eq!(controller.window(), fresh);
    }

    #[test]
    fn what_was_sent_on_the_path_before_does_not_count_against_the_next() {
        let (mut controller, now) = controller();
        let fresh = controller.window();
        controller.on_sent(now, 12_000, 9);
        PathHandle::of(controller.clone_box()).unwrap().note_change();
        controller.on_sent(later(now, 10), 2_400, 11);
        controller.on_congestion_event(later(now, 20), now, true, 12_000);
        assert_eq!(controller.window(), fresh);
        controller.on_congestion_event(later(now, 30), later(now, 10), false, 1_200);
        assert!(controller.window() < fresh);
    }

    #[test]
    fn a_fresh_controller_knows_the_datagram_size_in_use() {
        let (mut controller, now) = controller();
        controller.on_mtu_update(6_500);
        assert_eq!(PathHandle::of(controller.clone_box()).unwrap().mtu(), 6_500);
        PathHandle::of(controller.clone_box()).unwrap().note_change();
        controller.on_sent(now, 6_500, 0);
        assert_eq!(
            controller.window(),
            factory(Congestion::Cubic).build(now, 6_500).window().max(PROBE + 13_001)
        );
    }

    #[test]
    fn a_controller_of_another_make_is_left_alone() {
        let other = Arc::new(CubicConfig::default()).build(Instant::now(), MTU);
        assert!(PathHandle::of(other).is_none());
    }
}
