//! A planned stop of either agent: ports close, what somebody waits for ends in order, the rest is reset,
//! and nobody is warned.

use std::sync::mpsc;

use adit_core::domain::connection::Protocol;
use adit_lab::dicom::modality::Modality;
use adit_lab::dicom::object::Object;
use adit_lab::dicom::pacs::{Pacs, Treatment};
use adit_lab::hl7::frame;
use adit_lab::messages::Generator;
use adit_lab::sender::{Connections, Sender};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part, free_address, mirth};
use super::wire::{End, Wire, listener, read_to_end};

const AGENTS: [Part; 2] = [Part::A, Part::B];
const ACK: &[u8] = b"MSH|^~\\&|B|B|A|A|20260101||ACK|1|P|2.5.1\rMSA|AA|1\r";

/// A message that the receiver has and has not acknowledged.
struct Exchange {
    sender: TcpStream,
    receiver: TcpStream,
}

impl Exchange {
    async fn begin(lab: &Lab, listener: &TcpListener, number: usize) -> Self {
        let mut sender = TcpStream::connect(lab.port(0)).await.unwrap();
        let message = frame(format!("MSH|^~\\&|A|A|B|B|20260101||ADT^A01|{number}|P|2.5.1\r").as_bytes());
        sender.write_all(&message).await.unwrap();
        let finding = async {
            loop {
                let (mut receiver, _) = listener.accept().await.unwrap();
                let mut said = vec![0; message.len()];
                // A probe says nothing and ends.
                if receiver.read_exact(&mut said).await.is_ok() {
                    assert_eq!(said, message);
                    return receiver;
                }
            }
        };
        let receiver = timeout(HANG_LIMIT, finding).await.expect("the message comes out");
        Self { sender, receiver }
    }

    async fn acknowledge(&mut self) {
        let ack = frame(ACK);
        self.receiver.write_all(&ack).await.unwrap();
        let mut heard = vec![0; ack.len()];
        let hearing = timeout(HANG_LIMIT, self.sender.read_exact(&mut heard)).await;
        hearing.expect("it is heard").expect("before anything else");
        assert_eq!(heard, ack);
    }

    /// Checks that nothing more came on it, and that it has ended.
    async fn has_ended(mut self) {
        for stream in [&mut self.sender, &mut self.receiver] {
            assert_eq!(read_to_end(stream).await.0, b"");
        }
    }
}

async fn lab_to(protocol: Protocol, listener: &TcpListener) -> Lab {
    let lab = Lab::to(protocol, listener.local_addr().unwrap()).await;
    lab.linked().await;
    lab
}

fn warnings(lab: &Lab) -> Vec<String> {
    [Part::A, Part::B, Part::Gateway].into_iter().flat_map(|part| warnings_of(lab, part)).collect()
}

fn warnings_of(lab: &Lab, part: Part) -> Vec<String> {
    let is_warning = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    lab.log(part).lines().filter(is_warning).map(str::to_owned).collect()
}

/// Sends SIGTERM and waits until it has been heard.
async fn stop(lab: &Lab, part: Part) {
    lab.signal(part, Signal::TERM);
    lab.logs(part, "exchanges are waited for").await;
}

async fn ends_by_itself(lab: &mut Lab, part: Part) -> String {
    assert!(lab.ended(part).await.success());
    lab.logs(part, "the agent has stopped").await;
    lab.log(part)
}

async fn ten_exchanges_survive_a_stop_of(part: Part) {
    let listener = listener().await;
    let mut lab = lab_to(Protocol::Mllp, &listener).await;
    let before = warnings(&lab);
    let mut exchanges = Vec::new();
    for number in 0..10 {
        exchanges.push(Exchange::begin(&lab, &listener, number).await);
    }
    lab.signal(part, Signal::TERM);
    lab.port_refuses(0).await;
    for exchange in &mut exchanges {
        exchange.acknowledge().await;
    }
    for exchange in exchanges {
        exchange.has_ended().await;
    }
    let log = ends_by_itself(&mut lab, part).await;
    assert!(log.contains("10 exchanges are waited for") && log.contains("all exchanges have ended"), "{log}");
    let other = if part == Part::A { Part::B } else { Part::A };
    lab.logs(other, "the peer's agent was stopped").await;
    assert_eq!(warnings(&lab), before);
    // Nothing was said to the receiver twice.
    while let Ok(Ok((mut stream, _))) = timeout(std::time::Duration::ZERO, listener.accept()).await {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_messages_are_acknowledged_though_the_senders_agent_is_stopped() {
    ten_exchanges_survive_a_stop_of(Part::A).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_messages_are_acknowledged_though_the_receivers_agent_is_stopped() {
    ten_exchanges_survive_a_stop_of(Part::B).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_says_that_it_stops_until_a_start_brings_it_back() {
    let listener = listener().await;
    let mut lab = lab_to(Protocol::Mllp, &listener).await;
    let before = warnings_of(&lab, Part::A);
    let mut exchange = Exchange::begin(&lab, &listener, 1).await;
    stop(&lab, Part::B).await;
    for part in AGENTS {
        lab.entry_becomes(part, 0, "it is shown as stopping", |entry| entry.status == "Stopping").await;
    }
    let stopping = |status: adit_agent::stats::AgentStatus| status.stopping;
    assert_eq!(lab.status(Part::A).await.map(stopping), Some(false));
    assert_eq!(lab.status(Part::B).await.map(stopping), Some(true));
    exchange.acknowledge().await;
    ends_by_itself(&mut lab, Part::B).await;
    lab.start(Part::B);
    lab.port_open(0).await;
    let mut exchange = Exchange::begin(&lab, &listener, 2).await;
    exchange.acknowledge().await;
    // What the run before of B said is not looked at any more.
    assert_eq!(warnings_of(&lab, Part::A), before);
}

/// A sender that goes on has an acknowledgement for everything that was delivered.
async fn nothing_delivered_is_unanswered(part: Part, connections: Connections) {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let sender = Sender { connections, response_timeout: HANG_LIMIT, ..Sender::to(lab.port(0)) };
    let (stop, stopped) = mpsc::sync_channel::<()>(2);
    let messages =
        Generator::new(171).take_while(move |_| stopped.try_recv() == Err(mpsc::TryRecvError::Empty));
    let sending = tokio::spawn(async move { sender.send(messages).await });
    assert!(mirth.journal().reaches(200, HANG_LIMIT).await);
    lab.signal(part, Signal::TERM);
    ends_by_itself(&mut lab, part).await;
    drop(stop);
    let report = sending.await.unwrap();
    let received = mirth.journal().received();
    assert!(report.accepted() >= 200);
    assert_eq!(report.accepted(), received.len(), "{:?}", report.sent.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_sending_is_cut_between_two_messages() {
    for part in AGENTS {
        nothing_delivered_is_unanswered(part, Connections::KeptOpen { in_flight: 1.try_into().unwrap() })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_ahead_of_the_answers_is_cut_once_all_is_answered() {
    for part in AGENTS {
        nothing_delivered_is_unanswered(part, Connections::KeptOpen { in_flight: 8.try_into().unwrap() })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_on_a_connection_each_is_refused_after_the_last_answer() {
    for part in AGENTS {
        for half_close in [false, true] {
            nothing_delivered_is_unanswered(part, Connections::PerMessage { half_close }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_rest_delay_no_stop() {
    for (part, protocol) in [(Part::A, Protocol::Mllp), (Part::B, Protocol::Mllp), (Part::A, Protocol::Tcp)] {
        let listener = listener().await;
        let mut lab = lab_to(protocol, &listener).await;
        let mut exchange = Exchange::begin(&lab, &listener, 1).await;
        exchange.acknowledge().await;
        let mut silent = TcpStream::connect(lab.port(0)).await.unwrap();
        lab.signal(part, Signal::TERM);
        let log = ends_by_itself(&mut lab, part).await;
        assert!(
            log.contains("0 exchanges are waited for") && log.contains("all exchanges have ended"),
            "{log}"
        );
        exchange.has_ended().await;
        assert_eq!(read_to_end(&mut silent).await, (vec![], End::Rst));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_acknowledges_is_reset_in_the_end() {
    for part in AGENTS {
        let listener = listener().await;
        let mut lab = lab_to(Protocol::Mllp, &listener).await;
        let mut exchange = Exchange::begin(&lab, &listener, 1).await;
        lab.signal(part, Signal::TERM);
        assert_eq!(read_to_end(&mut exchange.sender).await, (vec![], End::Rst));
        let log = ends_by_itself(&mut lab, part).await;
        assert!(log.contains("1 exchanges took too long"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    for (part, again) in [(Part::A, Signal::TERM), (Part::B, Signal::INT)] {
        let listener = listener().await;
        let mut lab = lab_to(Protocol::Mllp, &listener).await;
        let mut exchange = Exchange::begin(&lab, &listener, 1).await;
        stop(&lab, part).await;
        lab.signal(part, again);
        assert_eq!(read_to_end(&mut exchange.sender).await, (vec![], End::Rst));
        let log = ends_by_itself(&mut lab, part).await;
        assert!(log.contains("told again") && !log.contains("took too long"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_stores_all_its_objects_until_its_release_during_a_stop() {
    for part in AGENTS {
        let pacs = TcpListener::bind(free_address()).await.unwrap();
        let pacs = Pacs::start(pacs, Treatment::STORE).unwrap();
        let mut lab = Lab::to(Protocol::Dicom, pacs.address()).await;
        let modality = Modality::to(lab.port(0));
        let (go_on, may_go_on) = mpsc::sync_channel::<()>(2);
        let series = Object::series(171, 3, 200_000).enumerate().map(move |(number, object)| {
            if number > 0 {
                tokio::task::block_in_place(|| may_go_on.recv()).unwrap();
            }
            object
        });
        let sending = tokio::spawn(async move { modality.send(series).await });
        assert!(pacs.journal().reaches(1, HANG_LIMIT).await);
        stop(&lab, part).await;
        lab.port_refuses(0).await;
        for _ in 0..2 {
            go_on.send(()).unwrap();
        }
        let report = sending.await.unwrap();
        assert_eq!(report.accepted(), 3, "{report:?}");
        let log = ends_by_itself(&mut lab, part).await;
        assert!(
            log.contains("1 exchanges are waited for") && log.contains("all exchanges have ended"),
            "{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_plain_tcp_comes_during_a_stop() {
    for part in AGENTS {
        let listener = listener().await;
        let mut lab = lab_to(Protocol::Tcp, &listener).await;
        let mut wire = Wire::open(lab.port(0), &listener).await;
        lab.signal(part, Signal::TERM);
        lab.port_refuses(0).await;
        wire.target.write_all(b"answer").await.unwrap();
        assert_eq!(read_to_end(&mut wire.source).await.0, b"answer");
        ends_by_itself(&mut lab, part).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_agents_may_stop_together() {
    let listener = listener().await;
    let mut lab = lab_to(Protocol::Mllp, &listener).await;
    let mut exchange = Exchange::begin(&lab, &listener, 1).await;
    for part in AGENTS {
        lab.signal(part, Signal::TERM);
    }
    lab.port_refuses(0).await;
    exchange.acknowledge().await;
    for part in AGENTS {
        ends_by_itself(&mut lab, part).await;
    }
    exchange.has_ended().await;
}
