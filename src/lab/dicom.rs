//! Stand-ins for what speaks DICOM: a PACS that stores, a modality that sends, objects of nobody.
//!
//! Associations and PDUs are `dicom-ul`'s, commands and objects are written here. Nothing is shared
//! with `protocol::dicom`, which must not be judged by its own mistakes.

mod command;
pub mod modality;
pub mod object;
pub mod pacs;

use std::collections::BTreeMap;

use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use self::command::CommandSet;
use self::modality::{DicomOutcome, Sent};
use self::pacs::Stored;

/// PS3.4 annex A, PS3.6 annex A.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
pub const IMPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";

/// The variable part of a P-DATA PDU that stand-ins take.
const PDU_BYTES_MAX: u32 = 128 * 1024;

/// Returns how what was stored differs from what was sent, a line for each; empty means every object was
/// stored exactly once, unchanged, and its sender knows.
#[must_use]
pub fn differences(sent: &[Sent], stored: &[Stored]) -> Vec<String> {
    let mut by_instance = BTreeMap::<&str, Vec<&Stored>>::new();
    for object in stored {
        by_instance.entry(&object.instance).or_default().push(object);
    }
    let mut lines = Vec::new();
    for object in sent {
        let found = by_instance.remove(object.instance.as_str()).unwrap_or_default();
        if !matches!(object.outcome, DicomOutcome::Answered { status: 0, .. }) {
            lines.push(format!("{}: {:?}", object.instance, object.outcome));
        }
        match found.as_slice() {
            [] if matches!(object.outcome, DicomOutcome::Answered { .. }) => {
                lines.push(format!("{}: answered, and missing", object.instance));
            }
            [] => {}
            [one] if one.digest == object.digest => {}
            [_] => lines.push(format!("{}: altered", object.instance)),
            more => lines.push(format!("{}: stored {} times", object.instance, more.len())),
        }
    }
    lines.extend(by_instance.keys().map(|instance| format!("{instance}: never sent")));
    lines
}

/// Returns a command in one piece.
fn command_pdu(command: &CommandSet, presentation_context_id: u8) -> Pdu {
    let value_type = PDataValueType::Command;
    Pdu::PData {
        data: vec![PDataValue {
            presentation_context_id,
            value_type,
            is_last: true,
            data: command.written(),
        }],
    }
}

#[cfg(test)]
mod tests;
