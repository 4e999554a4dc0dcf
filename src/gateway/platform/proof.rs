//! Whether one who was known when a request or a long answer began still is, and as what. A request's body may be held
//! back for seconds, and a stream lasts for hours: meanwhile a session ends, a token is revoked, a role is taken away.
//! So each act proves its user again in its own transaction, and so does each page of what is sent piece by piece.
//! Asking counts as no use of a session.

use crate::store::Tx;
use adit_core::domain::id::{ApiTokenId, OrganizationId, SessionId, UserId};
use adit_core::domain::limits::{USER_SESSION_FRESH, USER_SESSION_IDLE};
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

use super::error::PlatformError;
use super::people::PeopleRefusal;
use super::{Initiator, Platform};

/// By what one was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    Session(SessionId),
    Token(ApiTokenId),
}

/// Who was known, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserProof {
    pub user: UserId,
    pub by: Proof,
}

/// What a proof proves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proven {
    organization: OrganizationId,
    pub(super) role: UserRole,
    by: Proof,
    /// When the user signed in, or the token was issued.
    since: Timestamp,
    /// Until when at most, if nobody uses it.
    until: Timestamp,
}

impl Platform {
    /// Returns until when the initiator's proof is good at most, if it is and the user acts for the same organization
    /// in the same role.
    pub(crate) async fn proven_until(
        &self,
        initiator: &Initiator,
    ) -> Result<Option<Timestamp>, PlatformError> {
        let Initiator::Member { organization, role, proof: Some(proof), .. } = initiator else {
            return Ok(None);
        };
        let (proof, now) = (*proof, self.now());
        let found = self.look(async move |tx: &mut Tx| proven(tx, proof, now).await).await?;
        let found = found.filter(|found| found.organization == *organization && found.role == *role);
        Ok(found.map(|found| found.until))
    }
}

impl Proven {
    /// Refuses a program, and a person who has signed in long ago: neither a stolen token nor a cookie of this
    /// morning's makes a way in that outlasts it (OWASP ASVS 5.0 §7.5).
    pub(super) fn require_late_sign_in(&self, now: Timestamp) -> Result<(), PeopleRefusal> {
        match self.by {
            Proof::Token(_) => Err(PeopleRefusal::BrowserNeeded),
            Proof::Session(_) if now.since(self.since) >= USER_SESSION_FRESH => {
                Err(PeopleRefusal::SignInAgain)
            }
            Proof::Session(_) => Ok(()),
        }
    }
}

/// Returns what the initiator's proof proves now; nothing of one that has none to show. One whose proof is over may do
/// nothing.
pub(super) async fn require(
    tx: &mut Tx,
    initiator: &Initiator,
    now: Timestamp,
) -> Result<Option<Proven>, PlatformError> {
    let (Some(proof), Some(organization)) = (initiator.proof(), initiator.organization()) else {
        return Ok(None);
    };
    let found = proven(tx, proof, now).await?.filter(|found| found.organization == organization);
    Ok(Some(found.ok_or(PeopleRefusal::SessionEnded)?))
}

async fn proven(tx: &mut Tx, proof: UserProof, now: Timestamp) -> Result<Option<Proven>, PlatformError> {
    let found = tx.user(proof.user).await?.filter(|user| user.disabled_at.is_none());
    let Some(user) = found.filter(|user| !user.lacks_second_factor()) else { return Ok(None) };
    let good = match proof.by {
        Proof::Session(id) => {
            let session = tx.user_session(id).await?.filter(|session| {
                let is_idle = now.since(session.seen_at) >= USER_SESSION_IDLE;
                session.account == user.id && session.is_whole && now < session.expires_at && !is_idle
            });
            session.map(|session| {
                let idle_at = session.seen_at.saturating_add(USER_SESSION_IDLE);
                (UserRole::Owner, session.created_at, session.expires_at.min(idle_at))
            })
        }
        Proof::Token(id) => {
            let token =
                tx.api_token(id).await?.filter(|token| token.account == user.id && token.is_good(now));
            token.map(|token| (token.role, token.created_at, token.expires_at))
        }
    };
    Ok(good.map(|(at_most, since, until)| Proven {
        organization: user.organization,
        role: at_most.at_most(user.role),
        by: proof.by,
        since,
        until,
    }))
}
