//! What hangs on an agreement, a channel or a server and has not ended, by its columns alone: so it is found and ended
//! also where it has words that this build cannot read.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::{Query, sql};
use super::tx::{Tx, text};
use adit_core::domain::id::{AgreementId, ChannelId, ConnectionId, GrantId, OrganizationId, ServerId};
use adit_core::domain::time::Timestamp;

/// What it is that everything ends with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    Agreement(AgreementId),
    Channel(ChannelId),
    Server(ServerId),
}

/// A connection, of which no more is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreadConnection {
    pub id: ConnectionId,
    grant: Option<GrantId>,
    pub parties: [OrganizationId; 2],
}

/// A grant, of which no more is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreadGrant {
    pub id: GrantId,
    pub parties: [OrganizationId; 2],
}

impl Tx {
    /// Returns the connections that have not ended, whatever they are.
    pub(crate) async fn open_connections(
        &mut self,
        cause: Cause,
    ) -> Result<Vec<UnreadConnection>, StoreError> {
        const CONNECTIONS: &str = "SELECT c.id, c.channel_grant, coalesce(s.organization, c.recipient) AS one, t.organization AS other
             FROM connection c LEFT JOIN server s ON s.id = c.source_server JOIN server t ON t.id = c.target_server
             WHERE c.status NOT IN ('Declined', 'Expired', 'Terminated') AND c.id IN (";
        let query = match cause {
            Cause::Agreement(id) => sql(CONNECTIONS)
                .then("SELECT k.id FROM channel_grant y JOIN connection k ON k.channel_grant = y.id WHERE y.agreement = ")
                .value(text(id))
                .then(" UNION SELECT k.id FROM connection k WHERE k.agreement = ")
                .value(text(id)),
            Cause::Channel(id) => sql(CONNECTIONS)
                .then("SELECT k.id FROM channel_grant y JOIN connection k ON k.channel_grant = y.id WHERE y.channel = ")
                .value(text(id)),
            Cause::Server(id) => sql(CONNECTIONS)
                .then("SELECT k.id FROM connection k WHERE k.source_server = ")
                .value(text(id))
                .then(" UNION SELECT k.id FROM connection k WHERE k.target_server = ")
                .value(text(id)),
        };
        let read = |cells: &Cells| {
            Ok(UnreadConnection {
                id: cells.get("id")?,
                grant: cells.maybe("channel_grant")?,
                parties: parties(cells)?,
            })
        };
        self.all("listing what has not ended", query.then(") ORDER BY c.id"), read).await
    }

    /// Returns the grants that are neither decided nor ended, whatever they are.
    pub(crate) async fn open_grants(&mut self, cause: Cause) -> Result<Vec<UnreadGrant>, StoreError> {
        const GRANTS: &str = "SELECT g.id, g.holder AS one, s.organization AS other FROM channel_grant g
             JOIN channel h ON h.id = g.channel JOIN server s ON s.id = h.server
             WHERE g.status NOT IN ('approved', 'denied', 'revoked', 'relinquished') AND ";
        let query = match cause {
            Cause::Agreement(id) => sql(GRANTS).then("g.agreement = ").value(text(id)),
            Cause::Channel(id) => sql(GRANTS).then("g.channel = ").value(text(id)),
            Cause::Server(id) => on_server(sql(GRANTS), id),
        };
        let read = |cells: &Cells| Ok(UnreadGrant { id: cells.get("id")?, parties: parties(cells)? });
        self.all("listing what is not decided", query.then(" ORDER BY g.id"), read).await
    }

    /// Ends a connection without reading it, with its grant and its secret. Its names are kept, as of any that ended.
    pub(crate) async fn void_connection(
        &mut self,
        unread: &UnreadConnection,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql(
            "UPDATE connection SET status = 'Terminated', held_by = NULL, held_for_tier = $1, failure = NULL,
                changed_at = $2, cut_epoch = cut_epoch + 1,
                source_last_name = (SELECT s.name FROM server s WHERE s.id = connection.source_server),
                target_last_name = (SELECT t.name FROM server t WHERE t.id = connection.target_server),
                channel_last_name = (SELECT coalesce(h.last_name, h.name) FROM channel_grant g
                    JOIN channel h ON h.id = g.channel WHERE g.id = connection.channel_grant)
             WHERE id = $3",
        )
        .bind(false)
        .bind(at.as_millis())
        .bind(text(unread.id));
        self.run("ending a connection", query).await?;
        self.delete_sealed(unread.id).await?;
        self.note_change(Changed::Connection(unread.id));
        match unread.grant {
            Some(grant) => self.decide_grant(grant, super::GrantStatus::Revoked, None, at).await,
            None => Ok(()),
        }
    }
}

fn on_server(query: Query, server: ServerId) -> Query {
    query
        .then("(g.source_server = ")
        .value(text(server))
        .then(" OR h.server = ")
        .value(text(server))
        .then(")")
}

fn parties(cells: &Cells) -> Result<[OrganizationId; 2], StoreError> {
    Ok([cells.get("one")?, cells.get("other")?])
}
