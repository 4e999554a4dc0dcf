//! A rule for tests, of every crate: each says only what it is about.

use super::{Activity, Rule};
use crate::domain::connection::{ConnectionType, Protocol, Side};
use crate::domain::id::{ConnectionId, RouteId, ServerId};
use crate::domain::relays::Relays;

/// Returns an active rule at the source of a P2P connection; connection, peer and route have this number.
#[must_use]
pub fn rule(number: u8) -> Rule {
    Rule {
        connection: ConnectionId::from_bytes([number; 16]),
        kind: ConnectionType::P2p,
        protocol: Some(Protocol::Mllp),
        side: Side::Source,
        peer: ServerId::from_bytes([number; 16]),
        peer_route: RouteId::from_bytes([number; 8]),
        source_name: "Lakeside".into(),
        target_name: "St Mary".into(),
        peer_organization: None,
        activity: Activity::Active,
        secret_epoch: 1,
        cut_epoch: 0,
        relays: Relays::default(),
    }
}
