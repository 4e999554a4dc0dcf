//! Requests that carry a password: none is sent before it has its place in the pace of guesses, and what
//! Mirth did not let in stands in the audit.

use super::Filter;
use super::client::Halt;
use super::request;
use adit_mirth::credentials::{Credentials, carried};
use adit_mirth::http::RequestHead;
use adit_mirth::verdict::Named;
use adit_observe::audit::{AuditEntry, RefusalKind};

pub(super) const TOO_MANY_PASSWORDS: &str =
    "adit: too many passwords were wrong or are still being tried over this connection; wait a moment.";

/// What a request carries, and the place it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login {
    pub(super) carried: Option<Credentials>,
    has_place: bool,
}

impl Filter<'_> {
    /// Waits for a place where the request carries a password. `None`: there was none in time.
    pub(super) async fn take_login(
        &self,
        head: &RequestHead,
        names: &Named,
        target: &str,
    ) -> Result<Option<Login>, Halt> {
        let carried = carried(head, names.operation, target);
        // However often it was let in before: an answer that needs no login proves no password.
        let has_place = carried.is_some();
        if has_place {
            let is_taken = tokio::select! {
                is_taken = self.managed.logins.take() => is_taken,
                _ = self.connection.closed() => return Err(Halt::Lost),
            };
            if !is_taken {
                return Ok(None);
            }
        }
        Ok(Some(Login { carried, has_place }))
    }

    /// Takes the login back: nothing of the request was sent.
    pub(super) fn untake_login(&self, login: Login) {
        if login.has_place {
            self.managed.logins.give_back();
        }
    }

    /// Gives the place back if Mirth let in the one who asked; else writes down that it did not.
    pub(super) async fn finish_login(
        &mut self,
        login: Login,
        is_proven: bool,
        status: Option<u16>,
        (head, names): (&RequestHead, &Named),
    ) {
        let Some(carried) = login.carried else { return };
        if is_proven {
            self.untake_login(login);
            return;
        }
        let is_login = matches!(carried, Credentials::Login | Credentials::Dashboard);
        if is_login || status == Some(401) {
            self.audit_failed_login(status, head, names).await;
        }
    }

    async fn audit_failed_login(&self, status: Option<u16>, head: &RequestHead, names: &Named) {
        let request = request(head, names);
        let (connection, session) = (&self.entry.config.name, self.session().number);
        tracing::info!(%connection, session, template = request.template, status, "Mirth let nobody in");
        let kind = RefusalKind {
            method: request.method,
            template: request.template.clone(),
            status: status.unwrap_or_default(),
        };
        let id = self.id();
        let detail = |now| AuditEntry::admin_login_failed(now, id, request, status);
        // What is missing in the audit was said aloud there.
        let _ = self.managed.sessions.audit_refusal(self.parts, self.entry, &kind, detail).await;
    }
}
