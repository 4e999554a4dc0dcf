//! Every list by the slow way: each thing looked up by itself, and each judged by the rules for single things.

use super::*;
use crate::platform::lists::slow;
use crate::platform::viewer;
use crate::store::{ChannelRecord, ConnectionRecord, GrantRecord, Tx};
use adit_core::domain::connectivity::{Facts, SideFacts};
use adit_core::domain::visibility::{self, Field, Viewer};

#[tokio::test]
async fn each_list_is_what_looking_every_thing_up_gives() {
    let (world, _) = World::crowded(440).await;
    let platform = &world.platform;
    let mut tx = platform.store.read().await.unwrap();
    let every = Everything::read(&mut tx, platform.now()).await;
    let viewers = [0, 21].map(|number| member(Crowd::organization(number), UserRole::Auditor));
    for viewer in viewers.into_iter().chain([host()]) {
        let viewpoint = viewer.viewpoint().unwrap();
        let slow = every.connections(viewpoint);
        assert!(slow.len() > 300);
        same(platform.list(&viewer).connections().await, slow);
        let slow = every.channels(&mut tx, viewpoint).await;
        assert!(slow.len() > 40);
        same(platform.list(&viewer).channels().await, slow);
        let slow = every.grants(&mut tx, viewpoint).await;
        assert!(slow.len() > 300);
        same(platform.list(&viewer).grants().await, slow);
    }
}

#[tokio::test]
async fn lists_of_names_are_in_the_order_of_names_whatever_their_case() {
    let world = World::new().await;
    for name in ["beta", "Alpha", "gamma", "ÄRZTE", "alpha 2", "Beta 2"] {
        let party = world.party(name, Tier::Standard).await;
        world.server(&party, name).await;
        world.server(&party, "Mirth").await;
    }
    let organizations = world.platform.organizations(&host()).await.unwrap();
    let names: Vec<_> = organizations.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Alpha", "alpha 2", "beta", "Beta 2", "gamma", "ÄRZTE"]);
    let servers = world.platform.servers(&host()).await.unwrap();
    let names: BTreeSet<_> = servers.iter().map(|it| it.id).collect();
    assert_eq!((servers.len(), names.len()), (12, 12));
}

#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(fast: Vec<T>, slow: Vec<T>) {
    assert_eq!(fast.len(), slow.len());
    for (fast, slow) in fast.into_iter().zip(slow) {
        assert_eq!(fast, slow);
    }
}

struct Lists<'a> {
    platform: &'a Platform,
    viewer: &'a Initiator,
}

impl Platform {
    fn list<'a>(&'a self, viewer: &'a Initiator) -> Lists<'a> {
        Lists { platform: self, viewer }
    }
}

impl Lists<'_> {
    async fn connections(&self) -> Vec<ConnectionView> {
        let every = ConnectionFilter::default();
        let list =
            to_the_end(97, async |paging| self.platform.list_connections(self.viewer, &every, &paging).await)
                .await;
        list.unwrap()
    }

    async fn channels(&self) -> Vec<ChannelView> {
        let every = ChannelFilter::default();
        let list =
            to_the_end(97, async |paging| self.platform.list_channels(self.viewer, &every, &paging).await)
                .await;
        list.unwrap()
    }

    async fn grants(&self) -> Vec<GrantView> {
        let every = GrantFilter::default();
        let list =
            to_the_end(97, async |paging| self.platform.list_grants(self.viewer, &every, &paging).await)
                .await;
        list.unwrap()
    }
}

/// All there is, each looked up by itself.
struct Everything {
    connections: Vec<(ConnectionRecord, Facts)>,
    channels: Vec<ChannelRecord>,
    grants: Vec<(GrantRecord, Option<ConnectionId>)>,
}

impl Everything {
    async fn read(tx: &mut Tx, now: Timestamp) -> Self {
        let mut connections = Vec::new();
        for id in tx.texts("SELECT id AS it FROM connection ORDER BY created_at, id").await {
            let connection = tx.connection(id.parse().unwrap()).await.unwrap().unwrap();
            let facts = facts_of(tx, &connection, now).await;
            connections.push((connection, facts));
        }
        let mut channels = Vec::new();
        for id in tx.texts("SELECT id AS it FROM channel ORDER BY lower(name), id").await {
            channels.push(tx.channel(id.parse().unwrap()).await.unwrap().unwrap());
        }
        let mut grants = Vec::new();
        for id in tx.texts("SELECT id AS it FROM channel_grant ORDER BY created_at, id").await {
            let grant = tx.grant(id.parse().unwrap()).await.unwrap().unwrap();
            let connection = tx.connection_of_grant(grant.id).await.unwrap();
            grants.push((grant, connection.map(|connection| connection.id)));
        }
        Self { connections, channels, grants }
    }

    fn connections(&self, viewpoint: Option<OrganizationId>) -> Vec<ConnectionView> {
        let sees = |it: &ConnectionRecord| viewpoint.is_none_or(|own| viewer::side_of(it, own).is_some());
        let own = self.connections.iter().filter(|(connection, _)| sees(connection));
        own.map(|(connection, facts)| slow::connection(connection.clone(), facts, viewpoint)).collect()
    }

    async fn channels(&self, tx: &mut Tx, viewpoint: Option<OrganizationId>) -> Vec<ChannelView> {
        let mut views = Vec::new();
        for channel in self.channels.iter().cloned() {
            let (of_channel, of_server) = match viewpoint {
                None => (Viewer::Owner, Viewer::Owner),
                Some(own) => {
                    (viewer::of_channel(tx, own, &channel).await.unwrap(), of_server(tx, own, &channel).await)
                }
            };
            if visibility::listed(Field::ChannelPublic, of_channel, channel.published) {
                let shows = visibility::listed(Field::ServerName, of_server, false);
                views.push(ChannelView {
                    server_id: shows.then_some(channel.server),
                    id: channel.id,
                    name: channel.name,
                    organization: channel.organization_name,
                    organization_id: channel.organization,
                    server: shows.then_some(channel.server_name),
                    protocol: channel.protocol,
                    description: channel.description,
                    published: channel.published,
                });
            }
        }
        views
    }

    async fn grants(&self, tx: &mut Tx, viewpoint: Option<OrganizationId>) -> Vec<GrantView> {
        let mut views = Vec::new();
        for (grant, connection) in &self.grants {
            if viewpoint.is_some_and(|own| own != grant.owner && own != grant.holder) {
                continue;
            }
            let channel = self.channels.iter().find(|channel| channel.id == grant.channel).unwrap();
            let viewer = match viewpoint {
                None => Viewer::Owner,
                Some(own) => viewer::of_channel(tx, own, channel).await.unwrap(),
            };
            let peer = viewpoint.map(|own| {
                let is_holders = own == grant.holder;
                if is_holders { grant.owner_name.to_string() } else { grant.holder_name.to_string() }
            });
            let view = slow::grant(grant.clone(), *connection, channel.published, viewer);
            views.push(GrantView { peer, ..view });
        }
        views
    }
}

async fn of_server(tx: &mut Tx, own: OrganizationId, channel: &ChannelRecord) -> Viewer {
    if own == channel.organization {
        return Viewer::Owner;
    }
    let connections = tx.connections_of_server(channel.server).await.unwrap();
    viewer::of_others(tx, own, channel.organization, &connections).await.unwrap()
}

/// Returns the facts, each asked for by itself.
async fn facts_of(tx: &mut Tx, connection: &ConnectionRecord, now: Timestamp) -> Facts {
    let records = tx.facts(connection.id).await.unwrap();
    let mut facts = Facts { first_connected: connection.first_connected_at, ..Facts::default() };
    for side in [Side::Source, Side::Target] {
        let fact = records.iter().find(|fact| fact.side == side);
        let server = match &connection.end(side).server {
            Some(server) => tx.server(server.id).await.unwrap(),
            None => None,
        };
        let of_side = SideFacts {
            link: server.and_then(|server| server.link_at(now)),
            tunnel: fact.map(|fact| fact.tunnel),
            mirth: fact.and_then(|fact| fact.mirth),
            fault: fact.and_then(|fact| fact.fault),
        };
        match side {
            Side::Source => facts.source = of_side,
            Side::Target => facts.target = of_side,
        }
        facts.last_ack = facts.last_ack.max(fact.and_then(|fact| fact.last_ack));
    }
    facts.in_status(connection.status, connection.changed_at)
}
