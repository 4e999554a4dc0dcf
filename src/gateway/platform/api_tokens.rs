//! API tokens: what programs of a user show in place of a password. Each has a role of its own, at most its user's
//! now, ends by itself, and is ended with its user.

use std::fmt;
use std::time::Duration;

use crate::store::{ApiTokenRecord, Tx};
use adit_core::domain::email::Email;
use adit_core::domain::id::{ApiTokenId, OrganizationId, UserId};
use adit_core::domain::limits::{API_TOKEN_DAYS_MAX, API_TOKENS_MAX};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::role::{Permission, UserRole};
use adit_core::domain::secret::ApiToken;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

use super::act::Act;
use super::error::{PlatformError, Resource};
use super::people::PeopleRefusal;
use super::proof::{Proof, UserProof};
use super::signed::{Signed, own_account};
use super::uses::Uses;
use super::{Action, Initiator, Platform};

/// A user by one of its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub user: UserId,
    pub organization: OrganizationId,
    pub token: ApiTokenId,
    pub initiator: Initiator,
    /// The user may do nothing before it has set up a second factor; so may its programs.
    pub lacks_second_factor: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenView {
    pub id: ApiTokenId,
    pub name: Name,
    pub role: UserRole,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// As far as this gateway knows; of uses by way of another, a few seconds late.
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// One of an organization's tokens, with the user whose programs show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersApiTokenView {
    pub token: ApiTokenView,
    pub user: UserId,
    pub user_name: Name,
    pub email: Email,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    pub name: Name,
    pub role: UserRole,
    pub days: u32,
}

/// A token on its only way out.
pub struct IssuedApiToken {
    pub view: ApiTokenView,
    pub token: ApiToken,
}

impl fmt::Debug for IssuedApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedApiToken").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Platform {
    /// Returns who shows an API token, unless it is over.
    pub async fn bearer(&self, token: &ApiToken) -> Result<Option<Bearer>, PlatformError> {
        let (hash, now) = (token.hash(), self.now());
        let found = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.api_token_by_hash(&hash).await?))
            .await?;
        let found = found.filter(|(token, user)| token.is_good(now) && user.disabled_at.is_none());
        let Some((token, user)) = found else { return Ok(None) };
        self.note_token_use(token.id, now).await?;
        Ok(Some(Bearer {
            user: user.id,
            organization: user.organization,
            token: token.id,
            initiator: Initiator::Member {
                organization: user.organization,
                role: token.role.at_most(user.role),
                name: format!("{} by API token {}", user.called(), token.name),
                proof: Some(UserProof { user: user.id, by: Proof::Token(token.id) }),
            },
            lacks_second_factor: user.lacks_second_factor(),
        }))
    }

    pub async fn issue_api_token(
        &self,
        signed: &Signed,
        new: &NewApiToken,
    ) -> Result<IssuedApiToken, PlatformError> {
        let object = format!("API token {}", new.name);
        let (own, new) = (signed.clone(), new.clone());
        self.act(&signed.initiator(), Action::IssueApiToken, object, async move |act: &mut Act| {
            issue(act, &own, &new).await
        })
        .await
    }

    pub async fn revoke_api_token(&self, signed: &Signed, id: ApiTokenId) -> Result<(), PlatformError> {
        let (object, own) = (format!("API token {id}"), signed.clone());
        self.act(&signed.initiator(), Action::RevokeApiToken, object, async move |act: &mut Act| {
            let user = own_account(act, &own).await?;
            let found = act.tx.api_token(id).await?.filter(|token| token.account == user.id);
            let token = found.ok_or(PlatformError::NotFound { resource: Resource::ApiToken })?;
            act.tx.revoke_api_token(id, user.organization, act.now).await?;
            act.describe(format!("called {}", token.name));
            Ok(())
        })
        .await
    }

    /// Revokes the token of any user of the organization, as one's own is: the user may be away, and it may be in wrong
    /// hands.
    pub async fn revoke_users_api_token(
        &self,
        initiator: &Initiator,
        id: ApiTokenId,
    ) -> Result<(), PlatformError> {
        let object = format!("API token {id}");
        self.act(initiator, Action::RevokeApiToken, object, async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            let found = act.tx.api_token_with_user(id).await?;
            let found = found.filter(|(_, user)| user.organization == organization);
            let (token, user) = found.ok_or(PlatformError::NotFound { resource: Resource::ApiToken })?;
            act.tx.revoke_api_token(id, organization, act.now).await?;
            act.describe(format!("called {}, of {}", token.name, user.called()));
            Ok(())
        })
        .await
    }

    /// Returns one of a user's API tokens.
    pub async fn api_token(&self, signed: &Signed, id: ApiTokenId) -> Result<ApiTokenView, PlatformError> {
        let user = signed.id();
        let found =
            self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.api_token(id).await?)).await?;
        let own = found.filter(|token| token.account == user);
        let noted = self.uses();
        own.map(|token| view(token, &noted)).ok_or(PlatformError::NotFound { resource: Resource::ApiToken })
    }

    /// Lists a user's API tokens, the oldest first.
    pub async fn list_api_tokens(
        &self,
        signed: &Signed,
        paging: &Paging,
    ) -> Result<Page<ApiTokenView>, PlatformError> {
        let (user, paging) = (signed.id(), paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.list_api_tokens(user, &paging).await?))
            .await?;
        let noted = self.uses();
        Ok(page.map(|token| view(token, &noted)))
    }

    /// Lists the API tokens of an organization's users, the oldest first.
    pub async fn list_users_api_tokens(
        &self,
        initiator: &Initiator,
        paging: &Paging,
    ) -> Result<Page<UsersApiTokenView>, PlatformError> {
        let (own, paging) = (initiator.member(Permission::See)?, paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.list_api_tokens_of(own, &paging).await?))
            .await?;
        let noted = self.uses();
        Ok(page.map(|(token, user)| UsersApiTokenView {
            token: view(token, &noted),
            user: user.id,
            user_name: user.name,
            email: user.email,
        }))
    }
}

async fn issue(act: &mut Act, signed: &Signed, new: &NewApiToken) -> Result<IssuedApiToken, PlatformError> {
    let user = own_account(act, signed).await?;
    act.require_late_sign_in()?;
    if new.role.at_most(user.role) != new.role {
        return Err(PeopleRefusal::TokenRole { role: user.role }.into());
    }
    if !(1..=API_TOKEN_DAYS_MAX).contains(&new.days) {
        return Err(PeopleRefusal::TokenDays.into());
    }
    if act.tx.good_api_tokens(user.id, act.now).await? >= API_TOKENS_MAX {
        return Err(PeopleRefusal::ManyTokens.into());
    }
    let token = ApiToken::from_bytes(random::bytes());
    let record = ApiTokenRecord {
        id: ApiTokenId::from_random(random::bytes()),
        account: user.id,
        name: new.name.clone(),
        role: new.role,
        created_at: act.now,
        expires_at: act.now.saturating_add(Duration::from_hours(24 * u64::from(new.days))),
        used_at: None,
        revoked_at: None,
    };
    act.tx.insert_api_token(&record, &token.hash()).await?;
    act.describe(format!("called {}, as {}, good until {}", record.name, record.role, record.expires_at));
    act.made(Resource::ApiToken, record.id);
    Ok(IssuedApiToken { view: view(record, &Uses::default()), token })
}

pub(super) fn view(token: ApiTokenRecord, uses: &Uses) -> ApiTokenView {
    ApiTokenView {
        id: token.id,
        name: token.name,
        role: token.role,
        created_at: token.created_at,
        expires_at: token.expires_at,
        used_at: token.used_at.max(uses.last(Proof::Token(token.id))),
        revoked_at: token.revoked_at,
    }
}
