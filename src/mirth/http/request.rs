//! Requests of one connection, in order: bytes in, heads and bodies out. It keeps no bytes; what it
//! cannot use yet stays in the caller's buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::chunked::{Chunks, Piece, split_off};
use super::field::Field;
use super::lines::{Line, Lines};
use super::rules::{Findings, is_forwarded};
use super::{BadRequest, Framing, Header, request_line};
use adit_core::domain::limits::{ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};

/// A request head with exactly one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Capital letters, digits and the punctuation of a token.
    pub method: String,
    /// As it was sent: visible ASCII that begins with one slash.
    pub target: String,
    pub headers: Vec<Header>,
    pub framing: Framing,
    /// The body comes only after a `100 Continue`, which is ours to send.
    pub expects_continue: bool,
    /// The sender wants the connection closed after the answer.
    pub closes: bool,
}

impl RequestHead {
    /// Returns the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.is(name)).map(|header| header.value.as_slice())
    }

    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.is(name)).map(|header| header.value.as_slice())
    }

    /// Returns name or address, with its port if one was sent.
    #[must_use]
    pub fn host(&self) -> &str {
        self.header("host").and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default()
    }

    /// Returns the headers that go on to Mirth, in order; our own are not among them.
    pub fn forwarded_headers(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().filter(|header| is_forwarded(header))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestPart {
    Head(RequestHead),
    /// Bytes of the body, without their framing.
    Data(Bytes),
    /// The request is over, with or without a body.
    End,
}

/// Reads the requests of one connection. After an error every further read gives the same one.
///
/// The caller appends to the buffer what arrives, and takes nothing from it. After a request that
/// `closes` it is the caller who stops reading (RFC 9112 §9.6).
#[derive(Debug)]
pub struct RequestReader {
    state: State,
    lines: Lines,
}

#[derive(Debug)]
enum State {
    /// At a request line, or at the one empty line that may come before it (RFC 9112 §2.2).
    Start {
        after_empty_line: bool,
    },
    Headers(Box<OpenHead>),
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunks),
    Refused(BadRequest),
}

/// A head whose end has not been read.
#[derive(Debug)]
struct OpenHead {
    method: String,
    target: String,
    headers: Vec<Header>,
    findings: Findings,
    /// What the head may still take of its bound.
    bytes_left: usize,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestReader {
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Start { after_empty_line: false }, lines: Lines::default() }
    }

    /// Takes the next part from the front of `buffer`; none if more bytes are needed.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestPart>, BadRequest> {
        let part = self.read_part(buffer);
        if let Err(refused) = part {
            self.state = State::Refused(refused);
        }
        part
    }

    /// Returns whether nothing of a next request has been read: the connection may be closed without an
    /// answer.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Start { .. }) && !self.lines.has_begun()
    }

    fn read_part(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestPart>, BadRequest> {
        loop {
            match &mut self.state {
                State::Start { after_empty_line } => {
                    let after_empty_line = *after_empty_line;
                    if !self.read_start(after_empty_line, buffer)? {
                        return Ok(None);
                    }
                }
                State::Headers(open) => {
                    let bytes_max = open.bytes_left;
                    let Some(line) = header_line(self.lines.next(buffer, bytes_max))? else {
                        return Ok(None);
                    };
                    if line > 0 {
                        open.take(&buffer[..line])?;
                        buffer.advance(line + 2);
                        continue;
                    }
                    buffer.advance(2);
                    let head = open.end()?;
                    self.state = body(head.framing);
                    return Ok(Some(RequestPart::Head(head)));
                }
                State::Length(0) => return Ok(Some(self.end())),
                State::Length(left) => {
                    let (taken, still_left) = split_off(*left, buffer.len());
                    *left = still_left;
                    return Ok((taken > 0).then(|| data(buffer, taken)));
                }
                State::Chunked(chunks) => match chunks.next(buffer).map_err(BadRequest::malformed)? {
                    Piece::Incomplete => return Ok(None),
                    Piece::Framing(bytes) => buffer.advance(bytes),
                    Piece::Data(bytes) => return Ok(Some(data(buffer, bytes))),
                    Piece::End(bytes) => {
                        buffer.advance(bytes);
                        return Ok(Some(self.end()));
                    }
                },
                State::Refused(refused) => return Err(*refused),
            }
        }
    }

    /// Reads the start; false if the line is not whole.
    fn read_start(&mut self, after_empty_line: bool, buffer: &mut BytesMut) -> Result<bool, BadRequest> {
        match buffer.first() {
            Some(b'\r') if !after_empty_line => {}
            Some(first) => request_line::check_first_byte(*first)?,
            None => return Ok(false),
        }
        let line = match self.lines.next(buffer, request_line::BYTES_MAX) {
            Line::Incomplete => return Ok(false),
            Line::BareLineFeed => return Err(BARE_LINE_FEED),
            Line::TooLong => return Err(request_line::overlong(buffer)),
            Line::Complete(0) => {
                buffer.advance(2);
                self.state = State::Start { after_empty_line: true };
                return Ok(true);
            }
            Line::Complete(line) => line,
        };
        let (method, target) = request_line::parse(&buffer[..line])?;
        self.state = State::Headers(Box::new(OpenHead::new(method, target, line + 2)));
        buffer.advance(line + 2);
        Ok(true)
    }

    fn end(&mut self) -> RequestPart {
        self.state = State::Start { after_empty_line: false };
        RequestPart::End
    }
}

impl OpenHead {
    /// Room for what Mirth's clients send, so that the list rarely grows.
    const HEADERS_USUAL: usize = 16;

    fn new(method: &str, target: &str, bytes: usize) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::with_capacity(Self::HEADERS_USUAL),
            findings: Findings::default(),
            bytes_left: ADMIN_HEAD_BYTES_MAX - bytes,
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), BadRequest> {
        if self.headers.len() == ADMIN_HEADERS_MAX {
            return Err(BadRequest { status: 431, reason: "The request has more than 100 headers." });
        }
        let field = Field::parse(line).map_err(BadRequest::malformed)?;
        self.findings.take(&field)?;
        self.headers.push(field.to_header());
        self.bytes_left -= line.len() + 2;
        Ok(())
    }

    fn end(&mut self) -> Result<RequestHead, BadRequest> {
        let (framing, expects_continue) = self.findings.end()?;
        Ok(RequestHead {
            method: std::mem::take(&mut self.method),
            target: std::mem::take(&mut self.target),
            headers: std::mem::take(&mut self.headers),
            framing,
            expects_continue,
            closes: self.findings.closes,
        })
    }
}

const BARE_LINE_FEED: BadRequest =
    BadRequest::malformed("Every line of a request's head must end in CR LF, not in LF alone.");

/// Returns the length of a whole header line; none if it is not whole.
fn header_line(line: Line) -> Result<Option<usize>, BadRequest> {
    match line {
        Line::Complete(bytes) => Ok(Some(bytes)),
        Line::Incomplete => Ok(None),
        Line::BareLineFeed => Err(BARE_LINE_FEED),
        Line::TooLong => {
            Err(BadRequest { status: 431, reason: "The request's headers are longer than 32 KiB." })
        }
    }
}

const fn body(framing: Framing) -> State {
    match framing {
        Framing::None => State::Length(0),
        Framing::Length(bytes) => State::Length(bytes),
        Framing::Chunked => State::Chunked(Chunks::new()),
    }
}

fn data(buffer: &mut BytesMut, bytes: usize) -> RequestPart {
    RequestPart::Data(buffer.split_to(bytes).freeze())
}
