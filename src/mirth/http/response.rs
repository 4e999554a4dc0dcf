//! Follows Mirth's answers on one connection, to know where each ends and what may be said to the
//! client about it (RFC 9112 §6.3). Mirth is trusted but may fail: what cannot be followed ends the
//! connection. Bodies pass as they came, with their framing.

use bytes::{Buf, Bytes, BytesMut};

use super::chunked::{Chunks, Piece, split_off};
use super::field::{Field, decimal, elements, is_value};
use super::lines::{Line, Lines};
use super::{BadResponse, Header};
use adit_core::domain::limits::{ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    None,
    Length(u64),
    Chunked,
    /// The body lasts until Mirth closes the connection.
    UntilClose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    /// The reason phrase; often empty.
    pub reason: Vec<u8>,
    pub headers: Vec<Header>,
    /// How the body that follows is framed.
    pub framing: ResponseFraming,
    /// The framing that the head speaks of. An answer to HEAD, and a 304, may say what a body would have
    /// had, with none following (RFC 9110 §8.6).
    pub declared: ResponseFraming,
    /// Mirth closes its connection after this answer.
    pub origin_closes: bool,
}

impl ResponseHead {
    /// Returns the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.is(name)).map(|header| header.value.as_slice())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponsePart {
    /// An interim answer (1xx) was read and dropped: `100 Continue` is ours to send.
    Interim,
    Head(ResponseHead),
    /// Bytes as they came, chunk framing included unless it was asked to be left out.
    Data(Bytes),
    /// `origin_closes`: Mirth's connection is of no use for another request.
    End {
        origin_closes: bool,
    },
}

/// Reads the answers of one connection. After an error every further read gives the same one.
#[derive(Debug)]
pub struct ResponseReader {
    state: State,
    lines: Lines,
    origin_closes: bool,
    /// Of the answer that is being read, only the body's own bytes are handed out.
    is_bare: bool,
}

#[derive(Debug)]
enum State {
    /// No request is open.
    Idle,
    /// In the head of the answer; `to_head`: the request was a HEAD.
    Head {
        to_head: bool,
        open: Option<OpenHead>,
    },
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    /// All bytes of the answer have been handed out.
    Over,
    Failed(BadResponse),
}

#[derive(Debug)]
struct OpenHead {
    status: u16,
    reason: Vec<u8>,
    headers: Vec<Header>,
    bytes_left: usize,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseReader {
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Idle, lines: Lines::default(), origin_closes: false, is_bare: false }
    }

    /// Names the request whose answer comes next: one at a time, after the end of the one before.
    pub fn expect(&mut self, method: &str) {
        self.is_bare = false;
        self.state = match self.state {
            State::Idle => State::Head { to_head: method == "HEAD", open: None },
            State::Failed(failed) => State::Failed(failed),
            State::Head { .. } | State::Length(_) | State::Chunked(_) | State::UntilClose | State::Over => {
                State::Failed(failed("A request was sent to Mirth before the last one was answered."))
            }
        };
    }

    /// Leaves the framing of this answer's body out.
    pub fn leave_framing_out(&mut self) {
        self.is_bare = true;
    }

    /// Takes the next part from the front of `buffer`; none if more bytes are needed. `at_end`: Mirth has
    /// closed its connection in order, and no more will come.
    pub fn read(&mut self, buffer: &mut BytesMut, at_end: bool) -> Result<Option<ResponsePart>, BadResponse> {
        let part = self.read_part(buffer, at_end);
        if let Err(failed) = part {
            self.state = State::Failed(failed);
        }
        part
    }

    fn read_part(
        &mut self,
        buffer: &mut BytesMut,
        at_end: bool,
    ) -> Result<Option<ResponsePart>, BadResponse> {
        let part = match &mut self.state {
            State::Idle if buffer.is_empty() => return Ok(None),
            State::Idle => return Err(failed("Mirth sent more than it was asked for.")),
            State::Head { to_head, open } => {
                let to_head = *to_head;
                match read_head(&mut self.lines, open, buffer)? {
                    Some(open) => Some(self.begin(open, to_head)?),
                    None => None,
                }
            }
            State::Length(0) | State::Over => Some(self.end(buffer)),
            State::Length(left) => {
                let (taken, still_left) = split_off(*left, buffer.len());
                *left = still_left;
                data(buffer, taken)
            }
            State::Chunked(chunks) if self.is_bare => {
                let (bytes, is_over) = take(chunks, buffer)?;
                if is_over {
                    self.state = State::Over;
                    return Ok(Some(self.end(buffer)));
                }
                bytes.map(ResponsePart::Data)
            }
            State::Chunked(chunks) => {
                let (taken, is_over) = follow(chunks, buffer)?;
                if is_over {
                    self.state = State::Over;
                }
                data(buffer, taken)
            }
            State::UntilClose if buffer.is_empty() && at_end => Some(self.end(buffer)),
            State::UntilClose => data(buffer, buffer.len()),
            State::Failed(failed) => return Err(*failed),
        };
        if part.is_none() && at_end {
            return Err(failed("Mirth closed the connection before its answer was complete."));
        }
        Ok(part)
    }

    /// Begins an answer. A whole head has been read: what its answer's body will be.
    fn begin(&mut self, open: OpenHead, to_head: bool) -> Result<ResponsePart, BadResponse> {
        if open.status < 200 {
            self.state = State::Head { to_head, open: None };
            return Ok(ResponsePart::Interim);
        }
        let head = open.end(to_head)?;
        self.origin_closes = head.origin_closes;
        self.state = match head.framing {
            ResponseFraming::None => State::Over,
            ResponseFraming::Length(bytes) => State::Length(bytes),
            ResponseFraming::Chunked => State::Chunked(Chunks::new()),
            ResponseFraming::UntilClose => State::UntilClose,
        };
        Ok(ResponsePart::Head(head))
    }

    /// Ends the answer: bytes beyond the end answer nothing that was asked, and would be taken for the next
    /// answer.
    fn end(&mut self, buffer: &[u8]) -> ResponsePart {
        self.state = State::Idle;
        ResponsePart::End { origin_closes: self.origin_closes || !buffer.is_empty() }
    }
}

impl OpenHead {
    /// Reads `HTTP/1.1 SP 3DIGIT SP reason` (RFC 9112 §4).
    fn start(line: &[u8]) -> Result<Self, BadResponse> {
        const SHAPE: BadResponse = failed("Mirth's answer does not begin with an HTTP/1.1 status line.");
        let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or(SHAPE)?;
        let (digits, reason) = rest.split_at_checked(3).ok_or(SHAPE)?;
        let reason = reason.strip_prefix(b" ").or(reason.is_empty().then_some(reason)).ok_or(SHAPE)?;
        let status = decimal(digits).and_then(|status| u16::try_from(status).ok()).ok_or(SHAPE)?;
        if !(100..600).contains(&status) || !is_value(reason) {
            return Err(SHAPE);
        }
        if status == 101 {
            return Err(failed("Mirth changed the protocol, which nobody asked for."));
        }
        let bytes_left = ADMIN_HEAD_BYTES_MAX - line.len() - 2;
        Ok(Self { status, reason: reason.to_vec(), headers: Vec::new(), bytes_left })
    }

    fn take(&mut self, line: &[u8]) -> Result<(), BadResponse> {
        if self.headers.len() == ADMIN_HEADERS_MAX {
            return Err(failed("Mirth's answer has more than 100 headers."));
        }
        let field = Field::parse(line).map_err(|_| failed("A header of Mirth's answer is malformed."))?;
        self.headers.push(field.to_header());
        self.bytes_left -= line.len() + 2;
        Ok(())
    }

    fn end(self, to_head: bool) -> Result<ResponseHead, BadResponse> {
        let mut declared = self.declared()?;
        let is_bodyless = matches!(self.status, 204 | 304);
        if self.status == 204 {
            declared = ResponseFraming::None;
        }
        let framing = if to_head || is_bodyless { ResponseFraming::None } else { declared };
        let closes =
            self.named("connection").flat_map(elements).any(|option| option.eq_ignore_ascii_case(b"close"));
        Ok(ResponseHead {
            status: self.status,
            reason: self.reason,
            origin_closes: closes || framing == ResponseFraming::UntilClose,
            headers: self.headers,
            framing,
            declared,
        })
    }

    fn declared(&self) -> Result<ResponseFraming, BadResponse> {
        const UNCLEAR: BadResponse = failed("Mirth's answer does not say clearly where it ends.");
        let mut lengths = self.named("content-length");
        let mut codings = self.named("transfer-encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(ResponseFraming::UntilClose),
            (Some(length), None) if lengths.next().is_none() => {
                decimal(length).map(ResponseFraming::Length).ok_or(UNCLEAR)
            }
            (None, Some(coding)) if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(ResponseFraming::Chunked)
            }
            _ => Err(UNCLEAR),
        }
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.is(name)).map(|header| header.value.as_slice())
    }
}

/// Reads on in a head, `open` once its first line is in; gives it back when it is whole.
fn read_head(
    lines: &mut Lines,
    open: &mut Option<OpenHead>,
    buffer: &mut BytesMut,
) -> Result<Option<OpenHead>, BadResponse> {
    loop {
        let bytes_max = open.as_ref().map_or(ADMIN_HEAD_BYTES_MAX, |open| open.bytes_left);
        let line = match lines.next(buffer, bytes_max) {
            Line::Incomplete => return Ok(None),
            Line::TooLong => return Err(failed("The head of Mirth's answer is longer than 32 KiB.")),
            Line::BareLineFeed => return Err(failed("A line of Mirth's answer does not end in CR LF.")),
            Line::Complete(line) => buffer.split_to(line + 2).split_to(line),
        };
        match open {
            None => *open = Some(OpenHead::start(&line)?),
            Some(_) if line.is_empty() => return Ok(open.take()),
            Some(open) => open.take(&line)?,
        }
    }
}

/// Returns how many bytes of `buffer` belong to the body, and whether it ends with them.
fn follow(chunks: &mut Chunks, buffer: &[u8]) -> Result<(usize, bool), BadResponse> {
    let mut taken = 0;
    loop {
        match chunks
            .next(&buffer[taken..])
            .map_err(|_| failed("The chunks of Mirth's answer are malformed."))?
        {
            Piece::Framing(bytes) | Piece::Data(bytes) => taken += bytes,
            Piece::End(bytes) => return Ok((taken + bytes, true)),
            Piece::Incomplete => return Ok((taken, false)),
        }
    }
}

/// Returns the next bytes of the body without their framing, if they have come, and whether it is over.
fn take(chunks: &mut Chunks, buffer: &mut BytesMut) -> Result<(Option<Bytes>, bool), BadResponse> {
    loop {
        let piece = chunks.next(buffer).map_err(|_| failed("The chunks of Mirth's answer are malformed."))?;
        match piece {
            Piece::Framing(bytes) => buffer.advance(bytes),
            Piece::Data(bytes) => return Ok((Some(buffer.split_to(bytes).freeze()), false)),
            Piece::End(bytes) => {
                buffer.advance(bytes);
                return Ok((None, true));
            }
            Piece::Incomplete => return Ok((None, false)),
        }
    }
}

fn data(buffer: &mut BytesMut, bytes: usize) -> Option<ResponsePart> {
    (bytes > 0).then(|| ResponsePart::Data(buffer.split_to(bytes).freeze()))
}

const fn failed(reason: &'static str) -> BadResponse {
    BadResponse { reason }
}
