//! Answers of the stand-in, framed as Jetty frames them: with a length while they fit its buffer,
//! chunked above.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Response, StatusCode};

/// Longer answers are chunked.
const UNCHUNKED_BYTES_MAX: u64 = 11 * 1024;
/// What Jetty writes at a time.
const PIECE_BYTES: usize = 32 * 1024;

/// An answer before it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<AnswerBody>,
}

impl Answer {
    pub(super) fn status(status: StatusCode) -> Self {
        Self::new(status, None, AnswerBody::of(Bytes::new()))
    }

    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, Some("text/plain"), AnswerBody::of(Bytes::from(text.to_owned())))
    }

    pub(super) fn xml(content: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Some("application/xml"), AnswerBody::of(content.into()))
    }

    pub(super) fn of_type(content_type: &'static str, content: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Some(content_type), AnswerBody::of(content.into()))
    }

    /// Answers with `head`, then `times` × `item`, then `tail`: answers of any size from little memory.
    pub(super) fn list(head: &'static str, item: Bytes, times: u64, tail: &'static str) -> Self {
        let parts = [
            (Bytes::from_static(head.as_bytes()), 1),
            (item, times),
            (Bytes::from_static(tail.as_bytes()), 1),
        ];
        Self::new(StatusCode::OK, Some("application/xml"), AnswerBody { parts, at: 0 })
    }

    pub(super) fn redirect(location: &str) -> Self {
        Self::status(StatusCode::FOUND).with(LOCATION, location)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        // What comes from a request's head is a header value already.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().append(name, value);
        }
        self
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        *self.response.status_mut() = status;
        self
    }

    pub(super) fn with_cookie(self, cookie: Option<&str>) -> Self {
        match cookie {
            Some(cookie) => self.with(SET_COOKIE, cookie),
            None => self,
        }
    }

    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, "close")
    }

    pub(super) fn code(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn into_response(self) -> Response<AnswerBody> {
        self.response
    }

    fn new(status: StatusCode, content_type: Option<&'static str>, body: AnswerBody) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Self { response }
    }
}

/// Three parts, each so many times.
#[derive(Debug)]
pub(super) struct AnswerBody {
    parts: [(Bytes, u64); 3],
    /// Where the first repetition left goes on.
    at: usize,
}

impl AnswerBody {
    fn of(content: Bytes) -> Self {
        Self { parts: [(content, 1), (Bytes::new(), 0), (Bytes::new(), 0)], at: 0 }
    }

    fn left(&self) -> u64 {
        let all: u64 = self.parts.iter().map(|(part, times)| part.len() as u64 * times).sum();
        all - self.at as u64
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let (part, times) = self.parts.iter_mut().find(|(part, times)| *times > 0 && !part.is_empty())?;
        let end = part.len().min(self.at + PIECE_BYTES);
        let piece = part.slice(self.at..end);
        self.at = end;
        if end == part.len() {
            self.at = 0;
            *times -= 1;
        }
        Some(piece)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.left();
        // Without an exact size hyper chunks.
        if left <= UNCHUNKED_BYTES_MAX { SizeHint::with_exact(left) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_above_jettys_buffer_comes_in_pieces_without_a_length() {
        let mut body = AnswerBody::of(Bytes::from(vec![1; 11 * 1024]));
        assert_eq!(body.size_hint().exact(), Some(11 * 1024));
        assert_eq!(body.next_piece().map(|piece| piece.len()), Some(11 * 1024));
        assert!(body.is_end_stream() && body.next_piece().is_none());

        let item = Bytes::from(vec![2; PIECE_BYTES + 1]);
        let Answer { response } = Answer::list("<list>", item, 2, "</list>");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), None);
        let pieces: Vec<usize> = std::iter::from_fn(|| body.next_piece()).map(|piece| piece.len()).collect();
        assert_eq!(pieces, [6, PIECE_BYTES, 1, PIECE_BYTES, 1, 7]);
    }
}
