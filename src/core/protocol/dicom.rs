//! Reads along on one TCP connection that carries DICOM: associations with their AE titles, C-STORE
//! requests with their size, status and how long the receiver took, all other requests by name. It
//! never alters, delays or keeps what passes.
//!
//! Looked at are the PDUs of the upper layer (PS3.8 §9.3) and the command set of a message (PS3.7
//! §6.3.1), both in passing; data sets are only counted. A connection carries one association (PS3.8
//! §9.1), within which either side may send requests (C-GET, PS3.7 §9.1.3). What contradicts itself or
//! the standard turns the observer off for the connection and is named once.

mod command;
mod pdu;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

pub use command::{Operation, Status, StatusClass};

use self::command::{CommandKind, DimseCommand};
use self::pdu::{PduReader, Piece};
use super::sniffer::OtherProtocol;
use crate::domain::limits::DICOM_AWAITED_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DicomEvent {
    /// An association was asked for.
    Requested {
        titles: Titles,
    },
    Accepted {
        titles: Titles,
    },
    Rejected {
        titles: Titles,
        rejection: Rejection,
    },
    /// The command of a C-STORE has passed; its object follows.
    StoreRequested,
    /// The response to a C-STORE has passed. `bytes` is the length of the object, `latency` runs from
    /// its last byte; both are zero and none for a response to no object that was seen whole.
    Stored {
        status: Status,
        bytes: u64,
        latency: Option<Duration>,
    },
    /// Any other request.
    Called {
        operation: Operation,
    },
    /// The association ended in order.
    Released,
    Aborted {
        abort: Abort,
    },
    /// Nothing more will be seen on this connection.
    Off {
        why: OffReason,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffReason {
    #[error("the client speaks TLS; the tunnel encrypts already, so let it send plain DICOM")]
    TlsClientHello,
    #[error("the client speaks HTTP; this port carries DICOM")]
    HttpRequest,
    #[error("no DICOM association request at the start")]
    NotDicom,
    #[error("bytes that DICOM's upper layer does not allow there")]
    Unparsable,
    #[error("an association request or a command longer than any in use")]
    TooLong,
}

impl From<OtherProtocol> for OffReason {
    fn from(protocol: OtherProtocol) -> Self {
        match protocol {
            OtherProtocol::Tls => Self::TlsClientHello,
            OtherProtocol::Http => Self::HttpRequest,
        }
    }
}

/// Who asked for an association, and whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Titles {
    pub calling: AeTitle,
    pub called: AeTitle,
}

/// The name of an application entity: 1 to 16 printable characters without a backslash, blanks at its
/// ends without meaning (PS3.5 §6.2, AE). Everything else is `unreadable`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AeTitle {
    text: [u8; Self::BYTES],
    length: u8,
}

impl AeTitle {
    const BYTES: usize = 16;

    pub const UNREADABLE: Self = Self { text: *b"unreadable\0\0\0\0\0\0", length: 10 };

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length.into()]).unwrap_or("unreadable")
    }

    /// Reads a title as it stands in the PDU. Some pad with NUL.
    fn from_field(field: &[u8; Self::BYTES]) -> Self {
        let is_title = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        let end = field.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
        let title = field[..end].trim_ascii_start();
        if title.is_empty() || !title.iter().all(is_title) {
            return Self::UNREADABLE;
        }
        let mut text = [0; Self::BYTES];
        text[..title.len()].copy_from_slice(title);
        Self { text, length: u8::try_from(title.len()).unwrap_or(0) }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an association was refused: result, source and reason (PS3.8 §9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    pub result: u8,
    pub source: u8,
    pub reason: u8,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = if self.result == 2 { "for now" } else { "for good" };
        let why = match (self.source, self.reason) {
            (1, 2) => "application context not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "no reason given",
        };
        write!(f, "{lasting}: {why}")
    }
}

/// Who broke an association off, and why (PS3.8 §9.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    pub by: Aborter,
    /// Meaningful from the provider only.
    pub reason: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aborter {
    /// An application: somebody stopped it, or it gave up.
    User,
    /// The protocol machine below it: what it received made no sense to it.
    Provider,
}

impl Aborter {
    pub const ALL: [Self; 2] = [Self::User, Self::Provider];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Provider => "provider",
        }
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match (self.by, self.reason) {
            (Aborter::User, _) => return f.write_str("by the application"),
            (Aborter::Provider, 1) => "unrecognized PDU",
            (Aborter::Provider, 2) => "unexpected PDU",
            (Aborter::Provider, 4) => "unrecognized PDU parameter",
            (Aborter::Provider, 5) => "unexpected PDU parameter",
            (Aborter::Provider, 6) => "invalid PDU parameter value",
            (Aborter::Provider, _) => "no reason given",
        };
        write!(f, "by the protocol: {why}")
    }
}

/// Both directions of one TCP connection.
#[derive(Debug)]
pub struct DicomObserver {
    requestor: Peer,
    acceptor: Peer,
    stage: Stage,
}

impl Default for DicomObserver {
    fn default() -> Self {
        Self::new()
    }
}

/// One end of the association and what it sends.
#[derive(Debug)]
struct Peer {
    reader: PduReader,
    /// C-STOREs it sent whose response is awaited, the oldest first.
    awaited: VecDeque<Awaited>,
    asked_for_release: bool,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    message: u16,
    /// Length of the object and when its last byte passed, once that is so.
    whole: Option<(u64, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Requested(Titles),
    Open,
    /// Ended, or no longer observed.
    Over,
}

/// Why no more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The association is; what may follow in the other direction means nothing (PS3.8 §9.2).
    Over,
    Off(OffReason),
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requestor,
    Acceptor,
}

const UNPARSABLE: End = End::Off(OffReason::Unparsable);

impl DicomObserver {
    #[must_use]
    pub fn new() -> Self {
        let peer = |reader| Peer { reader, awaited: VecDeque::new(), asked_for_release: false };
        Self {
            requestor: peer(PduReader::opening()),
            acceptor: peer(PduReader::default()),
            stage: Stage::Idle,
        }
    }

    /// Takes the next bytes from the side that opened the TCP connection.
    pub fn request(&mut self, bytes: &[u8], now: Instant, emit: &mut impl FnMut(DicomEvent)) {
        self.observe(Side::Requestor, bytes, now, emit);
    }

    /// Takes the next bytes from the side that accepted it.
    pub fn response(&mut self, bytes: &[u8], now: Instant, emit: &mut impl FnMut(DicomEvent)) {
        self.observe(Side::Acceptor, bytes, now, emit);
    }

    /// Returns whether an association was asked for and has not ended.
    #[must_use]
    pub const fn is_associated(&self) -> bool {
        match self.stage {
            Stage::Requested(_) | Stage::Open => true,
            Stage::Idle | Stage::Over => false,
        }
    }

    fn observe(&mut self, side: Side, bytes: &[u8], now: Instant, emit: &mut impl FnMut(DicomEvent)) {
        if self.stage == Stage::Over {
            return;
        }
        let (peer, other) = match side {
            Side::Requestor => (&mut self.requestor, &mut self.acceptor),
            Side::Acceptor => (&mut self.acceptor, &mut self.requestor),
        };
        let Peer { reader, awaited, asked_for_release } = peer;
        let mut conversation = Conversation { stage: &mut self.stage, awaited, asked_for_release, other };
        let ended = reader.observe(bytes, &mut |piece| conversation.on(side, piece, now, emit));
        if let Err(end) = ended {
            *self = Self { stage: Stage::Over, ..Self::new() };
            if let End::Off(why) = end {
                emit(DicomEvent::Off { why });
            }
        }
    }
}

/// What a piece of the stream may change: of the side that sent it, and of the other.
struct Conversation<'a> {
    stage: &'a mut Stage,
    awaited: &'a mut VecDeque<Awaited>,
    asked_for_release: &'a mut bool,
    other: &'a mut Peer,
}

impl Conversation<'_> {
    fn on(
        &mut self,
        side: Side,
        piece: Piece,
        now: Instant,
        emit: &mut impl FnMut(DicomEvent),
    ) -> Result<(), End> {
        match (piece, *self.stage, side) {
            (Piece::AssociationRequest(titles), Stage::Idle, Side::Requestor) => {
                *self.stage = Stage::Requested(titles);
                emit(DicomEvent::Requested { titles });
            }
            (Piece::AssociationAccept, Stage::Requested(titles), Side::Acceptor) => {
                *self.stage = Stage::Open;
                emit(DicomEvent::Accepted { titles });
            }
            (Piece::AssociationReject(rejection), Stage::Requested(titles), Side::Acceptor) => {
                emit(DicomEvent::Rejected { titles, rejection });
                return Err(End::Over);
            }
            (Piece::DimseCommand(command), Stage::Open, _) => self.on_command(command, now, emit),
            (Piece::DataSet { store, bytes }, Stage::Open, _) => self.on_data_set(store, bytes, now),
            (Piece::ReleaseRequest, Stage::Open, _) => *self.asked_for_release = true,
            (Piece::ReleaseResponse, Stage::Open, _) if self.other.asked_for_release => {
                emit(DicomEvent::Released);
                return Err(End::Over);
            }
            (Piece::Abort(abort), Stage::Requested(_) | Stage::Open, _) => {
                emit(DicomEvent::Aborted { abort });
                return Err(End::Over);
            }
            // A PDU that its sender may not send then (PS3.8 §9.2.3).
            _ => return Err(UNPARSABLE),
        }
        Ok(())
    }

    fn on_command(&mut self, command: DimseCommand, now: Instant, emit: &mut impl FnMut(DicomEvent)) {
        match (command.kind, command.operation) {
            (CommandKind::Request { message }, Operation::CStore) => {
                if self.awaited.len() < DICOM_AWAITED_MAX {
                    let whole = (!command.has_data_set).then_some((0, now));
                    self.awaited.push_back(Awaited { message, whole });
                }
                emit(DicomEvent::StoreRequested);
            }
            (CommandKind::Request { .. }, operation) => emit(DicomEvent::Called { operation }),
            (CommandKind::Response { to, status }, Operation::CStore) => {
                let awaited = &mut self.other.awaited;
                let place = awaited.iter().position(|awaited| awaited.message == to);
                let whole = place.and_then(|place| awaited.remove(place)).and_then(|found| found.whole);
                let bytes = whole.map_or(0, |(bytes, _)| bytes);
                let latency = whole.map(|(_, since)| now.saturating_duration_since(since));
                emit(DicomEvent::Stored { status, bytes, latency });
            }
            (CommandKind::Response { .. }, _) => {}
        }
    }

    /// Notes the end of a data set: an object that was answered before it was whole is awaited no more (PS3.7
    /// §9.1.1.2).
    fn on_data_set(&mut self, store: Option<u16>, bytes: u64, now: Instant) {
        let mut last_first = self.awaited.iter_mut().rev();
        if let Some(awaited) = last_first.find(|awaited| Some(awaited.message) == store) {
            awaited.whole = Some((bytes, now));
        }
    }
}

#[cfg(test)]
mod tests;
