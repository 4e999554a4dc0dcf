//! The gateway introduces; it carries nothing. Away, it takes nothing with it but news.

use adit_core::domain::connection::Protocol;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::mirth::Mirth;
use adit_lab::sender::Sender;

use super::lab::{Lab, Part, eventually, mirth};
use super::wire::{End, Wire, finish, listener, read_to_end};
use tokio::io::AsyncWriteExt;

async fn sends(lab: &Lab, seed: u64, mirth: &Mirth) {
    let before = mirth.journal().received().len();
    let report = Sender::to(lab.port(0)).send(Generator::new(seed).take(20)).await;
    let differences = Differences::between(&report.sent, &mirth.journal().received()[before..]);
    assert!(differences.none(), "{differences}: {:?}", report.sent);
}

async fn notices_the_gateway(lab: &Lab, part: Part, is_there: bool) {
    eventually(&format!("{part:?} notices whether the gateway is there: {is_there}"), async || {
        lab.status(part).await.filter(|status| status.gateway.on == Some(is_there))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_open_or_new_outlive_the_gateway() {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let mut open = Wire::open(lab.port(0), &listener).await;
    lab.kill(Part::Gateway);
    for part in [Part::A, Part::B] {
        notices_the_gateway(&lab, part, false).await;
    }
    let new = Wire::open(lab.port(0), &listener).await;
    drop(new);
    open.source.write_all(b"still here").await.unwrap();
    finish(&mut open.source).await;
    assert_eq!(read_to_end(&mut open.target).await, (b"still here".to_vec(), End::Fin));

    // Back, it is found again, and the tunnel it never carried is the same.
    let since = lab.entry(Part::A, 0).await.unwrap().tunnel.since;
    lab.start(Part::Gateway);
    lab.linked().await;
    assert_eq!(lab.entry(Part::A, 0).await.unwrap().tunnel.since, since);
    assert!(open.target.write_all(b"x").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_restarted_without_the_gateway_open_their_tunnel_from_what_they_know() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::Gateway);
    for (seed, part) in [(61, Part::A), (62, Part::B)] {
        lab.kill(part);
        lab.port_refuses(0).await;
        lab.start(part);
        lab.port_open(0).await;
        sends(&lab, seed, &mirth).await;
        notices_the_gateway(&lab, part, false).await;
    }
    lab.start(Part::Gateway);
    lab.linked().await;
    sends(&lab, 63, &mirth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_started_before_their_gateway_find_it_once_it_is_there() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.kill(part);
    }
    // As after a power cut: everything in the least helpful order.
    lab.start(Part::A);
    notices_the_gateway_is_unknown(&lab).await;
    lab.start(Part::B);
    lab.port_open(0).await;
    lab.start(Part::Gateway);
    lab.linked().await;
    sends(&lab, 64, &mirth).await;
}

async fn notices_the_gateway_is_unknown(lab: &Lab) {
    eventually("A runs without a gateway", async || {
        lab.status(Part::A).await.filter(|status| status.gateway.on != Some(true))
    })
    .await;
}
