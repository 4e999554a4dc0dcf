mod answers;
mod bodies;
mod refusals;
mod requests;
mod responses;
mod vectors;
mod writing;

use bytes::{Bytes, BytesMut};

use super::*;

/// What a reader makes of a connection's bytes: its parts, pieces of one body joined, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReadOutcome {
    parts: Vec<RequestPart>,
    refused: Option<BadRequest>,
    /// Nothing of another request came after the last one.
    is_idle: bool,
}

impl ReadOutcome {
    fn heads(&self) -> Vec<&RequestHead> {
        let parts = self.parts.iter();
        parts.filter_map(|part| if let RequestPart::Head(head) = part { Some(head) } else { None }).collect()
    }

    fn body(&self) -> Vec<u8> {
        let data =
            |part: &RequestPart| if let RequestPart::Data(data) = part { data.to_vec() } else { Vec::new() };
        self.parts.iter().flat_map(data).collect()
    }

    fn has_ended(&self) -> bool {
        self.refused.is_none() && self.is_idle && self.parts.last() == Some(&RequestPart::End)
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> ReadOutcome {
    let mut reader = RequestReader::new();
    let mut buffer = BytesMut::new();
    let mut outcome = ReadOutcome { parts: Vec::new(), refused: None, is_idle: true };
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while outcome.refused.is_none() {
            match reader.read(&mut buffer) {
                Ok(Some(part)) => outcome.push(part),
                Ok(None) => break,
                Err(refused) => outcome.refused = Some(refused),
            }
        }
        outcome.is_idle = reader.is_idle();
        assert_eq!(reader.read(&mut buffer).err(), outcome.refused, "a dead reader stays dead");
    }
    outcome
}

impl ReadOutcome {
    fn push(&mut self, part: RequestPart) {
        if let (RequestPart::Data(more), Some(RequestPart::Data(data))) = (&part, self.parts.last_mut()) {
            *data = Bytes::from([&data[..], more].concat());
        } else {
            self.parts.push(part);
        }
    }
}

/// Reads the same whole, byte by byte, and cut at every CR LF, before, within and after.
#[track_caller]
fn read_at_every_cut(bytes: &[u8]) -> ReadOutcome {
    let whole = read([bytes]);
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    let ends: Vec<_> = memchr::memmem::find_iter(bytes, "\r\n").collect();
    for shift in 0..=2 {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for end in ends.iter().rev() {
            let (before, after) = rest.split_at(end + shift);
            pieces.push(after);
            rest = before;
        }
        pieces.push(rest);
        pieces.reverse();
        assert_eq!(read(pieces), whole, "cut {shift} bytes into every line end");
    }
    whole
}

/// Returns a request with these lines after the request line.
fn get(lines: &str) -> Vec<u8> {
    format!("GET /api/server/version HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

/// Returns a POST with a Host, these lines, and this after its head.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /api/channels/_getSummary HTTP/1.1\r\nHost: mirth:8443\r\n{lines}\r\n{body}").into_bytes()
}
