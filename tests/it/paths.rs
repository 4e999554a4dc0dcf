//! The path changes under live connections, by a person's choice or because one died, and no program
//! notices.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_lab::hl7::AckCode;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::{Behaviour, Mirth};
use adit_lab::sender::{Report, Sender};
use adit_lab::shim::{Direction, Impairment, Rate};
use tokio::join;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use super::flow::{Flow, Pace};
use super::lab::{HANG_LIMIT, Lab, Part, edit, eventually, is_long, mirth};
use super::traffic::Conversation;
use super::wan::Wan;
use super::wire::listener;

const MIRTH: usize = 0;
const TCP: usize = 1;

/// As long as a Mirth takes to keep a message; so the messages last for many changes.
const KEEPING: Behaviour = Behaviour::Acknowledge { code: AckCode::Aa, after: Duration::from_millis(10) };
const SWITCH_EVERY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_allows_only_the_relay_tells_its_peer_no_address() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    edit(&lab.config(Part::B), |text| text.replace("[[p2p_target]]", "[[p2p_target]]\npath = \"relay\""));
    lab.start_all().await;
    lab.port_open(0).await;
    lab.takes_path(0, PathKind::Relay).await;
    let known =
        |part| std::fs::read_to_string(lab.state(part).join("peer-addresses.json")).unwrap_or_default();
    let port =
        |part| std::fs::read_to_string(lab.state(part).join("udp-port.json")).unwrap().trim().to_owned();
    // A hides nothing, and what it announced came after what B did not.
    eventually("B knows where A is", async || known(Part::B).contains(&port(Part::A)).then_some(())).await;
    let report = Sender::to(lab.port(0)).send(Generator::new(97).take(20)).await;
    assert_eq!(report.accepted(), 20, "{:?}", report.sent);
    assert!(!known(Part::A).contains(&port(Part::B)), "{}", known(Part::A));
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_messages_nor_a_bulk_transfer_notice_that_the_path_changes_every_second() {
    let (mirth, tcp) = (mirth().await, listener().await);
    mirth.behave(KEEPING);
    let wan = Wan::to_all(&targets(&mirth, &tcp), Part::A, 101).await;
    // A bulk transfer that took all of the machine would show its patience and not the path's.
    let bits_per_second = NonZeroU64::new(100_000_000).unwrap();
    let rate = Some(Rate { bits_per_second, queue_bytes: 1_000_000 });
    wan.impair(Impairment { rate, ..Impairment::ETHERNET });

    let stopping = Arc::new(AtomicBool::new(false));
    let bulk = Flow::start(wan.lab.port(TCP), &tcp, Pace::Bulk, 101).await;
    let (senders, count) = if is_long() { (128, 1_000_000) } else { (16, 20_000) };
    let sending = async {
        let report = send(&wan.lab, senders, count).await;
        stopping.store(true, Ordering::Relaxed);
        report
    };
    let (report, switched) = join!(sending, switch_until(&wan.lab, &stopping));
    println!("{} messages, the path chosen {switched} times: {:?}", report.sent.len(), report.latencies);
    let [there, back] = bulk.finish().await;
    println!("bulk: {there}; back {back}");

    let received = mirth.journal().received();
    let differences = Differences::between(&report.sent, &received);
    assert!(differences.none(), "{differences}");
    assert_eq!((received.len(), report.connections), (report.sent.len(), senders));
    wan.nothing_was_cut().await;
    for part in [Part::A, Part::B] {
        let entry = wan.lab.entry(part, MIRTH).await.unwrap();
        println!("{part:?} changed its path {} times", entry.path_changes);
        // A busy machine may be late for some; that the path changed all the time is what counts.
        assert!(entry.path_changes >= switched / 2, "{entry:?}");
    }
}

fn targets(mirth: &Mirth, tcp: &TcpListener) -> [(Protocol, std::net::SocketAddr); 2] {
    [(Protocol::Mllp, mirth.address()), (Protocol::Tcp, tcp.local_addr().unwrap())]
}

/// So many messages on so many connections, as patient as a busy machine needs.
async fn send(lab: &Lab, senders: u64, count: u64) -> Report {
    let each = usize::try_from(count.div_ceil(senders)).unwrap();
    let (connect_timeout, response_timeout) = (HANG_LIMIT, HANG_LIMIT);
    let sender = Sender { connect_timeout, response_timeout, ..Sender::kept_open(lab.port(MIRTH)) };
    sender.send_from_all((0..senders).map(|seed| Generator::new(200 + seed).take(each))).await
}

/// Forces the other path every second at both agents; how often.
async fn switch_until(lab: &Lab, stopping: &AtomicBool) -> u64 {
    let mut ticks = interval(SWITCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut choices =
        [PathPreference::only(PathKind::Relay), PathPreference::only(PathKind::Direct)].into_iter().cycle();
    let mut switched = 0;
    while !stopping.load(Ordering::Relaxed) {
        ticks.tick().await;
        let choice = choices.next().unwrap();
        join!(lab.choose_path(Part::A, MIRTH, choice), lab.choose_path(Part::B, MIRTH, choice));
        switched += 1;
    }
    switched
}

/// All ways to die at once: most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_path_that_dies_gives_way_to_the_relay_until_it_answers_again() {
    join!(
        dies(&[Direction::There, Direction::Back], 102),
        dies(&[Direction::There], 103),
        dies(&[Direction::Back], 104)
    );
}

async fn dies(directions: &[Direction], seed: u64) {
    let (mirth, tcp) = (mirth().await, listener().await);
    let wan = Wan::to_all(&targets(&mirth, &tcp), Part::A, seed).await;
    wan.lab.takes_path(MIRTH, PathKind::Direct).await;
    let messages = Conversation::start(wan.lab.port(MIRTH), &mirth, seed);
    let flow = Flow::start(wan.lab.port(TCP), &tcp, Pace::Steady, seed).await;
    let goes_on = async || {
        join!(messages.goes_on(&mirth), flow.carries(MORE_THAN_UNDER_WAY));
    };
    goes_on().await;

    let since = Instant::now();
    for &direction in directions {
        wan.direct.impair(direction, Impairment::BLACKHOLE);
    }
    goes_on().await;
    let moved = since.elapsed();
    wan.lab.takes_path(MIRTH, PathKind::Relay).await;
    println!("direct dead {directions:?}: everything went on over the relay after {moved:.2?}");
    for part in [Part::A, Part::B] {
        let entry = wan.lab.entry(part, MIRTH).await.unwrap();
        println!("{part:?}: {:?} because {:?}", entry.path, entry.path_reason);
    }

    wan.direct.impair_both(Impairment::ETHERNET);
    let lifted = Instant::now();
    wan.lab.takes_path(MIRTH, PathKind::Direct).await;
    println!("direct alive {directions:?}: back on it after {:.2?}", lifted.elapsed());
    goes_on().await;
    messages.finish(&mirth).await;
    let [there, back] = flow.finish().await;
    println!("tcp: {there}; back {back}");
    wan.nothing_was_cut().await;
}

/// Of a steady flow never so much is under way.
const MORE_THAN_UNDER_WAY: u64 = 256 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_on_a_path_that_the_files_do_not_allow() {
    let (mirth, tcp) = (mirth().await, listener().await);
    for path in [PathKind::Relay, PathKind::Direct] {
        let wan = Wan::forced(&targets(&mirth, &tcp), path, 105).await;
        wan.lab.takes_path(MIRTH, path).await;
        let flow = Flow::start(wan.lab.port(TCP), &tcp, Pace::Bulk, 105).await;
        flow.carries(CARRIED).await;
        flow.finish().await;
        let direct = [Direction::There, Direction::Back].map(|way| wan.direct.counts(way).entered);
        let relayed = wan.uplinks.each_ref().map(|uplink| uplink.counts(Direction::There).entered);
        println!("{path}: {direct:?} packets on the direct wire, {relayed:?} to the gateway");
        match path {
            PathKind::Relay => assert_eq!(direct, [0, 0]),
            // The control link alone.
            PathKind::Direct => assert!(relayed.iter().all(|sent| *sent < PACKETS_CARRIED), "{relayed:?}"),
            PathKind::Tcp => {}
        }
    }
}

const CARRIED: u64 = 5_000_000;
const PACKETS_CARRIED: u64 = CARRIED / 1_472;
