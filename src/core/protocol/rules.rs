//! The rules an agent holds: what the gateway said last, kept on disk, and what it said for good.
//!
//! A snapshot opens every link, numbered changes follow. What the gateway says last counts, save two
//! things: a connection that *ended* and a key that was *revoked* stay so until a person of this
//! host says otherwise. A connection that is merely not listed is suspended until it is listed
//! again. No bound stands between a word that narrows and its effect: what is kept is what concerns
//! the agent's own file and the keys known here, and little of the rest ([`Concerns`]). Whether the
//! file allows what a rule says is decided above.

mod remembered;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

use self::remembered::Remembered;
use self::written::{WritableBook, WrittenBook};
use super::control::{Change, Rule};
use super::rule_list::{RuleList, UnusableRule};
use crate::domain::id::{ConnectionId, KeyFingerprint};
use crate::domain::limits::{RULES_FOREIGN_MAX, WORDS_FOREIGN_MAX};

/// Serialised as it is kept on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "WrittenBook")]
pub struct RuleBook {
    /// `None` until the first snapshot.
    revision: Option<u64>,
    /// As said last; those of ended connections too, for the day somebody undoes the end.
    rules: BTreeMap<ConnectionId, Rule>,
    /// Said last of connections for which this build can use no rule; none of them is among `rules`.
    unusable: BTreeMap<ConnectionId, UnusableRule>,
    ended: Remembered<ConnectionId>,
    revoked: Remembered<KeyFingerprint>,
    concerns: Concerns,
    left_out: u64,
}

impl Serialize for RuleBook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { revision, rules, unusable, ended, revoked, .. } = self;
        WritableBook { revision: *revision, rules, unusable, ended, revoked }.serialize(serializer)
    }
}

/// What this agent can ever need to know about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Those in the agent's own file.
    pub connections: BTreeSet<ConnectionId>,
    /// Those by which peers are known, met or written down.
    pub keys: BTreeSet<KeyFingerprint>,
}

/// What a snapshot or change means for what runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleEffect {
    /// No leaf over this key is good any more: cut its tunnels.
    Revoked(KeyFingerprint),
    /// Cut the connection's tunnel for good.
    Ended(ConnectionId),
    /// Cut the connection's tunnel; the gateway does not list it, and may again.
    Suspended(ConnectionId),
    /// Cut the connection's tunnel; it may be dialled again if the rule allows.
    Cut(ConnectionId),
    /// The rule is new or differs.
    Changed(Rule),
}

/// A change was lost, so the link must start again with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rule change {found} arrived where {expected:?} was due; the link starts anew with a snapshot")]
pub struct Gap {
    /// `None` before the first snapshot.
    pub expected: Option<u64>,
    pub found: u64,
}

impl RuleBook {
    /// Tells the book what to keep. What it holds beyond its bounds goes.
    pub fn keep_for(&mut self, concerns: Concerns) {
        self.concerns = concerns;
        self.trim();
    }

    /// Takes the gateway's whole view. A connection that it does not list is suspended: a gateway
    /// that forgot it may remember, one that ended it says so.
    pub fn apply_snapshot(
        &mut self,
        revision: u64,
        rules: impl Into<RuleList>,
        revoked: Vec<KeyFingerprint>,
    ) -> Vec<RuleEffect> {
        let RuleList { usable, unusable, .. } = rules.into();
        self.revision = Some(revision);
        let listed: BTreeSet<_> = usable.iter().map(|rule| rule.connection).collect();
        let missing: Vec<_> = self.rules.keys().copied().filter(|id| !listed.contains(id)).collect();
        let mut effects: Vec<_> = revoked.into_iter().filter_map(|key| self.revoke(key)).collect();
        effects.extend(missing.into_iter().filter_map(|id| self.suspend(id)));
        self.unusable.clear();
        effects.extend(unusable.into_iter().filter_map(|rule| self.adopt_unusable(rule)));
        effects.extend(usable.into_iter().flat_map(|rule| self.adopt(rule)));
        self.trim();
        effects
    }

    /// Takes the change that follows what was applied last. After a [`Gap`] nothing has changed.
    pub fn apply_change(&mut self, revision: u64, change: Change) -> Result<Vec<RuleEffect>, Gap> {
        let expected = self.revision.and_then(|last| last.checked_add(1));
        if expected != Some(revision) {
            return Err(Gap { expected, found: revision });
        }
        self.revision = expected;
        let effects = match change {
            Change::Rule { rule } => self.adopt(rule),
            Change::Unusable { rule } => self.adopt_unusable(rule).into_iter().collect(),
            Change::Unknown => Vec::new(),
            Change::Ended { connection } => self.end(connection).into_iter().collect(),
            Change::Unlisted { connection } => self.suspend(connection).into_iter().collect(),
            Change::Revoked { key } => self.revoke(key).into_iter().collect(),
        };
        self.trim();
        Ok(effects)
    }

    /// Takes keys ahead of the snapshot they belong to: what narrows waits for nothing.
    pub fn apply_revoked(&mut self, keys: Vec<KeyFingerprint>) -> Vec<RuleEffect> {
        let effects = keys.into_iter().filter_map(|key| self.revoke(key)).collect();
        self.trim();
        effects
    }

    /// Takes the gateway's answer that these are over.
    pub fn apply_ended(&mut self, connections: Vec<ConnectionId>) -> Vec<RuleEffect> {
        let effects = connections.into_iter().filter_map(|id| self.end(id)).collect();
        self.trim();
        effects
    }

    /// Undoes, for a person of this host, an end; whether there was one. The rule counts again, as far as the
    /// gateway has given one.
    pub fn forget_end(&mut self, connection: ConnectionId) -> bool {
        self.ended.remove(connection)
    }

    /// Undoes, for a person of this host, a revocation; whether there was one.
    pub fn forget_revocation(&mut self, key: KeyFingerprint) -> bool {
        self.revoked.remove(key)
    }

    /// Returns as much of this book as allows no more than `before` did: what may be in force before
    /// all of it is on disk.
    #[must_use]
    pub fn narrowed_to(&self, before: &Self) -> Self {
        let narrowed = |(id, rule): (&ConnectionId, &Rule)| {
            let known = before.rule(*id)?;
            let activity = rule.activity.min(known.activity);
            let base = if is_same_service(rule, known) { rule } else { known };
            Some((*id, Rule { activity, ..base.clone() }))
        };
        let mut book = Self { rules: self.rules.iter().filter_map(narrowed).collect(), ..self.clone() };
        book.ended.extend(&before.ended);
        book.revoked.extend(&before.revoked);
        book.trim();
        book
    }

    #[must_use]
    pub fn rule(&self, connection: ConnectionId) -> Option<&Rule> {
        self.rules.get(&connection).filter(|_| !self.is_ended(connection))
    }

    /// Returns the rule that the gateway gave for a connection and that this build cannot use, if it did.
    #[must_use]
    pub fn unusable(&self, connection: ConnectionId) -> Option<&UnusableRule> {
        self.unusable.get(&connection).filter(|_| !self.is_ended(connection))
    }

    /// Returns the rules in the order of their connections' ids.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().filter(|rule| !self.is_ended(rule.connection))
    }

    /// Returns whether a gateway has ever given its whole view.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.revision.is_some()
    }

    /// Counts rules, ended connections and revoked keys together.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.rules.len() + self.unusable.len() + self.ended.len() + self.revoked.len()
    }

    /// Returns how much the gateway said since the start that concerns nothing here and was not kept.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    #[must_use]
    pub fn is_ended(&self, connection: ConnectionId) -> bool {
        self.ended.contains(connection)
    }

    #[must_use]
    pub fn is_revoked(&self, key: KeyFingerprint) -> bool {
        self.revoked.contains(key)
    }

    /// Adopts the rules. Epochs are the gateway's last word too: one that was raised without measure must not
    /// make later ones mean nothing.
    fn adopt(&mut self, rule: Rule) -> Vec<RuleEffect> {
        let connection = rule.connection;
        self.unusable.remove(&connection);
        let before = self.rules.insert(connection, rule.clone());
        if self.is_ended(connection) || before.as_ref() == Some(&rule) {
            return Vec::new();
        }
        let is_cut = before.is_some_and(|before| before.cut_epoch != rule.cut_epoch);
        let cut = is_cut.then_some(RuleEffect::Cut(connection));
        cut.into_iter().chain([RuleEffect::Changed(rule)]).collect()
    }

    /// Returns what this build cannot use allows nothing.
    fn adopt_unusable(&mut self, rule: UnusableRule) -> Option<RuleEffect> {
        let suspended = self.suspend(rule.connection());
        self.unusable.insert(rule.connection(), rule);
        suspended
    }

    fn suspend(&mut self, connection: ConnectionId) -> Option<RuleEffect> {
        self.unusable.remove(&connection);
        self.rules.remove(&connection).filter(|_| !self.is_ended(connection))?;
        Some(RuleEffect::Suspended(connection))
    }

    fn end(&mut self, connection: ConnectionId) -> Option<RuleEffect> {
        self.rules.remove(&connection);
        self.unusable.remove(&connection);
        self.ended.insert(connection).then_some(RuleEffect::Ended(connection))
    }

    fn revoke(&mut self, key: KeyFingerprint) -> Option<RuleEffect> {
        self.revoked.insert(key).then_some(RuleEffect::Revoked(key))
    }

    fn trim(&mut self) {
        let Concerns { connections, keys } = &self.concerns;
        let is_foreign = |id: &&ConnectionId| !connections.contains(*id);
        let foreign: Vec<_> = self.rules.keys().filter(is_foreign).skip(RULES_FOREIGN_MAX).copied().collect();
        for id in &foreign {
            self.rules.remove(id);
        }
        self.unusable.retain(|id, _| connections.contains(id));
        let ended = self.ended.trim(WORDS_FOREIGN_MAX, |id| connections.contains(id));
        let revoked = self.revoked.trim(WORDS_FOREIGN_MAX, |key| keys.contains(key));
        let left_out = u64::try_from(foreign.len() + ended + revoked).unwrap_or(u64::MAX);
        self.left_out = self.left_out.saturating_add(left_out);
    }
}

/// Returns whether two rules of a connection let the same two ends do the same.
fn is_same_service(one: &Rule, other: &Rule) -> bool {
    let of = |rule: &Rule| (rule.kind, rule.protocol, rule.side, rule.peer, rule.peer_route);
    of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::connection::{Protocol, Side};
    use crate::protocol::control::{Activity, fixture};

    #[test]
    fn only_the_first_of_repeated_snapshots_brings_its_rules() {
        let mut book = RuleBook::default();
        let effects = book.apply_snapshot(1, vec![rule(1), rule(2)], vec![key(9)]);
        let expected =
            [RuleEffect::Revoked(key(9)), RuleEffect::Changed(rule(1)), RuleEffect::Changed(rule(2))];
        assert_eq!(effects, expected);
        assert_eq!(book.apply_snapshot(1, vec![rule(2), rule(1)], vec![key(9)]), []);
    }

    #[test]
    fn changes_are_taken_only_in_order_without_a_gap() {
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
    fn a_connection_that_a_snapshot_does_not_list_is_suspended_until_one_does() {
        let mut book = RuleBook::default();
        book.apply_snapshot(7, vec![rule(1), rule(2)], Vec::new());
        let gone = rule(1).connection;
        assert_eq!(book.apply_snapshot(1, vec![rule(2)], Vec::new()), [RuleEffect::Suspended(gone)]);
        assert!(!book.is_ended(gone) && book.rule(gone).is_none());
        let effects = book.apply_snapshot(1, vec![rule(1), rule(2)], Vec::new());
        assert_eq!(effects, [RuleEffect::Changed(rule(1))]);
        let unlisted = Change::Unlisted { connection: gone };
        assert_eq!(book.apply_change(2, unlisted.clone()), Ok(vec![RuleEffect::Suspended(gone)]));
        assert_eq!(book.apply_change(3, unlisted), Ok(Vec::new()));
        assert_eq!(book.apply_change(4, Change::Rule { rule: rule(1) }).unwrap().len(), 1);
    }

    #[test]
    fn what_the_gateway_calls_ended_after_a_snapshot_left_it_out_stays_ended() {
        let mut book = RuleBook::default();
        let connection = rule(1).connection;
        book.apply_snapshot(1, vec![rule(1)], Vec::new());
        book.apply_snapshot(2, Vec::new(), Vec::new());
        assert_eq!(book.apply_ended(vec![connection]), [RuleEffect::Ended(connection)]);
        assert_eq!(book.apply_snapshot(3, vec![rule(1)], Vec::new()), []);
        assert!(book.is_ended(connection) && book.rules().next().is_none());
    }

    #[test]
    fn the_last_rule_counts_again_after_a_person_undoes_an_end() {
        let mut book = RuleBook::default();
        let connection = rule(1).connection;
        book.apply_snapshot(1, vec![rule(1)], vec![key(1)]);
        book.apply_ended(vec![connection]);
        assert!(book.forget_end(connection) && !book.forget_end(connection));
        assert_eq!(book.rule(connection), None, "the gateway that ended it lists it no more");
        book.apply_ended(vec![connection]);
        let paused = Rule { activity: Activity::Paused, ..rule(1) };
        book.apply_snapshot(2, vec![paused.clone()], Vec::new());
        assert!(book.forget_end(connection) && book.forget_revocation(key(1)));
        assert_eq!(book.rule(connection), Some(&paused));
        assert!(!book.is_revoked(key(1)) && !book.forget_revocation(key(1)));
    }

    #[test]
    fn no_number_of_made_up_words_displaces_or_delays_one_that_concerns_this_agent() {
        let mut book = RuleBook::default();
        let connections = [rule(1), rule(2), rule(3)].map(|rule| rule.connection);
        let concerns = Concerns { connections: connections.into(), keys: [key(1), key(2)].into() };
        book.keep_for(concerns);
        book.apply_snapshot(1, vec![rule(1), rule(2), rule(3)], vec![key(1)]);
        book.apply_change(2, Change::Ended { connection: rule(1).connection }).unwrap();
        for round in 0..3 {
            let rules = [rule(2), rule(3)].into_iter().chain(made_up(100 + round).map(made_up_rule));
            book.apply_snapshot(
                1,
                rules.collect::<RuleList>(),
                made_up(round).map(KeyFingerprint::from_bytes).collect(),
            );
            book.apply_ended(made_up(round).map(|bytes| made_up_rule(bytes).connection).collect());
        }
        assert!(book.is_revoked(key(1)) && book.is_ended(rule(1).connection));
        assert_eq!(
            book.apply_change(2, Change::Revoked { key: key(2) }),
            Ok(vec![RuleEffect::Revoked(key(2))])
        );
        let ended = Change::Ended { connection: rule(2).connection };
        assert_eq!(book.apply_change(3, ended), Ok(vec![RuleEffect::Ended(rule(2).connection)]));
        let paused = Rule { activity: Activity::Paused, ..rule(3) };
        let effects = book.apply_change(4, Change::Rule { rule: paused.clone() });
        assert_eq!(effects, Ok(vec![RuleEffect::Changed(paused)]));
        assert!(book.is_revoked(key(2)) && book.is_ended(rule(2).connection));
        assert_eq!(book.remembered(), 1 + RULES_FOREIGN_MAX + 2 + WORDS_FOREIGN_MAX + 2 + WORDS_FOREIGN_MAX);
        assert!(book.left_out() > 0);
    }

    /// Returns more than an agent keeps of what concerns nothing here.
    fn made_up(round: u8) -> impl Iterator<Item = [u8; 32]> {
        (0..2 * WORDS_FOREIGN_MAX).map(move |number| {
            let mut bytes = [0xee; 32];
            bytes[0] = round;
            bytes[1..9].copy_from_slice(&number.to_be_bytes());
            bytes
        })
    }

    fn made_up_rule(bytes: [u8; 32]) -> Rule {
        let id = bytes.first_chunk().unwrap();
        Rule { connection: ConnectionId::from_bytes(*id), ..rule(9) }
    }

    #[test]
    fn a_book_of_an_older_version_over_its_bounds_is_cut_down_when_read() {
        let mut book = RuleBook::default();
        for bytes in made_up(0).chain([[2; 32]]).chain(made_up(1)) {
            book.revoked.insert(KeyFingerprint::from_bytes(bytes));
        }
        let mut book: RuleBook = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
        book.keep_for(Concerns { keys: [key(2)].into(), ..Concerns::default() });
        assert_eq!(book.remembered(), WORDS_FOREIGN_MAX + 1);
        assert!(book.is_revoked(key(2)));
    }

    #[test]
    fn what_widens_waits_for_the_disk_while_what_narrows_does_not() {
        let with = |activity, number| Rule { activity, ..rule(number) };
        let mut before = RuleBook::default();
        let rules = vec![with(Activity::Active, 1), with(Activity::Paused, 2), with(Activity::Active, 3)];
        before.apply_snapshot(1, rules, vec![key(1)]);
        before.apply_ended(vec![rule(5).connection]);
        let mut after = before.clone();
        let other_end = Rule { side: Side::Source, ..rule(3) };
        let rules = vec![with(Activity::Paused, 1), with(Activity::Active, 2), other_end, rule(4), rule(5)];
        after.apply_snapshot(2, rules, vec![key(2)]);
        after.forget_revocation(key(1));
        after.forget_end(rule(5).connection);
        let narrowed = after.narrowed_to(&before);
        let found: Vec<_> =
            narrowed.rules().map(|rule| (rule.connection, rule.activity, rule.side)).collect();
        let expected = [(1, Activity::Paused), (2, Activity::Paused), (3, Activity::Active)]
            .map(|(number, activity)| (rule(number).connection, activity, Side::Target));
        assert_eq!(found, expected);
        assert!(narrowed.is_revoked(key(1)) && narrowed.is_revoked(key(2)));
        assert!(narrowed.is_ended(rule(5).connection));
        assert_eq!(after.narrowed_to(&after), after);
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
    fn another_cut_epoch_cuts_once_whatever_was_said_before() {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, vec![Rule { cut_epoch: u32::MAX, ..rule(1) }], Vec::new());
        let cut = Rule { cut_epoch: 1, secret_epoch: 3, ..rule(1) };
        let effects = vec![RuleEffect::Cut(cut.connection), RuleEffect::Changed(cut.clone())];
        assert_eq!(book.apply_change(2, Change::Rule { rule: cut.clone() }), Ok(effects));
        assert_eq!(book.apply_change(3, Change::Rule { rule: cut.clone() }), Ok(Vec::new()));
        assert_eq!(book.rule(cut.connection), Some(&cut));
        let paused = Rule { activity: Activity::Paused, ..cut };
        let effects = vec![RuleEffect::Changed(paused.clone())];
        assert_eq!(book.apply_change(4, Change::Rule { rule: paused }), Ok(effects));
    }

    #[test]
    fn only_an_undamaged_book_reads_back_from_disk() {
        let mut book = RuleBook::default();
        book.apply_snapshot(7, vec![rule(1), rule(2)], vec![key(1)]);
        book.apply_snapshot(8, vec![rule(2)], Vec::new());
        let text = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<RuleBook>(&text).unwrap(), book);
        assert!(serde_json::from_str::<RuleBook>(&text[..text.len() - 1]).is_err());
    }

    /// A rule that this build cannot use, as the gateway of a newer one gives it.
    fn newer(number: u8) -> RuleList {
        let mut raw = serde_json::to_value(rule(number)).unwrap();
        raw["protocol"] = "fhir".into();
        serde_json::from_value(serde_json::json!([raw])).unwrap()
    }

    fn unusable(number: u8) -> Change {
        Change::Unusable { rule: newer(number).unusable.remove(0) }
    }

    fn keeping(numbers: &[u8]) -> RuleBook {
        let mut book = RuleBook::default();
        let connections = numbers.iter().map(|number| rule(*number).connection).collect();
        book.keep_for(Concerns { connections, keys: BTreeSet::new() });
        book
    }

    #[test]
    fn a_rule_that_cannot_be_used_suspends_its_own_connection_alone() {
        let mut book = keeping(&[1, 2]);
        book.apply_snapshot(1, vec![rule(1), rule(2)], Vec::new());
        let suspended = vec![RuleEffect::Suspended(rule(1).connection)];
        assert_eq!(book.apply_change(2, unusable(1)), Ok(suspended));
        assert!(book.rule(rule(1).connection).is_none() && book.rule(rule(2).connection).is_some());
        let why = book.unusable(rule(1).connection).unwrap().why().to_string();
        assert!(why.contains("protocol `fhir`"), "{why}");
        let narrowed = book.narrowed_to(&book.clone());
        assert_eq!(narrowed, book, "why it cannot be used is in force too");
    }

    #[test]
    fn a_rule_that_can_be_used_again_replaces_the_one_that_could_not() {
        let mut book = keeping(&[1]);
        book.apply_snapshot(1, newer(1), Vec::new());
        assert_eq!(book.apply_change(2, Change::Rule { rule: rule(1) }).unwrap().len(), 1);
        assert!(book.unusable(rule(1).connection).is_none() && book.rule(rule(1).connection).is_some());
        book.apply_change(3, unusable(1)).unwrap();
        assert_eq!(book.apply_snapshot(4, Vec::new(), Vec::new()), []);
        assert!(book.unusable(rule(1).connection).is_none(), "what is not listed is not listed");
        book.apply_change(5, unusable(1)).unwrap();
        book.apply_ended(vec![rule(1).connection]);
        assert!(book.unusable(rule(1).connection).is_none(), "what has ended has ended");
    }

    #[test]
    fn an_unknown_change_takes_its_number_without_an_effect() {
        let mut book = keeping(&[1]);
        book.apply_snapshot(1, vec![rule(1)], Vec::new());
        assert_eq!(book.apply_change(2, Change::Unknown), Ok(Vec::new()));
        assert!(book.rule(rule(1).connection).is_some());
        assert_eq!(book.apply_change(3, Change::Ended { connection: rule(1).connection }).unwrap().len(), 1);
    }

    #[test]
    fn rules_of_no_connection_of_this_host_that_cannot_be_used_are_not_kept() {
        let mut book = keeping(&[1]);
        book.apply_snapshot(1, newer(2), Vec::new());
        assert_eq!((book.remembered(), book.left_out()), (0, 0));
    }

    #[test]
    fn a_rule_of_a_newer_build_is_kept_for_the_build_that_can_use_it() {
        let mut book = keeping(&[1, 2]);
        book.apply_snapshot(1, vec![rule(1), rule(2)], vec![key(1)]);
        book.apply_ended(vec![rule(3).connection]);
        book.apply_change(2, unusable(1)).unwrap();
        let text = serde_json::to_string(&book).unwrap();
        let mut read: RuleBook = serde_json::from_str(&text).unwrap();
        assert!(read.is_revoked(key(1)) && read.is_ended(rule(3).connection));
        read.keep_for(book.concerns.clone());
        assert_eq!(read, book);
        // The build that knows the word finds the rule where this one has put it.
        let newer: RuleBook = serde_json::from_str(&text.replace("fhir", "tcp")).unwrap();
        assert_eq!(newer.rule(rule(1).connection).unwrap().protocol, Some(Protocol::Tcp));
        // What 0.1.0 reads of it is all that it knows.
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written["rules"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn a_book_with_an_unknown_word_in_a_rule_costs_that_rule() {
        let mut book = RuleBook::default();
        book.apply_snapshot(7, vec![rule(1), rule(2)], vec![key(1)]);
        let mut written = serde_json::to_value(&book).unwrap();
        let id = rule(1).connection.to_string();
        for (field, value) in
            [("kind", "p3p"), ("side", "middle"), ("activity", "draining"), ("peer", "nobody")]
        {
            let mut changed = written.clone();
            changed["rules"][&id][field] = value.into();
            let read: RuleBook = serde_json::from_value(changed).unwrap();
            assert!(read.rule(rule(1).connection).is_none() && read.unusable(rule(1).connection).is_some());
            assert_eq!(read.rule(rule(2).connection), Some(&rule(2)));
            assert!(read.is_revoked(key(1)));
        }
        written["rules"]["no id"] = 7.into();
        written["of_a_newer_build"] = serde_json::json!({ "a": 1 });
        assert_eq!(serde_json::from_value::<RuleBook>(written).unwrap().rules().count(), 2);
    }

    fn rule(number: u8) -> Rule {
        Rule { side: Side::Target, ..fixture::rule(number) }
    }

    fn key(number: u8) -> KeyFingerprint {
        KeyFingerprint::from_bytes([number; 32])
    }

    proptest! {
        #[test]
        fn what_ended_or_was_revoked_stays_so_whatever_follows(
            steps in prop::collection::vec((0_u8..5, 0_u8..5, 0_u32..4), 0..60),
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
                    3 => Change::Unlisted { connection: rule.connection },
                    _ => {
                        book.apply_snapshot(revision, vec![rule], Vec::new());
                        continue;
                    }
                };
                match &change {
                    Change::Ended { connection } => _ = ended.insert(*connection),
                    Change::Revoked { key } => _ = revoked.insert(*key),
                    Change::Rule { .. }
                    | Change::Unusable { .. }
                    | Change::Unlisted { .. }
                    | Change::Unknown => {}
                }
                book.apply_change(revision, change).unwrap();
                prop_assert!(ended.iter().all(|id| book.is_ended(*id) && book.rule(*id).is_none()));
                prop_assert!(revoked.iter().all(|key| book.is_revoked(*key)));
            }
        }
    }
}
