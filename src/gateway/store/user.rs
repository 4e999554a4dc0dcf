//! Users: who acts for an organization, what their passwords and second factors are known again by, and the codes
//! for when there is none at hand. No password, seed or code is here in the clear.

use std::fmt;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::email::Email;
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::limits::DEVICES_KNOWN_MAX;
use adit_core::domain::name::Name;
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

/// A PHC string: argon2id with its parameters, salt and hash. Not printed: it can be tried against guesses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(pub(crate) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// What was sealed with the platform's key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed(pub(crate) Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRecord {
    pub id: UserId,
    pub organization: OrganizationId,
    pub organization_name: Name,
    /// Whether the organization's users with a password need a second factor.
    pub needs_second_factor: bool,
    pub name: Name,
    pub email: Email,
    pub role: UserRole,
    pub password: Option<PasswordHash>,
    /// Who it is at the organization's identity provider.
    pub subject: Option<String>,
    /// The second factor's seed.
    pub totp: Option<Sealed>,
    /// Since when it is asked for; none while it is being set up.
    pub totp_since: Option<Timestamp>,
    /// Of the code that was used last.
    pub totp_step: Option<i64>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    pub signed_in_at: Option<Timestamp>,
    /// How many browsers were given something to be known by; they are numbered from 1.
    pub devices_made: i64,
    /// The last of those that are known no more.
    pub devices_void: i64,
}

impl UserRecord {
    /// Returns whether a browser is still known by its number: the newest are, of those that nothing has voided.
    pub(crate) const fn knows_device(&self, number: i64) -> bool {
        number > self.devices_void
            && number <= self.devices_made
            && self.devices_made.saturating_sub(number) < DEVICES_KNOWN_MAX
    }

    /// Returns how its own organization's log names it.
    pub(crate) fn called(&self) -> String {
        format!("{} <{}>", self.name, self.email)
    }

    /// Returns whether a code is asked for after the password.
    pub(crate) const fn has_second_factor(&self) -> bool {
        self.totp_since.is_some()
    }

    /// Returns whether it may do nothing before it has set up a second factor.
    pub(crate) const fn lacks_second_factor(&self) -> bool {
        self.needs_second_factor && self.password.is_some() && !self.has_second_factor()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct NewUser {
    pub id: UserId,
    pub organization: OrganizationId,
    pub name: Name,
    pub email: Email,
    pub role: UserRole,
    pub password: Option<PasswordHash>,
    pub subject: Option<String>,
    pub created_at: Timestamp,
}

/// Every column of a user, each under a name of its own so that other tables' can stand beside it.
macro_rules! user_columns {
    () => {
        "u.id AS user_id, u.organization AS user_organization, o.name AS organization_name,
         o.needs_second_factor, u.name AS user_name, u.email, u.role AS user_role, u.password, u.subject,
         u.totp_sealed, u.totp_since, u.totp_step, u.created_at AS user_created_at, u.changed_at, u.disabled_at,
         u.signed_in_at, u.devices_made, u.devices_void"
    };
}
pub(super) use user_columns;

macro_rules! select_users {
    ($which:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            ", u.id, u.name FROM user_account u JOIN organization o ON o.id = u.organization ",
            $which
        )
    };
}
pub(super) use select_users;

const LOOKING: &str = "looking a user up";

impl Tx {
    pub(crate) async fn insert_user(&mut self, new: &NewUser) -> Result<(), StoreError> {
        let query = sql("INSERT INTO user_account
                (id, organization, name, email, role, password, subject, created_at, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)")
        .bind(text(new.id))
        .bind(text(new.organization))
        .bind(text(&new.name))
        .bind(text(&new.email))
        .bind(new.role.as_str())
        .bind(new.password.as_ref().map(|hash| hash.0.clone()))
        .bind(new.subject.clone())
        .bind(new.created_at.as_millis());
        self.run("adding a user", query).await?;
        self.note_change(Changed::Users(new.organization));
        Ok(())
    }

    pub(crate) async fn user(&mut self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        let query = sql(select_users!("WHERE u.id = $1")).bind(text(id));
        self.one(LOOKING, query, read).await
    }

    pub(crate) async fn user_by_email(
        &mut self,
        organization: OrganizationId,
        email: &Email,
    ) -> Result<Option<UserRecord>, StoreError> {
        let query = sql(select_users!("WHERE u.organization = $1 AND u.email = $2"))
            .bind(text(organization))
            .bind(text(email));
        self.one(LOOKING, query, read).await
    }

    /// Looks a user up by what is typed to sign in.
    pub(crate) async fn user_signing_in(
        &mut self,
        organization: &str,
        email: &Email,
    ) -> Result<Option<UserRecord>, StoreError> {
        let query = sql(select_users!("WHERE lower(o.name) = lower($1) AND u.email = $2"))
            .bind(organization.to_owned())
            .bind(text(email));
        self.one(LOOKING, query, read).await
    }

    /// Counts the owners of an organization that are not disabled and have a way to sign in: a password, or a
    /// provider that makes owners.
    pub(crate) async fn owners_who_can_sign_in(
        &mut self,
        organization: OrganizationId,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM user_account u
                LEFT JOIN identity_provider p ON p.organization = u.organization
             WHERE u.organization = $1 AND u.role = 'owner' AND u.disabled_at IS NULL
                AND (u.password IS NOT NULL OR (u.subject IS NOT NULL AND p.owner_value IS NOT NULL))")
        .bind(text(organization));
        self.count("counting owners", query).await
    }

    /// Counts those of them who need no identity provider for it.
    pub(crate) async fn owners_with_password(
        &mut self,
        organization: OrganizationId,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM user_account
             WHERE organization = $1 AND role = 'owner' AND disabled_at IS NULL AND password IS NOT NULL")
        .bind(text(organization));
        self.count("counting owners with a password", query).await
    }

    pub(crate) async fn set_user_role(
        &mut self,
        user: &UserRecord,
        role: UserRole,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET role = $1, changed_at = $2 WHERE id = $3")
            .bind(role.as_str())
            .bind(at.as_millis())
            .bind(text(user.id));
        self.run("changing a role", query).await?;
        self.note_change(Changed::Users(user.organization));
        Ok(())
    }

    /// Disables a user since `disabled_at`, or enables one.
    pub(crate) async fn set_user_disabled(
        &mut self,
        user: &UserRecord,
        disabled_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET disabled_at = $1, changed_at = $2 WHERE id = $3")
            .bind(disabled_at.map(Timestamp::as_millis))
            .bind(at.as_millis())
            .bind(text(user.id));
        self.run("disabling or enabling a user", query).await?;
        self.note_change(Changed::Users(user.organization));
        Ok(())
    }

    pub(crate) async fn set_password(
        &mut self,
        id: UserId,
        hash: &PasswordHash,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET password = $1, changed_at = $2 WHERE id = $3")
            .bind(hash.0.clone())
            .bind(at.as_millis())
            .bind(text(id));
        self.run("setting a password", query).await.map(drop)
    }

    /// Notes a sign-in, and how many browsers were given something to be known by.
    pub(crate) async fn set_signed_in(
        &mut self,
        user: &UserRecord,
        devices_made: i64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET signed_in_at = $1, devices_made = $2 WHERE id = $3")
            .bind(at.as_millis())
            .bind(devices_made)
            .bind(text(user.id));
        self.run("noting a sign-in", query).await?;
        self.note_change(Changed::Users(user.organization));
        Ok(())
    }

    /// Has no browser be known to the account any more.
    pub(crate) async fn void_devices(&mut self, id: UserId) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET devices_void = devices_made WHERE id = $1").bind(text(id));
        self.run("forgetting a user's browsers", query).await.map(drop)
    }

    /// Keeps a seed that is being set up, in place of any other.
    pub(crate) async fn put_totp(&mut self, id: UserId, seed: &Sealed) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET totp_sealed = $1, totp_since = NULL, totp_step = NULL
             WHERE id = $2")
        .bind(seed.0.clone())
        .bind(text(id));
        self.run("setting a second factor up", query).await.map(drop)
    }

    /// Asks for a code from now on.
    pub(crate) async fn start_totp(&mut self, user: &UserRecord, at: Timestamp) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET totp_since = $1, changed_at = $1 WHERE id = $2")
            .bind(at.as_millis())
            .bind(text(user.id));
        self.run("starting a second factor", query).await?;
        self.note_change(Changed::Users(user.organization));
        Ok(())
    }

    /// Notes the step of a code that was used: it and earlier ones count no more.
    pub(crate) async fn set_totp_step(&mut self, id: UserId, step: i64) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET totp_step = $1 WHERE id = $2").bind(step).bind(text(id));
        self.run("noting a code", query).await.map(drop)
    }

    /// Forgets the second factor with its recovery codes.
    pub(crate) async fn drop_totp(&mut self, user: &UserRecord, at: Timestamp) -> Result<(), StoreError> {
        let query = sql("UPDATE user_account SET totp_sealed = NULL, totp_since = NULL, totp_step = NULL,
                changed_at = $1 WHERE id = $2")
        .bind(at.as_millis())
        .bind(text(user.id));
        self.run("forgetting a second factor", query).await?;
        self.put_recovery_codes(user.id, &[]).await?;
        self.note_change(Changed::Users(user.organization));
        Ok(())
    }

    /// Replaces a user's recovery codes.
    pub(crate) async fn put_recovery_codes(
        &mut self,
        id: UserId,
        hashes: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        const DOING: &str = "writing recovery codes";
        self.run(DOING, sql("DELETE FROM recovery_code WHERE account = $1").bind(text(id))).await?;
        for hash in hashes {
            let query = sql("INSERT INTO recovery_code (account, hash) VALUES ($1, $2)")
                .bind(text(id))
                .bind(hash.to_vec());
            self.run(DOING, query).await?;
        }
        Ok(())
    }

    /// Uses a recovery code up; returns whether there was one.
    pub(crate) async fn use_recovery_code(
        &mut self,
        id: UserId,
        hash: &[u8; 32],
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let query = sql("UPDATE recovery_code SET used_at = $1 WHERE account = $2 AND hash = $3
             AND used_at IS NULL")
        .bind(at.as_millis())
        .bind(text(id))
        .bind(hash.to_vec());
        Ok(self.run("using a recovery code", query).await? > 0)
    }

    pub(crate) async fn recovery_codes_left(&mut self, id: UserId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM recovery_code WHERE account = $1 AND used_at IS NULL")
            .bind(text(id));
        self.count("counting recovery codes", query).await
    }

    /// Sets whether an organization's users need a second factor.
    pub(crate) async fn set_second_factor_rule(
        &mut self,
        organization: OrganizationId,
        is_needed: bool,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE organization SET needs_second_factor = $1 WHERE id = $2")
            .bind(is_needed)
            .bind(text(organization));
        self.run("setting the rule of second factors", query).await?;
        self.note_change(Changed::Users(organization));
        Ok(())
    }

    /// Returns whether there is any organization.
    pub(crate) async fn has_organizations(&mut self) -> Result<bool, StoreError> {
        let query = sql("SELECT id FROM organization LIMIT 1");
        let found = self.rows("looking for organizations", query).await?;
        Ok(!found.is_empty())
    }
}

pub(super) fn read(cells: &Cells) -> Result<UserRecord, StoreError> {
    Ok(UserRecord {
        id: cells.get("user_id")?,
        organization: cells.get("user_organization")?,
        organization_name: cells.name("organization_name")?,
        needs_second_factor: cells.flag("needs_second_factor")?,
        name: cells.name("user_name")?,
        email: cells.get("email")?,
        role: cells.get("user_role")?,
        password: cells.maybe::<String>("password")?.map(PasswordHash),
        subject: cells.maybe("subject")?,
        totp: cells.maybe_blob("totp_sealed")?.map(Sealed),
        totp_since: cells.maybe_time("totp_since")?,
        totp_step: cells.maybe_serial("totp_step")?,
        created_at: cells.time("user_created_at")?,
        changed_at: cells.time("changed_at")?,
        disabled_at: cells.maybe_time("disabled_at")?,
        signed_in_at: cells.maybe_time("signed_in_at")?,
        devices_made: cells.serial("devices_made")?,
        devices_void: cells.serial("devices_void")?,
    })
}
