//! What people are told of at once: changes that concern their organization, and connections that come up or go down.
//! One look at the feed serves every stream; each takes out what is its organization's. A stream that does not keep
//! up is told to read everything again, and holds no memory for what it missed.

use std::sync::Arc;

use tokio::sync::broadcast::{Receiver, Sender, channel};
use tracing::debug;

use super::platform::{Platform, PlatformError, Touched};
use super::store::{ChangeRow, ReachedRow};
use adit_core::domain::limits::{DATABASE_ASKED_MIN, EVENTS_WAITING_MAX};
use adit_core::domain::visible::error_chain;

/// Where streams of events are fed from.
#[derive(Debug)]
pub(crate) struct EventHub {
    sender: Sender<Happened>,
}

/// What happened; shared among the streams.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    /// Changes, in order.
    Changed(Arc<[ChangeRow]>),
    /// Ends of connections whose links, tunnels or ways to Mirth are otherwise than before.
    Reached(Arc<[ReachedRow]>),
    /// More than is known of.
    Anything,
}

impl Default for EventHub {
    fn default() -> Self {
        Self { sender: channel(EVENTS_WAITING_MAX).0 }
    }
}

impl EventHub {
    pub(crate) fn follow(&self) -> Receiver<Happened> {
        self.sender.subscribe()
    }

    pub(crate) fn tell_changes(&self, rows: &[ChangeRow]) {
        self.tell(|| Happened::Changed(rows.into()));
    }

    /// Has everybody read everything again.
    pub(crate) fn tell_anything(&self) {
        self.tell(|| Happened::Anything);
    }

    fn tell(&self, what: impl FnOnce() -> Happened) {
        if self.sender.receiver_count() > 0 {
            // Who has just gone needs nothing.
            let _ = self.sender.send(what());
        }
    }

    /// Tells whom it concerns what agents say of their connections.
    pub(crate) async fn follow_reach(self: Arc<Self>, platform: Arc<Platform>) {
        loop {
            let touched = platform.next_touched().await;
            if self.sender.receiver_count() > 0 {
                self.tell_touched(&platform, touched).await;
            }
            // What comes within the pause is told together.
            tokio::time::sleep(DATABASE_ASKED_MIN).await;
        }
    }

    async fn tell_touched(&self, platform: &Platform, touched: Touched) {
        match self.reached(platform, touched).await {
            Ok(Some(rows)) => self.tell(|| Happened::Reached(rows.into())),
            Ok(None) => self.tell_anything(),
            Err(error) => {
                debug!(
                    why = error_chain(&error),
                    "whom it concerns was not read: everybody reads everything again"
                );
                self.tell_anything();
            }
        }
    }

    async fn reached(
        &self,
        platform: &Platform,
        touched: Touched,
    ) -> Result<Option<Vec<ReachedRow>>, PlatformError> {
        match touched {
            Touched::Some { servers, connections } => {
                platform.reached_by(servers, connections).await.map(Some)
            }
            Touched::All => Ok(None),
        }
    }
}
