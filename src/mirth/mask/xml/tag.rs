//! A start tag taken apart. Names are what Java takes for them in a wide sense; values are quoted.

use std::ops::Range;

#[derive(Debug)]
pub(super) struct Tag {
    pub name: Range<usize>,
    pub length: usize,
    /// It is an end tag too.
    pub is_closed: bool,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub name: Range<usize>,
    /// Without its quotes.
    pub value: Range<usize>,
}

pub(super) enum Read {
    Tag(Tag),
    Incomplete,
    Broken,
    /// It breaks off at this place, where Mirth may have begun again.
    BrokenOff(usize),
}

const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let ascii = byte as u8;
        table[byte] =
            ascii.is_ascii_alphanumeric() || matches!(ascii, b'_' | b'-' | b'.' | b':') || byte > 0x7f;
        byte += 1;
    }
    table
};

/// Returns the name of a start tag that is nothing but its name.
#[inline]
pub(super) fn plain_name(markup: &[u8]) -> Option<&[u8]> {
    let name = name_at(markup, 1);
    (markup.get(name.end) == Some(&b'>') && !name.is_empty()).then(|| &markup[name])
}

/// Reads the tag that `markup` begins with: `<` and anything.
#[inline]
pub(super) fn read(markup: &[u8], attributes: &mut Vec<Attribute>) -> Read {
    attributes.clear();
    let name = name_at(markup, 1);
    match markup.get(name.end) {
        _ if name.is_empty() => Read::Broken,
        Some(b'>') => Read::Tag(Tag { length: name.end + 1, name, is_closed: false }),
        Some(_) => rest(markup, name, attributes),
        None => Read::Incomplete,
    }
}

fn rest(markup: &[u8], name: Range<usize>, attributes: &mut Vec<Attribute>) -> Read {
    let mut at = name.end;
    loop {
        let space = space_at(markup, at);
        at = space.end;
        match markup.get(at) {
            None => return Read::Incomplete,
            Some(b'>') => return Read::Tag(Tag { name, length: at + 1, is_closed: false }),
            Some(b'/') => {
                return match markup.get(at + 1) {
                    None => Read::Incomplete,
                    Some(b'>') => Read::Tag(Tag { name, length: at + 2, is_closed: true }),
                    Some(_) => Read::Broken,
                };
            }
            Some(b'|') if space.is_empty() => return Read::BrokenOff(at),
            Some(_) if space.is_empty() => return Read::Broken,
            Some(_) => {}
        }
        let own = name_at(markup, at);
        if own.is_empty() {
            return Read::Broken;
        }
        let equals = space_at(markup, own.end).end;
        match markup.get(equals) {
            None => return Read::Incomplete,
            Some(b'=') => {}
            Some(_) => return Read::Broken,
        }
        let open = space_at(markup, equals + 1).end;
        let quote = match markup.get(open) {
            None => return Read::Incomplete,
            Some(quote @ (b'"' | b'\'')) => *quote,
            Some(_) => return Read::Broken,
        };
        let Some(length) = memchr::memchr(quote, &markup[open + 1..]) else { return Read::Incomplete };
        let value = open + 1..open + 1 + length;
        if memchr::memchr(b'<', &markup[value.clone()]).is_some() {
            return Read::Broken;
        }
        at = value.end + 1;
        attributes.push(Attribute { name: own, value });
    }
}

#[inline]
fn name_at(markup: &[u8], from: usize) -> Range<usize> {
    let mut at = from;
    while markup.get(at).is_some_and(|byte| NAME_BYTES[usize::from(*byte)]) {
        at += 1;
    }
    from..at
}

fn space_at(markup: &[u8], from: usize) -> Range<usize> {
    let mut at = from;
    while markup.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    from..at
}
