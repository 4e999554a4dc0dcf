//! What else people point at a port for MLLP or DICOM, told by its first bytes so that the log can
//! say what is wrong.

/// First bytes, and who says them.
const GREETINGS: [(&[u8], Stranger); 9] = [
    // A TLS record of type handshake, any version (RFC 8446 §5.1).
    (b"\x16\x03", Stranger::Tls),
    (b"GET ", Stranger::Http),
    (b"HEAD ", Stranger::Http),
    (b"POST ", Stranger::Http),
    (b"PUT ", Stranger::Http),
    (b"DELETE ", Stranger::Http),
    (b"OPTIONS ", Stranger::Http),
    (b"CONNECT ", Stranger::Http),
    (b"PRI * ", Stranger::Http),
];
const GREETING_BYTES_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    Tls,
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// It may still become a greeting.
    Unsure,
    Known(Stranger),
    /// It is none.
    Unknown,
}

/// The first bytes of a connection, as long as they may become a greeting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Greeting {
    held: [u8; GREETING_BYTES_MAX],
    length: usize,
}

impl Greeting {
    /// Not to be asked again once it is not unsure.
    pub fn push(&mut self, byte: u8) -> Guess {
        let Some(place) = self.held.get_mut(self.length) else { return Guess::Unknown };
        *place = byte;
        self.length += 1;
        let held = &self.held[..self.length];
        match GREETINGS.iter().find(|(greeting, _)| greeting.starts_with(held)) {
            Some((greeting, stranger)) if greeting.len() == self.length => Guess::Known(*stranger),
            Some(_) => Guess::Unsure,
            None => Guess::Unknown,
        }
    }

    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_greeting_is_known_at_its_last_byte_and_not_before() {
        for (greeting, stranger) in GREETINGS {
            let mut seen = Greeting::default();
            let (last, first) = greeting.split_last().unwrap();
            for byte in first {
                assert_eq!(seen.push(*byte), Guess::Unsure, "{}", greeting.escape_ascii());
            }
            assert_eq!(seen.push(*last), Guess::Known(stranger));
        }
    }

    #[test]
    fn what_leaves_every_greeting_is_unknown_and_nothing_is_kept_beyond_the_longest() {
        for bytes in [&b"\x0b"[..], b"\x16\x04", b"GETS", b"PUSH", b"\x01"] {
            let mut seen = Greeting::default();
            let guesses: Vec<_> = bytes.iter().map(|byte| seen.push(*byte)).collect();
            assert_eq!(guesses.last(), Some(&Guess::Unknown), "{}", bytes.escape_ascii());
        }
        let mut seen = Greeting::default();
        let last = b"CONNECT xyz".map(|byte| seen.push(byte)).last().copied();
        assert_eq!((last, seen.length()), (Some(Guess::Unknown), GREETING_BYTES_MAX));
    }
}
