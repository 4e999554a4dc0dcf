//! The rules an agent holds: what the gateway said last, kept on disk, and what can never be unsaid.
//!
//! A snapshot opens every link, numbered changes follow. A connection that ended and a key that was
//! revoked are remembered for ever: no later word of the gateway brings them back, and epochs never
//! fall. Whether the agent's own file allows what a rule says is decided above.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::control::{Change, Rule};
use crate::domain::id::{ConnectionId, KeyFingerprint};

/// Serialised as it is kept on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleBook {
    /// `None` until the first snapshot.
    revision: Option<u64>,
    rules: BTreeMap<ConnectionId, Rule>,
    ended: BTreeSet<ConnectionId>,
    revoked: BTreeSet<KeyFingerprint>,
}

/// What a snapshot or change means for what runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleEffect {
    /// No leaf over this key is good any more: cut its tunnels.
    Revoked(KeyFingerprint),
    /// Cut the connection's tunnel for good.
    Ended(ConnectionId),
    /// Cut the connection's tunnel; it may be dialled again if the rule allows.
    Cut(ConnectionId),
    /// The rule is new or differs.
    Changed(Rule),
}

/// A change was lost, so the link must start anew with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rule change {found} arrived where {expected:?} was due; the link starts anew with a snapshot")]
pub struct Gap {
    /// `None` before the first snapshot.
    pub expected: Option<u64>,
    pub found: u64,
}

impl RuleBook {
    /// Takes the gateway's whole view. A connection it lists no more has reached a final status
    /// while this agent was away (no other loses its rule), so it has ended.
    pub fn apply_snapshot(
        &mut self,
        revision: u64,
        rules: Vec<Rule>,
        revoked: Vec<KeyFingerprint>,
    ) -> Vec<RuleEffect> {
        self.revision = Some(revision);
        let listed: BTreeSet<_> = rules.iter().map(|rule| rule.connection).collect();
        let missing: Vec<_> = self.rules.keys().copied().filter(|id| !listed.contains(id)).collect();
        let mut effects: Vec<_> = revoked.into_iter().filter_map(|key| self.revoke(key)).collect();
        effects.extend(missing.into_iter().filter_map(|id| self.end(id)));
        effects.extend(rules.into_iter().flat_map(|rule| self.adopt(rule)));
        effects
    }

    /// Takes the change that follows what was applied last. After a [`Gap`] nothing has changed.
    pub fn apply_change(&mut self, revision: u64, change: Change) -> Result<Vec<RuleEffect>, Gap> {
        let expected = self.revision.and_then(|last| last.checked_add(1));
        if expected != Some(revision) {
            return Err(Gap { expected, found: revision });
        }
        self.revision = expected;
        Ok(match change {
            Change::Rule { rule } => self.adopt(rule),
            Change::Ended { connection } => self.end(connection).into_iter().collect(),
            Change::Revoked { key } => self.revoke(key).into_iter().collect(),
        })
    }

    #[must_use]
    pub fn rule(&self, connection: ConnectionId) -> Option<&Rule> {
        self.rules.get(&connection)
    }

    /// In the order of their connections' ids.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// Connections, ended ones and revoked keys together.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.rules.len() + self.ended.len() + self.revoked.len()
    }

    #[must_use]
    pub fn is_ended(&self, connection: ConnectionId) -> bool {
        self.ended.contains(&connection)
    }

    #[must_use]
    pub fn is_revoked(&self, key: KeyFingerprint) -> bool {
        self.revoked.contains(&key)
    }

    fn adopt(&mut self, mut rule: Rule) -> Vec<RuleEffect> {
        let connection = rule.connection;
        if self.is_ended(connection) {
            return Vec::new();
        }
        let Some(held) = self.rules.get(&connection) else {
            self.rules.insert(connection, rule.clone());
            return vec![RuleEffect::Changed(rule)];
        };
        let is_cut = rule.cut_epoch > held.cut_epoch;
        rule.cut_epoch = rule.cut_epoch.max(held.cut_epoch);
        rule.secret_epoch = rule.secret_epoch.max(held.secret_epoch);
        if rule == *held {
            return Vec::new();
        }
        self.rules.insert(connection, rule.clone());
        let cut = is_cut.then_some(RuleEffect::Cut(connection));
        cut.into_iter().chain([RuleEffect::Changed(rule)]).collect()
    }

    fn end(&mut self, connection: ConnectionId) -> Option<RuleEffect> {
        self.rules.remove(&connection);
        self.ended.insert(connection).then_some(RuleEffect::Ended(connection))
    }

    fn revoke(&mut self, key: KeyFingerprint) -> Option<RuleEffect> {
        self.revoked.insert(key).then_some(RuleEffect::Revoked(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::connection::{ConnectionType, Protocol, Side};
    use crate::domain::id::{RouteId, ServerId};
    use crate::protocol::control::Activity;

    #[test]
    fn a_first_snapshot_brings_every_rule_and_a_repeated_one_changes_nothing() {
        let mut book = RuleBook::default();
        let effects = book.apply_snapshot(1, vec![rule(1), rule(2)], vec![key(9)]);
        let expected =
            [RuleEffect::Revoked(key(9)), RuleEffect::Changed(rule(1)), RuleEffect::Changed(rule(2))];
        assert_eq!(effects, expected);
        assert_eq!(book.apply_snapshot(1, vec![rule(2), rule(1)], vec![key(9)]), []);
    }

    #[test]
    fn changes_are_taken_in_order_and_a_gap_changes_nothing() {
        let mut book = RuleBook::default();
        let change = || Change::Rule { rule: rule(1) };
        assert_eq!(book.apply_change(1, change()), Err(Gap { expected: None, found: 1 }));
        book.apply_snapshot(4, Vec::new(), Vec::new());
        for found in [0, 4, 6, u64::MAX] {
            assert_eq!(book.apply_change(found, change()), Err(Gap { expected: Some(5), found }));
        }
        assert_eq!(book.rules().count(), 0);
        assert_eq!(book.apply_change(5, change()), Ok(vec![RuleEffect::Changed(rule(1))]));
        assert_eq!(book.apply_change(6, change()), Ok(Vec::new()));
        book.apply_snapshot(u64::MAX, Vec::new(), Vec::new());
        assert_eq!(book.apply_change(0, change()), Err(Gap { expected: None, found: 0 }));
    }

    #[test]
    fn an_ended_connection_never_comes_back() {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, vec![rule(1), rule(2)], Vec::new());
        let ended = Change::Ended { connection: rule(1).connection };
        assert_eq!(book.apply_change(2, ended.clone()), Ok(vec![RuleEffect::Ended(rule(1).connection)]));
        assert_eq!(book.apply_change(3, ended), Ok(Vec::new()));
        assert_eq!(book.apply_change(4, Change::Rule { rule: rule(1) }), Ok(Vec::new()));
        assert_eq!(book.apply_snapshot(9, vec![rule(1), rule(2)], Vec::new()), []);
        assert!(book.is_ended(rule(1).connection) && book.rule(rule(1).connection).is_none());
        assert!(book.rule(rule(2).connection).is_some());
    }

    #[test]
    fn a_connection_that_a_snapshot_lists_no_more_has_ended() {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, vec![rule(1), rule(2)], Vec::new());
        let gone = rule(1).connection;
        assert_eq!(book.apply_snapshot(2, vec![rule(2)], Vec::new()), [RuleEffect::Ended(gone)]);
        assert_eq!(book.apply_snapshot(3, vec![rule(1), rule(2)], Vec::new()), []);
        assert!(book.is_ended(gone));
    }

    #[test]
    fn a_revoked_key_stays_revoked_when_a_later_snapshot_forgets_it() {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, Vec::new(), vec![key(1)]);
        assert_eq!(
            book.apply_change(2, Change::Revoked { key: key(2) }),
            Ok(vec![RuleEffect::Revoked(key(2))])
        );
        assert_eq!(book.apply_snapshot(3, Vec::new(), Vec::new()), []);
        assert!(book.is_revoked(key(1)) && book.is_revoked(key(2)) && !book.is_revoked(key(3)));
    }

    #[test]
    fn a_risen_cut_epoch_cuts_once_and_epochs_never_fall() {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, vec![rule(1)], Vec::new());
        let cut = Rule { cut_epoch: 1, secret_epoch: 3, ..rule(1) };
        let effects = vec![RuleEffect::Cut(cut.connection), RuleEffect::Changed(cut.clone())];
        assert_eq!(book.apply_change(2, Change::Rule { rule: cut.clone() }), Ok(effects));
        assert_eq!(book.apply_change(3, Change::Rule { rule: rule(1) }), Ok(Vec::new()));
        assert_eq!(book.rule(cut.connection), Some(&cut));
        let paused = Rule { activity: Activity::Paused, ..cut };
        let effects = vec![RuleEffect::Changed(paused.clone())];
        assert_eq!(book.apply_change(4, Change::Rule { rule: paused }), Ok(effects));
    }

    #[test]
    fn the_book_reads_back_from_disk_and_a_damaged_one_does_not() {
        let mut book = RuleBook::default();
        book.apply_snapshot(7, vec![rule(1), rule(2)], vec![key(1)]);
        book.apply_snapshot(8, vec![rule(2)], Vec::new());
        let text = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<RuleBook>(&text).unwrap(), book);
        assert!(serde_json::from_str::<RuleBook>(&text.replace("p2p", "p3p")).is_err());
        assert!(serde_json::from_str::<RuleBook>(&text[..text.len() - 1]).is_err());
    }

    fn rule(number: u8) -> Rule {
        Rule {
            connection: ConnectionId::from_bytes([number; 16]),
            kind: ConnectionType::P2p,
            protocol: Some(Protocol::Mllp),
            side: Side::Target,
            peer: ServerId::from_bytes([number; 16]),
            peer_route: RouteId::from_bytes([number; 8]),
            source_name: "Lakeside".into(),
            target_name: "St Mary".into(),
            peer_organization: None,
            activity: Activity::Active,
            secret_epoch: 0,
            cut_epoch: 0,
        }
    }

    fn key(number: u8) -> KeyFingerprint {
        KeyFingerprint::from_bytes([number; 32])
    }

    proptest! {
        #[test]
        fn what_ended_or_was_revoked_stays_so_whatever_follows(
            steps in prop::collection::vec((0_u8..4, 0_u8..5, 0_u32..4), 0..60),
        ) {
            let mut book = RuleBook::default();
            book.apply_snapshot(0, Vec::new(), Vec::new());
            let (mut ended, mut revoked) = (BTreeSet::new(), BTreeSet::new());
            for (revision, (kind, number, epoch)) in steps.into_iter().enumerate() {
                let revision = u64::try_from(revision).unwrap() + 1;
                let rule = Rule { secret_epoch: epoch, cut_epoch: epoch, ..rule(number) };
                let change = match kind {
                    0 => Change::Ended { connection: rule.connection },
                    1 => Change::Revoked { key: key(number) },
                    2 => Change::Rule { rule },
                    _ => {
                        book.apply_snapshot(revision, vec![rule], Vec::new());
                        continue;
                    }
                };
                match &change {
                    Change::Ended { connection } => _ = ended.insert(*connection),
                    Change::Revoked { key } => _ = revoked.insert(*key),
                    Change::Rule { .. } => {}
                }
                book.apply_change(revision, change).unwrap();
                prop_assert!(ended.iter().all(|id| book.is_ended(*id) && book.rule(*id).is_none()));
                prop_assert!(revoked.iter().all(|key| book.is_revoked(*key)));
            }
        }
    }
}
