//! Cuts XML into tags and text, of which there may be no more than has come yet.

use super::super::BodyRefusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// What stands in a tag, with its attributes.
    Open(&'a str),
    /// Of an element that is closed at once.
    Empty(&'a str),
    /// A name.
    Close(&'a str),
    /// Part of a text: whole references, line ends and characters.
    Text(&'a str),
}

/// No tag of a real serializer comes near it.
const TAG_BYTES_MAX: usize = 4 * 1024;
/// With `&` and `;`: longer is none that is known.
const REFERENCE_BYTES_MAX: usize = 12;

/// Returns as much as can be told apart: the last character may not be there yet.
pub(super) fn whole_characters(bytes: &[u8]) -> Result<&str, BodyRefusal> {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) if error.error_len().is_some() => return Err(BodyRefusal::NotUtf8),
        Err(error) => &bytes[..error.valid_up_to()],
    };
    std::str::from_utf8(valid).map_err(|_| BodyRefusal::NotUtf8)
}

/// Returns the token in front, and its bytes; `None` when more must come first.
pub(super) fn first(text: &str) -> Result<Option<(Token<'_>, usize)>, BodyRefusal> {
    if text.is_empty() {
        return Ok(None);
    }
    match memchr::memchr(b'<', text.as_bytes()) {
        Some(0) => tag(text),
        Some(end) => Ok(Some((Token::Text(&text[..end]), end))),
        None => {
            let whole = text.len() - waiting(text.as_bytes());
            Ok((whole > 0).then(|| (Token::Text(&text[..whole]), whole)))
        }
    }
}

fn tag(text: &str) -> Result<Option<(Token<'_>, usize)>, BodyRefusal> {
    // Declarations, instructions, comments and sections.
    if matches!(text.as_bytes().get(1), Some(b'!' | b'?')) {
        return Err(BodyRefusal::Markup);
    }
    let Some(end) = tag_end(text.as_bytes()) else {
        return if text.len() > TAG_BYTES_MAX { Err(BodyRefusal::Malformed) } else { Ok(None) };
    };
    let inner = &text[1..end];
    let token = match (inner.strip_prefix('/'), inner.strip_suffix('/')) {
        (Some(name), _) => Token::Close(name.trim_end_matches(BLANKS)),
        (None, Some(tag)) => Token::Empty(tag),
        (None, None) => Token::Open(inner),
    };
    Ok(Some((token, end + 1)))
}

/// Returns where the `>` stands that ends a tag: one in the value of an attribute does not.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(TAG_BYTES_MAX)];
    let mut at = 0;
    loop {
        at += memchr::memchr3(b'>', b'"', b'\'', &bytes[at..])?;
        if bytes[at] == b'>' {
            return Some(at);
        }
        at += memchr::memchr(bytes[at], &bytes[at + 1..])? + 2;
    }
}

/// Returns how many bytes at the end of a text may be half of something.
fn waiting(text: &[u8]) -> usize {
    if text.last() == Some(&b'\r') {
        return 1;
    }
    let tail = &text[text.len().saturating_sub(REFERENCE_BYTES_MAX)..];
    let begun = memchr::memrchr(b'&', tail).filter(|at| !tail[*at..].contains(&b';'));
    begun.map_or(0, |at| tail.len() - at)
}

/// White space of XML 1.0 §2.3.
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(Token<'_>, usize)>) {
        assert_eq!(first(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn a_token_is_taken_once_it_has_its_end() {
        check("", None);
        check("<", None);
        check("<a", None);
        check("<a b=\">", None);
        check("<a b=\">\">x", Some((Token::Open("a b=\">\""), 9)));
        check("<a b='>\"'/>", Some((Token::Empty("a b='>\"'"), 11)));
        check("</a \n>", Some((Token::Close("a"), 6)));
        check("abc<", Some((Token::Text("abc"), 3)));
        check("abc", Some((Token::Text("abc"), 3)));
    }

    #[test]
    fn what_may_be_half_of_something_waits() {
        check("a\r", Some((Token::Text("a"), 1)));
        check("\r", None);
        check("&am", None);
        check("a&#x10FF", Some((Token::Text("a"), 1)));
        check("a&amp;b", Some((Token::Text("a&amp;b"), 7)));
        // Too long for any, so that it is refused now.
        check("&aaaaaaaaaaaa", Some((Token::Text("&aaaaaaaaaaaa"), 13)));
        assert_eq!(whole_characters(b"a\xc3"), Ok("a"));
        assert_eq!(whole_characters(b"a\xffb"), Err(BodyRefusal::NotUtf8));
    }

    #[test]
    fn a_tag_of_more_than_four_kib_is_refused_before_it_ends() {
        let tag = |bytes: usize| format!("<{}", "a".repeat(bytes - 1));
        assert_eq!(first(&tag(TAG_BYTES_MAX)), Ok(None));
        assert_eq!(first(&tag(TAG_BYTES_MAX + 1)), Err(BodyRefusal::Malformed));
        assert!(first(&format!("{}>", tag(TAG_BYTES_MAX - 1))).is_ok_and(|found| found.is_some()));
    }
}
