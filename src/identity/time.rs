//! Gateway time: the one clock that certificates, rules and audit entries are judged by.
//!
//! The gateway's own clock is that time. An agent learns its offset over the control link, because
//! clocks in hospitals are wrong, and keeps it on disk (not here).

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

pub trait TimeSource: Send + Sync + Debug {
    fn now(&self) -> Timestamp;
}

/// The clock of this host, which on the gateway's host is gateway time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl TimeSource for HostClock {
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp::from_millis(millis)
    }
}

/// Gateway time on an agent: another clock plus the offset learnt from the gateway.
#[derive(Debug)]
pub struct LearntClock<C = HostClock> {
    clock: C,
    offset_millis: AtomicI64,
}

impl<C: TimeSource> LearntClock<C> {
    /// `offset_millis` as [`Self::learn`] gave it in an earlier run, or zero.
    pub const fn new(clock: C, offset_millis: i64) -> Self {
        Self { clock, offset_millis: AtomicI64::new(offset_millis) }
    }

    /// Takes the gateway's word for what time it is; gives the offset to keep on disk.
    pub fn learn(&self, gateway_now: Timestamp) -> i64 {
        let offset = gateway_now.as_millis().saturating_sub(self.clock.now().as_millis());
        self.offset_millis.store(offset, Ordering::Relaxed);
        offset
    }

    /// How far the gateway's clock is ahead of this host's.
    pub fn offset_millis(&self) -> i64 {
        self.offset_millis.load(Ordering::Relaxed)
    }
}

impl<C: TimeSource> TimeSource for LearntClock<C> {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis().saturating_add(self.offset_millis()))
    }
}

/// A clock that stands still, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct StoppedClock(pub Timestamp);

#[cfg(test)]
impl TimeSource for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_clock_three_days_behind_is_set_right_by_what_the_gateway_says() {
        let host = Timestamp::from_millis(1_000_000);
        let gateway = Timestamp::from_millis(1_000_000 + 3 * 86_400_000);
        let clock = LearntClock::new(StoppedClock(host), 0);
        assert_eq!(clock.now(), host);

        let offset = clock.learn(gateway);
        assert_eq!(clock.now(), gateway);
        let after_restart = LearntClock::new(StoppedClock(host), offset);
        assert_eq!(after_restart.now(), gateway);
    }
}
