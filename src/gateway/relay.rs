//! Who may use the relay: agents with a control link, to the peers of their Active and Paused
//! connections.
//!
//! Links tell when they come up and end; everything else is read from the platform whenever it
//! changed, for agents whose link has just ended too, so that a revoked server is out within one
//! look ([`adit_core::domain::limits::RULES_POLL_EVERY`]). How packets pass is in `transport::relay`.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;
use tracing::{debug, error, info};

use super::platform::{Platform, PlatformError, Relayed};
use adit_core::domain::id::{KeyFingerprint, RouteId, ServerId};
use adit_core::domain::limits::RULES_POLL_EVERY;
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::relay::DropReason;
use adit_core::protocol::text::listed;
use adit_net::transport::relay::RelayHandle;
use adit_observe::metrics::{self, RelaySample};

#[derive(Debug)]
pub(super) struct RelayKeeper {
    relay: RelayHandle,
    /// The gateway's file does not switch the relay off. Where it does, agents register all the same, which is
    /// how carriers are proven and the gateway's own packets find them, but nobody reaches a peer.
    relays: bool,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    by_server: BTreeMap<ServerId, Member>,
    links: u64,
}

#[derive(Debug)]
struct Member {
    route: RouteId,
    /// The leaf its link was opened with.
    leaf: KeyFingerprint,
    peers: BTreeSet<RouteId>,
    /// The number of its latest link, while that is up.
    link: Option<u64>,
}

/// What a control link brought in; give it back when the link ends.
#[derive(Debug)]
pub(super) struct RelayGuard {
    server: ServerId,
    link: u64,
}

impl RelayKeeper {
    pub(super) fn new(relay: RelayHandle, relays: bool) -> Self {
        Self { relay, relays, members: Mutex::default() }
    }

    /// Notes that a control link of `server` is up; its agent registers with `key`.
    pub(super) async fn join(
        &self,
        platform: &Platform,
        server: ServerId,
        leaf: KeyFingerprint,
        key: PacketKey,
    ) -> Result<Option<RelayGuard>, PlatformError> {
        // Held throughout: commands reach the relay in the order of what was read.
        let mut members = self.members.lock().await;
        let relayed = platform.relayed_server(server).await?;
        let Some(now) = relayed.filter(|now| now.key == leaf) else {
            debug!(%server, key = %leaf, "not relayed: this key is not on file any more");
            return Ok(None);
        };
        let peers = self.permitted(&now);
        debug!(%server, route = %now.route, peers = %listed(&peers), relays = self.relays, "may register at the relay");
        members.links += 1;
        let link = members.links;
        self.relay.join(now.route, now.organization, key).await;
        self.relay.permit(now.route, peers.clone()).await;
        let member = Member { route: now.route, leaf, peers, link: Some(link) };
        members.by_server.insert(server, member);
        Ok(Some(RelayGuard { server, link }))
    }

    /// Notes that the link has ended. What its agent registered lasts until it lapses or a newer link renews
    /// it.
    pub(super) async fn leave(&self, guard: RelayGuard) {
        let mut members = self.members.lock().await;
        if let Some(member) = members.by_server.get_mut(&guard.server)
            && member.link == Some(guard.link)
        {
            member.link = None;
            debug!(server = %guard.server, route = %member.route, "registers at the relay no more");
            self.relay.leave(member.route).await;
        }
    }

    /// Follows the platform for as long as it may change.
    pub(super) async fn follow(&self, platform: &Platform, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            while let Err(error) = self.catch_up(platform).await {
                // What was revoked meanwhile must not wait for somebody's next change.
                error!(%error, "cannot read who may use the relay; trying again");
                sleep(RULES_POLL_EVERY).await;
            }
        }
    }

    async fn catch_up(&self, platform: &Platform) -> Result<(), PlatformError> {
        // Held throughout, as in `join`.
        let mut members = self.members.lock().await;
        let mut relayed = platform.relayed().await?;
        for one in relayed.values_mut() {
            one.peers = self.permitted(one);
        }
        catch_up(&self.relay, &mut members.by_server, &relayed).await;
        Ok(())
    }

    /// Returns the peers that one reaches through the relay.
    fn permitted(&self, relayed: &Relayed) -> BTreeSet<RouteId> {
        if self.relays { relayed.peers.clone() } else { BTreeSet::new() }
    }

    /// Publishes what the relay has done.
    pub(super) fn measure(&self) {
        let counters = self.relay.counters();
        metrics::relay(&RelaySample {
            packets: counters.packets(),
            bytes: counters.bytes(),
            sends: counters.sends(),
            answers: counters.answers(),
            registered: counters.registered(),
            carriers: counters.carriers(),
            proven_carriers: counters.proven_carriers(),
            drops: DropReason::ALL.map(|reason| (reason.as_str(), counters.dropped(reason))),
        });
    }
}

async fn catch_up(
    relay: &RelayHandle,
    members: &mut BTreeMap<ServerId, Member>,
    relayed: &BTreeMap<ServerId, Relayed>,
) {
    let mut kept = BTreeMap::new();
    for (server, mut member) in std::mem::take(members) {
        let Some(now) = relayed.get(&server).filter(|now| now.key == member.leaf) else {
            info!(%server, "a server that is not welcome any more is not relayed any more");
            relay.remove(member.route).await;
            continue;
        };
        if now.peers != member.peers {
            let (before, peers) = (listed(&member.peers), listed(&now.peers));
            debug!(%server, route = %member.route, before, peers, "relayed to other peers");
            member.peers.clone_from(&now.peers);
            relay.permit(member.route, now.peers.clone()).await;
        }
        kept.insert(server, member);
    }
    *members = kept;
}
