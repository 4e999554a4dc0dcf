//! The log at `debug` tells a newcomer what happened and why; at no level does it tell what nobody may know.

use std::ffi::OsStr;
use std::fs;
use std::net::UdpSocket;

use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::KeyFingerprint;
use adit_lab::admin_client::{open, shown_key};
use adit_lab::admin_mirth::AdminMirth;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::lab::{Lab, Part, adit, eventually, mirth, run};

/// What debug shows of Rust's own and of values that are not known.
const OF_RUST: [&str; 6] = ["Some(", "None", "ServerId(", "ConnectionId(", "RouteId(", "Ok("];

fn start_explaining(lab: &mut Lab, part: Part) {
    lab.start_with(part, "ADIT_LOG", OsStr::new("adit=debug"));
}

async fn start_all_but_b(lab: &mut Lab) {
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
}

/// Each of these stands in a line after that of the one before; every line has its words side by side.
#[track_caller]
fn assert_told(log: &str, story: &[&[&str]]) {
    let mut lines = log.lines();
    for words in story {
        let is_told = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(is_told, "{words:?} is not told, or too early, in\n{log}");
    }
    for line in log.lines() {
        let of_rust = OF_RUST.iter().find(|word| line.contains(*word));
        assert!(of_rust.is_none(), "{of_rust:?} stands in {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_comes_up_in_the_second_try_is_explained() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    start_explaining(&mut lab, Part::A);
    lab.logs(Part::A, "the peer's agent does not answer").await;
    lab.start(Part::B);
    lab.port_open(0).await;
    lab.logs(Part::A, "the port listens from now on").await;
    lab.logs(Part::A, "each is probed").await;
    let (log, connection) = (lab.log(Part::A), "connection{name=");
    assert_told(
        &log,
        &[
            &["control:link{number=1}", "the gateway is dialled", "address=127.0.0.1"],
            &["control:link{number=1}", "the snapshot of rules is whole", "revision="],
            &[
                connection,
                "the peer is not dialled",
                "policy=\"Active\"",
                "has_path=false",
                "does not answer",
            ],
            &["peer{server=", "packets take this path from now on", "path=", "why=it answered first"],
            &[connection, "the peer is dialled", "path="],
            &[connection, "a handshake begins", "route="],
            &[connection, "both ends have proven that they hold the secret", "peer_key="],
            &[connection, "whether the port may be open has changed", "peer_mirth=true"],
            &[connection, "the port listens from now on"],
        ],
    );
    // The peer's own probe may be here before the gateway has said where it comes from.
    let addresses: [&[&str]; 2] = [
        &["the gateway says where a peer can be reached", "addresses=127.0.0.1"],
        &["peer{server=", "each is probed", "addresses=127.0.0.1"],
    ];
    assert_told(&log, &addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_peer_is_explained() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    start_all_but_b(&mut lab).await;
    start_explaining(&mut lab, Part::B);
    lab.port_open(0).await;
    let shown = lab.status(Part::A).await.unwrap().key.to_string();
    let other = KeyFingerprint::from_bytes([7; 32]).to_string();
    let name = lab.entry(Part::B, 0).await.unwrap().name;
    let mut command = adit();
    command.args(["trust", &name, &other, "--force", "--config"]).arg(lab.config(Part::B));
    assert!(run(command).await.status.success());
    lab.logs(Part::B, "refused a peer").await;
    assert_told(
        &lab.log(Part::B),
        &[
            &["a command on this host asks", "what=\"trust\""],
            &["a person names the key of a peer", &other, "force=true", "is_trusted=true"],
            &["the tunnel has ended", "another key of the peer is trusted now"],
            &["incoming{peer=", "the handshake has verified the peer", &shown],
            &["incoming{peer=", "what rules and file say of it", "policy=\"Active\""],
            &["incoming{peer=", "is held against the known one", &shown, "verdict=\"changed\""],
            &["incoming{peer=", "connection=", "refused a peer", "reason="],
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_admin_request_is_explained() {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let mut lab = Lab::written_managing(&[], mirth.address(), &[Access::ReadOnly]).await;
    start_all_but_b(&mut lab).await;
    start_explaining(&mut lab, Part::B);
    lab.administrator(0).await;
    let address = lab.admin[0].listen;
    let mut stream = open(address, Some(shown_key(address).await.unwrap())).await.unwrap();
    let head = format!("DELETE /api/channels/x HTTP/1.1\r\nHost: {address}\r\nX-Requested-With: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    lab.logs(Part::B, "a refusal goes into the audit").await;
    let span = ":stream{number=";
    assert_told(
        &lab.log(Part::B),
        &[
            &["connection{name=", "Mirth was asked what it is", "version="],
            &["connection{name=", "requests are judged by what this Mirth has", "access=\"read-only\""],
            &[span, "session{number=", "a request is refused", "method=\"DELETE\"", "rule=", "why="],
            &[span, "session{number=", "a refusal goes into the audit", "status=403"],
        ],
    );
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_of_a_stranger_is_counted_under_its_reason() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let agent = lab.status(Part::A).await.unwrap().listen;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let is_counted = |metrics: &str| {
        let count = metrics.lines().find_map(|line| {
            line.strip_prefix("adit_dropped_packets_total{reason=\"unvalidated\"} ")?.parse::<u64>().ok()
        });
        count.is_some_and(|count| count > 0)
    };
    eventually("a packet that came from nobody known is counted", async || {
        stranger.send_to(&[0x40; 64], &agent).unwrap();
        is_counted(&lab.metrics(Part::A).await?).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_messages_secrets_or_tokens_stands_in_a_log_at_trace() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let mut untold = vec!["PID|".to_owned(), "MSH|".into(), "[masked]".into(), "[secret]".into()];
    for part in [Part::A, Part::B] {
        let connector = fs::read_to_string(lab.config(part).with_file_name("connector.toml")).unwrap();
        let token = connector.lines().find_map(|line| line.strip_prefix("token = ")).unwrap();
        untold.push(token.trim_matches('"').to_owned());
    }
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.start_with(part, "ADIT_LOG", OsStr::new("adit=trace"));
    }
    lab.port_open(0).await;
    let messages: Vec<_> = Generator::new(151).take(20).collect();
    for message in &messages {
        untold.push(message.control_id.clone());
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        let patient = text.split('\r').find(|segment| segment.starts_with("PID|")).unwrap();
        untold.push(patient.split('|').nth(5).unwrap().to_owned());
    }
    let report = Sender::to(lab.port(0)).send(messages.into_iter()).await;
    assert_eq!(report.accepted(), 20);
    for part in [Part::A, Part::B] {
        let secrets = fs::read_to_string(lab.state(part).join("secrets.json")).unwrap();
        let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
        for of_connection in secrets.as_object().unwrap().values() {
            untold.push(of_connection["secret"].as_str().unwrap().to_owned());
        }
    }
    eventually("it is told that the messages passed", async || {
        lab.log(Part::A).contains("received").then_some(())
    })
    .await;
    for part in [Part::Gateway, Part::A, Part::B] {
        let log = lab.log(part);
        assert!(log.contains("TRACE"), "{part:?} told nothing");
        for word in &untold {
            let line = log.lines().find(|line| line.contains(word.as_str()));
            assert!(line.is_none(), "{part:?} tells {word}: {line:?}");
        }
    }
}
