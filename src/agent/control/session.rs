//! One live control link: what the gateway says over it and what is said of this agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::said::{ASK_AGAIN, Said};
use super::{ControlClient, LinkEnd};
use crate::exchanges::Counted;
use crate::measurements::Standing;
use crate::outbox::{self, Note};
use crate::policy;
use crate::rejected::Rejected;
use crate::side_fault;
use crate::state::StoredSecret;
use adit_core::domain::connection::Side;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits;
use adit_core::domain::secret::Secret;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_core::domain::word::UnknownWord;
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::connection::Policy;
use adit_core::protocol::control::{Activity, Change, ConfigMismatch, Report, Rule, ToAgent, ToGateway};
use adit_core::protocol::heartbeat::{Beat, Heartbeat};
use adit_core::protocol::rule_list::{RuleList, UnusableRule};
use adit_core::protocol::rules::{RuleBook, RuleEffect};
use adit_core::protocol::text::listed;
use adit_net::identity::random;
use adit_net::identity::renewal::LeafRefused;
use adit_net::identity::time::TimeSource;
use adit_net::transport::link::{LinkReceiver, LinkSender};
use adit_observe::unknown;

/// Reports go out at most this often, and only when they differ from the last.
const REPORT_EVERY: Duration = Duration::from_secs(1);
const UNLISTED: &str =
    "the gateway does not list this connection; it comes back by itself once the gateway does";

/// One live link and what was said on it.
pub(super) struct ControlSession<'a> {
    pub(super) client: &'a mut ControlClient,
    /// An address of the gateway, where one is known.
    toward: Option<SocketAddr>,
    /// Of the gateway.
    capabilities: Capabilities,
    /// Where the gateway was told that this agent can be reached.
    reachable: Vec<SocketAddr>,
    /// Whether the gateway has given its whole view on this link.
    has_snapshot: bool,
    /// Rules that came ahead of their snapshot.
    parts: BTreeMap<ConnectionId, Rule>,
    unusable_parts: BTreeMap<ConnectionId, UnusableRule>,
    said: Said,
    renewal_asked: Option<Instant>,
    awaits_leaf: bool,
    renew_after: Duration,
}

impl<'a> ControlSession<'a> {
    pub(super) fn new(
        client: &'a mut ControlClient,
        toward: Option<SocketAddr>,
        capabilities: Capabilities,
    ) -> Self {
        // Jitter keeps a thousand agents from renewing in the same minute.
        let renew_after = limits::LEAF_RENEW_EVERY.mul_f64(0.9 + 0.2 * random::draw());
        Self {
            client,
            toward,
            capabilities,
            reachable: Vec::new(),
            has_snapshot: false,
            parts: BTreeMap::new(),
            unusable_parts: BTreeMap::new(),
            said: Said::default(),
            renewal_asked: None,
            awaits_leaf: false,
            renew_after,
        }
    }

    pub(super) async fn run(
        mut self,
        mut sender: LinkSender,
        mut receiver: LinkReceiver,
    ) -> Result<std::convert::Infallible, LinkEnd> {
        let mut heartbeat = Heartbeat::new(
            Instant::now(),
            limits::CONTROL_HEARTBEAT_EVERY,
            limits::CONTROL_HEARTBEATS_MISSED_MAX,
        );
        let mut paths = self.client.paths.watch();
        // A choice made since the link was opened is said again.
        paths.mark_changed();
        let mut gateway_path = self.client.routes.gateway_path();
        let mut run = None;
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut outgoing = Vec::new();
            tokio::select! {
                message = receiver.receive() => {
                    heartbeat.handle_heard(Instant::now());
                    let message = message?;
                    if message == ToAgent::Unknown {
                        unknown::note("message", receiver.tag());
                    }
                    self.handle(message, &mut outgoing).await?;
                }
                Some(note) = self.client.notes.receive() => self.tell(note, &mut outgoing),
                Ok(()) = gateway_path.changed() => {
                    let boot = gateway_path.borrow_and_update().boot;
                    if run.is_some_and(|run| boot.is_some_and(|boot| boot != run)) {
                        return Err(LinkEnd::Restarted);
                    }
                    run = boot.or(run);
                }
                Ok(()) = paths.changed() => {
                    outgoing.push(self.client.hidden_from());
                    if self.capabilities.has(Capability::AllowedPaths) {
                        outgoing.push(self.client.allowed_paths());
                    }
                }
                _ = reports.tick() => {
                    if self.client.policies.take_undone() {
                        tracing::debug!("something that a gateway said for good was undone here; all is heard again");
                        return Err(LinkEnd::Undone);
                    }
                    self.client.policies.retry_keeping().await;
                    self.announce(&mut outgoing);
                    self.report(&mut outgoing);
                    self.tell_measured(&mut outgoing);
                }
                () = sleep_until(heartbeat.deadline().into()) => match heartbeat.poll(Instant::now()) {
                    Some(Beat::Send { number }) => outgoing.push(ToGateway::Heartbeat { number }),
                    Some(Beat::Lost { silent_for }) => return Err(LinkEnd::Silent(silent_for)),
                    None => {}
                },
            }
            for message in outgoing {
                sender.send(&message).await?;
            }
        }
    }

    async fn handle(&mut self, message: ToAgent, outgoing: &mut Vec<ToGateway>) -> Result<(), LinkEnd> {
        match message {
            ToAgent::Heartbeat { now, number } => {
                tracing::trace!(number, %now, "received a heartbeat");
                self.client.hear_time(now).await;
                // A link that has not said its rules yet confirms none, and neither does a gateway that cannot
                // read them.
                if self.has_snapshot && !self.client.link.is_database_away() {
                    self.client.policies.confirm();
                }
            }
            ToAgent::SnapshotPart { rules, revoked } => {
                tracing::debug!(
                    rules = rules.usable.len(),
                    unusable = rules.unusable.len(),
                    revoked = revoked.len(),
                    "a part of the snapshot of rules came"
                );
                self.keep_parts(rules);
                let mut book = self.client.policies.received();
                log_effects(&book.apply_revoked(revoked));
                self.adopt(book).await;
            }
            ToAgent::Snapshot { revision, rules, revoked } => {
                tracing::debug!(
                    revision,
                    rules = rules.usable.len(),
                    unusable = rules.unusable.len(),
                    revoked = revoked.len(),
                    "the snapshot of rules is whole"
                );
                self.keep_parts(rules);
                let rules = self.take_parts();
                let mut book = self.client.policies.received();
                log_effects(&book.apply_snapshot(revision, rules, revoked));
                self.has_snapshot = true;
                self.adopt(book).await;
                self.client.policies.confirm();
                self.sync(outgoing);
            }
            ToAgent::Change { revision, change } => {
                tracing::debug!(revision, "a change of the rules came");
                if change == Change::Unknown {
                    unknown::note("change", UnknownWord::NONE);
                }
                let mut book = self.client.policies.received();
                log_effects(&book.apply_change(revision, change).map_err(|_| LinkEnd::Gap)?);
                self.adopt(book).await;
                self.client.policies.confirm();
                self.sync(outgoing);
            }
            ToAgent::Database { away_since } => self.note_database(away_since, outgoing),
            ToAgent::Noted { note } => {
                tracing::trace!(note = note.0, "the gateway has a note on file");
                self.client.notes.note_acknowledged(note);
            }
            ToAgent::Ended { connections } => {
                tracing::debug!(
                    connections = %listed(&connections),
                    "the gateway says that these have ended for good"
                );
                let mut book = self.client.policies.received();
                log_effects(&book.apply_ended(connections));
                self.adopt(book).await;
                self.sync(outgoing);
            }
            ToAgent::AnotherCopy { at } => {
                self.client.link.copies.note(at, self.client.clock.now(), Instant::now());
            }
            ToAgent::Candidates { peer, addresses } => self.client.announced.set(peer, addresses),
            ToAgent::AllowedPaths { peer, allowed } => self.client.paths.note_peers_word(peer, allowed),
            ToAgent::Secret { connection, epoch, .. } if !self.client.secrets.wants(connection, epoch) => {
                tracing::debug!(%connection, epoch, "a secret that no rule of this agent's file asks for is not kept");
            }
            ToAgent::Secret { connection, epoch, secret } => {
                let Ok(secret) = Secret::from_hex(&secret) else {
                    tracing::debug!(%connection, epoch, "a secret came that is none");
                    return Ok(());
                };
                match self.client.secrets.keep(connection, StoredSecret { epoch, secret }).await {
                    Ok(()) => outgoing.push(ToGateway::SecretStored { connection, epoch }),
                    Err(error) => tracing::error!(%error, "a connection's secret could not be kept"),
                }
            }
            ToAgent::SecretUnavailable { connection } => self.note_no_secret(connection),
            ToAgent::Renewed { leaf } => self.take_leaf(&leaf).await,
            ToAgent::Goodbye { reason, stopping } => return Err(LinkEnd::Goodbye { reason, stopping }),
            ToAgent::Welcome { .. } | ToAgent::RenewOnly { .. } | ToAgent::Unknown => {}
        }
        Ok(())
    }

    /// Says where this agent can be reached, when that is news: a host's address may change under a link
    /// that lives on.
    pub(super) fn announce(&mut self, outgoing: &mut Vec<ToGateway>) {
        // While there is none, what was said last may come true again.
        let Some(addresses) = self.client.reachable_at(self.toward) else { return };
        if self.reachable == addresses {
            return;
        }
        if !self.reachable.is_empty() {
            tracing::info!(addresses = %listed(&addresses), "this host's address has changed; peers are told");
        }
        tracing::debug!(
            addresses = %listed(&addresses),
            "the gateway is told where peers can reach this agent"
        );
        self.reachable.clone_from(&addresses);
        outgoing.push(ToGateway::Listening { addresses });
    }

    /// Says all that was not acknowledged over an earlier link.
    pub(super) fn repeat_notes(&mut self, outgoing: &mut Vec<ToGateway>) {
        let said = outgoing.len();
        if self.capabilities.has(Capability::AcknowledgesNotes) {
            outgoing.extend(self.client.notes.unacknowledged());
        } else {
            outgoing.extend(self.client.notes.take_unnumbered());
        }
        tracing::debug!(notes = outgoing.len() - said, "what the gateway has not acknowledged is said again");
    }

    /// Says a note; where it is acknowledged it is kept until then, and said once it can be.
    fn tell(&mut self, note: Note, outgoing: &mut Vec<ToGateway>) {
        if !self.capabilities.has(Capability::AcknowledgesNotes) {
            return outgoing.push(outbox::unnumbered(note));
        }
        let message = self.client.notes.keep(note);
        if self.client.link.is_database_away() {
            tracing::debug!("a note for the gateway waits until its database is back");
        } else {
            outgoing.push(message);
        }
    }

    /// Notes whether the gateway's database is away. Once it is back, what was said before may not have been
    /// kept or answered, also of what was under way when it went, so all is said and asked again.
    fn note_database(&mut self, away_since: Option<Timestamp>, outgoing: &mut Vec<ToGateway>) {
        self.client.link.note_database(away_since);
        if away_since.is_none() {
            tracing::debug!("what was said over this link is said again, and what is missing asked for");
            self.said = Said::default();
            self.repeat_notes(outgoing);
        }
    }

    /// Adopts the rules: what the gateway may make this agent remember is bounded; no bound ends the link.
    async fn adopt(&mut self, book: RuleBook) {
        let client = &*self.client;
        let left_out = book.left_out();
        let is_new = left_out > client.policies.rules().left_out();
        client.policies.adopt(book).await;
        if is_new {
            let what = format!(
                "it has named {left_out} connections and keys since the start that concern nothing in this agent's \
                 file, more than are kept"
            );
            client.link.note_rejected(Rejected::Foreign, what).await;
        }
    }

    /// Keeps rules ahead of their snapshot: those of the own file, and few of the rest.
    fn keep_parts(&mut self, rules: RuleList) {
        if rules.nameless > 0 {
            unknown::note("rule", UnknownWord::NONE);
        }
        for rule in rules.unusable {
            if self.client.entries.get(rule.connection()).is_some() {
                self.unusable_parts.insert(rule.connection(), rule);
            }
        }
        for rule in rules.usable {
            let is_ours = self.client.entries.get(rule.connection).is_some();
            if is_ours || self.parts.len() < limits::RULES_FOREIGN_MAX {
                self.parts.insert(rule.connection, rule);
            } else {
                tracing::debug!(connection = %rule.connection, "a rule for nothing in this agent's file is left out");
            }
        }
    }

    fn take_parts(&mut self) -> RuleList {
        RuleList {
            usable: std::mem::take(&mut self.parts).into_values().collect(),
            unusable: std::mem::take(&mut self.unusable_parts).into_values().collect(),
            nameless: 0,
        }
    }

    /// Takes a renewed leaf: a leaf that was not asked for or is not good is not taken; the link goes on with
    /// the one in use.
    async fn take_leaf(&mut self, leaf: &str) {
        let is_asked = std::mem::take(&mut self.awaits_leaf);
        let taken = if is_asked { self.client.renew(leaf).await } else { Err(LeafRefused::Unasked.into()) };
        if let Err(error) = taken {
            self.client.link.note_rejected(Rejected::Leaf, error_chain(&error)).await;
        }
    }

    fn note_no_secret(&self, connection: ConnectionId) {
        let client = &*self.client;
        if let Some(entry) = client.entries.get(connection) {
            let what = "the gateway no longer holds this connection's secret for this side; \
                        have `adit admin connection rotate` run, or write `secret` into the entry";
            entry.note_fault(what);
        }
    }

    /// Compares the rules with the file and the secrets held. While the gateway's database is away nothing that
    /// follows could be kept there, or answered.
    fn sync(&mut self, outgoing: &mut Vec<ToGateway>) {
        if self.client.link.is_database_away() {
            return;
        }
        let now = Instant::now();
        let (entries, rules) = (Arc::clone(&self.client.entries), self.client.policies.rules());
        for entry in entries.all() {
            let connection = entry.config.id;
            let policy = policy::of(&entry.config, entry.side, &rules);
            let found = entry.status().upstream.config_mismatch;
            if let Some(reason) = found.filter(|_| policy.is_active())
                && self.said.may_report_mismatch(connection, reason, true, now)
            {
                outgoing.push(ToGateway::ConfigMismatch { connection, reason: reason.into() });
            }
            if found.is_none() || !policy.keeps_tunnel() {
                // Said again if it is found again once the connection was retried.
                self.said.forget_mismatch(connection, ConfigMismatch::MirthTooOld);
            }
            if policy == Policy::Unlisted {
                entry.note_fault(UNLISTED);
            }
            if let Policy::Unusable(why) = policy {
                entry.note_fault(&why.to_string());
                continue;
            }
            if let Policy::ConfigMismatch(reason) = policy {
                tracing::trace!(name = %entry.config.name, %reason, "the rule and this agent's file disagree");
                entry.note_fault(&reason.to_string());
                let in_force = rules.rule(connection).is_some_and(|rule| rule.activity != Activity::Ready);
                if self.said.may_report_mismatch(connection, reason, in_force, now) {
                    outgoing.push(ToGateway::ConfigMismatch { connection, reason: reason.into() });
                }
                continue;
            }
            let Some(rule) = policy.rule() else { continue };
            let epoch = rule.secret_epoch;
            if self.client.secrets.of(&entry.config, rule).is_some() {
                if self.said.is_stored_news(connection, epoch) {
                    outgoing.push(ToGateway::SecretStored { connection, epoch });
                }
            } else if self.said.may_ask(connection, epoch, now) {
                tracing::debug!(%connection, epoch, "the secret of this connection is not here; it is asked for");
                outgoing.push(ToGateway::FetchSecret { connection });
            }
        }
    }

    /// Asks once whether what the gateway does not list has ended; again once that was undone here.
    fn ask_ended(&mut self, outgoing: &mut Vec<ToGateway>) {
        let client = &*self.client;
        let rules = client.policies.rules();
        let is_missing = |id: &ConnectionId| {
            rules.rule(*id).is_none() && rules.unusable(*id).is_none() && !rules.is_ended(*id)
        };
        let missing = client.entries.all().map(|entry| entry.config.id).filter(is_missing).collect();
        let connections = self.said.newly_missing(missing);
        if !connections.is_empty() {
            tracing::debug!(
                connections = %listed(&connections),
                "the gateway names no rule for these; it is asked whether they ended"
            );
            outgoing.push(ToGateway::Missing { connections });
        }
    }

    fn report(&mut self, outgoing: &mut Vec<ToGateway>) {
        if self.client.link.is_database_away() {
            return;
        }
        if self.has_snapshot {
            self.sync(outgoing);
            self.ask_ended(outgoing);
        }
        self.report_entries(outgoing);
        self.report_unwritten(outgoing);
        self.ask_renewal(outgoing);
    }

    fn report_entries(&mut self, outgoing: &mut Vec<ToGateway>) {
        let (now, client) = (Instant::now(), &mut *self.client);
        let rules = client.policies.rules();
        for entry in client.entries.all() {
            let connection = entry.config.id;
            let exchanges = client.exchanges.entry(connection).or_default();
            exchanges.handle(Counted::of(&entry.stats), now);
            if rules.rule(connection).is_none() && rules.unusable(connection).is_none() {
                continue;
            }
            let fault = side_fault::of(entry, &client.paths, exchanges, now);
            let report = entry.stats.report(&entry.status(), entry.side == Side::Target, fault);
            if self.said.is_report_news(connection, report) {
                tracing::trace!(%connection, "what is true of this connection is reported");
                outgoing.push(ToGateway::Report { connection, report });
            }
        }
    }

    /// Says of which connections this agent's file has no entry.
    fn report_unwritten(&mut self, outgoing: &mut Vec<ToGateway>) {
        if !self.has_snapshot {
            return;
        }
        let rules = self.client.policies.rules();
        for rule in rules.rules().filter(|rule| self.client.entries.get(rule.connection).is_none()) {
            let connection = rule.connection;
            let fault = Some(SideFault::NoEntry.into());
            let report = Report { tunnel: None, mirth: None, last_ack: None, fault };
            if self.said.is_report_news(connection, report) {
                tracing::debug!(%connection, "this agent's file has no entry for a connection; the gateway is told");
                outgoing.push(ToGateway::Report { connection, report });
            }
        }
    }

    /// Tells what was measured to a gateway that keeps it and can.
    fn tell_measured(&self, outgoing: &mut Vec<ToGateway>) {
        let client = &*self.client;
        let is_kept = self.capabilities.has(Capability::KeepsMeasurements);
        if !is_kept || !self.has_snapshot || client.link.is_database_away() {
            return;
        }
        let rules = client.policies.rules();
        let standing = |connection| Standing::of(connection, &rules);
        let due = client.measurements.take_due(client.clock.now(), standing);
        if !due.is_empty() {
            tracing::trace!(minutes = due.len(), "what was measured is told");
        }
        outgoing.extend(due);
    }

    /// Asks once a day, and at once when the leaf in use is older than that or is none that peers take.
    fn ask_renewal(&mut self, outgoing: &mut Vec<ToGateway>) {
        let client = &*self.client;
        let credentials = client.endpoint.credentials();
        let Ok((not_before, _)) = credentials.identity.validity(&credentials.trust) else { return };
        let signed = not_before.saturating_add(limits::LEAF_BACKDATED);
        let now = client.clock.now();
        let is_due =
            now.since(signed) >= self.renew_after || !credentials.identity.is_usable(&credentials.trust, now);
        let waits = self.renewal_asked.is_some_and(|at| at.elapsed() < ASK_AGAIN);
        if !is_due || waits {
            return;
        }
        tracing::debug!(%signed, %now, "the certificate in use is old or not usable; a new one is asked for");
        self.renewal_asked = Some(Instant::now());
        match credentials.identity.key().csr_der() {
            Ok(csr) => {
                self.awaits_leaf = true;
                outgoing.push(ToGateway::Renew { csr: hex::encode(csr) });
            }
            Err(error) => tracing::error!(%error, "cannot ask for a new certificate"),
        }
    }
}

/// Says what the gateway's word means for what runs now, whatever the file makes of it.
fn log_effects(effects: &[RuleEffect]) {
    for effect in effects {
        match effect {
            RuleEffect::Revoked(key) => tracing::debug!(%key, "no leaf over this key is good any more"),
            RuleEffect::Ended(connection) => tracing::debug!(%connection, "a connection has ended for good"),
            RuleEffect::Suspended(connection) => {
                tracing::debug!(%connection, "a connection is suspended: the gateway has no usable rule for it");
            }
            RuleEffect::Cut(connection) => tracing::debug!(%connection, "a connection's tunnel is to be cut"),
            RuleEffect::Changed(rule) => {
                let Rule { connection, secret_epoch, cut_epoch, .. } = rule;
                tracing::debug!(%connection, secret_epoch, cut_epoch, "a rule is new or differs");
            }
        }
    }
}

#[cfg(test)]
mod tests;
