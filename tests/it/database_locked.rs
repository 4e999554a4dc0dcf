//! A gateway whose database another process keeps locked for longer than an act waits: to agents it is away, and
//! what they tell meanwhile is in the audit once.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_agent::enrol::EnrolError;
use adit_core::domain::access::Access;
use adit_core::domain::id::BootId;
use adit_core::domain::limits::{STORE_LOCK_ASKED_EVERY, STORE_LOCK_SAID_AFTER};
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{
    Change, NoteNumber, PeerRefusal, SessionReport, SessionStage, ToAgent, ToGateway, VERSION,
};
use adit_lab::admin_client::AdminClient;
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::net::TcpListener;

use super::lab::{Lab, Part, eventually};
use super::world::{Agent, Link, Pair, World};

const BASE: &str = "/api/4.5.2";
const BOOT: BootId = BootId::from_bytes([1; 8]);
const NOTES: u64 = 40;
/// For a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// The only one who may write.
struct Locked(SqliteConnection);

impl Locked {
    async fn by(state: &Path) -> Self {
        let mut database = open(state).await;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut database).await.unwrap();
        Self(database)
    }

    async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

async fn open(state: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(state.join("platform.db")).connect().await.unwrap()
}

/// How often something of this action is in the audit, each organization's log counted.
async fn counted(state: &Path, action: &'static str) -> i64 {
    let sum = "SELECT coalesce(sum(times), 0) FROM audit WHERE action = ?";
    sqlx::query_scalar(sum).bind(action).fetch_one(&mut open(state).await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_begin_while_the_database_is_locked_are_in_the_audit_once() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mirth = AdminMirth::start(listener).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly; 3]).await;
    let locked = Locked::by(&lab.state(Part::Gateway)).await;
    let mut clients: Vec<AdminClient> = Vec::new();
    for index in 0..3 {
        let mut client = lab.administrator(index).await;
        assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200, "what runs goes on");
        clients.push(client);
    }
    for part in [Part::A, Part::B] {
        database_is_away(&lab, part, true).await;
    }
    assert_eq!(counted(&lab.state(Part::Gateway), "admin session started").await, 0);
    locked.release().await;
    for part in [Part::A, Part::B] {
        database_is_away(&lab, part, false).await;
    }
    // Each session has two ends that tell of it, in two logs.
    eventually("every session is in the audit", async || {
        (counted(&lab.state(Part::Gateway), "admin session started").await >= 12).then_some(())
    })
    .await;
    assert_eq!(counted(&lab.state(Part::Gateway), "admin session started").await, 12);
    let log = lab.log(Part::Gateway);
    assert_eq!(log.matches("the database is away").count(), 1, "said once");
    mirth.shutdown().await;
}

async fn database_is_away(lab: &Lab, part: Part, is_away: bool) {
    eventually(&format!("{part:?} hears whether the database is away: {is_away}"), async || {
        let status = lab.status(part).await?;
        (status.gateway.on == Some(true) && status.gateway_database_away_since.is_some() == is_away)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn notes_said_while_the_database_is_locked_are_taken_once_over_whichever_link() {
    let world = World::start().await;
    let pair = world.pair().await;
    let mut link = linked(&world, &pair.target).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { .. })));
    let locked = Locked::by(&world.state()).await;
    for number in 1..=NOTES {
        link.send(note(&pair, number)).await;
    }
    assert!(matches!(link.next().await, Ok(ToAgent::Database { away_since: Some(_) })));
    // What it says again meanwhile is the same.
    for number in 1..=NOTES {
        link.send(note(&pair, number)).await;
    }
    locked.release().await;
    let mut told = Vec::new();
    while told.len() < usize::try_from(NOTES).unwrap() {
        match link.next().await {
            // One that was under way when it was said again is acknowledged for either.
            Ok(ToAgent::Noted { note }) if told.last() == Some(&note.0) => {}
            Ok(ToAgent::Noted { note }) => told.push(note.0),
            Ok(ToAgent::Database { away_since: None }) => {}
            other => panic!("expected acknowledgements, got {other:?}"),
        }
    }
    assert_eq!(told, (1..=NOTES).collect::<Vec<_>>());
    drop(link);
    // Nothing of that was heard, so all is said again.
    let mut link = linked(&world, &pair.target).await;
    for number in 1..=NOTES {
        link.send(note(&pair, number)).await;
    }
    let mut last = 0;
    while last < NOTES {
        if let ToAgent::Noted { note } = link.next().await.unwrap() {
            last = note.0;
        }
    }
    // Half of them are of sessions that channel data has not; both organizations read of the others.
    assert_eq!(counted(&world.state(), "refuse peer").await, i64::try_from(NOTES).unwrap());
}

#[tokio::test]
async fn a_lock_is_told_of_within_some_ten_seconds_though_nobody_writes() {
    let world = World::start().await;
    let pair = world.pair().await;
    let mut link = linked(&world, &pair.target).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { .. })));
    let locked = Locked::by(&world.state()).await;
    let since = Instant::now();
    assert!(matches!(link.next().await, Ok(ToAgent::Database { away_since: Some(_) })));
    let took = since.elapsed();
    println!("told of the lock after {took:?}");
    assert!(took < STORE_LOCK_ASKED_EVERY + STORE_LOCK_SAID_AFTER + SLACK, "{took:?}");
    locked.release().await;
}

#[tokio::test]
async fn what_changed_meanwhile_is_told_before_that_the_database_is_back() {
    let world = World::start().await;
    let pair = world.pair().await;
    let mut link = linked(&world, &pair.target).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { .. })));
    let mut locked = Locked::by(&world.state()).await;
    link.send(note(&pair, 1)).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Database { away_since: Some(_) })));
    // The one who has it locked changes something: what the link is told of once it is back.
    for change in [
        "UPDATE connection SET cut_epoch = cut_epoch + 1",
        "INSERT INTO change (organization, server, connection, kind)
            SELECT NULL, target_server, id, 'connection' FROM connection",
        "COMMIT",
    ] {
        sqlx::query(change).execute(&mut locked.0).await.unwrap();
    }
    let mut order = Vec::new();
    while order.len() < 2 {
        match link.next().await.unwrap() {
            ToAgent::Change { change: Change::Rule { rule }, .. } => order.push((true, rule.cut_epoch)),
            ToAgent::Database { away_since: None } => order.push((false, 0)),
            ToAgent::Noted { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(order, [(true, 1), (false, 0)]);
}

#[tokio::test]
async fn a_host_that_enrols_meanwhile_is_told_when_to_come_back() {
    let world = World::start().await;
    let pair = world.pair().await;
    let server = world.server("new").await;
    let host = world.host("new");
    host.write(&world.connector(server).await);
    let mut link = linked(&world, &pair.target).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { .. })));
    let locked = Locked::by(&world.state()).await;
    link.send(note(&pair, 1)).await;
    assert!(matches!(link.next().await, Ok(ToAgent::Database { away_since: Some(_) })));
    let refused = host.enrol().await.unwrap_err();
    let EnrolError::NotNow { answer, retry_after: Some(_), .. } = refused else { panic!("{refused:?}") };
    assert!(answer.contains("an agent asks again by itself"), "{answer}");
    locked.release().await;
    loop {
        if let ToAgent::Database { away_since: None } = link.next().await.unwrap() {
            break;
        }
    }
    assert_eq!(host.enrol().await.unwrap().server, server, "with the same token");
}

/// A link that is welcomed, of one run of an agent that is told of the database.
async fn linked(world: &World, agent: &Agent) -> Link {
    let mut link = agent.dial(world).await.unwrap();
    link.send(ToGateway::Hello {
        version: VERSION,
        versions: Vec::new(),
        capabilities: Capabilities::own(),
        software: "adit test".into(),
        boot: BOOT,
    })
    .await;
    assert!(matches!(link.next().await, Ok(ToAgent::Welcome { .. })));
    link
}

/// Every other one is of a session.
fn note(pair: &Pair, number: u64) -> ToGateway {
    let note = Some(NoteNumber(number));
    if number.is_multiple_of(2) {
        let session = SessionReport {
            number,
            stage: SessionStage::Started.into(),
            local_peer: std::net::Ipv4Addr::LOCALHOST.into(),
            requests: 0,
            refused: 0,
            changes: 0,
            audits: 0,
        };
        return ToGateway::AdminSession { connection: pair.connection, session, note };
    }
    let reason = PeerRefusal::WrongSecret.into();
    let (connection, peer) = (Some(pair.connection), Some(pair.source.server()));
    ToGateway::RefusedPeer { connection, peer, reason, left_out: 0, note }
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_even_where_that_cannot_be_written() {
    let world = World::start().await;
    let pair = world.pair().await;
    let mut link = linked(&world, &pair.target).await;
    let locked = Locked::by(&world.state()).await;
    let mut database = locked.0;
    for change in [
        "INSERT INTO revoked_key (key, server, revoked_at) SELECT key, id, 1 FROM server WHERE key IS NOT NULL",
        "UPDATE server SET key = NULL",
        "INSERT INTO change (organization, server, kind) SELECT organization, id, 'key' FROM server",
        "COMMIT",
        "BEGIN IMMEDIATE",
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
    }
    let reason = loop {
        if let ToAgent::Goodbye { reason, .. } = link.next().await.unwrap() {
            break reason;
        }
    };
    assert!(reason.contains("empty its state folder"), "{reason}");
    Locked(database).release().await;
}
