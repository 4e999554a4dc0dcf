//! Public names and descriptions: what people may call organizations, servers and channels.

use std::fmt;
use std::str::FromStr;

use super::limits::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use super::visible::first_hidden;

/// A public name: one line, nothing in it that cannot be seen, not blank at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Returns a name as it was stored, whatever was allowed then: what cannot be seen in it is escaped
    /// where it is shown.
    #[must_use]
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A public description; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description(String);

impl Description {
    /// Does as [`Name::from_stored`].
    #[must_use]
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a name must not be blank")]
    Blank,
    #[error("a name has at most {NAME_CHARS_MAX} characters, this one {chars}")]
    TooLong { chars: usize },
    #[error("a description has at most {DESCRIPTION_CHARS_MAX} characters, this one {chars}")]
    DescriptionTooLong { chars: usize },
    #[error("control characters are not allowed; use one line of plain text")]
    Control,
    #[error(
        "the character U+{:04X} cannot be seen, or changes how others are read; leave it out",
        u32::from(*.found)
    )]
    Hidden { found: char },
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        let chars = text.chars().count();
        if text.is_empty() {
            return Err(InvalidName::Blank);
        }
        if chars > NAME_CHARS_MAX {
            return Err(InvalidName::TooLong { chars });
        }
        one_line(text).map(Self)
    }
}

impl FromStr for Description {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        let chars = text.chars().count();
        if chars > DESCRIPTION_CHARS_MAX {
            return Err(InvalidName::DescriptionTooLong { chars });
        }
        one_line(text).map(Self)
    }
}

fn one_line(text: &str) -> Result<String, InvalidName> {
    match first_hidden(text) {
        Some(found) if found.is_control() => Err(InvalidName::Control),
        Some(found) => Err(InvalidName::Hidden { found }),
        None => Ok(text.to_owned()),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed() {
        assert_eq!("  St Märy ".parse::<Name>().unwrap().as_str(), "St Märy");
    }

    #[test]
    fn a_name_or_description_fits_exactly_up_to_its_limit() {
        assert!("ä".repeat(NAME_CHARS_MAX).parse::<Name>().is_ok());
        let chars = NAME_CHARS_MAX + 1;
        assert_eq!("ä".repeat(chars).parse::<Name>(), Err(InvalidName::TooLong { chars }));
        let chars = DESCRIPTION_CHARS_MAX + 1;
        assert_eq!("x".repeat(chars).parse::<Description>(), Err(InvalidName::DescriptionTooLong { chars }));
    }

    #[test]
    fn a_blank_name_or_a_control_character_is_refused() {
        assert_eq!(" \t ".parse::<Name>(), Err(InvalidName::Blank));
        for text in ["a\nb", "a\u{1b}[31mb", "a\u{85}b"] {
            assert_eq!(text.parse::<Name>(), Err(InvalidName::Control), "{text:?}");
        }
        assert_eq!("".parse::<Description>(), Ok(Description::default()));
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_text_round_is_refused_by_its_number() {
        for found in [
            '\u{202e}', '\u{2800}', '\u{2066}', '\u{200b}', '\u{200d}', '\u{feff}', '\u{2028}', '\u{e000}',
            '\u{3164}',
        ] {
            let text = format!("St{found}Mary");
            assert_eq!(text.parse::<Name>(), Err(InvalidName::Hidden { found }));
            assert_eq!(text.parse::<Description>(), Err(InvalidName::Hidden { found }));
        }
        let error = "St\u{202e}Mary".parse::<Name>().unwrap_err().to_string();
        assert!(error.contains("U+202E"), "{error}");
    }

    #[test]
    fn names_in_every_script_are_taken() {
        for name in ["St Märy", "مستشفى", "בית חולים", "क्षेत्रीय", "بیمارستان می\u{200c}لاد", "e\u{301}"]
        {
            assert_eq!(name.parse::<Name>().map(|name| name.to_string()), Ok(name.into()));
        }
    }
}
