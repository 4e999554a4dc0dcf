//! What agent and gateway keep on disk.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_agent::state::{AgentState, Enrolment, StoredSecret};
use adit_core::config::LogFormat;
use adit_core::config::gateway::{GatewayConfig, IdentityProviders, RelayConfig};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::RouteId;
use adit_core::domain::page::Paging;
use adit_core::domain::status::Status;
use adit_core::protocol::rules::RuleBook;
use adit_gateway::authority::Authority;
use adit_gateway::platform::{CarriedView, ConnectionFilter, ConnectionView, Initiator, Platform};
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_net::host::folder::Folder;
use adit_net::identity::known_keys::KnownKeys;
use adit_net::identity::local_https::LocalNames;
use adit_net::identity::time::HostClock;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use super::{CONNECTION, KEY, NOW, OTHER, PEER, SERVER, golden, is_written_alike, rules, secret};

/// A state folder with these golden files.
fn state(names: &[&str]) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    for name in names {
        put(&path.join(name), &golden(name));
    }
    (parent, path)
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn enrolment() -> Enrolment {
    Enrolment {
        server: SERVER,
        route: RouteId::from_bytes([0x45; 8]),
        gateway_route: RouteId::from_bytes([0x46; 8]),
        gateway_addresses: vec![
            "gateway.example.org:443".parse().unwrap(),
            "[2001:db8::1]:443".parse().unwrap(),
        ],
        trust_domain: "example.org".parse().unwrap(),
        ca: vec![0x30, 2],
        leaf: vec![0x30, 1],
        spent_token: [0x77; 32],
    }
}

fn known_keys() -> KnownKeys {
    let mut keys = KnownKeys::default();
    keys.trust(CONNECTION, KEY);
    keys.meet(OTHER, KEY);
    keys
}

fn rule_book() -> RuleBook {
    let mut book = RuleBook::default();
    book.apply_snapshot(4, rules(), vec![KEY]);
    book.apply_ended(vec![OTHER]);
    book
}

fn held(epoch: u8) -> StoredSecret {
    StoredSecret { epoch: epoch.into(), secret: secret(epoch) }
}

#[test]
fn every_file_of_an_agent_reads_as_it_was_meant() {
    let parent = tempfile::tempdir().unwrap();
    let made = AgentState::open(&parent.path().join("state")).unwrap();
    made.store_enrolment(&enrolment()).unwrap();
    made.store_known_keys(known_keys).unwrap();
    made.store_rule_book(|| Arc::new(rule_book())).unwrap();
    made.store_secret(CONNECTION, &held(1)).unwrap();
    made.store_secret(CONNECTION, &held(2)).unwrap();
    made.store_secret(OTHER, &held(1)).unwrap();
    made.store_clock_offset_millis(-1_500).unwrap();
    let addresses = BTreeMap::from([(PEER, vec!["192.0.2.7:4433".parse().unwrap()])]);
    made.store_peer_addresses(&addresses).unwrap();
    made.store_udp_port(4433).unwrap();
    made.trust_mirth_key(CONNECTION, KEY).unwrap();
    let names = [
        "enrolment.json",
        "known-keys.json",
        "rules.json",
        "secrets.json",
        "clock.json",
        "peer-addresses.json",
        "udp-port.json",
        "mirth-keys.json",
    ];
    for name in names {
        is_written_alike(name, &fs::read(made.path().join(name)).unwrap());
    }

    let (_parent, path) = state(&names);
    let read = AgentState::open_read_only(&path).unwrap();
    assert_eq!(read.enrolled().unwrap(), enrolment());
    assert_eq!(read.known_keys().unwrap(), known_keys());
    assert_eq!(read.rule_book().unwrap(), rule_book());
    let secrets = BTreeMap::from([(CONNECTION, vec![held(2), held(1)]), (OTHER, vec![held(1)])]);
    assert_eq!(read.all_secrets().unwrap(), secrets);
    assert_eq!(read.clock_offset_millis().unwrap(), -1_500);
    assert_eq!(read.peer_addresses().unwrap(), addresses);
    assert_eq!(read.udp_port().unwrap(), Some(4433));
    assert_eq!(read.mirth_keys().unwrap(), BTreeMap::from([(CONNECTION, KEY)]));
    assert!(read.damaged_caches().is_empty());
}

/// Random when they were made; no host has them.
#[test]
fn the_key_files_of_an_agent_read_as_they_were_meant() {
    if super::is_writing() {
        let parent = tempfile::tempdir().unwrap();
        let made = AgentState::open(&parent.path().join("state")).unwrap();
        let names = LocalNames { names: vec!["mirth.example.org".into()], addresses: Vec::new() };
        made.make_local_certificate(&names, NOW).unwrap();
        let key = made.key_pair().unwrap().fingerprint();
        for name in ["key.p8", "admin-https.json"] {
            is_written_alike(name, &fs::read(made.path().join(name)).unwrap());
        }
        is_written_alike("key.fingerprint", key.to_string().as_bytes());
    }
    let (_parent, path) = state(&["key.p8", "admin-https.json"]);
    let read = AgentState::open_read_only(&path).unwrap();
    assert_eq!(read.own_key().unwrap().unwrap().to_string().as_bytes(), golden("key.fingerprint"));
    let names = LocalNames { names: vec!["mirth.example.org".into()], addresses: Vec::new() };
    assert!(read.local_certificate().unwrap().unwrap().serves(&names, NOW));
}

/// Made by `adit lab` of that version.
#[tokio::test]
async fn every_file_of_a_gateway_reads_as_it_was_meant() {
    let (_parent, path) = state(&["authority.json", "ca.p8", "sealing.key"]);
    let folder = Folder::open(&path).unwrap();
    let authority = Authority::open(&folder, &"lab.adit.test".parse().unwrap(), NOW).unwrap();
    assert_eq!(authority.trust().trust_domain().to_string(), "lab.adit.test");

    let database = path.join("platform.db");
    put(&database, b"");
    let options = SqliteConnectOptions::new().filename(&database);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let script = String::from_utf8(golden("platform.sql")).unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let platform = Platform::open(&path, Arc::new(HostClock)).await.unwrap();
    let connections = platform
        .list_connections(
            &Initiator::Host { name: "test".into() },
            &ConnectionFilter::default(),
            &Paging::default(),
        )
        .await;
    let connections = connections.unwrap().rows;
    let expected = [Protocol::Mllp, Protocol::Dicom];
    for expected in expected {
        let is_expected = |view: &&ConnectionView| matches!(view.carried, CarriedView::Channel { protocol, .. } if protocol == expected);
        let connection = connections.iter().find(is_expected).unwrap();
        assert_eq!(connection.status, Status::Active);
        assert_eq!(connection.source.name.to_string(), "Lakeside Mirth");
    }
    assert_eq!(connections.len(), expected.len());
    platform.close().await.unwrap();
    // What is sealed in it opens with its key: otherwise the platform does not open.
    let sockets = GatewaySockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = GatewayConfig {
        name: sockets.address().into(),
        listen: sockets.address(),
        state: path,
        database: None,
        trust_domain: "lab.adit.test".parse().unwrap(),
        metrics: None,
        log: LogFormat::Text,
        relay: RelayConfig::default(),
        identity_providers: IdentityProviders::default(),
        console: None,
    };
    let gateway = Gateway::start(&config, sockets, Arc::new(HostClock)).await.unwrap();
    gateway.shutdown().await;
}
