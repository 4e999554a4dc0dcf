//! Invitations: a link, good once and for a while, that makes somebody a user. The same kind of link lets a user set
//! a password anew who has lost it or the second factor. And the first one of all, by which a gateway begins.

use std::fmt;

use crate::store::{
    AuditOutcome, InvitationRecord, NewInvitation, NewUser, OrganizationRecord, PasswordHash, Tx, UserRecord,
};
use adit_core::domain::email::Email;
use adit_core::domain::id::{InvitationId, OrganizationId, UserId};
use adit_core::domain::limits::INVITATIONS_OPEN_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::role::{Permission, UserRole};
use adit_core::domain::secret::{InvitationToken, Password};
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

use super::act::Act;
use super::act::entry::Entry;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::passwords::{Lane, judge};
use super::people::{PeopleRefusal, Visit};
use super::sign_in::known_of;
use super::signed::{NewSession, begin_session};
use super::tokens::TokenLife;
use super::{Action, Initiator, Platform};

/// What one is called that is not known yet.
const INVITATION: &str = "invitation";

/// How an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationStatus {
    Open,
    Accepted,
    /// Or voided by a newer one.
    Revoked,
    Expired,
}

impl InvitationStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationView {
    pub id: InvitationId,
    pub email: Email,
    pub role: UserRole,
    /// Whose password is set anew; none for a newcomer.
    pub user: Option<UserId>,
    pub invited_by: String,
    pub status: InvitationStatus,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An invitation's token on its only way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedInvitation {
    pub id: InvitationId,
    pub organization: OrganizationId,
    pub organization_name: Name,
    pub email: Email,
    pub role: UserRole,
    pub token: InvitationToken,
    pub expires_at: Timestamp,
}

impl IssuedInvitation {
    /// Returns the link that is handed to who is invited, for browsers that find the gateway at `origin`. What stands
    /// behind the `#` goes to no server.
    #[must_use]
    pub fn link(&self, origin: &str) -> String {
        format!("{origin}/invitation#{}", self.token.reveal_hex())
    }
}

/// What somebody sends who accepts.
#[derive(Debug, Clone)]
pub struct Acceptance {
    pub token: InvitationToken,
    /// A newcomer's.
    pub name: Option<Name>,
    pub password: Password,
}

impl Platform {
    /// Invites somebody to act for the organization; what was open for the address is void.
    pub async fn invite(
        &self,
        initiator: &Initiator,
        email: &Email,
        role: UserRole,
        life: TokenLife,
    ) -> Result<IssuedInvitation, PlatformError> {
        let (object, email) = (format!("invitation of {email}"), email.clone());
        self.act(initiator, Action::InviteUser, object, async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            if act.tx.user_by_email(organization, &email).await?.is_some() {
                return Err(PeopleRefusal::UserExists.into());
            }
            issue(act, organization, Invited { email: &email, role, account: None, life }).await
        })
        .await
    }

    /// Makes a link by which a user sets a password anew and is rid of the second factor. Until it is used,
    /// nothing is changed. Nobody makes one for oneself: it would stand in for the password that one must know.
    pub async fn renew_sign_in(
        &self,
        initiator: &Initiator,
        user: UserId,
        life: TokenLife,
    ) -> Result<IssuedInvitation, PlatformError> {
        self.act(initiator, Action::RenewSignIn, format!("user {user}"), async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            let user = act.own_user(user, organization).await?;
            if act.is_by(user.id) {
                return Err(PeopleRefusal::OwnLink.into());
            }
            if user.disabled_at.is_some() {
                return Err(PeopleRefusal::UserDisabled.into());
            }
            let invited = Invited { email: &user.email, role: user.role, account: Some(user.id), life };
            issue(act, organization, invited).await
        })
        .await
    }

    pub async fn revoke_invitation(
        &self,
        initiator: &Initiator,
        id: InvitationId,
    ) -> Result<(), PlatformError> {
        let object = format!("invitation {id}");
        self.act(initiator, Action::RevokeInvitation, object, async move |act: &mut Act| {
            let organization = act.member_taking_away(Permission::ManageUsers)?;
            let found = act.tx.invitation(id).await?.filter(|it| it.organization == organization);
            let found = found.ok_or(PlatformError::NotFound { resource: Resource::Invitation })?;
            if !found.is_open(act.now) {
                return Err(PeopleRefusal::InvitationOver.into());
            }
            act.describe(format!("of {}", found.email));
            Ok(act.tx.void_invitations(organization, &found.email, None, act.now).await?)
        })
        .await
    }

    /// Returns an invitation of the organization; for those who manage users.
    pub async fn invitation(
        &self,
        initiator: &Initiator,
        id: InvitationId,
    ) -> Result<InvitationView, PlatformError> {
        let (organization, now) = (initiator.member(Permission::ManageUsers)?, self.now());
        let found =
            self.look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.invitation(id).await?)).await?;
        let own = found.filter(|invitation| invitation.organization == organization);
        own.map(|own| view(own, now)).ok_or(PlatformError::NotFound { resource: Resource::Invitation })
    }

    /// Lists an organization's invitations, the oldest first; for those who manage users.
    pub async fn list_invitations(
        &self,
        initiator: &Initiator,
        paging: &Paging,
    ) -> Result<Page<InvitationView>, PlatformError> {
        let organization = initiator.member(Permission::ManageUsers)?;
        let (paging, now) = (paging.clone(), self.now());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_invitations(organization, &paging).await?)
            })
            .await?;
        Ok(page.map(|invitation| view(invitation, now)))
    }

    /// Makes the bearer of a link a user, or sets the user's password anew, and signs the user in.
    pub async fn accept_invitation(
        &self,
        acceptance: &Acceptance,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        let (hash, now) = (acceptance.token.hash(), self.now());
        let found = self.look(async move |tx: &mut Tx| open_invitation(tx, &hash, now).await).await;
        let by = Initiator::Stranger { address: visit.address };
        let (invitation, user) = match found {
            Ok(found) => found,
            Err(PlatformError::NotFound { .. }) => return self.note_no_invitation(&by).await,
            Err(error) => return Err(error),
        };
        let hashed = self.judged(acceptance, &invitation, user.as_ref()).await?;
        let (name, visit) = (acceptance.name.clone(), visit.clone());
        self.act(&by, Action::AcceptInvitation, INVITATION, async move |act: &mut Act| {
            let (invitation, user) = open_invitation(&mut act.tx, &hash, act.now).await?;
            accept(act, &invitation, user, name.as_ref(), &hashed, &visit).await
        })
        .await
    }

    /// Notes, counted, that a link leads nowhere. Nobody is kept from writing for it.
    async fn note_no_invitation<T>(&self, by: &Initiator) -> Result<T, PlatformError> {
        let noted = self.note(by, Action::AcceptInvitation, INVITATION, async |_: &mut Act| {
            Err::<T, _>(PlatformError::NotFound { resource: Resource::Invitation })
        });
        noted.await.ended
    }

    /// Judges and hashes a password that comes with a good link.
    async fn judged(
        &self,
        acceptance: &Acceptance,
        invitation: &InvitationRecord,
        user: Option<&UserRecord>,
    ) -> Result<PasswordHash, PlatformError> {
        let name = user.map(|user| &user.name).or(acceptance.name.as_ref());
        let name = name.ok_or(PeopleRefusal::NameNeeded)?;
        let known = known_of(name.as_str(), &invitation.email, invitation.organization_name.as_str());
        judge(&acceptance.password, &known.each_ref().map(String::as_str)).map_err(PeopleRefusal::from)?;
        Ok(self.passwords.hash(Lane::Known, &acceptance.password).await?)
    }

    /// Begins a gateway: makes the first organization with the invitation of its owner. Refused where there is
    /// any organization.
    pub async fn begin_gateway(
        &self,
        initiator: &Initiator,
        name: &Name,
        tier: Tier,
        email: &Email,
    ) -> Result<IssuedInvitation, PlatformError> {
        let (object, name, email) = (format!("organization {name}"), name.clone(), email.clone());
        self.act(initiator, Action::AddOrganization, object, async move |act: &mut Act| {
            begin(act, &name, tier, &email).await
        })
        .await
    }

    /// Returns whether there is any organization.
    pub async fn has_organizations(&self) -> Result<bool, PlatformError> {
        self.look(async |tx: &mut Tx| Ok::<_, PlatformError>(tx.has_organizations().await?)).await
    }
}

/// Who is invited, as what and for how long.
struct Invited<'a> {
    email: &'a Email,
    role: UserRole,
    account: Option<UserId>,
    life: TokenLife,
}

async fn issue(
    act: &mut Act,
    organization: OrganizationId,
    invited: Invited<'_>,
) -> Result<IssuedInvitation, PlatformError> {
    if act.tx.open_invitations(organization, act.now).await? >= INVITATIONS_OPEN_MAX {
        return Err(PeopleRefusal::ManyInvitations.into());
    }
    let Some(known) = act.tx.organization(organization).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    let token = InvitationToken::from_bytes(random::bytes());
    let Invited { email, role, account, life } = invited;
    let new = NewInvitation {
        id: InvitationId::from_random(random::bytes()),
        organization,
        account,
        email: email.clone(),
        role,
        hash: token.hash(),
        invited_by: act.initiator_name().to_owned(),
        created_at: act.now,
        expires_at: act.now.saturating_add(life.duration()),
    };
    act.tx.put_invitation(&new).await?;
    act.makes(new.id);
    act.describe(format!("{email} as {role}, good until {}", new.expires_at));
    Ok(IssuedInvitation {
        id: new.id,
        organization,
        organization_name: known.name,
        email: new.email,
        role,
        token,
        expires_at: new.expires_at,
    })
}

/// Returns an invitation whose link can be used, and the user whose password it sets anew.
async fn open_invitation(
    tx: &mut Tx,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<(InvitationRecord, Option<UserRecord>), PlatformError> {
    const MISSING: PlatformError = PlatformError::NotFound { resource: Resource::Invitation };
    let found = tx.invitation_by_hash(hash).await?.filter(|invitation| invitation.is_open(now));
    let invitation = found.ok_or(MISSING)?;
    let Some(account) = invitation.account else { return Ok((invitation, None)) };
    let user = tx.user(account).await?.filter(|user| user.disabled_at.is_none());
    Ok((invitation, Some(user.ok_or(MISSING)?)))
}

async fn accept(
    act: &mut Act,
    invitation: &InvitationRecord,
    user: Option<UserRecord>,
    name: Option<&Name>,
    hash: &PasswordHash,
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    act.concerns(invitation.organization);
    act.names(format!("invitation {}", invitation.id));
    act.tx.accept_invitation(invitation, act.now).await?;
    let user = match user {
        Some(user) => renew(act, user, hash).await?,
        None => join(act, invitation, name, hash).await?,
    };
    act.told_by(user.called());
    act.describe(format!("as {}, from {}", user.role, visit.address));
    begin_session(act, user, true, visit).await
}

async fn join(
    act: &mut Act,
    invitation: &InvitationRecord,
    name: Option<&Name>,
    hash: &PasswordHash,
) -> Result<UserRecord, PlatformError> {
    let new = NewUser {
        id: UserId::from_random(random::bytes()),
        organization: invitation.organization,
        name: name.cloned().ok_or(PeopleRefusal::NameNeeded)?,
        email: invitation.email.clone(),
        role: invitation.role,
        password: Some(hash.clone()),
        subject: None,
        created_at: act.now,
    };
    act.tx.insert_user(&new).await?;
    act.reread_user(new.id).await
}

/// Sets a password anew; second factor, sessions and API tokens are those of who may have had the old one.
async fn renew(act: &mut Act, user: UserRecord, hash: &PasswordHash) -> Result<UserRecord, PlatformError> {
    act.set_new_password(&user, hash).await?;
    act.tx.drop_totp(&user, act.now).await?;
    act.tx.delete_sessions_of(&user, None).await?;
    act.tx.revoke_api_tokens_of(&user, act.now).await?;
    act.reread_user(user.id).await
}

async fn begin(
    act: &mut Act,
    name: &Name,
    tier: Tier,
    email: &Email,
) -> Result<IssuedInvitation, PlatformError> {
    if !act.is_host() {
        return Err(ActionRefusal::NeedsHost.into());
    }
    if act.tx.has_organizations().await? {
        return Err(PeopleRefusal::Begun.into());
    }
    let id = OrganizationId::from_random(random::bytes());
    let new =
        OrganizationRecord { id, name: name.clone(), tier, created_at: act.now, needs_second_factor: false };
    act.tx.insert_organization(&new).await?;
    let invited = Invited { email, role: UserRole::Owner, account: None, life: TokenLife::Day };
    let issued = issue(act, id, invited).await?;
    act.made(Resource::Organization, id);
    act.concerns(id);
    act.describe(format!("name {name}, tier {tier}"));
    let entry = Entry {
        actor: act.initiator_name().to_owned(),
        action: Action::InviteUser,
        object: format!("invitation of {email}"),
        outcome: AuditOutcome::Done,
        detail: format!("{email} as {}, good until {}", UserRole::Owner, issued.expires_at),
        bucket: None,
    };
    act.also_in(&entry, vec![None, Some(id)]).await?;
    Ok(issued)
}

pub(super) fn view(invitation: InvitationRecord, now: Timestamp) -> InvitationView {
    let status = if invitation.accepted_at.is_some() {
        InvitationStatus::Accepted
    } else if invitation.revoked_at.is_some() {
        InvitationStatus::Revoked
    } else if invitation.is_open(now) {
        InvitationStatus::Open
    } else {
        InvitationStatus::Expired
    };
    InvitationView {
        id: invitation.id,
        email: invitation.email,
        role: invitation.role,
        user: invitation.account,
        invited_by: invitation.invited_by,
        status,
        created_at: invitation.created_at,
        expires_at: invitation.expires_at,
    }
}

impl fmt::Display for InvitationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
