//! What an agent says of itself and its owner's wishes, judged and bounded before anybody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tracing::debug;

use super::{LinkEnd, count_dropped};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::{HIDDEN_FROM_MAX, PATH_KINDS_TOLD_MAX, PEER_ADDRESSES_MAX};
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::control::PeerPaths;

/// Takes as many as an agent's file can name.
pub(super) fn hidden_from(peers: Vec<ServerId>) -> Result<BTreeSet<ServerId>, LinkEnd> {
    if peers.len() > HIDDEN_FROM_MAX {
        let what = format!("it hides from {} peers, at most {HIDDEN_FROM_MAX} fit its file", peers.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    Ok(peers.into_iter().collect())
}

/// Returns the kinds of path that an owner allows, by peer.
pub(super) fn allowed(peers: Vec<PeerPaths>) -> Result<BTreeMap<ServerId, Vec<Word<PathKind>>>, LinkEnd> {
    if peers.len() > HIDDEN_FROM_MAX {
        let what =
            format!("it allows paths to {} peers, at most {HIDDEN_FROM_MAX} fit its file", peers.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    let bounded = peers.into_iter().map(|PeerPaths { peer, mut allowed }| {
        allowed.truncate(PATH_KINDS_TOLD_MAX);
        (peer, allowed)
    });
    Ok(bounded.collect())
}

/// Returns where peers may try an agent. A socket on the unspecified address is reached where its link comes
/// from; what cannot be dialled is dropped.
pub(super) fn reachable(reported: Vec<SocketAddr>, from: SocketAddr) -> Result<Vec<SocketAddr>, LinkEnd> {
    if reported.len() > PEER_ADDRESSES_MAX {
        let what =
            format!("it reported {} addresses, at most {PEER_ADDRESSES_MAX} are told on", reported.len());
        return Err(LinkEnd::Misbehaved { what });
    }
    let mut reachable = Vec::new();
    for mut address in reported {
        if address.ip().is_unspecified() {
            address.set_ip(from.ip());
        }
        address.set_ip(address.ip().to_canonical());
        if address.port() == 0 || address.ip().is_multicast() {
            count_dropped("address");
            debug!(%address, "the agent reports an address that nobody can dial; it is told to nobody");
        } else if !reachable.contains(&address) {
            reachable.push(address);
        }
    }
    Ok(reachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_agent_hides_from_at_most_as_many_peers_as_its_file_can_name() {
        let peers = |count: usize| vec![ServerId::from_bytes([1; 16]); count];
        assert!(hidden_from(peers(HIDDEN_FROM_MAX)).is_ok());
        assert!(hidden_from(peers(HIDDEN_FROM_MAX + 1)).is_err());
    }

    #[test]
    fn an_agent_names_paths_to_at_most_as_many_peers_as_its_file_can_name() {
        let one = |kinds| PeerPaths {
            peer: ServerId::from_bytes([1; 16]),
            allowed: vec![PathKind::Tcp.into(); kinds],
        };
        assert!(allowed(vec![one(1); HIDDEN_FROM_MAX]).is_ok());
        assert!(allowed(vec![one(1); HIDDEN_FROM_MAX + 1]).is_err());
        let many = allowed(vec![one(1_000)]).unwrap();
        assert_eq!(many.values().map(Vec::len).collect::<Vec<_>>(), [PATH_KINDS_TOLD_MAX]);
    }

    #[test]
    fn an_unspecified_address_is_told_on_as_where_the_link_comes_from() {
        let reported = addresses(&["[::]:4433", "0.0.0.0:4434", "10.0.0.9:4433", "[::ffff:10.0.0.9]:4433"]);
        let told = reachable(reported, "[::ffff:192.0.2.7]:999".parse().unwrap()).unwrap();
        assert_eq!(told, addresses(&["192.0.2.7:4433", "192.0.2.7:4434", "10.0.0.9:4433"]));
    }

    #[test]
    fn only_too_many_addresses_end_the_link_where_bad_ones_are_dropped() {
        let from = "192.0.2.7:999".parse().unwrap();
        assert_eq!(reachable(addresses(&["224.0.0.1:1", "[ff02::1]:1", "10.0.0.9:0"]), from).unwrap(), []);
        let many = |count: u16| (1..=count).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let limit = u16::try_from(PEER_ADDRESSES_MAX).unwrap();
        assert_eq!(reachable(many(limit), from).unwrap().len(), PEER_ADDRESSES_MAX);
        assert!(matches!(reachable(many(limit + 1), from), Err(LinkEnd::Misbehaved { .. })));
    }
}
