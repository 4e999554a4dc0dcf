//! Signing in with a password, and changing it. Budgets come before any hashing; what is wrong costs the same
//! time and gets the same answer, whichever of organization, address and password it is.

use std::net::IpAddr;

use crate::store::{PasswordHash, Tx, UserRecord};
use adit_core::domain::email::Email;
use adit_core::domain::secret::Password;

use super::act::Act;
use super::attempts::{AccountKey, Taken, Tried};
use super::error::PlatformError;
use super::passwords::{Lane, Verified, judge};
use super::people::{PeopleRefusal, Visit};
use super::providers::require_password_permitted;
use super::signed::{NewSession, Signed, begin_session, own_account, renew_session};
use super::{Action, Initiator, Platform};

/// What is typed to sign in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// By its name.
    pub organization: String,
    pub email: Email,
    pub password: Password,
}

/// A new password, with the one it replaces.
#[derive(Debug, Clone)]
pub struct PasswordChange {
    pub old: Password,
    pub new: Password,
    /// Whether the user's programs end too.
    pub revokes_api_tokens: bool,
}

impl Platform {
    /// Signs a user in: wholly, or up to the second factor.
    pub async fn sign_in(
        &self,
        credentials: &Credentials,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        let Credentials { organization, email, password } = credentials;
        let key = AccountKey::of(organization, email);
        let (taken, lane) = self.take_attempt(Tried::Password, key, visit).await?;
        let found = self.user_named(organization, email).await?;
        let hash = found.as_ref().and_then(|user| user.password.clone());
        let verified = self.verified(taken, lane, password, hash).await?;
        let user = match found {
            Some(user) if verified.is_right && user.disabled_at.is_none() => user,
            other => return Err(self.note_wrong(visit.address, other.as_ref(), verified).await),
        };
        self.give_back(taken);
        let renewed =
            if verified.is_outdated { Some(self.passwords.hash(lane, password).await?) } else { None };
        let by = Initiator::Stranger { address: visit.address };
        let (object, visit) = (format!("user {}", user.email), visit.clone());
        self.act(&by, Action::SignIn, object, async move |act: &mut Act| {
            sign_in(act, &user, renewed.as_ref(), &visit).await
        })
        .await
    }

    /// Sets a new password in place of the one that is shown; every other session ends, and this one is renewed.
    /// Programs go on, unless they are to end too: a password that is changed by habit must stop none.
    pub async fn change_password(
        &self,
        signed: &Signed,
        change: &PasswordChange,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        let PasswordChange { old, new, revokes_api_tokens } = change;
        let revokes_api_tokens = *revokes_api_tokens;
        let known =
            known_of(signed.user.name.as_str(), &signed.user.email, signed.user.organization_name.as_str());
        judge(new, &known.each_ref().map(String::as_str)).map_err(PeopleRefusal::from)?;
        let user = self.prove_password(signed, old, visit).await?;
        let hash = self.passwords.hash(Lane::Known, new).await?;
        let object = format!("user {}", user.email);
        let (own, visit) = (signed.clone(), visit.clone());
        self.act(&signed.initiator(), Action::ChangePassword, object, async move |act: &mut Act| {
            let now = own_account(act, &own).await?;
            if now.password != user.password {
                return Err(PeopleRefusal::WrongPassword.into());
            }
            let ended = act.tx.delete_sessions_of(&now, Some(own.session)).await?;
            let revoked =
                if revokes_api_tokens { act.tx.revoke_api_tokens_of(&now, act.now).await? } else { 0 };
            act.describe(format!("other sessions ended: {ended}, API tokens revoked: {revoked}"));
            let now = act.set_new_password(&now, &hash).await?;
            renew_session(act, now, own.session, &visit).await
        })
        .await
    }

    /// Compares the password of who is signed in, within the budget; returns the account as it was then.
    pub(super) async fn prove_password(
        &self,
        signed: &Signed,
        password: &Password,
        visit: &Visit,
    ) -> Result<UserRecord, PlatformError> {
        let (taken, lane) = self.take_attempt(Tried::Password, signed.account, visit).await?;
        let id = signed.id();
        let found = self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.user(id).await?)).await?;
        let user = found.ok_or(PeopleRefusal::SessionEnded)?;
        let Some(hash) = user.password.clone() else { return Err(PeopleRefusal::NoPassword.into()) };
        let verified = self.verified(taken, lane, password, Some(hash)).await?;
        if !verified.is_right {
            return Err(self.note_wrong(visit.address, Some(&user), verified).await);
        }
        self.give_back(taken);
        Ok(user)
    }

    /// Compares a password with a hash. One that found no place to wait was no guess.
    async fn verified(
        &self,
        taken: Taken,
        lane: Lane,
        password: &Password,
        hash: Option<PasswordHash>,
    ) -> Result<Verified, PeopleRefusal> {
        let verified = self.passwords.verify(lane, password, hash).await;
        if verified.is_err() {
            self.give_back(taken);
        }
        verified
    }

    async fn user_named(
        &self,
        organization: &str,
        email: &Email,
    ) -> Result<Option<UserRecord>, PlatformError> {
        let (organization, email) = (organization.trim().to_owned(), email.clone());
        if organization.contains('\0') {
            return Ok(None);
        }
        self.look(async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.user_signing_in(&organization, &email).await?)
        })
        .await
    }

    /// Notes a wrong password, counted: in the log of the user's organization, or, where there is no such user,
    /// in the operator's, without what was typed.
    async fn note_wrong(
        &self,
        address: IpAddr,
        user: Option<&UserRecord>,
        verified: Verified,
    ) -> PlatformError {
        let object = user.map_or_else(|| "a user".to_owned(), |user| format!("user {}", user.email));
        let by = Initiator::Stranger { address };
        let organization = user.map(|user| user.organization);
        let noted = self.note(&by, Action::SignIn, object, async move |act: &mut Act| {
            if let Some(organization) = organization {
                act.concerns(organization);
            }
            if verified.is_right {
                act.remark("the user is disabled");
            }
            Err::<(), PlatformError>(PeopleRefusal::WrongPassword.into())
        });
        noted.await.ended.err().unwrap_or_else(|| PeopleRefusal::WrongPassword.into())
    }
}

impl Act {
    /// Sets a password that its user has chosen. What was known by the old one counts no more: browsers, and links that
    /// set another. Returns the user as it is then.
    pub(super) async fn set_new_password(
        &mut self,
        user: &UserRecord,
        hash: &PasswordHash,
    ) -> Result<UserRecord, PlatformError> {
        self.tx.set_password(user.id, hash, self.now).await?;
        self.tx.void_devices(user.id).await?;
        self.tx.void_invitations(user.organization, &user.email, Some(user.id), self.now).await?;
        self.reread_user(user.id).await
    }
}

/// Signs in who has shown the password, if it is still the password.
async fn sign_in(
    act: &mut Act,
    shown: &UserRecord,
    renewed: Option<&PasswordHash>,
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    act.concerns(shown.organization);
    let user = act.tx.user(shown.id).await?;
    let user = user.filter(|user| user.disabled_at.is_none() && user.password == shown.password);
    let user = user.ok_or(PeopleRefusal::WrongPassword)?;
    require_password_permitted(act, &user).await?;
    if let Some(hash) = renewed {
        act.tx.set_password(user.id, hash, act.now).await?;
    }
    act.told_by(user.called());
    let is_whole = !user.has_second_factor();
    let awaited = if is_whole { "" } else { "; a code is waited for" };
    act.describe(format!("from {}{awaited}", visit.address));
    begin_session(act, user, is_whole, visit).await
}

/// Returns what everybody knows of a user, and no password may be.
pub(super) fn known_of(name: &str, email: &Email, organization: &str) -> [String; 4] {
    let local = email.as_str().split('@').next().unwrap_or_default().to_owned();
    [name.to_owned(), email.to_string(), local, organization.to_owned()]
}
