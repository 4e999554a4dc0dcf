//! Either agent killed with -9 in the middle of a large answer and of an upload: the client sees a
//! reset, and service is back by itself (I2, I10).

use std::time::Instant;

use adit_core::domain::access::Access;

use super::client::{Client, End, get};
use super::origin::{LARGE_BYTES, Origin};
use crate::lab::{Lab, Part, eventually};

/// So much passes before the kill.
const BEFORE_BYTES: usize = 10_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn after_the_kill_of_either_agent_resets_a_download_service_is_back_by_itself() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    for part in [Part::A, Part::B] {
        let mut client = Client::to(lab.admin_port(0)).await;
        client.get("/api/channels/large").await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
        client.exactly(BEFORE_BYTES).await;
        lab.kill(part);
        let killed = Instant::now();
        // A peer that vanished is given up after the stall limit, or when it is back with another life.
        lab.start(part);
        let (rest, end) = client.rest().await;
        println!("{part:?} killed in a download: reset after {} ms", killed.elapsed().as_millis());
        assert_eq!(end, End::Reset);
        assert!(BEFORE_BYTES + rest.len() < LARGE_BYTES);
        serves_again(&lab, part, killed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reset_by_the_kill_of_either_agent_never_becomes_whole_at_mirth() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::managing(origin.address, &[Access::ReadWrite]).await;
    for part in [Part::A, Part::B] {
        let before = origin.swallowed();
        let mut client = Client::to(lab.admin_port(0)).await;
        client.ask("POST", "/api/extensions/swallow", &format!("Content-Length: {LARGE_BYTES}\r\n")).await;
        let pouring = tokio::spawn(async move {
            let how = client.pour().await;
            (how, client.rest().await)
        });
        eventually("the upload is under way", async || {
            (origin.swallowed() - before > BEFORE_BYTES as u64).then_some(())
        })
        .await;
        lab.kill(part);
        let killed = Instant::now();
        lab.start(part);
        let (how, (answer, end)) = pouring.await.unwrap();
        println!("{part:?} killed in an upload: {how:?} after {} ms", killed.elapsed().as_millis());
        assert_eq!(answer, b"", "nobody said that it arrived");
        assert_ne!(end, End::Whole);
        assert!(origin.swallowed() - before < LARGE_BYTES as u64);
        serves_again(&lab, part, killed).await;
        let audit = lab.own_audit(Part::B);
        assert!(audit.contains("\"admin_change\""), "the attempt is written down: {audit}");
    }
}

async fn serves_again(lab: &Lab, part: Part, since: Instant) {
    lab.tunnel_anew(part, 0).await;
    assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
    println!("served again {} ms after the kill", since.elapsed().as_millis());
}
