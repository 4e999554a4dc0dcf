use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;

use super::*;

const SERVER: ServerId = ServerId::from_bytes([1; 16]);
const OTHER: ServerId = ServerId::from_bytes([2; 16]);
const CONNECTION: ConnectionId = ConnectionId::from_bytes([3; 16]);
const GATEWAY: GatewayId = GatewayId::from_bytes([7; 8]);
const NEW: Option<(Side, Option<FactRecord>)> = Some((Side::Source, None));

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_510_800_000).saturating_add(Duration::from_secs(seconds))
}

fn report(up: bool, last_ack: Option<Timestamp>) -> Report {
    Report { tunnel: up.then_some(PathKind::Direct.into()), mirth: None, last_ack, fault: None }
}

const fn link(is_up: bool, at: Timestamp) -> LinkNote {
    LinkNote { gateway: GATEWAY, is_up, came_up: is_up, at, software: None }
}

/// Takes which tunnels are written as up.
fn written(buffer: &mut MeasureBuffer, which: Flush, now: Timestamp) -> Vec<bool> {
    buffer.take_due(which, now).facts.iter().map(|fact| fact.fact.tunnel.value.is_some()).collect()
}

#[test]
fn what_keeps_a_side_from_carrying_is_a_transition_and_keeps_its_time_while_it_is_the_same() {
    let mut buffer = MeasureBuffer::default();
    let told = |word: SideFault| Report { fault: Some(word.into()), ..report(false, None) };
    let written = |buffer: &mut MeasureBuffer, now| {
        let facts = buffer.take_due(Flush::Due, now).facts;
        facts.first().map(|fact| fact.fact.fault.map(|fault| (fault.value.to_string(), fault.since)))
    };
    buffer.handle(SERVER, CONNECTION, NEW, &told(SideFault::NoPath), at(0));
    assert_eq!(written(&mut buffer, at(0)), Some(Some(("no_path".into(), at(0)))));
    buffer.handle(SERVER, CONNECTION, None, &told(SideFault::NoPath), at(2));
    assert_eq!(written(&mut buffer, at(2)), None);
    buffer.handle(SERVER, CONNECTION, None, &told(SideFault::PeerKey), at(4));
    assert_eq!(written(&mut buffer, at(4)), Some(Some(("peer_key".into(), at(4)))));
    buffer.handle(SERVER, CONNECTION, None, &report(true, None), at(6));
    assert_eq!(written(&mut buffer, at(6)), Some(None));
}

#[test]
fn a_transition_is_due_once_a_second_with_its_last_state() {
    let mut buffer = MeasureBuffer::default();
    assert!(buffer.handle(SERVER, CONNECTION, NEW, &report(true, None), at(0)));
    assert_eq!(written(&mut buffer, Flush::Due, at(0)), [true]);
    for up in [false, true, false] {
        assert!(!buffer.handle(SERVER, CONNECTION, None, &report(up, None), at(0)));
    }
    assert!(buffer.take_due(Flush::Due, at(0)).is_empty());
    assert_eq!(written(&mut buffer, Flush::Due, at(1)), [false]);
    assert!(buffer.take_due(Flush::All, at(9)).is_empty());
}

#[test]
fn a_time_of_acknowledgement_alone_is_due_after_half_a_minute() {
    let mut buffer = MeasureBuffer::default();
    buffer.handle(SERVER, CONNECTION, NEW, &report(true, None), at(0));
    buffer.take_due(Flush::Due, at(0));
    assert!(!buffer.handle(SERVER, CONNECTION, None, &report(true, Some(at(5))), at(5)));
    assert!(buffer.take_due(Flush::Due, at(60)).is_empty(), "no report of others waits for it");
    assert!(buffer.take_due(Flush::DueWithTimes, at(29)).is_empty());
    assert_eq!(written(&mut buffer, Flush::DueWithTimes, at(30)), [true]);
}

#[test]
fn what_could_not_be_written_is_written_later_with_what_is_newest() {
    let mut buffer = MeasureBuffer::default();
    buffer.note_link(SERVER, link(true, at(0)));
    buffer.handle(SERVER, CONNECTION, NEW, &report(false, None), at(0));
    let batch = buffer.take_due(Flush::Due, at(0));
    assert_eq!((batch.links.len(), batch.facts.len()), (1, 1));
    buffer.handle(SERVER, CONNECTION, None, &report(true, None), at(1));
    buffer.put_back(batch);
    let batch = buffer.take_due(Flush::Due, at(2));
    assert_eq!(batch.links, [(SERVER, link(true, at(0)))]);
    assert_eq!(batch.facts.iter().map(|fact| fact.fact.tunnel.value.is_some()).collect::<Vec<_>>(), [true]);
    assert!(buffer.take_due(Flush::All, at(9)).is_empty());
}

#[test]
fn what_was_said_over_an_older_link_is_void_once_there_is_a_newer() {
    let mut buffer = MeasureBuffer::default();
    buffer.handle(SERVER, CONNECTION, NEW, &report(true, None), at(0));
    let lost = buffer.take_due(Flush::Due, at(0));
    buffer.note_link(SERVER, link(true, at(1)));
    buffer.put_back(lost);
    assert!(!buffer.handle(SERVER, CONNECTION, None, &report(true, None), at(1)), "it is not known any more");
    let batch = buffer.take_due(Flush::All, at(2));
    assert_eq!((batch.links.len(), batch.facts.len()), (1, 0));
}

#[test]
fn a_tunnel_that_was_up_before_its_link_is_written_again_after_it() {
    let mut buffer = MeasureBuffer::default();
    buffer.handle(SERVER, CONNECTION, NEW, &report(true, None), at(0));
    let stored = buffer.take_due(Flush::Due, at(0)).facts[0].fact;
    buffer.note_link(SERVER, link(false, at(1)));
    buffer.take_due(Flush::All, at(1));
    buffer.note_link(SERVER, link(true, at(9)));
    let read = Some((Side::Source, Some(stored)));
    buffer.handle(SERVER, CONNECTION, read, &report(true, None), at(9));
    let batch = buffer.take_due(Flush::Due, at(9));
    assert_eq!(batch.links, [(SERVER, link(true, at(9)))]);
    let tunnel = batch.facts[0].fact.tunnel;
    assert_eq!((tunnel.value.is_some(), tunnel.since), (true, at(9)));
}

#[test]
fn a_link_that_came_while_another_went_is_written_as_one_that_came() {
    let mut buffer = MeasureBuffer::default();
    buffer.note_link(SERVER, link(true, at(0)));
    buffer.note_link(SERVER, link(false, at(1)));
    let batch = buffer.take_due(Flush::Due, at(1));
    assert_eq!(batch.links, [(SERVER, LinkNote { came_up: true, ..link(false, at(1)) })]);
}

#[test]
fn what_an_agent_told_of_its_build_is_not_lost_before_it_is_written() {
    let mut buffer = MeasureBuffer::default();
    let told = |build: &str| LinkNote { software: Some(Software::from(build)), ..link(true, at(0)) };
    let written = |batch: &Batch| batch.links[0].1.software.as_ref().map(ToString::to_string);
    buffer.note_link(SERVER, told("0.1.0"));
    buffer.note_link(SERVER, link(false, at(1)));
    let batch = buffer.take_due(Flush::Due, at(1));
    assert_eq!(written(&batch).as_deref(), Some("0.1.0"));
    // The database was away: what came meanwhile is newer.
    buffer.note_link(SERVER, link(true, at(2)));
    buffer.put_back(batch.clone());
    assert_eq!(written(&buffer.take_due(Flush::Due, at(2))).as_deref(), Some("0.1.0"));
    buffer.note_link(SERVER, told("0.2.0"));
    buffer.put_back(batch);
    assert_eq!(written(&buffer.take_due(Flush::Due, at(3))).as_deref(), Some("0.2.0"));
}

#[test]
fn of_a_server_without_a_link_nothing_is_kept_once_it_is_written() {
    let mut buffer = MeasureBuffer::default();
    for server in [SERVER, OTHER] {
        buffer.handle(server, CONNECTION, NEW, &report(true, None), at(0));
    }
    buffer.take_due(Flush::Due, at(0));
    buffer.handle(SERVER, CONNECTION, None, &report(false, None), at(0));
    buffer.note_link(SERVER, link(false, at(1)));
    buffer.note_link(OTHER, link(false, at(1)));
    assert!(buffer.knows(SERVER, CONNECTION) && !buffer.knows(OTHER, CONNECTION));
    assert_eq!(written(&mut buffer, Flush::Due, at(1)), [false]);
    assert!(!buffer.knows(SERVER, CONNECTION));
}

#[test]
fn so_many_are_written_together_that_nobody_waits_long() {
    let mut buffer = MeasureBuffer::default();
    let count = FACTS_OF_WRITE_MAX + 5;
    for number in 0..count {
        let server = ServerId::from_random((number as u128).to_be_bytes());
        buffer.handle(server, CONNECTION, NEW, &report(true, None), at(0));
        buffer.note_link(server, link(false, at(0)));
    }
    let mut batches = Vec::new();
    loop {
        let batch = buffer.take_due(Flush::Due, at(1));
        if batch.is_empty() {
            break;
        }
        batches.push(batch.links.len() + batch.facts.len());
    }
    assert_eq!(batches, [FACTS_OF_WRITE_MAX, FACTS_OF_WRITE_MAX, 10]);
}
