//! A stand-in for a Mirth's HTTPS port: no Mirth runs here. It behaves to its clients as MIRTH §2
//! says of 4.5.2 (certificate, API bases, `X-Requested-With`, sessions and their three cookies,
//! chunked answers, redirects and JNLP built from `Host`), keeps channels in memory, and keeps a
//! journal of every request, so that a test can ask what arrived and what did not.
//!
//! It serves some forty of Mirth's operations and one of a plug-in that adit does not know. It reads
//! HTTP with hyper, more strictly than Mirth's Jetty: how Jetty reads is tested against a real one.

mod answer;
mod api;
mod channels;
mod journal;
mod operations;
mod people;
mod sessions;
mod site;
#[cfg(test)]
mod tests;
mod wadl;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{COOKIE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::accept;
use crate::limits::{STAND_IN_BODY_BYTES_KEPT_MAX, STAND_IN_CONNECTIONS_MAX, STAND_IN_HEAD_BYTES_MAX};
use crate::mirth_certificate::MirthCertificate;
use adit_core::domain::id::KeyFingerprint;
use adit_net::identity::error::IdentityError;
use adit_net::transport::tls::LocalTls;

pub use self::journal::{Arrived, ArrivedBody, Journal};
pub use self::people::PasswordAge;

use self::answer::{Answer, AnswerBody};
use self::channels::Channels;
use self::people::People;
use self::sessions::MirthSessions;

/// The version the stand-in says it is.
pub const VERSION: &str = "4.5.2";
/// Mirth's own first user.
pub const USER: &str = "admin";
pub const PASSWORD: &str = "admin";

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StandInError {
    #[error("the stand-in Mirth's port cannot be used")]
    Listener { source: io::Error },
    #[error("the stand-in Mirth's certificate could not be made")]
    Certificate(#[from] IdentityError),
}

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct AdminMirth {
    address: SocketAddr,
    key: KeyFingerprint,
    tls: LocalTls,
    server: Arc<Server>,
    /// Dropped to stop the listener and every connection.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl AdminMirth {
    /// Starts it with a certificate of its own, made now.
    pub fn start(listener: TcpListener) -> Result<Self, StandInError> {
        let address = listener.local_addr().map_err(|source| StandInError::Listener { source })?;
        let certificate = MirthCertificate::generate()?;
        let key = certificate.key_fingerprint();
        let tls = LocalTls::from(certificate.server_config()?);
        Ok(Self::serving(listener, address, (key, tls), Server { port: address.port(), ..Server::default() }))
    }

    /// Stops it and starts another at the same address, with the same key and one plug-in more: what is
    /// kept in memory is gone.
    pub async fn restart_with_plug_in(self) -> Result<Self, StandInError> {
        let Self { address, key, tls, .. } = self;
        drop(self.stop);
        // The task neither panics nor is it cancelled elsewhere; either way it is over.
        let _ = self.task.await;
        let listener =
            TcpListener::bind(address).await.map_err(|source| StandInError::Listener { source })?;
        Ok(Self::serving(
            listener,
            address,
            (key, tls),
            Server { port: address.port(), plug_in: true, ..Server::default() },
        ))
    }

    fn serving(
        listener: TcpListener,
        address: SocketAddr,
        (key, tls): (KeyFingerprint, LocalTls),
        server: Server,
    ) -> Self {
        let server = Arc::new(server);
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(serve(listener, tls.clone(), Arc::clone(&server), stopped));
        Self { address, key, tls, server, stop, task }
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the fingerprint of its certificate's key.
    #[must_use]
    pub const fn key(&self) -> KeyFingerprint {
        self.key
    }

    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.server.journal
    }

    /// Keeps a channel as if somebody had made it: its XML has its id.
    pub fn add_channel(&self, xml: &str) {
        self.server.channels.put(&Bytes::copy_from_slice(xml.as_bytes()), true);
    }

    /// Ages the password: from now on the one user's password is as `password` says.
    pub fn age_password(&self, password: PasswordAge) {
        self.server.people.age_password(password);
    }

    /// Returns what was done to the one user, in order: `user`, `password`, or a preference and its value.
    #[must_use]
    pub fn changes_of_user(&self) -> Vec<String> {
        self.server.people.changes()
    }

    /// Returns how many channels that nobody made have got tables.
    #[must_use]
    pub fn channels_made_up(&self) -> usize {
        self.server.channels.made_up()
    }

    /// Returns how many channels that nobody made have got a map or a list.
    #[must_use]
    pub fn channels_mapped(&self) -> usize {
        self.server.channels.mapped()
    }

    /// Sets whether bodies are left unread from the next byte on, as by a Mirth that is at its limit.
    pub fn hold_bodies(&self, hold: bool) {
        self.server.held.send_replace(hold);
    }

    /// Closes the port and every connection, and waits until they are closed.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task neither panics nor is it cancelled elsewhere; either way it is over.
        let _ = self.task.await;
    }
}

/// What all connections share.
#[derive(Debug, Default)]
struct Server {
    journal: Journal,
    sessions: MirthSessions,
    channels: Channels,
    people: People,
    /// Its own HTTPS port, which Mirth writes into launch files whatever the `Host` says.
    port: u16,
    /// Whether it has a plug-in that adit does not know.
    plug_in: bool,
    /// Whether bodies wait to be read.
    held: watch::Sender<bool>,
}

async fn serve(listener: TcpListener, tls: LocalTls, server: Arc<Server>, stopped: watch::Receiver<()>) {
    let take = |number, tcp: TcpStream, connections: &mut JoinSet<()>| {
        if connections.len() < STAND_IN_CONNECTIONS_MAX && tcp.set_nodelay(true).is_ok() {
            connections.spawn(converse(tcp, tls.clone(), Arc::clone(&server), number));
        }
    };
    accept::until_stopped(listener, stopped, take).await;
}

/// Serves one client's connection until either side ends it; what breaks it is the client's affair.
async fn converse(tcp: TcpStream, tls: LocalTls, server: Arc<Server>, number: u64) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await else { return };
    server.journal.connected();
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.respond(number, request).await) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Server {
    async fn respond(&self, connection: u64, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let call = Call::read(&head);
        let user = self.sessions.user(call.context, &call.cookies);
        let place = self.journal.arrive(connection, &head, user.as_deref());
        let answer = if head_bytes(&head) > STAND_IN_HEAD_BYTES_MAX {
            Answer::status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).closing()
        } else {
            self.answer(&call, user.as_deref(), place, body).await
        };
        self.journal.answered(place, answer.code());
        answer.into_response()
    }

    /// Judges the head before the body is read, as a server must for `Expect: 100-continue`.
    async fn answer(&self, call: &Call, user: Option<&str>, place: u64, body: Incoming) -> Answer {
        if call.context.is_api() {
            return match api::find(call) {
                Err((status, why)) => Answer::text(status, why),
                Ok(found) if found.needs_session() && user.is_none() => {
                    Answer::text(StatusCode::UNAUTHORIZED, "Unauthorized")
                }
                Ok(found) => match self.read(place, body).await {
                    Some(body) => found.run(self, call, user, &body),
                    None => Answer::status(StatusCode::BAD_REQUEST).closing(),
                },
            };
        }
        match self.read(place, body).await {
            Some(body) => site::answer(self, call, &body),
            None => Answer::status(StatusCode::BAD_REQUEST).closing(),
        }
    }

    /// Counts and digests the whole body and gives its beginning; `None` when it never became whole.
    async fn read(&self, place: u64, mut body: Incoming) -> Option<Bytes> {
        let mut mark = ArrivedBody::beginning();
        let mut kept = BytesMut::new();
        let mut held = self.held.subscribe();
        loop {
            held.wait_for(|held| !held).await.ok()?;
            let Some(frame) = body.frame().await else { break };
            let Ok(data) = frame.ok()?.into_data() else { continue };
            mark.add(&data);
            if kept.len() + data.len() <= STAND_IN_BODY_BYTES_KEPT_MAX {
                kept.extend_from_slice(&data);
            }
        }
        self.journal.whole(place, mark.finish());
        Some(kept.freeze())
    }
}

/// A request as far as the stand-in looks at its head.
struct Call {
    method: hyper::Method,
    context: Context,
    /// Below the context, without a trailing slash.
    path: String,
    query: String,
    host: String,
    cookies: Vec<String>,
    requested_with: bool,
}

/// The web applications below Mirth's port; each has sessions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Context {
    Api,
    ApiOfVersion,
    WebAdmin,
    Root,
}

impl Context {
    const fn path(self) -> &'static str {
        match self {
            Self::Api => "/api",
            Self::ApiOfVersion => "/api/4.5.2",
            Self::WebAdmin => "/webadmin",
            Self::Root => "",
        }
    }

    const fn is_api(self) -> bool {
        matches!(self, Self::Api | Self::ApiOfVersion)
    }

    /// Returns the innermost context that `path` lies in, and the rest of it.
    fn of(path: &str) -> (Self, &str) {
        for context in [Self::ApiOfVersion, Self::Api, Self::WebAdmin] {
            let rest =
                path.strip_prefix(context.path()).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some(rest) = rest {
                return (context, rest);
            }
        }
        (Self::Root, path)
    }
}

impl Call {
    fn read(head: &hyper::http::request::Parts) -> Self {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (context, path) = Context::of(head.uri.path());
        let cookies = head.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = cookies.flat_map(|value| value.split(';')).map(|cookie| cookie.trim().to_owned());
        Self {
            method: head.method.clone(),
            context,
            path: path.into(),
            query: head.uri.query().unwrap_or_default().into(),
            host: text(HOST).into(),
            cookies: cookies.collect(),
            requested_with: head.headers.get("x-requested-with").is_some_and(|value| !value.is_empty()),
        }
    }

    /// Returns a parameter of the query.
    fn parameter<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.parameters(name).next()
    }

    fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// Returns roughly what the head took on the wire.
fn head_bytes(head: &hyper::http::request::Parts) -> usize {
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    head.uri.path().len() + head.uri.query().map_or(0, str::len) + headers.sum::<usize>()
}
