//! The gateway's rules: as it said them last, as they are kept on disk, and as they are in force. What they forbid
//! counts at once, what they allow once it is on disk; what was said for good stays until a person undoes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::audit_log::AuditLog;
use super::disk::Disk;
use super::entries::{Entries, LiveConnection};
use super::policy;
use super::state::{AgentState, StateError};
use super::trust_store::TrustStore;
use adit_core::domain::id::{ConnectionId, KeyFingerprint};
use adit_core::domain::limits::ADMIN_RULES_CONFIRMED_WITHIN;
use adit_core::protocol::connection::Policy;
use adit_core::protocol::rules::{Concerns, RuleBook};
use adit_core::protocol::text::listed;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_observe::audit::{AuditEntry, AuditError};

#[derive(Debug)]
pub(crate) struct Policies {
    /// What is kept on disk, and of what was said since all that narrows it.
    in_force: watch::Sender<Arc<RuleBook>>,
    /// As said last.
    received: Arc<Mutex<Arc<RuleBook>>>,
    /// The rules could not be written.
    unkept: AtomicBool,
    /// What a gateway said for good was undone here, and it has not said all again since.
    undone: AtomicBool,
    /// When the rules in force were last known to be the gateway's word.
    confirmed: Mutex<Option<Instant>>,
    entries: Arc<Entries>,
    trust: Arc<TrustStore>,
    clock: Arc<LearntClock>,
    audit: Arc<AuditLog>,
    disk: Disk,
}

impl Policies {
    /// Starts with the rules of the last run, by which the agent goes until the gateway is heard.
    pub(crate) fn new(
        (entries, trust): (Arc<Entries>, Arc<TrustStore>),
        (clock, audit): (Arc<LearntClock>, Arc<AuditLog>),
        state: &AgentState,
        disk: Disk,
    ) -> Result<Arc<Self>, StateError> {
        let mut rules = state.rule_book()?;
        rules.keep_for(concerns(&entries, &trust));
        log_start(&entries, &rules, &trust);
        let rules = Arc::new(rules);
        Ok(Arc::new(Self {
            in_force: watch::Sender::new(Arc::clone(&rules)),
            received: Arc::new(Mutex::new(rules)),
            unkept: AtomicBool::new(false),
            undone: AtomicBool::new(false),
            confirmed: Mutex::default(),
            entries,
            trust,
            clock,
            audit,
            disk,
        }))
    }

    /// Returns the rules in force.
    #[must_use]
    pub(crate) fn rules(&self) -> Arc<RuleBook> {
        self.in_force.borrow().clone()
    }

    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<RuleBook>> {
        self.in_force.subscribe()
    }

    /// Returns the rules as said last, to be changed and adopted, ready to keep what concerns this agent.
    #[must_use]
    pub(crate) fn received(&self) -> RuleBook {
        let mut rules = RuleBook::clone(&self.received.lock());
        rules.keep_for(concerns(&self.entries, &self.trust));
        rules
    }

    /// Returns which of its secrets the rule of a connection asks for, as said last.
    #[must_use]
    pub(crate) fn received_epoch(&self, connection: ConnectionId) -> Option<u32> {
        self.received.lock().rule(connection).map(|rule| rule.secret_epoch)
    }

    /// Puts new rules into force: what they forbid at once, what they allow once it is on disk.
    pub(crate) async fn adopt(&self, rules: RuleBook) {
        let narrowed = rules.narrowed_to(&self.rules());
        self.log_change(&rules, &narrowed);
        *self.received.lock() = Arc::new(rules);
        self.enforce(Arc::new(narrowed));
        self.keep().await;
    }

    /// Says for whom new rules change something; what they allow beside what they forbid counts once on disk.
    fn log_change(&self, said: &RuleBook, narrowed: &RuleBook) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let in_force = self.rules();
        for entry in self.entries.all() {
            let (id, rule) = (entry.config.id, said.rule(entry.config.id));
            let (before, once_on_disk) = (policy_word(entry, &in_force), policy_word(entry, said));
            if in_force.rule(id) == rule && before == once_on_disk {
                continue;
            }
            let (connection, now) = (&entry.config.name, policy_word(entry, narrowed));
            let (secret_epoch, cut_epoch) =
                (rule.map(|rule| rule.secret_epoch), rule.map(|rule| rule.cut_epoch));
            tracing::debug!(%connection, before, now, once_on_disk, secret_epoch, cut_epoch, "the gateway's rules change what a connection may do");
        }
    }

    /// Writes the rules as said last, which then are in force. Returns whether they are.
    async fn keep(&self) -> bool {
        let received = Arc::clone(&self.received);
        let kept = self.disk.write(move |state| state.store_rule_book(|| Arc::clone(&received.lock()))).await;
        if let Err(error) = &kept
            && !self.unkept.load(Ordering::Relaxed)
        {
            tracing::error!(%error, "the rules could not be kept; until they are, nothing new is allowed");
        }
        self.unkept.store(kept.is_err(), Ordering::Relaxed);
        if kept.is_ok() {
            tracing::debug!("the rules are on disk, so all that they allow is allowed");
            let received = Arc::clone(&self.received.lock());
            self.enforce(received);
        }
        kept.is_ok()
    }

    /// Tries again to write rules that could not be.
    pub(crate) async fn retry_keeping(&self) {
        if self.unkept.load(Ordering::Relaxed) {
            self.keep().await;
        }
    }

    fn enforce(&self, rules: Arc<RuleBook>) {
        self.in_force.send_if_modified(|in_force| {
            let differs = **in_force != *rules;
            *in_force = rules;
            differs
        });
    }

    /// Undoes for a person of this host what a gateway said for good of this connection: that it ended, and
    /// that a key known for its peer was revoked. What the gateway says now counts again.
    pub(crate) async fn forget_end(&self, entry: &LiveConnection) -> Result<Forgotten, EndError> {
        let connection = entry.config.id;
        let known = self.trust.known(connection).map(|known| known.key);
        let keys = || entry.config.peer_key.into_iter().chain(known);
        let forgotten = forget(&mut self.received(), connection, keys());
        if forgotten.is_nothing() {
            return Ok(forgotten);
        }
        let Forgotten { ended, revoked } = forgotten.clone();
        tracing::debug!(%connection, ended, revoked = %listed(&revoked), "a person undoes what a gateway said for good");
        self.audit.append(AuditEntry::end_forgotten(self.clock.now(), connection, ended, revoked)).await?;
        // The gateway may have said more meanwhile.
        let mut rules = self.received();
        forget(&mut rules, connection, keys());
        *self.received.lock() = Arc::new(rules);
        if self.keep().await {
            self.undone.store(true, Ordering::Relaxed);
            return Ok(forgotten);
        }
        // It must not take effect some day after it was refused.
        let mut rules = self.received();
        rules.apply_revoked(forgotten.revoked);
        rules.apply_ended(forgotten.ended.then_some(connection).into_iter().collect());
        *self.received.lock() = Arc::new(rules);
        Err(EndError::Unkept)
    }

    /// Returns whether the link must start again, so that the gateway says again what it means; once for each
    /// time that something was undone.
    #[must_use]
    pub(crate) fn take_undone(&self) -> bool {
        self.undone.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the gateway confirmed the rules recently enough for an admin session (DESIGN §3).
    #[must_use]
    pub(crate) fn are_confirmed(&self) -> bool {
        is_recent(*self.confirmed.lock(), Instant::now())
    }

    /// Notes that the rules in force are the gateway's word now: it has sent them over this link, and the
    /// link lives.
    pub(crate) fn confirm(&self) {
        *self.confirmed.lock() = Some(Instant::now());
    }

    /// Says of which entries the rules kept on disk cannot be used: no gateway may come to say it again.
    pub(crate) fn note_unusable(&self) {
        let rules = self.rules();
        for entry in self.entries.all() {
            if let Policy::Unusable(why) = policy::of(&entry.config, entry.side, &rules) {
                entry.note_fault(&why.to_string());
            }
        }
    }
}

/// Says what the last run left, by which the agent goes until the gateway is heard.
fn log_start(entries: &Entries, rules: &RuleBook, trust: &TrustStore) {
    for entry in entries.all() {
        let known = trust.known(entry.config.id);
        let (key, compared) = (known.map(|it| tracing::field::display(it.key)), known.map(|it| it.verified));
        let (connection, policy) = (&entry.config.name, policy_word(entry, rules));
        tracing::debug!(%connection, policy, peer_key = key, compared, "the rules and keys of the last run");
    }
}

/// Returns in one word what an entry may do under these rules.
fn policy_word(entry: &LiveConnection, rules: &RuleBook) -> &'static str {
    policy::of(&entry.config, entry.side, rules).as_str()
}

/// Returns what this agent needs to hear about: its file's connections, and the keys known for them.
fn concerns(entries: &Entries, trust: &TrustStore) -> Concerns {
    let pinned = entries.all().filter_map(|entry| entry.config.peer_key);
    Concerns {
        connections: entries.all().map(|entry| entry.config.id).collect(),
        keys: trust.keys().into_iter().chain(pinned).collect(),
    }
}

/// What a person undid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub ended: bool,
    pub revoked: Vec<KeyFingerprint>,
}

impl Forgotten {
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        !self.ended && self.revoked.is_empty()
    }
}

/// Why an end was not undone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the rules cannot be written; see that the state folder's disk is neither full nor read-only")]
    Unkept,
}

/// Undoes the end of `connection` and the revocation of `keys`, as far as there was one.
pub fn forget(
    rules: &mut RuleBook,
    connection: ConnectionId,
    keys: impl IntoIterator<Item = KeyFingerprint>,
) -> Forgotten {
    let ended = rules.forget_end(connection);
    let revoked = keys.into_iter().filter(|key| rules.forget_revocation(*key)).collect();
    Forgotten { ended, revoked }
}

fn is_recent(confirmed: Option<Instant>, now: Instant) -> bool {
    confirmed.is_some_and(|at| now.saturating_duration_since(at) < ADMIN_RULES_CONFIRMED_WITHIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::Fixture;
    use crate::policy::tests::rule;
    use adit_core::protocol::control::Change;

    fn word(fixture: &Fixture) -> &'static str {
        policy_word(fixture.entries.get(Fixture::id(1)).unwrap(), &fixture.policies.rules())
    }

    async fn end(fixture: &Fixture) {
        let mut book = fixture.policies.received();
        book.apply_change(2, Change::Ended { connection: Fixture::id(1) }).unwrap();
        fixture.policies.adopt(book).await;
    }

    #[tokio::test]
    async fn what_rules_allow_is_in_force_after_a_restart() {
        let fixture = Fixture::new();
        fixture.adopt(1, vec![rule(1)]).await;
        assert_eq!(word(&fixture), "Active");
        assert_eq!(word(&fixture.restart()), "Active");
    }

    #[tokio::test]
    async fn what_rules_allow_is_not_in_force_while_it_cannot_be_written() {
        let fixture = Fixture::new();
        fixture.break_disk();
        fixture.adopt(1, vec![rule(1)]).await;
        assert_ne!(word(&fixture), "Active");
        assert_eq!(fixture.policies.received_epoch(Fixture::id(1)), Some(rule(1).secret_epoch));
    }

    #[tokio::test]
    async fn what_rules_forbid_is_in_force_though_it_cannot_be_written() {
        let fixture = Fixture::new();
        fixture.adopt(1, vec![rule(1)]).await;
        fixture.break_disk();
        end(&fixture).await;
        assert_eq!(word(&fixture), "Terminated");
    }

    #[tokio::test]
    async fn an_end_that_a_person_undoes_makes_the_link_start_again_once() {
        let fixture = Fixture::new();
        fixture.adopt(1, vec![rule(1)]).await;
        end(&fixture).await;
        let entry = fixture.entries.get(Fixture::id(1)).unwrap();
        let forgotten = fixture.policies.forget_end(entry).await.unwrap();
        assert_eq!(forgotten, Forgotten { ended: true, revoked: Vec::new() });
        assert_ne!(word(&fixture), "Terminated");
        assert_eq!([(); 2].map(|()| fixture.policies.take_undone()), [true, false]);
        assert_eq!(fixture.audit_lines(), 1);
    }

    #[tokio::test]
    async fn an_end_whose_undoing_cannot_be_written_stays() {
        let fixture = Fixture::new();
        fixture.adopt(1, vec![rule(1)]).await;
        end(&fixture).await;
        fixture.break_disk();
        let entry = fixture.entries.get(Fixture::id(1)).unwrap();
        assert!(matches!(fixture.policies.forget_end(entry).await, Err(EndError::Unkept)));
        assert_eq!(word(&fixture), "Terminated");
        assert!(fixture.policies.received().is_ended(Fixture::id(1)) && !fixture.policies.take_undone());
    }

    #[test]
    fn rules_are_confirmed_only_within_an_hour_of_the_gateways_word() {
        let now = Instant::now();
        assert!(!is_recent(None, now));
        assert!(is_recent(Some(now), now));
        assert!(is_recent(Some(now), now + Duration::from_secs(3_599)));
        assert!(!is_recent(Some(now), now + Duration::from_secs(3_600)));
    }
}
