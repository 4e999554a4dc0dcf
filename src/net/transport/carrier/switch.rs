//! One request of HTTP/1.1 whose answer is the end of HTTP on its connection: CONNECT at a proxy, and the
//! opening handshake of a WebSocket.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::http::response;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The head of an answer; a longer one is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What was answered.
pub(super) enum Answer<S> {
    /// HTTP has ended: the stream, and what came behind the answer.
    Switched {
        head: response::Parts,
        stream: S,
        read: Bytes,
    },
    Refused {
        head: response::Parts,
    },
}

/// Asks; the answer that ends HTTP is one for which `switches` says so.
pub(super) async fn ask<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    switches: impl Fn(StatusCode) -> bool,
) -> Result<Answer<S>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut client = http1::Builder::new();
    let (mut sender, mut connection) =
        client.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    let mut is_done = false;
    let response = {
        let mut asked = pin!(sender.send_request(request));
        tokio::select! {
            biased;
            response = &mut asked => response?,
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                ended?;
                is_done = true;
                asked.await?
            }
        }
    };
    let (head, _body) = response.into_parts();
    if !switches(head.status) {
        return Ok(Answer::Refused { head });
    }
    if !is_done {
        poll_fn(|cx| connection.poll_without_shutdown(cx)).await?;
    }
    let parts = connection.into_parts();
    Ok(Answer::Switched { head, stream: parts.io.into_inner(), read: parts.read_buf })
}
