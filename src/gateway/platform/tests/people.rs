//! Users for tests: invited, accepted and signed in as people do it.

use std::net::IpAddr;

use adit_core::domain::email::Email;
use adit_core::domain::id::UserId;
use adit_core::domain::page::Paging;
use adit_core::domain::secret::{InvitationToken, Password};

use super::*;

pub(super) const PASSWORD: &str = "correct horse battery";

/// Where requests of tests come from.
pub(super) fn visit() -> Visit {
    visit_from([192, 0, 2, 7].into(), None)
}

pub(super) fn visit_from(address: IpAddr, device: Option<String>) -> Visit {
    Visit { address, agent: "Firefox".into(), device }
}

pub(super) fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

pub(super) fn email(text: &str) -> Email {
    text.parse().unwrap()
}

pub(super) fn acceptance(token: InvitationToken) -> Acceptance {
    Acceptance { token, name: Some("Ada Lovelace".parse().unwrap()), password: password(PASSWORD) }
}

/// Another password in place of the usual one.
pub(super) fn password_change(old: &str, new: &str) -> PasswordChange {
    PasswordChange { old: password(old), new: password(new), revokes_api_tokens: false }
}

/// What an API token is asked for as.
pub(super) fn api_token() -> NewApiToken {
    NewApiToken { name: "nightly".parse().unwrap(), role: UserRole::Auditor, days: 1 }
}

impl World {
    /// Makes a user of the party, signed in.
    pub(super) async fn user(&self, party: &Party, address: &str, role: UserRole) -> NewSession {
        let invited =
            self.platform.invite(&party.initiator, &email(address), role, TokenLife::Hour).await.unwrap();
        self.platform.accept_invitation(&acceptance(invited.token), &visit()).await.unwrap()
    }

    /// Signs in with a password.
    pub(super) async fn sign_in(
        &self,
        organization: &str,
        address: &str,
        text: &str,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        let credentials = Credentials {
            organization: organization.into(),
            email: email(address),
            password: password(text),
        };
        self.platform.sign_in(&credentials, visit).await
    }

    /// Returns the stage of the session, if it is one.
    pub(super) async fn stage(&self, session: &NewSession) -> Option<SignInStage> {
        self.platform.signed(&session.token).await.unwrap().map(|signed| signed.stage)
    }

    pub(super) async fn role_of(&self, party: &Party, id: UserId) -> UserRole {
        self.platform.user(&party.initiator, id).await.unwrap().role
    }

    pub(super) async fn users(&self, party: &Party) -> Vec<UserView> {
        self.platform.list_users(&party.initiator, &Paging::default()).await.unwrap().rows
    }
}
