//! Who may use the relay, and whom each may reach there: one statement for any number of servers.

use super::StoreError;
use super::query::sql;
use super::tx::{Tx, text};
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

/// The statement with the engine's own way to look into a list, which is given as JSON.
macro_rules! relayed {
    ($asked:literal) => {
        concat!(
            "SELECT s.id, s.route, s.organization, s.key, p.peer FROM server s LEFT JOIN (
                SELECT c.source_server AS server, t.route AS peer FROM connection c
                    JOIN server t ON t.id = c.target_server
                    WHERE c.status IN ('Active', 'Paused') AND c.source_server IN (",
            $asked,
            ")
                UNION SELECT c.target_server, o.route FROM connection c
                    JOIN server o ON o.id = c.source_server
                    WHERE c.status IN ('Active', 'Paused') AND c.target_server IN (",
            $asked,
            ")) p ON p.server = s.id
             WHERE s.key IS NOT NULL AND s.id IN (",
            $asked,
            ")"
        )
    };
}

const OF_SQLITE: &str = relayed!("SELECT value FROM json_each($1)");
const OF_POSTGRES: &str = relayed!("SELECT json_array_elements_text($1::json)");

impl Tx {
    /// Returns those of `servers` that have a key on file, each with the routes of its peers.
    pub(crate) async fn relayed_servers(
        &mut self,
        servers: &[ServerId],
    ) -> Result<Vec<RelayedRow>, StoreError> {
        let asked = servers.iter().map(text).collect::<serde_json::Value>().to_string();
        let statement = if self.is_postgres() { OF_POSTGRES } else { OF_SQLITE };
        self.all_readable("listing who is relayed", sql(statement).bind(asked), |cells| {
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
