//! How long the peer's credit holds a stream back, for those who ask why it is slow.

use std::time::{Duration, Instant};

use tracing::{debug, trace};

/// Shorter ones are the usual pace of a fast sender.
const LONG: Duration = Duration::from_secs(1);

/// The stalls of one direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Since when nothing may be sent.
    pub(super) since: Option<Instant>,
    /// How often that was so.
    pub(super) count: u64,
}

impl Stall {
    /// Notes that all credit is used up; said again, nothing changes.
    pub(super) fn begin(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.count += 1;
        }
    }

    /// Notes that the peer has granted more.
    pub(super) fn end(&mut self) {
        let Some(since) = self.since.take() else { return };
        let stalled_for = since.elapsed();
        if stalled_for >= LONG {
            debug!(?stalled_for, "the far side took nothing for so long; the stream goes on");
        } else {
            trace!(?stalled_for, "the stream waited for credit");
        }
    }

    /// Says what is lost with a stream that ends while it waits.
    pub(super) fn end_unfinished(&self) {
        if let Some(since) = self.since {
            debug!(stalled_for = ?since.elapsed(), "the stream ended while the far side took nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_counted_once_however_often_it_is_noted() {
        let mut stall = Stall::default();
        stall.begin();
        stall.begin();
        assert_eq!((stall.count, stall.since.is_some()), (1, true));
        stall.end();
        assert_eq!(stall.since, None);
        stall.begin();
        assert_eq!(stall.count, 2);
    }
}
