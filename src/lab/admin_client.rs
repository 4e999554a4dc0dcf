//! A client of a Mirth's HTTPS port, as the Administrator and scripts are: one kept connection,
//! `X-Requested-With`, cookies sent back by their path, a login whose body is chunked. It takes the
//! server for the key it was told, as a person who compared the fingerprint does.
//!
//! It judges nothing and follows no redirect: tests look at what came.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::ext::ReasonPhrase;
use hyper::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, HeaderMap, SET_COOKIE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use adit_core::domain::id::KeyFingerprint;
use adit_net::identity::error::IdentityError;
use adit_net::identity::tls::refusal;
use adit_net::transport::tls::{HttpsStream, MirthTls};

/// Connecting, and each answer's head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot set up TLS")]
    Tls(#[from] IdentityError),
    #[error("no HTTPS at {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("{address} did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent { address: SocketAddr },
    #[error("the exchange with {address} broke off")]
    BrokeOff { address: SocketAddr, source: hyper::Error },
    #[error("`{text}` is no request target or header value")]
    Unsendable { text: String },
}

/// Returns the key of the certificate that a server shows, for those who only ask.
pub async fn shown_key(address: SocketAddr) -> Result<KeyFingerprint, ClientError> {
    match open(address, None).await {
        Err(ClientError::Connect { source, .. }) => match refusal(&source) {
            Some(IdentityError::UnknownMirthKey { shown }) => Ok(shown),
            _ => Err(ClientError::Connect { address, source }),
        },
        Err(other) => Err(other),
        Ok(_) => Err(ClientError::Connect { address, source: io::ErrorKind::InvalidData.into() }),
    }
}

/// Opens TLS with the server that holds `key`.
pub async fn open(address: SocketAddr, key: Option<KeyFingerprint>) -> Result<HttpsStream, ClientError> {
    secure(address, key, TcpStream::connect(address)).await
}

/// Does as [`open`], from an address of this host.
pub(crate) async fn open_from(
    from: IpAddr,
    address: SocketAddr,
    key: Option<KeyFingerprint>,
) -> Result<HttpsStream, ClientError> {
    let connecting = async {
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((from, 0).into())?;
        socket.connect(address).await
    };
    secure(address, key, connecting).await
}

async fn secure(
    address: SocketAddr,
    key: Option<KeyFingerprint>,
    connecting: impl Future<Output = io::Result<TcpStream>>,
) -> Result<HttpsStream, ClientError> {
    let tls = MirthTls::new(key)?;
    let connecting = async {
        let tcp = connecting.await?;
        tcp.set_nodelay(true)?;
        tls.connect(tcp, &address.ip().to_string()).await
    };
    let connected = timeout(ANSWER_TIMEOUT, connecting).await.map_err(|_| ClientError::Silent { address })?;
    connected.map_err(|source| ClientError::Connect { address, source })
}

/// A connection to a server and the cookies it gave.
#[derive(Debug)]
pub struct AdminClient {
    address: SocketAddr,
    /// What is sent as `Host`.
    host: String,
    sender: SendRequest<RequestBody>,
    cookies: Vec<Cookie>,
    /// Drives the connection.
    _connection: JoinSet<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    pub pair: String,
    pub path: String,
}

/// One answer, whole.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    /// Of the status line, where it is not the usual one.
    pub reason: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Returns the first header of that name as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the body as text, for texts.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a request carries.
#[derive(Debug)]
pub enum RequestContent {
    Nothing,
    Xml(Bytes),
    /// Chunked, as the real clients send their login.
    Form(Bytes),
    /// So many bytes of one value, with their length or chunked.
    Bytes {
        value: u8,
        count: u64,
        chunked: bool,
    },
}

impl AdminClient {
    /// Connects to the server that holds `key`. `Host` is the address.
    pub async fn connect(address: SocketAddr, key: KeyFingerprint) -> Result<Self, ClientError> {
        Self::connect_as(address, key, &address.to_string()).await
    }

    /// Does as [`Self::connect`], with another `Host`.
    pub async fn connect_as(
        address: SocketAddr,
        key: KeyFingerprint,
        host: &str,
    ) -> Result<Self, ClientError> {
        let stream = open(address, Some(key)).await?;
        let handshake = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream));
        let (sender, connection) =
            handshake.await.map_err(|source| ClientError::BrokeOff { address, source })?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // What broke it is told to the request in hand.
            let _ = connection.await;
        });
        Ok(Self { address, host: host.into(), sender, cookies: Vec::new(), _connection: task })
    }

    /// Returns the cookies the server gave, in the order it gave them.
    #[must_use]
    pub fn cookies(&self) -> &[Cookie] {
        &self.cookies
    }

    /// Takes over cookies, as another connection of the same client has them.
    pub fn take_cookies(&mut self, cookies: &[Cookie]) {
        self.cookies = cookies.to_vec();
    }

    /// Logs in below `base`, `/api` or `/api/4.5.2`.
    pub async fn log_in(&mut self, base: &str, user: &str, password: &str) -> Result<Reply, ClientError> {
        let form = format!("username={user}&password={password}");
        self.send("POST", &format!("{base}/users/_login"), RequestContent::Form(form.into())).await
    }

    pub async fn get(&mut self, target: &str) -> Result<Reply, ClientError> {
        self.send("GET", target, RequestContent::Nothing).await
    }

    /// Gets what is only counted: the status and the bytes of the body.
    pub async fn download(&mut self, target: &str) -> Result<(StatusCode, u64), ClientError> {
        let address = self.address;
        let (head, mut body) = self.ask("GET", target, RequestContent::Nothing).await?.into_parts();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| ClientError::BrokeOff { address, source })?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok((head.status, bytes))
    }

    /// Sends one request and reads its answer to the end.
    pub async fn send(
        &mut self,
        method: &str,
        target: &str,
        content: RequestContent,
    ) -> Result<Reply, ClientError> {
        let address = self.address;
        let (head, body) = self.ask(method, target, content).await?.into_parts();
        let body =
            timeout(ANSWER_TIMEOUT, body.collect()).await.map_err(|_| ClientError::Silent { address })?;
        let body = body.map_err(|source| ClientError::BrokeOff { address, source })?.to_bytes();
        self.keep_cookies(&head.headers);
        let reason = head.extensions.get::<ReasonPhrase>();
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        Ok(Reply { status: head.status, reason, headers: head.headers, body })
    }

    /// Returns the answer's head as soon as it is there, even before the whole body was sent.
    async fn ask(
        &mut self,
        method: &str,
        target: &str,
        content: RequestContent,
    ) -> Result<Response<Incoming>, ClientError> {
        let address = self.address;
        let request = self.request(method, target, content)?;
        let answering = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let answered =
            timeout(ANSWER_TIMEOUT, answering).await.map_err(|_| ClientError::Silent { address })?;
        answered.map_err(|source| ClientError::BrokeOff { address, source })
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        content: RequestContent,
    ) -> Result<Request<RequestBody>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, &self.host)
            .header("X-Requested-With", "OpenAPI")
            // Two, as the real clients send.
            .header(ACCEPT, "application/xml")
            .header(ACCEPT, "text/plain");
        let path = target.split('?').next().unwrap_or_default();
        if let Some(cookies) = self.cookies_for(path) {
            request = request.header(COOKIE, cookies);
        }
        let (content_type, body) = match content {
            RequestContent::Nothing => (None, RequestBody::whole(Bytes::new())),
            RequestContent::Xml(xml) => (Some("application/xml"), RequestBody::whole(xml)),
            RequestContent::Form(form) => (
                Some("application/x-www-form-urlencoded"),
                RequestBody { chunked: true, ..RequestBody::whole(form) },
            ),
            RequestContent::Bytes { value, count, chunked } => (
                Some("application/octet-stream"),
                RequestBody { chunked, ..RequestBody::repeated(value, count) },
            ),
        };
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        request.body(body).map_err(|_| ClientError::Unsendable { text: target.into() })
    }

    /// Returns those whose path the request lies below, the longest path first (RFC 6265 §5.4).
    fn cookies_for(&self, path: &str) -> Option<String> {
        let below = |cookie: &&Cookie| {
            path.strip_prefix(&cookie.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut cookies: Vec<&Cookie> = self.cookies.iter().filter(below).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<&str> = cookies.iter().map(|cookie| cookie.pair.as_str()).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Keeps the cookies: a cookie replaces the one of its name and path.
    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let Some(cookie) = Cookie::read(value) else { continue };
            self.cookies.retain(|kept| kept.path != cookie.path || kept.name() != cookie.name());
            self.cookies.push(cookie);
        }
    }
}

impl Cookie {
    fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let pair = parts.next().filter(|pair| pair.contains('='))?.to_owned();
        let path = parts.find_map(|part| part.strip_prefix("Path=")).unwrap_or("/").to_owned();
        Some(Self { pair, path })
    }

    fn name(&self) -> &str {
        self.pair.split('=').next().unwrap_or_default()
    }
}

/// A block, so many bytes of it over and over.
#[derive(Debug)]
struct RequestBody {
    block: Bytes,
    left: u64,
    chunked: bool,
}

impl RequestBody {
    fn whole(content: Bytes) -> Self {
        Self { left: content.len() as u64, block: content, chunked: false }
    }

    fn repeated(value: u8, count: u64) -> Self {
        const BLOCK_BYTES: usize = 64 * 1024;
        Self { block: Bytes::from(vec![value; BLOCK_BYTES]), left: count, chunked: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).map_or(self.block.len(), |left| left.min(self.block.len()));
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked { SizeHint::default() } else { SizeHint::with_exact(self.left) }
    }
}
