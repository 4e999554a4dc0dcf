//! Whom it concerns that an agent is reached, or is not any more.

use std::collections::BTreeSet;

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};

/// Whom it concerns that something is reached, or is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReachedRow {
    pub organization: OrganizationId,
    /// The organization's own.
    pub server: Option<ServerId>,
    pub connection: Option<ConnectionId>,
}

impl Tx {
    /// Returns each server with its owner, and each end of the connections, and of the servers' connections that have
    /// not ended, with its own.
    pub(crate) async fn reached_by(
        &mut self,
        servers: &BTreeSet<ServerId>,
        connections: &BTreeSet<ConnectionId>,
    ) -> Result<Vec<ReachedRow>, StoreError> {
        const DOING: &str = "asking whom a link concerns";
        let mut rows = Vec::new();
        if !servers.is_empty() {
            let own = sql(
                "SELECT s.organization, s.id AS server, NULL AS connection FROM server s WHERE s.id IN (",
            )
            .list(servers.iter().map(text))
            .then(")");
            rows = self.all(DOING, own, read).await?;
            let theirs = sql(ENDS)
                .then("(c.source_server IN (")
                .list(servers.iter().map(text))
                .then(") OR c.target_server IN (")
                .list(servers.iter().map(text))
                .then(")) AND c.status NOT IN ('Declined', 'Expired', 'Terminated')");
            rows.extend(self.all(DOING, theirs, read).await?);
        }
        if !connections.is_empty() {
            let ends = sql(ENDS).then("c.id IN (").list(connections.iter().map(text)).then(")");
            rows.extend(self.all(DOING, ends, read).await?);
        }
        Ok(rows)
    }
}

const ENDS: &str = "SELECT s.organization, s.id AS server, c.id AS connection FROM connection c
     JOIN server s ON s.id = c.source_server OR s.id = c.target_server WHERE ";

fn read(cells: &Cells) -> Result<ReachedRow, StoreError> {
    Ok(ReachedRow {
        organization: cells.get("organization")?,
        server: cells.maybe("server")?,
        connection: cells.maybe("connection")?,
    })
}
