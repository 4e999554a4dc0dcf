use std::collections::BTreeSet;

use super::*;
use crate::store::cells::Cells;
use crate::store::fixture::Place;
use crate::store::tables::Kind;
use crate::store::{Location, TakeBackError};
use adit_core::domain::id::OrganizationId;

const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([7; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

const fn is_postgres(place: &Place) -> bool {
    matches!(place.location, Location::Postgres(_))
}

/// A database with rows of every kind of value, on the engine that is tested.
async fn source() -> (Place, Store) {
    let place = Place::new().await;
    let store = Store::open_to_move(&place.location).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let query = "INSERT INTO organization (id, name, tier, created_at) VALUES ($1, $2, $3, $4)";
    let query = sql(query).bind(ORGANIZATION.to_string()).bind("Größe & 'Söhne'").bind("Free").bind(1);
    tx.run("test", query).await.unwrap();
    let query = "INSERT INTO server (id, organization, name, description, version, route, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let server = "00000000-0000-4000-8000-000000000001";
    let query = sql(query).bind(server).bind(ORGANIZATION.to_string()).bind("A").bind("").bind("");
    tx.run("test", query.bind("0011223344556677").bind(2)).await.unwrap();
    let query =
        "INSERT INTO registration_token (server, hash, issued_at, expires_at) VALUES ($1, $2, $3, $4)";
    tx.run("test", sql(query).bind(server).bind([0, 255].repeat(16)).bind(1).bind(2)).await.unwrap();
    let query = "INSERT INTO server_link (server, gateway, is_up, since) VALUES ($1, $2, $3, $4)";
    tx.run("test", sql(query).bind(server).bind("8899aabbccddeeff").bind(true).bind(3)).await.unwrap();
    for row in 0..1_203 {
        let query = "INSERT INTO audit (at, organization, actor, action, object, outcome, detail, times)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let organization = (row % 2 == 0).then(|| ORGANIZATION.to_string());
        let query =
            sql(query).bind(row).bind(organization).bind("a").bind("b").bind("c").bind("done").bind("");
        tx.run("test", query.bind(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
    (place, store)
}

/// An empty database of the other engine where there are two, else of the same.
async fn target(place: &Place) -> (tempfile::TempDir, Store) {
    let (folder, location) = target_place(place).await;
    (folder, Store::open_to_move(&location).await.unwrap())
}

async fn target_place(place: &Place) -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let location = if is_postgres(place) {
        Location::Sqlite(folder.path().join("other.db"))
    } else {
        Place::new().await.location
    };
    if let Location::Sqlite(path) = &location {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    (folder, location)
}

async fn count(store: &Store, table: &str) -> u32 {
    let mut tx = store.read().await.unwrap();
    tx.count("test", sql_of(format!("SELECT count(*) AS n FROM {table}"))).await.unwrap()
}

#[tokio::test]
async fn every_row_is_moved_to_the_other_engine_where_new_rows_go_on_after_it() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    let moved = source.move_to(&target, NOW, true).await.unwrap();
    let rows = |name| moved.iter().find(|table| table.name == name).unwrap().rows;
    assert_eq!((moved.len(), rows("organization"), rows("audit")), (TABLES.len(), 1, 1_203));
    let newest = target.read().await.unwrap().newest_number(&TABLES[14]).await.unwrap();
    let mut tx = target.write().await.unwrap();
    let query = "INSERT INTO audit (at, actor, action, object, outcome, detail, times)
         VALUES (1, 'a', 'b', 'c', 'done', '', 1) RETURNING id";
    let id = tx.one("test", sql(query), |cells| cells.serial("id")).await.unwrap();
    assert_eq!(id, Some(newest + 1));
}

#[tokio::test]
async fn nothing_is_left_where_the_target_is_not_the_same() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    let (mut from, mut to) = (source.write().await.unwrap(), target.write().await.unwrap());
    for name in ["build", "feed"] {
        to.run("test", sql_of(format!("DELETE FROM {name}"))).await.unwrap();
    }
    for table in &TABLES {
        copy(&mut from, &mut to, table).await.unwrap();
    }
    let organization = &TABLES[1];
    assert_eq!(compare(&mut from, &mut to, organization).await.unwrap(), 1);
    to.run("test", sql("UPDATE organization SET tier = 'Standard'")).await.unwrap();
    match compare(&mut from, &mut to, organization).await {
        Err(MoveError::Differs { table: "organization", column: "tier", row }) => {
            assert_eq!(row, ORGANIZATION.to_string());
        }
        other => panic!("{other:?}"),
    }
    to.run("test", sql("DELETE FROM registration_token")).await.unwrap();
    let shorter = compare(&mut from, &mut to, &TABLES[6]).await;
    assert!(matches!(shorter, Err(MoveError::Longer { side: "source", .. })), "{shorter:?}");
    drop(to);
    assert_eq!(count(&target, "organization").await, 0);
}

#[tokio::test]
async fn only_an_empty_target_is_taken() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    target.write().await.unwrap().add_organization().await;
    let moved = source.move_to(&target, NOW, false).await;
    assert!(matches!(moved, Err(MoveError::Taken { table: "organization" })), "{moved:?}");
    assert_eq!(source.write().await.unwrap().fence().await.unwrap(), None, "the source is as it was");
}

impl Tx {
    /// Adds one of which nothing matters but that it is there, and commits.
    async fn add_organization(mut self) {
        let query = "INSERT INTO organization (id, name, tier, created_at) VALUES ($1, 'Other', 'Free', 1)";
        let id = OrganizationId::from_bytes([8; 16]).to_string();
        self.run("test", sql(query).bind(id)).await.unwrap();
        self.commit().await.unwrap();
    }
}

const fn is_moved(error: &StoreError) -> bool {
    matches!(error, StoreError::Moved { .. })
}

const fn is_unfinished(error: &StoreError) -> bool {
    matches!(error, StoreError::Unfinished { .. })
}

#[tokio::test]
async fn a_platform_that_has_moved_is_served_at_its_new_place_alone() {
    let (place, source) = source().await;
    let (_folder, target_at) = target_place(&place).await;
    let target = Store::open_to_move(&target_at).await.unwrap();
    // Whoever has it open since before.
    let before = place.store().await;
    source.move_to(&target, NOW, true).await.unwrap();
    let refused = Store::open(&place.location).await.unwrap_err();
    let said = refused.to_string();
    assert!(is_moved(&refused) && said.contains(&target.place) && said.contains(&NOW.to_string()), "{said}");
    let written = before.write().await.map(drop).unwrap_err();
    assert!(is_moved(&written), "{written}");
    if is_postgres(&place) {
        assert!(before.read().await.map(drop).is_err_and(|error| is_moved(&error)));
    }
    let looked = place.location.look().await.unwrap_err();
    assert!(is_moved(&looked), "{looked}");
    Store::open(&target_at).await.unwrap().write().await.unwrap().add_organization().await;
    assert!(target_at.look().await.unwrap().has_organizations);
}

#[tokio::test]
async fn a_moved_platform_is_not_moved_on_and_its_old_place_is_no_target() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    source.move_to(&target, NOW, false).await.unwrap();
    let (_other_folder, other) = self::target(&place).await;
    let again = source.move_to(&other, NOW, false).await;
    assert!(matches!(&again, Err(MoveError::Store(error)) if is_moved(error)), "{again:?}");
    let back = target.move_to(&source, NOW, false).await;
    assert!(matches!(&back, Err(MoveError::Left { .. })), "{back:?}");
    let (_empty_folder, emptied) = self::target(&place).await;
    target.move_to(&emptied, NOW, false).await.unwrap();
}

#[tokio::test]
async fn a_move_that_broke_off_leaves_the_source_in_use_and_is_finished_by_the_same_one() {
    let (place, source) = source().await;
    let (_folder, target_at) = target_place(&place).await;
    let target = Store::open_to_move(&target_at).await.unwrap();
    // Killed before the source is fenced.
    drop(source.arrive_at(&target, NOW, false).await.unwrap());
    drop(place.store().await.write().await.unwrap());
    let refused = Store::open(&target_at).await.unwrap_err();
    assert!(is_unfinished(&refused) && refused.to_string().contains(&source.place), "{refused}");
    // And before the target's is lifted.
    leave(source.arrive_at(&target, NOW, false).await.unwrap()).await.unwrap();
    assert!(is_moved(&Store::open(&place.location).await.unwrap_err()));
    assert!(is_unfinished(&Store::open(&target_at).await.unwrap_err()));
    let moved = source.move_to(&target, NOW, false).await.unwrap();
    assert_eq!(moved.len(), TABLES.len(), "all is compared again");
    Store::open(&target_at).await.unwrap();
}

#[tokio::test]
async fn an_unfinished_move_is_not_finished_where_the_source_has_changed_since() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    drop(source.arrive_at(&target, NOW, false).await.unwrap());
    place.store().await.write().await.unwrap().add_organization().await;
    let again = source.move_to(&target, NOW, false).await;
    assert!(matches!(&again, Err(MoveError::Outdated { table: "organization" })), "{again:?}");
    drop(place.store().await.write().await.unwrap());
}

#[tokio::test]
async fn a_moved_platform_is_taken_back_on_purpose_alone() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    assert!(matches!(source.take_back().await, Err(TakeBackError::NotMoved)));
    drop(source.arrive_at(&target, NOW, false).await.unwrap());
    let unfinished = target.take_back().await;
    assert!(
        matches!(&unfinished, Err(TakeBackError::Store(error)) if is_unfinished(error)),
        "{unfinished:?}"
    );
    source.move_to(&target, NOW, false).await.unwrap();
    let taken = source.take_back().await.unwrap();
    assert_eq!((taken.place, taken.at), (target.place.clone(), NOW));
    drop(place.store().await.write().await.unwrap());
}

#[tokio::test]
async fn a_place_is_told_without_its_password() {
    let url = "postgres://adit:hunter2@127.0.0.1:5433/platform".parse().unwrap();
    assert_eq!(Location::Postgres(url).place().unwrap(), "postgres://127.0.0.1:5433/platform");
}

#[tokio::test]
async fn nothing_is_no_platform_to_move() {
    let place = Place::new().await;
    let (_folder, target) = target(&place).await;
    let moved = place.store().await.move_to(&target, NOW, false).await;
    assert!(matches!(moved, Err(MoveError::Nothing)), "{moved:?}");
}

#[tokio::test]
async fn what_a_living_gateway_serves_is_not_moved() {
    let (place, source) = source().await;
    let (_folder, target) = target(&place).await;
    let mut tx = source.write().await.unwrap();
    let until = Timestamp::from_millis(NOW.as_millis() + 1);
    let lease = "INSERT INTO gateway_lease (gateway, until) VALUES ('8899aabbccddeeff', $1)";
    tx.run("test", sql(lease).bind(until.as_millis())).await.unwrap();
    tx.commit().await.unwrap();
    let moved = source.move_to(&target, NOW, true).await;
    assert!(matches!(moved, Err(MoveError::Served { until: named }) if named == until), "{moved:?}");
    source.move_to(&target, until, true).await.unwrap();
}

type Named = (String, String, Kind);

/// Every column of the schema that is open.
async fn columns(store: &Store, is_postgres: bool) -> BTreeSet<Named> {
    let query = if is_postgres {
        "SELECT table_name::text AS held, column_name::text AS named, data_type::text AS kept
             FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT IN ('adit_schema', 'fence')"
    } else {
        "SELECT m.name AS held, p.name AS named, p.type AS kept FROM sqlite_schema m JOIN pragma_table_info(m.name) p
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'fence'"
    };
    let read = |cells: &Cells| {
        let kept = cells.string("kept")?;
        let kind = match kept.as_str() {
            "text" | "TEXT" => Kind::Text,
            "bigint" | "INTEGER" => Kind::Number,
            "boolean" => Kind::Flag,
            "bytea" | "BLOB" => Kind::Bytes,
            other => panic!("no kind of ours: {other}"),
        };
        Ok((cells.string("held")?, cells.string("named")?, kind))
    };
    let mut tx = store.read().await.unwrap();
    tx.all("test", sql(query), read).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn no_table_or_column_of_the_schema_is_forgotten() {
    let place = Place::new().await;
    let found = columns(&place.store().await, is_postgres(&place)).await;
    // SQLite has no flags of its own.
    let kind = |kind| if kind == Kind::Flag && !is_postgres(&place) { Kind::Number } else { kind };
    let listed = TABLES.iter().flat_map(|table| {
        table.columns.iter().map(move |it| (table.name.to_owned(), it.name.to_owned(), kind(it.kind)))
    });
    assert_eq!(found, listed.collect());
}

#[tokio::test]
async fn every_table_stands_after_those_it_refers_to_with_its_own_key() {
    let place = Place::new().await;
    if is_postgres(&place) {
        return;
    }
    let store = place.store().await;
    let mut tx = store.read().await.unwrap();
    let mut before = BTreeSet::new();
    for table in &TABLES {
        let references = sql("SELECT \"table\" AS name FROM pragma_foreign_key_list($1)").bind(table.name);
        for name in tx.all("test", references, |cells| cells.string("name")).await.unwrap() {
            assert!(before.contains(&name), "{} refers to {name}", table.name);
        }
        let key = sql("SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk").bind(table.name);
        assert_eq!(
            tx.all("test", key, |cells| cells.string("name")).await.unwrap(),
            table.key,
            "{}",
            table.name
        );
        before.insert(table.name.to_owned());
    }
}
