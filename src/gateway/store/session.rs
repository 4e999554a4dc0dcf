//! Sessions of browsers: who is signed in, known by the hash of the cookie.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{ROWS_OF_STATEMENT, Tx, text};
use super::user::{self, UserRecord, user_columns};
use adit_core::domain::id::{OrganizationId, SessionId, UserId};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub id: SessionId,
    pub account: UserId,
    /// Whether all factors were shown.
    pub is_whole: bool,
    pub created_at: Timestamp,
    /// About when it was used last.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: String,
    pub agent: String,
}

#[derive(Debug, Clone)]
pub(crate) struct NewUserSession {
    pub record: SessionRecord,
    pub hash: [u8; 32],
}

impl Tx {
    pub(crate) async fn insert_session(&mut self, new: &NewUserSession) -> Result<(), StoreError> {
        let session = &new.record;
        let query = sql("INSERT INTO user_session
                (id, account, hash, is_whole, created_at, seen_at, expires_at, address, agent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(text(session.id))
        .bind(text(session.account))
        .bind(new.hash.to_vec())
        .bind(session.is_whole)
        .bind(session.created_at.as_millis())
        .bind(session.seen_at.as_millis())
        .bind(session.expires_at.as_millis())
        .bind(session.address.clone())
        .bind(session.agent.clone());
        self.run("signing a user in", query).await.map(drop)
    }

    /// Returns a session with its user, by the hash of its cookie.
    pub(crate) async fn session_by_hash(
        &mut self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let query = sql(concat!(
            "SELECT s.*, ",
            user_columns!(),
            " FROM user_session s JOIN user_account u ON u.id = s.account
             JOIN organization o ON o.id = u.organization WHERE s.hash = $1"
        ))
        .bind(hash.to_vec());
        self.one("looking a session up", query, |cells| Ok((read(cells)?, user::read(cells)?))).await
    }

    pub(crate) async fn user_session(&mut self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let query = sql("SELECT s.* FROM user_session s WHERE s.id = $1").bind(text(id));
        self.one("looking a session up", query, read).await
    }

    /// Notes when sessions were used last, where nothing later is written. None that has ended comes back.
    pub(crate) async fn touch_sessions(&mut self, uses: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        for uses in uses.chunks(ROWS_OF_STATEMENT) {
            let query = sql("UPDATE user_session SET seen_at = used.column2 FROM (VALUES ")
                .pairs(uses.iter().map(|(id, at)| (text(id), at.as_millis())))
                .then(
                    ") AS used WHERE user_session.id = used.column1 AND user_session.seen_at < used.column2",
                );
            self.run("noting when sessions were used", query).await?;
        }
        Ok(())
    }

    /// Ends a session of a user of the organization; returns whether there was one.
    pub(crate) async fn delete_session(
        &mut self,
        id: SessionId,
        organization: OrganizationId,
    ) -> Result<bool, StoreError> {
        self.note_change(Changed::Users(organization));
        let query = sql("DELETE FROM user_session WHERE id = $1").bind(text(id));
        Ok(self.run("ending a session", query).await? > 0)
    }

    /// Ends a user's sessions, but for one; returns how many.
    pub(crate) async fn delete_sessions_of(
        &mut self,
        user: &UserRecord,
        but: Option<SessionId>,
    ) -> Result<u64, StoreError> {
        self.note_change(Changed::Users(user.organization));
        let query = sql("DELETE FROM user_session WHERE account = ").value(text(user.id));
        let query = match but {
            Some(kept) => query.then(" AND id <> ").value(text(kept)),
            None => query,
        };
        self.run("ending a user's sessions", query).await
    }

    /// Ends all but the newest `kept` sessions of a user.
    pub(crate) async fn delete_oldest_sessions(
        &mut self,
        account: UserId,
        kept: u32,
        is_whole: bool,
    ) -> Result<(), StoreError> {
        let query = sql("DELETE FROM user_session WHERE account = $1 AND is_whole = $3 AND id NOT IN
                (SELECT id FROM user_session WHERE account = $1 AND is_whole = $3
                    ORDER BY created_at DESC, id LIMIT $2)")
        .bind(text(account))
        .bind(i64::from(kept))
        .bind(is_whole);
        self.run("ending a user's oldest sessions", query).await.map(drop)
    }

    /// Forgets sessions whose time is over, or that nobody has used since `seen_before`; returns how many.
    pub(crate) async fn forget_sessions(
        &mut self,
        now: Timestamp,
        seen_before: Timestamp,
    ) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM user_session WHERE expires_at <= $1 OR seen_at <= $2")
            .bind(now.as_millis())
            .bind(seen_before.as_millis());
        self.run("forgetting old sessions", query).await
    }
}

pub(super) fn read(cells: &Cells) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: cells.get("id")?,
        account: cells.get("account")?,
        is_whole: cells.flag("is_whole")?,
        created_at: cells.time("created_at")?,
        seen_at: cells.time("seen_at")?,
        expires_at: cells.time("expires_at")?,
        address: cells.string("address")?,
        agent: cells.string("agent")?,
    })
}
