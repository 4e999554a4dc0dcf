//! HTTP/1.1 as a daemon serves it to machines: one request on each connection, little of it, in little time.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
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

/// Answers the one request of a connection, which may be to speak something else from then on: then the stream
/// is the request's (`hyper::upgrade::on`). The caller bounds how long all of it may take.
pub async fn serve<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: HttpLimits,
    service: impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
) -> hyper::Result<()>
where
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let once = service_fn(|request| {
        let answering = service.call(request);
        async {
            let mut response = answering.await?;
            // hyper would say the same to one who goes on to speak something else, and proxies would believe it.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.buffer_bytes_max)
        .serve_connection(TokioIo::new(stream), once)
        .with_upgrades()
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
