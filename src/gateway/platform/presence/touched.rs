//! Of which connections and servers agents have told something new that is written: for whoever tells people at once.
//! Notes add up until they are taken, within a bound; beyond it there is one word for all.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::Platform;
use super::super::error::PlatformError;
use super::buffer::Batch;
use crate::store::ReachedRow;
use crate::store::Tx;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::CHANGED_SERVERS_MAX;

/// What is otherwise than before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Some { servers: BTreeSet<ServerId>, connections: BTreeSet<ConnectionId> },
    All,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Some { servers: BTreeSet::new(), connections: BTreeSet::new() }
    }
}

#[derive(Debug, Default)]
pub(in crate::platform) struct TouchedNotes {
    waiting: Mutex<Touched>,
    filled: Notify,
}

impl Touched {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Some { servers, connections } if servers.is_empty() && connections.is_empty())
    }

    fn add(&mut self, batch: &Batch) {
        let Self::Some { servers, connections } = self else { return };
        servers.extend(batch.links.iter().map(|(server, _)| *server));
        connections.extend(batch.facts.iter().filter(|it| it.is_transition()).map(|it| it.fact.connection));
        if servers.len() + connections.len() > CHANGED_SERVERS_MAX {
            *self = Self::All;
        }
    }
}

impl TouchedNotes {
    pub(super) fn note(&self, batch: &Batch) {
        self.waiting.lock().add(batch);
        self.filled.notify_one();
    }
}

impl Platform {
    /// Waits until agents have told something new. Safe to drop while waiting.
    pub(crate) async fn next_touched(&self) -> Touched {
        loop {
            let touched = std::mem::take(&mut *self.touched.waiting.lock());
            if !touched.is_nothing() {
                return touched;
            }
            self.touched.filled.notified().await;
        }
    }

    /// Returns whom it concerns: each of these servers' owners, and both parties of each connection.
    pub(crate) async fn reached_by(
        &self,
        servers: BTreeSet<ServerId>,
        connections: BTreeSet<ConnectionId>,
    ) -> Result<Vec<ReachedRow>, PlatformError> {
        self.look(async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.reached_by(&servers, &connections).await?)
        })
        .await
    }
}
