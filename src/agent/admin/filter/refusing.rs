//! Saying no, and answering in Mirth's place: what is refused is written down before it is answered.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::bodies::Body;
use super::client::{Client, Halt};
use super::{Filter, is_head, request};
use adit_mirth::body::BodyKind;
use adit_mirth::expected;
use adit_mirth::http::{BadRequest, CONTINUE, Framing, RequestHead};
use adit_mirth::verdict::Named;
use adit_observe::audit::{AdminRequest, AuditEntry, RefusalKind};
use adit_observe::metrics::AdminOutcome;

pub(super) const NO_AUDIT: &str =
    "adit: this server's audit cannot be written, so nothing is done over this connection.";

impl Filter<'_> {
    /// Answers the request without Mirth, as if it had been done.
    pub(super) async fn answer_here(
        &mut self,
        client: &mut Client<'_>,
        head: &RequestHead,
        status: u16,
        names: &Named,
    ) -> Result<(), Halt> {
        if head.expects_continue && head.framing != Framing::None {
            client.send(CONTINUE).await?;
        }
        match client.body(BodyKind::Discard, &self.parts.large_bodies).await? {
            Body::Whole(..) => {
                self.entry.metrics.admin(AdminOutcome::Answered);
                client.answer(status, "", self.is_over, is_head(head)).await
            }
            Body::Bad(bad) => self.refuse_unread(client, bad).await,
            Body::Refused(_) | Body::TooLong | Body::Late | Body::Busy => {
                self.is_over = true;
                self.refuse(client, head, names, 413, "view-only: the body of this request is too long.")
                    .await
            }
        }
    }

    /// Refuses a request whose body was not read. A short body is read and thrown away, so that the
    /// client hears the reason and its connection lives on.
    pub(super) async fn refuse(
        &mut self,
        client: &mut Client<'_>,
        head: &RequestHead,
        names: &Named,
        status: u16,
        reason: &str,
    ) -> Result<(), Halt> {
        // A client that waits for leave to send its body is not given it.
        let waits = head.expects_continue && head.framing != Framing::None;
        self.is_over = self.is_over
            || waits
            || !matches!(client.body(BodyKind::Discard, &self.parts.large_bodies).await?, Body::Whole(..));
        self.refuse_read(client, head, names, status, reason).await
    }

    /// Writes a refusal down, then says it.
    pub(super) async fn refuse_read(
        &mut self,
        client: &mut Client<'_>,
        head: &RequestHead,
        names: &Named,
        status: u16,
        reason: &str,
    ) -> Result<(), Halt> {
        let is_kept = if expected::is_expected(&head.method, &names.template, &head.target) {
            self.count_expected().await?
        } else {
            self.audit_refusal(request(head, names), status, reason).await?
        };
        self.is_over |= !is_kept;
        let (status, reason) = if is_kept { (status, reason) } else { (503, NO_AUDIT) };
        client.answer(status, reason, self.is_over, is_head(head)).await
    }

    /// Refuses it. What cannot be read has no end that could be trusted: the connection goes with it.
    pub(super) async fn refuse_unread(
        &mut self,
        client: &mut Client<'_>,
        bad: BadRequest,
    ) -> Result<(), Halt> {
        self.is_over = true;
        let nameless = AdminRequest { method: "", template: "unreadable".into(), operation: None };
        self.audit_refusal(nameless, bad.status, bad.reason).await?;
        client.answer(bad.status, bad.reason, true, false).await
    }

    /// Notes that what a client asks by itself at every start is counted and not listed.
    async fn count_expected(&self) -> Result<bool, Halt> {
        self.session().count_expected();
        self.entry.stats.admin.expected.fetch_add(1, Ordering::Relaxed);
        self.entry.metrics.admin(AdminOutcome::Refused);
        self.wait(self.managed.limiters.refusal_delay(Instant::now())).await?;
        Ok(true)
    }

    /// Returns whether it could be written down.
    async fn audit_refusal(&self, request: AdminRequest, status: u16, reason: &str) -> Result<bool, Halt> {
        self.session().count_refusal();
        self.entry.stats.admin.refused.fetch_add(1, Ordering::Relaxed);
        self.entry.metrics.admin(AdminOutcome::Refused);
        let (connection, session) = (&self.entry.config.name, self.session().number);
        self.wait(self.managed.limiters.refusal_delay(Instant::now())).await?;
        let kind = RefusalKind { method: request.method, template: request.template.clone(), status };
        let (id, reason) = (self.id(), reason.to_owned());
        // What is summed in the audit is not told one by one in the log either.
        let detail = |now| {
            tracing::info!(%connection, session, method = request.method, template = request.template, status, reason, "admin request refused");
            AuditEntry::admin_refused(now, id, request, status, reason)
        };
        let written = self.managed.sessions.audit_refusal(self.parts, self.entry, &kind, detail).await;
        Ok(written.is_ok())
    }
}
