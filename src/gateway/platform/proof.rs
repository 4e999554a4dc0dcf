//! Whether one who was known when a long answer began still is: whoever listens for hours must not hear what they may
//! not any more. Asking counts as no use of a session.

use crate::store::Tx;
use adit_core::domain::id::{ApiTokenId, OrganizationId, SessionId, UserId};
use adit_core::domain::limits::USER_SESSION_IDLE;
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

use super::error::PlatformError;
use super::{Initiator, Platform};

/// By what one was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Session(SessionId),
    Token(ApiTokenId),
}

impl Platform {
    /// Returns whether the proof is good, and the user acts for the same organization in the same role.
    pub(crate) async fn is_still_proven(
        &self,
        proof: Proof,
        user: UserId,
        initiator: &Initiator,
    ) -> Result<bool, PlatformError> {
        let Initiator::Member { organization, role, .. } = initiator else { return Ok(false) };
        let now = self.now();
        let found = self.look(async move |tx: &mut Tx| proven_role(tx, proof, user, now).await).await?;
        Ok(found.is_some_and(|(of, found)| of == *organization && found == *role))
    }
}

async fn proven_role(
    tx: &mut Tx,
    proof: Proof,
    user: UserId,
    now: Timestamp,
) -> Result<Option<(OrganizationId, UserRole)>, PlatformError> {
    let found = tx.user(user).await?.filter(|user| user.disabled_at.is_none());
    let Some(found) = found.filter(|user| !user.lacks_second_factor()) else { return Ok(None) };
    let at_most = match proof {
        Proof::Session(id) => {
            let session = tx.user_session(id).await?.filter(|session| {
                let is_idle = now.since(session.seen_at) >= USER_SESSION_IDLE;
                session.account == user && session.is_whole && now < session.expires_at && !is_idle
            });
            session.map(|_| UserRole::Owner)
        }
        Proof::Token(id) => {
            let token = tx.api_token(id).await?;
            token.filter(|token| token.account == user && token.is_good(now)).map(|token| token.role)
        }
    };
    Ok(at_most.map(|at_most| (found.organization, at_most.at_most(found.role))))
}
