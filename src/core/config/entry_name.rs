//! The local name of an entry in an agent's file, accepted by every command in place of its id.

use std::fmt;
use std::str::FromStr;

use crate::domain::id::ConnectionId;

/// Up to 64 letters, digits, `.`, `-` and `_`, beginning with a letter or digit; never the text of
/// an id, so that a name and an id cannot be taken for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for EntryName {
    type Err = InvalidEntryName;

    fn from_str(text: &str) -> Result<Self, InvalidEntryName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        let fits = begins_well && text.len() <= 64 && text.bytes().all(allowed);
        if !fits || text.parse::<ConnectionId>().is_ok() {
            return Err(InvalidEntryName);
        }
        Ok(Self(text.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected up to 64 letters, digits, `.`, `-` and `_`, such as adt-to-stmary, and no id")]
pub struct InvalidEntryName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_name_can_be_typed_without_being_taken_for_an_id() {
        for text in ["adt-to-stmary", "CT_1.5", "7", &"a".repeat(64)] {
            assert_eq!(text.parse::<EntryName>().map(|name| name.to_string()), Ok(text.to_string()));
        }
        let id = ConnectionId::from_random([1; 16]).to_string();
        for text in ["", "a b", "--all", ".", "ä", "a/b", &"a".repeat(65), &id, &id.replace('-', "")] {
            assert!(text.parse::<EntryName>().is_err(), "{text:?} was accepted");
        }
    }
}
