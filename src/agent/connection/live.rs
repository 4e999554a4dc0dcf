//! A tunnel that is served: its frames, and what its peer says and opens on it.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::status::TunnelStatus;
use crate::tunnels::Admitted;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::liveness::PacketCounts;
use adit_net::transport::congestion::PathHandle;
use adit_net::transport::endpoint::{Connection, TransportError};
use adit_net::transport::routes::PathState;
use adit_net::transport::tunnel::{DataStream, Tunnel};

pub(super) struct Live {
    tunnel: Arc<Tunnel>,
    /// Exchanges its frames until the tunnel ends.
    running: Pin<Box<dyn Future<Output = TransportError> + Send>>,
    peer_mirth: watch::Receiver<Option<bool>>,
    ending: watch::Receiver<bool>,
    /// Counts what the peer acknowledges.
    path: Option<Arc<PathHandle>>,
    since: Timestamp,
    /// An agent that stops waits for it.
    _up: TaskTrackerToken,
}

/// What happened on a tunnel.
pub(super) enum LiveEvent {
    /// It is no more, and must not be asked again.
    Lost(TransportError),
    /// The peer said whether its Mirth answers.
    PeerMirth(Option<bool>),
    /// One of the two agents stops.
    Ending,
    /// The peer opened a stream.
    Stream(DataStream),
}

impl Live {
    #[must_use]
    pub(super) fn new(admitted: Admitted, now: Timestamp, up: TaskTrackerToken) -> Self {
        let Admitted { tunnel, opening, .. } = admitted;
        let (peer_mirth, ending) = (tunnel.peer_mirth(), tunnel.ending());
        let run = Arc::clone(&tunnel);
        Self {
            path: tunnel.connection().path(),
            tunnel,
            running: Box::pin(async move { run.run(opening).await }),
            peer_mirth,
            ending,
            since: now,
            _up: up,
        }
    }

    #[must_use]
    pub(super) const fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    #[must_use]
    pub(super) fn connection(&self) -> &Connection {
        self.tunnel.connection()
    }

    #[must_use]
    pub(super) fn streams_open(&self) -> usize {
        self.tunnel.streams_open()
    }

    /// Returns what the tunnel's liveness is judged by.
    #[must_use]
    pub(super) fn counts(&self) -> Option<PacketCounts> {
        self.path.as_ref().map(|path| self.connection().counts(path))
    }

    #[must_use]
    pub(super) fn measured(&self, path: &PathState, silent_since: Option<Timestamp>) -> TunnelStatus {
        let measured = self.connection().measured();
        TunnelStatus {
            since: self.since,
            silent_since,
            path: path.kind(),
            why: path.why,
            path_changes: path.changes,
            rtt: measured.rtt,
            packets_sent: measured.packets_sent,
            packets_lost: measured.packets_lost,
        }
    }

    /// Waits for what happens next; `accepts`: whether the peer may open streams. May be cancelled.
    pub(super) async fn next(&mut self, accepts: bool) -> LiveEvent {
        tokio::select! {
            error = &mut self.running => LiveEvent::Lost(error),
            Ok(()) = self.peer_mirth.changed() => LiveEvent::PeerMirth(*self.peer_mirth.borrow_and_update()),
            Ok(()) = self.ending.changed() => LiveEvent::Ending,
            // The connection's end, which this reports too, is named by the first branch.
            Ok(stream) = self.tunnel.accept_stream(), if accepts => LiveEvent::Stream(stream),
        }
    }
}
