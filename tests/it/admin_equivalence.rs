//! Whatever the filter lets through means to Jetty what it meant to the filter: method, target, headers
//! and body. Requests that are allowed are changed at random, in their grammar and in their bytes, and
//! what is forwarded is compared with what a real Jetty parsed.

mod draft;
mod filter;
mod mutation;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use adit_core::domain::access::Access;
use adit_lab::messages::Draws;
use adit_mirth::http::{Framing, Header};
use adit_mirth::verdict::{AccessPolicy, Judge};

use self::filter::{FORWARDED_FOR, Judged, filter};
use self::mutation::{connection, cut};
use super::lab::{HANG_LIMIT, draws, is_long};
use super::origin::client::Client;
use super::origin::jetty::{Hit, Jetty, Record};
use super::origin::managed::Managed;

/// Requests between two looks at Jetty's record.
const BATCH: usize = 200;
/// Fewer forwarded, and nothing is tested.
const FORWARDED_PERCENT_MIN: usize = 30;
/// Below `/api/`, static and no operation; all that is not below it is no operation either.
const API_PAGES: [&str; 8] = ["", "index.html", "css", "js", "lib", "images", "fonts", "lang"];
const HOST: &str = "[::1]:8443";

fn judge(access: Access) -> Judge {
    let policy = AccessPolicy { access, hide: BTreeSet::new(), show: BTreeSet::new() };
    Judge::new(policy, "/", Some(&"4.5.2".parse().unwrap()), &[])
}

/// A connection to Jetty that requests go over one behind the other, and what they were judged to be.
struct Batch {
    jetty: Jetty,
    stream: TcpStream,
    wire: Vec<u8>,
    judged: Vec<(Access, Judged, Vec<u8>)>,
}

impl Batch {
    fn new() -> Self {
        let jetty = Jetty::start();
        let stream = connect(jetty.address);
        Self { jetty, stream, wire: Vec::new(), judged: Vec::new() }
    }

    /// Sends what was gathered, and compares what Jetty parsed with what was judged.
    fn flush(&mut self, is_cut: bool) {
        self.stream.write_all(&self.wire).unwrap();
        self.wire.clear();
        let sentinel = self.judged.len();
        if is_cut {
            // Half a request that is never completed is none; a FIN behind it must not make it one.
            self.stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = self.stream.read_to_end(&mut Vec::new());
        } else {
            // What was left over of a request before it would become part of this one.
            self.stream.write_all(b"GET /sentinel HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let _ = self.stream.read_to_end(&mut Vec::new());
        }
        self.stream = connect(self.jetty.address);
        let mut records = self.jetty.take();
        if !is_cut {
            let last = records.pop();
            let is_sentinel = matches!(&last, Some(Record::Request(hit)) if hit.target == "/sentinel");
            assert!(is_sentinel || self.closes(), "{last:?} where nothing was left over\n{}", self.recent());
            records.extend(last.filter(|_| !is_sentinel));
        }
        assert_eq!(records.len(), sentinel, "requests parsed, judged\n{records:?}\n{}", self.recent());
        for ((access, judged, sent), record) in self.judged.drain(..).zip(&records) {
            let Record::Request(hit) = record else {
                panic!("Jetty refused what was judged: {record:?}\n{judged:?}\n{}", sent.escape_ascii())
            };
            if let Err(differs) = same(access, &judged, hit) {
                panic!("{differs}\njudged {judged:?}\nparsed {hit:?}\nsent {}", sent.escape_ascii());
            }
        }
    }

    /// Whether the last request told Jetty to close.
    fn closes(&self) -> bool {
        self.judged.last().is_some_and(|(_, judged, _)| judged.head.closes)
    }

    fn recent(&self) -> String {
        let last = self.judged.iter().rev().take(3);
        let each = last.map(|(_, judged, sent)| format!("{judged:?} from {}", sent.escape_ascii()));
        each.collect::<Vec<_>>().join("\n")
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(HANG_LIMIT)).unwrap();
    stream
}

fn same(access: Access, judged: &Judged, hit: &Hit) -> Result<(), String> {
    let differs = |what: &str| Err(format!("another {what}"));
    if (hit.method.as_str(), hit.version.as_str()) != (judged.head.method.as_str(), "HTTP/1.1") {
        return differs("method or version");
    }
    if hit.target != judged.target || hit.fragment.is_some() {
        return differs("target");
    }
    if decoded(&judged.target).is_none_or(|decoded| decoded != hit.decoded) {
        return differs("path once decoded");
    }
    if hit.body != judged.body || hit.length != judged.body.len() as u64 {
        return differs("body");
    }
    same_headers(judged, hit)?;
    let below = judged.target.strip_prefix("/api/").unwrap_or_default();
    let is_static = API_PAGES.contains(&below.split(['/', '?']).next().unwrap_or_default());
    if access == Access::ReadOnly && !is_static && hit.operation.is_none() {
        return differs("opinion of the rules");
    }
    Ok(())
}

/// Jetty has some names in its own letter case.
fn same_headers(judged: &Judged, hit: &Hit) -> Result<(), String> {
    let mut expected: Vec<_> = judged.head.forwarded_headers().cloned().collect();
    let mut own =
        |name: &str, value: String| expected.push(Header { name: name.into(), value: value.into() });
    own("X-Forwarded-For", FORWARDED_FOR.to_string());
    if judged.head.closes {
        own("Connection", "close".into());
    }
    match judged.framing {
        Framing::None => {}
        Framing::Length(length) => own("Content-Length", length.to_string()),
        Framing::Chunked => own("Transfer-Encoding", "chunked".into()),
    }
    let is_same = |(expected, (name, value)): (&Header, &(String, String))| {
        let bytes: Vec<u8> = value.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect();
        expected.is(name) && expected.value == bytes
    };
    if expected.len() != hit.headers.len() || !expected.iter().zip(&hit.headers).all(is_same) {
        return Err(format!("other headers: {expected:?}"));
    }
    Ok(())
}

/// Every segment decoded once; none if it is not UTF-8 then.
fn decoded(target: &str) -> Option<String> {
    let path = target.split('?').next()?.as_bytes();
    let mut bytes = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if byte == b'%' {
            let digits = std::str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            bytes.push(byte);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok()
}

#[test]
fn what_is_forwarded_means_to_jetty_what_it_meant_to_the_filter() {
    let mut draws = draws(404);
    let count = if is_long() { 1_000_000 } else { 20_000 };
    let judges = [Access::ReadOnly, Access::ReadWrite].map(|access| (access, judge(access)));
    let mut batch = Batch::new();
    let (mut forwarded, mut kept) = (0, 0);
    while forwarded + kept < count {
        // Full control passes nearly all that is well formed; view-only has more to get wrong.
        let (access, judge) = &judges[usize::from(draws.below(4) == 0)];
        let sent = connection(&mut draws, HOST);
        let outcome = filter(judge, cut(&mut draws, &sent));
        forwarded += outcome.forwarded.len();
        kept += outcome.kept;
        batch.wire.extend(&outcome.wire);
        batch.judged.extend(outcome.forwarded.into_iter().map(|judged| (*access, judged, sent.clone())));
        if outcome.is_cut || outcome.closes || batch.judged.len() >= BATCH {
            batch.flush(outcome.is_cut);
        }
    }
    batch.flush(false);
    println!("{forwarded} forwarded and the same to Jetty, {kept} refused");
    assert!(forwarded * 100 >= count * FORWARDED_PERCENT_MIN, "only {forwarded} of {count} were forwarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_forward_what_the_filter_judges() {
    let mut draws: Draws = draws(405);
    let mut managed = Managed::start(Access::ReadOnly).await;
    let judge = judge(Access::ReadOnly);
    let mut forwarded = 0;
    for _ in 0..200 {
        let sent = connection(&mut draws, &managed.host());
        let pieces = cut(&mut draws, &sent);
        let outcome = filter(&judge, pieces.iter().copied());
        let records = through(&mut managed, &pieces).await;
        let said = format!("sent {}\n{records:?}", sent.escape_ascii());
        // After a refusal the agent may close, whatever comes behind it.
        assert!(records.len() <= outcome.forwarded.len(), "more than was judged\n{said}");
        assert!(outcome.kept > 0 || records.len() == outcome.forwarded.len(), "less than was judged\n{said}");
        for (judged, record) in outcome.forwarded.iter().zip(&records) {
            let Record::Request(hit) = record else { panic!("Jetty refused it\n{said}") };
            let found = (&hit.method, &hit.target, &hit.body);
            assert_eq!(found, (&judged.head.method, &judged.target, &judged.body), "{said}");
        }
        forwarded += records.len();
    }
    println!("{forwarded} forwarded by two agents");
    assert!(forwarded >= 60);
}

/// What of the agent's partner reached Jetty, once the connection is over.
async fn through(managed: &mut Managed, pieces: &[&[u8]]) -> Vec<Record> {
    let began = managed.tap.len();
    let mut client = Client::connect(managed.address).await;
    for piece in pieces {
        if !client.send(piece).await {
            break;
        }
    }
    client.finish().await;
    assert!(client.hears(HANG_LIMIT, |heard| heard.closed).await, "the agent does not end the connection");
    let ports: Vec<_> = managed.tap.seen()[began..].iter().filter_map(|tapped| tapped.port).collect();
    let records = managed.jetty.take().into_iter();
    records.filter(|record| ports.contains(&record.peer()) && !record.is_own_question()).collect()
}
