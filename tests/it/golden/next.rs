//! What this build says and keeps beyond what the released version did: each form in one place, until a version is
//! made of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use adit_agent::state::AgentState;
use adit_core::domain::id::{RelayId, RouteId};
use adit_core::domain::measurement::{Figure, Sums};
use adit_core::domain::path::PathKind;
use adit_core::protocol::control::{
    Change, NoteNumber, PeerPaths, PeerRefusal, Rule, SessionReport, SessionStage, ToAgent, ToGateway,
};
use adit_core::protocol::rules::RuleBook;

use super::wire::{lines, read_lines};
use super::{CONNECTION, NOW, PEER, golden, is_written_alike, rules};

/// One that may go through two relays.
fn relayed() -> Rule {
    let relays = [0x46, 0x47].map(|byte| RelayId(RouteId::from_bytes([byte; 8])));
    Rule { relays: relays.to_vec().try_into().unwrap(), ..rules().remove(0) }
}

/// A minute with something in every place.
fn sums() -> Sums {
    let mut sums = Sums::default();
    for (number, figure) in (1..).zip(Figure::ALL) {
        sums.add(figure, number);
    }
    sums.latencies_mut().note(Duration::from_millis(3));
    sums
}

fn to_gateway() -> Vec<ToGateway> {
    let session = SessionReport {
        number: 3,
        stage: SessionStage::Started.into(),
        local_peer: "192.0.2.9".parse().unwrap(),
        requests: 9,
        refused: 2,
        changes: 1,
        audits: 4,
    };
    vec![
        ToGateway::AllowedPaths {
            peers: vec![PeerPaths {
                peer: PEER,
                allowed: vec![PathKind::Tcp.into(), PathKind::Relay.into()],
            }],
        },
        ToGateway::RefusedPeer {
            connection: Some(CONNECTION),
            peer: Some(PEER),
            reason: PeerRefusal::Paused.into(),
            left_out: 7,
            note: Some(NoteNumber(1)),
        },
        ToGateway::AdminSession { connection: CONNECTION, session, note: Some(NoteNumber(2)) },
        ToGateway::Measured { connection: CONNECTION, at: NOW, sums: sums() },
    ]
}

fn to_agent() -> Vec<ToAgent> {
    vec![
        ToAgent::AllowedPaths { peer: PEER, allowed: vec![PathKind::Direct.into()] },
        ToAgent::Database { away_since: Some(NOW) },
        ToAgent::Database { away_since: None },
        ToAgent::Noted { note: NoteNumber(1) },
        ToAgent::Change { revision: 5, change: Change::Rule { rule: relayed() } },
    ]
}

#[test]
fn every_newer_control_message_reads_as_it_was_meant() {
    is_written_alike("next/to-gateway.jsonl", &lines(&to_gateway()));
    assert_eq!(read_lines::<ToGateway>("next/to-gateway.jsonl"), to_gateway());
    is_written_alike("next/to-agent.jsonl", &lines(&to_agent()));
    assert_eq!(read_lines::<ToAgent>("next/to-agent.jsonl"), to_agent());
}

#[test]
fn a_rule_that_names_relays_is_kept_as_it_was_given() {
    let parent = tempfile::tempdir().unwrap();
    let state = AgentState::open(&parent.path().join("state")).unwrap();
    let mut book = RuleBook::default();
    book.apply_snapshot(4, vec![relayed()], Vec::new());
    state.store_rule_book(|| Arc::new(book.clone())).unwrap();
    is_written_alike("next/rules.json", &fs::read(state.path().join("rules.json")).unwrap());
    let read: RuleBook = serde_json::from_slice(&golden("next/rules.json")).unwrap();
    assert_eq!(read, book);
}
