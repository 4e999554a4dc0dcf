//! An agent's NAT forgets its mapping and gives it a new address, in the middle of everything: the
//! tunnel follows, and no program notices.

use std::net::SocketAddr;
use std::time::Instant;

use adit_core::domain::connection::Protocol;
use adit_core::domain::path::PathKind;
use adit_lab::mirth::Mirth;
use adit_lab::shim::Shim;
use tokio::join;
use tokio::net::TcpListener;

use super::flow::{Flow, Pace};
use super::lab::{Part, mirth};
use super::traffic::Conversation;
use super::wan::Wan;
use super::wire::listener;

const MIRTH: usize = 0;
const TCP: usize = 1;
/// Of a steady flow never so much is under way.
const MORE_THAN_UNDER_WAY: u64 = 256 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_address_changes_keeps_its_connections() {
    let targets = Targets::listen().await;
    let wan = Wan::to_all(&targets.all(), Part::A, 91).await;
    heals(&wan, &targets, "A's", &wan.direct).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_address_changes_keeps_its_connections() {
    let targets = Targets::listen().await;
    let wan = Wan::to_all(&targets.all(), Part::B, 92).await;
    heals(&wan, &targets, "B's", &wan.direct).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_on_the_relay_whose_address_changes_keeps_its_connections() {
    let targets = Targets::listen().await;
    let wan = Wan::forced(&targets.all(), PathKind::Relay, 93).await;
    for (whose, uplink) in [("A's", &wan.uplinks[0]), ("B's", &wan.uplinks[1])] {
        heals(&wan, &targets, &format!("{whose} relayed"), uplink).await;
    }
}

struct Targets {
    mirth: Mirth,
    tcp: TcpListener,
}

impl Targets {
    async fn listen() -> Self {
        Self { mirth: mirth().await, tcp: listener().await }
    }

    fn all(&self) -> [(Protocol, SocketAddr); 2] {
        [(Protocol::Mllp, self.mirth.address()), (Protocol::Tcp, self.tcp.local_addr().unwrap())]
    }
}

/// The NAT in front of `wire` rebinds several times.
async fn heals(wan: &Wan, targets: &Targets, whose: &str, wire: &Shim) {
    let Targets { mirth, tcp } = targets;
    let seed = mirth.journal().count();
    let messages = Conversation::start(wan.lab.port(MIRTH), mirth, seed);
    let flow = Flow::start(wan.lab.port(TCP), tcp, Pace::Steady, seed).await;
    let mut healed = Vec::new();
    for _ in 0..3 {
        messages.goes_on(mirth).await;
        flow.moves().await;
        wire.rebind().unwrap();
        let since = Instant::now();
        join!(messages.goes_on(mirth), flow.carries(MORE_THAN_UNDER_WAY));
        healed.push(since.elapsed());
    }
    println!("{whose} address changed: healed after {healed:.2?}");
    messages.finish(mirth).await;
    let [there, back] = flow.finish().await;
    println!("tcp: {there}; back {back}");
    wan.nothing_was_cut().await;
}
