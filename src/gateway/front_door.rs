//! The gateway's TCP port: who comes in, what they speak, and to whom they go.
//!
//! One listener, TLS, and then by what the client asks TLS for (ALPN): enrolment, or HTTP, which is carriers and the
//! API. Everything that costs is bounded before anybody is believed: connections at a time, those
//! that only connect first to go; handshakes per address; each step's time; what is held of a request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::http::Extensions;
use axum::routing::Router;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use super::attempt_limiter::{HandshakeLimiter, Throttled};
use super::carriers::{Asked, CarrierService};
use super::enrolment::{self, Asker};
use super::http::{self, Connection, Paced, Whence};
use adit_core::domain::limits::{
    ENROL_BODY_BYTES_MAX, ENROL_CONNECTIONS, ENROL_HANDSHAKE_TIMEOUT, ENROL_TIMEOUT, FIRST_BYTE_TIMEOUT,
    THROTTLED_SAID_EVERY,
};
use adit_core::domain::places::Progress;
use adit_core::domain::visible::error_chain;
use adit_net::task::named;
use adit_net::transport::newcomers::{Gone, Newcomer, Newcomers};
use adit_net::transport::tls::{FrontDoorStream, FrontDoorTls, Spoken};
use adit_observe::http::{HttpLimits, serve as serve_once};

const ENROLMENT_LIMITS: HttpLimits =
    HttpLimits { head_timeout: ENROL_TIMEOUT, buffer_bytes_max: ENROL_BODY_BYTES_MAX };
/// How soon a handshake that had to wait looks again.
const BEGIN_AGAIN: Duration = Duration::from_millis(20);

/// How soon one who could not accept tries again.
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct FrontDoor {
    pub(super) tls: Arc<FrontDoorTls>,
    /// To those who ask for enrolment.
    pub(super) enrolment: Router,
    /// To all others: carriers and the API.
    pub(super) public: Router,
    pub(super) carriers: Arc<CarrierService>,
    pub(super) newcomers: Arc<Newcomers>,
    pub(super) handshakes: Arc<HandshakeLimiter>,
    pub(super) throttled: Arc<Throttled>,
    pub(super) stop: CancellationToken,
}

/// Returns places for those who have not said what they want.
pub(super) fn newcomers() -> Arc<Newcomers> {
    Newcomers::new(ENROL_CONNECTIONS)
}

/// Why a connection ended without an answer.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it said nothing")]
    Silent,
}

/// Serves who comes until told to stop.
pub(super) async fn run(door: Arc<FrontDoor>, listener: TcpListener) {
    let mut served = JoinSet::new();
    let mut log_tick = interval(THROTTLED_SAID_EVERY);
    loop {
        tokio::select! {
            now = log_tick.tick() => door.throttled.log_due(now.into()),
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    let newcomer = door.newcomers.enter(from.ip());
                    let span = info_span!("front_door", from = %from.ip());
                    let serving = serve(Arc::clone(&door), tcp, newcomer, from);
                    served.spawn(named("front door connection", serving).instrument(span));
                }
                Err(error) => {
                    // Out of descriptors, most likely: those who are not let in give some back soon. Carriers
                    // live for days and are not waited for.
                    warn!(%error, "cannot accept TCP connections, and tries again; give this process more of what ran out, such as open files (`LimitNOFILE`)");
                    tokio::select! {
                        () = sleep(ACCEPT_AGAIN) => {}
                        () = door.stop.cancelled() => break,
                    }
                }
            },
            Some(_) = served.join_next() => {}
            () = door.stop.cancelled() => break,
        }
    }
    debug!(
        connections = served.len(),
        "no TCP connection is taken any more; those begun are seen to their end"
    );
    // Each has a deadline of its own, and carriers end once the control links have.
    while served.join_next().await.is_some() {}
}

async fn serve(door: Arc<FrontDoor>, tcp: TcpStream, newcomer: Newcomer, from: SocketAddr) {
    // Boxed: what it takes to come in is given back before a carrier lives on for days.
    match Box::pin(let_in(&door, tcp, newcomer, from)).await {
        Ok(None) => {}
        Ok(Some((stream, read))) => {
            let carriers = Arc::clone(&door.carriers);
            let handshakes = Arc::clone(&door.handshakes);
            drop(door);
            carriers.serve(stream, read, from, &handshakes).await;
        }
        Err(why) => {
            enrolment::count("not read");
            debug!(%why, "an attempt to come in broke off");
        }
    }
}

/// Serves whoever comes in: each step has its own deadline, and a client that takes the next one keeps the place
/// before those who do not. Returns the stream of one who opens a carrier, with what was read behind its
/// request.
async fn let_in(
    door: &FrontDoor,
    tcp: TcpStream,
    mut newcomer: Newcomer,
    from: SocketAddr,
) -> Result<Option<(FrontDoorStream, Bytes)>, BrokenOff> {
    if newcomer.within(FIRST_BYTE_TIMEOUT, tcp.peek(&mut [0])).await?? == 0 {
        return Err(BrokenOff::Silent);
    }
    newcomer.advance().to(Progress::Speaking);
    newcomer.within(ENROL_HANDSHAKE_TIMEOUT, door.may_begin(from.ip())).await?;
    let (spoken, stream) = newcomer.within(ENROL_HANDSHAKE_TIMEOUT, door.tls.accept(tcp)).await??;
    newcomer.advance().to(Progress::Secured);
    debug!(spoken = spoken.as_str(), "TLS is up; a request is awaited");
    match spoken {
        Spoken::Enrolment => {
            let asker = Asker { from: from.ip(), advance: newcomer.advance().clone() };
            let routes = door.enrolment.clone().layer(Extension(asker));
            let served = serve_once(stream, ENROLMENT_LIMITS, TowerToHyperService::new(routes));
            newcomer.within(ENROL_TIMEOUT, served).await?.map_err(io::Error::other)?;
            Ok(None)
        }
        Spoken::Http => serve_http(door, stream, newcomer, from.ip(), false).await,
        Spoken::Console => serve_http(door, stream, newcomer, from.ip(), true).await,
        Spoken::Challenge => {
            debug!("an ACME authority has looked at the challenge");
            let mut stream = stream;
            newcomer.within(ENROL_TIMEOUT, stream.shutdown()).await??;
            Ok(None)
        }
    }
}

/// Serves HTTP until its end, or until a carrier is opened.
async fn serve_http(
    door: &FrontDoor,
    stream: FrontDoorStream,
    newcomer: Newcomer,
    from: IpAddr,
    is_public: bool,
) -> Result<Option<(FrontDoorStream, Bytes)>, BrokenOff> {
    let asked = Asked::default();
    let mut extensions = Extensions::new();
    extensions.insert(asked.clone());
    let connection = Connection::of_newcomer(Whence::Peer(from), is_public, extensions, newcomer.advance());
    let served = http::serve(stream, door.public.clone(), &connection, Some(newcomer), &door.stop).await;
    let mut newcomer = match served {
        Ok(newcomer) => newcomer,
        Err(http::BrokenOff::Gone(gone)) if !connection.was_asked() => return Err(gone.into()),
        Err(why) => {
            debug!(why = error_chain(&why), "a connection broke off");
            return Ok(None);
        }
    };
    let Some(upgrade) = asked.take() else { return Ok(None) };
    let upgraded = match &mut newcomer {
        Some(newcomer) => newcomer.within(ENROL_TIMEOUT, upgrade).await?,
        None => upgrade.await,
    };
    let parts =
        upgraded.map_err(io::Error::other)?.downcast::<TokioIo<Paced<FrontDoorStream>>>().map_err(|_| {
            io::Error::other("the stream of a request is another than it came over; this is a bug")
        })?;
    Ok(Some((parts.io.into_inner().into_inner(), parts.read_buf)))
}

impl FrontDoor {
    /// Waits while too many handshakes were begun where this one comes from and not finished.
    async fn may_begin(&self, from: IpAddr) {
        let mut is_logged = false;
        while !self.handshakes.may_begin(from, Instant::now()) {
            if !is_logged {
                is_logged = true;
                self.throttled.note(
                    "TCP connections wait, too many handshakes were begun there and not finished",
                    from,
                    Instant::now(),
                );
            }
            sleep(BEGIN_AGAIN).await;
        }
    }
}
