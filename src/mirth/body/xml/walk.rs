//! Walks one body beside the shape that its kind may have, and writes what it understood.

use bytes::Bytes;

use super::super::BodyRefusal;
use super::super::address::Address;
use super::super::characters::{escaped, first, normalise_line_ends, plain_bytes};
use super::super::schema::value::Value;
use super::super::schema::{Content, Element, Root, Written};
use super::left_out::{LeftOut, check_text};
use super::tokens::BLANKS;

/// Far above what fits into 1 MiB of anything real; the largest kind could hold millions.
const ELEMENTS_MAX: usize = 100_000;
/// All words of any enum that is known.
const WORDS_BYTES_MAX: usize = 1024;

/// One open element.
struct Frame {
    name: &'static str,
    /// Under which name it goes on, if it does.
    written: Option<&'static str>,
    content: &'static Content,
    /// Which of its fields came, a bit each.
    seen: u64,
    /// How many children came.
    count: u32,
    /// Whether any of them goes on.
    remains: bool,
}

pub(super) struct Walk {
    roots: &'static [Element],
    is_rooted: bool,
    open: Vec<Frame>,
    left_out: LeftOut,
    /// Whether what was left out ended just now, and the white space after it has no use.
    is_after_left_out: bool,
    elements: usize,
    /// The text so far of the open value; of a free one only its length is kept.
    value: String,
    value_bytes: usize,
    /// What all values may still have.
    text_bytes_left: usize,
    /// Text, as it is made of nothing else.
    out: Vec<u8>,
    bytes_max: usize,
    /// What the body may name, and nothing else.
    address: Option<Address>,
}

impl Walk {
    pub(super) fn new(root: &Root, capacity: usize, bytes_max: usize, address: Option<Address>) -> Self {
        Self {
            roots: root.elements,
            is_rooted: false,
            open: Vec::new(),
            left_out: LeftOut::default(),
            is_after_left_out: false,
            elements: 0,
            value: String::new(),
            value_bytes: 0,
            text_bytes_left: root.text_bytes_max,
            out: Vec::with_capacity(capacity),
            bytes_max,
            address,
        }
    }

    /// Takes a tag, as it stands between `<` and `>` without the slash of an empty one.
    pub(super) fn open(&mut self, tag: &str, is_empty: bool) -> Result<(), BodyRefusal> {
        let (name, attributes) = tag.find(BLANKS).map_or((tag, ""), |end| tag.split_at(end));
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(BodyRefusal::TooMany);
        }
        if !self.left_out.is_over() {
            return self.open_left_out(name, attributes, is_empty);
        }
        let element = self.child(name)?;
        if matches!(element.plain, Some(Content::LeftOut)) {
            return self.open_left_out(name, attributes, is_empty);
        }
        let (class, enum_type) = classes(attributes)?;
        let (content, keeps_class) = element.shape(class, enum_type).ok_or(BodyRefusal::Class)?;
        if let Some(parent) = self.open.last_mut() {
            parent.remains = true;
        }
        self.is_after_left_out = false;
        let written = match element.written {
            Written::Itself => Some(element.name),
            Written::As(name) => Some(name),
            Written::Inside => None,
        };
        self.put_opening(written, class.filter(|_| keeps_class), is_empty)?;
        self.value.clear();
        self.value_bytes = 0;
        self.open.push(Frame { name: element.name, written, content, seen: 0, count: 0, remains: false });
        if is_empty { self.close() } else { Ok(()) }
    }

    fn open_left_out(&mut self, name: &str, attributes: &str, is_empty: bool) -> Result<(), BodyRefusal> {
        self.left_out.open(name, attributes)?;
        if is_empty {
            self.left_out.close();
        }
        self.is_after_left_out = self.left_out.is_over();
        Ok(())
    }

    fn put_opening(
        &mut self,
        written: Option<&'static str>,
        class: Option<&str>,
        is_empty: bool,
    ) -> Result<(), BodyRefusal> {
        let Some(name) = written else { return Ok(()) };
        self.put("<")?;
        self.put(name)?;
        if let Some(class) = class {
            self.put(" class=\"")?;
            self.put(class)?;
            self.put("\"")?;
        }
        self.put(if is_empty { "/>" } else { ">" })
    }

    /// Returns the element that may stand here under this name.
    fn child(&mut self, name: &str) -> Result<&'static Element, BodyRefusal> {
        let Some(parent) = self.open.last_mut() else {
            if std::mem::replace(&mut self.is_rooted, true) {
                return Err(BodyRefusal::Malformed);
            }
            return self.roots.iter().find(|root| root.name == name).ok_or(BodyRefusal::Element);
        };
        parent.child(name)
    }

    pub(super) fn end(&mut self, name: &str) -> Result<(), BodyRefusal> {
        if !self.left_out.is_over() {
            self.left_out.end(name)?;
            self.is_after_left_out = self.left_out.is_over();
            return Ok(());
        }
        let frame = self.open.last().ok_or(BodyRefusal::Malformed)?;
        if frame.name != name {
            return Err(BodyRefusal::Malformed);
        }
        let written = frame.written;
        self.is_after_left_out = false;
        self.close()?;
        if let Some(written) = written {
            self.put("</")?;
            self.put(written)?;
            self.put(">")?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), BodyRefusal> {
        let frame = self.open.pop().ok_or(BodyRefusal::Malformed)?;
        let is_whole = match frame.content {
            Content::Value(value) => {
                self.check_address(*value)?;
                value.is_free() || value.accepts(&self.value)
            }
            Content::Words { of, count_max } => {
                self.put_words(of, *count_max)?;
                true
            }
            Content::Sequence(elements) => frame.count as usize == elements.len(),
            Content::SomeFields(_) => frame.remains,
            Content::Fields(_) | Content::Items { .. } | Content::LeftOut => true,
        };
        if is_whole { Ok(()) } else { Err(BodyRefusal::Value) }
    }

    /// Checks the address: Mirth believes the body, so what the path was judged by must be what it says.
    fn check_address(&self, value: Value) -> Result<(), BodyRefusal> {
        let Some(address) = &self.address else { return Ok(()) };
        match value {
            Value::Channel if address.channel != self.value => Err(BodyRefusal::Channel),
            Value::Message if address.message.is_some() && address.message != self.value.parse().ok() => {
                Err(BodyRefusal::Message)
            }
            _ => Ok(()),
        }
    }

    /// Takes a part of the text that stands here.
    pub(super) fn text(&mut self, text: &str) -> Result<(), BodyRefusal> {
        if !self.left_out.is_over() {
            return check_text(text);
        }
        match self.open.last().map(|frame| frame.content) {
            Some(Content::Value(value)) => self.value(*value, text),
            Some(Content::Words { .. }) => self.words(text),
            _ => self.blank(text),
        }
    }

    /// Takes blanks: between elements stands what a pretty printer puts there.
    fn blank(&mut self, text: &str) -> Result<(), BodyRefusal> {
        if !text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            return Err(BodyRefusal::Value);
        }
        if self.is_after_left_out { Ok(()) } else { self.put(text) }
    }

    fn words(&mut self, text: &str) -> Result<(), BodyRefusal> {
        if self.value.len() + text.len() > WORDS_BYTES_MAX {
            return Err(BodyRefusal::Value);
        }
        self.value.push_str(text);
        Ok(())
    }

    fn put_words(&mut self, of: &'static Element, count_max: u32) -> Result<(), BodyRefusal> {
        let words = std::mem::take(&mut self.value);
        let mut left = count_max;
        for word in words.split(',').filter(|word| !word.is_empty()) {
            left = left.checked_sub(1).ok_or(BodyRefusal::TooMany)?;
            if !matches!(of.plain, Some(Content::Value(value)) if value.accepts(word)) {
                return Err(BodyRefusal::Value);
            }
            for part in ["<", of.name, ">", word, "</", of.name, ">"] {
                self.put(part)?;
            }
        }
        Ok(())
    }

    /// Takes text of a value, as it stands between its tags.
    fn value(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        let mut rest = text;
        loop {
            let plain = plain_bytes(rest);
            if plain > 0 {
                self.plain(value, &rest[..plain])?;
                rest = &rest[plain..];
            }
            if rest.is_empty() {
                return Ok(());
            }
            let (char, bytes) = first(rest)?;
            let mut buffer = [0; 4];
            let text: &str = char.encode_utf8(&mut buffer);
            self.count(value, text)?;
            self.put(escaped(char)?.unwrap_or(text))?;
            rest = &rest[bytes..];
        }
    }

    fn plain(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        self.count(value, text)?;
        let start = self.out.len();
        self.put(text)?;
        normalise_line_ends(&mut self.out, start);
        Ok(())
    }

    /// Holds a value to its length, by what its characters stand for.
    #[inline]
    fn count(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        self.value_bytes += text.len();
        if self.value_bytes > value.bytes_max() || text.len() > self.text_bytes_left {
            return Err(BodyRefusal::Value);
        }
        self.text_bytes_left -= text.len();
        if !value.is_free() {
            self.value.push_str(text);
        }
        Ok(())
    }

    /// Escapes make text longer, so the limit holds for what is written too.
    #[inline]
    fn put(&mut self, text: &str) -> Result<(), BodyRefusal> {
        if text.len() > self.bytes_max - self.out.len() {
            return Err(BodyRefusal::TooLarge { bytes_max: self.bytes_max });
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(super) const fn written(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(self) -> Result<Bytes, BodyRefusal> {
        if !self.is_rooted || !self.open.is_empty() || !self.left_out.is_over() {
            return Err(BodyRefusal::Malformed);
        }
        Ok(Bytes::from(self.out))
    }
}

impl Frame {
    fn child(&mut self, name: &str) -> Result<&'static Element, BodyRefusal> {
        self.count += 1;
        match self.content {
            Content::Value(_) | Content::Words { .. } | Content::LeftOut => Err(BodyRefusal::Element),
            Content::Items { of, count_max } => {
                let element = (of.name == name).then_some(*of).ok_or(BodyRefusal::Element)?;
                if self.count > *count_max { Err(BodyRefusal::TooMany) } else { Ok(element) }
            }
            Content::Sequence(elements) => {
                let due = elements.get(self.count as usize - 1);
                due.filter(|element| element.name == name).ok_or(BodyRefusal::Element)
            }
            Content::Fields(fields) | Content::SomeFields(fields) => {
                let index = fields.iter().position(|field| field.name == name).ok_or(BodyRefusal::Element)?;
                let bit = 1 << index;
                if self.seen & bit != 0 {
                    return Err(BodyRefusal::Repeated);
                }
                self.seen |= bit;
                Ok(&fields[index])
            }
        }
    }
}

/// Returns the `class` of a tag where it has one, and the `enum-type` that may follow it; nothing else may
/// stand in it.
fn classes(attributes: &str) -> Result<(Option<&str>, Option<&str>), BodyRefusal> {
    let attributes = attributes.trim_matches(BLANKS);
    if attributes.is_empty() {
        return Ok((None, None));
    }
    let (class, rest) = quoted(attributes, "class=\"").ok_or(BodyRefusal::Attribute)?;
    let enum_type = match rest {
        "" => None,
        _ => match quoted(rest.trim_start_matches(BLANKS), "enum-type=\"") {
            Some((enum_type, "")) if rest.starts_with(BLANKS) => Some(enum_type),
            _ => return Err(BodyRefusal::Attribute),
        },
    };
    Ok((Some(class), enum_type))
}

/// Returns the value that begins so, and what follows it.
fn quoted<'a>(attributes: &'a str, opening: &str) -> Option<(&'a str, &'a str)> {
    let (value, rest) = attributes.strip_prefix(opening)?.split_once('"')?;
    // A reference would be read before it is compared.
    (!value.contains(['<', '&'])).then_some((value, rest))
}
