//! Finds MSH-9 and MSA-1 in the first bytes of a message, one byte at a time, so that it does not
//! matter how they arrive. Keeps those two fields and nothing else.

use super::{AckCode, MessageRole, MessageType};
use crate::domain::limits::MLLP_HEADER_BYTES_MAX;

/// MSH-1 is the separator itself, MSH-2 the encoding characters (HL7 v2.5.1 §2.15.9.1).
const ENCODING_CHARACTERS: u8 = 2;
const MESSAGE_TYPE: u8 = 9;

/// Longer fields than the kept part of one are `other`.
const FIELD_BYTES_MAX: usize = 16;

/// What is known of a message so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    seen: usize,
    at: At,
    separator: u8,
    /// Between components, `^` as a rule.
    component: u8,
    kind: MessageType,
    code: AckCode,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In a segment's name; `first` until one segment has begun.
    Name { name: Field, first: bool },
    /// In field `number` of the MSH; `field` is kept of the two that matter.
    Msh { number: u8, field: Field },
    /// In MSA-1.
    Msa { field: Field },
    /// In a segment that says nothing to us.
    Elsewhere,
}

/// The beginning of a field.
#[derive(Debug, Clone, Copy, Default)]
struct Field {
    text: [u8; FIELD_BYTES_MAX],
    length: usize,
}

pub(super) enum Progress {
    More,
    /// All there is to know is known.
    Done,
    /// The MSH has no end.
    TooLong,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            seen: 0,
            at: At::Name { name: Field::default(), first: true },
            separator: b'|',
            component: b'^',
            kind: MessageType::OTHER,
            code: AckCode::Other,
        }
    }
}

impl Header {
    pub(super) const fn is_empty(&self) -> bool {
        self.seen == 0
    }

    pub(super) const fn kind(&self) -> MessageType {
        self.kind
    }

    pub(super) const fn code(&self) -> AckCode {
        self.code
    }

    pub(super) fn push(&mut self, byte: u8, role: MessageRole) -> Progress {
        self.seen += 1;
        if self.seen > MLLP_HEADER_BYTES_MAX {
            return if matches!(self.at, At::Msh { .. }) { Progress::TooLong } else { Progress::Done };
        }
        let is_segment_end = matches!(byte, b'\r' | b'\n');
        match &mut self.at {
            At::Name { name, .. } if is_segment_end && name.length == 0 => {}
            At::Name { first: true, .. } if is_segment_end => return Progress::Done,
            At::Name { .. } | At::Elsewhere if is_segment_end => self.begin_segment(),
            At::Name { name, first } if name.length < 3 => {
                name.push(byte);
                // Not HL7 as we know it: a batch, XML, anything.
                if *first && !b"MSH".starts_with(name.text()) {
                    return Progress::Done;
                }
            }
            At::Name { name, first } => match (name.text(), *first) {
                (b"MSH", true) => {
                    self.separator = byte;
                    self.at = At::Msh { number: ENCODING_CHARACTERS, field: Field::default() };
                }
                (b"MSA", _) if byte == self.separator => self.at = At::Msa { field: Field::default() },
                _ => self.at = At::Elsewhere,
            },
            At::Msh { number, field } => {
                if !is_segment_end && byte != self.separator {
                    if matches!(*number, ENCODING_CHARACTERS | MESSAGE_TYPE) {
                        field.push(byte);
                    }
                    return Progress::More;
                }
                let (number, field) = (*number, *field);
                return self.on_msh_field(number, &field, is_segment_end, role);
            }
            At::Msa { field } => {
                if is_segment_end || byte == self.separator {
                    self.code = AckCode::from_field(field.text());
                    return Progress::Done;
                }
                field.push(byte);
            }
            At::Elsewhere => {}
        }
        Progress::More
    }

    fn on_msh_field(&mut self, number: u8, field: &Field, is_last: bool, role: MessageRole) -> Progress {
        match number {
            ENCODING_CHARACTERS => self.component = field.text().first().copied().unwrap_or(b'^'),
            MESSAGE_TYPE => self.kind = message_type(field, self.component),
            _ => {}
        }
        if number < MESSAGE_TYPE && !is_last {
            self.at = At::Msh { number: number + 1, field: Field::default() };
            return Progress::More;
        }
        match role {
            // Only responses say more.
            MessageRole::Request => return Progress::Done,
            MessageRole::Response if is_last => self.begin_segment(),
            MessageRole::Response => self.at = At::Elsewhere,
        }
        Progress::More
    }

    fn begin_segment(&mut self) {
        self.at = At::Name { name: Field::default(), first: false };
    }
}

impl Field {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// Returns the first two components. When they fill the kept part they are longer than any name.
fn message_type(field: &Field, component: u8) -> MessageType {
    let mut components = field.text().split(|byte| *byte == component);
    let code = components.next().unwrap_or_default();
    let trigger = components.next().unwrap_or_default();
    MessageType::from_components(code, trigger).unwrap_or(MessageType::OTHER)
}
