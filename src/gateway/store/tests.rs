//! What opens and what is refused, one writer at a time, and the constraints as the last judge.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use adit_core::domain::connection::{ConnectionType, Protocol};
use adit_core::domain::connectivity::Timed;
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::page::Paging;
use adit_core::domain::path::PathKind;
use adit_core::domain::status::{PauseHold, Status};
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::fixture::Place;
use super::query::sql;
use super::sqlite::MIGRATIONS;
use super::*;

#[tokio::test]
async fn a_new_database_stays_private_when_opened_again() {
    let (_folder, path) = place();
    open(&path).await.unwrap().close().await;
    open(&path).await.unwrap().close().await;
    for name in ["platform.db", "platform.db-wal", "platform.db-shm"] {
        if let Ok(found) = path.with_file_name(name).metadata() {
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}

#[tokio::test]
async fn a_database_others_may_read_is_refused_with_the_command_that_helps() {
    let (_folder, path) = place();
    open(&path).await.unwrap().close().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = open(&path).await.unwrap_err().to_string();
    assert!(error.contains("mode 0644") && error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_adit_is_refused_without_being_touched() {
    let (_folder, path) = place();
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    tx.script("PRAGMA user_version = 1000").await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    let before = fs::read(&path).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 1_000, known, .. } if known == MIGRATIONS.len()));
    assert!(error.to_string().contains("install the adit that wrote it, or a newer one"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_a_newer_adit_that_says_so_is_refused_with_its_name() {
    let (_folder, path) = place();
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    tx.script("INSERT INTO build VALUES ('0.9.1', 1000); PRAGMA user_version = 1000").await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    let error = open(&path).await.unwrap_err().to_string();
    assert!(error.contains("was written by adit 0.9.1: it has version 1000"), "{error}");
}

#[tokio::test]
async fn a_row_with_a_word_of_a_newer_build_costs_no_other_row() {
    let (_folder, path) = place();
    let scripts = [MIGRATIONS[0], MIGRATIONS[1], HELD_BY_THE_FIRST_VERSION, HELD_BY_THE_SECOND_VERSION];
    write_scripts(&path, &scripts).await;
    let store = open(&path).await.unwrap();
    for (column, word) in [("status", "Draining"), ("kind", "Broadcast"), ("held_by", "neither")] {
        let mut tx = store.write().await.unwrap();
        let known = connections(&mut tx).await;
        tx.run("ignoring checks", sql("PRAGMA ignore_check_constraints = ON")).await.unwrap();
        let text = format!("UPDATE connection SET {column} = '{word}' WHERE id LIKE '%17'");
        tx.script(text.leak()).await.unwrap();
        let readable = connections(&mut tx).await;
        assert_eq!(readable.len() + 1, known.len(), "{column}");
        assert!(readable.iter().all(|row| !row.id.to_string().ends_with("17")), "{column}");
        let hidden = known.iter().find(|row| row.id.to_string().ends_with("17")).unwrap();
        assert_eq!(tx.connection(hidden.id).await.unwrap(), None, "{column}");
    }
}

#[tokio::test]
async fn a_path_of_a_newer_agent_is_kept_as_its_word() {
    let (_folder, path) = place();
    write_scripts(&path, &[MIGRATIONS[0], HELD_BY_THE_FIRST_VERSION]).await;
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let known = facts(&mut tx).await[0];
    let newer = Timed { value: Some(Word::from_text("punched")), since: Timestamp::from_millis(7) };
    tx.put_fact(&FactRecord { tunnel: newer, ..known }).await.unwrap();
    assert_eq!(facts(&mut tx).await[0].tunnel, newer);
}

#[tokio::test]
async fn a_database_of_the_first_version_keeps_what_it_holds_when_brought_up_to_date() {
    let (_folder, path) = place();
    write_scripts(&path, &[MIGRATIONS[0], HELD_BY_THE_FIRST_VERSION]).await;

    let store = open(&path).await.unwrap();
    let facts = facts(&mut store.read().await.unwrap()).await;
    let tunnel = Timed { value: Some(PathKind::Direct.into()), since: Timestamp::from_millis(5) };
    let mirth = Timed { value: true, since: Timestamp::from_millis(6) };
    assert_eq!(
        facts.iter().map(|fact| (fact.tunnel, fact.mirth)).collect::<Vec<_>>(),
        [(tunnel, Some(mirth))]
    );
    store.close().await;
    assert!(open(&path).await.is_ok(), "and only once");
}

#[tokio::test]
async fn a_database_from_before_offers_keeps_every_row_with_its_references() {
    let (_folder, path) = place();
    let scripts = [MIGRATIONS[0], MIGRATIONS[1], HELD_BY_THE_FIRST_VERSION, HELD_BY_THE_SECOND_VERSION];
    write_scripts(&path, &scripts).await;

    let store = open(&path).await.unwrap();
    let mut tx = store.read().await.unwrap();
    let all = connections(&mut tx).await;
    let rows: Vec<_> = all.iter().map(|it| (it.status, it.cut_epoch, it.secret_epoch)).collect();
    assert_eq!(
        rows,
        [(Status::Active, 0, 4), (Status::Paused(PauseHold::Both), 3, 1), (Status::Terminated, 0, 2)]
    );
    let Carried::Channel { name, protocol, .. } = &all[0].carried else { panic!("{:?}", all[0]) };
    assert_eq!((name.as_str(), *protocol), ("ADT", Protocol::Mllp));
    assert_eq!([all[0].source.name().as_str(), all[2].target.name().as_str()], ["A", "was B"]);
    assert_eq!(all[0].source.server.as_ref().unwrap().route.to_string(), "000000000000000a");
    assert_eq!(all[1].first_connected_at, Some(Timestamp::from_millis(9)));
    let secret = tx.secret(all[0].id).await.unwrap().unwrap();
    assert_eq!((secret.sealed, secret.kind), (Some([0; SEALED_BYTES]), ConnectionType::P2p));
    assert_eq!((secret.source_viewed_at, secret.target_stored_at), (Some(AT), Some(AT)));
    assert!(tx.keeps_secrets().await.unwrap());
    assert_eq!(tx.facts(all[0].id).await.unwrap().len(), 1);
    drop(tx);
    let mut tx = store.write().await.unwrap();
    assert_eq!(count(&mut tx, "SELECT count(*) AS n FROM pragma_foreign_key_check").await, 0);
    let before = "SELECT count(*) AS n FROM sqlite_schema WHERE instr(sql, '_before') > 0";
    assert_eq!(count(&mut tx, before).await, 0, "nothing refers to the old tables");
    for orphan in [
        "DELETE FROM connection WHERE id LIKE '%7'",
        "UPDATE connection_secret SET connection = '00000000-0000-4000-8000-0000000000ff'",
    ] {
        assert!(tx.script(orphan).await.is_err(), "{orphan}");
    }
}

#[tokio::test]
async fn a_connection_that_is_neither_of_a_grant_nor_of_an_offer_is_refused() {
    let (_folder, path) = place();
    write_scripts(&path, &[MIGRATIONS[0], MIGRATIONS[1], HELD_BY_THE_FIRST_VERSION]).await;
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    tx.script(OFFERED).await.unwrap();
    for breaking in [
        "UPDATE connection SET kind = 'Admin RO' WHERE id LIKE '%7'",
        "UPDATE connection SET kind = 'P2P' WHERE id LIKE '%8'",
        "UPDATE connection SET agreement = NULL WHERE id LIKE '%8'",
        "UPDATE connection SET expires_at = NULL WHERE id LIKE '%8'",
        "UPDATE connection SET status = 'Active' WHERE id LIKE '%8'",
        "UPDATE connection SET status = 'Offered' WHERE id LIKE '%7'",
        "UPDATE connection SET source_server = NULL WHERE id LIKE '%7'",
        "UPDATE connection SET source_server = target_server WHERE id LIKE '%8'",
        "UPDATE connection SET held_for_tier = 1 WHERE id LIKE '%8'",
        "UPDATE connection SET status = 'Declined' WHERE id LIKE '%8'",
        "INSERT INTO connection SELECT replace(id, '8', '9'), kind, channel_grant, agreement, recipient,
            expires_at, source_server, target_server, status, held_by, held_for_tier, failure, cut_epoch,
            source_last_name, target_last_name, created_at, changed_at, first_connected_at
            FROM connection WHERE id LIKE '%8'",
    ] {
        assert!(tx.script(breaking).await.is_err(), "{breaking}");
    }
    tx.script("UPDATE connection SET status = 'Declined', target_last_name = 'B' WHERE id LIKE '%8'")
        .await
        .unwrap();
}

#[tokio::test]
async fn another_programs_database_or_file_is_refused() {
    let (_folder, path) = place();
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    tx.script("PRAGMA application_id = 7").await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    assert!(matches!(open(&path).await, Err(StoreError::Foreign { .. })));
    let text = path.with_file_name("text.db");
    fs::write(&text, "this is a text that is no database of anybody, however long it may be").unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(&text).await.is_err());
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let place = Place::new().await;
    let store = place.store().await;
    let mut tx = store.read().await.unwrap();
    assert!(tx.insert_organization(&organization(1)).await.is_err());
}

#[tokio::test]
async fn what_is_not_committed_never_was() {
    let place = Place::new().await;
    let store = place.store().await;
    let mut tx = store.write().await.unwrap();
    tx.insert_organization(&organization(1)).await.unwrap();
    drop(tx);
    let mut tx = store.write().await.unwrap();
    tx.insert_organization(&organization(2)).await.unwrap();
    tx.savepoint().await.unwrap();
    tx.insert_organization(&organization(3)).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    let names: Vec<_> = store
        .read()
        .await
        .unwrap()
        .list_organizations(&OrganizationFilter::default(), &Paging::default())
        .await
        .unwrap()
        .rows;
    assert_eq!(names, [organization(2)]);
}

#[tokio::test]
async fn what_another_process_changed_is_heard_with_whom_it_concerns() {
    let place = Place::new().await;
    let (here, there) = (place.store().await, place.store().await);
    let before = here.newest_change().await.unwrap();
    let (heard, ()) = tokio::join!(here.until_change_after(before), async {
        let mut tx = there.write().await.unwrap();
        tx.insert_organization(&organization(1)).await.unwrap();
        tx.commit().await.unwrap();
    });
    heard.unwrap();
    let ChangesAfter::Rows(rows) = here.changes_after(before, 10).await.unwrap() else { panic!("lost") };
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.organization, row.server), (Some(organization(1).id), None));
    assert_eq!(row.kind, ChangeKind::Organization);
    assert_eq!(here.changes_after(row.seq, 10).await.unwrap(), ChangesAfter::Rows(vec![]));
}

#[tokio::test]
async fn what_is_taken_back_has_no_row_in_the_feed() {
    let place = Place::new().await;
    let store = place.store().await;
    let mut tx = store.write().await.unwrap();
    tx.savepoint().await.unwrap();
    tx.insert_organization(&organization(1)).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.newest_change().await.unwrap(), 0);
}

#[tokio::test]
async fn who_has_seen_more_than_the_database_holds_is_told_to_read_everything() {
    let place = Place::new().await;
    let store = place.store().await;
    store.until_change_after(5).await.unwrap();
    assert_eq!(store.changes_after(5, 10).await.unwrap(), ChangesAfter::Lost { newest: 0 });
}

#[tokio::test]
async fn who_is_behind_the_oldest_change_is_told_to_read_everything() {
    let place = Place::new().await;
    let store = place.store().await;
    for number in 1..=5 {
        let mut tx = store.write().await.unwrap();
        tx.insert_organization(&organization(number)).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(store.prune_changes(2).await.unwrap(), 3);
    let newest = store.newest_change().await.unwrap();
    assert_eq!(store.changes_after(0, 10).await.unwrap(), ChangesAfter::Lost { newest });
    let ChangesAfter::Rows(rows) = store.changes_after(newest - 2, 10).await.unwrap() else { panic!("lost") };
    assert_eq!(rows.len(), 2);
    assert_eq!(store.prune_changes(0).await.unwrap(), 2);
    assert_eq!(store.newest_change().await.unwrap(), newest, "what is forgotten was there");
}

#[tokio::test]
async fn two_open_requests_between_two_organizations_cannot_both_be_kept_whoever_asked() {
    let place = Place::new().await;
    let store = place.store().await;
    let (one, two) = (organization(1), organization(2));
    let mut tx = store.write().await.unwrap();
    tx.insert_organization(&one).await.unwrap();
    tx.insert_organization(&two).await.unwrap();
    let requested = AgreementStatus::Requested;
    let ids = [AgreementId::from_random([1; 16]), AgreementId::from_random([2; 16])];
    tx.insert_agreement(ids[0], one.id, two.id, requested, AT).await.unwrap();
    tx.savepoint().await.unwrap();
    let second = tx.insert_agreement(ids[1], two.id, one.id, requested, AT).await;
    assert!(matches!(second, Err(StoreError::Exists { .. })), "{second:?}");
    tx.rollback_to_savepoint().await.unwrap();
    tx.decide_agreement(ids[0], AgreementStatus::Declined, AT).await.unwrap();
    tx.insert_agreement(ids[1], two.id, one.id, requested, AT).await.unwrap();
    let to_self = tx.insert_agreement(AgreementId::from_random([3; 16]), one.id, one.id, requested, AT).await;
    assert!(matches!(to_self, Err(StoreError::Query { .. })), "a request to oneself is accepted at once");
}

#[tokio::test]
async fn the_audit_log_changes_only_by_appending_or_counting_in_buckets() {
    let place = Place::new().await;
    let store = place.store().await;
    let mut tx = store.write().await.unwrap();
    let entry = AuditRecord {
        at: AT,
        organization: None,
        actor: "a host".into(),
        action: "enrol",
        object: "server".into(),
        outcome: AuditOutcome::Refused,
        detail: "wrong".into(),
        bucket: Some("minute 1".into()),
        act: None,
    };
    for _ in 0..3 {
        tx.append_audit_times(&entry, 1).await.unwrap();
    }
    tx.append_audit_times(&AuditRecord { bucket: None, ..entry }, 1).await.unwrap();
    let rows = tx.list_audit(&AuditFilter::default(), &Paging::default(), 10).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.times).collect::<Vec<_>>(), [1, 3]);
    for rewriting in ["DELETE FROM audit", "UPDATE audit SET detail = ''", "UPDATE audit SET at = 0"] {
        assert!(tx.script(rewriting).await.is_err(), "{rewriting}");
    }
}

#[tokio::test]
async fn a_value_or_reference_that_the_schema_rules_out_is_refused() {
    let (_folder, path) = place();
    let store = open(&path).await.unwrap();
    let mut tx = store.write().await.unwrap();
    tx.insert_organization(&organization(1)).await.unwrap();
    for breaking in [
        "UPDATE organization SET tier = ''",
        "UPDATE organization SET name = ''",
        "UPDATE organization SET created_at = 'yesterday'",
        "INSERT INTO server (id, organization, name, description, version, route, created_at)
            VALUES ('00000000-0000-4000-8000-000000000000', 'nobody', 'n', '', '', '0000000000000000', 0)",
    ] {
        assert!(tx.script(breaking).await.is_err(), "{breaking}");
    }
}

/// One connection with all it refers to, and what was told of it.
const HELD_BY_THE_FIRST_VERSION: &str = "
    CREATE TEMP TABLE id (o, s, t, c, a, g, n);
    INSERT INTO id SELECT k || '1', k || '2', k || '3', k || '4', k || '5', k || '6', k || '7'
        FROM (SELECT '00000000-0000-4000-8000-00000000000' AS k);
    INSERT INTO organization SELECT o, 'One', 'Free', 0 FROM id;
    INSERT INTO server (id, organization, name, description, version, route, created_at)
        SELECT s, o, 'A', '', '', '000000000000000a', 0 FROM id UNION
        SELECT t, o, 'B', '', '', '000000000000000b', 0 FROM id;
    INSERT INTO channel SELECT c, t, 'ADT', '', 'mllp', 1, 0 FROM id;
    INSERT INTO agreement SELECT a, o, o, 'live', 0, 0 FROM id;
    INSERT INTO channel_grant SELECT g, a, c, o, 'requested', s, 'approved', 0, 0 FROM id;
    INSERT INTO connection (id, kind, channel_grant, source_server, target_server, status, created_at, changed_at)
        SELECT n, 'P2P', g, s, t, 'Active', 0, 0 FROM id;
    INSERT INTO connection_fact (connection, side, tunnel, tunnel_since, mirth_up, mirth_since)
        SELECT n, 'target', 'direct', 5, 1, 6 FROM id;
    DROP TABLE id;";

/// Beside it: a held and an ended one, their secrets, and a secret in use.
const HELD_BY_THE_SECOND_VERSION: &str = "
    UPDATE connection SET cut_epoch = 0;
    INSERT INTO connection_secret (connection, epoch, sealed, made_at, source_viewed_at, target_held_at)
        SELECT id, 4, zeroblob(60), 1, 1000, 1000 FROM connection;
    INSERT INTO channel_grant SELECT '00000000-0000-4000-8000-000000000016', agreement, channel, holder,
        origin, source_server, 'revoked', 0, 0 FROM channel_grant WHERE id LIKE '%06';
    INSERT INTO channel_grant SELECT '00000000-0000-4000-8000-000000000026', agreement, channel, holder,
        origin, source_server, 'revoked', 0, 0 FROM channel_grant WHERE id LIKE '%06';
    INSERT INTO connection (id, kind, channel_grant, source_server, target_server, status, held_by, cut_epoch,
            created_at, changed_at, first_connected_at)
        SELECT '00000000-0000-4000-8000-000000000017', kind, '00000000-0000-4000-8000-000000000016',
            source_server, target_server, 'Paused', 'both', 3, 1, 1, 9 FROM connection WHERE id LIKE '%07';
    INSERT INTO connection (id, kind, channel_grant, source_server, target_server, status, source_last_name,
            target_last_name, created_at, changed_at)
        SELECT '00000000-0000-4000-8000-000000000027', kind, '00000000-0000-4000-8000-000000000026',
            source_server, target_server, 'Terminated', 'was A', 'was B', 2, 2 FROM connection
            WHERE id LIKE '%07';
    INSERT INTO connection_secret (connection, epoch, made_at)
        SELECT id, CASE WHEN id LIKE '%17' THEN 1 ELSE 2 END, 1 FROM connection WHERE id NOT LIKE '%07';";

/// An offer of the server B.
const OFFERED: &str = "
    INSERT INTO connection (id, kind, agreement, recipient, expires_at, target_server, status, created_at,
            changed_at)
        SELECT '00000000-0000-4000-8000-000000000008', 'Admin RO', g.agreement, g.holder, 9, c.target_server,
            'Offered', 0, 0
        FROM connection c JOIN channel_grant g ON g.id = c.channel_grant;";

const AT: Timestamp = Timestamp::from_millis(1_000);

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&Location::Sqlite(path.into())).await
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("platform.db");
    (folder, path)
}

/// Writes a database as an earlier adit left it.
async fn write_scripts(path: &Path, scripts: &[&'static str]) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    for script in scripts {
        sqlx::raw_sql(*script).execute(&pool).await.unwrap();
    }
    pool.close().await;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn connections(tx: &mut Tx) -> Vec<ConnectionRecord> {
    let page = tx.list_connections(None, AT, &ConnectionFilter::default(), &Paging::default()).await.unwrap();
    page.rows.into_iter().map(|row| row.connection).collect()
}

async fn facts(tx: &mut Tx) -> Vec<FactRecord> {
    let mut facts = Vec::new();
    for id in tx.texts("SELECT DISTINCT connection AS it FROM connection_fact ORDER BY 1").await {
        facts.extend(tx.facts(id.parse().unwrap()).await.unwrap());
    }
    facts
}

async fn count(tx: &mut Tx, query: &'static str) -> u32 {
    tx.count("counting", sql(query)).await.unwrap()
}

fn organization(number: u8) -> OrganizationRecord {
    OrganizationRecord {
        id: OrganizationId::from_random([number; 16]),
        name: format!("Organization {number}").parse().unwrap(),
        tier: Tier::Free,
        created_at: AT,
        needs_second_factor: false,
    }
}
