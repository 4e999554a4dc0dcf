//! Accounts as identity providers know them, and what they lose when a provider no longer speaks for them.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::{Query, sql};
use super::tx::{Tx, text};
use super::user::UserRecord;
use adit_core::domain::email::Email;
use adit_core::domain::id::{InvitationId, OrganizationId, UserId};
use adit_core::domain::name::Name;
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

/// Of an account what signing in at a provider asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SingleSignOnAccount {
    pub id: UserId,
    pub name: Name,
    pub email: Email,
    pub role: UserRole,
    pub is_disabled: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct NewSingleSignOnAccount<'a> {
    pub id: UserId,
    pub organization: OrganizationId,
    pub subject: &'a str,
    pub name: &'a Name,
    pub email: &'a Email,
    pub role: UserRole,
    pub at: Timestamp,
}

impl Tx {
    /// Returns the account that the organization's provider calls `subject`.
    pub(crate) async fn account_by_subject(
        &mut self,
        organization: OrganizationId,
        subject: &str,
    ) -> Result<Option<SingleSignOnAccount>, StoreError> {
        let query = sql("SELECT * FROM user_account WHERE organization = $1 AND subject = $2")
            .bind(text(organization))
            .bind(subject.to_owned());
        self.one("looking an account up by its subject", query, read).await
    }

    /// Returns the account with an e-mail address, and whether anybody can sign in to it as things stand.
    pub(crate) async fn account_at_email(
        &mut self,
        organization: OrganizationId,
        email: &Email,
    ) -> Result<Option<(SingleSignOnAccount, bool)>, StoreError> {
        let query = sql("SELECT * FROM user_account WHERE organization = $1 AND email = $2")
            .bind(text(organization))
            .bind(email.as_str().to_owned());
        let with_use = |cells: &Cells| {
            let ways: [Option<String>; 2] = [cells.maybe("subject")?, cells.maybe("password")?];
            Ok((read(cells)?, ways.iter().any(Option::is_some)))
        };
        self.one("looking an account up by its e-mail", query, with_use).await
    }

    pub(crate) async fn insert_single_sign_on_account(
        &mut self,
        new: &NewSingleSignOnAccount<'_>,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO user_account (id, organization, name, email, role, subject, created_at,
                changed_at, signed_in_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)")
        .bind(text(new.id))
        .bind(text(new.organization))
        .bind(text(new.name))
        .bind(text(new.email))
        .bind(new.role.as_str())
        .bind(new.subject.to_owned())
        .bind(new.at.as_millis());
        self.run("adding an account", query).await.map(drop)
    }

    /// Writes what the provider says of an account at a sign-in.
    pub(crate) async fn update_single_sign_on_account(
        &mut self,
        now: &NewSingleSignOnAccount<'_>,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET subject = $1, name = $2, email = $3, role = $4,
                changed_at = CASE WHEN role = $4 AND name = $2 AND email = $3 THEN changed_at ELSE $5 END,
                signed_in_at = $5
             WHERE id = $6")
        .bind(now.subject.to_owned())
        .bind(text(now.name))
        .bind(text(now.email))
        .bind(now.role.as_str())
        .bind(now.at.as_millis())
        .bind(text(now.id));
        self.run("writing an account", query).await.map(drop)
    }

    /// Returns the open invitation that an owner has made for an e-mail address, and for whose account: none is a
    /// newcomer's.
    pub(crate) async fn open_invitation_for(
        &mut self,
        organization: OrganizationId,
        email: &Email,
        now: Timestamp,
    ) -> Result<Option<(InvitationId, Option<UserId>)>, StoreError> {
        let query = sql("SELECT id, account FROM invitation WHERE organization = $1 AND email = $2
                AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $3")
        .bind(text(organization))
        .bind(email.as_str().to_owned())
        .bind(now.as_millis());
        let read = |cells: &Cells| Ok((cells.get("id")?, cells.maybe("account")?));
        self.one("looking an invitation up", query, read).await
    }

    pub(crate) async fn use_up_invitation(
        &mut self,
        id: InvitationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE invitation SET accepted_at = $1 WHERE id = $2").bind(now.as_millis()).bind(text(id));
        self.run("using an invitation up", query).await.map(drop)
    }

    /// Ends every session of an account and revokes its API tokens; returns how many there were. Its password signs
    /// nobody in any more either, and no link sets another: but the organization's last owner with a password keeps it,
    /// since a slip in the claim must not shut all out.
    pub(crate) async fn end_access_of(&mut self, account: UserId, now: Timestamp) -> Result<u64, StoreError> {
        let Some(user) = self.user(account).await? else { return Ok(0) };
        self.note_change(Changed::Users(user.organization));
        self.void_devices(account).await?;
        self.void_invitations(user.organization, &user.email, Some(account), now).await?;
        self.drop_password(&user, now).await?;
        let sessions = sql("DELETE FROM user_session WHERE account = $1").bind(text(account));
        let tokens = sql("UPDATE api_token SET revoked_at = $1 WHERE account = $2 AND revoked_at IS NULL")
            .bind(now.as_millis())
            .bind(text(account));
        self.end_access(sessions, tokens).await
    }

    /// Ends the sessions of those who are no owners and have a password; returns how many there were.
    pub(crate) async fn end_sessions_beside_provider(
        &mut self,
        organization: OrganizationId,
    ) -> Result<u64, StoreError> {
        self.note_change(Changed::Users(organization));
        let query = sql("DELETE FROM user_session WHERE account IN (SELECT id FROM user_account
             WHERE organization = $1 AND role <> 'owner' AND password IS NOT NULL)")
        .bind(text(organization));
        self.run("ending sessions beside the provider", query).await
    }

    /// Ends sessions and revokes API tokens of all whom the organization's provider speaks for, and has it speak for
    /// nobody; returns how many there were.
    pub(crate) async fn unlink_all(
        &mut self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let sessions = sql("DELETE FROM user_session WHERE account IN
                (SELECT id FROM user_account WHERE organization = $1 AND subject IS NOT NULL)")
        .bind(text(organization));
        let tokens = sql("UPDATE api_token SET revoked_at = $1 WHERE revoked_at IS NULL AND account IN
                (SELECT id FROM user_account WHERE organization = $2 AND subject IS NOT NULL)")
        .bind(now.as_millis())
        .bind(text(organization));
        self.note_change(Changed::Users(organization));
        let ended = self.end_access(sessions, tokens).await?;
        let query = sql("UPDATE user_account SET subject = NULL, changed_at = $1
             WHERE organization = $2 AND subject IS NOT NULL")
        .bind(now.as_millis())
        .bind(text(organization));
        self.run("unlinking accounts", query).await?;
        self.note_change(Changed::Users(organization));
        Ok(ended)
    }

    async fn drop_password(&mut self, user: &UserRecord, now: Timestamp) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET password = NULL, changed_at = $1
             WHERE id = $2 AND password IS NOT NULL AND (role <> 'owner' OR EXISTS (
                SELECT 1 FROM user_account o WHERE o.organization = $3 AND o.id <> $2 AND o.role = 'owner'
                    AND o.disabled_at IS NULL AND o.password IS NOT NULL))")
        .bind(now.as_millis())
        .bind(text(user.id))
        .bind(text(user.organization));
        self.run("taking a password away", query).await.map(drop)
    }

    async fn end_access(&mut self, sessions: Query, tokens: Query) -> Result<u64, StoreError> {
        let sessions = self.run("ending sessions", sessions).await?;
        let tokens = self.run("revoking API tokens", tokens).await?;
        Ok(sessions + tokens)
    }
}

fn read(cells: &Cells) -> Result<SingleSignOnAccount, StoreError> {
    Ok(SingleSignOnAccount {
        id: cells.get("id")?,
        name: cells.name("name")?,
        email: cells.get("email")?,
        role: cells.get("role")?,
        is_disabled: cells.maybe_time("disabled_at")?.is_some(),
    })
}

#[cfg(test)]
impl Tx {
    /// Adds a user who signs in with a password.
    pub(crate) async fn insert_password_account_for_test(
        &mut self,
        id: UserId,
        organization: OrganizationId,
        email: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO user_account (id, organization, name, email, role, password, created_at, changed_at)
             VALUES ($1, $2, 'Ada', $3, 'owner', '$argon2id$', $4, $4)",
        )
        .bind(text(id))
        .bind(text(organization))
        .bind(email.to_owned())
        .bind(at.as_millis());
        self.run("adding a test's account", query).await.map(drop)
    }

    /// Adds an open link for that user to sign in anew.
    pub(crate) async fn insert_invitation_for_test(
        &mut self,
        organization: OrganizationId,
        account: UserId,
        email: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO invitation (id, organization, account, email, role, hash, invited_by, created_at,
                expires_at)
             VALUES ($1, $2, $3, $4, 'owner', $5, 'Bo', $6, $7)",
        )
        .bind(text(InvitationId::from_random([4; 16])))
        .bind(text(organization))
        .bind(text(account))
        .bind(email.to_owned())
        .bind(vec![5_u8; 32])
        .bind(at.as_millis())
        .bind(at.as_millis() + 1_000_000);
        self.run("adding a test's invitation", query).await.map(drop)
    }
}
