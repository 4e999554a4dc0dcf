//! What one agent has been told: rules, revoked keys, where its peers are. Pure; given the truth of
//! now it says which messages close the gap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::limits::{SNAPSHOT_KEYS_MAX, SNAPSHOT_RULES_MAX};
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::control::{Change, Rule, ToAgent};

#[derive(Debug)]
pub(super) struct AgentView {
    revision: u64,
    /// By connection, and in no more room than they need: most agents have few, and there are many agents.
    rules: Box<[Rule]>,
    revoked: BTreeSet<KeyFingerprint>,
    /// Those at the other ends of its connections, and the last word on each.
    peers: BTreeMap<ServerId, ToldOfPeer>,
}

/// What was said of a peer; at first nothing, which an agent takes for away and not limited.
#[derive(Debug, Default)]
struct ToldOfPeer {
    addresses: Vec<SocketAddr>,
    allowed: Vec<Word<PathKind>>,
}

impl AgentView {
    /// Returns everything at once, as the first word on a link, in as many messages as it needs.
    pub(super) fn snapshot(rules: Vec<Rule>, revoked: Vec<KeyFingerprint>) -> (Self, Vec<ToAgent>) {
        let mut view = Self {
            revision: 1,
            rules: by_connection(rules.clone()),
            revoked: revoked.iter().copied().collect(),
            peers: BTreeMap::new(),
        };
        view.note_peers();
        let messages = in_parts(view.revision, rules, revoked);
        (view, messages)
    }

    /// Returns the connections it was told of.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        self.rules.iter().map(|rule| rule.connection).collect()
    }

    /// Returns at which end of a connection the agent stands, if it was told of that.
    pub(super) fn side(&self, connection: ConnectionId) -> Option<Side> {
        find(&self.rules, connection).map(|rule| rule.side)
    }

    /// Returns who is at the other ends of its connections.
    pub(super) fn peers(&self) -> BTreeSet<ServerId> {
        self.peers.keys().copied().collect()
    }

    /// Returns numbered changes up to now. Revocations come first: they cut. What is gone has `ended` or is
    /// merely not known any more.
    pub(super) fn catch_up(
        &mut self,
        rules: Vec<Rule>,
        revoked: Vec<KeyFingerprint>,
        ended: &[ConnectionId],
    ) -> Vec<ToAgent> {
        let mut changes = Vec::new();
        for key in revoked {
            if self.revoked.insert(key) {
                changes.push(Change::Revoked { key });
            }
        }
        let now = by_connection(rules);
        let gone = self.rules.iter().filter(|rule| find(&now, rule.connection).is_none());
        for connection in gone.map(|rule| rule.connection) {
            let has_ended = ended.contains(&connection);
            changes.push(if has_ended {
                Change::Ended { connection }
            } else {
                Change::Unlisted { connection }
            });
        }
        for rule in &now {
            if find(&self.rules, rule.connection) != Some(rule) {
                changes.push(Change::Rule { rule: rule.clone() });
            }
        }
        self.rules = now;
        if !changes.is_empty() {
            self.note_peers();
        }
        changes.into_iter().map(|change| self.number(change)).collect()
    }

    /// Returns where those of `peers` are that are this agent's, as far as it has not heard yet. Nobody else is
    /// ever named.
    pub(super) fn candidates(
        &mut self,
        peers: &BTreeSet<ServerId>,
        addresses: impl Fn(ServerId) -> Vec<SocketAddr>,
    ) -> Vec<ToAgent> {
        let mut messages = Vec::new();
        for &peer in peers {
            let Some(told) = self.peers.get_mut(&peer) else { continue };
            let now = addresses(peer);
            if told.addresses != now {
                messages.push(ToAgent::Candidates { peer, addresses: now.clone() });
                told.addresses = now;
            }
        }
        messages
    }

    /// Returns what the owners of those of `peers` allow that are this agent's, as far as it has not heard yet.
    /// Of one that is away the last word holds.
    pub(super) fn allowed_paths(
        &mut self,
        peers: &BTreeSet<ServerId>,
        allowed: impl Fn(ServerId) -> Option<Vec<Word<PathKind>>>,
    ) -> Vec<ToAgent> {
        let mut messages = Vec::new();
        for &peer in peers {
            let Some(told) = self.peers.get_mut(&peer) else { continue };
            if let Some(allowed) = allowed(peer).filter(|now| *now != told.allowed) {
                messages.push(ToAgent::AllowedPaths { peer, allowed: allowed.clone() });
                told.allowed = allowed;
            }
        }
        messages
    }

    /// Forgets what was said of those who are no peers any more, and begins with those who are new.
    fn note_peers(&mut self) {
        let now: BTreeSet<_> = self.rules.iter().map(|rule| rule.peer).collect();
        self.peers.retain(|peer, _| now.contains(peer));
        for peer in now {
            self.peers.entry(peer).or_default();
        }
    }

    fn number(&mut self, change: Change) -> ToAgent {
        self.revision += 1;
        ToAgent::Change { revision: self.revision, change }
    }
}

fn by_connection(mut rules: Vec<Rule>) -> Box<[Rule]> {
    rules.sort_by_key(|rule| rule.connection);
    rules.into_boxed_slice()
}

/// Returns the rule of a connection.
fn find(rules: &[Rule], connection: ConnectionId) -> Option<&Rule> {
    let place = rules.binary_search_by_key(&connection, |rule| rule.connection).ok()?;
    rules.get(place)
}

/// Splits a snapshot: the last message is the snapshot proper; what it cannot hold goes before it.
fn in_parts(revision: u64, rules: Vec<Rule>, revoked: Vec<KeyFingerprint>) -> Vec<ToAgent> {
    let (mut rules, mut revoked) = (rules.into_iter(), revoked.into_iter());
    let mut messages = Vec::new();
    loop {
        let part: (Vec<_>, Vec<_>) = (
            rules.by_ref().take(SNAPSHOT_RULES_MAX).collect(),
            revoked.by_ref().take(SNAPSHOT_KEYS_MAX).collect(),
        );
        let (part_rules, part_revoked) = part;
        if rules.len() == 0 && revoked.len() == 0 {
            let rules = part_rules.into();
            messages.push(ToAgent::Snapshot { revision, rules, revoked: part_revoked });
            return messages;
        }
        messages.push(ToAgent::SnapshotPart { rules: part_rules.into(), revoked: part_revoked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_core::protocol::control::{Activity, fixture};

    const KEY: KeyFingerprint = KeyFingerprint::from_bytes([9; 32]);
    const PEER: ServerId = ServerId::from_bytes([2; 16]);
    const OTHER: ServerId = ServerId::from_bytes([3; 16]);

    fn rule(connection: u8, peer: ServerId) -> Rule {
        Rule { peer, ..fixture::rule(connection) }
    }

    #[test]
    fn only_what_differs_follows_the_snapshot_without_a_gap() {
        let (mut view, snapshot) = AgentView::snapshot(vec![rule(1, PEER), rule(2, PEER)], vec![]);
        assert!(matches!(snapshot[..], [ToAgent::Snapshot { revision: 1, .. }]));
        assert_eq!(view.catch_up(vec![rule(1, PEER), rule(2, PEER)], vec![], &[]), []);

        let paused = Rule { activity: Activity::Paused, ..rule(1, PEER) };
        let ended = ConnectionId::from_bytes([2; 16]);
        let changes = view.catch_up(vec![paused.clone(), rule(3, OTHER)], vec![KEY], &[ended]);
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
        assert_eq!(view.catch_up(vec![paused, rule(3, OTHER)], vec![], &[]), []);
    }

    #[test]
    fn what_is_gone_without_having_ended_is_no_longer_listed() {
        let (mut view, _) = AgentView::snapshot(vec![rule(1, PEER)], vec![]);
        let connection = rule(1, PEER).connection;
        assert_eq!(view.connections(), [connection]);
        let change = Change::Unlisted { connection };
        assert_eq!(view.catch_up(vec![], vec![], &[]), [ToAgent::Change { revision: 2, change }]);
    }

    #[test]
    fn a_snapshot_of_any_size_goes_in_messages_of_lawful_length() {
        let name = "\u{1f3e5}".repeat(adit_core::domain::limits::NAME_CHARS_MAX);
        let long = |number: usize| Rule {
            connection: ConnectionId::from_random(u128::try_from(number).unwrap().to_be_bytes()),
            source_name: name.clone(),
            target_name: name.clone(),
            peer_organization: Some(name.clone()),
            ..rule(1, PEER)
        };
        for (count, parts) in [(0, 1), (SNAPSHOT_RULES_MAX, 1), (SNAPSHOT_RULES_MAX + 1, 2), (4_096, 16)] {
            let rules: Vec<_> = (0..count).map(long).collect();
            let keys = vec![KEY; count + 2 * SNAPSHOT_KEYS_MAX * usize::from(count > SNAPSHOT_RULES_MAX)];
            let (_, messages) = AgentView::snapshot(rules.clone(), keys.clone());
            assert_eq!(messages.len(), parts.max(keys.len().div_ceil(SNAPSHOT_KEYS_MAX)));
            let (mut all_rules, mut all_keys) = (Vec::new(), Vec::new());
            for (index, message) in messages.iter().enumerate() {
                adit_core::protocol::control::encode(message, &mut bytes::BytesMut::new()).expect("it fits");
                let (rules, revoked) = match message {
                    ToAgent::SnapshotPart { rules, revoked } => (rules, revoked),
                    ToAgent::Snapshot { revision: 1, rules, revoked } => {
                        assert_eq!(index + 1, messages.len(), "it comes last");
                        (rules, revoked)
                    }
                    other => panic!("{other:?}"),
                };
                all_rules.extend(rules.usable.clone());
                all_keys.extend(revoked.clone());
            }
            assert_eq!((all_rules, all_keys), (rules, keys));
        }
    }

    #[test]
    fn only_peers_of_own_connections_are_named_once_for_each_place() {
        let at = |port: u16| vec![SocketAddr::from(([10, 0, 0, 1], port))];
        let (mut view, _) = AgentView::snapshot(vec![rule(1, PEER), rule(2, PEER)], vec![]);
        let everybody = |peer| if peer == PEER { at(1) } else { at(2) };
        let told = ToAgent::Candidates { peer: PEER, addresses: at(1) };
        let all = [PEER, OTHER].into();
        assert_eq!(view.candidates(&[OTHER].into(), everybody), [], "nobody asks for its peer");
        assert_eq!(view.candidates(&all, everybody), std::slice::from_ref(&told));
        assert_eq!(view.candidates(&all, everybody), []);

        let away = ToAgent::Candidates { peer: PEER, addresses: vec![] };
        assert_eq!(view.candidates(&all, |_| vec![]), [away]);
        assert_eq!(view.candidates(&all, |_| vec![]), []);
        assert_eq!(view.candidates(&all, everybody), [told]);

        view.catch_up(vec![rule(3, OTHER)], vec![], &[]);
        assert_eq!(view.peers(), [OTHER].into());
        let told = ToAgent::Candidates { peer: OTHER, addresses: at(2) };
        assert_eq!(view.candidates(&all, everybody), [told]);
    }

    #[test]
    fn what_peers_owners_allow_is_said_once_and_holds_while_they_are_away() {
        let (mut view, _) = AgentView::snapshot(vec![rule(1, PEER), rule(2, PEER)], vec![]);
        assert_eq!(
            view.allowed_paths(&view.peers(), |_| Some(vec![])),
            [],
            "that is what it takes for granted"
        );
        let tcp = || vec![Word::Known(PathKind::Tcp)];
        let told = ToAgent::AllowedPaths { peer: PEER, allowed: tcp() };
        assert_eq!(view.allowed_paths(&view.peers(), |_| Some(tcp())), [told]);
        assert_eq!(view.allowed_paths(&view.peers(), |_| Some(tcp())), []);
        assert_eq!(view.allowed_paths(&view.peers(), |_| None), []);
        let any = ToAgent::AllowedPaths { peer: PEER, allowed: vec![] };
        assert_eq!(view.allowed_paths(&view.peers(), |_| Some(vec![])), [any]);
    }
}
