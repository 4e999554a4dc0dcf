//! What the driver says at DEBUG and TRACE of peers, paths and packets of ours. Nothing is decided here, and
//! nothing of it costs more than a comparison while nobody listens.

use std::net::SocketAddr;
use std::time::Instant;

use tracing::{debug, trace};

use super::WantedPeer;
use crate::transport::destination::Destination;
use adit_core::protocol::packet::{Claim, PacketVerdict};
use adit_core::protocol::route::{PathReason, PeerRoute, RouteEvent};
use adit_core::protocol::text::listed;

/// Says what came and what became of it.
pub(super) fn received(from: Destination, claim: &Claim, bytes: usize, verdict: PacketVerdict) {
    let (kind, source) = (claim.kind.as_str(), claim.source);
    match verdict {
        PacketVerdict::Taken => trace!(kind, %from, %source, bytes, "received"),
        not_taken => trace!(kind, %from, %source, bytes, why = not_taken.as_str(), "received and dropped"),
    }
}

/// Says what goes out.
pub(super) fn sent(to: Destination, packet: &[u8]) {
    if !tracing::enabled!(tracing::Level::TRACE) {
        return;
    }
    if let Some(claim) = Claim::read(packet) {
        trace!(kind = claim.kind.as_str(), %to, destination = %claim.destination, bytes = packet.len(), "sent");
    }
}

/// Says what is new of a peer that may be reached.
pub(super) fn wanted(before: &WantedPeer, after: &WantedPeer) {
    if before.path != after.path || before.name.is_empty() {
        debug!(name = %after.name, allowed = %after.path, "the paths allowed to this peer are known");
    }
    if before.secrets != after.secrets {
        debug!(secrets = after.secrets.len(), "probes are authenticated by the secrets of its connections");
    }
    if before.candidates != after.candidates {
        let addresses = listed(&after.candidates);
        debug!(%addresses, "the peer's agent says that it can be reached at these addresses; each is probed");
    }
}

/// Says what the keeper has decided.
pub(super) fn decided(event: RouteEvent, keeper: &PeerRoute, why_before: Option<PathReason>) {
    match event {
        RouteEvent::Validated(address) => {
            debug!(%address, "the peer answered a probe here, so QUIC's packets from here are taken");
        }
        RouteEvent::Lapsed(address) => {
            debug!(%address, "nothing was heard from here for long, so packets from here are dropped");
        }
        RouteEvent::Active { path, why } => {
            let is_first = why_before.is_none();
            debug!(%path, %why, is_first, "packets take this path from now on");
        }
        RouteEvent::Inactive => {
            debug!("the path in use is not allowed any more and no other answers: nothing is sent");
        }
        RouteEvent::Resumed => {
            let path = keeper.active().map(tracing::field::display);
            debug!(path, "the path in use answers again; what was sent meanwhile is lost");
        }
        RouteEvent::BootChanged(run) => {
            debug!(%run, "the peer's process is a new one; every connection with the old one is dead");
        }
    }
}

/// Says that the search for a path began or ended; returns whether one is under way.
pub(super) fn searching(was: bool, keeper: &PeerRoute, now: Instant) -> bool {
    let is = keeper.is_searching();
    if is != was {
        let path = keeper.active().map(tracing::field::display);
        let silent_ms = keeper.heard().map(|heard| milliseconds(now.saturating_duration_since(heard)));
        if is {
            debug!(path, silent_ms, "the path in use left a probe unanswered, so all are searched");
        } else {
            debug!(path, "the search for a path is over");
        }
    }
    is
}

/// Says where a relay is and whether packets go there.
pub(super) fn relay(address: Option<SocketAddr>, has_key: bool) {
    let address = address.map(tracing::field::display);
    if has_key {
        debug!(address, "the control link is up, so this agent registers at the relay");
    } else {
        debug!(address, "the control link is away; what is registered at the relay lasts until it lapses");
    }
}

/// Says where packets of a route go when the relay itself has moved.
pub(super) fn relay_moved(before: Option<SocketAddr>, now: SocketAddr) {
    let before = before.map(tracing::field::display);
    debug!(before, %now, "the relay is at this address from now on");
}

fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
