//! Servers, their keys and control links.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::connectivity::Timed;
use adit_core::domain::id::{KeyFingerprint, OrganizationId, RouteId, ServerId};
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
    /// When the newest leaf over its key ends; `None` where that is not known.
    pub leaf_until: Option<Timestamp>,
    /// As its gateway told; see [`Self::link_at`].
    pub link: Option<LinkRecord>,
    /// The build of its agent, as it told last.
    pub agent_version: Option<String>,
    pub created_at: Timestamp,
}

/// A control link, as the gateway that serves it told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkRecord {
    pub told: Timed<bool>,
    /// Until when its gateway has said that it lives.
    pub lease_until: Option<Timestamp>,
}

impl ServerRecord {
    /// Returns whether the link is up: what a gateway told that has not been heard since is true no more.
    #[must_use]
    pub(crate) fn link_at(&self, now: Timestamp) -> Option<Timed<bool>> {
        self.link.map(|link| link.at(now))
    }
}

impl LinkRecord {
    /// Returns whether it is up: see [`ServerRecord::link_at`].
    pub(super) fn at(self, now: Timestamp) -> Timed<bool> {
        match self.lease_until {
            _ if !self.told.value => self.told,
            Some(until) if now < until => self.told,
            Some(until) => Timed { value: false, since: until.max(self.told.since) },
            None => Timed { value: false, ..self.told },
        }
    }
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

macro_rules! select_servers {
    ($which:literal) => {
        concat!(
            "SELECT s.*, o.name AS organization_name, l.is_up AS link_up, l.since AS link_since, l.software AS agent_version, w.until AS lease_until
             FROM server s JOIN organization o ON o.id = s.organization
             LEFT JOIN server_link l ON l.server = s.id LEFT JOIN gateway_lease w ON w.gateway = l.gateway ",
            $which
        )
    };
}
pub(super) use select_servers;

impl Tx {
    pub(crate) async fn insert_server(&mut self, new: &NewServer) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO server (id, organization, name, description, version, route, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(text(new.id))
            .bind(text(new.organization))
            .bind(text(&new.name))
            .bind(text(&new.description))
            .bind(new.version.clone())
            .bind(text(new.route))
            .bind(new.created_at.as_millis());
        self.run("adding a server", query).await?;
        self.note_change(Changed::Server(new.id));
        Ok(())
    }

    pub(crate) async fn server(&mut self, id: ServerId) -> Result<Option<ServerRecord>, StoreError> {
        let query = sql(select_servers!("WHERE s.id = $1 AND s.deleted_at IS NULL")).bind(text(id));
        self.one("looking a server up", query, read).await
    }

    pub(crate) async fn server_with_key(
        &mut self,
        key: KeyFingerprint,
    ) -> Result<Option<ServerId>, StoreError> {
        let query = sql("SELECT id FROM server WHERE key = $1").bind(text(key));
        self.one("looking a key up", query, |cells| cells.get("id")).await
    }

    pub(crate) async fn count_servers(&mut self, organization: OrganizationId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM server WHERE organization = $1 AND deleted_at IS NULL")
            .bind(text(organization));
        self.count("counting servers", query).await
    }

    pub(crate) async fn describe_server(
        &mut self,
        id: ServerId,
        name: &Name,
        description: &Description,
        version: &str,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE server SET name = $1, description = $2, version = $3 WHERE id = $4")
            .bind(text(name))
            .bind(text(description))
            .bind(version.to_owned())
            .bind(text(id));
        self.run("changing a server", query).await?;
        self.note_change(Changed::Server(id));
        Ok(())
    }

    /// Deletes a server, whose key, token, channels and connections are gone before: nobody finds it, and its
    /// name is free.
    pub(crate) async fn delete_server(&mut self, id: ServerId, at: Timestamp) -> Result<(), StoreError> {
        let query = sql("UPDATE server SET name = id, deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL")
            .bind(at.as_millis())
            .bind(text(id));
        self.run("deleting a server", query).await?;
        self.note_change(Changed::Server(id));
        self.note_change(Changed::Key(id));
        Ok(())
    }

    /// Puts a key on file, or takes it off with `None`.
    pub(crate) async fn set_key(
        &mut self,
        id: ServerId,
        key: Option<KeyFingerprint>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE server SET key = $1, enrolled_at = CASE WHEN $1 IS NULL THEN enrolled_at ELSE $2 END
             WHERE id = $3")
            .bind(key.map(text))
            .bind(at.as_millis())
            .bind(text(id));
        self.run("changing a server's key", query).await?;
        self.note_change(Changed::Key(id));
        Ok(())
    }

    /// Notes until when the newest leaf over a server's key is good.
    pub(crate) async fn set_leaf_until(
        &mut self,
        id: ServerId,
        key: KeyFingerprint,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE server SET leaf_until = $1 WHERE id = $2 AND key = $3")
            .bind(until.as_millis())
            .bind(text(id))
            .bind(text(key));
        self.run("noting until when a leaf is good", query).await.map(drop)
    }

    pub(crate) async fn revoke_key(
        &mut self,
        key: KeyFingerprint,
        server: ServerId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO revoked_key (key, server, revoked_at) VALUES ($1, $2, $3)")
            .bind(text(key))
            .bind(text(server))
            .bind(at.as_millis());
        self.run("revoking a key", query).await?;
        self.note_change(Changed::Key(server));
        Ok(())
    }

    pub(crate) async fn is_revoked(&mut self, key: KeyFingerprint) -> Result<bool, StoreError> {
        let query = sql("SELECT count(*) AS n FROM revoked_key WHERE key = $1").bind(text(key));
        Ok(self.count("looking a revoked key up", query).await? > 0)
    }

    /// Returns revoked keys of every server that `server` has ever had a connection with.
    pub(crate) async fn revoked_peers(
        &mut self,
        server: ServerId,
    ) -> Result<Vec<KeyFingerprint>, StoreError> {
        let query = sql("SELECT DISTINCT r.key FROM revoked_key r JOIN connection c
                ON (c.source_server = $1 AND c.target_server = r.server)
                OR (c.target_server = $1 AND c.source_server = r.server)
             ORDER BY r.key")
        .bind(text(server));
        self.all("listing revoked keys", query, |cells| cells.get("key")).await
    }
}

pub(super) fn read(cells: &Cells) -> Result<ServerRecord, StoreError> {
    let link = match (cells.maybe_flag("link_up")?, cells.maybe_time("link_since")?) {
        (Some(value), Some(since)) => {
            let lease_until = cells.maybe_time("lease_until")?;
            Some(LinkRecord { told: Timed { value, since }, lease_until })
        }
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
        leaf_until: cells.maybe_time("leaf_until")?,
        link,
        agent_version: cells.maybe("agent_version")?,
        created_at: cells.time("created_at")?,
    })
}
