//! What looks like trouble and is none: Swagger's own pages, what the Administrator asks by itself, clients
//! that close without TLS's word, and faults that are over.

use std::fs;
use std::time::Duration;

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_lab::admin_client::{open, shown_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Client, get};
use super::origin::Origin;
use crate::lab::{Lab, Part, eventually};

/// As every server from 4.4 on lists them.
const SWAGGER: [&str; 2] = ["/openapi.{type:json|yaml}", "/openapi"];

#[tokio::test(flavor = "multi_thread")]
async fn swaggers_pages_with_their_document_pass_as_known() {
    let origin = Origin::start("4.5.2").await;
    for path in SWAGGER {
        origin.add_plug_in("GET", path);
    }
    origin.add_plug_in("GET", "/extensions/bedboard/beds");
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    for target in [
        "/api/openapi.json",
        "/api/4.5.2/openapi.json",
        "/api/openapi",
        "/api/",
        "/api/index.html",
        "/api/css/swagger-ui.css",
        "/api/lib/swagger-ui-bundle.js",
        "/api/images/throbber.gif",
        "/api/fonts/DroidSans.ttf",
    ] {
        assert_eq!(get(lab.admin_port(0), target).await, (200, "as asked".into()), "{target}");
    }
    for target in ["/api/openapi.yaml", "/api/openapi.json/x", "/api/openapi.exe"] {
        assert_eq!(get(lab.admin_port(0), target).await.0, 403, "{target}");
    }
    let entry = lab.admin_entry(Part::B, 0).await.unwrap();
    let managed = entry.admin.unwrap().managed.unwrap();
    assert_eq!(managed.unknown_operations, ["GET /extensions/bedboard/beds"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_administrator_asks_by_itself_is_refused_with_a_count_but_no_listing() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let padlock = "/api/4.5.2/server/property?group=padlock&name=padlockMessage";
    for _ in 0..3 {
        assert_eq!(get(lab.admin_port(0), padlock).await.0, 403);
    }
    assert_eq!(get(lab.admin_port(0), "/api/server/property?group=core&name=x").await.0, 403);
    assert!(origin.arrived().is_empty());
    let managed = lab.admin_entry(Part::B, 0).await.unwrap().admin.unwrap().managed.unwrap();
    assert_eq!((managed.refused, managed.refused_as_expected), (1, 3));
    let audit = fs::read_to_string(lab.state(Part::B).join(AUDIT_FILE)).unwrap();
    assert_eq!(audit.matches("\"event\":\"admin_refused\"").count(), 1, "{audit}");
    assert!(!audit.contains("padlock"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_without_tls_own_word_once_all_is_answered_is_not_cut() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let key = Some(shown_key(lab.admin_port(0)).await.unwrap());
    let request =
        format!("GET /api/channels HTTP/1.1\r\nHost: {}\r\nX-Requested-With: x\r\n\r\n", lab.admin_port(0));
    for _ in 0..5 {
        let mut stream = open(lab.admin_port(0), key).await.unwrap();
        for _ in 0..3 {
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let mut answer = vec![0; 4096];
            let mut length = 0;
            while !answer[..length].ends_with(b"as asked") {
                length += stream.read(&mut answer[length..]).await.unwrap();
            }
        }
        // No shutdown: the socket is closed as it is.
        drop(stream);
    }
    let managed = eventually("five connections ended at B", async || {
        let entry = lab.admin_entry(Part::B, 0).await?;
        (entry.streams_opened == 5).then_some(entry.streams_cut)
    })
    .await;
    assert_eq!(managed, 0);
    // Here those that only looked at the port or the key are among them.
    let near = eventually("at least six connections ended at A", async || {
        lab.admin_entry(Part::A, 0).await.filter(|entry| entry.streams_opened >= 6)
    })
    .await;
    assert_eq!(near.streams_cut, 0, "{near:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_without_asking_is_not_cut() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let key = Some(shown_key(lab.admin_port(0)).await.unwrap());
    drop(open(lab.admin_port(0), key).await.unwrap());
    drop(tokio::net::TcpStream::connect(lab.admin_port(0)).await.unwrap());
    // The one that looked at the key asked nothing either.
    let entry = eventually("three connections ended at A", async || {
        lab.admin_entry(Part::A, 0).await.filter(|entry| entry.streams_opened >= 3)
    })
    .await;
    assert_eq!(entry.streams_cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_before_its_answer_is_cut() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    let mut client = Client::to(lab.admin_port(0)).await;
    let before = lab.admin_entry(Part::A, 0).await.unwrap();
    client.get("/api/channels/large").await;
    client.head().await;
    drop(client);
    let ended = eventually("it ended", async || {
        lab.admin_entry(Part::A, 0).await.filter(|entry| entry.streams_cut > before.streams_cut)
    })
    .await;
    assert_eq!(ended.streams_cut, before.streams_cut + 1);
    eventually("it ended at the managed side too", async || {
        lab.admin_entry(Part::B, 0).await.filter(|entry| entry.streams_cut == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_an_earlier_process_is_over_once_the_connection_works_again() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    lab.kill(Part::B);
    lab.admin_complains(Part::A, 0, "the tunnel ended").await;
    lab.start(Part::B);
    lab.admin_port_opens(0).await;
    for part in [Part::A, Part::B] {
        let what = "has no fault any more";
        lab.admin_becomes(part, 0, what, |entry| entry.tunnel.on == Some(true) && entry.last_error.is_none())
            .await;
        let status = lab.status(part).await.unwrap();
        assert_eq!(status.gateway_error, None, "{part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirth_that_came_back_leaves_no_fault() {
    let mut origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadOnly]).await;
    origin.stop().await;
    lab.admin_complains(Part::B, 0, "cannot connect to Mirth").await;
    tokio::time::timeout(Duration::from_secs(60), origin.start_again()).await.unwrap();
    lab.admin_port_opens(0).await;
    lab.admin_becomes(Part::B, 0, "has no fault any more", |entry| entry.last_error.is_none()).await;
}
