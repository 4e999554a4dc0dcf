//! Reads along on one TCP connection that carries HL7 v2 over MLLP: message types, acknowledgement
//! codes and how long the receiver took. It never alters, delays or keeps what passes.
//!
//! A frame is `<VT> message <FS><CR>` (HL7 MLLP Release 1). Of a message only MSH-9 and MSA-1 are
//! looked at (HL7 v2.5.1 §2.15.9, §2.15.8). Acknowledgements belong to messages in their order
//! (§2.9), which is what a sender on one connection assumes too; MSA-2 is not read. What is no MLLP
//! turns the observer off for the connection and is named once.

mod header;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use header::{Header, Progress};
use memchr::memchr;

use super::sniffer::{OtherProtocol, ProtocolSniffer, Sniffed};
use crate::domain::limits::MLLP_AWAITED_MAX;

const START: u8 = 0x0b;
const END: u8 = 0x1c;
const CARRIAGE_RETURN: u8 = 0x0d;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MllpEvent {
    /// A message has passed whole.
    Message { kind: MessageType },
    /// A response has passed whole. `kind` is its message's type; `latency` runs from the message's
    /// last byte. Without a message that it could belong to there is neither.
    Ack { code: AckCode, kind: MessageType, latency: Option<Duration> },
    /// Nothing more will be seen on this connection.
    Off { why: OffReason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffReason {
    #[error("the client speaks TLS; the tunnel encrypts already, so let it send plain MLLP")]
    TlsClientHello,
    #[error("the client speaks HTTP; this port carries MLLP")]
    HttpRequest,
    #[error("bytes outside of MLLP frames")]
    Unparsable,
    #[error("a message header without an end")]
    HeaderTooLong,
}

impl From<OtherProtocol> for OffReason {
    fn from(protocol: OtherProtocol) -> Self {
        match protocol {
            OtherProtocol::Tls => Self::TlsClientHello,
            OtherProtocol::Http => Self::HttpRequest,
        }
    }
}

/// MSH-9's first two components, such as `ADT^A01`: capitals, digits and `_` only, so that nothing
/// else of a message can pass for one. Everything else is `other`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType {
    text: [u8; Self::BYTES_MAX],
    length: u8,
}

impl MessageType {
    const BYTES_MAX: usize = 15;

    pub const OTHER: Self = Self { text: *b"other\0\0\0\0\0\0\0\0\0\0", length: 5 };

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length.into()]).unwrap_or("other")
    }

    /// Reads `code` and `trigger` as they stand in the message; a trigger may be missing.
    fn from_components(code: &[u8], trigger: &[u8]) -> Option<Self> {
        let is_name = |part: &[u8]| {
            part.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
        };
        if code.is_empty() || !is_name(code) || !is_name(trigger) {
            return None;
        }
        let joint = usize::from(!trigger.is_empty());
        let length = code.len() + joint + trigger.len();
        let mut text = [0; Self::BYTES_MAX];
        let room = text.get_mut(..length)?;
        let (head, tail) = room.split_at_mut(code.len());
        head.copy_from_slice(code);
        if let Some((joint, tail)) = tail.split_first_mut() {
            *joint = b'^';
            tail.copy_from_slice(trigger);
        }
        Some(Self { text, length: u8::try_from(length).ok()? })
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// MSA-1, HL7 table 0008.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckCode {
    Aa,
    Ae,
    Ar,
    Ca,
    Ce,
    Cr,
    /// No MSA-1, or none of the table's.
    Other,
}

impl AckCode {
    pub const ALL: [Self; 7] = [Self::Aa, Self::Ae, Self::Ar, Self::Ca, Self::Ce, Self::Cr, Self::Other];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aa => "AA",
            Self::Ae => "AE",
            Self::Ar => "AR",
            Self::Ca => "CA",
            Self::Ce => "CE",
            Self::Cr => "CR",
            Self::Other => "other",
        }
    }

    fn from_field(field: &[u8]) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str().as_bytes() == field).unwrap_or(Self::Other)
    }
}

impl fmt::Display for AckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Both directions of one TCP connection.
#[derive(Debug, Default)]
pub struct MllpObserver {
    requests: Direction,
    responses: Direction,
    awaited: VecDeque<(MessageType, Instant)>,
    /// Messages that came while `awaited` was full, all after those in it.
    unremembered: u64,
    is_off: bool,
}

impl MllpObserver {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes from the sender of messages.
    pub fn request(&mut self, bytes: &[u8], now: Instant, emit: &mut impl FnMut(MllpEvent)) {
        if self.is_off {
            return;
        }
        let (awaited, unremembered) = (&mut self.awaited, &mut self.unremembered);
        let seen = self.requests.observe(bytes, MessageRole::Request, &mut |found: Header| {
            let kind = found.kind();
            if *unremembered == 0 && awaited.len() < MLLP_AWAITED_MAX {
                awaited.push_back((kind, now));
            } else {
                *unremembered = unremembered.saturating_add(1);
            }
            emit(MllpEvent::Message { kind });
        });
        self.stop_after(seen, emit);
    }

    /// Takes the next bytes from the receiver of messages.
    pub fn response(&mut self, bytes: &[u8], now: Instant, emit: &mut impl FnMut(MllpEvent)) {
        if self.is_off {
            return;
        }
        let (awaited, unremembered) = (&mut self.awaited, &mut self.unremembered);
        let seen = self.responses.observe(bytes, MessageRole::Response, &mut |found: Header| {
            let code = found.code();
            emit(if let Some((kind, sent)) = awaited.pop_front() {
                MllpEvent::Ack { code, kind, latency: Some(now.saturating_duration_since(sent)) }
            } else {
                *unremembered = unremembered.saturating_sub(1);
                MllpEvent::Ack { code, kind: MessageType::OTHER, latency: None }
            });
        });
        self.stop_after(seen, emit);
    }

    /// Returns whether a message that has begun is not whole or not acknowledged; `None` where nothing is
    /// observed.
    #[must_use]
    pub fn owes(&self) -> Option<bool> {
        let is_awaited = !self.awaited.is_empty() || self.unremembered > 0;
        (!self.is_off).then(|| is_awaited || self.requests.is_within() || self.responses.is_within())
    }

    /// Returns whether a message has begun and is not whole.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.requests.is_within()
    }

    fn stop_after(&mut self, seen: Result<(), OffReason>, emit: &mut impl FnMut(MllpEvent)) {
        if let Err(why) = seen {
            *self = Self { is_off: true, ..Self::default() };
            emit(MllpEvent::Off { why });
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageRole {
    Request,
    Response,
}

/// Where one direction stands.
#[derive(Debug)]
enum Direction {
    /// Nothing but what may still become a stranger's greeting.
    Opening(ProtocolSniffer),
    Between,
    /// In the part of a message that is looked at.
    Header(Header),
    /// In the rest of a message; `is_ending` after an end byte that needs its carriage return.
    Body {
        found: Header,
        is_ending: bool,
    },
}

impl Default for Direction {
    fn default() -> Self {
        Self::Opening(ProtocolSniffer::default())
    }
}

impl Direction {
    const fn is_within(&self) -> bool {
        match self {
            Self::Opening(_) | Self::Between => false,
            Self::Header(_) | Self::Body { .. } => true,
        }
    }

    /// Goes through `bytes` once. A message's body is only searched for its end.
    fn observe(
        &mut self,
        mut bytes: &[u8],
        role: MessageRole,
        frame: &mut impl FnMut(Header),
    ) -> Result<(), OffReason> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self {
                Self::Body { is_ending: false, .. } => {
                    let Some(end) = memchr(END, bytes) else { return Ok(()) };
                    bytes = &bytes[end + 1..];
                    self.on_end_byte();
                    continue;
                }
                Self::Body { found, is_ending } => match byte {
                    CARRIAGE_RETURN => {
                        if !found.is_empty() {
                            frame(*found);
                        }
                        *self = Self::Between;
                    }
                    END => {}
                    _ => *is_ending = false,
                },
                Self::Header(_) if byte == END => self.on_end_byte(),
                Self::Header(header) => match header.push(byte, role) {
                    Progress::More => {}
                    Progress::Done => *self = Self::Body { found: *header, is_ending: false },
                    Progress::TooLong => return Err(OffReason::HeaderTooLong),
                },
                Self::Opening(sniffer) if role == MessageRole::Request => match sniffer.push(byte) {
                    Sniffed::Unsure => {}
                    Sniffed::Known(protocol) => return Err(protocol.into()),
                    Sniffed::Unknown if sniffer.length() == 1 => *self = Self::outside(byte)?,
                    // Letters that became no greeting are no MLLP either.
                    Sniffed::Unknown => return Err(OffReason::Unparsable),
                },
                Self::Opening(_) | Self::Between => *self = Self::outside(byte)?,
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Reads what stands outside frames: line ends, blanks and zeros between frames are known from the field
    /// and mean nothing.
    fn outside(byte: u8) -> Result<Self, OffReason> {
        match byte {
            START => Ok(Self::Header(Header::default())),
            b'\r' | b'\n' | b' ' | 0 => Ok(Self::Between),
            _ => Err(OffReason::Unparsable),
        }
    }

    fn on_end_byte(&mut self) {
        if let Self::Header(found) | Self::Body { found, .. } = self {
            *self = Self::Body { found: *found, is_ending: true };
        }
    }
}

#[cfg(test)]
mod tests;
