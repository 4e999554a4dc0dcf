//! How a session ends, by what people decide and by what breaks: in order after a pause, and in every
//! other case so that nobody takes a piece for the whole.

use std::time::Instant;

use adit_core::domain::access::Access;
use rustix::process::Signal;

use super::client::{Client, End, get};
use super::origin::{Origin, SENT_BYTES};
use crate::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lets_only_the_request_in_hand_end() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    for owner in [SOURCE_OWNER, TARGET_OWNER] {
        origin.go_on(false);
        let mut idle = Client::to(lab.admin_port(0)).await;
        idle.get("/api/channels").await;
        assert_eq!(idle.answer().await.0, 200);
        let mut busy = in_the_middle(&lab, &origin).await;
        lab.admin_command("pause", owner, 0).await;
        assert_eq!(idle.rest().await, (vec![], End::Whole), "an idle connection is closed");
        lab.admin_port_refuses(0).await;

        // Asked before the pause was heard of, or after: nobody serves it.
        busy.get("/api/users/current").await;
        origin.go_on(true);
        assert_eq!(busy.exactly(SENT_BYTES).await, vec![b'y'; SENT_BYTES]);
        assert_eq!(busy.rest().await, (vec![], End::Whole));
        assert!(origin.arrived().iter().all(|head| !head.contains("/users/current")));

        lab.admin_command("resume", owner, 0).await;
        lab.admin_port_opens(0).await;
        assert_eq!(get(lab.admin_port(0), "/api/channels").await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_either_agent_lets_only_the_request_in_hand_end() {
    for part in [Part::A, Part::B] {
        let origin = Origin::start("4.5.2").await;
        let mut lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
        origin.go_on(false);
        let mut idle = Client::to(lab.admin_port(0)).await;
        idle.get("/api/channels").await;
        assert_eq!(idle.answer().await.0, 200);
        let mut busy = in_the_middle(&lab, &origin).await;
        lab.signal(part, Signal::TERM);
        assert_eq!(idle.rest().await, (vec![], End::Whole), "an idle connection is closed");
        lab.admin_port_refuses(0).await;

        busy.get("/api/users/current").await;
        origin.go_on(true);
        assert_eq!(busy.exactly(SENT_BYTES).await, vec![b'y'; SENT_BYTES]);
        assert_eq!(busy.rest().await, (vec![], End::Whole));
        assert!(origin.arrived().iter().all(|head| !head.contains("/users/current")));
        assert!(lab.ended(part).await.success());
        assert!(lab.log(part).contains("all exchanges have ended"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnect_downgrade_or_termination_cuts_an_answer_in_the_middle() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadWrite, Access::ReadOnly]).await;
    for owner in [SOURCE_OWNER, TARGET_OWNER] {
        let busy = in_the_middle(&lab, &origin).await;
        lab.admin_command("disconnect", owner, 0).await;
        is_cut("disconnect", busy).await;
        lab.admin_port_opens(0).await;
    }

    let busy = in_the_middle(&lab, &origin).await;
    lab.admin(&["org", "tier", TARGET_OWNER, "free"]).await;
    is_cut("downgrade", busy).await;
    lab.gateway_shows(TARGET_OWNER, 0, "Paused").await;
    lab.admin_port_refuses(0).await;
    assert_eq!(get(lab.admin_port(1), "/api/channels").await.0, 200, "view-only needs no tier");
    lab.admin(&["org", "tier", TARGET_OWNER, "standard"]).await;
    lab.admin_port_opens(0).await;

    let busy = in_the_middle(&lab, &origin).await;
    lab.admin_command("terminate", SOURCE_OWNER, 0).await;
    is_cut("termination", busy).await;
    lab.admin_port_refuses(0).await;
    for part in [Part::A, Part::B] {
        lab.admin_becomes(part, 0, "shows Terminated", |entry| entry.status == "Terminated").await;
    }
    assert_eq!(get(lab.admin_port(1), "/api/channels").await.0, 200, "the neighbour lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_managing_host_is_cut_in_the_middle_of_an_answer() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let busy = in_the_middle(&lab, &origin).await;
    lab.admin(&["server", "revoke", "Lakeside Mirth", "--as", SOURCE_OWNER]).await;
    is_cut("revocation", busy).await;
    lab.admin_port_refuses(0).await;
}

/// A client that has half of an answer.
async fn in_the_middle(lab: &Lab, origin: &Origin) -> Client {
    origin.go_on(false);
    let mut client = Client::to(lab.admin_port(0)).await;
    client.get("/api/channels/held").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(client.exactly(SENT_BYTES).await, vec![b'x'; SENT_BYTES]);
    client
}

async fn is_cut(what: &str, mut client: Client) {
    let began = Instant::now();
    assert_eq!(client.rest().await, (vec![], End::Reset), "{what}");
    println!("{what}: the answer is cut {} ms after `adit admin` returned", began.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_mirth_breaks_off_is_never_taken_for_whole() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly, Access::ReadWrite]).await;
    for index in 0..2 {
        for framing in ["length", "chunk", "chunks"] {
            for how in ["fin", "reset", "farewell"] {
                breaks_off(&lab, index, framing, how).await;
            }
        }
        for how in ["fin", "reset"] {
            breaks_off(&lab, index, "end", how).await;
        }
        // Only TLS's own word tells that nothing is missing here, and it was said.
        let mut client = Client::to(lab.admin_port(index)).await;
        client.get(&target("end", "farewell")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
        let (body, end) = client.rest().await;
        assert_eq!((body.len(), end), (SENT_BYTES, End::Whole));
    }
}

/// A reset takes along what its reader has not read: of an answer that Mirth reset the agent may have
/// seen nothing, and the client of one that the agent reset.
async fn breaks_off(lab: &Lab, index: usize, framing: &str, how: &str) {
    let mut client = Client::to(lab.admin_port(index)).await;
    client.get(&target(framing, how)).await;
    let (answer, end) = client.rest().await;
    println!("{framing}, {how}: {end:?} after {} bytes", answer.len());
    let is_unanswered = how == "reset" && answer.starts_with(b"HTTP/1.1 502") && end == End::Whole;
    assert!(end == End::Reset || is_unanswered, "{framing} {how}: {end:?}");
    assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "{framing} {how}: no last chunk that Mirth did not send");
}

fn target(framing: &str, how: &str) -> String {
    format!("/api/channels/cut-{framing}-{how}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_mirth_breaks_off_before_answering_is_a_502_not_sent_twice() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadWrite]).await;
    for method in ["GET", "DELETE"] {
        let mut client = Client::to(lab.admin_port(0)).await;
        // Over a connection to Mirth that is in use already, too.
        client.get("/api/channels").await;
        assert_eq!(client.answer().await.0, 200);
        client.ask(method, "/api/channels/silent", "").await;
        let (status, why) = client.answer().await;
        assert_eq!(status, 502, "{why}");
        assert_eq!(client.rest().await, (vec![], End::Whole));
        let line = format!("{method} /api/channels/silent ");
        assert_eq!(origin.arrived().iter().filter(|head| head.starts_with(&line)).count(), 1);
    }
}
