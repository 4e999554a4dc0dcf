//! What a page costs: one statement, and no look through a table that grows with the platform.

use super::*;
use crate::store::MeasurementRow;
use crate::store::fixture::{note_plans, take_plans, take_statements};
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::limits::DUE_ROWS_MAX;
use adit_core::domain::measurement::{Span, Sums};

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
    platform.list_connections(&party, &broken(), &paging).await.unwrap();
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

#[tokio::test]
async fn no_list_compares_two_sets_where_the_server_has_not_looked_at_its_tables() {
    let world = World::new().await;
    Crowd::unseen(&world.platform.store, 440).await;
    let (platform, own, server) = (&world.platform, Crowd::organization(3), Crowd::server(70));
    let (party, paging) = (member(own, UserRole::Owner), Paging::first(100));
    let page = platform.list_channels(&party, &ChannelFilter::default(), &Paging::first(10)).await.unwrap();
    let second = paging.clone().after(page.next);
    note_plans();
    for (organization, server, id) in [
        (None, None, None),
        (Some(own), None, None),
        (Some(Crowd::organization(4)), None, None),
        (None, Some(server), None),
        (Some(own), Some(server), None),
        (None, None, Some(Crowd::channel(140))),
    ] {
        let filter = ChannelFilter { organization, server, id, others: false };
        platform.list_channels(&party, &filter, &paging).await.unwrap();
        platform.list_channels(&party, &filter, &second).await.unwrap();
    }
    for filter in [
        GrantFilter::default(),
        GrantFilter { decider: Some(own), ..GrantFilter::default() },
        GrantFilter { statuses: vec![GrantStatus::Approved], ..GrantFilter::default() },
    ] {
        platform.list_grants(&party, &filter, &paging).await.unwrap();
    }
    for filter in [
        ConnectionFilter::living(),
        ConnectionFilter::ended(),
        ConnectionFilter { server: Some(server), ..ConnectionFilter::living() },
        broken(),
        ConnectionFilter { search: Some("Mirth 7".parse().unwrap()), ..ConnectionFilter::living() },
    ] {
        platform.list_connections_beside_ended(&party, &filter, &paging).await.unwrap();
    }
    platform.overview(&party).await.unwrap();
    for plan in take_plans() {
        let compared = plan.lines().find(|line| line.contains("Join Filter") && line.contains(".id"));
        assert_eq!(compared, None, "{plan}");
    }
}

#[tokio::test]
async fn the_first_of_many_that_are_judged_are_found_in_the_order_of_an_index() {
    let (world, _) = World::crowded(1_000).await;
    let (platform, party) = (&world.platform, member(Crowd::organization(3), UserRole::Owner));
    let searched =
        ConnectionFilter { search: Some("Mirth 7".parse().unwrap()), ..ConnectionFilter::living() };
    for filter in [broken(), searched] {
        note_plans();
        platform.list_connections(&party, &filter, &Paging::first(10)).await.unwrap();
        let plans = take_plans();
        for index in ["connection_by_source_owner", "connection_by_target_owner"] {
            let walked = |line: &str| {
                line.contains(index) && !line.contains("Bitmap") && !line.contains("TEMP B-TREE")
            };
            assert!(plans[0].lines().any(walked), "{index}: {}", plans[0]);
        }
    }
}

#[tokio::test]
async fn an_overview_asks_once_which_servers_are_linked() {
    let (world, _) = World::crowded(440).await;
    let platform = &world.platform;
    let mut tx = platform.store.read().await.unwrap();
    note_plans();
    tx.count_needs(Crowd::organization(3), platform.now()).await.unwrap();
    let plans = take_plans();
    let words = ["server_link ", " l "];
    let asked = plans[0].lines().filter(|line| words.iter().any(|word| format!("{line} ").contains(word)));
    assert_eq!(asked.count(), 1, "{}", plans[0]);
}

#[tokio::test]
async fn minutes_are_found_by_their_connections_and_old_ones_by_their_age() {
    let world = World::new().await;
    let platform = &world.platform;
    let mut tx = platform.store.write().await.unwrap();
    let minute = |number: i64| Timestamp::from_millis(60_000 * number);
    let measured: Vec<_> = (0..60).map(Crowd::connection).collect();
    for connection in &measured {
        let rows = (0..60).map(|number| MeasurementRow {
            connection: *connection,
            side: Side::Source,
            at: minute(number),
            sums: Sums::default(),
        });
        tx.put_measurements(Span::Minute, &rows.collect::<Vec<_>>()).await.unwrap();
    }
    note_plans();
    let found = tx.measured_minutes(&measured[..20], (minute(10), minute(50))).await.unwrap();
    assert_eq!(found.len(), 20 * 40);
    let of_all = take_plans();
    assert!(!of_all[0].contains("_by_age"), "{}", of_all[0]);
    for (span, index) in
        [(Span::Minute, "measurement_minutes_by_age"), (Span::Hour, "measurement_hours_by_age")]
    {
        note_plans();
        let deleted = tx.delete_measurements(span, minute(1), 50).await.unwrap();
        assert_eq!(deleted, if span == Span::Minute { 50 } else { 0 });
        let oldest = take_plans();
        assert!(oldest[0].contains(index), "{}", oldest[0]);
    }
}

fn broken() -> ConnectionFilter {
    let connectivity = vec![Connectivity::Disconnected, Connectivity::NeverConnected];
    ConnectionFilter { connectivity, ..ConnectionFilter::living() }
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
