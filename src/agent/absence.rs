//! A peer whose agent said that it stops is away by order. Nobody is warned of that until it stays away.

use std::time::Instant;

use tokio::time::sleep_until;

use super::context::Context;
use super::entries::LiveConnection;
use adit_core::domain::limits::STOPPED_PEER_EXCUSED;
use adit_core::protocol::frame::Code;
use adit_net::identity::time::TimeSource;
use adit_net::transport::endpoint::TransportError;

const STOPPED: &str = "the peer's agent was stopped; the tunnel comes back with it";
pub(crate) const STAYS_AWAY: &str =
    "the peer's agent was stopped and has not come back; ask the partner whether it should run";

/// How a tunnel ended.
#[derive(Debug)]
pub(crate) struct TunnelEnd {
    pub why: String,
    /// The peer's agent said that it stops.
    pub is_announced: bool,
}

/// Returns whether the peer took its leave by what its end of the tunnel was closed with.
#[must_use]
pub(crate) fn is_goodbye(error: &TransportError) -> bool {
    error.peer_code() == Some(Code::Goodbye)
}

/// Until when the peer is excused, if it is away by order.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    until: Option<Instant>,
}

impl Absence {
    /// Notes that the tunnel ended.
    pub(crate) fn begin(&mut self, context: &Context, entry: &LiveConnection, end: &TunnelEnd, now: Instant) {
        self.until = None;
        tracing::debug!(why = end.why, is_announced = end.is_announced, "the tunnel has ended");
        if !end.is_announced || context.stopping.is_begun() {
            return context.note_fault(entry, &format!("the tunnel ended: {}", end.why));
        }
        self.excuse(now);
        entry.stats.note_fault(context.clock.now(), STOPPED);
        tracing::info!(connection = %entry.config.name, "{STOPPED}");
    }

    fn excuse(&mut self, now: Instant) {
        tracing::debug!(excused_for = ?STOPPED_PEER_EXCUSED, "the peer is away by order; nobody is warned so long");
        self.until = now.checked_add(STOPPED_PEER_EXCUSED);
    }

    /// Notes that the peer is there, or its absence has been told.
    pub(crate) fn end(&mut self) {
        self.until = None;
    }

    #[must_use]
    pub(crate) fn is_excused(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Resolves when a peer that is away by order has been so for long.
    pub(crate) async fn lasts(&self) {
        match self.until {
            Some(until) => sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_was_stopped_is_excused_for_a_minute() {
        let day = Duration::from_hours(24);
        let mut absence = Absence::default();
        assert!(timeout(day, absence.lasts()).await.is_err(), "it is there");
        let start = tokio::time::Instant::now();
        absence.excuse(start.into_std());
        assert!(absence.is_excused(start.into_std()));
        absence.lasts().await;
        let waited = start.elapsed();
        assert!(waited >= STOPPED_PEER_EXCUSED && waited < STOPPED_PEER_EXCUSED + Duration::from_millis(2));
        assert!(!absence.is_excused(start.into_std() + STOPPED_PEER_EXCUSED));
        absence.end();
        assert!(timeout(day, absence.lasts()).await.is_err(), "it was told");
    }
}
