//! API tokens: what programs of a user show, known by its hash.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{ROWS_OF_STATEMENT, Tx, text};
use super::user::{self, UserRecord, user_columns};
use adit_core::domain::id::{ApiTokenId, OrganizationId, UserId};
use adit_core::domain::name::Name;
use adit_core::domain::role::UserRole;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiTokenRecord {
    pub id: ApiTokenId,
    pub account: UserId,
    pub name: Name,
    /// At most this one.
    pub role: UserRole,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Last, about.
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl ApiTokenRecord {
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// Every column of a token and of its user.
macro_rules! select_tokens_of_users {
    ($which:literal) => {
        concat!(
            "SELECT t.*, ",
            user_columns!(),
            " FROM api_token t JOIN user_account u ON u.id = t.account
             JOIN organization o ON o.id = u.organization ",
            $which
        )
    };
}
pub(super) use select_tokens_of_users;

const LOOKING: &str = "looking an API token up";

impl Tx {
    pub(crate) async fn insert_api_token(
        &mut self,
        token: &ApiTokenRecord,
        hash: &[u8; 32],
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO api_token (id, account, name, hash, role, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(text(token.id))
        .bind(text(token.account))
        .bind(text(&token.name))
        .bind(hash.to_vec())
        .bind(token.role.as_str())
        .bind(token.created_at.as_millis())
        .bind(token.expires_at.as_millis());
        self.run("issuing an API token", query).await.map(drop)
    }

    /// Returns a token with its user, by its hash.
    pub(crate) async fn api_token_by_hash(
        &mut self,
        hash: &[u8; 32],
    ) -> Result<Option<(ApiTokenRecord, UserRecord)>, StoreError> {
        let query = sql(select_tokens_of_users!("WHERE t.hash = $1")).bind(hash.to_vec());
        self.one(LOOKING, query, read_with_user).await
    }

    /// Returns a token with its user, by its id.
    pub(crate) async fn api_token_with_user(
        &mut self,
        id: ApiTokenId,
    ) -> Result<Option<(ApiTokenRecord, UserRecord)>, StoreError> {
        let query = sql(select_tokens_of_users!("WHERE t.id = $1")).bind(text(id));
        self.one(LOOKING, query, read_with_user).await
    }

    pub(crate) async fn api_token(&mut self, id: ApiTokenId) -> Result<Option<ApiTokenRecord>, StoreError> {
        let query = sql("SELECT t.* FROM api_token t WHERE t.id = $1").bind(text(id));
        self.one(LOOKING, query, read).await
    }

    /// Notes when API tokens were used last, where nothing later is written.
    pub(crate) async fn touch_api_tokens(
        &mut self,
        uses: &[(ApiTokenId, Timestamp)],
    ) -> Result<(), StoreError> {
        for uses in uses.chunks(ROWS_OF_STATEMENT) {
            let query = sql("UPDATE api_token SET used_at = used.column2 FROM (VALUES ")
                .pairs(uses.iter().map(|(id, at)| (text(id), at.as_millis())))
                .then(") AS used WHERE api_token.id = used.column1")
                .then(" AND (api_token.used_at IS NULL OR api_token.used_at < used.column2)");
            self.run("noting when API tokens were used", query).await?;
        }
        Ok(())
    }

    pub(crate) async fn revoke_api_token(
        &mut self,
        id: ApiTokenId,
        organization: OrganizationId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.note_change(Changed::Users(organization));
        let query = sql("UPDATE api_token SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
            .bind(at.as_millis())
            .bind(text(id));
        self.run("revoking an API token", query).await.map(drop)
    }

    /// Revokes all of a user's tokens; returns how many were good.
    pub(crate) async fn revoke_api_tokens_of(
        &mut self,
        user: &UserRecord,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.note_change(Changed::Users(user.organization));
        let query = sql("UPDATE api_token SET revoked_at = $1
             WHERE account = $2 AND revoked_at IS NULL AND expires_at > $1")
        .bind(at.as_millis())
        .bind(text(user.id));
        self.run("revoking a user's API tokens", query).await
    }

    pub(crate) async fn good_api_tokens(
        &mut self,
        account: UserId,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM api_token
             WHERE account = $1 AND revoked_at IS NULL AND expires_at > $2")
        .bind(text(account))
        .bind(now.as_millis());
        self.count("counting API tokens", query).await
    }

    /// Forgets tokens that ended before `before`; returns how many.
    pub(crate) async fn forget_api_tokens(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let query =
            sql("DELETE FROM api_token WHERE expires_at < $1 OR revoked_at < $1").bind(before.as_millis());
        self.run("forgetting old API tokens", query).await
    }
}

pub(super) fn read(cells: &Cells) -> Result<ApiTokenRecord, StoreError> {
    Ok(ApiTokenRecord {
        id: cells.get("id")?,
        account: cells.get("account")?,
        name: cells.name("name")?,
        role: cells.get("role")?,
        created_at: cells.time("created_at")?,
        expires_at: cells.time("expires_at")?,
        used_at: cells.maybe_time("used_at")?,
        revoked_at: cells.maybe_time("revoked_at")?,
    })
}

pub(super) fn read_with_user(cells: &Cells) -> Result<(ApiTokenRecord, UserRecord), StoreError> {
    Ok((read(cells)?, user::read(cells)?))
}
