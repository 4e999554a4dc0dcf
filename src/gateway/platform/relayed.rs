//! Who may use the relay, for the gateway that runs it. How packets pass is the relay's.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::Tx;
use adit_core::domain::id::{KeyFingerprint, OrganizationId, RouteId, ServerId};

use super::Platform;
use super::error::PlatformError;

/// A server with a key on file, and whom it may reach through the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    pub route: RouteId,
    pub organization: OrganizationId,
    pub key: KeyFingerprint,
    /// At the other ends of its Active and Paused connections.
    pub peers: BTreeSet<RouteId>,
}

impl Platform {
    /// Returns those of `servers` that may use the relay.
    pub async fn relayed_servers(
        &self,
        servers: &[ServerId],
    ) -> Result<BTreeMap<ServerId, Relayed>, PlatformError> {
        let servers = servers.to_vec();
        let asking = async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.relayed_servers(&servers).await?);
        let rows = self.look(asking).await?;
        let mut relayed = BTreeMap::new();
        for row in rows {
            let (route, organization, key) = (row.route, row.organization, row.key);
            let one = relayed.entry(row.server).or_insert_with(|| Relayed {
                route,
                organization,
                key,
                peers: BTreeSet::new(),
            });
            one.peers.extend(row.peer);
        }
        Ok(relayed)
    }
}
