//! What stands in the audits of both sides about requests that were refused, and what never does.

use std::fs;
use std::net::SocketAddr;

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_lab::admin_client::{AdminClient, open, shown_key};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::lab::{Lab, Part, eventually};

const BASE: &str = "/api/4.5.2";

async fn managed() -> (AdminMirth, Lab) {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    (mirth, lab)
}

fn audit(lab: &Lab, part: Part) -> String {
    fs::read_to_string(lab.state(part).join(AUDIT_FILE)).unwrap()
}

/// Sends these bytes over a connection of their own and hears all that comes.
async fn heard(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = open(address, Some(shown_key(address).await.unwrap())).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let _ = stream.flush().await;
    let mut answer = vec![0; 256];
    let count = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_managing_side_lets_not_in_stands_in_its_own_audit() {
    let (mirth, lab) = managed().await;
    let address = lab.admin[0].listen;
    let other = heard(address, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 421"), "{other}");
    let told = audit(&lab, Part::A);
    let line = told.lines().find(|line| line.contains("another Host")).expect("it is there");
    assert!(line.contains("\"admin_listener_refused\"") && line.contains("127.0.0.1"), "{line}");
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually("a client without TLS is in the audit too", async || {
        audit(&lab, Part::A).contains("no TLS handshake").then_some(())
    })
    .await;
    mirth.shutdown().await;
}

/// A segment of a patient's message, put wherever a request has room for it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_partner_sends_is_written_down() {
    const CANARY: &str = "PID|CANARY";
    const BARE: &str = "PIDCANARY";
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let mut lab = Lab::managing(mirth.address(), &[Access::ReadOnly, Access::ReadWrite]).await;
    for part in [Part::A, Part::B] {
        lab.kill(part);
        lab.start_traced(part);
    }
    for index in [0, 1] {
        lab.administrator(index).await;
        let address = lab.admin[index].listen;
        let with = |line: &str, headers: &str, body: &str| {
            format!(
                "{line} HTTP/1.1\r\nHost: {address}\r\nX-Requested-With: x\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let xml = "Content-Type: application/xml\r\n";
        for request in [
            with(&format!("{CANARY} /api/channels"), "", ""),
            with(&format!("{BARE} /api/channels"), "", ""),
            with(&format!("GET /api/{CANARY}"), "", ""),
            with(&format!("GET /api/channels/{BARE}"), "", ""),
            with(&format!("GET /api/{BARE}/{BARE}"), "", ""),
            with(&format!("GET /api/channels?{BARE}={BARE}"), "", ""),
            with("GET /api/channels", &format!("{BARE}: a\r\n"), ""),
            with("GET /api/channels", &format!("{CANARY}: a\r\n"), ""),
            with("GET /api/channels", &format!("User-Agent: {CANARY}\r\nCookie: JSESSIONID={BARE}\r\n"), ""),
            with("GET /api/channels", &format!("Authorization: {CANARY}\r\n"), ""),
            with("GET /api/channels", &format!("Origin: https://{BARE}\r\n"), ""),
            with("POST /api/channels/_auditAccessedPHIMessage", xml, CANARY),
            with("POST /api/channels/_getChannels", xml, &format!("<set><string>{CANARY}</string></set>")),
            with(
                "POST /api/users/_login",
                "Content-Type: application/x-www-form-urlencoded\r\n",
                &format!("username={BARE}&password={BARE}"),
            ),
            with("GET /api/channels", &format!("Transfer-Encoding: {BARE}\r\n"), ""),
            format!("GET / HTTP/1.1\r\nHost: {BARE}\r\n\r\n"),
            format!("GET / HTTP/{CANARY}\r\nHost: {address}\r\n\r\n"),
            format!("{CANARY}\r\n\r\n"),
        ] {
            heard(address, request.as_bytes()).await;
        }
    }
    for part in [Part::A, Part::B] {
        for (what, text) in [
            ("log", lab.log(part)),
            ("audit", audit(&lab, part)),
            ("status", serde_json::to_string(&lab.status(part).await.unwrap()).unwrap()),
            ("metrics", metrics(&lab, part).await),
        ] {
            assert!(!text.contains("CANARY"), "{part:?} {what}: {}", excerpt(&text));
        }
    }
    let mut client: AdminClient = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    mirth.shutdown().await;
}

fn excerpt(text: &str) -> String {
    text.lines().filter(|line| line.contains("CANARY")).take(3).collect::<Vec<_>>().join("\n")
}

async fn metrics(lab: &Lab, part: Part) -> String {
    let config = fs::read_to_string(lab.config(part)).unwrap();
    let line = config.lines().find(|line| line.starts_with("metrics")).unwrap();
    let address = line.split('"').nth(1).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}
