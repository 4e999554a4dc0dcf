//! Requests on the wire: however the bytes are cut, they say the same; and what is written of them is
//! read again as the same request and nothing more.

use std::net::{IpAddr, Ipv4Addr};

use bytes::{Bytes, BytesMut};

use adit_mirth::http::{BadRequest, BodyWriter, Framing, RequestHead, RequestPart, RequestReader};

const FORWARDED_FOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// One request as it was read, its body joined.
#[derive(Debug, PartialEq)]
struct Request {
    head: RequestHead,
    body: Vec<u8>,
    is_whole: bool,
}

#[derive(Debug, PartialEq)]
struct Conversation {
    requests: Vec<Request>,
    refused: Option<BadRequest>,
}

pub fn check(data: &[u8]) {
    let whole = read([data].into_iter());
    assert_eq!(read(data.chunks(1)), whole, "byte by byte");
    assert_eq!(read(pieces(data).into_iter()), whole, "in pieces");
    for request in whole.requests.iter().filter(|request| request.is_whole) {
        check_written(request);
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Conversation {
    let mut reader = RequestReader::new();
    let mut buffer = BytesMut::new();
    let mut talk = Conversation { requests: Vec::new(), refused: None };
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match reader.read(&mut buffer) {
                Ok(None) => break,
                Ok(Some(part)) => talk.take(part),
                Err(refused) => {
                    assert_eq!(reader.read(&mut buffer), Err(refused), "a refusal stands");
                    assert!((400..600).contains(&refused.status) && !refused.reason.is_empty());
                    talk.refused = Some(refused);
                    return talk;
                }
            }
        }
        assert!(buffer.len() <= 40 * 1024, "holds no more than a head");
    }
    talk
}

impl Conversation {
    fn take(&mut self, part: RequestPart) {
        match part {
            RequestPart::Head(head) => {
                assert!(self.requests.last().is_none_or(|last| last.is_whole), "the last request ended");
                self.requests.push(Request { head, body: Vec::new(), is_whole: false });
            }
            RequestPart::Data(bytes) => self.open().body.extend_from_slice(&bytes),
            RequestPart::End => self.open().is_whole = true,
        }
    }

    fn open(&mut self) -> &mut Request {
        self.requests.last_mut().filter(|last| !last.is_whole).expect("a request is open")
    }
}

fn check_written(request: &Request) {
    let Request { head, body, .. } = request;
    assert!(head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic()));
    match head.framing {
        Framing::None => assert!(body.is_empty()),
        Framing::Length(length) => assert_eq!(length, body.len() as u64),
        Framing::Chunked => {}
    }
    let wire = written(request);
    check_lines(&wire, head);
    let talk = read([wire.as_slice()].into_iter());
    // What we add ourselves may be one header too many for us.
    if head.headers.len() > 97 && talk.refused.is_some_and(|refused| refused.status == 431) {
        return;
    }
    assert_eq!((talk.requests.len(), talk.refused), (1, None), "{}", wire.escape_ascii());
    let again = &talk.requests[0];
    assert!(again.is_whole);
    assert_eq!((&again.head.method, &again.head.target, &again.body), (&head.method, &head.target, body));
    assert_eq!((again.head.host(), again.head.closes), (head.host(), head.closes));
    assert!(again.head.forwarded_headers().eq(head.forwarded_headers()));
    assert_eq!(written(again), wire);
}

fn written(request: &Request) -> Vec<u8> {
    let Request { head, body, .. } = request;
    let mut out = BytesMut::new();
    head.write(&head.target, head.framing, FORWARDED_FOR, &mut out);
    let mut writer = BodyWriter::new(head.framing);
    if !body.is_empty() {
        writer.data(&Bytes::copy_from_slice(body), &mut out);
        out.extend_from_slice(body);
    }
    writer.end(&mut out);
    out.to_vec()
}

/// No line more than there are headers, and none that a lenient reader would cut in two.
fn check_lines(wire: &[u8], head: &RequestHead) {
    let end = wire.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    let text = &wire[..end];
    let own = 1 + usize::from(head.closes) + usize::from(head.framing != Framing::None);
    let lines = text.split(|byte| *byte == b'\n').count();
    assert_eq!(lines, 1 + head.forwarded_headers().count() + own);
    let mut last = 0;
    for byte in text {
        assert!((*byte == b'\n') == (last == b'\r'), "CR and LF come in pairs");
        assert!(matches!(*byte, b'\t' | b'\r' | b'\n' | b' '..=b'~' | 0x80..));
        last = *byte;
    }
}

/// Cuts that differ from input to input and are the same for the same one.
fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut state =
        data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut rest = data;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (piece, after) = rest.split_at(((state >> 33) % 40 + 1).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
