//! Characters of XML text: what a reference stands for, and how each is written to Mirth.
//!
//! The spelling is that of `PrettyPrintWriter` of `XStream`, so that what Mirth's own clients write comes
//! back as it was.

use super::BodyRefusal;

/// Returns the character that `&name;` stands for: XML's five, or a number (XML 1.0 §4.1, §4.6).
pub(super) fn referenced(name: &str) -> Result<char, BodyRefusal> {
    let number = |digits: &str, radix: u32| {
        // `from_str_radix` would take a sign.
        let is_number = (1..=7).contains(&digits.len()) && digits.chars().all(|digit| digit.is_digit(radix));
        let number = is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten();
        number.and_then(char::from_u32)
    };
    let char = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix("#x") {
            Some(digits) => number(digits, 16),
            None => name.strip_prefix('#').and_then(|digits| number(digits, 10)),
        },
    };
    char.ok_or(BodyRefusal::Reference)
}

/// Returns how a character is written; `None`: as it is. Refuses what XML 1.0 §2.2 has no place for.
pub(super) fn escaped(char: char) -> Result<Option<&'static str>, BodyRefusal> {
    Ok(Some(match char {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&apos;",
        '\r' => "&#xd;",
        '\u{7f}'..='\u{9f}' => return Ok(Some(C1[char as usize - 0x7f])),
        '\0'..'\t' | '\u{b}'..'\r' | '\u{e}'..' ' | '\u{fffe}' | '\u{ffff}' => {
            return Err(BodyRefusal::Character);
        }
        _ => return Ok(None),
    }))
}

/// Returns how many bytes at the front of a value go to Mirth as they came, but for their line ends.
pub(super) fn plain_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut plain = 0;
    // A message of 64 MiB is mostly plain, so that chunks are passed over whole.
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let is_special = |at: &usize| is_special(&bytes[*at..]);
        // Escapes often come one after another.
        if is_special(&plain) {
            return plain;
        }
        if chunk.iter().fold(false, |any, byte| any | may_be_special(*byte))
            && let Some(special) = (plain..plain + chunk.len()).find(is_special)
        {
            return special;
        }
        plain += chunk.len();
    }
    plain
}

const CHUNK_BYTES: usize = 32;

/// Returns whether a character that begins with this byte of UTF-8 can be one that is not written as it is.
#[expect(clippy::needless_bitwise_bool, reason = "without branches, many bytes are looked at in one step")]
const fn may_be_special(byte: u8) -> bool {
    let is_control = (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    let is_markup = (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == b'"') | (byte == b'\'');
    is_control | is_markup | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xef)
}

/// Returns whether the character in front is one that is not written as it is.
fn is_special(bytes: &[u8]) -> bool {
    match bytes {
        // U+0080 to U+009F, U+FFFE and U+FFFF.
        [0xc2, next, ..] => *next < 0xa0,
        [0xef, next @ ..] => matches!(next, [0xbf, 0xbe | 0xbf, ..]),
        [byte, ..] => may_be_special(*byte),
        [] => false,
    }
}

/// Returns the character that the front of a value stands for, and how many bytes spell it.
pub(super) fn first(text: &str) -> Result<(char, usize), BodyRefusal> {
    let Some(name) = text.strip_prefix('&') else {
        let char = text.chars().next().unwrap_or_default();
        return Ok((char, char.len_utf8()));
    };
    let end = name.bytes().position(|byte| matches!(byte, b';' | b'&'));
    let end = end.filter(|end| name.as_bytes()[*end] == b';').ok_or(BodyRefusal::Malformed)?;
    Ok((referenced(&name[..end])?, end + 2))
}

/// Normalises line ends after XML 1.0 §2.11: a line end is one LF to its parser. Made so in place, from
/// `start` on.
pub(super) fn normalise_line_ends(out: &mut Vec<u8>, start: usize) {
    let Some(first) = memchr::memchr(b'\r', &out[start..]) else { return };
    let lines = &mut out[start + first..];
    let single = memchr::memmem::find(lines, b"\r\n").unwrap_or(lines.len());
    let (single, mixed) = lines.split_at_mut(single);
    single.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
    let (mut end, mut is_after_cr) = (0, false);
    for at in 0..mixed.len() {
        let byte = mixed[at];
        mixed[end] = if byte == b'\r' { b'\n' } else { byte };
        end += usize::from(!is_after_cr || byte != b'\n');
        is_after_cr = byte == b'\r';
    }
    let cut = mixed.len() - end;
    out.truncate(out.len() - cut);
}

/// DEL and the controls after it, which `XStream` writes as numbers: HL7 read in the wrong code page has
/// them.
const C1: [&str; 33] = [
    "&#x7f;", "&#x80;", "&#x81;", "&#x82;", "&#x83;", "&#x84;", "&#x85;", "&#x86;", "&#x87;", "&#x88;",
    "&#x89;", "&#x8a;", "&#x8b;", "&#x8c;", "&#x8d;", "&#x8e;", "&#x8f;", "&#x90;", "&#x91;", "&#x92;",
    "&#x93;", "&#x94;", "&#x95;", "&#x96;", "&#x97;", "&#x98;", "&#x99;", "&#x9a;", "&#x9b;", "&#x9c;",
    "&#x9d;", "&#x9e;", "&#x9f;",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_known_only_by_one_of_xmls_five_names_or_a_number() {
        let known =
            [("amp", '&'), ("apos", '\''), ("#65", 'A'), ("#x41", 'A'), ("#xd", '\r'), ("#x1F600", '😀')];
        for (name, char) in known {
            assert_eq!(referenced(name), Ok(char), "{name}");
        }
        let unknown = [
            "",
            "nbsp",
            "AMP",
            "lol",
            "#",
            "#x",
            "#X41",
            "#+65",
            "#x+41",
            "# 65",
            "#xd800",
            "#x110000",
            "#00000065",
            "#6a",
            "%x",
            "amp ",
            "\u{ff03}65",
        ];
        for name in unknown {
            assert_eq!(referenced(name), Err(BodyRefusal::Reference), "{name}");
        }
    }

    #[test]
    fn what_is_written_stands_for_the_same_character() {
        for char in (0..0x11_0000).filter_map(char::from_u32) {
            let Ok(Some(escape)) = escaped(char) else { continue };
            let name =
                escape.strip_prefix('&').and_then(|rest| rest.strip_suffix(';')).expect("is a reference");
            assert_eq!(referenced(name), Ok(char));
        }
    }

    /// Wherever it stands in the steps that are taken over plain text.
    #[test]
    fn exactly_the_characters_that_are_not_written_as_they_are_are_found() {
        for char in (0..0x11_0000).filter_map(char::from_u32) {
            let is_plain = char == '\r' || escaped(char) == Ok(None);
            let found = plain_bytes(char.encode_utf8(&mut [0; 4]));
            assert_eq!(found, if is_plain { char.len_utf8() } else { 0 }, "{char:?}");
        }
        for char in ['&', '\'', '\u{1}', '\u{7f}', '\u{80}', '\u{9f}', '\u{fffe}'] {
            for before in 0..100 {
                for plain in ["x", "\u{a0}", "\u{fffd}", "\r"] {
                    let text = format!("{}{char}{plain}'", plain.repeat(before));
                    assert_eq!(plain_bytes(&text), before * plain.len(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_line_end_of_any_system_is_one_line_feed() {
        for (sent, read) in [
            ("a\rb\r\nc\nd", "a\nb\nc\nd"),
            ("\r\r\n\n\r", "\n\n\n\n"),
            ("\n\r", "\n\n"),
            ("\n", "\n"),
            ("", ""),
        ] {
            let mut out = [b"\r\r\n", sent.as_bytes()].concat();
            normalise_line_ends(&mut out, 3);
            assert_eq!(out, [b"\r\r\n", read.as_bytes()].concat(), "{sent:?}");
        }
    }

    #[test]
    fn characters_that_xml_cannot_hold_are_refused() {
        let refused = (0..0x11_0000).filter_map(char::from_u32).filter(|char| escaped(*char).is_err());
        let expected = (0..0x20).filter(|code| ![0x9, 0xa, 0xd].contains(code)).chain([0xfffe, 0xffff]);
        assert!(refused.eq(expected.filter_map(char::from_u32)));
    }
}
