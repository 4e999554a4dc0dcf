//! Who may use the relay, and whom each may reach there: one statement for any number of servers.

use super::StoreError;
use super::tx::{Tx, sql, text};
use adit_core::domain::id::{KeyFingerprint, OrganizationId, RouteId, ServerId};

/// A server with a key on file and one of its peers; one without peers has one row, without a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayedRow {
    pub server: ServerId,
    pub route: RouteId,
    pub organization: OrganizationId,
    pub key: KeyFingerprint,
    /// At the other end of a connection that is Active or Paused.
    pub peer: Option<RouteId>,
}

impl Tx {
    /// Returns those of `servers` that have a key on file, each with the routes of its peers.
    pub(crate) async fn relayed_servers(
        &mut self,
        servers: &[ServerId],
    ) -> Result<Vec<RelayedRow>, StoreError> {
        let asked = serde_json::Value::from_iter(servers.iter().map(text)).to_string();
        let query = sql("SELECT s.id, s.route, s.organization, s.key, p.peer FROM server s LEFT JOIN (
                SELECT c.source_server AS server, t.route AS peer FROM connection c
                    JOIN server t ON t.id = c.target_server
                    WHERE c.status IN ('Active', 'Paused')
                      AND c.source_server IN (SELECT value FROM json_each(?1))
                UNION SELECT c.target_server, o.route FROM connection c
                    JOIN server o ON o.id = c.source_server
                    WHERE c.status IN ('Active', 'Paused')
                      AND c.target_server IN (SELECT value FROM json_each(?1))) p ON p.server = s.id
             WHERE s.key IS NOT NULL AND s.id IN (SELECT value FROM json_each(?1))")
        .bind(asked);
        self.all("listing who is relayed", query, |cells| {
            Ok(RelayedRow {
                server: cells.get("id")?,
                route: cells.get("route")?,
                organization: cells.get("organization")?,
                key: cells.get("key")?,
                peer: cells.maybe("peer")?,
            })
        })
        .await
    }
}
