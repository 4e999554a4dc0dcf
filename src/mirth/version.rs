//! Mirth's version, as `/api/server/version` says it: what names the second spelling of every API path,
//! and decides whether view-only can be kept at all.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Two to four numbers, in the one spelling that Mirth itself uses in its paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MirthVersion(Vec<u32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Mirth's version is not two to four numbers such as 4.5.2")]
pub struct BadVersion;

/// Why view-only cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TooOld {
    #[error("view-only: the version of the managed Mirth is not known")]
    Unknown,
    #[error("view-only needs Mirth 4.4.1 or newer on the managed server, which is {0}")]
    Older(MirthVersion),
}

/// The first with a REST API.
pub const FIRST_REST: [u32; 2] = [3, 4];
/// The first that makes only objects of listed types from a body; before, a body could make any.
pub const VIEW_ONLY_MIN: [u32; 3] = [4, 4, 1];

const DIGITS_MAX: usize = 6;

impl MirthVersion {
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.0.as_slice() >= FIRST_REST.as_slice()
    }
}

/// Checks whether view-only can be kept on a server of this version.
pub fn view_only_needs(version: Option<&MirthVersion>) -> Result<(), TooOld> {
    match version {
        None => Err(TooOld::Unknown),
        Some(version) if version.0.as_slice() < VIEW_ONLY_MIN.as_slice() => {
            Err(TooOld::Older(version.clone()))
        }
        Some(_) => Ok(()),
    }
}

impl FromStr for MirthVersion {
    type Err = BadVersion;

    /// Reads one spelling a version: `04.5.2` and `4.5.2-x` name no path of Mirth.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let numbers = text.split('.').map(number).collect::<Option<Vec<_>>>().ok_or(BadVersion)?;
        if (2..=4).contains(&numbers.len()) { Ok(Self(numbers)) } else { Err(BadVersion) }
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for MirthVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> MirthVersion {
        text.parse().expect("is a version")
    }

    #[test]
    fn versions_are_written_back_in_the_one_spelling_they_are_read_in() {
        for text in ["4.5.2", "3.4", "3.4.0.8000", "10.0.0", "4.5.999999"] {
            assert_eq!(version(text).to_string(), text);
        }
        let odd = ["", "4", "4.", ".4", "4..5", "04.5.2", "4.5.2-SNAPSHOT", "4.5.2 ", "v4.5", "4.5.2\n"];
        for text in odd.into_iter().chain(["1.2.3.4.5", "4.5.1000000", "-4.5", "+4.5", "4.5.²"]) {
            assert_eq!(text.parse::<MirthVersion>(), Err(BadVersion), "{text:?}");
        }
    }

    #[test]
    fn view_only_begins_with_4_4_1_where_rest_begins_with_3_4() {
        for (text, rest, view) in [
            ("3.3.9", false, false),
            ("3.4", true, false),
            ("3.4.0", true, false),
            ("4.4.0", true, false),
            ("4.4", true, false),
            ("4.4.1", true, true),
            ("4.10.0", true, true),
            ("5.0", true, true),
        ] {
            assert_eq!(version(text).has_rest(), rest, "{text}");
            assert_eq!(view_only_needs(Some(&version(text))).is_ok(), view, "{text}");
        }
        assert_eq!(view_only_needs(None), Err(TooOld::Unknown));
    }
}
