//! What one agent has been told: rules, revoked keys, where its peers are. Pure; given the truth of
//! now it says which messages close the gap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use crate::protocol::control::{Change, Rule, ToAgent};

#[derive(Debug)]
pub(super) struct AgentView {
    revision: u64,
    rules: BTreeMap<ConnectionId, Rule>,
    revoked: BTreeSet<KeyFingerprint>,
    /// The last non-empty word on each peer.
    candidates: BTreeMap<ServerId, Vec<SocketAddr>>,
}

impl AgentView {
    /// Everything at once, as the first word on a link.
    pub(super) fn snapshot(rules: Vec<Rule>, revoked: Vec<KeyFingerprint>) -> (Self, ToAgent) {
        let view = Self {
            revision: 1,
            rules: rules.iter().map(|rule| (rule.connection, rule.clone())).collect(),
            revoked: revoked.iter().copied().collect(),
            candidates: BTreeMap::new(),
        };
        let snapshot = ToAgent::Snapshot { revision: view.revision, rules, revoked };
        (view, snapshot)
    }

    /// Numbered changes up to now. Revocations come first: they cut.
    pub(super) fn catch_up(&mut self, rules: Vec<Rule>, revoked: Vec<KeyFingerprint>) -> Vec<ToAgent> {
        let mut changes = Vec::new();
        for key in revoked {
            if self.revoked.insert(key) {
                changes.push(Change::Revoked { key });
            }
        }
        let now: BTreeMap<_, _> = rules.into_iter().map(|rule| (rule.connection, rule)).collect();
        for &connection in self.rules.keys().filter(|connection| !now.contains_key(connection)) {
            changes.push(Change::Ended { connection });
        }
        for (connection, rule) in &now {
            if self.rules.get(connection) != Some(rule) {
                changes.push(Change::Rule { rule: rule.clone() });
            }
        }
        self.rules = now;
        changes.into_iter().map(|change| self.number(change)).collect()
    }

    /// Where the peers of this agent's connections are, as far as it has not heard yet. Nobody else
    /// is ever named.
    pub(super) fn candidates(&mut self, addresses: impl Fn(ServerId) -> Vec<SocketAddr>) -> Vec<ToAgent> {
        let peers: BTreeSet<ServerId> = self.rules.values().map(|rule| rule.peer).collect();
        let mut messages = Vec::new();
        for &peer in &peers {
            let now = addresses(peer);
            if self.candidates.get(&peer).map_or(&[][..], Vec::as_slice) != now {
                messages.push(ToAgent::Candidates { peer, addresses: now.clone() });
                self.candidates.insert(peer, now);
            }
        }
        self.candidates.retain(|peer, _| peers.contains(peer));
        messages
    }

    fn number(&mut self, change: Change) -> ToAgent {
        self.revision += 1;
        ToAgent::Change { revision: self.revision, change }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::connection::{ConnectionType, Protocol, Side};
    use crate::domain::id::RouteId;
    use crate::protocol::control::Activity;

    const KEY: KeyFingerprint = KeyFingerprint::from_bytes([9; 32]);
    const PEER: ServerId = ServerId::from_bytes([2; 16]);
    const OTHER: ServerId = ServerId::from_bytes([3; 16]);

    fn rule(connection: u8, peer: ServerId) -> Rule {
        Rule {
            connection: ConnectionId::from_bytes([connection; 16]),
            kind: ConnectionType::P2p,
            protocol: Some(Protocol::Mllp),
            side: Side::Source,
            peer,
            peer_route: RouteId::from_bytes([1; 8]),
            source_name: "A".into(),
            target_name: "B".into(),
            peer_organization: None,
            activity: Activity::Active,
            secret_epoch: 1,
            cut_epoch: 0,
        }
    }

    #[test]
    fn changes_follow_the_snapshot_without_a_gap_and_only_when_something_differs() {
        let (mut view, snapshot) = AgentView::snapshot(vec![rule(1, PEER), rule(2, PEER)], vec![]);
        assert!(matches!(snapshot, ToAgent::Snapshot { revision: 1, .. }));
        assert_eq!(view.catch_up(vec![rule(1, PEER), rule(2, PEER)], vec![]), []);

        let paused = Rule { activity: Activity::Paused, ..rule(1, PEER) };
        let ended = ConnectionId::from_bytes([2; 16]);
        let changes = view.catch_up(vec![paused.clone(), rule(3, OTHER)], vec![KEY]);
        assert_eq!(
            changes,
            [
                ToAgent::Change { revision: 2, change: Change::Revoked { key: KEY } },
                ToAgent::Change { revision: 3, change: Change::Ended { connection: ended } },
                ToAgent::Change { revision: 4, change: Change::Rule { rule: paused.clone() } },
                ToAgent::Change { revision: 5, change: Change::Rule { rule: rule(3, OTHER) } },
            ]
        );
        // A revocation stays even if it is not repeated.
        assert_eq!(view.catch_up(vec![paused, rule(3, OTHER)], vec![]), []);
    }

    #[test]
    fn only_peers_of_own_connections_are_named_and_each_place_once() {
        let at = |port: u16| vec![SocketAddr::from(([10, 0, 0, 1], port))];
        let (mut view, _) = AgentView::snapshot(vec![rule(1, PEER), rule(2, PEER)], vec![]);
        let everybody = |peer| if peer == PEER { at(1) } else { at(2) };
        let told = ToAgent::Candidates { peer: PEER, addresses: at(1) };
        assert_eq!(view.candidates(everybody), std::slice::from_ref(&told));
        assert_eq!(view.candidates(everybody), []);

        let away = ToAgent::Candidates { peer: PEER, addresses: vec![] };
        assert_eq!(view.candidates(|_| vec![]), [away]);
        assert_eq!(view.candidates(|_| vec![]), []);
        assert_eq!(view.candidates(everybody), [told]);

        view.catch_up(vec![rule(3, OTHER)], vec![]);
        assert_eq!(view.candidates(everybody), [ToAgent::Candidates { peer: OTHER, addresses: at(2) }]);
    }
}
