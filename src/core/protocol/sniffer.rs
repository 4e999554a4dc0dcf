//! What else people point at a port for MLLP or DICOM, told by its first bytes so that the log can
//! say what is wrong.

/// What a connection of another protocol begins with.
const FIRST_BYTES: [(&[u8], OtherProtocol); 9] = [
    // A TLS record of type handshake, any version (RFC 8446 §5.1).
    (b"\x16\x03", OtherProtocol::Tls),
    (b"GET ", OtherProtocol::Http),
    (b"HEAD ", OtherProtocol::Http),
    (b"POST ", OtherProtocol::Http),
    (b"PUT ", OtherProtocol::Http),
    (b"DELETE ", OtherProtocol::Http),
    (b"OPTIONS ", OtherProtocol::Http),
    (b"CONNECT ", OtherProtocol::Http),
    (b"PRI * ", OtherProtocol::Http),
];
const FIRST_BYTES_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherProtocol {
    Tls,
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// More bytes are needed.
    Unsure,
    Known(OtherProtocol),
    /// It is none of these protocols.
    Unknown,
}

/// Recognizes a protocol by the first bytes of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProtocolSniffer {
    held: [u8; FIRST_BYTES_MAX],
    length: usize,
}

impl ProtocolSniffer {
    /// Takes the next byte; must not be called again once it returned another than [`Sniffed::Unsure`].
    pub(super) fn push(&mut self, byte: u8) -> Sniffed {
        let Some(place) = self.held.get_mut(self.length) else { return Sniffed::Unknown };
        *place = byte;
        self.length += 1;
        let held = &self.held[..self.length];
        match FIRST_BYTES.iter().find(|(first_bytes, _)| first_bytes.starts_with(held)) {
            Some((first_bytes, protocol)) if first_bytes.len() == self.length => Sniffed::Known(*protocol),
            Some(_) => Sniffed::Unsure,
            None => Sniffed::Unknown,
        }
    }

    #[must_use]
    pub(super) const fn length(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_known_exactly_at_the_byte_that_tells() {
        for (first_bytes, protocol) in FIRST_BYTES {
            let mut seen = ProtocolSniffer::default();
            let (last, first) = first_bytes.split_last().unwrap();
            for byte in first {
                assert_eq!(seen.push(*byte), Sniffed::Unsure, "{}", first_bytes.escape_ascii());
            }
            assert_eq!(seen.push(*last), Sniffed::Known(protocol));
        }
    }

    #[test]
    fn what_fits_no_protocol_is_unknown_without_being_kept_beyond_the_longest() {
        for bytes in [&b"\x0b"[..], b"\x16\x04", b"GETS", b"PUSH", b"\x01"] {
            let mut seen = ProtocolSniffer::default();
            let sniffed: Vec<_> = bytes.iter().map(|byte| seen.push(*byte)).collect();
            assert_eq!(sniffed.last(), Some(&Sniffed::Unknown), "{}", bytes.escape_ascii());
        }
        let mut seen = ProtocolSniffer::default();
        let last = b"CONNECT xyz".map(|byte| seen.push(byte)).last().copied();
        assert_eq!((last, seen.length()), (Some(Sniffed::Unknown), FIRST_BYTES_MAX));
    }
}
