//! Promise I1 with HL7 messages: exactly once, in order, byte-equal, acknowledged, however the
//! sender uses its TCP connections.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use adit_core::domain::connection::Protocol;
use adit_lab::measure::Differences;
use adit_lab::messages::{Generator, Kind, Message};
use adit_lab::mirth::Mirth;
use adit_lab::sender::{Connections, Report, Sender, Writing};

use super::lab::{HANG_LIMIT, Lab, Part, is_long, mirth};

/// A sender that waits as long as a busy machine needs.
fn patient(lab: &Lab, connections: Connections) -> Sender {
    let (connect_timeout, response_timeout) = (HANG_LIMIT, HANG_LIMIT);
    Sender { connections, connect_timeout, response_timeout, ..Sender::to(lab.port(0)) }
}

const ONE_BY_ONE: Connections = Connections::KeptOpen { in_flight: NonZeroUsize::MIN };

#[track_caller]
fn arrived(report: &Report, mirth: &Mirth) {
    let received = mirth.journal().received();
    let differences = Differences::between(&report.sent, &received);
    assert!(differences.none(), "{differences}");
    assert_eq!(received.len(), report.sent.len());
}

/// The whole way of `messages` through fresh processes.
async fn check(connections: Connections, writing: Writing, messages: impl IntoIterator<Item = Message>) {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let sender = Sender { writing, ..patient(&lab, connections) };
    arrived(&sender.send(messages).await, &mirth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_over_one_connection_arrive_once_in_order_unchanged() {
    check(ONE_BY_ONE, Writing::Whole, Generator::new(1).take(1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_over_a_connection_each_arrive_once_in_order_unchanged() {
    check(Connections::PerMessage { half_close: false }, Writing::Whole, Generator::new(2).take(1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_says_it_is_done_after_its_message_still_gets_the_answer() {
    check(Connections::PerMessage { half_close: true }, Writing::Whole, Generator::new(3).take(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_messages_are_answered_in_their_order() {
    let in_flight = NonZeroUsize::new(50).unwrap();
    check(Connections::KeptOpen { in_flight }, Writing::Whole, Generator::new(4).take(1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_byte_by_byte_arrives_whole() {
    check(ONE_BY_ONE, Writing::ByteByByte, Generator::new(5).take(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_twenty_mebibytes_arrives_whole() {
    let large = Generator::new(6).only(Kind::Document).padded_to(20 * 1024 * 1024);
    check(ONE_BY_ONE, Writing::Whole, large.take(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_of_all_types_on_64_connections_arrive_once_in_order_unchanged() {
    let each = if is_long() { 1_000_000 } else { 20_000 } / 64 + 1;
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let in_flight = NonZeroUsize::new(4).unwrap();
    let sources = (100..164).map(|seed| Generator::new(seed).take(each));
    let report = patient(&lab, Connections::KeptOpen { in_flight }).send_from_all(sources).await;
    arrived(&report, &mirth);
    println!("{} messages in {:.1?}: {:?}", report.sent.len(), report.took, report.latencies);

    let received = mirth.journal().received();
    let types: BTreeSet<_> = received.iter().map(|message| message.message_type.as_str()).collect();
    assert_eq!(types.len(), Kind::ALL.len(), "{types:?}");
    // What the agents saw in passing is the same.
    let count = report.sent.len() as u64;
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "counts every message and answer", |entry| {
            (entry.messages, entry.acknowledged) == (count, count) && entry.last_ack.is_some()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_though_the_first_byte_of_the_message_came_long_before() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let mut stream = tokio::net::TcpStream::connect(lab.port(0)).await.unwrap();
    let message = Generator::new(7).next_message();
    let framed = adit_lab::hl7::frame(&message.payload);
    let (first, rest) = framed.split_at(1);
    tokio::io::AsyncWriteExt::write_all(&mut stream, first).await.unwrap();
    // The first byte alone has reached the far Mirth.
    lab.entry_becomes(Part::B, 0, "the byte was carried", |entry| entry.bytes_out_of_tunnel == 1).await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, rest).await.unwrap();
    assert!(mirth.journal().reaches(1, HANG_LIMIT).await);
    let mut answer = [0; 1];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut answer);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap(), 1);
}
