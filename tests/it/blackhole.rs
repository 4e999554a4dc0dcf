//! Wires that swallow everything, both ways or one way: short ones break nothing; long ones cut what
//! must not wait (MLLP), leave the rest alone, and lose nothing that was acknowledged. Afterwards
//! service is back by itself (I10).

use std::time::{Duration, Instant};

use adit_agent::stats::EntryStatus;
use adit_core::domain::connection::Protocol;
use adit_lab::mirth::Mirth;
use adit_lab::sender::SendOutcome;
use adit_lab::shim::Impairment;
use tokio::join;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::flow::{Flow, Pace};
use super::lab::{HANG_LIMIT, Part, mirth};
use super::traffic::{Conversation, Traffic, judge};
use super::wan::Wan;
use super::wire::{End, Wire, listener, read_to_end};

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);

/// Whose packets are swallowed.
#[derive(Debug, Clone, Copy)]
enum Hole {
    BothWays,
    From(Part),
}

impl Hole {
    fn set(self, wan: &Wan, impairment: Impairment) {
        match self {
            Self::BothWays => wan.impair(impairment),
            Self::From(part) => wan.impair_from(part, impairment),
        }
    }

    async fn open_for(self, wan: &Wan, span: Duration) {
        self.set(wan, Impairment::BLACKHOLE);
        sleep(span).await;
        self.set(wan, Impairment::ETHERNET);
    }
}

/// Two agents, and programs that listen beside B: a Mirth at connection 0, bare sockets at the others.
struct Site {
    wan: Wan,
    mirth: Mirth,
    mllp: TcpListener,
    tcp: TcpListener,
    dicom: TcpListener,
}

const MIRTH: usize = 0;
const MLLP: usize = 1;
const TCP: usize = 2;
const DICOM: usize = 3;

impl Site {
    async fn start(seed: u64) -> Self {
        let mirth = mirth().await;
        let [mllp, tcp, dicom] = [listener().await, listener().await, listener().await];
        let targets = [
            (Protocol::Mllp, mirth.address()),
            (Protocol::Mllp, mllp.local_addr().unwrap()),
            (Protocol::Tcp, tcp.local_addr().unwrap()),
            (Protocol::Dicom, dicom.local_addr().unwrap()),
        ];
        let wan = Wan::to_all(&targets, Part::A, seed).await;
        Self { wan, mirth, mllp, tcp, dicom }
    }

    async fn flow(&self, index: usize, listener: &TcpListener) -> Flow {
        let seed = u64::try_from(index).unwrap();
        Flow::start(self.wan.lab.port(index), listener, Pace::Steady, seed).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_seconds_of_nothing_break_nothing() {
    let site = Site::start(81).await;
    let messages = Conversation::start(site.wan.lab.port(MIRTH), &site.mirth, 81);
    let flows = [
        site.flow(MLLP, &site.mllp).await,
        site.flow(TCP, &site.tcp).await,
        site.flow(DICOM, &site.dicom).await,
    ];
    for hole in [Hole::BothWays, Hole::From(Part::A), Hole::From(Part::B)] {
        messages.goes_on(&site.mirth).await;
        for flow in &flows {
            flow.moves().await;
        }
        let began = Instant::now();
        hole.open_for(&site.wan, SHORT).await;
        messages.goes_on(&site.mirth).await;
        for flow in &flows {
            flow.moves().await;
        }
        println!("{hole:?} for {SHORT:?}: all moved again {:.2?} after it began", began.elapsed());
    }
    messages.finish(&site.mirth).await;
    for (flow, name) in flows.into_iter().zip(["mllp", "tcp", "dicom"]) {
        let [there, back] = flow.finish().await;
        println!("{name}: {there}; back {back}");
    }
    site.wan.nothing_was_cut().await;
}

/// All three at once: most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_of_nothing_cuts_only_mllp() {
    join!(outlives(Hole::BothWays, 82), outlives(Hole::From(Part::A), 83), outlives(Hole::From(Part::B), 84));
}

async fn outlives(hole: Hole, seed: u64) {
    let site = Site::start(seed).await;
    let lab = &site.wan.lab;
    let traffic = Traffic::start(lab, seed);
    let wire = Wire::open(lab.port(MLLP), &site.mllp).await;
    let flows = [site.flow(TCP, &site.tcp).await, site.flow(DICOM, &site.dicom).await];
    assert!(site.mirth.journal().reaches(100, HANG_LIMIT).await, "messages arrive");
    for flow in &flows {
        flow.moves().await;
    }

    let began = Instant::now();
    let cut = tokio::spawn(is_cut(wire, began));
    hole.open_for(&site.wan, LONG).await;
    assert!(cut.is_finished(), "MLLP is reset while nothing passes, not when it passes again");
    let [source, target] = cut.await.unwrap();
    println!(
        "{hole:?}: the idle MLLP connection was reset after {source:.2?} at the source, {target:.2?} at the target"
    );

    let back = join!(
        since_lifted(flows[0].moves()),
        since_lifted(flows[1].moves()),
        since_lifted(lab.port_open(MIRTH))
    );
    println!("{hole:?}, lifted: tcp moved, dicom moved, the MLLP port was open after {back:.2?}");
    let some = site.mirth.journal().count() + 100;
    assert!(site.mirth.journal().reaches(some, HANG_LIMIT).await, "messages flow again by themselves");

    for (flow, name) in flows.into_iter().zip(["tcp", "dicom"]) {
        let [there, back] = flow.finish().await;
        println!("{name}: {there}; back {back}");
    }
    let sent = traffic.stop().await;
    assert!(sent.iter().any(|sent| sent.outcome == SendOutcome::Reset), "open MLLP connections were cut");
    judge(&sent, &site.mirth).await;
}

async fn since_lifted(recovering: impl Future<Output = ()>) -> Duration {
    let lifted = Instant::now();
    recovering.await;
    lifted.elapsed()
}

/// When each end of an idle connection saw it cut; an orderly end would be a lie.
async fn is_cut(mut wire: Wire, began: Instant) -> [Duration; 2] {
    let source = async {
        assert_eq!(read_to_end(&mut wire.source).await.1, End::Rst);
        began.elapsed()
    };
    let target = async {
        assert_eq!(read_to_end(&mut wire.target).await.1, End::Rst);
        began.elapsed()
    };
    let both = async { join!(source, target) };
    let (source, target) = timeout(HANG_LIMIT, both).await.expect("both ends see it cut");
    [source, target]
}

/// QUIC keeps a tunnel alive by packets each 15 s, which must not open the port again.
const WATCHED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn status_says_that_a_port_stays_closed_while_packets_pass_one_way_only() {
    join!(stays_closed(Part::A, 85), stays_closed(Part::B, 86));
}

async fn stays_closed(mute: Part, seed: u64) {
    let site = Site::start(seed).await;
    let lab = &site.wan.lab;
    let flow = site.flow(TCP, &site.tcp).await;
    flow.moves().await;
    site.wan.impair_from(mute, Impairment::BLACKHOLE);
    lab.port_refuses(TCP).await;
    let watched_until = Instant::now() + WATCHED;
    while Instant::now() < watched_until {
        let taken = TcpStream::connect(lab.port(TCP)).await;
        assert!(taken.is_err(), "{mute:?} is mute: a connection reached nobody");
        let entry = lab.entry(Part::A, TCP).await.expect("the agent answers");
        let says_up = entry.port_open || entry.tunnel.on == Some(true) || entry.mirth.on == Some(true);
        assert!(!says_up, "{mute:?} is mute: {entry:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let said = |entry: &EntryStatus| entry.tunnel.on == Some(false);
    lab.entry_becomes(Part::B, TCP, "its tunnel is not up", said).await;
    site.wan.impair_from(mute, Impairment::ETHERNET);
    lab.port_open(TCP).await;
    flow.moves().await;
}
