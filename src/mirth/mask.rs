//! Masks credentials in Mirth's answers to view-only partners: their values become `********` in XML and
//! JSON, and nothing else of an answer changes by a byte. It goes along with the answer in bounded
//! memory; what it cannot read does not pass.
//!
//! Scripts, addresses and other free text are not looked into.

mod json;
mod meaning;
mod names;
mod plan;
mod sink;
mod value;
mod xml;

#[cfg(test)]
mod tests;

use bytes::BytesMut;

use self::json::JsonMasker;
use self::value::{Literals, MASK, stays};
use self::xml::XmlMasker;
use adit_core::domain::limits;

pub use self::plan::{Scope, scope};

/// An answer that cannot be masked, and must not pass as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unmaskable {
    /// Nothing of the answer is in it.
    pub reason: &'static str,
}

const fn unmaskable(reason: &'static str) -> Unmaskable {
    Unmaskable { reason }
}

/// Masks a body that is at hand whole.
pub fn whole(
    scope: Scope,
    content_type: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
    body: &[u8],
) -> Result<Vec<u8>, Unmaskable> {
    let mut out = BytesMut::with_capacity(body.len());
    let mut masker = Masker::new(scope, content_type, content_encoding)?;
    masker.mask(body, &mut out)?;
    masker.finish(&mut out)?;
    Ok(out.into())
}

/// Masks one answer's body, piece by piece.
#[derive(Debug)]
pub enum Masker {
    /// Of a type that says nothing: its first bytes after space and byte order marks, until they tell XML
    /// and JSON from what has no names.
    Unseen(Scope, Vec<u8>),
    Xml(Box<XmlMasker>),
    Json(Box<JsonMasker>),
    /// Text without names, such as a version or a page.
    Text,
    /// One value.
    Single(Vec<u8>),
}

impl Masker {
    /// Makes a masker for an answer with these headers, where there are any.
    pub fn new(
        scope: Scope,
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
    ) -> Result<Self, Unmaskable> {
        if content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
            return Err(unmaskable("Mirth's answer is compressed."));
        }
        let content_type = content_type.unwrap_or_default();
        let (media_type, parameters) = split_once(content_type, b';');
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        if !charset(parameters).is_none_or(has_ascii) {
            return Err(unmaskable("Mirth's answer is in a charset that is not read here."));
        }
        Ok(match media_type.as_slice() {
            _ if scope == Scope::Single => Self::Single(Vec::new()),
            b"application/xml" | b"text/xml" => Self::Xml(Box::new(XmlMasker::new(scope))),
            b"application/json" => Self::Json(Box::new(JsonMasker::new(scope))),
            b"text/html" | b"text/css" | b"text/javascript" => Self::Text,
            other if other.ends_with(b"+xml") => Self::Xml(Box::new(XmlMasker::new(scope))),
            other if other.ends_with(b"+json") => Self::Json(Box::new(JsonMasker::new(scope))),
            _ => Self::Unseen(scope, Vec::new()),
        })
    }

    /// Returns whether it changes nothing of what is still to come.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// Appends what `piece` gives; some of it may come only with the next one.
    pub fn mask(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Unmaskable> {
        match self {
            Self::Unseen(scope, first) => {
                first.extend_from_slice(piece);
                // Says no more than nothing, and is kept out of what tells: how an answer is cut must not.
                let told_from = says_nothing(first);
                out.extend_from_slice(&first[..told_from]);
                first.drain(..told_from);
                if first.len() < FIRST_BYTES {
                    return Ok(());
                }
                let (scope, first) = (*scope, std::mem::take(first));
                *self = Self::of_first(scope, &first)?;
                self.mask(&first, out)
            }
            Self::Xml(masker) => masker.mask(piece, out),
            Self::Json(masker) => masker.mask(piece, out),
            Self::Text => {
                out.extend_from_slice(piece);
                Ok(())
            }
            Self::Single(value) if value.len() + piece.len() > limits::MASK_VALUE_BYTES_MAX => {
                Err(unmaskable("This value is longer than is read here."))
            }
            Self::Single(value) => {
                value.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Appends what is left once the answer is whole.
    pub fn finish(self, out: &mut BytesMut) -> Result<(), Unmaskable> {
        match self {
            Self::Unseen(_, first) if first.is_empty() => Ok(()),
            Self::Unseen(scope, first) => {
                let mut seen = Self::of_first(scope, &first)?;
                seen.mask(&first, out)?;
                seen.finish(out)
            }
            Self::Text => Ok(()),
            Self::Xml(masker) => masker.finish(out),
            Self::Json(masker) => masker.finish(out),
            Self::Single(value) => {
                out.extend_from_slice(if stays(&value, Literals::Booleans) { &value } else { MASK });
                Ok(())
            }
        }
    }

    /// Chooses by the first bytes; `first` begins with neither space nor a byte order mark.
    fn of_first(scope: Scope, first: &[u8]) -> Result<Self, Unmaskable> {
        let is_wide = match first {
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => true,
            [0, byte, ..] | [byte, 0, ..] => begins(*byte) || byte.is_ascii_whitespace(),
            _ => false,
        };
        if is_wide {
            return Err(unmaskable("Mirth's answer is in a charset that is not read here."));
        }
        Ok(match first.first() {
            Some(b'<') => Self::Xml(Box::new(XmlMasker::new(scope))),
            Some(byte) if begins(*byte) => Self::Json(Box::new(JsonMasker::new(scope))),
            _ => Self::Text,
        })
    }
}

/// Returns how many bytes of space and whole byte order marks `bytes` begins with.
fn says_nothing(bytes: &[u8]) -> usize {
    let mut rest = bytes.trim_ascii_start();
    while let Some(after) = rest.strip_prefix(BYTE_ORDER_MARK) {
        rest = after.trim_ascii_start();
    }
    bytes.len() - rest.len()
}

/// Bytes that tell what an answer of no type is: one more than a byte order mark that is none after all.
const FIRST_BYTES: usize = 4;

/// Returns whether XML or JSON with names begins with it.
const fn begins(byte: u8) -> bool {
    matches!(byte, b'<' | b'{' | b'[' | b'"')
}

/// Of UTF-8, before XML or JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn split_once(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn charset(parameters: &[u8]) -> Option<&[u8]> {
    parameters.split(|byte| *byte == b';').find_map(|parameter| {
        let (name, value) = split_once(parameter, b'=');
        let value = value.trim_ascii();
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        name.trim_ascii().eq_ignore_ascii_case(b"charset").then_some(quoted.unwrap_or(value))
    })
}

/// Recognises charsets in which a byte below 0x80 is ASCII and nothing else.
fn has_ascii(charset: &[u8]) -> bool {
    let charset = charset.to_ascii_lowercase();
    matches!(charset.as_slice(), b"utf-8" | b"utf8" | b"us-ascii" | b"ascii")
        || charset.starts_with(b"iso-8859-")
        || charset.starts_with(b"windows-125")
}
