//! One header line: `name ":" OWS value OWS` (RFC 9112 §5), without the liberties that §5.1 and §5.2
//! let a recipient take: no space before the colon, no folding.

use memchr::memchr;

use super::Header;

/// What may stand in a token, such as a method or a header's name (RFC 9110 §5.6.2).
const TOKEN_BYTES: [bool; 256] = {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    let mut table = [false; 256];
    let mut at = 0;
    while at < letters.len() {
        table[letters[at] as usize] = true;
        at += 1;
    }
    table
};

/// A header line taken apart; the value still has the space around it.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) raw_value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Parses a line; the reason in the error is for the sender of the line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err("A header line may not begin with a space: lines are not folded here.");
        }
        let Some(colon) = memchr(b':', line) else {
            return Err("A header line must have a colon after its name.");
        };
        let (name, raw_value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err("A header's name must be letters, digits and dashes, with the colon right after it.");
        }
        if !is_value(raw_value) {
            return Err("A header's value may not hold control characters.");
        }
        let name = std::str::from_utf8(name).map_err(|_| "A header's name must be ASCII.")?;
        Ok(Self { name, raw_value })
    }

    pub(super) fn value(&self) -> &'a [u8] {
        trimmed(self.raw_value, |byte| matches!(byte, b' ' | b'\t'))
    }

    /// Returns the value, for values that decide where a body ends: a tab beside them is nothing an honest
    /// client sends.
    pub(super) fn strict_value(&self) -> &'a [u8] {
        trimmed(self.raw_value, |byte| byte == b' ')
    }

    pub(super) fn to_header(&self) -> Header {
        Header { name: self.name.to_owned(), value: self.value().to_vec() }
    }
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN_BYTES[usize::from(*byte)])
}

pub(super) const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// Recognises visible characters, space, tab and obs-text (RFC 9110 §5.5).
pub(super) const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Looks at every byte without an early end, so that many are looked at together.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |is_value, byte| is_value & is_value_byte(*byte))
}

/// Returns the elements of a comma-separated value, without the space around each.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(|element| trimmed(element, |byte| matches!(byte, b' ' | b'\t')))
}

/// Reads a length in decimal digits and nothing else. Jetty counts in signed 64 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    i64::try_from(number).is_ok().then_some(number)
}

fn trimmed(mut bytes: &[u8], is_space: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}
