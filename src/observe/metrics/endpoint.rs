//! `GET /metrics` over HTTP/1.1, on a loopback address only: it asks nobody who they are.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::http::{self, HttpLimits};
use adit_core::domain::limits;
use adit_core::domain::places::{PlaceId, Places};

/// How often what was counted is folded into its histograms, so that it stays small unread.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often the log says that the port is taken.
const LISTEN_SAID_EVERY: Duration = Duration::from_mins(1);
const PLAIN: &str = "text/plain; charset=utf-8";
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const LIMITS: HttpLimits = HttpLimits {
    head_timeout: limits::METRICS_REQUEST_TIMEOUT,
    buffer_bytes_max: limits::METRICS_BUFFER_BYTES_MAX,
};

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("metrics were set up before; this is a bug, please report it")]
    Install { source: BuildError },
    #[error(
        "metrics cannot be served on {address}; set `metrics` to a loopback address such as 127.0.0.1:9464"
    )]
    NotLoopback { address: SocketAddr },
    #[error(
        "cannot listen on {address} for metrics; stop what uses it, maybe this very service, or set `metrics` to a free port"
    )]
    Listen { address: SocketAddr, source: io::Error },
}

/// A listener that only this host reaches.
#[derive(Debug)]
pub struct LoopbackListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl LoopbackListener {
    /// Returns the address, with the port the system chose where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

pub async fn listen(address: SocketAddr) -> Result<LoopbackListener, MetricsError> {
    if !address.ip().is_loopback() {
        return Err(MetricsError::NotLoopback { address });
    }
    let failed = |source| MetricsError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(LoopbackListener { listener, address })
}

/// Listens and answers until dropped. A port that is taken costs the metrics and nothing else: it is tried
/// again.
pub async fn serve_at(address: SocketAddr, handle: PrometheusHandle) {
    let mut said_at = None::<Instant>;
    loop {
        match listen(address).await {
            Ok(listener) => return serve(listener, handle).await,
            Err(error) => {
                if said_at.is_none_or(|said_at| said_at.elapsed() >= LISTEN_SAID_EVERY) {
                    said_at = Some(Instant::now());
                    tracing::warn!(%error, "no metrics are served; everything else goes on");
                }
            }
        }
        // As serving would: what is counted must not grow while nobody can read it.
        handle.run_upkeep();
        sleep(UPKEEP_EVERY).await;
    }
}

/// Answers until dropped.
pub async fn serve(listener: LoopbackListener, handle: PrometheusHandle) {
    let mut upkeep = interval(UPKEEP_EVERY);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut served = Served::new();
    loop {
        tokio::select! {
            _ = upkeep.tick() => handle.run_upkeep(),
            Some(done) = served.tasks.join_next() => served.forget(done.ok()),
            accepted = listener.listener.accept() => match accepted {
                Ok((tcp, from)) => served.answer(tcp, from, &handle),
                // Out of file descriptors, most likely: the next tick tries again.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a collector of metrics");
                    upkeep.tick().await;
                }
            },
        }
    }
}

/// Connections and their places. Any user of this host can open any number of them and say nothing: at the
/// bound the one that has waited longest goes for the one that comes.
struct Served {
    tasks: JoinSet<PlaceId>,
    places: Places,
    running: BTreeMap<PlaceId, AbortHandle>,
}

impl Served {
    fn new() -> Self {
        let places = Places::new(limits::METRICS_CONNECTIONS);
        Self { tasks: JoinSet::new(), places, running: BTreeMap::new() }
    }

    fn answer(&mut self, tcp: TcpStream, from: SocketAddr, handle: &PrometheusHandle) {
        let (place, gone) = self.places.take(from.ip(), Instant::now());
        if let Some(task) = gone.and_then(|gone| self.running.remove(&gone)) {
            tracing::debug!(%from, "a collector of metrics that waited longest makes room for another");
            task.abort();
        }
        let handle = handle.clone();
        let task = self.tasks.spawn(async move {
            answer(tcp, handle).await;
            place
        });
        self.running.insert(place, task);
    }

    /// Forgets a task: what was ended for another has been forgotten before.
    fn forget(&mut self, done: Option<PlaceId>) {
        if let Some(place) = done {
            self.places.leave(place);
            self.running.remove(&place);
        }
    }
}

async fn answer(tcp: TcpStream, handle: PrometheusHandle) {
    let page = service_fn(|request| std::future::ready(Ok::<_, Infallible>(respond(&request, &handle))));
    let served = http::serve(tcp, LIMITS, page);
    match timeout(limits::METRICS_REQUEST_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a collector of metrics went away"),
        Err(_) => tracing::debug!("a collector of metrics was too slow"),
    }
}

fn respond(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return http::response(StatusCode::NOT_FOUND, PLAIN, "metrics are at /metrics\n");
    }
    if request.method() == Method::GET {
        return http::response(StatusCode::OK, TEXT_FORMAT, handle.render());
    }
    let mut response = http::response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    response
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut tcp = TcpStream::connect(address).await.expect("connects");
        tcp.write_all(request.as_bytes()).await.expect("sends");
        let mut response = String::new();
        tcp.read_to_string(&mut response).await.expect("reads");
        response
    }

    #[tokio::test]
    async fn nothing_but_the_metrics_at_their_path_is_served() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("adit_test_total").increment(3));
        let listener = listen(ANY_PORT).await.expect("listens");
        let address = listener.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, recorder.handle()));

        let metrics = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("adit_test_total 3\n"), "{metrics}");
        let other = ask(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
        let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");

        tasks.shutdown().await;
        TcpStream::connect(address).await.expect_err("still listens");
    }

    #[tokio::test]
    async fn a_collector_is_answered_while_silent_connections_hold_every_place() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let listener = listen(ANY_PORT).await.expect("listens");
        let address = listener.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, recorder.handle()));
        let mut silent = Vec::new();
        for _ in 0..=limits::METRICS_CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.expect("connects"));
        }
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        drop(silent);
    }

    #[tokio::test]
    async fn an_address_that_others_reach_is_refused() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464"] {
            let error = listen(address.parse().expect("address")).await.expect_err("refused").to_string();
            assert!(error.contains("loopback"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = listen(ANY_PORT).await.expect("listens");
        let error = listen(first.address()).await.expect_err("refused").to_string();
        assert!(error.contains(&first.address().to_string()), "{error}");
    }
}
