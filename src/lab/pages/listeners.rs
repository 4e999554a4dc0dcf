//! Many who keep a stream of events open, and what that costs the gateway while nothing happens and while people
//! change connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Wanted;
use super::browser::Failed;
use super::crowd::Crowd;
use super::figures::StreamFigures;
use crate::admin_client::{open_from, shown_key};
use crate::agents::AgentsError;
use crate::agents::gateway::{GatewayProcess, Stopwatch};
use crate::agents::people::own_address;
use adit_core::domain::id::KeyFingerprint;
use adit_gateway::platform::ConnectionCommand;

/// Streams of one user: as many as the gateway lets one have.
pub(super) const STREAMS_EACH: usize = 10;
/// People change a connection about so often.
const CHANGE_EVERY: Duration = Duration::from_millis(100);
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What all listeners have heard.
#[derive(Debug, Default)]
struct Heard {
    open: AtomicUsize,
    events: AtomicU64,
    opened: Notify,
}

pub(super) async fn listen(
    crowd: &Crowd,
    gateway: &GatewayProcess,
    address: SocketAddr,
    wanted: &Wanted,
) -> Result<StreamFigures, AgentsError> {
    let asking = |source: Failed| AgentsError::People { source };
    let percent_without = percent(gateway, wanted.window).await?;
    let (before, heard) = (gateway.resident()?, Arc::new(Heard::default()));
    let key = shown_key(address).await.map_err(|source| asking(source.into()))?;
    let mut listeners = JoinSet::new();
    for number in 0..wanted.streams {
        let token = crowd.tokens[number / STREAMS_EACH].clone();
        listeners.spawn(follow(number, address, key, token, Arc::clone(&heard)));
    }
    opened(&heard, wanted.streams).await;
    let percent_at_rest = percent(gateway, wanted.window).await?;
    let told = heard.events.load(Ordering::Relaxed);
    let watch = Stopwatch::start(gateway)?;
    let changes = change(crowd, wanted.window).await?;
    let (took, spent) = watch.stop(gateway)?;
    let more_resident = gateway.resident()?.saturating_sub(before);
    let events = heard.events.load(Ordering::Relaxed) - told;
    let mut failed = None;
    while let Some(ended) = listeners.try_join_next() {
        failed = ended.ok().and_then(Result::err).or(failed);
    }
    let open = heard.open.load(Ordering::Relaxed);
    if let (0, Some(source)) = (open, failed) {
        return Err(asking(source));
    }
    Ok(StreamFigures {
        streams: wanted.streams,
        open,
        more_resident,
        percent_without,
        percent_at_rest,
        percent_with_changes: 100.0 * spent.as_secs_f64() / took.as_secs_f64(),
        changes,
        events,
    })
}

/// Waits until as many are open, or for as long as that may take.
async fn opened(heard: &Heard, count: usize) {
    let all = async {
        loop {
            let more = heard.opened.notified();
            if heard.open.load(Ordering::Relaxed) >= count {
                return;
            }
            more.await;
        }
    };
    // Those that lack are told of in the figures.
    let _ = tokio::time::timeout(OPEN_TIMEOUT, all).await;
}

async fn percent(gateway: &GatewayProcess, window: Duration) -> Result<f64, AgentsError> {
    let watch = Stopwatch::start(gateway)?;
    sleep(window).await;
    let (took, spent) = watch.stop(gateway)?;
    Ok(100.0 * spent.as_secs_f64() / took.as_secs_f64())
}

/// Pauses and resumes connections, from this process and not the gateway's.
async fn change(crowd: &Crowd, window: Duration) -> Result<u64, AgentsError> {
    let (begun, mut changes) = (Instant::now(), 0);
    for connection in crowd.active.iter().cycle().take_while(|_| begun.elapsed() < window) {
        for command in [ConnectionCommand::Pause, ConnectionCommand::Resume] {
            crowd.platform.command(&crowd.owner, *connection, command).await?;
            changes += 1;
            sleep(CHANGE_EVERY).await;
        }
    }
    Ok(changes)
}

/// Keeps a stream of events open, from a network of its own.
async fn follow(
    number: usize,
    gateway: SocketAddr,
    key: KeyFingerprint,
    token: String,
    heard: Arc<Heard>,
) -> Result<(), Failed> {
    let stream = open_from(own_address(number), gateway, Some(key)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(async move {
        // What broke it is told to the request in hand.
        let _ = connection.await;
    });
    let request = Request::get("/api/v1/events")
        .header(HOST, gateway.to_string())
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("a stream of events was answered with {}", response.status()).into());
    }
    let mut body = response.into_body();
    heard.open.fetch_add(1, Ordering::Relaxed);
    heard.opened.notify_waiters();
    while let Some(Ok(frame)) = body.frame().await {
        let events = frame.data_ref().map_or(0, |data| memchr::memmem::find_iter(data, b"event: ").count());
        heard.events.fetch_add(events as u64, Ordering::Relaxed);
    }
    heard.open.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}
