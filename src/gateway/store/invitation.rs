//! Invitations: links that make somebody a user, or let one set a password anew. Of their tokens only hashes.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::email::Email;
use adit_core::domain::id::{InvitationId, OrganizationId, UserId};
use adit_core::domain::name::Name;
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvitationRecord {
    pub id: InvitationId,
    pub organization: OrganizationId,
    pub organization_name: Name,
    /// Whose password is set anew; none for a newcomer.
    pub account: Option<UserId>,
    pub email: Email,
    pub role: UserRole,
    pub invited_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl InvitationRecord {
    /// Returns whether its link can still be used.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        self.accepted_at.is_none() && self.revoked_at.is_none() && now < self.expires_at
    }
}

#[derive(Debug, Clone)]
pub(crate) struct NewInvitation {
    pub id: InvitationId,
    pub organization: OrganizationId,
    pub account: Option<UserId>,
    pub email: Email,
    pub role: UserRole,
    pub hash: [u8; 32],
    pub invited_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

macro_rules! select_invitations {
    ($which:literal) => {
        concat!(
            "SELECT i.*, o.name AS organization_name FROM invitation i
             JOIN organization o ON o.id = i.organization ",
            $which
        )
    };
}
pub(super) use select_invitations;

impl Tx {
    /// Adds an invitation. The one that its address had is void.
    pub(crate) async fn put_invitation(&mut self, new: &NewInvitation) -> Result<(), StoreError> {
        self.void_invitations(new.organization, &new.email, new.account, new.created_at).await?;
        let query = sql("INSERT INTO invitation
                (id, organization, account, email, role, hash, invited_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(text(new.id))
        .bind(text(new.organization))
        .bind(new.account.map(text))
        .bind(text(&new.email))
        .bind(new.role.as_str())
        .bind(new.hash.to_vec())
        .bind(new.invited_by.clone())
        .bind(new.created_at.as_millis())
        .bind(new.expires_at.as_millis());
        self.run("inviting a user", query).await.map(drop)
    }

    /// Voids what is open for an address of an organization, and for an account, which may have had another address
    /// when its link was made.
    pub(crate) async fn void_invitations(
        &mut self,
        organization: OrganizationId,
        email: &Email,
        account: Option<UserId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE invitation SET revoked_at = $1 WHERE organization = $2
             AND (email = $3 OR account = $4) AND accepted_at IS NULL AND revoked_at IS NULL")
        .bind(at.as_millis())
        .bind(text(organization))
        .bind(text(email))
        .bind(account.map(text));
        self.run("voiding an invitation", query).await?;
        self.note_change(Changed::Users(organization));
        Ok(())
    }

    pub(crate) async fn invitation(
        &mut self,
        id: InvitationId,
    ) -> Result<Option<InvitationRecord>, StoreError> {
        let query = sql(select_invitations!("WHERE i.id = $1")).bind(text(id));
        self.one("looking an invitation up", query, read).await
    }

    pub(crate) async fn invitation_by_hash(
        &mut self,
        hash: &[u8; 32],
    ) -> Result<Option<InvitationRecord>, StoreError> {
        let query = sql(select_invitations!("WHERE i.hash = $1")).bind(hash.to_vec());
        self.one("looking an invitation up", query, read).await
    }

    pub(crate) async fn accept_invitation(
        &mut self,
        invitation: &InvitationRecord,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE invitation SET accepted_at = $1 WHERE id = $2")
            .bind(at.as_millis())
            .bind(text(invitation.id));
        self.run("accepting an invitation", query).await?;
        self.note_change(Changed::Users(invitation.organization));
        Ok(())
    }

    /// Counts the invitations of an organization whose links can still be used.
    pub(crate) async fn open_invitations(
        &mut self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM invitation WHERE organization = $1
             AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2")
        .bind(text(organization))
        .bind(now.as_millis());
        self.count("counting invitations", query).await
    }

    /// Forgets invitations whose time was over before `before`; returns how many.
    pub(crate) async fn forget_invitations(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM invitation WHERE expires_at < $1").bind(before.as_millis());
        self.run("forgetting old invitations", query).await
    }
}

pub(super) fn read(cells: &Cells) -> Result<InvitationRecord, StoreError> {
    Ok(InvitationRecord {
        id: cells.get("id")?,
        organization: cells.get("organization")?,
        organization_name: cells.name("organization_name")?,
        account: cells.maybe("account")?,
        email: cells.get("email")?,
        role: cells.get("role")?,
        invited_by: cells.string("invited_by")?,
        created_at: cells.time("created_at")?,
        expires_at: cells.time("expires_at")?,
        accepted_at: cells.maybe_time("accepted_at")?,
        revoked_at: cells.maybe_time("revoked_at")?,
    })
}
