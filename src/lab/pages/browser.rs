//! A browser that keeps its session and asks for pages over HTTPS, over one kept connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admin_client::{open, shown_key};
use adit_core::domain::id::KeyFingerprint;

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Told to wait, one asks again after so long.
const WAIT: Duration = Duration::from_millis(100);

/// What somebody types to sign in.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) organization: String,
    pub(super) email: String,
    pub(super) password: String,
}

#[derive(Debug)]
pub(super) struct Browser {
    gateway: SocketAddr,
    key: KeyFingerprint,
    cookies: String,
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

/// A page that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got {
    pub(super) took: Duration,
    pub(super) bytes: usize,
}

impl Browser {
    pub(super) async fn sign_in(gateway: SocketAddr, person: &Person) -> Result<Self, Failed> {
        let key = shown_key(gateway).await?;
        let (sender, connection) = connect(gateway, key).await?;
        let mut browser = Self { gateway, key, cookies: String::new(), sender, _connection: connection };
        let Person { organization, email, password } = person;
        let form = format!("organization={organization}&email={email}&password={password}").replace(' ', "+");
        let request = Request::post("/sign-in")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))?;
        let response = browser.send(request).await?;
        if response.status() != StatusCode::SEE_OTHER {
            return Err(format!("signing in was answered with {}", response.status()).into());
        }
        let cookies = response.headers().get_all(SET_COOKIE).iter().filter_map(|it| it.to_str().ok());
        let cookies: Vec<_> = cookies.filter_map(|it| it.split(';').next()).collect();
        browser.cookies = cookies.join("; ");
        response.into_body().collect().await?;
        Ok(browser)
    }

    /// Returns the same one by another connection.
    pub(super) async fn again(&self) -> Result<Self, Failed> {
        let (sender, connection) = connect(self.gateway, self.key).await?;
        let cookies = self.cookies.clone();
        Ok(Self { gateway: self.gateway, key: self.key, cookies, sender, _connection: connection })
    }

    /// Gets a page; who asks too often waits and asks again, which is not counted.
    pub(super) async fn get(&mut self, path: &str) -> Result<Got, Failed> {
        loop {
            let asked = Instant::now();
            let response = self.send(Request::get(path).body(Full::default())?).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            match status {
                StatusCode::OK => return Ok(Got { took: asked.elapsed(), bytes: body.len() }),
                StatusCode::TOO_MANY_REQUESTS => sleep(WAIT).await,
                status => return Err(format!("{path} was answered with {status}").into()),
            }
        }
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let headers = request.headers_mut();
        headers.insert(HOST, self.gateway.to_string().parse()?);
        if !self.cookies.is_empty() {
            headers.insert(COOKIE, self.cookies.parse()?);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

async fn connect(
    gateway: SocketAddr,
    key: KeyFingerprint,
) -> Result<(SendRequest<Full<Bytes>>, JoinSet<()>), Failed> {
    let stream = open(gateway, Some(key)).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        // What broke it is told to the request in hand.
        let _ = connection.await;
    });
    Ok((sender, task))
}
