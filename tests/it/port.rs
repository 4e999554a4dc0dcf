//! The gated listener: it accepts only while a message could arrive.

use adit_core::domain::connection::Protocol;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use tokio::net::TcpListener;

use super::lab::{Lab, Part, eventually, free_address, mirth, mirth_at};

async fn is_refused(lab: &Lab) -> bool {
    tokio::net::TcpStream::connect(lab.port(0)).await.is_err()
}

async fn accepts_a_message(lab: &Lab, seed: u64) {
    let report = Sender::to(lab.port(0)).send(Generator::new(seed).take(1)).await;
    assert_eq!(report.accepted(), 1, "{:?}", report.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_refuses_until_the_far_mirth_answers_through_the_tunnel() {
    let address = free_address();
    let mut lab = Lab::written(&[(Protocol::Mllp, address)]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
    lab.entry_becomes(Part::A, 0, "is Active", |entry| entry.status == "Active").await;
    assert!(is_refused(&lab).await, "nobody stands at the other end");

    lab.start(Part::B);
    lab.entry_becomes(Part::A, 0, "the tunnel is up, the far Mirth down", |entry| {
        entry.tunnel.on == Some(true) && entry.mirth.on == Some(false)
    })
    .await;
    assert!(is_refused(&lab).await, "the far Mirth is down");

    let _mirth = mirth_at(address).await;
    lab.port_open(0).await;
    accepts_a_message(&lab, 71).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_closes_only_while_the_far_mirth_is_away() {
    let first = mirth().await;
    let address = first.address();
    let lab = Lab::to(Protocol::Mllp, address).await;
    accepts_a_message(&lab, 72).await;
    // From here on no one sends: only the agent's own look can tell.
    first.shutdown().await;
    lab.port_refuses(0).await;
    let entry = lab.entry_becomes(Part::A, 0, "names the far Mirth", |e| e.mirth.on == Some(false)).await;
    assert_eq!(entry.tunnel.on, Some(true), "the tunnel is not at fault");

    let second = mirth_at(address).await;
    lab.port_open(0).await;
    accepts_a_message(&lab, 74).await;
    assert_eq!(second.journal().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_closes_only_while_the_far_agent_is_away() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::B);
    lab.port_refuses(0).await;
    lab.start(Part::B);
    lab.port_open(0).await;
    accepts_a_message(&lab, 75).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_stays_the_agents_own() {
    let address = free_address();
    let mut lab = Lab::written(&[(Protocol::Mllp, address)]);
    lab.start_all().await;
    lab.entry_becomes(Part::A, 0, "the tunnel is up", |entry| entry.tunnel.on == Some(true)).await;
    let taken = TcpListener::bind(lab.port(0)).await;
    assert!(taken.is_err(), "another program took the closed port");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_until_it_is_free_to_be_taken() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let holder = TcpListener::bind(lab.port(0)).await.unwrap();
    lab.start_all().await;
    let port = lab.port(0).to_string();
    eventually("the port in use is named with what to do", async || {
        let fault = lab.entry(Part::A, 0).await?.last_error?.what;
        (fault.contains(&port) && fault.contains("stop what uses it")).then_some(())
    })
    .await;
    drop(holder);
    lab.port_open(0).await;
    accepts_a_message(&lab, 76).await;
}
