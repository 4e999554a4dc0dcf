//! HTTP/1.1 between an administrator and Mirth (RFC 9112), read so strictly that a request has one
//! meaning or is refused, and written again from what was read.
//!
//! The partner who sends the requests may be skilled and malicious, and Jetty 9.4 behind us forgives
//! much (MIRTH §3.1). So nothing of a request reaches Mirth as it was spelled but its header values,
//! its target as judged and its body's bytes. Mirth's answers are followed to know where each ends.
//! What a request would do, and whether it may, is not decided here.

mod answer;
mod authorization;
mod chunked;
mod field;
mod host;
mod lines;
mod request;
mod request_line;
mod response;
mod rules;
mod unchunked;
mod write;

use std::fmt;

pub use answer::{CONTINUE, REASON_PHRASE_BYTES_MAX, answer, reason_phrase};
pub use request::{RequestHead, RequestPart, RequestReader};
pub use response::{ResponseFraming, ResponseHead, ResponsePart, ResponseReader};
pub use unchunked::Unchunked;
pub use write::BodyWriter;

#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// As it was sent; names are compared without regard to letter case (RFC 9110 §5.1).
    pub name: String,
    /// Without the space around it; visible characters, space, tab and bytes from 0x80 on.
    pub value: Vec<u8>,
}

impl Header {
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Without the value: it may be a session's cookie or a password.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{} bytes]", self.name, self.value.len())
    }
}

/// How a request says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// A request that is not forwarded. The connection it came on has no known position any more: the
/// answer closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadRequest {
    pub status: u16,
    /// One sentence that a person can act on; nothing of the request is in it.
    pub reason: &'static str,
}

impl BadRequest {
    /// Says that the request is malformed, or could be read in two ways.
    const fn malformed(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

/// An answer of Mirth that cannot be followed. Its connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadResponse {
    pub reason: &'static str,
}

#[cfg(test)]
mod tests;
