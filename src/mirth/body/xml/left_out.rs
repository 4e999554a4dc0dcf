//! What stays here of a body: well-formed, not too deep, and otherwise not looked at.

use super::super::BodyRefusal;
use super::super::characters::{first, plain_bytes};
use super::tokens::BLANKS;

/// Objects of objects; those of a real message go down eleven elements.
pub(super) const DEPTH_MAX: usize = 64;

/// The open elements of a part that is left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// One after another.
    names: String,
    /// Where each begins.
    starts: Vec<usize>,
}

impl LeftOut {
    pub(super) const fn is_over(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn open(&mut self, name: &str, attributes: &str) -> Result<(), BodyRefusal> {
        if !is_name(name) {
            return Err(BodyRefusal::Malformed);
        }
        check_attributes(attributes)?;
        if self.starts.len() >= DEPTH_MAX {
            return Err(BodyRefusal::TooDeep);
        }
        self.starts.push(self.names.len());
        self.names.push_str(name);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.names.truncate(self.starts.pop().unwrap_or_default());
    }

    pub(super) fn end(&mut self, name: &str) -> Result<(), BodyRefusal> {
        let start = *self.starts.last().ok_or(BodyRefusal::Malformed)?;
        if &self.names[start..] != name {
            return Err(BodyRefusal::Malformed);
        }
        self.close();
        Ok(())
    }
}

/// Checks characters and references of XML. `XStream` writes characters that XML has no place for as
/// references.
pub(super) fn check_text(text: &str) -> Result<(), BodyRefusal> {
    let mut rest = text;
    loop {
        rest = &rest[plain_bytes(rest)..];
        if rest.is_empty() {
            return Ok(());
        }
        let (char, bytes) = first(rest)?;
        let is_written = bytes > char.len_utf8();
        if !is_written && (char < ' ' || matches!(char, '\u{fffe}' | '\u{ffff}')) {
            return Err(BodyRefusal::Character);
        }
        rest = &rest[bytes..];
    }
}

/// Checks attributes, each a name and a quoted value, with white space before it.
fn check_attributes(attributes: &str) -> Result<(), BodyRefusal> {
    let mut rest = attributes.trim_end_matches(BLANKS);
    while !rest.is_empty() {
        let (name, value) = rest.trim_start_matches(BLANKS).split_once('=').ok_or(BodyRefusal::Malformed)?;
        let value = value.trim_start_matches(BLANKS);
        let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''));
        let (value, after) = quote
            .and_then(|quote| value[1..].split_once(quote))
            .filter(|(_, after)| after.is_empty() || after.starts_with(BLANKS))
            .ok_or(BodyRefusal::Malformed)?;
        if !is_name(name.trim_end_matches(BLANKS)) || value.contains('<') {
            return Err(BodyRefusal::Malformed);
        }
        check_text(value)?;
        rest = after;
    }
    Ok(())
}

/// Recognises names, those of Java, as `XStream` escapes them.
fn is_name(name: &str) -> bool {
    let is_first = |char: char| char.is_alphabetic() || char == '_';
    let is_next = |char: char| char.is_alphanumeric() || "._-:$".contains(char);
    name.starts_with(is_first) && name.chars().all(is_next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_must_be_well_formed_whatever_they_say() {
        for good in
            ["", " ", " class=\"a.B$C\"", " reference='../..' id=\"1\"", "\n a = \"&lt;&#x0;\"\t", " a=\">\""]
        {
            assert_eq!(check_attributes(good), Ok(()), "{good:?}");
        }
        for bad in [" a", " a=b", " a=\"", " a=\"<\"", " a=\"&x;\"", " =\"\"", " a=\"b\"c=\"d\"", " 1=\"\""] {
            assert!(check_attributes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_those_that_java_has() {
        for good in ["a", "java.util.Map_-Entry", "org.x.Y", "_1", "entité"] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in ["", "1a", "-a", "a b", "a<", "a&b", "a\u{0}"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
