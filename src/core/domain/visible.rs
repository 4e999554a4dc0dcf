//! What people can see of a text that came from elsewhere. Characters that move the cursor, turn the
//! direction of others round, or stand there unseen let one text pass for another: names may not have
//! them, and where any text is shown they become visible escapes.
//!
//! Letters, marks and digits of every script stay, and so do the two joiners (U+200C, U+200D) where a
//! script writes with them, as RFC 5892, Appendix A.1 and A.2, has it; anywhere else they are hidden.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, GeneralCategory, JoiningType,
};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::limits::ERROR_CHARS_MAX;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';

/// Returns the first character of a text that people would not see as what it is.
#[must_use]
pub fn first_hidden(text: &str) -> Option<char> {
    if is_plain(text) {
        return None;
    }
    text.char_indices().find(|&(at, char)| is_hidden(text, at, char)).map(|(_, char)| char)
}

/// Returns a text as one line in which everything can be seen.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, false)
}

/// Does as [`visible`], for text of several lines.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, true)
}

/// Returns the same JSON with every hidden character as JSON itself escapes it.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|byte| is_plain_byte(byte) || byte == b'\n') {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if char == '\n' || !hides(char) {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Cow::Owned(out)
}

/// Returns the first `chars_max` characters of a text as one line, with a replacement for each that people
/// would not see.
#[must_use]
pub fn one_line(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    let cut = &text[..end];
    let replaced = |(at, char)| if is_hidden(cut, at, char) { char::REPLACEMENT_CHARACTER } else { char };
    cut.char_indices().map(replaced).collect()
}

/// Returns an error and its causes in one line in which everything can be seen, fit for a log and a terminal
/// no matter who wrote parts of it. Cuts it after [`ERROR_CHARS_MAX`] characters.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    // Some errors are shown as their source.
    texts.dedup();
    visible(&texts.join(": ")).chars().take(ERROR_CHARS_MAX).collect()
}

fn escaped(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        if is_hidden(text, at, char) && !(keeps_lines && char == '\n') {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(is_plain_byte)
}

const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

fn is_hidden(text: &str, at: usize, char: char) -> bool {
    match char {
        NON_JOINER | JOINER => !joins(text, at, char),
        char => hides(char),
    }
}

fn hides(char: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(char);
    let has_no_glyph = matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    );
    // Symbols for Unicode, and drawn as nothing: Braille's blank and the null notehead.
    let is_blank = matches!(char, '\u{2800}' | '\u{1d159}');
    has_no_glyph || is_blank || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char)
}

/// Returns whether the joiner at `at` changes how its neighbours are written: after a virama, or, for the one
/// that parts, between two letters that would be joined.
fn joins(text: &str, at: usize, joiner: char) -> bool {
    let (before, after) = (&text[..at], &text[at + joiner.len_utf8()..]);
    let class = CodePointMapData::<CanonicalCombiningClass>::new();
    if before.chars().next_back().is_some_and(|char| class.get(char) == CanonicalCombiningClass::Virama) {
        return true;
    }
    let types = CodePointMapData::<JoiningType>::new();
    // Marks stand between two letters without parting them; what is hidden itself parts them.
    let ends_search = |char: &char| hides(*char) || types.get(*char) != JoiningType::Transparent;
    let left = before.chars().rev().find(ends_search).map(|char| types.get(char));
    let right = after.chars().find(ends_search).map(|char| types.get(char));
    joiner == NON_JOINER
        && matches!(left, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_in_any_script_are_shown_as_they_are() {
        for name in [
            "St Märy — Notaufnahme № 3",
            "Cafe\u{301} du Nord",
            "مستشفى الملك فيصل",
            "בית חולים הדסה",
            "क्षेत्रीय अस्पताल",
            "क्\u{200d}ष",
            "ශ්\u{200d}රී ලංකා",
            "بیمارستان می\u{200c}لاد",
            "聖路加国際病院　東京",
            "Больница №1",
            "โรงพยาบาล",
            "🏥 Klinik",
        ] {
            assert_eq!(first_hidden(name), None, "{name}");
            assert!(visible(name) == name, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_seen_becomes_an_escape() {
        for (text, shown) in [
            ("a\u{1b}[31mb\u{7}", "a\\u{1b}[31mb\\u{7}"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{7f}\u{85}\u{9b}", "\\u{7f}\\u{85}\\u{9b}"),
            (
                "\u{202a}\u{202e}x\u{2066}\u{2069}\u{200e}\u{61c}",
                "\\u{202a}\\u{202e}x\\u{2066}\\u{2069}\\u{200e}\\u{61c}",
            ),
            ("a\u{200b}b\u{200c}c\u{200d}d\u{2060}", "a\\u{200b}b\\u{200c}c\\u{200d}d\\u{2060}"),
            ("\u{feff}a\u{ad}b\u{34f}c\u{180e}", "\\u{feff}a\\u{ad}b\\u{34f}c\\u{180e}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{3164}\u{115f}\u{fe0f}\u{e0041}", "\\u{3164}\\u{115f}\\u{fe0f}\\u{e0041}"),
            ("\u{e000}\u{378}\u{ffff}", "\\u{e000}\\u{378}\\u{ffff}"),
        ] {
            assert_eq!(visible(text), shown);
            assert!(first_hidden(text).is_some(), "{shown}");
        }
    }

    #[test]
    fn lines_stay_where_lines_are_meant() {
        assert_eq!(visible_lines("a\nb\r\u{1b}"), "a\nb\\r\\u{1b}");
    }

    #[test]
    fn a_reason_is_cut_to_what_moves_no_terminal() {
        assert_eq!(one_line("stop\u{1b}[2J\u{202e}\n", 100), "stop\u{fffd}[2J\u{fffd}\u{fffd}");
        assert_eq!(one_line(&"ä".repeat(1_000), 500).chars().count(), 500);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Shown(#[source] std::io::Error);

    #[test]
    fn an_error_that_is_shown_as_its_source_is_said_once() {
        let source = std::io::Error::other(Shown(std::io::Error::other("the port is taken")));
        assert_eq!(error_chain(&Shown(source)), "the port is taken");
    }

    #[test]
    fn what_a_peer_wrote_into_an_error_cannot_break_a_line_or_a_terminal() {
        let what = format!("\u{1b}[2J\r\nforged line\u{202e}{}", "x".repeat(10_000));
        let line = error_chain(&std::io::Error::other(what));
        assert!(line.starts_with("\\u{1b}[2J\\r\\nforged line\\u{202e}xxx"), "{line}");
        assert_eq!(first_hidden(&line), None);
        assert_eq!(line.chars().count(), ERROR_CHARS_MAX);
    }

    #[test]
    fn json_means_the_same_as_before() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}x\u{7f}\u{e0041}\n\"é\"" });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&json);
        assert!(shown.chars().all(|char| char == '\n' || !hides(char)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn what_is_shown_has_nothing_hidden_left() {
        use proptest::prelude::proptest;
        proptest!(|(text in "\\PC{0,8}(\\p{C}|\\p{Z}|\u{200c}|\u{200d}|[ا-ي]){0,8}.{0,8}")| {
            assert_eq!(first_hidden(&visible(&text)), None, "{text:?}");
            assert_eq!(visible(&visible(&text)), visible(&text));
        });
    }
}
