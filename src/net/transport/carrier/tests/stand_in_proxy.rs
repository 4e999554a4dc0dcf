//! Stand-in for an HTTP proxy: answers CONNECT as it is told to, and notes what it was asked.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// Connects whoever shows this user and password, in the base64 of Basic; `None`: anybody.
    Connects { basic: Option<&'static str> },
    /// Answers this, and closes.
    Says(&'static str),
    /// Answers with a head that goes on for as long as somebody reads.
    HeadWithoutEnd,
}

pub(super) struct StandInProxy {
    pub(super) at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl StandInProxy {
    /// Starts one; whatever it is asked to connect to, it connects to `gateway`.
    pub(super) async fn start(manner: Manner, gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                serving.spawn(serve(client, manner, gateway, Arc::clone(&noted)));
            }
        });
        Self { at, asked, _tasks: tasks }
    }

    /// Returns the first lines of what it was asked.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve(mut client: TcpStream, manner: Manner, gateway: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let head = head(&mut client).await;
    asked.lock().push(head.lines().next().unwrap_or_default().to_owned());
    let is_welcome = |basic: Option<&str>| {
        basic.is_none_or(|basic| {
            head.lines().any(|line| {
                line.split_once(':').is_some_and(|(name, value)| {
                    name.eq_ignore_ascii_case("proxy-authorization")
                        && value.trim() == format!("Basic {basic}")
                })
            })
        })
    };
    match manner {
        Manner::Connects { basic } if is_welcome(basic) => {
            let mut upstream = TcpStream::connect(gateway).await.unwrap();
            // As tinyproxy answers.
            client.write_all(b"HTTP/1.0 200 Connection established\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
        }
        Manner::Connects { .. } => {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a, b\"\r\n\
                           Content-Length: 2\r\n\r\nno";
            client.write_all(refusal.as_bytes()).await.unwrap();
        }
        Manner::HeadWithoutEnd => {
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while client.write_all(&[b'x'; 1_000]).await.is_ok() {}
        }
        Manner::Says(answer) => client.write_all(answer.as_bytes()).await.unwrap(),
    }
}

/// Reads up to the empty line that ends a head.
pub(super) async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
