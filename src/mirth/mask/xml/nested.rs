//! XML that is the text of an element, escaped once, masked by its names.

use bytes::BytesMut;

use super::XmlMasker;
use crate::mask::plan::Scope;

/// Returns the text with what stands inside masked; none if it is no XML, or not spelled as XStream would.
pub(super) fn masked(text: &[u8]) -> Option<Vec<u8>> {
    if !text.trim_ascii_start().starts_with(b"&lt;") {
        return None;
    }
    let inner = unescaped(text)?;
    if escaped(&inner) != text {
        return None;
    }
    let mut out = BytesMut::with_capacity(inner.len());
    let mut masker = XmlMasker::new(Scope::Named);
    masker.mask(&inner, &mut out).ok()?;
    masker.finish(&mut out).ok()?;
    Some(escaped(&out))
}

/// Returns the text that is meant; none if a reference in it is not one of XML's five or a character's.
pub(super) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = memchr::memchr(b'&', rest) {
        plain.extend_from_slice(&rest[..found]);
        let reference = &rest[found + 1..];
        let end = memchr::memchr(b';', reference)?;
        match &reference[..end] {
            b"lt" => plain.push(b'<'),
            b"gt" => plain.push(b'>'),
            b"amp" => plain.push(b'&'),
            b"quot" => plain.push(b'"'),
            b"apos" => plain.push(b'\''),
            number => {
                let char = character(number)?;
                plain.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = &reference[end + 1..];
    }
    plain.extend_from_slice(rest);
    Some(plain)
}

fn character(reference: &[u8]) -> Option<char> {
    let digits = std::str::from_utf8(reference.strip_prefix(b"#")?).ok()?;
    let number = match digits.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    char::from_u32(number.ok()?)
}

/// Escapes as XStream writes it.
fn escaped(plain: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(plain.len() * 2);
    for byte in plain {
        match byte {
            b'<' => text.extend_from_slice(b"&lt;"),
            b'>' => text.extend_from_slice(b"&gt;"),
            b'&' => text.extend_from_slice(b"&amp;"),
            b'"' => text.extend_from_slice(b"&quot;"),
            b'\'' => text.extend_from_slice(b"&apos;"),
            b'\r' => text.extend_from_slice(b"&#xd;"),
            byte => text.push(*byte),
        }
    }
    text
}
