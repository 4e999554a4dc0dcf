//! What every task of an agent shares: rules, secrets, known keys, paths to peers, the audit.
//!
//! Disk writes go through here, off the data path's thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use super::copies::Copies;
use super::entries::{Entries, LiveConnection};
use super::paths::Paths;
use super::policy;
use super::rejected::{Rejected, RejectedStatements};
use super::repeats::Repeats;
use super::state::{AgentState, Enrolment, StateError, StoredSecret};
use super::stats::{Fault, TimedFlag};
use super::stopping::Stopping;
use super::trust::{self, TrustRefusal};
use adit_core::config::agent::{AdminManaged, Entry};
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::limits;
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::connection::Policy;
use adit_core::protocol::control::{PeerRefusal, Rule, ToGateway};
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_core::protocol::rules::{Concerns, RuleBook};
use adit_core::protocol::text::listed;
use adit_net::identity::known_keys::{KeyVerdict, KnownKey, KnownKeys};
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_net::transport::endpoint::AgentEndpoint;
use adit_net::transport::routes::Routes;
use adit_observe::audit::{AuditEntry, AuditError, AuditFile};

const GATEWAY_STOPPED: &str = "the gateway was stopped; the link comes back with it";
/// Messages for the gateway that wait for the link; more are dropped, facts are sent again.
pub const OUTBOX_MAX: usize = 256;

#[derive(Debug)]
pub struct Context {
    pub clock: Arc<LearntClock>,
    pub endpoint: AgentEndpoint,
    pub routes: Routes,
    pub entries: Entries,
    pub paths: Paths,
    pub enrolment: Enrolment,
    /// Bodies of admin requests beyond the usual size that this agent holds at a time.
    pub large_bodies: Arc<Semaphore>,
    /// What ends once that has begun ends by order: it is no fault.
    pub stopping: Arc<Stopping>,
    state: Arc<AgentState>,
    audit: Arc<AuditFile>,
    /// The last line could not be written.
    audit_fails: AtomicBool,
    /// In force: what is kept on disk, and of what was said since all that narrows it.
    rules: watch::Sender<Arc<RuleBook>>,
    /// As said last.
    received: Arc<Mutex<Arc<RuleBook>>>,
    /// The rules could not be written.
    rules_unkept: AtomicBool,
    /// What a gateway said for good was undone here, and it has not said all again since.
    undone: AtomicBool,
    /// The last of each connection first.
    secrets: watch::Sender<BTreeMap<ConnectionId, Vec<StoredSecret>>>,
    known_keys: Arc<Mutex<KnownKeys>>,
    mirth_keys: watch::Sender<BTreeMap<ConnectionId, KeyFingerprint>>,
    /// When the rules in force were last known to be the gateway's word.
    confirmed: Mutex<Option<Instant>>,
    outbox: mpsc::Sender<ToGateway>,
    link: Mutex<LinkStatus>,
    refusals: Mutex<RepeatLimiter<RefusalKind>>,
    /// Handshakes that failed, by what was wrong: strangers have a say in it, so they are apart.
    handshakes: Mutex<RepeatLimiter<String>>,
    /// The key that each peer of the file showed last.
    shown_keys: Mutex<BTreeMap<ServerId, KeyFingerprint>>,
    rejected: Mutex<RejectedStatements>,
    /// Of this agent.
    pub copies: Copies,
    pub link_repeats: Repeats,
}

/// What is true of the control link.
#[derive(Debug, Clone, Default)]
pub struct LinkStatus {
    pub up: TimedFlag,
    pub last_error: Option<Fault>,
}

/// What a context is made of, beyond what is loaded from the state.
pub struct Parts {
    pub clock: Arc<LearntClock>,
    pub endpoint: AgentEndpoint,
    pub routes: Routes,
    pub entries: Entries,
    pub paths: Paths,
    pub enrolment: Enrolment,
    pub audit: AuditFile,
    pub outbox: mpsc::Sender<ToGateway>,
}

impl Context {
    pub fn new(parts: Parts, state: Arc<AgentState>) -> Result<Arc<Self>, StateError> {
        let known_keys = state.known_keys()?;
        let mut rules = state.rule_book()?;
        rules.keep_for(concerns(&parts.entries, &known_keys));
        log_start(&parts.entries, &rules, &known_keys);
        let rules = Arc::new(rules);
        Ok(Arc::new(Self {
            clock: parts.clock,
            endpoint: parts.endpoint,
            routes: parts.routes,
            entries: parts.entries,
            paths: parts.paths,
            enrolment: parts.enrolment,
            large_bodies: Arc::new(Semaphore::new(limits::ADMIN_LARGE_BODIES_MAX)),
            stopping: Stopping::new(),
            audit: Arc::new(parts.audit),
            audit_fails: AtomicBool::new(false),
            rules: watch::Sender::new(Arc::clone(&rules)),
            received: Arc::new(Mutex::new(rules)),
            rules_unkept: AtomicBool::new(false),
            undone: AtomicBool::new(false),
            secrets: watch::Sender::new(state.all_secrets()?),
            known_keys: Arc::new(Mutex::new(known_keys)),
            mirth_keys: watch::Sender::new(state.mirth_keys()?),
            confirmed: Mutex::default(),
            outbox: parts.outbox,
            link: Mutex::default(),
            refusals: Mutex::new(RepeatLimiter::every(
                limits::REPEATS_WRITTEN_EVERY,
                limits::REFUSAL_KINDS_MAX,
            )),
            handshakes: Mutex::new(RepeatLimiter::every(
                limits::REPEATS_WRITTEN_EVERY,
                limits::HANDSHAKE_KINDS_MAX,
            )),
            shown_keys: Mutex::default(),
            rejected: Mutex::default(),
            copies: Copies::default(),
            link_repeats: Repeats::default(),
            state,
        }))
    }

    /// Keeps a renewed leaf on disk; the endpoint shows it afterwards.
    pub async fn keep_leaf(&self, leaf: Vec<u8>) -> Result<(), StateError> {
        self.on_disk(move |state| state.store_leaf(&leaf)).await
    }

    /// Learns gateway time and keeps the offset for the next start.
    pub async fn learn_time(&self, said: Timestamp) {
        let Some(offset) = self.hear_time(said).await else { return };
        let kept = self.on_disk(move |state| state.store_clock_offset_millis(offset)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the clock offset could not be kept");
        }
    }

    /// Learns gateway time where the gateway's word is plausible.
    pub async fn hear_time(&self, said: Timestamp) -> Option<i64> {
        let credentials = self.endpoint.credentials();
        let offset = self.clock.learn(said, credentials.identity.validity(&credentials.trust).ok());
        if offset.is_some() {
            self.rejected.lock().clear(Rejected::Clock);
            return offset;
        }
        let what = format!(
            "the gateway says it is {said}, here it is {}; if the gateway is right, set this host's clock",
            self.clock.now()
        );
        self.note_rejected(Rejected::Clock, what).await;
        None
    }

    /// Remembers what the gateway said and was not taken; writes it down now and then.
    pub async fn note_rejected(&self, kind: Rejected, what: String) {
        let fault = Fault { at: self.clock.now(), what: what.clone() };
        if self.rejected.lock().note(kind, fault, Instant::now()) {
            tracing::warn!("not taken from the gateway: {what}");
            self.write_audit(AuditEntry::gateway_not_taken(self.clock.now(), &what)).await;
        }
    }

    /// Forgets the fault: the gateway said better since.
    pub fn clear_rejected(&self, kind: Rejected) {
        self.rejected.lock().clear(kind);
    }

    #[must_use]
    pub fn rejected(&self) -> Vec<Fault> {
        self.rejected.lock().all()
    }

    // Rules.

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<RuleBook> {
        self.rules.borrow().clone()
    }

    #[must_use]
    pub fn watch_rules(&self) -> watch::Receiver<Arc<RuleBook>> {
        self.rules.subscribe()
    }

    /// Returns the rules as said last, to be changed and adopted, ready to keep what concerns this agent.
    #[must_use]
    pub fn received_rules(&self) -> RuleBook {
        let mut rules = RuleBook::clone(&self.received.lock());
        rules.keep_for(concerns(&self.entries, &self.known_keys.lock()));
        rules
    }

    /// Puts new rules into force: what they forbid at once, what they allow once it is on disk.
    pub async fn adopt_rules(&self, rules: RuleBook) {
        let narrowed = rules.narrowed_to(&self.rules());
        self.log_policies(&rules, &narrowed);
        *self.received.lock() = Arc::new(rules);
        self.enforce(Arc::new(narrowed));
        self.keep_rules().await;
    }

    /// Says for whom new rules change something; what they allow beside what they forbid counts once on disk.
    fn log_policies(&self, said: &RuleBook, narrowed: &RuleBook) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let in_force = self.rules();
        for entry in self.entries.all() {
            let (id, rule) = (entry.config.id, said.rule(entry.config.id));
            let (before, once_on_disk) = (policy(entry, &in_force), policy(entry, said));
            if in_force.rule(id) == rule && before == once_on_disk {
                continue;
            }
            let (connection, now) = (&entry.config.name, policy(entry, narrowed));
            let (secret_epoch, cut_epoch) =
                (rule.map(|rule| rule.secret_epoch), rule.map(|rule| rule.cut_epoch));
            tracing::debug!(%connection, before, now, once_on_disk, secret_epoch, cut_epoch, "the gateway's rules change what a connection may do");
        }
    }

    /// Writes the rules as said last, which then are in force. Returns whether they are.
    pub async fn keep_rules(&self) -> bool {
        let received = Arc::clone(&self.received);
        let kept = self.on_disk(move |state| state.store_rule_book(|| Arc::clone(&received.lock()))).await;
        if let Err(error) = &kept
            && !self.rules_unkept.load(Ordering::Relaxed)
        {
            tracing::error!(%error, "the rules could not be kept; until they are, nothing new is allowed");
        }
        self.rules_unkept.store(kept.is_err(), Ordering::Relaxed);
        if kept.is_ok() {
            tracing::debug!("the rules are on disk, so all that they allow is allowed");
            let received = Arc::clone(&self.received.lock());
            self.enforce(received);
        }
        kept.is_ok()
    }

    /// Tries again to write rules that could not be.
    pub async fn retry_keeping_rules(&self) {
        if self.rules_unkept.load(Ordering::Relaxed) {
            self.keep_rules().await;
        }
    }

    fn enforce(&self, rules: Arc<RuleBook>) {
        self.rules.send_if_modified(|in_force| {
            let differs = **in_force != *rules;
            *in_force = rules;
            differs
        });
    }

    /// Undoes for a person of this host what a gateway said for good of this connection: that it ended, and
    /// that a key known for its peer was revoked. What the gateway says now counts again.
    pub async fn forget_end(&self, entry: &LiveConnection) -> Result<Forgotten, EndError> {
        let connection = entry.config.id;
        let known = self.known_key(connection).map(|known| known.key);
        let keys = || entry.config.peer_key.into_iter().chain(known);
        let forgotten = forget(&mut self.received_rules(), connection, keys());
        if forgotten.is_nothing() {
            return Ok(forgotten);
        }
        let Forgotten { ended, revoked } = forgotten.clone();
        tracing::debug!(%connection, ended, revoked = %listed(&revoked), "a person undoes what a gateway said for good");
        self.audit_admin(AuditEntry::end_forgotten(self.clock.now(), connection, ended, revoked)).await?;
        // The gateway may have said more meanwhile.
        let mut rules = self.received_rules();
        forget(&mut rules, connection, keys());
        *self.received.lock() = Arc::new(rules);
        if self.keep_rules().await {
            self.undone.store(true, Ordering::Relaxed);
            return Ok(forgotten);
        }
        // It must not take effect some day after it was refused.
        let mut rules = self.received_rules();
        rules.apply_revoked(forgotten.revoked);
        rules.apply_ended(forgotten.ended.then_some(connection).into_iter().collect());
        *self.received.lock() = Arc::new(rules);
        Err(EndError::Unkept)
    }

    /// Returns whether the link must start again, so that the gateway says again what it means; once for each
    /// time that something was undone.
    #[must_use]
    pub fn take_undone(&self) -> bool {
        self.undone.swap(false, Ordering::Relaxed)
    }

    // Secrets.

    #[must_use]
    pub fn watch_secrets(&self) -> watch::Receiver<BTreeMap<ConnectionId, Vec<StoredSecret>>> {
        self.secrets.subscribe()
    }

    /// Returns the secret that `rule` asks for: the file's own, or the fetched one of that epoch.
    #[must_use]
    pub fn secret(&self, entry: &Entry, rule: &Rule) -> Option<Secret> {
        if entry.secret.is_some() {
            return entry.secret.clone();
        }
        let secrets = self.secrets.borrow();
        let stored = secrets.get(&entry.id)?.iter().find(|stored| stored.epoch == rule.secret_epoch);
        stored.map(|stored| stored.secret.clone())
    }

    /// Returns the secret by which the peer's agent is asked whether it is there. While a rotated one is on
    /// its way the one before still is: a live tunnel must not lose its route.
    #[must_use]
    pub fn probe_secret(&self, entry: &Entry, rule: &Rule) -> Option<Secret> {
        let last = || self.secrets.borrow().get(&entry.id)?.first().map(|stored| stored.secret.clone());
        self.secret(entry, rule).or_else(last)
    }

    /// Returns whether a secret is worth keeping: this agent's file lists its connection, whose rule asks for
    /// it. What the gateway may make an agent keep is bounded by the agent's own file.
    #[must_use]
    pub fn wants_secret(&self, connection: ConnectionId, epoch: u32) -> bool {
        // One that is held is not replaced: a gateway gives each out once.
        let is_stored = self
            .secrets
            .borrow()
            .get(&connection)
            .is_some_and(|stored| stored.iter().any(|stored| stored.epoch == epoch));
        let received = self.received.lock();
        !is_stored
            && self.entries.get(connection).is_some()
            && received.rule(connection).is_some_and(|rule| rule.secret_epoch == epoch)
    }

    /// Keeps a fetched secret: on disk first, so that the acknowledgement is true.
    pub async fn keep_secret(
        &self,
        connection: ConnectionId,
        stored: StoredSecret,
    ) -> Result<(), StateError> {
        let (written, epoch) = (stored.clone(), stored.epoch);
        self.on_disk(move |state| state.store_secret(connection, &written)).await?;
        self.secrets.send_modify(|secrets| {
            let kept = secrets.entry(connection).or_default();
            kept.retain(|earlier| earlier.epoch != stored.epoch);
            kept.insert(0, stored);
            kept.truncate(limits::SECRETS_KEPT_MAX);
        });
        tracing::debug!(%connection, epoch, "the secret of a connection was fetched and is on disk");
        Ok(())
    }

    /// Keeps where peers were last reachable, for a start without the gateway.
    pub async fn keep_addresses(&self, addresses: BTreeMap<ServerId, Vec<SocketAddr>>) {
        if let Err(error) = self.on_disk(move |state| state.store_peer_addresses(&addresses)).await {
            tracing::error!(%error, "the peers' addresses could not be kept");
        }
    }

    // Known keys.

    #[must_use]
    pub fn check_key(&self, connection: ConnectionId, shown: KeyFingerprint) -> KeyVerdict {
        let keys = self.known_keys.lock();
        match keys.check(connection, shown) {
            KeyVerdict::FirstContact if self.is_compared(&keys, connection, shown) => {
                KeyVerdict::Known { verified: true }
            }
            verdict => verdict,
        }
    }

    /// Returns whether a person compared this key for another connection with the same peer.
    fn is_compared(&self, keys: &KnownKeys, connection: ConnectionId, shown: KeyFingerprint) -> bool {
        let Some(entry) = self.entries.get(connection) else { return false };
        self.entries.all().filter(|other| other.config.peer == entry.config.peer).any(|other| {
            let known = keys.get(other.config.id);
            other.config.peer_key == Some(shown) || known.is_some_and(|it| it.key == shown && it.verified)
        })
    }

    /// Remembers the key that the peer of an entry showed.
    pub fn note_shown_key(&self, peer: ServerId, shown: KeyFingerprint) {
        self.shown_keys.lock().insert(peer, shown);
    }

    #[must_use]
    pub fn known_key(&self, connection: ConnectionId) -> Option<KnownKey> {
        self.known_keys.lock().get(connection)
    }

    /// Pins a key at first contact, after the proofs. Another one may have been met or trusted since
    /// the key was checked.
    pub async fn meet_key(&self, connection: ConnectionId, key: KeyFingerprint) -> KeyVerdict {
        let (verdict, is_compared) = {
            let mut keys = self.known_keys.lock();
            let is_compared = self.is_compared(&keys, connection, key);
            let verdict = keys.meet(connection, key);
            if verdict == KeyVerdict::FirstContact && is_compared {
                keys.trust(connection, key);
            }
            (verdict, is_compared)
        };
        tracing::debug!(%connection, %key, verdict = verdict.as_str(), is_compared, "the key of a peer that has proven itself");
        if verdict != KeyVerdict::FirstContact {
            return verdict;
        }
        if !is_compared {
            self.warn_of_first_contact(connection, key);
        }
        if let Err(error) = self.store_known_keys().await {
            tracing::error!(%error, "the known keys could not be kept");
        }
        verdict
    }

    fn warn_of_first_contact(&self, connection: ConnectionId, key: KeyFingerprint) {
        let name = self.entries.get(connection).map(|entry| tracing::field::display(&entry.config.name));
        tracing::warn!(connection = name, %key, "first contact with an unverified key; compare it with the peer by phone, then run `adit trust`");
    }

    /// Trusts the key: a person compared the key out of band. Returns the names of the connections with the
    /// same peer for which that counts, too.
    pub async fn trust_key(
        &self,
        connection: ConnectionId,
        key: KeyFingerprint,
        force: bool,
    ) -> Result<Vec<String>, TrustError> {
        let Some(entry) = self.entries.get(connection) else { return Err(TrustError::NotListed) };
        let (peer, own) = (entry.config.peer, self.endpoint.credentials().identity.key().fingerprint());
        let shown = self.shown_keys.lock().get(&peer).copied();
        let judged = trust::judge(&entry.config, key, Some(own), shown, force);
        let (name, shown) = (&entry.config.name, shown.map(tracing::field::display));
        tracing::debug!(connection = %name, %key, shown, force, is_trusted = judged.is_ok(), "a person names the key of a peer");
        judged?;
        self.write_audit(AuditEntry::key_trusted(self.clock.now(), connection, peer, key)).await;
        let entries = self.entries.all().map(|entry| &entry.config);
        let also = trust::trust(&mut self.known_keys.lock(), entries, &entry.config, key);
        self.store_known_keys().await?;
        Ok(also)
    }

    /// Returns the key of the managed Mirth: the file's own, or the one that a person trusted.
    #[must_use]
    pub fn mirth_key(&self, managed: &AdminManaged) -> Option<KeyFingerprint> {
        managed.mirth_key.or_else(|| self.mirth_keys.borrow().get(&managed.entry.id).copied())
    }

    #[must_use]
    pub fn watch_mirth_keys(&self) -> watch::Receiver<BTreeMap<ConnectionId, KeyFingerprint>> {
        self.mirth_keys.subscribe()
    }

    /// Trusts the key: a person compared the key of this host's Mirth.
    pub async fn trust_mirth_key(
        &self,
        connection: ConnectionId,
        key: KeyFingerprint,
    ) -> Result<(), StateError> {
        tracing::debug!(%connection, %key, "a person trusts the key of the managed Mirth");
        self.write_audit(AuditEntry::mirth_key_trusted(self.clock.now(), connection, key)).await;
        self.on_disk(move |state| state.trust_mirth_key(connection, key)).await?;
        self.mirth_keys.send_modify(|keys| {
            keys.insert(connection, key);
        });
        Ok(())
    }

    async fn store_known_keys(&self) -> Result<(), StateError> {
        let keys = Arc::clone(&self.known_keys);
        self.on_disk(move |state| state.store_known_keys(|| keys.lock().clone())).await
    }

    // The gateway.

    /// Queues a message for the gateway.
    pub fn notify_gateway(&self, message: ToGateway) {
        if self.outbox.try_send(message).is_err() {
            metrics::counter!(adit_observe::metrics::CONTROL_DROPPED).increment(1);
            tracing::debug!("a message for the gateway was dropped: the link is away");
        }
    }

    #[must_use]
    pub fn link(&self) -> LinkStatus {
        self.link.lock().clone()
    }

    pub fn set_link(&self, up: bool) {
        let mut link = self.link.lock();
        link.up.set(Some(up), self.clock.now());
        if up {
            link.last_error = None;
        }
        drop(link);
        metrics::gauge!(adit_observe::metrics::CONTROL_LINK_UP).set(f64::from(u8::from(up)));
    }

    /// Returns whether the gateway confirmed the rules recently enough for an admin session (DESIGN §3).
    #[must_use]
    pub fn are_rules_confirmed(&self) -> bool {
        is_recent(*self.confirmed.lock(), Instant::now())
    }

    /// Notes that the rules in force are the gateway's word now: it has sent them over this link, and the
    /// link lives.
    pub fn confirm_rules(&self) {
        *self.confirmed.lock() = Some(Instant::now());
    }

    /// Remembers why the link is away; the same reason again is only remembered. `is_excused`: the gateway
    /// said that it stops, and that alone counts for a while.
    pub fn note_link_fault(&self, what: String, is_excused: bool) {
        if is_excused {
            tracing::debug!("the gateway is away: {what}");
            let fault = Fault { at: self.clock.now(), what: GATEWAY_STOPPED.into() };
            self.link.lock().last_error.get_or_insert(fault);
            return;
        }
        let mut link = self.link.lock();
        if link.last_error.as_ref().is_none_or(|fault| fault.what != what) {
            if self.stopping.is_begun() {
                tracing::debug!("the gateway is away: {what}");
            } else if let Some(more) = self.link_repeats.note("the gateway is away", Instant::now()) {
                tracing::warn!(more = shown(more), "the gateway is away: {what}");
            }
        }
        link.last_error = Some(Fault { at: self.clock.now(), what });
    }

    // Faults and refusals.

    /// Says of which entries the rules kept on disk cannot be used: no gateway may come to say it again.
    pub fn note_unusable(&self) {
        let rules = self.rules();
        for entry in self.entries.all() {
            if let Policy::Unusable(why) = policy::of(&entry.config, entry.side, &rules) {
                self.note_fault(entry, &why.to_string());
            }
        }
    }

    /// Notes what went wrong with an entry: the task of its connection remembers and logs it.
    pub fn note_fault(&self, entry: &LiveConnection, what: &str) {
        tracing::trace!(connection = %entry.config.name, what, "what keeps it from working");
        entry.note_fault(Fault { at: self.clock.now(), what: what.into() });
    }

    /// Records a refused peer in the agent's own audit and tells the gateway.
    pub async fn refuse_peer(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: PeerRefusal,
    ) {
        if let Some(left_out) = self.audit_refusal(connection, peer, Some(reason), &reason.to_string()).await
        {
            let reason = reason.into();
            self.notify_gateway(ToGateway::RefusedPeer { connection, peer, reason, left_out });
        }
    }

    /// Records in the agent's own audit that a handshake failed and why.
    pub async fn refuse_handshake(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: &str,
    ) {
        self.audit_refusal(connection, peer, None, reason).await;
    }

    /// Records the first refusal of a kind, and then once an hour how many there were. Returns how many
    /// were left out since the last, where this one was recorded.
    async fn audit_refusal(
        &self,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        kind: Option<PeerRefusal>,
        reason: &str,
    ) -> Option<u64> {
        metrics::counter!(adit_observe::metrics::PEER_REFUSALS).increment(1);
        // A peer may name any connection; only this file's are told apart.
        let known = connection.filter(|connection| self.entries.get(*connection).is_some());
        let now = Instant::now();
        let left_out = match kind {
            Some(kind) => self.refusals.lock().handle((peer, known, kind), now),
            None => self.handshakes.lock().handle(reason.to_owned(), now),
        };
        let (named, by) = (connection.map(tracing::field::display), peer.map(tracing::field::display));
        let Some(left_out) = left_out else {
            tracing::debug!(
                connection = named,
                peer = by,
                reason,
                "refused a peer; that was said not long ago, so it is only counted"
            );
            return None;
        };
        let reason = match left_out {
            0 => reason.to_owned(),
            left_out => format!("{reason} ({left_out} more like it since the last such line)"),
        };
        tracing::warn!(connection = named, peer = by, reason, "refused a peer");
        self.write_audit(AuditEntry::peer_refused(self.clock.now(), connection, peer, &reason)).await;
        Some(left_out)
    }

    /// Writes an entry: P2P goes on without its audit file; the alarm is loud (I9).
    async fn write_audit(&self, entry: AuditEntry) {
        let _ = self.audit_admin(entry).await;
    }

    /// Writes an entry of an admin session, on disk when this returns. What cannot be written down must not
    /// happen (I9).
    pub async fn audit_admin(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let audit = Arc::clone(&self.audit);
        let written = tokio::task::spawn_blocking(move || audit.append(&entry)).await;
        let written = written.unwrap_or_else(|lost| Err(AuditError::lost(lost.into())));
        if let Err(error) = &written {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "the audit file cannot be written");
        }
        self.audit_fails.store(written.is_err(), Ordering::Relaxed);
        written
    }

    /// Checks whether the audit can be written as far as is known: one that could not be is tried again.
    pub async fn check_audit(&self) -> Result<(), AuditError> {
        if !self.audit_fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        tracing::debug!("the audit could not be written before; it is tried again");
        self.audit_admin(AuditEntry::resumed(self.clock.now())).await
    }

    /// Runs a disk write where it delays no packet.
    async fn on_disk(
        &self,
        write: impl FnOnce(&AgentState) -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), StateError> {
        let state = Arc::clone(&self.state);
        let written = tokio::task::spawn_blocking(move || write(&state)).await;
        // A write is lost unfinished only when the runtime ends, and the agent with it.
        written.unwrap_or(Ok(()))
    }
}

/// Says what the last run left, by which the agent goes until the gateway is heard.
fn log_start(entries: &Entries, rules: &RuleBook, known: &KnownKeys) {
    for entry in entries.all() {
        let known = known.get(entry.config.id);
        let (key, compared) = (known.map(|it| tracing::field::display(it.key)), known.map(|it| it.verified));
        let (connection, policy) = (&entry.config.name, policy(entry, rules));
        tracing::debug!(%connection, policy, peer_key = key, compared, "the rules and keys of the last run");
    }
}

/// Returns in one word what an entry may do under these rules.
fn policy(entry: &LiveConnection, rules: &RuleBook) -> &'static str {
    policy::of(&entry.config, entry.side, rules).as_str()
}

/// Returns what this agent needs to hear about: its file's connections, and the keys known for them.
fn concerns(entries: &Entries, known: &KnownKeys) -> Concerns {
    let pinned = entries.all().filter_map(|entry| entry.config.peer_key);
    Concerns {
        connections: entries.all().map(|entry| entry.config.id).collect(),
        keys: known.keys().chain(pinned).collect(),
    }
}

/// Who was refused, at which of this file's connections, and why.
type RefusalKind = (Option<ServerId>, Option<ConnectionId>, PeerRefusal);

/// Why a key is not trusted from now on.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Refused(#[from] TrustRefusal),
    #[error("the running agent does not have this connection; restart it, so that it reads its file")]
    NotListed,
    #[error(transparent)]
    Unkept(#[from] StateError),
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
pub enum EndError {
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
    confirmed.is_some_and(|at| now.saturating_duration_since(at) < limits::ADMIN_RULES_CONFIRMED_WITHIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rules_are_confirmed_only_within_an_hour_of_the_gateways_word() {
        let now = Instant::now();
        assert!(!is_recent(None, now));
        assert!(is_recent(Some(now), now));
        assert!(is_recent(Some(now), now + Duration::from_secs(3_599)));
        assert!(!is_recent(Some(now), now + Duration::from_secs(3_600)));
    }
}
