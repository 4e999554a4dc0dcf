//! A stand-in for Mirth's HTTPS port that does as it is told, down to the bytes: of any version, with
//! any operations, breaking off where the target says. It reads only what an agent writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_core::domain::id::KeyFingerprint;
use adit_lab::mirth_certificate::MirthCertificate;
use adit_net::transport::tls::{HttpsStream, LocalTls};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::lab::free_address;

/// What a cut answer promises, and what of it comes before the cut.
pub(super) const PROMISED_BYTES: usize = 1_000_000;
pub(super) const SENT_BYTES: usize = 100_000;
/// What `/large` would send in all.
pub(super) const LARGE_BYTES: usize = 400_000_000;

/// Does this for a target that ends so, after `/api/` and whatever else: `/cut-FRAMING-HOW`: breaks off in
/// the middle of an answer; `/silent`: before it; `/held`: waits in the middle until it may go on; `/large`:
/// a large answer; `/swallow`: reads a body forever.
pub(super) struct Origin {
    pub address: SocketAddr,
    certificate: MirthCertificate,
    shared: Arc<Shared>,
    running: JoinSet<()>,
}

struct Shared {
    version: Mutex<String>,
    /// Methods and paths beyond Mirth's own.
    plug_ins: Mutex<Vec<(String, String)>>,
    /// Whole answers, as bytes, by path.
    answers: Mutex<BTreeMap<String, Vec<u8>>>,
    arrived: Mutex<Vec<String>>,
    go: watch::Sender<bool>,
    swallowed: AtomicU64,
}

impl Origin {
    pub(super) async fn start(version: &str) -> Self {
        let shared = Shared {
            version: Mutex::new(version.into()),
            plug_ins: Mutex::default(),
            answers: Mutex::default(),
            arrived: Mutex::default(),
            go: watch::Sender::new(false),
            swallowed: AtomicU64::new(0),
        };
        let mut origin = Self {
            address: free_address(),
            certificate: MirthCertificate::generate().unwrap(),
            shared: Arc::new(shared),
            running: JoinSet::new(),
        };
        origin.start_again().await;
        origin
    }

    pub(super) fn key(&self) -> KeyFingerprint {
        self.certificate.key_fingerprint()
    }

    /// Closes the port and every connection.
    pub(super) async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    pub(super) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let tls = LocalTls::from(self.certificate.server_config().unwrap());
        self.running.spawn(serve(listener, tls, Arc::clone(&self.shared)));
    }

    /// Comes back with a certificate of another key.
    pub(super) async fn renew(&mut self) {
        self.stop().await;
        self.certificate = MirthCertificate::generate().unwrap();
        self.start_again().await;
    }

    pub(super) fn set_version(&self, version: &str) {
        *self.shared.version.lock() = version.into();
    }

    pub(super) fn add_plug_in(&self, method: &str, path: &str) {
        self.shared.plug_ins.lock().push((method.into(), path.into()));
    }

    /// Answers whatever is asked of this path with these bytes. Where they close the connection, it ends.
    pub(super) fn set_answer(&self, path: &str, answer: Vec<u8>) {
        self.shared.answers.lock().insert(path.into(), answer);
    }

    /// Whether `/held` answers go on.
    pub(super) fn go_on(&self, go: bool) {
        self.shared.go.send_replace(go);
    }

    /// Heads of requests but for the agent's own, in the order they came.
    pub(super) fn arrived(&self) -> Vec<String> {
        let own = |head: &&String| !head.contains("X-Requested-With: adit\r\n");
        self.shared.arrived.lock().iter().filter(own).cloned().collect()
    }

    /// Bytes of bodies that `/swallow` has read.
    pub(super) fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, tls: LocalTls, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(converse(tcp, tls.clone(), Arc::clone(&shared)));
    }
}

/// Ends where the client or the play of a target ends.
async fn converse(tcp: TcpStream, tls: LocalTls, shared: Arc<Shared>) -> Option<()> {
    let linger = socket2::SockRef::from(&tcp).try_clone().ok()?;
    let mut stream = tls.accept(tcp).await.ok()?;
    loop {
        let head = read_head(&mut stream).await?;
        shared.arrived.lock().push(head.clone());
        let target = head.split(' ').nth(1)?.to_owned();
        let set = shared.answers.lock().get(&target).cloned();
        if let Some(answer) = set {
            stream.write_all(&answer).await.ok()?;
            stream.flush().await.ok()?;
            let head = answer.split(|byte| *byte == b'\r').take_while(|line| line != b"\n");
            if head.into_iter().any(|line| line == b"\nConnection: close") {
                stream.end().await.ok()?;
                return None;
            }
            continue;
        }
        let play: Vec<&str> = target.rsplit('/').next()?.split('-').collect();
        match play[..] {
            ["version"] => {
                let version = shared.version.lock().clone();
                answer(&mut stream, &version).await?;
            }
            ["application.wadl"] => {
                let wadl = wadl(&shared.plug_ins.lock());
                answer(&mut stream, &wadl).await?;
            }
            ["silent"] => return None,
            ["cut", framing, how] => return cut(stream, &linger, framing, how).await,
            ["held"] => held(&mut stream, &shared).await?,
            ["large"] => large(&mut stream).await?,
            ["swallow"] => swallow(&mut stream, &shared).await?,
            _ => {
                skip_body(&head, &mut stream).await?;
                answer(&mut stream, "as asked").await?;
            }
        }
    }
}

async fn read_head(stream: &mut HttpsStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Bodies with a length, or in chunks that hold no empty chunk's look-alike.
async fn skip_body(head: &str, stream: &mut HttpsStream) -> Option<()> {
    let lower = head.to_lowercase();
    if let Some((_, rest)) = lower.split_once("content-length: ") {
        let length: usize = rest.lines().next()?.trim().parse().ok()?;
        stream.read_exact(&mut vec![0; length]).await.ok()?;
    } else if lower.contains("transfer-encoding") {
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.ok()?);
        }
    }
    Some(())
}

async fn answer(stream: &mut HttpsStream, body: &str) -> Option<()> {
    say(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

async fn say(stream: &mut HttpsStream, text: &str) -> Option<()> {
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// Says how long the body is, or begins a chunk, or neither: then only the end tells.
async fn cut(mut stream: HttpsStream, socket: &socket2::Socket, framing: &str, how: &str) -> Option<()> {
    let framed = match framing {
        "length" => format!("Content-Length: {PROMISED_BYTES}\r\n\r\n"),
        "chunk" => format!("Transfer-Encoding: chunked\r\n\r\n{PROMISED_BYTES:x}\r\n"),
        "chunks" => format!("Transfer-Encoding: chunked\r\n\r\n{SENT_BYTES:x}\r\n"),
        "end" => "Connection: close\r\n\r\n".into(),
        other => panic!("{other}"),
    };
    let end = if framing == "chunks" { "\r\n" } else { "" };
    say(&mut stream, &format!("HTTP/1.1 200 OK\r\n{framed}{}{end}", "x".repeat(SENT_BYTES))).await?;
    match how {
        "fin" => {}
        "reset" => socket.set_linger(Some(Duration::ZERO)).ok()?,
        // TLS's own word that nothing is missing; the framing says otherwise.
        "farewell" => stream.end().await.ok()?,
        other => panic!("{other}"),
    }
    Some(())
}

async fn held(stream: &mut HttpsStream, shared: &Shared) -> Option<()> {
    let first = "x".repeat(SENT_BYTES);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{first}", 2 * SENT_BYTES);
    say(stream, &head).await?;
    shared.go.subscribe().wait_for(|go| *go).await.ok()?;
    say(stream, &"y".repeat(SENT_BYTES)).await
}

async fn large(stream: &mut HttpsStream) -> Option<()> {
    let block = vec![b'x'; 64 * 1024];
    say(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE_BYTES}\r\n\r\n")).await?;
    for _ in 0..=LARGE_BYTES / block.len() {
        stream.write_all(&block).await.ok()?;
    }
    None
}

async fn swallow(stream: &mut HttpsStream, shared: &Shared) -> Option<()> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut block).await.ok().filter(|count| *count > 0)?;
        shared.swallowed.fetch_add(count as u64, Ordering::Relaxed);
    }
}

fn wadl(plug_ins: &[(String, String)]) -> String {
    let resource = |(method, path): &(String, String)| {
        format!("<resource path=\"{path}\"><method id=\"x\" name=\"{method}\"/></resource>")
    };
    let known = resource(&("GET".into(), "/channels".into()));
    let more: String = plug_ins.iter().map(resource).collect();
    format!(
        "<application xmlns=\"http://wadl.dev.java.net/2009/02\"><resources base=\"https://m/api/\">\
         {known}{more}</resources></application>"
    )
}
