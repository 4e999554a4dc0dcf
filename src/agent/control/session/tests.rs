//! What an agent says while its gateway's database is there, is away, and is back.

use tempfile::TempDir;

use super::*;
use crate::entries::Entries;
use crate::fixture::{self, Fixture};
use crate::parts;
use crate::policy::tests::rule;
use adit_core::protocol::control::PeerRefusal;
use adit_net::identity::time::{HostClock, LearntClock};

const AWAY: ToAgent = ToAgent::Database { away_since: Some(Timestamp::from_millis(1_795_510_800_000)) };
const BACK: ToAgent = ToAgent::Database { away_since: None };
const NOTE: Note =
    Note::RefusedPeer { connection: None, peer: None, reason: PeerRefusal::Paused, left_out: 3 };

/// An agent with two connections, of which the gateway knows one.
struct Agent {
    client: ControlClient,
    _folder: TempDir,
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = fixture::config(folder.path());
        let clock = Arc::new(LearntClock::new(HostClock, 0));
        let (entries, _) = Entries::from_config(&config, &clock);
        let (parts, own) = fixture::parts(folder.path(), &config, entries, clock);
        Self { client: parts::of_control(&parts, own), _folder: folder }
    }

    /// Returns its end of a new link to a gateway that acknowledges notes.
    fn link(&mut self) -> ControlSession<'_> {
        let capabilities = Capabilities::own().with(Capability::AcknowledgesNotes);
        ControlSession::new(&mut self.client, None, capabilities)
    }
}

/// Returns what is said at once to a message.
async fn answers(session: &mut ControlSession<'_>, message: ToAgent) -> Vec<ToGateway> {
    let mut outgoing = Vec::new();
    session.handle(message, &mut outgoing).await.unwrap();
    outgoing
}

/// Returns what is said at the next turn.
fn turn(session: &mut ControlSession<'_>) -> Vec<ToGateway> {
    let mut outgoing = Vec::new();
    session.report(&mut outgoing);
    outgoing
}

fn told(session: &mut ControlSession<'_>, note: Note) -> Vec<ToGateway> {
    let mut outgoing = Vec::new();
    session.tell(note, &mut outgoing);
    outgoing
}

async fn snapshot(session: &mut ControlSession<'_>) -> Vec<ToGateway> {
    let rules = vec![rule(1)].into();
    answers(session, ToAgent::Snapshot { revision: 1, rules, revoked: Vec::new() }).await
}

fn is_asked(said: &[ToGateway]) -> bool {
    said.contains(&ToGateway::FetchSecret { connection: Fixture::id(1) })
}

fn is_reported(said: &[ToGateway]) -> bool {
    let missing = ToGateway::Missing { connections: vec![Fixture::id(2)] };
    said.contains(&missing) && said.iter().any(|word| matches!(word, ToGateway::Report { .. }))
}

#[tokio::test]
async fn what_a_database_that_is_back_may_have_missed_is_said_and_asked_again() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    assert!(is_asked(&snapshot(session).await));
    assert!(is_reported(&turn(session)));
    assert_eq!(turn(session), [], "nothing is new");
    assert_eq!(answers(session, AWAY).await, []);
    assert_eq!(turn(session), []);
    assert_eq!(answers(session, BACK).await, []);
    let again = turn(session);
    assert!(is_asked(&again) && is_reported(&again), "{again:?}");
    assert_eq!(turn(session), []);
}

#[tokio::test]
async fn a_connection_without_an_entry_is_told_once() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    let rules = vec![rule(1), rule(9)].into();
    answers(session, ToAgent::Snapshot { revision: 1, rules, revoked: Vec::new() }).await;
    let is_told = |said: &[ToGateway]| {
        said.iter().any(|word| {
            matches!(word, ToGateway::Report { connection, report }
                if *connection == Fixture::id(9) && report.fault == Some(SideFault::NoEntry.into()))
        })
    };
    assert!(is_told(&turn(session)));
    assert!(!is_told(&turn(session)));
}

#[tokio::test]
async fn what_is_wrong_with_a_connection_is_told_where_its_rule_is_for_a_newer_build() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    let mut newer = serde_json::to_value(rule(1)).unwrap();
    newer["side"] = "middle".into();
    let rules: RuleList = serde_json::from_value(serde_json::json!([newer])).unwrap();
    assert_eq!(rules.unusable.len(), 1);
    answers(session, ToAgent::Snapshot { revision: 1, rules, revoked: Vec::new() }).await;
    let said = turn(session);
    let is_told = said
        .iter()
        .any(|word| matches!(word, ToGateway::Report { connection, .. } if *connection == Fixture::id(1)));
    assert!(is_told, "{said:?}");
}

#[tokio::test]
async fn nothing_is_said_to_a_database_that_is_away() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    assert_eq!(answers(session, AWAY).await, []);
    assert_eq!(snapshot(session).await, []);
    assert_eq!(turn(session), []);
    assert_eq!(answers(session, BACK).await, []);
    let said = turn(session);
    assert!(is_asked(&said) && is_reported(&said), "{said:?}");
}

#[tokio::test]
async fn that_a_secret_is_on_disk_is_said_again_to_a_database_that_is_back() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    snapshot(session).await;
    let (connection, secret) = (Fixture::id(1), Secret::from_bytes([7; 32]).reveal_hex());
    let stored = ToGateway::SecretStored { connection, epoch: 1 };
    let given = ToAgent::Secret { connection, epoch: 1, secret };
    assert_eq!(answers(session, given).await, std::slice::from_ref(&stored));
    turn(session);
    assert_eq!(turn(session), []);
    answers(session, AWAY).await;
    answers(session, BACK).await;
    assert!(turn(session).contains(&stored));
}

#[tokio::test]
async fn a_heartbeat_of_a_gateway_without_its_database_confirms_no_rule() {
    let mut agent = Agent::new();
    let policies = Arc::clone(&agent.client.policies);
    let session = &mut agent.link();
    session.has_snapshot = true;
    let beat = || ToAgent::Heartbeat { number: 1, now: HostClock.now() };
    answers(session, AWAY).await;
    answers(session, beat()).await;
    assert!(!policies.are_confirmed());
    answers(session, BACK).await;
    answers(session, beat()).await;
    assert!(policies.are_confirmed());
}

#[tokio::test]
async fn a_note_waits_for_the_database_until_it_is_acknowledged() {
    let mut agent = Agent::new();
    let session = &mut agent.link();
    let [first] = &told(session, NOTE)[..] else { panic!("it is said") };
    let ToGateway::RefusedPeer { note: Some(number), left_out: 3, .. } = first else { panic!("{first:?}") };
    answers(session, AWAY).await;
    assert_eq!(told(session, NOTE), []);
    let again = answers(session, BACK).await;
    assert_eq!((again.len(), &again[0]), (2, first));
    answers(session, ToAgent::Noted { note: *number }).await;
    assert_eq!(answers(session, BACK).await, again[1..]);
}

#[tokio::test]
async fn what_one_link_did_not_have_acknowledged_the_next_one_says() {
    let mut agent = Agent::new();
    let said = told(&mut agent.link(), NOTE);
    let mut first = Vec::new();
    agent.link().repeat_notes(&mut first);
    assert_eq!(first, said);
    // One that acknowledges nothing is told once.
    for expected in [1, 0] {
        let mut first = Vec::new();
        ControlSession::new(&mut agent.client, None, Capabilities::own()).repeat_notes(&mut first);
        assert_eq!(first.len(), expected);
        assert!(first.iter().all(|word| matches!(word, ToGateway::RefusedPeer { note: None, .. })));
    }
}
