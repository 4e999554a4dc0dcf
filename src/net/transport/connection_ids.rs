//! Connection ids that carry a route, so that a packet finds its way by its first bytes. Which id a
//! first Initial carries to a peer is decided in `protocol::admission`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quinn::ConnectionIdGenerator;

use crate::identity::random;
use adit_core::domain::id::RouteId;
use adit_core::protocol::initial::{CONNECTION_ID_BYTES, INITIAL_ID_BYTES, OwnId};

/// The id that the connection which is begun next is answered at.
#[derive(Debug, Clone, Default)]
pub(super) struct NextId(Arc<Mutex<Option<OwnId>>>);

impl NextId {
    pub(super) fn set(&self, id: OwnId) {
        *self.0.lock() = Some(id);
    }

    fn take(&self) -> Option<OwnId> {
        self.0.lock().take()
    }
}

/// Hands out connection ids that carry our route, and takes only such.
#[derive(Debug)]
pub(super) struct RoutedIds {
    route: RouteId,
    next: NextId,
}

impl RoutedIds {
    pub(super) const fn new(route: RouteId, next: NextId) -> Self {
        Self { route, next }
    }
}

impl ConnectionIdGenerator for RoutedIds {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        let next = self.next.take().map(|id| quinn_proto::ConnectionId::new(&id));
        next.unwrap_or_else(|| connection_id::<CONNECTION_ID_BYTES>(self.route))
    }

    fn validate(&self, id: &quinn_proto::ConnectionId) -> Result<(), quinn_proto::InvalidCid> {
        if id.len() == CONNECTION_ID_BYTES && id.starts_with(self.route.as_bytes()) {
            Ok(())
        } else {
            Err(quinn_proto::InvalidCid)
        }
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Returns an id for a first Initial that carries no tag: to the gateway.
pub(super) fn initial_id(route: RouteId) -> quinn_proto::ConnectionId {
    connection_id::<INITIAL_ID_BYTES>(route)
}

fn connection_id<const LEN: usize>(route: RouteId) -> quinn_proto::ConnectionId {
    let mut id = random::bytes::<LEN>();
    id[..8].copy_from_slice(route.as_bytes());
    quinn_proto::ConnectionId::new(&id)
}
