//! Promises I1 to I4 over bad wires: whatever they lose, reorder, repeat or alter, messages arrive
//! once, in order, unchanged, are acknowledged, and no connection breaks.

use adit_core::domain::connection::Protocol;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::{End, Mirth};
use adit_lab::sender::{Report, Sender};
use adit_lab::shim::{Direction, Impairment, WireCounts};

use super::flow::{Flow, Pace};
use super::lab::{HANG_LIMIT, Part, is_long, mirth};
use super::wan::Wan;
use super::wire::listener;

const CONNECTIONS: u64 = 64;

const LOSS: Impairment = Impairment { loss: 0.01, ..Impairment::ETHERNET };
const REORDER: Impairment = Impairment { reorder: 0.05, ..Impairment::ETHERNET };
const DUPLICATE: Impairment = Impairment { duplicate: 0.05, ..Impairment::ETHERNET };
const CORRUPT: Impairment = Impairment { corrupt: 0.01, ..Impairment::ETHERNET };
const TOGETHER: Impairment =
    Impairment { loss: 0.01, reorder: 0.05, duplicate: 0.05, corrupt: 0.01, ..Impairment::ETHERNET };

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_wire_that_loses_arrive_once_in_order_unchanged() {
    check(LOSS, |counts| counts.lost, 71).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_wire_that_reorders_arrive_once_in_order_unchanged() {
    check(REORDER, |counts| counts.reordered, 72).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_wire_that_duplicates_arrive_once_in_order_unchanged() {
    check(DUPLICATE, |counts| counts.duplicated, 73).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_wire_that_corrupts_arrive_once_in_order_unchanged() {
    check(CORRUPT, |counts| counts.corrupted, 74).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_wire_that_does_it_all_arrive_once_in_order_unchanged() {
    let least = |counts: WireCounts| {
        let WireCounts { lost, reordered, duplicated, corrupted, .. } = counts;
        lost.min(reordered).min(duplicated).min(corrupted)
    };
    check(TOGETHER, least, 75).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_transfer_over_a_wire_that_does_it_all_arrives_unchanged() {
    let bytes = if is_long() { 2_000_000_000 } else { 20_000_000 };
    let listener = listener().await;
    let wan = Wan::to_all(&[(Protocol::Tcp, listener.local_addr().unwrap())], Part::A, 76).await;
    wan.impair(TOGETHER);
    let flow = Flow::start(wan.lab.port(0), &listener, Pace::Bulk, 76).await;
    flow.carries(bytes).await;
    let [there, back] = flow.finish().await;
    println!("{there}; back {back}");
    for direction in [Direction::There, Direction::Back] {
        println!("{direction:?}: {:?}", wan.direct.counts(direction));
    }
}

/// `happened`: how often the wire did what it is here to do.
async fn check(impairment: Impairment, happened: fn(WireCounts) -> u64, seed: u64) {
    let mirth = mirth().await;
    let wan = Wan::to_all(&[(Protocol::Mllp, mirth.address())], Part::A, seed).await;
    wan.impair(impairment);
    let report = send(&wan, seed).await;
    for direction in [Direction::There, Direction::Back] {
        let counts = wan.direct.counts(direction);
        println!("{direction:?}: {counts:?}");
        assert!(happened(counts) > 0, "the wire was not as bad as it should be");
    }
    arrived(&report, &mirth);
    nothing_broke(&wan, &mirth).await;
}

async fn send(wan: &Wan, seed: u64) -> Report {
    let each = if is_long() { 1_000_000 } else { 20_000 } / CONNECTIONS + 1;
    // As long as a busy machine needs.
    let (connect_timeout, response_timeout) = (HANG_LIMIT, HANG_LIMIT);
    let sender = Sender { connect_timeout, response_timeout, ..Sender::kept_open(wan.lab.port(0)) };
    let each = usize::try_from(each).unwrap();
    let sources = (0..CONNECTIONS).map(|number| Generator::new(seed * 100 + number).take(each));
    let report = sender.send_from_all(sources).await;
    println!("{} messages in {:.1?}: {:?}", report.sent.len(), report.took, report.latencies);
    report
}

#[track_caller]
fn arrived(report: &Report, mirth: &Mirth) {
    let received = mirth.journal().received();
    let differences = Differences::between(&report.sent, &received);
    assert!(differences.none(), "{differences}");
    assert_eq!((received.len(), report.connections), (report.sent.len(), CONNECTIONS));
}

async fn nothing_broke(wan: &Wan, mirth: &Mirth) {
    wan.nothing_was_cut().await;
    let ended = mirth.journal().ended();
    assert!(ended.iter().all(|ended| ended.how == End::Finished), "{ended:?}");
}
