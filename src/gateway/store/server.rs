//! Servers, their keys and control links.

use super::StoreError;
use super::tx::{Cells, Tx, sql, text};
use adit_core::domain::connectivity::Timed;
use adit_core::domain::id::{GatewayId, KeyFingerprint, OrganizationId, RouteId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerRecord {
    pub id: ServerId,
    pub organization: OrganizationId,
    pub organization_name: Name,
    pub name: Name,
    pub description: Description,
    pub version: String,
    pub route: RouteId,
    /// On file: a leaf over it opens a control link.
    pub key: Option<KeyFingerprint>,
    pub enrolled_at: Option<Timestamp>,
    pub link: Option<Timed<bool>>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct NewServer {
    pub id: ServerId,
    pub organization: OrganizationId,
    pub name: Name,
    pub description: Description,
    pub version: String,
    pub route: RouteId,
    pub created_at: Timestamp,
}

impl Tx {
    pub(crate) async fn insert_server(&mut self, new: &NewServer) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO server (id, organization, name, description, version, route, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(text(new.id))
            .bind(text(new.organization))
            .bind(text(&new.name))
            .bind(text(&new.description))
            .bind(new.version.clone())
            .bind(text(new.route))
            .bind(new.created_at.as_millis());
        self.run("adding a server", query).await.map(drop)
    }

    pub(crate) async fn server(&mut self, id: ServerId) -> Result<Option<ServerRecord>, StoreError> {
        let query = sql("SELECT s.*, o.name AS organization_name FROM server s
             JOIN organization o ON o.id = s.organization WHERE s.id = ?")
        .bind(text(id));
        self.one("looking a server up", query, read).await
    }

    pub(crate) async fn servers(&mut self) -> Result<Vec<ServerRecord>, StoreError> {
        let query = sql("SELECT s.*, o.name AS organization_name FROM server s
             JOIN organization o ON o.id = s.organization ORDER BY o.name, s.name");
        self.all("listing servers", query, read).await
    }

    pub(crate) async fn server_with_key(
        &mut self,
        key: KeyFingerprint,
    ) -> Result<Option<ServerId>, StoreError> {
        let query = sql("SELECT id FROM server WHERE key = ?").bind(text(key));
        self.one("looking a key up", query, |cells| cells.get("id")).await
    }

    pub(crate) async fn count_servers(&mut self, organization: OrganizationId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM server WHERE organization = ?").bind(text(organization));
        self.count("counting servers", query).await
    }

    pub(crate) async fn describe_server(
        &mut self,
        id: ServerId,
        name: &Name,
        description: &Description,
        version: &str,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE server SET name = ?, description = ?, version = ? WHERE id = ?")
            .bind(text(name))
            .bind(text(description))
            .bind(version.to_owned())
            .bind(text(id));
        self.run("changing a server", query).await.map(drop)
    }

    /// Puts a key on file, or takes it off with `None`.
    pub(crate) async fn set_key(
        &mut self,
        id: ServerId,
        key: Option<KeyFingerprint>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE server SET key = ?1, enrolled_at = CASE WHEN ?1 IS NULL THEN enrolled_at ELSE ?2 END
             WHERE id = ?3")
            .bind(key.map(text))
            .bind(at.as_millis())
            .bind(text(id));
        self.run("changing a server's key", query).await.map(drop)
    }

    pub(crate) async fn revoke_key(
        &mut self,
        key: KeyFingerprint,
        server: ServerId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO revoked_key (key, server, revoked_at) VALUES (?, ?, ?)")
            .bind(text(key))
            .bind(text(server))
            .bind(at.as_millis());
        self.run("revoking a key", query).await.map(drop)
    }

    pub(crate) async fn is_revoked(&mut self, key: KeyFingerprint) -> Result<bool, StoreError> {
        let query = sql("SELECT count(*) AS n FROM revoked_key WHERE key = ?").bind(text(key));
        Ok(self.count("looking a revoked key up", query).await? > 0)
    }

    /// Returns revoked keys of every server that `server` has ever had a connection with.
    pub(crate) async fn revoked_peers(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<KeyFingerprint>, StoreError> {
        let query = sql("SELECT DISTINCT r.key FROM revoked_key r JOIN connection c
                ON (c.source_server = ?1 AND c.target_server = r.server)
                OR (c.target_server = ?1 AND c.source_server = r.server)
             ORDER BY r.key")
        .bind(text(server));
        self.all("listing revoked keys", query, |cells| cells.get("key")).await
    }

    /// Sets the link; returns whether anything changed.
    pub(crate) async fn set_link(
        &mut self,
        id: ServerId,
        _gateway: GatewayId,
        up: bool,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let query =
            sql("UPDATE server SET link_up = ?1, link_since = ?2 WHERE id = ?3 AND link_up IS NOT ?1")
                .bind(i64::from(up))
                .bind(at.as_millis())
                .bind(text(id));
        Ok(self.run("noting a control link", query).await? > 0)
    }

    /// Marks the links of this gateway as down.
    pub(crate) async fn own_links_down(
        &mut self,
        _gateway: GatewayId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE server SET link_up = 0, link_since = ? WHERE link_up = 1").bind(at.as_millis());
        self.run("noting that no control link is up", query).await.map(drop)
    }

    #[expect(clippy::unused_async, reason = "it stands in for a statement")]
    pub(crate) async fn renew_lease(
        &mut self,
        _gateway: GatewayId,
        _until: Timestamp,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

fn read(cells: &Cells) -> Result<ServerRecord, StoreError> {
    let link = match (cells.maybe_flag("link_up")?, cells.maybe_time("link_since")?) {
        (Some(value), Some(since)) => Some(Timed { value, since }),
        _ => None,
    };
    Ok(ServerRecord {
        id: cells.get("id")?,
        organization: cells.get("organization")?,
        organization_name: cells.name("organization_name")?,
        name: cells.name("name")?,
        description: cells.description("description")?,
        version: cells.string("version")?,
        route: cells.get("route")?,
        key: cells.maybe("key")?,
        enrolled_at: cells.maybe_time("enrolled_at")?,
        link,
        created_at: cells.time("created_at")?,
    })
}
