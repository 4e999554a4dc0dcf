//! What a stand-in knows of HL7 v2: MLLP frames, the fields of MSH, and how an acknowledgement is
//! written (HL7 v2.5.1 §2.9.2, original mode). Payloads are bytes; nothing else of them is read.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::STAND_IN_MESSAGE_BYTES_MAX;

const START: u8 = 0x0b;
const END: [u8; 2] = [0x1c, 0x0d];

/// Wraps a message in the start and end marks of MLLP.
#[must_use]
pub fn frame(payload: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(payload.len() + 3);
    framed.extend_from_slice(&[START]);
    framed.extend_from_slice(payload);
    framed.extend_from_slice(&END);
    framed.freeze()
}

/// Finds the messages in a byte stream, however it was cut.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no end mark.
    scanned: usize,
    payload_bytes_max: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::with_limit(STAND_IN_MESSAGE_BYTES_MAX)
    }
}

impl FrameReader {
    fn with_limit(payload_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, payload_bytes_max }
    }

    /// Returns where to read the next bytes into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(16 * 1024);
        &mut self.buffer
    }

    /// Returns whether the stream stands inside a message.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Returns the next whole message, or `None` until more bytes are there.
    pub fn poll_message(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        if first != START {
            return Err(FrameError::MissingStart { found: first });
        }
        let unseen = &self.buffer[self.scanned..];
        let end = memchr::memmem::find(unseen, &END).map(|at| self.scanned + at);
        // Unfinished, the last byte may be the first half of the end mark.
        if end.unwrap_or(self.buffer.len() - 1) > self.payload_bytes_max + 1 {
            return Err(FrameError::TooLong { bytes_max: self.payload_bytes_max });
        }
        let Some(end) = end else {
            self.scanned = self.buffer.len() - 1;
            return Ok(None);
        };
        let mut payload = self.buffer.split_to(end).freeze();
        payload.advance(1);
        self.buffer.advance(END.len());
        self.scanned = 0;
        Ok(Some(payload))
    }
}

/// A stream that is not MLLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("an MLLP message starts with 0x0b, the peer sent {found:#04x}")]
    MissingStart { found: u8 },
    #[error("the peer's message is longer than {bytes_max} bytes, the most a stand-in takes")]
    TooLong { bytes_max: usize },
}

/// Acknowledgement codes of the original mode (HL7 table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AckCode {
    /// Application accept.
    Aa,
    /// Application error.
    Ae,
    /// Application reject.
    Ar,
}

impl fmt::Display for AckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aa => "AA",
            Self::Ae => "AE",
            Self::Ar => "AR",
        })
    }
}

/// The header segment of a message, field by field.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    segment: &'a [u8],
    separator: u8,
}

impl<'a> Header<'a> {
    /// Reads a message; `None` when the message does not start with an MSH segment.
    #[must_use]
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr2(b'\r', b'\n', message).unwrap_or(message.len());
        let segment = &message[..end];
        let separator = *segment.strip_prefix(b"MSH")?.first()?;
        Some(Self { segment, separator })
    }

    /// Returns MSH-`number`; empty when absent. MSH-1 is the separator itself, so it is not asked for here.
    #[must_use]
    pub fn field(&self, number: usize) -> &'a [u8] {
        self.segment.split(|&byte| byte == self.separator).nth(number - 1).unwrap_or_default()
    }

    /// Returns MSH-10.
    #[must_use]
    pub fn control_id(&self) -> String {
        String::from_utf8_lossy(self.field(10)).into_owned()
    }

    /// Returns MSH-9 as written, such as `ADT^A01^ADT_A01`.
    #[must_use]
    pub fn message_type(&self) -> String {
        String::from_utf8_lossy(self.field(9)).into_owned()
    }
}

/// Writes the acknowledgement of `message` (HL7 v2.5.1 §2.9.2.2): sender and receiver swapped,
/// MSH-9 `ACK^event^ACK`, processing id and version echoed, MSA-2 the message's MSH-10. What has no
/// readable header is rejected.
#[must_use]
pub fn acknowledge(message: &[u8], code: AckCode, own_control_id: &str, at: &str) -> Vec<u8> {
    let Some(header) = Header::read(message) else {
        let rejected = format!(
            "MSH|^~\\&|||||{at}||ACK|{own_control_id}|P|2.5.1\rMSA|{}||no MSH segment\r",
            AckCode::Ar
        );
        return rejected.into_bytes();
    };
    let component = header.field(2).first().copied().unwrap_or(b'^');
    let event = header.field(9).split(|&byte| byte == component).nth(1).unwrap_or_default();
    let acknowledgement_type = match event {
        [] => b"ACK".to_vec(),
        event => [b"ACK".as_slice(), event, b"ACK"].join(&component),
    };
    let fields: [&[u8]; 12] = [
        b"MSH",
        header.field(2),
        header.field(5),
        header.field(6),
        header.field(3),
        header.field(4),
        at.as_bytes(),
        b"",
        &acknowledgement_type,
        own_control_id.as_bytes(),
        header.field(11),
        header.field(12),
    ];
    let mut written = fields.join(&header.separator);
    written.extend_from_slice(b"\rMSA");
    for field in [code.to_string().as_bytes(), header.field(10)] {
        written.push(header.separator);
        written.extend_from_slice(field);
    }
    written.push(b'\r');
    written
}

/// Returns what an acknowledgement says: MSA-1 and MSA-2.
#[must_use]
pub fn read_acknowledgement(message: &[u8]) -> Option<(AckCode, String)> {
    let header = Header::read(message)?;
    let msa = message.split(|&byte| byte == b'\r').find(|segment| segment.starts_with(b"MSA"))?;
    let mut fields = msa.split(|&byte| byte == header.separator).skip(1);
    let code = match fields.next()? {
        b"AA" => AckCode::Aa,
        b"AE" => AckCode::Ae,
        b"AR" => AckCode::Ar,
        _ => return None,
    };
    Some((code, String::from_utf8_lossy(fields.next()?).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read_all(limit: usize, chunks: &[&[u8]]) -> Result<Vec<Bytes>, FrameError> {
        let mut reader = FrameReader::with_limit(limit);
        let mut messages = Vec::new();
        for chunk in chunks {
            reader.buffer().extend_from_slice(chunk);
            while let Some(message) = reader.poll_message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_cut_at_any_byte_read_the_same() {
        let wire = b"\x0bMSH|^~\\&|LAB\r\x1c\r\x0b\x1c\x1c\r";
        for cut in 0..wire.len() {
            let messages = read_all(64, &[&wire[..cut], &wire[cut..]]);
            let expected = vec![Bytes::from_static(b"MSH|^~\\&|LAB\r"), Bytes::from_static(b"\x1c")];
            assert_eq!(messages, Ok(expected), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_message_is_read_exactly_up_to_the_limit() {
        assert_eq!(read_all(4, &[b"\x0b1234\x1c\r"]), Ok(vec![Bytes::from_static(b"1234")]));
        assert_eq!(read_all(4, &[b"\x0b12345\x1c\r"]), Err(FrameError::TooLong { bytes_max: 4 }));
        assert_eq!(read_all(4, &[b"\x0b1234", b"56"]), Err(FrameError::TooLong { bytes_max: 4 }));
        assert_eq!(read_all(4, &[b"GET /"]), Err(FrameError::MissingStart { found: b'G' }));
    }

    #[test]
    fn an_acknowledgement_names_its_message_with_the_parties_swapped() {
        let message = b"MSH|^~\\&|ADT|LAKE|LAB|MARY|20260101||ADT^A01^ADT_A01|77|T|2.3\rPID|1\r";
        let written = acknowledge(message, AckCode::Ae, "A1", "20260102");
        let expected = "MSH|^~\\&|LAB|MARY|ADT|LAKE|20260102||ACK^A01^ACK|A1|T|2.3\rMSA|AE|77\r";
        assert_eq!(String::from_utf8_lossy(&written), expected);
        assert_eq!(read_acknowledgement(&written), Some((AckCode::Ae, "77".into())));
    }

    #[test]
    fn an_acknowledgement_keeps_the_message_s_own_separators() {
        let message = b"MSH#*~\\&#ADT#LAKE#LAB#MARY#20260101##ADT*A01#77#P#2.3";
        let written = acknowledge(message, AckCode::Aa, "A1", "20260102");
        let expected = "MSH#*~\\&#LAB#MARY#ADT#LAKE#20260102##ACK*A01*ACK#A1#P#2.3\rMSA#AA#77\r";
        assert_eq!(String::from_utf8_lossy(&written), expected);
    }

    #[test]
    fn what_has_no_header_is_rejected() {
        let written = acknowledge(b"hello", AckCode::Aa, "A1", "20260102");
        assert_eq!(read_acknowledgement(&written), Some((AckCode::Ar, String::new())));
    }
}
