//! Golden files: what each released version wrote on the wire and into its state, read by this build, and
//! written again where there is one way to write it.
//!
//! `tests/golden/VERSION` is never changed once that version is out. A new version's is written by
//! `ADIT_GOLDEN=write cargo test --test it golden` before its first change to a format. `tests/golden/next` has the
//! forms that no released version wrote yet.

mod next;
mod state;
mod wire;

use std::fs;
use std::path::PathBuf;

use adit_core::domain::connection::{ConnectionType, Protocol, Side};
use adit_core::domain::id::{ConnectionId, KeyFingerprint, RouteId, ServerId};
use adit_core::domain::relays::Relays;
use adit_core::domain::secret::Secret;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::{Activity, Rule};

const VERSION: &str = "0.1.0";
const CONNECTION: ConnectionId = ConnectionId::from_bytes([0x11; 16]);
const OTHER: ConnectionId = ConnectionId::from_bytes([0x12; 16]);
const PEER: ServerId = ServerId::from_bytes([0x22; 16]);
const SERVER: ServerId = ServerId::from_bytes([0x23; 16]);
const KEY: KeyFingerprint = KeyFingerprint::from_bytes([0x33; 32]);
const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

const fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}

/// Returns where a file lies: the released version's, unless another folder is named.
fn path(name: &str) -> PathBuf {
    let folder = if name.contains('/') { "" } else { VERSION };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(folder).join(name)
}

/// What the released version wrote.
fn golden(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// This build writes what the released version wrote.
#[track_caller]
fn is_written_alike(name: &str, bytes: &[u8]) {
    if is_writing() {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), bytes).unwrap();
    }
    let expected = golden(name);
    let shown = String::from_utf8_lossy(bytes);
    assert!(
        bytes == expected,
        "{name} is written differently:\n{shown}\n{}",
        String::from_utf8_lossy(&expected)
    );
}

/// One rule of each type.
fn rules() -> Vec<Rule> {
    let p2p = Rule {
        connection: CONNECTION,
        kind: ConnectionType::P2p,
        protocol: Some(Protocol::Mllp),
        side: Side::Source,
        peer: PEER,
        peer_route: RouteId::from_bytes([0x44; 8]),
        source_name: "Klinik Süd".into(),
        target_name: "St Mary".into(),
        peer_organization: None,
        activity: Activity::Active,
        secret_epoch: 1,
        cut_epoch: 0,
        relays: Relays::default(),
    };
    let admin = |number: u8, kind, activity| Rule {
        connection: ConnectionId::from_bytes([number; 16]),
        kind,
        protocol: None,
        side: Side::Target,
        peer_organization: Some("Hillside Group".into()),
        activity,
        ..p2p.clone()
    };
    let carried = |number: u8, protocol, activity| Rule {
        connection: ConnectionId::from_bytes([number; 16]),
        protocol: Some(protocol),
        activity,
        ..p2p.clone()
    };
    vec![
        p2p.clone(),
        carried(0x13, Protocol::Dicom, Activity::Paused),
        carried(0x14, Protocol::Tcp, Activity::Ready),
        admin(0x15, ConnectionType::AdminRw, Activity::Active),
        admin(0x16, ConnectionType::AdminRo, Activity::Ready),
    ]
}

/// Whether a new version's files are being made.
fn is_writing() -> bool {
    std::env::var_os("ADIT_GOLDEN").is_some_and(|word| word == "write")
}
