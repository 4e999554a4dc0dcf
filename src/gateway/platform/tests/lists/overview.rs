//! What an organization begins with, against the whole lists of which it is the beginning.

use super::*;
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::limits::{LEAF_LIFE, OVERVIEW_FLOWS_MAX, OVERVIEW_ROWS_MAX};

const DAY: Duration = Duration::from_hours(24);

/// Returns a crowd of which some are connected.
async fn connected() -> World {
    let (world, _) = World::crowded(440).await;
    let store = &world.platform.store;
    store.meddle("UPDATE connection_fact SET tunnel = 'relay' WHERE tunnel = 'down'".into()).await;
    store.meddle("UPDATE server_link SET is_up = TRUE, gateway = '0000000000000000'".into()).await;
    world
}

async fn listed(platform: &Platform, viewer: &Initiator, filter: &ConnectionFilter) -> Vec<ConnectionView> {
    to_the_end(100, async |paging| platform.list_connections(viewer, filter, &paging).await).await.unwrap()
}

#[tokio::test]
async fn connections_that_are_chosen_by_connectivity_are_those_that_are_shown_so() {
    let world = connected().await;
    let (platform, mut chosen) = (&world.platform, Vec::new());
    for viewer in [host(), member(Crowd::organization(3), UserRole::Owner)] {
        let all = listed(platform, &viewer, &ConnectionFilter::default()).await;
        for connectivity in Connectivity::ALL {
            let filter = ConnectionFilter { connectivity: vec![connectivity], ..ConnectionFilter::default() };
            let expected: Vec<_> = all.iter().filter(|it| it.connectivity == connectivity).cloned().collect();
            assert_eq!(listed(platform, &viewer, &filter).await, expected, "{connectivity}");
            let count = platform.count_connections(&viewer, &filter).await.unwrap();
            assert_eq!(count as usize, expected.len(), "{connectivity}");
            chosen.push(expected.len());
        }
    }
    assert!(chosen.iter().all(|count| *count > 0), "{chosen:?}");
}

#[tokio::test]
async fn an_overview_begins_each_list_and_counts_it_whole() {
    let world = connected().await;
    let platform = &world.platform;
    let mut most = 0;
    for number in [0, 3, 7] {
        let own = Crowd::organization(number);
        let viewer = member(own, UserRole::Owner);
        let all = listed(platform, &viewer, &ConnectionFilter::living()).await;
        let shown = platform.overview(&viewer).await.unwrap();
        let check = |group: &Group<ConnectionView>, of: &dyn Fn(&ConnectionView) -> bool, few: u32| {
            let expected: Vec<_> = all.iter().filter(|it| of(it)).cloned().collect();
            assert_eq!(group.count as usize, expected.len());
            assert_eq!(group.rows, expected[..expected.len().min(few as usize)]);
        };
        let is = |it: &ConnectionView, status: &str| it.status.as_str() == status;
        let is_connected = |it: &ConnectionView| it.connectivity == Connectivity::Connected;
        check(&shown.offered, &|it| is(it, "Offered") && it.source.organization_id == own, OVERVIEW_ROWS_MAX);
        check(&shown.failed, &|it| is(it, "Failed"), OVERVIEW_ROWS_MAX);
        check(&shown.ready, &|it| is(it, "Ready"), OVERVIEW_ROWS_MAX);
        check(&shown.broken, &|it| is(it, "Active") && !is_connected(it), OVERVIEW_ROWS_MAX);
        check(&shown.flows, &|it| is(it, "Active") && is_connected(it), OVERVIEW_FLOWS_MAX);
        most = most.max(shown.broken.count);
        let p2p = all.iter().filter(|it| matches!(it.carried, CarriedView::Channel { .. }));
        assert_eq!(shown.p2p as usize, p2p.count());
        assert_eq!(shown.has_acknowledged, all.iter().any(|it| it.last_ack.is_some()));
        let servers = platform.servers(&viewer).await.unwrap();
        assert_eq!(shown.servers as usize, servers.len());
        assert_eq!(shown.linked as usize, servers.iter().filter(|it| it.is_online).count());
        let grants = platform.grants(&viewer).await.unwrap();
        let decided = grants.iter().filter(|it| it.status == "pending" && it.decider_id == own);
        assert_eq!(shown.grants.count as usize, decided.count());
        let live = platform.peerings(&viewer).await.unwrap().into_iter().filter(|it| it.status == "live");
        assert_eq!(shown.peers as usize, live.count());
    }
    assert!(most > OVERVIEW_ROWS_MAX, "{most}");
}

#[tokio::test]
async fn what_ends_by_itself_is_told_in_time_to_its_owner_alone() {
    let world = World::new().await;
    let (one, other) = (world.party("One", Tier::Standard).await, world.party("Other", Tier::Standard).await);
    let (platform, server) = (&world.platform, world.server(&one, "A").await);
    let key = KeyFingerprint::from_bytes([7; 32]);
    let issued = platform.issue_token(&one.initiator, server, TokenLife::Hour).await.unwrap();
    let email = "new@one.example".parse().unwrap();
    platform.invite(&one.initiator, &email, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    let shown = platform.overview(&one.initiator).await.unwrap();
    assert_eq!((shown.connectors.count, shown.invitations.count, shown.certificates.count), (1, 1, 0));
    assert_eq!(shown.connectors.rows[0].id, server);
    platform.redeem_token(server, &issued.token, key, [192, 0, 2, 1].into()).await.unwrap();
    let shown = platform.overview(&one.initiator).await.unwrap();
    assert_eq!(shown.connectors.count, 0, "it is used");
    world.pass(LEAF_LIFE.saturating_sub(7 * DAY) + Duration::from_secs(1));
    let shown = platform.overview(&one.initiator).await.unwrap();
    assert_eq!((shown.certificates.count, shown.invitations.count), (1, 0));
    assert_eq!(shown.certificates.rows[0].id, server);
    let others = platform.overview(&other.initiator).await.unwrap();
    assert_eq!((others.certificates.count, others.connectors.count, others.invitations.count), (0, 0, 0));
    let ending = ServerFilter { ending: Some(EndsSoon::Certificate), ..ServerFilter::default() };
    let page = platform.list_servers(&one.initiator, &ending, &Paging::first(5)).await.unwrap();
    assert_eq!(page.rows, shown.certificates.rows);
    platform.note_leaf(server, key).await.unwrap();
    assert_eq!(platform.overview(&one.initiator).await.unwrap().certificates.count, 0, "it is renewed");
    world.pass(LEAF_LIFE + DAY);
    assert_eq!(platform.overview(&one.initiator).await.unwrap().certificates.count, 1, "it has ended");
    platform.revoke_server(&one.initiator, server).await.unwrap();
    assert_eq!(platform.overview(&one.initiator).await.unwrap().certificates.count, 0, "it has no key");
}

#[tokio::test]
async fn who_manages_no_users_is_not_told_of_invitations() {
    let world = World::new().await;
    let one = world.party("One", Tier::Standard).await;
    let email = "new@one.example".parse().unwrap();
    world.platform.invite(&one.initiator, &email, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    for (role, count) in [(UserRole::Owner, 1), (UserRole::Operator, 0), (UserRole::Auditor, 0)] {
        let shown = world.platform.overview(&member(one.id, role)).await.unwrap();
        assert_eq!(
            (shown.invitations.count, shown.invitations.rows.len()),
            (count, count as usize),
            "{role}"
        );
    }
}
