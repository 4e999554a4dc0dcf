//! Rewrites heads and body framing, so that only what was read and understood goes on.

use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::response::{ResponseFraming, ResponseHead};
use super::{Framing, Header, RequestHead};

impl RequestHead {
    /// Appends the request as it goes to Mirth: `target` as it was judged, the headers in their order
    /// as they were named, then our own.
    pub fn write(&self, target: &str, framing: Framing, forwarded_for: IpAddr, out: &mut BytesMut) {
        for part in [self.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            out.put_slice(part.as_bytes());
        }
        for header in self.forwarded_headers() {
            put_unspaced(header, out);
        }
        put_line("X-Forwarded-For", forwarded_for, out);
        if self.closes {
            put_line("Connection", "close", out);
        }
        match framing {
            Framing::None => {}
            Framing::Length(bytes) => put_line("Content-Length", bytes, out),
            Framing::Chunked => put_line("Transfer-Encoding", "chunked", out),
        }
        out.put_slice(b"\r\n");
    }
}

/// The framing of one body that we send: what goes before each piece of it and after the last.
#[derive(Debug)]
pub struct BodyWriter {
    framing: Framing,
    has_begun: bool,
}

impl BodyWriter {
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self { framing, has_begun: false }
    }

    /// Appends what goes before `bytes`, which the caller sends right after it. A chunk's closing CR LF
    /// goes out before the next one, so that bytes need not be copied to stand between the two.
    pub fn data(&mut self, bytes: &Bytes, out: &mut BytesMut) {
        // A chunk of no bytes would end the body.
        if self.framing != Framing::Chunked || bytes.is_empty() {
            return;
        }
        self.put_chunk_end(out);
        put(format_args!("{:x}\r\n", bytes.len()), out);
        self.has_begun = true;
    }

    /// Appends what goes after the last piece.
    pub fn end(&mut self, out: &mut BytesMut) {
        if self.framing == Framing::Chunked {
            self.put_chunk_end(out);
            out.put_slice(b"0\r\n\r\n");
        }
    }

    fn put_chunk_end(&self, out: &mut BytesMut) {
        if self.has_begun {
            out.put_slice(b"\r\n");
        }
    }
}

/// Headers of an answer that speak of Mirth's connection, not of ours (RFC 9110 §7.6.1), and those
/// that are written from what was understood.
const OF_THE_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl ResponseHead {
    /// Appends the answer's head as it goes to the client. `closes`: the client's connection ends after
    /// it, as it always does after a body that ends with the connection.
    pub fn write(&self, closes: bool, out: &mut BytesMut) {
        put(format_args!("HTTP/1.1 {} ", self.status), out);
        out.put_slice(&self.reason);
        out.put_slice(b"\r\n");
        let passes = |header: &&Header| !OF_THE_HOP.iter().any(|name| header.is(name));
        for header in self.headers.iter().filter(passes) {
            put_header(header, out);
        }
        if closes || self.framing == ResponseFraming::UntilClose {
            put_line("Connection", "close", out);
        }
        match self.declared {
            ResponseFraming::Length(bytes) => put_line("Content-Length", bytes, out),
            ResponseFraming::Chunked => put_line("Transfer-Encoding", "chunked", out),
            ResponseFraming::None | ResponseFraming::UntilClose => {}
        }
        out.put_slice(b"\r\n");
    }
}

/// Writes a header without the usual space after the colon (RFC 9112 §5 lets it be missing). Jetty 9.4
/// remembers on each connection what followed `Authorization: `, `Cookie: ` and others, compares later values
/// with that without regard to letter case or bit 7, and puts the remembered one in the place of what it
/// finds. So two logins that are harmless could be made into one of the user `bypass`.
fn put_unspaced(header: &Header, out: &mut BytesMut) {
    out.reserve(header.name.len() + header.value.len() + 3);
    out.put_slice(header.name.as_bytes());
    out.put_slice(b":");
    out.put_slice(&header.value);
    out.put_slice(b"\r\n");
}

fn put_header(header: &Header, out: &mut BytesMut) {
    out.reserve(header.name.len() + header.value.len() + 4);
    out.put_slice(header.name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(&header.value);
    out.put_slice(b"\r\n");
}

pub(super) fn put_line(name: &str, value: impl Display, out: &mut BytesMut) {
    put(format_args!("{name}: {value}\r\n"), out);
}

pub(super) fn put(text: std::fmt::Arguments<'_>, out: &mut BytesMut) {
    out.write_fmt(text).expect("a buffer that grows takes what is written to it");
}
