//! Reads the command set of one message as it passes, in fragments cut anywhere: group 0000 in
//! implicit VR little endian (PS3.7 §6.3.1). Keeps the few numbers that say what it is, nothing else:
//! UIDs, AE titles and error comments are skipped.

use std::fmt;

use super::pdu::{Gather, skip};
use super::{End, OffReason, UNPARSABLE};
use crate::domain::limits::DICOM_COMMAND_BYTES_MAX;

/// Elements of group 0000 that are kept (PS3.7 §E.1).
const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;

/// (0000,0800): no data set follows the command.
const NO_DATA_SET: u16 = 0x0101;
/// In (0000,0100), what makes a response of a request.
const RESPONSE_BIT: u16 = 0x8000;

/// What a message asks for or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    CStore,
    CGet,
    CFind,
    CMove,
    CEcho,
    CCancel,
    NEventReport,
    NGet,
    NSet,
    NAction,
    NCreate,
    NDelete,
    /// None of the standard's.
    Other,
}

impl Operation {
    pub const ALL: [Self; 13] = [
        Self::CStore,
        Self::CGet,
        Self::CFind,
        Self::CMove,
        Self::CEcho,
        Self::CCancel,
        Self::NEventReport,
        Self::NGet,
        Self::NSet,
        Self::NAction,
        Self::NCreate,
        Self::NDelete,
        Self::Other,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CStore => "C-STORE",
            Self::CGet => "C-GET",
            Self::CFind => "C-FIND",
            Self::CMove => "C-MOVE",
            Self::CEcho => "C-ECHO",
            Self::CCancel => "C-CANCEL",
            Self::NEventReport => "N-EVENT-REPORT",
            Self::NGet => "N-GET",
            Self::NSet => "N-SET",
            Self::NAction => "N-ACTION",
            Self::NCreate => "N-CREATE",
            Self::NDelete => "N-DELETE",
            Self::Other => "other",
        }
    }

    /// Reads (0000,0100) without the bit of a response (PS3.7 §E.1).
    const fn from_request(field: u16) -> Self {
        match field {
            0x0001 => Self::CStore,
            0x0010 => Self::CGet,
            0x0020 => Self::CFind,
            0x0021 => Self::CMove,
            0x0030 => Self::CEcho,
            0x0fff => Self::CCancel,
            0x0100 => Self::NEventReport,
            0x0110 => Self::NGet,
            0x0120 => Self::NSet,
            0x0130 => Self::NAction,
            0x0140 => Self::NCreate,
            0x0150 => Self::NDelete,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// (0000,0900) of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status(pub u16);

impl Status {
    /// Returns the class after PS3.7 annex C. Pending and cancelled are no answers to a C-STORE (PS3.4
    /// §B.2.3), so they fail.
    #[must_use]
    pub const fn class(self) -> StatusClass {
        match self.0 {
            0x0000 => StatusClass::Success,
            0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => StatusClass::Warning,
            _ => StatusClass::Failure,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}H", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusClass {
    Success,
    /// Stored, though not as it was sent.
    Warning,
    Failure,
}

impl StatusClass {
    pub const ALL: [Self; 3] = [Self::Success, Self::Warning, Self::Failure];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// A command that has passed whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DimseCommand {
    pub(super) operation: Operation,
    pub(super) kind: CommandKind,
    pub(super) has_data_set: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandKind {
    Request { message: u16 },
    Response { to: u16, status: Status },
}

impl DimseCommand {
    /// Returns the message that the data set after it belongs to, if it is an object to store.
    pub(super) const fn store(self) -> Option<u16> {
        match (self.operation, self.kind) {
            (Operation::CStore, CommandKind::Request { message }) => Some(message),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommandReader {
    seen: usize,
    at: At,
    /// The element read last; they come in ascending order (PS3.5 §7.1).
    last: Option<u16>,
    field: Option<u16>,
    message: Option<u16>,
    responded_to: Option<u16>,
    data_set_type: Option<u16>,
    status: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// Group, element and length of an element.
    Header(Gather<8>),
    /// A value that is kept.
    Number { element: u16, value: Gather<2> },
    /// A value that is not.
    Skipped { left: u32 },
}

impl Default for At {
    fn default() -> Self {
        Self::Header(Gather::default())
    }
}

impl CommandReader {
    /// Takes the next bytes of the command, from one fragment or several.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        self.seen = self.seen.saturating_add(bytes.len());
        if self.seen > DICOM_COMMAND_BYTES_MAX {
            return Err(End::Off(OffReason::TooLong));
        }
        while !bytes.is_empty() {
            match &mut self.at {
                At::Header(header) => {
                    let Some(header) = header.take(&mut bytes) else { return Ok(()) };
                    self.on_header(header)?;
                }
                At::Number { element, value } => {
                    let Some(value) = value.take(&mut bytes) else { return Ok(()) };
                    let (element, value) = (*element, u16::from_le_bytes(value));
                    if let Some(place) = self.place_of(element) {
                        *place = Some(value);
                    }
                    self.at = At::default();
                }
                At::Skipped { left } => {
                    *left -= skip(*left, &mut bytes);
                    if *left == 0 {
                        self.at = At::default();
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the command, after its last fragment.
    pub(super) fn finish(&self) -> Result<DimseCommand, End> {
        let At::Header(header) = &self.at else { return Err(UNPARSABLE) };
        if !header.is_empty() {
            return Err(UNPARSABLE);
        }
        let field = self.field.ok_or(UNPARSABLE)?;
        let has_data_set = self.data_set_type.ok_or(UNPARSABLE)? != NO_DATA_SET;
        let operation = Operation::from_request(field & !RESPONSE_BIT);
        let kind = if field & RESPONSE_BIT != 0 {
            let status = Status(self.status.ok_or(UNPARSABLE)?);
            CommandKind::Response { to: self.responded_to.ok_or(UNPARSABLE)?, status }
        } else {
            // C-CANCEL has none of its own, it names the message to cancel (PS3.7 §9.3.2.3).
            let message = if operation == Operation::CCancel { self.responded_to } else { self.message };
            CommandKind::Request { message: message.ok_or(UNPARSABLE)? }
        };
        Ok(DimseCommand { operation, kind, has_data_set })
    }

    fn on_header(&mut self, header: [u8; 8]) -> Result<(), End> {
        let [g0, g1, e0, e1, length @ ..] = header;
        let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
        let length = u32::from_le_bytes(length);
        if group != 0 || self.last.is_some_and(|last| last >= element) {
            return Err(UNPARSABLE);
        }
        self.last = Some(element);
        self.at = match (self.place_of(element).is_some(), length) {
            (true, 2) => At::Number { element, value: Gather::default() },
            (true, _) => return Err(UNPARSABLE),
            (false, 0) => At::default(),
            (false, left) => At::Skipped { left },
        };
        Ok(())
    }

    fn place_of(&mut self, element: u16) -> Option<&mut Option<u16>> {
        match element {
            COMMAND_FIELD => Some(&mut self.field),
            MESSAGE_ID => Some(&mut self.message),
            MESSAGE_ID_RESPONDED_TO => Some(&mut self.responded_to),
            DATA_SET_TYPE => Some(&mut self.data_set_type),
            STATUS => Some(&mut self.status),
            _ => None,
        }
    }
}
