//! Servers as their owners see them; a peer's are never listed.

use super::listed;
use crate::platform::error::PlatformError;
use crate::platform::{Initiator, Platform};
use crate::store::{ServerFilter, ServerRecord, Tx};
use adit_core::domain::id::{KeyFingerprint, OrganizationId, ServerId};
use adit_core::domain::name::{Description, Name};
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::time::Timestamp;

/// An organization's own server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    pub id: ServerId,
    pub name: Name,
    pub organization: Name,
    pub organization_id: OrganizationId,
    pub description: Description,
    pub version: String,
    pub key: Option<KeyFingerprint>,
    pub enrolled_at: Option<Timestamp>,
    /// When the leaf of its agent ends, while there is a key on file.
    pub certificate_until: Option<Timestamp>,
    pub is_online: bool,
    pub online_since: Option<Timestamp>,
    /// The build of its agent, as it told last.
    pub agent_version: Option<String>,
}

impl Platform {
    /// Lists servers by name: the organization's own, or all. Nobody's is where the filter names another
    /// organization than one's own.
    pub async fn list_servers(
        &self,
        initiator: &Initiator,
        filter: &ServerFilter,
        paging: &Paging,
    ) -> Result<Page<ServerView>, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        if let (Some(own), Some(named)) = (viewpoint, filter.organization)
            && own != named
        {
            return Ok(listed("servers", viewpoint, Page { rows: Vec::new(), next: None }));
        }
        let filter = ServerFilter { organization: viewpoint.or(filter.organization), ..filter.clone() };
        let (paging, now) = (paging.clone(), self.now());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_servers(now, &filter, &paging).await?)
            })
            .await?;
        Ok(listed("servers", viewpoint, page.map(|server| view(server, now))))
    }
}

pub(in crate::platform) fn view(server: ServerRecord, now: Timestamp) -> ServerView {
    let link = server.link_at(now);
    ServerView {
        id: server.id,
        name: server.name,
        organization: server.organization_name,
        organization_id: server.organization,
        description: server.description,
        version: server.version,
        certificate_until: server.leaf_until.filter(|_| server.key.is_some()),
        key: server.key,
        enrolled_at: server.enrolled_at,
        is_online: link.is_some_and(|link| link.value),
        online_since: link.filter(|link| link.value).map(|link| link.since),
        agent_version: server.agent_version,
    }
}
