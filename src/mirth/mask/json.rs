//! JSON as Mirth makes it out of its XML, masked in one pass: a member is an element, `@name` an
//! attribute, `$` the text beside attributes, an array elements of one name. What breaks the syntax ends
//! it.

mod levels;

use bytes::BytesMut;
use memchr::memchr2;

use super::meaning::Rule;
use super::plan::Scope;
use super::sink::Sink;
use super::value::{Held, MASK, stays};
use super::{BYTE_ORDER_MARK, Unmaskable, unmaskable};

use self::levels::{Levels, ScalarRole};

#[derive(Debug)]
pub struct JsonMasker {
    levels: Levels,
    state: State,
    expects: Expects,
    /// The token that is being read: a name, a key, or a value that is held back.
    token: Held,
    /// Bytes of a byte order mark that came.
    marked: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Between,
    /// In a string; `is_escaped`: the next byte belongs to an escape.
    String {
        role: ScalarRole,
        is_escaped: bool,
    },
    /// In a number or a word.
    Word(ScalarRole),
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Value,
    /// Or the end of the array.
    FirstValue,
    Name,
    /// Or the end of the object.
    FirstName,
    Colon,
    /// A comma or the container's end.
    Next,
    End,
}

pub(super) const BROKEN: Unmaskable = unmaskable("Mirth's answer is not well-formed JSON.");
pub(super) const UNFINISHED: Unmaskable = unmaskable("Mirth's JSON ends before it is complete.");

impl JsonMasker {
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            levels: Levels::new(scope),
            state: State::Between,
            expects: Expects::Value,
            token: Held::default(),
            marked: 0,
        }
    }

    pub fn mask(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Unmaskable> {
        let mut sink = Sink::new(piece, out);
        let mut at = 0;
        while at < piece.len() {
            at = match self.state {
                State::Between => self.between(piece, at, &mut sink)?,
                State::String { role, is_escaped } => self.string(role, is_escaped, piece, at, &mut sink)?,
                State::Word(role) => self.word(role, piece, at, &mut sink)?,
            };
        }
        sink.pass_to(piece.len());
        Ok(())
    }

    pub fn finish(mut self, out: &mut BytesMut) -> Result<(), Unmaskable> {
        if let State::Word(role) = self.state {
            // A word ends with the answer.
            let mut sink = Sink::new(&[], out);
            self.end_word(role, &mut sink)?;
        }
        // Nothing at all is what many operations answer.
        let is_whole = matches!(self.state, State::Between)
            && (self.expects == Expects::End || (self.expects == Expects::Value && self.levels.is_empty()));
        if is_whole { Ok(()) } else { Err(UNFINISHED) }
    }

    #[inline]
    fn between(&mut self, piece: &[u8], at: usize, sink: &mut Sink<'_>) -> Result<usize, Unmaskable> {
        use Expects::{Colon, End, FirstName, FirstValue, Name, Next, Value};
        let byte = piece[at];
        match (byte, self.expects) {
            (b' ' | b'\t' | b'\n' | b'\r', _) => {}
            (b'"', Name | FirstName) => self.begin_string(ScalarRole::Name, at, sink),
            (b'"', Value | FirstValue) => {
                let role = self.levels.scalar();
                self.begin_string(role, at, sink);
            }
            (b'{' | b'[', Value | FirstValue) => {
                self.levels.open(byte == b'{')?;
                self.expects = if byte == b'{' { FirstName } else { FirstValue };
            }
            (b'}', FirstName | Next) if self.levels.is_in_object() => self.close()?,
            (b']', FirstValue | Next) if self.levels.is_in_array() => self.close()?,
            (b',', Next) if self.levels.is_in_object() => self.expects = Name,
            (b',', Next) | (b':', Colon) => self.expects = Value,
            (b'-' | b'0'..=b'9' | b't' | b'f' | b'n', Value | FirstValue) => {
                self.token.clear();
                self.state = State::Word(self.levels.scalar());
                return Ok(at);
            }
            (byte, Value) if BYTE_ORDER_MARK.get(self.marked) == Some(&byte) && self.levels.is_empty() => {
                self.marked += 1;
            }
            (_, Value | FirstValue | Name | FirstName | Colon | Next | End) => return Err(BROKEN),
        }
        Ok(at + 1)
    }

    fn begin_string(&mut self, role: ScalarRole, at: usize, sink: &mut Sink<'_>) {
        self.token.clear();
        if let ScalarRole::Masked(_) = role {
            sink.leave_out(at, at + 1);
        }
        self.state = State::String { role, is_escaped: false };
    }

    fn close(&mut self) -> Result<(), Unmaskable> {
        self.levels.close().ok_or(BROKEN)?;
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = State::Between;
        self.expects = if self.levels.is_empty() { Expects::End } else { Expects::Next };
    }

    #[inline]
    fn string(
        &mut self,
        role: ScalarRole,
        is_escaped: bool,
        piece: &[u8],
        from: usize,
        sink: &mut Sink<'_>,
    ) -> Result<usize, Unmaskable> {
        let mut at = from + usize::from(is_escaped);
        // Backslashes and the byte after each are passed over.
        let end = loop {
            match memchr2(b'"', b'\\', piece.get(at..).unwrap_or_default()) {
                Some(found) if piece[at + found] == b'"' => break Some(at + found),
                Some(found) => at += found + 2,
                None => break None,
            }
        };
        let to = end.unwrap_or(piece.len());
        if role != ScalarRole::Passes {
            self.token.push(&piece[from..to]);
            if let ScalarRole::Masked(_) = role {
                sink.leave_out(from, to + usize::from(end.is_some()));
            }
        }
        let Some(end) = end else {
            self.state = State::String { role, is_escaped: at > piece.len() };
            return Ok(piece.len());
        };
        self.end_string(role, sink)?;
        Ok(end + 1)
    }

    fn end_string(&mut self, role: ScalarRole, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match role {
            ScalarRole::Passes => {}
            ScalarRole::Masked(kept) => {
                sink.put(b"\"");
                match self.token.whole() {
                    Some(text) if stays(text, kept.literals) => sink.put(text),
                    _ => sink.put(MASK),
                }
                sink.put(b"\"");
            }
            ScalarRole::Name | ScalarRole::Key | ScalarRole::Item => {
                let text = self.token.whole().ok_or(unmaskable("A name in Mirth's JSON is too long."))?;
                let text = unescaped(text);
                if role == ScalarRole::Name {
                    self.levels.name(&text);
                    self.state = State::Between;
                    self.expects = Expects::Colon;
                    return Ok(());
                }
                self.levels.note(role, &text);
            }
        }
        self.after_value();
        Ok(())
    }

    fn word(
        &mut self,
        role: ScalarRole,
        piece: &[u8],
        from: usize,
        sink: &mut Sink<'_>,
    ) -> Result<usize, Unmaskable> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = piece[from..].iter().take_while(|byte| is_word(byte)).count();
        let to = from + length;
        if role != ScalarRole::Passes {
            self.token.push(&piece[from..to]);
            if let ScalarRole::Masked(_) = role {
                sink.leave_out(from, to);
            }
        }
        if to < piece.len() {
            self.end_word(role, sink)?;
        }
        Ok(to)
    }

    fn end_word(&mut self, role: ScalarRole, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        match role {
            ScalarRole::Passes => {}
            ScalarRole::Masked(kept) => match self.token.whole() {
                Some(word) if is_kept(word, kept) => sink.put(word),
                _ => {
                    sink.put(b"\"");
                    sink.put(MASK);
                    sink.put(b"\"");
                }
            },
            ScalarRole::Name | ScalarRole::Key | ScalarRole::Item => {
                let word = self.token.whole().ok_or(BROKEN)?;
                self.levels.note(role, word);
            }
        }
        self.after_value();
        Ok(())
    }
}

/// Returns whether a value is kept: no value is none that could be told.
fn is_kept(word: &[u8], rule: Rule) -> bool {
    word == b"null" || stays(word, rule.literals)
}

/// Returns the text that is meant. What a lone half of a pair of surrogates means is nothing that is looked
/// for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = memchr::memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..found]);
        rest = &rest[found + 1..];
        let Some((escape, after)) = rest.split_first() else { break };
        rest = after;
        let char = match escape {
            b'u' => {
                let digits = rest.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
                rest = rest.get(4..).unwrap_or_default();
                let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            other => char::from(*other),
        };
        plain.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    plain.extend_from_slice(rest);
    plain
}
