//! Who is woken by what, over rows made up and over a platform in a temporary folder.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::platform::{ConnectionCommand, Plan, Provisioned, TokenLife};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::GatewayId;
use adit_core::domain::path::PathKind;
use adit_core::domain::word::UnknownWord;
use adit_core::protocol::control::Report;
use adit_net::identity::time::HostClock;

const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);
/// Nothing here takes longer, however busy the machine is.
const SOON: Duration = Duration::from_secs(20);

const fn server(number: u8) -> ServerId {
    ServerId::from_bytes([number; 16])
}

const fn row(seq: i64, number: u8, kind: Word<ChangeKind>) -> ChangeRow {
    ChangeRow { seq, organization: None, server: Some(server(number)), connection: None, kind }
}

/// Links that follow a feed.
struct Links(Vec<(Arc<LinkInbox>, FeedSubscription)>);

impl Links {
    fn of(feed: &Arc<Feed>, servers: &[ServerId]) -> Self {
        let follow = |server: &ServerId| {
            let inbox = Arc::new(LinkInbox::default());
            let subscription = feed.follow_server(*server, Arc::clone(&inbox));
            (inbox, subscription)
        };
        Self(servers.iter().map(follow).collect())
    }

    /// Takes which of them, by place, must read their rules again.
    fn woken(&self) -> Vec<usize> {
        let woken = self.0.iter().enumerate().filter(|(_, (inbox, _))| inbox.take().rules);
        woken.map(|(place, _)| place).collect()
    }
}

#[tokio::test]
async fn a_change_wakes_the_links_of_its_server_once() {
    let feed = Arc::new(Feed::default());
    let links = Links::of(&feed, &[server(1), server(2), server(2), server(3)]);
    let kind = Word::Known(ChangeKind::Connection);
    feed.dispatch(&[row(1, 2, kind), row(2, 9, kind), row(3, 2, kind)]);
    assert_eq!(links.woken(), [1, 2]);
    assert_eq!(links.woken(), Vec::<usize>::new());
    let relay = Concerned::Servers([server(2), server(9)].into());
    assert_eq!(feed.relay().next().await, relay);
}

#[tokio::test]
async fn each_kind_of_change_wakes_those_whom_it_may_concern() {
    use ChangeKind::{
        AdminSession, Agreement, Channel, Connection, Grant, Key, Organization, Secret, SecretState, Server,
        Token,
    };
    let (feed, other) = (Arc::new(Feed::default()), Word::Other(UnknownWord::new("frobnication")));
    let links = Links::of(&feed, &[server(1)]);
    let all = [
        Organization,
        Server,
        Key,
        Channel,
        Agreement,
        Grant,
        Connection,
        Secret,
        SecretState,
        Token,
        AdminSession,
    ];
    let mut told = Vec::new();
    for kind in all.map(Word::Known).into_iter().chain([other]) {
        feed.dispatch(&[row(1, 1, kind)]);
        let relay = timeout(Duration::ZERO, feed.relay().next()).await.is_ok();
        told.push((!links.woken().is_empty(), relay));
    }
    let rules = [true, true, true, false, false, false, true, true, false, false, false, true];
    let relay = [false, false, true, false, false, false, true, false, false, false, false, true];
    assert_eq!(told, rules.into_iter().zip(relay).collect::<Vec<_>>());
}

#[test]
fn a_link_that_has_ended_is_followed_by_nothing() {
    let feed = Arc::new(Feed::default());
    drop(Links::of(&feed, &[server(1), server(2)]));
    assert!(feed.links.lock().by_server.is_empty());
}

async fn open(state: &Path) -> Platform {
    Platform::open(state, Arc::new(HostClock)).await.unwrap()
}

async fn provision(platform: &Platform, source: &str, target: &str) -> Provisioned {
    let plan = Plan {
        source_organization: source.parse().unwrap(),
        source_server: source.parse().unwrap(),
        target_organization: target.parse().unwrap(),
        target_server: target.parse().unwrap(),
        channels: vec![("ADT".parse().unwrap(), Protocol::Mllp)],
        admin: Vec::new(),
        token_life: TokenLife::Hour,
    };
    platform.provision(&plan).await.unwrap()
}

/// Two pairs of servers on one platform, and a link of each server: 0 and 1 are one pair, 2 and 3 the other.
struct World {
    folder: tempfile::TempDir,
    platform: Platform,
    feed: Arc<Feed>,
    pairs: [Provisioned; 2],
    links: Links,
    seen: i64,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let platform = open(&folder.path().join("state")).await;
        platform.start_service(GATEWAY).await.unwrap();
        let pairs = [
            provision(&platform, "Lakeside", "St Mary").await,
            provision(&platform, "Hillside", "Riverside").await,
        ];
        let servers: Vec<_> =
            pairs.iter().flat_map(|pair| [pair.source.server, pair.target.server]).collect();
        let feed = Arc::new(Feed::default());
        let links = Links::of(&feed, &servers);
        let seen = platform.newest_change().await.unwrap();
        Self { folder, platform, feed, pairs, links, seen }
    }

    async fn pause(&self, platform: &Platform) {
        let pair = &self.pairs[0];
        platform
            .command(&pair.source.initiator, pair.connections[0], ConnectionCommand::Pause)
            .await
            .unwrap();
    }

    /// Follows the feed until it has told of something.
    async fn told(&mut self) -> Vec<usize> {
        let next = timeout(SOON, self.feed.next(&self.platform, self.seen)).await;
        self.seen = next.expect("something is told").unwrap();
        self.links.woken()
    }
}

#[tokio::test]
async fn a_command_on_one_connection_wakes_its_two_servers_alone() {
    let mut world = World::new().await;
    world.pause(&world.platform).await;
    assert_eq!(world.told().await, [0, 1]);
    let both: BTreeSet<_> = [world.pairs[0].source.server, world.pairs[0].target.server].into();
    assert_eq!(world.feed.relay().next().await, Concerned::Servers(both));
}

#[tokio::test]
async fn what_another_process_changed_is_heard() {
    let mut world = World::new().await;
    let other = open(&world.folder.path().join("state")).await;
    world.pause(&other).await;
    assert_eq!(world.told().await, [0, 1]);
}

#[tokio::test]
async fn measurements_wake_nobody() {
    let world = World::new().await;
    let (platform, pair) = (&world.platform, &world.pairs[0]);
    for server in [pair.source.server, pair.target.server] {
        platform.linked(GATEWAY, server, true);
        let report = Report {
            tunnel: Some(PathKind::Relay.into()),
            mirth: None,
            last_ack: Some(platform.now()),
            fault: None,
        };
        platform.report(server, pair.connections[0], &report, platform.now()).await.unwrap();
        platform.linked(GATEWAY, server, false);
    }
    platform.renew_lease(GATEWAY).await.unwrap();
    platform.flush_reports().await.unwrap();
    platform.flush_counted().await.unwrap();
    let view = platform.connection(&pair.source.initiator, pair.connections[0]).await.unwrap();
    assert!(view.last_ack.is_some(), "all of it is written");
    assert_eq!(platform.newest_change().await.unwrap(), world.seen);
}

#[tokio::test]
async fn whose_changes_were_pruned_reads_everything_again() {
    let mut world = World::new().await;
    world.pause(&world.platform).await;
    world.platform.prune_changes(1).await.unwrap();
    assert_eq!(world.told().await, [0, 1, 2, 3]);
    assert_eq!(world.feed.relay().next().await, Concerned::All);
    assert_eq!(world.seen, world.platform.newest_change().await.unwrap());
}

#[tokio::test]
async fn a_database_that_goes_is_told_to_every_link_as_is_its_return() {
    let world = World::new().await;
    let error = world.platform.connection(&world.pairs[0].source.initiator, world.pairs[1].connections[0]);
    let error = error.await.unwrap_err();
    assert_eq!(world.feed.away_since(), None);
    let back = world.feed.until_back(&world.platform, &error, world.seen);
    let told = async {
        let mut away = Vec::new();
        for (inbox, _) in &world.links.0 {
            assert!(inbox.news().await.database);
            away.push(world.feed.away_since().is_some());
        }
        away
    };
    let (newest, told) = tokio::join!(back, told);
    assert_eq!((newest, told), (world.seen, vec![true; 4]));
    // Another database may have taken its place.
    for (inbox, _) in &world.links.0 {
        let news = inbox.take();
        assert!(news.database && news.rules, "{news:?}");
    }
    assert_eq!(world.feed.relay().next().await, Concerned::All);
    assert_eq!(world.feed.away_since(), None);
}
