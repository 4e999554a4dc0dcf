//! Users of an organization: their roles, and whether they may come in at all. The last owner who can sign in
//! stays one.

use crate::store::{Tx, UserRecord};
use adit_core::domain::email::Email;
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::role::{Permission, UserRole};
use adit_core::domain::time::Timestamp;

use super::act::Act;
use super::error::{PlatformError, Resource};
use super::owners::OwnersBefore;
use super::people::PeopleRefusal;
use super::{Action, Initiator, Platform};

/// A user, as its own organization sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    pub id: UserId,
    pub organization: OrganizationId,
    pub organization_name: Name,
    pub name: Name,
    pub email: Email,
    pub role: UserRole,
    pub has_password: bool,
    pub has_second_factor: bool,
    /// Whether the user has signed in at the organization's identity provider.
    pub has_single_sign_on: bool,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub signed_in_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

impl From<UserRecord> for UserView {
    fn from(user: UserRecord) -> Self {
        Self {
            has_second_factor: user.has_second_factor(),
            id: user.id,
            organization: user.organization,
            organization_name: user.organization_name,
            name: user.name,
            email: user.email,
            role: user.role,
            has_password: user.password.is_some(),
            has_single_sign_on: user.subject.is_some(),
            created_at: user.created_at,
            changed_at: user.changed_at,
            signed_in_at: user.signed_in_at,
            disabled_at: user.disabled_at,
        }
    }
}

impl Platform {
    /// Lists users by name: the organization's own, or, for the operator, all.
    pub async fn list_users(
        &self,
        initiator: &Initiator,
        paging: &Paging,
    ) -> Result<Page<UserView>, PlatformError> {
        let (viewpoint, paging) = (initiator.viewpoint()?, paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.list_users(viewpoint, &paging).await?))
            .await?;
        Ok(page.map(UserView::from))
    }

    /// Returns a user of the organization; the operator's may be of any.
    pub async fn user(&self, initiator: &Initiator, id: UserId) -> Result<UserView, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        let found = self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.user(id).await?)).await?;
        let own = found.filter(|user| viewpoint.is_none_or(|own| own == user.organization));
        own.map(UserView::from).ok_or(PlatformError::NotFound { resource: Resource::User })
    }

    pub async fn set_user_role(
        &self,
        initiator: &Initiator,
        id: UserId,
        role: UserRole,
    ) -> Result<(), PlatformError> {
        self.act(initiator, Action::SetUserRole, format!("user {id}"), async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            let user = act.own_user(id, organization).await?;
            let owners = OwnersBefore::count(act, organization).await?;
            act.tx.set_user_role(&user, role, act.now).await?;
            require_kept(act, &owners).await?;
            act.describe(format!("{} from {} to {role}", user.called(), user.role));
            Ok(())
        })
        .await
    }

    /// Keeps a user out from now on: sessions end and API tokens are revoked.
    pub async fn disable_user(&self, initiator: &Initiator, id: UserId) -> Result<(), PlatformError> {
        self.act(initiator, Action::DisableUser, format!("user {id}"), async move |act: &mut Act| {
            let organization = act.member_taking_away(Permission::ManageUsers)?;
            let user = act.own_user(id, organization).await?;
            let owners = OwnersBefore::count(act, organization).await?;
            if user.disabled_at.is_none() {
                act.tx.set_user_disabled(&user, Some(act.now), act.now).await?;
            }
            require_kept(act, &owners).await?;
            let sessions = act.tx.delete_sessions_of(&user, None).await?;
            let tokens = act.tx.revoke_api_tokens_of(&user, act.now).await?;
            act.tx.void_devices(id).await?;
            act.tx.void_invitations(organization, &user.email, Some(id), act.now).await?;
            act.describe(format!(
                "{}; sessions ended: {sessions}, API tokens revoked: {tokens}",
                user.called()
            ));
            Ok(())
        })
        .await
    }

    /// Lets a user in again, by a new sign-in; API tokens stay revoked.
    pub async fn enable_user(&self, initiator: &Initiator, id: UserId) -> Result<(), PlatformError> {
        self.act(initiator, Action::EnableUser, format!("user {id}"), async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            let user = act.own_user(id, organization).await?;
            if user.disabled_at.is_some() {
                act.tx.set_user_disabled(&user, None, act.now).await?;
            }
            act.describe(user.called());
            Ok(())
        })
        .await
    }
}

impl Act {
    /// Returns a user of the organization acted for.
    pub(super) async fn own_user(
        &mut self,
        id: UserId,
        organization: OrganizationId,
    ) -> Result<UserRecord, PlatformError> {
        let found = self.tx.user(id).await?.filter(|user| user.organization == organization);
        found.ok_or(PlatformError::NotFound { resource: Resource::User })
    }

    /// Returns a user as it is after a change of this act.
    pub(super) async fn reread_user(&mut self, id: UserId) -> Result<UserRecord, PlatformError> {
        self.tx.user(id).await?.ok_or(PlatformError::NotFound { resource: Resource::User })
    }
}

/// Refuses what has left the organization without an owner who can sign in.
async fn require_kept(act: &mut Act, owners: &OwnersBefore) -> Result<(), PlatformError> {
    if owners.are_kept(act).await? { Ok(()) } else { Err(PeopleRefusal::LastOwner.into()) }
}
