//! Who may use the relay: agents with a control link, to the peers of their Active and Paused
//! connections.
//!
//! Links tell when they come up and end. Whatever else changes comes over the feed, which names the servers: only
//! those among them that are members here are read again, agents whose link has just ended too, so that a revoked
//! server is out at once; and the relay is told only what differs. No lock is held while the database is read.
//! How packets pass is in `transport::relay`.

mod members;

use std::collections::BTreeMap;

use tokio::sync::Mutex;
use tokio::time::sleep;
use tracing::{debug, info};

use super::feed::{Concerned, Feed};
use super::platform::{Platform, PlatformError, Relayed};
use adit_core::domain::id::{KeyFingerprint, ServerId};
use adit_core::domain::limits::{DATABASE_ASKED_MIN, SERVERS_ASKED_MAX};
use adit_core::domain::visible::error_chain;
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::relay::DropReason;
use adit_core::protocol::text::listed;
use adit_net::transport::relay::RelayHandle;
use adit_observe::metrics::{self, RelaySample};

use self::members::{Change, Member, Members};

#[derive(Debug)]
pub(super) struct RelayKeeper {
    relay: RelayHandle,
    /// The gateway's file does not switch the relay off. Where it does, agents register all the same, which is
    /// how carriers are proven and the gateway's own packets find them, but nobody reaches a peer.
    is_on: bool,
    /// Held while the relay is told, so that commands reach it in their order.
    members: Mutex<Members>,
}

/// What a control link brought in; give it back when the link ends.
#[derive(Debug)]
pub(super) struct RelayGuard {
    server: ServerId,
    link: u64,
}

impl RelayKeeper {
    pub(super) fn new(relay: RelayHandle, is_on: bool) -> Self {
        Self { relay, is_on, members: Mutex::default() }
    }

    /// Notes that a control link of `server` is up; its agent registers with `key`.
    pub(super) async fn join(
        &self,
        platform: &Platform,
        server: ServerId,
        leaf: KeyFingerprint,
        key: PacketKey,
    ) -> Result<Option<RelayGuard>, PlatformError> {
        loop {
            let read = self.members.lock().await.begin_join(server);
            let relayed = self.read(platform, &[server]).await;
            let mut members = self.members.lock().await;
            if members.end_join(server, read) {
                debug!(%server, "what it may do changed while it was read: it is read again");
                continue;
            }
            let Some(now) = relayed?.remove(&server).filter(|now| now.key == leaf) else {
                debug!(%server, key = %leaf, "not relayed: this key is not on file any more");
                return Ok(None);
            };
            let (route, peers) = (now.route, now.peers);
            debug!(%server, %route, peers = %listed(&peers), is_on = self.is_on, "may register at the relay");
            self.relay.join(route, now.organization, key).await;
            self.relay.permit(route, peers.clone()).await;
            let link = members.insert(server, Member::new(route, leaf, peers, read));
            return Ok(Some(RelayGuard { server, link }));
        }
    }

    /// Notes that the link has ended. What its agent registered lasts until it lapses or a newer link renews
    /// it.
    pub(super) async fn leave(&self, guard: RelayGuard) {
        let mut members = self.members.lock().await;
        if let Some(route) = members.leave(guard.server, guard.link) {
            debug!(server = %guard.server, %route, "registers at the relay no more");
            self.relay.leave(route).await;
        }
    }

    /// Follows the feed for as long as the platform may change.
    pub(super) async fn follow(&self, feed: &Feed, platform: &Platform) {
        loop {
            let concerned = feed.relay().next().await;
            if let Err(error) = self.catch_up(platform, &concerned).await {
                // What was revoked meanwhile must not wait for somebody's next change.
                feed.relay().note(concerned);
                if error.is_transient() {
                    feed.suspect_database(&error);
                    debug!(why = error_chain(&error), "who may use the relay is not read yet");
                } else {
                    feed.note_unwritten("who may use the relay is not read", &error);
                }
                sleep(DATABASE_ASKED_MIN).await;
            }
        }
    }

    /// Reads again what those of `concerned` may do that the relay knows.
    async fn catch_up(&self, platform: &Platform, concerned: &Concerned) -> Result<(), PlatformError> {
        let servers = self.members.lock().await.note_changed(concerned);
        for some in servers.chunks(SERVERS_ASKED_MAX) {
            let read = self.members.lock().await.begin_read();
            let mut relayed = self.read(platform, some).await?;
            let mut members = self.members.lock().await;
            for server in some {
                match members.set(*server, relayed.remove(server), read) {
                    None => {}
                    Some(Change::Removed { route }) => {
                        info!(%server, "a server that is not welcome any more is not relayed any more");
                        self.relay.remove(route).await;
                    }
                    Some(Change::Permitted { route, before, peers }) => {
                        let (before, now) = (listed(&before), listed(&peers));
                        debug!(%server, %route, before, peers = now, "relayed to other peers");
                        self.relay.permit(route, peers).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        platform: &Platform,
        servers: &[ServerId],
    ) -> Result<BTreeMap<ServerId, Relayed>, PlatformError> {
        let mut relayed = platform.relayed_servers(servers).await?;
        if !self.is_on {
            for one in relayed.values_mut() {
                one.peers.clear();
            }
        }
        Ok(relayed)
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
