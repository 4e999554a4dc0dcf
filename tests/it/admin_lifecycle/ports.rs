//! The port for people is gated (I10): it is open while a request could be served, and no human
//! has to do with it.

use std::time::{Duration, Instant};

use adit_core::domain::access::Access;

use super::client::{Client, get};
use super::origin::Origin;
use crate::lab::{Lab, Part};

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_open_only_while_mirth_answers_through_the_tunnel() {
    let mut origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly]).await;
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
    lab.admin_becomes(Part::A, 0, "knows the rules", |entry| entry.status == "Active").await;
    lab.admin_port_refuses(0).await;

    lab.start(Part::B);
    lab.admin_port_opens(0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await, (200, "as asked".into()));

    origin.stop().await;
    // Nobody asks for anything: the agent looks by itself.
    let closed = took("closes after Mirth went", lab.admin_port_refuses(0)).await;
    assert!(closed < Duration::from_secs(15));
    let managed = lab.admin_entry(Part::B, 0).await.unwrap();
    assert_eq!((managed.mirth.on, managed.tunnel.on), (Some(false), Some(true)));
    assert!(managed.last_error.unwrap().what.contains("cannot connect to Mirth"));
    origin.start_again().await;
    took("opens after Mirth came", lab.admin_port_opens(0)).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);

    lab.kill(Part::B);
    took("closes after the managed agent was killed", lab.admin_port_refuses(0)).await;
    lab.start(Part::B);
    took("opens after it came", lab.admin_port_opens(0)).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirth_that_goes_closes_the_port_at_once() {
    let mut origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let mut client = Client::to(lab.admin_port(0)).await;
    client.get("/api/channels").await;
    assert_eq!(client.answer().await.0, 200);
    origin.stop().await;
    let closed = took("closes after Mirth went", lab.admin_port_refuses(0)).await;
    assert!(closed < Duration::from_secs(5));
}

async fn took(what: &str, done: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    done.await;
    println!("the port {what}: {} ms", began.elapsed().as_millis());
    began.elapsed()
}
