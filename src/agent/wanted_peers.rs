//! Which peers may be reached: those that a live rule and this agent's file name and whose secret
//! is held. Their last announced addresses are kept, so that tunnels open without the gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::disk::Disk;
use super::entries::Entries;
use super::paths::Paths;
use super::policies::Policies;
use super::policy;
use super::secret_store::SecretStore;
use adit_core::config::agent::Entry;
use adit_core::domain::connection::Side;
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::PEER_ADDRESSES_MAX;
use adit_core::domain::path::PathPreference;
use adit_core::domain::secret::Secret;
use adit_core::protocol::control::Rule;
use adit_core::protocol::rules::RuleBook;
use adit_core::protocol::text::listed;
use adit_net::transport::routes::{Routes, WantedPeer};

/// How often peers' addresses are written at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Where peers last said they can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    /// Begins with those of the last run.
    pub(crate) addresses: watch::Sender<BTreeMap<ServerId, Vec<SocketAddr>>>,
    pub(crate) entries: Arc<Entries>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) routes: Routes,
    pub(crate) disk: Disk,
}

impl Announced {
    /// Takes the gateway's word. A peer that is away keeps its last addresses: it may be back
    /// there before the gateway is.
    pub(crate) fn set(&self, peer: ServerId, addresses: Vec<SocketAddr>) {
        let addresses = worth_trying(addresses);
        let is_listed = self.entries.all().any(|entry| entry.config.peer == peer);
        if addresses.is_empty() || !is_listed {
            tracing::debug!(%peer, usable = addresses.len(), is_listed, "a peer's addresses are not taken");
            return;
        }
        let is_news = self
            .addresses
            .send_if_modified(|known| known.insert(peer, addresses.clone()).as_ref() != Some(&addresses));
        tracing::debug!(%peer, addresses = %listed(&addresses), is_news, "the gateway says where a peer can be reached");
    }

    /// Keeps them on disk, at most once a second however often a peer says otherwise, and apart from
    /// the control link, whose next word may be a revocation; runs until dropped.
    pub(crate) async fn keep(self) {
        let mut addresses = self.addresses.subscribe();
        while addresses.changed().await.is_ok() {
            let known = addresses.borrow_and_update().clone();
            if let Err(error) = self.disk.write(move |state| state.store_peer_addresses(&known)).await {
                tracing::error!(%error, "the peers' addresses could not be kept");
            }
            sleep(KEEP_EVERY).await;
        }
    }

    /// Keeps the route keepers' view up to date; runs until dropped.
    pub(crate) async fn run(self) {
        let mut rules = self.policies.watch();
        let mut secrets = self.secrets.watch();
        let mut addresses = self.addresses.subscribe();
        let mut paths = self.paths.watch();
        loop {
            paths.borrow_and_update();
            rules.borrow_and_update();
            secrets.borrow_and_update();
            let known = addresses.borrow_and_update().clone();
            self.routes.want(self.wanted(&known));
            // The senders live as long as the agent.
            tokio::select! {
                _ = rules.changed() => {}
                _ = secrets.changed() => {}
                _ = addresses.changed() => {}
                _ = paths.changed() => {}
            }
        }
    }

    fn wanted(&self, known: &BTreeMap<ServerId, Vec<SocketAddr>>) -> BTreeMap<ServerId, WantedPeer> {
        let entries = self.entries.all().map(|entry| (&entry.config, entry.side));
        let secret = |entry: &Entry, rule: &Rule| self.secrets.for_probes(entry, rule);
        wanted(entries, &self.policies.rules(), known, secret, |peer| self.paths.to(peer))
    }
}

/// Returns the peers of `entries` that may be reached now.
fn wanted<'a>(
    entries: impl Iterator<Item = (&'a Entry, Side)>,
    rules: &RuleBook,
    known: &BTreeMap<ServerId, Vec<SocketAddr>>,
    secret: impl Fn(&Entry, &Rule) -> Option<Secret>,
    path: impl Fn(ServerId) -> PathPreference,
) -> BTreeMap<ServerId, WantedPeer> {
    let mut wanted: BTreeMap<ServerId, WantedPeer> = BTreeMap::new();
    for (entry, side) in entries {
        let policy = policy::of(entry, side, rules);
        let Some(rule) = policy.rule().filter(|_| policy.keeps_tunnel()) else { continue };
        let Some(secret) = secret(entry, rule) else { continue };
        let peer = wanted.entry(rule.peer).or_insert_with(|| WantedPeer {
            route: rule.peer_route,
            name: rule.peer_name().to_owned(),
            secrets: Vec::new(),
            candidates: known.get(&rule.peer).cloned().unwrap_or_default(),
            path: path(rule.peer),
            relays: Vec::new(),
        });
        peer.secrets.push(secret);
        peer.relays.push(rule.relays.clone());
    }
    wanted
}

/// Returns what can be an agent's address, as many as are ever tried: the gateway's word sends no packet to a
/// multitude and fills no disk.
fn worth_trying(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let can_be = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
    };
    addresses.into_iter().filter(can_be).take(PEER_ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{PEER, entry, rule};
    use adit_core::domain::id::{ConnectionId, RelayId, RouteId};
    use adit_core::domain::path::PathKind;
    use adit_core::domain::relays::Relays;
    use adit_core::protocol::control::{Activity, Change};

    fn book(rules: Vec<Rule>) -> RuleBook {
        let mut book = RuleBook::default();
        book.apply_snapshot(1, rules, Vec::new());
        book
    }

    fn secret_of(entry: &Entry, rule: &Rule) -> Option<Secret> {
        let mut secret = [0; 32];
        secret[0] = entry.id.as_bytes()[0];
        (rule.secret_epoch == 1).then_some(Secret::from_bytes(secret))
    }

    #[test]
    fn a_peer_is_wanted_once_with_the_secrets_of_all_its_connections() {
        let entries = [entry(1), entry(2), entry(3), entry(4)];
        let known = BTreeMap::from([(PEER, vec![([10, 0, 0, 1], 4_433).into()])]);
        let relay = RelayId(RouteId::from_bytes([8; 8]));
        let rules = vec![
            rule(1),
            Rule { activity: Activity::Paused, relays: vec![relay].try_into().unwrap(), ..rule(2) },
            // Neither one that is not switched on, nor one whose secret is not held.
            Rule { activity: Activity::Ready, ..rule(3) },
            Rule { secret_epoch: 2, ..rule(4) },
        ];
        let sides = || entries.iter().map(|entry| (entry, Side::Source));
        let found =
            wanted(sides(), &book(rules), &known, secret_of, |_| PathPreference::only(PathKind::Relay));
        let expected = WantedPeer {
            route: RouteId::from_bytes([7; 8]),
            name: rule(1).peer_name().to_owned(),
            secrets: [1, 2].map(|number| secret_of(&entry(number), &rule(number)).unwrap()).to_vec(),
            candidates: known[&PEER].clone(),
            path: PathPreference::only(PathKind::Relay),
            relays: vec![Relays::default(), Relays::try_from(vec![relay]).unwrap()],
        };
        assert_eq!(found, BTreeMap::from([(PEER, expected)]));
    }

    #[test]
    fn nobody_is_wanted_whom_the_rules_or_the_file_do_not_name() {
        let of = |rules: &RuleBook, side| {
            let entry = entry(1);
            wanted([(&entry, side)].into_iter(), rules, &BTreeMap::new(), secret_of, |_| PathPreference::AUTO)
                .len()
        };
        assert_eq!(of(&book(vec![rule(1)]), Side::Source), 1);
        assert_eq!(of(&book(vec![rule(2)]), Side::Source), 0);
        assert_eq!(of(&book(vec![rule(1)]), Side::Target), 0);
        let elsewhere = Rule { peer: ServerId::from_bytes([9; 16]), ..rule(1) };
        assert_eq!(of(&book(vec![elsewhere]), Side::Source), 0);
        let mut ended = book(vec![rule(1)]);
        ended.apply_change(2, Change::Ended { connection: ConnectionId::from_bytes([1; 16]) }).unwrap();
        assert_eq!(of(&ended, Side::Source), 0);
    }

    #[test]
    fn only_addresses_that_an_agent_can_have_are_tried_up_to_the_bound() {
        let bad = ["224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:0"];
        let bad = bad.iter().map(|text| text.parse::<SocketAddr>().unwrap());
        let good: Vec<SocketAddr> = (1..=20).map(|port| ([10, 0, 0, 1], port).into()).collect();
        assert_eq!(worth_trying(bad.chain(good.clone()).collect()), good[..PEER_ADDRESSES_MAX]);
    }
}
