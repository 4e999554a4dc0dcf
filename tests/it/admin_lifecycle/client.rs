//! A client that looks at bytes and at how a connection ends.

use std::io::ErrorKind;
use std::net::SocketAddr;

use adit_lab::admin_client::{open, shown_key};
use adit_net::transport::tls::HttpsStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::lab::HANG_LIMIT;

pub(super) struct Client {
    stream: HttpsStream,
    address: SocketAddr,
}

/// How a TLS connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With TLS's own word that nothing is missing.
    Whole,
    /// FIN without that word.
    Fin,
    Reset,
}

impl Client {
    pub(super) async fn to(address: SocketAddr) -> Self {
        let key = shown_key(address).await.unwrap();
        Self { stream: open(address, Some(key)).await.unwrap(), address }
    }

    pub(super) async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(super) async fn get(&mut self, target: &str) {
        self.ask("GET", target, "").await;
    }

    /// A request whose headers end with `more`, each of its lines whole.
    pub(super) async fn ask(&mut self, method: &str, target: &str, more: &str) {
        let host = self.address;
        self.send(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Requested-With: it\r\n{more}\r\n"
        ))
        .await;
    }

    /// Sends blocks until the other end wants no more.
    pub(super) async fn pour(&mut self) -> ErrorKind {
        let block = vec![b'x'; 64 * 1024];
        let pouring = async {
            loop {
                if let Err(error) = self.stream.write_all(&block).await {
                    return error.kind();
                }
            }
        };
        timeout(HANG_LIMIT, pouring).await.expect("the upload ends")
    }

    /// The next head.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await.unwrap());
            }
        };
        timeout(HANG_LIMIT, reading).await.expect("a head comes");
        String::from_utf8(head).unwrap()
    }

    pub(super) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let reading = self.stream.read_exact(&mut bytes);
        timeout(HANG_LIMIT, reading).await.expect("the bytes come").unwrap();
        bytes
    }

    /// An answer that says its length.
    pub(super) async fn answer(&mut self) -> (u16, String) {
        let head = self.head().await;
        let status = head[9..12].parse().unwrap();
        let lower = head.to_lowercase();
        let length = lower.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
        let body = self.exactly(length.map_or(0, |length| length.trim().parse().unwrap())).await;
        (status, String::from_utf8(body).unwrap())
    }

    /// What still comes, and how it ends.
    pub(super) async fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let reading = self.stream.read_to_end(&mut bytes);
        let end = match timeout(HANG_LIMIT, reading).await.expect("the connection ends") {
            Ok(_) => End::Whole,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => End::Fin,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                End::Reset
            }
        };
        (bytes, end)
    }
}

/// One request over a connection of its own.
pub(super) async fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let mut client = Client::to(address).await;
    client.get(target).await;
    client.answer().await
}
