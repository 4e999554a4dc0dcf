//! DICOM through two agents: every object arrives as it was sent, and both agents counted what passed.

use std::time::Duration;

use adit_agent::stats::DicomCounts;
use adit_core::domain::connection::Protocol;
use adit_lab::dicom::differences;
use adit_lab::dicom::modality::{DicomOutcome, Modality, Report};
use adit_lab::dicom::object::Object;
use adit_lab::dicom::pacs::{Pacs, Treatment};
use adit_lab::measure::{Differences, Histogram};
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use tokio::net::TcpListener;

use super::lab::{Lab, Part, adit, is_long, mirth, run};

async fn pacs() -> Pacs {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Pacs::start(listener, Treatment::STORE).unwrap()
}

/// What both agents counted, once they agree with `expected`.
async fn counted(lab: &Lab, index: usize, expected: DicomCounts) {
    for part in [Part::A, Part::B] {
        let what = format!("counts {expected:?}");
        let entry = lab.entry_becomes(part, index, &what, |entry| entry.dicom == Some(expected)).await;
        assert_eq!(entry.last_ack.is_some(), expected.stored > 0);
        assert_eq!((entry.messages, entry.acknowledged), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_several_associations_arrive_unchanged_with_a_count_on_both_sides() {
    let pacs = pacs().await;
    let lab = Lab::to(Protocol::Dicom, pacs.address()).await;
    let modality = Modality::to(lab.port(0));
    assert!(matches!(modality.echo().await, DicomOutcome::Answered { status: 0, .. }));
    let count = if is_long() { 100 } else { 10 };
    let series: Vec<_> = (1..=4).map(|seed| Object::series(seed, count, 150_000)).collect();
    let small = modality.send_from_all(series).await;
    let each = Modality { association_each: true, ..modality.clone() };
    let single = each.send(Object::series(5, 5, 2_000)).await;
    let large = modality.send([Object::new(6, 24 * 1024 * 1024)]).await;
    let sent: Vec<_> = [small, single, large].into_iter().flat_map(|report| report.sent).collect();
    assert_eq!(differences(&sent, &pacs.journal().stored()), Vec::<String>::new());
    assert_eq!(sent.len(), 4 * count + 6);
    let expected = DicomCounts {
        accepted: 1 + 4 + 5 + 1,
        stored: sent.len() as u64,
        bytes: sent.iter().map(|object| object.bytes).sum(),
        ..DicomCounts::default()
    };
    counted(&lab, 0, expected).await;
    let mut command = adit();
    command.arg("status").arg("--config").arg(lab.config(Part::B));
    let shown = String::from_utf8_lossy(&run(command).await.stdout).into_owned();
    let objects = format!("objects {} stored ({} bytes), 0 failed", expected.stored, expected.bytes);
    for line in ["associations 0 open, 11 accepted, 0 rejected, 0 aborted, 0 lost", &objects] {
        assert!(shown.contains(line), "`{line}` is not in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_for_an_association_to_fail_is_counted_as_what_it_was() {
    let pacs = pacs().await;
    let lab = Lab::to(Protocol::Dicom, pacs.address()).await;
    let modality = Modality::to(lab.port(0));
    let one = |seed| Object::series(seed, 1, 5_000);
    let mut expected = DicomCounts::default();

    pacs.treat(Treatment::Reject);
    assert_eq!(outcome(&modality.send(one(1)).await), &DicomOutcome::Rejected);
    expected.rejected += 1;
    counted(&lab, 0, expected).await;

    pacs.treat(Treatment::Abort);
    assert_eq!(outcome(&modality.send(one(2)).await), &DicomOutcome::Aborted);
    expected.accepted += 1;
    expected.aborted += 1;
    counted(&lab, 0, expected).await;

    pacs.treat(Treatment::Answer { status: 0xa700 });
    assert!(matches!(outcome(&modality.send(one(3)).await), DicomOutcome::Answered { status: 0xa700, .. }));
    expected.accepted += 1;
    expected.failed += 1;
    counted(&lab, 0, expected).await;

    pacs.treat(Treatment::Answer { status: 0xb000 });
    let warned = modality.send(one(4)).await;
    assert!(matches!(outcome(&warned), DicomOutcome::Answered { status: 0xb000, .. }));
    expected.accepted += 1;
    expected.stored += 1;
    expected.bytes += warned.bytes();
    counted(&lab, 0, expected).await;

    modality.abort_within(&Object::new(5, 5_000)).await.unwrap();
    expected.accepted += 1;
    expected.aborted += 1;
    counted(&lab, 0, expected).await;

    modality.hang_up().await.unwrap();
    expected.accepted += 1;
    expected.lost += 1;
    counted(&lab, 0, expected).await;

    // Both logs say why, and neither was confused by anything.
    for part in [Part::A, Part::B] {
        lab.logs(part, "called AE title not recognized").await;
        lab.logs(part, "DICOM association aborted").await;
        assert!(!lab.log(part).contains("not observed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_beside_a_bulk_transfer_of_the_same_agents() {
    let (mirth, pacs) = (mirth().await, pacs().await);
    let lab = Lab::to_all(&[(Protocol::Mllp, mirth.address()), (Protocol::Dicom, pacs.address())]).await;
    let (sender, modality) = (Sender::kept_open(lab.port(0)), Modality::to(lab.port(1)));
    let count = if is_long() { 2_000 } else { 300 };
    let idle = sender.send(Generator::new(1).take(count)).await;

    // One object under many names, made before it is timed.
    let object = Object::new(21, 32 * 1024 * 1024);
    let named = |number: usize| Object { instance: format!("2.25.{number}"), ..object.clone() };
    let each = if is_long() { 160 } else { 16 };
    let series = [0, each].map(|first| (first..first + each).map(named).collect::<Vec<_>>());
    let bulk = tokio::spawn(async move { modality.send_from_all(series).await });
    let mut beside = Histogram::default();
    let mut sent = idle.sent;
    let mut seed = 2;
    while !bulk.is_finished() {
        let report = sender.send(Generator::new(seed).take(20)).await;
        beside.add(&report.latencies);
        sent.extend(report.sent);
        seed += 1;
    }
    let objects = bulk.await.unwrap();
    assert_eq!(differences(&objects.sent, &pacs.journal().stored()), Vec::<String>::new());
    let differences = Differences::between(&sent, &mirth.journal().received());
    assert!(differences.only_refusals() && differences.not_accepted.is_empty(), "{differences}");
    println!("HL7 idle:        {}", quantiles(&idle.latencies));
    println!("HL7 beside bulk: {}", quantiles(&beside));
    println!("bulk: {} MB in {:.1} s", objects.bytes() / 1_000_000, objects.took.as_secs_f64());
}

#[track_caller]
fn outcome(report: &Report) -> &DicomOutcome {
    let [sent] = report.sent.as_slice() else { panic!("one object was sent: {report:?}") };
    &sent.outcome
}

fn quantiles(latencies: &Histogram) -> String {
    let [p50, p99] = [0.5, 0.99].map(|share| latencies.quantile(share).as_secs_f64() * 1e3);
    let max = latencies.max().max(Duration::ZERO).as_secs_f64() * 1e3;
    format!("{} messages, p50 {p50:.3} ms, p99 {p99:.3} ms, max {max:.3} ms", latencies.count())
}
