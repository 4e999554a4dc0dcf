//! A stand-in for an ACME authority that refuses, over plain HTTP on loopback. It believes every signature and never
//! signs anything: what a real one does is tried with a real one, in `tests/it/acme.rs`.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Status, headers beyond what is always there, body.
pub(super) type Said = (u16, Vec<(&'static str, String)>, String);

/// Stands for its own address in what it says.
pub(super) const OWN: &str = "ORIGIN";

pub(super) struct StandIn {
    pub(super) origin: String,
    /// Method and path of every request.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl StandIn {
    /// Serves a directory; says to what else it is asked what `answer` returns for a path, if anything.
    pub(super) async fn start(answer: impl Fn(&str) -> Option<Said> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (own, noted) = (origin.clone(), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                serve(tcp, &own, &noted, &answer).await;
            }
        });
        Self { origin, asked, serving }
    }

    pub(super) fn directory(&self) -> String {
        format!("{}/directory", self.origin)
    }

    pub(super) fn count(&self, request: &str) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == request).count()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut tcp: TcpStream,
    origin: &str,
    asked: &Mutex<Vec<String>>,
    answer: &(impl Fn(&str) -> Option<Said> + Send + Sync),
) {
    let Some(request) = read(&mut tcp).await else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().push(request.clone());
    let (status, headers, body) = answer(&path).unwrap_or_else(|| usual(&path));
    let body = body.replace(OWN, origin);
    let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nReplay-Nonce: abc\r\n", body.len());
    let is_typed = headers.iter().any(|(name, _)| *name == "Content-Type");
    if !is_typed {
        head.push_str("Content-Type: application/problem+json\r\n");
    }
    for (name, value) in headers {
        let value = value.replace(OWN, origin);
        head.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    head.push_str("Connection: close\r\n\r\n");
    if !request.starts_with("HEAD") {
        head.push_str(&body);
    }
    let _ = tcp.write_all(head.as_bytes()).await;
    let _ = tcp.shutdown().await;
}

fn usual(path: &str) -> Said {
    match path {
        "/directory" => (200, Vec::new(), directory(OWN, true)),
        "/account" => (201, vec![("Location", format!("{OWN}/account/1"))], "{}".into()),
        _ => (200, Vec::new(), "{}".into()),
    }
}

/// What an authority says of where it is asked for what.
pub(super) fn directory(origin: &str, tells_windows: bool) -> String {
    let windows = if tells_windows { format!(",\"renewalInfo\":\"{origin}/window\"") } else { String::new() };
    format!(
        "{{\"newNonce\":\"{origin}/nonce\",\"newAccount\":\"{origin}/account\",\"newOrder\":\"{origin}/order\"{windows}}}"
    )
}

/// Returns method and path of a request, which has arrived with its body.
async fn read(tcp: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let (head, body_bytes) = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(read[..end].to_vec()).ok()?;
            break (head, read.len() - end - 4);
        }
        if tcp.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut left = length.unwrap_or(0_usize).saturating_sub(body_bytes);
    while left > 0 {
        left -= tcp.read(&mut vec![0; left]).await.ok().filter(|read| *read > 0)?;
    }
    head.lines().next()?.rsplit_once(' ').map(|(request, _)| request.to_owned())
}
