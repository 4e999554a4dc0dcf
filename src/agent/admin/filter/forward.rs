//! Sending on what was judged good: to the local Mirth, in the spelling that was judged, and no sooner
//! than it is written down where it changes anything.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::time::{interval, sleep};

use super::bodies::Body;
use super::client::{Client, Halt};
use super::exchange::{Exchange, ExchangeOutcome, Sending};
use super::login::{Login, TOO_MANY_PASSWORDS};
use super::question::{NoChannel, question_head};
use super::refusing::NO_AUDIT;
use super::rewriting::Rewriting;
use super::{FORWARDED_FOR, Filter, is_head, request};
use crate::admin::managed::Ready;
use crate::admin::origin::{Origin, OriginError};
use adit_core::domain::limits;
use adit_core::domain::visible::error_chain;
use adit_mirth::body::{self, Address, BodyKind, BodyRefusal, Judging};
use adit_mirth::http::{CONTINUE, Framing, RequestHead};
use adit_mirth::known_channel::{self, ChannelQuestion};
use adit_mirth::mask;
use adit_mirth::rewrite::{Addresses, Rewrite};
use adit_mirth::side_effect::{self, ChannelIds, Logged};
use adit_mirth::verdict::Named;
use adit_net::identity::time::TimeSource;
use adit_observe::audit::AuditEntry;
use adit_observe::metrics::AdminOutcome;

/// Bodies up to this size are judged in microseconds.
const JUDGED_AT_ONCE_BYTES: usize = 16 * 1024;
/// Here Mirth builds an address out of `Host` and calls it with the name and password it was given: it
/// must be Mirth's own, whatever the partner asks for.
const CALLS_ITS_HOST: &str = "/webadmin/Login.action";
const TOO_LONG_A_RECORD: &str =
    "view-only: a record for Mirth's own audit may have no more than 2 KiB, so it is not passed on";

impl Filter<'_> {
    /// Forwards a request of view-only: the body is read and judged before a byte of the request goes on.
    pub(super) async fn forward(
        &mut self,
        client: &mut Client<'_>,
        ready: &Ready,
        head: &RequestHead,
        target: &str,
        kind: BodyKind,
        names: &Named,
    ) -> Result<(), Halt> {
        if head.expects_continue && head.framing != Framing::None {
            client.send(CONTINUE).await?;
        }
        let effect = side_effect::of(&head.method, &names.template);
        let (body, place) = match self.judged_body(client, head, target, kind, names).await? {
            Body::Whole(body, place) => (body, place),
            Body::Refused(refusal) => {
                return self.refuse_read(client, head, names, 403, &refusal.to_string()).await;
            }
            Body::Bad(bad) => return self.refuse_unread(client, bad).await,
            Body::TooLong | Body::Late | Body::Busy => {
                self.is_over = true;
                let why = "view-only: the body of this request is too long, or came too slowly.";
                return self.refuse(client, head, names, 413, why).await;
            }
        };
        let framing = match (body.len(), head.framing) {
            (0, Framing::None) => Framing::None,
            (length, _) => Framing::Length(length as u64),
        };
        let written_bytes = body.len() + target.len();
        if effect.bytes_max.is_some_and(|max| body.len() > max) {
            return self.refuse_read(client, head, names, 413, TOO_LONG_A_RECORD).await;
        }
        let Some(login) = self.take_login(head, names, target).await? else {
            return self.refuse_read(client, head, names, 429, TOO_MANY_PASSWORDS).await;
        };
        if let Some(place) = effect.channels
            && let Some(answer) =
                self.ask_for_all(client, ready, (head, names), place, (target, &body)).await?
        {
            if answer == NoChannel::AWAY {
                self.is_over = true;
                return client.answer(answer.status, answer.why, true, is_head(head)).await;
            }
            match answer {
                // The question asks with the same password: a wrong one counts here too.
                NoChannel::LOGGED_OUT => self.finish_login(login, false, Some(401), (head, names)).await,
                NoChannel::NO_IDS => self.untake_login(login),
                // Neither proven nor known to be wrong: the place stays taken.
                _ => {}
            }
            return self.refuse_read(client, head, names, answer.status, answer.why).await;
        }
        self.wait_to_be_logged(client, effect.logged, written_bytes).await?;
        let mut written = BytesMut::with_capacity(1024);
        let mask = if self.managed.config.mask { mask::scope(names, target) } else { None };
        let rewriting = self.rewriting(ready, head, target, names, mask);
        self.to_mirth(head, names, &rewriting).write(target, framing, FORWARDED_FOR, &mut written);
        let sending = Sending { head: written.freeze(), body, place, upload: None };
        self.exchange(client, ready, head, names, (sending, login), rewriting).await
    }

    /// Waits for the place in Mirth's event log, a KiB at a time, so that others who ask meanwhile are not
    /// behind the whole of it.
    async fn wait_to_be_logged(
        &self,
        client: &mut Client<'_>,
        logged: Logged,
        bytes: usize,
    ) -> Result<(), Halt> {
        const KIB: usize = 1024;
        let mut left = if logged == Logged::Event { bytes.max(1) } else { 1 };
        while left > 0 {
            let piece = left.min(KIB);
            let delay = self.managed.limiters.logged_delay(logged, piece, Instant::now());
            if !delay.is_zero() {
                tokio::select! {
                    waited = self.wait(delay) => waited?,
                    halt = client.requests.gone() => return Err(halt),
                }
            }
            left -= piece;
        }
        Ok(())
    }

    async fn judged_body(
        &self,
        client: &mut Client<'_>,
        head: &RequestHead,
        target: &str,
        kind: BodyKind,
        names: &Named,
    ) -> Result<Body, Halt> {
        let (content_type, address) = (head.header("content-type"), Address::of(&names.template, target));
        let large = &self.parts.large_bodies;
        if let Some(judging) = Judging::new(kind, content_type, address.clone()) {
            return client.judged(judging, kind.bytes_max(), large).await;
        }
        Ok(match client.body(kind, large).await? {
            Body::Whole(body, place) => match judge_body(kind, content_type, body, address).await {
                Ok(body) => Body::Whole(body, place),
                Err(refusal) => Body::Refused(refusal),
            },
            unread => unread,
        })
    }

    /// Returns whether Mirth has every channel that the request names in this place; `Some` when it has not.
    async fn ask_for_all(
        &mut self,
        client: &mut Client<'_>,
        ready: &Ready,
        (head, names): (&RequestHead, &Named),
        place: ChannelIds,
        (target, body): (&str, &[u8]),
    ) -> Result<Option<NoChannel>, Halt> {
        let ids_max = limits::ADMIN_CHANNELS_KNOWN_MAX;
        let questions = known_channel::questions(place, &names.template, target, body, ids_max);
        let Ok(questions) = questions else { return Ok(Some(NoChannel::NO_IDS)) };
        for question in questions {
            if self.channels.has(&question.channel, Instant::now()) {
                continue;
            }
            self.wait(self.managed.limiters.question_delay(Instant::now())).await?;
            self.wait(self.managed.limiters.session_delay(Instant::now())).await?;
            let answer = tokio::select! {
                answer = self.ask_for(ready, head, question) => answer,
                halt = client.requests.gone() => return Err(halt),
            };
            if answer != Some(NoChannel::LOGGED_OUT) {
                self.managed.limiters.give_back_session();
            }
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    /// Returns whether Mirth has the channel whose messages are asked for: for a made-up one it would make
    /// tables. The question goes with the client's own rights, and makes nothing. `Some` when it has not.
    pub(super) async fn ask_for(
        &mut self,
        ready: &Ready,
        head: &RequestHead,
        question: ChannelQuestion,
    ) -> Option<NoChannel> {
        let mut written = BytesMut::with_capacity(1024);
        let asking = question_head(head, &question.target);
        asking.write(&question.target, Framing::None, FORWARDED_FOR, &mut written);
        let Ok(mut origin) = self.origin(ready).await else {
            self.managed.note_failure();
            return Some(NoChannel::AWAY);
        };
        let socket = Arc::clone(&origin.socket);
        let asked = tokio::select! {
            asked = origin.status_of(&written) => asked.ok(),
            () = socket.lost(self.entry.config.stall_limit) => None,
        };
        let Some(status) = asked else {
            self.managed.note_failure();
            return Some(NoChannel::AWAY);
        };
        self.origin = Some(origin);
        tracing::debug!(status, "Mirth was asked whether it has the channel that a request names");
        match status {
            // One without messages has no greatest id.
            200 | 204 => {
                self.channels.learn(question.channel, Instant::now());
                None
            }
            // The client must hear that it is logged out.
            401 => Some(NoChannel::LOGGED_OUT),
            _ => Some(NoChannel::UNKNOWN),
        }
    }

    /// Returns the connection to Mirth that belongs to this client's.
    pub(super) async fn origin(&mut self, ready: &Ready) -> Result<Origin, OriginError> {
        if let Some(mut origin) = self.origin.take()
            && origin.answers.is_quiet().await
        {
            tracing::trace!("the kept connection to Mirth is used again");
            return Ok(origin);
        }
        let mut origin = Origin::connect(&self.managed.config.mirth, &ready.tls).await?;
        origin.answers.mark = Some(self.managed.mirth_activity.open());
        // It may have come back with other plug-ins than the request was judged by.
        if self.managed.is_current(ready) { Ok(origin) } else { Err(OriginError::Restarted) }
    }

    /// Forwards a request of full control: the same strict reading and writing, the body as it comes.
    pub(super) async fn stream(
        &mut self,
        client: &mut Client<'_>,
        ready: &Ready,
        head: &RequestHead,
        target: &str,
        names: &Named,
    ) -> Result<(), Halt> {
        let Some(login) = self.take_login(head, names, target).await? else {
            return self.refuse(client, head, names, 429, TOO_MANY_PASSWORDS).await;
        };
        let mut written = BytesMut::with_capacity(1024);
        let rewriting = self.rewriting(ready, head, target, names, None);
        self.to_mirth(head, names, &rewriting).write(target, head.framing, FORWARDED_FOR, &mut written);
        let upload = (head.framing != Framing::None).then_some(head.framing);
        if upload.is_none() {
            // Its end follows at once.
            client.requests.part().await?.ok();
        } else if head.expects_continue {
            client.send(CONTINUE).await?;
        }
        let sending = Sending { head: written.freeze(), body: Bytes::new(), place: None, upload };
        self.exchange(client, ready, head, names, (sending, login), rewriting).await
    }

    /// Returns what of Mirth's answer the client gets rewritten: Mirth's own addresses as those that it can
    /// reach.
    pub(super) fn rewriting(
        &self,
        ready: &Ready,
        head: &RequestHead,
        target: &str,
        names: &Named,
        mask: Option<mask::Scope>,
    ) -> Rewriting {
        let mirth = &self.managed.config.mirth;
        let addresses = Addresses::new(head.host(), mirth.host.host(), mirth.context());
        let rewrite = Rewrite::of(ready.access, &head.method, target, names);
        Rewriting::new(addresses, rewrite, mask, target, is_head(head))
    }

    /// Returns the head as Mirth may have it: with the client's `Host`, from which Mirth builds redirects,
    /// but where Mirth itself would go there. An answer that is rewritten must come whole and unpacked.
    pub(super) fn to_mirth<'h>(
        &self,
        head: &'h RequestHead,
        names: &Named,
        rewriting: &Rewriting,
    ) -> Cow<'h, RequestHead> {
        const OF_PARTS: [&str; 3] = ["accept-encoding", "range", "if-range"];
        let calls_its_host = names.template == CALLS_ITS_HOST;
        if !calls_its_host && !rewriting.is_due() {
            return Cow::Borrowed(head);
        }
        let mut head = head.clone();
        if rewriting.is_due() {
            head.headers.retain(|header| !OF_PARTS.iter().any(|name| header.is(name)));
        }
        for header in head.headers.iter_mut().filter(|header| calls_its_host && header.is("host")) {
            header.value = self.managed.config.mirth.host.to_string().into_bytes();
        }
        Cow::Owned(head)
    }

    pub(super) async fn exchange(
        &mut self,
        client: &mut Client<'_>,
        ready: &Ready,
        head: &RequestHead,
        names: &Named,
        (sending, login): (Sending, Login),
        rewriting: Rewriting,
    ) -> Result<(), Halt> {
        self.wait(self.managed.limiters.request_delay(Instant::now())).await?;
        self.wait(self.managed.limiters.session_delay(Instant::now())).await?;
        // It may have been forbidden since its head was read.
        if let Some(hindrance) = self.hindrance() {
            self.is_over = true;
            self.untake_login(login);
            return self.refuse_read(client, head, names, 503, hindrance).await;
        }
        let mut origin = match self.origin(ready).await {
            Ok(origin) => origin,
            Err(error) => {
                self.entry.note_fault(&error_chain(&error));
                self.managed.note_failure();
                self.untake_login(login);
                self.is_over = true;
                let why = "adit: the managed Mirth does not answer.";
                return client.answer(502, why, true, is_head(head)).await;
            }
        };
        let change = if names.changes { self.begin_change(client, head, names).await? } else { None };
        if names.changes && change.is_none() {
            return Ok(());
        }
        self.entry.stats.admin.requests.fetch_add(1, Ordering::Relaxed);
        self.entry.metrics.admin(AdminOutcome::Forwarded);
        self.count_audit(head, names);
        let began = Instant::now();
        let (method, credentials) = (head.method.as_str(), login.carried);
        let exchange = Exchange { method, sending, closes: self.is_over, rewriting, credentials };
        let socket = Arc::clone(&origin.socket);
        let lost = async {
            socket.lost(self.entry.config.stall_limit).await;
            // The exchange fails by it, and knows what it has passed on.
            socket.shut();
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = exchange.run(&mut origin, client) => outcome,
            () = lost => ExchangeOutcome::Unanswered,
            () = self.out_of_hand() => ExchangeOutcome::Broken { status: None, halt: Halt::Cut },
        };
        let (status, took) = (outcome.status(), began.elapsed());
        tracing::debug!(
            status,
            ?took,
            changes = names.changes,
            outcome = outcome.as_str(),
            "Mirth has dealt with a request"
        );
        if let Some(number) = change {
            self.end_change(number, outcome.status(), began.elapsed()).await;
        }
        let is_proven = matches!(outcome, ExchangeOutcome::Done { is_proven: true, .. });
        self.finish_login(login, is_proven, outcome.status(), (head, names)).await;
        if matches!(outcome, ExchangeOutcome::Done { makes_session: false, .. }) {
            self.managed.limiters.give_back_session();
        }
        match outcome {
            ExchangeOutcome::Done { closes, .. } => {
                self.is_over |= closes;
                self.origin = (!self.is_over).then_some(origin);
                Ok(())
            }
            // Nothing was answered: the client may ask again over a new connection, as without us.
            ExchangeOutcome::Unanswered => {
                self.managed.note_failure();
                self.is_over = true;
                let why = "adit: the managed Mirth broke off before it answered.";
                client.answer(502, why, true, is_head(head)).await
            }
            ExchangeOutcome::Unwritable(why) => {
                self.is_over = true;
                self.refuse_read(client, head, names, 502, &why.to_string()).await
            }
            ExchangeOutcome::Unmaskable { why, is_begun, .. } => {
                let why = format!("view-only: credentials in this answer cannot be masked. {why}");
                self.entry.note_fault(&format!("{}: {why}", names.template));
                if is_begun {
                    return Err(Halt::Cut);
                }
                self.refuse_read(client, head, names, 502, &why).await
            }
            ExchangeOutcome::Broken { halt, .. } => Err(halt),
        }
    }

    /// Counts a record of Mirth's own audit, which is neither a change nor nothing.
    fn count_audit(&self, head: &RequestHead, names: &Named) {
        if side_effect::of(&head.method, &names.template).logged == Logged::Audit {
            self.session().count_audit();
            self.entry.stats.admin.audits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, but not longer than the tunnel lives.
    pub(super) async fn wait(&self, delay: Duration) -> Result<(), Halt> {
        if delay.is_zero() {
            return Ok(());
        }
        tracing::debug!(?delay, "this client asks faster than it may, so it waits");
        tokio::select! {
            () = sleep(delay) => Ok(()),
            _ = self.connection.closed() => Err(Halt::Lost),
        }
    }

    /// Resolves when the request in hand has had its time after it was forbidden. A partner must not
    /// keep one open across a pause by holding back its last byte.
    async fn out_of_hand(&self) {
        let mut rules = self.parts.policies.watch();
        let mut checks = interval(limits::ADMIN_LAST_REQUEST);
        loop {
            tokio::select! {
                _ = rules.changed() => {}
                _ = checks.tick() => {}
            }
            if let Some(hindrance) = self.hindrance() {
                tracing::debug!(hindrance, left = ?limits::ADMIN_LAST_REQUEST, "the request in hand has so long to end");
                sleep(limits::ADMIN_LAST_REQUEST).await;
                if self.hindrance().is_some() {
                    return;
                }
            }
        }
    }

    /// Writes the change into the audit, on disk before the change is sent on. `None`: it was refused,
    /// because it could not be written.
    async fn begin_change(
        &mut self,
        client: &mut Client<'_>,
        head: &RequestHead,
        names: &Named,
    ) -> Result<Option<u64>, Halt> {
        let number = self.session().count_change();
        let entry = AuditEntry::admin_change(self.parts.clock.now(), self.id(), number, request(head, names));
        if self.parts.audit.append(entry).await.is_err() {
            self.is_over = true;
            client.answer(503, NO_AUDIT, true, is_head(head)).await?;
            return Ok(None);
        }
        self.entry.stats.admin.changes.fetch_add(1, Ordering::Relaxed);
        Ok(Some(number))
    }

    async fn end_change(&self, number: u64, status: Option<u16>, took: Duration) {
        let entry = AuditEntry::admin_change_done(self.parts.clock.now(), self.id(), number, status, took);
        // What is missing in the audit was said aloud there.
        let _ = self.parts.audit.append(entry).await;
    }
}

/// Judges the body, a large one elsewhere: a large body takes longer than the thread that also carries
/// messages may be kept.
async fn judge_body(
    kind: BodyKind,
    content_type: Option<&[u8]>,
    bytes: Bytes,
    address: Option<Address>,
) -> Result<Bytes, BodyRefusal> {
    if bytes.len() <= JUDGED_AT_ONCE_BYTES {
        return body::judge_for(kind, content_type, &bytes, address.as_ref());
    }
    let content_type = content_type.map(<[u8]>::to_vec);
    let judging = tokio::task::spawn_blocking(move || {
        body::judge_for(kind, content_type.as_deref(), &bytes, address.as_ref())
    });
    // Lost unfinished only when the runtime ends, and the agent with it.
    judging.await.unwrap_or(Err(BodyRefusal::Malformed))
}
