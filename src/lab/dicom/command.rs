//! Command sets as a stand-in writes and reads them: whole, element by element (PS3.7 §6.3.1, §E.1).

use std::collections::BTreeMap;

pub(super) const C_STORE: u16 = 0x0001;
pub(super) const C_ECHO: u16 = 0x0030;
/// What makes a response of a request.
pub(super) const RESPONSE: u16 = 0x8000;

const GROUP_LENGTH: u16 = 0x0000;
const AFFECTED_CLASS: u16 = 0x0002;
const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const RESPONDED_TO: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const AFFECTED_INSTANCE: u16 = 0x1000;
const NO_DATA_SET: u16 = 0x0101;

/// Elements of group 0000 by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommandSet(BTreeMap<u16, Vec<u8>>);

impl CommandSet {
    #[must_use]
    pub(super) fn echo(message: u16, class: &str) -> Self {
        Self::request(C_ECHO, message, class).with_number(DATA_SET_TYPE, NO_DATA_SET)
    }

    #[must_use]
    pub(super) fn store(message: u16, class: &str, instance: &str) -> Self {
        Self::request(C_STORE, message, class)
            .with_number(PRIORITY, 0)
            .with_number(DATA_SET_TYPE, 0)
            .with_text(AFFECTED_INSTANCE, instance)
    }

    /// Returns the answer to this request.
    #[must_use]
    pub(super) fn answered(&self, status: u16) -> Self {
        let mut answer = Self::default()
            .with_number(COMMAND_FIELD, self.field() | RESPONSE)
            .with_number(RESPONDED_TO, self.number(MESSAGE_ID).unwrap_or_default())
            .with_number(DATA_SET_TYPE, NO_DATA_SET)
            .with_number(STATUS, status);
        for echoed in [AFFECTED_CLASS, AFFECTED_INSTANCE] {
            if let Some(value) = self.0.get(&echoed) {
                answer.0.insert(echoed, value.clone());
            }
        }
        answer
    }

    /// Reads a command; `None` when it is no command set.
    #[must_use]
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut elements = BTreeMap::new();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<8>()?;
            let [0, 0, e0, e1, length @ ..] = *header else { return None };
            let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            elements.insert(u16::from_le_bytes([e0, e1]), value.to_vec());
            bytes = rest;
        }
        elements.contains_key(&COMMAND_FIELD).then_some(Self(elements))
    }

    #[must_use]
    pub(super) fn written(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        for (number, value) in self.0.iter().filter(|(number, _)| **number != GROUP_LENGTH) {
            write_element(&mut rest, *number, value);
        }
        let mut written = Vec::with_capacity(rest.len() + 12);
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        write_element(&mut written, GROUP_LENGTH, &length.to_le_bytes());
        written.extend_from_slice(&rest);
        written
    }

    #[must_use]
    pub(super) fn field(&self) -> u16 {
        self.number(COMMAND_FIELD).unwrap_or_default()
    }

    #[must_use]
    pub(super) fn status(&self) -> Option<u16> {
        self.number(STATUS)
    }

    #[must_use]
    pub(super) fn responded_to(&self) -> Option<u16> {
        self.number(RESPONDED_TO)
    }

    #[must_use]
    pub(super) fn has_data_set(&self) -> bool {
        self.number(DATA_SET_TYPE) != Some(NO_DATA_SET)
    }

    /// Returns the SOP instance it is about.
    #[must_use]
    pub(super) fn instance(&self) -> String {
        let value = self.0.get(&AFFECTED_INSTANCE).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
    }

    fn request(field: u16, message: u16, class: &str) -> Self {
        Self::default()
            .with_text(AFFECTED_CLASS, class)
            .with_number(COMMAND_FIELD, field)
            .with_number(MESSAGE_ID, message)
    }

    fn with_number(mut self, element: u16, number: u16) -> Self {
        self.0.insert(element, number.to_le_bytes().to_vec());
        self
    }

    /// Adds a text: UIDs of odd length end with a NUL (PS3.5 §9.1).
    fn with_text(mut self, element: u16, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        self.0.insert(element, value);
        self
    }

    fn number(&self, element: u16) -> Option<u16> {
        let value = self.0.get(&element)?.as_slice();
        Some(u16::from_le_bytes(value.try_into().ok()?))
    }
}

fn write_element(to: &mut Vec<u8>, number: u16, value: &[u8]) {
    to.extend_from_slice(&[0, 0]);
    to.extend_from_slice(&number.to_le_bytes());
    to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(value);
}
