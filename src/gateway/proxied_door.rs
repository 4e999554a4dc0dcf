//! Plain HTTP on loopback, for a reverse proxy on this host that has the certificate. Only the API is served here.
//!
//! A trusted proxy's connections are many people's, and its word is taken for whose a request is. Anybody else on this
//! host comes in as at [`super::front_door`], without TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::Extensions;
use axum::routing::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use super::front_door::ACCEPT_AGAIN;
use super::http::{self, BrokenOff, Connection, Whence};
use adit_core::domain::limits::{FIRST_BYTE_TIMEOUT, PROXY_CONNECTIONS_MAX};
use adit_core::domain::places::Progress;
use adit_core::domain::visible::error_chain;
use adit_net::task::named;
use adit_net::transport::newcomers::Newcomers;

#[derive(Debug)]
pub(super) struct ProxiedDoor {
    pub(super) api: Router,
    pub(super) trusted: Arc<[IpAddr]>,
    pub(super) newcomers: Arc<Newcomers>,
    /// Connections of trusted proxies.
    pub(super) places: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// Returns places for the connections of trusted proxies.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PROXY_CONNECTIONS_MAX))
}

/// Serves who comes until told to stop, and then what was begun.
pub(super) async fn run(door: Arc<ProxiedDoor>, listener: TcpListener) {
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => {
                    let span = info_span!("proxied_door", from = %from.ip());
                    let serving = serve(Arc::clone(&door), tcp, from);
                    served.spawn(named("connection on loopback", serving).instrument(span));
                }
                Err(error) => {
                    warn!(%error, "cannot accept connections of a reverse proxy, and tries again");
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
    while served.join_next().await.is_some() {}
}

async fn serve(door: Arc<ProxiedDoor>, tcp: TcpStream, from: SocketAddr) {
    let from = from.ip().to_canonical();
    let end = if door.trusted.contains(&from) {
        serve_proxy(&door, tcp, from).await
    } else {
        serve_other(&door, tcp, from).await
    };
    if let Err(why) = end {
        debug!(why = error_chain(&why), "a connection broke off");
    }
}

async fn serve_proxy(door: &ProxiedDoor, tcp: TcpStream, proxy: IpAddr) -> Result<(), BrokenOff> {
    let Ok(_place) = door.places.try_acquire() else {
        warn!(
            connections = PROXY_CONNECTIONS_MAX,
            "a proxy has as many connections as it may; one more is closed"
        );
        return Ok(());
    };
    let connection = Connection::of_proxy(Whence::Proxy { proxy, trusted: Arc::clone(&door.trusted) });
    http::serve(tcp, door.api.clone(), &connection, None, &door.stop).await.map(drop)
}

async fn serve_other(door: &ProxiedDoor, tcp: TcpStream, from: IpAddr) -> Result<(), BrokenOff> {
    let mut newcomer = door.newcomers.enter(from);
    let begun = newcomer.within(FIRST_BYTE_TIMEOUT, tcp.peek(&mut [0])).await?;
    if !begun.is_ok_and(|bytes| bytes > 0) {
        debug!("it said nothing");
        return Ok(());
    }
    newcomer.advance().to(Progress::Secured);
    let (whence, advance) = (Whence::Peer(from), newcomer.advance());
    let connection = Connection::of_newcomer(whence, false, Extensions::new(), advance);
    http::serve(tcp, door.api.clone(), &connection, Some(newcomer), &door.stop).await.map(drop)
}

#[cfg(test)]
mod tests;
