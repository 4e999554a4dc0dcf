//! The lists of people: users by name, their organization's invitations and API tokens, and one user's sessions and
//! API tokens, each by when it was made.

use super::{Listing, made, named};
use crate::store::api_token::{self, ApiTokenRecord, select_tokens_of_users};
use crate::store::invitation::{self, InvitationRecord, select_invitations};
use crate::store::query::sql;
use crate::store::session::{self, SessionRecord};
use crate::store::tx::text;
use crate::store::user::{self, UserRecord, select_users, user_columns};
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::page::{List, Page, Paging};
use adit_core::domain::time::Timestamp;

const USERS: Listing<UserRecord> =
    Listing { list: List::Users, doing: "listing users", place: named, read: user::read };
const INVITATIONS: Listing<InvitationRecord> =
    Listing { list: List::Invitations, doing: "listing invitations", place: made, read: invitation::read };
const SESSIONS: Listing<SessionRecord> =
    Listing { list: List::Sessions, doing: "listing sessions", place: made, read: session::read };
const API_TOKENS: Listing<ApiTokenRecord> =
    Listing { list: List::ApiTokens, doing: "listing API tokens", place: made, read: api_token::read };
const TOKENS_OF_USERS: Listing<(ApiTokenRecord, UserRecord)> = Listing {
    list: List::ApiTokens,
    doing: "listing an organization's API tokens",
    place: made,
    read: api_token::read_with_user,
};

impl Tx {
    /// Lists the users of an organization, or of all.
    pub(crate) async fn list_users(
        &mut self,
        organization: Option<OrganizationId>,
        paging: &Paging,
    ) -> Result<Page<UserRecord>, StoreError> {
        let mut query = sql(select_users!("WHERE 1 = 1"));
        if let Some(organization) = organization {
            query = query.then(" AND u.organization = ").value(text(organization));
        }
        let query = query
            .after(List::Users, paging, " AND (lower(u.name), u.id) > ")?
            .then(" ORDER BY lower(u.name), u.id")
            .limit(paging);
        self.page(&USERS, paging, query).await
    }

    pub(crate) async fn list_invitations(
        &mut self,
        organization: OrganizationId,
        paging: &Paging,
    ) -> Result<Page<InvitationRecord>, StoreError> {
        let query = sql(select_invitations!("WHERE i.organization = "))
            .value(text(organization))
            .after(List::Invitations, paging, " AND (i.created_at, i.id) > ")?
            .then(" ORDER BY i.created_at, i.id")
            .limit(paging);
        self.page(&INVITATIONS, paging, query).await
    }

    /// Lists a user's sessions that are not over, and were used after `seen_after`.
    pub(crate) async fn list_sessions(
        &mut self,
        account: UserId,
        now: Timestamp,
        seen_after: Timestamp,
        paging: &Paging,
    ) -> Result<Page<SessionRecord>, StoreError> {
        let query = sql("SELECT s.* FROM user_session s WHERE s.account = ")
            .value(text(account))
            .then(" AND s.expires_at > ")
            .value(now.as_millis())
            .then(" AND s.seen_at > ")
            .value(seen_after.as_millis())
            .after(List::Sessions, paging, " AND (s.created_at, s.id) > ")?
            .then(" ORDER BY s.created_at, s.id")
            .limit(paging);
        self.page(&SESSIONS, paging, query).await
    }

    pub(crate) async fn list_api_tokens(
        &mut self,
        account: UserId,
        paging: &Paging,
    ) -> Result<Page<ApiTokenRecord>, StoreError> {
        let query = sql("SELECT t.* FROM api_token t WHERE t.account = ")
            .value(text(account))
            .after(List::ApiTokens, paging, " AND (t.created_at, t.id) > ")?
            .then(" ORDER BY t.created_at, t.id")
            .limit(paging);
        self.page(&API_TOKENS, paging, query).await
    }

    /// Lists the tokens of all of an organization's users, each with its user.
    pub(crate) async fn list_api_tokens_of(
        &mut self,
        organization: OrganizationId,
        paging: &Paging,
    ) -> Result<Page<(ApiTokenRecord, UserRecord)>, StoreError> {
        let query = sql(select_tokens_of_users!("WHERE u.organization = "))
            .value(text(organization))
            .after(List::ApiTokens, paging, " AND (t.created_at, t.id) > ")?
            .then(" ORDER BY t.created_at, t.id")
            .limit(paging);
        self.page(&TOKENS_OF_USERS, paging, query).await
    }
}
