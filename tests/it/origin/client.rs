//! A client that sends exactly the bytes it is told, in the pieces it is told, over TLS; and reads answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::any_certificate::AnyCertificate;

/// All that came back so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub bytes: Vec<u8>,
    pub closed: bool,
}

pub(crate) struct Client {
    writer: WriteHalf<TlsStream<TcpStream>>,
    heard: watch::Receiver<Heard>,
    reading: JoinHandle<()>,
}

impl Client {
    /// Takes any certificate.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(config())).connect(name, stream).await.unwrap();
        let (reader, writer) = tokio::io::split(stream);
        let (says, heard) = watch::channel(Heard::default());
        Self { writer, heard, reading: tokio::spawn(listen(reader, says)) }
    }

    /// One TLS record of these bytes; false when the other end is gone.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok() && self.writer.flush().await.is_ok()
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) {
        // Already gone is as good.
        let _ = self.writer.shutdown().await;
    }

    /// Waits until what was heard is as `is` says; false when it is not within `limit`.
    pub(crate) async fn hears(&mut self, limit: Duration, is: impl FnMut(&Heard) -> bool) -> bool {
        timeout(limit, self.heard.wait_for(is)).await.is_ok_and(|heard| heard.is_ok())
    }

    pub(crate) fn heard(&self) -> watch::Ref<'_, Heard> {
        self.heard.borrow()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn listen(mut reader: ReadHalf<TlsStream<TcpStream>>, says: watch::Sender<Heard>) {
    let mut block = vec![0; 65_536];
    while let Ok(read @ 1..) = reader.read(&mut block).await {
        says.send_modify(|heard| heard.bytes.extend(&block[..read]));
    }
    says.send_modify(|heard| heard.closed = true);
    // A reader of what will not come sees that it is closed, not that nobody speaks.
    says.closed().await;
}

fn config() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth()
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// The complete answers at the front of `bytes`, interim ones left out. `is_head` says whether the first
/// request was a HEAD, whose answer has no body whatever its length says.
pub(crate) fn answers(mut bytes: &[u8], is_head: bool, closed: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((answer, rest)) = answer(bytes, is_head && answers.is_empty(), closed) {
        bytes = rest;
        if answer.status >= 200 {
            answers.push(answer);
        }
    }
    answers
}

fn answer(bytes: &[u8], is_head: bool, closed: bool) -> Option<(Answer, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]);
    let status = head.split(' ').nth(1)?.parse().expect("a status");
    let mut answer = Answer { status, head, body: Vec::new() };
    let has_body = !(is_head || status < 200 || status == 204 || status == 304);
    let (body, rest) = match answer.header("Content-Length") {
        _ if !has_body => (Vec::new(), rest),
        Some(length) => {
            let length = length.parse().expect("a length");
            (rest.get(..length)?.to_vec(), &rest[length..])
        }
        None if answer.header("Transfer-Encoding").is_some() => unchunked(rest)?,
        None if closed => (rest.to_vec(), &[][..]),
        None => return None,
    };
    answer.body = body;
    Some((answer, rest))
}

/// A body in well-formed chunks without trailers, and what follows it.
pub(crate) fn unchunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let data = bytes.get(line + 2..)?;
        body.extend(data.get(..size)?);
        bytes = data.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, bytes));
        }
    }
}
