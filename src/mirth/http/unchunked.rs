//! The body of an answer without its framing, for those that are rewritten.

use super::chunked::{Chunks, Piece};
use super::response::ResponseFraming;

/// Takes what a [`super::ResponseReader`] handed out, which it has followed and found well-formed.
#[derive(Debug)]
pub struct Unchunked(Option<Chunks>);

impl Unchunked {
    #[must_use]
    pub fn new(framing: ResponseFraming) -> Self {
        Self((framing == ResponseFraming::Chunked).then(Chunks::new))
    }

    /// Hands each piece of the body in `bytes` to `take`. The reader splits no framing.
    pub fn data(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let Some(chunks) = &mut self.0 else { return take(bytes) };
        loop {
            let length = match chunks.next(bytes) {
                Ok(Piece::Framing(length) | Piece::End(length)) => length,
                Ok(Piece::Data(length)) => {
                    take(&bytes[..length]);
                    length
                }
                Ok(Piece::Incomplete) | Err(_) => return,
            };
            bytes = &bytes[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::{ResponsePart, ResponseReader};
    use super::*;

    #[test]
    fn a_body_in_chunks_is_the_same_cut_at_any_byte() {
        let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<jnlp\r\n1\r\n>\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            let mut reader = ResponseReader::new();
            reader.expect("GET");
            let mut plain = Unchunked::new(ResponseFraming::Chunked);
            let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
            for piece in [&wire[..cut], &wire[cut..]] {
                buffer.extend_from_slice(piece);
                while let Some(part) = reader.read(&mut buffer, false).unwrap() {
                    if let ResponsePart::Data(bytes) = part {
                        plain.data(&bytes, |bytes| body.extend_from_slice(bytes));
                    }
                }
            }
            assert_eq!(body, b"<jnlp>", "cut at {cut}");
        }
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Returns the body that a reader finds whole before the connection ends.
    fn whole(chunks: &[u8]) -> Option<Vec<u8>> {
        let mut reader = ResponseReader::new();
        reader.expect("GET");
        let mut plain = Unchunked::new(ResponseFraming::Chunked);
        let (mut buffer, mut body) = (BytesMut::from(&[HEAD, chunks].concat()[..]), Vec::new());
        loop {
            match reader.read(&mut buffer, true).ok()?? {
                ResponsePart::Data(bytes) => plain.data(&bytes, |bytes| body.extend_from_slice(bytes)),
                ResponsePart::End { .. } => return Some(body),
                ResponsePart::Interim | ResponsePart::Head(_) => {}
            }
        }
    }

    #[test]
    fn only_whole_chunks_are_joined() {
        assert_eq!(whole(b"4\r\n4.5.\r\n1\r\n2\r\n0\r\n\r\n").unwrap(), b"4.5.2");
        assert_eq!(whole(b"0\r\n\r\n").unwrap(), b"");
        for broken in [&b"4\r\n4.5"[..], b"", b"x\r\n", b"ffffffffffffffff\r\nx"] {
            assert_eq!(whole(broken), None);
        }
    }
}
