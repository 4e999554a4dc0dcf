//! An answer of Mirth on its way to a view-only partner, masked: held until something of it may pass, and
//! framed again, since its length changes.

use bytes::{Bytes, BytesMut};

use adit_core::domain::limits;
use adit_mirth::http::{BodyWriter, Framing, ResponseFraming, ResponseHead};
use adit_mirth::mask::{Masker, Scope, Unmaskable};

/// They speak of the bytes as Mirth sent them.
const OF_THE_BYTES: [&str; 6] =
    ["etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"];

pub(super) struct Masking {
    /// Until it is sent.
    head: Option<ResponseHead>,
    masker: Masker,
    masked: BytesMut,
    /// A short one is sent whole, with its length.
    is_short: bool,
    writer: BodyWriter,
}

impl Masking {
    pub(super) fn new(scope: Scope, mut head: ResponseHead) -> Result<Self, Unmaskable> {
        head.headers.retain(|header| !OF_THE_BYTES.iter().any(|name| header.is(name)));
        let masker = match head.framing {
            // The head of an answer without a body; what length one would have is not known.
            ResponseFraming::None => {
                head.declared = ResponseFraming::None;
                Masker::Text
            }
            _ => Masker::new(scope, head.header("content-type"), head.header("content-encoding"))?,
        };
        let is_short =
            matches!(head.framing, ResponseFraming::Length(bytes) if bytes <= limits::MASK_WHOLE_BYTES_MAX);
        let writer = BodyWriter::new(Framing::None);
        Ok(Self { head: Some(head), masker, masked: BytesMut::new(), is_short, writer })
    }

    /// Returns whether nothing of the answer has been given out.
    pub(super) const fn is_unsent(&self) -> bool {
        self.head.is_some()
    }

    /// Takes a piece of the body and gives what may be sent. `closes` as for the head.
    pub(super) fn piece(&mut self, piece: &[u8], closes: bool) -> Result<[Bytes; 2], Unmaskable> {
        self.masker.mask(piece, &mut self.masked)?;
        // Mirth's chunks may be small, and each piece that is sent costs the same.
        if self.is_short || self.masked.len() < limits::MASK_SENT_BYTES_MIN {
            return Ok([Bytes::new(), Bytes::new()]);
        }
        Ok(self.sent(closes))
    }

    /// Returns what is left once the body is whole.
    pub(super) fn end(mut self, closes: bool) -> Result<[Bytes; 2], Unmaskable> {
        let masker = std::mem::replace(&mut self.masker, Masker::Text);
        masker.finish(&mut self.masked)?;
        // Nothing was sent, so the whole of it is here.
        if let Some(head) =
            self.head.as_mut().filter(|head| matches!(head.framing, ResponseFraming::Length(_)))
        {
            let length = ResponseFraming::Length(self.masked.len() as u64);
            (head.framing, head.declared) = (length, length);
        }
        let [framing, body] = self.sent(closes);
        let mut after = BytesMut::from(body);
        self.writer.end(&mut after);
        Ok([framing, after.freeze()])
    }

    /// Returns the head, unless it was sent, and framing; then the bytes that are at hand.
    fn sent(&mut self, closes: bool) -> [Bytes; 2] {
        let mut own = BytesMut::with_capacity(if self.head.is_some() { 1024 } else { 32 });
        if let Some(mut head) = self.head.take() {
            let framing = self.framing(head.framing);
            if let Framing::Chunked = framing {
                head.declared = ResponseFraming::Chunked;
            }
            self.writer = BodyWriter::new(framing);
            head.write(closes, &mut own);
        }
        let body = self.masked.split().freeze();
        self.writer.data(&body, &mut own);
        [own.freeze(), body]
    }

    fn framing(&self, framing: ResponseFraming) -> Framing {
        match framing {
            ResponseFraming::Length(_) if !self.is_short && !self.masker.is_idle() => Framing::Chunked,
            ResponseFraming::Chunked => Framing::Chunked,
            ResponseFraming::None | ResponseFraming::Length(_) | ResponseFraming::UntilClose => Framing::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_mirth::http::Header;

    fn head(content_type: &str, framing: ResponseFraming) -> ResponseHead {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        ResponseHead {
            status: 200,
            reason: b"OK".to_vec(),
            headers: vec![header("Content-Type", content_type), header("ETag", "x"), header("X-A", "b")],
            framing,
            declared: framing,
            origin_closes: false,
        }
    }

    fn masked(head: ResponseHead, pieces: &[&[u8]]) -> String {
        let mut masking = Masking::new(Scope::Named, head).expect("a known type");
        let mut wire = Vec::new();
        for piece in pieces {
            wire.extend(masking.piece(piece, false).expect("is masked").concat());
        }
        wire.extend(masking.end(false).expect("is whole").concat());
        String::from_utf8(wire).expect("is text")
    }

    const XML: &[u8] = b"<a><password>x</password></a>";
    const MASKED: &str = "<a><password>********</password></a>";

    #[test]
    fn a_short_answer_says_its_new_length_without_a_tag_of_its_old_bytes() {
        let (before, after) = XML.split_at(14);
        let wire = masked(head("application/xml", ResponseFraming::Length(29)), &[before, after]);
        let expected = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nX-A: b\r\nContent-Length: 36\r\n\r\n{MASKED}"
        );
        assert_eq!(wire, expected);
    }

    #[test]
    fn a_long_answer_goes_on_in_chunks() {
        let long = vec![b'x'; limits::MASK_SENT_BYTES_MIN];
        let framing = ResponseFraming::Length(limits::MASK_WHOLE_BYTES_MAX + 1);
        let wire = masked(head("application/xml", framing), &[b"<a>", &long, b"</a>"]);
        assert!(wire.contains("Transfer-Encoding: chunked\r\n") && !wire.contains("Content-Length"));
        assert!(wire.ends_with("x\r\n4\r\n</a>\r\n0\r\n\r\n"), "{}", &wire[wire.len() - 40..]);
    }

    #[test]
    fn an_answer_in_chunks_goes_on_in_chunks() {
        let wire = masked(head("application/xml", ResponseFraming::Chunked), &[XML, b"\n"]);
        let body = wire.split_once("\r\n\r\n").expect("has a head").1;
        assert_eq!(body, format!("25\r\n{MASKED}\n\r\n0\r\n\r\n"));
        assert!(wire.contains("Transfer-Encoding: chunked\r\n") && !wire.contains("Content-Length"));
    }

    #[test]
    fn small_pieces_of_a_long_answer_are_sent_together() {
        let mut masking = Masking::new(Scope::Named, head("application/xml", ResponseFraming::Chunked))
            .expect("a known type");
        let mut sent = Vec::new();
        let mut piece = |masking: &mut Masking, bytes: &[u8]| {
            sent.push(masking.piece(bytes, false).expect("is masked").concat().len());
        };
        piece(&mut masking, b"<a>");
        for _ in 0..limits::MASK_SENT_BYTES_MIN / 1024 {
            piece(&mut masking, &[b'x'; 1024]);
        }
        let last = sent.pop().expect("was asked");
        assert!(sent.iter().all(|bytes| *bytes == 0) && last > limits::MASK_SENT_BYTES_MIN);
    }

    #[test]
    fn what_changes_in_nothing_keeps_its_length_however_long() {
        let bytes = limits::MASK_WHOLE_BYTES_MAX + 1;
        let rest = "x".repeat(usize::try_from(bytes).expect("fits") - 6);
        let wire = masked(head("text/plain", ResponseFraming::Length(bytes)), &[b"plain ", rest.as_bytes()]);
        let body = wire.split_once("\r\n\r\n").expect("has a head").1;
        assert!(wire.contains("Content-Length: 65537\r\n") && body == format!("plain {rest}"));
    }

    #[test]
    fn an_answer_that_lasts_until_the_connection_ends_still_does() {
        let wire = masked(head("application/xml", ResponseFraming::UntilClose), &[XML]);
        assert!(wire.contains("Connection: close\r\n") && wire.ends_with(MASKED), "{wire}");
        assert!(!wire.contains("chunked"), "{wire}");
    }

    #[test]
    fn the_head_of_an_answer_without_a_body_tells_no_length() {
        let mut head = head("application/xml", ResponseFraming::None);
        head.declared = ResponseFraming::Length(29);
        let wire = masked(head, &[]);
        assert!(!wire.contains("Content-Length") && wire.ends_with("\r\n\r\n"), "{wire}");
    }

    #[test]
    fn nothing_of_an_answer_goes_out_before_something_of_it_is_masked() {
        let mut masking = Masking::new(Scope::Named, head("application/xml", ResponseFraming::Chunked))
            .expect("a known type");
        assert!(masking.piece(b"{}", false).is_err() && masking.is_unsent());
    }
}
