//! The managing side's end: an HTTPS port for the Administrators and browsers beside this agent. It
//! checks where they come from and whom they ask for, and hands their bytes over; what they may do is
//! decided on the managed side.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Span;

use super::host_check::{Host, HostScan, Hosts};
use super::sessions::AdminSessions;
use super::streams::{Activity, Streams};
use crate::admin::parts::AdminParts;
use crate::entries::LiveConnection;
use adit_core::config::agent::AdminManaging;
use adit_core::domain::limits;
use adit_core::domain::places::Progress;
use adit_core::protocol::admin::AdminOpening;
use adit_mirth::http;
use adit_net::transport::duplex::{Duplex, Incoming, Outgoing};
use adit_net::transport::newcomers::{Newcomer, Newcomers};
use adit_net::transport::tls::{HttpsStream, LocalTls};
use adit_net::transport::tunnel::Tunnel;
use adit_net::transport::unsent::WatchedSocket;
use adit_observe::audit::{AuditEntry, RefusalKind};

/// Bytes go to a client in blocks of this size.
const BLOCK_BYTES: usize = 64 * 1024;
/// And come from it in records of this one (RFC 8446 §5.1): an idle client holds room for no more.
const RECORD_BYTES: usize = 16 * 1024;
/// How long a client may take to hear the last answer after the connection's end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

const NOT_ALLOWED: &str = "the address is in no network of `allow_from`";
const NO_TLS: &str = "no TLS handshake";
const NO_REQUEST: &str = "no request came in time";
const OTHER_HOST: &str = "another Host than this listener's, or no request of HTTP/1.1";
const NO_SESSION: &str = "no session could be opened";
const NO_ROOM: &str = "as many HTTP connections as `streams_max` allows";

pub(crate) struct AdminListener {
    config: AdminManaging,
    tls: LocalTls,
    sessions: Arc<AdminSessions>,
    parts: Arc<AdminParts>,
    /// Clients that have not asked for anything: any user of this host can have any number of them.
    newcomers: Arc<Newcomers>,
    /// Those that have.
    streams: Streams,
}

impl AdminListener {
    #[must_use]
    pub(crate) fn new(
        config: AdminManaging,
        tls: LocalTls,
        (sessions, parts): (Arc<AdminSessions>, Arc<AdminParts>),
        streams_max: u32,
    ) -> Self {
        let newcomers = Newcomers::new(limits::ADMIN_NEWCOMERS);
        Self { config, tls, sessions, parts, newcomers, streams: Streams::new(streams_max) }
    }

    /// Serves one client. Returned from early, its connection is reset.
    pub(crate) async fn carry(
        self: Arc<Self>,
        entry: Arc<LiveConnection>,
        tcp: TcpStream,
        tunnel: Arc<Tunnel>,
    ) {
        let Ok(address) = tcp.peer_addr().map(|address| address.ip().to_canonical()) else { return };
        Span::current().record("address", tracing::field::display(address));
        if !self.config.lets_in(address) {
            let what =
                format!("{address} may not connect here; add its network to `allow_from` if it should");
            entry.note_fault(&what);
            return self.refuse(&entry, address, 0, NOT_ALLOWED).await;
        }
        let Ok(socket) = WatchedSocket::of(&tcp) else { return };
        let newcomer = self.newcomers.enter(address);
        tracing::debug!(held = self.newcomers.held(), "a client has connected and has a place until it asks");
        let connection = tunnel.connection().clone();
        let has_asked = AtomicBool::new(false);
        let mut ending = tunnel.ending();
        let stops = async {
            let _ = ending.wait_for(|ending| *ending).await;
            // Who has asked gets the answer; the managed side takes no more.
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let served = tokio::select! {
            served = self.serve(&entry, tcp, newcomer, (address, &has_asked), &tunnel) => served,
            _ = connection.closed() => None,
            () = stops => Some(()),
            () = socket.lost(entry.config.stall_limit) => None,
        };
        tracing::debug!(is_whole = served.is_some(), "the client's connection has ended");
        entry.stats.count_stream(served.is_none());
    }

    /// Serves the connection; `None` where it broke off in the middle of an exchange.
    async fn serve(
        &self,
        entry: &LiveConnection,
        tcp: TcpStream,
        mut newcomer: Newcomer,
        (address, has_asked): (IpAddr, &AtomicBool),
        tunnel: &Arc<Tunnel>,
    ) -> Option<()> {
        let hosts = Hosts::new(self.config.listen, tcp.local_addr().ok()?, &self.config.names);
        // A client that asked nothing was denied nothing.
        let asked = newcomer.within(limits::FIRST_BYTE_TIMEOUT, tcp.peek(&mut [0])).await;
        let Ok(Ok(1..)) = asked else {
            tracing::debug!("the client said nothing, or its place was needed");
            return Some(());
        };
        newcomer.advance().to(Progress::Speaking);
        let mut client = match newcomer.within(limits::ADMIN_HANDSHAKE_TIMEOUT, self.tls.accept(tcp)).await {
            Ok(Ok(client)) => client,
            failed => {
                // One that went by itself was denied nothing.
                if failed.map_or(true, |accepted| accepted.is_err_and(|error| is_refusal(&error))) {
                    self.refuse(entry, address, 0, NO_TLS).await;
                }
                return Some(());
            }
        };
        newcomer.advance().to(Progress::Secured);
        tracing::trace!("TLS is up; the first request is awaited");
        let mut input = BytesMut::new();
        let asking = first_request(&hosts, &mut client, &mut input);
        let Ok(first) = newcomer.within(limits::ADMIN_HEAD_TIMEOUT, asking).await else {
            self.refuse(entry, address, 408, NO_REQUEST).await;
            return Some(());
        };
        drop(newcomer);
        let Some(is_ours) = first else { return input.is_empty().then_some(()) };
        if !is_ours {
            let what =
                "a client asked for another Host than this listener's; add it to `names` if it is right";
            entry.note_fault(what);
            self.refuse(entry, address, 421, OTHER_HOST).await;
            return respond(&mut client, 421, "adit: this listener does not serve that Host.").await;
        }
        let first = input.freeze();
        let Some(place) = self.streams.take().await else {
            let reason = "adit: this admin connection carries as many HTTP connections as its `streams_max` \
                 allows; close some, or raise it.";
            entry.stats.limit_reached.fetch_add(1, Ordering::Relaxed);
            entry.note_fault(
                "all HTTP connections that `streams_max` allows are in use; raise it, or close some",
            );
            self.refuse(entry, address, 503, NO_ROOM).await;
            return respond(&mut client, 503, reason).await;
        };
        let session_guard = match self.sessions.register(&self.parts, entry, address).await {
            Ok(session_guard) => session_guard,
            Err(error) => {
                self.refuse(entry, address, 503, NO_SESSION).await;
                return respond(&mut client, 503, &error.to_string()).await;
            }
        };
        has_asked.store(true, Ordering::Relaxed);
        let stream = tunnel.open_stream().await.ok()?;
        Span::current().record("stream", stream.number());
        let session = session_guard.session().number;
        tracing::debug!(session, "the client's requests go to the managed side");
        let mut duplex = Duplex::new(stream, &entry.stats.bytes);
        let (incoming, mut outgoing) = duplex.halves();
        let opening = AdminOpening { local_peer: address }.encode();
        outgoing.write(&mut Bytes::copy_from_slice(&opening)).await.ok()?;
        let (reading, writing) = tokio::io::split(client);
        let activity = &*place.activity;
        let ended = tokio::select! {
            ended = join(reading, writing, incoming, outgoing, first, activity) => ended,
            // It was answered and asked for nothing since: nothing was broken off.
            () = activity.must_go() => Some(()),
        };
        drop(session_guard);
        ended
    }

    /// Refuses the client: in the audit before it is said, as every denial; without it there is still no way
    /// in.
    async fn refuse(&self, entry: &LiveConnection, address: IpAddr, status: u16, reason: &'static str) {
        tracing::debug!(status, reason, "the client is refused");
        let kind = RefusalKind { method: "", template: reason.into(), status };
        let detail = |now| AuditEntry::admin_listener_refused(now, entry.config.id, address, reason);
        let _ = self.sessions.audit_refusal(&self.parts, entry, &kind, detail).await;
    }
}

/// Returns whether TLS itself failed, and the client did not merely go.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// Reads the first head into `input`, until it is known whether its Host is ours; `None` when no more comes.
async fn first_request(hosts: &Hosts, client: &mut HttpsStream, input: &mut BytesMut) -> Option<bool> {
    let mut scan = HostScan::default();
    loop {
        match scan.check(hosts, input) {
            Host::Ours => return Some(true),
            Host::Foreign => return Some(false),
            Host::NotYet => {}
        }
        if client.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

/// Carries both directions until the answers end; `None` where a client broke off before it had them all.
async fn join(
    mut reading: ReadHalf<HttpsStream>,
    mut writing: WriteHalf<HttpsStream>,
    mut incoming: Incoming<'_>,
    outgoing: Outgoing<'_>,
    first: Bytes,
    activity: &Activity,
) -> Option<()> {
    let broke_off = AtomicBool::new(false);
    let mut downward = pin!(downward(&mut writing, &mut incoming, activity, &broke_off));
    tokio::select! {
        ended = &mut downward => ended?,
        // A client that ended its requests still gets its answers.
        ended = upward(&mut reading, outgoing, first, activity) => {
            broke_off.store(ended.is_err(), Ordering::Relaxed);
            downward.await?;
        }
    }
    if broke_off.load(Ordering::Relaxed) {
        return Some(());
    }
    // A socket closed over unread bytes is reset, and the last answer with it.
    let mut rest = [0; 1024];
    let drained = async { while matches!(reading.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(FAREWELL_TIMEOUT, drained).await;
    Some(())
}

/// Ends with the client's requests. Many a client closes without TLS's own word: whether it left something
/// half asked, and what it still had to hear, is known on the managed side, which reads HTTP.
async fn upward(
    reading: &mut ReadHalf<HttpsStream>,
    mut outgoing: Outgoing<'_>,
    first: Bytes,
    activity: &Activity,
) -> io::Result<()> {
    let mut bytes = first;
    let mut block = BytesMut::new();
    loop {
        if outgoing.write(&mut bytes).await.is_err() {
            // The managed side wants no more requests; its last answer is still on its way.
            return std::future::pending().await;
        }
        block.reserve(RECORD_BYTES);
        let read = reading.read_buf(&mut block).await;
        if !matches!(read, Ok(1..)) {
            outgoing.finish();
            return read.map(|_| ());
        }
        activity.note_asked();
        bytes = block.split().freeze();
    }
}

async fn downward(
    writing: &mut WriteHalf<HttpsStream>,
    incoming: &mut Incoming<'_>,
    activity: &Activity,
    broke_off: &AtomicBool,
) -> Option<()> {
    while let Some(block) = incoming.gather(BLOCK_BYTES).await.ok()? {
        // Nobody is there to hear it.
        if broke_off.load(Ordering::Relaxed) {
            return None;
        }
        writing.write_all(&block).await.ok()?;
        writing.flush().await.ok()?;
        incoming.delivered(block.len());
        activity.note_answered(Instant::now());
    }
    if broke_off.load(Ordering::Relaxed) {
        return Some(());
    }
    writing.shutdown().await.ok()
}

async fn respond(client: &mut HttpsStream, status: u16, reason: &str) -> Option<()> {
    let mut answer = BytesMut::new();
    http::answer(status, reason, true, false, &mut answer);
    client.write_all(&answer).await.ok()?;
    client.end().await.ok()
}
