//! People who read lists and details over the API and follow its events, while all agents have their links.
//!
//! Each is in a network of its own, has a kept connection and an API token, asks for a page of connections and then for one of them, and thinks
//! a little before the next time; beside it a stream of events stays open.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::AgentsError;
use super::figures::PeopleFigures;
use crate::admin_client::{open_from, shown_key};
use crate::measure::Histogram;
use adit_core::domain::id::KeyFingerprint;

/// Between two looks at a list, on average.
const THINKS: Duration = Duration::from_secs(1);
const LIST: &str = "/api/v1/connections?count=50";
const EVENTS: &str = "/api/v1/events";

/// What all of them have seen.
#[derive(Debug, Default)]
struct Seen {
    lists: Histogram,
    details: Histogram,
    streams: usize,
    refused: u64,
}

/// Has one user for each token ask for `window`; the streams stay open for as long.
pub(super) async fn ask(
    gateway: SocketAddr,
    tokens: &[String],
    window: Duration,
) -> Result<PeopleFigures, AgentsError> {
    let asking = |source: Failed| AgentsError::People { source };
    let key = shown_key(gateway).await.map_err(|source| asking(source.into()))?;
    let (seen, until) = (Arc::new(Mutex::new(Seen::default())), Instant::now() + window);
    let mut people = JoinSet::new();
    for (number, token) in tokens.iter().enumerate() {
        let (token, seen) = (token.clone(), Arc::clone(&seen));
        let person = Person { from: own_address(number), gateway, key, token, seen };
        let first = THINKS.mul_f64(fraction(number, tokens.len()));
        people.spawn(person.clone().reads(first, until));
        people.spawn(person.follows(first, until));
    }
    while let Some(ended) = people.join_next().await {
        if let Ok(Err(error)) = ended {
            return Err(asking(error));
        }
    }
    let seen = seen.lock();
    Ok(PeopleFigures::of(tokens.len(), seen.streams, &seen.lists, &seen.details, seen.refused))
}

#[expect(clippy::cast_precision_loss, reason = "no run has so many people")]
fn fraction(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}

/// Returns an address of this host in a network that only this one has: of one address the gateway takes few
/// connections at a time that have proven nothing yet.
pub(crate) fn own_address(number: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    Ipv4Addr::new(127, 64 | high & 63, low, 1).into()
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone)]
struct Person {
    from: IpAddr,
    gateway: SocketAddr,
    key: KeyFingerprint,
    token: String,
    seen: Arc<Mutex<Seen>>,
}

impl Person {
    /// Reads a list and one of its rows, again and again.
    async fn reads(self, first: Duration, until: Instant) -> Result<(), Failed> {
        sleep(first).await;
        let (mut sender, _connection) = self.connect().await?;
        while Instant::now() < until {
            let (took, list) = self.read(&mut sender, LIST).await?;
            self.seen.lock().lists.record(took);
            let row = list["rows"][0]["id"].as_str().map(|id| format!("/api/v1/connections/{id}"));
            if let Some(detail) = row {
                let (took, _) = self.read(&mut sender, &detail).await?;
                self.seen.lock().details.record(took);
            }
            sleep(THINKS).await;
        }
        Ok(())
    }

    /// Keeps a stream of events open.
    async fn follows(self, first: Duration, until: Instant) -> Result<(), Failed> {
        sleep(first).await;
        let (mut sender, _connection) = self.connect().await?;
        let response = self.send(&mut sender, EVENTS).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the stream of events was answered with {}", response.status()).into());
        }
        let mut body = response.into_body();
        while let Ok(Some(frame)) = timeout_at(until.into(), body.frame()).await {
            frame?;
        }
        if Instant::now() >= until {
            self.seen.lock().streams += 1;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<(SendRequest<Empty<Bytes>>, JoinSet<()>), Failed> {
        let stream = open_from(self.from, self.gateway, Some(self.key)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // What broke it is told to the request in hand.
            let _ = connection.await;
        });
        Ok((sender, task))
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        target: &str,
    ) -> Result<Response<Incoming>, Failed> {
        let request = Request::get(target)
            .header(HOST, self.gateway.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::new())?;
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// Returns how long the whole answer took, and what it holds.
    async fn read(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        target: &str,
    ) -> Result<(Duration, Value), Failed> {
        let asked = Instant::now();
        let response = self.send(sender, target).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let took = asked.elapsed();
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.seen.lock().refused += 1;
            return Ok((took, Value::Null));
        }
        if status != StatusCode::OK {
            return Err(format!("{target} was answered with {status}").into());
        }
        Ok((took, serde_json::from_slice(&body)?))
    }
}
