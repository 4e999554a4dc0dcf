//! Who is signed in: sessions of browsers, as they are begun, known again and ended. Whether one is over is judged
//! when it is used; rows are deleted later.

use std::fmt;

use tracing::debug;

use crate::store::{NewUserSession, SessionRecord, Tx, UserRecord};
use adit_core::domain::id::{OrganizationId, SessionId, UserId};
use adit_core::domain::limits::{
    ENDED_KEPT, USER_AGENT_CHARS_MAX, USER_SESSION_HALF_LIFE, USER_SESSION_IDLE, USER_SESSION_LIFE,
    USER_SESSIONS_MAX,
};
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::secret::SessionToken;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::one_line;
use adit_net::identity::random;

use super::act::Act;
use super::attempts::{AccountKey, Device, cookie_of, device_shown};
use super::error::{PlatformError, Resource};
use super::people::{PeopleRefusal, Visit};
use super::proof::{Proof, UserProof};
use super::users::UserView;
use super::{Action, Initiator, Platform};

/// What a session may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInStage {
    /// The password was right; a code is asked for.
    SecondFactor,
    /// The organization needs a second factor, and the user has none: it may set one up.
    SetUp,
    /// All that the role permits.
    Whole,
}

impl SignInStage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecondFactor => "second_factor",
            Self::SetUp => "set_up",
            Self::Whole => "whole",
        }
    }
}

/// A user by one of its sessions. Nothing else acts on the user's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub user: UserView,
    pub session: SessionId,
    pub stage: SignInStage,
    pub expires_at: Timestamp,
    pub(super) account: AccountKey,
}

impl Signed {
    /// Returns as whom acts are made: each proves the session again, with all factors.
    #[must_use]
    pub fn initiator(&self) -> Initiator {
        let by = Proof::Session(self.session);
        self.member(Some(UserProof { user: self.id(), by }))
    }

    /// Returns as whom one acts on one's own account who has yet to show or set up a second factor. The act itself
    /// proves the session, by [`own_account`].
    pub(super) fn on_own_account(&self) -> Initiator {
        self.member(None)
    }

    fn member(&self, proof: Option<UserProof>) -> Initiator {
        let UserView { organization, role, name, email, .. } = &self.user;
        let name = format!("{name} <{email}>");
        Initiator::Member { organization: *organization, role: *role, name, proof }
    }

    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.user.organization
    }

    #[must_use]
    pub const fn id(&self) -> UserId {
        self.user.id
    }
}

/// A session on its only way out to the browser.
pub struct NewSession {
    pub token: SessionToken,
    pub signed: Signed,
    /// What the browser keeps to be known again; none before all factors are shown.
    pub device: Option<String>,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("signed", &self.signed).finish_non_exhaustive()
    }
}

/// One of a user's sessions, as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSessionView {
    pub id: SessionId,
    pub created_at: Timestamp,
    /// As far as this gateway knows; of uses by way of another, a few seconds late.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: String,
    pub agent: String,
    /// Whether it is the one that asks.
    pub is_own: bool,
}

impl Platform {
    /// Returns who shows a session's token, unless the session is over.
    pub async fn signed(&self, token: &SessionToken) -> Result<Option<Signed>, PlatformError> {
        let Some((session, user)) = self.living_session(token).await? else { return Ok(None) };
        self.note_session_use(&session, self.now()).await?;
        Ok(Some(signed_of(&session, user)))
    }

    /// The same where nobody has asked for anything: a page that keeps itself fresh keeps no session alive.
    pub async fn signed_unattended(&self, token: &SessionToken) -> Result<Option<Signed>, PlatformError> {
        Ok(self.living_session(token).await?.map(|(session, user)| signed_of(&session, user)))
    }

    async fn living_session(
        &self,
        token: &SessionToken,
    ) -> Result<Option<(SessionRecord, UserRecord)>, PlatformError> {
        let (hash, now) = (token.hash(), self.now());
        let found = self
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.session_by_hash(&hash).await?))
            .await?;
        Ok(found.filter(|(session, user)| is_alive(session, now) && user.disabled_at.is_none()))
    }

    /// Lists a user's sessions, the oldest first.
    pub async fn list_user_sessions(
        &self,
        signed: &Signed,
        paging: &Paging,
    ) -> Result<Page<UserSessionView>, PlatformError> {
        let (user, own, now, paging) = (signed.id(), signed.session, self.now(), paging.clone());
        let seen_after = now.saturating_sub(USER_SESSION_IDLE);
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_sessions(user, now, seen_after, &paging).await?)
            })
            .await?;
        let noted = self.uses();
        Ok(page.map(|session| {
            let last = noted.last(Proof::Session(session.id));
            view(session, own, last)
        }))
    }

    /// Ends one of a user's sessions.
    pub async fn revoke_user_session(&self, signed: &Signed, id: SessionId) -> Result<(), PlatformError> {
        let (object, own) = (format!("session {id}"), signed.clone());
        self.act(&signed.initiator(), Action::RevokeSession, object, async move |act: &mut Act| {
            let user = own_account(act, &own).await?;
            let found = act.tx.user_session(id).await?.filter(|session| session.account == user.id);
            let session = found.ok_or(PlatformError::NotFound { resource: Resource::Session })?;
            act.tx.delete_session(session.id, user.organization).await?;
            act.describe(format!("of {}, from {}", session.agent, session.address));
            Ok(())
        })
        .await
    }

    /// Ends all of a user's sessions but this one, which has another token; and no browser but this one is known any
    /// more.
    pub async fn revoke_other_sessions(
        &self,
        signed: &Signed,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        let (object, own, visit) = (format!("user {}", signed.user.email), signed.clone(), visit.clone());
        self.act(&signed.initiator(), Action::RevokeSession, object, async move |act: &mut Act| {
            let user = own_account(act, &own).await?;
            let ended = act.tx.delete_sessions_of(&user, Some(own.session)).await?;
            act.tx.void_devices(user.id).await?;
            act.describe(format!("other sessions ended: {ended}"));
            let user = act.reread_user(user.id).await?;
            replace_session(act, user, own.session, &visit).await
        })
        .await
    }

    /// Ends the session that asks.
    pub async fn sign_out(&self, signed: &Signed) -> Result<(), PlatformError> {
        let (id, organization) = (signed.session, signed.organization());
        let object = format!("session {id}");
        self.act(&signed.on_own_account(), Action::SignOut, object, async move |act: &mut Act| {
            if act.tx.delete_session(id, organization).await? {
                return Ok(());
            }
            Err(PeopleRefusal::SessionEnded.into())
        })
        .await
    }

    /// Forgets sessions, invitations and API tokens whose time is over; for the gateway's maintenance.
    pub async fn sweep_people(&self) -> Result<u64, PlatformError> {
        let now = self.now();
        self.record(async move |tx: &mut Tx| {
            let sessions = tx.forget_sessions(now, now.saturating_sub(USER_SESSION_IDLE)).await?;
            let before = now.saturating_sub(ENDED_KEPT);
            let invitations = tx.forget_invitations(before).await?;
            let tokens = tx.forget_api_tokens(before).await?;
            debug!(sessions, invitations, tokens, "what is over of users is forgotten");
            Ok::<_, PlatformError>(sessions + invitations + tokens)
        })
        .await
    }
}

/// Begins a session, and returns it as the browser gets it. Any session that the browser showed before was
/// another's, or has fewer rights: its token is never taken over.
pub(super) async fn begin_session(
    act: &mut Act,
    user: UserRecord,
    is_whole: bool,
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    let life = if is_whole { USER_SESSION_LIFE } else { USER_SESSION_HALF_LIFE };
    let lasts = (act.now, act.now.saturating_add(life));
    insert_session(act, user, is_whole, lasts, visit).await
}

/// Makes a session that was begun at a time and ends at another.
async fn insert_session(
    act: &mut Act,
    user: UserRecord,
    is_whole: bool,
    (created_at, expires_at): (Timestamp, Timestamp),
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    let token = SessionToken::from_bytes(random::bytes());
    let record = SessionRecord {
        id: SessionId::from_random(random::bytes()),
        account: user.id,
        is_whole,
        created_at,
        seen_at: act.now,
        expires_at,
        address: visit.address.to_string(),
        agent: one_line(&visit.agent, USER_AGENT_CHARS_MAX),
    };
    act.tx.insert_session(&NewUserSession { record: record.clone(), hash: token.hash() }).await?;
    // Who knows no more than the password ends no whole session by it.
    act.tx.delete_oldest_sessions(user.id, USER_SESSIONS_MAX, is_whole).await?;
    let device = if is_whole { Some(know_device(act, &user, visit).await?) } else { None };
    let user = UserRecord { signed_in_at: Some(act.now), ..user };
    let signed = signed_of(&record, user);
    Ok(NewSession { token, signed, device })
}

/// Has the browser be known to who signs in with it, and notes the sign-in. One that is known keeps its number, so
/// that no other is forgotten for it.
async fn know_device(act: &mut Act, user: &UserRecord, visit: &Visit) -> Result<String, PlatformError> {
    let shown = device_shown(&act.seal, visit, act.now);
    let known = shown.filter(|shown| shown.user == user.id && user.knows_device(shown.number));
    let device = known.unwrap_or(Device { user: user.id, number: user.devices_made.saturating_add(1) });
    act.tx.set_signed_in(user, user.devices_made.max(device.number), act.now).await?;
    Ok(cookie_of(&act.seal, device, act.now))
}

/// Replaces a session by another with a new token, as at each raise of rights: by who has just shown a factor, so it
/// begins now.
pub(super) async fn renew_session(
    act: &mut Act,
    user: UserRecord,
    old: SessionId,
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    act.tx.delete_session(old, user.organization).await?;
    begin_session(act, user, true, visit).await
}

/// Replaces a whole session by one with a new token that is as old and lasts as long: nothing was shown for it, and who
/// has stolen one must not get a newer one for it.
async fn replace_session(
    act: &mut Act,
    user: UserRecord,
    old: SessionId,
    visit: &Visit,
) -> Result<NewSession, PlatformError> {
    let SessionRecord { created_at, expires_at, .. } =
        act.tx.user_session(old).await?.ok_or(PeopleRefusal::SessionEnded)?;
    act.tx.delete_session(old, user.organization).await?;
    insert_session(act, user, true, (created_at, expires_at), visit).await
}

/// Returns the account of who asks, as it is now, if its session still is.
pub(super) async fn own_account(act: &mut Act, signed: &Signed) -> Result<UserRecord, PlatformError> {
    let now = act.now;
    let session = act.tx.user_session(signed.session).await?.filter(|session| is_alive(session, now));
    let user = act.tx.user(signed.id()).await?.filter(|user| user.disabled_at.is_none());
    match (session, user) {
        (Some(session), Some(user)) if session.account == user.id => Ok(user),
        _ => Err(PeopleRefusal::SessionEnded.into()),
    }
}

fn is_alive(session: &SessionRecord, now: Timestamp) -> bool {
    now < session.expires_at && now.since(session.seen_at) < USER_SESSION_IDLE
}

fn signed_of(session: &SessionRecord, user: UserRecord) -> Signed {
    let stage = if !session.is_whole {
        SignInStage::SecondFactor
    } else if user.lacks_second_factor() {
        SignInStage::SetUp
    } else {
        SignInStage::Whole
    };
    let account = AccountKey::of_user(&user);
    Signed { user: user.into(), session: session.id, stage, expires_at: session.expires_at, account }
}

fn view(session: SessionRecord, own: SessionId, last: Option<Timestamp>) -> UserSessionView {
    UserSessionView {
        id: session.id,
        created_at: session.created_at,
        seen_at: last.map_or(session.seen_at, |last| last.max(session.seen_at)),
        expires_at: session.expires_at,
        address: session.address,
        agent: session.agent,
        is_own: session.id == own,
    }
}
