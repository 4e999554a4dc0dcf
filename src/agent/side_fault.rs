//! What keeps a connection from carrying at this end, in the one word that both parties are told. People of this host
//! are told more, in sentences, by [`super::diagnosis`].

use std::time::Instant;

use super::entries::LiveConnection;
use super::exchanges::Exchanges;
use super::paths::Paths;
use adit_core::config::agent::Service;
use adit_core::domain::connection::Side;
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;

/// Returns the first that is wrong with a connection of this agent's file, if something is.
pub(crate) fn of(
    entry: &LiveConnection,
    paths: &Paths,
    exchanges: &Exchanges,
    now: Instant,
) -> Option<SideFault> {
    let peer = entry.config.peer;
    let (fault, shows_other_key) = {
        let status = entry.status();
        (status.fault, status.upstream.answers != Some(true) && status.upstream.key_shown.is_some())
    };
    let has_own_secret = entry.config.secret.is_some();
    let allowed = paths.to(peer);
    match fault {
        Some(SideFault::NoPath) if paths.conflict(peer).is_some() => Some(SideFault::NoCommonPath),
        Some(SideFault::NoPath) if !PathKind::ALL.iter().all(|kind| allowed.allows(*kind)) => {
            Some(SideFault::PathLimited)
        }
        // A peer with another secret answers no probe, as one that no packet reaches.
        Some(SideFault::NoPath | SideFault::WrongSecret | SideFault::RefusedByPeer) if has_own_secret => {
            Some(SideFault::FileSecret)
        }
        Some(fault) => Some(fault),
        None if shows_other_key => Some(SideFault::MirthKey),
        None => match (entry.side, entry.config.service) {
            (Side::Source, _) => exchanges.fault_of_sender(),
            (Side::Target, Service::Channel(_)) => exchanges.fault_of_receiver(now),
            (Side::Target, Service::Admin { .. }) => None,
        },
    }
}
