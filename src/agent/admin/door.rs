//! The managing side's end: an HTTPS port for the Administrators and browsers beside this agent. It
//! checks where they come from and whom they ask for, and hands their bytes over; what they may do is
//! decided on the managed side.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::host_check::{Host, HostScan, Hosts};
use super::sessions::Sessions;
use super::streams::{Activity, Streams};
use crate::agent::context::Context;
use crate::agent::entries::LiveEntry;
use crate::config::agent::AdminManaging;
use crate::domain::limits;
use crate::domain::places::Progress;
use crate::mirth::http;
use crate::protocol::admin::AdminOpening;
use crate::transport::duplex::{Duplex, Incoming, Outgoing};
use crate::transport::newcomers::{Newcomer, Newcomers};
use crate::transport::tls::{HttpsStream, LocalTls};
use crate::transport::tunnel::Tunnel;

/// Bytes go to a client in blocks of this size.
const BLOCK_BYTES: usize = 64 * 1024;
/// And come from it in records of this one (RFC 8446 §5.1): an idle client holds room for no more.
const RECORD_BYTES: usize = 16 * 1024;
/// How long a client may take to hear the last answer after the connection's end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

pub struct Door {
    config: AdminManaging,
    tls: LocalTls,
    sessions: Arc<Sessions>,
    /// Clients that have not asked for anything: any user of this host can have any number of them.
    newcomers: Arc<Newcomers>,
    /// Those that have.
    streams: Streams,
}

impl Door {
    #[must_use]
    pub fn new(config: AdminManaging, tls: LocalTls, sessions: Arc<Sessions>, streams_max: u32) -> Self {
        let newcomers = Newcomers::new(limits::ADMIN_NEWCOMERS);
        Self { config, tls, sessions, newcomers, streams: Streams::new(streams_max) }
    }

    /// Serves one client. Returned from early, its connection is reset.
    pub async fn carry(
        self: Arc<Self>,
        context: Arc<Context>,
        entry: Arc<LiveEntry>,
        tcp: TcpStream,
        tunnel: Arc<Tunnel>,
    ) {
        let Ok(address) = tcp.peer_addr().map(|address| address.ip().to_canonical()) else { return };
        if !self.config.lets_in(address) {
            let what =
                format!("{address} may not connect here; add its network to `allow_from` if it should");
            return context.note_fault(&entry, &what);
        }
        let newcomer = self.newcomers.enter(address);
        let connection = tunnel.connection().clone();
        let served = tokio::select! {
            served = self.serve(&context, &entry, tcp, newcomer, address, &tunnel) => served,
            _ = connection.closed() => None,
        };
        entry.facts.count_stream(served.is_none());
    }

    /// `Some` at an end in order.
    async fn serve(
        &self,
        context: &Context,
        entry: &LiveEntry,
        tcp: TcpStream,
        mut newcomer: Newcomer,
        address: IpAddr,
        tunnel: &Arc<Tunnel>,
    ) -> Option<()> {
        let hosts = Hosts::new(self.config.listen, tcp.local_addr().ok()?, &self.config.names);
        newcomer.within(limits::FIRST_BYTE_TIMEOUT, tcp.peek(&mut [0])).await.ok()?.ok()?;
        newcomer.advance().to(Progress::Speaking);
        let accepting = newcomer.within(limits::ADMIN_HANDSHAKE_TIMEOUT, self.tls.accept(tcp));
        let mut client = accepting.await.ok()?.ok()?;
        newcomer.advance().to(Progress::Secured);
        let asking = newcomer.within(limits::ADMIN_HEAD_TIMEOUT, first_request(&hosts, &mut client));
        let first = asking.await.ok()??;
        drop(newcomer);
        let Some(first) = first else {
            let what =
                "a client asked for another Host than this listener's; add it to `names` if it is right";
            context.note_fault(entry, what);
            return say(&mut client, 421, "adit: this listener does not serve that Host.").await;
        };
        let Some(place) = self.streams.take().await else {
            let reason = "adit: this admin connection carries as many HTTP connections as its `streams_max` \
                 allows; close some, or raise it.";
            return say(&mut client, 503, reason).await;
        };
        let attendance = match self.sessions.attend(context, entry, address).await {
            Ok(attendance) => attendance,
            Err(error) => return say(&mut client, 503, &error.to_string()).await,
        };
        let stream = tunnel.open_stream().await.ok()?;
        let mut duplex = Duplex::new(stream, &entry.facts.bytes);
        let (incoming, mut outgoing) = duplex.halves();
        let opening = AdminOpening { local_peer: address }.encode();
        outgoing.write(&mut Bytes::copy_from_slice(&opening)).await.ok()?;
        let (reading, writing) = tokio::io::split(client);
        let activity = &*place.activity;
        let ended = tokio::select! {
            ended = join(reading, writing, incoming, outgoing, first, activity) => ended,
            () = activity.must_go() => None,
        };
        drop(attendance);
        ended
    }
}

/// The bytes of the first head, once its Host is known to be ours; `Some(None)` when it is not.
async fn first_request(hosts: &Hosts, client: &mut HttpsStream) -> Option<Option<Bytes>> {
    let mut input = BytesMut::new();
    let mut scan = HostScan::default();
    loop {
        match scan.check(hosts, &input) {
            Host::Ours => return Some(Some(input.freeze())),
            Host::Foreign => return Some(None),
            Host::NotYet => {}
        }
        if client.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
    }
}

/// Carries both directions until the answers end.
async fn join(
    mut reading: ReadHalf<HttpsStream>,
    mut writing: WriteHalf<HttpsStream>,
    mut incoming: Incoming<'_>,
    outgoing: Outgoing<'_>,
    first: Bytes,
    activity: &Activity,
) -> Option<()> {
    let mut downward = pin!(downward(&mut writing, &mut incoming, activity));
    tokio::select! {
        ended = &mut downward => ended?,
        // A client that ended its requests still gets its answers; one that broke off gets nothing.
        ended = upward(&mut reading, outgoing, first, activity) => {
            ended?;
            downward.await?;
        }
    }
    // A socket closed over unread bytes is reset, and the last answer with it.
    let mut rest = [0; 1024];
    let drained = async { while matches!(reading.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(FAREWELL_TIMEOUT, drained).await;
    Some(())
}

async fn upward(
    reading: &mut ReadHalf<HttpsStream>,
    mut outgoing: Outgoing<'_>,
    first: Bytes,
    activity: &Activity,
) -> Option<()> {
    let mut bytes = first;
    let mut block = BytesMut::new();
    loop {
        if outgoing.write(&mut bytes).await.is_err() {
            // The managed side wants no more requests; its last answer is still on its way.
            return std::future::pending().await;
        }
        block.reserve(RECORD_BYTES);
        if reading.read_buf(&mut block).await.ok()? == 0 {
            outgoing.finish();
            return Some(());
        }
        activity.note_asked();
        bytes = block.split().freeze();
    }
}

async fn downward(
    writing: &mut WriteHalf<HttpsStream>,
    incoming: &mut Incoming<'_>,
    activity: &Activity,
) -> Option<()> {
    while let Some(block) = incoming.gather(BLOCK_BYTES).await.ok()? {
        writing.write_all(&block).await.ok()?;
        writing.flush().await.ok()?;
        incoming.delivered(block.len());
        activity.note_answered(Instant::now());
    }
    writing.shutdown().await.ok()
}

async fn say(client: &mut HttpsStream, status: u16, reason: &str) -> Option<()> {
    let mut answer = BytesMut::new();
    http::answer(status, reason, true, false, &mut answer);
    client.write_all(&answer).await.ok()?;
    client.end().await.ok()
}
