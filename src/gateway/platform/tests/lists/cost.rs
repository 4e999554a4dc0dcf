//! What a page costs: one statement, and no look through a table that grows with the platform.

use super::*;
use crate::store::fixture::{note_plans, take_plans, take_statements};
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::limits::DUE_ROWS_MAX;

/// Those with ten thousand rows, or more.
const BIG: [&str; 5] =
    ["connection", "connection_secret", "connection_fact", "channel_grant", "admin_session"];

#[tokio::test]
async fn a_page_of_a_list_is_one_statement() {
    let (world, _) = World::crowded(440).await;
    let platform = &world.platform;
    let paging = Paging::first(100);
    for viewer in [host(), member(Crowd::organization(3), UserRole::Owner)] {
        let counted = async |list: &str, asked: usize, rows: usize| {
            assert_eq!(take_statements(), asked, "{list}");
            assert!(rows > 1, "{list}");
        };
        take_statements();
        let page = platform.list_connections(&viewer, &ConnectionFilter::living(), &paging).await.unwrap();
        counted("connections", 1, page.rows.len()).await;
        let id = page.rows[0].id;
        platform.connection(&viewer, id).await.unwrap();
        counted("a connection", 1, 2).await;
        let count = platform.count_connections(&viewer, &ConnectionFilter::ended()).await.unwrap();
        counted("how many connections", 1, usize::try_from(count).unwrap()).await;
        let page = platform.list_grants(&viewer, &GrantFilter::default(), &paging).await.unwrap();
        counted("grants", 1, page.rows.len()).await;
        let page = platform.list_channels(&viewer, &ChannelFilter::default(), &paging).await.unwrap();
        counted("channels", 1, page.rows.len()).await;
        let page = platform.list_servers(&viewer, &ServerFilter::default(), &paging).await.unwrap();
        counted("servers", 1, page.rows.len()).await;
        let page = platform.list_peerings(&viewer, &PeeringFilter::default(), &paging).await.unwrap();
        counted("peerings", 1, page.rows.len()).await;
        let page = platform.list_organizations(&viewer, &paging).await.unwrap();
        counted("organizations", 1, page.rows.len()).await;
        let page =
            platform.list_admin_sessions(&viewer, &AdminSessionFilter::default(), &paging).await.unwrap();
        counted("admin sessions", 1, page.rows.len()).await;
        platform.list_audit(&viewer, &AuditFilter::default(), &paging).await.unwrap();
        counted("the log, after what is due", 2, 2).await;
    }
}

#[tokio::test]
async fn an_overview_is_a_few_statements_however_much_there_is() {
    let (world, _) = World::crowded(440).await;
    let party = member(Crowd::organization(3), UserRole::Owner);
    take_statements();
    let shown = world.platform.overview(&party).await.unwrap();
    // What there is, what connections are, whether a message came, each of their groups, and the grants that wait.
    let groups = [&shown.offered, &shown.failed, &shown.broken, &shown.ready, &shown.flows];
    assert_eq!(take_statements(), 4 + groups.iter().filter(|group| group.count > 0).count());
    assert!(shown.broken.count > 0 && shown.grants.count > 0 && shown.peerings.count == 0);
}

#[tokio::test]
async fn a_page_of_connections_and_how_many_have_ended_are_of_one_moment() {
    let (world, _) = World::crowded(440).await;
    let (platform, viewer) = (&world.platform, member(Crowd::organization(3), UserRole::Owner));
    let (living, paging) = (ConnectionFilter::living(), Paging::first(100));
    let page = platform.list_connections(&viewer, &living, &paging).await.unwrap();
    let ended = platform.count_connections(&viewer, &ConnectionFilter::ended()).await.unwrap();
    platform.faults.take_begun();
    let both = platform.list_connections_beside_ended(&viewer, &living, &paging).await.unwrap();
    assert_eq!(platform.faults.take_begun(), 1, "transactions");
    assert!(ended > 0 && !page.rows.is_empty());
    assert_eq!(both, (page, ended));
}

#[tokio::test]
async fn no_hot_statement_looks_through_a_big_table() {
    let (world, crowd) = World::crowded(1_000).await;
    assert_eq!(crowd.connections(), 10_000);
    let platform = &world.platform;
    let party = member(Crowd::organization(3), UserRole::Owner);
    let paging = Paging::first(100);
    let page = platform.list_connections(&host(), &ConnectionFilter::living(), &paging).await.unwrap();
    let second = paging.clone().after(page.next);
    note_plans();
    let of_server = ConnectionFilter { server: Some(Crowd::server(70)), ..ConnectionFilter::living() };
    platform.rules_for(Crowd::server(70)).await.unwrap();
    platform.list_connections(&party, &ConnectionFilter::living(), &paging).await.unwrap();
    platform.list_connections(&party, &ConnectionFilter::living(), &second).await.unwrap();
    platform.list_connections(&host(), &ConnectionFilter::default(), &paging).await.unwrap();
    platform.list_connections(&host(), &ConnectionFilter::default(), &second).await.unwrap();
    platform.list_connections(&host(), &of_server, &paging).await.unwrap();
    platform.connection(&party, Crowd::connection(60)).await.unwrap();
    platform.overview(&party).await.unwrap();
    let broken = ConnectionFilter {
        connectivity: vec![Connectivity::Disconnected, Connectivity::NeverConnected],
        ..ConnectionFilter::living()
    };
    platform.list_connections(&party, &broken, &paging).await.unwrap();
    platform.list_grants(&party, &GrantFilter::default(), &paging).await.unwrap();
    platform.list_grants(&host(), &GrantFilter::default(), &paging).await.unwrap();
    platform.list_channels(&party, &ChannelFilter::default(), &paging).await.unwrap();
    platform.list_users_api_tokens(&party, &paging).await.unwrap();
    let sessions =
        platform.list_admin_sessions(&host(), &AdminSessionFilter::default(), &paging).await.unwrap();
    let second = paging.clone().after(sessions.next);
    let of_one = AdminSessionFilter { connection: Some(sessions.rows[0].connection), running: Some(false) };
    for viewer in [&party, &host()] {
        platform.list_admin_sessions(viewer, &AdminSessionFilter::default(), &second).await.unwrap();
        platform.list_admin_sessions(viewer, &of_one, &paging).await.unwrap();
    }
    let mut tx = platform.store.read().await.unwrap();
    tx.expired_offers(platform.now(), None, DUE_ROWS_MAX).await.unwrap();
    tx.secrets_due(platform.now(), None, DUE_ROWS_MAX).await.unwrap();
    tx.managed_read_write(Crowd::organization(3), None, DUE_ROWS_MAX).await.unwrap();
    tx.keeps_secrets().await.unwrap();
    let (agreement, channel) = (Crowd::agreement(30), Crowd::channel(140));
    assert!(!tx.living_of_agreement(agreement).await.unwrap().is_empty());
    assert!(!tx.pending_of_agreement(agreement).await.unwrap().is_empty());
    assert!(!tx.living_of_channel(channel).await.unwrap().is_empty());
    assert!(!tx.pending_of_channel(channel).await.unwrap().is_empty());
    assert!(!tx.living_of_server(Crowd::server(70)).await.unwrap().is_empty());
    assert!(!tx.pending_of_server(Crowd::server(70)).await.unwrap().is_empty());
    drop(tx);
    let mut tx = platform.store.write().await.unwrap();
    let (one, now) = (sessions.rows[0].connection, platform.now());
    let known = tx.admin_session(one, None, 1).await.unwrap().unwrap();
    tx.count_admin_sessions(one, now, 64).await.unwrap();
    tx.update_admin_session(&known).await.unwrap();
    tx.prune_admin_sessions(one).await.unwrap();
    tx.delete_admin_sessions(Timestamp::from_millis(0)).await.unwrap();
    drop(tx);
    let plans = take_plans();
    assert_eq!(plans.len(), 41);
    for plan in plans {
        let scan = plan.lines().find(|line| is_scan(line));
        assert_eq!(scan, None, "{plan}");
    }
}

/// Returns whether a line of a plan reads a big table from end to end. A walk along an index in its order is
/// none: it ends with the page, or is one over few rows.
fn is_scan(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let after =
        |word: &str| words.iter().position(|it| *it == word).and_then(|at| words.get(at + 1)).copied();
    let sqlite = after("SCAN").filter(|_| !line.contains("USING"));
    let postgres = line.contains("Seq Scan").then(|| after("on")).flatten();
    let alias =
        |name: &str| BIG.contains(&name) || ["c", "k", "g", "y", "fs", "ft", "a", "t", "u"].contains(&name);
    sqlite.is_some_and(alias) || postgres.is_some_and(|table| BIG.contains(&table))
}
