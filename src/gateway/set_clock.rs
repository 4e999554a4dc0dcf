//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicI64, Ordering};

use adit_core::domain::time::Timestamp;
use adit_net::identity::time::TimeSource;

/// Milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct Clock(pub(crate) AtomicI64);

impl TimeSource for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}
