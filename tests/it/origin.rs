//! What stands behind the access filter in these tests: a real Jetty 9.4 that says what it parsed, and
//! before it a tap that keeps every byte that reached it. And a client that sends exactly what it is told.

pub(crate) mod client;
pub(crate) mod jetty;
pub(crate) mod managed;
pub(crate) mod tap;

use std::time::Duration;

use client::{Client, answers};
use jetty::{Jetty, Record};
use tap::Tap;

use super::lab::{HANG_LIMIT, eventually};

/// One request, its complete answer awaited.
async fn asked(tap: &Tap, pieces: &[&[u8]]) -> (Vec<client::Answer>, bool) {
    let mut client = Client::connect(tap.address).await;
    for piece in pieces {
        client.send(piece).await;
    }
    client.hears(HANG_LIMIT, |heard| heard.closed || !answers(&heard.bytes, false, false).is_empty()).await;
    let heard = client.heard();
    (answers(&heard.bytes, false, heard.closed), heard.closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_says_what_jetty_parsed_of_what_the_tap_saw_sent() {
    let mut jetty = Jetty::start();
    let tap = Tap::before(jetty.address).await;
    let sent =
        b"POST /api/channels/_getChannels?x=%41;y HTTP/1.1\r\nHost: mirth:8443\r\nx-REQUESTED-with: \ta \r\n\
        X-Two: 1\r\nX-Two: \xe4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    let (answers, _) = asked(&tap, &[sent]).await;
    assert_eq!(answers[0].status, 200);
    let records = jetty.take();
    let [Record::Request(hit)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(answers[0].body, hit.id.to_string().as_bytes());
    assert_eq!((hit.method.as_str(), hit.target.as_str()), ("POST", "/api/channels/_getChannels?x=%41;y"));
    assert_eq!(hit.decoded, "/api/channels/_getChannels");
    assert_eq!((hit.body.as_slice(), hit.length), (&b"abcd"[..], 4));
    assert_eq!(hit.operation.as_deref(), Some("getChannels"));
    assert!(hit.values("X-Two").eq(["1", "\u{e4}"]));
    assert!(hit.values("X-Requested-With").eq(["a"]));
    let seen = tap.seen();
    assert_eq!((seen[0].port, seen[0].bytes.as_slice()), (Some(hit.peer), &sent[..]));
    assert_eq!(jetty.take(), []);
}

/// The origin must be one that can be attacked, or nothing is shown by its being spared.
#[tokio::test(flavor = "multi_thread")]
async fn the_origin_parses_what_the_filter_must_never_let_through() {
    let mut jetty = Jetty::start();
    let tap = Tap::before(jetty.address).await;
    let hidden = "DELETE /api/channels/1 HTTP/1.1\r\nHost: x\r\nX-Requested-With: y\r\n\r\n";
    let head = "POST /api/channels/_getChannels HTTP/1.1\r\nHost: x\r\nX-Requested-With: y\r\n";
    let smuggled = [
        format!("GET /api/channels HTTP/1.1\nHost: x\nX-Requested-With: y\n\n{hidden}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n0;\n\n{hidden}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2;\nxx\n0\n\n{hidden}"),
        format!("{head}Content-Length: 0\r\n\r\n\r\n\r\n{hidden}"),
    ];
    for sent in &smuggled {
        let mut client = Client::connect(tap.address).await;
        client.send(sent.as_bytes()).await;
        client.hears(HANG_LIMIT, |heard| answers(&heard.bytes, false, false).len() == 2).await;
        let records = jetty.take();
        let methods: Vec<_> = records
            .iter()
            .map(|record| matches!(record, Record::Request(hit) if hit.method == "DELETE"))
            .collect();
        assert_eq!(methods, [false, true], "{sent:?} {records:?}");
    }
    let (answers, _) = asked(&tap, &[b"GET /api/chan\x01nels HTTP/1.1\r\nHost: x\r\n\r\n"]).await;
    assert_eq!(answers[0].status, 400);
    assert!(matches!(&jetty.take()[..], [Record::Failure(_)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_slow_abrupt_or_long_as_asked() {
    let mut jetty = Jetty::start();
    let tap = Tap::before(jetty.address).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();

    let mut slow = Client::connect(tap.address).await;
    slow.send(&get("/slow")).await;
    eventually("the request has come", async || (!tap.seen()[0].bytes.is_empty()).then_some(())).await;
    assert!(!slow.hears(Duration::from_millis(50), |heard| !heard.bytes.is_empty()).await);
    jetty.release();
    assert!(slow.hears(HANG_LIMIT, |heard| !answers(&heard.bytes, false, false).is_empty()).await);

    let (big, closed) = asked(&tap, &[&get("/big?bytes=300000")]).await;
    assert_eq!((big[0].body.len(), big[0].header("Transfer-Encoding")), (300_000, Some("chunked")));
    assert!(!closed);
    let (close, _) = asked(&tap, &[&get("/close")]).await;
    assert_eq!(close[0].header("Connection"), Some("close"));
    assert_eq!(asked(&tap, &[&get("/abort")]).await, (vec![], true));
    let early = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(asked(&tap, &[early]).await.0[0].status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_speaks_tls_as_mirth_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut jetty = Jetty::start_tls(folder.path());
    let mut client = Client::connect(jetty.address).await;
    client.send(b"GET /api/server/version HTTP/1.1\r\nHost: x\r\nX-Requested-With: y\r\n\r\n").await;
    assert!(client.hears(HANG_LIMIT, |heard| heard.bytes.ends_with(b"4.5.2")).await);
    assert!(
        matches!(&jetty.take()[..], [Record::Request(hit)] if hit.operation.as_deref() == Some("getVersion"))
    );
}
