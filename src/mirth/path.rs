//! A request's path in the one spelling that it is judged and forwarded in.
//!
//! Jetty and Jersey, which read it behind us, disagree on `;`, on escapes of letters and on empty or
//! moving segments. So nothing is repaired: a path that two readers could read in two ways is refused.

use std::fmt::Write;

use thiserror::Error;

/// Segments decoded once, checked, and rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Begins with `/`; ends in one where the request's path did.
    canonical: String,
}

/// Never quotes the path: it may name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFault {
    #[error("the path does not begin with /")]
    NoSlash,
    #[error("the path has an empty segment (//)")]
    EmptySegment,
    #[error("the path has a . or .. segment")]
    Moves,
    #[error("the path holds a character that must be percent-encoded, or a ;")]
    Character,
    #[error("the path holds a broken percent escape")]
    BrokenEscape,
    #[error("the path hides / \\ ; % ? #, a control character or one outside ASCII in a percent escape")]
    HidesMeaning,
    #[error("the path percent-encodes a character that needs none")]
    NeedlessEscape,
    #[error("the path has more than 64 segments")]
    TooDeep,
}

/// The deepest path of Mirth has eight.
const SEGMENTS_MAX: usize = 64;

impl Path {
    /// Parses the path; `raw`: the target up to its `?`.
    pub(crate) fn parse(raw: &str) -> Result<Self, PathFault> {
        let inner = raw.strip_prefix('/').ok_or(PathFault::NoSlash)?;
        let mut canonical = String::with_capacity(raw.len());
        let (inner, slash) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, inner.is_empty()),
        };
        // `//` would be the empty segment between two slashes.
        if inner.is_empty() && raw.len() > 1 {
            return Err(PathFault::EmptySegment);
        }
        let segments = inner.split('/').filter(|_| !inner.is_empty());
        for (count, segment) in segments.enumerate() {
            if count == SEGMENTS_MAX {
                return Err(PathFault::TooDeep);
            }
            canonical.push('/');
            push_segment(segment, &mut canonical)?;
        }
        if slash {
            canonical.push('/');
        }
        Ok(Self { canonical })
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.canonical
    }

    /// Returns the segments without the empty one that a trailing slash leaves.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.canonical.split('/').filter(|segment| !segment.is_empty())
    }

    #[must_use]
    pub(crate) fn ends_in_slash(&self) -> bool {
        self.canonical.ends_with('/')
    }
}

/// Escapes of letters, digits, `-`, `_` and `.` are refused rather than decoded: Jetty would decode them
/// to find a context, Jersey would not to find an operation. `~` is in no literal of Mirth, and Java's
/// `URLEncoder` escapes it.
fn push_segment(segment: &str, canonical: &mut String) -> Result<(), PathFault> {
    match segment {
        "" => return Err(PathFault::EmptySegment),
        "." | ".." => return Err(PathFault::Moves),
        _ => {}
    }
    let plain = segment.bytes().position(|byte| !PLAIN[usize::from(byte)]).unwrap_or(segment.len());
    let (plain, rest) = segment.split_at_checked(plain).ok_or(PathFault::Character)?;
    canonical.push_str(plain);
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => push_escaped(escaped(bytes.next(), bytes.next()), canonical)?,
            plain if PLAIN[usize::from(plain)] => canonical.push(char::from(plain)),
            _ => return Err(PathFault::Character),
        }
    }
    Ok(())
}

fn push_escaped(byte: Option<u8>, canonical: &mut String) -> Result<(), PathFault> {
    match byte.ok_or(PathFault::BrokenEscape)? {
        b'/' | b'\\' | b';' | b'%' | b'?' | b'#' | 0..=0x1f | 0x7f.. => Err(PathFault::HidesMeaning),
        b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Err(PathFault::NeedlessEscape),
        b'~' => {
            canonical.push('~');
            Ok(())
        }
        other => {
            // Writing into a String does not fail.
            let _ = write!(canonical, "%{other:02X}");
            Ok(())
        }
    }
}

/// What MIRTH's rules allow in a segment as it stands: RFC 3986 §3.3 without `;`.
const PLAIN: [bool; 256] = table(b"._~@+!$'()*,:=&-");

/// Letters, digits and `others`.
pub(super) const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
}

/// Returns the byte of a percent escape, of its two hexadecimal digits.
pub(super) fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<&str, PathFault>) {
        let path = Path::parse(raw);
        assert_eq!(path.as_ref().map(Path::as_str).map_err(|fault| *fault), expected, "{raw}");
    }

    #[test]
    fn a_path_with_one_meaning_keeps_it() {
        for same in ["/", "/api", "/api/", "/api/channels/a-b_c.d~e", "/a/!$&'()*+,=:@", "/a/..."] {
            check(same, Ok(same));
        }
        check("/api/extensions/Data%20Pruner/properties", Ok("/api/extensions/Data%20Pruner/properties"));
        check("/api/users/a%40b%2b", Ok("/api/users/a%40b%2B"));
        check("/api/users/%7ea%7E", Ok("/api/users/~a~"));
        check("/a/%22%3c%7b%5B%5e%60%7C%7d", Ok("/a/%22%3C%7B%5B%5E%60%7C%7D"));
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_refused() {
        use PathFault::{
            BrokenEscape, Character, EmptySegment, HidesMeaning, Moves, NeedlessEscape, NoSlash,
        };
        for raw in ["", "api", "*", "http://mirth/api", "."] {
            check(raw, Err(NoSlash));
        }
        for raw in ["//", "//api", "/api//", "/api//channels", "///"] {
            check(raw, Err(EmptySegment));
        }
        for raw in ["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a/../"] {
            check(raw, Err(Moves));
        }
        for raw in
            ["/a;b", "/..;/a", "/a\\b", "/a b", "/a\"", "/a|b", "/{a}", "/a\u{e9}", "/a\tb", "/a?b", "/a#"]
        {
            check(raw, Err(Character));
        }
        for raw in ["/%", "/a%2", "/%u002e", "/%zz", "/%+1", "/a%2/b", "/%-1"] {
            check(raw, Err(BrokenEscape));
        }
        for raw in
            ["/%2f", "/%5C", "/%3b", "/%252e", "/%3F", "/%23", "/%00", "/%0a", "/%7f", "/%c0%ae", "/%ff"]
        {
            check(raw, Err(HidesMeaning));
        }
        for raw in ["/%2e%2e", "/.%2E", "/%61pi", "/%5FremoveChannels", "/%2d1", "/%39"] {
            check(raw, Err(NeedlessEscape));
        }
    }

    #[test]
    fn a_path_has_at_most_64_segments() {
        check(&"/a".repeat(64), Ok(&"/a".repeat(64)));
        check(&"/a".repeat(65), Err(PathFault::TooDeep));
    }

    #[test]
    fn a_trailing_slash_is_no_segment() {
        let path = Path::parse("/api/channels/").expect("is well-formed");
        assert_eq!(path.segments().collect::<Vec<_>>(), ["api", "channels"]);
        assert!(path.ends_in_slash());
        assert_eq!(Path::parse("/").expect("is well-formed").segments().count(), 0);
    }

    proptest! {
        #[test]
        fn the_canonical_spelling_is_a_fixed_point(raw in "/([a-z.%_~;/A-F0-9@ ]|%[0-9a-fA-F]{2}){0,24}") {
            if let Ok(path) = Path::parse(&raw) {
                prop_assert_eq!(path.ends_in_slash(), raw.ends_with('/'));
                prop_assert_eq!(Path::parse(path.as_str()), Ok(path));
            }
        }

        #[test]
        fn no_text_makes_the_path_reader_panic(raw in any::<String>()) {
            let _ = Path::parse(&raw);
        }
    }
}
