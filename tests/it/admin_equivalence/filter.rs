//! The access filter without its sockets: bytes of one client connection in, bytes for Mirth out, and
//! what was judged on the way.

use std::net::{IpAddr, Ipv4Addr};

use adit_mirth::body::{self, BodyKind};
use adit_mirth::http::{BodyWriter, Framing, RequestHead, RequestPart, RequestReader};
use adit_mirth::verdict::{Judge, Verdict};
use bytes::{BufMut, BytesMut};

pub(super) const FORWARDED_FOR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A request that went on, as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub head: RequestHead,
    pub target: String,
    pub framing: Framing,
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct FilterOutcome {
    pub forwarded: Vec<Judged>,
    /// Refused or answered in Mirth's place.
    pub kept: usize,
    /// What Mirth is sent.
    pub wire: BytesMut,
    /// The last request's body broke off: its connection to Mirth is cut.
    pub is_cut: bool,
    /// The last request was the connection's last.
    pub closes: bool,
}

/// A request whose end has not been read.
struct Open {
    head: RequestHead,
    goes: Option<(String, BodyKind)>,
    body: BytesMut,
    stream: BodyWriter,
}

/// Everything a client sends over one connection, in the pieces in which it comes.
pub(super) fn filter<'a>(judge: &Judge, pieces: impl IntoIterator<Item = &'a [u8]>) -> FilterOutcome {
    let mut outcome = FilterOutcome::default();
    let mut reader = RequestReader::new();
    let mut buffer = BytesMut::new();
    let mut open: Option<Open> = None;
    for piece in pieces {
        buffer.put_slice(piece);
        loop {
            match reader.read(&mut buffer) {
                Ok(None) => break,
                Ok(Some(RequestPart::Head(head))) => open = Some(outcome.begin(judge, head)),
                Ok(Some(RequestPart::Data(bytes))) => {
                    let open = open.as_mut().expect("a head came before");
                    open.body.put_slice(&bytes);
                    if open.is_stream() {
                        open.stream.data(&bytes, &mut outcome.wire);
                        outcome.wire.put_slice(&bytes);
                    }
                }
                Ok(Some(RequestPart::End)) => {
                    outcome.end(open.take().expect("a head came before"));
                    if outcome.closes {
                        return outcome;
                    }
                }
                Err(_) => {
                    outcome.kept += 1;
                    outcome.is_cut = open.is_some_and(|open| open.is_stream());
                    return outcome;
                }
            }
        }
    }
    outcome.is_cut = open.is_some_and(|open| open.is_stream());
    outcome
}

impl Open {
    fn is_stream(&self) -> bool {
        matches!(self.goes, Some((_, BodyKind::Stream)))
    }
}

impl FilterOutcome {
    fn begin(&mut self, judge: &Judge, head: RequestHead) -> Open {
        let goes = match judge.judge(&head) {
            Verdict::Forward { target, body, .. } => Some((target, body)),
            Verdict::Answer { .. } | Verdict::Refuse { .. } => None,
        };
        if let Some((target, BodyKind::Stream)) = &goes {
            head.write(target, head.framing, FORWARDED_FOR, &mut self.wire);
        }
        let stream = BodyWriter::new(head.framing);
        Open { head, goes, body: BytesMut::new(), stream }
    }

    fn end(&mut self, mut open: Open) {
        self.closes = open.head.closes;
        let is_stream = open.is_stream();
        let Some((target, kind)) = open.goes else {
            self.kept += 1;
            return;
        };
        if is_stream {
            open.stream.end(&mut self.wire);
            let framing = open.head.framing;
            self.forwarded.push(Judged { head: open.head, target, framing, body: open.body.to_vec() });
            return;
        }
        let Ok(body) = body::judge(kind, open.head.header("content-type"), &open.body) else {
            self.kept += 1;
            return;
        };
        let framing = match open.head.framing {
            Framing::None => Framing::None,
            Framing::Length(_) | Framing::Chunked => Framing::Length(body.len() as u64),
        };
        open.head.write(&target, framing, FORWARDED_FOR, &mut self.wire);
        self.wire.put_slice(&body);
        self.forwarded.push(Judged { head: open.head, target, framing, body: body.to_vec() });
    }
}
