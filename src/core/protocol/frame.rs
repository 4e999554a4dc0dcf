//! What the two ends of a tunnel tell each other beside the data: frames on the tunnel's first
//! stream after the proofs, and the codes with which streams and tunnels are cut.
//!
//! A frame is one type byte and QUIC variable-length integers (RFC 9000 §16). No frame carries
//! payload. The four types of 0.1.0 have no length of their own, and none is longer than 17 bytes; types
//! from 0x40 on are followed by the length of what they hold, so that who does not know one reads past it.
//! They are sent only to a peer that agreed on [`super::open::ALPN_SKIPPING`]: 0.1.0 ends a tunnel over them.

use bytes::{Buf, BufMut, BytesMut};

use crate::domain::limits::FRAME_HELD_BYTES_MAX;

/// First byte of every data stream: a stream that carries nothing yet is invisible to the far side, and a
/// client that waits for its server to speak first would wait forever.
pub const STREAM_HEADER: u8 = 0x01;

const VARINT_MAX: u64 = (1 << 62) - 1;

const CREDIT: u8 = 0x01;
const CUT: u8 = 0x02;
const MIRTH: u8 = 0x03;
const STOPPING: u8 = 0x04;
/// The first of the types that tell their length.
const LENGTH_TOLD: u8 = 0x40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelFrame {
    /// `stream` may now carry bytes up to `limit`, counted from its start.
    Credit { stream: u64, limit: u64 },
    /// The sender's socket behind `stream` was reset after `at` bytes: deliver those, then reset.
    /// (A QUIC reset alone would discard what the receiver has not read yet; TCP does not.)
    Cut { stream: u64, at: u64 },
    /// Whether the Mirth behind the target accepts connections.
    Mirth { answers: bool },
    /// The sender's agent stops: no TCP connection may start any more, what waits for an answer may end, and
    /// the source closes the tunnel once nothing does.
    Stopping,
    /// A newer peer's, read past.
    Unknown { kind: u8 },
}

impl TunnelFrame {
    /// Appends the frame. QUIC numbers streams and bytes below 2^62, so nothing is ever cut to fit.
    pub fn encode(&self, to: &mut impl BufMut) {
        match *self {
            Self::Credit { stream, limit } => {
                to.put_u8(CREDIT);
                put_varint(to, stream);
                put_varint(to, limit);
            }
            Self::Cut { stream, at } => {
                to.put_u8(CUT);
                put_varint(to, stream);
                put_varint(to, at);
            }
            Self::Mirth { answers } => to.put_slice(&[MIRTH, u8::from(answers)]),
            Self::Stopping => to.put_u8(STOPPING),
            Self::Unknown { kind } => to.put_slice(&[kind | LENGTH_TOLD, 0]),
        }
    }
}

fn put_varint(to: &mut impl BufMut, value: u64) {
    let value = value.min(VARINT_MAX);
    let bytes = value.to_be_bytes();
    // The two top bits say how many bytes follow: 1, 2, 4 or 8.
    let (length, prefix) = match value {
        0..=0x3f => (1, 0x00),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        _ => (8, 0xc0),
    };
    let bytes = &bytes[8 - length..];
    to.put_u8(bytes[0] | prefix);
    to.put_slice(&bytes[1..]);
}

/// Reads frames from a stream that arrives in pieces. Holds what was handed in and not yet asked
/// for, so its owner bounds it by asking for all frames before handing in more.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame. After an error the stream means nothing any more.
    pub fn next_frame(&mut self) -> Result<Option<TunnelFrame>, FrameError> {
        let mut rest = &self.buffer[..];
        let frame = parse(&mut rest)?;
        if frame.is_some() {
            let taken = self.buffer.len() - rest.len();
            self.buffer.advance(taken);
        }
        Ok(frame)
    }
}

/// Takes a frame from the front of `bytes`; `None` while they are a proper prefix of one.
fn parse(bytes: &mut &[u8]) -> Result<Option<TunnelFrame>, FrameError> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
    *bytes = rest;
    Ok(match kind {
        CREDIT => two_varints(bytes).map(|(stream, limit)| TunnelFrame::Credit { stream, limit }),
        CUT => two_varints(bytes).map(|(stream, at)| TunnelFrame::Cut { stream, at }),
        MIRTH => {
            let Some((&answers, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            match answers {
                0 => Some(TunnelFrame::Mirth { answers: false }),
                1 => Some(TunnelFrame::Mirth { answers: true }),
                found => return Err(FrameError::NoTruth { found }),
            }
        }
        STOPPING => Some(TunnelFrame::Stopping),
        LENGTH_TOLD.. => return past(kind, bytes),
        found => return Err(FrameError::UnknownType { found }),
    })
}

/// Reads past what a frame of a type that tells its length holds.
fn past(kind: u8, bytes: &mut &[u8]) -> Result<Option<TunnelFrame>, FrameError> {
    let Some(length) = take_varint(bytes) else { return Ok(None) };
    let held = usize::try_from(length).ok().filter(|held| *held <= FRAME_HELD_BYTES_MAX);
    let held = held.ok_or(FrameError::TooLong { kind, found: length })?;
    let Some((_, rest)) = bytes.split_at_checked(held) else { return Ok(None) };
    *bytes = rest;
    Ok(Some(TunnelFrame::Unknown { kind }))
}

fn two_varints(bytes: &mut &[u8]) -> Option<(u64, u64)> {
    Some((take_varint(bytes)?, take_varint(bytes)?))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let (encoded, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    *bytes = rest;
    let head = u64::from(first & 0x3f);
    Some(encoded[1..].iter().fold(head, |value, byte| value << 8 | u64::from(*byte)))
}

/// The peer's frames cannot be read: close the tunnel with [`Code::Protocol`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "the peer sent a tunnel frame of unknown type {found:#04x}; both agents must run the same version"
    )]
    UnknownType { found: u8 },
    #[error(
        "the peer sent a tunnel frame of type {kind:#04x} with {found} bytes, at most {FRAME_HELD_BYTES_MAX} are read past"
    )]
    TooLong { kind: u8, found: u64 },
    #[error("the peer reported its Mirth with {found} where 0 or 1 must stand")]
    NoTruth { found: u8 },
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Application error codes of `RESET_STREAM`, `STOP_SENDING` and `CONNECTION_CLOSE`: why one
        /// side cut a stream or the tunnel. They never say more than the peer may know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        pub enum Code {
            $($(#[$doc])* #[error($text)] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the code as it travels.
            #[must_use]
            pub const fn to_u32(self) -> u32 {
                match self { $(Self::$name => $code,)* }
            }

            #[must_use]
            pub const fn from_u64(number: u64) -> Option<Self> {
                match number { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The TCP connection at that end was reset.
    Cut = 0x01, "the TCP connection at the other end was reset";
    DialFailed = 0x02, "the target's Mirth did not accept the connection";
    Paused = 0x03, "the connection is paused";
    /// The other end carries as many streams as its `streams_max` allows.
    Full = 0x04, "the other end carries as many connections as its `streams_max` allows";
    /// The opening was refused. Unknown, unlisted and wrong all look like this.
    Refused = 0x10, "the other end refused the tunnel";
    /// Terminated, revoked, disconnected or no longer active.
    Ended = 0x11, "the connection was ended";
    Stalled = 0x12, "the tunnel was silent for longer than the stall limit";
    /// The process is shutting down.
    Goodbye = 0x13, "the other end is stopping";
    /// The other side broke the protocol.
    Protocol = 0x14, "the protocol was broken";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_cut_at_any_byte_decodes_the_same() {
        let frames = [
            TunnelFrame::Credit { stream: 0, limit: 262_144 },
            TunnelFrame::Cut { stream: 4_611_686_018_427_387_903, at: 64 },
            TunnelFrame::Mirth { answers: true },
            TunnelFrame::Credit { stream: 63, limit: 16_383 },
            TunnelFrame::Stopping,
            TunnelFrame::Mirth { answers: false },
        ];
        let wire = encode_all(&frames);
        for cut in 0..=wire.len() {
            let decoded = decode_all(&[&wire[..cut], &wire[cut..]]);
            assert_eq!(decoded, Ok(frames.to_vec()), "cut at byte {cut}");
        }
        let single: Vec<_> = wire.chunks(1).collect();
        assert_eq!(decode_all(&single), Ok(frames.to_vec()));
    }

    #[test]
    fn integers_take_the_shortest_of_their_four_lengths() {
        // The examples of RFC 9000 §A.1 and both sides of every boundary.
        for (value, encoded) in [
            (0, "00"),
            (37, "25"),
            (63, "3f"),
            (64, "4040"),
            (15_293, "7bbd"),
            (16_383, "7fff"),
            (16_384, "80004000"),
            (494_878_333, "9d7f3e7d"),
            (1_073_741_823, "bfffffff"),
            (1_073_741_824, "c000000040000000"),
            (151_288_809_941_952_652, "c2197c5eff14e88c"),
            (VARINT_MAX, "ffffffffffffffff"),
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(hex::encode(&bytes), encoded);
            assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        }
        // §A.1: two bytes may also encode 37.
        assert_eq!(take_varint(&mut &[0x40, 0x25][..]), Some(37));
    }

    #[test]
    fn an_unknown_type_or_truth_value_is_an_error() {
        assert_eq!(decode_all(&[&[0x00]]), Err(FrameError::UnknownType { found: 0 }));
        assert_eq!(decode_all(&[&[0x05]]), Err(FrameError::UnknownType { found: 5 }));
        assert_eq!(decode_all(&[&[0x3f]]), Err(FrameError::UnknownType { found: 0x3f }));
        assert_eq!(decode_all(&[&[MIRTH, 2]]), Err(FrameError::NoTruth { found: 2 }));
    }

    #[test]
    fn a_frame_that_tells_its_length_is_read_past() {
        for held in [0, 1, 63, 64, FRAME_HELD_BYTES_MAX] {
            let mut wire = encode_all(&[TunnelFrame::Stopping]);
            wire.push(0x7f);
            put_varint(&mut wire, u64::try_from(held).unwrap());
            wire.extend(vec![0xee; held]);
            wire.extend(encode_all(&[TunnelFrame::Mirth { answers: true }]));
            let expected = vec![
                TunnelFrame::Stopping,
                TunnelFrame::Unknown { kind: 0x7f },
                TunnelFrame::Mirth { answers: true },
            ];
            for cut in 0..=wire.len() {
                let decoded = decode_all(&[&wire[..cut], &wire[cut..]]);
                assert_eq!(decoded.as_ref(), Ok(&expected), "{held} bytes, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_frame_that_tells_too_great_a_length_is_refused_before_it_comes() {
        let mut wire = vec![0x40];
        put_varint(&mut wire, u64::try_from(FRAME_HELD_BYTES_MAX + 1).unwrap());
        let found = u64::try_from(FRAME_HELD_BYTES_MAX + 1).unwrap();
        assert_eq!(decode_all(&[&wire]), Err(FrameError::TooLong { kind: 0x40, found }));
    }

    #[test]
    fn a_decoder_holds_no_more_than_an_unfinished_frame() {
        let frame = TunnelFrame::Cut { stream: VARINT_MAX, at: VARINT_MAX };
        let wire = encode_all(&[frame]);
        assert_eq!(wire.len(), 17);
        let mut decoder = Decoder::default();
        for _ in 0..1_000 {
            decoder.extend(&wire);
            decoder.extend(&wire[..16]);
            assert_eq!(decoder.next_frame(), Ok(Some(frame)));
            assert_eq!(decoder.next_frame(), Ok(None));
            assert_eq!(decoder.buffer.len(), 16);
            decoder.extend(&wire[16..]);
            assert_eq!(decoder.next_frame(), Ok(Some(frame)));
            assert!(decoder.buffer.is_empty());
        }
    }

    #[test]
    fn only_known_codes_read_back() {
        for &code in Code::ALL {
            assert_eq!(Code::from_u64(code.to_u32().into()), Some(code));
        }
        assert_eq!(Code::from_u64(0), None);
        assert_eq!(Code::from_u64(u64::MAX), None);
    }

    fn encode_all(frames: &[TunnelFrame]) -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames {
            frame.encode(&mut wire);
        }
        wire
    }

    fn decode_all(pieces: &[&[u8]]) -> Result<Vec<TunnelFrame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.extend(piece);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(wire in prop::collection::vec(0_u8..6, 0..200), more in any::<Vec<u8>>()) {
            let _ = decode_all(&[&wire, &more]);
        }

        #[test]
        fn any_frame_reads_back(stream in 0..=VARINT_MAX, at in 0..=VARINT_MAX) {
            for frame in [TunnelFrame::Credit { stream, limit: at }, TunnelFrame::Cut { stream, at }] {
                prop_assert_eq!(decode_all(&[&encode_all(&[frame])]), Ok(vec![frame]));
            }
        }
    }
}
