//! Which gateway serves a server's control link, and which gateways live. Measurements, which wake nobody.

use super::StoreError;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{GatewayId, ServerId};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::text::Software;

/// A control link that came up or went down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewLink<'l> {
    pub gateway: GatewayId,
    pub is_up: bool,
    pub at: Timestamp,
    /// The build of the agent, where it has told; else what was known stays.
    pub software: Option<&'l Software>,
}

impl Tx {
    /// Notes a link that came up at a gateway, or that went down there, perhaps before it was written that it
    /// had come up: of a link that another gateway serves by now this one's word counts no more. Returns
    /// whether anything changed.
    pub(crate) async fn set_link(
        &mut self,
        server: ServerId,
        link: &NewLink<'_>,
    ) -> Result<bool, StoreError> {
        const DOING: &str = "noting a control link";
        let query = if link.is_up {
            sql("INSERT INTO server_link (server, gateway, is_up, since, software) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (server) DO UPDATE SET gateway = excluded.gateway, is_up = excluded.is_up,
                    since = CASE WHEN server_link.is_up = excluded.is_up AND server_link.gateway = excluded.gateway
                        THEN server_link.since ELSE excluded.since END,
                    software = coalesce(excluded.software, server_link.software)")
        } else {
            sql("INSERT INTO server_link (server, gateway, is_up, since, software) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (server) DO UPDATE SET is_up = excluded.is_up,
                    since = CASE WHEN server_link.is_up = excluded.is_up THEN server_link.since ELSE excluded.since END,
                    software = coalesce(excluded.software, server_link.software)
                    WHERE server_link.gateway = excluded.gateway
                        AND (server_link.is_up <> excluded.is_up OR excluded.software IS NOT NULL)")
        };
        let query =
            query.bind(text(server)).bind(text(link.gateway)).bind(link.is_up).bind(link.at.as_millis());
        Ok(self.run(DOING, query.bind(link.software.map(text))).await? > 0)
    }

    /// Marks the links of a gateway as down: it starts and has none.
    pub(crate) async fn own_links_down(
        &mut self,
        gateway: GatewayId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE server_link SET is_up = $3, since = $2 WHERE gateway = $1 AND is_up <> $3")
            .bind(text(gateway))
            .bind(at.as_millis())
            .bind(false);
        self.run("noting that no control link is up", query).await.map(drop)
    }

    /// Notes that a gateway has stopped: nothing of what it said counts any more, and nobody waits for it.
    pub(crate) async fn end_lease(&mut self, gateway: GatewayId) -> Result<(), StoreError> {
        let query = sql("DELETE FROM gateway_lease WHERE gateway = $1").bind(text(gateway));
        self.run("ending the gateway's lease", query).await.map(drop)
    }

    /// Notes that a gateway lives and will say so again before `until`.
    pub(crate) async fn renew_lease(
        &mut self,
        gateway: GatewayId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO gateway_lease (gateway, until) VALUES ($1, $2)
             ON CONFLICT (gateway) DO UPDATE SET until = excluded.until")
        .bind(text(gateway))
        .bind(until.as_millis());
        self.run("renewing the gateway's lease", query).await.map(drop)
    }
}
