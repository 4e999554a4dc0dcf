//! HTTP/1.1 as a daemon serves it to machines: one request on each connection, little of it, in little time.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// What one connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// How long the head of the request may take to arrive.
    pub head_timeout: Duration,
    /// How much of the request and of the answer is held at once.
    pub buffer_bytes_max: usize,
}

/// Answers the one request of a connection. The caller bounds how long all of it may take.
pub async fn serve<F: Future<Output = Response<Full<Bytes>>>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    limits: HttpLimits,
    respond: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .keep_alive(false)
        .max_buf_size(limits.buffer_bytes_max)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Makes an answer.
#[must_use]
pub fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
