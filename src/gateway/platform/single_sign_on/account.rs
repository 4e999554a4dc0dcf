//! Whose account a provider's user has: the one with its subject. An e-mail address alone gives nobody the account
//! of another, whatever the provider says of it. The role is what the provider gives now, but for the last owner.

use crate::openid::Proven;
use crate::store::{NewSingleSignOnAccount, SingleSignOnAccount};
use adit_core::domain::email::Email;
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::limits::NAME_CHARS_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::role::UserRole;
use adit_core::domain::visible::one_line;
use adit_net::identity::random;

use super::super::Initiator;
use super::super::act::Act;
use super::super::error::{ActionRefusal, PlatformError};
use super::super::owners::OwnersBefore;
use super::SingleSignOnRefusal;

/// `OpenID` Connect Core 1.0 §2.
const SUBJECT_CHARS_MAX: usize = 255;

/// Whom a provider has proven, in our words.
#[derive(Debug, Clone)]
pub(super) struct Newcomer {
    organization: OrganizationId,
    subject: String,
    name: Name,
    email: Email,
    /// The provider vouches for the address, and not only tells it.
    is_verified: bool,
    role: UserRole,
}

impl Newcomer {
    pub(super) fn new(
        organization: OrganizationId,
        role: UserRole,
        proven: &Proven,
    ) -> Result<Self, SingleSignOnRefusal> {
        let subject = proven.subject.clone();
        if subject.is_empty() || subject.chars().count() > SUBJECT_CHARS_MAX || subject.contains('\0') {
            return Err(SingleSignOnRefusal::NotProven { what: "its `sub` is none".into() });
        }
        if proven.email_verified == Some(false) {
            return Err(SingleSignOnRefusal::EmailUnverified);
        }
        // Entra tells the address that one signs in with as the preferred name, unless told otherwise.
        let told = [&proven.email, &proven.preferred_username];
        let email: Email = told
            .into_iter()
            .flatten()
            .find_map(|text| text.parse().ok())
            .ok_or(SingleSignOnRefusal::NoEmail)?;
        // The word is about that claim alone, and not about a name that stands in for it.
        let is_verified = proven.email_verified == Some(true)
            && proven.email.as_ref().is_some_and(|told| told.parse() == Ok(email.clone()));
        let named = [&proven.name, &proven.preferred_username].into_iter().flatten();
        let name = named
            .map(String::as_str)
            .chain([email.as_str()])
            .find_map(|text| one_line(text.trim(), NAME_CHARS_MAX).parse::<Name>().ok());
        let name = name.ok_or(SingleSignOnRefusal::NoEmail)?;
        Ok(Self { organization, subject, name, email, is_verified, role })
    }

    /// Returns as whom it acts.
    pub(super) fn initiator(&self) -> Initiator {
        let name = format!("{} ({})", self.name, self.email);
        Initiator::Member { organization: self.organization, role: self.role, name, proof: None }
    }
}

/// A newcomer's account.
pub(super) struct Admitted {
    pub(super) id: UserId,
    /// What its log is told of the role.
    pub(super) note: String,
}

/// Returns the newcomer's account as the provider describes it now, making it at the first sign-in.
pub(super) async fn find_or_make(act: &mut Act, newcomer: &Newcomer) -> Result<Admitted, PlatformError> {
    let organization = newcomer.organization;
    if let Some(known) = act.tx.account_by_subject(organization, &newcomer.subject).await? {
        return go_on(act, newcomer, known).await;
    }
    let invitation = act.tx.open_invitation_for(organization, &newcomer.email, act.now).await?;
    let admitted = match act.tx.account_at_email(organization, &newcomer.email).await? {
        None => {
            let id = UserId::from_random(random::bytes());
            let new = described(newcomer, id, &newcomer.email, act);
            act.tx.insert_single_sign_on_account(&new).await?;
            Admitted { id, note: format!("as {}", newcomer.role) }
        }
        Some((known, is_used)) => {
            // An owner's open link for that very address says who its user is; so does that nobody can sign in.
            let is_invited = invitation.is_some_and(|(_, account)| account == Some(known.id));
            let may_link = !is_used || (is_invited && newcomer.is_verified);
            if !may_link {
                return Err(ActionRefusal::from(SingleSignOnRefusal::EmailTaken).into());
            }
            let mut admitted = go_on(act, newcomer, known).await?;
            if is_used {
                admitted.note += &end_by_link(act, admitted.id).await?;
            }
            admitted
        }
    };
    // One that was made for another account is another's; and so is a newcomer's for one whose address nobody vouches
    // for.
    if let Some((invitation, account)) = invitation
        && newcomer.is_verified
        && account.is_none_or(|account| account == admitted.id)
    {
        act.tx.use_up_invitation(invitation, act.now).await?;
    }
    Ok(admitted)
}

/// Ends what a sign-in link ends when it is used, however it is: sessions and API tokens are those of who may have had
/// the account before. Returns what the log is told.
async fn end_by_link(act: &mut Act, account: UserId) -> Result<String, PlatformError> {
    let user = act.reread_user(account).await?;
    let sessions = act.tx.delete_sessions_of(&user, None).await?;
    let tokens = act.tx.revoke_api_tokens_of(&user, act.now).await?;
    act.tx.void_devices(account).await?;
    Ok(format!("; by a sign-in link, sessions ended: {sessions}, API tokens revoked: {tokens}"))
}

/// Goes on with an account that is there.
async fn go_on(
    act: &mut Act,
    newcomer: &Newcomer,
    known: SingleSignOnAccount,
) -> Result<Admitted, PlatformError> {
    if known.is_disabled {
        return Err(ActionRefusal::from(SingleSignOnRefusal::Disabled).into());
    }
    // Another user's address stays that user's.
    let holder = act.tx.account_at_email(newcomer.organization, &newcomer.email).await?;
    let is_free = holder.is_none_or(|(holder, _)| holder.id == known.id);
    let email = if is_free { &newcomer.email } else { &known.email };
    let owners = OwnersBefore::count(act, newcomer.organization).await?;
    let now = described(newcomer, known.id, email, act);
    act.tx.update_single_sign_on_account(&now).await?;
    if !owners.are_kept(act).await? {
        // Else nobody could set right what the provider says.
        let still = NewSingleSignOnAccount { role: known.role, ..now };
        act.tx.update_single_sign_on_account(&still).await?;
        let note = format!(
            "as {} still, the last one who can sign in, while the provider gives {}",
            known.role, newcomer.role
        );
        return Ok(Admitted { id: known.id, note });
    }
    let is_lowered = newcomer.role != known.role && newcomer.role.at_most(known.role) == newcomer.role;
    let ended = match act.tx.user(known.id).await? {
        Some(user) if is_lowered => act.tx.delete_sessions_of(&user, None).await?,
        _ => 0,
    };
    let was = format!("; was {}, sessions ended: {ended}", known.role);
    let was = if is_lowered { was.as_str() } else { "" };
    Ok(Admitted { id: known.id, note: format!("as {}{was}", newcomer.role) })
}

/// Takes from an account what its provider no longer gives: sessions, API tokens, and every role but the lowest, unless
/// no other owner could sign in. Returns what the log is told.
pub(super) async fn shut_out(act: &mut Act, account: UserId) -> Result<String, PlatformError> {
    // First: whoever is left an owner may keep the password, and nobody else.
    let lowered = lower(act, account).await?;
    let ended = act.tx.end_access_of(account, act.now).await?;
    Ok(format!(
        "the identity provider gives no role; password and links are void, sessions and API tokens ended: \
         {ended}{lowered}"
    ))
}

/// Leaves an account the lowest role, unless no other owner could sign in; returns what the log is told of it.
async fn lower(act: &mut Act, account: UserId) -> Result<String, PlatformError> {
    let user = act.tx.user(account).await?.filter(|user| user.role != UserRole::Auditor);
    let Some(user) = user else { return Ok(String::new()) };
    let owners = OwnersBefore::count(act, user.organization).await?;
    act.tx.set_user_role(&user, UserRole::Auditor, act.now).await?;
    if owners.are_kept(act).await? {
        return Ok(format!("; {} before, auditor from now on", user.role));
    }
    act.tx.set_user_role(&user, user.role, act.now).await?;
    Ok("; no other owner can sign in, so the role stays".to_owned())
}

fn described<'a>(
    newcomer: &'a Newcomer,
    id: UserId,
    email: &'a Email,
    act: &Act,
) -> NewSingleSignOnAccount<'a> {
    NewSingleSignOnAccount {
        id,
        organization: newcomer.organization,
        subject: &newcomer.subject,
        name: &newcomer.name,
        email,
        role: newcomer.role,
        at: act.now,
    }
}
