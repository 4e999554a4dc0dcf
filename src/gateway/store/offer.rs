//! What only admin connections have: an offer with its recipient and its end, a source named at
//! acceptance, a hold for the tier's sake.

use super::StoreError;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::access::Access;
use adit_core::domain::id::{AgreementId, ConnectionId, OrganizationId, ServerId};
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone)]
pub(crate) struct NewOffer {
    pub id: ConnectionId,
    pub access: Access,
    pub agreement: AgreementId,
    pub recipient: OrganizationId,
    pub target: ServerId,
    pub status: Status,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

impl Tx {
    /// Inserts the row. Its secret belongs to it: insert that in the same transaction.
    pub(crate) async fn insert_offer(&mut self, new: &NewOffer) -> Result<(), StoreError> {
        let query = sql("INSERT INTO connection
                (id, kind, agreement, recipient, target_server, status, expires_at, created_at, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)")
        .bind(text(new.id))
        .bind(new.access.kind().as_str())
        .bind(text(new.agreement))
        .bind(text(new.recipient))
        .bind(text(new.target))
        .bind(new.status.as_str())
        .bind(new.expires_at.as_millis())
        .bind(new.created_at.as_millis());
        self.run("making an offer", query).await?;
        self.note_change(Changed::Connection(new.id));
        Ok(())
    }

    /// Sets the recipient's server that will carry the sessions.
    pub(crate) async fn set_source(&mut self, id: ConnectionId, source: ServerId) -> Result<(), StoreError> {
        let query =
            sql("UPDATE connection SET source_server = $1 WHERE id = $2").bind(text(source)).bind(text(id));
        self.run("naming an admin connection's source", query).await?;
        self.note_change(Changed::Connection(id));
        Ok(())
    }

    /// Returns a batch of the open offers whose time was over at `now`, those after the id `after`.
    pub(crate) async fn expired_offers(
        &mut self,
        now: Timestamp,
        after: Option<ConnectionId>,
        count: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query = sql("SELECT id FROM connection WHERE status = 'Offered' AND expires_at <= $1 AND id > $2
             ORDER BY id LIMIT $3")
        .bind(now.as_millis())
        .bind(after.map(text).unwrap_or_default())
        .bind(i64::from(count));
        self.all("looking for expired offers", query, |cells| cells.get("id")).await
    }

    /// Sets whether the target's hold, which is there, is the downgrade's or its owner's own.
    pub(crate) async fn set_held_for_tier(&mut self, id: ConnectionId, held: bool) -> Result<(), StoreError> {
        let query = sql("UPDATE connection SET held_for_tier = $1 WHERE id = $2").bind(held).bind(text(id));
        self.run("holding a connection for its owner's tier", query).await?;
        self.note_change(Changed::Connection(id));
        Ok(())
    }
}
