//! Cuts one direction of a connection into protocol data units (PS3.8 §9.3) and these into the
//! messages they carry (PS3.8 annex E). Every length is checked against the one around it; what no
//! event needs is skipped by its length.

use super::command::{CommandReader, DimseCommand};
use super::{Abort, Aborter, AeTitle, End, OffReason, Rejection, Titles, UNPARSABLE};
use crate::domain::limits::DICOM_ASSOCIATE_BYTES_MAX;
use crate::protocol::sniffer::{ProtocolSniffer, Sniffed};

// PDU types (PS3.8 §9.3.1).
const ASSOCIATE_RQ: u8 = 1;
const ASSOCIATE_AC: u8 = 2;
const ASSOCIATE_RJ: u8 = 3;
const P_DATA_TF: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;
const ABORT: u8 = 7;

/// Version, titles and what is reserved, before the variable items (PS3.8 §9.3.2).
const ASSOCIATE_BYTES_MIN: u32 = 68;
/// Of these, what is read: version, reserved, called and calling AE title.
const ASSOCIATE_HEAD_BYTES: usize = 36;
const ASSOCIATE_REST_BYTES_MIN: u32 = ASSOCIATE_BYTES_MIN - 36;
const SHORT_BYTES: u32 = 4;
/// Length, presentation context and control header of a presentation data value (PS3.8 §9.3.5.1).
const VALUE_HEADER_BYTES: u32 = 6;
/// The two of these that the length counts.
const VALUE_BYTES_MIN: u32 = 2;

/// What is found in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    AssociationRequest(Titles),
    AssociationAccept,
    AssociationReject(Rejection),
    DimseCommand(DimseCommand),
    /// A data set has passed whole; `store` names the C-STORE whose object it is.
    DataSet {
        store: Option<u16>,
        bytes: u64,
    },
    ReleaseRequest,
    ReleaseResponse,
    Abort(Abort),
}

/// Where one direction stands.
#[derive(Debug, Default)]
pub(super) struct PduReader {
    at: At,
    /// The message whose fragments pass. There is one at a time (PS3.8 §E.1).
    message: Option<Message>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// Nothing but what may still become a stranger's greeting.
    Opening(ProtocolSniffer),
    /// Type, reserved, length.
    Header(Gather<6>),
    AssociateHead {
        is_request: bool,
        left: u32,
        head: Gather<ASSOCIATE_HEAD_BYTES>,
    },
    /// In the rest of an association PDU, which says nothing to us.
    AssociateRest {
        found: Piece,
        left: u32,
    },
    /// In one of the PDUs of four bytes.
    Short {
        kind: u8,
        body: Gather<4>,
    },
    /// Before a presentation data value, with `left` bytes of its PDU.
    ValueHeader {
        left: u32,
        header: Gather<6>,
    },
    Fragment(Fragment),
}

impl Default for At {
    fn default() -> Self {
        Self::Header(Gather::default())
    }
}

/// What a presentation data value holds.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    is_last: bool,
    left: u32,
    /// What its PDU holds after it.
    pdu_left: u32,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    context: u8,
    part: Part,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    DimseCommand(CommandReader),
    DataSet { store: Option<u16>, bytes: u64 },
}

impl PduReader {
    /// Makes the reader for the direction that speaks first.
    pub(super) fn opening() -> Self {
        Self { at: At::Opening(ProtocolSniffer::default()), message: None }
    }

    /// Goes through `bytes` once. Data sets are only skipped.
    pub(super) fn observe(
        &mut self,
        mut bytes: &[u8],
        found: &mut impl FnMut(Piece) -> Result<(), End>,
    ) -> Result<(), End> {
        while let Some(&byte) = bytes.first() {
            match &mut self.at {
                At::Opening(sniffer) if sniffer.length() == 0 && byte == ASSOCIATE_RQ => {
                    self.at = At::default();
                }
                At::Opening(sniffer) => {
                    match sniffer.push(byte) {
                        Sniffed::Unsure => {}
                        Sniffed::Known(protocol) => return Err(End::Off(protocol.into())),
                        Sniffed::Unknown => return Err(End::Off(OffReason::NotDicom)),
                    }
                    bytes = &bytes[1..];
                }
                At::Header(header) => {
                    let Some(header) = header.take(&mut bytes) else { return Ok(()) };
                    self.at = begin_pdu(header)?;
                }
                At::AssociateHead { is_request, left, head } => {
                    let Some(head) = head.take(&mut bytes) else { return Ok(()) };
                    let found = associate(*is_request, &head)?;
                    self.at = At::AssociateRest { found, left: *left };
                }
                At::AssociateRest { found: piece, left } => {
                    *left -= skip(*left, &mut bytes);
                    if *left == 0 {
                        let piece = *piece;
                        self.at = At::default();
                        found(piece)?;
                    }
                }
                At::Short { kind, body } => {
                    let Some(body) = body.take(&mut bytes) else { return Ok(()) };
                    let piece = short(*kind, body);
                    self.at = At::default();
                    found(piece)?;
                }
                At::ValueHeader { left, header } => {
                    let Some(header) = header.take(&mut bytes) else { return Ok(()) };
                    let left = *left;
                    let fragment = self.begin_fragment(left, header)?;
                    self.pass_fragment(fragment, &mut bytes, found)?;
                }
                At::Fragment(fragment) => {
                    let fragment = *fragment;
                    self.pass_fragment(fragment, &mut bytes, found)?;
                }
            }
        }
        Ok(())
    }

    /// Begins a fragment; `left` is what the PDU holds from the header on.
    fn begin_fragment(&mut self, left: u32, header: [u8; 6]) -> Result<Fragment, End> {
        let [l0, l1, l2, l3, context, control] = header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let (is_command, is_last) = (control & 1 != 0, control & 2 != 0);
        // Bounds first: the length of a value is its sender's word.
        let room = left - (VALUE_HEADER_BYTES - VALUE_BYTES_MIN);
        if !(VALUE_BYTES_MIN..=room).contains(&length) || context % 2 == 0 {
            return Err(UNPARSABLE);
        }
        match &self.message {
            None if is_command => {
                self.message = Some(Message { context, part: Part::DimseCommand(CommandReader::default()) });
            }
            Some(message) if message.context == context && message.part.is_command() == is_command => {}
            // Data without a command, a command amid data, or another message in between.
            _ => return Err(UNPARSABLE),
        }
        Ok(Fragment { is_last, left: length - VALUE_BYTES_MIN, pdu_left: room - length })
    }

    /// Passes as much of a fragment as is there.
    fn pass_fragment(
        &mut self,
        mut fragment: Fragment,
        bytes: &mut &[u8],
        found: &mut impl FnMut(Piece) -> Result<(), End>,
    ) -> Result<(), End> {
        // A fragment begins only within a message.
        let Some(message) = &mut self.message else { return Err(UNPARSABLE) };
        let before = *bytes;
        let passed = skip(fragment.left, bytes);
        fragment.left -= passed;
        match &mut message.part {
            Part::DimseCommand(reader) => reader.push(&before[..before.len() - bytes.len()])?,
            Part::DataSet { bytes, .. } => *bytes = bytes.saturating_add(passed.into()),
        }
        if fragment.left > 0 {
            self.at = At::Fragment(fragment);
            return Ok(());
        }
        self.at = after_value(fragment.pdu_left)?;
        if fragment.is_last { self.end_part(found) } else { Ok(()) }
    }

    fn end_part(&mut self, found: &mut impl FnMut(Piece) -> Result<(), End>) -> Result<(), End> {
        let Some(Message { context, part }) = self.message.take() else { return Err(UNPARSABLE) };
        match part {
            Part::DimseCommand(reader) => {
                let command = reader.finish()?;
                if command.has_data_set {
                    let part = Part::DataSet { store: command.store(), bytes: 0 };
                    self.message = Some(Message { context, part });
                }
                found(Piece::DimseCommand(command))
            }
            Part::DataSet { store, bytes } => found(Piece::DataSet { store, bytes }),
        }
    }
}

impl Part {
    const fn is_command(&self) -> bool {
        matches!(self, Self::DimseCommand(_))
    }
}

fn begin_pdu(header: [u8; 6]) -> Result<At, End> {
    let [kind, _, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    match kind {
        ASSOCIATE_RQ | ASSOCIATE_AC => match length {
            ..ASSOCIATE_BYTES_MIN => Err(UNPARSABLE),
            ASSOCIATE_BYTES_MIN..=DICOM_ASSOCIATE_BYTES_MAX => Ok(At::AssociateHead {
                is_request: kind == ASSOCIATE_RQ,
                left: length - ASSOCIATE_BYTES_MIN + ASSOCIATE_REST_BYTES_MIN,
                head: Gather::default(),
            }),
            _ => Err(End::Off(OffReason::TooLong)),
        },
        P_DATA_TF if length > 0 => after_value(length),
        ASSOCIATE_RJ | RELEASE_RQ | RELEASE_RP | ABORT if length == SHORT_BYTES => {
            Ok(At::Short { kind, body: Gather::default() })
        }
        _ => Err(UNPARSABLE),
    }
}

/// Goes on with `left` bytes of a P-DATA PDU: another value, or the next PDU.
const fn after_value(left: u32) -> Result<At, End> {
    match left {
        0 => Ok(At::Header(Gather::EMPTY)),
        1..VALUE_HEADER_BYTES => Err(UNPARSABLE),
        _ => Ok(At::ValueHeader { left, header: Gather::EMPTY }),
    }
}

/// Reads an association: an acceptor sends the titles of the request back, and nobody reads them (PS3.8
/// §9.3.3).
fn associate(is_request: bool, head: &[u8; ASSOCIATE_HEAD_BYTES]) -> Result<Piece, End> {
    let [_, version, _, _, titles @ ..] = head;
    // Bit 0 is the version there is (PS3.8 §9.3.2).
    if version & 1 == 0 {
        return Err(UNPARSABLE);
    }
    if !is_request {
        return Ok(Piece::AssociationAccept);
    }
    let (titles, _) = titles.as_chunks::<16>();
    let [called, calling] = titles else { return Err(UNPARSABLE) };
    Ok(Piece::AssociationRequest(Titles {
        calling: AeTitle::from_field(calling),
        called: AeTitle::from_field(called),
    }))
}

fn short(kind: u8, [_, second, third, fourth]: [u8; 4]) -> Piece {
    match kind {
        ASSOCIATE_RJ => Piece::AssociationReject(Rejection { result: second, source: third, reason: fourth }),
        RELEASE_RQ => Piece::ReleaseRequest,
        RELEASE_RP => Piece::ReleaseResponse,
        // The user's reason has no meaning (PS3.8 §9.3.8).
        _ if third == 2 => Piece::Abort(Abort { by: Aborter::Provider, reason: fourth }),
        _ => Piece::Abort(Abort { by: Aborter::User, reason: 0 }),
    }
}

/// Skips what is there of the next `left` bytes; how many these were.
pub(super) fn skip(left: u32, bytes: &mut &[u8]) -> u32 {
    let skipped = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(left);
    *bytes = &bytes[skipped as usize..];
    skipped
}

/// `N` bytes, however they arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gather<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Gather<N> {
    const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Takes what is missing; all of them once they are there.
    pub(super) fn take(&mut self, from: &mut &[u8]) -> Option<[u8; N]> {
        let count = from.len().min(N - self.length);
        let (taken, rest) = from.split_at(count);
        self.bytes[self.length..self.length + count].copy_from_slice(taken);
        self.length += count;
        *from = rest;
        (self.length == N).then_some(self.bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> Default for Gather<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}
