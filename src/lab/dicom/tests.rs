use tokio::net::TcpListener;

use super::modality::Modality;
use super::object::Object;
use super::pacs::{End, Pacs, Treatment};
use super::*;

async fn pacs(treatment: Treatment) -> Pacs {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Pacs::start(listener, treatment).unwrap()
}

#[tokio::test]
async fn objects_of_many_modalities_are_stored_unchanged_exactly_once() {
    let pacs = pacs(Treatment::STORE).await;
    let mut sent = Vec::new();
    for association_each in [false, true] {
        let modality = Modality { association_each, ..Modality::to(pacs.address()) };
        let seeds = if association_each { 0..4 } else { 4..8 };
        let report = modality.send_from_all(seeds.map(|seed| Object::series(seed, 5, 10_000))).await;
        assert_eq!((report.accepted(), report.latencies.count()), (20, 20), "{:?}", report.sent);
        sent.extend(report.sent);
    }
    let stored = pacs.journal().stored();
    assert_eq!(differences(&sent, &stored), Vec::<String>::new());
    pacs.shutdown().await;
}

#[tokio::test]
async fn a_large_object_is_stored_over_many_pdus() {
    let pacs = pacs(Treatment::STORE).await;
    let report = Modality::to(pacs.address()).send([Object::new(1, 8 * 1024 * 1024)]).await;
    assert_eq!(differences(&report.sent, &pacs.journal().stored()), Vec::<String>::new());
    assert!(report.bytes() > 8 * 1024 * 1024);
}

#[tokio::test]
async fn an_echo_is_answered() {
    let pacs = pacs(Treatment::STORE).await;
    let outcome = Modality::to(pacs.address()).echo().await;
    assert!(matches!(outcome, DicomOutcome::Answered { status: 0, .. }), "{outcome:?}");
    assert_eq!(pacs.journal().echoes(), 1);
}

#[tokio::test]
async fn every_way_not_to_store_is_reported_as_what_it_was() {
    let pacs = pacs(Treatment::Reject).await;
    for (treatment, expected, end) in [
        (Treatment::Reject, DicomOutcome::Rejected, End::Own),
        (Treatment::Abort, DicomOutcome::Aborted, End::Own),
    ] {
        pacs.treat(treatment);
        let report = Modality::to(pacs.address()).send(Object::series(3, 1, 1_000)).await;
        assert_eq!(report.sent[0].outcome, expected);
        assert_eq!(pacs.journal().ends().last(), Some(&end));
    }
    pacs.treat(Treatment::Answer { status: 0xa700 });
    let report = Modality::to(pacs.address()).send(Object::series(3, 1, 1_000)).await;
    assert!(matches!(report.sent[0].outcome, DicomOutcome::Answered { status: 0xa700, .. }));
    let address = pacs.address();
    pacs.shutdown().await;
    let report = Modality::to(address).send(Object::series(3, 1, 1_000)).await;
    assert!(matches!(report.sent[0].outcome, DicomOutcome::Failed(_)), "{:?}", report.sent);
}

#[test]
fn an_object_is_decided_by_its_seed() {
    let object = Object::new(7, 5_000);
    assert_eq!(object, Object::new(7, 5_000));
    assert_ne!(object.data_set, Object::new(8, 5_000).data_set);
    // Rounded up to full rows.
    assert!(object.data_set.len() > 5_120 && object.data_set.len() < 5_800);
}

#[test]
fn every_way_to_differ_is_named() {
    use std::time::Duration;

    use crate::measure::Digest;

    let answered = DicomOutcome::Answered { status: 0, latency: Duration::ZERO };
    let sent = |instance: &str, outcome: &DicomOutcome| Sent {
        instance: instance.into(),
        digest: Digest::of(instance.as_bytes()),
        bytes: 1,
        outcome: outcome.clone(),
    };
    let stored = |instance: &str, content: &str| Stored {
        association: 0,
        instance: instance.into(),
        digest: Digest::of(content.as_bytes()),
        bytes: 1,
    };
    let both = [sent("1", &answered), sent("2", &answered)];
    for (stored, expected) in [
        (vec![stored("1", "1"), stored("2", "2")], &[][..]),
        (vec![stored("1", "1")], &["2: answered, and missing"]),
        (vec![stored("1", "x"), stored("2", "2")], &["1: altered"]),
        (vec![stored("1", "1"), stored("2", "2"), stored("2", "2")], &["2: stored 2 times"]),
        (vec![stored("1", "1"), stored("2", "2"), stored("3", "3")], &["3: never sent"]),
    ] {
        assert_eq!(differences(&both, &stored), expected);
    }
    assert_eq!(differences(&[sent("1", &DicomOutcome::Rejected)], &[]), ["1: Rejected"]);
}
