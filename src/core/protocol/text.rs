//! Texts from the other end, bounded where they are decoded: what is kept, logged and shown is short, one
//! line, and printable.
//!
//! What identifies or must be exact is refused when it is too long; what people read is made readable, so
//! that no single name makes a whole message unusable.

use std::fmt::{self, Write};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::limits::{DIGITS_MAX, REASON_CHARS_MAX, SOFTWARE_CHARS_MAX};
use crate::domain::name::Name;
use crate::domain::visible::one_line;

/// Returns the items with commas between them, for a line of the log; `none` where there are none.
pub fn listed(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut line = String::new();
    for item in items {
        let comma = if line.is_empty() { "" } else { ", " };
        // A text takes everything.
        let _ = write!(line, "{comma}{item}");
    }
    if line.is_empty() { "none".into() } else { line }
}

/// Stands for a name that is none.
pub const UNNAMED: &str = "unnamed";

/// What an agent says of its build: printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Software(String);

/// The first of its characters that fit, with a question mark for what is not printable.
impl From<&str> for Software {
    fn from(text: &str) -> Self {
        let printable = |char| if is_printable(char) { char } else { '?' };
        Self(text.chars().take(SOFTWARE_CHARS_MAX).map(printable).collect())
    }
}

const fn is_printable(char: char) -> bool {
    char == ' ' || char.is_ascii_graphic()
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Software {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > SOFTWARE_CHARS_MAX || !text.chars().all(is_printable) {
            return Err(D::Error::custom("not the name of a build"));
        }
        Ok(Self(text))
    }
}

/// Reads a public name, or [`UNNAMED`].
pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| shown(&text))
}

/// Reads the same where there may be none.
pub(super) fn name_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(|text| shown(&text)))
}

fn shown(text: &str) -> String {
    // Cheap for those that are far too long.
    let fits = text.len() <= 4 * crate::domain::limits::NAME_CHARS_MAX;
    let name = fits.then(|| text.parse::<Name>().ok()).flatten();
    name.map_or_else(|| UNNAMED.into(), |name| name.to_string())
}

/// Reads a sentence for the operator of the other end: cut, and without what a terminal would act on.
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| one_line(&text, REASON_CHARS_MAX))
}

/// Reads a secret, a certificate or the request for one, in hexadecimal digits.
pub(super) fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > DIGITS_MAX {
        return Err(D::Error::custom("more digits than anything has"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_the_log_has_commas_or_says_none() {
        assert_eq!(listed([1, 2]), "1, 2");
        assert_eq!(listed(None::<u8>), "none");
    }

    #[test]
    fn a_build_is_named_in_sixty_four_printable_characters_at_most() {
        let longest = "x".repeat(SOFTWARE_CHARS_MAX);
        for good in ["0.1.0 (2026-11-24)", &longest] {
            let sent = serde_json::to_string(good).unwrap();
            assert_eq!(serde_json::from_str::<Software>(&sent).unwrap(), Software::from(good));
        }
        for bad in [&"x".repeat(SOFTWARE_CHARS_MAX + 1), "0.1\n0", "0.1\u{1b}[2J", "ä"] {
            assert!(Software::from(bad).to_string().chars().all(is_printable), "{bad:?}");
            assert!(Software::from(bad).to_string().len() <= SOFTWARE_CHARS_MAX, "{bad:?}");
            let sent = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<Software>(&sent).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_shown_as_such() {
        let long = "x".repeat(1_000_000);
        for bad in ["", "two\nlines", "\u{1b}[2J", &long] {
            assert_eq!(shown(bad), UNNAMED);
        }
        assert_eq!(shown("Klinik Süd"), "Klinik Süd");
        assert_eq!(shown(&"ä".repeat(80)), "ä".repeat(80));
    }
}
